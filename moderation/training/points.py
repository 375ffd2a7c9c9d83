"""Scores that can be trusted: calibration, and what thresholds are worth, measured on rows that no head has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from moderation.categories import CODES
from moderation.errors import DataError
from moderation.training.table import PLACES, Labelled, like_a_blog, tells_good

# How often each kind of trouble is met where comments were taken as they came (Wikipedia talk pages, the natural rate
# of the Jigsaw set). Validation rows hold more of it; probabilities are calibrated to these. Spam and off-topic have no
# such rate that would fit every site: theirs is that of the validation rows.
NATURAL_RATE: Mapping[str, float] = {
    "hostile": 0.096,
    "insult": 0.05,
    "profanity": 0.053,
    "identity_attack": 0.01,
    "severe": 0.01,
    "threat": 0.003,
}
ENOUGH_FOR_ISOTONIC = 400
# A kind of place with fewer good rows than this does not count where another has as many: a single row of a forum would
# weigh as much as two thousand of talk pages.
ENOUGH_OF_A_PLACE = 100
_ROWS_OF_A_BLOCK = 60


def calibration_rows(code: str, table: Labelled) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Which rows a category is calibrated on, their labels, and weights that bring the category to its natural rate.

    Raises ``DataError`` where the rows do not hold both labels.
    """
    index = np.flatnonzero(table.known(code) & like_a_blog(table))
    labels = table.labels[index, CODES.index(code)]
    if len(np.unique(labels)) < 2:
        raise DataError(f"cannot calibrate {code}: the validation rows do not hold both labels; a source is missing")
    weights = np.ones(len(labels))
    if code in NATURAL_RATE:
        rate, found = NATURAL_RATE[code], labels.mean()
        weights = np.where(labels == 1, rate / found, (1 - rate) / (1 - found))
    return index, labels, weights


def fit_platt(
    logits: NDArray[np.float64], labels: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and offset of Platt's sigmoid (Platt 1999)."""
    sigmoid = LogisticRegression(C=1e4).fit(logits[:, None], labels, sample_weight=weights)
    return float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])


