"""``moderation train``, ``evaluate`` and ``data``: the maintainers' commands. Only they load the training code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.commands.places import BundleOption, HomeOption, find_bundle
from service.settings import Settings

if TYPE_CHECKING:
    from moderation.training.train import Ingredients

data = typer.Typer(no_args_is_help=True, help="The public data sets that training and evaluation read.")

TrainingDataOption = Annotated[
    Path | None,
    typer.Option(
        "--training-data",
        help="Folder with sources.toml, seed and behaviour. Default: the shipped one.",
        show_default=False,
    ),
]
MissingOption = Annotated[bool, typer.Option("--allow-missing", help="Go on without sources that are not there.")]


def train(
    models: Annotated[
        Path | None,
        typer.Option(help="Folder to write the bundle into. Default: models in the home.", show_default=False),
    ] = None,
    publish: Annotated[bool, typer.Option(help="Make the new bundle the current one.")] = True,
    allow_missing: MissingOption = False,
    cache: Annotated[
        Path | None, typer.Option(help="Keep features here, so that a second run is quick.", show_default=False)
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Processes for features and heads fitted at once; -1 is one per core.")
    ] = -1,
    training_data: TrainingDataOption = None,
    home: HomeOption = None,
) -> None:
    """Train a bundle from the public data sets and the seed rows, measure it, and publish it.

    Needs the data sets in MODERATION_DATA_DIR: see `moderation data status`. The same rows, seed and library versions
    give the same bytes. Takes some minutes on two cores.
    """
    from joblib import Memory

    from moderation.bundle import publish_bundle
    from moderation.training.train import train_bundle

    console = Console(stderr=True)
    settings = Settings.load(home=home)
    ingredients = _gather(console, settings, training_data, allow_missing=allow_missing)
    if ingredients.missing and publish:
        console.print(f"[yellow]trained without {', '.join(ingredients.missing)}[/]", highlight=False)
    with _progress(console) as progress:
        path = train_bundle(
            ingredients,
            models or settings.home / "models",
            memory=Memory(cache, verbose=0) if cache else None,
            jobs=jobs,
            progress=progress,
        )
    if publish:
        publish_bundle(path, note="moderation train")
    _show(_console(), json.loads((path / "evaluation.json").read_text(encoding="utf-8")))
    print(path)


def evaluate(
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Only these frozen sets; may be repeated.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all figures to this file, as JSON.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
    allow_missing: MissingOption = False,
    training_data: TrainingDataOption = None,
    home: HomeOption = None,
    bundle: BundleOption = None,
) -> None:
    """Measure a bundle on the frozen sets, which nothing is ever trained on, and on the behaviour cases.

    Prints the ROC AUC with its 95 % interval and the recall at 1 % false positives, for each set and category. Look
    at frozen sets rarely: choices made on them make them worthless.
    """
    from moderation.bundle import load_bundle
    from moderation.training import evaluate as measuring

    console = Console(stderr=True)
    settings = Settings.load(home=home)
    loaded = load_bundle(find_bundle(home, bundle))
    ingredients = _gather(console, settings, training_data, allow_missing=allow_missing, use="frozen")
    frozen = {name: rows for name, rows in ingredients.dataset.frozen.items() if not sets or name in sets}
    if sets and (unknown := sorted(set(sets) - set(frozen))):
        raise typer.BadParameter(
            f"no such frozen set: {', '.join(unknown)}; there are {', '.join(ingredients.dataset.frozen)}"
        )
    with _progress(console) as progress:
        figures = measuring.evaluate(loaded.assess, loaded.operating_points, frozen, ingredients.behaviour, progress)
    figures = {"bundle": loaded.name, **figures}
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(figures))
    else:
        _show(_console(), figures)


@data.command("status")
def data_status(training_data: TrainingDataOption = None, home: HomeOption = None) -> None:
    """Tell for every file of every source whether it is there and intact. Exit status 1 if any is not."""
    from moderation.training.sources import load_catalogue, status

    settings = Settings.load(home=home)
    catalogue = load_catalogue(_training_data(training_data) / "sources.toml")
    states = status(catalogue, settings.data)
    _show_files(states, settings.data)


@data.command("fetch")
def data_fetch(training_data: TrainingDataOption = None, home: HomeOption = None) -> None:
    """Fetch what is missing, by address and checksum. What has no address: where it comes from and where it belongs."""
    from moderation.training.sources import fetch, load_catalogue

    settings = Settings.load(home=home)
    catalogue = load_catalogue(_training_data(training_data) / "sources.toml")
    with Console(stderr=True).status("fetching"):
        states = fetch(catalogue, settings.data)
    _show_files(states, settings.data)


def _console() -> Console:
    """Standard output; wide enough for whole tables where it is no terminal that knows better."""
    console = Console()
    return console if console.is_terminal else Console(width=220)


def _show_files(states: Any, folder: Path) -> None:
    console = _console()
    table = Table("source", "file", "state", "", box=None, pad_edge=False)
    for state in states:
        color = {"present": "green", "missing": "yellow", "corrupt": "red"}[state.state]
        table.add_row(state.source, state.path, f"[{color}]{state.state}[/]", state.message or "")
    console.print(table)
    bad = [state for state in states if state.state != "present"]
    console.print(
        f"{len(states) - len(bad)} of {len(states)} files are present and intact in {folder}", highlight=False
    )
    if bad:
        raise typer.Exit(1)


def _training_data(folder: Path | None) -> Path:
    from moderation.shipped import shipped_folder

    return folder or shipped_folder("training_data")


def _gather(
    console: Console, settings: Settings, training_data: Path | None, *, allow_missing: bool, use: str = ""
) -> Ingredients:
    from moderation.training.sources import load_catalogue
    from moderation.training.train import gather

    catalogue = load_catalogue(_training_data(training_data) / "sources.toml")
    with _progress(console) as progress:
        return gather(
            _training_data(training_data),
            settings.data,
            only=[source.name for source in catalogue if use in source.use],
            allow_missing=allow_missing,
            progress=progress,
        )


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A spinner with the step on a terminal; a line per step in a log."""
    if not console.is_terminal:
        yield lambda step: console.print(step, highlight=False)
        return
    with console.status("starting") as status:
        yield status.update


def _show(console: Console, evaluation: dict[str, Any]) -> None:
    from moderation.training.card import FIGURES, figures

    table = Table(*FIGURES, box=None, pad_edge=False)
    for cells in figures(evaluation):
        table.add_row(*cells)
    console.print(table)
    for item in evaluation["held"]:
        console.print(f"held of {item['set']} {item['slice']}: {item['share']:.1%} of {item['rows']}", highlight=False)
    slices = evaluation["behaviour"]["slices"]
    passed, cases = (sum(item[key] for item in slices.values()) for key in ("passed", "cases"))
    console.print(f"behaviour cases: {passed} of {cases} pass", highlight=False)
    for name, item in slices.items():
        if item["passed"] < item["cases"]:
            console.print(
                f"  {name}: {item['passed']} of {item['cases']} ({item['needs_meaning']} need meaning)", highlight=False
            )
