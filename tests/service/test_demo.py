"""The demo: what its comments are, and that filling a database with them shows everything there is to review."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from moderation.categories import CODES
from moderation.policy import Policy, default_policy_toml
from moderation.shipped import shipped_folder
from moderation.training.nearness import Nearness
from moderation.training.rows import Row, fingerprint, read_behaviour, read_seed
from service.cli import app
from service.demo.content import read_content
from service.demo.replay import AUDITED, MODERATORS, REJECTED_AUDITED, SPAM_REJECTED_FROM, demo_policy, open_replay
from service.settings import Settings
from service.store import QueueFilter, Store

NOW = datetime(2031, 5, 17, 20, 0, tzinfo=UTC)
CONTENT = read_content()
CAMPAIGN = "Luxury travel for less"
RESERVED = (".example", ".test", ".invalid")


def texts() -> list[str]:
    later = [more.text for said in CONTENT.comments for more in (said.edit, said.appeal) if more is not None]
    return [said.comment.text for said in CONTENT.comments] + later


def fill(home: Path, database_url: str | None = None, *, share: int = 1) -> Store:
    """Fill a database with every so many-th comment, and open it with the clock where the demo ended."""
    settings = Settings.load(home=home, database_url=database_url)
    content = replace(CONTENT, comments=CONTENT.comments[::share])
    with open_replay(settings, content, now=NOW, seed=1) as replay:
        for step in replay.steps():
            replay.run(step)
    return Store(settings.database, now=lambda: NOW)


class TestContent:
    def test_it_is_a_few_hundred_comments_and_most_of_them_are_good(self):
        comments = CONTENT.comments
        good = sum(not said.truth for said in comments)
        languages = Counter(said.comment.lang for said in comments)

        assert len(CONTENT.sites) == 3
        assert 12 <= len({said.comment.post for said in comments}) <= 18
        assert 300 <= len(comments) <= 450
        assert 0.65 <= good / len(comments) <= 0.8
        assert min(languages[lang] for lang in ("de", "es", "fr", "pt")) >= 4
        assert 10 <= sum(said.comment.text.startswith(CAMPAIGN) for said in comments) <= 14

    def test_ids_are_unique_and_categories_known(self):
        ids = Counter(said.comment.id for said in CONTENT.comments)

        assert set(ids.values()) == {1}
        for said in CONTENT.comments:
            assert {*said.truth, *said.reports, *([said.verdict] if said.verdict else [])} <= set(CODES)

    def test_everything_happens_in_an_order_that_can_be(self):
        """Parents come before their answers, under the same post, and what is done to a comment comes after it."""
        by_id = {said.comment.id: said for said in CONTENT.comments}
        for said in CONTENT.comments:
            assert 0 < said.days_ago < 30
            afterwards = [more.days_ago for more in (said.edit, said.appeal) if more is not None]
            assert all(0 < days < said.days_ago for days in [*afterwards, said.deleted_days_ago or said.days_ago / 2])
            if said.comment.parent is not None:
                parent = by_id[said.comment.parent.id]
                assert parent.days_ago > said.days_ago
                assert parent.comment.post == said.comment.post

    def test_no_two_texts_are_equal_or_nearly_so_but_those_of_the_campaign(self):
        runs = {
            said.comment.id: {tuple(words[at : at + 5]) for at in range(len(words) - 4)}
            for said in CONTENT.comments
            if CAMPAIGN not in said.comment.text
            for words in [re.findall(r"\w+", said.comment.text.lower())]
        }
        near = [
            (one, other)
            for (one, its), (other, others) in combinations(runs.items(), 2)
            if its and others and len(its & others) >= 0.5 * min(len(its), len(others))
        ]

        assert set(Counter(map(fingerprint, texts())).values()) == {1}
        assert near == []

    def test_no_text_stands_in_the_training_data(self):
        """Seed rows would make the model look better than it is, and behaviour cases would be cases no more."""
        folder = shipped_folder("training_data")
        seed = [row.comment for path in (folder / "seed").glob("*.jsonl") for row in read_seed(path)]
        cases = [case.comment for path in (folder / "behaviour").glob("*.jsonl") for case in read_behaviour(path)]
        rows = [Row("demo", said.comment.id, said.comment, {}, "demo") for said in CONTENT.comments]
        near = Nearness(rows, [*seed, *cases], fingerprint).to_others(rows)

        assert len(cases) > 500
        assert [row.comment.id for row, is_near in zip(rows, near, strict=True) if is_near] == []

    def test_links_and_addresses_lead_to_reserved_names_only(self):
        written = [*texts(), *(said.comment.post.text for said in CONTENT.comments)]
        links = [link for text in written for link in re.findall(r"https?://[^\s\]<>,]+", text)]
        links += [said.comment.author.url for said in CONTENT.comments if said.comment.author.url]
        links += [said.comment.url for said in CONTENT.comments] + list(CONTENT.sites)
        mails = [host for text in written for host in re.findall(r"\S+@([\w-]+(?:\.[\w-]+)+)", text)]
        bare = [host for text in written for host in re.findall(r"\b(?:www\.|[\w-]+\.(?:com|net|org|io)\b)\S*", text)]

        assert {urlsplit(link).hostname for link in links if not urlsplit(link).hostname.endswith(RESERVED)} == set()
        assert all(host.endswith(RESERVED) for host in mails)
        assert bare == []

    def test_the_policy_is_the_built_in_one_but_for_audits_and_a_line_that_rejects(self):
        ours, built_in = (Policy.parse(toml).settings for toml in (demo_policy(), default_policy_toml()))
        spam = ours.categories["spam"]

        assert (ours.audit["publish"], ours.audit["reject"]) == (AUDITED, REJECTED_AUDITED)
        assert spam.reject == SPAM_REJECTED_FROM
        as_built_in = {**ours.categories, "spam": replace(spam, reject=built_in.categories["spam"].reject)}
        assert replace(ours, audit=built_in.audit, categories=as_built_in) == built_in


def test_a_filled_database_shows_everything_there_is_to_review(home, database_url):
    store = fill(home, database_url)
    try:
        sites = store.sites()
        pages = {site.url: store.queue.page([site], QueueFilter(), limit=200).entries for site in sites}
        entries = [entry for page in pages.values() for entry in page]
        whys = Counter(why.name for entry in entries for why in entry.whys)
        audit = list(store.logs.audit())
        events = Counter((entry.who, entry.event) for entry in audit)
        statuses = list(store.logs.statuses())

        assert list(pages) == list(CONTENT.sites)
        assert all(len(page) >= 10 for page in pages.values())
        assert whys.keys() == {"held", "near_line", "reported", "appealed", "audit"}
        assert max(entry.campaign_count for entry in entries) >= 10
        for name in MODERATORS:
            assert events[name, "verdict"] >= 10
        assert sum(count for (_, event), count in events.items() if event == "undo") >= 1
        assert events["site", "comment_erased"] == sum(said.deleted_days_ago is not None for said in CONTENT.comments)
        assert {entry.details["new"] for entry in statuses} == {"published", "held", "rejected", "erased"}
        # Both of a verdict that agreed with the machine's doubt, and of one that did not.
        of_held = {entry.details["new"] for entry in statuses if entry.details["old"] == "held"}
        assert of_held >= {"published", "rejected"}
        # The machine rejects a few, all of them spam, and chance has picked some of these.
        rejected = [
            entry.details["comment"] for entry in statuses if (entry.who, entry.details["new"]) == ("model", "rejected")
        ]
        truth = {said.comment.id: said.truth for said in CONTENT.comments}
        assert len(rejected) >= 5
        assert {truth[name] for name in rejected} == {("spam",)}
        assert (
            sum(each.count for each in store.insight.audits(sites, NOW - timedelta(days=31)) if each.action == "reject")
            > 0
        )
        assert NOW - timedelta(days=31) < statuses[0].at < statuses[-1].at < NOW
        assert all(site.policy_digest is None for site in sites)
    finally:
        store.close()


def test_the_same_seed_gives_the_same_month(tmp_path):
    months = []
    for name in ("one", "two"):
        store = fill(tmp_path / name, share=4)
        months.append(
            [(e.at, e.who, e.event, e.details.get("comment"), e.details.get("new")) for e in store.logs.statuses()]
        )
        store.close()

    assert months[0] == months[1]


def test_the_command_serves_what_it_filled_and_leaves_nothing_behind(tmp_path):
    """Run as a newcomer would, but with the variables of a real service, whose database must not be touched."""
    for name in ("scratch", "user", "here"):
        (tmp_path / name).mkdir()
    real = tmp_path / "real.db"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch"), "HOME": str(tmp_path / "user")}
    environment |= {"MODERATION_DATABASE_URL": f"sqlite:///{real}", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", "from service.cli import app; app()", "demo", "--port", "0"]
    with (
        (tmp_path / "stderr").open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=tmp_path / "here"
        ) as process,
    ):
        said = ""
        try:
            for line in process.stdout:
                said += line
                if line.startswith("Serving"):
                    break
            address = re.search(r"Serving (http://\S+)", said)
            assert address, said + (tmp_path / "stderr").read_text()
            waiting, keys = re.findall(r"(\d+) wait", said), re.findall(r"\b[0-9a-f]{60}\b", said)
            for count, key in zip(waiting, keys, strict=True):
                answer = httpx.get(f"{address[1]}/v1/queue", headers={"Authorization": f"Bearer {key}"}, timeout=20)
                assert len(answer.json()["entries"]) > 0
                assert int(count) >= 10
            assert len(keys) == 3
            [folder] = (tmp_path / "scratch").glob("moderation-demo-*")
            assert folder.stat().st_mode & 0o077 == 0
            store = Store(f"sqlite:///{folder / 'moderation.db'}")
            assert store.people.find(MODERATORS[0]).roles.keys() == set(CONTENT.sites)
            assert re.search(r"sign_[\w-]{20}", said)
            store.close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    assert process.returncode == 0
    assert [path for name in ("scratch", "user", "here") for path in (tmp_path / name).rglob("*")] == []
    assert not real.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--no-serve"], "--home DIR"),
        (["--no-serve", "--home", "."], "not an empty folder"),
    ],
)
def test_what_would_be_lost_or_overwritten_is_refused(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").touch()
    result = CliRunner().invoke(app, ["demo", *arguments])

    assert result.exit_code == 2
    assert says in result.output.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["something"]
