"""Webhooks: what is signed, where it may go, how often it is tried, and that it arrives once and in order."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete
from typer.testing import CliRunner

from moderation.comment import Comment
from service.cli import app
from service.errors import InvalidSettings, NotFound
from service.metrics import Metrics
from service.settings import Settings
from service.store import Judge, Judgement, Store, Target, Webhook
from service.store import engine as connections
from service.store.tables import webhooks
from service.webhooks import (
    Addresses,
    Courier,
    Sender,
    check_url,
    is_public,
    make_secret,
    resolve,
    sign,
    wait_after,
)

LOCAL = ("127.0.0.0/8", "::1")


class Listener(ThreadingHTTPServer):
    """A site that listens: keeps what it was sent and answers what the test says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[dict], int | tuple[int, bytes]] = lambda _: 204
        self.delay = 0.0
        self.asked = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(body) for _, body in self.got]


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        time.sleep(self.server.delay)
        answered = self.server.answer(json.loads(body))
        status, said = answered if isinstance(answered, tuple) else (answered, b"")
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def target() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def add(store, site):
    def add_one(url: str, *events: str):
        return store.webhooks.add(site, url, events, make_secret(), who="operator")

    return add_one


def a_webhook(url: str) -> Webhook:
    return Webhook(1, "wh_1", "https://blog.example", url, (), (make_secret(),), datetime.now(UTC), None, 0)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


class Running:
    """Couriers in a thread, as many as processes, until the block ends."""

    def __init__(self, *stores: Store, allow=LOCAL, find=None) -> None:
        self.metrics = Metrics()
        self._stores, self._allow, self._find = stores, allow, find
        self._ready = threading.Event()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._couriers = [
            Courier(store, self.metrics, self._allow, look_seconds=0.05, find=self._find) for store in self._stores
        ]
        self._ready.set()
        await asyncio.gather(*(courier.run() for courier in self._couriers))

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_) -> None:
        for courier in self._couriers:
            self._loop.call_soon_threadsafe(courier.stop)
        self._thread.join()

    def count(self, outcome: str) -> float:
        text = self.metrics.render(tier=None).decode()
        lines = [line for line in text.splitlines() if f'deliveries_total{{outcome="{outcome}"}}' in line]
        return float(lines[0].split()[-1]) if lines else 0.0


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As docs/webhooks.md tells receivers to."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [each.partition(",") for each in headers["webhook-signature"].split()]
    return any(version == "v1" and hmac.compare_digest(expected, value) for version, _, value in given)


class TestSigning:
    def test_the_example_of_the_standard_comes_out(self):
        """From the specification and its reference libraries."""
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        body = b'{"test": 2432232314}'

        assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        )

    def test_the_check_in_the_documents_takes_what_is_genuine_and_nothing_else(self, target):
        page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
        documented: dict = {}
        exec(re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1], documented)
        webhook = a_webhook(target.url)
        assert send(webhook).error is None
        ((headers, body),) = target.got
        check, secret = documented["is_genuine"], webhook.secrets[0]

        assert check(secret, headers, body)
        assert not check(make_secret(), headers, body)
        assert not check(secret, headers, body + b" ")
        assert not check(secret, headers | {"webhook-id": "msg_2"}, body)
        assert not check(secret, headers | {"webhook-timestamp": str(int(time.time()) - 301)}, body)

    def test_secrets_are_long_random_and_not_shown(self):
        webhook = a_webhook("https://blog.example/hook")

        assert len(base64.b64decode(webhook.secrets[0].removeprefix("whsec_"))) == 32
        assert make_secret() != make_secret()
        assert webhook.secrets[0] not in repr(webhook)


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1",
            "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::",
            "2001:0:4136:e378:8000:63bf:f5ff:fffe", "2001:db8::1", "fec0::1",
        ],
    )  # fmt: skip
    def test_what_is_not_of_the_internet_is_refused(self, address):
        assert not Addresses(()).permits("hook.example", ip_address(address))

    @pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
    def test_what_is_of_the_internet_is_not(self, address):
        assert Addresses(()).permits("hook.example", ip_address(address))

    def test_what_is_listed_may_be_reached(self):
        addresses = Addresses(("10.0.0.0/8", "hooks.internal", "::1/128"))

        assert addresses.permits("other.internal", ip_address("10.1.2.3"))
        assert addresses.permits("other.internal", ip_address("::ffff:10.1.2.3"))
        assert addresses.permits("HOOKS.internal.", ip_address("192.168.1.1"))
        assert addresses.permits("x", ip_address("::1"))
        assert not addresses.permits("other.internal", ip_address("192.168.1.1"))
        assert not is_public(ip_address("10.1.2.3"))

    @pytest.mark.parametrize("value", ["10.0.0.0/8,hooks.internal,[::1]", "10.0.0.0/8, hooks.internal ,::1"])
    def test_the_setting_is_read(self, value, monkeypatch, home):
        monkeypatch.setenv("MODERATION_WEBHOOK_ALLOW", value)

        assert Settings.load(home=home).webhook_allow == ("10.0.0.0/8", "hooks.internal", "::1/128")

    @pytest.mark.parametrize("value", ["10.0.0.1/8", "http://hooks.internal", "hooks.internal:80", "*.internal"])
    def test_what_it_cannot_mean_is_refused(self, value, monkeypatch, home):
        monkeypatch.setenv("MODERATION_WEBHOOK_ALLOW", value)
        with pytest.raises(InvalidSettings, match="MODERATION_WEBHOOK_ALLOW: must be hosts and networks"):
            Settings.load(home=home)

    @pytest.mark.parametrize(
        "url", ["ftp://a.example/", "https://", "https://u:p@a.example/", "https://a.example/#x", "/hook",
                "https://a b/",
                "https://a.example:99999/", "https://a.example/\u202ex"],
    )  # fmt: skip
    def test_what_is_no_address_of_a_webhook_is_refused(self, url):
        with pytest.raises(InvalidSettings):
            check_url(url, ())

    @pytest.mark.parametrize(
        "host", ["127.0.0.1:9", "169.254.169.254", "10.0.0.1", "[::1]", "[fe80::1]", "[::ffff:10.0.0.1]",
                 "localhost:8000", "LOCALHOST.", "hook.localhost", "127.1", "0x7f000001", "2130706433", "0.0.0.0"],
    )  # fmt: skip
    def test_an_address_inside_is_refused_when_it_is_added_unless_it_is_listed(self, host):
        url = f"http://{host}/x"
        with pytest.raises(InvalidSettings, match="MODERATION_WEBHOOK_ALLOW"):
            check_url(url, ("hooks.internal", "192.168.0.0/16"))
        assert check_url(url, ("0.0.0.0/0", "::/0")) == url

    @pytest.mark.parametrize(
        "url", ["http://93.184.216.34/", "https://[2606:2800:220:1::1]/x", "http://hooks.internal/"]
    )
    def test_a_name_and_an_address_of_the_internet_are_taken_and_a_listed_name(self, url):
        assert check_url(url, ()) == url
        assert check_url("http://localhost/", ("localhost",))


