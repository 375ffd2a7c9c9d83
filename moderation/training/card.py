"""The model card: what a bundle is for, what it learned from, how good it is and where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from moderation.categories import CATEGORIES
from moderation.training.dataset import Report
from moderation.training.sources import Source

FIGURES: tuple[str, ...] = (
    "set",
    "slice",
    "category",
    "rows",
    "positive",
    "ROC AUC",
    "95 % interval",
    "recall at 1 % false positives",
)
"""What the columns of :func:`figures` are."""


def figures(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What was measured on each set, slice and category, as cells of a table for people."""
    for item in evaluation["sets"]:
        yield (
            item["set"],
            item["slice"],
            item["category"],
            f"{item['rows']:,}",
            f"{item['positives']:,}",
            f"{item['auc']:.4f}",
            f"{item['auc_low']:.3f} to {item['auc_high']:.3f}",
            f"{item['recall_at_1_percent']:.3f}",
        )


def write_card(sources: Sequence[Source], report: Report, evaluation: Mapping[str, Any]) -> str:
    """The card as Markdown (sections after Mitchell et al. 2019, "Model Cards for Model Reporting")."""
    return "\n".join(
        [
            "# Model card",
            "",
            "Linear heads over hashed character and word n-grams, signals and topic relatedness, for comments on",
            "blogs. Scores are probabilities, calibrated on validation rows; thresholds belong to the policy.",
            "",
            "## What it scores",
            "",
            *_table(("category", "meaning"), ((f"`{item.code}`", item.definition) for item in CATEGORIES)),
            "",
            "## Meant for, and not",
            "",
            "Deciding which comments a person should look at before they appear. Most of what it read is English;",
            "other languages are scored, but much less well. It reads words, not meaning: cruelty in polite words",
            "passes, and harsh words that quote, deny or make fun are sometimes held. It must not be used to judge",
            "people, nor as the only ground for sanctions.",
            "",
            "## How good it is",
            "",
            "Sets never trained on, nor anything nearly equal to their texts. Intervals: 95 %, bootstrap.",
            "",
            *_table(FIGURES, figures(evaluation)),
            "",
            "Share that the default policy would not publish at once, of sets of one kind (edos is harmful, the others",
            "are not):",
            "",
            *_table(
                ("set", "slice", "rows", "share"),
                (
                    (item["set"], item["slice"], f"{item['rows']:,}", f"{item['share']:.1%}")
                    for item in evaluation["held"]
                ),
            ),
            "",
            "Behaviour cases, written for this project, each with the reason it exists:",
            "",
            *_table(
                ("slice", "cases", "passed", "cases that need meaning"),
                (
                    (name, str(item["cases"]), str(item["passed"]), str(item["needs_meaning"]))
                    for name, item in evaluation["behaviour"]["slices"].items()
                ),
            ),
            "",
            "## What it learned from",
            "",
            "Public sets under the licences named, and public blog comments, which belong to their writers. No text of",
            "them is part of the bundle. Rows after removing doubles and everything near a frozen row:",
            "",
            *_table(
                ("source", "licence", "training rows", "validation rows", "citation"),
                (
                    (
                        source.title,
                        source.licence,
                        f"{report.train.get(source.name, 0):,}",
                        f"{report.validation.get(source.name, 0):,}",
                        source.citation,
                    )
                    for source in sources
                    if source.name in report.train or source.name in report.validation
                ),
            ),
            "",
            f"Beside them {report.train.get('seed', 0):,} rows written for this project (`training_data/seed`).",
            "",
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return [f"| {line} |" for line in lines]
