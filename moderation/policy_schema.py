"""The text of a policy: every key it may have, checked and turned into frozen values.

``KEYS`` is the whole schema with its defaults; ``docs/policy.md`` explains each key, and a test holds the two together.
``read_settings`` refuses what it does not know, so that a misspelt key is an error and not a rule without effect.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeGuard

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import Action
from moderation.errors import InvalidPolicy
from moderation.goals import Goal, read_goal

StatedLine = float | Goal | None


@dataclass(frozen=True, slots=True)
class CategorySettings:
    """What the policy says about one category. ``live_rate`` is its share among arriving comments, 0 to 1."""

    hold: StatedLine
    reject: StatedLine
    live_rate: float
    when_abstained: Literal["publish", "hold"] = "publish"


WINDOWS: Mapping[str, int] = MappingProxyType({"minute": 60, "hour": 3_600, "day": 86_400})
"""The spans of time, in seconds, within which comments are counted for rates; facts hold the counts in this order."""

_MOST_IN_A_RATE = 10_000
_RATE = re.compile(r"\s*(\d{1,6})\s+per\s+(minute|hour|day)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many comments are allowed within a span of time; ``per`` is one of ``WINDOWS``."""

    most: int
    per: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that need no model. Names and words are folded (:func:`fold`), domains as :func:`fold_domain`."""

    trusted_authors: frozenset[str]
    banned_authors: frozenset[str]
    blocked_words: tuple[str, ...]
    blocked_words_action: Literal["hold", "reject"]
    blocked_domains: frozenset[str]
    blocked_domains_action: Literal["hold", "reject"]
    allowed_domains: frozenset[str]
    links_allowed: int | None
    near_identical_allowed: int | None
    copies: Literal["publish", "hold"]
    known_spam: Action
    author_rate: Rate | None
    site_rate: Rate | None
    first_time: Literal["publish", "hold"]
    honeypot: Action
    hostile_counts_as_spam: bool


@dataclass(frozen=True, slots=True)
class StricterLines:
    """Lines, as (hold, reject) by category, for posts that carry one of these (folded) tags."""

    tags: frozenset[str]
    lines: Mapping[str, tuple[StatedLine, StatedLine]]


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """A whole policy as stated, goals not yet resolved.

    ``audit`` holds the share of each action that is audited, ``second_looks`` the share of verdicts that somebody else
    is to give again.
    """

    categories: Mapping[str, CategorySettings]
    audit: Mapping[str, float]
    rules: Rules
    stricter: tuple[StricterLines, ...]
    second_looks: float


def fold(text: str) -> str:
    """Text as rules compare it: compatibility forms unified (NFKC), capitals gone (casefold), ends stripped."""
    # Casefolding can undo the composition that NFKC made, hence the second pass.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def fold_domain(domain: str) -> str:
    """A host name as rules compare it: lower case, no leading ``www.`` or final dot, in ASCII if it can be."""
    domain = fold(domain).rstrip(".")
    if domain.count(".") > 1:  # "www.com" is a host of its own, and "com" would be every host below it
        domain = domain.removeprefix("www.")
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain


def read_settings(toml: str) -> PolicySettings:
    """Read a policy's text. Raises ``InvalidPolicy`` with the line, or the dotted key, and what to do about it."""
    document = _read_document(toml)
    _refuse_unknown("", document, (*CODES, "audit", "rules", "stricter"))
    categories = {code: _read_category(code, document.get(code, {})) for code in CODES}
    audit = _take("audit", document.get("audit", {}), _AUDIT_KEYS)
    second_looks = audit.pop("verdicts")
    settings = PolicySettings(
        categories=MappingProxyType(categories),
        audit=MappingProxyType(audit),
        rules=_read_rules(document.get("rules", {})),
        stricter=_read_stricter(document.get("stricter", []), categories),
        second_looks=second_looks,
    )
    # An empty or half-saved file would otherwise let everything through.
    if all(stated.hold is None and stated.reject is None for stated in categories.values()):
        raise InvalidPolicy(
            "the policy has no line for any category, so it says nothing; write a category with a line, such as "
            "[spam] with hold = 0.5, or to let everything through set hold = 1"
        )
    return settings


def _read_document(toml: str) -> dict[str, Any]:
    try:
        return tomllib.loads(toml)
    except RecursionError:
        raise InvalidPolicy("the policy nests too deeply to be read; remove the inner brackets") from None
    except ValueError as error:  # TOMLDecodeError, and what huge numbers and impossible dates raise
        line = f"at line {toml.count(chr(10)) + 1}, the end of the policy"
        problem = str(error).replace("at end of document", line)
        raise InvalidPolicy(f"the policy is not valid TOML: {problem}; correct that line") from None


