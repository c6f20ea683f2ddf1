"""A trained acoustic model as the teacher of another: what it says of each frame is what the other learns.

The teacher hears the recording as it is, the student in rooms and noise (teacher-student learning: Li and
others, 2017), so that the student learns to hear through them what the teacher heard without.

Shape letters: B utterances, N samples, J output frames, V labels.
"""

import torch
from torch import Tensor

from auricle.configs.errors import ConfigError
from auricle.models.checkpoint import ModelSpec, load_model
from auricle.models.frontend import LogMel
from auricle.models.zoo import find_model
from auricle.pipelines.precision import runs_bf16


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
                    f"acoustic.teacher: {name} has {what} {own}, the recipe {wanted}; they must be the same"
                )
        self.network = network.eval().requires_grad_(False).to(device)
        self.frontend = LogMel(spec.frontend).to(device)
        self.device, self.mixed = device, runs_bf16(device, precision)

    @torch.no_grad()
    def log_probs(self, samples: Tensor) -> Tensor:
        """What it says of recordings `(B, N)`, each from a fresh state: `(B, J, V)`."""
        features, _ = self.frontend(samples.to(self.device), self.frontend.initial_state(len(samples)))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits, _ = self.network(features, self.network.initial_state(len(samples)))
        taught: Tensor = logits.float().log_softmax(-1)
        return taught
