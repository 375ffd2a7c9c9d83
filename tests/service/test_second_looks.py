"""Second looks in the store: what is looked at again, what its verdict is stored as, undo, rates. On both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moderation.policy import Policy
from moderation.training.agreement import measure_agreement, measure_second_looks
from moderation.training.labels import last_words, read_label
from service.errors import TextChanged, VerdictStands
from service.hashes import Hashes
from service.live_model import LiveModel
from service.policies import Policies
from service.priority import draw_audit, draw_second_look, measure
from service.second_looks import Doubt, Findings, RandomLooks, keep_findings, queue_doubts, read_findings
from service.store import AuditDraw, Judge, Judgement, QueueFilter, Store, Target, Verdict
from service.upkeep import Upkeep
from service.verdicts import Moderation

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
APPROVE, SPAM = Judgement("approve", score_shown=True), Judgement("reject", ("spam",), score_shown=True)
BLIND_APPROVE = Judgement("approve", score_shown=False)
BLIND_SPAM = Judgement("reject", ("spam",), score_shown=False)


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def ada(store, site):
    return Judge("Ada", "review", store.people.add("Ada", site, "moderator", who="operator").row)


@pytest.fixture
def ben(store, site):
    return Judge("Ben", "review", store.people.add("Ben", site, "maintainer", who="operator").row)


def judge(store, site, who, judgement, stored, entry=None) -> Verdict:
    target = Target(stored.decision.digest, None if entry else stored.id, entry)
    (given,) = store.verdicts.decide(site, who, judgement, [target])
    assert isinstance(given, Verdict), given
    return given


def look_again(store, site, picked="random", who=None) -> int:
    rows = [each.row for each in store.second_looks.standing(site, LONG_AGO)]
    return store.second_looks.open(site, rows, picked, measure, who=who)


def entries(store, site, **wanted):
    return store.queue.page([site], QueueFilter(**wanted)).entries


def sources(store) -> list[str]:
    return [label["source"] for label in store.labels.read()]


class TestOpening:
    def test_a_comment_that_was_judged_waits_again_and_tells_nothing_of_why_it_did(self, store, site, put, ada):
        stored = put(site, "c1", "Cheap watches", score=0.9)
        first = judge(store, site, ada, SPAM, stored)

        assert look_again(store, site, who="Cem") == 1
        (entry,) = entries(store, site)
        (why,) = entry.whys
        assert (why.name, why.detail, why.value) == ("second_look", "random", None)
        assert entry.priority.harm == pytest.approx(0.9), "sorted as every comment with such a decision"
        assert (entry.stored.status, entry.campaign_count) == ("rejected", 1)
        (line,) = [each for each in store.logs.audit() if each.event == "second_look"]
        assert (line.who, line.details["verdict"]) == ("Cem", first.id)

    def test_filters_find_it_as_a_second_look_and_not_by_what_the_machine_has_said(self, store, site, put, ada):
        judge(store, site, ada, SPAM, put(site, "c1"))
        look_again(store, site, "doubted")

        assert len(entries(store, site)) == len(entries(store, site, reason="second_look")) == 1
        assert store.queue.offers([site]).reasons == ()
        for wanted in (
            {"reason": "held"}, {"reason": "spam"}, {"reason": "doubted"}, {"category": "spam"},
            {"second_looks": False},
        ):  # fmt: skip
            assert entries(store, site, **wanted) == (), wanted
        assert store.batches.categories([site]) == {}

    def test_a_text_has_one_second_look_and_an_edited_one_another(self, store, site, put, ada, ben):
        stored = put(site, "c1", "First words")
        judge(store, site, ada, SPAM, stored)
        assert look_again(store, site) == 1
        assert look_again(store, site) == 0, "it waits"
        judge(store, site, ben, BLIND_APPROVE, stored, entries(store, site)[0].row)
        judge(store, site, ada, SPAM, stored)
        assert look_again(store, site) == 0

        judge(store, site, ada, SPAM, put(site, "c1", "Other words"))
        assert look_again(store, site) == 1

    def test_what_waits_was_taken_back_or_erased_is_not_looked_at_again(self, store, site, put, ada):
        put(site, "waits")
        undone = judge(store, site, ada, SPAM, put(site, "undone"))
        store.verdicts.undo(site, undone.id, "Ada")
        gone = put(site, "gone")
        judge(store, site, ada, SPAM, gone)
        store.erasure.erase_comment(site, "gone", who="site")

        assert store.second_looks.standing(site, LONG_AGO) == []
        assert store.second_looks.find(site, "gone", gone.decision.digest) is None
        assert store.second_looks.find(site, "waits", "0" * 64) is None

    def test_a_verdict_is_found_by_comment_and_text_without_an_id_too(self, store, site, put, ada):
        named, nameless = put(site, "c1", "Words"), put(site, None, "Without an id")
        first = judge(store, site, ada, SPAM, named)
        entry = next(each.row for each in entries(store, site) if each.stored.id is None)
        second = judge(store, site, ada, APPROVE, nameless, entry)

        assert store.second_looks.find(site, "c1", named.decision.digest).id == first.id
        assert store.second_looks.find(site, None, nameless.decision.digest).id == second.id
        other = store.add_site("https://other.example")
        assert store.second_looks.find(other, "c1", named.decision.digest) is None

    def test_of_two_that_come_at_once_one_opens_it(self, store, site, put, ada):
        judge(store, site, ada, SPAM, put(site, "c1"))
        (found,) = store.second_looks.standing(site, LONG_AGO)

        assert store.second_looks.open(site, [found.row], "random", measure) == 1
        assert store.second_looks.open(site, [found.row], "doubted", measure) == 0

    def test_who_may_judge_is_counted(self, store, site, ada, ben):
        assert {ada.name, ben.name} == {"Ada", "Ben"}
        store.people.add("Vic", site, "viewer", who="operator")
        store.people.add("Cem", store.add_site("https://other.example"), "moderator", who="operator")
        assert store.second_looks.may_judge(site) == 2


class TestJudging:
    @pytest.fixture
    def looked(self, store, site, put, ada):
        """A comment that chance had picked, that Ada has rejected, and that waits for a second look."""
        stored = put(site, "c1", action="publish", score=0.1, draw=AuditDraw("publish", 0.02, "s", 0.02))
        judge(store, site, ada, SPAM, stored)
        assert look_again(store, site) == 1
        return stored

    def test_the_blind_answer_is_stored_as_one_counts_last_and_inherits_how_likely_the_look_was(
        self, store, site, ben, looked
    ):
        given = judge(store, site, ben, BLIND_APPROVE, looked, entries(store, site)[0].row)

        assert (given.source, given.score_shown, given.inclusion_probability) == ("second_look", False, 0.02)
        assert given.status == "published"
        assert entries(store, site) == ()
        (first, second) = [read_label(line) for line in store.labels.read()]
        assert (first.source, second.source, second.moderator) == ("verdict", "second_look", "Ben")
        assert [(label.moderator, label.inclusion_probability) for label in last_words([first, second])] == [
            ("Ben", 0.02)
        ]

    def test_rates_count_the_comment_once_before_and_after(self, store, site, ben, looked):
        def counted():
            looks = store.looks.judged(site, "bundle-1")
            return [(look.inclusion, look.verdict) for look in looks], store.looks.waiting(site, "bundle-1")

        assert counted() == ([(0.02, "reject")], [])
        judge(store, site, ben, BLIND_APPROVE, looked, entries(store, site)[0].row)
        assert counted() == ([(0.02, "approve")], [])
        (audit,) = store.insight.audits([site], LONG_AGO)
        assert (audit.inclusion, audit.verdict, audit.count) == (0.02, "approve", 1)

    @pytest.mark.parametrize(
        ("source", "judgement", "by_entry"),
        [("review", SPAM, True), ("review", BLIND_SPAM, False), ("api", BLIND_SPAM, True)],
        ids=["the score was shown", "from the comment's page", "from elsewhere"],
    )
    def test_what_was_not_given_blind_is_an_ordinary_verdict(
        self, store, site, ben, looked, source, judgement, by_entry
    ):
        entry = entries(store, site)[0].row if by_entry else None
        given = judge(store, site, Judge("Ben", source, ben.moderator), judgement, looked, entry)

        assert (given.source, given.inclusion_probability) == (source, 0.02)
        assert entries(store, site) == ()
        assert "second_look" not in sources(store)

    def test_whoever_looks_at_their_own_verdict_again_is_no_second_person(self, store, site, ada, looked):
        given = judge(store, site, ada, BLIND_APPROVE, looked, entries(store, site)[0].row)

        assert given.source == "second_look"
        assert sources(store) == ["verdict"]
        assert store.insight.ratings([site], LONG_AGO, blind=True) == []

    def test_a_second_look_is_not_counted_as_waiting(self, store, site, ben, looked):
        before, _ = store.insight.waits([site], LONG_AGO)
        judge(store, site, ben, BLIND_APPROVE, looked, entries(store, site)[0].row)
        after, _ = store.insight.waits([site], LONG_AGO)

        assert before is None, "its entry is open again"
        assert after is None

    def test_the_text_that_was_read_has_to_be_the_one_there_is(self, store, site, put, ben, looked):
        row = entries(store, site)[0].row
        put(site, "c1", "Other words", "hold")
        target = Target(looked.decision.digest, entry=row)
        (refused,) = store.verdicts.decide(site, ben, BLIND_SPAM, [target])

        assert isinstance(refused, TextChanged)
        assert [why.name for why in entries(store, site)[0].whys] == ["held"], "it waits for a first look"


class TestUndo:
    @pytest.fixture
    def held(self, store, site, put, ada):
        stored = put(site, "c1", score=0.6)
        first = judge(store, site, ada, SPAM, stored)
        look_again(store, site)
        return stored, first

    def test_a_second_look_that_is_taken_back_waits_again_and_the_first_verdict_stands(self, store, site, ben, held):
        stored, _ = held
        given = judge(store, site, ben, BLIND_APPROVE, stored, entries(store, site)[0].row)
        (undone,) = store.verdicts.undo(site, given.id, "Ben")

        assert undone.status == "rejected"
        assert [why.name for why in entries(store, site)[0].whys] == ["second_look"]
        assert sources(store) == ["verdict"]
        again = judge(store, site, ben, BLIND_SPAM, stored, entries(store, site)[0].row)
        assert (again.source, again.inclusion_probability) == ("second_look", 1.0)
        assert sources(store) == ["verdict", "second_look"]

    def test_where_the_first_verdict_is_taken_back_it_waits_for_its_first_look(self, store, site, ben, held):
        stored, first = held
        (undone,) = store.verdicts.undo(site, first.id, "Ada")
        (entry,) = entries(store, site)

        assert (undone.status, [why.name for why in entry.whys]) == ("held", ["held"])
        assert len(store.looks.waiting(site, "bundle-1")) == 1
        given = judge(store, site, ben, SPAM, stored, entry.row)
        assert (given.source, given.inclusion_probability) == ("review", 1.0)

    def test_where_it_had_answered_nothing_nobody_waits_any_more(self, store, site, put, ada):
        stored = put(site, "c1", action="publish", score=0.1)
        first = judge(store, site, ada, SPAM, stored)
        look_again(store, site)
        store.verdicts.undo(site, first.id, "Ada")

        assert entries(store, site) == ()
        assert store.find_comments(site, ["c1"])["c1"].status == "published"

    def test_the_first_verdict_cannot_be_taken_back_under_the_second(self, store, site, ben, held):
        stored, first = held
        judge(store, site, ben, BLIND_SPAM, stored, entries(store, site)[0].row)
        with pytest.raises(VerdictStands):
            store.verdicts.undo(site, first.id, "Ada")

    def test_an_appeal_makes_an_ordinary_entry_of_it(self, store, site, ben, held):
        stored, _ = held
        store.readers.appeal(site, "c1", "Why?", measure=measure)
        (entry,) = entries(store, site)

        assert [why.name for why in entry.whys] == ["appealed"]
        given = judge(store, site, ben, APPROVE, stored, entry.row)
        assert (given.source, given.inclusion_probability) == ("review", None)
        assert sources(store) == ["verdict", "appeal_overturned"]
        assert [look.inclusion for look in store.looks.judged(site, "bundle-1")] == [1.0]


def test_agreement_on_second_looks_is_told_apart(store: Store, site, put, ada, ben):
    for n in range(12):
        stored = put(site, f"c{n}", f"Words of number {n}")
        judge(store, site, ada, SPAM if n % 2 else APPROVE, stored)
        if n == 11:  # the two others of a third person, with all to be seen
            judge(store, site, Judge("Cem", "review"), APPROVE, stored)
        look_again(store, site)
        judge(store, site, ben, BLIND_SPAM if n % 2 and n != 3 else BLIND_APPROVE, stored, entries(store, site)[0].row)
    for n in range(20, 23):
        stored = put(site, f"c{n}", f"Words of number {n}")
        judge(store, site, ada, SPAM, stored)
        judge(store, site, ben, APPROVE, stored)
    ratings = store.insight.ratings([site], LONG_AGO, blind=True)
    labels = [read_label(line) for line in store.labels.read()]
    plain = next(each for each in measure_agreement(labels) if each.category == "spam")
    blind = next(each for each in measure_second_looks(labels) if each.category == "spam")

    assert len({each.version for each in ratings}) == 12
    assert {each.moderator for each in ratings} == {"Ada", "Ben", "Cem"}
    assert (plain.comments, blind.comments) == (15, 12)
    assert blind.alpha > plain.alpha
    assert store.insight.ratings([site], datetime.now(UTC) + timedelta(days=1), blind=True) == []


class TestByChance:
    """What the policy of a site asks for, drawn by the hash of each verdict's id."""

    @pytest.fixture
    def policies(self, store, tmp_path):
        return Policies(store, LiveModel(tmp_path / "home", tmp_path / "none"))

    @pytest.fixture
    def asks(self, store):
        def ask(site, share):
            policy = Policy.parse(f"[spam]\nhold = 0.5\n[audit]\nverdicts = {share}\n", None)
            assert store.policies.put(site, (policy.digest, policy.toml), who="Ada", instead_of=site.policy_digest)
            return next(each for each in store.sites() if each.row == site.row)

        return ask

    def fill(self, store, site, put, ada, count=40):
        for n in range(count):
            judge(store, site, ada, SPAM, put(site, f"c{n}", f"Words of number {n} {'abcdefgh'[n % 8] * 9}"))

    def test_a_share_of_the_verdicts_is_drawn_once(self, store, site, put, ada, ben, policies, asks):
        assert ben.name
        self.fill(store, site, put, ada)
        looks = RandomLooks(store, policies)
        assert looks.work() == 0, "off until somebody asks"
        asks(site, 0.5)
        drawn = looks.work()

        expected = [
            v for n in range(40) for v in store.verdicts.of_comment(site, f"c{n}") if draw_second_look(v.id, 0.5)
        ]
        assert drawn == len(expected) == store.queue.count([site])
        assert 5 < drawn < 35
        assert looks.work() == 0
        assert not [line for line in store.logs.audit() if line.event == "second_look"], "chance is nobody"

    def test_nobody_looks_where_one_alone_may_judge(self, store, site, put, ada, policies, asks):
        self.fill(store, site, put, ada, 3)
        asks(site, 1)
        store.people.add("Vic", site, "viewer", who="operator")
        assert RandomLooks(store, policies).work() == 0
        store.people.add("Vic", site, "moderator", who="operator")
        assert RandomLooks(store, policies).work() == 3

    def test_what_was_judged_more_than_a_week_ago_is_left_alone(self, store, site, put, ada, ben, policies, asks):
        assert ben.name
        store._now = store.verdicts._now = lambda: datetime.now(UTC) - timedelta(days=8)
        self.fill(store, site, put, ada, 2)
        store._now = store.verdicts._now = lambda: datetime.now(UTC)
        asks(site, 1)
        assert RandomLooks(store, policies).work() == 0

    def test_the_upkeep_does_it(self, store, site, put, ada, ben, policies, asks):
        assert ben.name
        self.fill(store, site, put, ada, 2)
        asks(site, 1)
        desk = Moderation(store, Hashes(b"k" * 32), reports_to_reopen=3)
        Upkeep(store, desk, None, None, RandomLooks(store, policies)).work()
        assert store.queue.count([site]) == 2

    def test_the_draw_is_uniform_and_not_that_of_other_draws(self):
        ids = [f"v_{n}" for n in range(20_000)]
        drawn = [each for each in ids if draw_second_look(each, 0.02)]
        assert len(drawn) == pytest.approx(400, abs=80)
        assert set(drawn) <= {each for each in ids if draw_second_look(each, 0.1)}
        assert drawn != [each for each in ids if draw_audit("publish", 0.02, each, is_queued=False)]
        assert not any(draw_second_look(each, 0.0) for each in ids)


