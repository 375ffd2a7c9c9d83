"""Coral's external moderation phase: Coral asks about each comment before it publishes it.

Requests are signed and carry no id of the comment. Whatever is no answer with status 200 lets the comment pass in
Coral, so a fault of ours is answered with 200 and ``SYSTEM_WITHHELD``: a person decides. Only who cannot show
Coral's signature is refused. What every field and answer means is in docs/dialects.md.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from moderation.categories import CODES
from moderation.comment import MAX_ID_CHARS, MAX_URL_CHARS, Author, Comment, Decision, Neighbour, Post
from moderation.cores import count_cores
from moderation.policy import Policy
from service.api import Parts, PartsOf, errors
from service.dialects.intake import Dialect, make_readable, read_any_body, read_any_json
from service.dialects.markup import plain_text
from service.errors import InvalidRequest, ServiceError, StoreError, TooLarge, Unauthorized, error_body
from service.feedback import new_id
from service.store import CoralConnection

_log = logging.getLogger(__name__)

WITHHELD: dict[str, Any] = {"status": "SYSTEM_WITHHELD"}
"""What Coral is told in a fault: put the comment aside for a moderator."""

TEAM = frozenset({"STAFF", "MODERATOR", "ADMIN"})
"""Roles of the people who run the site, about whose comments there is no opinion."""

MAX_BODY_CHARS = 100_000
"""So much markup is looked at; what is longer waits for a person."""

MAX_JUDGED_CHARS = 5_000
"""What is longer waits for a person: it takes 0.05 s of a core for every 1,000 characters, and Coral does not wait."""

WAITING_PER_CORE = 8
"""So many comments wait for an answer for each core: one takes up to 0.1 s of it, and Coral waits 0.8 s."""

MOST_WAITING = 32
"""So many at most: 25 ms of a comment are for the database and for Python, which no second core makes shorter."""

HOSTILE = frozenset({"hostile", "insult", "threat", "identity_attack", "profanity", "severe"})

# The most telling first.
_HOSTILE_CODES = {"identity_attack": "HATE_SPEECH", "threat": "HARASSMENT_BULLYING"}
_OTHER_CODES = {
    "spam": "SPAM",
    "blocked_domains": "SPAM",
    "honeypot": "SPAM",
    "off_topic": "IRRELEVANT_CONTENT",
    "blocked_words": "BANNED_WORD",
}

_SIGNATURE = re.compile(r"\s*sha256=([0-9a-f]{64})\s*")


class PhaseFlag(BaseModel):
    """A mark on the comment for Coral's moderators."""

    actionType: Literal["FLAG"]  # noqa: N815  # Coral's name
    reason: Literal["COMMENT_DETECTED_TOXIC", "COMMENT_DETECTED_SPAM"]


class PhaseAnswer(BaseModel):
    """What Coral is to do with the comment."""

    status: Literal["SYSTEM_WITHHELD", "REJECTED"]
    actions: list[PhaseFlag] = []
    moderationAction: dict[str, Any] | None = None  # noqa: N815  # Coral's name


@dataclass(frozen=True, slots=True)
class Asked:
    """A comment that Coral asks about. ``text`` is empty where there is nothing to read, as of a picture alone."""

    text: str
    is_edit: bool
    parent: str | None
    author: str | None
    role: str | None
    story: str | None
    url: str | None


router = APIRouter()

Signature = Annotated[
    str | None,
    Header(description="`sha256=` and the HMAC-SHA256 (hex) of the body under the signing secret; several by commas."),
]


def find_connection(connection_id: str, parts: PartsOf, x_coral_signature: Signature = None) -> CoralConnection:
    """The connection that a request is for. Raises ``Unauthorized`` before anything of the body is read."""
    try:
        found = parts.store.coral.find(make_readable(connection_id)) if x_coral_signature else None
    except StoreError:
        parts.store.coral.remember(None, None)
        raise
    if found is None:
        raise Unauthorized("the request does not carry Coral's signature")
    return found


Connected = Annotated[CoralConnection, Depends(find_connection)]


async def read_body(request: Request, _connected: Connected) -> bytes:
    """The body as it came, not yet known to be Coral's. Raises ``TooLarge``."""
    return await read_any_body(request)


SignedBody = Annotated[bytes, Depends(read_body)]


async def read_phase_body(request: Request, coral: Connected, parts: PartsOf) -> bytes:
    """The same, noting what cannot be read; of which story it is nobody knows."""
    try:
        return await read_any_body(request)
    except ServiceError:
        await run_in_threadpool(parts.store.coral.note, coral, None)
        raise


PhaseBody = Annotated[bytes, Depends(read_phase_body)]


def most_waiting() -> int:
    """How many comments are judged at a time in this process. Others on the same cores do not know of them."""
    return min(MOST_WAITING, WAITING_PER_CORE * count_cores())


