"""Who is asking: API keys of sites.

A key is ``mod_ID_SECRET``. ``ID`` (8 characters) is public and finds the row. Of the whole key only the SHA-256 is
kept, which is enough because ``SECRET`` has 256 random bits and cannot be guessed from it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from urllib.parse import urlsplit

from service.errors import InvalidSettings, Unauthorized
from service.store import Site, Store

_KEY = re.compile(r"mod_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
_ID_LETTERS = string.ascii_lowercase + string.digits
_NO_HASH = "0" * 64


def make_key(store: Store, site: Site) -> str:
    """A new key of a site. It is returned here and never again."""
    prefix = "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
    key = f"mod_{prefix}_{secrets.token_urlsafe(32)}"
    store.add_key(site, prefix, _hash(key))
    return key


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
    match = _KEY.fullmatch(key)
    stored = store.find_key(match[1]) if match else None
    is_right = hmac.compare_digest(_hash(key), stored.hash if stored else _NO_HASH)
    if stored is None or stored.revoked or not is_right:
        raise Unauthorized("this API key is not valid; make a new one with 'moderation add-site URL'")
    return stored.site


def site_url(url: str) -> str:
    """A site's address in the one form that is stored and compared: lower-case host, no slash at the end.

    Raises ``InvalidSettings`` for what is no web address.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme.lower() not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise InvalidSettings(f"{url!r} is not the address of a site; write it like https://blog.example.org")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
