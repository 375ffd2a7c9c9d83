"""Rows to a fitted, calibrated model, and the operating points it has. Same rows, same seed, same bytes.

Each head is a logistic regression (liblinear) over the n-grams and dense features that :data:`RECIPES` allows it,
fitted on the training rows whose label of that category is known. Sources mean different things by the same label, so
most heads also get an intercept per source while they are fitted, which is dropped afterwards: the words need not
explain how a source was sampled. For spam, what the words say of rows they were not learned from is then weighed
against the facts once more (stacked generalisation, Wolpert 1992): words learn a training set by heart, so beside them
facts would count for too little on a blog that nobody has seen. Platt's sigmoid is then fitted on validation rows,
which the head has not seen; the operating points are measured on those too. What is measured is what is shipped:
nothing is fitted again on all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from joblib import Memory, Parallel, delayed
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from moderation import signals, topic
from moderation.categories import CODES
from moderation.encoder import Encoder
from moderation.heads import FIELDS, FieldWeights, Heads
from moderation.model import DENSE, FullTier, Model
from moderation.topic import TopicModel, learn_idf
from moderation.training.anchors import Figures
from moderation.training.copies import with_copies
from moderation.training.dataset import Dataset, campaign_of, is_for_heads, spam_hosts
from moderation.training.fuse import fit_full
from moderation.training.points import calibration_rows, fit_platt, operating_points
from moderation.training.table import (
    LANGUAGES,
    MANNERS,
    UNEVEN,
    Lesson,
    Table,
    build_table,
    choose_lesson,
    vary,
    with_talk,
)
from moderation.training.vectorizer import LexicalVectorizer

TOPIC = ("has_topic", *topic.NAMES)
_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one head sees, what it learns from, and how strongly it is held back.

    ``regularisation`` is ``C`` of scikit-learn's LogisticRegression. ``elsewhere`` is what the rows of sources that are
    neither like a blog nor ours weigh, compared to those that are. ``by_source`` gives each source an intercept.
    ``stacked`` is ``C`` of the second fit, of the facts and of what the words say of rows they were not learned from;
    at nought there is none. ``ours`` is what our own rows in English weigh, ``shares`` what those of some slices do; at
    nought they are left out.
    """

    fields: tuple[str, ...]
    dense: tuple[str, ...]
    dense_scale: float
    regularisation: float
    elsewhere: float = 1.0
    by_source: bool = True
    stacked: float = 0.0
    ours: float = 1.0
    shares: Mapping[str, float] = field(default_factory=dict)


# What calm cruelty and its harmless look-alikes say cannot be told by their words: n-grams would learn them by heart,
# and lose on everything else. So it is, in part, with all our rows, which are about what no word tells; of threats
# there are hardly any others.
_PART_OF_HOSTILE = Recipe(("text",), MANNERS, 0.1, 1.0, ours=1 / 3, shares={"polite-cruelty": 0.0})
RECIPES: Mapping[str, Recipe] = {
    # Collections of hate mean something else by hostile than the readers of a blog do; they help with words, in small
    # measure.
    "hostile": replace(_PART_OF_HOSTILE, elsewhere=0.3),
    # The author's name and URL are read as words, but that they were given at all is not used: which blogs ask for
    # them differs more than who gives them. Sources are nearly all spam or all ham, so an intercept for each would
    # explain everything away, and so would what only some of them know. A link that helps cannot be told from one that
    # sells by words that both are said in; and what is said without a link in another language is spam on many an
    # English blog, and on its own blog a comment.
    "spam": Recipe(
        FIELDS,
        tuple(name for name in DENSE if not name.startswith(UNEVEN)),
        0.1,
        30.0,
        by_source=False,
        stacked=0.001,
        shares={"help-links": 0.0, LANGUAGES: 0.1},
    ),
    "off_topic": Recipe((), TOPIC, 1.0, 0.1, by_source=False),
    "insult": _PART_OF_HOSTILE,
    "threat": replace(_PART_OF_HOSTILE, ours=1.0),
    "identity_attack": _PART_OF_HOSTILE,
    "profanity": _PART_OF_HOSTILE,
    "severe": _PART_OF_HOSTILE,
}

