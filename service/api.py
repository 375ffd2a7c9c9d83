"""The native API: parse, call the workflow, shape. Answers and errors are described in docs/api.md.

Routes are plain functions, run in a thread pool, because scoring and the store block. The body is read in between by
a dependency that waits for the key check, so that strangers cannot make the service read anything.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import ClientDisconnect

import moderation
from moderation.comment import Comment
from service import review_schemas, schemas
from service.auth import find_site, site_url
from service.errors import CommentErased, InvalidRequest, InvalidSettings, ServiceError, StoreError, TooLarge, WrongSite
from service.errors import error_body as make_error_body
from service.events import Events
from service.feedback import Feedback
from service.kept_labels import KeptLabels
from service.live_model import LiveModel
from service.metrics import CONTENT_TYPE, Metrics
from service.queue_news import QueueNews
from service.retraining import Retraining
from service.settings import Settings
from service.store import Site, Store, Stored
from service.verdicts import Moderation, is_judged, message_to_author
from service.workflow import Workflow

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with; ``create_app`` puts one into ``app.state.parts``."""

    settings: Settings
    store: Store
    live_model: LiveModel
    metrics: Metrics
    workflow: Workflow
    moderation: Moderation
    feedback: Feedback
    events: Events
    queue_news: QueueNews
    retraining: Retraining
    kept_labels: KeptLabels


def parts_of(request: Request) -> Parts:
    """The parts of the application that a request reached."""
    return cast("Parts", request.app.state.parts)


async def _give_parts(request: Request) -> Parts:
    """:func:`parts_of`, for which no thread has to be woken."""
    return parts_of(request)


PartsOf = Annotated[Parts, Depends(_give_parts)]


