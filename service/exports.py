"""What is kept, as lines of JSON: by command into a file, through the API as an answer."""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterator
from typing import Literal, get_args

from service.store import LogEntry, Site, Store, plain

ExportKind = Literal["log", "comment", "decision", "verdict", "suggestion", "appeal", "report"]
"""What can be exported. ``log`` is every status change and all that people did; it holds no text."""

NDJSON = "application/x-ndjson"

_CHUNK_CHARS = 65_536

KINDS: tuple[ExportKind, ...] = get_args(ExportKind)


def export_lines(store: Store, site: Site | None, kinds: Collection[ExportKind]) -> Iterator[str]:
    """Lines of some kinds, of a site or of all, the oldest of each kind first; never more than some hundreds in memory.

    Every line but those of the log has its ``kind``. Raises ``StoreError``.
    """
    if "log" in kinds:
        for entry in heapq.merge(store.logs.statuses(site), store.logs.audit(site), key=lambda entry: entry.at):
            yield _write_log(entry)
    for name, read in store.copies.kinds().items():
        if name in kinds:
            for row in read(site):
                yield json.dumps({"kind": name, **row}, ensure_ascii=False, default=plain) + "\n"


def in_chunks(lines: Iterator[str]) -> Iterator[str]:
    """The same in pieces that are worth sending."""
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= _CHUNK_CHARS:
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)


def _write_log(entry: LogEntry) -> str:
    line = {"at": entry.at.isoformat(), "site": entry.site, "who": entry.who, "event": entry.event, **entry.details}
    return json.dumps(line, ensure_ascii=False) + "\n"
