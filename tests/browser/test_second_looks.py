"""Second looks in a real browser: nothing of the first verdict or of the machine reaches the page, by keyboard too."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from moderation.comment import Author, Comment, Post
from service.priority import measure
from service.review.judging import JUDGEMENTS
from service.second_looks import Doubt, Findings, keep_findings
from service.store import Judge, Target

WORDS = ("Alpine meadows in June", "Birch bark peels in winter", "Copper kettles ring")


@pytest.fixture
def looks(live):
    """Three comments that Ada has rejected as spam and that wait for a second look, on a site of their own."""
    store = live.parts.store
    site = store.add_site("https://looks.example")
    ada = store.people.add("Ada", site, "moderator", who="operator")
    for n, words in enumerate(WORDS):
        text = f"{words} http://one.example/{n} http://two.example/{n}"
        comment = Comment(
            text, id=f"look{n}", site=site.url, author=Author(f"who{n}", f"Who {n}"), post=Post("p", "A post")
        )
        decision = live.parts.workflow.submit(site, comment).decision
        target = Target(decision.digest, f"look{n}")
        live.parts.moderation.decide(site, Judge("Ada", "review", ada.row), JUDGEMENTS["spam"], target)
    rows = [each.row for each in store.second_looks.standing(site, datetime(2020, 1, 1, tzinfo=UTC))]
    assert store.second_looks.open(site, rows, "doubted", measure) == 3
    return site


def test_nothing_of_the_first_verdict_or_of_a_score_reaches_the_page(
    live, looks, open_page, sign_in, check_access, shoot
):
    page = open_page()
    answers: list[str] = []
    page.on("response", lambda answer: answers.append(answer.url) if "/words" in answer.url else None)
    sign_in(page, "Ben", sites=(looks,))
    page.get_by_text("so that yours is a word of its own").wait_for()
    page.wait_for_load_state("networkidle")
    html = page.content()
    focus = page.locator("article.focused").inner_html()

    decision = live.parts.workflow.find_comment(looks, "look0").decision
    score = decision.scores["spam"] if decision.scores else None
    for hidden in (
        "Ada",
        "ejected as",
        "Approved",
        "status-",
        "score-",
        "doubted",
        "hold line",
        "<mark",
        "Its history",
    ):
        assert hidden not in focus, hidden
    assert "Ada" not in html.replace("Adapt", "")
    assert score is None or f"{score:.3f}" not in html
    assert answers == [], "no words of the machine are asked for"
    assert page.locator(".badge.why-second_look").count() == 4, "in focus and in the list"
    check_access(page)
    shoot(page, "second-look")

    page.keyboard.press("f")
    page.locator(".toast.good").first.wait_for()
    page.keyboard.press("s")
    page.wait_for_function("document.querySelectorAll('li.entry:not([hidden])').length === 1")
    page.wait_for_timeout(500)
    said = [live.parts.moderation.verdicts(looks, f"look{n}")[-1] for n in range(3)]
    assert sorted(each.source for each in said) == ["review", "second_look", "second_look"]
    assert {each.score_shown for each in said if each.source == "second_look"} == {False}


def test_who_judged_it_first_skips_it_and_keys_give_no_verdict(live, looks, open_page, sign_in, check_access, shoot):
    page = open_page(width=420)
    sign_in(page, "Ada", sites=(looks,))
    page.get_by_text("You have judged this one before").wait_for()
    first = page.locator("article.focused").get_attribute("data-entry")
    check_access(page)
    shoot(page, "second-look-own")
    page.keyboard.press("f")
    page.get_by_role("link", name="Skip it").click()
    page.locator(f"article.focused[data-entry]:not([data-entry='{first}'])").wait_for()
    assert [len(live.parts.moderation.verdicts(looks, f"look{n}")) for n in range(3)] == [1, 1, 1]


def test_doubtful_labels_and_learned_words_are_accessible_in_both_colours(
    live, looks, open_page, sign_in, check_access, shoot
):
    terms = [{"term": "moonbeam tokens", "comments": 30, "change": 0.31}]
    wording = {"comments": 240, "least_comments": 3, "least_authors": 2}
    wording |= {"categories": {"spam": {"more": terms, "less": []}}}
    report = {"format": 1, "verdict": "REJECT", "challenger": "comments-000000000001", "sites": {}, "wording": wording}
    report |= {"labels": {"said": 240, "learned": 200, "held_out": 40, "left_out": {}}, "accounts_left_out": {}}
    report |= {"gate": {"champion": "comments-000000000000", "checks": []}}
    (live.settings.home / "retraining").mkdir(exist_ok=True)
    (live.settings.home / "retraining" / "comments-000000000001.json").write_text(json.dumps(report))
    digest = live.parts.workflow.find_comment(live.site, "shop").decision.digest
    doubt = Doubt(live.site.url, "shop", digest, "spam", 1, "Ada", "verdict", "contradicted", 0.04)
    keep_findings(live.settings.home, Findings(datetime(2026, 1, 2, tzinfo=UTC), 400, 1, (doubt,)))
    for colours in ("light", "dark"):
        page = open_page(colours=colours)
        sign_in(page, f"Meg {colours}", role="maintainer")
        page.goto("/review/model?view=labels")
        page.get_by_role("button", name="Have 10 judged again").wait_for()
        check_access(page)
        shoot(page, f"labels-{colours}")
        page.goto("/review/model?view=retraining")
        page.get_by_text("moonbeam tokens").wait_for()
        check_access(page)
        shoot(page, f"words-{colours}")
    assert looks
