"""What sites sent, what was decided, and who is told. No column is for an e-mail or an IP address, on purpose.

Rows are only ever added, except for what is marked *moves*: a comment's status and current version, a post's current
version, a key's revocation, and erasure, which empties text and author and keeps the row. What people do is in
:mod:`service.store.review_tables`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from service.store.columns import DIGEST, JSON_VALUE, ROW_ID, metadata, moment, row_id, to


def _waiting_only(*columns: str) -> Index:
    """An index over what has not been delivered."""
    where = text("next_attempt_at IS NOT NULL")
    return Index(None, *columns, sqlite_where=where, postgresql_where=where)


# Edits in Coral are comments of their own here; beside all others they are few. An index is used by queries that say
# this literally.
IS_CORAL_EDIT = text("external_id LIKE 'coral-edit-%'")
IS_JUDGED = text("judged_at IS NOT NULL")

policies = Table(
    "policies",
    metadata,
    Column("digest", DIGEST, primary_key=True),
    Column("toml", Text, nullable=False),
    moment("created_at"),
)

sites = Table(
    "sites",
    metadata,
    row_id(),
    Column("url", Text, nullable=False, unique=True),
    # Empty: the site follows HOME/policy.toml, or the default policy where there is none. (moves)
    to("policies.digest", "policy_digest", nullable=True),
    moment("created_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    Column("prefix", String(16), nullable=False, unique=True),
    Column("hash", DIGEST, nullable=False),
    moment("created_at"),
    moment("revoked_at", nullable=True),  # (moves)
)

# What a post said, once per site however many comments it has.
post_versions = Table(
    "post_versions",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    Column("digest", DIGEST, nullable=False),
    Column("title", Text),
    Column("text", Text),
    Column("url", Text),
    Column("tags", JSON_VALUE, nullable=False),
    moment("created_at"),
    UniqueConstraint("site_id", "digest"),
)

posts = Table(
    "posts",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    Column("external_id", Text, nullable=False),
    to("post_versions.id", "version_id", nullable=True),  # (moves)
    moment("created_at"),
    UniqueConstraint("site_id", "external_id"),
)

comments = Table(
    "comments",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    Column("external_id", Text),
    Column("status", String(16), nullable=False),  # (moves; only through writing.set_status)
    Column("version", Integer, nullable=False),  # comment_versions.number of the current one (moves)
    # Copied from the current version, so that a thread and an author's history are one index away. (move)
    to("posts.id", "post_id", nullable=True),
    Column("author_id", Text),
    moment("created_at"),
    moment("updated_at"),
    UniqueConstraint("site_id", "external_id"),
    CheckConstraint("status IN ('published', 'held', 'rejected', 'erased')", name="status"),
    Index(None, "site_id", "author_id", "status"),
    Index(None, "site_id", "author_id", "created_at"),
    Index(None, "site_id", "created_at"),
    Index(None, "site_id", "status", "id"),
    Index(None, "post_id", "status", "id"),
    Index(
        "ix_comments_coral_edits", "site_id", "created_at", sqlite_where=IS_CORAL_EDIT, postgresql_where=IS_CORAL_EDIT
    ),
)

# A comment exactly as it was judged, context included, so that a decision can be replayed.
comment_versions = Table(
    "comment_versions",
    metadata,
    row_id(),
    to("comments.id", "comment_id"),
    Column("number", Integer, nullable=False),
    Column("digest", DIGEST, nullable=False),  # of what was judged; both are empty once erased
    Column("sent_digest", DIGEST, nullable=False),  # of what was sent, before context was filled in
    Column("do_not_store", Boolean, nullable=False),
    Column("text", Text),
    Column("text_hash", DIGEST),  # keyed, of the normalised text
    Column("handles", JSON_VALUE),  # keyed, of what callers tell it from others with the same text by (moves)
    Column("author_id", Text),
    Column("author_name", Text),
    Column("author_url", Text),
    Column("author_hash", DIGEST),  # keyed, of the author's id, once retention has emptied that (moves)
    Column("kind", Text, nullable=False),
    Column("parent_id", Text),
    Column("parent_text", Text),  # only what the site sent; what the store knew is referred to
    to("comment_versions.id", "parent_version_id", nullable=True),
    Column("thread", JSON_VALUE),  # [{id, text}] as sent, or [{id, version}] where the store knew it
    Column("lang", Text),
    Column("url", Text),
    Column("written_at", Text),  # `created_at` as the site wrote it
    Column("hints", JSON_VALUE),
    to("posts.id", "post_id", nullable=True),
    to("post_versions.id", "post_version_id", nullable=True),
    moment("created_at"),
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
    row_id(),
    to("sites.id", "site_id"),
    to("comment_versions.id", "comment_version_id"),
    Column("external_id", Text, nullable=False),
    Index(None, "site_id", "external_id"),
    Index(None, "comment_version_id"),
)

decisions = Table(
    "decisions",
    metadata,
    row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    to("comment_versions.id", "comment_version_id"),
    Column("action", String(16), nullable=False),
    Column("scores", JSON_VALUE),
    Column("reasons", JSON_VALUE, nullable=False),
    Column("bundle", Text),
    to("policies.digest", "policy_digest"),
    Column("tier", String(16)),
    Column("facts", JSON_VALUE, nullable=False),
    Column("author_message", Text),
    moment("created_at"),
    CheckConstraint("action IN ('publish', 'hold', 'reject')", name="action"),
    Index(None, "comment_version_id"),
)

# By which near-duplicates of a text are found: some keyed hashes per comment, of which two near-duplicates share one.
near_hashes = Table(
    "near_hashes",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    Column("band", BigInteger, nullable=False),
    Column("campaign", ROW_ID, nullable=False),
    moment("at"),
    # When the text was judged last and whether as spam, as long as that verdict stands. (move)
    moment("judged_at", nullable=True),
    Column("is_spam", Boolean),
    # Asked about as often as a client likes: it is no further one of its like.
    Column("is_question", Boolean, nullable=False, server_default=false()),
    Index(None, "site_id", "band", "at"),
    Index(None, "comment_id"),
    Index(
        "ix_near_hashes_judged",
        *("site_id", "band", "judged_at"),
        sqlite_where=IS_JUDGED,
        postgresql_where=IS_JUDGED,
    ),
)

# Who set which status and when. ``who`` is a copied name, so that it outlives an account. Within a site, row ids are in
# the order of commits: whoever writes here holds the site's turn.
status_log = Table(
    "status_log",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    Column("old", String(16)),
    Column("new", String(16), nullable=False),
    Column("who", Text, nullable=False),
    to("decisions.id", "decision_id", nullable=True),
    to("verdicts.id", "verdict_id", nullable=True),
    moment("at"),
    Index(None, "comment_id"),
    Index(None, "site_id", "id"),
    # The first status of each comment, by day.
    Index(None, "site_id", "new", "at", sqlite_where=text("old IS NULL"), postgresql_where=text("old IS NULL")),
)

# What clients of Akismet know of comments that they had checked or, without ``checked_spam``, have only spoken of.
akismet_answers = Table(
    "akismet_answers",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    Column("checked_spam", Boolean),  # what the first check was answered, which figures count (moves, once)
    Column("held_spam", Boolean),  # what a check is answered as long as the comment is held (moves)
    Column("told_spam", Boolean),  # what they were told or have said last; empty where nobody knows (moves)
    moment("at"),
    UniqueConstraint("comment_id"),
    # All that figures need, so that a month of them reads no table.
    Index(None, "site_id", "at", "checked_spam"),
)

# Where a site wants to hear of changes. Keys are kept as they are, because each message is signed with them.
webhooks = Table(
    "webhooks",
    metadata,
    row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    to("sites.id", "site_id"),
    Column("url", Text, nullable=False),
    Column("format", String(16), nullable=False, server_default="standard"),
    Column("events", JSON_VALUE, nullable=False),
    Column("signing_key", Text, nullable=False),  # of the format "akismet": the key that the plugin knows (moves)
    Column("old_key", Text),  # signs beside the new one until then (moves)
    moment("old_key_until", nullable=True),  # (moves)
    moment("created_at"),
    moment("disabled_at", nullable=True),  # (moves)
    Column("failures", Integer, nullable=False),  # attempts in a row that failed (moves)
    moment("paused_until", nullable=True),  # (moves)
    Column("held_by", String(32)),  # the process that delivers to it, until then (moves)
    moment("held_until", nullable=True),  # (moves)
    UniqueConstraint("site_id", "url"),
)

# What is to be delivered: a row per change and webhook, written with the change. What is sent is read from the change
# when it is sent, so that nothing is kept here that an erasure would have to find. (attempts and their outcome move)
outbox = Table(
    "outbox",
    metadata,
    row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    to("webhooks.id", "webhook_id", ondelete="CASCADE"),
    # Either a change of a comment, or what a check of it would be answered now, or the figures of a day.
    to("status_log.id", "change_id", nullable=True),
    to("comments.id", "comment_id", nullable=True),
    to("drift_days.id", "drift_id", nullable=True),
    Column("told_spam", Boolean),
    moment("created_at"),
    Column("attempts", Integer, nullable=False),
    moment("next_attempt_at", nullable=True),  # empty once it was delivered or given up
    moment("delivered_at", nullable=True),
    moment("given_up_at", nullable=True),
    Column("last_error", String(32)),
    _waiting_only("webhook_id", "next_attempt_at"),
    _waiting_only("webhook_id", "comment_id", "id"),
    Index(None, "webhook_id"),
)

# A site's Coral. Secrets are kept as they are, because Coral signs each request with them.
coral_connections = Table(
    "coral_connections",
    metadata,
    row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    to("sites.id", "site_id"),
    Column("phase_keys", JSON_VALUE, nullable=False),  # at most two, the newest first (moves)
    Column("webhook_keys", JSON_VALUE, nullable=False),  # the same (moves)
    moment("phase_superseded_at", nullable=True),  # since when the second one is the old one (moves)
    moment("webhook_superseded_at", nullable=True),  # the same (moves)
    moment("created_at"),
    UniqueConstraint("site_id"),
)

# Which comment of ours is which of Coral's, where its webhooks have told.
coral_comments = Table(
    "coral_comments",
    metadata,
    row_id(),
    to("coral_connections.id", "connection_id", ondelete="CASCADE"),
    Column("coral_id", Text, nullable=False),
    to("comments.id", "comment_id"),
    moment("at"),
    UniqueConstraint("connection_id", "coral_id"),
    UniqueConstraint("comment_id"),
)

# When Coral asked about what is not kept; a minute later a row says nothing any more. Without a story: of any.
coral_requests = Table(
    "coral_requests",
    metadata,
    row_id(),
    to("coral_connections.id", "connection_id", ondelete="CASCADE"),
    Column("story", Text, nullable=True),
    moment("at"),
    Index(None, "at"),
)

# Work that one process at a time does for all.
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(32), nullable=False),  # (moves)
    moment("until"),  # (moves)
)
