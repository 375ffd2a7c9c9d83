"""A real WordPress with its real Akismet plugin, from a visitor's comment to the label and back."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from service.auth import hash_token, make_key
from service.statuses import AKISMET_ID
from service.store import Judge, Judgement, QueueFilter, Target
from tests.clients.wordpress.wordpress import ADMIN, missing, running

SPAM = "See https://shop.example and https://shop.example/2 number {}"
HAM = "A thoughtful word about bread, number {}."


LOAD = "require 'wp-load.php';"
BY_GET = "['body' => ['extended' => '1', 'api_key' => Akismet::get_api_key()]]"


class _Recorder(BaseHTTPRequestHandler):
    """Keeps how it was asked: method, address, body."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_) -> None:
        pass


@contextmanager
def recording():
    """A server that answers nothing: its address, and what it was asked, without what asks whether a key is valid."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    server.asked, asked = [], []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        asked.extend(each for each in server.asked if each[1] != "/1.1/verify-key")


def wait_for(read, wanted, seconds: float = 30):
    until = time.monotonic() + seconds
    while (found := read()) != wanted and time.monotonic() < until:
        time.sleep(0.2)
    assert found == wanted


def test_a_blog_from_the_first_comment_to_a_verdict_in_our_queue(start, plain_home, tmp_path):  # noqa: ARG001
    if reason := missing():
        pytest.skip(reason)
    service = start(webhook_allow="127.0.0.0/8")
    store, moderation = service.parts.store, service.parts.moderation
    with running(tmp_path / "blog") as blog:
        site = store.add_site(blog.url)

        assert "does not know this key" in blog.set(service.url, "0" * 60)
        assert "takes the key" in blog.set(f"{service.url}/", make_key(store, site))
        # The plugin's own page, which asks for the account and for figures.
        page = blog.admin.get("/wp-admin/options-general.php?page=akismet-key-config").text
        assert "Active" in page
        assert "Disconnect" in page or "api-key" in page

        # Visitors write; what is spam is held.
        ham, spam = blog.comment(HAM.format(1)), blog.comment(SPAM.format(1))
        assert (blog.status(ham), blog.status(spam)) == ("1", "spam")

        # The administrator sees it otherwise. Both are labels, with who said so and what we had said.
        blog.click("unspam", spam)
        blog.click("spam", ham)
        assert blog.status(spam) != "spam"
        assert blog.status(ham) == "spam"
        cleared, missed = list(store.labels.read(site))
        assert (cleared["text"], cleared["labels"], cleared["action"]) == (SPAM.format(1), {"spam": 0}, "hold")
        assert (missed["text"], missed["labels"], missed["action"]) == (HAM.format(1), {"spam": 1}, "publish")
        assert cleared["moderator"] == missed["moderator"] == f"site:{ADMIN}"
        assert cleared["scores"]["spam"] > 0.5 > missed["scores"]["spam"]

        # We decide, and WordPress follows.
        store.webhooks.add(
            site,
            f"{blog.url}/?rest_route=/akismet/v1/webhook",
            (),
            blog.run("require 'wp-load.php'; echo Akismet::get_api_key();"),
            who="operator",
            form="akismet",
        )
        ham, spam = blog.comment(HAM.format(2)), blog.comment(SPAM.format(2))
        assert (blog.status(ham), blog.status(spam)) == ("1", "spam")
        ada = Judge("Ada", "review")
        [entry] = moderation.queue([site], QueueFilter(text="number 2"), sort="age", limit=5, after=None).entries
        moderation.decide(site, ada, Judgement("approve"), Target(entry.stored.decision.digest, entry=entry.row))
        wait_for(lambda: blog.status(spam) == "spam", False)
        guid = blog.run(f"require 'wp-load.php'; echo get_comment_meta({ham}, 'akismet_guid', true);")
        stored = service.parts.workflow.find_comment(site, AKISMET_ID + guid)
        verdict = moderation.decide(
            site, ada, Judgement("reject", ("hostile",)), Target(stored.decision.digest, AKISMET_ID + guid)
        )
        wait_for(lambda: blog.status(ham), "spam")
        moderation.undo(site, verdict.id, "Ada")
        wait_for(lambda: blog.status(ham) == "spam", False)

        # Nothing that we told came back as a report.
        assert len(list(store.labels.read(site))) == 3
        assert store.webhooks.deliveries(store.webhooks.all()[0]).given_up == 0

        # A wrong key is refused by the plugin, and the service away means that a comment waits for a person.
        blog.set("http://127.0.0.1:9", "")
        waiting = blog.comment(HAM.format(3))
        assert blog.status(waiting) == "0"


def test_the_key_stands_in_no_address_and_akismet_is_no_service_of_ones_own(start, plain_home, tmp_path):  # noqa: ARG001
    if reason := missing():
        pytest.skip(reason)
    service = start()
    store = service.parts.store
    with running(tmp_path / "blog") as blog:
        site = store.add_site(blog.url)
        with recording() as (address, asked):
            blog.set(address, "a" * 60)
            for url in ("https://rest.akismet.com/1.2/key-sites?api_key=KEY", "https://KEY.rest.akismet.com/1.1/x?a=1"):
                blog.run(f"{LOAD} wp_remote_get(str_replace('KEY', Akismet::get_api_key(), '{url}'));")
            blog.run(f"{LOAD} wp_remote_get('https://rest.akismet.com/1.2/usage-limit', {BY_GET});")
            blog.run(f"{LOAD} wp_remote_get('https://rest.akismet.com/1.1/test?a=1');")
        key = make_key(store, site)
        assert "takes the key" in blog.set(service.url, key)
        kept = blog.run(f"{LOAD} echo get_option('comment_moderation')['key'];")
        real = "a" * 60
        assert kept == key
        assert asked == [
            ("POST", "/1.2/key-sites", f"api_key={real}".encode()),
            ("POST", "/1.1/x", f"a=1&api_key={real}".encode()),
            ("POST", "/1.2/usage-limit", f"extended=1&api_key={real}".encode()),
            ("GET", "/1.1/test?a=1", b""),
        ]
        usage = blog.run(f"{LOAD} echo wp_remote_get('https://rest.akismet.com/1.2/usage-limit', {BY_GET})['body'];")
        assert json.loads(usage)["throttled"] is False

        # Akismet's own address is none of a service, and a key of the form before keeps its capitals.
        for wrong in ("https://rest.akismet.com", "http://Akismet.com./", f"https://{key[:12]}.rest.akismet.com/1.1"):
            assert "Enter that of your own moderation service" in blog.set(wrong, "")
        assert blog.run(f"{LOAD} echo get_option('comment_moderation')['url'];") == service.url
        old = "mod_k3y4y0u2_" + "aB-_" * 10 + "xyz"
        store.add_key(site, "k3y4y0u2", hash_token(old))
        assert "takes the key" in blog.set(service.url, old)


def test_what_the_blog_could_not_do_is_told_again_and_not_for_ever(start, plain_home, tmp_path, monkeypatch):  # noqa: ARG001
    if reason := missing():
        pytest.skip(reason)
    monkeypatch.setattr("service.webhooks._FIRST_WAIT_SECONDS", 0.001)
    service = start(webhook_allow="127.0.0.0/8")
    store, moderation = service.parts.store, service.parts.moderation
    with running(tmp_path / "blog") as blog:
        site = store.add_site(blog.url)
        blog.set(service.url, make_key(store, site))
        key = blog.run(f"{LOAD} echo Akismet::get_api_key();")
        route = f"{blog.url}/?rest_route=/akismet/v1/webhook"
        hook = store.webhooks.add(site, route, (), key, who="operator", form="akismet")
        for word in ("kept", "deleted"):
            spam = blog.comment(SPAM.format(word))
            if word == "deleted":
                blog.run(f"{LOAD} wp_delete_comment({spam}, true);")
            wanted = QueueFilter(text=f"number {word}")
            [entry] = moderation.queue([site], wanted, sort="age", limit=5, after=None).entries
            target = Target(entry.stored.decision.digest, entry=entry.row)
            moderation.decide(site, Judge("Ada", "review"), Judgement("approve"), target)
        wait_for(lambda: store.webhooks.deliveries(hook).waiting, 0)
        deliveries = store.webhooks.deliveries(hook)

        assert (deliveries.delivered, deliveries.given_up, deliveries.last_error) == (1, 1, "not_taken")
