"""Which bundle of a folder serves: publishing, rolling back, what was before, and clearing old bundles away.

::

    models/
      current           the bundle that serves; while a new one is tried on a share of sites, that one on a second line
      published.jsonl   what was published and rolled back, a line each, only ever added to
      shadow            the bundle that is scored beside, where there is one
      pinned            bundles that are never cleared away, one on each line

Whoever changes one of these takes a turn. A line of ``published.jsonl`` is written before ``current`` is, so that
nothing ever serves that nobody has approved. Each line says what ``current`` said before, and so tells of the line
before it whether that was carried out: a process that is killed in between leaves the old bundle in force and a line
that took no effect.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moderation.bundle import check_files, copy_bundle, load_bundle
from moderation.errors import BundleMissing, BundleUnsupported, ReleaseRefused
from moderation.files import append_line, remove_folder, turn, write_file
from moderation.record import BUNDLE_NAME, HISTORY, InForce, Release, read_current, read_history, replaced_by

KEEP = 5
"""How many bundles that nothing refers to are kept, the latest ones, where nobody says otherwise."""

_DIGITS = re.compile(r"(?:comments-)?([0-9a-f]{4,12})")
_LEFTOVER_SECONDS = 86_400.0
_ASIDE = ("writing", "removing", "current", "shadow", "pinned")


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle that is here: why it stays, if for anything else than that it is young."""

    path: Path
    why: tuple[str, ...]


