"""Measures mean what their names say: worked by hand where that is possible, against scikit-learn where not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from moderation.training import measures

PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=6, max_size=80)


def arrays(pairs):
    """At least one row of either label; scores in twentieths, so that there are ties."""
    labels = np.array([1, 0, *(label for label, _ in pairs)], float)
    return labels, np.array([3, 5, *(score for _, score in pairs)], float) / 20


@given(PAIRS)
def test_ranking_and_brier_are_scikit_learns(pairs):
    labels, scores = arrays(pairs)
    assert measures.auc(scores[labels == 1], scores[labels == 0]) == pytest.approx(roc_auc_score(labels, scores))
    assert measures.average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))
    assert measures.brier(labels, scores) == pytest.approx(brier_score_loss(labels, scores))


@given(PAIRS)
def test_every_row_is_in_a_calibration_bin_and_the_error_is_a_share(pairs):
    labels, scores = arrays(pairs)
    bins = measures.calibration_bins(labels, scores)
    assert sum(item["rows"] for item in bins) == len(labels)
    assert 0 <= measures.calibration_error(bins) <= 1


def test_calibration_error_by_hand():
    """Ten rows at 0.9 of which nine are bad are right; ten at 0.3 of which none is are 0.3 off: 0.15 on average."""
    scores = np.repeat([0.9, 0.3], 10)
    labels = np.array([1.0] * 9 + [0.0] * 11)
    assert measures.calibration_error(measures.calibration_bins(labels, scores)) == pytest.approx(0.15)


def test_a_score_of_one_is_in_the_last_bin():
    assert measures.calibration_bins(np.array([1.0]), np.array([1.0])) == [{"rows": 1, "score": 1.0, "share": 1.0}]


@given(st.integers(0, 2**32 - 1))
def test_curves_are_short_rise_and_end_where_they_must(seed):
    random = np.random.default_rng(seed)
    labels = np.arange(700) % 2.0
    scores = random.random(700) * (1 + labels)
    roc = measures.roc_points(labels, scores)
    assert len(roc) <= measures.CURVE_POINTS
    assert (roc[0], roc[-1]) == ([0, 0], [1, 1])
    assert roc == sorted(roc)
    curve = measures.precision_recall_points(labels, scores)
    assert len(curve) <= measures.CURVE_POINTS
    assert curve[-1] == [1, 0.5]
    assert [recall for recall, _ in curve] == sorted(recall for recall, _ in curve)


def test_a_thinned_curve_keeps_its_area():
    random = np.random.default_rng(1)
    labels = np.arange(4_000) % 2.0
    scores = random.normal(labels, 1)
    across, up = np.transpose(measures.roc_points(labels, scores))
    assert np.trapezoid(up, across) == pytest.approx(roc_auc_score(labels, scores), abs=0.005)


def test_what_a_line_does_by_hand():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], float)
    found = measures.at_line(labels, np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0], bool))
    assert (found["over"], found["recall"], found["precision"]) == (4, 0.75, 0.75)
    assert found["false_positive_rate"] == pytest.approx(1 / 6, abs=1e-4)
    assert found["false_positive_rate_low"] < 1 / 6 < found["false_positive_rate_high"]
    assert measures.at_line(labels, np.zeros(10, bool))["precision"] is None


def test_clopper_and_pearson_have_a_closed_form_at_the_ends():
    assert measures.clopper_pearson(0, 100) == (0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert measures.clopper_pearson(100, 100) == (pytest.approx(0.025 ** (1 / 100)), 1)
    assert measures.clopper_pearson(0, 0) == (0, 1)


def test_nothing_lost_is_a_loss_of_exactly_nothing():
    labels, scores = np.arange(100) % 2.0, np.random.default_rng(0).random(100)
    assert measures.auc_loss_interval(labels, scores, scores) == (0, 0, 0)
    loss, low, high = measures.auc_loss_interval(labels, labels + scores, scores)
    assert 0.3 < low <= loss <= high


def test_group_aucs_tell_which_side_is_wrong():
    """Harmless rows of the group score like harmful ones of others: only BPSN is low."""
    labels = np.array([1, 1, 0, 0, 1, 1, 0, 0], float)
    member = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    scores = np.array([0.95, 0.9, 0.8, 0.8, 0.7, 0.6, 0.1, 0.1])
    assert measures.group_aucs(labels, scores, member) == {"subgroup": 1, "bpsn": 0, "bnsp": 1}
    assert measures.group_aucs(labels, scores, member & (labels == 1))["bpsn"] is None


@pytest.mark.parametrize(
    ("predicted", "marked", "f1"),
    [(set(), set(), 1), ({1}, set(), 0), (set(), {1}, 0), ({1, 2}, {2, 3}, 0.5), ({1, 2, 3, 4}, {1, 2}, 2 / 3)],
)
def test_span_f1_is_that_of_the_shared_task(predicted, marked, f1):
    assert measures.span_f1(predicted, marked) == pytest.approx(f1)


@given(PAIRS)
def test_spreads_count_every_score_whatever_it_is(pairs):
    _, scores = arrays(pairs)
    assert sum(measures.spread(np.append(scores, [0.0, 1.0]), 24)) == len(scores) + 2
