"""Moderators with their roles, passwords and sessions, and the log of what people did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from service.errors import InvalidSettings, NotFound, StoreError
from service.statuses import ELSEWHERE, RESERVED_NAMES, RIGHTS, Role
from service.store import engine as connections
from service.store.entries import UNCLAIMED
from service.store.records import Change, LogEntry, Moderator, Session, Site, StatusChange
from service.store.review_tables import audit_log, moderators, queue_entries, roles, sessions, verdicts
from service.store.tables import comments, decisions, sites, status_log
from service.store.writing import AUTHOR_HASH, insert_new, log

_OPERATOR = "operator"
_NO_SIGN_IN = {"sign_in_hash": None, "sign_in_until": None, "sign_in_by": None}

_AT_ONCE = 1000
_SEEN_EVERY = timedelta(minutes=1)


class People:
    """Moderators, their roles and passwords."""

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

    def all(self) -> list[Moderator]:
        """Everybody, by name."""
        here = (
            select(moderators.c.id, moderators.c.name, moderators.c.disabled_at, sites.c.url, roles.c.role)
            .outerjoin(roles, roles.c.moderator_id == moderators.c.id)
            .outerjoin(sites, sites.c.id == roles.c.site_id)
            .order_by(moderators.c.name, sites.c.url)
        )
        with connections.reading(self._engine) as connection:
            found = connection.execute(here).all()
        given: dict[int, dict[str, Role]] = {}
        for row in found:
            of_them = given.setdefault(row.id, {})
            if row.url is not None:
                of_them[row.url] = row.role
        return [
            Moderator(row.id, row.name, row.disabled_at is not None, given[row.id])
            for row in {row.id: row for row in found}.values()
        ]

    def take_role(self, name: str, site: Site, *, who: str) -> None:
        """Take somebody's role on a site; what they did stays. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            moderator = _find(connection, name)
            here = (roles.c.moderator_id == moderator.row) & (roles.c.site_id == site.row)
            if connection.execute(delete(roles).where(here)).rowcount:
                log(connection, site, who, "role_taken", {"moderator": name}, self._now())

    def enable(self, name: str, *, who: str) -> None:
        """Let somebody in again who was disabled. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            moderator = _find(connection, name)
            connection.execute(update(moderators).where(moderators.c.id == moderator.row).values(disabled_at=None))
            log(connection, None, who, "moderator_enabled", {"moderator": name}, self._now())

    def give_sign_in(self, moderator: Moderator, token_hash: str, until: datetime, *, who: str = "operator") -> None:
        """Keep the SHA-256 (hex) of a token that lets somebody in once, until then; an earlier one ends.

        ``who`` is a moderator or ``operator``. A moderator's works only as long as they might make it again.
        """
        with connections.writing(self._engine) as connection:
            given = {"sign_in_hash": token_hash, "sign_in_until": until, "sign_in_by": who}
            connection.execute(update(moderators).where(moderators.c.id == moderator.row).values(given))
            log(connection, None, who, "sign_in_link_made", {"moderator": moderator.name}, self._now())

    def find_sign_in(self, token_hash: str) -> Moderator | None:
        """The moderator whose token that is, unused; ``None`` as in :meth:`take_sign_in`."""
        with connections.reading(self._engine) as connection:
            name = connection.execute(select(moderators.c.name).where(self._has_token(token_hash))).scalar()
            return None if name is None else _find(connection, name)

    def take_sign_in(self, token_hash: str, password_hash: str) -> Moderator | None:
        """Set the password of the moderator whose token that is; it works once, and every session of theirs ends.

        ``None`` where the token is unknown, used, too old or its owner disabled, or where a moderator made it who is
        gone or does not maintain every site on which its owner has a role by now.
        """
        taken = update(moderators).where(self._has_token(token_hash)).returning(moderators.c.name)
        change = {"password_hash": password_hash} | _NO_SIGN_IN
        with connections.writing(self._engine) as connection:
            name = connection.execute(taken.values(change)).scalar()
            if name is None:
                return None
            moderator = _find(connection, name)
            self._after_password(connection, moderator)
            return moderator

    def password_hash(self, name: str) -> str | None:
        """How the password of that moderator is kept; ``None`` where there is none, or nobody who may sign in."""
        query = select(moderators.c.password_hash).where(moderators.c.name == name, moderators.c.disabled_at.is_(None))
        with connections.reading(self._engine) as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def set_password(self, moderator: Moderator, password_hash: str) -> None:
        """Keep a new password, and end every session of theirs and a link that was not used."""
        with connections.writing(self._engine) as connection:
            mine = moderators.c.id == moderator.row
            change = {"password_hash": password_hash} | _NO_SIGN_IN
            connection.execute(update(moderators).where(mine).values(change))
            self._after_password(connection, moderator)

    def disable(self, name: str, *, who: str) -> None:
        """Keep somebody out. Roles and verdicts stay; what they hold is free. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            moderator = _find(connection, name)
            _free(connection, moderator)
            change = {"disabled_at": self._now()} | _NO_SIGN_IN
            connection.execute(update(moderators).where(moderators.c.id == moderator.row).values(change))
            connection.execute(delete(sessions).where(sessions.c.moderator_id == moderator.row))
            log(connection, None, who, "moderator_disabled", {"moderator": name}, self._now())

    def delete(self, name: str, *, who: str) -> None:
        """Remove an account. Its verdicts stay, with the name; what it holds is free. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            moderator = _find(connection, name)
            _free(connection, moderator)
            # Somebody else may get that name.
            made = update(moderators).where(moderators.c.sign_in_by == moderator.name)
            connection.execute(made.values(_NO_SIGN_IN))
            connection.execute(delete(moderators).where(moderators.c.id == moderator.row))
            log(connection, None, who, "moderator_deleted", {"moderator": name}, self._now())

    def _has_token(self, token_hash: str) -> ColumnElement[bool]:
        mine = moderators.c
        is_usable = and_(mine.sign_in_hash == token_hash, mine.sign_in_until > self._now(), mine.disabled_at.is_(None))
        return is_usable & ((mine.sign_in_by == _OPERATOR) | _is_of_who_governs())

    def _after_password(self, connection: Connection, moderator: Moderator) -> None:
        connection.execute(delete(sessions).where(sessions.c.moderator_id == moderator.row))
        log(connection, None, moderator.name, "password_set", {"moderator": moderator.name}, self._now())


class Sessions:
    """Browsers in which moderators are signed in."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def open(self, moderator: Moderator, token_hash: str, lasts: timedelta) -> None:
        """Begin a session, by the SHA-256 (hex) of its token. Sessions of anybody that have ended are cleared away."""
        with connections.writing(self._engine) as connection:
            now = self._now()
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            row = {"moderator_id": moderator.row, "token_hash": token_hash, "created_at": now, "seen_at": now}
            connection.execute(insert(sessions).values(row | {"expires_at": now + lasts}))

    def find(self, token_hash: str, idle: timedelta, *, is_use: bool = True) -> Session | None:
        """The session of that token; ``None`` where it has ended, was not used for ``idle``, or its owner is disabled.

        That it was used is noted once a minute, so that reading a page is rarely a write. What goes on by itself, with
        nobody there, is no use.
        """
        now = self._now()
        query = (
            select(sessions, moderators.c.name)
            .join(moderators, moderators.c.id == sessions.c.moderator_id)
            .where(sessions.c.token_hash == token_hash, moderators.c.disabled_at.is_(None))
            .where(sessions.c.expires_at > now, sessions.c.seen_at > now - idle)
        )
        with connections.reading(self._engine) as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            moderator = _find(connection, row.name)
        if is_use and now - row.seen_at >= _SEEN_EVERY:
            # Who only reads is not kept out because nothing can be written for now.
            with suppress(StoreError), connections.writing(self._engine) as connection:
                connection.execute(update(sessions).where(sessions.c.id == row.id).values(seen_at=now))
        return Session(row.id, moderator, row.created_at, row.seen_at, row.expires_at)

    def close(self, token_hash: str) -> None:
        """End one session. Does nothing if there is none."""
        with connections.writing(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))

    def close_all(self, moderator: Moderator) -> None:
        """End every session of somebody."""
        with connections.writing(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.moderator_id == moderator.row))


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

    def page(
        self, of_sites: Sequence[Site | None], *, limit: int, before: int | None = None
    ) -> tuple[list[LogEntry], int | None]:
        """The newest lines of the audit log about some sites (``None``: about no site), and where to go on.

        ``before`` is where the page before this one ended; the second result is ``None`` where there is no more.
        """
        line = audit_log.c
        found: list[Any] = []
        with connections.reading(self._engine) as connection:
            # One site after the other: each is a walk down one index.
            for site in of_sites:
                query = select(audit_log).where(line.site_id == site.row if site else line.site_id.is_(None))
                query = query if before is None else query.where(line.id < before)
                urls = {"url": site.url if site else None}
                rows = connection.execute(query.order_by(line.id.desc()).limit(limit + 1))
                found += [dict(row._mapping) | urls for row in rows]  # noqa: SLF001  # its documented name
        found.sort(key=lambda row: row["id"], reverse=True)
        entries = [
            LogEntry(row["at"], row["url"], row["who"], row["event"], _details(row["details"])) for row in found[:limit]
        ]
        return entries, found[limit - 1]["id"] if len(found) > limit else None

    def audit(self, site: Site | None = None) -> Iterator[LogEntry]:
        """Every line of the audit log, or those of a site, oldest first; read in pieces, so that it may be long."""
        query = select(audit_log, sites.c.url).outerjoin(sites, sites.c.id == audit_log.c.site_id)
        query = query if site is None else query.where(audit_log.c.site_id == site.row)
        for row in self._in_pieces(query, audit_log.c.id):
            yield LogEntry(row.at, row.url, row.who, row.event, _details(row.details))

    def statuses(self, site: Site | None = None) -> Iterator[LogEntry]:
        """Every status change, of a site or of every one, as lines of a log, oldest first."""
        query = select_changes().add_columns(sites.c.url).join(sites, sites.c.id == status_log.c.site_id)
        query = query if site is None else query.where(status_log.c.site_id == site.row)
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


def _details(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name != AUTHOR_HASH}


def _is_of_who_governs() -> ColumnElement[bool]:
    """Whether who made an account's token is there and maintains every site on which the account has a role."""
    maker, given, held = moderators.alias("maker"), roles.alias("given"), roles.alias("held")
    maintains = [role for role, rights in RIGHTS.items() if "configure" in rights]
    is_theirs = exists().where(
        held.c.moderator_id == maker.c.id, held.c.site_id == given.c.site_id, held.c.role.in_(maintains)
    )
    is_beyond = exists().where(given.c.moderator_id == moderators.c.id, ~is_theirs.correlate(maker, given))
    is_maker = and_(maker.c.name == moderators.c.sign_in_by, maker.c.disabled_at.is_(None))
    return exists().where(is_maker, ~is_beyond.correlate(maker, moderators)).correlate(moderators)


def _free(connection: Connection, moderator: Moderator) -> None:
    """Give back what somebody holds."""
    # The account before what it holds, as whoever claims or judges does: nobody then waits in a circle.
    connection.execute(select(moderators.c.id).where(moderators.c.id == moderator.row).with_for_update())
    held = queue_entries.c.claimed_by == moderator.row
    connection.execute(update(queue_entries).where(held).values(UNCLAIMED))


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
