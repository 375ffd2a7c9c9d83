"""A comment with all that happened to it: versions with their decisions, verdicts, statuses, appeals and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from moderation.comment import Decision
from service.api import Parts, PartsOf
from service.errors import NotFound
from service.review.evidence import Bar, Piece, bars, compare, find_repeated, list_links, mark
from service.review.evidence import Change as TextChange
from service.review.judging import Row, last_verdict, site_of
from service.review.shell import ShellOf, SignedIn
from service.store import Site, VersionRead, may_be_id

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ShownDecision:
    """A decision with its scores against the lines of its policy. ``at`` is ``None`` for one that is not kept."""

    decision: Decision
    at: datetime | None
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version with what changed in its text since the one before (empty: nothing, or it is not kept)."""

    version: VersionRead
    decisions: tuple[ShownDecision, ...]
    changes: tuple[TextChange, ...]
    pieces: tuple[Piece, ...]


@router.get("/review/comments")
def find_comment(
    request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, id: Annotated[str, Query(max_length=1000)]
) -> Response:
    """The page of the comment that a site calls so; an address that a site's own pages can make."""
    if not may_be_id(id):
        raise NotFound("there is no such comment on your sites")
    place = parts.store.reading.place_of_id(viewer.shown, id)
    return shell.redirect(request, f"/review/comments/{place.row}")


@router.get("/review/comments/{row}")
def show_comment(
    request: Request, row: Row, shell: ShellOf, viewer: SignedIn, parts: PartsOf, again: Annotated[str, Query()] = ""
) -> Response:
    """The history of a comment; with ``again`` also what the model and policy in force would decide now."""
    history = parts.store.reading.history(viewer.sites, row)
    around = parts.store.reading.surroundings(viewer.sites, row)
    site = site_of(viewer, history.place)
    tags = around.post.tags if around.post else ()
    versions = _show(parts, site, history.versions, tags)
    current = history.versions[-1]
    anew = None
    latest = current.decisions[-1][0] if current.decisions else None
    if again == "1" and latest is not None and latest.decision_id is not None:
        decided = parts.workflow.judge_again(site, latest.decision_id)
        live = parts.live_model.pair_of(decided.bundle)
        anew = ShownDecision(decided, None, tuple(bars(live, parts, site, decided, tags)))
    return shell.render(
        request,
        "comment.html",
        viewer,
        history=history,
        around=around,
        site=site,
        versions=tuple(reversed(versions)),
        current=current,
        anew=anew,
        # The text is not kept, or a neighbour was erased: it cannot be judged as it was.
        can_judge=latest is not None and current.text is not None,
        may_decide=viewer.may("decide", site) and history.place.status != "erased",
        links=list_links(current.text or "", current.author_url),
        repeated=[] if latest is None else find_repeated(parts, viewer.sites, row, latest),
        did=last_verdict(request),
        statuses={"model": "the model", "site": "the site", "author": "the author", "retention": "retention"},
    )


def _show(parts: Parts, site: Site, versions: Sequence[VersionRead], tags: Sequence[str]) -> list[ShownVersion]:
    pair_of = parts.live_model.pair_of
    shown = []
    before: str | None = None
    for version in versions:
        decided = tuple(
            ShownDecision(decision, at, tuple(bars(pair_of(decision.bundle), parts, site, decision, tags)))
            for decision, at in version.decisions
        )
        is_edit = before is not None and version.text is not None and before != version.text
        changes = compare(before or "", version.text or "") if is_edit else []
        shown.append(ShownVersion(version, decided, tuple(changes), tuple(mark(version.text or "", ()))))
        before = version.text
    return shown
