"""The queue: what waits for a person, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from service.api import PartsOf
from service.review.shell import Section, ShellOf, SignedIn
from service.statuses import Sort
from service.store import QueueFilter

SECTION = Section("queue", "Queue", "/review/")

_PAGE = 25

router = APIRouter(include_in_schema=False)


@router.get("/review")
def go_to_queue(request: Request, shell: ShellOf) -> Response:
    """The address without the slash at its end."""
    return shell.redirect(request, "/review/")


@router.get("/review/")
def show_queue(
    request: Request,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    sort: Sort = "urgency",
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """A page of what waits on the sites shown."""
    page = parts.moderation.queue(viewer.shown, QueueFilter(), sort=sort, limit=_PAGE, after=after)
    waiting = parts.store.queue.count(viewer.shown)
    return shell.render(
        request, "queue.html", viewer, entries=page.entries, cursor=page.cursor, sort=sort, waiting=waiting
    )
