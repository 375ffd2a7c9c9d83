"""Losses are what their names say, and their intervals hold as often as they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from moderation.training import measures, paired

TRIPLES = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20)), min_size=4, max_size=60)
SIDES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 200)), min_size=1, max_size=40)
LEVEL = 0.05


def arrays(triples):
    """At least two rows of either label; scores in twentieths, so that there are ties."""
    rows = [(1, 3, 5), (0, 5, 3), (1, 2, 2), (0, 4, 4), *triples]
    labels, before, after = np.array(rows, float).T
    return labels, before / 20, after / 20


def lose(triples):
    labels, before, after = arrays(triples)
    return paired.auc_loss("set:a", "spam", labels, before, after, np.arange(len(labels)))


def move(*sides):
    return [paired.Moved("", "spam", "good held", a + b + more, 0.0, 0.0, a, b) for a, b, more in sides]


@given(TRIPLES)
@settings(deadline=None)
def test_an_auc_loss_is_the_difference_of_two_aucs(triples):
    labels, before, after = arrays(triples)
    found = lose(triples)
    assert found.before == pytest.approx(measures.auc(before[labels == 1], before[labels == 0]))
    assert found.after == pytest.approx(measures.auc(after[labels == 1], after[labels == 0]))
    assert found.loss == pytest.approx(found.before - found.after)


@given(TRIPLES)
@settings(deadline=None)
def test_the_terms_of_an_auc_loss_have_the_variance_of_delong(triples):
    """Against the formula of DeLong et al. written out over all pairs."""
    labels, before, after = arrays(triples)
    bad, good = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    kernel = [
        (scores[bad][:, None] > scores[good]) + 0.5 * (scores[bad][:, None] == scores[good])
        for scores in (before, after)
    ]
    gap = kernel[0] - kernel[1]
    variance = gap.mean(axis=1).var(ddof=1) / len(bad) + gap.mean(axis=0).var(ddof=1) / len(good)
    found = lose(triples)
    assert (found.terms**2).sum() == pytest.approx(variance, abs=1e-12)
    assert found.terms.sum() == pytest.approx(0, abs=1e-9)


@given(TRIPLES)
@settings(max_examples=20, deadline=None)
def test_who_comes_first_only_changes_the_sign(triples):
    labels, before, after = arrays(triples)
    index = np.arange(len(labels))
    for compare in (paired.auc_loss, paired.log_loss_rise):
        [one] = paired.compare_averages([compare("", "spam", labels, before, after, index)], len(index), LEVEL)
        [other] = paired.compare_averages([compare("", "spam", labels, after, before, index)], len(index), LEVEL)
        assert one.loss == pytest.approx(-other.loss)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_log_loss_by_hand():
    labels = np.array([1.0, 0.0])
    found = paired.log_loss_rise("", "spam", labels, np.array([0.5, 0.5]), np.array([0.25, 0.5]), np.arange(2))
    assert found.before == pytest.approx(np.log(2))
    assert found.loss == pytest.approx(np.log(2) / 2)


def test_the_same_scores_lose_nothing_for_sure():
    labels, before, _ = arrays([])
    same = paired.auc_loss("", "spam", labels, before, before, np.arange(len(labels)))
    [found] = paired.compare_averages([same], len(labels), LEVEL)
    assert (found.loss, found.low, found.high, found.alone) == (0, 0, 0, 1)


def test_intervals_hold_together_about_as_often_as_promised():
    """Twelve AUCs of small sets, two models of which neither is better: any interval misses in about 5 % of draws."""
    random = np.random.default_rng(0)
    draws, missed = 60, 0
    for _ in range(draws):
        labels = np.tile([0.0, 1.0], 360)
        signal = labels + random.normal(size=720)
        before, after = (signal + random.normal(size=720) * 0.3 for _ in range(2))
        sets = [np.arange(start, start + 60) for start in range(0, 720, 60)]
        losses = [paired.auc_loss("", "spam", labels[one], before[one], after[one], one) for one in sets]
        missed += any(one.low > 0 or one.high < 0 for one in paired.compare_averages(losses, 720, LEVEL))
    assert missed <= 8  # more has a chance of 0.6 % if 5 % of draws miss


def test_comparisons_that_say_the_same_widen_nothing():
    """Fifty times the same comparison is one comparison; fifty of rows of their own are not."""
    random = np.random.default_rng(1)
    labels = np.tile([0.0, 1.0], 1_000)
    before, after = (labels + random.normal(size=2_000) for _ in range(2))

    def width(parts):
        losses = [paired.auc_loss("", "spam", labels[one], before[one], after[one], one) for one in parts]
        first = paired.compare_averages(losses, 2_000, LEVEL)[0]
        return (first.high - first.low) / np.sqrt((losses[0].terms ** 2).sum())

    every, apart = np.arange(2_000), np.split(np.arange(2_000), 50)
    assert width([every] * 50) == pytest.approx(width([every]))
    assert width([every]) / 2 == pytest.approx(1.96, abs=0.1)
    assert width(apart) > width([every]) * 1.4


@given(SIDES)
@settings(deadline=None)
def test_shares_have_exact_intervals(sides):
    for one, (worse, better, more) in zip(paired.compare_moved(move(*sides), LEVEL), sides, strict=True):
        assert one.low - 1e-12 <= one.loss <= one.high + 1e-12
        assert one.loss == pytest.approx((worse - better) / (worse + better + more))
        if worse + better:
            assert one.alone == pytest.approx(binomtest(worse, worse + better, alternative="greater").pvalue)


def test_a_share_alone_has_the_interval_of_clopper_and_pearson():
    [one] = paired.compare_moved(move((9, 2, 89)), LEVEL)
    exact = binomtest(9, 11).proportion_ci(0.95, method="exact")
    assert (one.low, one.high) == pytest.approx([(2 * end - 1) * 0.11 for end in (exact.low, exact.high)])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
@settings(deadline=None)
def test_a_level_is_divided_among_no_more_than_could_come_out(sides):
    counts = np.array(sides, float)
    share = paired.tarone(counts, LEVEL)
    assert 1 <= share <= max(len(sides), 1)
    assert (0.5**counts <= LEVEL / share).sum() <= share
    assert share == 1 or (0.5**counts <= LEVEL / (share - 1)).sum() > share - 1


def test_slices_in_which_nothing_moved_take_nothing_from_others():
    alone = paired.compare_moved(move((9, 0, 91)), LEVEL)[0]
    among_others = paired.compare_moved(move((9, 0, 91), *[(1, 0, 50)] * 30), LEVEL)[0]
    assert alone == among_others


def test_a_comparison_says_what_it_compares():
    [one] = paired.compare_moved(move((3, 1, 96)), LEVEL)
    assert str(one).startswith("good held of spam on all rows 0.000 -> 0.000 (loss 0.020,")
    assert one.as_dict()["rows"] == 100
