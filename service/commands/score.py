"""``moderation score``: decisions about files of comments, or about one text, without a server."""

from __future__ import annotations

import io
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.commands.places import BundleOption, HomeOption, PolicyOption, find_bundle, find_policy

if TYPE_CHECKING:
    from moderation.explain import Explanation


def score(
    source: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="JSON Lines, CSV (.csv) or Parquet (.parquet); - reads standard input."),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Where results go, as JSON Lines; - writes standard output.")
    ] = "-",
    text: Annotated[str | None, typer.Option("--text", help="One comment to decide, instead of a file.")] = None,
    author_name: Annotated[str | None, typer.Option(help="With --text: the author's name.")] = None,
    author_url: Annotated[str | None, typer.Option(help="With --text: the author's link.")] = None,
    post_title: Annotated[str | None, typer.Option(help="With --text: the title of the post.")] = None,
    post_text: Annotated[str | None, typer.Option(help="With --text: the text of the post.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which words raised the score, and which facts; takes longer.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --text: print only JSON.")] = False,
    file_format: Annotated[
        str | None, typer.Option("--format", help="jsonl, csv or parquet, whatever INPUT is called.")
    ] = None,
    ignore_unknown: Annotated[
        bool, typer.Option(help="Take no notice of fields and columns that comments do not have.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes; -1 is one per core.")] = 1,
    home: HomeOption = None,
    bundle: BundleOption = None,
    policy: PolicyOption = None,
) -> None:
    """Decide about many comments in a file, or about one.

    Each line of INPUT is a comment with the fields of POST /v1/comments; only "text" is needed. Each gives one line of
    output, in the same order: action, scores (off_topic is null where nothing can be said), reasons, digest, versions.
    With --explain also the category that decided, the stretches of the text that raised its score, and the facts that
    mattered.

    A bad line gives {"line", "error"} in its place, and again in OUTPUT.errors.jsonl; the others are scored and the
    exit status is 1. OUTPUT appears when it is whole.

        moderation score comments.jsonl --output decisions.jsonl

        moderation score --text "Thanks, that helped!" --post-title "Sorting in Python"
    """
    from moderation.batch import FORMATS

    if (text is None) == (source is None):
        raise typer.BadParameter("give either INPUT (a file, or - for standard input) or --text")
    if file_format is not None and file_format not in FORMATS:
        raise typer.BadParameter(f"must be one of {', '.join(FORMATS)}", param_hint="--format")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8, whatever the terminal's locale says
    found, toml = find_bundle(home, bundle), find_policy(home, policy)
    if text is not None:
        data = {
            "text": text,
            "author": {"name": author_name, "url": author_url},
            "post": {"title": post_title, "text": post_text},
        }
        _score_one(data, found, toml, explain=explain, as_json=as_json)
    else:
        assert source is not None
        file = None if source == "-" else Path(source)
        _score_file(file, output, found, toml, file_format, ignore_unknown, jobs, explained=explain)


def _score_one(data: dict[str, Any], bundle: Path, toml: str, *, explain: bool, as_json: bool) -> None:
    from moderation.bundle import load_bundle
    from moderation.comment import Comment
    from moderation.explain import explain_decision
    from moderation.policy import Policy

    comment = Comment.from_dict(data)
    loaded = load_bundle(bundle)
    scores, facts = loaded.assess([comment])[0]
    decision = Policy.parse(toml, loaded.operating_points).decide(comment, scores, facts)
    explanation = explain_decision(loaded.model, comment, decision) if explain else None
    if as_json:
        added = {"explanation": explanation.to_dict()} if explanation else {}
        print(json.dumps(decision.to_dict() | added, ensure_ascii=False))
        return
    console = Console()
    color = {"publish": "green", "hold": "yellow", "reject": "red"}[decision.action]
    console.print(f"[bold {color}]{decision.action}[/]  bundle {decision.bundle}, tier {decision.tier}")
    lines = {reason.name: reason for reason in decision.reasons}
    table = Table("category", "score", "line", "", box=None, pad_edge=False)
    for code, value in scores.to_dict().items():
        limit = lines[code].limit if code in lines else None
        shown = "abstained" if value is None else f"{value:.3f}"
        bar = "" if value is None else "█" * round(value * 24)
        over = code in lines and lines[code].fired
        table.add_row(
            f"[bold]{code}[/]" if over else code,
            shown,
            f"{limit:.3f}" if isinstance(limit, float) else "",
            f"[{color if over else 'dim'}]{bar}[/]",
        )
    console.print(table)
    for reason in decision.reasons:
        if reason.fired:
            console.print(f"[{color}]●[/] {reason.name}: {reason.text}", highlight=False)
    if explanation is not None:
        _show_explanation(console, comment.text, explanation, color)


