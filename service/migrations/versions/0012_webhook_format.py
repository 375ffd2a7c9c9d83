"""In which format a webhook hears of changes: signed messages, or those that a site's Akismet plugin takes."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("format", sa.String(16), nullable=False, server_default="standard"))
