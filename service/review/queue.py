"""The queue: what waits for a person, and why; one entry of it in full, with what is needed to judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import AwareDatetime

from service.api import Parts, PartsOf
from service.errors import EntryTaken, InvalidRequest, NotFound
from service.queue_news import MOST_FRESH, write_cursors
from service.review.evidence import Explanations, bars, compare, find_repeated, list_links, mark
from service.review.judging import Row, last_verdict, read_digest, site_of
from service.review.shell import Section, Shell, ShellOf, SignedIn, Viewer
from service.statuses import SECOND_LOOK, Sort
from service.store import QueueEntry, QueueFilter, QueuePage

SECTION = Section("queue", "Queue", "/review/")

_PAGE = 25
_MOST_MEMBERS = 50
_EXCERPT = 400
# An entry is dated a moment before it can be seen.
_COMMITTED = timedelta(seconds=2)

WHYS: Mapping[str, str] = {
    "held": "Held",
    "near_line": "Near the line",
    "reported": "Reported",
    "appealed": "Appealed",
    "audit": "Random audit",
    SECOND_LOOK: "Second look",
}

router = APIRouter(include_in_schema=False)

# When a page was made.
Shown = Annotated[AwareDatetime, Query(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(2200, 1, 1, tzinfo=UTC))]

_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, as it stands there; an empty field of the form is not asked."""

    post: str | None = None
    category: str | None = None
    reason: str | None = None
    author: str | None = None
    lang: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The fields that are asked, for addresses."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value}

    def to_filter(self) -> QueueFilter:
        """The filter of the store. Raises ``InvalidRequest`` for what is no date."""
        given: dict[str, Any] = dict(self.given)
        if "author" in given:
            given["who"] = given.pop("author")
        if "since" in given:
            given["since"] = _read_day("since", given["since"])
        if "until" in given:
            given["until"] = _read_day("until", given["until"]) + timedelta(days=1)
        return QueueFilter(**given)


def read_asked(
    post: _Text = None,
    category: _Text = None,
    reason: _Text = None,
    author: _Text = None,
    lang: _Text = None,
    since: _Text = None,
    until: _Text = None,
    text: _Text = None,
) -> Asked:
    """The filter in an address."""
    return Asked(post, category, reason, author, lang, since, until, text)


AskedOf = Annotated[Asked, Depends(read_asked)]


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
    asked: AskedOf,
    sort: Sort = "urgency",
    after: Annotated[str | None, Query(max_length=200)] = None,
    entry: Row | None = None,
    read: str | None = None,
) -> Response:
    """A page of what waits on the sites shown, with one entry of it in full: the one asked for, or the first."""
    wanted = asked.to_filter()
    # Before anything is read: what happens while it is comes as news.
    shown, cursors = parts.store.now() - _COMMITTED, parts.store.news.cursors(viewer.shown)
    page = parts.moderation.queue(viewer.shown, wanted, sort=sort, limit=_PAGE, after=after or None)
    focus, gone = _find_focus(parts, viewer, entry, page.entries)
    # What the page asks for, so that every link on it keeps it.
    query = asked.given | ({"sort": sort} if sort != "urgency" else {})
    waiting = parts.store.queue.count(viewer.shown)
    # Where the first page is empty there is nothing to count, and what searches texts would search them all again.
    is_none = not page.entries and not after
    found = 0 if is_none else parts.store.queue.count(viewer.shown, wanted) if asked.given else waiting
    chosen = {"site": viewer.site.row} if viewer.site else {}
    return shell.render(
        request,
        "queue.html",
        viewer,
        entries=page.entries,
        cursor=page.cursor,
        sort=sort,
        waiting=waiting,
        found=found,
        asked=asked,
        query=query,
        back=urlencode(chosen | query | ({"after": after} if after else {})),
        whys=WHYS,
        offers=parts.store.queue.offers(viewer.shown),
        gone=gone,
        did=last_verdict(request),
        is_fresh=False,
        news={"shown": shown.isoformat(), "after": write_cursors(cursors)},
        **(_describe(request, parts, viewer, focus, read) if focus else {"focus": None}),
        skip_to=_find_next(focus, page.entries),
    )


@router.get("/review/queue/rows")
def show_rows(
    request: Request,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    asked: AskedOf,
    after: Annotated[str, Query(max_length=200)],
    sort: Sort = "urgency",
) -> Response:
    """More rows of the list, for the script."""
    page = parts.moderation.queue(viewer.shown, asked.to_filter(), sort=sort, limit=_PAGE, after=after)
    return _show_rows(request, shell, viewer, asked, sort, page)


@router.get("/review/queue/fresh")
def show_fresh(
    request: Request,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    asked: AskedOf,
    shown: Shown,
    sort: Sort = "urgency",
) -> Response:
    """The rows of what has come in since a page of the queue was made, for the script, the newest first."""
    rows = parts.store.news.fresh(viewer.shown, asked.to_filter(), shown, limit=MOST_FRESH)
    entries = parts.store.queue.entries(rows[::-1])
    return _show_rows(request, shell, viewer, asked, sort, QueuePage(tuple(entries), None), is_fresh=True)


def _show_rows(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    asked: Asked,
    sort: Sort,
    page: QueuePage,
    *,
    is_fresh: bool = False,
) -> Response:
    query = asked.given | ({"sort": sort} if sort != "urgency" else {})
    return shell.render(
        request,
        "queue.html",
        viewer,
        fragment="rows",
        entries=page.entries,
        cursor=page.cursor,
        query=query,
        focus=None,
        is_fresh=is_fresh,
    )


