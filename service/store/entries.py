"""Entries of the queue: opening, holding and closing them.

Functions that take a connection work inside a transaction. Whoever opens or closes an entry holds the site's turn;
holding one needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, insert, or_, select, update

from moderation.policy_schema import fold
from service.errors import NotFound
from service.statuses import SECOND_LOOK, Status
from service.store.campaigns import find_campaign
from service.store.records import Priority, Why
from service.store.review_tables import moderators, queue_entries, queue_reasons
from service.store.tables import comment_versions, comments
from service.store.writing import insert_row

CLAIM_SECONDS = 600.0
"""How long a moderator holds what was claimed, unless it is decided or given back before."""

Holder = int | str
"""Who holds an entry: the row of a moderator of ours, or the name of somebody who moderates elsewhere."""

UNCLAIMED: Mapping[str, Any] = {"claimed_by": None, "claimed_for": None, "claimed_until": None}

_READERS_PER_REPORT = 5
_MOST_READERS = 100
# What an edit leaves standing: people's wishes for a look. The machine's reasons are those of the new decision.
OUTLIVES_EDIT = frozenset({"reported", "appealed"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry repeats of its comment: rows of the site, the post and the campaign, and what was written."""

    site: int
    post: int | None
    author: str | None
    lang: str | None
    text: str
    campaign: int | None


def open_entry(
    connection: Connection,
    comment_row: int,
    whys: Sequence[Why],
    priority: Priority,
    subject: Subject,
    *,
    status: Status,
    now: datetime,
) -> None:
    """Open the entry of a comment that has never had one."""
    row = {**UNCLAIMED, "opened_at": now} | _write_entry(connection, comment_row, priority, subject, status, 0)
    entry = insert_row(connection, queue_entries, row)
    _put_whys(connection, entry, whys, now)


def put_entry(
    connection: Connection,
    comment_row: int,
    whys: Sequence[Why],
    priority: Priority,
    *,
    keep: Collection[str],
    status: Status,
    now: datetime,
    reports: int = 0,
    is_edit: bool = False,
) -> None:
    """Open a comment's entry, open it again, or bring an open one up to date, as the comment is now.

    An open entry keeps its reasons of the names ``keep`` and its age; a claim on it ends with an edit. Without any
    reason it is closed. A comment whose text is not kept has no entry. What waited for a second look is an ordinary
    entry from then on: its other reasons were answered by the verdict that was to be looked at.
    """
    present = connection.execute(_ENTRY, {"comment": comment_row}).first()
    is_open = present is not None and present.closed_at is None
    kept = read_whys(connection, [present.id]).get(present.id, []) if present is not None and is_open else []
    if any(why.name == SECOND_LOOK for why in kept):
        kept = []
    new = {why.name for why in whys}
    whys = [why for why in kept if why.name in keep and why.name not in new] + list(whys)
    if not whys and not is_open:
        return
    version = connection.execute(_CURRENT_VERSION, {"comment": comment_row}).one()
    if not whys or version.text is None:
        if is_open:
            close_entries(connection, [comment_row], now)
        return
    reports = max(reports, present.reports if present is not None and is_open else 0)
    # A second look is at one text alone.
    campaign = None if SECOND_LOOK in new else find_campaign(connection, comment_row, now)
    subject = Subject(version.site_id, version.post_id, version.author_id, version.lang, version.text, campaign)
    row = _write_entry(connection, comment_row, priority, subject, status, reports)
    row["opened_at"] = present.opened_at if present is not None and is_open else now
    if is_edit or not is_open:
        row |= UNCLAIMED
    if present is None:
        entry = insert_row(connection, queue_entries, row)
    else:
        entry = present.id
        connection.execute(update(queue_entries).where(queue_entries.c.id == entry).values(row))
        connection.execute(delete(queue_reasons).where(queue_reasons.c.entry_id == entry))
    _put_whys(connection, entry, whys, now)


_ENTRY = select(queue_entries).where(queue_entries.c.comment_id == bindparam("comment"))
_CURRENT_VERSION = (
    select(comment_versions.c.text, comment_versions.c.lang)
    .add_columns(comments.c.site_id, comments.c.post_id, comments.c.author_id)
    .join(
        comments,
        (comments.c.id == comment_versions.c.comment_id) & (comments.c.version == comment_versions.c.number),
    )
    .where(comments.c.id == bindparam("comment"))
)


def _write_entry(
    connection: Connection, comment_row: int, priority: Priority, subject: Subject, status: Status, reports: int
) -> dict[str, Any]:
    """The columns of an open entry, without when it was opened and who holds it."""
    return {
        "site_id": subject.site,
        "comment_id": comment_row,
        "closed_at": None,
        "category": priority.category,
        "score": priority.score,
        "harm": priority.harm,
        "urgency": priority.harm * _readers(connection, subject.post, status, reports),
        "teaching": priority.teaching,
        "reports": reports,
        "campaign": subject.campaign,
        "post_id": subject.post,
        "author_id": subject.author,
        "lang": subject.lang,
        "folded_text": fold(subject.text),
    }


def _put_whys(connection: Connection, entry: int, whys: Sequence[Why], now: datetime) -> None:
    rows = [
        {"entry_id": entry, "name": why.name, "detail": why.detail, "value": why.value, "text": why.text, "at": now}
        for why in whys
    ]
    connection.execute(_WHYS, rows)


