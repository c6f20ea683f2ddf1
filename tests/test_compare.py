"""`auricle compare`: what it measures is really so, and what it says follows from what it measured."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import VAD, make_data

from auricle.configs import cli
from auricle.configs.errors import ConfigError, DataError
from auricle.models.frontend import LogMel
from auricle.models.network import Network
from auricle.pipelines import compare, cost, memory, train
from auricle.pipelines.compare import Comparison, Plan
from auricle.pipelines.compare_page import read_results, write_all, write_page
from auricle.pipelines.compare_summary import (
    FAILED,
    HELD,
    NOISE,
    UNKNOWN,
    Figures,
    difference,
    is_greater,
    judge,
    spread,
)
from auricle.pipelines.memory import Budget
from auricle.pipelines.metrics import Interval
from auricle.pipelines.probes import ComparedKeywords, PartialCorpus, match_words
from auricle.pipelines.recipe import load_recipe

TINY = Budget(steps=6)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # What a command sets for its whole process (denormals, memory) would reach the tests after it.
    monkeypatch.setattr(train, "prepare_process", lambda threads: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small steps: a second thread only gets in the way
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same measurements with fewer repetitions."""
    monkeypatch.setattr(memory, "DELAYS", (1, 4, 100, 200))
    monkeypatch.setattr(memory, "GRADIENT_STEPS", 120)
    monkeypatch.setattr(cost.measure_costs, "__kwdefaults__", {"rounds": 2, "steps": 5, "resident": False})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def vad_plan(**changes: Any) -> Plan:
    plan = {"task": "vad", "cells": ("gru",), "seeds": 2, "parts": (0.5, 1.0), "budget": TINY}
    return Plan(**{**plan, "settings": VAD, "probe_size": 4, **changes})


def test_costs_are_those_of_the_network() -> None:
    plan = Plan(task="vad", cells=("gru", "lstm"))
    recipes = {cell: plan.recipe(cell) for cell in plan.cells}
    found = cost.measure_costs(recipes, rounds=2, steps=5, resident=False)
    network = Network(recipes["gru"].network)
    assert found["gru"]["parameters"] == sum(weight.numel() for weight in network.parameters())
    assert found["lstm"]["parameters"] > found["gru"]["parameters"]
    assert found["gru"]["frame_ms"] == 20.0
    assert all(
        p95 >= p50 > 0
        for p50, p95 in zip(found["gru"]["step_p50_us"], found["gru"]["step_p95_us"], strict=True)
    )


@pytest.mark.skipif(not cost.STATM.exists(), reason="needs /proc")
def test_a_process_grows_by_the_state_of_its_streams(tmp_path: Path) -> None:
    path = tmp_path / "attention.safetensors"
    cost.write_untrained(Plan(task="vad").recipe("attention"), path)
    state_bytes = cost._sizes(path)["state_bytes"]
    grown = cost.measure_resident(path, streams=200)
    assert grown is not None and 0.5 * 200 * state_bytes < grown < 5 * 200 * state_bytes


def test_a_part_of_the_data_is_the_same_each_time_and_leaves_dev_alone(data: Path, tmp_path: Path) -> None:
    whole, part = (PartialCorpus(data, tmp_path, share, ["hiss"]) for share in (1.0, 0.5))
    assert len(part.clips("talk", "train")) == 3
    assert set(part.clips("talk", "train")) < set(whole.clips("talk", "train"))
    assert part.clips("talk", "train") == part.clips("talk", "train")
    assert part.clips("talk", "dev") == whole.clips("talk", "dev")
    assert part.clips("hiss", "train") == whole.clips("hiss", "train")
    words = part.clips("words", "train")
    assert {clip.label for clip in words} == {clip.label for clip in whole.clips("words", "train")}
    assert len(words) == len(whole.clips("words", "train")) / 2


def test_known_and_unknown_voices_say_the_same_words(data: Path, tmp_path: Path) -> None:
    names = [f'keyword.{key}=["words"]' for key in ("words", "dev_words")]
    sets = ["keyword.others=[]", "keyword.strings=[]", "keyword.synthetic=false", "keyword.fluent=false"]
    talk = [f'keyword.{key}=["talk"]' for key in ("sentences", "dev_sentences")]
    settings = [
        *names,
        *sets,
        *talk,
        'keyword.noise.sets=["hiss"]',
        "augment.room_part=0.0",
        "keyword.digit_part=0.0",
    ]
    recipe = load_recipe("keyword", settings)
    task = ComparedKeywords(PartialCorpus(data, tmp_path, 1.0, ["hiss"]), recipe, LogMel(recipe.frontend), 2)
    known, unknown = (task.probes[name].placed for name in ("train ", "matched "))
    assert sorted(place.note for place in known) == sorted(place.note for place in unknown)
    assert {place.note for place in known} == {1, *range(2, 12)}  # unknown and commands, no digits
    figures = task.evaluate(Network(recipe.network))
    assert {"clean", "10 dB", "0 dB", "train clean", "matched clean", "0 dB error"} <= figures.keys()
    assert match_words.__doc__


