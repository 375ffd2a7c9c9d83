"""Everything that is kept, kind by kind, in pieces, so that there may be much of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Engine, Select, Table, select

from service.store import engine as connections
from service.store.records import Site
from service.store.review_tables import appeals, audit_draws, reports, suggestions, verdicts
from service.store.tables import comment_versions, comments, decisions, post_versions, posts, sites

_AT_ONCE = 500


class Copies:
    """Rows as plain values with the names of the API, the oldest first. Keys, secrets and hashes are left out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def comments(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """Every version of every comment that is kept, as it was judged; what was forgotten is null."""
        version = comment_versions.c
        parent = comment_versions.alias("parent")
        query = (
            select(comment_versions, sites.c.url.label("site"), comments.c.external_id, comments.c.status)
            .add_columns((version.number == comments.c.version).label("is_current"))
            .add_columns(posts.c.external_id.label("post"), post_versions.c.title, parent.c.text.label("known_parent"))
            .add_columns(post_versions.c.text.label("post_text"), post_versions.c.url.label("post_url"))
            .add_columns(post_versions.c.tags)
            .join(comments, comments.c.id == version.comment_id)
            .join(sites, sites.c.id == comments.c.site_id)
            .outerjoin(posts, posts.c.id == version.post_id)
            .outerjoin(post_versions, post_versions.c.id == version.post_version_id)
            .outerjoin(parent, parent.c.id == version.parent_version_id)
        )
        for row in self._rows(query, version.id, comments, site):
            yield {
                "comment_id": row.external_id,
                "version": row.number,
                "is_current": row.is_current,
                "status": row.status,
                "at": row.created_at,
                "site": row.site,
                "text": row.text,
                "author": _some({"id": row.author_id, "name": row.author_name, "url": row.author_url}),
                "post": _some(
                    {"id": row.post, "title": row.title, "text": row.post_text, "url": row.post_url, "tags": row.tags}
                ),
                "parent": _some({"id": row.parent_id, "text": row.parent_text or row.known_parent}),
                # A neighbour that was sent as a comment of its own has its text there.
                "thread": None if row.thread is None else [_some(_neighbour(item)) for item in row.thread],
                "kind": row.kind,
                "lang": row.lang,
                "url": row.url,
                "created_at": row.written_at,
                "hints": row.hints,
                "do_not_store": row.do_not_store,
                "digest": row.digest,
            }

    def decisions(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """Every decision with its scores, reasons and facts, and how chance has picked it for an audit if it has."""
        draw = audit_draws.c
        query = (
            select(decisions, sites.c.url.label("site"), comments.c.external_id, comment_versions.c.number)
            .add_columns(comment_versions.c.digest, draw.share, draw.seed, draw.inclusion_probability)
            .join(comment_versions, comment_versions.c.id == decisions.c.comment_version_id)
            .join(comments, comments.c.id == comment_versions.c.comment_id)
            .join(sites, sites.c.id == comments.c.site_id)
            .outerjoin(audit_draws, draw.decision_id == decisions.c.id)
        )
        for row in self._rows(query, decisions.c.id, comments, site):
            audit = {"share": row.share, "seed": row.seed, "inclusion_probability": row.inclusion_probability}
            yield {
                "decision_id": row.public_id,
                "comment_id": row.external_id,
                "version": row.number,
                "at": row.created_at,
                "site": row.site,
                "action": row.action,
                "scores": row.scores,
                "reasons": row.reasons,
                "facts": row.facts,
                "digest": row.digest,
                "bundle": row.bundle,
                "policy": row.policy_digest,
                "tier": row.tier,
                "author_message": row.author_message,
                "audit": _some(audit),
            }

    def verdicts(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """Every verdict, undone ones too."""
        query = select(verdicts, sites.c.url.label("site_url"), comments.c.external_id, comment_versions.c.number)
        query = query.join(comments, comments.c.id == verdicts.c.comment_id)
        query = query.join(comment_versions, comment_versions.c.id == verdicts.c.comment_version_id)
        query = query.join(sites, sites.c.id == verdicts.c.site_id)
        names = ["together", "at", "action", "categories", "cleared", "note", "moderator", "source", "score_shown"]
        names += ["digest", "inclusion_probability", "old", "undone_at", "undone_by"]
        for row in self._rows(query, verdicts.c.id, verdicts, site):
            about = {"comment_id": row.external_id, "version": row.number, "site": row.site_url}
            yield {"verdict_id": row.public_id, **about, **{name: getattr(row, name) for name in names}}

    def suggestions(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """What was said of texts and is no verdict; ``is_certain`` where that comment was meant, and not its like."""
        query = (
            select(suggestions, sites.c.url.label("site_url"), comments.c.external_id, comment_versions.c.number)
            .join(comment_versions, comment_versions.c.id == suggestions.c.comment_version_id)
            .join(comments, comments.c.id == comment_versions.c.comment_id)
            .join(sites, sites.c.id == suggestions.c.site_id)
        )
        for row in self._rows(query, suggestions.c.id, suggestions, site):
            about = {"comment_id": row.external_id, "version": row.number, "site": row.site_url, "at": row.at}
            yield {**about, "moderator": row.moderator, "labels": row.labels, "is_certain": row.is_certain}

    def appeals(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """Every appeal, with what the author wrote and the verdict that has answered it."""
        query = (
            select(appeals, sites.c.url.label("site_url"), comments.c.external_id, comment_versions.c.number)
            .add_columns(verdicts.c.public_id.label("verdict"))
            .join(comments, comments.c.id == appeals.c.comment_id)
            .join(comment_versions, comment_versions.c.id == appeals.c.comment_version_id)
            .join(sites, sites.c.id == appeals.c.site_id)
            .outerjoin(verdicts, verdicts.c.id == appeals.c.verdict_id)
        )
        for row in self._rows(query, appeals.c.id, appeals, site):
            about = {"comment_id": row.external_id, "version": row.number, "site": row.site_url, "at": row.at}
            yield {
                "appeal_id": row.public_id,
                **about,
                "text": row.text,
                "outcome": row.outcome,
                "verdict": row.verdict,
            }

    def reports(self, site: Site | None = None) -> Iterator[dict[str, Any]]:
        """Every report; of who it was nothing is known that could be written."""
        query = select(reports, sites.c.url.label("site_url"), comments.c.external_id, comment_versions.c.number)
        query = query.join(comments, comments.c.id == reports.c.comment_id)
        query = query.join(comment_versions, comment_versions.c.id == reports.c.comment_version_id)
        query = query.join(sites, sites.c.id == reports.c.site_id)
        for row in self._rows(query, reports.c.id, reports, site):
            about = {"comment_id": row.external_id, "version": row.number, "site": row.site_url, "at": row.at}
            yield {**about, "category": row.category}

    def kinds(self) -> Mapping[str, Callable[[Site | None], Iterator[dict[str, Any]]]]:
        """What there is, by the name of each kind."""
        return {
            "comment": self.comments,
            "decision": self.decisions,
            "verdict": self.verdicts,
            "suggestion": self.suggestions,
            "appeal": self.appeals,
            "report": self.reports,
        }

    def _rows(self, query: Select[Any], key: Column[int], of_site: Table, site: Site | None) -> Iterator[Any]:
        if site is not None:
            query = query.where(of_site.c.site_id == site.row)
        after = 0
        while True:
            with connections.reading(self._engine) as connection:
                rows = connection.execute(query.where(key > after).order_by(key).limit(_AT_ONCE)).all()
            yield from rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].id


def _some(values: dict[str, Any]) -> dict[str, Any] | None:
    return values if any(value is not None for value in values.values()) else None


def _neighbour(item: dict[str, Any]) -> dict[str, Any]:
    return {"id": item["id"], "text": item.get("text")}


def plain(value: Any) -> str:
    """What JSON has no form of, such as a moment, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
