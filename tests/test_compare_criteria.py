"""`auricle compare criteria`: every choice is trained under one budget, judged alike, and kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spoken
import torch

from auricle.configs import cli
from auricle.configs.errors import ConfigError, DataError
from auricle.pipelines import compare_criteria, train
from auricle.pipelines.compare_criteria import CHOICES, CriteriaComparison, CriteriaPlan, Judged, moments
from auricle.pipelines.criteria_page import Errors, read_criteria, write_criteria
from auricle.pipelines.memory import Budget

SETTINGS = tuple(setting for setting in spoken.SETTINGS if "evaluate_every" not in setting)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(train, "prepare_process", lambda threads: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plan(**changes: Any) -> CriteriaPlan:
    few = {"part": 1.0, "budget": Budget(steps=6), "settings": SETTINGS, "judged_seconds": 5.0}
    return CriteriaPlan(**{**few, **changes})


def test_every_choice_is_trained_once_and_judged_on_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = CriteriaComparison(plan(), tmp_path / "out", data, tmp_path).run()
    assert set(results["choices"]) == set(CHOICES) and results["steps"] == 6
    told = [own[0]["utterances"] for own in results["choices"].values()]
    assert all(one["phones"] == told[0]["phones"] and one["set"] == told[0]["set"] for one in told)
    for choice, own in results["choices"].items():
        assert [row["step"] for row in own[0]["curve"]][-1] == 6, choice
        assert np.isfinite(own[0]["late_ms"])
    models = {path.stem for path in (tmp_path / "out/runs").glob("*/*.safetensors")}
    assert {"lfmmi-seed1-1", "lfmmi-seed1-2", "ce-seed1-1"} <= models
    monkeypatch.setattr(compare_criteria, "Trainer", None)  # nothing is trained again
    comparison = CriteriaComparison(plan(), tmp_path / "out", data, tmp_path)
    assert comparison.run()["choices"] == results["choices"]
    with pytest.raises(DataError, match="other settings"):
        CriteriaComparison(plan(judged_seconds=4.0), tmp_path / "out", data, tmp_path).run()
    write_criteria(results, tmp_path / "page.md", tmp_path / "page")
    page = (tmp_path / "page.md").read_text()
    assert page.count("\n| ") == 2 + len(CHOICES)
    assert "(page/criteria.json)" in page and (tmp_path / "page/criteria.png").stat().st_size > 5000
    assert read_criteria(tmp_path / "page/criteria.json")["steps"] == 6
    assert str(tmp_path) not in page + (tmp_path / "page/criteria.json").read_text()


def test_a_budget_in_seconds_becomes_the_steps_of_plain_ctc(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = CriteriaComparison(plan(budget=Budget(seconds=30.0)), tmp_path / "out", data, tmp_path)
    monkeypatch.setattr(comparison, "_pace", lambda: {"seconds_per_step": 0.5})
    assert comparison._steps() == 60
    monkeypatch.setattr(comparison, "_pace", lambda: {"seconds_per_step": 9.0})
    assert comparison._steps() == 60  # as it was measured first


def made_up_results(wrong: dict[str, list[int]]) -> dict[str, Any]:
    told = {"set": ["a"] * 20 + ["b"] * 4, "speaker": [str(n // 2) for n in range(24)], "phones": [10] * 24}
    return {
        "choices": {choice: [{"utterances": {**told, "wrong": errors}}] for choice, errors in wrong.items()}
    }


def test_differences_are_judged_on_the_same_speakers() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 9, 24)
    results = made_up_results({"ctc": first.tolist(), "ce": (first + 1).tolist()})
    errors = Errors(results)
    apart = errors.apart("ce", "ctc")  # one more wrong phone of ten, whoever is drawn
    assert apart.low == pytest.approx(0.1) == apart.high
    assert errors.rate("ctc", "a").value == pytest.approx(first[:20].sum() / 200)
    assert errors.mean("ctc").value == pytest.approx((first[:20].sum() / 200 + first[20:].sum() / 40) / 2)
    alone = errors.rate("ctc", "b")
    assert alone.low < alone.value < alone.high


def test_phones_are_said_in_the_middle_of_their_frames() -> None:
    log_probs = torch.full((1, 8, 4), -9.0)
    for frame, label in enumerate((0, 2, 2, 2, 0, 2, 1, 0)):
        log_probs[0, frame, label] = 0.0
    utterance: Any = type("Said", (), {"labels": (2, 2, 1)})
    assert moments(Judged(utterance, log_probs, torch.tensor([8]))).tolist() == [2.0, 5.0, 6.0]


def test_the_command_refuses_what_it_cannot_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="expected some of ctc, ctc-biphone"):
        plan(choices=("ctc", "mmi"))
    for arguments, message in (
        ([], "expected --data FOLDER"),
        (["--data", str(tmp_path), "--parts", "0.1,1"], "expected one part of the data"),
        (["--data", str(tmp_path), "--parts", "2"], "above 0 and up to 1"),
        (["--from", str(tmp_path / "none.json")], "cannot read"),
    ):
        assert cli.main(["compare", "criteria", "--work", str(tmp_path), *arguments]) != 0
        assert message in capsys.readouterr().err
