"""What reading for meaning costs: the encoder's size, the whole path against the bare pass, and both tiers' pace.

    python benchmarks/encoder.py [--bundle DIR] [--turns N]

Measures the published bundle, or the one in DIR. *Whole path* is ``Model.assess`` of one comment of 42 tokens without a
post: normalising, n-grams, signals, tokens, the encoder, heads and calibration. *Bare pass* is ONNX Runtime on the same
token ids and nothing else. Both run on one thread, turn and turn about. The pace is measured on our own behaviour
cases, text alone.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", ORT_DISABLE_TELEMETRY="1")

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

from moderation.bundle import ENCODER_FILES, encoder_folder, load_bundle
from moderation.comment import Comment
from moderation.encoder import Encoder
from moderation.model import FullTier, Model
from moderation.readable import make_readable
from moderation.record import current_bundle
from moderation.shipped import shipped_folder
from moderation.training.rows import read_behaviour

TOKENS = 42
PACE_COMMENTS = 400
PACE_REPEATS = 5
PACE_THREADS = 2
SENTENCE = (
    "Thank you for writing this down, I had the same trouble with the oven last week and could not find out why the "
    "crust stayed pale, so tomorrow I will try it again with more steam and a longer rest before the dough goes in."
)


def comment_of(tokens: int, encoder: Encoder) -> Comment:
    """The longest beginning of the sentence that has so many tokens, the two special ones included."""
    for end in range(len(SENTENCE), 0, -1):
        [window] = encoder.windows(make_readable(SENTENCE[:end]))
        if len(window.ids) == tokens:
            return Comment(SENTENCE[:end])
    raise SystemExit(f"no beginning of the sentence has {tokens} tokens")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_pass(path: Path, ids: list[int]) -> Callable[[], object]:
    """One pass of ONNX Runtime on one thread over the ids."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"ids": np.array([ids], np.int64)}
    return lambda: session.run(None, feed)


def pace(model: Model, comments: list[Comment]) -> float:
    """Comments per second, the median of some repeats."""
    return len(comments) / float(np.median([seconds(lambda: model.assess(comments)) for _ in range(PACE_REPEATS)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle; the published one if left out")
    parser.add_argument("--turns", type=int, default=400, help="how often each of the two is run")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle or current_bundle(shipped_folder("models")))
    folder = encoder_folder(bundle.path)
    if folder is None or bundle.model.full is None:
        raise SystemExit(f"{bundle.name} has no encoder in use: {bundle.fault or 'it has only the lexical tier'}")

    print(bundle.name)
    for name in ENCODER_FILES:
        print(f"{name:28}{(folder / name).stat().st_size / 1e6:>9.1f} MB")
    print(f"{'both':28}{sum((folder / name).stat().st_size for name in ENCODER_FILES) / 1e6:>9.1f} MB")

    paths = [folder / name for name in ENCODER_FILES]
    model = replace(bundle.model, full=FullTier(Encoder.load(*paths, threads=1), bundle.model.full.heads))
    assert model.full is not None
    comment = comment_of(TOKENS, model.full.encoder)
    [window] = model.full.encoder.windows(make_readable(comment.text))
    bare = bare_pass(folder / "encoder.onnx", window.ids)

    def whole() -> object:
        return model.assess([comment])

    for _ in range(20):
        whole(), bare()
    # Turn and turn about, so that whatever else the machine does hits both.
    times = 1000 * np.array([(seconds(whole), seconds(bare)) for _ in range(arguments.turns)])
    best, median = times.min(axis=0), np.median(times, axis=0)
    print(f"\none comment of {TOKENS} tokens, no post, one thread, 8-bit weights, {arguments.turns} turns")
    print(f"{'':28}{'best':>12}{'median':>12}")
    for name, column in (("whole path", 0), ("bare pass", 1)):
        print(f"{name:28}{best[column]:>9.2f} ms{median[column]:>9.2f} ms")
    print(f"whole path : bare pass = {median[0] / median[1]:.2f} (medians)")

    cases = sorted((shipped_folder("training_data") / "behaviour").glob("*.jsonl"))
    texts = [case.comment.text for path in cases for case in read_behaviour(path)]
    comments = [Comment(texts[number % len(texts)]) for number in range(PACE_COMMENTS)]
    two = replace(model, full=FullTier(Encoder.load(*paths, threads=PACE_THREADS), model.full.heads))
    print(f"\n{PACE_COMMENTS} comments of {np.mean([len(item.text) for item in comments]):.0f} characters on average")
    print(f"{'tier':28}{'comments per second':>22}")
    print(f"{f'full, {PACE_THREADS} threads':28}{pace(two, comments):>22,.0f}")
    print(f"{'lexical, 1 thread':28}{pace(two.lexical_tier(), comments):>22,.0f}")


if __name__ == "__main__":
    main()
