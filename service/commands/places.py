"""Which home, bundle and policy a command uses, and the options that say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from service.errors import InvalidSettings, NotFound
from service.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy and what runs models would slow --help down
    from moderation.releases import Releases
    from service.store import Site, Store
    from service.verdicts import Moderation

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of database, published bundles and policy (MODERATION_HOME).", show_default=False
    ),
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Folder of a bundle. Default: the published one.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON.")]
OneSiteOption = Annotated[
    str | None, typer.Option("--site", help="Only this site, by its address. Default: all.", show_default=False)
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", help="Policy as TOML. Default: policy.toml in the home, else the built-in one.", show_default=False
    ),
]


@contextmanager
def open_home(settings: Settings) -> Iterator[Store]:
    """The database of a home folder, both made if they are not there. Raises ``InvalidSettings`` or ``StoreError``."""
    from service.home import open_store, prepare_home

    prepare_home(settings)
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def open_desk(settings: Settings) -> Iterator[Moderation]:
    """What people do about comments, on the database of a home folder. Raises as :func:`open_home`."""
    from service.hashes import Hashes
    from service.home import open_store, prepare_home
    from service.verdicts import Moderation

    hashes = Hashes(prepare_home(settings))
    store = open_store(settings)
    try:
        yield Moderation(store, hashes, reports_to_reopen=settings.reports_to_reopen)
    finally:
        store.close()


def find_site(store: Store, url: str) -> Site:
    """The site of that address. Raises ``NotFound`` or ``InvalidSettings``."""
    from service.auth import site_url

    url = site_url(url)
    found = next((site for site in store.sites() if site.url == url), None)
    if found is None:
        raise NotFound(f"there is no site {url}; 'moderation add-site {url}' makes it")
    return found


def find_bundle(home: Path | None, bundle: Path | None) -> Path:
    """The folder given, else the bundle published in the home, else the one that came with the software."""
    from moderation.record import current_bundle
    from moderation.shipped import shipped_folder

    if bundle is not None:
        return bundle
    own = Settings.load(home=home).home / "models"
    return current_bundle(own if (own / "current").exists() else shipped_folder("models"))


def find_policy(home: Path | None, policy: Path | None) -> str:
    """The text of the file given, else of ``policy.toml`` in the home, else of the built-in policy."""
    from moderation.policy import default_policy_toml

    if policy is None:
        policy = Settings.load(home=home).home / "policy.toml"
        if not policy.is_file():
            return default_policy_toml()
    try:
        return policy.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {policy}: {error}", param_hint="--policy") from error


def open_releases(home: Path | None) -> Releases:
    """The releases of a home, in front of those that came with the software."""
    from moderation.releases import Releases
    from moderation.shipped import shipped_folder

    return Releases(Settings.load(home=home).home / "models", shipped_folder("models"))


def bundle_path(releases: Releases, wanted: str) -> Path:
    """The folder that is meant: one of that path, else a bundle of the home by its name. Raises ``BundleMissing``."""
    path = Path(wanted)
    return path.absolute() if (path / "manifest.json").is_file() else releases.find(wanted)


def read_policy(file: Path) -> str:
    """The text of a policy. Raises ``InvalidSettings``."""
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"cannot read {file}: {error}") from error


def make_console() -> Console:
    """Standard output; wide enough for whole tables where it is no terminal that knows better."""
    console = Console()
    return console if console.is_terminal else Console(width=220)
