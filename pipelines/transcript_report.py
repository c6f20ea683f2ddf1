"""Figures of transcripts as Markdown and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auricle.pipelines.metrics import Interval
from auricle.pipelines.report import markdown_table, percent


def transcript_text(figures: Mapping[str, Any]) -> str:
    """Writes the figures for people."""
    beside = any("pocketsphinx_wer" in row for row in figures["rows"])
    header = ["set", "condition", "words", "word errors % [95 %]"]
    header += ["PocketSphinx"] if beside else []
    header += [
        "partial words changed",
        "stable taken back, by partial / by final ones",
        "final after p50 / p95",
        "cost",
    ]
    rows = []
    for row in figures["rows"]:
        line = [row["set"], row["condition"], str(row["words"]), percent(row["wer"])]
        line += [percent(row["pocketsphinx_wer"])] if beside else []
        delays = [row["delay_p50_s"], row["delay_p95_s"]]
        late = "never" if None in delays else " / ".join(f"{delay:.2f} s" for delay in delays)
        taken_back = f"{row['stable_retracted']} / {row['stable_revised']}"
        rows.append([*line, f"{row['changed_share']:.0%}", taken_back, late, f"{row['cost']:.1%}"])
    settings = " ".join(figures["options"]) or "the default settings"
    return (
        f"Transcripts of recordings ({figures['split']}) in a stream with {settings}; intervals by the "
        "spread between speakers. Cost: processor time of the whole pipeline per second of audio.\n\n"
        + markdown_table(header, rows)
    )


def draw_transcripts(figures: Mapping[str, Any], path: Path) -> None:
    """Draws the word error rates of every set and condition."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = figures["rows"]
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for number, (key, name) in enumerate((("wer", "Auricle"), ("pocketsphinx_wer", "PocketSphinx"))):
        own = [(place, Interval(*row[key])) for place, row in enumerate(rows) if key in row]
        if own:
            centres = [100 * rate.value for _, rate in own]
            spread = [
                [100 * (rate.value - rate.low) for _, rate in own],
                [100 * (rate.high - rate.value) for _, rate in own],
            ]
            places = [place + 0.4 * number - 0.2 for place, _ in own]
            axes.bar(places, centres, 0.38, yerr=spread, capsize=3, label=name)
    axes.set_xticks(range(len(rows)), [f"{row['set']}\n{row['condition']}" for row in rows], fontsize=7)
    axes.set_ylabel("word errors (%)")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
