"""The heads of the full tier: what the encoder sees, what the words say and the facts, weighed against each other.

They are fitted on rows that neither the encoder nor the lexical heads behind these logits have learned from
(:func:`moderation.training.dataset.is_for_heads`): on rows of its own training an encoder is surer than it will ever be
again, and heads would believe it too much. Moderators' labels are such rows too, which is why heads can be refitted on
them in seconds while the encoder stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from moderation import signals, topic
from moderation.categories import CODES
from moderation.encoder import WIDTH, Encoder
from moderation.heads import FullHeads, Heads, Vectors, put_together, telling_windows
from moderation.model import CONTEXT
from moderation.training.anchors import Figures, read_figures
from moderation.training.points import calibration_rows, fit_knots, operating_points, stack_knots
from moderation.training.quiet import fit_quiet, lay_beside
from moderation.training.rows import Row
from moderation.training.table import LANGUAGES, MANNERS, UNEVEN, Labelled, Table, choose_lesson, read_table

# How rows are named that lack what a platform may not send (moderation.training.table.vary).
_VARIED = re.compile(r"~[12]$")
_HOSTILE_CODES = tuple(code for code in CODES if code not in {"spam", "off_topic"})
_HOSTILE_WORDS = (
    *(f"lexical_{code}" for code in _HOSTILE_CODES),
    "foreign",
    *(f"foreign_lexical_{code}" for code in _HOSTILE_CODES),
)
# A choice of what says how near a comment is: with all of it the head learns its few blogs by heart.
_NEARNESS = (
    *("passage_cosine", "title_cosine", "rarest_shared", "parent_cosine", "thread_cosine", "has_parent", "has_thread"),
    *("vector_best", "vector_mean", "vector_parent", "vector_thread_best", "vector_thread_mean", "vector_around"),
)
# What rows weigh, for some heads, whose texts are most like what we judge: comments on blogs and news, talk pages; what
# is said with emoji, which no other set has; and sentences that say the same about all kinds of people.
CLOSENESS: Mapping[str, float] = {
    "kaggle-insults": 3.0,
    "jigsaw-predibase": 1.5,
    "jigsaw-fastbert": 1.5,
    "hatemoji": 3.0,
    "templates": 3.0,
}
# Facts that few comments have and that say much of those: as one column among four hundred they would be held back as
# strongly as any.
_TELLING = ("link_alone", "link_only", "broken_lines")
_FACTS = tuple(name for name in signals.NAMES if not name.startswith(UNEVEN))


@dataclass(frozen=True, slots=True)
class FullRecipe:
    """What one head of the full tier sees, and how strongly it is held back.

    ``regularisation`` is ``C`` of scikit-learn's LogisticRegression over standardised columns. ``elsewhere`` is what
    rows of sources that are neither like a blog nor ours weigh; ``by_source`` gives each source an intercept while
    fitting. ``windows`` and ``signature`` are what one standard deviation of the class vector and marks, and of what is
    made of the author's name and of links, counts for beside one of the context: there are ten times as many, and
    what counts for less is held back more strongly. At nought they are not seen. What few comments have and what tells
    much (:data:`_TELLING`) counts double.
    ``words`` is the same for what the words say in general. ``hard`` is what a comment weighs that was moved to the
    post most like its own; ``by_closeness`` has sources weigh what :data:`CLOSENESS` says, ``ours`` is
    what our own rows in English weigh, and ``shares`` what those of some slices do.
    """

    context: tuple[str, ...]
    regularisation: float
    elsewhere: float = 1.0
    by_source: bool = True
    windows: float = 0.15
    signature: float = 0.0
    words: float = 1.0
    hard: float = 1.0
    by_closeness: bool = False
    # They weigh threefold as they come, and would be half of all there is.
    ours: float = 0.5
    shares: Mapping[str, float] = field(default_factory=dict)


_PART_OF_HOSTILE = FullRecipe((*MANNERS, *_HOSTILE_WORDS), 0.01)
FULL_RECIPES: Mapping[str, FullRecipe] = {
    "hostile": replace(_PART_OF_HOSTILE, elsewhere=0.3, words=0.4, by_closeness=True),
    # What the words say was fitted with blogs left out in turn, and holds on a new one; all else is held back more.
    "spam": FullRecipe(
        (*_FACTS, "has_passages", "vector_best", "vector_mean", "lexical_spam", "foreign_lexical_spam"),
        0.002,
        by_source=False,
        windows=0.15,
        signature=0.7,
        words=4.0,
        # At full weight, links that help would hide links that sell, and talk in other languages what is sold in them.
        shares={"help-links": 0.2, LANGUAGES: 0.1},
    ),
    "off_topic": FullRecipe(
        (*_NEARNESS, "lexical_off_topic", "foreign", "foreign_lexical_off_topic"),
        0.1,
        by_source=False,
        windows=0.0,
        hard=4.0,
    ),
    "insult": _PART_OF_HOSTILE,
    "threat": _PART_OF_HOSTILE,
    "identity_attack": _PART_OF_HOSTILE,
    "profanity": _PART_OF_HOSTILE,
    "severe": _PART_OF_HOSTILE,
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FittedFull:
    """The heads, the tier's part of ``operating_points.json``, and the rows that both come from."""

    heads: FullHeads
    operating_points: dict[str, Any]
    kept: Figures
    validation: Figures


