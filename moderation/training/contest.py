"""A champion and its challenger on the same rows: everything that :mod:`moderation.training.gate` judges by.

Figures only. Whoever builds a :class:`Contest` has scored both now, on the same rows and cases, each under the lines
that the default policy resolves to with its own operating points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from moderation.categories import CODES
from moderation.comment import Tier
from moderation.errors import DataError
from moderation.goals import ACTIONS, LineAction
from moderation.policy import Policy
from moderation.training.accounts import Accounts
from moderation.training.agreement import Agreement
from moderation.training.anchors import Figures
from moderation.training.paired import Flags, Floats
from moderation.training.rows import BehaviourCase, fingerprint
from moderation.training.trials import Assessed, judge_behaviour

Lines = Mapping[tuple[str, LineAction], float]
"""From which score on a line is reached: above 1 where there is none, under 0 where every score reaches it."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of rows: ``labels`` (rows, categories), NaN where unknown; slices, fingerprint and site of each.

    A frozen set is the slice ``set:NAME``. ``sites`` is empty where the rows are of no site.
    """

    labels: Floats
    slices: Sequence[Sequence[str]]
    prints: NDArray[np.str_]
    sites: Sequence[str | None] = ()

    @classmethod
    def of(cls, figures: Figures, sites: Sequence[str | None] = ()) -> Rows:
        """Rows of figures; where their slices name no set, their source stands for it."""
        slices = [
            names if any(name.startswith("set:") for name in names) else (f"set:{source}", *names)
            for names, source in zip(figures.slices, figures.sources.tolist(), strict=True)
        ]
        return cls(figures.labels, slices, figures.prints, sites)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def members(self) -> Mapping[str, Flags]:
        """Which rows are in each slice, the slice "" of all rows first."""
        names = sorted({name for one in self.slices for name in one})
        flags = {name: np.zeros(len(self), dtype=bool) for name in names}
        for row, of_row in enumerate(self.slices):
            for name in of_row:
                flags[name][row] = True
        return {"": np.ones(len(self), dtype=bool)} | flags


@dataclass(frozen=True, slots=True)
class Case:
    """A behaviour case without its text."""

    id: str
    slice: str
    print: str


@dataclass(frozen=True, slots=True)
class Contestant:
    """What one of the two said.

    ``frozen`` and ``held_out`` are probabilities, (rows, categories), NaN where it abstained; ``passed`` the ids of the
    cases that it passed.
    """

    name: str
    frozen: Floats
    held_out: Floats
    lines: Lines
    passed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sides:
    """How many labels of a category say that a comment is of it, and how many that it is not."""

    bad: int = 0
    good: int = 0

    @property
    def rarer_share(self) -> float:
        """The share of the side that has fewer; nought without labels."""
        return min(self.bad, self.good) / max(self.bad + self.good, 1)


@dataclass(frozen=True, slots=True)
class Training:
    """What the challenger learned from.

    Args:
        labels: Labelled comments that the challenger learned from.
        labels_before: Those that the champion had learned from.
        new_by_account: Of those that came since, how many each account gave.
        others: How many accounts have labelled, now or before, that gave none of what is new.
        accounts: Whom the check of labels has named.
        sides: Labels of each category.
        sides_before: Those of the champion.
        agreement: Of each category, how far those agree who judged the same comments.
        prints: Fingerprints of all texts learned from.
    """

    labels: int
    labels_before: int = 0
    new_by_account: Mapping[str, int] = field(default_factory=dict)
    others: int = 0
    accounts: Accounts = field(default_factory=Accounts)
    sides: Mapping[str, Sides] = field(default_factory=dict)
    sides_before: Mapping[str, Sides] = field(default_factory=dict)
    agreement: Sequence[Agreement] = ()
    prints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Contest:
    """Champion and challenger, the rows and cases that both answered, and what the challenger learned from.

    Raises ``DataError`` where answers do not fit the questions.
    """

    frozen: Rows
    held_out: Rows
    cases: Sequence[Case]
    champion: Contestant
    challenger: Contestant
    training: Training

    def __post_init__(self) -> None:
        if len(self.held_out.sites) != len(self.held_out):
            raise DataError(f"{len(self.held_out)} held-out rows need the site of each, not {len(self.held_out.sites)}")
        ids = {case.id for case in self.cases}
        if len(ids) != len(self.cases):
            raise DataError("two behaviour cases have the same id; rename one")
        for one in (self.champion, self.challenger):
            for part in ("frozen", "held_out"):
                found, wanted = getattr(one, part).shape, (len(getattr(self, part)), len(CODES))
                if found != wanted:
                    raise DataError(f"{one.name} must be scored on all {part} rows: {wanted}, not {found}")
            if unknown := one.passed - ids:
                raise DataError(f"{one.name} passed cases that nobody asked: {', '.join(sorted(unknown)[:5])}")


def lines_of(policy: Policy, tier: Tier = "full") -> Lines:
    """The lines of a policy that was resolved with a contestant's operating points."""
    return {(code, action): policy.line(tier, code, action).strictness for code in CODES for action in ACTIONS}


def without_texts(cases: Sequence[BehaviourCase]) -> list[Case]:
    """The behaviour cases as a contest has them."""
    return [Case(case.id, case.slice, fingerprint(case.comment.text)) for case in cases]


def passed_cases(cases: Sequence[BehaviourCase], assessed: Assessed, policy: Policy) -> frozenset[str]:
    """The ids of the cases that pass under :func:`moderation.training.trials.lined_policy`."""
    failed = {case["id"] for case in judge_behaviour(cases, assessed, policy)["failed"]}
    return frozenset(case.id for case in cases) - failed
