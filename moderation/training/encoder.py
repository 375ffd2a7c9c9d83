"""Fine-tune the sentence encoder on several tasks at once, and carry on where an interrupted run stopped.

One transformer (:class:`SentenceEncoder`), three things learned from it together:

* *class*: from the first token, every category that a comment has a label of. Sources mean different things by the same
  label, so a category's logit is a shared head plus a small one of the row's source (a residual, held back by weight
  decay); what sources agree on stays in the shared head and the vector.
* *marks*: from every token, whether raters pointed at it (toxic-spans), with the share of the raters as the target.
* *topic*: the mean of the tokens, length one. A comment must be nearer to a passage of its own post than to those of
  other posts of the same blog (InfoNCE in both directions, temperature learned; van den Oord et al. 2018). Blogs are
  few, and the encoder has seen a billion pairs before: its vectors must also *stay* near those it gave at the start.

Needs the extra ``encoder``. Everything that a run depends on is in :class:`Settings`; the same settings, rows and
number of threads give the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from moderation.readable import make_readable
from moderation.training.dataset import Dataset
from moderation.training.examples import (
    DISGUISED_SHARE,
    SWAPPED_SHARE,
    Batch,
    ClassExample,
    TopicExample,
    class_examples,
    plan,
    show_passage,
    signature_examples,
    topic_examples,
    vary_text,
)
from moderation.training.network import (
    CLASS_CODES,
    SentenceEncoder,
    Tasks,
    load_base,
    weights_of,
)

# Sources that label by one and the same definition.
DEFINITIONS = {"jigsaw-predibase": "jigsaw", "jigsaw-fastbert": "jigsaw", "jigsaw-furkancaglayan": "jigsaw"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a run depends on beside the rows.

    ``by_source`` gives each source a head of its own beside the shared one. ``half_precision`` computes in bfloat16
    what bears it (weights stay in 32 bits): twice as quick on processors with instructions for it
    (:func:`has_half_precision`), many times slower on others.
    """

    epochs: float = 2.0
    topic_epochs: float = 3.0
    class_size: int = 48
    topic_size: int = 32
    class_tokens: int = 112
    topic_tokens: int = 128
    rate: float = 1.2e-4
    rate_of_heads: float = 1e-3
    rate_decay_by_layer: float = 0.88
    warmup: float = 0.06
    weight_decay: float = 0.01
    marks_weight: float = 0.5
    topic_weight: float = 0.5
    stay_weight: float = 1.0
    disguised_share: float = DISGUISED_SHARE
    swapped_share: float = SWAPPED_SHARE
    by_source: bool = True
    seed: int = 0
    half_precision: bool = False
    checkpoint_minutes: float = 8.0


