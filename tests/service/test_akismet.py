"""The protocol of Akismet over real HTTP: every field, header and error of the table in docs/dialects.md."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote_from_bytes

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from moderation.comment import MAX_TEXT_CHARS, Comment
from moderation.rules import REASONS
from service.auth import hash_token, make_key
from service.dialects.akismet_account import HOSTILE_REASONS, SPAM_REASONS, says_spam
from service.dialects.akismet_request import MAX_BODY_BYTES, Said, _read, find_charset, make_comment
from service.errors import InvalidRequest, StoreUnavailable
from service.statuses import AKISMET_ID
from service.store import Judge, Judgement, QueueFilter, Store, Target

SPAM = "See https://shop.example and https://shop.example/2"
HAM = "A thoughtful word about bread."
RYE = "Rye takes longer to rise."
HOSTILE = "You are all wrong!!! Wrong!!! Wrong!!! Wrong!!! Wrong!!!"
THANKS = "Thanks for making the web a better place."
ADA = Judge("Ada", "review")


class Desk:
    """A site of its own on the shared service, and a client that speaks Akismet."""

    def __init__(self, service, url: str) -> None:
        self.service, self.parts = service, service.parts
        self.site = self.parts.store.add_site(url)
        self.key = make_key(self.parts.store, self.site)
        self.client = httpx.Client(base_url=service.url, timeout=20)

    def post(self, path: str, **fields) -> httpx.Response:
        return self.client.post(path, data={"api_key": self.key, "blog": self.site.url, "user_ip": ""} | fields)

    def check(self, content: str = HAM, **fields) -> httpx.Response:
        return self.post("/1.1/comment-check", comment_content=content, **fields)

    def stored(self, response: httpx.Response):
        """The comment that was kept of a check, and its status."""
        name = AKISMET_ID + response.headers["x-akismet-guid"]
        found = self.parts.store.find_comments(self.site, [name]).get(name)
        if found is None:
            return None
        kept = self.parts.store.judged_comment(found.decision.decision_id)
        return SimpleNamespace(id=name, status=found.status, comment=kept and kept[0], decision=found.decision)

    def labels(self) -> list[dict]:
        return list(self.parts.store.labels.read(self.site))

    def waiting(self) -> int:
        page = self.parts.moderation.queue([self.site], QueueFilter(), sort="age", limit=50, after=None)
        return len(page.entries)

    def judge(self, response: httpx.Response, judgement: Judgement, judge: Judge = ADA):
        stored = self.stored(response)
        return self.parts.moderation.decide(self.site, judge, judgement, Target(stored.decision.digest, stored.id))


@pytest.fixture
def open_desk():
    opened = []

    def open_one(service, url: str) -> Desk:
        opened.append(Desk(service, url))
        return opened[-1]

    yield open_one
    for each in opened:
        each.client.close()


@pytest.fixture
def desk(shared_service, request, open_desk):
    return open_desk(shared_service, f"https://akismet-{abs(hash(request.node.nodeid))}.example")


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, checked for this protocol's shape."""
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["x-akismet-debug-help"]
    assert response.text
    assert response.text not in {"true", "false", "valid", "invalid", THANKS}
    assert not response.text.endswith("\n")
    return response.status_code, response.headers["x-akismet-error"]


def answer(response: httpx.Response) -> str:
    """The whole body of an answer that is none of an error."""
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert not {"x-akismet-error", "x-akismet-debug-help", "x-akismet-alert-code"} & set(response.headers)
    return response.text


class TestKeys:
    @pytest.mark.parametrize("name", ["key", "api_key"])
    def test_a_key_is_valid_whatever_it_is_called_and_whatever_the_blog(self, desk, name):
        assert answer(desk.client.post("/1.1/verify-key", data={name: desk.key, "blog": "x"})) == "valid"
        assert answer(desk.client.post("/1.1/verify-key", data={name: desk.key.upper()})) == "valid"

    def test_a_new_key_is_verified_while_an_old_one_is_in_use(self, desk):
        """The plugin sends the stored key as ``api_key`` beside the one that was typed in."""
        both = {"key": desk.key, "api_key": "0123456789ab"}
        assert answer(desk.client.post("/1.1/verify-key", data=both)) == "valid"
        swapped = {"key": "0123456789ab", "api_key": desk.key}
        assert desk.client.post("/1.1/verify-key", data=swapped).text == "invalid"

    def test_it_may_stand_in_the_address_the_host_and_every_kind_of_body(self, desk):
        fields = {"comment_content": HAM}
        named = {"api_key": desk.key} | fields
        path = "/1.1/comment-check"

        assert answer(desk.client.post(path, params={"api_key": desk.key}, data=fields)) == "false"
        assert (
            answer(desk.client.post(path, headers={"Host": f"{desk.key}.moderation.example"}, data=fields)) == "false"
        )
        assert answer(desk.client.post(path, files={name: (None, each) for name, each in named.items()})) == "false"
        assert answer(desk.client.post(path, json=named)) == "false"

    @pytest.mark.parametrize("key", ["", "x", "0" * 60, "no key\n", "é"])
    @pytest.mark.parametrize(
        "path",
        [
            "comment-check",
            "submit-spam",
            "submit-ham",
            "verify-key",
            "get-subscription",
            "verify-wpcom-key",
            "get-stats",
            "deactivate",
            "token",
        ],
    )
    def test_a_wrong_key_is_invalid_and_only_the_debug_header_says_more(self, desk, path, key):
        response = desk.client.post(f"/1.1/{path}", data={"api_key": key, "comment_content": HAM})

        assert (response.status_code, response.text) == (200, "invalid")
        assert response.headers["x-akismet-debug-help"]
        assert "x-akismet-error" not in response.headers

    def test_a_key_of_the_form_before_is_valid_with_its_capitals_and_else_says_what_to_do(self, desk):
        old = "mod_k3y4y0u2_" + "aB-_" * 10 + "xyz"
        desk.parts.store.add_key(desk.site, "k3y4y0u2", hash_token(old), who="operator")
        asked = [
            desk.client.post("/1.1/verify-key", data={"key": old.lower()}),
            desk.client.post("/1.1/verify-key", data={"key": old.upper()}),
            desk.client.post("/1.1/verify-key", headers={"Host": f"{old.lower()}.moderation.example"}),
            desk.check(api_key=old.lower()),
        ]

        assert answer(desk.client.post("/1.1/verify-key", data={"key": old})) == "valid"
        assert answer(desk.check(api_key=old)) == "false"
        for response in asked:
            assert (response.status_code, response.text) == (200, "invalid")
            help_ = response.headers["x-akismet-debug-help"]
            assert ("mod_" in help_, "capitals" in help_, "make a new one" in help_) == (True, True, True)
            assert old[13:20].lower() not in str(response.headers).lower()
        # What a client leaves of it that takes hexadecimal digits only is no key of any form.
        mangled = re.sub("[^0-9a-f]", "", old)
        response = desk.client.post("/1.1/verify-key", data={"key": mangled})
        assert (response.text, "make a new one" in response.headers["x-akismet-debug-help"]) == ("invalid", True)
        desk.parts.store.revoke_key("k3y4y0u2")
        assert desk.client.post("/1.1/verify-key", data={"key": old}).text == "invalid"

    def test_a_revoked_key_ends(self, desk):
        desk.parts.store.revoke_key(desk.key[:8])

        assert desk.check().text == "invalid"

    def test_a_listed_host_is_known_with_a_key_before_it(self, start, plain_home):  # noqa: ARG002  # started in it
        service = start(allowed_hosts="moderation.example")
        data = {"comment_content": HAM}
        named = {"Host": f"{service.key}.moderation.example"}

        assert answer(service.client.post("/1.1/comment-check", data=data, headers=named)) == "false"
        other = service.client.post("/1.1/comment-check", data=data, headers={"Host": f"{service.key}.evil.example"})
        assert error_of(other) == (400, "unknown_host")


