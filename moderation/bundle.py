"""A bundle: one model's folder on disk. Written aside and renamed, checked before it is believed, never pickled.

::

    comments-0123456789ab/
      manifest.json           format, versions, sources; size and SHA-256 of every other file
      arrays.safetensors      the numbers of heads and tables, plain arrays
      operating_points.json   thresholds with their measured recall and false positive rate
      evaluation.json         what the bundle scored on the frozen sets
      probes.jsonl            our own comments with the scores they must get when loaded
      MODEL_CARD.md

The name ends in the first digits of the manifest's own hash, and nothing hashed holds a time: the same rows, seed and
library versions give the same name. In the folder above, ``current`` is one line naming the published bundle and
``published.jsonl`` the history.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from moderation import normalise, topic
from moderation.categories import CODES
from moderation.comment import Comment, Scores
from moderation.errors import BundleCorrupt, BundleMissing, BundleUnsupported, InvalidComment
from moderation.heads import FIELDS, FieldWeights, Heads
from moderation.lexical import LexicalSpec
from moderation.model import DENSE, Model
from moderation.policy import Facts
from moderation.topic import TopicModel

FORMAT = 1
FILES = ("arrays.safetensors", "operating_points.json", "evaluation.json", "probes.jsonl", "MODEL_CARD.md")
_NAME = re.compile(r"comments-[0-9a-f]{12}")
_PROBE_TOLERANCE = 1e-4
_MANIFEST_KEYS = frozenset(
    {"format", "tiers", "normalise", "heads", "dense", "fields", "files", "made_with", "trained_on"}
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded, checked bundle."""

    name: str
    path: Path
    manifest: Mapping[str, Any]
    model: Model
    operating_points: Mapping[str, Any]

    def assess(self, comments: Sequence[Comment]) -> list[tuple[Scores, Facts]]:
        """:meth:`Model.assess`, the facts naming this bundle."""
        return [(scores, replace(facts, bundle=self.name)) for scores, facts in self.model.assess(comments)]


def write_bundle(
    models: Path,
    model: Model,
    *,
    operating_points: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    probes: Sequence[Comment],
    card: str,
    made_with: Mapping[str, str],
    trained_on: Mapping[str, Any],
) -> Path:
    """Write a bundle into the folder ``models`` and return its path; an equal one that is there already is kept."""
    heads = model.heads
    probes = [Comment.from_dict(_comment_dict(comment)) for comment in probes]  # as they will be read again
    files = {
        "arrays.safetensors": save_arrays(_arrays(model)),
        "operating_points.json": _json(operating_points),
        "evaluation.json": _json(evaluation),
        "probes.jsonl": b"".join(
            _json({"comment": _comment_dict(comment), "scores": scores.to_dict()}, indent=None)
            for comment, scores in zip(probes, model.score(probes), strict=True)
        ),
        "MODEL_CARD.md": card.encode(),
    }
    manifest = {
        "format": FORMAT,
        "tiers": ["lexical"],
        "normalise": normalise.VERSION,
        "heads": list(heads.codes),
        "dense": list(DENSE),
        "fields": {name: asdict(field.spec) for name, field in heads.fields.items()},
        "files": {name: _fingerprint(content) for name, content in files.items()},
        "made_with": dict(made_with),
        "trained_on": trained_on,
    }
    content = _json(manifest)
    path = models / f"comments-{hashlib.sha256(content).hexdigest()[:12]}"
    if path.exists():
        return path
    models.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=models))
    try:
        for name, data in {**files, "manifest.json": content}.items():
            (aside / name).write_bytes(data)
        aside.chmod(0o755)
        aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return path


def load_bundle(path: Path) -> Bundle:
    """Check every hash, then the shapes, then the probe comments; only then is it a bundle.

    Raises ``BundleMissing``, ``BundleCorrupt`` (what is wrong with which file) or ``BundleUnsupported``.
    """
    manifest = _read_manifest(path)
    contents = {name: _read_file(path, name, manifest["files"]) for name in FILES}
    try:
        model = _model(load_arrays(contents["arrays.safetensors"]), manifest)
        operating_points = json.loads(contents["operating_points.json"])
        probes = [json.loads(line) for line in contents["probes.jsonl"].splitlines()]
        comments = [Comment.from_dict(probe["comment"]) for probe in probes]
        expected = [Scores.from_dict(probe["scores"]) for probe in probes]
    except (SafetensorError, ValueError, KeyError, TypeError, InvalidComment) as error:
        raise BundleCorrupt(f"{path.name} is not what its manifest says: {error}") from error
    _check_probes(path, model.score(comments), expected)
    return Bundle(path.name, path, manifest, model, operating_points)


def current_bundle(models: Path) -> Path:
    """The folder of the published bundle. Raises ``BundleMissing`` where nothing is published."""
    pointer = models / "current"
    try:
        name = pointer.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise BundleMissing(f"no bundle is published in {models}: {pointer.name} cannot be read ({error})") from error
    path = models / name
    if not _NAME.fullmatch(name) or not path.is_dir():
        raise BundleMissing(f"{pointer} names {name!r}, but there is no such bundle beside it")
    return path


