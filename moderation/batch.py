"""Score files of any size: JSON Lines, CSV or Parquet in, one JSON line per comment out, in the same order.

A bad line never stops the others: in its place stands ``{"id"?, "line", "error"}``, and again in the file
``OUT.errors.jsonl`` beside the output, for mending.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

from joblib import Parallel, cpu_count, delayed, effective_n_jobs

from moderation.bundle import Bundle, load_bundle
from moderation.comment import MAX_POST_CHARS, Author, Comment, Neighbour, Post
from moderation.errors import InvalidComment, ModerationError
from moderation.explain import explain_decision
from moderation.policy import Policy

FORMATS = ("jsonl", "csv", "parquet")
_CHUNK = 256
_TOO_MANY = "more cells than columns"
_NESTED: dict[str, type] = {"author": Author, "post": Post, "parent": Neighbour}
COLUMNS: tuple[str, ...] = (
    *(item.name for item in fields(Comment) if item.name not in {*_NESTED, "hints"}),
    *(f"{name}.{item.name}" for name, kind in _NESTED.items() for item in fields(kind)),
    "hints.honeypot",
)
"""The columns of a CSV file; those of a Parquet file may be nested instead."""


class UnreadableInput(ModerationError):
    """The input as a whole cannot be read, from the start or from some place on."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of input: a comment, or why it is none."""

    number: int
    comment: Comment | None
    id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One line of input as decoded data, before it is known what it says, or why it cannot be decoded."""

    number: int
    data: object = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many lines were scored and how many were bad."""

    scored: int
    bad: int


def check(bundle: Path, policy: str, jobs: int = 1) -> None:
    """Load bundle and policy as they will be for ``jobs``, so that nothing is written where they are faulty.

    Raises ``BundleError`` or ``InvalidPolicy``.
    """
    _load(bundle, policy, _threads(jobs))


def score_lines(
    lines: Iterable[Line],
    bundle: Path,
    policy: str,
    *,
    jobs: int = 1,
    explained: bool = False,
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each line with its result: ``id`` and the decision, or ``line`` and ``error``. Lazy; order kept.

    ``bundle`` is the bundle's folder and ``policy`` the TOML text, so that ``jobs`` processes can each load them.
    ``explained`` adds to each decision its ``explanation``, which takes longer than the decision.
    """
    source = iter(lines)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    parallel = Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2*n_jobs")
    threads = _threads(jobs)
    tasks = (delayed(_score_chunk)(bundle, policy, threads, chunk, explained) for chunk in chunks)
    for chunk, results in parallel(tasks):
        yield from zip(chunk, results, strict=True)


def score_file(
    source: Path | None,
    target: IO[str],
    aside: Callable[[], IO[str]] | None,
    bundle: Path,
    policy: str,
    *,
    file_format: str | None = None,
    ignore_unknown: bool = False,
    jobs: int = 1,
    explained: bool = False,
    on_line: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Score ``source`` (``None``: standard input) into ``target``; bad lines also go to what ``aside`` opens, if any.

    Raises ``UnreadableInput`` when the file as a whole cannot be read. ``on_line`` hears how many lines are done.
    """
    scored = bad = 0
    errors: IO[str] | None = None
    try:
        lines = read_lines(source, file_format=file_format, ignore_unknown=ignore_unknown)
        for line, result in score_lines(lines, bundle, policy, jobs=jobs, explained=explained):
            target.write(json.dumps(result, ensure_ascii=False) + "\n")
            if line.error is None:
                scored += 1
            else:
                bad += 1
                if aside is not None:
                    errors = errors or aside()
                    errors.write(json.dumps({"file": str(source or "-"), **result}, ensure_ascii=False) + "\n")
            on_line(scored + bad)
    finally:
        if errors is not None:
            errors.close()
    return Outcome(scored, bad)


def read_lines(source: Path | None, *, file_format: str | None = None, ignore_unknown: bool = False) -> Iterator[Line]:
    """The comments of a file, by its ending (``.csv``, ``.parquet``, else JSON Lines) or ``file_format``."""
    for record in read_records(source, file_format=file_format, ignore_unknown=ignore_unknown):
        yield _read_line(record, ignore_unknown=ignore_unknown)


def read_records(
    source: Path | None,
    *,
    file_format: str | None = None,
    columns: Collection[str] = COLUMNS,
    ignore_unknown: bool = False,
) -> Iterator[Record]:
    """The lines of a file as decoded data; ``columns`` are those that a CSV file may have, beside each other.

    Raises ``UnreadableInput`` when the file as a whole cannot be read.
    """
    kind = file_format or {".csv": "csv", ".parquet": "parquet"}.get(source.suffix.lower() if source else "", "jsonl")
    if kind == "parquet":
        return _read_parquet(source)
    return _read_text(source, kind, columns, ignore_unknown=ignore_unknown)


def _read_text(source: Path | None, kind: str, columns: Collection[str], *, ignore_unknown: bool) -> Iterator[Record]:
    place: Path | int = 0 if source is None else source
    try:
        if kind == "csv":
            # What is no UTF-8 becomes lone surrogates, which no comment may hold: so only that line is bad.
            with open(place, encoding="utf-8-sig", errors="surrogateescape", newline="", closefd=place != 0) as text:
                yield from _read_csv(text, columns, ignore_unknown=ignore_unknown)
        else:
            with open(place, "rb", closefd=place != 0) as file:
                yield from _read_jsonl(file)
    except OSError as error:
        raise UnreadableInput(f"cannot read {source or 'standard input'}: {error.strerror}") from error


def _read_jsonl(file: IO[bytes]) -> Iterator[Record]:
    for number, raw in enumerate(file, 1):
        content = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        if not content.strip():
            yield Record(number, error="is empty")
            continue
        try:
            data = json.loads(content.decode())
        except UnicodeDecodeError:
            yield Record(number, error="is not valid UTF-8")
        except (ValueError, RecursionError) as error:
            yield Record(number, error=f"is not JSON: {error}"[:200])
        else:
            yield Record(number, data)


def _read_csv(text: IO[str], columns: Collection[str], *, ignore_unknown: bool) -> Iterator[Record]:
    csv.field_size_limit(MAX_POST_CHARS * 4)
    reader = csv.DictReader(text, restkey=_TOO_MANY)
    unknown = [name for name in reader.fieldnames or () if name not in columns]
    if unknown and not ignore_unknown:
        raise UnreadableInput(
            f"line 1: unknown columns {', '.join(unknown)}; known are {', '.join(columns)}. "
            "Rename them, or ignore them with --ignore-unknown"
        )
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(reader.line_num, error=f"is not CSV: {error}")
            continue
        if _TOO_MANY in cells:
            named = {"id": cells.get("id")}
            yield Record(reader.line_num, named, error="has more cells than there are columns")
            continue
        yield _read_cells(reader.line_num, {name: cell for name, cell in cells.items() if name in columns and cell})


def _read_cells(number: int, cells: dict[str, str]) -> Record:
    data: dict[str, Any] = {}
    try:
        for name, cell in cells.items():
            value: Any = cell
            if name in {"do_not_store", "hints.honeypot"}:
                value = {"true": True, "1": True, "false": False, "0": False}.get(cell.lower(), cell)
            elif name == "post.tags":
                value = [tag.strip() for tag in cell.split(",")]
            elif name == "thread":
                value = json.loads(cell)
            outer, _, inner = name.partition(".")
            if inner:
                data.setdefault(outer, {})[inner] = value
            else:
                data[name] = value
    except (ValueError, RecursionError) as error:
        return Record(number, {"id": cells.get("id")}, f"thread: is not JSON: {error}"[:200])
    return Record(number, data)


def _read_parquet(source: Path | None) -> Iterator[Record]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra that only Parquet needs
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise UnreadableInput("Parquet needs pyarrow: pip install '.[parquet]'") from None
    if source is None:
        raise UnreadableInput("Parquet cannot be read from standard input: give a file")
    try:
        number = 0
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=_CHUNK):
                for row in batch.to_pylist():
                    number += 1
                    data = {name: value for name, value in row.items() if "." not in name}
                    for name, value in row.items():
                        outer, dot, inner = name.partition(".")
                        if dot and value is not None:
                            data[outer] = {**(data.get(outer) or {}), inner: value}
                    yield Record(number, data)
    except (OSError, pa.ArrowException) as error:
        raise UnreadableInput(f"cannot read {source}: {error}") from error


