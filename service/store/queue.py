"""The queue: opening and closing entries, claiming them, and pages of what waits.

Functions that take a connection work inside a transaction which holds the site's turn.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Alias,
    Column,
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
    literal,
    or_,
    select,
    tuple_,
    update,
)

from moderation.policy_schema import fold
from service.errors import EntryTaken, InvalidRequest, NotFound
from service.statuses import Sort, Status
from service.store import engine as connections
from service.store.campaigns import find_campaign
from service.store.records import Priority, QueueEntry, QueueFilter, QueuePage, Site, Why
from service.store.rows import is_current, read_stored, select_stored
from service.store.tables import (
    comment_versions,
    comments,
    moderators,
    post_versions,
    posts,
    queue_entries,
    queue_reasons,
)

CLAIM_SECONDS = 600.0
"""How long a moderator holds what was claimed, unless it is decided or given back before."""

MAX_PAGE = 200

Holder = int | str
"""Who holds an entry: the row of a moderator of ours, or the name of somebody who moderates elsewhere."""

UNCLAIMED: Mapping[str, Any] = {"claimed_by": None, "claimed_for": None, "claimed_until": None}

_TRIES = 32
_READERS_PER_REPORT = 5
_MOST_READERS = 100
# What an edit leaves standing: people's wishes for a look. The machine's reasons are those of the new decision.
OUTLIVES_EDIT = frozenset({"reported", "appealed"})


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
    reason it is closed. A comment whose text is not kept has no entry.
    """
    present = connection.execute(select(queue_entries).where(queue_entries.c.comment_id == comment_row)).first()
    is_open = present is not None and present.closed_at is None
    kept = _reasons(connection, [present.id]).get(present.id, []) if present is not None and is_open else []
    new = {why.name for why in whys}
    whys = [why for why in kept if why.name in keep and why.name not in new] + list(whys)
    if not whys and not is_open:
        return
    version = connection.execute(_current_version(comment_row)).one()
    if not whys or version.text is None:
        if is_open:
            close_entries(connection, [comment_row], now)
        return
    reports = max(reports, present.reports if present is not None and is_open else 0)
    readers = _readers(connection, version, status, reports)
    row = {
        "site_id": version.site_id,
        "comment_id": comment_row,
        "opened_at": present.opened_at if present is not None and is_open else now,
        "closed_at": None,
        "category": priority.category,
        "score": priority.score,
        "harm": priority.harm,
        "urgency": priority.harm * readers,
        "teaching": priority.teaching,
        "reports": reports,
        "campaign": find_campaign(connection, comment_row),
        "post_id": version.post_id,
        "author_id": version.author_id,
        "lang": version.lang,
        "folded_text": fold(version.text),
    }
    if is_edit or not is_open:
        row |= UNCLAIMED
    if present is None:
        entry = connection.execute(insert(queue_entries).values(row).returning(queue_entries.c.id)).scalar_one()
    else:
        entry = present.id
        connection.execute(update(queue_entries).where(queue_entries.c.id == entry).values(row))
        connection.execute(delete(queue_reasons).where(queue_reasons.c.entry_id == entry))
    rows = [{"entry_id": entry, **_write_why(why), "at": now} for why in whys]
    connection.execute(insert(queue_reasons), rows)


def close_entries(connection: Connection, comment_rows: Sequence[int], now: datetime) -> None:
    """Close what is open of these comments, whoever holds it. Their reasons stay, so that an undo can open it again."""
    of_them = queue_entries.c.comment_id.in_(comment_rows)
    closed = {**UNCLAIMED, "closed_at": now}
    connection.execute(update(queue_entries).where(of_them, queue_entries.c.closed_at.is_(None)).values(closed))


def is_free(holder: Holder, now: datetime) -> ColumnElement[bool]:
    """Entries that wait and that nobody else holds: what a claim and a verdict on an entry are conditional on."""
    entry = queue_entries.c
    # Of an account that was deleted only the time is left.
    nobody = and_(entry.claimed_by.is_(None), entry.claimed_for.is_(None))
    return and_(entry.closed_at.is_(None), or_(nobody, entry.claimed_until <= now, _is_held_by(holder)))


def _is_held_by(holder: Holder) -> ColumnElement[bool]:
    return queue_entries.c.claimed_by == holder if isinstance(holder, int) else queue_entries.c.claimed_for == holder


def _current_version(comment_row: int) -> Select[Any]:
    version = comment_versions.c
    return (
        select(version.text, version.lang, comments.c.site_id, comments.c.post_id, comments.c.author_id)
        .join(comments, (comments.c.id == version.comment_id) & (comments.c.version == version.number))
        .where(comments.c.id == comment_row)
    )


