"""The batch and insight pages without a browser: ranges, verdicts on many with one undo, and who sees which figures."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import httpx
import pytest

from service.auth import make_sign_in_token
from service.review.batch import _draw
from service.store import MOST_TOGETHER, Alert, AuditDraw, DriftDay, Judge, Judgement, Target

PASSWORD = "four words not together"


class Visitor(httpx.Client):
    """A browser without JavaScript: keeps cookies, and sends forms as they stand on the page."""

    def __init__(self, service, name, *, role="moderator", sites=None) -> None:
        super().__init__(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60)
        for site in sites or [service.site]:
            moderator = service.parts.store.people.add(name, site, role, who="operator")
        token, _ = make_sign_in_token(service.parts.store, moderator)
        form = {"token": token, "password": PASSWORD, "again": PASSWORD}
        assert self.post("/review/first-sign-in", data=form).status_code == 303

    def choose(self, low, high, category="spam", **query):
        answer = self.get("/review/batch", params={"category": category, "low": low, "high": high, **query})
        assert answer.status_code == 200, answer.text
        return answer.text

    def judge(self, page, do, *, untick=(), status=200, **fields):
        """Press a button of the list on a page."""
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.split("data-batch-list")[1]))
        rows = [row for row in re.findall(r'name="row" value="(\d+)" checked', page) if int(row) not in untick]
        answer = self.post("/review/batch", data=form | {"row": rows, "as": "spam", "do": do} | fields)
        assert answer.status_code == status, answer.text
        return answer.text

    def undo(self, page):
        form = page.split("/review/batch/undo")[-1].split("</form>")[0]
        fields = dict(re.findall(r'name="(category|low|high)" value="([^"]*)"', form))
        ids = re.findall(r'name="verdict" value="([^"]*)"', form)
        return self.post("/review/batch/undo", data=fields | {"verdict": ids}).text


@pytest.fixture
def store(service):
    return service.parts.store


@pytest.fixture
def visit(service):
    opened = []

    def open_one(name="Ada", **options):
        opened.append(Visitor(service, name, **options))
        return opened[-1]

    yield open_one
    for visitor in opened:
        visitor.close()


@pytest.fixture
def fill(service, put):
    """Ten comments that wait, with scores from 0.5 to 0.95."""
    return [put(service.site, f"c{n}", score=0.5 + n / 20) for n in range(10)]


def statuses(service, stored):
    found = service.parts.store.find_comments(service.site, [each.id for each in stored])
    return [found[each.id].status for each in stored]


def rows_of(service):
    entries = service.parts.store.queue.page([service.site], limit=200).entries
    return {entry.stored.id: entry.row for entry in entries}


def plain(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_range_lists_what_is_in_it_and_nothing_else(visit, fill, put, service):
    put(service.site, "shown", "<script>alert(1)</script>", score=0.77)
    ada = visit()
    whole = plain(ada.get("/review/batch").text)
    page = ada.choose(70, 80)

    assert "11 waiting, by spam score" in whole
    assert "Held from 50.0 %" in whole
    assert "data-batch-list" not in whole
    assert re.findall(r"The words of (c\d)", page) == ["c5", "c4"]
    assert "<script>alert" not in page
    assert "3 of 3 chosen" in plain(page)
    assert f'href="/review/?entry={rows_of(service)["c5"]}"' in page
    assert "Nothing in this range" in ada.choose(10, 20)
    assert len(fill) == 10


def test_all_but_the_unticked_are_judged_and_one_undo_takes_all_back(visit, fill, service):
    ada = visit()
    rows = rows_of(service)
    page = ada.judge(ada.choose(60, 100), "reject", untick={rows["c9"]}, **{"as": "off_topic"})

    assert "Rejected 7 comments as off topic." in plain(page).replace(" .", ".")
    assert statuses(service, fill) == ["held"] * 2 + ["rejected"] * 7 + ["held"]
    verdicts = [service.parts.moderation.verdicts(service.site, f"c{n}")[0] for n in range(2, 9)]
    assert {verdict.categories for verdict in verdicts} == {("off_topic",)}
    assert {(verdict.moderator, verdict.source) for verdict in verdicts} == {("Ada", "review")}
    assert len({verdict.together for verdict in verdicts}) == 1
    assert "7 comments are as before" in plain(ada.undo(page))
    assert statuses(service, fill) == ["held"] * 10
    assert len(rows_of(service)) == 10


def test_approving_needs_no_category(visit, fill, service):
    ada = visit()
    page = ada.judge(ada.choose(50, 60), "approve")

    assert "Approved 2 comments" in plain(page)
    assert statuses(service, fill)[:3] == ["published", "published", "held"]
    assert service.parts.moderation.verdicts(service.site, "c0")[0].categories == ()


def test_what_is_taken_changed_or_gone_is_left_out_and_said(visit, fill, service, put):
    ada = visit()
    page, rows, store = ada.choose(50, 100), rows_of(service), service.parts.store
    bea = store.people.add("Bea", service.site, "moderator", who="operator")
    store.queue.claim([service.site], rows["c0"], bea.row)
    store.verdicts.decide(
        service.site, Judge("Bea", "review", bea.row), Judgement("approve"), [Target(fill[1].decision.digest, "c1")]
    )
    put(service.site, "c2", "Entirely other words", score=0.6)
    service.parts.workflow.erase(service.site, "c3")
    said = plain(ada.judge(page, "reject"))

    assert "Rejected 6 comments" in said
    assert "4 left out" in said
    assert "The words of c0 Somebody else is at it." in said
    assert "The words of c1 Somebody else has decided it meanwhile." in said
    assert "Entirely other words Its text has changed since you read it" in said
    assert "A comment that was erased It was erased." in said
    assert statuses(service, fill) == ["held", "published", "held", "erased"] + ["rejected"] * 6


def test_what_is_not_listed_yet_is_judged_too_and_stays_unticked_when_more_is_listed(visit, service, put):
    kept = [put(service.site, f"m{n}", score=0.6 + n / 1000) for n in range(60)]
    ada, rows = visit(), rows_of(service)
    page = ada.choose(60, 70)
    assert page.count('name="row"') == 50
    more = ada.judge(page, "more", untick={rows["m59"]})

    assert more.count('name="row"') == 60
    assert "59 of 60 chosen" in plain(more)
    assert "Approved 59" in plain(ada.judge(more, "approve"))
    assert statuses(service, kept) == ["published"] * 59 + ["held"]


def test_on_several_sites_one_undo_takes_back_both(visit, service, put, fill):
    other = service.parts.store.add_site("https://other.example")
    put(other, "x", score=0.9)
    ada = visit(sites=[service.site, other])
    page = ada.judge(ada.choose(90, 100), "reject")

    assert "Rejected 3 comments" in plain(page)
    assert page.count('name="verdict"') == 2
    assert "3 comments are as before" in plain(ada.undo(page))
    assert statuses(service, fill)[8:] == ["held", "held"]


def test_nobody_judges_where_they_may_not(visit, service, put, fill):
    other = service.parts.store.add_site("https://other.example")
    put(other, "x", score=0.9)
    viewer, ada, olga = visit("Vera", role="viewer"), visit(), visit("Olga", sites=[other])
    page = ada.choose(50, 100)

    assert "Reject all chosen" in page
    assert "Reject all chosen" not in viewer.choose(50, 100)
    assert "Not permitted" in viewer.judge(page, "reject", status=403)
    # Another site's rows are not there, whatever a form says.
    assert "Rejected 0 comments" in plain(olga.judge(page, "reject"))
    assert statuses(service, fill) == ["held"] * 10
    done = ada.judge(page, "reject")
    assert "no such site among yours" in html.unescape(olga.undo(done))
    assert statuses(service, fill) == ["rejected"] * 10


@pytest.mark.parametrize(
    "fields",
    [
        {"do": "burn"},
        {"as": "heresy"},
        {"category": "heresy"},
        {"low": "-1"},
        {"high": "101"},
        {"shown": "x"},
        {"targets": "1.zz"},
        {"targets": " ".join(f"{n}.{'a' * 10}" for n in range(MOST_TOGETHER + 1))},
        {"row": [], "shown": "1000"},
    ],
    ids=str,
)
def test_forms_that_no_page_of_ours_sends_change_nothing(visit, service, fill, fields):
    ada = visit()
    page = ada.choose(50, 100)
    do = fields.pop("do", "reject")

    ada.judge(page, do, status=422, **fields)
    assert statuses(service, fill) == ["held"] * 10


def test_twenty_thousand_comments_are_at_most_two_thousand_dots():
    bins = [n * 4 for n in range(100)]
    columns, worth, look = _draw(bins)

    assert sum(bins) == 19_800
    assert sum(column.dots for column in columns) <= 2_000
    assert (max(column.dots for column in columns), look) == (20, "some")
    assert {column.percent: column.count for column in columns} == {n: n * 4 for n in range(1, 100)}
    assert all((column.dots - 1) * worth < column.count <= column.dots * worth for column in columns)
    assert all(column.path.count("M") == column.dots for column in columns)
    assert _draw([0] * 99 + [3])[1:] == (1, "few")
    assert _draw([0] * 100) == ([], 1, "few")


def test_up_to_sixty_comments_of_one_percent_are_a_dot_each():
    for most, look in ((10, "few"), (11, "some"), (42, "most"), (60, "most")):
        (column,), worth, said = _draw([most, *[0] * 99])
        heights = [float(place) for place in re.findall(r"M5 ([\d.]+)h0", column.path)]

        assert (column.dots, worth, said) == (most, 1, look)
        assert len(set(heights)) == most
        assert 0 < min(heights) < max(heights) < 160, "none lies above the frame or below it"
    assert _draw([61])[1] == 4


class TestInsight:
    def test_empty_it_says_so(self, visit):
        page = plain(visit().get("/review/insight").text)

        assert "Nothing came in during these 30 days" in page
        assert "Too little to say: 0 texts have verdicts of two or more moderators." in page
        assert "nothing is known yet about what slips through" in page

    def test_figures_are_those_of_what_happened(self, visit, service, put):
        ada, store = visit(), service.parts.store
        for n in range(8):
            put(service.site, f"p{n}", action="publish", score=0.01, draw=AuditDraw("publish", 0.1, "s", 0.1))
        put(service.site, "h0")
        put(service.site, "h1")
        entries = {entry.stored.id: entry for entry in store.queue.page([service.site]).entries}
        row = store.people.find("Ada").row
        for name, action in {"p0": "reject", "p1": "approve", "p2": "approve", "p3": "approve", "h0": "reject"}.items():
            target = Target(entries[name].stored.decision.digest, entry=entries[name].row)
            store.verdicts.decide(service.site, Judge("Ada", "review", row), Judgement(action), [target])
        page = plain(ada.get("/review/insight", params={"days": "7"}).text)

        assert "Waiting now 5" in page
        assert "Came in 10 in 7 days" in page
        assert "Held 20 % 2 comments" in page
        assert "half of 5; nine of ten in" in page
        assert "Spam hold 1 1 100 %" in page
        assert "Of 8 published, that is about 2 (0 to 6)." in page
        assert (
            "4 were looked at by chance or by rule, 1 of them should have been rejected. Chance has picked 8." in page
        )
        assert "Too few for more than a hint" in page
        assert "Ada 3 2 0" in page

    def test_drift_shows_what_alarms(self, visit, service):
        day = (service.parts.store.now() - timedelta(days=1)).date().isoformat()
        share = {"value": 0.9, "low": 0.8, "high": 0.95}
        narrow = {"value": 0.985, "low": 0.952, "high": 0.999}
        line = {"action": "hold", "stated": 0.5, "line": 0.5, "labels": 7, "precision": share, "recall": narrow}
        alerts = (Alert("scores", "Scores lie otherwise."),)
        figures = DriftDay(service.site.url, day, "b", "full", "spam", 21, (21,), 0.31, None, (line,), alerts)
        service.parts.store.drift.add(service.site, [figures])
        page = plain(visit().get("/review/insight").text)

        assert "Spam on blog.example: Scores lie otherwise." in page
        assert f"Spam blog.example {day} 21 0.31 – hold 90 % 80 to 95 % 98 % 95.2 to 99.9 %" in page

    def test_only_maintainers_see_the_verdicts_of_others(self, visit, service, fill):
        store = service.parts.store
        ada, mia = visit(), visit("Mia", role="maintainer")
        for name, stored in zip(["Ada", "Mia", "Bob"], fill, strict=False):
            moderator = store.people.add(
                name, service.site, "maintainer" if name == "Mia" else "moderator", who="operator"
            )
            judge = Judge(name, "review", moderator.row)
            store.verdicts.decide(
                service.site, judge, Judgement("approve"), [Target(stored.decision.digest, stored.id)]
            )

        assert [name in ada.get("/review/insight").text for name in ("Mia", "Bob")] == [False, False]
        assert "Your verdicts" in ada.get("/review/insight").text
        page = plain(mia.get("/review/insight").text)
        assert "Verdicts by moderator" in page
        for name in ("Ada", "Mia", "Bob"):
            assert f"{name} 1 0 0" in page

    @pytest.mark.parametrize("days", ["8", "x", "-7", "9" * 5000])
    def test_a_period_that_is_not_offered_is_the_usual_one(self, visit, days):
        answer = visit().get("/review/insight", params={"days": days})

        assert answer.status_code == 200
        assert "in 30 days" in plain(answer.text)


def test_listing_more_shows_nothing_of_sites_that_are_not_theirs(visit, fill, put, service, store):
    secret = put(store.add_site("https://other.example"), "secret", "Words of another site", score=0.9)
    (entry,) = store.queue.page([store.add_site("https://other.example")], limit=1).entries
    mine = rows_of(service)["c1"]
    form = {"category": "spam", "low": "0", "high": "100", "shown": "0", "do": "more"}
    form["targets"] = f"{mine}.{fill[1].decision.digest[:32]} {entry.row}.{secret.decision.digest[:32]}"
    page = visit().post("/review/batch", data=form).text

    assert "The words of c1" in page
    assert "Words of another site" not in page


def test_a_form_names_enough_of_a_digest_that_nobody_makes_two_texts_with_the_same(visit, fill):
    (targets,) = re.findall(r'name="targets" value="([^"]*)"', visit().choose(90, 100))

    # Half of these bits is what somebody has to try who may write both texts.
    assert targets.split()[0].split(".")[1] == fill[9].decision.digest[:32]
