"""Hashed character and word n-grams of many texts at once, in numpy.

Every window of characters inside a word, every word and every pair of neighbouring words becomes one of ``2**bits``
columns ("the hashing trick", Weinberger et al. 2009, arXiv:0902.2206). All texts of a call are laid out as one array
of code points, and the hash of any window is the difference of two prefix sums (Karp and Rabin 1987), so there is no
Python loop over characters, words or texts. ``benchmarks/lexical.py`` compares the speed with scikit-learn's.

The scikit-learn transformer around these functions is ``moderation.training.vectorizer.LexicalVectorizer``; scoring
uses the functions alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_CHUNK_CHARS = 1 << 16  # what fits a core's cache: larger runs were slower
_RUN_ENTRIES = 1 << 18
_BASE = 0x9E3779B97F4A7C15  # odd, hence invertible modulo 2**64, which is what lets a prefix sum be shifted back
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_SPACE, _LETTER, _OTHER = 0, 1, 2
_WORD = 0xD6E8FEB86659FD93  # sets a whole word apart from the same characters inside a longer one


@dataclass(frozen=True, slots=True)
class LexicalSpec:
    """Which n-grams are counted, and into how many columns.

    ``char_min``..``char_max`` characters inside a word together with the space on either side of it (scikit-learn's
    ``char_wb``); ``word_max`` 0, 1 or 2 words. ``salt`` makes two fields (text, author name) fall into different
    columns.
    """

    bits: int = 18
    char_min: int = 2
    char_max: int = 5
    word_max: int = 2
    salt: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 31:
            raise ValueError(f"bits must be 1 to 31, not {self.bits}")
        if not 1 <= self.char_min <= self.char_max:
            raise ValueError(f"characters must be 1 <= min <= max, not {self.char_min} and {self.char_max}")
        if self.word_max not in {0, 1, 2}:
            raise ValueError(f"word_max must be 0, 1 or 2, not {self.word_max}")


@dataclass(frozen=True, slots=True)
class Ngrams:
    """A sparse matrix of counts, by rows: row ``i`` is ``indices[indptr[i]:indptr[i + 1]]``, sorted, each once.

    Shapes: ``indptr`` (texts + 1,), ``indices`` and ``counts`` (stored entries,).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.float32]


