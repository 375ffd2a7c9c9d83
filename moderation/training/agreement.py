"""How far labels can be believed: do moderators agree, does the model contradict, does one account flood.

Nothing here changes a label. It says where a person should look before anything is learned.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import betabinom
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from moderation.categories import CODES
from moderation.training.labels import ANSWERS, Key, Label, words

ENOUGH_AGREEMENT = 0.4
"""Under this coefficient labels are not learned from: Landis and Koch (1977) call up to 0.40 no more than fair."""

LEAST_SHARED = 10
"""With fewer comments that two have judged, a coefficient says nothing."""

LEAST_RARER = 5
"""With fewer of these where somebody gave the rarer label, one slip makes a coefficient 0, however rare slips are
(Feinstein and Cicchetti 1990)."""

LEAST_OF_EACH = 10
"""With fewer comments labelled 0 or 1, near-duplicates counted once, nothing is predicted out of fold."""

MOST_AN_HOUR = 720
"""Nobody reads more comments than one every five seconds, an hour long."""

FLOOD_DAY = 200
FLOOD_SHARE = 0.2
"""So many labels of one account within a day, and such a share of all labels there are, are a flood."""

# Where nearly all labels are 0, the average is so near 1 that half of all mistakes would lie under it.
_VERY_SURE = 0.8

# How far a site's intercept may be from that of all: the standard deviation of the prior, in log odds.
_SITE_SCALE = 2.0

# How many times the odds of everybody else's labels are those that an account's are contradicted, and how sure that is.
_TIMES_THE_ODDS = 3.0
_SURE = 0.001

Counts = Mapping[str, tuple[int, int]]
"""By moderator: how many comments, and on how many of these they are contradicted."""

BySite = Mapping[str | None, Counts]
"""Counts of each site."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two moderators and the comments that both have labelled. ``kappa`` is ``None`` where it is not defined."""

    first: str
    second: str
    comments: int
    same: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree about a category: 1 is always, 0 is as by chance, below that they contradict each other.

    ``rarer`` counts the comments that somebody gave the label which fewer comments have. ``alpha`` is Krippendorff's
    over all who labelled one of ``comments`` comments, Cohen's kappa is that of each pair. Neither is defined where all
    labels are the same.
    """

    category: str
    comments: int
    rarer: int
    alpha: float | None
    pairs: tuple[Pair, ...]

    @property
    def is_telling(self) -> bool:
        """Whether there are enough comments for the coefficient to say something."""
        return self.comments >= LEAST_SHARED and self.rarer >= LEAST_RARER

    @property
    def is_too_low(self) -> bool:
        """Whether there are enough comments to say that people do not agree enough."""
        return self.is_telling and self.alpha is not None and self.alpha < ENOUGH_AGREEMENT


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label (row ``index`` of what was asked about) beside what the others would have it be.

    ``probability`` is that of 1, from a model that has not seen this row; ``margin`` is the probability of what the
    label says less that of the contrary, -1 to 1. ``is_confident`` says that the model is as sure of the contrary as it
    is, on average, of rows that are labelled so, or surer than four in five.
    """

    index: int
    given: int
    probability: float
    margin: float
    is_confident: bool


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Comments that are nearly the same, of which some are labelled 1 in a category (``yes``) and some 0 (``no``)."""

    category: str
    yes: tuple[Label, ...]
    no: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Flood:
    """An account that gives so many labels so quickly that somebody should look at them first.

    ``hour`` and ``day`` are how many it gave in the busiest hour and in the busiest 24 hours, ``share`` is what part of
    all labels came from that day. What was decided in one go does not count for the hour.
    """

    moderator: str
    labels: int
    hour: int
    day: int
    share: float


What = Literal["comments", "approvals", "rejections"]


@dataclass(frozen=True, slots=True)
class Odds:
    """An account at odds with the others of its sites: on how many comments it is contradicted, and how often they are.

    Counted are comments of sites on which others judge too; ``what`` says which of them: all, or those that were
    approved or rejected.
    """

    moderator: str
    comments: int
    contradicted: int
    others: float
    what: What = "comments"


def measure_agreement(labels: Iterable[Label]) -> list[Agreement]:
    """Per category how far people agree, from comments that several have labelled.

    Verdicts that were asked for because somebody disagreed (appeals, reports) are left out: they would say that people
    agree less than they do.
    """
    plain = words(label for label in labels if label.source not in ANSWERS)
    found = []
    for code in CODES:
        said = {
            key: {who: label.labels[code] for who, label in of_comment.items() if code in label.labels}
            for key, of_comment in plain.items()
        }
        ratings = [(who, key, value) for key, by_whom in said.items() for who, value in by_whom.items()]
        if (agreement := agree(code, ratings)).comments:
            found.append(agreement)
    return found


def measure_second_looks(labels: Iterable[Label]) -> list[Agreement]:
    """The same, only of comments that somebody has looked at a second time without knowing of the first."""
    plain = list(labels)
    looked = {label.key for label in plain if label.source == "second_look"}
    return measure_agreement(label for label in plain if label.key in looked)


def agree(category: str, ratings: Iterable[tuple[str, Key | str | int, int]]) -> Agreement:
    """How far people agree, from ``(moderator, comment, label)``, one of each moderator and comment.

    Comments that one alone has labelled say nothing and are left out.
    """
    by_comment: dict[Key | str | int, dict[str, int]] = defaultdict(dict)
    for who, comment, value in ratings:
        by_comment[comment][who] = value
    shared = [said for said in by_comment.values() if len(said) > 1]
    names = sorted({who for said in shared for who in said})
    pairs = []
    for first, second in itertools.combinations(names, 2):
        both = [{first: said[first], second: said[second]} for said in shared if first in said and second in said]
        if both:
            same = sum(said[first] == said[second] for said in both)
            pairs.append(Pair(first, second, len(both), same, _coefficient(both, (first, second))))
    rarer = min(sum(value in said.values() for said in shared) for value in (0, 1))
    return Agreement(category, len(shared), rarer, _coefficient(shared), tuple(pairs))


def find_suspects(
    features: NDArray[np.floating],
    given: Sequence[int] | NDArray[np.integer],
    *,
    groups: Sequence[int] | NDArray[np.integer] | None = None,
    sites: Sequence[str | None] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> list[Suspect]:
    """Every label, the most doubtful first, by a model that has learned from the others.

    Confident learning (Northcutt, Jiang and Chuang 2021, Journal of Artificial Intelligence Research 70): a logistic
    regression predicts each row from folds that it is not in, and labels are ranked by their self-confidence margin.
    Rows of one group, such as near-duplicates, share a fold, or copies of one mistake would confirm each other. Each
    site has an intercept of its own beside what all share: where rudeness is welcome, that it is called good is no
    mistake.

    Args:
        features: A row per label: class vectors, logits, or whatever tells categories apart.
        given: The labels, 0 or 1.
        groups: A number per row; by default each is its own.
        sites: The site of each row; by default all are of one.
        folds: Into how many parts the rows are split.
        seed: Of the split.

    Returns:
        As many as there are labels; none where there are fewer than ``LEAST_OF_EACH`` groups with a 0 or with a 1.
    """
    truth = np.asarray(given, np.int64)
    of_group = np.arange(len(truth)) if groups is None else np.asarray(groups)
    if min(len(np.unique(of_group[truth == value])) for value in (0, 1)) < LEAST_OF_EACH:
        return []
    columns = _lay_out(features, sites)
    model = LogisticRegression(max_iter=1000)
    split = PredefinedSplit(_deal(truth, of_group, folds, seed))
    probability = cross_val_predict(model, columns, truth, cv=split, method="predict_proba")[:, 1]
    own = np.where(truth == 1, probability, 1 - probability)
    # How sure the model is, on average, of what is labelled 0 and of what is labelled 1.
    sure = np.minimum([np.mean(own[truth == 0]), np.mean(own[truth == 1])], _VERY_SURE)
    return [
        Suspect(
            int(row), int(truth[row]), float(probability[row]), float(2 * own[row] - 1),
            bool(own[row] < 0.5 and 1 - own[row] >= sure[1 - truth[row]]),
        )
        for row in np.argsort(own, kind="stable")
    ]  # fmt: skip


def _deal(truth: NDArray[np.int64], of_group: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row. Groups are dealt like cards, those with the same labels one after the other.

    So every fold has its share of both labels, in a time that ``StratifiedGroupKFold`` takes for each thousand of a
    hundred thousand groups.
    """
    _, group = np.unique(of_group, return_inverse=True)
    ones, size = np.bincount(group, truth), np.bincount(group)
    has_one, has_zero = ones > 0, ones < size
    shuffled = np.random.default_rng(seed).permutation(len(size))
    # Only 0, both, only 1: groups with a 0 lie together, and groups with a 1.
    order = shuffled[np.argsort((has_one * 2 - has_zero)[shuffled], kind="stable")]
    fold = np.empty(len(size), np.int64)
    fold[order] = np.arange(len(size)) % folds
    return fold[group]


