"""The fine-tuned encoder as an ONNX graph with 8-bit weights, and the check that it still says the same.

The graph is written node by node rather than traced: it takes one text at a time, so it needs no padding and no mask,
and its attention is one fused operator of ONNX Runtime. Weights are quantised per channel to 7 bits and a sign
(``reduce_range``), because processors without VNNI saturate on full 8-bit products and would score differently from
those that have it; activations are quantised at run time. Embeddings are stored as 8-bit rows, each with its scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from moderation.encoder import WIDTH, Encoder, keep_runtime_quiet
from moderation.readable import make_readable
from moderation.training.network import ATTENTION_HEADS, EPSILON, SentenceEncoder

_OPSETS = (("", 20), ("com.microsoft", 1))


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported encoder is from the one in torch, over some texts.

    Cosines between the vectors of both (mean and the worst one in a hundred), and the mean difference of marks.
    """

    texts: int
    class_cosine: float
    class_cosine_worst: float
    topic_cosine: float
    topic_cosine_worst: float
    marks_difference: float


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], output, domain=domain, **attributes))
        return output

    def linear(self, name: str, source: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        product = self.add("MatMul", [source, self.constant(f"{name}.weight", weight.T)], f"{name}.product")
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def norm(self, name: str, source: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        constants = [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.add("LayerNormalization", [source, *constants], name, epsilon=EPSILON, axis=-1)

    def embedding(self, name: str, rows: NDArray[np.float32], index: str) -> str:
        """Rows looked up in a table of bytes with a scale for each row."""
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-8) / 127
        table = self.constant(f"{name}.table", np.round(rows / scale).astype(np.int8))
        scales = self.constant(f"{name}.scale", scale.astype(np.float32))
        found = self.add("Gather", [table, index], f"{name}.bytes")
        as_float = self.add("Cast", [found], f"{name}.float", to=TensorProto.FLOAT)
        return self.add("Mul", [as_float, self.add("Gather", [scales, index], f"{name}.scales")], name)


def export(encoder: SentenceEncoder, path: Path) -> None:
    """Write the encoder to ``path`` as an ONNX graph with 8-bit weights.

    Input: ``ids`` (1, tokens). Outputs: ``class_vector`` and ``topic_vector`` (384,), ``marks`` (tokens,) as
    probabilities. Raises ``ValueError`` for a transformer of another kind than the graph is written for.
    """
    config = encoder.bert.config
    shape = (config.hidden_size, config.num_attention_heads, config.hidden_act, config.layer_norm_eps)
    if shape != (WIDTH, ATTENTION_HEADS, "gelu", EPSILON):
        raise ValueError(
            f"the graph is written for {WIDTH} wide, {ATTENTION_HEADS} heads, gelu, {EPSILON}; this one is {shape}"
        )
    whole = path.with_suffix(".float.onnx")
    onnx.save(_build(encoder), whole)
    keep_runtime_quiet()
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - only then

    quantize_dynamic(
        whole,
        path,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=["mark.product"],
        extra_options={"DefaultTensorType": TensorProto.FLOAT},  # no shapes are inferred beyond the fused attention
    )
    whole.unlink()


def check_parity(encoder: SentenceEncoder, exported: Encoder, texts: Sequence[str]) -> Parity:
    """Compare both on the first window of each text."""
    cosines: list[tuple[float, float]] = []
    differences = []
    for text in texts:
        readable = make_readable(text)
        window = exported.read(readable)[0]
        ids = torch.tensor([exported.windows(readable)[0].ids])
        with torch.no_grad():
            vector, topic, marks = encoder(ids, torch.ones_like(ids))
        one, two = vector[0].numpy(), topic[0].numpy()
        cosines.append((_cosine(one, window.class_vector), _cosine(two, window.topic_vector)))
        inner = torch.sigmoid(marks[0]).numpy()[1:-1]
        differences.append(float(np.abs(inner - window.marks).mean()) if len(inner) else 0.0)
    classes, topics = np.array(cosines).T
    return Parity(
        len(texts),
        round(float(classes.mean()), 4),
        round(float(np.quantile(classes, 0.01)), 4),
        round(float(topics.mean()), 4),
        round(float(np.quantile(topics, 0.01)), 4),
        round(float(np.mean(differences)), 5),
    )


def _build(encoder: SentenceEncoder) -> onnx.ModelProto:
    weights = {name: tensor.detach().numpy().astype(np.float32) for name, tensor in encoder.state_dict().items()}

    def pair(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    graph = _Graph()
    tokens = graph.add("Shape", ["ids"], "tokens", start=1, end=2)
    words = graph.embedding("words", weights["bert.embeddings.word_embeddings.weight"], "ids")
    # Every token is of the first of the two segment types, so its embedding belongs to every position.
    places = (
        weights["bert.embeddings.position_embeddings.weight"]
        + weights["bert.embeddings.token_type_embeddings.weight"][0]
    )
    zero = graph.constant("zero", np.array([0], np.int64))
    place = graph.add("Slice", [graph.constant("places", places), zero, tokens, zero], "place")
    hidden = graph.norm("embedded", graph.add("Add", [words, place], "embedding"), *pair("bert.embeddings.LayerNorm"))
    for number in range(len(encoder.bert.encoder.layer)):
        layer = f"bert.encoder.layer.{number}"
        parts = [
            graph.linear(f"{number}.{part}", hidden, *pair(f"{layer}.attention.self.{part}"))
            for part in ("query", "key", "value")
        ]
        attended = graph.add(
            "MultiHeadAttention", parts, f"{number}.attended", domain="com.microsoft", num_heads=ATTENTION_HEADS
        )
        dense = graph.linear(f"{number}.attention", attended, *pair(f"{layer}.attention.output.dense"))
        summed = graph.add("Add", [dense, hidden], f"{number}.first")
        hidden = graph.norm(f"{number}.first.norm", summed, *pair(f"{layer}.attention.output.LayerNorm"))
        wide = graph.linear(f"{number}.wide", hidden, *pair(f"{layer}.intermediate.dense"))
        active = graph.add("Gelu", [wide], f"{number}.active")
        dense = graph.linear(f"{number}.narrow", active, *pair(f"{layer}.output.dense"))
        summed = graph.add("Add", [dense, hidden], f"{number}.second")
        hidden = graph.norm(f"{number}.second.norm", summed, *pair(f"{layer}.output.LayerNorm"))
    first = graph.add("Gather", [hidden, zero], "first.token", axis=1)
    graph.add("Squeeze", [first, graph.constant("axes", np.array([0, 1], np.int64))], "class_vector")
    axis = graph.constant("axis", np.array([1], np.int64))
    mean = graph.add("ReduceMean", [hidden, axis], "mean", keepdims=0)
    graph.add("Squeeze", [graph.add("LpNormalization", [mean], "unit", axis=-1, p=2), zero], "topic_vector")
    marks = graph.linear("mark", hidden, *pair("mark"))
    ends = graph.constant("ends", np.array([0, 2], np.int64))
    graph.add("Squeeze", [graph.add("Sigmoid", [marks], "mark.share"), ends], "marks")
    made = helper.make_graph(
        graph.nodes,
        "comment-encoder",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])],
        [
            helper.make_tensor_value_info("class_vector", TensorProto.FLOAT, [WIDTH]),
            helper.make_tensor_value_info("topic_vector", TensorProto.FLOAT, [WIDTH]),
            helper.make_tensor_value_info("marks", TensorProto.FLOAT, ["tokens"]),
        ],
        graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
    return helper.make_model(made, opset_imports=opsets, ir_version=10, producer_name="comment-moderation")


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
