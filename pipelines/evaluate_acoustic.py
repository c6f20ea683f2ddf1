"""Phone error rates of an acoustic model, set by set, clean and in real noise.

The model hears each recording as a stream of its own, followed by the silence that its delay wants. The
weights of the search are always chosen on dev, whatever split is reported.

Shape letters: B utterances, J output frames, V labels.
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.models.checkpoint import ModelSpec, load_model
from auricle.models.frontend import LogMel
from auricle.models.lexicon import Lexicon
from auricle.pipelines.acoustic_data import AcousticData, Utterance, list_utterances
from auricle.pipelines.alignment import utterance_log_probs
from auricle.pipelines.bigram import Bigram, count_bigram
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.decode_phones import SearchSettings, edit_distance, greedy, search
from auricle.pipelines.metrics import Interval, bootstrap
from auricle.pipelines.sounds import NoisePlanner, noise_clips, read_clip, speech_at_reference
from auricle.pipelines.streams import EndlessStream
from auricle.pipelines.targets import HOP_SAMPLES, Floats

SNR_DB = 10.0
SEED = 50_000
BATCH = 24
TUNED_EVERY = 4
"""The search is tuned on every so many-th dev utterance."""
BLANK_SHIFTS = (-2.0, -1.0, -0.5, 0.0)
BIGRAM_WEIGHTS = (0.0, 0.3, 0.6, 1.0)
PHONE_COSTS = (-0.5, 0.0, 0.5)


class Judged(NamedTuple):
    """What was found in one utterance."""

    utterance: Utterance
    log_probs: Tensor  # (1, J, V)
    frame_counts: Tensor  # (1,)


class AcousticJudge:
    """A model and what it is judged on."""

    def __init__(self, path: Path, corpus: Corpus, sets: Sequence[str] = AcousticData().dev_sets) -> None:
        """Reads the model, and counts the phone bigram of the training texts."""
        self.spec, self.network, _ = load_model(path)
        self.frontend, self.corpus, self.sets = LogMel(self.spec.frontend), corpus, sets
        self.lexicon = Lexicon.of_folder(corpus.data)
        self.bigram = self._bigram()

    def _bigram(self) -> Bigram:
        clips = [clip for name in self.sets for clip in self.corpus.clips(name, "train")]
        return count_bigram(self.lexicon.labels(clip.text) for clip in clips if clip.text)

    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of a split, shortest first."""
        found = list_utterances(
            self.corpus,
            self.sets,
            split,
            data=AcousticData(speed_high=1.0),
            lexicon=self.lexicon,
            frame_s=self.spec.frame_samples / SAMPLE_RATE,
        )
        return sorted(found, key=lambda utterance: utterance.clip.seconds)

    def hear(self, utterances: Sequence[Utterance], noise: NoisePlanner | None = None) -> list[Judged]:
        """Runs utterances through the model, with noise at 10 dB if a planner for it is given."""
        judged = []
        for start in range(0, len(utterances), BATCH):
            batch = utterances[start : start + BATCH]
            recordings = [speech_at_reference(read_clip(self.corpus, member.clip)) for member in batch]
            if noise is not None:
                recordings = [
                    add_noise(samples, noise, (SEED, start + row)) for row, samples in enumerate(recordings)
                ]
            log_probs, counts = utterance_log_probs(self.spec, self.network, self.frontend, recordings)
            judged += [
                Judged(member, log_probs[row : row + 1, : int(counts[row])], counts[row : row + 1])
                for row, member in enumerate(batch)
            ]
        return judged

    def tune(self, judged: Sequence[Judged]) -> SearchSettings:
        """The weights with the fewest errors on some dev utterances."""
        grid = [SearchSettings(*values) for values in product(BLANK_SHIFTS, BIGRAM_WEIGHTS, PHONE_COSTS)]
        some = judged[::TUNED_EVERY]
        return min(grid, key=lambda settings: sum(self.errors(some, self.searcher(settings))))

    def searcher(self, settings: SearchSettings) -> Callable[[Tensor, Tensor], list[list[int]]]:
        """The search with given weights."""
        return lambda log_probs, counts: search(log_probs, counts, self.bigram, settings)

    @staticmethod
    def errors(
        judged: Sequence[Judged], decode: Callable[[Tensor, Tensor], list[list[int]]]
    ) -> NDArray[np.int64]:
        """Wrong phones of each utterance."""
        counts = []
        for start in range(0, len(judged), BATCH):
            batch = judged[start : start + BATCH]
            log_probs, frame_counts = pad(batch)
            found = decode(log_probs, frame_counts)
            counts += [
                edit_distance(phones, one.utterance.labels) for phones, one in zip(found, batch, strict=True)
            ]
        return np.array(counts)


def pad(judged: Sequence[Judged]) -> tuple[Tensor, Tensor]:
    """Puts utterances into one batch again."""
    counts = [int(one.frame_counts) for one in judged]
    batch = judged[0].log_probs.new_zeros(len(judged), max(counts), judged[0].log_probs.shape[2])
    for row, one in enumerate(judged):
        batch[row, : counts[row]] = one.log_probs[0]
    return batch, torch.tensor(counts)


def add_noise(samples: Floats, noise: NoisePlanner, seed: tuple[int, ...]) -> Floats:
    """Adds recorded noise, 10 dB below speech at the reference level."""
    hops = -(-len(samples) // HOP_SAMPLES)
    heard = EndlessStream(noise.recorded_piece, seed).take(hops)[0][: len(samples)]
    return samples + heard * np.float32(10 ** (-SNR_DB / 20))


def error_rate(judged: Sequence[Judged], errors: NDArray[np.int64]) -> Interval:
    """Phone error rate, its interval by drawing speakers (clips, where speakers are not known) anew."""
    names = [one.utterance.clip.speaker or one.utterance.clip.id for one in judged]
    blocks = np.unique(names, return_inverse=True)[1]
    wrong = np.bincount(blocks, errors)
    spoken = np.bincount(blocks, [len(one.utterance.labels) for one in judged])
    return bootstrap(lambda rows: float(wrong[rows].sum() / spoken[rows].sum()), len(wrong))


class Row(NamedTuple):
    """Figures of one set in one condition."""

    set: str
    condition: str
    utterances: int
    phones: int
    greedy: Interval
    search: Interval


def judge(path: Path, corpus: Corpus, split: str) -> tuple[list[Row], SearchSettings, ModelSpec]:
    """Phone error rates of a model on dev or eval, clean and in noise of the same split."""
    model = AcousticJudge(path, corpus)
    settings = model.tune(model.hear(model.utterances("dev")))
    utterances = model.utterances(split)
    sounds = noise_clips(corpus, AcousticData().noise.sets, split)
    conditions = {"clean": None, f"{SNR_DB:.0f} dB": NoisePlanner(corpus, sounds, (), AcousticData().noise)}
    rows = []
    for condition, noise in conditions.items():
        judged = model.hear(utterances, noise)
        most_likely, searched = model.errors(judged, greedy), model.errors(judged, model.searcher(settings))
        for name in model.sets:
            own = [number for number, one in enumerate(judged) if one.utterance.clip.set == name]
            members = [judged[number] for number in own]
            phones = sum(len(one.utterance.labels) for one in members)
            rates = (error_rate(members, errors[own]) for errors in (most_likely, searched))
            rows.append(Row(name, condition, len(members), phones, *rates))
    return rows, settings, model.spec
