"""Weights of several models averaged into one."""

import sys
from pathlib import Path

import pytest
import torch

from auricle.configs.errors import ModelError
from auricle.models.checkpoint import ModelSpec, load_model, save_model
from auricle.models.frontend import FrontendConfig
from auricle.models.network import Network, NetworkConfig
from auricle.models.second_pass import (
    SECOND_SUFFIX,
    SecondPass,
    SecondPassConfig,
    SecondPassInfo,
    load_two_passes,
    read_second_pass,
    save_second_pass,
)
from auricle.pipelines.average import average, main, read_weights


def _model(path: Path, seed: int, hidden: int = 16) -> Path:
    torch.manual_seed(seed)
    config = NetworkConfig(labels=2, hidden=hidden, conv_channels=(8, 8), layers=1)
    spec = ModelSpec("vad", ("silence", "speech"), config, FrontendConfig())
    save_model(path, spec, Network(config), torch.float32)
    return path


def test_a_model_and_a_checkpoint_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = _model(tmp_path / "one.safetensors", 1), _model(tmp_path / "other.safetensors", 2)
    average_of_run = dict(load_model(other)[1].state_dict())
    torch.save({"average": average_of_run}, tmp_path / "last.pt")
    out = tmp_path / "both.safetensors"
    monkeypatch.setattr(sys, "argv", ["average", str(one), str(tmp_path / "last.pt"), "--out", str(out)])
    main()
    spec, network, _ = load_model(out)
    assert spec.record["average_of"] == [str(one), str(tmp_path / "last.pt")]
    halves = [read_weights(path)["head.weight"] for path in (one, other)]
    assert not torch.equal(*halves)
    torch.testing.assert_close(network.state_dict()["head.weight"], sum(halves) / 2, atol=1e-3, rtol=0)


def test_second_passes_of_one_model_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From their files, or from the checkpoint of a run, which holds the model below as well."""
    found = []
    for seed, first in enumerate(("1" * 8, "1" * 8, "2" * 8)):
        torch.manual_seed(seed)
        found.append(SecondPass(SecondPassConfig(4, 8, 1)))
        save_second_pass(tmp_path / f"{seed}.second", SecondPassInfo(first, found[-1].config), found[-1])
    weights = {f"second.{name}": value for name, value in found[1].state_dict().items()}
    torch.save({"average": weights | {"head.bias": torch.zeros(4)}}, tmp_path / "last.pt")
    half = (found[0].head.weight + found[1].head.weight) / 2
    for other in ("1.second", "last.pt"):
        files = [str(tmp_path / name) for name in ("0.second", other)]
        monkeypatch.setattr(sys, "argv", ["average", *files, "--out", str(tmp_path / "mean.second")])
        main()
        info, mean, _ = read_second_pass(tmp_path / "mean.second")
        assert (info.first, info.record["average_of"]) == ("1" * 8, files)
        torch.testing.assert_close(mean.head.weight, half, atol=1e-3, rtol=0)
    monkeypatch.setattr(
        sys, "argv", ["average", *(str(tmp_path / f"{n}.second") for n in (0, 2)), "--out", "x.second"]
    )
    with pytest.raises(SystemExit):
        main()


def test_second_passes_of_different_models_are_averaged_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From their files, or from the checkpoint of a run in which both learnt."""
    for seed, name in ((1, "one"), (2, "other")):
        first = _model(tmp_path / f"{name}.safetensors", seed)
        second = SecondPass(SecondPassConfig(2, 16, 1))
        info = SecondPassInfo(load_model(first)[2], second.config)
        save_second_pass(first.with_suffix(SECOND_SUFFIX), info, second)
    found = [load_two_passes(tmp_path / f"{name}.second")[1].state_dict() for name in ("one", "other")]
    recipe = {"acoustic": {"first_weight": 0.5}}
    torch.save({"average": found[1], "recipe": recipe}, tmp_path / "last.pt")
    for other in ("other.second", "last.pt"):
        files = [str(tmp_path / name) for name in ("one.second", other)]
        monkeypatch.setattr(sys, "argv", ["average", *files, "--out", str(tmp_path / "mean.second")])
        main()
        mean = load_two_passes(tmp_path / "mean.second")[
            1
        ].state_dict()  # the model beside it is the mean, too
        for name in ("head.weight", "second.head.weight"):
            assert not torch.equal(found[0][name], found[1][name])
            torch.testing.assert_close(mean[name], (found[0][name] + found[1][name]) / 2, atol=1e-3, rtol=0)


def test_different_shapes_are_refused(tmp_path: Path) -> None:
    found = [read_weights(_model(tmp_path / f"{size}.safetensors", 1, size)) for size in (16, 24)]
    with pytest.raises(ModelError, match="different shapes"):
        average(found)


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    torch.save({"something": 1}, tmp_path / "last.pt")
    for path in (tmp_path / "last.pt", tmp_path / "missing.pt"):
        with pytest.raises(ModelError, match=path.name):
            read_weights(path)