def test_a_comparison_is_written_and_resumed(
    data: Path, tmp_path: Path, cheap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    results = Comparison(vad_plan(), out, data, tmp_path / "work").run()
    write_all(results, out / "compare.md", out)
    assert {path.name for path in out.glob("*.png")} == {
        f"{name}.png" for name in ("cost", "recall", "gradient", "accuracy", "gap")
    }
    assert all(path.stat().st_size > 5000 for path in out.glob("*.png"))
    page = (out / "compare.md").read_text()
    for text in (
        "| GRU |",
        "2 seeds",
        "6 steps for each training",
        "![gap](gap.png)",
        "gap at 50 %",
    ):
        assert text in page
    assert read_results(out / "compare.json") == json.loads(json.dumps(results))
    assert [run["updates"] for run in results["training"]["gru"]["0.5"]] == [6, 6]
    assert results["training"]["gru"]["0.5"][0]["clips"] < results["training"]["gru"]["1.0"][0]["clips"]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    for name in ("measure_costs", "measure_memory", "Trainer"):
        monkeypatch.setattr(compare, name, never)
    again = Comparison(vad_plan(), out, data, tmp_path / "work").run()
    assert again == results
    (out / "results" / "vad-gru-part50-seed2.json").unlink()
    with pytest.raises(AssertionError, match="measured again"):
        Comparison(vad_plan(), out, data, tmp_path / "work").run()
    with pytest.raises(DataError, match=r"other settings.*--fresh"):
        Comparison(vad_plan(budget=Budget(steps=7)), out, data, tmp_path / "work").run()
    other = tmp_path / "other"
    shutil.copytree(data, other)
    manifest = next(other.glob("*/train.jsonl"))
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"other settings.*--fresh"):
        Comparison(vad_plan(), out, other, tmp_path / "work").run()