class TestDoubts:
    def doubt(self, store, site, comment_id, **more) -> Doubt:
        digest = store.find_comments(site, [comment_id])[comment_id].decision.digest
        said = {"category": "spam", "label": 1, "moderator": "Ada", "source": "verdict", "why": "contradicted"}
        return Doubt(site.url, comment_id, digest, **(said | more))

    def test_the_first_that_can_be_looked_at_come_into_the_queue(self, store, site, put, ada, ben):
        assert ben.name
        for n in range(4):
            judge(store, site, ada, SPAM, put(site, f"c{n}", f"Words of number {n}"))
        put(site, "waits")
        doubts = [
            Doubt("https://elsewhere.example", "c0", "0" * 64, "spam", 1, "Ada", "import", "contradicted"),
            self.doubt(store, site, "waits"),
            replace(self.doubt(store, site, "c3"), digest="0" * 64),
            *(self.doubt(store, site, f"c{n}") for n in range(4)),
        ]
        sites = store.sites()

        assert queue_doubts(store, sites, doubts, 2, who="operator") == 2
        looked = entries(store, site, reason="second_look")
        assert {entry.stored.id for entry in looked} == {"c0", "c1"}
        assert {why.detail for entry in looked for why in entry.whys} == {"doubted"}
        assert queue_doubts(store, sites, doubts, 9, who="operator") == 2
        assert queue_doubts(store, sites, doubts, 9, who="operator") == 0

    def test_findings_are_kept_for_their_owner_alone_and_read_again(self, tmp_path):
        doubt = Doubt("https://a.example", None, "0" * 64, "spam", 0, "Ada", "verdict", "contradicted", 0.93)
        found = Findings(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), 12, 1, (doubt,))
        assert read_findings(tmp_path) is None
        keep_findings(tmp_path, found)

        path = tmp_path / "labels" / "doubts.json"
        assert read_findings(tmp_path) == found
        assert path.stat().st_mode & 0o077 == 0
        assert found.of({"https://a.example"}) == (doubt,)
        assert found.of({"https://b.example"}) == ()
        for broken in ("{", "[]", '{"format": 2}', path.read_text().replace('"digest"', '"digits"')):
            path.write_text(broken)
            assert read_findings(tmp_path) is None
