"""The heads of the full tier say what their arrays say, and the worst window decides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.heads import CLIP, FullHeads, Vectors, interpolate, worst_windows

COLUMNS, DENSE, RELATED, CODES = 6, 4, 3, ("hostile", "spam")
CONTEXT = DENSE + RELATED + len(CODES)


def random_heads(random):
    return FullHeads(
        codes=CODES,
        window_weights=random.normal(size=(COLUMNS, len(CODES))).astype(np.float32),
        mean=random.normal(size=CONTEXT).astype(np.float32),
        scale=random.uniform(0.5, 2, CONTEXT).astype(np.float32),
        context_weights=random.normal(size=(CONTEXT, len(CODES))).astype(np.float32),
        intercept=random.normal(size=len(CODES)),
        knots=np.array([[[-3.0, 0.0, 3.0], [-6.0, -1.0, 2.0]], [[-1.0, 1.0, 2.0], [-1.0, 1.0, 2.0]]]),
    )


def random_vectors(random, counts):
    return Vectors(
        random.normal(size=(sum(counts), COLUMNS)).astype(np.float32),
        np.repeat(np.arange(len(counts)), counts),
        random.normal(size=(len(counts), RELATED)).astype(np.float32),
    )


def test_a_logit_is_context_and_worst_window_added_up():
    random = np.random.default_rng(0)
    heads, counts = random_heads(random), [1, 3, 2]
    vectors = random_vectors(random, counts)
    dense, lexical = random.normal(size=(3, DENSE)).astype(np.float32), random.normal(size=(3, len(CODES)))
    logits = heads.logits(vectors, dense, lexical)
    starts = np.cumsum([0, *counts])
    for comment in range(3):
        context = np.concatenate([dense[comment], vectors.related[comment], lexical[comment]])
        context = np.clip((context - heads.mean) / heads.scale, -CLIP, CLIP)
        for head in range(len(CODES)):
            windows = vectors.windows[starts[comment] : starts[comment + 1]]
            worst = max(float(window @ heads.window_weights[:, head]) for window in windows)
            expected = worst + context @ heads.context_weights[:, head] + heads.intercept[head]
            assert logits[comment, head] == pytest.approx(expected, abs=1e-4)


def test_a_harmless_window_more_lowers_no_logit():
    random = np.random.default_rng(1)
    heads = random_heads(random)
    dense, lexical = np.zeros((1, DENSE), np.float32), np.zeros((1, len(CODES)))
    short = random_vectors(random, [2])
    longer = Vectors(np.vstack([short.windows, short.windows[:1] - 1]), np.zeros(3, np.int64), short.related)
    assert (heads.logits(longer, dense, lexical) >= heads.logits(short, dense, lexical)).all()


def test_each_head_has_a_worst_window_of_its_own():
    windows = np.array([[1, 0], [0, 2], [-5, -5]], np.float32)
    vectors = Vectors(windows, np.array([0, 0, 1]), np.zeros((2, 0), np.float32))
    assert worst_windows(vectors, np.eye(2, dtype=np.float32)).tolist() == [[1, 2], [-5, -5]]


def test_a_comment_scores_the_same_alone_and_among_others():
    random = np.random.default_rng(2)
    heads, counts = random_heads(random), [2, 1, 4]
    vectors = random_vectors(random, counts)
    dense, lexical = random.normal(size=(3, DENSE)).astype(np.float32), random.normal(size=(3, len(CODES)))
    together = heads.calibrate(heads.logits(vectors, dense, lexical))
    for comment in range(3):
        own = vectors.owners == comment
        alone = Vectors(vectors.windows[own], np.zeros(own.sum(), np.int64), vectors.related[[comment]])
        logits = heads.logits(alone, dense[[comment]], lexical[[comment]])
        assert heads.calibrate(logits)[0] == pytest.approx(together[comment], abs=1e-6)


def test_between_the_points_lines_are_drawn_and_beyond_them_drawn_on():
    knots, images = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0])
    values = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0])
    assert interpolate(values, knots, images).tolist() == [-2.0, 0.0, 1.0, 2.0, 2.5, 3.0, 4.0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_probabilities_rise_with_logits_and_stay_inside(values):
    heads = random_heads(np.random.default_rng(3))
    logits = np.sort(np.array(values))
    probabilities = heads.calibrate(np.stack([logits, logits], axis=1))
    assert (np.diff(probabilities, axis=0) >= 0).all()
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_two_logits_apart_never_become_one_probability():
    heads = random_heads(np.random.default_rng(4))
    logits = np.linspace(-10, 10, 200)
    probabilities = heads.calibrate(np.stack([logits, logits], axis=1))
    assert (np.diff(probabilities, axis=0) > 0).all()
