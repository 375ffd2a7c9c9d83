"""Rows into a data set: bad and forbidden ones out, equal ones merged, splits that do not leak.

Nothing here is drawn at random: samples and splits follow hashes, so the same rows give the same data set.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from moderation import signals
from moderation.comment import Comment, Post
from moderation.errors import DataError
from moderation.training.nearness import Nearness, identity
from moderation.training.rows import BehaviourCase, Row, fingerprint, read_behaviour, read_seed

__all__ = [
    "BehaviourCase",
    "Dataset",
    "Report",
    "Row",
    "build_dataset",
    "fingerprint",
    "load_exclude",
    "move_comments",
    "read_behaviour",
    "read_seed",
]

VALIDATION_BLOGS = frozenset({"made-mistakes", "willymcallister", "archive_fever"})
VALIDATION_SHARE = 0.15
HEAD_BLOGS = frozenset(
    {"eduardoboucas", "hajekj", "xam", "fbnlsr", "mythz", "rachel-vi", "timothyfitz", "arzebiu-pt", "mivano"}
)
HEAD_SHARE = 0.15
# What an encoder need not be taught, and few rows of which must be enough: where links lead to.
HEAD_SLICES = frozenset({"help-links"})
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the rows, as counts. ``dropped`` is by reason, then by source."""

    read: Mapping[str, int]
    refused: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    train: Mapping[str, int]
    validation: Mapping[str, int]
    frozen: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries with sorted keys, for a manifest or a report."""
        return {
            name: {key: dict(sorted(value.items())) if isinstance(value, Mapping) else value for key, value in items}
            for name in ("read", "refused", "dropped", "train", "validation", "frozen", "labels")
            for items in [sorted(getattr(self, name).items())]
        }


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to learn from, rows to calibrate on, and rows that are only measured on, by the name of their set."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    frozen: Mapping[str, tuple[Row, ...]]
    report: Report


@dataclass
class _Tally:
    """Counts of dropped rows by reason and source."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def keep(self, rows: Iterable[Row], reason: str, bad: Iterable[bool]) -> list[Row]:
        """The rows that are not bad; the others are counted."""
        kept = []
        for row, is_bad in zip(rows, bad, strict=True):
            if is_bad:
                self.counts[reason][row.source] += 1
            else:
                kept.append(row)
        return kept


def load_exclude(path: Path) -> frozenset[str]:
    """The fingerprints of texts that must not be used, one a line. Raises ``DataError`` for anything else."""
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of excluded texts {path}: {error}") from None
    for line in lines:
        if not _FINGERPRINT.fullmatch(line):
            raise DataError(f"{path}: {line[:40]!r} is not a fingerprint of 16 hex digits")
    return frozenset(lines)


