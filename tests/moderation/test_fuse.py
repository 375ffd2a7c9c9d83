"""The heads of the full tier learn from vectors, facts and words, and keep what they learned as plain arrays."""

import numpy as np
import pytest

from moderation import topic
from moderation.categories import CODES
from moderation.comment import Comment
from moderation.encoder import WIDTH
from moderation.errors import DataError
from moderation.heads import CLIP, Features, Vectors, worst_windows
from moderation.model import CONTEXT, DENSE, MARKS
from moderation.training.fuse import FULL_RECIPES, fit_full_heads
from moderation.training.points import fit_knots, stack_knots
from moderation.training.rows import Row
from moderation.training.table import Table

ROWS = 600
HOSTILE, OFF_TOPIC = CODES.index("hostile"), CODES.index("off_topic")


def auc(labels, scores):
    bad, good = scores[labels == 1], scores[labels == 0]
    return float((bad[:, None] > good[None, :]).mean())


def synthetic(seed=0, sources=("kaggle-insults",)):
    """Rows with several windows each; one of them, marked highest, tells every label along a direction of its own."""
    random = np.random.default_rng(seed)
    labels = (random.random((ROWS, len(CODES))) < 0.4).astype(float)
    counts = random.integers(1, 4, ROWS)
    owners = np.repeat(np.arange(ROWS), counts)
    windows = np.zeros((len(owners), WIDTH + len(MARKS)), np.float32)
    windows[:, :WIDTH] = random.normal(1, 2, (len(owners), WIDTH))
    windows[:, : len(CODES)] = random.normal(-2, 0.7, (len(owners), len(CODES)))
    windows[:, WIDTH] = random.uniform(0, 0.4, len(owners))
    telling = np.concatenate([[0], np.cumsum(counts)[:-1]]) + random.integers(0, counts)
    windows[telling, : len(CODES)] = (labels * 2 - 1) * 1.5 + random.normal(0, 0.7, labels.shape)
    windows[telling, WIDTH] = 0.5 + random.uniform(0, 0.5, ROWS)
    related = np.zeros((ROWS, len(topic.VECTOR_NAMES)), np.float32)
    placed = random.random(ROWS) < 0.7
    related[placed, 0] = 1
    near = 0.6 - 0.3 * labels[:, OFF_TOPIC, None] + random.normal(0, 0.1, (ROWS, len(topic.VECTOR_NAMES) - 1))
    related[placed, 1:] = near[placed]
    dense = random.normal(size=(ROWS, len(DENSE))).astype(np.float32)
    dense[:, DENSE.index("has_topic")] = placed
    rows = [Row(sources[n % len(sources)], str(n), Comment("x"), {}, f"set:{n}") for n in range(ROWS)]
    lexical = random.normal(size=(ROWS, len(CODES))) + 0.3 * labels
    table = Table(rows, Features({}, dense), labels, np.ones(ROWS))
    return table, Vectors(windows, owners, related), lexical


@pytest.fixture(scope="module")
def learned():
    table, vectors, lexical = synthetic()
    return fit_full_heads(table, vectors, lexical)


def test_context_features_are_named_in_the_order_in_which_heads_get_them():
    assert len(CONTEXT) == len(DENSE) + len(topic.VECTOR_NAMES) + len(CODES) == len(set(CONTEXT))
    for recipe in FULL_RECIPES.values():
        assert set(recipe.context) <= set(CONTEXT)
    assert set(FULL_RECIPES) == set(CODES)


def test_heads_learn_what_the_telling_window_says(learned):
    table, vectors, lexical = synthetic(seed=1)
    logits = learned.logits(vectors, table.features.dense, lexical)
    for head, code in enumerate(CODES):
        known = table.known(code)
        assert auc(table.labels[known, head], logits[known, head]) > 0.85, code


def test_a_head_is_fitted_on_the_window_with_the_highest_mark():
    """With the marks turned round, other windows are learned from, and those say nothing."""
    table, vectors, lexical = synthetic()
    turned = vectors.windows.copy()
    turned[:, WIDTH] = -turned[:, WIDTH]
    # Only comments of several windows have another one to choose.
    several = np.flatnonzero(np.bincount(vectors.owners) > 1)
    chosen = np.isin(vectors.owners, several)
    owners = np.searchsorted(several, vectors.owners[chosen])

    def weight(windows):
        subset = Vectors(windows[chosen], owners, vectors.related[several])
        return fit_full_heads(table.take(several), subset, lexical[several]).window_weights[HOSTILE, HOSTILE]

    assert weight(vectors.windows) > 5 * abs(weight(turned))


