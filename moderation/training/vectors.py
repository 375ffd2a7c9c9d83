"""Vectors of labelled comments, kept from one retraining to the next, so that only new ones are read.

A file in the folder of the cache holds what the encoder made of each comment, under a hash of the comment and of the
code that read it. There is no text in it, and what the labels at hand do not need any more is gone after the next run:
nothing of an erased comment stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from moderation import encoder as encoder_module
from moderation import model, normalise, readable, signals, topic
from moderation.comment import Comment
from moderation.encoder import WIDTH, Encoder
from moderation.heads import Vectors
from moderation.model import MARKS
from moderation.topic import VECTOR_NAMES
from moderation.training.table import Table, read_table, take_vectors

_AT_ONCE = 500
_SAVE_EVERY = 4_000
_KEY_BYTES = 16
_NAMES = ("windows", "owners", "foreign", "related", "signatures")


def read_kept(
    table: Table, encoder: Encoder, folder: Path | None, progress: Callable[[str], None] = lambda _: None
) -> Vectors:
    """What the encoder makes of the rows; what ``folder`` has of an earlier run is not read again.

    A run that is cut off goes on where it was, or up to four thousand comments before. A file that cannot be read is
    made anew.
    """
    path = None if folder is None else folder / f"vectors-{_code(encoder)}.safetensors"
    keys = [comment_key(row.comment) for row in table.rows]
    known, kept = _load(path)
    numbers = {key: number for number, key in enumerate(known)}
    first = {key: row for row, key in reversed(list(enumerate(keys)))}  # of equal comments one is read
    missing = sorted(row for key, row in first.items() if key not in numbers)
    for start in range(0, len(missing), _AT_ONCE):
        progress(f"reading comments with the encoder: {start:,} of {len(missing):,} new ones")
        rows = missing[start : start + _AT_ONCE]
        kept = _join(kept, read_table(table.take(np.array(rows)), encoder, None))
        numbers |= {keys[row]: len(numbers) + place for place, row in enumerate(rows)}
        if (start + _AT_ONCE) % _SAVE_EVERY == 0:
            _save(path, list(numbers), kept)
    index = np.array([numbers[key] for key in keys], dtype=np.int64)
    used = np.unique(index)
    if missing or len(used) < len(numbers):
        names = list(numbers)
        _save(path, [names[number] for number in used.tolist()], take_vectors(kept, used))
    return take_vectors(kept, index)


def forget_vectors(folder: Path, *, but: Path | None = None) -> None:
    """Take away what is kept in a folder, except one file."""
    for pattern in ("vectors-*.safetensors", ".vectors-*.safetensors"):
        for path in folder.glob(pattern):
            if path != but:
                path.unlink()


def _code(encoder: Encoder) -> str:
    """What vectors depend on beside the comment."""
    code = hashlib.sha256(encoder.digest.encode())
    for module in (model, normalise, signals, readable, encoder_module, topic):
        code.update(Path(module.__file__ or "").read_bytes())
    return code.hexdigest()[:16]


def comment_key(comment: Comment) -> bytes:
    """What a comment's vectors are found by. The digest leaves out the addresses that links are compared with."""
    home = f"{comment.digest()} {comment.post.url if comment.post else None} {comment.url}"
    return hashlib.sha256(home.encode()).digest()[:_KEY_BYTES]


def _load(path: Path | None) -> tuple[list[bytes], Vectors]:
    nothing = Vectors(
        np.zeros((0, WIDTH + len(MARKS)), np.float32),
        np.zeros(0, np.int64),
        np.zeros(0, np.float32),
        np.zeros((0, len(VECTOR_NAMES)), np.float32),
        np.zeros((0, WIDTH + 1), np.float32),
    )
    if path is None or not path.is_file():
        return [], nothing
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError):
        return [], nothing
    count = len(arrays.get("keys", ()))
    shapes = {"keys": (count, _KEY_BYTES), **{name: (count, *getattr(nothing, name).shape[1:]) for name in _NAMES}}
    windows = len(arrays.get("owners", ()))
    shapes |= {"windows": (windows, *nothing.windows.shape[1:]), "owners": (windows,)}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        return [], nothing
    if not np.array_equal(np.unique(arrays["owners"]), np.arange(count)):
        return [], nothing
    return [key.tobytes() for key in arrays["keys"]], Vectors(*(arrays[name] for name in _NAMES))


def _save(path: Path | None, keys: list[bytes], vectors: Vectors) -> None:
    """Written aside and renamed, readable by its owner only; files of other encoders and of runs cut off go."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    forget_vectors(path.parent, but=path)
    arrays: dict[str, NDArray[Any]] = {
        "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), _KEY_BYTES),
        **{name: getattr(vectors, name) for name in _NAMES},
    }
    aside = path.with_name(f".{path.name}")
    aside.touch(mode=0o600)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, aside)
    aside.chmod(0o600)
    aside.replace(path)


def _join(first: Vectors, second: Vectors) -> Vectors:
    """The comments of both."""
    return Vectors(
        np.concatenate([first.windows, second.windows]),
        np.concatenate([first.owners, second.owners + len(first.foreign)]),
        np.concatenate([first.foreign, second.foreign]),
        np.concatenate([first.related, second.related]),
        np.concatenate([first.signatures, second.signatures]),
    )
