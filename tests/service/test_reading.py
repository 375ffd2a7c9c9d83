"""What pages read around a comment. On both databases."""

from __future__ import annotations

import pytest

from moderation.comment import Neighbour
from service.errors import EntryTaken, NotFound
from service.priority import measure
from service.store import Judge, Judgement, QueueFilter, Target


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def other(store):
    return store.add_site("https://news.example")


@pytest.fixture
def ada(store, site):
    return Judge("Ada", "review", store.people.add("Ada", site, "moderator", who="operator").row)


def find(store, site, comment_id):
    return store.reading.place_of_id([site], comment_id)


class TestPlaces:
    def test_what_is_on_another_site_is_not_there(self, store, site, other, put):
        put(site, "c1", post="p1")
        place = find(store, site, "c1")

        assert (place.site, place.id, place.status) == (site.url, "c1", "held")
        assert store.reading.place([site, other], place.row) == place
        assert store.reading.place_of_entry([site], place.entry) == place
        reads = (
            lambda: store.reading.place([other], place.row),
            lambda: store.reading.place_of_entry([other], place.entry),
            lambda: store.reading.place_of_id([other], "c1"),
            lambda: store.reading.surroundings([other], place.row),
            lambda: store.reading.history([other], place.row),
            lambda: store.reading.post([other], store.reading.posts([site])[0].row),
            lambda: store.queue.find([other], place.entry),
        )
        for read in reads:
            with pytest.raises(NotFound):
                read()
        assert store.reading.posts([other]) == []

    def test_an_entry_is_found_while_it_waits(self, store, site, put, ada):
        stored = put(site, "c1")
        entry = find(store, site, "c1").entry
        assert store.queue.find([site], entry).text == "The words of c1"
        store.verdicts.decide(site, ada, Judgement("approve"), [Target(stored.decision.digest, "c1")])

        with pytest.raises(EntryTaken, match="decided"):
            store.queue.find([site], entry)
        assert find(store, site, "c1").entry is None
        assert store.reading.place_of_entry([site], entry).id == "c1"

    def test_what_waits_is_counted_by_filter(self, store, site, put):
        put(site, "c1", "About bread", author="ann")
        put(site, "c2", "About trains", author="ben")

        assert store.queue.count([site]) == 2
        assert store.queue.count([site], QueueFilter(author="ann")) == 1
        assert store.queue.count([site], QueueFilter(text="TRAINS")) == 1


class TestSurroundings:
    def test_post_parent_neighbours_and_the_authors_past(self, store, site, other, put):
        for n in range(4):
            put(site, f"before {n}", action="publish", score=0.1, post="p1", author="ben")
        put(site, "hidden", action="reject", score=0.99, post="p1", author="ann")
        put(site, "c1", post="p1", author="ann", parent=Neighbour("before 0", "What was answered"))
        put(site, "after", action="publish", score=0.1, post="p1", author="ann")
        put(site, "elsewhere", action="publish", score=0.1, post="p2")
        put(other, "theirs", action="publish", score=0.1, author="ann")
        around = store.reading.surroundings([site], find(store, site, "c1").row)

        assert (around.post.id, around.post.title) == ("p1", "Title of p1")
        assert (around.parent_id, around.parent_text) == ("before 0", "What was answered")
        assert around.parent_row == find(store, site, "before 0").row
        assert [each.id for each in around.before] == ["before 2", "before 3"]
        assert [each.id for each in around.after] == ["after"]
        assert around.past.counts == {"rejected": 1, "published": 1}
        assert [each.id for each in around.past.last] == ["after", "hidden"]
        assert (around.version, around.appeals, around.reports) == (1, (), ())

    def test_without_an_author_or_a_post_nothing_is_guessed(self, store, site, put):
        put(site, None, "Nobody said this")
        put(site, "c1")
        around = store.reading.surroundings([site], find(store, site, "c1").row)

        assert (around.past, around.post, around.before, around.after, around.parent_row) == (None, None, (), (), None)

    def test_what_readers_and_the_author_said(self, store, site, put):
        put(site, "c1", action="reject", score=0.99)
        store.readers.appeal(site, "c1", "It is a quotation.", measure=measure)
        for reader, category in (("a", "spam"), ("b", "spam"), ("c", None)):
            store.readers.report(site, "c1", reader * 64, category, reopen_at=3, measure=measure)
        around = store.reading.surroundings([site], find(store, site, "c1").row)

        assert [(each.text, each.outcome, each.version) for each in around.appeals] == [("It is a quotation.", None, 1)]
        assert around.reports == (("spam", 2), (None, 1))


