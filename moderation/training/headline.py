"""The few figures that a model is judged by, each with what it is to reach.

The sets, slices and figures are those of ``evaluation.json``; a figure that is missing there is *not measured*, which
is neither reached nor missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moderation.training.disguise import ATTACKS

State = Literal["reached", "not reached", "not measured"]
Found = tuple[float, str] | None
"""A figure, and which of several it is ("" where there is one)."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach: at least ``reach``, or at most where ``is_loss``."""

    what: str
    reach: float
    find: Callable[[Mapping[str, Any]], Found]
    is_loss: bool = False
    is_percent: bool = False

    def tell(self, value: float) -> str:
        """A value of this figure for people."""
        return f"{value * 100:.1f} %" if self.is_percent else f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Headline:
    """A goal and what was found, in words."""

    what: str
    goal: str
    found: str
    state: State


def _of_set(name: str, part: str, code: str, figure: str) -> Callable[[Mapping[str, Any]], Found]:
    return lambda evaluation: _pick(evaluation.get("sets", ()), figure, set=name, slice=part, category=code)


def _of_held(name: str, part: str) -> Callable[[Mapping[str, Any]], Found]:
    return lambda evaluation: _pick(evaluation.get("held", ()), "share", set=name, slice=part)


def _of_attack(kind: str) -> Callable[[Mapping[str, Any]], Found]:
    return lambda evaluation: _pick(evaluation.get("attacks", ()), "loss", attack=kind)


def _of(section: str, figure: str) -> Callable[[Mapping[str, Any]], Found]:
    return lambda evaluation: (evaluation[section][figure], "") if evaluation.get(section) else None


def _pick(items: Sequence[Mapping[str, Any]], figure: str, **key: str) -> Found:
    for item in items:
        if all(item[name] == value for name, value in key.items()) and figure in item:
            return item[figure], ""
    return None


def _worst_calibration(evaluation: Mapping[str, Any]) -> Found:
    worst = max(evaluation.get("calibration", ()), key=lambda item: item["ece"], default=None)
    return None if worst is None else (worst["ece"], f"{worst['category']} on {worst['set']}")


GOALS: tuple[Goal, ...] = (
    Goal("kaggle-insults, AUC of hostile", 0.915, _of_set("kaggle-insults", "", "hostile", "auc")),
    Goal("jigsaw, AUC of hostile", 0.970, _of_set("jigsaw", "", "hostile", "auc")),
    Goal("HatemojiCheck, AUC of hostile", 0.85, _of_set("hatemoji-check", "", "hostile", "auc")),
    Goal("spam on blogs never seen, AUC", 0.985, _of_set("spam-blogs", "", "spam", "auc")),
    Goal(
        "spam on blogs never seen, recall at 1 % false positives",
        0.87,
        _of_set("spam-blogs", "", "spam", "recall_at_1_percent"),
    ),
    Goal(
        "genuine comment copied, link added: recall at the same threshold",
        0.90,
        lambda evaluation: _pick(evaluation.get("copied", ()), "recall_at_1_percent", slice=""),
    ),
    Goal(
        "off-topic, random other post of the blog, AUC",
        0.93,
        _of_set("topic-blogs", "moved-random", "off_topic", "auc"),
    ),
    Goal(
        "off-topic, nearest other post of the blog, AUC",
        0.85,
        _of_set("topic-blogs", "moved-nearest", "off_topic", "auc"),
    ),
    Goal("why: F1 of the characters pointed at, toxic-spans test", 0.60, _of("why", "f1")),
    Goal(
        "noisyhate, recall lost to disguised spelling at the hold line",
        0.08,
        _of("spelling", "lost"),
        is_loss=True,
        is_percent=True,
    ),
    *(Goal(f"kaggle-insults, {kind}: AUC lost", 0.02, _of_attack(kind), is_loss=True) for kind in ATTACKS),
    *(
        Goal(f"held by mistake, {words}", reach, _of_held(name, part), is_loss=True, is_percent=True)
        for words, name, part, reach in (
            ("questions of people in distress (counsel-chat)", "counsel-chat", "question", 0.01),
            ("answers of their counsellors (counsel-chat)", "counsel-chat", "answer", 0.01),
            ("harmless prompts with violent words (xstest)", "xstest", "", 0.05),
            ("behaviour cases on distress", "behaviour", "distress", 0.0),
        )
    ),
    Goal(
        "bias-madlibs, largest gap in mean score between two identities, harmless half",
        0.05,
        _of("identities", "largest_gap"),
        is_loss=True,
    ),
    Goal("calibration error (ECE) of the worst head at natural rates", 0.03, _worst_calibration, is_loss=True),
)


def headlines(evaluation: Mapping[str, Any]) -> Iterator[Headline]:
    """Every goal with what was found, in the order of :data:`GOALS`."""
    for goal in GOALS:
        aim = f"{'at most' if goal.is_loss else 'at least'} {goal.tell(goal.reach)}"
        found = goal.find(evaluation)
        if found is None:
            yield Headline(goal.what, aim, "\u2013", "not measured")
            continue
        value, which = found
        is_reached = value <= goal.reach if goal.is_loss else value >= goal.reach
        words = f"{goal.tell(value)} ({which})" if which else goal.tell(value)
        yield Headline(goal.what, aim, words, "reached" if is_reached else "not reached")
