"""What a page of the queue is told while others work: by the store on both databases, and to many at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.queue_news import (
    Desk,
    Fresh,
    Held,
    Missed,
    Moved,
    QueueNews,
    Quiet,
    Waiting,
    read_cursors,
    write_cursors,
)
from service.store import AuditDraw, Cursor, Judge, Judgement, QueueFilter, Target, Touched

COPY = "Best prices for replica watches, order today and save, my friend number "
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def other(store):
    return store.add_site("https://news.example")


@pytest.fixture
def ada(store, site):
    return store.people.add("Ada", site, "moderator", who="operator")


@pytest.fixture
def say(store):
    """Gives Ben's verdict on a comment."""

    def say_one(site, comment_id, action="approve"):
        digest = store.find_comments(site, [comment_id])[comment_id].decision.digest
        judge = Judge("Ben", "review", None)
        return store.verdicts.decide(site, judge, Judgement(action), [Target(digest, comment=comment_id)])[0]

    return say_one


@pytest.fixture
def entry_of(store, site):
    return lambda comment_id: store.reading.place_of_id([site], comment_id).entry


class Reader:
    """Reads what has happened on a site from where it is."""

    def __init__(self, store, site) -> None:
        self.store, self.site = store, site
        self.cursor = store.news.cursors([site])[site.row]

    def read(self, limit=100):
        after, self.cursor = self.cursor, self.store.news.look([self.site])[self.site.row].cursor
        return self.store.news.touched(self.site, after, self.cursor, limit=limit)


@pytest.fixture
def reader(store, site):
    return Reader(store, site)


