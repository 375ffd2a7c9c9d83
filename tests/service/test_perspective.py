"""The Perspective API as its clients know it: each row of its tables in docs/dialects.md, and what no table says."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from inspect import signature
from itertools import count
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.bundle import load_bundle
from moderation.comment import Comment
from moderation.errors import BundleBusy
from moderation.explain import explain
from moderation.spans import find_words, join_words
from service.auth import make_key
from service.dialects import perspective
from service.dialects.intake import make_readable
from service.dialects.perspective import DIALECT, write_scores
from service.dialects.perspective_attributes import detect_language, read_judgement
from service.dialects.perspective_requests import Refused, read_analyze, read_suggestion
from service.errors import TooManyTries
from service.hashes import Hashes

PAGE = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
SPAM = "Look at http://a.example/x and http://b.example/y now!"
POST = "We walked for hours along the river and watched the herons hunting in the shallow water near the old mill."
ON_IT = "The herons near the old mill were hunting in shallow water when we walked along the river."
ERROR = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
WORDS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED", 503: "UNAVAILABLE"}

_numbers = count()


class Desk:
    """A site of its own on a service, and calls as a client makes them."""

    def __init__(self, service) -> None:
        self.service, self.parts, self.url = service, service.parts, service.url
        self.site = self.parts.store.add_site(f"https://perspective-{next(_numbers)}.example")
        self.key = make_key(self.parts.store, self.site)

    def send(self, method: str, path: str, *, headers=None, **more) -> httpx.Response:
        """Without the key that the service's own client sends along."""
        headers = {"Authorization": "", **(headers or {})}
        return self.service.client.request(method, path, headers=headers, timeout=60, **more)

    def call(self, operation: str, body=None, *, query=None, **more) -> httpx.Response:
        query = {"key": self.key} if query is None else query
        more = more if "content" in more else {"json": body, **more}
        return self.send("POST", f"/v1alpha1/comments:{operation}", params=query, **more)

    def analyze(self, text: str = SPAM, attributes=("SPAM",), **more) -> httpx.Response:
        wanted = attributes if isinstance(attributes, dict) else {name: {} for name in attributes}
        return self.call("analyze", {"comment": {"text": text}, "requestedAttributes": wanted, **more})

    def suggest(self, text: str = SPAM, scores=None, **more) -> httpx.Response:
        values = {"TOXICITY": 1} if scores is None else scores
        body = {name: {"summaryScore": {"value": value}} for name, value in values.items()}
        return self.call("suggestscore", {"comment": {"text": text}, "attributeScores": body, **more})

    def value(self, text: str = SPAM, name: str = "SPAM", **more) -> float:
        return self.analyze(text, [name], **more).json()["attributeScores"][name]["summaryScore"]["value"]

    def comments(self, text: str = SPAM):
        """What the store knows of the comments with that text."""
        found = self.parts.store.find_texts(self.site, self.hash(text))
        known = self.parts.store.find_comments(self.site, [text.comment for text in found])
        return [known[text.comment] for text in found]

    def hash(self, text: str) -> str:
        hashes: Hashes = self.parts.feedback._hashes
        return hashes.text(text)

    def judged(self, text: str = SPAM) -> Comment:
        [stored] = self.comments(text)
        comment, _ = self.parts.store.judged_comment(stored.decision.decision_id)
        return comment

    def labels(self) -> list[dict]:
        return list(self.parts.store.labels.read(self.site))


@pytest.fixture
def desk(shared_service) -> Desk:
    return Desk(shared_service)


def refusal(response: httpx.Response) -> dict:
    """The error of an answer, its shape checked: Google's, and nothing else."""
    body = response.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert list(error)[:3] == ["code", "message", "status"]
    assert error["code"] == response.status_code
    assert error["message"]
    assert error["status"] == WORDS.get(response.status_code, error["status"])
    return error


def error_type(response: httpx.Response) -> tuple[str, str]:
    """Message and ``errorType`` of an answer that the comment analyzer itself refused."""
    error = refusal(response)
    [detail] = error["details"]
    assert (error["code"], error["status"], detail["@type"]) == (400, "INVALID_ARGUMENT", ERROR)
    return error["message"], detail["errorType"]


# The tables of the documentation: a case for each row, a row for each case.

# Some start a service of their own, by the fixtures that the second argument finds.
Case = Callable[..., None]
CASES: dict[str, Case] = {}


def row(name: str) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        assert name not in CASES
        CASES[name] = case
        return case

    return keep


def rows() -> Iterator[str]:
    """The first cells of the tables of attributes, of fields and of errors."""
    section = PAGE[PAGE.index("## Perspective") :]
    for title in ("### Attributes", "### Fields and errors"):
        table = re.split(r"\n##+ ", section[section.index(title) + 3 :])[0]
        lines = [line for line in table.splitlines() if line.startswith("|")]
        yield from (line.split("|")[1].strip().strip("`") for line in lines[2:])


def test_the_tables_and_the_cases_have_the_same_rows():
    assert sorted(rows()) == sorted(CASES)
    kinds = {line.split("|")[2].strip() for line in PAGE.splitlines() if line.count("|") == 4 and line[2:5] != "---"}
    assert {"answered", "ignored on purpose", "not supported"} <= kinds


@pytest.mark.parametrize("name", list(rows()))
def test_what_a_row_says(name, desk, request):
    case = CASES[name]
    more = [request.getfixturevalue] if len(signature(case).parameters) > 1 else []
    case(desk, *more)


def same_as(attribute: str, category: str) -> None:
    def case(desk: Desk) -> None:
        value = desk.value(SPAM + "!!", attribute)
        [stored] = desk.comments(SPAM + "!!")
        assert value == stored.decision.scores.to_dict()[category]
        assert desk.value(SPAM + "!!", f"{attribute}_EXPERIMENTAL") == value

    row(attribute)(case)


for _attribute, _category in (
    ("TOXICITY", "hostile"),
    ("SEVERE_TOXICITY", "severe"),
    ("IDENTITY_ATTACK", "identity_attack"),
    ("INSULT", "insult"),
    ("PROFANITY", "profanity"),
    ("THREAT", "threat"),
    ("SPAM", "spam"),
):
    same_as(_attribute, _category)


