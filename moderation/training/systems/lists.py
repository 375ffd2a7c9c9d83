r"""What ``wp comment list`` prints, entry by entry: objects of a JSON array, and rows of CSV as PHP writes it.

``fputcsv`` doubles a quotation mark within a field, except behind a backslash: ``\"`` stands as it was. So a backslash
and a quotation mark before a comma or the end of a line are text, or else the end of a field that ends in a backslash.
Here they are text if the row makes sense that way, and the end of the field if it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from moderation.errors import InvalidRow

# How long an entry may be. A text in WordPress has at most 65,535 bytes.
_MOST_CHARS = 1 << 20
_MOST_TRIES = 1_000
_BLANKS = " \t\r\n"
_BARE = re.compile(r'[^",\r\n]*+')
_MARKS = re.compile(r'(\\")|""')
_ENDS = ("", ",", "\r", "\n")
_CUT_OFF = "if the list was cut off, make it again"


def read_objects(file: TextIO, path: Path) -> Iterator[tuple[int, object]]:
    """The entries of a JSON array with their numbers, from 1. Raises ``InvalidRow`` with the number of what is none."""
    ahead, decoder, number = _Ahead(file), json.JSONDecoder(), 1
    if ahead.skip_blanks() != "[":
        raise InvalidRow(str(path), number, "is no list in JSON")
    ahead.at += 1
    while (sign := ahead.skip_blanks()) != "]":
        if number > 1:
            if sign != ",":
                raise InvalidRow(str(path), number, f"the list does not go on with a comma, nor end; {_CUT_OFF}")
            ahead.at += 1
            ahead.skip_blanks()
        try:
            entry, ahead.at = decoder.raw_decode(ahead.text, ahead.at)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be decoded"
            raise InvalidRow(str(path), number, f"this comment of the list is no JSON ({why}); {_CUT_OFF}") from None
        yield number, entry
        number += 1
    ahead.at += 1
    if ahead.skip_blanks():
        raise InvalidRow(str(path), number, "something follows the end of the list")


def read_rows(file: TextIO, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file with the lines they begin on, names of columns first; empty lines are passed over.

    Raises ``InvalidRow`` with the line on which something begins that is no row of as many fields as the first.
    """
    ahead, line, width = _Ahead(file), 1, 0
    while ahead.look():
        row = ([], ahead.at + 1) if ahead.text[ahead.at] in "\r\n" else _read_row(ahead.text, ahead.at, width)
        if row is None:
            wanted = f"{width} fields" if width else "fields"
            said = (
                f"no row of {wanted} begins here, as PHP writes CSV; ask for --format=json, which is read more surely"
            )
            raise InvalidRow(str(path), line, said)
        fields, end = row
        if fields:
            width = width or len(fields)
            yield line, fields
        line += ahead.text.count("\n", ahead.at, end)
        ahead.at = end


class _Ahead:
    """A file as a piece of text that holds at least what an entry can be, from ``at`` on."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_all = False
        self.text = ""
        self.at = 0

    def look(self) -> bool:
        """Have the next entry in ``text``; whether anything is left."""
        # The sign behind an entry says whether it ends.
        if not self._is_all and len(self.text) - self.at <= _MOST_CHARS:
            read = self._file.read(_MOST_CHARS)
            self._is_all = not read
            self.text, self.at = self.text[self.at :] + read, 0
        return self.at < len(self.text)

    def skip_blanks(self) -> str:
        """Pass over blanks; the sign behind them, empty at the end of the file."""
        while self.look():
            if (sign := self.text[self.at]) not in _BLANKS:
                return sign
            self.at += 1
        return ""


def _read_row(text: str, at: int, width: int) -> tuple[list[str], int] | None:
    """The fields of the row that begins there, and where it ends; ``None`` where none of that width begins.

    ``width`` 0 is any. Of what can be read in several ways, the latest doubt is settled otherwise first.
    """
    most = at + _MOST_CHARS
    fields: list[str] = []
    doubts: list[tuple[int, int, int]] = []
    end = _read_field(text, at, most, fields, doubts)
    for _ in range(_MOST_TRIES):
        while end is not None and (not width or len(fields) <= width):
            if text.startswith(",", end):
                end = _read_field(text, end + 1, most, fields, doubts)
            elif width in (0, len(fields)):
                return fields, end + (2 if text.startswith("\r\n", end) else 1)
            else:
                break
        if not doubts:
            return None
        count, begin, end = doubts.pop()
        fields[count:] = [_write(text, begin, end)]
        end += 1
    return None


def _read_field(text: str, at: int, most: int, fields: list[str], doubts: list[tuple[int, int, int]]) -> int | None:
    """Put the field that begins there to the others; where it ends, or ``None`` where none does.

    ``doubts`` are where it may have ended before: how many fields were there, its beginning and its end.
    """
    if not text.startswith('"', at):
        end = _BARE.match(text, at, most).end()  # type: ignore[union-attr]  # it always matches
        fields.append(text[at:end])
        return end if text[end : end + 1] in _ENDS else None
    begin = mark = at + 1
    while (mark := text.find('"', mark, most)) >= 0:
        after = text[mark + 1 : mark + 2]
        if mark > begin and text[mark - 1] == "\\":
            if after in _ENDS:
                doubts.append((len(fields), begin, mark))
            mark += 1
        elif after == '"':
            mark += 2
        elif after in _ENDS:
            fields.append(_write(text, begin, mark))
            return mark + 1
        else:
            return None
    return None


def _write(text: str, begin: int, end: int) -> str:
    """What was written between the quotation marks around a field."""
    return _MARKS.sub(lambda mark: mark[1] or '"', text[begin:end])
