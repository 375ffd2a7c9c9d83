"""Goals: a line said as a sentence, and the threshold that the measurements allow for it.

A goal names what the operator wants ("precision >= 0.99"), not a threshold, because thresholds mean something else
after every retraining. A bundle brings *operating points*: what was measured at which threshold, per tier and
category. ``resolve`` looks for the threshold among them.

The idea, and the rescaling of precision to the live rate, follow revscoring's threshold optimisation (Wikimedia,
``scaled_threshold_statistics.py``). With ``r`` the share of the category among arriving comments (``live_rate``),
and false positives taken at their one-sided 95 % upper bound (Clopper and Pearson 1934), not at their mean::

    precision = r * recall / (r * recall + (1 - r) * false_positive_rate_upper)

=====================================  ==================================================================
goal                                   threshold
=====================================  ==================================================================
``precision >= P``                     the smallest whose precision, as above, is at least P
``recall >= R``                        the largest whose recall is at least R
``at most X % of good comments``       the smallest whose ``false_positive_rate_upper`` is at most X %
=====================================  ==================================================================

A site's own labels, where there are enough of them, go before the measurements (:class:`OwnEvidence`, made by
:mod:`moderation.guarantee`): they were drawn from the comments that arrive there, and need no guess at the live rate.

A goal that the measurements do not support fails towards a person: a reject line disappears, a hold line falls back
to the measured threshold that comes closest, and without any measurement everything is held.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from moderation.categories import CODES
from moderation.comment import Tier
from moderation.errors import InvalidPolicy

LineAction = Literal["hold", "reject"]
ACTIONS: tuple[LineAction, ...] = get_args(LineAction)
TIERS: tuple[Tier, ...] = get_args(Tier)
OPERATING_POINTS_FORMAT = 1

_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(%)?"
_RATE_GOAL = re.compile(rf"(precision|recall)\s*(?:>=|≥)\s*{_NUMBER}", re.IGNORECASE)
_SHARE_GOAL = re.compile(rf"at\s+most\s+{_NUMBER}\s*of\s+good\s+comments", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal as read: ``target`` is a share from 0 to 1, ``stated`` the sentence as the policy has it."""

    kind: Literal["precision", "recall", "good_share"]
    target: float
    stated: str


def read_goal(stated: str) -> Goal:
    """Read a goal sentence; spaces and capitals do not matter. Raises ``ValueError`` that says what to write."""
    stated = " ".join(stated.split())
    if match := _RATE_GOAL.fullmatch(stated):
        name, number, percent = match.groups()
        target = _share(number, percent)
        if name.lower() == "recall":
            if not 0 < target <= 1:
                raise ValueError('a recall goal lies above 0 and up to 1, such as "recall >= 0.9"')
            return Goal("recall", target, stated)
        if not 0 < target < 1:
            raise ValueError('a precision goal lies between 0 and 1, both excluded, such as "precision >= 0.99"')
        return Goal("precision", target, stated)
    if match := _SHARE_GOAL.fullmatch(stated):
        target = _share(*match.groups())
        if not 0 < target < 1:
            raise ValueError(
                'the share lies between 0 and 100 %, both excluded, such as "at most 1 % of good comments"'
            )
        return Goal("good_share", target, stated)
    raise ValueError(
        'is not a goal; write "precision >= 0.99", "recall >= 0.9", "at most 1 % of good comments", '
        "or a number from 0 to 1 without quotes"
    )


