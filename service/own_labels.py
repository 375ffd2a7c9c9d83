"""Lines that rest on a site's own labels: what people said there is the evidence that its policy's goals are put to.

Only decisions of the bundle in force count: scores of another one mean something else, and a bundle that was fitted on
labels has not seen those that came after it. Off where no verdict is on anything that chance has picked: what is held
says nothing of what is rejected.

Of what was picked and still waits is assumed that it is like what was judged of the same kind (same action, same
chance): each comment that was judged in the queue stands for those as well. One that somebody has chosen, as one does
where something is wrong, stands for itself and what chance has not picked. Where nobody has judged any of a kind in the
queue, nothing is shown of lines that it reaches up to.

It is read now and then in a thread, never while a comment waits for its answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from moderation.categories import CODES
from moderation.comment import Action, Tier
from moderation.errors import InvalidPolicy
from moderation.goals import TIERS, Goal, OwnEvidence, Promise
from moderation.guarantee import own_evidence
from moderation.judged import Judged, Stratum
from moderation.policy import Policy
from moderation.policy_schema import read_settings
from service.errors import StoreError
from service.live_model import LiveModel, Own
from service.logs import describe_error
from service.store import Height, Look, Picked, Site, Store

_log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""So often it is looked whether there are new verdicts."""

_AGAIN_SECONDS = 3_600.0  # what waits and how high scores reach changes without a verdict too

