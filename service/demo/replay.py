"""Thirty days of comments, reports, appeals and verdicts, played through the service's own workflow.

Nothing is written past it: the model scores, the policy decides, chance draws audits. Only the clock is ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

from moderation.comment import Comment
from moderation.policy import default_policy_toml
from moderation.shipped import shipped_folder
from service.auth import make_key, make_sign_in_token
from service.demo.content import Content, Said
from service.errors import NothingToAppeal
from service.hashes import Hashes
from service.home import open_store, prepare_home
from service.live_model import LiveModel
from service.metrics import Metrics
from service.settings import Settings
from service.statuses import VerdictAction
from service.store import Judge, Judgement, QueueEntry, QueueFilter, Site, Store, Target
from service.verdicts import Moderation
from service.workflow import Workflow

MODERATORS = ("Ada", "Grace")
AUDITED = 0.05
"""The share of published comments that chance picks. The built-in policy's would be two or three of them all."""
REJECTED_AUDITED = 0.25
"""The same of rejected ones, which are a few."""
SPAM_REJECTED_FROM = 0.9999
"""From where the demo rejects spam: the plainest alone. The built-in goal rejects nothing that it cannot back."""

_SECONDS_PER_DAY = 86_400
# When the moderators sat down, by turns. Since the last time comments have come in, and these are what waits.
_SITTINGS = (27.5, 25.6, 23.1, 20.8, 18.0, 15.4, 13.0, 11.2, 8.0, 6.1, 4.3)
# Of late they have only had time for what is held and for what people asked them to look at.
_BUSY_DAYS = 14.5
_URGENT = ("held", "reported", "appealed")
_DOUBT = 0.07
_SECOND_LOOK = 0.2
_SECOND_DOUBT = 0.15
_FOUND_BY_READING = 0.5
# Of so many verdicts one is a slip of the finger, taken back at once.
_SLIP_EVERY = 20


def demo_policy() -> str:
    """The built-in policy with more audits and a line that rejects, so that there is some of each to be seen."""
    text = default_policy_toml()
    for wanted, ours in (
        (
            r"(?m)^# One published .*\npublish = [\d.]+$",
            f"# So many that there are some to be seen.\npublish = {AUDITED}",
        ),
        (r"(?m)^# One rejected .*\nreject = [\d.]+$", f"# The same.\nreject = {REJECTED_AUDITED}"),
        (
            r"(?s)(?<=\n\[spam\]\n)([^\[]*)# Reject only [^\n]*\nreject = [^\n]*",
            rf"\1# Reject what there is no doubt about.\nreject = {SPAM_REJECTED_FROM}",
        ),
    ):
        text, count = re.subn(wanted, ours, text)
        if count != 1:
            raise RuntimeError(f"the built-in policy no longer has one place that fits {wanted}")
    return text


class Clock:
    """The time that it is in the demo."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def __call__(self) -> datetime:
        """That time; what the store takes for now."""
        return self.at


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens, when, and what has to be called for it."""

    at: datetime
    happen: Callable[[], None]


