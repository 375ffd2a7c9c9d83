"""Trials of a model beyond its figures on a set: disguises, buried abuse, copied comments, identities, its reasons.

Each function takes rows that are scored already, or scores the few that it makes up, and returns plain figures.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from moderation.categories import CODES
from moderation.comment import Comment, Facts, Scores
from moderation.explain import explain
from moderation.goals import LineAction
from moderation.model import Model
from moderation.policy import Policy, default_policy_toml
from moderation.training import measures
from moderation.training.disguise import ATTACKS
from moderation.training.rows import BehaviourCase, Row
from moderation.training.slices import bury_hostile, copy_genuine, disguise_rows, sample

Assess = Callable[[Sequence[Comment]], Sequence[tuple[Scores, Facts]]]
Assessed = Sequence[tuple[Scores, Facts]]
Why = Callable[[Comment], Collection[int]]

# What "high" means of a category for which the default policy has no line (insult, profanity).
UNLINED = "at most 2 % of good comments"
ATTACKED_ROWS = 1_500
BURIED_ROWS = 300
# Words of a hostile comment that is buried, and of a harmless one that it is buried in: fewest and most.
BURIED_WORDS = (3, 25)
AROUND_WORDS = (80, 260)
# Slices of behaviour cases in which people speak of their own trouble: none of them may be held.
DISTRESS = ("distress", "self-disclosure", "mental-health-posts")


def is_over(policy: Policy, code: str, action: LineAction, scores: Scores, facts: Facts) -> bool:
    """Whether a score reaches the policy's line of the tier that gave it; abstaining does not."""
    score = scores[code]
    return score is not None and policy.line(facts.tier or "lexical", code, action).is_reached_by(score)


def compare_spelling(rows: Sequence[Row], assessed: Assessed, policy: Policy) -> dict[str, Any] | None:
    """Recall of hostile at the hold line on the clean and the disguised texts of the same pairs (``extra["pair"]``)."""
    caught: dict[str, dict[str, bool]] = defaultdict(dict)
    for row, (scores, facts) in zip(rows, assessed, strict=True):
        if row.labels.get("hostile") == 1:
            caught[row.extra["pair"]][row.slices[0]] = is_over(policy, "hostile", "hold", scores, facts)
    pairs = [pair for pair in caught.values() if len(pair) == 2]
    if not pairs:
        return None
    clean, perturbed = (np.mean([pair[kind] for pair in pairs]) for kind in ("clean", "perturbed"))
    lost = np.array([float(pair["clean"]) - float(pair["perturbed"]) for pair in pairs])
    mean, low, high = measures.mean_interval(lost)
    return {
        "pairs": len(pairs),
        "clean": round(float(clean), 4),
        "perturbed": round(float(perturbed), 4),
        "lost": round(mean, 4),
        "lost_low": round(low, 4),
        "lost_high": round(high, 4),
    }


def attack_spelling(assess: Assess, rows: Sequence[Row], assessed: Assessed, policy: Policy) -> list[dict[str, Any]]:
    """For each attack the AUC of hostile before and after on the same rows, and the recall at the hold line."""
    known = {row.id: result for row, result in zip(rows, assessed, strict=True)}
    chosen = sample(rows, ATTACKED_ROWS)
    labels = np.array([row.labels["hostile"] for row in chosen], float)
    if not 0 < labels.sum() < len(labels):
        return []
    plain = [known[row.id] for row in chosen]
    before = np.array([scores.hostile for scores, _ in plain])
    figures = []
    for kind in ATTACKS:
        attacked = assess([row.comment for row in disguise_rows(chosen, kind)])
        after = np.array([scores.hostile for scores, _ in attacked])
        loss, low, high = measures.auc_loss_interval(labels, before, after)
        recall, recall_before = (
            np.mean(
                [
                    is_over(policy, "hostile", "hold", *result)
                    for result, label in zip(one, labels, strict=True)
                    if label
                ]
            )
            for one in (attacked, plain)
        )
        figures.append(
            {
                "attack": kind,
                "rows": len(chosen),
                "auc_before": round(measures.auc(before[labels == 1], before[labels == 0]), 4),
                "auc": round(measures.auc(after[labels == 1], after[labels == 0]), 4),
                "loss": round(loss, 4),
                "loss_low": round(low, 4),
                "loss_high": round(high, 4),
                "recall_before": round(float(recall_before), 4),
                "recall": round(float(recall), 4),
            }
        )
    return figures


