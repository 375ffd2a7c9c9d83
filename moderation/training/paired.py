"""Two models on the same rows: how much the second loses, and how sure that is. Pure, seeded, plain numpy.

A *loss* is above nought where the second is worse. *Averages* (AUC, log loss) are, nearly, sums of one term for each
row: for the AUC those of DeLong, DeLong and Clarke-Pearson (1988), counted by sorting as Sun and Xu (2014) do. Rows are
resampled in pairs (Efron 1979), once for all losses of a family, and the largest of their studentised deviations says
how wide the intervals must be to hold *all together* (max-t: Westfall and Young 1993; Romano and Wolf 2005). Nested
sets and categories that go together widen them less than as many that have nothing in common.

*Shares* (over a line or not) are counted: only rows that changed sides say anything (McNemar 1947), and how many of
them went the wrong way has the exact interval of Clopper and Pearson (1934). The level is divided among those
comparisons of a family that could come out at all (Tarone 1990): a slice in which two rows moved takes nothing away
from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, norm

RESAMPLES = 2_000
_AT_ONCE = 100
# Further from 0 and 1 than any calibrated score, so that one row scored 0 by rounding is not an endless loss.
_LEAST_PROBABILITY = 1e-6

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both models: ``where`` is a set, a slice or a site ("" for all rows), ``category`` "" for all.

    ``low`` to ``high`` holds together with those of the whole family. ``alone`` is how often chance would give such a
    loss, or a larger one, in this comparison if it were the only one (one-sided).
    """

    where: str
    category: str
    figure: str
    rows: int
    before: float
    after: float
    loss: float
    low: float
    high: float
    alone: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, rounded."""
        numbers = {name: round(getattr(self, name), 5) for name in ("before", "after", "loss", "low", "high", "alone")}
        names = {"where": self.where, "category": self.category, "figure": self.figure, "rows": self.rows}
        return names | numbers

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.figure, self.category and f"of {self.category}")))
        place = f"on {self.where}" if self.where else "on all rows"
        return (
            f"{what} {place} {self.before:.3f} -> {self.after:.3f} "
            f"(loss {self.loss:.3f}, {self.low:.3f} to {self.high:.3f}; rows: {self.rows})"
        )


@dataclass(frozen=True, slots=True)
class Average:
    """A loss that is an average, without an interval yet: ``terms`` are what the rows at ``index`` add to its error."""

    where: str
    category: str
    figure: str
    before: float
    after: float
    loss: float
    index: NDArray[np.int64]
    terms: Floats


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows that changed sides: ``worse`` the wrong way, ``better`` the right way, of ``rows``."""

    where: str
    category: str
    figure: str
    rows: int
    before: float
    after: float
    worse: int
    better: int


def auc_loss(
    where: str, category: str, labels: Floats, before: Floats, after: Floats, index: NDArray[np.int64]
) -> Average:
    """How much lower the AUC is. ``index`` says which rows of the family the labels (0 and 1) and scores belong to."""
    bad = labels == 1
    (bad_before, good_before), (bad_after, good_after) = _placements(before, bad), _placements(after, bad)
    loss = float(bad_before.mean() - bad_after.mean())
    terms = np.empty(len(labels))
    for chosen, gap in ((bad, bad_before - bad_after), (~bad, good_before - good_after)):
        terms[chosen] = (gap - loss) / np.sqrt(len(gap) * max(len(gap) - 1, 1))
    return Average(where, category, "AUC", float(bad_before.mean()), float(bad_after.mean()), loss, index, terms)


def log_loss_rise(
    where: str, category: str, labels: Floats, before: Floats, after: Floats, index: NDArray[np.int64]
) -> Average:
    """How much higher the mean log loss is, in nats."""
    losses = [
        -np.log(np.where(labels == 1, inside, 1 - inside))
        for inside in (np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY) for scores in (before, after))
    ]
    gap = losses[1] - losses[0]
    terms = (gap - gap.mean()) / np.sqrt(len(gap) * max(len(gap) - 1, 1))
    before_mean, after_mean = float(losses[0].mean()), float(losses[1].mean())
    return Average(where, category, "log loss", before_mean, after_mean, after_mean - before_mean, index, terms)


def compare_averages(losses: Sequence[Average], rows: int, level: float) -> list[Comparison]:
    """A family of losses on ``rows`` rows with intervals of which, with chance ``level``, one and more miss."""
    if not losses:
        return []
    terms = np.zeros((rows, len(losses)))
    for column, one in enumerate(losses):
        terms[one.index, column] = one.terms
    errors = np.sqrt((terms**2).sum(axis=0))
    moves = errors > 0
    width = 0.0
    if moves.any():
        used = terms[:, moves].any(axis=1)
        width = float(np.quantile(_largest_deviations(terms[used][:, moves] / errors[moves]), 1 - level))
    return [
        Comparison(
            one.where,
            one.category,
            one.figure,
            len(one.index),
            one.before,
            one.after,
            one.loss,
            one.loss - width * error,
            one.loss + width * error,
            float(norm.sf(one.loss / error)) if error > 0 else float(one.loss <= 0),
        )
        for one, error in zip(losses, errors.tolist(), strict=True)
    ]


def compare_moved(moved: Sequence[Moved], level: float) -> list[Comparison]:
    """The same for a family of shares. Where no row changed sides, the interval is nought alone."""
    sides = np.array([one.worse + one.better for one in moved], dtype=float)
    tail = level / 2 / tarone(sides, level / 2)
    compared = []
    for one in moved:
        count = one.worse + one.better
        low = float(beta.ppf(tail, one.worse, one.better + 1)) if one.worse else 0.0
        high = float(beta.ppf(1 - tail, one.worse + 1, one.better)) if one.better else 1.0
        scale = count / one.rows
        compared.append(
            Comparison(
                one.where,
                one.category,
                one.figure,
                one.rows,
                one.before,
                one.after,
                (one.worse - one.better) / one.rows,
                (2 * low - 1) * scale,
                (2 * high - 1) * scale,
                float(binom.sf(one.worse - 1, count, 0.5)),
            )
        )
    return compared


def tarone(sides: Floats, level: float) -> int:
    """Among how many comparisons the level is divided, given how many rows changed sides in each (Tarone 1990).

    The smallest number such that no more comparisons than that could reach their part of the level, however their rows
    moved.
    """
    attainable = 0.5**sides
    return next(count for count in range(1, len(sides) + 2) if (attainable <= level / count).sum() <= count)


def _placements(scores: Floats, bad: Flags) -> tuple[Floats, Floats]:
    """For each bad row the share of good ones below it, for each good row that of bad ones above it, ties half."""
    ones, zeros = scores[bad], scores[~bad]
    return _share_below(ones, zeros), 1 - _share_below(zeros, ones)


def _share_below(scores: Floats, others: Floats) -> Floats:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    shares: Floats = below / (2 * len(others))
    return shares


def _largest_deviations(terms: Floats) -> Floats:
    """For each resampling of the rows the largest deviation in any column, in standard errors, shape (resamples,)."""
    random = np.random.default_rng(0)
    rows = len(terms)
    factors = terms.astype(np.float32)
    shift = np.arange(_AT_ONCE, dtype=np.int64)[:, None] * rows
    largest = []
    for _ in range(RESAMPLES // _AT_ONCE):
        drawn = random.integers(0, rows, (_AT_ONCE, rows)) + shift
        counts = np.bincount(drawn.ravel(), minlength=_AT_ONCE * rows).reshape(_AT_ONCE, rows)
        largest.append(np.abs(counts.astype(np.float32) @ factors).max(axis=1))
    return np.concatenate(largest).astype(np.float64)
