"""The heads of the full tier say what their arrays say, and the worst window decides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.encoder import WIDTH
from moderation.heads import CLIP, FullHeads, Vectors, interpolate, put_together, telling_windows, worst_windows

COLUMNS, SIGNED, DENSE, RELATED, CODES = 6, 5, 4, 3, ("hostile", "spam")
CONTEXT = DENSE + RELATED + len(CODES) + 1 + len(CODES)


def random_heads(random):
    return FullHeads(
        codes=CODES,
        window_weights=random.normal(size=(COLUMNS, len(CODES))).astype(np.float32),
        signature_weights=random.normal(size=(SIGNED, len(CODES))).astype(np.float32),
        mean=random.normal(size=CONTEXT).astype(np.float32),
        scale=random.uniform(0.5, 2, CONTEXT).astype(np.float32),
        context_weights=random.normal(size=(CONTEXT, len(CODES))).astype(np.float32),
        intercept=random.normal(size=len(CODES)),
        knots=np.array([[[-3.0, 0.0, 3.0], [-6.0, -1.0, 2.0]], [[-1.0, 1.0, 2.0], [-1.0, 1.0, 2.0]]]),
        quiet_weights=random.normal(size=COLUMNS).astype(np.float32),
        quiet_intercept=np.array([-np.inf]),
        alone=np.array([1.0, -np.inf]),
    )


def random_vectors(random, counts):
    """Vectors of comments with so many windows each, all of which can be read."""
    windows = random.normal(size=(sum(counts), COLUMNS)).astype(np.float32)
    windows[:, -2:] = 0, 1
    return Vectors(
        windows,
        np.repeat(np.arange(len(counts)), counts),
        random.uniform(0, 1, len(counts)).astype(np.float32),
        random.normal(size=(len(counts), RELATED)).astype(np.float32),
        random.normal(size=(len(counts), SIGNED)).astype(np.float32),
    )


def random_facts(random, comments):
    """Dense features and lexical logits of so many comments."""
    return random.normal(size=(comments, DENSE)).astype(np.float32), random.normal(size=(comments, len(CODES)))


def test_a_logit_is_context_signature_and_worst_window_added_up():
    random = np.random.default_rng(0)
    heads, counts = random_heads(random), [1, 3, 2]
    vectors = random_vectors(random, counts)
    dense, lexical = random_facts(random, 3)
    logits = heads.logits(vectors, dense, lexical)
    starts = np.cumsum([0, *counts])
    for comment in range(3):
        foreign = vectors.foreign[comment]
        features = dense[comment], vectors.related[comment], lexical[comment], [foreign], foreign * lexical[comment]
        context = np.concatenate(features)
        context = np.clip((context - heads.mean) / heads.scale, -CLIP, CLIP)
        context[DENSE : DENSE + RELATED] *= 1 - foreign
        for head in range(len(CODES)):
            windows = vectors.windows[starts[comment] : starts[comment + 1]]
            worst = max(float(window @ heads.window_weights[:, head]) for window in windows)
            signature = vectors.signatures[comment] @ heads.signature_weights[:, head]
            signature *= 1 if signature > 0 else 0.6
            expected = worst + signature + context @ heads.context_weights[:, head] + heads.intercept[head]
            assert logits[comment, head] == pytest.approx(expected, abs=1e-4)


def test_a_harmless_window_more_lowers_no_logit():
    random = np.random.default_rng(1)
    heads = random_heads(random)
    dense, lexical = np.zeros((1, DENSE), np.float32), np.zeros((1, len(CODES)))
    short = random_vectors(random, [2])
    # Lower along the weights of both heads, and as readable.
    lower = short.windows[:1] - np.append(np.linalg.pinv(heads.window_weights[:-1].T).sum(axis=1), 0)
    longer = replace(short, windows=np.vstack([short.windows, lower]), owners=np.zeros(3, np.int64))
    assert (heads.logits(longer, dense, lexical) >= heads.logits(short, dense, lexical)).all()


def test_each_head_has_a_worst_window_of_its_own():
    windows = np.array([[1, 0, 0, 1], [0, 2, 0, 1], [-5, -5, 0, 1]], np.float32)
    none = np.zeros((2, 0), np.float32)
    vectors = Vectors(windows, np.array([0, 0, 1]), np.zeros(2, np.float32), none, none)
    assert worst_windows(vectors, np.eye(4, 2, dtype=np.float32)).tolist() == [[1, 2], [-5, -5]]


class TestOneSentence:
    """A sentence that was read by itself is a reading of its own, and no window of the comment."""

    # Two comments: two windows and a sentence; one window.
    WINDOWS = np.array([[1, 0, 0, 1], [2, 0, 0, 1], [3, 0, 1, 1], [4, 0, 0, 1]], np.float32)
    HEADS = replace(
        random_heads(np.random.default_rng(3)),
        window_weights=np.eye(4, 2, dtype=np.float32),
        alone=np.array([3.0, -2.0]),
    )

    def vectors(self, windows=WINDOWS):
        none = np.zeros((2, 0), np.float32)
        return Vectors(windows, np.array([0, 0, 0, 1]), np.zeros(2, np.float32), none, none)

    def test_no_head_takes_it_for_a_window(self):
        assert worst_windows(self.vectors(), self.HEADS.window_weights)[:, 0].tolist() == [2, 4]

    def test_no_label_is_about_it(self):
        marked = np.insert(self.WINDOWS, [2], np.zeros((4, WIDTH - 2), np.float32), axis=1)
        marked = np.insert(marked, [WIDTH], np.array([[0.1], [0.2], [0.9], [0]]), axis=1)
        assert telling_windows(self.vectors(marked.astype(np.float32))).tolist() == [1, 3]

    def test_it_says_what_the_first_reading_makes_of_it_stretched_and_moved(self):
        assert self.HEADS.sentence(self.vectors()).tolist() == [3 * 3 - 2, -np.inf]

    def test_one_that_cannot_be_read_says_nothing(self):
        windows = self.WINDOWS.copy()
        windows[2] *= 0.001
        assert np.isneginf(self.HEADS.sentence(self.vectors(windows))).all()

    def test_one_in_a_comment_of_another_language_leaves_its_windows_as_they_are(self):
        windows = self.WINDOWS.copy()
        windows[:2] = 0
        assert worst_windows(self.vectors(windows), self.HEADS.window_weights)[:, 0].tolist() == [0, 4]


def test_a_comment_scores_the_same_alone_and_among_others():
    random = np.random.default_rng(2)
    heads, counts = random_heads(random), [2, 1, 4]
    vectors = random_vectors(random, counts)
    dense, lexical = random_facts(random, 3)
    together = heads.calibrate(heads.logits(vectors, dense, lexical))
    for comment in range(3):
        own = vectors.owners == comment
        alone = Vectors(
            vectors.windows[own],
            np.zeros(own.sum(), np.int64),
            vectors.foreign[[comment]],
            vectors.related[[comment]],
            vectors.signatures[[comment]],
        )
        logits = heads.logits(alone, dense[[comment]], lexical[[comment]])
        assert heads.calibrate(logits)[0] == pytest.approx(together[comment], abs=1e-6)


def test_context_features_are_put_together_in_one_order():
    """Dense, related, lexical logits, how foreign, and that times the logits; the order in which weights are stored."""
    vectors = Vectors(
        np.zeros((2, COLUMNS), np.float32),
        np.arange(2),
        np.array([0.0, 0.5], np.float32),
        np.array([[3], [13]], np.float32),
        np.zeros((2, SIGNED), np.float32),
    )
    dense, lexical = np.array([[1, 2], [11, 12]], np.float32), np.array([[4.0, -6], [14, -16]])
    context = put_together(vectors, dense, lexical)
    assert context.dtype == np.float32
    assert context.tolist() == [[1, 2, 3, 4, -6, 0, 0, 0], [11, 12, 13, 14, -16, 0.5, 7, -8]]


def test_a_window_that_cannot_be_read_adds_nothing():
    """Its row is all zeros, whatever the weights are; only that it is foreign and what its words say still count."""
    random = np.random.default_rng(5)
    heads, vectors = random_heads(random), random_vectors(random, [1, 1])
    vectors.windows[1] = 0
    assert worst_windows(vectors, heads.window_weights)[1].tolist() == [0, 0]
    dense, lexical = random_facts(random, 2)
    deaf = replace(heads, window_weights=np.zeros_like(heads.window_weights))
    logits, without = (each.logits(vectors, dense, lexical) for each in (heads, deaf))
    assert logits[1].tolist() == without[1].tolist()
    assert (logits[0] != without[0]).all()


@pytest.mark.parametrize("product", [-7.0, 9.0])
def test_a_foreign_window_neither_excuses_the_others_nor_speaks_against_them(product):
    """It counts only where no window can be read."""
    windows = np.array([[product, 0, 0.1], [-3, 0, 1], [product, 0, 0.1], [product / 2, 0, 0.2]], np.float32)
    none = np.zeros((2, 0), np.float32)
    vectors = Vectors(windows, np.array([0, 0, 1, 1]), np.zeros(2, np.float32), none, none)
    weights = np.array([[1], [0], [0]], np.float32)
    assert worst_windows(vectors, weights).ravel().tolist() == [-3, max(product, product / 2)]


def test_what_vectors_say_of_a_topic_counts_as_far_as_the_comment_can_be_read():
    random = np.random.default_rng(8)
    heads, vectors = random_heads(random), random_vectors(random, [1])
    dense, lexical = random_facts(random, 1)
    related = slice(DENSE, DENSE + RELATED)
    whole, half, none = (
        heads.context(replace(vectors, foreign=np.array([foreign], np.float32)), dense, lexical)[0, related]
        for foreign in (0, 0.5, 1)
    )
    assert whole == pytest.approx(
        np.clip((vectors.related[0] - heads.mean[related]) / heads.scale[related], -CLIP, CLIP)
    )
    assert half == pytest.approx(whole / 2)
    assert not none.any()


def test_in_a_readable_comment_the_products_with_foreign_say_nothing():
    random = np.random.default_rng(6)
    heads, vectors = random_heads(random), random_vectors(random, [2, 1])
    heads.mean[-len(CODES) - 1 :] = 0
    readable = replace(vectors, foreign=np.zeros(2, np.float32))
    dense, lexical = random_facts(random, 2)
    heads_without = replace(heads, context_weights=heads.context_weights.copy())
    heads_without.context_weights[-len(CODES) - 1 :] = 0
    for given_vectors, alike in ((readable, True), (vectors, False)):
        logits, without = (each.logits(given_vectors, dense, lexical) for each in (heads, heads_without))
        assert np.array_equal(logits, without) == alike


def test_a_signature_adds_its_product_with_the_weights_less_where_it_speaks_for_a_comment():
    random = np.random.default_rng(7)
    heads, vectors = random_heads(random), random_vectors(random, [2, 1, 1])
    vectors.signatures[2] = 0
    dense, lexical = random_facts(random, 3)
    unsigned = replace(vectors, signatures=np.zeros_like(vectors.signatures))
    added = heads.logits(vectors, dense, lexical) - heads.logits(unsigned, dense, lexical)
    said = vectors.signatures @ heads.signature_weights
    assert (said > 0).any()
    assert (said < 0).any()
    assert added == pytest.approx(np.where(said < 0, 0.6 * said, said), abs=1e-6)
    assert added[2].tolist() == [0, 0]


def test_between_the_points_lines_are_drawn_and_beyond_them_drawn_on():
    knots, images = np.array([[0.0, 1.0, 3.0], [0.0, 1.0, 2.0]]), np.array([[0.0, 2.0, 3.0], [0.0, 1.0, 2.0]])
    values = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0])
    bent, straight = interpolate(np.stack([values, values], axis=1), knots, images).T
    assert bent.tolist() == [-2.0, 0.0, 1.0, 2.0, 2.5, 3.0, 4.0]
    assert straight.tolist() == values.tolist()


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
