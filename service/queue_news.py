"""What a page of the queue that stays open is told: what others decided and hold, what came in, how many wait.

Like :mod:`service.events`, one look a second for everybody who listens. What happened to entries is read once for all
who are equally far.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from service.errors import Overloaded
from service.store import Cursor, QueueFilter, Sight, Site, Store, Touched
from service.watch import HEARTBEAT_SECONDS, LOOK_SECONDS, Places, Watch

MOST_STREAMS = 100
MOST_PER_PERSON = 10
MOST_FRESH = 100
"""So many entries that came in are named; a page that has missed more is loaded again."""

# A batch is a thousand verdicts.
_MOST_TOUCHED = 3000
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})")

Cursors = Mapping[int, Cursor]
"""By the row of a site."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a page shows: the queue of these sites with a filter, as it was at a moment, to somebody of that name."""

    sites: tuple[Site, ...]
    wanted: QueueFilter
    since: datetime
    name: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many comments wait, and how many of them fit the filter."""

    waiting: int
    found: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """The entries that have come in since the page was made, ``MOST_FRESH`` at most, and go on waiting."""

    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Which entries somebody else holds now, with their names."""

    entries: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Moved:
    """Entries to which something has happened. ``cursors`` is where to go on after it."""

    entries: tuple[Touched, ...]
    cursors: Cursors


@dataclass(frozen=True, slots=True)
class Missed:
    """More has happened than can be told; the page has to be loaded again."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing has happened for a while."""


NewsItem = Waiting | Fresh | Held | Moved | Missed | Quiet


class QueueNews:
    """Who has the queue open in this process. All of it runs in one event loop; only the store is asked in threads."""

    def __init__(
        self,
        store: Store,
        closing: asyncio.Event,
        *,
        look_seconds: float = LOOK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        most_streams: int = MOST_STREAMS,
        most_per_person: int = MOST_PER_PERSON,
    ) -> None:
        """``closing`` is what ends every stream."""
        self.places = Places(most_streams, most_per_person)
        self._store = store
        self._closing = closing
        self._watch = Watch(store.news.look, closing, look_seconds=look_seconds, heartbeat_seconds=heartbeat_seconds)
        # What happened between two looks, while somebody may still ask for it.
        self._reads: dict[tuple[int, Cursor, Cursor], asyncio.Task[tuple[Touched, ...] | None]] = {}

    async def follow(self, desk: Desk, after: Cursors) -> AsyncGenerator[NewsItem, None]:
        """What happens to the queue that a page shows, from where that page is; at first, how things are.

        Ends when the service does. Raises ``Overloaded`` where it is ending already.
        """
        if self._closing.is_set():
            raise Overloaded("this service is ending; try again in a moment")
        told: dict[type, NewsItem] = {}
        opened: set[datetime | None] = set()
        with self._watch.listen(desk.sites) as listener:
            await self._watch.look(desk.sites)
            cursors = {site.row: after.get(site.row, self._seen(site).cursor) for site in desk.sites}
            listener.wake.set()
            while True:
                is_awake = await self._watch.wait(listener)
                if self._closing.is_set():
                    return
                if not is_awake:
                    yield Quiet()
                    continue
                moved: list[Touched] = []
                for site in desk.sites:
                    upto = self._seen(site).cursor
                    found = await self._read(site, cursors[site.row], upto)
                    if found is None:
                        yield Missed()
                        return
                    moved += found
                    cursors[site.row] = upto
                if moved:
                    yield Moved(tuple(moved), dict(cursors))
                latest = {self._seen(site).opened for site in desk.sites}
                news: list[NewsItem] = [self._held(desk), await self._count(desk)]
                # What was decided of it the page knows from the others; only something newer has to be looked for.
                if latest - opened:
                    news.insert(0, await self._fresh(desk))
                opened = latest
                for item in news:
                    if told.get(type(item)) != item:
                        told[type(item)] = item
                        yield item

    async def run(self) -> None:
        """Look once a second, as long as anybody listens, until the service closes."""
        await self._watch.run()

    def _seen(self, site: Site) -> Sight:
        return self._watch.seen[site.row]

    def _held(self, desk: Desk) -> Held:
        held = [each for site in desk.sites for each in self._seen(site).held]
        return Held({entry: name for entry, name in held if name != desk.name})

    async def _count(self, desk: Desk) -> Waiting:
        waiting = sum(self._seen(site).waiting for site in desk.sites)
        found = waiting
        if waiting and desk.wanted != QueueFilter():
            found = await asyncio.to_thread(self._store.queue.count, desk.sites, desk.wanted)
        return Waiting(waiting, found)

    async def _fresh(self, desk: Desk) -> Fresh:
        read = partial(self._store.news.fresh, desk.sites, desk.wanted, desk.since, limit=MOST_FRESH)
        return Fresh(await asyncio.to_thread(read))

    async def _read(self, site: Site, after: Cursor, upto: Cursor) -> tuple[Touched, ...] | None:
        """What happened in between. Who comes at the same time waits for the same answer."""
        if after.changed >= upto.changed and after.judged >= upto.judged:
            return ()
        key = (site.row, after, upto)
        if key not in self._reads:
            read = partial(self._store.news.touched, site, after, upto, limit=_MOST_TOUCHED)
            task = asyncio.create_task(asyncio.to_thread(read))
            self._reads[key] = task
            task.add_done_callback(lambda _: self._reads.pop(key, None))
        # One who goes does not take the answer away from the others.
        return await asyncio.shield(self._reads[key])


def write_cursors(cursors: Cursors) -> str:
    """Cursors as they stand in an address and as the id of an event."""
    return "-".join(f"{row}.{cursor.changed}.{cursor.judged}" for row, cursor in sorted(cursors.items()))


def read_cursors(text: str) -> dict[int, Cursor]:
    """The same back; what is none is left out, so that what happens from now on is told."""
    found = (_CURSOR.fullmatch(piece) for piece in text.split("-"))
    return {int(match[1]): Cursor(int(match[2]), int(match[3])) for match in found if match is not None}
