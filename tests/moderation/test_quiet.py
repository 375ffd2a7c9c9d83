"""Hostility in calm words is a second reading of the head of hostile: learned from our rows, laid beside the first."""

from dataclasses import replace

import numpy as np
import pytest

from moderation.categories import CODES
from moderation.comment import Comment
from moderation.encoder import WIDTH
from moderation.heads import Features, Vectors
from moderation.model import DENSE, MARKS
from moderation.topic import VECTOR_NAMES
from moderation.training import quiet
from moderation.training.fuse import fit_full_heads
from moderation.training.points import line_at
from moderation.training.quiet import ALONE_SHARE, SHARE, held_share, lay_beside
from moderation.training.rows import Row
from moderation.training.table import Table

ROWS = 1200
HOSTILE = CODES.index("hostile")
LOUD, CALM = 0, 1


@pytest.fixture(scope="module")
def made():
    """Insults of a public set lie along one number of the class vector, calm cruelty of ours along another."""
    random = np.random.default_rng(0)
    sources = np.array([("kaggle-insults", "seed", "blog-threads")[number % 3] for number in range(ROWS)])
    labels = (random.random((ROWS, len(CODES))) < 0.4).astype(float)
    labels[sources == "blog-threads", HOSTILE] = 0
    hostile = labels[:, HOSTILE] == 1
    windows = np.zeros((ROWS, WIDTH + len(MARKS)), np.float32)
    windows[:, :WIDTH] = random.normal(size=(ROWS, WIDTH))
    windows[hostile & (sources == "kaggle-insults"), LOUD] += 4
    windows[hostile & (sources == "seed"), CALM] += 4
    windows[:, -1] = 1
    zeros = np.zeros((ROWS, len(VECTOR_NAMES)), np.float32)
    vectors = Vectors(
        windows, np.arange(ROWS), np.zeros(ROWS, np.float32), zeros, np.zeros((ROWS, WIDTH + 1), np.float32)
    )
    dense = random.normal(size=(ROWS, len(DENSE))).astype(np.float32)
    dense[:, DENSE.index("has_topic")] = 1
    rows = [Row(source, str(number), Comment("x"), {}, f"g:{number}") for number, source in enumerate(sources)]
    return Table(rows, Features({}, dense), labels, np.ones(ROWS)), vectors, random.normal(size=(ROWS, len(CODES)))


def share_over(scores, line, table):
    good = np.array([row.source == "blog-threads" for row in table.rows])
    return float(np.mean(scores[good] >= line))


def test_it_hears_what_our_rows_teach_and_not_what_public_sets_do(made):
    table, vectors, lexical = made
    heads = fit_full_heads(table, vectors, lexical)
    assert heads.quiet_weights[CALM] > 5 * abs(heads.quiet_weights[LOUD])
    assert not heads.quiet_weights[WIDTH : WIDTH + len(MARKS) - 1].any()  # marks tell loud words


def test_the_louder_reading_is_the_score(made):
    table, vectors, lexical = made
    heads = fit_full_heads(table, vectors, lexical)
    loud, quiet = heads.loud(vectors, table.features.dense, lexical), heads.quiet(vectors)
    logits = heads.logits(vectors, table.features.dense, lexical)
    assert np.array_equal(logits[:, HOSTILE], np.maximum(loud[:, HOSTILE], quiet))
    others = [head for head in range(len(CODES)) if head != HOSTILE]
    assert np.array_equal(logits[:, others], loud[:, others])