def bury_comments(
    assess: Assess, rows: Sequence[Row], assessed: Assessed, around: Sequence[Row], policy: Policy
) -> dict[str, Any] | None:
    """Of short hostile comments that reach the hold line alone, how many still do inside a long harmless one.

    ``around`` are rows of genuine comments, whose long ones are taken; ``held_around`` is the share of those that reach
    the line with nothing buried in them.
    """
    hostile, long = choose_buried(rows, around)
    caught = {row.id for row, result in zip(rows, assessed, strict=True) if is_over(policy, "hostile", "hold", *result)}
    buried = bury_hostile(hostile, long)
    found: dict[str, list[bool]] = defaultdict(list)
    for row, result in zip(buried, assess([row.comment for row in buried]), strict=True):
        if row.id in caught:
            found[row.slices[0]].append(is_over(policy, "hostile", "hold", *result))
    if not found:
        return None
    harmless = assess([Comment(row.comment.text) for row in long])
    return {
        "rows": sum(map(len, found.values())),
        **{place: round(float(np.mean(found[place])), 4) if found[place] else None for place in ("middle", "end")},
        "around": len(long),
        "held_around": round(float(np.mean([is_over(policy, "hostile", "hold", *result) for result in harmless])), 4),
    }


def choose_buried(rows: Sequence[Row], around: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Short hostile rows, and long genuine comments on their own posts to bury them in; none without the other."""
    hostile = [row for row in rows if row.labels.get("hostile") == 1 and _has_words(row, BURIED_WORDS)]
    long = [row for row in around if row.labels.get("off_topic") == 0 and _has_words(row, AROUND_WORDS)]
    return (sample(hostile, BURIED_ROWS), sample(long, BURIED_ROWS)) if hostile and long else ([], [])


def _has_words(row: Row, limits: tuple[int, int]) -> bool:
    return limits[0] <= len(row.comment.text.split()) <= limits[1]


def copy_comments(assess: Assess, rows: Sequence[Row], assessed: Assessed, policy: Policy) -> list[dict[str, Any]]:
    """Recall of spam on copied genuine comments, at the line where 1 % of the set's genuine ones are over it."""
    copies = copy_genuine(rows)
    good = np.array(
        [scores.spam for row, (scores, _) in zip(rows, assessed, strict=True) if row.labels.get("spam") == 0]
    )
    if not copies or not len(good):
        return []
    threshold = measures.threshold_at_false_positives(good, 0.01)
    caught: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for copy, result in zip(copies, assess([copy.comment for copy in copies]), strict=True):
        found = (result[0].spam > threshold, is_over(policy, "spam", "hold", *result))
        for part in ("", *copy.slices):
            caught[part].append(found)
    figures = []
    for part, found_in_part in sorted(caught.items()):
        at_threshold, at_hold = (int(count) for count in np.sum(found_in_part, axis=0))
        low, high = measures.clopper_pearson(at_threshold, len(found_in_part))
        figures.append(
            {
                "slice": part,
                "rows": len(found_in_part),
                "recall_at_1_percent": round(at_threshold / len(found_in_part), 4),
                "recall_low": round(low, 4),
                "recall_high": round(high, 4),
                "recall_at_hold": round(at_hold / len(found_in_part), 4),
            }
        )
    return figures


def compare_identities(rows: Sequence[Row], assessed: Assessed) -> dict[str, Any] | None:
    """Mean score of harmless sentences per identity, the largest gap between two, and Borkan's AUCs per identity."""
    labels = np.array([row.labels["hostile"] for row in rows], float)
    scores = np.array([result.hostile for result, _ in assessed])
    harmless = labels == 0
    names = sorted({part for row in rows for part in row.slices if part.startswith("identity-")})
    means: dict[str, float] = {}
    figures: list[dict[str, Any]] = []
    for name in names:
        member = np.array([name in row.slices for row in rows])
        if not (member & harmless).any():
            continue
        means[name] = float(scores[member & harmless].mean())
        figures.append(
            {
                "identity": name.removeprefix("identity-"),
                "rows": int(member.sum()),
                "harmless_mean": round(means[name], 4),
                **measures.group_aucs(labels, scores, member),
            }
        )
    if not figures:
        return None
    overall = float(scores[harmless].mean())
    return {
        "harmless_rows": int(harmless.sum()),
        "harmless_mean": round(overall, 4),
        "largest_gap": round(max(means.values()) - min(means.values()), 4),
        "largest_from_mean": round(max(abs(mean - overall) for mean in means.values()), 4),
        "identities": figures,
    }


def reasons_of(model: Model) -> Why:
    """What a model's explanations of ``hostile`` point at, for :func:`judge_reasons`."""

    def why(comment: Comment) -> set[int]:
        return {offset for span in explain(model, comment, "hostile").spans for offset in range(span.start, span.end)}

    return why


def judge_reasons(why: Why, rows: Sequence[Row], progress: Callable[[str], None]) -> dict[str, Any] | None:
    """Character F1 of what ``why`` points at against what raters marked (``extra["spans"]``), text by text."""
    values, empty, pointed = [], 0, 0
    for number, row in enumerate(rows):
        if number % 250 == 0:
            progress(f"why: {number:,} of {len(rows):,} texts")
        marked = {int(offset) for offset in json.loads(row.extra["spans"])}
        predicted = set(why(row.comment))
        values.append(measures.span_f1(predicted, marked))
        empty += not marked
        pointed += bool(predicted)
    if not values:
        return None
    mean, low, high = measures.mean_interval(np.array(values))
    return {
        "rows": len(values),
        "unmarked": empty,
        "pointed_at": pointed,
        "f1": round(mean, 4),
        "f1_low": round(low, 4),
        "f1_high": round(high, 4),
    }


def count_held(name: str, rows: Sequence[Row], assessed: Assessed, policy: Policy) -> Iterator[dict[str, Any]]:
    """The share of a set that the policy would not publish, whole and by leading slice, and which reasons fired."""
    results = [
        (row.slices[0] if row.slices else "", _stops(policy, row.comment, *result))
        for row, result in zip(rows, assessed, strict=True)
    ]
    yield _held(name, "", [fired for _, fired in results])
    if name != "counsel-chat":
        return
    for part in sorted({part for part, _ in results if part}):
        yield _held(name, part, [fired for of_part, fired in results if of_part == part])


def count_held_cases(cases: Sequence[BehaviourCase], assessed: Assessed, policy: Policy) -> Iterator[dict[str, Any]]:
    """The same for the behaviour cases in which people speak of their own trouble and nothing is wrong."""
    for part in DISTRESS:
        fired = [
            _stops(policy, case.comment, *result)
            for case, result in zip(cases, assessed, strict=True)
            if case.slice == part and "high" not in case.expect.values()
        ]
        if fired:
            yield _held("behaviour", part, fired)


def lined_policy(operating_points: Mapping[str, Any]) -> Policy:
    """The default policy with a hold line for the categories too that it lets be: :data:`UNLINED`."""
    plain = Policy.parse(default_policy_toml(), operating_points)
    bare = [code for code in CODES if not plain.line("lexical", code, "hold").is_set]
    lines = "".join(f'\n[{code}]\nhold = "{UNLINED}"\n' for code in bare)
    return Policy.parse(plain.toml + lines, operating_points)


def judge_behaviour(cases: Sequence[BehaviourCase], assessed: Assessed, policy: Policy) -> dict[str, Any]:
    """Pass or fail per case: ``low`` expects a score under the hold line of its category, ``high`` at or over it.

    ``policy`` should have a hold line for every category (:func:`lined_policy`); one half stands in for a missing one.
    Abstaining is low.
    """
    slices: dict[str, dict[str, int]] = defaultdict(lambda: {"cases": 0, "passed": 0, "needs_meaning": 0})
    failed = []
    for case, (scores, facts) in zip(cases, assessed, strict=True):
        wrong = [code for code, side in case.expect.items() if _side(code, scores, facts, policy) != side]
        tally = slices[case.slice]
        tally["cases"] += 1
        tally["passed"] += not wrong
        tally["needs_meaning"] += case.needs is not None
        if wrong:
            failed.append({"id": case.id, "categories": wrong, "needs": case.needs})
    return {"slices": dict(sorted(slices.items())), "failed": failed}


def _side(code: str, scores: Scores, facts: Facts, policy: Policy) -> str:
    score = scores[code]
    threshold = policy.line(facts.tier or "lexical", code, "hold").threshold
    return "high" if score is not None and score >= (0.5 if threshold is None else threshold) else "low"


def _stops(policy: Policy, comment: Comment, scores: Scores, facts: Facts) -> list[str]:
    """The reasons that fired, if the comment would not be published."""
    decision = policy.decide(comment, scores, facts)
    return [] if decision.action == "publish" else [reason.name for reason in decision.reasons if reason.fired]


def _held(name: str, part: str, fired: Sequence[Sequence[str]]) -> dict[str, Any]:
    held = sum(map(bool, fired))
    low, high = measures.clopper_pearson(held, len(fired))
    return {
        "set": name,
        "slice": part,
        "rows": len(fired),
        "held": held,
        "share": round(held / len(fired), 4),
        "share_low": round(low, 4),
        "share_high": round(high, 4),
        "reasons": dict(sorted(Counter(reason for reasons in fired for reason in reasons).items())),
    }
