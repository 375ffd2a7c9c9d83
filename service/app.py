"""``create_app(settings)``: the one place where things are wired. Importing this does nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import moderation
from moderation.shipped import shipped_folder
from service import api, docs_page, events_api, review_api
from service.auth import key_before
from service.dialects import DIALECTS, find_dialect
from service.drift import Drift
from service.errors import InvalidRequest, NotFound, ServiceError, UnknownHost, error_body
from service.events import Events
from service.feedback import Feedback
from service.hashes import Hashes
from service.home import open_store, prepare_home
from service.kept_labels import KeptLabels
from service.live_model import LiveModel
from service.logs import describe_error
from service.metrics import Metrics, known_method
from service.own_labels import OwnLines
from service.policies import Policies
from service.queue_news import QueueNews
from service.retraining import Retraining
from service.review.edge import is_review
from service.review.pages import add_pages
from service.review.shell import shell_of
from service.second_looks import RandomLooks
from service.settings import Settings
from service.shadow import Shadow
from service.tries import also_mapped
from service.upkeep import Upkeep
from service.verdicts import Moderation
from service.webhooks import Courier
from service.workflow import Workflow

_log = logging.getLogger(__name__)

_DESCRIPTION = """Comments in, decisions out: publish, hold for a moderator, or reject, with scores and reasons.

