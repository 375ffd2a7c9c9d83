"""A bundle: one model's folder on disk. Written aside and renamed, checked before it is believed, never pickled.

::

    comments-0123456789ab/
      manifest.json           format, versions, sources; size and SHA-256 of every other file
      arrays.safetensors      the numbers of heads and tables, plain arrays
      operating_points.json   thresholds with their measured recall and false positive rate
      evaluation.json         what the bundle scored on the frozen sets
      probes.jsonl            our own comments with the scores they must get when loaded, per tier
      MODEL_CARD.md
    encoder-0123456789ab/     shared by every bundle whose manifest names it
      encoder.onnx            the sentence encoder, 8-bit weights
      tokenizer.json          its vocabulary

The name ends in the first digits of the manifest's own hash, and nothing hashed holds a time: the same rows, seed and
library versions give the same name. In the folder above, ``current`` is one line naming the published bundle and
``published.jsonl`` the history.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from moderation import normalise, signals, topic
from moderation.categories import CODES
from moderation.comment import Comment, Facts, Scores
from moderation.encoder import WIDTH, Encoder
from moderation.errors import BundleCorrupt, BundleMissing, BundleUnsupported, EncoderUnavailable, InvalidComment
from moderation.heads import FIELDS, FieldWeights, FullHeads, Heads
from moderation.lexical import LexicalSpec
from moderation.model import CONTEXT, DENSE, MARKS, FullTier, Model
from moderation.topic import TopicModel

FORMAT = 4
FILES = ("arrays.safetensors", "operating_points.json", "evaluation.json", "probes.jsonl", "MODEL_CARD.md")
ENCODER_FILES = ("encoder.onnx", "tokenizer.json")
_NAME = re.compile(r"comments-[0-9a-f]{12}")
_ENCODER_NAME = re.compile(r"encoder-[0-9a-f]{12}")
# Processors add in another order, and what the encoder rounds to eight bits may then fall on the other side.
_PROBE_TOLERANCE = {"lexical": 1e-4, "full": 0.03}
_MANIFEST_KEYS = frozenset(
    {"format", "tiers", "normalise", "heads", "dense", "context", "windows", "fields", "files", "encoder", "made_with"}
    | {"trained_on"}
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded, checked bundle.

    ``fault`` says why the encoder that the manifest names is not in use, ``None`` where nothing is wrong; the lexical
    tier answers meanwhile.
    """

    name: str
    path: Path
    manifest: Mapping[str, Any]
    model: Model
    operating_points: Mapping[str, Any]
    fault: str | None = None

    def assess(self, comments: Sequence[Comment]) -> list[tuple[Scores, Facts]]:
        """:meth:`Model.assess`, the facts naming this bundle."""
        return [(scores, replace(facts, bundle=self.name)) for scores, facts in self.model.assess(comments)]

    def assess_or_hold(
        self, comments: Sequence[Comment], tell: Callable[[str], None] = lambda _: None
    ) -> list[tuple[Scores | None, Facts]]:
        """:meth:`assess` for when a person is there to decide what the model cannot. Never raises.

        Scores are ``None``, for which a policy holds, where the model failed or a score is no finite number; ``tell``
        hears what kind of fault it was, never its message, which may quote a comment.
        """
        try:
            assessed = self.assess(comments)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the model
            tell(type(error).__name__)
            # One comment that the model cannot stand takes no others with it.
            if len(comments) == 1:
                return [unscored(comments[0])]
            return [self.assess_or_hold([comment], tell)[0] for comment in comments]
        results: list[tuple[Scores | None, Facts]] = []
        for comment, (scores, facts) in zip(comments, assessed, strict=True):
            is_finite = all(value is None or math.isfinite(value) for value in scores.to_dict().values())
            if not is_finite:
                tell("a score is not finite")
            results.append((scores, facts) if is_finite else unscored(comment))
        return results


