"""What training and evaluation work on: one labelled comment per row, and our own files of them.

Public sets become rows in :mod:`moderation.training.sources`; the rows written for this project are read here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moderation.categories import CODES
from moderation.comment import Comment
from moderation.errors import InvalidComment, InvalidRow

# Few and made to teach a contrast, so each counts for several rows of a public set.
SEED_WEIGHT = 3.0
_CASE_FIELDS = frozenset({"id", "comment", "slice", "why"})


@dataclass(frozen=True, slots=True)
class Row:
    """One comment and what is known about it.

    ``labels`` maps a category code to 0 or 1; a category that is missing is unknown, which is not 0. Rows of one
    ``group`` (thread, campaign or blog) never straddle a split. ``frozen_set`` names the set on which the row is
    measured; such a row is never trained on. ``extra`` holds facts such as the id of a clean/obfuscated pair.
    """

    source: str
    id: str
    comment: Comment
    labels: Mapping[str, int]
    group: str
    weight: float = 1.0
    frozen_set: str | None = None
    slices: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BehaviourCase:
    """A comment with the behaviour that any good bundle shows on it, and why.

    ``expect`` is kept as it stands in the file; ``needs`` names what the case cannot pass without (such as
    ``encoder``), ``None`` if nothing.
    """

    id: str
    comment: Comment
    expect: Mapping[str, Any]
    slice: str
    why: str
    needs: str | None = None


def fingerprint(text: str) -> str:
    r"""First 16 hex digits of the SHA-1 of the text lower-cased with every ``[\W_]`` removed."""
    letters = "".join(filter(str.isalnum, mend(text).lower()))  # what \w matches, without the underscore
    return hashlib.sha1(letters.encode(), usedforsecurity=False).hexdigest()[:16]


def mend(text: str) -> str:
    """The text with NUL and lone surrogates, which no comment may hold, replaced by U+FFFD."""
    text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def read_seed(path: Path) -> Iterator[Row]:
    """The rows of one ``training_data/seed/*.jsonl``; each is its own group.

    A line is ``{"id", "comment": {fields of the API}, "labels": {category: 0|1}, "slice", "why"}``. Raises
    ``InvalidRow`` naming file and line for anything else.
    """
    for line, case in _cases(path, "labels"):
        labels = case["labels"]
        if not isinstance(labels, dict) or not labels:
            raise InvalidRow(str(path), line, "labels must be an object with at least one category")
        for code, value in labels.items():
            if code not in CODES:
                raise InvalidRow(str(path), line, f"{code!r} is not a category; known are {', '.join(CODES)}")
            if type(value) is not int or value not in (0, 1):
                raise InvalidRow(str(path), line, f"the label of {code} must be 0 or 1")
        identity = case["id"]
        yield Row("seed", identity, case["comment"], labels, f"seed:{identity}", SEED_WEIGHT, slices=(case["slice"],))


def read_behaviour(path: Path) -> Iterator[BehaviourCase]:
    """The cases of one ``training_data/behaviour/*.jsonl``, as for :func:`read_seed` with ``expect`` and ``needs``."""
    for line, case in _cases(path, "expect"):
        needs = case.get("needs")
        if not isinstance(case["expect"], dict) or not case["expect"]:
            raise InvalidRow(str(path), line, "expect must be an object that says something")
        if not all(code in CODES and side in ("low", "high") for code, side in case["expect"].items()):
            raise InvalidRow(str(path), line, "expect must map categories to low or high")
        if needs is not None and not isinstance(needs, str):
            raise InvalidRow(str(path), line, "needs must be a string")
        yield BehaviourCase(case["id"], case["comment"], case["expect"], case["slice"], case["why"], needs)


def _cases(path: Path, answer: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Decoded lines with their number; common fields checked and ``comment`` built."""
    seen: set[str] = set()
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                case = _case(json.loads(raw), answer)
                case["comment"] = Comment.from_dict(case["comment"])
            except InvalidComment as error:
                raise InvalidRow(str(path), line, f"comment: {error}") from None
            except ValueError as error:  # bad JSON, bad UTF-8, or what _case found
                raise InvalidRow(str(path), line, str(error)) from None
            if case["id"] in seen:
                raise InvalidRow(str(path), line, f"the id {case['id']!r} stands twice in this file")
            seen.add(case["id"])
            yield line, case


def _case(case: object, answer: str) -> dict[str, Any]:
    """The object, if it has the fields it must have and no others. Raises ``ValueError``."""
    required = _CASE_FIELDS | {answer}
    if not isinstance(case, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - one kind of error for a bad line
    if missing := sorted(required - case.keys()):
        raise ValueError(f"lacks {', '.join(missing)}")
    if unknown := sorted(case.keys() - required - {"needs"}):
        raise ValueError(f"has unknown fields: {', '.join(unknown)}")
    for name in ("id", "slice", "why"):
        if not isinstance(case[name], str) or not case[name].strip():
            raise ValueError(f"{name} must be a string with something in it")
    return case
