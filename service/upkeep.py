"""What the service does by itself once an hour: figures of the day before, second looks, forgetting."""

from __future__ import annotations

import logging
import secrets
import threading
from datetime import UTC, datetime, timedelta

from service.drift import Drift
from service.errors import StoreError
from service.logs import describe_error
from service.second_looks import RandomLooks
from service.store import Store
from service.verdicts import Moderation

_log = logging.getLogger(__name__)

EVERY_SECONDS = 3_600.0
DELIVERIES_KEPT = timedelta(days=7)
"""How long messages that were delivered or given up can be looked at."""

SHADOW_KEPT = timedelta(days=90)
"""How long it can be looked at what a challenger would have decided."""

_LOOK_SECONDS = 60.0
_AT_ONCE = 100
_BREATHER_SECONDS = 0.05
_LEASE = "upkeep"


class Upkeep:
    """One process does it for all that share the database: whoever takes the lease for the hour."""

    def __init__(
        self,
        store: Store,
        desk: Moderation,
        retention_days: int | None,
        drift: Drift | None = None,
        looks: RandomLooks | None = None,
        *,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """``retention_days`` is how long texts are kept; ``None`` is for ever.

        ``drift`` makes the figures of days, ``looks`` draws verdicts for a second look.
        """
        self._store = store
        self._desk = desk
        self._drift = drift
        self._looks = looks
        self._retention_days = retention_days
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Look now and then whether it is time, in a thread, until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the piece that is being done."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                # A new holder each time: whoever has done it an hour's work ago is free to leave it to others.
                if self._store.leases.take(_LEASE, secrets.token_hex(8), self._every_seconds):
                    self.work()
            except StoreError as error:
                _log.warning("upkeep waits for the database", extra=describe_error(error))
            except Exception as error:  # noqa: BLE001  # it is tried again, and nothing else depends on it
                _log.error("upkeep failed", extra=describe_error(error))
            self._stopping.wait(min(_LOOK_SECONDS, self._every_seconds))

    def work(self) -> int:
        """Do it now, in small pieces with a breather after each, so that nobody waits for long; how many comments."""
        # Before texts are forgotten, whose words are counted.
        if self._drift is not None and (days := self._drift.work(self._stopping)):
            _log.info("drift measured", extra={"days": days})
        if self._looks is not None and (drawn := self._looks.work(self._stopping)):
            _log.info("second looks drawn", extra={"comments": drawn})
        forgotten = 0
        for count in self._desk.forget(self._retention_days, at_once=_AT_ONCE):
            forgotten += count
            if self._stopping.wait(_BREATHER_SECONDS):
                return forgotten
        now = datetime.now(UTC)
        for forget, kept in (
            (self._store.webhooks.forget_before, DELIVERIES_KEPT),
            (self._store.shadows.forget_before, SHADOW_KEPT),
        ):
            while forget(now - kept) and not self._stopping.wait(_BREATHER_SECONDS):
                pass
        if forgotten:
            _log.info("forgotten", extra={"comments": forgotten})
        return forgotten
