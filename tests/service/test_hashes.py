"""Keyed hashes: what is alike is found again, what is not is not, and nobody without the key can tell."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.hashes import BANDS, Hashes

HASHES = Hashes(b"k" * 32)
SPAM = (
    "Dear {name}, I lost my savings until I met Mrs. {other}, who trades for me. Now I earn ${n} a week without any "
    "effort. Write to her at once and tell her that I sent you, she helps everybody in this group who is serious."
)


def share(one: str, other: str) -> bool:
    return not set(HASHES.bands(one)).isdisjoint(HASHES.bands(other))


def test_a_texts_hash_is_keyed_and_sees_through_disguise():
    assert HASHES.text("fr\u200bee money") == HASHES.text("free money")
    assert Hashes(b"o" * 32).text("free money") != HASHES.text("free money")


def test_a_readers_hash_is_keyed_and_of_one_site():
    assert HASHES.reader("https://a.example", "ann") == HASHES.reader("https://a.example", "ann")
    assert HASHES.reader("https://a.example", "ann") != HASHES.reader("https://b.example", "ann")
    assert HASHES.reader("https://a.example", "ann") != Hashes(b"o" * 32).reader("https://a.example", "ann")


@pytest.mark.parametrize(
    "other",
    [
        SPAM.format(name="Ben", other="Smith", n="9,000"),
        SPAM.format(name="Ben", other="Miller", n="12,500"),
        SPAM.format(name="Ann", other="Smith", n="9,000").upper(),
        SPAM.format(name="Ann", other="Smith", n="9,000").replace("money", "mo\u200bney").replace(" ", "  "),
        "Hello! " + SPAM.format(name="Ann", other="Smith", n="9,000") + " Bye.",
    ],
    ids=["name", "all blanks", "capitals", "spaces", "frame"],
)
def test_copies_of_a_campaign_share_a_band(other):
    assert share(SPAM.format(name="Ann", other="Smith", n="9,000"), other)


def test_the_same_words_are_near_whatever_link_they_lead_to():
    text = "I lost my savings until I met Mrs. Smith, who trades for me. "
    links = ["https://a.example/x?y=1", '<a href="http://other-place.example/long/path">read more</a>', "www.third.org"]

    assert HASHES.bands(f"{text}{links[0]}") == HASHES.bands(f"{links[2]} {text}") == HASHES.bands(text)
    assert share(f"{text}{links[0]}", f"{text}{links[1]}")
    assert HASHES.of_text(f"{text}{links[0]}") == (HASHES.text(f"{text}{links[0]}"), HASHES.bands(text))
    # So few words are many people's: what makes them the same is the link.
    few = "Look at this, it is good: "
    assert not share(f"{few} https://bread.example/rye-and-wheat", f"{few} http://www.river-path.org/floods/2026")
    assert share(f"{few} https://bread.example/rye-and-wheat", f"{few} https://bread.example/rye-and-wheat")


def test_comments_that_only_use_the_same_words_do_not():
    words = re.findall(
        r"\w+",
        "the bread oven post comment I think that is why would you not always never flour water salt time heat it was "
        "and or but really good bad idea thank for with without try again next week recipe author says agree wrong",
    )
    rng = random.Random(7)
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(300)]
    bands = [set(HASHES.bands(text)) for text in texts]
    pairs = sum(not bands[i].isdisjoint(bands[j]) for i in range(300) for j in range(i))

    # Of 44,850 pairs, none on this seed; a handful would do no harm.
    assert pairs <= 4


def test_short_texts_have_none_and_the_key_matters():
    text = SPAM.format(name="Ann", other="Smith", n="1")

    assert HASHES.bands("Thanks for this!") == ()
    assert len(HASHES.bands(text)) == BANDS
    assert set(HASHES.bands(text)).isdisjoint(Hashes(b"o" * 32).bands(text))


@given(st.text(st.characters(), max_size=300))
def test_every_text_has_bands_that_fit_a_database_or_none(text):
    bands = HASHES.bands(text)

    assert len(bands) in (0, BANDS)
    assert all(-(2**63) <= band < 2**63 for band in bands)
    assert bands == Hashes(b"k" * 32).bands(text)
