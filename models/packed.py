"""Layers for running only: weights stay as they are stored, in float16, at half the traffic.

One step of one stream reads every weight once and does little with it, so that its cost is that of the
memory. Model files hold float16; the products are made and added in float32, from the very same numbers.

Shape letters: B streams, T frames, C channels, O outputs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from auricle.models.layers import GATED, Recurrent, RecurrentState, ResidualRecurrent

_quantized: Any = torch.ops.quantized


def can_pack() -> bool:
    """Whether this build of torch, on this processor, has the kernels (x86-64 with AVX2)."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def is_exact(module: nn.Module) -> bool:
    """Whether float16 holds all weights (not biases, which stay float32) as they are."""
    weights = [value for name, value in module.named_parameters() if name.startswith("weight")]
    return all(bool((value == value.half().float()).all()) for value in weights)


def all_exact(blocks: Sequence[Recurrent]) -> bool:
    """The same of the networks of some layers."""
    return all(is_exact(block.net) for block in blocks)


class PackedRecurrent(nn.Module):
    """What `nn.LSTM` or `nn.GRU` computes, batch first."""

    def __init__(self, net: nn.RNNBase) -> None:
        """Takes the weights of a network, which must be exact in float16."""
        super().__init__()
        self.num_layers, self.hidden_size = net.num_layers, net.hidden_size
        self.biases = nn.ParameterList()
        self._run: Any = torch.quantized_lstm if isinstance(net, nn.LSTM) else torch.quantized_gru
        # Unlike the GRU's, the LSTM's kernel wants to be told what the weights are.
        self._kind = {"dtype": torch.float16, "use_dynamic": True} if isinstance(net, nn.LSTM) else {}
        self._cells = [self._pack(net, layer) for layer in range(net.num_layers)]

    def _pack(self, net: nn.RNNBase, layer: int) -> Any:
        packed = []
        for part in ("ih", "hh"):
            bias = getattr(net, f"bias_{part}_l{layer}")
            self.biases.append(bias)
            packed.append(_quantized.linear_prepack_fp16(getattr(net, f"weight_{part}_l{layer}"), bias))
        return _quantized.make_quantized_cell_params_fp16(*packed)

    def forward(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Runs T steps; input, state and output as for the network that it was made from."""
        flags = (True, self.num_layers, 0.0, False, False, True)  # biases; dropout, training; batch first
        outputs, *after = self._run(inputs, state, self._cells, *flags, **self._kind)
        return outputs, tuple(after) if len(after) > 1 else after[0]

    def run(self, inputs: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """The same with the state as one or two tensors `(L, B, H)`, whatever the cell."""
        outputs, after = self.forward(inputs, leaves if len(leaves) > 1 else leaves[0])
        return outputs, after if len(leaves) > 1 else [after]


class PackedResidual(nn.Module):
    """What `ResidualRecurrent` of GRUs or LSTMs computes, with little around the products."""

    def __init__(self, net: ResidualRecurrent) -> None:
        """Takes the weights of a stack, which must be exact in float16."""
        super().__init__()
        self.widen, self.hidden, self.has_cell = net.widen, net.hidden, net.cell == "lstm"
        self.scales = [(norm.get_parameter("weight"), norm.get_parameter("bias")) for norm in net.norms]
        self._layers = [PackedRecurrent(block.net) for block in net.blocks]

    def initial_state(self, batch_size: int) -> RecurrentState:
        """State of streams that have heard nothing."""
        zeros = self.widen.weight.new_zeros(batch_size, len(self._layers), self.hidden)
        return RecurrentState(zeros, zeros.clone() if self.has_cell else zeros[:, :0].clone())

    def forward(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Runs T steps; shapes as for `Recurrent`."""
        values = nn.functional.linear(inputs, self.widen.weight, self.widen.bias)
        leaves = [leaf.transpose(0, 1) for leaf in (state if self.has_cell else state[:1])]  # (L, B, H)
        after = []
        for layer, packed in enumerate(self._layers):
            here = [leaf[layer : layer + 1].contiguous() for leaf in leaves]
            outputs, heard = packed.run(self._norm(values, layer), here)
            values = values + outputs
            after.append(heard)
        merged = [torch.cat(layers).transpose(0, 1).contiguous() for layers in zip(*after, strict=True)]
        cell = merged[1] if self.has_cell else state.cell
        return self._norm(values, len(after)), RecurrentState(merged[0], cell)

    def _norm(self, values: Tensor, layer: int) -> Tensor:
        return nn.functional.layer_norm(values, (self.hidden,), *self.scales[layer])


class PackedConv(nn.Module):
    """What `nn.Conv1d` computes without padding: one product for all that its kernel covers."""

    def __init__(self, net: nn.Conv1d) -> None:
        """Takes the weights of a convolution, which must be exact in float16."""
        super().__init__()
        self.kernel, self.stride, self.bias = net.kernel_size[0], net.stride[0], net.bias
        self._packed = _quantized.linear_prepack_fp16(net.weight.flatten(1), net.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turns inputs `(B, C, T)` into `(B, O, 1 + (T - kernel) / stride)`."""
        covered = inputs.unfold(2, self.kernel, self.stride).transpose(1, 2).flatten(2)
        outputs: Tensor = _quantized.linear_dynamic_fp16(covered, self._packed)
        return outputs.transpose(1, 2)


def pack(network: nn.Module) -> None:
    """Replaces layers of a network that will only be run, where that changes no weight."""
    if can_pack():
        _pack_below(network)


def _pack_below(parent: nn.Module) -> None:
    for name, layer in list(parent.named_children()):
        packed = _packed(layer)
        if packed is None:
            _pack_below(layer)
        else:
            setattr(parent, name, packed)


def _packed(layer: nn.Module) -> nn.Module | None:
    """What computes the same as a layer; None if it stays."""
    if isinstance(layer, nn.Dropout):
        return nn.Identity()
    if isinstance(layer, ResidualRecurrent):
        return PackedResidual(layer) if layer.cell in GATED and all_exact(layer.blocks) else None
    if isinstance(layer, nn.LSTM | nn.GRU) and layer.batch_first and not layer.bidirectional:
        return PackedRecurrent(layer) if is_exact(layer) else None
    if isinstance(layer, nn.Conv1d) and layer.groups == 1 and layer.padding == (0,):
        return PackedConv(layer) if is_exact(layer) else None
    return None
