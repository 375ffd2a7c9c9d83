"""The n-grams counted in numpy are those that a plain loop finds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.lexical import LexicalSpec, attribute, count_ngrams, project, weigh

SPEC = LexicalSpec(bits=20, char_min=2, char_max=4, word_max=2)
WIDE = LexicalSpec(bits=31, char_min=2, char_max=4, word_max=0)


def rows_of(texts, spec):
    ngrams = count_ngrams(texts, spec)
    return [
        dict(zip(ngrams.indices[a:b].tolist(), ngrams.counts[a:b].tolist(), strict=True))
        for a, b in zip(ngrams.indptr[:-1], ngrams.indptr[1:], strict=True)
    ]


def windows_by_loop(text, low, high):
    """What char_wb means: n-grams of each word with one space on either side of it."""
    found = Counter()
    for word in text.split():
        padded = f" {word} "
        for n in range(low, high + 1):
            found.update(padded[i : i + n] for i in range(len(padded) - n + 1))
    return found


@given(st.text("abc d\n", max_size=40))
def test_counts_are_those_of_a_plain_loop(text):
    """31 bits make collisions unlikely enough that the multisets of counts agree."""
    expected = windows_by_loop(text, 2, 4)
    [row] = rows_of([text], WIDE)
    assert sorted(row.values()) == sorted(map(float, expected.values()))


@given(st.lists(st.text(max_size=30), max_size=6))
def test_a_text_gives_the_same_row_alone_and_among_others(texts):
    together = rows_of(texts, SPEC)
    assert together == [rows_of([text], SPEC)[0] for text in texts]


def test_a_text_gives_the_same_row_on_either_side_of_a_chunk_border():
    long = "some words that fill the chunk " * 3000
    assert rows_of([long, "a tail", long], SPEC)[1] == rows_of(["a tail"], SPEC)[0]


@given(st.text(max_size=60))
def test_any_text_works(text):
    """Lone surrogates, unassigned code points, nothing at all: normalise is total, and so is this."""
    ngrams = count_ngrams([text], SPEC)
    assert len(ngrams.indptr) == 2
    assert np.isfinite(weigh(ngrams)).all()


def test_case_and_white_space_do_not_matter():
    assert rows_of(["Some  Words\there"], SPEC) == rows_of(["some words here "], SPEC)


def test_no_window_crosses_from_one_text_to_the_next():
    assert rows_of(["ab", "cd"], SPEC) == [*rows_of(["ab"], SPEC), *rows_of(["cd"], SPEC)]


def test_whole_words_and_pairs_count_beside_characters():
    with_words = rows_of(["green tree"], LexicalSpec(bits=31, word_max=2))[0]
    characters = rows_of(["green tree"], LexicalSpec(bits=31, word_max=0))[0]
    assert sum(with_words.values()) - sum(characters.values()) == 3  # two words, one pair


def test_words_of_any_script_are_words():
    for text in ("зелёное дерево", "緑の木 と 川", "शांत नदी", "😀 😃"):
        words = sum(rows_of([text], LexicalSpec(bits=31, word_max=1))[0].values())
        characters = sum(rows_of([text], LexicalSpec(bits=31, word_max=0))[0].values())
        assert words - characters >= 2, text


def test_salt_moves_the_columns():
    assert not set(rows_of(["words"], LexicalSpec(salt=1))[0]) & set(rows_of(["words"], LexicalSpec(salt=2))[0])


def test_columns_are_spread_evenly():
    """A poor mix would crowd the columns: half a million distinct windows should fill them like balls in boxes."""
    random = np.random.default_rng(0)
    texts = ["".join(map(chr, random.integers(97, 123, 400))) for _ in range(300)]
    indices = np.unique(count_ngrams(texts, LexicalSpec(bits=16, char_min=5, char_max=5, word_max=0)).indices)
    distinct = len({text[i : i + 5] for text in texts for i in range(396)})
    expected = 65536 * (1 - (1 - 1 / 65536) ** distinct)
    assert len(indices) == pytest.approx(expected, rel=0.02)


@given(st.text("abcde éß\n🙂", min_size=1, max_size=40))
def test_what_characters_add_sums_to_the_projection(text):
    """The explanation is the score, shared out: nothing is left over but the spaces around words."""
    random = np.random.default_rng(1)
    idf = random.random(1 << SPEC.bits, np.float32) + 1
    weights = random.standard_normal(1 << SPEC.bits).astype(np.float32)
    ngrams = count_ngrams([text], SPEC)
    score = project(ngrams, weigh(ngrams, idf), weights[:, None])[0, 0]
    shares = attribute(text, SPEC, idf, weights)
    assert shares.shape == (len(text),)
    assert shares.sum() == pytest.approx(score, abs=1e-4)


def test_no_texts_give_no_rows():
    assert len(count_ngrams([], SPEC).indptr) == 1