def _read_line(record: Record, *, ignore_unknown: bool) -> Line:
    data = record.data
    identity = data.get("id") if isinstance(data, dict) else None
    identity = identity if isinstance(identity, str) else None
    if record.error is not None:
        return Line(record.number, None, identity, record.error)
    try:
        return Line(record.number, Comment.from_dict(_known(data) if ignore_unknown else data), identity)
    except InvalidComment as error:
        return Line(record.number, None, identity, str(error))


def _known(data: object) -> object:
    """The object without fields that comments do not have."""
    if not isinstance(data, dict):
        return data
    known = {item.name for item in fields(Comment)}
    result = {name: value for name, value in data.items() if name in known}
    for name, kind in _NESTED.items():
        if isinstance(result.get(name), dict):
            inner = {item.name for item in fields(kind)}
            result[name] = {key: value for key, value in result[name].items() if key in inner}
    return result


def _score_chunk(
    bundle: Path, policy: str, threads: int, chunk: list[Line], explained: bool
) -> tuple[list[Line], list[dict[str, Any]]]:
    loaded, resolved = _load(bundle, policy, threads)
    assessed = iter(loaded.assess_or_hold([line.comment for line in chunk if line.comment is not None]))
    results = []
    for line in chunk:
        result: dict[str, Any] = {} if line.id is None else {"id": line.id}
        if line.comment is None:
            result |= {"line": line.number, "error": line.error}
        else:
            scores, facts = next(assessed)
            decision = resolved.decide(line.comment, scores, facts)
            result |= decision.to_dict()
            if explained and scores is not None:
                result["explanation"] = explain_decision(loaded.model, line.comment, decision).to_dict()
        results.append(result)
    return chunk, results


def _threads(jobs: int) -> int:
    """How many texts each of the processes reads side by side, so that together they fill the cores."""
    threads: int = max(1, cpu_count() // effective_n_jobs(jobs))
    return threads


@lru_cache(maxsize=2)
def _load(bundle: Path, policy: str, threads: int) -> tuple[Bundle, Policy]:
    loaded = load_bundle(bundle, threads=threads)
    return loaded, Policy.parse(policy, loaded.operating_points)
