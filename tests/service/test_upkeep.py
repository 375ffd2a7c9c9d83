"""What the service does by itself: forgetting, by one process of several, also of what was copied elsewhere."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select

from moderation.comment import Author, Comment, Decision, Neighbour
from service.hashes import Hashes
from service.store import Judged
from service.store import engine as connections
from service.store.tables import leases, near_hashes
from service.upkeep import Upkeep
from service.verdicts import Moderation

HASHES = Hashes(b"k" * 32)


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


def desk(store) -> Moderation:
    return Moderation(store, HASHES, reports_to_reopen=3)


def age(store, days: float) -> None:
    """What is written from now on is as old as that."""
    store._now = lambda: datetime.now(UTC) - timedelta(days=days)


def put_quoting(store, site, comment_id: str, quoted: str, words: str) -> None:
    """A comment whose site sends another one along, as parent and in the thread, in words of its own."""
    comment = Comment(
        "An answer", id=comment_id, site=site.url, author=Author("ben"), parent=Neighbour(quoted, words),
        thread=(Neighbour("x", "Else"), Neighbour(quoted, words)),
    )  # fmt: skip
    decision = Decision("publish", None, (), comment.digest(), None, "p" * 64, None)
    store.record(site, [Judged(comment, comment.digest(), "h", decision, {})], ("p" * 64, "# a policy"))


def test_copies_of_what_retention_has_emptied_are_found_by_author(store, site, put, dump):
    age(store, 40)
    put(site, "c1", "Private words of hers", "publish", score=0.1, author="her-id")
    store._now = lambda: datetime.now(UTC)
    put_quoting(store, site, "c2", "c1", "Private words of hers")
    assert sum(desk(store).forget(30)) == 1
    assert "her-id" not in dump()
    assert "Private words" in dump()

    assert desk(store).erase_author(site, "somebody else") == 0
    assert desk(store).erase_author(site, "her-id") == 1
    assert desk(store).erase_author(site, "her-id") == 0
    assert "Private words" not in dump()
    # Once, where it says whose labels from elsewhere are not taken in.
    assert dump().count(HASHES.author(site.url, "her-id")) == 1
    assert all(
        "author_hash" not in entry.details for entry in (*store.logs.audit(), *store.logs.page([site], limit=9)[0])
    )
    assert "An answer" in dump()


def count_hashes(store) -> int:
    with connections.reading(store._engine) as connection:
        return connection.execute(select(func.count()).select_from(near_hashes)).scalar_one()


@pytest.mark.parametrize(("days", "left"), [(30, 0), (None, 1)])
def test_the_clock_forgets_texts_where_it_is_set_and_their_hashes_with_them(store, site, put, dump, days, left):
    age(store, 40)
    put(site, "old", "Old words that nobody has to keep any longer", "publish", score=0.1)
    store._now = lambda: datetime.now(UTC)
    put(site, "new", "New words that somebody may still look for", "publish", score=0.1)
    upkeep = Upkeep(store, desk(store), days)
    upkeep.work()

    assert ("Old words" in dump(), "New words" in dump()) == (bool(left), True)
    assert count_hashes(store) == 4 + 4 * left


def test_one_process_does_it_for_all(open_store, store, site, put):
    age(store, 40)
    put(site, "old", "Old words", "publish", score=0.1)
    others = [Upkeep(each, desk(each), 30, every_seconds=3600) for each in (open_store(), open_store())]
    done: list[int] = []
    for upkeep in others:
        upkeep.work = lambda: done.append(1)  # type: ignore[method-assign]
        upkeep.start()
    time.sleep(0.5)
    for upkeep in others:
        upkeep.stop()

    assert done == [1]


def test_a_lease_is_for_one_until_its_time_is_up(open_store, store):
    other = open_store()

    assert store.leases.take("x", "a", 60) is True
    assert store.leases.take("x", "a", 60) is True
    assert other.leases.take("x", "b", 60) is False
    assert other.leases.take("y", "b", 60) is True
    other.leases._now = lambda: datetime.now(UTC) + timedelta(seconds=61)
    assert other.leases.take("x", "b", 60) is True
    assert store.leases.take("x", "a", 60) is False


def test_the_running_service_forgets(start, plain_home):  # noqa: ARG001  # started in it
    first = start()
    age(first.parts.store, 40)
    first.submit(id="c1", text="Words of long ago")
    # As if its hour were over.
    with connections.writing(first.parts.store._engine) as connection:
        connection.execute(delete(leases))
    second = start(retention_days=30)
    files = second.settings.home.glob
    ends = time.monotonic() + 20
    while any(b"Words of long ago" in path.read_bytes() for path in files("moderation.db*")):
        assert time.monotonic() < ends, "it was not forgotten in time"
        time.sleep(0.1)

    assert first.client.get("/v1/comments/c1").json()["status"] == "published"
