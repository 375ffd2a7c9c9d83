"""The gate's checks of what a challenger says, held against what the champion says of the same rows and cases.

A loss *rejects* where the whole interval lies beyond its margin. It *holds* for a person where it is a loss for sure
and looks beyond the margin, or looks far beyond it and would be odd by chance if it were the only thing compared. A
loss that is certain but within the margin passes: no refit is without one somewhere. Intervals of a check hold
together, and the checks that compare share one level, so that refits which change nothing are seldom kept waiting by
chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moderation.categories import CODES
from moderation.goals import ACTIONS
from moderation.training.contest import Contest, Contestant
from moderation.training.data_checks import Check, State
from moderation.training.paired import (
    Average,
    Comparison,
    Flags,
    Moved,
    auc_loss,
    compare_averages,
    compare_moved,
    log_loss_rise,
)
from moderation.training.trials import DISTRESS


@dataclass(frozen=True, slots=True)
class Margin:
    """How much of a figure may be lost; ``far`` is what is looked at even where it is not sure."""

    loss: float
    far: float


# How often, at most, any interval of any of the four checks that compare misses.
LEVEL = 0.05
_OF_ONE_CHECK = LEVEL / 4
_ODD_ALONE = 0.002

MARGINS: Mapping[str, Margin] = {
    "AUC": Margin(0.005, 0.02),
    "good held": Margin(0.01, 0.05),
    "good rejected": Margin(0.005, 0.025),
    "bad found": Margin(0.05, 0.15),
    "cases passed": Margin(0.15, 0.15),
    "all cases passed": Margin(0.02, 0.02),
}
# Held-out labels of a site are few and tell what its moderators want, which a refit is there to follow.
SITE_MARGINS: Mapping[str, Margin] = {"AUC": Margin(0.01, np.inf), "log loss": Margin(0.01, np.inf)}

LEAST_OF_A_LABEL = 20
LEAST_GOOD = 30
LEAST_OF_A_SITE = 40
LEAST_OF_A_SITES_LABEL = 10
_TOLD = 3

WATCHED: Mapping[str, tuple[str, ...]] = {
    "identity mentions": ("identity-mention",),
    "distress and self-disclosure": DISTRESS,
    "counter-speech": ("counter-speech",),
    "reclaimed words": ("reclaimed-word",),
    "profanity without target": ("untargeted-profanity",),
    "obfuscated spelling": ("obfuscated",),
    "short": ("short", "one-word"),
    "long": ("long",),
    "quoted": ("quoted", "quoted-insult"),
    "genuine comments copied with a link": ("copied-spam",),
    "machine-written praise": ("machine-praise",),
    "non-English": ("non-english", "languages"),
}
"""What must not get worse unseen, with the slices of anchors and of behaviour cases that show it."""


def rankings(contest: Contest) -> list[Comparison]:
    """AUC of each category on each frozen set and on all of them."""
    rows = contest.frozen
    sets = {name: member for name, member in rows.members.items() if not name or name.startswith("set:")}
    losses = []
    for head, code in enumerate(CODES):
        before, after = contest.champion.frozen[:, head], contest.challenger.frozen[:, head]
        usable = ~(np.isnan(rows.labels[:, head]) | np.isnan(before) | np.isnan(after))
        for name, member in sets.items():
            index = np.flatnonzero(usable & member)
            labels = rows.labels[index, head]
            if _rarer(labels) >= LEAST_OF_A_LABEL:
                losses.append(auc_loss(name, code, labels, before[index], after[index], index))
    return compare_averages(losses, len(rows), _OF_ONE_CHECK)


def at_sites(contest: Contest) -> list[Comparison]:
    """AUC and log loss on the held-out labels of each site that has enough of them."""
    rows = contest.held_out
    sites = np.array([site or "" for site in rows.sites], dtype=object)
    losses: list[Average] = []
    for head, code in enumerate(CODES):
        before, after = contest.champion.held_out[:, head], contest.challenger.held_out[:, head]
        usable = ~(np.isnan(rows.labels[:, head]) | np.isnan(before) | np.isnan(after))
        for site in sorted(set(sites) - {""}):
            index = np.flatnonzero(usable & (sites == site))
            labels = rows.labels[index, head]
            if len(index) >= LEAST_OF_A_SITE and _rarer(labels) >= LEAST_OF_A_SITES_LABEL:
                figures = site, code, labels, before[index], after[index], index
                losses += [auc_loss(*figures), log_loss_rise(*figures)]
    return compare_averages(losses, len(rows), _OF_ONE_CHECK)


def check_ranking(contest: Contest) -> Check:
    """Whether every category still tells bad from good on every frozen set."""
    compared = rankings(contest)
    if not compared:
        return Check("ranking", "skipped", "There are no anchors with enough labels to compare on.")
    return _conclude("ranking", compared, MARGINS, f"{len(compared)} AUCs on frozen sets: none is lost beyond chance.")


def check_lines(contest: Contest) -> Check:
    """Whether more good anchors are held or rejected at the lines, or fewer bad ones found, in any slice."""
    compared = compare_moved(list(_moved_at_lines(contest)), _OF_ONE_CHECK)
    watched = _watched(contest)
    unseen = [name for name, (rows, cases) in watched.items() if not rows and not cases]
    note = f" Not measured for want of rows and cases: {', '.join(unseen)}." if unseen else ""
    more = {"lines": _tell_lines(contest), "watched": {name: list(counts) for name, counts in watched.items()}}
    if not compared:
        return Check("lines", "skipped", f"There are no lines, or no anchors to try them on.{note}", more)
    text = f"{len(compared)} shares at the lines, in all slices: none is worse beyond chance.{note}"
    found = _conclude("lines", compared, MARGINS, text)
    return Check(found.name, found.state, found.sentence, dict(found.figures) | more)


def check_behaviour(contest: Contest) -> Check:
    """Whether behaviour cases are failed that the champion passes; none of people in trouble may be."""
    if not contest.cases:
        return Check("behaviour", "skipped", "There are no behaviour cases.")
    worse, better = _moved_cases(contest)
    lost = sorted(case for part in DISTRESS for case in worse[part])
    sizes: dict[str, int] = defaultdict(int)
    for case in contest.cases:
        sizes[case.slice] += 1
    moved = [
        _moved(part, "", "cases passed", size, _passed(contest, part), len(worse[part]), len(better[part]))
        for part, size in sorted(sizes.items())
    ]
    every = (_passed(contest, None), sum(map(len, worse.values())), sum(map(len, better.values())))
    moved.append(_moved("", "", "all cases passed", len(contest.cases), *every))
    compared = compare_moved(moved, _OF_ONE_CHECK)
    text = f"{len(contest.cases)} behaviour cases: {every[1]} are failed and {every[2]} passed that were not before."
    found = _conclude("behaviour", compared, MARGINS, text, odd_alone=1.0)
    figures = dict(found.figures) | {"newly_failed": sorted(case for part in worse.values() for case in part)}
    if lost:
        text = f"It fails cases in which people speak of their own trouble, and none may be lost: {', '.join(lost)}."
        return Check("behaviour", "reject", text, figures)
    return Check("behaviour", found.state, found.sentence, figures)


def check_sites(contest: Contest) -> Check:
    """Whether a site loses, by its own moderators' labels."""
    compared = at_sites(contest)
    if not compared:
        return Check("sites", "skipped", f"No site has {LEAST_OF_A_SITE} held-out labels of both kinds yet.")
    open_ = sorted({one.where for one in compared if one.high > SITE_MARGINS[one.figure].loss})
    note = f" Too few labels to be sure that nothing is lost on: {', '.join(open_)}." if open_ else ""
    count = len({one.where for one in compared})
    told = "1 site: it does not lose for sure" if count == 1 else f"{count} sites: none loses for sure"
    return _conclude("sites", compared, SITE_MARGINS, f"{told}.{note}")


