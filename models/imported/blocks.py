"""Overlapping blocks of a stream, whatever the pieces it comes in: the base of every foreign front end.

Shape letters: B streams, N samples or frames, K blocks, W of them in a block.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class BlockState(NamedTuple):
    """What must be heard again, or has not yet filled a block."""

    kept: Tensor  # (B, W - 1, ...); the first `filled` are valid
    filled: Tensor  # (B,), int64; -1 - n for a stream that is to be mirrored but has heard only n samples


class Mirror(NamedTuple):
    """How a stream goes on before its beginning: backwards."""

    left: int
    """Samples before the first."""
    repeats_first: bool
    """Whether the first sample itself is mirrored (as Kaldi does) or not (as `torch.stft` does)."""


UNSTARTED = -1


def empty_blocks(like: Tensor, window: int, count: int) -> BlockState:
    """The state of streams that have heard nothing.

    Args:
        like: gives batch size, type and what follows the time axis, with shape `(B, 0, ...)`.
        window: W.
        count: zeros before the first sample, or UNSTARTED for streams that are mirrored.
    """
    kept = like.new_zeros(like.shape[0], window - 1, *like.shape[2:])
    return BlockState(kept, torch.full((like.shape[0],), count, dtype=torch.int64))


def take_blocks(
    x: Tensor, state: BlockState, hop: int, mirrored: Mirror | None = None
) -> tuple[Tensor, BlockState]:
    """Cuts what is heard into blocks that begin `hop` apart; a block is given out once it is whole.

    Args:
        x: the newest piece, with shape `(B, N, ...)`, N of any size.
        state: what was heard before; all streams of a batch must have heard equally much.
        hop: from one block's beginning to the next one's, at most W.
        mirrored: what comes before a stream that began UNSTARTED.

    Returns:
        Blocks, with shape `(B, K, W, ...)`, and the new state.

    Raises:
        ValueError: the streams are not equally far.
    """
    window, count = state.kept.shape[1] + 1, int(state.filled[0])
    if not bool((state.filled == count).all()):
        raise ValueError("streams of one batch must be equally far in a block; run them one by one")
    heard = torch.cat([state.kept[:, : count if count >= 0 else -1 - count], x], dim=1)
    if count < 0:
        assert mirrored is not None, "only mirrored streams begin UNSTARTED"
        first = 0 if mirrored.repeats_first else 1
        if heard.shape[1] < mirrored.left + first:
            return _no_block(heard, window), _keep(heard, state, -1 - heard.shape[1])
        heard = torch.cat([heard[:, first : mirrored.left + first].flip(1), heard], dim=1)
    whole = (heard.shape[1] - window) // hop + 1 if heard.shape[1] >= window else 0
    blocks = heard.unfold(1, window, hop).movedim(-1, 2) if whole else _no_block(heard, window)
    rest = heard[:, whole * hop :]
    return blocks, _keep(rest, state, rest.shape[1])


def _no_block(like: Tensor, window: int) -> Tensor:
    return like.new_zeros(len(like), 0, window, *like.shape[2:])


def _keep(rest: Tensor, state: BlockState, count: int) -> BlockState:
    kept = torch.zeros_like(state.kept)
    kept[:, : rest.shape[1]] = rest
    return BlockState(kept, torch.full_like(state.filled, count))
