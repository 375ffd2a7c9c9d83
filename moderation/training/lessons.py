"""Labels as lessons: what is learned from, what is held out, and what a bundle says of both afterwards.

A fifth of the labels, whole posts at a time, is never learned from, by no model: which those are hangs on their post
alone, so that champion and challenger were both made without them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import Comment
from moderation.errors import DataError
from moderation.model import FullTier, Model, tell_related
from moderation.training.adapt import Labelled
from moderation.training.adapters.reading import spread
from moderation.training.anchors import Anchors, Figures, read_figures
from moderation.training.contest import Sides
from moderation.training.known import keep_known
from moderation.training.labels import Label, Trust, as_rows, believed, last_words
from moderation.training.rows import BehaviourCase, Row, fingerprint
from moderation.training.table import build_table
from moderation.training.vectors import forget_vectors, read_kept

HELD_OUT = 0.2
"""The share of labels, whole posts at a time, that nothing is ever learned from."""

LEAST_LABELS = 20

# Beyond this a head is sure, and one that is surer still would only widen the scale that others are measured on.
_MOST_SAID = 15.0

Progress = Callable[[str], None]
Bands = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Lessons:
    """Labels as they are used: those learned from and those held out, with what was left out and why."""

    learned: Labelled
    held_out: Labelled
    left_out: Mapping[str, int]
    prints: frozenset[str]


def labels_digest(labels: Sequence[Label], trust: Trust) -> str:
    """SHA-256 of everything that labels teach. Equal digests mean that there is nothing new to learn."""
    lines = sorted(
        json.dumps([row.comment.digest(), row.comment.site, row.group, sorted(row.labels.items()), row.weight])
        for row in as_rows(labels, trust)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def prepare(
    model: Model,
    labels: Sequence[Label],
    anchors: Anchors,
    cases: Sequence[BehaviourCase],
    *,
    trust: Trust,
    bands: Bands = lambda _: (),
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Lessons:
    """Last words as figures, without those that any model is measured on; ``model`` needs its full tier.

    ``bands`` gives hashes of a text of which near-duplicates share one: a campaign under several posts is learned where
    its posts are not held out, and what is held out of it measures nothing.

    Raises ``DataError`` where fewer than ``LEAST_LABELS`` are left; then nothing stays in the cache either.
    """
    measured = {*anchors.frozen.prints.tolist(), *anchors.validation.prints.tolist()}
    measured |= {fingerprint(case.comment.text) for case in cases}
    # In an order of their own: sums of floats in another would be another bundle.
    rows = sorted(as_rows(labels, trust), key=lambda row: row.id)
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
    # Not the other way round as with equal texts, or no campaign under more than a few posts would ever be learned.
    learned_bands = {band for number in learned for band in bands(rows[number].comment.text)}
    copies = {number for number in kept if not learned_bands.isdisjoint(bands(rows[number].comment.text))}
    if copies:
        left_out["held out, and nearly the same text as one learned from"] = len(copies)
        kept = [number for number in kept if number not in copies]
    if len(learned) < LEAST_LABELS:
        if cache is not None:
            forget_vectors(cache)  # what was erased must not stay because too little is left to learn from
        raise DataError(
            f"{len(learned)} labels are too few to learn from; at least {LEAST_LABELS} are needed, "
            f"beside those of every fifth post, which are held out"
        )
    used = [rows[number] for number in (*learned, *kept)]
    figures, texts = _read(model, used, cache, jobs, progress)
    sites = [row.comment.site for row in used]

    def part(numbers: range) -> Labelled:
        index = np.array(numbers, dtype=np.int64)
        return Labelled(
            figures.take(index),
            [texts[number] for number in numbers],
            [sites[number] for number in numbers],
            [_author(used[number].comment) for number in numbers],
        )

    split = len(learned)
    return Lessons(
        part(range(split)),
        part(range(split, len(used))),
        dict(left_out),
        frozenset(prints[number] for number in learned),
    )


def score_labels(
    model: Model,
    labels: Sequence[Label],
    *,
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> NDArray[np.float64]:
    """What the heads say of every category before calibration, shape (labels, categories), read through the cache.

    Without what labels have taught, in residuals and calibration: a bundle that has learned a label bears it out, and
    whom a check believes would hang on which bundle happens to serve. Nought of what a model abstains from, and for
    labels that name no category: nothing is asked of those.
    """
    assert model.full is not None
    told = np.zeros((len(labels), len(CODES)))
    said = [number for number, label in enumerate(labels) if label.labels]
    if not said:
        return told
    rows = [Row("labels", "", labels[number].comment, {}, "") for number in said]
    figures, _ = _read(model, rows, cache, jobs, progress)
    answers = tier_logits(replace(model.full, adaptation=None), figures)
    for code in MAY_ABSTAIN:
        answers[~tell_related(figures.dense, figures.vectors), CODES.index(code)] = 0.0
    told[said] = np.clip(answers, -_MOST_SAID, _MOST_SAID)
    return told


def answer(
    tier: FullTier, figures: Figures, sites: Sequence[str | None] = (), texts: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Probabilities of rows, shape (rows, heads), NaN where a model abstains."""
    answers = tier.heads.calibrate(tier_logits(tier, figures, sites, texts))
    for code in MAY_ABSTAIN:
        answers[~tell_related(figures.dense, figures.vectors), CODES.index(code)] = np.nan
    return answers


def tier_logits(
    tier: FullTier, figures: Figures, sites: Sequence[str | None] = (), texts: Sequence[str] = ()
) -> NDArray[np.float64]:
    """What a full tier says of rows before calibration, shape (rows, heads). Without sites, the rows are of none."""
    if not len(figures):
        return np.zeros((0, len(CODES)))
    nowhere: list[str | None] = [None] * len(figures)
    return tier.logits(figures.vectors, figures.dense, figures.lexical, sites or nowhere, texts or [""] * len(figures))


def describe(lessons: Lessons, labels: Sequence[Label], trust: Trust, key: bytes = b"") -> dict[str, Any]:
    """What a manifest says of the labels: counts and hashes under ``key``, no text and no name."""
    words = last_words(believed(labels, trust))
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
            code: [sides.bad, sides.good] for code, sides in sorted(count_sides(lessons.learned.figures).items())
        },
        "until": max(times).isoformat() if times else None,
        "known": keep_known(words, key),
    }


def count_sides(figures: Figures) -> dict[str, Sides]:
    """How many labels of each category say that it is one, and how many that it is not."""
    return {
        code: Sides(int((figures.labels[:, head] == 1).sum()), int((figures.labels[:, head] == 0).sum()))
        for head, code in enumerate(CODES)
    }


def _author(comment: Comment) -> str | None:
    """Something that two authors of a site do not share."""
    author = comment.author
    return (author.id or author.name) if author is not None else None


def _read(
    model: Model, rows: Sequence[Row], cache: Path | None, jobs: int, progress: Progress
) -> tuple[Figures, Sequence[str]]:
    """Figures of labelled comments, and their canonical texts; what is abstained from is not known."""
    assert model.full is not None
    progress(f"reading features of {len(rows):,} labelled comments")
    table = build_table(rows, model.topic, None, jobs)
    vectors = read_kept(table, model.full.encoder, cache, progress)
    figures = read_figures(table, vectors, model.heads.logits(table.features))
    labels = figures.labels.copy()
    for code in MAY_ABSTAIN:
        labels[~tell_related(figures.dense, vectors), CODES.index(code)] = np.nan
    return replace(figures, labels=labels), table.features.fields["text"]
