"""Bodies of the native API that are about people: verdicts, the queue, reports, appeals, changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from moderation.comment import MAX_ID_CHARS
from service.schemas import AuthorBody, BatchBody, Body, ChangeBody, CommentBody, DecisionBody, PostBody, write_decision
from service.statuses import RESERVED_NAMES, Outcome, Sort, Status, VerdictAction, WhyName
from service.store import Appeal, Change, QueueEntry, Verdict

MAX_NOTE_CHARS = 2_000
MAX_ENTRIES = 1_000
MAX_CLAIM_SECONDS = 3_600


def _refuse_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains a NUL character")
    return text


def _refuse_reserved(name: str) -> str:
    if name != "site" and name.strip().casefold() in RESERVED_NAMES:
        raise ValueError("means something else in the logs")
    return name


_Name = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(_refuse_nul)]
_Moderator = Annotated[_Name, AfterValidator(_refuse_reserved)]
_Entry = Annotated[int, Field(ge=1, lt=2**63)]
_Note = Annotated[str, Field(max_length=MAX_NOTE_CHARS), AfterValidator(_refuse_nul)]
Category = Literal["hostile", "spam", "off_topic", "insult", "threat", "identity_attack", "profanity", "severe"]


class VerdictBody(Body):
    """A moderator's judgement of a text, named by the digest that came with it."""

    comment_id: _Name | None = Field(None, description="Your id of the comment. Send this or `entry`.")
    entry: _Entry | None = Field(None, description="The queue entry that this answers; refused where it is taken.")
    digest: _Name = Field(description="The digest of the text that was read.")
    action: VerdictAction
    categories: list[Category] | None = Field(None, description="What is wrong with it; empty for an approval.")
    moderator: _Moderator | None = Field(None, description="Who judged, as the logs are to name them. Default: site.")
    note: _Note | None = Field(None, description="For moderators; forgotten with the comment.")
    score_shown: bool | None = Field(None, description="Whether the moderator saw the model's scores before.")
    whole_campaign: bool | None = Field(None, description="Also judge the entry's near-duplicates that wait.")
    entries: list[_Entry] | None = Field(
        None, max_length=MAX_ENTRIES, description="With `whole_campaign`: only these, which were read."
    )


class UndoBody(Body):
    """Who takes a verdict back."""

    moderator: _Moderator | None = Field(None, description="Default: site.")


class ClaimBody(Body):
    """Who wants to hold an entry of the queue, and which."""

    entry: _Entry | None = Field(None, description="Left out: the first that nobody else holds.")
    moderator: _Moderator | None = Field(None, description="Who will hold it. Default: site.")
    seconds: int | None = Field(None, ge=1, le=MAX_CLAIM_SECONDS, description="For how long. Default: 600.")
    sort: Sort | None = Field(None, description="Which is the first, where no entry is named. Default: urgency.")


class ReportBody(Body):
    """A reader's report. There is no field for a text: it would be personal data that nobody needs."""

    comment_id: _Name
    reporter: _Name = Field(description="Whatever you know the reader by. Only a keyed hash of it is kept.")
    category: Category | None = None


class AppealBody(Body):
    """An author's wish for another look at a rejected comment."""

    comment_id: _Name
    text: _Note | None = Field(None, description="What the author says, up to 2,000 characters.")


REQUEST_BODIES: tuple[type[Body], ...] = (
    CommentBody,
    BatchBody,
    VerdictBody,
    UndoBody,
    ClaimBody,
    ReportBody,
    AppealBody,
)


class VerdictAnswer(BaseModel):
    """A moderator's verdict, and what the comment's status is now."""

    verdict_id: str
    comment_id: str | None
    status: Status
    action: VerdictAction
    categories: list[Category]
    digest: str = Field(description="Of the text that was judged; empty once that was erased.")
    moderator: str
    source: str
    note: str | None
    score_shown: bool | None
    inclusion_probability: float | None = Field(
        description="How likely it was that a person looked at it at all: 1 by a rule, the share by chance, else null."
    )
    at: datetime
    undone_at: datetime | None
    undone_by: str | None


class VerdictsAnswer(BaseModel):
    """Verdicts that were given, or taken back, together."""

    verdicts: list[VerdictAnswer]


class WhyBody(BaseModel):
    """Why a comment waits."""

    name: WhyName
    detail: str | None = Field(description="The policy's reason, or the action that was audited.")
    value: float | None
    text: str


class QueueEntryBody(BaseModel):
    """A comment that waits for a person, or the oldest of `campaign_count` near-duplicates that do."""

    entry: int
    comment_id: str | None
    status: Status
    digest: str
    text: str
    author: AuthorBody | None
    post: PostBody | None
    lang: str | None
    url: str | None
    kind: str
    whys: list[WhyBody]
    decision: DecisionBody
    category: str | None
    urgency: float
    teaching: float
    reports: int
    campaign_count: int
    opened_at: datetime
    claimed_by: str | None
    claimed_until: datetime | None


