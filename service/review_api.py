"""The part of the native API that is about people: queue, verdicts, reports, appeals, changes, export, erasure."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import AwareDatetime, Field

from service import review_schemas, schemas
from service.api import KeySite, PartsOf, RequestBody, errors, takes
from service.errors import InvalidRequest
from service.exports import KINDS, NDJSON, ExportKind, export_lines, in_chunks
from service.statuses import ELSEWHERE, Sort
from service.store import CLAIM_SECONDS, MAX_PAGE, Judge, Judgement, QueueEntry, QueueFilter, Target

router = APIRouter()

MAX_CHANGES = 1000

# Who did something that no moderator of ours did.
_SITE = "site"
_SOURCE = "api"

_Wanted = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
# Databases know no moment far outside of these.
_Moment = Annotated[
    AwareDatetime | None, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC)), Query()
]


@router.get(
    "/v1/queue",
    tags=["review"],
    summary="What waits for a person",
    responses={200: {"model": review_schemas.QueueAnswer}, **errors(401, 422, 503)},
)
def read_queue(
    site: KeySite,
    parts: PartsOf,
    sort: Sort = "urgency",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    after: _Wanted = None,
    post: _Wanted = None,
    category: _Wanted = None,
    reason: _Wanted = None,
    author: _Wanted = None,
    lang: _Wanted = None,
    text: _Wanted = None,
    since: _Moment = None,
    until: _Moment = None,
) -> Response:
    """A page of the comments that wait, each with its reasons. Near-duplicates are one entry with a count.

    Second looks, which are for the review pages that hide the first verdict, are not among them.
    """
    wanted = QueueFilter(post, category, reason, author, lang, since, until, text, second_looks=False)
    page = parts.moderation.queue([site], wanted, sort=sort, limit=limit, after=after)
    return JSONResponse(
        {"entries": [review_schemas.write_entry(entry) for entry in page.entries], "cursor": page.cursor}
    )


@router.get(
    "/v1/queue/{entry}/campaign",
    tags=["review"],
    summary="The near-duplicates of an entry",
    responses={200: {"model": review_schemas.QueueAnswer}, **errors(401, 422, 503)},
)
def read_campaign(entry: Annotated[int, Field(ge=1, lt=2**63)], site: KeySite, parts: PartsOf) -> Response:
    """All entries that wait together with this one, itself included, oldest first, at most 200."""
    found = parts.moderation.campaign(site, entry)
    return JSONResponse({"entries": [review_schemas.write_entry(each) for each in found], "cursor": None})


@router.post(
    "/v1/queue/claims",
    tags=["review"],
    summary="Hold an entry of the queue",
    responses={
        200: {"model": review_schemas.ClaimAnswer, "description": "There is nothing that nobody else holds."},
        201: {"model": review_schemas.ClaimAnswer, "description": "It is held."},
        **errors(401, 404, 409, 413, 422, 503),
    },
    status_code=201,
    openapi_extra=takes("ClaimBody", {"moderator": "Ada", "seconds": 600}),
)
def claim(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """For sites with several moderators: while one holds an entry, nobody else gets it. Again, it is held longer."""
    said = schemas.read_body(review_schemas.ClaimBody, schemas.read_json(body))
    holder, seconds = _named(said.moderator), said.seconds or CLAIM_SECONDS
    if said.entry is not None:
        found: QueueEntry | None = parts.moderation.claim(site, said.entry, holder, seconds=seconds)
    else:
        sort = said.sort or "urgency"
        wanted = QueueFilter(second_looks=False)
        found = parts.moderation.claim_next(site, holder, wanted, sort=sort, seconds=seconds)
    content = {"entry": None if found is None else review_schemas.write_entry(found)}
    return JSONResponse(content, 200 if found is None else 201)


@router.delete(
    "/v1/queue/claims/{entry}",
    tags=["review"],
    summary="Give an entry back",
    responses={200: {"model": review_schemas.ReleaseAnswer}, **errors(401, 422, 503)},
)
def release(
    entry: Annotated[int, Field(ge=1, lt=2**63)], site: KeySite, parts: PartsOf, moderator: _Wanted = None
) -> Response:
    """Before its time is up. Only what this moderator holds; twice is no error."""
    return JSONResponse({"released": parts.moderation.release(site, entry, _named(moderator))})


@router.post(
    "/v1/verdicts",
    tags=["review"],
    summary="Give a verdict",
    responses={
        200: {"model": review_schemas.VerdictsAnswer, "description": "Given before: nothing was written."},
        201: {"model": review_schemas.VerdictsAnswer, "description": "The status follows the verdict."},
        **errors(401, 404, 409, 410, 413, 422, 503),
    },
    status_code=201,
    openapi_extra=takes("VerdictBody", {"comment_id": "comment-17", "digest": "...", "action": "approve"}),
)
def give_verdict(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """For sites with a moderation page of their own. Approve publishes, reject rejects, whatever the model said."""
    said = schemas.read_body(review_schemas.VerdictBody, schemas.read_json(body))
    target = _read_target(said)
    judge = Judge(_named(said.moderator), _SOURCE)
    # In one order, so that the same verdict is known again.
    categories = tuple(sorted(set(said.categories or ())))
    judgement = Judgement(said.action, categories, said.note, said.score_shown)
    if said.whole_campaign:
        given = parts.moderation.decide_campaign(site, judge, judgement, target, said.entries)
    else:
        given = [parts.moderation.decide(site, judge, judgement, target)]
    status = 200 if all(verdict.seen for verdict in given) else 201
    return JSONResponse({"verdicts": [review_schemas.write_verdict(verdict) for verdict in given]}, status)


@router.post(
    "/v1/verdicts/{verdict_id}/undo",
    tags=["review"],
    summary="Take a verdict back",
    responses={200: {"model": review_schemas.VerdictsAnswer}, **errors(401, 404, 409, 413, 422, 503)},
    openapi_extra=takes("UndoBody", {"moderator": "Ada"}, required=False),
)
def undo_verdict(verdict_id: str, site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """The status before comes back, also for the verdicts that were given together with it. Twice is no error."""
    said = schemas.read_body(review_schemas.UndoBody, schemas.read_json(body or b"{}"))
    undone = parts.moderation.undo(site, verdict_id, _named(said.moderator))
    return JSONResponse({"verdicts": [review_schemas.write_verdict(verdict) for verdict in undone]})


@router.post(
    "/v1/reports",
    tags=["review"],
    summary="A reader reports a comment",
    responses={
        200: {"model": review_schemas.ReportAnswer, "description": "This reader has reported it before."},
        201: {"model": review_schemas.ReportAnswer, "description": "Noted."},
        **errors(401, 404, 410, 413, 422, 503),
    },
    status_code=201,
    openapi_extra=takes("ReportBody", {"comment_id": "comment-17", "reporter": "reader-9", "category": "hostile"}),
)
def report(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """A published comment that is reported waits for a person. Each reader counts once."""
    said = schemas.read_body(review_schemas.ReportBody, schemas.read_json(body))
    count, is_new = parts.moderation.report(site, said.comment_id, said.reporter, said.category)
    return JSONResponse({"comment_id": said.comment_id, "reports": count}, 201 if is_new else 200)


@router.post(
    "/v1/appeals",
    tags=["review"],
    summary="An author appeals",
    responses={
        200: {"model": review_schemas.AppealAnswer, "description": "Appealed before: that appeal as it stands."},
        201: {"model": review_schemas.AppealAnswer, "description": "The comment waits for a person."},
        **errors(401, 404, 409, 410, 413, 422, 503),
    },
    status_code=201,
    openapi_extra=takes("AppealBody", {"comment_id": "comment-17", "text": "It was meant as a joke."}),
)
def appeal(site: KeySite, body: RequestBody, parts: PartsOf) -> Response:
    """Ask for another look at a rejected comment, once per version of its text."""
    said = schemas.read_body(review_schemas.AppealBody, schemas.read_json(body))
    found = parts.moderation.appeal(site, said.comment_id, said.text)
    return JSONResponse(review_schemas.write_appeal(found), 200 if found.seen else 201)


@router.get(
    "/v1/appeals/{appeal_id}",
    tags=["review"],
    summary="Read an appeal's outcome",
    responses={200: {"model": review_schemas.AppealAnswer}, **errors(401, 404, 503)},
)
def read_appeal(appeal_id: str, site: KeySite, parts: PartsOf) -> Response:
    """What became of an appeal: `upheld`, `overturned`, or null while it waits."""
    return JSONResponse(review_schemas.write_appeal(parts.moderation.find_appeal(site, appeal_id)))


@router.get(
    "/v1/changes",
    tags=["review"],
    summary="Poll changes of status",
    responses={200: {"model": review_schemas.ChangesAnswer}, **errors(401, 422, 503)},
)
def read_changes(
    site: KeySite,
    parts: PartsOf,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_CHANGES)] = 100,
) -> Response:
    """Every change of status on your site after a cursor, in order. Keep the cursor: none is missed or repeated."""
    found = parts.moderation.changes(site, after, limit + 1)
    changes = found[:limit]
    content: dict[str, Any] = {"changes": [review_schemas.write_change(change) for change in changes]}
    content |= {"cursor": changes[-1].cursor if changes else after, "more": len(found) > limit}
    return JSONResponse(content)


@router.get(
    "/v1/export",
    tags=["review"],
    summary="Take along everything that is kept",
    responses={
        200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "A line of JSON for each row."},
        **errors(401, 422, 503),
    },
    response_class=StreamingResponse,
)
def export(
    site: KeySite, parts: PartsOf, kind: Annotated[list[ExportKind], Query(min_length=1, max_length=len(KINDS))]
) -> StreamingResponse:
    """Every row of one or several kinds that your site has, the oldest first: the log, or what it is about."""
    chunks = in_chunks(export_lines(parts.store, site, set(kind)))
    first = next(chunks, "")  # a database that is away is found out while there can still be another answer
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(chain((first,), chunks), media_type=NDJSON, headers=headers)


@router.delete(
    "/v1/authors/{author_id:path}",
    tags=["comments"],
    summary="Erase an author",
    responses={200: {"model": review_schemas.ErasedAnswer}, **errors(401, 503)},
)
def erase_author(author_id: str, site: KeySite, parts: PartsOf) -> Response:
    """Erase every comment that an author wrote here, and what they said in appeals, for good."""
    erased = parts.moderation.erase_author(site, author_id)
    parts.kept_labels.settle()
    return JSONResponse({"erased": erased})


def _named(moderator: str | None) -> str:
    """How the logs name somebody who moderates on a page of the site's own: never as one of our moderators."""
    return _SITE if moderator in (None, _SITE) else f"{ELSEWHERE}{moderator}"


def _read_target(said: review_schemas.VerdictBody) -> Target:
    if (said.comment_id is None) == (said.entry is None):
        detail = {"field": "comment_id", "message": "is needed, or entry instead of it"}
        raise InvalidRequest("name the comment by comment_id or by entry, and not by both", [detail])
    if said.whole_campaign and said.entry is None:
        detail = {"field": "entry", "message": "is needed for a whole campaign"}
        raise InvalidRequest("a whole campaign is named by its entry in the queue", [detail])
    if said.entries is not None and not said.whole_campaign:
        detail = {"field": "entries", "message": "needs whole_campaign"}
        raise InvalidRequest("entries says which of a whole campaign were read; set whole_campaign as well", [detail])
    return Target(said.digest, said.comment_id, said.entry)
