"""The native API over real HTTP: what is answered, what is refused, and that nothing is lost or leaked."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from moderation.bundle import encoder_folder
from moderation.categories import CODES
from moderation.comment import MAX_TEXT_CHARS, Author, Comment, Neighbour, Post
from service import api, review_api, review_schemas, schemas
from service.app import create_app
from service.auth import make_key
from service.errors import CODES as ERROR_CODES
from service.errors import InvalidRequest, ServiceError, TooLarge
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
LINK = "See https://shop.example and https://shop.example/2"


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, its body checked for the one shape."""
    body = response.json()
    assert list(body) == ["error"]
    assert {"code", "message", "details"} == set(body["error"])
    assert body["error"]["message"]
    assert body["error"]["code"] in ERROR_CODES
    for detail in body["error"]["details"]:
        assert {"field", "message"} == set(detail)
    return response.status_code, body["error"]["code"]


class TestSubmit:
    def test_a_good_comment_is_published_with_scores_and_reasons(self, service):
        response = service.submit(id="c1", text="A thoughtful word.", post={"id": "p1", "title": "Bread"})
        body = response.json()

        assert (response.status_code, body["status"], body["action"]) == (201, "published", "publish")
        assert (body["id"], body["site"], body["tier"]) == ("c1", "https://blog.example", "lexical")
        assert list(CODES) == list(body["scores"])
        assert body["scores"]["off_topic"] is None
        assert body["bundle"].startswith("comments-")
        assert {"name", "value", "limit", "fired", "text"} == set(body["reasons"][0])
        assert 64 == len(body["digest"]) == len(body["policy"])

    def test_a_doubtful_one_is_held(self, service):
        response = service.submit(text=LINK)

        assert (response.status_code, response.json()["status"]) == (202, "held")
        assert [reason["name"] for reason in response.json()["reasons"] if reason["fired"]] == ["spam"]
        assert response.json()["author_message"]

    def test_a_rejected_one_is_decided(self, service):
        response = service.submit(text="A forbidden word")

        assert (response.status_code, response.json()["status"]) == (201, "rejected")

    def test_seen_before_gives_the_same_answer(self, service):
        first = service.submit(id="c1", text=LINK)
        again = service.submit(id="c1", text=LINK)

        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json() == again.json()

    def test_an_edit_is_a_new_decision(self, service):
        first = service.submit(id="c1", text=LINK)
        second = service.submit(id="c1", text="No links any more.")

        assert (first.status_code, second.status_code) == (202, 201)
        assert first.json()["decision_id"] != second.json()["decision_id"]

    def test_the_answer_survives_a_restart(self, service, start):
        first = service.submit(id="c1", text=LINK, author={"id": "a", "name": "Ann"})
        service.stop()
        restarted = start()
        headers = {"Authorization": f"Bearer {service.key}"}
        again = restarted.client.post(
            "/v1/comments", json={"id": "c1", "text": LINK, "author": {"id": "a", "name": "Ann"}}, headers=headers
        )
        read = restarted.client.get(f"/v1/decisions/{first.json()['decision_id']}", headers=headers)

        assert 200 == again.status_code == read.status_code
        assert first.json() == again.json() == read.json()

    def test_clients_that_race_get_one_decision(self, service):
        def send(_):
            return httpx.post(
                f"{service.url}/v1/comments", json={"id": "c1", "text": LINK}, headers={"X-API-Key": service.key}
            )

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(16)))

        assert len({answer.text for answer in answers}) == 1
        assert {200, 202} == {answer.status_code for answer in answers}
        assert [answer.status_code for answer in answers].count(202) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "\u200b\u200d",
            "مرحبا بالعالم \u202eabc",
            "😀😀👩‍👩‍👧",
            "a" * MAX_TEXT_CHARS,
            "é" * MAX_TEXT_CHARS,
            "\u0301",
            "\ufeffx",
        ],
        ids=["zero-width", "right-to-left", "emoji", "longest", "longest in bytes", "lone accent", "byte order mark"],
    )
    def test_odd_texts_score(self, shared_service, text):
        response = shared_service.submit(text=text)

        assert response.status_code in (201, 202)
        assert response.json()["scores"] is not None

    def test_body_and_library_know_the_same_fields(self):
        pairs = [
            (Comment, schemas.CommentBody),
            (Author, schemas.AuthorBody),
            (Post, schemas.PostBody),
            (Neighbour, schemas.NeighbourBody),
        ]
        for library, body in pairs:
            assert {item.name for item in fields(library)} == set(body.model_fields)

    def test_a_site_that_is_named_must_be_the_keys(self, shared_service):
        right = shared_service.submit(text="x", site="https://BLOG.example/")
        wrong = shared_service.submit(text="x", site="https://other.example")

        assert right.status_code == 201
        assert error_of(wrong) == (403, "wrong_site")


