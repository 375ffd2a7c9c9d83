"""Bodies of the native API: their shape, for checking and for the OpenAPI page.

Here only shape is checked (names and types). Values are checked by the constructor of
:class:`moderation.comment.Comment`, so that the library and the API can never disagree about them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal, Never, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import MAX_ID_CHARS, MAX_TAGS, MAX_THREAD, Action, Comment, Tier
from moderation.errors import CommentTooLarge, InvalidComment
from service.errors import InvalidRequest, TooLarge
from service.statuses import Status
from service.store import Stored

MAX_BATCH = 100
MAX_HINTS = 100

_MAX_DETAILS = 20

EXAMPLE: dict[str, Any] = {
    "id": "comment-17",
    "text": "Great post! I had the same trouble with my sourdough until I lowered the oven.",
    "author": {"id": "reader-4", "name": "Ada", "url": "https://ada.example"},
    "post": {"id": "bread", "title": "Why your bread is dense", "text": "Most loaves are dense because ..."},
}


# An empty id would make one comment of all that have none.
_Id = Annotated[str, Field(min_length=1)]


class Body(BaseModel):
    """Takes exactly the declared names and types: ``"1"`` is no number, and a misspelt field is an error."""

    model_config = ConfigDict(strict=True, extra="forbid")


BodyType = TypeVar("BodyType", bound=Body)


class AuthorBody(Body):
    """Who wrote it, as far as the site says. Never send an e-mail or IP address."""

    id: _Id | None = Field(None, description="The site's own id. Only with it is an author known again.")
    name: str | None = None
    url: str | None = None


class PostBody(Body):
    """What is commented on. Send it once with its id; later the id alone will do."""

    id: _Id | None = None
    title: str | None = None
    text: str | None = Field(None, description="Plain text or HTML, up to 1,000,000 characters.")
    url: str | None = None
    tags: list[str] | None = None


class NeighbourBody(Body):
    """Another comment of the same post. Of one that was sent before, the id alone will do as ``parent``."""

    id: _Id | None = None
    text: str | None = None


class CommentBody(Body):
    """A comment with the little context that helps to judge it. Only ``text`` is required."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    text: str = Field(description="1 to 50,000 characters; refused, never cut, when longer.")
    id: _Id | None = Field(None, description="The site's own id. Sent again unchanged, it gets the stored decision.")
    site: str | None = Field(None, description="If given, must be the site that the key belongs to.")
    kind: str | None = Field(None, description="comment (default), reply, trackback, pingback, review, contact ...")
    author: AuthorBody | None = None
    post: PostBody | None = None
    parent: NeighbourBody | None = Field(None, description="The comment that this one answers.")
    thread: list[NeighbourBody] | None = Field(
        None, description="Earlier comments of the post, at most 20. Left out, the published ones are used."
    )
    lang: str | None = Field(None, description="Language code, if the site knows it.")
    url: str | None = None
    created_at: str | None = None
    do_not_store: bool | None = Field(None, description="Keep the decision and the scores, but nothing written.")
    hints: dict[str, bool] | None = Field(None, description='Facts only the site knows, such as {"honeypot": true}.')


_MAX_ENTRIES = {"tags": MAX_TAGS, "thread": MAX_THREAD, "hints": MAX_HINTS}
_INNER: dict[str, type[Body]] = {
    "author": AuthorBody,
    "post": PostBody,
    "parent": NeighbourBody,
    "thread": NeighbourBody,
}


class BatchBody(Body):
    """Up to 100 comments, judged in one go."""

    comments: list[CommentBody] = Field(min_length=1, max_length=MAX_BATCH)


class ReasonBody(BaseModel):
    """One thing that was looked at, whether or not it decided anything."""

    name: str
    value: float | str | bool | None
    limit: float | str | None
    fired: bool
    text: str


class DecisionBody(BaseModel):
    """The decision about one comment."""

    id: str | None = Field(description="The id that the site sent.")
    site: str
    status: Status = Field(description="What the comment is now; a moderator may have changed it since the decision.")
    action: Action = Field(description="What the machine decided.")
    decision_id: str
    scores: dict[str, float | None] | None = Field(
        description=f"A probability for each of {', '.join(CODES)}. {', '.join(sorted(MAY_ABSTAIN))} is null where "
        "there is too little to compare with; scores is null when there was no model."
    )
    reasons: list[ReasonBody]
    digest: str = Field(description="SHA-256 of exactly what was judged; empty once that was erased.")
    bundle: str | None
    policy: str
    tier: Tier | None
    author_message: str | None = Field(None, description="What the author may be told. Left out when there is nothing.")


class ErrorDetail(BaseModel):
    """One thing that is wrong with a request."""

    field: str
    message: str


