"""A bundle: one model's folder on disk. Written aside and renamed, checked before it is believed, never pickled.

::

    comments-0123456789ab/
      manifest.json           format, versions, sources; size and SHA-256 of every other file
      arrays.safetensors      the numbers of heads and tables, plain arrays
      operating_points.json   thresholds with their measured recall and false positive rate
      evaluation.json         what the bundle scored on the frozen sets
      probes.jsonl            our own comments with the scores they must get when loaded, per tier
      anchors.safetensors     rows as figures without text, which labels are learned beside
      MODEL_CARD.md
    encoder-0123456789ab/     shared by every bundle whose manifest names it
      encoder.onnx            the sentence encoder, 8-bit weights
      tokenizer.json          its vocabulary

The name ends in the first digits of the manifest's own hash, and nothing hashed holds a time: the same rows, seed and
library versions give the same name. Which bundle of a folder serves is for :mod:`moderation.releases` to say.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from moderation import normalise, signals
from moderation.arrays import adapted_sites, from_arrays, to_arrays
from moderation.categories import CODES
from moderation.comment import Comment, Facts, Scores
from moderation.encoder import Encoder
from moderation.errors import BundleCorrupt, BundleMissing, BundleUnsupported, EncoderUnavailable, InvalidComment
from moderation.files import turn, write_folder
from moderation.heads import FIELDS
from moderation.model import CONTEXT, DENSE, MARKS, FullTier, Model

FORMAT = 7
FILES = ("arrays.safetensors", "operating_points.json", "evaluation.json", "probes.jsonl", "MODEL_CARD.md")
ENCODER_FILES = ("encoder.onnx", "tokenizer.json")
ANCHORS = "anchors.safetensors"
_ENCODER_NAME = re.compile(r"encoder-[0-9a-f]{12}")
# Processors add in another order, and what the encoder rounds to eight bits may then fall on the other side.
_PROBE_TOLERANCE = {"lexical": 1e-4, "full": 0.03}
_MANIFEST_KEYS = frozenset(
    {"format", "tiers", "normalise", "heads", "dense", "context", "windows", "fields", "files", "encoder", "made_with"}
    | {"trained_on", "adapted_sites"}
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
    anchors: Mapping[str, NDArray[Any]] | bytes | None = None,
) -> Path:
    """Write a bundle into the folder ``models`` and return its path; an equal one that is there already is kept.

    ``encoder`` is the folder with the files that ``model`` read its encoder from; they are stored once, by hash.
    ``anchors`` are those of :func:`moderation.training.anchors.pack`, or the bytes that another bundle has of them;
    without them labels cannot refit it.
    """
    if (model.full is None) != (encoder is None):
        raise ValueError("a bundle with a full tier needs the folder of its encoder, and one without has none")
    heads = model.heads
    probes = [Comment.from_dict(_comment_dict(comment)) for comment in probes]  # as they will be read again
    tiers = {"lexical": model.lexical_tier().score(probes)}
    if model.full is not None:
        tiers["full"] = model.score(probes)
    files = {
        "arrays.safetensors": save_arrays(to_arrays(model)),
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
    if anchors is not None:
        files[ANCHORS] = anchors if isinstance(anchors, bytes) else save_arrays(dict(anchors))
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
        "adapted_sites": list(adapted_sites(model)),
        "made_with": dict(made_with),
        "trained_on": trained_on,
    }
    # In one turn: an encoder that no bundle names yet would be cleared away.
    with turn(models):
        manifest["encoder"] = _store_encoder(models, encoder) if encoder is not None else None
        content = _json(manifest)
        path = models / f"comments-{hashlib.sha256(content).hexdigest()[:12]}"
        write_folder(path, {**files, "manifest.json": content})
    return path


def load_bundle(path: Path, *, threads: int | None = None, beside: Sequence[Bundle] = ()) -> Bundle:
    """Check every hash, then the shapes, then the probe comments; only then is it a bundle.

    ``threads`` is how many texts the encoder reads side by side (``None``: see :meth:`Encoder.load`). An encoder that
    one of the loaded bundles ``beside`` it reads with is shared: it was checked with that one, and is large.

    An encoder that is missing, broken or gives other scores is no reason to be without a model: the bundle then
    answers with its lexical tier, and ``fault`` says why.

    Raises ``BundleMissing``, ``BundleCorrupt`` (what is wrong with which file) or ``BundleUnsupported``.
    """
    manifest = _read_manifest(path)
    contents = {name: _read_file(path, name, manifest["files"]) for name in manifest["files"]}
    try:
        model, full_heads, adaptation = from_arrays(load_arrays(contents["arrays.safetensors"]), manifest)
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
            encoder = _shared_encoder(manifest["encoder"], beside)
            encoder = encoder or _load_encoder(path.parent, manifest["encoder"], threads)
            whole = replace(model, full=FullTier(encoder, full_heads, adaptation))
            _check_probes(path, "full", whole.score(comments), expected["full"])
            model = whole
        except (EncoderUnavailable, BundleUnsupported) as error:
            fault, model = str(error), replace(model, encoder_missing=True)
    return Bundle(path.name, path, manifest, model, operating_points, fault)


def read_anchors(bundle: Path) -> bytes:
    """The bytes of a bundle's anchors, checked. Raises as :func:`load_bundle`, ``BundleMissing`` where it has none."""
    manifest = _read_manifest(bundle)
    if ANCHORS not in manifest["files"]:
        raise BundleMissing(f"{bundle.name} has no anchors, without which labels cannot refit it")
    return _read_file(bundle, ANCHORS, manifest["files"])


