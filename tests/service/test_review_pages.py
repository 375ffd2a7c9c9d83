"""The pages under /review without a browser: signing in, sessions, roles, and what every answer has and refuses."""

from __future__ import annotations

import html
import itertools
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import create_engine

from service.auth import hash_token, make_sign_in_token
from service.errors import Forbidden, NotFound, StoreUnavailable
from service.review.shell import MAX_FORM_BYTES, MAX_FORM_FIELDS, MAX_OPEN_FORM_BYTES
from service.sign_in import may, require
from service.store import MOST_TOGETHER

PASSWORD = "four words not together"
OURS = {"Sec-Fetch-Site": "same-origin"}


class Visitor(httpx.Client):
    """A browser, as far as a test needs one: keeps cookies, follows nothing by itself, sends what browsers send."""

    def __init__(self, service) -> None:
        super().__init__(base_url=service.url, headers=OURS, timeout=20)
        self.service = service

    def invite(self, name="Ada", role="moderator", site=None) -> str:
        people = self.service.parts.store.people
        moderator = people.add(name, site or self.service.site, role, who="operator")
        return make_sign_in_token(self.service.parts.store, moderator)[0]

    def choose(self, token, password=PASSWORD, again=None) -> httpx.Response:
        form = {"token": token, "password": password, "again": password if again is None else again}
        return self.post("/review/first-sign-in", data=form)

    def enter(self, name="Ada", password=PASSWORD, **more) -> httpx.Response:
        return self.post("/review/sign-in", data={"name": name, "password": password, **more})

    def is_in(self) -> bool:
        return self.get("/review/").status_code == 200


@pytest.fixture
def visit(service):
    """Opens browsers on a service of the test's own."""
    opened = []

    def open_one() -> Visitor:
        opened.append(Visitor(service))
        return opened[-1]

    yield open_one
    for visitor in opened:
        visitor.close()


@pytest.fixture
def ada(visit):
    """A browser in which Ada, a moderator, is signed in."""
    visitor = visit()
    assert visitor.choose(visitor.invite()).status_code == 303
    return visitor


@pytest.fixture(scope="module")
def cleo(shared_service):
    """A browser on the shared service, for tests that only look and are refused."""
    with Visitor(shared_service) as visitor:
        assert visitor.choose(visitor.invite("Cleo")).status_code == 303
        yield visitor


class TestSignIn:
    def test_a_link_lets_in_once_and_sets_the_password(self, visit):
        visitor, stranger = visit(), visit()
        token = visitor.invite()
        for _ in range(2):
            assert "Welcome, Ada" in visitor.get("/review/first-sign-in", params={"token": token}).text
        assert visitor.choose(token).headers["location"] == "/review/"
        assert visitor.is_in()
        assert stranger.choose(token, "another password").status_code == 404
        assert stranger.get("/review/first-sign-in", params={"token": token}).status_code == 404
        assert stranger.enter().headers["location"] == "/review/"
        assert stranger.is_in()

    @pytest.mark.parametrize(
        ("password", "again", "says"),
        [
            ("short", None, "at least 12 characters"),
            ("x" * 201, None, "at most 200"),
            ("ababababababab", None, "too easy"),
            (PASSWORD, "four words not Together", "not the same"),
        ],
    )
    def test_a_password_that_cannot_be_taken_leaves_the_link_as_it_was(self, visit, password, again, says):
        visitor = visit()
        token = visitor.invite()
        answer = visitor.choose(token, password, again)

        assert (answer.status_code, says in answer.text) == (422, True)
        assert password not in answer.text
        assert not visitor.is_in()
        assert visitor.choose(token).status_code == 303

    def test_a_wrong_password_and_an_unknown_name_sound_the_same(self, ada, visit):
        stranger = visit()
        answers = [stranger.enter("Ada", "wrong password"), stranger.enter("Nobody", "wrong password")]
        answers += [stranger.enter("a\0b", "\0"), stranger.enter("", ""), stranger.enter("x" * 5000, "y" * 5000)]
        said = {re.search(r'role="alert">.*?<p>(.*?)</p>', answer.text)[1] for answer in answers}

        assert {answer.status_code for answer in answers} == {401}
        assert said == {"The name or the password is not right"}
        assert not stranger.is_in()
        assert ada.is_in()

    def test_who_was_never_given_a_password_cannot_sign_in_without_one(self, visit):
        visitor = visit()
        visitor.invite()

        assert visitor.enter("Ada", "").status_code == 401

    def test_too_many_tries_are_answered_with_a_page_and_a_time_to_wait(self, ada, visit):
        stranger = visit()
        answers = [stranger.enter("Ada", f"wrong {n}") for n in range(6)]

        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert "<!DOCTYPE html>" in answers[-1].text
        assert stranger.enter().status_code == 429, "not even with the right one"
        assert stranger.enter("Ben", "wrong").status_code == 401
        assert visit().choose(ada.invite()).status_code == 303, "a new link always helps"

    def test_after_signing_in_one_is_where_one_wanted_to_be(self, ada, visit):
        visitor = visit()
        wanted = visitor.get("/review/account?site=1").headers["location"]
        assert wanted == "/review/sign-in?next=%2Freview%2Faccount%3Fsite%3D1"
        assert 'name="next" value="/review/account?site=1"' in visitor.get(wanted).text
        assert visitor.enter(next="/review/account?site=1").headers["location"] == "/review/account?site=1"
        for elsewhere in (
            "https://evil.example",
            "//evil.example",
            "/review//evil",
            "/review/\\evil",
            "/v1",
            "/review/\n",
        ):
            assert visitor.enter(next=elsewhere).headers["location"] == "/review/"
        assert ada.is_in()


