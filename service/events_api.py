"""Server-sent events: what happens on a site, as it happens."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service import review_schemas
from service.api import KeySite, Parts, PartsOf, errors
from service.auth import find_site
from service.errors import StoreError, Unauthorized
from service.events import HEARTBEAT_SECONDS, Event, QueueEvent, StatusEvent
from service.logs import describe_error
from service.store import Site

_log = logging.getLogger(__name__)

router = APIRouter()

_Cursor = Annotated[int | None, Query(ge=0, lt=2**63)]
# What the browser sends by itself when it connects again.
_LastSeen = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, lt=2**63)]


@router.get(
    "/v1/events",
    tags=["review"],
    summary="Follow changes as they happen",
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events until one side ends it."},
        **errors(401, 422, 429, 503),
    },
    response_class=StreamingResponse,
)
async def follow(
    request: Request, site: KeySite, parts: PartsOf, after: _Cursor = None, last_event_id: _LastSeen = None
) -> StreamingResponse:
    """Changes of status on your site, and how many comments wait. An event's id goes on from there: none is missed."""
    begun = last_event_id if last_event_id is not None else after
    with ExitStack() as stack:
        stack.enter_context(parts.events.place(site))
        stream = _write(request, parts, site, begun)
        return EventStream(stream, stack.pop_all())


class EventStream(StreamingResponse):
    """A stream of server-sent events that gives its place back however it ends."""

    def __init__(self, content: AsyncIterator[str], place: ExitStack) -> None:
        # A proxy that collects an answer before it passes it on would pass on nothing.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until there are no more or nobody listens."""
        with self._place:
            await super().__call__(scope, receive, send)


def write_event(event: Event) -> str:
    """An event as it is sent."""
    if isinstance(event, StatusEvent):
        return _write_one("status", event.change.cursor, review_schemas.write_change(event.change))
    if isinstance(event, QueueEvent):
        return _write_one("queue", event.cursor, {"waiting": event.waiting})
    return ": nothing new\n\n"


def _write_one(name: str, cursor: int, content: dict[str, object]) -> str:
    return f"id: {cursor}\nevent: {name}\ndata: {json.dumps(content)}\n\n"


async def _write(request: Request, parts: Parts, site: Site, after: int | None) -> AsyncIterator[str]:
    yield "retry: 3000\n\n"
    checked = time.monotonic()
    try:
        async for event in parts.events.watch([site], None if after is None else {site.row: after}):
            # A key that has ended ends what it opened.
            if time.monotonic() - checked >= HEARTBEAT_SECONDS - 1:
                await asyncio.to_thread(find_site, parts.store, request.headers)
                checked = time.monotonic()
            yield write_event(event)
    except (StoreError, Unauthorized) as error:
        # Who connects again is told what it is, and goes on without a gap.
        _log.info("a stream of events ends", extra=describe_error(error))
