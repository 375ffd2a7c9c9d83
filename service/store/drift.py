"""Daily figures by site and category: how scores lay, how right lines were, and what was told of it. No text."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Engine, Float, Integer, Row, String, Table, Text, UniqueConstraint, func, insert, select

from moderation.comment import Tier
from service.statuses import DRIFT
from service.store import engine as connections
from service.store.columns import JSON_VALUE, metadata, row_id, to
from service.store.records import Alert, Site
from service.store.tables import comment_versions, decisions, outbox, sites, status_log, webhooks
from service.store.writing import insert_new

_AT_ONCE = 2000

drift_days = Table(
    "drift_days",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    Column("day", String(10), nullable=False),  # of UTC, as 2026-01-31
    Column("bundle", Text, nullable=False),
    Column("tier", String(16), nullable=False),
    Column("category", String(32), nullable=False),
    Column("comments", Integer, nullable=False),
    Column("bins", JSON_VALUE, nullable=False),  # how many scores lay between which edges
    Column("psi", Float),
    Column("unseen", Float),
    Column("lines", JSON_VALUE, nullable=False),
    Column("alerts", JSON_VALUE, nullable=False),  # [{name, text}]
    UniqueConstraint("site_id", "day", "bundle", "tier", "category"),
)


@dataclass(frozen=True, slots=True)
class DriftDay:
    """What a day showed of one category on one site, by the scores of one bundle and tier.

    ``psi`` is how far scores lay otherwise than in the weeks before, ``unseen`` the share (0 to 1) of words that the
    bundle had never met; both are ``None`` where it cannot be told. ``lines`` are figures at the policy's lines.
    """

    site: str
    day: str
    bundle: str
    tier: Tier
    category: str
    comments: int
    bins: tuple[int, ...]
    psi: float | None
    unseen: float | None
    lines: tuple[Mapping[str, Any], ...]
    alerts: tuple[Alert, ...]


class DriftDays:
    """Figures of days, and what they are made of."""

    def __init__(self, engine: Engine, now: Any) -> None:
        self._engine = engine
        self._now = now

    def has(self, site: Site, day: str, bundle: str, tier: Tier) -> bool:
        """Whether a day's figures are there."""
        row = drift_days.c
        query = select(row.id).where(row.site_id == site.row, row.day == day, row.bundle == bundle, row.tier == tier)
        with connections.reading(self._engine) as connection:
            return connection.execute(query.limit(1)).first() is not None

    def scores(
        self, site: Site, bundle: str, tier: Tier, since: datetime, until: datetime
    ) -> Iterator[Mapping[str, float | None]]:
        """What a bundle has scored of the comments that came in between two moments; read in pieces."""
        query = _select_first(decisions.c.scores, site, bundle, tier, since, until).order_by(status_log.c.id)
        after = 0
        while True:
            with connections.reading(self._engine) as connection:
                rows = connection.execute(query.where(status_log.c.id > after).limit(_AT_ONCE)).all()
            yield from (row.scores for row in rows if row.scores)
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].id

    def texts(
        self, site: Site, bundle: str, tier: Tier, since: datetime, until: datetime, *, limit: int
    ) -> list[tuple[str, str | None]]:
        """What these comments said and their language, as far as it is kept; the last ones."""
        version = comment_versions.c
        query = _select_first(version.text, site, bundle, tier, since, until).add_columns(version.lang)
        query = query.join(comment_versions, version.id == decisions.c.comment_version_id)
        query = query.where(version.text.is_not(None)).order_by(status_log.c.id.desc()).limit(limit)
        with connections.reading(self._engine) as connection:
            return [(row.text, row.lang) for row in connection.execute(query)]

    def add(self, site: Site, found: Sequence[DriftDay], *, tell: Sequence[str] = ()) -> None:
        """Keep the figures of a day, in one transaction; what is there already stays.

        Webhooks of the site that ask for it are told of the categories in ``tell``.
        """
        now = self._now()
        with connections.writing(self._engine) as connection:
            for each in found:
                row = {
                    "site_id": site.row,
                    "day": each.day,
                    "bundle": each.bundle,
                    "tier": each.tier,
                    "category": each.category,
                    "comments": each.comments,
                    "bins": list(each.bins),
                    "psi": each.psi,
                    "unseen": each.unseen,
                    "lines": [dict(line) for line in each.lines],
                    "alerts": [{"name": alert.name, "text": alert.text} for alert in each.alerts],
                }
                added = insert_new(connection, drift_days, row, ("site_id", "day", "bundle", "tier", "category"))
                if added is None or each.category not in tell:
                    continue
                hook = webhooks.c
                asked = select(hook.id, hook.events).where(hook.site_id == site.row, hook.disabled_at.is_(None))
                message = {"drift_id": added, "created_at": now, "next_attempt_at": now, "attempts": 0}
                rows = [
                    message | {"webhook_id": row.id, "public_id": f"msg_{secrets.token_urlsafe(16)}"}
                    for row in connection.execute(asked.with_for_update(read=True, key_share=True))
                    if DRIFT in row.events
                ]
                if rows:
                    connection.execute(insert(outbox), rows)

    def days(
        self, of: Sequence[Site], since: str, *, bundle: str | None = None, tier: Tier | None = None
    ) -> list[DriftDay]:
        """Figures of some sites from a day on, the latest day first."""
        row = drift_days.c
        query = select(drift_days, sites.c.url).join(sites, sites.c.id == row.site_id)
        query = query.where(row.site_id.in_([site.row for site in of]), row.day >= since)
        if bundle is not None:
            query = query.where(row.bundle == bundle)
        if tier is not None:
            query = query.where(row.tier == tier)
        with connections.reading(self._engine) as connection:
            return [_read(row) for row in connection.execute(query.order_by(row.day.desc(), row.id))]

    def alerts(self) -> dict[str, int]:
        """How many alerts of which name the figures of the last day say, over all sites; a day counts for two."""
        row, oldest = drift_days.c, (self._now() - timedelta(days=2)).date().isoformat()
        newest = select(func.max(row.day)).where(row.day >= oldest).scalar_subquery()
        counts: dict[str, int] = {}
        with connections.reading(self._engine) as connection:
            for found in connection.execute(select(row.alerts).where(row.day == newest)).scalars():
                for alert in found:
                    counts[alert["name"]] = counts.get(alert["name"], 0) + 1
        return counts


def _select_first(column: Any, site: Site, bundle: str, tier: Tier, since: datetime, until: datetime) -> Any:
    """Of each comment its first decision: by an index over first statuses."""
    first = status_log.c
    return (
        select(first.id, column)
        .join(decisions, decisions.c.id == first.decision_id)
        .where(first.site_id == site.row, first.old.is_(None), first.new.in_(("published", "held", "rejected")))
        .where(first.at >= since, first.at < until, decisions.c.bundle == bundle, decisions.c.tier == tier)
    )


def _read(row: Row[Any]) -> DriftDay:
    return DriftDay(
        site=row.url,
        day=row.day,
        bundle=row.bundle,
        tier=row.tier,
        category=row.category,
        comments=row.comments,
        bins=tuple(row.bins),
        psi=row.psi,
        unseen=row.unseen,
        lines=tuple(row.lines),
        alerts=tuple(Alert(each["name"], each["text"]) for each in row.alerts),
    )
