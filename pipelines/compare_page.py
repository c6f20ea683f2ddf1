"""The results page of a comparison, written from its JSON."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auricle.configs.errors import DataError
from auricle.pipelines.compare_plots import draw_all
from auricle.pipelines.compare_summary import (
    FAILED,
    HELD,
    NOISE,
    UNKNOWN,
    Figures,
    Results,
    judge,
    name_of,
    percent,
)
from auricle.pipelines.cost import STREAMS
from auricle.pipelines.memory import FADED, RECALLED, SLOTS, SYMBOLS
from auricle.pipelines.metrics import Interval

RESULTS_FILE = "compare.json"


def write_all(results: Results, page: Path, folder: Path) -> None:
    """Writes the page, and JSON and pictures into a folder that the page can link to."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / RESULTS_FILE
    kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    pictures = [Path(path.relative_to(page.parent)) for path in draw_all(results, folder)]
    page.write_text(write_page(results, pictures, Path(kept.relative_to(page.parent))), encoding="utf-8")


def read_results(path: Path) -> dict[str, Any]:
    """Reads the JSON of an earlier comparison.

    Raises:
        DataError: there is none, or it is something else.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if {"plan", "machine", "cost", "memory", "training"} <= results.keys():
            return dict(results)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"cannot read {path}: {error}; give the {RESULTS_FILE} of a comparison") from error
    raise DataError(f"{path} is no comparison: expected the {RESULTS_FILE} that `auricle compare` wrote")


def write_page(results: Results, pictures: Sequence[Path], kept: Path) -> str:
    """Returns the whole page."""
    figures = Figures(results)
    shown = {path.stem: f"![{path.stem}]({path.as_posix()})" for path in pictures}
    sections = [
        "# LSTM or GRU? What was measured here",
        f"Written by `auricle compare` from [{kept.name}]({kept.as_posix()}); do not edit.",
        _conditions(results),
        "## Common claims",
        _claims(results),
        "## Size and speed",
        _size_table(figures),
        shown["cost"],
        "## Accuracy and noise",
        _accuracy_section(figures, shown),
        "## Over-fitting on little data",
        _gap_section(figures, shown),
        "## Long-range memory",
        _memory_section(figures),
        shown["recall"],
        shown["gradient"],
    ]
    return "\n\n".join(sections) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _conditions(results: Results) -> str:
    plan, machine = results["plan"], results["machine"]
    budget = plan["budget"]
    each = f"{budget['steps']} steps" if budget["steps"] is not None else f"{budget['seconds']:g} s"
    seeds = f"{plan['seeds']} seed" + ("s" if plan["seeds"] > 1 else "")
    text = (
        f"Task: {plan['task']}. Budget: {each} for each training, {seeds}. Machine: {machine['processor']}, "
        f"{machine['threads']} thread(s), torch {machine['torch']}, {machine['date']}. "
        "± is a 95 % interval over seeds and test material (over rounds for speed). The material is the same "
        "for all cells, so differences are judged cautiously. All cells have the same "
        "width and the same number of layers; a hybrid shares the layers out."
    )
    if plan["seeds"] == 1:
        text += " One seed has no interval, so it decides no claim about accuracy or recall."
    if not results["training"]:
        text += " No data was given: only what needs none was measured (`--data` adds the rest)."
    return text


def _claims(results: Results) -> str:
    claims = judge(results)
    counts = {
        verdict: sum(claim.verdict == verdict for claim in claims)
        for verdict in (HELD, FAILED, NOISE, UNKNOWN)
    }
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    rows = [(claim.text, f"**{claim.verdict}**", claim.evidence) for claim in claims]
    return (
        f"{len(claims)} claims: {counted}. *Within noise* means that the difference is smaller than its 95 % "
        f"interval.\n\n{table(('claim', 'here', 'measured'), rows)}"
    )


def _plus(interval: Interval, digits: int = 0) -> str:
    return f"{interval.value:,.{digits}f} ± {interval.high - interval.value:,.{digits}f}"


def _size_table(figures: Figures) -> str:
    rows = []
    for cell, cost in figures.results["cost"].items():
        resident = cost["resident_bytes"]
        p50 = figures.cost(cell, "step_p50_us")
        rows.append(
            (
                name_of(cell),
                f"{cost['parameters']:,}",
                f"{cost['weights_bytes'] / 1e6:.2f}",
                f"{cost['state_bytes'] / 1e3:,.1f}",
                f"{resident / 1e6:.1f}" if resident is not None else "?",
                _plus(p50),
                _plus(figures.cost(cell, "step_p95_us")),
                f"{100 * p50.value / (1000 * cost['frame_ms']):.2f} %",
            )
        )
    header = (
        "cell",
        "parameters",
        "weights MB",
        "state kB a stream",
        f"process MB with {STREAMS} streams",
        "step p50 us",
        "step p95 us",
        "of a core",
    )
    frame_ms = next(iter(figures.results["cost"].values()))["frame_ms"]
    return (
        f"A step is one output frame of one stream ({frame_ms:.0f} ms of sound), as the daemon runs it.\n\n"
        + table(header, rows)
    )


def _accuracy_section(figures: Figures, shown: dict[str, str]) -> str:
    training = figures.results["training"]
    if not training:
        return "Not measured: no data."
    parts = sorted(float(part) for part in next(iter(training.values())))
    rows = [
        (
            name_of(cell),
            *(
                percent(figures.trained(cell, condition, parts[-1]))
                for condition in ("clean", "10 dB", "0 dB")
            ),
            f"{figures.updates(cell, parts[-1]):,.0f}",
            _milliseconds(figures.pace(cell)),
        )
        for cell in training
    ]
    merit = "words recognised" if figures.results["plan"]["task"] == "keyword" else "ROC-AUC"
    text = f"Development speakers, {merit}, the state carried through one long stream; noise of dev."
    header = ("cell", "clean", "10 dB", "0 dB", "steps in the budget", "ms a step")
    return f"{text}\n\n{table(header, rows)}\n\n{shown['accuracy']}"


def _milliseconds(seconds: Interval) -> str:
    return (
        _plus(Interval(*(1000 * value for value in seconds)), 1)
        if np.isfinite(seconds.high)
        else f"{1000 * seconds.value:.1f}"
    )


def _gap_section(figures: Figures, shown: dict[str, str]) -> str:
    training = figures.results["training"]
    if not training:
        return "Not measured: no data."
    parts = sorted(float(part) for part in next(iter(training.values())))
    rows = [
        (
            name_of(cell),
            *(percent(figures.gap(cell, part)) for part in parts),
            *_known(figures, cell, parts[0]),
        )
        for cell in training
    ]
    header = (
        "cell",
        *(f"gap at {100 * part:g} %" for part in parts),
        f"known voices at {100 * parts[0]:g} %",
        "unknown voices",
    )
    text = (
        "The gap is how much better a model does on clips it was trained on than on as many of the same kind "
        "by others. A part of the data holds the first speakers in a random order."
    )
    return f"{text}\n\n{table(header, rows)}\n\n{shown['gap']}"


def _known(figures: Figures, cell: str, part: float) -> tuple[str, str]:
    return (
        percent(figures.trained(cell, "train clean", part)),
        percent(figures.trained(cell, "matched clean", part)),
    )


def _memory_section(figures: Figures) -> str:
    delays = [int(delay) for delay in next(iter(figures.results["memory"].values()))[0]["recall"]]
    rows = []
    for cell in figures.results["memory"]:
        recalled = [
            100 * float(np.mean([run[str(d)] for run in figures.memory(cell, "recall")])) for d in delays
        ]
        rows.append(
            (
                name_of(cell),
                *(f"{value:.0f}" for value in recalled),
                " / ".join(f"{steps:,}" for steps in figures.memory(cell, "longest_recalled")),
                " / ".join(f"{updates:,}" for updates in figures.memory(cell, "updates")),
                _steps(figures.memory(cell, "vanishes_untrained")),
                _steps(figures.memory(cell, "vanishes_trained")),
            )
        )
    header = (
        "cell",
        *(f"{delay:,}" for delay in delays),
        f"longest at {RECALLED:.0%}, each seed",
        "updates practised, each seed",
        "gradient gone, untrained",
        "gradient gone, trained",
    )
    text = (
        f"{SLOTS} marked symbols of {SYMBOLS}, then so many others to distract, then a cue that asks for "
        "one: % recalled, mean over seeds, after practice on ever longer delays within the budget (it ends "
        "early once the longest is recalled). The last columns say after how many steps the gradient is "
        f"below {FADED:g} of what it is one step back (median seed; “no”: not within 1,000)."
    )
    return f"{text}\n\n{table(header, rows)}"


def _steps(distances: Sequence[float | None]) -> str:
    """The median of distances, where None is beyond all."""
    middle = sorted(np.inf if value is None else value for value in distances)[len(distances) // 2]
    return f"{middle:,.0f}" if np.isfinite(middle) else "no"
