"""What callers say of a text in categories: a verdict where it settles the comment, else a label and nothing more.

It settles nothing where it is not certain which comment was meant, and a word that clears some categories settles
nothing while anything else speaks against the comment. What is only a label moves no status, answers no entry of the
queue and no appeal, and counts as no look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, insert, select, update

from moderation.categories import CODES
from moderation.comment import Decision
from service.errors import ServiceError
from service.store import engine as connections
from service.store.entries import read_whys
from service.store.labels import labels_of
from service.store.records import Judge, Judgement, Site, Target, Verdict
from service.store.review_tables import suggestions, verdicts
from service.store.rows import is_current, read_stored, select_stored
from service.store.tables import comment_versions, comments
from service.store.verdicts import Verdicts, find_target
from service.store.writing import log, take_turn

_BY_THE_MODEL = frozenset({"held", "near_line"})
"""Why a comment waits for what was found in itself, and not because somebody or chance wants it looked at."""

_BESIDE = frozenset({"trusted_author", "encoder_unavailable", "lexical_tier_holds"})
"""Reasons that say how others were weighed, and nothing against the comment."""


class Suggestions:
    """Giving them; :class:`~service.store.labels.Labels` reads what was kept."""

    def __init__(self, engine: Engine, now: Callable[[], datetime], verdicts: Verdicts) -> None:
        self._engine = engine
        self._now = now
        self._verdicts = verdicts

    def give(
        self,
        site: Site,
        judge: Judge,
        judgement: Judgement,
        target: Target,
        *,
        is_certain: bool,
        handles: Collection[str] = (),
    ) -> Verdict | None:
        """A verdict as :meth:`~service.store.verdicts.Verdicts.decide` gives it; ``None`` where it is a label only.

        ``is_certain`` says that this comment is meant, and not another one with its text; by the hashed ``handles`` it
        is told from others then. Raises ``NotFound``, ``CommentErased`` or ``TextChanged``.
        """
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            comment = find_target(connection, site, target)
            if isinstance(comment, ServiceError):
                raise comment
            said = _find_said(connection, comment.version_row)
            if is_certain:
                _add_handles(connection, comment.version_row, handles)
            if is_certain and (not _is_clearing(judgement) or _is_all(connection, comment, said, judgement)):
                result = self._verdicts.decide_in(connection, site, judge, said.extend(judge, judgement), target)
                if isinstance(result, ServiceError):
                    raise result
                return result
            meant = said.extend(judge, judgement) if is_certain else judgement
            scores = _find_decision(connection, comment).scores
            known = None if scores is None else scores.to_dict()
            if labels := labels_of(meant.action, meant.categories, known, meant.cleared):
                stands = said.cleared.issuperset(meant.cleared)
                self._keep(connection, site, judge.name, comment, labels, is_certain=is_certain, stands=stands)
            return None

    def _keep(
        self,
        connection: Connection,
        site: Site,
        who: str,
        comment: Row[Any],
        labels: dict[str, int],
        *,
        is_certain: bool,
        stands: bool,
    ) -> None:
        """``stands``: nobody has contradicted it since it was said, if it was."""
        said, now = suggestions.c, self._now()
        is_it = and_(
            said.comment_version_id == comment.version_row,
            said.moderator == who,
            said.is_certain.is_(is_certain),
        )
        before = connection.execute(select(suggestions).where(is_it)).first()
        if before is None:
            row = {"site_id": site.row, "comment_version_id": comment.version_row, "moderator": who}
            row |= {"is_certain": is_certain, "labels": labels, "at": now}
            connection.execute(insert(suggestions).values(row))
        else:
            labels = labels if is_certain else before.labels | labels
            if before.labels == labels and (stands or not is_certain):
                return
            connection.execute(update(suggestions).where(is_it).values(labels=labels, at=now))
        log(connection, site, who, "suggestion", {"comment": comment.external_id, "labels": labels}, now)


class _Said:
    """What people have said of the categories of a text by now, the last word of each category counting.

    ``is_rejected`` says that somebody has rejected it without saying as what.
    """

    def __init__(self) -> None:
        self.applies: set[str] = set()
        self.cleared: set[str] = set()
        self.is_rejected = False
        self._cleared_by: dict[str, set[str]] = {}

    def hear(self, who: str, action: str, categories: Collection[str], cleared: Collection[str]) -> None:
        """Add a later word."""
        if action == "approve" and not cleared:
            self.applies, self.cleared, self.is_rejected = set(), set(CODES), False
            self._cleared_by.clear()
            return
        self.is_rejected |= action == "reject" and not categories
        self.applies = self.applies.union(categories).difference(cleared)
        self.cleared = self.cleared.difference(categories).union(cleared)
        for each in self._cleared_by.values():
            each.difference_update(categories)
        self._cleared_by.setdefault(who, set()).update(cleared)

    def extend(self, judge: Judge, judgement: Judgement) -> Judgement:
        """A clearing together with what the same caller has cleared before, since only the last word is a label."""
        if not _is_clearing(judgement):
            return judgement
        cleared = self._cleared_by.get(judge.name, set()).union(judgement.cleared)
        return replace(judgement, cleared=tuple(sorted(cleared)))


def _is_clearing(judgement: Judgement) -> bool:
    """Whether it approves in some categories and says nothing of the others."""
    return judgement.action == "approve" and bool(judgement.cleared)


def _find_said(connection: Connection, version_row: int) -> _Said:
    verdict, suggestion = verdicts.c, suggestions.c
    given = select(verdict.moderator, verdict.action, verdict.categories, verdict.cleared, verdict.at)
    given = given.where(verdict.comment_version_id == version_row, verdict.undone_at.is_(None)).order_by(verdict.id)
    # What may have been said of another comment clears nothing of this one.
    is_of_it = (suggestion.comment_version_id == version_row) & suggestion.is_certain
    words = [
        (row.at, row.moderator, row.action, row.categories, row.cleared or ())
        for row in connection.execute(given).all()
    ]
    words += [
        (row.at, row.moderator, "approve", (), list(row.labels))
        for row in connection.execute(select(suggestions).where(is_of_it))
    ]
    said = _Said()
    for _, who, action, categories, cleared in sorted(words, key=lambda word: word[0]):
        said.hear(who, action, categories, cleared)
    return said


def _is_all(connection: Connection, comment: Row[Any], said: _Said, judgement: Judgement) -> bool:
    """Whether nothing speaks against a comment but what is cleared by now.

    That may be what the policy found, what people have said of it, or why it waits: reports, an appeal, an audit.
    """
    if said.is_rejected or not said.applies <= set(judgement.cleared):
        return False
    answered = said.cleared.union(judgement.cleared, _BESIDE)
    waits = comment.entry is not None and comment.closed_at is None
    whys = read_whys(connection, [comment.entry]).get(comment.entry, []) if waits else []
    if not all(why.name in _BY_THE_MODEL and why.detail in answered for why in whys):
        return False
    decision = _find_decision(connection, comment)
    fired = {reason.name for reason in decision.reasons if reason.fired}
    # What is held without a reason of its own is held for something that cannot be cleared.
    return fired <= answered and (decision.action == "publish" or not fired <= _BESIDE)


def _add_handles(connection: Connection, version_row: int, handles: Collection[str]) -> None:
    """Remember what a version is told from others by, where it has no handle of that name."""
    version = comment_versions.c
    kept = connection.execute(select(version.text, version.handles).where(version.id == version_row)).one()
    names = {each.partition(":")[0] for each in kept.handles or ()}
    new = [each for each in handles if each.partition(":")[0] not in names]
    if new and kept.text is not None:
        of_it = update(comment_versions).where(version.id == version_row)
        connection.execute(of_it.values(handles=[*(kept.handles or ()), *new]))


def _find_decision(connection: Connection, comment: Row[Any]) -> Decision:
    found = select_stored().where(comments.c.id == comment.id, is_current())
    return read_stored(connection.execute(found).one()).decision