@row("OFF_TOPIC")
def off_topic(desk):
    around = {"articleAndParentComment": {"article": {"text": POST}}}
    assert desk.analyze(ON_IT, ["OFF_TOPIC", "SPAM"]).json()["attributeScores"].keys() == {"SPAM"}
    assert 0 < desk.value(ON_IT, "OFF_TOPIC", context=around) < 1


@row("LIKELY_TO_REJECT")
def likely_to_reject(desk):
    for text, name in ((SPAM, "SPAM"), ("You!!!!!!!!", "TOXICITY")):
        assert desk.value(text, "LIKELY_TO_REJECT") == desk.value(text, name) > 0.5


@row("TOXICITY_FAST")
def toxicity_fast(desk):
    """In a bundle without an encoder the two are one; where there is one, see below."""
    assert desk.value("You!!!!!!!!", "TOXICITY_FAST") == desk.value("You!!!!!!!!", "TOXICITY")
    assert desk.analyze("x", ["TOXICITY_FAST_EXPERIMENTAL"]).json()["attributeScores"] == {}


@row("NAME_EXPERIMENTAL")
def experimental(desk):
    assert desk.value(SPAM, "LIKELY_TO_REJECT_EXPERIMENTAL") == desk.value(SPAM, "LIKELY_TO_REJECT")


@row("NAME@version")
def version(desk):
    name = desk.parts.live_model.current().bundle.name
    for said in (name, name.removeprefix("comments-"), name[9:13]):
        assert desk.value(SPAM, f"SPAM@{said}") == desk.value(SPAM)
        assert desk.value(SPAM, f"SPAM_EXPERIMENTAL@{said}") == desk.value(SPAM)
    assert desk.value(SPAM, "SPAM@6") == desk.value(SPAM, "SPAM_EXPERIMENTAL@12") == desk.value(SPAM)


@row("any other")
def any_other(desk):
    answer = desk.analyze(SPAM, ["FLIRTATION", "SPAM", "spam", "SPAM@6666", "SPAM@", "SPAM@comments-000000000000", ""])
    assert (answer.status_code, list(answer.json()["attributeScores"])) == (200, ["SPAM"])
    nothing = desk.analyze(SPAM, ["SEXUALLY_EXPLICIT"], clientToken="t")
    assert (nothing.status_code, nothing.json()["attributeScores"], nothing.json()["clientToken"]) == (200, {}, "t")


@row("comment.text")
def comment_text(desk):
    assert desk.analyze("é" * 10_240).status_code == 200
    assert error_type(desk.analyze("é" * 10_240 + "x"))[1] == "COMMENT_TOO_LONG"
    raw = b'{"comment": {"text": "a\\u0000b \\ud800 c"}, "requestedAttributes": {"SPAM": {}}}'
    response = desk.call("analyze", content=raw)
    assert response.json()["attributeScores"]["SPAM"]["spanScores"][0]["end"] == 7
    assert desk.judged("a\ufffdb \ufffd c").text == "a\ufffdb \ufffd c"


@row("comment.type")
def comment_type(desk):
    known = ("PLAIN_TEXT", "plain_text", "TEXT_TYPE_UNSPECIFIED", None)
    for said, status in (*((each, 200) for each in known), ("HTML", 400), ("html", 400), ("X", 400)):
        body = {"comment": {"text": "x", "type": said}, "requestedAttributes": {"SPAM": {}}}
        assert desk.call("analyze", body).status_code == status
        around = {"entries": [{"text": "<p>y</p>", "type": said}]}
        assert desk.analyze("x", context=around).status_code == (400 if said == "X" else 200)


@row("context.articleAndParentComment")
def article_and_parent(desk):
    around = {"article": {"text": "a" * 1_000_100}, "parentComment": {"text": "p" * 50_001}}
    assert desk.analyze(context={"articleAndParentComment": around}).status_code == 200
    judged = desk.judged()
    assert (judged.post.text, judged.parent.text, judged.thread) == ("a" * 1_000_000, "p" * 50_000, None)
    assert desk.analyze("y", context={"articleAndParentComment": {"article": {"text": " "}}}).status_code == 200
    assert (desk.judged("y").post, desk.judged("y").parent) == (None, None)


@row("context.entries")
def entries(desk):
    said = [{"text": f"Number {number}"} for number in range(25)]
    facts = {"text": json.dumps({"url": "https://x.example", "Coral_comment_id": "c1"})}
    assert desk.analyze(context={"entries": [facts, *said, {"url": "no text"}, facts]}).status_code == 200
    judged = desk.judged()
    assert judged.parent.text == "Number 24"
    assert [item.text for item in judged.thread] == [f"Number {number}" for number in range(4, 24)]
    assert desk.analyze("y", context={"entries": [{"text": "{ curly, but no JSON }"}]}).status_code == 200
    assert (desk.judged("y").parent.text, desk.judged("y").thread) == ("{ curly, but no JSON }", ())
    assert desk.analyze("z", context={"entries": [facts]}).status_code == 200
    assert desk.judged("z").parent is None


@row("requestedAttributes")
def requested(desk):
    body = {"comment": {"text": "x"}, "requested_attributes": {"SPAM": None, "INSULT": {}}}
    assert list(desk.call("analyze", body).json()["attributeScores"]) == ["SPAM", "INSULT"]


@row("requestedAttributes.scoreType")
def score_type(desk):
    for said, status in (("PROBABILITY", 200), ("SCORE_TYPE_UNSPECIFIED", 200), ("RAW", 400), ("PERCENTILE", 400)):
        assert desk.analyze("x", {"SPAM": {"scoreType": said}}).status_code == status