_Kind = tuple[Action, float]
_Heights = dict[tuple[Tier, Action, str], dict[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryLabels:
    """What labels say of one tier and category, each question asked once.

    A comment that was rejected for another reason is not good, whatever a score has called it: where a goal is about
    what may be done to good comments, bad is what a moderator rejects. Which bad ones are found (recall) is asked of
    those that were rejected as this category.

    ``known`` are the same labels without the kinds that nobody has looked at yet. They cannot show that a line holds,
    but where they speak against a precision they do so whatever waits: else the first comment that is held instead of
    rejected would bring the old line back. Of what those kinds may change the other way they show nothing: ``unseen``
    is how high scores of theirs reach (``None``: there are none).
    """

    rejected: OwnEvidence
    named: OwnEvidence
    known_rejected: OwnEvidence
    known_named: OwnEvidence
    unseen: float | None
    _promises: dict[Goal, Promise] = field(default_factory=dict, repr=False)
    _missed: dict[tuple[Goal, float], bool] = field(default_factory=dict, repr=False)

    def promise(self, goal: Goal) -> Promise:
        """The line that these labels allow for a goal, or how many are missing."""
        if goal not in self._promises:
            self._promises[goal] = (self.named if goal.kind == "recall" else self.rejected).promise(goal)
        return self._promises[goal]

    def is_missed_at(self, goal: Goal, line: float) -> bool:
        """Whether these labels show that a line does *not* keep a goal."""
        if (goal, line) not in self._missed:
            known = self.known_named if goal.kind == "recall" else self.known_rejected
            self._missed[goal, line] = not self._may_be_mended(goal, line) and known.is_missed_at(goal, line)
        return self._missed[goal, line]

    def _may_be_mended(self, goal: Goal, line: float) -> bool:
        """Whether among what nobody has looked at there may be what a line is missing."""
        if self.unseen is None or goal.kind == "precision":
            return False
        # Good comments under the line, which every kind may have; bad ones over it.
        return goal.kind == "good_share" or self.unseen >= line


@dataclass(slots=True)
class _Known:
    """What was read of a site under a bundle: how high scores reach up to a decision, and when."""

    upto: int = 0
    heights: _Heights = field(default_factory=dict)
    mark: int = -1
    read_at: float = 0.0


class OwnLines:
    """Keeps the lines of every site to its own labels. Started, it does so by itself; thread-safe where not."""

    def __init__(
        self,
        store: Store,
        live_model: LiveModel,
        *,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._live_model = live_model
        self._look_seconds = look_seconds
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}
        self._shares: dict[str, Mapping[str, float]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="own labels", daemon=True)

    def start(self) -> None:
        """Look now and then whether there are new verdicts, in a thread, until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the site that is being read."""
        self._stopping.set()
        self._thread.join()

    def work(self) -> None:
        """Read what is new on every site. Raises ``StoreError``."""
        for site in self._store.sites():
            if self._stopping.is_set():
                return
            self.read(site)

    def read(self, site: Site) -> None:
        """Have the goals of a site's policy resolved on its own labels, as they are now. Raises ``StoreError``."""
        live = self._live_model.current(site.url)
        if live.bundle is None:
            return
        bundle = live.bundle.name
        known = self._known.setdefault((site.url, bundle), _Known())
        mark, now = self._store.looks.mark(site), self._clock()
        if mark == known.mark and now - known.read_at < _AGAIN_SECONDS:
            return
        looks = self._store.looks.judged(site, bundle)
        own: Own | None = None
        if any(look.is_drawn for look in looks):
            heights = self._store.looks.heights(site, bundle, known.upto)
            _raise(known.heights, heights)
            known.upto = max((each.last for each in heights), default=known.upto)
            reach = self._by_chance(known.heights)
            judged = gather(looks, self._store.looks.waiting(site, bundle), reach)
            own = weigh(judged, live.bundle.operating_points)
            # Asked here first, the answers are there when a comment comes.
            text = self._store.policy_toml(site.policy_digest) if site.policy_digest else None
            with suppress(InvalidPolicy):  # another version's: then every comment is held
                Policy.parse(text or live.default.toml, live.bundle.operating_points, own)
        self._live_model.take_own(bundle, site.url, own)
        for key in [each for each in self._known if each[0] == site.url and each[1] != bundle]:
            del self._known[key]  # began anew with this bundle; and so it will be where that comes back
        known.mark, known.read_at = mark, now

    def _by_chance(self, heights: _Heights) -> dict[tuple[Tier, _Kind], dict[str, float]]:
        """How high scores reach among what was looked at with the same chance, whichever policy has said so."""
        found: dict[tuple[Tier, _Kind], dict[str, float]] = {}
        for (tier, action, digest), highest in heights.items():
            share = 1.0 if action == "hold" else self._share(digest, action)
            _keep_highest(found.setdefault((tier, (action, share)), {}), highest)
        return found

    def _share(self, digest: str, action: Action) -> float:
        if digest not in self._shares:
            try:
                self._shares[digest] = read_settings(self._store.policy_toml(digest) or "").audit
            except InvalidPolicy:
                self._shares[digest] = {}  # another version's: as if nobody had looked
        return self._shares[digest].get(action, 0.0)

    def try_to_work(self) -> None:
        """The same; what goes wrong is logged, the lines stay where they are, and it is tried again."""
        try:
            self.work()
        except StoreError as error:
            _log.warning("own labels wait for the database", extra=describe_error(error))
        except Exception as error:  # noqa: BLE001  # nothing else depends on it
            _log.error("own labels cannot be read", extra=describe_error(error))

    def _run(self) -> None:
        while not self._stopping.wait(self._look_seconds):
            self.try_to_work()


@dataclass(frozen=True, slots=True)
class Gathered:
    """Labels of one tier and category: by whether a moderator rejected, and by whether as this category."""

    rejected: Judged
    named: Judged


def gather(
    looks: Sequence[Look],
    waiting: Sequence[Picked],
    reach: Mapping[tuple[Tier, _Kind], Mapping[str, float]],
) -> dict[tuple[Tier, str], Gathered]:
    """Labels by tier and category, each with what it stands for.

    ``reach`` is how high scores reach among what came in, by tier, action and the share that chance picks of it.
    """
    found: dict[tuple[Tier, str], Gathered] = {}
    for tier in TIERS:
        judged = [look for look in looks if look.tier == tier]
        picked = [each for each in waiting if each.tier == tier]
        done = Counter(_kind(look) for look in judged if not look.is_chosen)
        left = Counter(map(_kind, picked))
        heights: dict[_Kind, dict[str, float]] = {}
        for (of_tier, kind), highest in reach.items():
            if of_tier == tier:
                _keep_highest(heights.setdefault(kind, {}), highest)
        both: list[Look | Picked] = [*judged, *picked]
        for each in both:
            _keep_highest(heights.setdefault(_kind(each), {}), each.scores)
        chance = {
            kind: kind[1] * (done[kind] / (done[kind] + left[kind]) if done[kind] + left[kind] else 1.0)
            for kind in heights
        }
        for code in CODES:
            strata = tuple(
                Stratum(_name(kind), chance[kind], highest[code])
                for kind, highest in heights.items()
                if code in highest
            )
            rows = [look for look in judged if look.scores.get(code) is not None and chance[_kind(look)] > 0]
            if rows:
                found[tier, code] = Gathered(
                    _judged(rows, code, [look.verdict == "reject" for look in rows], chance, strata),
                    _judged(
                        [look for look in rows if code in look.labels],
                        code,
                        [bool(look.labels[code]) for look in rows if code in look.labels],
                        chance,
                        strata,
                    ),
                )
    return found


def weigh(judged: Mapping[tuple[Tier, str], Gathered], operating_points: Mapping[str, Any] | None) -> Own:
    """Evidence for :meth:`moderation.policy.Policy.parse`; lines are those that the bundle was measured at."""
    rejected = {key: each.rejected for key, each in judged.items()}
    named = {key: each.named for key, each in judged.items()}
    known = [{key: _leave_unseen(rows) for key, rows in each.items()} for each in (rejected, named)]
    one, two, three, four = (own_evidence(each, operating_points) for each in (rejected, named, *known))
    unseen = {
        key: max((stratum.highest for stratum in rows.strata if stratum.inclusion == 0), default=None)
        for key, rows in rejected.items()
    }
    return {key: CategoryLabels(one[key], two[key], three[key], four[key], unseen[key]) for key in judged}


def _leave_unseen(rows: Judged) -> Judged:
    return replace(rows, strata=tuple(stratum for stratum in rows.strata if stratum.inclusion > 0))


def _judged(
    rows: Sequence[Look], code: str, bad: Sequence[bool], chance: Mapping[_Kind, float], strata: tuple[Stratum, ...]
) -> Judged:
    return Judged(
        score=np.array([look.scores[code] for look in rows], dtype=np.float64),
        is_bad=np.array(bad, dtype=np.bool_),
        inclusion_probability=np.array(
            [look.inclusion if look.is_chosen else chance[_kind(look)] for look in rows], dtype=np.float64
        ),
        stratum=np.array([_name(_kind(look)) for look in rows], dtype=np.str_),
        strata=strata,
    )


def _kind(each: Look | Picked) -> _Kind:
    return each.action, each.inclusion


def _name(kind: _Kind) -> str:
    return f"{kind[0]} {kind[1]:g}"


def _raise(heights: _Heights, found: Iterable[Height]) -> None:
    for each in found:
        _keep_highest(heights.setdefault((each.tier, each.action, each.policy), {}), each.highest)


def _keep_highest(heights: dict[str, float], scores: Mapping[str, float | None]) -> None:
    for code, score in scores.items():
        if score is not None:
            # Six digits, as labels and lines have them.
            heights[code] = max(heights.get(code, 0.0), round(score, 6))
