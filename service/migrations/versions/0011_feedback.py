"""By what a text is known again that callers of other protocols speak of, and what a verdict clears a comment of."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("comment_versions", sa.Column("handles", sa.JSON(), nullable=True))
    op.add_column("verdicts", sa.Column("cleared", sa.JSON(), nullable=True))
