"""Erasure in the files of a home: labels that were exported or imported, and what a retraining keeps of them.

The database says what was erased; this makes the home agree. Every process looks after its own home, since several may
share a database and not a home. A note in it says up to which erasure, and of which files, that was done: it is
written last, so that what was cut off is done again.

::

    labels/
      store.jsonl             written anew from the database, for the sites that it has
      imported.jsonl          without labels of what was erased, and without quotes of it
      doubts.json             without what was found of it
    cache/                    emptied where something that was judged is gone
    .forgotten                the note
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from moderation.files import is_locked, turn, write_file, write_lines
from service.errors import StoreError
from service.hashes import Hashes
from service.logs import describe_error
from service.second_looks import FINDINGS, keep_findings, read_findings
from service.store import Store

_log = logging.getLogger(__name__)

STORED = "store.jsonl"
"""The file of labels of the store, in the folder of labels of a home."""

IMPORTED = "imported.jsonl"
"""The file of labels from elsewhere, beside it."""

LOOK_SECONDS = 5.0
"""So often it is looked whether something was erased, by whomever."""

_AFTER_FAULT_SECONDS = 60.0
_NOTE = ".forgotten"

Identity = tuple[str | None, str]
"""A comment: site and id."""


class Erased:
    """What was erased, to be compared with labels. A label of no site may be of any."""

    def __init__(
        self, comments: Collection[tuple[str, str]], authors: Collection[tuple[str, str]], hashes: Hashes
    ) -> None:
        """``comments`` by site and id, ``authors`` by site and the hash of their id."""
        self._comments = {*comments, *((None, identity) for _, identity in comments)}
        self._authors = set(authors)
        self._sites = {site for site, _ in authors}
        self._hashes = hashes

    @classmethod
    def of(cls, store: Store, hashes: Hashes) -> Erased:
        """All that a store knows of."""
        return cls(store.labels.erased(), store.labels.erased_authors(), hashes)

    def __bool__(self) -> bool:
        return bool(self._comments or self._authors)

    def has(self, site: str | None, ids: Collection[str | None], author: str | None) -> bool:
        """Whether a comment was erased under one of these ids, or all that its author wrote."""
        if any((site, each) in self._comments for each in ids):
            return True
        if author is None:
            return False
        return any(
            (each, self._hashes.author(each, author)) in self._authors
            for each in (self._sites if site is None else self._sites & {site})
        )

    def knows(self, site: str | None, identity: object) -> bool:
        """Whether a comment was erased under that id."""
        return (site, identity) in self._comments


class KeptLabels:
    """Keeps the files of a home in line with what was erased. Started, it does so by itself; thread-safe."""

    def __init__(self, home: Path, store: Store, hashes: Hashes, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._home = home
        self._store = store
        self._hashes = hashes
        self._look_seconds = look_seconds
        self._asked = threading.Condition()
        self._wanted = self._done = 0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="kept labels", daemon=True)

    def start(self) -> None:
        """Look now and then whether something was erased, in a thread, until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the file that is being written."""
        with self._asked:
            self._is_stopping = True
            self._asked.notify_all()
        self._thread.join()

    def settle(self, seconds: float = 1.0) -> None:
        """After an erasure: have it done at once, and wait for it, but not for long; many at once are done in one."""
        if not self._thread.is_alive():
            return
        with self._asked:
            self._wanted += 1
            mine = self._wanted
            self._asked.notify_all()
            self._asked.wait_for(lambda: self._done >= mine or self._is_stopping, seconds)

    def work(self) -> int:
        """Do it now where something was erased since; how many imported labels went.

        Raises ``StoreError``, ``BundleBusy`` where somebody else writes there for a minute, or ``OSError``; then it is
        still to be done.
        """
        if self._is_done(self._store.labels.last_erasures()):
            return 0
        with turn(self._home):
            # Asked before what was erased is: what comes in between is done twice and never left out.
            last = self._store.labels.last_erasures()
            if self._is_done(last):
                return 0
            judged = self._store.labels.judged_and_gone()
            for left in self._labels.glob(".*.part"):  # by a process that was killed
                left.unlink(missing_ok=True)
            erased = Erased.of(self._store, self._hashes)
            dropped, gone = drop_erased(self._labels / IMPORTED, erased)
            self._drop_doubts(erased, gone)
            if (self._labels / STORED).is_file():
                write_lines(self._labels / STORED, self._read_again(self._labels / STORED))
            if dropped or self._noted().get("judged") != judged:
                _forget_vectors(self._home / "cache")
            # A retraining that runs has read its labels already, and writes what it makes of them at its end.
            note = {"last": last, "files": self._stamps(), "judged": None if self._is_retraining() else judged}
            write_file(self._home / _NOTE, json.dumps(note).encode())
        if dropped:
            _log.info("labels of what was erased are dropped", extra={"labels": dropped})
        return dropped

    @property
    def _labels(self) -> Path:
        return self._home / "labels"

    def _is_done(self, last: str) -> bool:
        if not last:
            return True
        noted = self._noted()
        if noted.get("last") != last or noted.get("files") != self._stamps():
            return False
        return noted.get("judged") is not None or self._is_retraining() or not any(_vectors(self._home / "cache"))

    def _is_retraining(self) -> bool:
        return is_locked(self._home / "retraining" / ".lock")

    def _noted(self) -> dict[str, Any]:
        try:
            noted = json.loads((self._home / _NOTE).read_bytes())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def _stamps(self) -> list[list[int] | None]:
        """By which it is seen that a file is another one: from a backup, or by a check that began before an erasure."""
        stamps: list[list[int] | None] = []
        for path in (self._labels / STORED, self._labels / IMPORTED, self._home / FINDINGS):
            try:
                found = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append([found.st_mtime_ns, found.st_size])
        return stamps

    def _drop_doubts(self, erased: Erased, gone: Collection[Identity]) -> None:
        """What the last check has found holds no text, but by a digest a text can be guessed."""
        findings = read_findings(self._home)
        if findings is None:
            return
        doubts = findings.doubts
        kept = tuple(
            each for each in doubts if not erased.knows(each.site, each.id) and (each.site, each.id) not in gone
        )
        if len(kept) < len(doubts):
            keep_findings(self._home, replace(findings, doubts=kept))

    def _read_again(self, path: Path) -> Iterator[str]:
        """The labels of the store as they are now, of the sites that a file has; of others it stays as it is."""
        known = {site.url: site for site in self._store.sites()}
        found: dict[str, None] = {}
        for line in _lines(path):
            site = _read(line).get("site")
            if site in known:
                found[site] = None
            else:
                yield line
        for url in found:
            for label in self._store.labels.read(known[url]):
                yield json.dumps(label, ensure_ascii=False)

    def _run(self) -> None:
        seconds = 0.0
        while True:
            with self._asked:
                self._asked.wait_for(lambda: self._is_stopping or self._wanted > self._done, seconds)
                if self._is_stopping:
                    return
                mine = self._wanted
            seconds = self._look_seconds if self._try_to_work() else _AFTER_FAULT_SECONDS
            with self._asked:
                self._done = mine
                self._asked.notify_all()

    def _try_to_work(self) -> bool:
        try:
            self.work()
        except StoreError as error:
            _log.warning("labels of what was erased wait for the database", extra=describe_error(error))
        except Exception as error:  # noqa: BLE001  # it is tried again until it is done
            _log.error("labels of what was erased cannot be dropped yet", extra=describe_error(error))
        else:
            return True
        return False


def drop_erased(path: Path, erased: Erased, also: Collection[Identity] = ()) -> tuple[int, set[Identity]]:
    """Take what was erased out of a file of labels, and quotes of it out of others; how many labels, of which comments.

    ``also`` are more comments that nobody may quote. For who holds the home's turn. Lines that cannot be read stay.
    """
    if not path.is_file() or not (erased or also):
        return 0, set()
    gone, dropped = set(also), 0
    for line in _lines(path):
        said = _read(line)
        if _is_gone(said, erased):
            dropped += 1
            gone |= {(said.get("site"), each) for each in (said.get("id"), said.get("known_as")) if each}
    if dropped or any(_without_quotes(line, erased, gone) != line for line in _lines(path)):
        kept = (line for line in _lines(path) if not _is_gone(_read(line), erased))
        write_lines(path, (_without_quotes(line, erased, gone) for line in kept))
    return dropped, gone


def _is_gone(said: dict[str, Any], erased: Erased) -> bool:
    author = said.get("author")
    author_id = author.get("id") if isinstance(author, dict) else None
    return erased.has(said.get("site"), (said.get("id"), said.get("known_as")), author_id)


def _without_quotes(line: str, erased: Erased, gone: Collection[Identity]) -> str:
    said = _read(line)
    parent, thread = said.get("parent"), said.get("thread")
    neighbours = [parent, *(thread if isinstance(thread, list) else ())]
    quotes = [
        each
        for each in neighbours
        if isinstance(each, dict)
        and each.get("text") is not None
        and ((said.get("site"), each.get("id")) in gone or erased.knows(said.get("site"), each.get("id")))
    ]
    for quote in quotes:
        del quote["text"]
    return json.dumps(said, ensure_ascii=False) if quotes else line


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")


def _read(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _vectors(cache: Path) -> Iterator[Path]:
    """What the encoder made of labelled comments, whole or cut off, as ``moderation.training.vectors`` keeps it."""
    return cache.glob("*vectors-*.safetensors")


def _forget_vectors(cache: Path) -> None:
    """The next retraining reads all comments anew: which vectors are whose cannot be told once the text is gone."""
    for path in _vectors(cache):
        path.unlink(missing_ok=True)