def count_ngrams(texts: Sequence[str], spec: LexicalSpec) -> Ngrams:
    """Count the n-grams of each text. Upper and lower case count as one; so does any run of white space."""
    parts = [_count_chunk(chunk, spec) for chunk in _chunks(texts)]
    if not parts:
        return Ngrams(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    return Ngrams(
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def weigh(ngrams: Ngrams, idf: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """The value of each entry: ``1 + log(count)``, times ``idf`` of its column; each row scaled to length one."""
    values: NDArray[np.float32] = np.log(ngrams.counts) + np.float32(1)
    if idf is not None:
        values *= idf[ngrams.indices]
    norms = np.sqrt(_sum_rows(values * values, ngrams.indptr))
    norms[norms == 0] = 1
    values /= np.repeat(norms, np.diff(ngrams.indptr))
    return values


def project(ngrams: Ngrams, values: NDArray[np.float32], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """The product of the sparse rows with ``weights`` (columns, heads), giving (texts, heads)."""
    result = np.zeros((len(ngrams.indptr) - 1, weights.shape[1]))
    start = 0
    while start < len(result):
        # Runs of rows with about a quarter of a million entries, so that memory does not grow with the texts.
        end = int(np.searchsorted(ngrams.indptr, ngrams.indptr[start] + _RUN_ENTRIES, "right")) - 1
        end = min(max(end, start + 1), len(result))
        entries = slice(ngrams.indptr[start], ngrams.indptr[end])
        gathered = weights[ngrams.indices[entries]].astype(np.float64)
        gathered *= values[entries, None]
        result[start:end] = _sum_rows(gathered, ngrams.indptr[start : end + 1] - ngrams.indptr[start])
        start = end
    return result


def attribute(
    text: str, spec: LexicalSpec, idf: NDArray[np.float32], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How much each character of ``text`` adds to a head: (characters,), summing to :func:`project` of the text.

    An n-gram's contribution (its value times the head's weight, ``weights`` of shape (columns,)) is shared equally
    by its characters, the spaces around words left out. With weights of several heads (columns, heads), the result is
    (characters, heads).
    """
    heads = weights.shape[1:]
    result = np.zeros((len(text), *heads))
    layout = _Layout([text])
    columns, starts, lengths, _ = layout.windows(spec)
    if not len(columns):
        return result
    unique, inverse, counts = np.unique(columns, return_inverse=True, return_counts=True)
    ngrams = Ngrams(np.array([0, len(unique)]), unique.astype(np.int32), counts.astype(np.float32))
    given = weights[unique].astype(np.float64).reshape(len(unique), -1)
    each = (given * (weigh(ngrams, idf) / counts)[:, None])[inverse]
    visible = layout.origins >= 0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(visible)])
    each /= np.maximum(before[starts + lengths] - before[starts], 1)[:, None]
    for head, added in enumerate(each.T):
        # What each place gets is what the n-grams that have begun add, less what those that have ended added.
        steps = np.bincount(starts, added, len(visible) + 1) - np.bincount(starts + lengths, added, len(visible) + 1)
        result.reshape(len(text), -1)[layout.origins[visible], head] = np.cumsum(steps)[:-1][visible]
    return result


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Runs of texts of about ``_CHUNK_CHARS`` characters."""
    start = chars = 0
    for end, text in enumerate(texts, 1):
        chars += len(text)
        if chars >= _CHUNK_CHARS:
            yield texts[start:end]
            start, chars = end, 0
    if start < len(texts):
        yield texts[start:]


def _count_chunk(texts: Sequence[str], spec: LexicalSpec) -> Ngrams:
    layout = _Layout(texts)
    columns, _, _, rows = layout.windows(spec)
    keys = rows.astype(np.uint64)
    keys <<= np.uint64(spec.bits)
    keys |= columns
    keys.sort()
    first = np.empty(len(keys), bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(keys)).astype(np.float32)
    unique = keys[starts]
    lengths = np.bincount((unique >> np.uint64(spec.bits)).astype(np.int64), minlength=len(texts))
    return Ngrams(
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        (unique & np.uint64((1 << spec.bits) - 1)).astype(np.int32),
        counts,
    )


class _Layout:
    """The texts, lower-cased, as one array of code points: a space before, between and after, white space made single.

    ``origins`` gives for each place its index in the text it came from, -1 for the spaces added.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        lowered = [_lower(text) for text in texts]
        joined = " " + " ".join(lowered) + " "
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        kinds = _kinds()[np.minimum(codes, len(_kinds()) - 1)]
        lengths = np.fromiter((len(text) + 1 for text in lowered), np.int64, len(lowered))
        ends = np.cumsum(lengths)
        rows = np.repeat(np.arange(len(texts)), lengths)
        origins = np.arange(len(rows)) - np.repeat(ends - lengths, lengths)
        origins[ends - 1] = -1
        keep = kinds != _SPACE
        keep[1:] |= keep[:-1]  # of a run of white space the first stays
        keep[0] = True
        self.kinds = kinds[keep]
        self.codes = np.where(self.kinds == _SPACE, np.uint32(32), codes[keep])
        self.rows = np.concatenate([np.zeros(1, np.int64), rows])[keep]
        self.origins = np.concatenate([np.full(1, -1), origins])[keep]
        powers = _powers(len(self.codes) + 1)
        terms = (self.codes.astype(np.uint64) + np.uint64(1)) * powers[0][: len(self.codes)]
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        self.shifts = powers[1]

    def windows(
        self, spec: LexicalSpec
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Every n-gram of the layout: its column, where it starts, its length, its text. Four arrays of one length."""
        size = len(self.codes)
        places = np.arange(size + 1)
        # The first space at or after a place; a window of n may begin at i if none lies strictly inside it.
        space = np.append(np.where(self.kinds == _SPACE, places[:-1], size), size)
        room = np.minimum.accumulate(space[::-1])[::-1][1:] - places[:-1]
        hashes, starts, lengths = [], [], []
        begin = places[:-1]
        for n in range(1, spec.char_max + 1):
            begin = begin[(room[begin] >= n - 1) & (begin + n <= size)]
            if n < spec.char_min:
                continue
            hashes.append(self._hash(begin, begin + n))
            starts.append(begin)
            lengths.append(np.full(len(begin), n))
        if spec.word_max:
            begin, end = self._words()
            words = _mix(self._hash(begin, end) ^ np.uint64(_WORD))
            hashes.append(words)
            starts.append(begin)
            lengths.append(end - begin)
            if spec.word_max > 1 and len(begin) > 1:
                pair = np.flatnonzero(self.rows[begin[1:]] == self.rows[begin[:-1]])
                hashes.append(_mix(words[pair] * np.uint64(3) + words[pair + 1]))
                starts.append(begin[pair])
                lengths.append(end[pair + 1] - begin[pair])
        mixed = _mix(np.concatenate(hashes) ^ _mix(np.array([spec.salt], np.uint64)))
        start = np.concatenate(starts)
        # A space is the last place of its text: what begins there belongs to the word after it.
        rows = self.rows[np.minimum(start + (self.kinds[start] == _SPACE), size - 1)] if size else start
        return mixed >> np.uint64(64 - spec.bits), start, np.concatenate(lengths), rows

    def _hash(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = self.sums[end]
        hashes -= self.sums[begin]
        hashes *= self.shifts[begin]
        return hashes

    def _words(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        letter = np.concatenate([[False], self.kinds == _LETTER, [False]])
        edges = np.flatnonzero(letter[1:] != letter[:-1])
        return edges[::2], edges[1::2]


def _lower(text: str) -> str:
    """Lower case of the same length, so that offsets stay true: the few letters that grow are left as they are."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over the top ones: the finaliser of MurmurHash3 (Appleby) but its last step."""
    mixed: NDArray[np.uint64] = values >> np.uint64(33)
    mixed ^= values
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    return mixed


def _sum_rows(values: NDArray[np.floating], indptr: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sum of each row of a sparse matrix; empty rows give 0, which ``reduceat`` alone would not."""
    filled = np.flatnonzero(np.diff(indptr))
    sums = np.zeros((len(indptr) - 1, *values.shape[1:]))
    if len(filled):
        sums[filled] = np.add.reduceat(values, indptr[filled], axis=0, dtype=np.float64)
    return sums


@cache
def _kinds() -> NDArray[np.uint8]:
    """Space, letter or other for each code point up to U+FFFF; the last entry (a letter) stands for all beyond.

    Beyond ASCII only the blocks of punctuation and spaces are known; all else counts as letters, so that words of any
    script, and emoji, are words.
    """
    kinds = np.full(0x10000, _LETTER, np.uint8)
    for code in range(0x80):
        char = chr(code)
        kinds[code] = _LETTER if char.isalnum() or char == "_" else _SPACE if char.isspace() else _OTHER
    for first, last in ((0x80, 0xBF), (0x2010, 0x2027), (0x2030, 0x206F), (0x3001, 0x303F), (0xFF00, 0xFF0F)):
        kinds[first : last + 1] = _OTHER
    for code in (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000):
        kinds[code] = _SPACE
    return kinds


_power_tables: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []


def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Powers of the base and of its inverse, at least ``size`` of each; kept, since every call needs the same ones."""
    known = _power_tables[-1] if _power_tables else None  # looked up once: another thread may put in another
    if known is not None and len(known[0]) >= size:
        return known
    count = 1 << max(size - 1, 1).bit_length()
    tables = []
    for base in (_BASE, _BASE_INVERSE):
        steps = np.full(count, base, np.uint64)
        steps[0] = 1
        tables.append(np.cumprod(steps, dtype=np.uint64))
    pair = (tables[0], tables[1])
    _power_tables[:] = [pair]
    return pair
