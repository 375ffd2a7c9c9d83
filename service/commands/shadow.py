"""``moderation shadow``: a second bundle scored beside the one that serves, and how far both agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.commands.places import (
    HomeOption,
    JsonOption,
    OneSiteOption,
    bundle_path,
    find_site,
    make_console,
    open_home,
    open_releases,
)
from service.errors import InvalidSettings, NotFound
from service.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy would slow --help down
    from moderation.releases import Releases
    from service.shadow import Report


def shadow(
    bundle: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|PATH]", help="A bundle of the home, or a folder.", show_default=False),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Score with no bundle beside any more.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Tell how far it agrees with what was decided. Default bundle: the latest.")
    ] = False,
    site: OneSiteOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score live comments with a second bundle beside the one that serves, which goes on deciding alone.

    It costs no answer any time: what cannot be scored in between is dropped. Without a bundle and options it says which
    one is scored beside. Disagreements are listed on the Model page; --report counts them here.
    """
    found = open_releases(home)
    if stop and (bundle or report):
        raise InvalidSettings("--stop takes neither a bundle nor --report")
    if report:
        _show_report(home, found, bundle, site, as_json=as_json)
        return
    if bundle is not None:
        found.challenge(bundle_path(found, bundle))
    elif stop:
        found.challenge(None)
    challenger = found.challenger()
    if as_json:
        typer.echo(json.dumps({"shadow": challenger.name if challenger else None}))
        return
    typer.echo(f"{challenger.name} is scored beside what serves." if challenger else "No bundle is scored beside.")


def _show_report(home: Path | None, found: Releases, bundle: str | None, site: str | None, *, as_json: bool) -> None:
    from service.shadow import report

    with open_home(Settings.load(home=home)) as store:
        sites = [find_site(store, site)] if site is not None else store.sites()
        runs = [run.bundle for run in store.shadows.runs(sites)]
        wanted = bundle
        if bundle is not None and bundle not in runs:
            wanted = bundle_path(found, bundle).name
        if wanted is None:
            wanted = runs[0] if runs else None
        if wanted is None or wanted not in runs:
            raise NotFound(
                "no bundle has been scored beside yet; 'moderation shadow NAME' begins, and a running service does it"
            )
        counted = report(store, sites, wanted)
    if as_json:
        typer.echo(json.dumps(_describe_report(counted)))
        return
    console = make_console()
    agreement = f"{counted.agreement:.1%}" if counted.agreement is not None else "nothing"
    console.print(
        f"{counted.bundle}: {counted.compared:,} comments scored beside since {counted.since:%Y-%m-%d %H:%M} UTC, "
        f"{agreement} decided alike",
        highlight=False,
    )
    _print(
        console,
        ("decided", "the other", "comments", "later approved", "later rejected"),
        [(pair.old, pair.new, pair.comments, pair.approved, pair.rejected) for pair in counted.pairs],
    )
    _print(
        console,
        ("category", "spoke in both", "only in what serves", "only in the other"),
        [(code, each.both, each.old, each.new) for code, each in counted.categories.items()],
    )
    _print(
        console,
        ("site", "comments", "decided alike"),
        [(url, count, f"{alike / count:.1%}") for url, (count, alike) in counted.sites.items()],
    )


def _print(console: Console, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    console.print()
    console.print(table)


def _describe_report(counted: Report) -> dict[str, Any]:
    found = asdict(counted) | {"agreement": counted.agreement}
    found["sites"] = {url: {"compared": count, "agreed": alike} for url, (count, alike) in counted.sites.items()}
    for name in ("since", "until"):
        found[name] = found[name].isoformat() if found[name] else None
    return found
