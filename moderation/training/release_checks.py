"""Checks of what serves and what served, which no contest shows: whether the gate may publish here and now.

A person who goes back from a bundle has decided something, and so has one who tries a bundle on a share of sites. The
gate undoes neither by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moderation.record import InForce, Release
from moderation.training.data_checks import Check
from moderation.training.known import find_new, has_hashes
from moderation.training.labels import Label

LITTLE_NEW = 0.1
"""Labels that add less than this share to those of a bundle that was rolled back make much the same bundle again."""


@dataclass(frozen=True, slots=True)
class Left:
    """A bundle that somebody has gone back from: when and by whom, and what was known of its labels.

    ``labels`` is empty where it had none or nobody knows. ``is_overruled`` says that the bundle in force was published
    after that and has learned from no fewer labels.
    """

    name: str
    release: Release
    labels: Mapping[str, Any] = field(default_factory=dict)
    is_overruled: bool = False

    @property
    def told(self) -> str:
        """When, and by whom."""
        by = f" by {self.release.by}" if self.release.by else ""
        return f"{self.name} was rolled back on {self.release.at[:10]}{by}"


def check_rolled_back(challenger: str, words: Sequence[Label], left: Sequence[Left], key: bytes) -> Check:
    """Whether a challenger is one that somebody went back from, or is made of much the same labels.

    ``words`` are the last words that it has learned from or that were held out, ``key`` that of the hashes of labels.
    """
    figures: dict[str, Any] = {"rolled_back": [each.name for each in left]}
    for each in left:
        if each.name == challenger:
            text = (
                f"{each.told}, and this is the same bundle, byte for byte. Somebody has to say why it may serve after "
                "all."
            )
            return Check("rolled_back", "hold", text, figures)
    for each in left:
        said = each.labels.get("said", 0)
        if not said or each.is_overruled:
            continue
        new = _count_new(words, each.labels, key)
        if new < max(1, LITTLE_NEW * said):
            text = (
                f"{each.told}; it had {said:,} labels, and {new:,} came since: under a tenth more. So much the same "
                "labels make much the same bundle, and somebody has to say why it may serve."
            )
            return Check("rolled_back", "hold", text, {**figures, "like": each.name, "said": said, "new": new})
    if not left:
        return Check("rolled_back", "pass", "Nobody has gone back from a bundle here.", figures)
    return Check("rolled_back", "pass", "It is not what somebody has gone back from, nor made of the same.", figures)


def _count_new(words: Sequence[Label], facts: Mapping[str, Any], key: bytes) -> int:
    """How many labels are new to a bundle whose ``facts`` are those of its manifest or of its report.

    Without hashes under this key, as in a report, it is those that are later than the last that it had, or as many as
    there are more of where that says less: an import brings labels of any time, and of none.
    """
    if has_hashes(facts, key):
        return find_new(words, facts, key).count
    dated = [label for label in words if label.at is not None] if facts.get("until") is not None else []
    return max(find_new(dated, facts, key).count, len(words) - int(facts.get("said", 0)), 0)


def check_in_force(began: InForce, now: InForce) -> Check:
    """Whether what serves is what the challenger was held against, and serves every site."""
    figures = {"began": began.text(), "now": now.text()}
    if now != began:
        trial = f", and {now.canary} on a share of sites" if now.canary else ""
        text = f"It was held against {began.bundle}, and {now.bundle} serves by now{trial}. Retrain again."
        return Check("in_force", "hold", text, figures)
    if began.canary is not None:
        text = (
            f"{began.canary} is tried on {began.share * 100:.3g}% of the sites, and publishing this one ends that. "
            f"Let it serve all sites ('moderation publish {began.canary}') or end it ('moderation rollback') first."
        )
        return Check("in_force", "hold", text, figures)
    return Check("in_force", "pass", f"{began.bundle} serves every site, as when this began.", figures)
