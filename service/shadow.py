"""A bundle scored beside the one that serves: in the background, after the answer, never in place of it.

What was decided is offered with its comment; where more comes than can be scored, the rest is dropped and counted. What
the challenger would have decided is kept without text, beside the decision that was made.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from moderation.categories import CODES
from moderation.comment import Action, Comment, Facts
from service.errors import StoreError
from service.live_model import Live, LiveModel
from service.logs import describe_error
from service.metrics import Metrics
from service.store import Beside, Judged, ShadowRow, Site, Store, Stored, read_facts

_log = logging.getLogger(__name__)

MOST_COMPARED = 50_000
"""How many comments a report goes back at most."""

_MOST_WAITING = 200
_AT_ONCE = 32
_NICE = 10


@dataclass(frozen=True, slots=True)
class _Item:
    """A comment that was decided, for as long as it waits."""

    site: Site
    comment: Comment
    facts: Facts
    decision_id: str


class Shadow:
    """Scores what is decided with the challenger, where there is one. Thread-safe."""

    def __init__(
        self, store: Store, live_model: LiveModel, metrics: Metrics, *, most_waiting: int = _MOST_WAITING
    ) -> None:
        self._store = store
        self._live_model = live_model
        self._metrics = metrics
        self._waiting: queue.Queue[_Item | None] = queue.Queue(most_waiting)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Score what is offered in a thread, until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being scored; the rest is dropped."""
        self._stopping.set()
        with suppress(queue.Full):  # then it does not wait for anything to come
            self._waiting.put_nowait(None)
        self._thread.join()

    def offer(self, site: Site, judged: Sequence[Judged], recorded: Sequence[object]) -> None:
        """Have what was decided and stored just now scored as well. Never waits, never raises."""
        if self._live_model.challenger() is None:
            return
        for row, stored in zip(judged, recorded, strict=True):
            # What was seen before or erased has no new decision; what is not to be stored is not kept, here neither.
            if not isinstance(stored, Stored) or stored.seen or row.comment.do_not_store:
                continue
            if stored.decision.decision_id is None:
                continue
            try:
                item = _Item(site, row.comment, read_facts(row.facts), stored.decision.decision_id)
                self._waiting.put_nowait(item)
            except queue.Full:
                self._metrics.count_shadow("dropped")

    def work(self) -> int:
        """Score what waits now, up to a few dozen; how many comments were scored. Raises ``StoreError``."""
        items: list[_Item] = []
        with suppress(queue.Empty):
            while len(items) < _AT_ONCE:
                if (item := self._waiting.get_nowait()) is not None:
                    items.append(item)
        return self._score(items)

    def _run(self) -> None:
        _step_back()
        while True:
            first = self._waiting.get()
            if self._stopping.is_set():
                return
            try:
                self._score([first] if first is not None else [])
                while self.work() and not self._stopping.is_set():
                    pass
            except StoreError as error:
                _log.warning("shadow waits for the database", extra=describe_error(error))
            except Exception as error:  # noqa: BLE001  # nothing else depends on it, and the next may do
                _log.error("shadow failed", extra=describe_error(error))

    def _score(self, items: Sequence[_Item]) -> int:
        challenger = self._live_model.challenger()
        found = []
        # One by one: several at once would be read by as many threads, which those who wait for an answer need.
        for item in items if challenger is not None else ():
            beside = self._decide(challenger, item) if challenger is not None else None
            if beside is not None:
                found.append(beside)
        if found:
            self._store.shadows.add(found)
            self._metrics.count_shadow("scored", len(found))
        if len(found) < len(items):
            self._metrics.count_shadow("failed", len(items) - len(found))
        return len(items)

    def _decide(self, challenger: Live, item: _Item) -> Beside | None:
        policy = challenger.readable_policy(item.site.policy_digest, self._store.policy_toml)
        scores, facts = challenger.assess_again(item.comment, item.facts)
        if policy is None or scores is None:
            return None
        return Beside(item.decision_id, policy.decide(item.comment, scores, facts))


def _step_back() -> None:
    """Let every other thread go first, where the system can tell threads apart."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


@dataclass(frozen=True, slots=True)
class Pair:
    """How many comments were decided as ``old`` where the challenger says ``new``, and what moderators said of them."""

    old: Action
    new: Action
    comments: int
    approved: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Fired:
    """For how many comments a category spoke: to both, to what serves alone, to the challenger alone."""

    both: int
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Report:
    """A challenger against what was decided; ``is_cut`` where there is more than was looked at.

    ``sites`` has for each site the comments, and how many of them were decided alike.
    """

    bundle: str
    compared: int
    agreed: int
    is_cut: bool
    since: datetime | None
    until: datetime | None
    pairs: tuple[Pair, ...]
    categories: Mapping[str, Fired]
    sites: Mapping[str, tuple[int, int]]

    @property
    def agreement(self) -> float | None:
        """The share of comments that were decided alike."""
        return self.agreed / self.compared if self.compared else None


def report(store: Store, sites: Sequence[Site], bundle: str, *, most: int = MOST_COMPARED) -> Report:
    """What a challenger has scored on these sites, the newest of it, counted."""
    pairs: Counter[tuple[Action, Action]] = Counter()
    fired: Counter[tuple[str, str]] = Counter()
    by_site: Counter[str] = Counter()
    alike: Counter[str] = Counter()
    others: list[ShadowRow] = []
    since = until = None
    is_cut = False
    for row in store.shadows.rows(sites, bundle):
        if pairs.total() == most:
            is_cut = True
            break
        since, until = row.at, until or row.at
        pairs[row.action, row.other_action] += 1
        by_site[row.site] += 1
        if row.action == row.other_action:
            alike[row.site] += 1
        else:
            others.append(row)
        for code in CODES:
            spoke = code in row.fired, code in row.other_fired
            if any(spoke):
                fired[code, "both" if all(spoke) else "old" if spoke[0] else "new"] += 1
    said = store.policies.standing_verdicts([row.version for row in others])
    judged = Counter((row.action, row.other_action, said.get(row.version)) for row in others)
    return Report(
        bundle=bundle,
        compared=pairs.total(),
        agreed=alike.total(),
        is_cut=is_cut,
        since=since,
        until=until,
        pairs=tuple(
            Pair(old, new, count, judged[old, new, "approve"], judged[old, new, "reject"])
            for (old, new), count in pairs.most_common()
        ),
        categories={code: Fired(*(fired[code, who] for who in ("both", "old", "new"))) for code in CODES},
        sites={site: (count, alike[site]) for site, count in sorted(by_site.items())},
    )
