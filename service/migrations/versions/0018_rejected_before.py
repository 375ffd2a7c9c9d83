"""Which hashes of near-duplicates are of comments that a moderator rejected, by which the same is found again."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("near_hashes", sa.Column("rejected_at", MOMENT, nullable=True))
    is_rejected = sa.text("rejected_at IS NOT NULL")
    op.create_index(
        "ix_near_hashes_rejected",
        "near_hashes",
        ["site_id", "band", "rejected_at"],
        sqlite_where=is_rejected,
        postgresql_where=is_rejected,
    )
    _fill()


def _fill() -> None:
    """From the last verdict on each comment as it is now, of those that were not taken back."""
    hashes = sa.table("near_hashes", sa.column("comment_id"), sa.column("rejected_at", MOMENT))
    comments = sa.table("comments", sa.column("id"), sa.column("version"))
    versions = sa.table("comment_versions", sa.column("id"), sa.column("comment_id"), sa.column("number"))
    names = ("id", "comment_id", "comment_version_id", "action", "undone_at", "at")
    verdicts = sa.table("verdicts", *map(sa.column, names))
    later = sa.table("verdicts", *map(sa.column, names)).alias("later")
    last = (
        sa.select(sa.func.max(later.c.id))
        .where(later.c.comment_version_id == verdicts.c.comment_version_id, later.c.undone_at.is_(None))
        .scalar_subquery()
    )
    standing = (
        sa.select(verdicts.c.comment_id, verdicts.c.at)
        .join(versions, versions.c.id == verdicts.c.comment_version_id)
        .join(comments, (comments.c.id == versions.c.comment_id) & (comments.c.version == versions.c.number))
        .where(verdicts.c.action == "reject", verdicts.c.id == last)
        .subquery()
    )
    at = sa.select(standing.c.at).where(standing.c.comment_id == hashes.c.comment_id).scalar_subquery()
    rejected = sa.select(standing.c.comment_id)
    op.execute(sa.update(hashes).where(hashes.c.comment_id.in_(rejected)).values(rejected_at=at))
