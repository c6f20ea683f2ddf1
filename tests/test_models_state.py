from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from auricle.configs.errors import ModelError
from auricle.models import state as states


class Inner(NamedTuple):
    hidden: Tensor


class Outer(NamedTuple):
    context: Tensor
    layers: tuple[Inner, ...]


def make(rows: int, value: float) -> Outer:
    return Outer(
        torch.full((rows, 3), value), (Inner(torch.full((rows, 2, 4), value)), Inner(torch.zeros(rows, 0)))
    )


def test_select_takes_new_rows_only_where_the_mask_says() -> None:
    chosen = states.select(torch.tensor([True, False, True]), make(3, 1.0), make(3, 2.0))
    assert chosen.context[:, 0].tolist() == [1.0, 2.0, 1.0]
    assert chosen.layers[0].hidden[:, 1, 3].tolist() == [1.0, 2.0, 1.0]


def test_stack_and_unstack_are_inverse_and_keep_the_types() -> None:
    rows = [make(1, value) for value in (1.0, 2.0, 3.0)]
    batch = states.stack(rows)
    assert isinstance(batch, Outer)
    assert isinstance(batch.layers[0], Inner)
    assert batch.context.shape == (3, 3)
    for one, other in zip(states.unstack(batch), rows, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(states.leaves(one), states.leaves(other), strict=True))


def test_dictionary_names_every_leaf() -> None:
    assert set(states.to_dict(make(1, 0.0))) == {"context", "layers.0.hidden", "layers.1.hidden"}


def test_restoring_names_what_does_not_fit() -> None:
    stored = states.to_dict(make(1, 0.0))
    stored["surplus"] = stored.pop("context")
    with pytest.raises(ModelError, match=r"missing \['context'\], unused \['surplus'\]"):
        states.from_dict(stored, make(1, 0.0))
    with pytest.raises(ModelError, match=r"'context' has shape \(2, 3\), expected \(1, 3\)"):
        states.from_dict(states.to_dict(make(2, 0.0)), make(1, 0.0))


def test_detach_cuts_the_graph() -> None:
    state = make(1, 1.0)._replace(context=torch.ones(1, 3, requires_grad=True) * 2)
    assert state.context.requires_grad
    assert not states.detach(state).context.requires_grad


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="list"):
        states.leaves([torch.zeros(1)])
