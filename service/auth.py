"""Who is asking: API keys of sites, and the token with which a moderator signs in for the first time.

A key is 60 hexadecimal digits, so that it fits wherever clients put one: a form of WordPress that drops every other
sign, the first label of a host name (63 signs, capitals not told apart), a header, an address. The first 8 are public
and find the row. Of the whole key only the SHA-256 is kept, which is enough because the other 52 are 208 random bits
and cannot be guessed from it. Keys of the form ``mod_ID_SECRET``, which were made before, go on working where
their capitals are kept: what is kept of them is the hash of just that spelling.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from service.errors import InvalidSettings, Unauthorized
from service.store import Moderator, Site, Store

SIGN_IN_DAYS = 7
"""How long a token for a first sign-in works."""

PREFIX_CHARS = 8
"""So much of a key is public."""

_KEY = re.compile(rf"([0-9a-f]{{{PREFIX_CHARS}}})[0-9a-f]{{52}}|mod_([a-z0-9]{{{PREFIX_CHARS}}})_[A-Za-z0-9_-]{{43}}")
_OLD_KEY = re.compile(rf"mod_[a-z0-9]{{{PREFIX_CHARS}}}_[a-z0-9_-]{{43}}", re.IGNORECASE)
_HOST_KEY = re.compile(rf"([0-9a-f]{{60}}|{_OLD_KEY.pattern})\.")
_KEY_BYTES = 30
_NO_HASH = "0" * 64
_USUAL_PORTS = {"http": 80, "https": 443}
# The underscore is in no standard, and in some names of local networks.
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NOT_IN_ADDRESS = re.compile(r"[<>\"'`{}|\\^]")


def make_key(store: Store, site: Site, *, who: str = "operator") -> str:
    """A new key of a site. It is returned here and never again."""
    key = secrets.token_hex(_KEY_BYTES)
    store.add_key(site, key[:PREFIX_CHARS], hash_token(key), who=who)
    return key


def read_prefix(key: str) -> str | None:
    """The public part of a key, or of what somebody has copied of one; ``None`` where it cannot be one."""
    match = re.fullmatch(rf"(?:mod_)?([a-z0-9]{{{PREFIX_CHARS}}})(?:_?[A-Za-z0-9_.…-]*)?", key.strip())
    return match[1] if match else None


def make_sign_in_token(store: Store, moderator: Moderator, *, who: str = "operator") -> tuple[str, datetime]:
    """A token that lets a moderator in once, and until when. It is returned here and never again."""
    token, until = f"sign_{secrets.token_urlsafe(32)}", store.now() + timedelta(days=SIGN_IN_DAYS)
    store.people.give_sign_in(moderator, hash_token(token), until, who=who)
    return token, until


def sign_in_link(address: str, token: str) -> str:
    """Where a moderator goes with a token, on a service that is reached at ``address``."""
    return f"{address}/review/first-sign-in?token={token}"


def find_site(store: Store, headers: Mapping[str, str]) -> Site:
    """The site whose key stands in ``Authorization: Bearer KEY`` or ``X-API-Key: KEY`` (names in lower case).

    Raises ``Unauthorized`` with the same words whether the key is unknown, wrong or revoked.
    """
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    header = headers.get("x-api-key", "").strip()
    # A proxy or a plugin in front may have put a token of its own into Authorization.
    key = bearer if _KEY.fullmatch(bearer) else header or bearer
    if not key:
        raise Unauthorized("send the site's API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
    return find_site_of_key(store, key)


def looks_like_key(key: str) -> bool:
    """Whether it has the form of a key, so that it is worth a look."""
    return _KEY.fullmatch(key) is not None


def is_old_key(key: str) -> bool:
    """Whether it is a key of the form before, or one that has lost its capitals, by which those are told apart."""
    return _OLD_KEY.fullmatch(key) is not None


def find_site_of_key(store: Store, key: str) -> Site:
    """The site of a key, wherever it stood. Raises ``Unauthorized`` as :func:`find_site`."""
    match = _KEY.fullmatch(key)
    stored = store.find_key(match[1] or match[2]) if match else None
    is_right = hmac.compare_digest(hash_token(key), stored.hash if stored else _NO_HASH)
    if stored is None or stored.revoked or not is_right:
        raise Unauthorized("this API key is not valid; make a new one with 'moderation add-site URL'")
    return stored.site


def key_before(host: str) -> str:
    """The key that is the first label of a host name, as in ``KEY.moderation.example``; empty where there is none.

    One of the form before is not valid there, since a host name has no capitals, but can be told from a name.
    """
    match = _HOST_KEY.match(host.lower())
    return match[1] if match else ""


def site_url(url: str) -> str:
    """A site's address in the one form that is stored and compared.

    The host in lower case and ASCII, without a dot at its end; no port where it is the usual one; no slash at the end.
    Raises ``InvalidSettings`` for what is no web address.
    """
    url = url.strip()
    try:
        # The parser would drop some of these silently.
        parts = None if _NOT_IN_ADDRESS.search(url) or not _is_visible(url) else urlsplit(url)
        host, port = (_ascii_host(parts.hostname or ""), parts.port) if parts else ("", None)
    except ValueError:
        parts = None
    if (
        parts is None
        or not host
        or parts.scheme not in _USUAL_PORTS
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise InvalidSettings(f"{url!r} is not the address of a site; write it like https://blog.example.org")
    shown_port = "" if port is None or port == _USUAL_PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{host}{shown_port}{parts.path.rstrip('/')}"


def _is_visible(text: str) -> bool:
    return not any(unicodedata.category(sign)[0] in "CZ" for sign in text)


def _ascii_host(host: str) -> str:
    """A host name or address in lower-case ASCII; empty where it is neither. May raise ``ValueError``."""
    if ":" in host:
        return "" if "%" in host else f"[{IPv6Address(host)}]"  # a zone means something on one machine only
    host = host if host.isascii() else host.encode("idna").decode("ascii")
    host = host.lower().removesuffix(".")
    return host if _HOST.fullmatch(host) and len(host) <= 253 else ""


def hash_token(token: str) -> str:
    """What is kept of a key or token with 256 random bits: its SHA-256 (hex)."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
