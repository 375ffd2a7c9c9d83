"""Every page with the demo's data: it opens, fits, passes axe and is shot. So the documents' pictures are made.

They are written to the folder that MODERATION_PICTURES names, and thrown away where it names none.
"""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from service.app import create_app
from service.demo import SEED
from service.demo.content import read_content
from service.demo.replay import MODERATORS, open_replay
from service.settings import Settings
from tests.browser.conftest import Running

# Read before a test starts: what the developer has exported reaches none.
PICTURES = os.environ.get("MODERATION_PICTURES")
NOW = datetime(2031, 5, 17, 20, 0, tzinfo=UTC)
PAGES = {
    "queue": "/review/",
    "batch": "/review/batch?category=spam&low=90&high=100",
    "posts": "/review/posts",
    "insight": "/review/insight",
    "policy": "/review/policy?site=1",
    "model": "/review/model",
    "settings": "/review/settings",
}
LOOKS = {"light": ("light", 1280, 800), "dark": ("dark", 1280, 800), "phone": ("light", 390, 844)}
COLOURS = 256
SEEN = 5  # so many entries of the list are in the picture
MARKS = 2


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The demo on the evening on which it was filled: the clock stands still, so that pictures stay the same."""
    settings = Settings(home=tmp_path_factory.mktemp("pictures") / "home")
    with open_replay(settings, read_content(), now=NOW, seed=SEED) as replay:
        for step in replay.steps():
            replay.run(step)
    service = Running(create_app(settings, now=lambda: NOW))
    yield service
    service.stop()


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_the_demo_fits_and_is_shot(open_page, sign_in, check_access, tmp_path, look):
    colours, width, height = LOOKS[look]
    folder = Path(PICTURES) if PICTURES else tmp_path
    page = open_page(colours=colours, width=width, height=height)

    def take(name: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} sticks out"
        check_access(page)
        keep(page.screenshot(animations="disabled"), folder / f"{name}-{look}.png")

    assert page.goto("/review/sign-in").status == 200
    take("sign-in")
    sign_in(page, MODERATORS[0], role="maintainer")
    queue = find_marked(page)
    page.goto("/review/")
    sections = page.get_by_role("navigation", name="Pages").get_by_role("link")
    found = [link.get_attribute("href") for link in sections.all()]
    post = page.locator("#focus a[href*='/review/posts/']").first.get_attribute("href")
    page.goto("/review/?reason=appealed")
    comment = page.locator("#focus a.permalink").get_attribute("href")

    assert found == [path.partition("?")[0] for path in PAGES.values()]
    for name, path in {**PAGES, "queue": queue, "post": post, "comment": comment}.items():
        answer = page.goto(path, wait_until="networkidle")
        assert answer.status == 200
        take(name)
    page.goto(PAGES["policy"])
    page.get_by_role("group", name="Hostile").get_by_label("Held from").fill("at most 5 % of good comments")
    page.get_by_role("button", name="Check before saving").click()
    page.get_by_role("heading", name="Check before saving").wait_for()
    take("policy-check")


def find_marked(page):
    """The address of the queue of one site with a comment in focus in which words are marked, one of the first."""
    for order in ("", "&sort=score"):
        page.goto(f"/review/?site=1{order}")
        addresses = [link.get_attribute("href") for link in page.locator("#entries .entry-link").all()[:SEEN]]
        for address in addresses:
            page.goto(address)
            page.locator("#focus [data-explained]").wait_for()
            if page.locator("#focus .said mark").count() >= MARKS:
                return address
    pytest.fail("no comment among the first in which words are marked")


def keep(picture: bytes, path: Path) -> None:
    """Write a picture with few colours: a third of the bytes, and pages have no photographs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