DEEP = b"[" * 100_000 + b"]" * 100_000

BAD_BODIES = {
    "no body": (b"", 422),
    "not JSON": (b"text=hello", 422),
    "half JSON": (b'{"text": "hel', 422),
    "invalid UTF-8": (b'{"text": "\xff\xfe"}', 422),
    "UTF-16": ('{"text": "x"}'.encode("utf-16"), 422),
    "NaN": (b'{"text": NaN}', 422),
    "Infinity": (b'{"text": "x", "hints": {"a": -Infinity}}', 422),
    "deep list": (DEEP, 422),
    "deep object": (b'{"hints":' * 100_000 + b"1" + b"}" * 100_000, 422),
    "deep field": (b'{"text": "x", "post": ' + DEEP + b"}", 422),
    "moderately deep": (b'{"text": ' + b"[" * 400 + b"]" * 400 + b"}", 422),
    "huge number": (b'{"text": ' + b"9" * 5000 + b"}", 422),
    "a list": (b'[{"text": "x"}]', 422),
    "a string": (b'"x"', 422),
    "null": (b"null", 422),
    "no text": (b'{"id": "1"}', 422),
    "null text": (b'{"text": null}', 422),
    "empty text": (b'{"text": ""}', 422),
    "blank text": (b'{"text": " \\n\\t "}', 422),
    "text is a number": (b'{"text": 1}', 422),
    "text is a list": (b'{"text": ["x"]}', 422),
    "author is a string": (b'{"text": "x", "author": "Ann"}', 422),
    "e-mail": (b'{"text": "x", "author": {"email": "ann@example.org"}}', 422),
    "IP address": (b'{"text": "x", "ip": "127.0.0.1"}', 422),
    "unknown field": (b'{"text": "x", "txet": "y"}', 422),
    "tags are a string": (b'{"text": "x", "post": {"tags": "a"}}', 422),
    "tags hold numbers": (b'{"text": "x", "post": {"tags": [1]}}', 422),
    "a hint is a number": (b'{"text": "x", "hints": {"honeypot": 1}}', 422),
    "do_not_store is a word": (b'{"text": "x", "do_not_store": "yes"}', 422),
    "empty id": (b'{"text": "x", "id": ""}', 422),
    "id is a number": (b'{"text": "x", "id": 7}', 422),
    "NUL": (b'{"text": "a\\u0000b"}', 422),
    "NUL in the author": (b'{"text": "x", "author": {"name": "\\u0000"}}', 422),
    "NUL in a hint": (b'{"text": "x", "hints": {"\\u0000": true}}', 422),
    "lone surrogate": (b'{"text": "\\ud800"}', 422),
    "lone surrogate in a tag": (b'{"text": "x", "post": {"tags": ["\\udfff"]}}', 422),
    "lone surrogate in a thread": (b'{"text": "x", "thread": [{"text": "\\ud800"}]}', 422),
    "lone surrogate as a field": (b'{"text": "x", "\\ud800": 1}', 422),
    "lone surrogate as a hint": (b'{"text": "x", "hints": {"\\ud800": true}}', 422),
    "a thousand unknown fields": (json.dumps({f"f{n}": n for n in range(1000)}).encode(), 422),
    "a long unknown field": (json.dumps({"text": "x", "f" * 100_000: 1}).encode(), 422),
    "1 MB of text": (json.dumps({"text": "a" * 1_000_000}).encode(), 413),
    "one character too many": (json.dumps({"text": "a" * (MAX_TEXT_CHARS + 1)}).encode(), 413),
    "a long name": (json.dumps({"text": "x", "author": {"name": "n" * 5000}}).encode(), 413),
    "a long thread": (json.dumps({"text": "x", "thread": [{"text": "t"}] * 21}).encode(), 413),
    "a post of 1.1 MB": (json.dumps({"text": "x", "post": {"text": "p" * 1_100_000}}).encode(), 413),
    "a body of 17 MiB": (b" " * 17 * 1024 * 1024, 413),
}


