"""One model on one stream: whole strides of frames in, posteriors to its detectors, drafts of events out.

Shape letters: T frames, F mels, W numbers in an output frame: posteriors, and hidden values for a second
pass if there is one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auricle.daemon.detectors import Detector, Draft

if TYPE_CHECKING:
    from auricle.models.engine import Engine, ModelInfo

Array = NDArray[np.float32]


class ModelLane:
    """What one stream keeps for one model: frames that wait for a whole stride, and states."""

    def __init__(self, model: "ModelInfo", detectors: Sequence[Detector], engine: "Engine") -> None:
        """Starts from a fresh state; the detectors all listen to this model."""
        self.model = model
        self._detectors = tuple(detectors)
        self._engine = engine
        self._position = 0  # end of what the newest output frame needed
        self.reset(0)

    def reset(self, position: int) -> None:
        """Forgets everything; the next frame begins at sample `position`."""
        self._waiting = np.empty((0, self.model.frontend.width), dtype=np.float32)
        self._state: Any = self._engine.model_state(self.model)
        self._decisions: list[Any] = [detector.initial_state(position) for detector in self._detectors]
        self._position = position + self.model.frontend.delay_samples

    def infer(self, frames: Array) -> Array:
        """Takes frames `(T, F)`, returns `(strides, W)` for those strides that are now whole."""
        self._waiting = np.concatenate([self._waiting, frames])
        whole = len(self._waiting) - len(self._waiting) % self.model.stride_frames
        if not whole:
            return np.empty((0, self.model.width), dtype=np.float32)
        ready, self._waiting = self._waiting[:whole], self._waiting[whole:].copy()
        posterior, self._state = self._engine.infer(self.model, ready[None], self._state)
        scores: Array = posterior[0]
        return scores

    def decide(self, posterior: Array, cues: Sequence[Draft] = ()) -> list[Draft]:
        """Asks every detector what the newest output frames `(strides, W)` mean.

        Args:
            posterior: as `infer` returned it.
            cues: what other models' detectors decided in the same chunk; each detector also sees what those
                before it in this lane decided.
        """
        step = self.model.frame_samples
        ends = range(self._position + step, self._position + step * len(posterior) + 1, step)
        self._position += step * len(posterior)
        drafts: list[Draft] = []
        for index, detector in enumerate(self._detectors):
            found, self._decisions[index] = detector.decide(
                posterior, ends, self._decisions[index], [*cues, *drafts]
            )
            drafts += found
        return drafts

    def finish(self, last_sample: int) -> list[Draft]:
        """Closes what the detectors have open; what follows `last_sample` was silence added at the end."""
        drafts: list[Draft] = []
        for index, detector in enumerate(self._detectors):
            found, self._decisions[index] = detector.finish(
                self._position, last_sample, self._decisions[index]
            )
            drafts += found
        return drafts


def build_lanes(detectors: Sequence[Detector], engine: "Engine") -> list[ModelLane]:
    """Gives each model one lane, however many detectors listen to it."""
    models = dict.fromkeys(detector.model for detector in detectors)
    return [ModelLane(model, [d for d in detectors if d.model == model], engine) for model in models]