@row("requestedAttributes.scoreThreshold")
def score_threshold(desk):
    value = desk.value()
    for threshold, is_left in ((0, True), (value - 1e-6, True), (value, False), ("0.999999", False), (1, False)):
        scores = desk.analyze(SPAM, {"SPAM": {"scoreThreshold": threshold}}).json()["attributeScores"]
        assert (scores["SPAM"] != {}) is is_left
        assert ("spanScores" in scores["SPAM"]) is is_left
    for none in (0, "0", 0.0, None):
        wanted = {"SPAM": {"scoreThreshold": none}}
        body = json.dumps({"comment": {"text": "x"}, "requestedAttributes": wanted}).encode()
        assert read_analyze(body, max_text_chars=9).thresholds == {"SPAM": None}


@row("languages")
def languages(desk):
    for said in (["en"], ["EN"], ["pt-BR", "de"], ["zh"], ["und"]):
        answer = desk.analyze(ON_IT, ["TOXICITY"], languages=said).json()
        assert (answer["languages"], answer["detectedLanguages"]) == (said, ["en"])
    assert desk.analyze("Noch ein Satz", languages=["de", "en"]).status_code == 200
    assert desk.judged("Noch ein Satz").lang == "de"
    answer = desk.analyze("Das ist nicht gut und auch nicht schön").json()
    assert answer["languages"] == answer["detectedLanguages"] == ["und"]
    for text, found in ((ON_IT, "en"), ("Привет, мир", "und"), ("😀", "und"), ("17", "und"), ("!!!", None)):
        assert detect_language(text) == found


@row("doNotStore")
def do_not_store(desk):
    assert desk.analyze("Secret words", doNotStore=True).status_code == 200
    assert desk.comments("Secret words") == []
    assert desk.suggest("Secret words", doNotStore=True).status_code == 200
    assert (desk.comments("Secret words"), desk.labels()) == ([], [])


@row("clientToken")
def client_token(desk):
    assert desk.analyze(clientToken="tökën ✓ 😀").json()["clientToken"] == "tökën ✓ 😀"
    assert "clientToken" not in desk.analyze().json()
    finds_again(desk, "clientToken")


@row("sessionId")
def session_id(desk):
    finds_again(desk, "sessionId")


@row("communityId")
def community_id(desk):
    finds_again(desk, "communityId")
    assert {label["moderator"] for label in desk.labels()} == {"site:first"}


def finds_again(desk: Desk, field: str) -> None:
    """Of the same text twice, the one that shares the field is meant, though it is the older one."""
    text = f"{SPAM} {field}"
    for said in ("first", "second"):
        desk.analyze(text, **{field: said})
    desk.suggest(text, {"SPAM": 1}, **{field: "first"})
    second, first = desk.comments(text)
    assert (first.status, second.status) == ("rejected", "held")


