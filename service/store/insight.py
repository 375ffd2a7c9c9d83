"""What happened on sites since a moment, counted by the database. Days are those of UTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    Engine,
    Float,
    FromClause,
    ScalarSelect,
    Select,
    String,
    and_,
    case,
    cast,
    column,
    distinct,
    exists,
    extract,
    func,
    literal,
    select,
    true,
    values,
)

from moderation.comment import Action
from service.statuses import SECOND_LOOK, Status, VerdictAction
from service.store import engine as connections
from service.store.columns import Utc
from service.store.records import Site
from service.store.review_tables import audit_draws, queue_entries, verdicts
from service.store.tables import comment_versions, comments, decisions, status_log
from service.store.verdicts import gave_before

MOST_SHARED = 2000
"""Of so many texts at most, the last ones, verdicts are compared."""

_FIRST: tuple[Status, ...] = ("published", "held", "rejected")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many comments came in on a day (``2026-01-31``) and got this first status."""

    day: str
    status: Status
    count: int


@dataclass(frozen=True, slots=True)
class Waits:
    """How long ``count`` comments waited, from the opening of their entry to the verdict that closed it.

    ``median`` and ``ninth`` are seconds: half, and nine of ten, were decided in that time (nearest rank).
    """

    day: str
    count: int
    median: float
    ninth: float


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Of what a reason held or rejected, how many have a verdict, and how many of these verdicts reject."""

    name: str
    action: Action
    judged: int
    rejected: int


@dataclass(frozen=True, slots=True)
class AuditCount:
    """Verdicts on what was published or rejected, where it is known how likely a look was (``inclusion``).

    ``is_chosen``: chance had picked them too, but it was not the queue that they were answered to: somebody went to the
    comment, as one does where something is wrong.
    """

    action: Action
    inclusion: float
    verdict: VerdictAction
    count: int
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Rating:
    """The last word of a moderator about a text that others have judged too."""

    moderator: str
    version: int
    action: VerdictAction


@dataclass(frozen=True, slots=True)
class Given:
    """How many verdicts somebody has given, undone ones apart."""

    moderator: str
    approved: int
    rejected: int
    undone: int


class Insight:
    """Counting. All methods take the sites and the moment since when."""

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    def arrivals(self, sites: Sequence[Site], since: datetime) -> list[Arrivals]:
        """Comments by the day on which they came in and the status that they got then."""
        row = status_log.c
        days = _days(since, self._now())
        first = values(column("status", String), name="first").data([(name,) for name in _FIRST]).cte()
        # Each day and status is one stretch of an index, which is only counted: no moment is made into a day.
        count = (
            select(func.count())
            .where(_of(row.site_id, sites), row.new == first.c.status, row.old.is_(None))
            .where(row.at >= days.c.since, row.at < days.c.until)
            .scalar_subquery()
        )
        query = select(days.c.day, first.c.status, count.label("size")).select_from(days.join(first, true()))
        query = query.order_by(days.c.day)
        with connections.reading(self._engine) as connection:
            return [Arrivals(each.day, each.status, each.size) for each in connection.execute(query) if each.size]

    def waits(self, sites: Sequence[Site], since: datetime) -> tuple[Waits | None, list[Waits]]:
        """How long comments waited that were decided: altogether (``None``: none was), and by the day of the verdict.

        What was opened again since counts once it is decided again. Second looks, for which nobody waits, do not count.
        """
        verdict, entry = verdicts.c, queue_entries.c
        base = (
            select(self._day(verdict.at).label("day"), self._seconds(entry.opened_at, verdict.at).label("seconds"))
            .join(queue_entries, (entry.comment_id == verdict.comment_id) & (entry.closed_at == verdict.at))
            .where(_of(verdict.site_id, sites), verdict.at >= since, verdict.undone_at.is_(None), verdict.closed_entry)
            .where(verdict.source != SECOND_LOOK)
            .subquery()
        )
        with connections.reading(self._engine) as connection:
            whole = [_read_waits(row) for row in connection.execute(_rank(base, literal("")))]
            days = [_read_waits(row) for row in connection.execute(_rank(base, base.c.day))]
        return (whole[0] if whole else None), days

    def reasons(self, sites: Sequence[Site], since: datetime) -> list[ReasonCount]:
        """What each reason held and rejected, by the last verdict on it: the reasons that fired when it was given."""
        verdict = verdicts.c
        judged_on, is_it = decision_judged(self._engine)
        decision = judged_on.c
        if self._engine.dialect.name == "sqlite":
            each = func.json_each(decision.reasons).table_valued("value", name="each")
            name: ColumnElement[Any] = func.json_extract(each.c.value, "$.name")
            is_fired: ColumnElement[bool] = func.json_extract(each.c.value, "$.fired") == 1
        else:
            each = func.json_array_elements(decision.reasons).table_valued("value").render_derived("each")
            name = func.json_extract_path_text(each.c.value, "name")
            is_fired = func.json_extract_path_text(each.c.value, "fired") == "true"
        judged = (
            select(name.label("name"), decision.action, verdict.action.label("verdict"))
            .select_from(verdicts)
            .join(judged_on, is_it)
            .join(each, true())
            .where(*standing(sites, since), decision.action.in_(("hold", "reject")), is_fired)
            .subquery()
        )
        rejected = func.sum(case((judged.c.verdict == "reject", 1), else_=0)).label("rejected")
        query = select(judged.c.name, judged.c.action, func.count().label("size"), rejected)
        # To be on the list of trusted authors holds nothing.
        query = query.where(judged.c.name != "trusted_author").group_by(judged.c.name, judged.c.action)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.order_by(judged.c.name, judged.c.action))
            return [ReasonCount(row.name, row.action, row.size, row.rejected) for row in rows]

    def audits(self, sites: Sequence[Site], since: datetime) -> list[AuditCount]:
        """Verdicts on what was published and rejected since then, where it is known how likely a look was.

        That is so for what chance picked, and for what lay so near a line that everybody looks. What counts is the
        last word about the text, with the likelihood of the look that was by chance or rule.
        """
        verdict = verdicts.c
        judged_on, is_it = decision_judged(self._engine)
        decision = judged_on.c
        base = (
            select(decision.action, verdict.action.label("verdict"), inclusion_of_look().label("inclusion"))
            .add_columns(is_chosen().label("is_chosen"))
            .select_from(verdicts)
            .join(judged_on, is_it)
            .where(*standing(sites, since), decision.action.in_(("publish", "reject")), decision.created_at >= since)
            .subquery()
        )
        columns = (base.c.action, base.c.inclusion, base.c.verdict, base.c.is_chosen)
        query = select(*columns, func.count().label("size")).where(base.c.inclusion > 0).group_by(*columns)
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query.order_by(*columns))
            return [AuditCount(row.action, row.inclusion, row.verdict, row.size, bool(row.is_chosen)) for row in rows]

    def drawn(self, sites: Sequence[Site], since: datetime) -> dict[Action, int]:
        """How many decisions chance has picked for a look, by what was decided."""
        draw = audit_draws.c
        # Asked of each draw: with a join, databases would begin with all comments of the sites.
        site = (
            select(comments.c.site_id)
            .join(comment_versions, comment_versions.c.comment_id == comments.c.id)
            .join(decisions, decisions.c.comment_version_id == comment_versions.c.id)
            .where(decisions.c.id == draw.decision_id)
            .scalar_subquery()
        )
        query = (
            select(draw.action, func.count().label("size"))
            .where(draw.at >= since, _of(site, sites))
            .group_by(draw.action)
        )
        with connections.reading(self._engine) as connection:
            return {row.action: row.size for row in connection.execute(query)}

    def ratings(self, sites: Sequence[Site], since: datetime, *, blind: bool = False) -> list[Rating]:
        """The last word of each moderator about each text that at least two have judged; of ``MOST_SHARED`` texts.

        ``blind``: only of texts that had a second look, and of the first word and the blind one. Whoever gave the first
        may have done so long before ``since``.
        """
        if blind:
            return self._second_looks(sites, since)
        verdict = verdicts.c
        given = and_(_of(verdict.site_id, sites), verdict.at >= since, verdict.undone_at.is_(None))
        shared = (
            select(verdict.comment_version_id)
            .where(given)
            .group_by(verdict.comment_version_id)
            .having(func.count(distinct(verdict.moderator)) > 1)
            .order_by(func.max(verdict.id).desc())
            .limit(MOST_SHARED)
            .subquery()
        )
        query = (
            select(verdict.moderator, verdict.comment_version_id, verdict.action)
            .join(shared, shared.c.comment_version_id == verdict.comment_version_id)
            .where(given)
            .order_by(verdict.id)
        )
        with connections.reading(self._engine) as connection:
            words = {(row.comment_version_id, row.moderator): row.action for row in connection.execute(query)}
        return [Rating(who, version, action) for (version, who), action in sorted(words.items())]

    def _second_looks(self, sites: Sequence[Site], since: datetime) -> list[Rating]:
        """What was said in second looks since a moment, and what the last one before each had said."""
        earlier, other = verdicts.alias("first"), verdicts.alias("other")
        second, first = verdicts.c, earlier.c
        before = (
            select(func.max(other.c.id))
            .where(other.c.comment_version_id == second.comment_version_id, other.c.id < second.id)
            .where(other.c.undone_at.is_(None))
            .correlate(verdicts)
            .scalar_subquery()
        )
        query = (
            select(second.comment_version_id, second.moderator, second.action)
            .add_columns(first.moderator.label("before"), first.action.label("said"))
            .select_from(verdicts)
            .join(earlier, first.id == before)
            .where(_of(second.site_id, sites), second.at >= since, second.undone_at.is_(None))
            .where(second.source == SECOND_LOOK, ~gave_before())
            .order_by(second.id.desc())
            .limit(MOST_SHARED)
        )
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            Rating(who, row.comment_version_id, action)
            for row in rows
            for who, action in ((row.before, row.said), (row.moderator, row.action))
        ]

    def given(self, sites: Sequence[Site], since: datetime, *, moderator: int | None = None) -> list[Given]:
        """Verdicts by who gave them, in the order of names; with ``moderator`` (a row) theirs alone."""
        verdict = verdicts.c

        def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
            return func.sum(case((condition, 1), else_=0))

        stands = verdict.undone_at.is_(None)
        query = (
            select(verdict.moderator)
            .add_columns(count(stands & (verdict.action == "approve")).label("approved"))
            .add_columns(count(stands & (verdict.action == "reject")).label("rejected"))
            .add_columns(count(~stands).label("undone"))
            .where(_of(verdict.site_id, sites), verdict.at >= since)
            .group_by(verdict.moderator)
            .order_by(func.lower(verdict.moderator), verdict.moderator)
        )
        if moderator is not None:
            query = query.where(verdict.moderator_id == moderator)
        with connections.reading(self._engine) as connection:
            return [Given(row.moderator, row.approved, row.rejected, row.undone) for row in connection.execute(query)]

    def waiting(self, sites: Sequence[Site]) -> tuple[int, datetime | None]:
        """How many comments wait, and since when the oldest does."""
        entry = queue_entries.c
        query = select(
            func.count().label("size"), func.min(entry.opened_at, type_=entry.opened_at.type).label("oldest")
        )
        with connections.reading(self._engine) as connection:
            row = connection.execute(query.where(_of(entry.site_id, sites), entry.closed_at.is_(None))).one()
        return row.size, row.oldest

    def _day(self, moment: ColumnElement[datetime]) -> ColumnElement[Any]:
        """The day of a moment, which ``str`` makes into ``2026-01-31``."""
        if self._engine.dialect.name == "sqlite":
            return func.substr(moment, 1, 10)
        return cast(func.timezone("UTC", moment), Date)

    def _seconds(self, start: ColumnElement[datetime], end: ColumnElement[datetime]) -> ColumnElement[float]:
        if self._engine.dialect.name == "sqlite":
            return (func.julianday(end) - func.julianday(start)) * 86_400.0
        return cast(extract("epoch", end - start), Float)


def _of(site: ColumnElement[int], sites: Sequence[Site]) -> ColumnElement[bool]:
    rows = [each.row for each in sites]
    return site == rows[0] if len(rows) == 1 else site.in_(rows)


def _days(since: datetime, until: datetime) -> CTE:
    """The days in between, with the moment at which each begins and the one at which it has ended."""
    first = since.astimezone(UTC).date()
    starts = [datetime.combine(first + timedelta(days=n), time(), UTC) for n in range((until - since).days + 2)]
    rows = [(f"{start:%Y-%m-%d}", max(start, since), start + timedelta(days=1)) for start in starts]
    columns = (column("day", String), column("since", Utc), column("until", Utc))
    return values(*columns, name="days").data(rows).cte()


def decision_judged(engine: Engine) -> tuple[FromClause, ColumnElement[bool]]:
    """The decision that stood when a verdict was given, and how ``verdicts`` is joined to it."""
    other = decisions.alias("judged_on")
    of_it = (other.c.comment_version_id == verdicts.c.comment_version_id) & (other.c.created_at <= verdicts.c.at)
    if engine.dialect.name == "sqlite":
        last = select(func.max(other.c.id)).where(of_it).correlate(verdicts).scalar_subquery()
        return decisions, decisions.c.id == last
    # Looked up verdict by verdict: to find the number first and join by it would read every decision there is.
    newest = select(other).where(of_it).order_by(other.c.id.desc()).limit(1).correlate(verdicts)
    return newest.lateral("judged_on"), true()


def inclusion_of_look() -> ScalarSelect[float]:
    """How likely the look by chance or rule at the text of ``verdicts`` was; none where people asked for one."""
    return _of_look("inclusion_probability")


def is_chosen() -> ColumnElement[bool]:
    """Whether that look was by chance, and at a comment that somebody has chosen before the queue was answered."""
    return and_(_of_look("inclusion_probability") < 1, _of_look("answers_entry").is_(False))


def _of_look(name: str) -> ScalarSelect[Any]:
    """A column of the last look by chance or rule at the text of ``verdicts``."""
    other = verdicts.alias("look")
    looked = and_(
        other.c.comment_version_id == verdicts.c.comment_version_id,
        other.c.undone_at.is_(None),
        other.c.inclusion_probability.is_not(None),
    )
    return select(other.c[name]).where(looked).order_by(other.c.id.desc()).limit(1).scalar_subquery()


def standing(sites: Sequence[Site], since: datetime) -> list[ColumnElement[bool]]:
    """Keeps the last verdict on each text."""
    verdict, later = verdicts.c, verdicts.alias("later")
    replaced = exists().where(
        later.c.comment_version_id == verdict.comment_version_id, later.c.undone_at.is_(None), later.c.id > verdict.id
    )
    return [_of(verdict.site_id, sites), verdict.at >= since, verdict.undone_at.is_(None), ~replaced]


def _rank(base: Any, part: ColumnElement[str]) -> Select[Any]:
    """The middle one and the ninth of ten of the seconds in each part. Neither database has the other's percentiles."""
    place = func.row_number().over(partition_by=part, order_by=base.c.seconds).label("place")
    size = func.count().over(partition_by=part).label("size")
    ranked = select(part.label("day"), base.c.seconds, place, size).subquery()

    def at(rank: ColumnElement[int]) -> ColumnElement[float]:
        return func.max(case((ranked.c.place == rank, ranked.c.seconds)))

    return (
        select(ranked.c.day, ranked.c.size)
        .add_columns(at((ranked.c.size + 1) // 2).label("median"), at((ranked.c.size * 9 + 9) // 10).label("ninth"))
        .group_by(ranked.c.day, ranked.c.size)
        .order_by(ranked.c.day)
    )


def _read_waits(row: Any) -> Waits:
    return Waits(str(row.day), row.size, max(0.0, float(row.median)), max(0.0, float(row.ninth)))
