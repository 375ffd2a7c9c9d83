"""``moderation keys`` and ``moderation revoke-key``: what keys there are, and the end of one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from service.commands.places import HomeOption, find_site, open_home
from service.errors import NotFound
from service.settings import Settings


def keys(
    url: Annotated[str, typer.Argument(metavar="URL", help="The site's address, such as https://blog.example.org.")],
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """List the API keys of a site by the public part of each, with the dates on which it was made and revoked."""
    with open_home(Settings.load(home=home)) as store:
        found = store.keys(find_site(store, url))
    if as_json:
        rows = [
            {
                "prefix": key.prefix,
                "created_at": key.created_at.isoformat(),
                "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
            }
            for key in found
        ]
        typer.echo(json.dumps(rows))
        return
    for key in found:
        ended = f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC" if key.revoked_at else "in use"
        typer.echo(f"{key.prefix}...  made {key.created_at:%Y-%m-%d %H:%M} UTC  {ended}")


def revoke_key(
    prefix: Annotated[
        str,
        typer.Argument(metavar="PREFIX", help="The key's public part: its first 8 signs, as 'keys' shows them."),
    ],
    home: HomeOption = None,
) -> None:
    """End an API key at once and for good. The site's other keys, and what was stored with this one, stay."""
    from service.auth import read_prefix

    # Whoever pastes more than the public part, even the whole key, is understood; none of it is printed.
    public = read_prefix(prefix)
    with open_home(Settings.load(home=home)) as store:
        if public is None or not store.revoke_key(public):
            raise NotFound("there is no such key in use; 'moderation keys URL' lists those of a site")
    typer.echo(f"Revoked: {public}...")
