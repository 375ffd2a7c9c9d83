"""One HTML page of everything measured: plots as SVG inside it, a table under each, nothing fetched from anywhere.

Made of ``evaluation.json`` alone, so it holds no word of any comment. Light or dark as the reader's system says.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from moderation.errors import ModerationError
from moderation.training import plots
from moderation.training.card import FIGURES, figures, tell
from moderation.training.headline import GOALS, headlines
from moderation.training.plots import name_part

Item = Mapping[str, Any]
_MARKS = {"reached": "\u2713", "not reached": "\u2717", "not measured": "\u2013"}
_NUMBER = re.compile(r"[\d-]|\u2013$")
_ATTACK_GOAL = next(goal.reach for goal in GOALS if goal.what.endswith("AUC lost"))


class ReportUnavailable(ModerationError):
    """The page cannot be drawn here; the message says what to install."""


def check_report() -> None:
    """Raise ``ReportUnavailable`` where the plots cannot be drawn, before anything takes long."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportUnavailable("the HTML report needs matplotlib: pip install '.[report]'")


def write_report(evaluation: Item) -> str:
    """The page. Figures that an evaluation of an earlier version lacks are left out.

    Raises ``ReportUnavailable`` without matplotlib.
    """
    check_report()
    name = str(evaluation.get("bundle", "a bundle"))
    sections = [part for section in _SECTIONS if (part := section(evaluation))]
    links = " ".join(f'<a href="#{part_id}">{escape(title)}</a>' for part_id, title, _ in sections)
    body = "\n".join(
        f'<section id="{part_id}"><h2>{escape(title)}</h2>\n{content}</section>' for part_id, title, content in sections
    )
    tiers = ", ".join(f"{tier} ({count:,} comments)" for tier, count in evaluation.get("tiers", {}).items())
    tier = f"Tier: {escape(tiers)}. " if tiers else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(name)}, measured</title>
