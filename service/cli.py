"""The ``moderation`` command. Heavy imports happen inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from moderation.errors import ModerationError
from service.commands import (
    backtest,
    coral,
    drift,
    encoder,
    imports,
    keys,
    labels,
    policy,
    releases,
    retrain,
    review,
    score,
    shadow,
    training,
    webhooks,
)
from service.commands.places import HomeOption
from service.demo import SEED
from service.errors import InvalidSettings, ServiceError
from service.settings import Settings, shown_address

if TYPE_CHECKING:  # SQLAlchemy would slow --help down
    from service.store import Store

FIRST_SITE = "http://localhost"
FIRST_MAINTAINER = "Maintainer"

# The database with its journal, and whatever else is made, is nobody else's to read.
_OWNER_ONLY = 0o077

_HELP = """Decide about comments: publish, hold for a moderator, or reject.

Start the service, which needs no configuration and prints its address, a first API key and a link for signing in:

    moderation serve

See what a review queue looks like, with made-up sites in a scratch folder:

    moderation demo

Try it without a service:

    moderation score --text "Great post, visit my shop" --post-title "Baking bread"
"""


class _Explaining(TyperGroup):
    """Says what is wrong in one sentence, and exits with 2, where a command raises one of our own errors."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (ServiceError, ModerationError) as error:
            Console(stderr=True).print(f"[bold red]Error:[/] {_plain(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    name="moderation",
    help=_HELP,
    cls=_Explaining,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # Its tracebacks would show comments.
    pretty_exceptions_enable=False,
)


@app.command()
def serve(
    home: HomeOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, 127.0.0.1 by default; 0.0.0.0 is all.", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, 8000 by default; 0 is any free one.", show_default=False)
    ] = None,
) -> None:
    """Start the service.

    On the first start the home folder, the database, a first API key and a first maintainer are made; the key and a
    link for signing in are printed once. Everything else can be set with MODERATION_ variables: see
    docs/configuration.md.
    """
    settings = Settings.load(home=home, host=host, port=port)
    from service.server import listen

    _serve(settings, listen(settings.host, settings.port))


@app.command()
def demo(
    home: Annotated[
        Path | None,
        typer.Option("--home", help="A new or empty folder to fill, which is kept.", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch folder, and say where it is.")] = False,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Only fill; needs --home or --keep.")] = False,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.", min=0, max=65535)] = 8000,
    seed: Annotated[int, typer.Option(help="Another seed: other audits, other slips of the moderators.")] = SEED,
) -> None:
    """See a living review queue: fill a scratch database with a month of three made-up sites, and serve it.

    A blog about touring by bicycle, the newspaper of a small town and a blog where people with mental illness write for
    each other. Their comments, spam and hostility among them, were written for this project and go through the same
    model, policy and database as everybody's. Two made-up moderators have judged what is older than four days, readers
    have reported, authors have appealed; the rest waits for you. Open the link that is printed to sign in.

    Nothing outside of the folder is touched, and no MODERATION_ variable counts. Ctrl-C ends the service and removes
    the folder, unless it is kept; 'moderation serve --home DIR' opens a kept one again.
    """
    from service.commands.demo import fill_home, leave_environment, scratch_home
    from service.server import listen

    if no_serve and home is None and not keep:
        raise InvalidSettings("with --no-serve say where to leave the result: --home DIR, or --keep for a new folder")
    leave_environment()
    os.umask(_OWNER_ONLY)
    with scratch_home(home, keep=keep) as folder:
        settings = Settings.load(home=folder, host="127.0.0.1", port=port)
        listener = None if no_serve else listen(settings.host, settings.port)
        fill_home(settings, seed=seed, address=_address(listener) if listener else None)
        if listener:
            _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> None:
    """Answer on a listening socket until told to stop."""
    import uvicorn

    from service.app import create_app
    from service.home import noted_address
    from service.logs import configure_logs
    from service.server import Server

    configure_logs(settings.log_format)
    os.umask(_OWNER_ONLY)
    application = create_app(settings)
    parts = application.state.parts
    live = parts.live_model.current()
    address = _address(listener)
    _greet(parts.store, settings.public_url or address)
    public = f" | public {settings.public_url}" if settings.public_url else ""
    model = live.bundle.name if live.bundle else "none, so every comment is held (see /readyz)"
    if "encoder" in live.faults:
        model += ", its encoder not in use, so no score rejects (see /readyz)"
    typer.echo(
        f"Serving {address}{public} | home {settings.home} | database {settings.database_shown} | bundle {model} | "
        f"review {settings.public_url or address}/review/ | API {settings.public_url or address}/docs"
    )
    sys.stdout.flush()
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application knows which proxies it may believe
        timeout_graceful_shutdown=10,
    )
    server = Server(config, parts.events)

    def leave(_signal: int, _frame: object) -> None:
        # Also heard before the server listens for signals itself, and once more when it has answered everything.
        server.should_exit = True

    signal.signal(signal.SIGTERM, leave)
    try:
        with noted_address(settings.home, address):
            server.run(sockets=[listener])
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


