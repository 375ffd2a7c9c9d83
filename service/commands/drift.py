"""``moderation drift``: the figures of the last day, by site and category, and what alarms in them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.commands.places import HomeOption, JsonOption, OneSiteOption, find_site, make_console, open_home
from service.settings import Settings

if TYPE_CHECKING:
    from service.store import DriftDay


def drift(
    site: OneSiteOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back to go for the last figures.")] = 7,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how far what comes in has moved away from what the model and its lines were made for.

    A running service makes the figures once a day. The last ones of each site are shown; --json prints all of the days.
    """
    with open_home(Settings.load(home=home)) as store:
        sites = [find_site(store, site)] if site is not None else store.sites()
        found = store.drift.days(sites, (store.now() - timedelta(days=days)).date().isoformat())
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found]))
        return
    latest: dict[str, str] = {}
    for each in found:
        latest.setdefault(each.site, each.day)
    if not latest:
        typer.echo(f"There are no figures of the last {days} days; a running service makes them once a day.")
    console = make_console()
    for url, day in latest.items():
        rows = [each for each in found if (each.site, each.day) == (url, day)]
        console.print(f"{url}, {day}, {rows[0].bundle}", highlight=False)
        console.print(_table(rows))
        for each in rows:
            for alert in each.alerts:
                console.print(f"{each.category}: {alert.text}", highlight=False, soft_wrap=True)


def _table(rows: list[DriftDay]) -> Table:
    table = Table("category", "tier", "comments", "PSI", "unseen words", "line", "precision", "recall", box=None)
    for each in rows:
        about: tuple[str, ...] = (
            each.category,
            each.tier,
            f"{each.comments:,}",
            _figure(each.psi, ".2f"),
            _figure(each.unseen, ".1%"),
        )
        for line in each.lines or ({"action": "", "precision": None, "recall": None},):
            shares = [
                f"{share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})" if share else "-"
                for share in (line["precision"], line["recall"])
            ]
            table.add_row(*about, line["action"], *shares)
            about = ("",) * len(about)
    return table


def _figure(value: float | None, form: str) -> str:
    return format(value, form) if value is not None else "-"
