"""Genuine comments once more with a link put in: a spammer's, which makes them spam, or a reader's, which does not.

Spam copies what readers said and adds a link, so where a link leads must count, and not only that there is one. Links
are those of the rows, and made-up ones: real links of spam rows repeat the trades of their years, and these name many
more. Their hosts are put together from syllables and the words of a trade. :mod:`moderation.training.slices` makes up
its own for measuring: no host or phrase is the same, but plain forms ("comment link") and common words are in both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from moderation import signals
from moderation.comment import MAX_NAME_CHARS, MAX_TEXT_CHARS, MAX_URL_CHARS, Author, Comment
from moderation.training.adapters.reading import spread
from moderation.training.dataset import is_for_heads
from moderation.training.rows import Row

SPAM_SHARE = 0.5
GENUINE_SHARE = 0.25
MADE_UP_SHARE = 0.5
WEIGHT = 0.5

_TRADES: tuple[str, ...] = (
    "online slots", "poker room", "sports betting", "bingo offers", "roulette tips", "buy medicine online",
    "weight loss supplement", "hair growth serum", "male enhancement", "skin care clinic", "dental implants",
    "plastic surgery", "online doctor", "hearing aids", "vape store", "cbd oil", "testosterone booster",
    "mortgage refinance", "credit repair", "cash advance", "binary options", "bitcoin investment",
    "recover lost crypto", "stock trading course", "tax filing service", "debt relief", "accounting services",
    "payroll software", "buy backlinks", "guest posting", "search engine ranking", "digital marketing agency",
    "web design company", "app development company", "logo design", "buy followers", "cheap domains",
    "dedicated servers", "email marketing", "data recovery", "antivirus download", "license key cheap",
    "iptv subscription", "movie streaming free", "mp3 download", "game cheats", "buy accounts",
    "dissertation help", "assignment writers", "term papers", "resume writing", "online degree", "math tutor",
    "driving school", "visa consultant", "translation bureau", "designer handbags", "wholesale sneakers",
    "wedding dresses", "gold jewellery", "diamond rings", "sunglasses outlet", "football jerseys", "phone cases",
    "laptop battery", "led lights", "solar panels", "air conditioning repair", "roof repair", "carpet cleaning",
    "pest control", "house painters", "kitchen remodeling", "bathroom fitters", "garage doors", "window blinds",
    "locksmith near me", "drain cleaning", "tree removal", "swimming pools", "storage units", "packers and movers",
    "car rental", "taxi service", "airport transfer", "used cars", "truck parts", "limo hire", "auto insurance",
    "personal injury attorney", "divorce lawyer", "immigration lawyer", "bail bonds", "private detective",
    "real estate agent", "apartments for sale", "holiday rentals", "cheap flights", "hotel deals", "safari tours",
    "cruise offers", "yoga retreat", "massage parlour", "escort agency", "adult dating", "webcam girls",
    "psychic reading", "love spells", "astrology online", "pet supplies", "dog training", "puppies for sale",
    "flower delivery", "gift baskets", "party hire", "wedding photographer", "event tickets",
    "stainless steel pipes", "packaging machine", "injection molding", "cnc machining", "plastic bags factory",
    "office chairs", "sofa manufacturer", "bedding set", "water filters", "coffee machines", "kitchen knives",
    "protein powder", "herbal tea", "baby clothes", "toys wholesale", "e-cigarettes", "tattoo supplies",
    "perfume shop", "ai writing tool", "chatbot builder", "ai image generator", "crm software",
    "business directory", "press release", "voip provider", "proxy list", "sms gateway", "survey rewards",
    "work from home", "make money online",
)  # fmt: skip
_SYLLABLES = (
    "ka", "lo", "mi", "ran", "tex", "vor", "za", "bel", "cor", "dex", "fin", "gal", "hub", "jet", "lux", "max",
    "nor", "pro", "qui", "rex", "sol", "tro", "ul", "ver", "wex", "xi", "yo", "zen", "top", "best", "smart",
    "easy", "prime", "gold", "star", "eco", "mega", "uni", "nova", "urban",
)  # fmt: skip
_ENDINGS = (
    "com", "com", "com", "com", "net", "org", "info", "biz", "co", "io", "shop", "store", "online", "site", "xyz",
    "top", "club", "ru", "in", "co.uk", "de", "pl", "us", "com.au", "ca",
)  # fmt: skip
_PLACES = (
    "", "", "", "london", "dubai", "delhi", "miami", "sydney", "uk", "usa", "toronto", "berlin",
)  # fmt: skip
_FIRST_NAMES = (
    "john", "Mary", "Alex", "Sophie", "Raj", "Daniel", "Elena", "Chris", "Nina", "Paul", "Zoe", "Ben", "Lara",
    "Oscar", "Ines", "David", "Sam", "Julia", "Omar", "Helen",
)  # fmt: skip

_IN_TEXT: tuple[str, ...] = (
    "{text} {url}",
    "{text}\n\n{url}",
    "{url}\n{text}",
    '{text} <a href="{url}">{words}</a>',
    '<a href="{url}">{words}</a>\n{text}',
    "{text}\n[url={url}]{words}[/url]",
    "{text} [{words}]({url})",
    "{text} {words}: {url}",
    "{text}\n{words} {bare}",
    "{text} {bare}",
    "{text} Have a look at {url}",
    "{text} I read more at {bare}",
    "{text} My site is {url}",
    "{text}\n\n{words}\n{url}",
    "{text} ({words}, {bare})",
)


def with_copies(rows: Sequence[Row]) -> list[Row]:
    """The rows, and a share of the genuine comments on blogs once more with a link put in.

    Which comments, links and forms goes by hash. ``extra["copy"]`` says where the link is: ``text`` or ``author``. Rows
    kept for the heads of the full tier get links of such rows only, and the others those of the others.
    """
    spam, genuine = _links(rows, 1), _links(rows, 0)
    copies = []
    for row in rows:
        if (
            row.labels.get("spam") != 0
            or not row.group.startswith("blog:")
            or len(row.comment.text) > MAX_TEXT_CHARS // 2
        ):
            continue
        chosen = spread(f"copy {row.id}")
        label = int(chosen < SPAM_SHARE)
        pool = (spam if label else genuine)[is_for_heads(row)]
        if chosen >= SPAM_SHARE + GENUINE_SHARE or not pool:
            continue
        chance = random.Random(f"link {row.id}")  # noqa: S311 - not for secrets
        made_up = label and chance.random() < MADE_UP_SHARE
        url, words = make_up_link(chance) if made_up else chance.choice(pool)
        if len(url) > MAX_URL_CHARS or len(words) > MAX_NAME_CHARS:
            continue  # a link in a text may be longer than an author's can be
        comment, where = put_link(row.comment, url, words, chance)
        copies.append(
            replace(
                row,
                id=f"{row.id}~copy",
                comment=comment,
                labels={"spam": label},
                weight=row.weight * WEIGHT,
                extra={**row.extra, "copy": where},
            )
        )
    return [*rows, *copies]


def _links(rows: Sequence[Row], label: int) -> dict[bool, list[tuple[str, str]]]:
    """Links of spam or genuine rows with what they would say, by whether their rows are kept for the heads.

    One of each campaign, or of each host.
    """
    pools: dict[bool, dict[str, tuple[str, str]]] = {True: {}, False: {}}
    for row in rows:
        if row.labels.get("spam") != label:
            continue
        author = row.comment.author
        urls = [*([author.url] if author and author.url else []), *signals.find_links(row.comment.text)]
        if label and urls:
            name = (author.name if author else None) or "click here"
            pools[is_for_heads(row)].setdefault(row.extra.get("cluster", row.id), (urls[0], name))
        elif row.group.startswith("blog:"):
            for url in urls:
                host = signals.urlsplit_safe(url)[0]
                pools[is_for_heads(row)].setdefault(host, (url, host))
    return {kept: [pool[key] for key in sorted(pool)] for kept, pool in pools.items()}


def make_up_link(chance: random.Random) -> tuple[str, str]:
    """The address of a shop that does not exist, and what it sells, which is what its link would say."""
    trade = chance.choice(_TRADES)
    words = trade.split()
    brand = "".join(chance.sample(_SYLLABLES, chance.choice((1, 2, 2, 3))))
    named = chance.choice(
        (f"{brand}{words[-1]}", f"{words[0]}{brand}", "".join(words), "-".join(words), f"{brand}-{words[0]}", brand)
    )
    host = f"{named}{chance.choice(_PLACES) if chance.random() < 0.3 else ''}.{chance.choice(_ENDINGS)}"
    page = chance.choice(
        ("", "", "/", f"/{'-'.join(words)}", f"/{words[-1]}/", f"/{words[0]}.html", f"/?p={words[-1]}")
    )
    return f"{chance.choice(('https://', 'http://', 'https://www.', 'http://www.'))}{host}{page}", trade


def put_link(comment: Comment, url: str, words: str, chance: random.Random) -> tuple[Comment, str]:
    """The comment with a link put in, and where it is: ``text`` or ``author``.

    In a third the link is the author's own, whose name is that of a person or what the link would say.
    """
    if chance.random() < 1 / 3:
        person = chance.choice(_FIRST_NAMES)
        if comment.author and comment.author.name and chance.random() < 0.5:
            person = comment.author.name
        return replace(comment, author=Author(name=words if chance.random() < 0.3 else person, url=url)), "author"
    text, bare = comment.text, url.partition("://")[2].removeprefix("www.").rstrip("/") or url
    parts = text.split(" ")
    if chance.random() < 0.1 and len(parts) > 3:
        half = len(parts) // 2
        return replace(comment, text=" ".join([*parts[:half], url, *parts[half:]])), "text"
    form = chance.choice(_IN_TEXT)
    return replace(comment, text=form.format_map({"text": text, "url": url, "words": words, "bare": bare})), "text"