_WHYS = insert(queue_reasons)


def bring_back(connection: Connection, comment_row: int, whys: Sequence[Why], now: datetime) -> None:
    """Have an open entry wait for these reasons too, as far as it does not; a verdict that answered them is undone."""
    entry = connection.execute(_ENTRY, {"comment": comment_row}).one().id
    waits_for = {why.name for why in read_whys(connection, [entry]).get(entry, [])}
    if missing := [why for why in whys if why.name not in waits_for]:
        _put_whys(connection, entry, missing, now)


def close_entries(connection: Connection, comment_rows: Sequence[int], now: datetime) -> None:
    """Close what is open of these comments, whoever holds it. Their reasons stay, so that an undo can open it again."""
    of_them = queue_entries.c.comment_id.in_(comment_rows)
    closed = {**UNCLAIMED, "closed_at": now}
    connection.execute(update(queue_entries).where(of_them, queue_entries.c.closed_at.is_(None)).values(closed))


def drop_second_look(connection: Connection, comment_row: int, now: datetime, *, is_answered: bool) -> bool:
    """End the wait for a second look, where there is one, since the verdict that it was to follow was taken back.

    The entry waits on for the reasons that this verdict had answered, or closes where it had answered none. False
    where no second look waits.
    """
    blind = connection.execute(
        select(queue_entries.c.id).where(
            queue_entries.c.comment_id == comment_row, queue_entries.c.closed_at.is_(None), is_second_look()
        )
    ).scalar()
    if blind is None:
        return False
    of_it = (queue_reasons.c.entry_id == blind) & (queue_reasons.c.name == SECOND_LOOK)
    connection.execute(delete(queue_reasons).where(of_it))
    if is_answered:
        again = {**UNCLAIMED, "campaign": find_campaign(connection, comment_row, now)}
        connection.execute(update(queue_entries).where(queue_entries.c.id == blind).values(again))
    else:
        close_entries(connection, [comment_row], now)
    return True


def is_second_look(entry: Any = queue_entries) -> ColumnElement[bool]:
    """Entries that wait, or waited last, for a second look. ``entry`` is their table or an alias of it."""
    why = queue_reasons.alias()
    return exists().where(why.c.entry_id == entry.c.id, why.c.name == SECOND_LOOK)


def hold(connection: Connection, is_it: ColumnElement[bool], holder: Holder, *, now: datetime, seconds: float) -> bool:
    """Hold an entry for somebody. False where it is not free for them.

    Raises ``NotFound`` where there is no longer such a moderator.
    """
    # The condition is part of the update: of two who come at once, the second finds it no longer true.
    claimed = update(queue_entries).where(is_it, is_free(holder, now))
    named = {"claimed_by": holder} if isinstance(holder, int) else {"claimed_for": holder}
    if isinstance(holder, int) and not find_moderator(connection, holder):
        raise NotFound("there is no such moderator any more; sign in again")
    until = now + timedelta(seconds=seconds)
    return connection.execute(claimed.values({**UNCLAIMED, **named, "claimed_until": until})).rowcount == 1


def is_free(holder: Holder, now: datetime) -> ColumnElement[bool]:
    """Entries that wait and that nobody else holds: what a claim and a verdict on an entry are conditional on."""
    entry = queue_entries.c
    # Of an account that was deleted only the time is left.
    nobody = and_(entry.claimed_by.is_(None), entry.claimed_for.is_(None))
    return and_(entry.closed_at.is_(None), or_(nobody, entry.claimed_until <= now, is_held_by(holder)))


def is_held_by(holder: Holder) -> ColumnElement[bool]:
    """Entries that somebody has claimed, for however long."""
    return queue_entries.c.claimed_by == holder if isinstance(holder, int) else queue_entries.c.claimed_for == holder


def find_moderator(connection: Connection, row: int) -> bool:
    """Whether there is a moderator in that row, who then stays until the transaction ends."""
    query = select(moderators.c.id).where(moderators.c.id == row).with_for_update(read=True, key_share=True)
    return connection.execute(query).first() is not None


def read_whys(connection: Connection, entries: Sequence[int]) -> dict[int, list[Why]]:
    """Why each of these entries was opened, by its row."""
    query = select(queue_reasons).where(queue_reasons.c.entry_id.in_(entries)).order_by(queue_reasons.c.id)
    found: dict[int, list[Why]] = {}
    for row in connection.execute(query):
        found.setdefault(row.entry_id, []).append(Why(row.name, row.detail, row.value, row.text))
    return found


def _readers(connection: Connection, post_row: int | None, status: Status, reports: int) -> int:
    """How many read a comment while it waits, by what the store can know: how lively its post is, and reports.

    Nobody does while it is not published; that counts as one, so that harm alone decides.
    """
    if status != "published":
        return 1
    # Comments without a post have nothing else in common.
    beside = 0 if post_row is None else connection.execute(_BESIDE, {"post": post_row}).scalar_one()
    return 1 + beside + _READERS_PER_REPORT * reports


_BESIDE = select(func.count()).select_from(
    select(comments.c.id)
    .where(comments.c.post_id == bindparam("post"), comments.c.status == "published")
    .limit(_MOST_READERS)
    .subquery()
)
