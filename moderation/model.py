"""The parts together: comments in, scores out. Knows nothing of files, thresholds or policies.

Two tiers. The *lexical* tier is always there. The *full* tier adds the encoder; where it has none, or it fails, the
lexical tier answers, and the facts say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderation import signals, topic
from moderation.adaptation import Adaptation
from moderation.categories import CODES, MAY_ABSTAIN
from moderation.comment import Comment, Facts, Scores, Tier
from moderation.encoder import WIDTH, Encoder, Window
from moderation.errors import EncoderUnavailable
from moderation.heads import Features, FullHeads, Heads, Vectors
from moderation.normalise import Normalised, normalise
from moderation.readable import read_neighbour, read_normalised, read_post, read_signature
from moderation.topic import TopicModel

DENSE: tuple[str, ...] = (*signals.NAMES, "has_topic", *topic.NAMES)
"""The dense features, in the order of the columns of ``Features.dense``."""

MARKS: tuple[str, ...] = ("mark_highest", "mark_sum", "alone", "english")
"""What a window's marks amount to, whether it is one sentence read by itself, and whether it can be read: what stands
behind its class vector in ``Vectors.windows``."""

CONTEXT: tuple[str, ...] = (
    *DENSE,
    *topic.VECTOR_NAMES,
    *(f"lexical_{code}" for code in CODES),
    "foreign",
    *(f"foreign_lexical_{code}" for code in CODES),
)
"""The context features, in the order of the columns that :meth:`FullHeads.logits` puts together."""

_CHUNK = 256
_FOREIGN = 0.5
_HAS_PASSAGES = topic.VECTOR_NAMES.index("has_passages")


@dataclass(frozen=True, slots=True)
class FullTier:
    """The encoder, the heads that were fitted on its vectors, and what labels have added to those, if anything."""

    encoder: Encoder
    heads: FullHeads
    adaptation: Adaptation | None = None

    def logits(
        self,
        vectors: Vectors,
        dense: NDArray[np.float32],
        lexical: NDArray[np.float64],
        sites: Sequence[str | None],
        texts: Sequence[str],
    ) -> NDArray[np.float64]:
        """Raw scores, shape (comments, heads), before calibration; ``sites`` and ``texts`` are those of the comments.

        Texts are canonical, as :func:`extract` has them; only comments of sites with words of their own need theirs.
        """
        total = self.heads.logits(vectors, dense, lexical)
        if self.adaptation is not None:
            total += self.adaptation.logits(sites, vectors, self.heads.context(vectors, dense, lexical), texts)
        return total


@dataclass(frozen=True, slots=True)
class Model:
    """The heads of both tiers and the table of word weights behind topic relatedness.

    ``full`` is ``None`` where the bundle has no encoder, or where it could not be loaded; then ``encoder_missing`` is
    true and every comment's facts say that the encoder is not available.
    """

    heads: Heads
    topic: TopicModel
    full: FullTier | None = None
    encoder_missing: bool = False

    def score(self, comments: Sequence[Comment]) -> list[Scores]:
        """Calibrated probabilities of every category for each comment, in order."""
        return [scores for scores, _ in self.assess(comments)]

    def assess(self, comments: Sequence[Comment]) -> list[tuple[Scores, Facts]]:
        """Scores, and the facts that a policy needs beside them (tier, links, domains), for each comment, in order."""
        results: list[tuple[Scores, Facts]] = []
        for start in range(0, len(comments), _CHUNK):
            results += self._assess(comments[start : start + _CHUNK])
        return results

    def lexical_tier(self) -> Model:
        """The same model without the encoder, as it answers when that fails."""
        return Model(self.heads, self.topic)

    def assess_read(
        self, comments: Sequence[Comment], features: Features, vectors: Vectors | None
    ) -> list[tuple[Scores, Facts]]:
        """:meth:`assess` for comments that were read already, by the lexical tier where ``vectors`` is ``None``."""
        if not comments:
            return []
        logits = self.heads.logits(features)
        related = tell_related(features.dense, vectors)
        tier: Tier = "lexical"
        if self.full is not None and vectors is not None:
            tier = "full"
            sites = [comment.site for comment in comments]
            logits = self.full.logits(vectors, features.dense, logits, sites, features.fields["text"])
            probabilities = self.full.heads.calibrate(logits)
        else:
            probabilities = self.heads.calibrate(logits)
        available = tier == "full" or (self.full is None and not self.encoder_missing)
        results = []
        for comment, row, is_related in zip(comments, probabilities.tolist(), related.tolist(), strict=True):
            values = dict(zip(self.heads.codes, row, strict=True))
            for code in MAY_ABSTAIN:
                values[code] = values[code] if is_related else None
            links, domains = signals.link_facts(comment)
            facts = Facts(tier=tier, links=links, domains=domains, encoder_available=available)
            results.append((Scores.from_dict(values), facts))
        return results

    def _assess(self, comments: Sequence[Comment]) -> list[tuple[Scores, Facts]]:
        vectors, canonical = None, [normalise(comment.text) for comment in comments]
        if self.full is not None:
            try:
                vectors = read_vectors(comments, self.full.encoder, canonical)
            except EncoderUnavailable:
                if len(comments) > 1:  # one text that it cannot read takes no others with it
                    return [result for comment in comments for result in self._assess([comment])]
        return self.assess_read(comments, extract(comments, self.topic, canonical), vectors)


def tell_related(dense: NDArray[np.float32], vectors: Vectors | None = None) -> NDArray[np.bool_]:
    """Which comments have a post that they can be held against, shape (comments,); of others nothing is off topic."""
    related: NDArray[np.bool_] = dense[:, DENSE.index("has_topic")] > 0
    if vectors is not None:
        # A post of markup or blanks alone has words to neither the eye nor the encoder.
        related &= vectors.related[:, _HAS_PASSAGES] > 0
        related &= ~(topic.parent_left_post(vectors.related) & (vectors.foreign < _FOREIGN))
    return related


def extract(
    comments: Sequence[Comment], topic_model: TopicModel, canonical: Sequence[Normalised] | None = None
) -> Features:
    """What the heads see of the comments. Training and scoring both come through here, so they see the same.

    ``canonical`` are their texts, where they are normalised already.
    """
    texts, names, links = [], [], []
    dense = np.zeros((len(comments), len(DENSE)), np.float32)
    first_topic = len(signals.NAMES)
    for index, comment in enumerate(comments):
        normalised = normalise(comment.text) if canonical is None else canonical[index]
        texts.append(normalised.text)
        author = comment.author
        names.append(normalise(author.name).text if author and author.name else "")
        urls = [*signals.find_links(comment.text), *([author.url] if author and author.url else [])]
        links.append(" ".join(urls).lower())
        dense[index, :first_topic] = signals.features(signals.measure(comment, normalised))
        relatedness = topic_model.features(comment)
        if relatedness is not None:
            dense[index, first_topic] = 1
            dense[index, first_topic + 1 :] = relatedness
    return Features({"text": texts, "author_name": names, "links": links}, dense)


def read_vectors(
    comments: Sequence[Comment], encoder: Encoder, canonical: Sequence[Normalised] | None = None
) -> Vectors:
    """What the full heads see of the comments beside :func:`extract`. Raises ``EncoderUnavailable``."""
    canonical = [normalise(comment.text) for comment in comments] if canonical is None else canonical
    read = encoder.read_many([read_normalised(each) for each in canonical])
    return gather_vectors(comments, read, encoder)


def gather_vectors(comments: Sequence[Comment], read: Sequence[Sequence[Window]], encoder: Encoder) -> Vectors:
    """:func:`read_vectors` for comments whose windows are read already."""
    windows = [_window_row(window) for windows in read for window in windows]
    owners = np.repeat(np.arange(len(comments)), [len(of_one) for of_one in read])
    whole = [[window for window in of_one if not window.alone] for of_one in read]
    foreign = np.array([1 - np.mean([window.english for window in of_one]) for of_one in whole], np.float32)
    related = np.zeros((len(comments), len(topic.VECTOR_NAMES)), np.float32)
    for index, (comment, of_one) in enumerate(zip(comments, whole, strict=True)):
        passages = read_post(comment.post) if comment.post is not None else ()
        if passages:
            related[index] = topic.compare_vectors(
                _topic_vector(of_one),
                encoder.topic_vectors(passages),
                *_around(comment, encoder),
            )
    return Vectors(
        np.array(windows, np.float32).reshape(-1, WIDTH + len(MARKS)),
        owners,
        foreign,
        related,
        read_signatures(comments, encoder),
    )


def read_signatures(comments: Sequence[Comment], encoder: Encoder) -> NDArray[np.float32]:
    """``Vectors.signatures`` of the comments. Raises ``EncoderUnavailable``."""
    signatures = np.zeros((len(comments), WIDTH + 1), np.float32)
    for row, comment in zip(signatures, comments, strict=True):
        if line := read_signature(comment):
            row[:WIDTH], row[WIDTH] = encoder.class_vectors([line])[0], 1
    return signatures


def _window_row(window: Window) -> NDArray[np.float32]:
    marks = window.marks
    highest, total = (float(marks.max()), float(np.log1p(marks.sum()))) if len(marks) else (0.0, 0.0)
    columns = np.array([highest, total, window.alone, 1], np.float32)
    return np.concatenate([window.class_vector, columns]) * np.float32(window.english)


def _topic_vector(windows: Sequence[Window]) -> NDArray[np.float32]:
    """Of a long text, the mean of its windows, length one again."""
    mean = np.mean([window.topic_vector for window in windows], axis=0)
    result: NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), 1e-6)
    return result


def _around(comment: Comment, encoder: Encoder) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Vectors of the parent (384,) and of the thread (comments, 384), ``None`` where there is none."""
    parent = read_neighbour(comment.parent.text) if comment.parent and comment.parent.text else None
    thread = [read_neighbour(item.text) for item in comment.thread or () if item.text]
    return (
        encoder.topic_vectors([parent])[0] if parent else None,
        encoder.topic_vectors(thread) if thread else None,
    )