class TestCheck:
    def test_ham_is_false_and_has_a_guid(self, desk):
        first, second = desk.check(HAM), desk.check(HAM)

        assert answer(first) == answer(second) == "false"
        assert 32 == len(first.headers["x-akismet-guid"]) == len(second.headers["x-akismet-guid"])
        assert first.headers["x-akismet-guid"] != second.headers["x-akismet-guid"]
        assert "x-akismet-pro-tip" not in first.headers
        assert desk.stored(first).status == "published"

    def test_spam_that_is_held_is_true_and_not_to_be_discarded(self, desk):
        response = desk.check(SPAM)

        assert answer(response) == "true"
        assert "x-akismet-pro-tip" not in response.headers
        assert (desk.stored(response).status, desk.waiting()) == ("held", 1)

    def test_rules_of_the_operator_are_spam_too(self, desk):
        response = desk.check("A forbidden word")

        assert answer(response) == "true"
        assert "x-akismet-pro-tip" not in response.headers
        assert desk.stored(response).status == "rejected"

    def test_what_is_held_as_hostile_is_no_spam(self, desk):
        response = desk.check(HOSTILE)

        assert (answer(response), desk.stored(response).status) == ("false", "held")

    def test_unless_the_policy_says_so(self, start, plain_home, open_desk):
        (plain_home / "policy.toml").write_text("[hostile]\nhold = 0.5\n[rules]\nhostile_counts_as_spam = true\n")
        desk = open_desk(start(), "https://strict.example")

        assert answer(desk.check(HOSTILE)) == "true"
        assert answer(desk.check(SPAM)) == "false"  # this policy has no line for it

    def test_only_what_is_over_the_reject_line_is_discarded(self, start, full_home, open_desk):
        (full_home / "policy.toml").write_text("[hostile]\nreject = 0.5\n[spam]\nhold = 0.3\nreject = 0.9\n")
        desk = open_desk(start(), "https://full.example")
        one = desk.check("See https://shop.example")
        many = desk.check(" ".join(f"https://shop.example/{n}" for n in range(20)))
        hostile = desk.check(HOSTILE)

        assert [desk.stored(each).status for each in (many, hostile)] == ["rejected", "rejected"]
        assert (answer(many), many.headers.get("x-akismet-pro-tip")) == ("true", "discard")
        assert (answer(hostile), hostile.headers.get("x-akismet-pro-tip")) == ("true", None)  # never to be published
        assert (desk.stored(one).status != "rejected", one.headers.get("x-akismet-pro-tip")) == (True, None)

    def test_what_is_sent_becomes_a_comment(self, desk):
        response = desk.check(
            "Fine crust.",
            comment_type="forum-post",
            comment_author="Ann",
            comment_author_url="https://ann.example",
            permalink="https://blog.example/bread",
            comment_post_ID="17",
            comment_parent="4",
            user_id="9",
            blog_lang="de_AT, en",
            comment_date_gmt="2026-01-02 03:04:05",
            **{"comment_context[]": ["cooking", "bread", "cooking"]},
        )
        comment = desk.stored(response).comment

        assert (comment.text, comment.kind, comment.lang) == ("Fine crust.", "forum-post", "de-AT")
        assert (comment.author.id, comment.author.name, comment.author.url) == ("9", "Ann", "https://ann.example")
        assert (comment.post.id, comment.post.url) == ("17", "https://blog.example/bread")
        assert (comment.post.tags, comment.parent.id) == (("cooking", "bread"), "4")
        assert comment.created_at == "2026-01-02 03:04:05"
        assert comment.hints == {}

    def test_what_says_nothing_is_left_out(self, desk):
        data = {"permalink": "https://blog.example/p", "comment_parent": "0", "user_id": "0", "content_type": "reply"}
        comment = desk.stored(desk.check(**data)).comment

        assert (comment.kind, comment.author, comment.parent) == ("reply", None, None)
        assert comment.post.id == comment.post.url == "https://blog.example/p"
        assert desk.stored(desk.check()).comment.kind == "comment"

    @pytest.mark.parametrize("names", [("comment_context[0]", "comment_context[1]"), ("comment_context[]",) * 2])
    def test_tags_in_each_spelling(self, desk, names):
        pairs = [("api_key", desk.key), ("comment_content", HAM), (names[0], "a"), (names[1], "b")]
        response = desk.client.post("/1.1/comment-check", content=httpx.QueryParams(pairs).__str__())

        assert desk.stored(response).comment.post.tags == ("a", "b")

    def test_tags_as_a_plain_text_and_in_json(self, desk):
        listed = desk.client.post(
            "/1.1/comment-check", json={"api_key": desk.key, "comment_content": HAM, "comment_context": ["a", 2, None]}
        )

        assert desk.stored(desk.check(comment_context="a, b")).comment.post.tags == ("a, b",)
        assert desk.stored(listed).comment.post.tags == ("a", "2")

    def test_json_behind_a_byte_order_mark_is_read(self, desk):
        body = b"\xef\xbb\xbf" + json.dumps({"api_key": desk.key, "comment_content": HAM}).encode()
        kind = {"Content-Type": "application/json"}

        assert answer(desk.client.post("/1.1/comment-check", content=body, headers=kind)) == "false"

    @pytest.mark.parametrize(
        ("charset", "text"),
        [
            ("windows-1251", "Хороший хлеб"),
            ("ISO-8859-1", "Brötchen schön"),
            ("Shift_JIS", "表示するパンが好きです"),
            ("EUC-KR", "빵이 맛있어요"),
            ("UTF-8", "خبز 🍞 面包"),
        ],
    )
    @pytest.mark.parametrize("escape", [True, False])
    def test_the_charset_of_the_form_is_heard(self, desk, charset, text, escape):
        raw = text.encode(charset)
        # As browsers write it: what is a letter in ASCII stays one, also where it is half of a sign.
        written = quote_from_bytes(raw).encode() if escape else raw.replace(b" ", b"+")
        body = f"api_key={desk.key}&comment_content=".encode() + written
        kind = f"application/x-www-form-urlencoded; charset={charset}"
        response = desk.client.post("/1.1/comment-check", content=body, headers={"Content-Type": kind})

        assert answer(response) == "false"
        assert desk.stored(response).comment.text == text

    def test_multipart_has_a_charset_too(self, desk):
        body = f'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n{desk.key}\r\n'.encode()
        body += b'--b\r\nContent-Disposition: form-data; name="comment_content"\r\n\r\n' + "Хлеб".encode("koi8-r")
        headers = {"Content-Type": "multipart/form-data; boundary=b; charset=koi8-r"}
        response = desk.client.post("/1.1/comment-check", content=body + b"\r\n--b--\r\n", headers=headers)

        assert desk.stored(response).comment.text == "Хлеб"

    @pytest.mark.parametrize(
        ("said", "raw", "text"),
        [
            ("", "Хлеб".encode("koi8-r"), "Хлеб"),
            ("Content-Type: text/plain; charset=utf-8\r\n", "Хлеб".encode(), "Хлеб"),
            ("Content-Type: text/plain\r\n", "Хлеб".encode("koi8-r"), "Хлеб"),
            ("Content-Type: text/plain; charset=\r\n", "Хлеб".encode("koi8-r"), "Хлеб"),
            ("Content-Type: text/plain; charset=iso-8859-1\r\n", "Brötchen".encode("latin-1"), "Brötchen"),
            ('Content-Type: text/plain; charset="Shift_JIS"\r\n', "パンが好き".encode("shift_jis"), "パンが好き"),
            ("Content-Type: text/plain; charset=utf-8\r\n", b"\xffbread\x00", "\ufffdbread\ufffd"),
        ],
    )
    def test_a_part_may_have_another_and_what_is_not_of_it_is_replaced(self, desk, said, raw, text):
        body = f'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n{desk.key}\r\n'.encode()
        body += f'--b\r\n{said}Content-Disposition: form-data; name="comment_content"\r\n\r\n'.encode() + raw
        headers = {"Content-Type": "multipart/form-data; boundary=b; charset=koi8-r"}
        response = desk.client.post("/1.1/comment-check", content=body + b"\r\n--b--\r\n", headers=headers)

        assert desk.stored(response).comment.text == text

    @pytest.mark.parametrize("charset", ["utf8mb5", "zlib", "x-nothing", "utf-16"])
    def test_a_charset_that_is_not_known_is_an_error_where_it_matters(self, desk, charset):
        named = b'Content-Disposition: form-data; name="%s"'
        key = b"--b\r\n" + named % b"api_key" + b"\r\n\r\n" + desk.key.encode() + b"\r\n"
        part = b"--b\r\nContent-Type: text/plain; charset=%s\r\n%s\r\n\r\nbread\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}

        def send(name: bytes) -> httpx.Response:
            body = key + part % (charset.encode(), named % name) + b"--b\r\n" + named % b"comment_author"
            return desk.client.post("/1.1/comment-check", content=body + b"\r\n\r\nAnn\r\n--b--\r\n", headers=headers)

        assert error_of(send(b"comment_content")) == (422, "invalid_request")
        assert "charset" in send(b"comment_content").headers["x-akismet-debug-help"]
        assert answer(send(b"POST_comment")) == "false"  # which nobody reads
        kind = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
        form = f"api_key={desk.key}&comment_content=bread"
        assert error_of(desk.client.post("/1.1/comment-check", content=form, headers=kind)) == (422, "invalid_request")

    @pytest.mark.parametrize("body", [b"%FF%FE bread", b"\xff bread", b"%00 bread", b"%ED%A0%80 bread"])
    def test_what_cannot_be_read_is_replaced_and_judged(self, desk, body):
        response = desk.client.post(
            "/1.1/comment-check",
            content=f"api_key={desk.key}&comment_content=".encode() + body,
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        )

        assert answer(response) == "false"
        assert desk.stored(response).comment.text.strip("\ufffd") == " bread"

    def test_a_lone_surrogate_in_json_is_replaced(self, desk):
        body = json.dumps({"api_key": desk.key, "comment_content": "a\ud800b\x00"})
        response = desk.client.post("/1.1/comment-check", content=body, headers={"Content-Type": "application/json"})

        assert desk.stored(response).comment.text == "a\ufffdb\ufffd"

    @pytest.mark.parametrize(
        "fields",
        [
            {"honeypot_field_name": "hp", "hp": "x"},
            {"POST_ak_hp_textarea": "x"},
        ],
    )
    def test_a_filled_honeypot_is_spam(self, desk, fields):
        response = desk.check(**fields)

        assert answer(response) == "true"
        assert desk.stored(response).comment.hints == {"honeypot": True}

    @pytest.mark.parametrize(
        "fields",
        [{"honeypot_field_name": "hp", "hp": " "}, {"honeypot_field_name": "comment_author", "comment_author": "Ann"}],
    )
    def test_an_empty_one_or_no_real_one_is_not(self, desk, fields):
        assert answer(desk.check(**fields)) == "false"

    def test_what_is_not_known_or_has_no_meaning_here_changes_nothing(self, desk):
        names = [
            *("callback", "comment_check_response", "site_domain", "blog_charset", "akismet_comment_nonce"),
            *("comment_post_modified_gmt", "order", "classify", "some_other_field", "x" * 300, ""),
        ]
        response = desk.check(**dict.fromkeys(names, "1"))

        assert answer(response) == "false"
        assert desk.stored(response).comment.digest() == desk.stored(desk.check()).comment.digest()
        assert "x-akismet-recheck-after" not in response.headers
        assert not [name for name in response.headers if name.startswith("x-akismet-alert")]

    def test_in_the_address_too_and_the_body_wins(self, desk):
        said = {"api_key": desk.key, "comment_content": "In the address", "comment_author": "Ann"}
        pairs = b"comment_content=first&comment_content=second"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        response = desk.client.post("/1.1/comment-check", params=said, content=pairs, headers=kind)

        assert desk.stored(response).comment.text == "second"
        assert desk.stored(response).comment.author.name == "Ann"

    def test_without_a_text_name_and_address_are_judged(self, desk):
        signup = desk.check("", comment_type="signup", comment_author="Ann", comment_author_url="https://ann.example")

        assert desk.stored(signup).comment.text == "Ann https://ann.example"
        assert answer(desk.check(" ")) == "false"
        assert desk.stored(desk.check("")) is None

    def test_what_only_goes_along_may_be_too_long(self, desk):
        long = "x" * 5000
        response = desk.check(comment_author=long, permalink=long, comment_type=long, user_id=long, blog_lang=long)
        comment = desk.stored(response).comment

        assert answer(response) == "false"
        assert (len(comment.author.name), comment.author.id, comment.post, comment.lang) == (1000, None, None, None)

    def test_text_that_is_too_long_is_refused_and_nothing_kept(self, desk):
        assert error_of(desk.check(" " * MAX_TEXT_CHARS + "abc")) == (413, "too_large")
        assert answer(desk.check("a" * MAX_TEXT_CHARS)) == "false"
        assert error_of(desk.check("a" * (MAX_TEXT_CHARS + 1))) == (413, "too_large")
        assert error_of(desk.post("/1.1/submit-spam", comment_content="a" * (MAX_TEXT_CHARS + 1))) == (413, "too_large")


