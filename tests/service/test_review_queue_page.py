"""The pages of queue, comment and post without a browser: what they show to whom, forms, conflicts, roles."""

from __future__ import annotations

import itertools
import random
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from moderation.comment import Author, Comment, Neighbour, Post
from moderation.spans import Span
from service.auth import make_sign_in_token
from service.errors import InvalidRequest
from service.review import evidence
from service.review.evidence import Piece, compare, list_links, mark
from service.review.judging import JUDGEMENTS
from service.review.posts import arrange
from service.review.queue import Asked
from service.store import Brief, Judge, Target

PASSWORD = "four words not together"
LINKS = "Look at http://a.example/x and http://b.example/y now!"
JSON = {"Accept": "application/json"}
_numbers = itertools.count()


def chatter(seed: int) -> str:
    """Words that no other comment has, so that no two are nearly the same."""
    letters = random.Random(seed)
    return " ".join("".join(letters.choices("abcdefghijklmnop", k=7)) for _ in range(25))


class Desk:
    """A site of a test's own on the shared service, with comments and people."""

    def __init__(self, service) -> None:
        self.service, self.parts = service, service.parts
        self.number = next(_numbers)
        self.site = self.parts.store.add_site(f"https://desk{self.number}.example")
        self.opened: list[httpx.Client] = []

    def sign_in(self, name="Ada", role="moderator", site=None) -> httpx.Client:
        person = self.parts.store.people.add(f"{name} {self.number}", site or self.site, role, who="operator")
        client = httpx.Client(base_url=self.service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30)
        token, _ = make_sign_in_token(self.parts.store, person)
        form = {"token": token, "password": PASSWORD, "again": PASSWORD}
        assert client.post("/review/first-sign-in", data=form).status_code == 303
        self.opened.append(client)
        return client

    def submit(self, comment_id, text=LINKS, who="ann", **more):
        author = Author(who, who.title(), None) if who else None
        return self.parts.workflow.submit(
            self.site, Comment(text, id=comment_id, site=self.site.url, author=author, **more)
        )

    def place(self, comment_id):
        return self.parts.store.reading.place_of_id([self.site], comment_id)

    def form(self, comment_id, judgement="spam", **more) -> dict[str, str]:
        digest = self.parts.workflow.find_comment(self.site, comment_id).decision.digest
        return {"digest": digest, "judgement": judgement, **more}

    def status(self, comment_id) -> str:
        return self.place(comment_id).status

    def verdicts(self, comment_id):
        return self.parts.moderation.verdicts(self.site, comment_id)


@pytest.fixture
def desk(shared_service):
    made = Desk(shared_service)
    yield made
    for client in made.opened:
        client.close()


