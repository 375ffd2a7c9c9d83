"""A reason more for which a comment waits: somebody is to look again, without knowing what the first has said."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NAMES = "name IN ('held', 'near_line', 'reported', 'appealed', 'audit', 'second_look')"


def upgrade() -> None:
    with op.batch_alter_table("queue_reasons") as batch:
        batch.drop_constraint(op.f("ck_queue_reasons_name"), type_="check")
        batch.create_check_constraint(op.f("ck_queue_reasons_name"), NAMES)
