"""One model on the frozen sets and the behaviour cases: how well it tells apart, with intervals, and where it fails.

A frozen set is never trained on and looked at rarely; choices are made on validation rows. Everything here is plain
figures, ready for ``evaluation.json``: the model card, the command ``moderation evaluate`` and the tests read those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from moderation.categories import CODES
from moderation.comment import Comment, Scores
from moderation.policy import Facts, Policy, default_policy_toml
from moderation.training.rows import BehaviourCase, Row

Assess = Callable[[Sequence[Comment]], Sequence[tuple[Scores, Facts]]]
MIN_ROWS_OF_A_LABEL = 20
RESAMPLES = 400
# Sets of one kind, where what counts is how many are stopped: the first two hold nothing harmful, edos nothing else.
ONE_KIND = ("counsel-chat", "xstest", "edos")


def evaluate(
    assess: Assess,
    operating_points: Mapping[str, Any],
    frozen: Mapping[str, Sequence[Row]],
    behaviour: Sequence[BehaviourCase],
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Everything measured of one model.

    Returns ``{"sets": [...], "held": [...], "behaviour": {...}}``: for each frozen set, slice and category the AUC with
    its 95 % interval and the recall at 1 % false positives; for sets of one kind the share that is stopped;
    for each slice of the behaviour cases how many passed, and which failed.
    """
    policy = Policy.parse(default_policy_toml(), operating_points)
    sets: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    for name, rows in frozen.items():
        if not any(row.labels for row in rows):
            continue  # spans without labels, for what explains a score
        progress(name)
        assessed = assess([row.comment for row in rows])
        for part, code, chosen in _parts(name, rows):
            measured = _measure(code, [rows[index] for index in chosen], [assessed[index][0] for index in chosen])
            if measured:
                sets.append({"set": name, "slice": part, "category": code, **measured})
        if name in ONE_KIND:
            held += _held(name, rows, assessed, policy)
    progress("behaviour cases")
    return {"sets": sets, "held": held, "behaviour": _behave(assess, behaviour, policy)}


def auc_interval(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> tuple[float, float, float]:
    """ROC AUC with its 95 % interval by bootstrap percentiles, rows of each label resampled apart (seed fixed)."""
    random = np.random.default_rng(0)
    auc = float(roc_auc_score(labels, scores))
    bad, good = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    aucs = []
    for _ in range(RESAMPLES):
        ones = random.choice(bad, len(bad))
        zeros = np.sort(random.choice(good, len(good)))
        below = np.searchsorted(zeros, ones, "left") + np.searchsorted(zeros, ones, "right")
        aucs.append(below.mean() / 2 / len(zeros))
    low, high = np.quantile(aucs, [0.025, 0.975])
    return auc, float(low), float(high)


def recall_at_false_positives(labels: NDArray[np.float64], scores: NDArray[np.float64], share: float) -> float:
    """The best recall with at most ``share`` of the good rows at or above the threshold."""
    good = np.sort(scores[labels == 0])[::-1]
    allowed = int(share * len(good))
    return float((scores[labels == 1] > good[allowed]).mean()) if allowed < len(good) else 1.0


def _parts(name: str, rows: Sequence[Row]) -> Iterator[tuple[str, str, list[int]]]:
    """What of a set is measured: (slice, category, indices of rows)."""
    by_slice = defaultdict(set)
    for index, row in enumerate(rows):
        for part in row.slices:
            by_slice[part].add(index)
    for code in CODES:
        known = [index for index, row in enumerate(rows) if code in row.labels]
        if name == "spam-blogs":
            yield "", code, known
            for part in sorted(part for part in by_slice if part.startswith("blog-")):
                yield part, code, [index for index in known if index in by_slice[part]]
        elif name == "topic-blogs" and code == "off_topic":
            for part in ("moved-random", "moved-nearest"):
                yield part, code, [index for index in known if index in by_slice["own-post"] | by_slice[part]]
        elif name == "noisyhate":
            for part in ("clean", "perturbed"):
                yield part, code, [index for index in known if index in by_slice[part]]
        else:
            yield "", code, known
            for part in ("unanimous", "natural-rate"):
                if part in by_slice:
                    yield part, code, [index for index in known if index in by_slice[part]]


def _measure(code: str, rows: Sequence[Row], scores: Sequence[Scores]) -> dict[str, Any] | None:
    pairs = [(row.labels[code], score[code]) for row, score in zip(rows, scores, strict=True)]
    labels = np.array([label for label, score in pairs if score is not None], float)
    values = np.array([score for _, score in pairs if score is not None], float)
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < MIN_ROWS_OF_A_LABEL:
        return None
    auc, low, high = auc_interval(labels, values)
    return {
        "rows": len(labels),
        "positives": positives,
        "abstained": len(pairs) - len(labels),
        "auc": round(auc, 4),
        "auc_low": round(low, 4),
        "auc_high": round(high, 4),
        "recall_at_1_percent": round(recall_at_false_positives(labels, values, 0.01), 4),
    }


def _held(
    name: str, rows: Sequence[Row], assessed: Sequence[tuple[Scores, Facts]], policy: Policy
) -> Iterator[dict[str, Any]]:
    """The share of a set that the default policy would not publish, per leading slice."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for row, (scores, facts) in zip(rows, assessed, strict=True):
        stopped = policy.decide(row.comment, scores, facts).action != "publish"
        counts[""].append(stopped)
        if name == "counsel-chat" and row.slices:
            counts[row.slices[0]].append(stopped)
    for part, stops in sorted(counts.items()):
        yield {
            "set": name,
            "slice": part,
            "rows": len(stops),
            "held": sum(stops),
            "share": round(sum(stops) / len(stops), 4),
        }


def _behave(assess: Assess, cases: Sequence[BehaviourCase], policy: Policy) -> dict[str, Any]:
    """Pass or fail per case: ``low`` expects a score under the hold line of its category, ``high`` at or over it.

    A category without a hold line in the default policy is judged at one half; abstaining is low.
    """
    slices: dict[str, dict[str, int]] = defaultdict(lambda: {"cases": 0, "passed": 0, "needs_meaning": 0})
    failed = []
    assessed = assess([case.comment for case in cases])
    for case, (scores, _) in zip(cases, assessed, strict=True):
        wrong = [code for code, side in case.expect.items() if _side(scores[code], code, policy) != side]
        tally = slices[case.slice]
        tally["cases"] += 1
        tally["passed"] += not wrong
        tally["needs_meaning"] += case.needs is not None
        if wrong:
            failed.append({"id": case.id, "categories": wrong, "needs": case.needs})
    return {"slices": dict(sorted(slices.items())), "failed": failed}


def _side(score: float | None, code: str, policy: Policy) -> str:
    line = policy.line("lexical", code, "hold")
    threshold = line.threshold if line.threshold is not None else 0.5
    return "high" if score is not None and score >= threshold else "low"
