"""Rows as tables of what heads are fitted on: features, vectors, labels and weights.

Reading features takes longer than fitting on them, so what was read before comes from a cache when there is one. Its
keys are digests of the comments and of the code that reads them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from joblib import Memory, Parallel, delayed
from numpy.typing import NDArray

from moderation import encoder as encoder_module
from moderation import model, normalise, readable, signals, topic
from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import Comment
from moderation.encoder import Encoder
from moderation.errors import DataError
from moderation.heads import FIELDS, Features, Vectors
from moderation.model import DENSE, extract, read_vectors
from moderation.topic import TopicModel
from moderation.training.adapters.reading import spread
from moderation.training.rows import Row

# Operating points tell how many *good comments of a blog* a line touches, so they are measured where such comments
# are: blogs, forums and talk pages, not collections of hate in which the harmless rows were chosen to be hard. Nor
# toxic-spans, whose raters disagree on most comments: good comments are not so doubtful.
# Each kind of place counts the same, however many rows there are of it.
PLACES: Mapping[str, str] = {
    "blog-threads": "blogs",
    "blog-pr-moderation": "blogs",
    "jigsaw-predibase": "talk pages",
    "jigsaw-fastbert": "talk pages",
    "kaggle-insults": "forums",
}
LIKE_A_BLOG = frozenset(PLACES)
# Labels in a narrower sense than the category's: kaggle-insults asked for insults at somebody who takes part, and calls
# harmless whatever is said of anybody else.
NARROWER = frozenset({("kaggle-insults", "hostile")})
NEAR_A_BLOG = LIKE_A_BLOG | {"jigsaw-furkancaglayan", "toxic-spans", "ruddit", "seed", "templates"}
# People talking to people, with no post of ours: that a comment has none, or is long, must not make it spam.
TALK = frozenset({"jigsaw-predibase", "jigsaw-fastbert", "toxic-spans", "ruddit", "goemotions", "kaggle-insults"})
TALK_SHARE = 0.2
# The source and the slice of our own rows in other languages than English, of which few other sets are.
OURS, LANGUAGES = "seed", "languages"
MANNERS = ("capitals", "exclamations", "disguised", "stretched")
# Beginnings of features that only some sources know of a comment: they would tell its source, and with it the label.
UNEVEN = ("author_", "has_parent", "has_thread", "parent_", "thread_", "trackback", "honeypot")
TALK_WEIGHT = 0.5
_CHUNK = 4_000
_VECTORS_CHUNK = 500


class Labelled(Protocol):
    """What calibration and operating points are measured on: rows of which only figures need to be there.

    ``labels`` is NaN where unknown, shape (rows, categories); ``sources`` (rows,) names the source of each.
    """

    @property
    def labels(self) -> NDArray[np.float64]: ...  # noqa: D102 - see the class

    @property
    def sources(self) -> NDArray[np.str_]: ...  # noqa: D102 - see the class

    def known(self, code: str) -> NDArray[np.bool_]:
        """Which rows have a label of the category that a head may learn from, shape (rows,)."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with everything a head may be fitted on. ``labels`` is NaN where unknown, shape (rows, categories)."""

    rows: Sequence[Row]
    features: Features
    labels: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def sources(self) -> NDArray[np.str_]:
        """The source of each row, shape (rows,)."""
        return np.array([row.source for row in self.rows], dtype=np.str_)

    def known(self, code: str) -> NDArray[np.bool_]:
        """Which rows have a label of the category that a head may learn from, shape (rows,)."""
        known: NDArray[np.bool_] = ~np.isnan(self.labels[:, CODES.index(code)])
        if code in MAY_ABSTAIN:
            known &= self.features.dense[:, DENSE.index("has_topic")] > 0
        return known

    def take(self, index: NDArray[np.int64]) -> Table:
        """The table of the rows at ``index``."""
        return Table(
            [self.rows[number] for number in index.tolist()],
            Features(
                {name: [texts[number] for number in index.tolist()] for name, texts in self.features.fields.items()},
                self.features.dense[index],
            ),
            self.labels[index],
            self.weights[index],
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """The rows that one head learns from.

    Shapes, all (rows,): ``index`` into the table, ``target`` 0 or 1, ``weights`` with mean one, ``sources`` the number
    of each row's source, from 0 to ``source_count`` - 1.
    """

    index: NDArray[np.int64]
    target: NDArray[np.float64]
    weights: NDArray[np.float64]
    sources: NDArray[np.int64]
    source_count: int


def choose_lesson(
    table: Table, code: str, elsewhere: float, ours: float = 1.0, shares: Mapping[str, float] = MappingProxyType({})
) -> Lesson:
    """The rows whose label of the category is known; those not near a blog (nor ours) weigh ``elsewhere``.

    Our own rows in English weigh ``ours``. Rows of some slices weigh a share; where that is nought they are left out.
    Raises ``DataError`` where the rest do not hold both labels.
    """
    index = np.flatnonzero(table.known(code))
    share = np.array([_share(table.rows[row], ours, shares) for row in index.tolist()])
    index, share = index[share > 0], share[share > 0]
    target = table.labels[index, CODES.index(code)]
    if len(np.unique(target)) < 2:
        raise DataError(f"no head for {code}: the training rows do not hold both labels; a source of them is missing")
    sources = table.sources[index]
    weights = table.weights[index] * share * np.where(np.isin(sources, list(NEAR_A_BLOG)), 1, elsewhere)
    names, numbers = np.unique(sources, return_inverse=True)
    return Lesson(index, target, weights / weights.mean(), numbers, len(names))


def _share(row: Row, ours: float, shares: Mapping[str, float]) -> float:
    of_slice = min((shares.get(name, 1.0) for name in row.slices), default=1.0)
    return of_slice * (ours if row.source == OURS and LANGUAGES not in row.slices else 1.0)


def build_table(rows: Sequence[Row], topic_model: TopicModel, memory: Memory | None, jobs: int) -> Table:
    """The features of the rows, read in ``jobs`` processes."""
    labels = np.array([[row.labels.get(code, np.nan) for code in CODES] for row in rows], float)
    features = _extract([row.comment for row in rows], topic_model.idf, memory, jobs)
    return Table(rows, features, labels, np.array([row.weight for row in rows]))


def read_table(table: Table, encoder: Encoder, memory: Memory | None) -> Vectors:
    """What the encoder makes of the rows; it reads several side by side itself."""
    read = memory.cache(_read_chunk, ignore=["comments", "encoder"], verbose=0) if memory else _read_chunk
    code = hashlib.sha256(encoder.digest.encode())
    for module in (model, normalise, readable, encoder_module, topic):
        code.update(Path(module.__file__ or "").read_bytes())
    # The encoder does not see the author, so rows that differ in nothing else are read once.
    places: dict[Comment, int] = {}
    which = np.array([places.setdefault(replace(row.comment, author=None), len(places)) for row in table.rows])
    comments = list(places)
    parts, owners, before = [], [], 0
    for start in range(0, len(comments), _VECTORS_CHUNK):
        chunk = comments[start : start + _VECTORS_CHUNK]
        part = read([code.hexdigest(), *(comment.digest() for comment in chunk)], chunk, encoder)
        parts.append(part)
        owners.append(part.owners + before)
        before += len(chunk)
    read_all = Vectors(
        np.concatenate([part.windows for part in parts]),
        np.concatenate(owners),
        np.concatenate([part.foreign for part in parts]),
        np.concatenate([part.related for part in parts]),
        np.concatenate([part.signatures for part in parts]),
    )
    signatures = _read_signatures([row.comment for row in table.rows], encoder, code.hexdigest(), memory)
    return replace(take_vectors(read_all, which), signatures=signatures)


def _read_signatures(
    comments: Sequence[Comment], encoder: Encoder, code: str, memory: Memory | None
) -> NDArray[np.float32]:
    """``Vectors.signatures`` of the comments with their authors; each line is read once."""
    lines = [readable.read_signature(comment) for comment in comments]
    places = {line: number for number, line in enumerate(dict.fromkeys(line for line in lines if line), start=1)}
    read = memory.cache(_read_lines, ignore=["encoder"], verbose=0) if memory else _read_lines
    vectors = np.zeros((len(places) + 1, encoder_module.WIDTH + 1), np.float32)  # the first is of those without a line
    if places:
        vectors[1:, :-1], vectors[1:, -1] = read(code, list(places), encoder), 1
    result: NDArray[np.float32] = vectors[[places.get(line, 0) for line in lines]]
    return result


def take_vectors(vectors: Vectors, index: NDArray[np.int64]) -> Vectors:
    """The vectors of the comments at ``index``, which may name one several times."""
    counts = np.bincount(vectors.owners)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    taken = counts[index]
    begins = np.cumsum(taken) - taken
    windows = np.arange(taken.sum()) - np.repeat(begins, taken) + np.repeat(first[index], taken)
    owners = np.repeat(np.arange(len(index)), taken)
    return Vectors(
        vectors.windows[windows], owners, vectors.foreign[index], vectors.related[index], vectors.signatures[index]
    )


def with_talk(rows: Sequence[Row]) -> list[Row]:
    """The rows, and a sample of people's talk (:data:`TALK`) once more as comments that are no spam."""
    talk = [
        replace(row, id=f"{row.id}~talk", labels={"spam": 0}, weight=row.weight * TALK_WEIGHT)
        for row in rows
        if row.source in TALK and "spam" not in row.labels and spread(f"talk {row.id}") < TALK_SHARE
    ]
    return [*rows, *talk]


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
            comments: tuple[Comment, ...] = (alone, bare, replace(bare, post=None))
            if row.extra.get("copy") == "author":
                comments = (alone,)  # without its author it would be a genuine comment again
            label = row.labels["spam"]
            repeats = campaigns[row.extra.get("cluster", "")] if label else 0
            weight = row.weight / len(comments) / max(repeats, 1) ** 0.5
            varied += [
                replace(row, id=f"{row.id}~{number}", comment=comment, labels={"spam": label}, weight=weight)
                for number, comment in enumerate(comments)
            ]
    return varied


def like_a_blog(table: Labelled) -> NDArray[np.bool_]:
    """Which rows are such as a blog gets, shape (rows,)."""
    return np.isin(table.sources, list(LIKE_A_BLOG))


def tells_good(table: Labelled, code: str) -> NDArray[np.bool_]:
    """Which of those are good comments indeed where the label of the category is 0, shape (rows,)."""
    narrower = [source for source, category in NARROWER if category == code]
    return like_a_blog(table) & ~np.isin(table.sources, narrower)


def _extract(comments: Sequence[Comment], idf: NDArray[np.float32], memory: Memory | None, jobs: int) -> Features:
    """:func:`moderation.model.extract` in several processes; what was read before comes from the cache."""
    read = memory.cache(_extract_chunk, ignore=["comments", "idf"], verbose=0) if memory else _extract_chunk
    chunks = [comments[start : start + _CHUNK] for start in range(0, len(comments), _CHUNK)]
    # Digests are hashed much quicker than comments. Features depend on the code that makes them, too.
    code = hashlib.sha256(idf.tobytes())
    for module in (model, normalise, signals, topic):
        code.update(Path(module.__file__ or "").read_bytes())
    keys = [
        [code.hexdigest(), *(f"{item.digest()} {sorted(item.hints.items())} {_home(item)}" for item in chunk)]
        for chunk in chunks
    ]
    parts = Parallel(n_jobs=jobs)(delayed(read)(key, chunk, idf) for key, chunk in zip(keys, chunks, strict=True))
    return Features(
        {name: [text for part in parts for text in part.fields[name]] for name in FIELDS},
        np.concatenate([part.dense for part in parts]),
    )


def _home(comment: Comment) -> str:
    """The address that links are compared with, which the digest leaves out."""
    return f"{comment.post.url if comment.post else None} {comment.url}"


def _extract_chunk(key: Sequence[str], comments: Sequence[Comment], idf: NDArray[np.float32]) -> Features:  # noqa: ARG001 - what the cache looks up
    return extract(comments, TopicModel(idf))


def _read_chunk(key: Sequence[str], comments: Sequence[Comment], encoder: Encoder) -> Vectors:  # noqa: ARG001 - what the cache looks up
    return read_vectors(comments, encoder)


def _read_lines(key: str, lines: Sequence[str], encoder: Encoder) -> NDArray[np.float32]:  # noqa: ARG001 - what the cache looks up
    return encoder.class_vectors(lines)
