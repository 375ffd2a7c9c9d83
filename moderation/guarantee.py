"""Lines whose promises hold: goals resolved on a site's own labels, with a confidence that is named.

Labels come from two places: verdicts on everything that was held, and audits, which are drawn by chance from what was
published and rejected. An audited comment stands for as many as its inclusion probability says; counted as they come,
held comments would outweigh all others. What is shown of a line is therefore a bound from :mod:`moderation.bounds`:
exact where everything at the line weighs the same, weighted where not.

Among many lines, one that keeps its promise by luck would be found too easily. So lines are tried one after the other,
from the safest on, and the first that fails ends it: then no line has to be tested more strictly for there being others
(fixed sequence testing; Angelopoulos, Bates, Candès, Jordan and Lei 2025, "Learn then test: calibrating predictive
algorithms to achieve risk control", Annals of Applied Statistics 19). The first line is one with so many labels that it
could pass, whatever they say. For a precision, which may rise and fall, there may be a second start further down, where
more labels leave room for errors (the "multiple starts" there). The two share the permitted error, and what the first
one has left on arriving there joins that of the second (Bretz, Maurer, Brannath and Posch 2009, "A graphical approach
to sequentially rejective multiple test procedures").

=====================================  ============================  ======================  =======================
goal                                   trials                        success                 tried
=====================================  ============================  ======================  =======================
``precision >= P``                     all at or above the line      is bad                  from the highest line on
``at most X % of good comments``       all good ones                 is under the line       from the highest line on
``recall >= R``                        all bad ones                  is at or above it       from the lowest line on
=====================================  ============================  ======================  =======================

What has to be so for a promise to hold: rows are comments as they arrive there, drawn with the probabilities given; the
scores are those of the model in use; a person's verdict is the truth; and lines are given without a look at the labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from moderation.bounds import FAILURE, NO_TRIAL, SUCCESS, Method, Numbers, Trials, challenge, lower_bound
from moderation.comment import Tier
from moderation.goals import Goal, OwnEvidence, Promise, read_goal, read_operating_points
from moderation.judged import Judged

CONFIDENCE = 0.95
_SPENT_ON_THE_RATE = 0.1
"""The part of the permitted error that goes into measuring how much of the labels' comments is bad."""


def lines_among(scores: ArrayLike, most: int = 200) -> Numbers:
    """Lines to choose from where none are given: scores that occur, closer together among the highest."""
    numbers: Numbers = np.asarray(scores, dtype=np.float64)
    occurring = np.unique(np.round(numbers, 6).astype(np.float64))[::-1]
    if len(occurring) <= most:
        return occurring
    last, half = len(occurring) - 1, most // 2
    places = np.concatenate([np.geomspace(1, last + 1, half) - 1, np.linspace(0, last, most - half)])
    return np.asarray(occurring[np.unique(np.round(places).astype(np.int64))])


