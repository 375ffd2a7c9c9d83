"""The parts together: comments in, scores out. Knows nothing of files, thresholds or policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moderation import signals, topic
from moderation.categories import MAY_ABSTAIN
from moderation.comment import Comment, Scores
from moderation.heads import Features, Heads
from moderation.normalise import normalise
from moderation.policy import Facts
from moderation.topic import TopicModel

DENSE: tuple[str, ...] = (*signals.NAMES, "has_topic", *topic.NAMES)
"""The dense features, in the order of the columns of ``Features.dense``."""

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Model:
    """One tier of heads and the table of word weights behind topic relatedness."""

    heads: Heads
    topic: TopicModel

    def score(self, comments: Sequence[Comment]) -> list[Scores]:
        """Calibrated probabilities of every category for each comment, in order."""
        return [scores for scores, _ in self.assess(comments)]

    def assess(self, comments: Sequence[Comment]) -> list[tuple[Scores, Facts]]:
        """Scores, and the facts that a policy needs beside them (tier, links, domains), for each comment, in order."""
        results: list[tuple[Scores, Facts]] = []
        for start in range(0, len(comments), _CHUNK):
            results += self._assess(comments[start : start + _CHUNK])
        return results

    def _assess(self, comments: Sequence[Comment]) -> list[tuple[Scores, Facts]]:
        features = extract(comments, self.topic)
        probabilities = self.heads.probabilities(features)
        related = features.dense[:, DENSE.index("has_topic")] > 0
        results = []
        for comment, row, is_related in zip(comments, probabilities.tolist(), related.tolist(), strict=True):
            values = dict(zip(self.heads.codes, row, strict=True))
            for code in MAY_ABSTAIN:
                values[code] = values[code] if is_related else None
            links, domains = signals.link_facts(comment)
            results.append((Scores.from_dict(values), Facts(tier="lexical", links=links, domains=domains)))
        return results


def extract(comments: Sequence[Comment], topic_model: TopicModel) -> Features:
    """What the heads see of the comments. Training and scoring both come through here, so they see the same."""
    texts, names, urls = [], [], []
    dense = np.zeros((len(comments), len(DENSE)), np.float32)
    first_topic = len(signals.NAMES)
    for index, comment in enumerate(comments):
        normalised = normalise(comment.text)
        texts.append(normalised.text)
        author = comment.author
        names.append(normalise(author.name).text if author and author.name else "")
        urls.append(author.url.lower() if author and author.url else "")
        dense[index, :first_topic] = signals.features(signals.measure(comment, normalised))
        relatedness = topic_model.features(comment)
        if relatedness is not None:
            dense[index, first_topic] = 1
            dense[index, first_topic + 1 :] = relatedness
    return Features({"text": texts, "author_name": names, "author_url": urls}, dense)
