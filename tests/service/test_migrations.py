"""Migrations: they make exactly the tables that the code knows, and keep what is in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, create_engine, func, inspect, select, text

from moderation.comment import Author, Comment, Decision, Neighbour, Post
from service.errors import StoreUnavailable
from service.store import Judged, Store
from service.store import engine as connections
from service.store.tables import metadata


def fill(store: Store) -> None:
    site = store.add_site("https://blog.example")
    store.add_key(site, "aaaaaaaa", "0" * 64)
    for n in range(3):
        comment = Comment(f"text {n}", id=f"c{n}", author=Author("a"), post=Post("p", "Title"), parent=Neighbour("c0"))
        decision = Decision("hold", None, (), comment.digest(), None, "d" * 64, None)
        store.record(site, [Judged(comment, comment.digest(), "h", decision, {})], ("d" * 64, "# toml"))


def count_rows(connection: Connection) -> dict[str, int]:
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }


@pytest.mark.usefixtures("store")
def test_the_migrations_make_exactly_the_tables_of_the_code(database_url):
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})

        assert compare_metadata(context, metadata) == []
        for table in metadata.sorted_tables:
            assert table.primary_key.name == inspect(connection).get_pk_constraint(table.name)["name"]
    engine.dispose()


def test_no_table_has_room_for_an_address_of_a_person():
    names = {column.name for table in metadata.sorted_tables for column in table.columns}

    assert not {name for name in names if "mail" in name or name == "ip" or "address" in name or "user_agent" in name}


def test_migrating_again_changes_nothing(store, database_url):
    fill(store)
    engine = create_engine(database_url)
    with engine.connect() as connection:
        before = count_rows(connection)
    store.migrate()
    with engine.connect() as connection:
        assert before == count_rows(connection)
    engine.dispose()

    assert all(before.values())


def test_rebuilding_a_table_loses_no_rows_that_refer_to_it(store, database_url, monkeypatch):
    """A later migration that changes `comments` or `sites` must not take decisions and versions with it."""
    fill(store)
    engine = create_engine(database_url)
    with engine.connect() as connection:
        before = count_rows(connection)

    def rebuild(connection: Connection, _config: object) -> None:
        operations = Operations(MigrationContext.configure(connection, opts={"target_metadata": metadata}))
        for table in ("sites", "comments", "comment_versions"):
            with operations.batch_alter_table(table, recreate="auto") as batch:
                batch.alter_column("created_at", nullable=True)
                batch.alter_column("created_at", nullable=False)

    monkeypatch.setattr(connections, "_upgrade", rebuild)
    monkeypatch.setattr(connections, "_is_behind", lambda *_: True)
    store.migrate()
    with engine.connect() as connection:
        assert before == count_rows(connection)
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).fetchall() == []
    engine.dispose()
    monkeypatch.undo()

    assert store.find_comments(store.sites()[0], ["c1"])["c1"].status == "held"


def test_a_migration_that_breaks_a_reference_is_undone(tmp_path, monkeypatch):
    """SQLite only: PostgreSQL checks references as it goes."""
    store = Store(f"sqlite:///{tmp_path / 'x.db'}")
    store.migrate()
    fill(store)
    monkeypatch.setattr(connections, "_upgrade", lambda connection, _: connection.execute(text("DELETE FROM sites")))
    monkeypatch.setattr(connections, "_is_behind", lambda *_: True)
    with pytest.raises(StoreUnavailable, match="rows that refer to missing ones"):
        store.migrate()

    assert len(store.sites()) == 1
    store.close()


def test_foreign_keys_are_on_again_after_a_migration(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'x.db'}")
    store.migrate()
    with connections.reading(store._engine) as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    store.close()


def test_a_database_of_a_newer_version_is_refused(store, database_url):
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreUnavailable, match="newer version"):
        store.migrate()


def test_processes_that_start_together_take_turns(database_url):
    def start(_):
        store = Store(database_url, timeout_seconds=20)
        store.migrate()
        store.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [True] * 4
