"""Verdicts, undo and claims from pages: forms for browsers without JavaScript, JSON for the script of the queue.

A form goes back to where it came from; the script says that it takes JSON and hears what happened, conflicts too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.datastructures import FormData

from service.api import Parts, PartsOf
from service.errors import EntryTaken, InvalidRequest, ServiceError, TextChanged, VerdictStands, error_body
from service.review.shell import Form, Shell, ShellOf, SignedIn, Viewer, field
from service.statuses import REVIEW
from service.store import Judge, Judgement, Place, Site, Target, Verdict

router = APIRouter(include_in_schema=False)

MAX_NOTE_CHARS = 2000

JUDGEMENTS: Mapping[str, Judgement] = {
    "approve": Judgement("approve", score_shown=True),
    "reject": Judgement("reject", score_shown=True),
    "off_topic": Judgement("reject", ("off_topic",), score_shown=True),
    "spam": Judgement("reject", ("spam",), score_shown=True),
    "hostile": Judgement("reject", ("hostile",), score_shown=True),
}

SAID: Mapping[str, str] = {
    "approve": "Approved",
    "reject": "Rejected",
    "off_topic": "Rejected as off topic",
    "spam": "Rejected as spam",
    "hostile": "Rejected as hostile",
}

# What a page's address may hold; a form that comes back with more has not come from one of our pages.
_QUERY = frozenset(
    {"site", "sort", "post", "category", "reason", "author", "lang", "since", "until", "text", "after", "status"}
)
_VERDICT = re.compile(r"v_[\w-]{1,40}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

Row = Annotated[int, Field(ge=1, lt=2**63)]


def site_of(viewer: Viewer, place: Place) -> Site:
    """The site of a comment, which is one of theirs."""
    return next(site for site in viewer.sites if site.url == place.site)


def wants_json(request: Request) -> bool:
    """Whether a script asks, which shows the outcome itself."""
    return "application/json" in request.headers.get("accept", "")


def read_back(form: FormData) -> dict[str, str]:
    """The query of the page that a form stands on, to go back to the same list."""
    return {name: value for name, value in parse_qsl(field(form, "back")[:2000]) if name in _QUERY}


def last_verdict(request: Request) -> dict[str, str] | None:
    """What was just done, as the address says it after a form: the words, the verdict and its site, for an undo."""
    did, verdict, of = (request.query_params.get(name, "") for name in ("did", "verdict", "of"))
    if did == "undo":
        return {"said": "Taken back", "verdict": "", "of": ""}
    if did not in SAID or not _VERDICT.fullmatch(verdict) or not (of.isascii() and of.isdecimal()):
        return None
    many = request.query_params.get("many", "")
    count = f" ({many} comments)" if many.isascii() and many.isdecimal() and len(many) < 7 and many != "1" else ""
    return {"said": SAID[did] + count, "verdict": verdict, "of": of}


def read_digest(text: str | None) -> str | None:
    """A digest as it may stand in an address or a form."""
    return text if text is not None and _DIGEST.fullmatch(text) else None


@router.post("/review/queue/{entry}/verdict")
def judge_entry(request: Request, entry: Row, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """A verdict on an entry of the queue, and on all of its campaign where the form says ``together``."""
    place = parts.store.reading.place_of_entry(viewer.sites, entry)
    target = Target(_required_digest(form), entry=entry)

    def decide(site: Site, judge: Judge, judgement: Judgement) -> list[Verdict]:
        if field(form, "together"):
            return parts.moderation.decide_campaign(site, judge, judgement, target, _read_rows(form, "seen"))
        return [parts.moderation.decide(site, judge, judgement, target)]

    return _judge(request, shell, viewer, parts, form, place, decide, "/review/", {"entry": entry})


@router.post("/review/comments/{row}/verdict")
def judge_comment(request: Request, row: Row, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """A verdict on a comment from its own page or from that of its post; it counts whoever holds the entry."""
    place = parts.store.reading.place(viewer.sites, row)
    if place.id is None and place.entry is None:
        raise InvalidRequest("this comment has no id on its site, so it can only be judged while it waits")
    # Without an id the entry has to name it.
    target = Target(_required_digest(form), place.id, place.entry if place.id is None else None)

    def decide(site: Site, judge: Judge, judgement: Judgement) -> list[Verdict]:
        return [parts.moderation.decide(site, judge, judgement, target)]

    path = f"/review/comments/{row}"
    if (post := field(form, "post_page")).isdecimal() and post.isascii() and len(post) < 18:
        path = f"/review/posts/{post}"
    return _judge(request, shell, viewer, parts, form, place, decide, path, {})


def _judge(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    parts: Parts,
    form: FormData,
    place: Place,
    decide: Callable[[Site, Judge, Judgement], list[Verdict]],
    path: str,
    again: Mapping[str, Any],
) -> Response:
    site = site_of(viewer, place)
    viewer.require("decide", site)
    name = field(form, "judgement")
    if name not in JUDGEMENTS:
        raise InvalidRequest(f"there is no such verdict; there are {', '.join(JUDGEMENTS)}")
    plain = JUDGEMENTS[name]
    note = field(form, "note").strip().replace("\0", "\ufffd")[:MAX_NOTE_CHARS] or None
    # A second look is shown without scores; the form says which page it was.
    score_shown = plain.score_shown and not field(form, "blind")
    judgement = Judgement(plain.action, plain.categories, note, score_shown)
    judge = Judge(viewer.moderator.name, REVIEW, viewer.moderator.row)
    back = read_back(form)
    try:
        given = decide(site, judge, judgement)
    except (EntryTaken, TextChanged) as error:
        if wants_json(request):
            return _tell(parts, viewer, place, error)
        if isinstance(error, EntryTaken) or path != "/review/":
            raise
        # The page shows the new text, and what has changed since the one that was read.
        return shell.redirect(request, path, **back, **again, read=_required_digest(form))
    if wants_json(request):
        content = {"verdict": given[0].id, "site": site.row, "count": len(given), "said": SAID[name]}
        return JSONResponse(content)
    did = {"did": name, "verdict": given[0].id, "of": site.row, "many": len(given)}
    return shell.redirect(request, path, **back, **did)


@router.post("/review/verdicts/{verdict_id}/undo")
def undo(request: Request, verdict_id: str, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Take back a verdict and those given together with it."""
    row = field(form, "of")
    site = viewer.find_site(int(row) if row.isascii() and row.isdecimal() and len(row) < 18 else 0)
    viewer.require("decide", site)
    try:
        undone = parts.moderation.undo(site, verdict_id, viewer.moderator.name)
    except VerdictStands as error:
        if wants_json(request):
            return JSONResponse(error_body(error.code, error.message), error.status)
        raise
    if wants_json(request):
        return JSONResponse({"count": len(undone)})
    path = field(form, "page")
    known = re.fullmatch(r"/review/(?:comments/\d{1,18}|posts/\d{1,18})?", path, re.ASCII)
    return shell.redirect(request, path if known else "/review/", **read_back(form), did="undo")


