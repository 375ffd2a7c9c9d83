"""OpenAI's moderation endpoint, ``POST /v1/moderations``, as its client libraries call it.

Each input is a comment of the key's site: judged, decided and kept as one that came in by the native API. Its
id there is the answer's ``id`` (with ``-0``, ``-1`` ... behind it where there are several inputs). What every field
and error means is in docs/dialects.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from moderation.comment import Comment, Decision, Scores
from moderation.errors import InvalidComment
from service.api import KeySite, PartsOf, RequestBody
from service.dialects.intake import Dialect, make_readable, read_any_json
from service.errors import InvalidRequest, ServiceError
from service.feedback import new_id
from service.schemas import MAX_BATCH
from service.store import Stored

PATH = "/v1/moderations"
DEFAULT_MODEL = "omni-moderation-latest"
MAX_PARTS = 1_000

CATEGORIES: dict[str, tuple[str, ...]] = {
    "harassment": ("hostile", "insult", "severe"),
    "harassment/threatening": ("threat",),
    "hate": ("identity_attack",),
    "hate/threatening": ("identity_attack", "threat"),
    "illicit": (),
    "illicit/violent": (),
    "self-harm": (),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": (),
    "sexual/minors": (),
    "violence": ("threat",),
    "violence/graphic": (),
    "spam": ("spam",),
    "off-topic": ("off_topic",),
}
"""OpenAI's names, then two of ours, and the categories of ours that each is made from; from none: not modelled."""

# The score of these is the lowest of their parts, of all others the highest: hate *and* threatening.
_NEEDS_ALL = frozenset({"hate/threatening"})

_MESSAGES = {
    "busy": "The server is busy. Nothing of this request was kept; please try again.",
    "unavailable": "The server cannot judge comments right now. Please try again later.",
    "internal": "The server had an error while processing your request.",
}

Flag = Annotated[bool, Field(description="Whether the score reaches the hold line of the site's policy.")]


class ErrorContent(BaseModel):
    """What is wrong, in the words of OpenAI's errors."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorContent


class ModerationResult(BaseModel):
    """What was found in one input."""

    flagged: bool = Field(description="Whether the comment was not published: it is held for a person, or rejected.")
    categories: dict[str, Flag]
    category_scores: dict[str, float] = Field(description="Probabilities; 0.0 for what is not modelled.")
    category_applied_input_types: dict[str, list[Literal["text"]]] = Field(
        description="Empty for what is not modelled, and for off-topic where there is too little to compare with."
    )


class ModerationAnswer(BaseModel):
    """One result per input, in order."""

    id: str = Field(description="The comment's id in the native API; with several inputs, what their ids begin with.")
    model: str = Field(description="As it was sent; it chooses nothing.")
    results: list[ModerationResult]


_EXAMPLE = {"model": DEFAULT_MODEL, "input": "You are an idiot and nobody will miss you."}
_TEXT = {"type": "string", "minLength": 1, "pattern": r"\S"}
_PART = {
    "oneOf": [
        {
            "type": "object",
            "required": ["type", "text"],
            "properties": {"type": {"const": "text"}, "text": _TEXT},
        },
        {
            "type": "object",
            "description": "Not looked at.",
            "required": ["type", "image_url"],
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}},
            },
        },
    ]
}
_REQUEST = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {
            "oneOf": [
                _TEXT,
                {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": _TEXT},
                {
                    "type": "array",
                    "description": "One comment: all its text parts together. At least one is needed.",
                    "minItems": 1,
                    "maxItems": MAX_PARTS,
                    "items": _PART,
                    "contains": {"type": "object", "required": ["text"], "properties": {"type": {"const": "text"}}},
                },
            ]
        },
        "model": {"type": ["string", "null"], "description": "Any; it is sent back and chooses nothing."},
        "do_not_store": {
            "type": ["boolean", "null"],
            "description": "Ours: keep the decision and the scores, but nothing that was written.",
        },
    },
}


class Refused(InvalidRequest):
    """Something is wrong with the body: ``param`` says with which field, ``reason`` is OpenAI's word for what."""

    status = 400

    def __init__(self, message: str, param: str | None, reason: str | None) -> None:
        super().__init__(message, [{"field": param or "body", "message": message}])
        self.param = param
        self.reason = reason