def _show_explanation(console: Console, text: str, explanation: Explanation, color: str) -> None:
    """The comment with the words marked that raised the score, and the facts below it."""
    score = "" if explanation.score is None else f" ({explanation.score:.3f})"
    console.print(f"\n[bold]why {explanation.category}[/]{score}", highlight=False)
    # A comment may hold what would steer the terminal; one sign for another keeps the offsets true.
    shown = Text("".join(char if char.isprintable() or char in "\n\u200d" else "\ufffd" for char in text))
    for span in explanation.spans:
        shown.stylize(f"bold underline {color}", span.start, span.end)
    console.print(shown, soft_wrap=True)
    if explanation.spans:
        words = ", ".join(f"{shown.plain[span.start : span.end]} {span.strength:.2f}" for span in explanation.spans[:8])
        console.print(Text(f"words: {words}"), soft_wrap=True)
    for cause in explanation.facts:
        console.print(Text(f"{cause.contribution:+.2f} {cause.name}: {cause.text}"), soft_wrap=True)


def _score_file(
    source: Path | None,
    output: str,
    bundle: Path,
    toml: str,
    file_format: str | None,
    ignore_unknown: bool,
    jobs: int,
    *,
    explained: bool,
) -> None:
    from moderation.batch import check, score_file

    if source is not None and not source.is_file():
        raise typer.BadParameter(f"there is no file {source}", param_hint="INPUT")
    target = None if output == "-" else Path(output)
    if target is not None and source is not None and target.exists() and target.samefile(source):
        raise typer.BadParameter("is the input itself; name another file", param_hint="--output")
    check(bundle, toml, jobs)
    part = target.with_name(f"{target.name}.part") if target else None
    errors = Console(stderr=True)
    total = _count_lines(source) if errors.is_terminal and source is not None and source.suffix != ".parquet" else None
    aside_path = target.with_name(f"{target.name}.errors.jsonl") if target else None
    try:
        with ExitStack() as opened:
            results = opened.enter_context(part.open("w", encoding="utf-8")) if part else sys.stdout
            progress = opened.enter_context(_progress(errors))
            task = progress.add_task("scoring", total=total)
            if aside_path is not None:
                aside_path.unlink(missing_ok=True)  # of an earlier run
            outcome = score_file(
                source,
                results,
                (lambda: aside_path.open("w", encoding="utf-8")) if aside_path else None,
                bundle,
                toml,
                file_format=file_format,
                ignore_unknown=ignore_unknown,
                jobs=jobs,
                explained=explained,
                on_line=lambda done: progress.update(task, completed=done),
            )
        if part is not None and target is not None:
            part.replace(target)  # whole, or not there at all
    except OSError as error:
        raise typer.BadParameter(f"cannot write {target or 'standard output'}: {error.strerror}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    if outcome.bad:
        where = f": see {aside_path}, which names each" if aside_path else ""
        name = source or "standard input"
        errors.print(f"{outcome.bad} of {outcome.scored + outcome.bad} lines of {name} are bad{where}", highlight=False)
        raise typer.Exit(1)
    if errors.is_terminal:
        errors.print(f"{outcome.scored} comments scored", highlight=False)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
