"""Reading public files line by line, so that a bad one is named with its place."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moderation.comment import Author, Neighbour, Post
from moderation.errors import InvalidRow

# Not hostile means none of its parts. Profanity is left out: friendly comments swear too.
BENIGN: Mapping[str, int] = {"hostile": 0, "insult": 0, "threat": 0, "identity_attack": 0, "severe": 0}

_PLACEHOLDER = re.compile(
    r"\[(?:USER|URL|NAME|RELIGION)\]|<(?:user|url|number|percent|money|email|phone|time|date|censored)>|(?<!\w)@user\b",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Draft:
    """What an adapter knows of one row. ``raw`` is the text as it stands in the file, if it was changed."""

    id: str
    text: str
    labels: Mapping[str, int]
    group: str
    frozen_set: str | None = None
    weight: float = 1.0
    slices: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    author: Author | None = None
    post: Post | None = None
    thread: tuple[Neighbour, ...] | None = None
    parent: Neighbour | None = None
    lang: str | None = None
    created_at: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a file: fields by name, each access checked."""

    path: Path
    number: int
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> str:
        """The field as text. Raises ``InvalidRow`` when it is missing or something else."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.error(f"has no text field {name!r}")
        return value

    def measure(self, name: str) -> float:
        """The field as a number. Raises ``InvalidRow`` when it is none."""
        value = self.fields.get(name)
        try:
            return float(value)  # type: ignore[arg-type]  # whatever float refuses is the error below
        except (TypeError, ValueError):
            raise self.error(f"{name!r} is not a number") from None

    def flag(self, name: str) -> int:
        """The field as 0 or 1. Raises ``InvalidRow`` when it is neither."""
        value = self.measure(name)
        if value not in (0.0, 1.0):
            raise self.error(f"{name!r} is neither 0 nor 1")
        return int(value)

    def error(self, message: str) -> InvalidRow:
        """The error that names this line."""
        return InvalidRow(str(self.path), self.number, message)


def named(paths: Sequence[Path], ending: str) -> Path:
    """The one of a source's files whose path ends so. Raises ``LookupError`` if the catalogue does not list it."""
    for path in paths:
        if path.as_posix().endswith(ending):
            return path
    raise LookupError(f"the catalogue lists no file ending in {ending!r}")


def csv_lines(
    path: Path, *, delimiter: str = ",", quoted: bool = True, names: Sequence[str] | None = None
) -> Iterator[Line]:
    """The records of a CSV or TSV file; ``names`` for a file without a header line."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(
            file, fieldnames=names, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        )
        try:
            for fields in reader:
                yield Line(path, reader.line_num, fields)
        except csv.Error as error:
            raise InvalidRow(str(path), reader.line_num, f"is not CSV: {error}") from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The non-empty lines of a text file with their numbers, split at line feeds only."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield number, text.rstrip("\r\n")


def json_lines(path: Path) -> Iterator[Line]:
    """The objects of a JSON Lines file."""
    for number, text in text_lines(path):
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise InvalidRow(str(path), number, f"is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise InvalidRow(str(path), number, "must be a JSON object")
        yield Line(path, number, fields)


def without_placeholders(text: str) -> str:
    """The text without ``[USER]``, ``<url>`` and the like.

    They mark a data set, not a comment: where a set gives only one class, a model would learn the mark.
    """
    return " ".join(_PLACEHOLDER.sub(" ", text).split())


def without_tags(text: str) -> str:
    """The text without HTML tags, entities decoded."""
    return " ".join(html.unescape(_TAG.sub(" ", text)).replace("\xa0", " ").split())


def short_hash(text: str) -> str:
    """Sixteen hex digits that name a text which has no id of its own."""
    return hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:16]


def spread(key: str) -> float:
    """A number in [0, 1) fixed by the key: sampling and splitting without a random generator."""
    return int(hashlib.sha1(key.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:12], 16) / 16**12