def send(webhook, allow=LOCAL, find=resolve):
    async def once():
        sender = Sender(webhook, Addresses(allow), httpx.create_ssl_context(), find)
        try:
            return await sender.send("msg_1", b'{"event": "ping"}')
        finally:
            await sender.close()

    return asyncio.run(once())


def finds(*addresses: str):
    async def find(_host: str, _port: int):
        return [ip_address(address) for address in addresses]

    return find


class TestSending:
    def test_a_name_is_connected_to_at_the_address_that_was_checked(self, target):
        """It does not exist, so that whoever looked it up again would not get there."""
        webhook = a_webhook(f"http://hook.invalid:{target.server_port}/hook?a=b")
        outcome = send(webhook, find=finds("127.0.0.1"))
        headers, body = target.got[0]

        assert (outcome.status, outcome.error) == (204, None)
        assert headers["host"] == f"hook.invalid:{target.server_port}"
        assert verify(webhook.secrets[0], headers, body)
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10

    def test_one_private_address_among_public_ones_is_enough_to_refuse(self, target):
        webhook = a_webhook(f"http://hook.invalid:{target.server_port}/hook")

        assert send(webhook, allow=(), find=finds("93.184.216.34", "127.0.0.1")).error == "refused_address"
        assert send(webhook, allow=(), find=finds("::ffff:127.0.0.1")).error == "refused_address"
        assert send(webhook, allow=(), find=finds()).error == "refused_address"
        assert target.got == []

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]"])
    def test_this_machine_is_refused_however_it_is_spelled(self, target, host):
        webhook = a_webhook(f"http://{host}:{target.server_port}/hook")

        assert send(webhook, allow=()).error in ("refused_address", "unknown_host")
        assert target.got == []

    def test_an_address_that_does_not_answer_is_followed_by_the_next(self, target):
        webhook = a_webhook(f"http://hook.invalid:{target.server_port}/hook")

        assert send(webhook, find=finds("127.0.0.77", "127.0.0.1")).error is None

    def test_redirects_are_not_followed(self, target):
        target.answer = lambda _: 307

        assert send(a_webhook(target.url)).error == "redirect"

    def test_a_proxy_in_the_environment_is_not_used(self, target, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

        assert send(a_webhook(target.url)).error is None

    @pytest.mark.parametrize(
        ("url", "error"),
        [
            ("http://127.0.0.1:1/", "unreachable"),
            ("http://hook.invalid/", "unknown_host"),
        ],
    )
    def test_what_went_wrong_has_a_code(self, url, error):
        assert send(a_webhook(url)).error == error

    def test_plain_http_behind_https_is_told_as_such(self, target):
        assert send(a_webhook(target.url.replace("http:", "https:"))).error == "tls"

    def test_an_answer_that_takes_too_long_is_not_waited_for(self, target, monkeypatch):
        monkeypatch.setattr("service.webhooks.ATTEMPT_SECONDS", 0.2)
        target.delay = 1.0

        assert send(a_webhook(target.url)).error == "timeout"

    def test_an_endless_answer_is_not_read_to_its_end(self):
        listener = socket.create_server(("127.0.0.1", 0))

        def babble() -> None:
            connection, _ = listener.accept()
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
            try:
                while True:
                    connection.sendall(b"x" * 65_536)
            except OSError:
                connection.close()

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        outcome = send(a_webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join()
        listener.close()

        assert outcome.error is None


class TestDelivering:
    def test_every_change_arrives_signed_in_order_and_without_a_text(self, store, site, put, add, target):
        webhook = add(target.url)
        stored = put(site, "c1", "Words of the comment", author="ann")
        judge = Judge("Ada", "review")
        decided = [Target(stored.decision.digest, comment="c1")]
        (verdict,) = store.verdicts.decide(site, judge, Judgement("reject", ("spam",), note="A note"), decided)
        store.verdicts.undo(site, verdict.id, "Ada")
        store.erasure.erase_comment(site, "c1", who="site")
        with Running(store) as running:
            until(lambda: len(target.got) == 4)
            until(lambda: store.webhooks.deliveries(webhook).delivered == 4)
        changes = store.logs.changes(site)
        first, second, third, last = target.bodies

        assert [body["event"] for body in target.bodies] == [
            "comment.held",
            "comment.rejected",
            "comment.held",
            "comment.erased",
        ]
        assert [body["cursor"] for body in target.bodies] == [change.cursor for change in changes]
        assert (first["old"], first["new"], first["comment_id"], first["site"]) == (None, "held", "c1", site.url)
        assert (first["decision_id"], first["verdict_id"]) == (stored.decision.decision_id, None)
        assert (second["verdict_id"], second["categories"]) == (verdict.id, ["spam"])
        assert (first["categories"], third["categories"], last["author_message"]) == (None, None, None)
        assert "moderator has read" in second["author_message"]
        assert len({headers["webhook-id"] for headers, _ in target.got}) == 4
        assert all(verify(webhook.secrets[0], *each) for each in target.got)
        assert not any(word in str(target.got) for word in ("Words", "note", "ann", "Ada"))
        assert running.count("delivered") == 4

    def test_a_change_that_is_not_committed_is_not_told(self, store, site, put, add):
        webhook = add("http://127.0.0.1:1/")

        def fail(*_args, **_more):
            raise RuntimeError

        comment = Comment("x", id="c1", site=site.url)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("service.store.queries.join_campaign", fail)
            with pytest.raises(RuntimeError):
                put(site, "c1", comment.text)

        assert store.webhooks.deliveries(webhook).waiting == 0

    def test_only_the_events_that_were_asked_for_are_told(self, store, site, put, add, target):
        add(target.url, "rejected")
        put(site, "c1", action="publish", score=0.1)
        put(site, "c2", action="reject", score=0.99)
        put(store.add_site("https://other.example"), "c3", action="reject", score=0.99)
        with Running(store):
            until(lambda: bool(target.got))
            time.sleep(0.2)

        assert [(body["comment_id"], body["new"]) for body in target.bodies] == [("c2", "rejected")]

    def test_what_fails_is_tried_again_with_the_same_id_and_nothing_overtakes_it(self, store, site, put, add, target):
        webhook = add(target.url)
        failures = iter([500, 503])
        target.answer = lambda _: next(failures, 204)
        stored = put(site, "c1")
        decided = [Target(stored.decision.digest, comment="c1")]
        store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), decided)
        clock = [datetime.now(UTC)]
        store.webhooks._now = lambda: clock[0]
        with Running(store) as running:
            for attempt in (1, 2):
                until(lambda attempt=attempt: running.count("failed") == attempt)
                assert store.webhooks.deliveries(webhook).last_error == ("http_500", "http_503")[attempt - 1]
                clock[0] += timedelta(minutes=5)
            until(lambda: store.webhooks.deliveries(webhook).delivered == 2)
        ids = [headers["webhook-id"] for headers, _ in target.got]

        assert [body["new"] for body in target.bodies] == ["held", "held", "held", "published"]
        assert len(set(ids[:3])) == 1
        assert ids[3] != ids[0]
        assert store.webhooks.deliveries(webhook).last_error is None

    def test_waits_grow_to_hours_and_differ(self):
        least = [wait_after(n, draw=lambda: 0.0).total_seconds() for n in range(40)]
        most = [wait_after(n, draw=lambda: 1.0).total_seconds() for n in range(40)]

        assert (least[0], most[0]) == (pytest.approx(4), pytest.approx(6))
        assert least == sorted(least)
        assert max(most) == pytest.approx(4 * 3600 * 1.2)

    def test_after_a_day_it_is_given_up_and_that_is_seen(self, store, site, put, add):
        webhook = add("http://127.0.0.1:1/")
        put(site, "c1")
        clock = [datetime.now(UTC)]
        store.webhooks._now = lambda: clock[0]
        with Running(store) as running:
            until(lambda: running.count("failed") == 1)
            assert store.webhooks.waiting()[0] == 1
            clock[0] += timedelta(days=1, minutes=1)
            until(lambda: running.count("given_up") == 1)
        found = store.webhooks.deliveries(webhook)

        assert (found.waiting, found.given_up, found.last_error) == (0, 1, "unreachable")
        assert store.webhooks.due() == []

    def test_when_the_target_is_back_nothing_waits_any_longer(self, store, site, put, add, target):
        webhook = add(target.url)
        target.answer = lambda _: 500
        for n in range(4):
            put(site, f"c{n}")
        clock = [datetime.now(UTC)]
        store.webhooks._now = lambda: clock[0]
        with Running(store) as running:
            for attempt in range(1, 5):
                until(lambda attempt=attempt: running.count("failed") == attempt)
                clock[0] += timedelta(seconds=400)
            target.answer = lambda _: 204
            until(lambda: store.webhooks.deliveries(webhook).delivered == 4)

    def test_a_dead_target_keeps_no_other_waiting(self, store, site, put, add, target):
        slow = Listener()
        slow.delay = 3.0
        add(slow.url)
        add("http://127.0.0.1:1/")
        fast = add(target.url)
        for n in range(5):
            put(site, f"c{n}")
        began = time.monotonic()
        with Running(store):
            until(lambda: store.webhooks.deliveries(fast).delivered == 5)
            seconds = time.monotonic() - began
        slow.shutdown()
        slow.server_close()

        assert seconds < 3.0

    def test_a_target_that_is_gone_is_told_nothing_more(self, store, site, put, add, target):
        webhook = add(target.url)
        target.answer = lambda _: 410
        for n in range(3):
            put(site, f"c{n}")
        with Running(store) as running:
            until(lambda: running.count("given_up") == 3)
        put(site, "later")

        assert len(target.got) == 1
        assert store.webhooks.find(webhook.id).disabled_at is not None
        assert store.webhooks.deliveries(webhook).waiting == 0
        assert [entry.event for entry in store.logs.audit()][-1] == "webhook_disabled"

    def test_several_processes_deliver_nothing_twice(self, open_store, site, put, add, target):
        """Fails when ``Webhooks.hold`` is not conditional."""
        add(target.url)
        target.delay = 0.01
        for n in range(40):
            put(site, f"c{n}")
        stores = [open_store() for _ in range(4)]
        with Running(*stores):
            until(lambda: len(target.got) >= 40)
            time.sleep(0.5)

        assert sorted(body["comment_id"] for body in target.bodies) == sorted(f"c{n}" for n in range(40))
        assert [body["cursor"] for body in target.bodies] == sorted(body["cursor"] for body in target.bodies)

    def test_what_a_process_that_died_held_is_taken_over(self, store, site, put, add, target):
        webhook = add(target.url)
        put(site, "c1")
        assert store.webhooks.hold(webhook.row, "dead").id == webhook.id
        assert store.webhooks.hold(webhook.row, "other") is None
        assert store.webhooks.due() == []
        clock = [datetime.now(UTC) + timedelta(seconds=61)]
        store.webhooks._now = lambda: clock[0]
        with Running(store):
            until(lambda: len(target.got) == 1)

    def test_stopping_cuts_off_what_is_being_sent_and_leaves_it_to_the_next(self, store, site, put, add, target):
        webhook = add(target.url)
        target.delay = 5.0
        put(site, "c1")
        began = time.monotonic()
        with Running(store):
            until(lambda: target.asked == 1)
        assert time.monotonic() - began < 4
        assert store.webhooks.deliveries(webhook).waiting == 1
        target.delay = 0.0
        with Running(store):
            until(lambda: store.webhooks.deliveries(webhook).delivered == 1)

    def test_a_secret_that_is_replaced_signs_for_a_day_longer(self, store, add, target):
        old = add(target.url)
        new = store.webhooks.rotate(old.id, make_secret(), timedelta(days=1), who="operator")
        assert send(new).error is None
        store.webhooks._now = lambda: datetime.now(UTC) + timedelta(days=1, seconds=1)

        assert [verify(secret, *target.got[0]) for secret in new.secrets] == [True, True]
        assert new.secrets[1] == old.secrets[0]
        assert store.webhooks.find(old.id).secrets == new.secrets[:1]

    def test_a_webhook_that_is_removed_while_a_change_is_written_stops_no_change(self, store, site, put, add):
        """On PostgreSQL they run side by side; on SQLite the change waits for its turn."""
        add("http://127.0.0.1:1/")
        with ThreadPoolExecutor(1) as pool:
            with connections.writing(store._engine) as connection:
                connection.execute(delete(webhooks))
                written = pool.submit(put, site, "c1")
                time.sleep(0.3)
            assert written.result(timeout=10).status == "held"

        assert store.webhooks.waiting() == (0, 0.0)

    def test_a_failure_that_is_noted_late_brings_nothing_back_that_has_arrived(self, store, site, put, add):
        """Who was so slow that another process took over may still come back with an answer."""
        webhook = add("http://127.0.0.1:1/")
        put(site, "c1")
        store.webhooks.hold(webhook.row, "late")
        (message,) = store.webhooks.next_messages(webhook.row)
        store.webhooks._now = lambda: datetime.now(UTC) + timedelta(seconds=61)
        store.webhooks.hold(webhook.row, "next")
        store.webhooks.delivered(webhook, message, "next")
        wait = timedelta(seconds=1)
        store.webhooks.failed(webhook, message, "timeout", again=wait, pause=wait, most=timedelta(days=1))
        deliveries = store.webhooks.deliveries(webhook)

        assert (deliveries.waiting, deliveries.delivered) == (0, 1)

    def test_what_was_delivered_is_forgotten_after_some_days(self, store, site, put, add, target):
        webhook = add(target.url)
        waiting = add("http://127.0.0.1:1/")
        put(site, "c1")
        with Running(store):
            until(lambda: store.webhooks.deliveries(webhook).delivered == 1)
        moment = datetime.now(UTC) + timedelta(seconds=1)

        assert store.webhooks.forget_before(moment - timedelta(days=1)) == 0
        assert store.webhooks.forget_before(moment) == 1
        assert store.webhooks.deliveries(waiting).waiting == 1
        store.webhooks.remove(waiting.id, who="operator")
        with pytest.raises(NotFound):
            store.webhooks.find(waiting.id)

    def test_nothing_of_it_goes_into_the_log(self, store, site, put, add, caplog):
        webhook = add("http://127.0.0.1:1/")
        put(site, "c1", "Words of the comment")
        with Running(store) as running:
            until(lambda: running.count("failed") == 1)
        (record,) = [record for record in caplog.records if record.getMessage() == "a webhook was not delivered"]

        assert (record.error_code, record.webhook) == ("unreachable", webhook.id)
        assert not any(word in str(record.__dict__) for word in ("Words", webhook.secrets[0][6:]))


