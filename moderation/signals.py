"""Facts about a comment that need no learning: links, names, repetition, capitals, scripts, disguised words.

Each signal has a name, a value and a sentence for a moderator. Heads learn how much each one matters; the policy uses
a few of them directly. Repetition *across* comments is not known here: the service passes it on as a fact.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from moderation.comment import Author, Comment
from moderation.normalise import Normalised, normalise

MAX_HOST_CHARS = 253  # RFC 1035

# Where readers of blogs send each other to read on. Anybody may put a page on some of them, so this is one signal of
# many and no permission.
KNOWN_HOSTS = frozenset(
    """
    apple.com archive.org arxiv.org bbc.co.uk bbc.com bitbucket.org codepen.io crates.io debian.org
    docs.rs doi.org github.com github.io gitlab.com gnu.org ietf.org imdb.com imgur.com jsfiddle.net kernel.org
    microsoft.com mit.edu mozilla.org nasa.gov nature.com nih.gov npmjs.com nuget.org nytimes.com openstreetmap.org
    oracle.com php.net pypi.org python.org readthedocs.io readthedocs.org reddit.com ruby-lang.org rust-lang.org
    sciencedirect.com spiegel.de stackexchange.com stackoverflow.com superuser.com theguardian.com ubuntu.com
    unicode.org w3.org who.int wikimedia.org wikipedia.org wiktionary.org wordpress.org xkcd.com youtu.be youtube.com
    """.split()  # noqa: SIM905 - sixty quoted names would be harder to read
)

_USUAL_WORD_LENGTH = 0.45  # of no words nothing is said

# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces; two of their letters, with the vowels and tones
# that stand above and below, are about a word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Every pattern is bounded where it could otherwise read on from each of 50,000 places to the end of the text.
_LINK = re.compile(r"(?:https?|ftp)://[^\s<>\"'\])]+|\bwww\.[\w-]+\.[^\s<>\"'\])]+", re.IGNORECASE)
# Bare host names count as links under endings that are seldom anything else; under endings that are also words, or
# begin the next sentence, only with a path. Upper case ends a sentence (".In") or is a product (".NET").
_BARE_HOST = re.compile(
    r"(?<![\w@./-])(?!(?:asp|ado|vb)\.net\b)(?:[a-zA-Z0-9][a-zA-Z0-9-]{0,62}\.){1,8}"
    r"(?:(?:com|net|org|info|biz|ru|cn|xyz|icu|vip|casino|loan|ltd|uk|fr|pl|ua|br|example|test)\b(?:/[^\s<>\"')]*)?"
    r"|(?:in|us|co|de|live|click|space|link|site|online|store|shop|club|website|top)/[^\s<>\"')]*)(?![\w(])"
)
_MARKUP_LINK = re.compile(r"<a\s[^>]{0,200}href|\[url[=\]]|\[link[=\]]|\]\(\s*https?:", re.IGNORECASE)
# Up to the next bracket that opens, so that many of them that nothing closes are each read once.
_LINK_TAG = re.compile(r"</?a\b[^<>]*>|\[/?(?:url|link)\b[^\[\]]*\]", re.IGNORECASE)
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]+")
_PHONE = re.compile(r"(?<![\w.,/:-])\+?\d[\d ()-]{8,16}\d(?![\w.,/:-])")
_VOWELS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u1056-\u1060\u17b4-\u17d3"
_WORD = re.compile(rf"(?:(?![\W_])[{UNSPACED}][{_VOWELS}]*){{1,2}}|[^\W_{UNSPACED}]+(?:['\u2019-][^\W_{UNSPACED}]+)*")
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
# Scripts without spaces leave none behind an address either: their words begin behind its host, or with their comma.
_BEHIND_ADDRESS = re.compile(
    rf"(?<=[^/:]/)[{UNSPACED}]|(?<=[A-Za-z0-9_%=&?#~-])[{UNSPACED}]|[\u3001\u3002\uff01-\uff65]"
)
_CODE = re.compile(
    r"```|^[ \t]{4,40}\S.*[;{}()=]|[{};][ \t]{0,40}$|\w\(\)|::|=>|->|</?\w{1,40}>|\$\w|^[ \t]{0,40}at \w+\.",
    re.MULTILINE,
)
_MONEY = re.compile(r"[$€£₹]\s?\d|(?<!\d)\d{1,12}\s?(?:(?:usd|eur|dollars|btc)\b|%)", re.IGNORECASE)
_BBCODE = re.compile(r"\[(?:url|link)[=\]]", re.IGNORECASE)
_GLUED = re.compile(r"[^\W\d_]+[a-z][A-Z][a-z]+")
_DIGIT_BESIDE_LETTER = re.compile(r"\d(?=[a-z])|[a-z](?=\d)")
_WITH_HAN = frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC", "BOPOMOFO"})
_PERSON = re.compile(r"[^\W\d_]{2,}(?:[ .'\u2019-]+[^\W\d_]+){0,3}\.?")


# Words of the trades that live from comment spam, in the languages it is mostly written in. Each is also an honest
# word: they count only where the post does not use them, and heads learn how much.
TRADE_WORDS = frozenset(
    """
    viagra cialis levitra kamagra sildenafil tadalafil vardenafil priligy dapoxetine xanax valium ambien tramadol
    oxycodone phentermine modafinil clomid nolvadex plaquenil ivermectin stromectol prednisone amoxicillin doxycycline
    lasix propecia finasteride accutane synthroid semaglutide ozempic pharmacy pharmacies pharm prescription pills
    tablets dosage generic supplement supplements keto slimming botox steroids farmacia pharmacie apotheke
    casino casinos kasino poker blackjack roulette slots jackpot betting sportsbook bookmaker bookie gacor judi togel
    taruhan bahis kumar slotxo pgslot baccarat lottery powerball
    bitcoin crypto cryptocurrency forex binary trading trader investment profits payday loan loans lender mortgage
    refinance insurance payout kredit kredyt prestamos credito emprestimo
    replica replicas rolex louis vuitton gucci chanel prada hermes ugg outlet handbags sneakers jerseys jordans yeezy
    wholesale discount coupon coupons promo cheap cheapest
    seo backlink backlinks serp followers subscribers traffic essay essays dissertation thesis writers assignment
    escort escorts porn porno xxx sex webcam dating milf hookup
    iptv torrent apk mod keygen crack cracked hacker hackers spyware whatsapp telegram astrologer vashikaran spell
    spells herbal illuminati locksmith plumber plumbers roofing movers packers limo towing realtor realty
    виагра казино ставки букмекер займ кредит купить заказать недорого скидка скидки раскрутка продвижение
    порно эскорт диплом
    """.split()  # noqa: SIM905 - as above
)


# Pairs of letters that fewer than one in five thousand are of, in 44,550 words that comments use: first letter, then
# all the second ones. Words have few of them, letters drawn at random have many.
_RARE_PAIRS = frozenset(
    group[0] + letter
    for group in """
    aq bdfghkmnpqvwxz cbdfgjmnpqvwxz dcfhjkpqtxz e fbcdghjkmnpqvwxz gbcdfjkmpqvwxz hbcdfgjkpqvxz ihjwy
    jbcdfghiklmnpqrstvwxyz kbcdfghjmpqvwxz ljnqrwxz mcdfghjklnqrvwxz nqx ojq pbcdgjkmnqvwxyz
    qabcdefghijklmnoprstvwxyz rjqxz sdgjvxz tdgjkqvx uhjkqwy vbcdfghjklmnpqrstuwxyz wbcdfgjklmpqtuvxyz
    xbdfghjklmnoqrsuvwyz ybdfghjkqtuvwxz zbcdfghjklmnpqrstvwxy
    """.split()  # noqa: SIM905 - as above
    for letter in group[1:]
)


@dataclass(frozen=True, slots=True)
class Signal:
    """A fact found without learning. ``value`` is a count, a share from 0 to 1, or 0/1 for no/yes."""

    name: str
    value: float
    text: str


NAMES: tuple[str, ...] = (
    "links",
    "link_share",
    "markup_links",
    "bbcode_links",
    "link_last",
    "link_alone",
    "link_only",
    "link_repeats",
    "link_random",
    "link_hyphens",
    "link_known",
    "link_home",
    "mail_addresses",
    "phone_numbers",
    "money",
    "author_url",
    "author_url_deep",
    "author_name_words",
    "author_name_odd",
    "author_name_in_url",
    "author_name_has_link",
    "name_random",
    "trade_words",
    "title_repeated",
    "random_words",
    "length",
    "words",
    "word_length",
    "capitals",
    "exclamations",
    "questions",
    "repeated_words",
    "repeated_lines",
    "broken_lines",
    "foreign_script",
    "mixed_scripts",
    "emoji",
    "disguised",
    "stretched",
    "code",
    "trackback",
    "honeypot",
)

_COUNTS = frozenset(
    {
        "links",
        "markup_links",
        "bbcode_links",
        "link_repeats",
        "trade_words",
        "link_hyphens",
        "mail_addresses",
        "phone_numbers",
        "money",
        "author_name_words",
        "exclamations",
        "questions",
    }
    | {"emoji", "disguised", "stretched", "code", "length", "words"}
)


def measure(comment: Comment, normalised: Normalised) -> tuple[Signal, ...]:
    """Every signal of a comment, in the order of :data:`NAMES`.

    What tells of words is measured without links: a host said three times is no repeated word, and ``www`` not
    stretched.
    """
    text = comment.text
    author = comment.author
    name = (author.name if author else None) or ""
    url = (author.url if author else None) or ""
    links = find_links(text)
    hosts = [urlsplit_safe(link)[0] for link in links]
    home = urlsplit_safe((comment.post.url if comment.post else None) or comment.url or "")[0]
    title = ((comment.post.title if comment.post else None) or "").strip().lower()
    rest = strip_links(text) if links else text
    beside = _words_beside_links(comment, title, rest) if links else 0
    known = sum(is_known_host(host) for host in hosts) / len(hosts) if hosts else 0.0
    leads_away = any(host != home and not is_known_host(host) for host in hosts)
    said = normalise(rest) if links else normalised
    words = _WORD.findall(said.text)
    lowered = [word.lower() for word in words]
    letters = [char for char in said.text if char.isalpha()]
    scripts = Counter(map(_script, letters))
    main_script = _main_script((comment.post.text or comment.post.title or "")[:1000]) if comment.post else None
    long_words = [word for word in lowered if len(word) > 5 and word.isascii() and word.isalpha()]
    trades = _trade_words(comment, [*lowered, *_WORD.findall(" ".join([name, *links, url]).lower())])
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 10]
    capitals = sum(char.isupper() for char in letters)
    values: dict[str, tuple[float, str]] = {
        "links": (len(links), f"{len(links)} links in the text"),
        "link_share": (min(sum(map(len, links)) / len(text), 1.0), "share of the text that is links"),
        "markup_links": (len(_MARKUP_LINK.findall(text)), "links written as HTML or BBCode"),
        "bbcode_links": (len(_BBCODE.findall(text)), "links written as BBCode"),
        "link_last": (_ends_with_link(text, links), "the text ends with a link"),
        "link_alone": (
            _alone(beside) if leads_away else 0.0,
            "how little is said beside links to unknown places, the post's title and the author's name",
        ),
        "link_only": (leads_away and not beside, "nothing is said beside links to unknown places but title and name"),
        "link_repeats": (len(links) - len(set(links)), "links said again"),
        "link_random": (
            sum(_is_random_host(host) for host in hosts) / len(hosts) if hosts else 0.0,
            "share of links whose names look drawn at random",
        ),
        "link_hyphens": (sum(_hyphens(link) for link in [*links, url]), "hyphens in the names of links"),
        "link_known": (known, "share of links that lead to well-known places"),
        "link_home": (
            bool(home) and home in hosts,
            "a link leads back to the site of the post",
        ),
        "mail_addresses": (len(_MAIL.findall(text)), "e-mail addresses in the text"),
        "phone_numbers": (len(_PHONE.findall(text)), "telephone numbers in the text"),
        "money": (len(_MONEY.findall(text)), "sums of money and percentages"),
        "author_url": (bool(url), "the author gives a link"),
        "author_url_deep": (len(urlsplit_safe(url)[1].strip("/")) > 1, "the author's link points inside a site"),
        "author_name_words": (len(_WORD.findall(name)), "words in the author's name"),
        "author_name_odd": (bool(name) and not _PERSON.fullmatch(name.strip()), "the name has digits or signs"),
        "author_name_in_url": (_name_in_url(name, url), "the author's name and link say the same"),
        "author_name_has_link": (bool(find_links(name)), "the author's name is a link"),
        "name_random": (_is_random_name(name), "the name looks drawn at random or glued together"),
        "trade_words": (len(trades), "words of trades that live from comment spam, and not of the post"),
        "title_repeated": (len(title) > 12 and title in text.lower(), "the text repeats the post's title"),
        "random_words": (
            sum(map(_is_random, long_words)) / len(long_words) if long_words else 0.0,
            "share of long words that look drawn at random",
        ),
        "length": (len(text), f"{len(text):,} characters"),
        "words": (len(words), f"{len(words):,} words"),
        "word_length": (
            sum(map(len, words)) / len(words) / 10 if words else _USUAL_WORD_LENGTH,
            "average length of words, in tens",
        ),
        "capitals": (capitals / len(letters) if len(letters) > 8 else 0.0, "share of capital letters"),
        "exclamations": (text.count("!"), "exclamation marks"),
        "questions": (said.text.count("?"), "question marks"),
        "repeated_words": (
            1 - len(set(lowered)) / len(lowered) if len(lowered) > 8 else 0.0,
            "share of words said before",
        ),
        "repeated_lines": (1 - len(set(lines)) / len(lines) if lines else 0.0, "share of lines said before"),
        "broken_lines": (_broken_lines(text), "share of line breaks in the middle of a sentence"),
        "foreign_script": (
            1 - scripts[main_script] / len(letters) if letters and main_script else 0.0,
            "share of letters in another script than the post's",
        ),
        "mixed_scripts": (
            _are_mixed({script for script, count in scripts.items() if count * 20 > len(letters)}),
            "letters of several scripts",
        ),
        "emoji": (sum(_is_emoji(char) for char in text), "emoji"),
        "disguised": (said.tricks, f"{said.tricks} disguised words or hidden characters"),
        "stretched": (said.stretched, "words with stretched letters"),
        "code": (len(_CODE.findall(text)), "marks of program code"),
        "trackback": (comment.kind in {"trackback", "pingback"}, "a trackback or pingback"),
        "honeypot": (comment.hints.get("honeypot", False), "a field that people cannot see was filled in"),
    }
    return tuple(Signal(name, float(values[name][0]), values[name][1]) for name in NAMES)


def features(signals: tuple[Signal, ...]) -> list[float]:
    """The signals as numbers of like size, for the heads: counts on a log scale, shares as they are."""
    return [math.log1p(signal.value) / 2 if signal.name in _COUNTS else signal.value for signal in signals]


def find_links(text: str) -> list[str]:
    """Everything in ``text`` that a reader could follow: URLs, and bare host names under common endings."""
    links = _LINK.findall(text)
    rest = _LINK.sub(" ", text)
    return links + [match.group() for match in _BARE_HOST.finditer(rest)]


def strip_links(text: str) -> str:
    """The text without what :func:`find_links` finds and without the markup around it; what a link says stays."""
    return _BARE_HOST.sub(" ", _LINK.sub(_what_follows, _LINK_TAG.sub(" ", text)))


def _what_follows(link: re.Match[str]) -> str:
    """What stands right behind an address in a script without spaces; nothing in others."""
    address = link.group()
    found = _BEHIND_ADDRESS.search(address) if not address.isascii() else None
    return f" {address[found.start() :]}" if found else " "


def link_facts(comment: Comment) -> tuple[int, tuple[str, ...]]:
    """How many links the text has, and the distinct hosts of those and of the author's URL (no ``www.``), in order."""
    links = find_links(comment.text)
    return len(links), hosts_of(links, comment.author)