def _readers(connection: Connection, version: Row[Any], status: Status, reports: int) -> int:
    """How many read a comment while it waits, by what the store can know: how lively its post is, and reports.

    Nobody does while it is not published; that counts as one, so that harm alone decides.
    """
    if status != "published":
        return 1
    beside = select(comments.c.id).where(comments.c.post_id == version.post_id, comments.c.status == "published")
    count = select(func.count()).select_from(beside.limit(_MOST_READERS).subquery())
    return 1 + connection.execute(count).scalar_one() + _READERS_PER_REPORT * reports


def _reasons(connection: Connection, entries: Sequence[int]) -> dict[int, list[Why]]:
    query = select(queue_reasons).where(queue_reasons.c.entry_id.in_(entries)).order_by(queue_reasons.c.id)
    found: dict[int, list[Why]] = {}
    for row in connection.execute(query):
        found.setdefault(row.entry_id, []).append(Why(row.name, row.detail, row.value, row.text))
    return found


def _write_why(why: Why) -> dict[str, Any]:
    return {"name": why.name, "detail": why.detail, "value": why.value, "text": why.text}


class Queue:
    """Reading the queue and holding entries of it."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def page(
        self,
        sites: Sequence[Site],
        wanted: QueueFilter | None = None,
        *,
        sort: Sort = "urgency",
        limit: int = 50,
        after: str | None = None,
    ) -> QueuePage:
        """A page of what waits on these sites, the first first; near-duplicates are one entry, the oldest of them.

        ``age`` begins with the oldest, every other ``sort`` with the highest. Raises ``InvalidRequest`` for a cursor
        that is not one of this sort.
        """
        limit = min(limit, MAX_PAGE)
        query = select_page(self._engine.dialect.name, sites, wanted or QueueFilter(), sort, after).limit(limit + 1)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query).all()
            entries = _read_entries(connection, [row.id for row in rows[:limit]])
        cursor = _write_cursor(sort, rows[limit - 1]) if len(rows) > limit else None
        return QueuePage(tuple(entries), cursor)

    def find(self, sites: Sequence[Site], entry: int) -> QueueEntry:
        """An entry that waits, whoever holds it.

        Raises ``EntryTaken`` where it was decided, ``NotFound`` where there is no such entry.
        """
        is_it = (queue_entries.c.id == entry) & queue_entries.c.site_id.in_(_rows(sites))
        with connections.reading(self._engine) as connection:
            row = connection.execute(select(queue_entries.c.closed_at).where(is_it)).first()
            if row is None:
                raise NotFound("there is no such entry in the queue of this site")
            found = _read_entries(connection, [entry]) if row.closed_at is None else []
        if not found:
            raise EntryTaken(is_decided=True)
        return found[0]

    def count(self, sites: Sequence[Site], wanted: QueueFilter | None = None) -> int:
        """How many comments wait on these sites, near-duplicates each for itself."""
        conditions = _conditions(self._engine.dialect.name, queue_entries, sites, wanted or QueueFilter())
        query = select(func.count()).where(queue_entries.c.site_id.in_(_rows(sites)), *conditions)
        with connections.reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def counts(self, sites: Sequence[Site]) -> dict[int, int]:
        """How many comments wait on each of these sites, by the site's row."""
        entry = queue_entries.c
        query = select(entry.site_id, func.count().label("size")).group_by(entry.site_id)
        query = query.where(entry.site_id.in_(_rows(sites)), entry.closed_at.is_(None))
        with connections.reading(self._engine) as connection:
            found = {row.site_id: row.size for row in connection.execute(query)}
        return {site.row: found.get(site.row, 0) for site in sites}

    def campaign(self, site: Site, campaign_of: int) -> list[QueueEntry]:
        """The entry with that row and all near-duplicates of it that wait, the oldest first, at most 200."""
        asked = select(queue_entries.c.campaign).where(
            queue_entries.c.id == campaign_of, queue_entries.c.site_id == site.row
        )
        query = (
            select(queue_entries.c.id)
            .where(or_(queue_entries.c.campaign == asked.scalar_subquery(), queue_entries.c.id == campaign_of))
            .where(queue_entries.c.site_id == site.row, queue_entries.c.closed_at.is_(None))
            .order_by(queue_entries.c.id)
            .limit(MAX_PAGE)
        )
        with connections.reading(self._engine) as connection:
            return _read_entries(connection, connection.execute(query).scalars().all())

    def entries(self, rows: Sequence[int]) -> list[QueueEntry]:
        """The entries of these rows that have a text, in this order, decided ones too."""
        with connections.reading(self._engine) as connection:
            return _read_entries(connection, rows)

    def claim(self, sites: Sequence[Site], entry: int, holder: Holder, *, seconds: float = CLAIM_SECONDS) -> QueueEntry:
        """Hold an entry for somebody, who may hold it already and then holds it longer.

        Raises ``EntryTaken`` where somebody else holds it or it was decided, ``NotFound`` where there is no such entry,
        or no longer such a moderator.
        """
        if not self._hold(sites, entry, holder, seconds):
            is_it = (queue_entries.c.id == entry) & queue_entries.c.site_id.in_(_rows(sites))
            with connections.reading(self._engine) as connection:
                row = connection.execute(select(queue_entries.c.closed_at).where(is_it)).first()
            if row is None:
                raise NotFound("there is no such entry in the queue of this site")
            raise EntryTaken(is_decided=row.closed_at is not None)
        with connections.reading(self._engine) as connection:
            found = _read_entries(connection, [entry])
        if not found:
            raise EntryTaken(is_decided=True)
        return found[0]

    def claim_next(
        self,
        sites: Sequence[Site],
        holder: Holder,
        wanted: QueueFilter | None = None,
        *,
        sort: Sort = "urgency",
        seconds: float = CLAIM_SECONDS,
    ) -> QueueEntry | None:
        """Hold the first entry that nobody else holds; ``None`` where there is none."""
        while True:
            query = select_page(self._engine.dialect.name, sites, wanted or QueueFilter(), sort, None)
            query = query.where(is_free(holder, self._now())).limit(_TRIES)
            with connections.reading(self._engine) as connection:
                candidates = connection.execute(query).all()
            if not candidates:
                return None
            for candidate in candidates:
                try:
                    return self.claim(sites, candidate.id, holder, seconds=seconds)
                except EntryTaken:
                    continue

    def release(self, entry: int, holder: Holder, sites: Sequence[Site] | None = None) -> bool:
        """Give an entry (of one of these sites) back. False where ``holder`` does not hold it."""
        held = (queue_entries.c.id == entry) & _is_held_by(holder)
        if sites is not None:
            held &= queue_entries.c.site_id.in_(_rows(sites))
        with connections.writing(self._engine) as connection:
            return connection.execute(update(queue_entries).where(held).values(UNCLAIMED)).rowcount == 1

    def _hold(self, sites: Sequence[Site], entry: int, holder: Holder, seconds: float) -> bool:
        now = self._now()
        is_it = (queue_entries.c.id == entry) & queue_entries.c.site_id.in_(_rows(sites))
        # The condition is part of the update: of two who come at once, the second finds it no longer true.
        claimed = update(queue_entries).where(is_it, is_free(holder, now))
        named = {"claimed_by": holder} if isinstance(holder, int) else {"claimed_for": holder}
        with connections.writing(self._engine) as connection:
            if isinstance(holder, int) and not find_moderator(connection, holder):
                raise NotFound("there is no such moderator any more; sign in again")
            until = now + timedelta(seconds=seconds)
            held = connection.execute(claimed.values({**UNCLAIMED, **named, "claimed_until": until}))
            return held.rowcount == 1


