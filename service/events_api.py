"""Server-sent events: what happens on a site, as it happens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from service import review_schemas
from service.api import KeySite, Parts, PartsOf, errors
from service.auth import find_site
from service.errors import StoreError, Unauthorized
from service.events import Event, QueueEvent, StatusEvent
from service.logs import describe_error
from service.store import Site
from service.streams import BEAT, BEGIN, EventStream, write_event
from service.watch import HEARTBEAT_SECONDS

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


def _write_one(event: Event) -> str:
    """An event as it is sent."""
    if isinstance(event, StatusEvent):
        return write_event("status", review_schemas.write_change(event.change), event.change.cursor)
    if isinstance(event, QueueEvent):
        return write_event("queue", {"waiting": event.waiting}, event.cursor)
    return BEAT


async def _write(request: Request, parts: Parts, site: Site, after: int | None) -> AsyncIterator[str]:
    yield BEGIN
    checked = time.monotonic()
    try:
        async for event in parts.events.watch([site], None if after is None else {site.row: after}):
            # A key that has ended ends what it opened.
            if time.monotonic() - checked >= HEARTBEAT_SECONDS - 1:
                await asyncio.to_thread(find_site, parts.store, request.headers)
                checked = time.monotonic()
            yield _write_one(event)
    except (StoreError, Unauthorized) as error:
        # Who connects again is told what it is, and goes on without a gap.
        _log.info("a stream of events ends", extra=describe_error(error))
