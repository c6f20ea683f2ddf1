"""What was found of wake phrases, to read and to look at."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from auricle.pipelines.report import markdown_table

MOST_RATE = 20
"""False accepts per hour up to which misses are drawn: where all are looked at again, hardly more come."""
MOST_LISTED = 20
"""More phrases than so many are told and drawn by their mean alone."""
UNKNOWN = "-"
"""Of a phrase that a detector cannot listen for."""


def wake_text(figures: Mapping[str, Any]) -> str:
    """Tables in Markdown."""
    lines = [
        f"# Wake phrases, {figures['model']} on {figures['split']}\n",
        f"{figures['hours']:.2f} h of streams; false accepts are counted in speech other than recordings of "
        "wake phrases. Misses at a threshold set on these streams themselves so that there are at most so "
        "many false accepts (less than one in all is none at all: 0.1 an hour in less than ten hours); 95 % "
        "intervals by the spread between speakers (recordings, where those are not known).\n",
    ]
    if any(figures["learnt"].values()):
        lines.append(
            "Nothing is trained for a phrase, but recordings that acoustic models learn from may hold it: in "
            "brackets in how many of the train split it is said.\n"
        )
    for condition, found in figures["conditions"].items():
        lines.append(f"## {condition}\n")
        lines += [*_misses(found["detectors"], figures["learnt"], figures["groups"]), ""]
        lines.append(_promise(found["promise"]))
        if "fitted" in found:
            lines.append(f"With the verifiers: {_promise(found['fitted'])}")
    if noise := figures.get("noise"):
        rate = noise["false_accepts_per_hour"]
        lines.append(
            f"In {noise['hours']:.2f} h of noise in which nobody speaks (half a minute at a time, recorded "
            f"and coloured) there are {rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}] false "
            f"accepts an hour for each phrase, where {noise['asked_for_per_hour']:g} were asked for.\n"
        )
    lines.append(
        f"The search takes {1000 * figures['cost']:.2f} ms of CPU time for a second of audio, all "
        f"{len(figures['phrases'])} phrases together; the acoustic model and second looks come on top.\n"
    )
    return "\n".join(lines)


def _misses(
    detectors: Mapping[str, Any], learnt: Mapping[str, int], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """A row for each phrase; means where a detector knows all of them, so that they can be compared."""
    rates = list(detectors["Auricle"]["means"]["all"])
    header = ["phrase", "recordings", *(f"{name}, {rate} / h" for name in detectors for rate in rates)]
    rows = []
    for phrase in groups["all"] if len(groups["all"]) <= MOST_LISTED else ():
        known = [table["phrases"].get(phrase) for table in detectors.values()]
        cells = [percent(one["misses"][rate]) if one else UNKNOWN for one in known for rate in rates]
        name = f"{phrase} ({learnt[phrase]})" if phrase in learnt else phrase
        rows.append([name, str(known[0]["recordings"]), *cells])
    for group, phrases in groups.items():
        means = [
            percent(table["means"][group][rate]) if set(phrases) <= set(table["phrases"]) else UNKNOWN
            for table in detectors.values()
            for rate in rates
        ]
        rows.append(["**mean**" if group == "all" else f"mean, {group}", "", *means])
    return markdown_table(header, rows).splitlines()


def _promise(promise: Mapping[str, Any]) -> str:
    rate = promise["false_accepts_per_hour"]
    words = [
        f"Asked for {promise['asked_for_per_hour']:g} false accepts an hour (the threshold found in the "
        f"background that ships), there are {rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}] for "
        f"each phrase, and {100 * promise['mean_misses']:.1f} % misses, mean over phrases."
    ]
    if delay := promise.get("delay_s"):
        words.append(
            f"A phrase is reported {1000 * delay['p50']:.0f} ms (p50), {1000 * delay['p95']:.0f} ms (p95) "
            f"after its end ({delay['count']} with known times)."
        )
    return " ".join(words) + "\n"


def percent(value: Mapping[str, Any]) -> str:
    """A share and its interval in per cent; no interval where one speaker tells nothing of others."""
    if value["low"] is None:
        return f"{100 * value['value']:.1f}"
    return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


STYLES = ("-", ":", "--", "-.")
"""Of the lines of each detector."""


def draw_wake(figures: Mapping[str, Any], path: Path) -> None:
    """Misses against false accepts per hour, one picture for each condition side by side.

    A phrase has one colour, a detector one kind of line; of many phrases the mean is drawn.
    """
    from matplotlib.figure import Figure

    conditions = figures["conditions"]
    many = len(figures["phrases"]) > MOST_LISTED
    colours = {phrase: f"C{number}" for number, phrase in enumerate(figures["phrases"])}
    picture = Figure(figsize=(6 * len(conditions) + 2.5, 5), layout="constrained")
    for number, (condition, found) in enumerate(conditions.items(), start=1):
        axes = picture.add_subplot(1, len(conditions), number)
        for style, (name, table) in zip(cycle(STYLES), found["detectors"].items(), strict=False):
            curves = {phrase: own["det"] for phrase, own in table["phrases"].items()}
            for phrase, curve in (
                {f"mean of {len(curves)} phrases": table["det"]} if many else curves
            ).items():
                points = [(max(rate, 0.05), 100 * missed) for rate, missed in curve]
                colour, label = colours.get(phrase, "C0"), f"{phrase}, {name}"
                axes.step(*zip(*points, strict=True), style, where="post", color=colour, label=label)
        axes.set(xscale="log", xlabel="false accepts per hour", ylabel="misses (%)", title=condition)
        axes.set(xlim=(0.05, MOST_RATE), ylim=(0, 100))
        axes.grid(visible=True, which="both", alpha=0.25)
    picture.legend(*picture.axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    picture.savefig(path, dpi=110)
