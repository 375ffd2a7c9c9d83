"""Judging many at once in a real browser: a range by mouse, by finger and by keyboard, exceptions, undo."""

from __future__ import annotations

import random
import re

import pytest

from moderation.comment import Author, Comment, Decision, Post, Reason, Scores
from service.hashes import Hashes
from service.priority import measure, reasons_to_look
from service.store import Judged

BREAD = Post("bread", "Sourdough for beginners")
SAID = (
    "Best deals on watches, see my page",
    "I earn a thousand a week from home, ask me how",
    "Great post! Visit us for more offers",
    "My cousin sells the flour you need, cheap",
    "Is this the rye that one buys at the mill?",
)


def put(live, site, texts_and_scores):
    """Comments that wait with the spam scores asked for, as the workflow would have put them."""
    hashes, rows = Hashes(b"k" * 32), []
    for n, (text, score) in enumerate(texts_and_scores):
        comment = Comment(text, id=f"b{n}", site=site.url, author=Author(f"a{n}", f"Guest {n}", None), post=BREAD)
        reason = Reason("spam", score, 0.5, True, f"Spam: {score:.3f} reaches the hold line of 0.500.")
        scores = Scores(0.01, score, None, 0.01, 0.01, 0.01, 0.01, 0.01)
        decision = Decision("hold", scores, (reason,), comment.digest(), "bundle-1", "p" * 64, "lexical")
        whys, bands = reasons_to_look(decision, None), (n + 1_000,)
        rows.append(
            Judged(
                comment,
                comment.digest(),
                hashes.text(text),
                decision,
                {},
                bands=bands,
                whys=whys,
                priority=measure(decision),
            )
        )
    live.parts.store.record(site, rows, ("p" * 64, "# a policy"))


def crowd(count, seed=3):
    """Texts with scores that lie as in life: many near the line, more near the top."""
    rng = random.Random(seed)
    return [
        (
            f"{rng.choice(SAID)} ({n})",
            round(min(0.9999, 0.5 + 0.5 * rng.betavariate(*rng.choice([(2, 5), (6, 1.5)]))), 6),
        )
        for n in range(count)
    ]


@pytest.fixture
def site(live):
    """A site of this page's own, where nothing else waits."""
    return live.parts.store.add_site("https://bakery.example")


@pytest.fixture
def open_batch(live, site, open_page, sign_in):
    """The page with comments at 55 %, 65 %, 75 %, 85 % and 95 %, and whatever more is asked for."""

    def open_one(texts=None, *, query="", **options):
        put(live, site, texts or [(text, 0.55 + n / 10) for n, text in enumerate(SAID)])
        page = open_page(**options)
        sign_in(page)
        live.parts.store.people.add("Ada", site, "moderator", who="operator")
        page.goto(f"/review/batch?category=spam&site={site.row}{query}")
        return page

    return open_one


def drag(page, start, end):
    """Drag from one percent of the axis to another."""
    box = page.locator("[data-batch-plot]").bounding_box()
    at = lambda percent: box["x"] + box["width"] * percent / 100  # noqa: E731
    page.mouse.move(at(start), box["y"] + 40)
    page.mouse.down()
    page.mouse.move(at((start + end) / 2), box["y"] + 50, steps=4)
    page.mouse.move(at(end), box["y"] + 60, steps=4)
    page.mouse.up()


def numbers(page):
    return page.locator("#batch-low").input_value(), page.locator("#batch-high").input_value()


def status(live, comment_id):
    return live.parts.store.find_comments(find_site(live), [comment_id])[comment_id].status


def find_site(live):
    return next(site for site in live.parts.store.sites() if site.url == "https://bakery.example")


def listed(page):
    return page.locator(".batch-table .said").all_inner_texts()


def test_drag_a_range_untick_one_reject_and_undo(live, open_batch, check_access, shoot):
    page = open_batch()
    check_access(page)
    drag(page, 60.4, 89.6)
    page.get_by_role("heading", name="60 to 90 %: 3 of 3 chosen").wait_for()

    assert numbers(page) == ("60", "90")
    assert listed(page) == [SAID[3], SAID[2], SAID[1]]
    assert "low=60&high=90" in page.url
    check_access(page)
    page.get_by_role("checkbox", name="Include this comment of Guest 2").uncheck()
    page.get_by_role("heading", name="2 of 3 chosen").wait_for()
    page.get_by_label("Reject as").select_option("Off topic")
    page.get_by_role("button", name="Reject all chosen").click()
    page.get_by_text("Rejected 2 comments").wait_for()
    assert [status(live, f"b{n}") for n in range(5)] == ["held", "rejected", "held", "rejected", "held"]
    check_access(page)
    shoot(page, "batch-done-light-1280")
    undo = page.get_by_role("button", name="Undo all")
    assert undo.evaluate("button => button === document.activeElement"), "undo is one key away"
    page.keyboard.press("Enter")
    page.get_by_text("2 comments are as before").wait_for()
    assert {status(live, f"b{n}") for n in range(5)} == {"held"}
    # The page goes on working after what it showed was replaced.
    drag(page, 50.2, 59.8)
    page.get_by_role("heading", name="50 to 60 %: 1 of 1 chosen").wait_for()
    # Written numbers move the handles, whichever of the two is written first.
    page.get_by_role("spinbutton", name="From").fill("100")
    page.get_by_role("spinbutton", name="to").fill("70")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="70 to 100 %: 3 of 3 chosen").wait_for()
    assert page.get_by_label("From which score").input_value() == "70"
    assert page.locator(".batch-dot.in").count() == 3


