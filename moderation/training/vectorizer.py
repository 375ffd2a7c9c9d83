"""The hashed n-grams of :mod:`moderation.lexical` as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from moderation.lexical import LexicalSpec, Ngrams, count_ngrams, weigh


class LexicalVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Texts to sparse rows of hashed character and word n-grams, weighted by tf-idf and scaled to length one.

    Parameters
    ----------
    bits : int, default=18
        The rows have ``2**bits`` columns.
    char_min, char_max : int, default=2 and 5
        Lengths of the character n-grams, which stay within a word and the spaces around it.
    word_max : {0, 1, 2}, default=2
        Words (1) and pairs of neighbouring words (2) beside the characters.
    salt : int, default=0
        Two vectorizers of different salt use different columns for the same n-gram.

    Attributes:
    ----------
    idf_ : ndarray of shape (2**bits,), float32
        ``log((1 + n) / (1 + df)) + 1`` for a column that ``df`` of ``n`` texts have. Kept at half precision, as
        bundles store it, so that what is fitted is what is served.

    See Also:
    --------
    sklearn.feature_extraction.text.HashingVectorizer : The same idea without numpy, several times slower.

    Examples:
    --------
    >>> vectorizer = LexicalVectorizer(bits=10).fit(["one comment", "another comment"])
    >>> vectorizer.transform(["one more"]).shape
    (1, 1024)
    """

    def __init__(self, bits: int = 18, char_min: int = 2, char_max: int = 5, word_max: int = 2, salt: int = 0) -> None:
        self.bits = bits
        self.char_min = char_min
        self.char_max = char_max
        self.word_max = word_max
        self.salt = salt

    @property
    def spec(self) -> LexicalSpec:
        """The parameters as the functions of :mod:`moderation.lexical` take them; raises ``ValueError`` if wrong."""
        return LexicalSpec(self.bits, self.char_min, self.char_max, self.word_max, self.salt)

    def fit(self, X: Iterable[str], y: Any = None) -> Self:  # noqa: ARG002, N803 - scikit-learn's names
        """Learn ``idf_`` from texts."""
        self._learn_idf(count_ngrams(_texts(X), self.spec))
        return self

    def transform(self, X: Iterable[str]) -> sparse.csr_matrix:  # noqa: N803 - scikit-learn's name
        """The rows of texts: a matrix of float32, shape (texts, 2**bits)."""
        check_is_fitted(self)
        return self._matrix(count_ngrams(_texts(X), self.spec))

    def fit_transform(self, X: Iterable[str], y: Any = None, **fit_params: Any) -> sparse.csr_matrix:  # noqa: ARG002, N803 - scikit-learn's names
        """:meth:`fit` and :meth:`transform` with one count."""
        ngrams = count_ngrams(_texts(X), self.spec)
        self._learn_idf(ngrams)
        return self._matrix(ngrams)

    def _learn_idf(self, ngrams: Ngrams) -> None:
        documents = len(ngrams.indptr) - 1
        frequency = np.bincount(ngrams.indices, minlength=1 << self.bits)
        idf: NDArray[np.float64] = np.log((1 + documents) / (1 + frequency)) + 1
        self.idf_ = idf.astype(np.float16).astype(np.float32)

    def _matrix(self, ngrams: Ngrams) -> sparse.csr_matrix:
        shape = (len(ngrams.indptr) - 1, 1 << self.bits)
        return sparse.csr_matrix((weigh(ngrams, self.idf_), ngrams.indices, ngrams.indptr), shape=shape)

    def __sklearn_tags__(self) -> Any:
        """Input is a list of strings, not a table of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _texts(texts: Iterable[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise ValueError("expected an iterable of texts, not one text")  # noqa: TRY004 - what scikit-learn raises
    listed = list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise TypeError(f"expected texts, found {type(text).__name__}")
    return listed
