"""``moderation train``, ``evaluate`` and ``data``: the maintainers' commands. Only they load the training code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.places import BundleOption, HomeOption, find_bundle
from service.settings import Settings

if TYPE_CHECKING:
    from moderation.bundle import Bundle
    from moderation.comment import Comment, Facts, Scores
    from moderation.training.evaluate import Assess
    from moderation.training.peers import Peers
    from moderation.training.rows import Row
    from moderation.training.train import Ingredients

_BAR_STEP = 256

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
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Folder with encoder.onnx and tokenizer.json. Default: the encoder of the published bundle.",
            show_default=False,
        ),
    ] = None,
    no_encoder: Annotated[bool, typer.Option("--no-encoder", help="Train the lexical tier alone.")] = False,
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

    Needs the data sets in MODERATION_DATA_DIR: see `moderation data status`. Heads are fitted on what an encoder reads,
    which is left as it is; `moderation train-encoder` makes another. The same rows, encoder, seed and library versions
    give the same bytes. Takes some minutes on two cores, with an encoder up to an hour where nothing is cached.
    """
    from joblib import Memory

    from moderation.releases import publish_bundle
    from moderation.training.train import train_bundle

    console = Console(stderr=True)
    settings = Settings.load(home=home)
    folder = None if no_encoder else _encoder_folder(settings, encoder)
    said = f"the encoder in {folder}" if folder else "no encoder, so the bundle will have only the lexical tier"
    console.print(f"training with {said}", highlight=False)
    ingredients = gather_rows(console, settings, training_data, allow_missing=allow_missing)
    if ingredients.missing and publish:
        console.print(f"[yellow]trained without {', '.join(ingredients.missing)}[/]", highlight=False)
    with show_progress(console) as progress:
        path = train_bundle(
            ingredients,
            models or settings.home / "models",
            encoder=folder,
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
        list[str] | None,
        typer.Option(
            "--sets", help="Only these frozen sets, separated by commas; may be repeated.", show_default=False
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all figures to this file; - prints them in place of the tables."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write one page with plots to this file (extra `report`).", show_default=False),
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="Write the model card with these figures.", show_default=False)
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Run what others offer on the same rows, too.")] = False,
    allow_missing: MissingOption = False,
    training_data: TrainingDataOption = None,
    home: HomeOption = None,
    bundle: BundleOption = None,
) -> None:
    """Measure a bundle on the frozen sets, which nothing is ever trained on, and on the behaviour cases.

    Prints figures for each set and category, and which goals are reached. Look at frozen sets rarely: choices made on
    them make them worthless.
    """
    from moderation.bundle import load_bundle
    from moderation.training import evaluate as measuring
    from moderation.training.report import check_report, write_report
    from moderation.training.train import evaluate_lexical
    from moderation.training.trials import reasons_of

    if html is not None:
        check_report()
    console = Console(stderr=True)
    settings = Settings.load(home=home)
    loaded = load_bundle(find_bundle(home, bundle))
    use = "" if peers else "frozen"  # some peers learn, and get the rows that the bundle learned from
    ingredients = gather_rows(console, settings, training_data, allow_missing=allow_missing, use=use)
    frozen = _chosen(ingredients.dataset.frozen, sets)
    with (
        _peers(console, ingredients, run=peers) as others,
        _bar(console, loaded.assess, measuring.count_comments(frozen, ingredients.behaviour)) as (assess, progress),
    ):
        figures = measuring.evaluate(
            assess,
            loaded.operating_points,
            frozen,
            ingredients.behaviour,
            progress,
            why=reasons_of(loaded.model),
            peers=others,
        )
    with show_progress(console) as progress:
        alone = evaluate_lexical(loaded.model, loaded.operating_points, frozen, ingredients.behaviour, progress)
    figures = {"bundle": loaded.name, **figures, **alone}
    if html is not None:
        html.write_text(write_report(figures), encoding="utf-8")
    if card is not None:
        card.write_text(_card(loaded, figures, training_data), encoding="utf-8")
    if json_file == Path("-"):
        print(json.dumps(figures))
        return
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _show(_console(), figures)


def _encoder_folder(settings: Settings, given: Path | None) -> Path | None:
    """The folder given, else that of the bundle published at home, else of the one that came with the software."""
    from moderation.bundle import ENCODER_FILES, encoder_folder
    from moderation.errors import BundleError
    from moderation.record import current_bundle
    from moderation.shipped import shipped_folder

    found = given
    for models in () if given else (settings.home / "models", shipped_folder("models")):
        try:
            found = encoder_folder(current_bundle(models))
            break
        except BundleError:  # of another format, perhaps; the next one may do
            continue
    if found is not None and (missing := [name for name in ENCODER_FILES if not (found / name).is_file()]):
        raise typer.BadParameter(
            f"{' and '.join(missing)} not in {found}; make an encoder with `moderation train-encoder`, or do without "
            "one by --no-encoder",
            param_hint="--encoder",
        )
    return found


