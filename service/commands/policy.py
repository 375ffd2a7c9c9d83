"""``moderation policy``: what a site follows, checking a policy, trying it on what was decided, putting it in force."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.places import HomeOption, JsonOption, find_site, open_home, read_policy
from service.errors import InvalidSettings
from service.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy would slow --help down
    from moderation.goals import Promise
    from moderation.policy import Policy
    from service.policies import CategoryLines, Changed, Policies, Trial
    from service.store import Store

policy = typer.Typer(help="Policies of sites: which is in force, and trying a new one.", no_args_is_help=True)

SiteOption = Annotated[str, typer.Option("--site", help="The site's address, such as https://blog.example.org.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The policy as TOML.")]


@policy.command()
def show(site: SiteOption, home: HomeOption = None) -> None:
    """Print the policy that a site follows: its own, else that of the home, else the built-in one."""
    with _open(home) as (store, policies):
        found = find_site(store, site)
        typer.echo(policies.text(found), nl=False)
        whose = "its own" if found.policy_digest else "that of the service"
    typer.echo(f"This is {whose}.", err=True)


@policy.command()
def check(
    file: FileArgument,
    site: Annotated[
        str | None, typer.Option("--site", help="Resolve goals on the own labels of this site as well.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a policy, and say what its lines come to for the model in use."""
    with _open(home, site) as (store, policies):
        found = find_site(store, site) if site is not None else None
        _show_lines(policies.lines(policies.check(read_policy(file), found)), as_json=as_json)


@policy.command()
def lines(site: SiteOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say what the lines in force on a site come to, and which of them stand on its own labels."""
    with _open(home, site) as (store, policies):
        found = policies.in_force(find_site(store, site))
        if found is None:
            raise InvalidSettings("this version cannot read the site's policy, so every comment there is held")
        _show_lines(policies.lines(found), as_json=as_json)


def _show_lines(found: Sequence[CategoryLines], *, as_json: bool) -> None:
    resolved = [each for both in found for each in (both.hold, both.reject) if each.line.is_set]
    if as_json:
        rows = [
            {
                "category": each.line.category,
                "action": each.line.action,
                "stated": each.line.stated,
                "threshold": each.line.threshold,
                "supported": each.line.supported,
                "recall": each.point.recall if each.point else None,
                "false_positive_rate": each.point.false_positive_rate if each.point else None,
                "false_positive_rate_upper": each.point.false_positive_rate_upper if each.point else None,
                "note": each.line.note,
                "own_labels": _describe_own(each.line.own),
            }
            for each in resolved
        ]
        typer.echo(json.dumps(rows))
        return
    for each in resolved:
        line = each.line
        where = "no line" if line.threshold is None else f"from {line.threshold:.3f}"
        measured = f", finds {each.point.recall:.1%}" if each.point else ""
        typer.echo(f"{line.category:<16} {line.action:<7} {where}{measured}  ({line.stated})")
        for said in (line.note, each.own):
            if said:
                typer.echo(f"    {said}")


def _describe_own(promise: Promise | None) -> dict[str, Any] | None:
    if promise is None:
        return None
    about = {"holds": promise.holds, "line": promise.line, "bound": promise.bound, "confidence": promise.confidence}
    return about | {"labels": promise.labels, "missing": promise.missing, "sentence": promise.sentence}


@policy.command()
def backtest(
    file: FileArgument,
    site: SiteOption,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back to go.")] = 30,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a policy would have done with what was decided lately, by stored scores. Changes nothing."""
    with _open(home, site) as (store, policies):
        found = find_site(store, site)
        trial = policies.try_out(found, policies.check(read_policy(file), found), days)
        changed = policies.changed(found, trial) if as_json else ()
    if as_json:
        typer.echo(json.dumps(_describe(trial, changed)))
        return
    typer.echo(trial.sentence())
    for move in trial.moves:
        said = f"later approved {move.approved}, later rejected {move.rejected}"
        typer.echo(f"    {move.old} -> {move.new}: {move.comments} ({said})")
    newest = ", the newest of more" if trial.is_cut else ""
    typer.echo(f"Compared: {trial.compared} comments decided since {trial.since:%Y-%m-%d}{newest}.")


@policy.command("set")
def put(
    site: SiteOption,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The policy as TOML.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Follow the policy of the service again.")] = False,
    home: HomeOption = None,
) -> None:
    """Put a policy in force on a site; a running service follows it from the next comment on."""
    if (file is None) is not default:
        raise InvalidSettings("name a FILE, or say --default to follow the policy of the service again")
    with _open(home, site) as (store, policies):
        found = find_site(store, site)
        new: Policy | None = policies.check(read_policy(file), found) if file is not None else None
        if not policies.put(found, new, who="operator", instead_of=found.policy_digest):
            raise InvalidSettings("somebody else has put another policy in force meanwhile; look at it first")
    typer.echo(f"{found.url} follows {f'policy {new.digest}' if new else 'the policy of the service'}.")


@contextmanager
def _open(home: Path | None, site: str | None = None) -> Iterator[tuple[Store, Policies]]:
    from moderation.shipped import shipped_folder
    from service.live_model import LiveModel
    from service.own_labels import OwnLines
    from service.policies import Policies

    settings = Settings.load(home=home)
    with open_home(settings) as store:
        live_model = LiveModel(settings.home, shipped_folder("models"))
        if site is not None:
            OwnLines(store, live_model).read(find_site(store, site))  # so that lines are as a running service has them
        yield store, Policies(store, live_model)


def _describe(trial: Trial, found: Sequence[Changed]) -> dict[str, Any]:
    moves = [
        {
            "old": move.old,
            "new": move.new,
            "comments": move.comments,
            "later_approved": move.approved,
            "later_rejected": move.rejected,
        }
        for move in trial.moves
    ]
    changed = [
        {
            "id": each.decided.comment.id,
            "old": each.decided.action,
            "new": each.decision.action,
            "verdict": each.verdict,
            "reasons": [reason.name for reason in each.decision.reasons if reason.fired],
        }
        for each in found
    ]
    about = {"policy": trial.policy.digest, "since": trial.since.isoformat(), "compared": trial.compared}
    return about | {"is_cut": trial.is_cut, "moves": moves, "changed": changed}
