"""Batches: what waits as dots on the axis of scores, and a verdict on everything within a range, with one undo."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from moderation.categories import CATEGORIES, CODES
from service.api import Parts, PartsOf
from service.errors import CommentErased, EntryTaken, InvalidRequest, NotFound, ServiceError, TextChanged
from service.review.shell import Form, Section, Shell, ShellOf, SignedIn, Viewer, field, is_htmx
from service.statuses import REVIEW
from service.store import BINS, MOST_TOGETHER, Judge, Judgement, QueueEntry, Site, Target, Verdict, Waiting

SECTION = Section("batch", "Batch", "/review/batch")

_PAGE = 50
_HEIGHT = 160  # pixels of the highest column
_ROWS = 20  # dots in the highest column where they stand for several
# How many dots the highest column has at most, and how they look then: a class of batch.css, ever smaller.
_DOTS = ((10, "few"), (_ROWS, "some"), (40, "many"), (60, "most"))
_DIGITS = 32  # of the digest's digits that a form names; with fewer an author could make two texts that share them
_TARGETS = re.compile(rf"[0-9]{{1,18}}\.[0-9a-f]{{{_DIGITS}}}")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Range:
    """A category and two whole percents: scores from ``low`` up to ``high``."""

    category: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Column:
    """The dots of one percent: how many comments, how many dots they are, and the path that draws these."""

    percent: int
    count: int
    dots: int
    path: str

    @property
    def tenth(self) -> int:
        """The tenth of the scores that it lies in, as the percent where that begins."""
        return self.percent // 10 * 10


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A comment that could not be judged, and why."""

    entry: QueueEntry | None
    why: str


@router.get("/review/batch")
def show_batch(
    request: Request,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    category: Annotated[str, Query(max_length=40)] = "",
    low: Annotated[int, Query(ge=0, le=BINS)] = 0,
    high: Annotated[int, Query(ge=0, le=BINS)] = 0,
) -> Response:
    """The dots, and what is within the range."""
    chosen = Range(category, min(low, high), max(low, high))
    return _show(request, shell, viewer, parts, chosen)


