"""The tables, the same on SQLite and PostgreSQL. There is no column for an e-mail or an IP address, on purpose.

Rows are only ever added, except for what is marked *moves*: a comment's status and current version, a post's current
version, a key's revocation, a queue entry (which is where a comment waits now, not what happened to it), and erasure,
which empties text and author and keeps the row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

# Named constraints, because a later migration can only change what has a name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly this type.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")
_JSON = JSON(none_as_null=True)
_DIGEST = String(64)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone, so it goes in as UTC and comes out as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; naive on SQLite."""
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # the signature is SQLAlchemy's
        """Back to UTC, with the zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _row_id() -> Column[int]:
    return Column("id", _ROW_ID, primary_key=True)


def _to(target: str, name: str, *, nullable: bool = False, ondelete: str | None = None) -> Column[Any]:
    return Column(name, ForeignKey(target, ondelete=ondelete), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Utc(), nullable=nullable)


def _open_only(*columns: str) -> Index:
    """An index over what waits, which stays small however much has been decided."""
    where = text("closed_at IS NULL")
    return Index(None, *columns, sqlite_where=where, postgresql_where=where)


def _waiting_only(*columns: str) -> Index:
    """An index over what has not been delivered."""
    where = text("next_attempt_at IS NOT NULL")
    return Index(None, *columns, sqlite_where=where, postgresql_where=where)


policies = Table(
    "policies",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("toml", Text, nullable=False),
    _moment("created_at"),
)

sites = Table(
    "sites",
    metadata,
    _row_id(),
    Column("url", Text, nullable=False, unique=True),
    # Empty: the site follows HOME/policy.toml, or the default policy where there is none. (moves)
    _to("policies.digest", "policy_digest", nullable=True),
    _moment("created_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    Column("prefix", String(16), nullable=False, unique=True),
    Column("hash", _DIGEST, nullable=False),
    _moment("created_at"),
    _moment("revoked_at", nullable=True),  # (moves)
)

# What a post said, once per site however many comments it has.
post_versions = Table(
    "post_versions",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    Column("digest", _DIGEST, nullable=False),
    Column("title", Text),
    Column("text", Text),
    Column("url", Text),
    Column("tags", _JSON, nullable=False),
    _moment("created_at"),
    UniqueConstraint("site_id", "digest"),
)

posts = Table(
    "posts",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    Column("external_id", Text, nullable=False),
    _to("post_versions.id", "version_id", nullable=True),  # (moves)
    _moment("created_at"),
    UniqueConstraint("site_id", "external_id"),
)

comments = Table(
    "comments",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    Column("external_id", Text),
    Column("status", String(16), nullable=False),  # (moves; only through writing.set_status)
    Column("version", Integer, nullable=False),  # comment_versions.number of the current one (moves)
    # Copied from the current version, so that a thread and an author's history are one index away. (move)
    _to("posts.id", "post_id", nullable=True),
    Column("author_id", Text),
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("site_id", "external_id"),
    CheckConstraint("status IN ('published', 'held', 'rejected', 'erased')", name="status"),
    Index(None, "site_id", "author_id", "status"),
    Index(None, "site_id", "author_id", "created_at"),
    Index(None, "site_id", "created_at"),
    Index(None, "site_id", "status", "id"),
    Index(None, "post_id", "status", "id"),
)

# A comment exactly as it was judged, context included, so that a decision can be replayed.
comment_versions = Table(
    "comment_versions",
    metadata,
    _row_id(),
    _to("comments.id", "comment_id"),
    Column("number", Integer, nullable=False),
    Column("digest", _DIGEST, nullable=False),  # of what was judged; both are empty once erased
    Column("sent_digest", _DIGEST, nullable=False),  # of what was sent, before context was filled in
    Column("do_not_store", Boolean, nullable=False),
    Column("text", Text),
    Column("text_hash", _DIGEST),  # keyed, of the normalised text
    Column("author_id", Text),
    Column("author_name", Text),
    Column("author_url", Text),
    Column("author_hash", _DIGEST),  # keyed, of the author's id, once retention has emptied that (moves)
    Column("kind", Text, nullable=False),
    Column("parent_id", Text),
    Column("parent_text", Text),  # only what the site sent; what the store knew is referred to
    _to("comment_versions.id", "parent_version_id", nullable=True),
    Column("thread", _JSON),  # [{id, text}] as sent, or [{id, version}] where the store knew it
    Column("lang", Text),
    Column("url", Text),
    Column("written_at", Text),  # `created_at` as the site wrote it
    Column("hints", _JSON),
    _to("posts.id", "post_id", nullable=True),
    _to("post_versions.id", "post_version_id", nullable=True),
    _moment("created_at"),
    UniqueConstraint("comment_id", "number"),
    Index(None, "text_hash"),
    Index(None, "post_id"),
    Index(None, "author_id"),
    Index(None, "author_hash"),
)

# Which comments a version repeats because the site sent them along: by it an erasure finds those copies. Rows go with
# the copies.
sent_along = Table(
    "sent_along",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    _to("comment_versions.id", "comment_version_id"),
    Column("external_id", Text, nullable=False),
    Index(None, "site_id", "external_id"),
    Index(None, "comment_version_id"),
)

decisions = Table(
    "decisions",
    metadata,
    _row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("comment_versions.id", "comment_version_id"),
    Column("action", String(16), nullable=False),
    Column("scores", _JSON),
    Column("reasons", _JSON, nullable=False),
    Column("bundle", Text),
    _to("policies.digest", "policy_digest"),
    Column("tier", String(16)),
    Column("facts", _JSON, nullable=False),
    Column("author_message", Text),
    _moment("created_at"),
    CheckConstraint("action IN ('publish', 'hold', 'reject')", name="action"),
    Index(None, "comment_version_id"),
)

# People who moderate. Their names are copied into what they did, so that deleting one leaves that as it was.
moderators = Table(
    "moderators",
    metadata,
    _row_id(),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text),  # (moves)
    Column("sign_in_hash", _DIGEST),  # SHA-256 of a token that works once, to set a first password (moves)
    _moment("sign_in_until", nullable=True),  # (moves)
    Column("sign_in_by", Text),  # who made it, a moderator or "operator" (moves)
    _moment("created_at"),
    _moment("disabled_at", nullable=True),  # (moves)
)

roles = Table(
    "roles",
    metadata,
    _row_id(),
    _to("moderators.id", "moderator_id", ondelete="CASCADE"),
    _to("sites.id", "site_id"),
    Column("role", String(16), nullable=False),  # (moves)
    UniqueConstraint("moderator_id", "site_id"),
    CheckConstraint("role IN ('viewer', 'moderator', 'maintainer')", name="role"),
)

# Browsers in which somebody is signed in. Rows go when they end.
sessions = Table(
    "sessions",
    metadata,
    _row_id(),
    _to("moderators.id", "moderator_id", ondelete="CASCADE"),
    Column("token_hash", _DIGEST, nullable=False, unique=True),  # SHA-256 of what the cookie holds
    _moment("created_at"),
    _moment("seen_at"),  # (moves)
    _moment("expires_at"),
    Index(None, "moderator_id"),
)

# A comment that waits for a person, or did: one row per comment, opened again when it has to be looked at again.
# What is sorted and filtered by is copied here, so that a page of the queue is one index away. (all of it moves)
queue_entries = Table(
    "queue_entries",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    _to("comments.id", "comment_id"),
    _moment("opened_at"),
    _moment("closed_at", nullable=True),
    Column("category", String(32)),  # the one with the most expected harm; empty where there were no scores
    Column("score", Float, nullable=False),
    Column("harm", Float, nullable=False),
    Column("urgency", Float, nullable=False),
    Column("teaching", Float, nullable=False),
    Column("reports", Integer, nullable=False),
    Column("campaign", _ROW_ID),  # near-duplicates share it
    _to("posts.id", "post_id", nullable=True),
    Column("author_id", Text),
    Column("lang", Text),
    Column("folded_text", Text),  # for searching: capitals and compatibility forms gone
    _to("moderators.id", "claimed_by", nullable=True, ondelete="SET NULL"),
    Column("claimed_for", Text),  # in place of claimed_by: somebody who moderates on a page of the site's own
    _moment("claimed_until", nullable=True),
    UniqueConstraint("comment_id"),
    _open_only("site_id", "urgency", "id"),
    _open_only("site_id", "opened_at", "id"),
    _open_only("site_id", "score", "id"),
    _open_only("site_id", "teaching", "id"),
    _open_only("site_id", "category", "score", "id"),
    _open_only("campaign", "id"),
    _open_only("post_id", "id"),
    _open_only("author_id", "id"),
)

# Why an entry was opened, as many rows as there are reasons; replaced when it is opened again.
queue_reasons = Table(
    "queue_reasons",
    metadata,
    _row_id(),
    _to("queue_entries.id", "entry_id"),
    Column("name", String(16), nullable=False),
    Column("detail", String(32)),  # the policy's reason, or the action that was audited
    Column("value", Float),
    Column("text", Text, nullable=False),
    _moment("at"),
    Index(None, "entry_id"),
    CheckConstraint("name IN ('held', 'near_line', 'reported', 'appealed', 'audit')", name="name"),
)

# What a moderator judged. Only the mark that it was undone is ever added, and erasure empties digest and note.
verdicts = Table(
    "verdicts",
    metadata,
    _row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    Column("together", String(32), nullable=False),  # verdicts given in one go, which one undo takes back
    _to("sites.id", "site_id"),
    _to("comments.id", "comment_id"),
    _to("comment_versions.id", "comment_version_id"),
    Column("digest", _DIGEST, nullable=False),
    Column("action", String(16), nullable=False),
    Column("categories", _JSON, nullable=False),
    Column("note", Text),
    _to("moderators.id", "moderator_id", nullable=True, ondelete="SET NULL"),
    Column("moderator", Text, nullable=False),
    Column("source", String(32), nullable=False),
    Column("score_shown", Boolean),
    Column("inclusion_probability", Float),
    Column("old", String(16), nullable=False),  # the status before
    Column("closed_entry", Boolean, nullable=False),
    _moment("at"),
    _moment("undone_at", nullable=True),  # (moves)
    Column("undone_by", Text),  # (moves)
    CheckConstraint("action IN ('approve', 'reject')", name="action"),
    Index(None, "comment_id", "id"),
    Index(None, "together"),
    Index(None, "site_id", "id"),
    Index(None, "site_id", "at"),
    Index(None, "comment_version_id", "id"),
    Index(None, "moderator_id"),
)

# That a reader reported a comment. Who it was is a keyed hash, which only tells whether it is somebody new.
reports = Table(
    "reports",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    _to("comments.id", "comment_id"),
    _to("comment_versions.id", "comment_version_id"),
    Column("reporter", _DIGEST, nullable=False),
    Column("category", String(32)),
    _moment("at"),
    UniqueConstraint("comment_version_id", "reporter"),
    Index(None, "comment_id"),
    Index(None, "reporter"),
)

# That an author asks for another look, once per version.
appeals = Table(
    "appeals",
    metadata,
    _row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("sites.id", "site_id"),
    _to("comments.id", "comment_id"),
    _to("comment_versions.id", "comment_version_id"),
    Column("text", Text),
    _moment("at"),
    Column("outcome", String(16)),  # (moves)
    _to("verdicts.id", "verdict_id", nullable=True),  # (moves)
    UniqueConstraint("comment_version_id"),
    CheckConstraint("outcome IN ('upheld', 'overturned')", name="outcome"),
    Index(None, "comment_id"),
)

# Which decisions chance has picked for a look. What the seed says can be computed again.
audit_draws = Table(
    "audit_draws",
    metadata,
    _row_id(),
    _to("decisions.id", "decision_id"),
    Column("action", String(16), nullable=False),
    Column("share", Float, nullable=False),
    Column("seed", String(32), nullable=False),
    Column("inclusion_probability", Float, nullable=False),
    _moment("at"),
    UniqueConstraint("decision_id"),
    Index(None, "at"),
)

# By which near-duplicates of a text are found: some keyed hashes per comment, of which two near-duplicates share one.
near_hashes = Table(
    "near_hashes",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    _to("comments.id", "comment_id"),
    Column("band", BigInteger, nullable=False),
    Column("campaign", _ROW_ID, nullable=False),
    _moment("at"),
    Index(None, "site_id", "band", "at"),
    Index(None, "comment_id"),
)

# Who set which status and when. ``who`` is a copied name, so that it outlives an account. Within a site, row ids are in
# the order of commits: whoever writes here holds the site's turn.
status_log = Table(
    "status_log",
    metadata,
    _row_id(),
    _to("sites.id", "site_id"),
    _to("comments.id", "comment_id"),
    Column("old", String(16)),
    Column("new", String(16), nullable=False),
    Column("who", Text, nullable=False),
    _to("decisions.id", "decision_id", nullable=True),
    _to("verdicts.id", "verdict_id", nullable=True),
    _moment("at"),
    Index(None, "comment_id"),
    Index(None, "site_id", "id"),
    # The first status of each comment, by day.
    Index(None, "site_id", "new", "at", sqlite_where=text("old IS NULL"), postgresql_where=text("old IS NULL")),
)

# What people did, beside statuses: verdicts, undoings, reports, appeals, erasures, moderators. No text of comments.
audit_log = Table(
    "audit_log",
    metadata,
    _row_id(),
    _moment("at"),
    _to("sites.id", "site_id", nullable=True),
    Column("who", Text, nullable=False),
    Column("event", String(32), nullable=False),
    Column("details", _JSON, nullable=False),
    Index(None, "site_id", "id"),
    Index(None, "site_id", "event", "id"),
)

# Where a site wants to hear of changes. Keys are kept as they are, because each message is signed with them.
webhooks = Table(
    "webhooks",
    metadata,
    _row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("sites.id", "site_id"),
    Column("url", Text, nullable=False),
    Column("events", _JSON, nullable=False),
    Column("signing_key", Text, nullable=False),  # (moves)
    Column("old_key", Text),  # signs beside the new one until then (moves)
    _moment("old_key_until", nullable=True),  # (moves)
    _moment("created_at"),
    _moment("disabled_at", nullable=True),  # (moves)
    Column("failures", Integer, nullable=False),  # attempts in a row that failed (moves)
    _moment("paused_until", nullable=True),  # (moves)
    Column("held_by", String(32)),  # the process that delivers to it, until then (moves)
    _moment("held_until", nullable=True),  # (moves)
    UniqueConstraint("site_id", "url"),
)

# What is to be delivered: a row per change and webhook, written with the change. What is sent is read from the change
# when it is sent, so that nothing is kept here that an erasure would have to find. (attempts and their outcome move)
outbox = Table(
    "outbox",
    metadata,
    _row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    _to("webhooks.id", "webhook_id", ondelete="CASCADE"),
    _to("status_log.id", "change_id"),
    _to("comments.id", "comment_id"),
    _moment("created_at"),
    Column("attempts", Integer, nullable=False),
    _moment("next_attempt_at", nullable=True),  # empty once it was delivered or given up
    _moment("delivered_at", nullable=True),
    _moment("given_up_at", nullable=True),
    Column("last_error", String(32)),
    _waiting_only("webhook_id", "next_attempt_at"),
    _waiting_only("webhook_id", "comment_id", "id"),
    Index(None, "webhook_id"),
)

# Work that one process at a time does for all.
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(32), nullable=False),  # (moves)
    _moment("until"),  # (moves)
)
