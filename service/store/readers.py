"""What readers and authors say about comments: reports and appeals."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from moderation.comment import Decision
from service.errors import CommentErased, NotFound, NothingToAppeal
from service.store import engine as connections
from service.store.entries import put_entry
from service.store.records import Appeal, Priority, Site, Why
from service.store.review_tables import appeals, reports
from service.store.rows import is_current, read_stored, select_stored
from service.store.tables import comment_versions, comments
from service.store.verdicts import standing_verdict
from service.store.writing import insert_new, insert_row, log, take_turn

# What a report or an appeal adds goes beside the reasons that an entry has already.
_MACHINES = ("held", "near_line", "audit")

Measure = Callable[[Decision], Priority]


class Readers:
    """Reports and appeals. ``measure`` says how soon a comment with such a decision has to be looked at."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def report(
        self, site: Site, comment_id: str, reporter: str, category: str | None, *, reopen_at: int, measure: Measure
    ) -> tuple[int, bool]:
        """Note that a reader (a keyed hash) reported a comment; how many did so far, and whether this one was new.

        A published comment that nobody has judged is queued by the first report; one that a moderator has judged, by
        the ``reopen_at``-th since. Raises ``NotFound`` or ``CommentErased``.
        """
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            comment, now = _find(connection, site, comment_id), self._now()
            row = {"site_id": site.row, "comment_id": comment.row, "comment_version_id": comment.version_row}
            row |= {"reporter": reporter, "category": category, "at": now}
            is_new = insert_new(connection, reports, row, ("comment_version_id", "reporter")) is not None
            standing = standing_verdict(connection, comment.version_row)
            of_it = reports.c.comment_version_id == comment.version_row
            since = of_it if standing is None else of_it & (reports.c.at > standing.at)
            total, recent = (
                connection.execute(select(func.count()).where(condition)).scalar_one() for condition in (of_it, since)
            )
            if is_new:
                log(connection, site, "reader", "report", {"comment": comment_id, "category": category}, now)
                if comment.status == "published" and recent >= (1 if standing is None else reopen_at):
                    self._queue(connection, comment, _reported(recent, judged=standing is not None), measure, recent)
        return total, is_new

    def appeal(self, site: Site, comment_id: str, text: str | None, *, measure: Measure) -> Appeal:
        """An author's wish for another look at a rejected comment; the same version again gives the same appeal.

        Raises ``NotFound``, ``CommentErased``, and ``NothingToAppeal`` where the comment is not rejected.
        """
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            comment, now = _find(connection, site, comment_id), self._now()
            present = _select_appeals(site).where(appeals.c.comment_version_id == comment.version_row)
            found = connection.execute(present).first()
            if found is not None:
                return _read_appeal(found, seen=True)
            if comment.status != "rejected":
                raise NothingToAppeal
            row: dict[str, Any] = {"public_id": f"a_{secrets.token_urlsafe(16)}", "site_id": site.row, "at": now}
            kept = None if comment.do_not_store else text
            row |= {"comment_id": comment.row, "comment_version_id": comment.version_row, "text": kept}
            insert_row(connection, appeals, row)
            log(connection, site, "author", "appeal", {"comment": comment_id, "appeal": row["public_id"]}, now)
            why = Why("appealed", None, None, "The author asks for another look.")
            self._queue(connection, comment, why, measure)
            return _read_appeal(connection.execute(present).one())

    def find_appeal(self, site: Site, appeal_id: str) -> Appeal:
        """An appeal of this site by its id. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            row = connection.execute(_select_appeals(site).where(appeals.c.public_id == appeal_id)).first()
        if row is None:
            raise NotFound("this site has no such appeal")
        return _read_appeal(row)

    def appeal_text(self, site: Site, comment_id: str) -> str | None:
        """What the author wrote in the last appeal about a comment."""
        query = select(appeals.c.text).join(comments, comments.c.id == appeals.c.comment_id)
        query = query.where(comments.c.site_id == site.row, comments.c.external_id == comment_id)
        with connections.reading(self._engine) as connection:
            return connection.execute(query.order_by(appeals.c.id.desc()).limit(1)).scalar()

    def _queue(self, connection: Connection, comment: Row[Any], why: Why, measure: Measure, count: int = 0) -> None:
        priority = measure(read_stored(comment).decision)
        keep = {*_MACHINES, "reported", "appealed"}
        now, status = self._now(), comment.status
        put_entry(connection, comment.row, [why], priority, keep=keep, status=status, now=now, reports=count)


def _find(connection: Connection, site: Site, comment_id: str) -> Row[Any]:
    version = comment_versions.c
    query = select_stored().add_columns(comments.c.id.label("row"), version.id.label("version_row"))
    query = query.add_columns(version.do_not_store)
    is_it = (comments.c.site_id == site.row) & (comments.c.external_id == comment_id) & is_current()
    row = connection.execute(query.where(is_it)).first()
    if row is None:
        raise NotFound("this site has no such comment")
    if row.status == "erased":
        raise CommentErased
    return row


def _reported(count: int, *, judged: bool) -> Why:
    readers = "1 reader" if count == 1 else f"{count} readers"
    since = " since a moderator judged it" if judged else ""
    return Why("reported", None, count, f"Reported by {readers}{since}.")


def _select_appeals(site: Site) -> Select[Any]:
    query = select(appeals, comments.c.external_id).join(comments, comments.c.id == appeals.c.comment_id)
    return query.where(appeals.c.site_id == site.row)


def _read_appeal(row: Row[Any], *, seen: bool = False) -> Appeal:
    return Appeal(row.public_id, row.external_id, row.at, row.outcome, seen)
