"""The page of the model: what it shows of a bundle, also of one with nothing measured, and the card as safe HTML."""

from __future__ import annotations

import json
import re

import pytest

from moderation.shipped import shipped_folder
from service.auth import make_sign_in_token
from service.review.charts import draw_curve, draw_reliability
from service.review.model import read_figures, render_card


@pytest.fixture(scope="module")
def ada(shared_service):
    import httpx

    person = shared_service.parts.store.people.add("Ada", shared_service.site, "maintainer", who="operator")
    token, _ = make_sign_in_token(shared_service.parts.store, person)
    with httpx.Client(base_url=shared_service.url, headers={"Sec-Fetch-Site": "same-origin"}) as client:
        words = "four words not together"
        assert client.post(
            "/review/first-sign-in", data={"token": token, "password": words, "again": words}
        ).is_redirect
        yield client


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
