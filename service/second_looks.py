"""Which verdicts are looked at a second time: a share by chance, and the labels in doubt that a check has found.

A check runs models and is long: ``moderation labels check`` and every retraining make one, and leave what they have
found in the home, without any text. The service reads that.

::

    labels/
      doubts.json             what the last check of all labels has found, the most doubtful first
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from moderation.errors import InvalidPolicy
from moderation.files import write_file
from moderation.policy_schema import read_settings
from service.policies import Policies
from service.priority import draw_second_look, measure
from service.store import Site, Store

LEAST_PEOPLE = 2
"""With fewer who may judge on a site nobody else is there to look."""

MOST_DOUBTS = 500
"""So many findings of a check are kept."""

FINDINGS = Path("labels") / "doubts.json"
"""Where a home has what the last check has found."""

_FORMAT = 1
_BACK = timedelta(days=7)
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label in doubt: of which comment (its site, id and text's digest), what it says of a category, and who said it.

    ``why`` is ``contradicted`` by a model that learned from all others, which gives 1 the ``probability``; or it has a
    ``near_duplicate`` with the opposite label.
    """

    site: str | None
    id: str | None
    digest: str
    category: str
    label: int
    moderator: str
    source: str
    why: Literal["contradicted", "near_duplicate"]
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What the check at a moment has found; ``total`` counts doubts, ``doubts`` are the first ``MOST_DOUBTS``."""

    at: datetime
    comments: int
    total: int
    doubts: tuple[Doubt, ...]

    def of(self, sites: Collection[str]) -> tuple[Doubt, ...]:
        """Those on these sites."""
        return tuple(doubt for doubt in self.doubts if doubt.site in sites)


def keep_findings(home: Path, findings: Findings) -> None:
    """Write them into the home in place of those before."""
    path = home / FINDINGS
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"format": _FORMAT, **asdict(findings), "at": findings.at.isoformat()}
    write_file(path, (json.dumps(said, ensure_ascii=False) + "\n").encode())
    path.chmod(0o600)


def read_findings(home: Path) -> Findings | None:
    """What the last check has found; ``None`` where there was none, or of another format."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        said: dict[str, Any] = json.loads((home / FINDINGS).read_text(encoding="utf-8"))
        if said.pop("format") == _FORMAT:
            doubts = tuple(Doubt(**each) for each in said.pop("doubts"))
            return Findings(**{**said, "at": datetime.fromisoformat(said["at"]), "doubts": doubts})
    return None


def queue_doubts(store: Store, sites: Sequence[Site], doubts: Sequence[Doubt], most: int, *, who: str) -> int:
    """Have the comments of doubtful labels judged again, the first ones first, at most so many; how many it were.

    Left out is what was imported, has changed since, waits or had a second look, and what is on a site on which fewer
    than two people may judge.
    """
    by_url = {site.url: site for site in sites if store.second_looks.may_judge(site) >= LEAST_PEOPLE}
    opened = 0
    for doubt in doubts:
        if opened >= most:
            break
        site = by_url.get(doubt.site or "")
        found = store.second_looks.find(site, doubt.id, doubt.digest) if site is not None else None
        if site is not None and found is not None:
            opened += store.second_looks.open(site, [found.row], "doubted", measure, who=who)
    return opened


class RandomLooks:
    """Draws a share of the verdicts, as the policy of each site says, for somebody else to look at again."""

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies

    def work(self, stopping: threading.Event | None = None) -> int:
        """Draw among the verdicts of the last week that were not drawn among; how many are looked at again.

        Raises ``StoreError``.
        """
        opened = 0
        for site in self._store.sites():
            share = self._share(site)
            if share <= 0 or self._store.second_looks.may_judge(site) < LEAST_PEOPLE:
                continue
            for rows in self._drawn(site, share):
                if stopping is not None and stopping.is_set():
                    return opened
                opened += self._store.second_looks.open(site, rows, "random", measure)
        return opened

    def _drawn(self, site: Site, share: float) -> Iterator[list[int]]:
        after = 0
        while True:
            since = self._store.now() - _BACK
            found = self._store.second_looks.standing(site, since, after=after, limit=_AT_ONCE)
            # The same verdict has the same chance each hour, however often it is asked.
            if rows := [each.row for each in found if draw_second_look(each.id, share)]:
                yield rows
            if len(found) < _AT_ONCE:
                return
            after = found[-1].row

    def _share(self, site: Site) -> float:
        try:
            return read_settings(self._policies.text(site)).second_looks
        except InvalidPolicy:  # another version's: every comment is held, and people have enough to do
            return 0.0
