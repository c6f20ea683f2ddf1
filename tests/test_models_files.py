import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from auricle.configs.errors import ModelError
from auricle.models.checkpoint import ModelSpec, load_model, save_model
from auricle.models.engine import FEW_STEPS, TorchEngine
from auricle.models.frontend import FrontendConfig
from auricle.models.network import Network, NetworkConfig
from auricle.models.zoo import find_model, shipped

SMALL = NetworkConfig(labels=2, hidden=8, layers=1, conv_channels=(6, 6))


def spec(**changes: object) -> ModelSpec:
    return ModelSpec(**{"kind": "keyword", "labels": ("silence", "yes"), "network": SMALL, **changes})  # type: ignore[arg-type]


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    save_model(path, spec(record={"command": "by hand"}), Network(SMALL))
    return path


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "exact.safetensors"
    network = Network(SMALL)
    digest = save_model(path, spec(), network, dtype=torch.float32)
    loaded_spec, loaded, loaded_digest = load_model(path)
    assert loaded_spec == spec()
    assert loaded_digest == digest
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    assert not loaded.training
    assert not list(path.parent.glob("*.partial"))


def test_other_weights_have_another_hash(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_model(other, spec(), Network(SMALL))
    assert load_model(model)[2] != load_model(other)[2]


def test_half_precision_is_loaded_as_float32(model: Path) -> None:
    assert all(value.dtype == torch.float32 for value in load_model(model)[1].state_dict().values())


@pytest.mark.parametrize("content", [b"", b"RIFFxxxxWAVE", b"\xff" * 200])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.safetensors"):
        load_model(path)


def test_a_truncated_file_is_named(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-10])
    with pytest.raises(ModelError, match="cannot read"):
        load_model(model)


def test_safetensors_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="no Auricle model"):
        load_model(path)


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "future.safetensors"
    save_file(
        {"weight": torch.zeros(2)}, path, metadata={"auricle": json.dumps({"format": "auricle.model/9"})}
    )
    with pytest.raises(ModelError, match=r"auricle\.model/9"):
        load_model(path)


def test_weights_that_do_not_fit_are_listed(model: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(model, framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weights["head.bias"] = torch.zeros(3)
    weights.pop("feature_mean")
    path = tmp_path / "unfit.safetensors"
    save_file(weights, path, metadata=metadata)
    with pytest.raises(ModelError, match=r"feature_mean: expected \(80,\), got None; head\.bias"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("one",)}, "1 labels for a network of 2"),
        ({"frontend": FrontendConfig(mels=40)}, "40 mels"),
        ({"activation": "relu"}, "unknown activation 'relu'"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        spec(**changes)


def test_saving_another_network_than_described_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the network is"):
        save_model(tmp_path / "x.safetensors", spec(), Network(NetworkConfig(labels=2, hidden=4)))


def test_unknown_names_are_answered_with_the_nearest() -> None:
    assert {"vad-gru", "vad-lstm", "keyword-gru", "keyword-lstm"} <= set(shipped())
    with pytest.raises(ModelError, match="did you mean 'keyword-gru'"):
        find_model("keywrd")
    with pytest.raises(ModelError, match="no model file"):
        find_model("somewhere/else.safetensors")
    assert find_model("vad", "lstm").stem == "vad-lstm"
    assert find_model("keyword-lstm", "gru").stem == "keyword-lstm"


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("kind", ["vad", "keyword"])
def test_shipped_models_stream_as_in_one_piece(kind: str, cell: str) -> None:
    """Steps of one frame, of a few and of many use different kernels."""
    engine = TorchEngine()
    model = engine.load(kind, cell)
    frames = np.random.default_rng(0).normal(-5, 3, (1, 240, 80)).astype(np.float32)
    whole, _ = engine.infer(model, frames, engine.model_state(model))
    for steps in (1, FEW_STEPS, FEW_STEPS + 1, 20):
        state = engine.model_state(model)
        parts = []
        for start in range(0, 240, steps * model.stride_frames):
            part, state = engine.infer(model, frames[:, start : start + steps * model.stride_frames], state)
            parts.append(part)
        assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-5
    assert whole.shape == (1, 240 // model.stride_frames, len(model.labels))


def test_states_leave_and_enter_the_engine_as_arrays(model: Path) -> None:
    engine = TorchEngine()
    info = engine.load(str(model))
    frames = np.ones((1, 8, 80), dtype=np.float32)
    _, state = engine.infer(info, frames, engine.model_state(info))
    stored = engine.dump_state(state)
    expected, _ = engine.infer(info, frames, state)
    found, _ = engine.infer(info, frames, engine.restore_state(stored, engine.model_state(info)))
    assert np.array_equal(found, expected)
    stored.popitem()
    with pytest.raises(ModelError, match="missing"):
        engine.restore_state(stored, engine.model_state(info))


def test_the_same_file_loaded_twice_is_one_model(model: Path) -> None:
    engine = TorchEngine()
    assert engine.load(str(model)) is not None
    assert engine.load(str(model)) == engine.load(str(model))
