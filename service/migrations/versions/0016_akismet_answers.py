"""What clients of Akismet were told of each comment, and messages that tell them of another answer.

Of what came in before, the first decision stands for what was answered and the status for what is known of it.
"""

import tomllib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
AT_ONCE = 500

SPAM = {"spam", "honeypot", "blocked_words", "blocked_domains", "banned_author", "links_allowed", "campaign"}
HOSTILE = {"hostile", "insult", "threat", "identity_attack", "profanity", "severe"}
FAULTS = {"model_unavailable", "policy_unreadable"}


def upgrade() -> None:
    op.create_table(
        "akismet_answers",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("site_id", ROW_ID, nullable=False),
        sa.Column("comment_id", ROW_ID, nullable=False),
        sa.Column("checked_spam", sa.Boolean(), nullable=True),
        sa.Column("held_spam", sa.Boolean(), nullable=True),
        sa.Column("told_spam", sa.Boolean(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_akismet_answers_site_id_sites")),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name=op.f("fk_akismet_answers_comment_id_comments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_akismet_answers")),
        sa.UniqueConstraint("comment_id", name=op.f("uq_akismet_answers_comment_id")),
    )
    op.add_column("outbox", sa.Column("told_spam", sa.Boolean(), nullable=True))
    _fill(op.get_bind())
    _translate(op.get_bind())
    op.create_index(
        op.f("ix_akismet_answers_site_id_at_checked_spam"), "akismet_answers", ["site_id", "at", "checked_spam"]
    )


def _table(name: str, *columns: str, **typed: sa.types.TypeEngine[Any]) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns), *(sa.column(each, kind) for each, kind in typed.items()))


def _fill(connection: sa.Connection) -> None:
    comments = _table("comments", "id", "site_id", "external_id", "status", "version", created_at=MOMENT)
    versions = _table("comment_versions", "id", "comment_id", "number")
    decisions = _table("decisions", "id", "comment_version_id", "action", "policy_digest", reasons=sa.JSON())
    policies = _table("policies", "digest", "toml")
    answers = _table("akismet_answers", "site_id", "comment_id", "checked_spam", "held_spam", "told_spam", at=MOMENT)
    strict = {row.digest for row in connection.execute(sa.select(policies)) if _hostile_counts(row.toml)}
    page = (
        sa.select(comments)
        .where(comments.c.external_id.startswith("akismet-", autoescape=True), comments.c.version > 0)
        .order_by(comments.c.id)
        .limit(AT_ONCE)
    )
    after = 0
    while rows := connection.execute(page.where(comments.c.id > after)).all():
        made = (
            sa.select(decisions, versions.c.comment_id, versions.c.number)
            .join(versions, versions.c.id == decisions.c.comment_version_id)
            .where(versions.c.comment_id.in_([row.id for row in rows]))
            .order_by(decisions.c.id)
        )
        first: dict[int, bool | None] = {}
        last: dict[tuple[int, int], bool | None] = {}
        for decision in connection.execute(made):
            said = _answer(decision, counts=SPAM | HOSTILE if decision.policy_digest in strict else SPAM)
            if first.get(decision.comment_id) is None:
                first[decision.comment_id] = said
            last[decision.comment_id, decision.number] = said
        found = []
        for row in rows:
            held = last.get((row.id, row.version))
            told = {"rejected": True, "published": False, "held": held}.get(row.status)
            note = {"site_id": row.site_id, "comment_id": row.id, "at": row.created_at, "held_spam": held}
            found.append(note | {"checked_spam": first.get(row.id), "told_spam": told})
        connection.execute(sa.insert(answers), found)
        after = rows[-1].id


def _hostile_counts(toml: str) -> bool:
    try:
        return tomllib.loads(toml).get("rules", {}).get("hostile_counts_as_spam") is True
    except (ValueError, AttributeError):
        return False


def _answer(decision: sa.Row[Any], counts: set[str]) -> bool | None:
    fired = {reason["name"] for reason in decision.reasons if reason["fired"]}
    if fired & FAULTS:
        return None  # it was no answer
    return decision.action == "reject" or (decision.action == "hold" and bool(fired & counts))


def _translate(connection: sa.Connection) -> None:
    """Messages that wait for a plugin name a change; from now on they name an answer."""
    outbox = _table("outbox", "id", "webhook_id", "change_id", "next_attempt_at", told_spam=sa.Boolean())
    webhooks, changes = _table("webhooks", "id", "format"), _table("status_log", "id", "new")
    query = (
        sa.select(outbox.c.id, changes.c.new)
        .join(webhooks, webhooks.c.id == outbox.c.webhook_id)
        .join(changes, changes.c.id == outbox.c.change_id)
        .where(webhooks.c.format == "akismet", outbox.c.next_attempt_at.is_not(None))
    )
    for row in connection.execute(query).all():
        told = {"told_spam": row.new == "rejected", "change_id": None}
        connection.execute(sa.update(outbox).where(outbox.c.id == row.id).values(told))