def hosts_of(links: Sequence[str], author: Author | None) -> tuple[str, ...]:
    """The distinct hosts (lower case, without ``www.``) of links and of the author's URL, in order."""
    urls = [*links, author.url] if author and author.url else links
    hosts = [urlsplit_safe(url)[0] for url in urls]
    return tuple(dict.fromkeys(host for host in hosts if 0 < len(host) <= MAX_HOST_CHARS))


def urlsplit_safe(url: str) -> tuple[str, str]:
    """Host (lower case, without ``www.``) and path of anything that may be a URL; empty where there is none."""
    if not url:
        return "", ""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = parts.hostname or ""
        host = host.removeprefix("www.") if host.count(".") > 1 else host  # www.com is a name of its own
    except ValueError:  # such as a bracket that opens no IPv6 address
        return "", ""
    return host, parts.path


def is_known_host(host: str) -> bool:
    """Whether a host is one of :data:`KNOWN_HOSTS` or below one."""
    parts = host.split(".")[-4:]  # a link may hold thousands of dots; no known host has more than two
    return any(".".join(parts[start:]) in KNOWN_HOSTS for start in range(len(parts) - 1))


def _ends_with_link(text: str, links: Sequence[str]) -> bool:
    """Whether little more than markup follows the last link of a text that says something before it."""
    last = max((text.rfind(link) + len(link) for link in links), default=0)
    return bool(links) and len(text) > 40 and len(text) - last < 30


