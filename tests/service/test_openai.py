"""OpenAI's moderation endpoint: every row of its tables in docs/dialects.md, over real HTTP."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.comment import MAX_TEXT_CHARS, Decision, Reason, Scores
from service.auth import make_key
from service.dialects import find_dialect, openai
from service.errors import NotFound, ServiceError, StoreBusy, TooManyStreams

SPAM = "See https://shop.example and https://shop.example/2"
HOSTILE = "Go away!!!!!!"
GOOD = "A thoughtful word."
OPENAI_NAMES = [name for name in openai.CATEGORIES if name not in ("spam", "off-topic")]
NOT_MODELLED = {name for name, codes in openai.CATEGORIES.items() if not codes}


@pytest.fixture(scope="module")
def desk(shared_service):
    """A site of its own on the shared service, and a client with its key."""
    site = shared_service.parts.store.add_site("https://openai.example")
    key = make_key(shared_service.parts.store, site)
    with httpx.Client(base_url=shared_service.url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        yield SimpleNamespace(site=site, key=key, client=client, parts=shared_service.parts, url=shared_service.url)


def ask(desk, **body) -> httpx.Response:
    return desk.client.post("/v1/moderations", json=body)


def test_a_byte_order_mark_is_passed_over(desk):
    body = b'\xef\xbb\xbf{"input": "A thoughtful word."}'

    assert desk.client.post(openai.PATH, content=body).status_code == 200


def results(desk, given, **more) -> list[dict]:
    response = ask(desk, input=given, **more)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def error_of(response: httpx.Response) -> tuple:
    """Status, type, param and code of an error, its body checked for OpenAI's one shape."""
    body = response.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert body["error"]["message"].endswith(".")
    assert response.headers["content-type"] == "application/json"
    return response.status_code, body["error"]["type"], body["error"]["param"], body["error"]["code"]


class TestAnswers:
    def test_the_answer_has_the_shape_to_the_key(self, desk):
        body = ask(desk, input=GOOD).json()
        [result] = body["results"]

        assert list(body) == ["id", "model", "results"]
        assert re.fullmatch(r"modr-[0-9a-f]{32}", body["id"])
        assert list(result) == ["flagged", "categories", "category_scores", "category_applied_input_types"]
        for name in ("categories", "category_scores", "category_applied_input_types"):
            assert list(result[name]) == list(openai.CATEGORIES)
        assert len(OPENAI_NAMES) == 13
        assert result["flagged"] is False
        assert set(result["categories"].values()) == {False}

    def test_asking_again_does_not_change_the_answer(self, desk):
        text = "A sentence of nine words that harms nobody at all"
        alone = [results(desk, text)[0]["flagged"] for _ in range(8)]
        together = [result["flagged"] for result in results(desk, [text] * 12)]

        assert set(alone) == set(together) == {False}

    def test_what_is_not_modelled_is_never_true_and_was_not_looked_at(self, desk):
        for result in results(desk, [GOOD, SPAM, HOSTILE]):
            for name in NOT_MODELLED:
                assert result["categories"][name] is False
                assert result["category_scores"][name] == 0.0
                assert result["category_applied_input_types"][name] == []
            for name in set(OPENAI_NAMES) - NOT_MODELLED:
                assert result["category_applied_input_types"][name] == ["text"]

    def test_hostile_is_harassment_and_spam_stands_beside_the_thirteen(self, desk):
        spam, hostile = results(desk, [SPAM, HOSTILE])

        assert (spam["flagged"], hostile["flagged"]) == (True, True)
        assert [name for name, is_true in spam["categories"].items() if is_true] == ["spam"]
        assert [name for name, is_true in hostile["categories"].items() if is_true] == ["harassment"]
        assert spam["category_scores"]["spam"] > 0.5 > spam["category_scores"]["harassment"]
        assert hostile["category_scores"]["harassment"] > 0.5

    def test_off_topic_was_not_looked_at_without_a_post(self, desk):
        [result] = results(desk, GOOD)

        assert result["categories"]["off-topic"] is False
        assert result["category_scores"]["off-topic"] == 0.0
        assert result["category_applied_input_types"]["off-topic"] == []

    def test_a_rule_flags_without_a_category(self, desk):
        [result] = results(desk, "A forbidden word")

        assert result["flagged"] is True
        assert set(result["categories"].values()) == {False}

    @given(
        st.lists(st.floats(0, 1), min_size=8, max_size=8).map(lambda values: Scores(*values)),
        st.sets(st.sampled_from(["hostile", "insult", "severe", "threat", "identity_attack", "spam", "off_topic"])),
    )
    def test_maps_follow_scores_and_reasons(self, scores, fired):
        reasons = tuple(Reason(name, 0.5, 0.5, name in fired, "") for name in ("hostile", *sorted(fired - {"hostile"})))
        decision = Decision("hold", scores, reasons, "", None, "", None)
        result = openai.write_result(decision, scores)
        true, values = result["categories"], result["category_scores"]

        assert true["harassment"] == bool(fired & {"hostile", "insult", "severe"})
        assert true["hate"] == ("identity_attack" in fired)
        assert true["harassment/threatening"] == true["violence"] == ("threat" in fired)
        assert true["hate/threatening"] == (true["hate"] and true["violence"])
        assert values["harassment"] == round(max(scores.hostile, scores.insult, scores.severe), 6)
        assert values["hate/threatening"] == round(min(scores.identity_attack, scores.threat), 6)
        assert (values["spam"], values["off-topic"]) == (round(scores.spam, 6), round(scores.off_topic, 6))


