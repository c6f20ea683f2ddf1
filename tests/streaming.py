"""What every stateful module keeps: streaming equals offline, the past stays, streams never mix."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from auricle.models import state as states

TOLERANCE = 1e-5
"""Float32 kernels add in another order at another chunk size; measured differences are about 1e-7."""


def split(x: Tensor, sizes: Sequence[int], unit: int) -> list[Tensor]:
    """Cuts `(B, T, ...)` into pieces of `sizes` units, repeated until it is used up."""
    pieces, start, turn = [], 0, 0
    while start < x.shape[1]:
        length = sizes[turn % len(sizes)] * unit
        pieces.append(x[:, start : start + length])
        start, turn = start + length, turn + 1
    return pieces


def run(module: Any, pieces: Sequence[Tensor], state: Any) -> tuple[Tensor, Any]:
    """Streams the pieces through a module; asserts that no state given to it is changed."""
    outputs = []
    for piece in pieces:
        before = [leaf.clone() for leaf in states.leaves(state)]
        given = state
        output, state = module(piece, state)
        assert all(torch.equal(a, b) for a, b in zip(before, states.leaves(given), strict=True))
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


@torch.no_grad()
def assert_streams_like_offline(module: Any, x: Tensor, sizes: Sequence[int], unit: int = 1) -> None:
    """Streaming in any pieces gives what one piece gives, and leaves the same state."""
    expected, end = module(x, module.initial_state(len(x)))
    found, streamed_end = run(module, split(x, sizes, unit), module.initial_state(len(x)))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < TOLERANCE
    for one, other in zip(states.leaves(streamed_end), states.leaves(end), strict=True):
        assert one.shape == other.shape
        assert one.numel() == 0 or (one - other).abs().max() < TOLERANCE


@torch.no_grad()
def assert_causal(module: Any, x: Tensor, cut: int, unit: int, stride: int = 1) -> None:
    """What comes after `cut` units changes nothing that was given out before."""
    changed = x.clone()
    changed[:, cut * unit :] = torch.randn_like(changed[:, cut * unit :])
    one, _ = module(x, module.initial_state(len(x)))
    other, _ = module(changed, module.initial_state(len(x)))
    known = cut // stride
    assert (one[:, :known] - other[:, :known]).abs().max() < TOLERANCE
    assert (one[:, known + 1 :] - other[:, known + 1 :]).abs().max() > TOLERANCE


@torch.no_grad()
def assert_alone_like_batched(module: Any, x: Tensor) -> None:
    """A stream's result does not depend on which others share its batch, nor on what they say."""
    together, _ = module(x, module.initial_state(len(x)))
    for row in range(len(x)):
        alone, _ = module(x[row : row + 1], module.initial_state(1))
        assert (alone[0] - together[row]).abs().max() < TOLERANCE


@torch.no_grad()
def assert_resumes(module: Any, x: Tensor, unit: int) -> None:
    """A state that was taken apart, stored and put together again goes on as if nothing had happened."""
    half = x.shape[1] // unit // 2 // 4 * 4 * unit
    _, state = module(x[:, :half], module.initial_state(len(x)))
    expected, _ = module(x[:, half:], state)
    stored = {name: torch.from_numpy(leaf.numpy().copy()) for name, leaf in states.to_dict(state).items()}
    restored = states.from_dict(stored, module.initial_state(len(x)))
    found, _ = module(x[:, half:], restored)
    assert torch.equal(found, expected)
    rows = states.unstack(state)
    again = states.stack(rows)
    assert all(torch.equal(a, b) for a, b in zip(states.leaves(again), states.leaves(state), strict=True))
    assert all(leaf.untyped_storage().nbytes() == leaf.nbytes for leaf in states.leaves(rows[0]))
