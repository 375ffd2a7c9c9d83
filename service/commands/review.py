"""``moderation add-moderator``, ``export`` and ``forget``: who moderates, what people did, and what is kept of it."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.commands.places import HomeOption, find_site, open_desk, open_home
from service.errors import InvalidSettings
from service.settings import Settings


class RoleName(StrEnum):
    """What somebody may do on a site: look; also decide; also change policy, keys and moderators."""

    VIEWER = "viewer"
    MODERATOR = "moderator"
    MAINTAINER = "maintainer"


def add_moderator(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that stands beside their verdicts.")],
    site: Annotated[str, typer.Option("--site", help="The site's address, such as https://blog.example.org.")],
    role: Annotated[
        RoleName, typer.Option("--role", help="viewer looks, moderator decides, maintainer also changes settings.")
    ] = RoleName.MODERATOR,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Give somebody a role on a site, and a link for signing in once, where they choose a password.

    They are made if they are new. Run again, it changes the role and makes a new link; an earlier one ends. So it also
    helps who has forgotten the password.
    """
    from service.auth import make_sign_in_token, sign_in_link
    from service.home import find_address

    name = name.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise InvalidSettings("a moderator's name has 1 to 200 visible characters")
    settings = Settings.load(home=home)
    with open_home(settings) as store:
        found = find_site(store, site)
        moderator = store.people.add(name, found, role.value, who="operator")
        token, until = make_sign_in_token(store, moderator)
    link = sign_in_link(find_address(settings), token)
    if as_json:
        given = {"moderator": name, "site": found.url, "role": role.value, "token": token, "link": link}
        typer.echo(json.dumps(given | {"until": until.isoformat()}))
        return
    typer.echo(f"Moderator: {name}, {role.value} of {found.url}")
    typer.echo(f"Link:      {link}")
    typer.echo(f"It works once, until {until:%Y-%m-%d %H:%M} UTC. It is not shown again.", err=True)
    if settings.public_url is None:
        typer.echo("If the service is reached at another address, set MODERATION_PUBLIC_URL.", err=True)


class Kind(StrEnum):
    """What can be exported."""

    LOG = "log"
    COMMENT = "comment"
    DECISION = "decision"
    VERDICT = "verdict"
    SUGGESTION = "suggestion"
    APPEAL = "appeal"
    REPORT = "report"
    ALL = "all"


def export(
    kinds: Annotated[
        list[Kind] | None,
        typer.Option("--kind", help="What to write; may be given several times. Default: log.", show_default=False),
    ] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Only this site's, by its address. Default: all.", show_default=False)
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; - is standard output.", show_default=False)
    ] = Path("-"),
    home: HomeOption = None,
) -> None:
    """Write what is kept as JSON Lines: the audit log, and with --kind all everything else.

    The log is every status change and everything that people did, oldest first; it names moderators and ids of
    comments, and holds no text of a comment. The other kinds do: keep the file from strangers.
    """
    from service.exports import KINDS, export_lines

    wanted = set(kinds or [Kind.LOG])
    with open_home(Settings.load(home=home)) as store:
        of_site = None if site is None else find_site(store, site)
        names = KINDS if Kind.ALL in wanted else [name for name in KINDS if Kind(name) in wanted]
        lines = export_lines(store, of_site, names)
        if str(output) == "-":
            sys.stdout.writelines(lines)
            return
        # Aside first: a file of that name is whole or not there.
        aside = output.with_name(f".{output.name}.part")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines)
        aside.replace(output)


def forget(
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, max=36_500, help="Default: MODERATION_RETENTION_DAYS.", show_default=False),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Empty the text, the author and the context of comments that were decided long enough ago and do not wait.

    Statuses, decisions and verdicts stay. A running service does it by itself once an hour where
    MODERATION_RETENTION_DAYS is set.
    """
    from service.hashes import Hashes
    from service.home import prepare_home
    from service.kept_labels import KeptLabels

    settings = Settings.load(home=home)
    kept_days = days if days is not None else settings.retention_days
    if kept_days is None:
        raise InvalidSettings("say after how many days, with --days or MODERATION_RETENTION_DAYS")
    with open_desk(settings) as desk:
        forgotten = sum(desk.forget(kept_days))
    typer.echo(f"Forgotten: {forgotten}")
    with open_home(settings) as store:
        KeptLabels(settings.home, store, Hashes(prepare_home(settings))).work()
