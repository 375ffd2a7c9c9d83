"""The database of Isso, a SQLite file. It is opened for reading only; the service may go on running.

Format: ``isso/db/comments.py`` and ``isso/db/threads.py`` of Isso. Addresses of visitors and what was voted stay there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urljoin

from moderation.errors import DataError, InvalidRow
from moderation.training.systems.found import Found, Status, make_author, make_found, make_parent, make_post
from moderation.training.systems.opening import Told

_STATUSES: Mapping[object, Status] = {1: "approved", 2: "pending", 4: "deleted"}
# What Isso calls a page whose title it could not find.
_NO_TITLE = "Untitled."
_ALL = """
    SELECT comment.id, comment.parent, comment.created, comment.mode, comment.text, comment.author, comment.website,
           comment.tid, thread.uri, thread.title, answered.text
    FROM comments AS comment
    LEFT JOIN threads AS thread ON thread.id = comment.tid
    LEFT JOIN comments AS answered ON answered.id = comment.parent
    ORDER BY comment.id
"""


def read(path: Path, site: str, told: Told) -> Iterator[Found]:
    """Every comment of a database; lines are ids of comments. Raises ``DataError`` for a broken file."""
    if not path.is_file():
        raise DataError(f"{path}: cannot be read (there is no such file)")
    at = 0
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            total = max(database.execute("SELECT count(*) FROM comments").fetchone()[0], 1)
            for number, row in enumerate(database.execute(_ALL), start=1):
                at = row[0]
                yield _read_row(row, site)
                told(number / total)
    except sqlite3.Error as error:
        if at:
            raise InvalidRow(str(path), at, f"comments after this id cannot be read ({error})") from None
        raise DataError(f"{path}: is no database of Isso that can be read ({error})") from None


def _read_row(row: tuple[object, ...], site: str) -> Found:
    own, parent, created, mode, text, author, website, thread, uri, title, answered = row
    page = _find_page(site, _text(uri))
    about = _text(title).strip()
    return make_found(
        int(str(own)),
        _STATUSES.get(mode, "other"),
        _text(text),
        site=site,
        id=str(own),
        kind="reply" if parent is not None else "comment",
        author=make_author(None, _text(author), _text(website)),
        post=make_post(_text(uri) or _text(thread), "" if about == _NO_TITLE else about, None, page, ()),
        parent=make_parent(None if parent is None else str(parent), _text(answered)),
        url=f"{page}#isso-{own}" if page else None,
        created_at=_moment(created),
    )


def _find_page(site: str, uri: str) -> str | None:
    """The address of a page, as far as its name makes one: visitors can send Isso any name."""
    try:
        return urljoin(f"{site}/", uri) if uri else None
    except ValueError:
        return None


def _text(value: object) -> str:
    """A cell as text; SQLite has columns of no fixed type."""
    return "" if value is None else value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _moment(seconds: object) -> str | None:
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