def check_gain(contest: Contest) -> Check:
    """Whether anything is better for sure, or it rests on more labels; whether anything is worse is for the others."""
    compared = [*rankings(contest), *at_sites(contest)]
    if not compared:
        return Check("gain", "hold", "Nothing could be compared, so nothing shows that it is as good.")
    better = [one for one in compared if one.high < 0]
    labels, before = contest.training.labels, contest.training.labels_before
    figures = {"better": [one.as_dict() for one in better], "labels": labels, "labels_before": before}
    if better:
        return Check("gain", "pass", f"Better for sure: {_tell(better)}.", figures)
    if labels > before:
        text = f"Nothing is better for sure, but it has learned from {labels:,} labels instead of {before:,}."
        return Check("gain", "pass", text, figures)
    return Check("gain", "hold", "Nothing gained that could be shown.", figures)


def weigh(one: Comparison, margins: Mapping[str, Margin], odd_alone: float = _ODD_ALONE) -> State:
    """What a comparison says by itself."""
    margin = margins[one.figure]
    if one.low > margin.loss:
        return "reject"
    if one.loss > margin.loss and one.low > 0:
        return "hold"
    return "hold" if one.loss > margin.far and one.alone <= odd_alone else "pass"


def _conclude(
    name: str,
    compared: Sequence[Comparison],
    margins: Mapping[str, Margin],
    all_well: str,
    odd_alone: float = _ODD_ALONE,
) -> Check:
    found = defaultdict(list)
    for one in compared:
        found[weigh(one, margins, odd_alone)].append(one)
    figures: dict[str, Any] = {
        "compared": [one.as_dict() for one in compared],
        "margins": {figure: margins[figure].loss for figure in sorted({one.figure for one in compared})},
        "level": _OF_ONE_CHECK,
    }
    if found["reject"]:
        return Check(name, "reject", f"Worse for sure, beyond the margin: {_tell(found['reject'])}.", figures)
    if found["hold"]:
        return Check(name, "hold", f"Perhaps worse beyond the margin: {_tell(found['hold'])}.", figures)
    return Check(name, "pass", all_well, figures)


