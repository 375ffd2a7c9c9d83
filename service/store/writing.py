"""The writes that several parts of the store share. Each works inside a transaction that its caller has begun."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from service.statuses import AKISMET, MOVES, Status
from service.store.records import Site
from service.store.review_tables import audit_log
from service.store.tables import comments, outbox, sites, status_log, webhooks

AUTHOR_HASH = "author_hash"
"""In the audit log: the hash of an author who was erased, by which labels from elsewhere are known to be theirs. It is
for no reader of the log."""


def take_turn(connection: Connection, site: Site) -> None:
    """One writer of a site at a time, from here until the transaction ends.

    Everyone who sets a status or erases takes it first: nobody then waits for a row that somebody who waits for them
    has locked, and rows of the status log get their ids in the order of commits, so that whoever polls misses none.
    """
    # SQLite has one writer at all: whoever has begun to write has every site's turn.
    if connection.dialect.name != "sqlite":
        connection.execute(_TURN, {"site": site.row})


_TURN = select(sites.c.id).where(sites.c.id == bindparam("site")).with_for_update(key_share=True)
_CHANGE = update(comments).where(comments.c.id == bindparam("comment"))


def set_status(
    connection: Connection,
    site: Site,
    comment_row: int,
    old: Status | None,
    new: Status,
    *,
    who: str,
    now: datetime,
    decision: int | None = None,
    verdict: int | None = None,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """The one writer of a status. Does nothing if nothing changes; otherwise writes a log row too.

    ``beside`` are other columns of the comment, which are written in any case.
    """
    if old == new:
        if beside:
            connection.execute(_CHANGE, {"comment": comment_row, **beside})
        return
    if new not in MOVES[old]:
        raise ValueError(f"a comment cannot move from {old} to {new}")
    connection.execute(_CHANGE, {"comment": comment_row, **(beside or {}), "status": new, "updated_at": now})
    row: dict[str, Any] = {"site_id": site.row, "comment_id": comment_row, "old": old, "new": new, "who": who}
    change = insert_row(connection, status_log, row | {"decision_id": decision, "verdict_id": verdict, "at": now})
    _fill_outbox(connection, site, comment_row, change, new, now)


def _fill_outbox(
    connection: Connection,
    site: Site,
    comment_row: int,
    change: int,
    new: Status,
    now: datetime,
) -> None:
    """A row for each webhook of the site that wants to hear of it, in the transaction of the change.

    Clients of Akismet hear of answers and not of statuses: :mod:`service.store.akismet`.
    """
    asked = connection.execute(_WHO_ASKS, {"site": site.row}).all()
    if not asked:
        return
    row = {"change_id": change, "comment_id": comment_row, "created_at": now, "next_attempt_at": now, "attempts": 0}
    rows = [
        row | {"webhook_id": webhook.id, "public_id": f"msg_{secrets.token_urlsafe(16)}"}
        for webhook in asked
        if not webhook.events or new in webhook.events
    ]
    if rows:
        connection.execute(insert(outbox), rows)


_WHO_ASKS = (
    select(webhooks.c.id, webhooks.c.events)
    .where(webhooks.c.site_id == bindparam("site"), webhooks.c.disabled_at.is_(None), webhooks.c.format != AKISMET)
    # None of them can be removed until the rows that refer to it are written.
    .with_for_update(read=True, key_share=True)
)


def log(
    connection: Connection, site: Site | None, who: str, event: str, details: Mapping[str, Any], now: datetime
) -> None:
    """Add a line to the audit log. ``details`` hold ids and codes, never what was written."""
    row = {"site_id": site.row if site else None, "who": who, "event": event, "details": dict(details), "at": now}
    connection.execute(insert(audit_log).values(row))


def insert_row(connection: Connection, table: Table, row: dict[str, Any]) -> int:
    """The new row's key."""
    row_id: int = connection.execute(_insert(table), row).scalar_one()
    return row_id


@cache
def _insert(table: Table) -> ReturningInsert[Any]:
    return insert(table).returning(*table.primary_key.columns)


def insert_new(connection: Connection, table: Table, row: dict[str, Any], unique: tuple[str, ...]) -> int | None:
    """The new row's key, or ``None`` when a row with the same ``unique`` columns is there already."""
    row_id: int | None = connection.execute(_insert_new(connection.dialect.name, table, unique), row).scalar()
    return row_id


@cache
def _insert_new(dialect: str, table: Table, unique: tuple[str, ...]) -> ReturningInsert[Any]:
    query = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return query.on_conflict_do_nothing(index_elements=unique).returning(*table.primary_key.columns)