Every route under `/v1` takes the API key of a site, made with `moderation add-site URL`. All errors have one body:
`{"error": {"code": ..., "message": ..., "details": [...]}}`."""

_TAGS = [
    {"name": "comments", "description": "Submit comments and ask what became of them."},
    {"name": "decisions", "description": "Read what was decided, and why."},
    {"name": "review", "description": "What waits for a person, verdicts, reports by readers, appeals by authors."},
    {"name": "perspective", "description": "The protocol of Google's Perspective API, for clients that speak it."},
    {"name": "coral", "description": "For Coral: its external moderation phase and its webhooks, signed by Coral."},
    {"name": "openai", "description": "For clients of OpenAI's moderation endpoint."},
    {"name": "akismet", "description": "The protocol of Akismet, for its clients. The key stands in `api_key`."},
    {"name": "operation", "description": "For the people and programs that run the service. No key needed."},
]

_DRAIN_SECONDS = 1.0

# Codes for what the framework itself refuses.
_CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(settings: Settings, *, now: Callable[[], datetime] | None = None) -> FastAPI:
    """The application with everything in it: folder, database at the newest schema, model and policy, routes.

    ``now`` is the clock by which things are dated and pages are shown, where that is not the real one.

    Raises:
        InvalidSettings: when a setting, the home folder or its policy.toml cannot be used.
        StoreError: when the database cannot.
    """
    secret = prepare_home(settings)
    store = open_store(settings, now=now)
    live_model = LiveModel(settings.home, shipped_folder("models"))
    metrics = Metrics()
    hashes = Hashes(secret)
    shadow = Shadow(store, live_model, metrics)
    workflow = Workflow(store, live_model, metrics, hashes=hashes, shadow=shadow)

    desk = Moderation(store, hashes, reports_to_reopen=settings.reports_to_reopen, now=store.now)
    retraining = Retraining(settings.home, settings.retrain_days)
    kept_labels = KeptLabels(settings.home, store, hashes)
    closing = asyncio.Event()
    events, queue_news = Events(store, closing), QueueNews(store, closing)

    @asynccontextmanager
    async def working(_app: FastAPI) -> AsyncIterator[None]:
        """What goes on beside requests, from the first of them to the last."""
        courier = Courier(store, metrics, settings.webhook_allow)
        looks = RandomLooks(store, Policies(store, live_model))
        upkeep = Upkeep(store, desk, settings.retention_days, Drift(store, live_model), looks)
        own_lines = OwnLines(store, live_model)
        tasks = [asyncio.create_task(part.run()) for part in (courier, events, queue_news)]
        # Before the first comment: with the lines of the bundle alone it might be rejected where it is to be held.
        await asyncio.to_thread(own_lines.try_to_work)
        for part in (live_model, shadow, upkeep, kept_labels, own_lines, retraining):
            part.start()
        try:
            yield
        finally:
            events.close()
            courier.stop()
            await asyncio.gather(*tasks, return_exceptions=True)
            for part in (retraining, own_lines, kept_labels, upkeep, shadow, live_model):
                await asyncio.to_thread(part.stop)
            store.close()

    app = FastAPI(
        title="Comment moderation",
        version=moderation.__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=working,
    )
    feedback = Feedback(store, workflow, desk, hashes)
    app.state.parts = api.Parts(
        settings, store, live_model, metrics, workflow, desk, feedback, events, queue_news, retraining, kept_labels
    )
    app.include_router(api.router)
    app.include_router(review_api.router)
    app.include_router(events_api.router)
    app.include_router(docs_page.router)
    for dialect in DIALECTS:
        app.include_router(dialect.router)
    app.openapi = lambda: api.describe_api(app)  # type: ignore[method-assign]  # FastAPI's documented way
    add_pages(app, settings, store, hashes)
    app.add_exception_handler(ServiceError, _answer_service_error)
    app.add_exception_handler(HTTPException, _answer_framework_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_middleware(_Edge, metrics=metrics, allowed_hosts=settings.allowed_hosts)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=also_mapped(settings.trusted_proxies))
    return app


def _answer(path: str, error: ServiceError) -> Response:
    """The error as callers of that path understand it."""
    dialect = find_dialect(path)
    return _answer_natively(error) if dialect is None else dialect.answer(error)


def _answer_natively(error: ServiceError) -> JSONResponse:
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(error.code, error.message, error.details), error.status, headers)


async def _answer_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    if error.status >= 500:
        _log.error("refused", extra={"code": error.code, **describe_error(error)})
    return await _answer_page(request, error) if is_review(request.url.path) else _answer(request.url.path, error)


async def _answer_page(request: Request, error: ServiceError) -> Response:
    return await run_in_threadpool(shell_of(request).render_error, request, error)


async def _answer_framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if is_review(request.url.path):
        refusal = NotFound("there is no such page")
        refusal.status = error.status_code
        return await _answer_page(request, refusal)
    dialect = find_dialect(request.url.path)
    if dialect is not None:
        refusal = NotFound("there is no such route")
        refusal.status = error.status_code
        answer = dialect.answer(refusal)
        answer.headers.update(error.headers or {})
        return answer
    code = _CODES.get(error.status_code, "invalid_request")
    sentences = {
        "not_found": "there is no such route; /docs lists them",
        "method_not_allowed": f"this route does not take the method; it takes {(error.headers or {}).get('Allow')}",
    }
    message = sentences.get(code, str(error.detail))
    return JSONResponse(error_body(code, message), error.status_code, dict(error.headers or {}))


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if is_review(request.url.path):
        return await _answer_page(request, _explain_address(error))
    details = [{"field": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    return _answer(request.url.path, InvalidRequest("the request is malformed", details))


def _explain_address(error: RequestValidationError) -> InvalidRequest:
    """What is wrong with the address of a page, as people say it and not as the library that has checked it."""
    named = [(str(item["loc"][-1]), item["msg"].replace("Input should be", "must be")) for item in error.errors()]
    details = [{"field": name, "message": message[:1].lower() + message[1:]} for name, message in named]
    return InvalidRequest(f"{named[0][0]} is nothing that this page can be asked for", details)


@dataclass
class _Edge:
    """The outermost layer: checks the host, times and logs every answer, and turns a bug into an error body.

    FastAPI would print a bug's message, which may quote the comment that was being worked on.
    """

    app: ASGIApp
    metrics: Metrics
    allowed_hosts: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        refusal: ServiceError
        is_read = not _has_body(scope)

        async def listen() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not is_read:
                    # Otherwise the connection would stay open and swallow the rest, however long it is.
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            elif not is_read and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _drain(listen)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            if self._is_our_host(scope):
                await self.app(scope, listen, watch)
            else:
                refusal = UnknownHost("this service does not answer to that name")
                await _answer(scope["path"], refusal)(scope, listen, watch)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets the one error body
            _log.error("fault", extra=describe_error(error))  # the traceback would quote its message
            if status == 0:
                refusal = ServiceError("a fault of the service; nothing was kept")
                await _answer(scope["path"], refusal)(scope, listen, watch)
        finally:
            seconds = time.perf_counter() - started
            route = _route(scope)
            method = known_method(scope["method"])
            self.metrics.time_request(method, route, status, seconds)
            answered = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
            _log.info("answered", extra=answered)

    def _is_our_host(self, scope: Scope) -> bool:
        if not self.allowed_hosts:
            return True
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        # "[::1]:8000" and "blog.example:8000" name the same hosts as without the port.
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        # Clients of some protocols write the site's key before the name of the service.
        return name in self.allowed_hosts or (bool(key_before(name)) and name.partition(".")[2] in self.allowed_hosts)


async def _drain(receive: Receive) -> None:
    """Throw away what is still being sent, for a moment: closing at once would take the answer away with it."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass


def _has_body(scope: Scope) -> bool:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _route(scope: Scope) -> str:
    """The pattern of the route that answered; paths hold ids, and strangers can make up any number of them."""
    route: Any = scope.get("route")
    return getattr(route, "path", "none")
