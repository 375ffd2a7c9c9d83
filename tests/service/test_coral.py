"""Coral's phase and webhooks: every row of their tables in docs/dialects.md, over real HTTP, byte for byte."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from moderation.comment import MAX_TEXT_CHARS, Comment, Decision, Post, Reason, Scores
from moderation.policy import Policy
from service.cli import app
from service.dialects import coral, find_dialect
from service.dialects.coral_webhooks import _ANSWERED, _CREATED, _ENTERED, _LEFT, _VERDICTS, JUDGE
from service.dialects.markup import plain_text
from service.errors import InvalidSettings, NotFound
from service.store import Context, Store
from service.store.context import MOST_RECENT

SECRET, OLD_SECRET, HOOK_SECRET = "a" * 64, "b" * 64, "c" * 64
CORAL_TIMEOUT = 0.8
WITHHELD = {"status": "SYSTEM_WITHHELD"}
SPAM = "See https://shop.example and https://shop.example/2"
GOOD = "A thoughtful word."


def sign(body: bytes, *secrets: str) -> str:
    return ",".join(f"sha256={hmac.new(each.encode(), body, hashlib.sha256).hexdigest()}" for each in secrets)


def request_of(body: str = GOOD, *, action: str = "NEW", parent: str | None = None, **more) -> dict:
    """What Coral 9.11 sends, its keys in the same order."""
    return {
        "action": action,
        "comment": {"body": body, "parentID": parent},
        "author": {
            "id": more.get("author", "baf4e943-3594-4fcc-b2ba-3e8de7a76352"),
            "role": more.get("role", "COMMENTER"),
        },
        "story": {
            "id": more.get("story", "245b3856-b0a0-4d2f-a6bb-58c71f18d6a6"),
            "url": "https://paper.example/story/",
        },
        "site": {"id": "a4bede88-2d2c-4424-bc18-4322a9e285a6"},
        "tenantID": "19ba5794-7eeb-4d46-a81b-c00c61672501",
        "tenantDomain": "coral.paper.example",
    }


def event_of(kind: str, comment: str, story: str, at: object = None, **data) -> dict:
    """What Coral's webhooks send, its keys in the same order."""
    moment = datetime.now(UTC) if at is None else at
    return {
        "id": str(uuid4()),
        "type": kind,
        "data": {**data, "commentID": comment, "storyID": story, "siteID": "a4bede88-2d2c-4424-bc18-4322a9e285a6"},
        "createdAt": moment.isoformat()[:23] + "Z" if isinstance(moment, datetime) else moment,
        "tenantID": "19ba5794-7eeb-4d46-a81b-c00c61672501",
        "tenantDomain": "coral.paper.example",
    }


def write(data: dict) -> bytes:
    """As JSON.stringify(data, null, 2) does."""
    return json.dumps(data, indent=2, ensure_ascii=False).encode()


class Desk:
    """A site that is connected to its Coral, as Coral sees it."""

    def __init__(self, service, url: str, timeout: float = CORAL_TIMEOUT) -> None:
        self.timeout = timeout
        self.parts = service.parts
        self.site = self.parts.store.add_site(url)
        self.connection = self.parts.store.coral.connect(self.site, SECRET, HOOK_SECRET, who="operator")
        self.url = f"{service.url}/coral/{self.connection.id}"

    def send(self, body: bytes, *secrets: str, to: str = "phase", **headers: str) -> httpx.Response:
        signed = {"X-Coral-Signature": sign(body, *secrets)} if secrets else {}
        sent = {"Content-Type": "application/json", "User-Agent": "Coral Moderation/9.11.8"} | signed | headers
        return httpx.post(f"{self.url}/{to}", content=body, headers=sent, timeout=self.timeout)

    def ask(self, *args, **more) -> httpx.Response:
        return self.send(write(request_of(*args, **more)), SECRET)

    def tell(self, *args, **data) -> str:
        response = self.send(write(event_of(*args, **data)), HOOK_SECRET, to="webhooks")
        assert response.status_code == 200, response.text
        return response.json()["result"]

    def comments(self) -> list[dict]:
        return list(self.parts.store.copies.comments(self.site))


@pytest.fixture
def desk(shared_service):
    made = Desk(shared_service, f"https://{uuid4().hex}.example", timeout=20)
    made.ask()  # what is loaded on first use is not what Coral waits for
    made.timeout = CORAL_TIMEOUT
    return made


