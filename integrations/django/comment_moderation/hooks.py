"""Where the service tells of changes: a view that checks who speaks, and a signal for whoever wants to know."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

status_changed = Signal()
"""Sent with ``comment_id``, ``old``, ``new`` and ``message`` (all that was told) for every change of a status.

``new`` is ``published``, ``held``, ``rejected`` or ``erased``. What a receiver raises has the service tell it later.
"""

_WINDOW_SECONDS = 300
_DAY_SECONDS = 86_400
_PREFIX = "whsec_"
# What Standard Webhooks asks for. Under a shorter key, or none, anybody could sign.
_LEAST_KEY_BYTES = 24
# As far as the year 33658; more digits are no moment, and thousands are no number for Python.
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


@csrf_exempt  # the signature says who it is from
@require_POST
async def webhook(request: HttpRequest) -> HttpResponse:
    """Takes messages of ``moderation webhooks add``: 204 where one was taken, 403 where its signature is not right.

    Each message counts once, whatever comes twice. Without a secret that nobody can guess nothing is taken (500).
    """
    body = request.body
    if not is_genuine(request, body):
        return HttpResponse("the signature is not right", status=403, content_type="text/plain")
    seen = f"comment-moderation:{request.headers['webhook-id']}"
    if await cache.aget(seen):
        return HttpResponse(status=204)
    message = json.loads(body)
    if message["event"].startswith("comment."):
        told = {name: message[name] for name in ("comment_id", "old", "new")}
        await status_changed.asend(sender=webhook, message=message, **told)
    # Only now: what a receiver could not take comes again.
    await cache.aset(seen, value=True, timeout=_DAY_SECONDS)
    return HttpResponse(status=204)


def is_genuine(request: HttpRequest, body: bytes) -> bool:
    """Whether a request was signed under ``MODERATION_WEBHOOK_SECRET``, and not long ago.

    Raises ``ImproperlyConfigured`` where that is not set, or no secret as the service makes them.
    """
    key = _read_key()
    try:
        identity, sent = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        given = request.headers["webhook-signature"].split()
    except KeyError:
        return False
    if not _SECONDS.fullmatch(sent) or abs(time.time() - int(sent)) > _WINDOW_SECONDS:
        return False
    mac = hmac.new(key, f"{identity}.{sent}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(mac)
    return any(hmac.compare_digest(expected, each.encode()) for each in given)


def _read_key() -> bytes:
    secret = getattr(settings, "MODERATION_WEBHOOK_SECRET", None)
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if isinstance(secret, str) else b""
    except ValueError:
        key = b""
    if len(key) < _LEAST_KEY_BYTES:
        raise ImproperlyConfigured("MODERATION_WEBHOOK_SECRET must be what 'moderation webhooks add' has printed")
    return key
