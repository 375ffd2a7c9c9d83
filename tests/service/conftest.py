"""Stores for the service's tests: each test that asks for ``store`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from sqlalchemy import create_engine, text

from service.api import Parts
from service.app import create_app
from service.auth import make_key
from service.settings import Settings
from service.store import Store

POLICY = """
[hostile]
hold = 0.5
[spam]
hold = 0.5
[rules]
blocked_words = ["forbidden"]
blocked_words_action = "reject"
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind, as a setting would name it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'moderation.db'}"
        return
    url = request.getfixturevalue("postgres_url").replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # A new schema takes a tenth of the time of a new database.
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    yield url


@pytest.fixture
def open_store(database_url: str) -> Iterator[Callable[..., Store]]:
    """Opens the test's database, as often as the test likes; closes all at the end."""
    opened: list[Store] = []

    def open_one(timeout_seconds: float = 5.0) -> Store:
        opened.append(Store(database_url, timeout_seconds=timeout_seconds))
        opened[-1].migrate()
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """A store with its tables and nothing in them."""
    return open_store()


def put_bundle(bundle: Path, home: Path) -> Path:
    """Publish a copy of a bundle in a home folder."""
    shutil.copytree(bundle, home / "models" / bundle.name)
    (home / "models" / "current").write_text(f"{bundle.name}\n")
    return home / "models" / bundle.name


class Service:
    """The application behind a real server in a thread, and a client that has a key for https://blog.example."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.parts: Parts = self.app.state.parts
        self.site = self.parts.store.add_site("https://blog.example")
        self.key = make_key(self.parts.store, self.site)
        listener = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=20)

    def submit(self, **comment) -> httpx.Response:
        return self.client.post("/v1/comments", json=comment)

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Service]]:
    """Starts the service in the test's home folder, as often as the test likes."""
    started: list[Service] = []

    def start_one(**options) -> Service:
        started.append(Service(Settings.load(home=home, **options)))
        return started[-1]

    yield start_one
    for service in started:
        service.stop()


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Service]:
    """One service with the tiny bundle and a policy of plain numbers, for tests that do not mind each other."""
    home = tmp_path_factory.mktemp("home")
    put_bundle(tiny_bundle, home)
    (home / "policy.toml").write_text(POLICY)
    service = Service(Settings(home=home))
    yield service
    service.stop()


@pytest.fixture
def service(start: Callable[..., Service], tiny_bundle: Path, home: Path) -> Service:
    """The same, for one test alone."""
    put_bundle(tiny_bundle, home)
    (home / "policy.toml").write_text(POLICY)
    return start()
