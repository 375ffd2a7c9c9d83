"""The page of a site's policy: who may, the form and the text, the trial before it is put in force, the history."""

from __future__ import annotations

import hashlib
import html
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest

from moderation.comment import Comment
from moderation.policy import Policy
from service.auth import make_sign_in_token
from service.own_labels import gather, weigh
from service.policies import Measured, Move, Trial
from service.store import Look

PASSWORD = "four words not together"
STRICT = "# Ours.\n[hostile]\nhold = 0.5\n[spam]\nhold = 0.01\n"


class Browser(httpx.Client):
    """A signed-in browser, as far as a test needs one."""

    def __init__(self, service, name, *roles) -> None:
        super().__init__(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20)
        for site, role in roles:
            person = service.parts.store.people.add(name, site, role, who="operator")
        token, _ = make_sign_in_token(service.parts.store, person)
        form = {"token": token, "password": PASSWORD, "again": PASSWORD}
        assert self.post("/review/first-sign-in", data=form).status_code == 303


@pytest.fixture
def open_browser(service):
    opened = []

    def open_one(name, *roles) -> Browser:
        opened.append(Browser(service, name, *roles))
        return opened[-1]

    yield open_one
    for browser in opened:
        browser.close()


@pytest.fixture
def ada(service, open_browser):
    """Ada maintains the one site."""
    return open_browser("Ada", (service.site, "maintainer"))


def row_of(service, site=None):
    wanted = (site or service.site).row
    return next(each for each in service.parts.store.sites() if each.row == wanted)


def hidden(page: str, name: str) -> str:
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', page)[1])


def fields(page: str) -> dict[str, str]:
    """What a browser would send of the form of a policy."""
    form = page[page.index('class="policy-form"') :]
    found = {
        n: html.unescape(v) for n, v in re.findall(r'<input[^>]*name="([^"]+)" type="text"[^>]*?value="([^"]*)"', form)
    }
    found |= {
        n: html.unescape(v)
        for n, v in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL)
    }
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        found[name] = re.search(r'value="([^"]*)" selected', options)[1]
    found |= dict.fromkeys(re.findall(r'name="([^"]+)" type="checkbox" value="true" checked', form), "true")
    return found | {name: hidden(form, name) for name in ("toml", "base", "source")}


PAGES = [
    ("GET", "/review/policy"),
    ("GET", "/review/policy?view=text"),
    ("GET", "/review/policy?view=history"),
    ("GET", "/review/model"),
    ("GET", "/review/settings"),
    ("POST", "/review/policy/edit"),
    ("POST", "/review/policy/check"),
    ("POST", "/review/policy/save"),
    ("POST", "/review/policy/again"),
    ("POST", "/review/policy/follow"),
    ("POST", "/review/settings/sites"),
]


class TestWho:
    def test_moderators_and_strangers_are_refused_and_see_no_link(self, service, open_browser):
        ben = open_browser("Ben", (service.site, "moderator"))
        stranger = httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"})
        for method, path in PAGES:
            assert ben.request(method, path, data={"toml": STRICT}).status_code == 403, path
            assert (
                stranger.request(method, path, data={"toml": STRICT}).headers["location"].startswith("/review/sign-in")
            ), path
        stranger.close()
        assert row_of(service).policy_digest is None
        queue = ben.get("/review/").text
        assert not any(f'href="/review/{name}"' in queue for name in ("policy", "model", "settings"))

    def test_a_maintainer_of_one_site_does_nothing_to_another(self, service, open_browser):
        other = service.parts.store.add_site("https://other.example")
        foreign = service.parts.store.add_site("https://foreign.example")
        ada = open_browser("Ada", (service.site, "maintainer"), (other, "moderator"))
        for site, status in ((other, 403), (foreign, 404)):
            assert ada.get("/review/policy", params={"site": site.row}).status_code == status
            save = {"toml": STRICT, "base": ""}
            assert ada.post(f"/review/policy/save?site={site.row}", data=save).status_code == status
            assert row_of(service, site).policy_digest is None

    def test_with_several_sites_one_is_chosen_first(self, service, open_browser):
        other = service.parts.store.add_site("https://other.example")
        ada = open_browser("Ada", (service.site, "maintainer"), (other, "maintainer"))
        page = ada.get("/review/policy").text
        assert f'href="/review/policy?site={service.site.row}"' in page
        assert f'href="/review/policy?site={other.row}"' in page
        assert ada.post("/review/policy/save", data={"toml": STRICT, "base": ""}).status_code == 422


