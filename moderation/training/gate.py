"""The gate: whether a challenger may take the champion's place, with a reason for every check.

Pure: the same :class:`moderation.training.contest.Contest` gives the same report. Data comes first, because figures of
a model that has seen what it is measured on, or that learned from labels that cannot be meant, say nothing. Every check
answers whatever the others found, so that a report tells everything there is to mend.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from moderation.training.contest import Contest
from moderation.training.data_checks import (
    Check,
    check_accounts,
    check_agreement,
    check_answers,
    check_collapse,
    check_flood,
    check_leak,
)
from moderation.training.doubt_check import check_doubts
from moderation.training.score_checks import check_behaviour, check_gain, check_lines, check_ranking, check_sites

__all__ = ["CHECKS", "Check", "GateReport", "judge"]

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
FORMAT = 1
_WIDTH = 110

CHECKS: Sequence[Callable[[Contest], Check]] = (
    check_flood,
    check_accounts,
    check_collapse,
    check_leak,
    check_agreement,
    check_doubts,
    check_answers,
    check_ranking,
    check_lines,
    check_behaviour,
    check_sites,
    check_gain,
)
"""Every check, in the order of a report."""


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate says, and why."""

    verdict: Verdict
    champion: str
    challenger: str
    checks: Sequence[Check]

    @property
    def in_the_way(self) -> list[Check]:
        """The checks that stand in the way."""
        return [check for check in self.checks if check.state in ("hold", "reject")]

    @property
    def reasons(self) -> list[str]:
        """What those say."""
        return [check.sentence for check in self.in_the_way]

    def and_asked(self, *checks: Check) -> GateReport:
        """The report with the answers of more checks: of what serves here and did, which no contest shows."""
        found = [*self.checks, *checks]
        return replace(self, checks=found, verdict=_decide(found))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "champion": self.champion,
            "challenger": self.challenger,
            "checks": [check.as_dict() for check in self.checks],
        }

    def __str__(self) -> str:
        """A table for people, the verdict last."""
        lines = [f"champion {self.champion}, challenger {self.challenger}", ""]
        for check in self.checks:
            first = f"{check.name:<11} {check.state:<8} "
            lines += textwrap.wrap(
                check.sentence,
                _WIDTH,
                initial_indent=first,
                subsequent_indent=" " * len(first),
                break_long_words=False,
                break_on_hyphens=False,
            )
        return "\n".join([*lines, "", self.verdict])


def judge(contest: Contest, checks: Sequence[Callable[[Contest], Check]] = CHECKS) -> GateReport:
    """Every check asked. One that rejects decides, else one that holds; only where none does, the challenger passes."""
    found = [check(contest) for check in checks]
    return GateReport(_decide(found), contest.champion.name, contest.challenger.name, found)


def _decide(found: Sequence[Check]) -> Verdict:
    states = {check.state for check in found}
    return "REJECT" if "reject" in states else "HOLD" if "hold" in states else "PROMOTE"
