"""The page of settings: keys, people, webhooks and the log; what is shown once, and what a maintainer cannot reach."""

from __future__ import annotations

import html
import re
from contextlib import contextmanager

import httpx
import pytest

from service.auth import find_site, make_sign_in_token
from service.errors import NotFound, Unauthorized
from service.store import Judge, Judgement, Target

PASSWORD = "four words not together"


@contextmanager
def sign_in(service, name, *roles):
    """A browser in which somebody is signed in."""
    for site, role in roles:
        person = service.parts.store.people.add(name, site, role, who="operator")
    token, _ = make_sign_in_token(service.parts.store, person)
    with httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20) as client:
        form = {"token": token, "password": PASSWORD, "again": PASSWORD}
        assert client.post("/review/first-sign-in", data=form).status_code == 303
        yield client


@pytest.fixture
def ada(service):
    """Ada maintains blog.example; other.example is not hers."""
    service.other = service.parts.store.add_site("https://other.example")
    with sign_in(service, "Ada", (service.site, "maintainer")) as client:
        yield client


def secret(answer) -> str:
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return html.unescape(re.search(r'<code id="secret">(.*?)</code>', answer.text)[1])


def events(service):
    return [(entry.who, entry.event) for entry in service.parts.store.logs.audit()]


class TestSitesAndKeys:
    def test_after_a_form_the_menu_of_sites_leads_back_to_the_settings(self, service):
        other = service.parts.store.add_site("https://other.example")
        with sign_in(service, "Ada", (service.site, "maintainer"), (other, "maintainer")) as ada:
            page = ada.post("/review/settings/keys", data={"of_site": str(other.row)}).text
            (address,) = re.findall(rf'href="([^"]*)\?site={other.row}"', page.split("menu-list")[1])
            assert address == "/review/settings"
            assert f'href="?site={other.row}"' in ada.get("/review/posts").text

    def test_who_has_lost_a_site_can_still_sign_out_of_its_page(self, service, ada):
        answer = ada.post("/review/sign-out", params={"site": service.other.row})
        assert answer.headers["location"] == "/review/sign-in"
        assert ada.get("/review/account").status_code == 303, "the session has ended"

    def test_who_adds_a_site_maintains_it(self, service, ada):
        assert ada.post("/review/settings/sites", data={"url": "https://NEW.example/"}).status_code == 303
        assert "https://new.example" in ada.get("/review/settings").text
        assert service.parts.store.people.find("Ada").roles["https://new.example"] == "maintainer"

    @pytest.mark.parametrize("url", ["", "new.example", "https://blog.example", "https://other.example/"])
    def test_no_site_is_made_or_taken_by_a_wrong_address(self, service, ada, url):
        answer = ada.post("/review/settings/sites", data={"url": url})
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
        assert len(service.parts.store.sites()) == 2
        assert "https://other.example" not in service.parts.store.people.find("Ada").roles

    def test_a_key_is_shown_once_works_and_is_revoked(self, service, ada):
        key = secret(ada.post("/review/settings/keys", data={"of_site": service.site.row}))
        assert find_site(service.parts.store, {"x-api-key": key}).row == service.site.row
        assert key not in ada.get("/review/settings").text
        prefix = key[:8]
        assert f"{prefix}…" in ada.get("/review/settings").text

        revoke = {"of_site": service.site.row, "prefix": prefix}
        assert ada.post("/review/settings/keys/revoke", data=revoke).status_code == 303
        with pytest.raises(Unauthorized):
            find_site(service.parts.store, {"x-api-key": key})
        assert ("Ada", "key_made") in events(service)
        assert ("Ada", "key_revoked") in events(service)

    def test_keys_of_other_sites_are_out_of_reach(self, service, ada):
        from service.auth import make_key

        key = make_key(service.parts.store, service.other)
        prefix = key[:8]
        assert ada.post("/review/settings/keys", data={"of_site": service.other.row}).status_code == 404
        for row in (service.site.row, service.other.row):
            revoke = {"of_site": row, "prefix": prefix}
            assert ada.post("/review/settings/keys/revoke", data=revoke).status_code == 404
        assert find_site(service.parts.store, {"x-api-key": key})
        assert prefix not in ada.get("/review/settings").text


