"""The web server, told to end event streams before it waits for requests to end."""

from __future__ import annotations

import socket

import uvicorn

from service.events import Events


class Server(uvicorn.Server):
    """Streams of events would otherwise keep it waiting until it cuts them off."""

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, answer what is being asked, stop."""
        self._events.close()
        await super().shutdown(sockets)
