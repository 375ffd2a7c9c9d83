"""Words of a text as it was written, and stretches of it: what an explanation points with.

Words are whole and keep their disguise: hidden characters, stars and digits inside a word belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moderation import signals
from moderation.normalise import Normalised

# A word ends at white space, at the signs that end words, and between the characters of scripts that write none.
_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_BREAK = r"\s.,;:!?…\"“”«»()\[\]{}<>/\\|\u2013\u2014\u3001\u3002\uff01\uff0c\uff1f"
_WORD = re.compile(f"[{_SINGLE}]|(?:[^{_BREAK}{_SINGLE}]|(?<=[a-zA-Z])!(?=[a-zA-Z]))+")
_EDGE = "'`_~-\u2018\u2019"
_LIGHT = re.compile(r"[^\S\n]?[.,;:!?…'\"*_~/\-\u2018-\u201d\u2013\u2014\u3001\u3002]{0,4}\s{0,2}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a whole link: code point offsets in the comment's own text."""

    start: int
    end: int
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the comment's own text that raised the score, as whole words.

    ``start`` and ``end`` count code points, ``utf16_start`` and ``utf16_end`` UTF-16 units, as JavaScript does; an end
    lies behind the last character. ``strength`` is in 0 to 1.
    """

    start: int
    end: int
    utf16_start: int
    utf16_end: int
    strength: float

    def to_dict(self) -> dict[str, Any]:
        """The five fields, ready for JSON."""
        return asdict(self)


def find_words(text: str, normalised: Normalised | None = None) -> list[Word]:
    """The words of a text in order, apart; a link is one word. Emoji and words of any script are words.

    With its canonical form (:func:`moderation.normalise.normalise`), what is one word there is one, spaced out or not.
    """
    words: list[Word] = []
    done = 0
    for start, end in [*_link_places(text), (len(text), len(text))]:
        words += [Word(*span) for span in _plain_words(text, done, start)]
        if end > start:
            words.append(Word(start, end, is_link=True))
        done = end
    return words if normalised is None or normalised.origins is None else _rejoin(words, normalised, len(text))


def _rejoin(words: Sequence[Word], normalised: Normalised, length: int) -> list[Word]:
    """The words, but those that canonical text has as one made one."""
    ends = [*(normalised.origins or ()), length]
    joined: list[Word] = []
    index = 0
    for match in _WORD.finditer(normalised.text):
        first, behind = ends[match.start()], ends[match.end()]
        while index < len(words) and (words[index].start < first or words[index].is_link):
            joined.append(words[index])
            index += 1
        group = index
        while index < len(words) and words[index].start < behind and not words[index].is_link:
            index += 1
        if index > group:
            joined.append(Word(words[group].start, words[index - 1].end))
    return [*joined, *words[index:]]


def join_words(text: str, words: Sequence[Word], strengths: Mapping[int, float], most: int) -> tuple[Span, ...]:
    """The words with a strength (by index) as spans in order, neighbours as one; of too many the strongest ``most``.

    Neighbours are words between which stand white space or light punctuation alone; a link stays on its own.
    """
    runs: list[tuple[int, int, float]] = []
    for index in sorted(strengths):
        word, strength = words[index], strengths[index]
        if index - 1 in strengths and not word.is_link and not words[index - 1].is_link:
            start, end, before = runs[-1]
            if _LIGHT.fullmatch(text, end, word.start):
                runs[-1] = (start, word.end, max(before, strength))
                continue
        runs.append((word.start, word.end, strength))
    kept = sorted(sorted(runs, key=lambda run: -run[2])[:most])
    # Beyond the first plane a character is two UTF-16 units.
    wide = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32) > 0xFFFF
    wide_before = [0, *np.cumsum(wide).tolist()]
    return tuple(
        Span(start, end, start + wide_before[start], end + wide_before[end], round(strength, 4))
        for start, end, strength in kept
    )


def _link_places(text: str) -> list[tuple[int, int]]:
    """Where the links of a text stand, in order, apart."""
    links = signals.find_links(text)
    covered = np.zeros(len(text) + 2, np.int8)
    done = 0
    for link in links:
        start = text.find(link, done)
        start = text.find(link) if start < 0 else start  # bare hosts come after the URLs
        while start >= 0 and covered[start + 1]:
            start = text.find(link, start + len(link))
        if start >= 0:
            done = start + len(link)
            covered[start + 1 : done + 1] = 1
    edges = np.flatnonzero(np.diff(covered)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _plain_words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans = []
    for match in _WORD.finditer(text, start, end):
        first, last = match.span()
        while first < last and text[first] in _EDGE:
            first += 1
        while last > first and text[last - 1] in _EDGE:
            last -= 1
        while last - first > 2 and text[first] == text[last - 1] == "*":  # on one side alone they hide letters
            first, last = first + 1, last - 1
        if last > first:
            spans.append((first, last))
    return spans
