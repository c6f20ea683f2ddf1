"""What attention owes beyond `test_models_streaming`: a memory that is bounded, and files that are older."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from streaming import assert_streams_like_offline

from auricle.configs.errors import ModelError
from auricle.models import state as states
from auricle.models.attention import Attention
from auricle.models.checkpoint import ModelSpec, load_model, save_model
from auricle.models.engine import TorchEngine
from auricle.models.network import MEMORIES, Network, NetworkConfig

WINDOW = 6


def build(layers: int = 1) -> Attention:
    torch.manual_seed(0)
    return Attention(4, 8, layers, heads=2, window_frames=WINDOW).eval()


@torch.no_grad()
def test_the_state_keeps_its_size_however_long_a_stream_goes_on() -> None:
    module = build(layers=2)
    state = module.initial_state(3)
    shapes = [leaf.shape for leaf in states.leaves(state)]
    counts = []
    for _ in range(5):
        _, state = module(torch.randn(3, 4, 4), state)
        assert [leaf.shape for leaf in states.leaves(state)] == shapes
        assert all(leaf.untyped_storage().nbytes() == leaf.nbytes for leaf in states.leaves(state))
        counts.append(state.valid.tolist())
    assert counts == [[4] * 3, [6] * 3, [6] * 3, [6] * 3, [6] * 3]


@torch.no_grad()
def test_a_layer_forgets_what_left_its_window_and_nothing_before() -> None:
    module, x = build(), torch.randn(1, 20, 4)
    changed = x.clone()
    changed[:, 3] += 1.0
    one, _ = module(x, module.initial_state(1))
    other, _ = module(changed, module.initial_state(1))
    differs = ((one - other).abs().amax(-1)[0] > 1e-6).tolist()
    assert differs == [3 <= frame <= 3 + WINDOW for frame in range(20)]


@torch.no_grad()
def test_places_count_from_now() -> None:
    """The same sound late in a stream means what it meant early: nothing depends on absolute time."""
    module = build(layers=2)
    x = torch.randn(1, 3 * WINDOW, 4)
    long_ago = torch.randn(1, 997, 4)
    late, _ = module(torch.cat([long_ago, x], 1), module.initial_state(1))
    later, _ = module(torch.cat([long_ago, long_ago, x], 1), module.initial_state(1))
    tail = x.shape[1] - 2 * WINDOW  # what two layers see of it lies within `x`
    assert (late[:, -tail:] - later[:, -tail:]).abs().max() < 1e-5


@torch.no_grad()
def test_streams_of_different_age_share_a_batch() -> None:
    module = build(layers=2)
    old, new = torch.randn(1, 9, 4), torch.randn(1, 2, 4)
    ages = [module(heard, module.initial_state(1))[1] for heard in (old, new)]
    x = torch.randn(2, 5, 4)
    together, _ = module(x, states.stack(ages))
    for row, state in enumerate(ages):
        alone, _ = module(x[row : row + 1], state)
        assert (alone[0] - together[row]).abs().max() < 1e-5


@torch.no_grad()
def test_resetting_one_stream_leaves_the_other() -> None:
    module = build()
    _, state = module(torch.randn(2, 9, 4), module.initial_state(2))
    mixed = states.select(torch.tensor([False, True]), module.initial_state(2), state)
    assert mixed.valid.tolist() == [WINDOW, 0]
    x = torch.randn(2, 3, 4)
    fresh, _ = module(x, module.initial_state(2))
    found, _ = module(x, mixed)
    assert (found[1] - fresh[1]).abs().max() < 1e-6
    assert (found[0] - fresh[0]).abs().max() > 1e-3


def test_a_long_stream_in_any_chunks_does_not_drift() -> None:
    module, x = build(), torch.randn(1, 6000, 4)
    assert_streams_like_offline(module, x, [1, 250, 3, 1000])


def test_gradients_reach_all_weights() -> None:
    module = build(layers=2).train()
    output, _ = module(torch.randn(2, 20, 4), module.initial_state(2))
    output.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in module.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attention(4, 10, 1, heads=4), "10 hidden units for 4 attention heads: expected a multiple"),
        (lambda: Attention(4, 8, 1, heads=2, window_frames=0), "window of 0 frames: expected 1 or more"),
        (lambda: NetworkConfig(labels=2, cell="gru+lstmm"), "unknown cell 'lstmm' in 'gru.lstmm': expected"),
        (lambda: NetworkConfig(labels=2, cell=""), "unknown cell ''"),
    ],
)
def test_what_cannot_be_built_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make()


def test_the_settings_offer_every_cell() -> None:
    from typing import get_args

    from auricle.configs.detector_settings import Cell

    offered = get_args(Cell)
    assert set(MEMORIES) <= set(offered)
    for cell in offered:
        assert Network(NetworkConfig(labels=1, cell=cell, hidden=16, layers=1)).config.cells


def test_the_engine_runs_stores_and_restores_it(tmp_path: Path) -> None:
    path = tmp_path / "attention.safetensors"
    config = NetworkConfig(labels=2, cell="gru+attention", hidden=8, layers=1, conv_channels=(6, 6))
    save_model(path, ModelSpec(kind="keyword", labels=("a", "b"), network=config), Network(config))
    engine = TorchEngine()
    model = engine.load(str(path))
    frames = np.random.default_rng(0).normal(-5, 3, (1, 120, 80)).astype(np.float32)
    whole, _ = engine.infer(model, frames, engine.model_state(model))
    state, parts = engine.model_state(model), []
    for start in range(0, 120, 8):
        state = engine.restore_state(engine.dump_state(state), engine.model_state(model))
        part, state = engine.infer(model, frames[:, start : start + 8], state)
        parts.append(part)
    assert np.abs(np.concatenate(parts, 1) - whole).max() < 1e-5


def test_a_model_file_older_than_attention_still_loads(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "old.safetensors"
    config = NetworkConfig(labels=2, hidden=8, layers=1, conv_channels=(6, 6))
    save_model(path, ModelSpec(kind="keyword", labels=("a", "b"), network=config), Network(config))
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["auricle"])
    for name in ("attention_heads", "attention_frames"):
        header["network"].pop(name)
    save_file(load_file(path), path, metadata={"auricle": json.dumps(header)})
    assert load_model(path)[0].network == config
    header["network"].pop("labels")
    save_file(load_file(path), path, metadata={"auricle": json.dumps(header)})
    with pytest.raises(ModelError, match=r"missing \{'labels'\}"):
        load_model(path)
