"""What each part of the full tier is worth, on validation rows: its heads fitted again with one part left out.

    MODERATION_DATA_DIR=... python benchmarks/ablations.py [--encoder DIR] [--cache DIR]

Reads the public sets, fits the lexical tier, reads the rows kept for the heads with the encoder (that of the published
bundle, or the one in DIR), then fits the heads of the full tier once for every line of the table. Nothing frozen is
looked at. Takes as long as `moderation train` where nothing is cached, and some minutes more.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Memory
from numpy.typing import NDArray

from moderation import signals, topic
from moderation.bundle import ENCODER_FILES, encoder_folder
from moderation.categories import CODES
from moderation.encoder import WIDTH, Encoder
from moderation.heads import Vectors
from moderation.record import current_bundle
from moderation.shipped import shipped_folder
from moderation.training.fit import Lexical, fit_lexical
from moderation.training.fuse import FULL_RECIPES, FullRecipe, fit_full_heads
from moderation.training.measures import auc, recall_at_false_positives
from moderation.training.quiet import lay_beside
from moderation.training.table import Table, read_table
from moderation.training.train import gather

HOSTILE_SOURCES = ("kaggle-insults", "jigsaw-predibase", "ruddit", "hatemoji", "toxigen", "told-br")
HEADER = (*HOSTILE_SOURCES, "spam, blogs", "recall", "random", "nearest")


@dataclass(frozen=True)
class Given:
    """Rows and everything read of them."""

    lexical: Lexical
    rows: Table
    said: NDArray[np.float64]
    kept: Vectors
    validation: Vectors


def without(recipes: Mapping[str, FullRecipe], *beginnings: str) -> dict[str, FullRecipe]:
    """The recipes without the context features whose names begin so."""
    return {
        code: replace(recipe, context=tuple(name for name in recipe.context if not name.startswith(beginnings)))
        for code, recipe in recipes.items()
    }


def blank(vectors: Vectors, columns: slice) -> Vectors:
    """The vectors with some columns of the windows set to nought."""
    windows = vectors.windows.copy()
    windows[:, columns] = 0
    return replace(vectors, windows=windows)


def variants(given: Given) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and logits of the validation rows, line by line."""
    lexical, validation = given.lexical, given.lexical.validation

    def logits(
        recipes: Mapping[str, FullRecipe] = FULL_RECIPES, columns: slice | None = None, *, twice: bool = True
    ) -> NDArray[np.float64]:
        one, other = given.kept, given.validation
        if columns is not None:
            one, other = blank(one, columns), blank(other, columns)
        heads = fit_full_heads(given.rows, one, given.said, recipes)
        loud = heads.loud(other, validation.features.dense, lexical.validation_logits)
        if not twice:
            return loud
        beside = lay_beside(heads, other, loud[:, CODES.index("hostile")], validation)
        return beside.logits(other, validation.features.dense, lexical.validation_logits)

    facts = (*signals.NAMES, "has_topic", *topic.NAMES)
    yield "lexical tier", lexical.validation_logits
    yield "full tier", logits()
    yield "hostile read once", logits(twice=False)
    yield "encoder alone (no words, no facts)", logits(without(FULL_RECIPES, "lexical_", "foreign_", *facts))
    yield "without what words say", logits(without(FULL_RECIPES, "lexical_", "foreign_"))
    yield "without class vectors", logits(columns=slice(0, WIDTH))
    yield "without marks", logits(columns=slice(WIDTH, WIDTH + 2))
    unsigned = {code: replace(recipe, signature=0.0) for code, recipe in FULL_RECIPES.items()}
    yield "without signatures", logits(unsigned)
    yield "without facts", logits(without(FULL_RECIPES, *facts))
    yield "without topic vectors", logits(without(FULL_RECIPES, "vector_", "has_passages"))
    yield "without knowing the language", logits(without(FULL_RECIPES, "foreign"))
    one_source = {code: replace(recipe, by_source=False) for code, recipe in FULL_RECIPES.items()}
    yield "one intercept for all sources", logits(one_source)
    equal = {code: replace(recipe, elsewhere=1.0) for code, recipe in FULL_RECIPES.items()}
    yield "hate sets weigh as much as blogs", logits(equal)


def measure(table: Table, logits: NDArray[np.float64]) -> list[float]:
    """AUC of hostile by source; AUC of spam and recall at 1 % on blogs; AUC of off-topic, random and nearest."""
    sources = np.array([row.source for row in table.rows])
    moved = np.array([next((name for name in row.slices if name.startswith("moved-")), "") for row in table.rows])

    def arrays(code: str, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chosen = chosen & table.known(code)
        return table.labels[chosen, CODES.index(code)], logits[chosen, CODES.index(code)]

    def area(code: str, chosen: NDArray[np.bool_]) -> float:
        labels, scores = arrays(code, chosen)
        return auc(scores[labels == 1], scores[labels == 0])

    blogs = np.isin(sources, ["blog-pr-moderation", "blog-threads"])
    return [
        *(area("hostile", sources == name) for name in HOSTILE_SOURCES),
        area("spam", blogs),
        recall_at_false_positives(*arrays("spam", blogs), 0.01),
        area("off_topic", moved != "moved-nearest"),
        area("off_topic", moved != "moved-random"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, help="a folder with encoder.onnx and tokenizer.json")
    parser.add_argument("--cache", type=Path, help="where features are kept")
    arguments = parser.parse_args()
    folder = arguments.encoder or encoder_folder(current_bundle(shipped_folder("models")))
    data = os.environ.get("MODERATION_DATA_DIR")
    if folder is None or data is None:
        raise SystemExit("needs an encoder (--encoder) and the public sets (MODERATION_DATA_DIR)")
    memory = Memory(arguments.cache, verbose=0) if arguments.cache else None
    dataset = gather(shipped_folder("training_data"), Path(data)).dataset
    lexical = fit_lexical(dataset, for_full_tier=True, memory=memory, jobs=2)
    encoder = Encoder.load(*(folder / name for name in ENCODER_FILES))
    assert lexical.kept is not None
    assert lexical.cross is not None
    given = Given(
        lexical,
        lexical.kept,
        lexical.cross.logits(lexical.kept.features),
        read_table(lexical.kept, encoder, memory),
        read_table(lexical.validation, encoder, memory),
    )
    print(f"{'':36}" + "".join(f"{name[:12]:>14}" for name in HEADER))
    for name, logits in variants(given):
        print(f"{name:36}" + "".join(f"{value:>14.3f}" for value in measure(lexical.validation, logits)), flush=True)


if __name__ == "__main__":
    main()