def resolve(
    judged: Judged,
    goal: Goal | str,
    *,
    lines: ArrayLike | None = None,
    live_rate: float | None = None,
    confidence: float = CONFIDENCE,
    method: Method = "betting",
) -> Promise:
    """The lowest line (for recall: the highest) whose promise the labels show to hold.

    Args:
        judged: The labels.
        goal: A goal, or its sentence.
        lines: Those to choose from; fixed without a look at the labels, such as a bundle's measured thresholds.
        live_rate: The share of bad comments among those to come, where it is no longer that of the labels: a lower
            bound of it, if it is itself measured. Precision is then rescaled to it, on the assumption that bad comments
            score as bad ones did before, and good ones as good ones (Saerens, Latinne and Decaestecker 2002,
            "Adjusting the outputs of a classifier to new a priori probabilities"). ``None``: that of the labels.
        confidence: In this share of cases at least, a line that is given keeps its promise.
        method: How weighted bounds are made.
    """
    goal = read_goal(goal) if isinstance(goal, str) else goal
    if not 0 < confidence < 1:
        raise ValueError("confidence lies between 0 and 1, both excluded, such as 0.95")
    if live_rate is not None and not 0 < live_rate < 1:
        raise ValueError("live_rate lies between 0 and 1, both excluded, such as 0.05")
    ranked = judged.ranked()
    if lines is None:
        candidates = lines_among(ranked.score)
    else:
        candidates = np.unique(np.ceil(np.asarray(lines, dtype=np.float64) * 1e6 - 1e-4) / 1e6)[::-1]
    if goal.kind == "recall":
        candidates = candidates[::-1]
    wanted = _Wanted.of(ranked, goal, live_rate, 1 - confidence, method)
    if not len(ranked) or not len(candidates):
        return _nothing_judged(goal, confidence)
    trials = _trials(ranked, goal, candidates)
    asked = challenge(trials, wanted.share, confidence=1 - wanted.level, method=method)
    able = challenge(trials.faultless(), wanted.share, confidence=1 - wanted.level, method=method)
    may_start_twice = goal.kind == "precision"
    walk = _Walk.over(asked.p_values(), able.p_values(), wanted.level, may_start_twice=may_start_twice)
    place, missing = walk.last, 0.0
    if place is None:
        # What has to pass first: one of the starts, or any line while there is none.
        first = np.array(walk.starts or range(len(candidates)))
        needed = asked.missing(walk.level)[first].astype(np.float64)
        needed[needed < 0] = np.inf
        # Of equals the lowest, so that more is seen by a person.
        place = int(first[np.lexsort((candidates[first], needed))[0]])
        missing = float(needed.min())
        refuted = challenge(trials.turned(), 1 - wanted.missed_share, method=method).p_values() <= 1 - confidence
        if walk.starts and np.all(refuted[first]):
            missing = math.inf
        elif not walk.starts and not math.isfinite(missing):
            missing = _without_failure(goal, confidence)
    shown = lower_bound(trials, place, aim=wanted.share, confidence=1 - wanted.level, method=method)
    promise = Promise(
        goal=goal,
        confidence=confidence,
        line=float(candidates[place]) if walk.last is not None else None,
        closest=float(candidates[place]),
        bound=wanted.as_stated(shown),
        labels=int(asked.trials[place]),
        missing=max(int(missing), 0 if walk.last is not None else 1) if math.isfinite(missing) else None,
        is_enough=bool(walk.starts),
        sentence="",
    )
    is_counted = bool(trials.is_exact[place])
    return replace(
        promise, sentence=_sentence(promise, is_exact=is_counted, is_blind=bool(np.isinf(trials.failing[place])))
    )


@dataclass(frozen=True, slots=True, eq=False)
class OwnLabels:
    """A site's own labels as evidence for a policy (:class:`moderation.goals.OwnEvidence`)."""

    judged: Judged
    lines: tuple[float, ...] | None = None
    live_rate: float | None = None
    confidence: float = CONFIDENCE

    def promise(self, goal: Goal) -> Promise:
        """The line that these labels allow for a goal, or how many are missing."""
        return resolve(self.judged, goal, lines=self.lines, live_rate=self.live_rate, confidence=self.confidence)

    def is_missed_at(self, goal: Goal, line: float) -> bool:
        """Whether these labels show, with the same confidence, that a line does *not* keep a goal."""
        if not len(self.judged):
            return False
        ranked = self.judged.ranked()
        wanted = _Wanted.of(ranked, goal, self.live_rate, 1 - self.confidence, "betting")
        turned = _trials(ranked, goal, np.array([line])).turned()
        return bool(challenge(turned, 1 - wanted.missed_share).p_values()[0] <= wanted.level)