class Releases:
    """The releases of a folder, in front of those that came with the software."""

    def __init__(
        self, models: Path, shipped: Path | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """``models`` is the folder that is written to, ``shipped`` serves until something is published there."""
        self.models = models
        self._shipped = shipped if shipped != models else None
        self._now = now

    @property
    def folder(self) -> Path:
        """The folder whose ``current`` counts."""
        own = (self.models / "current").exists()
        return self.models if own or self._shipped is None else self._shipped

    def in_force(self) -> InForce:
        """What serves. Raises ``BundleMissing`` or ``BundleUnsupported``."""
        return read_current(self.folder)

    def history(self) -> list[Release]:
        """Everything on record in the folder that counts, oldest first; lines that cannot be read are left out."""
        return read_history(self.folder)

    def former(self) -> str | None:
        """The name of the bundle that a rollback leads to; ``None`` where nothing was there before.

        Going back takes what was gone back from out of the line, so that going back twice leads two releases back.
        """
        if self.folder != self.models:
            return None
        present = self.in_force()
        return present.bundle if present.canary is not None else self._served_before(present.bundle)

    def rolled_back(self) -> dict[str, Release]:
        """The bundles that somebody has gone back from, and when; not those that were published again since.

        Going back past several takes all of them out, and ending a canary the canary.
        """
        line: list[str] = []
        gone: dict[str, Release] = {}
        for release in self.history():
            if not release.took_effect:
                continue
            if release.is_rollback:
                after = _last(line, release.bundle) + 1 if release.bundle in line else len(line)
                left = {*line[after:], release.replaced or release.bundle}
                line[after:] = [] if release.bundle in line else [release.bundle]
                gone |= dict.fromkeys(left, release)
            else:
                before = [release.replaced] if release.replaced else []
                line += [*before, release.bundle]
            gone.pop(release.bundle, None)
        return gone

    def _served_before(self, present: str) -> str | None:
        """What served every site before that bundle did."""
        line: list[str] = []
        for release in self.history():
            if not release.took_effect or release.share is not None:
                continue
            if release.is_rollback and release.bundle in line:
                del line[_last(line, release.bundle) + 1 :]
                continue
            before = [release.replaced] if release.replaced and not release.is_rollback else []
            for name in (*before, release.bundle):
                if not line or line[-1] != name:
                    line.append(name)
        if present in line:
            del line[_last(line, present) :]
        return line[-1] if line else None

    def find(self, wanted: str) -> Path:
        """The folder of a bundle by its name, or by digits of it that are enough. Raises ``BundleMissing``."""
        match = _DIGITS.fullmatch(wanted)
        found = {path.name: path for path in reversed(self.bundles())}
        paths = [path for name, path in found.items() if match and name.partition("-")[2].startswith(match[1])]
        if len(paths) == 1:
            return paths[0]
        if paths:
            raise BundleMissing(f"{wanted} could be {' or '.join(path.name for path in paths)}; name more of it")
        said = ", ".join(sorted(found)) or "none"
        raise BundleMissing(f"there is no bundle {wanted} in {self.models}; there are: {said}")

    def bundles(self) -> list[Path]:
        """Every bundle that is here: of the folder that is written to, then those that came with the software."""
        folders = [self.models, *([self._shipped] if self._shipped else [])]
        return [
            path for folder in folders for path in sorted(folder.glob("comments-*")) if BUNDLE_NAME.fullmatch(path.name)
        ]

    def publish(
        self,
        bundle: Path,
        *,
        note: str,
        by: str | None = None,
        share: float | None = None,
        instead_of: InForce | None = None,
    ) -> Release:
        """Let a bundle serve, all sites or a share of them; one from elsewhere is copied here first.

        Raises as :func:`load_bundle`; ``BundleUnsupported`` for a bundle whose encoder cannot be used here;
        ``ReleaseRefused`` for a share that makes no sense, or where something else serves than ``instead_of``.
        """
        share = None if share is None else round(share, 6)
        if share is not None and not 0 < share < 1:
            raise ReleaseRefused("a share of sites is more than 0 and less than 1, such as 0.2; without one it is all")
        path = self._bring(bundle)
        if fault := load_bundle(path).fault:
            raise BundleUnsupported(
                f"{path.name} is not published, because it would answer without its encoder: {fault}"
            )
        with turn(self.models):
            before = self._before(instead_of)
            after = InForce(path.name)
            if share is not None:
                after = self._try_on(path.name, share, before)
            return self._put(before, after, path.name, note=note, by=by, share=share)

    def roll_back(
        self, to: str | None = None, *, note: str = "", by: str | None = None, instead_of: InForce | None = None
    ) -> Release:
        """Go back to the bundle that served before, or to one that did at some time; a canary is ended.

        Its bytes are checked against its hashes. No model runs: that it scores as it should was found out when it was
        published, and those who load it find out again before they use it.

        Raises ``ReleaseRefused`` where there is nothing to go back to, and as :func:`check_files`.
        """
        if self.folder != self.models:
            raise ReleaseRefused(
                f"nothing was published in {self.models}, so what came with the software serves and nothing was before "
                "it; 'moderation releases' lists what is here, 'moderation publish NAME' publishes another"
            )
        with turn(self.models):
            before = self._before(instead_of)
            assert before is not None  # `current` is there, and nobody takes it away
            path = self.find(self._find_former(before, to))
            if path.parent == self.models:
                check_files(path)
            else:
                copy_bundle(path, self.models)
            return self._put(before, InForce(path.name), path.name, note=note, by=by, is_rollback=True)

    def challenger(self) -> Path | None:
        """The bundle that is to be scored beside. Raises ``BundleMissing`` where it is not here (any more)."""
        try:
            name = (self.models / "shadow").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BundleMissing(f"{self.models / 'shadow'} cannot be read ({error}); remove it") from error
        return self.find(name)

    def challenge(self, bundle: Path | None) -> None:
        """Have a bundle scored beside the one that serves; ``None`` ends that. Raises as :meth:`publish`."""
        if bundle is None:
            with turn(self.models):
                (self.models / "shadow").unlink(missing_ok=True)
            return
        path = self._bring(bundle)
        if fault := load_bundle(path).fault:
            raise BundleUnsupported(f"{path.name} cannot be scored with here: {fault}")
        with turn(self.models):
            if not path.is_dir():
                raise BundleMissing(f"{path.name} was cleared away meanwhile")
            write_file(self.models / "shadow", f"{path.name}\n".encode())

    def pinned(self) -> list[str]:
        """The names of the bundles that are never cleared away."""
        try:
            lines = (self.models / "pinned").read_text(encoding="utf-8").split()
        except OSError:
            return []
        return [line for line in lines if BUNDLE_NAME.fullmatch(line)]

    def pin(self, name: str, *, pinned: bool = True) -> None:
        """Keep a bundle for good, or no longer. Raises ``BundleMissing``."""
        path = self.find(name)
        with turn(self.models):
            names = sorted({*self.pinned(), path.name} if pinned else {*self.pinned()} - {path.name})
            write_file(self.models / "pinned", "".join(f"{each}\n" for each in names).encode())

    def kept(self) -> list[Kept]:
        """Every bundle of the folder that is written to, with what keeps it from being cleared away."""
        reasons = self._reasons()
        here = [path for path in self.bundles() if path.parent == self.models]
        return [Kept(path, tuple(why for why, names in reasons.items() if path.name in names)) for path in here]

    def prune(self, keep: int = KEEP, among: Collection[str] | None = None) -> list[str]:
        """Clear away bundles that nothing refers to, except for the ``keep`` latest, and encoders of none that stays.

        What serves (or is tried), served before, came with the software, is scored beside or pinned stays, and so does
        what is not ``among`` those, where they are named. The names of what is gone.
        """
        gone = []
        with turn(self.models):
            published = {release.bundle: release.at for release in self.history()}
            loose = [each.path for each in self.kept() if not each.why and (among is None or each.path.name in among)]
            loose.sort(key=lambda path: _moment(published.get(path.name), path), reverse=True)
            for path in loose[keep:]:
                remove_folder(path)
                gone.append(path.name)
            named = [_encoder_of(path) for path in self.bundles() if path.parent == self.models]
            if None not in named:  # what cannot be read may name any of them
                for path in sorted(self.models.glob("encoder-*")):
                    if path.name not in named:
                        remove_folder(path)
                        gone.append(path.name)
            self._sweep()
        return gone

    def _bring(self, bundle: Path) -> Path:
        """A bundle in the folder that is written to, copied there if it lies elsewhere."""
        if bundle.parent == self.models:
            return bundle
        with turn(self.models):
            return copy_bundle(bundle, self.models)

    def _reasons(self) -> dict[str, set[str]]:
        reasons: dict[str, set[str]] = {"pinned": set(self.pinned())}
        if self._shipped is not None:
            reasons["shipped"] = {path.name for path in self._shipped.glob("comments-*")}
        try:
            reasons["shadow"] = {path.name} if (path := self.challenger()) else set()
        except BundleMissing:
            reasons["shadow"] = set()
        try:
            present = self.in_force()
        except BundleMissing:
            return reasons
        former = self._served_before(present.bundle)
        return reasons | {"in force": {present.bundle}, "canary": {present.canary or ""}, "former": {former or ""}}

    def _before(self, expected: InForce | None) -> InForce | None:
        """What serves at the beginning of a turn; ``None`` where nothing does."""
        try:
            before = self.in_force()
        except BundleMissing:
            before = None
        if expected is not None and before != expected:
            serves = f"{before.bundle} serves" if before else "nothing serves"
            raise ReleaseRefused(f"somebody else was quicker: {serves} now; look at it, then decide again")
        return before

    def _try_on(self, name: str, share: float, before: InForce | None) -> InForce:
        if before is None:
            raise ReleaseRefused(f"nothing serves yet, so {name} cannot be tried on a share; publish it without one")
        if before.bundle == name:
            raise ReleaseRefused(f"{name} serves every site already")
        if self._shipped is not None and not (self.models / before.bundle).is_dir():
            copy_bundle(self._shipped / before.bundle, self.models)
        return InForce(before.bundle, name, share)

    def _find_former(self, before: InForce, to: str | None) -> str:
        former = self.former()
        if to is None:
            if former is None:
                raise ReleaseRefused(
                    f"nothing served before {before.bundle}; 'moderation publish NAME' publishes another bundle"
                )
            return former
        name = self.find(to).name
        if name == before.bundle and before.canary is None:
            raise ReleaseRefused(f"{name} serves already")
        served = {release.bundle for release in self.history() if release.took_effect}
        if name not in served | {former, before.bundle}:
            raise ReleaseRefused(
                f"{name} has never served here, so there is no way back to it; 'moderation publish {name}' checks and "
                "publishes it"
            )
        return name

    def _put(
        self,
        before: InForce | None,
        after: InForce,
        name: str,
        *,
        note: str,
        by: str | None,
        share: float | None = None,
        is_rollback: bool = False,
    ) -> Release:
        """Write down what is about to serve, then let it serve. Within a turn."""
        if not (self.models / name).is_dir():
            raise BundleMissing(f"{name} was cleared away meanwhile")
        at = self._now().isoformat(timespec="seconds")
        entry: dict[str, Any] = {"bundle": name, "at": at, "note": note, "by": by}
        entry |= {"replaced": before.text() if before else None, "rollback": is_rollback, "share": share}
        append_line(self.models / HISTORY, json.dumps(entry, ensure_ascii=False))
        write_file(self.models / "current", f"{after.text()}\n".encode())
        return Release(name, at, note, by, replaced_by(before, entry) if before else None, is_rollback, share)

    def _sweep(self) -> None:
        """Remove what killed processes have left aside; a day old, because some of it may be being written."""
        for path in (each for name in _ASIDE for each in self.models.glob(f".{name}-*")):
            if path.stat().st_mtime < self._now().timestamp() - _LEFTOVER_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def publish_bundle(path: Path, *, note: str, by: str | None = None) -> Release:
    """Make a bundle the current one of the folder it lies in. Raises as :meth:`Releases.publish`."""
    return Releases(path.parent).publish(path, note=note, by=by)


def _last(line: Sequence[str], name: str) -> int:
    """Where a name stands for the last time."""
    return len(line) - 1 - line[::-1].index(name)


def _moment(at: str | None, path: Path) -> datetime:
    try:
        found = datetime.fromisoformat(at or "")
    except ValueError:
        found = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _encoder_of(path: Path) -> str | None:
    """The encoder that a manifest names, empty where it names none; ``None`` where it cannot be read."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        return str(manifest["encoder"]["folder"]) if manifest["encoder"] else ""
    except (OSError, ValueError, KeyError, TypeError):
        return None
