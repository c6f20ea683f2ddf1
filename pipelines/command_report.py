"""Figures of commands as Markdown and as a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auricle.pipelines.metrics import Interval
from auricle.pipelines.recorded import RECORDED
from auricle.pipelines.report import percent
from auricle.pipelines.spoken_commands import SPOKEN

MOST_MISTAKES = 10
"""Of slots, and of sentences in each condition, that a report lists; the JSON has all of them."""
STAND_IN = (
    "The commands are a stand-in: recorded sentences, each a template of its own in which up to six words "
    "are slots with twenty values. "
)
OWN = {
    RECORDED: "",
    SPOKEN: "Synthetic voices say sentences drawn from the grammar: they compare grammars, and words of one; "
    "people are heard otherwise. ",
}
"""What a report says of commands that are no split's."""


def command_text(figures: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    graph, is_own = figures["graph"], figures["split"] in OWN
    with_peer = any("pocketsphinx" in row for row in figures["rows"])
    header = [
        "condition",
        "intent and all slots right",
        "intent right",
        "any event",
        "delay p50 / p95",
        "cost",
    ]
    header += ["PocketSphinx: all right", "cost"] if with_peer else []
    lines = [header, ["---"] * len(header)]
    for row in figures["rows"]:
        delays = [row["delay_p50_s"], row["delay_p95_s"]]
        shown = " / ".join("-" if delay is None else f"{1000 * delay:.0f}" for delay in delays) + " ms"
        line = [row["condition"], *(_percent(row[key]) for key in ("all_right", "intent_right", "any_event"))]
        line += [shown, f"{100 * row['cost']:.1f} %"]
        if peer := row.get("pocketsphinx"):
            line += [_percent(peer["all_right"]), f"{100 * peer['cost']:.1f} %"]
        lines.append(line)
    noise = f"Noise is recorded noise{'' if is_own else ' of the same split'}; "
    return (
        f"Commands in a stream, {figures['split']}: {figures['rows'][0]['commands']} recordings of "
        f"{figures['words']:.1f} words and {figures['slots']:.1f} slots on average. "
        f"{OWN.get(figures['split'], STAND_IN)}"
        f"{noise if len(figures['rows']) > 1 else ''}95 % intervals. Options: "
        f"{' '.join(figures['options']) or 'none'}.\n\n"
        + "\n".join("| " + " | ".join(line) + " |" for line in lines)
        + f"\n\n{_mistakes(figures['rows'])}{_wrong(figures['rows']) if is_own else ''}"
        + _outside(figures["outside"])
        + f"The graph has {graph['states']} states, was compiled in {graph['compile_s']:.2f} s, and its "
        f"search takes {graph['frame_ms']:.3f} ms of processor time for each output of the model. The delay "
        "counts from the end of speech to the event; the cost is the processor time of the whole stream for "
        "each second of audio.\n"
    )


def _mistakes(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was most often heard instead of what was said, in all conditions together."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        for name, said, heard, count in row["mistakes"]:
            found[name, said, heard] += count
    if not found:
        return ""
    listed = [
        f"{name}: {said or 'nothing'} as {heard or 'nothing'} ({count})"
        for (name, said, heard), count in found.most_common(MOST_MISTAKES)
    ]
    return f"Slots that were most often heard wrongly where the intent was right: {', '.join(listed)}.\n\n"


def _wrong(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was said, and what was heard instead."""
    parts = []
    for row in rows:
        listed = [f'"{said}" as ' + (f'"{heard}"' if heard else "nothing") for said, heard in row["wrong"]]
        more = f", and {len(listed) - MOST_MISTAKES} more" if len(listed) > MOST_MISTAKES else ""
        if listed:
            parts.append(
                f"Not understood, {row['condition']}: {', '.join(listed[:MOST_MISTAKES])}{more}.\n\n"
            )
    return "".join(parts)


def _outside(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    rate = found["per_hour"]
    return (
        f"Speech outside the grammar, {found['hours']:.2f} h with its pauses: {found['events']} "
        f"false commands, {rate.value:.1f} [{rate.low:.1f}, {rate.high:.1f}] an hour.\n\n"
    )


def _percent(value: Interval) -> str:
    return f"{percent(value)} %"


def draw_commands(figures: Mapping[str, Any], path: Path) -> None:
    """Draws the share of commands that are right, by condition, with intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    series = {"Auricle": [row["all_right"] for row in figures["rows"]]}
    if all("pocketsphinx" in row for row in figures["rows"]):
        series["PocketSphinx"] = [row["pocketsphinx"]["all_right"] for row in figures["rows"]]
    for number, (name, values) in enumerate(series.items()):
        places = [place + 0.35 * number for place in range(len(values))]
        heights = [100 * value.value for value in values]
        errors = [
            [100 * (value.value - value.low) for value in values],
            [100 * (value.high - value.value) for value in values],
        ]
        axes.bar(places, heights, 0.33, yerr=errors, capsize=3, label=name)
    axes.set_xticks(range(len(figures["rows"])), [row["condition"] for row in figures["rows"]])
    axes.set_ylabel("intent and all slots right (%)")
    axes.set_ylim(0, 100)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
