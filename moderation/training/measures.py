"""Measures of scores against labels, of groups against each other, and of marked characters. Plain numpy, fixed seeds.

Labels are arrays of 0 and 1, scores of the same length lie in 0 to 1; a row is *over* a threshold from equality on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

RESAMPLES = 400
CALIBRATION_BINS = 15
CURVE_POINTS = 60
SPREAD_ODDS = 7.0

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def auc(bad: Floats, good: Floats) -> float:
    """ROC AUC: how often a score of ``bad`` is above one of ``good``, ties counting half."""
    ordered = np.sort(good)
    below = np.searchsorted(ordered, bad, "left") + np.searchsorted(ordered, bad, "right")
    return float(below.mean() / 2 / len(good))


def auc_interval(labels: Floats, scores: Floats) -> tuple[float, float, float]:
    """ROC AUC with its 95 % interval by bootstrap percentiles, rows of each label resampled apart."""
    random = np.random.default_rng(0)
    bad, good = scores[labels == 1], scores[labels == 0]
    aucs = [auc(random.choice(bad, len(bad)), random.choice(good, len(good))) for _ in range(RESAMPLES)]
    low, high = np.quantile(aucs, [0.025, 0.975])
    return auc(bad, good), float(low), float(high)


def auc_loss_interval(labels: Floats, before: Floats, after: Floats) -> tuple[float, float, float]:
    """How much lower the AUC of ``after`` is than that of ``before``, on the same rows, with its 95 % interval.

    The rows are resampled in pairs, so what both have in common does not widen the interval.
    """
    random = np.random.default_rng(0)
    bad, good = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    losses = []
    for _ in range(RESAMPLES):
        ones, zeros = random.choice(bad, len(bad)), random.choice(good, len(good))
        losses.append(auc(before[ones], before[zeros]) - auc(after[ones], after[zeros]))
    low, high = np.quantile(losses, [0.025, 0.975])
    return auc(before[bad], before[good]) - auc(after[bad], after[good]), float(low), float(high)


def mean_interval(values: Floats) -> tuple[float, float, float]:
    """The mean with its 95 % interval by bootstrap percentiles."""
    random = np.random.default_rng(0)
    means = [random.choice(values, len(values)).mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def threshold_at_false_positives(good: Floats, share: float) -> float:
    """The lowest score that at most ``share`` of the good rows lie *above* (not at)."""
    descending = np.sort(good)[::-1]
    allowed = int(share * len(good))
    return float(descending[allowed]) if allowed < len(good) else -np.inf


def recall_at_false_positives(labels: Floats, scores: Floats, share: float) -> float:
    """The best recall with at most ``share`` of the good rows over the threshold."""
    return float((scores[labels == 1] > threshold_at_false_positives(scores[labels == 0], share)).mean())


def average_precision(labels: Floats, scores: Floats) -> float:
    """The mean precision over the recalls that are reached, at the rate that the rows have (no interpolation)."""
    found, wrong = _at_each_threshold(labels, scores)
    steps = np.diff(found, prepend=0) / found[-1]
    return float((steps * found / (found + wrong)).sum())


def brier(labels: Floats, scores: Floats) -> float:
    """Mean squared distance of score and label (Brier 1950); 0 is perfect."""
    return float(((scores - labels) ** 2).mean())


def calibration_bins(labels: Floats, scores: Floats) -> list[dict[str, Any]]:
    """Rows by score in 15 bins of equal width, empty ones left out: how many, their mean score, their share of 1."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {
            "rows": int(chosen.sum()),
            "score": round(float(scores[chosen].mean()), 4),
            "share": round(float(labels[chosen].mean()), 4),
        }
        for number in range(CALIBRATION_BINS)
        if (chosen := bins == number).any()
    ]


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """ECE: how far score and share lie apart in a bin, on average over rows (Naeini et al. 2015)."""
    rows = sum(item["rows"] for item in bins)
    return float(sum(item["rows"] * abs(item["score"] - item["share"]) for item in bins) / rows)


