"""What labels of a site are worth: how much better its comments are ranked once a residual has learned from them.

    MODERATION_DATA_DIR=... python benchmarks/learning_curve.py --cache FOLDER --svg docs/images/learning-curve.svg

A site is a validation source or blog that neither the encoder nor any head has learned from. In each draw half of its
comments are set aside, the published bundle's residual learns from some of the others, and AUC on those set aside is
compared with that of the bundle without it. Labels are drawn by chance, or as a queue gives them: four of five from the
fifth of the comments that scores highest. Needs the public data sets; texts are read, none is written. Vectors are kept
in the cache, so that a second run does not read with the encoder. ``--try`` compares ways to hold the residual back.
"""

from __future__ import annotations

import argparse
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays

from moderation.adaptation import Adaptation
from moderation.bundle import load_bundle, read_anchors
from moderation.categories import CODES
from moderation.heads import FullHeads
from moderation.shipped import shipped_folder
from moderation.training.adapt import (
    ONE_SITE,
    Frame,
    Holding,
    Labelled,
    base_logits,
    calibration_slopes,
    fit_everywhere,
    fit_site,
    fit_sites,
)
from moderation.training.anchors import Figures, read_figures, unpack
from moderation.training.measures import auc
from moderation.training.table import Table, build_table
from moderation.training.train import gather
from moderation.training.vectors import read_kept

COUNTS = (25, 50, 100, 200, 400, 800)
MOST_ROWS = 3_000
QUEUE_SHARE = 0.8
LOSS_ALLOWED = 0.005


@dataclass(frozen=True)
class Place:
    """A site of the benchmark: some rows, and the category that their labels tell."""

    name: str
    category: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Everything that stays the same from one draw to the next."""

    heads: FullHeads
    anchors: Figures
    figures: Figures
    texts: Sequence[str]
    frame: Frame
    seen: NDArray[np.float32]
    logits: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    slopes: NDArray[np.float64]
    places: Sequence[Place]


def read_world(cache: Path | None, jobs: int) -> World:
    """The published bundle, and the validation rows as it sees them."""
    models = shipped_folder("models")
    bundle = load_bundle(models / (models / "current").read_text().split()[0])
    if bundle.model.full is None:
        raise SystemExit(f"{bundle.name} cannot use its encoder: {bundle.fault}")
    model, heads = bundle.model, bundle.model.full.heads
    data = gather(shipped_folder("training_data"), Path(os.environ["MODERATION_DATA_DIR"])).dataset
    memory = None if cache is None else Memory(cache, verbose=0)
    table = build_table(data.validation, model.topic, memory, jobs)
    vectors = read_kept(table, bundle.model.full.encoder, cache, lambda step: print(step, flush=True))
    figures = read_figures(table, vectors, model.heads.logits(table.features))
    anchors = unpack(load_arrays(read_anchors(bundle.path))).kept
    frame = Frame.of(anchors)
    return World(
        heads,
        anchors,
        figures,
        table.features.fields["text"],
        frame,
        frame.columns(heads, figures),
        logits := base_logits(heads, figures),
        heads.log_odds(logits),
        calibration_slopes(heads, base_logits(heads, anchors)),
        list(_places(table, figures)),
    )


def _places(table: Table, figures: Figures) -> Iterator[Place]:
    """Sources with enough labels of either kind, and single blogs."""
    blogs = np.array([row.group for row in table.rows])
    named = [(name, blogs == name, ("spam", "off_topic")) for name in sorted(set(blogs)) if name.startswith("blog:")]
    named += [(name, figures.sources == name, ("hostile", "spam")) for name in sorted(set(figures.sources))]
    for name, here, categories in named:
        for code in categories:
            rows = np.flatnonzero(here & figures.known(code))
            bad = figures.labels[rows, CODES.index(code)].sum()
            if len(rows) >= (300 if name.startswith("blog:") else 600) and 30 < bad < len(rows) - 30:
                yield Place(name.removeprefix("blog:"), code, rows)


def gains(
    world: World, place: Place, count: int, draws: int, holding: Holding, *, kind: str
) -> list[tuple[float, float]]:
    """What AUC and log loss gain on the comments set aside, in each draw that has enough labels of either kind."""
    head = CODES.index(place.category)
    found = []
    for draw in range(draws):
        # The same halves for every count and holding, so that they are compared on the same comments.
        rng = np.random.default_rng([draw, zlib.crc32(f"{place.name} {place.category}".encode())])
        order = rng.permutation(place.rows)[:MOST_ROWS]
        aside, pool = np.sort(order[: len(order) // 2]), order[len(order) // 2 :]
        taken = _queue(world, pool, head, count, rng) if kind == "queue" else pool[:count]
        labels = world.figures.labels[:, head]
        if len(taken) < count or len(set(labels[taken])) < 2 or len(set(labels[aside])) < 2:
            continue
        added = _whole(world, place, taken, aside) if kind == "whole" else _alone(world, place, taken, aside, holding)
        before, bad = world.log_odds[aside, head], labels[aside] == 1
        after = world.heads.log_odds(world.logits[aside] + added)[:, head]
        ranked = auc(after[bad], after[~bad]) - auc(before[bad], before[~bad])
        found.append((ranked, _log_loss(after, bad) - _log_loss(before, bad)))
    return found


def _log_loss(logits: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Of calibrated scores: what is too sure of itself costs most."""
    return float(np.logaddexp(0, np.where(bad, -logits, logits)).mean())


