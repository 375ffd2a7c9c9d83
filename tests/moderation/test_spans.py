"""Words are whole, apart, in order, and keep the disguise they were written in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.normalise import normalise
from moderation.spans import Word, find_words, join_words

BOLD = "\U0001d422\U0001d41d\U0001d422\U0001d428\U0001d42d"  # mathematical letters that spell idiot
PIECES = (
    *("idiot", "fool", "tree", "😀", "👩‍👩‍👧", "مرحبا", "\u202eשלום\u202c", "zero\u200bwidth", "e\u0301\u0301"),
    *("\U00020000緑の木", BOLD, "i d i o t", "f***", "http://a.example/b", " ", " ", "\n", ", ", "... ", "!", "*", "'"),
    *("(", ") ", "-", "/", "\u00a0", "\ufeff", "\u2014"),
)
pieces = st.sampled_from(PIECES)
texts = st.lists(pieces | st.text(max_size=4), min_size=1, max_size=25).map("".join)


@given(texts)
def test_words_are_apart_in_order_and_leave_out_only_what_is_no_word(text):
    for words in (find_words(text), find_words(text, normalise(text))):
        check_words(text, words)


def check_words(text, words):
    done = 0
    for word in words:
        assert done <= word.start < word.end
        assert not any(char.isalnum() for char in text[done : word.start])
        assert not text[word.start : word.end].isspace()
        done = word.end
    assert not any(char.isalnum() for char in text[done:])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop-it, 'quoted' _so_", ["don't", "stop-it", "quoted", "so"]),
        ("f*** sh!t you!now **bold**", ["f***", "sh!t", "you!now", "bold"]),
        ("s p a c e d out", ["s p a c e d", "out"]),
        ("this/that...other", ["this", "that", "other"]),
        ("緑の木", ["緑", "の", "木"]),
        ("see http://a.example/b?c=1 or www.b.example.", ["see", "http://a.example/b?c=1", "or", "www.b.example."]),
        ("http://a.com/x and a.com and a.com", ["http://a.com/x", "and", "a.com", "and", "a.com"]),
        ("", []),
        (" ...!? ", []),
    ],
)
def test_what_is_a_word(text, words):
    assert [text[word.start : word.end] for word in find_words(text, normalise(text))] == words


def test_links_are_known():
    assert [word.is_link for word in find_words("see http://a.example/b now")] == [False, True, False]


def test_of_too_many_stretches_the_strongest_stay_in_order():
    words = [Word(0, 1), Word(4, 5), Word(8, 9)]
    spans = join_words("a b c d e", words, {0: 0.2, 1: 0.9, 2: 0.5}, 2)
    assert [(span.start, span.strength) for span in spans] == [(4, 0.9), (8, 0.5)]


def test_a_link_is_never_joined_to_what_stands_beside_it():
    text = "buy http://a.example/b now"
    spans = join_words(text, find_words(text), {0: 0.1, 1: 0.2, 2: 0.3}, 9)
    assert [text[span.start : span.end] for span in spans] == ["buy", "http://a.example/b", "now"]