class Replay:
    """The demo in one home folder. Make one with :func:`open_replay`, run :meth:`steps` in order."""

    def __init__(
        self, store: Store, workflow: Workflow, desk: Moderation, clock: Clock, seed: int, content: Content
    ) -> None:
        self._store = store
        self._workflow = workflow
        self._desk = desk
        self._clock = clock
        self._seed = seed
        self._content = content
        self._now = clock.at
        self._by_id = {said.comment.id: said for said in content.comments}
        self._sites: dict[str, Site] = {}
        self._judges: list[Judge] = []
        self._read_until = self._now - timedelta(days=365)
        self._verdicts = 0
        self.keys: dict[str, str] = {}

    @property
    def sites(self) -> list[Site]:
        """The demo's sites, once they are made."""
        return list(self._sites.values())

    @property
    def verdicts(self) -> int:
        """How many verdicts the moderators have given so far."""
        return self._verdicts

    def waiting(self, site: Site) -> int:
        """How many comments of a site wait for a person."""
        return self._store.queue.count([site])

    def invite(self, name: str) -> tuple[str, datetime]:
        """A token with which one of the moderators signs in once the month is over, and until when."""
        self._clock.at = self._now
        moderator = self._store.people.find(name)
        assert moderator is not None
        return make_sign_in_token(self._store, moderator)

    def make_sites(self) -> None:
        """The sites with a key each, and the moderators, a month ago."""
        self._clock.at = self._now - timedelta(days=30)
        for url in self._content.sites:
            self._sites[url] = self._store.add_site(url)
            self.keys[url] = make_key(self._store, self._sites[url])
        for name in MODERATORS:
            moderators = [self._store.people.add(name, site, "maintainer", who="operator") for site in self.sites]
            self._judges.append(Judge(name, "review", moderators[0].row))

    def steps(self) -> list[Step]:
        """Everything that happens, in order of time."""
        steps = [step for said in self._content.comments for step in self._life(said)]
        for number, days in enumerate(_SITTINGS):
            judge, other = (self._judges[(number + turn) % 2] for turn in (0, 1))
            steps.append(self._step(days, partial(self._sit_down, judge, other)))
        return sorted(steps, key=lambda step: step.at)

    def run(self, step: Step) -> None:
        """Let one step happen at its time."""
        self._clock.at = step.at
        step.happen()

    def _step(self, days_ago: float, happen: Callable[[], None]) -> Step:
        return Step(self._now - timedelta(days=days_ago), happen)

    def _life(self, said: Said) -> Iterator[Step]:
        site = self._sites[said.site]
        yield self._step(said.days_ago, partial(self._submit, site, said.comment))
        for number, category in enumerate(said.reports, 1):
            reader = f"{said.comment.id} reader {number}"
            report = partial(self._report, site, said, reader, category)
            yield self._step(said.days_ago * (1 - 0.1 * number), report)
        if said.edit is not None:
            edited = replace(said.comment, text=said.edit.text)
            yield self._step(said.edit.days_ago, partial(self._submit, site, edited))
        if said.appeal is not None:
            yield self._step(said.appeal.days_ago, partial(self._appeal, site, said, said.appeal.text))
        if said.deleted_days_ago is not None:
            yield self._step(said.deleted_days_ago, partial(self._erase, site, said))

    # What sites, readers and authors do

    def _submit(self, site: Site, comment: Comment) -> None:
        self._workflow.submit(site, comment)

    def _report(self, site: Site, said: Said, reader: str, category: str) -> None:
        # Readers can only report what they can see.
        if self._status(site, said) == "published":
            self._desk.report(site, _id(said), reader, category)

    def _appeal(self, site: Site, said: Said, text: str) -> None:
        try:
            self._desk.appeal(site, _id(said), text)
        except NothingToAppeal:  # another moderator has seen to it in the meantime
            return

    def _erase(self, site: Site, said: Said) -> None:
        self._workflow.erase(site, _id(said))

    def _status(self, site: Site, said: Said) -> str:
        return self._workflow.find_comment(site, _id(said)).status

    # What moderators do

    def _sit_down(self, judge: Judge, other: Judge) -> None:
        """Clear the queue of every site, then read what has been published; the other one looks at some of it again."""
        read_until, self._read_until = self._read_until, self._clock.at
        for site in self.sites:
            while (entry := self._take(site, judge)) is not None:
                said = self._by_id[entry.stored.id]
                target = Target(entry.stored.decision.digest, entry=entry.row)
                self._judge(site, judge, said, self._opinion(said, "doubt", _DOUBT), target)
                if self._chance(said, "second look") < _SECOND_LOOK:
                    again = Target(entry.stored.decision.digest, entry.stored.id)
                    opinion = replace(self._opinion(said, "second doubt", _SECOND_DOUBT), score_shown=False)
                    self._judge(site, other, said, opinion, again)
        for said in self._content.comments:
            if read_until < self._now - timedelta(days=said.days_ago) <= self._read_until:
                self._read(judge, said)

    def _take(self, site: Site, judge: Judge) -> QueueEntry | None:
        """The oldest entry that the moderator has time for."""
        for reason in _URGENT if self._is_busy() else (None,):
            wanted = QueueFilter(reason=reason)
            entry = self._store.queue.claim_next([site], judge.moderator or 0, wanted, sort="age")
            if entry is not None:
                return entry
        return None

    def _read(self, judge: Judge, said: Said) -> None:
        """Come across a comment that is published, and reject it if something is wrong with it."""
        site = self._sites[said.site]
        stored = self._workflow.find_comment(site, _id(said))
        is_caught = bool(said.truth) and not self._is_busy() and self._chance(said, "reading") < _FOUND_BY_READING
        is_found = said.verdict is not None or is_caught
        if stored.status == "published" and is_found:
            self._judge(site, judge, said, self._opinion(said, "reading", 0), Target(stored.decision.digest, stored.id))

    def _opinion(self, said: Said, about: str, doubt: float) -> Judgement:
        """What a moderator thinks: the truth, or with the probability ``doubt`` the opposite."""
        if said.verdict is not None:
            # What was appealed against is looked at with other eyes.
            was_appealed = (
                said.appeal is not None and self._now - timedelta(days=said.appeal.days_ago) <= self._clock.at
            )
            return _judgement("approve" if was_appealed else "reject", (said.verdict,))
        is_bad = bool(said.truth) != (self._chance(said, about) < doubt)
        return _judgement("reject" if is_bad else "approve", said.truth or ("off_topic",))

    def _is_busy(self) -> bool:
        return self._clock.at > self._now - timedelta(days=_BUSY_DAYS)

    def _chance(self, said: Said, about: str) -> float:
        """A number from 0 to 1, the same for the same comment and question, whatever the model says of others."""
        return Random(f"{self._seed} {about} {said.comment.id}").random()  # noqa: S311  # nothing here is a secret

    def _judge(self, site: Site, judge: Judge, said: Said, judgement: Judgement, target: Target) -> None:
        self._clock.at += timedelta(seconds=4 + 46 * self._chance(said, judge.name))
        self._verdicts += 1
        if self._verdicts % _SLIP_EVERY == 0 and target.entry is not None:
            opposite: VerdictAction = "approve" if judgement.action == "reject" else "reject"
            slip = self._desk.decide(site, judge, _judgement(opposite, said.truth or ("spam",)), target)
            self._clock.at += timedelta(seconds=6)
            self._desk.undo(site, slip.id, judge.name)
        self._desk.decide(site, judge, judgement, target)