def fit_knots(
    logits: NDArray[np.float64], labels: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (logit, log odds) of a calibration that is linear between them and rises everywhere.

    With :data:`ENOUGH_FOR_ISOTONIC` rows of either label, isotonic regression (Zadrozny and Elkan 2002), its steps
    replaced by lines between their middles so that no two scores become one, and kept within reach of Platt's line
    outside of the rows seen. With fewer rows, Platt's line alone.
    """
    slope, offset = fit_platt(logits, labels, weights)
    slope = max(slope, 1e-3)  # a head that points the wrong way says nothing rather than the opposite
    low, high = float(logits.min()) - 1, float(logits.max()) + 1
    line = np.array([low, high]), np.array([low, high]) * slope + offset
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < ENOUGH_FOR_ISOTONIC:
        return line
    order = np.argsort(logits, kind="stable")
    x, y, w = logits[order], labels[order], weights[order]
    steps = IsotonicRegression().fit(x, y, sample_weight=w).predict(x)
    knots, images = [], []
    start = 0
    for end in [*(np.flatnonzero(np.diff(steps) > 0) + 1).tolist(), len(x)]:
        if end - start < _ROWS_OF_A_BLOCK and end < len(x):
            continue
        part = slice(start, end)
        mass = w[part].sum()
        # Half a row of either label keeps the odds finite.
        share = ((w[part] * y[part]).sum() + 0.5 * w.mean()) / (mass + w.mean())
        knots.append(float(np.average(x[part], weights=w[part])))
        images.append(float(np.log(share / (1 - share))))
        start = end
    kept_knots, kept_images = [low], [min(low * slope + offset, images[0] - 0.5)]
    for knot, image in zip(knots, images, strict=True):
        if knot > kept_knots[-1] + 1e-3 and image > kept_images[-1] + 1e-3:
            kept_knots.append(knot)
            kept_images.append(image)
    kept_knots.append(high)
    kept_images.append(max(high * slope + offset, kept_images[-1] + 0.5))
    return np.array(kept_knots), np.array(kept_images)


def stack_knots(pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Knots of several heads as one array, shape (heads, 2, points): short ones are drawn on along their last line."""
    length = max(len(knots) for knots, _ in pairs)
    stacked = np.zeros((len(pairs), 2, length))
    for row, (knots, images) in enumerate(pairs):
        more = np.arange(1, length - len(knots) + 1)
        slope = (images[-1] - images[-2]) / (knots[-1] - knots[-2])
        stacked[row, 0] = np.concatenate([knots, knots[-1] + more])
        stacked[row, 1] = np.concatenate([images, images[-1] + more * slope])
    return stacked


def operating_points(code: str, validation: Labelled, probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Thresholds with the shares of bad and good validation rows at or above each, ascending.

    The share of good rows is the mean of those of each kind of place (:data:`moderation.training.table.PLACES`) that
    has enough of them. Its upper bound is that of as many rows as would tell a share so exactly if they were of one
    place (Korn and Graubard 1998).
    """
    index = np.flatnonzero(validation.known(code) & tells_good(validation, code))
    scores = np.round(probabilities[index, CODES.index(code)], 6)
    positive = validation.labels[index, CODES.index(code)] == 1
    places = np.array([PLACES[source] for source in validation.sources[index].tolist()])
    bad, good = np.sort(scores[positive]), np.sort(scores[~positive])
    names, counts = np.unique(places[~positive], return_counts=True)
    enough = names[counts >= min(ENOUGH_OF_A_PLACE, counts.max())]
    by_place = [np.sort(scores[~positive & (places == name)]) for name in enough]
    # Dense where the lines of policies lie: among the highest scores of good rows.
    shares = np.concatenate([np.linspace(0, 0.9, 40), 1 - np.geomspace(0.1, 1e-4, 80)])
    thresholds = np.unique(np.concatenate([np.quantile(good, shares), np.quantile(bad, np.linspace(0, 1, 80))]))
    thresholds = np.unique(np.ceil(thresholds * 1e6) / 1e6)
    as_many = len(by_place) ** 2 / sum(1 / len(there) for there in by_place)
    points = []
    for threshold in thresholds:
        wrong = [len(there) - int(np.searchsorted(there, threshold)) for there in by_place]
        share = float(np.mean([events / len(there) for events, there in zip(wrong, by_place, strict=True)]))
        found = len(bad) - int(np.searchsorted(bad, threshold))
        points.append(
            {
                "threshold": round(float(threshold), 6),
                "recall": round(found / len(bad), 5),
                "false_positive_rate": round(share, 6),
                "false_positive_rate_upper": round(clopper_pearson_upper(share * as_many, as_many), 6),
            }
        )
    return {
        "positives": len(bad),
        "negatives": len(good),
        "calibrated_to": round(NATURAL_RATE.get(code, len(bad) / (len(bad) + len(good))), 4),
        "points": points,
    }


def line_at(scores: NDArray[np.float64], places: NDArray[np.str_], share: float) -> float:
    """The lowest of the scores that at most ``share`` of the rows reach, each kind of place counting the same.

    Shapes: both (rows,). Infinity where even the highest score is reached by more.
    """
    ordered = np.unique(scores)
    reach = np.mean(
        [np.mean(scores[places == place] >= ordered[:, None], axis=1) for place in np.unique(places)], axis=0
    )
    allowed = ordered[reach <= share]
    return float(allowed[0]) if len(allowed) else np.inf


def clopper_pearson_upper(events: float, trials: float, level: float = 0.95) -> float:
    """The one-sided upper bound of a share (Clopper and Pearson 1934)."""
    return 1.0 if events >= trials else float(beta.ppf(level, events + 1, trials - events))
