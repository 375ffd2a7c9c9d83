"""``moderation releases``, ``publish``, ``rollback``, ``shadow`` and ``backtest``: what they print, do and refuse."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app

SITE = "https://blog.example"
LINKS = "See https://shop.example/1 and https://shop.example/2 and https://shop.example/3"


def run(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


def ask(home, *arguments):
    return json.loads(run(home, *arguments, "--json").stdout)


@pytest.fixture
def first(plain_home, plain_bundle) -> Path:
    """What serves in the home."""
    run(plain_home, "publish", plain_bundle.name, "--by", "Ada", "--note", "the first")
    return plain_home / "models" / plain_bundle.name


@pytest.fixture
def second(first, make_bundle) -> Path:
    """Links say nothing to it."""
    return make_bundle(first.parent, spam=0.0)


def test_publish_roll_back_and_the_record_of_it(plain_home, first, second):
    said = run(plain_home, "publish", second.name[9:16], "--by", "Ben")
    assert f"{second.name} serves" in said.stdout
    assert ask(plain_home, "version")["bundle"] == second.name
    assert ask(plain_home, "releases")["former"] == first.name
    back = ask(plain_home, "rollback", "--by", "Cleo")
    assert (back["bundle"], back["replaced"], back["by"]) == (first.name, second.name, "Cleo")
    assert ask(plain_home, "version")["bundle"] == first.name
    listed = ask(plain_home, "releases")
    assert [(each["bundle"], each["by"]) for each in listed["releases"]] == [
        (first.name, "Ada"),
        (second.name, "Ben"),
        (first.name, "Cleo"),
    ]
    assert listed["in_force"]["bundle"] == first.name
    table = run(plain_home, "releases").stdout
    for part in (first.name, second.name, "rolled back", "the first", "in force"):
        assert part in table


@pytest.mark.usefixtures("first")
def test_a_folder_from_elsewhere_is_published(plain_home, make_bundle, tmp_path):
    other = make_bundle(tmp_path / "elsewhere", spam=1.0)
    run(plain_home, "publish", other)
    assert (plain_home / "models" / other.name / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()
    assert ask(plain_home, "version")["bundle_path"] == str(plain_home / "models" / other.name)


def test_a_share_of_sites(plain_home, first, second):
    said = run(plain_home, "publish", second.name, "--share", "0.2").stdout
    assert f"{first.name} serves, and {second.name} serves 20% of the sites" in said
    assert ask(plain_home, "releases")["in_force"] == {"bundle": first.name, "canary": second.name, "share": 0.2}
    assert "tried on 20% of sites" in run(plain_home, "releases").stdout
    run(plain_home, "rollback")
    assert ask(plain_home, "releases")["in_force"]["canary"] is None
    assert "more than 0 and less than 1" in run(plain_home, "publish", second.name, "--share", "2", status=2).output


def test_what_cannot_be_done_says_what_can(plain_home, second, tmp_path):
    assert "nothing served before" in run(plain_home, "rollback", status=2).output
    assert "has never served here" in run(plain_home, "rollback", second.name, status=2).output
    assert "there is no bundle comments-0" in run(plain_home, "publish", "comments-000000000000", status=2).output
    (second / "MODEL_CARD.md").write_text("other")
    assert "MODEL_CARD.md" in run(plain_home, "publish", second.name, status=2).output
    fresh = tmp_path / "fresh"
    assert "came with the software serves" in run(fresh, "rollback", status=2).output
    assert not (fresh / "models" / "current").exists()


def test_old_bundles_are_cleared_away_unless_pinned(plain_home, first, second, make_bundle):
    third = make_bundle(first.parent, spam=2.0)
    run(plain_home, "releases", "--pin", second.name)
    assert ask(plain_home, "releases", "--prune", "--keep", "0")["pruned"] == [third.name]
    said = run(plain_home, "releases", "--unpin", second.name, "--prune", "--keep", "0").stdout
    assert f"cleared away: {second.name}" in said
    assert first.is_dir()


@pytest.mark.parametrize(("verdict", "said"), [("HOLD", "held"), ("REJECT", "rejected")])
def test_what_the_gate_does_not_promote_needs_a_name_and_a_reason(plain_home, first, second, verdict, said):
    checks = [{"name": "gain", "state": "hold", "sentence": "Nothing is better for sure.", "figures": {}}]
    content = {"format": 1, "verdict": verdict, "challenger": second.name, "labels": {}}
    content["gate"] = {"champion": first.name, "verdict": verdict, "checks": checks}
    path = plain_home / "retraining" / f"{second.name}-0.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    for given in ([], ["--by", "Ben"], ["--note", "we looked"], ["--by", "Ben", "--note", " "], ["--share", "0.5"]):
        output = " ".join(run(plain_home, "publish", second.name, *given, status=2).output.split())
        assert f"the gate has said {verdict} of {second.name}: Nothing is better for sure." in output
    assert ask(plain_home, "releases")["in_force"]["bundle"] == first.name
    release = ask(plain_home, "publish", second.name, "--by", "Ben", "--note", "we looked")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (release["by"], release["note"]) == ("Ben", f"we looked ({said} by the gate, report {digest[:12]})")


def test_what_serves_already_is_said_to(plain_home, first, second):
    said = run(plain_home, "publish", first.name, "--by", "Ben")
    assert f"{first.name} serves already" in said.stdout
    assert ask(plain_home, "publish", first.name)["serves_already"]
    assert [each["by"] for each in ask(plain_home, "releases")["releases"]] == ["Ada"]
    run(plain_home, "publish", second.name, "--share", "0.5")
    run(plain_home, "publish", first.name)  # ends the trial
    assert ask(plain_home, "releases")["in_force"] == {"bundle": first.name, "canary": None, "share": 0.0}


class TestOnLiveTraffic:
    @pytest.fixture
    def decided(self, plain_home, second, start):
        """Three comments that came in while the second bundle was scored beside."""
        run(plain_home, "shadow", second.name)
        service = start()
        for number, text in enumerate([LINKS, "Well said.", "What!!!! You!!!!"]):
            assert service.submit(id=f"c{number}", text=text).status_code in (201, 202)
        return service

    def wait(self, service, comments):
        ends = time.monotonic() + 60
        shadows = service.parts.store.shadows
        while sum(run.comments for run in shadows.runs([service.site])) < comments and time.monotonic() < ends:
            time.sleep(0.05)

    def test_shadow_is_begun_reported_and_ended(self, plain_home, second, decided):
        self.wait(decided, 3)
        assert ask(plain_home, "shadow") == {"shadow": second.name}
        found = ask(plain_home, "shadow", "--report")
        assert (found["bundle"], found["compared"], found["agreed"]) == (second.name, 3, 2)
        assert found["pairs"][-1] | {"comments": 1} == found["pairs"][-1]
        assert found["sites"] == {SITE: {"compared": 3, "agreed": 2}}
        assert found["categories"]["spam"] == {"both": 0, "old": 1, "new": 0}
        shown = run(plain_home, "shadow", "--report", "--site", SITE).stdout
        assert "66.7% decided alike" in shown
        assert "No bundle" in run(plain_home, "shadow", "--stop").stdout
        assert ask(plain_home, "shadow") == {"shadow": None}
        assert ask(plain_home, "shadow", "--report", second.name)["compared"] == 3

    def test_what_makes_no_sense_is_refused(self, plain_home, second):
        assert "neither a bundle" in run(plain_home, "shadow", second.name, "--stop", status=2).output
        assert "moderation shadow NAME" in run(plain_home, "shadow", "--report", status=2).output

    @pytest.mark.usefixtures("decided")
    def test_backtest_of_a_bundle_and_of_a_policy(self, plain_home, second, tmp_path):
        (found,) = ask(plain_home, "backtest", second.name)
        assert (found["site"], found["bundle"], found["compared"]) == (SITE, second.name, 3)
        assert [(each["id"], each["old"], each["new"]) for each in found["changed"]] == [("c0", "hold", "publish")]
        policy = tmp_path / "lax.toml"
        policy.write_text("[spam]\nhold = 1\n")
        (by_policy,) = ask(plain_home, "backtest", "--policy", policy, "--site", SITE)
        assert by_policy["bundle"] is None
        assert {each["id"] for each in by_policy["changed"]} == {"c0", "c2"}
        (both,) = ask(plain_home, "backtest", second.name, "--policy", policy)
        assert {each["id"] for each in both["changed"]} == {"c0", "c2"}
        shown = run(plain_home, "backtest", second.name).stdout
        assert "hold -> publish: 1" in shown
        assert "c0: hold -> publish" in shown
        assert "--policy FILE" in run(plain_home, "backtest", status=2).output


def test_the_service_answers_with_what_was_published(plain_home, first, second, start):
    service = start()
    assert service.submit(text=LINKS).json()["bundle"] == first.name
    run(plain_home, "publish", second.name)
    ends = time.monotonic() + 60
    while service.client.get("/readyz").json()["bundle"] != second.name and time.monotonic() < ends:
        time.sleep(0.05)
    assert service.submit(text=LINKS).json()["bundle"] == second.name


def test_a_home_that_is_a_copy_of_the_models_needs_no_more(plain_home, first, tmp_path):
    shutil.copytree(plain_home, tmp_path / "copy")
    assert ask(tmp_path / "copy", "releases")["in_force"]["bundle"] == first.name