def build_dataset(
    rows: Iterable[Row],
    exclude: Collection[str],
    seed_rows: Iterable[Row] = (),
    *,
    held_out: Iterable[Comment] = (),
    refused: Mapping[str, int] | None = None,
    seed: int = 0,
    nearest_share: float = 0.3,
) -> Dataset:
    """Turn rows of all sources into training, validation and frozen rows that have nothing in common.

    In this order: rows with an excluded fingerprint go; equal rows become one; rows equal or nearly equal to a frozen
    row or to a ``held_out`` comment (behaviour cases) go; groups are split by hash, blogs as a whole; training rows go
    that belong to a spam campaign of, or nearly equal, a validation or frozen row; validation spam goes whose links
    lead where those of training spam lead; off-topic rows are made.

    Args:
        rows: Of every source, in the order of the catalogue: of equal comments the first is kept.
        exclude: Fingerprints, see :func:`load_exclude`.
        seed_rows: Our own rows; those of the source ``seed`` are all for training.
        held_out: Comments that no training or validation row may be nearly equal to.
        refused: Rows that broke the contract, by source, for the report.
        seed: Of the choice of posts for off-topic rows.
        nearest_share: Share of the off-topic rows of training and validation made with the nearest other post.
            Frozen comments are moved twice, to a random and to the nearest one (slices ``moved-random``,
            ``moved-nearest``).
    """
    everything = [*rows, *seed_rows]
    letters = functools.cache(fingerprint)
    tally = _Tally()
    read = Counter(row.source for row in everything)
    usable = tally.keep(
        everything,
        "excluded",
        (letters(row.comment.text) in exclude or row.extra.get("raw_fingerprint") in exclude for row in everything),
    )
    learning = _merge_equal([row for row in usable if row.frozen_set is None], tally, letters)
    frozen = _frozen_sets([row for row in usable if row.frozen_set is not None], tally, letters)

    measured = [row for rows_of_set in frozen.values() for row in rows_of_set]
    near = Nearness(learning, [*(row.comment for row in measured), *held_out], letters)
    learning = tally.keep(learning, "near a frozen row", near.to_others(learning))
    campaigns = _campaigns(measured)
    learning = tally.keep(learning, "campaign of a frozen blog", (campaign_of(row) in campaigns for row in learning))

    validation = [row for row in learning if _is_validation(row)]
    train = [row for row in learning if not _is_validation(row)]
    campaigns = _campaigns(validation)
    train = tally.keep(train, "campaign of a validation blog", (campaign_of(row) in campaigns for row in train))
    train = tally.keep(train, "near a validation row", near.to_rows(train, validation))

    known = {host for row in train for host in spam_hosts(row)}
    leads_there = [not known.isdisjoint(spam_hosts(row)) for row in validation]
    validation = tally.keep(validation, "leads where training spam leads", leads_there)

    train += move_comments(train, seed, nearest_share)
    validation += move_comments(validation, seed, nearest_share)
    for name, rows_of_set in frozen.items():
        frozen[name] = [*rows_of_set, *move_comments(rows_of_set, seed, 0), *move_comments(rows_of_set, seed, 1)]
    return Dataset(
        tuple(train),
        tuple(validation),
        {name: tuple(rows_of_set) for name, rows_of_set in sorted(frozen.items())},
        Report(
            read=read,
            refused=dict(refused or {}),
            dropped=tally.counts,
            train=Counter(row.source for row in train),
            validation=Counter(row.source for row in validation),
            frozen={name: len(rows_of_set) for name, rows_of_set in frozen.items()},
            labels={"train": _label_counts(train), "validation": _label_counts(validation)},
        ),
    )


def move_comments(rows: Iterable[Row], seed: int, nearest_share: float) -> list[Row]:
    """Off-topic rows, made by giving each on-topic comment another post of the same blog.

    The text stays; post, thread and parent are those of another comment, on the other post. ``nearest_share`` of them
    (by hash) get the other post most alike by TF-IDF of title and text, which is the hard case, the rest any other
    post. Group, weight and frozen set are kept; the only label is off_topic 1. Blogs with a single post give none.
    """
    blogs: dict[str, list[tuple[Row, Post, str]]] = defaultdict(list)
    for row in rows:
        post = row.comment.post
        if row.labels.get("off_topic") == 0 and post is not None:
            blogs[row.group].append((row, post, post.id or f"{post.title}\n{post.text}"))
    moved = []
    for placed in blogs.values():
        posts = {key: post for _, post, key in placed}
        if len(posts) < 2:
            continue
        keys = sorted(posts)
        places: dict[str, list[Comment]] = defaultdict(list)
        for row, _, key in placed:
            places[key].append(row.comment)
        nearest = _nearest_posts([posts[key] for key in keys]) if nearest_share > 0 else []
        number = {key: index for index, key in enumerate(keys)}
        for row, _, key in placed:
            own = number[key]
            other = int(_share(seed, row.id, "post") * (len(keys) - 1))
            other += other >= own
            kind = "moved-random"
            if _share(seed, row.id, "kind") < nearest_share:
                kind, other = "moved-nearest", nearest[own]
            there = places[keys[other]]
            place = there[int(_share(seed, row.id, "place") * len(there))]
            slices = (*(name for name in row.slices if name != "own-post"), kind)
            comment = replace(row.comment, post=place.post, thread=place.thread, parent=place.parent, url=None)
            moved.append(replace(row, id=f"{row.id}#{kind}", comment=comment, labels={"off_topic": 1}, slices=slices))
    return moved


