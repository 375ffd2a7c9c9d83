"""Near-duplicates across comments of a site: how many came in lately, and which campaign a new one belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from service.store.records import Site
from service.store.tables import comments, near_hashes

CAMPAIGN_HOURS = 24
"""How far back a near-duplicate counts."""

MOST_COUNTED = 1000
"""A campaign is counted no further, so that a flood does not slow down the counting of it."""


def count_near(connection: Connection, site: Site, bands: Sequence[int], comment_id: str | None, now: datetime) -> int:
    """How many other comments of a site came in lately that are nearly identical, at most ``MOST_COUNTED``."""
    if not bands:
        return 0
    near = select(near_hashes.c.comment_id).distinct().where(_is_near(site, bands, now))
    if comment_id is not None:
        itself = select(comments.c.id).where(comments.c.site_id == site.row, comments.c.external_id == comment_id)
        near = near.where(near_hashes.c.comment_id.not_in(itself))
    return connection.execute(select(func.count()).select_from(near.limit(MOST_COUNTED).subquery())).scalar_one()


def join_campaign(
    connection: Connection, site: Site, comment_row: int, version_row: int, bands: Sequence[int], now: datetime
) -> None:
    """Remember a comment's hashes, in place of those of its text before, as part of the campaign of its like.

    A campaign is named by the row of the version that it began with: a comment that is edited begins another one, and
    leaves that of its text before to the others.
    """
    connection.execute(delete(near_hashes).where(near_hashes.c.comment_id == comment_row))
    if not bands:
        return
    latest = select(near_hashes.c.campaign).where(_is_near(site, bands, now)).order_by(near_hashes.c.id.desc())
    found: int | None = connection.execute(latest.limit(1)).scalar()
    campaign = version_row if found is None else found
    row = {"site_id": site.row, "comment_id": comment_row, "campaign": campaign, "at": now}
    connection.execute(insert(near_hashes), [row | {"band": band} for band in bands])


def find_campaign(connection: Connection, comment_row: int) -> int | None:
    """The campaign of a comment; ``None`` where its text is too short to have one, or came in too long ago."""
    query = select(near_hashes.c.campaign).where(near_hashes.c.comment_id == comment_row).limit(1)
    campaign: int | None = connection.execute(query).scalar()
    return campaign


def forget_hashes(connection: Connection, site: Site, now: datetime, limit: int) -> int:
    """Drop hashes that are too old to count; how many, at most ``limit``."""
    old = now - timedelta(hours=CAMPAIGN_HOURS)
    some = select(near_hashes.c.id).where(near_hashes.c.site_id == site.row, near_hashes.c.at < old)
    # Rows are numbered in the order in which they came, so the oldest are the first.
    some = some.order_by(near_hashes.c.id).limit(limit)
    return connection.execute(delete(near_hashes).where(near_hashes.c.id.in_(some.scalar_subquery()))).rowcount


def _is_near(site: Site, bands: Sequence[int], now: datetime) -> ColumnElement[bool]:
    since = now - timedelta(hours=CAMPAIGN_HOURS)
    return and_(near_hashes.c.site_id == site.row, near_hashes.c.band.in_(bands), near_hashes.c.at >= since)
