"""Elements of large XML files, one at a time, with the line that each begins on.

Entities and document types are refused (defusedxml), so that no file grows when it is read or asks for another. Signs
that XML forbids, which blogs write into their exports all the same, are read as blanks.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax import SAXParseException  # the error alone; defusedxml parses
from xml.sax.handler import ContentHandler, feature_namespaces

from defusedxml.common import DefusedXmlException
from defusedxml.sax import make_parser

from moderation.errors import DataError, InvalidRow

_AT_ONCE = 1 << 16
_FORBIDDEN = bytes(32 if code < 32 and code not in b"\t\n\r" else code for code in range(256))


@dataclass(slots=True)
class Element:
    """An element: its name with the prefix that is given to its namespace, its text and its children."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text that stands in it and not in its children, without blanks around it."""
        return "".join(self.pieces).strip()

    def find(self, name: str) -> Element | None:
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def say(self, name: str) -> str:
        """The text of the first child of that name; empty where there is none."""
        found = self.find(name)
        return "" if found is None else found.text


def read_elements(
    file: io.BufferedReader,
    path: Path,
    *,
    wanted: Mapping[str, int],
    prefixes: Mapping[str, str],
    ignored: Collection[str] = (),
) -> Iterator[Element]:
    """The elements that are wanted, by name and depth (the root is 1), each when it is complete.

    ``prefixes`` maps the beginning of a namespace to how names of it are written (``wp:``); names of other namespaces
    are written with a question mark. What is ``ignored`` is not built. Raises ``InvalidRow`` with file and line where
    the file is no XML, ends too early, or declares what is refused.
    """
    builder = _Builder(wanted, prefixes, frozenset(ignored))
    parser: Any = make_parser()
    parser.forbid_dtd = True
    parser.setFeature(feature_namespaces, True)
    parser.setContentHandler(builder)
    lines_before = _skip_blanks(file)
    # In UTF-16 every other byte is one of the signs.
    is_wide = file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        while chunk := file.read1(_AT_ONCE):
            parser.feed(chunk if is_wide else chunk.translate(_FORBIDDEN))
            yield from builder.take(lines_before)
        parser.close()
        yield from builder.take(lines_before)
    except SAXParseException as error:
        raise InvalidRow(str(path), (error.getLineNumber() or 0) + lines_before, _describe(error)) from None
    except DefusedXmlException:
        line = builder.line + lines_before
        raise InvalidRow(
            str(path), line, "declares a document type or entities, which no export does; refused"
        ) from None


def _describe(error: SAXParseException) -> str:
    said = str(error.getMessage())
    if said in ("no element found", "unclosed token", "unclosed CDATA section"):
        return f"the file ends in the middle ({said}): the export was cut off; make it again"
    return f"is no well-formed XML from column {(error.getColumnNumber() or 0) + 1} on ({said})"


def _skip_blanks(file: io.BufferedReader) -> int:
    """Pass over blanks before the declaration, which some plugins leave there; how many lines they are."""
    lines = 0
    while (head := file.peek(1)[:1]) and head in b" \t\r\n":
        lines += file.read(1) == b"\n"
    return lines


class _Builder(ContentHandler):
    def __init__(self, wanted: Mapping[str, int], prefixes: Mapping[str, str], ignored: frozenset[str]) -> None:
        super().__init__()
        self._wanted = wanted
        self._prefixes = prefixes
        self._ignored = ignored
        self._names: dict[tuple[str | None, str], str] = {}
        self._depth = 0
        self._skipping = 0  # the depth at which something that is ignored began
        self._open: list[Element] = []
        self._done: list[Element] = []

    @property
    def line(self) -> int:
        return (self._locator.getLineNumber() or 0) if self._locator else 0  # type: ignore[attr-defined]  # set by SAX

    def take(self, lines_before: int) -> list[Element]:
        done, self._done = self._done, []
        for element in done:
            for each in (element, *element.children):
                each.line += lines_before
        return done

    def startElementNS(self, name: tuple[str | None, str], qname: str | None, attrs: Any) -> None:  # noqa: ARG002, N802
        self._depth += 1
        if self._skipping:
            return
        written = self._write(name)
        if self._open and written in self._ignored:
            self._skipping = self._depth
        elif self._open or self._wanted.get(written) == self._depth:
            attributes = {self._write(key): value for key, value in attrs.items()} if len(attrs) else {}
            element = Element(written, attributes, self.line)
            if self._open:
                self._open[-1].children.append(element)
            self._open.append(element)

    def endElementNS(self, name: tuple[str | None, str], qname: str | None) -> None:  # noqa: ARG002, N802
        if self._skipping == self._depth:
            self._skipping = 0
        elif self._open and not self._skipping:
            element = self._open.pop()
            if not self._open:
                self._done.append(element)
        self._depth -= 1

    def characters(self, content: str) -> None:
        if self._open and not self._skipping:
            self._open[-1].pieces.append(content)

    def _write(self, name: tuple[str | None, str]) -> str:
        """The name of an element or attribute with its prefix."""
        if name not in self._names:
            space = name[0] or ""
            prefix = next((short for long, short in self._prefixes.items() if space.startswith(long)), "?:")
            self._names[name] = (prefix if space else "") + name[1]
        return self._names[name]


def refuse_unless(found: bool, path: Path, what: str) -> None:
    """Raise ``DataError`` where a whole file had nothing of what it should have."""
    if not found:
        raise DataError(f"{path}: {what}")
