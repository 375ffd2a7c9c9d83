"""The catalogue of public sets: what each is, whether its files are here and intact, and its rows.

The catalogue is ``training_data/sources.toml``; the files lie in a data folder that a setting names. Nothing is read
from a file before its SHA-256 is the catalogue's.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import pooch

from moderation.comment import Comment
from moderation.errors import DataError, InvalidComment, SourceCorrupt, SourceMissing
from moderation.training.adapters import ADAPTERS
from moderation.training.adapters.reading import Draft
from moderation.training.rows import Row, fingerprint, mend

Use = Literal["train", "frozen", "train+frozen"]
State = Literal["present", "missing", "corrupt"]

_REQUIRED = frozenset({"name", "title", "licence", "citation", "use", "adapter", "mind", "weight", "files"})
_FETCH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path below the data folder, its SHA-256 (hex) and, if it can be fetched, where."""

    path: str
    sha256: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One public set. ``local`` says where files without a URL come from; ``mind`` what to know before using it."""

    name: str
    title: str
    licence: str
    citation: str
    use: Use
    adapter: str
    mind: str
    weight: float
    files: tuple[SourceFile, ...]
    local: str | None = None


@dataclass(frozen=True, slots=True)
class FileStatus:
    """Whether one file of a source is here and intact; ``message`` says what to do when it is not."""

    source: str
    path: str
    state: State
    message: str = ""


def load_catalogue(path: Path) -> tuple[Source, ...]:
    """The sources of a ``sources.toml``, in its order. Raises ``DataError`` naming the source and what is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("source", [])
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the catalogue {path}: {error}") from None
    sources = tuple(_source(table) for table in tables)
    if repeated := [name for name, count in Counter(source.name for source in sources).items() if count > 1]:
        raise DataError(f"{path}: {', '.join(repeated)} stands there twice")
    return sources


def status(catalogue: Sequence[Source], data_dir: Path) -> list[FileStatus]:
    """The state of every file of every source, in catalogue order. Reads each file once; never raises for one."""
    return [_file_status(source, file, data_dir) for source in catalogue for file in source.files]


def fetch(catalogue: Sequence[Source], data_dir: Path) -> list[FileStatus]:
    """Fetch what is missing or corrupt, each file checked before it takes its place; then the state of every file.

    A file that cannot be had (no network, other bytes, no URL) keeps its state and has a message that says why and
    what to do; the others are still tried.
    """
    pooch.get_logger().setLevel("WARNING")
    results = []
    for source in catalogue:
        for file in source.files:
            result = _file_status(source, file, data_dir)
            if result.state != "present" and file.url:
                target = data_dir / file.path
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    pooch.retrieve(
                        file.url,
                        known_hash=f"sha256:{file.sha256}",
                        fname=target.name,
                        path=target.parent,
                        downloader=pooch.HTTPDownloader(timeout=_FETCH_SECONDS),
                    )
                    result = _file_status(source, file, data_dir)
                except (OSError, ValueError) as error:  # requests' errors are OSErrors; another hash is a ValueError
                    sentence = f"cannot fetch {file.url}: {error}. Put the file at {target} yourself, or try again."
                    result = FileStatus(source.name, file.path, result.state, sentence)
            results.append(result)
    return results


def read_rows(source: Source, data_dir: Path, refused: Counter[str] | None = None) -> Iterator[Row]:
    """The rows of one source, after every file of it has been verified.

    A comment that breaks the contract (empty, over 50,000 characters) is left out and counted in ``refused`` under the
    source's name. Raises ``SourceMissing``, ``SourceCorrupt``, or ``InvalidRow`` for a line that cannot be read.
    """
    for file in source.files:
        found = _file_status(source, file, data_dir)
        if found.state == "missing":
            raise SourceMissing(f"{source.name}: {found.message}")
        if found.state == "corrupt":
            raise SourceCorrupt(f"{source.name}: {found.message}")
    for draft in ADAPTERS[source.adapter]([data_dir / file.path for file in source.files]):
        try:
            yield _row(source, draft)
        except InvalidComment:
            if refused is not None:
                refused[source.name] += 1


def _row(source: Source, draft: Draft) -> Row:
    """The draft as a row. Raises ``InvalidComment``."""
    text = mend(draft.text)
    comment = Comment(
        text=text,
        author=draft.author,
        post=draft.post,
        thread=draft.thread,
        parent=draft.parent,
        lang=draft.lang,
        created_at=draft.created_at,
    )
    extra = dict(draft.extra)
    if draft.raw is not None and draft.raw != draft.text:
        extra["raw_fingerprint"] = fingerprint(draft.raw)  # exclusion lists were made from the text as published
    return Row(
        source=source.name,
        id=f"{source.name}:{draft.id}",
        comment=comment,
        labels=draft.labels,
        group=draft.group,
        weight=source.weight * draft.weight,
        frozen_set=draft.frozen_set,
        slices=draft.slices,
        extra=extra,
    )


def _source(table: dict[str, Any]) -> Source:
    """One table of the catalogue, checked."""
    name = table.get("name", "a source without name")
    if missing := sorted(_REQUIRED - table.keys()):
        raise DataError(f"catalogue, {name}: lacks {', '.join(missing)}")
    if table["use"] not in get_args(Use):
        raise DataError(f"catalogue, {name}: use must be one of {', '.join(get_args(Use))}")
    if table["adapter"] not in ADAPTERS:
        raise DataError(f"catalogue, {name}: there is no adapter {table['adapter']!r}")
    try:
        files = tuple(SourceFile(**file) for file in table["files"])
        source = Source(**{**table, "files": files, "weight": float(table["weight"])})
    except (TypeError, ValueError) as error:
        raise DataError(f"catalogue, {name}: {error}") from None
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"catalogue, {name}: {file.path} leaves the data folder")
        if file.url is None and source.local is None:
            raise DataError(f"catalogue, {name}: {file.path} has no url, so the source needs local = where it is from")
    return source


def _file_status(source: Source, file: SourceFile, data_dir: Path) -> FileStatus:
    path = data_dir / file.path
    where = "run `moderation data fetch`" if file.url else f"put it there by hand: {source.local}"
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return FileStatus(source.name, file.path, "missing", f"{path} is missing; {where}")
    except OSError as error:
        return FileStatus(source.name, file.path, "missing", f"{path} cannot be read ({error.strerror}); {where}")
    if digest != file.sha256:
        return FileStatus(source.name, file.path, "corrupt", f"{path} has another checksum than the catalogue; {where}")
    return FileStatus(source.name, file.path, "present")