@row("spanAnnotations")
def span_annotations(desk):
    text = "👩‍👩‍👧 é́ see https://shop.example/1 and https://shop.example/2 now"
    found = desk.analyze(text, ["SPAM", "TOXICITY"], spanAnnotations=True).json()["attributeScores"]
    units = text.encode("utf-16-le")
    spans = found["SPAM"]["spanScores"]
    words = [units[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le") for span in spans]
    whole = {"begin": 0, "end": len(units) // 2, "score": found["TOXICITY"]["summaryScore"]}
    assert words == ["https://shop.example/1", "https://shop.example/2"]
    assert all(0 < span["score"]["value"] <= found["SPAM"]["summaryScore"]["value"] for span in spans)
    assert found["TOXICITY"]["spanScores"] == [whole]
    plain = desk.analyze(text, ["SPAM"]).json()["attributeScores"]["SPAM"]
    assert plain["spanScores"] == [{**whole, "score": plain["summaryScore"]}]
    assert plain["summaryScore"]["type"] == "PROBABILITY"


@row("dropUnsupportedAttributes")
def drop_unsupported(desk):
    asked = ["TOXICITY", "SPAM"]
    answer = desk.analyze(ON_IT, asked, languages=["om"], dropUnsupportedAttributes=True)
    assert list(answer.json()["attributeScores"]) == ["SPAM"]
    assert desk.analyze(ON_IT, asked, languages=["om"]).status_code == 400


@row("attributeScores")
def attribute_scores(desk):
    desk.analyze(ON_IT, clientToken="t")
    answer = desk.suggest(ON_IT, {"TOXICITY": 1, "SPAM": 0, "FLIRTATION": 1}, clientToken="t", languages=["en"])
    assert answer.json() == {"clientToken": "t", "requestedLanguages": ["en"], "detectedLanguages": ["en"]}
    [label] = desk.labels()
    assert (label["labels"], label["moderator"]) == ({"hostile": 1, "spam": 0}, f"site:{desk.site.url}")
    [stored] = desk.comments(ON_IT)
    [verdict] = desk.parts.moderation.verdicts(desk.site, stored.id)
    assert (stored.status, verdict.source) == ("rejected", "perspective")


@row("attributeScores.spanScores")
def suggested_spans(desk):
    score = {"value": 1, "type": "PROBABILITY"}
    for span, status in (
        ({"begin": 0, "end": 4, "score": score}, 200),
        ({"end": 4, "score": score}, 400),
        ({"begin": 0, "score": score}, 400),
        ({"begin": 5, "end": 4, "score": score}, 400),
        ({"begin": 0, "end": 4, "score": {"value": 1, "type": "RAW"}}, 400),
        ({"begin": 0, "end": 4, "score": {"value": 1.1}}, 400),
    ):
        body = {"comment": {"text": ON_IT}, "attributeScores": {"TOXICITY": {"spanScores": [span]}}}
        assert desk.call("suggestscore", body).status_code == status
    assert desk.labels() == []


@row("unknown fields")
def unknown_fields(desk):
    extra = {"comment": {"text": "x", "colour": 1}, "requestedAttributes": {"SPAM": {"depth": []}}, "more": {"a": None}}
    assert desk.call("analyze", extra).status_code == 200


@row("key")
def key_in_address(desk):
    assert desk.analyze().status_code == 200
    assert desk.comments()[0].site == desk.site.url


def key_in_header(desk: Desk, headers: dict[str, str]) -> None:
    body = {"comment": {"text": SPAM}, "requestedAttributes": {"SPAM": {}}}
    assert desk.call("analyze", body, query={}, headers=headers).status_code == 200
    assert desk.call("analyze", body, query={"key": "of-a-proxy"}, headers=headers).status_code == 200


row("Authorization: Bearer")(lambda desk: key_in_header(desk, {"Authorization": f"Bearer {desk.key}"}))
row("X-API-Key")(lambda desk: key_in_header(desk, {"X-API-Key": desk.key}))
row("X-Goog-Api-Key")(lambda desk: key_in_header(desk, {"X-Goog-Api-Key": desk.key}))


def tolerated(name: str, *values: str) -> None:
    def case(desk: Desk) -> None:
        body = {"comment": {"text": SPAM}, "requestedAttributes": {"SPAM": {}}}
        plain = desk.call("analyze", body)
        for value in values:
            assert desk.call("analyze", body, query={"key": desk.key, name: value}).content == plain.content

    row(name)(case)


tolerated("alt", "json", "media", "proto", "?")
tolerated("fields", "attributeScores/TOXICITY", "")
tolerated("prettyPrint", "true", "false", "maybe")
tolerated("quotaUser", "ann")
tolerated("userIp", "203.0.113.9")
tolerated("callback", "alert")
tolerated("access_token", "ya29.x")
tolerated("oauth_token", "x")
tolerated("uploadType", "media")
tolerated("upload_protocol", "raw")
tolerated("$.xgafv", "1", "2")


@row("COMMENT_EMPTY")
def comment_empty(desk):
    said = "Comment must be non-empty.", "COMMENT_EMPTY"
    assert [error_type(desk.analyze(text)) for text in ("", " \n\t")] == [said, said]
    for body in ({}, {"comment": None}, {"comment": {"type": "PLAIN_TEXT"}, "requestedAttributes": {}}):
        assert error_type(desk.call("analyze", body)) == said
    assert error_type(desk.call("suggestscore", {})) == said


@row("COMMENT_TOO_LONG")
def comment_too_long(desk):
    said = "Comment text too long.", "COMMENT_TOO_LONG"
    assert error_type(desk.analyze("x" * 20_481)) == said == error_type(desk.suggest("x" * 20_481))
    assert desk.analyze("x" * 20_480).status_code == 200


@row("NO_REQUESTED_ATTRIBUTES")
def no_attributes(desk):
    said = "Missing requested_attributes", "NO_REQUESTED_ATTRIBUTES"
    for more in ({}, {"requestedAttributes": {}}, {"requestedAttributes": None}):
        assert error_type(desk.call("analyze", {"comment": {"text": "x"}, **more})) == said


@row("LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE")
def language_not_supported(desk):
    error = refusal(desk.analyze(ON_IT, ["SPAM", "INSULT", "TOXICITY"], languages=["en", "om"]))
    assert error["message"] == "Attribute INSULT does not support request languages: en, om"
    assert error["details"] == [
        {
            "@type": ERROR,
            "errorType": "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
            "languageNotSupportedByAttributeError": {"requestedLanguages": ["en", "om"], "attribute": "INSULT"},
        }
    ]
    assert error_type(desk.analyze(ON_IT, languages=["English!"]))[1] == "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"


@row("LANGUAGE_DETECTION_FAILED")
def detection_failed(desk):
    assert error_type(desk.analyze("?!")) == ("Unable to detect language", "LANGUAGE_DETECTION_FAILED")
    assert desk.analyze("?!", languages=["en"]).status_code == 200


@row("INVALID_REQUEST: unknown attribute")
def unknown_attribute(_desk, fixture):
    assert fixture("plain_home").exists()
    desk = Desk(fixture("start")(unknown_attributes="refuse"))
    for answer in (desk.analyze("x", ["SPAM", "FLIRTATION"]), desk.suggest("x", {"FLIRTATION": 1})):
        assert error_type(answer) == ("Unknown requested attribute: FLIRTATION", "INVALID_REQUEST")
    assert error_type(desk.analyze("x", ["SPAM@6666"]))[0] == "Unknown requested attribute: SPAM@6666"
    assert desk.comments("x") == []
    assert desk.suggest("x", {"APPROVED": 1}).status_code == 200
    assert desk.analyze("x").status_code == 200


@row("INVALID_REQUEST: too many versions")
def too_many_versions(desk):
    names = [f"{name}@000{number}" for name in ("SPAM", "INSULT") for number in range(5)]
    assert error_type(desk.analyze("x", names)) == ("At most 4 versions can be requested at once.", "INVALID_REQUEST")
    assert desk.analyze("x", [name for name in names if not name.endswith("4")]).json()["attributeScores"] == {}
    assert desk.analyze("x", [f"FLIRTATION@{number}" for number in range(9)]).status_code == 200


@row("INVALID_REQUEST: score type")
def wrong_score_type(desk):
    assert desk.analyze("x", {"SPAM": {"scoreType": "probability"}}).json()["attributeScores"]["SPAM"]
    answer = desk.analyze("x", {"SPAM": {"scoreType": "STD_DEV_SCORE"}})
    said = "Requested score type STD_DEV_SCORE is not supported by attribute SPAM", "INVALID_REQUEST"
    assert error_type(answer) == said


@row("INVALID_REQUEST: text type")
def wrong_text_type(desk):
    messages = {"HTML": "Currently, only 'PLAIN_TEXT' comments are supported", "MARKDOWN": "Unknown text type"}
    for said, message in messages.items():
        body = {"comment": {"text": "x", "type": said}, "requestedAttributes": {"SPAM": {}}}
        assert error_type(desk.call("analyze", body)) == (message, "INVALID_REQUEST")


@row("INVALID_REQUEST: both contexts")
def both_contexts(desk):
    around = {"entries": [{"text": "a"}], "articleAndParentComment": {"article": {"text": "b"}}}
    message = "Context can have either entries or article_and_parent_comment, but both fields were populated."
    assert error_type(desk.analyze(context=around)) == (message, "INVALID_REQUEST")
    assert desk.analyze(context={**around, "entries": []}).status_code == 200


@row("INVALID_REQUEST: context too long")
def context_too_long(desk):
    for text, status in (("x" * 2**20, 200), ("x" * (2**20 + 1), 400)):
        assert desk.analyze(context={"entries": [{"text": text}]}).status_code == status
    assert error_type(desk.analyze(context={"entries": [{"text": "é" * 2**20}]}))[1] == "INVALID_REQUEST"


@row("INVALID_REQUEST: no suggested score")
def no_suggested_score(desk):
    for more in ({}, {"attributeScores": {}}):
        answer = desk.call("suggestscore", {"comment": {"text": "x"}, **more})
        assert error_type(answer) == ("Missing attribute_scores", "INVALID_REQUEST")


@row("INVALID_ARGUMENT: malformed")
def malformed(desk):
    good = {"comment": {"text": "x"}, "requestedAttributes": {"SPAM": {}}}
    bodies = [
        *(good | {name: 5} for name in ("comment", "context", "requestedAttributes", "languages", "doNotStore")),
        *(good | {name: ["secret"]} for name in ("clientToken", "communityId", "sessionId", "spanAnnotations")),
        *(good | {"requestedAttributes": {"secret": wrong}} for wrong in (5, "x", [], False, {"scoreThreshold": "x"})),
        good | {"comment": {"text": 5}},
        good | {"languages": [5]},
        good | {"languages": {"secret": 1}},
        good | {"context": {"entries": "secret"}},
        good | {"context": {"entries": ["secret"]}},
        [],
        "secret",
        5,
    ]
    raw = [json.dumps(body).encode() for body in bodies]
    raw += [b"{", b"\xff", b"[" * 50_000, b'{"comment": NaN}', b"text=secret", b'{"a": 1e999, "comment": {"text": 1}}']
    for body in raw:
        error = refusal(desk.call("analyze", content=body))
        assert (error["code"], error["details"][0]["@type"]) == (400, "type.googleapis.com/google.rpc.BadRequest")
        assert "secret" not in json.dumps(error)
    for wrong in ({}, 5, {"summaryScore": {"value": 2}}, {"summaryScore": {"value": "high"}}, {"summaryScore": 1}):
        answer = desk.call("suggestscore", {"comment": {"text": "x"}, "attributeScores": {"TOXICITY": wrong}})
        assert refusal(answer)["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert error_type(desk.call("analyze", content=b""))[1] == "COMMENT_EMPTY"


@row("bad key")
def bad_key(desk):
    for key in ("nonsense", "0" * 60, "ü" * 5, desk.key[:-1]):
        assert desk.call("analyze", {}, query={"key": key}).json() == {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "API_KEY_INVALID",
                        "domain": "googleapis.com",
                        "metadata": {"service": "commentanalyzer.googleapis.com"},
                    }
                ],
            }
        }


@row("no key")
def no_key(desk):
    for query in ({}, {"key": ""}, {"key": " "}):
        error = refusal(desk.call("analyze", {}, query=query))
        assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    assert refusal(desk.call("suggestscore", {}, query={}, headers={"Authorization": "Basic dTpw"}))["code"] == 403


@row("over quota")
def over_quota(desk):
    """Nothing here raises it; if something ever does, this is what it will look like."""
    assert {desk.analyze().status_code for _ in range(10)} == {200}
    answer = DIALECT.answer(TooManyTries(7))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert json.loads(answer.body)["error"]["status"] == "RESOURCE_EXHAUSTED"


@row("unknown path or version")
def unknown_path(desk):
    for path in ("/v1alpha1", "/v1alpha1/", "/v1alpha1/comments", "/$discovery/", "/$discovery/rest?version=v2"):
        assert refusal(desk.send("GET", path))["status"] == "NOT_FOUND"
    assert refusal(desk.call("delete", {}))["message"] == "Method not found."


@row("wrong method")
def wrong_method(desk):
    for method, path in (("GET", "/v1alpha1/comments:analyze"), ("POST", "/%24discovery/rest")):
        answer = desk.send(method, path)
        assert (refusal(answer)["code"], bool(answer.headers["allow"])) == (405, True)


@row("body too large")
def body_too_large(desk):
    error = refusal(desk.analyze("x" * desk.parts.settings.max_body_bytes))
    assert (error["code"], error["message"]) == (400, "Request payload size exceeds the limit.")


@row("a bug")
def a_bug(desk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.parts.live_model, "pair_of", None)
        error = refusal(desk.analyze())
    assert error == {"code": 500, "message": "Internal error encountered.", "status": "INTERNAL"}


@row("database away")
def database_away(_desk, fixture):
    assert fixture("plain_home").exists()
    desk = Desk(fixture("start")(database_timeout_seconds=0.2))
    lock = sqlite3.connect(desk.parts.settings.home / "moderation.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    answers = [desk.analyze(), desk.suggest()]
    lock.rollback()
    lock.close()
    for answer in answers:
        assert refusal(answer)["message"] == "The service is currently unavailable."
        assert int(answer.headers["retry-after"]) > 0
    assert desk.comments() == []


@row("no model")
def no_model(_desk, fixture):
    models = fixture("home") / "models"
    models.mkdir(parents=True)
    (models / "current").write_text("no-such-bundle\n")
    desk = Desk(fixture("start")())
    answer = desk.analyze()
    assert (refusal(answer)["code"], [stored.status for stored in desk.comments()]) == (503, ["held"])
    assert (desk.suggest(scores={"SPAM": 1}).status_code, desk.comments()[0].status) == (200, "rejected")


# What is in no table.


def test_the_example_of_google_is_answered_in_its_words(desk):
    text = "I guess it comes down a simple choice, really. Get busy living or get busy dying."
    scores = {"TOXICITY": {"summaryScore": {"value": 0}}}
    body = {"comment": {"text": text}, "attributeScores": scores, "communityId": "/forum/movies"}
    answer = desk.call("suggestscore", body | {"clientToken": "comment-53922"})

    assert (answer.status_code, answer.text) == (200, '{"clientToken":"comment-53922"}')
    [label] = desk.labels()
    assert (label["labels"], label["moderator"]) == ({"hostile": 0}, "site:/forum/movies")


def test_an_escaped_colon_is_a_colon(desk):
    body = {"comment": {"text": "x"}, "requestedAttributes": {"SPAM": {}}}
    answer = desk.send("POST", "/v1alpha1/comments%3Aanalyze", params={"key": desk.key}, json=body)

    assert list(answer.json()) == ["attributeScores", "languages", "detectedLanguages"]


def test_coral_as_it_calls(desk):
    """Analyse on submission, without a token; later a verdict with one, and facts where a neighbour's text could be."""
    text, community = f"{SPAM} says Coral", f"Coral:{desk.site.url}/"
    told = desk.analyze(text, ["TOXICITY"], doNotStore=False, languages=["en"])
    assert told.json()["attributeScores"]["TOXICITY"]["summaryScore"]["value"] < 0.8
    facts = {"url": "https://x.example?commentID=c9", "reply_to_id_Coral_comment_id": "c1", "Coral_comment_id": "c9"}
    for scores, status in (({"TOXICITY": 1}, "rejected"), ({"APPROVED": 1}, "published"), ({"DELETED": 1}, "rejected")):
        answer = desk.suggest(
            text,
            scores,
            context={"entries": [{"text": json.dumps(facts)}]},
            languages=["EN"],
            communityId=community,
            clientToken="comment:c9",
        )
        assert answer.json()["clientToken"] == "comment:c9"
        assert [stored.status for stored in desk.comments(text)] == [status]
    assert desk.judged(text).parent is None
    assert {label["moderator"] for label in desk.labels()} == {f"site:{community}"}


def test_a_suggestion_that_may_mean_a_twin_moves_neither_of_them(desk):
    """Two people have written the same on different posts; whose it is the caller does not say."""
    desk.analyze()
    desk.analyze()
    for scores in ({"SPAM": 1}, {"SPAM": 0}, {"APPROVED": 1}, {"DELETED": 1}):
        assert desk.suggest(scores=scores).status_code == 200
        assert [stored.status for stored in desk.comments()] == ["held", "held"]

    [label] = desk.labels()
    assert (label["id"], set(label["labels"].values())) == (desk.comments()[0].id, {0})


def test_a_suggestion_moves_no_comment_of_another_protocol(desk):
    desk.parts.workflow.submit(desk.site, Comment(SPAM, id="c1"))
    for scores in ({"SPAM": 0}, {"SPAM": 1}):
        desk.suggest(scores=scores)
        assert [(stored.id, stored.status) for stored in desk.comments()] == [("c1", "held")]

    desk.analyze()
    desk.suggest(scores={"SPAM": 1})
    assert [stored.status for stored in desk.comments()] == ["rejected", "held"]


def test_what_is_cleared_in_one_category_stays_held_for_another(desk):
    desk.analyze()
    desk.suggest(scores={"TOXICITY": 0})
    assert ([stored.status for stored in desk.comments()], desk.labels()[0]["labels"]) == (["held"], {"hostile": 0})

    desk.suggest(scores={"SPAM": 0})
    assert [stored.status for stored in desk.comments()] == ["published"]
    assert [label["labels"] for label in desk.labels()] == [{"hostile": 0, "spam": 0}]


def test_the_recipe_for_a_line_runs_as_printed(tmp_path, monkeypatch, capsys):
    """On what ``moderation score`` writes, lines that could not be scored among it."""
    recipe = PAGE[PAGE.index("### Thresholds") :].split("```python\n")[1].split("```")[0]
    lines = [{"scores": {"hostile": number / 1000}} for number in range(1, 1001)]
    lines += [{"line": 7, "error": "must be an object"}, {"action": "hold", "scores": None}]
    (tmp_path / "decisions.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(dedent(recipe), {})

    assert "5.0% of the comments reach 0.950" in capsys.readouterr().out


def test_osmod_gets_what_there_is_of_its_sixteen_attributes(desk):
    ours = {"TOXICITY", "SEVERE_TOXICITY", "PROFANITY", "THREAT", "INSULT", "SPAM", "LIKELY_TO_REJECT"}
    theirs = {"ATTACK_ON_AUTHOR", "ATTACK_ON_COMMENTER", "INCOHERENT", "INFLAMMATORY", "OBSCENE", "UNSUBSTANTIAL"}
    theirs |= {"SEXUALLY_EXPLICIT", "FLIRTATION"}
    answer = desk.analyze(SPAM, [*ours, *theirs, "OFF_TOPIC"], languages=["en"], spanAnnotations=True, sessionId="s")

    assert (answer.status_code, set(answer.json()["attributeScores"])) == (200, ours)
    for scores in answer.json()["attributeScores"].values():
        assert list(scores) == ["spanScores", "summaryScore"]
        assert all(span["end"] <= len(SPAM) for span in scores["spanScores"])


@pytest.mark.parametrize(
    "body",
    [
        '{comment: {text: "what a nice day"}, languages: ["en"], requestedAttributes: {SPAM:{}} }',
        "{ comment: { text: 'what a nice day' }, languages: ['en'], requestedAttributes: { SPAM: {}, }, }",
        '{"comment": {"text": "what a nice day"}, "languages": "en", "requestedAttributes": {"SPAM": {}}}',
        '{"comment": {"text": "a day"}, "context": {"entries": {"text": "x"}}, "requestedAttributes": {"SPAM": {}}}',
    ],
    ids=["Google's example for curl", "single quotes and commas before the end", "one language", "one entry"],
)
def test_bodies_as_people_write_them_by_hand_are_read(desk, body):
    answer = desk.call("analyze", content=body.encode())

    assert (answer.status_code, list(answer.json()["attributeScores"])) == (200, ["SPAM"])


def test_asking_again_is_no_campaign(desk):
    for _ in range(8):
        assert desk.analyze("A sentence of nine words that harms nobody at all").status_code == 200

    assert desk.parts.store.queue.count([desk.site]) == 0


def test_several_calls_in_one_are_refused_in_the_shape_of_google(desk):
    assert refusal(desk.send("POST", "/batch", content=b""))["status"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"TOXICITY": 0.5}, ("reject", ("hostile",), ())),
        ({"TOXICITY": 0.49}, ("approve", (), ("hostile",))),
        ({"TOXICITY": 1, "TOXICITY_FAST": 0, "INSULT_EXPERIMENTAL": 0}, ("reject", ("hostile",), ("insult",))),
        ({"THREAT@6": 1}, ("reject", ("threat",), ())),
        ({"LIKELY_TO_REJECT": 1}, ("reject", (), ())),
        ({"LIKELY_TO_REJECT": 0}, ("approve", (), ())),
        ({"LIKELY_TO_REJECT": 1, "SPAM": 0}, ("reject", (), ("spam",))),
        ({"LIKELY_TO_REJECT": 0, "SPAM": 1}, ("reject", ("spam",), ())),
        ({"APPROVED": 1}, ("approve", (), ())),
        ({"HIGHLIGHTED": 1, "SPAM": 0}, ("approve", (), ())),
        ({"DELETED": 1}, ("reject", (), ())),
        ({"DELETED": 0}, None),
        ({"APPROVED": 0}, None),
        ({"FLIRTATION": 1}, None),
        ({"TOXICITY": None}, None),
        ({}, None),
    ],
)
def test_what_suggested_values_come_to(values, verdict):
    found = read_judgement(values)
    assert (found and (found.action, found.categories, found.cleared)) == verdict


