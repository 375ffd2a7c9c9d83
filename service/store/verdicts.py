"""Verdicts: what moderators judged, append-only, and how it is undone."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, bindparam, exists, select, update

from service.errors import CommentErased, EntryTaken, NotFound, ServiceError, TextChanged, VerdictStands
from service.statuses import AKISMET, OUTCOME_BY_VERDICT, REVIEW, SECOND_LOOK, STATUS_BY_VERDICT, Status, calls_spam
from service.store import engine as connections
from service.store.akismet import follow_verdict
from service.store.campaigns import Said, note_said
from service.store.entries import UNCLAIMED, bring_back, drop_second_look, find_moderator, is_free, read_whys
from service.store.records import Judge, Judgement, Site, Target, Verdict, Why
from service.store.review_tables import appeals, queue_entries, verdicts
from service.store.tables import comment_versions, comments, decisions
from service.store.writing import insert_row, log, set_status, take_turn

MOST_TOGETHER = 1000
"""So many verdicts are given in one go, since nobody else of the site can write meanwhile."""


class Verdicts:
    """Giving, undoing and reading verdicts."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def decide(
        self, site: Site, judge: Judge, judgement: Judgement, targets: Sequence[Target]
    ) -> list[Verdict | ServiceError]:
        """Judge comments in one transaction, to be undone together; results in the same order.

        In place of a verdict stands, for a comment that could not be judged and without harm to the others:
        ``NotFound``, ``CommentErased``, ``TextChanged`` (with the new text) or ``EntryTaken``. What the same moderator
        says again about the same text is not written again: the stored verdict comes back as ``seen``. The answer to an
        entry that waits for a second look has the source ``second_look`` where it comes from the review pages and
        nothing was shown (``score_shown`` is false).
        """
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            together = _new_id("t")
            return [self.decide_in(connection, site, judge, judgement, target, together) for target in targets]

    def decide_campaign(
        self,
        site: Site,
        judge: Judge,
        judgement: Judgement,
        target: Target,
        seen: Collection[int] | None = None,
    ) -> list[Verdict]:
        """Judge an entry and its near-duplicates that wait and that nobody else holds, to be undone together.

        Of more than ``MOST_TOGETHER`` the rest goes on waiting, and so does, where ``seen`` says which entries were
        looked at, whatever has joined them since. ``target`` names the entry and the digest that was
        read; its verdict comes first. Raises what :meth:`decide` puts in place of a verdict on it, and then nothing was
        written.
        """
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            together = _new_id("t")
            first = self.decide_in(connection, site, judge, judgement, target, together)
            if isinstance(first, ServiceError):
                raise first
            results = [first]
            asked = select(queue_entries.c.campaign).where(queue_entries.c.id == target.entry)
            others = (
                select(queue_entries.c.id, comment_versions.c.digest)
                .join(comments, comments.c.id == queue_entries.c.comment_id)
                .join(comment_versions, comment_versions.c.comment_id == comments.c.id)
                .where(comment_versions.c.number == comments.c.version, queue_entries.c.site_id == site.row)
                .where(queue_entries.c.campaign == asked.scalar_subquery(), is_free(judge.holder, self._now()))
                .order_by(queue_entries.c.id)
                .limit(MOST_TOGETHER - 1)
            )
            if seen is not None:
                others = others.where(queue_entries.c.id.in_(seen))
            for row in connection.execute(others).all():
                other = Target(row.digest, entry=row.id)
                result = self.decide_in(connection, site, judge, judgement, other, together)
                # Somebody may have claimed it since it was listed; it stays with them.
                if isinstance(result, Verdict):
                    results.append(result)
        return results

    def undo(self, site: Site, verdict_id: str, who: str) -> list[Verdict]:
        """Take back a verdict and those given together with it; all of them as they are now. Twice is no error.

        The status before comes back and the entry that the verdict closed opens again, unless the text has changed
        since: then the verdict is only marked. A second look that waited because of it ends. One that a later verdict
        has replaced stays, and is left out, and so is one whose comment would wait again with a text that is no longer
        kept. Raises ``NotFound``, and ``VerdictStands`` where nothing could be taken back.
        """
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            found = connection.execute(_select_verdicts(site).where(verdicts.c.public_id == verdict_id)).first()
            if found is None:
                raise NotFound("this site has no such verdict")
            group = _select_verdicts(site).where(verdicts.c.together == found.together).order_by(verdicts.c.id.desc())
            rows = connection.execute(group).all()
            undone = [row.id for row in rows if row.undone_at is not None or self._undo_one(connection, site, row, who)]
            if not undone:
                raise VerdictStands(is_forgotten=_is_forgotten(found))
            again = _select_verdicts(site).where(verdicts.c.id.in_(undone)).order_by(verdicts.c.id)
            return [_read_verdict(row) for row in connection.execute(again)]

    def of_comment(self, site: Site, comment_id: str) -> list[Verdict]:
        """Every verdict on a comment, undone ones too, oldest first."""
        # By the comment's site too, or SQLite goes through all verdicts of the site.
        is_it = (comments.c.site_id == site.row) & (comments.c.external_id == comment_id)
        query = _select_all_verdicts().where(is_it).order_by(verdicts.c.id)
        with connections.reading(self._engine) as connection:
            return [_read_verdict(row) for row in connection.execute(query)]

    def of_row(self, connection: Connection, comment_row: int) -> list[Verdict]:
        """The same for the comment of that row, which may have no id on its site."""
        query = _select_all_verdicts().where(verdicts.c.comment_id == comment_row).order_by(verdicts.c.id)
        return [_read_verdict(row) for row in connection.execute(query)]

    def decide_in(
        self,
        connection: Connection,
        site: Site,
        judge: Judge,
        judgement: Judgement,
        target: Target,
        together: str | None = None,
    ) -> Verdict | ServiceError:
        """One of :meth:`decide`, inside a transaction that has the site's turn."""
        now = self._now()
        # An account may have been deleted since it signed in; what is said still counts, with the name.
        is_ours = judge.moderator is not None and find_moderator(connection, judge.moderator)
        comment = find_target(connection, site, target)
        if isinstance(comment, ServiceError):
            return comment
        is_open = comment.entry is not None and comment.closed_at is None
        if not is_open:
            standing = standing_verdict(connection, comment.version_row)
            if standing is not None and _says_the_same(standing, judge, judgement):
                row = connection.execute(_select_verdicts(site).where(verdicts.c.id == standing.id)).one()
                return _read_verdict(row, seen=True)
        answered = read_whys(connection, [comment.entry]).get(comment.entry, []) if is_open else []
        reasons: dict[str, float | None] = {why.name: why.value for why in answered}
        inclusion, source = _inclusion_probability(reasons), judge.source
        if SECOND_LOOK in reasons:
            # It says nothing new of how likely the first look was, which goes on counting as it did.
            first = standing_verdict(connection, comment.version_row)
            inclusion = None if first is None else first.inclusion_probability
            if source == REVIEW and target.entry is not None and judgement.score_shown is False:
                source = SECOND_LOOK
        if not self._close_entry(connection, judge, target, comment.entry, now):
            return EntryTaken(is_decided=not is_open)
        old: Status = comment.status
        written: dict[str, Any] = {
            "public_id": _new_id("v"),
            "together": together or _new_id("t"),
            "site_id": site.row,
            "comment_id": comment.id,
            "comment_version_id": comment.version_row,
            "digest": target.digest,
            "action": judgement.action,
            "categories": list(judgement.categories),
            "cleared": list(judgement.cleared) or None,
            "note": judgement.note,
            "moderator_id": judge.moderator if is_ours else None,
            "moderator": judge.name,
            "source": source,
            "score_shown": judgement.score_shown,
            "inclusion_probability": inclusion,
            "old": old,
            "closed_entry": is_open,
            "answers_entry": target.entry is not None,
            "answered": [asdict(why) for why in answered] or None,
            "at": now,
        }
        verdict = insert_row(connection, verdicts, written)
        new = STATUS_BY_VERDICT[judgement.action]
        set_status(connection, site, comment.id, old, new, who=judge.name, now=now, verdict=verdict)
        is_spam = calls_spam(judgement.action, judgement.categories)
        note_said(connection, comment.id, None if is_spam is None else Said(now, is_spam=is_spam))
        # What a client has said itself it knows.
        said = judgement.action == "reject" if judge.source == AKISMET else None
        follow_verdict(connection, site, comment.id, now, said=said)
        unanswered = (appeals.c.comment_id == comment.id) & appeals.c.outcome.is_(None)
        answer = {"outcome": OUTCOME_BY_VERDICT[judgement.action], "verdict_id": verdict}
        connection.execute(update(appeals).where(unanswered).values(answer))
        event = {"verdict": written["public_id"], "comment": comment.external_id, "action": judgement.action}
        log(connection, site, judge.name, "verdict", event | {"categories": written["categories"]}, now)
        return _read_verdict(connection.execute(_select_verdicts(site).where(verdicts.c.id == verdict)).one())

    def _close_entry(
        self, connection: Connection, judge: Judge, target: Target, entry: int | None, now: datetime
    ) -> bool:
        """Close the comment's entry, if it has one. False where the target is an entry that is not free."""
        closed = {**UNCLAIMED, "closed_at": now}
        condition = queue_entries.c.closed_at.is_(None) if target.entry is None else is_free(judge.holder, now)
        query = update(queue_entries).where(queue_entries.c.id == entry, condition)
        return connection.execute(query.values(closed)).rowcount == 1 or target.entry is None

    def _undo_one(self, connection: Connection, site: Site, verdict: Row[Any], who: str) -> bool:
        now = self._now()
        is_current = verdict.number == verdict.version and verdict.status != "erased"
        if is_current:
            standing = standing_verdict(connection, verdict.comment_version_id)
            if standing is None or standing.id != verdict.id or _is_forgotten(verdict):
                return False
        mark = {"undone_at": now, "undone_by": who}
        connection.execute(update(verdicts).where(verdicts.c.id == verdict.id).values(mark))
        if is_current:
            answered = appeals.c.verdict_id == verdict.id
            connection.execute(update(appeals).where(answered).values(outcome=None, verdict_id=None))
            of_it = queue_entries.c.comment_id == verdict.comment_id
            is_dropped = drop_second_look(connection, verdict.comment_id, now, is_answered=verdict.closed_entry)
            if verdict.closed_entry and not is_dropped:
                connection.execute(update(queue_entries).where(of_it).values(closed_at=None))
                bring_back(connection, verdict.comment_id, [Why(**each) for each in verdict.answered or ()], now)
            set_status(
                connection, site, verdict.comment_id, verdict.status, verdict.old, who=who, now=now, verdict=verdict.id
            )
            follow_verdict(connection, site, verdict.comment_id, now, said=None)
        note_said(connection, verdict.comment_id, _standing_said(connection, verdict.comment_id))
        log(connection, site, who, "undo", {"verdict": verdict.public_id, "comment": verdict.external_id}, now)
        return True


