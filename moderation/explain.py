"""Why a comment scores as it does: the words that raised the score, and the facts that mattered.

Words are pointed at in the comment's own text, whole, by three kinds of evidence. The *marks* of the encoder say how
likely people are to point at a token as the hostile one. *Contributions* are what a word's n-grams add to a linear
head, which is exact. *Occlusion* is what the encoder's share of a score loses when the word is left out (Zeiler and
Fergus 2014); it costs a pass for each word and is used for spam, of which the encoder has no marks. Hostility in calm
words lies in no word: there whole sentences are left out, and pointed at.

Facts are the dense features, each with what it added to the head's logit: weight times standardised value. In the full
tier the lexical heads are features themselves; what a fact adds through them is counted with the fact. How they are
said is in :mod:`moderation.causes`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation import signals, topic
from moderation.categories import CODES
from moderation.causes import Cause, signal_causes, topic_causes
from moderation.comment import Comment, Decision, Tier
from moderation.encoder import Encoder, Window
from moderation.errors import EncoderUnavailable
from moderation.heads import FullHeads, Vectors, weigh_signatures, window_products
from moderation.lexical import attribute, count_ngrams, project, weigh
from moderation.model import CONTEXT, DENSE, FullTier, Model, extract, gather_vectors
from moderation.normalise import Normalised, normalise
from moderation.readable import make_readable, read_normalised
from moderation.spans import Span, Word, find_words, join_words

# Chosen on validation rows of toxic-spans by character F1, on those that most raters call hostile: there it hardly
# changes up to these floors, and they leave alone a quarter to a third of the comments in which raters marked nothing.
MARK_LIFT = 0.3
MARK_FLOOR = 0.4
MARK_SHARE_OF_TOP = 0.65
WORD_FLOOR = 0.6
WORD_SHARE_OF_TOP = 0.6
SCORE_FLOOR = 0.05
"""Under this score nothing is pointed at: a harmless comment too has a word that is its worst."""

QUIET_FLOOR = 0.15
QUIET_SHARE_OF_TOP = 0.5
SENTENCE_STRENGTH = 0.5
SPAM_FLOOR = 0.2
SPAM_SHARE_OF_TOP = 0.3
LINK_STRENGTH = 0.25
MAX_OCCLUDED = 60
MAX_SPANS = 50
MAX_FACTS = 5
_FACT_FLOOR = 0.05
_READINGS = {
    "calm_hostility": "read as a whole it sounds meant to hurt, whatever its single words are",
    "one_sentence": "one sentence of it, read by itself, sounds hostile",
}
_SEEN = 0.02  # a difference of scores that is worth a sentence
LEXICAL = slice(CONTEXT.index(f"lexical_{CODES[0]}"), CONTEXT.index("foreign"))
FOREIGN_LEXICAL = slice(CONTEXT.index("foreign") + 1, None)
_FOREIGN = 0.5
"""From here on a comment is in a language that the encoder cannot read, and its marks say nothing."""

_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\n]")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a comment has its score of one category.

    ``score`` is ``None`` where the model abstains. ``spans`` are in the order of the text, apart; ``facts`` by how much
    they mattered, at most five.
    """

    category: str
    score: float | None
    tier: Tier
    spans: tuple[Span, ...]
    facts: tuple[Cause, ...]

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def explain(model: Model, comment: Comment, category: str | None = None) -> Explanation:
    """Explain one score of a comment; without ``category`` that of the category with the highest score.

    Takes about twice as long as scoring; spam and calm hostility in the full tier at most 61 passes of one window more,
    however long the text is. Raises ``KeyError`` for a category that is none.
    """
    scores, found = model.assess([comment])[0]
    code = max(CODES, key=lambda each: scores[each] or 0.0) if category is None else category
    score = scores[code]
    try:
        evidence = _Evidence(model, comment, code, model.full if found.tier == "full" else None)
        words = evidence.words() if code != "off_topic" and score is not None and score >= SCORE_FLOOR else []
        spans = join_words(comment.text, words, evidence.point(words), MAX_SPANS) if words else ()
    except EncoderUnavailable:
        return explain(model.lexical_tier(), comment, category)
    facts = evidence.facts(score, is_topic=code == "off_topic")
    return Explanation(code, None if score is None else round(score, 6), evidence.tier, spans, facts)


