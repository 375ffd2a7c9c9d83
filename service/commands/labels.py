"""``moderation labels``: what people said about comments, to files and from files, and whether to believe it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from service.commands.places import BundleOption, HomeOption, find_bundle, find_site, open_home
from service.errors import InvalidSettings
from service.settings import Settings

if TYPE_CHECKING:
    from moderation.errors import InvalidRow
    from moderation.training.check import Check, Features
    from moderation.training.labels import Label, Trust
    from service.kept_labels import Erased, Identity
    from service.second_looks import Doubt
    from service.store import Site, Store

labels = typer.Typer(
    no_args_is_help=True,
    help="What people said about comments: write it to files, read it from files, and see whether to believe it.",
)

_TRUST = "trust.toml"
_AT_ONCE = 64
_SHOWN_BAD = 20

SiteOption = Annotated[
    str | None, typer.Option("--site", help="Only this site's, by its address. Default: all.", show_default=False)
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="jsonl, csv or parquet, whatever the file is called.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON.")]


@labels.command("export")
def export_labels(
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="File to write; - is standard output. Default: labels/store.jsonl in the home."
        ),
    ] = None,
    site: SiteOption = None,
    home: HomeOption = None,
) -> None:
    """Write the verdicts that stand as labels, one a line: the comment, what was said of it, by whom, and how.

    What the model decided by itself is no label, nor is a comment that nobody reported. A verdict that was taken back
    gives none, and neither does a comment that was erased or whose text is no longer kept. The file holds texts: it is
    readable by its owner only, and labels in the home are brought in line with what was erased.

        moderation labels export labels.jsonl --site https://blog.example.org
    """
    from moderation.files import turn
    from moderation.training.labels import write_labels
    from service.kept_labels import IMPORTED, STORED, drop_erased

    settings = Settings.load(home=home)
    with open_home(settings) as store:
        of_site = None if site is None else find_site(store, site)
        lines = store.labels.read(of_site)
        if output is not None and str(output) == "-":
            for line in lines:
                sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
            return
        path = output or settings.home / "labels" / STORED
        with turn(settings.home):
            count = write_labels(path, lines)
            _read_kept(settings.home / "labels" / IMPORTED)
            dropped, _ = drop_erased(settings.home / "labels" / IMPORTED, find_erased(store, settings))
    typer.echo(f"Labels: {count} in {path}")
    if dropped:
        typer.echo(f"Dropped: {dropped} imported labels of comments that were erased")


@labels.command("import")
def import_labels(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON Lines, CSV (.csv) or Parquet (.parquet); - is standard input.")
    ],
    moderator: Annotated[
        str | None, typer.Option(help="Who judged, where a line does not say it.", show_default=False)
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Address of the site, where a line does not say it.", show_default=False)
    ] = None,
    file_format: FormatOption = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Take no notice of fields and columns that labels do not have.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Keep labels from a file beside those of the store, in labels/imported.jsonl of the home.

    A line holds the fields of the comment, "labels" such as {"spam": 1} (in CSV a column labels.spam), and "moderator";
    docs/labels.md has the others. Bad lines are listed by file and line and left out, the others are kept, and the exit
    status is 1. The same file again changes nothing; another label of the same comment, source and moderator takes the
    place of the former.

        moderation labels import old-decisions.csv --moderator "old system" --site https://blog.example.org
    """
    from moderation.files import turn
    from moderation.training.labels import merge_labels, write_labels
    from service.kept_labels import IMPORTED, drop_erased

    settings = Settings.load(home=home)
    defaults = {name: value for name, value in (("moderator", moderator), ("site", site)) if value}
    read = _read(source, file_format=file_format, defaults=defaults, ignore_unknown=ignore_unknown)
    path = settings.home / "labels" / IMPORTED
    with open_home(settings) as store, turn(settings.home):
        erased = find_erased(store, settings)
        gone = [label for label in read.labels if is_erased(label, erased)]
        new = [label for label in read.labels if not is_erased(label, erased)]
        kept, added, replaced = merge_labels(_read_kept(path), new)
        if added or replaced:
            write_labels(path, kept)
            drop_erased(path, erased, {identity for label in gone for identity in identities(label)})
    found = {"added": added, "replaced": replaced, "kept": len(kept), "erased": len(gone), "bad": len(read.bad)}
    if as_json:
        bad = [{"file": row.path, "line": row.line, "error": row.message} for row in read.bad]
        typer.echo(json.dumps({**found, "bad": bad}, ensure_ascii=False))
    else:
        tell_bad(read.bad)
        typer.echo(f"Labels: {added} new, {replaced} replaced, {len(kept)} in {path}")
        if gone:
            typer.echo(f"Left out: {len(gone)} labels of comments that were erased here")
    if read.bad:
        raise typer.Exit(1)


