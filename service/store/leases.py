"""Work that one process at a time does for all that share the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Engine, or_
from sqlalchemy.dialects import postgresql, sqlite

from service.store import engine as connections
from service.store.tables import leases


class Leases:
    """Who may do what until when."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def take(self, name: str, holder: str, seconds: float) -> bool:
        """Take on a piece of work for a time; whoever has it already has it longer. False where somebody else has."""
        now = self._now()
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        taken = {"holder": holder, "until": now + timedelta(seconds=seconds)}
        new = dialect.insert(leases).values({"name": name, **taken})
        is_free = or_(leases.c.until <= now, leases.c.holder == holder)
        with connections.writing(self._engine) as connection:
            query = new.on_conflict_do_update(index_elements=["name"], set_=taken, where=is_free)
            return connection.execute(query.returning(leases.c.name)).first() is not None
