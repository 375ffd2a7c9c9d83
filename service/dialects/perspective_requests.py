"""What clients of the Perspective API send: the two request bodies read into values, and every refusal of them.

Bodies are read as Google's own servers read JSON (:mod:`service.dialects.loose_json`): names may be in camelCase or
snake_case, ``null`` is the same as left out, a number may stand in quotation marks, one value in place of a list of
one, the word for a kind in small letters; fields that are not known are ignored.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from moderation.comment import MAX_POST_CHARS, MAX_TEXT_CHARS, MAX_THREAD, Comment, Neighbour, Post
from service.dialects.intake import make_readable
from service.dialects.loose_json import read_loose_json
from service.dialects.perspective_attributes import UNDETERMINED, detect_language, is_language
from service.errors import InvalidRequest, ServiceError

MAX_TEXT_BYTES = 20_480
MAX_CONTEXT_BYTES = 1_048_576
_COMMENT_ERROR = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
MAX_ATTRIBUTES = 100
_MAX_NAME_CHARS = 200
_SNAKE = re.compile("(?<!^)(?=[A-Z])")


class Refused(ServiceError):
    """400 a request that Google would have refused; the message and ``details`` are in Google's words and shape."""

    status = 400
    code = "invalid_request"


def refuse(error_type: str, message: str, **more: Any) -> Refused:
    """A refusal of the comment analyzer itself, with its ``errorType``."""
    return Refused(message, [{"@type": _COMMENT_ERROR, "errorType": error_type, **more}])


def _misshapen(path: str, what: str) -> Refused:
    """A refusal of a field's type or range. Values are not repeated: they may be what somebody wrote."""
    message = f"Invalid value at '{path}': {what}"
    return Refused(message, [{"@type": _BAD_REQUEST, "fieldViolations": [{"field": path, "description": message}]}])


@dataclass(frozen=True, slots=True)
class Sent:
    """What both calls have in common.

    ``comment`` has no id; ``handles`` are what it can be told from its equals by. ``languages`` are those that were
    named, ``detected`` is the one found in the text: ``en`` or ``und``.
    """

    comment: Comment
    languages: tuple[str, ...]
    detected: str
    handles: Mapping[str, str]
    community: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class AnalyzeRequest:
    """The body of ``comments:analyze``. ``thresholds``: per attribute, as named, the highest score left out."""

    sent: Sent
    thresholds: Mapping[str, float | None]
    score_types: Mapping[str, str]
    with_spans: bool
    drops_unsupported: bool


@dataclass(frozen=True, slots=True)
class SuggestRequest:
    """The body of ``comments:suggestscore``. ``values``: per attribute, as named, 0 to 1; ``None`` for spans alone."""

    sent: Sent
    values: Mapping[str, float | None]


def read_analyze(body: bytes, *, max_text_chars: int) -> AnalyzeRequest:
    """Raises ``Refused``."""
    fields = _read_body(body)
    sent = _read_sent(fields, max_text_chars)
    thresholds: dict[str, float | None] = {}
    score_types: dict[str, str] = {}
    for name, wanted in fields.named("requestedAttributes"):
        # To Google's servers a zero is the same as nothing: a score that is rounded to it is not left out.
        thresholds[name] = wanted.number("scoreThreshold") or None
        score_types[name] = wanted.text("scoreType") or "PROBABILITY"
    if not thresholds:
        raise refuse("NO_REQUESTED_ATTRIBUTES", "Missing requested_attributes")
    with_spans, drops = fields.flag("spanAnnotations"), fields.flag("dropUnsupportedAttributes")
    return AnalyzeRequest(sent, thresholds, score_types, with_spans, drops)


def read_suggestion(body: bytes, *, max_text_chars: int) -> SuggestRequest:
    """Raises ``Refused``."""
    fields = _read_body(body)
    sent = _read_sent(fields, max_text_chars)
    values = {name: _read_score(name, scores) for name, scores in fields.named("attributeScores")}
    if not values:
        raise refuse("INVALID_REQUEST", "Missing attribute_scores")
    return SuggestRequest(sent, values)


