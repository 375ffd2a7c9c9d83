"""What a bundle that is scored beside would have decided. Rows name decisions and hold no text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Engine,
    Index,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
)

from moderation.comment import Action, Decision, Scores
from service.store import engine as connections
from service.store.columns import JSON_VALUE, metadata, moment, row_id, to
from service.store.records import Site
from service.store.tables import comment_versions, comments, decisions, sites
from service.store.writing import insert_new

_AT_ONCE = 2000

# What a challenger would have decided, beside what was decided: one row per decision and challenger.
shadow_decisions = Table(
    "shadow_decisions",
    metadata,
    row_id(),
    to("decisions.id", "decision_id"),
    to("sites.id", "site_id"),
    Column("bundle", Text, nullable=False),
    Column("decided", String(16), nullable=False),  # what was decided, so that disagreements are found without a join
    Column("action", String(16), nullable=False),
    Column("scores", JSON_VALUE),
    Column("fired", JSON_VALUE, nullable=False),  # the names of the reasons that fired
    Column("tier", String(16)),
    moment("at"),
    UniqueConstraint("decision_id", "bundle"),
    CheckConstraint("action IN ('publish', 'hold', 'reject')", name="action"),
    Index(None, "bundle", "site_id", "id"),
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What a challenger would have decided in place of a stored decision."""

    decision_id: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """One comment as both saw it: ``version`` is the row of its text, ``comment`` that of the comment's page.

    ``fired`` and ``other_fired`` name the reasons that fired, those of what was decided and those of the challenger.
    """

    row: int
    site: str
    comment: int
    comment_id: str | None
    version: int
    at: datetime
    action: Action
    scores: Scores | None
    fired: tuple[str, ...]
    other_action: Action
    other_scores: Scores | None
    other_fired: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShadowRun:
    """How many comments of some sites a challenger has scored, and since when."""

    bundle: str
    comments: int
    since: datetime
    until: datetime


class Shadows:
    """Decisions of challengers."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def add(self, found: Sequence[Beside]) -> None:
        """Keep what a challenger would have decided, in one transaction; what is there already stays."""
        ids = [each.decision_id for each in found]
        query = (
            select(decisions.c.public_id, decisions.c.id, decisions.c.action, comments.c.site_id)
            .join(comment_versions, comment_versions.c.id == decisions.c.comment_version_id)
            .join(comments, comments.c.id == comment_versions.c.comment_id)
            .where(decisions.c.public_id.in_(ids))
        )
        with connections.writing(self._engine) as connection:
            known = {row.public_id: row for row in connection.execute(query)}
            for each in found:
                if (decided := known.get(each.decision_id)) is None:
                    continue
                row = {"decision_id": decided.id, "site_id": decided.site_id, "decided": decided.action}
                row |= _write(each.decision) | {"at": self._now()}
                insert_new(connection, shadow_decisions, row, ("decision_id", "bundle"))

    def runs(self, of: Sequence[Site]) -> list[ShadowRun]:
        """Which bundles were scored beside on these sites, the latest first."""
        row = shadow_decisions.c
        query = (
            select(
                row.bundle, func.count().label("n"), func.min(row.at).label("since"), func.max(row.at).label("until")
            )
            .where(row.site_id.in_([site.row for site in of]))
            .group_by(row.bundle)
            .order_by(func.max(row.id).desc())
        )
        with connections.reading(self._engine) as connection:
            return [ShadowRun(found.bundle, found.n, found.since, found.until) for found in connection.execute(query)]

    def rows(self, of: Sequence[Site], bundle: str) -> Iterator[ShadowRow]:
        """Everything that a challenger has scored on these sites, newest first; read in pieces."""
        query = _select(of, bundle).order_by(shadow_decisions.c.id.desc()).limit(_AT_ONCE)
        before: int | None = None
        while True:
            piece = query if before is None else query.where(shadow_decisions.c.id < before)
            with connections.reading(self._engine) as connection:
                rows = connection.execute(piece).all()
            yield from map(_read, rows)
            if len(rows) < _AT_ONCE:
                return
            before = rows[-1].row

    def disagreements(
        self, of: Sequence[Site], bundle: str, *, limit: int, before: int | None = None
    ) -> list[ShadowRow]:
        """Comments that a challenger would have decided otherwise, newest first; ``before`` goes on after a row."""
        query = _select(of, bundle).where(shadow_decisions.c.action != shadow_decisions.c.decided)
        if before is not None:
            query = query.where(shadow_decisions.c.id < before)
        with connections.reading(self._engine) as connection:
            return [_read(row) for row in connection.execute(query.order_by(shadow_decisions.c.id.desc()).limit(limit))]

    def forget_before(self, moment: datetime) -> int:
        """Drop what was scored beside before ``moment``; how many comments, at most some thousands."""
        old = select(shadow_decisions.c.id).where(shadow_decisions.c.at < moment).limit(5_000)
        with connections.writing(self._engine) as connection:
            forgotten = delete(shadow_decisions).where(shadow_decisions.c.id.in_(old.scalar_subquery()))
            return connection.execute(forgotten).rowcount


def _write(decision: Decision) -> dict[str, Any]:
    return {
        "bundle": decision.bundle,
        "action": decision.action,
        "scores": decision.scores.to_dict() if decision.scores else None,
        "fired": [reason.name for reason in decision.reasons if reason.fired],
        "tier": decision.tier,
    }


def _select(of: Sequence[Site], bundle: str) -> Select[Any]:
    other = shadow_decisions.c
    return (
        select(
            other.id.label("row"),
            sites.c.url.label("site"),
            comments.c.id.label("comment"),
            comments.c.external_id,
            comment_versions.c.id.label("version"),
            decisions.c.created_at.label("at"),
            decisions.c.action,
            decisions.c.scores,
            decisions.c.reasons,
            other.action.label("other_action"),
            other.scores.label("other_scores"),
            other.fired.label("other_fired"),
        )
        .join(decisions, decisions.c.id == other.decision_id)
        .join(comment_versions, comment_versions.c.id == decisions.c.comment_version_id)
        .join(comments, comments.c.id == comment_versions.c.comment_id)
        .join(sites, sites.c.id == comments.c.site_id)
        .where(other.bundle == bundle, other.site_id.in_([site.row for site in of]))
    )


def _read(row: Row[Any]) -> ShadowRow:
    return ShadowRow(
        row=row.row,
        site=row.site,
        comment=row.comment,
        comment_id=row.external_id,
        version=row.version,
        at=row.at,
        action=row.action,
        scores=None if row.scores is None else Scores.from_dict(row.scores),
        fired=tuple(reason["name"] for reason in row.reasons if reason["fired"]),
        other_action=row.other_action,
        other_scores=None if row.other_scores is None else Scores.from_dict(row.other_scores),
        other_fired=tuple(row.other_fired),
    )
