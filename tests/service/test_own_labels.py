"""Goals on a site's own labels: what is read of the store, what it stands for, and what the service makes of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from moderation.bundle import write_bundle
from moderation.comment import Comment
from moderation.goals import read_goal
from moderation.releases import publish_bundle
from service.cli import app
from service.live_model import LiveModel
from service.own_labels import OwnLines, gather, weigh
from service.policies import Policies
from service.store import AuditDraw, Judge, Judgement, Look, Picked, Target

PRECISE = read_goal("precision >= 0.99")
SPAM = ("lexical", "spam")


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def judge(store, site):
    """Judges a comment as Ada, who works the queue off."""

    def judge_one(stored, action, *categories, who="Ada"):
        found = (each for each in store.queue.page([site]).entries if each.stored.id == stored.id)
        entry = next((each.row for each in found), None)
        target = Target(stored.decision.digest, comment=stored.id, entry=entry)
        judgement = Judgement(action, categories)
        (given,) = store.verdicts.decide(site, Judge(who, "review", None), judgement, [target])
        return given

    return judge_one


def drawn(action, share=0.05):
    return {"action": action, "draw": AuditDraw(action, share, "s", share)}


class TestStore:
    def test_verdicts_that_stand_with_the_likelihood_of_the_look(self, store, site, put, judge):
        judge(put(site, "held", score=0.6), "reject", "spam")
        judge(put(site, "audit", score=0.97, **drawn("reject")), "approve")
        judge(put(site, "near", action="publish", score=0.29, limit=0.3), "approve")
        judge(put(site, "asked", action="publish", score=0.2), "approve")  # likely by nothing that is known
        twice = put(site, "twice", score=0.7)
        judge(twice, "approve")
        judge(twice, "reject", "hostile", who="Ben")
        undone = put(site, "undone", score=0.8)
        store.verdicts.undo(site, judge(undone, "reject", "spam").id, "Ada")
        found = {look.scores["spam"]: look for look in store.looks.judged(site, "bundle-1")}

        assert {score: (look.action, look.inclusion, look.is_drawn) for score, look in found.items()} == {
            0.6: ("hold", 1.0, False),
            0.97: ("reject", 0.05, True),
            0.29: ("publish", 1.0, False),
            0.7: ("hold", 1.0, False),
        }
        assert (found[0.6].verdict, found[0.6].labels) == ("reject", {"spam": 1})
        assert (found[0.7].verdict, found[0.7].labels) == ("reject", {"hostile": 1})
        assert found[0.97].labels["spam"] == 0
        assert "off_topic" not in found[0.97].labels
        assert store.looks.judged(site, "bundle-2") == []
        assert store.looks.judged(store.add_site("https://other.example"), "bundle-1") == []

    def test_what_somebody_has_chosen_is_told_from_what_was_answered_in_the_queue(self, store, site, put, judge):
        judge(put(site, "queue", score=0.97, **drawn("reject")), "approve")
        chosen = put(site, "chosen", score=0.96, **drawn("reject"))
        for action in ("approve", "reject"):
            target = Target(chosen.decision.digest, comment="chosen")
            store.verdicts.decide(site, Judge("Ada", "api", None), Judgement(action), [target])
        held = put(site, "held", score=0.6)
        target = Target(held.decision.digest, comment="held")
        store.verdicts.decide(site, Judge("Ada", "api", None), Judgement("approve"), [target])
        found = {look.scores["spam"]: look for look in store.looks.judged(site, "bundle-1")}

        assert {score: (look.inclusion, look.is_chosen) for score, look in found.items()} == {
            0.97: (0.05, False),
            0.96: (0.05, True),
            0.6: (1.0, False),
        }

    def test_near_duplicates_that_were_decided_alike_count_once(self, store, site, put, judge):
        words = "Cheap watches of every kind, at prices that nobody believes, only this week, come and see"
        copies = [put(site, f"copy {n}", text=f"{words} {n}", score=0.9 + n / 100) for n in range(3)]
        let_through = put(site, "through", text=f"{words} 9", score=0.2, **drawn("publish"))
        put(site, "other", score=0.6)
        for stored in (*copies, let_through):
            judge(stored, "reject", "spam")
        scores = {look.scores["spam"] for look in store.looks.judged(site, "bundle-1")}
        assert scores == {0.92, 0.2}, "the last look at the held ones, and that at the published one"
        store.erasure.erase_comment(site, "copy 0", who="site")
        assert {look.scores["spam"] for look in store.looks.judged(site, "bundle-1")} == scores

    def test_what_waits_of_what_was_picked(self, store, site, put, judge):
        put(site, "held", score=0.6)
        put(site, "audit", score=0.97, **drawn("reject"))
        put(site, "near", action="publish", score=0.29, limit=0.3)
        put(site, "nobody", action="publish", score=0.2)
        judge(put(site, "done", score=0.7), "approve")
        found = {each.scores["spam"]: (each.action, each.inclusion) for each in store.looks.waiting(site, "bundle-1")}

        assert found == {0.6: ("hold", 1.0), 0.97: ("reject", 0.05), 0.29: ("publish", 1.0)}
        assert store.looks.waiting(site, "bundle-2") == []

    def test_how_high_scores_reach_looked_at_or_not(self, store, site, put):
        for name, action, score in (("a", "publish", 0.2), ("b", "publish", 0.25), ("c", "reject", 0.98)):
            put(site, name, action=action, score=score)
        found = {each.action: each for each in store.looks.heights(site, "bundle-1", 0)}
        put(store.add_site("https://other.example"), "d", action="publish", score=0.95)
        put(site, "later", action="publish", score=0.9)
        put(site, "unkept", action="publish", score=0.99, do_not_store=True)

        assert {action: each.highest["spam"] for action, each in found.items()} == {"publish": 0.25, "reject": 0.98}
        assert {(each.tier, each.policy, each.highest["off_topic"]) for each in found.values()} == {
            ("lexical", "p" * 64, None)
        }
        (later,) = store.looks.heights(site, "bundle-1", max(each.last for each in found.values()))
        assert later.highest["spam"] == 0.9
        assert store.looks.heights(site, "bundle-1", later.last) == []
        assert store.looks.heights(site, "bundle-2", 0) == []

    def test_the_mark_moves_with_verdicts_and_undoing_alone(self, store, site, put, judge):
        marks = [store.looks.mark(site)]
        stored = put(site, "c1")
        marks.append(store.looks.mark(site))
        given = judge(stored, "approve")
        marks.append(store.looks.mark(site))
        store.verdicts.undo(site, given.id, "Ada")
        marks.append(store.looks.mark(site))

        assert marks[0] == marks[1] == 0
        assert marks[1] < marks[2] < marks[3]


def look(score, verdict, action="reject", inclusion=0.05, labels=None, *, is_drawn=True):
    known = labels if labels is not None else {"spam": int(verdict == "reject")}
    return Look("lexical", action, {"spam": score}, inclusion, is_drawn, verdict, known)


class TestGather:
    def test_what_waits_is_stood_for_by_what_was_judged(self):
        looks = [look(0.97, "reject"), look(0.98, "approve"), look(0.6, "reject", "hold", 1.0)]
        waiting = [Picked("lexical", "reject", {"spam": 0.99}, 0.05), Picked("lexical", "publish", {"spam": 0.4}, 0.01)]
        reach = {("lexical", ("publish", 0.01)): {"spam": 0.45}, ("lexical", ("reject", 0.05)): {"spam": 0.98}}
        rows = gather(looks, waiting, reach)[SPAM].rejected

        assert rows.score.tolist() == [0.97, 0.98, 0.6]
        assert rows.inclusion_probability == pytest.approx([0.05 * 2 / 3, 0.05 * 2 / 3, 1.0])
        assert {each.name: (each.inclusion, each.highest) for each in rows.strata} == {
            "reject 0.05": (pytest.approx(0.05 * 2 / 3), 0.99),
            "hold 1": (1.0, 0.6),
            "publish 0.01": (0.0, 0.45),  # one was picked and nobody has looked
        }

    def test_what_nobody_has_looked_at_shows_nothing_but_takes_back_nothing_either(self):
        """Comments that are held since the line was found to be wrong wait, and nobody has judged any of them."""
        looks = [look(0.97, "reject" if number % 2 else "approve") for number in range(40)]
        waiting = [Picked("lexical", "hold", {"spam": 0.99}, 1.0)]
        own = weigh(gather(looks, waiting, {}), None)[SPAM]

        assert own.is_missed_at(PRECISE, 0.5)
        assert own.promise(PRECISE).line is None
        clean = weigh(gather([look(0.97, "reject")] * 299, waiting, {}), None)[SPAM]
        assert not clean.is_missed_at(PRECISE, 0.5)
        assert (clean.promise(PRECISE).line, clean.promise(PRECISE).is_enough) == (None, False)

    def test_what_somebody_has_chosen_stands_for_nothing_that_waits(self):
        chosen = replace(look(0.96, "approve"), is_chosen=True)
        waiting = [Picked("lexical", "reject", {"spam": 0.99}, 0.05)] * 3
        held = look(0.6, "reject", "hold", 1.0)
        alone = gather([chosen, held], waiting, {})[SPAM].rejected
        beside = gather([chosen, held, look(0.97, "reject")], waiting, {})[SPAM].rejected
        none_left = gather([chosen, held], [], {})[SPAM].rejected

        assert (alone.score.tolist(), [each.inclusion for each in alone.strata]) == ([0.6], [0.0, 1.0])
        assert beside.inclusion_probability == pytest.approx([0.05, 1.0, 0.05 / 4])
        assert none_left.inclusion_probability == pytest.approx([0.05, 1.0])

    def test_many_labels_under_a_line_say_nothing_of_what_nobody_has_looked_at_over_it(self):
        looks = [look(0.9, "reject", "hold", 1.0)] * 258 + [look(0.6, "approve", "hold", 1.0)] * 178
        unseen = {("lexical", ("reject", 0.0)): {"spam": 0.99}}
        own = weigh(gather(looks, [], unseen), None)[SPAM]

        assert (own.promise(PRECISE).line, own.promise(PRECISE).is_enough) == (None, False)
        assert not own.is_missed_at(PRECISE, 0.83)

    @pytest.mark.parametrize(
        ("goal", "action", "reaches", "is_missed"),
        [
            ("at most 1 % of good comments", "publish", 0.4, False),
            ("recall >= 0.9", "reject", 0.99, False),
            ("recall >= 0.9", "publish", 0.4, True),
        ],
    )
    def test_what_may_yet_be_found_where_nobody_has_looked_counts_for_the_line(self, goal, action, reaches, is_missed):
        """Good comments under it, bad ones over it."""
        looks = [look(0.9, "approve", "hold", 1.0), look(0.55, "reject", "hold", 1.0)] * 50
        seen = weigh(gather(looks, [], {}), None)[SPAM]
        unseen = weigh(gather(looks, [Picked("lexical", action, {"spam": reaches}, 0.01)], {}), None)[SPAM]

        assert seen.is_missed_at(read_goal(goal), 0.8)
        assert unseen.is_missed_at(read_goal(goal), 0.8) == is_missed

    def test_what_is_rejected_for_another_reason_is_bad_all_the_same(self):
        """Else a few approvals would be all that is known of a line."""
        looks = [look(0.97, "reject", labels={"hostile": 1}), look(0.98, "reject", labels={}), look(0.96, "approve")]
        found = gather(looks, [], {})[SPAM]

        assert found.rejected.is_bad.tolist() == [True, True, False]
        assert found.named.is_bad.tolist() == [False]

    def test_scores_that_are_missing_say_nothing(self):
        found = gather(
            [Look("full", "hold", {"spam": 0.5, "off_topic": None}, 1.0, True, "approve", {"spam": 0})], [], {}
        )

        assert set(found) == {("full", "spam")}

    def test_299_audits_without_an_error_show_99_percent_below_which_nothing_was_published(self):
        own = weigh(gather([look(0.97, "reject")] * 299, [], {("lexical", ("publish", 0.01)): {"spam": 0.4}}), None)
        promise = own[SPAM].promise(PRECISE)

        assert (promise.line, promise.labels) == (0.97, 299)
        assert promise is own[SPAM].promise(PRECISE)
        # Published as high as that, comments weigh five times as much and nothing is exact any more.
        high = weigh(gather([look(0.97, "reject")] * 299, [], {("lexical", ("publish", 0.01)): {"spam": 0.99}}), None)
        assert high[SPAM].promise(PRECISE).line is None


GOALS = '[spam]\nreject = "precision >= 0.9"\nlive_rate = 0.5\n[audit]\nreject = 1.0\n'


@pytest.fixture
def measured_home(home, make_full, shipped_encoder):
    """A home with a bundle whose measurements say that it may reject spam from 0.5 on."""
    points = [{"threshold": 0.5, "recall": 0.9, "false_positive_rate": 0.001, "false_positive_rate_upper": 0.002}]
    measured = {"positives": 500, "negatives": 5000, "points": points}
    path = write_bundle(
        home / "models",
        make_full(),
        operating_points={"format": 1, "tiers": {"full": {"spam": measured}}},
        evaluation={},
        probes=[Comment("Well said."), Comment("See https://shop.example now!")],
        card="Made by hand for tests.",
        made_with={},
        trained_on={},
        encoder=shipped_encoder,
    )
    publish_bundle(path, note="for tests")
    (home / "policy.toml").write_text(GOALS)
    return home


def submit(service, start, stop):
    """Comments with links, each in words of its own: near-duplicates would count once."""
    letters = [random.Random(n) for n in range(start, stop)]
    words = [" ".join("".join(some.choices("abcdefghij", k=7)) for _ in range(12)) for some in letters]
    answers = [
        service.submit(id=f"c{n}", text=f"{said} https://shop{n}.example and https://shop.example")
        for n, said in zip(range(start, stop), words, strict=True)
    ]
    return {answer.json()["action"] for answer in answers}


def test_where_audits_show_that_the_measured_line_does_not_keep_its_goal_comments_are_held(measured_home, start):
    service = start()
    parts, site = service.parts, service.site
    assert submit(service, 0, 30) == {"reject"}
    lines = OwnLines(parts.store, parts.live_model)
    lines.read(site)
    assert submit(service, 30, 31) == {"reject"}, "nobody has judged anything yet"
    for number, stored in enumerate(parts.store.find_comments(site, [f"c{n}" for n in range(24)]).values()):
        judgement = Judgement("approve") if number % 2 else Judgement("reject", ("spam",))
        target = Target(stored.decision.digest, comment=stored.id)
        parts.store.verdicts.decide(site, Judge("Ada", "review", None), judgement, [target])
    lines.read(site)
    assert submit(service, 31, 33) == {"hold"}

    note = "own labels show that the measured line, 0.5, does not keep it"
    assert note in Policies(parts.store, parts.live_model).in_force(site).line("full", "spam", "reject").note
    # A policy that a moderator puts in force now is resolved on them at once.
    policy = Policies(parts.store, parts.live_model).check(GOALS.replace("0.9", "0.95"), site)
    assert policy.line("full", "spam", "reject").threshold is None
    service.stop()
    # So it is right from the start of the next process, and for commands.
    assert submit(start(), 33, 34) == {"hold"}
    run = CliRunner().invoke(app, ["policy", "lines", "--site", site.url, "--home", str(measured_home)])
    assert note in run.output
    run = CliRunner().invoke(app, ["policy", "lines", "--site", site.url, "--home", str(measured_home), "--json"])
    (own,) = [each["own_labels"] for each in json.loads(run.stdout) if each["action"] == "reject"]
    assert (own["holds"], own["labels"]) == (False, 24)


@pytest.fixture
def lines(store, plain_home, tmp_path):
    live_model = LiveModel(plain_home, tmp_path / "nothing is shipped")
    return OwnLines(store, live_model), live_model


class TestLines:
    def test_off_where_chance_has_picked_nothing(self, site, lines, put, judge):
        own_lines, live_model = lines
        live = live_model.current()
        live_model._live = replace(live, bundle=replace(live.bundle, name="bundle-1"))
        judge(put(site, "held", score=0.6), "reject", "spam")
        own_lines.read(site)
        assert live_model.current().own(site.url) is None
        judge(put(site, "audit", score=0.97, **drawn("reject")), "reject", "spam")
        own_lines.read(site)
        assert SPAM in live_model.current().own(site.url)
        assert live_model.current().own("https://other.example") is None

    def test_what_a_bundle_that_serves_no_more_was_put_to_is_let_go(self, site, lines, put, judge):
        own_lines, live_model = lines
        live = live_model.current()
        live_model._live = replace(live, bundle=replace(live.bundle, name="bundle-1"))
        judge(put(site, "audit", score=0.97, **drawn("reject")), "reject", "spam")
        own_lines.read(site)
        before = live_model.current()
        assert before.own(site.url) is not None
        live_model._live = replace(before, bundle=replace(live.bundle, name="bundle-2"))
        own_lines.read(site)

        assert before.own(site.url) is None
        assert [name for _, name in own_lines._known] == ["bundle-2"]