class TestStore:
    def test_a_look_sees_what_waits_the_newest_and_who_holds_what(self, store, site, other, put, ada, entry_of):
        assert store.news.look([site, other])[other.row].waiting == 0
        for n in range(3):
            put(site, f"c{n}")
        put(site, "fine", action="publish", score=0.1)
        put(other, "theirs")
        for n, holder in enumerate([ada.row, "Zoe on the site's own page"]):
            store.queue.claim([site], entry_of(f"c{n}"), holder)
        store.queue.claim([site], entry_of("c2"), "Yan", seconds=-1.0)
        seen = store.news.look([site, other])
        newest = store.queue.find([site], entry_of("c2")).opened_at

        assert (seen[site.row].waiting, seen[other.row].waiting) == (3, 1)
        assert seen[site.row].opened == newest
        assert seen[site.row].held == ((entry_of("c0"), "Ada"), (entry_of("c1"), "Zoe on the site's own page"))
        assert seen[other.row].held == ()
        assert {row: sight.cursor for row, sight in seen.items()} == store.news.cursors([site, other])

    def test_verdicts_and_undoing_are_told_also_where_the_status_stays(self, store, site, put, say, entry_of):
        put(site, "held")
        # Published, and drawn for an audit: an approval changes no status.
        put(site, "drawn", action="publish", score=0.1, limit=0.5, draw=AuditDraw("publish", 0.01, "s", 0.01))
        reader, held, drawn = Reader(store, site), entry_of("held"), entry_of("drawn")
        say(site, "held", "reject")
        approved = say(site, "drawn")
        assert reader.read() == (Touched(held, "decided", "Ben", "reject"), Touched(drawn, "decided", "Ben", "approve"))
        store.verdicts.undo(site, approved.id, "Ada")
        assert reader.read() == (Touched(drawn, "waits"),)
        assert reader.read() == ()

    def test_what_was_erased_or_edited_away_is_told_and_other_sites_are_not(
        self, store, site, other, put, say, reader, entry_of
    ):
        put(site, "erased")
        put(site, "edited")
        put(other, "theirs")
        assert {each.state for each in reader.read()} == {"waits"}
        say(other, "theirs")
        gone = entry_of("edited")
        erased = entry_of("erased")
        store.erasure.erase_comment(site, "erased", who="site")
        put(site, "edited", "Only kind words", action="publish", score=0.01)
        assert set(reader.read()) == {Touched(erased, "erased"), Touched(gone, "gone")}

    def test_too_much_is_none(self, site, put, say, reader):
        for n in range(4):
            put(site, f"c{n}")
            say(site, f"c{n}")
        assert reader.read(limit=3) is None
        assert reader.read(limit=3) == ()

    def test_what_came_in_is_what_the_list_would_show(self, store, site, other, put, entry_of, say):
        put(site, "old", COPY + "one")
        since = datetime.now(UTC)
        put(site, "copy", COPY + "two")  # nearly the same as one that is in the list
        put(site, "new", author="mara")
        put(site, "done")
        say(site, "done")
        put(other, "theirs")

        def fresh(sites, wanted=None, since=since, limit=100):
            return store.news.fresh(sites, wanted or QueueFilter(), since, limit=limit)

        assert fresh([site]) == (entry_of("new"),)
        assert len(fresh([site, other])) == 2
        assert fresh([site], QueueFilter(author="mara")) == (entry_of("new"),)
        assert fresh([site], QueueFilter(author="tom")) == ()
        assert fresh([site], since=LONG_AGO) == (entry_of("old"), entry_of("new"))
        assert fresh([site], since=LONG_AGO, limit=1) == (entry_of("old"),)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestFollow:
    """Of the process: the store's part is tested on both databases above."""

    @pytest.fixture
    def desk(self, site):
        return Desk((site,), QueueFilter(), datetime.now(UTC) - timedelta(seconds=2), "Ada")

    def follow(self, store, work, *desks, **options):
        """What each desk is told while ``work(told)`` goes on."""

        async def run():
            closing = asyncio.Event()
            news = QueueNews(store, closing, look_seconds=0.01, **options)
            told = [[] for _ in desks]

            async def listen(desk, mine):
                async with aclosing(news.follow(desk, {})) as items:
                    async for item in items:
                        mine.append(item)

            tasks = [asyncio.create_task(listen(*each)) for each in zip(desks, told, strict=True)]
            tasks.append(asyncio.create_task(news.run()))
            async with asyncio.timeout(20):
                await until(lambda: all(told))
                await work(told)
                closing.set()
                await asyncio.gather(*tasks)
            assert not news._watch.listeners
            assert not news._reads
            return told

        return asyncio.run(run())

    def test_one_is_told_how_things_are_and_then_what_happens(self, store, site, put, ada, say, desk, entry_of):
        put(site, "c1")
        first = entry_of("c1")

        async def work(told):
            await until(lambda: len(told[0]) == 3)
            put(site, "c2")
            await until(lambda: Waiting(2, 2) in told[0])
            store.queue.claim([site], first, "Ben")
            store.queue.claim([site], entry_of("c2"), ada.row)
            await until(lambda: Held({first: "Ben"}) in told[0])
            say(site, "c1")
            await until(lambda: told[0][-1] == Waiting(1, 1))

        (told,) = self.follow(store, work, desk)
        second = entry_of("c2")

        assert told[:3] == [Fresh((first,)), Held({}), Waiting(1, 1)]
        assert [item.entries for item in told if isinstance(item, Fresh)] == [(first,), (first, second)]
        assert [item.entries for item in told if isinstance(item, Moved)] == [
            (Touched(second, "waits"),),
            (Touched(first, "decided", "Ben", "approve"),),
        ]
        assert [item.entries for item in told if isinstance(item, Held)] == [{}, {first: "Ben"}, {}]

    def test_a_filter_counts_for_what_comes_in_and_how_many_fit(self, store, site, put, desk):
        async def work(told):
            put(site, "c1", author="mara")
            put(site, "c2", author="tom")
            await until(lambda: Waiting(2, 1) in told[0])

        (told,) = self.follow(store, work, replace(desk, wanted=QueueFilter(author="mara")))

        assert len([item for item in told if isinstance(item, Fresh)][-1].entries) == 1

    def test_many_who_listen_cost_one_look_and_one_read(self, store, site, put, say, desk, monkeypatch):
        for n in range(3):
            put(site, f"c{n}")
        looks, reads = [], []
        really_look, really_read = store.news.look, store.news.touched
        monkeypatch.setattr(store.news, "look", lambda sites: looks.append(1) or really_look(sites))
        monkeypatch.setattr(store.news, "touched", lambda *a, **more: reads.append(1) or really_read(*a, **more))

        async def work(told):
            await until(lambda: all(Waiting(3, 3) in mine for mine in told))
            say(site, "c1")
            await until(lambda: all(Waiting(2, 2) in mine for mine in told))
            before = len(looks)
            await asyncio.sleep(0.2)
            assert len(looks) - before < 25, "not one for each of them"

        told = self.follow(store, work, *[desk] * 30)

        assert len(reads) == 1
        assert all(sum(isinstance(item, Moved) for item in mine) == 1 for mine in told)

    def test_nothing_is_said_to_be_nothing_and_too_much_ends_it(self, store, site, put, say, desk, monkeypatch):
        monkeypatch.setattr("service.queue_news._MOST_TOUCHED", 2)

        async def work(told):
            await until(lambda: Quiet() in told[0])
            for n in range(4):
                put(site, f"c{n}")
                say(site, f"c{n}")
            await until(lambda: told[0][-1] == Missed())

        self.follow(store, work, desk, heartbeat_seconds=0.2)

    def test_where_a_look_takes_long_it_is_rare(self, store, desk, monkeypatch):
        looks = []
        really = store.news.look

        def look(sites):
            looks.append(datetime.now(UTC))
            time.sleep(0.02)
            return really(sites)

        monkeypatch.setattr(store.news, "look", look)

        async def work(_told):
            await asyncio.sleep(0.6)

        self.follow(store, work, desk)

        assert len(looks) <= 3, "a fiftieth of the time at most"


async def until(ask) -> None:
    while not ask():  # noqa: ASYNC110  # what is waited for is in a list
        await asyncio.sleep(0.01)


def test_cursors_are_written_and_read_back():
    cursors = {3: Cursor(12, 7), 1: Cursor(0, 0)}

    assert read_cursors(write_cursors(cursors)) == cursors
    assert write_cursors(cursors) == "1.0.0-3.12.7"
    for text in ("", "x", "1.2", "1.2.3.4", "-", "1.-2.3", "\u0661.1.1", "9" * 30 + ".1.1"):
        assert read_cursors(text) == {}
    assert read_cursors("x-1.2.3") == {1: Cursor(2, 3)}
