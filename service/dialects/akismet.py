"""The protocol of Akismet: is a comment spam or not, and what people say about that later.

Answers are whole bodies that clients compare (``true``, ``false``, ``valid``), so none ends in a line break. What
becomes of fields, reasons and faults is a table in docs/dialects.md.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from moderation.comment import Comment, Decision
from moderation.policy import Policy
from service.api import Parts, PartsOf
from service.auth import PREFIX_CHARS, find_site_of_key, is_old_key
from service.dialects.akismet_account import is_spam, key_sites, stats, subscription, usage_limit, write_csv
from service.dialects.akismet_request import Said, make_comment, read_said
from service.dialects.intake import Dialect
from service.errors import CommentErased, ServiceError, Unauthorized
from service.statuses import AKISMET, AKISMET_ID, ELSEWHERE, STATUS_AFTER
from service.store import Judge, Judgement, Site, Stored
from service.verdicts import is_judged
from service.workflow import is_by_fault

router = APIRouter(tags=[AKISMET])

THANKS = "Thanks for making the web a better place."

_PATHS = ("/1.1/", "/1.2/")
_SITE = "site"
_MAX_REPORTER_CHARS = 200
_MAX_HEADER_CHARS = 300
_RETRY_SECONDS = 60
# Of another author or on another page it is another comment, whatever its text.
_MUST_MATCH = ("author", "permalink")
# And so is one that came by another protocol, of whose client this one knows nothing.
_CAME_BY = (AKISMET_ID, "feedback-")
_OLD_KEY = (
    "this API key is not valid; one that begins with mod_ is valid only with its capitals, which some clients change: "
    "make a new one with 'moderation add-site URL'"
)
_NOT_ALLOWED = "this route does not take the method"

SaidBy = Annotated[Said, Depends(read_said)]


class Text(PlainTextResponse):
    """A bare word, as it is compared."""


def answer_error(error: ServiceError) -> Response:
    """What clients are told that something is wrong by: the status, a sentence, and two headers that only errors have.

    A wrong key is no error of HTTP in this protocol but the answer ``invalid``.
    """
    if isinstance(error, Unauthorized):
        return Text("invalid", headers={"X-akismet-debug-help": _header(error.message)})
    code, message = ("method_not_allowed", _NOT_ALLOWED) if error.status == 405 else (error.code, error.message)
    headers = {"X-akismet-debug-help": _header(message), "X-akismet-error": code}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Text(message, error.status, headers)


DIALECT = Dialect(AKISMET, router, lambda path: path.startswith(_PATHS), answer_error)


# What routes say of themselves


def _text(meaning: str, *examples: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": list(examples)} if examples else {"type": "string"}
    return {"description": meaning, "content": {"text/plain": {"schema": schema}}}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    meanings = {
        400: "The Host header is not one that this service answers to.",
        413: "The body or the text is too long. Nothing was kept.",
        422: "The body is no form, no multipart and no JSON object, or a field cannot be read.",
        500: "A fault of the service. Nothing was kept.",
        503: "There is no model, or the database is away. Hold the comment and check it again.",
    }
    return {status: _text(meanings[status]) for status in statuses}


_FAILS = _errors(413, 422, 503)
_KEYS = {"api_key": {"type": "string", "description": "The site's key."}, "key": {"type": "string"}}
_BLOG = {"blog": {"type": "string", "description": "The site's address. The key alone decides which site it is."}}
_COMMENT: dict[str, Any] = {
    name: {"type": "string"} for name in ("comment_author", "comment_author_url", "comment_type", "permalink")
}
_COMMENT |= {
    "comment_content": {"type": "string", "description": "The text."},
    "comment_context[]": {"type": "array", "items": {"type": "string"}, "description": "Tags of the post."},
    "comment_parent": {"type": "string"},
    "comment_post_ID": {"type": "string"},
    "comment_date_gmt": {"type": "string"},
    "blog_lang": {"type": "string"},
    "user_id": {"type": "string"},
    "user_role": {"type": "string"},
    "is_test": {"type": "string"},
    "recheck_reason": {"type": "string"},
    "honeypot_field_name": {"type": "string"},
    "guid": {"type": "string", "description": "What X-akismet-guid said about it."},
}
_REPORT = _COMMENT | {"reporter": {"type": "string", "description": "Who says so."}}
_PERIOD = {name: {"type": "string"} for name in ("month", "filter", "format", "order", "limit", "offset")}


def _takes(fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": _KEYS | _BLOG | fields}
    kinds = ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")
    return {"requestBody": {"content": {kind: {"schema": schema} for kind in kinds}}}


def _asked(fields: dict[str, Any]) -> dict[str, Any]:
    schemas = {"api_key": _KEYS["api_key"]} | fields
    return {"parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]}


# Version 1.1


@router.post(
    "/1.1/verify-key",
    summary="Is this key valid?",
    response_class=Text,
    responses={200: _text("Whether it is.", "valid", "invalid"), **_FAILS},
    openapi_extra=_takes({}),
)
def verify_key(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: whether a key is one of a site of this service. Whatever `blog` says."""
    _find_site(parts, said, "key", "api_key")
    return Text("valid")


