"""Coral's webhooks: what its moderators decided about comments that its phase asked about.

They name a comment by Coral's id, its story and its status, never its text or author. Which comment of ours that is,
is learned from what Coral says right after it was asked (:meth:`~service.store.coral.Coral.learn`); what stays in doubt
is left alone, because a verdict on the wrong text would teach the model something false.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from moderation.comment import MAX_ID_CHARS, Action
from service.api import Parts, PartsOf, errors
from service.dialects.coral import Connected, Signature, SignedBody, check_signature, refuse
from service.dialects.intake import Dialect, make_readable, read_any_json
from service.errors import CommentErased, InvalidRequest, TextChanged
from service.statuses import ELSEWHERE, VerdictAction
from service.store import CoralConnection, Judge, Judgement, Target

JUDGE = Judge(f"{ELSEWHERE}coral", "coral")
"""Webhooks do not say which moderator it was."""

_CREATED: dict[str, bool] = {"COMMENT_CREATED": False, "COMMENT_REPLY_CREATED": True}
_ENTERED = "COMMENT_ENTERED_MODERATION_QUEUE"
_LEFT = "COMMENT_LEFT_MODERATION_QUEUE"

# Which answer of ours leads to which status. A comment without an opinion of ours may still be moderated first. Of
# NONE, which is published, Coral tells as created; what enters a queue with it may be old and reported by a reader.
_ANSWERED: dict[str, Action] = {"SYSTEM_WITHHELD": "hold", "PREMOD": "publish"}
_QUEUES = frozenset({"PENDING", "UNMODERATED"})
"""Queues of new comments."""
_VERDICTS: dict[str, VerdictAction] = {"APPROVED": "approve", "REJECTED": "reject"}

Result = Literal["learned", "verdict", "nothing"]


class WebhookAnswer(BaseModel):
    """What came of a message: an id was learned, a verdict was given, or nothing."""

    result: Result


_REQUEST = {
    "type": "object",
    "required": ["type", "data"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string"},
        "data": {
            "type": "object",
            "properties": {
                "queue": {"type": "string"},
                "commentID": {"type": "string"},
                "status": {"type": "string"},
                "storyID": {"type": "string"},
                "siteID": {"type": "string"},
                "ancestorIDs": {"type": "array", "items": {"type": "string"}},
            },
        },
        "createdAt": {"type": "string"},
        "tenantID": {"type": "string"},
        "tenantDomain": {"type": "string"},
    },
}
_EXAMPLE = {
    "id": "3d2f6d0c",
    "type": _LEFT,
    "data": {
        "queue": "PENDING",
        "commentID": "d79b787f",
        "status": "APPROVED",
        "storyID": "245b3856",
        "siteID": "a4bede88",
    },
    "createdAt": "2026-01-02T03:04:05.000Z",
    "tenantID": "19ba5794",
    "tenantDomain": "coral.example",
}

router = APIRouter()


@router.post(
    "/coral/{connection_id}/webhooks",  # noqa: FAST003  # find_connection takes it
    tags=["coral"],
    summary="Coral's webhooks",
    responses={200: {"model": WebhookAnswer}, **errors(401, 413, 422, 500, 503)},
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST, "example": _EXAMPLE}}}
    },
)
def hear(coral: Connected, body: SignedBody, parts: PartsOf, x_coral_signature: Signature = None) -> Response:
    """Verdicts of Coral's moderators become verdicts here, as far as it is certain which comment is meant."""
    check_signature(x_coral_signature, body, coral.webhook_secrets)
    message = read_any_json(body)
    kind, data = (message.get("type"), message.get("data")) if isinstance(message, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(data, dict):
        detail = {"field": "type", "message": "is needed, and data"}
        raise InvalidRequest("this is no message of Coral's webhooks", [detail])
    return JSONResponse({"result": _take(parts, coral, kind, data, _moment(message.get("createdAt")))})


def _take(parts: Parts, coral: CoralConnection, kind: str, data: dict[str, Any], happened: datetime | None) -> Result:
    comment, story, status = (_word(data.get(name)) for name in ("commentID", "storyID", "status"))
    if comment is None or story is None:
        return "nothing"
    if kind == _LEFT:
        return "verdict" if status in _VERDICTS and _judge(parts, coral, comment, _VERDICTS[status]) else "nothing"
    is_new_in_queue = kind == _ENTERED and data.get("queue") in _QUEUES
    action = "publish" if kind in _CREATED else _ANSWERED.get(status or "") if is_new_in_queue else None
    if action is None or happened is None:
        return "nothing"
    is_reply = _CREATED.get(kind)
    is_new = parts.store.coral.learn(coral, comment, story, action, happened=happened, is_reply=is_reply)
    return "learned" if is_new else "nothing"


def _judge(parts: Parts, coral: CoralConnection, coral_id: str, action: VerdictAction) -> bool:
    """Pass a verdict on. False where it is not certain which text was judged."""
    comment_id = parts.store.coral.known(coral, coral_id)
    if comment_id is None or parts.store.coral.may_be_edited(coral, comment_id):
        return False
    stored = parts.store.find_comments(coral.site, [comment_id])[comment_id]
    try:
        parts.moderation.decide(coral.site, JUDGE, Judgement(action), Target(stored.decision.digest, comment_id))
    except (CommentErased, TextChanged):
        return False
    return True


def _moment(value: Any) -> datetime | None:
    """When Coral says that it happened, ``None`` where that cannot be read or lacks its zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if moment is None or moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _word(value: Any) -> str | None:
    return make_readable(value) if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS else None


# Whatever else begins so, too: a slip in the address is told to whoever made it.
DIALECT = Dialect("coral webhooks", router, lambda path: path.startswith("/coral/"), refuse)
