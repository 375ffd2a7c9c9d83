"""What changed between two bundles, in words: which words and pairs of words now weigh more, and which less.

A bundle made from labels has the heads of the one before it; what differs is what labels have added to them. Of that,
words have two parts, both exact: how much the lexical heads count in a full head, and the n-grams that a site has of
its own. The difference is shared among the words of each labelled comment, and averaged over the comments that have the
word. What labels change in how whole sentences are read (the encoder's part) lies in no word, and is not here.

*Privacy.* A report outlives the comments that it was made from. So nothing but single words and pairs is told, never a
number or a link, and none that is not in at least ``LEAST_COMMENTS`` comments by at least ``LEAST_AUTHORS`` authors.
Authors of the same id or name count as one, on whatever site, and so do all that are not known.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.adaptation import Residual
from moderation.categories import CODES
from moderation.explain import FOREIGN_LEXICAL, LEXICAL
from moderation.heads import FullHeads, Heads
from moderation.lexical import attribute
from moderation.model import FullTier, Model
from moderation.spans import find_words
from moderation.training.adapt import Labelled
from moderation.training.anchors import Figures

LEAST_COMMENTS = 3
LEAST_AUTHORS = 2
"""A word or pair is told that is in so many comments by so many authors."""

MOST_COMMENTS = 5_000
"""So many labelled comments are looked at, evenly chosen."""

MOST_TERMS = 12
LEAST_CHANGE = 0.02
"""Terms whose weight changes by less, in log odds, are left out."""

_INSIDE = "'\u2019-"
_MOST_CHARS = 40
# As if so many comments had the term in which nothing changed: an average of three is worth less than one of thirty.
_DOUBT = 3
_LEAST_LIKELIHOOD = 10.83  # the chi-squared of one degree of freedom that chance exceeds once in a thousand times
_LEAST_INFORMATION = 3.0  # bits: eight times as often as words that have nothing to do with each other
_LEAST_TOGETHER = 0.25
_MOSTLY = 0.6

Floats = NDArray[np.float64]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Term:
    """A word or pair with how much more it weighs now in one category.

    ``change`` is in log odds before calibration, the mean over the ``comments`` that have it.
    """

    text: str
    comments: int
    change: float


@dataclass(frozen=True, slots=True)
class Wording:
    """By category the terms that now weigh more and those that weigh less, most changed first.

    ``comments`` were looked at. Categories in which no word changed are left out.
    """

    comments: int
    more: dict[str, tuple[Term, ...]]
    less: dict[str, tuple[Term, ...]]

    def to_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "comments": self.comments,
            "least_comments": LEAST_COMMENTS,
            "least_authors": LEAST_AUTHORS,
            "categories": {
                code: {
                    name: [
                        {"term": term.text, "comments": term.comments, "change": round(term.change, 4)}
                        for term in side.get(code, ())
                    ]
                    for name, side in (("more", self.more), ("less", self.less))
                }
                for code in CODES
                if code in self.more or code in self.less
            },
        }


def compare_wording(champion: Model, challenger: Model, *parts: Labelled) -> Wording:
    """What changed in words from one bundle to another that has the same heads, told by labelled comments.

    Both need their full tier.
    """
    assert champion.full is not None
    assert challenger.full is not None
    total = sum(len(part.figures) for part in parts)
    step = max(1, math.ceil(total / MOST_COMMENTS))
    comments: list[_Read] = []
    for part in parts:
        rows = range(0, len(part.figures), step)
        if rows:
            comments += _look(champion.heads, champion.full, challenger.full, part, rows)
    return _tell(comments)


def find_pairs(runs: Sequence[Sequence[str]]) -> set[Pair]:
    """Words that stand together more often than chance has it, in at least ``LEAST_COMMENTS`` places.

    ``runs`` are words with nothing but blanks between them. By the likelihood ratio (Dunning 1993) and, so that words
    which are merely frequent are no phrase, by pointwise mutual information (Church and Hanks 1990). A word repeated is
    none, nor is one with a word that is mostly elsewhere.
    """
    from nltk.collocations import BigramAssocMeasures, BigramCollocationFinder  # noqa: PLC0415  # slow to load

    finder = BigramCollocationFinder.from_documents([list(run) for run in runs])
    finder.apply_freq_filter(LEAST_COMMENTS)
    finder.apply_word_filter(lambda word: len(word) < 2 and word.isascii())
    finder.apply_ngram_filter(lambda first, second: first == second)
    likely = {
        pair for pair, score in finder.score_ngrams(BigramAssocMeasures.likelihood_ratio) if score >= _LEAST_LIKELIHOOD
    }
    told = finder.score_ngrams(BigramAssocMeasures.pmi)
    words, pairs = finder.word_fd, finder.ngram_fd
    return {
        pair
        for pair, score in told
        if score >= _LEAST_INFORMATION
        and pair in likely
        and pairs[pair] >= _LEAST_TOGETHER * max(words[word] for word in pair)
    }


@dataclass(frozen=True, slots=True)
class _Read:
    """The words of a comment in order, what changed for each, shape (words, heads), and who wrote the comment.

    ``is_next`` says of each word whether it stands right behind the one before it.
    """

    words: Sequence[str]
    is_next: Sequence[bool]
    changes: Floats
    author: str | None

    def runs(self) -> Iterator[list[str]]:
        """The words, in stretches with nothing but blanks in between."""
        run: list[str] = []
        for word, is_next in zip(self.words, self.is_next, strict=True):
            if run and not is_next:
                yield run
                run = []
            run.append(word)
        if run:
            yield run

    def pairs(self, known: Collection[Pair]) -> Iterator[tuple[int, Pair]]:
        """Where a known pair begins."""
        for place, pair in enumerate(pairwise(self.words)):
            if pair in known and self.is_next[place + 1]:
                yield place, pair


def _tell(comments: Sequence[_Read]) -> Wording:
    """Average over comments, and leave out what too few comments or authors have."""
    pairs = find_pairs([run for comment in comments for run in comment.runs()])
    sums: dict[str, Floats] = defaultdict(lambda: np.zeros(len(CODES)))
    counts: Counter[str] = Counter()
    authors: dict[str, set[str | None]] = defaultdict(set)
    for comment in comments:
        here: dict[str, Floats] = defaultdict(lambda: np.zeros(len(CODES)))
        for word, change in zip(comment.words, comment.changes, strict=True):
            here[word] = here[word] + change
        for place, pair in comment.pairs(pairs):
            term = " ".join(pair)
            here[term] = here[term] + comment.changes[place] + comment.changes[place + 1]
        for term, change in here.items():
            sums[term] = sums[term] + change
            counts[term] += 1
            authors[term].add(comment.author)
    known = {term for term, count in counts.items() if count >= LEAST_COMMENTS and len(authors[term]) >= LEAST_AUTHORS}
    told = {pair for pair in pairs if " ".join(pair) in known}
    within = Counter(
        word for comment in comments for word in {word for _, pair in comment.pairs(told) for word in pair}
    )
    # What a phrase says is not said of its words again.
    terms = sorted(term for term in known if within[term] < _MOSTLY * counts[term])
    more, less = _rank(terms, sums, counts)
    return Wording(len(comments), more, less)


def _rank(
    known: Sequence[str], sums: Mapping[str, Floats], counts: Mapping[str, int]
) -> tuple[dict[str, tuple[Term, ...]], dict[str, tuple[Term, ...]]]:
    """By category the terms that rise and those that fall."""
    more: dict[str, tuple[Term, ...]] = {}
    less: dict[str, tuple[Term, ...]] = {}
    for head, code in enumerate(CODES):
        terms = [Term(term, counts[term], float(sums[term][head] / counts[term])) for term in known]
        terms.sort(key=lambda term: -abs(term.change) * term.comments / (term.comments + _DOUBT))
        for side, sign in ((more, 1), (less, -1)):
            if found := _choose([term for term in terms if sign * term.change >= LEAST_CHANGE]):
                side[code] = found
    return more, less


def _choose(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The first terms; of pairs that share a word, as "old kettle" and "kettle on", the first one."""
    chosen: list[Term] = []
    used: set[str] = set()
    for term in terms:
        words = term.text.split(" ")
        if len(words) > 1 and used.intersection(words):
            continue
        if len(words) > 1:
            used.update(words)
        chosen.append(term)
    return tuple(chosen[:MOST_TERMS])


