"""Causal self-attention with a bounded memory: the alternative to recurrent cells, under their interface.

Each layer looks back over at most W frames. Their keys and values are the state, so a stream costs the same
memory after a second and after a day.

Shape letters: B streams, T frames, C channels, L layers, H hidden units, N heads, D units of a head,
W frames of memory.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auricle.configs.errors import ModelError

ROTARY_BASE = 10_000.0
EXPANSION = 2
"""Units of the feed-forward part for each hidden one: with 2 a layer weighs as much as an LSTM's, 8 H^2."""


class AttentionState(NamedTuple):
    """What self-attention remembers between chunks: the newest W frames, the latest last."""

    keys: Tensor  # (B, L, W, H), not yet rotated: positions count from the newest frame
    values: Tensor  # (B, L, W, H)
    valid: Tensor  # (B,) int64, how many of the W have been heard


class Attention(nn.Module):
    """L transformer layers (normalisation first) that see W frames of the past and none of the future."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        layers: int,
        dropout: float = 0.0,
        *,
        heads: int = 4,
        window_frames: int = 64,
    ) -> None:
        """Builds the layers.

        Args:
            inputs: channels of the input.
            hidden: units of each layer, a multiple of twice the heads.
            layers: number of layers.
            dropout: probability on what each layer adds, in training only.
            heads: N, attention patterns of each layer.
            window_frames: W, how far back each layer sees.

        Raises:
            ModelError: the hidden units cannot be shared out among the heads, or there is no window.
        """
        super().__init__()
        if hidden % (2 * heads):
            raise ModelError(
                f"{hidden} hidden units for {heads} attention heads: expected a multiple of {2 * heads}"
            )
        if window_frames < 1:
            raise ModelError(f"an attention window of {window_frames} frames: expected 1 or more")
        self.hidden, self.window_frames = hidden, window_frames
        self.enter = nn.Linear(inputs, hidden)
        self.layers: Sequence[_Layer] = nn.ModuleList(  # type: ignore[assignment]
            _Layer(hidden, heads, window_frames, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)

    def initial_state(self, batch_size: int) -> AttentionState:
        """Returns the state of streams that have heard nothing."""
        shape = (batch_size, len(self.layers), self.window_frames, self.hidden)
        keys = self.enter.weight.new_zeros(shape)
        valid = torch.zeros(batch_size, dtype=torch.int64, device=keys.device)
        return AttentionState(keys, keys.clone(), valid)

    def forward(self, inputs: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """Runs T steps.

        Args:
            inputs: with shape `(B, T, C)`.
            state: what was heard before.

        Returns:
            With shape `(B, T, H)`, and the new state.
        """
        outputs = []
        # Block by block, each as long as the window: the cost grows with T, not with its square.
        for start in range(0, inputs.shape[1], self.window_frames):
            output, state = self._block(inputs[:, start : start + self.window_frames], state)
            outputs.append(output)
        return torch.cat(outputs, dim=1), state

    def _block(self, inputs: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """Runs up to W steps."""
        hidden, keys, values = self.enter(inputs), [], []
        seen = _seen(inputs.shape[1], self.window_frames, state.valid)
        for number, layer in enumerate(self.layers):
            past = state.keys[:, number], state.values[:, number]
            hidden, (key, value) = layer(hidden, past, seen)
            keys.append(key)
            values.append(value)
        valid = (state.valid + inputs.shape[1]).clamp(max=self.window_frames)
        return self.norm(hidden), AttentionState(torch.stack(keys, 1), torch.stack(values, 1), valid)


class _Layer(nn.Module):
    """Attention, then a feed-forward part; each normalises first and adds to what it was given."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, hidden: int, heads: int, window_frames: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.window_frames = heads, window_frames
        self.attention_norm, self.forward_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.leave = nn.Linear(hidden, hidden)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden, EXPANSION * hidden), nn.GELU(), nn.Linear(EXPANSION * hidden, hidden)
        )
        self.dropout = nn.Dropout(dropout)
        cosine, sine = rotations(2 * window_frames, hidden // heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(
        self, hidden: Tensor, past: tuple[Tensor, Tensor], seen: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Runs T steps, at most W.

        Args:
            hidden: with shape `(B, T, H)`.
            past: keys and values of the W frames before, each `(B, W, H)`.
            seen: which of the W + T frames each step may look at, `(B, 1, T, W + T)`.

        Returns:
            With shape `(B, T, H)`; and the keys and values of the newest W frames, in memory of their own.
        """
        query, key, value = self.query_key_value(self.attention_norm(hidden)).chunk(3, dim=-1)
        keys, values = torch.cat([past[0], key], 1), torch.cat([past[1], value], 1)
        found = nn.functional.scaled_dot_product_attention(
            self._rotate(self._split(query), self.window_frames),
            self._rotate(self._split(keys.to(query.dtype)), 0),
            self._split(values.to(query.dtype)),
            attn_mask=seen,
        )
        hidden = hidden + self.dropout(self.leave(found.transpose(1, 2).flatten(2)))
        hidden = hidden + self.dropout(self.feed_forward(self.forward_norm(hidden)))
        return hidden, (keys[:, -self.window_frames :].clone(), values[:, -self.window_frames :].clone())

    def _split(self, units: Tensor) -> Tensor:
        """Shares units out among the heads: `(B, T, H)` to `(B, N, T, D)`."""
        streams, steps, hidden = units.shape
        return units.reshape(streams, steps, self.heads, hidden // self.heads).transpose(1, 2)

    def _rotate(self, units: Tensor, first: int) -> Tensor:
        """Turns `(B, N, T, D)` by its places `first` to `first + T` (Su et al., RoFormer, 2021)."""
        one, other = units.chunk(2, dim=-1)
        place = slice(first, first + units.shape[2])
        cosine, sine = self.cosine[place].to(units.dtype), self.sine[place].to(units.dtype)
        return torch.cat([one * cosine - other * sine, one * sine + other * cosine], dim=-1)


def rotations(places: int, units: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines by which each place turns each pair of units, both `(places, units / 2)`.

    Only differences of places matter, so they are counted from the oldest frame in memory: they stay small
    and exact however long a stream goes on.
    """
    frequencies = ROTARY_BASE ** (-torch.arange(0, units, 2, dtype=torch.float64) / units)
    angles = torch.arange(places, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float(), angles.sin().float()


def _seen(steps: int, window_frames: int, valid: Tensor) -> Tensor:
    """Which frames each step may look at: itself and the W before it, as far as they were heard.

    Returns:
        Booleans, with shape `(B, 1, T, W + T)`: the W frames in memory, then the T new ones.
    """
    place = torch.arange(window_frames + steps, device=valid.device)
    now = place[window_frames:, None]
    near = (place <= now) & (place >= now - window_frames)
    heard = place >= window_frames - valid[:, None]
    return near[None, None] & heard[:, None, None]
