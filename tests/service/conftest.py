"""Stores for the service's tests: each test that asks for ``store`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from sqlalchemy import create_engine, text

from moderation.bundle import encoder_folder
from moderation.comment import Author, Comment, Decision, Post, Reason, Scores
from service.api import Parts
from service.app import create_app
from service.auth import make_key
from service.hashes import Hashes
from service.priority import measure, reasons_to_look
from service.server import Server, listen
from service.settings import Settings
from service.store import Judged, Site, Store, Stored

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
def dump(database_url: str) -> Callable[[], str]:
    """Everything in the database, as text."""

    def dump_all() -> str:
        engine = create_engine(database_url)
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                assert isinstance(connection.connection.driver_connection, sqlite3.Connection)
                content = "\n".join(connection.connection.driver_connection.iterdump())
            else:
                names = connection.execute(
                    text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                ).scalars()
                queries = [f"SELECT string_agg(t::text, ' ') FROM {name} t" for name in names]
                content = "\n".join(connection.execute(text(query)).scalar() or "" for query in queries)
        engine.dispose()
        return content

    return dump_all


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


@pytest.fixture
def put(store: Store) -> Callable[..., Stored]:
    """Puts a decided comment into the store as the workflow would, with the scores, reasons and context asked for."""
    hashes = Hashes(b"k" * 32)

    def put_one(site: Site, comment_id: str | None, text: str = "", action: str = "hold", **more) -> Stored:
        score, draw = more.pop("score", 0.6), more.pop("draw", None)
        reason, limit = more.pop("reason", "spam"), more.pop("limit", 0.3 if action == "hold" else None)
        author, post = more.pop("author", None), more.pop("post", None)
        told_spam = more.pop("told_spam", None)
        comment = Comment(
            text or f"The words of {comment_id}",
            id=comment_id,
            site=site.url,
            author=Author(author, f"Name of {author}", f"https://{author}.example") if author else None,
            post=Post(post, f"Title of {post}") if post else None,
            **more,
        )
        scores = Scores(0.01, score, None, 0.01, 0.01, 0.01, 0.01, 0.01)
        reasons = (Reason(reason, score, limit, action != "publish", f"Because of {reason}."),)
        decision = Decision(action, scores, reasons, comment.digest(), "bundle-1", "p" * 64, "lexical")
        judged = Judged(
            comment,
            comment.digest(),
            hashes.text(comment.text),
            decision,
            {"links": 1},
            bands=hashes.bands(comment.text),
            whys=reasons_to_look(decision, draw),
            priority=measure(decision),
            draw=draw,
            told_spam=told_spam,
        )
        (stored,) = store.record(site, [judged], ("p" * 64, "# a policy"))
        return stored

    return put_one


def put_bundle(bundle: Path, home: Path) -> Path:
    """Publish a copy of a bundle, and of its encoder if it has one, in a home folder."""
    shutil.copytree(bundle, home / "models" / bundle.name)
    if (encoder := encoder_folder(bundle)) is not None:
        shutil.copytree(encoder, home / "models" / encoder.name)
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
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(self.app, log_config=None, access_log=False, proxy_headers=False)
        self._server = Server(config, self.parts.events)
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
def shared_service(tmp_path_factory: pytest.TempPathFactory, plain_bundle: Path) -> Iterator[Service]:
    """One service with the plain bundle and a policy of plain numbers, for tests that do not mind each other."""
    home = tmp_path_factory.mktemp("home")
    put_bundle(plain_bundle, home)
    (home / "policy.toml").write_text(POLICY)
    service = Service(Settings(home=home))
    yield service
    service.stop()


@pytest.fixture
def plain_home(home: Path, plain_bundle: Path) -> Path:
    """A home folder with the plain bundle and a policy of plain numbers."""
    put_bundle(plain_bundle, home)
    (home / "policy.toml").write_text(POLICY)
    return home


@pytest.fixture
def full_home(home: Path, full_bundle: Path) -> Path:
    """A home folder with the bundle that has an encoder, and a policy that rejects spam by its score."""
    put_bundle(full_bundle, home)
    (home / "policy.toml").write_text("[hostile]\nhold = 0.5\n[spam]\nhold = 0.5\nreject = 0.9\n")
    return home


@pytest.fixture
def service(start: Callable[..., Service], plain_home: Path) -> Service:  # noqa: ARG001  # started in it
    """The same as ``shared_service``, for one test alone."""
    return start()
