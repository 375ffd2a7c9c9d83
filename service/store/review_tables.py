"""What waits for people, who they are and what they did. No column is for an e-mail or an IP address, on purpose.

Rows are only ever added, except for what is marked *moves*: an account, a queue entry (which is where a comment waits
now, not what happened to it), that a verdict was undone, and erasure, which empties what was written and keeps the row.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from service.store.columns import DIGEST, JSON_VALUE, ROW_ID, metadata, moment, row_id, to


def _held_only(*columns: str) -> Index:
    """An index over what somebody holds, or held until it was too late: a few rows."""
    where = text("closed_at IS NULL AND claimed_until IS NOT NULL")
    return Index(None, *columns, sqlite_where=where, postgresql_where=where)


def _open_only(*columns: str) -> Index:
    """An index over what waits, which stays small however much has been decided."""
    where = text("closed_at IS NULL")
    return Index(None, *columns, sqlite_where=where, postgresql_where=where)


# People who moderate. Their names are copied into what they did, so that deleting one leaves that as it was.
moderators = Table(
    "moderators",
    metadata,
    row_id(),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text),  # (moves)
    Column("sign_in_hash", DIGEST),  # SHA-256 of a token that works once, to set a first password (moves)
    moment("sign_in_until", nullable=True),  # (moves)
    Column("sign_in_by", Text),  # who made it, a moderator or "operator" (moves)
    moment("created_at"),
    moment("disabled_at", nullable=True),  # (moves)
)

roles = Table(
    "roles",
    metadata,
    row_id(),
    to("moderators.id", "moderator_id", ondelete="CASCADE"),
    to("sites.id", "site_id"),
    Column("role", String(16), nullable=False),  # (moves)
    UniqueConstraint("moderator_id", "site_id"),
    CheckConstraint("role IN ('viewer', 'moderator', 'maintainer')", name="role"),
)

# Browsers in which somebody is signed in. Rows go when they end.
sessions = Table(
    "sessions",
    metadata,
    row_id(),
    to("moderators.id", "moderator_id", ondelete="CASCADE"),
    Column("token_hash", DIGEST, nullable=False, unique=True),  # SHA-256 of what the cookie holds
    moment("created_at"),
    moment("seen_at"),  # (moves)
    moment("expires_at"),
    Index(None, "moderator_id"),
)

# A comment that waits for a person, or did: one row per comment, opened again when it has to be looked at again.
# What is sorted and filtered by is copied here, so that a page of the queue is one index away. (all of it moves)
queue_entries = Table(
    "queue_entries",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    moment("opened_at"),
    moment("closed_at", nullable=True),
    Column("category", String(32)),  # the one with the most expected harm; empty where there were no scores
    Column("score", Float, nullable=False),
    Column("harm", Float, nullable=False),
    Column("urgency", Float, nullable=False),
    Column("teaching", Float, nullable=False),
    Column("reports", Integer, nullable=False),
    Column("campaign", ROW_ID),  # near-duplicates share it
    to("posts.id", "post_id", nullable=True),
    Column("author_id", Text),
    Column("lang", Text),
    Column("folded_text", Text),  # for searching: capitals and compatibility forms gone
    to("moderators.id", "claimed_by", nullable=True, ondelete="SET NULL"),
    Column("claimed_for", Text),  # in place of claimed_by: somebody who moderates on a page of the site's own
    moment("claimed_until", nullable=True),
    UniqueConstraint("comment_id"),
    _open_only("site_id", "urgency", "id"),
    _open_only("site_id", "opened_at", "id"),
    _open_only("site_id", "score", "id"),
    _open_only("site_id", "teaching", "id"),
    _open_only("site_id", "category", "score", "id"),
    _open_only("campaign", "id"),
    _open_only("post_id", "id"),
    _open_only("author_id", "id"),
    _held_only("site_id", "claimed_until"),
)

# Why an entry was opened, as many rows as there are reasons; replaced when it is opened again.
queue_reasons = Table(
    "queue_reasons",
    metadata,
    row_id(),
    to("queue_entries.id", "entry_id"),
    Column("name", String(16), nullable=False),
    Column("detail", String(32)),  # the policy's reason, the action that was audited, or how a second look came about
    Column("value", Float),
    Column("text", Text, nullable=False),
    moment("at"),
    Index(None, "entry_id"),
    CheckConstraint("name IN ('held', 'near_line', 'reported', 'appealed', 'audit', 'second_look')", name="name"),
)

# What a moderator judged. Only the mark that it was undone is ever added; erasure empties digest, note and answers.
verdicts = Table(
    "verdicts",
    metadata,
    row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    Column("together", String(32), nullable=False),  # verdicts given in one go, which one undo takes back
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    to("comment_versions.id", "comment_version_id"),
    Column("digest", DIGEST, nullable=False),
    Column("action", String(16), nullable=False),
    Column("categories", JSON_VALUE, nullable=False),
    Column("cleared", JSON_VALUE),  # categories said not to apply, where that is not all of the others
    Column("note", Text),
    to("moderators.id", "moderator_id", nullable=True, ondelete="SET NULL"),
    Column("moderator", Text, nullable=False),
    Column("source", String(32), nullable=False),
    Column("score_shown", Boolean),
    Column("inclusion_probability", Float),
    Column("old", String(16), nullable=False),  # the status before
    Column("closed_entry", Boolean, nullable=False),
    # Given to the queue, and not about a comment that somebody has chosen; none before that was noted.
    Column("answers_entry", Boolean),
    Column("answered", JSON_VALUE),  # why the entry waited that it closed, which an undo brings back
    moment("at"),
    moment("undone_at", nullable=True),  # (moves)
    Column("undone_by", Text),  # (moves)
    CheckConstraint("action IN ('approve', 'reject')", name="action"),
    Index(None, "comment_id", "id"),
    Index(None, "together"),
    Index(None, "site_id", "id"),
    Index(None, "site_id", "at"),
    Index(None, "comment_version_id", "id"),
    Index(None, "moderator_id"),
)

# What callers said of a text without settling the comment: a label and no verdict. A later word of the same caller is
# added to what was said before. (labels and when move)
suggestions = Table(
    "suggestions",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    to("comment_versions.id", "comment_version_id"),
    Column("moderator", Text, nullable=False),
    Column("is_certain", Boolean, nullable=False),  # whether it is known that this comment was meant, and not its like
    Column("labels", JSON_VALUE, nullable=False),  # categories, each 0 or 1
    moment("at"),
    UniqueConstraint("comment_version_id", "moderator", "is_certain"),
    Index(None, "site_id", "id"),
)

# That a reader reported a comment. Who it was is a keyed hash, which only tells whether it is somebody new.
reports = Table(
    "reports",
    metadata,
    row_id(),
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    to("comment_versions.id", "comment_version_id"),
    Column("reporter", DIGEST, nullable=False),
    Column("category", String(32)),
    moment("at"),
    UniqueConstraint("comment_version_id", "reporter"),
    Index(None, "comment_id"),
    Index(None, "reporter"),
)

# That an author asks for another look, once per version.
appeals = Table(
    "appeals",
    metadata,
    row_id(),
    Column("public_id", String(32), nullable=False, unique=True),
    to("sites.id", "site_id"),
    to("comments.id", "comment_id"),
    to("comment_versions.id", "comment_version_id"),
    Column("text", Text),
    moment("at"),
    Column("outcome", String(16)),  # (moves)
    to("verdicts.id", "verdict_id", nullable=True),  # (moves)
    UniqueConstraint("comment_version_id"),
    CheckConstraint("outcome IN ('upheld', 'overturned')", name="outcome"),
    Index(None, "comment_id"),
)

# Which decisions chance has picked for a look. What the seed says can be computed again.
audit_draws = Table(
    "audit_draws",
    metadata,
    row_id(),
    to("decisions.id", "decision_id"),
    Column("action", String(16), nullable=False),
    Column("share", Float, nullable=False),
    Column("seed", String(32), nullable=False),
    Column("inclusion_probability", Float, nullable=False),
    moment("at"),
    UniqueConstraint("decision_id"),
    Index(None, "at"),
)

# What people did, beside statuses: verdicts, undoings, reports, appeals, erasures, moderators. No text of comments.
audit_log = Table(
    "audit_log",
    metadata,
    row_id(),
    moment("at"),
    to("sites.id", "site_id", nullable=True),
    Column("who", Text, nullable=False),
    Column("event", String(32), nullable=False),
    Column("details", JSON_VALUE, nullable=False),
    Index(None, "site_id", "id"),
    Index(None, "site_id", "event", "id"),
)
