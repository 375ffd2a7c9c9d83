"""Labels to an :class:`moderation.adaptation.Adaptation`: small differences on top of heads that stay as they are.

Each category is a logistic regression whose offset is the logit of the heads that came with the bundle (what labels
have to explain is what those got wrong), held back towards nought (ridge, hence "residual"). That of all sites is
fitted on labels and on what the heads say of the bundle's anchors, so that what they knew is not forgotten; that of a
site on its own labels alone, beside the calibrated scores that it would have without them. The fewer the labels, the
less moves: without any, nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from moderation.adaptation import Residual
from moderation.arrays import WORDS
from moderation.categories import CODES
from moderation.encoder import WIDTH
from moderation.heads import FieldWeights, FullHeads, telling_windows
from moderation.lexical import count_ngrams, weigh
from moderation.model import CONTEXT, MARKS
from moderation.training.anchors import Figures
from moderation.training.fuse import FULL_RECIPES
from moderation.training.vectorizer import LexicalVectorizer


@dataclass(frozen=True, slots=True)
class Holding:
    """How strongly a residual is held back: ``C`` as scikit-learn has it (larger moves more), and how far each kind of
    column may move, 1 being a column of unit deviation. ``anchors`` is what all anchors together weigh, in labels.
    """  # noqa: D205 - one sentence

    regularisation: float
    windows: float
    context: float
    words: float
    intercept: float
    anchors: float = 0.0


EVERYWHERE = Holding(regularisation=0.02, windows=0.15, context=0.3, words=1.0, intercept=0.3, anchors=4_000)
NOTHING = Holding(regularisation=0.02, windows=0.0, context=0.0, words=0.0, intercept=0.0)
"""Holds a residual where it begins, at nought: for all sites together, where only single ones are to move."""

LEAST_SLOPE = 0.1
"""A calibration flatter than this is of a head that says next to nothing; its score would have to move without end."""

ONE_SITE = Holding(regularisation=0.08, windows=0.1, context=0.3, words=2.0, intercept=1.0)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled comments as figures, with their texts, the site of each, and who wrote them. Shapes: all (rows,).

    ``authors`` is ``None`` for one that is not known, and empty where nobody asks.
    """

    figures: Figures
    texts: Sequence[str]
    sites: Sequence[str | None]
    authors: Sequence[str | None] = ()


