"""A policy as a form: the fields, what stands in them, and a text with what was filled in, its comments kept.

The form knows every key of ``moderation.policy_schema.KEYS``; a test holds the two together. It checks nothing itself:
what cannot be read is written into the text as it is, so that the one check of policies says what is wrong and where.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tomlkit
from tomlkit.items import AoT, Table

from moderation.categories import CATEGORIES, CODES
from moderation.policy_schema import KEYS

Kind = Literal["line", "number", "count", "text", "list", "choice", "switch"]

LINES = ("hold", "reject")

_NUMBER = re.compile(r"(\d+(?:[.,]\d*)?|[.,]\d+)\s*(%)?")
_HOLD_OR_REJECT = (("hold", "wait for a moderator"), ("reject", "are rejected"))
_PUBLISH_OR_HOLD = (("publish", "are treated as others"), ("hold", "wait for a moderator"))


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a policy in the form. ``key`` is dotted; ``choices`` are (value, words)."""

    key: str
    label: str
    kind: Kind
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def default(self) -> Any:
        """What the policy takes where the key is left out."""
        table, _, name = self.key.rpartition(".")
        general = f"CATEGORY.{name}" if table in CODES and self.key not in KEYS else self.key
        return KEYS[general]


RULES: tuple[tuple[str, tuple[Field, ...]], ...] = (
    (
        "Authors",
        (
            Field("rules.trusted_authors", "Trusted authors", "list", "One id or name a line. They pass hold lines."),
            Field(
                "rules.banned_authors", "Banned authors", "list", "One id or name a line. Their comments are rejected."
            ),
            Field("rules.first_time", "Authors not published here before", "choice", choices=_PUBLISH_OR_HOLD),
        ),
    ),
    (
        "Words and links",
        (
            Field("rules.blocked_words", "Blocked words", "list", "One word or phrase a line, found as whole words."),
            Field("rules.blocked_words_action", "Comments with a blocked word", "choice", choices=_HOLD_OR_REJECT),
            Field(
                "rules.blocked_domains", "Blocked sites", "list", "One host name a line; its sub-domains are included."
            ),
            Field("rules.blocked_domains_action", "Comments with a link there", "choice", choices=_HOLD_OR_REJECT),
            Field("rules.allowed_domains", "Except for these sites", "list", "The more specific entry counts."),
            Field(
                "rules.links_allowed", "Links allowed", "count", "With more of them a comment is held. Empty: no limit."
            ),
        ),
    ),
    (
        "Floods and programs",
        (
            Field(
                "rules.near_identical_allowed",
                "Nearly identical comments allowed",
                "count",
                "Within 24 hours; further ones are held. Empty: no limit.",
            ),
            Field("rules.copies", "Comments of others repeated with a link", "choice", choices=_PUBLISH_OR_HOLD),
            Field(
                "rules.known_spam",
                "What was rejected as spam, said again",
                "choice",
                choices=(("publish", "is treated as anything else"), ("hold", "is held"), ("reject", "is rejected")),
            ),
            Field("rules.author_rate", "Comments of one author", "text", "Such as 10 per hour; more are held."),
            Field("rules.site_rate", "Comments on the site", "text", "Such as 200 per hour; more are held."),
            Field(
                "rules.honeypot",
                "Comments that fill in the hidden field",
                "choice",
                choices=(("publish", "are treated as others"), *_HOLD_OR_REJECT),
            ),
            Field(
                "rules.hostile_counts_as_spam",
                "Report hostile comments as spam, too",
                "switch",
                "For clients that only know spam. Changes no decision.",
            ),
        ),
    ),
)

AUDIT = (
    Field("audit.publish", "Of published comments", "number", "0.01 is one in a hundred."),
    Field("audit.reject", "Of rejected comments", "number", "0.05 is one in twenty."),
    Field("audit.verdicts", "Of verdicts, a second look", "number", "By somebody else, who does not see the first."),
)


def category_fields(code: str) -> tuple[Field, ...]:
    """The fields of one category."""
    fields = (
        Field(f"{code}.hold", "Held from", "line"),
        Field(f"{code}.reject", "Rejected from", "line"),
        Field(f"{code}.live_rate", "Share of all", "number"),
    )
    if f"{code}.when_abstained" not in KEYS:
        return fields
    return (*fields, Field(f"{code}.when_abstained", "Not comparable", "choice", choices=_PUBLISH_OR_HOLD))


FIELDS: Mapping[str, Field] = {
    field.key: field
    for group in (
        *(category_fields(category.code) for category in CATEGORIES),
        *(fields for _, fields in RULES),
        AUDIT,
    )
    for field in group
    if field.key in KEYS or field.key.partition(".")[0] in CODES
}


