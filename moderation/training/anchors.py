"""Rows as figures without text: what refitting and judging need on a machine that has none of the public data sets.

A bundle ships three samples: rows like those its heads were fitted on, which labels are learned beside so that nothing
is forgotten; validation rows, on which a refitted model is calibrated and measured; and frozen rows, on which it is
held against the one that is published. Vectors are kept in 8 bits, one scale for each column; of a text only its
fingerprint is left, so that a label that is one of these rows is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import NDArray

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.encoder import WIDTH
from moderation.errors import DataError
from moderation.heads import Vectors, telling_windows
from moderation.model import DENSE, MARKS, Model
from moderation.readable import tell_english
from moderation.topic import VECTOR_NAMES
from moderation.training.adapters.reading import spread
from moderation.training.disguise import names_identity
from moderation.training.rows import Row, fingerprint
from moderation.training.slices import copy_genuine, sample
from moderation.training.table import Table, build_table, like_a_blog, read_table, take_vectors

PARTS = ("kept", "validation", "frozen")
# How many rows of each are shipped: under 15 MB together.
KEPT = 7_500
VALIDATION = 5_700
FROZEN_OF_A_SET = 250
SHORT_WORDS = 8
LONG_WORDS = 120
_UNKNOWN = -1
_QUOTED = re.compile(r"^\s*>|[\"“«][^\"”»]{12,}[\"”»]|<blockquote", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the heads of the full tier see of some rows, and what is known of them.

    ``lexical`` are logits of lexical heads that have not learned from the rows, shape (rows, heads); ``dense`` (rows,
    features); ``labels`` (rows, categories), NaN where unknown; ``weights``, ``sources`` and ``prints`` (rows,), the
    last being the fingerprints of the texts; ``slices`` has a tuple for each row.
    """

    vectors: Vectors
    dense: NDArray[np.float32]
    lexical: NDArray[np.float64]
    labels: NDArray[np.float64]
    weights: NDArray[np.float64]
    sources: NDArray[np.str_]
    slices: Sequence[tuple[str, ...]]
    prints: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def known(self, code: str) -> NDArray[np.bool_]:
        """Which rows have a label of the category that a head may learn from, shape (rows,)."""
        known: NDArray[np.bool_] = ~np.isnan(self.labels[:, CODES.index(code)])
        if code in MAY_ABSTAIN:
            known &= self.dense[:, DENSE.index("has_topic")] > 0
        return known

    def in_slice(self, name: str) -> NDArray[np.bool_]:
        """Which rows are in the slice, shape (rows,)."""
        return np.array([name in slices for slices in self.slices], dtype=bool)

    def take(self, index: NDArray[np.int64]) -> Figures:
        """The rows at ``index``."""
        return Figures(
            take_vectors(self.vectors, index),
            self.dense[index],
            self.lexical[index],
            self.labels[index],
            self.weights[index],
            self.sources[index],
            [self.slices[row] for row in index.tolist()],
            self.prints[index],
        )


@dataclass(frozen=True, slots=True)
class Anchors:
    """The three samples of a bundle."""

    kept: Figures
    validation: Figures
    frozen: Figures


def read_figures(table: Table, vectors: Vectors, lexical: NDArray[np.float64]) -> Figures:
    """The figures of a table's rows."""
    return Figures(
        vectors,
        table.features.dense,
        lexical,
        table.labels,
        table.weights,
        table.sources,
        [row.slices for row in table.rows],
        np.array([fingerprint(row.comment.text) for row in table.rows], dtype=np.str_),
    )


