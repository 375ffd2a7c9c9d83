"""What clients of Akismet send: forms in any charset, multipart or JSON, and what of it becomes a comment.

Only what is named here is looked at. Addresses of visitors (IP, e-mail), user agents, referrers and whatever else a
client forwards from its own server are read past: they reach no comment, no log and no store.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

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
from service.dialects.intake import make_readable, read_any_body, read_any_json
from service.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_BODY_BYTES = 1024 * 1024
"""So long a body may be: twice as much as the longest text takes in a form, which forwards it once more."""

_MAX_FIELDS = 2_000
_MAX_FIELD_NAME_BYTES = 500
_MAX_HEADER_BYTES = 2_000  # of a part: it holds the name of a field or a file
_MAX_SIGN_BYTES = 4  # in every charset below

_TEXT = "comment_content"
_CONTEXT = re.compile(r"comment_context(?:\[\d*\])?")
# Never goes back over what it has read, whatever stands there.
_QUOTED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+', re.DOTALL)
_GUID = re.compile(r"[0-9A-Za-z_-]{8,64}")
# Every codec that a page was ever written in. Python has others that decode no text, or take very long for it.
_CHARSETS = re.compile(
    r"utf-8(?:-sig)?|iso8859-\d+|cp(?:125\d|437|850|852|855|866|874|932|949|950)|koi8-[rtu]|mac-\w+|tis-620"
    r"|shift_jis\w*|euc_\w+|gb2312|gbk|gb18030|big5\w*|johab"
)

# Names that pages and databases use and Python does not know.
_WEB_NAMES = {
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "iso-8859-8-i": "iso8859-8",
    "windows-874": "cp874",
    "x-gbk": "gbk",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-roman": "mac-roman",
    "x-sjis": "cp932",
}

# What a client that tests the connection sends, and what has to come back (the e-mail is compared and forgotten).
_TEST_AUTHORS = frozenset({"akismet-guaranteed-spam", "viagra-test-123"})
_TEST_EMAIL = "akismet-guaranteed-spam@example.com"

# Fields that have a meaning of their own, so that no client can call one of them a honeypot by mistake.
_NO_HONEYPOTS = re.compile(r"(?:comment_|blog|user_|api_key|key|permalink|referrer|is_test|honeypot_field_name).*")
_WORDPRESS_HONEYPOT = "POST_ak_hp_textarea"


# The text of a field, given how many signs are of interest.
_Value = Callable[[int], str]


class _Fields(Mapping[str, str]):
    """Fields that are decoded once they are asked for: a client sends many that nobody reads."""

    def __init__(self, values: Mapping[str, _Value]) -> None:
        self._values = values
        self._read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._read:
            self._read[name] = self._values[name](MAX_TEXT_CHARS if name == _TEXT else MAX_URL_CHARS)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Said:
    """The fields of one request, by name; of a field that stands there twice the last. ``tags`` is comment_context.

    Of what is longer than anything that is taken, the start is there and one sign too much.

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

    The body is taken apart in a thread, since its key is not known before. Bytes that are not of the charset become
    U+FFFD. Raises ``TooLarge``, and ``InvalidRequest`` for what is no form and no JSON object or in no known charset.
    """
    body = await read_any_body(request, at_most=MAX_BODY_BYTES)
    host, query = request.headers.get("host", ""), request.scope.get("query_string", b"")
    return await run_in_threadpool(_read, body, request.headers.get("content-type", ""), query, host)


def _read(body: bytes, content_type: str, query: bytes, host: str) -> Said:
    fields: dict[str, _Value] = {}
    tags: list[_Value] = []
    for name, value in [*_read_form(query, "utf-8"), *_read_pairs(body, content_type)]:
        if _CONTEXT.fullmatch(name):
            tags.append(value)
        else:
            fields[name] = value
    return Said(_Fields(fields), _read_tags(value(MAX_ID_CHARS) for value in tags), key_before(host))


def make_comment(said: Said, *, comment_id: str | None, max_text_chars: int) -> Comment | None:
    """The comment that is spoken of; ``None`` where there is no text at all to judge.

    Without a text, as a sign-up has none, the author's name and address are. Of what only goes along with the text, ids
    and addresses that are too long to be any are left out and names are cut. Raises ``TooLarge`` for the text, which
    never is.
    """
    name, address = said.get("comment_author")[:MAX_NAME_CHARS], said.get("comment_author_url")[:MAX_URL_CHARS]
    text, limit = said.fields.get(_TEXT, ""), min(max_text_chars, MAX_TEXT_CHARS)
    if len(text) > limit:
        raise TooLarge(f"comment_content has more than {limit:,} characters")
    text = text if text.strip() else " ".join(part for part in (name, address) if part)
    if not text:
        return None
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


def _read_pairs(body: bytes, content_type: str) -> Iterable[tuple[str, _Value]]:
    kind, options = parse_options_header(content_type)
    if kind.endswith((b"/json", b"+json")):
        return _read_object(body) if body.strip() else []
    charset = find_charset(options.get(b"charset", b"").decode("latin-1"))
    if kind == b"multipart/form-data":
        return _read_multipart(body, options.get(b"boundary", b""), charset)
    return _read_form(body, charset)


def _read_form(body: bytes, charset: str) -> Iterator[tuple[str, _Value]]:
    if body.count(b"&") >= _MAX_FIELDS:
        raise InvalidRequest(f"the form has more than {_MAX_FIELDS:,} fields")
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if len(name) <= _MAX_FIELD_NAME_BYTES:
            yield _decode_form(name, charset, _MAX_FIELD_NAME_BYTES), partial(_decode_form, value, charset)


def _decode_form(raw: bytes, charset: str, at_most: int) -> str:
    # As bytes first: a sign of the charset may be half hidden by percent, half not.
    start = raw[: 3 * _MAX_SIGN_BYTES * (at_most + 1)]
    return _decode(unquote_to_bytes(start.replace(b"+", b" ")), charset, at_most)


def _decode(raw: bytes, charset: str, at_most: int) -> str:
    """The text, of what is longer than ``at_most`` signs only so much that it is seen to be."""
    return make_readable(raw[: _MAX_SIGN_BYTES * (at_most + 1)].decode(charset, "replace"))


def find_charset(name: str) -> str:
    """The codec of a charset as clients name it; UTF-8 where they name none.

    Raises ``InvalidRequest`` for one that is not known: read as another, the text would not be what somebody wrote.
    """
    if not name.strip():
        return "utf-8"
    try:
        found = codecs.lookup(_WEB_NAMES.get(name.strip().lower(), name.strip())).name
    except (LookupError, ValueError):
        found = ""
    if found in ("iso8859-1", "ascii"):
        return "cp1252"  # what browsers take these for
    if not _CHARSETS.fullmatch(found):
        raise InvalidRequest("the body, or a part of it, is in a charset that is not known here; send UTF-8")
    return found


def _decode_part(raw: bytes, charset: str, at_most: int) -> str:
    """As :func:`_decode`, in a charset as the part names it: of parts that nobody reads, any name will do."""
    return _decode(raw, find_charset(charset), at_most)


@dataclass(slots=True)
class _Part:
    """A part of a multipart body as it is read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    header: tuple[bytes, bytes] = (b"", b"")
    data: list[bytes] = field(default_factory=list)


