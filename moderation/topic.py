"""How related a comment is to its post, its parent and its thread, by the words they share.

Words are stemmed (NLTK's Snowball stemmers), weighted by how rare they are in blogs at large (inverse document
frequency, learned in training), and compared by cosine and by containment, with the whole post and with the passage
that fits best. Without a post, or under eight words, nothing can be said: the answer is ``None``.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moderation.comment import Comment, Post

if TYPE_CHECKING:
    from nltk.stem.api import StemmerI

BITS = 16
MIN_WORDS = 8
_PASSAGE_WORDS = 120
_STEM_CHARS = 64
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_TAG = re.compile(r"<[^>]{1,300}>")
_LANGUAGES = {
    "ar": "arabic", "da": "danish", "nl": "dutch", "en": "english", "fi": "finnish", "fr": "french", "de": "german",
    "hu": "hungarian", "it": "italian", "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "es": "spanish", "sv": "swedish",
}  # fmt: skip

NAMES: tuple[str, ...] = (
    "post_cosine",
    "post_containment",
    "passage_cosine",
    "passage_containment",
    "title_cosine",
    "title_containment",
    "tag_share",
    "rarest_shared",
    "rare_shared",
    "shared_words",
    "parent_cosine",
    "thread_cosine",
    "has_parent",
    "has_thread",
    "comment_words",
    "post_words",
)

VECTOR_NAMES: tuple[str, ...] = (
    "has_passages",
    "vector_best",
    "vector_second",
    "vector_mean",
    "vector_above_mean",
    "vector_parent",
    "vector_parent_post",
    "vector_thread_best",
    "vector_thread_mean",
    "vector_around",
)
# A reply that stays with its parent while the parent has left the post: neither on nor off topic.
PARENT_NEAR = 0.45
PARENT_LEFT_POST = 0.25

Vector = Mapping[int, float]


class TopicModel:
    """Relatedness features under one table of word weights (``idf``, shape (2**16,), by hashed stem)."""

    def __init__(self, idf: NDArray[np.float32]) -> None:
        self.idf = idf
        self._post = lru_cache(maxsize=64)(self._read_post)

    def features(self, comment: Comment) -> list[float] | None:
        """Sixteen numbers in the order of :data:`NAMES`, or ``None`` to abstain."""
        post = comment.post
        if post is None or not (post.title or post.text):
            return None
        lang = _language(comment.lang)
        counts = Counter(stems(comment.text, lang))
        length = sum(counts.values())
        if length < MIN_WORDS:
            return None
        words = self._weigh(counts)
        whole, passages, title, tags, post_words = self._post(post, lang)
        if not whole:
            return None  # markup, pictures or blanks alone
        mass = sum(words.values()) or 1.0
        best = max(passages, key=lambda passage: _cosine(words, passage), default={})
        shared = sorted((float(self.idf[stem]) for stem in words if stem in whole), reverse=True)
        parent = self._weigh(Counter(stems(comment.parent.text or "", lang))) if comment.parent else {}
        earlier = [self._weigh(Counter(stems(item.text or "", lang))) for item in comment.thread or ()]
        return [
            _cosine(words, whole),
            sum(weight for stem, weight in words.items() if stem in whole) / mass,
            _cosine(words, best),
            sum(weight for stem, weight in words.items() if stem in best) / mass,
            _cosine(words, title),
            sum(weight for stem, weight in title.items() if stem in words) / (sum(title.values()) or 1.0),
            sum(stem in words for stem in tags) / len(tags) if tags else 0.0,
            shared[0] / 10 if shared else 0.0,
            sum(shared[:3]) / 30,
            math.log1p(len(shared)) / 4,
            _cosine(words, parent),
            max((_cosine(words, item) for item in earlier), default=0.0),
            float(bool(parent)),
            float(bool(earlier)),
            math.log1p(length) / 5,
            math.log1p(post_words) / 8,
        ]

    def read(self, texts: Iterable[tuple[str, str | None]]) -> Iterator[list[int]]:
        """The places of each text's words in the table, of texts with their languages."""
        return (stems(text, _language(lang)) for text, lang in texts)

    def _read_post(self, post: Post, lang: str) -> tuple[Vector, list[Vector], Vector, frozenset[int], int]:
        text = stems(_TAG.sub(" ", post.text or ""), lang)
        title = stems(post.title or "", lang)
        tags = stems(" ".join(post.tags), lang)
        step = _PASSAGE_WORDS // 2
        passages = [text[start : start + _PASSAGE_WORDS] for start in range(0, max(len(text) - step, 1), step)]
        return (
            self._weigh(Counter(text + title + tags)),
            [self._weigh(Counter(passage)) for passage in passages],
            self._weigh(Counter(title)),
            frozenset(tags),
            len(text),
        )

    def _weigh(self, counts: Counter[int]) -> Vector:
        return {stem: (1 + math.log(count)) * float(self.idf[stem]) for stem, count in counts.items()}


