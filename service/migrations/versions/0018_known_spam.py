"""What the standing verdict on a comment says, beside its hashes: what says the same as spam again is found by them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
AT_ONCE = 1_000


def upgrade() -> None:
    op.add_column("near_hashes", sa.Column("judged_at", MOMENT, nullable=True))
    op.add_column("near_hashes", sa.Column("is_spam", sa.Boolean(), nullable=True))
    _fill(op.get_bind())
    is_judged = sa.text("judged_at IS NOT NULL")
    op.create_index(
        "ix_near_hashes_judged",
        "near_hashes",
        ["site_id", "band", "judged_at"],
        sqlite_where=is_judged,
        postgresql_where=is_judged,
    )


def _fill(connection: sa.Connection) -> None:
    """From the last verdict on each comment as it is now, of those that were not taken back."""
    hashes = _table("near_hashes", "comment_id", "is_spam", judged_at=MOMENT)
    comments, versions = _table("comments", "id", "version"), _table("comment_versions", "id", "comment_id", "number")
    verdicts = _table("verdicts", "id", "comment_version_id", "action", "undone_at", at=MOMENT, categories=sa.JSON())
    later = verdicts.alias("later")
    last = (
        sa.select(sa.func.max(later.c.id))
        .where(later.c.comment_version_id == verdicts.c.comment_version_id, later.c.undone_at.is_(None))
        .scalar_subquery()
    )
    query = (
        sa.select(
            verdicts.c.id, comments.c.id.label("comment"), verdicts.c.action, verdicts.c.categories, verdicts.c.at
        )
        .join(versions, versions.c.id == verdicts.c.comment_version_id)
        .join(comments, (comments.c.id == versions.c.comment_id) & (comments.c.version == versions.c.number))
        .where(verdicts.c.id == last, verdicts.c.id > sa.bindparam("after"))
        .order_by(verdicts.c.id)
        .limit(AT_ONCE)
    )
    change = sa.update(hashes).where(hashes.c.comment_id == sa.bindparam("comment"))
    change = change.values(judged_at=sa.bindparam("at", type_=MOMENT), is_spam=sa.bindparam("spam", type_=sa.Boolean()))
    after = 0
    while rows := connection.execute(query, {"after": after}).all():
        each = [
            {"comment": row.comment, "at": row.at, "spam": row.action == "reject"}
            for row in rows
            if row.action == "approve" or not row.categories or "spam" in row.categories
        ]
        if each:
            connection.execute(change, each)
        after = rows[-1].id


def _table(name: str, *columns: str, **typed: sa.types.TypeEngine[Any]) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns), *(sa.column(column, kind) for column, kind in typed.items()))
