"""Moderators with their roles, and the log of what people did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, update

from service.errors import InvalidSettings, NotFound
from service.statuses import ELSEWHERE, RESERVED_NAMES, Role
from service.store import engine as connections
from service.store.queue import UNCLAIMED
from service.store.records import Change, LogEntry, Moderator, Site, StatusChange
from service.store.tables import (
    audit_log,
    comments,
    decisions,
    moderators,
    queue_entries,
    roles,
    sites,
    status_log,
    verdicts,
)
from service.store.writing import insert_new, log

_AT_ONCE = 1000


class People:
    """Moderators and their roles."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def add(self, name: str, site: Site, role: Role, *, who: str) -> Moderator:
        """Give somebody a role on a site, in place of the one they had there; they are made if they are new.

        Raises ``InvalidSettings`` for a name that the logs use for something else.
        """
        if name.casefold() in RESERVED_NAMES or name.casefold().startswith(ELSEWHERE):
            raise InvalidSettings(f"{name!r} means something else in the logs; choose another name")
        with connections.writing(self._engine) as connection:
            now = self._now()
            insert_new(connection, moderators, {"name": name, "created_at": now}, ("name",))
            row = connection.execute(select(moderators.c.id).where(moderators.c.name == name)).scalar_one()
            here = (roles.c.moderator_id == row) & (roles.c.site_id == site.row)
            given = {"moderator_id": row, "site_id": site.row, "role": role}
            if insert_new(connection, roles, given, ("moderator_id", "site_id")) is None:
                connection.execute(update(roles).where(here).values(role=role))
            log(connection, site, who, "role_given", {"moderator": name, "role": role}, now)
            return _find(connection, name)

    def find(self, name: str) -> Moderator:
        """The moderator of that name. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            return _find(connection, name)

    def give_sign_in(self, moderator: Moderator, token_hash: str, until: datetime) -> None:
        """Keep the SHA-256 (hex) of a token that lets somebody in once, until then; an earlier one ends."""
        with connections.writing(self._engine) as connection:
            given = {"sign_in_hash": token_hash, "sign_in_until": until}
            connection.execute(update(moderators).where(moderators.c.id == moderator.row).values(given))

    def take_sign_in(self, token_hash: str) -> Moderator | None:
        """The moderator whose token that is; it works once. ``None`` where it is unknown, used, too old or disabled."""
        valid = (moderators.c.sign_in_hash == token_hash) & (moderators.c.sign_in_until > self._now())
        taken = update(moderators).where(valid, moderators.c.disabled_at.is_(None))
        with connections.writing(self._engine) as connection:
            used = taken.values(sign_in_hash=None, sign_in_until=None).returning(moderators.c.name)
            name = connection.execute(used).scalar()
            return None if name is None else _find(connection, name)

    def disable(self, name: str, *, who: str) -> None:
        """Keep somebody out, with the roles and verdicts that they have. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            moderator = _find(connection, name)
            change = {"disabled_at": self._now(), "sign_in_hash": None, "sign_in_until": None}
            connection.execute(update(moderators).where(moderators.c.id == moderator.row).values(change))
            log(connection, None, who, "moderator_disabled", {"moderator": name}, self._now())

    def delete(self, name: str, *, who: str) -> None:
        """Remove an account. Its verdicts stay, with the name; what it holds is free. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            moderator = _find(connection, name)
            # The account before what it holds, as whoever claims or judges does: nobody then waits in a circle.
            connection.execute(select(moderators.c.id).where(moderators.c.id == moderator.row).with_for_update())
            held = queue_entries.c.claimed_by == moderator.row
            connection.execute(update(queue_entries).where(held).values(UNCLAIMED))
            connection.execute(delete(moderators).where(moderators.c.id == moderator.row))
            log(connection, None, who, "moderator_deleted", {"moderator": name}, self._now())


class Logs:
    """Reading what happened: status changes in the order of commits, and what people did."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def changes(self, site: Site, *, after: int = 0, limit: int = 100) -> list[Change]:
        """Status changes of a site after a cursor, oldest first. None is ever missed between two calls."""
        query = select_changes().where(status_log.c.site_id == site.row, status_log.c.id > after)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.order_by(status_log.c.id).limit(limit)).all()
        return [read_change(row) for row in rows]

    def positions(self, of: Sequence[Site]) -> dict[int, int]:
        """The cursor of the latest change of each of these sites, by the site's row; 0 where there is none."""
        # One question per site is the end of an index; one for all would go through the whole of it.
        last = select(func.max(status_log.c.id)).where(status_log.c.site_id == sites.c.id).scalar_subquery()
        query = select(sites.c.id, func.coalesce(last, 0).label("last"))
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.where(sites.c.id.in_([site.row for site in of])))
            return {row.id: row.last for row in rows}

    def audit(self) -> Iterator[LogEntry]:
        """Every line of the audit log, oldest first; read in pieces, so that it may be long."""
        query = select(audit_log, sites.c.url).outerjoin(sites, sites.c.id == audit_log.c.site_id)
        for row in self._in_pieces(query, audit_log.c.id):
            yield LogEntry(row.at, row.url, row.who, row.event, row.details)

    def statuses(self) -> Iterator[LogEntry]:
        """Every status change of every site as lines of a log, oldest first."""
        query = select_changes().add_columns(sites.c.url).join(sites, sites.c.id == status_log.c.site_id)
        for row in self._in_pieces(query, status_log.c.id):
            details = {"comment": row.external_id, "old": row.old, "new": row.new}
            details |= {"decision": row.decision_id, "verdict": row.verdict_id}
            yield LogEntry(row.at, row.url, row.who, "status", details)

    def _in_pieces(self, query: Select[Any], key: Any) -> Iterator[Any]:
        after = 0
        while True:
            with connections.reading(self._engine) as connection:
                rows = connection.execute(query.where(key > after).order_by(key).limit(_AT_ONCE)).all()
            yield from rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].id


def _find(connection: Connection, name: str) -> Moderator:
    row = connection.execute(select(moderators).where(moderators.c.name == name)).first()
    if row is None:
        raise NotFound("there is no such moderator; 'moderation add-moderator NAME --site URL' makes one")
    here = select(sites.c.url, roles.c.role).join(sites, sites.c.id == roles.c.site_id)
    given = connection.execute(here.where(roles.c.moderator_id == row.id).order_by(sites.c.url))
    return Moderator(row.id, row.name, row.disabled_at is not None, {found.url: found.role for found in given})


def read_change(row: Row[Any]) -> Change:
    """A row of :func:`select_changes`."""
    change = StatusChange(row.old, row.new, row.who, row.at)
    return Change(row.id, row.external_id, row.decision_id, row.verdict_id, change)


def select_changes() -> Select[Any]:
    """Rows of the status log with the ids by which sites know what they are about."""
    log_row = status_log.c
    return (
        select(log_row.id, log_row.old, log_row.new, log_row.who, log_row.at, comments.c.external_id)
        .add_columns(decisions.c.public_id.label("decision_id"), verdicts.c.public_id.label("verdict_id"))
        .join(comments, comments.c.id == log_row.comment_id)
        .outerjoin(decisions, decisions.c.id == log_row.decision_id)
        .outerjoin(verdicts, verdicts.c.id == log_row.verdict_id)
    )
