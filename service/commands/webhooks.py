"""``moderation webhooks``: where sites hear of changes of status."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from service.commands.places import HomeOption, find_site, open_home
from service.errors import InvalidSettings
from service.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy would slow --help down
    from service.statuses import Heard
    from service.store import Deliveries, Webhook

webhooks = typer.Typer(help="Webhooks: where sites hear of changes of status.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, as 'webhooks list' shows it.")]


class FormatName(StrEnum):
    """What messages look like."""

    STANDARD = "standard"
    AKISMET = "akismet"


class EventName(StrEnum):
    """What a webhook can be told of: that a comment got this status, or alerts of drift."""

    PUBLISHED = "published"
    HELD = "held"
    REJECTED = "rejected"
    ERASED = "erased"
    DRIFT = "drift"


@webhooks.command()
def add(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where to send messages, such as https://blog.example/hook.")
    ],
    site: Annotated[str, typer.Option("--site", help="The site's address, such as https://blog.example.org.")],
    events: Annotated[
        list[EventName] | None,
        typer.Option(
            "--event",
            help="Only this: a status, or drift; may be given several times.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        FormatName,
        typer.Option("--format", help="What messages look like: signed ones, or those of Akismet's plugin."),
    ] = FormatName.STANDARD,
    key: Annotated[
        str | None,
        typer.Option("--key", help="With --format akismet: the key that the site's plugin shows.", show_default=False),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell an address of every change of status on a site, from now on.

    The secret that messages are signed with is shown once. docs/webhooks.md says how to check a message.
    With --format akismet the address is the plugin's, such as https://blog.example/wp-json/akismet/v1/webhook.
    """
    from service.webhooks import check_key, check_url, make_secret

    settings = Settings.load(home=home)
    url = check_url(url, settings.webhook_allow)
    wanted = cast("tuple[Heard, ...]", tuple(sorted({event.value for event in events or ()})))
    if form is FormatName.AKISMET:
        if key is None or wanted:
            raise InvalidSettings("the format akismet needs --key, and has no --event: it tells of verdicts of people")
        secret = check_key(key)
    elif key is not None:
        raise InvalidSettings("--key is for --format akismet; other messages are signed with a secret that is made now")
    else:
        secret = make_secret()
    with open_home(settings) as store:
        added = store.webhooks.add(find_site(store, site), url, wanted, secret, who="operator", form=form.value)
    if form is FormatName.STANDARD:
        _show_secret(added, secret, as_json=as_json)
    elif as_json:
        typer.echo(json.dumps({"id": added.id, "site": added.site, "url": added.url}))
    else:
        typer.echo(f"Webhook: {added.id}, {added.url} for {added.site}")


@webhooks.command("list")
def list_all(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the webhooks of all sites, and how their messages stand: waiting, delivered, given up."""
    with open_home(Settings.load(home=home)) as store:
        found = [(webhook, store.webhooks.deliveries(webhook)) for webhook in store.webhooks.all()]
    if as_json:
        typer.echo(json.dumps([_describe(webhook, deliveries) for webhook, deliveries in found]))
        return
    for webhook, deliveries in found:
        events = ", ".join(webhook.events) or ("all changes" if webhook.format == "standard" else "akismet: verdicts")
        ended = f", disabled {webhook.disabled_at:%Y-%m-%d %H:%M} UTC" if webhook.disabled_at else ""
        typer.echo(f"{webhook.id}  {webhook.site}  {webhook.url}  {events}{ended}")
        since = f" since {deliveries.oldest:%Y-%m-%d %H:%M} UTC" if deliveries.oldest else ""
        error = f"; last error: {deliveries.last_error}" if deliveries.last_error else ""
        counts = f"delivered {deliveries.delivered}, given up {deliveries.given_up}"
        typer.echo(f"    waiting {deliveries.waiting}{since}, {counts} in the last 7 days{error}")


@webhooks.command()
def remove(webhook_id: IdArgument, home: HomeOption = None) -> None:
    """Remove a webhook, and what waits for it."""
    with open_home(Settings.load(home=home)) as store:
        store.webhooks.remove(webhook_id, who="operator")
    typer.echo(f"Removed: {webhook_id}")


@webhooks.command()
def rotate(webhook_id: IdArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Sign with a new secret. For a day messages carry the signature of the old one as well.

    The new secret is shown once.
    """
    from service.webhooks import OLD_SECRET_STAYS, make_secret

    secret = make_secret()
    with open_home(Settings.load(home=home)) as store:
        rotated = store.webhooks.rotate(webhook_id, secret, OLD_SECRET_STAYS, who="operator")
    _show_secret(rotated, secret, as_json=as_json)


@webhooks.command("test")
def send_test(webhook_id: IdArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Send a message of the event "ping" now, and say what came back. Exit status 1 where it was not taken."""
    import asyncio
    from datetime import UTC, datetime

    from service.webhooks import ping

    settings = Settings.load(home=home)
    with open_home(settings) as store:
        webhook = store.webhooks.find(webhook_id)
    outcome = asyncio.run(ping(webhook, settings.webhook_allow, datetime.now(UTC)))
    if as_json:
        typer.echo(json.dumps({"id": webhook.id, "status": outcome.status, "error": outcome.error}))
    else:
        answered = f"answered {outcome.status}" if outcome.status else "did not answer"
        typer.echo(f"{webhook.url} {answered}" + (f": {outcome.error}" if outcome.error else ""))
    if outcome.error == "refused_address":
        typer.echo("It leads into a private network; list the host or network in MODERATION_WEBHOOK_ALLOW.", err=True)
    if not outcome.is_delivered:
        raise typer.Exit(1)


def _show_secret(webhook: Webhook, secret: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"id": webhook.id, "site": webhook.site, "url": webhook.url, "secret": secret}))
        return
    typer.echo(f"Webhook: {webhook.id}, {webhook.url} for {webhook.site}")
    typer.echo(f"Secret:  {secret}")
    typer.echo("Check every message with it. It is not shown again.", err=True)


def _describe(webhook: Webhook, deliveries: Deliveries) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "site": webhook.site,
        "url": webhook.url,
        "format": webhook.format,
        "events": list(webhook.events),
        "created_at": webhook.created_at.isoformat(),
        "disabled_at": webhook.disabled_at.isoformat() if webhook.disabled_at else None,
        "failures": webhook.failures,
        "waiting": deliveries.waiting,
        "oldest_waiting_at": deliveries.oldest.isoformat() if deliveries.oldest else None,
        "delivered": deliveries.delivered,
        "given_up": deliveries.given_up,
        "last_error": deliveries.last_error,
    }
