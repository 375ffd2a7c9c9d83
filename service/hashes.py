"""Keyed hashes: by them the same text, a near-duplicate of it and the same reader are known again.

Nobody without the service's secret can tell from a hash what it was made of, or try texts until one fits.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import numpy as np

from moderation.copied import has_enough, strip_added
from moderation.normalise import normalise
from moderation.policy_schema import fold

_Numbers = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]

BANDS = 4
_ROWS = 4
_SHINGLE_CHARS = 5
# Shorter ones, such as "thanks for this", are written by many people who do not know of each other.
_MIN_CHARS = 20
_MAX_CHARS = 10_000


class Hashes:
    """Hashes under one secret. Thread-safe."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        rng = np.random.default_rng(np.frombuffer(self._digest("shingles", b""), np.uint64))
        # Odd multipliers lose no bits.
        self._positions = rng.integers(0, 2**64, _SHINGLE_CHARS, np.uint64) | np.uint64(1)
        self._rows = rng.integers(0, 2**64, (BANDS * _ROWS, 1), np.uint64) | np.uint64(1)

    def text(self, text: str) -> str:
        """The hash (hex) by which the same text is found again, also in a disguise that ``normalise`` undoes."""
        return self._hash_plain(normalise(text).text)

    def reader(self, site: str, reader: str) -> str:
        """The hash (hex) of a reader of one site; another site's reader of the same name has another."""
        return self._digest("reader", f"{site}\n{reader}".encode()).hex()

    def author(self, site: str, author: str) -> str:
        """The hash (hex) of an author of one site; that of a reader of the same name is another."""
        return self._digest("author", f"{site}\n{author}".encode()).hex()

    def handles(self, site: str, said: Mapping[str, str]) -> tuple[str, ...]:
        """What a caller tells a text from its equals by, such as ``{"token": "comment-17"}``, as ``token:`` and a hash.

        The names are the service's own, so that one kept with another value can be told from one that was not said.
        """
        return tuple(
            f"{name}:" + self._digest("handle", f"{site}\n{name}\n{value}".encode("utf-8", "replace")).hex()
            for name, value in sorted(said.items())
        )

    def browser(self, name: str, issued: str, password_hash: str) -> str:
        """The hash (hex) by which a browser shows that somebody has signed in there, under that name and password."""
        return self._digest("browser", f"{name}\n{issued}\n{password_hash}".encode("utf-8", "replace")).hex()

    def bands(self, text: str) -> tuple[int, ...]:
        """Numbers (64 bits, signed) of which near-duplicates share at least one; none for very short texts.

        MinHash over runs of five characters of the folded text without spaces and digits: texts that share nine tenths
        of their runs share a band with 99 % probability, texts that share half of them with 23 %, unrelated ones
        practically never. Links are left out where enough is left then, so that the same words with another link are
        near.
        """
        plain = normalise(text[:_MAX_CHARS]).text
        return self._bands_without_links(text, plain)

    def of_text(self, text: str) -> tuple[str, tuple[int, ...]]:
        """:meth:`text` and :meth:`bands` of the same text, which is normalised once where it is not very long."""
        plain = normalise(text).text
        bands = self._bands_without_links(text, plain) if len(text) <= _MAX_CHARS else self.bands(text)
        return self._hash_plain(plain), bands

    def _hash_plain(self, plain: str) -> str:
        return hmac.digest(self._key, plain.encode(), "sha256").hex()

    def _bands_without_links(self, text: str, plain: str) -> tuple[int, ...]:
        """``plain`` is the normalised text, or the beginning of a very long one."""
        bare = strip_added(text)
        if bare == text:
            return self._bands_of_plain(plain)
        rest = normalise(bare).text
        return self._bands_of_plain(rest if has_enough(rest) else plain)

    def _bands_of_plain(self, plain: str) -> tuple[int, ...]:
        letters = "".join(sign for sign in fold(plain) if not (sign.isspace() or sign.isdigit()))
        if len(letters) < _MIN_CHARS:
            return ()
        points = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        windows = np.lib.stride_tricks.sliding_window_view(points, _SHINGLE_CHARS)
        shingles = _mix((windows * self._positions).sum(axis=1, dtype=np.uint64))
        lowest = _mix(np.unique(shingles) * self._rows).min(axis=1).reshape(BANDS, _ROWS)
        return tuple(
            int.from_bytes(self._digest(f"band {number}", band.tobytes())[:8], "big", signed=True)
            for number, band in enumerate(lowest)
        )

    def _digest(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\n" + data, "sha256")


def _mix(numbers: _Numbers) -> _Numbers:
    """Spread every bit over the whole number, or the lowest of a product would only be the lowest of its low bits."""
    mixed = numbers ^ (numbers >> np.uint64(31))
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return mixed
