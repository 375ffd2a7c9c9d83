"""Sites' Corals: their secrets, and which comment of ours is which of Coral's.

Coral asks about a comment before it gives it an id, so the id is learned later, from a webhook that names the story and
the id and neither text nor author. Which comment that is, is only believed where no other could be meant, also none of
those that were asked about and are not kept.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, bindparam, delete, exists, insert, or_, select, update

from moderation.comment import Action
from moderation.policy_schema import WINDOWS
from service.errors import InvalidSettings, NotFound, StoreError
from service.store import engine as connections
from service.store.campaigns import CAMPAIGN_HOURS, MOST_COUNTED
from service.store.context import MOST_RECENT, Context
from service.store.records import Site
from service.store.rows import is_current
from service.store.tables import (
    IS_CORAL_EDIT,
    comment_versions,
    comments,
    coral_comments,
    coral_connections,
    coral_requests,
    decisions,
    near_hashes,
    posts,
    sites,
)
from service.store.writing import insert_new, log

MAX_SECRETS = 2
"""So many secrets of one kind count at a time, as while one is replaced by the next."""

SUPERSEDED_FOR = timedelta(hours=24)
"""So long a secret still counts after the next one was told; Coral lets none live longer."""

SAME_WITHIN = timedelta(seconds=5)
"""How far apart a decision and what a webhook announces can lie; Coral's clock and ours differ a little."""

ALONE_FOR = timedelta(seconds=15)
"""From so long before what a webhook announces until now nothing else may have been asked about on its story."""

MAX_DELAY = timedelta(seconds=60)
"""What a webhook announces later than this may have happened at any time."""

