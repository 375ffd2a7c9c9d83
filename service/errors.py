"""Everything the service raises on purpose, and the one JSON error body of the native API.

::

    ServiceError                  has a status, a code of the closed list CODES, and a sentence for the caller
    ├── InvalidSettings           the environment or a command's option says something that cannot be meant
    ├── InvalidRequest            422 the body is not what the route takes (bad JSON, wrong shape, a rule broken)
    ├── TooLarge                  413 the body, or one of its fields, is longer than its limit
    ├── Unauthorized              401 no key, or not a valid one
    │   └── NotSignedIn           nobody is signed in in this browser, or no longer
    ├── WrongSite                 403 the key belongs to another site than the body names
    ├── Forbidden                 403 the moderator's role on the site does not permit it
    ├── ForeignRequest            403 a page of somebody else asks the browser to write here
    ├── NotFound                  404 there is no such thing on this site
    ├── CommentErased             410 the comment was erased and is not taken in again
    ├── TextChanged               409 the text has changed since it was read; the details hold the new one
    ├── EntryTaken                409 another moderator holds the queue entry, or it has been decided
    ├── NothingToAppeal           409 the comment is not rejected
    ├── VerdictStands             409 the verdict was replaced by a later one, or its text is no longer kept
    ├── TooManyTries              429 too many tries to sign in
    ├── TooManyStreams            429 the site has as many event streams open as it may
    ├── Overloaded                503 the process has as many event streams open as it can
    ├── UnknownHost               400 the Host header is not one of MODERATION_ALLOWED_HOSTS
    └── StoreError                503 the database did not do its part; nothing of the request was kept
        ├── StoreBusy             locked by someone else for longer than the timeout: try again
        └── StoreUnavailable      away, read-only, full, damaged, or written by a newer version
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CODES: Mapping[str, str] = {
    "invalid_request": "The body is not valid JSON in UTF-8, has the wrong shape, or breaks a rule of a field.",
    "too_large": "The body or one of its fields is longer than its limit. Comments are refused, never cut.",
    "unauthorized": "There is no API key, or it is unknown or revoked.",
    "wrong_site": "The body names another site than the one the key belongs to.",
    "forbidden": "The moderator's role on this site does not permit it.",
    "foreign_request": "The request to write came from a page of another site, so it was not obeyed.",
    "not_found": "This site has no such thing, or there is no such route.",
    "method_not_allowed": "The route exists, but not with this method.",
    "erased": "The comment was erased on request; its id is not taken in again.",
    "text_changed": "The text has changed since it was read; the details hold the new text and its digest.",
    "taken": "Another moderator holds the queue entry, or it has been decided.",
    "nothing_to_appeal": "The comment is not rejected, so there is nothing to appeal against.",
    "verdict_stands": "A later verdict has replaced this one (undo that one first), or its text is no longer kept.",
    "too_many_tries": "There were too many tries to sign in. Wait Retry-After seconds.",
    "too_many_streams": "The site has as many event streams open as it may; close one, or try again later.",
    "unknown_host": "The Host header is not one of MODERATION_ALLOWED_HOSTS.",
    "busy": "The database is locked or the service overloaded. Nothing was kept; try again after Retry-After seconds.",
    "unavailable": "The database is away, read-only or full. Nothing was kept; the operator has to act.",
    "internal": "A fault of the service. Nothing was kept; the log has the details under the same time.",
}


class ServiceError(Exception):
    """Root of the tree: what a caller is told, and how. ``retry_after_seconds`` becomes the header of that name."""

    status = 500
    code = "internal"
    retry_after_seconds: int | None = None

    def __init__(self, message: str, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)


class InvalidSettings(ServiceError):
    """The environment or a command's option says something that cannot be meant; the service does not start."""


class InvalidRequest(ServiceError):
    """The body is not what the route takes. ``details`` name each field and what is wrong with it."""

    status = 422
    code = "invalid_request"


class TooLarge(ServiceError):
    """The body, or one of its fields, is longer than its limit."""

    status = 413
    code = "too_large"


