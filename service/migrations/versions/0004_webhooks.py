"""Webhooks with their outbox, leases, claims by people of the site, forgotten authors' hashes, indices for rates."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
WAITING = sa.text("next_attempt_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("comment_versions", sa.Column("author_hash", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_comment_versions_author_hash"), "comment_versions", ["author_hash"])
    op.add_column("queue_entries", sa.Column("claimed_for", sa.Text(), nullable=True))
    op.create_index(op.f("ix_comments_site_id_created_at"), "comments", ["site_id", "created_at"])
    op.create_index(
        op.f("ix_comments_site_id_author_id_created_at"), "comments", ["site_id", "author_id", "created_at"]
    )
    op.create_table(
        "webhooks",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("signing_key", sa.Text(), nullable=False),
        sa.Column("old_key", sa.Text(), nullable=True),
        sa.Column("old_key_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", MOMENT, nullable=True),
        sa.Column("held_by", sa.String(length=32), nullable=True),
        sa.Column("held_until", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_webhooks_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("public_id", name=op.f("uq_webhooks_public_id")),
        sa.UniqueConstraint("site_id", "url", name=op.f("uq_webhooks_site_id_url")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("webhook_id", ROW_ID, nullable=False),
        sa.Column("change_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=True),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.Column("given_up_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_outbox_webhook_id_webhooks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["change_id"], ["status_log.id"], name=op.f("fk_outbox_change_id_status_log")),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_outbox_comment_id_comments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("public_id", name=op.f("uq_outbox_public_id")),
    )
    op.create_index(op.f("ix_outbox_webhook_id"), "outbox", ["webhook_id"])
    for columns in (["webhook_id", "next_attempt_at"], ["webhook_id", "comment_id", "id"]):
        name = op.f(f"ix_outbox_{'_'.join(columns)}")
        op.create_index(name, "outbox", columns, sqlite_where=WAITING, postgresql_where=WAITING)
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
