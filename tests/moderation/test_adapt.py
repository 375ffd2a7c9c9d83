"""Labels to residuals: what a site's own labels teach, and what they leave alone."""

import numpy as np

from moderation.arrays import WORDS
from moderation.categories import CODES
from moderation.encoder import WIDTH
from moderation.heads import FieldWeights
from moderation.model import CONTEXT
from moderation.training.adapt import (
    EVERYWHERE,
    ONE_SITE,
    Frame,
    _fit_category,
    count_words,
    fit_residual,
    fit_site,
)

SPAM = CODES.index("spam")
TEXTS = ["buy cheap pills", "thank you for the post", "cheap pills here", "a question about the second step"] * 5


def _taught(labels):
    known = np.full((len(labels), len(CODES)), np.nan)
    known[:, SPAM] = labels
    return np.zeros((len(labels), len(CODES))), known, np.ones(len(labels))


def _frame():
    return Frame(np.zeros(WIDTH), np.ones(WIDTH), np.zeros(WIDTH), np.ones(WIDTH))


def test_words_that_no_label_has_are_left_at_nought_and_the_others_are_the_same_without_them():
    """Columns of n-grams that no comment has are not fitted: the fit over all columns gives the same weights."""
    labels = np.array([1.0, 0.0, 1.0, 0.0] * 5)
    seen = np.zeros((len(TEXTS), 2 * WIDTH + len(CONTEXT)), np.float32)
    residual = fit_site(_frame(), seen, TEXTS, _taught(labels))
    assert residual.words is not None
    own = residual.words.weights[:, SPAM].astype(float)
    counted = count_words(TEXTS, FieldWeights(WORDS, residual.words.idf, np.zeros((0, 0), np.float16)))
    absent = np.setdiff1d(np.arange(1 << WORDS.bits), counted.indices)
    assert not own[absent].any()
    whole = fit_residual(
        np.zeros((len(TEXTS), 0), np.float32),
        counted * ONE_SITE.words,
        np.zeros(len(TEXTS)),
        labels,
        np.ones(len(TEXTS)),
        regularisation=ONE_SITE.regularisation,
        intercept=ONE_SITE.intercept,
    )
    assert np.allclose(own, whole[1:] * ONE_SITE.words, atol=1e-3)
    assert own.any()


def test_a_category_that_nobody_labelled_does_not_move():
    """Labels of spam say nothing of the others."""
    seen = np.zeros((len(TEXTS), 2 * WIDTH + len(CONTEXT)), np.float32)
    residual = fit_site(_frame(), seen, TEXTS, _taught(np.array([1.0, 0.0] * 10)))
    others = [head for head in range(len(CODES)) if head != SPAM]
    assert residual.words is not None
    assert not residual.words.weights[:, others].any()
    assert not residual.intercept[others].any()
    assert not residual.context_weights[:, others].any()


def test_anchors_hold_what_the_heads_say_and_move_nothing_by_themselves():
    """Beside labels that count for nothing, nothing moves, though the anchors' own labels contradict the heads."""
    random = np.random.default_rng(0)
    width = 2 * WIDTH + len(CONTEXT)
    columns = random.normal(size=(len(TEXTS), width)).astype(np.float32)
    anchors = random.normal(size=(200, width)).astype(np.float32)
    logits = random.normal(0, 2, (200, len(CODES)))
    no_words = count_words(TEXTS, FieldWeights(WORDS, np.ones(1 << WORDS.bits, np.float32), np.zeros((0, 0))))
    beside = (anchors, logits, (logits < 0).astype(float), np.ones(200))
    offsets, labels, _ = _taught(np.array([1.0, 0.0] * 10))
    moved = {}
    for weight in (0.0, 1.0):
        taught = (offsets, labels, np.full(len(TEXTS), weight))
        moved[weight], _ = _fit_category("spam", columns, no_words, *taught, EVERYWHERE, beside, has_words=False)
    assert np.allclose(moved[0.0], 0, atol=1e-6)
    assert np.abs(moved[1.0]).max() > 1e-4


def test_words_do_not_say_what_is_beside_the_point():
    """Off-topic is how a comment relates to its post: a site's words would only tell which of its posts it is."""
    labels = np.full((len(TEXTS), len(CODES)), np.nan)
    labels[:, CODES.index("off_topic")] = [1.0, 0.0] * 10
    seen = np.random.default_rng(0).normal(size=(len(TEXTS), 2 * WIDTH + len(CONTEXT))).astype(np.float32)
    residual = fit_site(_frame(), seen, TEXTS, (np.zeros(labels.shape), labels, np.ones(len(TEXTS))))
    assert residual.words is not None
    assert not residual.words.weights.any()
    assert residual.context_weights[:, CODES.index("off_topic")].any()