def fit_everywhere(
    heads: FullHeads,
    labelled: Labelled,
    anchors: Figures,
    *,
    holding: Holding = EVERYWHERE,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Residual:
    """The residual of all sites together."""
    figures = labelled.figures
    frame = Frame.of(anchors)
    progress(f"learning from {len(figures):,} labels beside {len(anchors):,} rows of before")
    return _fit(
        frame,
        (frame.columns(heads, figures), sparse.csr_matrix((len(figures), 1 << WORDS.bits), dtype=np.float32)),
        (base_logits(heads, figures), _knowing(figures), figures.weights),
        holding,
        beside=(frame.columns(heads, anchors), base_logits(heads, anchors), _knowing(anchors), anchors.weights),
        jobs=jobs,
    )


def fit_sites(
    heads: FullHeads,
    everywhere: Residual,
    labelled: Labelled,
    anchors: Figures,
    *,
    least: int = 30,
    holding: Holding = ONE_SITE,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Residual]:
    """The residual of every site with ``least`` labels and more, by its URL.

    ``heads`` are those that are served, with scores calibrated beside ``everywhere``: what a site's labels have to
    explain is what is wrong with the probabilities that it would be given without them.
    """
    figures = labelled.figures
    by_site: dict[str, list[int]] = {}
    for row, site in enumerate(labelled.sites):
        if site is not None:
            by_site.setdefault(site, []).append(row)
    frame, words, learned = Frame.of(anchors), _learn_words(labelled.texts), _knowing(figures)
    seen, slopes = frame.columns(heads, figures), calibration_slopes(heads, shared_logits(heads, everywhere, anchors))
    offsets = heads.log_odds(shared_logits(heads, everywhere, figures))
    sites: dict[str, Residual] = {}
    for site, rows in sorted(by_site.items()):
        if len(rows) < least:
            continue
        progress(f"learning what is different on {site}")
        texts = [labelled.texts[row] for row in rows]
        taught = (offsets[rows], learned[rows], figures.weights[rows])
        sites[site] = fit_site(frame, seen[rows], texts, taught, slopes=slopes, words=words, holding=holding, jobs=jobs)
    return sites


def calibration_slopes(heads: FullHeads, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many log odds of the calibrated score one unit of a raw score is, over comments with these raw scores.

    ``logits`` has shape (comments, heads), the result (heads,).
    """
    log_odds = heads.log_odds(logits)
    about = logits - logits.mean(axis=0)
    slopes: NDArray[np.float64] = (about * log_odds).sum(axis=0) / np.maximum((about**2).sum(axis=0), 1e-9)
    return np.maximum(slopes, LEAST_SLOPE)


def fit_site(
    frame: Frame,
    seen: NDArray[np.float32],
    texts: Sequence[str],
    taught: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    *,
    slopes: NDArray[np.float64],
    words: NDArray[np.float32] | None = None,
    holding: Holding = ONE_SITE,
    jobs: int = 1,
) -> Residual:
    """The residual of one site: from the columns that ``frame`` gives of its comments, their texts, and ``taught``.

    ``taught`` are the offsets, labels and weights, with offsets in log odds of calibrated scores. What is learned is
    fitted beside those, and then put into the raw scores that are served, of which one unit is ``slopes`` log odds.
    ``words`` says how rare n-grams are; without it, the texts do.
    """
    rarity = _learn_words(texts) if words is None else words
    own = FieldWeights(WORDS, rarity, np.zeros((0, 0), np.float16))
    return _fit(frame, (seen, count_words(texts, own)), taught, holding, words=rarity, slopes=slopes, jobs=jobs)


def _knowing(figures: Figures) -> NDArray[np.float64]:
    """Labels that may be learned from, NaN elsewhere, shape (rows, categories)."""
    return np.where(np.stack([figures.known(code) for code in CODES], axis=1), figures.labels, np.nan)


def base_logits(heads: FullHeads, figures: Figures) -> NDArray[np.float64]:
    """What the heads say without any adaptation, shape (rows, heads)."""
    return heads.logits(figures.vectors, figures.dense, figures.lexical)


def shared_logits(heads: FullHeads, everywhere: Residual, figures: Figures) -> NDArray[np.float64]:
    """What comments get on a site without labels of its own, shape (rows, heads); what all sites share has no words."""
    context = heads.context(figures.vectors, figures.dense, figures.lexical)
    shared = everywhere.logits(figures.vectors, context, (), np.arange(len(figures)))
    return base_logits(heads, figures) + shared


def count_words(texts: Sequence[str], field: FieldWeights) -> sparse.csr_matrix:
    """The n-grams that a residual learns, shape (rows, columns)."""
    ngrams = count_ngrams(texts, field.spec)
    shape = (len(texts), 1 << field.spec.bits)
    return sparse.csr_matrix((weigh(ngrams, field.idf), ngrams.indices, ngrams.indptr), shape=shape)


def _learn_words(texts: Sequence[str]) -> NDArray[np.float32]:
    idf: NDArray[np.float32] = LexicalVectorizer(**asdict(WORDS)).fit(texts).idf_
    return idf


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the columns of windows and signatures are and how far they spread, taken from the anchors.

    A residual is fitted on columns of deviation one about their mean and put back into those that are served.
    """

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    sign_centre: NDArray[np.float64]
    sign_spread: NDArray[np.float64]

    @classmethod
    def of(cls, anchors: Figures) -> Frame:
        """The frame of these anchors."""
        windows = anchors.vectors.windows[telling_windows(anchors.vectors)].astype(np.float64)
        english = np.maximum(windows[:, -1], 1e-9)
        centre = np.average(windows[:, :WIDTH] / english[:, None], axis=0, weights=english)
        spread = np.maximum((windows[:, :WIDTH] - windows[:, -1:] * centre).std(axis=0), 1e-3)
        signed = anchors.vectors.signatures[anchors.vectors.signatures[:, WIDTH] > 0, :WIDTH].astype(np.float64)
        if not len(signed):
            return cls(centre, spread, np.zeros(WIDTH), np.ones(WIDTH))
        return cls(centre, spread, signed.mean(axis=0), np.maximum(signed.std(axis=0), 1e-3))

    def columns(self, heads: FullHeads, figures: Figures) -> NDArray[np.float32]:
        """Windows, signatures and context, shape (rows, columns)."""
        vectors = figures.vectors
        windows = vectors.windows[telling_windows(vectors)]
        read = (windows[:, :WIDTH] - windows[:, -1:] * self.centre) / self.spread
        is_signed = vectors.signatures[:, WIDTH:] > 0
        signed = (vectors.signatures[:, :WIDTH] - self.sign_centre) / self.sign_spread * is_signed
        context = heads.context(vectors, figures.dense, figures.lexical)
        result: NDArray[np.float32] = np.hstack([read, signed, context]).astype(np.float32)
        return result

    def residual(self, weights: NDArray[np.float64], words: FieldWeights | None) -> Residual:
        """Weights of :meth:`columns` and, last, of the intercept, shape (columns + 1, heads), as they are served."""
        windows = weights[:WIDTH] / self.spread[:, None]
        signed = weights[WIDTH : 2 * WIDTH] / self.sign_spread[:, None]
        # What marks amount to is in the heads; labels do not move it.
        marks = np.zeros((len(MARKS) - 1, weights.shape[1]))
        return Residual(
            np.vstack([windows, marks, -self.centre @ windows]).astype(np.float32),
            np.vstack([signed, -self.sign_centre @ signed]).astype(np.float32),
            weights[2 * WIDTH : 2 * WIDTH + len(CONTEXT)].astype(np.float32),
            weights[-1],
            words,
        )


def _fit(
    frame: Frame,
    seen: tuple[NDArray[np.float32], sparse.csr_matrix],
    taught: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    holding: Holding,
    *,
    beside: tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None,
    words: NDArray[np.float32] | None = None,
    slopes: NDArray[np.float64] | float = 1.0,
    jobs: int = 1,
) -> Residual:
    """The residual of all categories. ``taught`` and the end of ``beside`` are offsets, labels and weights."""
    columns, ngrams = seen
    one = delayed(_fit_category)
    # Heads are fitted side by side; threads within a product of matrices would only wait for each other, and on a
    # machine that is busy serving for so long that a fit takes minutes.
    with threadpool_limits(limits=1, user_api="blas"):
        fitted = Parallel(n_jobs=jobs, prefer="threads")(
            one(code, columns, ngrams, *taught, holding, beside, has_words=words is not None) for code in CODES
        )
    weights = np.stack([dense for dense, _ in fitted], axis=1) / slopes
    field = None
    if words is not None:
        field = FieldWeights(WORDS, words, (np.stack([own for _, own in fitted], axis=1) / slopes).astype(np.float16))
    return frame.residual(weights, field)


def _fit_category(
    code: str,
    columns: NDArray[np.float32],
    ngrams: sparse.csr_matrix,
    offsets: NDArray[np.float64],
    labels: NDArray[np.float64],
    weights: NDArray[np.float64],
    holding: Holding,
    beside: tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None,
    *,
    has_words: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the dense columns and the intercept, then those of the words, of one category."""
    head = CODES.index(code)
    scale = _scales(code, holding)
    known = np.flatnonzero(~np.isnan(labels[:, head]))
    nothing = np.zeros(columns.shape[1] + 1), np.zeros(ngrams.shape[1])
    if not len(known):
        return nothing
    used = np.flatnonzero(scale > 0)
    dense = columns[known][:, used] * scale[used].astype(np.float32)
    offset, target, weight = offsets[known, head], labels[known, head], weights[known]
    if beside is not None:
        kept, kept_offsets, kept_labels, kept_weights = beside
        rows = np.flatnonzero(~np.isnan(kept_labels[:, head]))
        dense = np.vstack([dense, kept[rows][:, used] * scale[used].astype(np.float32)])
        offset = np.concatenate([offset, kept_offsets[rows, head]])
        # What the heads say of them, and not their labels, which the heads have learned from otherwise weighed: so
        # anchors hold, and do not pull, and without labels nothing moves (Li and Hoiem 2016).
        target = np.concatenate([target, expit(kept_offsets[rows, head])])
        own = kept_weights[rows] / max(kept_weights[rows].sum(), 1e-9) * min(holding.anchors, len(rows))
        weight = np.concatenate([weight, own])
    # What is beside the point stands elsewhere in the same words: a head that reads no windows learns no words either.
    has_words = has_words and FULL_RECIPES[code].windows > 0
    # A column that no comment has would stay where it begins, at nought.
    spoken = np.flatnonzero(np.bincount(ngrams[known].indices, minlength=ngrams.shape[1])) if has_words else known[:0]
    own_words = ngrams[known][:, spoken] * holding.words if has_words else None
    found = fit_residual(
        dense, own_words, offset, target, weight, regularisation=holding.regularisation, intercept=holding.intercept
    )
    result = np.zeros(columns.shape[1] + 1)
    result[used] = found[: len(used)] * scale[used]
    result[-1] = found[len(used)] * holding.intercept
    by_word = nothing[1]
    by_word[spoken] = found[len(used) + 1 :] * holding.words
    return result, by_word


def _scales(code: str, holding: Holding) -> NDArray[np.float64]:
    """How far each dense column may move for a category: what its head looks at, and nothing else."""
    recipe = FULL_RECIPES[code]
    context = np.array([name in recipe.context for name in CONTEXT]) * holding.context
    windows = np.full(WIDTH, holding.windows if recipe.windows else 0.0)
    signed = np.full(WIDTH, holding.windows if recipe.signature else 0.0)
    return np.concatenate([windows, signed, context])


def fit_residual(
    dense: NDArray[np.float32],
    words: sparse.csr_matrix | None,
    offset: NDArray[np.float64],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    regularisation: float,
    intercept: float,
) -> NDArray[np.float64]:
    """Weights that least regret ``target`` beside ``offset``: of dense columns, of the intercept, of words.

    Minimises half the squared length plus ``regularisation`` times the weighted log loss, as scikit-learn's
    LogisticRegression does, which takes no offset and no ``target`` between 0 and 1; by L-BFGS (Liu and Nocedal 1989).
    ``intercept`` is how far a constant column reaches: it is held back like every other weight, because labels of a
    queue are no sample.
    """
    ahead = dense.shape[1] + 1

    def loss(found: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = offset + dense @ found[: ahead - 1].astype(np.float32) + found[ahead - 1] * intercept
        if words is not None:
            logit = logit + words @ found[ahead:]
        value = 0.5 * found @ found + regularisation * weight @ (np.logaddexp(0, logit) - target * logit)
        pull = regularisation * weight * (expit(logit) - target)
        parts = [dense.T @ pull.astype(np.float32), [pull.sum() * intercept]]
        if words is not None:
            parts.append(words.T @ pull)
        return float(value), found + np.concatenate(parts)

    start = np.zeros(ahead + (words.shape[1] if words is not None else 0))
    result: NDArray[np.float64] = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return result
