"""One model on the frozen sets and the behaviour cases: how well it tells apart, with intervals, and where it fails.

A frozen set is never trained on and looked at rarely; choices are made on validation rows. Everything here is plain
figures without a word of any comment, ready for ``evaluation.json``: the model card, the report, the command
``moderation evaluate`` and the tests read those. The same model and rows give the same figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.categories import CODES
from moderation.comment import Scores
from moderation.goals import ACTIONS, TIERS
from moderation.policy import Policy, default_policy_toml
from moderation.training import measures, trials
from moderation.training.disguise import ATTACKS
from moderation.training.measures import auc_interval, recall_at_false_positives
from moderation.training.peers import PEER_ROWS, Peer, Peers, peers_for
from moderation.training.rows import BehaviourCase, Row
from moderation.training.slices import copy_genuine, sample
from moderation.training.trials import Assess, Assessed, Why

__all__ = ["Assess", "Why", "auc_interval", "count_comments", "evaluate", "recall_at_false_positives"]

FORMAT = 2
MIN_ROWS_OF_A_LABEL = 20
MIN_ROWS_FOR_CALIBRATION = 200
# Sets of one kind, where what counts is how many are stopped: the first two hold nothing harmful, edos nothing else.
ONE_KIND = ("counsel-chat", "xstest", "edos")
# (set, slice) whose rows came in as they come in on a site, so that a score can be held against how often it is right:
# a sample of talk pages without choosing by label, everything that the form of a blog took, and whole threads of
# comments under news. The other sets were gathered by what is in them (words, forums, hard cases), and the harmful rows
# of topic-blogs are made, so their rates mean nothing.
NATURAL_RATE = (("jigsaw", "natural-rate"), ("spam-blogs", ""), ("fox-news", ""))
# Curves and spreads are kept for these only; their parts would fill the file without showing more.
PICTURED = ("hostile", "spam", "off_topic")
SPREAD_BINS = 24


def evaluate(
    assess: Assess,
    operating_points: Mapping[str, Any],
    frozen: Mapping[str, Sequence[Row]],
    behaviour: Sequence[BehaviourCase],
    progress: Callable[[str], None] = lambda _: None,
    *,
    why: Why | None = None,
    peers: Peers | None = None,
    with_trials: bool = True,
) -> dict[str, Any]:
    """Everything measured of one model, each set scored once.

    Args:
        assess: Scores and facts of comments, in order.
        operating_points: Those of the model, from which the default policy gets its lines.
        frozen: Rows by the name of their set.
        behaviour: The behaviour cases.
        progress: Hears what is being done.
        why: Indices of the characters that made a comment hostile; ``None`` leaves reasons unmeasured.
        peers: Others to run on the same rows; ``None`` runs none.
        with_trials: Whether comments are disguised and copied too, which takes as long as scoring some sets again.

    Returns:
        ``sets``: for each frozen set, slice and category AUC, average precision, recall at 1 % false positives, what
        the default policy's lines do, and curves. ``calibration``: Brier score and ECE at natural rates. ``held``: the
        share that is stopped of sets of one kind. ``behaviour``: which cases pass. ``spelling``, ``attacks``,
        ``buried``, ``copied``, ``identities``, ``why`` and ``peers``: the trials of :mod:`moderation.training.trials`,
        where their sets are there. ``tiers``, ``lines`` and ``calibrated_on`` say what answered, and under which lines.
    """
    policy = Policy.parse(default_policy_toml(), operating_points)
    figures: dict[str, Any] = {
        "format": FORMAT,
        "tiers": {},
        "lines": _lines(policy, operating_points),
        "calibrated_on": _base_rates(operating_points),
        "sets": [],
        "calibration": [],
        "held": [],
    }
    compared: list[dict[str, Any]] = []
    tiers: Counter[str] = Counter()
    for name, rows in frozen.items():
        if not any(row.labels for row in rows):
            if why is not None and all("spans" in row.extra for row in rows):
                figures["why"] = trials.judge_reasons(why, rows, progress)
            continue
        progress(name)
        assessed = assess([row.comment for row in rows])
        tiers.update(facts.tier or "none" for _, facts in assessed)
        parts = list(_parts(name, rows))
        for part, code, chosen in parts:
            figures["sets"] += _measure(name, part, code, _take(rows, chosen), _take(assessed, chosen), policy)
            if (name, part) in NATURAL_RATE:
                figures["calibration"] += _calibrate(name, part, code, _take(rows, chosen), _take(assessed, chosen))
        if name in ONE_KIND:
            figures["held"] += trials.count_held(name, rows, assessed, policy)
        for peer in peers_for(name, rows, peers or Peers()):
            progress(f"{name}: {peer.name}")
            compared += _compare(peer, name, rows, assessed, parts)
        if name == "noisyhate":
            figures["spelling"] = trials.compare_spelling(rows, assessed, policy)
        elif name == "kaggle-insults" and with_trials:
            progress(f"{name}, disguised")
            figures["attacks"] = trials.attack_spelling(assess, rows, assessed, policy)
            progress(f"{name}, in long comments")
            figures["buried"] = trials.bury_comments(assess, rows, assessed, frozen.get("topic-blogs", ()), policy)
        elif name == "spam-blogs" and with_trials:
            progress(f"{name}, copied")
            figures["copied"] = trials.copy_comments(assess, rows, assessed, policy)
        elif name == "bias-madlibs":
            figures["identities"] = trials.compare_identities(rows, assessed)
    progress("behaviour cases")
    assessed = assess([case.comment for case in behaviour])
    figures["held"] += trials.count_held_cases(behaviour, assessed, policy)
    figures["behaviour"] = trials.judge_behaviour(behaviour, assessed, trials.lined_policy(operating_points))
    figures["tiers"] = dict(sorted(tiers.items()))
    if peers is not None:
        figures["peers"] = {
            "about": {peer.name: peer.about for peer in peers.found},
            "compared": compared,
            "skipped": dict(peers.skipped),
        }
    return figures


def count_comments(frozen: Mapping[str, Sequence[Row]], behaviour: Sequence[BehaviourCase]) -> int:
    """How many comments :func:`evaluate` will have scored by the model, for a progress bar."""
    count = len(behaviour)
    for name, rows in frozen.items():
        if any(row.labels for row in rows):
            count += len(rows)
        if name == "kaggle-insults":
            count += len(ATTACKS) * min(len(rows), trials.ATTACKED_ROWS)
            count += sum(map(len, trials.choose_buried(rows, frozen.get("topic-blogs", ()))))
        elif name == "spam-blogs":
            count += len(copy_genuine(rows))
    return count


def _take(items: Sequence[Any], chosen: Sequence[int]) -> list[Any]:
    return [items[index] for index in chosen]


def _lines(policy: Policy, operating_points: Mapping[str, Any]) -> dict[str, Any]:
    """The thresholds of the default policy's lines, of the tiers that were measured."""
    return {
        tier: {
            code: {action: policy.line(tier, code, action).threshold for action in ACTIONS}
            for code in CODES
            if any(policy.line(tier, code, action).is_set for action in ACTIONS)
        }
        for tier in TIERS
        if tier in operating_points.get("tiers", {})
    }


