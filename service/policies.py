"""Policies of sites: which is in force, checking a new one, trying it on what was decided, and putting it in force.

A trial takes the scores and facts of stored decisions and decides again under the new policy. No model runs, and
nothing is written. It keeps which comments would be decided otherwise and nothing of what they say: that is read for
those that are shown.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from moderation.categories import CATEGORIES, Category
from moderation.comment import Action, Decision, Tier
from moderation.errors import InvalidPolicy
from moderation.goals import ACTIONS, Point, ResolvedLine, read_operating_points
from moderation.policy import Policy
from service.live_model import LiveModel
from service.statuses import VerdictAction
from service.store import Decided, PolicyChange, Site, Store

MOST_DECISIONS = 20_000
"""How many decisions a trial goes back at most, however many days are asked for."""

_TRIALS_KEPT = 8
_TRIAL_SECONDS = 900.0

_KEY = re.compile(r"([a-z_]+(?:\[\d+\])?(?:\.[a-z_]+)*)(?:: |$)")
_LINE = re.compile(r"at line (\d+)")
_ENTRY = re.compile(r"stricter\[(\d+)\](?:\.(.+))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a policy something is wrong: the dotted key, the line of the text (from 1), as far as they are known."""

    key: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A comment that would have been decided otherwise; ``verdict`` is what a moderator said about it since."""

    decided: Decided
    decision: Decision
    verdict: VerdictAction | None

    @property
    def why(self) -> tuple[str, ...]:
        """What the new policy says to it."""
        return tuple(reason.text for reason in self.decision.reasons if reason.fired)


@dataclass(frozen=True, slots=True)
class Move:
    """How many comments would go from one action to another, and what moderators said about them since."""

    old: Action
    new: Action
    comments: int
    approved: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What a policy would have done with what was decided since a moment; ``is_cut`` where there was too much of it.

    ``upto`` is the last decision that there was, ``versions`` are the rows of what would be decided otherwise, newest
    first. :meth:`Policies.changed` reads them.
    """

    policy: Policy
    since: datetime
    upto: int
    compared: int
    is_cut: bool
    moves: tuple[Move, ...]
    versions: tuple[int, ...]

    def sentence(self) -> str:
        """The outcome in one sentence, as a moderator would say it."""
        if not self.compared:
            return "Nothing was decided in this time that it could be tried on."
        if not self.versions:
            return "It would have decided everything as it was decided."
        said = [_say(action, self.moves) for action in ("hold", "reject", "publish")]
        return "It would have " + "; ".join(part for part in said if part) + "."


@dataclass(frozen=True, slots=True)
class Measured:
    """A line in force, and what was measured at its threshold; ``point`` is ``None`` where nothing was."""

    line: ResolvedLine
    point: Point | None

    @property
    def own(self) -> str:
        """What the site's own labels say to it, beside the note of the line; empty where they say nothing."""
        promise = self.line.own
        if promise is None or not self.line.supported:
            return ""  # what is not supported says why in its note
        if promise.holds:
            return promise.sentence
        labels = "1 label" if promise.labels == 1 else f"{promise.labels} labels"
        if promise.missing is None:
            return f"So far {labels} of the site's own say neither that it holds nor that it does not."
        more = f"at least {promise.missing} more audit labels, none of them wrong, are missing"
        return f"It stands on what was measured of the bundle: the site's own {labels} are not enough, {more}."

    @property
    def missing(self) -> int | None:
        """How many audit labels the site lacks at least to say that it holds, where nothing else is lacking."""
        promise = self.line.own
        return promise.missing if promise is not None and self.line.supported and not promise.holds else None


@dataclass(frozen=True, slots=True)
class CategoryLines:
    """Both lines of one category as a policy has them in the tier that answers."""

    category: Category
    hold: Measured
    reject: Measured


