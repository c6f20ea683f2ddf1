"""What was found of wake phrases, to read and to look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def wake_text(figures: Mapping[str, Any]) -> str:
    """Tables in Markdown."""
    lines = [
        f"# Wake phrases, {figures['model']} on {figures['split']}\n",
        f"{figures['hours']:.2f} h of streams; false accepts are counted in all sets but those of "
        "wake phrases. Misses at a threshold set on these streams themselves so that there are at most so "
        "many false accepts (0.1 an hour is none at all in less than ten hours); 95 % intervals by Wilson, "
        "for the means by drawing recordings anew.\n",
    ]
    for condition, found in figures["conditions"].items():
        lines.append(f"## {condition}\n")
        rates = list(next(iter(found["detectors"].values()))["mean"])
        header = ["phrase", "recordings"]
        header += [f"{name}, {rate} / h" for name in found["detectors"] for rate in rates]
        lines += ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
        for phrase in figures["phrases"]:
            tables = [table["phrases"][phrase] for table in found["detectors"].values()]
            cells = [percent(table["misses"][rate]) for table in tables for rate in rates]
            lines.append("| " + " | ".join([phrase, str(tables[0]["recordings"]), *cells]) + " |")
        means = [percent(table["mean"][rate]) for table in found["detectors"].values() for rate in rates]
        lines.append("| " + " | ".join(["**mean**", "", *means]) + " |\n")
        lines.append(_promise(found["promise"]))
        if "fitted" in found:
            lines.append(f"With the verifiers: {_promise(found['fitted'])}")
    lines.append(
        f"The search takes {1000 * figures['cost']:.2f} ms of CPU time for a second of audio, all "
        f"{len(figures['phrases'])} phrases together; the acoustic model comes on top.\n"
    )
    return "\n".join(lines)


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


def percent(value: Mapping[str, float]) -> str:
    """A share and its interval in per cent."""
    return f"{100 * value['value']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def draw_wake(figures: Mapping[str, Any], path: Path) -> None:
    """Misses against false accepts per hour, one picture for each condition side by side."""
    from matplotlib.figure import Figure

    conditions = figures["conditions"]
    picture = Figure(figsize=(6.5 * len(conditions), 5), layout="constrained")
    for number, (condition, found) in enumerate(conditions.items(), start=1):
        axes = picture.add_subplot(1, len(conditions), number)
        for name, table in found["detectors"].items():
            for phrase, own in table["phrases"].items():
                points = [(max(rate, 0.05), 100 * missed) for rate, missed in own["det"]]
                style = "-" if name == "Auricle" else ":"
                axes.step(*zip(*points, strict=True), style, where="post", label=f"{phrase}, {name}")
        axes.set(xscale="log", xlabel="false accepts per hour", ylabel="misses (%)", title=condition)
        axes.set(xlim=(0.05, 100), ylim=(0, 100))
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend(fontsize=7)
    picture.savefig(path, dpi=110)
