from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming import (
    assert_alone_like_batched,
    assert_causal,
    assert_resumes,
    assert_streams_like_offline,
)
from torch import nn

from auricle.models.attention import Attention
from auricle.models.frontend import FrontendConfig, LogMel
from auricle.models.layers import CausalConv, Recurrent, RunningMean
from auricle.models.network import Network, NetworkConfig


class Case(NamedTuple):
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]  # of 32 units
    unit: int  # items of the time axis that a chunk may be cut at
    stride: int = 1  # units for each output


def network(cell: str, **changes: Any) -> Callable[[], nn.Module]:
    return lambda: Network(NetworkConfig(labels=5, cell=cell, hidden=24, conv_channels=(16, 16), **changes))


CASES = {
    "log-mel": Case(lambda: LogMel(FrontendConfig()), (2, 32 * 160), 160),
    "conv stride 1": Case(lambda: CausalConv(6, 8, 3, 1), (2, 32, 6), 1),
    "conv stride 2": Case(lambda: CausalConv(6, 8, 5, 2), (2, 64, 6), 2),
    "conv without context": Case(lambda: CausalConv(6, 8, 2, 2), (2, 64, 6), 2),
    **{
        f"{cell} layer": Case(lambda cell=cell: Recurrent(cell, 6, 8, 2), (3, 32, 6), 1)
        for cell in ("gru", "lstm", "rnn")
    },
    # A window shorter than the streams, so that the memory fills and what is old falls out of it.
    "attention layer": Case(lambda: Attention(6, 8, 2, heads=2, window_frames=5), (3, 32, 6), 1),
    "attention of one frame": Case(lambda: Attention(6, 8, 2, heads=1, window_frames=1), (3, 32, 6), 1),
    "attention network": Case(network("attention", attention_frames=7), (2, 128, 80), 4),
    "gru+attention network": Case(network("gru+attention", attention_frames=7), (2, 128, 80), 4),
    **{
        f"{cell} network": Case(network(cell), (2, 128, 80), 4)
        for cell in ("gru", "lstm", "rnn", "gru+lstm", "attention")
    },
    **{
        f"residual {cell} network": Case(network(cell, residual=True), (2, 128, 80), 4)
        for cell in ("gru", "lstm")
    },
    "running mean": Case(lambda: RunningMean(6, 50, block_frames=5), (2, 32, 6), 1),
    "network with a running mean": Case(network("gru", mean_frames=40), (2, 128, 80), 4),
    "one convolution": Case(
        lambda: Network(
            NetworkConfig(
                labels=1, hidden=16, layers=1, conv_channels=(8,), conv_kernels=(4,), conv_strides=(2,)
            )
        ),
        (2, 64, 80),
        2,
    ),
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest) -> tuple[Any, torch.Tensor, int]:
    case = CASES[request.param]
    torch.manual_seed(0)
    return case.build().eval(), torch.randn(case.shape), case.unit


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
@pytest.mark.parametrize("name", CASES)
def test_streaming_equals_offline(name: str, sizes: list[int]) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    assert_streams_like_offline(case.build().eval(), torch.randn(case.shape), sizes, case.unit)


def test_one_unit_at_a_time_equals_offline(case: tuple[Any, torch.Tensor, int]) -> None:
    module, x, unit = case
    assert_streams_like_offline(module, x, [1], unit)


def test_nothing_is_known_of_the_future(case: tuple[Any, torch.Tensor, int]) -> None:
    module, x, unit = case
    assert_causal(module, x, cut=16, unit=unit)


def test_alone_equals_batched(case: tuple[Any, torch.Tensor, int]) -> None:
    module, x, _ = case
    assert_alone_like_batched(module, x)


def test_state_can_be_stored_and_moved(case: tuple[Any, torch.Tensor, int]) -> None:
    module, x, unit = case
    assert_resumes(module, x, unit)


@pytest.mark.parametrize("name", ["log-mel", "conv stride 2", "gru network"])
def test_a_broken_unit_is_refused(name: str) -> None:
    case = CASES[name]
    module = case.build()
    x = torch.randn(case.shape)[:, :-1]
    with pytest.raises(ValueError, match="expected"):
        module(x, module.initial_state(len(x)))  # type: ignore[operator]
