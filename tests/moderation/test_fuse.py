"""The heads of the full tier learn from vectors, facts and words, and keep what they learned as plain arrays."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from moderation import topic
from moderation.categories import CODES
from moderation.comment import Comment
from moderation.encoder import WIDTH
from moderation.errors import DataError
from moderation.heads import CLIP, Features, Vectors, put_together, worst_windows
from moderation.model import CONTEXT, DENSE, MARKS
from moderation.training.fuse import CLOSENESS, FULL_RECIPES, fit_full_heads
from moderation.training.points import fit_knots, stack_knots
from moderation.training.rows import Row
from moderation.training.table import Table

ROWS = 600
HOSTILE, SPAM, OFF_TOPIC = (CODES.index(code) for code in ("hostile", "spam", "off_topic"))


def auc(labels, scores):
    bad, good = scores[labels == 1], scores[labels == 0]
    return float((bad[:, None] > good[None, :]).mean())


def synthetic(seed=0, sources=("kaggle-insults",), most_windows=3, english=(1.0,)):
    """Rows with several windows each; one of them, marked highest, tells every label along a direction of its own.

    Six rows in ten have a signature, one number of which tells spam. ``english`` is what windows may be.
    """
    random = np.random.default_rng(seed)
    labels = (random.random((ROWS, len(CODES))) < 0.4).astype(float)
    counts = random.integers(1, most_windows + 1, ROWS)
    owners = np.repeat(np.arange(ROWS), counts)
    windows = np.zeros((len(owners), WIDTH + len(MARKS)), np.float32)
    windows[:, :WIDTH] = random.normal(1, 2, (len(owners), WIDTH))
    windows[:, : len(CODES)] = random.normal(-2, 0.7, (len(owners), len(CODES)))
    windows[:, WIDTH] = random.uniform(0, 0.4, len(owners))
    telling = np.concatenate([[0], np.cumsum(counts)[:-1]]) + random.integers(0, counts)
    windows[telling, : len(CODES)] = (labels * 2 - 1) * 1.5 + random.normal(0, 0.7, labels.shape)
    windows[telling, WIDTH] = 0.5 + random.uniform(0, 0.5, ROWS)
    windows[:, -1] = 1
    readable = random.choice(english, len(owners)).astype(np.float32)
    windows *= readable[:, None]
    foreign = (1 - np.bincount(owners, readable) / counts).astype(np.float32)
    signatures = np.zeros((ROWS, WIDTH + 1), np.float32)
    signed = random.random(ROWS) < 0.6
    signatures[signed, :WIDTH] = random.normal(3, 1, (signed.sum(), WIDTH))
    # Strong enough that what speaks for a comment can count less.
    signatures[signed, 0] += labels[signed, SPAM] * 4
    signatures[signed, WIDTH] = 1
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
    return table, Vectors(windows, owners, foreign, related, signatures), lexical


# Six hundred rows are few: here every column counts alike.
EQUAL = {
    code: replace(recipe, windows=float(recipe.windows > 0), signature=float(recipe.signature > 0))
    for code, recipe in FULL_RECIPES.items()
}


@pytest.fixture(scope="module")
def learned():
    table, vectors, lexical = synthetic()
    return fit_full_heads(table, vectors, lexical, EQUAL)


def test_context_features_are_named_in_the_order_in_which_heads_get_them():
    assert len(CONTEXT) == len(DENSE) + len(topic.VECTOR_NAMES) + 2 * len(CODES) + 1 == len(set(CONTEXT))
    table, vectors, lexical = synthetic()
    context = put_together(replace(vectors, foreign=np.full(ROWS, 0.5, np.float32)), table.features.dense, lexical)
    named = dict(zip(CONTEXT, context.T, strict=True))
    assert np.array_equal(named["has_topic"], table.features.dense[:, DENSE.index("has_topic")])
    assert np.array_equal(named["has_passages"], vectors.related[:, 0])
    assert (named["foreign"] == 0.5).all()
    for code, logits in zip(CODES, lexical.T, strict=True):
        assert named[f"lexical_{code}"] == pytest.approx(logits)
        assert named[f"foreign_lexical_{code}"] == pytest.approx(0.5 * logits)
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
        subset = Vectors(
            windows[chosen], owners, vectors.foreign[several], vectors.related[several], vectors.signatures[several]
        )
        return fit_full_heads(table.take(several), subset, lexical[several]).window_weights[HOSTILE, HOSTILE]

    assert weight(vectors.windows) > 5 * abs(weight(turned))


@pytest.fixture(scope="module")
def uneven():
    """Some windows are English, some half, some not at all; the heads fitted on them, and what they were fitted on."""
    table, vectors, lexical = synthetic(english=(0.0, 0.5, 1.0))
    return fit_full_heads(table, vectors, lexical), table, vectors, lexical


def excused(said):
    """What signatures say, less of what speaks for a comment."""
    return np.where(said < 0, 0.6 * said, said)


def telling_windows(vectors):
    """Of each row the window with the highest mark."""
    highest = [
        max(np.flatnonzero(vectors.owners == row), key=lambda at: vectors.windows[at, WIDTH])
        for row in range(len(vectors.related))
    ]
    return vectors.windows[highest].astype(float)


def test_scores_are_those_of_centred_and_standardised_columns(uneven):
    """Both are folded into the weights; done step by step they give the same logits.

    A window is held against the mean of what can be read, times how well it can be; a signature against their mean.
    Windows that cannot be read are passed over where another can.
    """
    heads, table, vectors, lexical = uneven
    logits = heads.logits(vectors, table.features.dense, lexical)
    telling = telling_windows(vectors)
    centre = telling[:, :-1].sum(axis=0) / telling[:, -1].sum()
    windows = vectors.windows[:, :-1] - vectors.windows[:, -1:] * centre
    signed = vectors.signatures[:, -1] > 0
    signatures = vectors.signatures[:, :-1] - vectors.signatures[signed, :-1].mean(axis=0, dtype=float)
    context = (put_together(vectors, table.features.dense, lexical) - heads.mean) / heads.scale
    context = np.clip(context, -CLIP, CLIP)
    context[:, [CONTEXT.index(name) for name in topic.VECTOR_NAMES]] *= 1 - vectors.foreign[:, None]
    expected = heads.intercept + context @ heads.context_weights
    expected += excused(signatures * signed[:, None] @ heads.signature_weights[:-1])
    for row in range(0, ROWS, 7):
        own = vectors.owners == row
        readable = own & (vectors.windows[:, -1] >= 0.5)
        worst = (windows[readable if readable.any() else own] @ heads.window_weights[:-1]).max(axis=0)
        assert logits[row] == pytest.approx(expected[row] + worst, abs=1e-3)


@pytest.mark.parametrize("code", ["hostile", "spam"])
def test_logits_are_those_of_a_regression_on_centred_and_standardised_columns(code):
    """With one window each, fitting by hand on the columns themselves says of every row what the stored arrays say."""
    table, vectors, lexical = synthetic(most_windows=1, english=(0.0, 0.5, 1.0))
    heads = fit_full_heads(table, vectors, lexical)
    recipe, head = FULL_RECIPES[code], CODES.index(code)
    english = vectors.windows[:, -1:].astype(float)
    windows = vectors.windows[:, :-1] - english * (vectors.windows[:, :-1].sum(axis=0, dtype=float) / english.sum())
    columns = [windows / windows.std(axis=0).clip(1e-3) * recipe.windows]
    if code == "spam":
        signed = vectors.signatures[:, -1] > 0
        of_signed = vectors.signatures[signed, :-1].astype(float)
        signatures = np.zeros((ROWS, WIDTH))
        signatures[signed] = (of_signed - of_signed.mean(axis=0)) / of_signed.std(axis=0)
        columns.append(signatures * recipe.signature)
    context = heads.context(vectors, table.features.dense, lexical)
    telling = {"link_alone": 2.0, "link_only": 2.0, "broken_lines": 2.0}
    counts_for = np.array(
        [recipe.words if name.startswith("lexical_") else telling.get(name, 1.0) for name in recipe.context]
    )
    columns.append(context[:, [CONTEXT.index(name) for name in recipe.context]] * counts_for)
    columns.append(np.full((ROWS, 1), 3.0 * recipe.by_source))  # all rows are of one source
    seen = np.hstack(columns)
    weights = [CLOSENESS.get(row.source, 1.0) if recipe.by_closeness else 1.0 for row in table.rows]
    by_hand = LogisticRegression(C=recipe.regularisation, max_iter=2000).fit(seen, table.labels[:, head], weights)
    logits = heads.logits(vectors, table.features.dense, lexical)[:, head]
    expected = by_hand.decision_function(seen)
    if code == "spam":
        said = seen[:, WIDTH + len(MARKS) - 1 :][:, :WIDTH] @ by_hand.coef_[0, WIDTH + len(MARKS) - 1 :][:WIDTH]
        expected += excused(said) - said
    assert logits == pytest.approx(expected, abs=0.01)


def test_the_mean_of_what_can_be_read_says_nothing_by_itself(uneven):
    """So being readable is no evidence, nor is a language that cannot be read, and nor is having a signature."""
    heads, _, vectors, _ = uneven
    telling = telling_windows(vectors)
    assert telling.sum(axis=0) / telling[:, -1].sum() @ heads.window_weights == pytest.approx(0, abs=1e-3)
    signed = vectors.signatures[vectors.signatures[:, -1] > 0]
    assert signed.mean(axis=0, dtype=float) @ heads.signature_weights == pytest.approx(0, abs=1e-3)


def test_spam_alone_reads_signatures(learned):
    table, vectors, _ = synthetic(seed=1)
    assert [code for head, code in enumerate(CODES) if learned.signature_weights[:, head].any()] == ["spam"]
    signed = vectors.signatures[:, -1] > 0
    said = vectors.signatures[signed] @ learned.signature_weights[:, SPAM]
    assert auc(table.labels[signed, SPAM], said) > 0.7


def test_without_any_signature_none_is_learned_from():
    table, vectors, lexical = synthetic()
    heads = fit_full_heads(table, replace(vectors, signatures=np.zeros_like(vectors.signatures)), lexical)
    assert not heads.signature_weights.any()


def test_rows_that_cannot_be_read_at_all_still_give_heads_of_words():
    table, vectors, lexical = synthetic(english=(0.0,))
    heads = fit_full_heads(table, vectors, lexical)
    assert not heads.window_weights.any()
    assert heads.context_weights[CONTEXT.index("lexical_hostile"), HOSTILE] > 0
    assert np.isfinite(heads.logits(vectors, table.features.dense, lexical)).all()


def test_where_the_encoder_cannot_read_words_come_to_count_more():
    """Of foreign rows the words tell the label, of the others they do not: that is what the products are for."""
    table, vectors, lexical = synthetic(most_windows=1, english=(0.0, 1.0))
    foreign = vectors.foreign > 0
    lexical[:, HOSTILE] = np.random.default_rng(9).normal(size=ROWS)
    lexical[foreign, HOSTILE] += 3 * table.labels[foreign, HOSTILE] - 1.5
    heads = fit_full_heads(table, vectors, lexical)
    plain, more = (heads.context_weights[CONTEXT.index(f"{name}lexical_hostile"), HOSTILE] for name in ("", "foreign_"))
    assert more > plain > 0


def test_heads_see_only_what_their_recipe_allows(learned):
    for head, code in enumerate(CODES):
        seen = {CONTEXT[column] for column in np.flatnonzero(learned.context_weights[:, head])}
        assert seen <= set(FULL_RECIPES[code].context), code
        assert learned.window_weights[:, head].any() == bool(FULL_RECIPES[code].windows), code
        assert learned.signature_weights[:, head].any() == bool(FULL_RECIPES[code].signature), code


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
    windows[:, -1] = 1
    told = replace(vectors, windows=windows)
    by_source = fit_full_heads(Table(table.rows, table.features, labels, table.weights), told, lexical)
    rows = [Row("kaggle-insults", row.id, row.comment, {}, row.group) for row in table.rows]
    as_one = fit_full_heads(Table(rows, table.features, labels, table.weights), told, lexical)
    assert abs(by_source.window_weights[0, HOSTILE]) < 0.5 * abs(as_one.window_weights[0, HOSTILE])


def test_fitting_again_gives_the_same(learned):
    again = fit_full_heads(*synthetic(), EQUAL)
    assert np.array_equal(again.window_weights, learned.window_weights)
    assert np.array_equal(again.signature_weights, learned.signature_weights)
    assert np.array_equal(again.context_weights, learned.context_weights)
    assert np.array_equal(again.intercept, learned.intercept)


def test_calibrated_heads_say_how_often_it_is_so(learned):
    table, vectors, lexical = synthetic(seed=2)
    logits = learned.logits(vectors, table.features.dense, lexical)[:, HOSTILE]
    knots = stack_knots([fit_knots(logits, table.labels[:, HOSTILE], np.ones(ROWS))] * len(CODES))
    calibrated = replace(learned, knots=knots)
    probabilities = calibrated.calibrate(calibrated.logits(vectors, table.features.dense, lexical))[:, HOSTILE]
    assert probabilities.mean() == pytest.approx(table.labels[:, HOSTILE].mean(), abs=0.01)


def test_a_category_without_both_labels_is_refused_by_name():
    table, vectors, lexical = synthetic()
    labels = table.labels.copy()
    labels[:, CODES.index("threat")] = 0
    with pytest.raises(DataError, match="threat"):
        fit_full_heads(Table(table.rows, table.features, labels, table.weights), vectors, lexical)
