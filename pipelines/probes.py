"""Small, fixed tests of a model for comparisons: clean, in noise, and on what it was trained on.

They stand in for the dev streams of the full training runs, which take longer to hear than a short budget.

Shape letters: B streams, N samples, T feature frames, J output frames.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from auricle.models.frontend import LogMel
from auricle.models.network import Network
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.decide import word_scores
from auricle.pipelines.dev import (
    CHUNK_FRAMES,
    DEV_SEED,
    DIGIT_START,
    STREAMS,
    lay_out,
    posteriors,
    stream_features,
)
from auricle.pipelines.keyword_data import WordClip, WordPlanner
from auricle.pipelines.metrics import bootstrap, roc_auc
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.streams import Piece, Planner, StreamBatcher
from auricle.pipelines.targets import HOP_SAMPLES, IGNORE
from auricle.pipelines.tasks import KeywordTask, Task, VadTask
from auricle.pipelines.vad_data import VadPlanner
from auricle.pipelines.vocabulary import LABELS

CLEAN = math.inf
SNRS_DB: Mapping[str, float] = {"clean": CLEAN, "10 dB": 10.0, "0 dB": 0.0}
CLEAN_ONLY: Mapping[str, float] = {"clean": CLEAN}
Figures = dict[str, float]


class PartialCorpus(Corpus):
    """A corpus of which only a part of the training speech is known; noise, and all of dev, stay whole."""

    def __init__(self, data: Path, work: Path, part: float, whole_sets: Sequence[str]) -> None:
        """Opens a data folder.

        Args:
            data: folder of the sets.
            work: folder for decoded samples.
            part: of the training clips of each word, or of each set of sentences, 0 to 1.
            whole_sets: sets that are kept whole, such as noise.
        """
        super().__init__(data, work)
        self.part, self.whole_sets = part, frozenset(whole_sets)

    def clips(self, name: str, split: str) -> list[Clip]:
        """Reads a manifest; of `train` the first speakers in a fixed random order, at least one clip."""
        clips = super().clips(name, split)
        if split != "train" or name in self.whole_sets or self.part >= 1.0:
            return clips
        groups: dict[str, list[Clip]] = {}
        for clip in clips:
            groups.setdefault(clip.label, []).append(clip)
        kept: set[str] = set()
        for group in groups.values():
            order = sorted(group, key=_speakers_in_random_order)
            kept |= {clip.id for clip in order[: math.ceil(self.part * len(group))]}
        return [clip for clip in clips if clip.id in kept]


def _speakers_in_random_order(clip: Clip) -> tuple[int, str]:
    return zlib.crc32((clip.speaker or clip.id).encode()), clip.id


class Probe(Protocol):
    """One fixed test."""

    def judge(self, network: Network) -> dict[str, tuple[float, float]]:
        """For each condition the figure of merit (0 to 1, higher is better) and its standard error."""


def add_noise(samples: Tensor, noise: Planner, snr_db: float) -> Tensor:
    """Adds noise at the reference level to speech `(B, N)`; the same noise at each call."""
    if snr_db == CLEAN:
        return samples
    hops = samples.shape[1] // HOP_SAMPLES
    sound = StreamBatcher(noise, streams=len(samples), hops=hops, seed=DEV_SEED + 1).next().samples
    return samples + sound * 10 ** (-snr_db / 20)


class WordProbe:
    """Words one after another: the share that is recognised."""

    def __init__(
        self,
        planner: WordPlanner,
        words: Sequence[WordClip],
        noise: Planner,
        *,
        recipe: Recipe,
        frontend: LogMel,
        snrs_db: Mapping[str, float] = SNRS_DB,
    ) -> None:
        """Lays the words out and computes their features once."""
        order = np.random.default_rng(DEV_SEED).permutation(len(words))
        empty = np.zeros(0, np.int16)
        pieces = [Piece(planner.cut(words[i])[0], empty, note=words[i].label) for i in order]
        samples, self.placed = lay_out(pieces, STREAMS)
        self.frame_samples = recipe.network.stride_frames * HOP_SAMPLES
        self.features = {
            name: stream_features(frontend, add_noise(samples, noise, snr_db))
            for name, snr_db in snrs_db.items()
        }

    def judge(self, network: Network) -> dict[str, tuple[float, float]]:
        """Accuracy, with its binomial error, for each condition."""
        figures = {}
        for name, features in self.features.items():
            posterior = posteriors(network, features, sigmoid=False)
            truth, found = word_scores(posterior, self.placed, self.frame_samples)
            share = float((truth == found).mean())
            # Add-one smoothing: no error is not certainty.
            smooth = (share * len(truth) + 1) / (len(truth) + 2)
            figures[name] = share, math.sqrt(smooth * (1 - smooth) / len(truth))
        return figures


class SpeechProbe:
    """Streams of speech, pauses and sounds: the area under the ROC curve of speech."""

    def __init__(
        self,
        planner: VadPlanner,
        seconds: float,
        noise: Planner,
        *,
        recipe: Recipe,
        frontend: LogMel,
        snrs_db: Mapping[str, float] = SNRS_DB,
    ) -> None:
        """Lays the streams out and computes their features once."""
        self.stride = recipe.network.stride_frames
        hops = math.ceil(seconds * 100 / CHUNK_FRAMES) * CHUNK_FRAMES
        segment = StreamBatcher(
            planner,
            streams=STREAMS,
            hops=hops,
            seed=DEV_SEED,
            delay_hops=recipe.lookahead_frames * self.stride,
        ).next()
        self.targets = segment.targets[:, self.stride - 1 :: self.stride].numpy()
        self.features = {
            name: stream_features(frontend, add_noise(segment.samples, noise, snr_db))
            for name, snr_db in snrs_db.items()
        }

    def judge(self, network: Network) -> dict[str, tuple[float, float]]:
        """ROC-AUC, with its error by drawing whole streams anew, for each condition."""
        figures = {}
        for name, features in self.features.items():
            posterior = posteriors(network, features, sigmoid=True)[..., 0]

            def auc(rows: np.ndarray, posterior: np.ndarray = posterior) -> float:
                known = self.targets[rows] != IGNORE
                return roc_auc(posterior[rows][known], self.targets[rows][known] == 1)

            interval = bootstrap(auc, len(posterior), draws=100)
            figures[name] = interval.value, (interval.high - interval.low) / (2 * 1.96)
        return figures


def judge_all(probes: Mapping[str, Probe], network: Network) -> Figures:
    """All figures by name: `clean`, `10 dB`, `0 dB`, `train clean`, `matched clean`; errors as `… error`."""
    figures: Figures = {}
    for prefix, probe in probes.items():
        for name, (value, error) in probe.judge(network).items():
            figures[f"{prefix}{name}"], figures[f"{prefix}{name} error"] = value, error
    return {"score": figures["clean"], **figures}


class ComparedKeywords(KeywordTask):
    """The keyword task, judged by probes."""

    def __init__(self, corpus: Corpus, recipe: Recipe, frontend: LogMel, size: int = 40) -> None:
        """Prepares training streams and probes of up to `size` words of each kind."""
        train, dev = (WordPlanner(corpus, recipe.keyword, split) for split in ("train", "dev"))
        self.recipe, self.frontend, self.data = recipe, frontend, recipe.keyword
        self.planner, self.noise, self.clips = train, train.noise, train.clips
        if not recipe.keyword.digit_part:  # what is not taught is not asked
            for label in range(DIGIT_START, len(LABELS)):
                dev.by_label[label] = []
        words = [word for same in dev.by_label.values() for word in draw_words(same, size)]
        learnt, matched = match_words(train, dev, recipe.keyword.dev_words, size)
        probe = partial(WordProbe, noise=dev.noise, recipe=recipe, frontend=frontend)
        self.probes: dict[str, Probe] = {
            "": probe(dev, words),
            "train ": probe(train, learnt, snrs_db=CLEAN_ONLY),
            "matched ": probe(dev, matched, snrs_db=CLEAN_ONLY),
        }
        self.is_judged = True

    def evaluate(self, network: Network) -> Figures:
        """Accuracy under each condition; nothing while only speed is measured."""
        return judge_all(self.probes, network) if self.is_judged else {"score": 0.0}


class ComparedVad(VadTask):
    """The voice-activity task, judged by probes."""

    def __init__(self, corpus: Corpus, recipe: Recipe, frontend: LogMel, size: int = 40) -> None:
        """Prepares training streams and probes of about `size` seconds a stream."""
        train, dev = (VadPlanner(corpus, recipe.vad, split) for split in ("train", "dev"))
        self.recipe, self.frontend = recipe, frontend
        self.planner, self.noise, self.clips = train, train.noise, train.clips
        same_sets = replace(recipe.vad, speech=dict.fromkeys(recipe.vad.dev_speech, 1.0))
        learnt = VadPlanner(corpus, same_sets, "train")
        probe = partial(SpeechProbe, seconds=size, noise=dev.noise, recipe=recipe, frontend=frontend)
        self.probes: dict[str, Probe] = {
            "": probe(dev),
            "train ": probe(learnt, snrs_db=CLEAN_ONLY),
            "matched ": probe(dev, snrs_db=CLEAN_ONLY),
        }
        self.is_judged = True

    def evaluate(self, network: Network) -> Figures:
        """ROC-AUC under each condition; nothing while only speed is measured."""
        return judge_all(self.probes, network) if self.is_judged else {"score": 0.0}


COMPARED: dict[str, type[ComparedKeywords] | type[ComparedVad]] = {
    "keyword": ComparedKeywords,
    "vad": ComparedVad,
}
"""The tasks that can be compared on."""


def draw_words(words: Sequence[WordClip], most: int) -> list[WordClip]:
    """Draws up to so many words, always the same."""
    order = np.random.default_rng(DEV_SEED).permutation(len(words))
    return [words[index] for index in order[:most]]


def match_words(
    train: WordPlanner, dev: WordPlanner, sets: Sequence[str], most: int
) -> tuple[list[WordClip], list[WordClip]]:
    """Draws words of `train` and of `dev` with equally many of each word from each set, so that only who
    speaks differs."""
    learnt, matched = [], []
    for label in train.by_label:
        for name in sets:
            one, other = (
                [word for word in planner.by_label[label] if word.clip.set == name]
                for planner in (train, dev)
            )
            count = min(len(one), len(other), most)
            learnt += draw_words(one, count)
            matched += draw_words(other, count)
    return learnt, matched


def compared_task(corpus: Corpus, recipe: Recipe, frontend: LogMel, size: int) -> Task:
    """Makes the task of a recipe, judged by probes."""
    with torch.no_grad():
        return COMPARED[recipe.task](corpus, recipe, frontend, size)
