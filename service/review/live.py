"""Server-sent events for the queue page: what others decide and hold, what comes in, how many wait.

A stream is no use of the session, which ends when nobody clicks; and it ends with the session, or when a role is taken.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from service.api import Parts, PartsOf
from service.errors import NotFound, Overloaded, StoreError, TooManyStreams
from service.logs import describe_error
from service.queue_news import Desk, Fresh, Held, Missed, Moved, NewsItem, Waiting, read_cursors, write_cursors
from service.review.queue import AskedOf, Shown
from service.review.shell import Shell, ShellOf, Viewer
from service.store import Touched
from service.streams import BEAT, BEGIN, EventStream, write_event

_log = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)

# Nobody is told anything later than this after their session has ended.
_CHECK_SECONDS = 1.0

_SAID = {"approve": "approved", "reject": "rejected"}


@router.get("/review/events")
def follow(
    request: Request,
    shell: ShellOf,
    parts: PartsOf,
    asked: AskedOf,
    shown: Shown,
    after: Annotated[str, Query(max_length=8000)] = "",
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=8000)] = "",
) -> Response:
    """What happens to the queue that a page shows since the moment ``shown``, on their sites or the one chosen."""
    try:
        viewer = shell.find_listener(request)
    except NotFound:
        viewer = None
    if viewer is None or not viewer.shown:
        return Response(status_code=204)  # by which a browser knows that it need not try again
    desk = Desk(viewer.shown, asked.to_filter(), shown, viewer.moderator.name)
    with ExitStack() as stack:
        try:
            stack.enter_context(parts.queue_news.places.take(viewer.moderator.row))
        except (TooManyStreams, Overloaded) as error:
            return Response(status_code=error.status, headers={"Retry-After": str(error.retry_after_seconds)})
        return EventStream(_write(request, shell, parts, desk, last_event_id or after), stack.pop_all())


async def _write(request: Request, shell: Shell, parts: Parts, desk: Desk, after: str) -> AsyncIterator[str]:
    yield BEGIN
    checked = time.monotonic()
    try:
        async with aclosing(parts.queue_news.follow(desk, read_cursors(after))) as news:
            async for item in news:
                if time.monotonic() - checked >= _CHECK_SECONDS:
                    if (why := await asyncio.to_thread(_why_over, request, shell, desk)) is not None:
                        yield _end(why)
                        return
                    checked = time.monotonic()
                yield _write_one(item)
    except (StoreError, Overloaded) as error:
        # Who connects again goes on without a gap.
        _log.info("a stream of events ends", extra=describe_error(error))


def _why_over(request: Request, shell: Shell, desk: Desk) -> str | None:
    """Why nothing more may be told, if that is so."""
    try:
        viewer: Viewer | None = shell.find_listener(request)
    except NotFound:
        return "role"
    if viewer is None:
        return "session"
    return None if {site.row for site in desk.sites} <= {site.row for site in viewer.shown} else "role"


def _write_one(item: NewsItem) -> str:
    match item:
        case Waiting(waiting, found):
            return write_event("waiting", {"waiting": waiting, "found": found})
        case Fresh(entries):
            return write_event("fresh", {"entries": entries})
        case Held(entries):
            return write_event("held", {"entries": entries})
        case Moved(entries, cursors):
            return write_event("moved", {"entries": [_describe(each) for each in entries]}, write_cursors(cursors))
        case Missed():
            return _end("missed")
        case _:
            return BEAT


def _describe(touched: Touched) -> dict[str, object]:
    content: dict[str, object] = {"entry": touched.entry, "is": touched.state}
    if touched.by is not None and touched.action is not None:
        content |= {"by": touched.by, "said": _SAID[touched.action]}
    return content


def _end(why: str) -> str:
    """The last event of a stream that is not to be opened again."""
    return write_event("end", {"why": why})
