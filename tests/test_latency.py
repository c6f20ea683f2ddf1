"""Latency figures against numpy, and what measuring itself costs."""

import io
import logging
import time
import timeit

import numpy as np
import pytest
from rich.console import Console

from auricle.daemon.latency import STAGES, Stamps, StreamLatency, describe, table

MS = 1_000_000
_log = logging.getLogger(__name__)


def stamps(*durations_ms: float) -> Stamps:
    """Stamps of a chunk whose stages took this long, one after another."""
    return Stamps(*(np.cumsum([0.0, *durations_ms]) * MS + 1e12).astype(np.int64).tolist())


def test_percentiles_are_those_of_numpy_to_one_percent() -> None:
    durations_ms = np.random.default_rng(3).lognormal(mean=1.0, sigma=1.0, size=(4000, 6))
    latency = StreamLatency("kitchen", budget_ms=20)
    for row in durations_ms:
        latency.record(1, stamps(*row))
    report = latency.report()
    columns = dict(zip(STAGES, [*durations_ms.T, durations_ms.sum(axis=1)], strict=True))
    for stage, values in columns.items():
        for name, percentile in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
            expected = np.percentile(values, percentile, method="inverted_cdf")
            assert report["stages"][stage][name] == pytest.approx(expected, rel=0.011, abs=0.002), (
                stage,
                name,
            )
    totals = columns["total"]
    assert report["deadline_misses"] == int((totals > 20).sum())
    assert report["rtf"] == pytest.approx(durations_ms[:, 1:].sum() / (4000 * 10), abs=1e-4)


def test_long_chunks_count_for_all_their_frames() -> None:
    latency = StreamLatency("kitchen", budget_ms=20)
    latency.record(1, stamps(1, 1, 1, 1, 1, 1))
    latency.record(99, stamps(100, 1, 1, 1, 1, 1))
    report = latency.report()
    assert report["frames"] == 100
    assert report["stages"]["capture_wait"]["p50"] == pytest.approx(100, rel=0.01)
    assert report["deadline_misses"] == 1
    assert report["rtf"] == pytest.approx(10 / 1000)


def test_a_report_begins_anew_and_the_summary_does_not() -> None:
    latency = StreamLatency("kitchen", budget_ms=20)
    latency.record(2, stamps(1, 1, 1, 1, 1, 1), queue_samples=320)
    latency.lose(160)
    assert latency.report()["lost_samples"] == 160
    latency.record(2, stamps(50, 1, 1, 1, 1, 1), queue_samples=160)
    assert latency.summary()["frames"] == 4
    report, summary = latency.report(), latency.summary()
    assert (report["frames"], report["deadline_misses"], report["lost_samples"]) == (2, 1, 0)
    assert (report["queue_samples"], report["queue_max"]) == (160, 160)
    assert (summary["frames"], summary["deadline_misses"], summary["lost_samples"]) == (4, 1, 160)
    assert (summary["queue_samples"], summary["queue_max"]) == (160, 320)
    assert report["stages"]["total"]["max"] == summary["stages"]["total"]["max"]
    assert latency.summary() == summary, "a summary changes nothing"


def test_nothing_recorded_is_all_zeros() -> None:
    report = StreamLatency("kitchen", budget_ms=20).report()
    assert report["frames"] == report["rtf"] == 0
    assert all(value == 0 for times in report["stages"].values() for value in times.values())


def test_stamps_out_of_order_and_very_late_ones_stay_in_range() -> None:
    latency = StreamLatency("kitchen", budget_ms=20)
    latency.record(1, stamps(-5, 1, 1, 1, 1, 1))  # captured a little later than the estimate said
    latency.record(1, stamps(1e6, 1, 1, 1, 1, 1))
    report = latency.report()
    assert report["stages"]["capture_wait"]["max"] == pytest.approx(60_000, rel=0.01)
    assert report["stages"]["capture_wait"]["p50"] < 0.01


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="expected a positive latency budget, got 0 ms"):
        StreamLatency("kitchen", budget_ms=0)


def test_the_table_shows_every_stage_of_every_stream() -> None:
    latency = StreamLatency("kitchen", budget_ms=20)
    latency.record(2, stamps(1, 2, 3, 4, 5, 6))
    report = latency.summary()
    out = io.StringIO()
    Console(file=out, width=100).print(table({"kitchen": report, "desk": report}))
    text = " ".join(out.getvalue().split())
    assert all(text.count(stage) == 2 for stage in STAGES)
    assert text.count("21.12") == 2 * 4
    assert text.count("2 frames, real-time factor 1.0000, 1 chunks later than 20 ms") == 2
    assert "0 samples lost" in describe(report)


def test_measuring_costs_less_than_half_a_percent_of_a_frame() -> None:
    """The issue allows 2 %, 200 us of a frame of 10 ms; that is for stamping and recording together."""
    latency = StreamLatency("kitchen", budget_ms=20)

    def measure() -> None:
        latency.record(1, Stamps(*[time.monotonic_ns() for _ in range(7)]), 320)

    microseconds = min(timeit.repeat(measure, number=200, repeat=25)) / 200 * 1e6
    _log.info("a chunk is stamped and recorded in %.1f us", microseconds)
    assert microseconds < 50


def test_a_report_is_short_enough_for_the_engine_loop() -> None:
    latency = StreamLatency("kitchen", budget_ms=20)
    for row in np.random.default_rng(0).lognormal(mean=1.0, sigma=1.0, size=(500, 6)):
        latency.record(2, stamps(*row))
    milliseconds = min(timeit.repeat(latency.report, number=1, repeat=10)) * 1e3
    _log.info("a report is made in %.1f ms", milliseconds)
    assert milliseconds < 10
