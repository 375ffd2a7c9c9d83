"""Copies of earlier comments with a link added, and what was spam before: found, held, shown, and forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from moderation.comment import Author, Comment
from service.hashes import Hashes
from service.live_model import LiveModel
from service.metrics import Metrics
from service.store import Judge, Judgement, Target, originals
from service.store import engine as connections
from service.store.campaigns import find_campaign
from service.store.originals import MOST_COMPARED
from service.store.tables import comments, near_hashes
from service.verdicts import Moderation
from service.workflow import Workflow

HASHES = Hashes(b"k" * 32)
WORDS = "The river path floods every winter, so the council should raise it before the new bridge opens in spring."
OTHER = "My grandmother baked this bread with twice as much rye, and she always let it rest over night in the cellar."
LINK = "https://cheap-pills.example/buy"
ANN = Author("ann", "Ann", "https://ann.example")
BEN = Author("ben", "Ben")


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def live_model(plain_home, tmp_path):
    return LiveModel(plain_home, tmp_path / "nothing is shipped")


@pytest.fixture
def workflow(store, live_model):
    return Workflow(store, live_model, Metrics(), hashes=HASHES, make_seed=lambda: "unlucky")


def fired(stored) -> list[str]:
    return [reason.name for reason in stored.decision.reasons if reason.fired]


def facts(store, stored) -> dict:
    return store.judged_comment(stored.decision.decision_id)[1]


def count_hashes(store) -> int:
    with connections.reading(store._engine) as connection:
        return connection.execute(select(func.count()).select_from(near_hashes)).scalar_one()


def explain(connection, query, asked) -> list[str]:
    dialect = connection.dialect
    sql = str(query.params(asked).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    how = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    return [line[-1] for line in connection.exec_driver_sql(f"{how} {sql}".replace("%", "%%"))]


class TestWorkflow:
    def test_what_another_author_wrote_is_held_once_it_has_a_link(self, workflow, store, site):
        first = workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        copy = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN))
        behind = workflow.submit(site, Comment(WORDS, id="c3", author=replace(BEN, url=LINK)))
        plain = workflow.submit(site, Comment(WORDS, id="c4", author=BEN))
        own = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c5", author=ANN))
        new = workflow.submit(site, Comment(f"{OTHER} {LINK}", id="c6", author=BEN))

        assert [each.status for each in (first, copy, behind, plain, own, new)] == [
            *("published", "held", "held", "published", "published", "published")
        ]
        assert fired(copy) == fired(behind) == ["copied"]
        assert [facts(store, each)["copied"] for each in (first, copy, behind, plain, own, new)] == [
            *(False, True, True, False, False, False)
        ]
        (entry,) = store.queue.page([site]).entries
        assert [(why.name, why.detail, why.value) for why in entry.whys] == [("held", "copied", None)]

    @pytest.mark.parametrize("days", [0, 700])
    def test_copies_are_one_entry_and_their_original_is_another(self, workflow, store, site, days):
        store._now = lambda: datetime.now(UTC) - timedelta(days=days)
        links = "https://a.example https://b.example"  # which the model of these tests takes for spam
        workflow.submit(site, Comment(f"{WORDS} {links}", id="c1", author=ANN))
        store._now = lambda: datetime.now(UTC)
        for n in range(3):
            workflow.submit(site, Comment(f"{WORDS} {LINK}/{n}", id=f"b{n}", author=Author(f"b{n}")))
        found = store.queue.page([site], sort="age").entries

        assert [(entry.stored.id, entry.campaign_count) for entry in found] == [("c1", 1), ("b0", 3)]

    def test_it_is_found_after_years_though_it_is_no_campaign_then(self, workflow, store, site):
        store._now = lambda: datetime.now(UTC) - timedelta(days=700)
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        store._now = lambda: datetime.now(UTC)
        copy = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN))

        assert fired(copy) == ["copied"]
        assert facts(store, copy)["campaign_size"] == 0
        old, new = store.reading.place_of_id([site], "c1").row, store.reading.place_of_id([site], "c2").row
        with connections.reading(store._engine) as connection:
            assert find_campaign(connection, old, store.now()) is None
            assert find_campaign(connection, new, store.now()) is not None

    def test_another_sites_comments_are_no_originals(self, workflow, store, site):
        workflow.submit(store.add_site("https://other.example"), Comment(WORDS, id="c1", author=ANN))

        assert workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN)).status == "published"

    def test_of_what_comes_in_one_call_each_sees_those_before_it(self, workflow, site):
        sent = [
            Comment(f"{WORDS} {LINK}", author=Author("eve")),
            Comment(WORDS, author=BEN),
            Comment(f"{WORDS} {LINK}", id="c1", author=Author("carl")),
            Comment(f"{WORDS} https://else.example", author=Author("dora")),
            Comment(f"{WORDS} https://else.example", author=BEN),
        ]

        # The third brings what the second has not; that the first has it too saves it not from being a copy.
        assert [fired(each) for each in workflow.submit_many(site, sent)] == [
            [],
            [],
            ["copied"],
            ["copied"],
            ["copied"],
        ]

    def test_an_edit_is_judged_by_what_came_before_it(self, workflow, site):
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        workflow.submit(site, Comment(OTHER, id="c2", author=BEN))
        copy = workflow.submit(site, Comment(WORDS, id="c3", author=BEN))
        assert copy.status == "published"

        edited = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c3", author=BEN))
        assert (edited.status, fired(edited)) == ("held", ["copied"])
        original = workflow.submit(site, Comment(f"{WORDS} https://new.example", id="c1", author=Author(None, "Anna")))
        assert (original.status, fired(original)) == ("published", [])

    def test_its_own_text_of_before_is_no_original(self, workflow, site):
        workflow.submit(site, Comment(WORDS, id="c1", author=None))

        assert workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c1", author=None)).status == "published"

    def test_a_flood_of_copies_does_not_hide_the_original(self, workflow, site):
        workflow.submit(site, Comment(WORDS, id="c0", author=ANN))
        for n in range(3 * MOST_COMPARED):
            workflow.submit(site, Comment(f"{WORDS} {LINK}", id=f"b{n}", author=Author(f"b{n}")))

        assert fired(workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN))) == ["copied"]

    def test_a_policy_may_let_them_through(self, workflow, site, live_model, plain_home, store):
        (plain_home / "policy.toml").write_text('[spam]\nhold = 0.5\n[rules]\ncopies = "publish"\n')
        for _ in range(2):  # a change counts at its second look
            live_model._next_check = 0.0
            live_model.current()
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        copy = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN))

        assert (copy.status, fired(copy)) == ("published", [])
        assert facts(store, copy)["copied"] is True

    def test_a_decision_made_again_stays_the_same_without_the_original(self, workflow, site):
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        copy = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN))
        workflow.erase(site, "c1")

        for again in (workflow.replay, workflow.judge_again):
            assert again(site, copy.decision.decision_id).reasons == copy.decision.reasons

    def test_a_decision_of_before_this_fact_was_known_is_read_as_no_copy(self, workflow, store, site):
        old = workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        with connections.writing(store._engine) as connection:
            known = facts(store, old)
            del known["copied"]
            connection.execute(originals.comment_versions.metadata.tables["decisions"].update().values(facts=known))

        assert workflow.replay(site, old.decision.decision_id).reasons == old.decision.reasons


SPAM, FINE = Judgement("reject", ("spam",)), Judgement("approve")
ADA = Judge("Ada", "review", None)


def judge(store, site, stored, judgement=SPAM):
    (verdict,) = store.verdicts.decide(site, ADA, judgement, [Target(stored.decision.digest, stored.id)])
    return verdict


class TestKnownSpam:
    def test_what_was_rejected_as_spam_is_held_when_it_comes_again(self, workflow, store, site):
        first = workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        judge(store, site, first)
        again = workflow.submit(site, Comment(WORDS.upper(), id="c2", author=BEN))
        other = workflow.submit(site, Comment(OTHER, id="c3", author=ANN))
        elsewhere = workflow.submit(store.add_site("https://other.example"), Comment(WORDS, id="c4", author=BEN))

        assert [each.status for each in (again, other, elsewhere)] == ["held", "published", "published"]
        assert fired(again) == ["known_spam"]
        assert [facts(store, each)["known_spam"] for each in (first, again, other)] == [False, True, False]
        (entry,) = store.queue.page([site]).entries
        assert [(why.name, why.detail) for why in entry.whys] == [("held", "known_spam")]

    @pytest.mark.parametrize(
        ("judgement", "expected"),
        [
            (SPAM, "held"),
            (Judgement("reject"), "held"),
            (Judgement("reject", ("spam", "hostile")), "held"),
            (Judgement("reject", ("hostile",)), "published"),
            (Judgement("reject", ("off_topic",)), "published"),
            (FINE, "published"),
        ],
    )
    def test_only_what_is_called_spam_or_nothing_is(self, workflow, store, site, judgement, expected):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=ANN)), judgement)

        assert workflow.submit(site, Comment(WORDS, id="c2", author=BEN)).status == expected

    def test_what_a_policy_rejects_nobody_has(self, workflow, site, live_model, plain_home):
        (plain_home / "policy.toml").write_text('[spam]\nhold = 0.5\n[rules]\nbanned_authors = ["eve"]\n')
        for _ in range(2):
            live_model._next_check = 0.0
            live_model.current()
        assert workflow.submit(site, Comment(WORDS, id="c1", author=Author("eve"))).status == "rejected"

        assert workflow.submit(site, Comment(WORDS, id="c2", author=BEN)).status == "published"

    def test_the_last_verdict_on_the_same_words_counts(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=ANN)))
        held = workflow.submit(site, Comment(WORDS, id="c2", author=BEN))
        approved = judge(store, site, held, FINE)

        assert workflow.submit(site, Comment(WORDS, id="c3", author=Author("carl"))).status == "published"
        store.verdicts.undo(site, approved.id, "Ada")
        assert workflow.submit(site, Comment(WORDS, id="c4", author=Author("dora"))).status == "held"

    def test_a_verdict_that_is_taken_back_says_nothing_and_the_one_before_does(self, workflow, store, site):
        first = workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        spam = judge(store, site, first)
        approved = judge(store, site, first, FINE)
        assert workflow.submit(site, Comment(WORDS, id="c2", author=BEN)).status == "published"
        store.verdicts.undo(site, approved.id, "Ada")
        assert workflow.submit(site, Comment(WORDS, id="c3", author=BEN)).status == "held"
        store.verdicts.undo(site, spam.id, "Ada")

        assert workflow.submit(site, Comment(WORDS, id="c4", author=BEN)).status == "published"

    def test_no_number_of_edits_makes_it_another_comment(self, workflow, store, site):
        first = workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        spam = judge(store, site, first)
        for n in range(1, 4):
            edited = workflow.submit(site, Comment(f"{WORDS}{',' * n}", id="c1", author=Author("ann", f"Ann {n}")))
            assert (edited.status, fired(edited)) == ("held", ["known_spam"])
        assert workflow.submit(site, Comment(WORDS, id="c2", author=BEN)).status == "held"

        # Of the words that were judged nobody says any more that they are spam.
        store.verdicts.undo(site, spam.id, "Ada")
        assert workflow.submit(site, Comment(WORDS, id="c3", author=BEN)).status == "published"

    def test_words_that_are_changed_one_by_one_stay_spam(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=BEN)))
        for one, other in (("floods", "drowns"), ("council", "mayor"), ("winter", "spring")):
            edited = workflow.submit(site, Comment(WORDS.replace(one, other), id="c1", author=BEN))
            assert (edited.status, fired(edited)) == ("held", ["known_spam"])
        few = Comment("Nice post, thank you so much!", id="c2", author=Author(name="Bob", url=LINK))
        judge(store, site, workflow.submit(site, few))
        renamed = workflow.submit(site, replace(few, author=Author(name="Bobby")))
        assert fired(renamed) == ["known_spam"]

    def test_nobody_edits_what_was_approved_into_spam(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c9", author=ANN)))
        judge(store, site, workflow.submit(site, Comment(OTHER, id="c1", author=BEN)), FINE)
        for n in range(3):
            assert workflow.submit(site, Comment(f"{WORDS}{',' * n}", id="c1", author=BEN)).status == "held"

        assert workflow.submit(site, Comment(WORDS, id="c2", author=Author("carl"))).status == "held"

    def test_words_are_approved_with_the_links_that_they_had(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c1", author=BEN)))
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c2", author=Author("carl"))), FINE)
        again = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c3", author=Author("dora")))
        plain = workflow.submit(site, Comment(WORDS, id="c4", author=Author("emil")))
        own = workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=Author("carl")))

        assert "known_spam" in fired(again)
        assert "known_spam" in fired(own)
        assert plain.status == "published"

    @pytest.mark.parametrize("category", ["hostile", "off_topic"])
    def test_what_was_rejected_for_something_else_is_not_approved(self, workflow, store, site, category):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=ANN)))
        again = workflow.submit(site, Comment(WORDS, id="c2", author=BEN))
        judge(store, site, again, Judgement("reject", (category,)))

        assert workflow.submit(site, Comment(WORDS, id="c3", author=Author("carl"))).status == "held"

    def test_of_several_verdicts_those_that_stand_count(self, workflow, store, site):
        first = workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        spam = judge(store, site, first)
        (bob,) = store.verdicts.decide(
            site, Judge("Bob", "review", None), SPAM, [Target(first.decision.digest, first.id)]
        )
        edited = workflow.submit(site, Comment(f"{WORDS},", id="c1", author=ANN))
        assert edited.status == "held"
        store.verdicts.undo(site, bob.id, "Bob")
        assert workflow.submit(site, Comment(WORDS, id="c2", author=BEN)).status == "held"
        approved = judge(store, site, edited, FINE)
        assert workflow.submit(site, Comment(WORDS, id="c3", author=BEN)).status == "published"
        store.verdicts.undo(site, approved.id, "Ada")
        assert workflow.submit(site, Comment(WORDS, id="c4", author=BEN)).status == "held"
        store.verdicts.undo(site, spam.id, "Ada")
        assert workflow.submit(site, Comment(WORDS, id="c5", author=BEN)).status == "published"

    def test_an_edit_that_says_something_else_takes_its_words_along(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=ANN)))

        assert workflow.submit(site, Comment(OTHER, id="c1", author=ANN)).status == "published"
        assert workflow.submit(site, Comment(WORDS, id="c2", author=BEN)).status == "published"

    def test_who_is_read_with_some_words_may_go_on_saying_them(self, workflow, store, site):
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        for n, text in enumerate((f"{WORDS} {LINK}", WORDS)):
            judge(store, site, workflow.submit(site, Comment(text, id=f"b{n}", author=BEN)))
        edited = workflow.submit(site, Comment(f"{WORDS}!", id="c1", author=ANN))
        held = workflow.submit(site, Comment(WORDS, id="c2", author=Author("carl")))

        assert (edited.status, fired(edited)) == ("published", [])
        assert fired(held) == ["known_spam"]
        # Who was never read with them may not.
        assert fired(workflow.submit(site, Comment(f"{WORDS}!", id="c2", author=Author("carl")))) == ["known_spam"]

    def test_of_many_shops_with_the_same_praise_each_is_known(self, workflow, store, site):
        praise = "Nice post, thank you so much!"
        shops = [Author(name=f"Shop {n}", url=f"https://shop-{n}.example") for n in range(8)]
        for n, shop in enumerate(shops):
            judge(store, site, workflow.submit(site, Comment(praise, id=f"c{n}", author=shop)))
        again = [workflow.submit(site, Comment(praise, id=f"d{n}", author=shop)) for n, shop in enumerate(shops)]
        reader = workflow.submit(site, Comment(praise, id="e1", author=Author(name="Jane", url="https://jane.example")))

        assert [fired(each) for each in again] == [["known_spam"]] * 8
        assert reader.status == "published"

    def test_it_is_found_among_what_nobody_has_judged(self, workflow, store, site):
        for n in range(30):
            workflow.submit(site, Comment(WORDS, id=f"b{n}", author=Author(f"b{n}")))
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=Author("eve"))))
        for n in range(30):
            again = workflow.submit(site, Comment(WORDS, id=f"d{n}", author=Author(f"d{n}")))
            assert "known_spam" in fired(again)

    def test_what_was_known_when_it_came_is_shown_as_long_as_it_is_kept(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=ANN)))
        later = workflow.submit(site, Comment(WORDS, id="c2", author=BEN))
        workflow.submit(site, Comment(OTHER, id="c3", author=BEN))
        row = {name: store.reading.place_of_id([site], name).row for name in ("c1", "c2", "c3")}
        assert [store.reading.known_spam([site], row[name]) for name in ("c1", "c3")] == [None, None]

        judge(store, site, workflow.submit(site, Comment(WORDS, id="c4", author=Author("carl"))))
        assert store.reading.known_spam([site], row["c2"]).id == "c1"
        judge(store, site, later)
        workflow.erase(site, "c1")
        assert store.reading.known_spam([site], row["c2"]) is None

    def test_a_decision_made_again_stays_the_same_without_it(self, workflow, store, site):
        judge(store, site, workflow.submit(site, Comment(WORDS, id="c1", author=ANN)))
        again = workflow.submit(site, Comment(WORDS, id="c2", author=BEN))
        workflow.erase(site, "c1")

        for decide in (workflow.replay, workflow.judge_again):
            assert decide(site, again.decision.decision_id).reasons == again.decision.reasons
        assert workflow.submit(site, Comment(WORDS, id="c3", author=BEN)).status == "published"

    def test_they_are_looked_up_in_their_index(self, store, site):
        with connections.writing(store._engine) as connection:
            at = datetime(2026, 1, 1, tzinfo=UTC)
            row = {"site_id": site.row, "status": "rejected", "version": 1, "created_at": at, "updated_at": at}
            connection.execute(comments.insert(), [row | {"id": n} for n in range(1, 2_001)])
            hashes = {"site_id": site.row, "campaign": 1, "at": at, "is_spam": True}
            each = [hashes | {"comment_id": n, "band": n, "judged_at": at if n % 9 else None} for n in range(1, 2_001)]
            connection.execute(near_hashes.insert(), each)
            connection.exec_driver_sql("ANALYZE")
            plan = explain(connection, originals._judged(4), {"site": site.row} | {f"band_{n}": n for n in range(4)})

        assert sum("ix_near_hashes_judged" in line for line in plan) == 4
        assert not [line for line in plan if "SCAN near_hashes" in line or "Seq Scan on near_hashes" in line]


class TestForgetting:
    """Hashes are there as long as the text they were made of, and no longer."""

    def test_hashes_stay_with_a_text(self, workflow, store, site):
        store._now = lambda: datetime.now(UTC) - timedelta(days=40)
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        store._now = lambda: datetime.now(UTC)

        assert list(Moderation(store, HASHES, reports_to_reopen=3).forget(None)) == []
        assert count_hashes(store) == 4
        assert sum(Moderation(store, HASHES, reports_to_reopen=3).forget(30)) == 1
        assert count_hashes(store) == 0
        assert workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN)).status == "published"

    @pytest.mark.parametrize("how", ["comment", "author", "do_not_store", "edit"])
    def test_what_is_not_kept_is_no_original(self, workflow, store, site, how):
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        if how == "comment":
            workflow.erase(site, "c1")
        elif how == "author":
            Moderation(store, HASHES, reports_to_reopen=3).erase_author(site, "ann")
        elif how == "do_not_store":
            workflow.submit(site, Comment(WORDS, id="c1", author=ANN, do_not_store=True))
        else:
            workflow.submit(site, Comment("Never mind", id="c1", author=ANN))

        assert count_hashes(store) == 0
        assert workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c2", author=BEN)).status == "published"

    def test_a_copy_that_is_not_to_be_stored_is_found_and_leaves_nothing(self, workflow, store, site):
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        copy = workflow.submit(site, Comment(f"{WORDS} {LINK}", author=BEN, do_not_store=True))

        assert fired(copy) == ["copied"]
        assert count_hashes(store) == 4


class TestReading:
    def test_the_first_one_is_shown_as_long_as_it_is_kept(self, workflow, store, site):
        workflow.submit(site, Comment(WORDS, id="c1", author=ANN))
        workflow.submit(site, Comment(WORDS, id="c2", author=Author("carl")))
        workflow.submit(site, Comment(f"{WORDS} {LINK}", id="c3", author=BEN))
        workflow.submit(site, Comment(f"{OTHER} {LINK}", id="c4", author=BEN))
        row = {name: store.reading.place_of_id([site], name).row for name in ("c1", "c2", "c3", "c4")}

        assert store.reading.original([site], row["c3"]).id == "c1"
        assert [store.reading.original([site], row[name]) for name in ("c1", "c2", "c4")] == [None, None, None]
        workflow.erase(site, "c1")
        assert store.reading.original([site], row["c3"]).id == "c2"
        workflow.erase(site, "c3")
        assert store.reading.original([site], row["c3"]) is None

    @pytest.mark.parametrize("is_known", [False, True])
    def test_candidates_are_looked_up_in_the_index(self, store, site, is_known):
        with connections.writing(store._engine) as connection:
            row = {"site_id": site.row, "status": "published", "version": 1}
            at = datetime(2026, 1, 1, tzinfo=UTC)
            many = [row | {"id": n, "created_at": at, "updated_at": at} for n in range(1, 2_001)]
            connection.execute(comments.insert(), many)
            hashes = {"site_id": site.row, "campaign": 1, "at": at}
            connection.execute(near_hashes.insert(), [hashes | {"comment_id": n, "band": n} for n in range(1, 2_001)])
            connection.exec_driver_sql("ANALYZE")
            asked = {"site": site.row, "itself": 1, "came_at": at} | {f"band_{n}": n for n in range(4)}
            plan = explain(connection, originals._earliest(4, is_known=is_known), asked)

        assert sum("ix_near_hashes_site_id_band_at" in line for line in plan) == 4
        assert not [line for line in plan if "SCAN near_hashes" in line or "Seq Scan on near_hashes" in line]