def require_site(
    request: Request,
    parts: PartsOf,
    # Declared for the OpenAPI page; find_site reads the headers itself.
    _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False, description="The site's API key."))],
    _header: Annotated[object, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> Site:
    """The site whose key the request carries. Raises ``Unauthorized``."""
    return find_site(parts.store, request.headers)


KeySite = Annotated[Site, Depends(require_site)]


async def read_body(request: Request, _site: KeySite) -> bytes:
    """The request's body, up to the limit, of a caller with a key. Raises ``TooLarge``."""
    return await read_whole_body(request)


async def read_whole_body(request: Request, *, at_most: int | None = None) -> bytes:
    """The request's body, up to the limit, or to ``at_most`` bytes where that is less.

    Raises ``TooLarge`` or, where it ends early, ``InvalidRequest``.
    """
    limit = min(at_most or sys.maxsize, parts_of(request).settings.max_body_bytes)
    refusal = TooLarge(f"the body is longer than {limit:,} bytes", [{"field": "body", "message": "is too large"}])
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise refusal
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise refusal
    except ClientDisconnect:
        raise InvalidRequest("the body ended early") from None
    return bytes(body)


RequestBody = Annotated[bytes, Depends(read_body)]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its description."""
    return {status: {"model": schemas.ErrorBody, "description": HTTPStatus(status).phrase} for status in statuses}


def takes(body: str, example: Any, *, required: bool = True) -> dict[str, Any]:
    """The body that a route reads itself, for its description."""
    schema = {"$ref": f"#/components/schemas/{body}"}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


@router.post(
    "/v1/comments",
    tags=["comments"],
    summary="Submit a comment",
    responses={
        200: {"model": schemas.DecisionBody, "description": "Seen before: the stored decision."},
        201: {"model": schemas.DecisionBody, "description": "Decided: published or rejected."},
        202: {"model": schemas.DecisionBody, "description": "Held for a moderator."},
        **errors(401, 403, 410, 413, 422, 503),
    },
    status_code=201,
    openapi_extra=takes("CommentBody", schemas.EXAMPLE),
)
def submit(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """Judge a comment. It and its decision are stored before the answer is sent."""
    comment = _read_comment(schemas.read_json(body), site, parts)
    stored = parts.workflow.submit(site, comment)
    return JSONResponse(schemas.write_decision(stored), _status_of(stored))


@router.post(
    "/v1/comments:batch",
    tags=["comments"],
    summary="Submit up to 100 comments",
    responses={
        200: {"model": schemas.BatchAnswer, "description": "One result per comment, in order."},
        **errors(401, 413, 422, 503),
    },
    openapi_extra=takes("BatchBody", {"comments": [schemas.EXAMPLE, {"text": "Buy cheap watches"}]}),
)
def submit_batch(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """Judge comments in one go. A bad one gets its error in its place; the good ones are stored together."""
    read: list[Comment | ServiceError] = []
    for data in schemas.read_batch(schemas.read_json(body)):
        try:
            read.append(_read_comment(data, site, parts))
        except ServiceError as error:
            read.append(error)
    submitted = iter(parts.workflow.submit_many(site, [item for item in read if isinstance(item, Comment)]))
    return JSONResponse({"results": [_result(next(submitted) if isinstance(item, Comment) else item) for item in read]})


@router.get(
    "/v1/decisions/{decision_id}",
    tags=["decisions"],
    summary="Read a decision",
    responses={200: {"model": schemas.DecisionBody}, **errors(401, 404, 503)},
)
def read_decision(decision_id: str, site: KeySite, parts: PartsOf) -> Response:
    """A decision of your site, with the present status of its comment."""
    return JSONResponse(schemas.write_decision(parts.workflow.find_decision(site, decision_id)))


@router.get(
    "/v1/comments/{comment_id:path}",
    tags=["comments"],
    summary="Read a comment's status",
    responses={200: {"model": review_schemas.CommentAnswer}, **errors(401, 404, 503)},
)
def read_comment(comment_id: str, site: KeySite, parts: PartsOf) -> Response:
    """What became of a comment, by the id that you gave it."""
    return _comment_answer(parts.workflow.find_comment(site, comment_id), site, parts)


@router.delete(
    "/v1/comments/{comment_id:path}",
    tags=["comments"],
    summary="Erase a comment",
    responses={200: {"model": review_schemas.CommentAnswer}, **errors(401, 404, 503)},
)
def erase_comment(comment_id: str, site: KeySite, parts: PartsOf) -> Response:
    """Remove the text and its author for good. The decision stays, without what it was about."""
    erased = parts.workflow.erase(site, comment_id)
    parts.kept_labels.settle()
    return _comment_answer(erased, site, parts)


@router.get("/healthz", tags=["operation"], summary="Is the process alive?")
def check_health() -> dict[str, str]:
    """Answers as long as the process can answer at all; needs no key."""
    return {"status": "ok", "version": moderation.__version__}


@router.head("/healthz", include_in_schema=False)
def check_health_briefly() -> Response:
    """For checks that ask with HEAD."""
    return Response()


@router.get("/readyz", tags=["operation"], summary="Can it do its work?", responses={503: {"description": "No."}})
def check_readiness(parts: PartsOf) -> Response:
    """503 when the database is away or there is no model. Without a model comments are still taken, and held.

    `tier` is the part of the model that answers. It is `lexical` when the bundle's encoder is out of use; the service
    is ready all the same, and `faults` says so.
    """
    live = parts.live_model.current()
    faults = dict(live.faults)
    try:
        parts.store.ping()
    except Exception as error:  # noqa: BLE001  # whoever asks whether it is ready gets an answer
        faults["database"] = type(error).__name__
    ready = live.bundle is not None and "database" not in faults
    name = live.bundle.name if live.bundle else None
    content = {"ready": ready, "bundle": name, "tier": live.tier, "policy": live.default.digest, "faults": faults}
    return JSONResponse(content, 200 if ready else 503)


@router.get("/metrics", tags=["operation"], summary="Figures for Prometheus", response_class=Response)
def read_metrics(parts: PartsOf) -> Response:
    """Decisions by action and tier, answers by route and status, messages to webhooks. No text, no ids."""
    try:
        parts.metrics.show_waiting(*parts.store.webhooks.waiting())
        parts.metrics.show_drift(parts.store.drift.alerts())
    except StoreError:
        parts.metrics.show_waiting(math.nan, math.nan)
        parts.metrics.show_drift(None)
    content = parts.metrics.render(tier=parts.live_model.current().tier)
    return Response(content, media_type=CONTENT_TYPE)


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with the request bodies that the routes read themselves."""
    if app.openapi_schema is None:
        description = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        known = description["components"]["schemas"]
        template = "#/components/schemas/{model}"
        for body in review_schemas.REQUEST_BODIES:
            schema = body.model_json_schema(ref_template=template)
            known |= schema.pop("$defs", {}) | {body.__name__: schema}
        app.openapi_schema = description
    return app.openapi_schema


def _read_comment(data: Any, site: Site, parts: Parts) -> Comment:
    comment = schemas.read_comment(data, max_text_chars=parts.settings.max_text_chars)
    if comment.site is not None and not _is_same_site(comment.site, site):
        raise WrongSite(f"this key belongs to {site.url}", [{"field": "site", "message": "is another site"}])
    return comment


def _is_same_site(named: str, site: Site) -> bool:
    try:
        return site_url(named) == site.url
    except InvalidSettings:
        return False


def _status_of(stored: Stored) -> int:
    if stored.seen:
        return 200
    return 202 if stored.status == "held" else 201


def _result(result: Stored | CommentErased | ServiceError) -> dict[str, Any]:
    if isinstance(result, Stored):
        return {**schemas.write_decision(result), "http_status": _status_of(result)}
    body = make_error_body(result.code, result.message, result.details)
    return {"status": "error", "http_status": result.status, **body}


def _comment_answer(stored: Stored, site: Site, parts: Parts) -> Response:
    decision = schemas.write_decision(stored)
    changes = [
        {"old": change.old, "new": change.new, "who": change.who, "at": change.at.isoformat()}
        for change in parts.workflow.status_changes(site, stored.id or "")
    ]
    given = parts.moderation.verdicts(site, stored.id or "")
    verdicts = [review_schemas.write_verdict(verdict) for verdict in given]
    content = {"id": stored.id, "site": stored.site, "status": stored.status, "decision": decision}
    content["author_message"] = message_to_author(stored.status, is_by_person=is_judged(stored, given))
    return JSONResponse(content | {"verdicts": verdicts, "changes": changes})
