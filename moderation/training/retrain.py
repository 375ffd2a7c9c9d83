"""Labels in, a challenger and a verdict out: what ``moderation retrain`` runs. Needs nothing but a bundle and labels.

The encoder and the heads that came with the bundle stay; what labels add to them is fitted anew from all labels
(:mod:`moderation.training.adapt`), calibrated and measured on the bundle's own validation rows, and held against the
champion by the gate (:mod:`moderation.training.gate`): on frozen rows, on behaviour cases, and on a fifth of the labels
that no model has ever learned from.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays

from moderation import topic
from moderation.bundle import Bundle, encoder_folder, load_bundle, read_anchors, write_bundle
from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import Comment
from moderation.errors import DataError
from moderation.model import DENSE, FullTier, Model
from moderation.policy import Policy, default_policy_toml
from moderation.training.adapt import Labelled, fit_adaptation
from moderation.training.adapters.reading import spread
from moderation.training.agreement import LEAST_SHARED, measure_agreement
from moderation.training.anchors import Anchors, Figures, read_figures, unpack
from moderation.training.contest import (
    Contest,
    Contestant,
    Rows,
    Sides,
    Training,
    lines_of,
    passed_cases,
    without_texts,
)
from moderation.training.gate import GateReport, judge
from moderation.training.labels import Label, Trust, as_rows, last_words
from moderation.training.points import calibration_rows, fit_knots, operating_points, stack_knots
from moderation.training.rows import BehaviourCase, fingerprint
from moderation.training.table import build_table
from moderation.training.trials import lined_policy
from moderation.training.vectors import read_kept

HELD_OUT = 0.2
"""The share of labels, whole posts at a time, that nothing is ever learned from."""

LEAST_LABELS = 20
_HAS_PASSAGES = topic.VECTOR_NAMES.index("has_passages")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Lessons:
    """Labels as they are used: those learned from and those held out, with what was left out and why."""

    learned: Labelled
    held_out: Labelled
    left_out: Mapping[str, int]
    prints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Round:
    """One retraining: the challenger's folder, what the gate says, and figures for the report, without any text."""

    bundle: Path
    gate: GateReport
    figures: dict[str, Any]


