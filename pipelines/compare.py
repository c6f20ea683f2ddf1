"""LSTM or GRU? Trains every kind of cell under one budget and measures what people argue about.

Without data: size, speed, recall and gradients. With data: accuracy, noise, and over-fitting on parts of it.
Each measurement is kept in a file of its own as soon as it is done; a second run skips it.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from auricle.configs.errors import ConfigError
from auricle.models.frontend import LogMel
from auricle.models.network import MEMORIES
from auricle.pipelines.corpus import manifests_digest
from auricle.pipelines.cost import describe_machine, measure_costs
from auricle.pipelines.curves import progress_bar
from auricle.pipelines.kept import keep
from auricle.pipelines.memory import Budget, measure_memory, memory_config
from auricle.pipelines.probes import COMPARED, PartialCorpus, compared_task
from auricle.pipelines.recipe import Recipe, as_table, load_recipe
from auricle.pipelines.train import Trainer

logger = logging.getLogger(__name__)

CELLS = ("rnn", "gru", "lstm", "gru+lstm", "attention")
PARTS = (0.1, 0.3, 1.0)
COMMON_SETTINGS = (
    "training.streams=16",
    "training.segment_s=2.4",
    "augment.simulated_rooms=8",
    "augment.microphones=16",
    "augment.room_part=0.2",
    "augment.microphone_part=0.2",
    "augment.gain_low_db=-12.0",
    "augment.clip_part=0.0",
)
SETTINGS = {
    "vad": COMMON_SETTINGS,
    "keyword": (
        *COMMON_SETTINGS,
        "network.conv_channels=[48,64]",
        "network.hidden=96",
        "network.layers=2",
        "network.dropout=0.05",
        "augment.noise_part=0.5",
        "augment.snr_low_db=5.0",
        "augment.mask_part=0.0",
        "augment.gain_high_db=6.0",
        "keyword.far_part=0.0",
        "keyword.command_part=0.8",
        "keyword.unknown_part=0.1",
        "keyword.digit_part=0.0",
        "keyword.sentence_part=0.0",
        "keyword.fragment_part=0.0",
        "keyword.sound_part=0.02",
        "keyword.pause_part=0.05",
    ),
}
"""A minute is enough only for small steps and a small task: ten commands, unknown and silence; less noise.

