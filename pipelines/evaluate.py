"""Figures for model files, as Markdown to read and plain values for machines."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from auricle.configs.errors import ModelError
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_acoustic import judge as judge_phones
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
from auricle.pipelines.evaluate_vad import (
    Detector,
    auricle_detector,
    judge,
    make_streams,
    silero_detector,
    speech_share,
    webrtc_detector,
)
from auricle.pipelines.keyword_report import keyword_text, markdown_table
from auricle.pipelines.metrics import Interval

logger = logging.getLogger(__name__)

REFERENCES: dict[str, Callable[[], Detector]] = {
    "Silero": lambda: silero_detector(0),
    "Silero, one chunk later": lambda: silero_detector(1),
    "WebRTC": webrtc_detector,
}


def evaluate_vad(paths: Sequence[Path], corpus: Corpus, split: str) -> tuple[str, dict[str, Any]]:
    """Judges voice-activity models, beside Silero and WebRTC where their packages are installed."""
    streams = make_streams(corpus, split)
    detectors = {path.stem: auricle_detector(path) for path in paths}
    for name, make in REFERENCES.items():
        try:
            detectors[name] = make()
        except (ImportError, ModelError) as error:
            logger.warning("%s left out: %s", name, error)
    figures = judge(streams, detectors)
    hours, share = speech_share(streams)
    columns = list(next(iter(figures.values())))
    rows = [[name, *(str(values[column]) for column in columns)] for name, values in figures.items()]
    text = (
        f"ROC-AUC on 30 ms frames, {split} speakers in {split} noise, {hours:.2f} h of frames for each "
        f"SNR, {share:.0%} of them speech; 95 % intervals by drawing streams anew.\n\n"
        + markdown_table(["detector", *columns], rows)
    )
    return text, {"auc": _plain(figures), "hours": hours, "speech_share": share}


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
    return keyword_text(path.stem, split, figures), {"keyword": _plain(figures)}


def evaluate_acoustic(path: Path, corpus: Corpus, split: str) -> tuple[str, dict[str, Any]]:
    """Phone error rates of an acoustic model, set by set, clean and in noise."""
    rows, settings, spec = judge_phones(path, corpus, split)
    table = [
        [*map(str, (row.set, row.condition, row.utterances, row.phones)), *map(_percent, row[-2:])]
        for row in rows
    ]
    header = ["set", "condition", "utterances", "phones", "most likely labels", "search with phone bigram"]
    text = (
        f"Phone error rate of {path.stem} on {split}, in %, 95 % intervals by drawing speakers (where they "
        f"are not known, clips) anew. One output every {spec.frame_samples / 16:.0f} ms, "
        f"{spec.lookahead_frames} outputs late. Search, tuned on dev: blank {settings.blank_shift:+.1f}, "
        f"bigram x {settings.bigram_weight:.1f}, phone cost {settings.phone_cost:.1f}.\n\n"
        + markdown_table(header, table)
    )
    figures = [{**row._asdict(), "greedy": _plain(row.greedy), "search": _plain(row.search)} for row in rows]
    return text, {"phone_error_rate": figures, "search": settings._asdict()}


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _plain(value: Any) -> Any:
    """Turns intervals and keys into what JSON can hold."""
    if isinstance(value, Interval):
        return {"value": value.value, "low": value.low, "high": value.high}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