class ErrorContent(BaseModel):
    """A stable code, a sentence, and where it applies the fields."""

    code: str
    message: str
    details: list[ErrorDetail]


class ErrorBody(BaseModel):
    """The one error body of all routes."""

    error: ErrorContent


class BatchDecision(DecisionBody):
    """A decision, with the HTTP status that the comment would have got alone."""

    http_status: Literal[200, 201, 202]


class BatchError(ErrorBody):
    """A comment that was refused; the others of the batch are not affected."""

    status: Literal["error"]
    http_status: int


class BatchAnswer(BaseModel):
    """One result per comment, in the order of the request."""

    results: list[BatchDecision | BatchError]


class ChangeBody(BaseModel):
    """One change of status."""

    old: Status | None
    new: Status
    who: str
    at: datetime


def read_json(body: bytes) -> Any:
    """Decode a request body. Raises ``InvalidRequest`` for anything but JSON in UTF-8 without NaN and Infinity."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8: byte {error.start:,} cannot be read") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error.msg} at character {error.pos:,}") from None
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {_short(str(error))}") from None


def read_comment(data: Any, *, max_text_chars: int) -> Comment:
    """A comment from decoded JSON. Raises ``InvalidRequest`` or ``TooLarge``, naming the fields."""
    _check_sizes(CommentBody, data)
    _check_shape(CommentBody, data)
    try:
        comment = Comment.from_dict(data)
        if len(comment.text) > max_text_chars:
            found = f"{len(comment.text):,}"
            raise CommentTooLarge("text", f"has {found} characters, at most {max_text_chars:,} are accepted")
    except InvalidComment as error:
        refused = TooLarge if isinstance(error, CommentTooLarge) else InvalidRequest
        detail = {"field": _short(error.field), "message": _short(error.message)}
        raise refused(f"{detail['field']} {detail['message']}", [detail]) from None
    return comment


def read_batch(data: Any) -> Sequence[Any]:
    """The list in a batch's body, its items unchecked. Raises ``InvalidRequest`` or, for too many, ``TooLarge``."""
    comments = data.get("comments") if isinstance(data, dict) and set(data) == {"comments"} else None
    if not isinstance(comments, list) or not comments:
        raise InvalidRequest(f'the body must be {{"comments": [...]}} with 1 to {MAX_BATCH} comments')
    if len(comments) > MAX_BATCH:
        detail = {"field": "comments", "message": f"has {len(comments):,} comments, at most {MAX_BATCH} are accepted"}
        raise TooLarge(f"comments {detail['message']}", [detail])
    return comments


def read_body(body: type[BodyType], data: Any) -> BodyType:
    """A request body of that shape. Raises ``InvalidRequest`` that names the fields."""
    return _check_shape(body, data)


def write_decision(stored: Stored) -> dict[str, Any]:
    """A :class:`DecisionBody`."""
    return {"id": stored.id, "site": stored.site, "status": stored.status, **stored.decision.to_dict()}


def _check_sizes(body: type[Body], data: Any, path: str = "") -> None:
    """Refuse too many names and entries in no time; the full check makes an error of each, a hundred times its size."""
    if not isinstance(data, dict):
        return
    unknown = list(islice((name for name in data if name not in body.model_fields), _MAX_DETAILS))
    if len(data) > len(body.model_fields) and unknown:
        details = [{"field": _short(path + name), "message": "is not a known field"} for name in unknown]
        raise InvalidRequest(f"{details[0]['field']}: {details[0]['message']}", details)
    for name, most in _MAX_ENTRIES.items():
        if name in body.model_fields and isinstance(data.get(name), list | dict) and len(data[name]) > most:
            message = f"has {len(data[name]):,} entries, at most {most:,} are accepted"
            raise TooLarge(f"{path}{name} {message}", [{"field": path + name, "message": message}])
    for name, inner in _INNER.items():
        if name in body.model_fields:
            items = data[name] if isinstance(data.get(name), list) else [data.get(name)]
            for item in items:
                _check_sizes(inner, item, f"{path}{name}.")


def _check_shape(body: type[BodyType], data: Any) -> BodyType:
    try:
        return body.model_validate(data)
    except ValidationError as error:
        details = [
            {"field": _short(".".join(map(str, item["loc"])) or "body"), "message": _short(item["msg"])}
            # What was sent is not repeated: an error may end up in somebody's log.
            for item in error.errors(include_input=False, include_url=False, include_context=False)[:_MAX_DETAILS]
        ]
        message = f"{details[0]['field']}: {details[0]['message']}"
        raise InvalidRequest(message, details) from None


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _short(text: str) -> str:
    """Names that callers chose can be anything; what comes back is short and can be encoded."""
    return text[:MAX_ID_CHARS].encode("utf-8", "replace").decode("utf-8")