def _read_said(verdict: Row[Any]) -> Said | None:
    is_spam = calls_spam(verdict.action, verdict.categories)
    return None if is_spam is None else Said(verdict.at, is_spam=is_spam)


def _standing_said(connection: Connection, comment_row: int) -> Said | None:
    """What stands of what was said of a comment's words: of its current version, or of those that it says again."""
    current = connection.execute(_CURRENT, {"comment": comment_row}).first()
    if current is None:
        return None
    row = standing_verdict(connection, current.id)
    if row is None and (current.facts or {}).get("known_spam"):
        row = connection.execute(_LAST_STANDING, {"comment": comment_row}).first()
    return None if row is None else _read_said(row)


_CURRENT = (
    select(comment_versions.c.id, decisions.c.facts)
    .join(
        comments, (comments.c.id == comment_versions.c.comment_id) & (comments.c.version == comment_versions.c.number)
    )
    .join(decisions, decisions.c.comment_version_id == comment_versions.c.id)
    .where(comments.c.id == bindparam("comment"))
    .order_by(decisions.c.id.desc())
    .limit(1)
)
_LAST_STANDING = (
    select(verdicts)
    .where(verdicts.c.comment_id == bindparam("comment"), verdicts.c.undone_at.is_(None))
    .order_by(verdicts.c.id.desc())
    .limit(1)
)


