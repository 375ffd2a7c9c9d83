"""Webhooks and their outbox: what waits to be delivered, by whom, and what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, delete, exists, func, or_, select, update

from service.errors import InvalidSettings, NotFound
from service.statuses import AKISMET, STATUS_BY_VERDICT, Heard, WebhookFormat
from service.store import engine as connections
from service.store.akismet import forget_told, heard_late
from service.store.drift import drift_days
from service.store.people import read_change, select_changes
from service.store.records import AkismetAnswer, Alert, Deliveries, DriftAlerts, Message, Site, Webhook
from service.store.review_tables import verdicts
from service.store.tables import comments, outbox, posts, sites, status_log, webhooks
from service.store.writing import insert_new, log, take_turn

HOLD_SECONDS = 60.0
"""How long a process delivers alone to a webhook, unless it says again that it does."""

_AT_ONCE = 20
# After so many failures in a row an answer means that the target is back, so that nothing has to wait any longer.
_AWAY_AFTER = 3


class Webhooks:
    """Webhooks of sites. Who delivers to one holds it, so that no two processes do at the same time."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    # What operators do

    def add(
        self, site: Site, url: str, events: Sequence[Heard], secret: str, *, who: str, form: WebhookFormat = "standard"
    ) -> Webhook:
        """A new webhook of a site. Raises ``InvalidSettings`` where the site has one of that address already."""
        now = self._now()
        row: dict[str, Any] = {"public_id": f"wh_{secrets.token_hex(6)}", "site_id": site.row, "url": url}
        row |= {"format": form, "events": list(events), "signing_key": secret, "created_at": now, "failures": 0}
        with connections.writing(self._engine) as connection:
            if insert_new(connection, webhooks, row, ("site_id", "url")) is None:
                raise InvalidSettings("the site has a webhook of that address already; remove that one first")
            log(connection, site, who, "webhook_added", _about(row["public_id"], url), now)
            return self._find(connection, row["public_id"])

    def all(self) -> list[Webhook]:
        """The webhooks of all sites, the oldest first."""
        with connections.reading(self._engine) as connection:
            rows = connection.execute(_select_webhooks().order_by(webhooks.c.id)).all()
            return [self._read(row) for row in rows]

    def find(self, webhook_id: str) -> Webhook:
        """The webhook of that id. Raises ``NotFound``."""
        with connections.reading(self._engine) as connection:
            return self._find(connection, webhook_id)

    def remove(self, webhook_id: str, *, who: str) -> None:
        """Remove a webhook and what waits for it. Raises ``NotFound``."""
        with connections.writing(self._engine) as connection:
            found = self._find(connection, webhook_id)
            _take_turn(connection, found)
            forget_told(connection, (outbox.c.webhook_id == found.row) & outbox.c.next_attempt_at.is_not(None))
            connection.execute(delete(webhooks).where(webhooks.c.id == found.row))
            _log(connection, found, who, "webhook_removed", self._now())

    def rotate(self, webhook_id: str, secret: str, keep_old: timedelta, *, who: str) -> Webhook:
        """Sign with a new secret and, for a while, with the one before it as well.

        Raises ``NotFound``, and ``InvalidSettings`` for one whose key the site has made.
        """
        now = self._now()
        with connections.writing(self._engine) as connection:
            found = self._find(connection, webhook_id)
            if found.format == "akismet":
                raise InvalidSettings("its key is the site's: remove the webhook and add it again with the new key")
            old = {"old_key": webhooks.c.signing_key, "old_key_until": now + keep_old}
            connection.execute(update(webhooks).where(webhooks.c.id == found.row).values(old | {"signing_key": secret}))
            _log(connection, found, who, "webhook_rotated", now)
            return self._find(connection, webhook_id)

    def deliveries(self, webhook: Webhook) -> Deliveries:
        """How many messages of a webhook wait, were delivered and were given up, as far back as they are kept."""
        box = outbox.c
        of_it = box.webhook_id == webhook.row
        query = select(
            func.count(box.next_attempt_at).label("waiting"),
            func.count(box.delivered_at).label("delivered"),
            func.count(box.given_up_at).label("given_up"),
        ).where(of_it)
        oldest = select(func.min(box.created_at)).where(of_it, box.next_attempt_at.is_not(None))
        failed = select(box.last_error).where(of_it, box.last_error.is_not(None)).order_by(box.id.desc()).limit(1)
        with connections.reading(self._engine) as connection:
            row = connection.execute(query).one()
            since, error = connection.execute(oldest).scalar(), connection.execute(failed).scalar()
        return Deliveries(row.waiting, row.delivered, row.given_up, since, error)

    # Delivering

    def due(self) -> list[int]:
        """The rows of webhooks that have something to be delivered now and that nobody holds."""
        now, hook = self._now(), webhooks.c
        waits = exists().where(outbox.c.webhook_id == hook.id, outbox.c.next_attempt_at <= now)
        query = select(hook.id).where(hook.disabled_at.is_(None), waits, _is_free(None, now))
        query = query.where(or_(hook.paused_until.is_(None), hook.paused_until <= now))
        with connections.reading(self._engine) as connection:
            return list(connection.execute(query.order_by(hook.id)).scalars())

    def hold(self, row: int, holder: str) -> Webhook | None:
        """Deliver alone to a webhook for a while; ``None`` where somebody else does, or it is gone or disabled."""
        now = self._now()
        is_it = (webhooks.c.id == row) & webhooks.c.disabled_at.is_(None) & _is_free(holder, now)
        held = {"held_by": holder, "held_until": now + timedelta(seconds=HOLD_SECONDS)}
        with connections.writing(self._engine) as connection:
            # The condition is part of the update: of two who come at once, the second finds it no longer true.
            if connection.execute(update(webhooks).where(is_it).values(held)).rowcount != 1:
                return None
            return self._read(connection.execute(_select_webhooks().where(webhooks.c.id == row)).one())

    def let_go(self, row: int, holder: str) -> None:
        """Give a webhook back, for any process to deliver to."""
        is_it = (webhooks.c.id == row) & (webhooks.c.held_by == holder)
        with connections.writing(self._engine) as connection:
            connection.execute(update(webhooks).where(is_it).values(held_by=None, held_until=None))

    def next_messages(self, row: int) -> list[Message]:
        """Some of what is due for a webhook, oldest first, at most one of each comment: its later ones wait for it."""
        now, box, earlier = self._now(), outbox.c, outbox.alias("earlier").c
        is_behind = exists().where(
            earlier.webhook_id == box.webhook_id,
            earlier.comment_id == box.comment_id,
            earlier.next_attempt_at.is_not(None),
            earlier.id < box.id,
        )
        query = (
            select_changes()
            .join(outbox, box.change_id == status_log.c.id)
            .add_columns(
                box.id.label("message"),
                box.public_id,
                box.attempts,
                box.created_at,
                verdicts.c.action,
                verdicts.c.categories,
            )
            .where(box.webhook_id == row, box.next_attempt_at <= now, box.told_spam.is_(None), ~is_behind)
            .order_by(box.next_attempt_at, box.id)
            .limit(_AT_ONCE)
        )
        answers = (
            select(box.id.label("message"), box.public_id, box.attempts, box.created_at, box.told_spam)
            .add_columns(comments.c.external_id, posts.c.external_id.label("post"))
            .join(comments, comments.c.id == box.comment_id)
            .outerjoin(posts, posts.c.id == comments.c.post_id)
            .where(box.webhook_id == row, box.next_attempt_at <= now, box.told_spam.is_not(None), ~is_behind)
            .order_by(box.next_attempt_at, box.id)
            .limit(_AT_ONCE)
        )
        day = drift_days.c
        alerts = (
            select(box.id.label("message"), box.public_id, box.attempts, box.created_at)
            .add_columns(day.day, day.bundle, day.category, day.alerts)
            .join(drift_days, day.id == box.drift_id)
            .where(box.webhook_id == row, box.next_attempt_at <= now)
            .order_by(box.id)
            .limit(_AT_ONCE)
        )
        with connections.reading(self._engine) as connection:
            changes = [_read_message(found) for found in connection.execute(query)]
            changes += [_read_answer(found) for found in connection.execute(answers)]
            return changes + [_read_alerts(found) for found in connection.execute(alerts)]

    def delivered(self, webhook: Webhook, message: Message, holder: str) -> bool:
        """Note that a message has arrived. False where the webhook is no longer held by this process.

        Where the target had been away, what waits for it is due at once.
        """
        now = self._now()
        done: dict[str, Any] = {"delivered_at": now, "next_attempt_at": None, "given_up_at": None, "last_error": None}
        done["attempts"] = message.attempts + 1
        with connections.writing(self._engine) as connection:
            _take_turn(connection, webhook)
            is_kept = connection.execute(update(outbox).where(outbox.c.id == message.row).values(done)).rowcount == 1
            if not is_kept and isinstance(message.about, AkismetAnswer):
                heard_late(connection, webhook.row, message.about, now)
            asked = select(webhooks.c.failures).where(webhooks.c.id == webhook.row)
            if (connection.execute(asked).scalar() or 0) >= _AWAY_AFTER:
                waits = (outbox.c.webhook_id == webhook.row) & (outbox.c.next_attempt_at > now)
                connection.execute(update(outbox).where(waits).values(next_attempt_at=now))
            well = {"failures": 0, "paused_until": None, "held_until": now + timedelta(seconds=HOLD_SECONDS)}
            is_it = (webhooks.c.id == webhook.row) & (webhooks.c.held_by == holder)
            return connection.execute(update(webhooks).where(is_it).values(well)).rowcount == 1

    def failed(
        self, webhook: Webhook, message: Message, error: str, *, again: timedelta, pause: timedelta, most: timedelta
    ) -> int:
        """Note that an attempt failed; it is made ``again`` later, and nothing is sent to the target in the ``pause``.

        What is older than ``most`` is given up. Returns how many messages were.
        """
        now = self._now()
        waits = (outbox.c.webhook_id == webhook.row) & outbox.c.next_attempt_at.is_not(None)
        tried = {"attempts": message.attempts + 1, "last_error": error, "next_attempt_at": now + again}
        with connections.writing(self._engine) as connection:
            _take_turn(connection, webhook)
            # A message may be gone by now, with its webhook, or have been delivered by who took the webhook over.
            connection.execute(update(outbox).where(outbox.c.id == message.row, waits).values(tried))
            count = _give_up(connection, waits & (outbox.c.created_at <= now - most), error, now)
            paused = {"failures": webhooks.c.failures + 1, "paused_until": now + pause}
            connection.execute(update(webhooks).where(webhooks.c.id == webhook.row).values(paused))
        return count

    def refused(
        self, webhook: Webhook, message: Message, error: str, holder: str, *, again: timedelta | None
    ) -> tuple[bool, int]:
        """Note that a target which is well does not take this message: it is sent ``again`` later, or given up.

        Nothing else waits for it than what comes after it about the same comment. Returns whether the webhook is still
        held by this process, and how many messages were given up.
        """
        now = self._now()
        is_it = (outbox.c.id == message.row) & outbox.c.next_attempt_at.is_not(None)
        tried: dict[str, Any] = {"attempts": message.attempts + 1, "last_error": error}
        with connections.writing(self._engine) as connection:
            _take_turn(connection, webhook)
            later = tried if again is None else tried | {"next_attempt_at": now + again}
            connection.execute(update(outbox).where(is_it).values(later))
            count = 0 if again is not None else _give_up(connection, is_it, error, now)
            well = {"failures": 0, "paused_until": None, "held_until": now + timedelta(seconds=HOLD_SECONDS)}
            held = (webhooks.c.id == webhook.row) & (webhooks.c.held_by == holder)
            return connection.execute(update(webhooks).where(held).values(well)).rowcount == 1, count

    def disable(self, webhook: Webhook, error: str, *, who: str) -> int:
        """Deliver no more, because the target has said that it is gone; how many messages were given up."""
        now = self._now()
        waits = (outbox.c.webhook_id == webhook.row) & outbox.c.next_attempt_at.is_not(None)
        with connections.writing(self._engine) as connection:
            _take_turn(connection, webhook)
            connection.execute(update(webhooks).where(webhooks.c.id == webhook.row).values(disabled_at=now))
            _log(connection, webhook, who, "webhook_disabled", now)
            return _give_up(connection, waits, error, now)

    def waiting(self) -> tuple[int, float]:
        """How many messages wait, and for how many seconds the oldest of them has."""
        waits = outbox.c.next_attempt_at.is_not(None)
        query = select(func.count().label("size"), func.min(outbox.c.created_at).label("oldest")).where(waits)
        with connections.reading(self._engine) as connection:
            row = connection.execute(query).one()
        return row.size, 0.0 if row.oldest is None else max(0.0, (self._now() - row.oldest).total_seconds())

    def forget_before(self, moment: datetime) -> int:
        """Drop what was delivered or given up before ``moment``; how many messages, at most some thousands."""
        done = or_(outbox.c.delivered_at < moment, outbox.c.given_up_at < moment)
        some = select(outbox.c.id).where(outbox.c.next_attempt_at.is_(None), done).limit(5_000)
        with connections.writing(self._engine) as connection:
            return connection.execute(delete(outbox).where(outbox.c.id.in_(some.scalar_subquery()))).rowcount

    def _find(self, connection: Connection, webhook_id: str) -> Webhook:
        row = connection.execute(_select_webhooks().where(webhooks.c.public_id == webhook_id)).first()
        if row is None:
            raise NotFound("there is no such webhook; 'moderation webhooks list' names those that there are")
        return self._read(row)

    def _read(self, row: Row[Any]) -> Webhook:
        is_rotating = row.old_key is not None and row.old_key_until > self._now()
        return Webhook(
            row=row.id,
            id=row.public_id,
            site=row.site,
            url=row.url,
            events=tuple(row.events),
            secrets=(row.signing_key, row.old_key) if is_rotating else (row.signing_key,),
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            failures=row.failures,
            format=row.format,
        )


