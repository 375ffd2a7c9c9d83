"""Signing in to the pages: passwords, sessions, and a limit on how often it is tried.

Passwords are kept as argon2id hashes, with the parameters that argon2-cffi recommends. A session is a random token in
a cookie, of which the store has the SHA-256. How often somebody has tried is kept in memory: it is forgotten with a
restart, and several processes count each for itself.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from service.auth import hash_token
from service.errors import Forbidden, InvalidRequest, NotFound, TooManyTries, Unauthorized
from service.settings import Settings
from service.statuses import RIGHTS, Right
from service.store import Moderator, Session, Site, Store

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 200

# Tries that may come at once, and seconds until one more is granted: for one name, and for all names together.
_TRIES_PER_NAME = (5, 30.0)
_TRIES_IN_ALL = (40, 1.0)
_MAX_NAMES = 10_000
# Each takes 64 MiB while it runs.
_HASHES_AT_ONCE = 4

_WRONG = "the name or the password is not right"
_USED = "this link has been used or is too old; ask whoever runs the service for a new one"


def may(moderator: Moderator, right: Right, site: Site) -> bool:
    """Whether a moderator may do that on a site."""
    role = moderator.roles.get(site.url)
    return role is not None and not moderator.disabled and right in RIGHTS[role]


def require(moderator: Moderator, right: Right, site: Site) -> None:
    """Raise ``Forbidden`` unless the moderator may; ``NotFound`` where the site is not one of theirs at all."""
    if not may(moderator, "read", site):
        raise NotFound("there is no such site among yours")
    if not may(moderator, right, site):
        needed = {"decide": "a moderator", "configure": "a maintainer"}.get(right, "a viewer")
        raise Forbidden(f"this needs the role of {needed} on {site.url}; yours is {moderator.roles[site.url]}")


class SignIn:
    """Lets moderators in and out. Thread-safe. All methods may raise ``StoreBusy`` or ``StoreUnavailable``."""

    def __init__(self, store: Store, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` (seconds) times tries."""
        self._store = store
        self._idle = timedelta(hours=settings.session_hours)
        self._lasts = timedelta(days=settings.session_days)
        self._hasher = PasswordHasher()
        self._hashing = threading.BoundedSemaphore(_HASHES_AT_ONCE)
        self._tries = _Tries(clock)

    def enter(self, name: str, password: str) -> str:
        """The token of a new session. Unknown names take as long as wrong passwords.

        Raises:
            TooManyTries: it was tried too often, with this name or with all names together.
            Unauthorized: the name or the password is not right; which of them is never said.
        """
        name = name.strip()
        self._tries.take(name)
        self._check(name, password)
        self._tries.give_back(name)
        return self._open(self._store.people.find(name))

    def find(self, token: str) -> Session | None:
        """The session of a token; ``None`` where it is unknown or has ended."""
        return self._store.sessions.find(hash_token(token), self._idle)

    def leave(self, token: str) -> None:
        """End a session."""
        self._store.sessions.close(hash_token(token))

    def leave_everywhere(self, moderator: Moderator) -> None:
        """End every session of a moderator."""
        self._store.sessions.close_all(moderator)

    def who_is_invited(self, sign_in_token: str) -> Moderator:
        """Whose link for a first sign-in that is, without using it. Raises ``NotFound``."""
        moderator = self._store.people.find_sign_in(hash_token(sign_in_token))
        if moderator is None:
            raise NotFound(_USED)
        return moderator

    def choose_password(self, sign_in_token: str, password: str) -> str:
        """Use a link for a first sign-in: set the password, and the token of a new session.

        Raises:
            InvalidRequest: the password cannot be taken; the link still works.
            NotFound: the link is unknown, used or too old.
        """
        moderator = self.who_is_invited(sign_in_token)
        kept = self._hash(_usable(password, moderator))
        taken = self._store.people.take_sign_in(hash_token(sign_in_token), kept)
        if taken is None:
            raise NotFound(_USED)
        return self._open(taken)

    def change_password(self, moderator: Moderator, present: str, new: str) -> str:
        """Set another password, which ends every session; the token of a new one.

        Raises:
            TooManyTries: the present password was tried too often.
            Unauthorized: the present password is not right.
            InvalidRequest: the new one cannot be taken.
        """
        self._tries.take(moderator.name)
        self._check(moderator.name, present)
        self._tries.give_back(moderator.name)
        self._store.people.set_password(moderator, self._hash(_usable(new, moderator)))
        return self._open(moderator)

    def _open(self, moderator: Moderator) -> str:
        token = secrets.token_urlsafe(32)
        self._store.sessions.open(moderator, hash_token(token), self._lasts)
        return token

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def _check(self, name: str, password: str) -> None:
        # Where there is none, a hash that nobody knows is checked, so that the time taken does not tell.
        nobodys = self._nobodys
        kept = self._store.people.password_hash(name) if _may_be_name(name) else None
        try:
            with self._hashing:
                self._hasher.verify(kept or nobodys, _same_form(password[: MAX_PASSWORD_CHARS + 1]))
        except (VerificationError, InvalidHashError):
            kept = None
        if kept is None:
            raise Unauthorized(_WRONG)

    @cached_property
    def _nobodys(self) -> str:
        return self._hash(secrets.token_urlsafe(32))


