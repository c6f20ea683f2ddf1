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

from auricle.models.checkpoint import ModelSpec
from auricle.models.frontend import LogMel
from auricle.models.lexicon import Lexicon, normalise
from auricle.models.phones import INDEX
from auricle.models.second_pass import load_judged
from auricle.pipelines.acoustic_data import AcousticData, Utterance, list_utterances
from auricle.pipelines.alignment import utterance_log_probs
from auricle.pipelines.bigram import Bigram, count_bigram
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.decode_phones import SearchSettings, edit_distance, greedy, nearest_distance, search
from auricle.pipelines.groups import Group, members
from auricle.pipelines.metrics import Interval, ratio, sums_by_block
from auricle.pipelines.sounds import NoisePlanner, read_clip, speech_at_reference, split_noise
from auricle.pipelines.streams import EndlessStream
from auricle.pipelines.targets import HOP_SAMPLES, Floats

SNR_DB = 10.0
SEED = 50_000
BATCH = 24
TUNED_EVERY = 4
"""The search is tuned on every so many-th dev utterance."""
LEAST_UTTERANCES, LEAST_SPEAKERS = 10, 3
"""Groups with fewer get no figure."""
BLANK_SHIFTS = (-2.0, -1.0, -0.5, 0.0)
BIGRAM_WEIGHTS = (0.0, 0.3, 0.6, 1.0)
PHONE_COSTS = (-0.5, 0.0, 0.5)


Decoder = Callable[[Tensor, Tensor], list[list[int]]]
"""Log-probabilities `(B, J, V)` and frame counts `(B,)` to phones."""


class Judged(NamedTuple):
    """What was found in one utterance."""

    utterance: Utterance
    log_probs: Tensor  # (1, J, V)
    frame_counts: Tensor  # (1,)


