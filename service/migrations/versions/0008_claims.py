"""An index for pages that stay open: what somebody holds."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

HELD = sa.text("closed_at IS NULL AND claimed_until IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        op.f("ix_queue_entries_site_id_claimed_until"),
        "queue_entries",
        ["site_id", "claimed_until"],
        sqlite_where=HELD,
        postgresql_where=HELD,
    )
