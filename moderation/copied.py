"""Whether a comment repeats an earlier one: what somebody else wrote, with a link added, or what was spam before.

Spam takes the words of a genuine reader, so that nothing in them gives it away; only who has the original can tell. And
what a person has called spam comes again. Pure: where earlier comments are looked for is the service's part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from moderation.comment import Author, Comment
from moderation.normalise import normalise
from moderation.policy_schema import fold
from moderation.signals import UNSPACED, find_links, hosts_of, strip_links, urlsplit_safe

MIN_LETTERS = 40
"""Of texts with fewer letters, links left out, nothing is said: people write the same few words by themselves."""

MIN_WORDS = 8

MOST_LEFT_OUT = 0.15
"""A copy may lack so much of what it copies, as a share of the runs of five letters there."""

MOST_ADDED = 0.2
"""It may say so much beside that, as the same share: words around a link, and no answer to what was quoted."""

_MAY_BE_ADDED = 30  # runs, however short the text is: what a link says takes as much
_RUN = 5
_MAX_CHARS = 10_000

# What a reader quotes to answer it: marked lines, paragraphs in quotation marks, marked parts. Each stops where the
# next one begins, so that many of them that nothing closes are read once.
_QUOTED = re.compile(
    r"^[ \t]*(?:>|&gt;)[^\n]*"
    r"|^[ \t]*[\"\u201c\u201e\u00ab][^\"\u201c-\u201f\u00ab\u00bb]{20,}[\"\u201c\u201d\u00bb][ \t]*$"
    r"|<blockquote\b[^<>]*>(?:(?!<blockquote\b)[\s\S])*?</blockquote>"
    r"|\[quote\b(?:(?!\[quote\b)[\s\S])*?\[/quote\]",
    re.IGNORECASE | re.MULTILINE,
)
# More than ``find_links`` takes for a link: it only counts where the same words came before without it.
_NAMED = re.compile(r"(?<![\w@.-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@-])(?:/[^\s<>\"')]*)?")
# A letter of a script that is written without spaces counts as a word.
_WORD = re.compile(rf"(?![\W\d_])[{UNSPACED}]|[^\W\d_{UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Earlier:
    """A comment that came before, as far as it matters for whether another one repeats it.

    ``is_spam`` is what the last verdict on it says, where there is one.
    """

    text: str
    author: Author
    is_spam: bool = False


def strip_added(text: str) -> str:
    """A text without its links and the markup around them, and without what it quotes where it says more than that.

    Of a text of more than 10,000 characters only the beginning.
    """
    text = text[:_MAX_CHARS]
    unquoted = _QUOTED.sub(" ", text)
    if unquoted != text:
        rest = _NAMED.sub(" ", strip_links(unquoted))
        if any(map(str.isalpha, rest)):
            return rest
    return _NAMED.sub(" ", strip_links(text))


def has_enough(plain: str) -> bool:
    """Whether as much is left of a text as one needs to be called a copy of another."""
    return sum(map(str.isalpha, plain)) >= MIN_LETTERS and len(_WORD.findall(plain)) >= MIN_WORDS


def brings_link(comment: Comment) -> bool:
    """Whether a link is in the text or behind the author's name that leads away from the site; no copy is without."""
    return bool(_hosts(comment.text, comment.author) - _home(comment))


def find_copied(comment: Comment, earlier: Sequence[Earlier]) -> int | None:
    """Which of several comments, in the order in which they came, this one copies: its place; ``None`` where none.

    It says what another author said, and leads to a host that nothing there led to. An author is known by the id, or
    else by name and URL together; who has neither is taken for somebody else. Whoever said it first may say it again
    with a link, also when others have repeated it meanwhile.
    """
    if not earlier or not brings_link(comment):
        return None
    author = comment.author or Author()
    hosts, ours = _hosts(comment.text, author) - _home(comment), _runs(_plain(comment.text))
    is_first = True
    for place, each in enumerate(earlier):
        if not _is_alike(ours, each.text):
            continue
        is_theirs = _is_same(author, each.author)
        if is_first and is_theirs:
            return None
        if not is_theirs and not hosts <= _hosts(each.text, each.author):
            return place
        is_first = False
    return None


def find_known_spam(comment: Comment, judged: Sequence[Earlier]) -> int | None:
    """Which of several judged comments, the one judged last first, this one says again as spam: its place.

    ``None`` where it says none of them again, or where the first that it does was no spam: the last word counts, for
    the words and for the links that were there. To say the same is to repeat the words, links aside, as a copy does;
    without a link hardly any may be added. Words that are too few for a copy have to be exactly the same, and either
    the author too or a link: what many people say is spam because of who says it, or where it leads.
    """
    if not judged:
        return None
    author, home = comment.author or Author(), _home(comment)
    plain, links = _plain(comment.text), _addresses(comment.text, comment.author, home)
    runs, signs, is_short = _runs(plain), _signs(plain), not has_enough(plain)
    may_be_added = _MAY_BE_ADDED if links else 0
    new = links  # those that nobody has let through with these words
    is_cleared = False
    for place, each in enumerate(judged):
        if not (_signs(_plain(each.text)) == signs if is_short else _is_alike(runs, each.text, may_be_added)):
            continue
        theirs = _addresses(each.text, each.author, home)
        if is_short and not links & theirs and not _is_same(author, each.author):
            continue
        if each.is_spam and (not is_cleared or new & theirs):
            return place
        if not each.is_spam:
            new, is_cleared = new - theirs, True
            if not new:
                return None
    return None


def _is_alike(ours: set[str], text: str, may_be_added: int = _MAY_BE_ADDED) -> bool:
    plain = _plain(text)
    if not has_enough(plain):
        return False
    theirs = _runs(plain)
    added = max(may_be_added, MOST_ADDED * len(theirs))
    return len(theirs - ours) <= MOST_LEFT_OUT * len(theirs) and len(ours - theirs) <= added


def _is_same(one: Author, other: Author) -> bool:
    if one.id is not None and other.id is not None:
        return one.id == other.id
    named = one.name or one.url
    return bool(named) and fold(one.name or "") == fold(other.name or "") and (one.url or "") == (other.url or "")


def _hosts(text: str, author: Author | None) -> set[str]:
    """Hosts of everything that may be a link. What has no dot, such as ``http://website``, leads nowhere."""
    links = [*find_links(text), *(match.group() for match in _NAMED.finditer(text))]
    return {host for host in hosts_of(links, author) if "." in host}


def _addresses(text: str, author: Author | None, home: set[str]) -> set[str]:
    """Whole addresses of all links that lead elsewhere: on many hosts everybody has a page."""
    links = [*find_links(text), *([author.url] if author and author.url else [])]
    led = [link.lower() for link in links if "." in (host := urlsplit_safe(link)[0]) and host not in home]
    return {(link.partition("://")[2] or link).removeprefix("www.").rstrip("/#") for link in led}


def _home(comment: Comment) -> set[str]:
    """Hosts of the site itself: who repeats a comment may well say where it stands."""
    urls = (comment.site, comment.url, comment.post.url if comment.post else None)
    return {urlsplit_safe(url)[0] for url in urls if url}


def _plain(text: str) -> str:
    """What is compared, disguises undone and capitals gone."""
    return fold(normalise(strip_added(text)).text)


def _signs(plain: str) -> str:
    """Letters and digits alone."""
    return "".join(filter(str.isalnum, plain))


def _runs(plain: str) -> set[str]:
    letters = "".join(filter(str.isalpha, plain))
    return {letters[at : at + _RUN] for at in range(len(letters) - _RUN + 1)}
