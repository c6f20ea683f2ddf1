"""Runs a trained network a few frames at a time, as cheaply as one core can.

A step of one stream does little arithmetic: it costs the calls around it and the memory that weights come
from. So weights stay in float16, as model files hold them, while products are made and added in float32 from
the very same numbers; one call multiplies a whole layer, and all that is small is numpy's, whose calls cost
the least. States are those of the network, so that either can go on from the other's.

Shape letters: B streams, T frames, C channels, O outputs, L layers, H hidden units.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle.models import state as states
from auricle.models.attention import Attention
from auricle.models.layers import CausalConv, ConvState, Recurrent, RecurrentState, ResidualRecurrent
from auricle.models.network import Network, NetworkState

Floats = NDArray[np.float32]
HALF = np.float32(0.5)
PACKED_FROM = 1 << 17
"""Weights from which a product waits for memory; of fewer, the call of the packed one would cost more."""
NO_CELL: Floats = np.zeros(0, np.float32)
_quantized: Any = torch.ops.quantized


def runtime_of(network: Network) -> "Network | Runtime":
    """What runs a network that is trained: itself, where it has layers that are not known here."""
    known = all(isinstance(block, Recurrent | ResidualRecurrent) for block in network.recurrent)
    return Runtime(network) if known and not network.means else network


def can_pack() -> bool:
    """Whether this build of torch, on this processor, multiplies by float16 weights (x86-64 with AVX2)."""
    return "fbgemm" in torch.backends.quantized.supported_engines


class Product:
    """`x W' + b`."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Takes `W` `(O, C)` and `b` `(O,)`; packs `W` where float16 holds it as it is."""
        weight, bias = weight.detach(), bias.detach()
        exact = bool((weight == weight.half().float()).all())
        self.packed = can_pack() and weight.numel() >= PACKED_FROM and exact
        if self.packed:
            matrix = _quantized.linear_prepack_fp16(weight, bias)
            self._run: Callable[[Tensor], Tensor] = lambda x: _quantized.linear_dynamic_fp16(x, matrix)
        else:
            self._run = lambda x: nn.functional.linear(x, weight, bias)

    def __call__(self, inputs: Floats) -> Floats:
        """Multiplies inputs `(..., C)` to outputs `(..., O)`, which are the caller's to change."""
        outputs: Floats = self._run(torch.from_numpy(inputs)).numpy()
        return outputs


class Cell(Protocol):
    """One layer that remembers."""

    def run(self, inputs: Floats, hidden: Floats, cell: Floats) -> Floats:
        """Takes T frames `(B, T, C)` after `hidden` `(B, H)`.

        Returns:
            What is remembered after each, `(B, T, H)`; `cell`, if there is one, is overwritten.
        """


def _sigmoid(values: Floats) -> None:
    """In place; by way of tanh, which cannot overflow."""
    values *= HALF
    np.tanh(values, out=values)
    values *= HALF
    values += HALF