def check_signature(given: str | None, body: bytes, secrets: Sequence[str]) -> None:
    """Raises ``Unauthorized`` unless one of the signatures is that of the body under one of the secrets."""
    signatures = [match[1] for each in (given or "").split(",") if (match := _SIGNATURE.fullmatch(each))]
    is_right = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        for signature in signatures:
            is_right |= hmac.compare_digest(signature, expected)
    if not is_right:
        raise Unauthorized("the request does not carry Coral's signature")


_REQUEST = {
    "type": "object",
    "required": ["comment"],
    "properties": {
        "action": {"enum": ["NEW", "EDIT"]},
        "comment": {
            "type": "object",
            "required": ["body"],
            "properties": {
                "body": {"type": "string", "description": "HTML or plain text."},
                "parentID": {"type": ["string", "null"]},
            },
        },
        "author": {"type": "object", "properties": {"id": {"type": "string"}, "role": {"type": "string"}}},
        "story": {"type": "object", "properties": {"id": {"type": "string"}, "url": {"type": "string"}}},
        "site": {"type": "object", "properties": {"id": {"type": "string"}}},
        "tenantID": {"type": "string"},
        "tenantDomain": {"type": "string"},
    },
}
_EXAMPLE = {
    "action": "NEW",
    "comment": {"body": "A thoughtful word.", "parentID": None},
    "author": {"id": "baf4e943", "role": "COMMENTER"},
    "story": {"id": "245b3856", "url": "https://paper.example/story"},
    "site": {"id": "a4bede88"},
    "tenantID": "19ba5794",
    "tenantDomain": "coral.example",
}


@router.post(
    "/coral/{connection_id}/phase",  # noqa: FAST003  # find_connection takes it
    tags=["coral"],
    summary="Coral's external moderation phase",
    responses={
        200: {"model": PhaseAnswer, "description": "Put aside for a person, also in a fault, or rejected."},
        204: {"description": "No opinion: publish, unless Coral has a reason of its own not to."},
        **errors(401),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST, "example": _EXAMPLE}}}
    },
)
async def judge(
    request: Request, coral: Connected, body: PhaseBody, parts: PartsOf, x_coral_signature: Signature = None
) -> Response:
    """Coral sends each comment here, new or edited, as the last of its own phases but one."""
    check_signature(x_coral_signature, body, coral.phase_secrets)
    # Counted in the event loop, before a thread is waited for.
    state = request.app.state
    if not hasattr(state, "coral_turns"):
        # Judged side by side on fewer cores, all would be answered as late as the last. One more than there are cores,
        # because one of them may be waiting for the database.
        state.coral_turns = threading.Semaphore(count_cores() + 1)
    waiting: int = getattr(state, "coral_waiting", 0)
    if waiting >= most_waiting():
        parts.metrics.count_shed()
        parts.store.coral.remember(coral, None)
        return JSONResponse(WITHHELD)
    state.coral_waiting = waiting + 1
    try:
        return await run_in_threadpool(_judge, coral, body, parts, state.coral_turns)
    finally:
        state.coral_waiting -= 1


def _judge(coral: CoralConnection, body: bytes, parts: Parts, turns: threading.Semaphore) -> Response:
    try:
        asked = read_request(body, max_text_chars=parts.settings.max_text_chars)
    except InvalidRequest as error:
        # An error would let it pass.
        fields = [detail["field"] for detail in error.details]
        _log.warning("a request of Coral cannot be read", extra={"connection": coral.id, "fields": fields})
        parts.store.coral.note(coral, None)
        return JSONResponse(WITHHELD)
    if asked.role in TEAM or not asked.text:
        parts.store.coral.note(coral, asked.story)
        return Response(status_code=204)
    if len(asked.text) > MAX_JUDGED_CHARS:
        parts.store.coral.note(coral, asked.story)
        return JSONResponse(WITHHELD)
    with parts.store.coral.asking(coral, asked.story), turns:
        return JSONResponse(answer) if (answer := _decide(coral, asked, parts)) else Response(status_code=204)


def _decide(coral: CoralConnection, asked: Asked, parts: Parts) -> dict[str, Any] | None:
    """A :class:`PhaseAnswer`, ``None`` for no opinion; the comment and its decision are stored then."""
    known = None if asked.parent is None else parts.store.coral.known(coral, asked.parent)
    comment = Comment(
        asked.text,
        id=new_id("coral-edit" if asked.is_edit else "coral"),
        kind="comment" if asked.parent is None else "reply",
        author=None if asked.author is None else Author(asked.author),
        post=Post(asked.story, url=asked.url),
        parent=None if known is None else Neighbour(known),
    )
    handles = {"author": asked.author, "story": asked.story}
    said = {name: value for name, value in handles.items() if value is not None}
    # Edits have ids of their own, so that each would count as a further comment, and all of them as a campaign.
    recount = partial(parts.store.coral.recount, coral, asked.author, asked.story, is_edit=asked.is_edit)
    decision = parts.workflow.submit(coral.site, comment, handles=said, recount=recount).decision
    if decision.action == "publish":
        return None
    if decision.action == "hold":
        return write_answer(decision, comment, None)
    live = parts.live_model.current(coral.site.url)
    policy = live.readable_policy(decision.policy, parts.store.policy_toml, coral.site.url)
    # What was judged has the tags of its post, by which stricter lines may count.
    kept = parts.store.judged_comment(decision.decision_id or "")
    return write_answer(decision, comment if kept is None else kept[0], policy)