class TestForm:
    def test_sent_back_as_it_is_it_changes_nothing(self, ada):
        sent = fields(ada.get("/review/policy").text)
        checked = ada.post("/review/policy/check", data=sent)

        assert checked.status_code == 200
        assert hidden(checked.text, "toml") == sent["toml"]
        assert "It would have decided everything" in checked.text or "Nothing was decided" in checked.text

    def test_a_line_is_changed_tried_and_put_in_force(self, service, ada):
        service.submit(id="c1", text="A quiet remark about the garden.")
        sent = fields(ada.get("/review/policy").text) | {"spam.hold": "0.01"}
        checked = ada.post("/review/policy/check", data=sent).text

        assert "It would have held 1 more." in checked
        assert "A quiet remark about the garden." in checked
        assert "<ins>" in checked
        assert row_of(service).policy_digest is None, "nothing is in force before it is saved"
        saved = ada.post("/review/policy/save", data={"toml": hidden(checked, "toml"), "base": hidden(checked, "base")})
        assert saved.headers["location"] == f"/review/policy?site={service.site.row}&done=saved"
        page = ada.get(saved.headers["location"]).text
        assert "The policy is in force" in page
        assert fields(page)["spam.hold"] == "0.01"
        answer = service.submit(id="c2", text="Another quiet remark.").json()
        assert (answer["action"], answer["policy"]) == ("hold", row_of(service).policy_digest)

    def test_what_is_wrong_is_said_at_its_field_and_the_rest_is_kept(self, ada):
        sent = fields(ada.get("/review/policy").text)
        sent |= {"spam.hold": "often", "rules.blocked_words": "one\r\ntwo", "rules.honeypot": "reject"}
        answer = ada.post("/review/policy/check", data=sent)

        assert answer.status_code == 422
        assert re.search(
            r'id="field-spam\.hold"[^>]*aria-invalid="true" aria-describedby="error-spam\.hold"', answer.text
        )
        again = fields(answer.text)
        assert (again["spam.hold"], again["rules.blocked_words"]) == ("often", "one\ntwo")
        assert again["rules.honeypot"] == "reject"

    def test_the_form_becomes_text_and_back_without_being_saved(self, service, ada):
        sent = fields(ada.get("/review/policy").text) | {"spam.hold": "0.25", "view": "text"}
        text = ada.post("/review/policy/edit", data=sent).text
        toml = html.unescape(re.search(r'<textarea id="toml"[^>]*>\n(.*?)</textarea>', text, re.DOTALL)[1])
        assert "hold = 0.25" in toml

        form = ada.post("/review/policy/edit", data={"toml": toml, "source": "text", "view": "form"}).text
        assert fields(form)["spam.hold"] == "0.25"
        broken = ada.post("/review/policy/edit", data={"toml": "[spam\n", "source": "text", "view": "form"})
        assert 'id="toml"' in broken.text, "what is no TOML has no form"
        assert row_of(service).policy_digest is None


