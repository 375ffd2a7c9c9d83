"""What changed between two bundles, in words, as commands print it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show_wording(console: Console, wording: Mapping[str, Any] | None) -> None:
    """Print the words that weigh more or less, as a report of a retraining has them; nothing where it has none."""
    if not wording or not wording["categories"]:
        return
    table = Table("category", "", "words, by how much in log odds, in how many comments", box=None, pad_edge=False)
    for code, sides in wording["categories"].items():
        for name in ("more", "less"):
            if terms := sides[name]:
                table.add_row(code, name, Text(_say(terms)))
    console.print()
    console.print("Words that now weigh more or less", style="bold")
    console.print(table)
    least, authors = wording["least_comments"], wording["least_authors"]
    told = f"Of {wording['comments']:,} labelled comments; only words that at least {authors} authors have written"
    console.print(f"{told} in at least {least} of them.", style="dim", highlight=False)


def _say(terms: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['term']} ({each['change']:+.2f}, {each['comments']})" for each in terms)
