"""What a bundle that is scored beside would have decided."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "shadow_decisions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("decision_id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("decided", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=True),
        sa.Column("fired", sa.JSON(), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("action IN ('publish', 'hold', 'reject')", name=op.f("ck_shadow_decisions_action")),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_shadow_decisions_decision_id_decisions")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_shadow_decisions_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_decisions")),
        sa.UniqueConstraint("decision_id", "bundle", name=op.f("uq_shadow_decisions_decision_id_bundle")),
    )
    op.create_index(op.f("ix_shadow_decisions_bundle_site_id_id"), "shadow_decisions", ["bundle", "site_id", "id"])
