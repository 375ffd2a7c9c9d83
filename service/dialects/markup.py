"""The HTML of comment editors as text. Without markup, text stays as it is, whatever signs are in it.

Whether a body is HTML is not said, so that what looks like a tag may be what readers see. Only what editors write is
taken for one, and no word that stands in it gets lost. Everything here takes time in proportion to the text.
"""

from __future__ import annotations

import html
import re

_BLOCKS = "address|blockquote|br|div|dd|dl|dt|h[1-6]|hr|li|ol|p|pre|table|td|th|tr|ul"
_INLINE = "a|abbr|b|cite|code|del|em|font|i|img|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|u"
_NAMES = "alt|class|dir|href|id|lang|rel|src|style|target|title"
_ATTRIBUTE = rf"(?:{_NAMES})\s?=\s?(?:\"[^\"<>]*+\"|'[^'<>]*+')"
# Only names that editors use: "if a <b and c> d", "<Stefan>" and "<b you fool>" are text. Quantifiers are possessive
# and nothing reaches beyond the next "<", so that no sign is looked at more than a few times.
_TAG = re.compile(
    rf"<(?:/(?:({_BLOCKS})|{_INLINE})|(?:({_BLOCKS})|{_INLINE})((?:\s++{_ATTRIBUTE})*+))\s*+/?>", re.IGNORECASE
)
_VALUE = re.compile(rf"\b({_NAMES})\s?=\s?(?:\"([^\"]*+)\"|'([^']*+)')", re.IGNORECASE)
# Values that say nothing: of links, and of Coral's own classes for spoilers and sarcasm.
_SILENT = re.compile(r"(?:nofollow|noopener|noreferrer|ugc|_blank|coral-rte-[a-z]+|ltr|rtl|auto|\s+)*+", re.IGNORECASE)
# With a semicolon only: addresses hold "&copy=1".
_REFERENCE = re.compile(r"&(?:[a-z][a-z0-9]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)


def plain_text(body: str) -> str:
    """The text of a comment that may be HTML: a line per block, references resolved.

    What the attributes of its tags say and the text does not, such as addresses of links, comes last, each on a line of
    its own: spam hides it, and where the body is no HTML readers see it.
    """
    if not _TAG.search(body):
        return _resolve(body).strip()
    said: dict[str, None] = {}

    def drop(tag: re.Match[str]) -> str:
        for _, double, single in _VALUE.findall(tag[3] or ""):
            if not _SILENT.fullmatch(value := double or single):
                said[_resolve(value).strip()] = None
        return "\n" if tag[1] or tag[2] else ""

    lines = (line.strip() for line in _resolve(_TAG.sub(drop, body)).split("\n"))
    text = "\n".join(line for line in lines if line)
    hidden = [value for value in said if value and value not in text]
    return "\n".join([text, *hidden]).strip()


def _resolve(text: str) -> str:
    return _REFERENCE.sub(lambda reference: html.unescape(reference[0]), text).replace("\xa0", " ")