class TestRefusals:
    @pytest.mark.parametrize("name", BAD_BODIES)
    def test_bad_bodies_are_refused_with_a_sentence(self, shared_service, name):
        content, expected = BAD_BODIES[name]
        response = shared_service.client.post("/v1/comments", content=content)

        assert (expected, "invalid_request" if expected == 422 else "too_large") == error_of(response)
        assert len(response.content) < 10_000

    def test_a_refusal_names_the_field_and_does_not_repeat_what_was_sent(self, shared_service):
        response = shared_service.submit(text="x", author={"name": 7}, post={"titel": "private words"})
        details = response.json()["error"]["details"]

        assert {"author.name", "post.titel"} == {detail["field"] for detail in details}
        assert "private words" not in response.text

    def test_a_refused_comment_is_not_kept(self, shared_service):
        shared_service.submit(id="refused", text="x", txet="y")

        assert error_of(shared_service.client.get("/v1/comments/refused")) == (404, "not_found")

    def test_a_smaller_limit_can_be_set(self, start):
        service = start(max_text_chars=10, max_body_bytes=2048)

        assert service.submit(text="a" * 10).is_success
        assert error_of(service.submit(text="a" * 11)) == (413, "too_large")
        assert error_of(service.submit(text="x", url="u" * 2048)) == (413, "too_large")

    def test_a_body_without_a_length_is_limited_too(self, start):
        service = start(max_body_bytes=2048)
        response = service.client.post("/v1/comments", content=(b" " * 512 for _ in range(8)))

        assert error_of(response) == (413, "too_large")

    def test_unknown_routes_and_methods_have_the_one_error_body(self, shared_service):
        client = shared_service.client

        assert error_of(client.get("/v1/nothing")) == (404, "not_found")
        assert error_of(client.get("/healthz/")) == (404, "not_found")
        assert error_of(client.put("/v1/comments")) == (405, "method_not_allowed")
        assert "POST" in client.put("/v1/comments").headers["allow"]

    def test_a_host_that_is_not_listed_is_refused(self, start):
        service = start(allowed_hosts="blog.example,127.0.0.1")

        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/healthz", headers={"Host": "Blog.Example:8000"}).status_code == 200
        assert error_of(service.client.get("/healthz", headers={"Host": "evil.example"})) == (400, "unknown_host")

    def test_every_error_class_has_a_code_of_the_closed_list(self):
        classes = [ServiceError]
        for kind in classes:
            classes += kind.__subclasses__()

        assert set(ERROR_CODES) >= {kind.code for kind in classes}
        assert {kind.code for kind in classes} | {"method_not_allowed"} == set(ERROR_CODES)

    def test_a_million_names_are_refused_without_being_looked_at_one_by_one(self):
        """A full check takes seconds and a gigabyte for each of these."""
        many = {f"f{n}": n for n in range(300_000)}
        begun = time.perf_counter()
        for data in (many, {"text": "x", "post": many}, {"text": "x", "thread": [many]}, {"text": "x", "author": many}):
            with pytest.raises(InvalidRequest) as caught:
                schemas.read_comment(data, max_text_chars=100)
            assert 1 <= len(caught.value.details) <= 20
        for data in ({"post": {"tags": [1] * 300_000}}, {"thread": [1] * 300_000}, {"hints": many}):
            with pytest.raises(TooLarge):
                schemas.read_comment({"text": "x", **data}, max_text_chars=100)

        assert time.perf_counter() - begun < 1

    @pytest.mark.parametrize("key", [True, False])
    def test_a_connection_whose_body_was_not_read_is_closed(self, start, key):
        """It would stay open and swallow what follows."""
        service = start(max_body_bytes=2048)
        headers = f"X-API-Key: {service.key}\r\n" if key else ""
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            head = f"POST /v1/comments HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 5000\r\n\r\n"
            connection.sendall(head.encode())
            answer = b""
            while part := connection.recv(4096):
                answer += part

        assert (b" 413 " if key else b" 401 ") in answer
        assert b"connection: close" in answer.lower()

    def test_a_connection_whose_body_was_read_is_kept(self, shared_service):
        assert "connection" not in shared_service.submit(text="").headers
        assert "connection" not in shared_service.client.get("/healthz").headers

    def test_made_up_methods_are_neither_counted_nor_logged_nor_repeated(self, shared_service, caplog):
        with caplog.at_level(logging.INFO):
            response = shared_service.client.request("MADEUP", "/healthz")

        assert error_of(response) == (405, "method_not_allowed")
        written = " ".join(str(record.__dict__) for record in caplog.records if record.name.startswith("service"))
        assert "MADEUP" not in written + response.text + shared_service.client.get("/metrics").text
        assert 'method="other"' in shared_service.client.get("/metrics").text

    def test_hosts_may_be_ipv6(self, start):
        client = start(allowed_hosts="::1,127.0.0.1").client

        for host, status in (("[::1]", 200), ("[::1]:8000", 200), ("[::2]:8000", 400), ("::1", 400), ("", 400)):
            assert client.get("/healthz", headers={"Host": host}).status_code == status

    def test_health_answers_head_and_no_id_is_not_found(self, shared_service):
        assert shared_service.client.head("/healthz").status_code == 200
        assert error_of(shared_service.client.get("/v1/comments/")) == (404, "not_found")


