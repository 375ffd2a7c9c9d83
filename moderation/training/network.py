"""What is fine-tuned: a transformer with three outputs, and the heads it learns with, which are dropped afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # onnx brings it without types
from onnx import numpy_helper
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from moderation.bundle import ENCODER_FILES
from moderation.categories import CODES
from moderation.encoder import WIDTH

ATTENTION_HEADS = 12
EPSILON = 1e-12
PUBLISHED, EXPORTED = "model.safetensors", ENCODER_FILES[0]
CLASS_CODES = tuple(code for code in CODES if code != "off_topic")


class SentenceEncoder(nn.Module):
    """The transformer with its three outputs: class vectors, topic vectors, logits of marks."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        self.mark = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.mark.weight)
        nn.init.constant_(self.mark.bias, -3.0)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes: both inputs (texts, tokens); results (texts, 384), (texts, 384), (texts, tokens)."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return hidden[:, 0], functional.normalize(mean, dim=-1), self.mark(hidden).squeeze(-1)


class Tasks(nn.Module):
    """What is learned on top while training, and dropped afterwards."""

    def __init__(self, sources: Sequence[str]) -> None:
        super().__init__()
        self.sources = {source: number for number, source in enumerate(sources)}
        self.shared = nn.Linear(WIDTH, len(CLASS_CODES))
        self.residual = nn.Embedding(len(sources), len(CLASS_CODES) * (WIDTH + 1))
        nn.init.zeros_(self.residual.weight)
        nn.init.normal_(self.shared.weight, std=0.02)
        nn.init.constant_(self.shared.bias, -1.0)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def class_logits(self, vectors: Tensor, sources: Tensor) -> Tensor:
        """Shape (texts, categories)."""
        residual = self.residual(sources).view(len(sources), len(CLASS_CODES), WIDTH + 1)
        own = torch.einsum("bcw,bw->bc", residual[..., :WIDTH], vectors) + residual[..., WIDTH]
        logits: Tensor = self.shared(vectors) + own
        return logits


def load_base(folder: Path) -> tuple[SentenceEncoder, Tokenizer]:
    """The encoder before fine-tuning, from a folder with ``config.json``, ``model.safetensors``, ``tokenizer.json``.

    A folder of a bundle's encoder serves too (``encoder.onnx``, ``tokenizer.json``): what was learned goes on from
    there. Its weights are what eight bits have left of them.

    Raises ``ValueError`` for what is no such encoder.
    """
    weights, config = _read_exported(folder) if is_exported(folder) else _read_published(folder)
    # Rows are seen once or twice, which hardly overfits, and drawing the dropout takes a quarter of a step on a CPU.
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    # The fused kernel for CPUs takes a third of a step to go back through texts as short as comments.
    config._attn_implementation = "eager"  # noqa: SLF001 - its public name is an argument of another constructor
    encoder = SentenceEncoder(BertModel(config, add_pooling_layer=False))
    missing, unexpected = encoder.load_state_dict(weights, strict=False)
    missing = [name for name in missing if "position_ids" not in name and not name.startswith("mark.")]
    unexpected = [name for name in unexpected if "position_ids" not in name]
    if missing or unexpected:
        raise ValueError(f"{folder} does not hold the expected encoder: {missing[:3]} {unexpected[:3]}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return encoder, tokenizer


def is_exported(folder: Path) -> bool:
    """Whether a folder has an encoder as bundles have it, and none to be fine-tuned first."""
    return (folder / EXPORTED).is_file() and not (folder / PUBLISHED).is_file()


def weights_of(folder: Path) -> Path:
    """The file that has the weights of the encoder in a folder."""
    return folder / (EXPORTED if is_exported(folder) else PUBLISHED)


def _read_published(folder: Path) -> tuple[dict[str, Tensor], BertConfig]:
    tensors = load_file(folder / PUBLISHED)
    weights = {f"bert.{name}": tensor for name, tensor in tensors.items() if "pooler" not in name}
    return weights, BertConfig.from_json_file(str(folder / "config.json"))


def _read_exported(folder: Path) -> tuple[dict[str, Tensor], BertConfig]:
    """What :func:`moderation.training.export.export` wrote, as weights again."""
    try:
        return _restore(onnx.load(folder / EXPORTED).graph)
    except (KeyError, DecodeError) as error:
        raise ValueError(f"{folder / EXPORTED} is no encoder of ours: {error}") from error


def _restore(graph: onnx.GraphProto) -> tuple[dict[str, Tensor], BertConfig]:
    known = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    layers = sum(name.endswith(".first.norm.weight") for name in known)
    table, places = known["words.table"], known["places"]
    config = BertConfig(
        vocab_size=len(table),
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=ATTENTION_HEADS,
        intermediate_size=len(known["0.wide.bias"]),
        max_position_embeddings=len(places),
        layer_norm_eps=EPSILON,
    )
    weights = {
        "bert.embeddings.word_embeddings.weight": table.float() * known["words.scale"],
        "bert.embeddings.position_embeddings.weight": places,
        "bert.embeddings.token_type_embeddings.weight": torch.zeros(config.type_vocab_size, WIDTH),
        "mark.weight": known["mark.weight"].T,
        "mark.bias": known["mark.bias"],
    }
    of_norms = {"embedded": "bert.embeddings.LayerNorm"}
    for number in range(layers):
        layer = f"bert.encoder.layer.{number}"
        of_norms |= {
            f"{number}.first.norm": f"{layer}.attention.output.LayerNorm",
            f"{number}.second.norm": f"{layer}.output.LayerNorm",
        }
        of_products = {
            **{part: f"attention.self.{part}" for part in ("query", "key", "value")},
            "attention": "attention.output.dense",
            "wide": "intermediate.dense",
            "narrow": "output.dense",
        }
        for part, name in of_products.items():
            bits, scale = known[f"{number}.{part}.weight_quantized"], known[f"{number}.{part}.weight_scale"]
            weights[f"{layer}.{name}.weight"] = (bits.float() * scale).T
            weights[f"{layer}.{name}.bias"] = known[f"{number}.{part}.bias"]
    for norm, name in of_norms.items():
        weights |= {f"{name}.{part}": known[f"{norm}.{part}"] for part in ("weight", "bias")}
    return {name: tensor.contiguous() for name, tensor in weights.items()}, config


def has_half_precision() -> bool:
    """Whether this processor computes in bfloat16 itself (AVX-512 BF16 or AMX)."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


def load_fine_tuned(base: Path, weights: Path) -> tuple[SentenceEncoder, Tokenizer]:
    """The encoder with the weights of ``encoder.safetensors`` or of a checkpoint, and its tokenizer."""
    encoder, tokenizer = load_base(base)
    tensors = load_file(weights)
    if any(name.startswith("encoder.") for name in tensors):
        tensors = {name.removeprefix("encoder."): t for name, t in tensors.items() if name.startswith("encoder.")}
    encoder.load_state_dict(tensors)
    return encoder.eval(), tokenizer
