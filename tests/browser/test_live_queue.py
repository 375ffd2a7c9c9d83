"""The queue while others work on it: what they do shows on the spot, what comes in waits to be shown, nothing moves."""

from __future__ import annotations

import itertools
import random

import pytest

from moderation.comment import Author, Comment, Post
from service.store import Judge, Judgement, Target

_numbers = itertools.count()


class Shared:
    """A site with comments that wait, and Ben, who works on them elsewhere."""

    def __init__(self, live) -> None:
        self.parts = live.parts
        self.site = self.parts.store.add_site(f"https://shared{next(_numbers)}.example")
        self.ben = self.parts.store.people.add("Ben", self.site, "moderator", who="operator")

    def submit(self, name: str, who: str = "ann") -> None:
        letters = random.Random(name)
        words = " ".join("".join(letters.choices("abcdefghijklmnop", k=7)) for _ in range(25))
        text = f"Number {name}: http://one.example/a http://two.example/b {words}"
        comment = Comment(text, id=name, site=self.site.url, author=Author(who, who.title()), post=Post("p", "A post"))
        self.parts.workflow.submit(self.site, comment)

    def entry(self, name: str) -> str:
        return str(self.parts.store.reading.place_of_id([self.site], name).entry)

    def decide(self, name: str, action: str = "approve"):
        digest = self.parts.workflow.find_comment(self.site, name).decision.digest
        judge, target = Judge("Ben", "review", self.ben.row), Target(digest, comment=name)
        return self.parts.moderation.decide(self.site, judge, Judgement(action), target)

    def claim(self, entry: str) -> None:
        self.parts.store.queue.claim([self.site], int(entry), self.ben.row)

    def release(self, entry: str) -> None:
        self.parts.store.queue.release(int(entry), self.ben.row)


@pytest.fixture
def shared(live):
    made = Shared(live)
    for n in range(4):
        made.submit(f"{made.site.row}-{n}")
    return made


@pytest.fixture
def open_queue(open_page, sign_in, shared):
    """Ada's page of that queue, with the stream open; the entries in the order of the list."""

    def open_one(**look):
        page = open_page(**look)
        with page.expect_response(lambda answer: "/review/events" in answer.url):
            sign_in(page, "Ada", sites=(shared.site,))
        page.locator("article.focused").wait_for()
        return page, [row.get_attribute("data-entry") for row in page.locator("li.entry").all()]

    return open_one


def focused(page, entry: str):
    return page.locator(f"article.focused[data-entry='{entry}']")


def names(shared) -> dict[str, str]:
    return {shared.entry(f"{shared.site.row}-{n}"): f"{shared.site.row}-{n}" for n in range(4)}


@pytest.mark.parametrize("look", [{}, {"colours": "dark"}, {"width": 390}])
def test_what_comes_in_waits_to_be_shown(shared, open_queue, check_access, shoot, look):
    page, entries = open_queue(**look)
    row = page.locator("li.entry").nth(1)
    before = row.bounding_box(), page.locator("#focus").bounding_box()
    shared.submit(f"{shared.site.row}-a")
    shared.submit(f"{shared.site.row}-b")
    show = page.get_by_role("status").get_by_role("button", name="2 new comments, show")
    show.wait_for()
    page.locator("[data-waiting='6']").first.wait_for()
    assert (row.bounding_box(), page.locator("#focus").bounding_box()) == before, "nothing moves"
    assert page.locator("li.entry").count() == 4
    check_access(page)
    shoot(page, f"queue-news-{look.get('colours', 'light')}-{look.get('width', 1280)}")
    show.click()
    page.locator("li.entry").nth(5).wait_for()
    new = [shared.entry(f"{shared.site.row}-{name}") for name in "ba"]
    assert [row.get_attribute("data-entry") for row in page.locator("li.entry").all()] == new + entries
    assert show.count() == 0
    assert page.evaluate("document.activeElement.closest('li').dataset.entry") == new[0]
    focused(page, entries[0]).wait_for()
    check_access(page)


