"""The training loop: endless streams in, a streaming model out.

A run lives in a folder: `last.pt` to resume from, `best.pt` with the best weights, `log.csv`, `curve.png`.
Everything random depends on (seed, step) or (seed, stream, piece), so a run that was stopped and resumed
ends with the same weights as one that was not.
"""

import ctypes
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole
from auricle.models import state as states
from auricle.models.frontend import LogMel
from auricle.models.network import Network, NetworkState
from auricle.pipelines.acoustic_task import AcousticTask
from auricle.pipelines.batches import Batch, StreamTargets
from auricle.pipelines.corpus import Corpus, recordings_digest
from auricle.pipelines.criteria import PhoneTargets
from auricle.pipelines.curves import RunLog, progress_bar
from auricle.pipelines.optimisers import learning_rate, make_optimisers
from auricle.pipelines.parallel import Processes
from auricle.pipelines.precision import runs_bf16
from auricle.pipelines.recipe import Recipe, as_table, build
from auricle.pipelines.start import start_from_model
from auricle.pipelines.tasks import KeywordTask, Task, VadTask
from auricle.pipelines.units import narrowed

TASKS: dict[str, type[VadTask] | type[KeywordTask] | type[AcousticTask]] = {
    "vad": VadTask,
    "keyword": KeywordTask,
    "acoustic": AcousticTask,
}
NORMALISING_SEGMENTS = 4
"""Segments from which the mean and spread of the features are taken."""


