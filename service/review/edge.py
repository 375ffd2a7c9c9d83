"""The layer around everything under ``/review``: refuses writes that other sites' pages ask for, sets headers."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ForeignRequest, ServiceError
from service.review.shell import Shell

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it browsers send "Origin: null" with our own forms, and could not be told from strangers.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass
class ReviewEdge:
    """ASGI middleware. Everything that is not under ``/review`` passes untouched."""

    app: ASGIApp
    shell: Shell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not is_review(scope["path"]):
            await self.app(scope, receive, send)
            return
        is_answered = False

        async def with_headers(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        if scope["method"] not in _SAFE and not self._is_ours(request):
            answer = await run_in_threadpool(self.shell.render_error, request, ForeignRequest())
            await answer(scope, receive, with_headers)
            return
        try:
            await self.app(scope, receive, with_headers)
        except Exception:
            if not is_answered:
                fault = ServiceError("something went wrong that should not have")
                answer = await run_in_threadpool(self.shell.render_error, request, fault)
                await answer(scope, receive, with_headers)
            raise  # the outermost layer writes it into the log

    def _is_ours(self, request: Request) -> bool:
        """Whether a page of ours, or the person at the address bar, asks."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        # Browsers leave that header out where there is no TLS.
        return self.shell.is_our_origin(request, request.headers.get("origin", ""))


def is_review(path: str) -> bool:
    """Whether a path belongs to the pages."""
    return path == "/review" or path.startswith("/review/")
