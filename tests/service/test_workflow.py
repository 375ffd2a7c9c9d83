"""The way of a comment: what is judged, what is kept, and that it can be judged again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moderation.comment import Author, Comment, Neighbour, Post
from service.errors import CommentErased, NotFound
from service.hashes import Hashes
from service.live_model import LiveModel
from service.metrics import Metrics
from service.statuses import MOVES, STATUS_AFTER
from service.workflow import Workflow

LINK = "See https://shop.example and https://shop.example/2"


@pytest.fixture
def live_model(plain_home, tmp_path):
    return LiveModel(plain_home, tmp_path / "nothing is shipped")


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def workflow(store, live_model, metrics):
    # By this seed chance picks nothing for an audit.
    return Workflow(store, live_model, metrics, hashes=Hashes(b"k" * 32), make_seed=lambda: "unlucky")


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


def judged(store, stored) -> Comment:
    return store.judged_comment(stored.decision.decision_id)[0]


def test_every_action_leads_to_a_status_that_a_new_comment_may_have():
    assert {"publish", "hold", "reject"} == set(STATUS_AFTER)
    assert set(STATUS_AFTER.values()) == MOVES[None]
    assert all("erased" in moves for old, moves in MOVES.items() if old not in (None, "erased"))


class TestSubmit:
    def test_the_digest_is_of_what_was_judged_and_repetition_is_by_what_was_sent(self, workflow, store, site):
        """The thread may have grown in between: a repeated request is still the same request."""
        workflow.submit(site, Comment("First!", id="c1", post=Post("p", "Bread", "A text about bread")))
        second = workflow.submit(site, Comment("Second", id="c2", post=Post("p")))
        workflow.submit(site, Comment("Third", id="c3", post=Post("p")))
        again = workflow.submit(site, Comment("Second", id="c2", post=Post("p")))

        assert (True, second.decision) == (again.seen, again.decision)
        assert second.decision.digest == judged(store, second).digest() != Comment("Second").digest()

    def test_post_parent_and_thread_are_filled_in(self, workflow, store, site):
        first = workflow.submit(site, Comment("First", id="c1", post=Post("p", "Bread", "Text", tags=("food",))))
        reply = Comment("Reply", id="c2", post=Post("p"), parent=Neighbour("c1"))
        second = workflow.submit(site, reply)
        whole = judged(store, second)

        assert Post("p", "Bread", "Text", None, ("food",)) == whole.post
        assert Neighbour("c1", "First") == whole.parent
        assert (Neighbour("c1", "First"),) == whole.thread
        assert site.url == whole.site
        assert first.status == "published"

    def test_what_the_site_says_wins_over_what_is_known(self, workflow, store, site):
        workflow.submit(site, Comment("First", id="c1", post=Post("p", "Bread", "Text", "https://b/p", ("food",))))
        said = Comment("x", id="c2", post=Post("p", "New title"), parent=Neighbour("c1", "As I quote it"), thread=())
        whole = judged(store, workflow.submit(site, said))

        assert Post("p", "New title", "Text", "https://b/p", ("food",)) == whole.post
        assert (Neighbour("c1", "As I quote it"), ()) == (whole.parent, whole.thread)

    def test_held_comments_are_no_thread(self, workflow, store, site):
        workflow.submit(site, Comment(LINK, id="c1", post=Post("p")))

        assert judged(store, workflow.submit(site, Comment("x", id="c2", post=Post("p")))).thread == ()

    def test_an_authors_past_is_a_fact(self, workflow, store, site):
        author = Author("a1", "Ann")
        facts = []
        for n, text in enumerate(["Fine", LINK, "Also fine"]):
            stored = workflow.submit(site, Comment(text, id=f"c{n}", author=author))
            facts.append(store.judged_comment(stored.decision.decision_id)[1]["author_published"])

        assert facts == [0, 1, 1]

    def test_empty_objects_are_none(self, workflow, store, site):
        stored = workflow.submit(site, Comment("x", author=Author(), post=Post(), parent=Neighbour()))

        assert Comment("x", site=site.url) == judged(store, stored)

    def test_an_empty_id_is_not_taken_for_no_id(self, workflow, site):
        workflow.submit(site, Comment("x", id=""))

        assert workflow.submit(site, Comment("x")).seen is False

    def test_metrics_count_new_decisions_and_repeated_ones_apart(self, workflow, site, metrics):
        for _ in range(3):
            workflow.submit(site, Comment("x", id="c1"))
        text = metrics.render(tier="lexical").decode()

        assert 'moderation_decisions_total{action="publish",tier="lexical"} 1.0' in text
        assert "moderation_seen_before_total 2.0" in text

    def test_threads_that_race_get_one_decision(self, workflow, site):
        start = threading.Barrier(8)

        def send(_):
            start.wait()
            return workflow.submit(site, Comment(LINK, id="c1", post=Post("p", "T")))

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(send, range(8)))

        assert len({result.decision.decision_id for result in results}) == 1
        assert len(workflow.status_changes(site, "c1")) == 1


class TestRates:
    def test_how_many_came_in_lately_is_a_fact_and_a_rule_holds_what_is_too_much(
        self, store, metrics, site, plain_home
    ):
        (plain_home / "policy.toml").write_text(
            '[hostile]\nhold = 0.5\n[rules]\nauthor_rate = "2 per minute"\nsite_rate = "4 per hour"\n'
        )
        live = LiveModel(plain_home, plain_home / "none")
        workflow = Workflow(store, live, metrics, hashes=Hashes(b"k" * 32))
        clock = [datetime(2026, 1, 1, tzinfo=UTC)]
        store._now = lambda: clock[0]

        def send(comment_id: str, author: str | None, text: str = "Fine") -> tuple:
            stored = workflow.submit(site, Comment(text, id=comment_id, author=Author(author) if author else None))
            reasons = {reason.name: reason for reason in stored.decision.reasons}
            fired = tuple(name for name in ("author_rate", "site_rate") if reasons[name].fired)
            values = tuple((reasons[name].value, reasons[name].limit) for name in ("author_rate", "site_rate"))
            facts = store.judged_comment(stored.decision.decision_id)[1]
            assert workflow.replay(site, stored.decision.decision_id).reasons == stored.decision.reasons
            return stored.status, fired, values, facts["author_recent"], facts["site_recent"]

        assert send("c1", "ann") == ("published", (), ((1, 2), (1, 4)), [0, 0, 0], [0, 0, 0])
        assert send("c2", "ann") == ("published", (), ((2, 2), (2, 4)), [1, 1, 1], [1, 1, 1])
        assert send("c3", "ann")[:3] == ("held", ("author_rate",), ((3, 2), (3, 4)))
        assert send("c4", None)[:4] == ("published", (), ((None, 2), (4, 4)), [])
        assert send("c5", "ben")[:3] == ("held", ("site_rate",), ((1, 2), (5, 4)))
        clock[0] += timedelta(seconds=61)
        assert send("c6", "ann")[1:] == (("site_rate",), ((1, 2), (6, 4)), [0, 3, 3], [0, 5, 5])
        clock[0] += timedelta(hours=1, seconds=1)
        assert send("c7", "ann")[:4] == ("published", (), ((1, 2), (1, 4)), [0, 0, 4])

    def test_an_edit_is_not_counted_twice(self, workflow, store, site):
        for text in ("One", "Two", "Three"):
            stored = workflow.submit(site, Comment(text, id="c1", author=Author("ann")))

        facts = store.judged_comment(stored.decision.decision_id)[1]
        assert (facts["author_recent"], facts["site_recent"]) == ([0, 0, 0], [0, 0, 0])

    def test_of_what_comes_in_one_call_each_sees_those_before_it(self, workflow, store, site):
        authors = ["ann", "ben", "ann", "ann", None]
        sent = [Comment(f"Fine {n}", author=Author(name) if name else None) for n, name in enumerate(authors)]
        facts = [store.judged_comment(one.decision.decision_id)[1] for one in workflow.submit_many(site, sent)]

        assert [each["author_recent"][:1] for each in facts] == [[0], [0], [1], [2], []]
        assert [each["site_recent"][0] for each in facts] == [0, 1, 2, 3, 4]

    def test_what_comes_several_times_in_one_call_is_one_comment(self, workflow, store, site):
        ann = Author("ann")
        workflow.submit(site, Comment("It was known before this call came in.", id="c0", author=ann))
        text = "The council ought to think about the river path again before winter comes"
        sent = [Comment(text + "." * n, id="c1", author=ann) for n in range(3)]
        sent += [Comment("Now it has another text than it had.", id="c0", author=ann), Comment("Fine", author=ann)]
        facts = [store.judged_comment(one.decision.decision_id)[1] for one in workflow.submit_many(site, sent)[2:]]

        assert [each["author_recent"][0] for each in facts] == [1, 1, 2]
        assert [each["site_recent"][0] for each in facts] == [1, 1, 2]
        assert [each["campaign_size"] for each in facts] == [0, 0, 0]


class TestReview:
    def test_what_is_held_waits_before_the_answer_is_sent(self, workflow, store, site):
        workflow.submit(site, Comment(LINK, id="c1"))
        workflow.submit(site, Comment("Fine", id="c2"))
        (entry,) = store.queue.page([site]).entries

        assert (entry.stored.id, entry.priority.category) == ("c1", "spam")
        assert [(why.name, why.detail) for why in entry.whys] == [("held", "spam")]

    def test_chance_picks_by_the_shares_of_the_policy(self, store, live_model, metrics, site, plain_home):
        (plain_home / "policy.toml").write_text(
            "[hostile]\nhold = 0.5\n[audit]\npublish = 1\nreject = 0\n[rules]\n"
            'blocked_words = ["forbidden"]\nblocked_words_action = "reject"\n'
        )
        for _ in range(2):  # a change counts at its second look
            live_model._next_check = 0.0
            live_model.current()
        workflow = Workflow(store, live_model, metrics, hashes=Hashes(b"k" * 32), make_seed=lambda: "seed")
        workflow.submit(site, Comment("Fine", id="c1"))
        workflow.submit(site, Comment("forbidden", id="c2"))
        workflow.submit(site, Comment("Fine too", id="c3", do_not_store=True))

        assert [[(why.name, why.value) for why in entry.whys] for entry in store.queue.page([site]).entries] == [
            [("audit", 1.0)]
        ]

    def test_near_duplicates_lately_are_a_fact_also_within_a_batch(self, workflow, store, site):
        text = "I earn a lot of money since I met Mrs. Smith, write to her today, number "
        alone = [workflow.submit(site, Comment(f"{text}{n}", id=f"c{n}")) for n in range(2)]
        batch = [Comment(f"{text}{n}", id=f"c{n}") for n in range(2, 5)]
        together = workflow.submit_many(site, [*batch, Comment("Something quite different, about bread")])
        edited = workflow.submit(site, Comment(f"{text}0!", id="c0"))
        facts = [store.judged_comment(stored.decision.decision_id)[1] for stored in [*alone, *together, edited]]

        assert [each["campaign_size"] for each in facts] == [0, 1, 2, 3, 4, 0, 4]

    def test_asking_again_about_a_text_is_no_campaign(self, workflow, store, site):
        text = "I earn a lot of money since I met Mrs. Smith, write to her today, number "
        asked = workflow.submit_many(site, [Comment(f"{text}{n}", id=f"q{n}") for n in range(3)], is_question=True)
        asked += [workflow.submit(site, Comment(f"{text}3", id="q3"), is_question=True)]
        sent = [workflow.submit(site, Comment(f"{text}{n}", id=f"c{n}")) for n in range(2)]
        asked += [workflow.submit(site, Comment(f"{text}4", id="q4"), is_question=True)]

        def sizes(several):
            return [store.judged_comment(one.decision.decision_id)[1]["campaign_size"] for one in several]

        assert (sizes(asked), sizes(sent)) == ([0, 0, 0, 0, 2], [0, 1])

    def test_what_is_sent_again_does_not_wait_twice(self, workflow, store, site):
        for _ in range(2):
            workflow.submit(site, Comment(LINK, id="c1"))

        assert store.queue.count([site]) == 1


class TestFaults:
    def test_a_model_that_raises_holds_the_comment_and_only_that_one(self, workflow, live_model, site, caplog):
        live = live_model._live
        model = live.bundle.model

        class Choking:
            def assess(self, comments):
                if any("choke" in comment.text for comment in comments):
                    raise RuntimeError(f"cannot read {comments[0].text}")
                return model.assess(comments)

        live_model._live = replace(live, bundle=replace(live.bundle, model=Choking()))
        results = workflow.submit_many(site, [Comment("fine", id="1"), Comment("choke", id="2"), Comment("ok", id="3")])

        assert [result.status for result in results] == ["published", "held", "published"]
        assert (results[1].decision.scores, results[1].decision.bundle) == (None, None)
        assert "model_unavailable" in [reason.name for reason in results[1].decision.reasons if reason.fired]
        assert "scoring failed" in caplog.text
        assert "choke" not in str([record.__dict__ for record in caplog.records])

    def test_an_erased_comment_is_refused(self, workflow, site):
        workflow.submit(site, Comment("x", id="c1"))
        assert workflow.erase(site, "c1").status == "erased"
        for text in ("x", "y"):
            with pytest.raises(CommentErased):
                workflow.submit(site, Comment(text, id="c1"))

    @pytest.mark.parametrize("name", ["unknown", "", "a\x00b", "x" * 201, "\ud800"], ids=ascii)
    def test_unknown_things_and_ids_that_cannot_be_are_not_found(self, workflow, site, name):
        for ask in (workflow.find_comment, workflow.find_decision, workflow.erase, workflow.replay):
            with pytest.raises(NotFound):
                ask(site, name)

    def test_sent_again_with_do_not_store_what_was_kept_is_forgotten(self, workflow, store, site):
        first = workflow.submit(site, Comment("x", id="c1"))
        again = workflow.submit(site, Comment("x", id="c1", do_not_store=True))

        assert (True, first.decision) == (again.seen, again.decision)
        assert store.judged_comment(first.decision.decision_id) is None


class TestReplay:
    def test_a_decision_is_made_again_exactly(self, workflow, site):
        """With the post, the thread and the author's past as they were then, not as they are now."""
        author = Author("a1", "Ann", "https://ann.example")
        first = workflow.submit(site, Comment("First", id="c1", author=author, post=Post("p", "Bread", "Old text")))
        second = workflow.submit(site, Comment(LINK, id="c2", author=author, post=Post("p"), parent=Neighbour("c1")))
        workflow.submit(site, Comment("Third", id="c3", author=author, post=Post("p", "Bread", "New text")))
        for stored in (first, second):
            again = replace(workflow.replay(site, stored.decision.decision_id), decision_id=stored.decision.decision_id)

            assert stored.decision.to_dict() == again.to_dict()

    def test_the_policy_of_then_is_used(self, workflow, live_model, plain_home, site):
        stored = workflow.submit(site, Comment(LINK, id="c1"))
        (plain_home / "policy.toml").write_text("[spam]\nhold = 0.999999\n")
        live_model._next_check = 0.0
        live_model.current()  # A change counts at its second look.
        live_model._next_check = 0.0
        new = workflow.submit(site, Comment(LINK, id="c2"))

        assert stored.decision.policy != new.decision.policy
        assert stored.decision.policy == workflow.replay(site, stored.decision.decision_id).policy

    def test_what_is_not_kept_cannot_be_decided_again(self, workflow, site):
        stored = workflow.submit(site, Comment("x", id="c1", do_not_store=True))
        with pytest.raises(NotFound, match="not kept"):
            workflow.replay(site, stored.decision.decision_id)
