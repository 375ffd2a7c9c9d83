"""Every query, as methods of :class:`Store` in the words of the workflow."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from moderation.comment import Comment, Post, Scores
from service.errors import CommentErased, NotFound
from service.statuses import STATUS_AFTER, Status
from service.store import engine as connections
from service.store.akismet import Akismet, follow_decision, note_answer
from service.store.batch import Batches
from service.store.campaigns import Said, join_campaign, leave_campaign, read_said
from service.store.context import Context, View
from service.store.copies import Copies
from service.store.coral import Coral
from service.store.drift import DriftDays
from service.store.entries import OUTLIVES_EDIT, Subject, close_entries, open_entry, put_entry
from service.store.erasure import Erasure, empty_versions, erase_copies
from service.store.insight import Insight
from service.store.labels import Labels
from service.store.leases import Leases
from service.store.looks import Looks
from service.store.news import News
from service.store.originals import find_first_campaign
from service.store.people import Logs, People, Sessions
from service.store.policies import Policies
from service.store.queue import Queue
from service.store.readers import Readers
from service.store.reading import Reading
from service.store.records import Judged, KeyDates, SameText, Site, StatusChange, Stored, StoredKey
from service.store.review_tables import audit_draws
from service.store.rows import (
    copied_ids,
    has_content,
    is_current,
    read_comment,
    read_stored,
    select_stored,
    write_comment,
    write_decision,
    write_post,
)
from service.store.second_looks import SecondLooks
from service.store.shadow import Shadows
from service.store.suggestions import Suggestions
from service.store.tables import (
    api_keys,
    comment_versions,
    comments,
    decisions,
    policies,
    post_versions,
    posts,
    sent_along,
    sites,
    status_log,
)
from service.store.traffic import Traffic
from service.store.verdicts import Verdicts
from service.store.webhooks import Webhooks
from service.store.writing import insert_new, insert_row, log, set_status, take_turn

MODEL = "model"
"""Who a status is from when a decision set it."""

OPERATOR = "operator"
"""Who did what a command does."""


class Store:
    """One database. Thread-safe: every method takes a connection of its own from the pool.

    Sites, keys, comments and decisions are here; what moderators, readers and authors do has parts of its own.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, now: Callable[[], datetime] | None = None) -> None:
        self._engine = connections.make_engine(url, timeout_seconds)
        self._now = now or (lambda: datetime.now(UTC))
        self.queue = Queue(self._engine, self._now)
        self.news = News(self._engine, self._now)
        self.batches = Batches(self._engine)
        self.verdicts = Verdicts(self._engine, self._now)
        self.suggestions = Suggestions(self._engine, self._now, self.verdicts)
        self.insight = Insight(self._engine, self.now)
        self.labels = Labels(self._engine)
        self.looks = Looks(self._engine)
        self.second_looks = SecondLooks(self._engine, self._now)
        self.readers = Readers(self._engine, self._now)
        self.reading = Reading(self._engine, self.verdicts)
        self.erasure = Erasure(self._engine, self._now)
        self.people = People(self._engine, self._now)
        self.sessions = Sessions(self._engine, self._now)
        self.logs = Logs(self._engine)
        self.policies = Policies(self._engine, self._now)
        self.webhooks = Webhooks(self._engine, self._now)
        self.leases = Leases(self._engine, self._now)
        self.copies = Copies(self._engine)
        self.coral = Coral(self._engine, self.now)
        self.shadows = Shadows(self._engine, self._now)
        self.drift = DriftDays(self._engine, self.now)
        self.akismet = Akismet(self._engine, self._now)
        self.traffic = Traffic(self._engine)

    def now(self) -> datetime:
        """The time by the clock that dates what is stored."""
        return self._now()

    def migrate(self) -> None:
        """Create the tables or bring them up to date."""
        connections.migrate(self._engine)

    def ping(self) -> None:
        """Return when the database answers and has our tables."""
        with connections.reading(self._engine) as connection:
            connection.execute(select(sites.c.id).limit(1)).first()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    # Sites and keys

    def add_site(self, url: str) -> Site:
        """The site of that URL, made if it is new."""
        with connections.writing(self._engine) as connection:
            insert_new(connection, sites, {"url": url, "created_at": self._now()}, ("url",))
            row = connection.execute(select(sites).where(sites.c.url == url)).one()
        return Site(row.id, row.url, row.policy_digest)

    def sites(self) -> list[Site]:
        """All sites, oldest first."""
        with connections.reading(self._engine) as connection:
            rows = connection.execute(select(sites).order_by(sites.c.id)).all()
        return [Site(row.id, row.url, row.policy_digest) for row in rows]

    def add_key(self, site: Site, prefix: str, key_hash: str, *, who: str = OPERATOR) -> None:
        """Keep a new key of a site; ``key_hash`` is SHA-256 (hex) of the whole key."""
        row = {"site_id": site.row, "prefix": prefix, "hash": key_hash, "created_at": self._now()}
        with connections.writing(self._engine) as connection:
            connection.execute(insert(api_keys).values(row))
            log(connection, site, who, "key_made", {"key": prefix}, self._now())

    def find_key(self, prefix: str) -> StoredKey | None:
        """The key with that prefix, revoked or not."""
        with connections.reading(self._engine) as connection:
            row = connection.execute(_KEY, {"prefix": prefix}).first()
        if row is None:
            return None
        return StoredKey(Site(row.id, row.url, row.policy_digest), row.hash, row.revoked_at is not None)

    def keys(self, site: Site) -> list[KeyDates]:
        """The keys of a site, revoked ones too, oldest first."""
        query = select(api_keys).where(api_keys.c.site_id == site.row).order_by(api_keys.c.id)
        with connections.reading(self._engine) as connection:
            return [KeyDates(row.prefix, row.created_at, row.revoked_at) for row in connection.execute(query)]

    def revoke_key(self, prefix: str, *, who: str = OPERATOR) -> bool:
        """End a key. False when there is no such key, or it has ended already."""
        query = update(api_keys).where(api_keys.c.prefix == prefix, api_keys.c.revoked_at.is_(None))
        with connections.writing(self._engine) as connection:
            site = connection.execute(query.values(revoked_at=self._now()).returning(api_keys.c.site_id)).scalar()
            if site is not None:
                row = connection.execute(select(sites).where(sites.c.id == site)).one()
                of_site = Site(row.id, row.url, row.policy_digest)
                log(connection, of_site, who, "key_revoked", {"key": prefix}, self._now())
            return site is not None

    # Reading comments and decisions

    def policy_toml(self, digest: str) -> str | None:
        """The text of a policy that some decision was made with."""
        with connections.reading(self._engine) as connection:
            return connection.execute(select(policies.c.toml).where(policies.c.digest == digest)).scalar()

    def find_comments(self, site: Site, ids: Sequence[str]) -> dict[str, Stored]:
        """The comments of these ids that are known, each with its latest decision."""
        with self.view(site) as view:
            return view.comments(ids)

    def find_texts(self, site: Site, text_hash: str, *, limit: int = 50) -> list[SameText]:
        """Comments with an id whose present text, which is kept, has that hash; the newest first."""
        version = comment_versions.c
        query = (
            select(comments.c.external_id, version.digest, version.handles)
            .join(comments, (comments.c.id == version.comment_id) & (comments.c.version == version.number))
            .where(version.text_hash == text_hash, version.text.is_not(None))
            .where(comments.c.site_id == site.row, comments.c.external_id.is_not(None))
            .order_by(comments.c.id.desc())
            .limit(limit)
        )
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [SameText(row.external_id, row.digest, tuple(row.handles or ())) for row in rows]

    def find_decision(self, site: Site, decision_id: str) -> Stored:
        """A decision of this site by its public id. Raises ``NotFound``."""
        query = select_stored().where(comments.c.site_id == site.row, decisions.c.public_id == decision_id)
        with connections.reading(self._engine) as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound("this site has no such decision")
        return read_stored(row)

    def status_changes(self, site: Site, comment_id: str) -> list[StatusChange]:
        """What happened to a comment, oldest first; empty when it is not known."""
        query = select(status_log).join(comments).order_by(status_log.c.id)
        query = query.where(comments.c.site_id == site.row, comments.c.external_id == comment_id)
        with connections.reading(self._engine) as connection:
            return [StatusChange(row.old, row.new, row.who, row.at) for row in connection.execute(query)]

    def judged_comment(self, decision_id: str) -> tuple[Comment, dict[str, Any]] | None:
        """Exactly what a decision judged, and the facts beside it; ``None`` where the text is not kept (any more)."""
        version = comment_versions
        query = (
            select(version, decisions.c.facts, sites.c.url.label("site"), comments.c.external_id)
            .join(decisions, decisions.c.comment_version_id == version.c.id)
            .join(comments, comments.c.id == version.c.comment_id)
            .join(sites, sites.c.id == comments.c.site_id)
            .where(decisions.c.public_id == decision_id)
        )
        with connections.reading(self._engine) as connection:
            row = connection.execute(query).first()
            if row is None or row.text is None:
                return None
            comment = read_comment(connection, row)
        # A neighbour that was erased leaves a hole, and the comment would be judged differently.
        return (comment, row.facts) if comment.digest() == row.digest else None

    def context(
        self, site: Site, wanted: Sequence[Comment], bands: Sequence[Sequence[int]] | None = None
    ) -> list[Context]:
        """What is known around each comment: its post, parent, thread, author's past and, by ``bands``, its like."""
        with self.view(site) as view:
            return view.context(wanted, bands if bands is not None else [()] * len(wanted))

    @contextmanager
    def view(self, site: Site) -> Iterator[View]:
        """Several questions about a site's comments, answered out of one transaction."""
        with connections.reading(self._engine) as connection:
            yield View(connection, site, self._now())

    # Writing comments and decisions

    def record(self, site: Site, judged: Sequence[Judged], policy: tuple[str, str]) -> list[Stored | CommentErased]:
        """Keep comments, decisions and statuses in one transaction; ``policy`` is (digest, TOML).

        A comment whose current version was sent with the same digest is not written again, unless it is a retry: its
        stored decision comes back as ``seen``. So it does for the second of two that race. A comment that was erased is
        refused. One with ``do_not_store`` also empties what is kept of its earlier versions.
        """
        results: dict[int, Stored | CommentErased] = {}
        unkept = [item.comment.id for item in judged if item.comment.do_not_store and item.comment.id is not None]
        with connections.writing(self._engine) as connection:
            take_turn(connection, site)
            forgets = bool(unkept) and _is_any_known(connection, site, unkept)
            row = {"digest": policy[0], "toml": policy[1], "created_at": self._now()}
            insert_new(connection, policies, row, ("digest",))
            for index in _order_by_post([item.comment for item in judged]):
                results[index] = self._record_one(connection, site, judged[index])
        if forgets:
            connections.empty_journal(self._engine)
        return [results[index] for index in range(len(judged))]

    def _claim(self, connection: Connection, site: Site, comment_id: str | None) -> _Claimed:
        """The row of a comment, made if there is none; a new one has version 0 until it has a decision."""
        now = self._now()
        row: dict[str, Any] = {"site_id": site.row, "external_id": comment_id, "status": "held", "version": 0}
        made = insert_new(
            connection, comments, row | {"created_at": now, "updated_at": now}, ("site_id", "external_id")
        )
        if made is not None:
            return _Claimed(made, 0, None)
        present = connection.execute(_COMMENT, {"site": site.row, "comment": comment_id}).one()
        return _Claimed(present.id, present.version, present.status if present.version else None)

    def _record_one(self, connection: Connection, site: Site, judged: Judged) -> Stored | CommentErased:
        comment, now = judged.comment, self._now()
        present = self._claim(connection, site, comment.id)
        comment_row, old = present.row, present.status
        if old == "erased":
            return CommentErased()
        if old is not None:
            stored = read_stored(connection.execute(_STORED, {"comment": comment_row}).one())
            is_seen = stored.sent_digest == judged.sent_digest and not judged.is_retry
            if comment.do_not_store and comment.id is not None:
                # By its digests the decision that stands is found again.
                kept = present.version if is_seen else 0
                empty_versions(connection, [comment_row], keep_digests_of=kept)
                erase_copies(connection, site, [comment.id])
                close_entries(connection, [comment_row], now)
            if is_seen:
                return replace(stored, seen=True)
        post = None if comment.do_not_store else comment.post
        post_row, post_version = self._keep_post(connection, site, post) if post else (None, None)
        row = write_comment(judged, _find_erased(connection, site, comment))
        row |= {"comment_id": comment_row, "number": present.version + 1, "created_at": now}
        version_row = insert_row(
            connection, comment_versions, row | {"post_id": post_row, "post_version_id": post_version}
        )
        if copied := copied_ids(row):
            copy = {"site_id": site.row, "comment_version_id": version_row}
            connection.execute(insert(sent_along), [copy | {"external_id": each} for each in sorted(copied)])
        # The first answer shows what later ones read from the row: scores of six digits.
        scores = Scores.from_dict(judged.decision.scores.to_dict()) if judged.decision.scores else None
        decision = replace(judged.decision, scores=scores, decision_id=f"d_{secrets.token_urlsafe(16)}")
        row = write_decision(judged, decision) | {"comment_version_id": version_row, "created_at": now}
        decision_row = insert_row(connection, decisions, row)
        author = None if comment.do_not_store or comment.author is None else comment.author.id
        current = {"version": present.version + 1, "post_id": post_row, "author_id": author}
        status = STATUS_AFTER[decision.action]
        set_status(
            connection, site, comment_row, old, status, who=MODEL, now=now, decision=decision_row, beside=current
        )
        if judged.told_spam is not None:
            note_answer(connection, site, comment_row, now, is_spam=judged.told_spam, is_known=old is not None)
        elif old is not None:
            follow_decision(connection, site, comment_row, now)
        said = None
        if old is not None:
            said = _read_spam_said(connection, comment_row) if judged.facts.get("known_spam") else None
            leave_campaign(connection, comment_row)
        bands = () if comment.do_not_store else judged.bands
        original = find_first_campaign(connection, site.row, bands) if judged.facts.get("copied") else None
        campaign = join_campaign(
            *(connection, site, comment_row, version_row, bands, now),
            original=original,
            said=said,
            is_question=judged.is_question,
        )
        if judged.draw is not None and not comment.do_not_store:
            insert_row(connection, audit_draws, asdict(judged.draw) | {"decision_id": decision_row, "at": now})
        whys, priority = judged.whys, judged.priority
        if old is not None:
            keep = OUTLIVES_EDIT
            put_entry(connection, comment_row, whys, priority, keep=keep, status=status, now=now, is_edit=True)
        elif whys and not comment.do_not_store:
            subject = Subject(site.row, post_row, author, comment.lang, comment.text, campaign)
            open_entry(connection, comment_row, whys, priority, subject, status=status, now=now)
        return Stored(comment.id, site.url, status, judged.sent_digest, decision, now)

    def _keep_post(self, connection: Connection, site: Site, post: Post) -> tuple[int | None, int | None]:
        """Remember a post: the row of the post (``None`` without an id) and of what it says (``None`` if nothing)."""
        present = None
        if post.id is not None:
            present = connection.execute(_POST, {"site": site.row, "post": post.id}).first()
        version = None
        if has_content(post):
            row = write_post(post) | {"site_id": site.row, "created_at": self._now()}
            if present is not None and present.digest == row["digest"]:
                return present.id, present.version_id
            version = insert_new(connection, post_versions, row, ("site_id", "digest"))
            if version is None:
                same = {"site": site.row, "digest": row["digest"]}
                version = connection.execute(_POST_VERSION, same).scalar_one()
        if post.id is None:
            return None, version
        if present is None:
            row = {"site_id": site.row, "external_id": post.id, "version_id": version, "created_at": self._now()}
            return insert_row(connection, posts, row), version
        if version is not None:
            connection.execute(update(posts).where(posts.c.id == present.id).values(version_id=version))
        return present.id, version


