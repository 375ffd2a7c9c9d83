"""Stored comments decided again under another bundle, another policy, or both. Nothing is kept of it.

A policy alone is tried on stored scores (:mod:`service.policies`). For a bundle every comment is scored again, with
the post, parent and neighbours that it was judged with, and what the store knew of its author then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from moderation.bundle import Bundle
from moderation.comment import Decision
from moderation.policy import Policy
from service.live_model import Live
from service.policies import MOST_DECISIONS, Changed, Policies, Trial, make_trial
from service.store import Decided, Site, Store

DAYS = 30


@dataclass(frozen=True, slots=True)
class Backtest:
    """What would have been decided on one site; ``bundle`` is ``None`` where the stored scores were taken."""

    site: str
    bundle: str | None
    trial: Trial
    changed: tuple[Changed, ...]
    """The comments that would have been decided otherwise, newest first."""


def try_out(
    store: Store,
    policies: Policies,
    site: Site,
    *,
    bundle: Bundle | None = None,
    toml: str | None = None,
    days: int = DAYS,
    most: int = MOST_DECISIONS,
    progress: Callable[[int], None] = lambda _: None,
) -> Backtest:
    """Decide a site's comments of the last days again. Without a policy (TOML) it is the one that the site follows.

    ``progress`` hears how many have been. Raises ``InvalidPolicy``, and ``StoreBusy`` or ``StoreUnavailable``.
    """
    text = (toml if toml is not None else policies.text(site)).replace("\r\n", "\n")
    if bundle is None:
        trial = policies.try_out(site, policies.check(text, site), days, most=most)
        return Backtest(site.url, None, trial, policies.changed(site, trial))
    live = Live(bundle, Policy.parse(text, bundle.operating_points))
    since, upto = store.now() - timedelta(days=days), policies.last_decision()
    decided = store.policies.decided(site, since, upto, whole=True)
    trial, changed = make_trial(store, live.default, (since, upto), _score(live, decided, progress), most)
    return Backtest(site.url, bundle.name, trial, changed)


def _score(
    live: Live, decided: Iterator[Decided], progress: Callable[[int], None]
) -> Iterator[tuple[Decided, Decision]]:
    for number, each in enumerate(decided):
        progress(number)
        scores, facts = live.assess_again(each.comment, each.facts)
        yield each, live.default.decide(each.comment, scores, facts)