def _queue(world: World, pool: NDArray[np.int64], head: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels as moderators give them who work off a queue: most of what scores high, a few by chance."""
    high = pool[np.argsort(-world.logits[pool, head])][: max(count, len(pool) // 5)]
    first = rng.permutation(high)[: round(count * QUEUE_SHARE)]
    others = rng.permutation(np.setdiff1d(pool, first))
    return np.concatenate([first, others[: count - len(first)]])


def _only(world: World, place: Place, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The labels of the one category; of the others nothing is said."""
    head = CODES.index(place.category)
    labels = np.full((len(rows), len(CODES)), np.nan)
    labels[:, head] = world.figures.labels[rows, head]
    return labels


def _alone(
    world: World, place: Place, taken: NDArray[np.int64], aside: NDArray[np.int64], holding: Holding
) -> NDArray[np.float64]:
    """What the residual of the site alone adds."""
    texts = [world.texts[row] for row in taken.tolist()]
    taught = (world.log_odds[taken], _only(world, place, taken), np.ones(len(taken)))
    residual = fit_site(world.frame, world.seen[taken], texts, taught, slopes=world.slopes, holding=holding)
    figures = world.figures.take(aside)
    context = world.heads.context(figures.vectors, figures.dense, figures.lexical)
    own = [world.texts[row] for row in aside.tolist()]
    return residual.logits(figures.vectors, context, own, np.arange(len(aside)))


def _whole(world: World, place: Place, taken: NDArray[np.int64], aside: NDArray[np.int64]) -> NDArray[np.float64]:
    """What ``moderation retrain`` would add: the residual of all sites, and the site's own."""
    learned = replace(world.figures.take(taken), labels=_only(world, place, taken), weights=np.ones(len(taken)))
    texts = [world.texts[row] for row in taken.tolist()]
    labelled = Labelled(learned, texts, ["site"] * len(taken))
    everywhere = fit_everywhere(world.heads, labelled, world.anchors)
    adaptation = Adaptation(everywhere, fit_sites(world.heads, everywhere, labelled, world.anchors))
    figures = world.figures.take(aside)
    context = world.heads.context(figures.vectors, figures.dense, figures.lexical)
    own = [world.texts[row] for row in aside.tolist()]
    return adaptation.logits(["site"] * len(aside), figures.vectors, context, own)


def summarise(by_place: Sequence[Sequence[tuple[float, float]]]) -> dict[str, float]:
    """The mean of the places' means, the fifth percentile of all draws, and how many draws there were."""
    means = np.array([np.mean(found, axis=0) for found in by_place if found])
    every = np.array([gained for found in by_place for gained, _ in found])
    return {
        "mean": float(means[:, 0].mean()),
        "p5": float(np.quantile(every, 0.05)),
        "worst_place": float(means[:, 0].min()),
        "log_loss": float(means[:, 1].mean()),
        "draws": len(every),
    }


def curve(world: World, counts: Sequence[int], draws: int, kinds: Sequence[str]) -> dict[str, dict[int, dict]]:
    """Table and figures of the curve, by the way in which labels were drawn."""
    print("| labels | drawn | mean gain of AUC | 5th percentile | worst place, mean | change of log loss | draws |")
    print("|---|---|---|---|---|---|---|")
    found: dict[str, dict[int, dict]] = {}
    for kind in kinds:
        for count in counts:
            some = max(2, draws // 5) if kind == "whole" else draws
            by_place = [gains(world, place, count, some, ONE_SITE, kind=kind) for place in world.places]
            if not any(by_place):
                continue
            each = summarise(by_place)
            found.setdefault(kind, {})[count] = {
                **each,
                "places": {
                    f"{place.name} {place.category}": float(np.mean(gained, axis=0)[0])
                    for place, gained in zip(world.places, by_place, strict=True)
                    if gained
                },
            }
            print(
                f"| {count} | {kind} | {each['mean']:+.4f} | {each['p5']:+.4f} | {each['worst_place']:+.4f} "
                f"| {each['log_loss']:+.4f} | {each['draws']} |",
                flush=True,
            )
    return found


def compare(world: World, draws: int) -> None:
    """Table of ways to hold the residual back."""
    ways: dict[str, Holding] = {"as it is": ONE_SITE}
    for regularisation in (0.01, 0.02, 0.04, 0.08, 0.16):
        ways[f"C {regularisation}"] = replace(ONE_SITE, regularisation=regularisation)
    ways["windows 0.05"] = replace(ONE_SITE, windows=0.05)
    ways["windows 0.15"] = replace(ONE_SITE, windows=0.15)
    ways["no words"] = replace(ONE_SITE, words=0.0)
    ways["words 1"] = replace(ONE_SITE, words=1.0)
    ways["words 4"] = replace(ONE_SITE, words=4.0)
    ways["context 0.15"] = replace(ONE_SITE, context=0.15)
    counts = (50, 200, 800)
    print("| way | drawn | " + " | ".join(f"{count}: mean, 5th percentile" for count in counts) + " |")
    print("|---|---" + "|---" * len(counts) + "|")
    for name, holding in ways.items():
        for kind in ("chance", "queue"):
            cells = []
            for count in counts:
                each = summarise([gains(world, place, count, draws, holding, kind=kind) for place in world.places])
                cells.append(f"{each['mean']:+.4f}, {each['p5']:+.4f}")
            print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)


def draw_curve(found: Mapping[str, Mapping[int, Mapping]], path: Path) -> None:
    """Mean and fifth percentile by number of labels, on a light ground."""
    import matplotlib as mpl  # noqa: PLC0415 - only this needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "curve",
        "font.size": 10,
        "axes.grid": True,
        "grid.color": "#dfe2e4",
    }
    names = {"chance": "drawn by chance", "queue": "from a queue", "whole": "by chance, with the part of all sites"}
    with plt.rc_context({**style, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(7.2, 4))
        for (kind, by_count), colour in zip(found.items(), ("#2565c7", "#c2570c", "#7a3fb0"), strict=False):
            counts = list(by_count)
            axes.plot(counts, [each["mean"] for each in by_count.values()], "o-", color=colour, label=names[kind])
            axes.plot(counts, [each["p5"] for each in by_count.values()], "--", color=colour, linewidth=1)
        axes.axhline(-LOSS_ALLOWED, color="#b3261e", linewidth=1)
        axes.annotate(
            "at most this is lost", (25, -LOSS_ALLOWED), (0, -11), textcoords="offset points", color="#b3261e"
        )
        axes.axhline(0, color="#5b646d", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.minorticks_off()
        axes.set_xlabel("labels of the site")
        axes.set_ylabel("gain of AUC on comments set aside")
        axes.set_title("Solid: mean of all sites. Dashed: fifth percentile of all draws", fontsize=10, loc="left")
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cache", type=Path, help="folder where vectors are kept from one run to the next")
    options.add_argument("--draws", type=int, default=20, help="draws for each site and number of labels")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--svg", type=Path, help="where to draw the curve")
    options.add_argument("--json", type=Path, help="where to write all figures")
    options.add_argument("--try", action="store_true", dest="compare", help="compare ways to hold the residual back")
    chosen = options.parse_args()
    world = read_world(chosen.cache, chosen.jobs)
    print(f"{len(world.places)} sites: " + ", ".join(f"{place.name} ({place.category})" for place in world.places))
    if chosen.compare:
        compare(world, chosen.draws)
        return
    found = curve(world, COUNTS, chosen.draws, ("chance", "queue"))
    found |= curve(world, (50, 200, 800), chosen.draws, ("whole",))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    if chosen.svg:
        draw_curve(found, chosen.svg)


if __name__ == "__main__":
    main()
