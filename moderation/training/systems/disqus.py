"""Exports of Disqus: threads, then posts, as XML, mostly packed.

Format: https://docs.disqus.com/developers/export/. Links lead over a counter of Disqus; here they lead where they led.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from moderation.comment import MAX_ID_CHARS, Post
from moderation.training.systems.elements import Element, read_elements, refuse_unless
from moderation.training.systems.found import Found, Status, Texts, make_author, make_found, make_parent, make_post
from moderation.training.systems.markup import as_typed, read_markup
from moderation.training.systems.opening import Told, open_export

_PREFIXES = {"http://disqus.com/disqus-internals": "dsq:", "http://disqus.com": ""}
_IGNORED = ("email", "ipAddress")
_TOKEN = re.compile(r":[A-Za-z0-9_-]{20,}$")


def read(path: Path, site: str, told: Told) -> Iterator[Found]:
    """Every comment of an export. Raises ``DataError`` for a broken file."""
    threads: dict[str, tuple[Post | None, str]] = {}
    has_any = False
    with open_export(path, told) as file, closing(Texts()) as texts:
        wanted = {"thread": 2, "post": 2}
        for element in read_elements(file, path, wanted=wanted, prefixes=_PREFIXES, ignored=_IGNORED):
            has_any = True
            if element.name == "thread":
                threads[element.attributes.get("dsq:id", "")] = _read_thread(element)
            else:
                yield _read_post(element, site, threads, texts)
    refuse_unless(has_any, path, "has neither threads nor posts of Disqus")


def _read_thread(thread: Element) -> tuple[Post | None, str]:
    """What was commented on, under the name that the site gave it, and its address."""
    given, link = thread.say("id"), thread.say("link")
    name = given if 0 < len(given) <= MAX_ID_CHARS else thread.attributes.get("dsq:id")
    title, text = read_markup(thread.say("title")), read_markup(thread.say("message"))
    return make_post(name, title, text, link, ()), link


def _read_post(post: Element, site: str, threads: dict[str, tuple[Post | None, str]], texts: Texts) -> Found:
    own = post.attributes.get("dsq:id") or post.say("id")
    text = as_typed(post.say("message"), _leads_to)
    if own and text:
        texts.keep(own, text)
    parent, thread = _id_of(post, "parent"), _id_of(post, "thread")
    # A thread may be missing, where somebody has taken pieces out of a file.
    about, link = threads.get(thread or "", (make_post(thread, None, None, None, ()), ""))
    author = post.find("author") or Element("author", {}, post.line)
    # The name of an anonymous account is made of an e-mail address.
    account = None if author.say("isAnonymous") == "true" else author.say("username")
    return make_found(
        post.line,
        _status(post),
        text,
        site=site,
        id=own or None,
        kind="reply" if parent else "comment",
        author=make_author(account, author.say("name"), None),
        post=about,
        parent=make_parent(parent, texts.find(parent) if parent else None),
        url=f"{link}#comment-{own}" if link and own else link,
        created_at=_moment(post.say("createdAt")),
    )


def _status(post: Element) -> Status:
    """Spam that was deleted too is spam. What is not said is not so."""
    if post.say("isSpam") == "true":
        return "spam"
    if post.say("isDeleted") == "true":
        return "deleted"
    if post.say("isApproved") == "false":
        return "pending"
    return "approved" if post.say("isDeleted") == "false" else "other"


def _id_of(post: Element, name: str) -> str | None:
    found = post.find(name)
    return None if found is None else found.attributes.get("dsq:id") or None


def _leads_to(address: str) -> str:
    """Where a link led before Disqus had it lead over its counter."""
    try:
        parts = urlsplit(address)
        if parts.hostname == "disq.us" and parts.path == "/url":
            return _TOKEN.sub("", parse_qs(parts.query)["url"][0])
    except (KeyError, ValueError):
        pass
    return address


def _moment(said: str) -> str | None:
    try:
        return datetime.fromisoformat(said).isoformat()
    except ValueError:
        return None