class TestText:
    def test_an_error_names_its_line(self, ada):
        toml = "# Ours.\n[spam]\nhold = 5\n<b>"
        answer = ada.post("/review/policy/check", data={"toml": toml.replace("<b>", ""), "source": "text"})
        assert answer.status_code == 422
        assert 'data-line="3"' in answer.text
        broken = ada.post("/review/policy/check", data={"toml": toml, "source": "text"})
        assert 'data-line="4"' in broken.text
        assert "<b>" not in broken.text.partition("<main")[2].partition("</main>")[0].replace("<b>0", "")

    def test_comments_stay_and_line_ends_of_browsers_make_no_other_policy(self, service, ada):
        ada.post("/review/policy/save", data={"toml": STRICT.replace("\n", "\r\n"), "base": ""})
        digest = row_of(service).policy_digest
        assert service.parts.store.policy_toml(digest) == STRICT

    @pytest.mark.parametrize(
        "toml", ["", "[spam]\nhold = 3\n", "[spma]\nhold = 0.5\n", "\ud800".encode("utf-8", "replace").decode()]
    )
    def test_what_cannot_be_meant_is_never_put_in_force(self, service, ada, toml):
        assert ada.post("/review/policy/save", data={"toml": toml, "base": ""}).status_code == 422
        assert row_of(service).policy_digest is None


class TestHistory:
    def save(self, service, ada, toml):
        base = row_of(service).policy_digest or ""
        assert ada.post("/review/policy/save", data={"toml": toml, "base": base}).status_code == 303
        return row_of(service).policy_digest

    def test_it_shows_who_and_what_and_an_old_one_is_used_again(self, service, ada):
        first = self.save(service, ada, STRICT)
        self.save(service, ada, STRICT.replace("0.01", "0.75"))
        page = ada.get("/review/policy?view=history").text
        assert page.count("put a policy in force") == 2
        assert "<ins>" in page
        assert "hold = 0.75" in page

        checked = ada.post("/review/policy/again", data={"policy": first}).text
        assert hidden(checked, "toml") == STRICT
        self.save(service, ada, hidden(checked, "toml"))
        assert row_of(service).policy_digest == first

    def test_policies_of_other_sites_are_not_found(self, service, ada):
        other = service.parts.store.add_site("https://other.example")
        service.parts.store.policies.put(other, ("a" * 64, STRICT), who="Ben", instead_of=None)
        assert ada.post("/review/policy/again", data={"policy": "a" * 64}).status_code == 404
        assert ada.post("/review/policy/again", data={"policy": ""}).status_code == 404

    def test_who_was_slower_is_told_and_sees_what_is_in_force_now(self, service, ada):
        self.save(service, ada, STRICT)
        late = ada.post("/review/policy/save", data={"toml": STRICT.replace("0.01", "0.9"), "base": ""})
        assert late.status_code == 409
        assert "Somebody else has put another policy in force" in late.text
        assert hidden(late.text, "base") == row_of(service).policy_digest

    def test_a_site_gives_its_policy_up(self, service, ada):
        digest = self.save(service, ada, STRICT)
        assert ada.post("/review/policy/follow", data={"base": ""}).status_code == 422
        assert row_of(service).policy_digest == digest
        assert ada.post("/review/policy/follow", data={"base": digest}).status_code == 303
        assert row_of(service).policy_digest is None


def test_what_changes_is_paged_and_hostile_text_is_shown_as_text(service, ada):
    for n in range(23):
        service.parts.workflow.submit(service.site, Comment(f"<script>alert({n})</script> friendly", id=f"c{n}"))
    sent = {"toml": STRICT, "source": "draft", "base": ""}
    first = ada.post("/review/policy/check", data=sent).text
    assert "Page 1 of 2" in first
    assert first.count('class="card entry"') == 20
    assert "<script>alert(" not in first
    # What comes in while one reads does not push the list on.
    service.parts.workflow.submit(service.site, Comment("So friendly", id="late"))
    upto = hidden(first, "upto")
    second = ada.post("/review/policy/check", data=sent | {"page": "2", "upto": upto}).text
    assert second.count('class="card entry"') == 3
    assert hidden(second, "upto") == upto
    assert (
        ada.post("/review/policy/check", data=sent | {"page": "99", "upto": upto}).text.count('class="card entry"') == 3
    )
    assert ada.post("/review/policy/check", data=sent | {"upto": upto}).text.count("So friendly") == 1


