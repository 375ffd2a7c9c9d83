"""From the catalogue to a bundle: read, split, fit, evaluate, write. What ``moderation train`` runs."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from joblib import Memory

from moderation.bundle import write_bundle
from moderation.errors import SourceMissing
from moderation.training.card import write_card
from moderation.training.dataset import Dataset, build_dataset, load_exclude
from moderation.training.evaluate import evaluate
from moderation.training.fit import RECIPES, VECTORIZERS, fit_model
from moderation.training.rows import BehaviourCase, Row, read_behaviour, read_seed
from moderation.training.sources import Source, load_catalogue, read_rows, status

LIBRARIES = ("numpy", "scipy", "scikit-learn", "nltk", "safetensors")
PROBES = 24

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ingredients:
    """Everything a bundle is made from: the data set, the behaviour cases and the sources that were there."""

    dataset: Dataset
    behaviour: tuple[BehaviourCase, ...]
    sources: tuple[Source, ...]
    missing: tuple[str, ...]


def gather(
    training_data: Path,
    data_dir: Path,
    *,
    only: Iterable[str] | None = None,
    allow_missing: bool = False,
    progress: Progress = lambda _: None,
) -> Ingredients:
    """Read and split the data.

    Args:
        training_data: The folder with ``sources.toml``, ``exclude.txt``, ``seed`` and ``behaviour``.
        data_dir: The folder with the public sets.
        only: Names of sources to read; ``None`` reads all.
        allow_missing: Go on without the sources that are not there.
        progress: Hears what is being done.

    Raises:
        SourceMissing: A source is not there, and ``allow_missing`` is false. It says what to do.
        SourceCorrupt: A source is there with another checksum; such a one is never skipped.
    """
    wanted = None if only is None else set(only)
    catalogue = [
        source for source in load_catalogue(training_data / "sources.toml") if wanted is None or source.name in wanted
    ]
    states = status(catalogue, data_dir)
    missing = sorted({state.source for state in states if state.state == "missing"})
    if missing and not allow_missing:
        raise SourceMissing(
            f"these sources are not in {data_dir} (MODERATION_DATA_DIR): {', '.join(missing)}. "
            "See `moderation data status`; to go on without them say --allow-missing"
        )
    present = [source for source in catalogue if source.name not in missing]
    refused: Counter[str] = Counter()
    rows: list[Row] = []
    for source in present:
        progress(f"reading {source.name}")
        rows += read_rows(source, data_dir, refused)
    seed = [row for path in sorted((training_data / "seed").glob("*.jsonl")) for row in read_seed(path)]
    behaviour = tuple(
        case for path in sorted((training_data / "behaviour").glob("*.jsonl")) for case in read_behaviour(path)
    )
    progress("splitting")
    dataset = build_dataset(
        rows,
        load_exclude(training_data / "exclude.txt"),
        seed,
        held_out=[case.comment for case in behaviour],
        refused=refused,
    )
    return Ingredients(dataset, behaviour, tuple(present), tuple(missing))


def train_bundle(
    ingredients: Ingredients,
    models: Path,
    *,
    memory: Memory | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Path:
    """Fit, evaluate and write a bundle into ``models``; returns its folder. Publishing is another step."""
    dataset = ingredients.dataset
    fitted = fit_model(dataset, memory=memory, jobs=jobs, progress=progress)
    progress("evaluating")
    evaluation = evaluate(fitted.model.assess, fitted.operating_points, dataset.frozen, ingredients.behaviour, progress)
    trained_on = {
        "rows": dataset.report.to_dict(),
        "rows_sha256": rows_digest([*dataset.train, *dataset.validation]),
        "sources": [
            {"name": source.name, "licence": source.licence, "files": [file.sha256 for file in source.files]}
            for source in ingredients.sources
        ],
        "missing": list(ingredients.missing),
        "recipes": {code: repr(recipe) for code, recipe in RECIPES.items()},
        "vectorizers": {name: repr(vectorizer) for name, vectorizer in VECTORIZERS.items()},
    }
    progress("writing the bundle")
    return write_bundle(
        models,
        fitted.model,
        operating_points=fitted.operating_points,
        evaluation=evaluation,
        probes=[case.comment for case in ingredients.behaviour[:: max(1, len(ingredients.behaviour) // PROBES)]],
        card=write_card(ingredients.sources, dataset.report, evaluation),
        made_with=libraries(),
        trained_on=trained_on,
    )


def rows_digest(rows: Sequence[Row]) -> str:
    """SHA-256 over what every row teaches: its comment, labels and weight, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.comment.digest(), sorted(row.labels.items()), row.weight]).encode())
    return digest.hexdigest()


def libraries() -> dict[str, str]:
    """Versions of everything that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
