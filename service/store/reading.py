"""What pages read around a comment: post, neighbours, the author's past, and all that happened to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, func, select

from moderation.comment import Decision, Post
from service.errors import NotFound
from service.statuses import Outcome, Status
from service.store import engine as connections
from service.store.originals import find_original, find_spam_like
from service.store.records import Site, StatusChange, Verdict
from service.store.review_tables import appeals, queue_entries, reports
from service.store.rows import read_stored, select_stored
from service.store.tables import comment_versions, comments, post_versions, posts, sites, status_log
from service.store.verdicts import Verdicts

NEIGHBOURS = 2
"""So many published comments are shown before a comment and after it."""

LAST_OF_AUTHOR = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a comment is: its row, its site, and its id there. ``entry`` is its open queue entry, if it has one."""

    row: int
    site: str
    id: str | None
    status: Status
    entry: int | None


@dataclass(frozen=True, slots=True)
class Brief:
    """A comment as it stands among others, in its current version. ``text`` is ``None`` where it is not kept."""

    row: int
    id: str | None
    status: Status
    digest: str
    text: str | None
    author_id: str | None
    author_name: str | None
    parent_id: str | None
    at: datetime
    entry: int | None


@dataclass(frozen=True, slots=True)
class Past:
    """What became of an author's other comments on a site, and the last of them, the newest first."""

    counts: Mapping[Status, int]
    last: tuple[Brief, ...]


