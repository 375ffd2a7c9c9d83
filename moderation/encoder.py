"""The sentence encoder: one pass over a text gives a class vector, a topic vector and a mark for each token.

A small transformer (six layers, 384 wide) fine-tuned by :mod:`moderation.training.encoder` and run by ONNX Runtime.
The *class vector* (first token) is what heads learn categories from; the *topic vector* (mean of the tokens, length
one) is near that of a post it belongs to; the *marks* say how likely people are to point at a token as the hostile one.
Texts longer than a window are read in overlapping windows, and whoever uses them takes the worst.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray

from moderation import signals
from moderation.comment import Comment, Post
from moderation.cores import count_cores
from moderation.errors import EncoderUnavailable
from moderation.normalise import Normalised, normalise

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

_Read = Callable[[str], "NDArray[np.float32]"]

WIDTH = 384
WINDOW_TOKENS = 128
STRIDE_TOKENS = 96
MAX_WINDOWS = 160
MAX_PASSAGES = 12
_PASSAGE_WORDS = 80
_TITLE_CHARS = 200
_URL_CHARS = 60
_ALONE_TOKENS = 48
_CUT_TOKENS = 24
_MAX_PICTURES = 200
_SIGNED_CHARS = 80
_SIGNED_LINKS = 3
_PASSAGE_CHARS = 800
_NEIGHBOUR_CHARS = 2_000
_TAG = re.compile(r"<[^>]{1,300}>")
# A run of signs is looked at once, from its first: ten thousand dots are no ten thousand places to begin at.
_SENTENCE_END = re.compile(r"(?<![.!?\u2026])[.!?\u2026]+[\"'\u2019\u201d)\]]*\s+|\u3002+\s*|\n+")
_PLAIN_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")

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


@dataclass(frozen=True, slots=True)
class Window:
    """What one pass gave for one window.

    Shapes: ``class_vector`` and ``topic_vector`` (384,), ``marks`` (tokens,) in 0 to 1, ``spans`` (tokens, 2): start
    and end of each token in the comment's own text. ``english`` (0 to 1) is how far the vectors can be believed: the
    encoder has learned English alone. ``alone`` is whether this is one sentence of a longer text, read by itself.
    """

    class_vector: NDArray[np.float32]
    topic_vector: NDArray[np.float32]
    marks: NDArray[np.float32]
    spans: NDArray[np.int32]
    english: float
    alone: bool = False


def tell_english(text: str) -> float:
    """How surely a text is English, 0 to 1: 1 unless something speaks for another language.

    The small words of English stand against those of other languages and words with letters that English has not.
    Without either it is English: a list of insults or of wares has no small words.
    """
    words = _PLAIN_WORD.findall(text.lower().replace("\u2019", "'"))
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


@dataclass(frozen=True, slots=True)
class TokenWindow:
    """Token ids of one window with the special ones, the spans of the others, and how surely it is English."""

    ids: list[int]
    spans: NDArray[np.int32]
    english: float


def keep_runtime_quiet() -> None:
    """Have ONNX Runtime keep and send nothing about its use; to be called before it is imported.

    From 1.29 its official builds for Linux and macOS report sessions and models to their maker, with an id that they
    leave on the machine, unless this variable is set.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class Encoder:
    """A loaded encoder. Thread-safe; texts are read one by one, so what a text gives never depends on its neighbours.

    Quantised activations share one scale per pass: in a batch, a text's vectors would shift with the others in it, and
    a decision could not be replayed. A batch is no quicker on a CPU either; several texts are read by several threads
    instead, each with one core, the longest first. ``digest`` is the SHA-256 (hex) of both files.
    """

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer, threads: int, digest: str) -> None:
        self.digest = digest
        self._session = session
        self._tokenizer = tokenizer
        self._threads = threads
        self._start = _special(tokenizer, "[CLS]")
        self._end = _special(tokenizer, "[SEP]")
        # Posts, parents and neighbours come again with every comment on the same page.
        self._pool = ThreadPoolExecutor(threads)  # starts no thread before there is work
        # By weak references: an encoder that refers to itself would stay until garbage is collected, which does not see
        # how large it is.
        self._topic_vector = lru_cache(maxsize=4096)(_weakly(self._read_topic))
        self._class_vector = lru_cache(maxsize=1024)(_weakly(self._read_class))

    @classmethod
    def load(cls, model: bytes | Path, tokenizer: bytes | Path, *, threads: int | None = None) -> Encoder:
        """An encoder from ``encoder.onnx`` and ``tokenizer.json``, as paths or contents.

        ``threads`` is how many texts are read side by side (``None``: as many as there are cores, at most eight).
        Raises ``EncoderUnavailable`` when a file cannot be read, is not what it should be, or ONNX Runtime is missing.
        """
        keep_runtime_quiet()
        try:
            from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions  # noqa: PLC0415 - heavy
            from tokenizers import Tokenizer  # noqa: PLC0415 - heavy

            options = SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
            options.log_severity_level = 4  # what goes wrong is raised and told by us
            content = model.read_bytes() if isinstance(model, Path) else model
            session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
            vocabulary = tokenizer.read_bytes() if isinstance(tokenizer, Path) else tokenizer
            words = Tokenizer.from_buffer(vocabulary)
            words.no_truncation()
            words.no_padding()
            words.encode_special_tokens = True  # "[SEP]" in a comment is what its author typed
            digest = hashlib.sha256(content + vocabulary).hexdigest()
            loaded = cls(session, words, threads or min(count_cores(), 8), digest)
            [window] = loaded.read(make_readable("It works."))
            shapes = (window.class_vector.shape, window.topic_vector.shape, window.marks.shape)
            if shapes != ((WIDTH,), (WIDTH,), window.spans.shape[:1]):
                raise ValueError(f"it gives arrays of the shapes {shapes}")  # noqa: TRY301 - told as any other fault
        except Exception as error:  # of several libraries, each with errors of its own
            raise EncoderUnavailable(f"the encoder cannot be loaded: {error}") from error
        return loaded

    def read(self, readable: Readable, *, with_sentence: bool = True) -> list[Window]:
        """What the encoder sees in one text, window by window; at least one. Raises ``EncoderUnavailable``.

        Of a text of more than 48 tokens the sentence with the strongest mark comes last, read by itself, or 24 tokens
        of one that is longer still: one hostile sentence among ten harmless ones hardly moves the vector of the window
        that they share. Who looks at windows alone does without, ``with_sentence`` being false.
        """
        windows = [self._run(window) for window in self.windows(readable)]
        sentence = _telling_sentence(readable, windows) if with_sentence else None
        if sentence is None:
            return windows
        return [*windows, replace(self._run(self.windows(sentence)[0]), alone=True)]

    def read_many(self, texts: Sequence[Readable], *, with_sentence: bool = True) -> list[list[Window]]:
        """:meth:`read` for several texts, side by side, in their order. Raises ``EncoderUnavailable``."""
        if len(texts) < 2 or self._threads < 2:
            return [self.read(text, with_sentence=with_sentence) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index].text))
        results: list[list[Window]] = [[] for _ in texts]

        def read(index: int) -> list[Window]:
            return self.read(texts[index], with_sentence=with_sentence)

        for index, windows in zip(order, self._pool.map(read, order), strict=True):
            results[index] = windows
        return results

    def topic_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Topic vectors of one or more readable texts (their first window), shape (texts, 384).

        Raises ``EncoderUnavailable``.
        """
        many = len(texts) > 1 and self._threads > 1
        return np.stack(list((self._pool.map if many else map)(self._topic_vector, texts)))

    def class_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Class vectors of one or more short readable texts (their first window), shape (texts, 384).

        Raises ``EncoderUnavailable``.
        """
        return np.stack([self._class_vector(text) for text in texts])

    def windows(self, readable: Readable) -> list[TokenWindow]:
        """The text as token ids, in windows of 128 that overlap by a quarter.

        Of a text that would take more than :data:`MAX_WINDOWS` windows, as many evenly spaced, the ends included.
        """
        try:
            encoding = self._tokenizer.encode(readable.text, add_special_tokens=False)
        except Exception as error:  # the tokenizer raises what it likes
            raise EncoderUnavailable(f"the tokenizer failed: {type(error).__name__}") from error
        ids, offsets = encoding.ids, encoding.offsets
        spans = np.array(
            [(readable.origins[start], readable.origins[end - 1] + 1) for start, end in offsets], np.int32
        ).reshape(-1, 2)
        size, step = WINDOW_TOKENS - 2, STRIDE_TOKENS
        starts = list(range(0, max(len(ids) - size, 0) + step, step)) if len(ids) > size else [0]
        starts = [min(start, max(len(ids) - size, 0)) for start in starts]
        starts = list(dict.fromkeys(starts))
        if len(starts) > MAX_WINDOWS:
            starts = [starts[round(number)] for number in np.linspace(0, len(starts) - 1, MAX_WINDOWS)]
        return [
            TokenWindow(
                [self._start, *ids[start : start + size], self._end],
                spans[start : start + size],
                tell_english(_as_written(readable, offsets[start][0], offsets[start : start + size][-1][1]))
                if ids
                else 1,
            )
            for start in starts
        ]

    def _read_topic(self, text: str) -> NDArray[np.float32]:
        return self._run(self.windows(Readable(text, range(len(text))))[0]).topic_vector

    def _read_class(self, text: str) -> NDArray[np.float32]:
        return self._run(self.windows(Readable(text, range(len(text))))[0]).class_vector

    def _run(self, window: TokenWindow) -> Window:
        try:
            outputs: Any = self._session.run(None, {"ids": np.array([window.ids], np.int64)})
            class_vector, topic_vector, marks = outputs
        except Exception as error:  # ONNX Runtime raises many kinds
            raise EncoderUnavailable(f"the encoder failed: {type(error).__name__}") from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise EncoderUnavailable("the encoder gave numbers that are none")
        return Window(class_vector, topic_vector, marks[1:-1], window.spans, window.english)