class TestKeys:
    def test_a_foreign_bearer_token_does_not_hide_the_key(self, shared_service):
        headers = {"Authorization": "Bearer of-a-proxy", "X-API-Key": shared_service.key}
        response = httpx.post(f"{shared_service.url}/v1/comments", json={"text": "x"}, headers=headers)

        assert response.status_code == 201

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer mod_aaaaaaaa_" + "a" * 43},
            {"Authorization": "Basic dTpw"},
            {"X-API-Key": "nonsense"},
            {"X-API-Key": "mod_" + "x" * 10_000},
            {"X-API-Key": "mod_aaaaaaaa_ü" + "a" * 42},
        ],
        ids=["none", "empty", "unknown", "basic", "no key", "long", "not ASCII"],
    )
    def test_missing_and_wrong_keys_are_401(self, shared_service, headers):
        raw = {name: value.encode() for name, value in headers.items()}
        for method, path in (("POST", "/v1/comments"), ("POST", "/v1/comments:batch"), ("GET", "/v1/decisions/d_1")):
            response = httpx.request(method, shared_service.url + path, headers=raw)

            assert error_of(response) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"

    def test_every_v1_route_needs_a_key(self, shared_service):
        """Also the routes that somebody adds tomorrow."""
        routes = [route for route in api.router.routes if isinstance(route, APIRoute) and route.path.startswith("/v1/")]
        for route in routes:
            for method in route.methods:
                path = route.path.replace("{comment_id:path}", "x").replace("{decision_id}", "x")

                assert httpx.request(method, shared_service.url + path).status_code == 401

        assert len(routes) >= 5

    def test_a_wrong_key_is_refused_before_the_body_is_read(self, shared_service):
        """The answer comes although not one byte of the promised body was sent."""
        host, port = shared_service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"POST /v1/comments HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")

            assert b" 401 " in connection.recv(4096)

    def test_a_bad_body_with_a_wrong_key_is_401(self, shared_service):
        response = httpx.post(f"{shared_service.url}/v1/comments", content=b"\xff", headers={"X-API-Key": "x"})

        assert response.status_code == 401

    def test_both_headers_are_taken_and_a_revoked_key_is_not(self, service):
        second = make_key(service.parts.store, service.site)
        for headers in ({"X-API-Key": second}, {"Authorization": f"bearer {second}"}):
            response = httpx.post(f"{service.url}/v1/comments", json={"text": "x"}, headers=headers)
            assert response.status_code == 201
        service.parts.store.revoke_key(second[:8])

        assert httpx.post(f"{service.url}/v1/comments", headers={"X-API-Key": second}).status_code == 401
        assert service.submit(text="x").status_code == 201

    def test_keys_are_not_kept(self, service):
        content = "\n".join(sqlite3.connect(service.settings.home / "moderation.db").iterdump())

        assert service.key[:8] in content
        assert service.key[8:] not in content


