"""The model card: what a bundle is for, what it learned from, how good it is and where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from moderation.categories import CATEGORIES
from moderation.training.dataset import Report
from moderation.training.headline import headlines
from moderation.training.sources import Source

FIGURES: tuple[str, ...] = (
    "set",
    "slice",
    "category",
    "rows",
    "positive",
    "ROC AUC",
    "95 % interval",
    "average precision",
    "recall at 1 % false positives",
    "recall at hold line",
    "false positives at hold line",
)
"""What the columns of :func:`figures` are."""

_LESSONS = "## What moderators taught it"
_LEXICAL = "Linear heads over hashed character and word n-grams, signals and topic relatedness, for comments on blogs."
_FULL = (
    "A small sentence encoder read by linear heads together with hashed n-grams, signals and topic relatedness, for "
    "comments on blogs. Where the encoder cannot run, heads that read words alone answer (the lexical tier), and "
    "nothing is rejected."
)
_LEXICAL_LIMIT = (
    "It reads words, not meaning: cruelty in polite words passes, and harsh words that quote, deny or make fun are "
    "sometimes held."
)
_FULL_LIMIT = (
    "Cruelty in polite words may pass, and harsh words that quote, deny or make fun are sometimes held; the behaviour "
    "cases below show how often."
)


def figures(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What was measured on each set, slice and category, as cells of a table for people."""
    for item in evaluation["sets"]:
        hold = item.get("at_hold", {})
        yield (
            item["set"],
            item["slice"],
            item["category"],
            f"{item['rows']:,}",
            f"{item['positives']:,}",
            f"{item['auc']:.4f}",
            f"{item['auc_low']:.3f} to {item['auc_high']:.3f}",
            tell(item.get("average_precision")),
            f"{item['recall_at_1_percent']:.3f}",
            tell(hold.get("recall")),
            tell(hold.get("false_positive_rate")),
        )


def tell(value: float | None) -> str:
    """Three digits of a figure, a dash where it was not measured."""
    return "\u2013" if value is None else f"{value:.3f}"


def write_card(sources: Sequence[Source], report: Report, evaluation: Mapping[str, Any]) -> str:
    """The card as Markdown (sections after Mitchell et al. 2019, "Model Cards for Model Reporting").

    An ``evaluation`` of an earlier version lacks some figures; their places then say so.
    """
    is_full = "full" in evaluation.get("tiers", {})
    return "\n".join(
        [
            "# Model card",
            "",
            _FULL if is_full else _LEXICAL,
            "Scores are probabilities, calibrated on validation rows; thresholds belong to the policy.",
            "",
            "## What it scores",
            "",
            *_table(("category", "meaning"), ((f"`{item.code}`", item.definition) for item in CATEGORIES)),
            "",
            "## Meant for, and not",
            "",
            "Deciding which comments a person should look at before they appear. Most of what it read is English;",
            "other languages are scored, but much less well.",
            _FULL_LIMIT if is_full else _LEXICAL_LIMIT,
            "It must not be used to judge people, nor as the only ground for sanctions.",
            "",
            "## What it was to reach",
            "",
            *_table(
                ("what", "goal", "found", ""),
                ((item.what, item.goal, item.found, item.state) for item in headlines(evaluation)),
            ),
            "",
            "## How good it is",
            "",
            "Sets never trained on, nor anything nearly equal to their texts. Intervals: 95 %, bootstrap. Average",
            "precision is at the set's own rate. The lines are those of the default policy.",
            "",
            *_table(FIGURES, figures(evaluation)),
            "",
            *_tiers(evaluation),
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
            *_calibration(evaluation),
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
            f"Beside them {report.train.get('seed', 0):,} rows written for this project (`training_data/seed`) and",
            f"{report.train.get('templates', 0):,} sentences put together from parts, the same for every group.",
            "Of those rows more are made: comments moved to other posts, genuine comments with a link put in, and talk",
            "without a post as no spam.",
            "",
        ]
    )


def add_lessons(card: str, lessons: Mapping[str, Any]) -> str:
    """The card of a bundle that labels were added to; what it said of earlier labels goes.

    ``lessons`` is the part ``labels`` of its ``evaluation.json``.
    """
    before = card.partition(f"\n{_LESSONS}\n")[0].rstrip("\n")
    return "\n".join(
        [
            before,
            "",
            _LESSONS,
            "",
            f"{lessons['learned']:,} labels of moderators, beside what the bundle `{lessons['figures_of']}` had",
            f"learned; {lessons['held_out']:,} more were held out. Figures above are those of that bundle. What the",
            "gate says of this one was not known when it was made; it is in the report of the retraining.",
            "",
            *_table(
                ("site", "labels learned from"),
                ((site or "none", f"{count:,}") for site, count in lessons["by_site"].items()),
            ),
            "",
        ]
    )


def _tiers(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """Both tiers side by side, on whole sets; nothing where there is only one."""
    if "lexical" not in evaluation:
        return
    key = itemgetter("set", "slice", "category")
    alone = {key(item): item for item in evaluation["lexical"]["sets"]}
    both = [(item, alone[key(item)]) for item in evaluation["sets"] if key(item) in alone]
    yield from ("What the lexical tier reaches alone, which answers where the encoder cannot run:", "")
    yield from _table(
        ("set", "slice", "category", "ROC AUC", "lexical alone", "recall at 1 % false positives", "lexical alone"),
        (
            (
                *key(item),
                f"{item['auc']:.4f}",
                f"{other['auc']:.4f}",
                f"{item['recall_at_1_percent']:.3f}",
                f"{other['recall_at_1_percent']:.3f}",
            )
            for item, other in both
            if not item["slice"].startswith("blog-")
        ),
    )
    passed = [
        sum(item["passed"] for item in one["behaviour"]["slices"].values())
        for one in (evaluation, evaluation["lexical"])
    ]
    cases = sum(item["cases"] for item in evaluation["behaviour"]["slices"].values())
    yield from ("", f"Of {cases} behaviour cases {passed[0]} pass, with the lexical tier alone {passed[1]}.", "")


def _calibration(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """What a score of 0.5 means: the rates that heads were calibrated at, and how far off they are at others."""
    if not evaluation.get("calibrated_on"):
        return
    yield from (
        "## How far a score can be taken for a probability",
        "",
        "Scores are probabilities where the category is as frequent as the last column says. Where it is rarer they",
        "are too high, where it is more frequent too low; lines given as a goal take the rate from the policy's",
        "`live_rate`.",
        "",
    )
    yield from _table(
        ("tier", "category", "validation rows like a blog's", "share of them", "calibrated to"),
        (
            (tier, code, f"{item['rows']:,}", f"{item['share']:.1%}", f"{item['base_rate']:.1%}")
            for tier, categories in evaluation["calibrated_on"].items()
            for code, item in categories.items()
        ),
    )
    yield from ("", "On frozen sets whose rows came in as they come in on a site:", "")
    yield from _table(
        ("set", "slice", "category", "rows", "share", "mean score", "Brier score", "ECE"),
        (
            (
                item["set"],
                item["slice"],
                item["category"],
                f"{item['rows']:,}",
                f"{item['base_rate']:.1%}",
                f"{item['mean_score']:.1%}",
                tell(item["brier"]),
                tell(item["ece"]),
            )
            for item in evaluation["calibration"]
        ),
    )
    yield ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return [f"| {line} |" for line in lines]
