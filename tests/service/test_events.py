"""Server-sent events: none is missed, somebody who goes frees the place, and the service can end while they listen."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from service import watch
from service.auth import make_key

LINKS = "See https://shop.example and https://shop.example/2"


@contextmanager
def listening(service, **request):
    headers = request.pop("headers", {}) | {"Authorization": f"Bearer {service.key}"}
    with (
        httpx.Client(base_url=service.url, headers=headers, timeout=10) as client,
        client.stream("GET", "/v1/events", **request) as answer,
    ):
        yield answer, read(answer)


def read(answer):
    """The events of a stream as (name, id, data); heartbeats have the name ``beat``."""
    event = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield ("beat", None, None)
        elif not line and "data" in event:
            yield (event["event"], int(event["id"]), json.loads(event["data"]))
            event = {}
        else:
            name, _, value = line.partition(": ")
            event[name] = value


def take(stream, count: int, *names: str) -> list:
    found = []
    while len(found) < count:
        event = next(stream)
        if event[0] in names:
            found.append(event)
    return found


def test_changes_and_counts_come_as_they_happen(service):
    service.submit(id="before", text="Fine")
    with listening(service) as (answer, stream):
        first = next(stream)
        service.submit(id="c1", text=LINKS)
        events = take(stream, 2, "status", "queue")
    (status,) = [event for event in events if event[0] == "status"]
    cursor = service.client.get("/v1/changes").json()["cursor"]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert (first[0], first[2]) == ("queue", {"waiting": 0})
    assert status[1] == cursor
    assert (status[2]["comment_id"], status[2]["old"], status[2]["new"]) == ("c1", None, "held")
    assert [event[2] for event in events if event[0] == "queue"] == [{"waiting": 1}]
    assert LINKS not in str(events)


@pytest.mark.parametrize("how", ["Last-Event-ID", "after"])
def test_who_comes_back_has_missed_nothing(service, how):
    service.submit(id="c0", text="Fine")
    with listening(service) as (_, stream):
        last = next(stream)[1]
    for n in range(1, 4):
        service.submit(id=f"c{n}", text="Fine")
    request = {"headers": {how: str(last)}} if how == "Last-Event-ID" else {"params": {"after": last}}
    with listening(service, **request) as (_, stream):
        missed = take(stream, 3, "status")
        service.submit(id="c4", text="Fine")
        missed += take(stream, 1, "status")

    assert [event[2]["comment_id"] for event in missed] == ["c1", "c2", "c3", "c4"]


def test_many_listeners_and_writers_each_see_every_change_once_and_in_order(service):
    seen: list[list[str]] = [[] for _ in range(4)]
    ready = threading.Barrier(5)

    def follow(mine: list[str]) -> None:
        with listening(service, params={"after": 0}) as (_, stream):
            ready.wait()
            mine += [event[1] for event in take(stream, 40, "status")]

    threads = [threading.Thread(target=follow, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    ready.wait()

    def write(name: str) -> None:
        for n in range(10):
            service.submit(id=f"{name}{n}", text="Fine")

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in [*writers]:
        thread.start()
    for thread in [*writers, *threads]:
        thread.join()
    cursors = [change.cursor for change in service.parts.store.logs.changes(service.site, limit=100)]

    assert seen == [cursors] * 4


def test_a_stream_tells_of_its_own_site_only(service):
    other = service.parts.store.add_site("https://other.example")
    key = make_key(service.parts.store, other)
    with listening(service, params={"after": 0}) as (_, stream):
        httpx.post(f"{service.url}/v1/comments", json={"id": "theirs", "text": "x"}, headers={"X-API-Key": key})
        service.submit(id="ours", text="Fine")
        ((_, _, change),) = take(stream, 1, "status")

    assert change["comment_id"] == "ours"


def test_heartbeats_come_while_nothing_happens_and_a_revoked_key_ends_the_stream(service, monkeypatch):
    monkeypatch.setattr(service.parts.events._watch, "_heartbeat_seconds", 0.1)
    monkeypatch.setattr("service.events_api.HEARTBEAT_SECONDS", 1.0)
    with listening(service) as (_, stream):
        assert len(take(stream, 2, "beat")) == 2
        service.parts.store.revoke_key(service.key[:8])
        assert "status" not in [event[0] for event in stream]  # which ends


def test_places_are_limited_and_given_back(service, monkeypatch):
    monkeypatch.setattr(service.parts.events._places, "most_each", 1)
    with listening(service) as (_, stream):
        next(stream)
        refused = service.client.get("/v1/events")
    monkeypatch.setattr(service.parts.events._watch, "_heartbeat_seconds", 0.1)
    ends = time.monotonic() + 10
    while service.parts.events._places.open.total() and time.monotonic() < ends:
        time.sleep(0.05)
    with listening(service) as (_, stream):
        next(stream)
    monkeypatch.setattr(service.parts.events._places, "most", 0)
    monkeypatch.setattr(service.parts.events._places, "most_each", 5)
    busy = service.client.get("/v1/events")

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_streams")
    assert int(refused.headers["retry-after"]) > 0
    assert (busy.status_code, busy.json()["error"]["code"]) == (503, "busy")
    assert not service.parts.events._watch.listeners


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=9223372036854775808"])
def test_a_cursor_that_cannot_be_meant_is_refused(shared_service, query):
    answer = shared_service.client.get(f"/v1/events?{query}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_a_key_is_needed(shared_service):
    assert httpx.get(f"{shared_service.url}/v1/events").status_code == 401


def test_a_service_that_stops_ends_its_streams(start, plain_home):  # noqa: ARG001  # started in it
    service = start()
    with listening(service) as (_, stream):
        next(stream)
        began = time.monotonic()
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        rest = list(stream)
        stopping.join()

    assert "status" not in [event[0] for event in rest]
    assert time.monotonic() - began < watch.HEARTBEAT_SECONDS
