"""Files of exports, read once from front to back: unpacked on the way, and with word of how far it is."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from moderation.errors import DataError

Told = Callable[[float], None]

_AT_ONCE = 1 << 16


@contextmanager
def open_export(path: Path, told: Told) -> Iterator[io.BufferedReader]:
    """A file, unpacked where it is packed with gzip; ``told`` hears what share of it was read.

    Raises ``DataError`` where it cannot be read or unpacked, also from within the block.
    """
    try:
        with path.open("rb", buffering=0) as raw:
            file: Any = io.BufferedReader(_Counted(raw, path.stat().st_size, told), _AT_ONCE)
            if file.peek(2)[:2] == b"\x1f\x8b":
                file = io.BufferedReader(gzip.GzipFile(fileobj=file), _AT_ONCE)
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cannot be unpacked, it ends too early or is damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Counted(io.RawIOBase):
    """A file that says what share of it was read."""

    def __init__(self, file: BinaryIO | io.RawIOBase, size: int, told: Told) -> None:
        self._file = file
        self._size = max(size, 1)
        self._told = told
        self._read = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what callers pass
        """Read some bytes into a buffer; how many."""
        data = self._file.read(len(buffer)) or b""
        buffer[: len(data)] = data
        self._read += len(data)
        self._told(min(self._read / self._size, 1.0))
        return len(data)
