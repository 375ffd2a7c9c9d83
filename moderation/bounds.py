"""How large a share is at least: lower bounds that hold for any number of labels, also where some stand for more.

Rows are *trials*: each succeeds or fails, and stands for ``1 / inclusion probability`` comments (Horvitz and Thompson
1952, "A generalization of sampling without replacement from a finite universe"). A row is seen in proportion to its
inclusion probability and weighs the inverse of it. Therefore the share of successes among *all* comments is above ``p``
just where the mean of ``weight * (success - p)`` over the rows *seen* is above 0: no ratio has to be bounded, only the
mean of a bounded number, and the null "at most 0" be tested. A bound of the share is the largest ``p`` that is refused.

- *Exact*, where all weights are equal: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated
  in the case of the binomial".
- *Betting*: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting". A gambler who
  begins with 1 and stakes a fixed part of the money on every row has, under the null, at most 1 on average, so
  ``1 / money`` is a p-value (Markov). As in their diversified Kelly betting, several gamblers share the first 1. The
  stakes depend on how many rows there are, never on what they say.
- *Bernstein*: Maurer and Pontil 2009, "Empirical Bernstein bounds and sample variance penalization", theorem 4.

Which of the two weighted ones is used has to be said before looking: to take the better one each time would promise too
much. Measured, betting is the narrower one throughout (``benchmarks/guarantee.py``, ``docs/retraining.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, logsumexp

Method = Literal["betting", "bernstein"]
Numbers = NDArray[np.float64]

NO_TRIAL, FAILURE, SUCCESS = -1, 0, 1
_NEVER = float(1 << 40)


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Any:
    """The one-sided lower bound of a share, 0 where nothing succeeded; of numbers or of arrays."""
    won, of = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    bound = np.where(won > 0, betaincinv(np.maximum(won, 1), of - won + 1, 1 - confidence), 0.0)
    return float(bound) if bound.ndim == 0 else bound


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Rows, in the order of falling scores, as trials at each of several lines.

    ``above`` says what a row is to a line that it reaches, ``below`` what it is to one that it does not: ``SUCCESS``,
    ``FAILURE`` or ``NO_TRIAL``. ``reach`` is how many rows reach a line. ``failing`` is the largest weight that a
    failure can have there, seen or not; infinite where nobody would ever look. ``winning`` is that of successes that
    somebody may look at, and ``is_whole`` says that there are no others. ``is_exact``: all trials of the line weigh
    the same.

    Shapes: ``weights``, ``above`` and ``below`` (rows,), the others (lines,).
    """

    weights: Numbers
    above: NDArray[np.int8]
    below: NDArray[np.int8]
    reach: NDArray[np.int64]
    failing: Numbers
    winning: Numbers
    is_exact: NDArray[np.bool_]
    is_whole: bool = True

    def faultless(self) -> Trials:
        """The same as if no trial had failed: the most that the rows could show, whatever their labels."""
        return replace(
            self,
            above=np.where(self.above == FAILURE, SUCCESS, self.above).astype(np.int8),
            below=np.where(self.below == FAILURE, SUCCESS, self.below).astype(np.int8),
        )

    def turned(self) -> Trials:
        """The same with successes as failures and failures as successes."""
        return replace(
            self,
            above=np.where(self.above == NO_TRIAL, NO_TRIAL, 1 - self.above).astype(np.int8),
            below=np.where(self.below == NO_TRIAL, NO_TRIAL, 1 - self.below).astype(np.int8),
            failing=self.winning if self.is_whole else np.full(len(self.reach), np.inf),
            winning=np.where(np.isfinite(self.failing), self.failing, 1.0),
        )

    def at(self, line: int) -> tuple[Numbers, NDArray[np.bool_]]:
        """The weights of one line's trials, and whether each succeeds."""
        outcome = np.where(np.arange(len(self.weights)) < self.reach[line], self.above, self.below)
        is_trial = outcome != NO_TRIAL
        return self.weights[is_trial], outcome[is_trial] == SUCCESS

    def counts(self) -> tuple[Numbers, Numbers]:
        """How many trials each line has, and how many of them fail."""
        one, none = np.ones(len(self.weights)), np.zeros(len(self.weights))
        return self.total(one, one), self.total(none, one)

    def total(self, success: Numbers, failure: Numbers) -> Numbers:
        """Sums over the trials of each line, of what each row adds to them: shape (rows,) or (rows, k)."""

        def added(outcome: NDArray[np.int8]) -> Numbers:
            kind = outcome.reshape(-1, *[1] * (success.ndim - 1))
            return np.where(kind == SUCCESS, success, np.where(kind == FAILURE, failure, 0.0))

        none = np.zeros((1, *success.shape[1:]))
        down = np.concatenate([none, np.cumsum(added(self.above), axis=0)])
        up = np.concatenate([np.cumsum(added(self.below)[::-1], axis=0)[::-1], none])
        return np.asarray(down[self.reach] + up[self.reach])