VECTORIZERS: Mapping[str, LexicalVectorizer] = {
    "text": LexicalVectorizer(bits=18, char_min=2, char_max=5, word_max=2),
    "author_name": LexicalVectorizer(bits=14, char_min=2, char_max=4, word_max=1, salt=1),
    "links": LexicalVectorizer(bits=15, char_min=3, char_max=5, word_max=0, salt=2),
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with the thresholds it can be used at, in the form of ``operating_points.json``.

    ``kept`` and ``validation`` are the rows that its full tier was fitted and calibrated on, where it has one.
    """

    model: Model
    operating_points: dict[str, Any]
    kept: Figures | None = None
    validation: Figures | None = None


@dataclass(frozen=True, slots=True)
class Lexical:
    """The lexical tier, calibrated, and what fitting the full one needs.

    ``cross`` are heads fitted without the rows in ``kept``, which are those that neither they nor an encoder have seen;
    both are ``None`` where only the lexical tier is wanted.
    """

    heads: Heads
    topic_model: TopicModel
    validation: Table
    validation_logits: NDArray[np.float64]
    kept: Table | None
    cross: Heads | None


def fit_model(
    dataset: Dataset,
    encoder: Encoder | None = None,
    *,
    memory: Memory | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Fitted:
    """Fit, calibrate and measure every head of every tier; without an encoder there is only the lexical one.

    Raises ``DataError`` when a category lacks rows of either label.
    """
    lexical = fit_lexical(dataset, for_full_tier=encoder is not None, memory=memory, jobs=jobs, progress=progress)
    validation, heads, logits = lexical.validation, lexical.heads, lexical.validation_logits
    tiers = {"lexical": {code: operating_points(code, validation, heads.calibrate(logits)) for code in CODES}}
    full = None
    rows: tuple[Figures | None, Figures | None] = (None, None)
    if encoder is not None and lexical.kept is not None and lexical.cross is not None:
        fitted = fit_full(lexical.kept, lexical.cross, validation, logits, encoder, memory=memory, progress=progress)
        tiers["full"], rows = fitted.operating_points, (fitted.kept, fitted.validation)
        full = FullTier(encoder, fitted.heads)
    return Fitted(Model(heads, lexical.topic_model, full), {"format": 1, "tiers": tiers}, *rows)


def fit_lexical(
    dataset: Dataset,
    *,
    for_full_tier: bool,
    memory: Memory | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Lexical:
    """Fit and calibrate the heads of the lexical tier; ``for_full_tier`` prepares for those of the full one.

    Raises ``DataError`` when a category lacks rows of either label.
    """
    progress("learning how rare words are")
    topic_model = TopicModel(_topic_idf(dataset))
    progress("reading features of the training rows")
    train = build_table(vary(with_copies(with_talk(dataset.train))), topic_model, memory, jobs)
    progress("reading features of the validation rows")
    validation = build_table(dataset.validation, topic_model, memory, jobs)
    heads = fit_heads(train, jobs, progress)
    progress("calibrating")
    logits = heads.logits(validation.features)
    heads = replace(heads, calibration=np.array([_calibrate(code, validation, logits) for code in CODES]))
    if not for_full_tier:
        return Lexical(heads, topic_model, validation, logits, None, None)
    kept = np.array([is_for_heads(row) for row in train.rows])
    # Of a campaign that is on both sides, and of links to the same place, the encoder has seen its share.
    others = [row for row, is_kept in zip(train.rows, kept, strict=True) if not is_kept]
    seen = {campaign_of(row) for row in others} - {None}
    hosts = {host for row in others for host in spam_hosts(row)}
    unseen = kept & np.array([campaign_of(row) not in seen and hosts.isdisjoint(spam_hosts(row)) for row in train.rows])
    progress("fitting the heads of the lexical tier without the rows kept for those of the full tier")
    cross = fit_heads(train.take(np.flatnonzero(~kept)), jobs, progress)
    return Lexical(heads, topic_model, validation, logits, train.take(np.flatnonzero(unseen)), cross)


def fit_heads(train: Table, jobs: int = 1, progress: Progress = lambda _: None) -> Heads:
    """The heads of the lexical tier, not yet calibrated."""
    vectorizers = {name: clone(vectorizer) for name, vectorizer in VECTORIZERS.items()}
    matrices = {}
    for name in FIELDS:
        progress(f"counting n-grams of {name}")
        matrices[name] = vectorizers[name].fit_transform(train.features.fields[name])
    mean, scale = _moments(train)
    blank = Heads(CODES, {}, mean, scale, np.zeros((len(DENSE), 0)), np.zeros(0), np.zeros((0, 2)))  # type: ignore[arg-type]  # only its moments are used
    dense = blank.standardise(train.features.dense)
    progress("fitting the heads of the lexical tier")
    fitted = Parallel(n_jobs=jobs, prefer="threads")(delayed(_fit_head)(code, train, matrices, dense) for code in CODES)
    coefficients = dict(zip(CODES, fitted, strict=True))
    return Heads(
        codes=CODES,
        fields={
            name: FieldWeights(
                vectorizers[name].spec,
                vectorizers[name].idf_,
                np.stack([coefficients[code].fields[name] for code in CODES], axis=1).astype(np.float16),
            )
            for name in FIELDS
        },
        mean=mean,
        scale=scale,
        dense_weights=np.stack([coefficients[code].dense for code in CODES], axis=1).astype(np.float32),
        intercept=np.array([coefficients[code].intercept for code in CODES]),
        calibration=np.tile([1.0, 0.0], (len(CODES), 1)),
    )


def _calibrate(code: str, validation: Table, logits: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of Platt's sigmoid for one head of the lexical tier."""
    index, labels, weights = calibration_rows(code, validation)
    return fit_platt(logits[index, CODES.index(code)], labels, weights)


@dataclass(frozen=True, slots=True)
class _Coefficients:
    """One fitted head: weights per field (columns,), dense weights (features,), and the mean intercept of sources."""

    fields: Mapping[str, NDArray[np.float64]]
    dense: NDArray[np.float64]
    intercept: float


def _fit_head(
    code: str, train: Table, matrices: Mapping[str, sparse.csr_matrix], dense: NDArray[np.float32]
) -> _Coefficients:
    recipe = RECIPES[code]
    lesson = choose_lesson(train, code, recipe.elsewhere, recipe.ours, recipe.shares)
    rows = len(lesson.index)
    columns = [DENSE.index(name) for name in recipe.dense]
    ones = np.full(rows, float(recipe.by_source))
    intercepts = sparse.csr_matrix((ones, (np.arange(rows), lesson.sources)), shape=(rows, lesson.source_count))
    blocks = [matrices[name][lesson.index] for name in recipe.fields]
    facts = dense[lesson.index][:, columns]
    blocks += [sparse.csr_matrix(facts * recipe.dense_scale), intercepts]
    seen = sparse.hstack(blocks, format="csr")
    head = LogisticRegression(C=recipe.regularisation, solver="liblinear", random_state=0, max_iter=1000)
    head.fit(seen, lesson.target, sample_weight=lesson.weights)
    parts = np.split(head.coef_[0], np.cumsum([block.shape[1] for block in blocks])[:-1])
    intercept = float(head.intercept_[0] + np.average(parts[-1][lesson.sources] * ones, weights=lesson.weights))
    words, again, offset = 1.0, np.zeros(len(columns)), 0.0
    groups = np.array([train.rows[row].group for row in lesson.index.tolist()])
    folds = min(_FOLDS, *(len(np.unique(groups[lesson.target == label])) for label in (0, 1)))
    if recipe.stacked and folds > 1:
        words, again, offset = _weigh_facts(head, seen, facts, lesson, groups, folds, recipe.stacked)
    by_field = {name: part * words for name, part in zip(recipe.fields, parts, strict=False)}
    dense_weights = np.zeros(len(DENSE))
    dense_weights[columns] = parts[-2] * recipe.dense_scale * words + again
    return _Coefficients(
        {name: by_field.get(name, np.zeros(1 << VECTORIZERS[name].bits)) for name in FIELDS},
        dense_weights,
        intercept * words + offset,
    )


def _weigh_facts(
    head: LogisticRegression,
    seen: sparse.csr_matrix,
    facts: NDArray[np.float32],
    lesson: Lesson,
    groups: NDArray[np.str_],
    folds: int,
    regularisation: float,
) -> tuple[float, NDArray[np.float64], float]:
    """What the logit of ``head`` counts for beside the facts, the facts' own weights, and the offset.

    Fitted on logits of rows whose blog or campaign the words were not learned from.
    """
    logits = np.zeros(len(lesson.target))
    for learn, rest in StratifiedGroupKFold(folds).split(facts, lesson.target, groups):
        part = clone(head).fit(seen[learn], lesson.target[learn], sample_weight=lesson.weights[learn])
        logits[rest] = part.decision_function(seen[rest])
    spread = max(float(logits.std()), 1e-9)
    both = np.hstack([facts, logits[:, None] / spread])
    second = LogisticRegression(C=regularisation, max_iter=3000).fit(both, lesson.target, sample_weight=lesson.weights)
    return float(second.coef_[0, -1]) / spread, second.coef_[0, :-1], float(second.intercept_[0])


def _topic_idf(dataset: Dataset) -> NDArray[np.float32]:
    """How rare stems are in the posts and comments of the training blogs, each text counted once."""
    texts: dict[tuple[str, str | None], None] = {}
    for row in dataset.train:
        if row.labels.get("off_topic") == 0 and row.comment.post is not None:
            texts[row.comment.text, row.comment.lang] = None
            texts[f"{row.comment.post.title or ''}\n{row.comment.post.text or ''}", row.comment.lang] = None
    return learn_idf(texts)


def _moments(train: Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the dense features; of topic features, over the rows that have any."""
    dense = train.features.dense.astype(np.float64)
    related = dense[:, DENSE.index("has_topic")] > 0
    mean, deviation = dense.mean(axis=0), dense.std(axis=0)
    first = len(signals.NAMES) + 1
    mean[first:], deviation[first:] = dense[related, first:].mean(axis=0), dense[related, first:].std(axis=0)
    # A feature that hardly varies in training must not become huge when it does vary.
    return mean.astype(np.float32), np.maximum(deviation, 0.05).astype(np.float32)