def compare_vectors(
    comment: NDArray[np.float32],
    passages: NDArray[np.float32],
    parent: NDArray[np.float32] | None,
    thread: NDArray[np.float32] | None,
) -> list[float]:
    """How near a comment's vector is to those around it, in the order of :data:`VECTOR_NAMES`.

    All vectors have length one, so products are cosines. Shapes: ``comment`` (384,), ``passages`` (passages, 384), at
    least one; ``parent`` (384,); ``thread`` (comments, 384), at least one. What is missing counts as near as the post
    is, so that it says nothing.
    """
    near = np.sort(passages @ comment)[::-1]
    best, mean = float(near[0]), float(near.mean())
    to_parent = best if parent is None else float(parent @ comment)
    to_thread = np.array([best]) if thread is None else np.sort(thread @ comment)[::-1]
    return [
        1.0,
        best,
        float(near[:2].mean()),
        mean,
        best - mean,
        to_parent,
        best if parent is None else float((passages @ parent).max()),
        float(to_thread[0]),
        float(to_thread[:5].mean()),
        max(best, to_parent, float(to_thread[0])),
    ]


def parent_left_post(related: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether parent and post disagree about the comment, by rows of :data:`VECTOR_NAMES`, shape (comments, names)."""
    to_parent = related[:, VECTOR_NAMES.index("vector_parent")]
    parent_to_post = related[:, VECTOR_NAMES.index("vector_parent_post")]
    to_post = related[:, VECTOR_NAMES.index("vector_best")]
    result: NDArray[np.bool_] = (
        (to_parent > PARENT_NEAR) & (parent_to_post < PARENT_LEFT_POST) & (to_post < PARENT_LEFT_POST)
    )
    return result


def stems(text: str, lang: str = "english") -> list[int]:
    """The stem of each word, hashed to ``BITS`` bits; ``lang`` is the name of a Snowball stemmer."""
    return [_stem(word, lang) for word in _WORD.findall(text.lower())]


def learn_idf(texts: Iterable[tuple[str, str | None]]) -> NDArray[np.float32]:
    """Weights by hashed stem, shape (2**16,): ``log((1 + n) / (1 + df))`` of ``n`` texts (text, lang)."""
    documents = 0
    frequency = np.zeros(1 << BITS, np.int64)
    for text, lang in texts:
        documents += 1
        frequency[list(set(stems(text, _language(lang))))] += 1
    idf = np.log((1 + documents) / (1 + frequency))
    return idf.astype(np.float32)


def _cosine(one: Vector, other: Vector) -> float:
    if not one or not other:
        return 0.0
    if len(one) > len(other):
        one, other = other, one
    product = sum(weight * other.get(stem, 0.0) for stem, weight in one.items())
    norms = math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
    return product / norms if norms else 0.0


def _language(lang: str | None) -> str:
    return _LANGUAGES.get((lang or "en").split("-")[0].split("_")[0].lower(), "english")


@lru_cache(maxsize=32)
def _kept_stemmer(lang: str) -> StemmerI:
    return _stemmer(lang)


def _stemmer(lang: str) -> StemmerI:
    # NLTK imports all of itself, and scikit-learn with it, which takes seconds: only where a comment has a post.
    from nltk.stem.snowball import SnowballStemmer  # noqa: PLC0415

    return SnowballStemmer(lang)


def _stem(word: str, lang: str) -> int:
    return _stem_short(word[:_STEM_CHARS], lang)


@lru_cache(maxsize=1 << 17)
def _stem_short(word: str, lang: str) -> int:
    # The Arabic one remembers earlier words, and stems by them.
    stemmer = _stemmer(lang) if lang == "arabic" else _kept_stemmer(lang)
    return zlib.crc32(stemmer.stem(word).encode("utf-8", "replace")) & ((1 << BITS) - 1)
