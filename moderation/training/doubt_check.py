"""The gate's check of whether new labels can be meant: how many the model and all other labels speak against."""

from __future__ import annotations

import numpy as np

from moderation.categories import CODES
from moderation.model import FullTier
from moderation.training.agreement import find_suspects
from moderation.training.contest import Contest
from moderation.training.data_checks import Check
from moderation.training.known import New
from moderation.training.lessons import Lessons, answer
from moderation.training.rows import fingerprint

# Of honest labels one or two in a hundred are doubted, of labels of which a fifth is turned round one in six or more.
MOST_DOUBTED = 0.15
LEAST_NEW = 50
# Where a category's labels go nearly all one way nothing is learned from the others: so little the champion gives them.
UNLIKELY = 0.05


def check_doubts(contest: Contest) -> Check:
    """Whether more of a category's new labels are doubted than people get wrong."""
    counts = {code: each for code, each in contest.training.doubted.items() if each[1] >= LEAST_NEW}
    figures = {code: list(each) for code, each in counts.items()}
    if not counts:
        return Check("doubts", "skipped", "Too few labels are new of any category to say how many are doubted.")
    told = [
        f"{doubted:,} of {new:,} new labels of {code} ({100 * doubted / new:.0f} %)"
        for code, (doubted, new) in counts.items()
        if doubted > MOST_DOUBTED * new
    ]
    if told:
        text = (
            f"The model, and all other labels where they go both ways, speak against {', '.join(told)}. Look at them "
            "before they decide; what others contradict is on the Model page under Labels and told by 'moderation "
            "labels check'."
        )
        return Check("doubts", "hold", text, figures)
    code, (doubted, new) = max(counts.items(), key=lambda item: item[1][0] / item[1][1])
    text = f"Of no category's new labels many are doubted; most of {code}: {doubted:,} of {new:,}."
    return Check("doubts", "pass", text, figures)


def count_doubted(tier: FullTier, lessons: Lessons, new: New | None) -> dict[str, tuple[int, int]]:
    """By category, how many labels learned from are in doubt and how many there are, of those that are ``new``.

    ``None`` says that all are.

    A label is in doubt where a model that has learned from the others, by what the champion's ``tier`` says of the
    comment, is as sure of the contrary as it is of other rows (:func:`moderation.training.agreement.find_suspects`).
    Where a category's labels go one way but for a few there is nothing to learn it from, and the champion alone is
    asked.
    """
    learned = lessons.learned
    chances = np.nan_to_num(answer(tier, learned.figures, learned.sites, learned.texts), nan=0.5)
    kept = np.clip(chances, 1e-6, 1 - 1e-6)
    odds = np.log(kept / (1 - kept))
    is_new, times = np.ones(len(learned.figures), dtype=bool), 1.0
    if new is not None:
        times = new.times
        is_new = np.isin(learned.figures.prints, [fingerprint(label.comment.text) for label in new.labels])
    found = {}
    for head, code in enumerate(CODES):
        given = learned.figures.labels[:, head]
        rows = np.flatnonzero(~np.isnan(given))
        if not is_new[rows].any():
            continue
        _, groups = np.unique(learned.figures.prints[rows], return_inverse=True)
        sites = [learned.sites[row] for row in rows.tolist()]
        suspects = find_suspects(odds[rows], given[rows].astype(np.int64), groups=groups, sites=sites)
        doubted = [rows[each.index] for each in suspects if each.is_confident]
        if not suspects:
            likely = np.where(given[rows] == 1, chances[rows, head], 1 - chances[rows, head])
            doubted = rows[likely < UNLIKELY].tolist()
        found[code] = (round(is_new[doubted].sum() * times), round(is_new[rows].sum() * times))
    return found
