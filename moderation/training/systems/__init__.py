"""What other systems export of comments and their moderation, read one comment at a time.

Each system has a module that turns its files into :class:`~moderation.training.systems.found.Found`; here is the list
of them, and how a file says which it is of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from moderation.errors import DataError
from moderation.training.systems import disqus, isso, remark42, wordpress
from moderation.training.systems.found import Found
from moderation.training.systems.opening import Told, open_export

Read = Callable[[Path, str, Told], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class System:
    """A system that comments come from: its name for people, and its reader.

    ``read`` takes a file, the address of the site, and what to tell how far it is (0 to 1). It raises ``DataError``
    with file and line where the file as a whole is broken.
    """

    title: str
    read: Read


SYSTEMS: Mapping[str, System] = {
    "disqus": System("Disqus", disqus.read),
    "isso": System("Isso", isso.read),
    "remark42": System("Remark42", remark42.read),
    "wordpress": System("WordPress", wordpress.read),
}

_ROOT = re.compile(rb"<(?:[\w.-]+:)?(\w+)[\s>/]")


def detect_system(path: Path) -> str:
    """The name of the system that a file is an export of. Raises ``DataError`` where it looks like none."""
    with open_export(path, lambda _share: None) as file:
        head = file.peek(1)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"SQLite format 3\x00"):
        return "isso"
    if head.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: is a ZIP archive; unpack it, and name the files that were in it")
    if start.startswith(b"{"):
        return "remark42"
    if start.startswith(b"[") or b"comment_ID" in start.split(b"\n", 1)[0]:
        return "wordpress"
    match find_root(start):
        case b"disqus":
            return "disqus"
        case b"rss" if b"wordpress.org/export/" in start:
            return "wordpress"
        case b"rss":
            raise DataError(f"{path}: is a news feed and no export; it does not say what was decided about comments")
        case b"html":
            raise DataError(
                f"{path}: is a web page and no export; perhaps the page to sign in on was saved in its place"
            )
    known = ", ".join(system.title for system in SYSTEMS.values())
    raise DataError(f"{path}: looks like no export of {known}; --format says which it is")


def find_root(start: bytes) -> bytes:
    """The name of the first element, in small letters and without its prefix; empty where there is none."""
    if not start.startswith(b"<"):
        return b""
    first, *others = start.split(b"<!--")
    root = _ROOT.search(first + b"".join(each.partition(b"-->")[2] for each in others))
    return root[1].lower() if root else b""
