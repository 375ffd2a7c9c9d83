"""A bundle scored beside: what it would have decided is kept without text, and no answer waits for it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from moderation.comment import Author, Comment
from service.hashes import Hashes
from service.live_model import LiveModel
from service.metrics import Metrics
from service.shadow import Fired, Pair, Shadow, report
from service.store import Beside, Judge, Judgement, Target
from service.upkeep import SHADOW_KEPT, Upkeep
from service.verdicts import Moderation
from service.workflow import Workflow

LINK = "See https://shop.example/1 and https://shop.example/2 and https://shop.example/3"


@pytest.fixture
def champion(plain_home, plain_bundle) -> Path:
    return plain_home / "models" / plain_bundle.name


@pytest.fixture
def challenger(plain_home, make_bundle) -> Path:
    """Links say nothing to it."""
    return make_bundle(plain_home / "models", spam=0.0)


@pytest.fixture
def live_model(plain_home, tmp_path, challenger) -> LiveModel:
    model = LiveModel(plain_home, tmp_path / "nothing is shipped")
    model.releases.challenge(challenger)
    return LiveModel(plain_home, tmp_path / "nothing is shipped")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def shadow(store, live_model, metrics) -> Shadow:
    return Shadow(store, live_model, metrics, most_waiting=8)


@pytest.fixture
def workflow(store, live_model, metrics, shadow) -> Workflow:
    return Workflow(store, live_model, metrics, hashes=Hashes(b"k" * 32), shadow=shadow)


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


def count(metrics: Metrics, outcome: str) -> float:
    line = f'moderation_shadow_comments_total{{outcome="{outcome}"}} '
    found = [each for each in metrics.render(tier=None).decode().splitlines() if each.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0


def test_both_are_kept_and_nothing_that_was_written(store, site, workflow, shadow, champion, challenger, dump):
    workflow.submit(site, Comment(LINK, id="link", author=Author("ann", "Ann")))
    workflow.submit(site, Comment("Well said.", id="fine"))
    workflow.submit(site, Comment("What!!!! You!!!!", id="loud"))
    before = dump()
    assert shadow.work() == 3

    rows = {row.comment_id: row for row in store.shadows.rows([site], challenger.name)}
    assert {each: (row.action, row.other_action) for each, row in rows.items()} == {
        "link": ("hold", "publish"),
        "fine": ("publish", "publish"),
        "loud": ("hold", "hold"),
    }
    assert rows["link"].scores.spam - rows["link"].other_scores.spam > 0.5
    assert (rows["link"].fired, rows["link"].other_fired) == (("spam",), ())
    stored = store.find_comments(site, ["link"])["link"]
    assert (stored.decision.bundle, stored.status) == (champion.name, "held")
    assert dump().count("shop.example") == before.count("shop.example")
    assert [row.comment_id for row in store.shadows.disagreements([site], challenger.name, limit=9)] == ["link"]


def test_rules_and_the_policy_of_the_site_count(store, site, workflow, shadow, challenger):
    workflow.submit(site, Comment("forbidden", id="c"))
    shadow.work()
    (row,) = store.shadows.rows([site], challenger.name)
    assert (row.action, row.other_action, row.other_fired) == ("reject", "reject", ("blocked_words",))


def test_what_is_not_to_be_stored_or_was_seen_before_is_left_out(store, site, workflow, shadow, challenger):
    workflow.submit(site, Comment(LINK, do_not_store=True))
    workflow.submit(site, Comment(LINK, id="c"))
    workflow.submit(site, Comment(LINK, id="c"))
    assert shadow.work() == 1
    assert [row.comment_id for row in store.shadows.rows([site], challenger.name)] == ["c"]


def test_what_cannot_be_scored_in_time_is_dropped_and_counted(site, workflow, shadow, metrics):
    for number in range(20):
        assert workflow.submit(site, Comment(LINK, id=f"c{number}")).status == "held"
    assert count(metrics, "dropped") == 12
    assert shadow.work() == 8
    assert count(metrics, "scored") == 8


def test_without_a_challenger_nothing_waits(site, workflow, shadow, live_model):
    live_model.releases.challenge(None)
    live_model._next_check = 0.0
    workflow.submit(site, Comment(LINK, id="c"))
    assert shadow.work() == 0


def test_a_challenger_that_raises_stops_nothing(store, site, workflow, shadow, live_model, metrics, challenger):
    class Choking:
        def assess(self, comments):
            raise RuntimeError(comments[0].text)

    live = live_model._challenger
    live_model._challenger = replace(live, bundle=replace(live.bundle, model=Choking()))
    workflow.submit(site, Comment(LINK, id="c"))
    assert shadow.work() == 1
    assert count(metrics, "failed") == 1
    assert list(store.shadows.rows([site], challenger.name)) == []


def test_a_thread_does_it_and_ends(store, site, workflow, shadow, challenger):
    shadow.start()
    workflow.submit(site, Comment(LINK, id="c"))
    ends = time.monotonic() + 60
    while not store.shadows.runs([site]) and time.monotonic() < ends:
        time.sleep(0.02)
    shadow.stop()
    (run,) = store.shadows.runs([site])
    assert (run.bundle, run.comments) == (challenger.name, 1)


def test_the_report_counts_pairs_categories_sites_and_what_moderators_said(store, site, workflow, shadow, challenger):
    other = store.add_site("https://other.example")
    for number in range(3):
        workflow.submit(site, Comment(LINK, id=f"link{number}"))
    workflow.submit(site, Comment("Well said.", id="fine"))
    workflow.submit(other, Comment("What!!!! You!!!!", id="loud"))
    assert shadow.work() == 5

    def say(comment_id, action, categories=()):
        digest = store.find_comments(site, [comment_id])[comment_id].decision.digest
        target = Target(digest, comment=comment_id)
        store.verdicts.decide(site, Judge("Ada", "review", None), Judgement(action, categories), [target])

    say("link0", "reject", ("spam",))
    say("link1", "approve")
    found = report(store, [site, other], challenger.name)

    assert (found.compared, found.agreed, found.agreement, found.is_cut) == (5, 2, 0.4, False)
    assert found.pairs == (
        Pair("hold", "publish", 3, 1, 1),
        *sorted([Pair("publish", "publish", 1, 0, 0), Pair("hold", "hold", 1, 0, 0)], key=lambda p: p.old != "hold"),
    )
    assert found.categories["spam"] == Fired(both=0, old=3, new=0)
    assert found.categories["hostile"] == Fired(both=1, old=0, new=0)
    assert found.sites == {site.url: (4, 1), other.url: (1, 1)}
    assert report(store, [other], challenger.name).compared == 1
    cut = report(store, [site, other], challenger.name, most=2)
    assert (cut.compared, cut.is_cut) == (2, True)
    assert report(store, [], challenger.name).agreement is None


def test_disagreements_are_read_page_by_page_and_twice_scored_is_kept_once(store, site, workflow, shadow, challenger):
    for number in range(5):
        workflow.submit(site, Comment(LINK, id=f"c{number}"))
    shadow.work()
    first = store.shadows.disagreements([site], challenger.name, limit=3)
    rest = store.shadows.disagreements([site], challenger.name, limit=3, before=first[-1].row)
    assert [row.comment_id for row in [*first, *rest]] == ["c4", "c3", "c2", "c1", "c0"]

    decision = store.find_comments(site, ["c0"])["c0"].decision
    again = Beside(decision.decision_id, replace(decision, bundle=challenger.name))
    store.shadows.add([again, Beside("d_nothing", again.decision)])
    assert len(list(store.shadows.rows([site], challenger.name))) == 5


def test_what_was_scored_long_ago_is_forgotten_by_upkeep(store, site, workflow, shadow, challenger):
    now = store.now()
    store._now = lambda: now - SHADOW_KEPT - timedelta(hours=1)
    store.shadows._now = store._now
    workflow.submit(site, Comment("Well said.", id="old"))
    shadow.work()
    store._now = store.shadows._now = lambda: now
    workflow.submit(site, Comment("Well said.", id="new"))
    shadow.work()
    Upkeep(store, Moderation(store, Hashes(b"k" * 32), reports_to_reopen=3), None).work()

    assert [row.comment_id for row in store.shadows.rows([site], challenger.name)] == ["new"]
