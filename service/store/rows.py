"""Values to rows and back. Reading returns exactly what was written, so that a decision can be replayed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from moderation.comment import Author, Comment, Decision, Facts, Neighbour, Post, Reason, Scores
from service.store.records import Judged, Stored
from service.store.tables import comment_versions, comments, decisions, post_versions, posts, sites


def select_stored() -> Select[Any]:
    """Comments with their versions and decisions, in the columns that :func:`read_stored` reads."""
    return (
        select(
            comments.c.external_id,
            comments.c.status,
            comments.c.version,
            sites.c.url.label("site"),
            comment_versions.c.digest,
            comment_versions.c.sent_digest,
            decisions,
        )
        .select_from(comments)
        .join(sites, sites.c.id == comments.c.site_id)
        .join(comment_versions, comment_versions.c.comment_id == comments.c.id)
        .join(decisions, decisions.c.comment_version_id == comment_versions.c.id)
    )


def is_current() -> ColumnElement[bool]:
    """Keeps, of :func:`select_stored`, the latest decision about the current version."""
    other = decisions.alias()
    latest = select(func.max(other.c.id)).where(other.c.comment_version_id == comment_versions.c.id).scalar_subquery()
    return (comment_versions.c.number == comments.c.version) & (decisions.c.id == latest)


def read_stored(row: Row[Any]) -> Stored:
    """A row of :func:`select_stored`."""
    decision = Decision(
        action=row.action,
        scores=None if row.scores is None else Scores.from_dict(row.scores),
        reasons=tuple(Reason(**reason) for reason in row.reasons),
        digest=row.digest,
        bundle=row.bundle,
        policy=row.policy_digest,
        tier=row.tier,
        author_message=row.author_message,
        decision_id=row.public_id,
    )
    return Stored(row.external_id, row.site, row.status, row.sent_digest, decision, row.created_at)


def write_decision(judged: Judged, decision: Decision) -> dict[str, Any]:
    """The columns of ``decisions`` that come from the decision itself, which has its id by now."""
    facts = dict(judged.facts)
    if judged.comment.do_not_store:
        facts.pop("domains", None)  # taken from the text
    return {
        "public_id": decision.decision_id,
        "action": decision.action,
        "scores": decision.scores.to_dict() if decision.scores else None,
        "reasons": [reason.to_dict() for reason in decision.reasons],
        "bundle": decision.bundle,
        "policy_digest": decision.policy,
        "tier": decision.tier,
        "facts": facts,
        "author_message": decision.author_message,
    }


# What erasure empties: everything in a version that the author wrote, or that says who wrote it, where and how.
ERASED: Mapping[str, str | None] = dict.fromkeys(
    (
        "text",
        "text_hash",
        "handles",
        "author_id",
        "author_name",
        "author_url",
        "author_hash",
        "parent_id",
        "parent_text",
        "parent_version_id",
        "thread",
        "lang",
        "url",
        "written_at",
        "hints",
        "post_id",
        "post_version_id",
    )
) | {"kind": "comment"}

# Digests have no key: whoever has the database could try short texts until one fits.
NO_DIGESTS: Mapping[str, str] = {"digest": "", "sent_digest": ""}


def write_comment(judged: Judged, erased: Collection[str]) -> dict[str, Any]:
    """The columns of ``comment_versions`` that come from the comment; for ``do_not_store`` nothing that was written.

    Of neighbours whose ids are in ``erased`` no text is kept, although the site has sent it.
    """
    comment = judged.comment
    row: dict[str, Any] = {
        "digest": judged.decision.digest,
        "sent_digest": judged.sent_digest,
        "do_not_store": comment.do_not_store,
        "text_hash": judged.text_hash,
        "kind": comment.kind,
    }
    if comment.do_not_store:
        return row
    versions = {known.neighbour: known.version for known in judged.known}
    author, parent = comment.author or Author(), comment.parent or Neighbour()
    is_parent_kept = parent not in versions and parent.id not in erased
    thread = [replace(item, text=None) if item.id in erased else item for item in comment.thread or ()]
    return row | {
        "text": comment.text,
        "handles": list(judged.handles) or None,
        "author_id": author.id,
        "author_name": author.name,
        "author_url": author.url,
        "parent_id": parent.id,
        "parent_text": parent.text if is_parent_kept else None,
        "parent_version_id": versions.get(parent),
        "thread": None if comment.thread is None else [_write_neighbour(item, versions) for item in thread],
        "lang": comment.lang,
        "url": comment.url,
        "written_at": comment.created_at,
        "hints": dict(comment.hints),
    }


def copied_ids(row: Mapping[str, Any]) -> set[str]:
    """The ids of comments that a row of :func:`write_comment` repeats, because the site sent them along."""
    sent = {item["id"] for item in row.get("thread") or () if item.get("text") is not None}
    return (sent | {row["parent_id"]} if row.get("parent_text") is not None else sent) - {None}


def _write_neighbour(neighbour: Neighbour, versions: Mapping[Neighbour, int]) -> dict[str, Any]:
    if neighbour in versions:
        return {"id": neighbour.id, "version": versions[neighbour]}
    return {"id": neighbour.id, "text": neighbour.text}


def read_comment(connection: Connection, row: Row[Any]) -> Comment:
    """The comment of a ``comment_versions`` row that also has ``site`` and ``external_id``."""
    thread = row.thread
    referred = {item["version"] for item in thread or () if "version" in item} | {row.parent_version_id} - {None}
    query = select(comment_versions.c.id, comment_versions.c.text).where(comment_versions.c.id.in_(referred))
    texts = {found.id: found.text for found in connection.execute(query)} if referred else {}
    author = Author(row.author_id, row.author_name, row.author_url)
    parent = Neighbour(row.parent_id, texts.get(row.parent_version_id, row.parent_text))
    return Comment(
        text=row.text,
        id=row.external_id,
        site=row.site,
        kind=row.kind,
        author=None if author == Author() else author,
        post=_read_post(connection, row),
        parent=None if parent == Neighbour() else parent,
        thread=None
        if thread is None
        else tuple(Neighbour(item["id"], item.get("text", texts.get(item.get("version")))) for item in thread),
        lang=row.lang,
        url=row.url,
        created_at=row.written_at,
        hints=row.hints,
    )


def _read_post(connection: Connection, row: Row[Any]) -> Post | None:
    if row.post_id is None and row.post_version_id is None:
        return None
    external_id = connection.execute(select(posts.c.external_id).where(posts.c.id == row.post_id)).scalar()
    version = connection.execute(select(post_versions).where(post_versions.c.id == row.post_version_id)).first()
    if version is None:
        return Post(id=external_id)
    return Post(external_id, version.title, version.text, version.url, tuple(version.tags))


def write_post(post: Post) -> dict[str, Any]:
    """The columns of ``post_versions`` that come from the post, its digest included."""
    content = {"title": post.title, "text": post.text, "url": post.url, "tags": list(post.tags)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return content | {"digest": hashlib.sha256(canonical.encode()).hexdigest()}


def has_content(post: Post) -> bool:
    """Whether a post says more than its id."""
    return Post(id=post.id) != post


def read_facts(stored: Mapping[str, Any]) -> Facts:
    """Facts as they were stored; those that this version does not know are left out."""
    known = {item.name for item in fields(Facts)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return Facts(**{name: value for name, value in values.items() if name in known})  # type: ignore[arg-type]  # written by asdict