def _look(heads: Heads, old: FullTier, new: FullTier, part: Labelled, rows: Sequence[int]) -> Iterator[_Read]:
    """What changed for each word of these rows."""
    field = heads.fields["text"]
    figures = part.figures.take(np.array(rows, np.int64))
    sites = [part.sites[row] for row in rows]
    gains = _gains(new.heads, figures, sites, old, new)
    for number, row in enumerate(rows):
        text, site = part.texts[row], sites[number]
        # Of the lexical heads, each of whose logits now counts for more or less in those of the full tier.
        changes = attribute(text, field.spec, field.idf, field.weights) @ gains[number]
        for tier, sign in ((new, 1.0), (old, -1.0)):
            own = _residual(tier, site)
            if own is not None and own.words is not None:
                changes += sign * attribute(text, own.words.spec, own.words.idf, own.words.weights)
        before = np.concatenate([np.zeros((1, len(CODES))), np.cumsum(changes, axis=0)])
        words = list(_words(text))
        ends = [0, *(end for _, _, end in words)]
        is_next = [not text[end:start].strip() for end, (_, start, _) in zip(ends, words, strict=False)]
        # The blank between two words is the first one's: n-grams of both run across it.
        stops = [
            words[place + 1][1] if place + 1 < len(words) and is_next[place + 1] else end
            for place, (_, _, end) in enumerate(words)
        ]
        yield _Read(
            [word for word, _, _ in words],
            is_next,
            np.array([before[stop] - before[start] for stop, (_, start, _) in zip(stops, words, strict=True)]).reshape(
                -1, len(CODES)
            ),
            part.authors[row] if part.authors else None,
        )


