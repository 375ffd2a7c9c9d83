"""Asks the service, over its native API, with what Python has."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from django.conf import settings

_log = logging.getLogger(__name__)

# Nothing from the environment: a proxy there would read every comment.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """What became of a comment: ``published``, ``held`` or ``rejected``.

    ``author_message`` is what its author may be told; ``fault`` says why nobody was asked, and then it is held.
    """

    status: str
    author_message: str = ""
    decision_id: str = ""
    fault: str = ""


def submit(comment: Mapping[str, Any]) -> Answer:
    """Have a comment judged: the fields of ``POST /v1/comments``. Never raises: in doubt it is held for a person."""
    try:
        said = _ask("POST", "/v1/comments", comment)
        status = said["status"]
    except HTTPError as error:
        with error:
            _log.error("the moderation service refused a comment", extra={"status": error.code})
        return Answer("held", fault=f"http_{error.code}")
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        _log.warning("the moderation service could not be asked", extra={"error": type(error).__name__})
        return Answer("held", fault="unreachable")
    return Answer(status, said.get("author_message") or "", said.get("decision_id") or "")


def erase(comment_id: str) -> None:
    """Have a comment forgotten, where its author or the site deletes it. Raises ``OSError`` if that fails."""
    _ask("DELETE", f"/v1/comments/{quote(comment_id, safe='')}")


def _ask(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    request = Request(  # noqa: S310  # the address is the operator's own
        settings.MODERATION_URL.rstrip("/") + path,
        data=None if body is None else json.dumps(_without_empty(body)).encode(),
        method=method,
        headers={"Authorization": f"Bearer {settings.MODERATION_KEY}", "Content-Type": "application/json"},
    )
    with _opener.open(request, timeout=getattr(settings, "MODERATION_TIMEOUT", 3.0)) as answer:
        return json.loads(answer.read() or b"{}")


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty, in objects inside too: the service takes no empty ids."""
    kept = {name: _without_empty(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in kept.items() if value not in (None, "", {})}