class _Parts:
    """Takes a multipart body apart; ``found`` are the fields. Files are read past."""

    def __init__(self, charset: str) -> None:
        self.found: list[tuple[str, _Value]] = []
        self.is_whole = False
        self._charset = charset
        self._count = 0
        self._part = _Part()

    def begin(self) -> None:
        self._count += 1
        if self._count > _MAX_FIELDS:
            raise InvalidRequest(f"the form has more than {_MAX_FIELDS:,} fields")
        self._part = _Part()

    def name_header(self, data: bytes, start: int, end: int) -> None:
        name, value = self._part.header
        self._part.header = name + data[start:end], value

    def fill_header(self, data: bytes, start: int, end: int) -> None:
        name, value = self._part.header
        self._part.header = name, value + data[start:end]

    def end_header(self) -> None:
        name, value = self._part.header
        self._part.headers[name.lower()], self._part.header = value, (b"", b"")

    def fill(self, data: bytes, start: int, end: int) -> None:
        self._part.data.append(data[start:end])

    def end(self) -> None:
        headers = self._part.headers
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"")
        if b"filename" in options or len(name) > _MAX_FIELD_NAME_BYTES:
            return
        _, said = parse_options_header(headers.get(b"content-type", b""))
        charset = said.get(b"charset", b"").decode("latin-1") or self._charset
        value = partial(_decode_part, b"".join(self._part.data), charset)
        # Its name stands in a header, which the charset of the part is not for.
        self.found.append((_decode(name, self._charset, _MAX_FIELD_NAME_BYTES), value))

    def end_all(self) -> None:
        self.is_whole = True


def _read_multipart(body: bytes, boundary: bytes, charset: str) -> list[tuple[str, _Value]]:
    parts = _Parts(charset)
    callbacks: MultipartCallbacks = {
        "on_part_begin": parts.begin,
        "on_header_field": parts.name_header,
        "on_header_value": parts.fill_header,
        "on_header_end": parts.end_header,
        "on_part_data": parts.fill,
        "on_part_end": parts.end,
        "on_end": parts.end_all,
    }
    try:
        parser = MultipartParser(boundary, callbacks, max_header_size=_MAX_HEADER_BYTES)
        parser.write(body)
    except FormParserError:
        parts.is_whole = False
    if not boundary or not parts.is_whole:
        raise InvalidRequest("the body is not multipart/form-data as its header says")
    return parts.found


def _read_object(body: bytes) -> list[tuple[str, _Value]]:
    """Names and values of a JSON object; what is nested deeper than a list of plain values is left out."""
    # Before it is parsed: the parser lets nothing else run, and is slow where there are many small things.
    signs = _QUOTED.sub(b"", body)
    if sum(map(signs.count, (b",", b"[", b"{"))) > _MAX_FIELDS:
        raise InvalidRequest(f"the body has more than {_MAX_FIELDS:,} fields and items of lists")
    data = read_any_json(body)
    if not isinstance(data, dict):
        raise InvalidRequest("the body is JSON, but no object")
    return [
        (make_readable(name), partial(_shorten, text))
        for name, value in data.items()
        if len(name) <= _MAX_FIELD_NAME_BYTES
        for item in (value if isinstance(value, list) else [value])
        if (text := _plain(item)) is not None
    ]


def _shorten(text: str, at_most: int) -> str:
    return make_readable(text[: at_most + 1])


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
