"""What all dialects do alike: read a body before its key is known, take in any text, name the caller's fault."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service import schemas
from service.api import read_whole_body
from service.errors import ServiceError

_UNREADABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A protocol: its routes, the paths that are its own, and how it says that something is wrong.

    ``owns`` is asked with the path of a request, also of one that no route answers; ``answer`` gets whatever the
    service raised on such a path: the dialect's own refusals, a missing route, a busy database, a bug.
    """

    name: str
    router: APIRouter
    owns: Callable[[str], bool]
    answer: Callable[[ServiceError], Response]


def make_readable(text: str) -> str:
    """The text with U+FFFD in place of NUL and lone surrogates, which no store carries faithfully."""
    return _UNREADABLE.sub("\ufffd", text)


async def read_any_body(request: Request, *, at_most: int | None = None) -> bytes:
    """The body, whoever sends it: some protocols put the key inside.

    Raises ``TooLarge`` past ``at_most`` bytes or past the service's limit.
    """
    return await read_whole_body(request, at_most=at_most)


def read_any_json(body: bytes) -> Any:
    """Decode a body, also behind a byte order mark, as some clients write it. Raises ``InvalidRequest``."""
    return schemas.read_json(body.removeprefix(codecs.BOM_UTF8))