@labels.command("check")
def check_labels(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Files to check. Default: those of the store and of the home."),
    ] = None,
    site: SiteOption = None,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many doubtful labels to list.")] = 20,
    show_text: Annotated[bool, typer.Option("--show-text", help="Show what was written, and not only ids.")] = False,
    as_json: JsonOption = False,
    queue: Annotated[
        int,
        typer.Option(min=0, max=500, help="How many comments of doubtful labels to have judged again."),
    ] = 0,
    home: HomeOption = None,
    bundle: BundleOption = None,
) -> None:
    """Say how far labels can be believed, before anything is learned from them.

    How far moderators agree, by category and by pair; which labels the model contradicts that has learned from all the
    others; near-duplicates with opposite labels; accounts that give very many labels at once, or that everybody else
    contradicts. docs/labels.md says how to read it. No label is changed; what was found among all of them is listed on
    the Model page too, without texts.

    --queue N puts the N most doubtful of the service's own labels into the queue, then near-duplicates with opposite
    labels: for a second look by somebody who is not shown what the first has said.

    Exit status 1 where moderators agree too little (a coefficient under 0.4), where one account floods, or where a line
    of a file is bad.
    """
    if queue and sources:
        raise InvalidSettings("--queue is for the labels of the service; leave the files out")
    settings = Settings.load(home=home)
    console = Console(stderr=True)
    with open_home(settings) as store:
        of_site = None if site is None else find_site(store, site)
        read = _read_all(store, settings, sources or (), of_site)
    found = [label for label in read.labels if of_site is None or label.comment.site == of_site.url]
    scored_by = _find_bundle(home, bundle)
    features = None if scored_by is None else partial(_features, console, scored_by)
    check = check_gathered(settings, found, features, read_home_trust(settings))
    if not sources and of_site is None:
        keep_check(settings, check)
    queued = _queue(settings, check, queue, of_site) if queue else 0
    if as_json:
        bad = [{"file": row.path, "line": row.line, "error": row.message} for row in read.bad]
        said = {**check.to_dict(limit=limit, show_text=show_text), "bad": bad, "queued": queued}
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        tell_bad(read.bad)
        _show(_console(), check, limit, show_text=show_text)
        if queue:
            typer.echo(f"\nFor a second look: {queued} comments")
    if read.bad or check.is_alarming:
        raise typer.Exit(1)


def gather_labels(store: Store, settings: Settings, site: Site | None = None) -> list[Label]:
    """Everything that people said: what the store has, and what was imported, without comments that were erased."""
    return _read_all(store, settings, (), site).labels


def check_gathered(settings: Settings, found: Sequence[Label], features: Features | None, trust: Trust) -> Check:
    """How far labels can be believed; ``features`` says what a model makes of them, where there is one."""
    from moderation.training.check import check_labels as check
    from service.hashes import Hashes
    from service.home import prepare_home

    return check(found, Hashes(prepare_home(settings)).bands, features, trust)


def keep_check(settings: Settings, check: Check) -> None:
    """Leave in the home which labels are in doubt, for the Model page."""
    from datetime import UTC, datetime

    from service.second_looks import MOST_DOUBTS, Findings, keep_findings

    doubts = _find_doubts(check)
    findings = Findings(datetime.now(UTC), check.comments, len(doubts), tuple(doubts[:MOST_DOUBTS]))
    keep_findings(settings.home, findings)


def _queue(settings: Settings, check: Check, most: int, of_site: Site | None) -> int:
    """Have the most doubtful labels of the store judged again; how many comments."""
    from service.second_looks import queue_doubts

    with open_home(settings) as store:
        sites = store.sites() if of_site is None else [of_site]
        return queue_doubts(store, sites, _find_doubts(check), most, who="operator")


