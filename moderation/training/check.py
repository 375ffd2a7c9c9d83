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
from moderation.training.agreement import Agreement, BySite, Contradiction, Flood, Odds, Suspect
from moderation.training.labels import Label, Trust, last_words

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
    ``outvoted`` are accounts that other moderators contradict, ``contradicted`` those that the model does, each more
    often than others of the same sites.
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
    # In an order of their own, since it settles which fold a label is in.
    standing, trusted = sorted(last_words(labels), key=_place), trust or Trust()
    groups = agreement.group_copies(standing, bands)
    doubts, not_predicted, approved, rejected = _find_doubts(standing, groups, features)
    found = [
        *agreement.find_odds(_add(approved, rejected)),
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


def _place(label: Label) -> tuple[str, str, str]:
    site, identity, digest = label.key
    return site or "", identity or "", digest


def _add(first: BySite, second: BySite) -> BySite:
    """Counts of both together."""
    return {
        site: {
            who: (judged + other[0], bad + other[1])
            for who, (judged, bad) in of_site.items()
            for other in [second[site][who]]
        }
        for site, of_site in first.items()
    }


def _find_doubts(
    standing: Sequence[Label], groups: Sequence[int], features: Features | None
) -> tuple[list[Doubt], list[str], BySite, BySite]:
    """Labels in doubt, categories of which nothing can be said, and of whom how many approvals and rejections are.

    Both counts name the same sites and accounts.

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
        sites = [standing[row].comment.site for row in rows]
        suspects = (
            [] if measured is None else agreement.find_suspects(measured[rows], given, groups=of_group, sites=sites)
        )
        if not suspects:
            not_predicted.append(code)
        judged.update(rows if suspects else ())
        confident = [suspect for suspect in suspects if suspect.is_confident]
        doubted.update(rows[suspect.index] for suspect in confident)
        doubts += [Doubt(code, standing[rows[suspect.index]], suspect) for suspect in confident]
    rejections = {row for row in judged if 1 in standing[row].labels.values()}
    approved, rejected = (
        _count(standing, rows_of_side, doubted, judged) for rows_of_side in (judged - rejections, rejections)
    )
    return sorted(doubts, key=lambda doubt: doubt.suspect.margin), not_predicted, approved, rejected


def _count(standing: Sequence[Label], rows: set[int], doubted: set[int], judged: set[int]) -> BySite:
    """How many of these rows, and how many in doubt, are by each account of each site that judged any row."""
    totals = Counter((standing[row].comment.site, standing[row].moderator) for row in rows)
    in_doubt = Counter((standing[row].comment.site, standing[row].moderator) for row in rows & doubted)
    found: dict[str | None, dict[str, tuple[int, int]]] = {}
    for site, who in sorted({(standing[row].comment.site, standing[row].moderator) for row in judged}, key=str):
        found.setdefault(site, {})[who] = totals[site, who], in_doubt[site, who]
    return found
