"""The HTML of comment editors as text. Without markup, text stays as it is, whatever signs are in it."""

from __future__ import annotations

import html
import re

_BLOCKS = "address|blockquote|br|div|dd|dl|dt|h[1-6]|hr|li|ol|p|pre|table|td|th|tr|ul"
_INLINE = "a|abbr|b|cite|code|del|em|font|i|img|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|u"
# Only names that editors use: "if a <b and c> d" and "<Stefan>" are text.
_TAG = re.compile(rf"</?(?:({_BLOCKS})|{_INLINE})(?:\s[^<>]{{0,4000}})?/?>", re.IGNORECASE)
_LINK = re.compile(r"<a\s[^<>]{0,4000}?\bhref\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')", re.IGNORECASE)
# With a semicolon only: addresses hold "&copy=1".
_REFERENCE = re.compile(r"&(?:[a-z][a-z0-9]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_MOST_LINKS = 100


def plain_text(body: str) -> str:
    """The text of a comment that may be HTML: a line per block, references resolved.

    Addresses of links that the text does not show come last, each on a line of its own: spam hides them. Linear in the
    length of the text, whatever stands in it.
    """
    if not _TAG.search(body):
        return _resolve(body).strip()
    links = [first or second for first, second in _LINK.findall(body)]
    lines = _resolve(_TAG.sub(lambda tag: "\n" if tag[1] else "", body)).split("\n")
    text = "\n".join(line for each in lines if (line := each.strip()))
    hidden = [link for link in dict.fromkeys(map(_resolve, links[:_MOST_LINKS])) if link and link not in text]
    return "\n".join([text, *hidden]).strip()


def _resolve(text: str) -> str:
    return _REFERENCE.sub(lambda reference: html.unescape(reference[0]), text).replace("\xa0", " ")