def _chosen(frozen: Mapping[str, Sequence[Row]], sets: list[str] | None) -> Mapping[str, Sequence[Row]]:
    wanted = [name.strip() for names in sets or () for name in names.split(",") if name.strip()]
    if unknown := sorted(set(wanted) - set(frozen)):
        raise typer.BadParameter(f"no such frozen set: {', '.join(unknown)}; there are {', '.join(frozen)}")
    return {name: rows for name, rows in frozen.items() if not wanted or name in wanted}


@contextmanager
def _peers(console: Console, ingredients: Ingredients, *, run: bool) -> Iterator[Peers | None]:
    """The peers, while the folder in which they keep what they learned is there."""
    from moderation.training.peers import find_peers

    if not run:
        yield None
        return
    with TemporaryDirectory(prefix="moderation-peers-") as folder:
        with show_progress(console) as progress:
            found = find_peers(ingredients.dataset.train, Path(folder), progress)
        for name, reason in found.skipped.items():
            console.print(f"skipping {name}: {reason}", markup=False, highlight=False)
        yield found


@contextmanager
def _bar(console: Console, assess: Assess, total: int) -> Iterator[tuple[Assess, Callable[[str], None]]]:
    """The same assessing with a bar that counts comments, and what tells it the step; in a log a line per step."""
    if not console.is_terminal:
        yield assess, lambda step: console.print(step, highlight=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=total)

        def count(comments: Sequence[Comment]) -> Sequence[tuple[Scores, Facts]]:
            results: list[tuple[Scores, Facts]] = []
            for start in range(0, len(comments), _BAR_STEP):
                results += assess(comments[start : start + _BAR_STEP])
                bar.advance(task, min(_BAR_STEP, len(comments) - start))
            return results

        yield count, lambda step: bar.update(task, description=step)


def _card(bundle: Bundle, figures: dict[str, Any], training_data: Path | None) -> str:
    """The card of a bundle with new figures; what it learned from is what its manifest says."""
    from moderation.training.card import write_card
    from moderation.training.dataset import Report
    from moderation.training.sources import load_catalogue

    trained_on = bundle.manifest["trained_on"]
    learned = {item["name"] for item in trained_on.get("sources", ())}
    catalogue = load_catalogue(_training_data(training_data) / "sources.toml")
    counts = trained_on.get("rows", {})
    report = Report(**{field.name: counts.get(field.name, {}) for field in dataclasses.fields(Report)})
    return write_card([source for source in catalogue if source.name in learned], report, figures)


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


def gather_rows(
    console: Console, settings: Settings, training_data: Path | None, *, allow_missing: bool, use: str = ""
) -> Ingredients:
    """The sources whose use contains ``use`` (all by default), read and split, with what is being done shown."""
    from moderation.training.sources import load_catalogue
    from moderation.training.train import gather

    catalogue = load_catalogue(_training_data(training_data) / "sources.toml")
    with show_progress(console) as progress:
        return gather(
            _training_data(training_data),
            settings.data,
            only=[source.name for source in catalogue if use in source.use],
            allow_missing=allow_missing,
            progress=progress,
        )


@contextmanager
def show_progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A spinner with the step on a terminal; a line per step in a log."""
    if not console.is_terminal:
        yield lambda step: console.print(step, highlight=False)
        return
    with console.status("starting") as status:
        yield status.update


def _show(console: Console, evaluation: dict[str, Any]) -> None:
    from moderation.training.card import FIGURES, figures
    from moderation.training.headline import headlines

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
    for item in evaluation.get("peers", {}).get("compared", ()):
        if "auc" in item:
            name = f"{item['set']} {item['slice']}".strip()
            console.print(
                f"{item['peer']} on {name}: AUC {item['auc']:.3f}, ours {item['our_auc']:.3f}", highlight=False
            )
    goals = Table("goal", "", "found", "", box=None, pad_edge=False)
    colours = {"reached": "green", "not reached": "red", "not measured": "dim"}
    for headline in headlines(evaluation):
        state = f"[{colours[headline.state]}]{headline.state}[/]"
        goals.add_row(headline.what, headline.goal, headline.found, state)
    console.print(goals)
