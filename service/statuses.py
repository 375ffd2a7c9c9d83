"""The closed lists of review: statuses and the moves allowed between them, verdicts, roles, reasons to look.

The moves are one table, read by everything that writes a status.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from moderation.comment import Action

Status = Literal["published", "held", "rejected", "erased"]
VerdictAction = Literal["approve", "reject"]
Outcome = Literal["upheld", "overturned"]
Role = Literal["viewer", "moderator", "maintainer"]
Right = Literal["read", "decide", "configure"]
Heard = Literal["published", "held", "rejected", "erased", "drift"]
WebhookFormat = Literal["standard", "akismet"]
WhyName = Literal["held", "near_line", "reported", "appealed", "audit", "second_look"]
Sort = Literal["urgency", "age", "score", "teaching"]

DRIFT: Heard = "drift"
"""What a webhook hears of that is about no comment."""

REVIEW = "review"
"""The source of a verdict that was given on the review pages."""

SECOND_LOOK: Literal["second_look"] = "second_look"
"""Why a comment waits that was judged already, and the source of the verdict that was given without knowing how."""

# Who else stands in the logs: a moderator of that name could not be told from it.
RESERVED_NAMES = frozenset({"model", "site", "reader", "author", "retention", "operator"})

# Before the name of somebody who judged on a page of the site's own: the name alone is only what the site says.
ELSEWHERE = "site:"

STATUS_AFTER: Mapping[Action, Status] = {"publish": "published", "hold": "held", "reject": "rejected"}
STATUS_BY_VERDICT: Mapping[VerdictAction, Status] = {"approve": "published", "reject": "rejected"}
OUTCOME_BY_VERDICT: Mapping[VerdictAction, Outcome] = {"approve": "overturned", "reject": "upheld"}

# What the ids of comments that came in through a dialect begin with; the rest is what its clients know them by.
AKISMET = "akismet"
AKISMET_ID = f"{AKISMET}-"

# What each role may do on a site: look; give verdicts and hold entries; change settings, policy, model, keys, people.
RIGHTS: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset({"read"}),
    "moderator": frozenset({"read", "decide"}),
    "maintainer": frozenset({"read", "decide", "configure"}),
}

# ``None`` is a comment not seen before. Erasure is final: what was erased cannot come back under the same id.
MOVES: Mapping[Status | None, frozenset[Status]] = {
    None: frozenset({"published", "held", "rejected"}),
    "published": frozenset({"held", "rejected", "erased"}),
    "held": frozenset({"published", "rejected", "erased"}),
    "rejected": frozenset({"published", "held", "erased"}),
    "erased": frozenset(),
}


def calls_spam(action: VerdictAction, categories: Collection[str]) -> bool | None:
    """Whether a verdict says of words, for others who say them too, that they are spam; ``None`` where it says neither.

    Who rejects and says nothing more may mean spam. What was rejected for something else is neither spam nor fine.
    """
    if action == "reject" and categories and "spam" not in categories:
        return None
    return action == "reject"
