"""What counts say about what was not counted: shares with intervals, estimates from samples, agreement. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LEAST_SHARED = 10
"""With fewer texts that two have judged, a coefficient of agreement says nothing."""

_Z = 1.959963984540054  # the normal distribution has 95 % within this many standard deviations


@dataclass(frozen=True, slots=True)
class Share:
    """A share (0 to 1) with the interval in which 95 of 100 such measurements have the true one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Looked:
    """``count`` comments that were looked at, each with the probability ``inclusion``; ``wrong`` of them were wrong."""

    inclusion: float
    count: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sample says about everything that it was drawn from.

    ``judged`` were looked at and ``wrong`` of them were wrong; ``total`` stands for how many were wrong altogether
    among those that the sample speaks for (Horvitz and Thompson), ``share`` for their share (Hájek). ``effective`` is
    how many comments picked with one and the same probability would tell as much.
    """

    judged: int
    wrong: int
    total: float
    share: Share
    effective: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two moderators and the texts that both have judged. ``kappa`` is ``None`` where it is not defined."""

    first: str
    second: str
    texts: int
    same: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far moderators agree on texts that several have judged: 1 is always, 0 is as by the toss of a coin.

    ``alpha`` is ``None`` where it is not defined, because all verdicts are the same.
    """

    texts: int
    alpha: float | None
    pairs: tuple[Pair, ...]

    @property
    def is_enough(self) -> bool:
        """Whether there are enough texts to say anything."""
        return self.texts >= LEAST_SHARED


def wilson(hits: int, of: int) -> Share:
    """The share of ``hits`` with Wilson's interval, which stays sensible near 0 and 1. ``of`` is at least 1."""
    if not 0 <= hits <= of or of < 1:
        raise ValueError(f"{hits} of {of} is no share")
    share, square = hits / of, _Z * _Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return Share(share, 0.0 if hits == 0 else max(0.0, middle - half), 1.0 if hits == of else min(1.0, middle + half))


def exact(hits: float, of: float) -> Share:
    """The share of ``hits`` (parts of one are fine) with Clopper and Pearson's interval, never too narrow."""
    # SciPy takes half a second to load, which only this page needs.
    from scipy.special import betaincinv  # noqa: PLC0415

    if not 0 <= hits <= of or of <= 0:
        raise ValueError(f"{hits} of {of} is no share")
    low = 0.0 if hits == 0 else float(betaincinv(hits, of - hits + 1, 0.025))
    high = 1.0 if hits == of else float(betaincinv(hits + 1, of - hits, 0.975))
    return Share(hits / of, low, high)


def estimate(sample: Iterable[Looked]) -> Estimate | None:
    """The share that is wrong in what a sample was drawn from; ``None`` where nobody has looked yet.

    Each comment stands for as many as its probability says: one that had a chance of 1 in 50 for fifty. The interval is
    that of Korn and Graubard: Clopper and Pearson's for as many comments as the weighted ones are worth.
    """
    looked = [each for each in sample if each.count]
    if any(not 0 < each.inclusion <= 1 or not 0 <= each.wrong <= each.count for each in looked):
        raise ValueError("every comment needs a probability above 0, and no more can be wrong than there are")
    if not looked:
        return None
    judged = sum(each.count for each in looked)
    weight = sum(each.count / each.inclusion for each in looked)
    total = sum(each.wrong / each.inclusion for each in looked)
    share = min(1.0, total / weight)
    # Kish: unequal weights make a sample worth less.
    effective = weight**2 / sum(each.count / each.inclusion**2 for each in looked)
    # The variance of Hájek's estimate where each comment is drawn by a chance of its own.
    spread = (
        sum(
            (1 - each.inclusion)
            / each.inclusion**2
            * (each.wrong * (1 - share) ** 2 + (each.count - each.wrong) * share**2)
            for each in looked
        )
        / weight**2
    )
    if 0 < share < 1 and spread > 0:
        # The more cautious of the two, since with few comments the variance itself is a guess.
        effective = min(effective, share * (1 - share) / spread)
    interval = exact(share * effective, effective)
    return Estimate(judged, sum(each.wrong for each in looked), total, interval, effective)


def agreement(ratings: Sequence[tuple[str, int, str]]) -> Agreement:
    """How far moderators agree: ``(moderator, text, action)``, one of each moderator and text.

    Krippendorff's alpha over all, Cohen's kappa for every two who share a text. Texts that one alone has judged say
    nothing and are left out.
    """
    by_text: dict[int, dict[str, str]] = {}
    for who, text, action in ratings:
        by_text.setdefault(text, {})[who] = action
    shared = {text: words for text, words in by_text.items() if len(words) > 1}
    names = sorted({who for words in shared.values() for who in words})
    pairs = tuple(
        pair for first, second in itertools.combinations(names, 2) if (pair := _pair(shared, first, second)).texts
    )
    rows = [(who, text, action) for text, words in shared.items() for who, action in words.items()]
    return Agreement(len(shared), _coefficient(rows), pairs)


def _pair(shared: Mapping[int, Mapping[str, str]], first: str, second: str) -> Pair:
    both = {text: words for text, words in shared.items() if first in words and second in words}
    rows = [(who, text, words[who]) for text, words in both.items() for who in (first, second)]
    same = sum(words[first] == words[second] for words in both.values())
    return Pair(first, second, len(both), same, _coefficient(rows, (first, second)))


def _coefficient(rows: Sequence[tuple[str, int, str]], pair: tuple[str, str] | None = None) -> float | None:
    """Cohen's kappa of a pair, or Krippendorff's alpha of all; not defined where all say the same all the time."""
    if len({action for _, _, action in rows}) < 2:
        return None
    from nltk.metrics.agreement import AnnotationTask  # noqa: PLC0415  # slow to load, for this page alone

    task = AnnotationTask(data=rows)
    return float(task.kappa_pairwise(*pair) if pair else task.alpha())
