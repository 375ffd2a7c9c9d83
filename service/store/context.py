"""What the store knows around a comment that has just come in.

Every comment comes through here, so statements are built once: SQLAlchemy takes longer to build one than to run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, bindparam, func, literal_column, select

from moderation.comment import MAX_THREAD, Comment, Neighbour, Post
from moderation.copied import Earlier, brings_link
from moderation.policy_schema import WINDOWS
from service.store.campaigns import count_near
from service.store.originals import find_earlier, find_judged
from service.store.records import Known, Site, Stored
from service.store.rows import is_current, read_stored, select_stored
from service.store.tables import comment_versions, comments, post_versions, posts

MOST_RECENT = 10_000
"""Comments that came in lately are counted no further, so that a flood does not slow down the counting of it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the store knows around a comment. ``author_published`` is ``None`` without an author id.

    ``campaign_size`` counts other comments of the site that are nearly identical and came in lately. ``author_recent``
    and ``site_recent`` count those that came in before within a minute, an hour and a day. ``earlier`` are the first of
    those, however long ago, that it may be a copy of, ``judged`` those that were judged, the last first.
    """

    post: Post | None = None
    parent: Known | None = None
    thread: tuple[Known, ...] = ()
    author_published: int | None = None
    campaign_size: int = 0
    earlier: tuple[Earlier, ...] = ()
    judged: tuple[Earlier, ...] = ()
    author_recent: tuple[int, ...] = ()
    site_recent: tuple[int, ...] = ()


class View:
    """What a site's comments look like at one moment: several questions to one transaction that reads."""

    def __init__(self, connection: Connection, site: Site, now: datetime) -> None:
        self._connection = connection
        self._site = site
        self._now = now
        self._found: dict[str, Row[Any] | None] = {}

    def comments(self, ids: Sequence[str]) -> dict[str, Stored]:
        """The comments of these ids that are known, each with its latest decision."""
        return {name: read_stored(row) for name, row in self._find(ids).items() if row is not None}

    def context(self, wanted: Sequence[Comment], bands: Sequence[Sequence[int]]) -> list[Context]:
        """What is known around each comment: its post, parent, thread, author's past and, by ``bands``, its like."""
        if not wanted:
            return []
        connection, site, now = self._connection, self._site, self._now
        found = self._find([comment.id for comment in wanted if comment.id is not None])
        recent = _add_up(connection.execute(_SITE_RECENT, _edges(now) | {"site": site.row}).one())
        return [
            _find_context(connection, site, comment, hashes, found.get(comment.id or ""), recent, now)
            for comment, hashes in zip(wanted, bands, strict=True)
        ]

    def _find(self, ids: Sequence[str]) -> Mapping[str, Row[Any] | None]:
        new = [name for name in ids if name not in self._found]
        if new:
            self._found |= dict.fromkeys(new)
            rows = self._connection.execute(_OF_IDS, {"site": self._site.row, "ids": new})
            self._found |= {row.external_id: row for row in rows}
        return {name: self._found[name] for name in ids}


_OF_IDS = (
    select_stored()
    .add_columns(comments.c.id.label("comment"), comments.c.created_at.label("came_at"), comments.c.author_id)
    .where(comments.c.site_id == bindparam("site"), comments.c.external_id.in_(bindparam("ids", expanding=True)))
    .where(is_current())
)


def _find_context(
    connection: Connection,
    site: Site,
    comment: Comment,
    bands: Sequence[int],
    itself: Row[Any] | None,
    site_recent: tuple[int, ...],
    now: datetime,
) -> Context:
    """Look up what the comment leaves open, and what else came in that is like it or of its author.

    ``itself`` is its row of before, where this is an edit.
    """
    post_id = comment.post.id if comment.post else None
    parent_id = comment.parent.id if comment.parent and comment.parent.text is None else None
    author_id = comment.author.id if comment.author else None
    post = _find_post(connection, site, post_id) if post_id else None
    published, author_recent = _count_of_author(connection, site, author_id, itself, now) if author_id else (None, ())
    if itself is not None:
        # An edit is no further comment.
        is_within = [itself.came_at > moment for moment in _moments(now)]
        site_recent = tuple(count - within for count, within in zip(site_recent, is_within, strict=True))
        if author_id and itself.author_id == author_id:
            author_recent = tuple(count - within for count, within in zip(author_recent, is_within, strict=True))
    return Context(
        post=None if post is None or post.version_id is None else _read_post(post),
        parent=_find_parent(connection, site, parent_id) if parent_id else None,
        thread=() if post is None or comment.thread is not None else _find_thread(connection, post.id, itself),
        author_published=published,
        campaign_size=count_near(connection, site, bands, itself and itself.comment, now),
        earlier=tuple(each for _, each in find_earlier(connection, site.row, bands, itself))
        if brings_link(comment)
        else (),
        judged=find_judged(connection, site.row, comment, bands, itself and itself.comment),
        author_recent=author_recent,
        site_recent=site_recent,
    )


