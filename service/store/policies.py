"""Policies of sites: which is in force, what was in force before, and the decisions that a new one is tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, update

from moderation.comment import Author, Comment, Post, Scores
from service.statuses import VerdictAction
from service.store import engine as connections
from service.store.records import Decided, PolicyChange, Site
from service.store.review_tables import audit_log, verdicts
from service.store.rows import read_comment, read_facts
from service.store.tables import comment_versions, comments, decisions, policies, post_versions, sites
from service.store.writing import insert_new, log, take_turn

EVENT = "policy_set"

# How many decisions are read, and verdicts are looked up, in one query.
_AT_ONCE = 2000
_IDS_AT_ONCE = 500


class Policies:
    """Policies of sites. Their texts are kept for good, because decisions name them."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def put(self, site: Site, policy: tuple[str, str] | None, *, who: str, instead_of: str | None) -> bool:
        """Put a policy (digest, TOML) in force on a site; ``None`` lets it follow the policy of the home again.

        False, and nothing is written, where the policy of the site is no longer ``instead_of`` (a digest or ``None``).
        """
        digest = policy[0] if policy is not None else None
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            present = connection.execute(select(sites.c.policy_digest).where(sites.c.id == site.row)).scalar_one()
            if present != instead_of:
                return False
            if digest == present:
                return True
            now = self._now()
            if policy is not None:
                row = {"digest": policy[0], "toml": policy[1], "created_at": now}
                insert_new(connection, policies, row, ("digest",))
            connection.execute(update(sites).where(sites.c.id == site.row).values(policy_digest=digest))
            log(connection, site, who, EVENT, {"policy": digest, "before": present}, now)
        return True

    def history(self, site: Site, *, limit: int, before: int | None = None) -> list[PolicyChange]:
        """What was put in force on a site, newest first, with the text of each; ``before`` goes on after a row."""
        line = audit_log.c
        query = select(line.id, line.at, line.who, line.details).where(line.site_id == site.row, line.event == EVENT)
        if before is not None:
            query = query.where(line.id < before)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.order_by(line.id.desc()).limit(limit)).all()
            digests = {row.details[name] for row in rows for name in ("policy", "before")} - {None}
            found = connection.execute(select(policies.c.digest, policies.c.toml).where(policies.c.digest.in_(digests)))
            texts = {row.digest: row.toml for row in found}
        return [
            PolicyChange(
                row.id,
                row.at,
                row.who,
                row.details["policy"],
                texts.get(row.details["policy"]),
                row.details["before"],
                texts.get(row.details["before"]),
            )
            for row in rows
        ]

    def last_decision(self) -> int:
        """The row of the last decision about any comment; 0 where there is none."""
        with connections.reading(self._engine) as connection:
            return connection.execute(select(func.max(decisions.c.id))).scalar() or 0

    def decided(self, site: Site, since: datetime, upto: int, *, whole: bool = False) -> Iterator[Decided]:
        """The latest decision about each comment of a site whose text is kept, newest first, back to ``since``.

        It begins with the decision of the row ``upto``. With ``whole`` comments are exactly what was judged, to be
        scored again; those are left out whose neighbours have been erased. Read in pieces, so that there may be many
        and nobody waits for them.
        """
        upper = upto
        while upper > 0:
            with connections.reading(self._engine) as connection:
                # Rows are numbered in the order in which they came, so the key serves as an index over time.
                piece = (decisions.c.id <= upper) & (decisions.c.id > upper - _AT_ONCE)
                oldest = connection.execute(select(func.min(decisions.c.created_at)).where(piece)).scalar()
                query = _select_decided(site, whole=whole).where(piece, decisions.c.created_at >= since)
                rows = connection.execute(query).all()
                found = _read_whole(connection, rows) if whole else [_read_decided(row) for row in rows]
            yield from found
            if oldest is not None and oldest < since:
                return
            upper -= _AT_ONCE

    def find_decided(self, site: Site, versions: Sequence[int]) -> list[Decided]:
        """The same for these versions, in this order; those that are no longer current or kept are left out."""
        found: dict[int, Decided] = {}
        with connections.reading(self._engine) as connection:
            for start in range(0, len(versions), _IDS_AT_ONCE):
                of_them = comment_versions.c.id.in_(versions[start : start + _IDS_AT_ONCE])
                rows = connection.execute(_select_decided(site, whole=False).where(of_them))
                found |= {decided.version: decided for decided in map(_read_decided, rows)}
        return [found[version] for version in versions if version in found]

    def standing_verdicts(self, versions: Sequence[int]) -> dict[int, VerdictAction]:
        """What moderators said last about these versions of comments, undone verdicts left out."""
        found: dict[int, VerdictAction] = {}
        with connections.reading(self._engine) as connection:
            for start in range(0, len(versions), _IDS_AT_ONCE):
                found |= _standing(connection, versions[start : start + _IDS_AT_ONCE])
        return found


def _select_decided(site: Site, *, whole: bool) -> Any:
    version, other = comment_versions.c, decisions.alias("other")
    some = (version.text, version.author_id, version.author_name, version.author_url, version.hints)
    read: tuple[Any, ...] = (comment_versions,) if whole else some
    latest = select(func.max(other.c.id)).where(other.c.comment_version_id == version.id).scalar_subquery()
    return (
        select(
            comments.c.id.label("comment_row"),
            comments.c.external_id,
            comments.c.status,
            version.id.label("version_row"),
            *read,
            sites.c.url.label("site"),
            post_versions.c.tags,
            decisions.c.action,
            decisions.c.scores,
            decisions.c.facts,
            decisions.c.created_at.label("decided_at"),
        )
        .select_from(decisions)
        .join(comment_versions, version.id == decisions.c.comment_version_id)
        .join(comments, (comments.c.id == version.comment_id) & (comments.c.version == version.number))
        .join(sites, sites.c.id == comments.c.site_id)
        .outerjoin(post_versions, post_versions.c.id == version.post_version_id)
        .where(comments.c.site_id == site.row, version.text.is_not(None), decisions.c.id == latest)
        .order_by(decisions.c.id.desc())
    )


def _read_decided(row: Row[Any]) -> Decided:
    author = Author(row.author_id, row.author_name, row.author_url)
    comment = Comment(
        text=row.text,
        id=row.external_id,
        author=None if author == Author() else author,
        post=Post(tags=tuple(row.tags)) if row.tags else None,
        hints=row.hints or {},
    )
    scores = None if row.scores is None else Scores.from_dict(row.scores)
    return Decided(
        row.comment_row,
        row.version_row,
        row.status,
        comment,
        row.action,
        scores,
        read_facts(row.facts),
        row.decided_at,
    )


def _read_whole(connection: Connection, rows: Sequence[Row[Any]]) -> list[Decided]:
    found = []
    for row in rows:
        comment = read_comment(connection, row)
        # A neighbour that was erased leaves a hole.
        if comment.digest() == row.digest:
            found.append(replace(_read_decided(row), comment=comment))
    return found


def _standing(connection: Connection, versions: Sequence[int]) -> dict[int, VerdictAction]:
    of_them = select(comment_versions.c.comment_id).where(comment_versions.c.id.in_(versions))
    query = (
        select(verdicts.c.comment_version_id, verdicts.c.action)
        .where(verdicts.c.comment_id.in_(of_them), verdicts.c.undone_at.is_(None))
        .order_by(verdicts.c.id)
    )
    wanted = set(versions)
    rows = connection.execute(query)
    return {row.comment_version_id: row.action for row in rows if row.comment_version_id in wanted}
