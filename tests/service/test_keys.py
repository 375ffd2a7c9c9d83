"""The commands that list and revoke API keys."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from service.auth import find_site
from service.cli import app
from service.errors import Unauthorized
from service.home import open_store
from service.settings import Settings

URL = "https://blog.example"


@pytest.fixture
def run(home):
    def run_one(*arguments: str):
        return CliRunner().invoke(app, [*arguments, "--home", str(home)])

    return run_one


@pytest.fixture
def key(run):
    return json.loads(run("add-site", URL, "--json").stdout)["key"]


@pytest.mark.parametrize("shape", ["{prefix}", "{prefix}...", "{prefix}…", "{key}"])
def test_a_revoked_key_opens_nothing_and_the_others_still_do(run, home, key, shape):
    other = json.loads(run("add-site", URL, "--json").stdout)["key"]
    done = run("revoke-key", shape.format(prefix=key[:8], key=key))
    store = open_store(Settings.load(home=home))

    assert (done.exit_code, key[8:] in done.output) == (0, False)
    with pytest.raises(Unauthorized):
        find_site(store, {"x-api-key": key})
    assert find_site(store, {"x-api-key": other}).url == URL
    store.close()


def test_keys_are_listed_without_their_secret(run, key):
    run("add-site", URL)
    run("revoke-key", key[:8])
    shown = run("keys", URL)
    rows = json.loads(run("keys", "https://BLOG.example/", "--json").stdout)

    assert shown.exit_code == 0
    first, second = shown.stdout.splitlines()
    assert first.startswith(f"{key[:8]}...  made 2")
    assert "revoked 2" in first
    assert "in use" in second
    assert key[8:] not in shown.output
    assert [set(row) for row in rows] == [{"prefix", "created_at", "revoked_at"}] * 2
    assert [row["revoked_at"] is None for row in rows] == [False, True]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("keys", "https://other.example"), "add-site https://other.example"),
        (("revoke-key", "zzzzzzzz"), "moderation keys URL"),
        (("revoke-key", "no prefix"), "moderation keys URL"),
    ],
)
def test_what_is_not_there_is_said_with_what_to_do(run, arguments, advice):
    result = run(*arguments)

    assert result.exit_code == 2
    assert advice in " ".join(result.output.split())
