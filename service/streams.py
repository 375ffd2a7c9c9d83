"""Server-sent events as an answer: how they are written, and that a place is given back however it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

BEGIN = "retry: 3000\n\n"
"""After how many milliseconds who was cut off connects again."""

BEAT = ": nothing new\n\n"
"""What is sent while nothing happens, so that nobody between takes the connection for dead."""


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


def write_event(name: str, content: Mapping[str, object], cursor: object = None) -> str:
    """An event as it is sent; ``cursor`` is its id, from which who connects again goes on."""
    begin = "" if cursor is None else f"id: {cursor}\n"
    return f"{begin}event: {name}\ndata: {json.dumps(content)}\n\n"
