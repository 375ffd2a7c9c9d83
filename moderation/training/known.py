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
from dataclasses import dataclass
from datetime import datetime
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
    return {"key": _tell_key(key), "below": below, "hashes": base64.b64encode(kept.tobytes()).decode()}


@dataclass(frozen=True, slots=True)
class New:
    """Last words that a bundle does not know. Each stands for ``times`` of them: of a sample, for more than one."""

    labels: Sequence[Label]
    times: float = 1.0

    @property
    def count(self) -> int:
        """How many there are."""
        return round(len(self.labels) * self.times)

    def by_account(self) -> dict[str, int]:
        """How many of them each account has given."""
        return {
            who: round(count * self.times) for who, count in Counter(each.moderator for each in self.labels).items()
        }


def find_new(labels: Sequence[Label], facts: Mapping[str, Any], key: bytes) -> New:
    """Those of the last words that a bundle does not know whose manifest says ``facts`` of its labels.

    Of a bundle without hashes, or with hashes under another key, it is known until when its labels were, and what has
    no time is new to it. Of labels that say the same of comments without an id it is known how many are new, and which
    of them is a guess.
    """
    if not has_hashes(facts, key):
        last = None if facts.get("until") is None else datetime.fromisoformat(facts["until"])
        return New([label for label in labels if last is None or label.at is None or label.at > last])
    before: NDArray[np.uint64] = np.frombuffer(base64.b64decode(facts["known"]["hashes"]), ">u8")
    kept, below = set(before.tolist()), int(facts["known"]["below"])
    hashed = zip(labels, _hash(labels, key), strict=True)
    return New([label for label, value in hashed if value < below and value not in kept], _ALL / below)


def has_hashes(facts: Mapping[str, Any], key: bytes) -> bool:
    """Whether a manifest's ``facts`` have hashes of the labels, under this key."""
    return "known" in facts and hmac.compare_digest(facts["known"].get("key", ""), _tell_key(key))


def _tell_key(key: bytes) -> str:
    return hmac.digest(key, b"labels are known under this key", "sha256")[:8].hex()


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
