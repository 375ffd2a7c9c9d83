"""What moderators' labels add to the scores of the full tier: for all sites, and for single ones.

The heads that came with a bundle stay as they are, and what labels teach is a sum on top of their logits, held back
towards nought. So a bundle made of a thousand labels is the one before it and a small difference, which can be looked
at, and the next one does not start from the last but from the same heads and all labels: the order in which they came
does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderation.heads import FieldWeights, Vectors, product, telling_windows
from moderation.lexical import count_ngrams, project, weigh


@dataclass(frozen=True, slots=True)
class Residual:
    """Linear weights beside those of :class:`moderation.heads.FullHeads`, over the same columns and a few words.

    Shapes: ``window_weights``, ``signature_weights`` (columns, heads), over the most telling window alone;
    ``context_weights`` (features, heads), over the standardised context; ``intercept`` (heads,). ``words`` are n-grams
    of the text, ``None`` where none were learned.
    """

    window_weights: NDArray[np.float32]
    signature_weights: NDArray[np.float32]
    context_weights: NDArray[np.float32]
    intercept: NDArray[np.float64]
    words: FieldWeights | None = None

    def logits(
        self, vectors: Vectors, context: NDArray[np.float32], texts: Sequence[str], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What is added to the logits of the comments at ``rows``, shape (rows, heads).

        ``vectors``, ``context`` and ``texts`` are those of all comments.
        """
        windows = vectors.windows[telling_windows(vectors)[rows]]
        total = self.intercept + product(windows, self.window_weights)
        total += product(vectors.signatures[rows], self.signature_weights)
        total += product(context[rows], self.context_weights)
        if self.words is not None:
            ngrams = count_ngrams([texts[row] for row in rows.tolist()], self.words.spec)
            total += project(ngrams, weigh(ngrams, self.words.idf), self.words.weights)
        return total


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The residual of all sites, and beside it those of sites with labels of their own, by the site's URL."""

    everywhere: Residual
    sites: Mapping[str, Residual]

    def logits(
        self, sites: Sequence[str | None], vectors: Vectors, context: NDArray[np.float32], texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """What is added to the logits of the comments, shape (comments, heads); ``sites`` says where each was made."""
        total = self.everywhere.logits(vectors, context, texts, np.arange(len(sites)))
        for site in self.sites.keys() & set(sites):
            rows = np.flatnonzero([other == site for other in sites])
            total[rows] += self.sites[site].logits(vectors, context, texts, rows)
        return total
