"""The closed list of categories: stable codes, labels for people, one line of definition each.

Codes never change once published, because stored decisions, policies and labels name them; labels may.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of trouble. ``parent`` is the code of the wider category it is part of, if any."""

    code: str
    label: str
    definition: str
    parent: str | None = None


CATEGORIES: tuple[Category, ...] = (
    Category("hostile", "Hostile", "Meant to hurt, humiliate, threaten or drive someone out of the conversation."),
    Category(
        "spam", "Spam", "Placed for somebody's gain, such as links, advertising or search ranking, not to take part."
    ),
    Category("off_topic", "Off topic", "Has nothing to do with the post or the comment that it answers."),
    Category("insult", "Insult", "Belittles or abuses a person.", "hostile"),
    Category("threat", "Threat", "Announces or wishes harm to someone.", "hostile"),
    Category(
        "identity_attack", "Identity attack", "Attacks people for what they are: origin, faith, gender ...", "hostile"
    ),
    Category("profanity", "Profanity", "Uses obscene or swear words, whether or not at someone.", "hostile"),
    Category("severe", "Severe", "So hateful or aggressive that most people would leave the discussion.", "hostile"),
)

CODES: tuple[str, ...] = tuple(category.code for category in CATEGORIES)
MAY_ABSTAIN: frozenset[str] = frozenset({"off_topic"})
