"""Texts spelled otherwise: what people do to dodge filters, and identity words put in the place of others.

Used twice: to vary training texts, so that meaning survives spelling and does not hang on who is mentioned; and as
attacks on a finished model, one kind at a time. Everything takes its chance from the generator it is given.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

_WORD = re.compile(r"[A-Za-z]{3,}")
_LOOK_ALIKES = dict(
    zip(
        "aceiopsxyABCEHKMOPTX",
        # The Cyrillic letters that look the same.
        "\u0430\u0441\u0435\u0456\u043e\u0440\u0455\u0445\u0443"
        "\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425",
        strict=True,
    )
)
_LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1", "b": "8", "g": "9"}
_NEAR_KEYS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi",
    "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
_SOUNDS = (("ck", "k"), ("ph", "f"), ("you", "u"), ("er", "a"), ("ing", "in"), ("s", "z"), ("c", "k"), ("ee", "i"),
           ("th", "d"), ("ou", "u"), ("x", "ks"), ("qu", "kw"), ("f", "ph"))  # fmt: skip

Trick = Callable[[str, random.Random], str]


def _zero_width(word: str, chance: random.Random) -> str:
    place = chance.randrange(1, len(word))
    return word[:place] + chance.choice("\u200b\u200c\u200d\u2060\u00ad") + word[place:]


def _look_alike(word: str, chance: random.Random) -> str:
    known = [index for index, char in enumerate(word) if char in _LOOK_ALIKES]
    chosen = set(chance.sample(known, max(1, len(known) // 2))) if known else set()
    return "".join(_LOOK_ALIKES[char] if index in chosen else char for index, char in enumerate(word))


def _spaced(word: str, chance: random.Random) -> str:
    return chance.choice((" ", ".", "-", "*", "_")).join(word)


def _leet(word: str, chance: random.Random) -> str:
    known = [index for index, char in enumerate(word) if char.lower() in _LEET]
    chosen = set(chance.sample(known, max(1, len(known) * 2 // 3))) if known else set()
    return "".join(chance.choice(_LEET[char.lower()]) if index in chosen else char for index, char in enumerate(word))


def _doubled(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word))
    return word[: place + 1] + word[place] * chance.randint(1, 3) + word[place + 1 :]


def _starred(word: str, chance: random.Random) -> str:
    inner = range(1, max(2, len(word) - 1))
    chosen = set(chance.sample(inner, chance.randint(1, max(1, len(inner) // 2))))
    sign = chance.choice("**#-_.@")
    return "".join(sign if index in chosen else char for index, char in enumerate(word))


def _dropped(word: str, chance: random.Random) -> str:
    inner = [index for index in range(1, len(word)) if word[index].lower() in "aeiou"] or list(range(1, len(word)))
    place = chance.choice(inner)
    return word[:place] + word[place + 1 :]


def _swapped(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word) - 1)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _mistyped(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word))
    return word[:place] + chance.choice(_NEAR_KEYS.get(word[place].lower(), word[place])) + word[place + 1 :]


def _split(word: str, chance: random.Random) -> str:
    place = chance.randrange(1, len(word))
    return word[:place] + chance.choice((" ", " ", "-", ".", "'", "/")) + word[place:]


def _by_sound(word: str, chance: random.Random) -> str:
    known = [(old, new) for old, new in _SOUNDS if old in word.lower()]
    if not known:
        return word
    old, new = chance.choice(known)
    return word.lower().replace(old, new, 1)


ATTACKS: Mapping[str, Trick] = {
    "zero-width": _zero_width,
    "look-alikes": _look_alike,
    "spaced": _spaced,
    "leet": _leet,
    "doubled": _doubled,
}
"""The tricks that a model is attacked with, one kind at a time."""

TRICKS: tuple[Trick, ...] = (
    *ATTACKS.values(), _starred, _starred, _dropped, _dropped, _swapped, _mistyped, _split, _by_sound, _leet,
)  # fmt: skip


def attack(text: str, kind: str, chance: random.Random, share: float = 0.3) -> str:
    """The text with ``share`` of its words of three letters and more disguised by one of :data:`ATTACKS`."""
    trick = ATTACKS[kind]
    return _WORD.sub(lambda match: trick(match[0], chance) if chance.random() < share else match[0], text)


def disguise(text: str, chance: random.Random) -> str:
    """The text with some words (one in eight to one in two) spelled in one or two of the ways of :data:`TRICKS`."""
    tricks = chance.sample(TRICKS, chance.choice((1, 1, 2)))
    share = chance.choice((0.12, 0.25, 0.5))
    return _WORD.sub(
        lambda match: chance.choice(tricks)(match[0], chance) if chance.random() < share else match[0], text
    )


# Words that may stand in each other's place without changing whether a sentence is hostile.
_GROUPS: tuple[tuple[str, ...], ...] = (
    ("muslim", "christian", "jewish", "hindu", "buddhist", "catholic", "protestant", "mormon", "sikh", "atheist"),
    ("muslims", "christians", "jews", "hindus", "buddhists", "catholics", "protestants", "mormons", "sikhs",
     "atheists"),
    ("islam", "christianity", "judaism", "hinduism", "buddhism", "catholicism"),
    ("gay", "straight", "lesbian", "bisexual", "trans", "queer", "heterosexual", "homosexual", "transgender",
     "asexual"),
    ("gays", "lesbians", "heterosexuals", "homosexuals", "bisexuals"),
    ("black", "white", "asian", "latino", "hispanic", "arab", "african", "european"),
    ("blacks", "whites", "asians", "latinos", "hispanics", "arabs", "africans", "europeans"),
    ("mexican", "american", "chinese", "indian", "russian", "nigerian", "german", "polish", "turkish", "canadian",
     "japanese", "french", "pakistani", "korean", "british", "irish", "spanish", "syrian", "iranian"),
    ("mexicans", "americans", "indians", "russians", "nigerians", "germans", "turks", "canadians", "pakistanis",
     "koreans", "syrians", "iranians", "italians"),
    ("women", "men"), ("woman", "man"), ("girl", "boy"), ("girls", "boys"), ("female", "male"),
    ("deaf", "blind", "disabled", "autistic", "paralysed", "old", "young", "elderly"),
    ("immigrants", "refugees", "foreigners", "natives", "locals"),
)  # fmt: skip
_GROUP_OF = {word: group for group in _GROUPS for word in group}
_IDENTITY = re.compile(rf"\b(?:{'|'.join(sorted(_GROUP_OF, key=len, reverse=True))})\b", re.IGNORECASE)


def names_identity(text: str) -> bool:
    """Whether the text has an identity word."""
    return _IDENTITY.search(text) is not None


def swap_identities(text: str, chance: random.Random) -> str:
    """The text with each identity word replaced by another of its kind, the same one throughout."""
    chosen: dict[str, str] = {}

    def swap(match: re.Match[str]) -> str:
        word = match[0]
        if word.lower() not in _GROUP_OF:  # a long s or a dotted capital I, which fit a pattern without case
            return word
        other = chosen.setdefault(word.lower(), chance.choice(_GROUP_OF[word.lower()]))
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return _IDENTITY.sub(swap, text)