class TestPeople:
    def add(self, service, ada, name="Ben", role="moderator"):
        return ada.post("/review/settings/people", data={"name": name, "role": role, "of_site": service.site.row})

    def test_who_is_new_gets_a_link_that_works(self, service, ada):
        link = secret(self.add(service, ada))
        assert link.startswith(f"{service.url}/review/first-sign-in?token=")
        assert httpx.get(link).status_code == 200
        assert link not in ada.get("/review/settings?view=people").text
        again = secret(ada.post("/review/settings/people/link", data={"name": "Ben"}))
        assert httpx.get(link).status_code == 404, "an earlier link has ended"
        assert httpx.get(again).status_code == 200

    @pytest.mark.parametrize("name", ["", "model", "a\nb", "x" * 201, "Ada"])
    def test_some_names_nobody_can_have(self, service, ada, name):
        assert self.add(service, ada, name).status_code == 422
        assert [person.name for person in service.parts.store.people.all()] == ["Ada"]

    def test_roles_are_changed_and_taken(self, service, ada):
        self.add(service, ada)
        change = {"name": "Ben", "of_site": service.site.row}
        ada.post("/review/settings/people/role", data=change | {"role": "viewer"})
        assert service.parts.store.people.find("Ben").roles == {service.site.url: "viewer"}
        assert ada.post("/review/settings/people/role", data=change | {"role": "king"}).status_code == 422
        ada.post("/review/settings/people/role", data=change | {"role": ""})
        assert service.parts.store.people.find("Ben").roles == {}
        assert "Ben" not in ada.get("/review/settings?view=people").text

    def test_disabled_one_is_out_at_once_and_may_come_back(self, service, ada):
        with sign_in(service, "Ben", (service.site, "moderator")) as ben:
            assert ben.get("/review/").status_code == 200
            ada.post("/review/settings/people/disable", data={"name": "Ben"})
            assert ben.get("/review/").status_code == 303
            ada.post("/review/settings/people/enable", data={"name": "Ben"})
            again = ben.post("/review/sign-in", data={"name": "Ben", "password": PASSWORD})
            assert again.headers["location"] == "/review/"

    def test_deleting_one_keeps_their_verdicts(self, service, ada):
        with sign_in(service, "Ben", (service.site, "moderator")):
            answer = service.submit(id="c", text="Some words.").json()
            ben = service.parts.store.people.find("Ben")
            judge = Judge("Ben", "review", ben.row)
            target = Target(answer["digest"], comment="c")
            service.parts.moderation.decide(service.site, judge, Judgement("reject", ("spam",)), target)
        assert ada.post("/review/settings/people/delete", data={"name": "Ben"}).status_code == 303
        assert [verdict.moderator for verdict in service.parts.moderation.verdicts(service.site, "c")] == ["Ben"]
        with pytest.raises(NotFound):
            service.parts.store.people.find("Ben")

    def test_nobody_reaches_themselves_or_an_account_with_roles_elsewhere(self, service, ada):
        """A link is an account: with one for somebody who maintains another site, that site would be theirs."""
        people = service.parts.store.people
        people.add("Cleo", service.other, "maintainer", who="operator")
        for act in ("link", "disable", "enable", "delete"):
            assert ada.post(f"/review/settings/people/{act}", data={"name": "Cleo"}).status_code == 404
            assert ada.post(f"/review/settings/people/{act}", data={"name": "Ada"}).status_code == 403
        assert self.add(service, ada, "Cleo").status_code == 303, "a role, but no link"
        for act in ("link", "disable", "enable", "delete"):
            assert ada.post(f"/review/settings/people/{act}", data={"name": "Cleo"}).status_code == 403
        mine = {"name": "Ada", "of_site": service.site.row, "role": ""}
        assert ada.post("/review/settings/people/role", data=mine).status_code == 403
        assert not people.find("Cleo").disabled
        page = ada.get("/review/settings?view=people").text
        assert "Also on sites that you do not maintain" in page
        assert "other.example" not in page

    def make_link(self, service, ada):
        """Ada, who maintains the only site of Ben's, makes a link for him."""
        return secret(self.add(service, ada)).partition("token=")[2]

    def use(self, service, token) -> int:
        form = {"token": token, "password": PASSWORD, "again": PASSWORD}
        ours = {"Sec-Fetch-Site": "same-origin"}
        return httpx.post(f"{service.url}/review/first-sign-in", data=form, headers=ours, timeout=20).status_code

    def test_a_link_ends_where_its_maker_might_not_make_it_any_more(self, service, ada):
        """Whoever has made a link may have kept it: used later, it must give no more than its maker could give then."""
        people = service.parts.store.people
        token = self.make_link(service, ada)
        people.add("Ben", service.site, "maintainer", who="operator")
        assert httpx.get(f"{service.url}/review/first-sign-in?token={token}").status_code == 200, "a role of her site"
        people.add("Ben", service.other, "viewer", who="operator")
        assert httpx.get(f"{service.url}/review/first-sign-in?token={token}").status_code == 404
        assert self.use(service, token) == 404, "Ben has a role that is not hers to give"
        assert people.password_hash("Ben") is None
        people.add("Ada", service.other, "moderator", who="operator")
        assert self.use(service, token) == 404, "she does not maintain that site"
        people.take_role("Ben", service.other, who="operator")
        assert self.use(service, token) == 303

    @pytest.mark.parametrize("end", ["take_role", "disable", "delete"])
    def test_a_link_ends_with_the_rights_of_its_maker(self, service, ada, end):
        people = service.parts.store.people
        token = self.make_link(service, ada)
        if end == "take_role":
            people.take_role("Ada", service.site, who="operator")
        else:
            getattr(people, end)("Ada", who="operator")
        assert self.use(service, token) == 404
        if end == "delete":
            people.add("Ada", service.site, "maintainer", who="operator")
            assert self.use(service, token) == 404, "somebody else of that name"
        assert people.password_hash("Ben") is None

    def test_a_link_of_the_operator_gives_the_roles_of_the_day_on_which_it_is_used(self, service):
        people = service.parts.store.people
        other = service.parts.store.add_site("https://other.example")
        ben = people.add("Ben", service.site, "maintainer", who="operator")
        token, _ = make_sign_in_token(service.parts.store, ben)
        people.add("Ben", service.site, "viewer", who="operator")
        people.add("Ben", other, "moderator", who="operator")
        with httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20) as browser:
            form = {"token": token, "password": PASSWORD, "again": PASSWORD}
            assert browser.post("/review/first-sign-in", data=form).status_code == 303
            assert browser.get("/review/settings").status_code == 403
            assert people.find("Ben").roles == {service.site.url: "viewer", other.url: "moderator"}