@router.post("/review/batch")
def judge_batch(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Judge everything that was within the range and is still ticked; or, with ``do=more``, list more of it."""
    chosen, targets, included = _read_form(form)
    do = field(form, "do")
    if do == "more":
        # A form can name any row; what is on a site of somebody else is not shown.
        known = parts.store.batches.find(_sites(viewer), list(targets))
        targets = {row: digest for row, digest in targets.items() if row in known}
        included &= known.keys()
        shown = min(len(targets), _read_number(form, "shown", most=MOST_TOGETHER) + _PAGE)
        return _show(request, shell, viewer, parts, chosen, targets=targets, included=included, shown=shown)
    if do not in ("approve", "reject"):
        raise InvalidRequest("choose whether to approve or to reject")
    named = field(form, "as")
    if do == "reject" and named not in CODES:
        raise InvalidRequest("choose the category for which these comments are rejected")
    wanted = {row: digest for row, digest in targets.items() if row in included}
    if not wanted:
        raise InvalidRequest("no comment is ticked, so nothing was changed; tick at least one")
    judgement = Judgement("approve", (), None, score_shown=True)
    if do == "reject":
        judgement = Judgement("reject", (named,), None, score_shown=True)
    given, left_out = _judge(viewer, parts, judgement, wanted)
    undo = {verdict.together: (site.row, verdict.id) for site, verdict in given if not verdict.seen}
    done = {
        "action": do,
        "category": named if do == "reject" else None,
        "count": len(given),
        "left_out": left_out,
        "undo": list(undo.values()),
    }
    return _show(request, shell, viewer, parts, chosen, done=done)


@router.post("/review/batch/undo")
def undo_batch(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Take back what was judged together, on each of the sites."""
    chosen = _read_range(form)
    count, stands = 0, []
    for named in form.getlist("verdict"):
        row, _, verdict = str(named).partition(":")
        site = viewer.find_site(int(row) if row.isascii() and row.isdecimal() and len(row) < 18 else 0)
        viewer.require("decide", site)
        try:
            count += len(parts.moderation.undo(site, verdict, viewer.moderator.name))
        except ServiceError as error:
            stands.append(error.message)
    return _show(request, shell, viewer, parts, chosen, undone={"count": count, "stands": stands})


def _judge(
    viewer: Viewer, parts: Parts, judgement: Judgement, wanted: Mapping[int, str]
) -> tuple[list[tuple[Site, Verdict]], list[LeftOut]]:
    """Judge entries (row and beginning of the digest that was read), in one go on each site."""
    sites = {site.row: site for site in _sites(viewer)}
    for site in sites.values():
        viewer.require("decide", site)
    present = parts.store.batches.find(tuple(sites.values()), list(wanted))
    entries = {entry.row: entry for entry in parts.store.queue.entries(list(present))}
    judge = Judge(viewer.moderator.name, REVIEW, viewer.moderator.row)
    given: list[tuple[Site, Verdict]] = []
    left_out = [LeftOut(None, "It is not there any more.") for row in wanted if row not in present]
    for site in sites.values():
        here = [each for each in present.values() if each.site == site.row]
        # A digest that does not begin as the one that was read is left as it is: it cannot be the text's.
        read = [each.digest if each.digest.startswith(wanted[each.row]) else wanted[each.row] for each in here]
        targets = [Target(digest, entry=each.row) for digest, each in zip(read, here, strict=True)]
        if not targets:
            continue
        for each, result in zip(here, parts.moderation.decide_many(site, judge, judgement, targets), strict=True):
            if isinstance(result, Verdict):
                given.append((site, result))
            else:
                left_out.append(LeftOut(entries.get(each.row), _say(result)))
    return given, left_out


def _say(error: ServiceError) -> str:
    if isinstance(error, TextChanged):
        return "Its text has changed since you read it; it goes on waiting with the new one."
    if isinstance(error, EntryTaken):
        return "Somebody else has decided it meanwhile." if error.is_decided else "Somebody else is at it."
    if isinstance(error, CommentErased):
        return "It was erased."
    if isinstance(error, NotFound):
        return "It is not there any more."
    return f"{error.message[:1].upper()}{error.message[1:]}."


def _show(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    parts: Parts,
    chosen: Range,
    *,
    targets: Mapping[int, str] | None = None,
    included: set[int] | None = None,
    shown: int = _PAGE,
    **more: Any,
) -> Response:
    """The page; for htmx, the part of it that a range, a verdict or an undo changes."""
    batches, sites = parts.store.batches, _sites(viewer)
    sizes = batches.categories(sites)
    codes = [each.code for each in CATEGORIES if sizes.get(each.code)]
    if chosen.category not in CODES:
        most = max(codes, key=lambda code: sizes[code], default=CODES[0])
        chosen = Range(most, chosen.low, chosen.high)
    bins = batches.bins(sites, chosen.category)
    # After a verdict nothing is chosen any more: what was in the range has gone.
    is_over = bool(more)
    total = 0 if is_over else sum(bins[chosen.low : chosen.high])
    if targets is None:
        found: Sequence[Waiting] = ()
        if total:
            found = batches.inside(sites, chosen.category, chosen.low, chosen.high, limit=MOST_TOGETHER)
        targets = {each.row: each.digest[:_DIGITS] for each in found}
        included = set(targets)
    listed = list(targets)[:shown]
    columns, worth, dots = _draw(bins)
    return shell.render(
        request,
        "batch.html",
        viewer,
        fragment="work" if is_htmx(request) else None,
        chosen=chosen,
        is_over=is_over,
        tabs=[code for code in CODES if sizes.get(code) or code == chosen.category],
        sizes=sizes,
        columns=columns,
        worth=worth,
        dots=dots,
        height=_HEIGHT,
        waiting=sum(bins),
        lines=_lines(parts, sites, chosen.category),
        total=total,
        targets=" ".join(f"{row}.{digest}" for row, digest in targets.items()),
        count=len(targets),
        included=included or set(),
        entries=parts.store.queue.entries(listed),
        shown=len(listed),
        may_decide=viewer.may("decide", sites[0]) if sites else False,
        done=more.get("done"),
        undone=more.get("undone"),
    )


def _sites(viewer: Viewer) -> tuple[Site, ...]:
    """The sites shown on which they may give verdicts; where there are none, those on which they may look."""
    return tuple(site for site in viewer.shown if viewer.may("decide", site)) or viewer.shown


def _draw(bins: Sequence[int]) -> tuple[list[Column], int, str]:
    """The columns of dots, for how many comments a dot stands so that none is too high, and how dots look."""
    rows, look = next((each for each in _DOTS if max(bins) <= each[0]), (_ROWS, "some"))
    worth = max(1, -(-max(bins) // rows))
    size = _HEIGHT / rows
    columns = []
    for percent, count in enumerate(bins):
        if count:
            dots = -(-count // worth)
            middle = percent * 10 + 5
            path = "".join(f"M{middle} {_HEIGHT - size * (dot + 0.5):g}h0" for dot in range(dots))
            columns.append(Column(percent, count, dots, path))
    return columns, worth, look


def _lines(parts: Parts, sites: Sequence[Site], category: str) -> list[tuple[str, float]]:
    """The lines of the policies in force on these sites, each ``hold`` or ``reject`` and where, without repetition."""
    found: set[tuple[str, float]] = set()
    for site in sites:
        live = parts.live_model.current(site.url)
        policy = live.readable_policy(site.policy_digest, parts.store.policy_toml, site.url)
        if policy is None:
            continue
        pair = policy.lines[live.tier or "lexical", category]
        for name, line in (("hold", pair.hold), ("reject", pair.reject)):
            if line.threshold is not None and 0 <= line.threshold <= 1:
                found.add((name, line.threshold))
    return sorted(found, key=lambda each: each[1])


def _read_range(form: Form) -> Range:
    category = field(form, "category")
    if category not in CODES:
        raise InvalidRequest("the form names no category; go back and choose one")
    low, high = (_read_number(form, name, most=BINS) for name in ("low", "high"))
    return Range(category, min(low, high), max(low, high))


def _read_form(form: Form) -> tuple[Range, dict[int, str], set[int]]:
    """The range, what was in it when it was read, and which of that is included."""
    names = field(form, "targets").split()
    if len(names) > MOST_TOGETHER or not all(_TARGETS.fullmatch(name) for name in names):
        raise InvalidRequest("the form does not say which comments it is about; go back and choose the range again")
    targets = {int(row): digest for row, _, digest in (name.partition(".") for name in names)}
    # What was listed can have been unticked; what was not listed cannot.
    shown = _read_number(form, "shown", most=MOST_TOGETHER)
    ticked = {int(row) for row in map(str, form.getlist("row")) if row.isascii() and row.isdecimal() and len(row) < 19}
    included = {row for number, row in enumerate(targets) if number >= shown or row in ticked}
    return _read_range(form), targets, included


def _read_number(form: Form, name: str, *, most: int) -> int:
    text = field(form, name)
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= most):
        raise InvalidRequest(f"{name} has to be a whole number from 0 to {most}")
    return int(text)
