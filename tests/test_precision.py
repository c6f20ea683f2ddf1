"""When training runs in mixed precision, and what replaces it on processors without bf16."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from auricle.models.network import Network, NetworkConfig
from auricle.pipelines import precision
from auricle.pipelines.optimisers import MuonFp32, make_optimisers, orthogonal
from auricle.pipelines.recipe import TrainingConfig


def pretend(cpuinfo: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(precision, "CPUINFO", folder / "cpuinfo")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 vaes\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("model name\t: Zen 3, no avx512_bf16\nflags\t\t: fpu avx2 vaes\n", False),
        ("", False),
    ],
)
def test_bf16_is_used_where_the_processor_multiplies_it(
    cpuinfo: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(cpuinfo, tmp_path, monkeypatch)
    assert precision.runs_bf16(torch.device("cpu"), "bf16") is expected
    assert not precision.runs_bf16(torch.device("cpu"), "fp32")
    assert precision.runs_bf16(torch.device("cuda"), "bf16")


def test_a_system_that_names_no_flags_trains_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "missing")
    assert not precision.runs_bf16(torch.device("cpu"), "bf16")


@pytest.mark.parametrize(("flags", "kind"), [("avx2", MuonFp32), ("avx512_bf16", torch.optim.Muon)])
def test_muon_does_without_bf16(
    flags: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(f"flags : {flags}\n", tmp_path, monkeypatch)
    network = Network(NetworkConfig(labels=3, cell="gru", hidden=8))
    assert type(make_optimisers(network, TrainingConfig(optimiser="muon"))[0]) is kind


@pytest.mark.parametrize("shape", [(64, 16), (16, 64), (24, 24)])
def test_muon_in_fp32_steps_as_torch_does_and_goes_on_from_its_state(shape: tuple[int, int]) -> None:
    torch.manual_seed(3)
    start = torch.randn(shape)
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    given = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    theirs, own = torch.optim.Muon(weights[:1], **given), MuonFp32(weights[1:], **given)
    for step in range(6):
        gradient = torch.randn(shape)
        for weight, optimiser in zip(weights, (theirs, own), strict=True):
            weight.grad = gradient.clone()
            optimiser.step()
        if step == 2:
            own.load_state_dict(deepcopy(theirs.state_dict()))
    moved = (weights[0] - start).norm()
    assert (weights[0] - weights[1]).norm() < 0.02 * moved  # what bf16 rounds away


def test_orthogonal_draws_singular_values_near_one() -> None:
    torch.manual_seed(4)
    values = torch.linalg.svdvals(orthogonal(torch.randn(40, 12), (3.4445, -4.775, 2.0315), 5))
    assert values.min() > 0.6 and values.max() < 1.3