def _words_beside_links(comment: Comment, title: str, rest: str) -> int:
    """How many words are left of what is no link without those of the post's ``title`` and the author's name."""
    name = ((comment.author.name if comment.author else None) or "").strip().lower()
    known = {*_WORD.findall(title), name}
    rest = rest.lower()
    for said in (title, name):
        if _UNSPACED_LETTER.search(said):  # whose words begin anywhere
            rest = rest.replace(said, " ")
    words = _WORD.findall(rest)
    return sum(word not in known and not (len(name) > 3 and name in word) for word in words)


def _alone(words: int) -> float:
    """One where a link stands without a word, nought where eight stand beside it."""
    return max(0.0, 1 - words / 8)


def _broken_lines(text: str) -> float:
    """What share of the breaks between two lines cuts a sentence, as programs do that send the same text to many."""
    lines = [line.strip() for line in text.split("\n")]
    breaks = [(line, following) for line, following in itertools.pairwise(lines) if line and following]
    broken = sum((line[-1].isalnum() or line[-1] == ",") and following[0].islower() for line, following in breaks)
    return broken / len(breaks) if breaks else 0.0


def _hyphens(link: str) -> int:
    host, path = urlsplit_safe(link)
    return host.count("-") + min(path.count("-"), 8)


def _name_in_url(name: str, url: str) -> bool:
    host = re.sub(r"[^a-z0-9]", "", urlsplit_safe(url)[0].lower())
    words = [word.lower() for word in _WORD.findall(name) if len(word) > 3]
    return bool(host) and any(word in host for word in words)