class TestSignature:
    def test_the_right_one_is_believed(self, desk):
        assert desk.send(write(request_of()), SECRET).status_code == 204

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "sha256=",
            "sha256=" + "0" * 64,
            "sha256=ü",
            "0" * 64,
            sign(write(request_of()), OLD_SECRET),
            sign(write(request_of()), HOOK_SECRET),
            sign(write(request_of()) + b" ", SECRET),
            sign(write(request_of()), SECRET).replace("sha256", "sha1"),
        ],
    )
    def test_others_are_401(self, desk, header):
        headers = {} if header is None else {"X-Coral-Signature": header.encode()}
        response = desk.send(write(request_of()), **headers)

        assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "X-Coral-Signature"

    def test_the_body_is_signed_as_it_came(self, desk):
        body = write(request_of())
        compact = json.dumps(json.loads(body)).encode()

        assert b'{\n  "action": "NEW",\n  "comment": {\n    "body": ' in body
        assert desk.send(compact, **{"X-Coral-Signature": sign(body, SECRET)}).status_code == 401
        assert desk.send(compact, SECRET).status_code == 204

    def test_while_coral_rotates_either_secret_will_do(self, desk):
        body = write(request_of())
        desk.parts.store.coral.rotate(desk.site, "new secret", None, who="operator")
        answers = [
            desk.send(body, *secrets).status_code for secrets in ((SECRET,), ("new secret",), ("new secret", SECRET))
        ]
        desk.parts.store.coral.rotate(desk.site, "newer secret", None, who="operator")

        assert answers == [204, 204, 204]
        assert [desk.send(body, each).status_code for each in (SECRET, "new secret", "newer secret")] == [401, 204, 204]
        assert desk.send(body, OLD_SECRET, "newer secret").status_code == 204

    def test_an_old_secret_counts_for_a_day(self, desk, monkeypatch):
        body, store = write(request_of()), desk.parts.store.coral
        store.rotate(desk.site, "new secret", None, who="operator")
        later = datetime.now(UTC) + timedelta(hours=25)
        monkeypatch.setattr(store, "_now", lambda: later)

        assert [desk.send(body, each).status_code for each in (SECRET, "new secret")] == [401, 204]
        store.rotate(desk.site, "newer secret", None, who="operator")
        assert [desk.send(body, each).status_code for each in (SECRET, "new secret", "newer secret")] == [401, 204, 204]

    def test_an_old_secret_can_be_dropped_at_once(self, desk):
        body, store = write(request_of()), desk.parts.store.coral
        store.rotate(desk.site, "new secret", None, who="operator", drop_old=True)
        assert [desk.send(body, each).status_code for each in (SECRET, "new secret")] == [401, 204]
        store.rotate(desk.site, "newer secret", None, who="operator")
        store.rotate(desk.site, None, None, who="operator", drop_old=True)

        assert [desk.send(body, each).status_code for each in ("new secret", "newer secret")] == [401, 204]
        assert store.find(desk.connection.id).webhook_secrets == (HOOK_SECRET,)

    def test_without_a_secret_nothing_is_believed(self, shared_service):
        site = shared_service.parts.store.add_site("https://no-secret.example")
        made = shared_service.parts.store.coral.connect(site, None, None, who="operator")
        body = write(request_of())
        for secrets in ((), ("",), ("None",)):
            answer = httpx.post(
                f"{shared_service.url}/coral/{made.id}/phase",
                content=body,
                headers={"X-Coral-Signature": sign(body, *secrets)},
            )
            assert answer.status_code == 401

    def test_a_connection_that_is_not_there_is_no_other_answer(self, desk):
        wrong = desk.send(b"{}", "wrong")
        desk.url = desk.url[:-3] + "xyz"
        unknown = desk.send(b"{}", SECRET)
        assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())

    def test_strangers_cannot_make_it_read(self, desk):
        """The answer comes although not one byte of the promised body was sent."""
        address = httpx.URL(desk.url)
        head = f"POST {address.path}/phase HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        with socket.create_connection((address.host, address.port), timeout=5) as connection:
            connection.sendall(head.encode())

            assert b" 401 " in connection.recv(4096)


