"""What has happened in the queue since a moment: for pages that stay open while others work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, func, select

from service.statuses import VerdictAction
from service.store import engine as connections
from service.store.queue import select_page
from service.store.records import QueueFilter, Site
from service.store.review_tables import audit_log, moderators, queue_entries, verdicts
from service.store.tables import comments, sites, status_log

# What people do to an entry. Both are logged while the site's turn is held, so that they are in the order of commits.
_EVENTS = ("verdict", "undo")
_MOST_HELD = 500

EntryState = Literal["waits", "decided", "erased", "gone"]


class Cursor(NamedTuple):
    """How far the status log and the audit log of a site have been read."""

    changed: int
    judged: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at a site sees: how far its logs go, how many wait, when the newest was opened, who holds what."""

    cursor: Cursor
    waiting: int
    opened: datetime | None
    held: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """An entry to which something has happened, as it is now; by whom and how where it was decided.

    ``gone`` is what closed without a verdict: an edit has made it a comment that need not wait.
    """

    entry: int
    state: EntryState
    by: str | None = None
    action: VerdictAction | None = None


class News:
    """Reading what has happened in the queue."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def look(self, of: Sequence[Site]) -> dict[int, Sight]:
        """What there is to see now, by the site's row."""
        rows, entry = [site.row for site in of], queue_entries.c
        of_site = entry.site_id == sites.c.id
        # The ends of indexes, and what waits, which is an index of its own.
        query = select(
            sites.c.id,
            *_cursor(),
            select(func.count()).where(of_site, entry.closed_at.is_(None)).scalar_subquery().label("waiting"),
            select(func.max(entry.opened_at)).where(of_site, entry.closed_at.is_(None)).scalar_subquery().label("last"),
        ).where(sites.c.id.in_(rows))
        holding = (
            select(entry.site_id, entry.id, func.coalesce(moderators.c.name, entry.claimed_for).label("holder"))
            .outerjoin(moderators, moderators.c.id == entry.claimed_by)
            .where(entry.site_id.in_(rows), entry.closed_at.is_(None), entry.claimed_until > self._now())
            .order_by(entry.id)
            .limit(_MOST_HELD)
        )
        with connections.reading(self._engine) as connection:
            found = connection.execute(query).all()
            held: dict[int, list[tuple[int, str]]] = {}
            for row in connection.execute(holding):
                if row.holder is not None:  # of an account that was deleted only the time is left
                    held.setdefault(row.site_id, []).append((row.id, row.holder))
        return {row.id: Sight(_read_cursor(row), row.waiting, row.last, tuple(held.get(row.id, ()))) for row in found}

    def cursors(self, of: Sequence[Site]) -> dict[int, Cursor]:
        """How far the logs of these sites go, by the site's row."""
        query = select(sites.c.id, *_cursor()).where(sites.c.id.in_([site.row for site in of]))
        with connections.reading(self._engine) as connection:
            return {row.id: _read_cursor(row) for row in connection.execute(query)}

    def touched(self, site: Site, after: Cursor, upto: Cursor, *, limit: int) -> tuple[Touched, ...] | None:
        """The entries to which something has happened in between; ``None`` where that is more than ``limit``."""
        with connections.reading(self._engine) as connection:
            found = _changed(connection, site, after, upto, limit) | _judged(connection, site, after, upto, limit)
            return None if len(found) > limit else _read(connection, found)

    def fresh(self, of: Sequence[Site], wanted: QueueFilter, since: datetime, *, limit: int) -> tuple[int, ...]:
        """The rows of entries that were opened since a moment and would be in the list, near-duplicates once."""
        query = select_page(self._engine.dialect.name, of, wanted, "age", None)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.where(queue_entries.c.opened_at >= since).limit(limit))
            return tuple(row.id for row in rows)


def _cursor() -> list[Any]:
    line = audit_log.c
    last = [
        func.coalesce(
            select(func.max(line.id)).where(line.site_id == sites.c.id, line.event == event).scalar_subquery(), 0
        ).label(event)
        for event in _EVENTS
    ]
    changed = select(func.max(status_log.c.id)).where(status_log.c.site_id == sites.c.id).scalar_subquery()
    return [func.coalesce(changed, 0).label("changed"), *last]


def _read_cursor(row: Any) -> Cursor:
    return Cursor(row.changed, max(row.verdict, row.undo))


def _changed(connection: Connection, site: Site, after: Cursor, upto: Cursor, limit: int) -> set[int]:
    """Comments whose status has changed in between, a few more than ``limit`` at most."""
    line = status_log.c
    query = select(line.comment_id).where(line.site_id == site.row, line.id > after.changed, line.id <= upto.changed)
    return set(connection.execute(query.order_by(line.id).limit(limit + 1)).scalars())


def _judged(connection: Connection, site: Site, after: Cursor, upto: Cursor, limit: int) -> set[int]:
    """The same of comments that were judged, or whose verdict was taken back: their status may be what it was."""
    line = audit_log.c
    query = select(line.details).where(line.site_id == site.row, line.event.in_(_EVENTS))
    query = query.where(line.id > after.judged, line.id <= upto.judged).order_by(line.id).limit(limit + 1)
    named = {details.get("verdict") for details in connection.execute(query).scalars()}
    return set(connection.execute(select(verdicts.c.comment_id).where(verdicts.c.public_id.in_(named))).scalars())


def _read(connection: Connection, comment_rows: Collection[int]) -> tuple[Touched, ...]:
    entry, verdict = queue_entries.c, verdicts.c
    given = select(verdict.comment_id, verdict.moderator, verdict.action, verdict.at)
    given = given.where(verdict.comment_id.in_(comment_rows), verdict.undone_at.is_(None)).order_by(verdict.id)
    last = {row.comment_id: row for row in connection.execute(given)}
    query = select(entry.id, entry.comment_id, entry.closed_at, comments.c.status)
    query = query.join(comments, comments.c.id == entry.comment_id).where(entry.comment_id.in_(comment_rows))
    found = []
    for row in connection.execute(query.order_by(entry.id)):
        said = last.get(row.comment_id)
        if row.status == "erased":
            found.append(Touched(row.id, "erased"))
        elif row.closed_at is None:
            found.append(Touched(row.id, "waits"))
        elif said is not None and said.at >= row.closed_at:
            found.append(Touched(row.id, "decided", said.moderator, said.action))
        else:
            found.append(Touched(row.id, "gone"))
    return tuple(found)