class AcousticJudge:
    """A model and what it is judged on."""

    def __init__(self, path: Path, corpus: Corpus, sets: Sequence[str] = AcousticData().dev_sets) -> None:
        """Reads the model, or a second pass and its model, and counts the phone bigram of training texts."""
        self.spec, self.network, _ = load_judged(path)
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

    def hear(
        self, utterances: Sequence[Utterance], noise: NoisePlanner | None = None, snr_db: float = SNR_DB
    ) -> list[Judged]:
        """Runs utterances through the model, in noise if a planner for it is given."""
        judged = []
        for start in range(0, len(utterances), BATCH):
            batch = utterances[start : start + BATCH]
            recordings = [speech_at_reference(read_clip(self.corpus, member.clip)) for member in batch]
            if noise is not None:
                recordings = [
                    add_noise(samples, noise, snr_db, (SEED, start + row))
                    for row, samples in enumerate(recordings)
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
        return min(grid, key=lambda one: sum(errors(some, decode(some, self.searcher(one)))))

    def searcher(self, settings: SearchSettings) -> Decoder:
        """The search with given weights."""
        return lambda log_probs, counts: search(log_probs, counts, self.bigram, settings)

    def nearest_errors(self, judged: Sequence[Judged], found: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Wrong phones of each utterance, each word in its nearest pronunciation."""
        return np.array(
            [
                nearest_distance(phones, self._ways(one.utterance))
                for phones, one in zip(found, judged, strict=True)
            ]
        )

    def _ways(self, utterance: Utterance) -> list[list[list[int]]]:
        """The pronunciations of each word."""
        words = normalise(" ".join(utterance.clip.words))
        return [[[INDEX[phone] for phone in way] for way in self.lexicon.spoken(word)] for word in words]


def decode(judged: Sequence[Judged], decoder: Decoder) -> list[list[int]]:
    """The phones found in each utterance."""
    found: list[list[int]] = []
    for start in range(0, len(judged), BATCH):
        found += decoder(*pad(judged[start : start + BATCH]))
    return found


def errors(judged: Sequence[Judged], found: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Wrong phones of each utterance, each word in its first pronunciation."""
    return np.array(
        [edit_distance(phones, one.utterance.labels) for phones, one in zip(found, judged, strict=True)]
    )


def pad(judged: Sequence[Judged]) -> tuple[Tensor, Tensor]:
    """Puts utterances into one batch again."""
    counts = [int(one.frame_counts) for one in judged]
    batch = judged[0].log_probs.new_zeros(len(judged), max(counts), judged[0].log_probs.shape[2])
    for row, one in enumerate(judged):
        batch[row, : counts[row]] = one.log_probs[0]
    return batch, torch.tensor(counts)


def add_noise(samples: Floats, noise: NoisePlanner, snr_db: float, seed: tuple[int, ...]) -> Floats:
    """Adds recorded noise, so far below speech at the reference level."""
    hops = -(-len(samples) // HOP_SAMPLES)
    heard = EndlessStream(noise.recorded_piece, seed).take(hops)[0][: len(samples)]
    return samples + heard * np.float32(10 ** (-snr_db / 20))


def error_rate(judged: Sequence[Judged], wrong_phones: NDArray[np.int64]) -> Interval:
    """Phone error rate, its interval by the spread between speakers (clips, where those are not known)."""
    spoken = [len(one.utterance.labels) for one in judged]
    speakers = [one.utterance.clip.speaker_or_id for one in judged]
    return ratio(*sums_by_block(speakers, wrong_phones, spoken)).interval(least=0.0)


class Row(NamedTuple):
    """Figures of one set, or of a group within it, in one condition."""

    set: str
    facet: str
    """What the group has in common, "" for the whole set."""
    group: str
    condition: str
    utterances: int
    phones: int
    greedy: Interval
    search: Interval
    nearest: Interval
    """Of the search, against the nearest pronunciation of each word."""


class Findings(NamedTuple):
    """All that is found of a model."""

    rows: list[Row]
    groups: list[Row]
    settings: SearchSettings
    spec: ModelSpec


def judge(path: Path, corpus: Corpus, split: str, snrs_db: Sequence[float] = (SNR_DB,)) -> Findings:
    """Phone error rates of a model on dev or eval, clean and in noise of the same split."""
    model = AcousticJudge(path, corpus)
    settings = model.tune(model.hear(model.utterances("dev")))
    utterances = model.utterances(split)
    clips = [one.clip for one in utterances]
    whole = {name: [n for n, clip in enumerate(clips) if clip.set == name] for name in model.sets}
    groups = {
        group: own
        for group, own in members(clips).items()
        if len(own) >= LEAST_UTTERANCES and len({clips[n].speaker_or_id for n in own}) >= LEAST_SPEAKERS
    }
    noise = split_noise(corpus, split, AcousticData().noise)
    found = Findings([], [], settings, model.spec)
    for snr_db in (None, *snrs_db):
        condition = "clean" if snr_db is None else f"{snr_db:.0f} dB"
        heard = model.hear(utterances) if snr_db is None else model.hear(utterances, noise, snr_db)
        searched = decode(heard, model.searcher(settings))
        wrong = [errors(heard, decode(heard, greedy)), errors(heard, searched)]
        wrong.append(model.nearest_errors(heard, searched))
        found.rows.extend(_row(Group(name, "", ""), condition, heard, wrong, whole[name]) for name in whole)
        found.groups.extend(_row(group, condition, heard, wrong, groups[group]) for group in groups)
    return found


def _row(
    group: Group,
    condition: str,
    heard: Sequence[Judged],
    wrong: Sequence[NDArray[np.int64]],
    own: Sequence[int],
) -> Row:
    """Counts and error rates of some of the utterances."""
    some = [heard[number] for number in own]
    phones = sum(len(one.utterance.labels) for one in some)
    most_likely, searched, nearest = (error_rate(some, part[list(own)]) for part in wrong)
    return Row(
        group.set, group.facet, group.name, condition, len(some), phones, most_likely, searched, nearest
    )