def _nearest_posts(posts: Sequence[Post]) -> list[int]:
    """For each post the index of the other one most like it (cosine of TF-IDF of title and first 3,000 characters)."""
    texts = [f"{post.title or ''} {post.title or ''} {(post.text or '')[:3000]} post" for post in posts]
    vectors = TfidfVectorizer(sublinear_tf=True, max_features=50_000, dtype=np.float32).fit_transform(texts)
    likeness = (vectors @ vectors.T).toarray()
    np.fill_diagonal(likeness, -1)
    return [int(index) for index in likeness.argmax(axis=1)]


def _share(seed: int, *parts: str) -> float:
    """A number in [0, 1) fixed by its arguments."""
    key = "\n".join((str(seed), *parts))
    return int(hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()[:12], 16) / 16**12


def _is_validation(row: Row) -> bool:
    """Whole blogs by name, every other group by hash of its name. Our own rows are all for training."""
    if row.source == "seed":
        return False
    if row.group.startswith("blog:"):
        return row.group.removeprefix("blog:") in VALIDATION_BLOGS
    return _share(0, row.group, "split") < VALIDATION_SHARE


def is_for_heads(row: Row) -> bool:
    """Whether a training row is kept from the encoder. Whole blogs and slices of our own by name, the rest by hash.

    Heads are fitted on these rows alone, so that they learn how good vectors are on texts the encoder has not seen.
    """
    if row.group.startswith("blog:"):
        return row.group.removeprefix("blog:") in HEAD_BLOGS
    return not HEAD_SLICES.isdisjoint(row.slices) or _share(0, row.group, "heads") < HEAD_SHARE


def _merge_equal(rows: Sequence[Row], tally: _Tally, letters: Callable[[str], str]) -> list[Row]:
    """One row for equal texts, keeping the first and every label on which all agree.

    With and without an author URL counts as different: generic praise is spam by its link alone. So do rows that say
    whether they are on topic, under different posts.
    """
    equal: dict[tuple[str, bool, str | None], list[Row]] = {}
    for row in rows:
        author, post = row.comment.author, row.comment.post
        place = f"{post.id}\n{post.title}" if post is not None and "off_topic" in row.labels else None
        equal.setdefault((identity(row.comment.text, letters), bool(author and author.url), place), []).append(row)
    kept = []
    for same in equal.values():
        first = same[0]
        for row in same[1:]:
            tally.counts["equal to another row"][row.source] += 1
        if len(same) > 1:
            said: dict[str, set[int]] = {}
            for row in same:
                for code, value in row.labels.items():
                    said.setdefault(code, set()).add(value)
            labels = {code: next(iter(values)) for code, values in said.items() if len(values) == 1}
            extra = {name: value for row in reversed(same) for name, value in row.extra.items()}
            slices = tuple(dict.fromkeys(name for row in same for name in row.slices))
            first = replace(first, labels=labels, extra=extra, slices=slices)
        if first.labels:
            kept.append(first)
        else:
            tally.counts["no label left"][first.source] += 1
    return kept


def _frozen_sets(rows: Sequence[Row], tally: _Tally, letters: Callable[[str], str]) -> dict[str, list[Row]]:
    """Frozen rows by set, without equal ones; the two spellings of a pair may be equal and both stay."""
    sets: dict[str, list[Row]] = defaultdict(list)
    seen = set()
    for row in rows:
        author = row.comment.author
        key = (row.frozen_set, identity(row.comment.text, letters), bool(author and author.url), row.extra.get("pair"))
        if key[-1] is None and key in seen:
            tally.counts["equal to another row"][row.source] += 1
            continue
        seen.add(key)
        sets[row.frozen_set or ""].append(row)
    return sets


def campaign_of(row: Row) -> str | None:
    """The campaign of a spam row, if its source numbers them."""
    return row.extra.get("cluster") if row.labels.get("spam") == 1 else None


def spam_hosts(row: Row) -> frozenset[str]:
    """Where the links of a spam row lead, the author's too: hosts, without those that everybody links to."""
    if row.labels.get("spam") != 1:
        return frozenset()
    return frozenset(host for host in signals.link_facts(row.comment)[1] if not signals.is_known_host(host))


def _campaigns(rows: Iterable[Row]) -> set[str]:
    return {campaign for row in rows if (campaign := campaign_of(row)) is not None}


def _label_counts(rows: Iterable[Row]) -> dict[str, int]:
    """How often each category is known to be 0 and 1, as ``"spam=1"``."""
    return Counter(f"{code}={value}" for row in rows for code, value in row.labels.items())
