"""Posts: all comments of one in the order in which readers see them, and which posts there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from service.api import PartsOf
from service.review.judging import Row, last_verdict
from service.review.shell import Section, ShellOf, SignedIn
from service.statuses import Status
from service.store import Brief

SECTION = Section("posts", "Posts", "/review/posts")

_POSTS = 50
_COMMENTS = 300
_MOST_DEEP = 4

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Threaded:
    """A comment in its thread: how deep, and whether it answers one that is not on this page."""

    brief: Brief
    depth: int
    is_orphan: bool


@router.get("/review/posts")
def list_posts(
    request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, before: Row | None = None
) -> Response:
    """Posts with the numbers of their comments, the newest first."""
    found = parts.store.reading.posts(viewer.shown, before=before, limit=_POSTS + 1)
    page = found[:_POSTS]
    older = page[-1].row if len(found) > _POSTS else None
    return shell.render(request, "posts.html", viewer, posts=page, older=older)


@router.get("/review/posts/{row}")
def show_post(
    request: Request,
    row: Row,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    status: Annotated[Status | None, Query()] = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    """The comments of a post, each under the one that it answers."""
    post = parts.store.reading.post(viewer.sites, row)
    found = parts.store.reading.of_post(row, status=status, after=after, limit=_COMMENTS + 1)
    page = found[:_COMMENTS]
    site = next(each for each in viewer.sites if each.url == post.site)
    return shell.render(
        request,
        "post.html",
        viewer,
        post=post,
        thread=arrange(page),
        wanted=status,
        later=page[-1].row if len(found) > _COMMENTS else None,
        site=site,
        may_decide=viewer.may("decide", site),
        back=f"status={status}" if status else "",
        did=last_verdict(request),
    )


def arrange(comments: Sequence[Brief]) -> list[Threaded]:
    """Comments in the order in which readers see them: each before its answers, answers in the order they came."""
    ids = {each.id for each in comments if each.id is not None}
    answers: dict[str | None, list[Brief]] = {}
    for each in comments:
        is_root = each.parent_id is None or each.parent_id not in ids or each.parent_id == each.id
        answers.setdefault(None if is_root else each.parent_id, []).append(each)
    arranged: list[Threaded] = []
    seen: set[int] = set()
    # A stack and not recursion: a site may nest as deep as it likes.
    waiting = [(each, 0) for each in reversed(answers.get(None, []))]
    while True:
        while waiting:
            each, depth = waiting.pop()
            if each.row in seen:
                continue
            seen.add(each.row)
            is_orphan = each.parent_id is not None and depth == 0
            arranged.append(Threaded(each, min(depth, _MOST_DEEP), is_orphan))
            if each.id is not None:
                waiting += [(answer, depth + 1) for answer in reversed(answers.get(each.id, []))]
        # Comments that answer each other in a circle have no first one: begin with the oldest.
        left = next((each for each in comments if each.row not in seen), None)
        if left is None:
            return arranged
        waiting = [(left, 0)]
