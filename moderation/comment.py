"""The values that pass between all other modules: what came in, what was measured, what was decided.

All are frozen. A ``Comment`` that exists is valid: its constructor checks the contract and raises
:class:`~moderation.errors.InvalidComment` or :class:`~moderation.errors.CommentTooLarge`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.errors import CommentTooLarge, InvalidComment

Action = Literal["publish", "hold", "reject"]
Tier = Literal["full", "lexical"]

MAX_TEXT_CHARS = 50_000
MAX_POST_CHARS = 1_000_000
MAX_TITLE_CHARS = 2_000
MAX_NAME_CHARS = 1_000
MAX_URL_CHARS = 4_000
MAX_ID_CHARS = 200
MAX_THREAD = 20
MAX_TAGS = 100


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote it, as far as the site says. There is no place for an e-mail or an IP address, on purpose."""

    id: str | None = None
    name: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        _check_text("author.id", self.id, MAX_ID_CHARS)
        _check_text("author.name", self.name, MAX_NAME_CHARS)
        _check_text("author.url", self.url, MAX_URL_CHARS)


@dataclass(frozen=True, slots=True)
class Post:
    """What is commented on. ``text`` may be plain text or HTML, up to a million characters."""

    id: str | None = None
    title: str | None = None
    text: str | None = None
    url: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_text("post.id", self.id, MAX_ID_CHARS)
        _check_text("post.title", self.title, MAX_TITLE_CHARS)
        _check_text("post.text", self.text, MAX_POST_CHARS)
        _check_text("post.url", self.url, MAX_URL_CHARS)
        tags: object = self.tags
        if isinstance(tags, str):
            raise InvalidComment("post.tags", "must be a list")
        object.__setattr__(self, "tags", tuple(self.tags))  # a list would be no key of a cache
        if len(self.tags) > MAX_TAGS:
            raise CommentTooLarge("post.tags", f"at most {MAX_TAGS} tags")
        for tag in self.tags:
            _check_text("post.tags", tag, MAX_ID_CHARS)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another comment of the same post: the one that is answered, or an earlier one of the thread."""

    id: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        _check_text("parent.id", self.id, MAX_ID_CHARS)
        _check_text("parent.text", self.text, MAX_TEXT_CHARS)


@dataclass(frozen=True, slots=True)
class Comment:
    """Text that someone wrote, with the little context the site sends.

    ``thread`` is ``None`` when the site said nothing about it (the service may then fill it in) and ``()`` when it
    said there is none. ``hints`` are facts only the site can know, such as ``{"honeypot": True}``.
    """

    text: str
    id: str | None = None
    site: str | None = None
    kind: str = "comment"
    author: Author | None = None
    post: Post | None = None
    parent: Neighbour | None = None
    thread: tuple[Neighbour, ...] | None = None
    lang: str | None = None
    url: str | None = None
    created_at: str | None = None
    do_not_store: bool = False
    hints: Mapping[str, bool] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_text("text", self.text, MAX_TEXT_CHARS)
        if not self.text.strip():
            raise InvalidComment("text", "is empty")
        _check_text("id", self.id, MAX_ID_CHARS)
        _check_text("site", self.site, MAX_URL_CHARS)
        _check_text("kind", self.kind, MAX_ID_CHARS)
        if not self.kind:
            raise InvalidComment("kind", "is empty")
        _check_text("lang", self.lang, MAX_ID_CHARS)
        _check_text("url", self.url, MAX_URL_CHARS)
        _check_text("created_at", self.created_at, MAX_ID_CHARS)
        if self.thread is not None:
            object.__setattr__(self, "thread", tuple(self.thread))
            if len(self.thread) > MAX_THREAD:
                raise CommentTooLarge("thread", f"at most {MAX_THREAD} earlier comments")
        for name, value, kind in (
            ("author", self.author, Author),
            ("post", self.post, Post),
            ("parent", self.parent, Neighbour),
            *(("thread", item, Neighbour) for item in self.thread or ()),
        ):
            if value is not None and not isinstance(value, kind):
                raise InvalidComment(name, f"must be of type {kind.__name__}")
        for name in self.hints:
            _check_text("hints", name, MAX_ID_CHARS)
        object.__setattr__(self, "hints", dict(self.hints))  # a copy: the caller's may change

    def digest(self) -> str:
        """SHA-256 (hex) of exactly what is judged: canonical JSON, sorted keys, no spaces, UTF-8."""
        post = self.post or Post()
        judged = {
            "text": self.text,
            "author_name": self.author.name if self.author else None,
            "author_url": self.author.url if self.author else None,
            "kind": self.kind,
            "post_title": post.title,
            "post_text": post.text,
            "post_tags": list(post.tags),
            "parent_text": self.parent.text if self.parent else None,
            "thread_texts": [neighbour.text for neighbour in self.thread or ()],
            "lang": self.lang,
        }
        canonical = json.dumps(judged, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_dict(cls, data: object) -> Comment:
        """Build a comment from decoded JSON. Unknown fields and wrong types raise ``InvalidComment``."""
        values = _take(data, "", cls)
        if "author" in values:
            values["author"] = Author(**_take(values["author"], "author", Author))
        if "post" in values:
            values["post"] = Post(**_take(values["post"], "post", Post))
        if "parent" in values:
            values["parent"] = Neighbour(**_take(values["parent"], "parent", Neighbour))
        if "thread" in values:
            values["thread"] = tuple(Neighbour(**_take(item, "thread", Neighbour)) for item in values["thread"])
        if "text" not in values:
            raise InvalidComment("text", "is required")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Scores:
    """A calibrated probability per category, in the order of ``categories.CODES``; ``None`` = abstained."""

    hostile: float
    spam: float
    off_topic: float | None
    insult: float
    threat: float
    identity_attack: float
    profanity: float
    severe: float

    def __getitem__(self, code: str) -> float | None:
        if code not in CODES:
            raise KeyError(code)
        value: float | None = getattr(self, code)
        return value

    def to_dict(self) -> dict[str, float | None]:
        """Every category by its code, rounded to six digits, which is more than calibration can mean."""
        values = {code: self[code] for code in CODES}
        return {code: None if value is None else round(value, 6) for code, value in values.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, float | None]) -> Scores:
        """The inverse of :meth:`to_dict`. Raises ``ValueError`` when a category is missing or may not abstain."""
        missing = [code for code in CODES if code not in data or (data[code] is None and code not in MAY_ABSTAIN)]
        if missing:
            raise ValueError(f"no score for {', '.join(missing)}")
        return cls(**{code: data[code] for code in CODES})  # type: ignore[arg-type]  # checked just above


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a comment beside its scores.

    ``domains`` are the hosts of links in the text and of the author's URL, lower case, without a leading ``www.``.
    ``author_published`` counts earlier published comments of this author on this site (``None``: not known),
    ``campaign_size`` near-identical comments seen lately (0: none or not known). ``copied`` says that another author
    wrote the same before, without the link, ``known_spam`` that a moderator called the same spam. ``author_recent``
    and ``site_recent`` count the comments of this author, and all of this site, that came in before within each of
    :data:`moderation.policy_schema.WINDOWS` (empty: not known). ``encoder_available`` is false where the bundle has an
    encoder but it failed.
    """

    bundle: str | None = None
    tier: Tier | None = None
    links: int = 0
    domains: tuple[str, ...] = ()
    author_published: int | None = None
    campaign_size: int = 0
    copied: bool = False
    known_spam: bool = False
    author_recent: tuple[int, ...] = ()
    site_recent: tuple[int, ...] = ()
    encoder_available: bool = True


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that was looked at, whether or not it decided anything.

    ``value`` is what was found, ``limit`` the line it was held against, ``text`` a sentence for a moderator.
    """

    name: str
    value: float | str | bool | None
    limit: float | str | None
    fired: bool
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The five fields, ready for JSON."""
        # asdict would copy each value, which for the twenty reasons of a decision takes longer than finding them.
        return {item: getattr(self, item) for item in _REASON_FIELDS}


