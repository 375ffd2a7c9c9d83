"""The command as people and scripts run it: a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import moderation
from moderation.bundle import FORMAT
from service.cli import FIRST_MAINTAINER, FIRST_SITE, app
from service.errors import InvalidSettings
from service.home import open_store
from service.server import listen
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
# A busy machine may take its time to import everything.
CLIENT = httpx.Client(timeout=60)
COMMAND = [sys.executable, "-c", "from service.cli import app; app(prog_name='moderation')"]


@pytest.fixture(scope="module", autouse=True)
def _end_connections():
    yield
    CLIENT.close()


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Served:
    """``moderation serve`` in a process, its first lines read."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--home", str(home), "--port", "0", *options],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        while not self.lines or not self.lines[-1].startswith("Serving"):
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.lines.append(line)
        self.url = self.lines[-1].split()[1]
        self._errors: list[str] = []
        self._reader = threading.Thread(target=lambda: self._errors.extend(self.process.stderr))
        self._reader.start()

    def stop(self, how: int = signal.SIGTERM) -> str:
        """Stop it, and return what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(60)
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return "".join(self._errors)


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(home, *options))
        return started[-1]

    yield start
    for served in started:
        if not served.process.stderr.closed:
            served.stop(signal.SIGKILL)


class TestServe:
    def test_without_any_configuration_it_serves_and_says_where_everything_is(self, serve, home):
        served = serve()
        key = re.search(r"\b[0-9a-f]{60}\b", served.lines[0])[0]
        headers = {"Authorization": f"Bearer {key}"}
        response = CLIENT.post(f"{served.url}/v1/comments", json={"id": "1", "text": "Hello"}, headers=headers)

        assert response.status_code in (201, 202)
        assert response.json()["site"] == FIRST_SITE
        assert len(served.lines) == 3
        for part in (served.url, str(home), f"sqlite:///{home}/moderation.db", "bundle ", f"{served.url}/docs"):
            assert part in served.lines[2]
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        for file in home.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file

    def test_the_first_start_lets_a_first_maintainer_in(self, serve):
        served = serve()
        link = served.lines[1].split()[-1]
        token = parse_qs(urlsplit(link).query)["token"][0]
        form = {"token": token, "password": "long enough to be one", "again": "long enough to be one"}
        with httpx.Client(timeout=60, headers={"Origin": served.url}, follow_redirects=True) as browser:
            asked = browser.get(link)
            signed_in = browser.post(f"{served.url}/review/first-sign-in", data=form)
            settings = browser.get(f"{served.url}/review/settings")

        assert link.startswith(f"{served.url}/review/first-sign-in?")
        assert FIRST_MAINTAINER in asked.text
        assert signed_in.url.path == "/review/"
        assert FIRST_SITE in settings.text

    def test_who_was_there_before_is_let_in_by_no_new_link(self, serve, home):
        assert run("add-site", FIRST_SITE, "--home", home).returncode == 0
        assert run("add-moderator", "Ada", "--site", FIRST_SITE, "--home", home).returncode == 0
        prefix = json.loads(run("keys", FIRST_SITE, "--json", "--home", home).stdout)[0]["prefix"]
        assert run("revoke-key", prefix, "--home", home).returncode == 0

        assert [line.partition(" ")[0] for line in serve().lines] == ["First", "Serving"]

    def test_links_of_commands_lead_to_where_it_answers(self, serve, home):
        served = serve()
        arguments = ("add-moderator", "Ada", "--site", FIRST_SITE, "--json", "--home", home)

        def link(**environment) -> str:
            return json.loads(run(*arguments, **environment).stdout)["link"].partition("/review/")[0]

        assert link() == served.url
        assert link(MODERATION_PUBLIC_URL="https://desk.example") == "https://desk.example"
        served.stop(signal.SIGKILL)
        assert (home / "address").read_text().strip() == served.url
        assert link(MODERATION_PORT="9001", MODERATION_HOST="::") == "http://[::1]:9001", "it answers no longer"
        served = serve()
        CLIENT.get(f"{served.url}/healthz")
        served.stop()
        assert not (home / "address").exists()

    def test_a_second_start_keeps_everything_and_prints_no_key(self, serve):
        first = serve()
        key = re.search(r"\b[0-9a-f]{60}\b", first.lines[0])[0]
        headers = {"Authorization": f"Bearer {key}"}
        comment = {"id": "1", "text": "Hello", "author": {"name": "Ann"}}
        answer = CLIENT.post(f"{first.url}/v1/comments", json=comment, headers=headers)
        errors = first.stop()
        second = serve()
        again = CLIENT.post(f"{second.url}/v1/comments", json=comment, headers=headers)

        assert first.process.returncode == 0, errors
        assert len(second.lines) == 1
        assert (200, answer.json()) == (again.status_code, again.json())
        for secret in (key, "Hello", "Ann"):
            assert secret not in errors

    def test_a_key_is_printed_when_there_is_a_site_but_no_key_and_both_addresses_are(self, serve, home, monkeypatch):
        """A start that was cut off in between leaves that behind."""
        home.mkdir(mode=0o755)
        home.chmod(0o755)
        store = open_store(Settings.load(home=home))
        store.add_site(FIRST_SITE)
        store.close()
        monkeypatch.setenv("MODERATION_PUBLIC_URL", "https://moderation.example")
        served = serve()

        assert re.search(r"\b[0-9a-f]{60}\b", served.lines[0])
        assert served.url.startswith("http://127.0.0.1:")
        assert served.lines[1].split()[-1].startswith("https://moderation.example/review/first-sign-in?")
        assert "https://moderation.example/docs" in served.lines[2]
        assert "chmod 700" in served.stop()

    def test_what_was_answered_survives_a_kill(self, serve):
        first = serve()
        headers = {"X-API-Key": re.search(r"\b[0-9a-f]{60}\b", first.lines[0])[0]}
        comments = [{"id": f"{n}", "text": f"Comment {n}"} for n in range(5)]
        answers = [CLIENT.post(f"{first.url}/v1/comments", json=comment, headers=headers) for comment in comments]
        first.stop(signal.SIGKILL)
        second = serve()
        for comment, answer in zip(comments, answers, strict=True):
            again = CLIENT.post(f"{second.url}/v1/comments", json=comment, headers=headers)
            assert (200, answer.json()) == (again.status_code, again.json())

    def test_a_request_under_way_is_answered_before_it_stops(self, serve):
        served = serve()
        headers = {"X-API-Key": re.search(r"\b[0-9a-f]{60}\b", served.lines[0])[0]}

        def slow_body():
            yield b'{"text": '
            # Long enough for the server to have begun with it.
            time.sleep(0.5)
            served.process.send_signal(signal.SIGTERM)
            yield b'"Hello"}'

        CLIENT.get(f"{served.url}/healthz")
        response = CLIENT.post(f"{served.url}/v1/comments", content=slow_body(), headers=headers)

        assert response.status_code in (201, 202)
        served.process.wait(60)
        assert served.process.returncode == 0

    def test_logs_are_one_json_object_per_line_if_asked(self, serve, monkeypatch):
        monkeypatch.setenv("MODERATION_LOG_FORMAT", "json")
        served = serve()
        CLIENT.get(f"{served.url}/healthz?q=private", headers={"X-Forwarded-For": "198.51.100.7"})
        lines = served.stop().splitlines()
        assert "198.51.100.7" not in "".join(lines)
        events = [json.loads(line) for line in lines]

        assert [event["route"] for event in events if event["event"] == "answered"] == ["/healthz"], lines
        assert "private" not in "".join(lines)


class TestRefusals:
    """Each with exit status 2, one sentence that says what to do, and no traceback."""

    def check(self, done: subprocess.CompletedProcess[str], *sentences: str) -> None:
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        for sentence in sentences:
            assert sentence in done.stderr

    def test_an_unknown_variable(self, home):
        self.check(run("serve", "--home", home, MODERATION_PROT="1"), "did you mean MODERATION_PORT?")

    def test_a_port_in_use(self, home):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = run("serve", "--home", home, "--port", taken.getsockname()[1])

        self.check(done, "already in use", "--port")
        assert not home.exists()

    def test_a_second_service_on_one_port_makes_nothing(self, tmp_path, serve):
        port = serve().url.rpartition(":")[2]
        done = run("serve", "--home", tmp_path / "other", "--port", port)

        self.check(done, "already in use", "--port")
        assert not (tmp_path / "other").exists()

    def test_two_that_start_on_one_port_at_once_do_not_both_listen(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with listen("127.0.0.1", port), pytest.raises(InvalidSettings, match="already in use"):
            listen("127.0.0.1", port)

    def test_what_is_written_is_sent_at_once(self):
        """Otherwise the second part of an answer waits 40 ms for the client to acknowledge the first."""
        accepted: list[int] = []

        async def answer(_reader, writer) -> None:
            accepted.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            await writer.wait_closed()

        async def ask() -> None:
            listener = listen("127.0.0.1", 0)
            async with await asyncio.start_server(answer, sock=listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                await reader.read()
                writer.close()
                await writer.wait_closed()

        asyncio.run(ask())
        assert accepted == [1]

    def test_a_home_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x")
        self.check(run("serve", "--home", tmp_path / "file" / "home", "--port", "0"), "--home", "MODERATION_HOME")

    def test_a_database_that_is_none(self, home):
        home.mkdir()
        (home / "moderation.db").write_text("x" * 5000)
        self.check(run("serve", "--home", home, "--port", "0"), "not an SQLite database")

    def test_a_broken_policy(self, home):
        home.mkdir()
        (home / "policy.toml").write_text("[spam]\nhold = 'soon'\n")
        self.check(run("serve", "--home", home, "--port", "0"), "policy.toml", "spam.hold")

    def test_a_short_secret(self, home):
        home.mkdir()
        (home / "secret").write_text("x")
        self.check(run("serve", "--home", home, "--port", "0"), "at least 32 characters")

    def test_an_option_that_there_is_not(self):
        self.check(run("serve", "--prot", "1"), "--port")

    def test_what_is_no_address_of_a_site(self, home):
        self.check(run("add-site", "blog", "--home", home), "https://blog.example.org")
        assert not home.exists()


class TestAddSite:
    def test_it_makes_the_database_and_prints_json_and_nothing_else(self, home):
        done = run("add-site", "https://Blog.example/", "--home", home, "--json")
        made = json.loads(done.stdout)

        assert (done.returncode, done.stderr) == (0, "")
        assert {"site", "key"} == set(made)
        assert made["site"] == "https://blog.example"
        assert re.fullmatch(r"[0-9a-f]{60}", made["key"])
        assert (home / "moderation.db").exists()

    def test_who_maintains_a_site_that_is_there_already_is_said(self, home):
        """Maintainers of other sites can add any site, and would read what comes in with the new key."""
        home.mkdir()
        store = open_store(Settings.load(home=home))
        store.people.add("Mallory", store.add_site("https://blog.example"), "maintainer", who="Mallory")
        store.close()
        done = CliRunner().invoke(app, ["add-site", "https://blog.example", "--home", str(home), "--json"])
        assert done.exit_code == 0
        assert "maintained by Mallory" in done.stderr
        assert set(json.loads(done.stdout)) == {"site", "key"}

    def test_a_site_may_have_several_keys_and_then_serve_prints_none(self, home, serve):
        keys = [json.loads(run("add-site", "https://b.example", "--home", home, "--json").stdout)["key"] for _ in "12"]
        served = serve()
        for key in keys:
            response = CLIENT.post(f"{served.url}/v1/comments", json={"text": "x"}, headers={"X-API-Key": key})
            assert response.json()["site"] == "https://b.example"

        assert len(served.lines) == 1
        with sqlite3.connect(home / "moderation.db") as connection:
            assert connection.execute("SELECT count(*) FROM sites").fetchone()[0] == 1

    def test_without_json_it_is_told_in_words(self, home):
        done = run("add-site", "https://b.example", "--home", home)

        assert re.match(r"Site: https://b.example\nKey:  [0-9a-f]{60}\n", done.stdout)
        assert "not shown again" in done.stderr
        assert "moderation add-moderator NAME --site https://b.example" in done.stderr


class TestVersion:
    def test_the_bundle_in_force_is_named(self, plain_home, plain_bundle):
        found = json.loads(run("version", "--json", "--home", plain_home).stdout)

        assert (moderation.__version__, plain_bundle.name, FORMAT) == (
            found["version"],
            found["bundle"],
            found["format"],
        )
        assert plain_bundle.name in run("version", "--home", plain_home).stdout


def test_every_command_has_help_that_says_what_it_does():
    runner = CliRunner()
    commands = get_command(app).commands

    assert {"serve", "add-site", "version", "score", "train", "evaluate", "data"} <= set(commands)
    for name, command in commands.items():
        result = runner.invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert len(command.help) > 20
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"