class TestReading:
    def test_a_decision_and_a_comment_can_be_read_again(self, service):
        sent = service.submit(id="a/b c?", text="x", author={"name": "Ann"}).json()
        comment = service.client.get("/v1/comments/a%2Fb%20c%3F").json()

        assert sent == service.client.get(f"/v1/decisions/{sent['decision_id']}").json()
        assert ("a/b c?", "published", sent) == (comment["id"], comment["status"], comment["decision"])
        assert [(c["old"], c["new"], c["who"]) for c in comment["changes"]] == [(None, "published", "model")]

    def test_other_sites_things_are_not_found(self, service):
        sent = service.submit(id="c1", text="x").json()
        other = make_key(service.parts.store, service.parts.store.add_site("https://other.example"))
        for method, path in (
            ("GET", f"/v1/decisions/{sent['decision_id']}"),
            ("GET", "/v1/comments/c1"),
            ("DELETE", "/v1/comments/c1"),
        ):
            response = httpx.request(method, service.url + path, headers={"X-API-Key": other})
            assert error_of(response) == (404, "not_found")

    def test_erasure(self, service):
        sent = service.submit(id="c1", text="Secret words", author={"id": "a", "name": "Ann"}).json()
        first, second = (service.client.delete("/v1/comments/c1") for _ in range(2))

        assert (first.status_code, first.json()["status"]) == (200, "erased")
        assert first.json() == second.json()
        decision = service.client.get(f"/v1/decisions/{sent['decision_id']}").json()
        assert {**sent, "status": "erased", "digest": ""} == decision
        assert error_of(service.submit(id="c1", text="Other words")) == (410, "erased")
        assert error_of(service.client.delete("/v1/comments/unknown")) == (404, "not_found")
        assert "Secret words" not in "\n".join(sqlite3.connect(service.settings.home / "moderation.db").iterdump())

    def test_do_not_store_answers_and_forgets(self, service):
        comment = {"id": "c1", "text": "Secret words", "author": {"name": "Ann Other"}, "do_not_store": True}
        first, again = service.submit(**comment), service.submit(**comment)

        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        content = "\n".join(sqlite3.connect(service.settings.home / "moderation.db").iterdump())
        assert "Secret words" not in content
        assert "Ann Other" not in content


class TestBatch:
    def test_results_keep_the_order_and_bad_ones_harm_no_others(self, service):
        comments = [
            {"id": "1", "text": "Good"},
            {"id": "2", "text": ""},
            {"id": "3", "text": LINK},
            "nonsense",
            {"id": "5", "text": "x" * 60_000},
            {"id": "6", "text": "x", "site": "https://other.example"},
            {"id": "1", "text": "Good"},
        ]
        response = service.client.post("/v1/comments:batch", json={"comments": comments})
        results = response.json()["results"]

        assert response.status_code == 200
        assert [result["http_status"] for result in results] == [201, 422, 202, 422, 413, 403, 200]
        assert [r["status"] for r in results] == ["published", "error", "held", "error", "error", "error", "published"]
        assert results[1]["error"]["details"][0]["field"] == "text"
        assert "1" == results[0]["id"] == results[6]["id"]
        alone = service.submit(id="3", text=LINK)
        assert alone.json() == {name: value for name, value in results[2].items() if name != "http_status"}

    def test_a_hundred_and_no_more(self, service):
        def send(count):
            return service.client.post("/v1/comments:batch", json={"comments": [{"text": "x"}] * count})

        assert len(send(100).json()["results"]) == 100
        assert error_of(send(101)) == (413, "too_large")
        assert error_of(send(0)) == (422, "invalid_request")

    @pytest.mark.parametrize("body", [[], {"comments": {}}, {"comment": []}, {"comments": [{}], "x": 1}, None])
    def test_another_shape_is_refused(self, shared_service, body):
        assert error_of(shared_service.client.post("/v1/comments:batch", json=body)) == (422, "invalid_request")

    def test_an_erased_comment_is_an_error_in_its_place(self, service):
        service.submit(id="1", text="x")
        service.client.delete("/v1/comments/1")
        comments = [{"id": "1", "text": "Something new"}, {"id": "2", "text": "Something else"}]
        results = service.client.post("/v1/comments:batch", json={"comments": comments}).json()["results"]

        assert [(r["http_status"], r["status"]) for r in results] == [(410, "error"), (201, "published")]