def fit_full(
    kept: Table,
    cross: Heads,
    validation: Table,
    validation_logits: NDArray[np.float64],
    encoder: Encoder,
    *,
    memory: Memory | None = None,
    progress: Progress = lambda _: None,
) -> FittedFull:
    """Fit, calibrate and measure the heads of the full tier.

    Args:
        kept: Training rows that neither ``encoder`` nor ``cross`` have seen.
        cross: Lexical heads fitted on the other training rows.
        validation: Rows to calibrate and measure on.
        validation_logits: What the lexical heads that are shipped say of those.
        encoder: The exported encoder, as it will be shipped.
        memory: Where vectors read before are kept.
        progress: Hears what is being done.

    Raises:
        DataError: The rows do not hold both labels of a category.
    """
    progress(f"reading {len(kept.rows):,} rows with the encoder")
    vectors = read_table(kept, encoder, memory)
    progress(f"reading {len(validation.rows):,} validation rows with the encoder")
    validation_vectors = read_table(validation, encoder, memory)
    progress("fitting the heads of the full tier")
    heads = fit_full_heads(kept, vectors, cross.logits(kept.features))
    loud = heads.loud(validation_vectors, validation.features.dense, validation_logits)
    heads = lay_beside(heads, validation_vectors, loud[:, CODES.index("hostile")], validation)
    logits = heads.logits(validation_vectors, validation.features.dense, validation_logits)
    heads, points = calibrate(heads, logits, validation)
    kept_figures = read_figures(kept, vectors, cross.logits(kept.features))
    return FittedFull(heads, points, kept_figures, read_figures(validation, validation_vectors, validation_logits))


def calibrate(heads: FullHeads, logits: NDArray[np.float64], validation: Labelled) -> tuple[FullHeads, dict[str, Any]]:
    """The heads with their scores calibrated on validation rows, whose ``logits`` these are, and what they reach there.

    Raises ``DataError`` where the rows do not hold both labels of a category.
    """
    knots = []
    for head, code in enumerate(CODES):
        index, labels, weights = calibration_rows(code, validation)
        knots.append(fit_knots(logits[index, head], labels, weights))
    heads = replace(heads, knots=stack_knots(knots))
    probabilities = heads.calibrate(logits)
    return heads, {code: operating_points(code, validation, probabilities) for code in CODES}


def fit_full_heads(
    table: Table,
    vectors: Vectors,
    lexical: NDArray[np.float64],
    recipes: Mapping[str, FullRecipe] = FULL_RECIPES,
) -> FullHeads:
    """The heads of the full tier, not yet calibrated, from rows with their vectors and lexical logits."""
    mean, scale = _moments(put_together(vectors, table.features.dense, lexical))
    blank = FullHeads(CODES, *np.zeros((2, 0, 0), np.float32), mean, scale, *np.zeros((6, 0)))  # type: ignore[call-arg]  # for its moments alone
    context = blank.context(vectors, table.features.dense, lexical)
    windows = vectors.windows[telling_windows(vectors)].astype(np.float64)
    # About the mean of what can be read, times how well it can: a language that cannot be read says nothing by itself.
    english = windows[:, -1:]
    weights = np.maximum(english[:, 0], 1e-9)
    centre = np.average(windows[:, :-1] / weights[:, None], axis=0, weights=weights)
    windows = windows[:, :-1] - english * centre
    spread = np.maximum(windows.std(axis=0), 1e-3)
    windows = windows / spread
    signatures = vectors.signatures.astype(np.float64)
    signed = signatures[:, -1] > 0
    # About their own mean, so that having a signature says nothing by itself: which blogs ask for one differs.
    sign_centre, sign_spread = np.zeros(WIDTH), np.ones(WIDTH)
    if signed.any():
        sign_centre = signatures[signed, :WIDTH].mean(axis=0)
        sign_spread = np.maximum(signatures[signed, :WIDTH].std(axis=0), 1e-3)
    signatures = (signatures[:, :WIDTH] - sign_centre) / sign_spread * signed[:, None]
    fitted = [_fit_head(code, recipes[code], table, windows, signatures, context) for code in CODES]
    quiet_weights, quiet_intercept = fit_quiet(table, windows, english[:, 0])
    window_weights = np.stack([*(head.windows for head in fitted), quiet_weights], axis=1) / spread[:, None]
    window_weights = np.vstack([window_weights, -centre @ window_weights]).astype(np.float32)
    signature_weights = np.stack([head.signature for head in fitted], axis=1) / sign_spread[:, None]
    return FullHeads(
        codes=CODES,
        window_weights=window_weights[:, :-1],
        signature_weights=np.vstack([signature_weights, -sign_centre @ signature_weights]).astype(np.float32),
        mean=mean,
        scale=scale,
        context_weights=np.stack([head.context for head in fitted], axis=1).astype(np.float32),
        intercept=np.array([head.intercept for head in fitted]),
        knots=np.tile(np.array([[-1.0, 1.0], [-1.0, 1.0]]), (len(CODES), 1, 1)),
        quiet_weights=window_weights[:, -1],
        quiet_intercept=np.array([quiet_intercept]),
        alone=np.array([1.0, -np.inf]),
    )