def _take_turn(connection: Connection, webhook: Webhook) -> None:
    """What is given up for an Akismet plugin changes what is known of comments, which is for whoever has the turn."""
    if webhook.format == AKISMET:
        row = connection.execute(select(sites.c.id).where(sites.c.url == webhook.site)).scalar_one()
        take_turn(connection, Site(row, webhook.site))


def _give_up(connection: Connection, which: ColumnElement[bool], error: str, now: datetime) -> int:
    """Send these messages no more; how many there were."""
    forget_told(connection, which)
    given_up = {"given_up_at": now, "next_attempt_at": None, "last_error": error}
    return connection.execute(update(outbox).where(which).values(given_up)).rowcount


def _is_free(holder: str | None, now: datetime) -> Any:
    hook = webhooks.c
    return or_(hook.held_until.is_(None), hook.held_until <= now, hook.held_by == holder)


def _select_webhooks() -> Select[Any]:
    return select(webhooks, sites.c.url.label("site")).join(sites, sites.c.id == webhooks.c.site_id)


def _log(connection: Connection, webhook: Webhook, who: str, event: str, now: datetime) -> None:
    row = connection.execute(select(sites).where(sites.c.url == webhook.site)).one()
    log(connection, Site(row.id, row.url), who, event, _about(webhook.id, webhook.url), now)


def _about(webhook_id: str, url: str) -> dict[str, Any]:
    # The rest of the address may hold what only the target is to know.
    return {"webhook": webhook_id, "host": urlsplit(url).hostname}


def _read_alerts(row: Row[Any]) -> Message:
    alerts = tuple(Alert(each["name"], each["text"]) for each in row.alerts)
    about = DriftAlerts(row.day, row.bundle, row.category, alerts)
    return Message(row.message, row.public_id, row.attempts, row.created_at, about, None)


def _read_message(row: Row[Any]) -> Message:
    # An undo names the verdict as well, but takes back what that said.
    is_judged = row.action is not None and STATUS_BY_VERDICT[row.action] == row.new
    categories = tuple(row.categories) if is_judged else None
    about = read_change(row)
    return Message(row.message, row.public_id, row.attempts, row.created_at, about, categories)


def _read_answer(row: Row[Any]) -> Message:
    about = AkismetAnswer(row.external_id, row.told_spam, row.post)
    return Message(row.message, row.public_id, row.attempts, row.created_at, about, None)