class TestTests:
    """What clients send to see whether it works."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"comment_author": "akismet-guaranteed-spam"},
            {"comment_author": "viagra-test-123"},
            {"comment_author_email": "akismet-guaranteed-spam@example.com"},
        ],
    )
    def test_guaranteed_spam(self, desk, fields):
        response = desk.check(**fields)

        assert answer(response) == "true"
        assert len(response.headers["x-akismet-guid"]) == 32
        assert desk.stored(response) is None
        assert answer(desk.post("/1.1/submit-ham", comment_content=HAM, **fields)) == THANKS
        assert desk.labels() == []

    @pytest.mark.parametrize("role", ["administrator", "editor,administrator"])
    def test_administrators_are_ham(self, desk, role):
        response = desk.check(SPAM, user_role=role, comment_author="viagra-test-123")

        assert answer(response) == "false"
        assert desk.stored(response) is None
        assert answer(desk.check(SPAM, user_role="editor")) == "true"

    @pytest.mark.parametrize("said", ["1", "true"])
    def test_a_test_teaches_nothing_and_waits_nowhere(self, desk, said):
        spam = desk.check(SPAM, is_test=said)

        assert (answer(spam), answer(desk.check(HAM, is_test=said))) == ("true", "false")
        assert (desk.stored(spam), desk.waiting()) == (None, 0)
        assert answer(desk.post("/1.1/submit-spam", comment_content=HAM, is_test=said)) == THANKS
        assert desk.labels() == []
        assert answer(desk.check(SPAM, is_test="0")) == "true"
        assert desk.waiting() == 1


class TestFeedback:
    def test_by_guid_with_reporter_and_what_was_said_before(self, desk):
        held, fine = desk.check(SPAM), desk.check(HAM)
        for path, response in (("submit-ham", held), ("submit-spam", fine)):
            guid = response.headers["x-akismet-guid"]
            assert answer(desk.post(f"/1.1/{path}", comment_content="changed", guid=guid, reporter="ann")) == THANKS
        ham, spam = desk.labels()

        assert [desk.stored(each).status for each in (held, fine)] == ["published", "rejected"]
        assert (ham["text"], ham["labels"], ham["moderator"], ham["source"]) == (
            SPAM,
            {"spam": 0},
            "site:ann",
            "platform",
        )
        assert (spam["text"], spam["labels"], spam["action"]) == (HAM, {"spam": 1}, "publish")
        assert (ham["scores"]["spam"] > 0.5, spam["scores"]["spam"] < 0.5) == (True, True)

    def test_by_text_where_the_guid_is_missing_or_bad(self, desk):
        pages = [{"permalink": f"https://blog.example/{n}", "comment_author": "Ann"} for n in range(3)]
        first, second, third = (desk.check(SPAM, **page) for page in pages)
        assert answer(desk.post("/1.1/submit-ham", comment_content=SPAM, **pages[0])) == THANKS
        assert answer(desk.post("/1.1/submit-spam", comment_content=SPAM, guid="?", **pages[1])) == THANKS

        assert [desk.stored(each).status for each in (first, second, third)] == ["published", "rejected", "held"]

    def test_what_came_by_another_protocol_is_another_comment(self, desk):
        """Whoever speaks this one says nothing of it, though the words are the same."""
        for name in ("perspective-1", "native-1"):
            desk.parts.workflow.submit(desk.site, Comment(SPAM, id=name))
        page = {"permalink": "https://blog.example/1", "comment_author": "Ann"}
        assert answer(desk.post("/1.1/submit-ham", comment_content=SPAM, **page)) == THANKS
        found = desk.parts.store.find_comments(desk.site, ["perspective-1", "native-1"])

        assert {each.status for each in found.values()} == {"held"}
        assert [label["labels"] for label in desk.labels()] == [{"spam": 0}]

    @pytest.mark.parametrize("guid", ["unknown-guid-1", "0" * 32])
    def test_a_guid_that_is_not_known_is_none(self, desk, guid):
        """The comment is looked for by its text, and is not taken for another author's or page's."""
        pages = [{"permalink": f"https://blog.example/{n}", "comment_author": "Ann"} for n in range(2)]
        first, second = (desk.check(SPAM, **page) for page in pages)
        assert answer(desk.post("/1.1/submit-ham", comment_content=SPAM, guid=guid, **pages[0])) == THANKS
        assert [desk.stored(each).status for each in (first, second)] == ["published", "held"]
        assert [label["id"] for label in desk.labels()] == [desk.stored(first).id]

        elsewhere = pages[1] | {"comment_author": "Bob"}
        assert answer(desk.post("/1.1/submit-ham", comment_content=SPAM, guid=guid, **elsewhere)) == THANKS
        assert desk.stored(second).status == "held"
        assert desk.labels()[-1]["id"] == AKISMET_ID + guid

    def test_a_guid_of_what_was_erased_is_that_one(self, desk):
        page = {"permalink": "https://blog.example/1", "comment_author": "Ann"}
        erased, other = desk.check(SPAM, **page), desk.check(SPAM, **page)
        guid = erased.headers["x-akismet-guid"]
        desk.parts.workflow.erase(desk.site, AKISMET_ID + guid)

        assert answer(desk.post("/1.1/submit-ham", comment_content=SPAM, guid=guid, **page)) == THANKS
        assert (desk.stored(other).status, desk.labels()) == ("held", [])

    def test_what_was_never_checked_is_judged_and_learnt(self, desk):
        assert answer(desk.post("/1.1/submit-spam", comment_content=HAM, guid="from-elsewhere-1")) == THANKS
        [label] = desk.labels()

        assert (label["id"], label["labels"], label["moderator"]) == ("akismet-from-elsewhere-1", {"spam": 1}, "site")
        assert label["scores"]

    def test_json_without_blog_as_one_client_sends_it(self, desk):
        headers = {"Host": f"{desk.key}.moderation.example"}
        response = desk.client.post("/1.1/submit-spam", json={"comment_content": SPAM, "user_ip": ""}, headers=headers)

        assert answer(response) == THANKS
        assert [label["labels"] for label in desk.labels()] == [{"spam": 1}]

    def test_twice_is_once(self, desk):
        guid = desk.check(HAM).headers["x-akismet-guid"]
        for _ in range(2):
            desk.post("/1.1/submit-spam", comment_content=HAM, guid=guid, reporter="ann")

        assert len(desk.parts.moderation.verdicts(desk.site, AKISMET_ID + guid)) == 1

    def test_with_a_guid_no_text_is_needed_and_with_neither_nothing_happens(self, desk):
        held = desk.check(SPAM)
        assert answer(desk.post("/1.1/submit-ham", guid=held.headers["x-akismet-guid"])) == THANKS
        assert answer(desk.post("/1.1/submit-ham", guid="unknown-guid")) == THANKS
        assert answer(desk.post("/1.1/submit-ham")) == THANKS

        assert [label["text"] for label in desk.labels()] == [SPAM]

    def test_what_was_erased_stays_erased(self, desk):
        held = desk.check(SPAM)
        guid = held.headers["x-akismet-guid"]
        desk.parts.workflow.erase(desk.site, AKISMET_ID + guid)

        assert answer(desk.post("/1.1/submit-ham", comment_content=SPAM, guid=guid)) == THANKS
        assert answer(desk.check(SPAM, guid=guid, recheck_reason="retry")) == "true"
        assert (desk.labels(), desk.stored(held).status, desk.waiting()) == ([], "erased", 0)


class TestChecksAgain:
    def test_it_is_the_same_comment_by_guid_or_text(self, desk):
        page = {"permalink": "https://blog.example/1"}
        first = desk.check(SPAM, **page)
        guid = first.headers["x-akismet-guid"]

        assert desk.check(SPAM, recheck_reason="recheck_queue", **page).headers["x-akismet-guid"] == guid
        assert desk.check(SPAM, guid=guid, **page).headers["x-akismet-guid"] == guid
        assert desk.check(SPAM, **page).headers["x-akismet-guid"] != guid
        assert desk.check(HAM, recheck_reason="edit", **page).headers["x-akismet-guid"] != guid
        edited = desk.check(HAM, guid=guid, recheck_reason="edit", **page)
        assert (answer(edited), edited.headers["x-akismet-guid"], desk.stored(edited).status) == (
            "false",
            guid,
            "published",
        )

    def test_what_people_said_stands(self, desk):
        spam, ham = desk.check(SPAM), desk.check(HAM)
        desk.judge(spam, Judgement("approve"))
        desk.judge(ham, Judgement("reject", ("hostile",)))

        # The plugin leaves tags out when it checks again.
        assert answer(desk.check(SPAM, recheck_reason="retry", comment_context="bread")) == "false"
        assert answer(desk.check(HAM, recheck_reason="retry")) == "true"
        assert desk.stored(spam).status == "published"

    def test_what_people_said_stands_when_the_text_is_no_longer_kept(self, desk):
        ham = desk.check(HAM)
        again = {"guid": ham.headers["x-akismet-guid"]}
        desk.judge(ham, Judgement("reject", ("hostile",)))
        later = desk.parts.store.now() + timedelta(days=1)
        assert desk.parts.store.erasure.forget_before(desk.site, later) == 1

        assert answer(desk.check(HAM, **again)) == "true"

    def test_the_same_words_of_somebody_else_or_elsewhere_are_another_comment(self, desk):
        alice = {"comment_author": "Alice", "permalink": "https://blog.example/1", "comment_post_ID": "1"}
        bob = {"comment_author": "Bob", "permalink": "https://blog.example/2", "comment_post_ID": "2"}
        first = desk.check(HAM, **alice)
        second = desk.check(HAM, recheck_reason="recheck_queue", **bob)
        third = desk.check(HAM, recheck_reason="recheck_queue", **(alice | {"permalink": bob["permalink"]}))

        assert len({each.headers["x-akismet-guid"] for each in (first, second, third)}) == 3
        assert desk.stored(first).comment.author.name == "Alice"
        assert (
            desk.check(HAM, recheck_reason="retry", **alice).headers["x-akismet-guid"]
            == (first.headers["x-akismet-guid"])
        )
        mallory = {"comment_author": "Mallory", "permalink": "https://blog.example/1"}
        assert answer(desk.post("/1.1/submit-spam", comment_content=HAM, **mallory)) == THANKS
        assert {desk.stored(each).status for each in (first, second, third)} == {"published"}
        assert [label["text"] for label in desk.labels()] == [HAM]

    def test_a_guid_that_is_not_known_is_none(self, desk):
        page = {"permalink": "https://blog.example/1", "comment_author": "Ann"}
        guid = desk.check(SPAM, **page).headers["x-akismet-guid"]
        unknown = {"guid": "unknown-guid-1", **page}

        assert desk.check(SPAM, recheck_reason="retry", **unknown).headers["x-akismet-guid"] == guid
        assert desk.check(SPAM, **unknown).headers["x-akismet-guid"] not in (guid, "unknown-guid-1")

    def test_what_people_said_of_another_text_is_no_answer(self, desk):
        first = desk.check(HAM)
        guid = first.headers["x-akismet-guid"]
        desk.judge(first, Judgement("reject", ("hostile",)))
        edited = desk.check("Better words about bread.", guid=guid, recheck_reason="edit")

        assert (answer(edited), desk.stored(edited).status) == ("false", "published")
        assert answer(desk.check("Better words about bread.", guid=guid, recheck_reason="retry")) == "false"
        assert desk.stored(edited).status == "published"


class TestToldAgain:
    """What waits to be told to a site's plugin, by what it was answered."""

    @pytest.fixture
    def waiting(self, desk):
        hook = desk.parts.store.webhooks.add(
            desk.site, "https://blog.invalid/x", (), "0123456789ab", who="operator", form="akismet"
        )
        return lambda: desk.parts.store.webhooks.deliveries(hook).waiting

    def test_only_what_was_answered_otherwise_is_told(self, desk, waiting):
        spam, ham, hostile = desk.check(SPAM), desk.check(HAM), desk.check(HOSTILE)
        desk.judge(spam, Judgement("reject", ("spam",)))
        desk.judge(ham, Judgement("approve"))
        desk.judge(hostile, Judgement("approve"))
        assert waiting() == 0
        said = desk.judge(hostile, Judgement("reject", ("hostile",)))
        assert waiting() == 1
        desk.parts.moderation.undo(desk.site, said.id, "Ada")
        assert waiting() == 2

    def test_an_answer_is_known_too_and_what_waited_before_it_is_out_of_date(self, desk, waiting):
        spam = desk.check(SPAM)
        again = {"guid": spam.headers["x-akismet-guid"], "recheck_reason": "retry"}
        approved = desk.judge(spam, Judgement("approve"))
        assert waiting() == 1
        assert answer(desk.check(SPAM, **again)) == "false"  # as it is being told
        desk.parts.moderation.undo(desk.site, approved.id, "Ada")
        assert waiting() == 2
        assert answer(desk.check(SPAM, **again)) == "true"
        assert answer(desk.check(HAM, **again)) == "false"
        assert waiting() == 0
        desk.judge(spam, Judgement("reject", ("spam",)))
        assert waiting() == 1

    def test_so_is_what_the_site_has_said_itself(self, desk, waiting):
        ham = desk.check(HAM)
        guid = ham.headers["x-akismet-guid"]
        desk.post("/1.1/submit-spam", comment_content=HAM, guid=guid, reporter="ann")
        assert waiting() == 0
        desk.judge(ham, Judgement("approve"))
        assert waiting() == 1
        desk.post("/1.1/submit-spam", comment_content=HAM, guid=guid, reporter="bob")
        assert waiting() == 0

    def test_what_could_not_be_judged_is_told_once_people_have(self, desk, waiting, monkeypatch):
        with monkeypatch.context() as broken:
            broken.setattr("service.live_model.Live.readable_policy", lambda *_: None)
            response = desk.check(HAM)
        assert error_of(response) == (503, "unavailable")
        desk.judge(response, Judgement("approve"))
        assert waiting() == 1


