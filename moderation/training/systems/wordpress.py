"""Exports of WordPress: its XML (WXR, any version), and what ``wp comment list`` prints as JSON or CSV.

WordPress leaves spam out of its XML; the list has it. Formats: ``wp-admin/includes/export.php`` of WordPress and the
columns of its table of comments.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from moderation.errors import DataError, InvalidRow
from moderation.training.systems.elements import Element, read_elements
from moderation.training.systems.found import Found, Status, make_author, make_found, make_parent, make_post
from moderation.training.systems.lists import read_objects, read_rows
from moderation.training.systems.markup import read_markup
from moderation.training.systems.opening import Told, open_export

_STATUSES: Mapping[str, Status] = {
    "1": "approved",
    "approve": "approved",
    "approved": "approved",
    "0": "pending",
    "hold": "pending",
    "unapproved": "pending",
    "spam": "spam",
    "trash": "trash",
    "post-trashed": "post_trashed",
}
# Kept in the table of comments by plugins; no visitor has written them.
_NOTES = frozenset({"action_log", "edd_payment_note", "order_note", "scheduled-action", "webhook_delivery"})
_PREFIXES = {
    "http://purl.org/rss/1.0/modules/content/": "content:",
    # The namespace of the other names begins like that of excerpts.
    **{f"http://wordpress.org/export/{version}/excerpt/": "excerpt:" for version in ("1.0", "1.1", "1.2")},
    "http://wordpress.org/export/": "wp:",
}
_IGNORED = ("wp:postmeta", "wp:comment_author_email", "wp:comment_author_IP", "excerpt:encoded")
# What the plugin of Akismet keeps of an answer, and what this service calls a comment that it has answered so.
_GUID_KEY = "akismet_guid"
_GUID = re.compile(r"[0-9A-Za-z-]{1,100}", re.ASCII)
_AKISMET_ID = "akismet-"
_COLUMNS = ("comment_ID", "comment_approved", "comment_content")
_ABOUT_POSTS = frozenset({"category", "post_tag"})


def read(path: Path, site: str, told: Told) -> Iterator[Found]:
    """Every comment of an export, by either way. Raises ``DataError`` for a broken file."""
    with open_export(path, told) as file:
        if file.peek(1).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1] == b"<":
            for item in read_elements(file, path, wanted={"item": 3}, prefixes=_PREFIXES, ignored=_IGNORED):
                yield from _read_item(item, site)
        else:
            yield from _read_list(file, path, site)


def _read_item(item: Element, site: str) -> Iterator[Found]:
    """The comments of a post. All of them are in memory, since one may answer a later one."""
    comments = [child for child in item.children if child.name == "wp:comment"]
    if not comments:
        return
    link = item.say("link")
    tags = [
        child.text
        for child in item.children
        if child.name == "category"
        and child.attributes.get("domain") in _ABOUT_POSTS
        and child.attributes.get("nicename") != "uncategorized"
    ]
    title, text = read_markup(item.say("title")), read_markup(item.say("content:encoded"))
    post = make_post(item.say("wp:post_id"), title, text, link, tags)
    texts = {comment.say("wp:comment_id"): comment.say("wp:comment_content") for comment in comments}
    for comment in comments:
        own, parent = comment.say("wp:comment_id"), _known(comment.say("wp:comment_parent"))
        kind = comment.say("wp:comment_type")
        yield make_found(
            comment.line,
            _status(comment.say("wp:comment_approved"), kind),
            comment.say("wp:comment_content"),
            site=site,
            id=own or None,
            kind=_kind(kind, parent),
            author=make_author(
                _known(comment.say("wp:comment_user_id")),
                comment.say("wp:comment_author"),
                comment.say("wp:comment_author_url"),
            ),
            post=post,
            parent=make_parent(parent, texts.get(parent or "")),
            url=f"{link}#comment-{own}" if link and own else link,
            created_at=_moment(comment.say("wp:comment_date_gmt")),
            known_as=_find_own_id(comment),
        )


def _find_own_id(comment: Element) -> str | None:
    """The id of a comment that came here by the protocol of Akismet, where the export says by which."""
    for meta in comment.children:
        if meta.name == "wp:commentmeta" and meta.say("wp:meta_key") == _GUID_KEY:
            guid = meta.say("wp:meta_value")
            return _AKISMET_ID + guid if _GUID.fullmatch(guid) else None
    return None


def _read_list(file: io.BufferedReader, path: Path, site: str) -> Iterator[Found]:
    """The comments of a list. Of posts it has the ids alone. Lines of JSON are numbers of comments."""
    is_json = file.peek(1).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    # Closing the wrapper would close the file, which is for who opened it.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    try:
        for line, said in _read_objects(text, path) if is_json else _read_rows(text, path):
            yield _read_entry(line, said, site)
    finally:
        text.detach()


def _read_objects(text: TextIO, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, entry in read_objects(text, path):
        if not isinstance(entry, dict):
            raise InvalidRow(str(path), number, "is no comment: it should be an object")
        _refuse_without(entry, path)
        yield number, {name: str(value) for name, value in entry.items() if isinstance(value, str | int)}


def _read_rows(text: TextIO, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    rows = read_rows(text, path)
    _, names = next(rows, (1, []))
    _refuse_without(names, path)
    for line, fields in rows:
        yield line, dict(zip(names, fields, strict=True))


def _refuse_without(names: Collection[str], path: Path) -> None:
    if missing := [name for name in _COLUMNS if name not in names]:
        raise DataError(f"{path}: has no column {', '.join(missing)}; ask for it with --fields")


def _read_entry(line: int, said: Mapping[str, str], site: str) -> Found:
    parent, kind = _known(said.get("comment_parent", "")), said.get("comment_type", "")
    return make_found(
        line,
        _status(said.get("comment_approved", ""), kind),
        said.get("comment_content"),
        site=site,
        id=said.get("comment_ID") or None,
        kind=_kind(kind, parent),
        author=make_author(_known(said.get("user_id", "")), said.get("comment_author"), said.get("comment_author_url")),
        post=make_post(said.get("comment_post_ID"), None, None, None, ()),
        parent=make_parent(parent, None),
        created_at=_moment(said.get("comment_date_gmt", "")),
    )


def _status(said: str, kind: str) -> Status:
    return "note" if kind in _NOTES else _STATUSES.get(said.strip().lower(), "other")


def _kind(said: str, parent: str | None) -> str:
    if said in ("", "comment"):
        return "reply" if parent else "comment"
    return said


def _known(id: str) -> str | None:
    """An id that is one: 0 is none."""
    return id if id.strip() not in ("", "0") else None


def _moment(said: str) -> str | None:
    try:
        return datetime.strptime(said, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None  # what was never dated is 0000-00-00
