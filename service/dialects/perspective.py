"""The protocol of Google's Perspective API ("commentanalyzer"), for clients that go on speaking it.

``comments:analyze`` judges a comment as the native API does and answers with its scores under Google's names;
``comments:suggestscore`` is a verdict on a text that was judged before. What each field and error does, and what was
decided where Google's protocol leaves it open, is in docs/dialects.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import APIKeyHeader, HTTPBearer

from moderation.bundle import Bundle
from moderation.categories import CODES
from moderation.comment import Comment, Scores
from moderation.errors import BundleBusy, BundleError, BundleMissing
from moderation.explain import SCORE_FLOOR, explain
from moderation.model import Model
from moderation.spans import Span
from service.api import Parts, PartsOf
from service.auth import find_site_of_key, looks_like_key
from service.dialects import perspective_schema as schema
from service.dialects.intake import Dialect, read_any_body
from service.dialects.perspective_attributes import (
    ANY,
    CATEGORIES,
    FAST,
    OTHERS,
    Attribute,
    is_verdict,
    read_judgement,
    takes_language,
)
from service.dialects.perspective_requests import (
    AnalyzeRequest,
    Refused,
    check_score_type,
    language_not_supported,
    read_analyze,
    read_suggestion,
    refuse,
    unknown_attribute,
)
from service.errors import ServiceError, TooLarge, Unauthorized
from service.feedback import new_id
from service.statuses import ELSEWHERE
from service.store import Judge, Site

router = APIRouter(tags=["perspective"])

_log = logging.getLogger(__name__)

_SOURCE = "perspective"
# Handles by which a comment is told from its twins, the most telling first. Another token is another comment, another
# community another place, while who judges has another session than who writes.
_TELLING = ("token", "session", "community")
_MUST_MATCH = ("token", "community")
_MAX_NAME_CHARS = 200
_MAX_VERSIONS = 4  # of each the comment is scored once more
# Spans take 0.12 ms of a core for every character in the full tier and 0.005 ms in the lexical one, per category.
MAX_FULL_SPAN_CHARS = 2_000
MAX_LEXICAL_SPAN_CHARS = 40_000
_DIGITS = 6  # more than calibration can mean

_BAD_KEY = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "metadata": {"service": "commentanalyzer.googleapis.com"},
}
_NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)
# Google's word for each status, and the sentence where the error has none that is meant for these callers.
_WORDS: Mapping[int, tuple[str, str | None]] = {
    400: ("INVALID_ARGUMENT", None),
    403: ("PERMISSION_DENIED", None),
    404: ("NOT_FOUND", "Method not found."),
    405: ("UNIMPLEMENTED", "Method not allowed."),
    429: ("RESOURCE_EXHAUSTED", "Quota exceeded."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The service is currently unavailable."),
}


class Unscored(ServiceError):
    """503 there is no model, or the one that was asked for cannot answer now. What was stored waits for a person."""

    status = 503
    code = "unavailable"
    retry_after_seconds = 30


class NoKey(ServiceError):
    """403 the request has no key at all, which Google tells from a wrong one."""

    status = 403
    code = "unauthorized"


class NoDocument(ServiceError):
    """404 a version of the protocol that there is none of."""

    status = 404
    code = "not_found"


def answer(error: ServiceError) -> Response:
    """An error as Google words it. What the service says of itself stays inside."""
    code = 400 if error.status in (409, 410, 413, 422) else 403 if error.status == 401 else error.status
    status, sentence = _WORDS.get(code, ("INVALID_ARGUMENT" if code < 500 else "INTERNAL", None))
    is_ours = isinstance(error, Refused | NoKey | NoDocument)
    content: dict[str, Any] = {"code": code, "status": status}
    content["message"] = error.message if is_ours or sentence is None else sentence
    if isinstance(error, TooLarge):
        content["message"] = "Request payload size exceeds the limit."
    if isinstance(error, Refused) and error.details:
        content["details"] = [dict(detail) for detail in error.details]
    headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
    order = ("code", "message", "status", "details")
    body = {"error": {name: content[name] for name in order if name in content}}
    return JSONResponse(body, code, headers)


def require_site(
    request: Request,
    parts: PartsOf,
    # Declared for the OpenAPI page; the key may stand in several places.
    _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False, description="The site's API key."))],
    _header: Annotated[object, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> Site:
    """The site whose key the request carries. Raises ``NoKey``, or ``Refused`` for a wrong one."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = [request.query_params.get("key"), request.headers.get("x-goog-api-key"), request.headers.get("x-api-key")]
    given.append(bearer if scheme.lower() == "bearer" else None)
    keys = [key.strip() for key in given if key and key.strip()]
    if not keys:
        raise NoKey(_NO_KEY)
    try:
        # A proxy or a client may have put a token of its own into one of these places.
        return find_site_of_key(parts.store, next(filter(looks_like_key, keys), keys[0]))
    except Unauthorized:
        raise Refused("API key not valid. Please pass a valid API key.", [_BAD_KEY]) from None


