"""Second looks on the pages, without a browser: what they hide, what comes of them, and the list of doubtful labels."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime

import httpx
import pytest

from moderation.comment import Author, Comment, Neighbour, Post
from moderation.policy import Policy
from service.auth import make_sign_in_token
from service.priority import measure
from service.review.judging import JUDGEMENTS
from service.second_looks import Doubt, Findings, keep_findings
from service.store import Judge, Target
from tests.service.conftest import POLICY

PASSWORD = "four words not together"
JSON = {"Accept": "application/json"}
LINKS = "Look at http://a.example/x and http://b.example/y now!"
_numbers = itertools.count()


class Desk:
    """A site of a test's own on a service, with comments that somebody has judged."""

    def __init__(self, service) -> None:
        self.service, self.parts, self.store = service, service.parts, service.parts.store
        self.number = next(_numbers)
        site = self.store.add_site(f"https://looks{self.number}.example")
        # Nothing by chance: an audit of one site and not of another would tell their pages apart.
        policy = Policy.parse(f"{POLICY}[audit]\npublish = 0.0\nreject = 0.0\n")
        assert self.store.policies.put(site, (policy.digest, policy.toml), who="operator", instead_of=None)
        [self.site] = [each for each in self.store.sites() if each.row == site.row]
        self.opened: list[httpx.Client] = []

    def sign_in(self, name, role="moderator") -> httpx.Client:
        person = self.store.people.add(f"{name} {self.number}", self.site, role, who="operator")
        client = httpx.Client(base_url=self.service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30)
        token, _ = make_sign_in_token(self.store, person)
        form = {"token": token, "password": PASSWORD, "again": PASSWORD}
        assert client.post("/review/first-sign-in", data=form).status_code == 303
        self.opened.append(client)
        return client

    def submit(self, comment_id, text=LINKS, **more):
        comment = Comment(text, id=comment_id, site=self.site.url, author=Author("ann", "Ann"), **more)
        return self.parts.workflow.submit(self.site, comment)

    def judge(self, comment_id, judgement, who="Ada"):
        person = self.store.people.add(f"{who} {self.number}", self.site, "moderator", who="operator")
        target = Target(self.digest(comment_id), comment_id)
        judge = Judge(person.name, "review", person.row)
        return self.parts.moderation.decide(self.site, judge, JUDGEMENTS[judgement], target)

    def look_again(self):
        rows = [each.row for each in self.store.second_looks.standing(self.site, datetime(2020, 1, 1, tzinfo=UTC))]
        return self.store.second_looks.open(self.site, rows, "doubted", measure)

    def digest(self, comment_id) -> str:
        return self.parts.workflow.find_comment(self.site, comment_id).decision.digest

    def entry(self, comment_id) -> int:
        return self.store.reading.place_of_id([self.site], comment_id).entry

    def status(self, comment_id) -> str:
        return self.store.reading.place_of_id([self.site], comment_id).status

    def form(self, comment_id, judgement, **more) -> dict[str, str]:
        return {"digest": self.digest(comment_id), "judgement": judgement, **more}


@pytest.fixture
def make_desk(shared_service):
    made = []

    def make() -> Desk:
        made.append(Desk(shared_service))
        return made[-1]

    yield make
    for desk in made:
        for client in desk.opened:
            client.close()


@pytest.fixture
def desk(make_desk):
    return make_desk()


def without_numbers(page: str) -> str:
    """A page without what differs between two sites: numbers, digests, cursors of the news."""
    page = re.sub(r"[0-9a-f]{64}", "DIGEST", page)
    page = re.sub(r"(data-events|data-fresh)=\"[^\"]*\"", r"\1", page)
    return re.sub(r"\d+", "N", page)


