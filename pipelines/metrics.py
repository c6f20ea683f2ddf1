"""Figures of merit, with confidence intervals.

Shape letters: T frames, N trials.
"""

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964


class Interval(NamedTuple):
    """A figure and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For tables: value and interval; without one where a single speaker tells nothing of others."""
        return f"{self.value:.4f}" + ("" if isnan(self.low) else f" [{self.low:.4f}, {self.high:.4f}]")


class Estimate(NamedTuple):
    """A figure, the variance of its error, and how many degrees of freedom tell that variance."""

    value: float
    variance: float
    freedom: float

    def interval(self, least: float = -np.inf) -> Interval:
        """By Student's t, whose tails are long where few speakers tell the spread; NaN where one does.

        Args:
            least: the figure cannot be lower.
        """
        from scipy.stats import t

        if self.freedom <= 0:
            return Interval(self.value, np.nan, np.nan)
        half = float(t.ppf(0.975, self.freedom)) * self.variance**0.5
        return Interval(self.value, max(least, self.value - half), self.value + half)


def roc_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive frame scores above a negative one (ties count half).

    Args:
        scores: with shape `(T,)`.
        positive: with shape `(T,)`.

    Returns:
        0 to 1; NaN where one of the classes is empty.
    """
    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    _, inverse, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    rank = (last - (sizes - 1) / 2)[inverse]  # mean rank of equal scores, from 1
    return float((rank[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def roc_curve(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], points: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve, thinned.

    Args:
        scores: with shape `(T,)`.
        positive: with shape `(T,)`; both classes occur.
        points: about how many points to keep.

    Returns:
        False alarm rate and miss rate, each `(P,)`, from "nothing is reported" to "everything is".
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # equal scores fall together
    hits, alarms = np.cumsum(positive[order])[ends], np.cumsum(~positive[order])[ends]
    alarm_rate = np.concatenate([[0.0], alarms / alarms[-1]])
    miss_rate = np.concatenate([[1.0], 1 - hits / hits[-1]])
    length = np.concatenate([[0.0], np.cumsum(np.diff(alarm_rate) - np.diff(miss_rate))])  # along the curve
    kept = np.unique(np.searchsorted(length, np.linspace(0, 2, points)).clip(max=len(length) - 1))
    kept = np.union1d(kept, [0, len(length) - 1])
    return alarm_rate[kept], miss_rate[kept]


def proportion(hits: int, trials: int) -> Interval:
    """A share of trials that have nothing to do with each other, with its Wilson interval."""
    return _wilson(hits / trials, trials, Z_95) if trials else Interval(float("nan"), 0.0, 1.0)


def _wilson(share: float, trials: float, z: float) -> Interval:
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def share_by_block(
    right: Sequence[bool] | NDArray[np.bool_],
    blocks: Sequence[str],
    weights: NDArray[np.float64] | None = None,
) -> Interval:
    """A share of trials of which those of one block (a speaker) are alike.

    Wilson's interval for as many trials as would tell as much if they were independent (Rao and Scott, 1992),
    with Student's t for the spread between blocks.

    Args:
        right: whether each trial counts, N of them.
        blocks: the block of each.
        weights: what each counts for, `(N,)`; the same if None.

    Returns:
        Bounds are NaN where all trials are of one block, which tells nothing of others.
    """
    from scipy.stats import t

    if not len(right):
        return Interval(float("nan"), 0.0, 1.0)
    counts = np.ones(len(right)) if weights is None else weights
    hits, sizes = sums_by_block(blocks, counts * np.asarray(right), counts)
    found = ratio(hits, sizes)
    if len(sizes) == 1:
        return found.interval()
    trials = float(counts.sum() ** 2 / np.square(counts).sum())  # of one weight, that would tell as much
    alone = found.value * (1 - found.value) / trials
    effect = max(1.0, found.variance / alone) if alone > 0 else 1.0
    return _wilson(found.value, trials / effect, float(t.ppf(0.975, found.freedom)))


def sums_by_block(blocks: Sequence[str], *values: Any) -> list[NDArray[np.float64]]:
    """Sums of values, each `(N,)`, for every block that the names, N of them, tell apart."""
    place = np.unique(list(blocks), return_inverse=True)[1]
    sums = [np.bincount(place, weights=np.asarray(value, np.float64)) for value in values]
    return [one.astype(np.float64) for one in sums]


def ratio(parts: NDArray[np.float64], totals: NDArray[np.float64]) -> Estimate:
    """The sum of parts by that of totals, such as errors by words; its spread is that between blocks.

    Args:
        parts: of each block, `(B,)`.
        totals: of each block, `(B,)`.
    """
    count, whole = len(totals), float(totals.sum())
    value = float(parts.sum()) / whole
    spread = float(np.square(parts - value * totals).sum()) * count / max(1, count - 1)
    return Estimate(value, spread / whole**2, count - 1)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of figures that have nothing to do with each other (Welch and Satterthwaite's freedom)."""
    variances = [one.variance / len(estimates) ** 2 for one in estimates]
    value = float(np.mean([one.value for one in estimates]))
    if min(one.freedom for one in estimates) == 0:
        return Estimate(value, sum(variances), 0.0)  # one of them has a spread that nobody knows
    told = [(variance, one.freedom) for variance, one in zip(variances, estimates, strict=True) if variance]
    freedom = sum(variances) ** 2 / sum(v**2 / f for v, f in told) if told else np.inf
    return Estimate(value, sum(variances), freedom)


def rate_per_hour(events: int, hours: float) -> Interval:
    """A rate with its 95 % interval, events taken as Poisson (exact by the chi-square quantiles)."""
    from scipy.stats import chi2

    low = float(chi2.ppf(0.025, 2 * events) / 2) if events else 0.0
    high = float(chi2.ppf(0.975, 2 * events + 2) / 2)
    return Interval(events / hours, low / hours, high / hours)


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], blocks: int, draws: int = 300, seed: int = 0
) -> Interval:
    """Interval of a statistic by drawing whole blocks (streams, speakers) anew.

    Args:
        statistic: value for the given numbers of blocks, some of them repeated.
        blocks: how many blocks there are.
        draws: how often to draw.
        seed: decides the draws.
    """
    rng = np.random.default_rng(seed)
    values: Sequence[float] = [statistic(rng.integers(blocks, size=blocks)) for _ in range(draws)]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return Interval(statistic(np.arange(blocks)), float(low), float(high))
