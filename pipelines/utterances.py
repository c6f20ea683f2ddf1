"""Batches of whole utterances, augmented: epoch after epoch, from a position that is two numbers.

Recordings may be read ahead by threads; filters, noise and features are made on the training device.

Shape letters: B utterances, N samples, T feature frames, F mels, J output frames.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.models.frontend import LogMel
from auricle.pipelines.acoustic_data import Utterance, plan_epoch
from auricle.pipelines.augment import Augmenter, generator, mask_features, warp_frequencies, warp_matrices
from auricle.pipelines.batches import Batch
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.criteria import PhoneTargets
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.rooms import make_microphones
from auricle.pipelines.sounds import NoisePlanner, change_speed, read_clip, speech_at_reference
from auricle.pipelines.streams import EndlessStream
from auricle.pipelines.targets import HOP_SAMPLES, IGNORE, Floats
from auricle.pipelines.teacher import Teacher

SEGMENT_S = 1.6
"""Filters are applied in blocks of about this length."""
LEVEL_DB = 6.0
MASK_EVERY_FRAMES = 150
MASK_LONGEST_FRAMES = 20
SEGMENTS_PER_STEP = 1000
PURPOSES = {"order": 11, "utterance": 12, "noise": 13, "carry": 14, "features": 15}
"""Keep the random numbers of different purposes apart."""

Alignments = Mapping[tuple[str, str], NDArray[np.int16]]


class Loaded(NamedTuple):
    """A batch as it was read, before anything is done to it."""

    samples: Tensor  # (B, N)
    noise: Tensor  # (B', N), fewer rows than utterances
    targets: PhoneTargets
    seconds: float  # of recordings, without padding


class Position(NamedTuple):
    """The next batch: epoch, and its number in that epoch."""

    epoch: int
    batch: int


class UtteranceMaker:
    """Makes batches for an acoustic model."""

    def __init__(
        self,
        corpus: Corpus,
        recipe: Recipe,
        utterances: Sequence[Utterance],
        *,
        noise: NoisePlanner,
        rooms: list[Floats],
        scores: Sequence[float],
        alignments: Alignments | None,
        teacher: Teacher | None = None,
        device: torch.device,
        loaders: int,
    ) -> None:
        """Prepares filters and threads.

        Args:
            corpus: where the recordings are.
            recipe: what is to be learnt, and how.
            utterances: what to draw from.
            noise: makes noise.
            rooms: responses, the first one dry.
            scores: log-probability of each utterance's phones, for sequence training.
            alignments: labels of all frames of each clip, if frames are to have targets.
            teacher: says what every frame is to be, if the model is to learn from another one.
            device: where audio is filtered and features are made.
            loaders: threads that read ahead; 0 to read when needed.
        """
        self.corpus, self.recipe, self.utterances, self.noise = corpus, recipe, utterances, noise
        self.alignments, self.device, self.seed = alignments, device, recipe.training.seed
        stride = recipe.network.stride_frames
        self.frame_samples = stride * HOP_SAMPLES
        self.block = round(SEGMENT_S * SAMPLE_RATE / self.frame_samples) * self.frame_samples
        microphones = make_microphones(recipe.augment.microphones, self.seed)
        self.augmenter = Augmenter(
            recipe.augment, rooms, microphones, self.block, seed=self.seed, device=device
        )
        self.frontend = LogMel(recipe.frontend).to(device)
        config = recipe.frontend
        warps = warp_matrices(config.mels, config.low_hz, config.high_hz, recipe.augment.warp_most)
        self.warps = warps.to(device)
        self.scores, self.teacher = scores, teacher
        self.loaders = loaders
        self.threads = ThreadPoolExecutor(loaders) if loaders else None
        self.position, self.heard_seconds = Position(0, 0), 0.0
        self.ahead: deque[tuple[Position, Future[Loaded]]] = deque()
        self.plans: dict[int, list[list[int]]] = {}

    def next(self, step: int) -> Batch:
        """Returns the next batch of utterances."""
        loaded = self._take()
        self.heard_seconds += loaded.seconds
        features = self._features(loaded, step)
        carry = np.random.default_rng((self.seed, step, PURPOSES["carry"]))
        rows = np.arange(len(features))
        fresh = carry.random(len(rows)) >= self.recipe.acoustic.carry_part
        carried = np.where(fresh, -1, carry.permutation(rows))
        targets = loaded.targets
        if self.teacher is not None:
            targets = targets._replace(taught=self.teacher.log_probs(loaded.samples))
        return Batch(features, targets, torch.from_numpy(carried))

    def hours_heard(self, steps: int) -> float:
        """Hours of recordings given out."""
        return self.heard_seconds / 3600

    def state_dict(self) -> dict[str, Any]:
        """The position in the data."""
        return {**self.position._asdict(), "heard_seconds": self.heard_seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Returns to a position."""
        self.position = Position(int(state["epoch"]), int(state["batch"]))
        self.heard_seconds = float(state["heard_seconds"])
        self.ahead.clear()

    def plan(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch."""
        if epoch not in self.plans:
            data, rng = self.recipe.acoustic, np.random.default_rng((self.seed, epoch, PURPOSES["order"]))
            self.plans = {old: plan for old, plan in self.plans.items() if old >= epoch - 1}
            seconds = data.batch_seconds / data.views
            self.plans[epoch] = plan_epoch(self.utterances, data.sets, seconds, rng)
        return self.plans[epoch]

    def _after(self, position: Position) -> Position:
        if position.batch + 1 < len(self.plan(position.epoch)):
            return Position(position.epoch, position.batch + 1)
        return Position(position.epoch + 1, 0)

    def _take(self) -> Loaded:
        """The batch at the position, read ahead or now; the position moves on."""
        position, self.position = self.position, self._after(self.position)
        if self.threads is None:
            return self._load(position, self.plan(position.epoch)[position.batch])
        upcoming = self._after(self.ahead[-1][0]) if self.ahead else position
        while len(self.ahead) < self.loaders + 1:
            members = self.plan(upcoming.epoch)[upcoming.batch]
            self.ahead.append((upcoming, self.threads.submit(self._load, upcoming, members)))
            upcoming = self._after(upcoming)
        return self.ahead.popleft()[1].result()

    def _load(self, position: Position, members: list[int]) -> Loaded:
        """Reads utterances at their drawn speeds, levels and places."""
        data, frame = self.recipe.acoustic, self.frame_samples
        delay = self.recipe.lookahead_frames
        rows: list[Floats] = []
        frames: list[NDArray[np.int16]] = []
        for number in members:
            rng = np.random.default_rng((self.seed, *position, number, PURPOSES["utterance"]))
            speed = rng.uniform(data.speed_low, data.speed_high)
            front, back = (int(rng.uniform(0, data.pad_most_s) * SAMPLE_RATE) for _ in range(2))
            clip = self.utterances[number].clip
            samples = change_speed(speech_at_reference(read_clip(self.corpus, clip)), speed)
            samples = samples * np.float32(10 ** (rng.uniform(-LEVEL_DB, LEVEL_DB) / 20))
            rows.append(np.pad(samples, (front, back)))
            if self.alignments is not None:
                count = -(-len(rows[-1]) // frame) + delay
                clean = self.alignments[clip.set, clip.id]
                frames.append(place_targets(clean, count, front / frame, speed, delay))
        counts = torch.tensor([-(-len(row) // frame) + delay for row in rows])
        whole = torch.zeros(len(rows), int(counts.max()) * frame)
        for place, recording in enumerate(rows):
            whole[place, : len(recording)] = torch.from_numpy(recording)
        targets = self._targets(members, counts, frames)
        if data.views > 1:  # side by side, so that noise, which every few rows share, is not the same
            whole = whole.repeat_interleave(data.views, 0)
            targets = PhoneTargets(
                *(part.repeat_interleave(data.views, 0) for part in targets if part is not None)
            )
        seconds = data.views * sum(self.utterances[number].clip.seconds for number in members)
        return Loaded(whole, self._noise(position, whole), targets, seconds)

    def _targets(
        self, members: list[int], frame_counts: Tensor, frames: list[NDArray[np.int16]]
    ) -> PhoneTargets:
        sequences = [self.utterances[number].labels for number in members]
        labels = torch.zeros(len(members), max(map(len, sequences)), dtype=torch.long)
        aligned = torch.full((len(members), int(frame_counts.max()) if frames else 0), IGNORE)
        for row, sequence in enumerate(sequences):
            labels[row, : len(sequence)] = torch.tensor(sequence)
            if frames:
                aligned[row, : len(frames[row])] = torch.from_numpy(frames[row].astype(np.int64))
        counts = torch.tensor([len(sequence) for sequence in sequences])
        scores = torch.tensor([self.scores[number] for number in members])
        return PhoneTargets(labels, counts, frame_counts, aligned, scores)

    def _noise(self, position: Position, samples: Tensor) -> Tensor:
        """Noise for every few utterances, `(B', N)`."""
        count = -(-len(samples) // self.recipe.training.noise_share)
        seed = (self.seed, *position, PURPOSES["noise"])
        rows = [
            EndlessStream(self.noise, (*seed, row)).take(samples.shape[1] // HOP_SAMPLES)[0]
            for row in range(count)
        ]
        return torch.from_numpy(np.stack(rows))

    @torch.no_grad()
    def _features(self, loaded: Loaded, step: int) -> Tensor:
        """Augments a batch and makes its features, `(B, T, F)`."""
        augment, count = self.recipe.augment, len(loaded.samples)
        blocks = -(-loaded.samples.shape[1] // self.block)
        missing = blocks * self.block - loaded.samples.shape[1]
        speech, noise = (
            torch.nn.functional.pad(part.to(self.device), (0, missing))
            for part in (loaded.samples, loaded.noise)
        )
        noise = noise.repeat(self.recipe.training.noise_share, 1)[:count]
        state, heard = self.augmenter.drawn_state(count, step * SEGMENTS_PER_STEP), []
        for number in range(blocks):
            block = slice(number * self.block, (number + 1) * self.block)
            seed = step * SEGMENTS_PER_STEP + number + 1
            audio, state = self.augmenter(speech[:, block], noise[:, block], state, seed)
            heard.append(audio)
        whole = torch.cat(heard, 1)[:, : loaded.samples.shape[1]]
        features, _ = self.frontend(whole, self.frontend.initial_state(count))
        random = generator(self.seed, step, PURPOSES["features"])
        features = warp_frequencies(features, self.warps, augment.warp_part, random)
        if augment.mask_part:
            moments = max(1, features.shape[1] // MASK_EVERY_FRAMES)
            features = mask_features(
                features, augment.mask_part, random, moments=moments, longest=MASK_LONGEST_FRAMES
            )
        return features


def place_targets(
    clean: NDArray[np.int16], count: int, front_frames: float, speed: float, delay_frames: int
) -> NDArray[np.int16]:
    """The label of each output frame of a recording that was sped up and put behind some silence.

    Args:
        clean: label of each frame of the recording as it was.
        count: output frames.
        front_frames: silence before the recording, in frames.
        speed: above 1 if it was made faster.
        delay_frames: how much later than its sound a label is asked for.

    Returns:
        Labels, silence (0) outside the recording, with shape `(count,)`.
    """
    middles = np.arange(count) - delay_frames + 0.5
    places = np.floor((middles - front_frames) * speed).astype(np.int64)
    inside = (places >= 0) & (places < len(clean))
    return np.where(inside, clean[np.clip(places, 0, len(clean) - 1)], 0).astype(np.int16)
