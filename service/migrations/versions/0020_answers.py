"""What a verdict answers: an entry of the queue or a comment that somebody has chosen, and why that waited.

Of earlier verdicts that is not known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("answers_entry", sa.Boolean(), nullable=True))
    op.add_column("verdicts", sa.Column("answered", sa.JSON(none_as_null=True), nullable=True))