def test_scores_are_those_of_standardised_columns(learned):
    """Standardisation is folded into weights and intercept; done step by step it gives the same logits."""
    table, vectors, lexical = synthetic()
    logits = learned.logits(vectors, table.features.dense, lexical)
    highest = [
        max(np.flatnonzero(vectors.owners == row), key=lambda at: vectors.windows[at, WIDTH]) for row in range(ROWS)
    ]
    telling = vectors.windows[highest].astype(float)
    centre, spread = telling.mean(axis=0), np.maximum(telling.std(axis=0), 1e-3)
    weights = learned.window_weights * spread[:, None]
    intercept = learned.intercept + centre @ learned.window_weights
    context = np.hstack([table.features.dense, vectors.related, lexical])
    context = np.clip((context - learned.mean) / learned.scale, -CLIP, CLIP)
    explicit = context @ learned.context_weights + intercept
    standardised = (vectors.windows - centre) / spread @ weights
    for row in range(0, ROWS, 7):
        explicit_row = explicit[row] + standardised[vectors.owners == row].max(axis=0)
        assert logits[row] == pytest.approx(explicit_row, abs=1e-4)


def test_heads_see_only_what_their_recipe_allows(learned):
    for head, code in enumerate(CODES):
        seen = {CONTEXT[column] for column in np.flatnonzero(learned.context_weights[:, head])}
        assert seen <= set(FULL_RECIPES[code].context), code
        assert learned.window_weights[:, head].any() == FULL_RECIPES[code].reads, code


def test_off_topic_reads_no_words():
    """What a comment says matters for it by what stands around it alone."""
    table, vectors, lexical = synthetic()
    heads = fit_full_heads(table, vectors, lexical)
    assert not worst_windows(vectors, heads.window_weights)[:, OFF_TOPIC].any()


def test_features_of_a_post_are_standardised_over_rows_that_have_one(learned):
    table, vectors, _ = synthetic()
    placed = vectors.related[:, 0] > 0
    column = CONTEXT.index("vector_best")
    assert learned.mean[column] == pytest.approx(vectors.related[placed, 1].mean(), abs=1e-5)
    column = CONTEXT.index("post_cosine")
    values = table.features.dense[placed][:, DENSE.index("post_cosine")]
    assert learned.mean[column] == pytest.approx(values.mean(), abs=1e-5)


def test_how_a_source_was_sampled_is_not_learned():
    """One source is nearly all hostile, another hardly; the columns that only tell them apart get next to no weight."""
    table, vectors, lexical = synthetic(sources=("kaggle-insults", "jigsaw-predibase"))
    random = np.random.default_rng(5)
    first = np.array([row.source == "kaggle-insults" for row in table.rows])
    labels = table.labels.copy()
    labels[:, HOSTILE] = random.random(ROWS) < np.where(first, 0.9, 0.1)
    windows = random.normal(size=vectors.windows.shape).astype(np.float32)
    windows[:, 0] = np.where(first, 1, -1)[vectors.owners] + random.normal(0, 0.3, len(windows))
    told = Vectors(windows, vectors.owners, vectors.related)
    by_source = fit_full_heads(Table(table.rows, table.features, labels, table.weights), told, lexical)
    rows = [Row("kaggle-insults", row.id, row.comment, {}, row.group) for row in table.rows]
    as_one = fit_full_heads(Table(rows, table.features, labels, table.weights), told, lexical)
    assert abs(by_source.window_weights[0, HOSTILE]) < 0.5 * abs(as_one.window_weights[0, HOSTILE])


def test_fitting_again_gives_the_same(learned):
    again = fit_full_heads(*synthetic())
    assert np.array_equal(again.window_weights, learned.window_weights)
    assert np.array_equal(again.context_weights, learned.context_weights)
    assert np.array_equal(again.intercept, learned.intercept)


def test_calibrated_heads_say_how_often_it_is_so(learned):
    table, vectors, lexical = synthetic(seed=2)
    logits = learned.logits(vectors, table.features.dense, lexical)[:, HOSTILE]
    knots = stack_knots([fit_knots(logits, table.labels[:, HOSTILE], np.ones(ROWS))] * len(CODES))
    calibrated = type(learned)(
        learned.codes,
        learned.window_weights,
        learned.mean,
        learned.scale,
        learned.context_weights,
        learned.intercept,
        knots,
    )
    probabilities = calibrated.calibrate(calibrated.logits(vectors, table.features.dense, lexical))[:, HOSTILE]
    assert probabilities.mean() == pytest.approx(table.labels[:, HOSTILE].mean(), abs=0.01)


def test_a_category_without_both_labels_is_refused_by_name():
    table, vectors, lexical = synthetic()
    labels = table.labels.copy()
    labels[:, CODES.index("threat")] = 0
    with pytest.raises(DataError, match="threat"):
        fit_full_heads(Table(table.rows, table.features, labels, table.weights), vectors, lexical)
