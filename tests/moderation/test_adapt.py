"""Residuals are fitted as scikit-learn fits, move the way that labels point, and not without labels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from moderation.adaptation import Adaptation
from moderation.arrays import WORDS
from moderation.categories import CODES
from moderation.encoder import WIDTH
from moderation.heads import FieldWeights, FullHeads
from moderation.model import CONTEXT, MARKS
from moderation.training.adapt import (
    EVERYWHERE,
    ONE_SITE,
    Frame,
    Labelled,
    _fit_category,
    base_logits,
    count_words,
    fit_everywhere,
    fit_residual,
    fit_site,
    fit_sites,
)
from tests.moderation.test_anchors import make_figures

HERE, THERE = "https://here.example", "https://there.example"
SPAM, HOSTILE = CODES.index("spam"), CODES.index("hostile")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.integers(20, 200), st.integers(1, 8), st.floats(0.01, 10), st.booleans())
def test_without_an_offset_it_is_the_logistic_regression_of_scikit_learn(seed, rows, columns, strength, with_words):
    random = np.random.default_rng(seed)
    dense = random.normal(size=(rows, columns)).astype(np.float32)
    words = sparse.random(rows, 12, density=0.3, format="csr", random_state=random) if with_words else None
    target = (random.random(rows) < 0.4).astype(float)
    target[:2] = 0, 1
    weight = random.random(rows) + 0.1
    found = fit_residual(dense, words, np.zeros(rows), target, weight, regularisation=strength, intercept=0.5)
    # A constant column is how an intercept is held back there.
    parts = [dense, np.full((rows, 1), 0.5), *([words.toarray()] if words is not None else [])]
    theirs = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=2_000)
    theirs.fit(np.hstack(parts), target, sample_weight=weight)
    assert found == pytest.approx(theirs.coef_[0], abs=5e-3)


def test_what_the_offset_explains_is_not_learned_again():
    random = np.random.default_rng(1)
    dense = random.normal(size=(4_000, 1)).astype(np.float32)
    logit = 2.0 * dense[:, 0].astype(float)
    target = (random.random(4_000) < 1 / (1 + np.exp(-logit))).astype(float)
    arguments = {"regularisation": 1.0, "intercept": 1.0}
    alone = fit_residual(dense, None, np.zeros(4_000), target, np.ones(4_000), **arguments)
    beside = fit_residual(dense, None, logit, target, np.ones(4_000), **arguments)
    assert alone[0] == pytest.approx(2, abs=0.2)
    assert beside == pytest.approx(np.zeros(2), abs=0.15)


def make_heads():
    return FullHeads(
        codes=CODES,
        window_weights=np.zeros((WIDTH + len(MARKS), len(CODES)), np.float32),
        signature_weights=np.zeros((WIDTH + 1, len(CODES)), np.float32),
        mean=np.zeros(len(CONTEXT), np.float32),
        scale=np.ones(len(CONTEXT), np.float32),
        context_weights=np.zeros((len(CONTEXT), len(CODES)), np.float32),
        intercept=np.full(len(CODES), -1.0),
        knots=np.tile(np.array([[-1.0, 1.0], [-1.0, 1.0]]), (len(CODES), 1, 1)),
        quiet_weights=np.zeros(WIDTH + len(MARKS), np.float32),
        quiet_intercept=np.array([-np.inf]),
        alone=np.array([1.0, -np.inf]),
    )


def label(rows, sites, seed=5, **said):
    """Made-up comments with labels of some categories, each a number for all or one for each."""
    figures = make_figures(rows, seed)
    labels = np.full((rows, len(CODES)), np.nan)
    for code, value in said.items():
        labels[:, CODES.index(code)] = value
    figures = replace(figures, labels=labels, weights=np.ones(rows))
    texts = [f"number {row} speaks of {'watches' if row % 2 else 'gardens'}" for row in range(rows)]
    return Labelled(figures, texts, [sites[row % len(sites)] for row in range(rows)])


def fit_adaptation(heads, labelled, anchors, everywhere=EVERYWHERE, jobs=1, **options):
    """Both parts, one after the other, with heads whose calibration does not depend on the first."""
    shared = fit_everywhere(heads, labelled, anchors, holding=everywhere, jobs=jobs)
    return Adaptation(shared, fit_sites(heads, shared, labelled, anchors, jobs=jobs, **options))


def added(adaptation, heads, labelled, sites):
    figures = labelled.figures
    context = heads.context(figures.vectors, figures.dense, figures.lexical)
    return adaptation.logits(sites, figures.vectors, context, labelled.texts)


@pytest.fixture(scope="module")
def kept():
    return make_figures(300, seed=9)


def test_without_labels_nothing_moves(kept):
    labelled = label(40, [HERE])
    fitted = fit_adaptation(make_heads(), labelled, kept, least=10)
    assert set(fitted.sites) == {HERE}
    assert not added(fitted, make_heads(), labelled, [HERE] * 40).any()


def test_a_category_without_labels_stays_where_it_is(kept):
    labelled = label(60, [HERE], spam=np.arange(60) % 2)
    moved = added(fit_adaptation(make_heads(), labelled, kept), make_heads(), labelled, [HERE] * 60)
    assert np.flatnonzero(np.abs(moved).max(axis=0)).tolist() == [SPAM]


@pytest.mark.parametrize("value", [0, 1])
def test_labels_of_a_site_move_its_scores_their_way_and_no_others(kept, value):
    labelled = label(80, [HERE], spam=value)
    fitted = fit_adaptation(make_heads(), labelled, kept, everywhere=replace(ONE_SITE, regularisation=1e-9))
    here, elsewhere = (added(fitted, make_heads(), labelled, [site] * 80)[:, SPAM] for site in (HERE, THERE))
    assert (here > 0.05).all() if value else (here < -0.01).all()
    assert np.abs(elsewhere).max() < 1e-3


def test_a_site_learns_its_own_words(kept):
    labelled = label(120, [HERE], spam=np.arange(120) % 2)  # "watches" is spam here
    fitted = fit_adaptation(make_heads(), labelled, kept)
    same = replace(labelled, figures=labelled.figures.take(np.zeros(2, np.int64)), texts=["watches", "gardens"])
    watches, gardens = added(fitted, make_heads(), same, [HERE, HERE])[:, SPAM]
    assert watches > gardens + 0.05
    watches, gardens = added(fitted, make_heads(), same, [THERE, THERE])[:, SPAM]
    assert watches == gardens


def test_a_site_with_few_labels_has_no_residual_of_its_own(kept):
    labelled = label(59, [HERE, THERE], spam=np.arange(59) % 2)  # 30 here, 29 there
    assert set(fit_adaptation(make_heads(), labelled, kept, least=30).sites) == {HERE}


def test_comments_of_no_site_teach_all_sites_alone(kept):
    labelled = label(80, [None], spam=1)
    fitted = fit_adaptation(make_heads(), labelled, kept)
    assert fitted.sites == {}
    assert (added(fitted, make_heads(), labelled, [None] * 80)[:, SPAM] > 0).mean() > 0.9


def test_more_labels_move_more(kept):
    moved = []
    for rows in (30, 120, 480):
        labelled = label(rows, [HERE], hostile=1)
        fitted = fit_adaptation(make_heads(), labelled, kept)
        moved.append(added(fitted, make_heads(), labelled, [HERE] * rows)[:30, HOSTILE].mean())
    assert 0 < moved[0] < moved[1] < moved[2]


def test_anchors_hold_what_labels_would_have_forgotten(kept):
    """Labels that call everything spam, beside anchors that know what is none."""
    labelled = label(200, [None], spam=1)
    known = np.full_like(kept.labels, np.nan)
    known[:, SPAM] = 0
    with_them, without = (
        fit_adaptation(make_heads(), labelled, replace(kept, labels=labels))
        for labels in (known, np.full_like(known, np.nan))
    )
    context = make_heads().context(kept.vectors, kept.dense, kept.lexical)
    nowhere = [None] * len(kept), kept.vectors, context, [""] * len(kept)
    assert with_them.logits(*nowhere)[:, SPAM].mean() < without.logits(*nowhere)[:, SPAM].mean()


def test_off_topic_anchors_without_a_post_teach_nothing(kept):
    labelled = label(60, [None], off_topic=np.arange(60) % 2)
    head = CODES.index("off_topic")
    labels = np.full_like(kept.labels, np.nan)
    labels[:, head] = np.where(kept.known("off_topic") | True, 1.0, np.nan)
    unknown = np.where(kept.dense[:, [CONTEXT.index("has_topic")]] > 0, labels, np.nan)
    one, other = (fit_adaptation(make_heads(), labelled, replace(kept, labels=each)) for each in (labels, unknown))
    assert (one.everywhere.context_weights == other.everywhere.context_weights).all()


def test_fitting_is_the_same_each_time_and_in_threads(kept):
    labelled = label(60, [HERE], spam=np.arange(60) % 2, hostile=0)
    one, two = (fit_adaptation(make_heads(), labelled, kept, jobs=jobs) for jobs in (1, 2))
    for first, second in ((one.everywhere, two.everywhere), (one.sites[HERE], two.sites[HERE])):
        for name in ("window_weights", "signature_weights", "context_weights", "intercept"):
            assert (getattr(first, name) == getattr(second, name)).all()


def test_offsets_are_what_the_heads_say():
    figures = make_figures(5, 1)
    assert base_logits(make_heads(), figures) == pytest.approx(np.full((5, len(CODES)), -1.0))


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
    residual = fit_site(_frame(), seen, TEXTS, _taught(labels), slopes=np.ones(len(CODES)))
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
    residual = fit_site(_frame(), seen, TEXTS, _taught(np.array([1.0, 0.0] * 10)), slopes=np.ones(len(CODES)))
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
    residual = fit_site(
        _frame(), seen, TEXTS, (np.zeros(labels.shape), labels, np.ones(len(TEXTS))), slopes=np.ones(len(CODES))
    )
    assert residual.words is not None
    assert not residual.words.weights.any()
    assert residual.context_weights[:, CODES.index("off_topic")].any()