def _share(number: str, percent: str | None) -> float:
    # Rounded so that "0.7 %" is 0.007, as its author means, and not 0.006999999999999999.
    return round(float(number) / 100, 12) if percent else float(number)


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one threshold; all four are shares from 0 to 1."""

    threshold: float
    recall: float
    false_positive_rate: float
    false_positive_rate_upper: float

    def precision(self, live_rate: float) -> float:
        """A cautious precision at the live rate (formula and source: top of this module)."""
        found = live_rate * self.recall
        wrong = (1 - live_rate) * self.false_positive_rate_upper
        return found / (found + wrong) if found > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """The points of one tier and category, thresholds ascending, and how many good comments they rest on."""

    negatives: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """What labels show about a goal with the ``confidence`` that is named.

    ``line`` is the line whose promise holds: the lowest one, for recall the highest; ``None`` where none is shown.
    ``closest`` is that line, or else the one that needs the fewest further labels. ``bound`` is what is shown there of
    what the goal names: at least so much precision or recall, at most such a share of good comments (``None``: nothing
    is judged).
    ``labels`` is how many labels that rests on, and ``missing`` how many more, none of them wrong, would be needed at
    least (0 where the promise holds, ``None`` where more labels alone cannot help). ``is_enough``: so many labels could
    have shown it, whatever they say. ``sentence`` says all that to a person.
    """

    goal: Goal
    confidence: float
    line: float | None
    closest: float | None
    bound: float | None
    labels: int
    missing: int | None
    is_enough: bool
    sentence: str

    @property
    def holds(self) -> bool:
        """Whether there is a line whose promise is shown to hold."""
        return self.line is not None


class OwnEvidence(Protocol):
    """What the labels of one site say about goals, for one tier and category."""

    def promise(self, goal: Goal) -> Promise:
        """The line that these labels allow for a goal, or how many are missing."""

    def is_missed_at(self, goal: Goal, line: float) -> bool:
        """Whether these labels show that a line does *not* keep a goal."""


@dataclass(frozen=True, slots=True)
class ResolvedLine:
    """One line as it is in force for a tier.

    ``stated`` is what the policy says: a number, a goal sentence, or ``None`` where it says nothing. ``threshold`` is
    ``None`` where no line is in force. ``supported`` is false where the measurements do not back the goal; ``note``
    then says so for a moderator, and ``missing_rows`` how many more rows without an error would be needed at least
    (``None`` where more rows alone cannot help). ``own`` is what the site's own labels say, where it has any.
    """

    tier: Tier
    category: str
    action: LineAction
    stated: float | str | None = None
    threshold: float | None = None
    supported: bool = True
    note: str = ""
    missing_rows: int | None = None
    own: Promise | None = None

    @property
    def is_set(self) -> bool:
        """Whether the policy asks for this line at all."""
        return self.stated is not None

    @property
    def strictness(self) -> float:
        """From where on scores are over the line; a hold line that nothing is known about holds every score."""
        if self.threshold is not None:
            return self.threshold
        return -1.0 if self.is_set and self.action == "hold" else math.inf

    def is_reached_by(self, score: float) -> bool:
        """Whether a score is at or over the line."""
        return score >= self.strictness


@dataclass(frozen=True, slots=True)
class LinePair:
    """The two lines of one category in one tier."""

    hold: ResolvedLine
    reject: ResolvedLine

    @property
    def is_set(self) -> bool:
        """Whether the policy asks for either line."""
        return self.hold.is_set or self.reject.is_set

    def strictest(self, other: LinePair) -> LinePair:
        """Of each line the stricter one; this pair's own where they are equal."""
        return LinePair(
            hold=min(self.hold, other.hold, key=lambda line: line.strictness),
            reject=min(self.reject, other.reject, key=lambda line: line.strictness),
        )


def resolve(
    stated: float | Goal | None,
    *,
    tier: Tier,
    category: str,
    action: LineAction,
    live_rate: float,
    evidence: Evidence | None,
    own: OwnEvidence | None = None,
) -> ResolvedLine:
    """The line in force for what the policy states, given what was measured (``None`` or no points: nothing).

    ``own`` is what the site's own labels say. They decide where there are enough of them, and where they show that the
    measured line does not keep the goal; else the measurements do.
    """
    line = ResolvedLine(tier, category, action)
    if stated is None:
        return line
    if isinstance(stated, float):
        return replace(line, stated=stated, threshold=stated)
    line = replace(line, stated=stated.stated)
    measured = _resolve_measured(line, stated, live_rate, evidence)
    return measured if own is None else _resolve_own(line, stated, own, measured)


