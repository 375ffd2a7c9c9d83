"""How often signing in may be tried: what stops somebody who tries out passwords, and whom that must not keep out."""

from __future__ import annotations

import logging
import threading

import httpx
import pytest
from argon2 import PasswordHasher

from service.auth import make_sign_in_token
from service.errors import InvalidSettings, TooManyTries, Unauthorized
from service.hashes import Hashes
from service.settings import Settings
from service.sign_in import KNOWN_FOR, SignIn
from service.tries import IN_ALL, PER_ADDRESS, PER_NAME, Lane, Tries, client_network

PASSWORD = "four words not together"
AT_HOME, ELSEWHERE = "198.51.100.7", "203.0.113.9"


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tries(clock):
    return Tries(clock)


def take(tries, name, address) -> bool:
    try:
        tries.take(name, address)
    except TooManyTries:
        return False
    return True


def use_up_the_brake(tries) -> None:
    """From so many addresses that none of them is at its own limit."""
    for n in range(IN_ALL.most * 2):
        for k in range(4):
            take(tries, f"made up {n} {k}", f"192.0.2.{n}")
    assert not take(tries, "one more", None), "who is not known by address is held back"


class TestLimits:
    def test_one_name_from_one_address(self, tries, clock):
        assert [take(tries, "Ada", ELSEWHERE) for _ in range(6)] == [True] * 5 + [False]
        assert take(tries, "Ada", AT_HOME), "Ada herself is somewhere else"
        assert take(tries, "Ben", ELSEWHERE)
        clock.seconds += 60
        assert [take(tries, "Ada", ELSEWHERE) for _ in range(2)] == [True, False]

    def test_made_up_names_from_one_address_shut_out_nobody_else(self, tries):
        assert [take(tries, f"made up {n}", ELSEWHERE) for n in range(500)].count(True) == PER_ADDRESS.most
        assert take(tries, "Ada", AT_HOME)
        assert not take(tries, "Ada", ELSEWHERE)

    def test_made_up_names_from_many_addresses_slow_down_only_who_has_failed(self, tries):
        use_up_the_brake(tries)

        assert not take(tries, "Ada", "192.0.2.1"), "an address that tries out passwords"
        assert [take(tries, "Ada", AT_HOME) for _ in range(3)] == [True] * 3
        assert not take(tries, "Ada", AT_HOME), "after three wrong ones it is like the others"

    def test_one_name_from_many_addresses(self, tries):
        addresses = [f"192.0.2.{n}" for n in range(150)]
        assert [take(tries, "Ada", address) for address in addresses].count(True) == PER_NAME.most
        assert not take(tries, "Ada", AT_HOME)
        tries.take_known("a browser of Ada's")
        assert take(tries, "Ben", AT_HOME)

    def test_a_known_browser_has_a_limit_of_its_own(self, tries, clock):
        for _ in range(5):
            tries.take_known("a")
        with pytest.raises(TooManyTries) as caught:
            tries.take_known("a")
        assert caught.value.retry_after_seconds == 30
        tries.take_known("b")
        clock.seconds += 30
        tries.take_known("a")

    def test_what_is_refused_costs_nothing(self, tries, clock):
        for _ in range(50):
            take(tries, "Ada", ELSEWHERE)
        clock.seconds += 60
        assert take(tries, "Ada", ELSEWHERE)

    def test_a_right_one_takes_back_its_own_try_and_no_other(self, tries):
        for n in range(PER_ADDRESS.most - 1):
            assert take(tries, f"made up {n}", ELSEWHERE)
        for _ in range(10):
            tries.give_back(tries.take("Mallory", ELSEWHERE))
        assert [take(tries, f"another {n}", ELSEWHERE) for n in range(2)] == [True, False]

    def test_nothing_piles_up(self, tries):
        for n in range(30_000):
            take(tries, f"made up {n}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        assert len(tries) <= 20_001

    def test_neither_name_nor_address_is_kept_in_the_open(self, tries):
        tries.take("Ada Lovelace", AT_HOME)
        kept = b"".join(tries._buckets)

        assert AT_HOME.encode() not in kept
        assert b"Ada" not in kept
        assert not tries._buckets.keys() & Tries(Clock())._buckets.keys()


class TestLane:
    def test_few_wait_and_the_others_are_sent_away(self):
        lane, go, inside = Lane(1, 1), threading.Event(), threading.Semaphore(0)

        def work():
            with lane.enter():
                inside.release()
                go.wait(10)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert inside.acquire(timeout=10)
        for _ in range(1000):
            # The second thread may not have come as far as to wait.
            if lane._room._value == 0:
                break
            threading.Event().wait(0.01)
        with pytest.raises(TooManyTries), lane.enter():
            pass
        go.set()
        for thread in threads:
            thread.join(10)
        with lane.enter():
            pass


class TestAddress:
    @pytest.mark.parametrize(
        ("host", "network"),
        [
            ("203.0.113.9", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("127.0.0.1", None),
            ("::ffff:127.0.0.1", None),
            ("::1", None),
            ("10.1.2.3", None),
            ("unknown", None),
            ("", None),
            (None, None),
        ],
    )
    def test_what_counts_as_one_client(self, host, network):
        assert client_network(host, ("127.0.0.1/32", "::1/128", "10.0.0.0/8")) == network

    @pytest.mark.parametrize("value", ["*", "proxy.internal", "10.0.0.0/8,nonsense", "300.1.1.1"])
    def test_proxies_are_addresses_and_networks(self, value):
        with pytest.raises(InvalidSettings, match="MODERATION_TRUSTED_PROXIES"):
            Settings.load(trusted_proxies=value)

    def test_the_setting_is_read(self, monkeypatch):
        monkeypatch.setenv("MODERATION_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
        assert Settings.load().trusted_proxies == ("10.0.0.0/8", "::1/128")


@pytest.fixture
def people(store):
    """Ada, who has a password; Ben, who has none yet; Cleo, who is disabled."""
    site = store.add_site("https://blog.example")
    kept = PasswordHasher().hash(PASSWORD)
    for name in ("Ada", "Ben", "Cleo"):
        person = store.people.add(name, site, "moderator", who="operator")
        if name != "Ben":
            store.people.set_password(person, kept)
    store.people.disable("Cleo", who="operator")
    return store.people


@pytest.fixture
def sign_in(store, people, home, clock):
    assert people
    return SignIn(store, Settings(home=home), Hashes(b"k" * 32), clock=clock)


class TestSignIn:
    def fails(self, sign_in, name, password="wrong password", **more) -> type[Exception] | None:
        try:
            sign_in.enter(name, password, **more)
        except (Unauthorized, TooManyTries) as error:
            return type(error)
        return None

    def test_every_refusal_checks_one_password_whoever_it_is(self, sign_in, monkeypatch):
        """So that the time taken does not tell which names there are."""
        checked = []

        class Counting(PasswordHasher):
            def verify(self, kept, password):
                checked.append(kept.split("$")[1:4])
                return super().verify(kept, password)

        monkeypatch.setattr(sign_in, "_hasher", Counting())
        for name in ("Ada", "Ben", "Cleo", "Nobody", "a\0b", "", "x" * 500):
            with pytest.raises(Unauthorized, match="the name or the password is not right"):
                sign_in.enter(name, "wrong password", address=f"192.0.2.{len(checked)}")

        assert len(checked) == 7
        assert len({tuple(parameters) for parameters in checked}) == 1

    def test_a_known_browser_gets_in_while_others_try_out_the_name(self, sign_in):
        sign_in.enter("Ada", PASSWORD, address=AT_HOME)
        browser = sign_in.know("Ada")
        for _ in range(6):
            last = self.fails(sign_in, "Ada", address=ELSEWHERE)
        assert last is TooManyTries
        assert self.fails(sign_in, "Ada", PASSWORD, address=ELSEWHERE) is TooManyTries
        assert self.fails(sign_in, "Ada", PASSWORD, address=ELSEWHERE, browser=browser) is None
        assert self.fails(sign_in, "Ada", PASSWORD, address=AT_HOME) is None

    def test_a_known_browser_is_known_for_one_name_one_password_and_some_time(self, sign_in, store, people):
        browser = sign_in.know("Ada")

        def is_known(name="Ada", given=browser) -> bool:
            return sign_in._find_browser(name, given, people.password_hash(name)) is not None

        assert is_known()
        assert not any(is_known(name) for name in ("Ben", "Cleo", "Nobody"))
        forged = f"{browser[:-1]}{'0' if browser[-1] != '0' else '1'}"
        assert not any(is_known(given=given) for given in (forged, "", "x", f"9{browser}", sign_in.know("Nobody")))
        later = store.now() + KNOWN_FOR
        sign_in._store = type("Later", (), {"now": lambda _: later})()
        assert not is_known()
        sign_in._store = store
        people.set_password(people.find("Ada"), PasswordHasher().hash("another password of hers"))
        assert not is_known(), "whoever knew the old password is a stranger again"

    def test_a_known_browser_may_not_try_for_ever(self, sign_in):
        browser = sign_in.know("Ada")
        outcomes = [self.fails(sign_in, "Ada", address=AT_HOME, browser=browser) for _ in range(6)]
        assert outcomes == [Unauthorized] * 5 + [TooManyTries]

    def test_the_present_password_is_tried_apart_from_the_name(self, sign_in, people):
        ada = people.find("Ada")
        for _ in range(6):
            self.fails(sign_in, "Ada", address=ELSEWHERE)
        sign_in.change_password(ada, PASSWORD, "another password of hers")
        for _ in range(5):
            with pytest.raises(Unauthorized):
                sign_in.change_password(ada, "wrong", "x" * 12)
        with pytest.raises(TooManyTries):
            sign_in.change_password(ada, "another password of hers", "yet another of hers")

    def test_where_too_many_are_checked_the_try_does_not_count(self, sign_in):
        sign_in._strangers = Lane(1, 0)
        with sign_in._strangers.enter():
            for _ in range(20):
                assert self.fails(sign_in, "Ada", address=AT_HOME) is TooManyTries
            assert self.fails(sign_in, "Ada", PASSWORD, address=AT_HOME, browser=sign_in.know("Ada")) is None
        assert self.fails(sign_in, "Ada", address=AT_HOME) is Unauthorized

    def test_letters_that_a_keyboard_writes_in_parts_are_one_letter(self, sign_in, people):
        """Such a password is longer as it is typed than as it is counted."""
        typed = "n\u0303a\u0301e\u0301" * 40
        sign_in.change_password(people.find("Ada"), PASSWORD, typed)
        assert self.fails(sign_in, "Ada", typed, address=AT_HOME) is None

    def test_a_password_that_is_replaced_meanwhile_lets_nobody_in(self, sign_in, people, store):
        """A reset ends the sessions that there are; one that is about to begin must not outlive it."""
        real = sign_in._open

        def open_late(moderator):
            people.set_password(moderator, PasswordHasher().hash("another password of hers"))
            return real(moderator)

        sign_in._open = open_late
        assert self.fails(sign_in, "Ada", PASSWORD, address=AT_HOME) is Unauthorized
        sessions = store.sessions
        assert all(sessions.find(token, KNOWN_FOR) is None for token in ("", "x"))


class TestBehindAProxy:
    @pytest.fixture
    def ada(self, service):
        store = service.parts.store
        token, _ = make_sign_in_token(store, store.people.add("Ada", service.site, "moderator", who="operator"))
        with httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20) as client:
            form = {"token": token, "password": PASSWORD, "again": PASSWORD}
            assert client.post("/review/first-sign-in", data=form).status_code == 303
            yield client

    def enter(self, service, address, *, name="Ada", password="wrong password", cookies=None) -> int:
        headers = {"Sec-Fetch-Site": "same-origin"} | ({"X-Forwarded-For": address} if address else {})
        form = {"name": name, "password": password}
        with httpx.Client(base_url=service.url, cookies=cookies, timeout=20) as client:
            return client.post("/review/sign-in", data=form, headers=headers).status_code

    def test_nobody_is_kept_out_by_who_tries_out_names_somewhere_else(self, service, ada):
        """The service listens on this machine only, so all that comes has been passed on by a proxy here."""
        guesses = [self.enter(service, ELSEWHERE, name=f"made up {n}") for n in range(25)]
        assert guesses.count(429) >= 4
        assert self.enter(service, ELSEWHERE, password=PASSWORD) == 429
        assert self.enter(service, f"{AT_HOME}, {ELSEWHERE}", password=PASSWORD) == 429, "they cannot choose their own"
        assert self.enter(service, AT_HOME, password=PASSWORD) == 303
        assert self.enter(service, ELSEWHERE, password=PASSWORD, cookies=ada.cookies) == 303

    def test_headers_of_others_are_not_believed(self, start, plain_home):
        assert plain_home
        service = start(trusted_proxies="192.0.2.1")
        answers = [self.enter(service, f"198.51.100.{n}") for n in range(6)]
        assert answers == [401] * 5 + [429]

    def test_the_cookie_of_a_known_browser(self, service, ada):
        (name,) = [name for name in ada.cookies if name.endswith("-browser")]
        answer = ada.post("/review/sign-in", data={"name": "Ada", "password": PASSWORD})
        (cookie,) = [each for each in answer.headers.get_list("set-cookie") if each.startswith(name)]

        assert {"HttpOnly", "SameSite=lax", f"Max-Age={int(KNOWN_FOR.total_seconds())}"} <= set(cookie.split("; "))
        ada.post("/review/sign-out")
        assert name in ada.cookies, "a browser stays known where one has signed out"
        alone = httpx.get(f"{service.url}/review/", cookies={name: ada.cookies[name]})
        assert alone.status_code == 303, "it lets nobody in by itself"

    def test_no_address_is_written_anywhere(self, service, caplog):
        caplog.set_level(logging.DEBUG)
        self.enter(service, AT_HOME)
        self.enter(service, AT_HOME, name="Nobody")
        # The server's own lines are not written; pytest reads them all the same.
        records = [record for record in caplog.records if record.name != "uvicorn.access"]
        said = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in records)
        kept = b"".join(path.read_bytes() for path in service.settings.home.rglob("*") if path.is_file())

        assert "answered" in said
        assert AT_HOME not in said
        assert AT_HOME.encode() not in kept