def own_evidence(
    judged: Mapping[tuple[Tier, str], Judged],
    operating_points: Mapping[str, Any] | None = None,
    *,
    live_rates: Mapping[str, float] | None = None,
    confidence: float = CONFIDENCE,
) -> dict[tuple[Tier, str], OwnEvidence]:
    """What :meth:`moderation.policy.Policy.parse` takes as ``own``: evidence by tier and category.

    Lines are chosen among the thresholds of the bundle's ``operating_points.json``, which were fixed without these
    labels; where it has none, among the scores. ``live_rates`` by category are for labels of another time, see
    :func:`resolve`.
    """
    measured = read_operating_points(operating_points)
    found: dict[tuple[Tier, str], OwnEvidence] = {}
    for (tier, code), rows in judged.items():
        points = measured[tier, code].points if (tier, code) in measured else ()
        found[tier, code] = OwnLabels(
            rows,
            lines=tuple(point.threshold for point in points) or None,
            live_rate=(live_rates or {}).get(code),
            confidence=confidence,
        )
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A goal as a share of successes among the labels' comments, and the error that is permitted in showing it.

    ``missed_share`` is the share of which fewer successes show that the goal is missed. ``odds`` turns odds among the
    labels' comments into odds among those to come.
    """

    goal: Goal
    share: float
    missed_share: float
    level: float
    odds: float = 1.0

    @classmethod
    def of(cls, ranked: Judged, goal: Goal, live_rate: float | None, level: float, method: Method) -> _Wanted:
        share = 1 - goal.target if goal.kind == "good_share" else goal.target
        if goal.kind != "precision" or live_rate is None:
            return cls(goal, share, share, level)
        # The more of the labels' comments is bad, the less is left of a precision where fewer are.
        low, high = _rate_bounds(ranked, level * _SPENT_ON_THE_RATE, method)
        odds, wanted = live_rate / (1 - live_rate), share / (1 - share)

        def needed(rate: float) -> float:
            if rate >= 1:
                return 1.0
            there = wanted * (rate / (1 - rate)) / odds
            return there / (1 + there)

        left = odds * (1 - high) / high if high > 0 else math.inf
        return cls(goal, needed(high), needed(low), level * (1 - _SPENT_ON_THE_RATE), left)

    def as_stated(self, share: float) -> float:
        """A lower bound among the labels' comments as a bound of what the goal names."""
        if self.goal.kind == "good_share":
            return 1 - share
        if self.odds == 1 or share in {0, 1}:
            return share
        there = share / (1 - share) * self.odds
        return there / (1 + there) if math.isfinite(there) else 1.0


def _rate_bounds(ranked: Judged, level: float, method: Method) -> tuple[float, float]:
    """How much of the labels' comments is bad at least, and at most; each is wrong with probability ``level``."""
    if not len(ranked):
        return 0.0, 1.0
    trials = _trials(ranked, Goal("precision", 0.5, ""), np.array([-np.inf]))
    # Nothing is known of the rate beforehand, so betting is tuned to none in particular.
    low = lower_bound(trials, 0, aim=0.5, confidence=1 - level, method=method)
    high = 1 - lower_bound(trials.turned(), 0, aim=0.5, confidence=1 - level, method=method)
    return low, high


def _trials(ranked: Judged, goal: Goal, lines: Numbers) -> Trials:
    """The rows as trials of a goal (table at the top of this module)."""
    weights, bad = 1 / ranked.inclusion_probability, ranked.is_bad
    reach = np.searchsorted(-ranked.score, -lines, side="right")
    heights = np.array([stratum.highest for stratum in ranked.strata])
    with np.errstate(divide="ignore"):
        each = 1 / np.array([stratum.inclusion for stratum in ranked.strata])
    # Above all of them, what is to come would be treated as the highest are.
    concerned = heights >= np.minimum(lines, heights.max())[:, None]
    over = np.max(np.where(concerned, each, 0), axis=1)
    anywhere = np.full(len(lines), each.max())
    seen = np.where(np.isfinite(each), each, 1)
    over_seen = np.max(np.where(concerned, seen, 0), axis=1)
    is_whole = bool(np.all(np.isfinite(each[np.any(concerned, axis=0)])))
    if goal.kind == "precision":
        # All the same: every kind that is concerned, and every row there.
        least = np.min(np.where(concerned, each, np.inf), axis=1)
        lightest = np.concatenate([[np.inf], np.minimum.accumulate(weights)])[reach]
        is_exact = np.isfinite(over) & np.isclose(least, over) & (np.minimum(lightest, over) >= over * (1 - 1e-9))
        return Trials(
            weights=weights,
            above=np.where(bad, SUCCESS, FAILURE).astype(np.int8),
            below=np.full(len(weights), NO_TRIAL, dtype=np.int8),
            reach=reach,
            failing=over,
            winning=over_seen,
            is_exact=is_exact,
            is_whole=is_whole,
        )
    is_exact = np.full(len(lines), bool(np.all(np.isfinite(each)) and np.ptp([*each, *weights]) <= 1e-9 * each.max()))
    good = goal.kind == "good_share"
    concerns = ~bad if good else bad
    return Trials(
        weights=weights,
        above=np.where(concerns, FAILURE if good else SUCCESS, NO_TRIAL).astype(np.int8),
        below=np.where(concerns, SUCCESS if good else FAILURE, NO_TRIAL).astype(np.int8),
        reach=reach,
        failing=over if good else anywhere,
        winning=np.full(len(lines), seen.max()) if good else over_seen,
        is_exact=is_exact,
        is_whole=bool(np.all(np.isfinite(each))),
    )


