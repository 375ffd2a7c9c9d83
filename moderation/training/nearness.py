"""Which texts are equal, or nearly equal, to which others; quick enough for a few hundred thousand of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from moderation.comment import Comment
from moderation.training.rows import Row, fingerprint

NEAR_SHARE = 0.5
NO_LETTERS = fingerprint("")
# Emoji count as words: in sets of contrasts two texts of opposite labels may differ in nothing else.
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff"
_TOKEN = re.compile(rf"\w+|[{_EMOJI}]")
_ONE_EMOJI = re.compile(rf"[{_EMOJI}]")
_WINDOW_WORDS = 5
_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd 64-bit constant, so that the order of the words counts
_SLOT_BITS = 26
_SLOT_SHIFT = np.uint64(64 - _SLOT_BITS)


def identity(text: str, letters: Callable[[str], str] = fingerprint) -> str:
    """What two equal texts share: letters, digits and emoji; everything, if there are none.

    ``letters`` is :func:`~moderation.training.rows.fingerprint`, or a memo of it.
    """
    same = letters(text)
    if same == NO_LETTERS:
        return text
    return same if text.isascii() else same + "".join(_ONE_EMOJI.findall(text))


class Nearness:
    """Finds rows that are equal to, or share at least half of their word runs with, a single other text."""

    def __init__(self, rows: Sequence[Row], others: Sequence[Comment], letters: Callable[[str], str]) -> None:
        self._letters = letters
        self._texts = [*(row.comment.text for row in rows), *(comment.text for comment in others)]
        self._number = {id(row): number for number, row in enumerate(rows)}
        self._others = range(len(rows), len(self._texts))
        self._windows = _Windows(self._texts)

    def to_others(self, rows: Sequence[Row]) -> list[bool]:
        """Per row, whether it is near one of the other comments."""
        return self._near([self._number[id(row)] for row in rows], self._others)

    def to_rows(self, rows: Sequence[Row], others: Sequence[Row]) -> list[bool]:
        """Per row, whether it is near one of these other rows."""
        return self._near([self._number[id(row)] for row in rows], [self._number[id(row)] for row in others])

    def _near(self, asked: Sequence[int], others: Sequence[int]) -> list[bool]:
        alike = self._windows.near(asked, others)
        equal = {self._letters(self._texts[other]) for other in others} - {NO_LETTERS}
        signs = {self._texts[other] for other in others}  # equal texts of signs alone have no letters to compare
        return [
            text in alike or self._letters(self._texts[text]) in equal or self._texts[text] in signs for text in asked
        ]


class _Windows:
    """Runs of five words of many texts, as numbers, to find texts that share them.

    ``hashes`` holds the runs of all texts one after another; those of text ``i`` are at ``starts[i]:starts[i + 1]``.
    Texts of fewer words have none.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        words: list[int] = []
        ends = [0]
        for text in texts:
            words += map(hash, _TOKEN.findall(text.lower()))
            ends.append(len(words))
        numbers = np.array(words, dtype=np.int64).view(np.uint64)
        bounds = np.array(ends, dtype=np.int64)
        sizes = np.maximum(np.diff(bounds) - (_WINDOW_WORDS - 1), 0)
        self.starts = np.concatenate(([0], np.cumsum(sizes)))
        first_words = np.repeat(bounds[:-1] - self.starts[:-1], sizes) + np.arange(self.starts[-1])
        self.hashes = np.zeros(len(first_words), dtype=np.uint64)
        for offset in range(_WINDOW_WORDS):
            self.hashes = self.hashes * _MIX + numbers[first_words + offset]

    def of(self, texts: Sequence[int]) -> NDArray[np.uint64]:
        """The runs of these texts."""
        return np.concatenate([self.hashes[:0], *(self[text] for text in texts)])

    def __getitem__(self, text: int) -> NDArray[np.uint64]:
        return self.hashes[self.starts[text] : self.starts[text + 1]]

    def near(self, asked: Sequence[int], others: Sequence[int]) -> set[int]:
        """Those of the asked texts of which at least half of the runs stand in a single one of the others.

        A first pass asks whether half of them may stand in the others taken together (different runs can share a slot
        of its table), which rules out nearly every text; only for the remaining ones single texts are compared.
        """
        anywhere = np.zeros(1 << _SLOT_BITS, dtype=bool)
        anywhere[self.of(others) >> _SLOT_SHIFT] = True
        counts = np.diff(self.starts)[list(asked)]
        known = np.concatenate(([0], np.cumsum(anywhere[self.of(asked) >> _SLOT_SHIFT])))
        ends = np.cumsum(counts)
        found = known[ends] - known[ends - counts]
        doubtful = [text for text, ok in zip(asked, (counts > 0) & (found >= NEAR_SHARE * counts), strict=True) if ok]
        wanted = set(self.of(doubtful).tolist())
        holders: dict[int, list[int]] = defaultdict(list)
        for other in others:
            for run in wanted.intersection(self[other].tolist()):
                holders[run].append(other)
        near = set()
        for text in doubtful:
            runs = self[text].tolist()
            shared = Counter(other for run in runs for other in holders.get(run, ()))
            if max(shared.values(), default=0) >= NEAR_SHARE * len(runs):
                near.add(text)
        return near