def encoder_folder(bundle: Path) -> Path | None:
    """The folder of the encoder that a bundle names, ``None`` where it has none. Raises as :func:`load_bundle`."""
    stored = _read_manifest(bundle)["encoder"]
    return bundle.parent / stored["folder"] if stored else None


def check_files(path: Path) -> None:
    """Check that a bundle and its encoder are byte for byte what they were when they were made. Runs no model.

    That is enough for a bundle that was loaded here before, and takes a fraction of the time. Raises as
    :func:`load_bundle`, ``BundleCorrupt`` for its encoder too.
    """
    manifest = _read_manifest(path)
    for name in manifest["files"]:
        _read_file(path, name, manifest["files"])
    if stored := manifest["encoder"]:
        for name in ENCODER_FILES:
            _read_file(path.parent / stored["folder"], name, stored["files"])


def copy_bundle(path: Path, models: Path) -> Path:
    """A bundle, with its encoder, in another folder of bundles, whose turn the caller has; its new path.

    Raises as :func:`check_files`.
    """
    check_files(path)
    manifest = _read_manifest(path)
    if stored := manifest["encoder"]:
        encoder = path.parent / stored["folder"]
        write_folder(models / encoder.name, {name: (encoder / name).read_bytes() for name in ENCODER_FILES})
    names = ("manifest.json", *manifest["files"])
    write_folder(models / path.name, {name: (path / name).read_bytes() for name in names})
    return models / path.name


def _store_encoder(models: Path, folder: Path) -> dict[str, Any]:
    """Copy the encoder's files beside the bundles, under a name by their hashes; what the manifest says of them."""
    files = {name: (folder / name).read_bytes() for name in ENCODER_FILES}
    prints = {name: _fingerprint(content) for name, content in files.items()}
    name = f"encoder-{hashlib.sha256(_json(prints)).hexdigest()[:12]}"
    write_folder(models / name, files)
    return {"folder": name, "files": prints}


def _load_encoder(models: Path, stored: Mapping[str, Any], threads: int | None) -> Encoder:
    """The encoder of a manifest, its files checked. Raises ``EncoderUnavailable``."""
    folder = models / stored["folder"]
    try:
        contents = [_read_file(folder, name, stored["files"]) for name in ENCODER_FILES]
    except BundleCorrupt as error:
        raise EncoderUnavailable(str(error)) from error
    return Encoder.load(*contents, threads=threads)


def _shared_encoder(stored: Mapping[str, Any], beside: Sequence[Bundle]) -> Encoder | None:
    """The encoder of a loaded bundle that names the same files."""
    for bundle in beside:
        if bundle.model.full is not None and bundle.manifest["encoder"] == stored:
            return bundle.model.full.encoder
    return None


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
            f"{path.name} has the older format {version}, this version reads {FORMAT}: train it again, or publish the "
            "bundle that came with this version"
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
    if set(manifest["files"]) - {ANCHORS} != set(FILES):
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