@contextmanager
def open_replay(settings: Settings, content: Content, *, now: datetime, seed: int) -> Iterator[Replay]:
    """A replay into the home folder and database of ``settings``, which end up as full as the demo is; both are made.

    The same seed gives the same verdicts and audits, as long as model and policy are the same.
    """
    secret = prepare_home(settings)
    (settings.home / "policy.toml").write_text(demo_policy(), encoding="utf-8")
    clock = Clock(now)
    store = open_store(settings, now=clock)
    try:
        hashes = Hashes(secret)
        live_model = LiveModel(settings.home, shipped_folder("models"))
        chance = Random(seed)  # noqa: S311  # nothing here is a secret
        workflow = Workflow(
            store, live_model, Metrics(), hashes=hashes, make_seed=lambda: f"{chance.getrandbits(64):016x}"
        )
        desk = Moderation(store, hashes, reports_to_reopen=settings.reports_to_reopen, now=clock)
        replay = Replay(store, workflow, desk, clock, seed, content)
        replay.make_sites()
        yield replay
    finally:
        store.close()


def _judgement(action: VerdictAction, categories: tuple[str, ...]) -> Judgement:
    return Judgement(action, categories if action == "reject" else (), score_shown=True)


def _id(said: Said) -> str:
    assert said.comment.id is not None
    return said.comment.id