class TestUnreadable:
    """A policy that another version has written: the service goes on, holds everything, and says so."""

    @pytest.fixture
    def broken(self, service):
        toml = "[spam]\nhold = 0.5\nof_another_version = 1\n"
        digest = hashlib.sha256(toml.encode()).hexdigest()
        assert service.parts.store.policies.put(service.site, (digest, toml), who="operator", instead_of=None)
        return toml

    def test_comments_are_held_and_every_page_still_answers(self, service, ada, broken):
        answer = service.submit(id="c1", text="Well said.")
        assert answer.status_code == 202
        assert [each["name"] for each in answer.json()["reasons"]] == ["policy_unreadable"]
        site = service.site.row
        paths = ["/review/policy", "/review/policy?view=text", "/review/policy?view=history", "/review/batch"]
        paths += ["/review/model?view=lines", "/review/", "/review/comments/1", "/review/comments/1?again=1"]
        for path in paths:
            page = ada.get(path, params={"site": site} | dict(httpx.URL(path).params))
            assert page.status_code == 200, path
            if path.startswith(("/review/policy?view=text", "/review/model")):
                assert "cannot read" in page.text, path
        assert "cannot read" in ada.get("/review/policy").text
        assert broken.splitlines()[2] in html.unescape(ada.get("/review/policy").text)

    def test_it_is_mended_on_its_page(self, service, ada, broken):
        page = ada.post("/review/policy/check", data={"toml": "[spam]\nhold = 0.5\n", "base": ""}).text
        assert "every comment" in page
        answer = ada.post("/review/policy/save", data={"toml": "[spam]\nhold = 0.5\n", "base": hidden(page, "base")})
        assert answer.status_code == 303
        assert service.submit(id="c2", text="Well said.").json()["action"] == "publish"
        assert broken not in ada.get("/review/policy?view=text").text


@pytest.mark.parametrize(
    ("supported", "holds", "missing", "said"), [(True, False, 14, 14), (True, True, 0, None), (False, False, 14, None)]
)
def test_labels_are_missing_where_a_line_stands_on_the_bundle_until_then(supported, holds, missing, said):
    promise = SimpleNamespace(holds=holds, missing=missing)

    assert Measured(SimpleNamespace(own=promise, supported=supported), None).missing == said
    assert Measured(SimpleNamespace(own=None, supported=True), None).missing is None


@pytest.mark.parametrize(("approved", "verb"), [(1, "was"), (2, "were")])
def test_one_comment_was_and_two_were(approved, verb):
    moves = (Move("publish", "hold", 21, approved, 0),)
    trial = Trial(Policy.parse(STRICT), datetime(2026, 5, 1, tzinfo=UTC), 1, 30, False, moves, tuple(range(21)))

    assert trial.sentence() == f"It would have held 21 more, {approved} of which {verb} later approved."


def test_lines_say_what_stands_on_the_sites_own_labels(service, ada):
    """So many audits as it takes, and one too few: which line it is, and how many labels are missing."""
    toml = '[spam]\nreject = "precision >= 0.99"\n'
    policy = (hashlib.sha256(toml.encode()).hexdigest(), toml)
    service.parts.store.policies.put(service.site, policy, who="operator", instead_of=None)
    bundle = service.parts.live_model.current().bundle.name
    for labels, said in (
        (299, "holds from 0.97 on: of the comments that score 0.97 or more, at least 99.00% are bad, as far as 299"),
        (298, "at least 1 more audit label that is not wrong is missing"),
    ):
        looks = [Look("lexical", "reject", {"spam": 0.97}, 0.05, True, "reject", {"spam": 1})] * labels
        service.parts.live_model.take_own(bundle, service.site.url, weigh(gather(looks, [], {}), None))
        assert said in html.unescape(ada.get("/review/policy").text)
        assert said in html.unescape(ada.get("/review/model?view=lines").text)
