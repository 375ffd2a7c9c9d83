"""Hashed n-grams: ours against scikit-learn's HashingVectorizer, on the same texts, in one run, on one thread.

    python benchmarks/lexical.py [--texts FILE]

Without FILE the texts are made up here, words drawn by Zipf's law at the lengths of real comments. FILE is JSON Lines
with a field "text" (or CSV with a column "text" or "comment_text"); its first 4,000 rows are used.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from moderation.lexical import LexicalSpec, count_ngrams, weigh

TEXTS = 4_000
REPEATS = 7


def made_up_texts(count: int) -> list[str]:
    """Texts with a vocabulary of 30,000 words and the lengths of comments (median about 200 characters)."""
    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    chances = np.geomspace(1, 0.01, 26)
    vocabulary = [
        "".join(random.choice(letters, random.integers(1, 12), p=chances / chances.sum())) for _ in range(30_000)
    ]
    frequency = 1 / np.arange(1, 30_001)
    lengths = np.clip(random.lognormal(3.5, 1.0, count), 1, 2_000).astype(int)
    words = random.choice(30_000, lengths.sum(), p=frequency / frequency.sum())
    texts, start = [], 0
    for length in lengths:
        texts.append(" ".join(vocabulary[word] for word in words[start : start + length]).capitalize() + ".")
        start += length
    return texts


def read_texts(path: Path, count: int) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            csv.field_size_limit(1 << 24)
            rows = csv.DictReader(file)
            return [row.get("text") or row.get("comment_text") or "" for _, row in zip(range(count), rows)]  # noqa: B905 - cut at count
        return [json.loads(line)["text"] for _, line in zip(range(count), file)]  # noqa: B905 - cut at count


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="JSON Lines or CSV with texts; made up here if left out")
    arguments = parser.parse_args()
    texts = read_texts(arguments.texts, TEXTS) if arguments.texts else made_up_texts(TEXTS)

    spec = LexicalSpec(bits=18, char_min=2, char_max=5, word_max=0)
    peer = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=2**18)

    def ours() -> object:
        return weigh(count_ngrams(texts, spec))

    def theirs() -> object:
        return peer.transform(texts)

    ours(), theirs()
    # Turn and turn about, so that whatever else the machine does hits both.
    times = np.array([(seconds(ours), seconds(theirs)) for _ in range(REPEATS)])
    best, median = times.min(axis=0), np.median(times, axis=0)
    print(f"{len(texts):,} texts, {sum(map(len, texts)) / len(texts):.0f} characters each, one thread, {REPEATS} turns")
    print(f"{'':28}{'best':>10}{'median':>10}")
    for name, column in (("moderation.lexical", 0), ("HashingVectorizer (char_wb)", 1)):
        print(f"{name:28}{best[column]:>9.3f}s{median[column]:>9.3f}s")
    ratios = times[:, 1] / times[:, 0]
    print(f"faster by: {np.median(ratios):.1f} (median of turns; worst turn {ratios.min():.1f})")


if __name__ == "__main__":
    main()
