"""Files and folders that are there whole or not at all, whatever happens to the process that writes them.

Everything is written aside, flushed to the disk and renamed; then the folder is flushed, so that the rename is there
after a power cut too. What a killed process leaves aside begins with a dot and is never read.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from moderation.errors import BundleBusy

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"

_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.02


def write_file(path: Path, content: bytes) -> None:
    """Put a file in place of the one that is there, if there is one; readers see the old or the new one."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    _write(aside, content)
    aside.replace(path)
    sync(path.parent)


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Put a file of lines in place of the one that is there, readable by its owner only; how many lines.

    They are never all in memory, and may be read from the old file meanwhile.
    """
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    try:
        with aside.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)
    return count


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """A folder with these files, complete from the moment it is there; one that is there already is kept."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        for name, data in files.items():
            _write(aside / name, data)
        aside.chmod(0o755)
        sync(aside)
        aside.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file. Half a line that a power cut has left stays alone on its line."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def remove_folder(path: Path) -> None:
    """Take a folder away at once; its files follow."""
    aside = path.with_name(f".removing-{path.name}-{os.getpid()}")
    path.rename(aside)
    sync(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """One writer of a folder at a time, among processes and threads. Whoever dies has had their turn.

    Raises ``BundleBusy`` after a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # nobody else is kept from writing there
        yield
        return
    with (folder / LOCK).open("ab") as lock:
        ends = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise BundleBusy(f"another process is writing into {folder}; try again when it is done") from None
                time.sleep(_LOOK_SECONDS)
        yield


def try_lock(path: Path) -> BinaryIO | None:
    """Lock a file, made if it is not there, until what is returned is closed or the process ends; ``None`` if taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("ab")
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
    return lock


def is_locked(path: Path) -> bool:
    """Whether somebody has locked a file; who looks at the same time does not see each other."""
    if fcntl is None:
        return False  # type: ignore[unreachable]  # where there is no such module
    with suppress(FileNotFoundError), path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def sync(folder: Path) -> None:
    """Flush what is in a folder (names, not contents) to the disk."""
    if sys.platform == "win32":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