class _Weighted(Protocol):
    def p_values(self, more: Numbers | float) -> Numbers: ...


@dataclass(frozen=True, slots=True, eq=False)
class Challenge:
    """What the rows say at each line against the null "at most this share succeeds". Made by :func:`challenge`."""

    share: float
    trials: Numbers
    failures: Numbers
    is_exact: NDArray[np.bool_]
    weighted: _Weighted

    def p_values(self, more: Numbers | float = 0.0) -> Numbers:
        """One for each line, as if ``more`` trials of the largest weight had succeeded beside those seen."""
        of = self.trials + more
        won = of - self.failures
        exact = np.where(won > 0, betainc(np.maximum(won, 1), self.failures + 1, self.share), 1.0)
        return np.asarray(np.where(self.is_exact, exact, self.weighted.p_values(more)))

    def missing(self, level: float) -> NDArray[np.int64]:
        """How many more successes bring the p-value of each line down to ``level``; -1 where no number does."""
        low, high = np.zeros(len(self.trials)), np.full(len(self.trials), _NEVER)
        never, already = self.p_values(high) > level, self.p_values() <= level
        while np.any(high - low > 1):
            middle = np.floor((low + high) / 2)
            is_enough = self.p_values(middle) <= level
            low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
        return np.where(never, -1, np.where(already, 0, high)).astype(np.int64)


def challenge(trials: Trials, share: float, *, confidence: float = 0.95, method: Method = "betting") -> Challenge:
    """Ask at each line whether more than ``share`` succeed. Betting is tuned to tell so with ``confidence``."""
    of, failures = trials.counts()
    share = max(share, 1e-9)  # that more than none succeed is what one success shows
    weighted: _Weighted
    if method == "betting":
        weighted = _Betting.of(trials, share, _gamblers(of, share, confidence))
    else:
        weighted = _Moments.of(trials, share, of)
    return Challenge(share, of, failures, trials.is_exact, weighted)


def lower_bound(
    trials: Trials, line: int, *, aim: float, confidence: float = 0.95, method: Method = "betting"
) -> float:
    """The lower bound of the share of successes at one line; ``aim`` is what betting is tuned to tell from less."""
    weights, won = trials.at(line)
    failing, winning = float(trials.failing[line]), float(trials.winning[line])
    if trials.is_exact[line]:
        return float(clopper_pearson(won.sum(), len(won), confidence))
    if method == "betting":
        return betting(weights, won, failing=failing, aim=aim, confidence=confidence)
    return bernstein(weights, won, failing=failing, winning=winning, confidence=confidence)


def betting(weights: Numbers, won: NDArray[np.bool_], *, failing: float, aim: float, confidence: float = 0.95) -> float:
    """The lower bound by betting; ``failing`` is the largest weight that a failure can have."""
    gamblers = int(_gamblers(np.array([len(won)]), aim, confidence)[0])
    stakes = _stakes(gamblers)
    kinds, which = np.unique(np.where(won, weights, -weights), return_inverse=True)
    times = np.bincount(which, minlength=len(kinds))
    is_won, part = kinds > 0, np.abs(kinds)[:, None] / failing * stakes
    lost = np.log1p(-part[~is_won]).T @ times[~is_won]

    def p_value(share: float) -> float:
        money = np.log1p(part[is_won] * (1 / share - 1)).T @ times[is_won] + lost
        return float(np.exp(min(np.log(gamblers) - logsumexp(money), 0)))

    return _largest_refused(p_value, 1 - confidence)