def labels_digest(labels: Sequence[Label], trust: Trust) -> str:
    """SHA-256 of everything that labels teach. Equal digests mean that there is nothing new to learn."""
    lines = sorted(
        json.dumps([row.comment.digest(), row.comment.site, sorted(row.labels.items()), row.weight])
        for row in as_rows(labels, trust)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_learned(champion: Bundle, labels: Sequence[Label], trust: Trust) -> bool:
    """Whether the champion has been made from exactly these labels."""
    learned = champion.manifest["trained_on"].get("labels") or {}
    return bool(learned) and learned["sha256"] == labels_digest(labels, trust)


def retrain(
    champion: Bundle,
    labels: Sequence[Label],
    cases: Sequence[BehaviourCase],
    models: Path,
    *,
    trust: Trust | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Round:
    """Fit a challenger on all labels, write it into ``models`` and have the gate judge it. Publishing is another step.

    Args:
        champion: The bundle in force; the challenger has its encoder, its heads and its anchors.
        labels: All that was ever said; the last word about a comment counts.
        cases: The behaviour cases.
        models: Folder to write the challenger into.
        trust: What labels weigh by source and account.
        cache: Folder where vectors are kept, without texts; with it a second run takes seconds.
        jobs: Processes for features, threads for heads.
        progress: Hears what is being done.

    Raises:
        DataError: There are too few labels, or the champion has no full tier.
        BundleError: The champion's anchors cannot be read.
    """
    full = champion.model.full
    encoder = encoder_folder(champion.path)
    if full is None or encoder is None:
        raise DataError(
            f"{champion.name} has no encoder in use, and labels refit what stands on it; "
            f"{champion.fault or 'publish a bundle that has one'}"
        )
    trusted = trust or Trust()
    progress("reading the bundle's own rows")
    packed = read_anchors(champion.path)
    anchors = unpack(load_arrays(packed))
    lessons = prepare(champion.model, labels, anchors, cases, trust=trusted, cache=cache, jobs=jobs, progress=progress)
    adaptation = fit_adaptation(full.heads, lessons.learned, anchors.kept, jobs=jobs, progress=progress)
    progress("calibrating")
    tier, points = calibrate(FullTier(full.encoder, full.heads, adaptation), anchors.validation)
    model = replace(champion.model, full=tier)
    tiers = {"lexical": champion.operating_points["tiers"]["lexical"], "full": points}
    resolved = {"format": champion.operating_points["format"], "tiers": tiers}
    facts = _say_labels(lessons, labels, trusted)
    progress("writing the challenger")
    path = write_bundle(
        models,
        model,
        operating_points=resolved,
        evaluation=_read_json(champion.path / "evaluation.json"),
        probes=_probes(champion.path),
        card=(champion.path / "MODEL_CARD.md").read_text(encoding="utf-8"),
        made_with=champion.manifest["made_with"],
        trained_on={**champion.manifest["trained_on"], "labels": facts},
        encoder=encoder,
        anchors=packed,
    )
    challenger = load_bundle(path)
    progress("champion and challenger on the same rows")
    contest = hold_contest(champion, challenger, anchors.frozen, lessons, labels, cases)
    return Round(path, judge(contest), {"labels": facts, "sites": _compare_sites(contest)})


def prepare(
    model: Model,
    labels: Sequence[Label],
    anchors: Anchors,
    cases: Sequence[BehaviourCase],
    *,
    trust: Trust,
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Lessons:
    """Last words as figures, without those that any model is measured on; ``model`` needs its full tier.

    Raises ``DataError`` where fewer than ``LEAST_LABELS`` are left.
    """
    assert model.full is not None
    measured = {*anchors.frozen.prints.tolist(), *anchors.validation.prints.tolist()}
    measured |= {fingerprint(case.comment.text) for case in cases}
    rows = as_rows(labels, trust)
    prints = [fingerprint(row.comment.text) for row in rows]
    held = [spread(f"held out {row.group}") < HELD_OUT for row in rows]
    held_prints = {text for text, is_held in zip(prints, held, strict=True) if is_held}
    left_out: Counter[str] = Counter()
    learned: list[int] = []
    kept: list[int] = []
    for number, (text, is_held) in enumerate(zip(prints, held, strict=True)):
        if text in measured:
            left_out["a row that models are measured on"] += 1
        elif is_held:
            kept.append(number)
        elif text in held_prints:
            left_out["the same text as one held out"] += 1
        else:
            learned.append(number)
    if len(learned) < LEAST_LABELS:
        raise DataError(
            f"{len(learned)} labels are too few to learn from; at least {LEAST_LABELS} are needed, "
            f"beside the fifth that is held out"
        )
    progress(f"reading features of {len(rows):,} labelled comments")
    table = build_table(rows, model.topic, None, jobs)
    vectors = read_kept(table, model.full.encoder, cache, progress)
    figures = read_figures(table, vectors, model.heads.logits(table.features))
    figures = replace(figures, labels=_without_abstained(figures))
    texts, sites = table.features.fields["text"], [row.comment.site for row in rows]

    def part(numbers: Sequence[int]) -> Labelled:
        index = np.array(numbers, dtype=np.int64)
        return Labelled(
            figures.take(index), [texts[number] for number in numbers], [sites[number] for number in numbers]
        )

    return Lessons(part(learned), part(kept), dict(left_out), frozenset(prints[number] for number in learned))


def calibrate(tier: FullTier, validation: Figures) -> tuple[FullTier, dict[str, Any]]:
    """The tier with its scores calibrated on validation rows, and its part of ``operating_points.json``."""
    logits = tier_logits(tier, validation)
    knots = []
    for head, code in enumerate(CODES):
        index, labels, weights = calibration_rows(code, validation)
        knots.append(fit_knots(logits[index, head], labels, weights))
    heads = replace(tier.heads, knots=stack_knots(knots))
    probabilities = heads.calibrate(logits)
    return replace(tier, heads=heads), {code: operating_points(code, validation, probabilities) for code in CODES}


def tier_logits(
    tier: FullTier, figures: Figures, sites: Sequence[str | None] = (), texts: Sequence[str] = ()
) -> NDArray[np.float64]:
    """What a full tier says of rows before calibration, shape (rows, heads). Without sites, the rows are of none."""
    total = tier.heads.logits(figures.vectors, figures.dense, figures.lexical)
    if tier.adaptation is not None:
        context = tier.heads.context(figures.vectors, figures.dense, figures.lexical)
        nowhere: list[str | None] = [None] * len(figures)
        total += tier.adaptation.logits(sites or nowhere, figures.vectors, context, texts or [""] * len(figures))
    return total


def hold_contest(
    champion: Bundle,
    challenger: Bundle,
    frozen: Figures,
    lessons: Lessons,
    labels: Sequence[Label],
    cases: Sequence[BehaviourCase],
) -> Contest:
    """Both bundles on the same rows and cases, each under the lines of the default policy."""
    learned_before = champion.manifest["trained_on"].get("labels") or {}
    return Contest(
        frozen=Rows.of(frozen),
        held_out=Rows.of(lessons.held_out.figures, lessons.held_out.sites),
        cases=without_texts(cases),
        champion=_contestant(champion, frozen, lessons.held_out, cases),
        challenger=_contestant(challenger, frozen, lessons.held_out, cases),
        training=Training(
            labels=len(lessons.learned.figures),
            labels_before=learned_before.get("learned", 0),
            new_by_account=_new_by_account(last_words(labels), learned_before.get("until")),
            sides=_sides(lessons.learned.figures.labels),
            sides_before={code: Sides(*sides) for code, sides in learned_before.get("sides", {}).items()},
            agreement=_agreement(labels),
            prints=lessons.prints,
        ),
    )


def _contestant(bundle: Bundle, frozen: Figures, held_out: Labelled, cases: Sequence[BehaviourCase]) -> Contestant:
    tier = bundle.model.full
    assert tier is not None
    policy = Policy.parse(default_policy_toml(), bundle.operating_points)
    return Contestant(
        name=bundle.name,
        frozen=_answers(tier, frozen),
        held_out=_answers(tier, held_out.figures, held_out.sites, held_out.texts),
        lines=lines_of(policy),
        passed=passed_cases(
            cases, bundle.assess([case.comment for case in cases]), lined_policy(bundle.operating_points)
        ),
    )


def _answers(
    tier: FullTier, figures: Figures, sites: Sequence[str | None] = (), texts: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Probabilities, NaN where the model abstains."""
    answers = tier.heads.calibrate(tier_logits(tier, figures, sites, texts))
    for code in MAY_ABSTAIN:
        answers[~_is_related(figures), CODES.index(code)] = np.nan
    return answers


def _is_related(figures: Figures) -> NDArray[np.bool_]:
    """Which rows have a post that they can be held against, as :meth:`Model.assess` has it."""
    related = figures.vectors.related
    is_related: NDArray[np.bool_] = figures.dense[:, DENSE.index("has_topic")] > 0
    is_related &= related[:, _HAS_PASSAGES] > 0
    is_related &= ~(topic.parent_left_post(related) & (figures.vectors.foreign < 0.5))
    return is_related


def _without_abstained(figures: Figures) -> NDArray[np.float64]:
    labels = figures.labels.copy()
    for code in MAY_ABSTAIN:
        labels[~_is_related(figures), CODES.index(code)] = np.nan
    return labels


def _say_labels(lessons: Lessons, labels: Sequence[Label], trust: Trust) -> dict[str, Any]:
    """What a manifest says of the labels: counts and hashes, no text and no name."""
    words = last_words(labels)
    times = [label.at for label in words if label.at is not None]
    return {
        "sha256": labels_digest(labels, trust),
        "said": len(words),
        "learned": len(lessons.learned.figures),
        "held_out": len(lessons.held_out.figures),
        "left_out": dict(sorted(lessons.left_out.items())),
        "by_source": dict(sorted(Counter(label.source for label in words).items())),
        "by_site": dict(sorted(Counter(site or "" for site in lessons.learned.sites).items())),
        "sides": {
            code: [sides.bad, sides.good] for code, sides in sorted(_sides(lessons.learned.figures.labels).items())
        },
        "until": max(times).isoformat() if times else None,
    }


def _sides(labels: NDArray[np.float64]) -> dict[str, Sides]:
    return {
        code: Sides(int((labels[:, head] == 1).sum()), int((labels[:, head] == 0).sum()))
        for head, code in enumerate(CODES)
    }


def _new_by_account(labels: Sequence[Label], until: str | None) -> dict[str, int]:
    """How many labels each account has given since the last one that the champion knows."""
    before = None if until is None else datetime.fromisoformat(until)
    is_new = [before is None or label.at is None or label.at > before for label in labels]
    return dict(Counter(label.moderator for label, new in zip(labels, is_new, strict=True) if new))


def _agreement(labels: Sequence[Label]) -> float | None:
    """Krippendorff's alpha of the category on which people agree least; ``None`` where too few judged the same."""
    measured = measure_agreement(labels)
    known = [item.alpha for item in measured if item.alpha is not None and item.comments >= LEAST_SHARED]
    return min(known, default=None)


def _compare_sites(contest: Contest) -> dict[str, Any]:
    """Log loss and rows of each site and category on held-out labels, before and after."""
    sites: dict[str, Any] = {}
    for site in sorted({site or "" for site in contest.held_out.sites}):
        rows = np.array([(other or "") == site for other in contest.held_out.sites])
        for head, code in enumerate(CODES):
            labels = contest.held_out.labels[rows, head]
            known = ~np.isnan(labels)
            if known.sum() < LEAST_LABELS:
                continue
            losses = [
                _log_loss(labels[known], one.held_out[rows, head][known])
                for one in (contest.champion, contest.challenger)
            ]
            sites.setdefault(site, {})[code] = {
                "rows": int(known.sum()),
                "bad": int(labels[known].sum()),
                "log_loss": [round(value, 5) for value in losses],
            }
    return sites


def _log_loss(labels: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    said = np.clip(np.where(labels == 1, answers, 1 - answers), 1e-6, 1)
    return float(-np.nanmean(np.log(said)))


def _probes(bundle: Path) -> list[Comment]:
    lines = (bundle / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    return [Comment.from_dict(json.loads(line)["comment"]) for line in lines]


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
