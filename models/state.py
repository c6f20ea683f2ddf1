"""Helpers for streaming state: nested NamedTuples and tuples of tensors, every leaf batch-first.

A state is a value: layers take one and return another, and never write into the one they were given.
The helpers here work on any state, whatever module it belongs to.

Shape letters: B streams.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from auricle.configs.errors import ModelError

S = TypeVar("S")


def map_state(function: Callable[..., Tensor], state: S, *others: S) -> S:
    """Applies `function` to each leaf of `state` and the matching leaves of `others`.

    Args:
        function: takes one tensor of each state, returns a tensor.
        state: the state that gives the structure.
        others: states of the same structure.

    Returns:
        A new state of the same structure.
    """
    if isinstance(state, Tensor):
        return function(state, *others)  # type: ignore[return-value]
    if not isinstance(state, tuple):
        raise TypeError(f"a state is a tensor or a tuple of states, not {type(state).__name__}")
    children = [map_state(function, *leaves) for leaves in zip(state, *others, strict=True)]
    make: Any = getattr(type(state), "_make", tuple)
    return make(children)  # type: ignore[no-any-return]


def leaves(state: Any) -> list[Tensor]:
    """Lists the tensors of `state`, depth first."""
    found: list[Tensor] = []

    def collect(leaf: Tensor) -> Tensor:
        found.append(leaf)
        return leaf

    map_state(collect, state)
    return found


def detach(state: S) -> S:
    """Cuts `state` off the graph that computed it (for truncated back-propagation)."""
    return map_state(lambda leaf: leaf.detach(), state)


def stack(states: Sequence[S]) -> S:
    """Joins the states of several streams, each of any batch size, into one batch."""
    return map_state(lambda *parts: torch.cat(parts), states[0], *states[1:])


def unstack(state: S) -> list[S]:
    """Splits a batch of B into B states of one stream; each owns its memory."""
    batch_size = leaves(state)[0].shape[0]
    return [map_state(lambda leaf, row=row: leaf[row : row + 1].clone(), state) for row in range(batch_size)]


def select(mask: Tensor, new: S, old: S) -> S:
    """Takes `new` for the streams where `mask` is true and `old` elsewhere.

    Args:
        mask: booleans, with shape `(B,)`.
        new: state of B streams.
        old: state of the same B streams.
    """

    def choose(fresh: Tensor, kept: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (fresh.dim() - 1)), fresh, kept)

    return map_state(choose, new, old)


def to_dict(state: Any, prefix: str = "") -> dict[str, Tensor]:
    """Flattens `state` into tensors by dotted name, as `torch.save` and safetensors can store it."""
    if isinstance(state, Tensor):
        return {prefix: state.detach().clone().contiguous()}
    names = getattr(state, "_fields", range(len(state)))
    flat: dict[str, Tensor] = {}
    for name, child in zip(names, state, strict=True):
        flat |= to_dict(child, f"{prefix}.{name}" if prefix else str(name))
    return flat


def from_dict(tensors: Mapping[str, Tensor], like: S) -> S:
    """Rebuilds a state from `to_dict`'s result.

    Args:
        tensors: tensors by dotted name.
        like: a state of the wanted structure (an initial state will do).

    Raises:
        ModelError: a name is missing or left over, or a shape differs; each is named.
    """
    expected = to_dict(like)
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        raise ModelError(
            f"this state belongs to another model: missing {sorted(missing)}, unused {sorted(unknown)}; "
            "restore it with the model it was saved from"
        )
    for name, leaf in expected.items():
        if leaf.shape != tensors[name].shape:
            raise ModelError(
                f"state '{name}' has shape {tuple(tensors[name].shape)}, expected {tuple(leaf.shape)}; "
                "restore it with the model and batch size it was saved from"
            )
    ordered = iter(expected)
    return map_state(lambda leaf: tensors[next(ordered)].to(leaf).clone(), like)