class Unauthorized(ServiceError):
    """No key, an unknown one or a revoked one; which of these is never said."""

    status = 401
    code = "unauthorized"


class NotSignedIn(Unauthorized):
    """Nobody is signed in in this browser, or their session has ended."""

    def __init__(self) -> None:
        super().__init__("sign in to see this page")


class WrongSite(ServiceError):
    """The key belongs to another site than the body names."""

    status = 403
    code = "wrong_site"


class Forbidden(ServiceError):
    """What a moderator asks for is more than their role on the site permits."""

    status = 403
    code = "forbidden"


class ForeignRequest(ServiceError):
    """A write under /review that no page of ours asked for."""

    status = 403
    code = "foreign_request"

    def __init__(self) -> None:
        super().__init__("this request did not come from a page of this service, so nothing was changed")


class NotFound(ServiceError):
    """There is no such thing on this site; other sites' things are not found either."""

    status = 404
    code = "not_found"


class CommentErased(ServiceError):
    """A comment that was erased and is sent again, changed or not."""

    status = 410
    code = "erased"

    def __init__(self) -> None:
        super().__init__("this comment was erased; a new one needs an id of its own")


class TextChanged(ServiceError):
    """A verdict on a text that is no longer the comment's. ``details`` hold the new text and its digest."""

    status = 409
    code = "text_changed"

    def __init__(self, digest: str, text: str | None) -> None:
        details = [{"field": "digest", "message": digest}]
        if text is not None:
            details.append({"field": "text", "message": text})
        super().__init__("the text has changed since it was read; read the new one, which is in the details", details)
        self.digest = digest


class EntryTaken(ServiceError):
    """A claim of, or a verdict on, a queue entry that somebody else holds or that has been decided."""

    status = 409
    code = "taken"

    def __init__(self, *, is_decided: bool) -> None:
        how = "has been decided meanwhile" if is_decided else "is held by another moderator"
        super().__init__(f"this comment {how}; go on with the next one")
        self.is_decided = is_decided


class NothingToAppeal(ServiceError):
    """An appeal about a comment that is published, or still waits for a moderator."""

    status = 409
    code = "nothing_to_appeal"

    def __init__(self) -> None:
        super().__init__("this comment is not rejected, so there is nothing to appeal against")


class VerdictStands(ServiceError):
    """A verdict that cannot be undone: a later one has replaced it, or its comment could no longer be read."""

    status = 409
    code = "verdict_stands"

    def __init__(self, *, is_forgotten: bool) -> None:
        super().__init__(
            "the text is no longer kept, so nobody could judge it again"
            if is_forgotten
            else "a later verdict on the same text has replaced this one; undo that one first"
        )


class TooManyTries(ServiceError):
    """Too many tries to sign in, or too many that are being looked at."""

    status = 429
    code = "too_many_tries"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"there were too many tries to sign in; wait {retry_after_seconds} seconds and try again")
        self.retry_after_seconds = retry_after_seconds


class TooManyStreams(ServiceError):
    """One more event stream than a site may have open at a time."""

    status = 429
    code = "too_many_streams"
    retry_after_seconds = 30


class Overloaded(ServiceError):
    """More event streams than this process can keep open."""

    status = 503
    code = "busy"
    retry_after_seconds = 30


class UnknownHost(ServiceError):
    """The Host header is none that this service answers to."""

    status = 400
    code = "unknown_host"


class StoreError(ServiceError):
    """The database did not do its part; nothing of the request was kept."""

    status = 503


class StoreBusy(StoreError):
    """Locked by someone else for longer than the timeout."""

    code = "busy"
    retry_after_seconds = 2


class StoreUnavailable(StoreError):
    """Away, read-only, full, damaged, or written by a newer version."""

    code = "unavailable"
    retry_after_seconds = 30


def error_body(code: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The one JSON error body: ``{"error": {"code": ..., "message": ..., "details": [{"field": ..., ...}]}}``."""
    return {"error": {"code": code, "message": message, "details": [dict(detail) for detail in details]}}
