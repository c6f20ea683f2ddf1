"""The streaming network: normalisation, causal convolutions, layers that remember, a linear head.

One family serves voice activity, keywords and phones; `cell` chooses what remembers.

Shape letters: B streams, T feature frames, F mels, V labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auricle.configs.errors import ModelError
from auricle.models.attention import Attention, AttentionState
from auricle.models.layers import (
    CELLS,
    CausalConv,
    ConvState,
    MeanState,
    Recurrent,
    RecurrentState,
    ResidualRecurrent,
    RunningMean,
)

ATTENTION = "attention"
MEMORIES = (*CELLS, ATTENTION)
"""What may remember: each name, or several joined by "+"."""
Memory = Recurrent | ResidualRecurrent | Attention


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network; a checkpoint stores it."""

    labels: int
    """Outputs per frame."""
    cell: str = "gru"
    """"gru", "lstm", "rnn", "attention", or several joined by "+", first one first: "gru+lstm"."""
    mels: int = 80
    conv_channels: tuple[int, ...] = (96, 128)
    conv_kernels: tuple[int, ...] = (5, 5)
    conv_strides: tuple[int, ...] = (2, 2)
    hidden: int = 160
    layers: int = 2
    """Layers of each cell in `cell`."""
    dropout: float = 0.1
    attention_heads: int = 4
    """Patterns that each attention layer looks for; `hidden` is a multiple of twice as many."""
    attention_frames: int = 64
    """Output frames that each attention layer looks back (its memory)."""
    residual: bool = False
    """Each recurrent layer is added to its input, behind a layer norm, instead of replacing it."""
    mean_frames: int = 0
    """Time constant, in feature frames, of the running mean that is taken off the features; 0 for none."""

    def __post_init__(self) -> None:
        """Checks the cells, the sizes, and that the convolutions are described completely."""
        if unknown := [cell for cell in self.cells if cell not in MEMORIES]:
            raise ModelError(
                f"unknown cell '{unknown[0]}' in '{self.cell}': expected one of {', '.join(MEMORIES)}, or "
                "several joined by '+', such as gru+lstm"
            )
        if min(self.labels, self.hidden, self.layers) < 1:
            raise ModelError(
                f"labels, hidden and layers want 1 or more, got {self.labels}, {self.hidden}, {self.layers}"
            )
        if not len(self.conv_channels) == len(self.conv_kernels) == len(self.conv_strides):
            raise ModelError(
                "conv_channels, conv_kernels and conv_strides want one entry for each convolution, got "
                f"{self.conv_channels}, {self.conv_kernels}, {self.conv_strides}"
            )

    @property
    def cells(self) -> tuple[str, ...]:
        """The parts of `cell`, first one first."""
        return tuple(self.cell.split("+"))

    @property
    def stride_frames(self) -> int:
        """Feature frames for each output frame."""
        return prod(self.conv_strides)


class NetworkState(NamedTuple):
    """What a network remembers between chunks."""

    convolutions: tuple[ConvState, ...]
    recurrent: tuple[RecurrentState | AttentionState, ...]
    means: tuple[MeanState, ...]  # one, or none without a running mean


def build_memory(cell: str, inputs: int, config: NetworkConfig) -> Memory:
    """Makes the layers of one cell: all take `(B, T, inputs)` and their state, and give `(B, T, hidden)`."""
    if cell == ATTENTION:
        return Attention(
            inputs,
            config.hidden,
            config.layers,
            config.dropout,
            heads=config.attention_heads,
            window_frames=config.attention_frames,
        )
    kind = ResidualRecurrent if config.residual else Recurrent
    return kind(cell, inputs, config.hidden, config.layers, config.dropout)


class Network(nn.Module):
    """Features in, logits out, state carried by the caller."""

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        """Builds the layers; `feature_mean` and `feature_scale` (F,) are set from training data."""
        super().__init__()
        self.config = config
        self.register_buffer("feature_mean", torch.zeros(config.mels))
        self.register_buffer("feature_scale", torch.ones(config.mels))
        self.means: Sequence[RunningMean] = nn.ModuleList(  # type: ignore[assignment]
            [RunningMean(config.mels, config.mean_frames)] if config.mean_frames else []
        )
        widths = (config.mels, *config.conv_channels)
        self.convolutions: Sequence[CausalConv] = nn.ModuleList(  # type: ignore[assignment]
            CausalConv(inputs, outputs, kernel, stride)
            for inputs, outputs, kernel, stride in zip(
                widths[:-1], widths[1:], config.conv_kernels, config.conv_strides, strict=True
            )
        )
        self.recurrent: Sequence[Memory] = nn.ModuleList(  # type: ignore[assignment]
            build_memory(cell, config.hidden if i else widths[-1], config)
            for i, cell in enumerate(config.cells)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, config.labels)

    def initial_state(self, batch_size: int) -> NetworkState:
        """Returns the state of streams that have heard nothing."""
        return NetworkState(
            tuple(layer.initial_state(batch_size) for layer in self.convolutions),
            tuple(layer.initial_state(batch_size) for layer in self.recurrent),
            tuple(layer.initial_state(batch_size) for layer in self.means),
        )

    def forward(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Runs whole output frames.

        Args:
            features: log mel energies, with shape `(B, T, F)`; T is a multiple of `stride_frames`.
            state: what was heard before.

        Returns:
            Logits, with shape `(B, T / stride_frames, V)`, and the new state.

        Raises:
            ValueError: T is not a multiple of `stride_frames`.
        """
        hidden, state = self.hidden(features, state)
        return self.logits(hidden), state

    def logits(self, hidden: Tensor) -> Tensor:
        """What the head makes of hidden values `(B, J, H)`, with shape `(B, J, V)`."""
        found: Tensor = self.head(self.dropout(hidden))
        return found

    def hidden(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """As `forward`, before the head: what the last layer gives, `(B, T / stride_frames, H)`."""
        hidden = (features - self.feature_mean) * self.feature_scale
        means: list[MeanState] = []
        for norm, mean_heard in zip(self.means, state.means, strict=True):
            hidden, mean_state = norm(hidden, mean_heard)
            means.append(mean_state)
        convolutions: list[ConvState] = []
        for layer, conv_heard in zip(self.convolutions, state.convolutions, strict=True):
            hidden, conv_state = layer(hidden, conv_heard)
            hidden = nn.functional.relu(hidden)
            convolutions.append(conv_state)
        hidden = self.dropout(hidden)
        recurrent: list[RecurrentState | AttentionState] = []
        for block, heard in zip(self.recurrent, state.recurrent, strict=True):
            hidden, recurrent_state = block(hidden, heard)
            recurrent.append(recurrent_state)
        return hidden, NetworkState(tuple(convolutions), tuple(recurrent), tuple(means))