def run(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, [*arguments, "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


KEY = "0123456789ab"


class TestAkismet:
    """What a site's Akismet plugin hears: what people say about comments that it had checked, and nothing else."""

    def test_verdicts_are_told_as_the_plugin_takes_them(self, store, site, put, target):
        webhook = store.webhooks.add(site, target.url, (), KEY, who="operator", form="akismet")
        ada = Judge("Ada", "review")
        spam, ham, other = (
            put(site, name, f"Words of {name}", author="ann", post=post)
            for name, post in (("akismet-one", "17"), ("akismet-two", "https://blog.example/2"), ("native", "17"))
        )
        put(site, "akismet-three", "Published", action="publish")
        (approved,) = store.verdicts.decide(site, ada, Judgement("approve"), [_of(spam)])
        store.verdicts.decide(site, ada, Judgement("reject", ("hostile",), note="A note"), [_of(ham)])
        store.verdicts.decide(site, ada, Judgement("reject", ("spam",)), [_of(other)])
        store.verdicts.undo(site, approved.id, "Ada")
        store.verdicts.decide(site, Judge("site:bob", "api"), Judgement("reject", ("spam",)), [_of(spam)])
        store.erasure.erase_comment(site, "akismet-three", who="site")
        with Running(store):
            until(lambda: len(target.got) == 3)
            until(lambda: store.webhooks.deliveries(webhook).delivered == 3)

        assert [body["comments"] for body in sorted(target.bodies, key=lambda body: str(body["comments"]))] == [
            [{"guid": "one", "result": "false", "comment_post_ID": 17}],
            [{"guid": "one", "result": "true", "comment_post_ID": 17}],
            [{"guid": "two", "result": "true"}],
        ]
        for headers, body in target.got:
            assert json.loads(body).keys() == {"key", "endpoint", "comments"}
            assert (json.loads(body)["key"], json.loads(body)["endpoint"]) == (KEY, "comment-check")
            assert (headers["content-type"], headers["x-akismet-webhook"]) == ("application/json", "1")
            assert "webhook-signature" not in headers
        assert not any(word in str(target.got) for word in ("Words", "note", "ann", "Ada", "bob"))

    def test_what_the_plugin_says_itself_is_not_told_unless_it_is_taken_back(self, store, site, put, target):
        store.webhooks.add(site, target.url, (), KEY, who="operator", form="akismet")
        stored = put(site, "akismet-one", action="publish")
        ann = Judge("site:ann", "akismet")
        (verdict,) = store.verdicts.decide(site, ann, Judgement("reject", ("spam",)), [_of(stored)])
        assert store.webhooks.waiting()[0] == 0
        store.verdicts.undo(site, verdict.id, "Ada")
        assert store.webhooks.waiting()[0] == 1
        with Running(store):
            until(lambda: len(target.got) == 1)

        assert target.bodies[0]["comments"] == [{"guid": "one", "result": "false"}]

    def test_a_plugin_that_does_not_know_the_key_is_asked_again(self, store, site, put, target):
        webhook = store.webhooks.add(site, target.url, (), KEY, who="operator", form="akismet")
        target.answer = lambda _: 401
        stored = put(site, "akismet-one")
        store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), [_of(stored)])
        with Running(store):
            until(lambda: store.webhooks.deliveries(webhook).last_error == "http_401")

        assert store.webhooks.deliveries(webhook).waiting == 1

    def test_it_hears_what_a_check_would_be_answered_now_and_was_not(self, store, site, put):
        """Whether the status changes or not, and nothing that it knows."""
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        ada, ann = Judge("Ada", "review"), Judge("site:ann", "akismet")
        told = []

        def hear() -> list[bool]:
            """What was told since the last look, delivered."""
            store.webhooks.hold(webhook.row, "h")
            messages = store.webhooks.next_messages(webhook.row)
            for message in messages:
                store.webhooks.delivered(webhook, message, "h")
            told.extend(messages)
            return [message.about.is_spam for message in messages]

        def judge(stored, judgement, who=ada):
            (verdict,) = store.verdicts.decide(site, who, judgement, [_of(stored)])
            return verdict

        spam = put(site, "akismet-spam", told_spam=True)
        rejected = judge(spam, Judgement("reject", ("spam",)))
        assert hear() == []  # as it was answered
        approved = judge(spam, Judgement("approve"))
        assert hear() == [False]
        store.verdicts.undo(site, approved.id, "Ada")
        assert hear() == [True]
        store.verdicts.undo(site, rejected.id, "Ada")  # it waits again, and is spam until then
        assert hear() == []
        again = judge(spam, Judgement("approve"))
        assert hear() == [False]
        store.verdicts.undo(site, again.id, "Ada")
        assert hear() == [True]

        hostile = put(site, "akismet-hostile", reason="hostile", told_spam=False)
        judge(hostile, Judgement("approve"))
        assert hear() == []
        judge(hostile, Judgement("reject", ("hostile",)))
        assert hear() == [True]

        # The client says something itself, then somebody here says it otherwise, with and without another status.
        ham = put(site, "akismet-ham", action="publish", told_spam=False)
        judge(ham, Judgement("reject", ("spam",)), ann)
        assert hear() == []
        store.akismet.answer(site, "akismet-ham", is_spam=False, by_decision=False)  # a check that was answered before
        assert hear() == [True]
        judge(ham, Judgement("approve"))
        judge(ham, Judgement("approve", cleared=("spam",)), ann)
        assert hear() == []  # it has said so by now
        store.akismet.answer(site, "akismet-ham", is_spam=True, by_decision=False)
        judge(ham, Judgement("approve"))
        assert hear() == [False]
        assert {message.about.comment for message in told} == {"akismet-spam", "akismet-hostile", "akismet-ham"}

    def test_what_waited_in_a_webhook_that_is_removed_is_told_by_the_next(self, store, site, put):
        """As after a key that was wrong."""
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        stored = put(site, "akismet-one", told_spam=True)
        store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), [_of(stored)])
        assert store.webhooks.deliveries(webhook).waiting == 1
        store.webhooks.remove(webhook.id, who="operator")
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        store.verdicts.decide(site, Judge("Bob", "review"), Judgement("approve"), [_of(stored)])
        (message,) = store.webhooks.next_messages(webhook.row)

        assert message.about.is_spam is False

    def test_what_was_withdrawn_while_it_was_on_its_way_is_set_right(self, store, site, put):
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        stored = put(site, "akismet-one", action="publish", told_spam=False)
        store.verdicts.decide(site, Judge("Ada", "review"), Judgement("reject", ("spam",)), [_of(stored)])
        store.webhooks.hold(webhook.row, "h")
        (late,) = store.webhooks.next_messages(webhook.row)
        ann = Judge("site:ann", "akismet")
        store.verdicts.decide(site, ann, Judgement("approve", cleared=("spam",)), [_of(stored)])
        assert store.webhooks.next_messages(webhook.row) == []
        store.webhooks.delivered(webhook, late, "h")
        (message,) = store.webhooks.next_messages(webhook.row)

        assert (late.about.is_spam, message.about.is_spam) == (True, False)

    def test_a_verdict_that_changes_no_status_is_told_where_it_is_news(self, store, site, put):
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        published = put(site, "akismet-one", action="publish", told_spam=True)  # by an earlier policy
        store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), [_of(published)])
        (message,) = store.webhooks.next_messages(webhook.row)

        assert store.find_comments(site, ["akismet-one"])["akismet-one"].status == "published"
        assert (message.about.comment, message.about.is_spam) == ("akismet-one", False)

    def test_a_decision_that_was_no_check_is_told_where_it_is_news(self, store, site, put):
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        put(site, "akismet-one", told_spam=True)
        put(site, "akismet-one", "Edited natively", action="publish")
        put(site, "akismet-two", told_spam=True)
        put(site, "akismet-two", "Held by another policy")  # nobody knows what a check would say
        put(site, "akismet-three", "Never checked", action="publish")
        put(site, "akismet-three", "Never checked, edited", action="reject")
        (message,) = store.webhooks.next_messages(webhook.row)

        assert (message.about.comment, message.about.is_spam) == ("akismet-one", False)

    def test_nobody_is_thought_to_know_what_could_not_be_told(self, store, site, put):
        ada = Judge("Ada", "review")
        stored = put(site, "akismet-one", told_spam=True)
        store.verdicts.decide(site, ada, Judgement("approve"), [_of(stored)])  # no webhook yet
        webhook = store.webhooks.add(site, "https://blog.example/x", (), KEY, who="operator", form="akismet")
        store.verdicts.decide(site, ada, Judgement("approve", note="Again"), [_of(stored)])
        assert store.webhooks.waiting()[0] == 0  # the same moderator has said so before
        bob = Judge("Bob", "review")
        store.verdicts.decide(site, bob, Judgement("approve"), [_of(stored)])
        (message,) = store.webhooks.next_messages(webhook.row)
        assert message.about.is_spam is False
        none = timedelta(0)
        assert store.webhooks.failed(webhook, message, "timeout", again=none, pause=none, most=none) == 1
        store.verdicts.decide(site, ada, Judgement("reject", ("spam",)), [_of(stored)])
        (message,) = store.webhooks.next_messages(webhook.row)

        assert message.about.is_spam is True  # although it was told of a check that it is

    def test_what_a_plugin_could_not_do_is_tried_again_while_others_go_on(self, store, site, put, target, monkeypatch):
        """It says so of each comment in the body, with a status that means success."""
        monkeypatch.setattr("service.webhooks._FIRST_WAIT_SECONDS", 0.0001)
        webhook = store.webhooks.add(site, target.url, (), KEY, who="operator", form="akismet")
        tries = {"early": 2, "gone": 1_000, "fine": 0}

        def answer(body: dict) -> tuple[int, bytes]:
            (comment,) = body["comments"]
            tries[comment["guid"]] -= 1
            status = "error" if tries[comment["guid"]] >= 0 else "success"
            said = {comment["guid"]: {"status": status, "message": "private words"}}
            return 200, json.dumps({"comments": said}).encode()

        target.answer = answer
        for name in tries:
            stored = put(site, f"akismet-{name}", told_spam=True)
            store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), [_of(stored)])
        with Running(store):
            until(lambda: store.webhooks.deliveries(webhook).waiting == 0)
        deliveries, heard = store.webhooks.deliveries(webhook), [body["comments"][0]["guid"] for body in target.bodies]

        assert (deliveries.delivered, deliveries.given_up, deliveries.last_error) == (2, 1, "not_taken")
        assert {name: heard.count(name) for name in tries} == {"early": 3, "gone": 6, "fine": 1}
        assert store.webhooks.find(webhook.id).failures == 0
        # Nobody knows what is thought of it there, so that the next verdict is told whatever it says.
        gone = store.find_comments(site, ["akismet-gone"])["akismet-gone"]
        store.verdicts.decide(site, Judge("Bob", "review"), Judgement("approve"), [_of(gone)])
        assert store.webhooks.waiting()[0] == 1

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"{", b"[]", b"null", b"<p>", b"\xff", b"[" * 60_000),
            *(b'{"comments": []}', b'{"comments": {"one": "error"}}', b'{"comments": {"one": {"status": "success"}}}'),
            b'{"comments": {"two": {"status": "error"}}}',
        ],
    )
    def test_any_other_body_means_that_it_was_taken(self, store, site, put, target, body):
        webhook = store.webhooks.add(site, target.url, (), KEY, who="operator", form="akismet")
        target.answer = lambda _: (200, body)
        stored = put(site, "akismet-one", told_spam=True)
        store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), [_of(stored)])
        with Running(store):
            until(lambda: store.webhooks.deliveries(webhook).waiting == 0)

        assert store.webhooks.deliveries(webhook).delivered == 1

    def test_its_key_is_not_ours_to_replace(self, store, site, target):
        webhook = store.webhooks.add(site, target.url, (), KEY, who="operator", form="akismet")
        with pytest.raises(InvalidSettings, match="add it again"):
            store.webhooks.rotate(webhook.id, make_secret(), timedelta(days=1), who="operator")

        assert store.webhooks.find(webhook.id).secrets == (KEY,)
        assert KEY not in repr(webhook)

    def test_by_command(self, home, target, monkeypatch):
        monkeypatch.setenv("MODERATION_WEBHOOK_ALLOW", "127.0.0.1")
        run(home, "add-site", "https://blog.example")
        plain = ("webhooks", "add", target.url, "--site", "https://blog.example")
        form = ("--format", "akismet")
        for wrong in (form, (*form, "--key", "x y"), (*form, "--key", KEY, "--event", "held"), ("--key", KEY)):
            assert "key" in run(home, *plain, *wrong, status=2).output
        added = json.loads(run(home, *plain, *form, "--key", KEY, "--json").stdout)
        run(home, "webhooks", "test", added["id"])
        (listed,) = json.loads(run(home, "webhooks", "list", "--json").stdout)
        shown = run(home, "webhooks", "list").stdout

        assert added.keys() == {"id", "site", "url"}
        assert (listed["format"], listed["events"]) == ("akismet", [])
        assert target.bodies == [{"key": KEY, "endpoint": "comment-check", "comments": []}]
        assert KEY not in shown
        assert "add it again" in run(home, "webhooks", "rotate", added["id"], status=2).output


