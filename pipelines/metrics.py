"""Figures of merit, with confidence intervals.

Shape letters: T frames, N trials.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964


class Interval(NamedTuple):
    """A figure and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For tables: value and interval."""
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


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
    """A share with its Wilson interval."""
    if not trials:
        return Interval(float("nan"), 0.0, 1.0)
    share, z2 = hits / trials, Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Interval(share, float(centre - half), float(centre + half))


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
