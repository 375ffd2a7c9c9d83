"""Which of our scores as many comments reach as some share of raters has called toxic.

    MODERATION_DATA_DIR=... python benchmarks/perspective_thresholds.py [--models FOLDER]

The shares are the numbers that were advised as thresholds for the Perspective API, and are not scores of it: nobody has
published comments together with the scores that Google gave them. What there is: Civil Comments with
`toxicity`, the share of some fifty to eighty raters who called a comment toxic, which is what Google's TOXICITY was
fitted to foretell. Here they come from the raw rows of NoisyHate (texts in small letters, without punctuation), less
every row that stands in its frozen files, in toxic-spans (which the model learned from) or in `exclude.txt`.

For each threshold: how many of these comments have at least that share of raters, the score of ours that as many reach,
and how many of the ones are among the others (agree); then, for a line at the number itself, how many exceed it and
how many of those have half of the raters. Nothing is chosen by it; it is for people who move a threshold.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from moderation.bundle import load_bundle
from moderation.comment import Comment
from moderation.record import current_bundle
from moderation.shipped import shipped_folder

ADVISED = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
HALF = 0.5
RESAMPLES = 2_000

Array = NDArray[np.float64]


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def read(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def read_rows(data: Path) -> dict[str, float]:
    """The share of raters by text, each text once, of rows that no model of ours has met or is measured on."""
    hostile = data / "hostile"
    known = {letters(row["clean"]) for row in read(hostile / "noisyhate" / "clean.csv")}
    known |= {letters(row["comment_text"]) for row in read(hostile / "toxic-spans" / "comments.csv")}
    excluded = set((shipped_folder("training_data") / "exclude.txt").read_text(encoding="utf-8").split())
    rows: dict[str, float] = {}
    for path in sorted((hostile / "noisyhate").glob("*/*_raw.csv")):
        for row in read(path):
            text, bare = row["clean"].strip(), letters(row["clean"])
            is_new = bare not in known and sha1(bare.encode()).hexdigest()[:16] not in excluded
            if row["toxicity"] and bare and is_new:
                rows.setdefault(text, float(row["toxicity"]))
    return rows


def match(scores: Array, shares: Array, threshold: float) -> float:
    """The score that as many exceed as reach the threshold."""
    return float(np.quantile(scores, 1 - np.mean(shares >= threshold), method="higher"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shipped_folder("models"), help="a folder of bundles")
    bundle = load_bundle(current_bundle(parser.parse_args().models))
    rows = read_rows(Path(os.environ["MODERATION_DATA_DIR"]))
    shares = np.array(list(rows.values()))
    comments = [Comment(text) for text in rows]
    full = np.array([scores.hostile for scores in bundle.model.score(comments)])
    fast = np.array([scores.hostile for scores in bundle.model.lexical_tier().score(comments)])
    random = np.random.default_rng(0)
    draws = random.integers(0, len(shares), (RESAMPLES, len(shares)))
    print(f"{bundle.name}, {len(shares):,} comments, {np.mean(shares >= HALF):.0%} with half of the raters or more")
    print("| share of raters | have it | TOXICITY here | 95 % of resamples | agree | TOXICITY_FAST | over | hostile |")
    print("|---|---|---|---|---|---|---|---|")
    for threshold in ADVISED:
        wanted = shares >= threshold
        ours = match(full, shares, threshold)
        low, high = np.quantile([match(full[draw], shares[draw], threshold) for draw in draws], [0.025, 0.975])
        over = full > threshold
        print(
            f"| {threshold} | {np.mean(wanted):.1%} | {ours:.2f} | {low:.2f} to {high:.2f} | "
            f"{np.mean(wanted[full >= ours]):.0%} | {match(fast, shares, threshold):.2f} | {np.mean(over):.1%} | "
            f"{np.mean(shares[over] >= HALF):.0%} |"
        )
    print(f"rank correlation of TOXICITY with the share of raters: {spearmanr(full, shares).statistic:.2f}")


if __name__ == "__main__":
    main()