def _tell(compared: Sequence[Comparison]) -> str:
    ordered = sorted(compared, key=lambda one: -abs(one.loss))
    told = "; ".join(map(str, ordered[:_TOLD]))
    return told if len(ordered) <= _TOLD else f"{told}; and {len(ordered) - _TOLD} more"


def _rarer(labels: Any) -> int:
    bad = int((labels == 1).sum())
    return min(bad, len(labels) - bad)


def _over(one: Contestant, head: int, code: str, action: Any) -> Flags:
    over: Flags = np.round(one.frozen[:, head], 6) >= one.lines.get((code, action), np.inf)
    return over


def _moved_at_lines(contest: Contest) -> Iterator[Moved]:
    for head, code in enumerate(CODES):
        labels = contest.frozen.labels[:, head]
        for action in ACTIONS:
            before, after = (_over(one, head, code, action) for one in (contest.champion, contest.challenger))
            if not before.any() and not after.any():
                continue
            good = (f"good {'held' if action == 'hold' else 'rejected'}", labels == 0, after & ~before, before & ~after)
            bad = ("bad found", labels == 1, before & ~after, after & ~before)
            for figure, chosen, worse, better in (good, bad) if action == "hold" else (good,):
                for name, member in contest.frozen.members.items():
                    rows = chosen & member
                    count = int(rows.sum())
                    if count >= (LEAST_GOOD if figure != "bad found" else LEAST_OF_A_LABEL):
                        shares = float(before[rows].mean()), float(after[rows].mean())
                        sides = int(worse[rows].sum()), int(better[rows].sum())
                        yield Moved(name, code, figure, count, *shares, *sides)


def _tell_lines(contest: Contest) -> dict[str, dict[str, list[float | None]]]:
    """Where the lines of both lie: {category: {action: [champion's, challenger's]}}, those that are in force."""
    told: dict[str, dict[str, list[float | None]]] = defaultdict(dict)
    for code in CODES:
        for action in ACTIONS:
            lines = [one.lines.get((code, action), np.inf) for one in (contest.champion, contest.challenger)]
            if any(np.isfinite(lines)):
                told[code][action] = [round(line, 6) if np.isfinite(line) else None for line in lines]
    return dict(told)


def _watched(contest: Contest) -> dict[str, tuple[int, int]]:
    """Of each watched matter, how many anchors and how many behaviour cases there are."""
    members = contest.frozen.members
    return {
        matter: (
            sum(int(members[name].sum()) for name in names if name in members),
            sum(case.slice in names for case in contest.cases),
        )
        for matter, names in WATCHED.items()
    }


def _moved_cases(contest: Contest) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Ids, by slice, of the cases that only the champion passes, and of those that only the challenger does."""
    worse: dict[str, list[str]] = defaultdict(list)
    better: dict[str, list[str]] = defaultdict(list)
    for case in contest.cases:
        was, is_now = case.id in contest.champion.passed, case.id in contest.challenger.passed
        if was and not is_now:
            worse[case.slice].append(case.id)
        elif is_now and not was:
            better[case.slice].append(case.id)
    return worse, better


def _passed(contest: Contest, part: str | None) -> int:
    return sum(case.id in contest.champion.passed for case in contest.cases if part in (None, case.slice))


def _moved(where: str, category: str, figure: str, rows: int, passed: int, worse: int, better: int) -> Moved:
    return Moved(where, category, figure, rows, passed / rows, (passed - worse + better) / rows, worse, better)
