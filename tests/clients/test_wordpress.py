"""A real WordPress with its real Akismet plugin, from a visitor's comment to the label and back."""

from __future__ import annotations

import time

import pytest

from service.auth import make_key
from service.statuses import AKISMET_ID
from service.store import Judge, Judgement, QueueFilter, Target
from tests.clients.wordpress.wordpress import ADMIN, missing, running

SPAM = "See https://shop.example and https://shop.example/2 number {}"
HAM = "A thoughtful word about bread, number {}."


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
