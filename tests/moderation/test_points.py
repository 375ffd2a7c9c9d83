"""Calibration rises, says what is so, and does not learn more than there is to learn from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from moderation.categories import CODES
from moderation.comment import Comment
from moderation.errors import DataError
from moderation.heads import Features, interpolate
from moderation.model import DENSE
from moderation.training.points import (
    ENOUGH_FOR_ISOTONIC,
    ENOUGH_OF_A_PLACE,
    NATURAL_RATE,
    calibration_rows,
    clopper_pearson_upper,
    fit_knots,
    fit_platt,
    operating_points,
    stack_knots,
)
from moderation.training.rows import Row
from moderation.training.table import Table


def through(values, knots, images):
    """``interpolate`` for a single head."""
    return interpolate(values[:, None], knots[None], images[None])[:, 0]


def sigmoid(odds):
    return 1 / (1 + np.exp(-odds))


def draw(count, odds=lambda logits: 2 * logits - 1, seed=0):
    """Logits and labels whose true log odds are a known function of the logit."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, count)
    labels = (random.random(count) < sigmoid(odds(logits))).astype(float)
    return logits, labels, np.ones(count)


def make_table(labels, code="hostile", source="jigsaw-predibase"):
    rows = [Row(source, str(n), Comment("x"), {code: int(value)}, f"set:{n}") for n, value in enumerate(labels)]
    values = np.full((len(rows), len(CODES)), np.nan)
    values[:, CODES.index(code)] = labels
    dense = np.zeros((len(rows), len(DENSE)), np.float32)
    return Table(rows, Features({}, dense), values, np.ones(len(rows)))


# --- calibration


@pytest.mark.parametrize(
    "odds",
    [lambda logits: 2 * logits - 1, lambda logits: np.where(logits < 0, logits, 4 * logits)],
    ids=["line", "bent"],
)
def test_it_finds_the_probabilities_that_are_there(odds):
    knots, images = fit_knots(*draw(40_000, odds))
    inside = np.linspace(-2.5, 2.5, 60)
    found = sigmoid(through(inside, knots, images))
    assert np.abs(found - sigmoid(odds(inside))).max() < 0.06
    assert np.abs(found - sigmoid(odds(inside))).mean() < 0.02


def test_a_bend_is_more_than_platt_can_say():
    logits, labels, weights = draw(40_000, lambda logits: np.where(logits < 0, logits / 4, 4 * logits))
    slope, offset = fit_platt(logits, labels, weights)
    knots, images = fit_knots(logits, labels, weights)

    def loss(odds):
        return float(np.mean(np.log1p(np.exp(-np.where(labels == 1, odds, -odds)))))

    assert loss(through(logits, knots, images)) < loss(logits * slope + offset) - 0.005


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(900, 4_000), st.floats(0.3, 3), st.floats(-1, 1))
def test_it_rises_everywhere(seed, count, slope, offset):
    knots, images = fit_knots(*draw(count, lambda logits: slope * logits + offset, seed))
    assert (np.diff(knots) > 0).all()
    assert (np.diff(images) > 0).all()
    logits = np.linspace(-20, 20, 400)
    assert (np.diff(through(logits, knots, images)) > 0).all()


def test_few_rows_give_a_line_and_enough_rows_more():
    count = 2 * ENOUGH_FOR_ISOTONIC
    logits = np.random.default_rng(0).normal(size=count)
    labels = (np.argsort(np.argsort(logits + np.random.default_rng(1).normal(size=count))) >= count // 2).astype(float)
    assert labels.sum() == ENOUGH_FOR_ISOTONIC
    assert len(fit_knots(logits, labels, np.ones(count))[0]) > 2
    one_less = labels.copy()
    one_less[np.flatnonzero(labels)[0]] = 0
    knots, images = fit_knots(logits, one_less, np.ones(count))
    slope, offset = fit_platt(logits, one_less, np.ones(count))
    assert images == pytest.approx(knots * slope + offset)
    assert len(knots) == 2


def test_weights_count_as_rows():
    """Twice the weight on bad rows doubles their odds, wherever on the scale."""
    logits, labels, weights = draw(40_000)
    plain = through(np.linspace(-2, 2, 9), *fit_knots(logits, labels, weights))
    heavy = through(np.linspace(-2, 2, 9), *fit_knots(logits, labels, np.where(labels == 1, 2.0, 1.0)))
    assert heavy - plain == pytest.approx(np.log(2), abs=0.25)


def test_heads_with_fewer_points_are_drawn_on_along_their_last_line():
    short = np.array([0.0, 2.0]), np.array([-1.0, 3.0])
    longer = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 3.0, 4.0, 9.0])
    stacked = stack_knots([short, longer])
    assert stacked.shape == (2, 2, 5)
    assert stacked[1].tolist() == [longer[0].tolist(), longer[1].tolist()]
    values = np.linspace(-3, 12, 40)
    assert through(values, *stacked[0]) == pytest.approx(2 * values - 1)
    assert through(values, *stacked[0]) == pytest.approx(through(values, *short))


# --- which rows, and what they weigh


def test_weights_bring_a_category_to_its_natural_rate():
    labels = np.array([1.0] * 30 + [0.0] * 70)
    index, found, weights = calibration_rows("hostile", make_table(labels))
    assert len(index) == 100
    assert np.average(found, weights=weights) == pytest.approx(NATURAL_RATE["hostile"])
    assert weights.sum() == pytest.approx(100)


