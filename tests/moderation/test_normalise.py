"""Disguises are undone, honest text is left alone, and every character remembers where it came from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.normalise import normalise


@pytest.mark.parametrize(
    ("disguised", "plain", "trick"),
    [
        ("you 1d10t", "you idiot", "leet"),
        ("id10t", "idiot", "leet"),
        ("such b@stards", "such bastards", "leet"),
        ("sh!tty", "shitty", "leet"),
        ("$hit a$$hole", "shit asshole", "leet"),
        ("you i d i o t", "you idiot", "spaced"),
        ("s.t.u.p.i.d", "stupid", "spaced"),
        ("s-t-u-p-i-d go", "stupid go", "spaced"),
        ("id\u200biot", "idiot", "invisible"),
        ("i\u00addiot", "idiot", "invisible"),
        ("i\u0335di\u0336ot", "idiot", "invisible"),
        ("ｉｄｉｏｔ", "idiot", None),
        ("𝓲𝓭𝓲𝓸𝓽", "idiot", None),
        ("idіоt", "idiot", "look_alikes"),
        ("stuuuuupid", "stuupid", "stretched"),
    ],
)
def test_disguises_are_undone_and_counted(disguised, plain, trick):
    result = normalise(disguised)
    assert result.text == plain
    if trick:
        assert getattr(result, trick) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "mp3 and win32, sha256, h264",
        "the 2nd, 3rd and 4th of 100k",
        "i18n, k8s, a11y, e2e, C3PO",
        "mail me at some.one@example.org",
        "@someone thanks!",
        "it cost US$50 or $5k",
        "Great!Thanks",
        "a = b[i] * c3d4; x != y",
        "https://example.org/a@b/$c?d=1!",
        "привет, мир",
        "Ελληνικά και English",
        "e.g. the U.S. and i.e. that",
        "I, a b",
        "deadbeef a1b2c3d4e5",
        "naïve café",
        "C:\\dir -> x|y|z",
    ],
)
def test_honest_text_is_left_alone(text):
    result = normalise(text)
    assert result.text == text
    assert result.tricks == 0


def test_piles_of_accents_are_cut_before_they_are_sorted():
    """On any base letter; a few accents, as languages use them, stay."""
    assert len(normalise("क" + "\u0301\u0323" * 20_000).text) < 12
    assert normalise("Việt Nam, e\u0302\u0301").tricks == 0


def test_emoji_sequences_are_no_disguise():
    """Families and skin tones are spelled with invisible joiners; nobody hides a word that way."""
    assert normalise("well done 👩\u200d👩\u200d👧 👍🏽 ❤\ufe0f").tricks == 0


def test_persian_joiners_are_no_disguise():
    assert normalise("می\u200cخواهم").tricks == 0


@given(st.text())
def test_any_text_works_and_origins_point_into_it(text):
    result = normalise(text)
    if result.origins is None:
        assert result.text == text
    else:
        assert len(result.origins) == len(result.text)
        assert all(0 <= origin < len(text) for origin in result.origins)
        assert list(result.origins) == sorted(result.origins)


@given(st.text(st.characters(categories=["Cs"]) | st.characters(), max_size=20))
def test_lone_surrogates_do_not_stop_it(text):
    normalise(text)


@given(st.text("abcdef 1.@\u200b", max_size=40))
def test_origins_are_the_characters_themselves_where_nothing_was_replaced(text):
    result = normalise(text)
    if result.origins is not None and result.leet == result.spaced == result.stretched == 0:
        assert all(text[origin] == char for origin, char in zip(result.origins, result.text, strict=True))