def test_without_data_the_rest_is_measured_and_the_page_says_so(
    tmp_path: Path, cheap: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out", tmp_path / "docs" / "compare.md"
    page.parent.mkdir()
    options = ["--cells", "gru,rnn", "--steps", "2", "--seeds", "1", "--out", str(out), "--page", str(page)]
    assert cli.main(["compare", *options]) == 0
    assert "no --data: only size, speed, recall and gradients" in capsys.readouterr().out
    text = page.read_text()
    assert "No data was given" in text and "One seed has no interval" in text
    assert "(compare/recall.png)" in text and (page.parent / "compare" / "recall.png").exists()
    assert cli.main(["compare", "--from", str(out / "compare.json"), "--page", str(page)]) == 0
    assert page.read_text() == text
    assert {claim.verdict for claim in judge(read_results(out / "compare.json"))} >= {UNKNOWN, HELD}


def test_a_budget_in_seconds_becomes_as_many_steps_as_it_allows(
    data: Path, tmp_path: Path, cheap: None
) -> None:
    comparison = Comparison(vad_plan(budget=Budget(seconds=3.0)), tmp_path / "out", data, tmp_path / "work")
    steps = comparison._steps("gru")
    kept = json.loads((tmp_path / "out" / "results" / "pace-vad-gru.json").read_text())["result"]
    assert steps == max(compare.LEAST_STEPS, int(3.0 / kept["seconds_per_step"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cells", "gru,lstmm"], "unknown cell 'lstmm': expected some of rnn, gru, lstm, attention"),
        (["--task", "wake"], "unknown task 'wake': expected one of keyword, vad"),
        (["--seeds", "0"], "expected 1 seed or more"),
        (["--parts", "0.1,2"], "expected parts of the data above 0 and up to 1"),
        (["--parts", "all"], "expected --parts like"),
        (["--budget-s", "0"], "expected a budget above 0"),
        (["--from", "nothing.json"], "expected --page FILE"),
        (["--from", "nothing.json", "--page", "x.md"], "cannot read nothing.json"),
        (["--data", "/nowhere"], "no data folder at /nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "--out", str(tmp_path), *options]) != 0
    assert message in capsys.readouterr().err


def test_intervals_widen_with_spread_and_one_seed_has_none() -> None:
    assert spread([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5)
    two = spread([0.4, 0.6])
    assert two.value == pytest.approx(0.5)
    assert two.high - two.value == pytest.approx(12.706 * 0.1, rel=1e-3)  # Student, one degree of freedom
    assert spread([0.5, 0.5], [0.1, 0.1]).high == pytest.approx(0.5 + 1.96 * 0.1, rel=1e-3)
    assert spread([0.5]).high == math.inf
    gap = difference(Interval(3, 2, 4), Interval(1, 0, 2))
    assert (gap.value, gap.low) == (2, pytest.approx(2 - math.sqrt(2)))


def test_a_verdict_needs_more_than_noise() -> None:
    low, high, wide = Interval(1, 0.9, 1.1), Interval(2, 1.9, 2.1), Interval(2, 0.5, 3.5)
    assert is_greater(high, low) == HELD
    assert is_greater(low, high) == FAILED
    assert is_greater(wide, low) == NOISE
    assert is_greater(spread([2.0]), low) == NOISE


def made_up_results(accuracy: dict[str, list[float]]) -> dict[str, Any]:
    conditions = ("clean", "10 dB", "0 dB", "train clean", "matched clean")
    runs = {
        cell: [
            {
                "figures": dict.fromkeys(conditions, value) | {f"{name} error": 0.005 for name in conditions},
                "seconds": 10.0,
                "updates": 100,
            }
            for value in values
        ]
        for cell, values in accuracy.items()
    }
    training = {cell: {"0.1": same, "1.0": same} for cell, same in runs.items()}
    return {"cost": {}, "memory": {}, "training": training, "plan": {"task": "keyword"}, "machine": {}}


def test_claims_follow_from_the_figures() -> None:
    results = made_up_results(
        {
            "gru": [0.80, 0.81, 0.79],
            "lstm": [0.70, 0.71, 0.69],
            "gru+lstm": [0.81, 0.80, 0.80],
            "rnn": [0.5, 0.51, 0.52],
        }
    )
    verdicts = {claim.text: claim.verdict for claim in judge(results)}
    assert verdicts["The GRU does better on little data (10 %)"] == HELD
    assert verdicts["The LSTM is more accurate than the GRU"] == FAILED
    assert verdicts["Hybrids win (GRU+LSTM against the better of the two)"] == NOISE
    assert verdicts["GRU and LSTM beat a plain RNN"] == HELD
    assert verdicts["Attention beats recurrence"] == UNKNOWN
    assert verdicts["The GRU is lighter than the LSTM (parameters, same width)"] == UNKNOWN
    assert Figures(results).gap("gru", 0.1).value == 0.0
    assert np.isclose(Figures(results).trained("gru", "clean").value, 0.8)


@pytest.mark.parametrize(
    ("reach", "lstm", "verdict"),
    [(5000, [2500, 2600, 2550], HELD), (5000, [1500, 2600, 1900], NOISE), (300, [3000] * 3, UNKNOWN)],
)
def test_who_learns_to_remember_sooner(reach: int, lstm: list[int], verdict: str) -> None:
    results = made_up_results({"gru": [0.9] * 3, "lstm": [0.9] * 3})
    results["memory"] = {
        cell: [{"updates": number, "longest_practised": reach} for number in updates]
        for cell, updates in {"gru": [1700, 1800, 1750], "lstm": lstm}.items()
    }
    found = {claim.text: claim for claim in judge(results)}
    assert found["The GRU learns to remember with less practice than the LSTM"].verdict == verdict


def test_a_budget_too_short_to_learn_anything_decides_nothing() -> None:
    results = made_up_results({"gru": [0.05, 0.06, 0.04], "lstm": [0.09, 0.1, 0.11], "rnn": [0.0, 0.0, 0.0]})
    found = {claim.text: claim for claim in judge(results)}["The LSTM is more accurate than the GRU"]
    assert found.verdict == UNKNOWN
    assert "too short: at best 10.0 ±" in found.evidence


def test_the_page_in_the_docs_is_made_from_the_figures_beside_it() -> None:
    docs = Path(__file__).parent.parent / "docs"
    results = read_results(docs / "compare" / "compare.json")
    pictures = [Path("compare") / path.name for path in (docs / "compare").glob("*.png")]
    page = write_page(results, pictures, Path("compare") / "compare.json")
    command = "auricle compare --from docs/compare/compare.json --page docs/compare.md"
    assert (docs / "compare.md").read_text("utf-8") == page, f"run: {command}"


def test_unknown_cells_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(ConfigError, match="unknown cell 'tcn'"):
        Plan(cells=("gru", "tcn"))
