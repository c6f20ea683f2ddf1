"""A trained acoustic model as the teacher of another: what it says of each frame is what the other learns.

The teacher hears the recording as it is, the student in rooms and noise (teacher-student learning: Li and
others, 2017), so that the student learns to hear through them what the teacher heard without.

Shape letters: B utterances or streams, N samples, J output frames, V labels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from auricle.configs.errors import ConfigError
from auricle.models import state as states
from auricle.models.checkpoint import ModelSpec, load_model
from auricle.models.frontend import FrontendState, LogMel
from auricle.models.network import NetworkState
from auricle.models.zoo import find_model
from auricle.pipelines.precision import carried, runs_bf16


class TeacherState(NamedTuple):
    """What a teacher remembers of streams."""

    frontend: FrontendState
    network: NetworkState


class Teacher:
    """A model that is not trained any more."""

    def __init__(self, name: str, student: ModelSpec, device: torch.device, precision: str) -> None:
        """Reads the model.

        Args:
            name: a shipped model's name, or a path.
            student: the model that is to learn from it.
            device: where it runs.
            precision: "bf16" to run it in mixed precision where the machine has it.

        Raises:
            ModelError: there is no such model.
            ConfigError: its answers are not what the student is to give.
        """
        spec, network, _ = load_model(find_model(name, "lstm"))
        for what, own, wanted in (
            ("labels", spec.labels, student.labels),
            ("frame_samples", spec.frame_samples, student.frame_samples),
            ("lookahead_frames", spec.lookahead_frames, student.lookahead_frames),
        ):
            if own != wanted:
                raise ConfigError(
                    f"{student.kind}.teacher: {name} has {what} {own}, the recipe {wanted}; they must be the "
                    "same"
                )
        self.network = network.eval().requires_grad_(False).to(device)
        self.frontend = LogMel(spec.frontend).to(device)
        self.device, self.mixed = device, runs_bf16(device, precision)

    def initial_state(self, streams: int) -> TeacherState:
        """What it remembers of streams that it has heard nothing of."""
        return TeacherState(self.frontend.initial_state(streams), self.network.initial_state(streams))

    def log_probs(self, samples: Tensor) -> Tensor:
        """What it says of recordings `(B, N)`, each from a fresh state: `(B, J, V)`."""
        return self.follow(samples, self.initial_state(len(samples)))[0]

    @torch.no_grad()
    def follow(self, samples: Tensor, state: TeacherState) -> tuple[Tensor, TeacherState]:
        """What it says of the next segments `(B, N)` of streams, `(B, J, V)`, and what it remembers then."""
        features, heard = self.frontend(samples.to(self.device), state.frontend)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits, after = self.network(features, state.network)
        return logits.float().log_softmax(-1), TeacherState(heard, states.map_state(carried, after))