class TestQueue:
    def test_the_entry_in_focus_has_all_that_is_needed_to_judge(self, desk):
        post = Post("bread", "Sourdough", "Flour, water and salt. " * 40)
        desk.submit("kind", "A lovely loaf, thank you.", who="ben", post=post)
        desk.submit("earlier", "So much of it", post=post)
        desk.submit("c1", post=post, parent=Neighbour("kind", None))
        desk.parts.moderation.report(desk.site, "kind", "reader", "hostile")
        ada = desk.sign_in()
        page = ada.get(f"/review/?entry={desk.place('c1').entry}&words=1").text
        focus = page[page.index('class="card focused"') : page.index('class="queue-list"')]

        assert re.search(r"<mark class=\"mark-[1-4]\">http://a.example/x</mark>", focus)
        assert "Marked words raised the score" in focus
        for said in (
            "reaches the hold line of 0.5",  # why it is here
            "Sourdough</a>",
            "Flour, water and salt.",
            "A lovely loaf, thank you.",  # what it answers
            "1 published, 0 held, 0 rejected",
            "<b>a.example</b>",
            "held from 50",
            "It answers",
        ):
            assert said in focus, said
        assert not re.search(r'href="[^"]*(?:a|b)\.example', page), "addresses are text"
        assert focus.count('name="judgement"') == 5
        assert "Readers reported it as hostile (1×)" in ada.get(f"/review/?entry={desk.place('kind').entry}").text

    def test_appeals_are_read_where_one_judges(self, desk):
        desk.submit("c1", "That is forbidden here")
        assert desk.status("c1") == "rejected"
        desk.parts.moderation.appeal(desk.site, "c1", "It was a <b>quotation</b>.")
        page = desk.sign_in().get("/review/").text

        assert "It was a &lt;b&gt;quotation&lt;/b&gt;." in page

    def test_words_are_looked_for_when_asked_and_then_kept(self, desk, monkeypatch):
        desk.submit("c1")
        ada, entry = desk.sign_in(), desk.place("c1").entry
        asked = []
        real = evidence.explain_decision
        monkeypatch.setattr(evidence, "explain_decision", lambda *given: asked.append(1) or real(*given))
        assert f'data-words="/review/queue/{entry}/words"' in ada.get("/review/").text
        assert asked == [], "the page itself does not wait for it"
        words = ada.get(f"/review/queue/{entry}/words").text
        assert (words.count("<mark"), "<html" in words) == (2 + 4, False)
        again = ada.get("/review/").text
        assert ("data-words" in again, "<mark" in again) == (False, True)
        assert asked == [1]

    def test_filters_stand_in_the_address_and_in_the_form(self, desk):
        desk.submit("c1", f"{LINKS} {chatter(1)} About trains", who="ben", lang="en", post=Post("p1", "Trains"))
        desk.submit("c2", f"{LINKS} {chatter(2)} About bread", lang="de", post=Post("p2", "Bread"))
        ada = desk.sign_in()
        entries = {name: f'id="entry-{desk.place(name).entry}"' for name in ("c1", "c2")}

        def found(**query) -> list[str]:
            page = ada.get("/review/", params=query).text
            return [name for name, mark in entries.items() if mark in page]

        assert found() == ["c1", "c2"]
        assert found(text="TRAINS", category="", author="") == ["c1"]
        assert found(author="ben") == found(lang="en") == found(post="p1") == ["c1"]
        assert found(reason="held") == found(reason="spam") == ["c1", "c2"]
        assert found(category="hostile") + found(category="spam") == ["c1", "c2"]
        assert found(reason="audit") == found(until="2001-01-01") == []
        assert found(since="2001-01-01", until="2199-12-31") == ["c1", "c2"]
        page = ada.get("/review/?text=trains&sort=age").text
        assert 'value="trains"' in page
        assert "1 of 2 fit the filter" in re.sub(r"<[^>]+>", "", page)
        assert 'href="/review/?text=trains&amp;sort=score"' in page
        assert "Nothing like that waits" in ada.get("/review/?text=nowhere").text
        assert found(author="BEN") == found(lang="EN") == ["c1"]
        for wrong in ("since=yesterday", "until=1000-01-01", "text=%00", "sort=x", "entry=0"):
            assert ada.get(f"/review/?{wrong}").status_code == 422, wrong

    def test_the_filter_offers_what_waits_and_names_and_badges_lead_to_it(self, desk):
        desk.submit("c1", f"{LINKS} {chatter(1)}", who="ben", post=Post("p1", "Trains & more"))
        desk.submit("c2", f"{LINKS} {chatter(2)}", who=None)
        page = desk.sign_in().get("/review/", params={"entry": desk.place("c1").entry}).text

        assert re.search(r'<optgroup label="What held it, or nearly">.*<option value="spam">Spam</option>', page)
        assert '<option value="ben">Ben</option>' in page
        assert '<option value="p1">Trains &amp; more</option>' in page
        assert re.search(r'<a href="/review/\?reason=spam" class="badge why-held"', page)
        assert re.search(r'<a class="by" href="/review/\?author=ben"[^>]*><b [^>]*>Ben</b></a>', page)
        assert re.search(r'<a class="by" href="/review/\?post=p1"[^>]*>Trains &amp; more</a>', page)
        assert 'href="/review/?author=ben"' in desk.sign_in("Eve").get(f"/review/comments/{desk.place('c1').row}").text

    def test_whoever_comes_second_is_led_to_a_comment_that_is_free(self, desk):
        for name in ("c1", "c2"):
            desk.submit(name, f"{LINKS} {chatter(int(name[1]))}")
        ada, ben = desk.sign_in("Ada"), desk.sign_in("Ben")

        def focus(client, **query) -> int:
            return int(
                re.search(
                    r'<article class="card focused" data-entry="(\d+)"', client.get("/review/", params=query).text
                )[1]
            )

        first = focus(ada)
        ada.post(f"/review/queue/{first}/claim", headers=JSON)
        assert focus(ada) == first
        second = focus(ben)
        assert {first, second} == {desk.place("c1").entry, desk.place("c2").entry}
        assert focus(ben, entry=first) == first, "what is asked for is shown, whoever holds it"
        ada.post(f"/review/queue/{second}/claim", headers=JSON)
        assert focus(ben) == first, "there is nothing else"

    def test_more_rows_and_one_entry_come_as_pieces_for_the_script(self, desk):
        for n in range(27):
            desk.submit(f"c{n}", f"{LINKS} {chatter(n)}")
        ada = desk.sign_in()
        page = ada.get("/review/?sort=age").text
        after = re.search(r'data-after="([^"]+)"', page)[1]
        rows = ada.get("/review/queue/rows", params={"sort": "age", "after": after}).text

        assert page.count('<li class="card entry"') == 25
        assert (rows.count('<li class="card entry"'), "<html" in rows, "data-after" in rows) == (2, False, False)
        entry = desk.place("c26").entry
        piece = ada.get(f"/review/queue/{entry}", params={"back": "sort=age"}).text
        assert piece.lstrip().startswith(f'<article class="card focused" data-entry="{entry}"')
        assert 'name="back" value="sort=age"' in piece

    def test_who_may_only_look_has_no_buttons_and_is_refused(self, desk):
        stored = desk.submit("c1", post=Post("p1", "Bread"))
        cleo, place = desk.sign_in("Cleo", "viewer"), desk.place("c1")
        post = desk.parts.store.reading.posts([desk.site])[0].row
        pages = ["/review/", f"/review/comments/{place.row}", f"/review/posts/{post}", f"/review/queue/{place.entry}"]
        for page in pages:
            answer = cleo.get(page)
            assert (answer.status_code, "judgement" in answer.text, "data-decides" in answer.text) == (
                200,
                False,
                False,
            ), page
        verdict = desk.parts.moderation.decide(desk.site, *_spam(), _target(stored))
        for path in (
            f"queue/{place.entry}/verdict",
            f"queue/{place.entry}/claim",
            f"queue/{place.entry}/release",
            f"comments/{place.row}/verdict",
            f"verdicts/{verdict.id}/undo",
        ):
            form = {"digest": stored.decision.digest, "judgement": "approve", "of": str(desk.site.row)}
            assert cleo.post(f"/review/{path}", data=form, headers=JSON).status_code == 403, path
        assert desk.status("c1") == "rejected"

    def test_other_sites_comments_are_not_there(self, desk, shared_service):
        stored = desk.submit("c1", post=Post("p1", "Bread"))
        place, other = desk.place("c1"), Desk(shared_service)
        ben = other.sign_in("Ben", "maintainer")
        post = desk.parts.store.reading.posts([desk.site])[0].row
        form = {"digest": stored.decision.digest, "judgement": "approve", "of": str(desk.site.row)}
        reads = [f"queue/{place.entry}", f"queue/{place.entry}/words", f"comments/{place.row}", f"posts/{post}"]
        reads += ["comments?id=c1"]
        writes = [f"queue/{place.entry}/{each}" for each in ("verdict", "claim", "release")]
        writes += [f"comments/{place.row}/verdict", "verdicts/v_x/undo"]

        assert {ben.get(f"/review/{path}").status_code for path in reads} == {404}
        assert {ben.post(f"/review/{path}", data=form).status_code for path in writes} == {404}
        assert "That comment" not in ben.get(f"/review/?entry={place.entry}").text
        assert "Decided meanwhile" in ben.get(f"/review/?entry={place.entry}").text
        ben.close()


