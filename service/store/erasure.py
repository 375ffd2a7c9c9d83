"""Forgetting: what was written, by whom, in what context; by comment, by author, and by age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, delete, exists, select, update

from service.errors import NotFound
from service.store import engine as connections
from service.store.entries import close_entries
from service.store.records import Site
from service.store.review_tables import appeals, audit_log, queue_entries, reports, verdicts
from service.store.rows import ERASED, NO_DIGESTS
from service.store.tables import comment_versions, comments, decisions, near_hashes, sent_along
from service.store.writing import AUTHOR_HASH, log, set_status, take_turn

_AT_ONCE = 200


class Erasure:
    """The store's forgetting. SQLite's journal is cut after each, so that nothing is left in its files either."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def erase_comment(self, site: Site, comment_id: str, who: str) -> None:
        """Empty a comment of text, author and context in every version, wherever it was copied. Twice is no error.

        What stays: its id, its statuses, its decisions and verdicts without digests, facts and notes. Raises
        ``NotFound``.
        """
        is_it = (comments.c.site_id == site.row) & (comments.c.external_id == comment_id)
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            row = connection.execute(select(comments).where(is_it).with_for_update()).first()
            if row is None:
                raise NotFound("this site has no such comment")
            self._erase(connection, site, [row], who)
            if row.status != "erased":
                log(connection, site, who, "comment_erased", {"comment": comment_id}, self._now())
        connections.empty_journal(self._engine)

    def erase_author(self, site: Site, author_id: str, reader: str, who: str, *, author_hash: str | None = None) -> int:
        """Erase every comment of a site that the author wrote, in any version; how many there were.

        ``author_hash`` is the hash by which comments are known that retention has emptied: of those there may be copies
        in what was sent along with others. It stays, so that labels from elsewhere are known to be theirs, whether or
        not there was a comment. ``reader`` is the hash by which the author's own reports are known; they are forgotten
        too. Who reads the log reads how many comments it was, and not whose.
        """
        is_theirs = comment_versions.c.author_id == author_id
        if author_hash is not None:
            is_theirs |= comment_versions.c.author_hash == author_hash
        of_site = comments.c.site_id == site.row
        # Each of the two is a look into an index; as one condition it would be asked of every comment of the site.
        wrote = select(comment_versions.c.comment_id).where(is_theirs)
        writes = select(comments.c.id).where(of_site, comments.c.author_id == author_id)
        by_author = of_site & comments.c.id.in_(wrote.union(writes))
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            rows = connection.execute(select(comments).where(by_author).order_by(comments.c.id).with_for_update()).all()
            self._erase(connection, site, rows, who)
            forgotten = connection.execute(
                delete(reports).where(reports.c.site_id == site.row, reports.c.reporter == reader)
            ).rowcount
            if rows or forgotten or (author_hash is not None and not _is_asked_for(connection, site, author_hash)):
                details: dict[str, Any] = {"comments": len(rows)}
                details |= {} if author_hash is None else {AUTHOR_HASH: author_hash}
                log(connection, site, who, "author_erased", details, self._now())
        connections.empty_journal(self._engine)
        return len(rows)

    def forget_before(
        self,
        site: Site,
        moment: datetime,
        *,
        limit: int = 500,
        hash_author: Callable[[str], str] | None = None,
    ) -> int:
        """Empty comments that were decided before ``moment`` and do not wait; how many, at most ``limit``.

        Decided means by the model or by a moderator, whichever was last, also where the status stayed as it was. Their
        statuses stay, and so do their digests, by which the same request is known again, and in place of the author's
        id what ``hash_author`` makes of it, so that an erasure by author finds the copies of what they wrote. What
        other comments quote of them is forgotten with those.
        """
        waits = exists().where(queue_entries.c.comment_id == comments.c.id, queue_entries.c.closed_at.is_(None))
        has_text = exists().where(comment_versions.c.comment_id == comments.c.id, comment_versions.c.text.is_not(None))
        version, verdict = comment_versions.c, verdicts.c
        is_edited = exists().where(version.comment_id == comments.c.id, version.created_at >= moment)
        is_judged = exists().where(verdict.comment_id == comments.c.id, verdict.at >= moment)
        query = (
            select(comments)
            .where(comments.c.site_id == site.row, comments.c.status.in_(("published", "held", "rejected")))
            .where(comments.c.updated_at < moment, has_text, ~waits, ~is_edited, ~is_judged)
            .order_by(comments.c.id)
            .limit(limit)
        )
        # Looking for them takes longest, and nobody has to wait for that.
        with connections.reading(self._engine) as connection:
            found = [row.id for row in connection.execute(query)]
        if not found:
            return 0
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            rows = connection.execute(query.where(comments.c.id.in_(found))).all()
            hashed = _hash_authors(connection, [row.id for row in rows], hash_author) if hash_author else {}
            for version_number in {row.version for row in rows}:
                some = [row.id for row in rows if row.version == version_number]
                empty_versions(connection, some, keep_digests_of=version_number)
            for author_hash, versions in hashed.items():
                theirs = update(comment_versions).where(comment_versions.c.id.in_(versions))
                connection.execute(theirs.values(author_hash=author_hash))
            if rows:
                log(connection, site, "retention", "comments_forgotten", {"comments": len(rows)}, self._now())
        connections.empty_journal(self._engine)
        return len(rows)

    def _erase(self, connection: Connection, site: Site, rows: Sequence[Row[Any]], who: str) -> None:
        now = self._now()
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            empty_versions(connection, [row.id for row in some])
            close_entries(connection, [row.id for row in some], now)
            erase_copies(connection, site, [row.external_id for row in some if row.external_id is not None])
        for row in rows:
            set_status(connection, site, row.id, row.status, "erased", who=who, now=now)