class TestAccount:
    def test_figures_are_counted_from_the_store(self, desk):
        spam, ham, hostile = desk.check(SPAM), desk.check(HAM), desk.check(HOSTILE)
        desk.check(SPAM, is_test="1")
        desk.service.submit(text=SPAM)  # of another site, natively
        desk.post("/1.1/submit-ham", comment_content=SPAM, guid=spam.headers["x-akismet-guid"])
        desk.post("/1.1/submit-spam", comment_content=HAM, guid=ham.headers["x-akismet-guid"])
        assert answer(hostile) == "false"
        month = f"{desk.parts.store.now():%Y-%m}"
        host = desk.site.url.removeprefix("https://")
        row = {"site": host, "api_calls": "3", "spam": "1", "ham": "2", "missed_spam": "1", "false_positives": "1"}

        sites = desk.post("/1.2/key-sites").json()
        assert sites == {month: [row | {"is_revoked": False}], "limit": 500, "offset": 0, "total": 1}
        assert desk.post("/1.2/usage-limit").json() == {
            "limit": "none",
            "usage": 3,
            "percentage": "0.00",
            "throttled": False,
        }
        stats = desk.post("/1.1/get-stats", **{"from": "6-months"}).json()
        assert (stats["spam"], stats["ham"], stats["accuracy"], stats["missed_spam"]) == ("1", "2", "33.33", "1")
        assert stats["breakdown"][month]["false_positives"] == "1"
        table = desk.client.get("/1.2/key-sites", params={"api_key": desk.key, "format": "csv"})
        assert table.text == (
            f"Active sites for {desk.key[:8]}... during {month} (limit:500, offset: 0, total: 1)\n"
            "Site,Total API Calls,Spam,Ham,Missed Spam,False Positives,Is Revoked\n"
            f"{host},3,1,2,1,1,false"
        )
        assert table.headers["content-type"].startswith("text/csv")

    def test_more_than_a_page_is_counted(self, desk):
        for start in range(6):
            desk.parts.workflow.submit_many(desk.site, _many(start), tells_spam=lambda _: True)

        assert desk.post("/1.1/get-stats", **{"from": "all"}).json()["spam"] == "600"

    def test_lists_are_cut_and_filtered(self, desk):
        def listed(**fields):
            answered = desk.post("/1.2/key-sites", month="2020-02", **fields).json()
            return len(answered["2020-02"]), answered["total"]

        assert listed(order="total") == (1, 1)
        assert listed(filter="akismet-") == (1, 1)
        assert listed(filter="other.example") == (0, 0)
        assert listed(offset="1") == (0, 1)
        assert listed(limit="0") == (0, 1)

    @pytest.mark.parametrize("fields", [{"month": "x"}, {"month": "2026-13"}, {"limit": "-1"}, {"offset": "²"}])
    def test_what_cannot_be_meant_is_refused(self, desk, fields):
        assert error_of(desk.post("/1.2/key-sites", **fields)) == (422, "invalid_request")

    def test_usage_says_more_where_asked(self, desk):
        asked = desk.client.get("/1.2/usage-limit", params={"api_key": desk.key, "extended": "1"}).json()

        assert (asked["limit"], asked["notice_level"], asked["upgrade"]) == ("none", None, False)

    @pytest.mark.parametrize("path", ["get-subscription", "verify-wpcom-key"])
    def test_the_account_is_active(self, desk, path):
        assert desk.post(f"/1.1/{path}").json()["status"] == "active"

    def test_saying_goodbye_ends_nothing_and_the_token_opens_nothing(self, desk):
        assert answer(desk.post("/1.1/deactivate")) == "deactivated"
        assert answer(desk.post("/1.1/token")) == "none"
        assert answer(desk.post("/1.1/verify-key")) == "valid"


