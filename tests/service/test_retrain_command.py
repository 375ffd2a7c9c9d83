"""``moderation retrain``: what it prints, keeps and publishes, whom it does not believe, what it says if it cannot.

The software is the real one with fewer behaviour cases, so that a round takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import moderation.training.retrain
from moderation.categories import CODES
from moderation.errors import ReleaseRefused
from moderation.record import InForce
from moderation.releases import Releases
from moderation.training.labels import write_labels
from service.cli import app
from service.retraining import Retraining
from service.second_looks import read_findings

WORSE = ("hostile", "spam", "insult", "identity_attack", "profanity")


def run(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def software(school):
    """The folders that come with the software."""
    with pytest.MonkeyPatch.context() as patch:
        places = {"models": school.champion.path.parent, "training_data": school.data}
        patch.setattr("moderation.shipped.shipped_folder", lambda name: places[name])
        yield


@pytest.fixture(scope="module")
def make_home(school, software, tmp_path_factory):  # noqa: ARG001 - in force from here on
    """Makes a home with labels and a cache that knows them, and nothing else."""

    def make(labels) -> Path:
        home = tmp_path_factory.mktemp("homes") / "home"
        source = home.parent / "labels.jsonl"
        write_labels(source, labels)
        run(home, "labels", "import", source)
        shutil.copytree(school.cache, home / "cache")
        return home

    return make


@pytest.fixture(scope="module")
def labels(school):
    """Those of the school, and those of an account that calls good comments spam and hostile, and bad ones good."""
    kept = [*school.labels[:160], *school.labels[200:]]
    hostile = [
        replace(label, moderator="Mallory", labels={code: 1 - value for code, value in label.labels.items()})
        for label in school.labels[160:200]
    ]
    return [*kept, *hostile]


@pytest.fixture(scope="module")
def taught(make_home, labels):
    """A fresh home after one round, and what that said."""
    home = make_home(labels)
    result = CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--by", "Ada", "--home", str(home)])
    return home, result


def said(result):
    return json.loads(result.stdout)


def test_a_fresh_home_learns_and_serves_the_result(taught, school):
    home, result = taught
    assert result.exit_code == 0, result.output
    found = said(result)
    assert (found["verdict"], found["gate"]["champion"]) == ("PROMOTE", school.champion.name)
    releases = Releases(home / "models", school.champion.path.parent)
    assert releases.in_force().bundle == found["challenger"] != school.champion.name
    assert {folder.name for folder in (home / "models").iterdir() if folder.is_dir()} >= {found["challenger"]}


def test_the_report_is_stored_and_its_hash_is_in_the_record(taught):
    home, result = taught
    found = said(result)
    path = Path(found.pop("report"))
    digest = found.pop("report_sha256")
    assert path.parent == home / "retraining"
    assert path.name == f"{found['challenger']}-{digest[:12]}.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert json.loads(path.read_text(encoding="utf-8")) == found
    record = json.loads((home / "models" / "published.jsonl").read_text().splitlines()[-1])
    assert (record["bundle"], record["by"]) == (found["challenger"], "Ada")
    assert f"report {digest[:12]}" in record["note"]


def test_an_account_that_the_others_speak_against_is_left_out_and_named(taught, labels):
    found = said(taught[1])
    assert set(found["accounts_left_out"]) == {"Mallory"}
    assert "contradict" in found["accounts_left_out"]["Mallory"]
    assert found["labels"]["said"] == len(labels) - 40
    assert found["wording"]["comments"] == found["labels"]["learned"] + found["labels"]["held_out"]
    manifest = (taught[0] / "models" / found["challenger"] / "manifest.json").read_text(encoding="utf-8")
    assert "Mallory" not in manifest


def test_the_labels_in_doubt_are_left_for_the_model_page(taught, labels):
    found = read_findings(taught[0])
    assert found.comments == len(labels)
    assert "Mallory" in {each.moderator for each in found.doubts}


def test_nothing_in_the_home_but_labels_and_the_database_holds_texts(taught, school):
    home, _ = taught
    long = max(school.labels, key=lambda label: len(label.comment.text)).comment.text.encode()[:60]
    found = [
        path.relative_to(home)
        for path in home.rglob("*")
        if path.is_file() and path.parts[-2] in ("cache", "retraining") and long in path.read_bytes()
    ]
    assert found == []


def test_nothing_new_is_said_so(taught, tmp_path):
    home = shutil.copytree(taught[0], tmp_path / "home")
    before = (home / "models" / "published.jsonl").read_bytes()
    assert "NOTHING NEW" in run(home, "retrain", "--jobs", "1", status=5).stdout
    assert said(run(home, "retrain", "--jobs", "1", "--json", status=5))["verdict"] == "NOTHING NEW"
    assert (home / "models" / "published.jsonl").read_bytes() == before


def test_again_without_anything_new_is_for_a_person_to_decide(taught, tmp_path):
    home = shutil.copytree(taught[0], tmp_path / "home")
    before = (home / "models" / "published.jsonl").read_bytes()
    shown = run(home, "retrain", "--jobs", "1", "--anyway", status=3)
    assert shown.stdout.splitlines()[-1] == "HOLD"
    parts = [
        "labels that are left out: ",
        "left out: Mallory, 40 labels, because",
        *("learned from", "labels/trust.toml", "champion comments-", "Nothing gained"),
    ]
    for part in parts:
        assert part in shown.stdout
    assert (home / "models" / "published.jsonl").read_bytes() == before
    # Of the same bundle, and the report that the record names is still there.
    assert len(list((home / "retraining").glob("*.json"))) == 2


@pytest.fixture
def fresh(taught, school, tmp_path):
    """The home before its first round, but for the bundle that this made: its name, and the releases."""
    home = shutil.copytree(taught[0], tmp_path / "home")
    for path in (
        home / "models" / "current",
        home / "models" / "published.jsonl",
        *(home / "retraining").glob("*.json"),
    ):
        path.unlink()
    return home, said(taught[1])["challenger"], Releases(home / "models", school.champion.path.parent)


def retrain(home, *more, status):
    return said(run(home, "retrain", "--jobs", "1", "--json", *more, status=status))


def in_the_way(found):
    return {
        check["name"]: check["sentence"] for check in found["gate"]["checks"] if check["state"] in ("hold", "reject")
    }


def test_a_rollback_is_not_undone_by_the_next_retraining(taught, school, labels, tmp_path):
    home = shutil.copytree(taught[0], tmp_path / "home")
    left = said(taught[1])["challenger"]
    run(home, "rollback", "--by", "Ada")
    releases = Releases(home / "models", school.champion.path.parent)
    found = retrain(home, status=5)
    assert (found["verdict"], found["learned"]) == ("NOTHING NEW", left)
    assert f"{left} was rolled back on" in found["sentence"]
    assert "by Ada" in found["sentence"]

    again = retrain(home, "--anyway", status=3)
    assert again["challenger"] == left
    assert list(in_the_way(again)) == ["rolled_back"]
    assert "the same bundle, byte for byte" in in_the_way(again)["rolled_back"]

    comment = replace(labels[0].comment, text="Cheap watches at https://watches.example, buy now!", id="new")
    said_later = {"moderator": "Dee", "at": labels[0].at.replace(year=2027), "labels": {"spam": 1}}
    write_labels(tmp_path / "new.jsonl", [replace(labels[0], comment=comment, digest=comment.digest(), **said_later)])
    run(home, "labels", "import", tmp_path / "new.jsonl")
    like = retrain(home, status=3)
    assert like["challenger"] != left
    assert list(in_the_way(like)) == ["rolled_back"]
    assert f"it had {again['labels']['said']} labels, and 1 came since" in in_the_way(like)["rolled_back"]
    assert releases.in_force().bundle == school.champion.name

    assert "--by NAME --note WHY" in run(home, "publish", left, status=2).output
    run(home, "publish", left, "--by", "Ada", "--note", "it was the proxy")
    assert releases.in_force().bundle == left
    assert releases.rolled_back() == {}


def test_a_canary_is_neither_completed_nor_ended(fresh, school):
    home, challenger, releases = fresh
    run(home, "publish", challenger, "--share", "0.5")
    tried = releases.in_force()
    assert (tried.bundle, tried.canary) == (school.champion.name, challenger)
    assert retrain(home, status=5)["learned"] == challenger
    found = retrain(home, "--anyway", status=3)
    assert list(in_the_way(found)) == ["in_force"]
    assert f"{challenger} is tried on 50% of the sites" in in_the_way(found)["in_force"]
    assert releases.in_force() == tried


def test_nothing_takes_the_place_of_what_it_was_not_held_against(fresh, school, monkeypatch):
    home, challenger, releases = fresh

    def meanwhile(*arguments, **more):
        made = learn(*arguments, **more)
        releases.publish(school.champion.path, note="meanwhile", by="Ben")
        return made

    learn = moderation.training.retrain.retrain
    monkeypatch.setattr("moderation.training.retrain.retrain", meanwhile)
    releases.publish(home / "models" / challenger, note="first")
    found = retrain(home, "--anyway", status=3)
    assert "was held against" in in_the_way(found)["in_force"]
    assert releases.in_force().bundle == school.champion.name


def test_a_refusal_is_a_hold_with_its_reason_in_the_only_report(fresh, school, monkeypatch):
    home, challenger, releases = fresh

    def refuse(*_, instead_of, **__):
        assert instead_of == InForce(school.champion.name)
        raise ReleaseRefused("somebody else was quicker: comments-000000000000 serves now")

    monkeypatch.setattr("moderation.releases.Releases.publish", refuse)
    found = retrain(home, status=3)
    assert in_the_way(found) == {
        "published": "It was not published: somebody else was quicker: comments-000000000000 serves now."
    }
    [report] = Retraining(home).reports()
    assert (report.name, report.verdict, report.digest) == (challenger, "HOLD", found["report_sha256"])
    assert len(list((home / "retraining").glob("*.json"))) == 1
    assert releases.in_force().bundle == school.champion.name


def test_the_same_labels_give_the_same_bundle_whichever_serves(taught, tmp_path):
    """Also where one serves that has learned from the account that the others contradict, and bears it out."""
    home = shutil.copytree(taught[0], tmp_path / "home")
    trust = home / "labels" / "trust.toml"
    trust.write_text("[moderators]\nMallory = 3\n")
    swayed = said(CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--home", str(home)]))["challenger"]
    if (home / "models" / "current").read_text().split() != [swayed]:
        run(home, "publish", swayed, "--by", "Ada", "--note", "for a test")
    trust.unlink()
    again = said(CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--no-publish", "--home", str(home)]))
    first = said(taught[1])
    assert again["accounts_left_out"] == first["accounts_left_out"]
    assert again["challenger"] == first["challenger"] != swayed


def test_a_flood_by_import_without_times_is_held(taught, school, tmp_path):
    home = shutil.copytree(taught[0], tmp_path / "home")
    imported = [
        replace(label, comment=replace(label.comment, id=f"old-{label.comment.id}"), moderator="old system", at=None)
        for label in school.labels[:160]
    ]
    write_labels(tmp_path / "old.jsonl", imported)
    run(home, "labels", "import", tmp_path / "old.jsonl")
    found = said(CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--home", str(home)]))
    [flood] = [check for check in found["gate"]["checks"] if check["name"] == "flood"]
    assert flood["state"] == "hold", found["gate"]
    assert flood["figures"]["new"] == flood["figures"]["most"] == 160
    assert "old system, and nobody else gave any" in flood["sentence"]
    assert found["verdict"] != "PROMOTE"


def test_an_account_that_is_all_a_site_has_is_a_question_to_a_person(make_home, labels):
    *others, last = labels
    comment = replace(last.comment, site="https://c.example")
    alone = replace(last, comment=comment, digest=comment.digest())
    home = make_home([*others, alone])
    found = said(CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--home", str(home)]))
    [accounts] = [check for check in found["gate"]["checks"] if check["name"] == "accounts"]
    assert (accounts["state"], found["accounts_left_out"]) == ("hold", {})
    assert "Of https://c.example: Mallory" in accounts["sentence"]
    assert found["verdict"] in ("HOLD", "REJECT")
    assert not (home / "models" / "current").exists()
    # Once somebody has said what it counts, there is no question any more.
    (home / "labels" / "trust.toml").write_text("[moderators]\nMallory = 0\n")
    found = said(CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--no-publish", "--home", str(home)]))
    assert [check["state"] for check in found["gate"]["checks"] if check["name"] == "accounts"] == ["pass"]


def test_who_is_named_in_trust_toml_is_believed_as_far_as_it_says(taught, tmp_path, labels):
    home = shutil.copytree(taught[0], tmp_path / "home")
    (home / "labels" / "trust.toml").write_text("[moderators]\nMallory = 0.5\n")
    result = CliRunner().invoke(app, ["retrain", "--json", "--jobs", "1", "--no-publish", "--home", str(home)])
    found = said(result)
    assert found["accounts_left_out"] == {}
    assert found["labels"]["said"] == len(labels)
    assert result.exit_code == {"PROMOTE": 0, "HOLD": 3, "REJECT": 4}[found["verdict"]]
    serving = said(taught[1])["challenger"]
    assert (home / "models" / "current").read_text().split() == [serving]


def test_what_is_worse_is_kept_and_not_published(make_home, school):
    """Every label says the contrary of what the model does, and nothing but them is there to learn it from."""
    home = make_home(
        [replace(label, labels=dict.fromkeys(WORSE, 1), source="appeal_upheld") for label in school.labels]
    )
    found = said(run(home, "retrain", "--json", "--jobs", "1", status=3))
    assert found["verdict"] == "HOLD"
    assert in_the_way(found).keys() == {"doubts"}
    [doubts] = [check for check in found["gate"]["checks"] if check["name"] == "doubts"]
    doubted = {code: count / new for code, (count, new) in doubts["figures"].items()}
    assert doubted.keys() == set(WORSE)
    assert min(doubted.values()) > 0.5
    assert (home / "models" / found["challenger"] / "manifest.json").is_file()
    assert not (home / "models" / "current").exists()
    assert Path(found["report"]).is_file()
    assert set(found["labels"]["sides"]) == set(CODES)


def test_the_norm_of_one_site_moves_that_site_and_waits_for_a_person(make_home, school):
    """Everything is welcome there; what all sites share must not learn that, and no folder of the try stays behind."""
    calm = [replace(label.comment, site="https://b.example") for label in school.labels]
    home = make_home(
        replace(label, comment=comment, digest=comment.digest(), labels=dict.fromkeys(label.labels, 0))
        for label, comment in zip(school.labels, calm, strict=True)
    )
    (home / "labels" / "trust.toml").write_text("[moderators]\nAna = 10\nBen = 10\nCho = 10\n")
    found = said(run(home, "retrain", "--json", "--jobs", "1", status=3))
    assert (found["verdict"], found["moves"], in_the_way(found).keys()) == ("HOLD", "single sites", {"norms"})
    [tried] = found["also_tried"]
    assert tried["verdict"] == "REJECT"
    assert not (home / "models" / tried["challenger"]).exists()
    assert (home / "models" / found["challenger"] / "manifest.json").is_file()
    assert not (home / "models" / "current").exists()


def test_too_few_labels_say_how_many_are_needed(make_home, school):
    home = make_home(school.labels[:10])
    output = run(home, "retrain", "--jobs", "1", status=2).output.replace("\n", " ")
    assert "at least 20 are needed" in output
    assert not list((home / "retraining").glob("*.json"))


def test_no_encoder_is_a_clear_error(plain_home, plain_bundle):
    run(plain_home, "publish", plain_bundle.name)
    output = run(plain_home, "retrain", status=2).output.replace("\n", " ")
    assert "has no encoder in use" in output
    assert "publish a bundle that has one" in output
