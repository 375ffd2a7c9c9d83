"""A real browser on a real service. Tests that ask for them skip where Chromium or Playwright is missing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI

from moderation.comment import Author, Comment, Neighbour, Post
from service.app import create_app
from service.auth import make_sign_in_token, sign_in_link
from service.server import listen
from service.settings import Settings
from service.store import Site

PASSWORD = "four words not together"
OTHER_NAME = "moderation.test"  # the same service, by a name for which browsers treat http as unsafe

POLICY = """
[hostile]
hold = 0.5
reject = 0.97
[spam]
hold = 0.5
reject = 0.97
[rules]
blocked_words = ["forbidden fruit"]
blocked_words_action = "reject"
links_allowed = 1
[audit]
publish = 0
reject = 1
"""

BREAD = Post("bread", "Sourdough for beginners", "Flour, water, salt and patience. Feed the starter twice a day.")
TRAINS = Post("trains", "The last night train", "It left at ten past eleven, half empty, and nobody waved.")

# Id, who, where, text.
COMMENTS = (
    ("kind", "mara", BREAD, "Thank you, my first loaf rose beautifully and the crust sang when it cooled."),
    ("rude", "tom", BREAD, "You are a complete idiot and everybody who bakes like this is pathetic scum."),
    ("shop", "deals", BREAD, "Best cheap watches http://shop.example/a and http://shop.example/b buy now, 80% off!!!"),
    ("fruit", "eve", TRAINS, "Nobody may eat of the forbidden fruit on the night train."),
    ("calm", "ole", TRAINS, "I rode it with my father every autumn, and I still know the smell of the corridor."),
    (
        "script",
        "<b>x</b>",
        TRAINS,
        "<script>document.title='owned'</script><img src=x onerror=alert(1)> \u202eforbidden fruit",
    ),
    ("wide", "kim", TRAINS, "a" * 600 + " http://one.example http://two.example http://three.example"),
)


class Running:
    """An application behind a real server."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.parts = app.state.parts
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()

    def invite(self, name: str, *sites: Site, role: str = "moderator") -> str:
        """The link with which somebody signs in for the first time."""
        for site in sites or self.parts.store.sites():
            moderator = self.parts.store.people.add(name, site, role, who="operator")
        token, _ = make_sign_in_token(self.parts.store, moderator)
        return sign_in_link(self.url, token)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


class Live(Running):
    """The application with two sites, a moderator on both, and comments of every kind."""

    def __init__(self, home: Path, **options: Any) -> None:
        home.mkdir(mode=0o700, parents=True)
        (home / "policy.toml").write_text(POLICY)
        self.settings = Settings(home=home, reports_to_reopen=1, **options)
        super().__init__(create_app(self.settings))
        self.site = self.parts.store.add_site("https://blog.example")
        self.other_site = self.parts.store.add_site("https://news.example")

    def fill(self) -> None:
        """Held, rejected and audited, reported, appealed; hostile markup, a word wider than any screen."""
        for name, who, post, text in COMMENTS:
            self.submit(self.site, name, text, who=who, post=post)
        self.submit(
            self.site, "reply", "I could not disagree more, but fair.", parent=Neighbour("kind", None), post=BREAD
        )
        self.parts.moderation.report(self.site, "calm", "reader-1", "hostile")
        self.parts.moderation.appeal(self.site, "fruit", "It is a quotation.")
        self.submit(self.other_site, "news", "Forbidden fruit again, says the paper.", who="nan")

    def submit(self, site: Site, comment_id: str, text: str, *, who: str = "ann", **more: Any) -> None:
        author = Author(who, who.title(), None)
        self.parts.workflow.submit(site, Comment(text, id=comment_id, site=site.url, author=author, **more))


@pytest.fixture
def live(home: Path) -> Iterator[Live]:
    """The service with comments in it, for one test alone."""
    service = Live(home)
    service.fill()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, the one that is installed on the system."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, live: Running) -> Iterator[Callable[..., Any]]:
    """Opens pages, each in a browser profile of its own: colours and width as asked for, with JavaScript or without.

    At the end of the test, whatever it was about: no request has left the host, no script failed, and nothing tried
    what the Content-Security-Policy forbids.
    """
    contexts, asked, wrong = [], set(), []

    def open_one(*, colours: str = "light", width: int = 1280, height: int = 900, **options: Any) -> Any:
        # Without motion, or colours are measured on their way from one to the other.
        options = {"reduced_motion": "reduce", "color_scheme": colours} | options
        context = browser.new_context(base_url=live.url, viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert asked <= {f"127.0.0.1:{live.port}", f"{OTHER_NAME}:{live.port}", ""}  # the empty one is data: and blob:
    assert wrong == []


@pytest.fixture
def sign_in(live: Running) -> Callable[..., None]:
    """Signs somebody in on a page, by a link and a first password, as they would."""

    def sign_one_in(page: Any, name: str = "Ada", *, sites: tuple[Site, ...] = (), **invitation: Any) -> None:
        page.goto(live.invite(name, *sites, **invitation))
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set password and sign in").click()
        page.get_by_role("heading", name="Queue").wait_for()
        page.wait_for_load_state("load")  # keys do nothing before its script is there

    return sign_one_in


@pytest.fixture
def check_access() -> Callable[[Any], None]:
    """axe-core finds nothing on the page as it is."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()

    def check(page: Any) -> None:
        # What is still coming is pale on purpose.
        page.locator("main [aria-busy=true], main .htmx-request").first.wait_for(state="detached")
        found = axe.run(page).response["violations"]
        assert found == [], [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]

    return check


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[[Any, str], Path]:
    """Keeps a picture of a page, in the folder that the variable SHOTS names."""
    folder = Path(os.environ.get("SHOTS", tmp_path / "shots"))

    def take(page: Any, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        return folder / f"{name}.png"

    return take
