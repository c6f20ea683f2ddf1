"""The second pass: layers in both directions that look at a whole utterance again, once it is over.

They read what the streaming network's last layer said of each frame, so an utterance costs them little, and
they know what came after a sound, which no stream can wait for (cascaded encoders: Narayanan et al., 2021).

Shape letters: B utterances, J output frames, C hidden values of the first pass, V labels.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.checkpoint import ModelSpec, file_hash, load_model
from auricle.models.network import Network, NetworkConfig, NetworkState

SECOND_SUFFIX = ".second"
"""A model's second pass lies beside its weights, as `STEM.second`: a safetensors file of its own kind."""
FORMAT = "auricle.second-pass/1"
REMEDY = "train one with `auricle train acoustic --recipe acoustic-second`, or take the file away"


@dataclass(frozen=True)
class SecondPassConfig:
    """The shape of a second pass."""

    labels: int
    """Outputs per frame, V: those of the first pass."""
    inputs: int
    """Hidden values of the first pass, C."""
    layers: int = 2
    """Each an LSTM forwards and one backwards, added to what came in."""
    dropout: float = 0.05


class SecondPass(nn.Module):
    """Hidden values of an utterance in, logits out; it remembers nothing between utterances."""

    def __init__(self, config: SecondPassConfig) -> None:
        """Builds the layers."""
        super().__init__()
        self.config = config
        size = config.inputs
        self.norms: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            [nn.LayerNorm(size) for _ in range(config.layers)]
        )
        self.recurrent: Sequence[Sequence[nn.LSTM]] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList([nn.LSTM(size, size, batch_first=True) for _ in range(2)])
            for _ in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(size, config.labels)

    def forward(self, hidden: Tensor) -> Tensor:
        """Judges whole utterances.

        Args:
            hidden: what the first pass's last layer gave, with shape `(B, J, C)`.

        Returns:
            Logits, with shape `(B, J, V)`.
        """
        values = hidden
        for norm, (forwards, backwards) in zip(self.norms, self.recurrent, strict=True):
            normed = norm(values)
            onwards, _ = forwards(normed)
            back, _ = backwards(normed.flip(1))
            values = values + self.dropout(onwards) + self.dropout(back.flip(1))
        logits: Tensor = self.head(self.dropout(values))
        return logits


class TwoPasses(Network):
    """A first pass, and a second one above it; the first learns no more, or both do.

    While the second is trained, dropout goes on in the first, so that what it knows by heart of the training
    data is worth less.
    """

    def __init__(self, config: NetworkConfig, second: SecondPassConfig, *, both_learn: bool = False) -> None:
        """Builds both; the first pass is given its weights by the caller."""
        super().__init__(config)
        self.both_learn = both_learn
        self.requires_grad_(both_learn)
        self.second = SecondPass(second)

    def take_first(self, first: Network) -> None:
        """Takes the weights of the first pass, and its outputs as what the second one begins with."""
        self.load_state_dict(self.state_dict() | first.state_dict())
        self.second.head.load_state_dict(first.head.state_dict())

    def has_first(self, first: Network) -> bool:
        """Whether these are the weights of the first pass."""
        own = self.state_dict()
        return all(torch.equal(own[name], value) for name, value in first.state_dict().items())

    def first(self) -> Network:
        """The first pass alone, its weights copied."""
        alone, own = Network(self.config), self.state_dict()
        alone.load_state_dict({name: own[name] for name in alone.state_dict()})
        return alone.to(self.feature_mean.device).train(self.training)

    def forward(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Runs whole utterances: as `Network.forward`, but the logits are those of the second pass.

        While both learn, those of the first pass stand behind them, `(B, J, 2 V)`.
        """
        with torch.set_grad_enabled(self.both_learn and torch.is_grad_enabled()):
            hidden, state = self.hidden(features, state)
        logits: Tensor = self.second(hidden)
        if self.both_learn and self.training:
            logits = torch.cat([logits, self.logits(hidden)], -1)
        return logits, state


@dataclass(frozen=True)
class SecondPassInfo:
    """What a second pass belongs to."""

    first: str
    """Hash of the weights of the first pass."""
    shape: SecondPassConfig
    record: dict[str, Any] = field(default_factory=dict)
    """How it was trained: command, steps, figures."""


def save_second_pass(path: Path, info: SecondPassInfo, second: SecondPass) -> str:
    """Writes the file, weights in float16, whole or not at all; returns its hash (see `file_hash`)."""
    weights = {name: value.half().contiguous() for name, value in second.state_dict().items()}
    header = json.dumps({"format": FORMAT, **asdict(info)}, sort_keys=True)
    content = save(weights, metadata={"auricle": header})
    with written_whole(path) as partial:
        partial.write_bytes(content)
    return file_hash(content)


def read_second_pass(path: Path) -> tuple[SecondPassInfo, SecondPass, str]:
    """Reads a second pass, whatever it belongs to.

    Returns:
        What it belongs to, the layers, in evaluation mode with float32 weights, and the file's hash.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("auricle", "{}"))
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no dict)
        if not isinstance(header, dict) or header.pop("format", "") != FORMAT:
            raise ValueError(f"expected format '{FORMAT}'")
        info = SecondPassInfo(shape=SecondPassConfig(**header.pop("shape")), **header)
        second = SecondPass(info.shape)
        second.load_state_dict(weights)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path} is no second pass of a model: {error}; {REMEDY}") from error
    return info, second.eval().requires_grad_(False), file_hash(content)


def load_second_pass(path: Path, first: str, shape: NetworkConfig) -> tuple[SecondPass, str]:
    """Reads the second pass of a model.

    Args:
        path: the file.
        first: hash of the model that it is to look at.
        shape: of that model.

    Returns:
        The layers, in evaluation mode with float32 weights, and the file's hash.

    Raises:
        ModelError: the file is missing, damaged, or belongs to other weights.
    """
    info, second, digest = read_second_pass(path)
    if info.first != first:
        raise ModelError(f"{path} belongs to the weights {info.first}, but {first} are used; {REMEDY}")
    if (info.shape.labels, info.shape.inputs) != (shape.labels, shape.hidden):
        raise ModelError(f"{path} has the shape {info.shape}, the model {shape}; {REMEDY}")
    return second, digest


def load_judged(path: Path) -> tuple[ModelSpec, Network, str]:
    """Reads a model, or, where `path` is a second pass, both passes (`load_model`, `load_two_passes`)."""
    return load_two_passes(path) if path.suffix == SECOND_SUFFIX else load_model(path)


def load_two_passes(path: Path) -> tuple[ModelSpec, TwoPasses, str]:
    """Reads a second pass, and the model beside which its file lies.

    Returns:
        The model's description, both passes in evaluation mode, and the hash of the second pass.

    Raises:
        ModelError: one of the two files is missing, damaged, or they do not belong together.
    """
    spec, first, digest = load_model(path.with_suffix(".safetensors"))
    second, second_digest = load_second_pass(path, digest, spec.network)
    both = TwoPasses(spec.network, second.config)
    both.take_first(first)
    both.second.load_state_dict(second.state_dict())
    return spec, both.eval(), second_digest
