"""``moderation policy``: what it prints, puts in force and refuses."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.store import Store

SITE = "https://blog.example"


def run(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("# Mine.\n[spam]\nhold = 0.25\n")
    return path


@pytest.fixture
def blog(plain_home):
    run(plain_home, "add-site", SITE)
    return plain_home


def test_a_policy_is_put_in_force_shown_and_given_up(blog, file):
    assert run(blog, "policy", "show", "--site", SITE).stdout == (blog / "policy.toml").read_text()
    said = run(blog, "policy", "set", file, "--site", SITE).stdout
    store = Store(f"sqlite:///{blog / 'moderation.db'}")
    (site,) = store.sites()
    assert site.policy_digest in said
    assert run(blog, "policy", "show", "--site", SITE).stdout == file.read_text()
    run(blog, "policy", "set", "--default", "--site", SITE)
    assert store.sites()[0].policy_digest is None
    assert [change.who for change in store.policies.history(site, limit=9)] == ["operator"] * 2
    store.close()


def test_what_is_wrong_is_refused_and_nothing_changes(blog, file, tmp_path):
    file.write_text("[spam]\nhold = 2\n")
    for command in (("check", file), ("set", file, "--site", SITE), ("backtest", file, "--site", SITE)):
        assert "spam.hold" in run(blog, "policy", *command, status=2).output
    file.write_text("[spam]\nhold = 0.2\n")
    assert "add-site" in run(blog, "policy", "set", file, "--site", "https://no.example", status=2).output
    assert "cannot read" in run(blog, "policy", "check", tmp_path / "no.toml", status=2).output
    assert "--default" in run(blog, "policy", "set", "--site", SITE, status=2).output
    assert "--default" in run(blog, "policy", "set", file, "--default", "--site", SITE, status=2).output


def test_lines_and_trial_are_printed_for_people_and_programs(blog, file, start):
    service = start()
    service.submit(id="c1", text="A quiet remark.")
    service.stop()
    assert run(blog, "policy", "check", file).stdout.startswith("spam             hold    from 0.250")
    [line] = json.loads(run(blog, "policy", "check", file, "--json").stdout)
    assert (line["category"], line["threshold"], line["recall"]) == ("spam", 0.25, None)

    file.write_text("[spam]\nhold = 0.001\n")
    said = run(blog, "policy", "backtest", file, "--site", SITE).stdout
    assert said.startswith("It would have held 1 more.\n    publish -> hold: 1 (later approved 0, later rejected 0)")
    trial = json.loads(run(blog, "policy", "backtest", file, "--site", SITE, "--days", "3", "--json").stdout)
    assert (trial["compared"], trial["moves"][0]["comments"], trial["is_cut"]) == (1, 1, False)
    assert trial["changed"] == [{"id": "c1", "old": "publish", "new": "hold", "verdict": None, "reasons": ["spam"]}]
