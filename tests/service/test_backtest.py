"""Policies of sites: the service follows them, a trial decides again what was decided, the slower changes nothing."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from moderation.bundle import load_bundle
from moderation.comment import Author, Comment, Neighbour, Post
from moderation.errors import InvalidPolicy
from moderation.shipped import shipped_folder
from service.backtest import try_out
from service.hashes import Hashes
from service.live_model import LiveModel
from service.metrics import Metrics
from service.policies import Place, Policies, Trials, find_place
from service.store import Judge, Judgement, Target
from service.workflow import Workflow

STRICT = '[spam]\nhold = 0.5\nreject = 0.6\n[rules]\nblocked_words = ["words"]\n'
LAX = "[spam]\nhold = 1\n"
LINKS = "See https://shop.example/1 and https://shop.example/2 and https://shop.example/3"


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def live_model(plain_home):
    return LiveModel(plain_home, shipped_folder("models"))


@pytest.fixture
def policies(store, live_model):
    return Policies(store, live_model)


@pytest.fixture
def workflow(store, live_model):
    return Workflow(store, live_model, Metrics(), hashes=Hashes(b"k" * 32))


def reread(store, site):
    return next(each for each in store.sites() if each.row == site.row)


class TestInForce:
    def test_the_service_follows_the_policy_of_the_site_and_says_so(self, store, site, policies, workflow):
        other = store.add_site("https://other.example")
        toml = '[hostile]\nhold = 0.5\n[rules]\nblocked_words = ["teapot"]\nblocked_words_action = "reject"\n'
        policy = policies.check(toml)
        assert workflow.submit(site, Comment("A teapot.", id="c1")).decision.action == "publish"

        assert policies.put(site, policy, who="Ada", instead_of=None)
        mine = workflow.submit(reread(store, site), Comment("A teapot.", id="c2"))
        theirs = workflow.submit(reread(store, other), Comment("A teapot.", id="c1"))

        assert (mine.decision.action, mine.decision.policy) == ("reject", policy.digest)
        assert (theirs.decision.action, theirs.decision.policy) == ("publish", policies.of_home().digest)
        assert policies.in_force(reread(store, site)).toml == toml
        replayed = workflow.replay(reread(store, site), mine.decision.decision_id)
        assert (replayed.action, replayed.policy, replayed.reasons) == ("reject", policy.digest, mine.decision.reasons)

    def test_a_site_may_follow_the_policy_of_the_home_again(self, store, site, policies, workflow):
        policy = policies.check(STRICT)
        assert policies.put(site, policy, who="Ada", instead_of=None)
        assert policies.put(reread(store, site), None, who="Ada", instead_of=policy.digest)

        assert reread(store, site).policy_digest is None
        decided = workflow.submit(reread(store, site), Comment("Hello there.", id="c"))
        assert decided.decision.policy == policies.of_home().digest

    def test_who_was_slower_changes_nothing(self, store, site, policies):
        first, second = policies.check(STRICT), policies.check(LAX)
        assert policies.put(site, first, who="Ada", instead_of=None)
        assert not policies.put(site, second, who="Ben", instead_of=None)

        assert reread(store, site).policy_digest == first.digest
        assert [change.who for change in policies.history(site, limit=9)] == ["Ada"]

    def test_history_is_newest_first_and_has_both_texts(self, store, site, policies):
        other = store.add_site("https://other.example")
        first, second = policies.check(STRICT), policies.check(LAX)
        policies.put(site, first, who="Ada", instead_of=None)
        policies.put(site, second, who="Ben", instead_of=first.digest)
        policies.put(site, second, who="Ben", instead_of=second.digest)  # the same again is no change
        policies.put(site, None, who="Cleo", instead_of=second.digest)
        policies.put(other, first, who="Dan", instead_of=None)
        found = policies.history(site, limit=9)

        assert [(each.who, each.toml, each.before_toml) for each in found] == [
            ("Cleo", None, LAX),
            ("Ben", LAX, STRICT),
            ("Ada", STRICT, None),
        ]
        assert [each.who for each in policies.history(site, limit=1, before=found[0].row)] == ["Ben"]
        assert [entry.event for entry in store.logs.audit()] == ["policy_set"] * 4


class TestTrial:
    def test_the_policy_that_decided_would_decide_the_same(self, site, policies, workflow):
        for n, text in enumerate(
            ["Well said.", "See https://a.example and https://b.example now", "What!!!!", "forbidden"]
        ):
            workflow.submit(site, Comment(text, id=f"c{n}", author=Author("a"), post=Post("p", "Title", tags=("x",))))
        trial = policies.try_out(site, policies.in_force(site), 30)

        assert (trial.compared, trial.versions, trial.is_cut) == (4, (), False)
        assert trial.sentence() == "It would have decided everything as it was decided."

    def test_what_would_change_is_counted_beside_what_moderators_said(self, store, site, policies, put):
        for n in range(6):
            put(site, f"held{n}", action="hold", score=0.55)
        for n in range(3):
            put(site, f"out{n}", action="publish", score=0.65)
        put(store.add_site("https://other.example"), "theirs", action="hold", score=0.55)
        judge = Judge("Ada", "review", None)

        def say(comment_id, action):
            digest = store.find_comments(site, [comment_id])[comment_id].decision.digest
            return store.verdicts.decide(site, judge, Judgement(action), [Target(digest, comment=comment_id)])[0]

        say("held0", "approve")
        say("held1", "reject")
        say("held1", "approve")  # the last word counts
        say("held2", "reject")
        undone = say("held3", "reject")
        store.verdicts.undo(site, undone.id, "Ada")
        say("out0", "approve")
        trial = policies.try_out(site, policies.check("[spam]\nhold = 0.6\n"), 30)

        assert trial.compared == 9
        assert [(m.old, m.new, m.comments, m.approved, m.rejected) for m in trial.moves] == [
            ("hold", "publish", 6, 2, 1),
            ("publish", "hold", 3, 1, 0),
        ]
        assert trial.sentence() == (
            "It would have held 3 more, 1 of which was later approved; "
            "published 6 more, 1 of which a moderator has rejected."
        )
        assert {each.decided.comment.id for each in policies.changed(site, trial)} == {f"held{n}" for n in range(6)} | {
            "out0",
            "out1",
            "out2",
        }

    def test_rules_lists_tags_and_hints_count(self, site, policies, workflow):
        policy = policies.in_force(site)
        workflow.submit(site, Comment("A quiet word.", id="word"))
        workflow.submit(site, Comment("Me again.", id="author", author=Author("u1", "Una")))
        workflow.submit(site, Comment("In memoriam.", id="tag", post=Post("p", "T", tags=("memorial",))))
        workflow.submit(site, Comment("I am a robot.", id="pot", hints={"honeypot": "x"}))
        toml = (
            policy.toml
            + 'banned_authors = ["una"]\nhoneypot = "reject"\n[[stricter]]\ntags = ["memorial"]\n'
            + "[stricter.hostile]\nhold = 0\n"
        ).replace('["forbidden"]', '["quiet"]')
        trial = policies.try_out(site, policies.check(toml), 30)

        assert {each.decided.comment.id: each.decision.action for each in policies.changed(site, trial)} == {
            "word": "reject",
            "author": "reject",
            "tag": "hold",
            "pot": "reject",
        }
        assert all(each.why for each in policies.changed(site, trial))

    def test_only_the_current_version_within_the_time_and_with_its_text_counts(self, store, site, live_model, put):
        put(site, "edited", "first", action="hold", score=0.55)
        put(site, "edited", "second", action="publish", score=0.1)
        put(site, "erased", action="hold", score=0.55)
        store.erasure.erase_comment(site, "erased", who="site")
        put(site, "kept", action="hold", score=0.55)
        policies = Policies(store, live_model)
        lax = policies.check("[spam]\nhold = 0.6\n")

        trial = policies.try_out(site, lax, 30)
        assert (trial.compared, [each.decided.comment.id for each in policies.changed(site, trial)]) == (2, ["kept"])
        later = Policies(store, live_model, now=lambda: datetime.now(UTC) + timedelta(days=40))
        assert later.try_out(site, lax, 30).compared == 0
        assert later.try_out(site, lax, 30).sentence() == "Nothing was decided in this time that it could be tried on."

    def test_what_is_too_much_is_cut_and_said(self, site, policies, put):
        for n in range(5):
            put(site, f"c{n}")
        lax = policies.check(LAX)

        assert (policies.try_out(site, lax, 30, most=3).compared, policies.try_out(site, lax, 30, most=3).is_cut) == (
            3,
            True,
        )
        assert not policies.try_out(site, lax, 30, most=5).is_cut

    def test_a_trial_writes_nothing(self, site, policies, put, dump):
        put(site, "c")
        before = dump()
        policies.try_out(site, policies.check(LAX), 30)
        assert dump() == before


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("[spam]\nhold = 2\n", Place("spam.hold", 2)),
        ("[spam]\nhold = 0.5\n\n[hostile]\n# why\nreject = 'often'\n", Place("hostile.reject", 6)),
        ("[spam]\nhold = 0.9\nreject = 0.5\n", Place("spam.reject", 3)),
        ("[spam]\nhold = 0.5\n[rules]\nlinks = 3\n", Place("rules.links", 4)),
        ("[spam]\nhold = 0.5\n[spma]\nhold = 1\n", Place("spma", 3)),
        ("[spam]\nhold = \n", Place(None, 2)),
        ("", Place(None, None)),
        (
            "[spam]\nhold = 0.5\n"
            + "[[stricter]]\ntags = ['a']\n[stricter.spam]\nhold = 3\n".replace("3", "0.3", 1)
            + "[[stricter]]\ntags = ['b']\n[stricter.spam]\nhold = 3\n",
            Place("stricter[2].spam.hold", 10),
        ),
        ("[spam]\nhold = 0.5\n[[stricter]]\ntags = []\n", Place("stricter[1].tags", 4)),
    ],
)
def test_an_error_says_where_it_is(toml, place):
    from moderation.policy import Policy

    with pytest.raises(InvalidPolicy) as caught:
        Policy.parse(toml)
    assert find_place(caught.value, toml) == place


def test_comments_of_a_site_whose_policy_cannot_be_read_are_held_for_that_reason(store, site, policies, workflow):
    toml = '[spam]\nhold = 0.5\nof_another_version = "x"\n'
    digest = hashlib.sha256(toml.encode()).hexdigest()
    assert store.policies.put(site, (digest, toml), who="operator", instead_of=None)
    site = reread(store, site)

    stored = workflow.submit(site, Comment("Well said.", id="c1"))

    assert (stored.status, stored.decision.action, stored.decision.policy) == ("held", "hold", digest)
    assert [(reason.name, reason.fired) for reason in stored.decision.reasons] == [("policy_unreadable", True)]
    (entry,) = store.queue.page([site]).entries
    assert "cannot read the site's policy" in entry.whys[0].text
    again = workflow.replay(site, stored.decision.decision_id)
    assert (again.action, again.reasons, again.policy) == ("hold", stored.decision.reasons, digest)
    assert workflow.judge_again(site, stored.decision.decision_id).action == "hold"
    assert policies.in_force(site) is None
    assert policies.text(site) == toml


class TestTrials:
    @pytest.fixture
    def made(self, monkeypatch):
        """How often a trial was made."""
        days = []
        really = Policies.try_out

        def try_out(self, site, policy, asked, **more):
            days.append(asked)
            return really(self, site, policy, asked, **more)

        monkeypatch.setattr(Policies, "try_out", try_out)
        return days

    def test_one_draft_is_tried_once_until_something_is_decided(self, site, policies, put, made):
        put(site, "c1", action="hold", score=0.55)
        lax, trials = policies.check(LAX), Trials()
        first = trials.of(policies, site, lax, 30)
        assert trials.of(policies, site, policies.check(LAX), 30) is first
        assert made == [30]
        put(site, "c2", action="hold", score=0.55)
        second = trials.of(policies, site, lax, 30)
        assert (len(first.versions), len(second.versions)) == (1, 2)
        assert trials.of(policies, site, lax, 30, first.upto) is first
        trials.of(policies, site, policies.check(LAX + "# a word"), 30)
        trials.of(policies, site, lax, 7)
        assert made == [30, 30, 30, 7]

    def test_one_that_was_forgotten_is_made_again_of_the_same_decisions(self, site, policies, put, made):
        put(site, "c1", action="hold", score=0.55)
        now, lax = [0.0], policies.check(LAX)
        trials = Trials(clock=lambda: now[0])
        first = trials.of(policies, site, lax, 30)
        put(site, "c2", action="hold", score=0.55)
        now[0] = 901.0
        again = trials.of(policies, site, lax, 30, first.upto)
        assert again is not first
        assert again.versions == first.versions
        for days in range(1, 12):
            trials.of(policies, site, lax, days)
        trials.of(policies, site, lax, 30, first.upto)
        assert made == [30, 30, *range(1, 12), 30]
        assert len(trials.of(policies, site, lax, 30, 2**60).versions) == 2

    def test_no_text_is_kept_and_what_was_erased_since_is_not_shown(self, store, site, policies, put):
        for n in range(3):
            put(site, f"c{n}", f"secret words {n}", action="hold", score=0.55)
        trial = Trials().of(policies, site, policies.check(LAX), 30)
        assert "secret" not in repr(trial)
        assert [each.decided.comment.id for each in policies.changed(site, trial)] == ["c2", "c1", "c0"]
        assert [each.decided.comment.id for each in policies.changed(site, trial, 1, 2)] == ["c1"]
        store.erasure.erase_comment(site, "c1", who="site")
        put(site, "c2", "other words", action="hold", score=0.55)
        assert [each.decided.comment.id for each in policies.changed(site, trial)] == ["c0"]


class TestBundle:
    """Stored comments scored again by another bundle, with all that they were judged with."""

    @pytest.fixture
    def other(self, plain_home, make_bundle):
        """Links say nothing to it."""
        return load_bundle(make_bundle(plain_home / "models", spam=0.0))

    def test_the_bundle_that_decided_would_decide_the_same(self, store, site, policies, workflow, live_model):
        post = Post("p", "Bread", "Flour and water.", tags=("x",))
        for n, text in enumerate(["Well said.", LINKS, "What!!!! You!!!!", "forbidden"]):
            workflow.submit(site, Comment(text, id=f"c{n}", author=Author("a"), post=post, hints={"x": "y"}))
        workflow.submit(site, Comment("An answer", id="c4", post=Post("p"), parent=Neighbour("c0")))
        found = try_out(store, policies, site, bundle=live_model.current().bundle)
        assert (found.trial.compared, found.changed) == (5, ())
        assert found.bundle == live_model.current().bundle.name

    def test_what_would_change_is_listed_with_its_reasons(self, store, site, policies, workflow, other):
        for n in range(3):
            workflow.submit(site, Comment(LINKS, id=f"c{n}"))
        workflow.submit(site, Comment("Well said.", id="fine"))
        heard = []
        found = try_out(store, policies, site, bundle=other, progress=heard.append)
        assert [(move.old, move.new, move.comments) for move in found.trial.moves] == [("hold", "publish", 3)]
        assert {each.decided.comment.id for each in found.changed} == {"c0", "c1", "c2"}
        assert heard == [0, 1, 2, 3]
        cut = try_out(store, policies, site, bundle=other, most=2)
        assert (cut.trial.compared, cut.trial.is_cut) == (2, True)

    def test_under_a_policy_of_its_own_and_without_a_bundle(self, store, site, policies, workflow, other):
        workflow.submit(site, Comment(LINKS, id="c"))
        strict = "[spam]\nhold = 0\n"
        assert try_out(store, policies, site, bundle=other, toml=strict).changed == ()
        lax = try_out(store, policies, site, toml="[spam]\nhold = 1\n")
        assert (lax.bundle, [each.decision.action for each in lax.changed]) == (None, ["publish"])

    def test_what_cannot_be_judged_as_it_was_is_left_out(self, store, site, policies, workflow, other):
        workflow.submit(site, Comment("The first", id="parent", post=Post("p", "Bread")))
        workflow.submit(site, Comment(LINKS, id="answer", parent=Neighbour("parent")))
        workflow.submit(site, Comment(LINKS, id="gone"))
        workflow.erase(site, "parent")
        workflow.erase(site, "gone")
        assert try_out(store, policies, site, bundle=other).trial.compared == 0

    def test_it_writes_nothing(self, store, site, policies, workflow, other, dump):
        workflow.submit(site, Comment(LINKS, id="c"))
        before = dump()
        try_out(store, policies, site, bundle=other)
        assert dump() == before
