"""The insight page in a real browser: charts from the tables, their colours, figures that fit."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from moderation.comment import Author, Comment, Decision, Reason, Scores
from service.priority import draw_audit, measure, reasons_to_look
from service.store import Judge, Judged, Judgement, Store, Target

PEOPLE = ("Ada", "Bea", "Cleo")


@pytest.fixture
def history(live):
    """Thirty days of comments and verdicts on a second connection to the same database, whose clock is set."""
    rng, now = random.Random(5), datetime.now(UTC)
    clock = [now]
    store = Store(live.settings.database, now=lambda: clock[0])
    rows = {name: store.people.add(name, live.site, "maintainer", who="operator").row for name in PEOPLE}
    for back in range(29, -1, -1):
        start = min(now - timedelta(days=back), now - timedelta(hours=9))
        made = []
        for n in range(rng.randrange(6, 22)):
            action = rng.choices(["publish", "hold", "reject"], [10, 4, 2])[0]
            reason, score = rng.choice(["spam", "hostile", "links"]), rng.uniform(0.55, 0.99)
            comment = Comment(f"Words {back} {n}", id=f"i{back}-{n}", site=live.site.url, author=Author(f"a{n}"))
            reasons = (Reason(reason, score, 0.5, action != "publish", f"Because of {reason}."),)
            decision = Decision(
                action, Scores(score, *[0.01] * 7), reasons, comment.digest(), "bundle-1", "p" * 64, "lexical"
            )
            draw = draw_audit(action, 0.4, f"{back}-{n}", is_queued=False)
            made.append(
                Judged(
                    comment,
                    comment.digest(),
                    "h",
                    decision,
                    {},
                    whys=reasons_to_look(decision, draw),
                    priority=measure(decision),
                    draw=draw,
                )
            )
        clock[0] = start
        store.record(live.site, made, ("p" * 64, "# a policy"))
        for each in made:
            clock[0] = start + timedelta(minutes=rng.expovariate(1 / 90))
            if each.whys and rng.random() < 0.9:
                _judge(store, live.site, rows, rng, each)
    store.close()


def _judge(store, site, rows, rng, judged):
    wrong = {"publish": 0.06, "hold": 0.65, "reject": 0.9}[judged.decision.action]
    action = "reject" if rng.random() < wrong else "approve"
    for number, name in enumerate(rng.sample(PEOPLE, 2)):
        if number and rng.random() < 0.8:
            return
        said = action if not number or rng.random() < 0.8 else {"reject": "approve", "approve": "reject"}[action]
        target = Target(judged.comment.digest(), comment=judged.comment.id)
        store.verdicts.decide(site, Judge(name, "review", rows[name]), Judgement(said), [target])


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(("colours", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_figures_and_charts_fit_and_say_what_they_are(live, open_page, sign_in, check_access, shoot, colours, width):
    page = open_page(colours=colours, width=width)
    sign_in(page, "Mia", role="maintainer")
    page.goto(f"/review/insight?site={live.site.row}&days=30")

    assert page.locator("[data-insight-chart] canvas").count() == 2
    for canvas in page.locator("[data-insight-chart] canvas").all():
        assert canvas.evaluate(
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte)"
        ), "something is drawn"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    check_access(page)
    shoot(page, f"insight-{colours}-{width}")
    page.locator("details.insight-numbers").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    assert page.locator("#volumes-table tbody tr").count() == 30
    check_access(page)
    page.get_by_role("link", name="7 days").click()
    page.locator("#volumes-table").wait_for(state="attached")
    assert page.locator("#volumes-table tbody tr").count() == 7


@pytest.mark.usefixtures("history")
def test_charts_follow_the_colours_and_the_mouse_reads_them(live, open_page, sign_in):
    page = open_page()
    sign_in(page)
    page.goto(f"/review/insight?site={live.site.row}")
    picture = "document.querySelector('[data-insight-chart] canvas').toDataURL()"
    light = page.evaluate(picture)
    toggle = page.get_by_role("button", name="Colours")
    toggle.click()
    toggle.click()

    assert page.evaluate(picture) != light
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("document.querySelector('[data-insight-chart] canvas').clientWidth < 700")
    box = page.locator("[data-insight-chart=volumes] .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.wait_for_function("document.querySelector('[data-insight-reading=volumes]').textContent.includes('published')")


def test_without_anything_and_without_javascript_it_is_readable(live, open_page, sign_in, check_access, shoot):
    page = open_page(java_script_enabled=False)
    sign_in(page)
    page.goto(f"/review/insight?site={live.site.row}")
    page.get_by_text("The same as a table").first.click()
    assert page.get_by_role("table").first.is_visible()
    page = open_page()
    sign_in(page, "Bob")
    page.goto(f"/review/insight?site={live.other_site.row}&days=7")
    check_access(page)
    shoot(page, "insight-empty-light-1280")