class TestFaults:
    def test_readiness_reports_any_fault_of_the_database(self, service, monkeypatch):
        def fail():
            raise RuntimeError("Secret words")

        monkeypatch.setattr(service.parts.store, "ping", fail)
        ready = service.client.get("/readyz")

        assert (ready.status_code, ready.json()["faults"]) == (503, {"database": "RuntimeError"})

    def test_without_a_model_everything_is_held_and_readiness_says_so(self, start, home):
        (home / "models").mkdir(parents=True)
        (home / "models" / "current").write_text("no-such-bundle\n")
        service = start()
        held = service.submit(text="Hello")
        ready = service.client.get("/readyz")

        assert (held.status_code, *(held.json()[k] for k in ("action", "scores", "tier"))) == (202, "hold", None, None)
        assert "model_unavailable" in [reason["name"] for reason in held.json()["reasons"] if reason["fired"]]
        assert (ready.status_code, ready.json()["faults"]) == (503, {"model": "BundleMissing"})
        assert service.client.get("/healthz").status_code == 200
        assert ready.json()["tier"] is None
        metrics = service.client.get("/metrics").text
        for line in ("moderation_model_available 0.0", 'in_use{tier="full"} 0.0', 'in_use{tier="lexical"} 0.0'):
            assert line in metrics

    def test_without_the_encoder_it_is_ready_and_says_what_answers(self, start, full_home, full_bundle):
        (encoder_folder(full_home / "models" / full_bundle.name) / "encoder.onnx").unlink()
        service = start()
        held = service.submit(text="https://a.example https://b.example https://c.example https://d.example").json()
        ready = service.client.get("/readyz")
        metrics = service.client.get("/metrics").text

        assert (held["action"], held["tier"]) == ("hold", "lexical")
        assert "encoder_unavailable" in [reason["name"] for reason in held["reasons"] if reason["fired"]]
        assert (ready.status_code, ready.json()["ready"], ready.json()["tier"]) == (200, True, "lexical")
        assert ready.json()["faults"] == {"encoder": "EncoderUnavailable"}
        for line in ('in_use{tier="full"} 0.0', 'in_use{tier="lexical"} 1.0', "moderation_model_available 1.0"):
            assert line in metrics

    def test_a_locked_database_is_503_with_retry_after_and_loses_nothing(self, service, start):
        quick = start(database_timeout_seconds=0.2)
        lock = sqlite3.connect(service.settings.home / "moderation.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        refused = quick.submit(id="c1", text="Hello")
        read = quick.client.get("/readyz")
        lock.rollback()
        lock.close()

        assert error_of(refused) == (503, "busy")
        assert int(refused.headers["retry-after"]) > 0
        assert read.status_code == 200
        assert error_of(quick.client.get("/v1/comments/c1")) == (404, "not_found")
        assert quick.submit(id="c1", text="Hello").status_code == 201

    def test_a_database_that_became_read_only_says_so(self, service):
        stored = service.submit(id="c1", text="Hello").json()
        service.stop()
        path = service.settings.home / "moderation.db"
        url = f"sqlite:///file:{path}?mode=ro&uri=true"
        app = create_app(Settings.load(home=service.settings.home, database_url=url))
        headers = {"X-API-Key": service.key}

        async def ask():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
                again = await client.post("/v1/comments", json={"id": "c1", "text": "Hello"})
                return again, await client.post("/v1/comments", json={"id": "c2", "text": "Hello"})

        again, refused = asyncio.run(ask())
        app.state.parts.store.close()

        assert (200, stored) == (again.status_code, again.json())
        assert error_of(refused) == (503, "unavailable")
        assert "read-only" in refused.json()["error"]["message"]

    def test_a_bug_is_500_in_the_one_error_body_and_no_comment_text_reaches_the_log(self, service, caplog, monkeypatch):
        """The bug is planted: an error whose message quotes the comment, as many messages do."""

        def fail(text):
            raise ValueError(f"cannot make sense of {text}")

        monkeypatch.setattr("service.hashes.normalise", fail)
        with caplog.at_level(logging.INFO):
            response = service.submit(id="c1", text="Secret words", author={"name": "Ann Other"})

        assert error_of(response) == (500, "internal")
        assert error_of(service.client.get("/v1/comments/c1")) == (404, "not_found")
        written = " ".join(str(record.__dict__) for record in caplog.records)
        assert "ValueError" in written
        for secret in ("Secret", "Ann Other", service.key):
            assert secret not in written + response.text

    def test_a_commit_that_fails_is_an_error_and_not_an_answer(self, service):
        """The database refuses only when the transaction ends; by then the answer must not have left."""
        with sqlite3.connect(service.settings.home / "moderation.db") as connection:
            connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
            late = "REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED"
            connection.execute(f"CREATE TABLE children (parent INTEGER {late})")
            connection.execute(
                "CREATE TRIGGER break_commit AFTER INSERT ON status_log BEGIN INSERT INTO children VALUES (7); END"
            )
        refused = service.submit(id="c1", text="Hello")
        with sqlite3.connect(service.settings.home / "moderation.db") as connection:
            connection.execute("DROP TRIGGER break_commit")

        assert error_of(refused) == (500, "internal")
        assert error_of(service.client.get("/v1/comments/c1")) == (404, "not_found")
        assert service.submit(id="c1", text="Hello").status_code == 201


class TestOperation:
    def test_health_readiness_and_metrics_need_no_key_and_hold_no_text(self, service):
        service.submit(id="c1", text="Secret words")
        service.submit(id="c1", text="Secret words")
        service.submit(text=LINK)
        pages = [httpx.get(service.url + path) for path in ("/healthz", "/readyz", "/metrics")]
        metrics = pages[2].text

        assert [page.status_code for page in pages] == [200, 200, 200]
        assert pages[1].json()["ready"] is True
        assert 'moderation_decisions_total{action="publish",tier="lexical"} 1.0' in metrics
        assert 'moderation_decisions_total{action="hold",tier="lexical"} 1.0' in metrics
        assert "moderation_seen_before_total 1.0" in metrics
        assert 'route="/v1/comments",status="201"' in metrics
        assert "Secret" not in "".join(page.text for page in pages)

    def test_strangers_cannot_grow_the_metrics(self, shared_service):
        for n in range(5):
            httpx.get(f"{shared_service.url}/made-up-{n}")

        assert "made-up" not in httpx.get(f"{shared_service.url}/metrics").text

    def test_two_applications_count_apart(self, service, start):
        service.submit(text="x")

        assert "moderation_decisions_total{" not in start().client.get("/metrics").text

    def test_openapi_describes_bodies_errors_and_keys(self, shared_service):
        description = httpx.get(f"{shared_service.url}/openapi.json").json()
        submit = description["paths"]["/v1/comments"]["post"]
        content = submit["requestBody"]["content"]["application/json"]

        assert content["schema"]["$ref"].removeprefix("#/components/schemas/") in description["components"]["schemas"]
        assert content["example"] == schemas.EXAMPLE
        assert {"200", "201", "202", "401", "403", "413", "422", "503"} <= set(submit["responses"])
        assert {"HTTPBearer", "APIKeyHeader"} == set(description["components"]["securitySchemes"])
        assert httpx.get(f"{shared_service.url}/docs").status_code == 200
        for path in description["paths"].values():
            for operation in path.values():
                assert operation["tags"]
                assert operation["summary"]
        # Every reference leads somewhere.
        text = json.dumps(description)
        names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert names <= set(description["components"]["schemas"])

    def test_the_example_of_the_documentation_works(self, shared_service):
        assert shared_service.submit(**schemas.EXAMPLE).status_code == 201

    def test_the_error_in_the_documentation_is_what_comes_back(self, shared_service):
        page = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
        (line,) = [line for line in page.splitlines() if line.startswith('    {"error": ')]

        assert json.loads(line) == shared_service.submit(text="").json()

    @pytest.mark.parametrize("name", ["a%00b", "x" * 201, "unknown"])
    def test_an_id_that_cannot_be_is_not_found(self, shared_service, name):
        for path in (f"/v1/comments/{name}", f"/v1/decisions/{name}"):
            assert shared_service.client.get(path).status_code == 404
        assert shared_service.client.delete(f"/v1/comments/{name}").status_code == 404

    def test_an_erased_comment_is_gone_whatever_is_sent(self, shared_service):
        shared_service.submit(id="to-be-erased", text="x")
        erased = shared_service.client.delete("/v1/comments/to-be-erased").json()

        assert erased["decision"]["digest"] == ""
        assert [shared_service.submit(id="to-be-erased", text=text).status_code for text in ("x", "y")] == [410, 410]

    def test_every_route_and_error_code_is_documented(self):
        page = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
        for code in ERROR_CODES:
            assert f"`{code}`" in page
        for route in [*api.router.routes, *review_api.router.routes]:
            assert isinstance(route, APIRoute)
            path = re.sub(r"{\w+_id(:path)?}", "{id}", route.path)
            for method in route.methods:
                assert f"{method} {path}" in page
        for body in review_schemas.REQUEST_BODIES:
            for name in body.model_fields:
                assert f"`{name}`" in page or name in ("comments", "reporter", "comment_id")
