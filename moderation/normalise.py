"""Text to canonical text, and what was lost on the way.

People hide words from filters: characters of no width, letters of another script that look alike, letters spaced out,
digits for letters, letters repeated. :func:`normalise` undoes what can be undone without harming honest text, counts
each trick, and remembers where every character came from, so that an explanation can point into the original.

Total and pure: any ``str`` works, lone surrogates included. A bundle records :data:`VERSION` and refuses another one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 1

# Characters that show nothing: soft hyphen, combining grapheme joiner, Hangul fillers, zero-width and direction marks,
# variation selectors, the byte order mark, tags.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
# A joiner or selector beside emoji, or in scripts that need it to spell, hides nothing.
_HIDING = re.compile(
    "(?<=[A-Za-z\u00c0-\u024f])[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
    "(?=[A-Za-z\u00c0-\u024f])"
)
_PILE = 8
_PILED = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0903\u093c\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u302a-\u302f\u3099\u309a\ufe20-\ufe2f]{9,}"
)
_STACKED = re.compile("(?<=[A-Za-z\u00c0-\u024f\u0370-\u052f\u1e00-\u1eff])[\u0300-\u036f]+")
_MIXED_WORD = re.compile("[A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u052f]+")
_LATIN = re.compile("[A-Za-z]")
_GREEK_OR_CYRILLIC = re.compile("[\u0370-\u03ff\u0400-\u052f]")
_SPACED = re.compile(r"(?<![^\W_])[^\W\d_]([ .*\-_|/,~+]{1,2})(?:[^\W\d_]\1){2,}[^\W\d_](?![^\W_])")
# Signs count as letters only between letters; a dollar also before one. Addresses and paths are no words.
_LEET_WORD = re.compile(
    r"(?<![\w@$#.:/&=|-])(?:[A-Za-z0-9]|\$(?=[A-Za-z])|(?<=[A-Za-z$])[@$](?=[A-Za-z$])|(?<=[a-z])!(?=[a-z])){3,16}(?![\w@$/=|-]|\.\w)"
)
_LEET_HINT = re.compile(r"[A-Za-z][013457@$!]+[A-Za-z]|\$[A-Za-z]")
_NUMERONYM = re.compile(r"[0-9A-Fa-f]+|[A-Za-z]\d+[A-Za-z]|[A-Za-z]+\d{3,}\w*|(?:[A-Za-z]\d){3,}\w*")
_MIXED_CASE = re.compile(r"[a-z].*[A-Z]")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)

_LOOK_ALIKES = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһԛԝкмтпгвнΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορτυχγ",
        "ABESIJKMHOPCTYXaesijopcyxdhqwkmtnrbhABEZHIKMNOPTYXaiknoptuxy",
        strict=True,
    )
)
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}


@dataclass(frozen=True, slots=True)
class Normalised:
    """Canonical text and the tricks counted on the way.

    ``origins[i]`` is the index in the original of the character that became ``text[i]``; ``None`` when nothing moved.
    """

    text: str
    origins: tuple[int, ...] | None = None
    invisible: int = 0
    look_alikes: int = 0
    spaced: int = 0
    leet: int = 0
    stretched: int = 0

    @property
    def tricks(self) -> int:
        """Words and characters that were disguised, of any kind."""
        return self.invisible + self.look_alikes + self.spaced + self.leet


def normalise(text: str) -> Normalised:
    """Bring ``text`` to canonical form: NFKC, nothing invisible, disguised words spelled out. Case is kept."""
    draft = _Draft(text)
    invisible = stacked = look_alikes = 0
    if not text.isascii():
        invisible = len(_HIDING.findall(draft.text))
        draft.replace((match.span(), "") for match in _INVISIBLE.finditer(draft.text))
        # A pile of accents is a disguise, and putting a long one in order takes time that grows with its square.
        stacked = draft.replace((match.span(), match.group()[:_PILE]) for match in _PILED.finditer(draft.text))
        draft.compose()
        stacked += draft.replace((match.span(), "") for match in _STACKED.finditer(draft.text))
        look_alikes = draft.replace(_mixed_words(draft.text))
    spaced = draft.replace(
        (match.span(), match.group().replace(match.group(1), "")) for match in _SPACED.finditer(draft.text)
    )
    leet = draft.replace(_leet_words(draft.text))
    stretched = draft.replace((match.span(), match.group()[:2]) for match in _REPEATED.finditer(draft.text))
    origins = tuple(draft.origins) if draft.origins is not None else None
    return Normalised(draft.text, origins, invisible + stacked, look_alikes, spaced, leet, stretched)


class _Draft:
    """Text being rewritten, with the index each character came from (``None`` while nothing has moved)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.origins: list[int] | None = None

    def replace(self, edits: Iterator[tuple[tuple[int, int], str]]) -> int:
        """Apply edits ((start, end), new text): in order, apart, none longer than what it replaces. How many."""
        parts: list[str] = []
        origins: list[int] = []
        done = count = 0
        old = self.origins
        for (start, end), new in edits:
            if count == 0 and old is None:
                old = list(range(len(self.text)))
            assert old is not None
            parts += (self.text[done:start], new)
            origins += old[done:start]
            # Spread the new characters over the old ones, so that each points near the place it stands for.
            origins += [old[start + index * (end - start) // max(len(new), 1)] for index in range(len(new))]
            done = end
            count += 1
        if count:
            assert old is not None
            self.text = "".join(parts) + self.text[done:]
            self.origins = origins + old[done:]
        return count

    def compose(self) -> None:
        """NFKC, character cluster by character cluster where it changes anything at all."""
        if unicodedata.is_normalized("NFKC", self.text):
            return
        old = self.origins or list(range(len(self.text)))
        parts: list[str] = []
        origins: list[int] = []
        start = 0
        for end in range(1, len(self.text) + 1):
            if end < len(self.text) and (unicodedata.combining(self.text[end]) or _hangul_part(self.text[end])):
                continue
            composed = unicodedata.normalize("NFKC", self.text[start:end])
            parts.append(composed)
            origins += [old[start]] * len(composed)
            start = end
        self.text, self.origins = "".join(parts), origins


def _hangul_part(char: str) -> bool:
    """Vowel and final consonant jamo, which compose with what precedes though they are no combining marks."""
    return "\u1160" <= char <= "\u11ff"


def _mixed_words(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Words that mix Latin with Greek or Cyrillic letters, spelled in Latin. Words of one script are left alone."""
    if not _GREEK_OR_CYRILLIC.search(text):
        return
    for match in _MIXED_WORD.finditer(text):
        word = match.group()
        if _LATIN.search(word) and _GREEK_OR_CYRILLIC.search(word):
            plain = "".join(_LOOK_ALIKES.get(char, char) for char in word)
            if plain != word:
                yield match.span(), plain


def _leet_words(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Words with digits or signs in the place of letters (``1d10t``, ``b@stard``), spelled out.

    Left alone is what only looks so: mentions, mail addresses, prices, ``mp3``, ``2nd``, ``i18n``, ``C3PO``,
    sentences run together, identifiers and keys.
    """
    if not _LEET_HINT.search(text):
        return
    for match in _LEET_WORD.finditer(text):
        word = match.group()
        letters = sum(char.isalpha() for char in word)
        digits = sum(char.isdigit() for char in word.strip("0123456789"))
        if letters < 2 or digits > letters or not _LEET_HINT.search(word):
            continue
        if digits and (_NUMERONYM.fullmatch(word) or (word.isupper() and len(word) < 5) or _MIXED_CASE.search(word)):
            continue
        spelled = "".join(_LEET.get(char, char) for char in word)
        if spelled != word:
            yield match.span(), spelled
