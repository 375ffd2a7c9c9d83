"""``moderation backtest``: stored comments decided again under another bundle or policy."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from service.commands.places import (
    HomeOption,
    JsonOption,
    OneSiteOption,
    bundle_path,
    find_site,
    open_home,
    open_releases,
    read_policy,
)
from service.errors import InvalidSettings
from service.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy would slow --help down
    from service.backtest import Backtest

_SHOWN = 20


def backtest(
    bundle: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|PATH]", help="A bundle of the home, or a folder.", show_default=False),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Decide by this policy (TOML).", show_default=False)
    ] = None,
    site: OneSiteOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back to go.")] = 30,
    most: Annotated[int, typer.Option("--most", min=1, help="How many comments of each site, the newest.")] = 20_000,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide stored comments again under another bundle, another policy, or both, and list what would change.

    Under a bundle every comment is scored again, which takes as long as scoring does; under a policy alone the stored
    scores are taken. Nothing is changed. Compares with what was decided then, and says what moderators said since.
    """
    if bundle is None and policy is None:
        raise InvalidSettings("name a bundle, or a policy with --policy FILE, or both")
    from moderation.bundle import load_bundle
    from moderation.shipped import shipped_folder
    from service.backtest import try_out
    from service.live_model import LiveModel
    from service.policies import Policies

    settings = Settings.load(home=home)
    loaded = load_bundle(bundle_path(open_releases(home), bundle)) if bundle is not None else None
    if loaded is not None and loaded.fault is not None:
        raise InvalidSettings(f"{loaded.name} cannot be scored with here: {loaded.fault}")
    toml = read_policy(policy) if policy is not None else None
    console = Console(stderr=True)
    with open_home(settings) as store, console.status("deciding again") as status:

        def tell(url: str, number: int) -> None:
            status.update(f"deciding again: {url}, comment {number:,}")

        policies = Policies(store, LiveModel(settings.home, shipped_folder("models")))
        sites = [find_site(store, site)] if site is not None else store.sites()
        found = [
            try_out(
                store,
                policies,
                each,
                bundle=loaded,
                toml=toml,
                days=days,
                most=most,
                progress=partial(tell, each.url),
            )
            for each in sites
        ]
    if as_json:
        typer.echo(json.dumps([_describe_backtest(each) for each in found]))
        return
    for each in found:
        _show_backtest(each)


def _describe_backtest(found: Backtest) -> dict[str, Any]:
    trial = found.trial
    return {
        "site": found.site,
        "bundle": found.bundle,
        "policy": trial.policy.digest,
        "since": trial.since.isoformat(),
        "compared": trial.compared,
        "is_cut": trial.is_cut,
        "moves": [asdict(move) for move in trial.moves],
        "changed": [
            {
                "id": each.decided.comment.id,
                "old": each.decided.action,
                "new": each.decision.action,
                "verdict": each.verdict,
                "reasons": [reason.name for reason in each.decision.reasons if reason.fired],
            }
            for each in found.changed
        ],
    }


def _show_backtest(found: Backtest) -> None:
    trial = found.trial
    typer.echo(f"{found.site}: {trial.sentence()}")
    for move in trial.moves:
        said = f"later approved {move.approved}, later rejected {move.rejected}"
        typer.echo(f"    {move.old} -> {move.new}: {move.comments} ({said})")
    for each in found.changed[:_SHOWN]:
        reasons = ", ".join(reason.name for reason in each.decision.reasons if reason.fired)
        typer.echo(f"    {each.decided.comment.id}: {each.decided.action} -> {each.decision.action} ({reasons})")
    if len(found.changed) > _SHOWN:
        typer.echo(f"    and {len(found.changed) - _SHOWN:,} more; --json lists all")
    newest = ", the newest of more" if trial.is_cut else ""
    typer.echo(f"Compared: {trial.compared} comments decided since {trial.since:%Y-%m-%d}{newest}.")
