"""CTC, frame targets or LF-MMI? Trains a small acoustic model by each under one budget, and judges it.

All choices hear the same utterances for as many steps as plain CTC makes in the budget, and are judged on the
same dev utterances. Each result is kept as soon as it is there; a second run skips it.

Shape letters: J output frames, V labels.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ConfigError
from auricle.models.zoo import find_model
from auricle.pipelines.acoustic_task import pick_seconds
from auricle.pipelines.alignment import FrameLabels, ctc_path
from auricle.pipelines.corpus import manifests_digest
from auricle.pipelines.cost import describe_machine
from auricle.pipelines.decode_phones import greedy
from auricle.pipelines.evaluate_acoustic import AcousticJudge, Judged, decode, errors
from auricle.pipelines.kept import keep
from auricle.pipelines.memory import Budget
from auricle.pipelines.probes import PartialCorpus
from auricle.pipelines.recipe import Recipe, as_table, load_recipe
from auricle.pipelines.release import write_model
from auricle.pipelines.train import Trainer

logger = logging.getLogger(__name__)


class Stage(NamedTuple):
    """A training that goes on from the one before it."""

    share: float
    """Of the steps."""
    settings: tuple[str, ...] = ()


REFERENCE = "acoustic-lstm"
"""The shipped model that aligns recordings for `ce`, and that delays are measured against."""
CHOICES = {
    "ctc": (Stage(1.0),),
    "ctc-biphone": (Stage(1.0, ("acoustic.units=biphone",)),),
    "ctc-early": (Stage(1.0, ("acoustic.early_weight=0.1",)),),
    "ce": (Stage(1.0, ("acoustic.criterion=ce", f"acoustic.aligner={REFERENCE}")),),
    "lfmmi": (
        Stage(0.5),
        Stage(0.5, ("acoustic.criterion=lfmmi", "acoustic.ctc_weight=0.5", "training.learning_rate=1.5e-3")),
    ),
}
RECIPE = Path("acoustic-small")
SETTINGS = (
    "network.residual=true",
    "acoustic.batch_seconds=48.0",
    "acoustic.dev_seconds=60.0",
    "augment.noise_part=0.2",
    "augment.room_part=0.1",
    "augment.microphone_part=0.1",
    "augment.mask_part=0.0",
    "training.optimiser=muon",
    "training.learning_rate=3e-3",
)
"""Without Muon and residual layers CTC would still rest on the blank at the end of a short budget; what makes
speech harder to hear would slow it down further."""
PILOT_STEPS = 12
"""Steps from which the speed of training is taken."""
LEAST_STEPS = 20
EVALUATIONS = 8
"""Points of a learning curve."""
SLICE_MINUTES = 3.0
"""Between two checkpoints of a training."""


@dataclass(frozen=True)
class CriteriaPlan:
    """What to compare, and with how much effort."""

    choices: tuple[str, ...] = tuple(CHOICES)
    seeds: int = 1
    part: float = 0.3
    """Part of the training data to learn from."""
    budget: Budget = field(default_factory=lambda: Budget(seconds=360.0))
    """Of each choice: so many steps, or as many as plain CTC makes in so many seconds."""
    settings: tuple[str, ...] = ()
    """Changes to the recipe, for all choices."""
    judged_seconds: float = 400.0
    """Of each dev set this much is judged."""

    def __post_init__(self) -> None:
        """Refuses what cannot be compared, before anything long begins."""
        unknown = [choice for choice in self.choices if choice not in CHOICES]
        if unknown or not self.choices:
            raise ConfigError(f"unknown choice '{', '.join(unknown)}': expected some of {', '.join(CHOICES)}")
        if not 0 < self.part <= 1:
            raise ConfigError(f"expected a part of the data above 0 and up to 1, got {self.part}")

    def recipe(self, stage: Stage, seed: int, steps: int, **training: Any) -> Recipe:
        """The recipe of a stage, of which all the choice's steps are given."""
        recipe = load_recipe("acoustic", (*SETTINGS, *stage.settings, *self.settings), RECIPE)
        own = max(1, round(stage.share * steps))
        warmup = min(recipe.training.warmup_steps, max(1, own // 10))
        changes = {"seed": seed, "steps": own, "warmup_steps": warmup, **training}
        changes = {"evaluate_every": max(1, steps // EVALUATIONS), **changes}
        return replace(recipe, training=replace(recipe.training, **changes))


class CriteriaComparison:
    """Carries a plan out in a folder, one kept result after another."""

    def __init__(self, plan: CriteriaPlan, out: Path, data: Path, work: Path) -> None:
        """Prepares.

        Args:
            plan: what to do.
            out: folder of the results.
            data: folder of the sets.
            work: folder for decoded audio and alignments.
        """
        self.plan, self.out = plan, out
        (out / "results").mkdir(parents=True, exist_ok=True)
        self.base = plan.recipe(CHOICES["ctc"][0], 1, PILOT_STEPS)
        self.corpus = PartialCorpus(data, work, plan.part, self.base.acoustic.noise.sets)
        self.digest = manifests_digest(data)
        self.reference: list[NDArray[np.float64]] = []

    def run(self) -> dict[str, Any]:
        """Trains and judges all that is not kept yet, and returns everything as plain values for JSON."""
        plan, steps = self.plan, self._steps()
        results: dict[str, Any] = {
            "plan": asdict(plan),
            "machine": describe_machine(),
            "steps": steps,
            "choices": {},
        }
        for choice in plan.choices:
            for seed in range(1, plan.seeds + 1):
                settings = {
                    "stages": CHOICES[choice],
                    "recipe": as_table(plan.recipe(Stage(1.0), seed, steps)),
                    "part": plan.part,
                    "data": self.digest,
                    "judged_seconds": plan.judged_seconds,
                }
                measure = partial(self._measure, choice, seed, steps)
                found = keep(self.out / "results", f"{choice}-seed{seed}", settings, measure)
                results["choices"].setdefault(choice, []).append(found)
        return results

    def _steps(self) -> int:
        """How many steps the budget allows, by the pace of plain CTC."""
        budget = self.plan.budget
        if budget.steps is not None:
            return budget.steps
        settings = {"recipe": as_table(self.base), "seconds": budget.seconds, "data": self.digest}
        pace = keep(self.out / "results", "pace", settings, self._pace)
        return max(LEAST_STEPS, int((budget.seconds or 0.0) / pace["seconds_per_step"]))

    def _pace(self) -> dict[str, float]:
        folder, taken = self.out / "runs" / "pilot", []
        for _ in range(2):  # the first steps of a process are slow: the faster attempt counts
            shutil.rmtree(folder, ignore_errors=True)
            taken.append(Trainer(self.base, self.corpus, folder).run().seconds)
        return {"seconds_per_step": min(taken) / PILOT_STEPS}

    def _measure(self, choice: str, seed: int, steps: int) -> dict[str, Any]:
        """Trains by all stages of a choice, and judges what came out."""
        start, seconds, hours = "", 0.0, 0.0
        curve: list[dict[str, float]] = []
        for number, stage in enumerate(CHOICES[choice], 1):
            name = f"{choice}-seed{seed}-{number}"
            recipe = replace(self.plan.recipe(stage, seed + number - 1, steps, start=start), name=name)
            logger.info("training %s: %d steps", name, recipe.training.steps)
            trainer = self._train(recipe)
            model = self.out / "runs" / name / f"{name}.safetensors"
            (model.parent / "best.pt").unlink(missing_ok=True)  # the end of the budget is what is compared
            write_model(trainer, model, "auricle compare criteria")
            before = curve[-1]["step"] if curve else 0
            curve += [{**row, "step": before + row["step"]} for row in trainer.log.rows]
            seconds, hours = seconds + trainer.progress.seconds, hours + trainer.hours_heard
            start = str(model)
        judged = self._judge(Path(start))
        return {"seconds": seconds, "hours_heard": hours, "curve": curve, **judged}

    def _train(self, recipe: Recipe) -> Trainer:
        folder = self.out / "runs" / recipe.name
        trainer = Trainer(recipe, self.corpus, folder)
        trainer.resume()
        while not trainer.is_finished:
            trainer.run(SLICE_MINUTES)
        return trainer

    def _judge(self, path: Path) -> dict[str, Any]:
        """Wrong phones of each utterance, and how late they are said."""
        judge = AcousticJudge(path, self.corpus, self.base.acoustic.dev_sets)
        heard = self._hear(judge)
        settings = judge.tune(heard)
        searched = errors(heard, decode(heard, judge.searcher(settings)))
        if not self.reference:
            shipped = AcousticJudge(find_model(REFERENCE), self.corpus, self.base.acoustic.dev_sets)
            self.reference = [moments(one) for one in self._hear(shipped)]
        apart = np.concatenate(
            [moments(one) - other for one, other in zip(heard, self.reference, strict=True)]
        )
        clips = [one.utterance.clip for one in heard]
        return {
            "search": settings._asdict(),
            "late_ms": float(apart.mean()) * judge.spec.frame_samples / 16,
            "utterances": {
                "set": [clip.set for clip in clips],
                "speaker": [clip.speaker or clip.id for clip in clips],
                "phones": [len(one.utterance.labels) for one in heard],
                "wrong": searched.tolist(),
                "wrong_most_likely": errors(heard, decode(heard, greedy)).tolist(),
            },
        }

    def _hear(self, judge: AcousticJudge) -> Sequence[Judged]:
        drawn = pick_seconds(judge.utterances("dev"), self.plan.judged_seconds)
        return judge.hear(sorted(drawn, key=lambda one: one.clip.seconds))


def moments(judged: Judged) -> NDArray[np.float64]:
    """The middle frame of each phone that is said, by the most likely way of them through the frames."""
    path: FrameLabels = ctc_path(judged.log_probs[0], judged.utterance.labels, 0.0)
    runs, place = [], 0
    for label, group in groupby(path.tolist()):
        length = len(list(group))
        if label:
            runs.append(place + (length - 1) / 2)
        place += length
    return np.array(runs)