def roc_points(labels: Floats, scores: Floats) -> list[list[float]]:
    """At most 60 points of the ROC curve: [false positive rate, recall], from (0, 0) to (1, 1)."""
    found, wrong = _at_each_threshold(labels, scores)
    return _thin(np.insert(wrong / wrong[-1], 0, 0), np.insert(found / found[-1], 0, 0))


def precision_recall_points(labels: Floats, scores: Floats) -> list[list[float]]:
    """At most 60 points of the precision-recall curve: [recall, precision], by rising recall."""
    found, wrong = _at_each_threshold(labels, scores)
    return _thin(found / found[-1], found / (found + wrong))


def spread(scores: Floats, bins: int) -> list[int]:
    """How many scores fall into each bin of equal width on the log-odds scale from -7 to 7, the rest at its ends."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(inside / (1 - inside)), -SPREAD_ODDS, SPREAD_ODDS)
    return [int(count) for count in np.histogram(odds, bins, (-SPREAD_ODDS, SPREAD_ODDS))[0]]


def at_line(labels: Floats, is_over: Flags) -> dict[str, Any]:
    """What a line does to the rows: recall, precision, false positive rate, with 95 % intervals (Clopper, Pearson)."""
    bad = labels == 1
    found, wrong = int((is_over & bad).sum()), int((is_over & ~bad).sum())
    recall_low, recall_high = clopper_pearson(found, int(bad.sum()))
    low, high = clopper_pearson(wrong, int((~bad).sum()))
    return {
        "over": found + wrong,
        "recall": _share(found, int(bad.sum())),
        "recall_low": round(recall_low, 4),
        "recall_high": round(recall_high, 4),
        "precision": _share(found, found + wrong),
        "false_positive_rate": _share(wrong, int((~bad).sum())),
        "false_positive_rate_low": round(low, 4),
        "false_positive_rate_high": round(high, 4),
    }


def clopper_pearson(events: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of a share (Clopper and Pearson 1934); from 0 to 1 without trials."""
    rest = (1 - level) / 2
    low = 0.0 if events == 0 else float(beta.ppf(rest, events, trials - events + 1))
    high = 1.0 if events >= trials else float(beta.ppf(1 - rest, events + 1, trials - events))
    return low, high


def group_aucs(labels: Floats, scores: Floats, member: Flags) -> dict[str, float | None]:
    """AUC within a group and against everybody else (Borkan et al. 2019, arXiv:1903.04561).

    ``subgroup``: within the group. ``bpsn`` (background positive, subgroup negative): low where harmless rows of the
    group score like harmful ones of others. ``bnsp``: low where harmful rows of the group score like harmless ones of
    others. ``None`` where there are no rows of a kind.
    """
    bad = labels == 1
    kinds = {
        "subgroup": (bad & member, ~bad & member),
        "bpsn": (bad & ~member, ~bad & member),
        "bnsp": (bad & member, ~bad & ~member),
    }
    return {
        name: round(auc(scores[ones], scores[zeros]), 4) if ones.any() and zeros.any() else None
        for name, (ones, zeros) in kinds.items()
    }


def span_f1(predicted: Collection[int], marked: Collection[int]) -> float:
    """F1 of character offsets of one text, as SemEval-2021 task 5 has it: 1 where both are empty, 0 where one is."""
    if not predicted or not marked:
        return float(not predicted and not marked)
    return 2 * len(set(predicted) & set(marked)) / (len(set(predicted)) + len(set(marked)))


def _at_each_threshold(labels: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """How many rows of label 1 and of label 0 are over each distinct score, the highest score first."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found = np.cumsum(labels[order])[last]
    return found, last + 1 - found


def _thin(across: Floats, up: Floats) -> list[list[float]]:
    """The points of a curve that lie nearest to even steps along it, so that steep parts keep their shape."""
    chosen = np.arange(len(across))
    if len(across) > CURVE_POINTS:
        length = np.cumsum(np.abs(np.diff(across, prepend=across[0])) + np.abs(np.diff(up, prepend=up[0])))
        chosen = np.unique(np.searchsorted(length, np.linspace(0, length[-1], CURVE_POINTS)))
        chosen[-1] = len(across) - 1
    return [[round(float(across[index]), 4), round(float(up[index]), 4)] for index in chosen]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
