"""HTML in exports as text: what a post says, and what an author typed before a system made HTML of it.

Linear in the length of the text, whatever stands in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

# A name is taken whole: a shorter one would only be tried again, sign by sign.
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)([^<>]*+)>")
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_BLOCKS = frozenset({"blockquote", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "pre", "tr", "ul"})
_HIDDEN = (
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<script\b", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style\b", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
)
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
# No sign has such a number, and html.unescape raises where one has thousands of digits.
_NO_SIGN = re.compile(r"&#[0-9]{20,}+;?")


def read_markup(markup: str) -> str:
    """What HTML says, in words with single blanks between; comments, scripts and styles are left out."""
    for start, end in _HIDDEN:
        markup = _without(markup, start, end)
    return " ".join(resolve(_TAG.sub(" ", markup)).split())


def as_typed(markup: str, target: Callable[[str], str] = str) -> str:
    """The text that HTML was made of, with its paragraphs.

    Of a link that a system made of an address the address is left (``target`` may say which it was); one with words of
    the author's stays a link, since that is what they wrote.
    """
    written: list[str] = []
    link: tuple[str, int] | None = None
    at = 0

    def end_link() -> None:
        nonlocal link
        if link is not None:
            address, start = link
            words = "".join(written[start:])
            written[start:] = [_write_link(target(address), address, words)]
            link = None

    for tag in _TAG.finditer(markup):
        written.append(resolve(markup[at : tag.start()]))
        at = tag.end()
        closes, name = bool(tag[1]), tag[2].lower()
        if name == "a":
            end_link()
            if not closes and (href := _HREF.search(tag[3])):
                link = (resolve(href[1] or href[2] or href[3] or "").strip(), len(written))
        elif name == "br":
            written.append("\n")
        elif closes and name in _BLOCKS:
            written.append("\n\n")
    written.append(resolve(markup[at:]))
    end_link()
    return _BLANK_LINES.sub("\n\n", "".join(written)).strip()


def resolve(text: str) -> str:
    """The text with signs in place of references to them, such as ``&amp;``."""
    return html.unescape(_NO_SIGN.sub("\ufffd", text))


def _write_link(address: str, given: str, words: str) -> str:
    shown = words.strip()
    for each in (address, given):
        bare = each.partition("://")[2] or each
        is_cut = shown.endswith("...") and len(shown) > 3 and shown[:-3] in each
        if is_cut or shown.rstrip("/") in (each.rstrip("/"), bare.rstrip("/")):
            return address
    return f'<a href="{address}">{words}</a>' if shown else address


def _without(text: str, start: re.Pattern[str], end: re.Pattern[str]) -> str:
    """The text without what stands between; where it never ends, only the beginning is not there."""
    kept, at = [], 0
    while opened := start.search(text, at):
        closed = end.search(text, opened.end())
        if closed is None:
            break
        kept += [text[at : opened.start()], " "]
        at = closed.end()
    return "".join(kept) + text[at:]
