"""What the files of a folder of bundles say: which one serves, and what was published and rolled back.

``current`` names the bundle that serves and, while a new one is tried on a share of sites, that one on a second line;
``published.jsonl`` has a line for each release. A line is written before ``current`` is, and says what ``current`` said
before, which tells of the line before it whether that was carried out. Who changes them: :mod:`moderation.releases`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from moderation.errors import BundleMissing, BundleUnsupported

HISTORY = "published.jsonl"
BUNDLE_NAME = re.compile(r"comments-[0-9a-f]{12}")
_CANARY = re.compile(rf"({BUNDLE_NAME.pattern}) (0\.\d{{1,6}})")
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class InForce:
    """What ``current`` says: the bundle that serves, and one that serves a share (0 to 1) of the sites in its place."""

    bundle: str
    canary: str | None = None
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> InForce | None:
        """From what :meth:`text` gave; ``None`` for anything else."""
        first, _, second = text.strip().partition("\n")
        if not BUNDLE_NAME.fullmatch(first):
            return None
        if not second:
            return cls(first)
        found = _CANARY.fullmatch(second)
        return cls(first, found[1], float(found[2])) if found else None

    def text(self) -> str:
        """As it stands in the file. Versions that know of no second line find no bundle of that name, and say so."""
        share = f"{self.share:.6f}".rstrip("0")
        return self.bundle if self.canary is None else f"{self.bundle}\n{self.canary} {share}"

    def serves(self, site: str) -> str:
        """The name of the bundle that serves a site; for one site always the same, for each canary other sites.

        Who is among a small share is also among a larger one.
        """
        if self.canary is None:
            return self.bundle
        drawn = int.from_bytes(sha256(f"{self.canary} {site}".encode()).digest()[:8]) / 2**64
        return self.canary if drawn < self.share else self.bundle


@dataclass(frozen=True, slots=True)
class Release:
    """A line of the history: a bundle that was published or gone back to.

    ``by`` is who approved it, ``replaced`` what served those sites before, ``share`` the share of sites that it was
    published for where that was not all of them. ``took_effect`` is false where the process was killed before it did.
    """

    bundle: str
    at: str
    note: str
    by: str | None = None
    replaced: str | None = None
    is_rollback: bool = False
    share: float | None = None
    took_effect: bool = True


def read_current(models: Path) -> InForce:
    """What a folder says that serves. Raises ``BundleMissing``; ``BundleUnsupported`` for what a newer version says."""
    pointer = models / "current"
    try:
        text = pointer.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BundleMissing(f"no bundle is published in {models}: {pointer.name} cannot be read ({error})") from error
    found = InForce.parse(text)
    if found is not None:
        return found
    first = text.strip().partition("\n")[0]
    if BUNDLE_NAME.fullmatch(first):
        raise BundleUnsupported(f"{pointer} says more than this version understands: update the software")
    raise BundleMissing(f"{pointer} names {first!r}, but there is no such bundle beside it")


def current_bundle(models: Path) -> Path:
    """The folder of the published bundle. Raises as :func:`read_current`, ``BundleMissing`` where it is not there."""
    path = models / read_current(models).bundle
    if not path.is_dir():
        raise BundleMissing(f"{models / 'current'} names {path.name!r}, but there is no such bundle beside it")
    return path


def read_history(models: Path) -> list[Release]:
    """Everything on record in a folder, oldest first; lines that cannot be read are left out."""
    entries = _read_entries(models)
    try:
        present: Any = read_current(models).text()
    except (BundleMissing, BundleUnsupported):
        present = _UNKNOWN
    befores = [entry.get("replaced", _UNKNOWN) for entry in entries] + [present]
    releases = []
    for entry, before, following in zip(entries, befores, befores[1:], strict=False):
        shown = InForce.parse(before) if isinstance(before, str) else None
        # What served before it served after it.
        is_lost = _UNKNOWN not in (before, following) and following == before != _text_after(entry, shown)
        release = Release(
            bundle=entry["bundle"],
            at=str(entry["at"]),
            note=str(entry["note"]),
            by=entry.get("by"),
            replaced=replaced_by(shown, entry) if shown else None,
            is_rollback=bool(entry.get("rollback", False)),
            share=entry.get("share"),
            took_effect=not is_lost,
        )
        releases.append(release)
    return releases


def _read_entries(models: Path) -> list[dict[str, Any]]:
    entries = []
    try:
        lines = (models / HISTORY).read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"bundle", "at", "note"} <= entry.keys() and isinstance(entry["bundle"], str):
            entries.append(entry)
    return entries


def _text_after(entry: dict[str, Any], before: InForce | None) -> str | None:
    """What ``current`` says once an entry is carried out; ``None`` where that cannot be told."""
    share = entry.get("share")
    if share is None:
        return str(entry["bundle"])
    return InForce(before.bundle, entry["bundle"], share).text() if before else None


def replaced_by(before: InForce, entry: dict[str, Any]) -> str:
    """The bundle in whose place another came: for the end of a canary that goes back, the canary."""
    if before.canary is not None and entry.get("rollback") and entry["bundle"] == before.bundle:
        return before.canary
    return before.bundle
