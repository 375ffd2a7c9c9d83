"""One head per category: linear weights over hashed n-grams and dense features, then a calibrated probability.

The heads are fitted by scikit-learn (:mod:`moderation.training.fit`), but what is kept of them are plain arrays, so a
bundle scores the same under any later release of any library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderation.lexical import LexicalSpec, count_ngrams, project, weigh

FIELDS: tuple[str, ...] = ("text", "author_name", "author_url")
CLIP = 4.0


@dataclass(frozen=True, slots=True)
class Features:
    """What the heads see of some comments: three fields as canonical text, and the dense features.

    Shapes: each field (comments,), ``dense`` (comments, features).
    """

    fields: Mapping[str, Sequence[str]]
    dense: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FieldWeights:
    """The weights of one field's n-grams. Shapes: ``idf`` (columns,), ``weights`` (columns, heads)."""

    spec: LexicalSpec
    idf: NDArray[np.float32]
    weights: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Heads:
    """All heads of one tier, side by side.

    Shapes: ``mean``, ``scale`` (features,); ``dense_weights`` (features, heads); ``intercept`` (heads,);
    ``calibration`` (heads, 2), slope and offset of Platt's sigmoid (Platt 1999).
    """

    codes: tuple[str, ...]
    fields: Mapping[str, FieldWeights]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    dense_weights: NDArray[np.float32]
    intercept: NDArray[np.float64]
    calibration: NDArray[np.float64]

    def logits(self, features: Features) -> NDArray[np.float64]:
        """Raw scores, shape (comments, heads), before calibration."""
        total = self.standardise(features.dense).astype(np.float64) @ self.dense_weights + self.intercept
        for name, field in self.fields.items():
            ngrams = count_ngrams(features.fields[name], field.spec)
            total += project(ngrams, weigh(ngrams, field.idf), field.weights)
        return total

    def standardise(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """Dense features in standard deviations from their training mean, cut at four so that none runs away."""
        result: NDArray[np.float32] = np.clip((dense - self.mean) / self.scale, -CLIP, CLIP, dtype=np.float32)
        return result

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """Calibrated probabilities, shape (comments, heads)."""
        return self.calibrate(self.logits(features))

    def calibrate(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores to probabilities, same shape."""
        z = logits * self.calibration[:, 0] + self.calibration[:, 1]
        result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
        return result
