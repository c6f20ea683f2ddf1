"""Layers packed for running: the same results from half the bytes, or the layers as they were."""

import pytest
import torch
from streaming import assert_streams_like_offline
from torch import nn

from auricle.models import packed
from auricle.models.network import Network, NetworkConfig

SMALL = {"labels": 5, "mels": 8, "conv_channels": (6, 7), "hidden": 16, "layers": 2}
PACKED = (packed.PackedRecurrent, packed.PackedResidual, packed.PackedConv)


def network(cell: str, residual: bool) -> Network:
    torch.manual_seed(1)
    made = Network(NetworkConfig(cell=cell, residual=residual, **SMALL)).eval().requires_grad_(False)
    for value in made.parameters():
        value.copy_(value.half())  # as a model file holds it
    return made


def packed_layers(made: nn.Module) -> int:
    return sum(isinstance(layer, PACKED) for layer in made.modules())


@pytest.mark.skipif(not packed.can_pack(), reason="this build of torch has no kernels for float16 weights")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("residual", [False, True])
def test_packed_layers_compute_what_they_were_made_from(cell: str, residual: bool) -> None:
    frames = torch.randn(3, 40, 8)
    made = network(cell, residual)
    expected, _ = made(frames, made.initial_state(3))
    packed.pack(made)
    found, _ = made(frames, made.initial_state(3))
    assert packed_layers(made) == 2 + 1  # convolutions, and all of what remembers
    assert (found - expected).abs().max() < 1e-6
    for sizes in ([1], [3, 1, 2]):
        assert_streams_like_offline(made, frames, sizes, unit=4)


def test_weights_that_would_change_stay_as_they_are() -> None:
    made = network("lstm", residual=True)
    for value in made.parameters():
        value.add_(1e-5)
    packed.pack(made)
    assert packed_layers(made) == 0


def test_without_kernels_all_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "can_pack", lambda: False)
    made = network("gru", residual=False)
    packed.pack(made)
    assert packed_layers(made) == 0