@dataclass(frozen=True, slots=True)
class SaidInAppeal:
    """What an author wrote when asking for another look; ``text`` is ``None`` where they wrote nothing."""

    at: datetime
    text: str | None
    outcome: Outcome | None
    version: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a comment. ``parent_text`` is what it answers, also where the site alone knows that comment.

    ``reports`` counts readers by the category they named (``None``: none), of the current version.
    """

    place: Place
    version: int
    post_row: int | None
    post: Post | None
    parent_id: str | None
    parent_text: str | None
    parent_row: int | None
    before: tuple[Brief, ...]
    after: tuple[Brief, ...]
    past: Past | None
    appeals: tuple[SaidInAppeal, ...]
    reports: tuple[tuple[str | None, int], ...]


@dataclass(frozen=True, slots=True)
class VersionRead:
    """One version of a comment with its decisions, the oldest first. ``text`` is ``None`` where it is not kept."""

    number: int
    at: datetime
    digest: str
    text: str | None
    kind: str
    lang: str | None
    url: str | None
    author_id: str | None
    author_name: str | None
    author_url: str | None
    post_title: str | None
    decisions: tuple[tuple[Decision, datetime], ...]


@dataclass(frozen=True, slots=True)
class History:
    """All that happened to a comment; versions, verdicts, changes and appeals with the oldest first."""

    place: Place
    created_at: datetime
    post_row: int | None
    versions: tuple[VersionRead, ...]
    verdicts: tuple[Verdict, ...]
    changes: tuple[StatusChange, ...]
    appeals: tuple[SaidInAppeal, ...]
    reports: tuple[tuple[str | None, int], ...]


@dataclass(frozen=True, slots=True)
class PostRead:
    """A post with how many of its comments have which status, and how many wait in the queue."""

    row: int
    site: str
    id: str
    post: Post
    counts: Mapping[Status, int]
    waiting: int
    created_at: datetime


class Reading:
    """Reads for pages. ``NotFound`` also for what belongs to a site that is not among those given."""

    def __init__(self, engine: Engine, verdicts: Verdicts) -> None:
        self._engine = engine
        self._verdicts = verdicts

    def place(self, allowed: Sequence[Site], row: int) -> Place:
        """Where the comment of that row is. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            return _place(connection, allowed, comments.c.id == row)

    def place_of_entry(self, allowed: Sequence[Site], entry: int) -> Place:
        """Where the comment is that an entry is about, open or not. Raises ``NotFound``."""
        of_entry = select(queue_entries.c.comment_id).where(queue_entries.c.id == entry).scalar_subquery()
        with connections.reading(self._engine) as connection:
            return _place(connection, allowed, comments.c.id == of_entry)

    def place_of_id(self, allowed: Sequence[Site], comment_id: str) -> Place:
        """Where the comment is that a site calls so; of several sites the oldest. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            return _place(connection, allowed, comments.c.external_id == comment_id)

    def text_read(self, row: int, digest: str) -> str | None:
        """The text that a comment had when its digest was this one; ``None`` where it is not kept."""
        version = comment_versions.c
        query = select(version.text).where(version.comment_id == row, version.digest == digest)
        with connections.reading(self._engine) as connection:
            return connection.execute(query.order_by(version.number.desc()).limit(1)).scalar()

    def surroundings(self, allowed: Sequence[Site], row: int) -> Surroundings:
        """What stands around the comment of that row. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            place = _place(connection, allowed, comments.c.id == row)
            current = connection.execute(_select_current(row)).one()
            return Surroundings(
                place=place,
                version=current.number,
                post_row=current.post_id,
                post=_read_post(connection, current.post_id, current.post_version_id),
                parent_id=current.parent_id,
                parent_text=_parent_text(connection, current),
                parent_row=_parent_row(connection, current),
                before=_neighbours(connection, current, is_before=True),
                after=_neighbours(connection, current, is_before=False),
                past=_past(connection, current) if current.author_id is not None else None,
                appeals=_appeals(connection, row),
                reports=_reports(connection, reports.c.comment_version_id == current.id),
            )

    def original(self, allowed: Sequence[Site], row: int) -> Brief | None:
        """The comment that the one of that row repeats with a link added, as far as it is kept. Raises ``NotFound``."""
        return self._repeated(allowed, row, find_original)

    def known_spam(self, allowed: Sequence[Site], row: int) -> Brief | None:
        """Spam of before that the comment of that row says again, as far as it is kept. Raises ``NotFound``."""
        return self._repeated(allowed, row, find_spam_like)

    def _repeated(
        self, allowed: Sequence[Site], row: int, find: Callable[[Connection, int], int | None]
    ) -> Brief | None:
        with connections.reading(self._engine) as connection:
            found = find(connection, _place(connection, allowed, comments.c.id == row).row)
            query = _select_briefs().where(comments.c.id == found)
            return None if found is None else _read_brief(connection.execute(query).one())

    def history(self, allowed: Sequence[Site], row: int) -> History:
        """All that happened to the comment of that row. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            place = _place(connection, allowed, comments.c.id == row)
            comment = connection.execute(select(comments).where(comments.c.id == row)).one()
            changes = select(status_log).where(status_log.c.comment_id == row).order_by(status_log.c.id)
            return History(
                place=place,
                created_at=comment.created_at,
                post_row=comment.post_id,
                versions=_versions(connection, row),
                verdicts=tuple(self._verdicts.of_row(connection, row)),
                changes=tuple(
                    StatusChange(each.old, each.new, each.who, each.at) for each in connection.execute(changes)
                ),
                appeals=_appeals(connection, row),
                reports=_reports(connection, reports.c.comment_id == row),
            )

    def posts(self, allowed: Sequence[Site], *, before: int | None = None, limit: int = 50) -> list[PostRead]:
        """Posts with comments, the newest first; those with a row under ``before``."""
        query = _select_posts(allowed)
        if before is not None:
            query = query.where(posts.c.id < before)
        with connections.reading(self._engine) as connection:
            return _read_posts(connection, connection.execute(query.order_by(posts.c.id.desc()).limit(limit)).all())

    def post(self, allowed: Sequence[Site], row: int) -> PostRead:
        """A post by its row. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            found = _read_posts(connection, connection.execute(_select_posts(allowed).where(posts.c.id == row)).all())
        if not found:
            raise NotFound("there is no such post on your sites")
        return found[0]

    def of_post(self, post_row: int, *, status: Status | None = None, after: int = 0, limit: int = 300) -> list[Brief]:
        """Comments of a post in the order in which they came, those with a row over ``after``; not what was erased."""
        query = _select_briefs().where(comments.c.post_id == post_row, comments.c.id > after)
        query = query.where(comments.c.status == status if status is not None else comments.c.status != "erased")
        with connections.reading(self._engine) as connection:
            found = connection.execute(query.order_by(comments.c.id).limit(limit))
            return [_read_brief(row) for row in found]