KeySite = Annotated[Site, Depends(require_site)]


async def read_body(request: Request, _site: KeySite) -> bytes:
    """The body of a caller with a key. Raises ``TooLarge``."""
    return await read_any_body(request)


Body = Annotated[bytes, Depends(read_body)]


@router.post(
    f"/{schema.ANALYZE}",
    summary="Scores of a comment",
    responses={
        200: schema.describe_answer("AnalyzeCommentResponse", "The scores that were asked for."),
        **schema.describe_errors(400, 403, 503),
    },
    openapi_extra=schema.describe_call("AnalyzeCommentRequest"),
)
def analyze(site: KeySite, body: Body, parts: PartsOf) -> Response:
    """Judge a comment and answer with its scores under Google's names."""
    said = read_analyze(body, max_text_chars=parts.settings.max_text_chars)
    wanted = _find_attributes(said, parts)
    comment = replace(said.sent.comment, id=new_id(_SOURCE))
    stored = parts.workflow.submit(site, comment, handles=said.sent.handles, is_question=True)
    if stored.decision.scores is None:
        raise Unscored("there is no model, so a person decides")
    live = parts.live_model.pair_of(stored.decision.bundle)
    if live.bundle is None:
        raise Unscored("there is no model any more")
    reader = _Reader(replace(comment, site=site.url), live.bundle.model, stored.decision.scores)
    readers = {bundle.name: _Reader.of(reader.comment, bundle) for _, bundle in wanted if bundle is not None}
    scores: dict[str, Any] = {}
    for attribute, bundle in wanted:
        found = (reader if bundle is None else readers[bundle.name]).score(attribute)
        if found is not None:
            spans = found.spans() if said.with_spans else ()
            scores[attribute.name] = write_scores(
                comment.text, found.value, spans, threshold=said.thresholds[attribute.name]
            )
    content: dict[str, Any] = {"attributeScores": scores}
    content["languages"] = list(said.sent.languages or [said.sent.detected])
    content["detectedLanguages"] = [said.sent.detected]
    if said.sent.token is not None:
        content["clientToken"] = said.sent.token
    return JSONResponse(content)