def find_moderator(connection: Connection, row: int) -> bool:
    """Whether there is a moderator in that row, who then stays until the transaction ends."""
    query = select(moderators.c.id).where(moderators.c.id == row).with_for_update(read=True, key_share=True)
    return connection.execute(query).first() is not None


_SORTS: Mapping[Sort, tuple[str, bool]] = {
    "urgency": ("urgency", True),
    "age": ("opened_at", False),
    "score": ("score", True),
    "teaching": ("teaching", True),
}


def select_page(dialect: str, sites: Sequence[Site], wanted: QueueFilter, sort: Sort, after: str | None) -> Select[Any]:
    """Rows (id, place) of entries in order, one of each campaign: what a list of the queue shows."""
    name, falls = _SORTS[sort]
    entry = queue_entries.c
    other = queue_entries.alias("earlier")
    # Among what is wanted, or a campaign would vanish from a list that leaves its oldest comment out. Its site is not
    # asked again: a campaign is of one site, and SQLite would be tempted to go through all that waits there.
    earlier = exists().where(
        other.c.campaign == entry.campaign, other.c.id < entry.id, *_conditions(dialect, other, sites, wanted)
    )
    rows = _rows(sites)
    of_sites = entry.site_id == rows[0] if len(rows) == 1 else entry.site_id.in_(rows)
    query = select(entry.id, entry[name].label("place"))
    query = query.where(of_sites, *_conditions(dialect, queue_entries, sites, wanted))
    query = query.where(or_(entry.campaign.is_(None), ~earlier))
    if after is not None:
        place, row = _read_cursor(sort, after)
        here = tuple_(entry[name], entry.id)
        there = tuple_(literal(place, entry[name].type), literal(row, entry.id.type))
        query = query.where(here < there if falls else here > there)
    order: list[Any] = [entry[name], entry.id]
    return query.order_by(*(column.desc() for column in order) if falls else order)


