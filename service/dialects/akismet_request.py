"""What clients of Akismet send: forms in any charset, multipart or JSON, and what of it becomes a comment.

Only what is named here is looked at. Addresses of visitors (IP, e-mail), user agents, referrers and whatever else a
client forwards from its own server are read past: they reach no comment, no log and no store.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from moderation.comment import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_TAGS,
    MAX_TEXT_CHARS,
    MAX_URL_CHARS,
    Author,
    Comment,
    Neighbour,
    Post,
)
from service.auth import key_before
from service.dialects.intake import make_readable, read_any_body
from service.errors import InvalidRequest, TooLarge
from service.schemas import read_json

_MAX_FIELDS = 2_000
_MAX_FILES = 20

_CONTEXT = re.compile(r"comment_context(?:\[\d*\])?")
_GUID = re.compile(r"[0-9A-Za-z_-]{8,64}")
# Every codec that a page was ever written in. Python has others that decode no text, or take very long for it.
_CHARSETS = re.compile(
    r"utf-8(?:-sig)?|iso8859-\d+|cp(?:125\d|437|850|852|855|866|874|932|949|950)|koi8-[rtu]|mac-\w+|tis-620"
    r"|shift_jis\w*|euc_\w+|gb2312|gbk|gb18030|big5\w*|johab"
)

# What a client that tests the connection sends, and what has to come back (the e-mail is compared and forgotten).
_TEST_AUTHORS = frozenset({"akismet-guaranteed-spam", "viagra-test-123"})
_TEST_EMAIL = "akismet-guaranteed-spam@example.com"

# Fields that have a meaning of their own, so that no client can call one of them a honeypot by mistake.
_NO_HONEYPOTS = re.compile(r"(?:comment_|blog|user_|api_key|key|permalink|referrer|is_test|honeypot_field_name).*")
_WORDPRESS_HONEYPOT = "POST_ak_hp_textarea"


@dataclass(frozen=True, slots=True)
class Said:
    """The fields of one request, by name; of a field that stands there twice the last. ``tags`` is comment_context.

    ``host_key`` is the key that stands before the service's own name, as in ``KEY.moderation.example.org``.
    """

    fields: Mapping[str, str]
    tags: tuple[str, ...] = ()
    host_key: str = ""

    def get(self, *names: str) -> str:
        """The first of these fields that is not empty, without space around it; else an empty text."""
        return next((value for name in names if (value := self.fields.get(name, "").strip())), "")

    def says(self, name: str) -> bool:
        """Whether a field is set and does not say no."""
        return self.get(name).lower() not in {"", "0", "false", "no", "off"}

    @property
    def is_test(self) -> bool:
        """Whether the client says that nothing is to be learnt from it, or sends what is always spam."""
        return self.says("is_test") or self.is_always_spam

    @property
    def is_always_spam(self) -> bool:
        """Whether it is the comment with which the protocol lets clients see a spam verdict."""
        return self.get("comment_author") in _TEST_AUTHORS or self.get("comment_author_email").lower() == _TEST_EMAIL

    @property
    def is_always_ham(self) -> bool:
        """Whether the author is an administrator of the site, whose comments are always ham."""
        return "administrator" in {role.strip().lower() for role in self.get("user_role").split(",")}

    @property
    def guid(self) -> str | None:
        """The guid that the client got for this comment; ``None`` where there is none, or none that could be one."""
        found = self.get("guid")
        return found if _GUID.fullmatch(found) else None

    @property
    def handles(self) -> dict[str, str]:
        """What a comment is told from others with the same text by, where feedback comes without a guid."""
        named = {"author": "comment_author", "permalink": "permalink", "blog": "blog"}
        return {name: value for name, field in named.items() if (value := self.get(field))}


async def read_said(request: Request) -> Said:
    """The fields of the body, and of the address where the body has none of that name.

    Bytes that are not of the charset become U+FFFD. Raises ``TooLarge``, and ``InvalidRequest`` for what is no form and
    no JSON object.
    """
    body = await read_any_body(request)
    pairs = [*request.query_params.multi_items(), *await _read_pairs(request, body)]
    fields: dict[str, str] = {}
    tags: list[str] = []
    for name, value in pairs:
        if _CONTEXT.fullmatch(name):
            tags.append(make_readable(value))
        else:
            fields[make_readable(name)] = make_readable(value)
    return Said(fields, _read_tags(tags), key_before(request.headers.get("host", "")))


def make_comment(said: Said, *, comment_id: str | None, max_text_chars: int) -> Comment | None:
    """The comment that is spoken of; ``None`` where there is no text at all to judge.

    Without a text, as a sign-up has none, the author's name and address are. Of what only goes along with the text, ids
    and addresses that are too long to be any are left out and names are cut. Raises ``TooLarge`` for the text, which
    never is.
    """
    name, address = said.get("comment_author")[:MAX_NAME_CHARS], said.get("comment_author_url")[:MAX_URL_CHARS]
    text = said.fields.get("comment_content", "")
    text = text if text.strip() else " ".join(part for part in (name, address) if part)
    if not text:
        return None
    if len(text) > min(max_text_chars, MAX_TEXT_CHARS):
        limit = min(max_text_chars, MAX_TEXT_CHARS)
        raise TooLarge(f"comment_content has {len(text):,} characters, at most {limit:,} are accepted")
    permalink = said.get("permalink")
    user, parent = _id(said.get("user_id", "user_ID")), _id(said.get("comment_parent"))
    author = Author(user, name or None, address or None)
    post = Post(
        id=_id(said.get("comment_post_ID")) or _id(permalink),
        url=permalink if 0 < len(permalink) <= MAX_URL_CHARS else None,
        tags=said.tags,
    )
    written = said.get("comment_date_gmt")
    return Comment(
        text,
        id=comment_id,
        kind=said.get("comment_type", "content_type")[:MAX_ID_CHARS] or "comment",
        author=None if author == Author() else author,
        post=None if post == Post() else post,
        parent=None if parent is None else Neighbour(parent),
        lang=_first_language(said.get("blog_lang")),
        created_at=written if 0 < len(written) <= MAX_ID_CHARS else None,
        do_not_store=said.is_test,
        hints={"honeypot": True} if _has_honeypot(said) else {},
    )


async def _read_pairs(request: Request, body: bytes) -> list[tuple[str, str]]:
    given = request.headers.get("content-type", "")
    kind, options = parse_options_header(given)
    charset = find_charset(options.get(b"charset", b"").decode("latin-1"))
    if kind == b"multipart/form-data":
        return await _read_multipart(body, options.get(b"boundary", b""), charset)
    if kind.endswith((b"/json", b"+json")):
        return _read_object(read_json(body)) if body.strip() else []
    try:
        # As bytes first (each a sign of Latin-1): a sign of the charset may be half hidden by percent, half not.
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise InvalidRequest(f"the form has more than {_MAX_FIELDS:,} fields") from None
    return [(_decode(name, charset), _decode(value, charset)) for name, value in pairs]


def _decode(text: str, charset: str) -> str:
    return text.encode("latin-1").decode(charset, "replace")


def find_charset(name: str) -> str:
    """The codec of a charset as clients name it; UTF-8 where there is none of that name."""
    try:
        found = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        return "utf-8"
    if found in ("iso8859-1", "ascii"):
        return "cp1252"  # what browsers take these for
    return found if _CHARSETS.fullmatch(found) else "utf-8"


async def _read_multipart(body: bytes, boundary: bytes, charset: str) -> list[tuple[str, str]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    named = f'multipart/form-data; boundary="{boundary.decode("latin-1")}"; charset={charset}'
    parser = MultiPartParser(
        Headers({"content-type": named}),
        stream(),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=len(body) + 1,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError):
        raise InvalidRequest("the body is not multipart/form-data as its header says") from None
    try:
        return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    finally:
        await form.close()


def _read_object(data: object) -> list[tuple[str, str]]:
    """Names and values of a JSON object; what is nested deeper than a list of plain values is left out."""
    if not isinstance(data, dict):
        raise InvalidRequest("the body is JSON, but no object")
    if len(data) > _MAX_FIELDS:
        raise InvalidRequest(f"the body has more than {_MAX_FIELDS:,} fields")
    return [
        (name, text)
        for name, value in data.items()
        for item in (value if isinstance(value, list) else [value])
        if (text := _plain(item)) is not None
    ]


def _plain(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _read_tags(said: Iterable[str]) -> tuple[str, ...]:
    """Each tag once; what is too long for a tag, or one of too many, is left out."""
    tags = dict.fromkeys(tag for each in said if (tag := each.strip()) and len(tag) <= MAX_ID_CHARS)
    return tuple(tags)[:MAX_TAGS]


def _id(said: str) -> str | None:
    """What may be an id; clients write 0 where there is none."""
    return said if said not in ("", "0") and len(said) <= MAX_ID_CHARS else None


def _first_language(said: str) -> str | None:
    """``en, fr_ca`` is English: the languages of the blog, the first before the others."""
    first = said.partition(",")[0].strip().replace("_", "-")
    return first if 0 < len(first) <= MAX_ID_CHARS else None


def _has_honeypot(said: Said) -> bool:
    named = said.get("honeypot_field_name")
    names = [_WORDPRESS_HONEYPOT, *([named] if named and not _NO_HONEYPOTS.fullmatch(named) else [])]
    return any(said.get(name) for name in names)