def gather_anchors(
    kept: Figures,
    validation: Figures,
    frozen: Mapping[str, Sequence[Row]],
    model: Model,
    *,
    memory: Memory | None = None,
    jobs: int = 1,
) -> Anchors:
    """Samples of the rows that a model was fitted, calibrated and measured on; ``model`` needs its full tier.

    Of the frozen sets each gives as many rows as another, so that a small one has a say.
    """
    assert model.full is not None
    blogs = like_a_blog(validation)
    rows = list(_frozen_rows(frozen))
    table = build_table(rows, model.topic, memory, jobs)
    return Anchors(
        _telling_alone(kept.take(_draw(kept.prints, np.arange(len(kept)), KEPT))),
        validation.take(_draw(validation.prints, np.flatnonzero(blogs), VALIDATION)),
        read_figures(table, read_table(table, model.full.encoder, memory), model.heads.logits(table.features)),
    )


def _telling_alone(figures: Figures) -> Figures:
    """The rows with the one window that heads are fitted on; the others would be as large again."""
    vectors = figures.vectors
    telling = telling_windows(vectors)
    return replace(figures, vectors=replace(vectors, windows=vectors.windows[telling], owners=vectors.owners[telling]))


def _draw(prints: NDArray[np.str_], index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """``count`` of the rows at ``index``, drawn by hash: the same rows give the same sample. Ascending."""
    order = sorted(index.tolist(), key=lambda row: (spread(f"anchor {prints[row]}"), row))
    return np.array(sorted(order[:count]), dtype=np.int64)


def _frozen_rows(frozen: Mapping[str, Sequence[Row]]) -> Iterator[Row]:
    """A sample of each set, and genuine comments copied with a link; slices say what else is known of each row."""
    for name, rows in frozen.items():
        labelled = [row for row in rows if row.labels]
        copied = copy_genuine(labelled) if name == "spam-blogs" else []
        for row in [*sample(labelled, FROZEN_OF_A_SET), *sample(copied, FROZEN_OF_A_SET // 2)]:
            slices = {f"set:{name}", *row.slices, *_say_of_text(row.comment.text, row.slices)}
            if row.id.endswith("#copied"):
                slices.add("copied-spam")
            yield replace(row, slices=tuple(sorted(slices)))


def _say_of_text(text: str, slices: Sequence[str]) -> Iterator[str]:
    words = len(text.split())
    if words < SHORT_WORDS:
        yield "short"
    if words > LONG_WORDS:
        yield "long"
    if names_identity(text):
        yield "identity-mention"
    if _QUOTED.search(text):
        yield "quoted"
    if tell_english(text) < 0.5:
        yield "non-english"
    if "perturbed" in slices:
        yield "obfuscated"


def pack(anchors: Anchors) -> dict[str, NDArray[Any]]:
    """Plain arrays, small enough to ship: see :func:`unpack`."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in PARTS:
        arrays |= {f"{part}.{name}": array for name, array in _pack_figures(getattr(anchors, part)).items()}
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]]) -> Anchors:
    """What :func:`pack` has made, a little coarser than it was. Raises ``DataError`` where something does not fit."""
    try:
        return Anchors(*(_unpack_figures({n: arrays[f"{part}.{n}"] for n in _NAMES}) for part in PARTS))
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise DataError(f"the anchors are not what they should be: {error}") from error


_NAMES = (
    *("windows", "window_scale", "marks", "counts", "foreign", "related", "signed", "signatures", "signature_scale"),
    *("dense", "lexical", "labels", "weights", "sources", "slices", "prints", "names"),
)


def _pack_figures(figures: Figures) -> dict[str, NDArray[Any]]:
    vectors = figures.vectors
    windows, window_scale = _to_bytes(vectors.windows[:, :WIDTH])
    signed = np.flatnonzero(vectors.signatures[:, WIDTH] > 0)
    signatures, signature_scale = _to_bytes(vectors.signatures[signed, :WIDTH])
    sources, slices = sorted(set(figures.sources.tolist())), sorted({name for one in figures.slices for name in one})
    return {
        "windows": windows,
        "window_scale": window_scale,
        "marks": vectors.windows[:, WIDTH:].astype(np.float16),
        "counts": np.bincount(vectors.owners, minlength=len(figures)).astype(np.uint16),
        "foreign": vectors.foreign.astype(np.float16),
        "related": vectors.related.astype(np.float16),
        "signed": signed.astype(np.int32),
        "signatures": signatures,
        "signature_scale": signature_scale,
        "dense": figures.dense.astype(np.float16),
        "lexical": figures.lexical.astype(np.float16),
        "labels": np.where(np.isnan(figures.labels), _UNKNOWN, figures.labels).astype(np.int8),
        "weights": figures.weights.astype(np.float32),
        "sources": np.array([sources.index(name) for name in figures.sources.tolist()], np.uint8),
        "slices": np.packbits([[name in one for name in slices] for one in figures.slices], axis=1)
        if slices
        else np.zeros((len(figures), 0), np.uint8),
        "prints": np.array([int(value, 16) for value in figures.prints.tolist()], np.uint64),
        "names": np.frombuffer(json.dumps({"sources": sources, "slices": slices}).encode(), np.uint8),
    }


def _unpack_figures(arrays: Mapping[str, NDArray[Any]]) -> Figures:
    names = json.loads(arrays["names"].tobytes())
    rows = len(arrays["labels"])
    windows = _from_bytes(arrays["windows"], arrays["window_scale"])
    signatures = np.zeros((rows, WIDTH + 1), np.float32)
    signatures[arrays["signed"], :WIDTH] = _from_bytes(arrays["signatures"], arrays["signature_scale"])
    signatures[arrays["signed"], WIDTH] = 1
    vectors = Vectors(
        np.hstack([windows, arrays["marks"].astype(np.float32)]),
        np.repeat(np.arange(rows), arrays["counts"]),
        arrays["foreign"].astype(np.float32),
        arrays["related"].astype(np.float32),
        signatures,
    )
    labels = arrays["labels"].astype(np.float64)
    labels[labels == _UNKNOWN] = np.nan
    has = np.unpackbits(arrays["slices"], axis=1, count=len(names["slices"])).astype(bool)
    figures = Figures(
        vectors,
        arrays["dense"].astype(np.float32),
        arrays["lexical"].astype(np.float64),
        labels,
        arrays["weights"].astype(np.float64),
        np.array(names["sources"], dtype=np.str_)[arrays["sources"]],
        [tuple(name for name, is_in in zip(names["slices"], row, strict=True) if is_in) for row in has.tolist()],
        np.array([f"{value:016x}" for value in arrays["prints"].tolist()], dtype=np.str_),
    )
    shapes = {
        "windows": (vectors.windows.shape[1], WIDTH + len(MARKS)),
        "dense": (figures.dense.shape[1], len(DENSE)),
        "related": (vectors.related.shape[1], len(VECTOR_NAMES)),
        "lexical": (figures.lexical.shape[1], len(CODES)),
        "labels": (labels.shape[1], len(CODES)),
    }
    for name, (found, wanted) in shapes.items():
        if found != wanted:
            raise ValueError(f"{name} has {found} columns instead of {wanted}")
    if len(vectors.owners) != len(windows):
        raise ValueError(f"{len(windows)} windows belong to {len(vectors.owners)}")
    if not arrays["counts"].all():
        raise ValueError("some rows have no window")
    counts = {
        "counts": len(arrays["counts"]),
        **{name: len(getattr(vectors, name)) for name in ("foreign", "related")},
        **{
            name: len(getattr(figures, name)) for name in ("dense", "lexical", "weights", "sources", "slices", "prints")
        },
    }
    for name, found in counts.items():
        if found != rows:
            raise ValueError(f"{name} has {found} rows instead of {rows}")
    return figures


def _to_bytes(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Each column in steps of a 127th of its largest value; the steps, shape (columns,)."""
    largest = np.abs(values).max(axis=0, initial=1e-6)
    scale = (largest / 127).astype(np.float32)
    return np.round(values / scale).astype(np.int8), scale


def _from_bytes(values: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = values.astype(np.float32) * scale
    return result
