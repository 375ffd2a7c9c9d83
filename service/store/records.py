"""What goes into the store and comes out of it: frozen values, no database types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moderation.comment import Comment, Decision, Neighbour, Post
from service.statuses import Status


@dataclass(frozen=True, slots=True)
class Site:
    """A site that sends comments. ``policy_digest`` is ``None`` while it follows HOME/policy.toml."""

    row: int
    url: str
    policy_digest: str | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as it is kept: ``hash`` is SHA-256 (hex) of the whole key."""

    site: Site
    hash: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class KeyDates:
    """An API key as its owner may see it: the public part of it, when it was made, and when it ended if it did."""

    prefix: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """A comment that the store can show as a neighbour; ``version`` is the row that holds its text."""

    neighbour: Neighbour
    version: int


@dataclass(frozen=True, slots=True)
class Context:
    """What the store knows around a comment. ``author_published`` is ``None`` without an author id."""

    post: Post | None = None
    parent: Known | None = None
    thread: tuple[Known, ...] = ()
    author_published: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A comment with its decision, ready to be kept.

    ``comment`` is what was judged, ``sent_digest`` the digest of what was sent. ``known`` are the neighbours in it that
    the store filled in: they are kept as references, so that erasing one erases it everywhere.
    """

    comment: Comment
    sent_digest: str
    text_hash: str
    decision: Decision
    facts: Mapping[str, Any]
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A comment's place in the store with one of its decisions. ``seen`` says that it was there before."""

    id: str | None
    site: str
    status: Status
    sent_digest: str
    decision: Decision
    created_at: datetime
    seen: bool = False


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One row of the status log."""

    old: Status | None
    new: Status
    who: str
    at: datetime
