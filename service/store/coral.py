"""Sites' Corals: their secrets, and which comment of ours is which of Coral's.

Coral asks about a comment before it gives it an id, so the id is learned later, from a webhook that names the story and
the id and neither text nor author. Which comment that is, is only believed where no other could be meant.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, bindparam, delete, exists, select, update

from moderation.comment import Action
from service.errors import InvalidSettings, NotFound
from service.store import engine as connections
from service.store.records import Site
from service.store.rows import is_current
from service.store.tables import comment_versions, comments, coral_comments, coral_connections, decisions, posts, sites
from service.store.writing import insert_new, log

MAX_SECRETS = 2
"""So many secrets of one kind count at a time, as while one is replaced by the next."""

SAME_WITHIN = timedelta(seconds=15)
"""How long after its decision a comment can still be the one that a webhook announces."""

NEW_PREFIX = "coral-"
EDIT_PREFIX = "coral-edit-"
"""With what ids of comments begin that Coral's phase asked about, new ones and edits."""


@dataclass(frozen=True, slots=True)
class CoralConnection:
    """A site's Coral. Secrets are those that may sign, the newest first: of the phase, and of Coral's webhooks."""

    row: int
    id: str
    site: Site
    phase_secrets: tuple[str, ...] = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    created_at: datetime


class Coral:
    """Connections of sites to their Corals."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    # What operators do

    def connect(self, site: Site, phase: str | None, webhook: str | None, *, who: str) -> CoralConnection:
        """Connect a site, with the secrets that are known already. Raises ``InvalidSettings`` where it is."""
        now = self._now()
        row: dict[str, Any] = {"public_id": secrets.token_hex(16), "site_id": site.row, "created_at": now}
        row |= {"phase_keys": [phase] if phase else [], "webhook_keys": [webhook] if webhook else []}
        with connections.writing(self._engine) as connection:
            if insert_new(connection, coral_connections, row, ("site_id",)) is None:
                raise InvalidSettings("the site is connected already; 'moderation coral list' shows how")
            log(connection, site, who, "coral_connected", {"connection": row["public_id"]}, now)
            return _of_site(connection, site)

    def rotate(self, site: Site, phase: str | None, webhook: str | None, *, who: str) -> CoralConnection:
        """Believe further secrets, beside the newest of each kind that there was. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            found = _of_site(connection, site)
            keys = {
                "phase_keys": _add_secret(found.phase_secrets, phase),
                "webhook_keys": _add_secret(found.webhook_secrets, webhook),
            }
            is_it = coral_connections.c.id == found.row
            connection.execute(update(coral_connections).where(is_it).values(keys))
            log(connection, site, who, "coral_rotated", {"connection": found.id}, self._now())
            return _of_site(connection, site)

    def all(self) -> list[CoralConnection]:
        """The connections of all sites, the oldest first."""
        with connections.reading(self._engine) as connection:
            rows = connection.execute(_select().order_by(coral_connections.c.id)).all()
        return [_read(row) for row in rows]

    def disconnect(self, site: Site, *, who: str) -> CoralConnection:
        """Forget a connection, its secrets and Coral's ids of comments. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            found = _of_site(connection, site)
            connection.execute(delete(coral_connections).where(coral_connections.c.id == found.row))
            log(connection, site, who, "coral_disconnected", {"connection": found.id}, self._now())
        return found

    # What Coral does

    def find(self, public_id: str) -> CoralConnection | None:
        """The connection of that id, ``None`` where there is none."""
        with connections.reading(self._engine) as connection:
            row = connection.execute(_CONNECTION, {"connection": public_id}).first()
        return None if row is None else _read(row)

    def known(self, coral: CoralConnection, coral_id: str) -> str | None:
        """Our id of a comment of Coral's; ``None`` where it is not known which one that is."""
        with connections.reading(self._engine) as connection:
            found: str | None = connection.execute(_OURS, {"connection": coral.row, "coral": coral_id}).scalar()
        return found

    def learn(
        self, coral: CoralConnection, coral_id: str, story: str, action: Action, *, is_reply: bool | None
    ) -> bool:
        """Note what Coral calls the comment that it has just published or put aside on a story.

        It is the one that was decided so on that story a moment ago, if exactly one comment was asked about there in
        that time and it answers one or does not (``is_reply``; ``None``: not told). Otherwise nothing is noted, and the
        result is false.
        """
        now = self._now()
        is_coral = comments.c.external_id.startswith(NEW_PREFIX, autoescape=True)
        query = (
            select(comments.c.id, comments.c.external_id, comment_versions.c.kind, decisions.c.action)
            .join(posts, posts.c.id == comments.c.post_id)
            .join(comment_versions, comment_versions.c.comment_id == comments.c.id)
            .join(decisions, decisions.c.comment_version_id == comment_versions.c.id)
            .where(comments.c.site_id == coral.site.row, comments.c.created_at > now - SAME_WITHIN, is_coral)
            .where(posts.c.external_id == story, is_current())
            .limit(2)
        )
        with connections.writing(self._engine) as connection:
            recent = connection.execute(query).all()
            if len(recent) != 1:
                return False
            (one,) = recent
            is_same = one.action == action and is_reply in (None, one.kind == "reply")
            if not is_same or one.external_id.startswith(EDIT_PREFIX):
                return False
            if connection.execute(select(exists().where(coral_comments.c.comment_id == one.id))).scalar():
                return False
            row = {"connection_id": coral.row, "coral_id": coral_id, "comment_id": one.id, "at": now}
            return insert_new(connection, coral_comments, row, ("connection_id", "coral_id")) is not None

    def may_be_edited(self, coral: CoralConnection, comment_id: str) -> bool:
        """Whether a comment's author has edited one of theirs on that post since, which may have been this one."""
        one, later = comments.alias("one"), comments.alias("later")
        of_it = (one.c.site_id == coral.site.row) & (one.c.external_id == comment_id)
        # By the author's absence nothing can be told apart, so that counts as the same author.
        query = select(
            exists().where(
                of_it,
                later.c.site_id == one.c.site_id,
                later.c.post_id == one.c.post_id,
                later.c.author_id.is_not_distinct_from(one.c.author_id),
                later.c.external_id.startswith(EDIT_PREFIX, autoescape=True),
                later.c.created_at >= one.c.created_at,
            )
        )
        with connections.reading(self._engine) as connection:
            return bool(connection.execute(query).scalar())