def _moments(now: datetime) -> list[datetime]:
    return [now - timedelta(seconds=seconds) for seconds in WINDOWS.values()]


def _count_windows(*of_whom: ColumnElement[bool]) -> list[ScalarSelect[int]]:
    """How many came in within the first of ``WINDOWS``, and between the edges of each and the next.

    :func:`_edges` gives the parameters, :func:`_add_up` reads the counts. That no comment is gone through twice matters
    on a site that has as many as are counted.
    """
    came_at = comments.c.created_at
    counts = []
    nearer = None
    for name in WINDOWS:
        some: Select[Any] = select(literal_column("1")).select_from(comments).where(*of_whom, came_at > bindparam(name))
        if nearer is not None:
            some = some.where(came_at <= bindparam(nearer))
        counts.append(select(func.count()).select_from(some.limit(MOST_RECENT).subquery()).scalar_subquery())
        nearer = name
    return counts


def _edges(now: datetime) -> dict[str, Any]:
    return dict(zip(WINDOWS, _moments(now), strict=True))


def _add_up(counts: Sequence[int]) -> tuple[int, ...]:
    """How many came in within each of ``WINDOWS``, at most ``MOST_RECENT``."""
    return tuple(min(count, MOST_RECENT) for count in accumulate(counts))


_IS_OF_SITE = comments.c.site_id == bindparam("site")
_IS_OF_AUTHOR = _IS_OF_SITE & (comments.c.author_id == bindparam("author"))
_SITE_RECENT = select(*_count_windows(_IS_OF_SITE))


@cache
def _of_author(*, is_edit: bool) -> Select[Any]:
    """How many comments of an author were published, and how many came in lately."""
    published = select(func.count()).where(_IS_OF_AUTHOR, comments.c.status == "published")
    if is_edit:
        # A comment is no evidence for itself.
        published = published.where(comments.c.id != bindparam("itself"))
    return select(published.scalar_subquery(), *_count_windows(_IS_OF_AUTHOR))


def _count_of_author(
    connection: Connection, site: Site, author_id: str, itself: Row[Any] | None, now: datetime
) -> tuple[int, tuple[int, ...]]:
    asked = _edges(now) | {"site": site.row, "author": author_id}
    if itself is not None:
        asked["itself"] = itself.comment
    published, *recent = connection.execute(_of_author(is_edit=itself is not None), asked).one()
    return published, _add_up(recent)


_POST = (
    select(posts.c.id, posts.c.external_id, posts.c.version_id)
    .add_columns(post_versions.c.title, post_versions.c.text, post_versions.c.url, post_versions.c.tags)
    .outerjoin(post_versions, post_versions.c.id == posts.c.version_id)
    .where(posts.c.site_id == bindparam("site"), posts.c.external_id == bindparam("post"))
)


def _find_post(connection: Connection, site: Site, post_id: str) -> Row[Any] | None:
    return connection.execute(_POST, {"site": site.row, "post": post_id}).first()


def _read_post(row: Row[Any]) -> Post:
    return Post(row.external_id, row.title, row.text, row.url, tuple(row.tags))


_NEIGHBOURS = (
    select(comments.c.id, comments.c.external_id, comment_versions.c.text, comment_versions.c.id.label("version"))
    .join(
        comment_versions,
        (comment_versions.c.comment_id == comments.c.id) & (comment_versions.c.number == comments.c.version),
    )
    .where(comment_versions.c.text.is_not(None))
)
"""Comments whose text is kept, in their current version."""

_PARENT = _NEIGHBOURS.where(_IS_OF_SITE, comments.c.external_id == bindparam("parent"))


def _find_parent(connection: Connection, site: Site, parent_id: str) -> Known | None:
    row = connection.execute(_PARENT, {"site": site.row, "parent": parent_id}).first()
    return None if row is None else Known(Neighbour(row.external_id, row.text), row.version)


@cache
def _thread(*, is_edit: bool) -> Select[Any]:
    """The last published comments of a post, the newest first."""
    # By the row of the post alone: asked for its site too, SQLite would go through all that is published there.
    query = _NEIGHBOURS.where(comments.c.post_id == bindparam("post"), comments.c.status == "published")
    if is_edit:
        # Once edited, a comment is still read after the same neighbours as before.
        query = query.where(comments.c.id < bindparam("itself"))
    return query.order_by(comments.c.id.desc()).limit(MAX_THREAD)


def _find_thread(connection: Connection, post_row: int, itself: Row[Any] | None) -> tuple[Known, ...]:
    """The last published comments of the post before this one, in the order in which they came."""
    asked = {"post": post_row} if itself is None else {"post": post_row, "itself": itself.comment}
    rows = connection.execute(_thread(is_edit=itself is not None), asked).all()
    return tuple(Known(Neighbour(row.external_id, row.text), row.version) for row in reversed(rows))