def test_the_discovery_document_leads_here_or_where_the_operator_says(shared_service, start, plain_home):
    here = shared_service.client.get("/$discovery/rest?version=v1alpha1&key=whatever&userIp=203.0.113.9").json()
    assert (here["rootUrl"], here["servicePath"], "auth" in here) == (f"{shared_service.url}/", "", False)
    for schema in here["schemas"].values():
        assert schema["properties"]
    references = set(re.findall(r'"\$ref": "(\w+)"', json.dumps(here)))
    assert references | {"AnalyzeCommentRequest"} == set(here["schemas"])
    assert plain_home.exists()
    there = start(public_url="https://moderation.example/below/")
    assert there.client.get("/$discovery/rest").json()["rootUrl"] == "https://moderation.example/below/"


def test_every_field_that_is_documented_is_in_the_discovery_document(shared_service):
    document = shared_service.client.get("/$discovery/rest").json()
    fields = {name for schema in document["schemas"].values() for name in schema["properties"]}
    fields |= set(document["parameters"])
    headers = {"Authorization: Bearer", "X-API-Key", "X-Goog-Api-Key", "unknown fields"}
    table = PAGE[PAGE.index("### Fields and errors") : PAGE.index("| COMMENT_EMPTY")]
    documented = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    named = {part for name in documented - headers for part in name.split(".") if "$" not in name}
    assert named - {"requestedAttributes"} <= fields
    assert "$.xgafv" in documented & fields