class TestBlind:
    def fill(self, desk, judgement) -> str:
        """The page of somebody else on a comment that was judged so, reported, and explained before."""
        desk.submit("kind", "A lovely loaf, thank you.", post=Post("bread", "Sourdough", "Flour, water and salt."))
        desk.submit("c1", post=Post("bread", "Sourdough", "Flour, water and salt."), parent=Neighbour("kind", None))
        ben = desk.sign_in("Ben")
        assert "held from" in ben.get(f"/review/?entry={desk.entry('c1')}&words=1").text
        desk.judge("c1", judgement)
        assert desk.look_again() == 1
        return ben.get(f"/review/?entry={desk.entry('c1')}&words=1").text

    def test_the_page_is_the_same_whatever_the_first_verdict_was(self, make_desk):
        pages = [self.fill(make_desk(), judgement) for judgement in ("approve", "spam", "hostile")]

        assert len({without_numbers(page) for page in pages}) == 1

    def test_nothing_of_machine_or_first_verdict_is_on_it_and_what_one_judges_by_is(self, desk):
        page = self.fill(desk, "spam")
        focus = page[page.index('class="card focused"') : page.index('class="queue-list"')]

        for hidden in (
            "<mark", "%", "hold line", "held from", "Why spam", "status-", "doubted", "Its history", "raised the score",
            f"Ada {desk.number}", "Readers reported", "Random audit", 'class="score', "/words",
        ):  # fmt: skip
            assert hidden not in focus, hidden
        for shown in (LINKS, "Second look", "Sourdough", "Flour, water and salt.", "A lovely loaf", "<b>a.example</b>",
                      "so that yours is a word of its own"):  # fmt: skip
            assert shown in focus, shown
        assert focus.count('name="judgement"') == 5
        assert 'name="blind" value="1"' in focus

    def test_the_parts_that_the_script_loads_hide_it_too(self, desk):
        self.fill(desk, "spam")
        ben, entry = desk.opened[0], desk.entry("c1")
        for path in (f"/review/queue/{entry}", f"/review/queue/{entry}/words"):
            part = ben.get(path, headers={"HX-Request": "true"}).text
            assert LINKS in part
            assert "<mark" not in part
            assert "score" not in part.replace("raised the score: <mark", ""), path

    def test_an_appeal_is_no_second_look_any_more(self, desk):
        self.fill(desk, "spam")
        desk.parts.moderation.appeal(desk.site, "c1", "I meant it kindly.")
        page = desk.opened[0].get(f"/review/?entry={desk.entry('c1')}").text
        assert "I meant it kindly." in page
        assert "held from" in page

    def test_other_ways_into_the_queue_leave_it_out(self, desk):
        self.fill(desk, "spam")
        ben = desk.opened[0]
        assert "c1" not in ben.get(f"/review/batch?site={desk.site.row}&category=spam&low=0&high=100").text
        assert "Nothing like that waits" in ben.get(f"/review/?site={desk.site.row}&category=spam").text
        assert LINKS in ben.get(f"/review/?site={desk.site.row}&reason=second_look").text


class TestJudging:
    @pytest.fixture
    def looked(self, desk):
        desk.submit("c1")
        desk.judge("c1", "spam")
        desk.look_again()
        return desk

    def test_the_answer_is_a_second_look_and_undo_brings_it_back(self, looked):
        ben, entry = looked.sign_in("Ben"), looked.entry("c1")
        form = looked.form("c1", "approve", blind="1")
        said = ben.post(f"/review/queue/{entry}/verdict", data=form, headers=JSON).json()
        first, second = looked.parts.moderation.verdicts(looked.site, "c1")

        assert (first.source, second.source, second.score_shown) == ("review", "second_look", False)
        assert second.inclusion_probability == first.inclusion_probability == 1.0
        assert looked.status("c1") == "published"
        assert (
            "by a second look"
            in ben.get(f"/review/comments/{looked.store.reading.place_of_id([looked.site], 'c1').row}").text
        )
        ben.post(f"/review/verdicts/{said['verdict']}/undo", data={"of": said["site"]}, headers=JSON)
        assert looked.status("c1") == "rejected"
        assert looked.entry("c1") == entry

    def test_who_gave_the_first_verdict_is_told_to_leave_it_and_can_skip(self, looked):
        ada = looked.sign_in("Ada")
        looked.submit("c2", "Another one with links http://c.example/ http://d.example/")
        page = ada.get(f"/review/?entry={looked.entry('c1')}&site={looked.site.row}").text
        focus = page[page.index('class="card focused"') : page.index('class="queue-list"')]

        assert "You have judged this one before: leave it to somebody else." in focus
        assert 'name="judgement"' not in focus
        assert "data-decides" not in focus
        skip = re.search(r'href="([^"]+)" data-skip', focus)[1].replace("&amp;", "&")
        assert f"entry={looked.entry('c2')}" in skip
        assert "Another one with links" in ada.get(skip).text
        assert "You have judged" not in looked.sign_in("Ben").get(f"/review/?entry={looked.entry('c1')}").text

    def test_a_verdict_from_the_comments_own_page_is_no_second_look(self, looked):
        ben = looked.sign_in("Ben")
        row = looked.store.reading.place_of_id([looked.site], "c1").row
        assert ben.post(f"/review/comments/{row}/verdict", data=looked.form("c1", "approve", blind="1")).is_redirect
        assert looked.parts.moderation.verdicts(looked.site, "c1")[-1].source == "review"

    def test_the_api_does_not_hand_it_out(self, service):
        service.submit(id="c1", text=LINKS)
        digest = service.parts.workflow.find_comment(service.site, "c1").decision.digest
        body = {"comment_id": "c1", "digest": digest, "action": "reject", "categories": ["spam"]}
        assert service.client.post("/v1/verdicts", json=body).status_code == 201
        (found,) = service.parts.store.second_looks.standing(service.site, datetime(2020, 1, 1, tzinfo=UTC))
        service.parts.store.second_looks.open(service.site, [found.row], "random", measure)

        assert service.parts.store.queue.count([service.site]) == 1
        assert service.client.get("/v1/queue").json()["entries"] == []
        assert service.client.get("/v1/queue?reason=second_look").json()["entries"] == []
        assert service.client.post("/v1/queue/claims", json={"moderator": "Ada"}).json() == {"entry": None}