class TestRequests:
    def test_inputs_are_answered_one_by_one_in_order(self, desk):
        found = results(desk, [SPAM, GOOD, HOSTILE, GOOD])

        assert [result["flagged"] for result in found] == [True, False, True, False]

    def test_text_parts_are_one_text_and_pictures_are_not_looked_at(self, desk):
        picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}
        link = {"type": "text", "text": "See https://shop.example"}
        body = ask(desk, input=[link, picture, {"type": "text", "text": "and https://shop.example/2"}]).json()
        stored = desk.parts.store.find_comments(desk.site, [body["id"]])[body["id"]]

        [result] = body["results"]
        assert result["categories"]["spam"] is True
        assert all("image" not in types for types in result["category_applied_input_types"].values())
        assert stored.decision.digest

    @pytest.mark.parametrize("model", ["omni-moderation-latest", "text-moderation-stable", "gpt-4", "größe 😀", ""])
    def test_any_model_is_accepted_and_sent_back(self, desk, model):
        assert ask(desk, input=GOOD, model=model).json()["model"] == model

    def test_without_a_model_the_usual_one_is_named(self, desk):
        assert ask(desk, input=GOOD).json()["model"] == "omni-moderation-latest"
        assert ask(desk, input=GOOD, model=None).json()["model"] == "omni-moderation-latest"

    def test_unknown_fields_are_ignored(self, desk):
        assert ask(desk, input=GOOD, user="u-1", metadata={"a": 1}).status_code == 200

    @pytest.mark.parametrize("text", ["مرحبا بالعالم", "完全に素晴らしい", "😀👩‍👩‍👧", "\u200b", "a" * MAX_TEXT_CHARS])
    def test_any_text_scores(self, desk, text):
        assert len(results(desk, text)) == 1

    def test_what_no_store_carries_becomes_a_replacement_character(self, desk):
        sent = b'{"input": "a\\u0000b\\ud800c", "model": "m\\ud800"}'
        answer = desk.client.post("/v1/moderations", content=sent)
        found = desk.client.get(f"/v1/comments/{answer.json()['id']}").json()

        assert answer.json()["model"] == "m\ufffd"
        assert (answer.status_code, found["status"]) == (200, "published")

    def test_inputs_are_comments_of_the_native_api(self, desk):
        one, two = ask(desk, input=SPAM).json(), ask(desk, input=[GOOD, SPAM]).json()
        statuses = [
            desk.client.get(f"/v1/comments/{each}").json()["status"]
            for each in (one["id"], f"{two['id']}-0", f"{two['id']}-1")
        ]

        assert statuses == ["held", "published", "held"]

    def test_do_not_store_keeps_no_text(self, desk):
        secret = "Wholly private words 4711 https://a.example https://b.example"
        kept, not_kept = (ask(desk, input=secret, do_not_store=each).json() for each in (False, True))
        texts = [
            text.comment for text in desk.parts.store.find_texts(desk.site, desk.parts.feedback._hashes.text(secret))
        ]

        assert kept["results"] == not_kept["results"]
        assert texts == [kept["id"]]
        assert desk.client.get(f"/v1/comments/{not_kept['id']}").json()["decision"]["scores"]

    def test_the_key_stands_in_either_header(self, desk):
        body = {"input": GOOD}
        answer = httpx.post(f"{desk.url}/v1/moderations", json=body, headers={"X-API-Key": desk.key})

        assert answer.status_code == 200