class TestSessions:
    def test_the_cookie_is_out_of_reach_and_only_its_hash_is_kept(self, visit, service):
        visitor = visit()
        cookie = visitor.choose(visitor.invite()).headers.get_list("set-cookie")[0]
        token = re.match(r"moderation=([\w-]{43});", cookie)[1]

        assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=lax"}
        assert service.parts.store.sessions.find(hash_token(token), timedelta(hours=1)).moderator.name == "Ada"
        assert all(token.encode() not in path.read_bytes() for path in service.settings.home.glob("moderation.db*"))

    def test_over_tls_the_cookie_is_bound_to_the_host(self, start, plain_home):
        assert plain_home
        service = start(public_url="https://moderation.example/desk")
        visitor = Visitor(service)
        answer = visitor.choose(visitor.invite())
        cookie = answer.headers.get_list("set-cookie")[0]

        assert cookie.startswith("__Host-moderation=")
        assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=lax", "Secure"}
        assert answer.headers["location"] == "/desk/review/"
        token = re.match(r"__Host-moderation=([\w-]+)", cookie)[1]
        assert httpx.get(f"{service.url}/review/", headers={"Cookie": f"moderation={token}"}).status_code == 303
        page = httpx.get(f"{service.url}/review/", headers={"Cookie": f"__Host-moderation={token}"})
        assert 'href="/desk/review/static/' in page.text
        visitor.close()

    def test_signing_out_ends_the_session_here_or_everywhere(self, ada, visit, service):
        others = [visit(), visit()]
        for other in others:
            other.enter()
        stolen = others[0].cookies["moderation"]
        assert others[0].post("/review/sign-out").headers["location"] == "/review/sign-in"
        assert "moderation" not in others[0].cookies
        assert httpx.get(f"{service.url}/review/", headers={"Cookie": f"moderation={stolen}"}).status_code == 303
        assert (ada.is_in(), others[1].is_in()) == (True, True)
        ada.post("/review/sign-out", data={"everywhere": "1"})
        assert (ada.is_in(), others[1].is_in()) == (False, False)

    def test_a_new_password_ends_every_other_session(self, ada, visit):
        other = visit()
        other.enter()
        form = {"present": PASSWORD, "password": "five words not at all", "again": "five words not at all"}
        assert ada.post("/review/account/password", data=form | {"present": "wrong"}).status_code == 422
        assert ada.post("/review/account/password", data=form | {"password": "x", "again": "x"}).status_code == 422
        assert other.is_in()
        assert ada.post("/review/account/password", data=form).status_code == 303
        assert (ada.is_in(), other.is_in()) == (True, False)
        assert (other.enter().status_code, other.enter(password="five words not at all").status_code) == (401, 303)

    def test_a_new_password_ends_a_link_that_was_not_used(self, ada, visit):
        link = ada.invite()
        form = {"present": PASSWORD, "password": "five words not at all", "again": "five words not at all"}
        assert ada.post("/review/account/password", data=form).status_code == 303
        assert visit().choose(link).status_code == 404

    def test_who_is_disabled_or_deleted_is_out_at_once(self, ada, visit, service):
        ben = visit()
        ben.choose(ben.invite("Ben"))
        service.parts.store.people.disable("Ada", who="operator")
        service.parts.store.people.delete("Ben", who="operator")

        assert (ada.is_in(), ben.is_in()) == (False, False)
        assert (ada.enter().status_code, ben.enter("Ben").status_code) == (401, 401)

    def test_sessions_end_by_themselves(self, store):
        """Not used for an hour, or begun a day ago however busy they are."""
        store.add_site("https://blog.example")
        ada = store.people.add("Ada", store.sites()[0], "viewer", who="operator")
        clock = [datetime(2026, 5, 1, tzinfo=UTC)]
        store.sessions._now = lambda: clock[0]
        store.sessions.open(ada, "a" * 64, timedelta(days=1))
        store.sessions.open(ada, "b" * 64, timedelta(days=1))
        seen = []
        for _ in range(25):
            clock[0] += timedelta(minutes=59)
            seen.append(store.sessions.find("a" * 64, timedelta(hours=1)) is not None)

        assert seen == [True] * 24 + [False]
        assert store.sessions.find("b" * 64, timedelta(hours=1)) is None

    def test_a_session_is_found_while_nothing_can_be_written(self, open_store, database_url):
        store = open_store(timeout_seconds=0.3)
        ada = store.people.add("Ada", store.add_site("https://blog.example"), "viewer", who="operator")
        now = datetime.now(UTC)
        store.sessions.open(ada, "a" * 64, timedelta(days=1))
        store.sessions._now = lambda: now + timedelta(minutes=5)
        engine = create_engine(database_url)
        with engine.connect() as connection:
            is_sqlite = engine.dialect.name == "sqlite"
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "LOCK TABLE sessions IN EXCLUSIVE MODE")
            assert store.sessions.find("a" * 64, timedelta(hours=1)).moderator.name == "Ada"
            connection.rollback()
        engine.dispose()


