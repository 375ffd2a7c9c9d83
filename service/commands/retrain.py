"""``moderation retrain``: labels in, a better model out, or a refusal with reasons."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
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
from service.commands.publishing import ask_releases, clear_away, find_learned, tell_refused
from service.commands.training import show_progress
from service.commands.wording import show_wording
from service.settings import Settings

if TYPE_CHECKING:  # what runs models would slow --help down
    from moderation.record import InForce
    from moderation.releases import Releases
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
    back. HOLD (3): it is not clear, and a person decides; 'moderation publish NAME --by YOU --note WHY' publishes it.
    REJECT (4): it is worse, and kept until the next round. Exit status 5: nothing new was said since. The report is in
    retraining in the home. What somebody has rolled back is not published again, and nothing is while a bundle is tried
    on a share of sites. Bundles that retrainings have made and nobody needs any more are cleared away in the end.

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
    from moderation.training.labels import believed, last_words
    from moderation.training.lessons import score_labels
    from moderation.training.retrain import need_encoder
    from moderation.training.retrain import retrain as run
    from moderation.training.rows import read_behaviour
    from service.hashes import Hashes
    from service.home import prepare_home
    from service.retraining import Retraining

    console = Console(stderr=True)
    trust, secret = read_home_trust(settings), prepare_home(settings)
    bands = cache(Hashes(secret).bands)  # of the same texts up to five times
    releases = Releases(settings.home / "models", shipped_folder("models"))
    with open_home(settings) as store:
        found = gather_labels(store, settings)
    # What is published is compared with this, and takes the place of nothing else.
    began, retraining = releases.in_force(), Retraining(settings.home)
    champion = load_bundle(releases.folder / began.bundle)
    need_encoder(champion)
    with show_progress(console) as progress:
        score = partial(score_labels, champion.model, cache=settings.home / "cache", jobs=jobs, progress=progress)
        look = partial(check_labels, bands=bands, features=score, trust=trust)
        check = look(found)
        keep_check(settings, check)
        accounts = weigh_accounts(found, check, look, trust)
    left_out, heard = accounts.left_out, accounts.apply(trust)
    if not anyway and (learned := find_learned(releases, retraining, found, heard)):
        _tell_nothing(champion.name, *learned, as_json=as_json)
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
    said = last_words(believed(found, heard))
    asked = ask_releases(releases, retraining, result.bundle.name, said, began, secret)
    counts = Counter(label.moderator for label in found if label.moderator in left_out)
    figures = {**result.figures, "labels_left_out": dict(sorted(counts.items()))}
    result = replace(result, gate=result.gate.and_asked(*asked), figures=figures)
    result, report, path = _conclude(releases, result, left_out, by=by if publish else None, instead_of=began)
    gone = clear_away(releases, retraining)
    if as_json:
        typer.echo(json.dumps({**report, "report": str(path), "report_sha256": _digest(path)}))
    else:
        _show(result, left_out, path, gone)
    raise typer.Exit(EXIT_STATUS[result.gate.verdict])


def _conclude(
    releases: Releases, result: Round, left_out: Mapping[str, str], *, by: str | None, instead_of: InForce
) -> tuple[Round, dict[str, Any], Path]:
    """Keep the report and, if the gate promotes it and somebody approves of that, let the challenger serve.

    It takes the place of what it was held against or none: where that is refused, it waits for a person.
    """
    from moderation.errors import BundleError

    home = releases.models.parent
    report, path = _store(home, result, left_out)
    if result.gate.verdict != "PROMOTE" or by is None:
        return result, report, path
    note = f"moderation retrain, {report['labels']['learned']} labels, report {_digest(path)[:12]}"
    try:
        releases.publish(result.bundle, note=note, by=by, instead_of=instead_of)
    except BundleError as error:
        path.unlink()  # it says that nothing stands in the way
        held = replace(result, gate=result.gate.and_asked(tell_refused(error, home)))
        return held, *_store(home, held, left_out)
    return result, report, path


def _report(result: Round, left_out: Mapping[str, str]) -> dict[str, Any]:
    return {
        "format": 1,
        "verdict": result.gate.verdict,
        "challenger": result.bundle.name,
        **result.figures,
        "accounts_left_out": dict(left_out),
        "gate": result.gate.as_dict(),
    }


def _store(home: Path, result: Round, left_out: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    """Write the report beside those of other rounds, which may be of the same bundle; what it says, and its place."""
    from service.retraining import REPORTS

    report = _report(result, left_out)
    content = (json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    folder = home / REPORTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.bundle.name}-{hashlib.sha256(content).hexdigest()[:12]}.json"
    write_file(path, content)
    return report, path


def _digest(report: Path) -> str:
    return hashlib.sha256(report.read_bytes()).hexdigest()


def _tell_nothing(champion: str, learned: str, sentence: str, *, as_json: bool) -> None:
    if as_json:
        said = {"verdict": "NOTHING NEW", "champion": champion, "learned": learned, "sentence": sentence}
        typer.echo(json.dumps(said))
    else:
        typer.echo(f"NOTHING NEW: {sentence}. --anyway retrains it.")


def _count_labels(count: int) -> str:
    return f"{count:,} {'label' if count == 1 else 'labels'}"


def _show(result: Round, left_out: Mapping[str, str], path: Path, gone: list[str]) -> None:
    console = make_console()
    labels = result.figures["labels"]
    of_accounts = result.figures["labels_left_out"]
    beside = f", beside {_count_labels(sum(of_accounts.values()))} that are left out" if of_accounts else ""
    console.print(
        f"{labels['said']:,} comments were judged{beside}: {labels['learned']:,} learned from, "
        f"{labels['held_out']:,} held out",
        highlight=False,
    )
    for reason, count in labels["left_out"].items():
        console.print(f"left out: {count:,} ({reason})", highlight=False)
    for who, why in left_out.items():
        told = f"left out: {who}, {_count_labels(of_accounts.get(who, 0))}, because {why}"
        console.print(Text(f"{told}; labels/trust.toml can say otherwise"))
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
    for name in gone:
        console.print(f"cleared away: {name}", highlight=False)
    console.print()
    typer.echo(str(result.gate))
    typer.echo(f"report: {path}", err=True)
