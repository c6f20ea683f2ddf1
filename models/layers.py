"""Streaming layers: each takes `(input, state)` and returns `(output, new state)`.

The same call serves training and live use: offline is streaming from the initial state in one chunk.

Shape letters: B streams, T frames, C channels, L layers, H hidden units.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from auricle.configs.errors import ModelError

CELLS: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
GATED = ("gru", "lstm")
"""Cells with gates."""


class RecurrentState(NamedTuple):
    """What a recurrent layer remembers between chunks."""

    hidden: Tensor  # (B, L, H)
    cell: Tensor  # (B, L, H) for the LSTM, (B, 0, H) for cells without one


class Recurrent(nn.Module):
    """L recurrent layers of one kind of cell, with dropout between them."""

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int, dropout: float = 0.0) -> None:
        """Builds the layers.

        Args:
            cell: "gru", "lstm" or "rnn".
            inputs: channels of the input.
            hidden: units of each layer.
            layers: number of layers.
            dropout: probability between layers, in training only.

        Raises:
            ModelError: `cell` is not known.
        """
        super().__init__()
        if cell not in CELLS:
            raise ModelError(f"unknown cell '{cell}': expected one of {', '.join(CELLS)}")
        self.cell = cell
        between = dropout if layers > 1 else 0.0
        self.net = CELLS[cell](inputs, hidden, layers, batch_first=True, dropout=between)

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Returns the state of streams that have heard nothing."""
        weight, net = next(self.parameters()), self.net
        hidden = weight.new_zeros(batch_size, net.num_layers, net.hidden_size)
        cell = hidden.clone() if self.cell == "lstm" else hidden.new_zeros(batch_size, 0, net.hidden_size)
        return RecurrentState(hidden, cell)

    def forward(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Runs T steps.

        Args:
            inputs: with shape `(B, T, C)`.
            state: what was heard before.

        Returns:
            Hidden values of the last layer, with shape `(B, T, H)`, and the new state.
        """
        hidden = state.hidden.transpose(0, 1).contiguous()  # torch wants (L, B, H)
        if self.cell == "lstm":
            cell = state.cell.transpose(0, 1).contiguous()
            outputs, (hidden, cell) = self.net(inputs, (hidden, cell))
            return outputs, RecurrentState(_own(hidden), _own(cell))
        outputs, hidden = self.net(inputs, hidden)
        return outputs, RecurrentState(_own(hidden), state.cell)


class ResidualRecurrent(nn.Module):
    """L recurrent layers, each of which adds what it heard, after a layer norm, to what came in.

    The sum keeps its scale from layer to layer, which lets deep stacks learn sooner; the last norm gives the
    output.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int, dropout: float = 0.0) -> None:
        """Builds the layers; arguments and errors as for `Recurrent`."""
        super().__init__()
        self.cell, self.hidden = cell, hidden
        self.widen = nn.Linear(inputs, hidden)
        self.blocks: Sequence[Recurrent] = nn.ModuleList(  # type: ignore[assignment]
            [Recurrent(cell, hidden, hidden, 1) for _ in range(layers)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(layers + 1)])
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Returns the state of streams that have heard nothing."""
        each = [block.initial_state(batch_size) for block in self.blocks]
        return RecurrentState(*(torch.cat(leaves, dim=1) for leaves in zip(*each, strict=True)))

    def forward(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Runs T steps; shapes as for `Recurrent`."""
        values, heard = self.widen(inputs), []
        for layer, block in enumerate(self.blocks):
            here = slice(layer, layer + 1)
            outputs, after = block(
                self.norms[layer](values), RecurrentState(state.hidden[:, here], _layer(state.cell, layer))
            )
            values = values + self.dropout(outputs)
            heard.append(after)
        merged = RecurrentState(*(torch.cat(leaves, dim=1) for leaves in zip(*heard, strict=True)))
        return self.norms[-1](values), merged


def _layer(cell: Tensor, layer: int) -> Tensor:
    """The cell values `(B, 1, H)` of one layer, `(B, 0, H)` where there are none."""
    return cell[:, layer : layer + 1] if cell.shape[1] else cell