def read_request(body: bytes, *, max_text_chars: int) -> Asked:
    """What Coral asks about. Fields that it may leave out or that are of no use are ``None``.

    Raises ``InvalidRequest`` that names a field where there is no comment to be found, or it is too long.
    """
    data = read_any_json(body)
    comment = _inner(data, "comment")
    text = comment.get("body")
    if not isinstance(text, str):
        raise InvalidRequest("there is no comment", [{"field": "comment.body", "message": "must be a string"}])
    is_empty = not text.strip()
    text = "" if is_empty else plain_text(make_readable(text)) if len(text) <= MAX_BODY_CHARS else None
    if text is None or len(text) > max_text_chars:
        raise InvalidRequest("the comment is too long", [{"field": "comment.body", "message": "is too long"}])
    if not text and not is_empty:
        # Where Coral sends plain text, readers see what was taken for markup here.
        raise InvalidRequest("the comment is markup only", [{"field": "comment.body", "message": "is markup only"}])
    author, story = _inner(data, "author"), _inner(data, "story")
    role = author.get("role")
    return Asked(
        text=text,
        is_edit=data.get("action") == "EDIT",
        parent=_fitting(comment.get("parentID"), MAX_ID_CHARS),
        author=_fitting(author.get("id"), MAX_ID_CHARS),
        role=role if isinstance(role, str) else None,
        story=_fitting(story.get("id"), MAX_ID_CHARS),
        url=_fitting(story.get("url"), MAX_URL_CHARS),
    )


def write_answer(decision: Decision, comment: Comment, policy: Policy | None) -> dict[str, Any]:
    """A :class:`PhaseAnswer` for what is not published; ``policy`` is the one that decided about that ``comment``."""
    fired = [reason.name for reason in decision.reasons if reason.fired]
    found = {"COMMENT_DETECTED_TOXIC": not HOSTILE.isdisjoint(fired), "COMMENT_DETECTED_SPAM": "spam" in fired}
    flags = [{"actionType": "FLAG", "reason": reason} for reason, is_found in found.items() if is_found]
    result: dict[str, Any] = {"actions": flags} if flags else {}
    if decision.action != "reject":
        return result | WITHHELD
    why = {"code": _rejection_code(decision, comment, policy)}
    if why["code"] == "OTHER" and decision.author_message:
        # With this code Coral shows a sentence to the author.
        why["customReason"] = decision.author_message
    # Coral ends its phases at a status only, and its older versions know no more than that.
    return result | {"status": "REJECTED", "moderationAction": {"status": "REJECTED", "rejectionReason": why}}


def _rejection_code(decision: Decision, comment: Comment, policy: Policy | None) -> str:
    """Coral's word for the reason that rejects, of several the gravest."""
    fired = {reason.name for reason in decision.reasons if reason.fired}
    rejecting = {name for name in fired if policy is None or _rejects(name, decision, comment, policy)}
    if rejecting & HOSTILE:
        return next((code for name, code in _HOSTILE_CODES.items() if name in fired), "ABUSIVE")
    return next((code for name, code in _OTHER_CODES.items() if name in rejecting), "OTHER")


def _rejects(name: str, decision: Decision, comment: Comment, policy: Policy) -> bool:
    rules = policy.settings.rules
    actions = {
        "banned_author": "reject",
        "blocked_words": rules.blocked_words_action,
        "blocked_domains": rules.blocked_domains_action,
        "honeypot": rules.honeypot,
    }
    if name in actions:
        return actions[name] == "reject"
    return name in CODES and policy.may_reject_by(name, comment, decision)


def _inner(data: Any, name: str) -> dict[str, Any]:
    inner = data.get(name) if isinstance(data, dict) else None
    return inner if isinstance(inner, dict) else {}


def _fitting(value: Any, most: int) -> str | None:
    """An id or address, if it can be kept."""
    return make_readable(value) if isinstance(value, str) and 0 < len(value) <= most else None


def refuse(error: ServiceError) -> Response:
    """An error for a caller who is not Coral, or is told so; Coral shows no more of it than the status."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "X-Coral-Signature"
    elif error.status == 405:
        headers["Allow"] = "POST"
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    code = "method_not_allowed" if error.status == 405 else error.code
    return JSONResponse(error_body(code, error.message, error.details), error.status, headers)


def _answer(error: ServiceError) -> Response:
    # Nobody could check the signature of what is too large, or while the database is away; a stranger learns nothing
    # from this. Only a connection that is known gets as far as to be too large.
    return JSONResponse(WITHHELD) if error.status >= 500 or isinstance(error, TooLarge) else refuse(error)


DIALECT = Dialect("coral", router, lambda path: re.fullmatch(r"/coral/[^/]*/phase", path) is not None, _answer)