class TestWebhooks:
    def test_one_is_added_rotated_and_removed(self, service, ada):
        form = {"url": "https://blog.example/hook", "of_site": service.site.row, "event": ["held", "rejected"]}
        first = secret(ada.post("/review/settings/webhooks", data=form))
        (hook,) = service.parts.store.webhooks.all()
        assert (hook.site, hook.events, hook.secrets) == (service.site.url, ("held", "rejected"), (first,))
        page = ada.get("/review/settings?view=webhooks").text
        assert "https://blog.example/hook" in page
        assert first not in page
        second = secret(ada.post("/review/settings/webhooks/rotate", data={"webhook": hook.id}))
        assert service.parts.store.webhooks.find(hook.id).secrets == (second, first)
        ada.post("/review/settings/webhooks/remove", data={"webhook": hook.id})
        assert service.parts.store.webhooks.all() == []

    def test_one_for_the_plugin_of_akismet_has_its_key(self, service, ada):
        form = {"url": "https://blog.example/?rest_route=/akismet/v1/webhook", "of_site": service.site.row}
        form |= {"format": "akismet", "event": ["held"]}
        wrong = ada.post("/review/settings/webhooks", data=form | {"key": "not a key"})
        assert (wrong.status_code, 'value="akismet" selected' in wrong.text) == (422, True)
        added = ada.post("/review/settings/webhooks", data=form | {"key": "0123456789ab"}, follow_redirects=True)
        (hook,) = service.parts.store.webhooks.all()
        assert (hook.format, hook.events, hook.secrets) == ("akismet", (), ("0123456789ab",))
        page = ada.get("/review/settings?view=webhooks").text
        assert "0123456789ab" not in page + added.text
        assert "New secret" not in page

    def test_a_test_says_what_came_back(self, service, ada):
        hook = service.parts.store.webhooks.add(
            service.site, "http://127.0.0.1:9/hook", (), "whsec_" + "A" * 44, who="x"
        )
        answer = ada.post("/review/settings/webhooks/test", data={"webhook": hook.id})
        assert answer.status_code == 200
        assert "refused_address" in answer.text
        assert "MODERATION_WEBHOOK_ALLOW" in answer.text

    def test_those_of_other_sites_are_out_of_reach(self, service, ada):
        hook = service.parts.store.webhooks.add(
            service.other, "https://other.example/h", (), "whsec_" + "A" * 44, who="x"
        )
        for act in ("rotate", "remove", "test"):
            assert ada.post(f"/review/settings/webhooks/{act}", data={"webhook": hook.id}).status_code == 404
        assert "other.example" not in ada.get("/review/settings?view=webhooks").text

    def test_what_was_ticked_stays_where_the_address_is_wrong(self, service, ada):
        wrong = {"url": "nonsense", "of_site": service.site.row, "event": ["held"]}
        answer = ada.post("/review/settings/webhooks", data=wrong)
        assert answer.status_code == 422
        assert re.findall(r'name="event" value="(\w+)" checked', answer.text) == ["held"]
        inside = ada.post("/review/settings/webhooks", data=wrong | {"url": "http://169.254.169.254/latest"})
        assert (inside.status_code, "MODERATION_WEBHOOK_ALLOW" in inside.text) == (422, True)
        assert service.parts.store.webhooks.all() == []


