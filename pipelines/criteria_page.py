"""The results page of a comparison of criteria, written from its JSON: a table, and the learning curves.

Shape letters: C choices, N utterances.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.pipelines.evaluation_plots import COLOURS
from auricle.pipelines.metrics import Interval, mean_of, ratio, sums_by_block
from auricle.pipelines.report import markdown_table, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS_FILE = "criteria.json"
PICTURE = "criteria.png"
Results = Mapping[str, Any]
Counts = NDArray[np.float64]


class Errors:
    """Wrong phones of every choice on the same utterances, as shares of all phones."""

    def __init__(self, results: Results, kind: str = "wrong") -> None:
        """Adds up the seeds; `kind` is "wrong" (search) or "wrong_most_likely"."""
        runs: Mapping[str, Sequence[Any]] = results["choices"]
        told = next(iter(runs.values()))[0]["utterances"]
        self.choices, self.sets = list(runs), sorted(set(told["set"]))
        self._set = np.array(told["set"])
        self._phones = np.array(told["phones"], np.float64)
        self._speaker = np.array(told["speaker"])
        self._wrong: dict[str, Counts] = {
            choice: np.mean([run["utterances"][kind] for run in own], axis=0) for choice, own in runs.items()
        }

    def rate(self, choice: str, name: str) -> Interval:
        """Phone error rate on a set, its interval by the spread between its speakers."""
        return self._mean_of(self._wrong[choice], [name])

    def mean(self, choice: str) -> Interval:
        """The mean of the sets' rates."""
        return self._mean_of(self._wrong[choice], self.sets)

    def apart(self, choice: str, other: str) -> Interval:
        """The mean rate of one choice less that of another, on the same speakers."""
        return self._mean_of(self._wrong[choice] - self._wrong[other], self.sets)

    def _mean_of(self, wrong: Counts, names: Sequence[str]) -> Interval:
        found = []
        for name in names:
            own = self._set == name
            found.append(ratio(*sums_by_block(self._speaker[own], wrong[own], self._phones[own])))
        return mean_of(found).interval()


def write_criteria(results: Results, page: Path, folder: Path) -> None:
    """Writes the page, and JSON and picture into a folder that the page can link to."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / RESULTS_FILE
    kept.write_text(json.dumps(results) + "\n", encoding="utf-8")
    draw_curves(results, folder / PICTURE)
    text = compose(results, kept.relative_to(page.parent), (folder / PICTURE).relative_to(page.parent))
    page.write_text(text, encoding="utf-8")


def read_criteria(path: Path) -> dict[str, Any]:
    """Reads the JSON of an earlier comparison.

    Raises:
        DataError: there is none, or it is something else.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if {"plan", "machine", "steps", "choices"} <= results.keys():
            return dict(results)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"cannot read {path}: {error}; give the {RESULTS_FILE} of a comparison") from error
    raise DataError(f"{path} is no comparison of criteria: expected the {RESULTS_FILE} that it wrote")


def compose(results: Results, kept: Path, picture: Path) -> str:
    """The page as Markdown."""
    sections = [
        "# CTC, frame targets or LF-MMI? What was measured here",
        f"Written by `auricle compare criteria` from [{kept.name}]({kept.as_posix()}); do not edit.",
        _conditions(results),
        _table(results),
        f"![learning curves]({picture.as_posix()})",
        "Left: most likely labels, mean of the dev sets, while training. Right: search with phone bigram.",
    ]
    return "\n\n".join(sections) + "\n"


def _conditions(results: Results) -> str:
    plan, machine = results["plan"], results["machine"]
    runs = [run for own in results["choices"].values() for run in own]
    hours = [run["hours_heard"] for run in runs]
    changes = ", ".join(f"`{setting}`" for setting in plan["settings"])
    return (
        f"{results['steps']} steps for each choice ({min(hours):.1f} to {max(hours):.1f} h of audio) on "
        f"{100 * plan['part']:.0f} % of the training speech, {plan['seeds']} seed(s); recipe "
        f"`acoustic-small` with Muon, residual layers and mild augmentation{changes and ', '}{changes}. "
        f"{machine['processor']}, {machine['threads']} thread(s), {machine['date']}. A short budget: every "
        "choice is far from done, and what leads here need not lead after hours. Phone error rates on dev, "
        "%, with 95 % intervals by the spread between speakers (seeds are not in them; the two speakers of "
        "LibriSpeech's dev set tell little); the search's three weights are tuned on a quarter of the same "
        "utterances. *Against the first* is paired, speaker by speaker. *Later*: when phones are said, "
        "compared with the shipped acoustic-lstm. "
        "Minutes are those of the clock, whatever else the machine did."
    )


def _table(results: Results) -> str:
    searched, likely = Errors(results), Errors(results, "wrong_most_likely")
    first = searched.choices[0]
    rows = []
    for choice in searched.choices:
        runs = results["choices"][choice]
        apart = searched.apart(choice, first)
        shown = f"{100 * apart.value:+.1f} [{100 * apart.low:+.1f}, {100 * apart.high:+.1f}]"
        rows.append(
            [
                choice,
                *(percent(searched.rate(choice, name)) for name in searched.sets),
                percent(searched.mean(choice)),
                "" if choice == first else shown,
                f"{100 * likely.mean(choice).value:.1f}",
                f"{np.mean([run['late_ms'] for run in runs]):+.0f} ms",
                f"{np.mean([run['seconds'] for run in runs]) / 60:.1f}",
            ]
        )
    header = ["choice", *searched.sets, "mean", "against the first", "most likely labels", "later", "minutes"]
    return markdown_table(header, rows).rstrip()


def draw_curves(results: Results, path: Path) -> None:
    """Draws the learning curves, and what the search makes of their ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    errors = Errors(results)
    for number, (choice, runs) in enumerate(results["choices"].items()):
        colour = COLOURS[number % len(COLOURS)]
        for run in runs:
            steps, scores = zip(*((row["step"], -100 * row["score"]) for row in run["curve"]), strict=True)
            left.plot(
                steps, scores, "o-", color=colour, markersize=3, label=choice if run is runs[0] else None
            )
        _bars(right, errors, choice, number, colour)
    left.set(xlabel="step", ylabel="phone error rate, %", title="most likely labels")
    left.legend(fontsize=8)
    left.grid(alpha=0.3)
    right.set_xticks(range(len(errors.sets)), errors.sets, fontsize=8)
    right.set(title="search with phone bigram, 95 % interval")
    figure.savefig(path, dpi=100)


def _bars(axes: "Axes", errors: Errors, choice: str, number: int, colour: str) -> None:
    found = [errors.rate(choice, name) for name in errors.sets]
    width = 0.8 / len(errors.choices)
    places = np.arange(len(found)) + (number - (len(errors.choices) - 1) / 2) * width
    value, low, high = (100 * np.array([getattr(one, end) for one in found]) for end in Interval._fields)
    axes.bar(places, value, width, color=colour)
    ends = np.maximum(0.0, [value - low, high - value])
    axes.errorbar(places, value, yerr=ends, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
