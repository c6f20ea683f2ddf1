"""Trace files: valid, complete, in the form that Perfetto reads, and never in the way of the engine loop."""

import itertools
import json
import logging
import os
import time
import timeit
from pathlib import Path
from typing import Any

import pytest

from auricle.configs.errors import ConfigError
from auricle.daemon import event_data
from auricle.daemon.events import Event
from auricle.daemon.latency import STAGES, Stamps
from auricle.daemon.trace import TraceWriter

_log = logging.getLogger(__name__)


def stamps(start_ns: int) -> Stamps:
    return Stamps(*(start_ns + 1_000_000 * index for index in range(7)))


def gap(mono_ns: int) -> Event:
    return Event("gap", "desk", 0, 320, mono_ns, 0, event_data.gap(160, "stall", "fill", 480, 48_000))


def load(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries


def test_a_trace_holds_every_chunk_and_event(tmp_path: Path) -> None:
    path = tmp_path / "run.trace.json"
    with TraceWriter(path) as trace:
        for index in range(100):
            trace.chunk("kitchen", 320 * index, 2, stamps(20_000_000 * index))
        trace.event(gap(2_000_000_000))
    entries = load(path)
    names = {entry["args"]["name"]: entry for entry in entries if entry["ph"] == "M"}
    assert set(names) == {"auricle", "kitchen", "desk"}
    slices = [entry for entry in entries if entry["ph"] == "X"]
    assert len(slices) == 5 * 100
    assert [entry["name"] for entry in slices[:5]] == list(STAGES[1:-1])
    assert slices[5]["args"] == {"sample": 320, "frames": 2}
    assert {entry["tid"] for entry in slices} == {names["kitchen"]["tid"]}
    assert {entry["pid"] for entry in entries} == {os.getpid()}
    instants = [entry for entry in entries if entry["ph"] == "i"]
    assert len(instants) == 1
    assert instants[0]["tid"] == names["desk"]["tid"]
    assert instants[0]["args"]["native_samples"] == 480
    assert trace.dropped == 0 and trace.error is None


def test_slices_of_a_thread_follow_one_another_and_waits_come_in_pairs(tmp_path: Path) -> None:
    """Slices of a thread that overlap without nesting are drawn wrongly; a wait may overlap a chunk."""
    path = tmp_path / "run.trace.json"
    with TraceWriter(path) as trace:
        for index in range(10):
            first = stamps(20_000_000 * (index // 2))
            second = Stamps(
                *first[:2], *(stamp + 5_000_000 for stamp in first[2:])
            )  # taken along with the first
            trace.chunk("kitchen", 160 * index, 1, second if index % 2 else first)
    entries = load(path)
    slices = sorted((entry["ts"], entry["dur"]) for entry in entries if entry["ph"] == "X")
    assert len(slices) == 5 * 10
    for (start, duration), (following, _) in itertools.pairwise(slices):
        assert start + duration <= following + 1e-3
    begins = {entry["id"]: entry["ts"] for entry in entries if entry["ph"] == "b"}
    ends = {entry["id"]: entry["ts"] for entry in entries if entry["ph"] == "e"}
    assert begins.keys() == ends.keys() and len(begins) == 10
    assert all(ends[chunk] - begins[chunk] == pytest.approx(1000) for chunk in begins)
    assert {"name", "cat", "id", "pid", "tid", "ts", "args"} <= next(
        e for e in entries if e["ph"] == "b"
    ).keys()


def test_a_file_cut_off_by_a_crash_needs_only_the_bracket(tmp_path: Path) -> None:
    path = tmp_path / "run.trace.json"
    with TraceWriter(path) as trace:
        trace.chunk("kitchen", 320, 2, stamps(0))
        deadline = time.monotonic() + 10
        while "publish" not in (text := path.read_text(encoding="utf-8")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert len(json.loads(text + "]")) == 9


def test_a_slow_disk_drops_and_counts(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "run.trace.json", max_pending=3) as trace:
        for index in range(10):
            trace.chunk("kitchen", index, 1, stamps(0))
        assert trace.dropped >= 1
    written = [entry for entry in load(trace.path) if entry["name"] == "publish"]
    assert len(written) + trace.dropped == 10


def test_a_full_disk_is_told_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with TraceWriter(Path("/dev/full")) as trace:
        trace.chunk("kitchen", 320, 2, stamps(0))
        deadline = time.monotonic() + 10
        while trace.error is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        trace.chunk("kitchen", 640, 2, stamps(0))
        assert trace.dropped >= 1
        assert "No space left on device; free some space" in str(trace.take_error())
        assert trace.take_error() is None
    assert caplog.text.count("ends early") == 1


def test_a_file_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; choose another file"):
        TraceWriter(tmp_path / "nowhere" / "run.trace.json")


def test_tracing_costs_the_engine_loop_a_microsecond(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "run.trace.json", max_pending=10**6) as trace:
        chunk = stamps(0)
        seconds = min(timeit.repeat(lambda: trace.chunk("kitchen", 0, 2, chunk), number=200, repeat=10))
    _log.info("a chunk is handed to the trace in %.2f us", seconds / 200 * 1e6)
    assert seconds / 200 < 20e-6
