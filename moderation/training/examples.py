"""Rows as the encoder learns from them: which, how often, and which batches make a step.

Two kinds of batch. *Class* batches hold single comments with the labels known of them. *Topic* batches hold pairs of a
passage and a comment that belong together, all from one blog, so that every other passage of the batch is a negative of
the hard kind: the same writer, the same readers, another subject.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from moderation.readable import make_readable, read_post, read_signature
from moderation.topic import MIN_WORDS
from moderation.training.adapters.reading import spread
from moderation.training.copies import with_copies
from moderation.training.dataset import is_for_heads
from moderation.training.disguise import disguise, swap_identities
from moderation.training.rows import Row
from moderation.training.table import LANGUAGES, TALK, TALK_SHARE

# How often a row of a source is seen in one epoch. Fragments and machine-made sentences less, what is most like a
# comment on a blog, or ours, more. The vocabulary is English: sources in other languages are left to the n-grams, and
# so are our own rows in them.
TIMES = {
    "kaggle-insults": 2.5,
    "seed": 4.0,
    "hatemoji": 3.0,
    "jigsaw-predibase": 1.5,
    "jigsaw-fastbert": 1.5,
    "hatexplain": 0.4,
    "edos": 0.5,
    "misogyny-eacl2021": 0.6,
    "vicomtech-stormfront": 0.3,
    "paradetox": 0.15,
    "goemotions": 0.5,
    "templates": 1.5,
    "signature": 0.7,
    "youtube-uci": 0.5,
    "staticman-popcorn-demo": 0.2,
    "germeval2018": 0.0,
    "germeval2021": 0.0,
    "told-br": 0.0,
    "korean-hate-speech": 0.0,
    "cold-zh": 0.0,
}
SIGNATURE = "signature"
DISGUISED_SHARE = 0.3
SWAPPED_SHARE = 0.3
NEIGHBOUR_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class ClassExample:
    """One comment's text and what is known of it.

    ``marked`` holds (start, end, share of raters) where raters marked the hostile part, if they were asked; offsets are
    in ``text``.
    """

    text: str
    source: str
    labels: dict[str, float]
    weight: float
    marked: tuple[tuple[int, int, float], ...] | None


@dataclass(frozen=True, slots=True)
class TopicExample:
    """A comment on a post of a blog, with everything of the post that may be shown beside it."""

    text: str
    blog: str
    post: str
    passages: tuple[str, ...]
    likeness: tuple[float, ...]
    neighbours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's examples: indices of class examples, or of topic examples."""

    kind: str
    indices: tuple[int, ...]


def class_examples(rows: Sequence[Row]) -> list[ClassExample]:
    """The rows that teach a category other than off-topic, without those kept for the heads."""
    campaigns = Counter(row.extra["cluster"] for row in rows if row.labels.get("spam") == 1 and "cluster" in row.extra)
    examples = []
    for row in with_copies(rows):
        if row.extra.get("copy") == "author":
            continue  # what makes it spam is not in the text
        labels = {code: float(value) for code, value in row.labels.items() if code != "off_topic"}
        if not labels or is_for_heads(row) or TIMES.get(row.source, 1.0) == 0 or LANGUAGES in row.slices:
            continue
        if row.source in TALK and "spam" not in labels and spread(f"talk {row.id}") < TALK_SHARE:
            labels["spam"] = 0.0
        marked = None
        if row.source == "toxic-spans" and "marked" in row.extra:
            marked = tuple((start, end, share) for start, end, share in json.loads(row.extra["marked"]))
            # The share of the raters says more than their majority: most comments are doubtful.
            if "hostile" in labels:
                labels["hostile"] = float(row.extra["toxic_share"])
        times = campaigns.get(row.extra.get("cluster", ""), 1) if labels.get("spam") == 1 else 1
        examples.append(ClassExample(row.comment.text, row.source, labels, times**-0.5, marked))
    return examples


def signature_examples(rows: Sequence[Row]) -> list[ClassExample]:
    """What the encoder reads of authors and links (:func:`moderation.readable.read_signature`), with the spam label."""
    lines: dict[tuple[str, int], list[float]] = defaultdict(list)
    campaigns = Counter(row.extra["cluster"] for row in rows if row.labels.get("spam") == 1 and "cluster" in row.extra)
    for row in with_copies(rows):
        line = read_signature(row.comment)
        if line and "spam" in row.labels and not is_for_heads(row) and TIMES.get(row.source, 1.0) > 0:
            label = row.labels["spam"]
            times = campaigns.get(row.extra.get("cluster", ""), 1) if label == 1 else 1
            lines[line, label].append(times**-0.5)
    # The owner of a blog signs hundreds of comments: the line is learned once, or a little more often.
    return [
        ClassExample(line, SIGNATURE, {"spam": float(label)}, min(sum(weights), len(weights) ** 0.5), None)
        for (line, label), weights in lines.items()
    ]


def topic_examples(rows: Sequence[Row]) -> list[TopicExample]:
    """Comments on their own post, of eight words and more, without the blogs kept for the heads."""
    examples = []
    for row in rows:
        post = row.comment.post
        if row.labels.get("off_topic") != 0 or post is None or is_for_heads(row) or not row.group.startswith("blog:"):
            continue
        passages = tuple(read_post(post))
        if not passages:
            continue
        neighbours = [item.text or "" for item in (row.comment.thread or ())]
        if row.comment.parent is not None:
            neighbours.append(row.comment.parent.text or "")
        examples.append(
            TopicExample(
                row.comment.text,
                row.group,
                post.id or f"{post.title}\n{post.text}",
                passages,
                (),
                tuple(text for text in neighbours if len(text.split()) >= MIN_WORDS),
            )
        )
    return _with_likeness(examples)