_MOST_REMEMBERED = 1_000

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
        self._lock = threading.Lock()
        # By connection (None: any one) and story (None: any one): what is being asked about, and when something was
        # asked about last that the database does not know of.
        self._asking: Counter[tuple[int | None, str | None]] = Counter()
        self._unnoted: dict[tuple[int | None, str | None], datetime] = {}

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
            return self._of_site(connection, site)

    def rotate(
        self, site: Site, phase: str | None, webhook: str | None, *, who: str, drop_old: bool = False
    ) -> CoralConnection:
        """Believe further secrets, and for a day the newest of each kind before them. Raises ``NotFound``.

        With ``drop_old`` only the newest of each kind counts, from now on.
        """
        now = self._now()
        with connections.writing(self._engine) as connection:
            found = self._of_site(connection, site)
            values: dict[str, Any] = {}
            for kind, known, new in (
                ("phase", found.phase_secrets, phase),
                ("webhook", found.webhook_secrets, webhook),
            ):
                keys = list(known) if new is None else list(dict.fromkeys([new, *known]))
                values[f"{kind}_keys"] = keys[: 1 if drop_old else MAX_SECRETS]
                if keys[:1] != list(known[:1]):
                    values[f"{kind}_superseded_at"] = now
            is_it = coral_connections.c.id == found.row
            connection.execute(update(coral_connections).where(is_it).values(values))
            log(connection, site, who, "coral_rotated", {"connection": found.id}, now)
            return self._of_site(connection, site)

    def all(self) -> list[CoralConnection]:
        """The connections of all sites, the oldest first."""
        with connections.reading(self._engine) as connection:
            rows = connection.execute(_select().order_by(coral_connections.c.id)).all()
        return [self._read(row) for row in rows]

    def disconnect(self, site: Site, *, who: str) -> CoralConnection:
        """Forget a connection, its secrets and Coral's ids of comments. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            found = self._of_site(connection, site)
            connection.execute(delete(coral_connections).where(coral_connections.c.id == found.row))
            log(connection, site, who, "coral_disconnected", {"connection": found.id}, self._now())
        return found

    # What Coral does

    def find(self, public_id: str) -> CoralConnection | None:
        """The connection of that id, ``None`` where there is none."""
        with connections.reading(self._engine) as connection:
            row = connection.execute(_OF_ID, {"connection": public_id}).first()
        return None if row is None else self._read(row)

    def known(self, coral: CoralConnection, coral_id: str) -> str | None:
        """Our id of a comment of Coral's; ``None`` where it is not known which one that is."""
        asked = {"connection": coral.row, "comment": coral_id}
        with connections.reading(self._engine) as connection:
            found: str | None = connection.execute(_KNOWN, asked).scalar()
        return found

    @contextmanager
    def asking(self, coral: CoralConnection, story: str | None) -> Iterator[None]:
        """While Coral waits for an answer about a comment of that story; where this raises, it is noted."""
        about = (coral.row, story)
        with self._lock:
            self._asking[about] += 1
        try:
            yield
        except BaseException:
            self.note(coral, story)
            raise
        finally:
            with self._lock:
                self._asking[about] -= 1
                self._asking += Counter()  # forget those at 0

    def note(self, coral: CoralConnection, story: str | None) -> None:
        """Note that Coral has asked about something that is not kept, of that story or of any one (``None``).

        Never raises: without the database this process remembers it.
        """
        now = self._now()
        row = {"connection_id": coral.row, "story": story, "at": now}
        try:
            with connections.writing(self._engine) as connection:
                connection.execute(delete(coral_requests).where(coral_requests.c.at < now - MAX_DELAY - ALONE_FOR))
                connection.execute(insert(coral_requests).values(row))
        except StoreError:
            self.remember(coral, story)

    def remember(self, coral: CoralConnection | None, story: str | None) -> None:
        """The same in memory alone, which takes no time; ``None`` for a connection that could not be found."""
        now = self._now()
        with self._lock:
            if len(self._unnoted) > _MOST_REMEMBERED:
                oldest = now - MAX_DELAY - ALONE_FOR
                self._unnoted = {about: at for about, at in self._unnoted.items() if at > oldest}
            self._unnoted[None if coral is None else coral.row, story] = now

    def learn(
        self,
        coral: CoralConnection,
        coral_id: str,
        story: str,
        action: Action,
        *,
        happened: datetime,
        is_reply: bool | None,
    ) -> bool:
        """Note what Coral calls the comment that it published or put aside on a story, by its own clock ``happened``.

        It is the one that was decided so on that story just then, if nothing else was asked about there from a little
        before until now and it answers one or does not (``is_reply``; ``None``: not told). Otherwise, or where that
        was long ago or is still to come, nothing is noted, and the result is false.
        """
        now = self._now()
        if not -SAME_WITHIN <= now - happened <= MAX_DELAY or self._is_asked(coral, story, happened - ALONE_FOR):
            return False
        since = happened - ALONE_FOR
        is_coral = comments.c.external_id.startswith(NEW_PREFIX, autoescape=True)
        query = (
            select(
                comments.c.id,
                comments.c.external_id,
                comments.c.created_at,
                comment_versions.c.kind,
                decisions.c.action,
            )
            .join(posts, posts.c.id == comments.c.post_id)
            .join(comment_versions, comment_versions.c.comment_id == comments.c.id)
            .join(decisions, decisions.c.comment_version_id == comment_versions.c.id)
            .where(comments.c.site_id == coral.site.row, comments.c.created_at > since, is_coral)
            .where(posts.c.external_id == story, is_current())
            .limit(2)
        )
        unkept = exists().where(
            coral_requests.c.connection_id == coral.row,
            coral_requests.c.at > since,
            or_(coral_requests.c.story.is_(None), coral_requests.c.story == story),
        )
        with connections.writing(self._engine) as connection:
            recent = connection.execute(query).all()
            if len(recent) != 1 or connection.execute(select(unkept)).scalar():
                return False
            (one,) = recent
            is_same = one.action == action and is_reply in (None, one.kind == "reply")
            if not is_same or one.external_id.startswith(EDIT_PREFIX) or abs(one.created_at - happened) > SAME_WITHIN:
                return False
            if connection.execute(select(exists().where(coral_comments.c.comment_id == one.id))).scalar():
                return False
            row = {"connection_id": coral.row, "coral_id": coral_id, "comment_id": one.id, "at": now}
            return insert_new(connection, coral_comments, row, ("connection_id", "coral_id")) is not None

    def _is_asked(self, coral: CoralConnection, story: str, since: datetime) -> bool:
        """Whether this process knows of a request that the database does not hold, or not yet."""
        with self._lock:
            others = [*self._asking, *(about for about, at in self._unnoted.items() if at > since)]
        return any(row in (None, coral.row) and about in (None, story) for row, about in others)

    def recount(
        self,
        coral: CoralConnection,
        author: str | None,
        story: str | None,
        context: Context,
        bands: Sequence[int],
        *,
        is_edit: bool,
    ) -> Context:
        """What is known around a comment, with edits counted as the comments that they are of.

        Which one that is Coral does not say: an edit is taken to be of the last one that its author has written on its
        story. For the campaign all edits by its author on its story are, and the one comment that they began with.
        """
        moments = [self._now() - timedelta(seconds=seconds) for seconds in WINDOWS.values()]
        with connections.reading(self._engine) as connection:
            edits = connection.execute(_EDITS, {"site": coral.site.row, "since": min(moments)})
            further = [(row.created_at, row.author_id) for row in edits]
            near = 0
            if is_edit and author is not None and story is not None:
                asked = {"site": coral.site.row, "author": author, "story": story}
                itself = connection.execute(_EDITED, asked).scalar()
                further += [] if itself is None else [(itself, author)]
                if context.campaign_size:
                    near = _count_texts(connection, coral.site, author, story, bands, self._now())
        of_all, of_author = (
            [sum(at > moment and who in (None, by) for at, by in further) for moment in moments]
            for who in (None, author)
        )
        return replace(
            context,
            campaign_size=max(0, context.campaign_size - near),
            author_recent=_subtract(context.author_recent, of_author),
            site_recent=_subtract(context.site_recent, of_all),
        )

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

    def _of_site(self, connection: Connection, site: Site) -> CoralConnection:
        row = connection.execute(_select().where(coral_connections.c.site_id == site.row)).first()
        if row is None:
            raise NotFound("the site is not connected to a Coral; 'moderation coral connect URL' does that")
        return self._read(row)

    def _read(self, row: Row[Any]) -> CoralConnection:
        return CoralConnection(
            row=row.id,
            id=row.public_id,
            site=Site(row.site_id, row.url, row.policy_digest),
            phase_secrets=self._believed(row.phase_keys, row.phase_superseded_at),
            webhook_secrets=self._believed(row.webhook_keys, row.webhook_superseded_at),
            created_at=row.created_at,
        )

    def _believed(self, keys: Sequence[str], superseded_at: datetime | None) -> tuple[str, ...]:
        is_old_one_known = superseded_at is not None and self._now() - superseded_at < SUPERSEDED_FOR
        return tuple(keys[: MAX_SECRETS if is_old_one_known else 1])