@router.post(
    f"/{schema.SUGGEST}",
    summary="What the scores should have been",
    responses={
        200: schema.describe_answer("SuggestCommentScoreResponse", "Noted."),
        **schema.describe_errors(400, 403, 503),
    },
    openapi_extra=schema.describe_call("SuggestCommentScoreRequest"),
)
def suggest_score(site: KeySite, body: Body, parts: PartsOf) -> Response:
    """A label for the next training, and a verdict where only one comment with that text can be meant."""
    said = read_suggestion(body, max_text_chars=parts.settings.max_text_chars)
    unknown = [name for name in said.values if Attribute.read(name).base is None and not is_verdict(name)]
    _answer_unknown(unknown, parts)
    judgement = read_judgement(said.values)
    # The protocol has no such field here; who sends it all the same does not want the text kept.
    if judgement is not None and not said.sent.comment.do_not_store:
        who = (said.sent.community or site.url)[:_MAX_NAME_CHARS]
        judge = Judge(f"{ELSEWHERE}{who}", _SOURCE)
        parts.feedback.suggest(
            site,
            said.sent.comment,
            judge,
            judgement,
            handles=said.sent.handles,
            came_by=f"{_SOURCE}-",
            telling=_TELLING,
            must_match=_MUST_MATCH,
        )
    content: dict[str, Any] = {}
    if said.sent.token is not None:
        content["clientToken"] = said.sent.token
    if said.sent.languages:
        content["requestedLanguages"] = list(said.sent.languages)
        content["detectedLanguages"] = [said.sent.detected]
    return JSONResponse(content)


@router.get(
    "/$discovery/rest",
    summary="Google's discovery document",
    responses={
        200: {"description": "The document.", "content": {"application/json": {"schema": {"type": "object"}}}},
        **schema.describe_errors(404),
    },
    openapi_extra={"parameters": schema.describe_parameters(version="Only v1alpha1, which is the default.")},
)
def discover(request: Request, parts: PartsOf) -> Response:
    """For clients that build themselves from it: google-api-python-client, googleapis, OSMod. Needs no key."""
    if request.query_params.get("version", schema.VERSION) != schema.VERSION:
        raise NoDocument("Discovery document not found for API service: commentanalyzer.googleapis.com format: rest")
    root = parts.settings.public_url or str(request.base_url)
    return JSONResponse(schema.write_discovery(root.rstrip("/") + "/"))


def _find_attributes(said: AnalyzeRequest, parts: Parts) -> list[tuple[Attribute, Bundle | None]]:
    """The attributes that are answered, each with the bundle that its version names. Raises ``Refused``."""
    attributes = [Attribute.read(name) for name in said.thresholds]
    versions = {each.version for each in attributes if each.base is not None and each.version is not None}
    if len(versions) > _MAX_VERSIONS:
        raise refuse("INVALID_REQUEST", f"At most {_MAX_VERSIONS} versions can be requested at once.")
    bundles = {version: _find_bundle(version, parts) for version in versions}
    wanted: list[tuple[Attribute, Bundle | None]] = []
    unknown = []
    for attribute in attributes:
        name, bundle = attribute.name, bundles.get(attribute.version or "")
        if attribute.base is None or (attribute.version is not None and bundle is None):
            unknown.append(name)
            continue
        check_score_type(name, said.score_types[name])
        if takes_language(attribute, said.sent.languages):
            wanted.append((attribute, bundle))
        elif not said.drops_unsupported:
            raise language_not_supported(name, said.sent.languages)
    _answer_unknown(unknown, parts)
    return wanted


def _find_bundle(version: str, parts: Parts) -> Bundle | None:
    """The bundle of a version, ``None`` where it is not kept or cannot be used. Raises ``Unscored``."""
    try:
        bundle = parts.live_model.bundle(version)
    except BundleMissing:
        return None
    except BundleBusy as error:
        raise Unscored("too many ask for bundles that are not loaded") from error
    except BundleError as error:
        _log.warning("a version cannot be loaded", extra={"fault": type(error).__name__})
        return None
    if bundle.fault is not None:
        raise Unscored("the encoder of that bundle is not in use")
    return bundle


def _answer_unknown(names: Sequence[str], parts: Parts) -> None:
    """Refuse the first of them, or note that they are left out. Names that Google has not are not logged."""
    if not names:
        return
    if parts.settings.unknown_attributes == "refuse":
        raise unknown_attribute(names[0])
    known = sorted(OTHERS.intersection(names))
    _log.info("unknown attributes", extra={"attributes": ",".join(known), "others": len(names) - len(known)})


