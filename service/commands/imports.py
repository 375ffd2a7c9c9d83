"""``moderation import``: what was decided about comments in other systems, as labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from moderation.errors import DataError, InvalidRow
from service.commands.labels import find_erased, identities, is_erased, tell_bad
from service.commands.places import HomeOption, find_site, make_console, open_home
from service.settings import Settings

if TYPE_CHECKING:
    from moderation.training.imported import About, Merged
    from moderation.training.labels import Label
    from moderation.training.systems.found import Found, Status
    from service.kept_labels import Identity

_NO_SPAM = (
    "There is no spam in it: WordPress leaves spam out of this export. integrations/importing.md says how to get it."
)


def import_comments(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="What the other system exported; .gz is unpacked on the way."),
    ],
    site: Annotated[str, typer.Option("--site", help="Address of the site here whose comments these were.")],
    system: Annotated[
        str | None,
        typer.Option(
            "--format", help="wordpress, disqus, isso or remark42, where the file does not show it.", show_default=False
        ),
    ] = None,
    moderator: Annotated[
        str | None,
        typer.Option(help="Who decided, for all of it. Default: the name of the system.", show_default=False),
    ] = None,
    trash_is_reject: Annotated[
        bool,
        typer.Option(
            "--trash-is-reject",
            help="Count trash, and what was deleted or blocked, as rejected, without saying as what.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
    home: HomeOption = None,
) -> None:
    """Learn from the past: take what was decided about comments in another system as labels for this one.

    Reads exports of WordPress (Tools > Export, XML; or wp comment list --format=json), Disqus (XML), Isso (its SQLite
    database) and Remark42 (its backup), files of any size, and puts labels into labels/imported.jsonl of the home,
    where 'moderation retrain' finds them. integrations/importing.md says for each system how to export, and what it
    leaves out.

    Approved is 0 for every category, spam is 1 for spam. Pending says nothing, and neither does trash, since comments
    are thrown away for many reasons. Texts, names and addresses of authors' pages come along, and the posts, so that
    off topic can be judged; e-mails and IP addresses never do.

    The same file again adds nothing, and a later export brings up to date what has changed. A file that is broken in
    the middle is refused with its line, and nothing is kept of it; single comments that cannot be taken (too long, say)
    are listed and left out, and the exit status is 1. Look at the result with 'moderation labels check'.

        moderation import export.xml --site https://blog.example.org --dry-run
        moderation import disqus.xml.gz --site https://blog.example.org
    """
    from moderation.files import turn
    from moderation.training.imported import merge_into
    from service.kept_labels import IMPORTED, drop_erased

    settings = Settings.load(home=home)
    names = [_find_system(file, system) for file in files]
    tally = _Tally()
    with open_home(settings) as store, turn(settings.home):
        url, erased = find_site(store, site).url, find_erased(store, settings)
        path = settings.home / "labels" / IMPORTED
        with _progress() as told:
            reading = (
                label
                for file, name in zip(files, names, strict=True)
                for label in tally.labels(
                    _read(file, name, url, told), file, name, url, moderator or name, trash_is_reject=trash_is_reject
                )
                if tally.take(label, is_gone=is_erased(label, erased))
            )
            merged = merge_into(path, reading, tally.silent, write=not dry_run)
        if not dry_run:
            drop_erased(path, erased, tally.gone)
    if as_json:
        typer.echo(json.dumps(tally.to_dict(merged, names, url, dry_run=dry_run), ensure_ascii=False))
    else:
        tell_bad(tally.bad)
        _show(make_console(), tally, merged, names, url, trash_is_reject=trash_is_reject)
        would = "would be " if dry_run else ""
        gone = f"{merged.withdrawn} withdrawn, " if merged.withdrawn else ""
        typer.echo(f"Labels: {would}{merged.added} new, {merged.replaced} replaced, {gone}{merged.kept} in {path}")
    if tally.bad:
        raise typer.Exit(1)


@dataclass
class _Tally:
    """What was found and what was taken, by status; what could not be; and what nothing is said of (any more)."""

    found: Counter[Status] = field(default_factory=Counter)
    taken: Counter[Status] = field(default_factory=Counter)
    empty: int = 0
    erased: int = 0
    bad: list[InvalidRow] = field(default_factory=list)
    silent: set[About] = field(default_factory=set)
    gone: set[Identity] = field(default_factory=set)
    _status: Status = "other"

    def labels(
        self, found: Iterator[Found], file: Path, name: str, site: str, moderator: str, *, trash_is_reject: bool
    ) -> Iterator[Label]:
        """The labels that are in what was found; the rest is counted."""
        from moderation.training.systems.found import as_label

        for each in found:
            self.found[each.status] += 1
            self._status = each.status
            label = as_label(each, f"import:{name}", moderator, trash_is_reject=trash_is_reject)
            self.empty += each.comment is None and each.error is None
            if each.error is not None:
                self.bad.append(InvalidRow(str(file), each.line, each.error))
            elif label is not None:
                yield label
            elif each.id is not None:
                self.silent.add((site, each.id, f"import:{name}", moderator))

    def take(self, label: Label, *, is_gone: bool) -> bool:
        """Whether a label is taken: not where its comment was erased here, and then a former one goes as well."""
        from moderation.training.imported import about_what

        if is_gone:
            self.silent.add(about_what(label))
            self.gone |= identities(label)
        self.erased += is_gone
        self.taken[self._status] += not is_gone
        return not is_gone

    def to_dict(self, merged: Merged, names: Sequence[str], site: str, *, dry_run: bool) -> dict[str, object]:
        """For JSON."""
        return {
            "site": site,
            "formats": sorted(set(names)),
            "found": dict(self.found),
            "taken": {status: count for status, count in self.taken.items() if count},
            "without_text": self.empty,
            "erased": self.erased,
            "added": merged.added,
            "replaced": merged.replaced,
            "withdrawn": merged.withdrawn,
            "kept": merged.kept,
            "dry_run": dry_run,
            "bad": [{"file": row.path, "line": row.line, "error": row.message} for row in self.bad],
        }


def _find_system(file: Path, wanted: str | None) -> str:
    from moderation.training.systems import SYSTEMS, detect_system

    if wanted is not None and wanted not in SYSTEMS:
        raise DataError(f"there is no format {wanted!r}; there are {', '.join(SYSTEMS)}")
    return wanted or detect_system(file)


def _read(file: Path, name: str, site: str, told: Callable[[Path, float], None]) -> Iterator[Found]:
    from moderation.training.systems import SYSTEMS

    return SYSTEMS[name].read(file, site, lambda share: told(file, share))


@contextmanager
def _progress() -> Iterator[Callable[[Path, float], None]]:
    """A bar for each file on a terminal, and nothing elsewhere; what it gives hears how far a file is."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    tasks: dict[Path, TaskID] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def tell(file: Path, share: float) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file.name, total=1.0)
            progress.update(tasks[file], completed=share)

        yield tell


