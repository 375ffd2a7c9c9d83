"""``moderation coral``: sites whose comments are Coral's."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.places import HomeOption, JsonOption, find_site, open_home
from service.errors import InvalidSettings
from service.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy would slow --help down
    from service.store import CoralConnection

MAX_SECRET_CHARS = 500

coral = typer.Typer(help="Coral: sites that ask about comments by its external moderation phase.", no_args_is_help=True)

SiteArgument = Annotated[
    str, typer.Argument(metavar="URL", help="The site's address, such as https://paper.example.org.")
]
SecretOption = Annotated[
    str | None,
    typer.Option(
        "--secret",
        help="The signing secret that Coral shows for the phase; - reads it from standard input.",
        show_default=False,
    ),
]
WebhookSecretOption = Annotated[
    str | None,
    typer.Option(
        "--webhooks-secret",
        help="The signing secret that Coral shows for the webhook endpoint; - reads it from standard input.",
        show_default=False,
    ),
]

DropOption = Annotated[
    bool, typer.Option("--drop-old", help="Believe the newest secret of each kind only, at once, as after a leak.")
]


@coral.command()
def connect(
    url: SiteArgument,
    secret: SecretOption = None,
    webhooks_secret: WebhookSecretOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect a site to its Coral, and print the addresses to give to Coral.

    Coral makes the signing secret when you add the phase there; tell it here then, with 'coral rotate'. Until then
    nothing that is sent to these addresses is believed. integrations/coral.md shows every step.
    """
    phase, webhook = _read_secret(secret), _read_secret(webhooks_secret)
    settings = Settings.load(home=home)
    with open_home(settings) as store:
        made = store.coral.connect(find_site(store, url), phase, webhook, who="operator")
    _show(made, settings, as_json=as_json)
    if not made.phase_secrets:
        say = f"moderation coral rotate {made.site.url} --secret -"
        typer.echo(f"Add the phase in Coral, then tell its signing secret here: {say}", err=True)


@coral.command()
def rotate(
    url: SiteArgument,
    secret: SecretOption = None,
    webhooks_secret: WebhookSecretOption = None,
    drop_old: DropOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell a signing secret of Coral's: the first one, or the one that replaces it.

    The newest of each kind before it counts for a day as well, so that nothing is lost while Coral changes from one to
    the other; older ones are forgotten.
    """
    phase, webhook = _read_secret(secret), _read_secret(webhooks_secret)
    if phase is None and webhook is None and not drop_old:
        raise InvalidSettings("say which secret is new: --secret, --webhooks-secret or both; or --drop-old")
    settings = Settings.load(home=home)
    with open_home(settings) as store:
        site = find_site(store, url)
        rotated = store.coral.rotate(site, phase, webhook, who="operator", drop_old=drop_old)
    _show(rotated, settings, as_json=as_json)


@coral.command("list")
def list_all(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the connected sites, with the addresses that Coral needs and how many secrets are known. No secrets."""
    settings = Settings.load(home=home)
    with open_home(settings) as store:
        found = store.coral.all()
    if as_json:
        typer.echo(json.dumps([_describe(each, settings) for each in found]))
        return
    for each in found:
        _show(each, settings, as_json=False)


@coral.command()
def disconnect(url: SiteArgument, home: HomeOption = None) -> None:
    """End a connection: its addresses and secrets are forgotten, and Coral's ids of comments. Comments stay."""
    with open_home(Settings.load(home=home)) as store:
        ended = store.coral.disconnect(find_site(store, url), who="operator")
    typer.echo(f"Disconnected: {ended.site.url}. Remove the phase in Coral as well; it would ask in vain.")


def _read_secret(given: str | None) -> str | None:
    """A secret as Coral shows it, without what copying puts around it."""
    if given is None:
        return None
    secret = (sys.stdin.readline() if given == "-" else given).strip()
    if not secret or len(secret) > MAX_SECRET_CHARS or not secret.isprintable() or " " in secret:
        raise InvalidSettings(f"a signing secret has 1 to {MAX_SECRET_CHARS} visible characters; copy it from Coral")
    return secret


def _describe(connection: CoralConnection, settings: Settings) -> dict[str, Any]:
    from service.home import find_address

    address = f"{find_address(settings)}/coral/{connection.id}"
    return {
        "site": connection.site.url,
        "phase": f"{address}/phase",
        "webhooks": f"{address}/webhooks",
        "phase_secrets": len(connection.phase_secrets),
        "webhooks_secrets": len(connection.webhook_secrets),
        "created_at": connection.created_at.isoformat(),
    }


def _show(connection: CoralConnection, settings: Settings, *, as_json: bool) -> None:
    described = _describe(connection, settings)
    if as_json:
        typer.echo(json.dumps(described))
        return
    typer.echo(f"Site:     {described['site']}")
    for name, label in (("phase", "Phase:   "), ("webhooks", "Webhooks:")):
        known = described[f"{name}_secrets"]
        typer.echo(f"{label} {described[name]}  ({known} secret{'' if known == 1 else 's'} known)")
    if settings.public_url is None:
        typer.echo("If Coral reaches the service at another address, set MODERATION_PUBLIC_URL.", err=True)
