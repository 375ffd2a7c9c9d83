"""Labels: what people said about comments, with where each comes from; as values, as files, as rows to learn from.

A file of labels is JSON Lines, or CSV with the same names. A line holds the fields of the comment and, beside them,
what was said and by whom: :class:`Label`. Several people may have said something about a comment, and the same one
several times: all of it is kept, and :func:`last_words` says what counts.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from moderation.batch import COLUMNS as COMMENT_COLUMNS
from moderation.batch import Record, read_records
from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import MAX_ID_CHARS, Action, Comment, Tier
from moderation.errors import DataError, InvalidComment, InvalidRow
from moderation.files import write_lines
from moderation.training.rows import Row

UNDO = "undo"
"""The source of a row that takes back what its moderator said about its comment before."""

TRUST: Mapping[str, float] = {
    "verdict": 1.0,
    "second_look": 1.0,
    "appeal_upheld": 1.5,
    "appeal_overturned": 1.5,
    "report_confirmed": 1.25,
    "batch": 0.5,
    "platform": 0.7,
    "import": 0.7,
}
"""How much a label of each source counts against one comment that a moderator has read and judged here.

An appeal was looked at twice, and by somebody who had the author's words; a report that was confirmed is the word of a
reader and of a moderator. What was decided in one go was not read one by one. About what was judged elsewhere, or came
in a file, nothing is known of how. Conventions, not measurements.
"""

ANSWERS = frozenset({"appeal_upheld", "appeal_overturned", "report_confirmed"})
"""Sources whose verdict was asked for because somebody disagreed: they say nothing about how often people agree."""

_LABEL_FIELDS = (
    "labels", "verdict", "moderator", "source", "at", "digest", "bundle", "tier", "score_shown", "action", "scores",
    "inclusion_probability", "known_as",
)  # fmt: skip
COLUMNS: tuple[str, ...] = (
    *COMMENT_COLUMNS,
    *(f"labels.{code}" for code in CODES),
    *(name for name in _LABEL_FIELDS if name not in {"labels", "scores"}),
    *(f"scores.{code}" for code in CODES),
)
"""The columns that a CSV file of labels may have."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ID = re.compile(rf".{{1,{MAX_ID_CHARS}}}", re.DOTALL)
_SOURCE = re.compile(r"[a-z][a-z0-9_]{0,31}(?::[a-z][a-z0-9_]{0,31})?", re.ASCII)
_MAX_TRUST = 10.0
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Key = tuple[str | None, str | None, str]


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody said about a comment.

    ``labels`` maps category codes to 0 or 1; one that is missing is unknown. There is none where a comment was rejected
    without saying as what (``verdict`` is ``reject``), and where something is taken back (``source`` is ``undo``).
    ``digest`` is that of what was judged. ``action``, ``scores``, ``bundle`` and ``tier`` are the machine's decision at
    the time; ``score_shown`` says whether it was seen by who judged. ``inclusion_probability`` is how likely it was
    that somebody would look, where that is known. ``known_as`` is the id under which the service may know the comment,
    where it comes from elsewhere under another: by it an erasure finds it.
    """

    comment: Comment
    labels: Mapping[str, int]
    moderator: str
    digest: str
    source: str = "import"
    verdict: str | None = None
    at: datetime | None = None
    bundle: str | None = None
    tier: Tier | None = None
    score_shown: bool | None = None
    action: Action | None = None
    scores: Mapping[str, float | None] | None = None
    inclusion_probability: float | None = None
    known_as: str | None = None

    @property
    def key(self) -> Key:
        """Which comment, in which text, on which site."""
        return self.comment.site, self.comment.id, self.digest

    @property
    def identity(self) -> tuple[Key, str, str]:
        """What a second import of the same label has in common with the first."""
        return self.key, self.source, self.moderator

    def to_dict(self) -> dict[str, Any]:
        """The label as a line of a file; what is not known is left out."""
        comment = {name: value for name, value in _without_empty(asdict(self.comment)).items() if value is not False}
        said = {name: getattr(self, name) for name in _LABEL_FIELDS}
        said["labels"] = dict(self.labels)
        said["at"] = None if self.at is None else self.at.isoformat()
        said["scores"] = None if self.scores is None else dict(self.scores)
        return comment | {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Trust:
    """How much labels count, by their source and by who gave them; who is not named counts in full."""

    sources: Mapping[str, float] = field(default_factory=lambda: dict(TRUST))
    moderators: Mapping[str, float] = field(default_factory=dict)

    def of(self, label: Label) -> float:
        """The weight of a label."""
        return self.of_source(label.source) * self.moderators.get(label.moderator, 1.0)

    def of_source(self, source: str) -> float:
        """The weight of a source; one of a kind (``import:disqus``) as its kind, one that is not known as a file."""
        kind = self.sources.get(source.partition(":")[0], self.sources["import"])
        return self.sources.get(source, kind)


def read_trust(path: Path) -> Trust:
    """The weights in a TOML file with tables ``sources`` and ``moderators``; what it leaves out is as it was.

    Raises ``DataError`` for anything else in it.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the trust in labels from {path}: {error}") from None
    if unknown := sorted(said.keys() - {"sources", "moderators"}):
        raise DataError(f"{path}: there is no table {unknown[0]!r}; there are sources and moderators")
    for table in said.values():
        if not isinstance(table, dict) or not all(_is_number(value, _MAX_TRUST) for value in table.values()):
            raise DataError(f"{path}: every weight must be a number from 0 to {_MAX_TRUST:g}")
    if unknown := sorted(name for name in said.get("sources", {}) if name.partition(":")[0] not in TRUST):
        raise DataError(f"{path}: there is no source {unknown[0]!r}; there are {', '.join(TRUST)}")
    return Trust({**TRUST, **said.get("sources", {})}, said.get("moderators", {}))


