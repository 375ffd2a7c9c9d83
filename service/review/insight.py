"""Insight: what came in, how long it waited, how right the reasons are, what slips through, how far people agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response

from moderation.comment import Action
from service.api import PartsOf
from service.insight import Estimate, Looked, Share, agreement, estimate, wilson
from service.review.shell import Section, ShellOf, SignedIn, Viewer
from service.store import Arrivals, AuditCount, DriftDay, Given, Site, Store, Waits

SECTION = Section("insight", "Insight", "/review/insight")

PERIODS = (7, 30, 90)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Day:
    """What came in on a day, and how long what was decided on it had waited (``None``: nothing was)."""

    day: date
    published: int
    held: int
    rejected: int
    waits: Waits | None

    @property
    def total(self) -> int:
        """Everything that came in."""
        return self.published + self.held + self.rejected

    @property
    def at(self) -> int:
        """The day's beginning in seconds since 1970, for charts."""
        return int(datetime.combine(self.day, time(), UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Precision:
    """Of what a reason held or rejected: how many were judged, how many of these rejected, and the share."""

    name: str
    action: Action
    judged: int
    rejected: int
    share: Share


@router.get("/review/insight")
def show_insight(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, days: str = "30") -> Response:
    """The figures of the last days, of the sites shown."""
    period = next((each for each in PERIODS if str(each) == days), 30)
    today = parts.store.now().date()
    first = today - timedelta(days=period - 1)
    since = datetime.combine(first, time(), UTC)
    insight, sites = parts.store.insight, viewer.shown
    arrivals = insight.arrivals(sites, since)
    whole, by_day = insight.waits(sites, since)
    rows = _make_days(first, period, arrivals, by_day)
    reasons = [
        Precision(each.name, each.action, each.judged, each.rejected, wilson(each.rejected, each.judged))
        for each in insight.reasons(sites, since)
    ]
    audits, drawn = insight.audits(sites, since), insight.drawn(sites, since)
    waiting, oldest = insight.waiting(sites)
    together = agreement([(each.moderator, each.version, each.action) for each in insight.ratings(sites, since)])
    looks = insight.ratings(sites, since, blind=True)
    return shell.render(
        request,
        "insight.html",
        viewer,
        period=period,
        periods=PERIODS,
        rows=rows,
        arrived={name: sum(getattr(row, name) for row in rows) for name in ("published", "held", "rejected", "total")},
        waits=whole,
        waiting=waiting,
        oldest=oldest,
        reasons=sorted(reasons, key=lambda each: (-each.judged, each.name, each.action)),
        slipped=_estimate(audits, "publish", drawn),
        wronged=_estimate(audits, "reject", drawn),
        drawn=drawn,
        agreement=together,
        looks=agreement([(each.moderator, each.version, each.action) for each in looks]),
        # How one agrees with another is between these two and whoever answers for the site.
        pairs=[
            pair
            for pair in together.pairs
            if _answers_for_all(viewer) or viewer.moderator.name in (pair.first, pair.second)
        ],
        given=_given(parts.store, viewer, since),
        drift=_latest(parts.store.drift.days(sites, first.isoformat())),
        sees_all=_answers_for_all(viewer),
        span=_span,
    )


def _make_days(first: date, period: int, arrivals: Sequence[Arrivals], waits: Sequence[Waits]) -> list[Day]:
    """Every day of the period, those on which nothing happened too."""
    counts = {(each.day, each.status): each.count for each in arrivals}
    waited = {each.day: each for each in waits}
    days = []
    for number in range(period):
        day = first + timedelta(days=number)
        name = day.isoformat()
        published, held, rejected = (counts.get((name, status), 0) for status in ("published", "held", "rejected"))
        days.append(Day(day, published, held, rejected, waited.get(name)))
    return days


def _estimate(audits: Sequence[AuditCount], action: Action, drawn: Mapping[Action, int]) -> Estimate | None:
    """How much of what was published should not have been, or of what was rejected should have been.

    What chance has picked and still waits is stood for by what was answered in the queue; not by what somebody has
    chosen, as one does where something is wrong. ``None`` where none of it was answered in the queue and some waits.
    """
    wrong = "reject" if action == "publish" else "approve"
    counts = [each for each in audits if each.action == action]
    by_chance = [each for each in counts if each.inclusion < 1]
    answered = sum(each.count for each in by_chance if not each.is_chosen)
    left = max(0, drawn.get(action, 0) - sum(each.count for each in by_chance))
    if left and not answered:
        return None
    share = answered / (answered + left) if answered else 1.0
    return estimate(
        Looked(
            each.inclusion * (share if each.inclusion < 1 and not each.is_chosen else 1.0),
            each.count,
            each.count if each.verdict == wrong else 0,
        )
        for each in counts
    )


def _latest(days: Sequence[DriftDay]) -> list[DriftDay]:
    """The last figures of each site, categories that nothing came in of left out."""
    latest: dict[str, str] = {}
    for each in days:
        latest.setdefault(each.site, each.day)
    return [each for each in days if latest[each.site] == each.day and each.comments]


def _answers_for_all(viewer: Viewer) -> bool:
    return bool(viewer.shown) and all(viewer.may("configure", site) for site in viewer.shown)


def _given(store: Store, viewer: Viewer, since: datetime) -> list[Given]:
    """Everybody's verdicts on the sites that the viewer is maintainer of, on the others their own."""
    full: tuple[Site, ...] = tuple(site for site in viewer.shown if viewer.may("configure", site))
    others = tuple(site for site in viewer.shown if site not in full)
    rows = store.insight.given(full, since) if full else []
    own = store.insight.given(others, since, moderator=viewer.moderator.row) if others else []
    sums: dict[str, Given] = {}
    for row in (*rows, *own):
        old = sums.get(row.moderator, Given(row.moderator, 0, 0, 0))
        sums[row.moderator] = Given(
            row.moderator, old.approved + row.approved, old.rejected + row.rejected, old.undone + row.undone
        )
    return sorted(sums.values(), key=lambda each: each.moderator.casefold())


def _span(seconds: float) -> str:
    """A time as people say it: ``4 min``, ``2.5 h``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            amount = seconds / size
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "min" else f"{amount:.1f} {unit}"
    return f"{seconds:.0f} s"
