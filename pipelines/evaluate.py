"""Figures of keyword models, as Markdown to read and plain values for machines."""

from pathlib import Path
from typing import Any

from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_keyword import (
    LEVEL_NAMES,
    SNRS_DB,
    KeywordJudge,
    accuracy,
    by_group,
    confusions,
    event_accuracy,
    false_alarms,
    level_group,
    operating_points,
)
from auricle.pipelines.keyword_report import keyword_text
from auricle.pipelines.report import plain


def evaluate_keyword(path: Path, corpus: Corpus, split: str) -> tuple[str, dict[str, Any]]:
    """Judges a keyword model on words in one stream, on sentences, and on noise."""
    model = KeywordJudge(path, corpus, split)
    frame = model.spec.frame_samples
    heard = model.words()
    words, spaced = accuracy(heard, frame), accuracy(model.words(gap_s=0.3), frame)
    both = model.words(("speechcommands", "fsdd"))
    everything = accuracy(both, frame)
    reported = event_accuracy(heard, frame)
    noisy = {f"noise {snr_db:.0f} dB below": model.words(snr_db=snr_db) for snr_db in SNRS_DB}
    levels = by_group(heard, [level_group(level) for level in heard.levels_db], frame)
    sentences, hours = model.sentences()
    alarms = false_alarms(sentences, hours, frame)
    noise, noise_hours = model.noise()
    noise_alarms = false_alarms(noise, noise_hours, frame)
    figures = {
        "clips": words["clips"],
        "10 words + unknown + silence": words["accuracy_12"],
        "the same, 0.3 s of silence after each clip": spaced["accuracy_12"],
        **{f"the same, {name}": accuracy(part, frame)["accuracy_12"] for name, part in noisy.items()},
        "all 22 labels": words["accuracy_22"],
        "all 22 labels, with fsdd": everything["accuracy_22"],
        "keywords reported right": reported["keywords"],
        "others rightly not reported": reported["others"],
        "sentence hours": hours,
        "false alarms per hour of sentences": alarms,
        "noise hours": noise_hours,
        "false alarms per hour of noise": noise_alarms,
        "by threshold": [point._asdict() for point in operating_points(heard, alarms, frame)],
        "by source": by_group(both, both.sets, frame),
        "by level": {name: levels[name] for name in LEVEL_NAMES if name in levels},
        "by class": everything["by_class"],
        "confusions": confusions(everything["confusion"]),
        "confusion table": everything["confusion"].tolist(),
    }
    return keyword_text(path.stem, split, figures), {"keyword": plain(figures)}
