"""The attributes of the Perspective API: which of our categories each is, for which languages, and what values mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from moderation.normalise import normalise
from moderation.readable import tell_english
from service.store import Judgement

UNDETERMINED = "und"
"""The code that BCP 47 has for a language that nobody could tell."""

CATEGORIES: Mapping[str, str] = {
    "TOXICITY": "hostile",
    "SEVERE_TOXICITY": "severe",
    "IDENTITY_ATTACK": "identity_attack",
    "INSULT": "insult",
    "PROFANITY": "profanity",
    "THREAT": "threat",
    "SPAM": "spam",
    "OFF_TOPIC": "off_topic",
    "TOXICITY_FAST": "hostile",
}
"""Attributes and the category that each of them is the score of."""

FAST = "TOXICITY_FAST"
ANY = "LIKELY_TO_REJECT"
"""The attribute that is the highest score of all categories."""

# What Coral calls a moderator's verdict, in place of an attribute.
_APPROVED = ("APPROVED", "HIGHLIGHTED")
_DELETED = "DELETED"

# Attributes of Google's that we have nothing for, so that a log may name them.
OTHERS = frozenset(
    {"SEXUALLY_EXPLICIT", "FLIRTATION", "ATTACK_ON_AUTHOR", "ATTACK_ON_COMMENTER", "ATTACK_ON_PUBLISHER"}
    | {"INCOHERENT", "INFLAMMATORY", "OBSCENE", "UNSUBSTANTIAL"}
    | {f"{name}_EXPERIMENTAL" for name in ("AFFINITY", "COMPASSION", "CURIOSITY", "NUANCE", "PERSONAL_STORY")}
    | {f"{name}_EXPERIMENTAL" for name in ("REASONING", "RESPECT")}
)

# Those that Google's production attributes take. Spam and relation to the post are told in any language.
LANGUAGES = frozenset(
    {"ar", "cs", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "zh", UNDETERMINED}
)
_ANY_LANGUAGE = frozenset({"SPAM", "OFF_TOPIC", ANY})
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{1,8}){0,4}")
_LETTER = re.compile("[A-Za-z]")
# Google's versions, which none of ours can be taken for; a client that names one means the model of that name.
_VERSION_OF_GOOGLE = re.compile("[0-9]{1,3}")
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute as it was asked for.

    ``base`` is ``None`` where it is not known, ``version`` where none of ours is named.
    """

    name: str
    base: str | None
    version: str | None

    @classmethod
    def read(cls, name: str) -> Attribute:
        """From ``NAME``, ``NAME_EXPERIMENTAL`` or either with ``@version``."""
        bare, at, version = name.partition("@")
        base = bare if bare == FAST else bare.removesuffix("_EXPERIMENTAL")
        is_known = (base in CATEGORIES or base == ANY) and bare != f"{FAST}_EXPERIMENTAL"
        is_pinned = bool(at) and _VERSION_OF_GOOGLE.fullmatch(version) is None
        return cls(name, base if is_known else None, version if is_pinned else None)


def takes_language(attribute: Attribute, languages: tuple[str, ...]) -> bool:
    """Whether an attribute is given for all of these languages."""
    codes = [match[1].lower() if (match := _LANGUAGE.fullmatch(said)) else "" for said in languages]
    return all(codes) if attribute.base in _ANY_LANGUAGE else LANGUAGES.issuperset(codes)


def is_language(said: str) -> bool:
    """Whether it has the form of a language code."""
    return _LANGUAGE.fullmatch(said) is not None


def detect_language(text: str) -> str | None:
    """``en``, ``und`` for what is not English or has no words, ``None`` where there is nothing to read at all."""
    if not any(unicodedata.category(sign)[0] in "LNS" for sign in text):
        return None
    plain = normalise(text).text
    return "en" if _LETTER.search(plain) and tell_english(plain) >= _HALF else UNDETERMINED


def read_judgement(values: Mapping[str, float | None]) -> Judgement | None:
    """The verdict that the values of a ``suggestscore`` come to; ``None`` where they say nothing of what we know.

    Said of the same category by two of its names, the worse counts; a rejection counts more than an approval.
    """
    applies: set[str] = set()
    cleared: set[str] = set()
    rejects = approves = False
    for name, value in values.items():
        if value is None:
            continue
        base, is_high = Attribute.read(name).base, value >= _HALF
        if base is not None and base != ANY:
            (applies if is_high else cleared).add(CATEGORIES[base])
        rejects |= is_high and (base == ANY or name == _DELETED)
        approves |= name in _APPROVED if is_high else base == ANY
    left = tuple(sorted(cleared - applies))
    if applies or rejects:
        return Judgement("reject", tuple(sorted(applies)), cleared=left)
    if approves:
        return Judgement("approve")
    return Judgement("approve", cleared=left) if left else None


def is_verdict(name: str) -> bool:
    """Whether it is one of the words that Coral sends in place of an attribute."""
    return name in (*_APPROVED, _DELETED)