def _find_doubts(check: Check) -> list[Doubt]:
    """What a check has found, each comment once: what the others contradict, then near-duplicates."""
    from service.second_looks import Doubt

    def write(label: Label, category: str, **why: Any) -> Doubt:
        comment, value = label.comment, label.labels[category]
        return Doubt(comment.site, comment.id, label.digest, category, value, label.moderator, label.source, **why)

    doubts = [
        write(each.label, each.category, why="contradicted", probability=round(each.suspect.probability, 4))
        for each in check.doubts
    ]
    for pair in check.contradictions:
        # The side that has fewer is the likelier mistake.
        both = (*pair.yes, *pair.no) if len(pair.yes) <= len(pair.no) else (*pair.no, *pair.yes)
        doubts += [write(label, pair.category, why="near_duplicate") for label in both]
    first: dict[tuple[str | None, str | None, str], Doubt] = {}
    for doubt in doubts:
        first.setdefault((doubt.site, doubt.id, doubt.digest), doubt)
    return list(first.values())


def read_home_trust(settings: Settings) -> Trust:
    """How much labels count by source and moderator: as labels/trust.toml of the home says, else by convention."""
    from moderation.training.labels import Trust, read_trust

    path = settings.home / "labels" / _TRUST
    return read_trust(path) if path.is_file() else Trust()


@dataclass(frozen=True)
class _Read:
    labels: list[Label]
    bad: list[InvalidRow]


def _read(source: Path, **options: Any) -> _Read:
    from moderation.errors import InvalidRow
    from moderation.training.labels import read_labels

    read = _Read([], [])
    for row in read_labels(None if str(source) == "-" else source, **options):
        if isinstance(row, InvalidRow):
            read.bad.append(row)
        else:
            read.labels.append(row)
    return read


def _read_kept(path: Path) -> list[Label]:
    """What was imported before. Raises ``InvalidRow`` for a line that somebody has broken since."""
    if not path.is_file():
        return []
    read = _read(path, file_format="jsonl")
    if read.bad:
        raise read.bad[0]
    return read.labels


def _read_all(store: Store, settings: Settings, sources: Sequence[Path], site: Site | None) -> _Read:
    from moderation.training.labels import read_label
    from service.kept_labels import IMPORTED

    if sources:
        parts = [_read(source) for source in sources]
        return _Read([label for part in parts for label in part.labels], [row for part in parts for row in part.bad])
    own = [read_label(line) for line in store.labels.read(site)]
    kept, erased = _read_kept(settings.home / "labels" / IMPORTED), find_erased(store, settings)
    return _Read([*own, *(label for label in kept if not is_erased(label, erased))], [])


def find_erased(store: Store, settings: Settings) -> Erased:
    """What was erased here, for :func:`is_erased`."""
    from service.hashes import Hashes
    from service.home import prepare_home
    from service.kept_labels import Erased

    return Erased.of(store, Hashes(prepare_home(settings)))


def is_erased(label: Label, erased: Erased) -> bool:
    """Whether its comment is one of those under either of its ids, or its author is."""
    author = label.comment.author
    return erased.has(label.comment.site, (label.comment.id, label.known_as), author.id if author else None)


def identities(label: Label) -> set[Identity]:
    """Under which site and ids others may quote its comment."""
    return {(label.comment.site, each) for each in (label.comment.id, label.known_as) if each is not None}


def _find_bundle(home: Path | None, bundle: Path | None) -> Path | None:
    from moderation.errors import BundleMissing

    try:
        return find_bundle(home, bundle)
    except BundleMissing:
        return None


def _features(console: Console, bundle: Path, standing: Sequence[Label]) -> Any:
    """Log odds of every category by the bundle's scores; those of the time where they are of the same bundle."""
    from moderation.bundle import load_bundle
    from moderation.training.agreement import log_odds

    scores = [label.scores if label.bundle == bundle.name and label.tier == "full" else None for label in standing]
    missing = [row for row, known in enumerate(scores) if known is None]
    if missing:
        loaded = load_bundle(bundle)
        chunks = range(0, len(missing), _AT_ONCE)
        for start in track(chunks, "scoring", console=console, transient=True, disable=not console.is_terminal):
            some = missing[start : start + _AT_ONCE]
            for row, scored in zip(some, loaded.model.score([standing[row].comment for row in some]), strict=True):
                scores[row] = scored.to_dict()
    return log_odds([known for known in scores if known is not None])


