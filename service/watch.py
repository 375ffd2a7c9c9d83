"""One look at the database a second wakes everybody in this process who listens; and how many of them there may be."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.errors import Overloaded, TooManyStreams
from service.logs import describe_error
from service.store import Site

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0

# Looking takes no more than this share of the time: where it takes long one looks more rarely, up to so many seconds.
_SHARE = 0.02
_MOST_SECONDS = 5.0

Seen = TypeVar("Seen")


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody who wants to know of what happens on these sites."""

    sites: tuple[Site, ...]
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Watch(Generic[Seen]):
    """Looks at sites as long as somebody listens to them, until ``closing`` is set.

    All of it runs in one event loop; only ``look``, which says what there is to see by a site's row, runs in threads.
    """

    def __init__(
        self,
        look: Callable[[Sequence[Site]], Mapping[int, Seen]],
        closing: asyncio.Event,
        *,
        look_seconds: float = LOOK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.closing = closing
        self.listeners: set[Listener] = set()
        # What the last look found, by the row of the site.
        self.seen: dict[int, Seen] = {}
        self._look = look
        self._look_seconds = look_seconds
        self._heartbeat_seconds = heartbeat_seconds
        # One look after the other: none overwrites what a later one has found.
        self._turn = asyncio.Lock()

    @contextmanager
    def listen(self, sites: Sequence[Site]) -> Iterator[Listener]:
        """Be woken by what happens on these sites, until the block ends."""
        listener = Listener(tuple(sites))
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    async def wait(self, listener: Listener) -> bool:
        """Until something has happened, or the service closes; false where nothing has for a while."""
        try:
            async with asyncio.timeout(self._heartbeat_seconds):
                await listener.wake.wait()
        except TimeoutError:
            return False
        listener.wake.clear()
        return True

    async def look(self, sites: Sequence[Site]) -> None:
        """Look now, keep what was found, and wake those whom a difference concerns."""
        async with self._turn:
            found = await asyncio.to_thread(self._look, sites)
            moved = {row for row, seen in found.items() if seen != self.seen.get(row)}
            self.seen |= found
        for listener in self.listeners:
            if any(site.row in moved for site in listener.sites):
                listener.wake.set()

    async def run(self) -> None:
        """Look once a second, as long as anybody listens, until the service closes."""
        pause = self._look_seconds
        while not self.closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.closing.wait()
            sites = list({site.row: site for listener in self.listeners for site in listener.sites}.values())
            if not sites or self.closing.is_set():
                continue
            began = time.monotonic()
            try:
                await self.look(sites)
            except Exception as error:  # noqa: BLE001  # whoever listens goes on where they were once it is mended
                _log.warning("changes cannot be looked at", extra=describe_error(error))
            pause = max(self._look_seconds, min(_MOST_SECONDS, (time.monotonic() - began) / _SHARE))
        for listener in self.listeners:
            listener.wake.set()


class Places:
    """How many streams may be open in this process, and how many of them for one site or person."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most = most
        self.most_each = most_each
        self.open: Counter[int] = Counter()

    @contextmanager
    def take(self, whose: int) -> Iterator[None]:
        """A place for one more stream, until the block ends. Raises ``TooManyStreams`` or ``Overloaded``."""
        if self.open[whose] >= self.most_each:
            raise TooManyStreams(f"there are {self.most_each} streams open already; close one of them")
        if self.open.total() >= self.most:
            raise Overloaded("this service has as many streams open as it can; try again later")
        self.open[whose] += 1
        try:
            yield
        finally:
            self.open[whose] -= 1
