"""Runs a trained network a few frames at a time, as cheaply as one core can.

A step of one stream does little arithmetic: it costs the calls around it and the memory that weights come
from. So weights stay in float16, as model files hold them, while products are made and added in float32 from
the very same numbers; one call multiplies a whole layer, and all that is small is numpy's, whose calls cost
the least. States are those of the network, so that either can go on from the other's.

Shape letters: B streams, T frames, C channels, O outputs, L layers, H hidden units.
"""

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle.models import state as states
from auricle.models.attention import Attention
from auricle.models.frontend import FrontendState, LogMel
from auricle.models.layers import CausalConv, ConvState, Recurrent, RecurrentState, ResidualRecurrent
from auricle.models.network import Network, NetworkState

Floats = NDArray[np.float32]
HALF = np.float32(0.5)
PACKED_FROM = 1 << 12
"""Weights from which a product is quicker packed: it waits for them to come from memory."""
NO_CELL: Floats = np.zeros(0, np.float32)


def runtime_of(network: Network) -> "Network | Runtime":
    """What runs a network that is trained: itself, where it has layers that are not known here."""
    known = all(isinstance(block, Recurrent | ResidualRecurrent) for block in network.recurrent)
    return Runtime(network) if known and not network.means else network


def can_pack() -> bool:
    """Whether this build of torch, on this processor, multiplies by float16 weights (x86-64 with AVX2)."""
    is_there = "fbgemm" in torch.backends.quantized.supported_engines
    return is_there and hasattr(torch, "fbgemm_linear_fp16_weight_fp32_activation")


