"""Texts that a client only asks about, as often as it likes, are told from comments that come again and again."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("near_hashes", sa.Column("is_question", sa.Boolean(), nullable=False, server_default=sa.false()))