def bernstein(
    weights: Numbers, won: NDArray[np.bool_], *, failing: float, winning: float, confidence: float = 0.95
) -> float:
    """The lower bound by Maurer and Pontil; the largest weights that a failure and a success can have."""
    trials = Trials(
        weights=weights,
        above=won.astype(np.int8),
        below=np.full(len(won), NO_TRIAL, dtype=np.int8),
        reach=np.array([len(won)]),
        failing=np.array([failing]),
        winning=np.array([winning]),
        is_exact=np.array([False]),
    )
    of = np.array([float(len(won))])
    return _largest_refused(lambda share: float(_Moments.of(trials, share, of).p_values(0.0)[0]), 1 - confidence)


def _largest_refused(p_value: Callable[[float], float], level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) <= level else (low, middle)
    return low


def _gamblers(trials: Numbers, share: float, confidence: float) -> NDArray[np.int64]:
    """How many gamblers bet at each line (:func:`_stakes`).

    The last one's stake is about the best for as many trials of equal weight of which ``share`` succeed. Weights that
    differ make larger stakes better, so nobody needs a smaller one.
    """
    best = np.sqrt(2 * -np.log1p(-confidence) * share / np.maximum(trials * (1 - share), 1e-12))
    return 2 + np.ceil(np.maximum(-np.log2(np.maximum(best, 1e-12)), 1)).astype(np.int64)


def _stakes(gamblers: int) -> Numbers:
    """What part of the money a failure of the largest weight would take from each.

    Nobody stakes all, since one such failure would end it. The best stake is large where few may fail, hence two above
    one half; from there on they halve.
    """
    return np.concatenate([[0.95, 0.75], 0.5 ** np.arange(1, gamblers - 1)])


@dataclass(frozen=True, slots=True, eq=False)
class _Betting:
    """The logarithm of each gambler's money, and by how much a success of the largest weight raises it."""

    money: Numbers
    gain: Numbers
    gamblers: NDArray[np.int64]

    @classmethod
    def of(cls, trials: Trials, share: float, gamblers: NDArray[np.int64]) -> _Betting:
        most = int(gamblers.max(initial=3))
        stakes, odds = _stakes(most), 1 / share - 1
        money, gain = np.empty((len(trials.reach), most)), np.zeros((len(trials.reach), most))
        for failing in np.unique(trials.failing):
            here = trials.failing == failing
            part = trials.weights[:, None] / failing * stakes
            lost = np.log1p(-np.minimum(part, stakes))  # successes may weigh more
            some = replace(trials, reach=trials.reach[here])
            money[here] = some.total(np.log1p(part * odds), lost)
            if np.isfinite(failing):
                gain[here] = np.log1p(trials.winning[here][:, None] / failing * stakes * odds)
        money[np.arange(most) >= gamblers[:, None]] = -np.inf  # these do not take part
        return cls(money, gain, gamblers)

    def p_values(self, more: Numbers | float) -> Numbers:
        money = self.money + np.reshape(more, (-1, 1)) * self.gain
        return np.asarray(np.exp(np.minimum(np.log(self.gamblers) - logsumexp(money, axis=1), 0)))


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """Number, sum and sum of squares of ``weight * (success - share)``, and what a success of the largest weight adds.

    All in parts of the span between the least and the greatest possible value.
    """

    trials: Numbers
    first: Numbers
    second: Numbers
    gain: Numbers

    @classmethod
    def of(cls, trials: Trials, share: float, of: Numbers) -> _Moments:
        won, lost = trials.weights * (1 - share), -trials.weights * share
        span = trials.winning * (1 - share) + trials.failing * share
        gain = np.where(np.isfinite(span), trials.winning, 0) * (1 - share) / span
        first = trials.total(won, lost) / span
        return cls(of, first, trials.total(won**2, lost**2) / span**2, gain)

    def p_values(self, more: Numbers | float) -> Numbers:
        of = np.maximum(self.trials + more, 2)
        mean = (self.first + more * self.gain) / of
        variance = np.maximum(self.second + more * self.gain**2 - of * mean**2, 0) / (of - 1)
        # The root of ln(2 / p) solves: mean = sqrt(2 * variance / of) * root + 7 / (3 * (of - 1)) * root ** 2.
        linear, square = np.sqrt(2 * variance / of), 7 / (3 * (of - 1))
        root = (np.sqrt(linear**2 + 4 * square * np.maximum(mean, 0)) - linear) / (2 * square)
        p_values = np.minimum(1.0, 2 * np.exp(-(root**2)))
        return np.asarray(np.where(self.trials + more < 2, 1.0, p_values))