# When edits came in, and of which author, the last ones first.
_EDITS = (
    select(comments.c.created_at, comments.c.author_id)
    .where(comments.c.site_id == bindparam("site"), comments.c.created_at > bindparam("since"), IS_CORAL_EDIT)
    .order_by(comments.c.created_at.desc())
    .limit(MOST_RECENT)
)
# When the comment came in that an edit is taken to be of.
_EDITED = (
    select(comments.c.created_at)
    .join(posts, posts.c.id == comments.c.post_id)
    .where(comments.c.site_id == bindparam("site"), comments.c.author_id == bindparam("author"))
    .where(posts.c.external_id == bindparam("story"))
    .where(comments.c.external_id.startswith(NEW_PREFIX, autoescape=True))
    .where(~comments.c.external_id.startswith(EDIT_PREFIX, autoescape=True))
    .order_by(comments.c.created_at.desc())
    .limit(1)
)


def _count_texts(
    connection: Connection, site: Site, author: str, story: str, bands: Sequence[int], now: datetime
) -> int:
    """How many near-duplicates of an edit may be earlier texts of the same comment, by their hashes."""
    since = now - timedelta(hours=CAMPAIGN_HOURS)
    query = (
        select(comments.c.external_id)
        .distinct()
        .join(near_hashes, near_hashes.c.comment_id == comments.c.id)
        .join(posts, posts.c.id == comments.c.post_id)
        .where(near_hashes.c.site_id == site.row, near_hashes.c.band.in_(bands), near_hashes.c.at >= since)
        .where(comments.c.site_id == site.row, comments.c.author_id == author, posts.c.external_id == story)
        .where(comments.c.external_id.startswith(NEW_PREFIX, autoescape=True))
        .limit(MOST_COUNTED)
    )
    found: list[str] = [row.external_id for row in connection.execute(query)]
    edits = sum(each.startswith(EDIT_PREFIX) for each in found)
    return edits + min(1, len(found) - edits)


def _subtract(counts: Sequence[int], fewer: Sequence[int]) -> tuple[int, ...]:
    # What was not counted to its end is at least as much as any rate of a policy, whatever is taken off.
    both = zip(counts, fewer, strict=True) if counts else ()
    return tuple(count if count >= MOST_RECENT else max(0, count - each) for count, each in both)


def _select() -> Select[Any]:
    return select(coral_connections, sites.c.url, sites.c.policy_digest).join(sites)


# Of every comment that Coral asks about.
_OF_ID = _select().where(coral_connections.c.public_id == bindparam("connection"))
_KNOWN = (
    select(comments.c.external_id)
    .join(coral_comments, coral_comments.c.comment_id == comments.c.id)
    .where(coral_comments.c.connection_id == bindparam("connection"), coral_comments.c.coral_id == bindparam("comment"))
)