@router.post("/review/queue/{entry}/claim")
def claim(entry: Row, viewer: SignedIn, parts: PartsOf) -> Response:
    """Hold an entry for whoever looks at it, so that nobody else decides it meanwhile."""
    place = parts.store.reading.place_of_entry(viewer.sites, entry)
    viewer.require("decide", site_of(viewer, place))
    try:
        held = parts.store.queue.claim(viewer.sites, entry, viewer.moderator.row)
    except EntryTaken as error:
        return _tell(parts, viewer, place, error)
    return JSONResponse({"digest": held.stored.decision.digest})


@router.post("/review/queue/{entry}/release")
def release(entry: Row, viewer: SignedIn, parts: PartsOf) -> Response:
    """Give an entry back that one has left undecided."""
    place = parts.store.reading.place_of_entry(viewer.sites, entry)
    viewer.require("decide", site_of(viewer, place))
    return JSONResponse({"released": parts.store.queue.release(entry, viewer.moderator.row)})


def _tell(parts: Parts, viewer: Viewer, place: Place, error: ServiceError) -> Response:
    """A conflict as the script hears it: what it is, and who holds the entry where somebody does."""
    holder = None
    if place.entry is not None and error.code == EntryTaken.code:
        try:
            holder = parts.store.queue.find(viewer.sites, place.entry).claimed_by
        except ServiceError:
            holder = None  # decided just now
    content = error_body(error.code, error.message)
    return JSONResponse(content | {"holder": holder}, error.status)


def _read_rows(form: FormData, name: str) -> list[int]:
    """Rows in one field of a form, separated by blanks."""
    return [int(row) for row in field(form, name).split() if row.isascii() and row.isdecimal() and len(row) < 19]


def _required_digest(form: FormData) -> str:
    digest = read_digest(field(form, "digest"))
    if digest is None:
        detail = {"field": "digest", "message": "must be the digest of the text that was read"}
        raise InvalidRequest("the form does not say which text was read; load the page again", [detail])
    return digest