def unscored(comment: Comment) -> tuple[None, Facts]:
    """What is known of a comment without a model."""
    try:
        links, domains = signals.link_facts(comment)
    except Exception:  # noqa: BLE001 - without the links a person still decides
        return None, Facts()
    return None, Facts(links=links, domains=domains)


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
    encoder: Path | None = None,
) -> Path:
    """Write a bundle into the folder ``models`` and return its path; an equal one that is there already is kept.

    ``encoder`` is the folder with the files that ``model`` read its encoder from; they are stored once, by hash.
    """
    if (model.full is None) != (encoder is None):
        raise ValueError("a bundle with a full tier needs the folder of its encoder, and one without has none")
    heads = model.heads
    probes = [Comment.from_dict(_comment_dict(comment)) for comment in probes]  # as they will be read again
    tiers = {"lexical": model.lexical_tier().score(probes)}
    if model.full is not None:
        tiers["full"] = model.score(probes)
    files = {
        "arrays.safetensors": save_arrays(_arrays(model)),
        "operating_points.json": _json(operating_points),
        "evaluation.json": _json(evaluation),
        "probes.jsonl": b"".join(
            _json(
                {
                    "comment": _comment_dict(comment),
                    "scores": {tier: scores[number].to_dict() for tier, scores in tiers.items()},
                },
                indent=None,
            )
            for number, comment in enumerate(probes)
        ),
        "MODEL_CARD.md": card.encode(),
    }
    manifest = {
        "format": FORMAT,
        "tiers": sorted(tiers),
        "normalise": normalise.VERSION,
        "heads": list(heads.codes),
        "dense": list(DENSE),
        "context": list(CONTEXT),
        "windows": list(MARKS),
        "fields": {name: asdict(field.spec) for name, field in heads.fields.items()},
        "files": {name: _fingerprint(content) for name, content in files.items()},
        "encoder": _store_encoder(models, encoder) if encoder is not None else None,
        "made_with": dict(made_with),
        "trained_on": trained_on,
    }
    content = _json(manifest)
    path = models / f"comments-{hashlib.sha256(content).hexdigest()[:12]}"
    _write_aside(path, {**files, "manifest.json": content})
    return path


def load_bundle(path: Path, *, threads: int | None = None) -> Bundle:
    """Check every hash, then the shapes, then the probe comments; only then is it a bundle.

    ``threads`` is how many texts the encoder reads side by side (``None``: see :meth:`Encoder.load`).

    An encoder that is missing, broken or gives other scores is no reason to be without a model: the bundle then
    answers with its lexical tier, and ``fault`` says why.

    Raises ``BundleMissing``, ``BundleCorrupt`` (what is wrong with which file) or ``BundleUnsupported``.
    """
    manifest = _read_manifest(path)
    contents = {name: _read_file(path, name, manifest["files"]) for name in FILES}
    try:
        model, full_heads = _model(load_arrays(contents["arrays.safetensors"]), manifest)
        operating_points = json.loads(contents["operating_points.json"])
        probes = [json.loads(line) for line in contents["probes.jsonl"].splitlines()]
        comments = [Comment.from_dict(probe["comment"]) for probe in probes]
        expected = {tier: [Scores.from_dict(probe["scores"][tier]) for probe in probes] for tier in manifest["tiers"]}
    except (SafetensorError, ValueError, KeyError, TypeError, InvalidComment) as error:
        raise BundleCorrupt(f"{path.name} is not what its manifest says: {error}") from error
    _check_probes(path, "lexical", model.score(comments), expected["lexical"])
    fault = None
    if full_heads is not None:
        try:
            whole = replace(model, full=FullTier(_load_encoder(path.parent, manifest["encoder"], threads), full_heads))
            _check_probes(path, "full", whole.score(comments), expected["full"])
            model = whole
        except (EncoderUnavailable, BundleUnsupported) as error:
            fault, model = str(error), replace(model, encoder_missing=True)
    return Bundle(path.name, path, manifest, model, operating_points, fault)


def encoder_folder(bundle: Path) -> Path | None:
    """The folder of the encoder that a bundle names, ``None`` where it has none. Raises as :func:`load_bundle`."""
    stored = _read_manifest(bundle)["encoder"]
    return bundle.parent / stored["folder"] if stored else None


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
    """Make a bundle the current one of the folder it lies in. One rename, so a reader sees the old or the new one.

    Raises as :func:`load_bundle`, and ``BundleUnsupported`` for a bundle whose encoder cannot be used here.
    """
    if fault := load_bundle(path).fault:
        raise BundleUnsupported(f"{path.name} is not published, because it would answer without its encoder: {fault}")
    models = path.parent
    entry = {"bundle": path.name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "note": note}
    with (models / "published.jsonl").open("a", encoding="utf-8") as history:
        history.write(json.dumps(entry) + "\n")
    aside = models / f".current-{os.getpid()}"
    aside.write_text(path.name + "\n", encoding="utf-8")
    aside.replace(models / "current")


def _write_aside(path: Path, files: Mapping[str, bytes]) -> None:
    """A folder with these files, complete from the moment it is there; one that is there already is kept."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        for name, data in files.items():
            (aside / name).write_bytes(data)
        aside.chmod(0o755)
        aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _store_encoder(models: Path, folder: Path) -> dict[str, Any]:
    """Copy the encoder's files beside the bundles, under a name by their hashes; what the manifest says of them."""
    files = {name: (folder / name).read_bytes() for name in ENCODER_FILES}
    prints = {name: _fingerprint(content) for name, content in files.items()}
    name = f"encoder-{hashlib.sha256(_json(prints)).hexdigest()[:12]}"
    _write_aside(models / name, files)
    return {"folder": name, "files": prints}


