"""The page of the model: what it shows of a bundle, also of one with nothing measured, and the card as safe HTML."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest

from moderation.record import InForce
from moderation.releases import Releases
from moderation.shipped import shipped_folder
from service.auth import make_sign_in_token
from service.review.charts import draw_curve, draw_reliability
from service.review.model import read_figures, render_card


def sign_in(service, name, role):
    """A browser in which somebody is signed in who has a role on the site of the service."""
    person = service.parts.store.people.add(name, service.site, role, who="operator")
    token, _ = make_sign_in_token(service.parts.store, person)
    with httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}) as client:
        words = "four words not together"
        assert client.post(
            "/review/first-sign-in", data={"token": token, "password": words, "again": words}
        ).is_redirect
        yield client


@pytest.fixture(scope="module")
def ada(shared_service):
    yield from sign_in(shared_service, "Ada", "maintainer")


@pytest.mark.parametrize("view", ["figures", "lines", "card", "releases"])
def test_every_view_names_the_bundle_and_its_tier(shared_service, ada, view):
    page = ada.get("/review/model", params={"view": view})
    assert page.status_code == 200
    assert shared_service.parts.live_model.current().bundle.name in page.text
    assert "words only" in page.text


def test_what_was_not_measured_is_not_made_up(ada):
    assert "Nothing was measured" in ada.get("/review/model").text
    lines = ada.get("/review/model", params={"view": "lines"}).text
    assert re.search(
        r'Hostile</th><td>hold</td><td>0.5</td>\s*<td class="figure">0.500</td>\s*<td class="figure">–', lines
    )


def test_releases_are_newest_first_and_a_spoilt_line_is_left_out(shared_service, ada):
    history = shared_service.parts.live_model.models / "published.jsonl"
    bundle = shared_service.parts.live_model.current().bundle.name
    history.write_text(
        json.dumps({"bundle": "comments-000000000000", "at": "2026-01-02T03:04:05+00:00", "note": "<b>first"})
        + "\nnot json\n[]\n"
        + json.dumps({"bundle": bundle, "at": "2026-02-02T03:04:05+00:00", "note": "second"})
        + "\n"
    )
    page = ada.get("/review/model", params={"view": "releases"}).text
    assert page.index("second") < page.index("&lt;b&gt;first")
    assert page.count(">in use<") == 1
    assert "no longer here" in page


class TestGoingBack:
    """A service of its own with a second bundle, to which it has gone over."""

    @pytest.fixture
    def second(self, plain_home, make_bundle):
        releases = Releases(plain_home / "models")
        first = releases.in_force().bundle
        releases.publish(plain_home / "models" / first, note="first", by="Ada")
        return releases.publish(make_bundle(plain_home / "models", spam=3.0), note="second", by="Ben").bundle

    @pytest.fixture
    def maintainer(self, second, service):  # noqa: ARG002  # published before it starts
        yield from sign_in(service, "Ada", "maintainer")

    def shown(self, client):
        page = client.get("/review/model", params={"view": "releases"}).text
        found = re.search(r'name="in_force" value="([^"]+)"', page)
        return page, found[1] if found else None

    def test_who_approved_stands_there_and_the_button_goes_back(self, plain_home, second, plain_bundle, maintainer):
        page, in_force = self.shown(maintainer)
        assert page.index("Ben") < page.index("Ada</td>")
        assert f"Go back to {plain_bundle.name}" in page
        assert in_force == second
        answer = maintainer.post("/review/model/rollback", data={"in_force": in_force})
        assert answer.headers["location"] == "/review/model?view=releases&done=back"

        assert Releases(plain_home / "models").in_force().bundle == plain_bundle.name
        page, in_force = self.shown(maintainer)
        assert "rolled back" in page
        assert in_force is None  # nothing was before the first
        history = Releases(plain_home / "models").history()
        assert (history[-1].by, history[-1].is_rollback) == ("Ada", True)

    def test_twice_does_not_go_back_twice(self, plain_home, make_bundle, second, plain_bundle, maintainer):
        releases = Releases(plain_home / "models")
        third = releases.publish(make_bundle(releases.models, spam=4.0), note="third").bundle
        first, again = (maintainer.post("/review/model/rollback", data={"in_force": third}) for _ in range(2))
        assert (first.status_code, again.status_code) == (303, 422)
        assert "somebody else was quicker" in again.text.lower()
        assert releases.in_force().bundle == second
        assert maintainer.post("/review/model/rollback", data={"in_force": "x"}).status_code == 422
        (plain_home / "models" / plain_bundle.name / "MODEL_CARD.md").write_text("other")
        refused = maintainer.post("/review/model/rollback", data={"in_force": second})
        assert (refused.status_code, "BundleCorrupt" in refused.text) == (422, True)
        assert str(plain_home) not in refused.text

    def test_it_takes_a_maintainer_of_every_site_and_a_page_of_ours(self, plain_home, second, service, maintainer):
        refused = maintainer.post(
            "/review/model/rollback", data={"in_force": second}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert refused.status_code == 403
        service.parts.store.add_site("https://other.example")
        page, in_force = self.shown(maintainer)
        assert in_force is None
        assert "Who maintains every site" in page
        assert maintainer.post("/review/model/rollback", data={"in_force": second}).status_code == 403
        assert Releases(plain_home / "models").in_force().bundle == second

    def test_a_canary_is_shown(self, plain_home, make_bundle, second, maintainer):
        releases = Releases(plain_home / "models")
        third = releases.publish(make_bundle(releases.models, spam=4.0), note="a try", share=0.2).bundle
        page, in_force = self.shown(maintainer)
        assert f"<code>{third}</code> is tried on 20 % of the sites" in page
        assert "tried on 20 % of sites" in page
        assert f"Go back to {second}" in page
        assert maintainer.post("/review/model/rollback", data={"in_force": in_force}).is_redirect
        assert releases.in_force() == InForce(second)


class TestShadow:
    def test_nothing_is_said_where_nothing_was_scored(self, ada):
        assert "No bundle is scored beside" in ada.get("/review/model", params={"view": "shadow"}).text

    def test_disagreements_are_listed_with_what_spoke_for_them(self, plain_home, make_bundle, start):
        challenger = make_bundle(plain_home / "models", spam=0.0)
        Releases(plain_home / "models").challenge(challenger)
        service = start()
        for number in range(40):
            service.submit(id=f"c{number}", text=" ".join(f"https://shop.example/{number}/{n}" for n in range(3)))
        service.submit(id="fine", text="Well said.")
        ends = time.monotonic() + 60
        while not (runs := service.parts.store.shadows.runs([service.site])) or runs[0].comments < 41:
            assert time.monotonic() < ends
            time.sleep(0.05)
        for client in sign_in(service, "Ada", "maintainer"):
            page = client.get("/review/model", params={"view": "shadow"}).text
            assert f"<code>{challenger.name}</code> is scored beside" in page
            assert "2.4 %" in page
            assert "of 41 comments" in page
            assert re.search(r"Spam \d\d %</td><td>nothing", page)
            older = re.search(r'href="([^"]+)">Older', page)[1].replace("&amp;", "&")
            rest = client.get(older).text
            assert [page.count("/review/comments/"), rest.count("/review/comments/")] == [30, 10]
            assert ">c0</a>" in rest


def test_the_shipped_bundle_has_charts_of_what_its_evaluation_says():
    models = shipped_folder("models")
    bundle = models / (models / "current").read_text().strip()
    found = json.loads((bundle / "evaluation.json").read_text())
    figures = read_figures(bundle)
    assert len(figures["curves"]) == sum(bool(each.get("precision_recall")) for each in found["sets"]) > 0
    assert len(figures["reliability"]) == len(found["calibration"]) > 0
    assert [each["category"] for each in figures["keys"]] == ["hostile", "spam", "off_topic"]
    assert figures["passed"] == (
        sum(each["passed"] for each in found["behaviour"]["slices"].values()),
        sum(each["cases"] for each in found["behaviour"]["slices"].values()),
    )
    card = render_card((bundle / "MODEL_CARD.md").read_text())
    assert card.count("<table>") == card.count('class="table-frame"') > 0
    assert "<h1>" not in card


def test_a_card_is_never_more_than_text():
    card = render_card(
        "# Hi\n\n<script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) ![i](https://x.example/i.png)\n\n"
        "| a |\n| --- |\n| <b>x</b> |\n"
    )
    assert not re.search(r"<(script|img|b)\b", card)
    assert 'href="javascript' not in card
    assert card.startswith("<h2>Hi</h2>")


def test_charts_hold_points_within_the_square_only():
    assert 'points="0.0,0.0 100.0,50.0"' in draw_curve([(0, 1), (1, 0.5), (2, 0), (0, -1)], 'say "it"')
    assert "&#34;it&#34;" in draw_curve([], 'say "it"')
    assert draw_reliability([(0.5, 0.5, 10), (0.2, 0.1, 0)], "x").count("<circle") == 1
