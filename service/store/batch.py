"""What waits, by score: how many there are, and those within a range, to be judged together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, Float, Integer, Select, cast, func, select

from service.store import engine as connections
from service.store.entries import is_second_look
from service.store.records import Site
from service.store.review_tables import queue_entries
from service.store.tables import comment_versions, comments

BINS = 100
"""A range of scores begins and ends at a whole percent."""

# A score of exactly 0.29 lies in the bin that begins there, although 0.29 x 100 is a little less than 29 in a computer.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that waits, with the digest of its text as it is now, and its site's row."""

    row: int
    digest: str
    site: int


class Batches:
    """Reading what waits by category and score."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def categories(self, sites: Sequence[Site]) -> dict[str | None, int]:
        """How many wait by the category that matters most in them; ``None`` are those that have no score."""
        query = select(queue_entries.c.category, func.count().label("size")).where(*_waiting(sites))
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.group_by(queue_entries.c.category))
            return {row.category: row.size for row in rows}

    def bins(self, sites: Sequence[Site], category: str) -> list[int]:
        """How many of a category wait in each hundredth of the scores; the last one holds those of exactly 1 too."""
        scaled = queue_entries.c.score * BINS + _SLACK
        # SQLite cuts off what is behind the point, PostgreSQL would round it.
        cut = scaled if self._engine.dialect.name == "sqlite" else func.floor(scaled)
        number = cast(cut, Integer).label("number")
        query = select(number, func.count().label("size")).where(*_waiting(sites), queue_entries.c.category == category)
        counts = [0] * BINS
        with connections.reading(self._engine) as connection:
            for row in connection.execute(query.group_by(number)):
                counts[min(row.number, BINS - 1)] += row.size
        return counts

    def inside(self, sites: Sequence[Site], category: str, low: int, high: int, *, limit: int) -> list[Waiting]:
        """Entries whose score is in the percents from ``low`` up to and without ``high`` (100 included), highest first.

        Whose text is not kept cannot be read, and is not among them.
        """
        entry, version = queue_entries.c, comment_versions.c
        query = (
            _select_waiting()
            .where(*_waiting(sites), entry.category == category, version.text.is_not(None))
            .where(entry.score >= _edge(low))
            .order_by(entry.score.desc(), entry.id.desc())
            .limit(limit)
        )
        if high < BINS:
            query = query.where(entry.score < _edge(high))
        with connections.reading(self._engine) as connection:
            return [Waiting(row.id, row.digest, row.site_id) for row in connection.execute(query)]

    def find(self, sites: Sequence[Site], rows: Sequence[int]) -> Mapping[int, Waiting]:
        """Those of the rows that are entries of these sites, whether they still wait or not."""
        entry = queue_entries.c
        query = _select_waiting().where(entry.site_id.in_([site.row for site in sites]), entry.id.in_(rows))
        with connections.reading(self._engine) as connection:
            return {row.id: Waiting(row.id, row.digest, row.site_id) for row in connection.execute(query)}


def _select_waiting() -> Select[Any]:
    version = comment_versions.c
    return (
        select(queue_entries.c.id, queue_entries.c.site_id, version.digest)
        .join(comments, comments.c.id == queue_entries.c.comment_id)
        .join(comment_versions, (version.comment_id == comments.c.id) & (version.number == comments.c.version))
    )


def _waiting(sites: Sequence[Site]) -> list[ColumnElement[bool]]:
    rows = [site.row for site in sites]
    of_sites = queue_entries.c.site_id == rows[0] if len(rows) == 1 else queue_entries.c.site_id.in_(rows)
    # A second look is at one comment, without its score.
    return [of_sites, queue_entries.c.closed_at.is_(None), ~is_second_look()]


def _edge(percent: int) -> ColumnElement[float]:
    return cast(percent / BINS - _SLACK / BINS, Float)
