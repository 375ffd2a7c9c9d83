"""An index by which one kind of event is found in the audit log: the policies that a site has had."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_audit_log_site_id_event_id"), "audit_log", ["site_id", "event", "id"])