class TestErrors:
    def test_routes_and_methods_that_there_are_none_of(self, desk):
        assert error_of(desk.client.post("/1.1/nothing")) == (404, "not_found")
        assert error_of(desk.client.post("/1.1/comment-check/")) == (404, "not_found")
        assert error_of(desk.client.get("/1.2/")) == (404, "not_found")
        assert error_of(desk.client.get("/1.1/comment-check")) == (405, "method_not_allowed")
        assert error_of(desk.client.put("/1.2/key-sites")) == (405, "method_not_allowed")

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("application/json", b"{"),
            ("application/json", b"[1]"),
            ("application/json", b'"x"'),
            ("application/json", b'{"a": NaN}'),
            ("application/json", b"[" * 100_000),
            ("application/json", json.dumps({f"f{n}": n for n in range(5000)}).encode()),
            ("application/json", json.dumps({"a": [1] * 5000}).encode()),
            ("application/json", json.dumps({"a": [[[]] * 5000]}).encode()),
            ("multipart/form-data", b"--\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n----\r\n"),
            ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 5000),
            ("multipart/form-data", b"x"),
            ("multipart/form-data; boundary=b", b"--b\r\nx"),
            ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'),
            ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(5000))),
        ],
    )
    def test_bodies_that_are_none(self, desk, kind, body):
        response = desk.client.post("/1.1/comment-check", content=body, headers={"Content-Type": kind})

        assert error_of(response) == (422, "invalid_request")

    def test_commas_and_brackets_in_a_text_are_no_fields(self, desk):
        text = 'She said: "[1, 2, 3]", {4}\\' * 1000

        response = desk.client.post("/1.1/comment-check", json={"api_key": desk.key, "comment_content": text})

        assert answer(response) == "false"

    def test_bodies_are_taken_apart_beside_the_event_loop(self, desk, monkeypatch):
        """Before their key is known, so that nobody without one keeps the others waiting."""
        used = []

        def read(*said):
            used.append(threading.current_thread())
            return _read(*said)

        monkeypatch.setattr("service.dialects.akismet_request._read", read)
        desk.check(HAM)

        assert [thread is desk.service._thread for thread in used] == [False]

    @pytest.mark.parametrize("body", [b"", b"{}", b"&&&=&", b"\xff\xfe"])
    def test_bodies_that_say_nothing_have_no_key(self, desk, body):
        kind = "application/json" if body == b"{}" else "application/x-www-form-urlencoded"
        response = desk.client.post("/1.1/comment-check", content=body, headers={"Content-Type": kind})

        assert response.text == "invalid"

    def test_a_body_that_is_too_long(self, desk):
        for size in (MAX_BODY_BYTES + 1, 17 * 1024 * 1024):
            assert error_of(desk.client.post("/1.1/comment-check", content=b"a" * size)) == (413, "too_large")
        assert desk.client.post("/1.1/comment-check", content=b"a" * MAX_BODY_BYTES).text == "invalid"

    def test_the_longest_text_fits_also_where_the_form_says_it_twice(self, desk):
        text = "好" * MAX_TEXT_CHARS

        assert answer(desk.check(text, POST_comment=text)) == "false"

    def test_a_file_in_the_form_is_read_past(self, desk):
        files = {"api_key": (None, desk.key), "comment_content": (None, HAM), "attachment": ("a.png", b"\x89PNG")}

        assert answer(desk.client.post("/1.1/comment-check", files=files)) == "false"

    def test_without_a_model_comments_are_held_by_the_client_and_not_kept(
        self, start, plain_home, monkeypatch, open_desk
    ):
        monkeypatch.setattr("service.app.shipped_folder", lambda name: plain_home / "nothing" / name)
        (plain_home / "models" / "current").write_text("comments-gone\n")
        desk = open_desk(start(), "https://modelless.example")
        response = desk.check(SPAM)

        assert error_of(response) == (503, "unavailable")
        assert (len(response.headers["x-akismet-guid"]), response.headers["retry-after"]) == (32, "60")
        assert (desk.stored(response), desk.waiting()) == (None, 0)

    def test_where_the_database_is_away(self, service, monkeypatch, open_desk):
        def fail(*_):
            raise StoreUnavailable("the database is away")

        desk = open_desk(service, "https://away.example")
        monkeypatch.setattr(Store, "record", fail)

        assert error_of(desk.check(HAM)) == (503, "unavailable")
        assert error_of(desk.post("/1.1/submit-ham", comment_content=HAM)) == (503, "unavailable")

    def test_a_bug_says_nothing_of_the_comment(self, service, monkeypatch, caplog, open_desk):
        def fail(*_, **__):
            raise ValueError("private words")

        desk = open_desk(service, "https://bug.example")
        monkeypatch.setattr(type(service.parts.workflow), "submit", fail)
        with caplog.at_level(logging.INFO):
            response = desk.check("private words")

        assert error_of(response) == (500, "internal")
        assert "private words" not in response.text + str([record.__dict__ for record in caplog.records])

    def test_a_policy_that_cannot_be_read_is_no_verdict(self, desk, monkeypatch):
        page = {"permalink": "https://blog.example/1", "comment_author": "Ann"}
        with monkeypatch.context() as broken:
            broken.setattr("service.live_model.Live.readable_policy", lambda *_: None)
            response, other = desk.check(HAM, **page), desk.check(RYE, comment_author="Bob")
            guid = response.headers["x-akismet-guid"]
            again = [
                desk.check(HAM, **page),
                desk.check(HAM, guid=guid),
                desk.check(HAM, recheck_reason="retry", **page),
            ]
            assert {error_of(each) for each in (response, other, *again)} == {(503, "unavailable")}
            assert {each.headers["x-akismet-guid"] for each in again} == {guid}
            assert (desk.stored(response).status, desk.waiting()) == ("held", 2)
            desk.judge(other, Judgement("reject", ("hostile",)))
            asked = desk.check(RYE, guid=other.headers["x-akismet-guid"])
            assert answer(asked) == "true"  # as a person has said

        mended = desk.check(HAM, recheck_reason="retry", **page)
        assert (answer(mended), mended.headers["x-akismet-guid"]) == ("false", guid)
        assert (desk.stored(mended).status, desk.waiting()) == ("published", 0)

    def test_a_body_that_ends_early(self, desk):
        host, port = desk.service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"POST /1.1/comment-check HTTP/1.0\r\nContent-Length: 100\r\n\r\nx")
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)

        assert answer(desk.check(HAM)) == "false"

    def test_http_1_0_as_the_plugin_speaks_it(self, desk):
        host, port = desk.service.url.removeprefix("http://").split(":")
        body = f"api_key={desk.key}&comment_content=Bread".encode()
        head = f"POST /1.1/comment-check HTTP/1.0\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body)
            received = b""
            while part := connection.recv(4096):
                received += part

        assert received.endswith(b"\r\n\r\nfalse")


