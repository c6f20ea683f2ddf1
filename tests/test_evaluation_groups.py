"""Figures for each source and group of speakers, the nearest pronunciation, and pictures of an evaluation."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from auricle.pipelines import evaluation_plots
from auricle.pipelines.corpus import Clip
from auricle.pipelines.decode_phones import edit_distance, nearest_distance
from auricle.pipelines.evaluate_vad import Streams, curves, judge, judge_groups, listen
from auricle.pipelines.groups import Group, facets, members
from auricle.pipelines.metrics import roc_auc, roc_curve
from auricle.pipelines.report import plain
from auricle.pipelines.streams import Placed


def clip(name: str, number: int, **details: object) -> Clip:
    return Clip(f"{name}-{number}", name, "dev", "a.opus", 0, 16_000, details=details)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"gender": "f", "age": "9"}, {"sex": "female", "age": "under 13"}),
        ({"gender": "male", "age": "fourties"}, {"sex": "male", "age": "40-59"}),
        ({"gender": "other", "accent": "us"}, {"accent": "us"}),
        ({"dialect": "nonNative", "phone": "cellphone"}, {"accent": "not native", "telephone": "cellphone"}),
        ({"age": "old"}, {}),
        ({}, {}),
    ],
)
def test_facets_are_named_alike_in_all_sets(details: dict[str, str], expected: dict[str, str]) -> None:
    assert facets(clip("a", 0, **details)) == expected


def test_groups_stay_within_their_set() -> None:
    clips = [clip("a", 0, gender="f"), clip("b", 1, gender="m"), clip("a", 2, gender="m"), clip("b", 3)]
    assert members(clips) == {Group("a", "sex", "female"): [0], Group("a", "sex", "male"): [2]}


def test_roc_curve_encloses_the_area() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(4000) < 0.3
    scores = np.round(rng.normal(positive * 1.2, 1.0), 1)
    alarms, misses = roc_curve(scores, positive)
    assert len(alarms) <= 202
    assert (alarms[0], misses[0], alarms[-1], misses[-1]) == (0, 1, 1, 0)
    assert (np.diff(alarms) >= 0).all() and (np.diff(misses) <= 0).all()
    assert np.trapezoid(1 - misses, alarms) == pytest.approx(roc_auc(scores, positive), abs=1e-3)


def test_the_nearest_of_all_pronunciations_counts() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        found = rng.integers(1, 4, rng.integers(0, 7)).tolist()
        words = [
            [rng.integers(1, 4, rng.integers(1, 4)).tolist() for _ in range(rng.integers(1, 3))]
            for _ in range(3)
        ]
        every = [edit_distance(found, [label for way in ways for label in way]) for ways in product(*words)]
        assert nearest_distance(found, words) == min(every)
    assert edit_distance([1, 2, 3], [1, 3, 4]) == 2
    assert edit_distance([], [1, 3]) == 2


def heard_streams() -> Streams:
    """Three streams: the speech of set "a" is loud, that of "b" as loud as the noise half of the time."""
    hops = 400
    targets = np.tile(np.repeat(np.array([1, 0, 1, 0], np.int64), hops), (3, 1))
    level = np.tile(np.repeat(np.array([0.5, 0.0, 0.0, 0.0]), hops), (3, 1))
    level[:, 2 * hops : 3 * hops : 2] = 0.5
    loud, soft = clip("a", 0), clip("b", 1)
    placed = [Placed(row, 0, hops * 480, loud) for row in range(3)]
    placed += [Placed(row, 2 * hops * 480, 3 * hops * 480, soft) for row in range(3)]
    speech = np.repeat(level, 480, axis=1).astype(np.float32)
    return Streams(speech, np.full_like(speech, 0.001), targets, placed)


def test_voice_activity_is_judged_by_group() -> None:
    streams = heard_streams()
    scores = listen(streams, {"loud": lambda row: row.reshape(-1, 480).mean(1)}, (5.0,))
    groups = judge_groups(streams, scores)
    assert groups[Group("a", "all", "")]["loud"].value == pytest.approx(1.0, abs=1e-3)
    assert groups[Group("b", "all", "")]["loud"].value == pytest.approx(0.75, abs=0.01)
    assert judge(streams, scores)["loud"]["5 dB"].value == pytest.approx(0.875, abs=0.01)


def test_pictures_are_drawn_of_what_was_found(tmp_path: Path) -> None:
    streams = heard_streams()
    scores = listen(streams, {"loud": lambda row: row.reshape(-1, 480).mean(1)})
    groups = judge_groups(streams, scores)
    rate = {"value": 0.3, "low": 0.2, "high": 0.45}
    row = {"set": "a", "facet": "sex", "group": "female", "condition": "clean", "search": rate}
    figures = {
        "curves": curves(streams, scores),
        "auc_by_group": [{**group._asdict(), "auc": plain(found)} for group, found in groups.items()],
        "phone_error_rate": [row, {**row, "condition": "10 dB"}],
        "phone_error_rate_by_group": [],
        "hours": 1.0,
    }
    paths = evaluation_plots.draw(figures, tmp_path, "toy-dev")
    names = ["toy-dev-curves.png", "toy-dev-auc-by-group.png", "toy-dev-phone-error-rate.png"]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_bars_carry_values_and_intervals() -> None:
    rows = [
        {"set": name, "condition": condition, "search": {"value": value, "low": 0.1, "high": 0.6}}
        for name, condition, value in [
            ("a", "clean", 0.2),
            ("b", "clean", 0.3),
            ("a", "5 dB", 0.4),
            ("b", "5 dB", 0.5),
        ]
    ]
    (axes,) = evaluation_plots.draw_sets(rows).axes
    assert [round(bar.get_width()) for bar in axes.patches] == [20, 30, 40, 50]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