<style>{_CSS}</style>
</head>
<body>
<header>
<h1>{escape(name)}</h1>
<p>Measured on frozen sets, which nothing is trained on, and on the behaviour cases. {tier}Lines are those of the
default policy; intervals are 95 %.</p>
<nav>{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


_Section = tuple[str, str, str] | None  # id, title, HTML


def _show_headlines(evaluation: Item) -> _Section:
    found = list(headlines(evaluation))
    counts = {state: sum(item.state == state for item in found) for state in _MARKS}
    rows = "".join(
        f"<tr><td>{escape(item.what)}</td><td class=n>{escape(item.goal)}</td><td class=n>{escape(item.found)}</td>"
        f'<td><span class="state {item.state.replace(" ", "-")}">{_MARKS[item.state]} {item.state}</span></td></tr>\n'
        for item in found
    )
    lead = ", ".join(f"<b>{count}</b> {state}" for state, count in counts.items() if count)
    head = "".join(f"<th scope=col>{name}</th>" for name in ("what", "goal", "found", "state"))
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
    return "goals", "Goals", f"<p>{lead}.</p>\n<div class=scroll>{table}</div>\n"


def _show_aucs(evaluation: Item) -> _Section:
    drawn = plots.draw_aucs(evaluation)
    return (
        "sets",
        "Every set",
        _figure(
            drawn,
            "How often a comment of the category scores above one that is not, per set and slice. Half is chance.",
            FIGURES,
            figures(evaluation),
        ),
    )


def _show_curves(evaluation: Item) -> _Section:
    drawn = plots.draw_curves(evaluation)
    rows = (
        (
            name_part(item),
            item["category"],
            action,
            tell(item[key]["recall"]),
            _interval(item[key], "recall"),
            tell(item[key]["precision"]),
            tell(item[key]["false_positive_rate"]),
            _interval(item[key], "false_positive_rate"),
        )
        for item in evaluation["sets"]
        for action in ("hold", "reject")
        if (key := f"at_{action}") in item
    )
    head = ("set", "category", "line", "recall", "95 %", "precision", "false positive rate", "95 %")
    text = (
        "Above ROC, below precision against recall; marked is what the hold and reject lines do. Dashed is a guess at "
        "the set's own rate. The table has the same points for every set (intervals after Clopper and Pearson)."
    )
    return _drawn("curves", "Curves and lines", drawn, text, head, rows)


def _show_calibration(evaluation: Item) -> _Section:
    drawn = plots.draw_reliability(evaluation)
    rows = (
        (
            name_part(item),
            item["category"],
            f"{item['rows']:,}",
            f"{item['base_rate']:.1%}",
            f"{item['mean_score']:.1%}",
            tell(item["brier"]),
            tell(item["ece"]),
        )
        for item in evaluation.get("calibration", ())
    )
    text = (
        "For sets whose rows came in as they come in on a site: of the comments with a score, which share is of the "
        "category. On the dashed line scores are probabilities; larger dots stand for more comments, and lines "
        "join those of ten and more."
    )
    head = ("set", "category", "rows", "share", "mean score", "Brier score", "ECE (15 bins)")
    return _drawn("calibration", "Scores as probabilities", drawn, text, head, rows)


def _show_spreads(evaluation: Item) -> _Section:
    drawn = plots.draw_spreads(evaluation)
    rows = (
        (tier, code, *("\u2013" if lines[action] is None else f"{lines[action]:.4f}" for action in ("hold", "reject")))
        for tier, categories in evaluation.get("lines", {}).items()
        for code, lines in categories.items()
    )
    text = "Where the scores of good and of bad comments lie, each as shares of its own number, against the lines."
    return _drawn("spreads", "Scores against the lines", drawn, text, ("tier", "category", "hold", "reject"), rows)


def _show_attacks(evaluation: Item) -> _Section:
    drawn = plots.draw_attacks(evaluation, _ATTACK_GOAL)
    tables = [_lead("Hostile comments whose words are disguised, and genuine comments copied to place a link.")]
    if drawn:
        tables.append(
            _figure(
                drawn,
                "AUC lost on kaggle-insults when three words in ten are disguised, by kind.",
                ("attack", "rows", "AUC before", "AUC", "lost", "95 %", "recall at hold before", "recall at hold"),
                (
                    (
                        item["attack"],
                        f"{item['rows']:,}",
                        tell(item["auc_before"]),
                        tell(item["auc"]),
                        tell(item["loss"]),
                        _interval(item, "loss"),
                        tell(item["recall_before"]),
                        tell(item["recall"]),
                    )
                    for item in evaluation["attacks"]
                ),
            )
        )
    if spelling := evaluation.get("spelling"):
        tables.append(
            _lead(
                f"noisyhate, {spelling['pairs']:,} comments in two spellings: {spelling['clean']:.1%} of the clean "
                f"ones reach the hold line, {spelling['perturbed']:.1%} of the disguised ones; "
                f"<b>{spelling['lost'] * 100:.1f} points</b> are lost ({_interval(spelling, 'lost')})."
            )
        )
    if buried := evaluation.get("buried"):
        tables.append(
            _lead(
                f"{buried['rows']:,} short hostile comments that reach the hold line, inside long harmless ones: "
                f"<b>{tell(buried['end'])}</b> still do at the end of one, {tell(buried['middle'])} in its middle. Of "
                f"{buried['around']:,} of the long ones by themselves {tell(buried['held_around'])} do."
            )
        )
    if copied := evaluation.get("copied"):
        tables.append(
            _table(
                ("copied comments", "rows", "recall at 1 % false positives", "95 %", "recall at hold"),
                (
                    (
                        item["slice"] or "all",
                        f"{item['rows']:,}",
                        tell(item["recall_at_1_percent"]),
                        _interval(item, "recall"),
                        tell(item["recall_at_hold"]),
                    )
                    for item in copied
                ),
                "Genuine comments of blogs never seen, copied with one commercial link",
            )
        )
    return ("attacks", "Attacks", "\n".join(tables)) if len(tables) > 1 else None


def _show_identities(evaluation: Item) -> _Section:
    drawn = plots.draw_identities(evaluation)
    if drawn is None:
        return None
    found = evaluation["identities"]
    rows = (
        (item["identity"], f"{item['rows']:,}", tell(item["harmless_mean"]), *map(tell, _aucs(item)))
        for item in found["identities"]
    )
    text = (
        "Template sentences (bias-madlibs) that differ in who is named. The largest gap in mean score between two "
        f"identities is {found['largest_gap']:.3f}, the furthest from the mean of all "
        f"{found['largest_from_mean']:.3f}. BPSN is low where harmless sentences about a group score like harmful ones "
        "about others, BNSP where harmful ones score like harmless ones about others (Borkan et al. 2019)."
    )
    head = ("identity", "rows", "mean score, harmless", "subgroup AUC", "BPSN AUC", "BNSP AUC")
    return "identities", "Identities", _figure(drawn, text, head, rows)


def _aucs(item: Item) -> tuple[float | None, ...]:
    return item["subgroup"], item["bpsn"], item["bnsp"]


def _show_why(evaluation: Item) -> _Section:
    found = evaluation.get("why")
    if not found:
        return None
    return (
        "why",
        "Why",
        _lead(
            f"Characters pointed at against characters that raters marked, on {found['rows']:,} texts (toxic-spans "
            f"test, SemEval-2021 task 5): F1 <b>{found['f1']:.3f}</b> ({_interval(found, 'f1')}). Raters marked "
            f"nothing in {found['unmarked']:,} of them; something was pointed at in {found['pointed_at']:,}."
        ),
    )


def _show_held(evaluation: Item) -> _Section:
    rows = (
        (
            name_part(item),
            f"{item['rows']:,}",
            f"{item['held']:,}",
            f"{item['share']:.1%}",
            f"{item['share_low']:.1%} to {item['share_high']:.1%}" if "share_low" in item else "\u2013",
            ", ".join(f"{name} {count:,}" for name, count in item.get("reasons", {}).items()) or "\u2013",
        )
        for item in evaluation["held"]
    )
    head = ("set", "rows", "held", "share", "95 %", "reasons that fired")
    text = "What the default policy would not publish at once. edos is harmful; nobody in the other sets did wrong."
    return "held", "Held", _lead(text) + _table(head, rows, "Share held, by set and slice")


def _show_behaviour(evaluation: Item) -> _Section:
    drawn = plots.draw_behaviour(evaluation)
    if drawn is None:
        return None
    failed = evaluation["behaviour"]["failed"]
    listed = _table(
        ("case", "wrong category", "needs"),
        ((item["id"], ", ".join(item["categories"]), item["needs"] or "\u2013") for item in failed),
        "Cases that fail",
    )
    rows = (
        (name, str(item["cases"]), str(item["passed"]), str(item["needs_meaning"]))
        for name, item in evaluation["behaviour"]["slices"].items()
    )
    text = "Cases written for this project, each with the behaviour that any good model shows on it."
    table = _figure(drawn, text, ("slice", "cases", "passed", "cases that need meaning"), rows)
    count = f"{len(failed):,} failed case{'s' if len(failed) != 1 else ''}"
    return "behaviour", "Behaviour", f"{table}<details><summary>{count}</summary>{listed}</details>\n"


def _show_peers(evaluation: Item) -> _Section:
    found = evaluation.get("peers")
    if not found:
        return None
    about = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in found["about"].items())
    about += "".join(
        f"<li><b>{escape(name)}</b> was skipped: {escape(reason)}</li>" for name, reason in found["skipped"].items()
    )
    rows = (
        (
            name_part(item),
            item["category"],
            item["peer"],
            f"{item['rows']:,}",
            tell(item.get("auc")),
            tell(item.get("our_auc")),
            tell(item.get("recall_at_1_percent")),
            tell(item.get("our_recall_at_1_percent")),
            tell(item.get("share_over_its_line")),
        )
        for item in found["compared"]
    )
    head = ("set", "category", "peer", "rows", "its AUC", "our AUC", "its recall at 1 %", "our recall at 1 %",
            "share over its own line")  # fmt: skip
    text = "Others for the same task, on the same rows (of large sets a fixed sample)."
    return _drawn("peers", "Peers", plots.draw_peers(evaluation), text, head, rows, before=f"<ul>{about}</ul>\n") or (
        "peers",
        "Peers",
        f"<ul>{about}</ul>\n",
    )