class TestVersions:
    @pytest.fixture
    def two(self, start, plain_home, make_bundle):
        """A service with another bundle beside the one that serves, for which links say nothing."""
        other = make_bundle(plain_home / "models", spam=0.0)
        return Desk(start()), other

    def test_a_bundle_that_is_kept_answers_beside_the_one_that_serves(self, two):
        desk, other = two
        scores = desk.analyze(SPAM, ["SPAM", f"SPAM@{other.name}"], spanAnnotations=True).json()["attributeScores"]
        expected = load_bundle(other).model.score([Comment(SPAM, site=desk.site.url)])[0].spam

        assert scores["SPAM"]["summaryScore"]["value"] > 0.5
        assert scores[f"SPAM@{other.name}"]["summaryScore"]["value"] == round(expected, 6) < 0.1
        # It is asked, no more: what was decided goes by the bundle that serves.
        assert desk.comments()[0].decision.bundle != other.name

    def test_one_that_is_broken_is_unknown(self, two):
        desk, other = two
        (other / "arrays.safetensors").write_bytes(b"broken")
        answer = desk.analyze(SPAM, ["SPAM", f"SPAM@{other.name}"])

        assert (answer.status_code, list(answer.json()["attributeScores"])) == (200, ["SPAM"])

    def test_whoever_waits_takes_no_threads_from_the_others(self, two):
        desk, other = two
        model = desk.parts.live_model
        with model._opening:
            for _ in range(4):
                assert model._waiting.acquire(blocking=False)
            with pytest.raises(BundleBusy):
                model.bundle(other.name)
            # What is loaded is there for all.
            assert model.bundle(model.current().bundle.name) is model.current().bundle
            busy = desk.analyze(SPAM, [f"SPAM@{other.name}"])
            model._waiting.release(4)

        assert (refusal(busy)["status"], desk.comments()) == ("UNAVAILABLE", [])
        assert desk.analyze(SPAM, [f"SPAM@{other.name}"]).status_code == 200

    def test_the_fast_one_is_the_lexical_tier(self, start, shipped_bundle):
        desk = Desk(start())
        text = "What kind of idiot name is foo?"
        expected = shipped_bundle.model.lexical_tier().score([Comment(text, site=desk.site.url)])[0]

        assert desk.value(text, "TOXICITY_FAST") == round(expected.hostile, 6)
        assert abs(desk.value(text, "TOXICITY") - expected.hostile) > 0.01
        found = desk.analyze(text, ["TOXICITY_FAST"], spanAnnotations=True).json()["attributeScores"]["TOXICITY_FAST"]
        [(begin, end)] = {(span["begin"], span["end"]) for span in found["spanScores"]}
        assert text[begin:end] == "idiot"


