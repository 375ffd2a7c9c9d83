"""Rows to a fitted, calibrated model, and the operating points it has. Same rows, same seed, same bytes.

Each head is a logistic regression (liblinear) over the n-grams and dense features that :data:`RECIPES` allows it,
fitted on the training rows whose label of that category is known. Sources mean different things by the same label, so
most heads also get an intercept per source while they are fitted, which is dropped afterwards: the words need not
explain how a source was sampled. Platt's sigmoid is then fitted on validation rows, which the head has not seen; the
operating points are measured on those too. What is measured is what is shipped: nothing is fitted again on all rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Memory, Parallel, delayed
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import beta
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from moderation import model, normalise, signals, topic
from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import Comment
from moderation.errors import DataError
from moderation.heads import FIELDS, Features, FieldWeights, Heads
from moderation.model import DENSE, Model, extract
from moderation.topic import TopicModel, learn_idf
from moderation.training.dataset import Dataset
from moderation.training.rows import Row
from moderation.training.vectorizer import LexicalVectorizer

MANNERS = ("capitals", "exclamations", "disguised", "stretched")
UNEVEN = ("author_", "has_parent", "has_thread", "parent_", "thread_", "trackback", "honeypot")
TOPIC = ("has_topic", *topic.NAMES)
# Operating points tell how many *good comments of a blog* a line touches, so they are measured where such comments
# are: blogs, forums and talk pages, not collections of hate in which the harmless rows were chosen to be hard. Nor
# toxic-spans, whose raters disagree on most comments: good comments are not so doubtful.
LIKE_A_BLOG = frozenset({"blog-threads", "blog-pr-moderation", "kaggle-insults", "jigsaw-predibase", "jigsaw-fastbert"})
NEAR_A_BLOG = LIKE_A_BLOG | {"jigsaw-furkancaglayan", "toxic-spans", "ruddit", "seed"}
_CHUNK = 4_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one head sees, what it learns from, and how strongly it is held back.

    ``regularisation`` is ``C`` of scikit-learn's LogisticRegression. ``elsewhere`` is what the rows of sources that are
    neither like a blog nor ours weigh, compared to those that are. ``by_source`` gives each source an intercept.
    """

    fields: tuple[str, ...]
    dense: tuple[str, ...]
    dense_scale: float
    regularisation: float
    elsewhere: float = 1.0
    by_source: bool = True


_PART_OF_HOSTILE = Recipe(("text",), MANNERS, 0.1, 1.0)
RECIPES: Mapping[str, Recipe] = {
    # Collections of hate mean something else by hostile than the readers of a blog do; they help with words, in small
    # measure.
    "hostile": replace(_PART_OF_HOSTILE, elsewhere=0.3),
    # The author's name and URL are read as words, but that they were given at all is not used: which blogs ask for
    # them differs more than who gives them. Sources are nearly all spam or all ham, so an intercept for each would
    # explain everything away, and so would what only some of them know.
    "spam": Recipe(FIELDS, tuple(name for name in DENSE if not name.startswith(UNEVEN)), 0.1, 30.0, by_source=False),
    "off_topic": Recipe((), TOPIC, 1.0, 0.1, by_source=False),
    "insult": _PART_OF_HOSTILE,
    "threat": _PART_OF_HOSTILE,
    "identity_attack": _PART_OF_HOSTILE,
    "profanity": _PART_OF_HOSTILE,
    "severe": _PART_OF_HOSTILE,
}

