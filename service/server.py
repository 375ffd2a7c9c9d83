"""The web server, told to end event streams before it waits for requests to end, and the socket it answers on."""

from __future__ import annotations

import socket

import uvicorn

from service.errors import InvalidSettings
from service.events import Events

_BACKLOG = 2048


class Server(uvicorn.Server):
    """Streams of events would otherwise keep it waiting until it cuts them off."""

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, answer what is being asked, stop."""
        self._events.close()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is found before anything is made, and port 0 is known.

    Raises ``InvalidSettings`` where nobody can listen there.
    """
    try:
        # With its protocol named: asyncio sends at once (TCP_NODELAY) only what it knows to be TCP, and otherwise the
        # second part of an answer waits 40 ms for the client to acknowledge the first.
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            # Two can bind one port as long as none listens. From here on connections wait instead of being refused.
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidSettings(
            f"cannot listen on {host} port {port} ({error.strerror}); choose others with --host and --port"
        ) from error
    return listener
