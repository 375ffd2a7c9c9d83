"""How many copies of earlier comments the rule `copies` finds, and how many genuine comments it holds wrongly.

    MODERATION_DATA_DIR=... python benchmarks/copies.py [--show | --frozen BUNDLE]

Comments of the public blogs in the training and validation rows come in blog by blog, in the order of their dates where
all have one. Each is compared with those before it as the service does: candidates share a hash of near-duplicates, the
first few of them count. Then every genuine comment is copied by somebody else with a made-up link, in its text or
behind the author's name. Prints its tables as Markdown; with --show also each genuine comment that would be held.
The same seed gives the same figures. No frozen row is read.

With --frozen the blogs and copies of `moderation evaluate`: what the bundle finds of the copies at the threshold where
1 % of the genuine comments are over it, what the rule finds where the blog's comments are known, as a service knows
them, and both together, with the threshold raised so that no more than 1 % of the genuine ones are held in all.
"""

from __future__ import annotations

import argparse
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from moderation.bundle import load_bundle
from moderation.comment import Author, Comment
from moderation.copied import Earlier, find_copied, has_enough, strip_added
from moderation.shipped import shipped_folder
from moderation.training.copies import make_up_link, put_link
from moderation.training.measures import threshold_at_false_positives
from moderation.training.rows import Row
from moderation.training.slices import copy_genuine
from moderation.training.train import gather
from service.hashes import Hashes
from service.store.originals import MOST_COMPARED

SIZES = ((0, "too short"), (1, "under 120 letters"), (120, "120 to 299"), (300, "300 and more"))
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Blog:
    """What has come in on one blog."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._by_band: dict[int, list[int]] = defaultdict(list)
        self.rows: list[Row] = []

    def find(self, comment: Comment) -> Row | None:
        """The first one that a comment is a copy of."""
        near = sorted({number for band in self._hashes.bands(comment.text) for number in self._by_band[band]})
        before = [self.rows[number] for number in near[:MOST_COMPARED]]
        place = find_copied(comment, [Earlier(row.comment.text, row.comment.author or Author()) for row in before])
        return None if place is None else before[place]

    def add(self, row: Row) -> None:
        """One more has come."""
        for band in self._hashes.bands(row.comment.text):
            self._by_band[band].append(len(self.rows))
        self.rows.append(row)


def in_order(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The comments of each blog as they came. Both sources have some of them; each comes once."""
    blogs: dict[str, dict[tuple[str, Author | None], Row]] = defaultdict(dict)
    for row in rows:
        is_moved = any(name.startswith("moved") for name in row.slices)
        if row.group.startswith("blog:") and not is_moved:
            blogs[row.group].setdefault((row.comment.text, row.comment.author), row)
    for found in blogs.values():
        blog = list(found.values())
        dates = [row.comment.created_at or "" for row in blog]
        yield sorted(blog, key=lambda row: row.comment.created_at or "") if all(map(_DAY.match, dates)) else blog


def copy(row: Row) -> tuple[Comment, str]:
    """A genuine comment under another author, with a link; and where that is."""
    chance = random.Random(f"copied {row.id}")
    comment, where = put_link(row.comment, *make_up_link(chance), chance)
    return (comment if where == "author" else replace(comment, author=Author(name="A visitor"))), where


def size(text: str) -> str:
    plain = strip_added(text)
    letters = sum(map(str.isalpha, plain)) if has_enough(plain) else 0
    return next(name for least, name in reversed(SIZES) if letters >= least)


def try_frozen(rows: Sequence[Row], bundle: Path, hashes: Hashes) -> None:
    """Copies of the frozen blogs' comments: found by the bundle, by the rule, by either."""
    model = load_bundle(bundle).model
    blogs: dict[str, Blog] = defaultdict(lambda: Blog(hashes))
    genuine: list[tuple[float, bool]] = []
    for blog in in_order(rows):
        scores = model.score([row.comment for row in blog])
        for row, found in zip(blog, scores, strict=True):
            if row.labels["spam"] == 0:
                genuine.append((found.spam, blogs[row.group].find(row.comment) is not None))
            blogs[row.group].add(row)
    copies = copy_genuine(rows)
    scores = model.score([row.comment for row in copies])
    by_score = np.array([found.spam for found in scores])
    by_rule = np.array([blogs[row.group].find(row.comment) is not None for row in copies])
    good, held = np.array(genuine, float).T
    alone = threshold_at_false_positives(good, 0.01)
    both = threshold_at_false_positives(np.where(held > 0, np.inf, good), 0.01)
    print(f"{len(good):,} genuine comments, {held.sum():.0f} of them held by the rule\n")
    print("| copies | | the bundle | the rule | either |\n|---|---|---|---|---|")
    for part in ("", "in-text", "author-url", "own-post", "other-post"):
        chosen = np.array([not part or part in row.slices for row in copies])
        figures = (by_score > alone, by_rule, (by_score > both) | by_rule)
        cells = " | ".join(f"{found[chosen].mean():.1%}" for found in figures)
        print(f"| {part or 'all'} | {chosen.sum():,} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--frozen", type=Path, metavar="BUNDLE")
    arguments = parser.parse_args()
    shows = arguments.show
    data = gather(shipped_folder("training_data"), Path(os.environ["MODERATION_DATA_DIR"])).dataset
    hashes = Hashes(b"k" * 32)
    if arguments.frozen:
        try_frozen(data.frozen["spam-blogs"], arguments.frozen, hashes)
        return
    came: Counter[int] = Counter()
    held: Counter[tuple[int, int]] = Counter()
    made: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for rows in in_order([*data.train, *data.validation]):
        blog = Blog(hashes)
        for row in rows:
            label = row.labels.get("spam", 0)
            came[label] += 1
            original = blog.find(row.comment)
            if original is not None:
                held[label, original.labels.get("spam", 0)] += 1
                if shows and not label:
                    for each in (original, row):
                        print(each.id, each.comment.created_at, each.comment.author, repr(each.comment.text[:200]))
            blog.add(row)
        for row in rows:
            if row.labels.get("spam", 0) == 0:
                comment, where = copy(row)
                kind = where, size(row.comment.text)
                made[kind] += 1
                found[kind] += blog.find(comment) is not None
    print("| comments | came in | held, as copies of genuine ones | held, as copies of spam |\n|---|---|---|---|")
    for label, name in enumerate(("genuine", "spam")):
        print(f"| {name} | {came[label]:,} | {held[label, 0]:,} | {held[label, 1]:,} |")
    print(f"\n| copies with the link | {' | '.join(name for _, name in SIZES)} | all |\n|{'---|' * (len(SIZES) + 2)}")
    for where, name in (("text", "in the text"), ("author", "behind the author's name")):
        cells = [f"{found[where, each]:,} of {made[where, each]:,}" for _, each in SIZES]
        all_found, all_made = (sum(counts[where, each] for _, each in SIZES) for counts in (found, made))
        print(f"| {name} | {' | '.join(cells)} | {all_found / all_made:.1%} of {all_made:,} |")


if __name__ == "__main__":
    main()