def _own(hidden: Tensor) -> Tensor:
    """Puts the batch first in memory of its own, whatever layout the kernel left."""
    return hidden.transpose(0, 1).clone(memory_format=torch.contiguous_format)


class MeanState(NamedTuple):
    """What a running mean remembers between chunks."""

    mean: Tensor  # (B, C)


class RunningMean(nn.Module):
    """Subtracts an exponential mean of the past, channel by channel: loudness and colour fade away."""

    weights: Tensor
    decays: Tensor

    def __init__(self, channels: int, frames: int, block_frames: int = 64) -> None:
        """Prepares the sums.

        Args:
            channels: C.
            frames: time constant of the mean.
            block_frames: frames that are averaged in one matrix product.
        """
        super().__init__()
        self.channels = channels
        decay = 1 - 1 / frames
        age = torch.arange(block_frames)[:, None] - torch.arange(block_frames)[None, :]
        weights = torch.where(age >= 0, (1 - decay) * decay ** age.clamp(min=0).double(), 0.0)
        self.register_buffer("weights", weights.float(), persistent=False)
        powers = decay ** torch.arange(1, block_frames + 1, dtype=torch.float64)
        self.register_buffer("decays", powers.float(), persistent=False)

    def initial_state(self, batch_size: int) -> MeanState:
        """Returns the state of streams that have heard nothing: a mean of zero."""
        return MeanState(self.weights.new_zeros(batch_size, self.channels))

    def forward(self, inputs: Tensor, state: MeanState) -> tuple[Tensor, MeanState]:
        """Takes the mean up to and with each frame away from it.

        Args:
            inputs: with shape `(B, T, C)`.
            state: what was heard before.

        Returns:
            With shape `(B, T, C)`, and the new state.
        """
        mean, centred = state.mean, []
        for block in torch.split(inputs, len(self.decays), dim=1):
            count = block.shape[1]
            with torch.autocast(inputs.device.type, enabled=False):  # sums of many want all their digits
                means = torch.matmul(self.weights[:count, :count], block.float())
            means = means + self.decays[:count, None] * mean[:, None]
            centred.append(block - means)
            mean = means[:, -1].clone()
        return torch.cat(centred, dim=1), MeanState(mean)


class ConvState(NamedTuple):
    """What a causal convolution remembers between chunks."""

    context: Tensor  # (B, kernel - stride, C), the newest inputs


class CausalConv(nn.Module):
    """A strided convolution in time that sees only the past: k strides in give exactly k frames."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        """Builds the convolution.

        Args:
            inputs: channels of the input.
            outputs: channels of the output.
            kernel: frames that each output sees, at least `stride`.
            stride: input frames for each output frame.

        Raises:
            ModelError: the kernel is shorter than the stride and would skip frames.
        """
        super().__init__()
        if kernel < stride:
            raise ModelError(f"kernel {kernel} is shorter than stride {stride}: frames would be skipped")
        self.stride, self.context, self.inputs = stride, kernel - stride, inputs
        self.net = nn.Conv1d(inputs, outputs, kernel, stride)

    def initial_state(self, batch_size: int) -> ConvState:
        """Returns the state of streams that have heard nothing: a context of zeros."""
        return ConvState(next(self.parameters()).new_zeros(batch_size, self.context, self.inputs))

    def forward(self, inputs: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """Convolves whole strides.

        Args:
            inputs: with shape `(B, T, C)`; T is a multiple of the stride.
            state: what was heard before.

        Returns:
            With shape `(B, T / stride, outputs)`, and the new state.

        Raises:
            ValueError: T is not a multiple of the stride.
        """
        if inputs.shape[1] % self.stride:
            raise ValueError(
                f"expected a multiple of {self.stride} frames, got {inputs.shape[1]}; re-block them"
            )
        heard = torch.cat([state.context, inputs], dim=1)
        outputs = self.net(heard.transpose(1, 2)).transpose(1, 2)
        return outputs, ConvState(heard[:, heard.shape[1] - self.context :].clone())
