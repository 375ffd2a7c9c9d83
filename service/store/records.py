"""What goes into the store and comes out of it: frozen values, no database types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moderation.comment import Action, Comment, Decision, Facts, Neighbour, Scores
from moderation.errors import InvalidComment
from service.statuses import Heard, Outcome, Role, Status, VerdictAction, WebhookFormat, WhyName


@dataclass(frozen=True, slots=True)
class Site:
    """A site that sends comments. ``policy_digest`` is ``None`` while it follows HOME/policy.toml."""

    row: int
    url: str
    policy_digest: str | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as it is kept: ``hash`` is SHA-256 (hex) of the whole key."""

    site: Site
    hash: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class KeyDates:
    """An API key as its owner may see it: the public part of it, when it was made, and when it ended if it did."""

    prefix: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """A comment that the store can show as a neighbour; ``version`` is the row that holds its text."""

    neighbour: Neighbour
    version: int


@dataclass(frozen=True, slots=True)
class Why:
    """One reason for which a comment is in the queue.

    ``detail`` is the policy's reason (``held``, ``near_line``), the audited action (``audit``), or how it was picked
    (``second_look``: ``random``, ``doubted``); ``value`` the score, the share or the number of reports, ``text`` a
    sentence for a moderator.
    """

    name: WhyName
    detail: str | None
    value: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Priority:
    """What the queue is sorted by. ``category`` is the one with the most expected harm, with its ``score`` (0 to 1).

    ``harm`` is expected harm (0 to 5), ``teaching`` how much a verdict would teach the model (0 to 1).
    """

    category: str | None
    score: float
    harm: float
    teaching: float


@dataclass(frozen=True, slots=True)
class AuditDraw:
    """A decision that chance has picked for a look: from which share (0 to 1), by which seed (hex)."""

    action: Action
    share: float
    seed: str
    inclusion_probability: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A comment with its decision, ready to be kept.

    ``comment`` is what was judged, ``sent_digest`` the digest of what was sent. ``known`` are the neighbours in it that
    the store filled in: they are kept as references, so that erasing one erases it everywhere. ``whys`` say why a
    person is to look at it (none: nobody needs to), ``bands`` are the hashes by which near-duplicates are found,
    ``handles`` those by which a caller who names no id tells it from others with the same text. ``is_retry`` says that
    the decision is to be kept although the same was sent before; ``told_spam`` what a client of Akismet, which has
    asked for it, is told by it (``None``: nobody is told); ``is_question`` that it is no further one of its like.
    """

    comment: Comment
    sent_digest: str
    text_hash: str
    decision: Decision
    facts: Mapping[str, Any]
    known: tuple[Known, ...] = ()
    bands: tuple[int, ...] = ()
    handles: tuple[str, ...] = ()
    whys: tuple[Why, ...] = ()
    priority: Priority = Priority(None, 1.0, 0.0, 1.0)
    draw: AuditDraw | None = None
    is_retry: bool = False
    told_spam: bool | None = None
    is_question: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A comment's place in the store with one of its decisions. ``seen`` says that it was there before."""

    id: str | None
    site: str
    status: Status
    sent_digest: str
    decision: Decision
    created_at: datetime
    seen: bool = False


