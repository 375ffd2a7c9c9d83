"""Which labels a bundle was made from, so that the next round can tell what has come since, whatever its date.

Labels are known by keyed hashes of where the comment is, who judged and what was said, and not of any text: an erased
comment is known here by its id alone, and a bundle says nothing to who has not got the key.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.training.labels import Label

MOST_KEPT = 20_000
"""Of more labels a sample by hash is kept, which is as good for counting, and 210 kB of a manifest."""

_ALL = 2**64


def keep_known(labels: Sequence[Label], key: bytes) -> dict[str, Any]:
    """Last words as a manifest keeps them: sorted hashes, as base64, of those under ``below``."""
    hashes = sorted(_hash(labels, key))
    below = _ALL if len(hashes) <= MOST_KEPT else hashes[MOST_KEPT]
    kept = np.array([value for value in hashes if value < below], ">u8")
    return {"below": below, "hashes": base64.b64encode(kept.tobytes()).decode()}


def count_new(labels: Sequence[Label], known: Mapping[str, Any], key: bytes) -> dict[str, int]:
    """How many of these last words each account has given that are not among ``known``; of a sample, made up to all."""
    before: NDArray[np.uint64] = np.frombuffer(base64.b64decode(known["hashes"]), ">u8")
    kept, below = set(before.tolist()), int(known["below"])
    found = Counter(
        label.moderator
        for label, value in zip(labels, _hash(labels, key), strict=True)
        if value < below and value not in kept
    )
    return {who: round(count * _ALL / below) for who, count in found.items()}


def _hash(labels: Sequence[Label], key: bytes) -> list[int]:
    """A number of 64 bits for each label; those that say the same of one id, or without any, are numbered through."""
    seen: Counter[str] = Counter()
    hashes = []
    for label in labels:
        what = sorted(label.labels.items()) or label.verdict
        said = json.dumps([label.comment.site, label.comment.id, label.moderator, what])
        seen[said] += 1
        digest = hmac.digest(key, f"label {seen[said]}\n{said}".encode(), "sha256")
        hashes.append(int.from_bytes(digest[:8], "big"))
    return hashes
