"""Second looks: comments that somebody has judged come into the queue again, to be judged without knowing how.

A text has one second look at most, however often its verdict changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, exists, func, or_, select

from moderation.comment import Decision
from service.statuses import RIGHTS, SECOND_LOOK
from service.store import engine as connections
from service.store.entries import put_entry, read_whys
from service.store.insight import standing
from service.store.records import Priority, Site, Why
from service.store.review_tables import moderators, queue_entries, queue_reasons, roles, verdicts
from service.store.rows import is_current, read_stored, select_stored
from service.store.tables import comment_versions, comments
from service.store.writing import log, take_turn

Picked = Literal["random", "doubted"]
"""How a verdict came to be looked at again: chance, or because its label is in doubt."""

_TEXT = "Somebody has judged it. Judge it too, without knowing how."


@dataclass(frozen=True, slots=True)
class Standing:
    """A verdict that stands and has had no second look: its row and its id."""

    row: int
    id: str


class SecondLooks:
    """Opening entries for second looks. ``measure`` says how soon a comment with such a decision has to be judged."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def may_judge(self, site: Site) -> int:
        """How many people may give verdicts on a site."""
        judging = [role for role, rights in RIGHTS.items() if "decide" in rights]
        query = (
            select(func.count())
            .select_from(roles)
            .join(moderators, moderators.c.id == roles.c.moderator_id)
            .where(roles.c.site_id == site.row, roles.c.role.in_(judging), moderators.c.disabled_at.is_(None))
        )
        with connections.reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def has_judged(self, entry: int, name: str) -> bool:
        """Whether somebody has judged the present text of an entry, in a verdict that stands."""
        verdict = verdicts.c
        query = (
            select(verdict.id)
            .join(queue_entries, queue_entries.c.comment_id == verdict.comment_id)
            .join(comments, comments.c.id == verdict.comment_id)
            .join(comment_versions, comment_versions.c.id == verdict.comment_version_id)
            .where(queue_entries.c.id == entry, comment_versions.c.number == comments.c.version)
            .where(verdict.moderator == name, verdict.undone_at.is_(None))
        )
        with connections.reading(self._engine) as connection:
            return connection.execute(query.limit(1)).first() is not None

    def standing(self, site: Site, since: datetime, *, after: int = 0, limit: int = 500) -> list[Standing]:
        """Verdicts given since a moment that a second look could follow, in the order of rows, those after a row."""
        query = _select_standing(site).where(*standing([site], since), verdicts.c.id > after)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.order_by(verdicts.c.id).limit(limit)).all()
        return [Standing(row.verdict_row, row.public_id) for row in rows]

    def find(self, site: Site, comment_id: str | None, digest: str) -> Standing | None:
        """The verdict on a text that a second look could follow, by the comment's id (``None``: it has none)."""
        same = comments.c.external_id.is_(None) if comment_id is None else comments.c.external_id == comment_id
        query = _select_standing(site).where(*_last(), same, comment_versions.c.digest == digest)
        with connections.reading(self._engine) as connection:
            row = connection.execute(query.order_by(verdicts.c.id.desc()).limit(1)).first()
        return None if row is None else Standing(row.verdict_row, row.public_id)

    def open(
        self,
        site: Site,
        verdict_rows: Sequence[int],
        picked: Picked,
        measure: Callable[[Decision], Priority],
        *,
        who: str | None = None,
    ) -> int:
        """Have the comments of these verdicts judged again; how many come into the queue.

        Those that have changed or been taken up meanwhile do not. ``who`` goes into the log, where somebody asked.
        """
        opened = 0
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            for verdict in verdict_rows:
                found = connection.execute(_select_standing(site).where(*_last(), verdicts.c.id == verdict)).first()
                if found is not None:
                    self._open_one(connection, site, found, picked, measure, who)
                    opened += 1
        return opened

    def _open_one(
        self,
        connection: Connection,
        site: Site,
        found: Row[Any],
        picked: Picked,
        measure: Callable[[Decision], Priority],
        who: str | None,
    ) -> None:
        now = self._now()
        query = select_stored().where(comments.c.id == found.comment_row, is_current())
        stored = read_stored(connection.execute(query).one())
        # Those that the verdict has answered wait on should it be taken back.
        answered = [] if found.entry is None else read_whys(connection, [found.entry]).get(found.entry, [])
        whys = [*(why for why in answered if why.name != SECOND_LOOK), Why(SECOND_LOOK, picked, None, _TEXT)]
        priority = measure(stored.decision)
        status, reports = stored.status, found.reports or 0
        put_entry(connection, found.comment_row, whys, priority, keep=(), status=status, now=now, reports=reports)
        if who is not None:
            details = {"verdict": found.public_id, "comment": stored.id, "picked": picked}
            log(connection, site, who, SECOND_LOOK, details, now)


def _select_standing(site: Site) -> Select[Any]:
    """Verdicts on texts as they are now that were not given blind, of comments that do not wait."""
    verdict, version, entry = verdicts.c, comment_versions.c, queue_entries.c
    why = queue_reasons.alias()
    had_one = exists().where(why.c.entry_id == entry.id, why.c.name == SECOND_LOOK, why.c.at >= version.created_at)
    return (
        select(verdict.id.label("verdict_row"), verdict.public_id, comments.c.id.label("comment_row"))
        .add_columns(entry.id.label("entry"), entry.reports)
        .select_from(verdicts)
        .join(comments, comments.c.id == verdict.comment_id)
        .join(comment_versions, (version.comment_id == comments.c.id) & (version.number == comments.c.version))
        .outerjoin(queue_entries, entry.comment_id == comments.c.id)
        .where(verdict.site_id == site.row, verdict.comment_version_id == version.id, verdict.source != SECOND_LOOK)
        .where(version.text.is_not(None), comments.c.status != "erased")
        .where(or_(entry.id.is_(None), entry.closed_at.is_not(None)), ~had_one)
    )


def _last() -> list[ColumnElement[bool]]:
    """Keeps the last verdict on each text."""
    later = verdicts.alias("later")
    replaced = exists().where(
        later.c.comment_version_id == verdicts.c.comment_version_id,
        later.c.undone_at.is_(None),
        later.c.id > verdicts.c.id,
    )
    return [verdicts.c.undone_at.is_(None), ~replaced]