def _packed(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """A product with float16 weights.

    By torch's older functions: what they compute is that of `torch.ops.quantized.linear_dynamic_fp16`, to the
    last bit, but that takes a third more time, since its weights are an object which each call looks into.
    Torch tells once that they may go; where they have, weights are float32.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fbgemm_.* is deprecated", UserWarning)
        matrix = torch.fbgemm_pack_gemm_matrix_fp16(weight)
        multiply = torch.fbgemm_linear_fp16_weight_fp32_activation
        multiply(weight[:1], matrix, bias)
    return lambda x: multiply(x, matrix, bias)


class Product:
    """`x W' + b`."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Takes `W` `(O, C)` and `b` `(O,)`; packs `W` where float16 holds it as it is."""
        weight, bias = weight.detach(), bias.detach()
        exact = bool((weight == weight.half().float()).all())
        self.packed = can_pack() and weight.numel() >= PACKED_FROM and exact
        if self.packed:
            self._run = _packed(weight, bias)
        else:
            self._run = lambda x: nn.functional.linear(x, weight, bias)

    def __call__(self, inputs: Floats) -> Floats:
        """Multiplies inputs `(N, C)` to outputs `(N, O)`, which are the caller's to change."""
        outputs: Floats = self._run(torch.from_numpy(inputs)).numpy()
        return outputs


class Cell(Protocol):
    """One layer that remembers."""

    width: int
    """Room that a frame takes, W: at least that of its inputs, C."""

    def run(self, frames: Floats, hidden: Floats, cell: Floats, outputs: Floats) -> None:
        """Takes T frames `(T, W)`, each with C inputs first, after `hidden` `(H,)`.

        `outputs` `(T, H)` become what is remembered after each. `frames` are overwritten; `cell`, where there
        is one, is brought up to date.
        """


def _weights(net: nn.RNNBase, layer: int) -> list[Tensor]:
    return [getattr(net, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


class Lstm:
    """What a layer of `nn.LSTM` computes."""

    def __init__(self, net: nn.RNNBase, layer: int) -> None:
        """Joins input and hidden weights, so that one product makes all gates: i, f, o and then g."""
        own = [torch.cat([part.chunk(4)[gate] for gate in (0, 1, 3, 2)]) for part in _weights(net, layer)]
        weight = torch.cat(own[:2], 1)
        self.width, self.product = weight.shape[1], Product(weight, own[2] + own[3])

    def run(self, frames: Floats, hidden: Floats, cell: Floats, outputs: Floats) -> None:
        """As `Cell.run`."""
        size = len(hidden)
        for frame, said in zip(frames, outputs, strict=True):
            frame[-size:] = hidden
            gates = self.product(frame[None])[0]
            passing, proposed = gates[: 3 * size], gates[3 * size :]
            passing *= HALF  # a sigmoid by way of tanh, which cannot overflow, and one call makes both
            np.tanh(gates, out=gates)
            passing *= HALF
            passing += HALF
            proposed *= passing[:size]
            cell *= passing[size : 2 * size]
            cell += proposed
            hidden = np.tanh(cell, out=said)
            hidden *= passing[2 * size :]


class Gru:
    """What a layer of `nn.GRU` computes."""

    def __init__(self, net: nn.RNNBase, layer: int) -> None:
        """Takes the weights of a layer; gates are r, z, n."""
        heard, remembered, *biases = _weights(net, layer)
        self.width = heard.shape[1]
        self.heard, self.remembered = Product(heard, biases[0]), Product(remembered, biases[1])

    def run(self, frames: Floats, hidden: Floats, cell: Floats, outputs: Floats) -> None:
        """As `Cell.run`; there is no cell."""
        size = len(hidden)
        for new, said in zip(self.heard(frames), outputs, strict=True):
            old = self.remembered(hidden[None])[0]
            passing, proposed = old[: 2 * size], old[2 * size :]
            passing += new[: 2 * size]
            passing *= HALF  # a sigmoid by way of tanh, which cannot overflow
            np.tanh(passing, out=passing)
            passing *= HALF
            passing += HALF
            proposed *= passing[:size]
            proposed += new[2 * size :]
            np.tanh(proposed, out=proposed)
            hidden = np.subtract(hidden, proposed, out=said)
            hidden *= passing[size:]
            hidden += proposed


class Rnn:
    """What a layer of `nn.RNN` computes."""

    def __init__(self, net: nn.RNNBase, layer: int) -> None:
        """Joins input and hidden weights."""
        own = _weights(net, layer)
        weight = torch.cat(own[:2], 1)
        self.width, self.product = weight.shape[1], Product(weight, own[2] + own[3])

    def run(self, frames: Floats, hidden: Floats, cell: Floats, outputs: Floats) -> None:
        """As `Cell.run`; there is no cell."""
        for frame, said in zip(frames, outputs, strict=True):
            frame[-len(hidden) :] = hidden
            hidden = np.tanh(self.product(frame[None])[0], out=said)


CELLS: dict[str, Callable[[nn.RNNBase, int], Cell]] = {"lstm": Lstm, "gru": Gru, "rnn": Rnn}


class Norm:
    """What `nn.LayerNorm` computes."""

    def __init__(self, net: nn.Module) -> None:
        """Takes the weights of a norm over C."""
        assert isinstance(net, nn.LayerNorm)
        self.scale, self.offset = net.weight.detach().numpy(), net.bias.detach().numpy()
        self.share, self.least = 1 / len(self.scale), net.eps

    def __call__(self, values: Floats, normed: Floats) -> None:
        """Writes vectors `(T, C)`, normed, to the first C places of others, `(T, W)`."""
        for value, place in zip(values, normed, strict=True):
            own = place[: len(value)]
            np.subtract(value, np.add.reduce(value) * self.share, out=own)
            own *= (float(own.dot(own)) * self.share + self.least) ** -0.5
            own *= self.scale
            own += self.offset


def _copied(values: Floats, others: Floats) -> None:
    others[:, : values.shape[1]] = values


class Stack:
    """What `Recurrent` or `ResidualRecurrent` computes."""

    def __init__(self, block: Recurrent | ResidualRecurrent) -> None:
        """Takes the weights of a block."""
        self.residual = isinstance(block, ResidualRecurrent)
        self.prepare: list[Callable[[Floats, Floats], None]]
        """What brings values to where a layer takes them, for each layer and for what follows the last."""
        if isinstance(block, ResidualRecurrent):
            self.widen = Product(block.widen.weight, block.widen.bias)
            self.prepare = [Norm(norm) for norm in block.norms]
            self.layers = [CELLS[block.cell](one.net, 0) for one in block.blocks]
        else:
            self.layers = [CELLS[block.cell](block.net, layer) for layer in range(block.net.num_layers)]
            self.prepare = [_copied] * (len(self.layers) + 1)

    def __call__(self, inputs: Floats, state: RecurrentState) -> tuple[Floats, RecurrentState]:
        """Runs T frames `(T, C)` of one stream; the state is as for `Recurrent`."""
        hidden, cell = (leaf.numpy().copy() for leaf in state)  # (1, L, H); a state is a value
        cells = cell[0] if cell.size else [NO_CELL] * len(self.layers)
        values = self.widen(inputs) if self.residual else inputs
        for own, prepare, before, kept in zip(self.layers, self.prepare, hidden[0], cells, strict=False):
            frames = np.empty((len(values), own.width), np.float32)
            outputs = np.empty((len(values), len(before)), np.float32)
            prepare(values, frames)
            own.run(frames, before, kept, outputs)
            before[:] = outputs[-1]
            values = np.add(values, outputs, out=values) if self.residual else outputs
        outputs = np.empty_like(values)
        self.prepare[-1](values, outputs)
        return outputs, RecurrentState(torch.from_numpy(hidden), torch.from_numpy(cell))


class Convolution:
    """What `CausalConv` and the rectifier behind it compute."""

    def __init__(self, layer: CausalConv) -> None:
        """Turns the weights round, so that frames that lie one behind the other are one input."""
        weight = layer.net.weight.permute(0, 2, 1)  # (O, kernel, C)
        assert layer.net.bias is not None
        self.product = Product(weight.flatten(1), layer.net.bias)
        self.kernel, self.stride, self.context = weight.shape[1], layer.stride, layer.context

    def __call__(self, inputs: Floats, state: ConvState) -> tuple[Floats, ConvState]:
        """Convolves whole strides of one stream, `(N, C)`; the state is as for `CausalConv`."""
        heard = np.concatenate((state.context.numpy()[0], inputs))
        starts = range(0, len(heard) - self.kernel + 1, self.stride)
        covered = np.stack([heard[start : start + self.kernel].reshape(-1) for start in starts])
        outputs = self.product(covered)
        context = heard[None, len(heard) - self.context :].copy()
        return np.maximum(outputs, 0, out=outputs), ConvState(torch.from_numpy(context))


class Features:
    """What `LogMel` computes, from and to the same states."""

    def __init__(self, frontend: LogMel) -> None:
        """Takes window and filters of a front end."""
        config = frontend.config
        self.config, self.initial_state = config, frontend.initial_state
        self.window = frontend.window.numpy()
        filters = frontend.filters.T.numpy()
        heard = [np.flatnonzero(own) if own.any() else np.zeros(1, np.intp) for own in filters]
        self.bins = np.concatenate(heard)
        """What each mel hears, one after another: a filter is nearly all zeros."""
        self.weights = np.concatenate([own[bins] for own, bins in zip(filters, heard, strict=True)])
        self.starts = np.cumsum([0, *map(len, heard[:-1])])

    def __call__(self, samples: Tensor, state: FrontendState) -> tuple[Tensor, FrontendState]:
        """Turns whole hops into frames; arguments, results and errors as for `LogMel.forward`."""
        config = self.config
        config.check(samples)
        heard = np.concatenate((state.context.numpy(), samples.numpy()), 1)
        shape = (len(heard), samples.shape[1] // config.hop_samples, config.window_samples)
        row, sample = heard.strides
        frames: Floats = np.ndarray(shape, heard.dtype, heard, 0, (row, config.hop_samples * sample, sample))
        spectrum = np.fft.rfft(frames * self.window, config.fft_samples)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        shares = power[..., self.bins]
        shares *= self.weights
        mels: Floats = np.add.reduceat(shares, self.starts, 2)
        mels += config.floor
        context = heard[:, heard.shape[1] - config.context_samples :].copy()
        return torch.from_numpy(np.log(mels, out=mels)), FrontendState(torch.from_numpy(context))


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
        hidden, after = self.hidden(features, state)
        return self.logits(hidden), after

    def logits(self, hidden: Tensor) -> Tensor:
        """What the head makes of hidden values `(B, J, H)`."""
        batch, frames, size = hidden.shape
        return torch.from_numpy(self.head(hidden.numpy().reshape(-1, size)).reshape(batch, frames, -1))

    def hidden(self, features: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """As `Network.hidden`; arguments and errors as for `Network.forward`."""
        if (frames := features.shape[1]) % self.stride:
            raise ValueError(f"expected a multiple of {self.stride} frames, got {frames}; re-block them")
        if len(features) == 1:
            outputs, after = self._run(features.numpy()[0], state)
            return torch.from_numpy(outputs[None]), after
        ran = [self._run(*one) for one in zip(features.numpy(), states.unstack(state), strict=True)]
        said = torch.from_numpy(np.stack([outputs for outputs, _ in ran]))
        return said, states.stack([after for _, after in ran])

    def _run(self, features: Floats, state: NetworkState) -> tuple[Floats, NetworkState]:
        """Runs frames `(T, F)` of one stream."""
        values: Floats = features - self.mean
        values *= self.scale
        convolutions, recurrent = [], []
        for convolve, before in zip(self.convolutions, state.convolutions, strict=True):
            values, context = convolve(values, before)
            convolutions.append(context)
        for run, heard in zip(self.stacks, state.recurrent, strict=True):
            assert isinstance(heard, RecurrentState)
            values, remembered = run(values, heard)
            recurrent.append(remembered)
        return values, NetworkState(tuple(convolutions), tuple(recurrent), state.means)