The optimiser is the recipe's, Muon: with AdamW and a rate that suits the GRU (5e-3) the LSTM and the plain
RNN had learnt nothing after 600 steps, which says something about the rate and nothing about the cells.
"""
PILOT_STEPS = 12
"""Steps from which the speed of training is taken."""
LEAST_STEPS = 20
RECALL_UPDATES = 10
"""Updates of recall practice for each step of a budget in steps: they are so much cheaper."""
SLICE_MINUTES = 5.0
"""Between two checkpoints of a training."""


@dataclass(frozen=True)
class Plan:
    """What to compare, and with how much effort."""

    task: str = "keyword"
    cells: tuple[str, ...] = CELLS
    seeds: int = 3
    parts: tuple[float, ...] = PARTS
    """Parts of the training data to learn from; 1 is all of it."""
    budget: Budget = field(default_factory=lambda: Budget(seconds=60.0))
    """Of each training."""
    settings: tuple[str, ...] = ()
    """Changes to the recipe of the task."""
    probe_size: int = 40
    """Words of each kind, or seconds of each stream, to test on."""

    def __post_init__(self) -> None:
        """Refuses what cannot be compared, before anything long begins."""
        if self.task not in COMPARED:
            raise ConfigError(f"unknown task '{self.task}': expected one of {', '.join(COMPARED)}")
        unknown = [cell for cell in self.cells if not set(cell.split("+")) <= set(MEMORIES)]
        if unknown or not self.cells:
            raise ConfigError(
                f"unknown cell '{', '.join(unknown)}': expected some of {', '.join(MEMORIES)}, or several "
                "joined by '+', such as gru+lstm"
            )
        if self.seeds < 1:
            raise ConfigError(f"expected 1 seed or more, got {self.seeds}")
        spent = self.budget.steps if self.budget.steps is not None else self.budget.seconds
        if not spent or spent <= 0:
            raise ConfigError(f"expected a budget above 0 for each training, got {spent}")
        if not self.parts or not all(0 < part <= 1 for part in self.parts):
            raise ConfigError(f"expected parts of the data above 0 and up to 1, got {self.parts}")

    @property
    def recall_budget(self) -> Budget:
        """Of the practice of recall: as many seconds as a training may take."""
        steps = self.budget.steps
        return self.budget if steps is None else Budget(steps=RECALL_UPDATES * steps)

    def recipe(self, cell: str, seed: int = 1, steps: int = PILOT_STEPS) -> Recipe:
        """The recipe of one training; a cell of several kinds shares the layers out among them."""
        settings = [*SETTINGS[self.task], *self.settings, f"network.cell={cell}"]
        recipe = load_recipe(self.task, settings)
        layers = max(1, recipe.network.layers // len(recipe.network.cells))
        training = replace(
            recipe.training, seed=seed, steps=steps, evaluate_every=steps, warmup_steps=max(1, steps // 10)
        )
        return replace(recipe, network=replace(recipe.network, layers=layers), training=training)


class Comparison:
    """Carries a plan out in a folder, one kept measurement after another."""

    def __init__(self, plan: Plan, out: Path, data: Path | None, work: Path) -> None:
        """Prepares.

        Args:
            plan: what to do.
            out: folder of the results.
            data: folder of the sets; None to do only what needs no data.
            work: folder for decoded audio.
        """
        self.plan, self.out, self.data, self.work = plan, out, data, work
        (out / "results").mkdir(parents=True, exist_ok=True)
        self._tasks: dict[float, Any] = {}
        self._digest = "" if data is None else manifests_digest(data)
        if data is not None:
            self._corpus(1.0)  # a wrong folder must not show after minutes

    def run(self) -> dict[str, Any]:
        """Measures all that is not kept yet, and returns everything as plain values for JSON."""
        plan = self.plan
        cells = {cell: as_table(plan.recipe(cell))["network"] for cell in plan.cells}
        results: dict[str, Any] = {
            "plan": {**asdict(plan), "with_data": self.data is not None},
            "machine": describe_machine(),
            "cost": self._keep(f"cost-{'-'.join(cells)}", cells, self._cost),
            "memory": {cell: [] for cell in cells},
            "training": {},
        }
        for number, (seed, cell) in enumerate(self._by_seed(), 1):
            title = f"recall {number}/{plan.seeds * len(cells)}: {cell}, seed {seed}"
            settings = {**asdict(plan.recall_budget), "network": asdict(memory_config(cell))}
            measure = partial(self._memory, cell, seed, title)
            results["memory"][cell].append(self._keep(f"memory-{cell}-seed{seed}", settings, measure))
        if self.data is not None:
            results["training"] = self._trainings()
        return results

    def expected_minutes(self) -> float:
        """About how long `run` takes in all, where the budget is in seconds (else what 50 ms a step take)."""
        plan, budget = self.plan, self.plan.budget
        each = budget.seconds if budget.seconds is not None else 0.05 * (budget.steps or 0)
        cells = len(plan.cells)
        seconds = 15.0 * cells + plan.seeds * cells * (each + 4.0)
        if self.data is not None:
            seconds += plan.seeds * cells * len(plan.parts) * (each + 6.0)
        return seconds / 60

    def _by_seed(self) -> Iterator[tuple[int, str]]:
        return ((seed, cell) for seed in range(1, self.plan.seeds + 1) for cell in self.plan.cells)

    def _keep(self, key: str, settings: Mapping[str, Any], measure: Callable[[], Any]) -> Any:
        return keep(self.out / "results", key, settings, measure)

    def _cost(self) -> dict[str, Any]:
        logger.info("measuring size and speed of %s", ", ".join(self.plan.cells))
        return measure_costs({cell: self.plan.recipe(cell) for cell in self.plan.cells})

    def _memory(self, cell: str, seed: int, title: str) -> dict[str, Any]:
        done = 0
        with progress_bar(title, 100, 0) as advance:

            def tick(part: float) -> None:
                nonlocal done
                while done < int(100 * part):
                    done += 1
                    advance("")

            return measure_memory(cell, self.plan.recall_budget, seed, tick=tick)

    def _trainings(self) -> dict[str, Any]:
        """Results by cell and part, a list over seeds."""
        plan = self.plan
        results: dict[str, Any] = {cell: {str(part): [] for part in plan.parts} for cell in plan.cells}
        total, number = plan.seeds * len(plan.cells) * len(plan.parts), 0
        steps = {cell: self._steps(cell) for cell in plan.cells}
        for seed, cell in self._by_seed():
            for share in sorted(plan.parts, reverse=True):
                number += 1
                name = f"{plan.task}-{cell}-part{round(100 * share)}-seed{seed}"
                recipe = replace(plan.recipe(cell, seed, steps[cell]), name=name)
                settings = {**as_table(recipe), "part": share, "size": plan.probe_size, "data": self._digest}
                logger.info("training %d of %d: %s", number, total, name)
                results[cell][str(share)].append(
                    self._keep(name, settings, partial(self._train, recipe, share))
                )
        return results

    def _steps(self, cell: str) -> int:
        """How many steps of training the budget allows, measured once for each cell."""
        budget, plan = self.plan.budget, self.plan
        if budget.steps is not None:
            return budget.steps
        settings = {**as_table(plan.recipe(cell)), "seconds": budget.seconds, "data": self._digest}
        pace = self._keep(f"pace-{plan.task}-{cell}", settings, partial(self._pace, cell))
        return max(LEAST_STEPS, int((budget.seconds or 0.0) / pace["seconds_per_step"]))

    def _pace(self, cell: str) -> dict[str, float]:
        recipe = replace(self.plan.recipe(cell), name=f"speed of {cell}")
        task = self._task(1.0, recipe)
        task.is_judged = False
        try:
            # The first steps of a process are slow: the faster of two attempts counts.
            seconds = min(self._pilot(recipe, task) for _ in range(2))
        finally:
            task.is_judged = True
        return {"seconds_per_step": seconds / PILOT_STEPS}

    def _pilot(self, recipe: Recipe, task: Any) -> float:
        folder = self.out / "runs" / "pilot"
        shutil.rmtree(folder, ignore_errors=True)
        return Trainer(recipe, self._corpus(1.0), folder, task).run().seconds

    def _train(self, recipe: Recipe, part: float) -> dict[str, Any]:
        """Trains once, in slices with a checkpoint after each, and judges what came out."""
        folder = self.out / "runs" / recipe.name
        trainer = Trainer(recipe, self._corpus(part), folder, self._task(part, recipe))
        trainer.resume()
        while trainer.progress.step < recipe.training.steps:
            trainer.run(SLICE_MINUTES)
        for checkpoint in folder.glob("*.pt"):
            checkpoint.unlink()
        progress = trainer.progress
        return {
            "updates": progress.step,
            "seconds": progress.seconds,
            "hours_heard": trainer.hours_heard,
            "clips": len({(clip.set, clip.id) for clip in trainer.task.clips}),
            "figures": progress.figures,
        }

    def _corpus(self, part: float) -> PartialCorpus:
        assert self.data is not None
        recipe = self.plan.recipe(self.plan.cells[0])
        noise = {*recipe.vad.noise.sets, *recipe.keyword.noise.sets}
        return PartialCorpus(self.data, self.work, part, sorted(noise))

    def _task(self, part: float, recipe: Recipe) -> Any:
        """The task with a part of the data, made once for all cells."""
        if part not in self._tasks:
            frontend = LogMel(recipe.frontend)
            self._tasks[part] = compared_task(self._corpus(part), recipe, frontend, self.plan.probe_size)
        return self._tasks[part]
