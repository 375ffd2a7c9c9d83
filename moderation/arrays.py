"""A model as plain arrays and back: what ``arrays.safetensors`` of a bundle holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation import topic
from moderation.adaptation import Adaptation, Residual
from moderation.encoder import WIDTH
from moderation.heads import FIELDS, FieldWeights, FullHeads, Heads
from moderation.lexical import LexicalSpec
from moderation.model import CONTEXT, DENSE, MARKS, Model
from moderation.topic import TopicModel

_HEADS = ("mean", "scale", "dense_weights", "intercept", "calibration")
_FULL_HEADS = (
    *("window_weights", "signature_weights", "mean", "scale", "context_weights", "intercept", "knots"),
    *("quiet_weights", "quiet_intercept", "alone"),
)
_RESIDUAL = ("window_weights", "signature_weights", "context_weights", "intercept")
WORDS = LexicalSpec(bits=14, char_min=4, char_max=5, word_max=2, salt=3)
"""The n-grams that a residual learns."""


def to_arrays(model: Model) -> dict[str, NDArray[Any]]:
    """The numbers of a model, by name, without the encoder."""
    heads = model.heads
    arrays: dict[str, NDArray[Any]] = {"topic.idf": model.topic.idf, **{name: getattr(heads, name) for name in _HEADS}}
    for name, field in heads.fields.items():
        arrays[f"{name}.idf"] = field.idf.astype(np.float16)
        arrays[f"{name}.weights"] = field.weights
    if model.full is not None:
        arrays |= {f"full.{name}": getattr(model.full.heads, name) for name in _FULL_HEADS}
        if model.full.adaptation is not None:
            arrays |= _adaptation_arrays(model.full.adaptation)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def adapted_sites(model: Model) -> tuple[str, ...]:
    """The sites that a model has residuals of, in the order of their arrays."""
    if model.full is None or model.full.adaptation is None:
        return ()
    return tuple(sorted(model.full.adaptation.sites))


def from_arrays(
    arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]
) -> tuple[Model, FullHeads | None, Adaptation | None]:
    """The lexical tier, the heads of the full one where there is one, and what labels have added to those.

    ``manifest`` is that of the bundle. Raises ``ValueError`` or ``KeyError`` where names or shapes do not fit it.
    """
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
        shapes |= {
            "full.window_weights": (WIDTH + len(MARKS), count),
            "full.signature_weights": (WIDTH + 1, count),
            "full.mean": (len(CONTEXT),),
            "full.scale": (len(CONTEXT),),
            "full.context_weights": (len(CONTEXT), count),
            "full.intercept": (count,),
            "full.knots": (count, 2, arrays["full.knots"].shape[-1]),
            "full.quiet_weights": (WIDTH + len(MARKS),),
            "full.quiet_intercept": (1,),
            "full.alone": (2,),
        }
    sites = manifest["adapted_sites"]
    is_adapted = "adapted.window_weights" in arrays
    if is_adapted:
        shapes |= _adaptation_shapes(len(sites), count)
    if {name: array.shape for name, array in arrays.items()} != shapes or (sites and not is_adapted):
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
        return model, None, None
    full = FullHeads(codes, **{name: arrays[f"full.{name}"] for name in _FULL_HEADS})
    return model, full, _adaptation(arrays, sites) if is_adapted else None


def _adaptation_arrays(adaptation: Adaptation) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {f"adapted.{name}": getattr(adaptation.everywhere, name) for name in _RESIDUAL}
    for number, site in enumerate(sorted(adaptation.sites)):
        residual = adaptation.sites[site]
        assert residual.words is not None
        arrays |= {f"adapted.{number}.{name}": getattr(residual, name) for name in _RESIDUAL}
        arrays[f"adapted.{number}.words"] = residual.words.weights
        arrays["adapted.idf"] = residual.words.idf.astype(np.float16)
    return arrays


def _adaptation_shapes(sites: int, count: int) -> dict[str, tuple[int, ...]]:
    one: dict[str, tuple[int, ...]] = {
        "window_weights": (WIDTH + len(MARKS), count),
        "signature_weights": (WIDTH + 1, count),
        "context_weights": (len(CONTEXT), count),
        "intercept": (count,),
    }
    shapes = {f"adapted.{name}": shape for name, shape in one.items()}
    for number in range(sites):
        shapes |= {f"adapted.{number}.{name}": shape for name, shape in one.items()}
        shapes[f"adapted.{number}.words"] = (1 << WORDS.bits, count)
        shapes["adapted.idf"] = (1 << WORDS.bits,)
    return shapes


def _adaptation(arrays: Mapping[str, NDArray[Any]], sites: list[str]) -> Adaptation:
    def residual(prefix: str, words: FieldWeights | None) -> Residual:
        return Residual(**{name: arrays[f"{prefix}.{name}"] for name in _RESIDUAL}, words=words)

    idf = arrays["adapted.idf"].astype(np.float32) if sites else None
    return Adaptation(
        residual("adapted", None),
        {
            site: residual(f"adapted.{number}", FieldWeights(WORDS, idf, arrays[f"adapted.{number}.words"]))
            for number, site in enumerate(sites)
            if idf is not None
        },
    )
