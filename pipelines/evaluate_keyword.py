"""Keywords judged in streams of held-out speakers, state carried from the first word to the last.

Shape letters: B streams, N samples, J output frames, V labels, C classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.checkpoint import load_model
from auricle.models.frontend import LogMel
from auricle.pipelines.augment import REFERENCE_DB
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.decide import THRESHOLD, events, word_scores
from auricle.pipelines.dev import lay_out, posteriors, stream_features, to_twelve
from auricle.pipelines.keyword_data import WordPlanner
from auricle.pipelines.metrics import Interval, rate_per_hour, share_by_block
from auricle.pipelines.recipe import load_recipe
from auricle.pipelines.sounds import noise_level_db, read_clip, to_reference
from auricle.pipelines.streams import Piece, Placed
from auricle.pipelines.targets import Targets, active_level_db, hop_levels_db
from auricle.pipelines.vocabulary import LABELS, SILENCE_INDEX, UNKNOWN_INDEX

SEED = 40_000
NO_TARGETS: Targets = np.zeros(0, np.int16)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
LEVELS_DB = (-50, -40, -30, -20)
"""Where classes of loudness end, dB full scale."""
LEVEL_NAMES = ("below -50 dB", "-50 to -40 dB", "-40 to -30 dB", "-30 to -20 dB", "above -20 dB")
SNRS_DB = (20.0, 10.0, 5.0)


class Heard(NamedTuple):
    """One long stream of words and what the model made of it."""

    posterior: NDArray[np.float32]  # (1, J, V)
    placed: list[Placed]
    sets: tuple[str, ...] = ()
    """Where each word comes from."""
    levels_db: tuple[float, ...] = ()
    """How loud each was recorded, dB full scale."""
    speakers: tuple[str, ...] = ()
    """Who says each; () for somebody else every time."""

    def share(self, right: Any, of: Any = None) -> Interval:
        """How many words, or of those `of` marks, are right; words of one speaker are alike."""
        names = np.array(self.speakers or range(len(self.placed))).astype(str)
        kept = np.ones(len(names), bool) if of is None else np.asarray(of, bool)
        return share_by_block(np.asarray(right, bool)[kept], names[kept].tolist())


class Operating(NamedTuple):
    """What one threshold gives."""

    threshold: float
    right: Interval
    """Keywords reported right."""
    alarms: Interval
    """Keywords reported per hour of sentences without any."""


class KeywordJudge:
    """A model and the recordings it is judged on."""

    def __init__(self, path: Path, corpus: Corpus, split: str) -> None:
        """Loads the model and lists the words and sentences of `split`."""
        self.spec, self.network, self.hash = load_model(path)
        self.frontend = LogMel(self.spec.frontend)
        self.corpus, self.split = corpus, split
        self.planner = WordPlanner(corpus, load_recipe("keyword").keyword, split)

    def hear(self, samples: torch.Tensor) -> NDArray[np.float32]:
        """Posteriors `(B, J, V)` of whole streams `(B, N)`."""
        return posteriors(self.network, stream_features(self.frontend, samples), sigmoid=False)

    def words(
        self, sets: tuple[str, ...] = ("speechcommands",), gap_s: float = 0.0, snr_db: float | None = None
    ) -> Heard:
        """Lays all clips of the sets, shuffled, in one stream, as they were recorded.

        Args:
            sets: where the words come from.
            gap_s: digital silence after each clip.
            snr_db: recorded noise is added so far below the level of each clip's speech; None for no noise.
        """
        clips = [word for words in self.planner.by_label.values() for word in words if word.clip.set in sets]
        pieces, order, levels = [], np.random.default_rng(SEED).permutation(len(clips)), []
        gap = np.zeros(round(gap_s * SAMPLE_RATE), np.float32)
        rng = np.random.default_rng(SEED + 1)
        for index in order:
            samples = read_clip(self.corpus, clips[index].clip)
            levels.append(active_level_db(hop_levels_db(samples)))
            if snr_db is not None:
                noise = np.resize(self.planner.noise.recorded(rng, len(samples)), len(samples))
                samples = samples + to_reference(noise, REFERENCE_DB, levels[-1] - REFERENCE_DB - snr_db)
            pieces.append(Piece(np.concatenate([samples, gap]), NO_TARGETS, clips[index].label))
        samples_, placed = lay_out(pieces, 1)
        return Heard(
            self.hear(samples_),
            placed,
            tuple(clips[index].clip.set for index in order),
            tuple(levels),
            tuple(clips[index].clip.speaker_or_id for index in order),
        )

    def sentences(self) -> tuple[NDArray[np.float32], float]:
        """Posteriors of sentences without keywords, and how many hours they last."""
        pieces = [Piece(self.planner.speech(clip), NO_TARGETS) for clip in self.planner.sentences]
        samples, _ = lay_out(pieces, 16)
        hours = sum(clip.seconds for clip in self.planner.sentences) / 3600
        return self.hear(samples), hours

    def noise(self, seconds: float = 900) -> tuple[NDArray[np.float32], float]:
        """Posteriors of noise alone, half of it loud, and how many hours it lasts."""
        rng = np.random.default_rng(SEED)
        clips = self.planner.noise.clips
        pieces, length = [], 0.0
        for index in rng.permutation(len(clips)):
            audio = read_clip(self.corpus, clips[index], 0, 30 * SAMPLE_RATE)
            pieces.append(Piece(to_reference(audio, noise_level_db(audio), rng.uniform(-20, 6)), NO_TARGETS))
            length += len(audio) / SAMPLE_RATE
            if length > seconds:
                break
        samples, _ = lay_out(pieces, 8)
        return self.hear(samples), length / 3600


def accuracy(heard: Heard, frame_samples: int) -> dict[str, Any]:
    """Accuracy over silence, unknown and ten words, over all labels, by class, and confusions.

    The decision is the word with the highest posterior (smoothed as the daemon does) in the clip's time.
    """
    truth, found = word_scores(heard.posterior, heard.placed, frame_samples)
    truth12, found12 = to_twelve(truth), to_twelve(found)
    table = np.zeros((len(LABELS), len(LABELS)), int)
    np.add.at(table, (truth, found), 1)
    by_class = {
        LABELS[label]: heard.share(found == label, truth == label)
        for label in range(len(LABELS))
        if table[label].any()
    }
    return {
        "clips": len(truth),
        "accuracy_12": heard.share(truth12 == found12),
        "accuracy_22": heard.share(truth == found),
        "by_class": by_class,
        "confusion": table,
    }


def event_accuracy(heard: Heard, frame_samples: int, threshold: float = THRESHOLD) -> dict[str, Interval]:
    """The same stream judged by reported keywords alone, as a subscriber sees them.

    A clip of a keyword counts as right if it is reported within the clip or 0.2 s after, and no other one
    is; a clip of silence or another word if nothing is reported.
    """
    reported = events(heard.posterior[0], frame_samples, threshold)
    times = np.array([frame * frame_samples for frame, _, _ in reported])
    labels = np.array([label for _, label, _ in reported])
    kinds, right = [], []
    taken = np.zeros(len(times), bool)
    for place in heard.placed:
        here = (times >= place.start_sample) & (times < place.end_sample + 3200) & ~taken
        own = labels[here]
        kind = "others" if place.note in (SILENCE_INDEX, UNKNOWN_INDEX) else "keywords"
        kinds.append(kind)
        inside = here & (times < place.end_sample)
        if kind == "keywords":
            right.append(bool((own == place.note).any() and not (labels[inside] != place.note).any()))
            taken |= here & (labels == place.note)
        else:
            right.append(not inside.any())
        taken |= inside
    return {kind: heard.share(right, np.array(kinds) == kind) for kind in ("keywords", "others")}


def false_alarms(posterior: NDArray[np.float32], hours: float, frame_samples: int) -> dict[float, Interval]:
    """Keywords reported per hour where there are none, for several thresholds."""
    return {
        threshold: rate_per_hour(sum(len(events(row, frame_samples, threshold)) for row in posterior), hours)
        for threshold in THRESHOLDS
    }


def operating_points(heard: Heard, alarms: Mapping[float, Interval], frame_samples: int) -> list[Operating]:
    """Keywords reported right against false alarms, threshold by threshold: the curve of a detector."""
    return [
        Operating(threshold, event_accuracy(heard, frame_samples, threshold)["keywords"], rate)
        for threshold, rate in alarms.items()
    ]


def by_group(heard: Heard, groups: Sequence[str], frame_samples: int) -> dict[str, Interval]:
    """Share of right labels (of all 22) in each group of clips.

    Args:
        heard: the stream.
        groups: the name of each clip's group.
        frame_samples: samples for each output frame.
    """
    truth, found = word_scores(heard.posterior, heard.placed, frame_samples)
    names = np.array(groups)
    return {name: heard.share(truth == found, names == name) for name in sorted(set(groups))}


def level_group(level_db: float) -> str:
    """Names a class of loudness."""
    return LEVEL_NAMES[int(np.searchsorted(LEVELS_DB, level_db, side="right"))]


def confusions(table: NDArray[np.int_], count: int = 12) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: (said, heard, how often)."""
    wrong = table * (1 - np.eye(len(table), dtype=int))
    order = np.argsort(-wrong, axis=None)[:count]
    pairs = [np.unravel_index(index, table.shape) for index in order]
    return [
        (LABELS[said], LABELS[heard], int(wrong[said, heard])) for said, heard in pairs if wrong[said, heard]
    ]
