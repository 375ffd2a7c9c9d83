"""Near-duplicates across comments of a site: how many came in lately, and which campaign a new one belongs to.

Hashes are kept as long as the text that they were made of: :mod:`service.store.originals` looks further back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, insert, select, update

from service.store.records import Site
from service.store.tables import IS_JUDGED, near_hashes

CAMPAIGN_HOURS = 24
"""How far back a near-duplicate counts."""

MOST_COUNTED = 1000
"""A campaign is counted no further, so that a flood does not slow down the counting of it."""

_CAMPAIGN = (
    select(near_hashes.c.campaign)
    .where(near_hashes.c.comment_id == bindparam("comment"), near_hashes.c.at >= bindparam("since"))
    .limit(1)
)
_JOIN = insert(near_hashes)
_NOTE = update(near_hashes).where(near_hashes.c.comment_id == bindparam("comment"))
_SAID = (
    select(near_hashes.c.judged_at, near_hashes.c.is_spam)
    .where(near_hashes.c.comment_id == bindparam("comment"), IS_JUDGED)
    .limit(1)
)
_LEAVE = delete(near_hashes).where(near_hashes.c.comment_id == bindparam("comment"))


@dataclass(frozen=True, slots=True)
class Said:
    """What the last verdict on a text said, and when."""

    at: datetime
    is_spam: bool


def _is_near(bands: int) -> ColumnElement[bool]:
    """Shares one of so many hashes with a comment, and came in lately; :func:`_asked` gives the parameters."""
    # A parameter for each, and not one that is a list: SQLAlchemy would write the statement anew each time.
    shared = near_hashes.c.band.in_([bindparam(f"band_{number}") for number in range(bands)])
    return and_(near_hashes.c.site_id == bindparam("site"), shared, near_hashes.c.at >= bindparam("since"))


@cache
def _count(bands: int, *, is_edit: bool) -> Select[Any]:
    """How many comments are nearly identical, the comment itself not among them where this is an edit."""
    near = select(near_hashes.c.comment_id).distinct().where(_is_near(bands), near_hashes.c.is_question.is_(False))
    if is_edit:
        near = near.where(near_hashes.c.comment_id != bindparam("itself"))
    return select(func.count()).select_from(near.limit(MOST_COUNTED).subquery())


def count_near(connection: Connection, site: Site, bands: Sequence[int], itself: int | None, now: datetime) -> int:
    """How many other comments of a site came in lately that are nearly identical, at most ``MOST_COUNTED``.

    ``itself`` is the row of the comment where it is there already.
    """
    if not bands:
        return 0
    asked = _asked(site, bands, now) if itself is None else _asked(site, bands, now) | {"itself": itself}
    count: int = connection.execute(_count(len(bands), is_edit=itself is not None), asked).scalar_one()
    return count


@cache
def _latest(bands: int, *, is_copy: bool) -> Select[Any]:
    """The campaign of the last one that is nearly identical; for a copy one that its original is not in."""
    query = select(near_hashes.c.campaign).where(_is_near(bands))
    if is_copy:
        query = query.where(near_hashes.c.campaign != bindparam("original"))
    return query.order_by(near_hashes.c.id.desc()).limit(1)


def join_campaign(
    connection: Connection,
    site: Site,
    comment_row: int,
    version_row: int,
    bands: Sequence[int],
    now: datetime,
    *,
    original: int | None = None,
    said: Said | None = None,
    is_question: bool = False,
) -> int | None:
    """Remember a comment's hashes as part of the campaign of its like, and which one that is; ``None`` without hashes.

    A campaign is named by the row of the version that it began with: a comment that is edited begins another one, and
    leaves that of its text before to the others. :func:`leave_campaign` comes first then. A copy stays out of the
    campaign ``original``: nobody is to reject the one who was copied together with those who did it. ``said`` is what
    was said of a text before that says the same. A question joins a campaign, and is not counted among it.
    """
    if not bands:
        return None
    asked = _asked(site, bands, now) if original is None else _asked(site, bands, now) | {"original": original}
    found: int | None = connection.execute(_latest(len(bands), is_copy=original is not None), asked).scalar()
    campaign = version_row if found is None else found
    row = {"site_id": site.row, "comment_id": comment_row, "campaign": campaign, "at": now}
    row |= {"judged_at": said and said.at, "is_spam": said and said.is_spam, "is_question": is_question}
    connection.execute(_JOIN, [row | {"band": band} for band in bands])
    return campaign


def note_said(connection: Connection, comment_row: int, said: Said | None) -> None:
    """What the standing verdict on a comment says, by which what says the same again is known; ``None`` without one."""
    values = {"judged_at": said and said.at, "is_spam": said and said.is_spam}
    connection.execute(_NOTE, {"comment": comment_row, **values})


def leave_campaign(connection: Connection, comment_row: int) -> None:
    """Forget the hashes of a comment."""
    connection.execute(_LEAVE, {"comment": comment_row})


def read_said(connection: Connection, comment_row: int) -> Said | None:
    """What the standing verdict on a comment said; ``None`` without one, and of a text too short to have hashes."""
    row = connection.execute(_SAID, {"comment": comment_row}).first()
    return None if row is None else Said(row.judged_at, row.is_spam)


def find_campaign(connection: Connection, comment_row: int, now: datetime) -> int | None:
    """The campaign of a comment; ``None`` where its text is too short to have one, or came in too long ago."""
    asked = {"comment": comment_row, "since": now - timedelta(hours=CAMPAIGN_HOURS)}
    campaign: int | None = connection.execute(_CAMPAIGN, asked).scalar()
    return campaign


def _asked(site: Site, bands: Sequence[int], now: datetime) -> dict[str, Any]:
    hashes = {f"band_{number}": band for number, band in enumerate(bands)}
    return {"site": site.row, "since": now - timedelta(hours=CAMPAIGN_HOURS), **hashes}
