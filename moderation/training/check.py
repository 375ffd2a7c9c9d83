"""Everything that is asked of labels before anything is learned from them, in one go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.categories import CODES
from moderation.training import agreement
from moderation.training.agreement import Agreement, Contradiction, Flood, Odds, Suspect
from moderation.training.labels import Label, Trust, last_words

# By moderator: how many comments, and how many of these are in doubt.
_Counts = dict[str, tuple[int, int]]

Features = Callable[[Sequence[Label]], NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that all the others speak against."""

    category: str
    label: Label
    suspect: Suspect


@dataclass(frozen=True, slots=True)
class Check:
    """What was found.

    ``sources`` tells how many last words are of each source, and what one of them weighs. ``second_looks`` is agreement
    on comments that somebody has judged again without knowing of the first verdict. ``doubts`` are the most doubtful
    first; of the categories in ``not_predicted`` there are too few labels to say, or there is no model.
    ``outvoted`` are accounts that other moderators contradict, ``contradicted`` those that the model does.
    """

    labels: int
    comments: int
    sources: dict[str, tuple[int, float]]
    agreement: list[Agreement]
    second_looks: list[Agreement]
    doubts: list[Doubt]
    not_predicted: list[str]
    contradictions: list[Contradiction]
    floods: list[Flood]
    outvoted: list[Odds]
    contradicted: list[Odds]

    @property
    def is_alarming(self) -> bool:
        """Whether nothing should be learned from these labels before somebody has looked: no agreement, or a flood."""
        return bool(self.floods) or any(each.is_too_low for each in self.agreement)

    def to_dict(self, *, limit: int, show_text: bool = False) -> dict[str, Any]:
        """For JSON: at most ``limit`` doubts and groups of near-duplicates, and texts only where asked for."""

        def write(label: Label) -> dict[str, Any]:
            text = {"text": label.comment.text} if show_text else {}
            named = {"id": label.comment.id, "site": label.comment.site, "digest": label.digest}
            return {**named, "moderator": label.moderator, "source": label.source, **text}

        return {
            "labels": self.labels,
            "comments": self.comments,
            "sources": {name: {"labels": count, "weight": weight} for name, (count, weight) in self.sources.items()},
            "agreement": [{**asdict(each), "is_too_low": each.is_too_low} for each in self.agreement],
            "second_looks": [{**asdict(each), "is_too_low": each.is_too_low} for each in self.second_looks],
            "doubts": [
                {
                    **write(doubt.label),
                    "category": doubt.category,
                    "label": doubt.suspect.given,
                    "probability": doubt.suspect.probability,
                    "margin": doubt.suspect.margin,
                }
                for doubt in self.doubts[:limit]
            ],
            "doubts_total": len(self.doubts),
            "not_predicted": self.not_predicted,
            "near_duplicates": [
                {"category": each.category, "yes": [*map(write, each.yes)], "no": [*map(write, each.no)]}
                for each in self.contradictions[:limit]
            ],
            "near_duplicates_total": len(self.contradictions),
            "floods": [asdict(each) for each in self.floods],
            "outvoted": [asdict(each) for each in self.outvoted],
            "contradicted": [asdict(each) for each in self.contradicted],
        }


def check_labels(
    labels: Sequence[Label],
    bands: Callable[[str], Sequence[int]],
    features: Features | None = None,
    trust: Trust | None = None,
) -> Check:
    """Look at labels from every side.

    ``bands`` gives hashes of a text of which near-duplicates share one, ``features`` a row for each of some labels from
    which categories can be told apart (``None``: there is no model).
    """
    standing, trusted = last_words(labels), trust or Trust()
    groups = agreement.group_copies(standing, bands)
    doubts, not_predicted, approved, rejected = _find_doubts(standing, groups, features)
    both = {who: (sum(each), sum(bad)) for who, (each, bad) in _by_side(approved, rejected).items()}
    found = [
        *agreement.find_odds(both),
        *agreement.find_odds(approved, "approvals"),
        *agreement.find_odds(rejected, "rejections"),
    ]
    contradicted = list({odds.moderator: odds for odds in reversed(found)}.values())
    by_source = Counter(label.source for label in standing)
    return Check(
        labels=len(labels),
        comments=len(standing),
        sources={name: (count, trusted.of_source(name)) for name, count in by_source.most_common()},
        agreement=agreement.measure_agreement(labels),
        second_looks=agreement.measure_second_looks(labels),
        doubts=doubts,
        not_predicted=not_predicted,
        contradictions=agreement.find_contradictions(standing, groups),
        floods=agreement.find_floods(labels),
        outvoted=agreement.find_odds(agreement.count_outvoted(labels)),
        contradicted=contradicted,
    )


def _by_side(approved: _Counts, rejected: _Counts) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """By moderator, how many comments of each side, and how many of these are in doubt."""
    nothing = (0, 0)
    whole = {who: (approved.get(who, nothing), rejected.get(who, nothing)) for who in approved.keys() | rejected.keys()}
    return {who: ((good[0], bad[0]), (good[1], bad[1])) for who, (good, bad) in whole.items()}


def _find_doubts(
    standing: Sequence[Label], groups: Sequence[int], features: Features | None
) -> tuple[list[Doubt], list[str], _Counts, _Counts]:
    """Labels in doubt, categories of which nothing can be said, and of whom how many approvals and rejections are.

    Comments are counted and not labels: an approval says 0 of every category, and is as wrong as can be where one of
    these is wrong. Approvals and rejections are counted apart as well: who rejects what is good may be right wherever
    they approve.
    """
    doubts: list[Doubt] = []
    not_predicted: list[str] = []
    judged: set[int] = set()
    doubted: set[int] = set()
    measured = features(standing) if features is not None and standing else None
    for code in CODES:
        rows = [row for row, label in enumerate(standing) if code in label.labels]
        given = [standing[row].labels[code] for row in rows]
        of_group = [groups[row] for row in rows]
        suspects = [] if measured is None else agreement.find_suspects(measured[rows], given, groups=of_group)
        if not suspects:
            not_predicted.append(code)
        judged.update(rows if suspects else ())
        confident = [suspect for suspect in suspects if suspect.is_confident]
        doubted.update(rows[suspect.index] for suspect in confident)
        doubts += [Doubt(code, standing[rows[suspect.index]], suspect) for suspect in confident]
    rejections = {row for row in judged if 1 in standing[row].labels.values()}
    sides: list[_Counts] = []
    for rows_of_side in (judged - rejections, rejections):
        totals = Counter(standing[row].moderator for row in rows_of_side)
        in_doubt = Counter(standing[row].moderator for row in rows_of_side & doubted)
        sides.append({who: (total, in_doubt[who]) for who, total in totals.items()})
    return sorted(doubts, key=lambda doubt: doubt.suspect.margin), not_predicted, sides[0], sides[1]
