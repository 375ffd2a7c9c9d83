"""Indices for the batch and insight pages: what waits by category and score, what happened by day."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WAITING = sa.text("closed_at IS NULL")
FIRST = sa.text("old IS NULL")


def upgrade() -> None:
    op.create_index(
        op.f("ix_queue_entries_site_id_category_score_id"),
        "queue_entries",
        ["site_id", "category", "score", "id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index(
        op.f("ix_status_log_site_id_new_at"),
        "status_log",
        ["site_id", "new", "at"],
        sqlite_where=FIRST,
        postgresql_where=FIRST,
    )
    op.create_index(op.f("ix_verdicts_site_id_at"), "verdicts", ["site_id", "at"])
    op.create_index(op.f("ix_verdicts_comment_version_id_id"), "verdicts", ["comment_version_id", "id"])
    op.create_index(op.f("ix_audit_draws_at"), "audit_draws", ["at"])
