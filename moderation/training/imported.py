"""Labels from other systems joined with a file of labels, line by line: neither has to fit into memory.

An export says how things stand in the other system. So a label takes the place of what an earlier export said of the
same comment, also where its text or its post was edited in between, and goes where the other system no longer says
anything.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from moderation.errors import InvalidRow
from moderation.training.labels import Label, read_labels, write_labels

About = tuple[str | None, str, str, str]
"""What an export speaks of: site, id of the comment (or its digest), source and moderator."""


@dataclass(frozen=True, slots=True)
class Merged:
    """How many labels are new, took the place of another, are gone, and are there now."""

    added: int
    replaced: int
    withdrawn: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a new label lies in the spool, and what is in it."""

    offset: int
    content: bytes


def merge_into(path: Path, new: Iterable[Label], silent: Collection[About] = (), *, write: bool = True) -> Merged:
    """Put new labels into a file, which is as it was until all of it is written; without ``write`` only count.

    Of several about the same comment the last counts. Former labels about what is ``silent`` go; it is asked when
    ``new`` was read to its end. A file that would not change is not touched. Raises ``InvalidRow`` for a line of the
    file that is no label, and whatever ``new`` raises; then nothing was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        places = _spool(spool, new)
        gone = {_fingerprint(about) for about in silent} - places.keys()
        same: set[bytes] = set()
        replaced: set[bytes] = set()
        former = dropped = 0
        for label in _read(path):
            name = _fingerprint(about_what(label))
            former += 1
            if name in gone or name in replaced or name in same:
                dropped += 1
                # Of several in the file one stays, and it is what the export says now.
                replaced |= {name} & same
                same.discard(name)
            elif name in places:
                is_same = places[name].content == _fingerprint(_write(label))
                (same if is_same else replaced).add(name)
        for name in same:
            del places[name]
        merged = Merged(
            added=len(places) - len(replaced),
            replaced=len(replaced),
            withdrawn=dropped,
            kept=former + len(places) - len(replaced) - dropped,
        )
        if write and (places or dropped):
            write_labels(path, _all(path, gone | replaced, spool, places))
    return merged


def about_what(label: Label) -> About:
    """What a label is about, whatever the text is by now."""
    return label.comment.site, label.comment.id or label.digest, label.source, label.moderator


def _spool(spool: IO[bytes], new: Iterable[Label]) -> dict[bytes, _Place]:
    """Write new labels aside; where each lies that counts, by what it is about."""
    places: dict[bytes, _Place] = {}
    for label in new:
        name, line = _fingerprint(about_what(label)), _write(label)
        place = _Place(spool.tell(), _fingerprint(line))
        if name not in places or places[name].content != place.content:
            places[name] = place
            spool.write(line.encode() + b"\n")
    return places


def _all(
    path: Path, left_out: Collection[bytes], spool: IO[bytes], places: Mapping[bytes, _Place]
) -> Iterator[Label | Mapping[str, Any]]:
    """What stays of the file, then what is new."""
    for label in _read(path):
        if _fingerprint(about_what(label)) not in left_out:
            yield label
    for place in places.values():
        spool.seek(place.offset)
        yield json.loads(spool.readline())


def _read(path: Path) -> Iterator[Label]:
    if not path.is_file():
        return
    for label in read_labels(path, file_format="jsonl"):
        if isinstance(label, InvalidRow):
            raise label
        yield label


def _write(label: Label) -> str:
    return json.dumps(label.to_dict(), ensure_ascii=False)


def _fingerprint(said: str | About) -> bytes:
    return hashlib.blake2b(repr(said).encode(), digest_size=16).digest()
