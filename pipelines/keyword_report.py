"""The figures of a keyword model as Markdown and as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from auricle.pipelines.metrics import Interval
from auricle.pipelines.report import markdown_table
from auricle.pipelines.vocabulary import LABELS

LEAST_ALARMS = 0.5
"""Per hour: fewer are drawn here, for the axis is logarithmic."""


def keyword_text(name: str, split: str, figures: Mapping[str, Any]) -> str:
    """Composes the tables of one model."""
    single = [[key, str(value)] for key, value in figures.items() if isinstance(value, Interval)]
    noise = figures["false alarms per hour of noise"]
    points = [
        [
            f"{point['threshold']:.2f}",
            str(point["right"]),
            _rate(point["alarms"]),
            _rate(noise[point["threshold"]]),
        ]
        for point in figures["by threshold"]
    ]
    parts = [("source", figures["by source"]), ("level of the recording", figures["by level"])]
    groups = [[key, str(value)] for _, part in parts for key, value in part.items()]
    classes = [[word, str(value)] for word, value in figures["by class"].items()]
    mistakes = ", ".join(f"{said} as {heard} ({count})" for said, heard, count in figures["confusions"])
    return "\n".join(
        [
            f"{name} on {split}: {figures['clips']} clips of Speech Commands in one stream, state carried.\n",
            markdown_table(["figure", "share right [95 %]"], single),
            "\nBy threshold: keywords reported right, and false alarms per hour in "
            f"{figures['sentence hours']:.2f} h of sentences without keywords and "
            f"{figures['noise hours']:.2f} h of noise.\n",
            markdown_table(["threshold", "reported right", "sentences", "noise"], points),
            "\nBy source, and by how loud a clip of Speech Commands was recorded (all 22 labels):\n",
            markdown_table(["clips", "share right [95 %]"], groups),
            "\nBy class, with the digits of fsdd:\n",
            markdown_table(["class", "recall [95 %]"], classes),
            f"\nMost frequent mistakes: {mistakes}.\n",
        ]
    )


def _rate(value: Interval) -> str:
    return f"{value.value:.0f} [{value.low:.0f}, {value.high:.0f}]"


def draw_keyword(figures: Mapping[str, Mapping[str, Any]], folder: Path, split: str) -> list[Path]:
    """Draws the confusions of each model, and the curves of all: words missed against false alarms.

    Args:
        figures: plain values by model name, as written to JSON.
        folder: where the pictures go.
        split: for their names.

    Returns:
        The PNG files written.
    """
    paths = [folder / f"keyword-{split}-det.png"]
    _draw_curves(figures, split, paths[0])
    for name, values in figures.items():
        paths.append(folder / f"{name}-{split}-confusion.png")
        _draw_confusion(np.array(values["confusion table"]), f"{name}, {split}", paths[-1])
    return paths


def _draw_curves(figures: Mapping[str, Mapping[str, Any]], split: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in figures.items():
        points = values["by threshold"]
        alarms = [max(LEAST_ALARMS, point["alarms"]["value"]) for point in points]
        missed = [100 * (1 - point["right"]["value"]) for point in points]
        axes.plot(alarms, missed, "o-", markersize=3, label=name)
        for point, x, y in zip(points, alarms, missed, strict=True):
            axes.annotate(
                f"{point['threshold']:g}", (x, y), fontsize=6, textcoords="offset points", xytext=(3, 3)
            )
    axes.set(
        xscale="log", xlabel="false alarms per hour of talk without keywords", title=f"keywords, {split}"
    )
    axes.set(ylabel="keywords not reported right, %", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _draw_confusion(table: "np.ndarray[Any, np.dtype[np.int_]]", title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(7.5, 7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)  # the root shows what is rare
    for said, heard in np.argwhere(table > 0).tolist():
        colour = "white" if share[said, heard] > 0.4 else "black"
        axes.text(heard, said, str(table[said, heard]), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=90)
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.set(xlabel="heard", ylabel="said", title=title)
    figure.savefig(path, dpi=110)