class TestVerdicts:
    @pytest.mark.parametrize(
        ("judgement", "status", "categories"),
        [
            ("approve", "published", ()),
            ("reject", "rejected", ()),
            ("off_topic", "rejected", ("off_topic",)),
            ("spam", "rejected", ("spam",)),
            ("hostile", "rejected", ("hostile",)),
        ],
    )
    def test_a_form_decides_and_goes_back_to_its_list_with_an_undo(self, desk, judgement, status, categories):
        desk.submit("c1")
        ada, entry = desk.sign_in(), desk.place("c1").entry
        form = desk.form("c1", judgement, back="sort=age&text=a&evil=1", note=" Seen before ")
        answer = ada.post(f"/review/queue/{entry}/verdict", data=form)
        query = {name: value for name, (value,) in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        (verdict,) = desk.verdicts("c1")

        assert answer.status_code == 303
        assert (query["sort"], query["text"], query["did"], query["verdict"]) == ("age", "a", judgement, verdict.id)
        assert "evil" not in query
        assert (desk.status("c1"), verdict.categories, verdict.note) == (status, categories, "Seen before")
        assert (verdict.moderator, verdict.source) == (f"Ada {desk.number}", "review")
        page = ada.get(answer.headers["location"]).text
        action = re.search(r'action="(/review/verdicts/[^"]+/undo)"', page)[1]
        undo = ada.post(action, data={"of": query["of"], "back": "sort=age", "page": "/review/"})
        assert undo.headers["location"] == "/review/?sort=age&did=undo"
        assert desk.status("c1") == "held"
        assert "Taken back" in ada.get(undo.headers["location"]).text

    def test_the_script_hears_what_was_done(self, desk):
        desk.submit("c1")
        ada, entry = desk.sign_in(), desk.place("c1").entry
        said = ada.post(f"/review/queue/{entry}/verdict", data=desk.form("c1"), headers=JSON).json()
        assert said == {
            "verdict": desk.verdicts("c1")[0].id,
            "site": desk.site.row,
            "count": 1,
            "said": "Rejected as spam",
        }
        undone = ada.post(f"/review/verdicts/{said['verdict']}/undo", data={"of": said["site"]}, headers=JSON)
        assert undone.json() == {"count": 1}
        assert desk.status("c1") == "held"

    def test_changed_text_is_not_judged_and_what_changed_is_shown(self, desk):
        desk.submit("c1", f"{LINKS} I like bread")
        ada, entry, form = desk.sign_in(), desk.place("c1").entry, desk.form("c1")
        desk.submit("c1", f"{LINKS} I hate bread")
        answer = ada.post(f"/review/queue/{entry}/verdict", data=form)
        page = ada.get(answer.headers["location"]).text
        told = ada.post(f"/review/queue/{entry}/verdict", data=form, headers=JSON)

        assert (desk.status("c1"), desk.verdicts("c1")) == ("held", [])
        assert "The text has changed since you read it" in page
        assert "<del>like</del><ins>hate</ins>" in page
        assert (told.status_code, told.json()["error"]["code"]) == (409, "text_changed")
        assert "bread" not in told.text, "the page fetches the new text"
        refused = ada.post(f"/review/comments/{desk.place('c1').row}/verdict", data=form)
        assert (refused.status_code, "<h1>The text has changed</h1>" in refused.text) == (409, True)

    def test_who_comes_second_is_told_and_nothing_is_written(self, desk):
        desk.submit("c1")
        ada, ben, entry = desk.sign_in(), desk.sign_in("Ben"), desk.place("c1").entry
        assert ada.post(f"/review/queue/{entry}/claim").status_code == 200
        told = ben.post(f"/review/queue/{entry}/claim")
        assert (told.status_code, told.json()["holder"]) == (409, f"Ada {desk.number}")
        assert f"Ada {desk.number}</b> is looking at it" in ben.get("/review/").text
        refused = ben.post(f"/review/queue/{entry}/verdict", data=desk.form("c1"), headers=JSON)
        assert (refused.status_code, refused.json()["holder"]) == (409, f"Ada {desk.number}")
        assert "Somebody was quicker" in ben.post(f"/review/queue/{entry}/verdict", data=desk.form("c1")).text
        assert desk.verdicts("c1") == []
        assert ada.post(f"/review/queue/{entry}/release").json() == {"released": True}
        assert ben.post(f"/review/queue/{entry}/verdict", data=desk.form("c1")).status_code == 303
        gone = ada.post(f"/review/queue/{entry}/claim")
        assert (gone.status_code, gone.json()["holder"], gone.json()["error"]["code"]) == (409, None, "taken")
        assert ada.get(f"/review/queue/{entry}").status_code == 409

    def test_what_a_copy_repeats_is_shown_beside_it_and_on_its_page(self, desk):
        words = "The river path floods every winter, so the council should raise it before the bridge opens in spring."
        desk.submit("c1", words, who="ann")
        desk.submit("c2", f"{words} https://cheap-pills.example/buy", who="ben")
        ada = desk.sign_in()
        original = f'<a href="/review/comments/{desk.place("c1").row}">'
        pages = "/review/", f"/review/comments/{desk.place('c2').row}"

        for page in pages:
            text = ada.get(page).text
            assert "Repeats an earlier comment of another author, with a link added." in text
            assert original in text.partition("It repeats</")[2]
        assert "It repeats" not in ada.get(f"/review/comments/{desk.place('c1').row}").text
        desk.parts.workflow.erase(desk.site, "c1")
        assert not [page for page in pages if "It repeats" in ada.get(page).text]

    def test_what_was_known_spam_is_shown_beside_what_says_it_again(self, desk):
        words = "The river path floods every winter, so the council should raise it before the bridge opens in spring."
        desk.submit("c1", words, who="ann")
        ada = desk.sign_in()
        row = desk.place("c1").row
        assert ada.post(f"/review/comments/{row}/verdict", data=desk.form("c1")).status_code == 303
        desk.submit("c2", f"{words}!", who="ben")
        pages = "/review/", f"/review/comments/{desk.place('c2').row}"

        for page in pages:
            text = ada.get(page).text
            assert "Says again what was rejected as spam here." in text
            assert f'<a href="/review/comments/{row}">' in text.partition("Rejected as spam before</h")[2]
        desk.parts.workflow.erase(desk.site, "c1")
        assert not [page for page in pages if "Rejected as spam before</h" in ada.get(page).text]

    def test_a_campaign_is_one_row_decided_together_with_one_undo(self, desk):
        for n in range(4):
            text = f"Best prices for replica watches, order today and save, my friend number {n} http://a.example/"
            desk.submit(f"c{n}", f"{text} http://b.example/", who=f"bot{n}")
        ada = desk.sign_in()
        page = ada.get("/review/").text
        entry = re.search(r'class="card focused" data-entry="(\d+)"', page)[1]
        assert page.count('<li class="card entry"') == 1
        assert "4 nearly the same" in page
        assert page.count('<li class="brief">') == 3, "the others can be read"
        seen = re.search(r'name="seen" value="([^"]*)"', page)[1]
        form = desk.form("c0", together="1", seen=seen)
        said = ada.post(f"/review/queue/{entry}/verdict", data=form, headers=JSON).json()

        assert said["count"] == 4
        assert {desk.status(f"c{n}") for n in range(4)} == {"rejected"}
        assert ada.post(f"/review/verdicts/{said['verdict']}/undo", data={"of": said["site"]}, headers=JSON).json() == {
            "count": 4
        }
        assert {desk.status(f"c{n}") for n in range(4)} == {"held"}
        one = ada.post(f"/review/queue/{entry}/verdict", data=desk.form("c0"), headers=JSON).json()
        assert one["count"] == 1

    def test_what_joins_a_campaign_after_it_was_looked_at_is_not_judged_with_it(self, desk):
        text = "Best prices for replica watches, order today and save, my friend number {} http://a.example/"
        for n in range(2):
            desk.submit(f"c{n}", f"{text.format(n)} http://b.example/", who=f"bot{n}")
        ada = desk.sign_in()
        page = ada.get("/review/").text
        desk.submit("late", f"{text.format(9)} http://worse.example/", who="bot9")
        entry = desk.place("c0").entry
        form = desk.form("c0", "approve", together="1", seen=re.search(r'name="seen" value="([^"]*)"', page)[1])
        said = ada.post(f"/review/queue/{entry}/verdict", data=form, headers=JSON).json()

        assert said["count"] == 2
        assert [desk.status(each) for each in ("c0", "c1", "late")] == ["published", "published", "held"]

    @pytest.mark.parametrize(
        "form", [{}, {"judgement": "spam"}, {"digest": "x", "judgement": "spam"}, {"digest": "a" * 64}]
    )
    def test_a_form_that_says_too_little_is_refused(self, desk, form):
        desk.submit("c1")
        ada, place = desk.sign_in(), desk.place("c1")

        assert ada.post(f"/review/queue/{place.entry}/verdict", data=form).status_code == 422
        assert ada.post(f"/review/comments/{place.row}/verdict", data=form).status_code == 422
        assert desk.verdicts("c1") == []


class TestComment:
    def test_its_page_shows_all_that_happened_to_it(self, desk):
        desk.submit("c1", f"{LINKS} I like bread", post=Post("p1", "Bread"))
        ada, place = desk.sign_in(), desk.place("c1")
        ada.post(f"/review/comments/{place.row}/verdict", data=desk.form("c1", note="A <i>note</i>"))
        desk.parts.moderation.appeal(desk.site, "c1", "Please look again.")
        ada.post(f"/review/comments/{place.row}/verdict", data=desk.form("c1", "approve"))
        desk.parts.moderation.report(desk.site, "c1", "reader", None)
        desk.submit("c1", f"{LINKS} I hate bread", post=Post("p1", "Bread"))
        page = ada.get(f"/review/comments/{place.row}").text

        for said in (
            "Version 2, the current one",
            "<del>like</del><ins>hate</ins>",
            "that did not fire",
            "A &lt;i&gt;note&lt;/i&gt;",
            "on an earlier version",
            "Please look again.",
            "overturned",
            "1× reported as nothing in particular",
            "by <bdi>the model</bdi>",
            "Tier lexical",
        ):
            assert said in page, said
        assert ada.get("/review/comments?id=c1").headers["location"] == f"/review/comments/{place.row}"
        assert ada.get("/review/comments?id=%00").status_code == 404

    def test_judging_again_shows_a_second_decision_and_keeps_nothing(self, desk):
        desk.submit("c1")
        ada, place = desk.sign_in(), desk.place("c1")
        before = ada.get(f"/review/comments/{place.row}").text
        page = ada.get(f"/review/comments/{place.row}?again=1").text

        assert "Judge again with the current model" in before
        assert (before.count('class="decision"'), page.count('class="decision again"')) == (1, 1)
        assert "not kept, the status stays" in page
        assert ada.get(f"/review/comments/{place.row}").text.count('class="decision"') == 1
        assert len(desk.parts.store.reading.history([desk.site], place.row).versions[0].decisions) == 1

    def test_what_was_erased_or_never_kept_has_a_page_without_words(self, desk):
        desk.submit("gone")
        desk.parts.workflow.erase(desk.site, "gone")
        desk.submit("unkept", "Do not keep this", do_not_store=True)
        ada = desk.sign_in()
        for name in ("gone", "unkept"):
            page = ada.get(f"/review/comments/{desk.place(name).row}?again=").text
            assert "The text is not kept" in page
            assert "Judge again" not in page
        assert 'name="judgement"' not in ada.get(f"/review/comments/{desk.place('gone').row}").text

    def test_a_comment_without_an_id_is_judged_by_its_entry_while_it_waits(self, desk):
        desk.submit(None)
        (entry,) = desk.parts.store.queue.page([desk.site]).entries
        place = desk.parts.store.reading.place_of_entry([desk.site], entry.row)
        ada = desk.sign_in()
        form = {"digest": entry.stored.decision.digest, "judgement": "spam"}

        assert ada.post(f"/review/comments/{place.row}/verdict", data=form).status_code == 303
        assert ada.post(f"/review/comments/{place.row}/verdict", data=form).status_code == 422
        page = ada.get(f"/review/comments/{place.row}").text
        assert ("judgement" in page, "rejected as spam" in page) == (False, True)


class TestPosts:
    def test_a_post_shows_its_comments_in_threads_with_statuses(self, desk):
        post = Post("bread", "Sourdough", "Flour and water.")
        desk.submit("c1", "First loaf", post=post)
        desk.submit("c2", "Second loaf", post=post)
        desk.submit("c3", LINKS, post=post, parent=Neighbour("c1", None))
        ada = desk.sign_in()
        listed = ada.get("/review/posts").text
        path = re.search(r'href="(/review/posts/\d+)"', listed)[1]
        page = ada.get(path).text

        assert "Sourdough</a>" in listed
        assert page.index("First loaf") < page.index("a.example/x") < page.index("Second loaf")
        assert "depth-1 not-published" in page
        assert "Flour and water." in page
        seen = ada.get(f"{path}?status=published").text
        assert ("First loaf" in seen, "a.example/x" in seen) == (True, False)
        row = desk.place("c3").row
        form = desk.form("c3", "approve", post_page=path.rsplit("/", 1)[1], back="status=held")
        answer = ada.post(f"/review/comments/{row}/verdict", data=form)
        assert answer.headers["location"].startswith(f"{path}?status=held&did=approve")
        assert desk.status("c3") == "published"
        assert ada.get(f"{path}?status=x").status_code == 422
        assert "No such comments" in ada.get(f"{path}?status=rejected").text

    def test_threads_are_arranged_whatever_sites_say_of_parents(self):
        def brief(row, parent=None, name="") -> Brief:
            return Brief(row, name or f"c{row}", "published", "", "", None, None, parent, None, None)

        thread = [brief(1), brief(2, "c1"), brief(3), brief(4, "c2"), brief(5, "lost"), brief(6, "c6"), brief(7, "c1")]
        assert [(item.brief.row, item.depth) for item in arrange(thread)] == [
            (1, 0),
            (2, 1),
            (4, 2),
            (7, 1),
            (3, 0),
            (5, 0),
            (6, 0),
        ]
        assert [item.brief.row for item in arrange(thread) if item.is_orphan] == [5, 6]
        circle = [brief(1, "c2"), brief(2, "c1"), brief(3)]
        assert {item.brief.row for item in arrange(circle)} == {1, 2, 3}
        deep = [brief(1)] + [brief(n, f"c{n - 1}") for n in range(2, 5000)]
        assert max(item.depth for item in arrange(deep)) == 4


class TestEvidence:
    def test_marks_count_code_points_and_keep_every_character(self):
        text = "\U0001f600 you fool \u202e and <b>"
        spans = (Span(6, 10, 7, 11, 0.9), Span(2, 5, 3, 6, 0.3), Span(7, 9, 8, 10, 0.5), Span(90, 99, 91, 99, 1.0))
        pieces = mark(text, sorted(spans, key=lambda span: span.start))

        assert "".join(piece.text for piece in pieces) == text
        assert [piece for piece in pieces if piece.mark] == [Piece("you", 2), Piece("fool", 4)]

    def test_a_change_is_told_by_words(self):
        assert [(each.text, each.kind) for each in compare("I like bread", "I hate bread")] == [
            ("I ", "same"),
            ("like", "gone"),
            ("hate", "new"),
            (" bread", "same"),
        ]
        long = compare("a " * 5000, "b " * 5000)
        assert [each.kind for each in long] == ["gone", "new"]
        for old, new in (("a b c", "a x c"), ("", "a"), ("a", ""), (" \n ", "\n")):
            changes = compare(old, new)
            assert "".join(each.text for each in changes if each.kind != "new") == old
            assert "".join(each.text for each in changes if each.kind != "gone") == new

    @pytest.mark.parametrize(
        ("text", "host", "readable"),
        [
            ("see http://Shop.example/a", "shop.example", None),
            ("see http://xn--pple-43d.com/", "xn--pple-43d.com", "\u0430pple.com"),
            ("see http://\u0430pple.com/", "xn--pple-43d.com", "\u0430pple.com"),
        ],
    )
    def test_a_disguised_host_is_shown_as_browsers_go_there(self, text, host, readable):
        (link,) = list_links(text, None)
        assert (link.host, link.readable) == (host, readable)

    def test_no_address_whatever_is_a_fault(self):
        for text in ("http://[::1", "http://" + "a" * 300 + ".\u0430com/", "http://xn--\u0430.com", "http://.."):
            list_links(f"{text} http://b.example", "javascript:alert(1)")
        assert len(list_links(" ".join(f"http://h{n}.example" for n in range(60)), None)) == 20

    def test_a_day_is_asked_whole(self):
        wanted = Asked(since="2026-05-01", until="2026-05-01").to_filter()
        assert (wanted.until - wanted.since).days == 1
        with pytest.raises(InvalidRequest, match="until"):
            Asked(until="today").to_filter()


def _spam():
    return Judge("Somebody", "review"), JUDGEMENTS["spam"]


def _target(stored):
    return Target(stored.decision.digest, stored.id)