@dataclass(slots=True)
class _Bucket:
    """Tries that are left, as of a moment."""

    left: float
    at: float


class _Tries:
    """Token buckets, one per name and one for all. A try is given back when it was right."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_all = _Bucket(_TRIES_IN_ALL[0], clock())
        self._names: dict[str, _Bucket] = {}

    def take(self, name: str) -> None:
        """Use up a try. Raises ``TooManyTries`` where there is none left."""
        now = self._clock()
        with self._lock:
            if len(self._names) > _MAX_NAMES:
                self._clear(now)
            mine = self._names.setdefault(hash_token(name), _Bucket(_TRIES_PER_NAME[0], now))
            _fill(mine, now, _TRIES_PER_NAME)
            _fill(self._in_all, now, _TRIES_IN_ALL)
            for bucket, (_, seconds) in ((mine, _TRIES_PER_NAME), (self._in_all, _TRIES_IN_ALL)):
                if bucket.left < 1:
                    raise TooManyTries(max(1, math.ceil((1 - bucket.left) * seconds)))
            mine.left -= 1
            self._in_all.left -= 1

    def give_back(self, name: str) -> None:
        """That try was right: it does not count."""
        with self._lock:
            self._names.pop(hash_token(name), None)
            self._in_all.left = min(self._in_all.left + 1, _TRIES_IN_ALL[0])

    def _clear(self, now: float) -> None:
        """Forget names that have all their tries again."""
        for bucket in self._names.values():
            _fill(bucket, now, _TRIES_PER_NAME)
        self._names = {name: bucket for name, bucket in self._names.items() if bucket.left < _TRIES_PER_NAME[0]}


def _fill(bucket: _Bucket, now: float, rate: tuple[int, float]) -> None:
    most, seconds = rate
    bucket.left = min(most, bucket.left + (now - bucket.at) / seconds)
    bucket.at = now


def _usable(password: str, moderator: Moderator) -> str:
    """The password in the form that is hashed. Raises ``InvalidRequest``."""
    password = _same_form(password)
    said = None
    if len(password) < MIN_PASSWORD_CHARS:
        said = f"must have at least {MIN_PASSWORD_CHARS} characters"
    elif len(password) > MAX_PASSWORD_CHARS:
        said = f"must have at most {MAX_PASSWORD_CHARS} characters"
    elif password.casefold() == moderator.name.casefold() or len(set(password)) < 3:
        said = "is too easy to guess; take several words that do not belong together"
    if said is not None:
        raise InvalidRequest(f"the password {said}", [{"field": "password", "message": said}])
    return password


def _same_form(password: str) -> str:
    """Keyboards write the same accented letter in two ways; what a browser cannot have sent is replaced."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "replace").decode()


def _may_be_name(name: str) -> bool:
    """Whether somebody can have that name. Databases choke on some that nobody can, such as one with a NUL."""
    return 0 < len(name) <= 200 and name.isprintable()
