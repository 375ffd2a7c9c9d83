"""Texts spelled otherwise: the same chance gives the same text, and what is not a word is left alone."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.normalise import normalise
from moderation.training.disguise import ATTACKS, TRICKS, attack, disguise, swap_identities

TEXT = "You absolute idiot, nobody asked for your stupid opinion about cooking."
WORDS = re.compile(r"[A-Za-z]{3,}")


def chance(seed=0):
    return random.Random(seed)


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_changes_the_spelling_and_is_repeatable(kind):
    attacked = attack(TEXT, kind, chance(), share=1.0)
    assert attacked != TEXT
    assert attack(TEXT, kind, chance(), share=1.0) == attacked
    assert attack(TEXT, kind, chance(), share=0.0) == TEXT


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_spares_short_words_and_everything_else(kind):
    text = "is it 42 or 7? \U0001f600 a-b ..."
    assert attack(text, kind, chance(), share=1.0) == text


def test_a_share_of_the_words_is_attacked():
    text = "word " * 2_000
    attacked = attack(text, "doubled", chance(), share=0.3).split()
    assert sum(word != "word" for word in attacked) / len(attacked) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("kind", ["zero-width", "look-alikes", "spaced"])
def test_normalising_undoes_what_it_promises_to_undo(kind):
    """A joiner within a word, letters of another script and letters apart never reach the model."""
    assert normalise(attack("an idiot", kind, chance(), share=1.0)).text == "an idiot"


def test_look_alikes_are_letters_that_look_the_same():
    attacked = attack("cap scope", "look-alikes", chance(), share=1.0)
    assert {"LATIN" if char.isascii() else "CYRILLIC" for char in attacked if char.isalpha()} == {"LATIN", "CYRILLIC"}
    assert len(attacked) == len("cap scope")


@given(st.from_regex(r"[A-Za-z]{3,12}", fullmatch=True), st.integers(0, 50))
def test_every_trick_works_on_every_word(word, seed):
    for trick in TRICKS:
        assert trick(word, chance(seed))


@given(st.text(max_size=60), st.integers(0, 50))
def test_any_text_can_be_disguised_and_swapped(text, seed):
    assert disguise(text, chance(seed)) == disguise(text, chance(seed))
    swapped = swap_identities(text, chance(seed))
    assert swapped == swap_identities(text, chance(seed))


def test_disguise_leaves_some_words_and_takes_some():
    text = " ".join(["idiot"] * 200)
    changed = [1 - disguise(text, chance(seed)).split().count("idiot") / 200 for seed in range(30)]
    assert max(changed) < 0.75
    assert 0.1 < sum(changed) / len(changed) < 0.5


def test_an_identity_becomes_another_of_its_kind_throughout():
    others = set()
    for seed in range(40):
        swapped = swap_identities("Muslims came, and muslims left.", chance(seed))
        first, second = re.match(r"(\w+) came, and (\w+) left\.", swapped).groups()
        assert first.lower() == second
        assert first[0].isupper()
        others.add(second)
    assert {"christians", "jews", "hindus"} <= others
    assert "women" not in others


def test_capitals_stay():
    swapped = {swap_identities("WOMEN Women women", chance(seed)) for seed in range(20)}
    assert swapped == {"WOMEN Women women", "MEN Men men"}


def test_only_whole_words_are_identities():
    text = "The blackboard, the Germanic girlfriend and the womenfolk."
    assert swap_identities(text, chance()) == text


@pytest.mark.parametrize("text", ["MUSL\u0130M", "mu\u017flim", "lesb\u0131an"])
def test_letters_that_fold_oddly_are_left_alone(text):
    """They fit a pattern that ignores case, but no word of the list is spelled with them."""
    assert all(swap_identities(text, chance(seed)) == text for seed in range(10))


def test_words_of_no_group_are_left_alone():
    text = "Thank you for the recipe, my kids loved it."
    assert swap_identities(text, chance()) == text
    assert WORDS.findall(swap_identities(text, chance())) == WORDS.findall(text)