def test_nothing_that_was_sent_is_logged(desk, caplog):
    with caplog.at_level("INFO", logger="service"):
        desk.analyze("Secret words", ["SPAM", "Secret attribute", "FLIRTATION"], clientToken="secret-token")
        desk.analyze("Secret words", [], communityId="secret-community")
        desk.suggest("Secret words", clientToken="secret-token")
    ours = [record for record in caplog.records if record.name.startswith("service")]
    said = "\n".join(f"{record.getMessage()} {vars(record)}" for record in ours)

    assert "FLIRTATION" in said
    for secret in ("ecret words", "ecret attribute", "secret-token", "secret-community", desk.key):
        assert secret not in said


def test_a_key_in_an_address_is_in_no_log(serve, tmp_path):
    """Web servers like to log addresses; this is the one that operators start."""
    with serve(tmp_path / "home") as served:
        assert served.key
        body = {"comment": {"text": "x"}, "requestedAttributes": {"SPAM": {}}}
        for path in ("v1alpha1/comments:analyze", "v1alpha1/comments:none", "$discovery/rest"):
            httpx.post(f"{served.url}/{path}", params={"key": served.key}, json=body, timeout=60)
    log = (tmp_path / "home.stderr").read_text(encoding="utf-8")

    assert '"/v1alpha1/comments:analyze"' in log
    assert served.key[8:] not in log