class TestHistory:
    def test_versions_decisions_verdicts_and_statuses_in_order(self, store, site, put, ada):
        first = put(site, "c1", "Old words", "hold", post="p1")
        (verdict,) = store.verdicts.decide(
            site, ada, Judgement("reject", ("spam",), "A note"), [Target(first.decision.digest, "c1")]
        )
        store.verdicts.undo(site, verdict.id, "Ada")
        second = put(site, "c1", "New words", "publish", score=0.1, post="p1")
        history = store.reading.history([site], find(store, site, "c1").row)

        assert [(each.number, each.text) for each in history.versions] == [(1, "Old words"), (2, "New words")]
        assert [each.decisions[0][0] for each in history.versions] == [first.decision, second.decision]
        assert history.versions[0].post_title == "Title of p1"
        assert [(each.moderator, each.note, each.undone_by) for each in history.verdicts] == [("Ada", "A note", "Ada")]
        assert [(each.new, each.who) for each in history.changes] == [
            ("held", "model"),
            ("rejected", "Ada"),
            ("held", "Ada"),
            ("published", "model"),
        ]
        assert store.reading.text_read(history.place.row, first.decision.digest) == "Old words"
        assert store.reading.text_read(history.place.row, "0" * 64) is None

    def test_what_was_erased_is_a_history_without_words(self, store, site, put):
        put(site, "c1", "Secret words", author="ann", post="p1")
        store.erasure.erase_comment(site, "c1", who="site")
        row = find(store, site, "c1").row
        history = store.reading.history([site], row)

        assert history.place.status == "erased"
        assert [each.text for each in history.versions] == [None]
        assert store.reading.surroundings([site], row).past is None


class TestPosts:
    def test_posts_have_counts_and_come_in_pages(self, store, site, other, put):
        put(site, "c1", post="p1", action="publish", score=0.1)
        put(site, "c2", post="p1")
        put(site, "c3", post="p2")
        put(other, "c4", post="p1")
        newest, oldest = store.reading.posts([site])

        assert (newest.id, oldest.id, oldest.post.title, oldest.site) == ("p2", "p1", "Title of p1", site.url)
        assert (oldest.counts, oldest.waiting) == ({"published": 1, "held": 1}, 1)
        assert [each.row for each in store.reading.posts([site], limit=1)] == [newest.row]
        assert store.reading.posts([site], before=newest.row) == [oldest]
        assert store.reading.post([site], oldest.row) == oldest
        assert len(store.reading.posts([site, other])) == 3

    def test_comments_of_a_post_come_in_order_and_without_what_was_erased(self, store, site, put):
        for n, action in enumerate(("publish", "hold", "reject", "publish")):
            put(site, f"c{n}", action=action, score=0.1, post="p1")
        put(site, "elsewhere", post="p2")
        store.erasure.erase_comment(site, "c3", who="site")
        row = store.reading.posts([site])[-1].row
        found = store.reading.of_post(row)

        assert [each.id for each in found] == ["c0", "c1", "c2"]
        assert [each.entry is not None for each in found] == [False, True, False]
        assert [each.id for each in store.reading.of_post(row, status="held")] == ["c1"]
        assert [each.id for each in store.reading.of_post(row, after=found[0].row, limit=1)] == ["c1"]