def _place(connection: Connection, allowed: Sequence[Site], is_it: ColumnElement[bool]) -> Place:
    query = (
        select(comments.c.id, comments.c.external_id, comments.c.status, sites.c.url, queue_entries.c.id.label("entry"))
        .join(sites, sites.c.id == comments.c.site_id)
        .outerjoin(queue_entries, _waits())
        .where(is_it, comments.c.site_id.in_([site.row for site in allowed]))
        .order_by(comments.c.site_id)
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("there is no such comment on your sites")
    return Place(row.id, row.url, row.external_id, row.status, row.entry)


def _waits() -> ColumnElement[bool]:
    return and_(queue_entries.c.comment_id == comments.c.id, queue_entries.c.closed_at.is_(None))


def _is_current() -> ColumnElement[bool]:
    return and_(comment_versions.c.comment_id == comments.c.id, comment_versions.c.number == comments.c.version)


def _select_current(row: int) -> Select[Any]:
    columns = (comments.c.id.label("comment"), comments.c.site_id, comments.c.status)
    return select(comment_versions, *columns).join(comments, _is_current()).where(comments.c.id == row)


def _select_briefs() -> Select[Any]:
    version = comment_versions.c
    return (
        select(comments.c.id, comments.c.external_id, comments.c.status, comments.c.created_at)
        .add_columns(version.digest, version.text, version.author_id, version.author_name, version.parent_id)
        .add_columns(queue_entries.c.id.label("entry"))
        .join(comment_versions, _is_current())
        .outerjoin(queue_entries, _waits())
    )


def _read_brief(row: Row[Any]) -> Brief:
    return Brief(
        row=row.id,
        id=row.external_id,
        status=row.status,
        digest=row.digest,
        text=row.text,
        author_id=row.author_id,
        author_name=row.author_name,
        parent_id=row.parent_id,
        at=row.created_at,
        entry=row.entry,
    )


def _read_post(connection: Connection, post_row: int | None, version_row: int | None) -> Post | None:
    if post_row is None and version_row is None:
        return None
    external_id = connection.execute(select(posts.c.external_id).where(posts.c.id == post_row)).scalar()
    version = connection.execute(select(post_versions).where(post_versions.c.id == version_row)).first()
    if version is None:
        return Post(id=external_id)
    return Post(external_id, version.title, version.text, version.url, tuple(version.tags))


def _parent_text(connection: Connection, current: Row[Any]) -> str | None:
    if current.parent_version_id is None:
        text: str | None = current.parent_text
        return text
    query = select(comment_versions.c.text).where(comment_versions.c.id == current.parent_version_id)
    return connection.execute(query).scalar()


def _parent_row(connection: Connection, current: Row[Any]) -> int | None:
    if current.parent_id is None:
        return None
    is_it = (comments.c.site_id == current.site_id) & (comments.c.external_id == current.parent_id)
    return connection.execute(select(comments.c.id).where(is_it)).scalar()


def _neighbours(connection: Connection, current: Row[Any], *, is_before: bool) -> tuple[Brief, ...]:
    """The published comments of the post next to this one, in the order of the post."""
    if current.post_id is None:
        return ()
    query = _select_briefs().where(comments.c.post_id == current.post_id, comments.c.status == "published")
    if is_before:
        query = query.where(comments.c.id < current.comment).order_by(comments.c.id.desc())
    else:
        query = query.where(comments.c.id > current.comment).order_by(comments.c.id)
    found = [_read_brief(row) for row in connection.execute(query.limit(NEIGHBOURS))]
    return tuple(reversed(found) if is_before else found)


def _past(connection: Connection, current: Row[Any]) -> Past:
    of_author = (comments.c.site_id == current.site_id) & (comments.c.author_id == current.author_id)
    others = of_author & (comments.c.id != current.comment)
    counts = select(comments.c.status, func.count().label("count")).where(others).group_by(comments.c.status)
    last = _select_briefs().where(others, comments.c.status != "erased").order_by(comments.c.id.desc())
    return Past(
        counts={row.status: row.count for row in connection.execute(counts)},  # type: ignore[misc]  # Row has a method of that name
        last=tuple(_read_brief(row) for row in connection.execute(last.limit(LAST_OF_AUTHOR))),
    )


def _appeals(connection: Connection, row: int) -> tuple[SaidInAppeal, ...]:
    query = (
        select(appeals, comment_versions.c.number)
        .join(comment_versions, comment_versions.c.id == appeals.c.comment_version_id)
        .where(appeals.c.comment_id == row)
        .order_by(appeals.c.id)
    )
    return tuple(SaidInAppeal(each.at, each.text, each.outcome, each.number) for each in connection.execute(query))


def _reports(connection: Connection, which: ColumnElement[bool]) -> tuple[tuple[str | None, int], ...]:
    many = func.count().label("many")
    query = select(reports.c.category, many).where(which).group_by(reports.c.category)
    query = query.order_by(many.desc(), reports.c.category)
    return tuple((row.category, row.many) for row in connection.execute(query))


def _versions(connection: Connection, row: int) -> tuple[VersionRead, ...]:
    judged = select_stored().add_columns(comment_versions.c.number).where(comments.c.id == row)
    decided: dict[int, list[tuple[Decision, datetime]]] = {}
    for found in connection.execute(judged.order_by(judged.selected_columns.id)):
        decided.setdefault(found.number, []).append((read_stored(found).decision, found.created_at))
    query = (
        select(comment_versions, post_versions.c.title)
        .outerjoin(post_versions, post_versions.c.id == comment_versions.c.post_version_id)
        .where(comment_versions.c.comment_id == row)
        .order_by(comment_versions.c.number)
    )
    return tuple(
        VersionRead(
            number=each.number,
            at=each.created_at,
            digest=each.digest,
            text=each.text,
            kind=each.kind,
            lang=each.lang,
            url=each.url,
            author_id=each.author_id,
            author_name=each.author_name,
            author_url=each.author_url,
            post_title=each.title,
            decisions=tuple(decided.get(each.number, ())),
        )
        for each in connection.execute(query)
    )


def _select_posts(allowed: Sequence[Site]) -> Select[Any]:
    return (
        select(posts, sites.c.url.label("site"), post_versions.c.title, post_versions.c.url)
        .add_columns(post_versions.c.text, post_versions.c.tags)
        .join(sites, sites.c.id == posts.c.site_id)
        .outerjoin(post_versions, post_versions.c.id == posts.c.version_id)
        .where(posts.c.site_id.in_([site.row for site in allowed]))
    )


def _read_posts(connection: Connection, rows: Sequence[Row[Any]]) -> list[PostRead]:
    wanted = [row.id for row in rows]
    if not wanted:
        return []
    many = func.count().label("many")
    statuses = select(comments.c.post_id, comments.c.status, many).where(comments.c.post_id.in_(wanted))
    counts: dict[int, dict[Status, int]] = {}
    for row in connection.execute(statuses.group_by(comments.c.post_id, comments.c.status)):
        counts.setdefault(row.post_id, {})[row.status] = row.many
    waits = select(queue_entries.c.post_id, many).where(queue_entries.c.post_id.in_(wanted))
    waits = waits.where(queue_entries.c.closed_at.is_(None)).group_by(queue_entries.c.post_id)
    waiting = {row.post_id: row.many for row in connection.execute(waits)}
    return [
        PostRead(
            row=row.id,
            site=row.site,
            id=row.external_id,
            post=Post(row.external_id, row.title, row.text, row.url, tuple(row.tags or ())),
            counts=counts.get(row.id, {}),
            waiting=waiting.get(row.id, 0),
            created_at=row.created_at,
        )
        for row in rows
    ]