def explain_decision(model: Model, comment: Comment, decision: Decision) -> Explanation:
    """Explain the score that decided: the highest of those over their line, else the one nearest to its line."""
    scores = decision.scores
    reasons = [reason for reason in decision.reasons if reason.name in CODES]
    over = [reason.name for reason in reasons if reason.fired]
    if scores and over:
        return explain(model, comment, max(over, key=lambda code: scores[code] or 0.0))
    distances = [(_distance(reason.value, reason.limit), reason.name) for reason in reasons]
    distance, nearest = min(distances, default=(math.inf, None))
    return explain(model, comment, None if math.isinf(distance) else nearest)


def _distance(score: object, line: object) -> float:
    """How far a score lies under a line, in log odds; infinite where there is none to lie under."""
    if not (isinstance(score, float) and isinstance(line, float) and 0 < score < 1 and 0 < line < 1):
        return math.inf
    return math.log(line / (1 - line)) - math.log(score / (1 - score))


class _Evidence:
    """What model and comment give to explain one category with."""

    def __init__(self, model: Model, comment: Comment, code: str, full: FullTier | None) -> None:
        self.tier: Tier = "full" if full else "lexical"
        self._code = code
        self._comment = comment
        self._heads = model.heads
        self._head = model.heads.codes.index(code)
        self._normalised = normalise(comment.text)
        self._features = extract([comment], model.topic)
        self._lexical = model.heads.logits(self._features)
        self._full = full
        self._windows: list[Window] = []
        self._vectors: Vectors | None = None
        if full is not None:
            self._windows = full.encoder.read(read_normalised(self._normalised))
            self._vectors = gather_vectors([comment], [self._windows], full.encoder)

    @property
    def _foreign(self) -> float:
        return 0.0 if self._vectors is None else float(self._vectors.foreign[0])

    def words(self) -> list[Word]:
        """The words of the comment."""
        return find_words(self._comment.text, self._normalised)

    def point(self, words: Sequence[Word]) -> dict[int, float]:
        """Which of the words raised the score, by index, and how strongly (0 to 1)."""
        own = np.eye(len(self._heads.codes))[self._head] * self._heads.calibration[self._head, 0]
        if self._code == "spam":
            gains = own if self._full is None else self._gains(self._full.heads)
            values = _sum_words(words, self._by_character(gains)) + self._by_link(words, gains)
            if self._full is not None:
                values += self._occlude(self._full, words, values, self._full.heads.window_weights[:, [self._head]])
            found = _over(values, SPAM_FLOOR, SPAM_SHARE_OF_TOP, 1 - np.exp(-np.maximum(values, 0)))
            links = {index: LINK_STRENGTH for index, word in enumerate(words) if word.is_link}
            return found | {index: max(least, found.get(index, 0)) for index, least in links.items()}
        values = _sum_words(words, self._by_character(own))
        if self._full is None or self._foreign > _FOREIGN:
            return _over(values, WORD_FLOOR, WORD_SHARE_OF_TOP, 1 - np.exp(-np.maximum(values, 0)))
        if self._decided(self._full.heads)[0] == "calm_hostility":
            return self._point_at_sentences(self._full, words)
        marks = _marks([window for window in self._windows if not window.alone], len(self._comment.text))
        values = np.array([marks[word.start : word.end].max() for word in words]) + MARK_LIFT * np.clip(values, 0, 2)
        return _over(values, MARK_FLOOR, MARK_SHARE_OF_TOP, np.minimum(values, 1))

    def facts(self, score: float | None, *, is_topic: bool) -> tuple[Cause, ...]:
        """The causes beside the words, those that mattered most first; ``score`` is what they made together."""
        causes = [
            *self._reading_causes(),
            *self._learned_causes(),
            *self._signal_causes(),
            *self._field_causes(),
            *self._topic_causes(),
        ]
        if is_topic and not self._has_topic():
            text = f"nothing to hold it against: no post is known, or the comment has under {topic.MIN_WORDS} words"
            return (Cause("abstained", 0.0, 0.0, text),)
        least = 0.0 if is_topic else _FACT_FLOOR
        kept = [cause for cause in causes if abs(cause.contribution) > least and not _says_the_same(cause, score)]
        return tuple(sorted(kept, key=lambda cause: -abs(cause.contribution))[:MAX_FACTS])

    def _decided(self, heads: FullHeads) -> tuple[str, float]:
        """Which reading of hostile is the loudest, and by how much; the first has no name, nor has any other head's."""
        if self._code != "hostile":
            return "", 0.0
        assert self._vectors is not None
        readings = {
            "": float(heads.loud(self._vectors, self._features.dense, self._lexical)[0, self._head]),
            "calm_hostility": float(heads.quiet(self._vectors)[0]),
            "one_sentence": float(heads.sentence(self._vectors)[0]),
        }
        *_, second, loudest = sorted(readings, key=lambda name: (readings[name], name == ""))
        return loudest, readings[loudest] - readings[second]

    def _reading_causes(self) -> list[Cause]:
        """Which reading of hostile decided, where it was not the first."""
        if self._full is None:
            return []
        name, lead = self._decided(self._full.heads)
        return [Cause(name, 1.0, round(lead, 4), _READINGS[name])] if name else []

    def _learned_causes(self) -> list[Cause]:
        """What labels have added to this score, on all sites and on this one."""
        if self._full is None or self._full.adaptation is None or self._vectors is None:
            return []
        context = self._full.heads.context(self._vectors, self._features.dense, self._lexical)
        texts = self._features.fields["text"]
        added = float(self._full.adaptation.logits([self._comment.site], self._vectors, context, texts)[0, self._head])
        text = "what moderators have said about comments like this one"
        return [Cause("learned_from_verdicts", 1.0, round(added, 4), text)]

    def _gains(self, full: FullHeads) -> Array:
        """What a full head's logit gains for each unit of each lexical logit, shape (heads,)."""
        context = self._context(full)
        gains: Array = np.zeros(len(self._heads.codes))
        for part, share in ((LEXICAL, 1.0), (FOREIGN_LEXICAL, self._foreign)):
            plain = (self._lexical[0] * share - full.mean[part]) / full.scale[part]
            # Beyond the cut a logit gains nothing more: what there is of it is shared among all that made it.
            kept = np.where(plain == 0, 1, context[part] / np.where(plain == 0, 1, plain))
            gains += full.context_weights[part, self._head].astype(np.float64) / full.scale[part] * kept * share
        return gains

    def _context(self, full: FullHeads) -> Array:
        """The standardised context features, shape (features,)."""
        assert self._vectors is not None
        context = full.context(self._vectors, self._features.dense, self._lexical)
        result: Array = context[0].astype(np.float64)
        return result

    def _by_character(self, gains: Array) -> Array:
        """What each character of the comment's own text adds through the n-grams it is part of."""
        field = self._heads.fields["text"]
        canonical = attribute(self._normalised.text, field.spec, field.idf, _blend(field.weights, gains))
        adaptation = self._full.adaptation if self._full is not None else None
        here = adaptation.sites.get(self._comment.site or "") if adaptation is not None else None
        if here is not None and here.words is not None:
            own = here.words.weights[:, self._head].astype(np.float64)
            canonical += attribute(self._normalised.text, here.words.spec, here.words.idf, own)
        return _to_original(canonical, self._normalised, len(self._comment.text))

    def _by_link(self, words: Sequence[Word], gains: Array) -> Array:
        """What the address of each link adds, 0 for words."""
        field = self._heads.fields["links"]
        added = np.zeros(len(words))
        joined = self._features.fields["links"][0]
        shares = attribute(joined, field.spec, field.idf, _blend(field.weights, gains))
        # The field has bare hosts behind the URLs, not in the order of the text.
        places: dict[str, list[int]] = {}
        at = 0
        for entry in joined.split(" "):
            places.setdefault(entry, []).append(at)
            at += len(entry) + 1
        for index, word in enumerate(words):
            address = self._comment.text[word.start : word.end].lower()
            if word.is_link and places.get(address):
                start = places[address].pop(0)
                added[index] = shares[start : start + len(address)].sum()
        return added

    def _point_at_sentences(self, full: FullTier, words: Sequence[Word]) -> dict[int, float]:
        """The words of the sentences without which it would sound less like hostility in calm words."""
        groups = _sentences(self._comment.text, words)
        if len(groups) == 1:
            return dict.fromkeys(groups[0], SENTENCE_STRENGTH)
        sentences = [replace(words[group[0]], end=words[group[-1]].end, is_link=False) for group in groups]
        lost = self._occlude(full, sentences, np.zeros(len(groups)), full.heads.quiet_weights[:, None])
        found = _over(lost, QUIET_FLOOR, QUIET_SHARE_OF_TOP, 1 - np.exp(-np.maximum(lost, 0)))
        return {word: strength for index, strength in found.items() for word in groups[index]}

    def _occlude(self, full: FullTier, words: Sequence[Word], values: Array, weights: NDArray[np.float32]) -> Array:
        """What the worst window loses without each word; 0 for words outside it and beyond the first sixty.

        ``weights`` are those of what is read of a window, shape (columns, 1).
        """
        assert self._vectors is not None
        window = self._windows[int(np.argmax(window_products(self._vectors, weights)))]
        spans = window.spans
        lost = np.zeros(len(words))
        if not len(spans):
            return lost
        first, last = int(spans[:, 0].min()), int(spans[:, 1].max())
        # What was cut off a long URL at the end of the window has no token, but the link is inside.
        inside = [index for index, word in enumerate(words) if word.start < last and word.end > first]
        first = min([first, *(words[index].start for index in inside)])
        last = max([last, *(words[index].end for index in inside)])
        tried = sorted(inside, key=lambda index: (not words[index].is_link, -values[index]))[:MAX_OCCLUDED]
        text = self._comment.text
        texts = [text[first:last]]
        texts += [text[first : words[index].start] + text[words[index].end : last] for index in tried]
        whole, *without = self._products(full.encoder, texts, weights, window.english)
        lost[tried] = whole - np.array(without)
        return lost

    def _products(
        self, encoder: Encoder, texts: Sequence[str], weights: NDArray[np.float32], english: float
    ) -> list[float]:
        """The worst window's product of each text; all count as equally English, whichever word is left out."""
        bare = Comment("-")
        products = []
        for windows in encoder.read_many([make_readable(text) for text in texts], with_sentence=False):
            alike = [replace(window, english=english) for window in windows]
            products.append(float(window_products(gather_vectors([bare], [alike], encoder), weights).max()))
        return products

    def _dense_contributions(self) -> Array:
        """What each dense feature adds, through the lexical heads too, shape (features,)."""
        standardised = self._heads.standardise(self._features.dense)[0].astype(np.float64)
        lexical = standardised[:, None] * self._heads.dense_weights
        if self._full is None:
            alone: Array = lexical[:, self._head] * self._heads.calibration[self._head, 0]
            return alone
        heads = self._full.heads
        direct = self._context(heads)[: len(DENSE)] * heads.context_weights[: len(DENSE), self._head]
        both: Array = direct + lexical @ self._gains(heads)
        return both

    def _signal_causes(self) -> list[Cause]:
        measured = signals.measure(self._comment, self._normalised)
        added = self._dense_contributions()
        return signal_causes(measured, added[: len(measured)].tolist())

    def _field_causes(self) -> list[Cause]:
        """The author's name, the addresses of links and, in the full tier, what the words alone say."""
        parts = {name: self._field_logits(name) for name in self._features.fields}
        if self._full is None:
            gains = np.eye(len(parts["text"]))[self._head] * self._heads.calibration[self._head, 0]
        else:
            gains = self._gains(self._full.heads)
        author = self._comment.author
        causes = []
        if author is not None and author.name:
            text = "the words of the author's name"
            causes.append(Cause("author_name_text", 1.0, round(float(parts["author_name"] @ gains), 4), text))
        links = len(self._features.fields["links"][0].split())
        if links:
            text = "what the addresses of links and author say"
            causes.append(Cause("link_text", float(links), round(float(parts["links"] @ gains), 4), text))
        if self._full is not None and self._vectors is not None:
            heads = self._full.heads
            read = float(weigh_signatures(self._vectors.signatures, heads.signature_weights)[0, self._head])
            if read:
                text = "what author and links say, read for meaning"
                causes.append(Cause("signature", 1.0, round(read, 4), text))
            average = heads.mean[LEXICAL].astype(np.float64)
            added = float((parts["text"] + self._heads.intercept - average) @ gains)
            alone = float(self._heads.calibrate(self._lexical)[0, self._head])
            text = f"judged by its words without their context the score would be {100 * alone:.0f} %"
            causes.append(Cause("words_alone", round(alone, 4), round(added, 4), text))
        return causes

    def _field_logits(self, name: str) -> Array:
        field = self._heads.fields[name]
        ngrams = count_ngrams(self._features.fields[name], field.spec)
        logits: Array = project(ngrams, weigh(ngrams, field.idf), field.weights)[0]
        return logits

    def _has_topic(self) -> bool:
        return bool(self._features.dense[0, DENSE.index("has_topic")])

    def _topic_causes(self) -> list[Cause]:
        """How near the comment is to what stands around it."""
        if not self._has_topic():
            return []
        added = dict(zip(DENSE, self._dense_contributions(), strict=True))
        values = dict(zip(DENSE, self._features.dense[0].tolist(), strict=True))
        if self._full is not None and self._vectors is not None:
            names = slice(len(DENSE), len(DENSE) + len(topic.VECTOR_NAMES))
            weights = self._full.heads.context_weights[names, self._head]
            added |= zip(CONTEXT[names], self._context(self._full.heads)[names] * weights, strict=True)
            values |= zip(CONTEXT[names], self._vectors.related[0].tolist(), strict=True)
        return topic_causes(values, added)


