"""Networks as the daemon runs them: what training computes, with weights in half the bytes."""

import gc
import weakref

import pytest
import torch
from streaming import assert_streams_like_offline

from auricle.models import runtime
from auricle.models import state as states
from auricle.models.frontend import FrontendConfig, LogMel
from auricle.models.network import Network, NetworkConfig
from auricle.models.runtime import Features, Runtime, runtime_of

SMALL = {"labels": 5, "mels": 8, "conv_channels": (6, 7), "hidden": 16, "layers": 2}


def network(cell: str, **shape: bool | int) -> Network:
    torch.manual_seed(1)
    made = Network(NetworkConfig(**SMALL | {"cell": cell} | shape)).eval().requires_grad_(False)
    for value in made.parameters():
        value.copy_(value.half())  # as a model file holds it
    made.feature_mean.fill_(0.5)
    made.feature_scale.fill_(2.0)
    return made


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "gru+lstm"])
@pytest.mark.parametrize("packed_from", [0, 1 << 30])
def test_it_computes_what_the_network_does_and_goes_on_from_its_state(
    cell: str, residual: bool, packed_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed_from and not runtime.can_pack():
        pytest.skip("this build of torch has no kernels for float16 weights")
    monkeypatch.setattr(runtime, "PACKED_FROM", packed_from)
    made, frames = network(cell, residual=residual), torch.randn(3, 40, 8)
    run = runtime_of(made)
    assert isinstance(run, Runtime) and run.head.packed == (packed_from == 0)
    expected, _ = made(frames, made.initial_state(3))
    first, state = made(frames[:, :20], made.initial_state(3))
    kept = [leaf.clone() for leaf in state.recurrent[0]]
    second, after = run(frames[:, 20:28], state)
    third, _ = made(frames[:, 28:], after)
    torch.testing.assert_close(torch.cat([first, second, third], 1), expected, rtol=0, atol=2e-6)
    assert all(torch.equal(leaf, before) for leaf, before in zip(state.recurrent[0], kept, strict=True))
    for sizes in ([1], [3, 1, 2]):
        assert_streams_like_offline(run, frames, sizes, unit=4)


def test_weights_that_float16_cannot_hold_are_used_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PACKED_FROM", 0)
    made, frames = network("lstm", residual=True), torch.randn(1, 40, 8)
    for value in made.parameters():
        value.add_(1e-5)
    run = runtime_of(made)
    assert isinstance(run, Runtime) and not run.head.packed
    expected, _ = made(frames, made.initial_state(1))
    torch.testing.assert_close(run(frames, made.initial_state(1))[0], expected, rtol=0, atol=2e-6)


def test_gates_far_from_zero_are_shut_or_open() -> None:
    made = network("lstm", residual=True)
    for value in made.parameters():
        value.mul_(3000.0)
    frames = torch.randn(1, 8, 8)
    expected, _ = made(frames, made.initial_state(1))
    found, _ = runtime_of(made)(frames, made.initial_state(1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1.0)  # of tens of thousands


@pytest.mark.parametrize("shape", [{"cell": "gru+attention"}, {"cell": "gru", "mean_frames": 100}])
def test_what_it_does_not_know_the_network_runs_itself(shape: dict[str, str | int]) -> None:
    made = network(**shape)  # type: ignore[arg-type]
    assert runtime_of(made) is made


def test_it_begins_like_the_network_and_lets_it_go() -> None:
    made = network("gru+lstm")
    expected, run = made.initial_state(3), runtime_of(made)
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None  # its weights, twice the size of the packed ones, are not kept
    found = run.initial_state(3)
    for one, other in zip(states.leaves(found), states.leaves(expected), strict=True):
        assert one.shape == other.shape and torch.equal(one, other)


def test_half_a_stride_is_refused() -> None:
    made = network("gru")
    with pytest.raises(ValueError, match="multiple of 4"):
        runtime_of(made)(torch.zeros(1, 6, 8), made.initial_state(1))


@pytest.mark.parametrize(
    "config", [FrontendConfig(), FrontendConfig(mels=120), FrontendConfig(320, 480, 512, 40)]
)
def test_features_are_those_of_training_and_go_on_from_their_state(config: FrontendConfig) -> None:
    torch.manual_seed(2)
    trained, samples = LogMel(config), 0.1 * torch.randn(3, 30 * config.hop_samples)
    run = Features(trained)
    expected, _ = trained(samples, trained.initial_state(3))
    cut = 10 * config.hop_samples
    first, state = trained(samples[:, :cut], trained.initial_state(3))
    second, after = run(samples[:, cut : 2 * cut], state)
    third, _ = trained(samples[:, 2 * cut :], after)
    torch.testing.assert_close(torch.cat([first, second, third], 1), expected, rtol=0, atol=3e-5)
    for sizes in ([1], [3, 1, 2]):
        assert_streams_like_offline(run, samples, sizes, unit=config.hop_samples)
    with pytest.raises(ValueError, match=r"expected samples \(B, k \* "):
        run(samples[:, :-1], run.initial_state(3))
