"""How far back a network remembers: gradients, and recall that is practised."""

from collections.abc import Iterator

import pytest
import torch

from auricle.models.network import Network
from auricle.pipelines import memory
from auricle.pipelines.memory import (
    Budget,
    gradient_norms,
    longest_recalled,
    memory_config,
    practise,
    recall,
    vanishing_distance,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small steps: a second thread only gets in the way
    yield
    torch.set_num_threads(threads)


def test_the_gradient_of_a_plain_rnn_vanishes() -> None:
    torch.manual_seed(1)
    norms = gradient_norms(Network(memory_config("rnn")), steps=120)
    assert norms[1] == 1.0
    assert norms[100] < 1e-15
    reached = vanishing_distance(norms)
    assert reached is not None and 5 < reached < 50


def test_the_gradient_of_attention_reaches_to_the_end_of_its_window_and_stops() -> None:
    torch.manual_seed(1)
    norms = gradient_norms(Network(memory_config("attention")), steps=230)
    assert norms[100] > 1e-3
    assert norms[200] < 1e-100
    assert vanishing_distance({1: 1.0, 10: 1.0}) is None
    assert vanishing_distance({1: 1.0, 10: 1e-2, 20: 1e-4}) == pytest.approx(15)


def test_gates_recall_what_a_plain_rnn_has_forgotten() -> None:
    found = {}
    for cell in ("rnn", "gru", "lstm"):
        practice = practise(memory_config(cell, hidden=32, layers=1), Budget(steps=300), 1, longest=5)
        found[cell] = recall(practice.network, (5,), trials=400)[5]
        assert practice.updates == 300
    assert min(found["gru"], found["lstm"]) > found["rnn"] + 0.08


def test_practice_ends_once_the_longest_delay_is_recalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CONFIDENT", 0.0)  # whatever is answered counts as recalled
    told: list[float] = []
    practice = practise(memory_config("gru", 8, 1), Budget(steps=500), 1, longest=6, tick=told.append)
    assert practice.longest_practised == 6
    assert 2 * memory.RECENT <= practice.updates < 200
    assert told[-1] == 1.0 and told == sorted(told)


def test_recall_asks_on_a_copy_of_the_state() -> None:
    """One pass over all delays gives what separate passes would: asking leaves no trace."""
    torch.manual_seed(0)
    network = Network(memory_config("gru", hidden=16)).eval()
    assert recall(network, (3, 10)) == {**recall(network, (3,)), 10: recall(network, (3, 10))[10]}
    assert longest_recalled({1: 1.0, 5: 0.95, 10: 0.5, 20: 1.0}) == 5
    assert longest_recalled({1: 0.2}) == 0


def test_a_budget_is_seconds_or_steps() -> None:
    assert Budget(steps=5).is_spent(1e9, 4) is False
    assert Budget(steps=5).is_spent(0.0, 5) is True
    assert Budget(seconds=2.0).is_spent(1.9, 10**9) is False
    assert Budget(seconds=2.0).part_done(1.0, 7) == 0.5
