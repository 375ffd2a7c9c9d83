"""What a retraining may do by itself with what it has made: publish it, leave it to a person, clear away the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what runs models would slow --help down
    from moderation.record import InForce
    from moderation.releases import Releases
    from moderation.training.data_checks import Check
    from moderation.training.labels import Label, Trust
    from moderation.training.release_checks import Left
    from service.retraining import Retraining


def find_left(releases: Releases, retraining: Retraining) -> list[Left]:
    """The bundles that somebody has gone back from, the latest first."""
    from moderation.training.release_checks import Left

    history, present = releases.history(), releases.in_force().bundle
    learned = retraining.lessons(releases, present)
    found = []
    for name, release in releases.rolled_back().items():
        labels = retraining.lessons(releases, name)
        since = history[history.index(release) + 1 :]
        is_overruled = (
            any(each.bundle == present and each.took_effect and not each.is_rollback for each in since)
            and learned.get("said", 0) >= labels.get("said", 0)
            and (learned.get("until") or "") >= (labels.get("until") or "")
        )
        found.append((history.index(release), Left(name, release, labels, is_overruled)))
    return [left for _, left in sorted(found, key=lambda item: item[0], reverse=True)]


def find_learned(
    releases: Releases, retraining: Retraining, labels: Sequence[Label], trust: Trust
) -> tuple[str, str] | None:
    """A bundle that has learned from exactly these labels, and a sentence that says so; ``None`` where none has.

    That is what serves, what is tried on a share of sites, or what somebody has gone back from if that was the last
    that was done: as long as nobody says more, there is nothing else to make.
    """
    from moderation.training.retrain import is_learned

    present, history = releases.in_force(), [each for each in releases.history() if each.took_effect]
    known = {present.bundle: f"{present.bundle} has learned from all that was said"}
    if present.canary is not None:
        known[present.canary] = (
            f"{present.canary}, which is tried on a share of sites, has learned from all that was said"
        )
    if history and history[-1].is_rollback:
        for left in find_left(releases, retraining):
            if left.release == history[-1]:
                known.setdefault(left.name, f"{left.told}, and nothing was said since that it has not learned from")
    for name, sentence in known.items():
        if is_learned(retraining.lessons(releases, name), labels, trust):
            return name, sentence
    return None


def ask_releases(
    releases: Releases, retraining: Retraining, challenger: str, words: Sequence[Label], began: InForce, key: bytes
) -> list[Check]:
    """The checks of what serves and what served, as it is now; ``began`` is what the challenger was held against."""
    from moderation.training.release_checks import check_in_force, check_rolled_back

    left = find_left(releases, retraining)
    return [check_rolled_back(challenger, words, left, key), check_in_force(began, releases.in_force())]


def clear_away(releases: Releases, retraining: Retraining) -> list[str]:
    """Clear away what retrainings have made and nobody needs; the names of what is gone."""
    from moderation.errors import BundleError

    try:
        return retraining.clear_away(releases)
    except (BundleError, OSError):  # a round is over by then, and the next one does it
        return []


def tell_refused(error: Exception, home: Path) -> Check:
    """That the gate promoted a challenger and it still could not be published."""
    from moderation.training.data_checks import Check

    return Check("published", "hold", f"It was not published: {str(error).replace(str(home), 'HOME')}.")
