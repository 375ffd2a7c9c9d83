"""Backups of Remark42: JSON, first a line about users and pages, then one for each comment; mostly packed.

Format: ``backend/app/migrator/native.go`` and ``backend/app/store/comment.go`` of Remark42. What was voted, hashes of
addresses and pictures stay there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from moderation.errors import DataError, InvalidRow
from moderation.training.systems.found import Found, Status, Texts, make_author, make_found, make_parent, make_post
from moderation.training.systems.markup import as_typed, resolve
from moderation.training.systems.opening import Told, open_export

_VERSIONS = (0, 1)
_MAX_LINE_BYTES = 16_777_216
# Made of an e-mail address by a hash without a key.
_FROM_EMAIL = "email_"


def read(path: Path, site: str, told: Told) -> Iterator[Found]:
    """Every comment of a backup. Raises ``DataError`` for a broken file."""
    with open_export(path, told) as file, closing(Texts()) as texts:
        lines = _read_lines(file, path)
        _, first = next(lines, (1, None))
        blocked = _read_users(first, path)
        for number, line in lines:
            yield _read_comment(number, line, site, blocked, texts)


def _read_lines(file: Any, path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        if not line.strip():
            continue
        if len(line) == _MAX_LINE_BYTES:
            raise InvalidRow(str(path), number, f"is longer than {_MAX_LINE_BYTES} bytes")
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            what = "the backup was cut off; make it again" if not line.endswith(b"\n") else "is no JSON"
            raise InvalidRow(str(path), number, f"{what} ({_describe(error)})") from None


def _describe(error: Exception) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "it cannot be decoded"


def _read_users(first: object, path: Path) -> frozenset[str]:
    """The ids of users that are blocked, from the first line. Raises ``DataError`` where it is another."""
    if not isinstance(first, dict) or "users" not in first or "text" in first:
        raise DataError(f"{path}: is no backup of Remark42: its first line should have version, users and posts")
    if first.get("version", 0) not in _VERSIONS:
        raise DataError(f"{path}: is a backup of a version that is not known ({str(first['version'])[:20]})")
    users = first["users"] if isinstance(first["users"], list) else []
    blocked = [user for user in users if isinstance(user, dict) and _inside(user, "blocked").get("status") is True]
    return frozenset(str(user.get("id")) for user in blocked)


def _read_comment(number: int, line: object, site: str, blocked: frozenset[str], texts: Texts) -> Found:
    if not isinstance(line, dict) or not isinstance(line.get("id"), str) or not isinstance(line.get("text"), str):
        return Found(number, "other", None, None, "is no comment: it should have id and text")
    user, locator = _inside(line, "user"), _inside(line, "locator")
    own, user_id, page = line["id"], _said(user, "id"), resolve(_said(locator, "url"))
    # As it was typed, where that is kept; else what was made of it.
    text = resolve(_said(line, "orig")) or as_typed(line["text"])
    if text:
        texts.keep(own, text)
    parent = _said(line, "pid") or None
    author = make_author(
        None if user_id.startswith(_FROM_EMAIL) else resolve(user_id), resolve(_said(user, "name")), None
    )
    return make_found(
        number,
        _status(line, user, is_blocked=user_id in blocked),
        text,
        site=site,
        id=own or None,
        kind="reply" if parent else "comment",
        author=author,
        post=make_post(page, resolve(_said(line, "title")), None, page, ()),
        parent=make_parent(parent, texts.find(parent) if parent else None),
        url=f"{page}#remark42__comment-{own}" if page else None,
        created_at=_moment(_said(line, "time")),
    )


def _status(line: Mapping[str, Any], user: Mapping[str, Any], *, is_blocked: bool) -> Status:
    """A backup marks what users wrote that are blocked as deleted, and keeps its text."""
    if is_blocked or user.get("block") is True:
        return "blocked"
    return "deleted" if line.get("delete") is True else "approved"


def _inside(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _said(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) else ""


def _moment(said: str) -> str | None:
    try:
        return datetime.fromisoformat(said).isoformat()
    except ValueError:
        return None
