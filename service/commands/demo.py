"""``moderation demo``: the scratch folder, and filling it. Serving it is for ``service.cli``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.errors import InvalidSettings
from service.settings import PREFIX, Settings


def leave_environment() -> None:
    """Forget every ``MODERATION_`` variable: they belong to a real service, whose database is not ours to fill."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        del os.environ[name]


@contextmanager
def scratch_home(home: Path | None, *, keep: bool) -> Iterator[Path]:
    """The folder given, or a temporary one that is removed at the end unless it is to be kept.

    Raises ``InvalidSettings`` where there is something in the folder already.
    """
    if home is not None:
        home = Path(os.path.abspath(home.expanduser()))  # noqa: PTH100  # resolve() would follow links
        if home.exists() and not (home.is_dir() and not any(home.iterdir())):
            raise InvalidSettings(
                f"{home} is not an empty folder; name a new one, or 'moderation serve --home {home}' if it is a demo"
            )
        yield home
        return
    folder = Path(tempfile.mkdtemp(prefix="moderation-demo-"))
    # Also when the process is told to end while it fills the folder; the service listens for this signal by itself.
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def fill_home(settings: Settings, *, seed: int, address: str | None) -> None:
    """Fill the home folder, and print what is in it, the keys of the sites and how to sign in at ``address``."""
    from service.auth import sign_in_link
    from service.demo.content import read_content
    from service.demo.replay import MODERATORS, open_replay

    content = read_content()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with open_replay(settings, content, now=datetime.now(UTC), seed=seed) as replay:
        steps = replay.steps()
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
            for step in bar.track(steps, description="A month of comments"):
                replay.run(step)
        posts = {said.comment.post for said in content.comments}
        typer.echo(
            f"Filled: {len(content.comments)} comments on {len(posts)} posts of {len(replay.sites)} sites, "
            f"{replay.verdicts} verdicts of {' and '.join(MODERATORS)}, in {settings.home}"
        )
        for site in replay.sites:
            typer.echo(f"Site: {content.sites[site.url]}")
            typer.echo(f"      {site.url} | {replay.waiting(site)} wait | key {replay.keys[site.url]}")
        where = address or settings.address
        token, until = replay.invite(MODERATORS[0])
        waiting = sum(replay.waiting(site) for site in replay.sites)
    typer.echo(f"Review: {where}/review/ | {waiting} comments wait for you")
    typer.echo(f"Sign in as {MODERATORS[0]}, maintainer of all sites: {sign_in_link(where, token)}")
    typer.echo(f"The link works once, until {until:%Y-%m-%d %H:%M} UTC; choose a password. f approves, d rejects.")


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)
