"""The figures of voice-activity models, beside other detectors where they are installed."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from auricle.configs.errors import ModelError
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_vad import (
    SNRS_DB,
    Detector,
    all_snrs,
    auricle_detector,
    curves,
    judge,
    judge_groups,
    listen,
    make_streams,
    silero_detector,
    speech_share,
    webrtc_detector,
)
from auricle.pipelines.report import markdown_table, plain

logger = logging.getLogger(__name__)

REFERENCES: dict[str, Callable[[], Detector]] = {
    "Silero": lambda: silero_detector(0),
    "Silero, one chunk later": lambda: silero_detector(1),
    "WebRTC": webrtc_detector,
}


def evaluate_vad(
    paths: Sequence[Path], corpus: Corpus, split: str, snrs_db: Sequence[float] = ()
) -> tuple[str, dict[str, Any]]:
    """Judges voice-activity models at some SNRs (0, 5 and 10 dB if none are given), by source and group.

    Returns:
        The tables as Markdown, and the figures.
    """
    streams = make_streams(corpus, split)
    detectors = {path.stem: auricle_detector(path) for path in paths}
    for name, make in REFERENCES.items():
        try:
            detectors[name] = make()
        except (ImportError, ModelError) as error:
            logger.warning("%s left out: %s", name, error)
    scores = listen(streams, detectors, snrs_db or SNRS_DB)
    figures, groups = judge(streams, scores), judge_groups(streams, scores)
    hours, share = speech_share(streams)
    columns = list(next(iter(figures.values())))
    rows = [[name, *(str(values[column]) for column in columns)] for name, values in figures.items()]
    by_group = [
        [group.set, group.facet, group.name or "-", *(str(value) for value in values.values())]
        for group, values in groups.items()
    ]
    text = (
        f"ROC-AUC on 30 ms frames, {split} speakers in {split} noise, {hours:.2f} h of frames for each "
        f"SNR, {share:.0%} of them speech; 95 % intervals by drawing streams anew.\n\n"
        + markdown_table(["detector", *columns], rows)
        + f"\nBy source and by who speaks, {all_snrs(next(iter(scores.values())))}: their speech against all "
        "frames without speech.\n\n" + markdown_table(["set", "facet", "group", *detectors], by_group)
    )
    return text, {
        "auc": plain(figures),
        "auc_by_group": [{**group._asdict(), "auc": plain(values)} for group, values in groups.items()],
        "curves": curves(streams, scores),
        "hours": hours,
        "speech_share": share,
    }
