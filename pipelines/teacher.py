"""A trained acoustic model as the teacher of another: what it says of each frame is what the other learns.

The teacher hears the recording as it is, the student in rooms and noise (teacher-student learning: Li and
others, 2017), so that the student learns to hear through them what the teacher heard without.

Shape letters: B utterances, N samples, J output frames, V labels.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import torch
from torch import Tensor

from auricle.configs.errors import ConfigError
from auricle.models import state as states
from auricle.models.checkpoint import ModelSpec, load_model
from auricle.models.frontend import LogMel
from auricle.models.network import Network
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
        spec, network = _load("acoustic.teacher", name, student)
        self.network = network.to(device)
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


class StreamTeachers:
    """Models that hear endless streams as they are, each with a state of its own."""

    def __init__(self, names: Sequence[str], student: ModelSpec, streams: int) -> None:
        """Reads the models.

        Args:
            names: shipped models' names, or paths.
            student: the model that is to learn from them.
            streams: B, how many they hear.

        Raises:
            ModelError: there is no such model.
            ConfigError: a model's answers are not what the student is to give.
        """
        self.networks = []
        for name in names:
            spec, network = _load("keyword.teachers", name, student)
            _same("keyword.teachers", name, "frontend", spec, student)
            self.networks.append(network)
        self.frontend = LogMel(student.frontend)
        self.heard = self.frontend.initial_state(streams)
        self.states = [network.initial_state(streams) for network in self.networks]

    @torch.no_grad()
    def log_probs(self, samples: Tensor) -> Tensor:
        """The mean of what they say of the streams' next segment `(B, N)`, with shape `(B, J, V)`."""
        features, self.heard = self.frontend(samples, self.heard)
        said = []
        for number, network in enumerate(self.networks):
            logits, self.states[number] = network(features, self.states[number])
            said.append(logits.log_softmax(-1))
        return torch.stack(said).logsumexp(0) - log(len(said))

    def state_dict(self) -> dict[str, Any]:
        """What they remember of the streams."""
        own = [states.to_dict(state) for state in self.states]
        return {"frontend": states.to_dict(self.heard), "networks": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Returns to what they remembered."""
        self.heard = states.from_dict(state["frontend"], self.heard)
        self.states = [
            states.from_dict(stored, own) for stored, own in zip(state["networks"], self.states, strict=True)
        ]


def _load(setting: str, name: str, student: ModelSpec) -> tuple[ModelSpec, Network]:
    """Reads a model whose answers are those that the student is to give."""
    spec, network, _ = load_model(find_model(name, "lstm"))
    for what in ("labels", "frame_samples", "lookahead_frames"):
        _same(setting, name, what, spec, student)
    return spec, network.eval().requires_grad_(False)


def _same(setting: str, name: str, what: str, spec: ModelSpec, student: ModelSpec) -> None:
    own, wanted = getattr(spec, what), getattr(student, what)
    if own != wanted:
        raise ConfigError(f"{setting}: {name} has {what} {own}, the recipe {wanted}; they must be the same")