def test_nothing_about_visitors_is_kept_logged_or_counted(service, caplog, open_desk):
    """Markers in every field that says who a visitor is or what their browser sent."""
    desk = open_desk(service, "https://private.example")
    marked = {
        "user_ip": "203.0.113.77",
        "user_agent": "marker-agent",
        "referrer": "https://marker-referrer.example",
        "comment_author_email": "marker-mail@example.org",
        "comment_author_IP": "203.0.113.78",
        "comment_agent": "marker-comment-agent",
        "HTTP_COOKIE_X": "marker-cookie",
        "HTTP_X_FORWARDED_FOR": "203.0.113.79",
        "SERVER_NAME": "marker-server",
        "REMOTE_ADDR": "203.0.113.80",
        "REQUEST_URI": "/marker-uri",
        "POST_email": "marker-post@example.org",
        "POST_ak_js": "marker-js",
        "callback": "https://marker-callback.example",
        "site_domain": "marker-domain",
    }
    headers = {"User-Agent": "marker-client", "Referer": "https://marker-client.example", "Cookie": "a=marker-jar"}
    with caplog.at_level(logging.DEBUG):
        for path in ("comment-check", "submit-ham", "submit-spam"):
            data = {"api_key": desk.key, "comment_content": SPAM, "blog": "https://marker-blog.example"} | marked
            assert desk.client.post(f"/1.1/{path}", data=data, headers=headers).status_code == 200
        wrong = {"api_key": "marker-key", "comment_content": "marker-text"}
        assert desk.client.post("/1.1/comment-check", data=wrong).text == "invalid"
    seen = service.client.get("/metrics").text
    seen += str([record.__dict__ for record in caplog.records if record.name.startswith(("service", "moderation"))])
    home = service.settings.home
    service.parts.store.ping()
    kept = b"".join(path.read_bytes() for path in home.rglob("moderation.db*"))

    assert SPAM.encode() in kept
    for marker in ("marker-", "203.0.113."):
        assert marker not in seen
        assert marker.encode() not in kept