def _conditions(
    dialect: str, table: Alias | Any, sites: Sequence[Site], wanted: QueueFilter
) -> list[ColumnElement[bool]]:
    entry = table.c
    conditions: list[ColumnElement[bool]] = [entry.closed_at.is_(None)]
    equal: dict[str, str | None] = {"category": wanted.category, "author_id": wanted.author, "lang": wanted.lang}
    conditions += [entry[name] == value for name, value in equal.items() if value is not None]
    if wanted.post is not None:
        known = select(posts.c.id).where(posts.c.site_id.in_(_rows(sites)), posts.c.external_id == wanted.post)
        conditions.append(entry.post_id.in_(known))
    if wanted.reason is not None:
        why = queue_reasons.alias()
        is_it = or_(why.c.name == wanted.reason, why.c.detail == wanted.reason)
        conditions.append(exists().where(why.c.entry_id == entry.id, is_it))
    if wanted.since is not None:
        conditions.append(entry.opened_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(entry.opened_at < wanted.until)
    if wanted.text:
        # Both compare code points, unlike LIKE, which knows capitals of ASCII on one and of a locale on the other.
        find = func.instr if dialect == "sqlite" else func.strpos
        conditions.append(find(entry.folded_text, fold(wanted.text)) > 0)
    return conditions


def _read_entries(connection: Connection, rows: Sequence[int]) -> list[QueueEntry]:
    """The entries of these rows, in this order; those that were closed or erased in between are left out."""
    if not rows:
        return []
    entry, version, said = queue_entries.c, comment_versions.c, post_versions.c
    columns: list[Column[Any]] = [version.text, version.kind, version.lang, version.url, version.author_id]
    query = (
        select_stored()
        .join(queue_entries, entry.comment_id == comments.c.id)
        .outerjoin(moderators, moderators.c.id == entry.claimed_by)
        .outerjoin(posts, posts.c.id == version.post_id)
        .outerjoin(post_versions, said.id == version.post_version_id)
        .add_columns(
            *columns,
            version.author_name,
            version.author_url,
            said.title,
            func.coalesce(moderators.c.name, entry.claimed_for).label("holder"),
        )
        .add_columns(posts.c.external_id.label("post_external_id"), entry.id.label("entry"), entry.campaign)
        .add_columns(entry.category, entry.score, entry.harm, entry.teaching, entry.urgency, entry.reports)
        .add_columns(entry.opened_at, entry.claimed_until)
        .where(entry.id.in_(rows), is_current(), version.text.is_not(None))
    )
    whys = _reasons(connection, rows)
    found = {row.entry: row for row in connection.execute(query)}
    counts = _count_campaigns(connection, {row.campaign for row in found.values() if row.campaign is not None})
    return [_read_entry(found[row], whys.get(row, []), counts) for row in rows if row in found]


def _count_campaigns(connection: Connection, campaigns: Collection[int]) -> dict[int, int]:
    entry = queue_entries.c
    query = select(entry.campaign, func.count().label("size")).where(entry.campaign.in_(campaigns))
    query = query.where(entry.closed_at.is_(None)).group_by(entry.campaign)
    return {row.campaign: row.size for row in connection.execute(query)} if campaigns else {}


def _read_entry(row: Row[Any], whys: Sequence[Why], counts: Mapping[int, int]) -> QueueEntry:
    return QueueEntry(
        row=row.entry,
        stored=read_stored(row),
        text=row.text,
        kind=row.kind,
        lang=row.lang,
        url=row.url,
        author_id=row.author_id,
        author_name=row.author_name,
        author_url=row.author_url,
        post_id=row.post_external_id,
        post_title=row.title,
        whys=tuple(whys),
        priority=Priority(row.category, row.score, row.harm, row.teaching),
        urgency=row.urgency,
        reports=row.reports,
        campaign_count=counts.get(row.campaign, 1),
        opened_at=row.opened_at,
        claimed_by=row.holder,
        claimed_until=row.claimed_until,
    )


def _rows(sites: Sequence[Site]) -> list[int]:
    return [site.row for site in sites]


def _write_cursor(sort: Sort, row: Row[Any]) -> str:
    place = row.place.isoformat() if isinstance(row.place, datetime) else row.place
    return base64.urlsafe_b64encode(json.dumps([sort, place, row.id]).encode()).decode().rstrip("=")


def _read_cursor(sort: Sort, cursor: str) -> tuple[float | datetime, int]:
    try:
        named, place, row = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        here = datetime.fromisoformat(place).astimezone(UTC) if sort == "age" else float(place)
        is_place = isinstance(here, datetime) or math.isfinite(here)
        is_ours = named == sort and is_place and isinstance(row, int) and 0 < row < 2**63
    except (ValueError, TypeError, OverflowError):
        is_ours = False
    if not is_ours:
        detail = {"field": "after", "message": "is not a cursor of this list"}
        raise InvalidRequest("after is not a cursor of this list; use the one that came with the last page", [detail])
    return here, row
