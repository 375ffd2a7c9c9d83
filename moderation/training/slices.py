"""Rows made up from frozen ones to try a model with: disguised spelling, copies with a link, abuse in long comments.

Everything here follows from the rows' ids, so the same rows are made each time.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from moderation.comment import MAX_TEXT_CHARS, Author, Comment
from moderation.training.disguise import attack
from moderation.training.rows import Row

# Hosts, pages and what is sold there, all made up.
_SHOPS: tuple[tuple[str, str, str], ...] = (
    ("quvantol-pharmacy.com", "generic-tablets", "cheap tablets without prescription"),
    ("zelbrik-casino.net", "bonus", "no deposit casino bonus"),
    ("mirdanseo.com", "packages/gold", "SEO packages"),
    ("okanvra-replica.shop", "watches", "replica watches"),
    ("bloxandry-mattress.com", "reviews/2024", "best mattress reviews"),
    ("trevoli-loans.com", "apply", "instant payday loans"),
    ("hanqwei-cabinets.com", "products/kitchen", "kitchen cabinet manufacturer"),
    ("vistorque-forex.info", "signals", "forex signals"),
    ("pelmarine-villas.com", "offers", "luxury villa rental"),
    ("essaykrond.com", "order-now", "essay writing service"),
    ("drizzmovers.co.uk", "quote", "removal company London"),
    ("kurtaplumbix.com", "emergency", "24 hour plumber"),
    ("novacrypzel.io", "airdrop", "free token airdrop"),
    ("gartenvolk-moebel.de", "sale", "garden furniture sale"),
    ("lumetrica-slim.com", "keto", "keto diet pills"),
    ("sparqvpn.net", "deal", "VPN discount code"),
    ("yartek-okna.ru", "catalog", "plastic windows"),
    ("fendo-injurylaw.com", "free-consultation", "car accident lawyer"),
    ("tabrinox-tiles.com", "wholesale", "porcelain tile wholesale"),
    ("clickvanta-hosting.com", "coupon", "cheap web hosting coupon"),
)
# How a link comes into a text. {text} is the copied comment.
_LINKED: tuple[str, ...] = (
    "{text} {url}",
    "{text}\n\n{url}",
    "{text}\n{host}",
    "{url} {text}",
    "{url}\n\n{text}",
    "{text} www.{host}",
    "{text} http://www.{host}/",
    '{text} <a href="{url}">{words}</a>',
    '{text}\n<a href="{url}" rel="follow">{words}</a>',
    '<a href="{url}">{words}</a> {text}',
    '{text} <a href="{url}">{host}</a>',
    "{text} <a href='{url}'>click here</a>",
    "{text} [url={url}]{words}[/url]",
    "{text}\n[url]{url}[/url]",
    "[url={url}]{words}[/url] {text}",
    "{text} [link={url}]{words}[/link]",
    "{text} [{words}]({url})",
    "{text}\n\n[{host}]({url})",
    "{text} ![{words}]({url})",
    "{text} Visit {url}",
    "{text} Visit {host} for {words}.",
    "{text}\nPlease visit {url} for more.",
    "{text} Visit my site: {url}",
    "{text} Check out {url}",
    "{text} Check out my page {host}/{page}",
    "{text} See also {url}",
    "{text} More info: {url}",
    "{text} More about {words}: {url}",
    "{text} Here is my blog: {url}",
    "{text}\n\nMy website; {words} ({url})",
    "{text}\n\nAlso visit my homepage: {words} - {url}",
    "{text} For {words} go to {url}",
    "{text} I found {words} at {url}",
    "{text} By the way, {words} are at {host}",
    "{text} We offer {words}: {url}",
    "{text}\n--\n{words}\n{url}",
    "{text}\n\n{words} | {host}",
    "{text} ({url})",
    "{text} >> {url} <<",
    "{text} {words} -> {host}/{page}",
)
# How a link stands as the author's own.
_AUTHOR_URLS: tuple[str, ...] = (
    "https://{host}/",
    "http://{host}",
    "https://www.{host}/",
    "http://www.{host}/{page}",
    "https://{host}/{page}",
    "https://{host}/{page}/",
    "https://{host}/{page}.html",
    "https://{host}/blog/{page}",
    "https://{host}/?ref={page}",
    "https://{host}/index.php?p={page}",
    "https://{host}/{page}?utm_source=comment",
    "https://shop.{host}/",
    "https://blog.{host}/{page}",
    "https://en.{host}/{page}",
    "http://{host}/category/{page}/",
    "http://{host}/{page}/index.html",
    "https://{host}/go/{page}",
    "https://{host}/#{page}",
    "{host}",
    "www.{host}/{page}",
)
_NAMES: tuple[str, ...] = (
    "Martin", "Olga K", "James Howell", "Priya", "sandra", "Tom W.", "Li Na", "Kevin", "Marta Nowak", "alex",
    "Rachel Dunn", "Ivan", "Nguyen Anh", "Peter", "Lucas M", "Emily", "Jorge", "Anna Berg", "mike", "Fatima",
)  # fmt: skip


def sample(rows: Sequence[Row], count: int) -> list[Row]:
    """``count`` of the rows, chosen by the hashes of their ids, in their order; all of them if there are no more."""
    if len(rows) <= count:
        return list(rows)
    last = sorted(_number(row, "sample") for row in rows)[count - 1]
    return [row for row in rows if _number(row, "sample") <= last]


def disguise_rows(rows: Sequence[Row], kind: str) -> list[Row]:
    """The rows with their texts disguised in one way of :data:`moderation.training.disguise.ATTACKS`."""
    disguised = []
    for row in rows:
        chance = random.Random(f"{kind} {row.id}")  # noqa: S311 - not for secrets
        text = attack(row.comment.text, kind, chance)[:MAX_TEXT_CHARS]
        disguised.append(replace(row, comment=replace(row.comment, text=text), slices=(kind,)))
    return disguised


def bury_hostile(hostile: Sequence[Row], around: Sequence[Row]) -> list[Row]:
    """The texts of hostile rows inside long harmless ones: behind the last sentence, or in the middle, half each.

    Which one a text comes into goes by hash; the rows are still those of the hostile comments, without their posts.
    Slices: ``end`` or ``middle``. Empty without ``around``.
    """
    buried = []
    for row in hostile if around else ():
        sentences = re.split(r"(?<=[.!?])\s+|\n+", around[_number(row, "around") % len(around)].comment.text)
        place = ("middle", "end")[_number(row, "at") % 2]
        at = len(sentences) if place == "end" else len(sentences) // 2
        text = " ".join([*sentences[:at], row.comment.text, *sentences[at:]])[:MAX_TEXT_CHARS]
        buried.append(replace(row, comment=Comment(text), slices=(place,)))
    return buried


def copy_genuine(rows: Sequence[Row]) -> list[Row]:
    """Spam made of genuine comments of blogs: one copy of each, by another author, with one commercial link.

    Half of the copies (by hash) stand under another post of the same blog, half under the same one; in a third the link
    is only the author's URL, else it stands in the text and the author gives none. Slices: ``other-post`` or
    ``own-post``, and ``author-url`` or ``in-text``. The blog's owner is not copied. A blog with one post gives copies
    under the same post only.
    """
    posts: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.comment.post is not None:
            posts[row.group].setdefault(row.comment.post.id or row.comment.post.title or "", row)
    copies = []
    for row in rows:
        post = row.comment.post
        if row.labels.get("spam") != 0 or row.extra.get("label") == "owner" or post is None:
            continue
        others = [other.comment.post for _, other in sorted(posts[row.group].items()) if other.comment.post != post]
        place = "own-post"
        if others and _number(row, "place") % 2:
            place, post = "other-post", others[_number(row, "post") % len(others)]
        host, page, words = _SHOPS[_number(row, "shop") % len(_SHOPS)]
        link = {"host": host, "page": page, "words": words, "url": f"https://{host}/{page}"}
        text, url, where = row.comment.text, None, "in-text"
        if _number(row, "where") % 3 == 0:
            where, url = "author-url", _AUTHOR_URLS[_number(row, "form") % len(_AUTHOR_URLS)].format_map(link)
        else:
            form = _LINKED[_number(row, "form") % len(_LINKED)]
            text = form.format_map({**link, "text": text[: MAX_TEXT_CHARS - 500]})
        author = Author(name=_NAMES[_number(row, "name") % len(_NAMES)], url=url)
        comment = replace(row.comment, text=text, author=author, post=post, thread=None, parent=None, url=None)
        copies.append(
            replace(row, id=f"{row.id}#copied", comment=comment, labels={"spam": 1}, slices=(place, where), extra={})
        )
    return copies


def _number(row: Row, use: str) -> int:
    """A large number fixed by the row and what it is used for."""
    digest = hashlib.sha1(f"{use}\n{row.source}\n{row.id}".encode(), usedforsecurity=False).hexdigest()
    return int(digest[:15], 16)