def gave_before() -> ColumnElement[bool]:
    """Whether who gave a verdict (of ``verdicts``) had judged the same text before, in a verdict that stands."""
    own = verdicts.alias("own")
    same = (own.c.comment_version_id == verdicts.c.comment_version_id) & (own.c.moderator == verdicts.c.moderator)
    return exists().where(same, own.c.undone_at.is_(None), own.c.id < verdicts.c.id)


def standing_verdict(connection: Connection, version_row: int) -> Row[Any] | None:
    """The last verdict on a version that was not undone."""
    of_it = (verdicts.c.comment_version_id == version_row) & verdicts.c.undone_at.is_(None)
    return connection.execute(select(verdicts).where(of_it).order_by(verdicts.c.id.desc()).limit(1)).first()


def find_target(connection: Connection, site: Site, target: Target) -> Row[Any] | ServiceError:
    """What a verdict is about, with its entry of the queue; or why there can be no verdict on it."""
    comment = connection.execute(_select_target(site, target)).first()
    if comment is None:
        return NotFound("this site has no such comment or entry")
    if comment.status == "erased":
        return CommentErased()
    return TextChanged(comment.digest, comment.text) if comment.digest != target.digest else comment


def _select_target(site: Site, target: Target) -> Select[Any]:
    version, entry = comment_versions.c, queue_entries.c
    query = (
        select(comments.c.id, comments.c.external_id, comments.c.status, version.id.label("version_row"))
        .add_columns(version.digest, version.text, entry.id.label("entry"), entry.closed_at)
        .join(comment_versions, (version.comment_id == comments.c.id) & (version.number == comments.c.version))
        .outerjoin(queue_entries, entry.comment_id == comments.c.id)
        .where(comments.c.site_id == site.row)
    )
    if target.entry is not None:
        return query.where(entry.id == target.entry)
    return query.where(comments.c.external_id == target.comment)