class _Claimed(NamedTuple):
    """A row of ``comments``, with version 0 and no status while it has no decision."""

    row: int
    version: int
    status: Status | None


_KEY = select(api_keys.c.hash, api_keys.c.revoked_at, sites).join(sites).where(api_keys.c.prefix == bindparam("prefix"))
_COMMENT = select(comments.c.id, comments.c.version, comments.c.status).where(
    comments.c.site_id == bindparam("site"), comments.c.external_id == bindparam("comment")
)
_STORED = select_stored().where(comments.c.id == bindparam("comment"), is_current())
_POST = (
    select(posts.c.id, posts.c.version_id, post_versions.c.digest)
    .outerjoin(post_versions, post_versions.c.id == posts.c.version_id)
    .where(posts.c.site_id == bindparam("site"), posts.c.external_id == bindparam("post"))
)
_POST_VERSION = select(post_versions.c.id).where(
    post_versions.c.site_id == bindparam("site"), post_versions.c.digest == bindparam("digest")
)
_ERASED = select(comments.c.external_id).where(
    comments.c.site_id == bindparam("site"),
    comments.c.status == "erased",
    comments.c.external_id.in_(bindparam("neighbours", expanding=True)),
)


def _is_any_known(connection: Connection, site: Site, ids: Sequence[str]) -> bool:
    known = select(comments.c.id).where(comments.c.site_id == site.row, comments.c.external_id.in_(ids))
    return connection.execute(known.limit(1)).first() is not None


def _read_spam_said(connection: Connection, comment_row: int) -> Said | None:
    """What was said of a comment, if that it is spam: an edit that says the same again is the spam that it was."""
    said = read_said(connection, comment_row)
    return said if said is not None and said.is_spam else None


def _find_erased(connection: Connection, site: Site, comment: Comment) -> set[str]:
    """The ids of its neighbours that were erased, maybe since their texts were read."""
    neighbours = {item.id for item in (comment.parent, *(comment.thread or ())) if item is not None} - {None}
    if not neighbours:
        return set()
    return set(connection.execute(_ERASED, {"site": site.row, "neighbours": list(neighbours)}).scalars())


def _order_by_post(batch: Sequence[Comment]) -> list[int]:
    """Indices in the order of posts. Comments of one id keep their order, so that the last one sent counts."""
    first: dict[str, tuple[str, str]] = {}
    keys = []
    for comment in batch:
        key = (comment.post.id if comment.post else None) or "", comment.id or ""
        keys.append(key if comment.id is None else first.setdefault(comment.id, key))
    return sorted(range(len(batch)), key=keys.__getitem__)