def test_keys_show_what_has_come_in_also_when_the_list_is_cleared(shared, open_queue):
    page, entries = open_queue()
    shared.submit(f"{shared.site.row}-late")
    page.get_by_role("button", name="1 new comment, show").wait_for()
    for left in range(len(entries), 0, -1):
        page.locator("article.focused:not([aria-busy])").wait_for()
        page.keyboard.press("f")
        page.locator("li.entry:visible").nth(left - 1).wait_for(state="hidden")
    page.get_by_role("heading", name="Nothing waits").wait_for()
    page.keyboard.press("n")
    focused(page, shared.entry(f"{shared.site.row}-late")).wait_for()
    page.locator("[data-waiting='1']").first.wait_for()


def test_what_somebody_else_decided_is_marked_where_it_is_and_passed_over(shared, open_queue, check_access, shoot):
    page, entries = open_queue()
    of = names(shared)
    row = page.locator(f"#entry-{entries[1]}")
    after = page.locator(f"#entry-{entries[2]}")
    before = after.bounding_box()
    verdict = shared.decide(of[entries[1]])
    row.get_by_text("Decided by Ben: approved").wait_for()
    assert after.bounding_box() == before, "nothing moves"
    page.locator("[data-waiting='3']").first.wait_for()
    check_access(page)
    shoot(page, "queue-decided")
    page.keyboard.press("j")
    focused(page, entries[2]).wait_for()
    page.keyboard.press("k")
    focused(page, entries[0]).wait_for()
    shared.parts.moderation.undo(shared.site, verdict.id, "Ben")
    row.get_by_text("Decided by Ben").wait_for(state="detached")
    page.keyboard.press("j")
    focused(page, entries[1]).wait_for()


def test_the_comment_in_focus_says_that_it_is_decided_and_takes_no_verdict(shared, open_queue, check_access, shoot):
    page, entries = open_queue()
    article = focused(page, entries[0])
    buttons = page.locator(".verdict-buttons")
    article.locator(".facts").wait_for()
    before = buttons.bounding_box()
    # Ben's word about the comment counts whoever holds the entry.
    shared.decide(names(shared)[entries[0]], "reject")
    article.get_by_text("Decided by Ben: rejected").wait_for()
    assert buttons.bounding_box() == before, "nothing moves"
    check_access(page)
    shoot(page, "queue-focus-decided")
    page.keyboard.press("f")
    page.get_by_text("Its history is where it can be decided otherwise").wait_for()
    assert shared.parts.store.reading.place_of_id([shared.site], names(shared)[entries[0]]).status == "rejected"
    page.keyboard.press("j")
    focused(page, entries[1]).wait_for()


def test_what_somebody_else_holds_is_marked_and_passed_over_until_it_is_free(shared, open_queue):
    page, entries = open_queue()
    row = page.locator(f"#entry-{entries[1]}")
    shared.claim(entries[1])
    row.get_by_text("Ben is looking at it").wait_for()
    page.keyboard.press("j")
    focused(page, entries[2]).wait_for()
    shared.release(entries[1])
    row.get_by_text("Ben is looking at it").wait_for(state="detached")
    page.keyboard.press("k")
    focused(page, entries[1]).wait_for()


def test_an_erased_comment_is_gone_from_the_page(shared, open_queue):
    page, entries = open_queue()
    of = names(shared)
    for entry in entries[:2]:
        shared.parts.store.erasure.erase_comment(shared.site, of[entry], who="site")
    page.locator(f"#entry-{entries[1]}").get_by_text("Erased").wait_for()
    focused(page, entries[0]).get_by_text("Erased", exact=True).wait_for()
    for place in (page.locator(f"#entry-{entries[1]}"), focused(page, entries[0])):
        assert "Number" not in place.inner_text()
        assert "Ann" not in place.inner_text()


def test_whoever_is_signed_out_is_told(shared, open_queue, check_access):
    page, _ = open_queue()
    shared.parts.store.sessions.close_all(shared.parts.store.people.find("Ada"))
    page.wait_for_timeout(1100)
    shared.submit(f"{shared.site.row}-secret")
    page.get_by_role("link", name="You are signed out: sign in again").wait_for()
    assert page.get_by_role("button", name="new comment").count() == 0
    check_access(page)
    page.get_by_role("link", name="You are signed out: sign in again").click()
    page.get_by_role("heading", name="Sign in").wait_for()
