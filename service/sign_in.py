"""Signing in to the pages: passwords, sessions, and a limit on how often it is tried.

Passwords are kept as argon2id hashes, with the parameters that argon2-cffi recommends. A session is a random token in
a cookie, of which the store has the SHA-256. A second cookie says that somebody has signed in in this browser before;
it lets nobody in, and only spares them the limits for strangers (see ``tries``).
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from service.auth import hash_token
from service.errors import Forbidden, InvalidRequest, NotFound, TooManyTries, Unauthorized
from service.hashes import Hashes
from service.settings import Settings
from service.statuses import RIGHTS, Right
from service.store import Moderator, Session, Site, Store
from service.tries import Lane, Taken, Tries

MIN_PASSWORD_CHARS = 12
MAX_PASSWORD_CHARS = 200
# Some keyboards write one letter as several signs, which are counted as one once they are put together.
_LONGEST_TYPED = 10 * MAX_PASSWORD_CHARS

KNOWN_FOR = timedelta(days=180)
"""How long a browser is known after somebody has signed in there."""

# How many passwords are checked at once, and how many may wait for it: each check takes 64 MiB. Who is known waits only
# for others who are.
_STRANGERS, _KNOWN = (3, 6), (1, 6)

_BROWSER = re.compile(r"(([0-9]{1,12})\.[A-Za-z0-9_-]{22})\.([0-9a-f]{64})")

_WRONG = "the name or the password is not right"
_USED = "this link has been used, is too old, or its maker may no longer make it; ask for a new one"


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

    def __init__(
        self, store: Store, settings: Settings, hashes: Hashes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` (seconds) times tries."""
        self._store = store
        self._hashes = hashes
        self._idle = timedelta(hours=settings.session_hours)
        self._lasts = timedelta(days=settings.session_days)
        self._hasher = PasswordHasher()
        self._strangers, self._known = Lane(*_STRANGERS), Lane(*_KNOWN)
        self._tries = Tries(clock)

    def enter(self, name: str, password: str, *, address: str | None = None, browser: str = "") -> str:
        """The token of a new session. Unknown names take as long as wrong passwords.

        ``address`` stands for who asks, as far as that is known; ``browser`` is what :meth:`know` gave this browser.

        Raises:
            TooManyTries: it was tried too often, or too many are being checked.
            Unauthorized: the name or the password is not right; which of them is never said.
        """
        name = name.strip()
        kept = self._store.people.password_hash(name) if _may_be_name(name) else None
        known = self._find_browser(name, browser, kept)
        if known is None:
            taken, lane = self._tries.take(name, address), self._strangers
        else:
            taken, lane = self._tries.take_known(known), self._known
        self._check(kept, password, lane, taken)
        token = self._open(self._store.people.find(name))
        if self._store.people.password_hash(name) != kept:
            # Meanwhile another one was set, or the account disabled, which ended all sessions that there were by then.
            self.leave(token)
            raise Unauthorized(_WRONG)
        return token

    def know(self, name: str) -> str:
        """What a browser is given in which somebody has just signed in; another password makes it worthless."""
        kept = self._store.people.password_hash(name) or ""
        issued = f"{int(self._store.now().timestamp())}.{secrets.token_urlsafe(16)}"
        return f"{issued}.{self._hashes.browser(name, issued, kept)}"

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
            TooManyTries: the present password was tried too often, or too many are being checked.
            Unauthorized: the present password is not right.
            InvalidRequest: the new one cannot be taken.
        """
        kept = self._store.people.password_hash(moderator.name)
        # Who is signed in is no stranger, and nobody else can use up these tries.
        self._check(kept, present, self._known, self._tries.take_known(f"signed in {moderator.row}"))
        self._store.people.set_password(moderator, self._hash(_usable(new, moderator)))
        return self._open(moderator)

    def _open(self, moderator: Moderator) -> str:
        token = secrets.token_urlsafe(32)
        self._store.sessions.open(moderator, hash_token(token), self._lasts)
        return token

    def _hash(self, password: str) -> str:
        with self._known.enter():
            return self._hasher.hash(password)

    def _check(self, kept: str | None, password: str, lane: Lane, taken: Taken) -> None:
        """Raise ``Unauthorized`` unless it is the password of that hash. A right one gives its try back."""
        # Where there is none, a hash that nobody knows is checked, so that the time taken does not tell.
        nobodys = self._nobodys
        password = _same_form(password[:_LONGEST_TYPED])[: MAX_PASSWORD_CHARS + 1]
        is_right = False
        try:
            with lane.enter():
                is_right = self._hasher.verify(kept or nobodys, password) and kept is not None
        except TooManyTries:
            self._tries.give_back(taken)
            raise
        except (VerificationError, InvalidHashError):
            pass
        if not is_right:
            raise Unauthorized(_WRONG)
        self._tries.give_back(taken)

    def _find_browser(self, name: str, browser: str, kept: str | None) -> str | None:
        """By what tries of a browser are counted; ``None`` where it is not known under that name."""
        match = _BROWSER.fullmatch(browser)
        issued = match[1] if match else ""
        is_ours = hmac.compare_digest(self._hashes.browser(name, issued, kept or ""), match[3] if match else "")
        if match is None or kept is None or not is_ours:
            return None
        return issued if self._store.now().timestamp() - int(match[2]) < KNOWN_FOR.total_seconds() else None

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe(32))


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