@dataclass(frozen=True, slots=True)
class SameText:
    """A comment whose present text has the hash that was looked for: its id on its site, its digest, its handles."""

    comment: str
    digest: str
    handles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One row of the status log."""

    old: Status | None
    new: Status
    who: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the status log as a site that polls sees it; ``cursor`` is its place in the order of commits."""

    cursor: int
    comment: str | None
    decision_id: str | None
    verdict_id: str | None
    change: StatusChange


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a site wants to hear of changes of status: of all, or of those to one of the statuses ``events``.

    Alerts of drift are told only where ``events`` name them.

    ``secrets`` are those that sign, the newest first; of the format ``akismet`` it is the key that the site's plugin
    knows. ``failures`` counts attempts in a row that failed.
    """

    row: int
    id: str
    site: str
    url: str
    events: tuple[Heard, ...]
    secrets: tuple[str, ...] = field(repr=False)
    created_at: datetime
    disabled_at: datetime | None
    failures: int
    format: WebhookFormat = "standard"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a day's figures alarm about: ``goal_missed``, ``goal_unsure`` or ``scores``, and a sentence."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class DriftAlerts:
    """What the figures of a day alarm about in one category."""

    day: str
    bundle: str
    category: str
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class AkismetAnswer:
    """What a check of a comment would be answered now; ``post`` is the id of the post that it stands under."""

    comment: str
    is_spam: bool
    post: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """What a webhook has to hear of; ``id`` is the same in every attempt, ``attempts`` were made before.

    That is a change, another answer or alerts of drift. ``categories`` are those of the verdict that made the change,
    ``None`` where none did.
    """

    row: int
    id: str
    attempts: int
    created_at: datetime
    about: Change | AkismetAnswer | DriftAlerts
    categories: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How a webhook's messages stand; ``oldest`` is since when the one waits that waits longest."""

    waiting: int
    delivered: int
    given_up: int
    oldest: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Moderator:
    """A person who moderates, with a role per site (by the site's URL)."""

    row: int
    name: str
    disabled: bool
    roles: Mapping[str, Role]


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which a moderator is signed in, until ``expires_at`` at the latest."""

    row: int
    moderator: Moderator
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Judge:
    """Who gives a verdict: a name, the row where it is a moderator of ours, and through what (``source``)."""

    name: str
    source: str
    moderator: int | None = None

    @property
    def holder(self) -> int | str:
        """By what the queue knows whose claim it is."""
        return self.name if self.moderator is None else self.moderator


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said about a text: approve, or reject with categories. ``score_shown`` is ``None`` where unknown.

    ``cleared`` are categories that are said not to apply. An approval without any clears the text of all; with some it
    says nothing of the others, as "not spam" does.
    """

    action: VerdictAction
    categories: tuple[str, ...] = ()
    note: str | None = None
    score_shown: bool | None = None
    cleared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What a verdict is about: a comment by the site's id, or a queue entry by its row, and the digest that was read.

    With ``entry`` the verdict is the answer to that queue entry: it is refused where another moderator holds the entry
    or it has been decided. Without, it is anybody's word about the comment and counts in any case.
    """

    digest: str
    comment: str | None = None
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stored verdict. ``together`` is shared by verdicts given in one go; ``seen`` says that it was there before."""

    id: str
    together: str
    comment: str | None
    digest: str
    action: VerdictAction
    categories: tuple[str, ...]
    note: str | None
    moderator: str
    source: str
    score_shown: bool | None
    inclusion_probability: float | None
    status: Status
    at: datetime
    undone_at: datetime | None
    undone_by: str | None
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Appeal:
    """An author's wish for another look at one version of a comment; ``outcome`` is ``None`` until it is answered."""

    id: str
    comment: str | None
    at: datetime
    outcome: Outcome | None
    seen: bool = False


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A row of the queue: a comment that waits, or the first of ``campaign_count`` near-duplicates that do."""

    row: int
    stored: Stored
    text: str
    kind: str
    lang: str | None
    url: str | None
    author_id: str | None
    author_name: str | None
    author_url: str | None
    post_id: str | None
    post_title: str | None
    whys: tuple[Why, ...]
    priority: Priority
    urgency: float
    reports: int
    campaign_count: int
    opened_at: datetime
    claimed_by: str | None
    claimed_until: datetime | None


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Entries in order; ``cursor`` continues after the last one and is ``None`` where there are no more."""

    entries: tuple[QueueEntry, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which entries are wanted; what is ``None`` is not asked. ``since`` and ``until`` bound when they were opened.

    ``who`` is an author's id or name, the name whatever the capitals. ``lang`` is a language with all its regions.
    ``reason`` is why an entry is here: a ``Why.name``, or the policy's reason in ``Why.detail``. ``text`` is looked for
    anywhere in the comment, whatever the capitals or compatibility forms. ``second_looks`` says whether those are among
    them; under a category, or under a reason of the machine, they never are.
    """

    post: str | None = None
    category: str | None = None
    reason: str | None = None
    author: str | None = None
    lang: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    second_looks: bool = True
    who: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of the audit log: who did what, when, on which site."""

    at: datetime
    site: str | None
    who: str
    event: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy that was put in force on a site: by whom, when, and in place of which.

    Digest and text are ``None`` where the site followed, or was to follow again, the policy of the home.
    """

    row: int
    at: datetime
    who: str
    digest: str | None
    toml: str | None
    before: str | None
    before_toml: str | None


@dataclass(frozen=True, slots=True)
class Decided:
    """What a policy looks at in a comment that was decided, and what was decided: enough to decide it again.

    ``comment`` has no parent and no neighbours, and of its post only the tags.
    """

    row: int
    version: int
    status: Status
    comment: Comment
    action: Action
    scores: Scores | None
    facts: Facts
    at: datetime


def may_be_id(text: str) -> bool:
    """Whether a comment can have that id at all. Databases choke on some that cannot, such as one with a NUL."""
    try:
        Neighbour(id=text)
    except InvalidComment:
        return False
    return True