def check_score_type(name: str, score_type: str) -> None:
    """Raises ``Refused`` for a kind of score that is no probability."""
    if score_type.upper() not in ("PROBABILITY", "SCORE_TYPE_UNSPECIFIED"):
        said = _short(score_type)
        raise refuse("INVALID_REQUEST", f"Requested score type {said} is not supported by attribute {_short(name)}")


def language_not_supported(name: str, languages: tuple[str, ...]) -> Refused:
    """The refusal by which clients know which attribute to leave out next time."""
    said, shown = [_short(language) for language in languages], _short(name)
    return refuse(
        "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
        f"Attribute {shown} does not support request languages: {', '.join(said)}",
        languageNotSupportedByAttributeError={"requestedLanguages": said, "attribute": shown},
    )


def unknown_attribute(name: str) -> Refused:
    """The refusal of an attribute that is none of ours."""
    return refuse("INVALID_REQUEST", f"Unknown requested attribute: {_short(name)}")


class _Fields:
    """A JSON object whose fields are taken one by one. Every method raises ``Refused`` for a wrong type."""

    def __init__(self, data: Any, path: str = "") -> None:
        if not isinstance(data, dict):
            raise _misshapen(path or "body", "must be an object")
        self._data: dict[str, Any] = data
        self.path = path

    def take(self, name: str) -> Any:
        value = self._data.get(name)
        return self._data.get(_SNAKE.sub("_", name).lower()) if value is None else value

    def text(self, name: str) -> str | None:
        """``None`` for an empty one as well, which is what Google's servers take it for."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise _misshapen(self._at(name), "must be a string")
        return make_readable(value) if value else None

    def flag(self, name: str) -> bool:
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise _misshapen(self._at(name), "must be true or false")
        return bool(value)

    def number(self, name: str) -> float | None:
        value = self.take(name)
        if value is None:
            return None
        try:
            number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise _misshapen(self._at(name), "must be a number")
        return number

    def items(self, name: str) -> list[Any]:
        value = self.take(name)
        if isinstance(value, str | dict):
            return [value]
        if value is not None and not isinstance(value, list):
            raise _misshapen(self._at(name), "must be a list")
        return value or []

    def inner(self, name: str) -> _Fields | None:
        value = self.take(name)
        return None if value is None else _Fields(value, self._at(name))

    def inners(self, name: str) -> list[_Fields]:
        return [_Fields(item, f"{self._at(name)}[{index}]") for index, item in enumerate(self.items(name))]

    def named(self, name: str) -> list[tuple[str, _Fields]]:
        """The objects of an object, at most a hundred; names that callers chose are not in the paths of errors."""
        found = self.take(name)
        if found is not None and not isinstance(found, dict):
            raise _misshapen(self._at(name), "must be an object")
        at = self._at(name)
        if len(found or {}) > MAX_ATTRIBUTES:
            raise _misshapen(at, f"must have at most {MAX_ATTRIBUTES} attributes")
        return [
            (make_readable(key), _Fields({} if value is None else value, at)) for key, value in (found or {}).items()
        ]

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _read_body(body: bytes) -> _Fields:
    if not body.strip():
        return _Fields({})
    try:
        data = read_loose_json(body)
    except InvalidRequest as error:
        message = f"Invalid JSON payload received: {error.message}"
        raise Refused(message, [{"@type": _BAD_REQUEST, "fieldViolations": [{"description": message}]}]) from None
    return _Fields(data)


def _read_sent(fields: _Fields, max_text_chars: int) -> Sent:
    entry = fields.inner("comment") or _Fields({})
    if _read_type(entry) == "HTML":
        raise refuse("INVALID_REQUEST", "Currently, only 'PLAIN_TEXT' comments are supported")
    text = entry.text("text") or ""
    if not text.strip():
        raise refuse("COMMENT_EMPTY", "Comment must be non-empty.")
    if len(text) > max_text_chars or len(text.encode()) > MAX_TEXT_BYTES:
        raise refuse("COMMENT_TOO_LONG", "Comment text too long.")
    languages = tuple(_read_language(item) for item in fields.items("languages"))
    detected = detect_language(text)
    if detected is None and not languages:
        raise refuse("LANGUAGE_DETECTION_FAILED", "Unable to detect language")
    names = {"community": "communityId", "session": "sessionId", "token": "clientToken"}
    handles = {handle: said for handle, name in names.items() if (said := fields.text(name)) is not None}
    comment = _add_context(Comment(text, do_not_store=fields.flag("doNotStore")), fields.inner("context"))
    if languages and is_language(languages[0]) and languages[0] != UNDETERMINED:
        comment = replace(comment, lang=languages[0])
    return Sent(comment, languages, detected or UNDETERMINED, handles, handles.get("community"), handles.get("token"))


def _read_language(value: Any) -> str:
    if not isinstance(value, str):
        raise _misshapen("languages", "must be a list of strings")
    return make_readable(value)


def _read_type(entry: _Fields) -> str:
    said = (entry.text("type") or "PLAIN_TEXT").upper()
    if said not in ("TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"):
        raise refuse("INVALID_REQUEST", "Unknown text type")
    return said


def _add_context(comment: Comment, context: _Fields | None) -> Comment:
    """The comment with what stands around it: the article as its post, what it answers as its parent."""
    if context is None:
        return comment
    around, entries = context.inner("articleAndParentComment"), context.inners("entries")
    if around is not None and entries:
        message = "Context can have either entries or article_and_parent_comment, but both fields were populated."
        raise refuse("INVALID_REQUEST", message)
    if around is not None:
        article = _read_context(around.inner("article"))
        parent = _read_context(around.inner("parentComment"))
        return replace(
            comment,
            post=Post(text=article[:MAX_POST_CHARS]) if article else None,
            parent=Neighbour(text=parent[:MAX_TEXT_CHARS]) if parent else None,
        )
    said = [text for entry in entries if (text := _read_context(entry)) and not _is_record(text)]
    if not said:
        return comment
    *earlier, last = (text[:MAX_TEXT_CHARS] for text in said[-MAX_THREAD - 1 :])
    return replace(comment, parent=Neighbour(text=last), thread=tuple(Neighbour(text=text) for text in earlier))


def _read_context(entry: _Fields | None) -> str | None:
    if entry is None:
        return None
    _read_type(entry)
    text = entry.text("text")
    if text is not None and len(text.encode()) > MAX_CONTEXT_BYTES:
        raise refuse("INVALID_REQUEST", "Context text too long.")
    return text if text and text.strip() else None


def _is_record(text: str) -> bool:
    """Whether it is JSON with facts about the comment, which Coral sends where others send a comment's text."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _read_score(name: str, scores: _Fields) -> float | None:
    """The value for the whole text, ``None`` where there are only values for parts of it."""
    summary, spans = scores.inner("summaryScore"), scores.inners("spanScores")
    if summary is None and not spans:
        raise _misshapen(scores.path, "must have a summaryScore or spanScores")
    for span in spans:
        begin, end = span.number("begin"), span.number("end")
        if begin is None or end is None or not 0 <= begin <= end:
            raise _misshapen(span.path, "must have begin and end, in order")
        _read_value(name, span.inner("score") or _Fields({}, f"{span.path}.score"))
    return None if summary is None else _read_value(name, summary)


def _read_value(name: str, score: _Fields) -> float:
    check_score_type(name, score.text("type") or "PROBABILITY")
    # Clients that leave out what is zero, as Google's for Go does, mean 0 by a score without a value.
    value = score.number("value") or 0.0
    if not 0 <= value <= 1:
        raise _misshapen(f"{score.path}.value", "must be from 0 to 1")
    return value


def _short(name: str) -> str:
    return make_readable(name[:_MAX_NAME_CHARS])
