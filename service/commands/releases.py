"""``moderation releases``, ``publish`` and ``rollback``: which bundle serves, and which did."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from service.commands.places import HomeOption, JsonOption, bundle_path, make_console, open_releases
from service.commands.wording import show_wording

if TYPE_CHECKING:  # what runs models would slow --help down
    from moderation.record import Release
    from moderation.releases import Releases

_WHO = "operator"

ByOption = Annotated[str, typer.Option("--by", help="Who approves it; goes into the record.")]
NoteOption = Annotated[str, typer.Option("--note", help="Why, in a few words; goes into the record.")]


def releases(
    prune: Annotated[
        bool, typer.Option("--prune", help="Clear away old bundles that nothing refers to, and their encoders.")
    ] = False,
    keep: Annotated[int, typer.Option("--keep", min=0, help="With --prune: how many of those stay, the latest.")] = 5,
    pin: Annotated[str | None, typer.Option("--pin", help="Never clear away this bundle.", show_default=False)] = None,
    unpin: Annotated[
        str | None, typer.Option("--unpin", help="Let this bundle be cleared away again.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was published and rolled back, who approved it, which bundles are here, and what words taught.

    Of the bundle in force, where a retraining has made it, the words are shown that weigh more or less than before.

    A bundle stays while it serves, is tried, is scored beside, served before (so that there is a way back), came with
    the software, or is pinned; --prune clears away the rest except for the latest.
    """
    found = open_releases(home)
    if pin is not None:
        found.pin(pin)
    if unpin is not None:
        found.pin(unpin, pinned=False)
    gone = found.prune(keep) if prune else []
    record = _describe(found) | ({"pruned": gone} if prune else {})
    record["wording"] = _find_wording(found, record["in_force"])
    if as_json:
        typer.echo(json.dumps(record))
        return
    console = make_console()
    table = Table("bundle", "at", "by", "", "note", box=None, pad_edge=False)
    for release in reversed(found.history()):
        table.add_row(release.bundle, release.at[:16].replace("T", " "), release.by or "", _say(release), release.note)
    console.print(f"In force: {_in_force(found)}", highlight=False)
    console.print(table if table.row_count else "Nothing is on record here.")
    here = Table("here", "why it stays", box=None, pad_edge=False)
    for bundle in record["bundles"]:
        here.add_row(bundle["bundle"], ", ".join(bundle["why"]))
    if here.row_count:
        console.print()
        console.print(here)
    show_wording(console, record["wording"])
    for name in gone:
        console.print(f"cleared away: {name}", highlight=False)


def publish(
    bundle: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A bundle of the home, or a folder elsewhere.")],
    share: Annotated[
        float | None,
        typer.Option("--share", help="Only for this share of sites, such as 0.2; the others stay.", show_default=False),
    ] = None,
    by: ByOption = _WHO,
    note: NoteOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a bundle serve. It is loaded and checked first; running services take it up by themselves within seconds.

    With --share it serves a share of the sites, always the same ones: publish it again without --share to let it serve
    all, or end it with 'moderation rollback'. NAME may be a few digits of the name, if they are enough; a bundle of
    another folder is copied into the home. 'moderation rollback' goes back at once.

    What a retraining has held or rejected needs a person's word, --by and --note; the gate's verdict and the report go
    into the record with them.
    """
    found = open_releases(home)
    path = bundle_path(found, bundle)
    if share is None and _serves(found, path.name):
        _tell_serving(found, path.name, as_json=as_json)
        return
    said = _word_for(found, path.name, by, note)
    _tell(found, found.publish(path, note=said or note or "moderation publish", by=by, share=share), as_json=as_json)


def rollback(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A bundle that served once. Default: the one that served before.", show_default=False
        ),
    ] = None,
    by: ByOption = _WHO,
    note: NoteOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to the bundle that served before, byte for byte and at once; a canary is ended.

    Going back twice leads two releases back. Scores are exactly those of then: every file is checked against its hash.
    """
    found = open_releases(home)
    release = found.roll_back(name, note=note or "moderation rollback", by=by)
    _tell(found, release, as_json=as_json)


def _serves(found: Releases, name: str) -> bool:
    """Whether a bundle serves every site by a publication of this home; what a home only finds there is none yet."""
    from moderation.errors import BundleMissing
    from moderation.record import InForce

    on_record = found.folder == found.models and any(each.bundle == name for each in found.history())
    with suppress(BundleMissing):
        return on_record and found.in_force() == InForce(name)
    return False


def _word_for(found: Releases, name: str, by: str, note: str) -> str | None:
    """What goes into the record of a bundle that the gate has held or rejected; ``None`` of any other one.

    Raises ``InvalidSettings`` where nobody gives a name and a reason.
    """
    from service.errors import InvalidSettings
    from service.retraining import LEAST_NOTE_CHARS, Retraining

    report = Retraining(found.models.parent).report(name)
    if report is None or report.verdict not in ("HOLD", "REJECT"):
        return None
    note = " ".join(note.split())
    if by == _WHO or not by.strip() or len(note) < LEAST_NOTE_CHARS:
        reasons = " ".join(
            check["sentence"] for check in report.content["gate"]["checks"] if check["state"] in ("hold", "reject")
        )
        raise InvalidSettings(
            f"the gate has said {report.verdict} of {name}: {reasons} To publish it nevertheless, say who wants it and "
            "why: --by NAME --note WHY"
        )
    return report.say(note)


def _describe(found: Releases) -> dict[str, Any]:
    from moderation.errors import BundleError

    try:
        present: dict[str, Any] | None = asdict(found.in_force())
    except BundleError:
        present = None
    challenger = None
    try:
        challenger = found.challenger()
    except BundleError as error:
        typer.echo(f"The bundle that is scored beside: {error}", err=True)
    return {
        "in_force": present,
        "former": found.former() if present else None,
        "shadow": challenger.name if challenger else None,
        "releases": [asdict(release) for release in found.history()],
        "bundles": [{"bundle": kept.path.name, "why": list(kept.why)} for kept in found.kept()],
    }


def _find_wording(found: Releases, in_force: dict[str, Any] | None) -> dict[str, Any] | None:
    """What changed in words when the bundle in force was made; ``None`` where no report says so."""
    from service.retraining import Retraining

    if in_force is None:
        return None
    report = Retraining(found.models.parent).report(in_force["bundle"])
    wording: dict[str, Any] | None = report.content.get("wording") if report is not None else None
    return wording


def _say(release: Release) -> str:
    said = "rolled back" if release.is_rollback else "published"
    if release.share is not None:
        said = f"tried on {_percent(release.share)} of sites"
    return said if release.took_effect else f"{said}, took no effect"


def _in_force(found: Releases) -> str:
    from moderation.errors import BundleError

    try:
        present = found.in_force()
    except BundleError as error:
        return str(error)
    where = "" if found.folder == found.models else ", which came with the software"
    said = f"{present.bundle} serves{where}"
    if present.canary is not None:
        said += f", and {present.canary} serves {_percent(present.share)} of the sites in its place"
    return said


def _percent(share: float) -> str:
    return f"{share * 100:.3g}%"


def _tell_serving(found: Releases, name: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"bundle": name, "serves_already": True, "in_force": asdict(found.in_force())}))
    else:
        typer.echo(f"{name} serves already; nothing was changed, and nothing goes into the record.")


def _tell(found: Releases, release: Release, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(release) | {"in_force": asdict(found.in_force())}))
        return
    typer.echo(f"{_in_force(found)}. Running services take it up by themselves.")
    if release.replaced and release.replaced != release.bundle:
        typer.echo(f"Before: {release.replaced}", err=True)