_REASON_FIELDS = tuple(item.name for item in fields(Reason))


@dataclass(frozen=True, slots=True)
class Decision:
    """What the machine decided about one digest, and everything needed to replay it.

    ``scores``, ``bundle`` and ``tier`` are ``None`` only when no model was available. ``author_message`` is what
    the author may be told; it never says which rule fired, so that it cannot be used to get around it.
    """

    action: Action
    scores: Scores | None
    reasons: tuple[Reason, ...]
    digest: str
    bundle: str | None
    policy: str
    tier: Tier | None
    author_message: str | None = None
    decision_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The decision as the API and ``moderation score`` write it; optional fields are left out when unset."""
        result: dict[str, Any] = {
            "action": self.action,
            "scores": self.scores.to_dict() if self.scores else None,
            "reasons": [reason.to_dict() for reason in self.reasons],
            "digest": self.digest,
            "bundle": self.bundle,
            "policy": self.policy,
            "tier": self.tier,
        }
        if self.author_message is not None:
            result["author_message"] = self.author_message
        if self.decision_id is not None:
            result["decision_id"] = self.decision_id
        return result


def _check_text(name: str, value: object, max_chars: int) -> None:
    """Refuse what no store or protocol carries faithfully: other types, NUL, lone surrogates, over-long text."""
    if value is None and name != "text":
        return
    if not isinstance(value, str):
        raise InvalidComment(name, "must be a string")
    if len(value) > max_chars:
        raise CommentTooLarge(name, f"has {len(value):,} characters, at most {max_chars:,} are accepted")
    if "\x00" in value:
        raise InvalidComment(name, "contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidComment(name, "contains a lone surrogate, which is not a character") from None


_OBJECTS = ("author", "post", "parent", "hints")
_LISTS = ("thread", "tags")


def _take(data: object, where: str, value_class: type) -> dict[str, Any]:
    """The known fields of a JSON object that are set (null means unset), their outer types checked."""
    if not isinstance(data, Mapping):
        raise InvalidComment(where or "comment", "must be an object")
    known = {item.name for item in fields(value_class)}
    taken: dict[str, Any] = {}
    for name, value in data.items():
        path = f"{where}.{name}" if where else str(name)
        if name not in known:
            raise InvalidComment(path[:MAX_ID_CHARS], "is not a known field")
        if value is None:
            continue
        if name in _OBJECTS and not isinstance(value, Mapping):
            raise InvalidComment(path, "must be an object")
        if name in _LISTS and not isinstance(value, list | tuple):
            raise InvalidComment(path, "must be a list")
        if name == "do_not_store" and not isinstance(value, bool):
            raise InvalidComment(path, "must be true or false")
        if name == "hints" and not all(isinstance(hint, bool) for hint in value.values()):
            raise InvalidComment(path, "must hold only true or false")
        if name == "tags" and not all(isinstance(tag, str) for tag in value):
            raise InvalidComment(path, "must hold only strings")
        taken[str(name)] = tuple(value) if name == "tags" else value
    return taken