def read_labels(
    path: Path | None,
    *,
    file_format: str | None = None,
    defaults: Mapping[str, str] | None = None,
    ignore_unknown: bool = False,
) -> Iterator[Label | InvalidRow]:
    """Every line of a file (``None``: standard input) as a label or, where it is none, as why.

    ``defaults`` stand for fields that a line leaves out, such as ``moderator``. Raises ``UnreadableInput`` where the
    file as a whole cannot be read.
    """
    records = read_records(path, file_format=file_format, columns=COLUMNS, ignore_unknown=ignore_unknown)
    is_csv = (file_format or (path.suffix.lower().lstrip(".") if path else "")) == "csv"
    for record in records:
        try:
            yield read_label(_data(record, defaults or {}, is_csv=is_csv), ignore_unknown=ignore_unknown)
        except (InvalidComment, ValueError) as error:
            yield InvalidRow(str(path or "-"), record.number, str(error))


def read_label(data: object, *, ignore_unknown: bool = False) -> Label:
    """A label from decoded JSON. Raises ``ValueError`` or ``InvalidComment`` for what is none."""
    if not isinstance(data, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004 - one kind of error for a bad line
    said = {name: data[name] for name in _LABEL_FIELDS if data.get(name) is not None}
    names = {name.partition(".")[0] for name in COMMENT_COLUMNS} if ignore_unknown else data.keys()
    comment = Comment.from_dict({name: data[name] for name in data if name in names and name not in _LABEL_FIELDS})
    if comment.do_not_store:
        raise ValueError("do_not_store says that the text may not be kept, and a label keeps it")
    source = _text(said, "source", _SOURCE, "a word in small letters such as import or import:disqus") or "import"
    verdict = _choice(said, "verdict", ("approve", "reject"))
    labels = _labels(said.get("labels", {}))
    if not labels and verdict != "reject" and source != UNDO:
        raise ValueError('labels must say something of at least one category, such as {"spam": 1}')
    moderator = said.get("moderator")
    if not isinstance(moderator, str) or not moderator.strip() or len(moderator) > MAX_ID_CHARS:
        raise ValueError(f"moderator must say who judged, in up to {MAX_ID_CHARS} characters")
    digest = _text(said, "digest", _DIGEST, "64 hex digits")
    shown = said.get("score_shown")
    if shown is not None and not isinstance(shown, bool):
        raise ValueError("score_shown must be true or false")
    inclusion = said.get("inclusion_probability")
    if inclusion is not None and not (_is_number(inclusion, 1.0) and inclusion > 0):
        raise ValueError("inclusion_probability must be a number above 0, and at most 1")
    return Label(
        comment=comment,
        labels=labels,
        moderator=moderator,
        digest=digest or comment.digest(),
        source=source,
        verdict=verdict,
        at=_moment(said.get("at")),
        bundle=_text(said, "bundle", re.compile(r"\S{1,200}"), "the name of a bundle"),
        tier=_choice(said, "tier", get_args(Tier)),  # type: ignore[arg-type]  # one of them
        score_shown=shown,
        action=_choice(said, "action", get_args(Action)),  # type: ignore[arg-type]  # one of them
        scores=_scores(said.get("scores")),
        inclusion_probability=inclusion,
        known_as=_text(said, "known_as", _ID, f"an id of up to {MAX_ID_CHARS} characters"),
    )


def write_labels(path: Path, labels: Iterable[Label | Mapping[str, Any]]) -> int:
    """Write a file of labels, readable by its owner only, which is whole or not there; how many they are."""
    said = (label.to_dict() if isinstance(label, Label) else dict(label) for label in labels)
    return write_lines(path, (json.dumps(line, ensure_ascii=False) for line in said))


def merge_labels(kept: Iterable[Label], new: Iterable[Label]) -> tuple[list[Label], int, int]:
    """What is kept once new labels have come: all of them, how many were added and how many replaced.

    The same label again changes nothing. One that says something else about the same comment, from the same source and
    moderator, takes the place of the former unless it is older.
    """
    present = {label.identity: label for label in kept}
    added = replaced = 0
    for label in new:
        former = present.get(label.identity)
        if former is not None and (former == label or _when(label) < _when(former)):
            continue
        added, replaced = added + (former is None), replaced + (former is not None)
        # At the end, since of labels without a time the one that came last counts.
        present.pop(label.identity, None)
        present[label.identity] = label
    return list(present.values()), added, replaced


def words(labels: Iterable[Label]) -> dict[Key, dict[str, Label]]:
    """The last word of each moderator about each comment, the last one last; taken back words are none.

    In the order of time; what has no time counts as older than what has, and otherwise as it comes.
    """
    said: dict[Key, dict[str, Label]] = {}
    for label in sorted(labels, key=_when):
        of_comment = said.setdefault(label.key, {})
        of_comment.pop(label.moderator, None)
        if label.source != UNDO:
            of_comment[label.moderator] = label
    return {key: of_comment for key, of_comment in said.items() if of_comment}


def last_words(labels: Iterable[Label]) -> list[Label]:
    """One label for each comment: the last word about it, whoever has said it. The others are gone.

    How likely a look was is taken from the last word that knows it: who objects to a verdict on a comment that chance
    had picked changes what was found, and not how it was picked.
    """
    found = []
    for of_comment in words(labels).values():
        said = list(of_comment.values())
        known = [label.inclusion_probability for label in said if label.inclusion_probability is not None]
        found.append(replace(said[-1], inclusion_probability=known[-1]) if known else said[-1])
    return found


def believed(labels: Iterable[Label], trust: Trust) -> list[Label]:
    """Without what accounts say that count for nothing: they neither teach nor have the last word over others."""
    return [label for label in labels if trust.moderators.get(label.moderator, 1.0) > 0]


def as_rows(labels: Iterable[Label], trust: Trust | None = None) -> list[Row]:
    """Last words as rows of a data set, weighed by trust; without those that name no category or count for nothing.

    Comments under one post are a group, which never straddles a split.
    """
    trusted = trust or Trust()
    rows = []
    for label in last_words(believed(labels, trusted)):
        weight = trusted.of(label)
        if not label.labels or weight <= 0:
            continue
        comment = label.comment
        site, post = comment.site or "", (comment.post.id or comment.post.title) if comment.post else None
        identity = f"{site}:{comment.id or ''}:{label.digest[:16]}"
        group = f"label:{site}:{post or comment.id or label.digest}"
        rows.append(Row("labels", identity, comment, dict(label.labels), group, weight, extra={"from": label.source}))
    return rows


def _data(record: Record, defaults: Mapping[str, str], *, is_csv: bool) -> object:
    if record.error is not None:
        raise ValueError(record.error)
    if not isinstance(record.data, dict):
        return record.data
    data = {name: value for name, value in record.data.items() if value is not None}
    return {**defaults, **(_read_cells(data) if is_csv else data)}


def _read_cells(data: dict[str, Any]) -> dict[str, Any]:
    """Numbers and yes or no, which a CSV file writes as text. What cannot be read stays, to be refused."""
    read = dict(data)
    for name in ("labels", "scores"):
        if name in read:
            read[name] = {code: _number(cell) for code, cell in read[name].items()}
    if "score_shown" in read:
        read["score_shown"] = _FLAGS.get(read["score_shown"].lower(), read["score_shown"])
    if "inclusion_probability" in read:
        read["inclusion_probability"] = _number(read["inclusion_probability"])
    return read


def _number(cell: str) -> int | float | str:
    try:
        value = float(cell)
    except ValueError:
        return cell
    return int(value) if value.is_integer() else value


def _labels(said: object) -> dict[str, int]:
    if not isinstance(said, Mapping):
        raise ValueError("labels must be an object of categories, each 0 or 1")  # noqa: TRY004
    for code, value in said.items():
        if code not in CODES:
            raise ValueError(f"{str(code)[:40]!r} is not a category; there are {', '.join(CODES)}")
        if value is not None and (type(value) is not int or value not in (0, 1)):
            raise ValueError(f"the label of {code} must be 0 or 1")
    return {code: said[code] for code in CODES if said.get(code) is not None}


def _scores(said: object) -> dict[str, float | None] | None:
    if said is None:
        return None
    if not isinstance(said, Mapping) or not said.keys() <= set(CODES):
        raise ValueError("scores must be an object of categories")
    if not all(value is None or _is_number(value, 1.0) for value in said.values()):
        raise ValueError("every score must be a number from 0 to 1")
    if missing := [code for code in CODES if said.get(code) is None and code not in MAY_ABSTAIN]:
        raise ValueError(f"scores lack {', '.join(missing)}")
    return {code: said.get(code) for code in CODES}


def _moment(said: object) -> datetime | None:
    if said is None:
        return None
    try:
        moment = datetime.fromisoformat(str(said))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("at must be a moment such as 2026-01-31T12:00:00Z") from None


def _text(said: Mapping[str, Any], name: str, form: re.Pattern[str], what: str) -> str | None:
    value = said.get(name)
    if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
        raise ValueError(f"{name} must be {what}")
    return value


def _choice(said: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str | None:
    value = said.get(name)
    if value is not None and value not in choices:
        raise ValueError(f"{name} must be {' or '.join(choices)}")
    return value


def _is_number(value: object, most: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= most  # type: ignore[operator,arg-type]  # just checked


def _when(label: Label) -> datetime:
    return label.at or _LONG_AGO


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is unset, in objects inside too; a thread with nothing in it says that there is none."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            if inner := _without_empty(value):
                kept[name] = inner
        elif name == "thread" and value is not None:
            kept[name] = [_without_empty(item) for item in value]
        elif value is not None and (name != "tags" or value):
            kept[name] = list(value) if isinstance(value, tuple) else value
    return kept