def _is_asked_for(connection: Connection, site: Site, author_hash: str) -> bool:
    line = audit_log.c
    query = select(line.id).where(line.site_id == site.row, line.event == "author_erased")
    query = query.where(line.details[AUTHOR_HASH].as_string() == author_hash)
    return connection.execute(query.limit(1)).first() is not None


def empty_versions(connection: Connection, comment_rows: Sequence[int], *, keep_digests_of: int = 0) -> None:
    """Empty all versions of comments (rows of ``comments``), and what was written about them.

    The version numbered ``keep_digests_of`` keeps its digests, to be recognised by.
    """
    of_it = comment_versions.c.comment_id.in_(comment_rows)
    connection.execute(update(comment_versions).where(of_it).values(ERASED))
    guessable = and_(of_it, comment_versions.c.number != keep_digests_of)
    connection.execute(update(comment_versions).where(guessable).values(NO_DIGESTS))
    kept = and_(of_it, comment_versions.c.number == keep_digests_of)
    connection.execute(update(comment_versions).where(kept).values(do_not_store=True))
    versions = select(comment_versions.c.id).where(of_it)
    decided = decisions.c.comment_version_id.in_(versions)
    connection.execute(update(decisions).where(decided).values(facts={}))
    connection.execute(update(comments).where(comments.c.id.in_(comment_rows)).values(author_id=None, post_id=None))
    of_them = verdicts.c.comment_id.in_(comment_rows)
    connection.execute(update(verdicts).where(of_them).values(note=None, digest="", answered=None))
    connection.execute(update(appeals).where(appeals.c.comment_id.in_(comment_rows)).values(text=None))
    connection.execute(delete(near_hashes).where(near_hashes.c.comment_id.in_(comment_rows)))
    connection.execute(delete(sent_along).where(sent_along.c.comment_version_id.in_(versions)))
    # Which were near-duplicates of each other stays: that says nothing of their words, and looks at them count once.
    emptied = {"folded_text": None, "author_id": None, "post_id": None, "lang": None}
    connection.execute(update(queue_entries).where(queue_entries.c.comment_id.in_(comment_rows)).values(emptied))


def _hash_authors(
    connection: Connection, comment_rows: Sequence[int], hash_author: Callable[[str], str]
) -> dict[str, list[int]]:
    """Versions of these comments by the hash of who wrote them."""
    query = select(comment_versions.c.id, comment_versions.c.author_id)
    query = query.where(comment_versions.c.comment_id.in_(comment_rows), comment_versions.c.author_id.is_not(None))
    hashed: dict[str, list[int]] = {}
    for row in connection.execute(query):
        hashed.setdefault(hash_author(row.author_id), []).append(row.id)
    return hashed


def erase_copies(connection: Connection, site: Site, comment_ids: Sequence[str]) -> None:
    """Remove comments' texts from where the site sent them along as neighbours of others."""
    if not comment_ids:
        return
    copies = (sent_along.c.site_id == site.row) & sent_along.c.external_id.in_(comment_ids)
    version = comment_versions.c
    found = select(version.id, version.parent_id, version.parent_text, version.thread)
    found = found.where(version.id.in_(select(sent_along.c.comment_version_id).where(copies)))
    for row in connection.execute(found).all():
        emptied = {
            "parent_text": None if row.parent_id in comment_ids else row.parent_text,
            "thread": row.thread
            and [{"id": item["id"], "text": None} if item["id"] in comment_ids else item for item in row.thread],
        }
        connection.execute(update(comment_versions).where(version.id == row.id).values(emptied))
    connection.execute(delete(sent_along).where(copies))