class TestInsight:
    def test_agreement_on_second_looks_is_a_line_of_its_own(self, desk):
        for n in range(10):
            desk.submit(f"c{n}", f"Number {n} {'abcdefghij'[n] * 20} http://a.example/ http://b.example/")
            desk.judge(f"c{n}", "spam" if n % 2 else "approve")
        desk.look_again()
        ben = desk.sign_in("Ben")
        for n in range(9):
            form = desk.form(f"c{n}", "spam" if n % 2 else "approve", blind="1")
            ben.post(f"/review/queue/{desk.entry(f'c{n}')}/verdict", data=form)
        page = ben.get(f"/review/insight?site={desk.site.row}").text
        assert "Second looks:</b> 9 texts" in page
        assert "from 10 on there is a figure here" in page
        ben.post(f"/review/queue/{desk.entry('c9')}/verdict", data=desk.form("c9", "approve", blind="1"))
        page = ben.get(f"/review/insight?site={desk.site.row}").text
        assert re.search(r"Second looks:</b> 10 texts [^<]*, alpha <b>0\.8\d</b>", page)


class TestLabels:
    @pytest.fixture
    def desk(self, service):
        made = Desk(service)
        yield made
        for client in made.opened:
            client.close()

    def doubt(self, desk, comment_id, **more):
        said = {"category": "spam", "label": 1, "moderator": "Ada", "source": "verdict", "why": "contradicted"}
        return Doubt(desk.site.url, comment_id, desk.digest(comment_id), **(said | {"probability": 0.0412} | more))

    def keep(self, desk, *doubts):
        found = Findings(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), 400, len(doubts), doubts)
        keep_findings(desk.parts.settings.home, found)

    def test_before_a_check_it_says_what_makes_one(self, desk):
        page = desk.sign_in("Meg", "maintainer").get("/review/model?view=labels").text
        assert "No check has been made" in page

    def test_doubts_are_listed_without_texts_and_the_button_puts_them_into_the_queue(self, desk):
        for name in ("c1", "c2", "gone"):
            desk.submit(name, f"{LINKS} {name}")
            desk.judge(name, "spam")
        elsewhere = Doubt("https://elsewhere.example", "x1", "0" * 64, "spam", 1, "Zoe", "import", "contradicted", 0.5)
        twin = self.doubt(desk, "c2", why="near_duplicate", probability=None, label=0)
        self.keep(desk, self.doubt(desk, "c1"), elsewhere, self.doubt(desk, "gone"), twin)
        desk.store.erasure.erase_comment(desk.site, "gone", who="site")
        meg = desk.sign_in("Meg", "maintainer")
        page = meg.get("/review/model?view=labels").text

        assert "the others would give it 4" in page
        assert "nearly the same comment has the opposite label" in page
        assert "not spam" in page
        assert page.count(">possible<") == 2
        for hidden in ("Look at", "Zoe", ">gone<", "x1"):
            assert hidden not in page, hidden
        answer = meg.post("/review/model/labels", data={"most": "10"})
        after = meg.get(answer.headers["location"]).text
        assert "2 comments are in the queue" in after
        assert after.count(">waits<") == 2
        assert {why.detail for each in desk.store.queue.page([desk.site]).entries for why in each.whys} == {"doubted"}
        assert [line.who for line in desk.store.logs.audit() if line.event == "second_look"] == [
            f"Meg {desk.number}"
        ] * 2
        again = meg.get(meg.post("/review/model/labels", data={"most": "10"}).headers["location"]).text
        assert "No further comment can be looked at again" in again

    def test_where_one_alone_may_judge_it_says_so(self, desk):
        desk.submit("c1")
        meg = desk.sign_in("Meg", "maintainer")
        target = Target(desk.digest("c1"), "c1")
        desk.parts.moderation.decide(desk.site, Judge("site:Zoe", "api"), JUDGEMENTS["spam"], target)
        self.keep(desk, self.doubt(desk, "c1"))
        assert "A second look takes two who may judge" in meg.get("/review/model?view=labels").text
        assert meg.post("/review/model/labels", data={"most": "10"}).headers["location"].endswith("done=queued-0")

    def test_it_is_for_maintainers_and_takes_a_known_number(self, desk):
        ben, meg = desk.sign_in("Ben"), desk.sign_in("Meg", "maintainer")
        assert ben.get("/review/model?view=labels").status_code == 403
        assert ben.post("/review/model/labels", data={"most": "10"}).status_code == 403
        assert meg.post("/review/model/labels", data={"most": "11"}).status_code == 422
        assert meg.post("/review/model/labels", data={}).status_code == 422
