"""A comment and what stands around it as the encoder reads them: canonical text, pictures by name, short addresses.

Also how surely a text is English, which is all that the encoder has learned.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from moderation import signals
from moderation.comment import Comment, Post
from moderation.normalise import Normalised, normalise

MAX_PASSAGES = 12
_PASSAGE_WORDS = 80
_TITLE_CHARS = 200
_URL_CHARS = 60
_MAX_PICTURES = 200
_SIGNED_CHARS = 80
_SIGNED_LINKS = 3
_PASSAGE_CHARS = 800
_NEIGHBOUR_CHARS = 2_000
_TAG = re.compile(r"<[^>]{1,300}>")
# No part of an address: the "com" of one is no Portuguese.
_PLAIN_WORD = re.compile(r"(?<![\w.@])[^\W\d_]+(?:['\u2019][^\W\d_]+)?(?![\w@])")

# Pictographs, symbols and flags: no token of the vocabulary stands for them, their Unicode names say what they show.
_PICTURE = re.compile("([\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff])\\1*")
_LONG_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]{60,}")
_SKIN = {"1-2": "light skin", "3": "light skin", "4": "brown skin", "5": "brown skin", "6": "dark skin"}

# Small words that hold sentences together, in English and in others; without those that also are names, or English
# when carelessly spelled.
_ENGLISH = frozenset(
    """
    the a an and or but if so as of to in on at by for with from about into over than then that this these those there
    here it it's its i i'm i've i'd me my mine myself you you're your yours yourself he him his she her they them their
    we us our who what which when where why how is are was were be been being am do does did don't doesn't didn't has
    have had haven't can can't could will won't would should may might must not no yes never just very too more most
    some any all only also up down out off again back because while after before like get got go going make made know
    think say said want see look good bad people one other even still much many such own same really u ur im dont cant
    thats whats isnt youre
    """.split()  # noqa: SIM905 - a hundred quoted names would be harder to read
)
_FOREIGN = frozenset(
    """
    der das und ist nicht ein eine einen ich du er sie wir ihr es mit auf von zu auch wie wenn aber oder nur noch
    schon bei nach aus haben sind wird werden kann mehr sich mir dir dich mich bist hier doch wer wo warum kein
    keine diese dieser immer ihn ihm uns euch sein seine dein deine que nao n\u00e3o um uma com por os na ao mais
    como seu sua voc\u00ea voce vc ele ela isso esse essa esta est\u00e1 foi tem ser muito tudo quem pra t\u00e1
    aqui quando onde porque pq sem meu minha pelo pela las del una unos pero tu su muy todo todos esto eso ese hay
    fue ser\u00e1 s\u00ed qu\u00e9 yo nosotros ellos usted nada le et est pas au ce cette ces qui je il elle nous
    vous ils pour dans avec ou plus tout fait c'est j'ai n'est qu'il sont suis tr\u00e8s bien moi toi lo gli di che
    non sono anche pi\u00f9 come questo questa ci sei het een ik niet dat zijn te wij jij maar ook naar voor aan bir
    bu icin i\u00e7in de\u011fil cok \u00e7ok yok nie jest si\u0119 \u017ce jak tak ale tylko o e da se em vai vou
    sou gente nem hoje bom bem agora ter tenho ta pro pois ainda porra caralho tbm voces f\u00fcr zum einer dass vor
    alles alle dann wieder heute ab als bin geht ihre gerade ohne gegen unter diesem
    habe hast waren jetzt nein weil damit einfach viel viele sehr ganz gar nichts etwas jeder niemand bitte
    je jouw mijn hij zij ze haar geen wel nog waarom waar dit deze heb hebt heeft hebben wordt moet
    gewoon altijd nooit meer veel echt jullie iemand niets omdat och att det som inte jag hon dig mig vad hur bara
    mycket aldrig ingen eller från ikke jeg hvad hva hvorfor hvor aldri noget noe efter etter takk
    des une mes tes ses nos vos leur leurs avez avons ont sommes faire mais donc sans chez depuis jamais toujours
    rien quand pourquoi parce quel quelle aussi alors trop ici cela celui fais eres estoy somos porque cuando
    donde quien nadie nunca siempre también así estos ahora gracias tus
    stai sei fai hai siamo siete della delle degli nella sul sulla dalla alla perché quando cosa dove tutto tutti
    tutta tutte tuo tua suo sua noi voi loro mai sempre molto troppo senza ancora già così però quindi
    fatto niente nessuno ogni proprio essere
    czy dla przez przy masz mnie tego tej kto gdzie kiedy dlaczego bardzo jestem wszyscy nic nikt moja twoja może
    jsem jsi jsou byl byla bylo kde kdo nebo nikdo tohle jen ama gibi daha kadar sonra neden sana bana seni beni
    senin benim bunu evet sadece yang ini itu tidak saya kamu aku untuk dengan juga sudah bisa karena kalau apa siapa
    kenapa banyak sangat hanya kalian jangan hai hain nahi nahin nhi kya kyun aur bhi tum tera tere teri meri yeh
    woh kuch bahut sab koi raha rahe rahi karo liye apna apne
    """.split()  # noqa: SIM905 - as above
).difference(_ENGLISH)


@dataclass(frozen=True, slots=True)
class Readable:
    """A text as the tokenizer gets it. ``origins[i]`` is the index in the comment's own text of character ``i``."""

    text: str
    origins: Sequence[int]