def prepare_process(threads: int) -> None:
    """Sets what belongs to the whole process: threads, denormals, and memory that is kept for reuse."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc: giving big blocks back after each step doubles a step's time
        trim_threshold, top_pad, mmap_threshold, most_arenas = -1, -2, -3, -8
        sizes = {mmap_threshold: 1 << 30, trim_threshold: (1 << 31) - 1, top_pad: 1 << 28}
        for option, value in (sizes | {most_arenas: 1}).items():  # gradients come from a thread of their own
            libc.mallopt(option, value)


@dataclass
class Progressed:
    """Where a run stands."""

    step: int = 0
    best: float = -inf
    best_step: int = 0
    seconds: float = 0.0
    stale: int = 0
    """Evaluations since the best one."""
    figures: dict[str, float] = field(default_factory=dict)
    """Of the best evaluation."""


class Trainer:
    """One run: network, optimiser, averaged weights and data, all of which resume."""

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        folder: Path,
        task: Task | None = None,
        *,
        device: str = "cpu",
        loaders: int = 0,
        processes: Processes | None = None,
    ) -> None:
        """Sets up a run in a folder; `resume` continues what is there.

        Args:
            recipe: all that decides the run.
            corpus: the recordings.
            folder: where checkpoints and log lie.
            task: what to learn, where several runs share one; else it is made from the recipe.
            device: where the network is trained, "cpu" or "cuda".
            loaders: threads that read recordings ahead, where the task can do that.
            processes: those that train together; else this one alone.
        """
        self.recipe, self.corpus, self.folder = recipe, corpus, folder
        self.processes = processes or Processes()
        self.device = torch.device(device)
        self.mixed = runs_bf16(self.device, recipe.training.precision)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.training.seed)
        self.frontend = LogMel(recipe.frontend)
        self.task: Task = task or TASKS[recipe.task](corpus, recipe, self.frontend)
        corpus.decode(self.task.clips)
        self.recordings = recordings_digest(self.task.clips)
        self.audio = self.task.batches(recipe, corpus, self.device, loaders)
        shape = replace(recipe.network, labels=recipe.network.labels + self.task.extra_outputs)
        self.network = self.task.network(shape)
        if recipe.training.start:
            start_from_model(self.network, recipe)
        else:
            self.task.prepare(self.network)
        self.network.to(self.device)
        self.average = self.task.network(shape).requires_grad_(False).to(self.device)
        self.state = self.network.initial_state(recipe.training.streams)
        self.optimisers = make_optimisers(self.network, recipe.training)
        self.progress = Progressed()
        self.log = RunLog(folder, recipe.name)

    def run(self, minutes: float | None = None) -> Progressed:
        """Trains until the recipe's last step, until nothing improves, or until time is up.

        Returns:
            Where the run stands; a checkpoint holds the same.
        """
        training, progress = self.recipe.training, self.progress
        if progress.step == 0:
            self._begin()
        started, before = time.monotonic(), progress.seconds
        with progress_bar(self.recipe.name, training.steps, progress.step) as advance:
            while not self.is_finished:
                loss = self._step()
                progress.step += 1
                progress.seconds = before + time.monotonic() - started
                self.log.loss(progress.step, loss)
                late = minutes is not None and self.processes.told(time.monotonic() - started > minutes * 60)
                if progress.step % training.evaluate_every == 0 or progress.step == training.steps:
                    self._evaluate()
                    self.save()
                advance(f"loss {loss:.4f}  best {progress.best:.4f}")
                if late:
                    break
        self.save()
        if self.processes.is_first:
            self.log.plot()
        self.log.close()
        return progress

    def _step(self) -> float:
        """One segment of all streams: forward, backward, update."""
        training, step = self.recipe.training, self.progress.step
        batch = _move(self.audio.next(step), self.device)
        rows = len(batch.features)
        own = self.processes.share(rows)
        torch.manual_seed(training.seed * 1_000_003 + step + self.processes.number * 7_919)  # dropout
        start = states.map_state(lambda leaf: leaf[own], self._start(batch))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits, state = self.network(batch.features[own], start)
        loss = self.task.loss(self.processes.join(logits.float(), rows), batch.targets)
        if not torch.isfinite(loss):
            raise DataError(f"the loss became {loss.item()} at step {step}: lower training.learning_rate")
        self.network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.processes.sum_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), training.gradient_clip)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, training)
            optimiser.step()
        self.state = self.processes.join_state(states.map_state(_carried, state), rows)
        self._update_average(min(training.ema_decay, (1 + step) / (10 + step)))
        return loss.item()

    def _start(self, batch: Batch) -> NetworkState:
        """The state that each row of a batch goes on from."""
        if batch.carried is None:
            return self.state
        fresh = self.network.initial_state(len(batch.carried))
        rows = batch.carried.clamp(min=0) % len(states.leaves(self.state)[0])
        return states.select(batch.carried >= 0, states.map_state(lambda leaf: leaf[rows], self.state), fresh)

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
        for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    @torch.no_grad()
    def _begin(self) -> None:
        """Measures the features on the first segments, then starts over with the data.

        Weights to start from bring their measures along.
        """
        if self.recipe.training.start:
            self.average.load_state_dict(self.network.state_dict())
            return
        start = self.audio.state_dict()
        frames = torch.cat(
            [self.audio.next(step).features.flatten(0, 1) for step in range(NORMALISING_SEGMENTS)]
        )
        for network in (self.network, self.average):
            network.load_state_dict(self.network.state_dict())
            network.feature_mean.copy_(frames.mean(0))
            network.feature_scale.copy_(1 / frames.std(0).clamp(min=1e-3))
        self.audio.load_state_dict(start)

    def _evaluate(self) -> None:
        """Judges the averaged weights on dev and keeps them if they are the best so far."""
        progress, first = self.progress, self.processes.is_first
        figures = self.processes.told(self.task.evaluate(self._average()) if first else {})
        if first:
            self.log.evaluation(progress.step, progress.seconds, figures)
        progress.stale += 1
        if figures["score"] > progress.best:
            progress.best, progress.best_step, progress.stale = figures["score"], progress.step, 0
            progress.figures = figures
            if first:
                _write(self.folder / "best.pt", {"network": self.average.state_dict()})

    @property
    def is_finished(self) -> bool:
        """Whether the recipe's end is reached, or dev has not improved for as long as it allows."""
        return self.progress.step >= self.recipe.training.steps or self._stale()

    def _stale(self) -> bool:
        return 0 < self.recipe.training.patience <= self.progress.stale

    def save(self) -> None:
        """Writes the checkpoint that `resume` reads, whole or not at all; the first process does."""
        if not self.processes.is_first:
            return
        checkpoint = {
            "recipe": as_table(self.recipe),
            "recordings": self.recordings,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "state": states.to_dict(self.state),
            "audio": self.audio.state_dict(),
            "progress": vars(self.progress).copy(),
            "log": self.log.state_dict(),
        }
        _write(self.folder / "last.pt", checkpoint)

    def resume(self) -> bool:
        """Continues from the checkpoint in the folder, if there is one.

        Raises:
            DataError: the checkpoint was made with another recipe, or from other recordings.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        # Built anew, a recipe older than some fields gets their defaults, which mean "as before".
        made_with = build(Recipe, checkpoint["recipe"], f"the recipe in {path}")
        if made_with != self.recipe:
            raise DataError(
                f"{path} was made with another recipe ({_difference(made_with, self.recipe)}): "
                "give the same settings, another --work folder, or --fresh to start over"
            )
        # Older checkpoints do not tell.
        if checkpoint.get("recordings", self.recordings) != self.recordings:
            raise DataError(
                f"{path} learnt from other recordings than are there now: give --fresh to start over with "
                "these, another --work folder, or the recordings that it had"
            )
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])
        for optimiser, stored in zip(self.optimisers, checkpoint["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        streams = len(next(iter(checkpoint["state"].values())))
        self.state = states.from_dict(checkpoint["state"], self.network.initial_state(streams))
        self.audio.load_state_dict(checkpoint["audio"])
        self.progress = Progressed(**checkpoint["progress"])
        self.log.load_state_dict(checkpoint["log"])
        return True

    def best_network(self) -> Network:
        """The averaged weights of the best evaluation, or as they are where there was none."""
        path = self.folder / "best.pt"
        if path.exists():
            self.average.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["network"])
        return self._average()

    def _average(self) -> Network:
        """The averaged weights as a model file has them."""
        return narrowed(self.average, self.recipe.network)

    @property
    def hours_heard(self) -> float:
        """Audio that the network was trained on so far, hours."""
        return self.audio.hours_heard(self.progress.step)


def _move(batch: Batch, device: torch.device) -> Batch:
    """Brings a batch to where the network is."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        return type(value)(*map(move, value)) if isinstance(value, PhoneTargets | StreamTargets) else value

    return Batch(*map(move, batch))


def _carried(leaf: Tensor) -> Tensor:
    """Cuts a part of the state off its graph, in full precision; counts stay what they are."""
    return leaf.detach().float() if leaf.is_floating_point() else leaf.detach()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with written_whole(path) as partial:
        torch.save(content, partial)


def _difference(old: Recipe, new: Recipe) -> str:
    """Names the settings that differ."""
    before, now = as_table(old), as_table(new)
    differing = [
        f"{table}.{key}: {before[table].get(key)} then, {value.get(key)} now"
        for table, value in now.items()
        if isinstance(value, dict) and isinstance(before.get(table), dict)
        for key in value
        if before[table].get(key) != value[key]
    ]
    if before["task"] != now["task"]:
        differing.insert(0, f"task: {before['task']} then, {now['task']} now")
    return "; ".join(differing[:4]) or "its name or its delay differ"
