"""Comments that another one may repeat: those of a site that share a hash of near-duplicates with it.

The first of them, which it may be a copy of, and those that were judged last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, Subquery, bindparam, false, select, union

from moderation.comment import Author, Comment
from moderation.copied import Earlier, brings_link, find_copied, find_known_spam
from service.statuses import calls_spam
from service.store.review_tables import verdicts
from service.store.rows import read_comment
from service.store.tables import IS_JUDGED, comment_versions, comments, near_hashes, sites

MOST_COMPARED = 5
"""The original comes before its copies, so that of a thousand of them the first few have to do."""

_PER_BAND = 3

MOST_JUDGED = 50
"""The last verdict on the same words counts; of a stock phrase there are many, which differ in where they lead."""


def find_earlier(
    connection: Connection, site_row: int, bands: Sequence[int], itself: Row[Any] | None
) -> list[tuple[int, Earlier]]:
    """The first comments of a site that share a hash, with their rows; at most ``MOST_COMPARED``, whose text is kept.

    ``itself`` is the comment (``comment``: its row, ``came_at``) where it is there already; then only what came in
    before it.
    """
    if not bands:
        return []
    asked: dict[str, Any] = {"site": site_row} | {f"band_{number}": band for number, band in enumerate(bands)}
    if itself is not None:
        asked |= {"itself": itself.comment, "came_at": itself.came_at}
    rows = connection.execute(_earliest(len(bands), is_known=itself is not None), asked)
    return [(row.id, Earlier(row.text, Author(row.author_id, row.author_name, row.author_url))) for row in rows]


def find_first_campaign(connection: Connection, site_row: int, bands: Sequence[int]) -> int | None:
    """The campaign of the first comment of a site that shares a hash."""
    if not bands:
        return None
    asked: dict[str, Any] = {"site": site_row} | {f"band_{number}": band for number, band in enumerate(bands)}
    campaign: int | None = connection.execute(_first_campaign(len(bands)), asked).scalar()
    return campaign


@cache
def _first_campaign(bands: int) -> Select[Any]:
    found = _look(bands, is_known=False)
    return select(found.c.campaign).order_by(found.c.at, found.c.campaign).limit(1)


def _look(bands: int, *, is_known: bool) -> Subquery:
    """Looks into the index of hashes once for each band, and takes the first few there.

    Asked for all bands at once, a database would sort whatever a flood has left.
    """
    near = near_hashes.c
    looks = []
    for number in range(bands):
        look = select(near.comment_id, near.campaign, near.at).where(
            near.site_id == bindparam("site"), near.band == bindparam(f"band_{number}")
        )
        if is_known:
            look = look.where(near.at <= bindparam("came_at"), near.comment_id != bindparam("itself"))
        looks.append(select(look.order_by(near.at).limit(_PER_BAND).subquery()))
    return union(*looks).subquery()


@cache
def _earliest(bands: int, *, is_known: bool) -> Select[Any]:
    found, version = _look(bands, is_known=is_known), comment_versions.c
    return (
        select(comments.c.id, version.text, version.author_id, version.author_name, version.author_url)
        .join(found, found.c.comment_id == comments.c.id)
        .join(comment_versions, (version.comment_id == comments.c.id) & (version.number == comments.c.version))
        .where(version.text.is_not(None))
        .order_by(found.c.at, comments.c.id)
        .limit(MOST_COMPARED)
    )


def find_judged(
    connection: Connection, site_row: int, comment: Comment, bands: Sequence[int], itself: int | None
) -> tuple[Earlier, ...]:
    """The comments of a site that share a hash and were judged, the one judged last first.

    At most ``MOST_JUDGED``, whose text is kept. Of a comment that comes in edited (``itself``: its row) what it says is
    before them all where it is published: who is read with some words may go on saying them, whatever was said of
    others. Then what was said of it last, in whatever version.
    """
    own: list[Earlier] = []
    if itself is not None:
        own += map(_read_judged, connection.execute(_OWN, {"comment": itself}))
        said = connection.execute(_SAID_OF_OWN, {"comment": itself}).first()
        is_spam = None if said is None else calls_spam(said.action, said.categories)
        if said is not None and is_spam is not None:
            own.append(Earlier(said.text, comment.author or Author(), is_spam=is_spam))
    return (*own, *map(_read_judged, _list_judged(connection, site_row, bands) if bands else ()))


def _list_judged(connection: Connection, site_row: int, bands: Sequence[int]) -> Sequence[Row[Any]]:
    asked: dict[str, Any] = {"site": site_row} | {f"band_{number}": band for number, band in enumerate(bands)}
    return connection.execute(_judged(len(bands)), asked).all()


def _read_judged(row: Row[Any]) -> Earlier:
    return Earlier(row.text, Author(row.author_id, row.author_name, row.author_url), is_spam=row.is_spam)


_TEXTS = select(
    comments.c.id,
    comment_versions.c.text,
    comment_versions.c.author_id,
    comment_versions.c.author_name,
    comment_versions.c.author_url,
).where(comment_versions.c.text.is_not(None))
_IS_CURRENT = (comment_versions.c.comment_id == comments.c.id) & (comment_versions.c.number == comments.c.version)
_OWN = (
    _TEXTS.add_columns(false().label("is_spam"))
    .join(comment_versions, _IS_CURRENT)
    .where(comments.c.id == bindparam("comment"), comments.c.status == "published")
)
_SAID_OF_OWN = (
    select(verdicts.c.action, verdicts.c.categories, comment_versions.c.text)
    .join(comment_versions, comment_versions.c.id == verdicts.c.comment_version_id)
    .where(verdicts.c.comment_id == bindparam("comment"), verdicts.c.undone_at.is_(None))
    .where(comment_versions.c.text.is_not(None))
    .order_by(verdicts.c.id.desc())
    .limit(1)
)


@cache
def _judged(bands: int) -> Select[Any]:
    near = near_hashes.c
    looks = []
    for number in range(bands):
        look = select(near.comment_id, near.judged_at, near.is_spam).where(
            near.site_id == bindparam("site"), near.band == bindparam(f"band_{number}"), IS_JUDGED
        )
        looks.append(select(look.order_by(near.judged_at.desc()).limit(MOST_JUDGED).subquery()))
    found = union(*looks).subquery()
    return (
        _TEXTS.add_columns(found.c.is_spam, found.c.judged_at)
        .join(found, found.c.comment_id == comments.c.id)
        .join(comment_versions, _IS_CURRENT)
        .order_by(found.c.judged_at.desc(), comments.c.id.desc())
        .limit(MOST_JUDGED)
    )


def find_spam_like(connection: Connection, comment_row: int) -> int | None:
    """The row of another comment, judged as spam before this one came in, that this one says again."""
    current = connection.execute(_CURRENT, {"comment": comment_row}).one()
    if current.text is None:
        return None
    bands = connection.execute(_BANDS, {"comment": comment_row}).scalars().all()
    found = [
        row
        for row in _list_judged(connection, current.site_id, bands)
        if row.id != comment_row and row.is_spam and row.judged_at <= current.created_at
    ]
    place = find_known_spam(read_comment(connection, current), [_read_judged(row) for row in found])
    return None if place is None else found[place].id


def find_original(connection: Connection, comment_row: int) -> int | None:
    """The row of the first comment that this one is a copy of; ``None`` where it is none, or the other one is gone."""
    current = connection.execute(_CURRENT, {"comment": comment_row}).one()
    if current.text is None:
        return None
    comment = read_comment(connection, current)
    if not brings_link(comment):
        return None
    bands = connection.execute(_BANDS, {"comment": comment_row}).scalars().all()
    before = find_earlier(connection, current.site_id, bands, current)
    place = find_copied(comment, [earlier for _, earlier in before])
    return None if place is None else before[place][0]


_CURRENT = (
    select(comment_versions, sites.c.url.label("site"), comments.c.external_id, comments.c.site_id)
    .add_columns(comments.c.id.label("comment"), comments.c.created_at.label("came_at"))
    .join(
        comments,
        (comments.c.id == comment_versions.c.comment_id) & (comments.c.version == comment_versions.c.number),
    )
    .join(sites, sites.c.id == comments.c.site_id)
    .where(comments.c.id == bindparam("comment"))
)
_BANDS = select(near_hashes.c.band).where(near_hashes.c.comment_id == bindparam("comment"))