class QueueAnswer(BaseModel):
    """A page of the queue; `cursor` goes into `after` for the next one and is null at the end."""

    entries: list[QueueEntryBody]
    cursor: str | None


class ClaimAnswer(BaseModel):
    """The entry that is held now; null where there is none to hold."""

    entry: QueueEntryBody | None


class ReleaseAnswer(BaseModel):
    """Whether the entry was held and is free now."""

    released: bool


class ReportAnswer(BaseModel):
    """How many readers have reported this version of the comment."""

    comment_id: str
    reports: int


class AppealAnswer(BaseModel):
    """An appeal; `outcome` is null until a moderator has looked."""

    appeal_id: str
    comment_id: str | None
    at: datetime
    outcome: Outcome | None
    author_message: str = Field(description="What the author may be told.")


class FeedChange(BaseModel):
    """One change of status of one comment."""

    comment_id: str | None
    old: Status | None
    new: Status
    who: str
    at: datetime
    decision_id: str | None
    verdict_id: str | None


class ChangesAnswer(BaseModel):
    """Changes in order; `cursor` goes into `after` for the next call, and `more` says that there are some now."""

    changes: list[FeedChange]
    cursor: int
    more: bool


class ErasedAnswer(BaseModel):
    """How many comments were erased."""

    erased: int


class CommentAnswer(BaseModel):
    """A comment as it stands now, with its latest decision, its verdicts and everything that happened to it."""

    id: str
    site: str
    status: Status
    decision: DecisionBody
    verdicts: list[VerdictAnswer]
    changes: list[ChangeBody]
    author_message: str | None = Field(description="What the author may be told now; null where there is nothing.")


def write_verdict(verdict: Verdict) -> dict[str, Any]:
    """A :class:`VerdictAnswer`."""
    return {
        "verdict_id": verdict.id,
        "comment_id": verdict.comment,
        "status": verdict.status,
        "action": verdict.action,
        "categories": list(verdict.categories),
        "digest": verdict.digest,
        "moderator": verdict.moderator,
        "source": verdict.source,
        "note": verdict.note,
        "score_shown": verdict.score_shown,
        "inclusion_probability": verdict.inclusion_probability,
        "at": verdict.at.isoformat(),
        "undone_at": verdict.undone_at.isoformat() if verdict.undone_at else None,
        "undone_by": verdict.undone_by,
    }


def write_entry(entry: QueueEntry) -> dict[str, Any]:
    """A :class:`QueueEntryBody`."""
    author = {"id": entry.author_id, "name": entry.author_name, "url": entry.author_url}
    post = {"id": entry.post_id, "title": entry.post_title}
    return {
        "entry": entry.row,
        "comment_id": entry.stored.id,
        "status": entry.stored.status,
        "digest": entry.stored.decision.digest,
        "text": entry.text,
        "author": author if any(author.values()) else None,
        "post": post if any(post.values()) else None,
        "lang": entry.lang,
        "url": entry.url,
        "kind": entry.kind,
        "whys": [{"name": why.name, "detail": why.detail, "value": why.value, "text": why.text} for why in entry.whys],
        "decision": write_decision(entry.stored),
        "category": entry.priority.category,
        "urgency": entry.urgency,
        "teaching": entry.priority.teaching,
        "reports": entry.reports,
        "campaign_count": entry.campaign_count,
        "opened_at": entry.opened_at.isoformat(),
        "claimed_by": entry.claimed_by,
        "claimed_until": entry.claimed_until.isoformat() if entry.claimed_until else None,
    }


_APPEAL_MESSAGES: dict[Outcome | None, str] = {
    None: "Thank you. A moderator will look at your comment again.",
    "upheld": "A moderator has looked at your comment again. It stays unpublished.",
    "overturned": "A moderator has looked at your comment again. It has been published.",
}


def write_appeal(appeal: Appeal) -> dict[str, Any]:
    """A :class:`AppealAnswer`."""
    return {
        "appeal_id": appeal.id,
        "comment_id": appeal.comment,
        "at": appeal.at.isoformat(),
        "outcome": appeal.outcome,
        "author_message": _APPEAL_MESSAGES[appeal.outcome],
    }


def write_change(change: Change) -> dict[str, Any]:
    """A :class:`FeedChange`."""
    return {
        "comment_id": change.comment,
        "old": change.change.old,
        "new": change.change.new,
        "who": change.change.who,
        "at": change.change.at.isoformat(),
        "decision_id": change.decision_id,
        "verdict_id": change.verdict_id,
    }