def _is_random(word: str) -> bool:
    """Whether a word in lower case has many pairs of letters as chance alone puts them side by side."""
    rare = sum(word[at : at + 2] in _RARE_PAIRS for at in range(len(word) - 1))
    return rare > 1 and rare * 4 >= len(word) - 1


def _is_random_host(host: str) -> bool:
    name = max(host.split("."), key=len)
    return _is_random(name) or len(_DIGIT_BESIDE_LETTER.findall(name)) > 3


def _is_random_name(name: str) -> bool:
    word = name.strip()
    if len(word) > 5 and word.isascii() and word.isalpha() and _is_random(word.lower()):
        return True
    return bool(_GLUED.fullmatch(word)) and not word.startswith(("Mc", "Mac", "De", "Di", "Le", "La", "Van"))


def _trade_words(comment: Comment, words: Sequence[str]) -> frozenset[str]:
    """The distinct words of trades among ``words`` that the post does not use itself."""
    found = TRADE_WORDS.intersection(words)
    if found and comment.post is not None:
        post = f"{comment.post.title or ''} {comment.post.text or ''}".lower()
        found = frozenset(word for word in found if word not in post)
    return found


def _is_emoji(char: str) -> bool:
    return char >= "\u2600" and unicodedata.category(char) == "So"


@lru_cache(maxsize=64)
def _main_script(text: str) -> str | None:
    """The script of most letters at the start of a post, ``None`` without any."""
    scripts = Counter(_script(char) for char in text[:1000] if char.isalpha())
    return scripts.most_common(1)[0][0] if scripts else None


def _are_mixed(scripts: set[str]) -> bool:
    """Whether letters of these scripts are not of one way of writing; Korean has Han among its own letters."""
    return len(scripts) > 1 and scripts != {"CJK", "HANGUL"}


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """The script of a letter: the first word of its Unicode name, which is what names letters by script.

    Han goes with kana in Japanese and with bopomofo in Taiwan (Unicode UTS #39, augmented script sets): they are one.
    """
    if char.isascii():
        return "LATIN"
    script = unicodedata.name(char, "UNKNOWN").split(" ", 1)[0]
    return "CJK" if script in _WITH_HAN else script
