"""The stream of a page of the queue: what it tells whom, that it ends with the session or role, how many there are."""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from moderation.comment import Author, Comment
from service import watch
from service.auth import hash_token, make_sign_in_token
from service.store import Judge, Judgement, Target

PASSWORD = "four words not together"
LINKS = "Look at http://a.example/x and http://b.example/y now!"
IDLE = timedelta(hours=12)
_numbers = itertools.count()


def chatter(seed: str) -> str:
    letters = random.Random(seed)
    return " ".join("".join(letters.choices("abcdefghijklmnop", k=7)) for _ in range(25))


class Desk:
    """A site of a test's own on a service, with comments and people."""

    def __init__(self, service) -> None:
        self.service, self.parts, self.number = service, service.parts, next(_numbers)
        self.site = self.parts.store.add_site(f"https://live{self.number}.example")
        self.opened: list[httpx.Client] = []

    def name(self, who: str) -> str:
        """A name that nobody else has on the shared service, where other modules have people of theirs."""
        return f"{who} of live {self.number}"

    def sign_in(self, who="Ada", role="moderator", *sites) -> httpx.Client:
        for site in sites or (self.site,):
            person = self.parts.store.people.add(self.name(who), site, role, who="operator")
        client = httpx.Client(base_url=self.service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20)
        token, _ = make_sign_in_token(self.parts.store, person)
        client.post("/review/first-sign-in", data={"token": token, "password": PASSWORD, "again": PASSWORD})
        self.opened.append(client)
        return client

    def submit(self, comment_id, who="ann"):
        # Words that no other has: what is nearly the same is one row of the list.
        text, author = f"{LINKS} {comment_id} {chatter(comment_id)}", Author(who, who.title(), None)
        self.parts.workflow.submit(self.site, Comment(text, id=comment_id, site=self.site.url, author=author))

    def entry(self, comment_id) -> int:
        return self.parts.store.reading.place_of_id([self.site], comment_id).entry

    def decide(self, comment_id, who="Ben", action="approve"):
        digest = self.parts.workflow.find_comment(self.site, comment_id).decision.digest
        judge, target = Judge(self.name(who), "review", None), Target(digest, comment=comment_id)
        return self.parts.moderation.decide(self.site, judge, Judgement(action), target)


@pytest.fixture
def desk(shared_service):
    made = Desk(shared_service)
    yield made
    for client in made.opened:
        client.close()


def address(client, path="/review/") -> str:
    """Where a page of the queue says that it listens."""
    return re.search(r'data-events="([^"]*)"', client.get(path).text)[1].replace("&amp;", "&")


@contextmanager
def listening(client, path="/review/", **more):
    """The events of a page that was just loaded, as (name, data); ``beat`` where nothing happened."""
    with client.stream("GET", more.pop("at", None) or address(client, path), **more) as answer:
        yield answer, read(answer)


def read(answer):
    event = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield ("beat", None)
        elif not line and "data" in event:
            yield (event["event"], json.loads(event["data"]))
            event = {}
        elif line:
            name, _, value = line.partition(": ")
            event[name] = value


def take(stream, name: str):
    """What the next event of that name says; it comes before anybody has to wait for long."""
    for found, data in stream:
        if found == name:
            return data
        assert found != "beat", f"{name} does not come"
    raise AssertionError(f"it ended before {name} came")


def test_what_others_do_is_told_as_it_happens(desk):
    desk.submit("c1")
    ada, ben = desk.sign_in("Ada"), desk.sign_in("Ben")
    first = desk.entry("c1")
    with listening(ada) as (answer, stream):
        begun = [next(stream) for _ in range(3)]
        desk.submit("c2")
        fresh = take(stream, "fresh")
        ben.post(f"/review/queue/{first}/claim")
        held = take(stream, "held")
        ben.post(f"/review/queue/{first}/release")
        free = take(stream, "held")
        verdict = desk.decide("c1", action="reject")
        moved = take(stream, "moved")
        waiting = take(stream, "waiting")
        desk.parts.moderation.undo(desk.site, verdict.id, desk.name("Ben"))
        back = take(stream, "moved")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    # An entry of a moment ago is named, too; the page knows that it has it.
    assert begun[0] in [("fresh", {"entries": []}), ("fresh", {"entries": [first]})]
    assert begun[1:] == [("held", {"entries": {}}), ("waiting", {"waiting": 1, "found": 1})]
    assert fresh["entries"][-1] == desk.entry("c2")
    assert (held, free) == ({"entries": {str(first): desk.name("Ben")}}, {"entries": {}})
    assert moved == {"entries": [{"entry": first, "is": "decided", "by": desk.name("Ben"), "said": "rejected"}]}
    assert waiting == {"waiting": 1, "found": 1}
    assert back == {"entries": [{"entry": first, "is": "waits"}]}
    assert "a.example" not in str([fresh, held, moved, back])


