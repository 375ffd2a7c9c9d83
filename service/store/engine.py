"""Connections and transactions: SQLite and PostgreSQL made to behave alike, and their faults made ours."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.errors import InvalidSettings, StoreBusy, StoreError, StoreUnavailable
from service.store.columns import metadata

_log = logging.getLogger(__name__)

# Any number will do, as long as nothing else in the database uses it.
_MIGRATION_LOCK = 7_261_180_455

_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_AWAY = {
    sqlite3.SQLITE_READONLY: "is read-only; make its file and folder writable for the service",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_FULL: "has no room left on its disk",
    sqlite3.SQLITE_IOERR: "cannot be read or written; check the disk",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database; check MODERATION_DATABASE_URL",
    sqlite3.SQLITE_AUTH: "does not permit this",
    sqlite3.SQLITE_PERM: "does not permit this",
}
# SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES_BUSY = ("55P03", "57014", "40001", "40P01", "53300")
_AWAY = "cannot be reached; check that it runs, and MODERATION_DATABASE_URL"
_POSTGRES_AWAY = {
    "25006": "is read-only; check that it is not a standby",
    "42501": "does not permit this; check the rights of its user",
    "08": _AWAY,
    "28": _AWAY,
    "3D000": _AWAY,
    "57P": _AWAY,
    "53": "has no room or memory left",
    "58": "cannot read or write its files",
}


def make_engine(url: str, timeout_seconds: float) -> Engine:
    """An engine for a checked URL. Connects to nothing yet. Raises ``InvalidSettings`` for a URL it cannot read."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidSettings(
            "MODERATION_DATABASE_URL cannot be read; see docs/configuration.md for its form"
        ) from None
    options: dict[str, Any] = {"pool_timeout": timeout_seconds, "hide_parameters": True}
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": timeout_seconds, "check_same_thread": False}, **options)
        event.listen(engine, "connect", partial(_prepare_sqlite, timeout_seconds))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        import_module("psycopg")
    except ImportError:
        raise InvalidSettings("PostgreSQL needs a driver: pip install '.[postgres]'") from None
    connect_args = {"connect_timeout": max(2, math.ceil(timeout_seconds))}
    engine = create_engine(parsed, connect_args=connect_args, pool_pre_ping=True, **options)
    waiting = f"SET lock_timeout = {int(timeout_seconds * 1000)}"

    @event.listens_for(engine, "connect")
    def _prepare_postgres(connection: Any, _record: Any) -> None:
        connection.execute(waiting)
        connection.commit()

    return engine


def _prepare_sqlite(timeout_seconds: float, connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transactions begin too late to be immediate; _begin_sqlite begins them.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # Erased text is to be gone from the file, not only from the tables.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # 16 MiB, which hold a queue of 20,000 entries: what searches them in order of urgency reads each page once.
    connection.execute("PRAGMA cache_size = -16384")
    _write_ahead(connection, time.monotonic() + timeout_seconds)


def _write_ahead(connection: sqlite3.Connection, deadline: float) -> None:
    """Turn the write-ahead log on, which SQLite refuses at once, whatever its timeout, while another process writes."""
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            # A read-only database still answers questions.
            if code == sqlite3.SQLITE_READONLY:
                return
            if code not in _SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A write that begins as a read can fail at its first write without waiting; one that begins immediately waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view. Raises ``StoreBusy`` or ``StoreUnavailable``; bugs stay what they are."""
    with _faults(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed when the block ends, undone when it raises. Raises as :func:`reading`."""
    with _faults(), engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreBusy("the database is busy; nothing was kept, try again") from error
    except DBAPIError as error:
        fault = _fault(error)
        if fault is None:
            raise
        raise fault from error


def _fault(error: DBAPIError) -> StoreError | None:
    """What is wrong with the database; ``None`` where something is wrong with us."""
    if isinstance(error.orig, sqlite3.Error):
        code = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF
        sentence = _SQLITE_AWAY.get(code)
        is_busy = code in _SQLITE_BUSY
    else:
        state = getattr(error.orig, "sqlstate", None)
        # A connection that could not be made carries no state at all.
        is_lost = error.connection_invalidated or (state is None and isinstance(error, OperationalError))
        sentence = (
            _AWAY
            if is_lost
            else next((_POSTGRES_AWAY[key] for key in _POSTGRES_AWAY if (state or "").startswith(key)), None)
        )
        is_busy = state in _POSTGRES_BUSY
    if is_busy:
        return StoreBusy("the database is busy; nothing was kept, try again")
    return StoreUnavailable(f"the database {sentence}") if sentence else None


def migrate(engine: Engine) -> None:
    """Bring the schema up to date, in one transaction; processes that start together take turns.

    A database without a table gets them as the code knows them; the migrations are for those that are older.

    Raises:
        StoreUnavailable: when the database was written by a newer version, or a migration broke a reference.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    try:
        if engine.dialect.name == "sqlite":
            _migrate_sqlite(engine, config)
        else:
            with writing(engine) as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                _upgrade(connection, config)
    except CommandError as error:
        raise StoreUnavailable(
            f"the database cannot be brought up to date: {error}. Is it from a newer version?"
        ) from error


def _migrate_sqlite(engine: Engine, config: Config) -> None:
    # SQLite rebuilds a table by dropping the old one, which with foreign keys on would delete what refers to it;
    # and it ignores this pragma inside a transaction.
    with _faults(), engine.connect().execution_options(writes=_is_behind(engine, config)) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                _upgrade(connection, config)
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    tables = ", ".join(sorted({row[0] for row in broken}))
                    raise StoreUnavailable(f"the database has rows that refer to missing ones, in {tables}; restore it")
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


def _is_behind(engine: Engine, config: Config) -> bool:
    """Whether there is anything to write, so that a read-only database that is up to date can be opened."""
    with reading(engine) as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    return present != ScriptDirectory.from_config(config).get_current_head()


def _upgrade(connection: Connection, config: Config) -> None:
    config.attributes["connection"] = connection
    if _has_tables(connection):
        command.upgrade(config, "head")
    else:
        # What all migrations lead to, in a tenth of their time.
        metadata.create_all(connection, checkfirst=False)
        command.stamp(config, "head")


def _has_tables(connection: Connection) -> bool:
    return bool(inspect(connection).get_table_names())


def empty_journal(engine: Engine) -> None:
    """Move everything out of SQLite's journal and cut it, as far as other connections permit right now.

    Never raises: what was erased before is committed, and the journal is cut at the latest when the database is closed.
    """
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            is_blocked, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except (SQLAlchemyError, sqlite3.Error) as error:
        _log.warning("erased text may still be in the journal", extra={"error": type(error).__name__})
        return
    if is_blocked:
        _log.warning("erased text may still be in the journal", extra={"error": "busy"})
