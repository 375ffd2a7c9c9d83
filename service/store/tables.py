"""The tables, the same on SQLite and PostgreSQL. There is no column for an e-mail or an IP address, on purpose.

Rows are only ever added, except for what is marked *moves*: a comment's status and current version, a post's current
version, a key's revocation, and erasure, which empties text and author and keeps the row.
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
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
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


def _to(target: str, name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, ForeignKey(target), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Utc(), nullable=nullable)


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
    Column("status", String(16), nullable=False),  # (moves; only through Store._set_status)
    Column("version", Integer, nullable=False),  # comment_versions.number of the current one (moves)
    # Copied from the current version, so that a thread and an author's history are one index away. (move)
    _to("posts.id", "post_id", nullable=True),
    Column("author_id", Text),
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("site_id", "external_id"),
    CheckConstraint("status IN ('published', 'held', 'rejected', 'erased')", name="status"),
    Index(None, "site_id", "author_id", "status"),
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

# Who set which status and when. ``who`` is a copied name, so that it outlives an account.
status_log = Table(
    "status_log",
    metadata,
    _row_id(),
    _to("comments.id", "comment_id"),
    Column("old", String(16)),
    Column("new", String(16), nullable=False),
    Column("who", Text, nullable=False),
    _to("decisions.id", "decision_id", nullable=True),
    _moment("at"),
    Index(None, "comment_id"),
)