def _many(start: int) -> list:
    said = Said({"comment_content": SPAM})
    return [make_comment(said, comment_id=f"{AKISMET_ID}{start}-{n}", max_text_chars=1000) for n in range(100)]


def test_every_row_of_the_tables_has_a_test():
    """By name: each field, header and code that docs/dialects.md lists stands somewhere above."""
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
    section = page.partition("### Every field")[2].partition("\n## ")[0]
    tested = Path(__file__).read_text(encoding="utf-8").lower()
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| -")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])]

    assert len(named) > 50
    for name in named:
        plain = name.partition("=")[2] or name.rstrip("*:").partition(":")[0]
        assert plain.lower() in tested, f"{name} is in the document and in no test"


class TestPure:
    def test_every_reason_to_hold_is_spam_or_is_not(self):
        """A reason that is new has to be put into one of the three."""
        neither = {"off_topic", "first_time", "author_rate", "site_rate", "abstained", "encoder_unavailable"}
        neither |= {"model_unavailable", "lexical_tier_holds", "trusted_author"}

        assert set(REASONS) == SPAM_REASONS | HOSTILE_REASONS | neither
        for name in REASONS:
            assert says_spam(frozenset({name}), hostile_counts=False) == (name in SPAM_REASONS)
            assert says_spam(frozenset({name}), hostile_counts=True) == (name not in neither)
            assert says_spam(frozenset({name, "spam"}), hostile_counts=False)

    @given(st.text())
    def test_any_charset_is_one_that_decodes_quickly(self, name):
        try:
            charset = find_charset(name)
        except InvalidRequest:
            return
        assert b"a=1".decode(charset, "replace")

    @pytest.mark.parametrize("name", ["punycode", "idna", "zlib", "utf-7", "unicode_escape", "undefined", "x\0"])
    def test_codecs_that_are_no_charset_are_not_used(self, name):
        with pytest.raises(InvalidRequest, match="charset"):
            find_charset(name)

    @pytest.mark.parametrize("name", ["windows-874", "X-SJIS", " x-gbk ", "ISO-8859-8-I", "x-mac-roman", "utf8mb4"])
    def test_names_of_pages_and_databases_are_known(self, name):
        assert b"a=1".decode(find_charset(name)) == "a=1"

    @pytest.mark.parametrize("name", ["", " ", "UTF8", "utf-8"])
    def test_no_charset_is_utf_8(self, name):
        assert find_charset(name) == "utf-8"

    @given(
        st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "comment_content",
                        "comment_author",
                        "comment_author_url",
                        "permalink",
                        "comment_type",
                        "user_id",
                    ),
                    *(
                        "comment_parent",
                        "comment_post_ID",
                        "blog_lang",
                        "guid",
                        "reporter",
                        "honeypot_field_name",
                        "is_test",
                    ),
                ]
            ),
            # As it is after intake, which leaves neither NUL nor lone surrogates.
            st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=300),
        ),
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)),
    )
    def test_any_fields_make_a_comment_or_none(self, fields, tags):
        comment = make_comment(Said(fields, tuple(tags)[:100]), comment_id=None, max_text_chars=1000)

        assert comment is None or comment.text


@pytest.fixture
def description(shared_service):
    """This dialect's part of the description, against the shared service."""
    loaded = schemathesis.openapi.from_url(f"{shared_service.url}/openapi.json")
    return loaded.include(tag="akismet")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_as_it_describes_itself(description, shared_service):
    """Requests made from the description, with a right and with a wrong key, get answers that it names."""
    site = shared_service.parts.store.add_site("https://described.example")
    key = make_key(shared_service.parts.store, site)
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    operations = [operation.ok() for operation in description.get_all_operations()]

    assert len(operations) == 13
    for operation in operations:

        @given(case=operation.as_strategy(), has_key=st.booleans())
        @settings(max_examples=15, deadline=None, database=None)
        def conforms(case, has_key):
            case.call_and_validate(checks=checks, params={"api_key": key} if has_key else {}, timeout=20)

        conforms()
