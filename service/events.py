"""Changes as they happen: one look at the database a second wakes everybody in this process who listens.

Works with several processes on one database, since each looks for itself. Who listens reads from a cursor of their own,
so that nothing is missed however slowly they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import Overloaded
from service.store import Change, Site, Store
from service.watch import HEARTBEAT_SECONDS, LOOK_SECONDS, Places, Watch

MOST_STREAMS = 200
MOST_PER_SITE = 20

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A comment has another status. ``change.cursor`` is where to go on after it."""

    site: Site
    change: Change


@dataclass(frozen=True, slots=True)
class QueueEvent:
    """How many comments of a site wait for a person; ``cursor`` is where to go on, as far as it is known."""

    site: Site
    waiting: int
    cursor: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing has happened for a while."""


Event = StatusEvent | QueueEvent | Heartbeat


@dataclass(frozen=True, slots=True)
class _Seen:
    """The cursor of a site's last change, and how many comments wait there."""

    position: int
    waiting: int


class Events:
    """Who listens in this process. All of it runs in one event loop; only the store is asked in threads."""

    def __init__(
        self,
        store: Store,
        closing: asyncio.Event | None = None,
        *,
        look_seconds: float = LOOK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        most_streams: int = MOST_STREAMS,
        most_per_site: int = MOST_PER_SITE,
    ) -> None:
        """``closing`` is what ends every stream; others can end with these by it."""
        self._store = store
        self._closing = closing or asyncio.Event()
        self._places = Places(most_streams, most_per_site)
        self._watch = Watch(self._look, self._closing, look_seconds=look_seconds, heartbeat_seconds=heartbeat_seconds)

    @contextmanager
    def place(self, site: Site) -> Iterator[None]:
        """A place for one more stream of a site, until the block ends. Raises ``TooManyStreams`` or ``Overloaded``."""
        if self._closing.is_set():
            raise Overloaded("this service is ending; try again in a moment")
        with self._places.take(site.row):
            yield

    async def watch(self, sites: Sequence[Site], after: Mapping[int, int] | None = None) -> AsyncIterator[Event]:
        """Changes of status on these sites and, first and whenever it changes, how many comments wait on each.

        ``after`` holds by a site's row the cursor of the last change that is known there; of a site that is not in it,
        changes from now on are told. Ends when the service does.
        """
        waiting: dict[int, int] = {}
        with self._watch.listen(sites) as listener:
            await self._watch.look(sites)
            cursors = {site.row: self._seen(site).position for site in sites} | dict(after or {})
            listener.wake.set()
            while not self._closing.is_set():
                if not await self._watch.wait(listener):
                    yield Heartbeat()
                    continue
                for site in sites:
                    async for event in self._changes(site, cursors):
                        yield event
                    count = self._seen(site).waiting
                    if waiting.get(site.row) != count:
                        waiting[site.row] = count
                        yield QueueEvent(site, count, cursors[site.row])

    async def run(self) -> None:
        """Look once a second, as long as anybody listens, until :meth:`close`."""
        await self._watch.run()

    def close(self) -> None:
        """End every stream, and begin no new one."""
        self._closing.set()

    def _seen(self, site: Site) -> _Seen:
        return self._watch.seen[site.row]

    def _look(self, sites: Sequence[Site]) -> Mapping[int, _Seen]:
        positions, counts = self._store.logs.positions(sites), self._store.queue.counts(sites)
        return {row: _Seen(position, counts[row]) for row, position in positions.items()}

    async def _changes(self, site: Site, cursors: dict[int, int]) -> AsyncIterator[Event]:
        """What has happened on a site after the cursor, which moves on."""
        while self._seen(site).position > cursors[site.row] and not self._closing.is_set():
            read = self._store.logs.changes
            found = await asyncio.to_thread(read, site, after=cursors[site.row], limit=_AT_ONCE)
            for change in found:
                cursors[site.row] = change.cursor
                yield StatusEvent(site, change)
            if len(found) < _AT_ONCE:
                return
