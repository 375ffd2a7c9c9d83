"""From the catalogue to a bundle: read, split, fit, evaluate, write. What ``moderation train`` runs."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joblib import Memory

from moderation.bundle import ENCODER_FILES, write_bundle
from moderation.encoder import Encoder, keep_runtime_quiet
from moderation.errors import DataError, SourceMissing
from moderation.model import Model
from moderation.training.anchors import gather_anchors, pack
from moderation.training.card import write_card
from moderation.training.dataset import Dataset, build_dataset, load_exclude
from moderation.training.evaluate import evaluate
from moderation.training.fit import RECIPES, VECTORIZERS, fit_model
from moderation.training.fuse import FULL_RECIPES
from moderation.training.rows import BehaviourCase, Row, read_behaviour, read_seed
from moderation.training.slices import sample
from moderation.training.sources import Source, load_catalogue, read_rows, status
from moderation.training.templates import template_rows
from moderation.training.trials import reasons_of

if TYPE_CHECKING:
    from moderation.training.encoder import Settings

LIBRARIES = ("numpy", "scipy", "scikit-learn", "nltk", "safetensors", "onnxruntime", "tokenizers")
ENCODER_LIBRARIES = (*LIBRARIES, "torch", "transformers", "onnx")
PROBES = 24
PARITY_TEXTS = 2_000
# What is known of a base is told by the SHA-256 of its weights: (name, licence).
BASES = {
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": (
        "sentence-transformers/all-MiniLM-L6-v2",
        "Apache-2.0",
    )
}

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
        [*seed, *template_rows()],
        held_out=[case.comment for case in behaviour],
        refused=refused,
    )
    return Ingredients(dataset, behaviour, tuple(present), tuple(missing))


def train_bundle(
    ingredients: Ingredients,
    models: Path,
    *,
    encoder: Path | None = None,
    memory: Memory | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Path:
    """Fit, evaluate and write a bundle into ``models``; returns its folder. Publishing is another step.

    ``encoder`` is a folder with ``encoder.onnx`` and ``tokenizer.json``; without one the bundle has only the lexical
    tier. Raises ``EncoderUnavailable`` when it cannot be used, ``DataError`` when rows of a category are missing.
    """
    dataset = ingredients.dataset
    loaded = Encoder.load(*(encoder / name for name in ENCODER_FILES)) if encoder is not None else None
    fitted = fit_model(dataset, loaded, memory=memory, jobs=jobs, progress=progress)
    progress("evaluating")
    evaluation = evaluate(
        fitted.model.assess,
        fitted.operating_points,
        dataset.frozen,
        ingredients.behaviour,
        progress,
        why=reasons_of(fitted.model),
    )
    evaluation |= evaluate_lexical(
        fitted.model, fitted.operating_points, dataset.frozen, ingredients.behaviour, progress
    )
    trained_on: dict[str, Any] = {
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
    if encoder is not None and loaded is not None:
        trained_on["full_recipes"] = {code: repr(recipe) for code, recipe in FULL_RECIPES.items()}
        trained_on["encoder"] = {"digest": loaded.digest, **read_encoder_facts(encoder)}
    anchors = None
    if fitted.kept is not None and fitted.validation is not None:
        progress("taking samples of the rows for refitting")
        anchors = pack(
            gather_anchors(fitted.kept, fitted.validation, dataset.frozen, fitted.model, memory=memory, jobs=jobs)
        )
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
        encoder=encoder,
        anchors=anchors,
    )


def evaluate_lexical(
    model: Model,
    operating_points: Mapping[str, Any],
    frozen: Mapping[str, Sequence[Row]],
    behaviour: Sequence[BehaviourCase],
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """What the lexical tier of a model with both reaches alone, under ``lexical``; nothing where it is the only one.

    The figures of sets, what is held and the behaviour cases, as :func:`evaluate` gives them, without curves.
    """
    if model.full is None:
        return {}
    whole = evaluate(
        model.lexical_tier().assess,
        operating_points,
        frozen,
        behaviour,
        lambda step: progress(f"lexical tier alone: {step}"),
        with_trials=False,
    )
    pictures = {"roc", "precision_recall", "spread"}
    sets = [{name: value for name, value in item.items() if name not in pictures} for item in whole["sets"]]
    return {"lexical": {"sets": sets, "held": whole["held"], "behaviour": whole["behaviour"]}}


def train_encoder(
    dataset: Dataset, base: Path, folder: Path, settings: Settings, *, progress: Progress = lambda _: None
) -> dict[str, Any]:
    """Fine-tune an encoder, export it and check what was exported; needs the extra ``encoder``.

    Args:
        dataset: The rows. Validation texts are for the check alone; training texts serve where there are none.
        base: Folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``, or with ``encoder.onnx`` and
            ``tokenizer.json`` as a bundle has them, to go on from there.
        folder: Gets ``encoder.onnx``, ``tokenizer.json``, ``encoder.json``, ``log.jsonl`` and ``loss.svg``, beside
            weights and checkpoint. A run that was cut off goes on from its checkpoint.
        settings: Everything else that the run depends on.
        progress: Hears what is being done.

    Returns:
        What ``encoder.json`` says: base, licence, settings, steps, how near the export is, libraries.

    Raises:
        DataError: ``base`` is no such folder, or ``folder`` holds a run with other settings or rows.
        EncoderUnavailable: What was exported cannot be read.
    """
    keep_runtime_quiet()
    from moderation.training.encoder import fine_tune, read_log  # noqa: PLC0415 - needs torch, which serving has not
    from moderation.training.export import check_parity, export  # noqa: PLC0415 - as above
    from moderation.training.network import is_exported, weights_of  # noqa: PLC0415 - as above
    from moderation.training.plots import draw_losses  # noqa: PLC0415 - as above

    goes_on, weights = is_exported(base), weights_of(base)
    wanted = ENCODER_FILES if goes_on else ("config.json", weights.name, "tokenizer.json")
    if base.resolve() == folder.resolve():
        raise DataError(f"{folder} holds the encoder to start from; choose another folder for what comes out")
    if missing := [name for name in wanted if not (base / name).is_file()]:
        raise DataError(f"{base} is no folder of a sentence encoder: {', '.join(missing)} is not in it")
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    before = read_encoder_facts(base) if goes_on else {}
    if goes_on and not before:
        progress(f"nothing says how {base} was made, so its licence is not known")
    try:
        encoder = fine_tune(dataset, base, folder, settings, progress)
        progress("exporting")
        export(encoder, folder / "encoder.onnx")
    except ValueError as error:
        raise DataError(str(error)) from error
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    log = list(read_log(folder))
    (folder / "loss.svg").write_text(draw_losses(log), encoding="utf-8")
    texts = [row.comment.text for row in sample(dataset.validation or dataset.train, PARITY_TEXTS)]
    progress(f"comparing on {len(texts):,} texts what was trained and what was exported")
    parity = check_parity(encoder, Encoder.load(*(folder / name for name in ENCODER_FILES)), texts)
    name, licence = BASES.get(sha256, (base.name, None))
    facts = {
        "base": {
            "name": name,
            "licence": before.get("base", {}).get("licence", licence),
            "sha256": sha256,
            **({"trained": before} if before else {}),
        },
        "settings": asdict(settings),
        "rows_sha256": rows_digest(dataset.train),
        "steps": log[-1]["of"],
        "parity": asdict(parity),
        "made_with": libraries(ENCODER_LIBRARIES),
    }
    (folder / "encoder.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def read_encoder_facts(folder: Path) -> dict[str, Any]:
    """How an encoder was made: ``encoder.json`` beside it, else what a bundle says that lies beside it and names it.

    Nothing where neither is there.
    """
    written = folder / "encoder.json"
    if written.is_file():
        facts: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
        return facts
    for path in sorted(folder.parent.glob("comments-*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if (manifest.get("encoder") or {}).get("folder") == folder.name:
            return {name: fact for name, fact in manifest["trained_on"]["encoder"].items() if name != "digest"}
    return {}


def rows_digest(rows: Sequence[Row]) -> str:
    """SHA-256 over what every row teaches: its comment, labels and weight, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.comment.digest(), sorted(row.labels.items()), row.weight]).encode())
    return digest.hexdigest()


def libraries(names: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Versions of everything that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
