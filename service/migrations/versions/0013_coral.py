"""A site's Coral: its signing secrets, and which comment of ours is which of Coral's."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "coral_connections",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("phase_keys", sa.JSON(), nullable=False),
        sa.Column("webhook_keys", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_coral_connections_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coral_connections")),
        sa.UniqueConstraint("public_id", name=op.f("uq_coral_connections_public_id")),
        sa.UniqueConstraint("site_id", name=op.f("uq_coral_connections_site_id")),
    )
    op.create_table(
        "coral_comments",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("connection_id", ROW_ID, nullable=False),
        sa.Column("coral_id", sa.Text(), nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["coral_connections.id"],
            name=op.f("fk_coral_comments_connection_id_coral_connections"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_coral_comments_comment_id_comments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coral_comments")),
        sa.UniqueConstraint("connection_id", "coral_id", name=op.f("uq_coral_comments_connection_id_coral_id")),
        sa.UniqueConstraint("comment_id", name=op.f("uq_coral_comments_comment_id")),
    )