def test_the_keyboard_alone_does_all_of_it(live, open_batch):
    page = open_batch(query="&low=70&high=100")
    low = page.get_by_label("From which score")
    low.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert low.get_attribute("aria-valuetext") == "80 %"
    page.get_by_role("heading", name="80 to 100 %: 2 of 2 chosen").wait_for()
    assert low.evaluate("handle => handle === document.activeElement"), "the list comes without taking the focus"
    page.keyboard.press("Tab")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.get_by_role("heading", name="80 to 95 %: 1 of 1 chosen").wait_for()
    page.get_by_role("button", name="Approve all chosen").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Approved 1 comment").wait_for()
    assert status(live, "b3") == "published"
    page.get_by_role("button", name="Undo all").press("Enter")
    page.get_by_text("1 comment is as before").wait_for()
    assert status(live, "b3") == "held"


def test_a_finger_chooses_on_a_phone(open_batch):
    page = open_batch(width=390, height=844, has_touch=True)
    box = page.locator("[data-batch-plot]").bounding_box()
    session = page.context.new_cdp_session(page)
    for kind, percent in (("touchStart", 70.5), ("touchMove", 80), ("touchMove", 99.5), ("touchEnd", None)):
        points = [] if percent is None else [{"x": box["x"] + box["width"] * percent / 100, "y": box["y"] + 50}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.get_by_role("heading", name=re.compile("70 to 100 %: 3 of 3 chosen")).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_javascript_the_two_numbers_do(live, open_batch):
    page = open_batch(java_script_enabled=False)
    page.get_by_role("spinbutton", name="From").fill("90")
    page.get_by_role("spinbutton", name="to").fill("100")
    page.get_by_role("button", name="Show", exact=True).click()
    assert listed(page) == [SAID[4]]
    page.get_by_role("button", name="Reject all chosen").click()
    assert page.get_by_text("Rejected 1 comment").is_visible()
    assert status(live, "b4") == "rejected"
    page.get_by_role("button", name="Undo all").click()
    assert status(live, "b4") == "held"


def test_what_somebody_else_holds_is_said_and_left(live, site, open_batch, check_access, shoot):
    page = open_batch(query="&low=50&high=100")
    bea = live.parts.store.people.add("Bea", site, "moderator", who="operator")
    entries = {entry.stored.id: entry.row for entry in live.parts.store.queue.page([site]).entries}
    live.parts.store.queue.claim([site], entries["b0"], bea.row)
    page.get_by_role("button", name="Reject all chosen").click()
    page.get_by_text("1 left out").wait_for()

    assert page.get_by_role("row", name=re.compile("Somebody else is at it")).is_visible()
    assert status(live, "b0") == "held"
    check_access(page)
    shoot(page, "batch-conflict-light-1280")


@pytest.mark.parametrize(("colours", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_a_crowd_is_drawn_and_fits(live, open_batch, check_access, shoot, colours, width):
    page = open_batch(crowd(700), query="&low=88&high=100", colours=colours, width=width)

    assert 0 < page.locator(".batch-dot").count() <= 100
    counts = page.locator(".batch-dot").evaluate_all("dots => dots.map((dot) => Number(dot.dataset.count))")
    assert sum(counts) == 700
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    check_access(page)
    shoot(page, f"batch-{colours}-{width}")
    page.goto(f"/review/batch?site={live.other_site.row}&category=spam")
    check_access(page)
    shoot(page, f"batch-empty-{colours}-{width}")


@pytest.mark.parametrize("order", [("GET", "POST"), ("POST", "GET")])
def test_a_list_that_comes_late_leaves_the_focus_on_undo(open_batch, order):
    page = open_batch(query="&low=50&high=100")
    waiting = {}
    page.route("**/review/batch?*", lambda route: waiting.setdefault(route.request.method, route))

    def wait_for(method):
        for _ in range(100):
            if method in waiting:
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"no {method} is sent")

    page.get_by_label("From which score").focus()
    page.keyboard.press("ArrowRight")
    wait_for("GET")
    page.get_by_role("button", name="Approve all chosen").focus()
    page.keyboard.press("Enter")
    wait_for("POST")
    for method in order:
        with page.expect_response(lambda answer, method=method: answer.request.method == method):
            waiting[method].continue_()
        page.wait_for_timeout(300)
    page.unroute("**/review/batch?*")
    undo = page.get_by_role("button", name="Undo all")
    undo.wait_for()
    assert undo.evaluate("button => button === document.activeElement")
    assert page.locator("[data-batch-list]").count() == 0, "what was judged is not listed again"
    page.keyboard.press("Enter")
    page.get_by_text("Undone.").wait_for()