_SECTIONS: tuple[Callable[[Item], _Section], ...] = (
    _show_headlines,
    _show_aucs,
    _show_curves,
    _show_calibration,
    _show_spreads,
    _show_attacks,
    _show_why,
    _show_held,
    _show_identities,
    _show_behaviour,
    _show_peers,
)


def _drawn(
    part_id: str,
    title: str,
    drawn: str | None,
    text: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    before: str = "",
) -> _Section:
    return None if drawn is None else (part_id, title, before + _figure(drawn, text, head, rows))


def _figure(drawn: str | None, text: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plot with its sentence, and the same as a table that opens on demand."""
    table = _table(head, rows, text)
    if drawn is None:
        return _lead(text) + table
    image = drawn.replace("<svg", f'<svg role="img" aria-label="{escape(text)}"', 1)
    return (
        f"<figure><figcaption>{text}</figcaption>\n<div class=scroll>{image}</div></figure>\n"
        f"<details><summary>The figures as a table</summary>{table}</details>\n"
    )


def _lead(text: str) -> str:
    return f"<p>{text}</p>\n"


def _interval(item: Item, figure: str) -> str:
    return f"{item[f'{figure}_low']:.3f} to {item[f'{figure}_high']:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    return "".join(_table_lines(head, rows, caption))


def _table_lines(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> Iterator[str]:
    yield f"<div class=scroll><table><caption>{escape(caption)}</caption><thead><tr>"
    yield "".join(f"<th scope=col>{escape(cell)}</th>" for cell in head)
    yield "</tr></thead>\n<tbody>"
    for row in rows:
        first, *others = (escape(str(cell)) for cell in row)
        cells = "".join(f"<td{' class=n' if _NUMBER.match(cell) else ''}>{cell}</td>" for cell in others)
        yield f"<tr><th scope=row>{first}</th>{cells}</tr>\n"
    yield "</tbody></table></div>\n"


_CSS = """
:root { --page: #fcfcfa; --card: #fff; --ink: #1c2126; --soft: #5b646d; --line: #dfe2e4; --one: #2565c7; --two: #c2570c;
  --three: #7a3fb0; --good: #1d7f74; --bad: #c03a4b; --no: #c03a4b; --yes: #1d7f4f; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --card: #1b1f23; --ink: #e8eaec; --soft: #a3acb5; --line: #343b42; --one: #76a9ff;
    --two: #ff9f5a; --three: #c79bf2; --good: #5cc4b6; --bad: #ff8592; --no: #ff8592; --yes: #67d39b; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
header, main { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 0 0 .6rem; }
header p, figcaption, caption { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .92rem; margin-top: 1rem; }
a { color: var(--one); text-underline-offset: .2em; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--one); outline-offset: 3px; border-radius: 3px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.3rem 1.4rem 1.1rem;
  margin: 1.4rem 0; }
section p:first-of-type { margin-top: 0; }
figure { margin: 0; }
figcaption { max-width: 46rem; margin-bottom: .8rem; }
svg { display: block; width: 100%; min-width: 38rem; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; line-height: 1.4; }
caption { text-align: left; padding: .4rem 0; }
th, td { text-align: left; padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  font-weight: normal; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.state { white-space: nowrap; font-weight: 600; }
.reached { color: var(--yes); } .not-reached { color: var(--no); } .not-measured { color: var(--soft); }
details { margin-top: .8rem; } summary { cursor: pointer; color: var(--one); font-size: .92rem; }
ul { padding-left: 1.2rem; margin: 0 0 1rem; }
@media print { section { break-inside: avoid; border: 0; padding: 0; } nav { display: none; } }
"""
