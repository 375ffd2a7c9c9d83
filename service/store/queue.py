"""The queue: pages of what waits, and taking from it. What opens, holds and closes an entry is in ``entries``."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Alias,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from moderation.policy_schema import fold
from service.errors import EntryTaken, InvalidRequest, NotFound
from service.statuses import SECOND_LOOK, Sort
from service.store import engine as connections
from service.store.entries import (
    CLAIM_SECONDS,
    UNCLAIMED,
    Holder,
    hold,
    is_free,
    is_held_by,
    is_second_look,
    read_whys,
)
from service.store.offers import Offers, read_offers
from service.store.records import Priority, QueueEntry, QueueFilter, QueuePage, Site, Why
from service.store.review_tables import moderators, queue_entries, queue_reasons
from service.store.rows import is_current, read_stored, select_stored
from service.store.tables import comment_versions, comments, post_versions, posts

MAX_PAGE = 200

_TRIES = 32


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

    def offers(self, sites: Sequence[Site]) -> Offers:
        """What a filter can offer: the policy's reasons, authors and posts of the most urgent of what waits."""
        return read_offers(self._engine, sites)

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
        now = self._now()
        is_it = (queue_entries.c.id == entry) & queue_entries.c.site_id.in_(_rows(sites))
        with connections.writing(self._engine) as connection:
            is_held = hold(connection, is_it, holder, now=now, seconds=seconds)
        if not is_held:
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
        held = (queue_entries.c.id == entry) & is_held_by(holder)
        if sites is not None:
            held &= queue_entries.c.site_id.in_(_rows(sites))
        with connections.writing(self._engine) as connection:
            return connection.execute(update(queue_entries).where(held).values(UNCLAIMED)).rowcount == 1


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
    equal: dict[str, str | None] = {"category": wanted.category, "author_id": wanted.author}
    conditions += [entry[name] == value for name, value in equal.items() if value is not None]
    if wanted.who is not None:
        conditions.append(or_(entry.author_id == wanted.who, _is_called(entry.comment_id, wanted.who)))
    if wanted.lang is not None:
        # Codes are compared as they are meant (RFC 5646): whatever the capitals, and a language with all its regions.
        lang, asked = func.replace(func.lower(entry.lang), "_", "-"), wanted.lang.strip().lower().replace("_", "-")
        conditions.append(or_(lang == asked, lang.startswith(f"{asked}-", autoescape=True)))
    if wanted.post is not None:
        known = select(posts.c.id).where(posts.c.site_id.in_(_rows(sites)), posts.c.external_id == wanted.post)
        conditions.append(entry.post_id.in_(known))
    if wanted.reason is not None:
        why = queue_reasons.alias()
        is_it = or_(why.c.name == wanted.reason, why.c.detail == wanted.reason)
        if wanted.reason == SECOND_LOOK:
            is_it = why.c.name == SECOND_LOOK
        conditions.append(exists().where(why.c.entry_id == entry.id, is_it))
    # Whoever looks a second time is told nothing by the filter that found the comment either.
    if (wanted.reason not in (None, SECOND_LOOK) or wanted.category is not None) or not wanted.second_looks:
        conditions.append(~is_second_look(table))
    if wanted.since is not None:
        conditions.append(entry.opened_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(entry.opened_at < wanted.until)
    if wanted.text:
        # Both compare code points, unlike LIKE, which knows capitals of ASCII on one and of a locale on the other.
        find = func.instr if dialect == "sqlite" else func.strpos
        conditions.append(find(entry.folded_text, fold(wanted.text)) > 0)
    return conditions


def _is_called(comment: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """Comments whose author has that name now. Only what waits is looked at, as when words are looked for."""
    version, of = comment_versions.alias().c, comments.alias().c
    is_current_one = (of.id == comment) & (version.comment_id == of.id) & (version.number == of.version)
    # Both sides by the same function: of letters beyond ASCII SQLite knows no capitals, but equal ones stay equal.
    return exists().where(is_current_one, func.lower(version.author_name) == func.lower(name))


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
    whys = read_whys(connection, rows)
    found = {row.entry: row for row in connection.execute(query)}
    counts = _count_campaigns(connection, {row.campaign for row in found.values() if row.campaign is not None})
    return [_read_entry(found[row], whys.get(row, []), counts) for row in rows if row in found]


def _count_campaigns(connection: Connection, campaigns: Collection[int]) -> dict[int, int]:
    entry = queue_entries.c
    query = select(entry.campaign, func.count().label("size")).where(entry.campaign.in_(campaigns))
    query = query.where(entry.closed_at.is_(None)).group_by(entry.campaign)
    return {row.campaign: row.size for row in connection.execute(query)} if campaigns else {}


def _read_entry(row: Row[Any], whys: Sequence[Why], counts: Mapping[int, int]) -> QueueEntry:
    # What else it has was answered by the verdict that is looked at again, and would give that away.
    blind = [why for why in whys if why.name == SECOND_LOOK]
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
        whys=tuple(blind or whys),
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