def _add_secret(known: Sequence[str], new: str | None) -> list[str]:
    return list(known) if new is None else list(dict.fromkeys([new, *known]))[:MAX_SECRETS]


def _of_site(connection: Connection, site: Site) -> CoralConnection:
    row = connection.execute(_select().where(coral_connections.c.site_id == site.row)).first()
    if row is None:
        raise NotFound("the site is not connected to a Coral; 'moderation coral connect URL' does that")
    return _read(row)


def _select() -> Select[Any]:
    return select(coral_connections, sites.c.url, sites.c.policy_digest).join(sites)


# Asked with every comment, so built once.
_CONNECTION = _select().where(coral_connections.c.public_id == bindparam("connection"))
_OURS = (
    select(comments.c.external_id)
    .join(coral_comments, coral_comments.c.comment_id == comments.c.id)
    .where(coral_comments.c.connection_id == bindparam("connection"), coral_comments.c.coral_id == bindparam("coral"))
)


def _read(row: Row[Any]) -> CoralConnection:
    return CoralConnection(
        row=row.id,
        id=row.public_id,
        site=Site(row.site_id, row.url, row.policy_digest),
        phase_secrets=tuple(row.phase_keys),
        webhook_secrets=tuple(row.webhook_keys),
        created_at=row.created_at,
    )
