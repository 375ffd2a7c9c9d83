"""Whether what comes in is still what the model and its lines were made for: figures of each day, by site and category.

*Precision and recall* at the policy's lines are estimated from the audits and verdicts of four weeks. *Scores* of a day
are compared with those of the four weeks before it by the population stability index. *Words* that the bundle has never
met are counted. Only decisions of the bundle in force and of the tier that answers count, so a new bundle begins anew.

An alert is raised where a goal is shown to be missed, where labels no longer show one that they showed the day before,
and where scores lie otherwise by more than chance.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from moderation.categories import CODES
from moderation.comment import Tier
from moderation.goals import ACTIONS, Goal, ResolvedLine, read_goal
from moderation.judged import Judged
from moderation.policy import Policy
from moderation.topic import TopicModel
from service.insight import Looked, Share, estimate
from service.live_model import Live, LiveModel
from service.own_labels import Gathered, gather
from service.store import Alert, DriftDay, Site, Store

WEEKS_DAYS = 28
LARGE_PSI = 0.25
"""From here on a distribution counts as another one (Siddiqi 2006, "Credit risk scorecards")."""

_EDGES = tuple(float(edge) for edge in np.arange(-8.0, 8.5, 0.5))  # of log odds
_LEAST_SHARE = 0.05
_BY_CHANCE = 0.001
_TEXTS = 1000


@dataclass(frozen=True, slots=True)
class LineFigures:
    """What four weeks of labels say of a line in force; shares with 95 % intervals, ``None`` where nothing tells.

    ``precision`` is the share of bad ones among comments that reach it, ``good_share`` the share of good comments that
    do, ``recall`` the share of this category's.
    """

    action: str
    stated: float | str
    line: float
    labels: int
    precision: Share | None
    recall: Share | None
    good_share: Share | None


class Drift:
    """Makes the figures of days that have passed. Methods raise ``StoreError``."""

    def __init__(self, store: Store, live_model: LiveModel) -> None:
        self._store = store
        self._live_model = live_model

    def work(self, stopping: threading.Event | None = None) -> int:
        """Make the figures that are missing, up to yesterday's, unless it is to stop; how many days of sites."""
        made = 0
        today = self._store.now().astimezone(UTC).date()
        for site in self._store.sites():
            live = self._live_model.current(site.url)
            if live.bundle is None or live.tier is None:
                continue
            yesterday = today - timedelta(days=1)
            counted = self._count(site, live.bundle.name, live.tier, yesterday)
            if not counted:
                continue
            # The weeks before are needed to compare with, where nobody has counted them yet.
            for back in range(WEEKS_DAYS, 0, -1):
                if stopping is not None and stopping.is_set():
                    return made
                day = yesterday - timedelta(days=back)
                if earlier := self._count(site, live.bundle.name, live.tier, day):
                    self._store.drift.add(site, earlier)
                    made += 1
            self._make(site, live, counted)
            made += 1
        return made

    def _make(self, site: Site, live: Live, counted: Sequence[DriftDay]) -> None:
        """A whole day: compared with the weeks before it, with figures at lines, and told where it alarms."""
        store, bundle, tier = self._store, counted[0].bundle, counted[0].tier
        day = date.fromisoformat(counted[0].day)
        since, until = _moments(day)
        before = store.drift.days([site], (day - timedelta(days=WEEKS_DAYS)).isoformat(), bundle=bundle, tier=tier)
        policy = live.readable_policy(site.policy_digest, store.policy_toml, site.url)
        looks = store.looks.judged(site, bundle, until - timedelta(days=WEEKS_DAYS))
        # What is held alone tells nothing of what is let through.
        judged = gather(looks, store.looks.waiting(site, bundle), {}) if any(look.is_drawn for look in looks) else {}
        assert live.bundle is not None
        texts = store.drift.texts(site, bundle, tier, since, until, limit=_TEXTS)
        unseen = share_unseen(live.bundle.model.topic, texts)
        found, tell = [], []
        for each in counted:
            of_it = [other for other in before if other.category == each.category]
            index, limit = psi(each.bins, _add(other.bins for other in of_it))
            lines = _lines(policy, tier, each.category, judged.get((tier, each.category)))
            yesterday = next((other for other in of_it if other.lines), None)
            alerts = [alert for line in lines if (alert := _check_goal(line, yesterday)) is not None]
            if index is not None and index >= max(LARGE_PSI, limit):
                text = f"Scores lie otherwise than in the weeks before: PSI {index:.2f}, by chance at most {limit:.2f}."
                alerts.append(Alert("scores", text))
            found.append(replace(each, psi=index, unseen=unseen, lines=tuple(map(asdict, lines)), alerts=tuple(alerts)))
            known = {alert.name for alert in of_it[0].alerts} if of_it else set()
            if {alert.name for alert in alerts} - known:
                tell.append(each.category)
        store.drift.add(site, found, tell=tell)

    def _count(self, site: Site, bundle: str, tier: Tier, day: date) -> list[DriftDay]:
        """How scores lay on a day; nothing where no comments came in, or where it was counted before."""
        if self._store.drift.has(site, day.isoformat(), bundle, tier):
            return []
        rows = list(self._store.drift.scores(site, bundle, tier, *_moments(day)))
        found = []
        for code in CODES if rows else ():
            scores = [score for row in rows if (score := row.get(code)) is not None]
            bins = count_bins(scores)
            found.append(DriftDay(site.url, day.isoformat(), bundle, tier, code, len(scores), bins, None, None, (), ()))
        return found