def publish_bundle(path: Path, *, note: str) -> None:
    """Make a bundle the current one of the folder it lies in. One rename, so a reader sees the old or the new one."""
    load_bundle(path)
    models = path.parent
    entry = {"bundle": path.name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "note": note}
    with (models / "published.jsonl").open("a", encoding="utf-8") as history:
        history.write(json.dumps(entry) + "\n")
    aside = models / f".current-{os.getpid()}"
    aside.write_text(path.name + "\n", encoding="utf-8")
    aside.replace(models / "current")


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise BundleMissing(f"there is no bundle {path}")
    try:
        content = (path / "manifest.json").read_bytes()
        manifest = json.loads(content)
    except (OSError, ValueError) as error:
        raise BundleCorrupt(f"manifest.json of {path.name} cannot be read: {error}") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise BundleUnsupported(
            f"{path.name} has format {version}, this version reads up to {FORMAT}: update the software"
        )
    if not isinstance(manifest, dict) or version != FORMAT or set(manifest) != _MANIFEST_KEYS:
        raise BundleCorrupt(f"manifest.json of {path.name} lacks entries or has unknown ones")
    if path.name != f"comments-{hashlib.sha256(content).hexdigest()[:12]}":
        raise BundleCorrupt(f"manifest.json of {path.name} was changed: its hash no longer gives the folder's name")
    expected = {"tiers": ["lexical"], "normalise": normalise.VERSION, "dense": list(DENSE)}
    for key, value in expected.items():
        if manifest[key] != value:
            raise BundleUnsupported(f"{path.name} was made for other {key} than this version has: train it again")
    if sorted(manifest["heads"]) != sorted(CODES) or set(manifest["fields"]) != set(FIELDS):
        raise BundleUnsupported(f"{path.name} has other heads or fields than this version knows: train it again")
    if set(manifest["files"]) != set(FILES):
        raise BundleUnsupported(f"{path.name} lists other files than this version knows")
    return manifest


def _read_file(path: Path, name: str, files: Mapping[str, Any]) -> bytes:
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise BundleCorrupt(f"{name} of {path.name} cannot be read: {error}") from error
    if _fingerprint(content) != files[name]:
        raise BundleCorrupt(f"{name} of {path.name} has another size or SHA-256 than its manifest says")
    return content


def _check_probes(path: Path, scored: Sequence[Scores], expected: Sequence[Scores]) -> None:
    """Same arrays, same texts, other scores: then this machine or this release computes something else. Refuse."""
    for scores, wanted in zip(scored, expected, strict=True):
        for code in CODES:
            one, other = scores[code], wanted[code]
            if (one is None) != (other is None) or not abs((one or 0) - (other or 0)) <= _PROBE_TOLERANCE:
                raise BundleUnsupported(
                    f"{path.name} gives other scores here than where it was made ({code}: {one} instead of {other})"
                )


def _arrays(model: Model) -> dict[str, NDArray[Any]]:
    heads = model.heads
    arrays: dict[str, NDArray[Any]] = {
        "topic.idf": model.topic.idf,
        "mean": heads.mean,
        "scale": heads.scale,
        "dense_weights": heads.dense_weights,
        "intercept": heads.intercept,
        "calibration": heads.calibration,
    }
    for name, field in heads.fields.items():
        arrays[f"{name}.idf"] = field.idf.astype(np.float16)
        arrays[f"{name}.weights"] = field.weights
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _model(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> Model:
    count = len(manifest["heads"])
    shapes: dict[str, tuple[int, ...]] = {
        "topic.idf": (1 << topic.BITS,),
        "mean": (len(DENSE),),
        "scale": (len(DENSE),),
        "dense_weights": (len(DENSE), count),
        "intercept": (count,),
        "calibration": (count, 2),
    }
    specs = {name: LexicalSpec(**manifest["fields"][name]) for name in FIELDS}
    for name, spec in specs.items():
        shapes[f"{name}.idf"] = (1 << spec.bits,)
        shapes[f"{name}.weights"] = (1 << spec.bits, count)
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ValueError("its arrays have other names or shapes")
    fields = {
        name: FieldWeights(spec, arrays[f"{name}.idf"].astype(np.float32), arrays[f"{name}.weights"])
        for name, spec in specs.items()
    }
    heads = Heads(
        tuple(manifest["heads"]),
        fields,
        **{name: arrays[name] for name in ("mean", "scale", "dense_weights", "intercept", "calibration")},
    )
    return Model(heads, TopicModel(arrays["topic.idf"]))


def _fingerprint(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _json(value: Any, indent: int | None = 1) -> bytes:
    return (json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _comment_dict(comment: Comment) -> dict[str, Any]:
    """The comment as the API takes it, unset fields left out."""
    data: dict[str, Any] = {"text": comment.text, "kind": comment.kind}
    for name in ("author", "post", "parent"):
        value = getattr(comment, name)
        if value is not None:
            data[name] = {key: item for key, item in asdict(value).items() if item}
    return data