def _resolve_own(line: ResolvedLine, goal: Goal, own: OwnEvidence, measured: ResolvedLine) -> ResolvedLine:
    promise = own.promise(goal)
    line = replace(line, own=promise)
    if promise.line is not None:
        return replace(line, threshold=promise.line)
    is_missed = measured.threshold is not None and own.is_missed_at(goal, measured.threshold)
    if not promise.is_enough and not is_missed:
        if measured.supported:
            return replace(measured, own=promise)
        return replace(
            measured, own=promise, missing_rows=promise.missing, note=f"{measured.note} {promise.sentence}".strip()
        )
    note = promise.sentence
    if is_missed:
        note = f"The site's own labels show that the measured line, {measured.threshold:g}, does not keep it. {note}"
    threshold = None
    if line.action == "hold":
        # The lower of the two, so that more is seen by a person.
        known = [each for each in (promise.closest, measured.threshold) if each is not None]
        threshold = min(known, default=None)
    return replace(line, threshold=threshold, supported=False, note=note, missing_rows=promise.missing)


def _resolve_measured(line: ResolvedLine, stated: Goal, live_rate: float, evidence: Evidence | None) -> ResolvedLine:
    action = line.action
    if evidence is None or not evidence.points:
        outcome = "every comment is held for a person" if action == "hold" else "nothing is rejected by this score"
        return replace(
            line,
            supported=False,
            note=f'There are no measurements for the goal "{stated.stated}", so {outcome}.',
            missing_rows=None if stated.kind == "recall" else _rows_needed(stated),
        )
    satisfying = [point.threshold for point in evidence.points if _shortfall(stated, point, live_rate) <= 0]
    if satisfying:
        threshold = max(satisfying) if stated.kind == "recall" else min(satisfying)
        return replace(line, threshold=threshold)
    # Of equally close points the lowest threshold comes first: the same evidence, and more is seen by a person.
    closest = min(evidence.points, key=lambda point: _shortfall(stated, point, live_rate))
    missing = _rows_missing(stated, closest, evidence)
    return replace(
        line,
        threshold=closest.threshold if action == "hold" else None,
        supported=False,
        note=_unsupported_note(stated, action, closest, live_rate, missing),
        missing_rows=missing,
    )


def resolve_pair(
    stated: Mapping[LineAction, Sequence[float | Goal | None]],
    *,
    tier: Tier,
    category: str,
    live_rate: float,
    evidence: Evidence | None,
    own: OwnEvidence | None = None,
) -> LinePair:
    """Both lines of a category; where several are stated for one action, the lower counts.

    An unsupported reject goal without any hold line beside it becomes a hold line: its author wanted a person's
    attention at the very least.
    """

    def _resolve(item: float | Goal | None, action: LineAction) -> ResolvedLine:
        return resolve(
            item, tier=tier, category=category, action=action, live_rate=live_rate, evidence=evidence, own=own
        )

    chosen: dict[LineAction, ResolvedLine] = {}
    goals: list[Goal] = []
    for action in ACTIONS:
        lines = []
        for item in stated[action]:
            line = _resolve(item, action)
            lines.append(line)
            if isinstance(item, Goal) and action == "reject" and not line.supported:
                goals.append(item)
        # A line that is set but not in force still explains itself, so it goes before one that is not set.
        chosen[action] = min(lines, key=lambda line: (line.strictness, not line.is_set))
    hold, reject = chosen["hold"], chosen["reject"]
    if not hold.is_set and goals and reject.threshold is None:
        hold = min((_resolve(goal, "hold") for goal in goals), key=lambda line: line.strictness)
        hold = replace(hold, note=f"{hold.note} It stands in for the reject line.")
    return _uncross(hold, reject)


def _uncross(hold: ResolvedLine, reject: ResolvedLine) -> LinePair:
    """Put two lines in order when goals resolved to a reject line below the hold line.

    Between the two, one goal asks to reject and the other to let pass. A person decides there, so the lower threshold
    becomes the hold line and the higher one the reject line.
    """
    if hold.threshold is None or reject.threshold is None or reject.threshold >= hold.threshold:
        return LinePair(hold, reject)
    note = "The goals for hold and reject crossed; between them comments are held."
    return LinePair(
        hold=replace(hold, threshold=reject.threshold, note=f"{hold.note} {note}".strip()),
        reject=replace(reject, threshold=hold.threshold, note=f"{reject.note} {note}".strip()),
    )


