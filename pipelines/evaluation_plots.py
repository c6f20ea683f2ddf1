"""Pictures of an evaluation, drawn from the figures that the JSON file holds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Told apart by the colour-blind (Paul Tol's bright scheme)."""
DET_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
Values = Mapping[str, Any]


def draw(figures: Values, folder: Path, name: str) -> list[Path]:
    """Draws what there is to draw, if matplotlib is installed.

    Args:
        figures: as `evaluate_vad` and `evaluate_acoustic` return them.
        folder: where the pictures go.
        name: the start of their names.

    Returns:
        The PNG files written.
    """
    drawers: dict[str, Callable[[Any], Figure]] = {
        "curves": draw_curves,
        "auc_by_group": draw_auc,
        "phone_error_rate": draw_sets,
        "phone_error_rate_by_group": draw_groups,
    }
    wanted = {key: drawer for key, drawer in drawers.items() if figures.get(key)}
    try:
        import matplotlib  # noqa: F401 (asked for before anything is drawn)
    except ImportError:
        logger.warning("no pictures: install auricle[train] for matplotlib")
        return []
    paths = []
    for key, drawer in wanted.items():
        paths.append(folder / f"{name}-{key.replace('_', '-')}.png")
        drawer(figures[key]).savefig(paths[-1], dpi=110)
    return paths


def draw_curves(curves: Values) -> "Figure":
    """ROC on linear axes, and the DET curve on axes on which two normal distributions give a line."""
    figure, (left, right) = _figure(2, 4.0)
    for (name, curve), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        alarms, misses = np.array(curve["false_alarm_rate"]), np.array(curve["miss_rate"])
        left.plot(alarms, 1 - misses, color=colour, label=name)
        inside = (alarms > 0) & (alarms < 1) & (misses > 0) & (misses < 1)
        right.plot(_deviate(alarms[inside]), _deviate(misses[inside]), color=colour, label=name)
    left.set(xlabel="false alarm rate", ylabel="hit rate", title="ROC", xlim=(0, 0.5), ylim=(0.5, 1))
    left.legend(fontsize=8, loc="lower right")
    ticks = _deviate(np.array(DET_TICKS))
    labels = [f"{100 * tick:g}" for tick in DET_TICKS]
    right.set(xlabel="false alarms, % of frames", ylabel="misses, % of frames", title="DET")
    right.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]))
    right.set_xticks(ticks, labels)
    right.set_yticks(ticks, labels)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def draw_auc(groups: Sequence[Values]) -> "Figure":
    """ROC-AUC of every detector for each group, with intervals."""
    names = list(groups[0]["auc"])
    figure, (axes,) = _figure(1, 1.6 + 0.2 * len(groups) * len(names))
    labels = [" ".join(filter(None, (one["set"], one["facet"], one["name"]))) for one in groups]
    series = {name: [one["auc"][name] for one in groups] for name in names}
    _bars(axes, labels, series)
    lowest = min(value["low"] for values in series.values() for value in values)
    axes.set(xlabel="ROC-AUC, 95 % interval", xlim=(max(0.0, lowest - 0.02), 1.0))
    return figure


def draw_sets(rows: Sequence[Values]) -> "Figure":
    """Phone error rates of each set in each condition."""
    return _error_rates(rows, [row["set"] for row in rows])


def draw_groups(rows: Sequence[Values]) -> "Figure":
    """Phone error rates of each group in each condition."""
    return _error_rates(rows, [f"{row['set']} {row['facet']} {row['group']}" for row in rows])


def _error_rates(rows: Sequence[Values], names: Sequence[str]) -> "Figure":
    labels = list(dict.fromkeys(names))
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    found = {(name, row["condition"]): row["search"] for name, row in zip(names, rows, strict=True)}
    figure, (axes,) = _figure(1, 1.6 + 0.22 * len(labels) * len(conditions))
    _bars(axes, labels, {one: [found[label, one] for label in labels] for one in conditions}, scale=100.0)
    axes.set(xlabel="phone error rate, %, search with phone bigram, 95 % interval", xlim=(0, None))
    return figure


def _bars(
    axes: "Axes", labels: Sequence[str], series: Mapping[str, Sequence[Values]], scale: float = 1.0
) -> None:
    """Draws horizontal bars with intervals: a block for each label, a bar for each series in it."""
    height = 0.8 / len(series)
    for number, (name, colour) in enumerate(zip(series, _colours(len(series)), strict=True)):
        value, low, high = (scale * np.array([one[key] for one in series[name]], float) for key in _ENDS)
        place = np.arange(len(labels)) + (number - (len(series) - 1) / 2) * height
        axes.barh(place, value, height, color=colour, label=name)
        spread = np.maximum(0.0, [value - low, high - value])
        axes.errorbar(value, place, xerr=spread, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)


_ENDS = ("value", "low", "high")


def _figure(columns: int, height: float) -> "tuple[Figure, Sequence[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _deviate(rates: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(norm.ppf(rates))
