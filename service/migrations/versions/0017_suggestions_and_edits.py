"""What callers said of a text without settling a comment by it; an index of what Coral's commenters have edited."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "suggestions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_version_id", ROW_ID, nullable=False),
        sa.Column("moderator", sa.Text(), nullable=False),
        sa.Column("is_certain", sa.Boolean(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_suggestions_site_id_sites")),
        sa.ForeignKeyConstraint(
            ["comment_version_id"],
            ["comment_versions.id"],
            name=op.f("fk_suggestions_comment_version_id_comment_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suggestions")),
        sa.UniqueConstraint(
            "comment_version_id",
            "moderator",
            "is_certain",
            name=op.f("uq_suggestions_comment_version_id_moderator_is_certain"),
        ),
    )
    op.create_index(op.f("ix_suggestions_site_id_id"), "suggestions", ["site_id", "id"])
    is_edit = sa.text("external_id LIKE 'coral-edit-%'")
    op.create_index(
        "ix_comments_coral_edits",
        "comments",
        ["site_id", "created_at"],
        sqlite_where=is_edit,
        postgresql_where=is_edit,
    )
