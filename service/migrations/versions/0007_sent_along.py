"""Which comments a version repeats because the site sent them along, and who made a link for signing in.

Links that were made before end: nobody knows who made them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
AT_ONCE = 1000


def upgrade() -> None:
    op.add_column("moderators", sa.Column("sign_in_by", sa.Text(), nullable=True))
    op.create_table(
        "sent_along",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_version_id", ROW_ID, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_sent_along_site_id_sites")),
        sa.ForeignKeyConstraint(
            ["comment_version_id"],
            ["comment_versions.id"],
            name=op.f("fk_sent_along_comment_version_id_comment_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_along")),
    )
    _fill(op.get_bind())
    op.create_index(op.f("ix_sent_along_site_id_external_id"), "sent_along", ["site_id", "external_id"])
    op.create_index(op.f("ix_sent_along_comment_version_id"), "sent_along", ["comment_version_id"])


def _fill(connection: sa.Connection) -> None:
    comments = sa.table("comments", sa.column("id"), sa.column("site_id"))
    names = ("id", "comment_id", "parent_id", "parent_text")
    columns: list[sa.ColumnClause[object]] = [sa.column(name) for name in names]
    versions = sa.table("comment_versions", *columns, sa.column("thread", sa.JSON))
    sent_along = sa.table(
        "sent_along", sa.column("site_id"), sa.column("comment_version_id"), sa.column("external_id", sa.Text)
    )
    query = (
        sa.select(versions, comments.c.site_id)
        .join(comments, comments.c.id == versions.c.comment_id)
        .where(sa.or_(versions.c.parent_text.is_not(None), versions.c.thread.is_not(None)))
        .order_by(versions.c.id)
        .limit(AT_ONCE)
    )
    after = 0
    while rows := connection.execute(query.where(versions.c.id > after)).all():
        found = []
        for row in rows:
            sent = {item["id"] for item in row.thread or () if item.get("text") is not None}
            sent |= {row.parent_id} if row.parent_text is not None else set()
            about = {"site_id": row.site_id, "comment_version_id": row.id}
            found += [about | {"external_id": each} for each in sorted(sent - {None})]
        if found:
            connection.execute(sa.insert(sent_along), found)
        after = rows[-1].id