def tell_english(text: str) -> float:
    """How surely a text is English, 0 to 1: 1 unless something speaks for another language.

    The small words of English stand against those of other languages and words with letters that English has not.
    Without either it is English: a list of insults or of wares has no small words.
    """
    words = _PLAIN_WORD.findall(signals.strip_links(text).lower().replace("\u2019", "'"))
    english = sum(word in _ENGLISH for word in words)
    foreign = sum(word in _FOREIGN if word.isascii() else 0.5 + 0.5 * (word in _FOREIGN) for word in words)
    # A foreign name or a loan word in ten says nothing; scripts without spaces have few words, each of them a sentence.
    if foreign <= 0.05 * len(words):
        return 1.0
    return min(max((english / (english + foreign) - 0.3) / 0.4, 0.0), 1.0)


def make_readable(text: str) -> Readable:
    """Canonical text (:mod:`moderation.normalise`) with emoji spelled out by name and the tails of long URLs cut."""
    return read_normalised(normalise(text))


def read_normalised(normalised: Normalised) -> Readable:
    """:func:`make_readable` for a text that is normalised already."""
    text, origins = normalised.text, normalised.origins
    if not _PICTURE.search(text) and not _LONG_URL.search(text):
        return Readable(text, origins if origins is not None else range(len(text)))
    old = origins if origins is not None else range(len(text))
    parts: list[str] = []
    new: list[int] = []
    done = named = 0
    for match in re.finditer(f"{_PICTURE.pattern}|(?P<url>{_LONG_URL.pattern})", text):
        start, end = match.span()
        parts.append(text[done:start])
        new += old[done:start]
        if match["url"]:
            said = match["url"][:_URL_CHARS]
            new += old[start : start + _URL_CHARS]
        else:
            # Twice the same picture is emphasis; ten times says no more. Nor do hundreds of them, but their names would
            # push everything else out of sight.
            named += 1
            said = f" {_picture_name(text[start])}" * min(end - start, 2) + " " if named <= _MAX_PICTURES else " "
            new += [old[start]] * len(said)
        parts.append(said)
        done = end
    parts.append(text[done:])
    new += old[done:]
    return Readable("".join(parts), new)


@lru_cache(maxsize=4096)
def _picture_name(char: str) -> str:
    """What a picture shows, by its Unicode name: ``pile of poo``. Nothing for one without a name."""
    name = unicodedata.name(char, "").lower()
    if name.startswith("emoji modifier fitzpatrick type-"):
        return _SKIN.get(name.rpartition("type-")[2], "skin")
    return name.removeprefix("regional indicator symbol letter ").replace("-", " ")


def read_neighbour(text: str) -> str:
    """What stands beside a comment, as far as it is compared: readable, its beginning."""
    return make_readable(text[:_NEIGHBOUR_CHARS]).text


def read_signature(comment: Comment) -> str:
    """Who a comment is from and where it leads, as one line: the author's name and URL, and the first links.

    ``"Anna | annas-garden.example | wikipedia.org/wiki/Moss"``. Empty where there is no URL at all: names alone say
    little, and nearly every comment has one.
    """
    author = comment.author
    links = [author.url] if author is not None and author.url else []
    links += signals.find_links(comment.text)
    if not links:
        return ""
    name = [author.name] if author is not None and author.name else []
    shown: dict[str, str] = {}
    for link in links:
        address = (link.partition("://")[2] or link).removeprefix("www.")
        shown.setdefault(address.rstrip("/").lower(), address)
    parts = [part[:_SIGNED_CHARS] for part in (*name, *list(shown.values())[:_SIGNED_LINKS])]
    return make_readable(" | ".join(parts)).text


@lru_cache(maxsize=16)
def read_post(post: Post) -> tuple[str, ...]:
    """A post as the texts that a comment is compared with: each passage of some 80 words behind the title.

    At most :data:`MAX_PASSAGES`; of a longer post, as many evenly spaced. Empty without title and text.
    """
    title = " ".join((post.title or "").split())[:_TITLE_CHARS]
    # Scripts without spaces have no words to count; there a passage is so many characters.
    size = _PASSAGE_CHARS // _PASSAGE_WORDS * 4
    words = [
        word[start : start + size]
        for word in _TAG.sub(" ", post.text or "").split()
        for start in range(0, len(word), size)
    ]
    per = _PASSAGE_WORDS if sum(map(len, words)) < 15 * len(words) else _PASSAGE_CHARS // size
    count = -(-len(words) // per)
    if count > 1 and len(words) % per in range(1, per // 4):
        count -= 1  # a short rest belongs to the passage before it
    starts = sorted({round(number) for number in np.linspace(0, count - 1, min(count, MAX_PASSAGES))}) if count else []
    ends = [(start + 1) * per if start + 1 < count else len(words) for start in starts]
    passages = [" ".join(words[start * per : end]) for start, end in zip(starts, ends, strict=True)]
    texts = [f"{title}. {passage}" if title else passage for passage in passages] or ([title] if title else [])
    return tuple(make_readable(text[: _TITLE_CHARS + 2 * _PASSAGE_CHARS]).text for text in texts)


def as_written(readable: Readable, start: int, end: int) -> str:
    """A stretch of the text without the names of its emoji, which are English whatever it is written in."""
    origins = readable.origins
    if isinstance(origins, range):
        return readable.text[start:end]
    return "".join(
        readable.text[index] for index in range(start, end) if index == 0 or origins[index] != origins[index - 1]
    )
