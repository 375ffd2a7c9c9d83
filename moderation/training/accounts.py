"""Whom a retraining believes: accounts that are left out, and sites that would have no labels left by that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from moderation.training.check import Check
from moderation.training.labels import Label, Trust, believed, words

_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Accounts:
    """Accounts that a check of labels has named, with the reason of each.

    ``left_out`` count for nothing. ``kept`` are, by site, those that would be left out if anybody else had labelled
    there: whether a site has norms of its own or nobody there can be believed, no figure tells.
    """

    left_out: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def apply(self, trust: Trust) -> Trust:
        """The trust in labels without who is left out."""
        return Trust(trust.sources, {**trust.moderators, **dict.fromkeys(self.left_out, 0.0)})


def weigh_accounts(
    labels: Sequence[Label], whole: Check, check: Callable[[Sequence[Label]], Check], trust: Trust
) -> Accounts:
    """Who is left out, by what a check found of all labels (``whole``) and of those that are left (``check``).

    Labels of one bad account make those of good ones look contradicted, and hide the next bad one: so it looks again,
    up to three times. Whom ``trust`` names is somebody's decision, and neither left out nor kept by this one.
    """
    on_site = _accounts_by_site(labels, trust)
    named = distrust(whole, trust)
    for _ in range(_MOST_ROUNDS):
        accounts = _keep_sites(named, on_site)
        rest = [label for label in labels if label.moderator not in accounts.left_out]
        more = distrust(check(rest), trust) if accounts.left_out and rest else {}
        if not more.keys() - named.keys():
            return accounts
        named = {**more, **named}
    return _keep_sites(named, on_site)


def distrust(check: Check, trust: Trust) -> dict[str, str]:
    """Accounts that speak against being learned from, and why, without those that ``trust`` names."""
    reasons: dict[str, str] = {}
    for flood in check.floods:
        reasons[flood.moderator] = f"it gave {flood.day:,} labels within a day, {flood.share:.0%} of all"
    for what, accounts in (
        ("other moderators contradict", check.outvoted),
        ("the model contradicts", check.contradicted),
    ):
        for odds in accounts:
            reasons[odds.moderator] = f"{what} {odds.contradicted:,} of its {odds.comments:,} {odds.what}"
    return {who: why for who, why in sorted(reasons.items()) if who not in trust.moderators}


def _accounts_by_site(labels: Sequence[Label], trust: Trust) -> dict[str, set[str]]:
    """Who has said something about comments of each site that can be learned."""
    found: dict[str, set[str]] = defaultdict(set)
    for (site, _, _), of_comment in words(believed(labels, trust)).items():
        found[site or ""].update(who for who, label in of_comment.items() if label.labels)
    return {site: who for site, who in found.items() if who}


def _keep_sites(named: Mapping[str, str], on_site: Mapping[str, set[str]]) -> Accounts:
    kept = {
        site: {who: named[who] for who in sorted(accounts)}
        for site, accounts in sorted(on_site.items())
        if accounts <= named.keys()
    }
    spared = {who for accounts in kept.values() for who in accounts}
    return Accounts({who: why for who, why in sorted(named.items()) if who not in spared}, kept)