@router.post(
    "/1.1/comment-check",
    summary="Is this comment spam?",
    response_class=Text,
    responses={200: _text("Whether it is; `invalid` for a wrong key.", "true", "false", "invalid"), **_FAILS},
    openapi_extra=_takes(_COMMENT),
)
def check_comment(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: judge a comment. `X-akismet-guid` names it from then on; `X-akismet-pro-tip` marks blatant spam."""
    site = _find_site(parts, said)
    if said.is_always_ham or said.is_always_spam:
        return _verdict(secrets.token_hex(16), is_spam=not said.is_always_ham)
    comment = make_comment(said, comment_id=None, max_text_chars=parts.settings.max_text_chars)
    seen = None if comment is None or comment.do_not_store else _find_seen(parts, site, said, comment)
    guid = secrets.token_hex(16) if seen is None or seen.id is None else seen.id.removeprefix(AKISMET_ID)
    if comment is None:
        return _verdict(guid, is_spam=False)  # there is nothing that could be
    if seen is not None and _is_judged(parts, site, seen, comment):
        is_rejected = seen.status == "rejected"
        parts.store.akismet.answer(site, AKISMET_ID + guid, is_spam=is_rejected, by_decision=False)
        return _verdict(guid, is_spam=is_rejected)
    live = parts.live_model.current(site.url)
    if live.bundle is None:
        # Clients of this protocol hold what is not answered and send it again; kept, it would wait here twice.
        return _fault("there is no model to judge comments; try again later", guid)
    if seen is not None and seen.status == "erased":
        comment = replace(comment, do_not_store=True)
    if not comment.do_not_store:  # which nobody asks for again
        comment = replace(comment, id=AKISMET_ID + guid)
    policy = _policy(parts, site)

    def tells_spam(decision: Decision) -> bool | None:
        return None if is_by_fault(decision) else is_spam(decision, hostile_counts=_hostile_counts(policy))

    stored = parts.workflow.submit(site, comment, handles=said.handles, retries_faults=True, tells_spam=tells_spam)
    decision, found = stored.decision, tells_spam(stored.decision)
    if found is None:
        return _fault("the comment could not be judged, so a person has to; hold it", guid)
    # People have judged a text that is no longer kept: what they said stands.
    is_verdict = stored.seen and stored.status != STATUS_AFTER[decision.action] and stored.status != "held"
    found = stored.status == "rejected" if is_verdict else found
    if stored.seen and stored.id is not None:
        parts.store.akismet.answer(site, stored.id, is_spam=found, by_decision=not is_verdict)
    is_blatant = found and policy is not None and policy.may_reject_by("spam", comment, decision)
    return _verdict(guid, is_spam=found, is_blatant=is_blatant)


@router.post(
    "/1.1/submit-spam",
    summary="Say that a comment is spam",
    response_class=Text,
    responses={200: _text("Noted; `invalid` for a wrong key.", THANKS, "invalid"), **_FAILS},
    openapi_extra=_takes(_REPORT),
)
def submit_spam(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: somebody of the site says that a comment is spam. That is a verdict, and rejects it."""
    return _hear(said, parts, Judgement("reject", ("spam",)))


@router.post(
    "/1.1/submit-ham",
    summary="Say that a comment is not spam",
    response_class=Text,
    responses={200: _text("Noted; `invalid` for a wrong key.", THANKS, "invalid"), **_FAILS},
    openapi_extra=_takes(_REPORT),
)
def submit_ham(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: somebody of the site says that a comment is not spam. That is a verdict, and publishes it."""
    return _hear(said, parts, Judgement("approve", cleared=("spam",)))


# What the plugin of WordPress asks beside that


def _account(summary: str, meaning: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "response_class": Text,
        "responses": {200: _either(meaning), **_FAILS},
        "openapi_extra": _takes({"from": {"type": "string"}} if "counted" in meaning else {}),
    }


def _either(meaning: str, *, csv: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    content |= {"text/plain": {"schema": {"type": "string", "enum": ["invalid"]}}}
    content |= {"text/csv": {"schema": {"type": "string"}}} if csv else {}
    return {"description": f"{meaning} `invalid` for a wrong key.", "content": content}


@router.post("/1.1/get-subscription", **_account("Read the account", "An account that is active and has no end."))
def read_subscription(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: asked when a key is entered in WordPress."""
    return JSONResponse(subscription(_find_site(parts, said, "key", "api_key")))


@router.post("/1.1/verify-wpcom-key", **_account("Read the account of a key", "An account that is active."))
def read_wpcom_subscription(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: the same, asked by Jetpack. Accounts of other services are not known here, so a key is needed."""
    return JSONResponse(subscription(_find_site(parts, said)))


@router.post("/1.1/get-stats", **_account("Read figures", "What was counted."))
def read_stats(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: how much spam there was in `60-days`, `6-months` or `all` (at most ten years), by month."""
    site = _find_site(parts, said, "key", "api_key")
    return JSONResponse(stats(said, parts.store, site))


@router.post(
    "/1.1/deactivate",
    summary="Say goodbye",
    response_class=Text,
    responses={200: _text("Noted.", "deactivated", "invalid"), **_FAILS},
    openapi_extra=_takes({}),
)
def deactivate(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: the plugin was switched off. The key stays valid, so that it can be switched on again."""
    _find_site(parts, said, "key", "api_key")
    return Text("deactivated")


@router.post(
    "/1.1/token",
    summary="Get a token for pages elsewhere",
    response_class=Text,
    responses={200: _text("There are no such pages.", "none", "invalid"), **_FAILS},
    openapi_extra=_takes({}),
)
def read_token(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: the plugin shows it to a page of akismet.com, so it opens nothing."""
    _find_site(parts, said)
    return Text("none")


# Version 1.2


@router.get(
    "/1.2/usage-limit",
    summary="How much was checked this month?",
    response_class=Text,
    responses={200: _either("A limit that does not exist."), **_errors(413, 422, 503)},
    openapi_extra=_asked({"extended": {"type": "string"}}),
)
def read_usage(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: comments that were checked this month, in JSON; there is no limit to them."""
    return JSONResponse(usage_limit(said, parts.store, _find_site(parts, said)))


@router.post(
    "/1.2/usage-limit",
    summary="How much was checked this month?",
    response_class=Text,
    responses={200: _either("A limit that does not exist."), **_FAILS},
    openapi_extra=_takes({"extended": {"type": "string"}}),
)
def read_usage_by_post(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: the same, with the key in the body."""
    return read_usage(said, parts)


@router.get(
    "/1.2/key-sites",
    summary="How much was checked for which site?",
    response_class=Text,
    responses={200: _either("The site of the key.", csv=True), **_FAILS},
    openapi_extra=_asked(_PERIOD),
)
def read_sites(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: figures of a month, in JSON or, with `format=csv`, as CSV. A key is of one site."""
    site = _find_site(parts, said)
    found = key_sites(said, parts.store, site)
    if said.get("format").lower() == "csv":
        return Response(write_csv(found, _key(said)[:PREFIX_CHARS] + "..."), media_type="text/csv")
    return JSONResponse(found)


@router.post(
    "/1.2/key-sites",
    summary="How much was checked for which site?",
    response_class=Text,
    responses={200: _either("The site of the key.", csv=True), **_FAILS},
    openapi_extra=_takes(_PERIOD),
)
def read_sites_by_post(said: SaidBy, parts: PartsOf) -> Response:
    """Akismet: the same, with the key in the body."""
    return read_sites(said, parts)


# How it is done


def _key(said: Said, *names: str) -> str:
    return said.get(*(names or ("api_key", "key"))) or said.host_key


def _find_site(parts: Parts, said: Said, *names: str) -> Site:
    """The site of the key, which stands in a field of these names or before the host. Raises ``Unauthorized``."""
    key = _key(said, *names)
    if not key:
        raise Unauthorized("send the site's API key as api_key, or as the first part of the host name")
    if not is_old_key(key):
        return find_site_of_key(parts.store, key.lower())
    try:
        return find_site_of_key(parts.store, key)
    except Unauthorized:
        raise Unauthorized(_OLD_KEY) from None


def _find_seen(parts: Parts, site: Site, said: Said, comment: Comment) -> Stored | None:
    """The comment that is checked once more, by its guid or else its text; ``None`` where it is a new one.

    One that could not be judged before is known again without a word about it, if it says whose it is and where.
    """
    stored = None if said.guid is None else _find_comment(parts, site, AKISMET_ID + said.guid)
    if stored is not None:
        return stored
    is_again, handles = bool(said.get("recheck_reason")), said.handles
    if not is_again and not handles.keys() >= set(_MUST_MATCH):
        return None
    known = parts.feedback.find(site, comment, handles, must_match=_MUST_MATCH, came_by=_CAME_BY)
    if known is None or not known.startswith(AKISMET_ID):
        return None
    stored = _find_comment(parts, site, known)
    return stored if stored is not None and (is_again or is_by_fault(stored.decision)) else None


def _is_judged(parts: Parts, site: Site, seen: Stored, comment: Comment) -> bool:
    """Whether people have said of that text what is to become of it, whatever stands beside it now."""
    if seen.id is None or not parts.feedback.knows(site, replace(comment, id=seen.id)):
        return False
    return is_judged(seen, parts.moderation.verdicts(site, seen.id))


def _find_comment(parts: Parts, site: Site, comment_id: str) -> Stored | None:
    return parts.store.find_comments(site, [comment_id]).get(comment_id)


def _hear(said: Said, parts: Parts, judgement: Judgement) -> Response:
    site = _find_site(parts, said)
    comment_id = None if said.guid is None else AKISMET_ID + said.guid
    comment = make_comment(said, comment_id=comment_id, max_text_chars=parts.settings.max_text_chars)
    if said.is_test:
        return Text(THANKS)
    if comment is None and comment_id is not None and parts.store.find_comments(site, [comment_id]):
        comment = Comment("-", id=comment_id)  # by its id it is found, so its text is not needed
    if comment is None:
        return Text(THANKS)
    reporter = said.get("reporter")[:_MAX_REPORTER_CHARS]
    judge = Judge(_SITE if reporter in ("", _SITE) else f"{ELSEWHERE}{reporter}", AKISMET)
    with suppress(CommentErased):  # of which nothing is left that could be spoken of
        parts.feedback.give(
            site, comment, judge, judgement, handles=said.handles, must_match=_MUST_MATCH, came_by=_CAME_BY
        )
    return Text(THANKS)


def _verdict(guid: str, *, is_spam: bool, is_blatant: bool = False) -> Response:
    headers = {"X-akismet-guid": guid} | ({"X-akismet-pro-tip": "discard"} if is_blatant else {})
    return Text("true" if is_spam else "false", headers=headers)


def _fault(message: str, guid: str) -> Response:
    error = ServiceError(message)
    error.status, error.code, error.retry_after_seconds = 503, "unavailable", _RETRY_SECONDS
    answer = answer_error(error)
    answer.headers["X-akismet-guid"] = guid
    return answer


def _policy(parts: Parts, site: Site) -> Policy | None:
    live = parts.live_model.current(site.url)
    return live.readable_policy(site.policy_digest, parts.store.policy_toml, site.url)


def _hostile_counts(policy: Policy | None) -> bool:
    return policy is not None and policy.settings.rules.hostile_counts_as_spam


def _header(text: str) -> str:
    """A sentence as a header can carry it."""
    return text.encode("ascii", "replace").decode()[:_MAX_HEADER_CHARS].replace("\r", " ").replace("\n", " ")