def _gains(heads: FullHeads, figures: Figures, sites: Sequence[str | None], old: FullTier, new: FullTier) -> Floats:
    """What a full logit now gains more for each unit of each lexical logit, shape (rows, lexical heads, heads)."""
    moved = np.zeros((len(figures), len(heads.mean), len(CODES)))
    for site in set(sites):
        rows = np.array([other == site for other in sites])
        moved[rows] = _context_weights(new, site) - _context_weights(old, site)
    foreign = figures.vectors.foreign.astype(np.float64)
    context = heads.context(figures.vectors, figures.dense, figures.lexical).astype(np.float64)
    gains: Floats = np.zeros((len(figures), len(CODES), len(CODES)))
    for part, share in ((LEXICAL, np.ones_like(foreign)), (FOREIGN_LEXICAL, foreign)):
        plain = (figures.lexical * share[:, None] - heads.mean[part]) / heads.scale[part]
        # Beyond the cut a logit gains nothing more: what there is of it is shared among all that made it.
        kept = np.where(plain == 0, 1, context[:, part] / np.where(plain == 0, 1, plain))
        gains += (kept * share[:, None] / heads.scale[part])[:, :, None] * moved[:, part]
    return gains


def _context_weights(tier: FullTier, site: str | None) -> Floats:
    """What labels have added to the weights of the context, for everybody and for a site, shape (features, heads)."""
    total: Floats = np.zeros(tier.heads.context_weights.shape)
    if tier.adaptation is not None:
        total += tier.adaptation.everywhere.context_weights
    if (own := _residual(tier, site)) is not None:
        total += own.context_weights
    return total


def _residual(tier: FullTier, site: str | None) -> Residual | None:
    return None if tier.adaptation is None or site is None else tier.adaptation.sites.get(site)


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of a canonical text that may be told, in small letters, with their places: no links, no numbers."""
    for word in find_words(text):
        found = text[word.start : word.end].lower()
        is_plain = not word.is_link and all(letter.isalpha() or letter in _INSIDE for letter in found)
        if is_plain and any(letter.isalpha() for letter in found) and len(found) <= _MOST_CHARS:
            yield found, word.start, word.end
