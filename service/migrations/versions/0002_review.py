"""Review: moderators, the queue, verdicts, reports, appeals, audits, near-duplicates, and a log of what people did.

Comments that are held already get their place in the queue.
"""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
WAITING = sa.text("closed_at IS NULL")
HARM = {
    "hostile": 3.0,
    "spam": 1.0,
    "off_topic": 0.5,
    "insult": 2.0,
    "threat": 5.0,
    "identity_attack": 4.0,
    "profanity": 1.0,
    "severe": 5.0,
}


def upgrade() -> None:
    _make_tables()
    _give_sites_to_status_log()
    _queue_what_is_held()


def _make_tables() -> None:
    op.create_table(
        "moderators",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("sign_in_hash", sa.String(length=64), nullable=True),
        sa.Column("sign_in_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderators")),
        sa.UniqueConstraint("name", name=op.f("uq_moderators_name")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_audit_log_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_site_id_id"), "audit_log", ["site_id", "id"])
    op.create_table(
        "roles",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("moderator_id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'moderator', 'maintainer')", name=op.f("ck_roles_role")),
        sa.ForeignKeyConstraint(
            ["moderator_id"], ["moderators.id"], name=op.f("fk_roles_moderator_id_moderators"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_roles_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("moderator_id", "site_id", name=op.f("uq_roles_moderator_id_site_id")),
    )
    op.create_table(
        "near_hashes",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("band", sa.BigInteger(), nullable=False),
        sa.Column("campaign", ROW_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_near_hashes_comment_id_comments")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_near_hashes_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_near_hashes")),
    )
    op.create_index(op.f("ix_near_hashes_comment_id"), "near_hashes", ["comment_id"])
    op.create_index(op.f("ix_near_hashes_site_id_band_at"), "near_hashes", ["site_id", "band", "at"])
    op.create_table(
        "queue_entries",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("category", sa.String(length=32), nullable=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("harm", sa.Float(), nullable=False),
        sa.Column("urgency", sa.Float(), nullable=False),
        sa.Column("teaching", sa.Float(), nullable=False),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("campaign", ROW_ID, nullable=True),
        sa.Column("post_id", ROW_ID, nullable=True),
        sa.Column("author_id", sa.Text(), nullable=True),
        sa.Column("lang", sa.Text(), nullable=True),
        sa.Column("folded_text", sa.Text(), nullable=True),
        sa.Column("claimed_by", ROW_ID, nullable=True),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["claimed_by"], ["moderators.id"], name=op.f("fk_queue_entries_claimed_by_moderators"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_queue_entries_comment_id_comments")),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_queue_entries_post_id_posts")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_queue_entries_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_entries")),
        sa.UniqueConstraint("comment_id", name=op.f("uq_queue_entries_comment_id")),
    )
    op.create_index(
        op.f("ix_queue_entries_author_id_id"),
        "queue_entries",
        ["author_id", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_queue_entries_post_id_id"),
        "queue_entries",
        ["post_id", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_queue_entries_campaign_id"),
        "queue_entries",
        ["campaign", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_queue_entries_site_id_opened_at_id"),
        "queue_entries",
        ["site_id", "opened_at", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_queue_entries_site_id_score_id"),
        "queue_entries",
        ["site_id", "score", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_queue_entries_site_id_teaching_id"),
        "queue_entries",
        ["site_id", "teaching", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_queue_entries_site_id_urgency_id"),
        "queue_entries",
        ["site_id", "urgency", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_table(
        "queue_reasons",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("entry_id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.String(length=32), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "name IN ('held', 'near_line', 'reported', 'appealed', 'audit')", name=op.f("ck_queue_reasons_name")
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["queue_entries.id"], name=op.f("fk_queue_reasons_entry_id_queue_entries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_reasons")),
    )
    op.create_index(op.f("ix_queue_reasons_entry_id"), "queue_reasons", ["entry_id"])
    op.create_table(
        "reports",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("comment_version_id", ROW_ID, nullable=False),
        sa.Column("reporter", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_reports_comment_id_comments")),
        sa.ForeignKeyConstraint(
            ["comment_version_id"], ["comment_versions.id"], name=op.f("fk_reports_comment_version_id_comment_versions")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_reports_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
        sa.UniqueConstraint("comment_version_id", "reporter", name=op.f("uq_reports_comment_version_id_reporter")),
    )
    op.create_index(op.f("ix_reports_comment_id"), "reports", ["comment_id"])
    op.create_index(op.f("ix_reports_reporter"), "reports", ["reporter"])
    op.create_table(
        "verdicts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("together", sa.String(length=32), nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("comment_version_id", ROW_ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("moderator_id", ROW_ID, nullable=True),
        sa.Column("moderator", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("score_shown", sa.Boolean(), nullable=True),
        sa.Column("inclusion_probability", sa.Float(), nullable=True),
        sa.Column("old", sa.String(length=16), nullable=False),
        sa.Column("closed_entry", sa.Boolean(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("undone_at", MOMENT, nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.CheckConstraint("action IN ('approve', 'reject')", name=op.f("ck_verdicts_action")),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_verdicts_comment_id_comments")),
        sa.ForeignKeyConstraint(
            ["comment_version_id"],
            ["comment_versions.id"],
            name=op.f("fk_verdicts_comment_version_id_comment_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["moderator_id"], ["moderators.id"], name=op.f("fk_verdicts_moderator_id_moderators"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_verdicts_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint("public_id", name=op.f("uq_verdicts_public_id")),
    )
    op.create_index(op.f("ix_verdicts_comment_id_id"), "verdicts", ["comment_id", "id"])
    op.create_index(op.f("ix_verdicts_moderator_id"), "verdicts", ["moderator_id"])
    op.create_index(op.f("ix_verdicts_site_id_id"), "verdicts", ["site_id", "id"])
    op.create_index(op.f("ix_verdicts_together"), "verdicts", ["together"])
    op.create_table(
        "appeals",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("comment_version_id", ROW_ID, nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("verdict_id", ROW_ID, nullable=True),
        sa.CheckConstraint("outcome IN ('upheld', 'overturned')", name=op.f("ck_appeals_outcome")),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_appeals_comment_id_comments")),
        sa.ForeignKeyConstraint(
            ["comment_version_id"], ["comment_versions.id"], name=op.f("fk_appeals_comment_version_id_comment_versions")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_appeals_site_id_sites")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name=op.f("fk_appeals_verdict_id_verdicts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appeals")),
        sa.UniqueConstraint("comment_version_id", name=op.f("uq_appeals_comment_version_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_appeals_public_id")),
    )
    op.create_index(op.f("ix_appeals_comment_id"), "appeals", ["comment_id"])
    op.create_table(
        "audit_draws",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("decision_id", ROW_ID, nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("seed", sa.String(length=32), nullable=False),
        sa.Column("inclusion_probability", sa.Float(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_audit_draws_decision_id_decisions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_draws")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_audit_draws_decision_id")),
    )
    op.create_index(op.f("ix_comment_versions_author_id"), "comment_versions", ["author_id"])


def _give_sites_to_status_log() -> None:
    with op.batch_alter_table("status_log") as batch:
        batch.add_column(sa.Column("site_id", ROW_ID, nullable=True))
        batch.add_column(sa.Column("verdict_id", ROW_ID, nullable=True))
    op.execute(
        "UPDATE status_log SET site_id = (SELECT site_id FROM comments WHERE comments.id = status_log.comment_id)"
    )
    with op.batch_alter_table("status_log") as batch:
        batch.alter_column("site_id", existing_type=ROW_ID, nullable=False)
        batch.create_foreign_key(op.f("fk_status_log_site_id_sites"), "sites", ["site_id"], ["id"])
        batch.create_foreign_key(op.f("fk_status_log_verdict_id_verdicts"), "verdicts", ["verdict_id"], ["id"])
    op.create_index(op.f("ix_status_log_site_id_id"), "status_log", ["site_id", "id"])


def _queue_what_is_held() -> None:
    connection = op.get_bind()
    tables = sa.MetaData()
    names = ("comments", "comment_versions", "decisions", "queue_entries", "queue_reasons")
    tables.reflect(connection, only=names)
    comments, versions, decisions, entries, reasons = (tables.tables[name] for name in names)
    other = decisions.alias()
    latest = sa.select(sa.func.max(other.c.id)).where(other.c.comment_version_id == versions.c.id)
    query = (
        sa.select(
            comments.c.site_id,
            comments.c.id.label("comment_id"),
            comments.c.post_id,
            comments.c.author_id,
            comments.c.updated_at,
            versions.c.lang,
            versions.c.text,
            decisions.c.scores,
            decisions.c.reasons,
        )
        .join(versions, (versions.c.comment_id == comments.c.id) & (versions.c.number == comments.c.version))
        .join(decisions, decisions.c.comment_version_id == versions.c.id)
        .where(comments.c.status == "held", versions.c.text.is_not(None), decisions.c.id == latest.scalar_subquery())
        .order_by(comments.c.id)
    )
    for row in connection.execute(query).all():
        entry = {
            "site_id": row.site_id,
            "comment_id": row.comment_id,
            "post_id": row.post_id,
            "author_id": row.author_id,
            "lang": row.lang,
            "folded_text": _fold(row.text),
            "opened_at": row.updated_at,
            "reports": 0,
        }
        entry |= _measure({code: score for code, score in (row.scores or {}).items() if score is not None})
        inserted = connection.execute(sa.insert(entries).values(entry).returning(entries.c.id)).scalar_one()
        fired = [reason for reason in row.reasons if reason["fired"]]
        for reason in fired or [{"name": None, "text": "Held for a moderator."}]:
            why = {"entry_id": inserted, "name": "held", "detail": reason["name"], "text": reason["text"]}
            connection.execute(sa.insert(reasons).values(why | {"at": row.updated_at}))


def _measure(scores: dict[str, float]) -> dict[str, str | float | None]:
    if not scores:
        return {"category": None, "score": 1.0, "harm": 1.5, "urgency": 1.5, "teaching": 1.0}
    category = max(scores, key=lambda code: HARM[code] * scores[code])
    harm = HARM[category] * scores[category]
    teaching = max(4 * score * (1 - score) for score in scores.values())
    return {"category": category, "score": scores[category], "harm": harm, "urgency": harm, "teaching": teaching}


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
