"""How many comments were checked in the protocol of Akismet, what was answered, and what its clients said of it later.

Each count reads as much of one index as lies in the period.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, func, select

from service.statuses import VerdictAction
from service.store import engine as connections
from service.store.records import Site
from service.store.review_tables import verdicts
from service.store.tables import akismet_answers


class Traffic:
    """Counts per site."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first(self, site: Site) -> datetime | None:
        """When the first comment was checked; ``None`` where there is none."""
        with connections.reading(self._engine) as connection:
            return connection.execute(first_check(site)).scalar()

    def checked(self, site: Site, since: datetime, until: datetime) -> tuple[int, int]:
        """How many were checked first from ``since`` to before ``until``: those that were spam, and the others."""
        with connections.reading(self._engine) as connection:
            counts = {row.checked_spam: row.size for row in connection.execute(count_checks(site, since, until))}
        return counts.get(True, 0), counts.get(False, 0)

    def said(self, site: Site, source: str, action: VerdictAction, since: datetime, until: datetime) -> int:
        """How many verdicts of that kind were given through ``source``; those that were taken back do not count."""
        with connections.reading(self._engine) as connection:
            return connection.execute(count_verdicts(site, source, action, since, until)).scalar() or 0


def first_check(site: Site) -> Select[Any]:
    """The moment of the first check of a site."""
    answer = akismet_answers.c
    query = select(answer.at).where(answer.site_id == site.row, answer.checked_spam.is_not(None))
    return query.order_by(answer.at).limit(1)


def count_checks(site: Site, since: datetime, until: datetime) -> Select[Any]:
    """Checks of a period by what they were answered."""
    answer = akismet_answers.c
    query = select(answer.checked_spam, func.count().label("size")).where(answer.site_id == site.row)
    return query.where(answer.at >= since, answer.at < until).group_by(answer.checked_spam)


def count_verdicts(site: Site, source: str, action: VerdictAction, since: datetime, until: datetime) -> Select[Any]:
    """Verdicts of a period that were given through a source and stand."""
    query = select(func.count()).where(verdicts.c.site_id == site.row, verdicts.c.source == source)
    query = query.where(verdicts.c.action == action, verdicts.c.undone_at.is_(None))
    return query.where(verdicts.c.at >= since, verdicts.c.at < until)