def fill(toml: str) -> dict[str, str]:
    """What stands in the fields for a policy's text, by their names. Raises ``ValueError`` where it is no TOML."""
    document = tomllib.loads(toml)
    filled = {}
    for key, field in FIELDS.items():
        table, _, name = key.rpartition(".")
        given = document.get(table, {})
        value = given.get(name) if isinstance(given, Mapping) else None
        if value is None and field.kind in ("choice", "switch"):
            value = field.default
        filled[key] = _show(value)
    for number, entry in enumerate(_entries(document)):
        filled[f"stricter.{number}.tags"] = ", ".join(map(str, _listed(entry.get("tags"))))
        for code in CODES:
            lines = entry.get(code, {})
            for name in LINES:
                value = lines.get(name) if isinstance(lines, Mapping) else None
                filled[f"stricter.{number}.{code}.{name}"] = _show(value)
    return filled


def count_entries(filled: Mapping[str, str]) -> int:
    """How many entries of stricter lines there are fields for."""
    numbers = [int(key.split(".")[1]) for key in filled if re.fullmatch(r"stricter\.\d{1,3}\.tags", key)]
    return max(numbers, default=-1) + 1


def field_of(key: str | None) -> str | None:
    """The name of the field for a key as errors name it; ``None`` where there is none."""
    if key is None:
        return None
    entry = re.fullmatch(r"stricter\[(\d+)\](.*)", key)
    name = f"stricter.{int(entry[1]) - 1}{entry[2]}" if entry else key
    return name if name in FIELDS or entry else None


def write(base: str, filled: Mapping[str, str]) -> str:
    """The text ``base`` with what was filled in. What was not touched stays as it is written, comments included.

    Raises ``ValueError`` where ``base`` is no TOML.
    """
    document = tomlkit.parse(base)
    for key, field in FIELDS.items():
        if key in filled or field.kind == "switch":
            table, _, name = key.rpartition(".")
            _put(document, table, name, _read(field.kind, filled.get(key, "")), field.default)
    _put_entries(document, filled)
    return tomlkit.dumps(document)


def _put(document: Any, table: str, name: str, value: Any, default: Any) -> None:
    present: Any = document.get(table)
    is_table = isinstance(present, Mapping)
    stated: Any = present.get(name) if is_table else None
    stated = stated.unwrap() if hasattr(stated, "unwrap") else stated
    if value is None:
        if stated is not None:
            del present[name]
        return
    # What is left out says the default; 1 and 1.0 are the same line, while true is not.
    is_bool = isinstance(stated, bool) or isinstance(value, bool)
    is_same = value == default if stated is None else stated == value and (not is_bool or type(stated) is type(value))
    if is_same:
        return
    if not is_table:
        document[table] = tomlkit.table()
    document[table][name] = value


def _put_entries(document: Any, filled: Mapping[str, str]) -> None:
    wanted = [entry for number in range(count_entries(filled)) if (entry := _read_entry(number, filled))]
    stated = [entry.unwrap() if hasattr(entry, "unwrap") else entry for entry in _entries(document)]
    if wanted == stated:
        return
    present = document.get("stricter")
    if isinstance(present, AoT) and len(present) == len(wanted):
        # Entry by entry, so that comments beside those that stay as they are stay as well.
        for table, old, new in zip(present, stated, wanted, strict=True):
            if old != new:
                _change_entry(table, new)
        return
    if "stricter" in document:
        del document["stricter"]
    if wanted:
        entries = tomlkit.aot()
        for entry in wanted:
            table = tomlkit.table()
            for name, value in entry.items():
                table[name] = value
            entries.append(table)
        document["stricter"] = entries


def _change_entry(table: Table, wanted: Mapping[str, Any]) -> None:
    for name in [name for name in table if name not in wanted]:
        del table[name]
    for name, value in wanted.items():
        if table.get(name) != value:
            table[name] = value


def _read_entry(number: int, filled: Mapping[str, str]) -> dict[str, Any]:
    """One entry as it goes into the text; empty where nothing was filled in."""
    tags = [tag.strip() for tag in filled.get(f"stricter.{number}.tags", "").split(",") if tag.strip()]
    lines: dict[str, dict[str, Any]] = {}
    for code in CODES:
        stated = {name: _read("line", filled.get(f"stricter.{number}.{code}.{name}", "")) for name in LINES}
        if given := {name: value for name, value in stated.items() if value is not None}:
            lines[code] = given
    return {"tags": tags, **lines} if tags or lines else {}


def _read(kind: Kind, said: str) -> Any:
    """What was filled in as a value of TOML; what is no number where one is wanted stays text."""
    said = said.strip()
    if kind == "switch":
        return said == "true"
    if kind == "list":
        return [line.strip() for line in said.splitlines() if line.strip()] or None
    if not said:
        return None
    if kind == "count" and said.isascii() and said.isdecimal() and len(said) < 10:
        return int(said)
    number = _NUMBER.fullmatch(said) if kind in ("line", "number") else None
    if number is None:
        return said
    value = float(number[1].replace(",", "."))
    return round(value / 100, 12) if number[2] else value


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return str(value)


def _entries(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in _listed(document.get("stricter")) if isinstance(entry, Mapping)]


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