def _says_the_same(cause: Cause, score: float | None) -> bool:
    """Whether it is the score of the words alone, and the context has changed nothing that anybody would see."""
    return cause.name == "words_alone" and score is not None and abs(cause.value - score) < _SEEN


def _blend(weights: NDArray[np.float16], gains: Array) -> Array:
    """The weights of several heads as those of one, shape (columns,)."""
    heads = np.flatnonzero(gains)
    blended: Array = weights[:, heads].astype(np.float32) @ gains[heads]
    return blended


def _over(values: Array, floor: float, share_of_top: float, strengths: Array) -> dict[int, float]:
    """Strengths, by index, of the values that reach the floor and come near the highest."""
    least = max(floor, share_of_top * float(values.max()))
    return {index: float(strengths[index]) for index in np.flatnonzero(values >= least).tolist()}


def _sentences(text: str, words: Sequence[Word]) -> list[range]:
    """The words of each sentence, by index; a new line ends one as well."""
    ends = [
        index + 1
        for index, (word, following) in enumerate(itertools.pairwise(words))
        if _SENTENCE_END.search(text[word.end : following.start])
    ]
    return [range(start, end) for start, end in itertools.pairwise([0, *ends, len(words)])]


def _sum_words(words: Sequence[Word], by_character: Array) -> Array:
    """What the characters of each word add, shape (words,)."""
    before = np.concatenate([np.zeros(1), np.cumsum(by_character)])
    edges = np.array([(word.start, word.end) for word in words])
    sums: Array = before[edges[:, 1]] - before[edges[:, 0]]
    return sums


def _to_original(values: Array, normalised: Normalised, length: int) -> Array:
    """Values of canonical characters as values of the characters they came from, shape (length,)."""
    if normalised.origins is None:
        return values
    moved = np.bincount(np.array(normalised.origins, np.int64), values, length)
    return moved.astype(np.float64)


def _marks(windows: Sequence[Window], length: int) -> Array:
    """The highest mark over each character of the comment's own text, shape (length,)."""
    marks = np.zeros(length)
    for window in windows:
        for (start, end), mark in zip(window.spans.tolist(), window.marks.tolist(), strict=True):
            marks[start:end] = np.maximum(marks[start:end], mark)
    return marks
