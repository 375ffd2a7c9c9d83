"""What the filter of the queue offers to choose from: reasons, authors and posts of what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from service.store import engine as connections
from service.store.entries import is_second_look
from service.store.records import Site
from service.store.review_tables import queue_entries, queue_reasons
from service.store.tables import comment_versions, comments, post_versions, posts

# Of so many it is looked up, however many wait: what an index gives in order, and a millisecond or two.
_MOST_LOOKED_AT = 500
_MOST_OFFERED = 100
# The reasons whose detail is a reason of the policy.
_OF_POLICY = ("held", "near_line")


@dataclass(frozen=True, slots=True)
class Offers:
    """What waits: the policy's reasons in ``Why.detail``; authors and posts by their ids, with how people call them."""

    reasons: tuple[str, ...]
    authors: tuple[tuple[str, str], ...]
    posts: tuple[tuple[str, str], ...]


def read_offers(engine: Engine, sites: Sequence[Site]) -> Offers:
    """What the most urgent of what waits on these sites have, in the order of names."""
    entry = queue_entries.c
    rows = [site.row for site in sites]
    of_sites = entry.site_id == rows[0] if len(rows) == 1 else entry.site_id.in_(rows)
    urgent = select(entry.id).where(of_sites, entry.closed_at.is_(None)).order_by(entry.urgency.desc(), entry.id.desc())
    with connections.reading(engine) as connection:
        found = connection.execute(urgent.limit(_MOST_LOOKED_AT)).scalars().all()
        return Offers(_reasons(connection, found), *_who_and_where(connection, found))


def _reasons(connection: Connection, entries: Sequence[int]) -> tuple[str, ...]:
    why = queue_reasons.c
    # Whoever looks a second time is not told for what the first look was.
    query = select(why.detail).join(queue_entries, queue_entries.c.id == why.entry_id)
    query = query.where(why.entry_id.in_(entries), why.name.in_(_OF_POLICY), why.detail.is_not(None), ~is_second_look())
    return tuple(connection.execute(query.distinct().order_by(why.detail)).scalars())


def _who_and_where(connection: Connection, entries: Sequence[int]) -> tuple[tuple[tuple[str, str], ...], ...]:
    version, said = comment_versions.c, post_versions.c
    query = (
        select(version.author_id, version.author_name, posts.c.external_id, said.title)
        .join(comments, (comments.c.id == version.comment_id) & (comments.c.version == version.number))
        .join(queue_entries, queue_entries.c.comment_id == comments.c.id)
        .outerjoin(posts, posts.c.id == version.post_id)
        .outerjoin(post_versions, said.id == version.post_version_id)
        .where(queue_entries.c.id.in_(entries))
    )
    authors: dict[str, str] = {}
    about: dict[str, str] = {}
    for row in connection.execute(query):
        if row.author_id is not None:
            authors.setdefault(row.author_id, row.author_name or row.author_id)
        if row.external_id is not None:
            about.setdefault(row.external_id, row.title or row.external_id)
    return _in_order(authors), _in_order(about)


def _in_order(names: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(names.items(), key=lambda item: (item[1].casefold(), item[0]))[:_MOST_OFFERED])