def _base_rates(operating_points: Mapping[str, Any]) -> dict[str, Any]:
    """What a score of a head means.

    How many rows it was calibrated and measured on, the share of them that is of the category, and the rate that scores
    are calibrated to: what training says, else that share.
    """
    rates: dict[str, Any] = {}
    for tier, categories in operating_points.get("tiers", {}).items():
        for code, points in categories.items():
            rows = points["positives"] + points["negatives"]
            share = round(points["positives"] / max(rows, 1), 4)
            rates.setdefault(tier, {})[code] = {
                "rows": rows,
                "share": share,
                "base_rate": points.get("calibrated_to", share),
            }
    return rates


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


def _measure(
    name: str, part: str, code: str, rows: Sequence[Row], assessed: Assessed, policy: Policy
) -> Iterator[dict[str, Any]]:
    """The figures of one category, if there are enough rows of either label; abstentions are counted and left out."""
    known = [index for index, (scores, _) in enumerate(assessed) if scores[code] is not None]
    labels, values = _arrays(code, rows, [scores for scores, _ in assessed])
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < MIN_ROWS_OF_A_LABEL:
        return
    auc, low, high = auc_interval(labels, values)
    figures = {
        "set": name,
        "slice": part,
        "category": code,
        "rows": len(labels),
        "positives": positives,
        "abstained": len(rows) - len(labels),
        "auc": round(auc, 4),
        "auc_low": round(low, 4),
        "auc_high": round(high, 4),
        "average_precision": round(measures.average_precision(labels, values), 4),
        "recall_at_1_percent": round(recall_at_false_positives(labels, values, 0.01), 4),
    }
    for action in ACTIONS:
        if any(policy.line(tier, code, action).threshold is not None for tier in TIERS):
            is_over = [trials.is_over(policy, code, action, *assessed[index]) for index in known]
            figures[f"at_{action}"] = measures.at_line(labels, np.array(is_over))
    if code in PICTURED:
        figures["roc"] = measures.roc_points(labels, values)
        figures["precision_recall"] = measures.precision_recall_points(labels, values)
        figures["spread"] = {
            "bad": measures.spread(values[labels == 1], SPREAD_BINS),
            "good": measures.spread(values[labels == 0], SPREAD_BINS),
        }
    yield figures


