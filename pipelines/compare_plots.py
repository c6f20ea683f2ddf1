"""Pictures of a comparison."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.pipelines.compare_summary import Figures, Results, name_of
from auricle.pipelines.memory import CHANCE, FADED, RECALLED
from auricle.pipelines.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Told apart by the colour-blind (Paul Tol's bright scheme)."""
LOWEST = 1e-16
"""Gradients below this are drawn here."""


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draws everything that was measured.

    Returns:
        The PNG files written.
    """
    from matplotlib.figure import Figure

    drawers = {"cost": _cost, "recall": _recall, "gradient": _gradient}
    if results["training"]:
        drawers |= {"accuracy": _accuracy, "gap": _gap}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in drawers.items():
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw(Figures(results), left, right)
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=100)
    return paths


def _half(interval: Interval) -> float:
    """Half the width, for error bars; none where it is unknown."""
    half = interval.high - interval.value
    return half if isfinite(half) else 0.0


def _cells(figures: Figures) -> Sequence[tuple[str, str]]:
    return [(cell, COLOURS[i % len(COLOURS)]) for i, cell in enumerate(figures.results["cost"])]


def _cost(figures: Figures, left: "Axes", right: "Axes") -> None:
    for cell, colour in _cells(figures):
        p50, p95 = figures.cost(cell, "step_p50_us"), figures.cost(cell, "step_p95_us")
        size = figures.cost(cell, "parameters").value / 1e3
        left.errorbar(size, p50.value, yerr=_half(p50), fmt="o", color=colour, label=name_of(cell), capsize=3)
        left.plot(size, p95.value, "_", color=colour, markersize=14)
        right.bar(name_of(cell), figures.cost(cell, "state_bytes").value, color=colour)
    left.set(xlabel="thousand parameters", ylabel="us, one step (o median, _ 95 %)", title="size and speed")
    left.set(yscale="log")
    left.margins(y=0.3)
    left.legend(fontsize=8)
    right.set(yscale="log", ylabel="bytes", title="state of one stream")
    right.set_ylim(bottom=100)
    right.tick_params("x", labelsize=8)


def _recall(figures: Figures, left: "Axes", right: "Axes") -> None:
    for cell, colour in _cells(figures):
        runs = figures.memory(cell, "recall")
        delays = [int(delay) for delay in runs[0]]
        for run in runs:
            left.plot(delays, list(run.values()), color=colour, alpha=0.3, linewidth=1)
        mean = [float(np.mean([run[str(delay)] for run in runs])) for delay in delays]
        left.plot(delays, mean, "o-", color=colour, label=name_of(cell), markersize=3)
        longest = figures.memory(cell, "longest_recalled")
        right.bar(name_of(cell), float(np.median(longest)), color=colour)
        right.plot([name_of(cell)] * len(longest), longest, "k.", markersize=4)
    left.axhline(CHANCE, color="gray", linestyle=":", linewidth=1)
    left.set(
        xscale="log", xlabel="steps since the symbols", ylabel="recalled", ylim=(0, 1.03), title="recall"
    )
    left.legend(fontsize=8)
    right.set_yscale("symlog", linthresh=10)
    right.set(ylim=(0, 2 * delays[-1]), ylabel="steps", title=f"longest delay recalled at {RECALLED:.0%}")
    right.tick_params("x", labelsize=8)


def _gradient(figures: Figures, left: "Axes", right: "Axes") -> None:
    for axes, when in ((left, "untrained"), (right, "trained")):
        for cell, colour in _cells(figures):
            runs = figures.memory(cell, f"gradient_{when}")
            distances = [int(distance) for distance in runs[0]]
            logs = [[np.log10(max(run[str(distance)], LOWEST)) for run in runs] for distance in distances]
            axes.plot(
                distances, 10 ** np.mean(logs, axis=1), "o-", color=colour, label=name_of(cell), markersize=3
            )
        axes.axhline(FADED, color="gray", linestyle=":", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="steps back", title=f"gradient, {when}")
        axes.set_ylim(bottom=LOWEST / 2)
    left.set(ylabel="part of that one step back")
    right.legend(fontsize=8)


def _accuracy(figures: Figures, left: "Axes", right: "Axes") -> None:
    conditions, cells = ("clean", "10 dB", "0 dB"), _cells(figures)
    width = 0.8 / len(cells)
    for number, (cell, colour) in enumerate(cells):
        found = [figures.trained(cell, condition, _most(figures)) for condition in conditions]
        places = np.arange(len(conditions)) + (number - (len(cells) - 1) / 2) * width
        heights: Any = [value.value for value in found]
        left.bar(
            places,
            heights,
            width,
            yerr=[_half(value) for value in found],
            color=colour,
            label=name_of(cell),
            error_kw={"linewidth": 1},
        )
        pace = figures.pace(cell)
        right.bar(name_of(cell), 1000 * pace.value, yerr=1000 * _half(pace), color=colour)
    left.set_xticks(range(len(conditions)), conditions)
    left.set(ylim=(0, 1), title=_merit(figures))
    left.legend(fontsize=8)
    right.set(ylabel="ms", title="one step of training")
    right.tick_params("x", labelsize=8)


def _gap(figures: Figures, left: "Axes", right: "Axes") -> None:
    for cell, colour in _cells(figures):
        parts = sorted(float(part) for part in figures.results["training"][cell])
        for key, style in (("train clean", "--"), ("matched clean", "-")):
            values = [figures.trained(cell, key, part).value for part in parts]
            left.plot([100 * part for part in parts], values, f"o{style}", color=colour, markersize=3)
        gaps = [figures.gap(cell, part) for part in parts]
        right.errorbar(
            [100 * part for part in parts],
            [gap.value for gap in gaps],
            yerr=[_half(gap) for gap in gaps],
            fmt="o-",
            color=colour,
            label=name_of(cell),
            markersize=3,
            capsize=3,
        )
    for axes in (left, right):
        axes.set(xscale="log", xlabel="% of the training data")
    left.set(ylim=(0, 1.03), title=f"{_merit(figures)}: dashed known voices, solid unknown")
    right.axhline(0, color="gray", linestyle=":", linewidth=1)
    right.set(title="the gap between the two")
    right.legend(fontsize=8)


def _most(figures: Figures) -> float:
    """The largest part of the data that was trained on."""
    return max(float(part) for by_part in figures.results["training"].values() for part in by_part)


def _merit(figures: Figures) -> str:
    return "words recognised" if figures.results["plan"]["task"] == "keyword" else "ROC-AUC"
