"""A comment as another system had it, with what was decided there; and what label that is.

What somebody decided elsewhere is known by a status alone. It says nothing of who decided, when, or whether anybody
did: systems publish and sort out by themselves too. No e-mail and no address of a visitor gets into a comment here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_POST_CHARS,
    MAX_TAGS,
    MAX_TEXT_CHARS,
    MAX_TITLE_CHARS,
    MAX_URL_CHARS,
    Author,
    Comment,
    Neighbour,
    Post,
)
from moderation.errors import InvalidComment
from moderation.training.labels import Label

Status = Literal["approved", "spam", "trash", "deleted", "blocked", "pending", "post_trashed", "note", "other"]

MEANINGS: Mapping[Status, str] = {
    "approved": "0 for every category",
    "spam": "1 for spam",
    "trash": "nothing: trash does not say why",
    "deleted": "nothing: it does not say by whom or why",
    "blocked": "nothing: it was decided about the author",
    "pending": "nothing: nobody has decided",
    "post_trashed": "nothing: it went with its post",
    "note": "nothing: a note of a plugin, no comment",
    "other": "nothing: a status that is not known",
}
"""What a status says of a comment, by itself."""

MAY_BE_REJECTED: frozenset[Status] = frozenset({"trash", "deleted", "blocked"})
"""Statuses that can be read as a rejection, by who knows that they were."""

_UNREADABLE = re.compile("[\x00\ud800-\udfff]")
_BETWEEN_WORDS = re.compile(r"[\s<>]")


@dataclass(frozen=True, slots=True)
class Found:
    """A comment with its status, and the line (or row) of the file that it begins on.

    ``comment`` is ``None`` where nothing is left of its text, and where it cannot be one (``error`` says why).
    ``known_as`` is the id that this service has given it, where the other system has kept that.
    """

    line: int
    status: Status
    id: str | None
    comment: Comment | None
    error: str | None = None
    known_as: str | None = None


def make_found(
    line: int,
    status: Status,
    text: str | None,
    *,
    site: str,
    id: str | None,
    kind: str = "comment",
    author: Author | None = None,
    post: Post | None = None,
    parent: Neighbour | None = None,
    url: str | None = None,
    created_at: str | None = None,
    known_as: str | None = None,
) -> Found:
    """What was found on a line. A text that is too long is an error: comments are never cut."""
    words, own = readable(text or ""), readable(id) if id else None
    if not words.strip():
        return Found(line, status, own, None)
    try:
        comment = Comment(
            words,
            id=own,
            site=site,
            kind=readable(kind)[:MAX_ID_CHARS] or "comment",
            author=author,
            post=post,
            parent=parent,
            url=make_url(url),
            created_at=created_at,
        )
    except InvalidComment as error:
        return Found(line, status, own, None, str(error))
    return Found(line, status, own, comment, known_as=known_as)


def make_author(id: str | None, name: str | None, url: str | None) -> Author | None:
    """Who wrote it, without what is an e-mail address; ``None`` where nothing is left."""
    account, shown = (readable(value or "").strip() for value in (id, name))
    account = "" if len(account) > MAX_ID_CHARS or has_email(account) else account
    # Before it is cut, since half an e-mail address is one, too.
    shown = "" if has_email(shown) else shown[:MAX_NAME_CHARS]
    address = make_url(url)
    address = None if address and has_email(address) else address
    return Author(account or None, shown or None, address) if account or shown or address else None


def has_email(text: str) -> bool:
    """Whether an e-mail address is anywhere in it: something, ``@``, and something with a dot inside. Linear."""
    if "@" not in text:
        return False
    return any(
        before and "." in after[1:-1]
        for word in _BETWEEN_WORDS.split(text)
        for before, after in pairwise(word.split("@"))
    )


def make_post(id: str | None, title: str | None, text: str | None, url: str | None, tags: Iterable[str]) -> Post | None:
    """What was commented on; what is longer than a post may be is cut, since only the comment is judged."""
    own, head, body = (readable(value or "").strip() for value in (id, title, text))
    kept = [readable(tag).strip() for tag in tags]
    kept = list(dict.fromkeys(tag for tag in kept if 0 < len(tag) <= MAX_ID_CHARS))[:MAX_TAGS]
    own = own if len(own) <= MAX_ID_CHARS else ""
    address = make_url(url)
    if not (own or head or body or address):
        return None
    return Post(own or None, head[:MAX_TITLE_CHARS] or None, body[:MAX_POST_CHARS] or None, address, tuple(kept))


def make_parent(id: str | None, text: str | None) -> Neighbour | None:
    """What was answered: its id alone where its text is not known."""
    if not id or len(id) > MAX_ID_CHARS:
        return None
    return Neighbour(readable(id), readable(text)[:MAX_TEXT_CHARS] if text and text.strip() else None)


def make_url(url: str | None) -> str | None:
    """An address, or nothing where it is empty or longer than one may be."""
    address = readable(url or "").strip()
    return address if 0 < len(address) <= MAX_URL_CHARS else None


def readable(text: str) -> str:
    """The text with U+FFFD for what no store carries faithfully."""
    return _UNREADABLE.sub("\ufffd", text)


def as_label(found: Found, source: str, moderator: str, *, trash_is_reject: bool = False) -> Label | None:
    """What was decided about a comment as a label, or nothing where it says nothing.

    An approval says 0 of everything, of ``off_topic`` only where there is a post that the comment could be off. With
    ``trash_is_reject`` what was thrown away is a rejection, without saying as what.
    """
    comment = found.comment
    if comment is None:
        return None
    labels: dict[str, int]
    if found.status == "approved":
        has_post = comment.post is not None and bool(comment.post.title or comment.post.text)
        labels = {code: 0 for code in CODES if has_post or code not in MAY_ABSTAIN}
    elif found.status == "spam":
        labels = {"spam": 1}
    elif found.status in MAY_BE_REJECTED and trash_is_reject:
        labels = {}
    else:
        return None
    verdict = "approve" if found.status == "approved" else "reject"
    return Label(comment, labels, moderator, comment.digest(), source, verdict, known_as=found.known_as)


class Texts:
    """Texts by id, on the disk and not in memory: what later comments answer. Gone when it is closed."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")
        self._file.execute("CREATE TABLE texts (id TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def keep(self, id: str, text: str) -> None:
        """Remember a text."""
        self._file.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", (readable(id), readable(text)))

    def find(self, id: str) -> str | None:
        """The text of that id, if there was one."""
        row = self._file.execute("SELECT text FROM texts WHERE id = ?", (readable(id),)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Throw it all away."""
        self._file.close()