# Texts with everything in them that makes offsets differ: emoji, joined ones, combining marks, other planes, lone
# surrogates.
TEXTS = st.text(
    st.one_of(st.sampled_from("ab !.é\u0301\u200d\ufe0f👩👧😀𝕏\U0001f468שלاя字\n\x00\ud83d\ude00"), st.characters()),
    min_size=1,
    max_size=60,
).map(lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))  # halves meet


def cut(text: str, spans: list[dict]) -> list[str]:
    """The parts of a text that spans point at, cut out as JavaScript does, made readable as the service reads them."""
    units = text.encode("utf-16-le", "surrogatepass")
    parts = [units[2 * span["begin"] : 2 * span["end"]] for span in spans]
    return [make_readable(part.decode("utf-16-le", "surrogatepass")) for part in parts]


@given(TEXTS, st.data())
def test_spans_in_utf_16_units_cut_the_same_words_out_of_what_was_sent(sent, data):
    text = make_readable(sent)
    words = find_words(text)
    strengths = data.draw(st.dictionaries(st.sampled_from(range(len(words))), st.floats(0.1, 1))) if words else {}
    spans = join_words(text, words, strengths, 50)
    written = write_scores(text, 0.5, spans, threshold=None)
    whole = {"begin": 0, "end": len(sent.encode("utf-16-le", "surrogatepass")) // 2}

    if spans:
        assert cut(sent, written["spanScores"]) == [text[span.start : span.end] for span in spans]
    else:
        assert written["spanScores"] == [{**whole, "score": written["summaryScore"]}]
    assert all(0 <= span["begin"] < span["end"] <= whole["end"] for span in written["spanScores"])
    assert all(span["score"]["value"] <= written["summaryScore"]["value"] for span in written["spanScores"])


def test_spans_of_real_reasons_cut_out_what_raised_the_score(shared_service):
    desk = Desk(shared_service)
    links = ["https://shop.example/1", "https://shop.example/2"]

    @settings(max_examples=25, deadline=None)
    @given(TEXTS, TEXTS)
    def check(before, after):
        sent = f"{before} {links[0]} {after}\n{links[1]} now"
        body = json.dumps({"comment": {"text": sent}, "requestedAttributes": {"SPAM": {}}, "spanAnnotations": True})
        scores = desk.call("analyze", content=body.encode()).json()["attributeScores"]["SPAM"]
        assert set(links) <= set(cut(sent, scores["spanScores"]))

    check()


def test_spans_of_many_attributes_take_no_more_time_than_there_is(shared_service, monkeypatch):
    """Counted in characters read by each tier, not in seconds of a busy machine."""
    desk = Desk(shared_service)
    read: dict[str, int] = {"full": 0, "lexical": 0}

    def explain_and_note(model, comment, code):
        found = explain(model, comment, code)
        read[found.tier] += len(comment.text)
        return found

    monkeypatch.setattr(perspective, "explain", explain_and_note)
    names = [name for name in perspective.CATEGORIES if name != "OFF_TOPIC"]
    for repeats in (1, 5, 300):
        read.update(full=0, lexical=0)
        text = "You stupid idiot, buy cheap pills at https://shop.example now! " * repeats
        scores = desk.analyze(text, names, spanAnnotations=True).json()["attributeScores"]

        assert set(scores) == set(names)
        assert all(scores[name]["spanScores"] for name in names)
        assert read["full"] <= perspective.MAX_FULL_SPAN_CHARS
        assert read["lexical"] <= perspective.MAX_LEXICAL_SPAN_CHARS + perspective.MAX_FULL_SPAN_CHARS


@pytest.mark.parametrize("operation", ["analyze", "suggestscore"])
def test_more_than_a_hundred_attributes_are_refused(shared_service, operation):
    desk = Desk(shared_service)
    name = {"analyze": "requestedAttributes", "suggestscore": "attributeScores"}[operation]
    body = {"comment": {"text": ON_IT}, name: {f"A{number}": {"summaryScore": {}} for number in range(101)}}
    refused = desk.call(operation, body)
    body[name].popitem()

    assert (refused.status_code, refusal(refused)["status"]) == (400, "INVALID_ARGUMENT")
    assert desk.call(operation, body).status_code == 200


def test_a_byte_order_mark_is_passed_over(shared_service):
    body = json.dumps({"comment": {"text": ON_IT}, "requestedAttributes": {"TOXICITY": {}}}).encode()

    assert Desk(shared_service).call("analyze", content=b"\xef\xbb\xbf" + body).status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("comment", "context", "languages", "requestedAttributes", "attributeScores", "clientToken", "doNotStore")
INNER = ("text", "type", "entries", "articleAndParentComment", "TOXICITY", "summaryScore", "value", "spanScores")


@given(st.dictionaries(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(INNER), JSON)))
def test_any_json_is_read_or_refused(body):
    raw = json.dumps(body).encode()
    for read in (read_analyze, read_suggestion):
        try:
            assert read(raw, max_text_chars=100).sent.comment.text.strip()
        except Refused as error:
            answer = DIALECT.answer(error)
        else:
            continue
        assert answer.status_code == 400
