"""How many comments came in through a dialect, what was decided about them, and what its clients said of it later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, func, select

from service.statuses import VerdictAction
from service.store import engine as connections
from service.store.records import Site
from service.store.review_tables import verdicts
from service.store.tables import comment_versions, comments, decisions

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Fired:
    """A comment that was held or rejected when it came in, by the reasons of these names."""

    reasons: frozenset[str]
    is_rejected: bool


class Traffic:
    """Counts per site and dialect, by the beginning of the ids that the dialect gives to comments."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first(self, site: Site, prefix: str) -> datetime | None:
        """When the first comment came in; ``None`` where there is none."""
        query = select(func.min(comments.c.created_at)).where(_of(site, prefix))
        with connections.reading(self._engine) as connection:
            return connection.execute(query).scalar()

    def published(self, site: Site, prefix: str, since: datetime, until: datetime) -> int:
        """How many came in from ``since`` to before ``until`` and were published at once."""
        query = _decided(site, prefix, since, until, func.count()).where(decisions.c.action == "publish")
        with connections.reading(self._engine) as connection:
            return connection.execute(query).scalar() or 0

    def fired(self, site: Site, prefix: str, since: datetime, until: datetime) -> Iterator[Fired]:
        """The others that came in meanwhile, in pages: how many there are is not known before."""
        after = 0
        while True:
            page = _decided(site, prefix, since, until, decisions.c.id, decisions.c.action, decisions.c.reasons)
            page = page.where(decisions.c.action != "publish", decisions.c.id > after)
            with connections.reading(self._engine) as connection:
                rows = connection.execute(page.order_by(decisions.c.id).limit(_AT_ONCE)).all()
            for row in rows:
                fired = frozenset(reason["name"] for reason in row.reasons if reason["fired"])
                yield Fired(fired, row.action == "reject")
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].id

    def said(self, site: Site, source: str, action: VerdictAction, since: datetime, until: datetime) -> int:
        """How many verdicts of that kind were given through ``source``; those that were taken back do not count."""
        query = select(func.count()).where(verdicts.c.site_id == site.row, verdicts.c.source == source)
        query = query.where(verdicts.c.action == action, verdicts.c.undone_at.is_(None))
        query = query.where(verdicts.c.at >= since, verdicts.c.at < until)
        with connections.reading(self._engine) as connection:
            return connection.execute(query).scalar() or 0


def _of(site: Site, prefix: str) -> ColumnElement[bool]:
    return (comments.c.site_id == site.row) & comments.c.external_id.startswith(prefix, autoescape=True)


def _decided(site: Site, prefix: str, since: datetime, until: datetime, *columns: Any) -> Select[Any]:
    """The first decisions about comments that came in meanwhile."""
    return (
        select(*columns)
        .select_from(comments)
        .join(comment_versions, (comment_versions.c.comment_id == comments.c.id) & (comment_versions.c.number == 1))
        .join(decisions, decisions.c.comment_version_id == comment_versions.c.id)
        .where(_of(site, prefix), comments.c.created_at >= since, comments.c.created_at < until)
    )