@dataclass(frozen=True, slots=True)
class _Coefficients:
    """One fitted head: weights of window columns, signature and context, and the mean intercept of its sources."""

    windows: NDArray[np.float64]
    signature: NDArray[np.float64]
    context: NDArray[np.float64]
    intercept: float


def _fit_head(
    code: str,
    recipe: FullRecipe,
    table: Table,
    windows: NDArray[np.float64],
    signatures: NDArray[np.float64],
    context: NDArray[np.float32],
) -> _Coefficients:
    lesson = choose_lesson(table, code, recipe.elsewhere, recipe.ours, recipe.shares)
    is_hard = np.array(["moved-nearest" in table.rows[row].slices for row in lesson.index.tolist()])
    weights = lesson.weights * np.where(is_hard, recipe.hard, 1.0)
    if recipe.by_closeness:
        weights *= [CLOSENESS.get(table.rows[row].source, 1.0) for row in lesson.index.tolist()]
    weights *= [not _has_lost_its_link(table.rows[row]) for row in lesson.index.tolist()]
    columns = [CONTEXT.index(name) for name in recipe.context]
    scale = np.array(
        [recipe.words if name.startswith("lexical_") else 1.0 + (name in _TELLING) for name in recipe.context]
    )
    intercepts = np.eye(lesson.source_count)[lesson.sources] * recipe.by_source
    read = windows[lesson.index][:, : windows.shape[1] if recipe.windows else 0] * recipe.windows
    signed = signatures[lesson.index][:, : WIDTH if recipe.signature else 0] * recipe.signature
    seen = np.hstack([read, signed, context[lesson.index][:, columns] * scale, intercepts * 3])
    head = LogisticRegression(C=recipe.regularisation, max_iter=2000).fit(seen, lesson.target, sample_weight=weights)
    parts = np.split(head.coef_[0], np.cumsum([read.shape[1], signed.shape[1], len(columns)]))
    own, signature = np.zeros(windows.shape[1]), np.zeros(WIDTH)
    own[: read.shape[1]] = parts[0] * recipe.windows
    signature[: signed.shape[1]] = parts[1] * recipe.signature
    all_context = np.zeros(len(CONTEXT))
    all_context[columns] = parts[2] * scale
    mean_intercept = np.average((intercepts * 3) @ parts[3], weights=weights)
    return _Coefficients(own, signature, all_context, float(head.intercept_[0] + mean_intercept))


def _has_lost_its_link(row: Row) -> bool:
    """Whether a row about links was varied so that the one that sells is gone, and kind words are left."""
    if "help-links" not in row.slices or not _VARIED.search(row.id):
        return False
    author = row.comment.author
    return row.labels.get("spam") == 1 and not (author and author.url) and not signals.find_links(row.comment.text)


def _moments(context: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each feature; of what needs a post, over the rows that have one."""
    mean, deviation = context.mean(axis=0, dtype=np.float64), context.std(axis=0, dtype=np.float64)
    for flag, names in (("has_topic", topic.NAMES), ("has_passages", topic.VECTOR_NAMES[1:])):
        have = context[:, CONTEXT.index(flag)] > 0
        if have.any():
            columns = [CONTEXT.index(name) for name in names]
            mean[columns], deviation[columns] = context[have][:, columns].mean(0), context[have][:, columns].std(0)
    # A feature that hardly varies in training must not become huge when it does vary.
    return mean.astype(np.float32), np.maximum(deviation, 0.05).astype(np.float32)