def test_what_happened_between_a_page_and_its_stream_is_told_and_no_more_when_one_comes_back(desk):
    desk.submit("c1")
    ada = desk.sign_in()
    at = address(ada)
    desk.decide("c1")
    with listening(ada, at=at) as (answer, stream):
        moved = take(stream, "moved")
        last = answer.request.url  # as the browser does it, the id of the event goes into a header
    after = parse_qs(urlsplit(at).query)["after"][0]
    now = "-".join(f"{row}.{c.changed}.{c.judged}" for row, c in desk.parts.store.news.cursors([desk.site]).items())
    with listening(ada, at=str(last), headers={"Last-Event-ID": now}) as (_, stream):
        names = [next(stream)[0] for _ in range(3)]

    assert moved["entries"][0]["is"] == "decided"
    assert after != now
    assert names == ["fresh", "held", "waiting"]


def test_a_filter_is_listened_to_as_well(desk):
    desk.submit("c1", who="mara")
    ada = desk.sign_in()
    page = ada.get("/review/?author=mara").text
    with listening(ada, "/review/?author=mara") as (_, stream):
        take(stream, "waiting")
        desk.submit("c2", who="tom")
        desk.submit("c3", who="mara")
        counts = [take(stream, "waiting")]
        while counts[-1] != {"waiting": 3, "found": 2}:
            counts.append(take(stream, "waiting"))

    shown = ada.get(re.search(r'data-fresh="([^"]*)"', page)[1].replace("&amp;", "&"))
    assert (shown.status_code, "<html" in shown.text) == (200, False)
    assert set(re.findall(r'data-entry="(\d+)"', shown.text)) - {str(desk.entry("c1"))} == {str(desk.entry("c3"))}
    assert ada.get(address(ada) + "&until=soon").status_code == 422
    assert ada.get(address(ada).replace("shown=", "shown=x")).status_code == 422


def test_nobody_listens_to_what_is_not_theirs(desk, shared_service):
    ada = desk.sign_in()
    other = desk.parts.store.add_site(f"https://live{desk.number}-other.example")
    at = address(ada)

    assert httpx.get(f"{shared_service.url}{at}").status_code == 204
    assert ada.get(f"{at}&site={other.row}").status_code == 204
    with listening(ada) as (_, stream):
        take(stream, "waiting")
        desk.parts.workflow.submit(other, Comment(LINKS, id="theirs", site=other.url))
        desk.submit("ours")
        assert take(stream, "fresh")["entries"] == [desk.entry("ours")]


@pytest.mark.parametrize("how", ["signs out", "role", "disabled", "role on one of two"])
def test_it_ends_with_the_session_and_when_a_role_is_taken(desk, how):
    sites = [desk.site]
    if how == "role on one of two":
        sites.append(desk.parts.store.add_site(f"https://live{desk.number}-two.example"))
    ada = desk.sign_in("Ada", "moderator", *sites)
    people, name = desk.parts.store.people, desk.name("Ada")
    with listening(ada) as (_, stream):
        take(stream, "waiting")
        time.sleep(1.0)
        if how == "signs out":
            desk.parts.store.sessions.close_all(people.find(name))
        elif how == "disabled":
            people.disable(name, who="operator")
        else:
            people.take_role(name, desk.site, who="operator")
        desk.submit("c1")
        rest = list(stream)

    assert rest == [("end", {"why": "role" if how.startswith("role") else "session"})], "nothing was told after it"


def test_listening_is_no_use_of_a_session(desk):
    ada = desk.sign_in()
    token, store = ada.cookies["moderation"], desk.parts.store
    seen = store.sessions.find(hash_token(token), IDLE, is_use=False).seen_at
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.store.people._SEEN_EVERY", timedelta(0))
        at = address(ada)
        used = store.sessions.find(hash_token(token), IDLE, is_use=False).seen_at
        with listening(ada, at=at) as (_, stream):
            take(stream, "waiting")
            time.sleep(1.0)
            desk.submit("c1")
            take(stream, "waiting")
    assert store.sessions.find(hash_token(token), IDLE, is_use=False).seen_at == used > seen
    assert store.sessions.find(hash_token(token), timedelta(0), is_use=False) is None


def test_places_are_limited_and_given_back(desk, monkeypatch):
    ada, news = desk.sign_in(), desk.parts.queue_news
    monkeypatch.setattr(news._watch, "_heartbeat_seconds", 0.1)
    monkeypatch.setattr(news.places, "most_each", 1)
    at = address(ada)
    with listening(ada, at=at) as (_, stream):
        next(stream)
        refused = ada.get(at)
    ends = time.monotonic() + 10
    while news.places.open.total() and time.monotonic() < ends:
        time.sleep(0.05)
    with listening(ada, at=at) as (_, stream):
        next(stream)
    monkeypatch.setattr(news.places, "most", 0)
    monkeypatch.setattr(news.places, "most_each", 9)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    assert ada.get(at).status_code == 503


def test_a_service_that_stops_ends_its_streams(start, plain_home):  # noqa: ARG001  # started in it
    service = start()
    ada = Desk(service).sign_in()
    with listening(ada) as (_, stream):
        next(stream)
        began = time.monotonic()
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        list(stream)
        stopping.join()
    ada.close()

    assert time.monotonic() - began < watch.HEARTBEAT_SECONDS