def count_bins(scores: Sequence[float]) -> tuple[int, ...]:
    """How many scores (0 to 1) lie in which stretch of log odds, half a unit each."""
    clipped = np.clip(np.asarray(scores, dtype=np.float64), 1e-6, 1 - 1e-6)
    places = np.searchsorted(_EDGES, np.log(clipped / (1 - clipped)), side="right")
    return tuple(np.bincount(places, minlength=len(_EDGES) + 1).tolist())


def psi(bins: Sequence[int], before: Sequence[int]) -> tuple[float | None, float]:
    """The population stability index of a day against the time before, and what chance alone stays under.

    Neighbouring stretches are put together until each holds a twentieth of what was before. Where nothing has changed,
    the index is distributed about as ``chi²(stretches - 1) * (1 / n + 1 / m)`` (Yurdakul 2018, "Statistical properties
    of the population stability index"); chance stays under what is returned in 999 of 1,000 cases. ``None`` where there
    is too little to compare.
    """
    n, m = sum(bins), sum(before)
    if not n or not m:
        return None, math.inf
    now, then = _merge(bins, before, m * _LEAST_SHARE)
    if len(now) < 2:
        return None, math.inf
    from scipy.special import chdtri  # noqa: PLC0415  # slow to load, once a day

    # Half a comment in each, so that an empty one is no division by zero.
    actual, expected = (now + 0.5) / (now + 0.5).sum(), (then + 0.5) / (then + 0.5).sum()
    index = float(((actual - expected) * np.log(actual / expected)).sum())
    return index, float(chdtri(len(now) - 1, _BY_CHANCE)) * (1 / n + 1 / m)


def share_unseen(topic: TopicModel, texts: Iterable[tuple[str, str | None]]) -> float | None:
    """The share (0 to 1) of words that the bundle has never met, of texts with their languages; ``None`` without any.

    Stems are hashed into a table of how rare each is. One that falls into a place that no text of the training had is
    new for sure; a new one can fall into a used place too, so the count is divided by the share of unused ones.
    """
    unused = topic.idf == topic.idf.max()
    share = float(unused.mean())
    words = new = 0
    for stems in topic.read(texts):
        words += len(stems)
        new += int(unused[stems].sum())
    return min(1.0, new / words / share) if words and share < 1 else None


def _merge(bins: Sequence[int], before: Sequence[int], least: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    now: list[float] = []
    then: list[float] = []
    here = there = 0.0
    for count, old in zip(bins, before, strict=True):
        here, there = here + count, there + old
        if there >= least:
            now.append(here)
            then.append(there)
            here = there = 0.0
    if now:
        now[-1] += here
        then[-1] += there
    return np.array(now), np.array(then)


def _add(bins: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*bins, strict=True))) or (0,) * (len(_EDGES) + 1)


def _moments(day: date) -> tuple[datetime, datetime]:
    since = datetime.combine(day, time(), UTC)
    return since, since + timedelta(days=1)


def _lines(policy: Policy | None, tier: Tier, category: str, found: Gathered | None) -> list[LineFigures]:
    if policy is None or found is None:
        return []
    lines = [policy.line(tier, category, action) for action in ACTIONS]
    return [_measure(line, line.threshold, found) for line in lines if line.is_set and line.threshold is not None]


def _measure(line: ResolvedLine, threshold: float, found: Gathered) -> LineFigures:
    rejected, named = found.rejected, found.named
    over = rejected.score >= threshold
    assert line.stated is not None
    return LineFigures(
        action=line.action,
        stated=line.stated,
        line=threshold,
        labels=int(over.sum()),
        precision=_share(rejected, over, rejected.is_bad),
        recall=_share(named, named.is_bad, named.score >= threshold),
        good_share=_share(rejected, ~rejected.is_bad, over),
    )


def _share(judged: Judged, among: NDArray[np.bool_], of: NDArray[np.bool_]) -> Share | None:
    every = Counter(judged.inclusion_probability[among].tolist())
    some = Counter(judged.inclusion_probability[among & of].tolist())
    found = estimate(Looked(chance, count, some[chance]) for chance, count in every.items())
    return found.share if found is not None else None


def _check_goal(line: LineFigures, yesterday: DriftDay | None) -> Alert | None:
    """What to say of a line with a goal: it is missed for sure, or no longer shown."""
    if not isinstance(line.stated, str):
        return None
    goal = read_goal(line.stated)
    share: Share | None = getattr(line, goal.kind)
    if share is None:
        return None
    said = f"between {share.low:.1%} and {share.high:.1%} (95 %)"
    if _is_missed(goal, share):
        return Alert("goal_missed", f'The {line.action} line misses its goal "{line.stated}": it is {said}.')
    before = next((each for each in yesterday.lines if each["action"] == line.action), None) if yesterday else None
    if before is None or before["stated"] != line.stated or before[goal.kind] is None:
        return None
    if _is_shown(goal, Share(**before[goal.kind])) and not _is_shown(goal, share):
        return Alert("goal_unsure", f'Labels no longer show that the {line.action} line keeps "{line.stated}": {said}.')
    return None


def _is_missed(goal: Goal, share: Share) -> bool:
    return share.low > goal.target if goal.kind == "good_share" else share.high < goal.target


def _is_shown(goal: Goal, share: Share) -> bool:
    return share.high <= goal.target if goal.kind == "good_share" else share.low >= goal.target
