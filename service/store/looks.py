"""What people have looked at and what not, by the scores that a bundle gave: rows without text, to resolve goals on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Float, Row, Select, cast, exists, func, select

from moderation.categories import CODES
from moderation.comment import Action, Tier
from service.statuses import VerdictAction
from service.store import engine as connections
from service.store.entries import is_second_look
from service.store.insight import decision_judged, inclusion_of_look, is_chosen, standing
from service.store.labels import labels_of
from service.store.records import Site
from service.store.review_tables import audit_draws, audit_log, queue_entries, queue_reasons, verdicts
from service.store.tables import comment_versions, comments, decisions

MOST_LOOKS = 20_000
"""So many verdicts at most are read, the last ones."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

Scored = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Look:
    """A text whose decision a person has judged; ``inclusion`` is how likely it was to be looked at.

    ``is_drawn`` says that chance picked it, ``labels`` what the verdict says of each category, as far as it does.
    ``is_chosen``: chance had picked it, and somebody went to it before the queue was answered, so that it stands for
    none of those that wait.
    """

    tier: Tier
    action: Action
    scores: Scored
    inclusion: float
    is_drawn: bool
    verdict: VerdictAction
    labels: Mapping[str, int]
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Picked:
    """A text that was picked to be looked at, with probability ``inclusion``, and waits."""

    tier: Tier
    action: Action
    scores: Scored
    inclusion: float


@dataclass(frozen=True, slots=True)
class Height:
    """The highest score of each category among decisions of one tier, action and policy (a digest).

    ``last`` is the row of the last of these decisions.
    """

    tier: Tier
    action: Action
    policy: str
    highest: Scored
    last: int


class Looks:
    """Looks at the comments of a site. Those with ``do_not_store``, at which nobody can look, are left out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def mark(self, site: Site) -> int:
        """A number that grows with every verdict and undoing on a site."""
        line = audit_log.c
        last = [
            select(func.max(line.id)).where(line.site_id == site.row, line.event == event).scalar_subquery()
            for event in ("verdict", "undo")
        ]
        with connections.reading(self._engine) as connection:
            return max(each or 0 for each in connection.execute(select(*last)).one())

    def judged(self, site: Site, bundle: str, since: datetime = _BEGINNING) -> list[Look]:
        """The last word about each text that a bundle has scored, where it is known how likely a look was.

        Of near-duplicates that were decided alike the last look counts: that one text is judged rightly three hundred
        times says no more than that it is once.
        """
        verdict = verdicts.c
        judged_on, is_it = decision_judged(self._engine)
        decision, inclusion = judged_on.c, inclusion_of_look()
        drawn = exists().where(audit_draws.c.decision_id == decision.id)
        query = (
            select(decision.tier, decision.action, decision.scores, inclusion.label("inclusion"))
            .add_columns(drawn.label("is_drawn"), verdict.action.label("verdict"), verdict.categories, verdict.cleared)
            .add_columns(queue_entries.c.campaign, is_chosen().label("is_chosen"))
            .select_from(verdicts)
            .join(judged_on, is_it)
            .outerjoin(queue_entries, queue_entries.c.comment_id == verdict.comment_id)
            .where(*standing([site], since), decision.bundle == bundle, decision.tier.is_not(None), inclusion > 0)
            .order_by(verdict.id.desc())
            .limit(MOST_LOOKS)
        )
        with connections.reading(self._engine) as connection:
            rows = _without_copies(connection.execute(query).all())
        return [
            Look(
                row.tier,
                row.action,
                row.scores,
                row.inclusion,
                bool(row.is_drawn),
                row.verdict,
                labels_of(row.verdict, row.categories, row.scores, row.cleared or ()),
                bool(row.is_chosen),
            )
            for row in rows
            if row.scores
        ]

    def waiting(self, site: Site, bundle: str) -> list[Picked]:
        """What waits of what rule or chance has picked among the texts that a bundle has scored."""
        entry, reason, version = queue_entries.c, queue_reasons.c, comment_versions.c
        # As verdicts have it: certain by a rule, by chance with a share, unknown where people asked.
        by_rule = exists().where(reason.entry_id == entry.id, reason.name.in_(("held", "near_line")))
        share = select(func.max(reason.value)).where(reason.entry_id == entry.id, reason.name == "audit")
        query = (
            _select_decisions(decisions.c.tier, decisions.c.action, decisions.c.scores)
            .add_columns(by_rule.label("by_rule"), share.scalar_subquery().label("share"))
            .join(queue_entries, entry.comment_id == comments.c.id)
            .where(entry.site_id == site.row, entry.closed_at.is_(None), decisions.c.bundle == bundle)
            # What waits for a second look has been judged, and counts as that.
            .where(~is_second_look())
            .where(comments.c.version == version.number, decisions.c.tier.is_not(None))
        )
        with connections.reading(self._engine) as connection:
            rows = connection.execute(query).all()
        picked = ((row, 1.0 if row.by_rule else row.share) for row in rows if row.scores)
        return [Picked(row.tier, row.action, row.scores, share) for row, share in picked if share]

    def heights(self, site: Site, bundle: str, after: int) -> list[Height]:
        """How high a bundle has scored, among the decisions (rows) after one. Within a site they are in order."""
        decision = decisions.c
        kind = (decision.tier, decision.action, decision.policy_digest)
        highest = [func.max(cast(decision.scores[code].as_float(), Float)).label(code) for code in CODES]
        query = (
            _select_decisions(*kind, *highest, func.max(decision.id).label("last"))
            .where(comments.c.site_id == site.row, decision.id > after)
            .where(decision.bundle == bundle, decision.tier.is_not(None), comment_versions.c.do_not_store.is_(False))
            .group_by(*kind)
        )
        with connections.reading(self._engine) as connection:
            return [_read_height(row) for row in connection.execute(query)]


def _without_copies(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """The rows without all but the first of each campaign, tier and action."""
    kept = {
        (row.campaign, row.tier, row.action) if row.campaign is not None else number: row
        for number, row in reversed(list(enumerate(rows)))
    }
    return list(reversed(kept.values()))


def _select_decisions(*columns: Any) -> Select[Any]:
    version = comment_versions.c
    return (
        select(*columns)
        .select_from(decisions)
        .join(comment_versions, version.id == decisions.c.comment_version_id)
        .join(comments, comments.c.id == version.comment_id)
    )


def _read_height(row: Row[Any]) -> Height:
    return Height(row.tier, row.action, row.policy_digest, {code: getattr(row, code) for code in CODES}, row.last)