INVALID = "invalid_request_error"
BAD = {
    "not JSON": (b"input=x", (400, INVALID, None, None)),
    "no body": (b"", (400, INVALID, None, None)),
    "invalid UTF-8": (b'{"input": "\xff"}', (400, INVALID, None, None)),
    "NaN": (b'{"input": NaN}', (400, INVALID, None, None)),
    "deep": (b"[" * 100_000, (400, INVALID, None, None)),
    "a list": (b'["x"]', (400, INVALID, None, "invalid_type")),
    "no input": (b"{}", (400, INVALID, "input", "missing_required_parameter")),
    "null": (b'{"input": null}', (400, INVALID, "input", "invalid_type")),
    "a number": (b'{"input": 1}', (400, INVALID, "input", "invalid_type")),
    "tokens": (b'{"input": [1, 2]}', (400, INVALID, "input[0]", "invalid_type")),
    "a mixed list": (b'{"input": ["x", {"type": "text", "text": "x"}]}', (400, INVALID, "input[1]", "invalid_type")),
    "mixed parts": (b'{"input": [{"type": "text", "text": "x"}, "x"]}', (400, INVALID, "input[1]", "invalid_type")),
    "no inputs": (b'{"input": []}', (400, INVALID, "input", "empty_array")),
    "empty": (b'{"input": ""}', (400, INVALID, "input", "empty_string")),
    "one blank": (b'{"input": ["x", " \\n"]}', (400, INVALID, "input[1]", "empty_string")),
    "blank parts": (b'{"input": [{"type": "text", "text": " "}]}', (400, INVALID, "input", "empty_string")),
    "pictures alone": (
        b'{"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}',
        (400, INVALID, "input", "image_input_not_supported"),
    ),
    "another part": (b'{"input": [{"type": "audio"}]}', (400, INVALID, "input[0].type", "invalid_value")),
    "a part without text": (b'{"input": [{"type": "text"}]}', (400, INVALID, "input[0].text", "invalid_type")),
    "a picture without an address": (
        b'{"input": [{"type": "image_url", "image_url": "x"}]}',
        (400, INVALID, "input[0].image_url", "invalid_type"),
    ),
    "model": (b'{"input": "x", "model": 1}', (400, INVALID, "model", "invalid_type")),
    "do_not_store": (b'{"input": "x", "do_not_store": "yes"}', (400, INVALID, "do_not_store", "invalid_type")),
    "too long": (
        json.dumps({"input": "a" * (MAX_TEXT_CHARS + 1)}).encode(),
        (400, INVALID, "input", "string_above_max_length"),
    ),
    "one too long": (
        json.dumps({"input": ["x", "a" * (MAX_TEXT_CHARS + 1)]}).encode(),
        (400, INVALID, "input[1]", "string_above_max_length"),
    ),
    "parts too long together": (
        json.dumps({"input": [{"type": "text", "text": "a" * 30_000}] * 2}).encode(),
        (400, INVALID, "input", "string_above_max_length"),
    ),
    "101 inputs": (json.dumps({"input": ["x"] * 101}).encode(), (400, INVALID, "input", "array_above_max_length")),
    "1,001 parts": (
        json.dumps({"input": [{"type": "text", "text": "x"}] * 1_001}).encode(),
        (400, INVALID, "input", "array_above_max_length"),
    ),
    "17 MiB": (b" " * 17 * 1024 * 1024, (413, INVALID, None, "request_too_large")),
}


