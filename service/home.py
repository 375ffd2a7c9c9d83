"""The home folder and the database: made on first use, by the service or by a command."""

from __future__ import annotations

import os
import secrets

from service.errors import InvalidSettings
from service.settings import Settings
from service.store import Store

_MIN_SECRET_BYTES = 32


def prepare_home(settings: Settings) -> bytes:
    """Make the home folder, for its owner only, and return the secret kept in it. Raises ``InvalidSettings``."""
    try:
        if not settings.home.is_dir():
            settings.home.mkdir(parents=True)
            settings.home.chmod(0o700)
        if settings.secret is not None:
            return settings.secret.get_secret_value().encode()
        return _keep_secret(settings)
    except OSError as error:
        raise InvalidSettings(
            f"the home folder {settings.home} cannot be used ({error.strerror}); "
            "make it writable or name another one with --home or MODERATION_HOME"
        ) from error


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
        finally:
            aside.unlink()
    secret = path.read_bytes().strip()
    if len(secret) < _MIN_SECRET_BYTES:
        raise InvalidSettings(f"{path} must hold at least {_MIN_SECRET_BYTES} characters; remove it to get a new one")
    return secret


def open_store(settings: Settings) -> Store:
    """The database at the newest schema, made if there is none. Raises ``InvalidSettings`` or ``StoreError``."""
    store = Store(settings.database, timeout_seconds=settings.database_timeout_seconds)
    try:
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store
