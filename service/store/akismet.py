"""What clients of Akismet were told of each comment, and telling them once a check would be answered otherwise.

Functions that take a connection work inside a transaction that holds the site's turn.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from service.statuses import AKISMET, AKISMET_ID, Status
from service.store import engine as connections
from service.store.records import AkismetAnswer, Site
from service.store.tables import akismet_answers, comments, outbox, sites, webhooks
from service.store.writing import take_turn


class Akismet:
    """Answers to checks that write nothing else."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def answer(self, site: Site, comment_id: str, *, is_spam: bool, by_decision: bool) -> None:
        """Keep that a check of a known comment is answered so. ``by_decision``: since it was decided so, not judged.

        Where somebody judges it at the same moment the client is told of that beside the answer.
        """
        is_it = (comments.c.site_id == site.row) & (comments.c.external_id == comment_id)
        query = select(comments.c.id, akismet_answers)
        query = query.outerjoin(akismet_answers, akismet_answers.c.comment_id == comments.c.id).where(is_it)
        with connections.reading(self._engine) as connection:
            row = connection.execute(query).first()
        # Most checks of what is known already say nothing new, and need no turn.
        if row is None:
            return
        is_told = row.told_spam == is_spam and (row.held_spam == is_spam or not by_decision)
        if is_told and row.checked_spam is not None:
            return
        now = self._now()
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            note_answer(connection, site, row.id, now, is_spam=is_spam, by_decision=by_decision, is_known=True)
            tell(connection, site, row.id, now)


def note_answer(
    connection: Connection,
    site: Site,
    comment_row: int,
    now: datetime,
    *,
    is_spam: bool,
    by_decision: bool = True,
    is_known: bool,
) -> None:
    """Keep what a check is answered. ``is_known``: the comment was there before, and may have been spoken of."""
    note = {"checked_spam": is_spam, "told_spam": is_spam, "held_spam": is_spam if by_decision else None}
    _note(connection, site, comment_row, now, note)
    if is_known:
        connection.execute(_DROP, {"comment": comment_row})


def follow_verdict(connection: Connection, site: Site, comment_row: int, now: datetime, *, said: bool | None) -> None:
    """After a verdict or an undoing: keep what the client has ``said`` itself, else tell it what it does not know."""
    if said is None:
        tell(connection, site, comment_row, now)
    elif connection.execute(_STANDING, {"comment": comment_row}).first() is not None:
        _note(connection, site, comment_row, now, {"checked_spam": None, "told_spam": said, "held_spam": None})
        connection.execute(_DROP, {"comment": comment_row})


def follow_decision(connection: Connection, site: Site, comment_row: int, now: datetime) -> None:
    """After a decision that was no answer to a check: tell a client that had checked the comment before."""
    if connection.execute(_FORGET_HELD, {"comment": comment_row}).rowcount:
        tell(connection, site, comment_row, now)


def tell(connection: Connection, site: Site, comment_row: int, now: datetime) -> None:
    """Tell the site's clients what a check would be answered now, where that is not what they know.

    A comment that waits for want of a decision has no answer.
    """
    row = connection.execute(_STANDING, {"comment": comment_row}).first()
    is_spam = None if row is None else _answer_now(row.status, row.held_spam)
    if row is None or is_spam is None or is_spam == row.told_spam:
        return
    hooks = connection.execute(_WHO_HEARS, {"site": site.row}).scalars().all()
    if not hooks:
        return
    message: dict[str, Any] = {"comment_id": comment_row, "told_spam": is_spam, "created_at": now}
    message |= {"next_attempt_at": now, "attempts": 0}
    ids = [{"webhook_id": hook, "public_id": f"msg_{secrets.token_urlsafe(16)}"} for hook in hooks]
    connection.execute(insert(outbox), [message | each for each in ids])
    _note(connection, site, comment_row, now, {"checked_spam": None, "told_spam": is_spam, "held_spam": None})


def forget_told(connection: Connection, which: Any) -> None:
    """Of messages that will not arrive nobody knows what their clients think, so that the next verdict is news."""
    missed = select(outbox.c.comment_id).where(which, outbox.c.told_spam.is_not(None))
    query = update(akismet_answers).where(akismet_answers.c.comment_id.in_(missed))
    connection.execute(query.values(told_spam=None))


def heard_late(connection: Connection, webhook_row: int, answer: AkismetAnswer, now: datetime) -> None:
    """After a message has arrived that was out of date by then: tell what is so, where that is something else."""
    query = select(comments.c.id.label("comment"), sites.c.id.label("site"), sites.c.url)
    query = query.select_from(webhooks.join(sites).join(comments, comments.c.site_id == sites.c.id))
    query = query.where(webhooks.c.id == webhook_row, comments.c.external_id == answer.comment)
    row = connection.execute(query).first()
    if row is not None:
        site = Site(row.site, row.url)
        _note(
            connection, site, row.comment, now, {"checked_spam": None, "told_spam": answer.is_spam, "held_spam": None}
        )
        tell(connection, site, row.comment, now)


def _answer_now(status: Status, held_spam: bool | None) -> bool | None:
    answers: dict[Status, bool | None] = {"rejected": True, "published": False, "held": held_spam}
    return answers.get(status)


_STANDING = (
    select(comments.c.status, akismet_answers.c.told_spam, akismet_answers.c.held_spam)
    .outerjoin(akismet_answers, akismet_answers.c.comment_id == comments.c.id)
    .where(comments.c.id == bindparam("comment"), comments.c.external_id.startswith(AKISMET_ID, autoescape=True))
)
_FORGET_HELD = (
    update(akismet_answers).where(akismet_answers.c.comment_id == bindparam("comment")).values(held_spam=None)
)
# What waits to be told is out of date once a client was told otherwise, or has said something itself.
_DROP = delete(outbox).where(
    outbox.c.comment_id == bindparam("comment"),
    outbox.c.told_spam.is_not(None),
    outbox.c.next_attempt_at.is_not(None),
)
_WHO_HEARS = (
    select(webhooks.c.id)
    .where(webhooks.c.site_id == bindparam("site"), webhooks.c.disabled_at.is_(None), webhooks.c.format == AKISMET)
    # None of them can be removed until the rows that refer to it are written.
    .with_for_update(read=True, key_share=True)
)


def _note(connection: Connection, site: Site, comment_row: int, now: datetime, note: dict[str, bool | None]) -> None:
    row = {"site_id": site.row, "comment_id": comment_row, "at": now, **note}
    connection.execute(_upsert(connection.dialect.name), row)


@cache
def _upsert(dialect: str) -> Insert:
    """A row that is new, or what it says of one that is there: the first check stays, what was left out does too."""
    table = akismet_answers
    query = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    new, old = query.excluded, table.c
    changes = {
        "checked_spam": func.coalesce(old.checked_spam, new.checked_spam),
        "held_spam": func.coalesce(new.held_spam, old.held_spam),
        "told_spam": new.told_spam,
    }
    return query.on_conflict_do_update(index_elements=["comment_id"], set_=changes)