def _load_encoder(models: Path, stored: Mapping[str, Any], threads: int | None) -> Encoder:
    """The encoder of a manifest, its files checked. Raises ``EncoderUnavailable``."""
    folder = models / stored["folder"]
    try:
        contents = [_read_file(folder, name, stored["files"]) for name in ENCODER_FILES]
    except BundleCorrupt as error:
        raise EncoderUnavailable(str(error)) from error
    return Encoder.load(*contents, threads=threads)


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
    if isinstance(version, int) and version < FORMAT:
        raise BundleUnsupported(
            f"{path.name} has the older format {version}, this version reads {FORMAT}: train it again"
        )
    if not isinstance(manifest, dict) or version != FORMAT or set(manifest) != _MANIFEST_KEYS:
        raise BundleCorrupt(f"manifest.json of {path.name} lacks entries or has unknown ones")
    if path.name != f"comments-{hashlib.sha256(content).hexdigest()[:12]}":
        raise BundleCorrupt(f"manifest.json of {path.name} was changed: its hash no longer gives the folder's name")
    expected = {
        "normalise": normalise.VERSION,
        "dense": list(DENSE),
        "context": list(CONTEXT),
        "windows": list(MARKS),
    }
    for key, value in expected.items():
        if manifest[key] != value:
            raise BundleUnsupported(f"{path.name} was made for other {key} than this version has: train it again")
    if sorted(manifest["heads"]) != sorted(CODES) or set(manifest["fields"]) != set(FIELDS):
        raise BundleUnsupported(f"{path.name} has other heads or fields than this version knows: train it again")
    if set(manifest["files"]) != set(FILES):
        raise BundleUnsupported(f"{path.name} lists other files than this version knows")
    stored = manifest["encoder"]
    if manifest["tiers"] != (["full", "lexical"] if stored else ["lexical"]) or (
        stored and not _ENCODER_NAME.fullmatch(stored["folder"])
    ):
        raise BundleUnsupported(f"{path.name} has other tiers or another encoder than this version knows")
    return manifest


def _read_file(path: Path, name: str, files: Mapping[str, Any]) -> bytes:
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise BundleCorrupt(f"{name} of {path.name} cannot be read: {error}") from error
    if _fingerprint(content) != files[name]:
        raise BundleCorrupt(f"{name} of {path.name} has another size or SHA-256 than its manifest says")
    return content


def _check_probes(path: Path, tier: str, scored: Sequence[Scores], expected: Sequence[Scores]) -> None:
    """Same arrays, same texts, other scores: then this machine or this release computes something else. Refuse."""
    for scores, wanted in zip(scored, expected, strict=True):
        for code in CODES:
            one, other = scores[code], wanted[code]
            if (one is None) != (other is None) or not abs((one or 0) - (other or 0)) <= _PROBE_TOLERANCE[tier]:
                raise BundleUnsupported(
                    f"{path.name} gives other scores here than where it was made ({tier} tier, {code}: {one} instead "
                    f"of {other})"
                )


_HEADS = ("mean", "scale", "dense_weights", "intercept", "calibration")
_FULL_HEADS = (
    *("window_weights", "signature_weights", "mean", "scale", "context_weights", "intercept", "knots"),
    *("quiet_weights", "quiet_intercept"),
)


def _arrays(model: Model) -> dict[str, NDArray[Any]]:
    heads = model.heads
    arrays: dict[str, NDArray[Any]] = {"topic.idf": model.topic.idf, **{name: getattr(heads, name) for name in _HEADS}}
    for name, field in heads.fields.items():
        arrays[f"{name}.idf"] = field.idf.astype(np.float16)
        arrays[f"{name}.weights"] = field.weights
    if model.full is not None:
        arrays |= {f"full.{name}": getattr(model.full.heads, name) for name in _FULL_HEADS}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _model(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> tuple[Model, FullHeads | None]:
    """The lexical tier, and the heads of the full one where there is one."""
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
    if "full" in manifest["tiers"]:
        context = len(CONTEXT)
        shapes |= {
            "full.window_weights": (WIDTH + len(MARKS), count),
            "full.signature_weights": (WIDTH + 1, count),
            "full.mean": (context,),
            "full.scale": (context,),
            "full.context_weights": (context, count),
            "full.intercept": (count,),
            "full.knots": (count, 2, arrays["full.knots"].shape[-1]),
            "full.quiet_weights": (WIDTH + len(MARKS),),
            "full.quiet_intercept": (1,),
        }
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ValueError("its arrays have other names or shapes")
    fields = {
        name: FieldWeights(spec, arrays[f"{name}.idf"].astype(np.float32), arrays[f"{name}.weights"])
        for name, spec in specs.items()
    }
    codes = tuple(manifest["heads"])
    model = Model(
        Heads(codes, fields, **{name: arrays[name] for name in _HEADS}),
        TopicModel(arrays["topic.idf"]),
    )
    if "full" not in manifest["tiers"]:
        return model, None
    return model, FullHeads(codes, **{name: arrays[f"full.{name}"] for name in _FULL_HEADS})


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