class Policies:
    """Thread-safe. All methods may raise ``StoreBusy`` or ``StoreUnavailable``."""

    def __init__(
        self, store: Store, live_model: LiveModel, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._live_model = live_model
        self._now = now

    def in_force(self, site: Site) -> Policy | None:
        """The policy that the service follows for a site: its own, else that of the home.

        ``None`` where this version cannot read it: then every comment is held.
        """
        live = self._live_model.current(site.url)
        return live.readable_policy(site.policy_digest, self._store.policy_toml, site.url)

    def text(self, site: Site) -> str:
        """The text of that policy, also where it cannot be read."""
        own = self._store.policy_toml(site.policy_digest) if site.policy_digest else None
        return self.of_home().toml if own is None else own

    def of_home(self) -> Policy:
        """The policy that sites follow which have none of their own."""
        return self._live_model.current().default

    def check(self, toml: str, site: Site | None = None) -> Policy:
        """A policy made of a text, goals resolved for the bundle in use. Raises ``InvalidPolicy``.

        With a ``site`` they are resolved on its own labels as well, as they will be when it follows the policy.
        """
        url = site.url if site is not None else None
        live = self._live_model.current(url)
        # Browsers send line ends of their own.
        return Policy.parse(
            toml.replace("\r\n", "\n"), live.bundle.operating_points if live.bundle else None, live.own(url)
        )

    def lines(self, policy: Policy, tier: Tier | None = None) -> tuple[CategoryLines, ...]:
        """The lines that a policy comes to for the bundle in use; by default in the tier that answers."""
        live = self._live_model.current()
        tier = tier or live.tier or "full"
        evidence = read_operating_points(live.bundle.operating_points if live.bundle else None)
        found = []
        for category in CATEGORIES:
            known = evidence.get((tier, category.code))
            points = known.points if known else ()
            hold, reject = (policy.line(tier, category.code, action) for action in ACTIONS)
            found.append(CategoryLines(category, _measure(hold, points), _measure(reject, points)))
        return tuple(found)

    def try_out(
        self, site: Site, policy: Policy, days: int, *, upto: int | None = None, most: int = MOST_DECISIONS
    ) -> Trial:
        """What a policy would have done with the comments of the last days, by stored scores and facts.

        ``upto`` leaves out what was decided after that decision.
        """
        since = self._now() - timedelta(days=days)
        upto = self.last_decision() if upto is None else upto
        found = (
            (decided, policy.decide(decided.comment, decided.scores, decided.facts))
            for decided in self._store.policies.decided(site, since, upto)
        )
        return make_trial(self._store, policy, (since, upto), found, most)[0]

    def changed(self, site: Site, trial: Trial, start: int = 0, stop: int | None = None) -> tuple[Changed, ...]:
        """What a trial would decide otherwise, as it is now; what was erased or edited since is left out."""
        versions = trial.versions[start:stop]
        found = self._store.policies.find_decided(site, versions)
        said = self._store.policies.standing_verdicts(versions)
        return tuple(
            Changed(each, trial.policy.decide(each.comment, each.scores, each.facts), said.get(each.version))
            for each in found
        )

    def bundle_in_use(self) -> str | None:
        """By which goals come to lines: the same text may come to others under another."""
        bundle = self._live_model.current().bundle
        return bundle.name if bundle else None

    def last_decision(self) -> int:
        """The row of the last decision that there is."""
        return self._store.policies.last_decision()

    def put(self, site: Site, policy: Policy | None, *, who: str, instead_of: str | None) -> bool:
        """Put a policy in force on a site at once; ``None`` lets it follow the policy of the home again.

        False, and nothing is changed, where somebody else has put another one in force than ``instead_of``.
        """
        pair = (policy.digest, policy.toml) if policy is not None else None
        return self._store.policies.put(site, pair, who=who, instead_of=instead_of)

    def history(self, site: Site, *, limit: int, before: int | None = None) -> list[PolicyChange]:
        """What was put in force on a site, newest first."""
        return self._store.policies.history(site, limit=limit, before=before)


def make_trial(
    store: Store,
    policy: Policy,
    between: tuple[datetime, int],
    found: Iterable[tuple[Decided, Decision]],
    most: int,
) -> tuple[Trial, tuple[Changed, ...]]:
    """What was decided beside what would be, up to ``most`` of it, with what moderators have said since.

    ``between`` are the moment and the decision at which ``found`` ends and begins.
    """
    compared, is_cut = 0, False
    others: dict[int, tuple[Decided, Decision]] = {}
    for decided, decision in found:
        if compared == most:
            is_cut = True
            break
        compared += 1
        if decision.action != decided.action:
            others[decided.version] = (decided, decision)
    versions = tuple(others)
    said = store.policies.standing_verdicts(versions)
    moves = _count({row: (old.action, new.action) for row, (old, new) in others.items()}, said)
    changed = tuple(Changed(old, new, said.get(row)) for row, (old, new) in others.items())
    since, upto = between
    return Trial(policy, since, upto, compared, is_cut, moves, versions), changed


class Trials:
    """The last trials in this process, so that whoever turns the pages of one's list does not make it anew.

    Thread-safe. What is kept for a quarter of an hour is numbers; texts are read for the page that is shown.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], tuple[float, Trial]] = OrderedDict()

    def of(self, policies: Policies, site: Site, policy: Policy, days: int, upto: int | None = None) -> Trial:
        """The trial of a draft on what was decided up to a decision, by default the last that there is."""
        last = policies.last_decision()
        upto = last if upto is None else min(upto, last)
        key = (site.row, policy.digest, policies.bundle_in_use(), days, upto)
        with self._lock:
            made, trial = self._kept.get(key, (0.0, None))
            if trial is not None and self._clock() - made < _TRIAL_SECONDS:
                self._kept.move_to_end(key)
                return trial
        trial = policies.try_out(site, policy, days, upto=upto)
        with self._lock:
            now = self._clock()
            kept = [(each, found) for each, found in self._kept.items() if now - found[0] < _TRIAL_SECONDS]
            self._kept = OrderedDict(kept[-(_TRIALS_KEPT - 1) :])
            self._kept[key] = (now, trial)
        return trial


def find_place(error: InvalidPolicy, toml: str) -> Place:
    """Where in the text of a policy an error is."""
    said = str(error)
    if (line := _LINE.search(said)) is not None:
        return Place(None, int(line[1]))
    key = _KEY.match(said)
    return Place(key[1], _find_line(key[1], toml)) if key is not None else Place(None, None)


def _find_line(key: str, toml: str) -> int | None:
    """The line of a key, else of its table; keys that are written in unusual ways are not found."""
    entry = _ENTRY.fullmatch(key)
    number, rest = (int(entry[1]), entry[2] or "") if entry else (0, key)
    table, _, name = rest.rpartition(".")
    wanted = ".".join(part for part in ("stricter" if entry else "", table) if part)
    header, count, found = "", 0, None
    for line, text in enumerate(toml.splitlines(), start=1):
        stripped = text.strip()
        if (match := re.match(r"\[+\s*([\w.]+)\s*\]+", stripped)) is not None:
            header = match[1]
            count += stripped.startswith("[[stricter")
            if (not entry or count == number) and (header == wanted or header == f"{wanted}.{name}".strip(".")):
                found = line
        elif header == wanted and (not entry or count == number) and re.match(rf"{re.escape(name)}\s*=", stripped):
            return line
    return found


def _measure(line: ResolvedLine, points: Sequence[Point]) -> Measured:
    """What was measured at the highest threshold that is not above the line: at the line it can only be less."""
    threshold = line.threshold
    below = [] if threshold is None else [point for point in points if point.threshold <= threshold]
    return Measured(line, below[-1] if below else None)


def _count(others: Mapping[int, tuple[Action, Action]], said: Mapping[int, VerdictAction]) -> tuple[Move, ...]:
    """Moves by their size, largest first."""
    counts: dict[tuple[Action, Action], Counter[str]] = {}
    for version, pair in others.items():
        of_move = counts.setdefault(pair, Counter())
        of_move["all"] += 1
        of_move[said.get(version, "")] += 1
    moves = [Move(*pair, found["all"], found["approve"], found["reject"]) for pair, found in counts.items()]
    return tuple(sorted(moves, key=lambda move: (-move.comments, move.old, move.new)))


def _say(action: Action, moves: Iterable[Move]) -> str:
    """What would have come to one action, and how far moderators have contradicted it."""
    there = [move for move in moves if move.new == action]
    count = sum(move.comments for move in there)
    if not count:
        return ""
    approved, rejected = sum(move.approved for move in there), sum(move.rejected for move in there)
    if action == "publish":
        said = f"published {count:,} more"
        return f"{said}, {rejected:,} of which a moderator has rejected" if rejected else said
    said = f"{'held' if action == 'hold' else 'rejected'} {count:,} more"
    return f"{said}, {approved:,} of which {'was' if approved == 1 else 'were'} later approved" if approved else said
