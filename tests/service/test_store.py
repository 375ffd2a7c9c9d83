"""The store, on SQLite and on a real PostgreSQL: every test here runs on both."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.pool import _ConnectionFairy

from moderation.comment import Author, Comment, Decision, Neighbour, Post, Reason, Scores
from service.errors import CommentErased, InvalidSettings, NotFound, StoreBusy, StoreUnavailable
from service.store import Judged, Site, Store
from service.store import engine as connections
from service.store.context import MOST_RECENT
from service.store.tables import comments

POLICY = ("p" * 64, "# a policy\n")
SCORES = Scores(0.125, 0.25, None, 0.1, 0.01, 0.02, 0.03, 0.004321)
FACTS = {"links": 1, "domains": ["shop.example"]}


def judge(comment: Comment, action="publish", sent: Comment | None = None, known=()) -> Judged:
    reasons = (Reason("spam", 0.25, 0.9, False, "Spam: 0.250 is under the hold line."),)
    decision = Decision(action, SCORES, reasons, comment.digest(), "bundle-1", POLICY[0], "lexical", "A word to you.")
    return Judged(comment, (sent or comment).digest(), "h" * 64, decision, FACTS, tuple(known))


def record(store: Store, site: Site, comment: Comment, action="publish", **more):
    (result,) = store.record(site, [judge(comment, action, **more)], POLICY)
    return result


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


def full_comment(**changes) -> Comment:
    comment = Comment(
        text="Nice 👩‍👩‍👧 \u200bpost",
        id="c1",
        site="https://blog.example",
        kind="reply",
        author=Author("author-one", "Ann Öz", "https://ann.example"),
        post=Post("p1", "Title", "Text of the post", "https://blog.example/p1", ("tea", "milk")),
        parent=Neighbour("c0", "An earlier word"),
        thread=(Neighbour("c0", "An earlier word"), Neighbour(None, "Another")),
        lang="en",
        url="https://blog.example/p1#c1",
        created_at="2024-01-02",
        hints={"honeypot": False},
    )
    return replace(comment, **changes)


class TestSitesAndKeys:
    def test_a_site_is_made_once(self, store):
        first = store.add_site("https://blog.example")

        assert first == store.add_site("https://blog.example")
        assert [first] == store.sites()

    def test_several_keys_each_revocable_alone(self, store, site):
        store.add_key(site, "aaaaaaaa", "1" * 64)
        store.add_key(site, "bbbbbbbb", "2" * 64)

        assert store.revoke_key("aaaaaaaa") is True
        assert store.revoke_key("aaaaaaaa") is False
        assert store.revoke_key("cccccccc") is False
        assert (store.find_key("aaaaaaaa").revoked, store.find_key("aaaaaaaa").hash) == (True, "1" * 64)
        assert (False, site) == (store.find_key("bbbbbbbb").revoked, store.find_key("bbbbbbbb").site)
        assert store.find_key("cccccccc") is None
        assert [(key.prefix, key.revoked_at is None) for key in store.keys(site)] == [
            ("aaaaaaaa", False),
            ("bbbbbbbb", True),
        ]
        assert store.keys(store.add_site("https://other.example")) == []


class TestRecord:
    def test_what_was_decided_comes_back_as_it_was(self, store, site):
        stored = record(store, site, full_comment(), "hold")
        found = store.find_decision(site, stored.decision.decision_id)

        assert stored.decision == found.decision
        assert (found.id, found.site, found.status) == ("c1", "https://blog.example", "held")
        assert {"c1": found} == store.find_comments(site, ["c1", "c2"])
        assert POLICY[1] == store.policy_toml(POLICY[0])

    def test_the_judged_comment_and_its_facts_are_rebuilt_exactly(self, store, site):
        comment = full_comment()
        stored = record(store, site, comment)

        assert (comment, FACTS) == store.judged_comment(stored.decision.decision_id)

    @pytest.mark.parametrize(
        "comment",
        [
            Comment("x", site="https://blog.example"),
            Comment("x", site="https://blog.example", thread=()),
            Comment("x", site="https://blog.example", post=Post("only-an-id")),
            Comment("x", site="https://blog.example", post=Post(None, "No id", None, None, ("t",))),
            Comment("x", site="https://blog.example", parent=Neighbour("gone"), author=Author(None, "Name")),
            Comment("\u202e😀\u0301" * 16_000, site="https://blog.example"),
        ],
        ids=["bare", "empty thread", "post id", "post without id", "parent id", "long and odd"],
    )
    def test_sparse_comments_are_rebuilt_exactly_too(self, store, site, comment):
        stored = record(store, site, comment)

        assert comment == store.judged_comment(stored.decision.decision_id)[0]

    def test_the_same_comment_again_gives_the_stored_decision(self, store, site):
        first = record(store, site, full_comment(), "hold")
        again = record(store, site, full_comment(), "publish")

        assert again.seen is True
        assert (first.decision, "held") == (again.decision, again.status)

    def test_changed_text_is_a_new_version_with_a_new_decision(self, store, site):
        first = record(store, site, full_comment())
        second = record(store, site, full_comment(text="Something else"), "reject")

        assert (second.seen, second.status) == (False, "rejected")
        assert first.decision.decision_id != second.decision.decision_id
        assert second.decision == store.find_comments(site, ["c1"])["c1"].decision
        assert first.decision == store.find_decision(site, first.decision.decision_id).decision
        assert full_comment() == store.judged_comment(first.decision.decision_id)[0]

    def test_text_changed_back_is_judged_anew(self, store, site):
        """Or the status of the version between would stick to a text it was never set for."""
        record(store, site, full_comment(), "publish")
        record(store, site, full_comment(text="Something else"), "reject")
        third = record(store, site, full_comment(), "publish")

        assert (third.seen, third.status) == (False, "published")

    def test_without_an_id_every_comment_is_new(self, store, site):
        results = [record(store, site, Comment("The same", site=site.url)) for _ in range(2)]

        assert results[0].decision.decision_id != results[1].decision.decision_id

    def test_the_same_id_on_another_site_is_another_comment(self, store, site):
        other = store.add_site("https://other.example")
        mine = record(store, site, full_comment())
        record(store, other, full_comment(site=other.url), "reject")

        assert store.find_comments(site, ["c1"])["c1"].status == "published"
        with pytest.raises(NotFound):
            store.find_decision(other, mine.decision.decision_id)

    def test_every_status_has_its_log_row_and_no_change_has_none(self, store, site):
        record(store, site, full_comment(), "hold")
        record(store, site, full_comment(text="2"), "hold")
        record(store, site, full_comment(text="3"), "publish")
        changes = store.status_changes(site, "c1")

        assert [(c.old, c.new, c.who) for c in changes] == [(None, "held", "model"), ("held", "published", "model")]
        assert changes[0].at.tzinfo is not None
        assert changes[0].at <= changes[1].at

    def test_a_batch_is_kept_whole_in_order_and_knows_its_own_twins(self, store, site):
        texts = ["z", "a", "m", "a"]
        batch = [judge(Comment(text, id=text, site=site.url)) for text in texts]
        results = store.record(site, batch, POLICY)

        assert texts == [result.id for result in results]
        assert [result.seen for result in results] == [False, False, False, True]
        assert results[1].decision == results[3].decision

    def test_of_one_id_in_a_batch_the_last_counts_whatever_the_post(self, store, site):
        texts = {"first": Post("p9"), "second": Post("p1"), "third": Post("p5"), "fourth": None}
        batch = [judge(Comment(text, id="c1", site=site.url, post=post)) for text, post in texts.items()]
        results = store.record(site, [*batch, judge(Comment("other", id="c0", site=site.url))], POLICY)

        assert results[3].decision == store.find_comments(site, ["c1"])["c1"].decision

    @pytest.mark.parametrize("text", ["old", "new"])
    def test_a_comment_that_is_not_taken_changes_no_post(self, store, site, text):
        """Neither one that was erased nor one that was seen before says anything new of its post."""
        is_erased = text == "new"
        comment = Comment("old", id="c1", site=site.url, post=Post("p1", "First title"))
        record(store, site, comment)
        record(store, site, Comment("x", id="c2", site=site.url, post=Post("p1", "Second title")))
        if is_erased:
            store.erasure.erase_comment(site, "c1", who="site")
        result = record(store, site, replace(comment, text=text))

        assert isinstance(result, CommentErased) if is_erased else result.seen
        assert store.context(site, [Comment("x", post=Post("p1"))])[0].post.title == "Second title"

    def test_a_batch_that_fails_keeps_nothing(self, store, site):
        good = judge(Comment("a", id="a", site=site.url))
        bad = replace(good, comment=Comment("b", id="b", site=site.url), text_hash=None, sent_digest=None)
        with pytest.raises(Exception, match="sent_digest"):
            store.record(site, [good, bad], POLICY)

        assert store.find_comments(site, ["a", "b"]) == {}

    def test_threads_that_race_get_one_decision(self, store, site):
        """Sixteen clients send the same comment at the same moment."""
        start = threading.Barrier(16)

        def send(_):
            start.wait()
            return record(store, site, full_comment())

        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(send, range(16)))

        assert len({result.decision.decision_id for result in results}) == 1
        assert sorted(result.seen for result in results) == [False] + [True] * 15
        assert len(store.status_changes(site, "c1")) == 1

    def test_threads_that_race_with_different_texts_lose_none(self, store, site):
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda n: record(store, site, full_comment(text=f"text {n}")), range(24)))
        rebuilt = {store.judged_comment(result.decision.decision_id)[0].text for result in results}

        assert {f"text {n}" for n in range(24)} == rebuilt

    def test_batches_that_cross_each_other_both_get_through(self, store, site):
        def send(turn):
            names = [f"c{n}" for n in range(20)]
            # Every post is new to everyone, and both sides meet it from another end.
            posts = {name: Post(f"p{int(name[1:]) * 7 % 5}", "Title") for name in names}
            order = names if turn % 2 else reversed(names)
            batch = [Comment(name, id=name, site=site.url, post=posts[name]) for name in order]
            return store.record(site, [judge(comment) for comment in batch], POLICY)

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(send, range(12)))

        assert len({stored.decision.decision_id for result in results for stored in result}) == 20

    def test_do_not_store_keeps_nothing_that_was_written(self, store, site, dump):
        comment = full_comment(do_not_store=True)
        first = record(store, site, comment, "reject")

        assert store.judged_comment(first.decision.decision_id) is None
        assert first.decision == record(store, site, comment).decision
        words = [
            "Nice 👩",
            "Ann Öz",
            "ann.example",
            "author-one",
            "shop.example",
            "Text of the post",
            "earlier word",
            "Another",
        ]
        assert [word for word in words if word in dump()] == []

    def test_the_text_of_a_post_is_kept_once(self, store, site, dump):
        for n in range(5):
            record(store, site, full_comment(id=f"c{n}", text=f"text {n}"))

        assert dump().count("Text of the post") == 1


class TestContext:
    def test_a_post_is_remembered_by_its_id(self, store, site):
        record(store, site, full_comment())
        later = Comment("x", site=site.url, post=Post("p1"))
        (context,) = store.context(site, [later])

        assert full_comment().post == context.post

    def test_the_last_word_on_a_post_counts_and_an_id_alone_says_nothing(self, store, site):
        record(store, site, full_comment())
        record(store, site, full_comment(id="c2", post=Post("p1", "New title")))
        record(store, site, full_comment(id="c3", post=Post("p1")))

        assert Post("p1", "New title") == store.context(site, [Comment("x", post=Post("p1"))])[0].post

    def test_another_site_sees_nothing_of_it(self, store, site):
        record(store, site, full_comment())
        other = store.add_site("https://other.example")
        wanted = Comment("x", post=Post("p1"), parent=Neighbour("c1"), author=Author("author-one"))
        (context,) = store.context(other, [wanted])

        assert (context.post, context.parent, context.thread, context.author_published) == (None, None, (), 0)

    def test_the_thread_is_the_last_twenty_published_before_it(self, store, site):
        for n in range(25):
            record(store, site, full_comment(id=f"c{n}", text=f"text {n}"), "hold" if n == 22 else "publish")
        expected = [f"text {n}" for n in range(4, 25) if n != 22]
        (context,) = store.context(site, [Comment("x", id="new", post=Post("p1"))])

        assert expected == [known.neighbour.text for known in context.thread]

    def test_an_edited_comment_keeps_its_place_in_the_thread(self, store, site):
        for n in range(4):
            record(store, site, full_comment(id=f"c{n}", text=f"text {n}"))
        (context,) = store.context(site, [Comment("edited", id="c2", post=Post("p1"))])

        assert [known.neighbour.text for known in context.thread] == ["text 0", "text 1"]

    def test_a_thread_that_the_site_sent_is_left_alone(self, store, site):
        record(store, site, full_comment())

        assert store.context(site, [Comment("x", post=Post("p1"), thread=())])[0].thread == ()

    def test_a_parent_is_found_by_its_id_also_while_it_is_held(self, store, site):
        record(store, site, full_comment(), "hold")
        (context,) = store.context(site, [Comment("x", parent=Neighbour("c1"))])

        assert Neighbour("c1", full_comment().text) == context.parent.neighbour

    def test_an_author_is_known_by_id_for_what_was_published_before(self, store, site):
        record(store, site, full_comment(id="c1"), "publish")
        record(store, site, full_comment(id="c2"), "reject")
        record(store, site, full_comment(id=None), "publish")
        record(store, site, full_comment(id="c3", do_not_store=True), "publish")
        again = Comment("x", id="c1", author=Author("author-one"))
        contexts = store.context(
            site, [Comment("x", author=Author("author-one")), again, Comment("x", author=Author(name="Ann Öz"))]
        )

        assert [context.author_published for context in contexts] == [2, 1, None]

    def test_what_came_in_lately_is_counted_within_each_span_up_to_the_most(self, store, site):
        now = store.now()
        store._now = lambda: now
        # Half a minute, half an hour and half a day ago; what is exactly as old as a span is no longer within it.
        ages = [30] * 20 + [60] * 3 + [1_800] * 40 + [3_600] * 5 + [43_200] * (MOST_RECENT - 30) + [86_400] * 7
        row = {"site_id": site.row, "status": "held", "version": 1, "author_id": "author-one", "updated_at": now}
        with connections.writing(store._engine) as connection:
            connection.execute(insert(comments), [row | {"created_at": now - timedelta(seconds=age)} for age in ages])
        (context,) = store.context(site, [Comment("x", author=Author("author-one"))])

        assert context.site_recent == context.author_recent == (20, 63, MOST_RECENT)

    def test_one_view_answers_what_several_ask(self, store, site):
        stored = record(store, site, full_comment())
        other = store.add_site("https://other.example")
        with store.view(site) as view:
            known = view.comments(["c1", "c2"])
            again = view.comments(["c2", "c1"])
            contexts = view.context(
                [Comment("x", id="c1", post=Post("p1")), Comment("x", id="c2", post=Post("p1"))], [(), ()]
            )
        with store.view(other) as view:
            elsewhere = view.comments(["c1"])

        assert known == again == {"c1": stored}
        assert [len(context.thread) for context in contexts] == [0, 1]
        assert [context.site_recent for context in contexts] == [(0, 0, 0), (1, 1, 1)]
        assert elsewhere == {}


class TestErase:
    def test_text_and_author_are_gone_everywhere_and_the_log_says_so(self, store, site, dump, tmp_path):
        secret = full_comment(text="Secret words", thread=None, parent=None)
        stored = record(store, site, secret)
        record(store, site, replace(secret, text="More of Secret words"))
        (context,) = store.context(site, [Comment("x", id="c9", post=Post("p1"), parent=Neighbour("c1"))])
        neighbours = tuple(known.neighbour for known in context.thread)
        filled = full_comment(id="c9", author=None, thread=neighbours, parent=context.parent.neighbour)
        record(store, site, filled, known=(*context.thread, context.parent))
        sent = Neighbour("c1", "More of Secret words")
        record(store, site, full_comment(id="c10", author=None, thread=(sent,), parent=sent))
        before = dump()
        store.erasure.erase_comment(site, "c1", who="site")
        store.close()
        left = dump()

        assert tuple(neighbour.text for neighbour in neighbours) == ("More of Secret words",)
        for word in ("Secret words", "Ann Öz", "ann.example", "author-one"):
            assert word in before.encode().decode("unicode_escape") or word in before
            assert word not in left
        assert all(b"Secret words" not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
        assert [(c.old, c.new, c.who) for c in store.status_changes(site, "c1")][-1] == ("published", "erased", "site")
        assert store.judged_comment(stored.decision.decision_id) is None
        assert replace(stored.decision, digest="") == store.find_decision(site, stored.decision.decision_id).decision

    def test_nothing_is_left_by_which_a_short_text_could_be_guessed(self, store, site, dump):
        """The digests have no key: with the database in hand, one could try every short comment."""
        comment = full_comment(
            text="Yes", kind="secret-kind", lang="secret-language", parent=Neighbour("secret-parent")
        )
        stored = record(store, site, comment, sent=full_comment(text="Yes."))
        store.erasure.erase_comment(site, "c1", who="site")
        left = dump()

        words = (
            comment.digest(),
            full_comment(text="Yes.").digest(),
            "h" * 64,
            "secret-kind",
            "secret-language",
            "secret-parent",
        )
        assert [word for word in words if word in left] == []
        assert store.find_decision(site, stored.decision.decision_id).decision.scores == stored.decision.scores

    @pytest.mark.parametrize("text", ["Nice secret", "An edit"], ids=["sent again", "edited"])
    def test_do_not_store_also_forgets_what_was_kept_before(self, store, site, dump, tmp_path, text):
        author = Author("author-1", "Ann Öz", "https://ann.example")
        secret = full_comment(text="Nice secret", author=author, thread=None, parent=None, post=None)
        first = record(store, site, secret, "hold")
        quoted = Neighbour("c1", "Nice secret")
        record(store, site, Comment("x", id="c2", site=site.url, thread=(quoted,), parent=quoted))
        again = record(store, site, replace(secret, text=text, do_not_store=True), "reject")
        found = store.find_comments(site, ["c1"])["c1"]
        assert store.context(site, [Comment("x", author=author)])[0].author_published == 0
        store.close()
        left = dump()

        assert (again.seen, again.status) == ((True, "held") if text == secret.text else (False, "rejected"))
        assert again.decision == found.decision
        assert store.judged_comment(first.decision.decision_id) is None
        assert [word for word in ("secret", "Ann Öz", "ann.example", "author-1") if word in left] == []
        assert left.count("shop.example") == 1  # of the other comment
        assert all(b"Nice secret" not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
        assert record(store, site, replace(secret, text=text, do_not_store=True)).decision == again.decision

    def test_an_erasure_that_is_committed_never_fails_after_all(self, store, site, monkeypatch, caplog):
        """Only the journal of SQLite stays uncut, which is said in the log."""
        record(store, site, full_comment())
        if store._engine.dialect.name != "sqlite":
            pytest.skip("there is no such journal")

        class Failing:
            def execute(self, _query):
                raise sqlite3.OperationalError("database table is locked")

        monkeypatch.setattr(_ConnectionFairy, "driver_connection", Failing())
        store.erasure.erase_comment(site, "c1", who="site")
        monkeypatch.undo()

        assert store.find_comments(site, ["c1"])["c1"].status == "erased"
        assert "journal" in caplog.text

    def test_a_comment_judged_beside_an_erased_one_cannot_be_replayed(self, store, site):
        record(store, site, full_comment(id="c1", thread=None, parent=None))
        (context,) = store.context(site, [Comment("x", id="c2", parent=Neighbour("c1"))])
        reply = Comment("x", id="c2", site=site.url, parent=context.parent.neighbour)
        stored = record(store, site, reply, known=[context.parent])

        assert reply == store.judged_comment(stored.decision.decision_id)[0]
        store.erasure.erase_comment(site, "c1", who="site")
        assert store.judged_comment(stored.decision.decision_id) is None

    def test_what_a_site_still_sends_along_of_it_is_not_kept_again(self, store, site, dump):
        """As of a neighbour that was erased between scoring and keeping."""
        record(store, site, full_comment(text="Secret words", thread=None, parent=None))
        store.erasure.erase_comment(site, "c1", who="site")
        sent, other = Neighbour("c1", "Secret words"), Neighbour("c0", "Words of somebody else")
        record(store, site, full_comment(id="c2", author=None, thread=(other, sent), parent=sent))
        record(store, site, full_comment(id="c3", author=None, thread=(sent,), parent=other))

        assert "Secret words" not in dump()
        assert dump().count("Words of somebody else") == 2

    def test_twice_is_no_error_and_unknown_is_not_found(self, store, site):
        record(store, site, full_comment())
        store.erasure.erase_comment(site, "c1", who="site")
        store.erasure.erase_comment(site, "c1", who="site")

        assert len(store.status_changes(site, "c1")) == 2
        with pytest.raises(NotFound):
            store.erasure.erase_comment(site, "nothing", who="site")

    def test_writers_that_read_first_wait_for_each_other(self, store, site):
        """A SQLite transaction that begins as a read fails at its first write instead of waiting."""
        for n in range(24):
            record(store, site, full_comment(id=f"c{n}"))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: store.erasure.erase_comment(site, f"c{n}", who="site"), range(24)))

        assert {"erased"} == {
            stored.status for stored in store.find_comments(site, [f"c{n}" for n in range(24)]).values()
        }

    def test_erased_stays_erased(self, store, site):
        record(store, site, full_comment())
        store.erasure.erase_comment(site, "c1", who="site")

        assert isinstance(record(store, site, full_comment()), CommentErased)
        assert isinstance(record(store, site, full_comment(text="New")), CommentErased)
        assert "New" not in str(store.judged_comment(store.find_comments(site, ["c1"])["c1"].decision.decision_id))


class TestFaults:
    def test_an_unreadable_url_is_a_setting_error(self):
        with pytest.raises(InvalidSettings, match="MODERATION_DATABASE_URL"):
            Store("sqlite:no")

    def test_a_locked_database_is_busy_and_recovers(self, open_store, database_url):
        store = open_store(timeout_seconds=0.3)
        site = store.add_site("https://blog.example")
        record(store, site, full_comment())
        engine = create_engine(database_url)
        with engine.connect() as connection:
            is_sqlite = engine.dialect.name == "sqlite"
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "LOCK TABLE comments")
            with pytest.raises(StoreBusy, match="try again"):
                record(store, site, full_comment(id="c2"))
            connection.rollback()
        engine.dispose()

        assert record(store, site, full_comment(id="c2")).status == "published"

    def test_a_read_only_database_answers_questions_and_says_what_is_wrong(self, open_store, database_url):
        writable = open_store()
        record(writable, writable.add_site("https://blog.example"), full_comment())
        writable.close()
        if database_url.startswith("sqlite"):
            path = database_url.removeprefix("sqlite:///")
            url = f"sqlite:///file:{path}?mode=ro&uri=true"
        else:
            url = f"{database_url}&options=-c%20default_transaction_read_only%3Don"
        store = Store(url)
        store.migrate()
        (site,) = store.sites()

        assert store.find_comments(site, ["c1"])["c1"].status == "published"
        with pytest.raises(StoreUnavailable, match="read-only"):
            record(store, site, full_comment(id="c2"))
        store.close()

    def test_a_database_that_is_away_is_unavailable(self, tmp_path, database_url):
        away = f"sqlite:///{tmp_path}/no/such/folder/x.db"
        if not database_url.startswith("sqlite"):
            away = "postgresql+psycopg://nobody@127.0.0.1:9/none"
        store = Store(away, timeout_seconds=0.2)
        for act in (store.ping, store.migrate, store.sites):
            with pytest.raises(StoreUnavailable):
                act()
        store.close()

    def test_a_file_that_is_no_database_is_refused_and_kept(self, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_text("my shopping list " * 100)
        store = Store(f"sqlite:///{path}")
        with pytest.raises(StoreUnavailable, match="not an SQLite database"):
            store.migrate()
        store.close()

        assert path.read_text().startswith("my shopping list")

    def test_bugs_stay_bugs(self, database_url):
        """A missing table is no reason to tell callers to try again."""
        store = Store(database_url)
        with pytest.raises(Exception, match="sites") as caught:
            store.sites()
        store.close()

        assert not isinstance(caught.value, StoreUnavailable | StoreBusy)