class TestDocument:
    """docs/dialects.md has a row for everything that can be answered."""

    def test_every_category_field_and_error_has_a_row(self):
        text = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
        section = text.split("\n## OpenAI\n")[1].split("\n## ")[0]
        rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
        codes = {expected[3] for _, expected in BAD.values()} - {None}
        codes |= {"invalid_api_key", "method_not_supported", "rate_limit_exceeded", "busy", "unavailable"}
        fields = {*openai.ModerationAnswer.model_fields, *openai.ModerationResult.model_fields} - {"results"}

        for name in (*openai.CATEGORIES, *codes, *fields, "input", "model", "do_not_store"):
            assert f"`{name}`" in rows, name


class TestErrors:
    @pytest.mark.parametrize("name", BAD)
    def test_bad_bodies_are_refused_in_openais_words(self, desk, name):
        content, expected = BAD[name]
        response = desk.client.post("/v1/moderations", content=content)

        assert error_of(response) == expected
        assert len(response.content) < 1_000

    def test_of_a_refused_request_nothing_is_kept(self, desk):
        text = "The first of two, https://a.example and https://b.example"
        ask(desk, input=[text, ""])

        assert desk.parts.store.find_texts(desk.site, desk.parts.feedback._hashes.text(text)) == []

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-proj-abc"}, {"Authorization": "Bearer"}])
    def test_a_bad_key_is_401_before_the_body_is_read(self, desk, headers):
        response = httpx.post(f"{desk.url}/v1/moderations", content=b"\xff", headers=headers)

        assert error_of(response) == (401, INVALID, None, "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer"

    def test_other_methods_and_paths(self, desk):
        response = desk.client.get("/v1/moderations")

        assert error_of(response) == (405, INVALID, None, "method_not_supported")
        assert response.headers["allow"] == "POST"
        assert error_of(desk.client.post("/v1/moderations/")) == (404, INVALID, None, None)
        assert error_of(desk.client.get("/v1/moderations/x")) == (404, INVALID, None, None)

    def test_the_rest_of_v1_is_the_native_apis(self, desk):
        assert find_dialect("/v1/comments") is find_dialect("/v1/moderationsx") is find_dialect("/") is None
        assert desk.client.get("/v1/moderationsx").json()["error"]["code"] == "not_found"

    def test_without_a_model_it_is_503_with_a_time_and_nothing_is_kept(self, start, home):
        (home / "models").mkdir(parents=True)
        (home / "models" / "current").write_text("no-such-bundle\n")
        service = start()
        response = service.client.post("/v1/moderations", json={"input": GOOD})

        assert error_of(response) == (503, "server_error", None, "unavailable")
        assert response.headers["retry-after"] == "30"
        assert response.headers["x-should-retry"] == "false"
        assert service.client.get("/v1/changes").json()["changes"] == []

    def test_an_unknown_host_is_told_so_in_the_same_shape(self, start):
        service = start(allowed_hosts="blog.example,127.0.0.1")
        response = service.client.post("/v1/moderations", json={"input": "x"}, headers={"Host": "evil.example"})

        assert error_of(response) == (400, INVALID, None, None)

    @pytest.mark.parametrize(
        ("error", "status", "kind", "code"),
        [
            (StoreBusy("locked"), 503, "server_error", "busy"),
            (ServiceError("a fault"), 500, "server_error", None),
            (TooManyStreams("too many"), 429, "rate_limit_error", "rate_limit_exceeded"),
            (NotFound("no"), 404, INVALID, None),
        ],
    )
    def test_faults_say_when_to_come_again(self, error, status, kind, code):
        response = openai.answer(error)
        content = json.loads(bytes(response.body))["error"]

        assert (response.status_code, content["type"], content["code"]) == (status, kind, code)
        assert response.headers.get("retry-after") == (
            None if error.retry_after_seconds is None else str(error.retry_after_seconds)
        )

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "text", "input"]), inner),
        )
    )
    def test_any_json_is_read_or_refused(self, value):
        for data in (value, {"input": value}, {"input": "x", "model": value, "do_not_store": value}):
            with suppress(openai.Refused):
                texts, model, _ = openai.read_request(json.dumps(data).encode(), max_text_chars=100)
                assert (all(texts), type(model)) == (True, str)