class TestLog:
    def test_it_is_paged_and_shows_only_what_is_theirs(self, service, ada):
        store = service.parts.store
        for n in range(60):
            store.people.add(f"P{n}", service.site, "viewer", who="operator")
        store.people.add("Hidden", service.other, "viewer", who="operator")
        first = ada.get("/review/settings?view=log").text
        assert first.count("<tr>") == 51
        assert "P59" in first
        assert "P5<" not in first
        older = html.unescape(re.search(r'href="(/review/settings\?view=log&amp;before=\d+)"', first)[1])
        second = ada.get(older).text
        assert "P5<" in second
        assert "Hidden" not in first + second
        assert "Password set" not in first + second, "accounts are for who maintains every site"
        store.people.add("Ada", service.other, "maintainer", who="operator")
        assert "Hidden" in ada.get("/review/settings?view=log").text


def test_pages_of_the_log_miss_nothing_and_repeat_nothing(store):
    one, two = store.add_site("https://one.example"), store.add_site("https://two.example")
    for n in range(9):
        store.people.add(f"P{n}", (one, two)[n % 2], "viewer", who="operator")
    store.people.disable("P3", who="operator")
    seen, before = [], None
    while True:
        entries, before = store.logs.page([one, None, two], limit=4, before=before)
        seen += [entry.details["moderator"] for entry in entries]
        if before is None:
            break
    assert seen == ["P3", *(f"P{n}" for n in range(8, -1, -1))]
    assert [entry.site for entry in store.logs.page([two], limit=99)[0]] == [two.url] * 4


def test_everybody_is_listed_with_their_roles(store):
    one, two = store.add_site("https://one.example"), store.add_site("https://two.example")
    store.people.add("Ben", one, "viewer", who="operator")
    store.people.add("Ada", one, "maintainer", who="operator")
    store.people.add("Ada", two, "viewer", who="operator")
    store.people.take_role("Ben", one, who="Ada")
    store.people.disable("Ben", who="Ada")
    found = [(each.name, each.disabled, dict(each.roles)) for each in store.people.all()]
    assert found == [("Ada", False, {one.url: "maintainer", two.url: "viewer"}), ("Ben", True, {})]
    store.people.enable("Ben", who="Ada")
    assert not store.people.find("Ben").disabled
