"""A public list of cross-site scripting, walked through every page that shows what was sent.

The list is that of the package brs-kb (MIT licence): 4,462 different texts for HTML, SVG and MathML, attributes,
addresses, styles, templates, Markdown, mutation and encodings. Of these an even share is taken, of each context; with
``XSS_PAYLOADS=all`` it is all of them, which takes a good while.
"""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest

from moderation.comment import Author, Comment, Neighbour, Post
from service.policies import Policies

SHARE = 40
"""One text in so many, unless it is all of them."""

# Elements, attributes and addresses that none of our pages has in its content.
FORBIDDEN = """() => {
  const ours = address => address.startsWith("/review/") || address.startsWith("#") || address.startsWith("?");
  const allowed = new Set(["svg", "path", "circle", "rect", "line", "g", "use", "text", "title", "polyline"]);
  const found = [];
  for (const element of document.querySelectorAll("main *")) {
    const name = element.localName;
    if (element.namespaceURI !== "http://www.w3.org/1999/xhtml" && !allowed.has(name)) found.push(name);
    if (/^(script|iframe|object|embed|img|video|audio|math|style|base|link|meta|marquee|applet)$/.test(name))
      found.push(name);
    for (const { name, value } of element.attributes) {
      if (/^on|^hx-on|^(srcdoc|formaction|background|ping)$/i.test(name)) found.push(`${element.localName}[${name}]`);
      if (/^(href|xlink:href|action|src)$/.test(name) && !ours(value)) found.push(`${name}=${value}`);
    }
  }
  return found;
}"""


def payloads() -> list[str]:
    """Of the list what may be sent (no NUL), by context, so that every share has something of each."""
    listed = pytest.importorskip("brs_kb", reason="the list is not installed: pip install brs-kb").get_all_payloads()
    contexts = {str(each["payload"]): " ".join(each["contexts"]) for each in listed.values()}
    texts = sorted(
        (text for text in contexts if "\0" not in text and text.strip()), key=lambda text: (contexts[text], text)
    )
    return texts if os.environ.get("XSS_PAYLOADS") == "all" else texts[::SHARE]


def identity(number: int, text: str) -> str:
    """The id of a comment, hostile as well."""
    return f"c{number} {text}"[:150]


@pytest.fixture
def hostile(live):
    """A site on which everything is held, with a comment for each text: as its text, author, post, parent, thread."""
    site = live.parts.store.add_site("https://hostile.example")
    policies = Policies(live.parts.store, live.parts.live_model)
    policies.put(site, policies.check("[spam]\nhold = 0.0\n"), who="Ada", instead_of=None)
    site = next(each for each in live.parts.store.sites() if each.url == site.url)
    for number, text in enumerate(payloads()):
        author = Author(f"{number} {text}"[:150], text[:150], "http://evil.example/" + quote(text)[:1_000])
        post = Post(
            f"{number} {text}"[:150], text[:300], text, f"http://evil.example/{quote(text)[:500]}", (text[:40],)
        )
        near = Neighbour(f"n{number} {text}"[:150], text)
        sent = Comment(text, identity(number, text), site.url, "comment", author, post, near, (near,))
        live.parts.workflow.submit(site, sent)
    return site


def test_nothing_of_a_public_list_runs_loads_or_becomes_an_element(live, open_page, sign_in, hostile):
    texts, page, dialogs = payloads(), open_page(), []
    assert len(texts) >= 110
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    sign_in(page, sites=(hostile,), role="maintainer")

    def check(path: str) -> None:
        if path:
            page.goto(path)
        assert page.evaluate(FORBIDDEN) == [], path
        assert page.url.startswith(f"{live.url}/review/")
        assert dialogs == []

    reading = live.parts.store.reading
    for number, text in enumerate(texts):
        place = reading.place_of_id([hostile], identity(number, text))
        assert place.entry is not None
        check(f"/review/?entry={place.entry}{'&words=1' if number % 10 == 0 else ''}")
        assert page.locator(".words .said").text_content() == text
        check(f"/review/comments/{place.row}{'?again=1' if number % 10 == 0 else ''}")
        assert page.locator(".history .said").first.text_content() == text
    check(f"/review/posts?site={hostile.row}")
    for post in reading.posts([hostile], limit=len(texts)):
        if post.row % 5 == 0:
            check(f"/review/posts/{post.row}")
    check(f"/review/batch?site={hostile.row}&category=spam")
    check(f"/review/insight?site={hostile.row}")
    check(f"/review/settings?view=log&site={hostile.row}")
    # A draft that would have published them lists them, and holds some itself.
    page.goto(f"/review/policy?view=text&site={hostile.row}")
    notes = "".join(f"# {' '.join(text.split())}\n" for text in texts[:50] if text.isprintable())
    page.get_by_label("policy.toml").fill(f"{notes}[spam]\nhold = 0.999\n")
    page.get_by_role("button", name="Check before saving").click()
    page.get_by_role("heading", name="Check before saving").wait_for()
    assert page.locator("li.entry").count() > 0
    check("")
