"""Changes as they happen: one look at the database a second wakes everybody in this process who listens.

Works with several processes on one database, since each looks for itself. Who listens reads from a cursor of their own,
so that nothing is missed however slowly they do.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from service.errors import Overloaded, TooManyStreams
from service.logs import describe_error
from service.store import Change, Site, Store

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
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


@dataclass(eq=False, slots=True)
class _Listener:
    sites: tuple[Site, ...]
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Events:
    """Who listens in this process. All of it runs in one event loop; only the store is asked in threads."""

    def __init__(
        self,
        store: Store,
        *,
        look_seconds: float = LOOK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        most_streams: int = MOST_STREAMS,
        most_per_site: int = MOST_PER_SITE,
    ) -> None:
        self._store = store
        self._look_seconds = look_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._most_streams = most_streams
        self._most_per_site = most_per_site
        self._listeners: set[_Listener] = set()
        # What the last look found, by the row of the site.
        self._positions: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._open: Counter[int] = Counter()
        self._closing = asyncio.Event()

    @contextmanager
    def place(self, site: Site) -> Iterator[None]:
        """A place for one more stream of a site, until the block ends. Raises ``TooManyStreams`` or ``Overloaded``."""
        if self._open[site.row] >= self._most_per_site:
            raise TooManyStreams(f"this site has {self._most_per_site} streams open already; close one of them")
        if self._open.total() >= self._most_streams or self._closing.is_set():
            raise Overloaded("this service has as many streams open as it can; poll /v1/changes, or try again")
        self._open[site.row] += 1
        try:
            yield
        finally:
            self._open[site.row] -= 1

    async def watch(self, sites: Sequence[Site], after: Mapping[int, int] | None = None) -> AsyncIterator[Event]:
        """Changes of status on these sites and, first and whenever it changes, how many comments wait on each.

        ``after`` holds by a site's row the cursor of the last change that is known there; of a site that is not in it,
        changes from now on are told. Ends when the service does.
        """
        listener = _Listener(tuple(sites))
        positions, counts = await asyncio.to_thread(self._look, sites)
        cursors = positions | dict(after or {})
        waiting: dict[int, int] = {}
        self._listeners.add(listener)
        self._note(positions, counts)
        listener.wake.set()
        try:
            while not self._closing.is_set():
                try:
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await listener.wake.wait()
                except TimeoutError:
                    yield Heartbeat()
                    continue
                listener.wake.clear()
                for site in sites:
                    async for event in self._changes(site, cursors):
                        yield event
                    count = self._waiting[site.row]
                    if waiting.get(site.row) != count:
                        waiting[site.row] = count
                        yield QueueEvent(site, count, cursors[site.row])
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Look once a second, as long as anybody listens, until :meth:`close`."""
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._closing.wait()
            sites = list({site.row: site for listener in self._listeners for site in listener.sites}.values())
            if not sites:
                continue
            try:
                found = await asyncio.to_thread(self._look, sites)
            except Exception as error:  # noqa: BLE001  # whoever listens goes on where they were once it is mended
                _log.warning("changes cannot be looked at", extra=describe_error(error))
                continue
            self._note(*found)

    def close(self) -> None:
        """End every stream, and begin no new one."""
        self._closing.set()
        for listener in self._listeners:
            listener.wake.set()

    def _look(self, sites: Sequence[Site]) -> tuple[dict[int, int], dict[int, int]]:
        return self._store.logs.positions(sites), self._store.queue.counts(sites)

    def _note(self, positions: Mapping[int, int], waiting: Mapping[int, int]) -> None:
        """Keep what was found, and wake those whom it concerns."""
        moved = set()
        for row, position in positions.items():
            # A look that began earlier may end later.
            known = self._positions.get(row, -1)
            if position > known or waiting[row] != self._waiting.get(row):
                moved.add(row)
            self._positions[row], self._waiting[row] = max(position, known), waiting[row]
        for listener in self._listeners:
            if any(site.row in moved for site in listener.sites):
                listener.wake.set()

    async def _changes(self, site: Site, cursors: dict[int, int]) -> AsyncIterator[Event]:
        """What has happened on a site after the cursor, which moves on."""
        while self._positions[site.row] > cursors[site.row] and not self._closing.is_set():
            read = self._store.logs.changes
            found = await asyncio.to_thread(read, site, after=cursors[site.row], limit=_AT_ONCE)
            for change in found:
                cursors[site.row] = change.cursor
                yield StatusEvent(site, change)
            if len(found) < _AT_ONCE:
                return