class TestPhase:
    def test_what_is_published_gets_no_opinion(self, desk):
        response = desk.ask(GOOD)

        assert (response.status_code, response.content) == (204, b"")

    def test_what_is_held_is_withheld_with_flags(self, desk):
        spam, hostile = desk.ask(SPAM), desk.ask("Go away!!!!!!")

        assert (spam.status_code, hostile.status_code) == (200, 200)
        assert spam.json() == {"actions": [{"actionType": "FLAG", "reason": "COMMENT_DETECTED_SPAM"}], **WITHHELD}
        assert hostile.json() == {"actions": [{"actionType": "FLAG", "reason": "COMMENT_DETECTED_TOXIC"}], **WITHHELD}
        assert spam.headers["content-type"] == "application/json"

    def test_what_is_rejected_has_a_code(self, desk):
        why = {"status": "REJECTED", "rejectionReason": {"code": "BANNED_WORD"}}

        assert desk.ask("A forbidden word").json() == {"status": "REJECTED", "moderationAction": why}

    def test_the_longest_comment_that_coral_waits_for_is_judged(self, desk):
        desk.timeout = 20  # benchmarks/coral.py measures times
        desk.ask("word " * (coral.MAX_JUDGED_CHARS // 5), story="long")

        assert desk.comments()[-1]["post"]["id"] == "long"

    def test_a_longer_one_waits_for_a_person_unread(self, desk):
        before = desk.comments()

        assert desk.ask("word " * (MAX_TEXT_CHARS // 5)).json() == WITHHELD
        assert desk.comments() == before

    def test_where_too_many_wait_the_rest_waits_for_a_person(self, desk, monkeypatch):
        desk.timeout = 20
        metric = "moderation_coral_shed_total"

        def shed() -> float:
            lines = httpx.get(desk.url.split("/coral/")[0] + "/metrics", timeout=20).text.splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith(metric))

        before = shed()
        monkeypatch.setattr(coral, "count_cores", lambda: 1)
        with ThreadPoolExecutor(60) as pool:
            answers = list(pool.map(lambda number: desk.ask(f"Word {number}.", story=f"s{number}"), range(60)))

        assert all(answer.status_code == 204 or answer.json() == WITHHELD for answer in answers)
        assert any(answer.status_code == 200 for answer in answers)
        assert shed() > before
        assert desk.ask(GOOD).status_code == 204

    @pytest.mark.parametrize(("cores", "most"), [(1, 8), (2, 16), (4, 32), (64, 32)])
    def test_how_many_may_wait_follows_the_cores(self, monkeypatch, cores, most):
        monkeypatch.setattr(coral, "count_cores", lambda: cores)

        assert coral.most_waiting() == most

    @pytest.mark.parametrize("role", ["STAFF", "MODERATOR", "ADMIN"])
    def test_about_the_team_there_is_no_opinion_and_nothing_is_kept(self, desk, role):
        before = desk.comments()

        assert desk.ask("A forbidden word", role=role).status_code == 204
        assert desk.comments() == before

    @pytest.mark.parametrize("role", ["COMMENTER", "MEMBER", "SOMETHING_NEW"])
    def test_everybody_else_is_judged(self, desk, role):
        assert desk.ask("A forbidden word", role=role).json()["status"] == "REJECTED"

    @pytest.mark.parametrize("body", ["", "  "])
    def test_without_words_there_is_no_opinion(self, desk, body):
        before = desk.comments()

        assert desk.ask(body).status_code == 204
        assert desk.comments() == before

    @pytest.mark.parametrize("body", ["<div><br></div>", "<p>&nbsp;</p>", "<b><i>", "&nbsp;"])
    def test_what_only_becomes_empty_waits_for_a_person(self, desk, body):
        """In plain text readers see it."""
        before = desk.comments()

        assert desk.ask(body).json() == WITHHELD
        assert desk.comments() == before

    @pytest.mark.parametrize("body", ["<b a forbidden word>", "<p>Nice. <i forbidden> Bye", "<b title='forbidden'>"])
    def test_words_in_brackets_are_read(self, desk, body):
        assert desk.ask(body).json()["status"] == "REJECTED"

    def test_html_and_plain_text_are_the_same_comment(self, desk):
        desk.ask("<div>Tom &amp; <b>Ann</b></div><div>5 &lt; 6<br>end</div>", story="html")
        desk.ask("Tom & Ann\n5 < 6\nend", story="plain")
        texts = [row["text"] for row in desk.comments()[1:]]

        assert texts == ["Tom & Ann\n5 < 6\nend"] * 2

    def test_what_is_kept_of_a_request(self, desk):
        desk.ask("Words", author="u-1", story="s-1", parent="unknown")
        row = desk.comments()[-1]

        assert row["comment_id"].startswith("coral-")
        assert (row["text"], row["kind"]) == ("Words", "reply")
        assert row["author"] == {"id": "u-1", "name": None, "url": None}
        assert (row["post"]["id"], row["post"]["url"]) == ("s-1", "https://paper.example/story/")
        assert row["parent"] is None
        assert "coral.paper.example" not in json.dumps(row, default=str)

    def test_an_edit_is_a_comment_of_its_own(self, desk):
        assert desk.ask(GOOD).status_code == 204
        assert desk.ask("A forbidden word", action="EDIT").json()["status"] == "REJECTED"
        assert desk.comments()[-1]["comment_id"].startswith("coral-edit-")

    def campaign(self, desk, text: str, **more) -> object:
        """How many near-duplicates a comment is said to have."""
        desk.ask(text, **more)
        found = desk.parts.store.find_comments(desk.site, [desk.comments()[-1]["comment_id"]])
        (stored,) = found.values()
        return next(reason.value for reason in stored.decision.reasons if reason.name == "campaign")

    def test_edits_of_one_comment_are_no_campaign(self, desk):
        text = "The council ought to think about the river path again before winter comes and the floods"
        edits = [self.campaign(desk, text + "." * n, action="EDIT" if n else "NEW") for n in range(4)]

        assert edits == [0] * 4
        assert self.campaign(desk, text, author="another") == 4
        assert self.campaign(desk, text, author="another", action="EDIT") == 4
        assert self.campaign(desk, text, story="another", action="EDIT") == 6

    def test_copies_by_one_author_stay_a_campaign(self, desk):
        text = "The council ought to think about the river path again before winter comes and the floods"
        sizes = [self.campaign(desk, text, action="EDIT" if n == 3 else "NEW") for n in range(4)]

        assert sizes == [0, 1, 2, 2]

    def recent(self, desk, text: str, **more) -> tuple[int, int]:
        """How many comments of the author, and of the site, came in within the minute before one."""
        desk.ask(text, **more)
        [stored] = desk.parts.store.find_comments(desk.site, [desk.comments()[-1]["comment_id"]]).values()
        _, facts = desk.parts.store.judged_comment(stored.decision.decision_id)
        return facts["author_recent"][0], facts["site_recent"][0]

    def test_edits_are_no_further_comments_of_their_author(self, desk):
        """One comment was there before, by another author and on another story."""
        found = [
            self.recent(desk, "Word.", author="ann", story="s1"),
            self.recent(desk, "Other words.", author="ann", story="s1", action="EDIT"),
            self.recent(desk, "And other words.", author="ann", story="s1", action="EDIT"),
            self.recent(desk, "A second comment.", author="ann", story="s1"),
            self.recent(desk, "A second comment, edited.", author="ann", story="s1", action="EDIT"),
            self.recent(desk, "Ben says.", author="ben", story="s1"),
            self.recent(desk, "An edit of what was said long ago.", author="ben", story="s2", action="EDIT"),
        ]

        assert found == [(0, 1), (0, 1), (0, 1), (1, 2), (1, 2), (0, 3), (1, 4)]

    @pytest.mark.parametrize("text", ["مرحبا", "完全に", "😀👩‍👩‍👧", "\u200bx", "\x00", "é"])
    def test_any_text_is_judged(self, desk, text):
        assert desk.ask(text).status_code in (200, 204)

    def test_long_ids_and_other_shapes_are_left_out(self, desk):
        for data in (
            {**request_of(), "author": {"id": "a" * 201, "role": 7}, "story": {"id": "", "url": "u" * 5_000}},
            {"comment": {"body": GOOD, "parentID": 7}, "author": None, "story": [], "site": "x", "new": {"field": 1}},
            {"comment": {"body": GOOD}},
        ):
            assert desk.send(write(data), SECRET).status_code == 204
            assert desk.comments()[-1]["author"] is desk.comments()[-1]["post"] is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"{}",
            b'{"comment": "x"}',
            b'{"comment": {"body": 7}}',
            b"\xff",
            write(request_of("a" * (MAX_TEXT_CHARS + 1))),
            write(request_of("<b>" * 200_000)),
            b"[" * 100_000,
        ],
        ids=range(11),
    )
    def test_what_coral_signed_and_we_cannot_read_waits_for_a_person(self, desk, body):
        """Any error would let it pass."""
        response = desk.send(body, SECRET)

        assert (response.status_code, response.json()) == (200, WITHHELD)

    def test_a_byte_order_mark_is_passed_over(self, desk):
        assert desk.send(b"\xef\xbb\xbf" + write(request_of()), SECRET).status_code == 204

    def test_without_a_model_everything_waits(self, start, home):
        (home / "models").mkdir(parents=True)
        (home / "models" / "current").write_text("no-such-bundle\n")
        desk = Desk(start(), "https://paper.example", timeout=20)

        assert desk.ask(GOOD).json() == WITHHELD

    def test_while_the_database_is_locked_everything_waits(self, start, plain_home):
        desk = Desk(start(database_timeout_seconds=0.5), "https://paper.example", timeout=20)
        assert desk.ask(GOOD).status_code == 204
        lock = sqlite3.connect(plain_home / "moderation.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        try:
            response = desk.ask(GOOD)
        finally:
            lock.rollback()
            lock.close()

        assert (response.status_code, response.json()) == (200, WITHHELD)
        assert desk.ask(GOOD).status_code == 204

    def test_other_methods_paths_and_bodies(self, desk):
        wrong = httpx.get(f"{desk.url}/phase")
        body = b" " * 17 * 1024 * 1024

        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "POST"
        assert httpx.post(f"{desk.url}/phases").json()["error"]["code"] == "not_found"
        too_large = httpx.post(f"{desk.url}/phase", content=body, headers={"X-Coral-Signature": sign(body, SECRET)})
        assert (too_large.status_code, too_large.json()) == (200, WITHHELD)
        assert httpx.post(f"{desk.url}/phase", content=body).status_code == 401
        unknown = f"{desk.url[:-3]}xyz/phase"
        assert httpx.post(unknown, content=body, headers={"X-Coral-Signature": "x"}).status_code == 401
        hook = {"X-Coral-Signature": sign(body, HOOK_SECRET)}
        assert httpx.post(f"{desk.url}/webhooks", content=body, headers=hook).status_code == 413
        assert [find_dialect(path).name for path in ("/coral/x/phase", "/coral/x/webhooks")] == [
            "coral",
            "coral webhooks",
        ]
        assert find_dialect("/coralx") is None

    def test_with_node_s_fetch_as_coral_calls_it(self, desk, tmp_path):
        if shutil.which("node") is None:
            pytest.skip("node is not installed here")
        script = tmp_path / "coral.mjs"
        script.write_text("""
            import { createHmac } from "node:crypto";
            const [url, secret, ...texts] = process.argv.slice(2);
            for (const text of texts) {
              const body = JSON.stringify({ action: "NEW", comment: { body: text, parentID: null } }, null, 2);
              const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
              const abort = new AbortController();
              const timeout = setTimeout(() => abort.abort(), 800);
              const answer = await fetch(url, {
                method: "POST", body, redirect: "manual", signal: abort.signal,
                headers: { "User-Agent": "Coral Moderation/9.11.8", "Content-Type": "application/json",
                           "X-Coral-Signature": signature },
              });
              clearTimeout(timeout);
              console.log(answer.status, await answer.text());
            }
        """)
        texts = [GOOD, SPAM, "größe 😀 \u2028"]
        done = subprocess.run(
            ["node", script, f"{desk.url}/phase", SECRET, *texts],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        statuses = [line.split(" ", 1)[0] for line in done.stdout.splitlines()]

        assert statuses == ["204", "200", "204"]


CODES = {
    "hostile": "ABUSIVE",
    "insult": "ABUSIVE",
    "severe": "ABUSIVE",
    "profanity": "ABUSIVE",
    "threat": "HARASSMENT_BULLYING",
    "identity_attack": "HATE_SPEECH",
    "spam": "SPAM",
    "off_topic": "IRRELEVANT_CONTENT",
    "blocked_words": "BANNED_WORD",
    "blocked_domains": "SPAM",
    "honeypot": "SPAM",
    "banned_author": "OTHER",
}
STRICT = "\n".join(
    f"[{name}]\nhold = 0.5\nreject = 0.8"
    for name in ("hostile", "spam", "off_topic", "insult", "threat", "identity_attack", "profanity", "severe")
)
RULES = """
[rules]
honeypot = "reject"
blocked_words = ["x"]
blocked_words_action = "reject"
blocked_domains = ["x.example"]
blocked_domains_action = "reject"
"""


class TestRejections:
    def decide(
        self, action: str = "reject", toml: str = STRICT + RULES, tags: tuple[str, ...] = (), **fired: float
    ) -> dict:
        scores = dict.fromkeys(Scores.__dataclass_fields__, 0.0)
        scores |= {name: value for name, value in fired.items() if name in scores}
        reasons = tuple(Reason(name, value, 0.5, True, "") for name, value in fired.items())
        decision = Decision(
            action, Scores(**scores), reasons, "", None, "", "full", author_message="It was not published."
        )
        return coral.write_answer(decision, Comment("x", post=Post("p", tags=tags)), Policy.parse(toml))

    @pytest.mark.parametrize(("name", "code"), CODES.items())
    def test_each_reason_has_its_code(self, name, code):
        answer = self.decide(**{name: 0.9})
        why = answer["moderationAction"]["rejectionReason"]

        assert (answer["status"], answer["moderationAction"]["status"], why["code"]) == ("REJECTED", "REJECTED", code)
        assert why.get("customReason") == ("It was not published." if code == "OTHER" else None)

    def test_what_only_holds_gives_no_code_unless_it_says_more_exactly_what_rejects(self):
        held_hostile = self.decide(hostile=0.6, spam=0.9)
        hate = self.decide(hostile=0.9, identity_attack=0.6)

        assert held_hostile["moderationAction"]["rejectionReason"]["code"] == "SPAM"
        assert hate["moderationAction"]["rejectionReason"]["code"] == "HATE_SPEECH"
        assert [flag["reason"] for flag in held_hostile["actions"]] == [
            "COMMENT_DETECTED_TOXIC",
            "COMMENT_DETECTED_SPAM",
        ]

    def test_a_rule_that_only_holds_is_not_why(self):
        toml = STRICT + RULES.replace('blocked_words_action = "reject"', 'blocked_words_action = "hold"')

        assert self.decide(toml=toml, blocked_words=1, off_topic=0.9)["moderationAction"]["rejectionReason"] == {
            "code": "IRRELEVANT_CONTENT"
        }

    def test_stricter_lines_of_the_post_count(self):
        toml = (
            STRICT
            + """
[[stricter]]
tags = ["children"]
[stricter.hostile]
reject = 0.6
"""
        )
        found = [
            self.decide(toml=toml, tags=tags, hostile=0.7, spam=0.9)["moderationAction"]["rejectionReason"]["code"]
            for tags in ((), ("children",))
        ]

        assert found == ["SPAM", "ABUSIVE"]

    def test_off_topic_alone_is_withheld_without_a_flag(self):
        assert self.decide("hold", off_topic=0.6) == WITHHELD


class TestDocument:
    """docs/dialects.md has a row for everything that can be answered."""

    def test_every_code_status_event_and_field_has_a_row(self):
        text = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
        section = text.split("\n## Coral\n")[1].split("\n## ")[0]
        rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
        fields = ("comment.body", "comment.parentID", "action", "author.id", "author.role", "story.id", "story.url")
        flags = ("COMMENT_DETECTED_TOXIC", "COMMENT_DETECTED_SPAM")
        events = (*_CREATED, _ENTERED, _LEFT, "STORY_CREATED")

        for name in (*set(CODES.values()), *coral.TEAM, *_ANSWERED, *_VERDICTS, *fields, *flags, *events):
            assert f"`{name}`" in rows or f'"{name}"' in rows, name


class TestWebhooks:
    def held(self, desk, story: str, text: str = SPAM, **more) -> str:
        """Our id of a comment that was just put aside."""
        desk.ask(text, story=story, **more)
        return desk.comments()[-1]["comment_id"]

    def entered(self, desk, comment: str, story: str, status: str = "SYSTEM_WITHHELD", queue: str = "PENDING") -> str:
        return desk.tell("COMMENT_ENTERED_MODERATION_QUEUE", comment, story, queue=queue, status=status)

    def left(self, desk, comment: str, story: str, status: str, queue: str = "PENDING") -> str:
        return desk.tell("COMMENT_LEFT_MODERATION_QUEUE", comment, story, queue=queue, status=status)

    def status(self, desk, comment_id: str) -> str:
        return desk.parts.store.find_comments(desk.site, [comment_id])[comment_id].status

    @pytest.mark.parametrize(
        ("coral_status", "status", "spam"), [("APPROVED", "published", 0), ("REJECTED", "rejected", None)]
    )
    def test_a_verdict_in_coral_is_a_verdict_here(self, desk, coral_status, status, spam):
        ours = self.held(desk, "s1")

        assert self.entered(desk, "c1", "s1") == "learned"
        assert self.left(desk, "c1", "s1", coral_status) == "verdict"
        assert self.status(desk, ours) == status
        [verdict] = desk.parts.moderation.verdicts(desk.site, ours)
        assert (verdict.moderator, verdict.source) == (JUDGE.name, JUDGE.source) == ("site:coral", "coral")
        [label] = desk.parts.store.labels.read(desk.site)
        # Why it was rejected is not said, so that of no category.
        assert label["labels"].get("spam") == spam

    def test_told_twice_it_is_one_verdict(self, desk):
        ours = self.held(desk, "s1")
        self.entered(desk, "c1", "s1")
        for queue in ("PENDING", "UNMODERATED", "UNMODERATED"):
            assert self.left(desk, "c1", "s1", "APPROVED", queue) == "verdict"

        assert len(desk.parts.moderation.verdicts(desk.site, ours)) == 1

    def test_a_published_comment_is_learned_and_then_known_as_a_parent(self, desk):
        desk.ask("The first word.", story="s1")
        assert desk.tell("COMMENT_CREATED", "c1", "s1") == "learned"
        ours = desk.comments()[-1]["comment_id"]
        desk.ask("An answer.", story="s1", parent="c1")

        assert desk.comments()[-1]["parent"] == {"id": ours, "text": "The first word."}

    def test_a_reply_is_learned_as_a_reply_only(self, desk):
        desk.ask("An answer.", story="s1", parent="c0")

        assert desk.tell("COMMENT_CREATED", "c1", "s1") == "nothing"
        assert desk.tell("COMMENT_REPLY_CREATED", "c1", "s1", ancestorIDs=["c0"]) == "learned"

    @pytest.mark.parametrize(("status", "text"), [("SYSTEM_WITHHELD", GOOD), ("PREMOD", SPAM)])
    def test_what_does_not_fit_our_answer_is_another_comment(self, desk, status, text):
        self.held(desk, "s1", text)

        assert self.entered(desk, "c1", "s1", status) == "nothing"

    def test_a_comment_without_our_opinion_may_enter_a_queue_too(self, desk):
        desk.ask(GOOD, story="s1")

        assert self.entered(desk, "c1", "s1", "PREMOD", "UNMODERATED") == "learned"

    @pytest.mark.parametrize(
        ("status", "queue"), [("NONE", "REPORTED"), ("NONE", "UNMODERATED"), ("PREMOD", "REPORTED"), ("PREMOD", None)]
    )
    def test_an_old_comment_that_is_reported_is_not_the_new_one(self, desk, status, queue):
        desk.ask(GOOD, story="s1")

        assert self.entered(desk, "old", "s1", status, queue) == "nothing"

    NOT_JUST_THEN = (None, 7, "", "yesterday", "2026-01-02T03:04:05", "9999-12-31T23:59:59Z", -120, -8, 8, 120)

    @pytest.mark.parametrize("at", NOT_JUST_THEN)
    def test_what_did_not_happen_just_then_is_not_learned(self, desk, at):
        """Numbers but 7 are seconds from now."""
        desk.ask(GOOD, story="s1")
        when = datetime.now(UTC) + timedelta(seconds=at) if isinstance(at, int) and at != 7 else at
        event = event_of("COMMENT_CREATED", "c1", "s1", when)
        if at is None:
            del event["createdAt"]

        assert desk.send(write(event), HOOK_SECRET, to="webhooks").json() == {"result": "nothing"}
        assert desk.tell("COMMENT_CREATED", "c1", "s1") == "learned"

    def test_a_message_that_comes_late_is_not_taken_for_a_later_comment(self, desk, monkeypatch):
        store = desk.parts.store
        desk.ask(GOOD, story="s1")
        first = datetime.now(UTC)
        monkeypatch.setattr(store, "_now", lambda: first + timedelta(seconds=16))
        monkeypatch.setattr(store.coral, "_now", lambda: first + timedelta(seconds=17))
        desk.ask("A lovely walk by the river.", story="s1", author="another")
        late = event_of("COMMENT_CREATED", "c1", "s1", first)

        assert desk.send(write(late), HOOK_SECRET, to="webhooks").json() == {"result": "nothing"}

    @pytest.mark.parametrize(
        "other",
        [
            request_of("Staff", role="STAFF", story="s1"),
            request_of("", story="s1"),
            request_of("<div><br></div>", story="s1"),
            request_of("word " * 2_000, story="s1"),
            {"comment": 7},
            request_of(GOOD, story="s1", author="another"),
        ],
        ids=["staff", "picture", "markup", "long", "unreadable", "kept"],
    )
    def test_whatever_else_was_asked_about_makes_it_doubtful(self, desk, other):
        desk.ask(GOOD, story="s1")
        desk.send(write(other), SECRET)

        assert desk.tell("COMMENT_CREATED", "c1", "s1") == "nothing"

    def test_on_another_story_it_makes_nothing_doubtful(self, desk):
        desk.ask(GOOD, story="s1")
        desk.ask("Staff", role="STAFF", story="s2")

        assert desk.tell("COMMENT_CREATED", "c1", "s1") == "learned"

    def test_of_two_at_a_time_neither_is_taken(self, desk):
        self.held(desk, "s1")
        self.held(desk, "s1", GOOD, author="another")

        assert self.entered(desk, "c1", "s1") == "nothing"
        assert self.left(desk, "c1", "s1", "APPROVED") == "nothing"
        assert list(desk.parts.store.labels.read(desk.site)) == []

    def test_another_story_another_comment(self, desk):
        self.held(desk, "s1")

        assert self.entered(desk, "c1", "s2") == "nothing"

    def test_after_an_edit_nobody_knows_which_text_was_judged(self, desk):
        ours = self.held(desk, "s1")
        self.entered(desk, "c1", "s1")
        self.held(desk, "s1", "Other words, https://shop.example https://shop.example/2", action="EDIT")

        assert self.left(desk, "c1", "s1", "APPROVED") == "nothing"
        assert self.status(desk, ours) == "held"

    def test_the_edit_of_somebody_else_does_not_matter(self, desk):
        self.held(desk, "s1")
        self.entered(desk, "c1", "s1")
        self.held(desk, "s1", GOOD, action="EDIT", author="another")

        assert self.left(desk, "c1", "s1", "APPROVED") == "verdict"

    def test_an_edit_is_never_learned(self, desk):
        self.held(desk, "s1", action="EDIT")

        assert self.entered(desk, "c1", "s1") == "nothing"

    def test_an_erased_comment_is_not_spoken_of(self, desk):
        ours = self.held(desk, "s1")
        self.entered(desk, "c1", "s1")
        desk.parts.workflow.erase(desk.site, ours)

        assert self.left(desk, "c1", "s1", "APPROVED") == "nothing"

    @pytest.mark.parametrize("status", ["NONE", "PREMOD", "SYSTEM_WITHHELD", "SOMETHING_NEW"])
    def test_leaving_a_queue_otherwise_is_no_verdict(self, desk, status):
        self.held(desk, "s1")
        self.entered(desk, "c1", "s1")

        assert self.left(desk, "c1", "s1", status) == "nothing"

    def test_what_is_not_about_comments_is_taken_and_nothing_comes_of_it(self, desk):
        assert desk.tell("STORY_CREATED", "", "s1", storyURL="https://paper.example/s1") == "nothing"
        assert desk.tell("SOMETHING_NEW", "c1", "s1") == "nothing"
        body = write({"type": "COMMENT_CREATED", "data": {"commentID": 7, "storyID": "s" * 201}})
        assert desk.send(body, HOOK_SECRET, to="webhooks").json() == {"result": "nothing"}

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type": 1, "data": {}}', b'{"type": "x", "data": []}'])
    def test_what_is_no_message_is_422(self, desk, body):
        response = desk.send(body, HOOK_SECRET, to="webhooks")

        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_request")

    def test_they_have_a_secret_of_their_own(self, desk):
        assert desk.send(b"{}", SECRET, to="webhooks").status_code == 401

    def test_in_a_fault_coral_hears_of_it(self, start, plain_home):
        desk = Desk(start(database_timeout_seconds=0.5), "https://paper.example", timeout=20)
        self.held(desk, "s1")
        lock = sqlite3.connect(plain_home / "moderation.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        try:
            response = desk.send(write(event_of("COMMENT_CREATED", "c1", "s1")), HOOK_SECRET, to="webhooks")
        finally:
            lock.rollback()
            lock.close()

        assert (response.status_code, response.headers["retry-after"]) == (503, "2")


def learn(store: Store, made, coral_id: str = "c1", story: str = "s1", **more) -> bool:
    return store.coral.learn(made, coral_id, story, "hold", **{"happened": store.now(), "is_reply": None} | more)


class TestStore:
    """On SQLite and PostgreSQL."""

    def test_a_comment_is_learned_in_time_only(self, store: Store, put):
        site = store.add_site("https://paper.example")
        made = store.coral.connect(site, SECRET, None, who="operator")
        put(site, "coral-1", post="s1")
        now = store.now()
        late = learn(store, made, happened=now + timedelta(seconds=6))
        store.coral._now = lambda: now + timedelta(seconds=62)
        late |= learn(store, made, happened=now)
        store.coral._now = store.now

        assert late is False
        assert learn(store, made, is_reply=False) is True
        assert store.coral.known(made, "c1") == "coral-1"
        assert learn(store, made, "c2") is False
        assert store.coral.may_be_edited(made, "coral-1") is False

    def test_other_sites_and_other_comments_are_not_coral_s(self, store: Store, put):
        site, other = store.add_site("https://paper.example"), store.add_site("https://other.example")
        made, foreign = (store.coral.connect(each, SECRET, None, who="operator") for each in (site, other))
        put(site, "coral-1", post="s1")
        put(site, "c7", post="s1")

        store.coral.note(foreign, "s1")
        store.coral.note(made, "s2")

        assert learn(store, foreign) is False
        assert learn(store, made) is True
        assert store.coral.known(foreign, "c1") is None

    def test_what_is_not_kept_and_what_is_being_asked_makes_it_doubtful(self, store: Store, put):
        site = store.add_site("https://paper.example")
        made = store.coral.connect(site, SECRET, None, who="operator")
        put(site, "coral-1", post="s1")
        with store.coral.asking(made, "s1"):
            assert learn(store, made) is False
        with store.coral.asking(made, "s2"):
            assert learn(store, made) is True
        for number, doubt in enumerate((store.coral.remember, store.coral.note)):
            for story in (f"story {number}", None):
                put(site, f"coral-{uuid4().hex}", post=f"story {number}")
                doubt(made, story)
                assert learn(store, made, "c3", f"story {number}") is False

    def test_in_a_fault_it_is_noted(self, store: Store, put):
        site = store.add_site("https://paper.example")
        made = store.coral.connect(site, SECRET, None, who="operator")
        put(site, "coral-1", post="s1")
        with pytest.raises(ZeroDivisionError), store.coral.asking(made, "s1"):
            raise ZeroDivisionError

        assert learn(store, made) is False

    def test_edits_are_not_counted_as_comments(self, store: Store, put):
        site = store.add_site("https://paper.example")
        made = store.coral.connect(site, SECRET, None, who="operator")
        for comment_id, author in (("coral-1", "ann"), ("coral-edit-1", "ann"), ("coral-edit-2", "ann"), ("c4", "ben")):
            put(site, comment_id, author=author, post="s1")
        counted = Context(author_recent=(3, 3, 3), site_recent=(4, 4, 4))
        unknown = Context(site_recent=(4, 4, 4))

        def recount(author: str | None, context: Context, **more: bool) -> tuple:
            found = store.coral.recount(made, author, "s1", context, (), **{"is_edit": False} | more)
            return found.author_recent, found.site_recent

        assert recount("ann", counted) == ((1, 1, 1), (2, 2, 2))
        assert recount("ann", counted, is_edit=True) == ((0, 0, 0), (1, 1, 1))
        assert recount("ben", Context(author_recent=(1, 1, 1), site_recent=(4, 4, 4)), is_edit=True) == (
            (1, 1, 1),
            (2, 2, 2),
        )
        assert recount(None, unknown, is_edit=True) == ((), (2, 2, 2))
        # What was not counted to its end is over every rate, whatever is taken off.
        assert recount("ann", Context(author_recent=(3, 3, 3), site_recent=(4, MOST_RECENT, MOST_RECENT))) == (
            (1, 1, 1),
            (2, MOST_RECENT, MOST_RECENT),
        )
        now = store.now()
        store.coral._now = lambda: now + timedelta(minutes=2)
        assert recount("ann", counted, is_edit=True) == ((3, 0, 0), (4, 1, 1))

    def test_a_connection_is_made_once_and_ended(self, store: Store):
        site = store.add_site("https://paper.example")
        made = store.coral.connect(site, None, None, who="operator")
        with pytest.raises(InvalidSettings):
            store.coral.connect(site, None, None, who="operator")
        store.coral.rotate(site, "one", "w", who="operator")
        store.coral.rotate(site, "two", None, who="operator")
        found = store.coral.find(made.id)

        assert (found.phase_secrets, found.webhook_secrets) == (("two", "one"), ("w",))
        assert "two" not in repr(found)
        store.coral.disconnect(site, who="operator")
        assert store.coral.find(made.id) is None
        with pytest.raises(NotFound):
            store.coral.rotate(site, "x", None, who="operator")


class TestMarkup:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ("Plain & simple, 5 < 6 and <Stefan> agrees", "Plain & simple, 5 < 6 and <Stefan> agrees"),
            ("<div>One</div><div>Two</div>", "One\nTwo"),
            ("One<br>Two<br/><br />Three", "One\nTwo\nThree"),
            ("<ul><li>One</li><li><b>Two</b></li></ul>", "One\nTwo"),
            ("<b>Bo</b>ld, <i class='coral-rte-spoiler'>italic</i>", "Bold, italic"),
            ('<a href="/a" rel="nofollow noopener" target="_blank">/a</a>', "/a"),
            ("<b you are an idiot>", "<b you are an idiot>"),
            ("Nice. <i you are an idiot> Bye", "Nice. <i you are an idiot> Bye"),
            ("<b you='' are='' an='' idiot=''>x", "<b you='' are='' an='' idiot=''>x"),
            ('<p>One</p><b title="You idiot">two</b>', "One\ntwo\nYou idiot"),
            ("<p class='you idiot'>One", "One\nyou idiot"),
            ("&lt;b you idiot&gt; <b>x</b>", "<b you idiot> x"),
            ("Tom &amp; Jerry &#128512; &#x1F600; &unknown;", "Tom & Jerry 😀 😀 &unknown;"),
            ("https://a.example/?x=1&copy=2", "https://a.example/?x=1&copy=2"),
            ('<a href="https://a.example">https://a.example</a>', "https://a.example"),
            (
                'Look <a rel="nofollow" href="https://a.example/?a=1&amp;b=2">here</a>',
                "Look here\nhttps://a.example/?a=1&b=2",
            ),
            ("<a href='https://a.example'>x</a><p>y</p>", "x\ny\nhttps://a.example"),
            ("a\n  b", "a\n  b"),
        ],
    )
    def test_html_is_read_and_text_left_alone(self, body, text):
        assert plain_text(body) == text

    @given(st.text())
    def test_text_without_markup_loses_only_blanks_around_it(self, text):
        if "<" not in text and "&" not in text:
            assert plain_text(text) == text.replace("\xa0", " ").strip()

    @given(st.lists(st.sampled_from(["<", ">", "a", "<a href=", '"', "<br>", "&", "amp;", " ", "</div>", "<p", "\n"])))
    def test_it_is_total_and_leaves_no_tag(self, pieces):
        assert "<br>" not in plain_text("".join(pieces).replace("&", ""))

    @pytest.mark.parametrize(
        ("start", "piece"),
        [("", "<"), ("<", "a"), ("", "<a "), ("", '<a href="'), ("", "<b>"), ("", "&"), ("", "&amp;"), ("", "&#"),
         ("", '<a href="x">'), ("<a ", "href="), ("<b>", " "), ("<b>", "\n"), ("", "<p " + "x" * 3_999)],
    )  # fmt: skip
    def test_the_time_it_takes_grows_with_the_length(self, growth, start, piece):
        assert growth(plain_text, lambda length: (start + piece * length)[:length]) < 50

    @given(st.lists(st.sampled_from(["<b ", "<i", ">", '"', "title=", "'", " ", "href=", "/", "</p>", "fool", "&lt;"])))
    def test_no_word_gets_lost(self, pieces):
        body = "".join(pieces)
        assert plain_text(body).count("fool") >= min(1, body.count("fool"))


@pytest.fixture
def run(home):
    def run_one(*arguments: str, **more):
        return CliRunner().invoke(app, [*arguments, "--home", str(home)], **more)

    return run_one


class TestCommands:
    URL = "https://paper.example"

    def test_a_site_is_connected_and_its_secrets_rotate(self, run):
        run("add-site", self.URL)
        made = json.loads(run("coral", "connect", self.URL, "--json").stdout)
        rotated = run(
            "coral", "rotate", self.URL, "--secret", f" {SECRET} ", "--webhooks-secret", "-", "--json", input="w\n"
        )
        [listed] = json.loads(run("coral", "list", "--json").stdout)

        assert made["phase"].startswith("http://127.0.0.1:8000/coral/")
        assert made["phase"].endswith("/phase")
        assert made["webhooks"].endswith("/webhooks")
        assert (made["phase_secrets"], made["webhooks_secrets"]) == (0, 0)
        assert json.loads(rotated.stdout) == listed
        assert (listed["phase_secrets"], listed["webhooks_secrets"]) == (1, 1)
        shown = run("coral", "list").output
        assert listed["phase"] in shown
        assert SECRET not in shown + rotated.output
        assert self.URL in run("coral", "disconnect", self.URL).stdout
        assert json.loads(run("coral", "list", "--json").stdout) == []
        logged = [json.loads(line) for line in run("export", "--kind", "log").stdout.splitlines()]
        events = [line["event"] for line in logged if line["event"].startswith("coral")]
        assert events == ["coral_connected", "coral_rotated", "coral_disconnected"]
        assert SECRET not in json.dumps(logged)

    def test_without_a_secret_it_says_what_comes_next(self, run):
        run("add-site", self.URL)
        shown = run("coral", "connect", self.URL)

        assert f"moderation coral rotate {self.URL} --secret" in shown.output
        assert "rotate" not in run("coral", "list").output

    def test_slips_are_told(self, run):
        run("add-site", self.URL)
        run("coral", "connect", self.URL, "--secret", SECRET)
        for arguments, words in (
            (("connect", self.URL), "connected already"),
            (("connect", "https://other.example"), "there is no site"),
            (("rotate", self.URL), "which secret is new"),
            (("rotate", self.URL, "--secret", "two words"), "visible characters"),
            (("rotate", self.URL, "--secret", " "), "visible characters"),
        ):
            done = run("coral", *arguments)
            assert (done.exit_code, words in done.output) == (2, True), done.output


def test_handles_tell_comments_of_the_same_text_apart(desk):
    for author in ("u-1", "u-2"):
        desk.ask(SPAM, author=author, story=f"story of {author}")
    [second, first] = desk.parts.store.find_texts(desk.site, desk.parts.feedback._hashes.text(SPAM))
    wanted = desk.parts.feedback._hashes.handles(desk.site.url, {"author": "u-1"})

    assert set(wanted) <= set(first.handles)
    assert set(wanted).isdisjoint(second.handles)


def test_a_decision_is_the_one_of_the_native_api(desk):
    desk.ask(SPAM)
    [reason] = [r for r in decision_of(desk).reasons if r.fired]
    native = desk.parts.workflow.submit(desk.site, replace(Comment(SPAM), post=Post("s9"), id="n1")).decision

    assert reason.name == "spam"
    assert decision_of(desk).scores == native.scores


def decision_of(desk) -> Decision:
    ours = desk.comments()[-1]["comment_id"]
    if not ours.startswith("coral-"):
        ours = desk.comments()[-2]["comment_id"]
    return desk.parts.store.find_comments(desk.site, [ours])[ours].decision
