"""What the training loop must know of a task, and the two tasks that learn from endless streams.

Shape letters: B streams, N samples, T hops or feature frames, J output frames, V labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auricle.models.checkpoint import ModelSpec
from auricle.models.frontend import LogMel
from auricle.models.network import Network, NetworkConfig
from auricle.pipelines.batches import AudioMaker, BatchMaker, StreamTargets, recipe_rooms
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.criteria import other_view
from auricle.pipelines.dev import KeywordDev, VadDev
from auricle.pipelines.keyword_data import WordPlanner
from auricle.pipelines.recipe import Recipe
from auricle.pipelines.streams import Planner
from auricle.pipelines.targets import BACKGROUND, IGNORE, NOT_YET
from auricle.pipelines.teacher import StreamTeachers
from auricle.pipelines.vad_data import VadPlanner
from auricle.pipelines.vocabulary import LABELS, SILENCE_INDEX, UNKNOWN_INDEX


class Task(ABC):
    """What the training loop must know of a task."""

    labels: tuple[str, ...]
    activation: str
    clips: Sequence[Clip]
    extra_outputs: int = 0
    """Outputs that the network has behind those of the labels while it is trained."""

    def network(self, config: NetworkConfig) -> Network:
        """Builds what is trained."""
        return Network(config)

    def prepare(self, network: Network) -> None:  # noqa: B027 (nothing, unless a task needs it)
        """Sets the weights that training starts from; as the layers made them, unless a task knows better."""

    @abstractmethod
    def batches(self, recipe: Recipe, corpus: Corpus, device: torch.device, loaders: int) -> BatchMaker:
        """The training data; `loaders` threads may read ahead."""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Any) -> Tensor:
        """Mean loss of logits `(B, J, V)` against the targets that the batch maker gave."""

    @abstractmethod
    def evaluate(self, network: Network) -> dict[str, float]:
        """Figures on dev, in streaming conditions; `score` decides, higher is better."""


class StreamTask(Task):
    """A task that learns from endless streams with a target for each output frame, `(B, J)`."""

    recipe: Recipe
    frontend: LogMel
    planner: Planner
    noise: Planner

    def batches(self, recipe: Recipe, corpus: Corpus, device: torch.device, loaders: int) -> BatchMaker:
        """Streams of pieces, cut into segments (made on the CPU, whatever the device)."""
        rooms, teachers = recipe_rooms(recipe, corpus), self.teachers(recipe)
        return AudioMaker(self.planner, self.noise, recipe, self.frontend, rooms, teachers=teachers)

    def teachers(self, recipe: Recipe) -> StreamTeachers | None:
        """Models that are to be learnt from, if any."""
        return None


class VadTask(StreamTask):
    """Speech or not, frame by frame."""

    labels = ("speech",)
    activation = "sigmoid"

    def __init__(self, corpus: Corpus, recipe: Recipe, frontend: LogMel) -> None:
        """Prepares the training streams and the dev streams."""
        self.recipe, self.frontend = recipe, frontend
        planner = VadPlanner(corpus, recipe.vad, "train")
        self.planner, self.noise, self.clips = planner, planner.noise, planner.clips
        self.dev = VadDev(VadPlanner(corpus, recipe.vad, "dev"), recipe, frontend)

    def loss(self, logits: Tensor, targets: StreamTargets) -> Tensor:
        """Binary cross-entropy over the frames that are one or the other."""
        labels = targets.labels
        known = labels != IGNORE
        return functional.binary_cross_entropy_with_logits(logits[..., 0][known], labels[known].float())

    def evaluate(self, network: Network) -> dict[str, float]:
        """ROC-AUC in noise."""
        return self.dev.evaluate(network)


class KeywordTask(StreamTask):
    """Which word, if any, has just been spoken."""

    labels: tuple[str, ...] = LABELS
    activation = "softmax"

    def __init__(self, corpus: Corpus, recipe: Recipe, frontend: LogMel) -> None:
        """Prepares the training streams and the dev streams."""
        self.recipe, self.frontend = recipe, frontend
        planner = WordPlanner(corpus, recipe.keyword, "train")
        self.data = recipe.keyword
        self.planner, self.noise, self.clips = planner, planner.noise, planner.clips
        self.dev = KeywordDev(WordPlanner(corpus, recipe.keyword, "dev"), recipe, frontend)

    def teachers(self, recipe: Recipe) -> StreamTeachers | None:
        """Those that the recipe names."""
        if not recipe.keyword.teachers:
            return None
        student = ModelSpec(
            recipe.task,
            self.labels,
            recipe.network,
            recipe.frontend,
            lookahead_frames=recipe.lookahead_frames,
        )
        streams = recipe.training.streams // recipe.stream_views
        return StreamTeachers(recipe.keyword.teachers, student, streams)

    def loss(self, logits: Tensor, targets: StreamTargets) -> Tensor:
        """Cross-entropy; where two classes are right, their probabilities count together.

        To it is added how far what is said lies from what teachers say, where there are any, and how far what
        is said of two views of a stream lies apart, where each is heard twice.
        """
        log_probs, labels = logits.log_softmax(-1), targets.labels
        silence = log_probs[..., SILENCE_INDEX]
        early = labels < BACKGROUND
        label = torch.where(early, labels - NOT_YET, labels)
        label = torch.where(labels == BACKGROUND, UNKNOWN_INDEX, label).clamp(min=0)
        chosen = log_probs.gather(-1, label[..., None])[..., 0]
        gain = torch.where(early | (labels == BACKGROUND), torch.logaddexp(silence, chosen), chosen)
        weight = (labels != IGNORE).float()
        weight = torch.where(early, self.data.early_weight, weight)
        weight = torch.where(labels == SILENCE_INDEX, self.data.silence_weight, weight)
        weight = torch.where(labels == BACKGROUND, self.data.background_weight, weight)
        loss = -(gain * weight).sum() / weight.sum().clamp(min=1.0)
        if targets.taught is not None:
            loss = loss + self.data.teacher_weight * _distance(targets.taught, log_probs)
        if self.data.consistency_weight:
            loss = loss + self.data.consistency_weight * _distance(other_view(log_probs), log_probs)
        return loss

    def evaluate(self, network: Network) -> dict[str, float]:
        """Accuracy on words in streams, false alarms on sentences."""
        return self.dev.evaluate(network)


def _distance(wanted: Tensor, log_probs: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of frames `(B, J, V)` from what is wanted of them."""
    return (wanted.exp() * (wanted - log_probs)).sum(-1).mean()
