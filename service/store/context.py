"""What the store knows around a comment that has just come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from moderation.comment import MAX_THREAD, Comment, Neighbour, Post
from moderation.policy_schema import WINDOWS
from service.store.campaigns import count_near
from service.store.records import Context, Known, Site
from service.store.tables import comment_versions, comments, post_versions, posts

MOST_RECENT = 10_000
"""Comments that came in lately are counted no further, so that a flood does not slow down the counting of it."""


def find_context(
    connection: Connection,
    site: Site,
    comment: Comment,
    bands: Sequence[int],
    site_recent: tuple[int, ...],
    now: datetime,
) -> Context:
    """Look up what the comment leaves open, and what else came in that is like it or of its author."""
    post_id = comment.post.id if comment.post else None
    parent_id = comment.parent.id if comment.parent and comment.parent.text is None else None
    author_id = comment.author.id if comment.author else None
    author_recent = count_recent(connection, site, now, author_id) if author_id else ()
    itself = _find_itself(connection, site, comment.id) if comment.id is not None else None
    if itself is not None:
        # An edit is no further comment.
        is_within = [itself.created_at > moment for moment in _moments(now)]
        site_recent = tuple(count - within for count, within in zip(site_recent, is_within, strict=True))
        if author_id and itself.author_id == author_id:
            author_recent = tuple(count - within for count, within in zip(author_recent, is_within, strict=True))
    return Context(
        post=_find_post(connection, site, post_id) if post_id else None,
        parent=_find_parent(connection, site, parent_id) if parent_id else None,
        thread=_find_thread(connection, site, post_id, comment.id) if post_id and comment.thread is None else (),
        author_published=_count_published(connection, site, author_id, comment.id) if author_id else None,
        campaign_size=count_near(connection, site, bands, comment.id, now),
        author_recent=author_recent,
        site_recent=site_recent,
    )


def count_recent(connection: Connection, site: Site, now: datetime, author_id: str | None = None) -> tuple[int, ...]:
    """How many comments of a site, or of an author there, came in within ``WINDOWS``, at most ``MOST_RECENT``."""
    moments = _moments(now)
    query = select(comments.c.created_at).where(comments.c.site_id == site.row, comments.c.created_at > min(moments))
    if author_id is not None:
        query = query.where(comments.c.author_id == author_id)
    recent = query.order_by(comments.c.created_at.desc()).limit(MOST_RECENT).subquery()
    counts = [func.count().filter(recent.c.created_at > moment) for moment in moments]
    return tuple(connection.execute(select(*counts).select_from(recent)).one())


def _moments(now: datetime) -> list[datetime]:
    return [now - timedelta(seconds=seconds) for seconds in WINDOWS.values()]


def _find_itself(connection: Connection, site: Site, comment_id: str) -> Row[Any] | None:
    query: Select[Any] = select(comments.c.created_at, comments.c.author_id)
    return connection.execute(query.where(comments.c.site_id == site.row, comments.c.external_id == comment_id)).first()


def _find_post(connection: Connection, site: Site, post_id: str) -> Post | None:
    query = select(post_versions).join(posts, posts.c.version_id == post_versions.c.id)
    row = connection.execute(query.where(posts.c.site_id == site.row, posts.c.external_id == post_id)).first()
    return None if row is None else Post(post_id, row.title, row.text, row.url, tuple(row.tags))


def _neighbours() -> Select[Any]:
    """Comments whose text is kept, in their current version."""
    version = comment_versions.c
    return (
        select(comments.c.id, comments.c.external_id, version.text, version.id.label("version"))
        .join(comment_versions, (version.comment_id == comments.c.id) & (version.number == comments.c.version))
        .where(version.text.is_not(None))
    )


def _find_parent(connection: Connection, site: Site, parent_id: str) -> Known | None:
    is_it = (comments.c.site_id == site.row) & (comments.c.external_id == parent_id)
    row = connection.execute(_neighbours().where(is_it)).first()
    return None if row is None else Known(Neighbour(row.external_id, row.text), row.version)


def _find_thread(connection: Connection, site: Site, post_id: str, comment_id: str | None) -> tuple[Known, ...]:
    """The last published comments of the post before this one, in the order in which they came."""
    # By the row of the post alone: asked for its site too, SQLite would go through all that is published there.
    post = select(posts.c.id).where(posts.c.site_id == site.row, posts.c.external_id == post_id).scalar_subquery()
    query = _neighbours().where(comments.c.post_id == post, comments.c.status == "published")
    if comment_id is not None:
        itself = select(comments.c.id).where(comments.c.site_id == site.row, comments.c.external_id == comment_id)
        # Once edited, a comment is still read after the same neighbours as before.
        query = query.where(comments.c.id < func.coalesce(itself.scalar_subquery(), comments.c.id + 1))
    rows = connection.execute(query.order_by(comments.c.id.desc()).limit(MAX_THREAD)).all()
    return tuple(Known(Neighbour(row.external_id, row.text), row.version) for row in reversed(rows))


def _count_published(connection: Connection, site: Site, author_id: str, comment_id: str | None) -> int:
    query = select(func.count()).where(
        comments.c.site_id == site.row, comments.c.author_id == author_id, comments.c.status == "published"
    )
    if comment_id is not None:
        # A comment is no evidence for itself. Without the first half, comments that have no id would not count.
        query = query.where(comments.c.external_id.is_(None) | (comments.c.external_id != comment_id))
    return connection.execute(query).scalar_one()