def _with_likeness(examples: Sequence[TopicExample]) -> list[TopicExample]:
    """The examples with how alike each passage and the comment are (cosine of TF-IDF within the blog)."""
    by_blog: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_blog[example.blog].append(index)
    result = list(examples)
    for indices in by_blog.values():
        texts = dict.fromkeys(text for index in indices for text in (examples[index].text, *examples[index].passages))
        number = {text: row for row, text in enumerate(texts)}
        vectors = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform([f"{text} post" for text in texts])
        for index in indices:
            example = examples[index]
            near = vectors[[number[passage] for passage in example.passages]] @ vectors[number[example.text]].T
            result[index] = replace(example, likeness=tuple(float(value) for value in near.toarray()[:, 0]))
    return result


def plan(
    examples: Sequence[ClassExample],
    pairs: Sequence[TopicExample],
    *,
    epochs: float,
    class_size: int,
    topic_size: int,
    topic_epochs: float,
    seed: int,
) -> list[Batch]:
    """The batches of a whole run in order: class batches of alike lengths, topic batches spread evenly among them."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    drawn: list[int] = []
    for index, example in enumerate(examples):
        times = epochs * TIMES.get(example.source, 1.0) * example.weight
        drawn += [index] * (int(times) + (chance.random() < times % 1))
    chance.shuffle(drawn)
    classes = []
    pool = class_size * 40
    for start in range(0, len(drawn), pool):
        part = sorted(drawn[start : start + pool], key=lambda index: len(examples[index].text))
        batches = [tuple(part[at : at + class_size]) for at in range(0, len(part), class_size)]
        chance.shuffle(batches)
        classes += [Batch("class", batch) for batch in batches]
    topics: list[Batch] = []
    for epoch in range(math.ceil(topic_epochs)):
        paired = [Batch("topic", indices) for indices in _topic_batches(pairs, topic_size, chance)]
        rest = topic_epochs - epoch
        topics += paired if rest >= 1 else chance.sample(paired, round(len(paired) * rest))
    chance.shuffle(topics)
    places = [((number + 0.5) / len(classes), 0, batch) for number, batch in enumerate(classes)]
    places += [((number + 0.5) / len(topics), 1, batch) for number, batch in enumerate(topics)]
    return [batch for _, _, batch in sorted(places, key=lambda place: place[:2])]


def _topic_batches(pairs: Sequence[TopicExample], size: int, chance: random.Random) -> Iterator[tuple[int, ...]]:
    """Pairs of one blog, each on another post; half of the batches draw from posts alike by TF-IDF."""
    by_blog: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, pair in enumerate(pairs):
        by_blog[pair.blog][pair.post].append(index)
    for posts in by_blog.values():
        order = _alike_in_a_row(posts, pairs, chance)
        waiting = {post: chance.sample(indices, len(indices)) for post, indices in posts.items()}
        rounds = 0
        while any(waiting.values()):
            keys = [post for post in order if waiting[post]]
            if rounds % 2:
                chance.shuffle(keys)
            rounds += 1
            for start in range(0, len(keys), size):
                batch = tuple(waiting[post].pop() for post in keys[start : start + size])
                if len(batch) >= 4:
                    yield batch


def _alike_in_a_row(posts: dict[str, list[int]], pairs: Sequence[TopicExample], chance: random.Random) -> list[str]:
    """The posts of a blog, ordered so that each is followed by the most similar one not yet placed."""
    keys = sorted(posts)
    texts = [" ".join(pairs[posts[key][0]].passages[:8]) or "post" for key in keys]
    vectors = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform([f"{text} post" for text in texts])
    likeness = (vectors @ vectors.T).toarray()
    at = chance.randrange(len(keys))
    order = [at]
    left = set(range(len(keys))) - {at}
    while left:
        at = max(left, key=lambda other: (likeness[at, other], -other))
        left.remove(at)
        order.append(at)
    return [keys[index] for index in order]


def vary_text(
    example: ClassExample,
    chance: random.Random,
    disguised_share: float = DISGUISED_SHARE,
    swapped_share: float = SWAPPED_SHARE,
) -> tuple[str, tuple[tuple[int, int, float], ...] | None]:
    """The text as the encoder reads it this time, and the marked stretches in it (``None``: not known).

    Some are disguised, some have identity words swapped; those have no marks, as their letters have moved.
    """
    text, marked = example.text, example.marked
    if example.source == SIGNATURE:
        return text, marked
    if chance.random() < swapped_share:
        swapped = swap_identities(text, chance)
        if swapped != text:
            text, marked = swapped, None
    if chance.random() < disguised_share:
        text, marked = disguise(text, chance), None
    readable = make_readable(text)
    if marked is not None:
        marked = tuple(_moved(marked, readable.origins, len(text)))
    return readable.text, marked


def _moved(
    marked: Sequence[tuple[int, int, float]], origins: Sequence[int], length: int
) -> Iterator[tuple[int, int, float]]:
    """Stretches of the original, where they are in the readable text."""
    shares = [0.0] * (length + 1)
    for start, end, share in marked:
        shares[start:end] = [share] * (end - start)
    start, current = 0, 0.0
    for index, origin in enumerate([*origins, length]):
        share = shares[origin] if index < len(origins) else 0.0
        if share != current:
            if current:
                yield start, index, current
            start, current = index, share


def show_passage(pair: TopicExample, chance: random.Random) -> str:
    """What stands for the post this time: mostly a passage, often an earlier comment of the thread."""
    if pair.neighbours and chance.random() < NEIGHBOUR_SHARE:
        return make_readable(chance.choice(pair.neighbours)).text
    # A comment answers a part of the post, not any part: passages that share its words are shown more often.
    weights = [math.exp(12 * value) for value in pair.likeness]
    return chance.choices(pair.passages, weights)[0]
