"""The first tables: sites and keys, posts, comments by version, decisions, and who set which status."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("toml", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policies")),
    )
    op.create_table(
        "sites",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["policy_digest"], ["policies.digest"], name=op.f("fk_sites_policy_digest_policies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
        sa.UniqueConstraint("url", name=op.f("uq_sites_url")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_api_keys_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_table(
        "post_versions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_post_versions_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_versions")),
        sa.UniqueConstraint("site_id", "digest", name=op.f("uq_post_versions_site_id_digest")),
    )
    op.create_table(
        "posts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("version_id", ROW_ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_posts_site_id_sites")),
        sa.ForeignKeyConstraint(["version_id"], ["post_versions.id"], name=op.f("fk_posts_version_id_post_versions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
        sa.UniqueConstraint("site_id", "external_id", name=op.f("uq_posts_site_id_external_id")),
    )
    op.create_table(
        "comments",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("post_id", ROW_ID, nullable=True),
        sa.Column("author_id", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("status IN ('published', 'held', 'rejected', 'erased')", name=op.f("ck_comments_status")),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_comments_post_id_posts")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_comments_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
        sa.UniqueConstraint("site_id", "external_id", name=op.f("uq_comments_site_id_external_id")),
    )
    op.create_index(op.f("ix_comments_post_id_status_id"), "comments", ["post_id", "status", "id"], unique=False)
    op.create_index(
        op.f("ix_comments_site_id_author_id_status"), "comments", ["site_id", "author_id", "status"], unique=False
    )
    op.create_index(op.f("ix_comments_site_id_status_id"), "comments", ["site_id", "status", "id"], unique=False)
    op.create_table(
        "comment_versions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sent_digest", sa.String(length=64), nullable=False),
        sa.Column("do_not_store", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("text_hash", sa.String(length=64), nullable=True),
        sa.Column("author_id", sa.Text(), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("author_url", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("parent_text", sa.Text(), nullable=True),
        sa.Column("parent_version_id", ROW_ID, nullable=True),
        sa.Column("thread", sa.JSON(), nullable=True),
        sa.Column("lang", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("written_at", sa.Text(), nullable=True),
        sa.Column("hints", sa.JSON(), nullable=True),
        sa.Column("post_id", ROW_ID, nullable=True),
        sa.Column("post_version_id", ROW_ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_comment_versions_comment_id_comments")),
        sa.ForeignKeyConstraint(
            ["parent_version_id"],
            ["comment_versions.id"],
            name=op.f("fk_comment_versions_parent_version_id_comment_versions"),
        ),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name=op.f("fk_comment_versions_post_id_posts")),
        sa.ForeignKeyConstraint(
            ["post_version_id"], ["post_versions.id"], name=op.f("fk_comment_versions_post_version_id_post_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comment_versions")),
        sa.UniqueConstraint("comment_id", "number", name=op.f("uq_comment_versions_comment_id_number")),
    )
    op.create_index(op.f("ix_comment_versions_post_id"), "comment_versions", ["post_id"], unique=False)
    op.create_index(op.f("ix_comment_versions_text_hash"), "comment_versions", ["text_hash"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("comment_version_id", ROW_ID, nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("author_message", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("action IN ('publish', 'hold', 'reject')", name=op.f("ck_decisions_action")),
        sa.ForeignKeyConstraint(
            ["comment_version_id"],
            ["comment_versions.id"],
            name=op.f("fk_decisions_comment_version_id_comment_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["policy_digest"], ["policies.digest"], name=op.f("fk_decisions_policy_digest_policies")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_decisions_public_id")),
    )
    op.create_index(op.f("ix_decisions_comment_version_id"), "decisions", ["comment_version_id"], unique=False)
    op.create_table(
        "status_log",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("old", sa.String(length=16), nullable=True),
        sa.Column("new", sa.String(length=16), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("decision_id", ROW_ID, nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_status_log_comment_id_comments")),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_status_log_decision_id_decisions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_status_log")),
    )
    op.create_index(op.f("ix_status_log_comment_id"), "status_log", ["comment_id"], unique=False)