class TestWrites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "", "Origin": "SAME"},
            {},
            {"Origin": "null"},
            {"Origin": "https://evil.example"},
            {"Origin": "http://127.0.0.1.evil.example"},
        ],
    )
    def test_a_write_that_no_page_of_ours_asked_for_is_refused(self, cleo, headers):
        headers = {name: cleo.service.url if value == "SAME" else value for name, value in headers.items()}
        cookie = {"Cookie": f"moderation={cleo.cookies['moderation']}"}
        for method, path in itertools.product(
            ("POST", "PUT", "DELETE", "PATCH"), ("sign-in", "sign-out", "account/password", "x")
        ):
            answer = httpx.request(method, f"{cleo.service.url}/review/{path}", headers=headers | cookie)
            assert (answer.status_code, "Nothing was" in answer.text or "nothing was" in answer.text) == (403, True)
        assert cleo.is_in()

    @pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "none"}, {"Origin": "SAME"}])
    def test_our_own_are_not(self, shared_service, headers):
        headers = {name: shared_service.url if value == "SAME" else value for name, value in headers.items()}

        assert httpx.post(f"{shared_service.url}/review/sign-out", headers=headers).status_code == 303

    def test_the_api_is_for_programs_and_does_not_ask(self, shared_service):
        assert shared_service.submit(id="pages-1", text="Fine").status_code == 201

    @pytest.mark.parametrize("body", [b"name=" + b"x" * MAX_OPEN_FORM_BYTES, b"a&" * (MAX_OPEN_FORM_BYTES // 2 - 1)])
    def test_a_form_for_anybody_is_short(self, shared_service, body):
        """It is read while everybody else waits, and never a fault."""
        answer = httpx.post(f"{shared_service.url}/review/sign-in", content=body, headers=OURS)
        assert answer.status_code == 413
        assert "<!DOCTYPE html>" in answer.text

    def test_a_form_may_have_as_many_fields_as_the_largest_batch(self, cleo):
        ticks = "&".join(f"row={n}" for n in range(MOST_TOGETHER + 20))
        assert cleo.post("/review/account/password", content=f"present=x&{ticks}".encode()).status_code == 422
        many = "&".join(f"row={n}" for n in range(MAX_FORM_FIELDS + 1))
        assert cleo.post("/review/account/password", content=many.encode()).status_code == 413

    def test_a_form_is_read_up_to_a_limit_and_not_from_strangers(self, cleo):
        long = b"present=" + b"x" * MAX_FORM_BYTES
        assert cleo.post("/review/account/password", content=long).status_code == 413
        answer = httpx.post(f"{cleo.service.url}/review/account/password", content=long, headers=OURS)
        assert answer.headers["location"].startswith("/review/sign-in")

    @pytest.mark.parametrize("body", [b"%", b"a=%ff&=&&b", b"\xff\xfe", b"name=%00&password=%ED%A0%80", b"=" * 3000])
    def test_no_form_whatever_is_a_fault(self, shared_service, body):
        answer = httpx.post(
            f"{shared_service.url}/review/sign-in",
            content=body,
            headers=OURS | {"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code in (401, 422, 429)


class TestAnswers:
    PATHS = ("/review/", "/review/sign-in", "/review/account", "/review/nowhere", "/review/first-sign-in?token=x")

    @pytest.mark.parametrize("path", PATHS)
    def test_every_page_forbids_scripts_of_others_and_is_not_kept(self, cleo, path):
        answer = cleo.get(path)
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))

        assert policy.pop("img-src") == "'self' data:"
        assert {policy.pop(name) for name in ("default-src", "base-uri", "frame-ancestors")} == {"'none'"}
        assert {*policy.values()} == {"'self'"}
        assert {*policy} == {"script-src", "style-src", "connect-src", "form-action"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)", answer.text)
        addresses = re.findall(r'\s(?:src|href|action|formaction|poster|srcset|hx-\w+)="([^"]*)"', answer.text)
        assert all(re.match(r"/(?!/)|[#?]|https://blog\.example", address) for address in addresses), addresses

    def test_all_that_a_page_loads_is_ours_and_may_be_kept(self, cleo):
        addresses = re.findall(r'(?:src|href)="(/review/static/[^"]+)"', cleo.get("/review/").text)
        answers = [cleo.get(address) for address in addresses]

        assert len(answers) == 9
        assert all(answer.status_code == 200 for answer in answers)
        assert all("immutable" in answer.headers["cache-control"] for answer in answers)
        assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)
        version = addresses[0].split("/")[3]
        for wrong in ("old/review.css", f"{version}/../shell.py", f"{version}/%2e%2e/shell.py", f"{version}/LICENSE"):
            assert cleo.get(f"/review/static/{wrong}").status_code == 404

    def test_what_somebody_wrote_is_text(self, cleo):
        hostile = "<img src=x onerror=alert(1)>\"'</p><script>alert(1)</script>&lt;b&gt;"
        cleo.service.submit(
            id="pages-2",
            text=f"{hostile} http://a.example http://b.example !!!!!!!!!!",
            author={"id": "x", "name": hostile},
            post={"id": "p", "title": hostile},
        )
        page = cleo.get("/review/").text

        assert page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&lt;/p&gt;&lt;script&gt;") >= 3
        assert "&amp;lt;b&amp;gt;" in page
        assert not re.search(r"<img|<script>|onerror=alert\(1\)>", page)

    def test_errors_are_pages_that_say_what_to_do(self, cleo, monkeypatch):
        texts = {}
        for path, status in {"/review/nowhere": 404, "/review/?sort=x": 422, "/review/?site=99": 404}.items():
            answer = cleo.get(path)
            texts[path] = answer.text
            assert (answer.status_code, "Go to the queue" in answer.text, "Account of Cleo" in answer.text) == (
                status,
                True,
                True,
            )
        assert "Sort is nothing that this page can be asked for." in texts["/review/?sort=x"]
        assert "<code>sort</code> must be &#39;urgency&#39;" in texts["/review/?sort=x"]
        assert cleo.put("/review/").status_code == 405

        def away(*_):
            raise StoreUnavailable("the database is away")

        monkeypatch.setattr(cleo.service.parts.store.sessions, "find", away)
        answer = cleo.get("/review/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "The database does not answer" in answer.text

    def test_a_bug_is_a_page_too_and_nothing_of_it_is_shown(self, cleo, monkeypatch):
        def broken(*_):
            raise ZeroDivisionError("secret words")

        monkeypatch.setattr(cleo.service.parts.store.queue, "count", broken)
        answer = cleo.get("/review/")

        assert (answer.status_code, "A fault of the service" in answer.text, "secret" in answer.text) == (
            500,
            True,
            False,
        )
        assert "content-security-policy" in answer.headers

    def test_htmx_hears_of_errors_and_of_signing_in_beside_the_page(self, cleo, shared_service):
        answer = cleo.get("/review/nowhere", headers={"HX-Request": "true"})
        assert (answer.status_code, answer.headers["hx-retarget"]) == (404, "#toasts")
        assert answer.text.startswith('<div class="toast error"')
        answer = httpx.get(f"{shared_service.url}/review/", headers={"HX-Request": "true"})
        assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/review/sign-in")


class TestRoles:
    def test_one_sees_only_what_waits_on_ones_own_sites(self, ada, visit, service):
        other = service.parts.store.add_site("https://news.example")
        service.submit(id="c1", text="Look at http://a.example and http://b.example now")
        ben = visit()
        ben.choose(ben.invite("Ben", "viewer", other))

        assert "http://a.example" in ada.get("/review/").text
        page = ben.get("/review/")
        assert (page.status_code, "http://a.example" in page.text, "Nothing waits" in page.text) == (200, False, True)
        assert ben.get(f"/review/?site={service.site.row}").status_code == 404
        for site in ("", "x", "-1", "9" * 30, "\u0661"):
            assert ben.get("/review/", params={"site": site}).status_code == 404
        assert ben.get(f"/review/?site={other.row}").status_code == 200

    def test_another_site_is_shown_with_what_was_asked_for_where_that_makes_sense(self, visit, service):
        other = service.parts.store.add_site("https://news.example")
        ada = visit()
        ada.choose(ada.invite("Ada", "maintainer", service.site))
        service.parts.store.people.add("Ada", other, "maintainer", who="operator")

        def menu(path, **form):
            page = (ada.post(path, data=form) if form else ada.get(path)).text
            found = re.findall(r'href="([^"]*)"', page[page.index("All sites</a>") :].partition("</details>")[0])
            every = re.search(r'<a href="([^"]*)"[^>]*>All sites</a>', page)[1]
            return [html.unescape(link) for link in (every, *found) if "site=" in link or link == every]

        one, two = (f"site={site.row}" for site in (service.site, other))
        asked = "sort=age&text=a+%26+b&category=spam"
        ids = "author=u1&post=p1"
        path = f"/review/?{asked}&{ids}&{one}&entry=7&after=x&did=approve&evil=1&lang="
        assert menu(path.replace("&after=x", "")) == [f"?{asked}&{ids}", f"?{asked}&{one}", f"?{asked}&{two}"]
        assert menu("/review/insight?days=7")[2] == f"?days=7&{two}"
        assert menu(f"/review/settings?view=log&before=9&{one}")[0] == "?view=log"
        assert menu("/review/?since=never&sort=age") == ["?", f"?{one}", f"?{two}"], "what was refused is not kept"
        assert menu(f"/review/policy/edit?{one}", toml="x")[2] == f"/review/policy?{two}"

    @pytest.mark.parametrize(
        ("role", "rights"),
        [
            ("viewer", (True, False, False)),
            ("moderator", (True, True, False)),
            ("maintainer", (True, True, True)),
        ],
    )
    def test_each_role_may_what_it_may_and_on_its_site_only(self, store, role, rights):
        here, there = store.add_site("https://blog.example"), store.add_site("https://news.example")
        ada = store.people.add("Ada", here, role, who="operator")

        assert tuple(may(ada, right, here) for right in ("read", "decide", "configure")) == rights
        assert not any(may(ada, right, there) for right in ("read", "decide", "configure"))
        with pytest.raises(NotFound):
            require(ada, "read", there)
        if not all(rights):
            with pytest.raises(Forbidden, match=role):
                require(ada, "configure", here)