def _calibrate(name: str, part: str, code: str, rows: Sequence[Row], assessed: Assessed) -> Iterator[dict[str, Any]]:
    labels, values = _arrays(code, rows, [scores for scores, _ in assessed])
    if len(labels) < MIN_ROWS_FOR_CALIBRATION:
        return
    bins = measures.calibration_bins(labels, values)
    yield {
        "set": name,
        "slice": part,
        "category": code,
        "rows": len(labels),
        "base_rate": round(float(labels.mean()), 4),
        "mean_score": round(float(values.mean()), 4),
        "brier": round(measures.brier(labels, values), 4),
        "ece": round(measures.calibration_error(bins), 4),
        "bins": bins,
    }


def _compare(
    peer: Peer, name: str, rows: Sequence[Row], assessed: Assessed, parts: Sequence[tuple[str, str, list[int]]]
) -> Iterator[dict[str, Any]]:
    """A peer and ours on the same sample of a set: AUC, recall at 1 % false positives, and the share it would stop."""
    code = peer.category
    usable = [
        index for index, (scores, _) in enumerate(assessed) if scores[code] is not None and code in rows[index].labels
    ]
    picked = {row.id for row in sample(_take(rows, usable), PEER_ROWS)}
    usable = [index for index in usable if rows[index].id in picked]
    theirs = dict(zip(usable, peer.score([rows[index].comment for index in usable]), strict=True))
    for part, of_code, chosen in parts:
        kept = [index for index in chosen if index in theirs]
        if of_code != code or not kept:
            continue
        labels, ours = _arrays(code, _take(rows, kept), [assessed[index][0] for index in kept])
        values = np.array([theirs[index] for index in kept])
        figures = {"peer": peer.name, "set": name, "slice": part, "category": code, "rows": len(kept)}
        if min(labels.sum(), len(labels) - labels.sum()) >= MIN_ROWS_OF_A_LABEL:
            for whose, scores in (("", values), ("our_", ours)):
                auc, low, high = auc_interval(labels, scores)
                figures[f"{whose}auc"] = round(auc, 4)
                figures[f"{whose}auc_low"], figures[f"{whose}auc_high"] = round(low, 4), round(high, 4)
                figures[f"{whose}recall_at_1_percent"] = round(recall_at_false_positives(labels, scores, 0.01), 4)
            yield figures
        elif name in ONE_KIND and peer.line is not None:
            yield {**figures, "share_over_its_line": round(float((values >= peer.line).mean()), 4)}


def _arrays(
    code: str, rows: Sequence[Row], scores: Sequence[Scores]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels and scores of a category, without the rows on which the model abstains."""
    pairs = [
        (row.labels[code], score[code]) for row, score in zip(rows, scores, strict=True) if score[code] is not None
    ]
    return np.array([label for label, _ in pairs], float), np.array([score for _, score in pairs], float)