class ModelMissing(ServiceError):
    """There is no model to say anything about a comment, and this protocol has no word for a comment that waits."""

    status = 503
    code = "unavailable"
    retry_after_seconds = 30


router = APIRouter()


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody, "description": HTTPStatus(status).phrase} for status in statuses}


@router.post(
    PATH,
    tags=["openai"],
    summary="Moderate as OpenAI does",
    responses={
        200: {"model": ModerationAnswer, "description": "One result per input, in order."},
        **_errors(400, 401, 413, 500, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _REQUEST, "example": _EXAMPLE}},
        }
    },
)
def moderate(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """For clients of OpenAI's moderation endpoint: set their base URL to this service's address and `/v1`."""
    texts, model, do_not_store = read_request(body, max_text_chars=parts.settings.max_text_chars)
    if parts.live_model.current(site.url).bundle is None:
        raise ModelMissing("there is no model")
    answer_id = new_id("modr")
    ids = [answer_id] if len(texts) == 1 else [f"{answer_id}-{index}" for index in range(len(texts))]
    sent = [Comment(text, id=each, do_not_store=do_not_store) for text, each in zip(texts, ids, strict=True)]
    results = []
    for stored in parts.workflow.submit_many(site, sent, is_question=True):
        if not isinstance(stored, Stored) or stored.decision.scores is None:
            raise ModelMissing("the model could not score a comment")
        results.append(write_result(stored.decision, stored.decision.scores))
    return JSONResponse({"id": answer_id, "model": model, "results": results})


def read_request(body: bytes, *, max_text_chars: int) -> tuple[list[str], str, bool]:
    """The texts of a request, each of which a comment can have; the model's name; whether to keep no text.

    Raises :class:`Refused`.
    """
    try:
        data = read_any_json(body)
    except InvalidRequest as error:
        raise Refused(f"We could not parse the JSON body of your request: {error.message}.", None, None) from None
    if not isinstance(data, dict):
        raise Refused(f"Invalid body: expected an object, but got {_kind(data)} instead.", None, "invalid_type")
    model, do_not_store = data.get("model"), data.get("do_not_store")
    if model is not None and not isinstance(model, str):
        raise _wrong_type("model", "a string", model)
    if do_not_store is not None and not isinstance(do_not_store, bool):
        raise _wrong_type("do_not_store", "a boolean", do_not_store)
    texts = [
        _check_text(make_readable(text), param, max_text_chars)
        for param, text in _read_input(data.get("input"), is_given="input" in data)
    ]
    return texts, DEFAULT_MODEL if model is None else make_readable(model), bool(do_not_store)


def _read_input(given: Any, *, is_given: bool) -> list[tuple[str, str]]:
    """Each text with the name of the parameter that it stands in."""
    if not is_given:
        raise Refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if isinstance(given, str):
        return [("input", given)]
    if not isinstance(given, list):
        raise _wrong_type("input", "a string or an array", given)
    if not given:
        message = "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array"
        raise Refused(f"{message} instead.", "input", "empty_array")
    if isinstance(given[0], dict):
        _check_length(given, MAX_PARTS)
        return [("input", _join(given))]
    _check_length(given, MAX_BATCH)
    for index, item in enumerate(given):
        if not isinstance(item, str):
            raise _wrong_type(f"input[{index}]", "a string", item)
    return [(f"input[{index}]", item) for index, item in enumerate(given)]


def _join(given: Sequence[Any]) -> str:
    """The text parts of one comment, each on a line of its own."""
    texts = []
    for index, part in enumerate(given):
        name = f"input[{index}]"
        if not isinstance(part, dict):
            raise _wrong_type(name, "an object", part)
        if part.get("type") == "text":
            if not isinstance(part.get("text"), str):
                raise _wrong_type(f"{name}.text", "a string", part.get("text"))
            texts.append(part["text"])
        elif part.get("type") == "image_url":
            if not isinstance(part.get("image_url"), dict) or not isinstance(part["image_url"].get("url"), str):
                raise _wrong_type(f"{name}.image_url", "an object with a url", part.get("image_url"))
        else:
            message = f"Invalid value for '{name}.type'. Supported values are: 'text' and 'image_url'."
            raise Refused(message, f"{name}.type", "invalid_value")
    if not texts:
        # An answer would say that a picture is harmless at which nobody has looked.
        message = "Invalid 'input': pictures are not looked at. Expected at least one part of type 'text'."
        raise Refused(message, "input", "image_input_not_supported")
    return "\n".join(texts)


def _check_length(given: Sequence[Any], most: int) -> None:
    if len(given) > most:
        message = f"Invalid 'input': array too long. Expected an array with maximum length {most}, but got an array"
        raise Refused(f"{message} with length {len(given)} instead.", "input", "array_above_max_length")


def _check_text(text: str, param: str, most: int) -> str:
    if len(text) > most:
        message = f"Invalid '{param}': string too long. Expected a string with maximum length {most}, but got a string"
        raise Refused(f"{message} with length {len(text)} instead.", param, "string_above_max_length")
    try:
        Comment(text)
    except InvalidComment:
        message = f"Invalid '{param}': the string is empty or blank, so there is nothing to moderate."
        raise Refused(message, param, "empty_string") from None
    return text


def write_result(decision: Decision, scores: Scores) -> dict[str, Any]:
    """A :class:`ModerationResult`. ``scores`` are the decision's, which every other protocol may lack."""
    reached = {reason.name for reason in decision.reasons if reason.fired}
    result: dict[str, Any] = {"flagged": decision.action != "publish", "categories": {}, "category_scores": {}}
    result["category_applied_input_types"] = {}
    for name, codes in CATEGORIES.items():
        found = [value for code in codes if (value := scores[code]) is not None]
        pick, are = (min, all) if name in _NEEDS_ALL else (max, any)
        result["categories"][name] = bool(codes) and are(code in reached for code in codes)
        result["category_scores"][name] = round(pick(found), 6) if found else 0.0
        result["category_applied_input_types"][name] = ["text"] if found else []
    return result


def answer(error: ServiceError) -> Response:
    """An error as OpenAI's clients read it; after 408, 409, 429 and from 500 on they try again twice by themselves."""
    headers = {}
    status, param, code, kind = error.status, None, None, "invalid_request_error"
    message = f"{error.message[:1].upper()}{error.message[1:]}."
    if isinstance(error, Refused):
        message, param, code = error.message, error.param, error.reason
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
        code = "invalid_api_key"
    elif status == 404:
        message = f"Invalid URL. There is {PATH} only."
    elif status == 405:
        headers["Allow"] = "POST"
        message, code = f"Not allowed with this method. {PATH} takes POST.", "method_not_supported"
    elif status >= 500:
        kind, code = "server_error", None if error.code == "internal" else error.code
        message = _MESSAGES.get(error.code, _MESSAGES["internal"])
        if error.code == "unavailable":
            # The libraries would wait twice for as long as Retry-After says, while whoever wrote the comment waits too.
            headers["x-should-retry"] = "false"
    elif status == 429:
        kind, code = "rate_limit_error", "rate_limit_exceeded"
    elif status == 413:
        code = "request_too_large"
    elif status == 422:
        status = 400
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    content = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": content}, status, headers)


def _wrong_type(param: str, expected: str, got: Any) -> Refused:
    message = f"Invalid type for '{param}': expected {expected}, but got {_kind(got)} instead."
    return Refused(message, param, "invalid_type")


def _kind(value: Any) -> str:
    """The JSON type of a decoded value."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", int: "an integer", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")


# The rest of /v1 is the native API's.
DIALECT = Dialect("openai", router, lambda path: path == PATH or path.startswith(f"{PATH}/"), answer)