@dataclass
class _Run:
    """A run under way: models, optimiser, where it is."""

    encoder: SentenceEncoder
    tasks: Tasks
    optimizer: torch.optim.Optimizer
    start: SentenceEncoder
    half_precision: bool
    step: int = 0

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder gives, in 32 bits whatever it computed in."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half_precision):
            one, other, marks = self.encoder(ids, mask)
        return one.float(), other.float(), marks.float()

    def read_at_start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The topic vectors of the encoder as it was before."""
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.half_precision):
            _, vectors, _ = self.start(ids, mask)
        return vectors.float()


def fine_tune(
    dataset: Dataset,
    base: Path,
    folder: Path,
    settings: Settings = Settings(),
    progress: Progress = lambda _: None,
) -> SentenceEncoder:
    """Fine-tune the encoder in ``base`` on the training rows; log, checkpoints and weights go into ``folder``.

    ``base`` may be an encoder that was fine-tuned before (:func:`moderation.training.network.load_base`).

    A run that was cut off goes on from its last checkpoint when called again with the same settings and rows.
    ``log.jsonl`` has a line every twenty steps; ``encoder.safetensors`` is the result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The moments of words not met for a while fade into denormal numbers, which make a step take three times as long.
    torch.set_flush_denormal(True)
    torch.manual_seed(settings.seed)
    classes = [*class_examples(dataset.train), *signature_examples(dataset.train)]
    pairs = topic_examples(dataset.train)
    batches = plan(
        classes,
        pairs,
        epochs=settings.epochs,
        class_size=settings.class_size,
        topic_size=settings.topic_size,
        topic_epochs=settings.topic_epochs,
        seed=settings.seed,
    )
    encoder, tokenizer = load_base(base)
    tasks = Tasks(sorted({_definition(example) for example in classes}))
    start, _ = load_base(base)
    run = _Run(encoder, tasks, _optimizer(encoder, tasks, settings), start.eval(), settings.half_precision)
    identity = _identity(settings, batches, classes, pairs, base)
    _resume(run, folder, identity)
    progress(
        f"{len(classes)} comments, {len(pairs)} pairs, {len(batches)} steps "
        f"({sum(batch.kind == 'topic' for batch in batches)} of topic); starting at {run.step}"
    )
    encoder.train()
    started, saved, first = time.monotonic(), time.monotonic(), run.step
    sums: dict[str, list[float]] = {}
    for step in range(run.step, len(batches)):
        batch = batches[step]
        chance = random.Random(f"{settings.seed} {step}")  # noqa: S311 - not for secrets
        torch.manual_seed(settings.seed * 1_000_003 + step)
        for group in run.optimizer.param_groups:
            group["lr"] = group["peak"] * _schedule(step, len(batches), settings.warmup)
        if batch.kind == "class":
            parts = _class_losses(run, [classes[index] for index in batch.indices], tokenizer, settings, chance)
        else:
            parts = _topic_losses(run, [pairs[index] for index in batch.indices], tokenizer, settings, chance)
        loss = sum(parts.values())
        assert isinstance(loss, Tensor)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
        nn.utils.clip_grad_norm_([*encoder.parameters(), *tasks.parameters()], 1.0)
        run.optimizer.step()
        run.step = step + 1
        for name, part in parts.items():
            sums.setdefault(name, []).append(part.item())
        if run.step % 20 == 0 or run.step == len(batches):
            spent = time.monotonic() - started
            line = {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
            left = spent / (run.step - first) * (len(batches) - run.step)
            _log(folder, {"step": run.step, "of": len(batches), "seconds": round(spent), **line})
            progress(f"step {run.step} of {len(batches)}, {left / 60:.0f} minutes left, {line}")
            sums.clear()
        if time.monotonic() - saved > settings.checkpoint_minutes * 60:
            _save(run, folder, identity)
            saved = time.monotonic()
    torch.set_flush_denormal(False)
    _save(run, folder, identity)
    save_file(_tensors(encoder), folder / "encoder.safetensors")
    return encoder.eval()


def _class_losses(
    run: _Run, examples: Sequence[ClassExample], tokenizer: Tokenizer, settings: Settings, chance: random.Random
) -> dict[str, Tensor]:
    varied = [vary_text(example, chance, settings.disguised_share, settings.swapped_share) for example in examples]
    encoded = tokenizer.encode_batch([text for text, _ in varied])
    ids, mask = _pad(encoded, settings.class_tokens)
    vectors, _, marks = run.read(ids, mask)
    sources = torch.tensor([run.tasks.sources[_definition(example)] for example in examples])
    if not settings.by_source:
        sources = torch.zeros_like(sources)
    logits = run.tasks.class_logits(vectors, sources)
    labels = torch.tensor([[example.labels.get(code, math.nan) for code in CLASS_CODES] for example in examples])
    known = ~labels.isnan()
    losses = functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    # A row with six labels says more than one with a single label, but not six times as much.
    each = (losses * known).sum(1) / known.sum(1).clamp(min=1).sqrt()
    result = {"class": each.sum() / known.any(1).sum()}
    targets, weights = _mark_targets(examples, varied, encoded, ids.shape[1])
    if weights.sum() > 0:
        losses = functional.binary_cross_entropy_with_logits(marks, targets, reduction="none")
        result["marks"] = settings.marks_weight * (losses * weights).sum() / weights.sum()
    return result


def _topic_losses(
    run: _Run, pairs: Sequence[TopicExample], tokenizer: Tokenizer, settings: Settings, chance: random.Random
) -> dict[str, Tensor]:
    comments = [make_readable(pair.text).text for pair in pairs]
    passages = [show_passage(pair, chance) for pair in pairs]
    of_comments, of_passages = (
        _pad(tokenizer.encode_batch(texts), settings.topic_tokens) for texts in (comments, passages)
    )
    _, one, _ = run.read(*of_comments)
    _, other, _ = run.read(*of_passages)
    likeness = one @ other.T * run.tasks.log_scale.clamp(max=math.log(50.0)).exp()
    target = torch.arange(len(pairs))
    both = functional.cross_entropy(likeness, target) + functional.cross_entropy(likeness.T, target)
    result = {"topic": settings.topic_weight * both / 2}
    if settings.stay_weight:
        before = run.read_at_start(*of_comments), run.read_at_start(*of_passages)
        left = sum(1 - (now * then).sum(1).mean() for now, then in zip((one, other), before, strict=True))
        result["stay"] = settings.stay_weight * left / 2
    return result


def _mark_targets(
    examples: Sequence[ClassExample],
    varied: Sequence[tuple[str, tuple[tuple[int, int, float], ...] | None]],
    encoded: Sequence[Encoding],
    tokens: int,
) -> tuple[Tensor, Tensor]:
    """For each token the share of raters who marked it, and what it weighs: harmless comments have no marks at all."""
    targets, weights = torch.zeros(len(examples), tokens), torch.zeros(len(examples), tokens)
    for row, (example, (_, marked), encoding) in enumerate(zip(examples, varied, encoded, strict=True)):
        harmless = example.labels.get("hostile") == 0
        if marked is None and not harmless:
            continue
        weights[row, 1 : min(len(encoding.ids), tokens) - 1] = 0.2 if marked is None else 1.0
        for start, end, share in marked or ():
            for index, (first, last) in enumerate(encoding.offsets[:tokens]):
                if first < end and last > start and last > first:
                    targets[row, index] = max(float(targets[row, index]), share)
    return targets, weights


def _pad(encoded: Sequence[Encoding], limit: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, cut at ``limit`` tokens, the last one kept as the end."""
    lists = [item.ids if len(item.ids) <= limit else [*item.ids[: limit - 1], item.ids[-1]] for item in encoded]
    width = max(map(len, lists))
    ids = torch.zeros(len(lists), width, dtype=torch.long)
    mask = torch.zeros(len(lists), width, dtype=torch.long)
    for row, items in enumerate(lists):
        ids[row, : len(items)] = torch.tensor(items)
        mask[row, : len(items)] = 1
    return ids, mask


def _optimizer(encoder: SentenceEncoder, tasks: Tasks, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; the lower a layer, the smaller its rate; no decay on biases and norms, more on the sources' own heads."""
    layers = len(encoder.bert.encoder.layer)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        if name.startswith("mark."):
            rate = settings.rate_of_heads
        else:
            depth = int(name.split("layer.")[1].split(".")[0]) + 1 if "layer." in name else 0
            rate = settings.rate * settings.rate_decay_by_layer ** (layers - depth)
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    groups.setdefault((settings.rate_of_heads, settings.weight_decay), []).extend(tasks.shared.parameters())
    groups.setdefault((settings.rate_of_heads, 0.3), []).extend(tasks.residual.parameters())
    groups.setdefault((settings.rate_of_heads, 0.0), []).append(tasks.log_scale)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Linear up over the warm-up, then linear down to nothing."""
    begin = max(1.0, warmup * steps)
    return min((step + 1) / begin, (steps - step) / max(1.0, steps - begin))


def _definition(example: ClassExample) -> str:
    return DEFINITIONS.get(example.source, example.source)


def _identity(
    settings: Settings,
    batches: Sequence[Batch],
    classes: Sequence[ClassExample],
    pairs: Sequence[TopicExample],
    base: Path,
) -> str:
    """A hash of everything that a checkpoint must agree with."""
    facts = {name: value for name, value in asdict(settings).items() if name != "checkpoint_minutes"}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in (weights_of(base), base / "tokenizer.json"):
        digest.update(path.read_bytes())
    for batch in batches:
        digest.update(f"{batch.kind}{batch.indices}".encode())
    for example in [*classes, *pairs]:
        digest.update(repr(example).encode())
    return digest.hexdigest()


def _tensors(encoder: SentenceEncoder) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}


def _save(run: _Run, folder: Path, identity: str) -> None:
    """Weights and the optimiser's state, as plain tensors, written aside and renamed."""
    tensors = {f"encoder.{name}": tensor for name, tensor in _tensors(run.encoder).items()}
    tensors |= {f"tasks.{name}": tensor.contiguous() for name, tensor in run.tasks.state_dict().items()}
    for number, values in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value.contiguous() for name, value in values.items()}
    aside = folder / ".checkpoint.safetensors"
    save_file(tensors, aside, metadata={"identity": identity, "step": str(run.step)})
    aside.replace(folder / "checkpoint.safetensors")


def _resume(run: _Run, folder: Path, identity: str) -> None:
    """Take up a checkpoint of the same run, if there is one. Raises ``ValueError`` for one of another run."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return
    facts = _metadata(path)
    if facts.get("identity") != identity:
        raise ValueError(f"{path} is from a run with other settings or rows: choose another folder, or delete it")
    tensors = load_file(path)
    run.encoder.load_state_dict(_under(tensors, "encoder."))
    run.tasks.load_state_dict(_under(tensors, "tasks."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    run.optimizer.load_state_dict({"state": state, "param_groups": run.optimizer.state_dict()["param_groups"]})
    run.step = int(facts["step"])
    # What was logged after the checkpoint will be logged again.
    lines = [line for line in read_log(folder) if line["step"] <= run.step] if (folder / "log.jsonl").exists() else []
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _metadata(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    facts: dict[str, str] = header.get("__metadata__", {})
    return facts


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _log(folder: Path, line: dict[str, Any]) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's log."""
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
