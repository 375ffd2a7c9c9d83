"""Daily figures by site and category, and messages to webhooks that are about these."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "drift_days",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=False),
        sa.Column("comments", sa.Integer(), nullable=False),
        sa.Column("bins", sa.JSON(), nullable=False),
        sa.Column("psi", sa.Float(), nullable=True),
        sa.Column("unseen", sa.Float(), nullable=True),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("alerts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_drift_days_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_days")),
        sa.UniqueConstraint(
            "site_id", "day", "bundle", "tier", "category", name=op.f("uq_drift_days_site_id_day_bundle_tier_category")
        ),
    )
    with op.batch_alter_table("outbox") as batch:
        batch.add_column(sa.Column("drift_id", ROW_ID, nullable=True))
        batch.alter_column("change_id", existing_type=ROW_ID, nullable=True)
        batch.alter_column("comment_id", existing_type=ROW_ID, nullable=True)
        batch.create_foreign_key(op.f("fk_outbox_drift_id_drift_days"), "drift_days", ["drift_id"], ["id"])