def _lay_out(features: NDArray[np.floating], sites: Sequence[str | None] | None) -> NDArray[np.floating] | Any:
    """Features in standard deviations, and a column for each site where there are several, which may be many."""
    scaled: NDArray[np.floating] = StandardScaler().fit_transform(features)
    names = [site or "" for site in sites or ()]
    if len(set(names)) < 2:
        return scaled
    # Not scaled, so that a site with few labels is held back from an intercept far from that of all.
    own = OneHotEncoder().fit_transform(np.array(names)[:, None]) * _SITE_SCALE
    return sparse.csr_matrix(sparse.hstack([sparse.csr_matrix(scaled), own]))


def log_odds(scores: Sequence[Mapping[str, float | None]]) -> NDArray[np.float64]:
    """Scores as features for :func:`find_suspects`; what was abstained from is as likely as not."""
    known = [[0.5 if (value := said.get(code)) is None else value for code in CODES] for said in scores]
    kept = np.clip(np.array(known, np.float64).reshape(-1, len(CODES)), 1e-6, 1 - 1e-6)
    result: NDArray[np.float64] = np.log(kept / (1 - kept))
    return result


def group_copies(labels: Sequence[Label], bands: Callable[[str], Sequence[int]]) -> list[int]:
    """A number per label that near-duplicates share. ``bands`` gives hashes of a text of which they share one."""
    parents = list(range(len(labels)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first: dict[int, int] = {}
    for row, label in enumerate(labels):
        for band in bands(label.comment.text):
            parents[root(row)] = root(first.setdefault(band, row))
    return [root(row) for row in range(len(labels))]


def find_contradictions(labels: Sequence[Label], groups: Sequence[int]) -> list[Contradiction]:
    """Near-duplicates with opposite labels, by the numbers of :func:`group_copies`; the largest groups first.

    Not of ``off_topic``, which the same words may be under one post and not under another.
    """
    together: dict[int, list[Label]] = defaultdict(list)
    for label, group in zip(labels, groups, strict=True):
        together[group].append(label)
    found = []
    for same in together.values():
        for code in CODES:
            yes, no = (tuple(label for label in same if label.labels.get(code) == value) for value in (1, 0))
            if yes and no and code != "off_topic":
                found.append(Contradiction(code, yes, no))
    return sorted(found, key=lambda each: -len(each.yes) - len(each.no))


def find_floods(labels: Sequence[Label]) -> list[Flood]:
    """Accounts that give more labels than anybody reads, or most of what there is within a day; the largest first.

    Where one alone moderates there is nobody to be drowned, and only the hour counts. Labels without a time are counted
    in the whole alone.
    """
    by_whom: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        by_whom[label.moderator].append(label)
    floods = []
    for who, given in by_whom.items():
        hour = _busiest([label for label in given if label.source != "batch"], timedelta(hours=1))
        day = _busiest(given, timedelta(days=1))
        share = day / len(labels)
        is_most = len(by_whom) > 1 and day >= FLOOD_DAY and share >= FLOOD_SHARE
        if hour > MOST_AN_HOUR or is_most:
            floods.append(Flood(who, len(given), hour, day, share))
    return sorted(floods, key=lambda flood: -flood.day)


def find_odds(by_site: BySite, what: What = "comments") -> list[Odds]:
    """Accounts whose labels are contradicted far more often than those of others on the same sites, the worst first.

    What is usual differs from site to site, so an account is held against those that judge where it judges; where it is
    alone nothing can be said. Far more is at three times the odds, and so that chance makes it so in less than one of a
    thousand accounts. Odds and not shares, because bad accounts contradict the good ones too: where good ones are
    contradicted on every third comment, three times as often would be always. What the others of a site are like is the
    median of them, so that several bad accounts do not hide each other; how surely it is known goes by how many
    comments they have judged, so that one who judged a hundred is not held against one who judged three.
    """
    found = []
    for who in sorted({who for counts in by_site.values() for who in counts}):
        total = contradicted = known = 0
        expected = 0.0
        for counts in by_site.values():
            judged, bad = counts.get(who, (0, 0))
            others = [each for other, each in counts.items() if other != who and each[0]]
            if not judged or not others:
                continue
            all_of_them = sum(each[0] for each in others)
            usual = max(statistics.median(each[1] / each[0] for each in others), 1 / (judged + all_of_them))
            total, contradicted, known = total + judged, contradicted + bad, known + all_of_them
            expected += judged * usual
        if not total:
            continue
        usual = expected / total
        is_more = contradicted * (1 - usual) >= _TIMES_THE_ODDS * usual * (total - contradicted)
        spread = usual * known + 0.5, (1 - usual) * known + 0.5
        if is_more and betabinom.sf(contradicted - 1, total, *spread) < _SURE:
            found.append(Odds(who, total, contradicted, usual, what))
    return sorted(found, key=lambda odds: -odds.contradicted / odds.comments)


def count_outvoted(labels: Iterable[Label]) -> BySite:
    """By site and moderator, on how many comments others have judged too, and where most of these object to a label."""
    totals: dict[str | None, Counter[str]] = defaultdict(Counter)
    outvoted: dict[str | None, Counter[str]] = defaultdict(Counter)
    for (site, _, _), of_comment in words(label for label in labels if label.source not in ANSWERS).items():
        for who, label in of_comment.items():
            by_others = [said.labels for name, said in of_comment.items() if name != who]
            objections = [
                sum(other != value for other in others) > len(others) / 2
                for code, value in label.labels.items()
                if (others := [said[code] for said in by_others if code in said])
            ]
            totals[site][who] += bool(objections)
            outvoted[site][who] += any(objections)
    return {
        site: {who: (judged, outvoted[site][who]) for who, judged in of_site.items() if judged}
        for site, of_site in totals.items()
    }


def _coefficient(shared: Sequence[Mapping[str, int]], pair: tuple[str, str] | None = None) -> float | None:
    """Cohen's kappa of a pair, or Krippendorff's alpha of all; not defined where all say the same all the time."""
    if len({value for said in shared for value in said.values()}) < 2:
        return None
    from nltk.metrics.agreement import AnnotationTask  # noqa: PLC0415  # half a second that not every caller needs

    task = AnnotationTask(data=[(who, row, value) for row, said in enumerate(shared) for who, value in said.items()])
    return float(task.kappa_pairwise(*pair) if pair else task.alpha())


def _busiest(labels: Iterable[Label], span: timedelta) -> int:
    """The most labels within so much time."""
    times = sorted(label.at for label in labels if label.at is not None)
    most = start = 0
    for end, moment in enumerate(times):
        while moment - times[start] >= span:
            start += 1
        most = max(most, end - start + 1)
    return most
