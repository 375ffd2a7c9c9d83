"""Two more readings for the head of ``hostile``: calm words, and one sentence among many.

What public sets call hostile is loud, and a head fitted on them hears loudness. Cruelty in polite words, veiled threats
and plain contempt are no louder than a friendly comment, and no weight of such rows beside the others makes one linear
head hear both. So a second one learns from the seed rows alone, held against good comments of blogs, and the louder of
the two decides (:class:`moderation.heads.FullHeads`).

How far to trust it is measured, not learned: it is laid beside the first so that both reach the line at which
:func:`held_share` of good comments are held where :data:`SHARE` of them would be by the second alone.

One hostile sentence among ten harmless ones hardly moves the vector of the window they share. So the sentence with the
strongest mark is read by itself, by the weights of the first reading and without the context, which is that of the
whole comment; it is laid beside the first in the same way, :data:`ALONE_SHARE` being of those comments that have one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from moderation.categories import CODES
from moderation.encoder import WIDTH
from moderation.goals import Goal
from moderation.heads import FullHeads, Vectors
from moderation.policy import default_policy_toml
from moderation.policy_schema import read_settings
from moderation.training.points import line_at
from moderation.training.table import OURS, PLACES, Table, tells_good

SHARE = 0.0075
# How much steeper it rises than the first once both are laid on the same line.
STEEPNESS = 2.0
REGULARISATION = 1e-3
ALONE_SHARE = 0.005
ALONE_STEEPNESS = 3.0
# What looks like calm hostility and is none is what it must not hear: people who tell of their own trouble, above all.
HARMLESS_WEIGHT = 12.0
_BLOGS = frozenset(source for source, place in PLACES.items() if place == "blogs")
_HOSTILE = CODES.index("hostile")


def fit_quiet(
    table: Table, windows: NDArray[np.float64], english: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weights of the standardised columns of ``windows``, shape (rows, columns), and the intercept.

    Rows of which less than half can be read, by ``english`` (rows,), teach nothing: they would be told by their words.
    Weights of nought and an intercept of minus infinity where the rows do not hold both labels.
    """
    labels = table.labels[:, _HOSTILE]
    sources = table.sources
    ours, blogs = (sources == OURS) & ~np.isnan(labels), np.isin(sources, list(_BLOGS)) & (labels == 0)
    index = np.flatnonzero((ours | blogs) & (english >= 0.5))
    weights = np.zeros(windows.shape[1])
    if len(np.unique(labels[index])) < 2:
        return weights, -np.inf
    told = np.where((sources[index] == OURS) & (labels[index] == 0), HARMLESS_WEIGHT, 1.0)
    head = LogisticRegression(C=REGULARISATION, max_iter=2000)
    head.fit(windows[index, :WIDTH], labels[index], sample_weight=told)
    weights[:WIDTH] = head.coef_[0]
    return weights, float(head.intercept_[0])


def held_share() -> float:
    """The share of good comments that the default policy's hold line of hostile may hold."""
    hold = read_settings(default_policy_toml()).categories["hostile"].hold
    if not isinstance(hold, Goal) or hold.kind != "good_share":
        raise ValueError(
            "the two readings of hostile meet at the hold line of the default policy, which has to be a share of good "
            'comments; write hold = "at most 2 % of good comments" under [hostile] in moderation/default_policy.toml'
        )
    return hold.target


def lay_beside(heads: FullHeads, vectors: Vectors, loud: NDArray[np.float64], validation: Table) -> FullHeads:
    """The heads with both other readings stretched and moved so that their lines fall on that of the loud one.

    ``loud`` are the logits of hostile without them, shape (rows,), of the validation rows.
    """
    index = np.flatnonzero(
        validation.known("hostile") & tells_good(validation, "hostile") & (validation.labels[:, _HOSTILE] == 0)
    )
    places = np.array([PLACES[source] for source in validation.sources[index].tolist()])
    line = line_at(loud[index], places, held_share())
    if np.isfinite(heads.quiet_intercept[0]):
        move = line - STEEPNESS * line_at(heads.quiet(vectors)[index], places, SHARE)
        heads = replace(
            heads,
            quiet_weights=(heads.quiet_weights * STEEPNESS).astype(np.float32),
            quiet_intercept=heads.quiet_intercept * STEEPNESS + move,
        )
    sentence = replace(heads, alone=np.array([ALONE_STEEPNESS, 0.0])).sentence(vectors)[index]
    has = np.isfinite(sentence)
    if has.any():
        move = line - line_at(sentence[has], places[has], ALONE_SHARE)
        heads = replace(heads, alone=np.array([ALONE_STEEPNESS, move]))
    return heads