def _show(
    console: Console, tally: _Tally, merged: Merged, names: Sequence[str], site: str, *, trash_is_reject: bool
) -> None:
    from moderation.training.systems import SYSTEMS
    from moderation.training.systems.found import MAY_BE_REJECTED, MEANINGS

    titles = ", ".join(SYSTEMS[name].title for name in dict.fromkeys(names))
    console.print(Text(f"{titles}: {tally.found.total()} comments of {site}"))
    table = Table("status", "found", "says", "taken", box=None, pad_edge=False)
    for status, meaning in MEANINGS.items():
        if tally.found[status]:
            is_rejected = trash_is_reject and status in MAY_BE_REJECTED
            says = "rejected, without saying as what" if is_rejected else meaning
            table.add_row(
                Text(status.replace("_", " ")), str(tally.found[status]), Text(says), str(tally.taken[status])
            )
    console.print(table)
    if tally.empty:
        console.print(f"Left out: {tally.empty} of which no text is left")
    if tally.erased:
        console.print(f"Left out: {tally.erased} of comments that were erased here")
    if tally.bad:
        console.print(f"Left out: {len(tally.bad)} that cannot be taken, listed above")
    if "wordpress" in names and tally.found and not tally.found["spam"]:
        console.print(_NO_SPAM)
    if tally.taken.total() and not (merged.added or merged.replaced or merged.withdrawn):
        console.print("Nothing new: all of it was there already")
