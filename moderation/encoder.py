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

from moderation.cores import count_cores
from moderation.errors import EncoderUnavailable
from moderation.readable import Readable, as_written, make_readable, tell_english

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

_Read = Callable[[str], "NDArray[np.float32]"]

WIDTH = 384
WINDOW_TOKENS = 128
STRIDE_TOKENS = 96
MAX_WINDOWS = 160
_ALONE_TOKENS = 48
_CUT_TOKENS = 24
# A run of signs is looked at once, from its first: ten thousand dots are no ten thousand places to begin at.
_SENTENCE_END = re.compile(r"(?<![.!?\u2026])[.!?\u2026]+[\"'\u2019\u201d)\]]*\s+|\u3002+\s*|\n+")


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
                tell_english(as_written(readable, offsets[start][0], offsets[start : start + size][-1][1]))
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


def _special(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that every window needs. Raises ``ValueError`` for a vocabulary without it."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the vocabulary has no {token}")
    return found