@router.get("/review/queue/{entry}")
def show_entry(
    request: Request,
    entry: Row,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    read: str | None = None,
    back: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """One entry in full, for the script. Raises ``EntryTaken`` where it was decided."""
    found = parts.store.queue.find(viewer.sites, entry)
    values = _describe(request, parts, viewer, found, read)
    # The script knows what follows.
    values |= {"query": {}, "skip_to": 0}
    return shell.render(request, "queue.html", viewer, fragment="focused", back=back, **values)


@router.get("/review/queue/{entry}/words")
def show_words(request: Request, entry: Row, shell: ShellOf, viewer: SignedIn, parts: PartsOf) -> Response:
    """The text of an entry with the words that raised the score, and the facts: they may take a moment to find."""
    found = parts.store.queue.find(viewer.sites, entry)
    # Marks are what the machine has found, and a second look is at the text alone.
    explained = None if is_blind(found) else _explanations(request).explain(parts, found.stored.decision)
    values: dict[str, Any] = {"focus": found, "explained": explained, "is_explained": True, "blind": is_blind(found)}
    pieces = mark(found.text, explained.spans if explained else ())
    return shell.render(request, "queue.html", viewer, fragment="words", pieces=pieces, **values)


def _explanations(request: Request) -> Explanations:
    found: Explanations = request.app.state.explanations
    return found


def _find_focus(
    parts: Parts, viewer: Viewer, entry: int | None, entries: tuple[QueueEntry, ...]
) -> tuple[QueueEntry | None, bool]:
    """The entry to show in full, and whether the one asked for is gone."""
    if entry is None:
        # Two who come at once are each led to a comment that they can decide.
        now = parts.store.now()
        free = (each for each in entries if not _is_held_by_other(each, viewer, now))
        return next(free, entries[0] if entries else None), False
    on_page = next((each for each in entries if each.row == entry), None)
    if on_page is not None:
        return on_page, False
    try:
        return parts.store.queue.find(viewer.sites, entry), False
    except (EntryTaken, NotFound):
        return None, True


def is_blind(entry: QueueEntry) -> bool:
    """Whether an entry waits for a second look: then nothing of the first, nor of the machine, is shown."""
    return any(why.name == SECOND_LOOK for why in entry.whys)


def _find_next(focus: QueueEntry | None, entries: tuple[QueueEntry, ...]) -> int | None:
    """The entry that follows on the page, from the end the first one again; for whoever skips one."""
    rows = [each.row for each in entries]
    if focus is None or focus.row not in rows or len(rows) < 2:
        return None
    return rows[(rows.index(focus.row) + 1) % len(rows)]


def _describe(request: Request, parts: Parts, viewer: Viewer, entry: QueueEntry, read: str | None) -> dict[str, Any]:
    """Everything that the entry in focus shows."""
    decision = entry.stored.decision
    live = parts.live_model.pair_of(decision.bundle)
    place = parts.store.reading.place_of_entry(viewer.sites, entry.row)
    around = parts.store.reading.surroundings(viewer.sites, place.row)
    site = site_of(viewer, around.place)
    explanations, blind = _explanations(request), is_blind(entry)
    explained = None if blind else explanations.get(live, decision)
    wants_words = request.query_params.get("words") == "1" and not blind
    if explained is None and wants_words:
        explained = explanations.explain(parts, decision)
    members = parts.moderation.campaign(site, entry.row) if entry.campaign_count > 1 else []
    others = [each for each in members if each.row != entry.row]
    digest = read_digest(read)
    before = parts.store.reading.text_read(around.place.row, digest) if digest and digest != decision.digest else None
    post = around.post
    return {
        "focus": entry,
        "around": around,
        "site": site,
        "may_decide": viewer.may("decide", site),
        "holder": entry.claimed_by if _is_held_by_other(entry, viewer, parts.store.now()) else None,
        "explained": explained,
        "blind": blind,
        "is_mine": blind and parts.store.second_looks.has_judged(entry.row, viewer.moderator.name),
        "is_explained": explained is not None or wants_words or blind,
        "pieces": mark(entry.text, explained.spans if explained else ()),
        "bars": [] if blind else bars(live, parts, site, decision, post.tags if post else ()),
        "links": list_links(entry.text, entry.author_url),
        "repeated": [] if blind else find_repeated(parts, viewer.sites, place.row, decision),
        "members": others[:_MOST_MEMBERS],
        # A verdict on all of them is on those that were there: one that comes in later may say something else.
        "together": [each.row for each in others],
        "has_changed": digest is not None and digest != decision.digest,
        "changes": compare(before, entry.text) if before is not None else [],
        "excerpt": _shorten(post.text) if post else None,
        "parent": _shorten(around.parent_text),
    }


def _is_held_by_other(entry: QueueEntry, viewer: Viewer, now: datetime) -> bool:
    if entry.claimed_by is None or entry.claimed_until is None or entry.claimed_by == viewer.moderator.name:
        return False
    return entry.claimed_until > now


def _shorten(text: str | None) -> str | None:
    if text is None or len(text) <= _EXCERPT:
        return text
    return text[:_EXCERPT].rsplit(maxsplit=1)[0] + " …"


def _read_day(name: str, day: str) -> datetime:
    try:
        found = date.fromisoformat(day)
    except ValueError:
        found = date.min
    if not date(1970, 1, 1) <= found <= date(2199, 12, 31):
        detail = {"field": name, "message": "must be a date such as 2026-05-31"}
        raise InvalidRequest(f"{name} is not a date", [detail])
    return datetime(found.year, found.month, found.day, tzinfo=UTC)
