"""Figures of days: the statistics by hand and by chance, what both databases count, what alarms and who hears."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from moderation.topic import BITS, TopicModel, learn_idf
from service.cli import app
from service.drift import Drift, count_bins, psi, share_unseen
from service.live_model import LiveModel
from service.metrics import Metrics
from service.store import Alert, AuditDraw, DriftDay, Judge, Judgement, Store, Target
from service.webhooks import payload

NOON = datetime(2026, 5, 30, 12, tzinfo=UTC)


class TestScores:
    def test_the_index_by_hand(self):
        """Halves before, a quarter and three quarters now; half a comment is added to each stretch."""
        now, before = (250, 750), (500, 500)
        a, e = [250.5 / 1001, 750.5 / 1001], [0.5, 0.5]
        index, _ = psi(now, before)

        assert index == pytest.approx(sum((x - y) * math.log(x / y) for x, y in zip(a, e, strict=True)))

    def test_stretches_are_put_together_until_each_holds_a_twentieth(self):
        index, _ = psi((0, 10, 0, 90, 0), (1, 9, 0, 88, 2))
        same, _ = psi((10, 90), (10, 90))

        assert (index, same) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))

    def test_where_there_is_too_little_there_is_no_index(self):
        assert psi((0, 0), (5, 5))[0] is None
        assert psi((5, 5), (0, 0))[0] is None
        assert psi((5, 0), (100, 0))[0] is None, "all in one stretch"

    def test_chance_stays_under_its_limit_and_a_shift_does_not(self):
        rng = np.random.default_rng(7)
        over = 0
        for _ in range(300):
            before, now = (count_bins(1 / (1 + np.exp(-rng.normal(-3, 1.5, size)))) for size in (4000, 150))
            index, limit = psi(now, before)
            over += index > limit
        moved = count_bins(1 / (1 + np.exp(-rng.normal(-1, 1.5, 150))))

        assert over <= 3
        assert psi(moved, before)[0] > max(0.25, psi(moved, before)[1])

    def test_every_score_has_its_stretch(self):
        bins = count_bins([0.0, 1.0, 0.5, 0.5])

        assert (bins[0], bins[-1], sum(bins)) == (1, 1, 4)
        assert sum(count_bins([])) == 0


class TestWords:
    def test_the_share_of_words_that_were_never_met(self):
        """What is estimated of words that fall into used places comes out right over many words."""
        rng = np.random.default_rng(3)
        words = ["".join(letters) for letters in rng.choice(list("bcdfgklmnprtvz"), (43_000, 9))]
        topic = TopicModel(learn_idf((f"{word} usual", None) for word in words[3000:]))
        used = 1 - np.mean(topic.idf == topic.idf.max())
        new = " ".join(words[:3000])

        assert 0.3 < used < 0.6
        assert share_unseen(topic, [(new, None), (" ".join(["usual"] * 3000), "en")]) == pytest.approx(0.5, abs=0.03)

    def test_where_nothing_can_be_told(self):
        assert share_unseen(TopicModel(np.ones(1 << BITS, np.float32)), [("all alike", None)]) is None
        assert share_unseen(TopicModel(learn_idf([("a b c", None)])), []) is None


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url, clock):
    opened = Store(database_url, now=clock)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def drift(store, plain_home, tmp_path):
    """Under a policy whose goal nobody has measured but the site itself."""
    (plain_home / "policy.toml").write_text('[spam]\nhold = "precision >= 0.9"\n')
    model = LiveModel(plain_home, tmp_path / "nothing is shipped")
    live = model.current()
    model._live = replace(live, bundle=replace(live.bundle, name="bundle-1"))
    return Drift(store, model)


def judge(store, site, stored, action):
    entry = next(each.row for each in store.queue.page([site]).entries if each.stored.id == stored.id)
    judgement = Judgement(action, ("spam",) if action == "reject" else ())
    target = Target(stored.decision.digest, entry=entry)
    store.verdicts.decide(site, Judge("Ada", "review", None), judgement, [target])


def figures(store, site, day):
    return {each.category: each for each in store.drift.days([site], day) if each.day == day}


class TestDays:
    def test_scores_words_and_what_alarms(self, store, site, put, clock, drift):
        hook = store.webhooks.add(site, "https://blog.example/hook", ("drift",), "whsec_AAAA", who="operator")
        store.webhooks.add(site, "https://blog.example/all", (), "whsec_AAAA", who="operator")
        clock.now = NOON - timedelta(days=9)
        for n in range(40):
            put(site, f"old{n}", action="publish", score=0.05 if n % 2 else 0.1)
        clock.now = NOON - timedelta(days=1)
        for n in range(20):
            put(site, f"new{n}", action="publish", score=0.4)
        put(site, "today", action="publish", score=0.1)
        clock.now = NOON
        put(site, "later", action="publish", score=0.1)
        before = len(store.webhooks.next_messages(hook.row))
        made = drift.work()
        found = figures(store, site, "2026-05-29")

        assert (made, before) == (2, 0)
        assert found["spam"].comments == 21
        assert found["off_topic"].comments == 0
        assert found["hostile"].psi == pytest.approx(0, abs=1e-9) or found["hostile"].psi is None
        assert found["spam"].psi > 1
        assert [alert.name for alert in found["spam"].alerts] == ["scores"]
        assert sum(figures(store, site, "2026-05-21")["spam"].bins) == 40
        assert store.drift.alerts() == {"scores": 1}
        (message,) = store.webhooks.next_messages(hook.row)
        told = json.loads(payload(hook, message))
        assert (told["event"], told["category"], told["day"]) == ("drift", "spam", "2026-05-29")
        assert told["alerts"][0]["name"] == "scores"
        assert drift.work() == 0, "once a day"
        # The next day it is no news any more.
        for n in range(20):
            put(site, f"again{n}", action="publish", score=0.4)
        clock.now += timedelta(days=1)
        assert drift.work() == 1
        assert len(store.webhooks.next_messages(hook.row)) == 1

    def test_precision_and_recall_at_the_line_in_force(self, store, site, put, clock, drift):
        clock.now = NOON - timedelta(days=2)
        model = drift._live_model
        live = model.current()
        model._live = replace(live, default=type(live.default).parse("[spam]\nhold = 0.5\n"))
        for n in range(10):
            judge(store, site, put(site, f"h{n}", score=0.6), "reject" if n else "approve")
        clock.now += timedelta(days=1)
        assert drift.work() == 1
        assert figures(store, site, "2026-05-28")["spam"].lines == (), "what is held alone tells nothing"
        draw = AuditDraw("publish", 0.1, "s", 0.1)
        for n in range(4):
            stored = put(site, f"p{n}", action="publish", score=0.2, draw=draw)
            judge(store, site, stored, "approve" if n else "reject")
        clock.now = NOON
        drift.work()
        (line,) = figures(store, site, "2026-05-29")["spam"].lines

        assert (line["action"], line["line"], line["labels"]) == ("hold", 0.5, 10)
        assert line["precision"]["value"] == pytest.approx(0.9)
        # One of what was published stands for ten.
        assert line["recall"]["value"] == pytest.approx(9 / 19)
        assert line["good_share"]["value"] == pytest.approx(1 / 31)
        assert line["recall"]["low"] < 9 / 19 < line["recall"]["high"]

    def test_a_goal_that_is_missed_or_no_longer_shown_alarms(self, store, site, put, clock, drift):
        model, live = drift._live_model, drift._live_model.current()
        toml = '[spam]\nhold = "precision >= 0.5"\n'
        point = {"threshold": 0.5, "recall": 0.9, "false_positive_rate": 0.0, "false_positive_rate_upper": 0.001}
        points = {"format": 1, "tiers": {"lexical": {"spam": {"positives": 9, "negatives": 9, "points": [point]}}}}
        policy = type(live.default).parse(toml, points)
        model._live = replace(live, default=policy)
        draw = AuditDraw("publish", 0.1, "s", 0.1)
        said = []
        for day, (bad, good) in enumerate([(12, 0), (0, 8), (0, 40)]):
            clock.now = NOON + timedelta(days=day - 1)
            judge(store, site, put(site, f"p{day}", action="publish", score=0.2, draw=draw), "approve")
            for n in range(bad + good):
                judge(store, site, put(site, f"c{day}-{n}", score=0.6), "reject" if n < bad else "approve")
            clock.now += timedelta(days=1)
            drift.work()
            today = figures(store, site, (clock.now - timedelta(days=1)).date().isoformat())
            said.append([alert.name for alert in today["spam"].alerts if alert.name != "scores"])

        assert said == [[], ["goal_unsure"], ["goal_missed"]]

    def test_nothing_is_made_without_a_model(self, store, site, home, tmp_path):  # noqa: ARG002
        assert Drift(store, LiveModel(home, tmp_path / "none")).work() == 0
        assert store.drift.alerts() == {}


def day_of(site, alerts=()):
    bins = count_bins([0.1, 0.2])
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    share = {"value": 0.9, "low": 0.8, "high": 0.95}
    line = {"action": "hold", "stated": 0.5, "line": 0.5, "labels": 7, "precision": share, "recall": None}
    lines = (line | {"good_share": None},)
    return DriftDay(site.url, yesterday, "bundle-1", "full", "spam", 2, bins, 0.31, 0.125, lines, alerts)


def test_figures_are_shown_by_command_and_metric(service):
    site, store = service.site, service.parts.store
    run = CliRunner().invoke(app, ["drift", "--home", str(service.settings.home)])
    assert "There are no figures" in run.output
    store.drift.add(site, [day_of(site, (Alert("scores", "Scores lie otherwise."),))])
    run = CliRunner().invoke(app, ["drift", "--site", site.url, "--home", str(service.settings.home)])
    for words in ("0.31", "12.5%", "90.0% (80.0% to 95.0%)", "spam: Scores lie otherwise."):
        assert words in run.output, words
    run = CliRunner().invoke(app, ["drift", "--json", "--home", str(service.settings.home)])
    (found,) = json.loads(run.stdout)
    assert (found["psi"], found["alerts"][0]["name"]) == (0.31, "scores")
    assert 'moderation_drift_alerts{alert="scores"} 1.0' in service.client.get("/metrics").text


def test_the_metric_is_unknown_where_the_store_is_away():
    metrics = Metrics()
    metrics.show_drift(None)
    assert b'moderation_drift_alerts{alert="goal_missed"} NaN' in metrics.render(tier=None)