def _of(stored) -> Target:
    return Target(stored.decision.digest, comment=stored.id)


class TestCommands:
    def test_the_life_of_a_webhook(self, home, target, monkeypatch):
        monkeypatch.setenv("MODERATION_WEBHOOK_ALLOW", "127.0.0.1")
        run(home, "add-site", "https://blog.example")
        site = ("--site", "https://Blog.example/")
        added = json.loads(run(home, "webhooks", "add", target.url, *site, "--event", "held", "--json").stdout)
        again = run(home, "webhooks", "add", target.url, *site, status=2)
        tested = run(home, "webhooks", "test", added["id"]).stdout
        (listed,) = json.loads(run(home, "webhooks", "list", "--json").stdout)
        rotated = json.loads(run(home, "webhooks", "rotate", added["id"], "--json").stdout)
        run(home, "webhooks", "test", added["id"])
        shown = run(home, "webhooks", "list").stdout
        run(home, "webhooks", "remove", added["id"])

        assert "already" in again.output
        assert tested == f"{target.url} answered 204\n"
        assert (listed["events"], listed["waiting"]) == (["held"], 0)
        assert [body["event"] for body in target.bodies] == ["ping", "ping"]
        assert verify(added["secret"], *target.got[0])
        assert verify(rotated["secret"], *target.got[1])
        assert verify(added["secret"], *target.got[1])
        assert added["id"] in shown
        assert not any(secret in shown + str(listed) for secret in (added["secret"], rotated["secret"]))
        assert run(home, "webhooks", "list").stdout == ""
        assert "webhooks list" in run(home, "webhooks", "remove", added["id"], status=2).output

    def test_a_test_that_fails_says_what_to_do(self, home, target, monkeypatch):
        run(home, "add-site", "https://blog.example")
        add = ("webhooks", "add", target.url, "--site", "https://blog.example", "--json")
        assert "MODERATION_WEBHOOK_ALLOW" in run(home, *add, status=2).output
        with monkeypatch.context() as listed:
            listed.setenv("MODERATION_WEBHOOK_ALLOW", "127.0.0.1")
            made = run(home, *add).stdout
        result = run(home, "webhooks", "test", json.loads(made)["id"], status=1)

        assert "refused_address" in result.output
        assert "MODERATION_WEBHOOK_ALLOW" in result.output
        assert target.got == []


def test_the_service_delivers_and_counts(start, plain_home, target):  # noqa: ARG001  # started in it
    service = start(webhook_allow="127.0.0.1")
    webhook = service.parts.store.webhooks.add(service.site, target.url, (), make_secret(), who="operator")
    service.submit(id="c1", text="Fine")
    until(lambda: len(target.got) == 1)
    until(lambda: service.parts.store.webhooks.deliveries(webhook).delivered == 1)
    figures = service.client.get("/metrics").text

    assert target.bodies[0]["event"] == "comment.published"
    assert 'moderation_webhook_deliveries_total{outcome="delivered"} 1.0' in figures
    assert "moderation_webhook_waiting 0.0" in figures
