"""How much spam the rule `known_spam` finds beside the model, and how many genuine comments it holds wrongly.

    MODERATION_DATA_DIR=... python benchmarks/known_spam.py BUNDLE [--frozen]

Comments typed into the forms of the public blogs come in blog by blog, in the order of their dates, with all that came
again and again. What reaches the bundle's hold line for spam, or is held by the rule, is judged as the blog's owner
did, and the rule knows it from then on, as the service's store does. In a second world the owner judges everything, as
on a site whose readers report what slips through. Prints a table as Markdown. The blogs are those of validation, from
which no model has learned; with --frozen the frozen ones.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from moderation.bundle import load_bundle
from moderation.comment import Author
from moderation.copied import Earlier, find_known_spam
from moderation.policy import Policy, default_policy_toml
from moderation.shipped import shipped_folder
from moderation.training.adapters.blogs import FROZEN_BLOGS
from moderation.training.dataset import VALIDATION_BLOGS
from moderation.training.rows import Row
from moderation.training.sources import load_catalogue, read_rows
from service.hashes import Hashes
from service.store.originals import MOST_JUDGED


def play(
    rows: Sequence[Row], scores: Sequence[float], line: float, hashes: Hashes, *, sees_all: bool
) -> list[tuple[bool, bool]]:
    """For each comment in order whether the model holds it and whether the rule does."""
    by_band: dict[int, list[int]] = defaultdict(list)
    judged: list[Earlier] = []
    held = []
    for row, score in zip(rows, scores, strict=True):
        bands = hashes.bands(row.comment.text)
        near = sorted({number for band in bands for number in by_band[band][-MOST_JUDGED:]}, reverse=True)
        by_model = score >= line
        by_rule = find_known_spam(row.comment, [judged[number] for number in near[:MOST_JUDGED]]) is not None
        held.append((by_model, by_rule))
        if sees_all or by_model or by_rule:
            for band in bands:
                by_band[band].append(len(judged))
            author = row.comment.author or Author()
            judged.append(Earlier(row.comment.text, author, is_spam=row.labels["spam"] == 1))
    return held


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--frozen", action="store_true")
    arguments = parser.parse_args()
    blogs = FROZEN_BLOGS if arguments.frozen else VALIDATION_BLOGS
    bundle = load_bundle(arguments.bundle)
    policy = Policy.parse(default_policy_toml(), bundle.operating_points)
    line = policy.line("full", "spam", "hold").threshold
    assert line is not None
    catalogue = load_catalogue(shipped_folder("training_data") / "sources.toml")
    (source,) = (each for each in catalogue if each.name == "blog-pr-moderation")
    by_blog: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(source, Path(os.environ["MODERATION_DATA_DIR"])):
        if row.group.removeprefix("blog:") in blogs and "origin-form" in row.slices:
            by_blog[row.group].append(row)
    hashes = Hashes(b"k" * 32)
    print(f"Hold line {line:.3f}.\n")
    print("| blog | genuine: | by the model | by the rule alone | spam: | by the model | and the rule | seeing all |")
    print("|---|---|---|---|---|---|---|---|")
    total = [0] * 7
    for blog, rows in sorted(by_blog.items()):
        rows.sort(key=lambda row: row.comment.created_at or "")
        scores = [found.spam for found in bundle.model.score([row.comment for row in rows])]
        some, everything = (play(rows, scores, line, hashes, sees_all=sees_all) for sees_all in (False, True))
        is_spam = [row.labels["spam"] == 1 for row in rows]
        good = [each for each, spam in zip(everything, is_spam, strict=True) if not spam]
        bad = [(one, all_) for one, all_, spam in zip(some, everything, is_spam, strict=True) if spam]
        counts = [
            *(len(good), sum(model for model, _ in good), sum(rule and not model for model, rule in good)),
            *(
                len(bad),
                sum(one[0] for one, _ in bad),
                sum(any(one) for one, _ in bad),
                sum(any(all_) for _, all_ in bad),
            ),
        ]
        total = [before + now for before, now in zip(total, counts, strict=True)]
        show(blog.removeprefix("blog:"), counts)
    show("all", total)


def show(name: str, counts: Sequence[int]) -> None:
    good, good_model, good_rule, bad, *found = counts
    cells = " | ".join(f"{each / bad:.1%}" for each in found)
    print(f"| {name} | {good:,} | {good_model} | {good_rule} | {bad:,} | {cells} |")


if __name__ == "__main__":
    main()
