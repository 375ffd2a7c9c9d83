"""How long a retraining takes, by the number of labels: 1,000, 10,000, 100,000. Prints its table as Markdown.

    MODERATION_DATA_DIR=... taskset -c 0,1 python benchmarks/retrain_speed.py --cache FOLDER

Labels are rows of the public sources, given to three sites and six moderators; where there are not enough rows, they
are given to further sites once more, which is as much work. Each size runs in a process of its own, so that memory is
told apart: once with all vectors in the cache, and with ``--fresh`` once without any, as the first run on a machine is.
The first run of the benchmark reads all rows with the encoder, which takes about an hour. Beside the time that went by
stands what the processors were busy for, which other work on the machine does not lengthen as much.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from safetensors.numpy import load_file

from moderation.bundle import load_bundle
from moderation.shipped import shipped_folder
from moderation.training.adapters.reading import spread
from moderation.training.labels import Label, as_rows, read_labels, write_labels
from moderation.training.retrain import retrain
from moderation.training.rows import Row, read_behaviour
from moderation.training.table import build_table
from moderation.training.train import gather
from moderation.training.vectors import comment_key, read_kept

SIZES = (1_000, 10_000, 100_000)
SITES = 3
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def make_labels(rows: Sequence[Row], count: int) -> list[Label]:
    """Labels of ``count`` comments, the same for the same rows."""
    ordered = sorted(rows, key=lambda row: spread(f"speed {row.id}"))
    labels = []
    for number in range(count):
        row, again = ordered[number % len(ordered)], number // len(ordered)
        site = f"https://site{again * SITES + number % SITES}.example.org"
        comment = replace(row.comment, id=f"c{number}", site=site)
        labels.append(
            Label(
                comment,
                dict(row.labels),
                moderator=f"moderator {number % 6}",
                digest=comment.digest(),
                source="verdict",
                verdict="reject" if 1 in row.labels.values() else "approve",
                at=BEGIN + timedelta(minutes=number),
            )
        )
    return labels


def learned_rows() -> list[Row]:
    """Validation and training rows of the public sources; frozen ones are not labels."""
    data = gather(shipped_folder("training_data"), Path(os.environ["MODERATION_DATA_DIR"])).dataset
    return [*data.validation, *data.train]


def at_hand(rows: Sequence[Row], cache: Path) -> list[Row]:
    """The rows whose vectors are in the cache, as a run of ``moderation train`` or of another benchmark left it."""
    (path,) = cache.glob("vectors-*")
    known = {key.tobytes() for key in load_file(path)["keys"]}
    return [row for row in rows if comment_key(row.comment) in known]


def run_one(work: Path) -> dict[str, object]:
    """One retraining with the labels and vectors in the folder, and what it took."""
    cache, models = work / "cache", work / "models"
    labels = [label for label in read_labels(work / "labels.jsonl") if isinstance(label, Label)]
    folder = shipped_folder("models")
    champion = load_bundle(folder / (folder / "current").read_text().split()[0])
    paths = sorted((shipped_folder("training_data") / "behaviour").glob("*.jsonl"))
    cases = [case for path in paths for case in read_behaviour(path)]
    shutil.copytree(champion.path, models / champion.name)
    (encoder,) = folder.glob("encoder-*")
    (models / encoder.name).symlink_to(encoder)
    steps: list[tuple[float, str]] = []
    before = _processor_seconds()
    began = time.perf_counter()
    result = retrain(
        champion,
        labels,
        cases,
        models,
        cache=cache,
        jobs=2,
        progress=lambda step: steps.append((time.perf_counter() - began, step)),
    )
    wall = time.perf_counter() - began
    ends = [at for at, _ in steps[1:]] + [wall]
    against = [check.name for check in result.gate.checks if check.state in ("hold", "reject")]
    return {
        "wall": round(wall, 1),
        "busy": round(_processor_seconds() - before, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": os.getloadavg()[0],
        "verdict": ", ".join([result.gate.verdict, *against]),
        "steps": [(step, round(end - at, 1)) for (at, step), end in zip(steps, ends, strict=True)],
    }


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def fill(cache: Path, labels: Sequence[Label]) -> None:
    """Read all labelled comments with the encoder into the cache, unless they are there."""
    folder = shipped_folder("models")
    model = load_bundle(folder / (folder / "current").read_text().split()[0]).model
    assert model.full is not None
    read_kept(build_table(as_rows(labels), model.topic, None, 2), model.full.encoder, cache, print)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cache", type=Path, required=True, help="folder where vectors of all rows are kept")
    options.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options.add_argument("--rows", type=int, default=60_000, help="how many different comments there are at most")
    options.add_argument("--at-hand", action="store_true", help="take only rows whose vectors are in the cache")
    options.add_argument("--fresh", action="store_true", help="without any vectors at hand")
    options.add_argument("--steps", action="store_true", help="what each step took, too")
    options.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one is not None:
        print(json.dumps(run_one(chosen.one)))
        return
    rows = learned_rows()
    if chosen.at_hand:
        rows = at_hand(rows, chosen.cache)
    rows = sorted(rows, key=lambda row: spread(f"speed {row.id}"))[: chosen.rows]
    if not list(chosen.cache.glob("vectors-*")):
        fill(chosen.cache, make_labels(rows, len(rows)))
    print(f"{len(rows):,} different comments")
    print("| labels | seconds | of it processors busy | peak memory, MiB | load of the machine | verdict |")
    print("|---|---|---|---|---|---|")
    for size in chosen.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            write_labels(work / "labels.jsonl", make_labels(rows, size))
            if not chosen.fresh:
                shutil.copytree(chosen.cache, work / "cache")  # a run drops what its labels do not need
            print_one(size, work, with_steps=chosen.steps)


def print_one(size: int, work: Path, *, with_steps: bool) -> None:
    """One line of the table, from a process of its own."""
    command = [sys.executable, __file__, "--cache", "-", "--one", str(work)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    each = json.loads(output.splitlines()[-1])
    print(
        f"| {size:,} | {each['wall']} | {each['busy']} | {each['peak_mib']:,} | {each['load']:.1f} "
        f"| {each['verdict']} |",
        flush=True,
    )
    if with_steps:
        for step, seconds in each["steps"]:
            print(f"| {step} | {seconds} | | | | |", flush=True)


if __name__ == "__main__":
    main()
