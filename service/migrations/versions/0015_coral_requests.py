"""When Coral asked about what is not kept, so that webhooks name no wrong comment; when a secret was superseded."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "coral_requests",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("connection_id", ROW_ID, nullable=False),
        sa.Column("story", sa.Text(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["coral_connections.id"],
            name=op.f("fk_coral_requests_connection_id_coral_connections"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coral_requests")),
    )
    op.create_index(op.f("ix_coral_requests_at"), "coral_requests", ["at"])
    for name in ("phase_superseded_at", "webhook_superseded_at"):
        op.add_column("coral_connections", sa.Column(name, MOMENT, nullable=True))
        # Of secrets that were superseded before nobody knows when; they count for a day from now.
        connections = sa.table("coral_connections", sa.column(name, MOMENT))
        op.execute(connections.update().values({name: datetime.now(UTC)}))
