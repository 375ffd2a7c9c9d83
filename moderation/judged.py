"""Labels as a sample: what people judged, how likely each comment was to be looked at, and what that says of all.

Counted as they come, what was held would outweigh everything else, since all of it is looked at. So each label stands
for as many comments as its inclusion probability says. How sure that is, and which line may be promised, is for
:mod:`moderation.guarantee`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.bounds import Numbers
from moderation.errors import DataError


@dataclass(frozen=True, slots=True)
class Stratum:
    """Comments that were looked at by the same rule, such as "rejected, drawn by chance".

    ``inclusion`` is the least probability with which any of them is looked at (0: nobody looks), and ``highest`` the
    highest score that any of them has, looked at or not. Both come from the decisions, not from the labels: a score
    that no published comment has needs no thought of how seldom published comments are drawn.
    """

    name: str
    inclusion: float
    highest: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Labels of one category and tier, without text: a row for each comment that a person has judged.

    ``inclusion_probability`` is how likely each was to be looked at: that of its audit, or 1 where everything is looked
    at, such as what was held. Rows of a queue that is worked off by choice have none and do not belong here.

    ``strata`` are all kinds of comments that there are, also those without rows. Left out, they are made from the rows,
    and each may then have any score: that promises less, never more.

    Raises ``DataError`` where rows cannot be meant.
    """

    score: Numbers
    is_bad: NDArray[np.bool_]
    inclusion_probability: Numbers
    stratum: NDArray[np.str_]
    site: NDArray[np.str_] | None = None
    strata: tuple[Stratum, ...] = ()

    def __post_init__(self) -> None:
        columns: dict[str, NDArray[Any]] = {
            # Six digits, as decisions and lines have them.
            "score": np.round(np.asarray(self.score, dtype=np.float64), 6),
            "is_bad": np.asarray(self.is_bad),
            "inclusion_probability": np.asarray(self.inclusion_probability, dtype=np.float64),
            "stratum": np.asarray(self.stratum, dtype=np.str_),
        }
        if self.site is not None:
            columns["site"] = np.asarray(self.site, dtype=np.str_)
        if len({column.shape for column in columns.values()}) > 1 or columns["score"].ndim != 1:
            raise DataError("judged rows: all columns need one value per row; give arrays of the same length")
        if not np.all(np.isfinite(columns["score"])):
            raise DataError("judged rows: every score must be a number; leave out comments that were not scored")
        if not np.all(np.isin(columns["is_bad"], (0, 1))):
            raise DataError("judged rows: every label must be 0 or 1; leave out comments whose label is not known")
        inclusion = columns["inclusion_probability"]
        if not np.all((inclusion > 0) & (inclusion <= 1)):
            raise DataError("judged rows: inclusion probabilities lie above 0 and up to 1; leave out rows without one")
        columns["is_bad"] = columns["is_bad"].astype(np.bool_)
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        object.__setattr__(self, "strata", self._checked_strata())

    def _checked_strata(self) -> tuple[Stratum, ...]:
        names = np.unique(self.stratum).tolist()
        least = {name: float(self.inclusion_probability[self.stratum == name].min()) for name in names}
        if not self.strata:
            return tuple(Stratum(name, least[name]) for name in names)
        known = {stratum.name: stratum for stratum in self.strata}
        for name in names:
            if name not in known:
                raise DataError(f"judged rows: the stratum {name!r} is not among those given; add it")
            if least[name] < known[name].inclusion * (1 - 1e-9):
                raise DataError(f"judged rows: a row of {name!r} was less likely than the stratum says; lower it there")
            if np.any(self.score[self.stratum == name] > known[name].highest):
                raise DataError(f"judged rows: a row of {name!r} scores higher than the stratum says; raise it there")
        return self.strata

    def __len__(self) -> int:
        """How many rows."""
        return len(self.score)

    def of_site(self, site: str) -> Judged:
        """The rows of one site. The strata stay: what they say of all sites holds for each, if less closely."""
        if self.site is None:
            raise DataError("judged rows: the sites are not known; give them as the column site")
        return self._rows(np.flatnonzero(self.site == site))

    def ranked(self) -> Judged:
        """The rows in the order of falling scores."""
        return self._rows(np.argsort(-self.score, kind="stable"))

    def _rows(self, index: NDArray[np.intp]) -> Judged:
        return replace(
            self,
            score=self.score[index],
            is_bad=self.is_bad[index],
            inclusion_probability=self.inclusion_probability[index],
            stratum=self.stratum[index],
            site=None if self.site is None else self.site[index],
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the labels say of a line without any caution; ``nan`` where there is nothing to tell from.

    Each row counts as often as it stands for others, the sums divided by their weights (Hájek 1971, comment on "An
    essay on the logical foundations of survey sampling"). ``rate`` is the share of bad ones among all comments.
    """

    precision: float
    recall: float
    good_share: float
    rate: float


def estimate(judged: Judged, line: float) -> Estimate:
    """Precision, recall, the share of good comments at or above a line, and the rate, weighted by inclusion."""
    weights, reaches, bad = 1 / judged.inclusion_probability, judged.score >= line, judged.is_bad

    def share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
        whole = float(weights[among].sum())
        return float(weights[of & among].sum()) / whole if whole else math.nan

    everything = np.ones(len(judged), dtype=np.bool_)
    return Estimate(share(bad, reaches), share(reaches, bad), share(reaches, ~bad), share(bad, everything))
