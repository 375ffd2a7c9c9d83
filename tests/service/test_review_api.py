"""The routes about people, over HTTP: queue, verdicts, reports, appeals, changes, erasure by author."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from service.auth import make_key
from service.errors import EntryTaken, InvalidSettings, StoreUnavailable

LINKS = "See https://shop.example and https://shop.example/2"
COPY = "See https://shop.example and https://shop.example/2 for the best replica watches of all, {} times as good"


def error_of(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def post(service, path, **body) -> httpx.Response:
    return service.client.post(path, json=body)


def held(service, comment_id="c1", text=LINKS, **more) -> dict:
    answer = service.submit(id=comment_id, text=text, **more)
    assert answer.status_code == 202, answer.text
    return answer.json()


@pytest.fixture
def stranger(service):
    """A client with the key of another site."""
    other = service.parts.store.add_site("https://other.example")
    key = make_key(service.parts.store, other)
    with httpx.Client(base_url=service.url, headers={"X-API-Key": key}, timeout=20) as client:
        yield client


def test_from_held_to_verdict_to_undo(service):
    """The whole way of a comment that a person decides about, as a site with its own page goes it."""
    decision = held(service, author={"id": "ann", "name": "Ann"}, post={"id": "p1", "title": "Bread"}, lang="en")
    (entry,) = service.client.get("/v1/queue").json()["entries"]
    verdict = post(
        service,
        "/v1/verdicts",
        comment_id="c1",
        digest=entry["digest"],
        action="reject",
        categories=["spam", "off_topic"],
        moderator="Ada",
        note="Not again",
        score_shown=True,
    )
    (given,) = verdict.json()["verdicts"]
    comment = service.client.get("/v1/comments/c1").json()
    again = post(
        service,
        "/v1/verdicts",
        comment_id="c1",
        digest=entry["digest"],
        action="reject",
        categories=["off_topic", "spam"],
        moderator="Ada",
    )
    undone = post(service, f"/v1/verdicts/{given['verdict_id']}/undo", moderator="Ben")

    assert (entry["digest"], entry["text"], entry["status"]) == (decision["digest"], LINKS, "held")
    assert (entry["author"]["name"], entry["post"]["title"], entry["lang"]) == ("Ann", "Bread", "en")
    assert [(why["name"], why["detail"]) for why in entry["whys"]] == [("held", "spam")]
    assert entry["decision"]["decision_id"] == decision["decision_id"]
    assert (verdict.status_code, again.status_code) == (201, 200)
    assert again.json()["verdicts"][0]["verdict_id"] == given["verdict_id"]
    assert (given["status"], given["moderator"], given["source"]) == ("rejected", "site:Ada", "api")
    assert (given["inclusion_probability"], given["score_shown"], given["note"]) == (1.0, True, "Not again")
    assert comment["verdicts"] == [given]
    assert (comment["status"], comment["decision"]["action"]) == ("rejected", "hold")
    assert [change["who"] for change in comment["changes"]] == ["model", "site:Ada"]
    assert undone.json()["verdicts"][0]["undone_by"] == "site:Ben"
    assert service.client.get("/v1/comments/c1").json()["status"] == "held"
    assert len(service.client.get("/v1/queue").json()["entries"]) == 1


def test_a_verdict_on_changed_text_shows_the_new_one_and_the_log_does_not(service, caplog):
    old = held(service)
    new = held(service, text=f"{LINKS} and my secret words")
    answer = post(service, "/v1/verdicts", comment_id="c1", digest=old["digest"], action="approve")
    details = {item["field"]: item["message"] for item in answer.json()["error"]["details"]}

    assert error_of(answer) == (409, "text_changed")
    assert details == {"digest": new["digest"], "text": f"{LINKS} and my secret words"}
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_an_entry_is_answered_once(service):
    digest = held(service)["digest"]
    entry = service.client.get("/v1/queue").json()["entries"][0]["entry"]
    first = post(service, "/v1/verdicts", entry=entry, digest=digest, action="approve", moderator="Ada")
    second = post(service, "/v1/verdicts", entry=entry, digest=digest, action="reject", moderator="Ben")

    assert first.status_code == 201
    assert error_of(second) == (409, "taken")


def test_a_campaign_is_one_entry_and_is_decided_together(service):
    for n in range(3):
        held(service, f"c{n}", COPY.format(n))
    page = service.client.get("/v1/queue").json()["entries"]
    members = service.client.get(f"/v1/queue/{page[0]['entry']}/campaign").json()["entries"]
    body = {"entry": page[0]["entry"], "digest": page[0]["digest"], "action": "reject", "categories": ["spam"]}
    answer = post(service, "/v1/verdicts", **body, whole_campaign=True)
    verdicts = answer.json()["verdicts"]
    undone = service.client.post(f"/v1/verdicts/{verdicts[1]['verdict_id']}/undo").json()["verdicts"]

    assert [(entry["comment_id"], entry["campaign_count"]) for entry in page] == [("c0", 3)]
    assert [member["comment_id"] for member in members] == ["c0", "c1", "c2"]
    assert [verdict["comment_id"] for verdict in verdicts] == ["c0", "c1", "c2"]
    assert {verdict["status"] for verdict in verdicts} == {"rejected"}
    assert [verdict["status"] for verdict in undone] == ["held"] * 3


def test_the_queue_in_pages_and_filtered(service):
    for n, word in enumerate(["bread", "oven", "flour", "water", "salt"]):
        # With letters of its own, or two would now and then be nearly the same and wait as one.
        own = "".join(chr(97 + byte % 26) for byte in hashlib.sha256(word.encode()).digest())
        text = f"https://{word}.example {word * 9} {own} https://{word}.example/{word}"
        held(service, f"c{n}", text, lang="de" if n % 2 else "en")
    first = service.client.get("/v1/queue", params={"sort": "age", "limit": 3}).json()
    rest = service.client.get("/v1/queue", params={"sort": "age", "limit": 3, "after": first["cursor"]}).json()
    german = service.client.get("/v1/queue", params={"sort": "age", "lang": "de"}).json()
    found = service.client.get("/v1/queue", params={"text": "WATERwater"}).json()

    assert [entry["comment_id"] for entry in first["entries"] + rest["entries"]] == [f"c{n}" for n in range(5)]
    assert rest["cursor"] is None
    assert [entry["comment_id"] for entry in german["entries"]] == ["c1", "c3"]
    assert [entry["comment_id"] for entry in found["entries"]] == ["c3"]


@pytest.mark.parametrize(
    "query",
    [
        "sort=beauty",
        "limit=0",
        "limit=201",
        "after=x",
        "text=a%00b",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "until=9999-12-31T23:59:59-14:00",
        "lang=",
    ],
)
def test_a_question_that_cannot_be_meant_is_refused(shared_service, query):
    assert error_of(shared_service.client.get(f"/v1/queue?{query}")) == (422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"comment_id": "c1", "action": "approve"},
        {"digest": "d", "action": "approve"},
        {"comment_id": "c1", "entry": 1, "digest": "d", "action": "approve"},
        {"comment_id": "c1", "digest": "d", "action": "publish"},
        {"comment_id": "c1", "digest": "d", "action": "approve", "categories": ["spam"]},
        {"comment_id": "c1", "digest": "d", "action": "reject", "categories": ["ham"]},
        {"comment_id": "c1", "digest": "d", "action": "reject", "whole_campaign": True},
        {"comment_id": "c1\x00", "digest": "d", "action": "reject"},
        {"comment_id": "c1", "digest": "d", "action": "reject", "note": "\ud800"},
        {"comment_id": "c1", "digest": "d", "action": "reject", "note": "x" * 2001},
        {"comment_id": "c1", "digest": "d", "action": "reject", "moderator": ""},
        {"comment_id": "c1", "digest": "d", "action": "reject", "moderator": "Model"},
        {"comment_id": "c1", "digest": "d", "action": "reject", "unknown": 1},
        {"entry": 2**63, "digest": "d", "action": "reject"},
        {"entry": 1, "digest": "d", "action": "reject", "entries": [1]},
        {"entry": 1, "digest": "d", "action": "reject", "whole_campaign": True, "entries": [0]},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_a_verdict_that_cannot_be_meant_is_refused(shared_service, body):
    answer = shared_service.client.post("/v1/verdicts", content=json.dumps(body))

    assert error_of(answer) == (422, "invalid_request")


def test_of_other_sites_nothing_is_found(service, stranger):
    digest = held(service)["digest"]
    entry = service.client.get("/v1/queue").json()["entries"][0]["entry"]
    verdict = post(service, "/v1/verdicts", comment_id="c1", digest=digest, action="reject").json()["verdicts"][0]
    appeal = post(service, "/v1/appeals", comment_id="c1").json()["appeal_id"]
    body = {"digest": digest, "action": "approve"}

    assert stranger.get("/v1/queue").json()["entries"] == []
    assert stranger.get(f"/v1/queue/{entry}/campaign").json()["entries"] == []
    assert stranger.get("/v1/changes").json()["changes"] == []
    assert error_of(stranger.post("/v1/verdicts", json=body | {"comment_id": "c1"})) == (404, "not_found")
    assert error_of(stranger.post("/v1/verdicts", json=body | {"entry": entry})) == (404, "not_found")
    assert error_of(stranger.post(f"/v1/verdicts/{verdict['verdict_id']}/undo", json={})) == (404, "not_found")
    assert error_of(stranger.post("/v1/reports", json={"comment_id": "c1", "reporter": "r"})) == (404, "not_found")
    assert error_of(stranger.post("/v1/appeals", json={"comment_id": "c1"})) == (404, "not_found")
    assert error_of(stranger.get(f"/v1/appeals/{appeal}")) == (404, "not_found")
    assert stranger.delete("/v1/authors/ann").json() == {"erased": 0}


def test_a_site_takes_along_what_is_its_own_and_no_more(service, stranger, monkeypatch):
    monkeypatch.setattr("service.exports._CHUNK_CHARS", 300)  # many pieces of few words
    digest = held(service)["digest"]
    stranger.post("/v1/comments", json={"id": "theirs", "text": "Words of a stranger"})
    post(service, "/v1/verdicts", comment_id="c1", digest=digest, action="reject", note="A note")
    post(service, "/v1/appeals", comment_id="c1", text="Look again")
    post(service, "/v1/reports", comment_id="c1", reporter="r")
    kinds = ["comment", "decision", "verdict", "appeal", "report", "suggestion"]
    answer = service.client.get("/v1/export", params={"kind": kinds})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    log = service.client.get("/v1/export?kind=log").text

    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [line["kind"] for line in lines] == ["comment", "decision", "verdict", "appeal", "report"]
    assert (lines[0]["comment_id"], lines[2]["note"], lines[3]["text"]) == ("c1", "A note", "Look again")
    assert {line["site"] for line in lines} == {json.loads(line)["site"] for line in log.splitlines()}
    assert {json.loads(line)["event"] for line in log.splitlines()} >= {"status", "verdict", "appeal", "report"}
    assert "stranger" not in answer.text + log
    assert "Words of a stranger" in stranger.get("/v1/export?kind=comment").text
    assert stranger.get("/v1/export?kind=verdict").text == ""


@pytest.mark.parametrize("query", ["", "?kind=all", "?kind=log&kind=secrets", "?kind=" + "&kind=".join(["log"] * 8)])
def test_what_cannot_be_exported_is_refused(service, query):
    assert error_of(service.client.get(f"/v1/export{query}")) == (422, "invalid_request")


def test_an_export_that_fails_says_so_or_breaks_off(service, monkeypatch):
    held(service)
    monkeypatch.setattr("service.exports._CHUNK_CHARS", 1)

    def fail(rows):
        def read(_site):
            yield from ({"n": n} for n in range(rows))
            raise StoreUnavailable("the database is away")

        return read

    monkeypatch.setattr(service.parts.store.copies, "kinds", lambda: {"comment": fail(0)})
    assert error_of(service.client.get("/v1/export?kind=comment")) == (503, "unavailable")
    monkeypatch.setattr(service.parts.store.copies, "kinds", lambda: {"comment": fail(3)})
    with pytest.raises(httpx.RemoteProtocolError):
        service.client.get("/v1/export?kind=comment")


def test_every_route_needs_a_key(service):
    routes = ["GET /v1/queue", "POST /v1/verdicts", "POST /v1/reports", "POST /v1/appeals", "GET /v1/changes"]
    routes += ["GET /v1/export?kind=log"]
    routes += ["POST /v1/queue/claims", "DELETE /v1/queue/claims/1", "GET /v1/events"]
    routes += ["DELETE /v1/authors/a", "GET /v1/appeals/a", "POST /v1/verdicts/v/undo", "GET /v1/queue/1/campaign"]
    for route in routes:
        method, path = route.split()
        assert error_of(httpx.request(method, service.url + path)) == (401, "unauthorized"), route


def test_reports_and_appeals_bring_a_comment_back_and_the_author_hears(service):
    digest = service.submit(id="c1", text="Nice post").json()["digest"]
    first = post(service, "/v1/reports", comment_id="c1", reporter="r1", category="hostile")
    again = post(service, "/v1/reports", comment_id="c1", reporter="r1")
    (entry,) = service.client.get("/v1/queue", params={"reason": "reported"}).json()["entries"]
    post(service, "/v1/verdicts", comment_id="c1", digest=digest, action="reject", categories=["hostile"])
    appeal = post(service, "/v1/appeals", comment_id="c1", text="It was a joke")
    asked_again = post(service, "/v1/appeals", comment_id="c1")
    before = service.client.get(f"/v1/appeals/{appeal.json()['appeal_id']}").json()
    post(service, "/v1/verdicts", comment_id="c1", digest=digest, action="approve")
    after = service.client.get(f"/v1/appeals/{appeal.json()['appeal_id']}").json()

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == {"comment_id": "c1", "reports": 1}
    assert [why["text"] for why in entry["whys"]] == ["Reported by 1 reader."]
    assert (appeal.status_code, asked_again.status_code) == (201, 200)
    assert (before["outcome"], after["outcome"]) == (None, "overturned")
    assert "published" in after["author_message"]
    assert error_of(post(service, "/v1/appeals", comment_id="unknown")) == (404, "not_found")
    service.submit(id="c2", text="Fine")
    assert error_of(post(service, "/v1/appeals", comment_id="c2")) == (409, "nothing_to_appeal")


def test_the_body_of_an_undo_may_be_left_out_and_the_description_says_so(shared_service):
    paths = httpx.get(f"{shared_service.url}/openapi.json").json()["paths"]

    assert paths["/v1/verdicts/{verdict_id}/undo"]["post"]["requestBody"]["required"] is False
    assert paths["/v1/verdicts"]["post"]["requestBody"]["required"] is True
    assert error_of(shared_service.client.post("/v1/verdicts/v/undo")) == (404, "not_found")


def test_a_verdict_that_was_replaced_stands(service):
    digest = held(service)["digest"]
    body = {"comment_id": "c1", "digest": digest}
    first = post(service, "/v1/verdicts", **body, action="reject", moderator="Ada").json()["verdicts"][0]
    post(service, "/v1/verdicts", **body, action="approve", moderator="Ben")

    assert error_of(post(service, f"/v1/verdicts/{first['verdict_id']}/undo")) == (409, "verdict_stands")


def test_who_polls_sees_every_change_once(service):
    digest = held(service)["digest"]
    service.submit(id="c2", text="Fine")
    post(service, "/v1/verdicts", comment_id="c1", digest=digest, action="approve", moderator="Ada")
    seen, cursor, more = [], 0, True
    while more:
        page = service.client.get("/v1/changes", params={"after": cursor, "limit": 2}).json()
        seen += [(change["comment_id"], change["new"], change["who"]) for change in page["changes"]]
        cursor, more = page["cursor"], page["more"]

    assert seen == [("c1", "held", "model"), ("c2", "published", "model"), ("c1", "published", "site:Ada")]
    assert service.client.get("/v1/changes", params={"after": cursor}).json() == {
        "changes": [],
        "cursor": cursor,
        "more": False,
    }


def test_erasing_an_author_leaves_no_words_behind(service):
    for n in range(2):
        service.submit(id=f"c{n}", text=f"My secret number {n}", author={"id": "a/n n", "name": "Secret Ann"})
    service.submit(id="c9", text="Somebody else", author={"id": "ben"})
    answer = service.client.delete("/v1/authors/a%2Fn%20n")

    assert answer.json() == {"erased": 2}
    assert service.client.delete("/v1/authors/a%2Fn%20n").json() == {"erased": 0}
    assert [service.client.get(f"/v1/comments/c{n}").json()["status"] for n in (0, 1, 9)] == [
        "erased",
        "erased",
        "published",
    ]
    assert "ecret" not in service.client.get("/v1/comments/c0").text
    assert all(b"ecret" not in path.read_bytes() for path in service.settings.home.glob("moderation.db*"))


def test_what_joins_a_campaign_after_it_was_read_is_not_judged_with_it(service):
    for n in range(2):
        held(service, f"c{n}", COPY.format(n))
    read = service.client.get("/v1/queue").json()["entries"][0]
    members = service.client.get(f"/v1/queue/{read['entry']}/campaign").json()["entries"]
    held(service, "late", COPY.format(9))
    body = {"entry": read["entry"], "digest": read["digest"], "action": "reject", "whole_campaign": True}
    answer = post(service, "/v1/verdicts", **body, entries=[member["entry"] for member in members])

    assert [verdict["comment_id"] for verdict in answer.json()["verdicts"]] == ["c0", "c1"]
    assert service.client.get("/v1/comments/late").json()["status"] == "held"


def test_a_site_cannot_speak_in_the_name_of_our_moderators(service):
    """What it calls its people is told apart from accounts of ours, whichever was there first."""
    service.parts.store.people.add("Ada", service.site, "moderator", who="operator")
    digest = held(service)["digest"]
    given = post(service, "/v1/verdicts", comment_id="c1", digest=digest, action="approve", moderator="Ada").json()

    assert given["verdicts"][0]["moderator"] == "site:Ada"
    with pytest.raises(InvalidSettings):
        service.parts.store.people.add("Site:Ada", service.site, "moderator", who="operator")


def test_people_of_a_site_hold_entries_and_give_them_back(service, stranger):
    for n, word in enumerate(["bread", "oven"]):
        held(service, f"c{n}", f"https://{word}.example {word * 9} https://{word}.example/{word}")
    ours = service.parts.store.people.add("Ada", service.site, "moderator", who="operator")
    first = post(service, "/v1/queue/claims", moderator="Ada", sort="age")
    again = post(service, "/v1/queue/claims", moderator="Ada", entry=first.json()["entry"]["entry"])
    second = post(service, "/v1/queue/claims", moderator="Ben", sort="age")
    none = post(service, "/v1/queue/claims", moderator="Cleo")
    entry, other = first.json()["entry"], second.json()["entry"]
    taken = post(service, "/v1/queue/claims", moderator="Ben", entry=entry["entry"])
    verdict = {"entry": entry["entry"], "digest": entry["digest"], "action": "approve"}
    refused = post(service, "/v1/verdicts", **verdict, moderator="Ben")
    path = f"/v1/queue/claims/{other['entry']}"

    assert (first.status_code, again.status_code, none.status_code) == (201, 201, 200)
    assert (entry["claimed_by"], other["claimed_by"], none.json()) == ("site:Ada", "site:Ben", {"entry": None})
    assert error_of(taken) == error_of(refused) == (409, "taken")
    with pytest.raises(EntryTaken):
        service.parts.store.queue.claim([service.site], entry["entry"], ours.row)
    assert post(service, "/v1/verdicts", **verdict, moderator="Ada").status_code == 201
    assert stranger.delete(path, params={"moderator": "Ben"}).json() == {"released": False}
    assert service.client.delete(path, params={"moderator": "Ada"}).json() == {"released": False}
    assert service.client.delete(path, params={"moderator": "Ben"}).json() == {"released": True}
    assert error_of(stranger.post("/v1/queue/claims", json={"entry": other["entry"]})) == (404, "not_found")
    assert post(service, "/v1/queue/claims").json()["entry"]["claimed_by"] == "site"
    service.parts.store.queue._now = lambda: datetime.now(UTC) + timedelta(minutes=11)
    assert post(service, "/v1/queue/claims", moderator="Cleo").json()["entry"]["claimed_by"] == "site:Cleo"


def test_what_an_author_may_be_told_follows_the_status(service):
    def told(comment_id: str) -> str | None:
        return service.client.get(f"/v1/comments/{comment_id}").json()["author_message"]

    digest = held(service)["digest"]
    waiting = told("c1")
    body = {"comment_id": "c1", "digest": digest}
    verdict = post(service, "/v1/verdicts", **body, action="reject", categories=["spam"]).json()["verdicts"][0]
    rejected = told("c1")
    service.client.post(f"/v1/verdicts/{verdict['verdict_id']}/undo")
    undone = told("c1")
    post(service, "/v1/verdicts", **body, action="approve")
    service.submit(id="c2", text="a forbidden word")

    assert "A moderator will read it" in waiting
    assert "A moderator has read your comment and did not publish it" in rejected
    assert (undone, told("c1")) == (waiting, None)
    assert "was not published" in told("c2")
    assert "spam" not in rejected