def test_spam_keeps_the_rate_of_the_rows():
    _, labels, weights = calibration_rows("spam", make_table(np.array([1.0, 0.0, 0.0, 0.0]), "spam"))
    assert np.average(labels, weights=weights) == 0.25


def test_only_rows_like_a_blogs_are_calibrated_on():
    here, there = make_table(np.array([1.0, 0.0])), make_table(np.array([1.0] * 5), source="hatemoji")
    both = Table(
        [*here.rows, *there.rows],
        Features({}, np.vstack([here.features.dense, there.features.dense])),
        np.vstack([here.labels, there.labels]),
        np.ones(7),
    )
    assert calibration_rows("hostile", both)[0].tolist() == [0, 1]


def test_one_label_alone_cannot_be_calibrated_on():
    with pytest.raises(DataError, match="hostile"):
        calibration_rows("hostile", make_table(np.ones(5)))


# --- operating points


def test_operating_points_say_what_is_over_each_threshold():
    random = np.random.default_rng(0)
    labels = (random.random(3_000) < 0.3).astype(float)
    scores = np.clip(random.normal(0.3 + 0.3 * labels, 0.15), 0, 1)
    probabilities = np.zeros((3_000, len(CODES)))
    probabilities[:, CODES.index("hostile")] = scores
    measured = operating_points("hostile", make_table(labels), probabilities)
    assert (measured["positives"], measured["negatives"]) == (int(labels.sum()), int(3_000 - labels.sum()))
    rounded = np.round(scores, 6)
    thresholds = [point["threshold"] for point in measured["points"]]
    assert thresholds == sorted(set(thresholds))
    for point in measured["points"]:
        over = rounded >= point["threshold"]
        assert point["recall"] == pytest.approx(over[labels == 1].mean(), abs=1e-5)
        assert point["false_positive_rate"] == pytest.approx(over[labels == 0].mean(), abs=1e-6)
        assert point["false_positive_rate"] <= point["false_positive_rate_upper"] <= 1


def make_places(on_blogs, on_talk_pages):
    """One bad comment and so many good ones on either kind of place; only those on blogs score low."""
    few = make_table(np.array([1.0] + [0.0] * on_blogs), source="blog-threads")
    many = make_table(np.zeros(on_talk_pages), source="jigsaw-predibase")
    both = Table(
        [*few.rows, *many.rows],
        Features({}, np.vstack([few.features.dense, many.features.dense])),
        np.vstack([few.labels, many.labels]),
        np.ones(1 + on_blogs + on_talk_pages),
    )
    probabilities = np.full((len(both.rows), len(CODES)), 0.9)
    probabilities[1 : 1 + on_blogs] = 0.1
    return both, probabilities


def test_good_comments_of_each_kind_of_place_count_the_same():
    """Some of a blog, none over the line, and three times as many of a talk page, all over it: half."""
    few, many = ENOUGH_OF_A_PLACE, 3 * ENOUGH_OF_A_PLACE
    measured = operating_points("hostile", *make_places(few, many))
    [over] = [point for point in measured["points"] if point["threshold"] == 0.9]
    assert over["false_positive_rate"] == 0.5
    as_many = 4 / (1 / few + 1 / many)  # fewer than all rows, as the few weigh as much as the many
    assert over["false_positive_rate_upper"] == pytest.approx(clopper_pearson_upper(as_many / 2, as_many), abs=1e-6)
    assert (measured["positives"], measured["negatives"]) == (1, few + many)


@pytest.mark.parametrize(("few", "many", "share"), [(1, 3 * ENOUGH_OF_A_PLACE, 1.0), (1, 3, 1.0), (3, 3, 0.5)])
def test_a_handful_of_good_comments_does_not_speak_for_its_kind_of_place(few, many, share):
    """Unless no kind of place has more."""
    measured = operating_points("hostile", *make_places(few, many))
    [over] = [point for point in measured["points"] if point["threshold"] == 0.9]
    assert over["false_positive_rate"] == share
    assert over["false_positive_rate_upper"] - share < 0.5


def test_what_is_harmless_only_in_a_narrower_sense_is_no_good_comment():
    """kaggle-insults lets pass what is said of anybody who does not take part; its insults mean what ours do."""
    table = make_table(np.array([1.0, 0.0, 1.0, 0.0]))
    table = replace(table, rows=[*table.rows[:2], *(replace(row, source="kaggle-insults") for row in table.rows[2:])])
    measured = operating_points("hostile", table, np.full((4, len(CODES)), 0.5))
    assert (measured["positives"], measured["negatives"]) == (1, 1)
    insults = make_table(np.array([1.0, 0.0]), code="insult", source="kaggle-insults")
    assert operating_points("insult", insults, np.full((2, len(CODES)), 0.5))["negatives"] == 1


def test_rows_of_other_sources_are_not_measured():
    table = make_table(np.array([1.0, 0.0, 1.0, 0.0]))
    table = replace(table, rows=[*table.rows[:2], *(replace(row, source="hatemoji") for row in table.rows[2:])])
    measured = operating_points("hostile", table, np.full((4, len(CODES)), 0.5))
    assert (measured["positives"], measured["negatives"]) == (1, 1)


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_upper_bound_is_where_so_few_events_become_unlikely(events, trials):
    events = min(events, trials)
    upper = clopper_pearson_upper(events, trials)
    assert events / trials <= upper <= 1
    if events < trials:
        assert binom.cdf(events, trials, upper) == pytest.approx(0.05, abs=1e-6)