def _greet(store: Store, address: str) -> None:
    """On a first start, print a first API key and a link with which a first maintainer signs in."""
    from service.auth import SIGN_IN_DAYS, make_key, make_sign_in_token, sign_in_link

    # Asked of keys and not of sites: a start that was cut off in between has made a site without a key.
    if any(key.revoked_at is None for site in store.sites() for key in store.keys(site)):
        return
    site = store.add_site(FIRST_SITE)
    typer.echo(f"First API key, for {site.url}, shown only now: {make_key(store, site)}")
    # Who was there before has a way in, or had one and must not get another.
    if not store.people.all():
        token, _ = make_sign_in_token(store, store.people.add(FIRST_MAINTAINER, site, "maintainer", who="operator"))
        link = sign_in_link(address, token)
        typer.echo(f"Sign in as {FIRST_MAINTAINER}, once and within {SIGN_IN_DAYS} days: {link}")


@app.command("add-site")
def add_site(
    url: Annotated[str, typer.Argument(metavar="URL", help="The site's address, such as https://blog.example.org.")],
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Make an API key for a site, and the site if it is new.

    The key is shown once and cannot be read again. A site may have several keys.
    """
    from service.auth import make_key, site_url
    from service.home import open_store, prepare_home

    url = site_url(url)
    settings = Settings.load(home=home)
    os.umask(_OWNER_ONLY)
    prepare_home(settings)
    store = open_store(settings)
    try:
        site = store.add_site(url)
        key = make_key(store, site)
        here = [each for each in store.people.all() if site.url in each.roles]
        maintainers = [each.name for each in here if each.roles[site.url] == "maintainer"]
    finally:
        store.close()
    if maintainers:
        # Maintainers of other sites can add one: who makes a key should know who can read what comes with it.
        typer.echo(f"The site was there already; maintained by {', '.join(maintainers)}.", err=True)
    if as_json:
        typer.echo(json.dumps({"site": site.url, "key": key}))
        return
    typer.echo(f"Site: {site.url}")
    typer.echo(f"Key:  {key}")
    typer.echo("Send it as 'Authorization: Bearer KEY'. It is not shown again.", err=True)
    if not here:
        typer.echo(f"Nobody moderates it yet: moderation add-moderator NAME --site {site.url}", err=True)


@app.command()
def version(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Print this version, the published bundle and the format of bundles that is read."""
    import moderation
    from moderation.bundle import FORMAT
    from moderation.errors import BundleMissing
    from service.commands.places import find_bundle

    try:
        bundle: Path | None = find_bundle(home, None)
    except BundleMissing:
        bundle = None
    found = {
        "version": moderation.__version__,
        "bundle": bundle.name if bundle else None,
        "bundle_path": str(bundle) if bundle else None,
        "format": FORMAT,
    }
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"moderation {found['version']}, bundle {found['bundle'] or 'none'}, bundle format {FORMAT}")


app.command()(keys.keys)
app.command()(keys.revoke_key)
app.command("add-moderator")(review.add_moderator)
app.add_typer(policy.policy, name="policy")
app.add_typer(webhooks.webhooks, name="webhooks")
app.add_typer(coral.coral, name="coral")
app.command()(review.export)
app.command()(review.forget)
app.add_typer(labels.labels, name="labels")
app.command("import")(imports.import_comments)
app.command()(score.score)
app.command()(releases.releases)
app.command()(releases.publish)
app.command()(releases.rollback)
app.command()(shadow.shadow)
app.command()(backtest.backtest)
app.command()(drift.drift)
app.command()(retrain.retrain)
app.command()(training.train)
app.command("train-encoder")(encoder.train_encoder)
app.command()(training.evaluate)
app.add_typer(training.data, name="data")


def _address(listener: socket.socket) -> str:
    return shown_address(*listener.getsockname()[:2])


def _plain(text: str) -> str:
    """Text that rich shows as it is."""
    return text.replace("[", r"\[")
