"""The home folder and the database: made on first use, by the service or by a command."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from service.errors import InvalidSettings
from service.settings import Settings
from service.store import Store

_log = logging.getLogger(__name__)

_MIN_SECRET_BYTES = 32
_NOTE = "address"
_ANSWERS_WITHIN_SECONDS = 1.0


def prepare_home(settings: Settings) -> bytes:
    """Make the home folder, for its owner only, and return the secret kept in it. Raises ``InvalidSettings``."""
    try:
        if not settings.home.is_dir():
            settings.home.mkdir(parents=True)
            settings.home.chmod(0o700)
        elif settings.home.stat().st_mode & 0o077:
            _log.warning("others can enter the home folder; chmod 700 it", extra={"home": str(settings.home)})
        if settings.secret is not None:
            return settings.secret.get_secret_value().encode()
        return _keep_secret(settings)
    except OSError as error:
        raise InvalidSettings(
            f"the home folder {settings.home} cannot be used ({error.strerror}); "
            "make it writable or name another one with --home or MODERATION_HOME"
        ) from error


@contextmanager
def noted_address(home: Path, address: str) -> Iterator[None]:
    """Leave a note in the home of where the service answers, as long as it does: commands print links that lead there.

    What cannot be written is only a warning.
    """
    note = home / _NOTE
    try:
        note.write_text(f"{address}\n", encoding="utf-8")
    except OSError as error:
        _log.warning("cannot note the address; links of commands may lead elsewhere", extra={"error": error.strerror})
    try:
        yield
    finally:
        with suppress(OSError):
            # Another one may have started meanwhile.
            if note.read_text(encoding="utf-8").strip() == address:
                note.unlink()


def find_address(settings: Settings) -> str:
    """Where the service of a home is reached: its public address, where it answers now, else where it would listen."""
    if settings.public_url is not None:
        return settings.public_url
    with suppress(OSError, ValueError):
        noted = (settings.home / _NOTE).read_text(encoding="utf-8").strip()
        parts = urlsplit(noted)
        # One that was killed has left its note.
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_ANSWERS_WITHIN_SECONDS).close()
        return noted
    return settings.address


def _keep_secret(settings: Settings) -> bytes:
    path = settings.home / "secret"
    if not path.exists():
        aside = settings.home / f".secret-{secrets.token_hex(4)}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        try:
            # Of two processes that start together, the first one's secret stays.
            os.link(aside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            if not path.exists():
                aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    secret = path.read_bytes().strip()
    if len(secret) < _MIN_SECRET_BYTES:
        raise InvalidSettings(f"{path} must hold at least {_MIN_SECRET_BYTES} characters; remove it to get a new one")
    return secret


def open_store(settings: Settings, *, now: Callable[[], datetime] | None = None) -> Store:
    """The database at the newest schema, made if there is none. Raises ``InvalidSettings`` or ``StoreError``.

    ``now`` is the clock by which things are dated, where that is not the real one.
    """
    if settings.database_url is None:
        # Made before the engine does, so that its journal takes over the mode as well.
        _close_to_others(settings.home / "moderation.db")
    store = Store(settings.database, timeout_seconds=settings.database_timeout_seconds, now=now)
    try:
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store


def _close_to_others(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        # Whether the database can be used is for the store to find out and to say.
        _log.warning("cannot close the database to others", extra={"error": error.strerror})
