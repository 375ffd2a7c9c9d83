"""``moderation retrain``: labels in, a better model out, or a refusal with reasons."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moderation.files import write_file
from service.commands.labels import gather_labels, keep_check, read_home_trust
from service.commands.places import HomeOption, make_console, open_home
from service.commands.training import show_progress
from service.commands.wording import show_wording
from service.settings import Settings

if TYPE_CHECKING:  # what runs models would slow --help down
    from moderation.training.retrain import Round

EXIT_STATUS = {"PROMOTE": 0, "HOLD": 3, "REJECT": 4}
NOTHING_NEW = 5


def retrain(
    publish: Annotated[
        bool, typer.Option(help="Let the new bundle serve where the gate says PROMOTE.", show_default=True)
    ] = True,
    anyway: Annotated[bool, typer.Option("--anyway", help="Retrain even if no label has come since.")] = False,
    by: Annotated[
        str, typer.Option("--by", help="Who approves what the gate promotes; goes into the record.")
    ] = "gate",
    jobs: Annotated[int, typer.Option(help="Processes for features; -1 is one per core.")] = -1,
    nice: Annotated[
        int, typer.Option(min=0, max=19, help="How far to step back behind other processes; 19 is furthest.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
    home: HomeOption = None,
) -> None:
    """Learn from everything that moderators have said, and publish the result if it is better.

    Takes the verdicts that stand and the labels that were imported, leaves out accounts that flood or that are at odds
    with the others of their sites (unless labels/trust.toml in the home names them, or a site would be left without
    labels), fits what they add to the bundle in force for all sites and for each site that has enough, and holds the
    result against the bundle in force: on rows that nothing is ever learned from, on the behaviour cases, and on a
    fifth of the labels. Needs none of the public data sets. What the encoder reads is kept in cache in the home,
    without texts, so that a run that was cut off, or a second one, is quick. The report says what was left out, every
    check of the gate, and which words now weigh more or less.

    The last line is the verdict. PROMOTE (exit status 0): the new bundle serves from now on; 'moderation rollback' goes
    back. HOLD (3): it is not clear, and a person decides; 'moderation publish NAME --by YOU' publishes it. REJECT (4):
    it is worse, and kept for study. Exit status 5: nothing new was said since. The report is in retraining in the home.

    One at a time runs in a home, also of those that the service starts by its schedule or the button on the Model page.
    """
    from service.home import prepare_home
    from service.retraining import alone

    if nice and hasattr(os, "nice"):  # Windows has none
        os.nice(nice)
    settings = Settings.load(home=home)
    prepare_home(settings)
    with alone(settings.home):
        _retrain(settings, publish=publish, anyway=anyway, by=by, jobs=jobs, as_json=as_json)


def _retrain(settings: Settings, *, publish: bool, anyway: bool, by: str, jobs: int, as_json: bool) -> None:
    """One retraining, the only one of its home."""
    from moderation.bundle import load_bundle
    from moderation.releases import Releases
    from moderation.shipped import shipped_folder
    from moderation.training.accounts import weigh_accounts
    from moderation.training.check import check_labels
    from moderation.training.lessons import score_labels
    from moderation.training.retrain import is_learned, need_encoder
    from moderation.training.retrain import retrain as run
    from moderation.training.rows import read_behaviour
    from service.hashes import Hashes
    from service.home import prepare_home
    from service.retraining import REPORTS

    console = Console(stderr=True)
    trust, secret = read_home_trust(settings), prepare_home(settings)
    bands = cache(Hashes(secret).bands)  # of the same texts up to five times
    releases = Releases(settings.home / "models", shipped_folder("models"))
    with open_home(settings) as store:
        found = gather_labels(store, settings)
    champion = load_bundle(releases.folder / releases.in_force().bundle)
    need_encoder(champion)
    with show_progress(console) as progress:
        score = partial(score_labels, champion.model, cache=settings.home / "cache", jobs=jobs, progress=progress)
        look = partial(check_labels, bands=bands, features=score, trust=trust)
        check = look(found)
        keep_check(settings, check)
        accounts = weigh_accounts(found, check, look, trust)
    if not anyway and is_learned(champion, found, accounts.apply(trust)):
        _tell_nothing(champion.name, as_json=as_json)
        raise typer.Exit(NOTHING_NEW)
    behaviour = sorted((shipped_folder("training_data") / "behaviour").glob("*.jsonl"))
    cases = [case for path in behaviour for case in read_behaviour(path)]
    with show_progress(console) as progress:
        result = run(
            champion,
            found,
            cases,
            releases.models,
            trust=trust,
            accounts=accounts,
            bands=bands,
            key=secret,
            cache=settings.home / "cache",
            jobs=jobs,
            progress=progress,
        )
    report = _report(result, accounts.left_out)
    path, digest = _store(settings.home / REPORTS, result.bundle.name, report)
    verdict = result.gate.verdict
    if verdict == "PROMOTE" and publish:
        note = f"moderation retrain, {report['labels']['learned']} labels, report {digest[:12]}"
        releases.publish(result.bundle, note=note, by=by)
    if as_json:
        typer.echo(json.dumps({**report, "report": str(path), "report_sha256": digest}))
    else:
        _show(result, accounts.left_out, path)
    raise typer.Exit(EXIT_STATUS[verdict])


def _report(result: Round, left_out: Mapping[str, str]) -> dict[str, Any]:
    return {
        "format": 1,
        "verdict": result.gate.verdict,
        "challenger": result.bundle.name,
        **result.figures,
        "accounts_left_out": dict(left_out),
        "gate": result.gate.as_dict(),
    }


def _store(folder: Path, name: str, report: dict[str, Any]) -> tuple[Path, str]:
    """Write the report beside those of other rounds, which may be of the same bundle; its place and its SHA-256."""
    content = (json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    digest = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{digest[:12]}.json"
    write_file(path, content)
    return path, digest


def _tell_nothing(champion: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"verdict": "NOTHING NEW", "champion": champion}))
    else:
        typer.echo(f"NOTHING NEW: {champion} has learned from all that was said. --anyway retrains it.")


def _show(result: Round, left_out: Mapping[str, str], path: Path) -> None:
    console = make_console()
    labels = result.figures["labels"]
    console.print(
        f"{labels['said']:,} comments were judged: {labels['learned']:,} learned from, {labels['held_out']:,} held out",
        highlight=False,
    )
    for reason, count in labels["left_out"].items():
        console.print(f"left out: {count:,} ({reason})", highlight=False)
    for who, why in left_out.items():
        console.print(Text(f"left out: {who}, because {why}; labels/trust.toml can say otherwise"))
    if result.figures["moves"] == "single sites":
        console.print("Labels move nothing but the sites that they are of: all sites together would have lost by them.")
    for tried in result.figures["also_tried"]:
        console.print(Text(f"also tried: {tried['challenger']}, {tried['verdict']}: {'; '.join(tried['reasons'])}"))
    table = Table("site", "category", "held out", "of it bad", "log loss before", "after", box=None, pad_edge=False)
    for site, categories in result.figures["sites"].items():
        for code, item in categories.items():
            before, after = item["log_loss"]
            table.add_row(Text(site), code, str(item["rows"]), str(item["bad"]), f"{before:.4f}", f"{after:.4f}")
    if table.row_count:
        console.print(table)
    show_wording(console, result.figures["wording"])
    console.print()
    typer.echo(str(result.gate))
    typer.echo(f"report: {path}", err=True)