def _select_verdicts(site: Site) -> Select[Any]:
    return _select_all_verdicts().where(verdicts.c.site_id == site.row)


def _select_all_verdicts() -> Select[Any]:
    return (
        select(verdicts, comments.c.external_id, comments.c.status, comments.c.version, comment_versions.c.number)
        .add_columns(comment_versions.c.text.is_(None).label("is_empty"))
        .join(comments, comments.c.id == verdicts.c.comment_id)
        .join(comment_versions, comment_versions.c.id == verdicts.c.comment_version_id)
    )


def _is_forgotten(verdict: Row[Any]) -> bool:
    """Whether nobody could look at the comment if it waited again."""
    return bool(verdict.closed_entry and verdict.is_empty)


def _says_the_same(row: Row[Any], judge: Judge, judgement: Judgement) -> bool:
    said = (row.moderator, row.moderator_id, row.action, row.categories, row.cleared or [])
    meant = (judge.name, judge.moderator, judgement.action, list(judgement.categories), list(judgement.cleared))
    return said == meant


def _inclusion_probability(reasons: Mapping[str, float | None]) -> float | None:
    """How likely it was that a person looks: certain by a rule, by chance with a share, unknown where people asked."""
    if reasons.keys() & {"held", "near_line"}:
        return 1.0
    return reasons.get("audit")


def _read_verdict(row: Row[Any], *, seen: bool = False) -> Verdict:
    return Verdict(
        id=row.public_id,
        together=row.together,
        comment=row.external_id,
        digest=row.digest,
        action=row.action,
        categories=tuple(row.categories),
        note=row.note,
        moderator=row.moderator,
        source=row.source,
        score_shown=row.score_shown,
        inclusion_probability=row.inclusion_probability,
        status=row.status,
        at=row.at,
        undone_at=row.undone_at,
        undone_by=row.undone_by,
        seen=seen,
    )


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_urlsafe(16)}"