def _read_category(code: str, table: object) -> CategorySettings:
    keys = _CATEGORY_KEYS | _ABSTAINING_KEYS if code in MAY_ABSTAIN else _CATEGORY_KEYS
    if isinstance(table, Mapping) and "when_abstained" in table and "when_abstained" not in keys:
        raise InvalidPolicy(
            f"{code}.when_abstained: {code} always has a score; only {', '.join(sorted(MAY_ABSTAIN))} can abstain"
        )
    settings = CategorySettings(**_take(code, table, keys, example="hold = 0.5"))
    _refuse_crossed(f"{code}.reject", settings.hold, settings.reject)
    return settings


def _read_rules(table: object) -> Rules:
    rules = Rules(**_take("rules", table, _RULE_KEYS))
    _refuse_shared("rules.banned_authors", rules.banned_authors & rules.trusted_authors, "rules.trusted_authors")
    _refuse_shared("rules.blocked_domains", rules.blocked_domains & rules.allowed_domains, "rules.allowed_domains")
    return rules


def _read_stricter(entries: object, categories: Mapping[str, CategorySettings]) -> tuple[StricterLines, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InvalidPolicy('stricter: must be a list of tables; write [[stricter]] and below it tags = ["..."]')
    result = []
    for number, entry in enumerate(entries, start=1):
        where = f"stricter[{number}]"
        _refuse_unknown(where, entry, ("tags", *CODES))
        tags = _names(f"{where}.tags", entry.get("tags", []))
        if not tags:
            raise InvalidPolicy(f'{where}.tags: name at least one tag, such as tags = ["memorial"]')
        lines: dict[str, tuple[StatedLine, StatedLine]] = {}
        for code in CODES:
            if code not in entry:
                continue
            taken = _take(f"{where}.{code}", entry[code], _STRICTER_KEYS, example="hold = 0.3")
            base = categories[code]
            _refuse_crossed(
                f"{where}.{code}.reject", _lower(base.hold, taken["hold"]), _lower(base.reject, taken["reject"])
            )
            # The category's own line may be the lower one, which must not excuse an entry that contradicts itself.
            _refuse_crossed(f"{where}.{code}.reject", taken["hold"], taken["reject"])
            lines[code] = (taken["hold"], taken["reject"])
        if not any(line is not None for pair in lines.values() for line in pair):
            raise InvalidPolicy(f"{where}: has no line; add one, such as [stricter.hostile] with hold = 0.3")
        result.append(StricterLines(frozenset(tags), MappingProxyType(lines)))
    return tuple(result)


def _lower(base: StatedLine, line: StatedLine) -> StatedLine:
    """The lower of two numbers, the other where one is missing; a goal where it cannot be told yet."""
    if base is None or line is None:
        return base if line is None else line
    if isinstance(base, float) and isinstance(line, float):
        return min(base, line)
    return base if isinstance(base, Goal) else line


def _refuse_crossed(key: str, hold: StatedLine, reject: StatedLine) -> None:
    """Two numbers can contradict each other now; goals are put in order when they are resolved."""
    if isinstance(hold, float) and isinstance(reject, float) and reject < hold:
        raise InvalidPolicy(
            f"{key}: {reject:g} is below the hold line {hold:g}, so nothing would be held; "
            f"raise reject to {hold:g} or more, or lower hold"
        )


def _refuse_shared(key: str, shared: frozenset[str], other: str) -> None:
    if shared:
        raise InvalidPolicy(f"{key}: {min(shared)!r} is also in {other}; remove it from one of the two")


def _refuse_unknown(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in table:
        if name in known:
            continue
        path = f"{where}.{name}" if where else name
        close = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"remove it, or use one of {', '.join(known)}"
        raise InvalidPolicy(f"{path}: is not a known key; {advice}")


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is read (dotted name, decoded value -> value in force) and what it is when left out."""

    read: Callable[[str, Any], Any]
    default: Any


def _take(where: str, table: object, keys: Mapping[str, Key], example: str = "") -> dict[str, Any]:
    """All keys of a table: the stated ones read and checked, the others at their defaults."""
    if not isinstance(table, Mapping):
        below = f" and below it {example}" if example else ""
        raise InvalidPolicy(f"{where}: must be a table; write [{where}]{below}")
    _refuse_unknown(where, table, tuple(keys))
    return {name: key.read(f"{where}.{name}", table.get(name, key.default)) for name, key in keys.items()}


def _line(key: str, value: object) -> StatedLine:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return read_goal(value)
        except ValueError as error:
            raise InvalidPolicy(f"{key}: {value!r}: {error}") from None
    if not _is_number(value) or not 0 <= value <= 1:
        raise InvalidPolicy(f'{key}: must be a number from 0 to 1 or a goal in quotes, such as "precision >= 0.99"')
    return float(value)


def _rate(key: str, value: object) -> float:
    if not _is_number(value) or not 0 < value < 1:
        raise InvalidPolicy(f"{key}: must be a number between 0 and 1, both excluded, such as 0.05 for one in twenty")
    return float(value)


def _audit_share(key: str, value: object) -> float:
    if not _is_number(value) or not 0 <= value <= 1:
        raise InvalidPolicy(f"{key}: must be a number from 0 to 1, such as 0.01 for one in a hundred")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(key: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidPolicy(f"{key}: must be a whole number, 0 or more; leave the key out for no limit")
    return value


def _rate_limit(key: str, value: object) -> Rate | None:
    if value is None:
        return None
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= _MOST_IN_A_RATE:
        raise InvalidPolicy(
            f'{key}: must be a number from 1 to {_MOST_IN_A_RATE:,} and a span of time, such as "10 per hour", '
            '"3 per minute" or "50 per day"; leave the key out for no limit'
        )
    return Rate(int(found[1]), found[2].lower())


def _truth(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidPolicy(f"{key}: must be true or false, without quotes")
    return value


def _one_of(*actions: str) -> Callable[[str, object], str]:
    def read(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in actions:
            choices = " or ".join(f'"{action}"' for action in actions)
            raise InvalidPolicy(f"{key}: must be {choices}")
        return value

    return read


def _strings(key: str, value: object) -> list[str]:
    if not isinstance(value, list | tuple):
        raise InvalidPolicy(f'{key}: must be a list, such as ["one", "two"]')
    for item in value:
        if not isinstance(item, str) or not fold(item):
            raise InvalidPolicy(f"{key}: every entry must be a text in quotes that is not empty")
    return list(value)


def _names(key: str, value: object) -> frozenset[str]:
    return frozenset(fold(name) for name in _strings(key, value))


def _words(key: str, value: object) -> tuple[str, ...]:
    # Sorted longest first: in an alternation the first match wins, and "buy now" must not stop at "buy".
    return tuple(sorted({" ".join(fold(word).split()) for word in _strings(key, value)}, key=lambda w: (-len(w), w)))


def _domains(key: str, value: object) -> frozenset[str]:
    domains = set()
    for stated in _strings(key, value):
        domain = fold_domain(stated)
        if not domain or any(sign in domain for sign in "/:@*? ") or domain.startswith("."):
            raise InvalidPolicy(
                f"{key}: {stated!r} is not a host name; write it like example.com (its sub-domains are included)"
            )
        domains.add(domain)
    return frozenset(domains)


_LINE_KEYS = {"hold": Key(_line, None), "reject": Key(_line, None)}
# A low rate is the cautious guess: it only makes precision harder to show, and what is not shown is held.
_CATEGORY_KEYS = _LINE_KEYS | {"live_rate": Key(_rate, 0.01)}
_ABSTAINING_KEYS = {"when_abstained": Key(_one_of("publish", "hold"), "publish")}
_STRICTER_KEYS = _LINE_KEYS
_AUDIT_KEYS = {
    "publish": Key(_audit_share, 0.01),
    "reject": Key(_audit_share, 0.05),
    "verdicts": Key(_audit_share, 0.0),
}
_RULE_KEYS = {
    "trusted_authors": Key(_names, ()),
    "banned_authors": Key(_names, ()),
    "blocked_words": Key(_words, ()),
    "blocked_words_action": Key(_one_of("hold", "reject"), "hold"),
    "blocked_domains": Key(_domains, ()),
    "blocked_domains_action": Key(_one_of("hold", "reject"), "hold"),
    "allowed_domains": Key(_domains, ()),
    "links_allowed": Key(_count, None),
    "near_identical_allowed": Key(_count, None),
    "copies": Key(_one_of("publish", "hold"), "hold"),
    "known_spam": Key(_one_of("publish", "hold", "reject"), "hold"),
    "author_rate": Key(_rate_limit, None),
    "site_rate": Key(_rate_limit, None),
    "first_time": Key(_one_of("publish", "hold"), "publish"),
    "honeypot": Key(_one_of("publish", "hold", "reject"), "hold"),
    "hostile_counts_as_spam": Key(_truth, False),
}

KEYS: Mapping[str, Any] = MappingProxyType(
    {
        **{f"CATEGORY.{name}": key.default for name, key in _CATEGORY_KEYS.items()},
        **{f"off_topic.{name}": key.default for name, key in _ABSTAINING_KEYS.items()},
        **{f"audit.{name}": key.default for name, key in _AUDIT_KEYS.items()},
        **{f"rules.{name}": key.default for name, key in _RULE_KEYS.items()},
        "stricter.tags": (),
        **{f"stricter.CATEGORY.{name}": key.default for name, key in _STRICTER_KEYS.items()},
    }
)
"""Every key with its default, dotted; ``CATEGORY`` stands for any category code."""
