"""What the training loop is fed with: batches of features and targets, from a position that can be stored.

Shape letters: B streams or utterances, T feature frames, F mels, J output frames.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from auricle.models import state as states
from auricle.models.frontend import LogMel
from auricle.pipelines.augment import Augmenter, generator, mask_features, warp_frequencies, warp_matrices
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.rooms import make_microphones, make_rooms
from auricle.pipelines.streams import Planner, Segment, StreamBatcher
from auricle.pipelines.targets import HOP_SAMPLES, Floats
from auricle.pipelines.teacher import StreamTeachers


class Batch(NamedTuple):
    """One step's worth of data."""

    features: Tensor  # (B, T, F)
    targets: Any  # what the task's loss takes
    carried: Tensor | None = None
    """Which row of the batch before each row goes on from, with shape `(B,)`, -1 for a fresh state; None if
    all rows go on from their own."""


class StreamTargets(NamedTuple):
    """What streams are trained towards."""

    labels: Tensor  # (B, J)
    taught: Tensor | None = None  # (B, J, V), log-probabilities of teachers


class BatchMaker(Protocol):
    """Makes batches; everything random depends on the seed and the position."""

    def next(self, step: int) -> Batch:
        """Returns the next batch; `step` seeds its augmentation."""

    def hours_heard(self, steps: int) -> float:
        """Hours of audio given out in so many steps."""

    def state_dict(self) -> dict[str, Any]:
        """The position in the data, as `torch.save` can store it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Returns to a position."""


def recipe_rooms(recipe: Recipe, corpus: Corpus) -> list[Floats]:
    """The rooms that a recipe trains in: none at all, measured ones, simulated ones."""
    measured = corpus.rooms().values() if recipe.augment.room_part else ()
    return make_rooms(measured, recipe.augment.simulated_rooms, recipe.training.seed)


def output_targets(targets: Tensor, stride_frames: int) -> Tensor:
    """Picks for each output frame the target of its last hop: `(B, T)` to `(B, T / stride)`."""
    return targets[:, stride_frames - 1 :: stride_frames]


class AudioMaker:
    """Makes segments of audio, augmented, and turns them into features; all of its state can be stored."""

    def __init__(
        self,
        planner: Planner,
        noise: Planner,
        recipe: Recipe,
        frontend: LogMel,
        rooms: list[Floats],
        *,
        teachers: StreamTeachers | None = None,
    ) -> None:
        """Starts the streams of speech and of noise; `teachers` hear those of speech as they are."""
        training, augment = recipe.training, recipe.augment
        self.recipe, self.frontend = recipe, frontend
        self.hops = round(training.segment_s * 100) // recipe.network.stride_frames
        self.hops *= recipe.network.stride_frames
        delay = recipe.lookahead_frames * recipe.network.stride_frames
        self.views, self.teachers = recipe.stream_views, teachers
        self.speech = StreamBatcher(
            planner,
            streams=training.streams // self.views,
            hops=self.hops,
            seed=training.seed,
            delay_hops=delay,
        )
        quiet_streams = -(-training.streams // training.noise_share)
        self.noise = StreamBatcher(noise, streams=quiet_streams, hops=self.hops, seed=training.seed + 1)
        microphones = make_microphones(augment.microphones, training.seed)
        samples = self.hops * HOP_SAMPLES
        self.augmenter = Augmenter(augment, rooms, microphones, samples, seed=training.seed)
        self.augment_state = self.augmenter.initial_state(training.streams)
        self.frontend_state = frontend.initial_state(training.streams)
        config = recipe.frontend
        self.warps = warp_matrices(config.mels, config.low_hz, config.high_hz, augment.warp_most)

    @torch.no_grad()
    def next(self, step: int) -> Batch:
        """Returns the next segment of all streams; targets `(B, J)` of the output frames."""
        augment, seed = self.recipe.augment, self.recipe.training.seed
        segment = self.speech.next()
        taught = None
        if self.teachers:
            taught = self.teachers.log_probs(segment.samples).repeat_interleave(self.views, 0)
        segment = Segment(*(part.repeat_interleave(self.views, 0) for part in segment))
        noise = self.noise.next().samples.repeat(self.recipe.training.noise_share, 1)[: len(segment.samples)]
        audio, self.augment_state = self.augmenter(segment.samples, noise, self.augment_state, step)
        features, self.frontend_state = self.frontend(audio, self.frontend_state)
        random = generator(seed, step, 7)
        features = warp_frequencies(features, self.warps, augment.warp_part, random)
        if augment.mask_part:
            features = mask_features(features, augment.mask_part, random)
        labels = output_targets(segment.targets, self.recipe.network.stride_frames)
        return Batch(features, StreamTargets(labels, taught))

    def state_dict(self) -> dict[str, Any]:
        """The position in the data."""
        return {
            "speech": self.speech.state_dict(),
            "noise": self.noise.state_dict(),
            "augment": states.to_dict(self.augment_state),
            "frontend": states.to_dict(self.frontend_state),
            "teachers": self.teachers.state_dict() if self.teachers else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Returns to a position in the data."""
        self.speech.load_state_dict(state["speech"])
        self.noise.load_state_dict(state["noise"])
        self.augment_state = states.from_dict(state["augment"], self.augment_state)
        self.frontend_state = states.from_dict(state["frontend"], self.frontend_state)
        if self.teachers:
            self.teachers.load_state_dict(state["teachers"])

    def hours_heard(self, steps: int) -> float:
        """Hours of audio in so many steps."""
        return steps * self.recipe.training.streams * self.hops * HOP_SAMPLES / SAMPLE_RATE / 3600