@dataclass(frozen=True, slots=True)
class _Found:
    """The score of an attribute, and how to find the words that raised it."""

    value: float
    spans: Callable[[], Sequence[Span]]


class _Reader:
    """One comment read by one model."""

    def __init__(self, comment: Comment, model: Model, scores: Scores) -> None:
        self.comment = comment
        self._model = model
        self._scores = scores
        self._fast: Scores | None = None
        self._explained: dict[tuple[str, bool], Sequence[Span]] = {}
        self._full_chars_left = MAX_FULL_SPAN_CHARS
        self._lexical_chars_left = MAX_LEXICAL_SPAN_CHARS

    @classmethod
    def of(cls, comment: Comment, bundle: Bundle) -> _Reader:
        """For another bundle than the one that decided. Raises ``Unscored``."""
        [(scores, _)] = bundle.assess_or_hold([comment])
        if scores is None:
            raise Unscored("that bundle cannot score this comment")
        return cls(comment, bundle.model, scores)

    def score(self, attribute: Attribute) -> _Found | None:
        """``None`` where the model abstains."""
        is_fast = attribute.base == FAST
        if is_fast and self._fast is None:
            [self._fast] = self._model.lexical_tier().score([self.comment])
        scores = self._fast if is_fast and self._fast is not None else self._scores
        if attribute.base == ANY:
            code = max(CODES, key=lambda each: scores[each] or 0.0)
        else:
            code = CATEGORIES[attribute.base or ""]
        value = scores[code]
        return None if value is None else _Found(value, lambda: self._spans(code, value, is_fast=is_fast))

    def _spans(self, code: str, value: float, *, is_fast: bool) -> Sequence[Span]:
        if value < SCORE_FLOOR:  # under it nothing is pointed at
            return ()
        key = code, is_fast
        if key not in self._explained:
            self._explained[key] = self._explain(code, is_fast=is_fast)
        return self._explained[key]

    def _explain(self, code: str, *, is_fast: bool) -> Sequence[Span]:
        """By the model that scored while there is time, then by its lexical tier, then not at all."""
        length = len(self.comment.text)
        if not is_fast and length <= self._full_chars_left:
            self._full_chars_left -= length
            return explain(self._model, self.comment, code).spans
        if length <= self._lexical_chars_left:
            self._lexical_chars_left -= length
            return explain(self._model.lexical_tier(), self.comment, code).spans
        return ()


def write_scores(text: str, value: float, spans: Sequence[Span], *, threshold: float | None) -> dict[str, Any]:
    """An ``AttributeScores`` without what does not exceed ``threshold``.

    A span's value is the summary's times how strongly it raised it, so that no part is above the whole. Without spans
    the whole text is one, with the summary's value. Offsets are UTF-16 units.
    """
    whole = (0, len(text.encode("utf-16-le", "surrogatepass")) // 2, value)
    parts = [(span.utf16_start, span.utf16_end, value * span.strength) for span in spans] or [whole]
    written: dict[str, Any] = {}
    kept = [
        {"begin": begin, "end": end, "score": _score(part)} for begin, end, part in parts if _is_over(part, threshold)
    ]
    if kept:
        written["spanScores"] = kept
    if _is_over(value, threshold):
        written["summaryScore"] = _score(value)
    return written


def _score(value: float) -> dict[str, Any]:
    return {"value": round(value, _DIGITS), "type": "PROBABILITY"}


def _is_over(value: float, threshold: float | None) -> bool:
    return threshold is None or round(value, _DIGITS) > threshold


def _owns(path: str) -> bool:
    # Clients that build themselves from the discovery document have a call that sends several at once there.
    is_batch = path.split("/")[1] == "batch"
    return is_batch or path.startswith((f"/{schema.VERSION}/", "/$discovery/")) or path == f"/{schema.VERSION}"


DIALECT = Dialect("perspective", router, _owns, answer)