def test_both_readings_meet_at_the_line(made):
    """Where the first alone would hold two good comments in a hundred, the second alone holds one."""
    table, vectors, lexical = made
    heads = fit_full_heads(table, vectors, lexical)
    loud = heads.loud(vectors, table.features.dense, lexical)[:, HOSTILE]
    beside = lay_beside(heads, vectors, loud, table)
    good = np.array([row.source == "blog-threads" for row in table.rows])
    assert held_share() == 0.02
    line = line_at(loud[good], np.full(good.sum(), "blogs"), held_share())
    assert share_over(loud, line, table) == pytest.approx(0.02, abs=0.003)
    # A hair's breadth lower: weights are kept in 32 bits.
    assert share_over(beside.quiet(vectors), line - 1e-4, table) == pytest.approx(SHARE, abs=0.003)
    # The order of what the second reading says stays the same.
    assert np.array_equal(np.argsort(beside.quiet(vectors)), np.argsort(heads.quiet(vectors)))


def test_so_does_the_sentence_that_was_read_by_itself(made):
    """Of the good comments that have one, the third reading alone holds one in a hundred, counted by place."""
    table, vectors, lexical = made
    heads = fit_full_heads(table, vectors, lexical)
    sentences = vectors.windows[::2].copy()
    sentences[:, -2] = 1
    order = np.argsort([*range(ROWS), *range(0, ROWS, 2)], kind="stable")
    owners = np.array([*range(ROWS), *range(0, ROWS, 2)])[order]
    both = replace(vectors, windows=np.vstack([vectors.windows, sentences])[order], owners=owners)
    loud = heads.loud(both, table.features.dense, lexical)[:, HOSTILE]
    assert loud == pytest.approx(heads.loud(vectors, table.features.dense, lexical)[:, HOSTILE])
    beside = lay_beside(heads, both, loud, table)
    good = np.array([row.source == "blog-threads" for row in table.rows])
    line = line_at(loud[good], np.full(good.sum(), "blogs"), held_share())
    said = beside.sentence(both)
    assert np.isfinite(said).tolist() == [row % 2 == 0 for row in range(ROWS)]
    assert np.mean(said[good & np.isfinite(said)] >= line - 1e-4) == pytest.approx(ALONE_SHARE, abs=0.003)
    assert np.isneginf(lay_beside(heads, vectors, loud, table).sentence(vectors)).all()


def test_a_default_policy_without_such_a_line_is_refused(monkeypatch):
    monkeypatch.setattr(quiet, "default_policy_toml", lambda: "[hostile]\nhold = 0.5\n")
    with pytest.raises(ValueError, match="a share of good comments"):
        held_share()


def test_without_rows_of_ours_there_is_no_second_reading(made):
    table, vectors, lexical = made
    rows = [replace(row, source="ruddit") if row.source == "seed" else row for row in table.rows]
    heads = fit_full_heads(replace(table, rows=rows), vectors, lexical)
    assert not heads.quiet_weights.any()
    assert np.isneginf(heads.quiet(vectors)).all()
    assert lay_beside(heads, vectors, heads.loud(vectors, table.features.dense, lexical)[:, HOSTILE], table) is heads


def test_another_language_says_nothing_by_itself(made):
    """Nothing can be read of it, so it hears what is read of an average comment."""
    table, vectors, lexical = made
    heads = fit_full_heads(table, vectors, lexical)
    unread = replace(vectors, windows=np.zeros_like(vectors.windows), foreign=np.ones(ROWS, np.float32))
    assert heads.quiet(unread) == pytest.approx(heads.quiet_intercept[0])
    assert heads.quiet(unread)[0] == pytest.approx(np.mean(heads.quiet(vectors)), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "places", "share", "line"),
    [
        ([1, 2, 3, 4], "aaaa", 0.25, 4),
        ([1, 2, 3, 4], "aaaa", 0.5, 3),
        ([1, 2, 9, 1, 2, 3, 4, 5, 6, 7], "aaabbbbbbb", 0.25, 7),  # a third of a and a seventh of b
        ([1, 1, 1], "aaa", 0.5, np.inf),
    ],
)
def test_a_line_counts_each_kind_of_place_the_same(scores, places, share, line):
    assert line_at(np.array(scores, float), np.array(list(places)), share) == line