VECTORIZERS: Mapping[str, LexicalVectorizer] = {
    "text": LexicalVectorizer(bits=18, char_min=2, char_max=5, word_max=2),
    "author_name": LexicalVectorizer(bits=14, char_min=2, char_max=4, word_max=1, salt=1),
    "author_url": LexicalVectorizer(bits=14, char_min=3, char_max=5, word_max=0, salt=2),
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with the thresholds it can be used at, in the form of ``operating_points.json``."""

    model: Model
    operating_points: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows with everything a head may be fitted on. ``labels`` is NaN where unknown, shape (rows, categories)."""

    rows: Sequence[Row]
    features: Features
    labels: NDArray[np.float64]
    weights: NDArray[np.float64]

    def known(self, code: str) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = ~np.isnan(self.labels[:, CODES.index(code)])
        if code in MAY_ABSTAIN:
            known &= self.features.dense[:, DENSE.index("has_topic")] > 0
        return known


def fit_model(
    dataset: Dataset, *, memory: Memory | None = None, jobs: int = 1, progress: Progress = lambda _: None
) -> Fitted:
    """Fit, calibrate and measure every head. Raises ``DataError`` when a category lacks rows of either label."""
    progress("learning how rare words are")
    topic_model = TopicModel(_topic_idf(dataset))
    progress("reading features of the training rows")
    train = _table(vary(dataset.train), topic_model, memory, jobs)
    progress("reading features of the validation rows")
    validation = _table(dataset.validation, topic_model, memory, jobs)

    vectorizers = {name: clone(vectorizer) for name, vectorizer in VECTORIZERS.items()}
    matrices = {}
    for name in FIELDS:
        progress(f"counting n-grams of {name}")
        matrices[name] = vectorizers[name].fit_transform(train.features.fields[name])
    mean, scale = _moments(train)
    blank = Heads(CODES, {}, mean, scale, np.zeros((len(DENSE), 0)), np.zeros(0), np.zeros((0, 2)))  # type: ignore[arg-type]  # only its moments are used
    dense = blank.standardise(train.features.dense)

    progress("fitting the heads")
    fitted = Parallel(n_jobs=jobs, prefer="threads")(delayed(_fit_head)(code, train, matrices, dense) for code in CODES)
    coefficients = dict(zip(CODES, fitted, strict=True))
    heads = Heads(
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
    progress("calibrating")
    logits = heads.logits(validation.features)
    heads = replace(heads, calibration=np.array([_calibrate(code, validation, logits) for code in CODES]))
    probabilities = heads.calibrate(logits)
    points = {code: _operating_points(code, validation, probabilities) for code in CODES}
    return Fitted(Model(heads, topic_model), {"format": 1, "tiers": {"lexical": points}})


def vary(rows: Sequence[Row]) -> list[Row]:
    """Three rows of a third of the weight for each row with a spam label, lacking what a platform may not send.

    The second has no author, the third no post either, so that the absence of either says nothing. None has a thread,
    which only sources of approved comments know. They carry the spam label alone; other labels stay with a row as it
    was. A spam campaign of ``n`` rows weighs as much as the root of ``n`` single ones: it says the same n times.
    """
    campaigns = Counter(row.extra["cluster"] for row in rows if row.labels.get("spam") == 1 and "cluster" in row.extra)
    varied: list[Row] = []
    for row in rows:
        others = {code: label for code, label in row.labels.items() if code != "spam"}
        if others:
            varied.append(replace(row, labels=others))
        if "spam" in row.labels:
            alone = replace(row.comment, parent=None, thread=None)
            bare = replace(alone, author=None)
            comments = (alone, bare, replace(bare, post=None))
            label = row.labels["spam"]
            repeats = campaigns[row.extra.get("cluster", "")] if label else 0
            weight = row.weight / len(comments) / max(repeats, 1) ** 0.5
            varied += [
                replace(row, id=f"{row.id}~{number}", comment=comment, labels={"spam": label}, weight=weight)
                for number, comment in enumerate(comments)
            ]
    return varied


@dataclass(frozen=True, slots=True)
class _Coefficients:
    """One fitted head: weights per field (columns,), dense weights (features,), and the mean intercept of sources."""

    fields: Mapping[str, NDArray[np.float64]]
    dense: NDArray[np.float64]
    intercept: float


def _fit_head(
    code: str, train: _Table, matrices: Mapping[str, sparse.csr_matrix], dense: NDArray[np.float32]
) -> _Coefficients:
    recipe = RECIPES[code]
    index = np.flatnonzero(train.known(code))
    target = train.labels[index, CODES.index(code)]
    if len(np.unique(target)) < 2:
        raise DataError(f"no head for {code}: the training rows do not hold both labels; a source of them is missing")
    columns = [DENSE.index(name) for name in recipe.dense]
    sources = np.array([train.rows[row].source for row in index.tolist()])
    weights = train.weights[index] * np.where(np.isin(sources, list(NEAR_A_BLOG)), 1, recipe.elsewhere)
    names, numbers = np.unique(sources, return_inverse=True)
    ones = np.full(len(index), float(recipe.by_source))
    intercepts = sparse.csr_matrix((ones, (np.arange(len(index)), numbers)), shape=(len(index), len(names)))
    blocks = [matrices[name][index] for name in recipe.fields]
    blocks += [sparse.csr_matrix(dense[index][:, columns] * recipe.dense_scale), intercepts]
    head = LogisticRegression(C=recipe.regularisation, solver="liblinear", random_state=0, max_iter=1000)
    head.fit(sparse.hstack(blocks, format="csr"), target, sample_weight=weights / weights.mean())
    parts = np.split(head.coef_[0], np.cumsum([block.shape[1] for block in blocks])[:-1])
    by_field = dict(zip(recipe.fields, parts, strict=False))
    dense_weights = np.zeros(len(DENSE))
    dense_weights[columns] = parts[-2] * recipe.dense_scale
    return _Coefficients(
        {name: by_field.get(name, np.zeros(1 << VECTORIZERS[name].bits)) for name in FIELDS},
        dense_weights,
        float(head.intercept_[0] + np.average(parts[-1][numbers] * ones, weights=weights)),
    )


def _calibrate(code: str, validation: _Table, logits: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of Platt's sigmoid for one head."""
    index = np.flatnonzero(validation.known(code) & _like_a_blog(validation))
    target = validation.labels[index, CODES.index(code)]
    if len(np.unique(target)) < 2:
        raise DataError(f"cannot calibrate {code}: the validation rows do not hold both labels; a source is missing")
    sigmoid = LogisticRegression(C=1e4).fit(logits[index, CODES.index(code)][:, None], target)
    return float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])


def _operating_points(code: str, validation: _Table, probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Thresholds with the shares of bad and good validation rows at or above each, ascending."""
    index = np.flatnonzero(validation.known(code) & _like_a_blog(validation))
    scores = np.round(probabilities[index, CODES.index(code)], 6)
    positive = validation.labels[index, CODES.index(code)] == 1
    bad, good = np.sort(scores[positive]), np.sort(scores[~positive])
    # Dense where the lines of policies lie: among the highest scores of good rows.
    shares = np.concatenate([np.linspace(0, 0.9, 40), 1 - np.geomspace(0.1, 1e-4, 80)])
    thresholds = np.unique(np.concatenate([np.quantile(good, shares), np.quantile(bad, np.linspace(0, 1, 80))]))
    thresholds = np.unique(np.ceil(thresholds * 1e6) / 1e6)
    points = []
    for threshold in thresholds:
        wrong = len(good) - int(np.searchsorted(good, threshold))
        found = len(bad) - int(np.searchsorted(bad, threshold))
        points.append(
            {
                "threshold": round(float(threshold), 6),
                "recall": round(found / len(bad), 5),
                "false_positive_rate": round(wrong / len(good), 6),
                "false_positive_rate_upper": round(clopper_pearson_upper(wrong, len(good)), 6),
            }
        )
    return {"positives": len(bad), "negatives": len(good), "points": points}


def clopper_pearson_upper(events: int, trials: int, level: float = 0.95) -> float:
    """The one-sided upper bound of a share (Clopper and Pearson 1934)."""
    return 1.0 if events >= trials else float(beta.ppf(level, events + 1, trials - events))


def _like_a_blog(table: _Table) -> NDArray[np.bool_]:
    return np.array([row.source in LIKE_A_BLOG for row in table.rows])


def _topic_idf(dataset: Dataset) -> NDArray[np.float32]:
    """How rare stems are in the posts and comments of the training blogs, each text counted once."""
    texts: dict[tuple[str, str | None], None] = {}
    for row in dataset.train:
        if row.labels.get("off_topic") == 0 and row.comment.post is not None:
            texts[row.comment.text, row.comment.lang] = None
            texts[f"{row.comment.post.title or ''}\n{row.comment.post.text or ''}", row.comment.lang] = None
    return learn_idf(texts)


def _table(rows: Sequence[Row], topic_model: TopicModel, memory: Memory | None, jobs: int) -> _Table:
    labels = np.array([[row.labels.get(code, np.nan) for code in CODES] for row in rows], float)
    features = _extract([row.comment for row in rows], topic_model.idf, memory, jobs)
    return _Table(rows, features, labels, np.array([row.weight for row in rows]))


def _extract(comments: Sequence[Comment], idf: NDArray[np.float32], memory: Memory | None, jobs: int) -> Features:
    """:func:`moderation.model.extract` in several processes; what was read before comes from the cache."""
    read = memory.cache(_extract_chunk, ignore=["comments", "idf"], verbose=0) if memory else _extract_chunk
    chunks = [comments[start : start + _CHUNK] for start in range(0, len(comments), _CHUNK)]
    # Digests are hashed much quicker than comments. Features depend on the code that makes them, too.
    code = hashlib.sha256(idf.tobytes())
    for module in (model, normalise, signals, topic):
        code.update(Path(module.__file__ or "").read_bytes())
    keys = [
        [code.hexdigest(), *(f"{item.digest()} {sorted(item.hints.items())}" for item in chunk)] for chunk in chunks
    ]
    parts = Parallel(n_jobs=jobs)(delayed(read)(key, chunk, idf) for key, chunk in zip(keys, chunks, strict=True))
    return Features(
        {name: [text for part in parts for text in part.fields[name]] for name in FIELDS},
        np.concatenate([part.dense for part in parts]),
    )


def _extract_chunk(key: Sequence[str], comments: Sequence[Comment], idf: NDArray[np.float32]) -> Features:  # noqa: ARG001 - what the cache looks up
    return extract(comments, TopicModel(idf))


def _moments(train: _Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of the dense features; of topic features, over the rows that have any."""
    dense = train.features.dense.astype(np.float64)
    related = dense[:, DENSE.index("has_topic")] > 0
    mean, deviation = dense.mean(axis=0), dense.std(axis=0)
    first = len(signals.NAMES) + 1
    mean[first:], deviation[first:] = dense[related, first:].mean(axis=0), dense[related, first:].std(axis=0)
    # A feature that hardly varies in training must not become huge when it does vary.
    return mean.astype(np.float32), np.maximum(deviation, 0.05).astype(np.float32)
