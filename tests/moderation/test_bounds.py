"""Bounds: equal to SciPy's and to hand-made ones, on the safe side of the truth as often as they say."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from moderation.bounds import NO_TRIAL, Trials, bernstein, betting, challenge, clopper_pearson, lower_bound


def trials(weights, won, *, failing=None, is_exact=False):
    """All rows are trials of one line."""
    weights = np.asarray(weights, dtype=float)
    heaviest = np.array([weights.max() if failing is None else failing])
    return Trials(
        weights=weights,
        above=np.asarray(won, dtype=np.int8),
        below=np.full(len(weights), NO_TRIAL, dtype=np.int8),
        reach=np.array([len(weights)]),
        failing=heaviest,
        winning=heaviest,
        is_exact=np.array([is_exact]),
    )


ROWS = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 5.0, 20.0, 100.0]), st.booleans()), min_size=1, max_size=60)


@given(st.integers(1, 3000), st.data(), st.sampled_from([0.9, 0.95, 0.995]))
@settings(deadline=None)
def test_the_exact_bound_is_that_of_scipy(of, data, confidence):
    won = data.draw(st.integers(0, of))
    interval = binomtest(won, of, alternative="greater").proportion_ci(confidence, method="exact")
    assert clopper_pearson(won, of, confidence) == pytest.approx(interval.low, abs=1e-12)


def test_the_exact_bound_by_hand():
    """All of n right: the n-th root of 0.05. One of n right: 1 - (1 - 0.05) ** (1 / n)."""
    assert clopper_pearson(299, 299) == pytest.approx(0.05 ** (1 / 299), abs=1e-12)
    assert clopper_pearson(299, 299) > 0.99 > clopper_pearson(298, 298)
    assert clopper_pearson(1, 20) == pytest.approx(1 - 0.95 ** (1 / 20), abs=1e-12)
    assert clopper_pearson([0, 10], [10, 10]).tolist() == pytest.approx([0, 0.05**0.1])


@given(st.integers(1, 400), st.data(), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_exact_p_values_are_those_of_the_binomial_distribution(of, data, share):
    won = data.draw(st.integers(0, of))
    rows = trials(np.ones(of), np.arange(of) < won, is_exact=True)
    assert challenge(rows, share).p_values()[0] == pytest.approx(binom.sf(won - 1, of, share), abs=1e-10)


@given(ROWS, st.floats(0.05, 0.95), st.sampled_from(["betting", "bernstein"]), st.booleans())
@settings(deadline=None)
def test_a_share_is_refused_just_where_the_bound_lies_above_it(rows, share, method, is_exact):
    weights, won = zip(*rows, strict=True)
    asked = trials(np.ones(len(won)) if is_exact else weights, won, is_exact=is_exact)
    bound = lower_bound(asked, 0, aim=share, method=method)
    p_value = challenge(asked, share, method=method).p_values()[0]
    assert 0 <= bound <= 1
    if abs(bound - share) > 1e-6:
        assert (p_value <= 0.05) == (bound > share)


@given(ROWS, st.data(), st.floats(0.3, 0.99))
@settings(deadline=None)
def test_a_failure_less_never_lowers_the_bound(rows, data, aim):
    weights, won = map(np.array, zip(*rows, strict=True))
    better = won.copy()
    better[data.draw(st.integers(0, len(won) - 1))] = True
    for is_exact in (True, False):
        before, after = (
            lower_bound(trials(weights, outcome, failing=100.0, is_exact=is_exact), 0, aim=aim)
            for outcome in (won, better)
        )
        assert after >= before


@given(ROWS, st.floats(0.3, 0.99))
@settings(deadline=None)
def test_failures_that_could_weigh_more_lower_the_bound_although_none_was_seen(rows, aim):
    weights, won = np.array([weight for weight, _ in rows]), np.ones(len(rows), dtype=bool)
    light, heavy = (betting(weights, won, failing=failing, aim=aim) for failing in (100.0, 200.0))
    assert heavy <= light


def test_where_nobody_would_look_nothing_is_shown():
    rows = trials(np.ones(500), np.ones(500), failing=math.inf)
    assert challenge(rows, 0.5).p_values()[0] == 1
    assert challenge(rows, 0.5, method="bernstein").p_values()[0] == 1
    assert challenge(rows, 0.5).missing(0.05)[0] == -1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_gambler_has_one_on_average_where_the_null_is_just_true(count):
    """All outcomes of a few rows, enumerated: weight 4 one time in five, 1 else; the weighted share is 0.6."""
    kinds = {  # (weight, success): probability; 0.2 * 4 * q + 0.8 * 1 * r = 0.6 * (0.2 * 4 + 0.8)
        (4.0, True): 0.2 * 0.9,
        (4.0, False): 0.2 * 0.1,
        (1.0, True): 0.8 * 0.3,
        (1.0, False): 0.8 * 0.7,
    }
    mean = 0.0
    for rows in itertools.product(kinds, repeat=count):
        weights, won = zip(*rows, strict=True)
        asked = challenge(trials(weights, won, failing=4.0), 0.6)
        money = np.exp(asked.weighted.money[0]).mean()
        mean += money * math.prod(kinds[row] for row in rows)
    assert mean == pytest.approx(1, abs=1e-12)


def test_bernstein_is_the_formula_of_the_paper():
    rng = np.random.default_rng(3)
    weights, won = rng.choice([1.0, 5.0], 400), rng.random(400) < 0.9
    bound = bernstein(weights, won, failing=5.0, winning=5.0)
    # The values lie between -5 * bound and 5 * (1 - bound), a span of 5.
    values = weights * (won - bound)
    log = math.log(2 / 0.05)
    slack = math.sqrt(2 * values.var(ddof=1) * log / 400) + 5 * 7 * log / (3 * 399)
    assert values.mean() - slack == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 300), st.integers(0, 3), st.sampled_from([0.9, 0.95, 0.99]))
@settings(deadline=None)
def test_so_many_more_and_not_one_less_are_missing(clean, failures, share):
    outcome = np.r_[np.ones(clean), np.zeros(failures)]
    rows = trials(np.ones(clean + failures) if len(outcome) else np.ones(0), outcome, failing=1.0, is_exact=True)
    missing = int(challenge(rows, share).missing(0.05)[0])
    of = clean + failures + missing
    assert binom.sf(of - failures - 1, of, share) <= 0.05 + 1e-12
    if missing:
        assert binom.sf(of - 1 - failures - 1, of - 1, share) > 0.05 - 1e-12


def test_299_are_missing_where_there_is_none():
    rows = trials(np.ones(0), np.ones(0), failing=1.0, is_exact=True)
    assert challenge(rows, 0.99).missing(0.05)[0] == 299


def test_bounds_hold_as_often_as_they_say_where_weights_differ():
    """Heavy rows fail more often, so the share of rows is 0.93, that of what they stand for 0.82."""
    rng, draws = np.random.default_rng(11), 400
    heavy, share_heavy, share_light = 0.2, 0.8, 0.9625
    truth = (heavy * 20 * share_heavy + (1 - heavy) * share_light) / (heavy * 20 + 1 - heavy)
    missed = dict.fromkeys(("betting", "bernstein", "alike"), 0)
    for _ in range(draws):
        is_heavy = rng.random(500) < heavy
        won = rng.random(500) < np.where(is_heavy, share_heavy, share_light)
        weights = np.where(is_heavy, 20.0, 1.0)
        rows = trials(weights, won, failing=20.0)
        for method in ("betting", "bernstein"):
            missed[method] += challenge(rows, truth, method=method).p_values()[0] <= 0.05
        missed["alike"] += clopper_pearson(won.sum(), 500) > truth
    assert missed["betting"] <= 0.05 * draws
    assert missed["bernstein"] <= 0.05 * draws
    assert missed["alike"] > 0.5 * draws  # the same check fails for who counts each label alike


def test_betting_is_narrower_than_bernstein():
    rng = np.random.default_rng(5)
    for of, share in ((200, 0.95), (1000, 0.9), (1000, 0.98), (5000, 0.8)):
        weights = rng.choice([1.0, 20.0], of)
        won = rng.random(of) < share
        assert betting(weights, won, failing=20.0, aim=share - 0.03) > bernstein(
            weights, won, failing=20.0, winning=20.0
        )