@dataclass(frozen=True, slots=True)
class _Walk:
    """How far the sequence of tests came: the last place that passed, the places of the starts, and their level."""

    last: int | None
    starts: tuple[int, ...]
    level: float

    @classmethod
    def over(cls, p_values: Numbers, possible: Numbers, level: float, *, may_start_twice: bool) -> _Walk:
        """Walk over lines in their order; ``possible`` are the p-values if no trial had failed.

        The first start is the first line that could pass. Where labels could show twice as much as that takes, a second
        one is where five times as much could be shown, or nearly as much as anywhere: further down there is room for
        errors. Each brings its part of ``level``, which goes on to the next line with every one that passes and is
        lost where one fails.
        """
        with np.errstate(divide="ignore"):
            could_show = -np.log(possible)
        most = could_show.max(initial=0)
        count = 2 if may_start_twice and most >= 2 * math.log(2 / level) else 1
        takes = math.log(count / level) * (1 - 1e-12)
        if most < takes:
            return cls(None, (), level)
        starts = [int(np.argmax(could_show >= least)) for least in (takes, min(5 * takes, 0.8 * most))[:count]]
        last, budget = None, 0
        for place, p_value in enumerate(p_values.tolist()):
            budget += sum(start == place for start in starts)
            if budget and p_value <= budget * level / count * (1 + 1e-12):
                last = place
            else:
                budget = 0
        return cls(last, tuple(starts), level / count)


def _without_failure(goal: Goal, confidence: float) -> float:
    """How many labels of equal weight, none of them wrong, show the goal."""
    share = 1 - goal.target if goal.kind == "good_share" else goal.target
    return math.ceil(math.log(1 - confidence) / math.log(share) - 1e-9) if share < 1 else math.inf


def _nothing_judged(goal: Goal, confidence: float) -> Promise:
    missing = _without_failure(goal, confidence)
    promise = Promise(
        goal, confidence, None, None, None, 0, int(missing) if math.isfinite(missing) else None, False, ""
    )
    return replace(promise, sentence=_sentence(promise, is_exact=True, is_blind=False))


_SHOWN = {
    "precision": "of the comments that score {line:g} or more, at least {bound:.2%} are bad",
    "recall": "of bad comments, at least {bound:.2%} score {line:g} or more",
    "good_share": "of good comments, at most {bound:.2%} score {line:g} or more",
}


def _sentence(promise: Promise, *, is_exact: bool, is_blind: bool) -> str:
    goal = f'"{promise.goal.stated}"'
    sure = f"{promise.confidence * 100:g} %"
    labels = "1 label" if promise.labels == 1 else f"{promise.labels} labels"
    if promise.closest is None or promise.bound is None:
        shown = "nothing is judged yet"
    else:
        # Rounded to the side that promises less.
        rounded = math.ceil if promise.goal.kind == "good_share" else math.floor
        line = _SHOWN[promise.goal.kind].format(line=promise.closest, bound=rounded(promise.bound * 1e4) / 1e4)
        shown = f"{line}, as far as {labels} show with {sure} confidence"
    if promise.holds:
        return f"The goal {goal} holds from {promise.line:g} on: {shown}."
    if is_blind:
        rest = "some of the comments that it speaks of are never drawn for an audit, so labels cannot show it"
    elif promise.missing is None:
        rest = (
            "more labels alone will not help, since too many of these are wrong"
            if promise.labels
            else "no number of labels can show it"
        )
    else:
        least = "at least" if is_exact else "about"
        more = "label that is not wrong is" if promise.missing == 1 else "labels, none of them wrong, are"
        rest = f"{least} {promise.missing} more audit {more} missing"
    return f"The goal {goal} is not shown by this site's own labels: {shown}; {rest}. Until it is, a person decides."
