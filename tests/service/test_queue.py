"""The queue: what waits, why, in which order, and who holds it. On both databases."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Table, insert, select

from service.errors import EntryTaken, InvalidRequest, NotFound
from service.priority import measure
from service.statuses import Sort
from service.store import AuditDraw, Judge, Judgement, QueueFilter, Target
from service.store import engine as connections
from service.store.review_tables import queue_entries, queue_reasons
from service.store.tables import comment_versions, comments, decisions

COPY = "Best prices for replica watches, order today and save, my friend number "


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def ada(store, site):
    return store.people.add("Ada", site, "moderator", who="operator")


@pytest.fixture
def ben(store, site):
    return store.people.add("Ben", site, "moderator", who="operator")


def ids(page) -> list[str | None]:
    return [entry.stored.id for entry in page.entries]


class TestEntries:
    def test_an_entry_shows_the_comment_and_says_why_it_is_here(self, store, site, put):
        put(site, "c1", "Buy this", "hold", author="ann", post="p1", lang="en", url="https://blog.example/c1")
        (entry,) = store.queue.page([site]).entries

        assert (entry.text, entry.author_id, entry.author_name) == ("Buy this", "ann", "Name of ann")
        assert (entry.post_id, entry.post_title, entry.lang) == ("p1", "Title of p1", "en")
        assert (entry.url, entry.kind, entry.stored.status) == ("https://blog.example/c1", "comment", "held")
        assert [(why.name, why.detail, why.value) for why in entry.whys] == [("held", "spam", 0.6)]
        assert (entry.priority.category, entry.priority.score, entry.campaign_count) == ("spam", 0.6, 1)
        assert entry.stored.decision.reasons[0].text == "Because of spam."

    def test_only_what_needs_a_person_is_here(self, store, site, put):
        put(site, "far", action="publish", score=0.1, limit=0.5)
        put(site, "near", action="publish", score=0.48, limit=0.5)
        put(site, "rejected", action="reject", score=0.99, limit=0.9)
        put(site, "just rejected", action="reject", score=0.91, limit=0.9)
        put(site, "drawn", action="publish", score=0.1, limit=0.5, draw=AuditDraw("publish", 0.01, "s", 0.01))
        put(site, "not kept", action="hold", do_not_store=True)
        page = store.queue.page([site], sort="age")

        assert {entry.stored.id: [why.name for why in entry.whys] for entry in page.entries} == {
            "near": ["near_line"],
            "just rejected": ["near_line"],
            "drawn": ["audit"],
        }

    def test_an_edit_brings_the_new_decision_and_ends_the_claim(self, store, site, put, ada, ben):
        put(site, "c1", "First words", "hold", score=0.6)
        (entry,) = store.queue.page([site]).entries
        store.queue.claim([site], entry.row, ada.row)
        put(site, "c1", "Other words", "hold", score=0.9, reason="links_allowed")
        (again,) = store.queue.page([site]).entries

        assert (again.row, again.text, again.opened_at) == (entry.row, "Other words", entry.opened_at)
        assert [(why.name, why.detail) for why in again.whys] == [("held", "links_allowed")]
        assert (again.priority.score, again.claimed_by) == (0.9, None)
        assert store.queue.claim([site], entry.row, ben.row).text == "Other words"

    def test_an_edit_that_is_published_closes_unless_readers_asked_for_a_look(self, store, site, put):
        put(site, "c1", "Held words", "hold")
        put(site, "c1", "Fine words", "publish")
        put(site, "c2", "Reported words", "publish")
        store.readers.report(site, "c2", "r" * 64, None, reopen_at=3, measure=measure)
        put(site, "c2", "Still fine words", "publish")

        assert ids(store.queue.page([site])) == ["c2"]

    def test_what_is_erased_or_no_longer_stored_does_not_wait(self, store, site, put):
        put(site, "c1", "First", "hold")
        put(site, "c2", "Second", "hold")
        store.erasure.erase_comment(site, "c1", who="site")
        put(site, "c2", "Second", "hold", do_not_store=True)

        assert store.queue.page([site]).entries == ()
        assert store.queue.count([site]) == 0

    def test_comments_without_an_id_wait_too(self, store, site, put):
        put(site, None, "Nobody can name me", "hold")

        assert [entry.text for entry in store.queue.page([site]).entries] == ["Nobody can name me"]


class TestOrder:
    @pytest.fixture
    def four(self, site, put):
        put(site, "old", score=0.5)
        put(site, "sure", score=0.99)
        put(site, "half", score=0.51, action="publish", limit=0.52, post="p1")
        put(site, "low", score=0.4)

    @pytest.mark.usefixtures("four")
    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            # "half" is published, so that people read it while it waits.
            ("urgency", ["half", "sure", "old", "low"]),
            ("age", ["old", "sure", "half", "low"]),
            ("score", ["sure", "half", "old", "low"]),
            ("teaching", ["old", "half", "low", "sure"]),
        ],
    )
    def test_each_sort_and_its_pages(self, store, site, sort: Sort, expected):
        assert expected == ids(store.queue.page([site], sort=sort))
        got, after = [], None
        for _ in range(4):
            page = store.queue.page([site], sort=sort, limit=1, after=after)
            got += ids(page)
            after = page.cursor

        assert expected == got
        assert after is None

    def test_a_lively_post_makes_urgent_and_comments_without_a_post_have_none(self, store, site, put):
        other = store.add_site("https://other.example")
        for n in range(3):
            put(other, f"a{n}", action="publish")
            put(site, f"b{n}", action="publish")
            put(site, f"c{n}", action="publish", post="p1")
        near = {"score": 0.51, "action": "publish", "limit": 0.52}
        put(site, "nowhere", **near)
        put(site, "there", **near, post="p1")
        found = {entry.stored.id: entry.urgency / entry.priority.harm for entry in store.queue.page([site]).entries}

        # One, and all that are published on the post, itself among them.
        assert found == {"nowhere": 1, "there": 5}

    def test_pages_neither_repeat_nor_miss_among_equals(self, store, site, put):
        for n in range(7):
            put(site, f"c{n}", score=0.5)
        first = store.queue.page([site], sort="score", limit=3)
        second = store.queue.page([site], sort="score", limit=3, after=first.cursor)
        third = store.queue.page([site], sort="score", limit=3, after=second.cursor)

        assert [f"c{n}" for n in (6, 5, 4, 3, 2, 1, 0)] == ids(first) + ids(second) + ids(third)

    @pytest.mark.parametrize("cursor", ["", "x", "é", "W10", "WyJhZ2UiLDEsMl0", "bnVsbA", "WyJzY29yZSIsIngiLDFd"])
    def test_a_cursor_of_another_list_is_refused(self, store, site, cursor):
        with pytest.raises(InvalidRequest, match="cursor"):
            store.queue.page([site], sort="score", after=cursor)

    @pytest.mark.parametrize(
        ("sort", "place", "row"),
        [
            ("score", 0.5, 2**63),
            ("score", 0.5, -(2**63) - 1),
            ("score", 10**400, 1),
            ("score", float("nan"), 1),
            ("score", float("inf"), 1),
            ("age", "0001-01-01T00:00:00+14:00", 1),
            ("age", "9999-12-31T23:59:59-14:00", 1),
        ],
    )
    def test_a_cursor_with_a_place_that_cannot_be_is_refused(self, store, site, sort: Sort, place, row):
        cursor = base64.urlsafe_b64encode(json.dumps([sort, place, row]).encode()).decode()
        with pytest.raises(InvalidRequest, match="cursor"):
            store.queue.page([site], sort=sort, after=cursor)

    def test_reports_make_it_more_urgent(self, store, site, put):
        put(site, "quiet", "Words that nobody minds", "publish", score=0.5)
        put(site, "loud", "Words that many mind", "publish", score=0.5)
        for reader in "abc":
            store.readers.report(site, "loud", reader * 64, None, reopen_at=3, measure=measure)
        store.readers.report(site, "quiet", "a" * 64, None, reopen_at=3, measure=measure)
        page = store.queue.page([site])

        assert [(entry.stored.id, entry.reports) for entry in page.entries] == [("loud", 3), ("quiet", 1)]
        assert page.entries[0].whys[0].text == "Reported by 3 readers."


class TestFilter:
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (QueueFilter(), ["c1", "c2", "c3"]),
            (QueueFilter(post="p1"), ["c1", "c2"]),
            (QueueFilter(post="p9"), []),
            (QueueFilter(author="ann"), ["c1"]),
            (QueueFilter(lang="de"), ["c2"]),
            (QueueFilter(lang="EN"), ["c1"]),
            (QueueFilter(lang="en_gb"), ["c1"]),
            (QueueFilter(lang="en-US"), []),
            (QueueFilter(lang="e"), []),
            (QueueFilter(lang="e%"), []),
            (QueueFilter(who="ann"), ["c1"]),
            (QueueFilter(who="ANN"), []),
            (QueueFilter(who="name OF Bob"), ["c2"]),
            (QueueFilter(who="Name of"), []),
            (QueueFilter(category="spam"), ["c1", "c2", "c3"]),
            (QueueFilter(category="threat"), []),
            (QueueFilter(reason="held"), ["c1", "c2"]),
            (QueueFilter(reason="near_line"), ["c3"]),
            (QueueFilter(reason="first_time"), ["c2"]),
            (QueueFilter(text="STRASSE"), ["c1"]),
            (QueueFilter(text="straße"), ["c1"]),
            (QueueFilter(text="ÖFFENTLICH"), ["c2"]),
            (QueueFilter(text="100%_"), ["c3"]),
            (QueueFilter(text="100_"), []),
            (QueueFilter(text="%"), ["c3"]),
            (QueueFilter(text="Ｂｌｕｅ"), ["c3"]),
            (QueueFilter(text="'; DROP TABLE comments; --"), []),
            (QueueFilter(since=datetime(2020, 1, 1, tzinfo=UTC)), ["c1", "c2", "c3"]),
            (QueueFilter(until=datetime(2020, 1, 1, tzinfo=UTC)), []),
            (QueueFilter(post="p1", reason="spam", text="straße"), ["c1"]),
        ],
        ids=str,
    )
    def test_each_filter_finds_the_same_on_both(self, store, site, put, wanted, expected):
        other = store.add_site("https://other.example")
        put(site, "c1", "In der Straße gesehen", "hold", author="ann", post="p1", lang="en-GB")
        put(site, "c2", "Öffentlich gesagt", "hold", author="bob", post="p1", lang="de", reason="first_time")
        put(site, "c3", "100%_ blue", "publish", score=0.48, limit=0.5)
        put(other, "c1", "In der Straße gesehen", "hold", author="ann", post="p1", lang="en")

        assert expected == ids(store.queue.page([site], wanted, sort="age"))

    def test_it_can_offer_the_reasons_authors_and_posts_of_what_waits_and_of_nothing_else(self, store, site, put, ada):
        other = store.add_site("https://other.example")
        put(site, "c1", "What Zoe says", "hold", author="zoe", post="p1", reason="campaign")
        put(site, "c2", "What Ann says", "hold", author="ann", post="p1")
        put(site, "c3", "What nobody says", "publish", score=0.48, limit=0.5)
        done = put(site, "c4", "What is done", "hold", author="bob", post="p2", reason="first_time")
        put(other, "c5", "What others say", "hold", author="eve", post="p9", reason="language")
        target = Target(done.decision.digest, "c4")
        store.verdicts.decide(site, Judge("Ada", "review", ada.row), Judgement("approve"), [target])
        offers = store.queue.offers([site])

        assert offers.reasons == ("campaign", "spam")
        assert offers.authors == (("ann", "Name of ann"), ("zoe", "Name of zoe"))
        assert offers.posts == (("p1", "Title of p1"),)
        assert store.queue.offers([site, other]).reasons == ("campaign", "language", "spam")

    def test_several_sites_at_once_and_none(self, store, site, put):
        other = store.add_site("https://other.example")
        put(site, "c1", score=0.5)
        put(other, "c2", score=0.6)

        assert ids(store.queue.page([site, other], sort="score")) == ["c2", "c1"]
        assert ids(store.queue.page([other])) == ["c2"]
        assert ids(store.queue.page([])) == []

    def test_a_span_of_time_includes_its_begin_and_not_its_end(self, store, site, put):
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        store._now = lambda: moment
        put(site, "c1")
        day = timedelta(1)
        spans = [(moment, moment + day), (moment - day, moment), (moment, None), (None, moment)]

        assert [len(store.queue.page([site], QueueFilter(since=a, until=b)).entries) for a, b in spans] == [1, 0, 1, 0]


class TestCampaigns:
    def test_near_duplicates_are_one_row_with_a_count(self, store, site, put):
        for n in range(5):
            put(site, f"copy{n}", f"{COPY}{n}", "hold", score=0.9)
        put(site, "other", "Quite another comment about the bread in the oven", "hold", score=0.8)
        page = store.queue.page([site], sort="score")

        assert [(entry.stored.id, entry.campaign_count) for entry in page.entries] == [("copy0", 5), ("other", 1)]
        members = store.queue.campaign(site, page.entries[0].row)
        assert [f"copy{n}" for n in range(5)] == [entry.stored.id for entry in members]
        assert [entry.stored.id for entry in store.queue.campaign(site, page.entries[1].row)] == ["other"]

    def test_a_filter_that_leaves_the_first_out_shows_the_next(self, store, site, put):
        for name in ("ann", "bob", "cleo"):
            put(site, f"by {name}", f"{COPY}{name}", "hold", author=name)

        assert ids(store.queue.page([site], QueueFilter(author="bob"))) == ["by bob"]
        assert ids(store.queue.page([site])) == ["by ann"]

    def test_the_same_words_on_another_site_are_another_campaign(self, store, site, put):
        other = store.add_site("https://other.example")
        put(site, "c1", f"{COPY}1")
        put(other, "c2", f"{COPY}2")

        assert [entry.campaign_count for entry in store.queue.page([site, other]).entries] == [1, 1]

    def test_an_edit_leaves_its_campaign(self, store, site, put):
        put(site, "c1", f"{COPY}1")
        put(site, "c2", f"{COPY}2")
        put(site, "c3", f"{COPY}3")
        put(site, "c2", "An honest question about the oven and its temperature")
        put(site, "c3", "Short")
        page = store.queue.page([site])

        assert {entry.stored.id: entry.campaign_count for entry in page.entries} == {"c1": 1, "c2": 1, "c3": 1}

    def test_so_does_an_edit_of_the_one_that_it_began_with(self, store, site, put):
        for n in range(3):
            put(site, f"c{n}", f"{COPY}{n}")
        put(site, "c0", "An honest question about the oven and its temperature")
        page = store.queue.page([site], sort="age")

        assert [(entry.stored.id, entry.campaign_count) for entry in page.entries] == [("c0", 1), ("c1", 2)]


class TestClaims:
    def test_only_one_holds_an_entry_until_it_is_given_back(self, store, site, put, ada, ben):
        put(site, "c1")
        row = store.queue.page([site]).entries[0].row

        assert store.queue.claim([site], row, ada.row).claimed_by == "Ada"
        assert store.queue.claim([site], row, ada.row).claimed_by == "Ada"
        with pytest.raises(EntryTaken, match="held by another"):
            store.queue.claim([site], row, ben.row)
        assert store.queue.release(row, ben.row) is False
        assert store.queue.release(row, ada.row) is True
        assert store.queue.claim([site], row, ben.row).claimed_by == "Ben"

    def test_a_claim_expires(self, store, site, put, ada, ben):
        put(site, "c1")
        row = store.queue.page([site]).entries[0].row
        store.queue.claim([site], row, ada.row, seconds=0)

        assert store.queue.claim([site], row, ben.row).claimed_by == "Ben"

    def test_a_report_does_not_take_a_comment_from_whoever_holds_it(self, store, site, put, ada, ben):
        put(site, "c1", action="publish", score=0.48, limit=0.5)
        row = store.queue.claim_next([site], ada.row).row
        store.readers.report(site, "c1", "r" * 64, None, reopen_at=3, measure=measure)

        assert [why.name for why in store.queue.page([site]).entries[0].whys] == ["near_line", "reported"]
        with pytest.raises(EntryTaken):
            store.queue.claim([site], row, ben.row)

    def test_claim_next_goes_past_what_others_hold(self, store, site, put, ada, ben):
        for n in range(3):
            put(site, f"c{n}")
        names = [store.queue.claim_next([site], who.row, sort="age").stored.id for who in (ada, ben, ada)]

        # Who holds something already gets it again, so that a page that was reloaded shows the same comment.
        assert names == ["c0", "c1", "c0"]
        assert store.queue.claim_next([site], ben.row, QueueFilter(post="none")) is None

    def test_entries_of_other_sites_and_decided_ones_cannot_be_claimed(self, store, site, put, ada):
        put(site, "c1")
        row = store.queue.page([site]).entries[0].row
        other = store.add_site("https://other.example")
        with pytest.raises(NotFound):
            store.queue.claim([other], row, ada.row)
        digest = store.queue.page([site]).entries[0].stored.decision.digest
        store.verdicts.decide(site, Judge("Ada", "review", ada.row), Judgement("approve"), [Target(digest, "c1")])
        with pytest.raises(EntryTaken, match="decided"):
            store.queue.claim([site], row, ada.row)

    @pytest.mark.parametrize("how", ["delete", "disable"])
    def test_a_moderator_who_is_deleted_or_disabled_holds_nothing(self, store, site, put, ada, ben, how):
        put(site, "c1")
        row = store.queue.claim_next([site], ada.row).row
        getattr(store.people, how)("Ada", who="operator")

        assert store.queue.claim([site], row, ben.row).claimed_by == "Ben"


def fill_queue(store, site, put, number: int) -> None:
    """Many entries at once, all like one that was put in properly; one after the other they would take minutes."""
    put(site, "c0", "The first of many")
    with connections.writing(store._engine) as connection:

        def copy(table: Table, **changes) -> None:
            row = connection.execute(select(table)).one()._asdict()
            connection.execute(
                insert(table), [row | {k: v(n) for k, v in changes.items()} for n in range(2, number + 1)]
            )

        copy(comments, id=lambda n: n, external_id=lambda n: f"c{n - 1}")
        copy(comment_versions, id=lambda n: n, comment_id=lambda n: n)
        copy(decisions, id=lambda n: n, comment_version_id=lambda n: n, public_id=lambda n: f"d_{n}")
        copy(queue_entries, id=lambda n: n, comment_id=lambda n: n, campaign=lambda _: None)
        copy(queue_reasons, id=lambda n: n, entry_id=lambda n: n)


def test_200_claims_by_16_moderators_decide_no_comment_twice_and_lose_none(open_store, site, put):
    """Sixteen at once, all taking the next one of 5,000.

    It fails when the update in ``entries.hold`` is not conditional: with ``is_free(moderator, now)`` taken out of its
    WHERE, several are given the same entry, and only the first verdict on it counts. Measured so, the 200 claims
    decided 93 comments on SQLite and 178 on PostgreSQL.
    """
    store = open_store(timeout_seconds=60)
    fill_queue(store, site, put, 5000)
    people = [store.people.add(f"Moderator {n}", site, "moderator", who="operator") for n in range(16)]
    claims = iter(range(200))
    turn, start = threading.Lock(), threading.Barrier(16)

    def work(moderator):
        done = []
        start.wait()
        while True:
            with turn:
                if next(claims, None) is None:
                    return done
            entry = store.queue.claim_next([site], moderator.row, sort="age")
            target = Target(entry.stored.decision.digest, entry=entry.row)
            judge = Judge(moderator.name, "review", moderator.row)
            done += [(entry.stored.id, store.verdicts.decide(site, judge, Judgement("approve"), [target])[0])]

    with ThreadPoolExecutor(16) as pool:
        done = [each for result in pool.map(work, people) for each in result]
    decided = Counter(comment for comment, verdict in done if getattr(verdict, "seen", None) is False)

    assert len(done) == 200
    assert set(decided.values()) == {1}
    assert len(decided) == 200
    assert store.queue.count([site]) == 4800
    moves = Counter(change.comment for change in store.logs.changes(site, limit=999) if change.change.old is not None)
    assert decided == moves
