"""The plots of the report, as SVG that takes its colours and fonts from the page it stands in.

Each function draws one plot from ``evaluation.json`` and returns ``None`` where there is nothing to draw. Colours are
drawn as stand-ins and replaced by CSS variables (``--ink``, ``--one`` ...), so that light and dark are up to the page.
Needs matplotlib, from the extra ``report``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from moderation.training.measures import SPREAD_ODDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-in colours, replaced by variables of these names.
_COLOURS = {
    "ink": "#010101",
    "soft": "#020202",
    "line": "#030303",
    "one": "#040404",
    "two": "#050505",
    "three": "#060606",
    "good": "#070707",
    "bad": "#080808",
}
# For a file that stands in no page.
_ON_WHITE = {
    "ink": "#1c2126",
    "soft": "#5b646d",
    "line": "#dfe2e4",
    "one": "#2565c7",
    "two": "#c2570c",
    "three": "#7a3fb0",
}
_MEAN_OF = 15
INK, SOFT, LINE, ONE, TWO, THREE, GOOD, BAD = _COLOURS.values()
_STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
_WIDTH = 9.4
_PANELS = 4
_STEADY_ROWS = 10  # a share of fewer rows is chance: its dot is drawn, no line leads there
# What the panels of curves show, in this order, if it is there.
_PANEL_SETS = (
    ("kaggle-insults", "", "hostile"),
    ("jigsaw", "", "hostile"),
    ("spam-blogs", "", "spam"),
    ("topic-blogs", "moved-nearest", "off_topic"),
)

Item = Mapping[str, Any]


def name_part(item: Item) -> str:
    """A set and its slice, for people."""
    return f"{item['set']}, {item['slice']}" if item["slice"] else str(item["set"])


def panel_items(evaluation: Item) -> list[Item]:
    """The measurements whose curves are shown: four that stand for all, or the first four with curves."""
    drawn = {(item["set"], item["slice"], item["category"]): item for item in evaluation["sets"] if "roc" in item}
    return [drawn[key] for key in _PANEL_SETS if key in drawn] or list(drawn.values())[:_PANELS]


def draw_aucs(evaluation: Item) -> str | None:
    """AUC with its interval for every set, the three main categories one below the other."""
    groups = [
        (code, sorted((item for item in evaluation["sets"] if item["category"] == code), key=lambda item: item["auc"]))
        for code in ("off_topic", "spam", "hostile")
    ]
    groups = [(code, items) for code, items in groups if items]
    if not groups:
        return None
    heights = [len(items) + 1.2 for _, items in reversed(groups)]
    with _figure(0.235 * sum(heights) + 0.5, len(groups), 1, height_ratios=heights, sharex=True) as (figure, axes):
        for axis, (code, items) in zip(axes, reversed(groups), strict=True):
            axis.set_title(code)
            for place, item in enumerate(items):
                axis.plot([item["auc_low"], item["auc_high"]], [place, place], color=ONE, linewidth=4, alpha=0.35)
                axis.plot(item["auc"], place, "o", color=ONE, markersize=5)
                axis.annotate(
                    f"{item['auc']:.3f}", (1.005, place), xycoords=("axes fraction", "data"), va="center", color=SOFT
                )
            axis.set_yticks(range(len(items)), [name_part(item) for item in items])
            axis.set_ylim(-0.7, len(items) - 0.3)
            axis.grid(visible=False, axis="y")
        lowest = min(item["auc_low"] for _, items in groups for item in items)
        axes[-1].set_xlim(max(0.0, math.floor(lowest * 20) / 20), 1)
        axes[-1].set_xlabel("ROC AUC, with 95 % interval")
        return _svg(figure, "aucs")


def draw_curves(evaluation: Item) -> str | None:
    """ROC above, precision against recall below, with the points at which the default policy holds and rejects."""
    items = panel_items(evaluation)
    if not items:
        return None
    with _figure(5.0, 2, _PANELS) as (figure, axes):
        for column in range(_PANELS):
            upper, lower = axes[column], axes[_PANELS + column]
            if column >= len(items):
                upper.set_axis_off()
                lower.set_axis_off()
                continue
            item = items[column]
            upper.set_title(_short(name_part(item)))
            upper.plot(*zip(*item["roc"], strict=True), color=ONE)
            upper.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle="--")
            lower.plot(*zip(*item["precision_recall"], strict=True), color=ONE)
            lower.axhline(item["positives"] / item["rows"], color=LINE, linewidth=1, linestyle="--")
            for action, marker, colour in (("hold", "o", TWO), ("reject", "D", THREE)):
                point = item.get(f"at_{action}")
                if point and point["over"]:
                    upper.plot(point["false_positive_rate"], point["recall"], marker, color=colour, label=action)
                    lower.plot(point["recall"], point["precision"], marker, color=colour, label=action)
            for axis in (upper, lower):
                axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), box_aspect=1)
            upper.set_xlabel("false positive rate")
            lower.set_xlabel("recall")
        axes[0].set_ylabel("recall")
        axes[_PANELS].set_ylabel("precision")
        if axes[0].get_legend_handles_labels()[0]:
            axes[0].legend(loc="lower right", labelcolor=INK, handletextpad=0.2)
        return _svg(figure, "curves")


def draw_reliability(evaluation: Item) -> str | None:
    """How often rows of a score are of the category, for the sets at their natural rate."""
    items = evaluation.get("calibration", [])
    if not items:
        return None
    rows = -(-len(items) // _PANELS)
    with _figure(2.6 * rows, rows, _PANELS) as (figure, axes):
        for axis, item in _panels(axes, items):
            axis.set_title(f"{item['category']}\n{_short(name_part(item))}")
            axis.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle="--")
            points = [(one["score"], one["share"]) for one in item["bins"]]
            scores, shares = zip(*points, strict=True)
            steady = [point for point, one in zip(points, item["bins"], strict=True) if one["rows"] >= _STEADY_ROWS]
            axis.plot(*zip(*steady, strict=True), color=ONE, linewidth=1.4)
            sizes = [10 + 110 * math.sqrt(one["rows"] / item["rows"]) for one in item["bins"]]
            axis.scatter(scores, shares, s=sizes, color=ONE, alpha=0.55, linewidths=0)
            axis.annotate(f"ECE {item['ece']:.3f}", (0.04, 0.9), xycoords="axes fraction", color=INK)
            axis.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), box_aspect=1)
        figure.supxlabel("score", fontsize=9.5, color=SOFT)
        figure.supylabel("share that is of the category", fontsize=9.5, color=SOFT)
        return _svg(figure, "reliability")


def draw_spreads(evaluation: Item) -> str | None:
    """Where the scores of good and bad rows lie, against the lines of the default policy."""
    items = [item for item in panel_items(evaluation) if "spread" in item]
    if not items:
        return None
    tiers = evaluation.get("tiers") or {}
    lines = evaluation.get("lines", {}).get(max(tiers, key=lambda tier: tiers[tier], default=""), {})
    ticks = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
    with _figure(4.6, 2, 2) as (figure, axes):
        for axis, item in _panels(axes, items):
            axis.set_title(f"{item['category']}: {name_part(item)}")
            for kind, colour in (("good", GOOD), ("bad", BAD)):
                counts = item["spread"][kind]
                edges = [SPREAD_ODDS * (2 * number / len(counts) - 1) for number in range(len(counts) + 1)]
                shares = [count / max(sum(counts), 1) for count in counts]
                axis.stairs(shares, edges, fill=True, color=colour, alpha=0.28)
                axis.stairs(shares, edges, color=colour, linewidth=1.4, label=f"{kind} ({sum(counts):,})")
            top = axis.get_ylim()[1] * 1.15
            for action, threshold in lines.get(item["category"], {}).items():
                if threshold is not None:
                    odds = _odds(threshold)
                    axis.axvline(odds, color=INK, linewidth=1, linestyle="-" if action == "hold" else ":")
                    axis.annotate(f"{action} {threshold:.3f}", (odds + 0.15, top * 0.93), color=INK, fontsize=8.5)
            axis.set(ylim=(0, top), xlim=(-SPREAD_ODDS, SPREAD_ODDS), yticks=())
            axis.set_xticks([_odds(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
            axis.legend(loc="center right", labelcolor=INK, handlelength=1)
        figure.supxlabel("score, on a log-odds scale", fontsize=9.5, color=SOFT)
        return _svg(figure, "spreads")


def draw_identities(evaluation: Item) -> str | None:
    """Mean score of harmless sentences per identity, and the three AUCs beside it."""
    found = evaluation.get("identities")
    if not found:
        return None
    items = sorted(found["identities"], key=lambda item: item["harmless_mean"])
    with _figure(0.185 * len(items) + 1.0, 1, 2, sharey=True) as (figure, (left, right)):
        places = range(len(items))
        left.set_title("mean score of harmless sentences")
        left.hlines(places, found["harmless_mean"], [item["harmless_mean"] for item in items], color=ONE, alpha=0.4)
        left.plot([item["harmless_mean"] for item in items], places, "o", color=ONE, markersize=4.5)
        left.axvline(found["harmless_mean"], color=INK, linewidth=1)
        left.set_yticks(places, [item["identity"] for item in items])
        left.set_ylim(-1, len(items))
        right.set_title("AUC")
        for name, marker, colour in (("subgroup", "o", ONE), ("bpsn", "s", TWO), ("bnsp", "^", THREE)):
            points = [(item[name], place) for place, item in enumerate(items) if item[name] is not None]
            if points:
                right.plot(
                    *zip(*points, strict=True), marker, color=colour, markersize=4, alpha=0.85, label=name.upper()
                )
        right.legend(loc="upper left", labelcolor=INK, ncols=3, columnspacing=1, handletextpad=0.1)
        right.set_ylim(-1, len(items) + 1.6)
        return _svg(figure, "identities")


def draw_attacks(evaluation: Item, goal: float) -> str | None:
    """AUC lost to each way of disguising words, with its interval, against the goal."""
    items = evaluation.get("attacks", [])
    if not items:
        return None
    with _figure(0.34 * len(items) + 0.9, 1, 1) as (figure, (axis,)):
        for place, item in enumerate(reversed(items)):
            axis.barh(place, item["loss"], height=0.55, color=ONE, alpha=0.75)
            axis.plot([item["loss_low"], item["loss_high"]], [place, place], color=INK, linewidth=1.2)
            axis.annotate(f"{item['loss']:.3f}", (1.005, place), xycoords=("axes fraction", "data"), va="center")
        axis.axvline(goal, color=TWO, linewidth=1.4, linestyle="--")
        axis.annotate(
            f"goal {goal:g}", (goal, len(items) - 0.45), color=TWO, ha="left", xytext=(3, 0), textcoords="offset points"
        )
        axis.set_yticks(range(len(items)), [item["attack"] for item in reversed(items)])
        axis.set_ylim(-0.6, len(items) - 0.1)
        axis.set_xlabel("AUC lost, with 95 % interval")
        axis.grid(visible=False, axis="y")
        return _svg(figure, "attacks")


def draw_behaviour(evaluation: Item) -> str | None:
    """Passed and failed behaviour cases by slice."""
    slices = evaluation["behaviour"]["slices"]
    if not slices:
        return None
    ordered = sorted(slices.items(), key=lambda entry: (entry[1]["passed"] / entry[1]["cases"], entry[0]), reverse=True)
    with _figure(0.225 * len(ordered) + 0.7, 1, 1) as (figure, (axis,)):
        places = range(len(ordered))
        passed = [item["passed"] for _, item in ordered]
        failed = [item["cases"] - item["passed"] for _, item in ordered]
        axis.barh(places, passed, height=0.66, color=GOOD, alpha=0.75, label="passed")
        axis.barh(places, failed, left=passed, height=0.66, color=BAD, alpha=0.75, label="failed")
        for place, (_, item) in enumerate(ordered):
            axis.annotate(
                f"{item['passed']} of {item['cases']}",
                (1.005, place),
                xycoords=("axes fraction", "data"),
                va="center",
                color=SOFT,
            )
        axis.set_yticks(places, [name for name, _ in ordered])
        axis.set_ylim(-0.7, len(ordered) - 0.3)
        axis.set_xlabel("cases")
        axis.grid(visible=False, axis="y")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, labelcolor=INK, borderaxespad=0, handlelength=1)
        return _svg(figure, "behaviour")


def draw_peers(evaluation: Item) -> str | None:
    """AUC of ours and of each peer on the same rows."""
    compared = [item for item in evaluation.get("peers", {}).get("compared", []) if "auc" in item]
    if not compared:
        return None
    keys = list(dict.fromkeys((item["category"], name_part(item)) for item in compared))[::-1]
    names = list(dict.fromkeys(item["peer"] for item in compared))
    colours = dict(zip(names, (TWO, THREE, GOOD, BAD), strict=False))
    with _figure(0.28 * len(keys) + 1.0, 1, 1) as (figure, (axis,)):
        for place, key in enumerate(keys):
            items = [item for item in compared if (item["category"], name_part(item)) == key]
            values = [items[0]["our_auc"], *(item["auc"] for item in items)]
            axis.plot([min(values), max(values)], [place, place], color=LINE, linewidth=3)
            for item in items:
                axis.plot(
                    item["auc"], place, "s", color=colours.get(item["peer"], SOFT), markersize=5.5, label=item["peer"]
                )
            axis.plot(values[0], place, "o", color=ONE, markersize=7, label="this bundle")
        axis.set_yticks(range(len(keys)), [f"{part} ({code})" for code, part in keys])
        axis.set_ylim(-0.7, len(keys) - 0.3)
        axis.set_xlabel("ROC AUC")
        axis.grid(visible=False, axis="y")
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        axis.legend(
            handles.values(),
            handles.keys(),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=5,
            labelcolor=INK,
            borderaxespad=0,
            handletextpad=0.1,
            columnspacing=1.2,
        )
        return _svg(figure, "peers")


def draw_losses(lines: Sequence[Item]) -> str:
    """How the losses fell while the encoder was fine-tuned: its log as a file of its own, dark on white.

    A step that was done again after a break counts once. Dots are what was logged, the line is their running mean.
    """
    by_step = {line["step"]: line for line in lines}
    names = [name for name in ("class", "marks", "topic") if any(name in line for line in by_step.values())]
    with _figure(2.7, 1, 3) as (figure, axes):
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        for axis, name, colour in zip(axes, names, (ONE, TWO, THREE), strict=False):
            points = [(step, line[name]) for step, line in sorted(by_step.items()) if name in line]
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, ".", color=colour, markersize=3, alpha=0.35)
            windows = [values[max(0, end - _MEAN_OF) : end] for end in range(1, len(values) + 1)]
            axis.plot(steps, [sum(window) / len(window) for window in windows], color=colour)
            axis.set_title(f"loss of {name}")
            axis.set_xlabel("step")
            axis.set_ylim(bottom=0)
        svg = _svg(figure, "losses")
    for variable, colour in _ON_WHITE.items():
        svg = svg.replace(f"var(--{variable})", colour)
    start = svg.index(">") + 1
    return f'{svg[:start]}\n<rect width="100%" height="100%" fill="#ffffff"/>{svg[start:]}\n'


def _odds(score: float) -> float:
    inside = min(max(score, 1e-9), 1 - 1e-9)
    return max(-SPREAD_ODDS, min(SPREAD_ODDS, math.log(inside / (1 - inside))))


def _short(name: str) -> str:
    """A name that fits a panel."""
    return name if len(name) <= 24 else name.replace(", ", ",\n")


def _panels(axes: Sequence[Axes], items: Sequence[Item]) -> Iterator[tuple[Axes, Item]]:
    """An axis for each item; those left over are not drawn."""
    for axis in axes[len(items) :]:
        axis.set_axis_off()
    yield from zip(axes, items, strict=False)


@contextmanager
def _figure(height: float, rows: int, columns: int, **options: Any) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure with its axes, in our style while the block lasts. No state is kept: it is not pyplot's."""
    from matplotlib import rc_context  # noqa: PLC0415 - takes a second, and only a report draws
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    with rc_context({**_STYLE}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        yield figure, list(axes.flat)


def _svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element with ids of its own, its colours as CSS variables and the page's font."""
    from matplotlib import rc_context  # noqa: PLC0415 - as above

    out = StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(<svg[^>]*?) width=\"[^\"]*\"", r"\1", svg, count=1)
    svg = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", svg, count=1)
    svg = re.sub(r"(\bid=\"|url\(#|href=\"#)", rf"\1{name}-", svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    for variable, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()
