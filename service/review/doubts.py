"""Labels in doubt, as the last check has left them in the home, and the button that has them judged again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service.api import Parts, PartsOf
from service.errors import InvalidRequest, NotFound
from service.review.shell import Form, ShellOf, SignedIn, Viewer, field
from service.second_looks import LEAST_PEOPLE, Doubt, queue_doubts, read_findings

AMOUNTS = (10, 25, 50)

_SHOWN = 50

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ShownDoubt:
    """A label in doubt with the row of its comment (``None``: it has no id, or is not here) and how it stands.

    ``state`` is ``open`` where somebody can look at it again, ``waits`` where it is in the queue, else ``done``.
    """

    doubt: Doubt
    comment: int | None
    state: str


@router.post("/review/model/labels")
def look_again(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Put the most doubtful labels of the sites shown into the queue, for a second look."""
    sites = [site for site in viewer.configurable() if site in viewer.shown]
    asked = field(form, "most")
    if asked not in map(str, AMOUNTS):
        raise InvalidRequest(f"most must be one of {', '.join(map(str, AMOUNTS))}")
    findings = read_findings(parts.settings.home)
    doubts = findings.of({site.url for site in sites}) if findings is not None else ()
    opened = queue_doubts(parts.store, sites, doubts, int(asked), who=viewer.moderator.name)
    chosen = viewer.site.row if viewer.site is not None else None
    return shell.redirect(request, "/review/model", site=chosen, view="labels", done=f"queued-{opened}")


def read_doubts(viewer: Viewer, parts: Parts, done: str) -> dict[str, Any]:
    """What the last check has found on the sites shown whose settings are theirs to change."""
    sites = [site for site in viewer.configurable() if site in viewer.shown]
    findings = read_findings(parts.settings.home)
    queued = done.removeprefix("queued-")
    values: dict[str, Any] = {
        "findings": findings,
        "amounts": AMOUNTS,
        "queued": int(queued) if queued.isascii() and queued.isdecimal() else None,
        "alone": [site for site in sites if parts.store.second_looks.may_judge(site) < LEAST_PEOPLE],
    }
    if findings is None:
        return values
    doubts = findings.of({site.url for site in sites})
    shown = [each for doubt in doubts[:_SHOWN] if (each := _show(viewer, parts, doubt)) is not None]
    return values | {"doubts": shown, "doubts_total": len(doubts)}


def _show(viewer: Viewer, parts: Parts, doubt: Doubt) -> ShownDoubt | None:
    """Nothing of a comment that was erased since."""
    site = next(site for site in viewer.sites if site.url == doubt.site)
    place = None
    if doubt.id is not None:
        try:
            place = parts.store.reading.place_of_id([site], doubt.id)
        except NotFound:
            place = None
    if place is not None and place.status == "erased":
        return None
    state = "done"
    if place is not None and place.entry is not None:
        state = "waits"
    elif parts.store.second_looks.find(site, doubt.id, doubt.digest) is not None:
        state = "open"
    return ShownDoubt(doubt, None if place is None else place.row, state)