def _telling_sentence(readable: Readable, windows: Sequence[Window]) -> Readable | None:
    """The sentence in which the strongest mark stands; of one that is longer than 48 tokens, the 24 around the mark.

    ``None`` of a text of no more than 48 tokens.
    """
    if sum(len(window.marks) for window in windows) <= _ALONE_TOKENS:
        return None
    window = max(windows, key=lambda window: float(window.marks.max(initial=0)))
    at = bisect_left(readable.origins, int(window.spans[window.marks.argmax(), 0]))
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(readable.text)), len(readable.text)]
    after = bisect_right(ends, at, hi=len(ends) - 1)
    start, end = ends[after - 1], ends[after]
    # Where tokens begin; those of a picture's name all begin where the picture stands.
    begins = sorted({bisect_left(readable.origins, begin) for one in windows for begin in one.spans[:, 0].tolist()})
    first, last = bisect_left(begins, start), bisect_left(begins, end)
    if last - first > _ALONE_TOKENS:
        first = min(max(first, bisect_left(begins, at) - _CUT_TOKENS // 2), last - _CUT_TOKENS)
        start = begins[first]
        end = begins[first + _CUT_TOKENS] if first + _CUT_TOKENS < last else end
    if not readable.text[:start].strip() and not readable.text[end:].strip():
        return None
    return Readable(readable.text[start:end], readable.origins[start:end])


def _weakly(method: _Read) -> _Read:
    """The same method, without keeping whose it is."""
    reference = WeakMethod(method)

    def read(text: str) -> NDArray[np.float32]:
        found = reference()
        assert found is not None  # asked by an encoder that is being used
        return found(text)

    return read


def _as_written(readable: Readable, start: int, end: int) -> str:
    """A stretch of the text without the names of its emoji, which are English whatever it is written in."""
    origins = readable.origins
    if isinstance(origins, range):
        return readable.text[start:end]
    return "".join(
        readable.text[index] for index in range(start, end) if index == 0 or origins[index] != origins[index - 1]
    )


def _special(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that every window needs. Raises ``ValueError`` for a vocabulary without it."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the vocabulary has no {token}")
    return found
