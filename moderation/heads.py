"""One head per category and tier: linear weights, then a calibrated probability.

The heads of the *lexical* tier (:class:`Heads`) see hashed n-grams and dense features. Those of the *full* tier
(:class:`FullHeads`) see what the encoder made of the text, and beside it the dense features, how near the vectors of
comment and post are, and what the lexical heads said. All are fitted by scikit-learn
(:mod:`moderation.training.fit`, :mod:`moderation.training.fuse`), but what is kept of them are plain arrays, so a
bundle scores the same under any later release of any library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderation.encoder import WIDTH
from moderation.lexical import LexicalSpec, count_ngrams, project, weigh

FIELDS: tuple[str, ...] = ("text", "author_name", "links")
CLIP = 4.0
_READABLE = 0.5
# Heads are fitted as if it counted fully: what it says is learned from blogs that they know, and holds less on others.
_EXCUSE = 0.6


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
        total = product(self.standardise(features.dense), self.dense_weights) + self.intercept
        for name, field in self.fields.items():
            if not any(features.fields[name]):
                continue  # no author, no link: nothing to count, which for one comment alone is a third of the work
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


@dataclass(frozen=True, slots=True)
class Vectors:
    """What the encoder made of some comments.

    Shapes: ``windows`` (windows, columns), a row for each window of each comment: the class vector, what its marks
    amount to, whether it is one sentence read by itself and a one, all times how surely it is English; ``owners``
    (windows,), the comment of each window, ascending, none without a window; ``foreign`` (comments,), the share that is
    not English; ``related`` (comments, features), how near the comment's topic vector is to those around it;
    ``signatures`` (comments, columns), the class vector of the line that says who a comment is from and where it leads,
    then a one; zeros without links.
    """

    windows: NDArray[np.float32]
    owners: NDArray[np.int64]
    foreign: NDArray[np.float32]
    related: NDArray[np.float32]
    signatures: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FullHeads:
    """All heads of the full tier, side by side.

    A head's logit is the *worst window's* share plus those of the signature and the context: abuse after two
    thousand harmless words counts as if it stood alone. What a signature says for a comment counts six tenths.
    Shapes: ``window_weights``, ``signature_weights`` (columns, heads); ``mean``, ``scale`` (features,);
    ``context_weights`` (features, heads), the features being those of :func:`put_together`; ``intercept`` (heads,).
    ``knots`` holds, for each head, the points (logit, log odds) between which its calibration is linear, shape
    (heads, 2, points): isotonic regression (Zadrozny and Elkan 2002) where there was enough to learn it from, else
    the two points of Platt's line.

    The head of ``hostile`` reads three times, and the highest reading is its logit: once as above, once for hostility
    in calm words, which looks at nothing but windows, once the sentence that tells most, by itself. ``quiet_weights``
    (columns,) and ``quiet_intercept`` (1,) are those of the second reading; ``alone`` (2,) is by how much the third
    stretches what the first makes of a window, and what it adds. An addend of minus infinity leaves a reading out.
    """

    codes: tuple[str, ...]
    window_weights: NDArray[np.float32]
    signature_weights: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    context_weights: NDArray[np.float32]
    intercept: NDArray[np.float64]
    knots: NDArray[np.float64]
    quiet_weights: NDArray[np.float32]
    quiet_intercept: NDArray[np.float64]
    alone: NDArray[np.float64]

    def logits(self, vectors: Vectors, dense: NDArray[np.float32], lexical: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores, shape (comments, heads). ``lexical`` are the logits of the lexical heads of the same comments."""
        total = self.loud(vectors, dense, lexical)
        hostile = self.codes.index("hostile")
        beside = np.maximum(self.quiet(vectors), self.sentence(vectors))
        total[:, hostile] = np.maximum(total[:, hostile], beside)
        return total

    def loud(self, vectors: Vectors, dense: NDArray[np.float32], lexical: NDArray[np.float64]) -> NDArray[np.float64]:
        """What :meth:`logits` would be without the second and third reading."""
        context = self.context(vectors, dense, lexical)
        total = product(context, self.context_weights) + self.intercept
        total += worst_windows(vectors, self.window_weights)
        return total + weigh_signatures(vectors.signatures, self.signature_weights)

    def quiet(self, vectors: Vectors) -> NDArray[np.float64]:
        """How much of hostility in calm words the worst window holds, shape (comments,)."""
        return worst_windows(vectors, self.quiet_weights[:, None])[:, 0] + self.quiet_intercept

    def sentence(self, vectors: Vectors) -> NDArray[np.float64]:
        """What the sentence that tells most says by itself, shape (comments,); minus infinity where none was read."""
        hostile = self.codes.index("hostile")
        found = np.full(len(vectors.foreign), -np.inf)
        rows = np.flatnonzero(is_alone(vectors) & (vectors.windows[:, -1] >= _READABLE))
        slope, offset = self.alone
        said = product(vectors.windows[rows], self.window_weights[:, [hostile]])[:, 0]
        found[vectors.owners[rows]] = slope * said + offset
        return found

    def context(
        self, vectors: Vectors, dense: NDArray[np.float32], lexical: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """The features of :func:`put_together`, standardised; what vectors say of a topic counts as far as they can."""
        context = self.standardise(put_together(vectors, dense, lexical))
        first = dense.shape[1]
        context[:, first : first + vectors.related.shape[1]] *= 1 - vectors.foreign[:, None]
        return context

    def standardise(self, context: NDArray[np.float32]) -> NDArray[np.float32]:
        """Context features in standard deviations from their training mean, cut at four."""
        result: NDArray[np.float32] = np.clip((context - self.mean) / self.scale, -CLIP, CLIP, dtype=np.float32)
        return result

    def calibrate(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores to probabilities, same shape."""
        result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(self.log_odds(logits), -30, 30)))
        return result

    def log_odds(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores to the log odds of probabilities, same shape; beyond the outermost points the line goes on."""
        return interpolate(logits, self.knots[:, 0], self.knots[:, 1])


def put_together(vectors: Vectors, dense: NDArray[np.float32], lexical: NDArray[np.float64]) -> NDArray[np.float32]:
    """The context features of :class:`FullHeads`, not yet standardised, shape (comments, features).

    The dense ones, ``related``, the logits of the lexical heads, ``foreign``, and its products with those logits: where
    the encoder cannot read, words count more.
    """
    foreign = vectors.foreign[:, None]
    result: NDArray[np.float32] = np.hstack([dense, vectors.related, lexical, foreign, foreign * lexical]).astype(
        np.float32
    )
    return result


def window_products(vectors: Vectors, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """What each window says for each head, shape (windows, heads).

    A window in another language, whose product is near nought, is no excuse for the others and no charge against them:
    minus infinity, unless none of its comment can be read. So is a sentence that was read by itself.
    """
    products = product(vectors.windows, weights)
    alone = is_alone(vectors)
    products[alone] = -np.inf
    unread = vectors.windows[:, -1] < _READABLE
    some_read = np.zeros(len(vectors.foreign), bool)
    some_read[vectors.owners[~unread & ~alone]] = True
    products[unread & some_read[vectors.owners]] = -np.inf
    return products


def worst_windows(vectors: Vectors, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """For each comment and head the highest of :func:`window_products`, shape (comments, heads)."""
    products = window_products(vectors, weights)
    starts = np.flatnonzero(np.diff(vectors.owners, prepend=-1))
    result: NDArray[np.float64] = np.maximum.reduceat(products, starts, axis=0)
    return result


def weigh_signatures(signatures: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the signatures say for each head, shape (comments, heads); what speaks for a comment counts less.

    Whoever sells something can be called Anna and have a page of the kind that readers have.
    """
    said = product(signatures, weights)
    return np.where(said < 0, _EXCUSE * said, said)


def is_alone(vectors: Vectors) -> NDArray[np.bool_]:
    """Which windows are one sentence of a longer text, read by itself, shape (windows,)."""
    result: NDArray[np.bool_] = vectors.windows[:, -2] > 0
    return result


def telling_windows(vectors: Vectors) -> NDArray[np.int64]:
    """Of each comment the window whose marks are highest, shape (comments,): a label is most likely about that one."""
    highest = np.where(is_alone(vectors), -1, vectors.windows[:, WIDTH])
    order = np.lexsort((-highest, vectors.owners))
    result: NDArray[np.int64] = order[np.flatnonzero(np.diff(vectors.owners[order], prepend=-1))]
    return result


def product(rows: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The matrix product in 64 bits.

    Each row's sum is taken in the same order whatever rows stand beside it, which BLAS does not promise: so a comment
    scores the same alone and among others, to the last digit.
    """
    result: NDArray[np.float64] = np.einsum("ij,jk->ik", rows.astype(np.float64), weights.astype(np.float64))
    return result


def interpolate(
    values: NDArray[np.float64], knots: NDArray[np.float64], images: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Piecewise linear through the points (``knots`` ascending), the first and last piece drawn on for ever.

    Shapes: ``values`` (comments, heads), like the result; ``knots``, ``images`` (heads, points).
    """
    below = np.clip((values[:, :, None] > knots).sum(axis=2) - 1, 0, knots.shape[1] - 2)
    heads = np.arange(len(knots))
    left, base = knots[heads, below], images[heads, below]
    result: NDArray[np.float64] = base + (values - left) / (knots[heads, below + 1] - left) * (
        images[heads, below + 1] - base
    )
    return result