def rows_without_error(share: float) -> int:
    """How many rows, none of them wrong, show at 95 % that at least ``share`` (0 to 1, excluded) are right.

    All n right has probability ``share ** n``; that is at most 0.05 from ``n >= ln(0.05) / ln(share)`` on: 299 for
    0.99 (the "rule of three", Hanley and Lippman-Hand 1983).
    """
    return math.ceil(math.log(0.05) / math.log(share))


def _shortfall(goal: Goal, point: Point, live_rate: float) -> float:
    """By how much a point misses the goal; zero or less means that it satisfies it."""
    if goal.kind == "precision":
        return goal.target - point.precision(live_rate)
    if goal.kind == "recall":
        return goal.target - point.recall
    return point.false_positive_rate_upper - goal.target


def _rows_needed(goal: Goal) -> int:
    return rows_without_error(goal.target if goal.kind == "precision" else 1 - goal.target)


def _rows_missing(goal: Goal, closest: Point, evidence: Evidence) -> int | None:
    if goal.kind == "precision":
        # Measured rows do not count here: they were not drawn as live comments are. Audited ones will be.
        return _rows_needed(goal)
    if goal.kind == "recall" or closest.false_positive_rate > 0:
        return None
    return max(_rows_needed(goal) - evidence.negatives, 1)


def _unsupported_note(goal: Goal, action: LineAction, closest: Point, live_rate: float, missing: int | None) -> str:
    outcome = (
        f"the line is the closest measured one, {closest.threshold:g}"
        if action == "hold"
        else "nothing is rejected by this score; a person decides"
    )
    if goal.kind == "precision":
        why = (
            f"what is shown so far is {closest.precision(live_rate):.3f}; "
            f"at least {missing} more audited comments over the line, none of them wrong, are missing"
        )
    elif goal.kind == "recall":
        why = f"at most {closest.recall:.3f} was reached"
    elif missing is None:
        why = f"even the closest line may touch {closest.false_positive_rate_upper:.2%} of them"
    else:
        why = f"at least {missing} more measured good comments, none of them over the line, are missing"
    return f'The goal "{goal.stated}" is not supported by the measurements ({why}), so {outcome}.'


def read_operating_points(data: Mapping[str, Any] | None) -> dict[tuple[Tier, str], Evidence]:
    """The evidence in a bundle's ``operating_points.json``, by tier and category.

    ``None`` gives an empty result; tiers and categories may be missing. Raises ``InvalidPolicy`` when the content
    has another format or a figure that is not a share.
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping) or data.get("format") != OPERATING_POINTS_FORMAT:
        raise InvalidPolicy(
            f"operating_points: expected format {OPERATING_POINTS_FORMAT}; use a bundle made by this version"
        )
    found: dict[tuple[Tier, str], Evidence] = {}
    tiers = _mapping(data.get("tiers", {}), "operating_points.tiers")
    for tier in TIERS:
        categories = _mapping(tiers.get(tier, {}), f"operating_points.{tier}")
        for code in CODES:
            if code in categories:
                found[tier, code] = _evidence(categories[code], f"operating_points.{tier}.{code}")
    return found


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidPolicy(f"{where}: must be an object; make the bundle again")
    return value


def _evidence(data: object, where: str) -> Evidence:
    values = _mapping(data, where)
    rows = values.get("points", [])
    negatives = values.get("negatives", 0)
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise InvalidPolicy(f"{where}.points: must be a list; make the bundle again")
    if not isinstance(negatives, int) or isinstance(negatives, bool) or negatives < 0:
        raise InvalidPolicy(f"{where}.negatives: must be a count; make the bundle again")
    points = [_point(row, f"{where}.points") for row in rows]
    return Evidence(negatives=negatives, points=tuple(sorted(points, key=lambda point: point.threshold)))


def _point(data: object, where: str) -> Point:
    values = _mapping(data, where)
    figures: dict[str, float] = {}
    for name in ("threshold", "recall", "false_positive_rate", "false_positive_rate_upper"):
        value = values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            raise InvalidPolicy(f"{where}: {name} must be a number from 0 to 1; make the bundle again")
        figures[name] = float(value)
    return Point(**figures)