class Lstm:
    """What a layer of `nn.LSTM` computes."""

    def __init__(self, net: nn.RNNBase, layer: int) -> None:
        """Joins input and hidden weights, so that one product makes all gates: i, f, o and then g."""
        own = [getattr(net, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        turned = [torch.cat([part.chunk(4)[gate] for gate in (0, 1, 3, 2)]) for part in own]
        self.gates = Product(torch.cat(turned[:2], 1), turned[2] + turned[3])

    def run(self, inputs: Floats, hidden: Floats, cell: Floats) -> Floats:
        """As `Cell.run`."""
        size, outputs = hidden.shape[1], _outputs(inputs, hidden)
        for time in range(inputs.shape[1]):
            gates = self.gates(np.concatenate((inputs[:, time], hidden), 1))
            _sigmoid(gates[:, : 3 * size])
            added = np.tanh(gates[:, 3 * size :])
            added *= gates[:, :size]
            cell *= gates[:, size : 2 * size]
            cell += added
            hidden = np.tanh(cell)
            hidden *= gates[:, 2 * size : 3 * size]
            outputs[:, time] = hidden
        return outputs


class Gru:
    """What a layer of `nn.GRU` computes."""

    def __init__(self, net: nn.RNNBase, layer: int) -> None:
        """Takes the weights of a layer; gates are r, z, n."""
        self.heard, self.remembered = (
            Product(getattr(net, f"weight_{part}_l{layer}"), getattr(net, f"bias_{part}_l{layer}"))
            for part in ("ih", "hh")
        )

    def run(self, inputs: Floats, hidden: Floats, cell: Floats) -> Floats:
        """As `Cell.run`; there is no cell."""
        size, outputs = hidden.shape[1], _outputs(inputs, hidden)
        heard = self.heard(inputs)
        for time in range(inputs.shape[1]):
            remembered = self.remembered(hidden)
            gates = remembered[:, : 2 * size]
            gates += heard[:, time, : 2 * size]
            _sigmoid(gates)
            proposed = remembered[:, 2 * size :]
            proposed *= gates[:, :size]
            proposed += heard[:, time, 2 * size :]
            np.tanh(proposed, out=proposed)
            hidden = hidden - proposed
            hidden *= gates[:, size:]
            hidden += proposed
            outputs[:, time] = hidden
        return outputs


class Rnn:
    """What a layer of `nn.RNN` computes."""

    def __init__(self, net: nn.RNNBase, layer: int) -> None:
        """Joins input and hidden weights."""
        weight = torch.cat([getattr(net, f"weight_{part}_l{layer}") for part in ("ih", "hh")], 1)
        self.sum = Product(weight, getattr(net, f"bias_ih_l{layer}") + getattr(net, f"bias_hh_l{layer}"))

    def run(self, inputs: Floats, hidden: Floats, cell: Floats) -> Floats:
        """As `Cell.run`; there is no cell."""
        outputs = _outputs(inputs, hidden)
        for time in range(inputs.shape[1]):
            hidden = np.tanh(self.sum(np.concatenate((inputs[:, time], hidden), 1)))
            outputs[:, time] = hidden
        return outputs


def _outputs(inputs: Floats, hidden: Floats) -> Floats:
    return np.empty((*inputs.shape[:2], hidden.shape[1]), np.float32)


CELLS: dict[str, Callable[[nn.RNNBase, int], Cell]] = {"lstm": Lstm, "gru": Gru, "rnn": Rnn}


class Norm:
    """What `nn.LayerNorm` computes."""

    def __init__(self, net: nn.Module) -> None:
        """Takes the weights of a norm over H."""
        assert isinstance(net, nn.LayerNorm)
        self.scale, self.offset = net.weight.detach().numpy(), net.bias.detach().numpy()
        self.share, self.least = np.float32(1 / len(self.scale)), np.float32(net.eps)

    def __call__(self, values: Floats) -> Floats:
        """Norms `(..., H)`."""
        mean: Floats = np.add.reduce(values, -1, keepdims=True)
        mean *= self.share
        centred = values - mean
        spread: Floats = np.add.reduce(centred * centred, -1, keepdims=True)
        spread *= self.share
        spread += self.least
        centred /= np.sqrt(spread)
        centred *= self.scale
        centred += self.offset
        return centred


class Stack:
    """What `Recurrent` or `ResidualRecurrent` computes."""

    def __init__(self, block: Recurrent | ResidualRecurrent) -> None:
        """Takes the weights of a block."""
        self.norms: Sequence[Norm] = ()
        if isinstance(block, ResidualRecurrent):
            self.widen = Product(block.widen.weight, block.widen.bias)
            self.norms = [Norm(norm) for norm in block.norms]
            self.layers = [CELLS[block.cell](one.net, 0) for one in block.blocks]
        else:
            self.layers = [CELLS[block.cell](block.net, layer) for layer in range(block.net.num_layers)]

    def __call__(self, inputs: Floats, state: RecurrentState) -> tuple[Floats, RecurrentState]:
        """Runs T steps; shapes as for `Recurrent`."""
        hidden, cell = (leaf.numpy().swapaxes(0, 1).copy() for leaf in state)  # (L, B, H); a state is a value
        cells = list(cell) or [NO_CELL] * len(self.layers)
        values = self.widen(inputs) if self.norms else inputs
        for layer, own in enumerate(self.layers):
            said = own.run(self.norms[layer](values) if self.norms else values, hidden[layer], cells[layer])
            hidden[layer] = said[:, -1]
            values = values + said if self.norms else said
        values = self.norms[-1](values) if self.norms else values
        return values, RecurrentState(
            *(torch.from_numpy(leaf.swapaxes(0, 1).copy()) for leaf in (hidden, cell))
        )


class Convolution:
    """What `CausalConv` and the rectifier behind it compute."""

    def __init__(self, layer: CausalConv) -> None:
        """Turns the weights round, so that frames that lie one behind the other are one input."""
        weight = layer.net.weight.permute(0, 2, 1)  # (O, kernel, C)
        assert layer.net.bias is not None
        self.product = Product(weight.flatten(1), layer.net.bias)
        self.kernel, self.stride, self.context = weight.shape[1], layer.stride, layer.context

    def __call__(self, inputs: Floats, state: ConvState) -> tuple[Floats, ConvState]:
        """Convolves whole strides; shapes as for `CausalConv`."""
        heard = np.concatenate((state.context.numpy(), inputs), 1)
        streams, frames, _ = heard.shape
        starts = range(0, frames - self.kernel + 1, self.stride)
        covered = [heard[:, start : start + self.kernel].reshape(streams, -1) for start in starts]
        outputs = self.product(np.stack(covered, 1))
        context = heard[:, frames - self.context :].copy()
        return np.maximum(outputs, 0, out=outputs), ConvState(torch.from_numpy(context))


class Runtime:
    """What a network computes, from and to the same states."""

    def __init__(self, network: Network) -> None:
        """Takes the weights of a network, all of whose layers are known here."""
        self._fresh = network.initial_state(1)
        self.stride = network.config.stride_frames
        self.mean, self.scale = network.feature_mean.numpy(), network.feature_scale.numpy()
        self.convolutions = [Convolution(layer) for layer in network.convolutions]
        self.stacks = [Stack(block) for block in network.recurrent if not isinstance(block, Attention)]
        self.head = Product(network.head.weight, network.head.bias)

    def initial_state(self, batch_size: int) -> NetworkState:
        """Returns the state of streams that have heard nothing."""
        fresh: NetworkState = states.map_state(
            lambda leaf: leaf.repeat(batch_size, *[1] * (leaf.dim() - 1)), self._fresh
        )
        return fresh

    def __call__(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Runs whole output frames; arguments, results and errors as for `Network.forward`."""
        if (frames := features.shape[1]) % self.stride:
            raise ValueError(f"expected a multiple of {self.stride} frames, got {frames}; re-block them")
        hidden: Floats = (features.numpy() - self.mean) * self.scale
        convolutions, recurrent = [], []
        for convolve, before in zip(self.convolutions, state.convolutions, strict=True):
            hidden, context = convolve(hidden, before)
            convolutions.append(context)
        for run, heard in zip(self.stacks, state.recurrent, strict=True):
            assert isinstance(heard, RecurrentState)
            hidden, remembered = run(hidden, heard)
            recurrent.append(remembered)
        after = NetworkState(tuple(convolutions), tuple(recurrent), state.means)
        return torch.from_numpy(self.head(hidden)), after
