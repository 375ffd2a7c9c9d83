"""Retraining from the service: one process at a time, what it says, how it ends, reports, and a person's word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from typer.testing import CliRunner

from moderation.errors import ReleaseRefused
from moderation.record import InForce
from moderation.releases import Releases
from moderation.shipped import shipped_folder
from service.auth import make_sign_in_token
from service.cli import app
from service.errors import InvalidRequest, NotFound
from service.retraining import NICE, REPORTS, Retraining, RetrainingRuns, Run, alone

WORDING = {
    "comments": 240,
    "least_comments": 3,
    "least_authors": 2,
    "categories": {
        "spam": {
            "more": [{"term": "moonbeam tokens", "comments": 30, "change": 0.3123}],
            "less": [{"term": "kettle", "comments": 28, "change": -0.2145}],
        }
    },
}


def write_report(home, challenger, champion, verdict="HOLD", **more):
    """A report as ``moderation retrain`` leaves it."""
    checks = [
        {"name": "flood", "state": "pass", "sentence": "No account gave <most> of it.", "figures": {}},
        {"name": "gain", "state": "hold", "sentence": "Nothing is better for sure.", "figures": {}},
    ]
    content = {
        "format": 1,
        "verdict": verdict,
        "challenger": challenger,
        "labels": {"said": 60, "learned": 48, "held_out": 12, "left_out": {"the same text as one held out": 2}},
        "sites": {"https://blog.example": {"spam": {"rows": 30, "bad": 11, "log_loss": [0.4321, 0.1234]}}},
        "accounts_left_out": {"Mallory": "it gave 900 labels within a day, 90% of all"},
        "labels_left_out": {"Mallory": 901},
        "gate": {"format": 1, "verdict": verdict, "champion": champion, "challenger": challenger, "checks": checks},
    } | more
    (home / REPORTS).mkdir(parents=True, exist_ok=True)
    (home / REPORTS / f"{challenger}.json").write_text(json.dumps(content))


def wait_for_end(retraining, seconds=600):
    ends = time.monotonic() + seconds
    while retraining.look().is_running:
        assert time.monotonic() < ends
        time.sleep(0.05)
    return retraining.look().run


@pytest.fixture
def make(home):
    home.mkdir(mode=0o700)
    made = []

    def make_one(days=0, nice=0):  # the machine may be busy with other tests
        made.append(Retraining(home, days, nice=nice))
        return made[-1]

    yield make_one
    for each in made:
        each.stop()


# --- the process -----------------------------------------------------------------------------------------------------


def test_one_runs_at_a_time_and_says_why_it_failed(make, home):
    retraining, other = make(), make()  # as two processes of the service
    assert retraining.begin("-Ada")
    assert not retraining.begin("Ben")
    assert not other.begin("Ben")
    assert other.look().is_running
    assert other.look().run.by == "-Ada"
    run = wait_for_end(other)
    assert (run.outcome, run.report) == ("FAILED", None)
    assert run.sentence.startswith("0 labels are too few to learn from; at least 20 are needed")
    assert run.step == "reading the bundle's own rows"
    assert run.started <= run.step_since <= run.ended
    assert str(home) not in run.sentence
    assert other.begin("Ben")  # the next one may


def test_it_ends_with_the_service_and_steps_back(make):
    retraining = make(nice=NICE)
    assert retraining.begin()
    process = retraining._process
    if hasattr(os, "getpriority"):
        ends = time.monotonic() + 120
        while os.getpriority(os.PRIO_PROCESS, process.pid) < min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19):
            assert time.monotonic() < ends
            time.sleep(0.01)
    retraining.stop()
    assert process.poll() is not None
    state = retraining.look()
    assert not state.is_running
    assert (state.run.outcome, state.run.by) == ("STOPPED", None)
    assert not retraining.begin("Ada")


def test_what_a_killed_service_has_left_is_no_run(make, home):
    retraining = make()
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    (home / REPORTS).mkdir()
    (home / REPORTS / "run").write_text(Run(moment, moment, by="Ada", step="calibrating").text())
    state = retraining.look()
    assert not state.is_running
    assert (state.run.outcome, state.run.step) == ("FAILED", "calibrating")
    (home / REPORTS / "run").write_text("{")
    assert retraining.look().run is None


def test_one_by_hand_excludes_one_of_the_service(make, home):
    retraining = make()
    with alone(home):
        assert retraining.look().is_by_hand
        assert not retraining.begin("Ada")
        with pytest.raises(RetrainingRuns), alone(home):
            pass
        refused = CliRunner().invoke(app, ["retrain", "--home", str(home)])
        assert (refused.exit_code, "another retraining" in refused.output) == (2, True)
    assert not retraining.look().is_running


def test_a_traceback_is_no_step(make):
    retraining = make()
    now = datetime.now(UTC)
    retraining._run = Run(now, now)
    (retraining._folder).mkdir()
    script = "import sys; print('fitting', file=sys.stderr, flush=True); raise ValueError('a comment of somebody')"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    last = retraining._hear(process)
    retraining._conclude(process.wait(), last, "")
    run = retraining.look().run
    assert (run.step, run.outcome) == ("fitting", "FAILED")
    assert "somebody" not in (retraining._folder / "run").read_text()


def test_sixty_labels_come_to_a_verdict(make, home, shipped_encoder):
    """All of it with the bundle that comes with the software."""
    if shipped_encoder is None:
        pytest.skip("no encoder comes with this checkout")
    folder = shipped_folder("training_data") / "seed"
    rows = []
    for name in ("link-spam", "genuine-advice"):
        for number, line in enumerate((folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:30]):
            row = json.loads(line)
            said = {"id": f"{name}-{number}", "site": "https://blog.example", "moderator": "Ada"}
            rows.append(row["comment"] | said | {"labels": row["labels"]})
    path = home / "some.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = CliRunner().invoke(app, ["labels", "import", str(path), "--home", str(home)])
    assert read.exit_code == 0, read.output
    retraining = make()
    assert retraining.begin("Ada")
    run = wait_for_end(retraining)
    assert run.outcome in ("PROMOTE", "HOLD", "REJECT"), run
    (report,) = retraining.reports()
    assert (report.name, report.verdict) == (run.report, run.outcome)
    serves = Releases(home / "models", shipped_folder("models")).in_force().bundle
    assert (serves == report.name) == (run.outcome == "PROMOTE")


def test_only_what_retrainings_have_made_and_nobody_needs_is_cleared_away(make, home, plain_bundle, make_bundle):
    retraining, models = make(), home / "models"
    releases = Releases(models, plain_bundle.parent)
    served = [make_bundle(models, spam=float(weight)).name for weight in range(1, 8)]
    for name in served:
        releases.publish(models / name, note="served")
    old, held, taken, outdated, tried, cut_off, by_hand = (
        make_bundle(models, spam=float(weight)).name for weight in range(11, 18)
    )
    champion = served[-1]
    for moment, (name, verdict, against) in enumerate(
        [
            (old, "REJECT", champion),
            (held, "HOLD", champion),
            (outdated, "HOLD", served[-2]),
            (taken, "REJECT", champion),
        ]
    ):
        write_report(home, name, against, verdict, also_tried=[{"challenger": tried}])
        os.utime(home / REPORTS / f"{name}.json", (moment, moment))
    for name in {*served, old, held, taken, outdated, tried, cut_off}:
        path = models / name / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["trained_on"]["labels"] = {"said": 60}
        path.write_text(json.dumps(manifest))

    gone = retraining.clear_away(releases)
    assert set(gone) == {*served[:2], old, outdated, tried, cut_off}
    assert {each.path.name for each in releases.kept()} == {*served[2:], held, taken, by_hand}
    assert len(list((home / REPORTS).glob("*.json"))) == 4
    assert retraining.lessons(releases, old)["said"] == 60
    assert retraining.lessons(releases, "comments-000000000000") == {}


# --- the schedule ----------------------------------------------------------------------------------------------------


def test_it_is_due_by_the_last_one_of_anybody(make, home):
    now = datetime.now(UTC)
    retraining, never = make(7), make()
    assert retraining.is_due(now)
    assert not never.is_due(now)
    write_report(home, "comments-000000000001", "comments-000000000000")
    assert not retraining.is_due(now + timedelta(days=6))
    assert retraining.is_due(now + timedelta(days=8))
    started = now + timedelta(days=5)
    run = Run(started, started, ended=started, outcome="FAILED")
    (home / REPORTS / "run").write_text(run.text())
    assert not retraining.is_due(now + timedelta(days=8))
    (home / REPORTS / "run").write_text(Run(started, started, ended=started, outcome="STOPPED").text())
    assert retraining.is_due(now + timedelta(days=8))


def test_the_schedule_starts_one(make):
    retraining = make(1)
    retraining.start()
    ends = time.monotonic() + 60
    while retraining.look().run is None:
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert retraining.look().run.by is None


# --- a person's word -------------------------------------------------------------------------------------------------


class TestPublishingAnyway:
    @pytest.fixture
    def releases(self, plain_home):
        return Releases(plain_home / "models")

    @pytest.fixture
    def challenger(self, plain_home, make_bundle, releases):
        name = make_bundle(plain_home / "models", spam=3.0).name
        write_report(plain_home, name, releases.in_force().bundle)
        return name

    def test_name_and_note_stand_in_the_record(self, plain_home, releases, challenger):
        retraining = Retraining(plain_home)
        (report,) = retraining.reports()
        shown = releases.in_force()
        said = {"digest": report.digest, "note": " We  want \n this ", "by": "Ada", "instead_of": shown}
        retraining.publish_anyway(releases, challenger, **said)
        assert releases.in_force().bundle == challenger
        last = releases.history()[-1]
        assert last.by == "Ada"
        assert last.note == f"We want this (held by the gate, report {report.digest[:12]})"
        with pytest.raises(ReleaseRefused):
            retraining.publish_anyway(releases, challenger, **said)

    def test_what_is_refused(self, plain_home, releases, challenger):
        retraining = Retraining(plain_home)
        shown = releases.in_force()
        said = {"digest": retraining.reports()[0].digest, "note": "good", "by": "Ada", "instead_of": shown}

        def refuse(error, name=challenger, **other):
            with pytest.raises(error) as found:
                retraining.publish_anyway(releases, name, **(said | other))
            assert releases.in_force() == shown
            return str(found.value)

        refuse(NotFound, "../models/current")
        assert "newer report" in refuse(InvalidRequest, digest="0" * 64)
        assert "note is missing" in refuse(InvalidRequest, note="  ")
        assert "retrain again" in refuse(InvalidRequest, instead_of=InForce("comments-0000000000ff"))
        for verdict in ("REJECT", "PROMOTE"):
            write_report(plain_home, challenger, shown.bundle, verdict)
            assert verdict in refuse(InvalidRequest, digest=retraining.reports()[0].digest)


# --- the page --------------------------------------------------------------------------------------------------------


class TestPage:
    @pytest.fixture
    def client(self, service):
        person = service.parts.store.people.add("Ada", service.site, "maintainer", who="operator")
        token, _ = make_sign_in_token(service.parts.store, person)
        with httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60) as client:
            words = "four words not together"
            assert client.post(
                "/review/first-sign-in", data={"token": token, "password": words, "again": words}
            ).is_redirect
            yield client

    def show(self, client, **more):
        return client.get("/review/model", params={"view": "retraining"} | more).text

    def test_a_run_is_shown_while_it_lasts_and_why_it_failed(self, client, service):
        service.parts.retraining._nice = 0  # the machine may be busy with other tests
        assert "There is no report so far" in self.show(client)
        answer = client.post("/review/model/retrain", data={"anyway": "1"})
        assert answer.headers["location"] == "/review/model?view=retraining"
        page = self.show(client)
        assert "A retraining runs" in page
        assert "started by Ada" in page
        assert 'hx-get="/review/model/retraining" hx-trigger="every 2s"' in page
        assert 'action="/review/model/retrain"' not in page
        piece = client.get("/review/model/retraining", headers={"HX-Request": "true"}).text
        assert piece.lstrip().startswith("<div id=")
        wait_for_end(service.parts.retraining)
        page = self.show(client)
        assert "made no bundle" in page
        assert "hx-trigger" not in page
        assert service.parts.retraining.look().run.sentence.split("'")[0] in page

    def test_that_nothing_is_new_is_said_with_its_reason(self, client, plain_home):
        moment = datetime(2026, 5, 1, tzinfo=UTC)
        sentence = "comments-000000000001 was rolled back on 2026-05-01 by Ada, and nothing was said since"
        run = Run(moment, moment, by="Ada", ended=moment, outcome="NOTHING NEW", sentence=sentence)
        (plain_home / REPORTS).mkdir(exist_ok=True)
        (plain_home / REPORTS / "run").write_text(run.text())
        assert f"Nothing new was said by 2026-05-01 00:00 UTC: {sentence}." in self.show(client)

    def test_a_report_and_the_form_for_what_is_held(self, client, plain_home, make_bundle):
        releases = Releases(plain_home / "models")
        champion = releases.in_force().bundle
        challenger = make_bundle(plain_home / "models", spam=3.0).name
        write_report(plain_home, challenger, champion)
        write_report(plain_home, "comments-000000000001", champion, "REJECT")
        page = self.show(client, bundle=challenger)
        assert "No account gave &lt;most&gt; of it." in page
        assert "Nothing is better for sure." in page
        assert re.search(r"blog.example</th><td>Spam</td>.*0\.4321.*0\.1234", page)
        assert "901 labels by <b>Mallory</b> were left out, because it gave 900 labels" in page
        assert "Beside these, 901 labels of one account are left out." in page
        assert "48 learned from, 12 held out" in page
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        assert 'action="/review/model/publish"' not in self.show(client, bundle="comments-000000000001")

        assert client.post("/review/model/publish", data=hidden).status_code == 422
        crossed = {"Sec-Fetch-Site": "cross-site"}
        filled = hidden | {"note": "We know these"}
        assert client.post("/review/model/publish", data=filled, headers=crossed).status_code == 403
        assert releases.in_force().bundle == champion
        answer = client.post("/review/model/publish", data=filled)
        assert answer.headers["location"] == "/review/model?view=releases&done=published"
        assert (releases.in_force().bundle, releases.history()[-1].by) == (challenger, "Ada")
        assert "We know these" in client.get(answer.headers["location"]).text
        assert "It serves now" in self.show(client, bundle=challenger)
        assert client.post("/review/model/publish", data=filled).status_code == 422

    def test_what_changed_in_words_stands_in_the_report_and_at_the_release(self, client, plain_home, make_bundle):
        releases = Releases(plain_home / "models")
        challenger = make_bundle(plain_home / "models", spam=3.0).name
        write_report(plain_home, "comments-000000000001", releases.in_force().bundle)
        assert "In words" not in self.show(client), "a report of a version that knew of none"
        write_report(plain_home, challenger, releases.in_force().bundle, "PROMOTE", wording=WORDING)
        page = self.show(client, bundle=challenger)
        assert re.search(r"<bdi>moonbeam tokens</bdi> <span class=\"note\">\+0\.31", page)
        assert re.search(r"<bdi>kettle</bdi> <span class=\"note\">-0\.21", page)
        assert "at least 2 authors have written in at least 3 comments" in page
        assert "moonbeam" not in client.get("/review/model?view=releases").text, "it does not serve"
        releases.publish(plain_home / "models" / challenger, note="words", by="Ada")
        assert "moonbeam tokens" in client.get("/review/model?view=releases").text

    def test_commands_tell_it_of_the_bundle_in_force(self, plain_home, make_bundle):
        releases = Releases(plain_home / "models")
        challenger = make_bundle(plain_home / "models", spam=3.0).name
        write_report(plain_home, challenger, releases.in_force().bundle, "PROMOTE", wording=WORDING)

        def ask(*more):
            result = CliRunner().invoke(app, ["releases", *more, "--home", str(plain_home)])
            assert result.exit_code == 0, result.output
            return result.stdout

        assert "weigh more" not in ask()
        assert json.loads(ask("--json"))["wording"] is None
        releases.publish(plain_home / "models" / challenger, note="words", by="Ada")
        assert json.loads(ask("--json"))["wording"] == WORDING
        said = " ".join(ask().split())
        for part in (
            "Words that now weigh more or less",
            "moonbeam tokens (+0.31, 30)",
            "kettle (-0.21, 28)",
            "2 authors",
        ):
            assert part in said, part

    def test_what_is_held_can_be_published_where_the_shipped_bundle_serves(self, client, plain_home, make_bundle):
        """As in every new home: nothing has been published there, and the challenger is the first bundle in it."""
        challenger = make_bundle(plain_home / "models", spam=3.0).name
        for name in ("current", "published.jsonl"):
            (plain_home / "models" / name).unlink(missing_ok=True)
        releases = Releases(plain_home / "models", shipped_folder("models"))
        write_report(plain_home, challenger, releases.in_force().bundle)
        page = self.show(client, bundle=challenger)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        answer = client.post("/review/model/publish", data=hidden | {"note": "We know these"})
        assert answer.headers["location"] == "/review/model?view=releases&done=published"
        assert releases.in_force().bundle == challenger

    def test_it_takes_a_maintainer_of_every_site(self, client, service, plain_home):
        write_report(plain_home, "comments-000000000001", "comments-000000000000")
        service.parts.store.add_site("https://other.example")
        page = self.show(client)
        assert "Retraining is for who maintains every site" in page
        assert "Mallory" not in page
        assert client.post("/review/model/retrain").status_code == 403
        assert client.post("/review/model/publish", data={"report": "comments-000000000001"}).status_code == 403
        assert client.get("/review/model/retraining").status_code == 286
        client.cookies.clear()
        assert client.get("/review/model/retraining").status_code == 286
        assert service.parts.retraining.look().run is None