def tell_bad(bad: Sequence[InvalidRow]) -> None:
    """List bad lines on standard error, and how many more there are."""
    for row in bad[:_SHOWN_BAD]:
        typer.echo(str(row), err=True)
    if len(bad) > _SHOWN_BAD:
        typer.echo(f"and {len(bad) - _SHOWN_BAD} more bad lines", err=True)


def _name(label: Label) -> str:
    """How a comment is named without saying what is in it."""
    return label.comment.id or label.digest[:12]


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=200, highlight=False)


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


def _show(console: Console, check: Check, limit: int, *, show_text: bool) -> None:
    from moderation.training.agreement import ENOUGH_AGREEMENT

    console.print(f"{check.labels} labels of {check.comments} comments; the last word about each counts")
    table = Table("source", "comments", "weight", box=None, pad_edge=False)
    for name, (count, weight) in check.sources.items():
        table.add_row(Text(name), str(count), f"{weight:g}")
    console.print(table)
    _section(console, "Agreement, on comments that several have judged")
    table = Table("category", "who", "comments", "same", "kappa", "alpha", "", box=None, pad_edge=False)
    for each in check.agreement:
        said = "too low" if each.is_too_low else "" if each.is_telling else "too few to say"
        table.add_row(each.category, "all", str(each.comments), "", "", _number(each.alpha), said)
        for pair in each.pairs:
            who = Text(f"{pair.first}, {pair.second}")
            table.add_row("", who, str(pair.comments), str(pair.same), _number(pair.kappa), "", "")
    console.print(table if check.agreement else "no comment was judged by two people")
    for each in check.second_looks:
        said = f"of them with a second look that knew nothing of the first: {each.category}, {each.comments} comments"
        console.print(f"{said}, alpha {_number(each.alpha)}")
    console.print(f"Under {ENOUGH_AGREEMENT} the labels of a category should not be learned from.", style="dim")

    _section(console, "Labels that the others contradict")
    table = Table("comment", "site", "category", "label", "predicted", "moderator", "source", box=None, pad_edge=False)
    for doubt in check.doubts[:limit]:
        label, suspect = doubt.label, doubt.suspect
        cells = (_name(label), label.comment.site or "", doubt.category, str(suspect.given))
        texts = (*cells, f"{suspect.probability:.2f}", label.moderator, label.source)
        table.add_row(*(Text(text) for text in texts))
        if show_text:
            table.add_row(Text(f"  {label.comment.text}"))
    console.print(table if check.doubts else "none")
    if len(check.doubts) > limit:
        console.print(f"and {len(check.doubts) - limit} more; --limit shows them")
    if check.not_predicted:
        console.print(f"Too few labels, or no model, to say anything of {', '.join(check.not_predicted)}.", style="dim")

    _section(console, "Near-duplicates with opposite labels")
    for found in check.contradictions[:limit]:
        console.print(Text(f"{found.category}: {_who(found.yes)} say 1; {_who(found.no)} say 0"))
        if show_text:
            console.print(Text(f"  {found.yes[0].comment.text}"))
    if not check.contradictions:
        console.print("none")

    _section(console, "Accounts")
    for flood in check.floods:
        said = (
            f"{flood.moderator} floods: {flood.labels} labels, up to {flood.hour} an hour, {flood.day} within a day, "
        )
        console.print(Text(said + f"{flood.share:.0%} of all"))
    for name, odds in (("other moderators contradict", check.outvoted), ("the model contradicts", check.contradicted)):
        for odd in odds:
            rate = f"{odd.contradicted} of {odd.comments} {odd.what}, where {odd.others:.1%} are usual"
            console.print(Text(f"{odd.moderator}: {name} {rate}"))
    if not (check.floods or check.outvoted or check.contradicted):
        console.print("nothing unusual")


def _section(console: Console, title: str) -> None:
    console.print()
    console.print(title, style="bold")


def _who(found: Sequence[Label]) -> str:
    shown = ", ".join(f"{_name(label)} ({label.moderator})" for label in found[:5])
    return f"{shown} and {len(found) - 5} more" if len(found) > 5 else shown
