"""How long every frame takes, stage by stage.

The engine loop stamps each chunk with `monotonic_ns` at the borders of the stages and hands the stamps to
`StreamLatency.record`. Times go into HDR histograms in microseconds, weighted by frames, so that a long chunk
counts for as many frames as it holds.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hdrh.histogram import HdrHistogram

from auricle.daemon import event_data

if TYPE_CHECKING:
    from rich.table import Table

HOP_MS: Final = 10.0
STAGES: Final = ("capture_wait", "resample", "features", "inference", "decision", "publish", "total")
"""`capture_wait` is the time in the ring, `total` that from capture to published."""

_PERCENTILES: Final = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
_MAX_US: Final = 60_000_000
_DIGITS: Final = 2


class Stamps(NamedTuple):
    """When a chunk passed the border of each stage, on the monotonic clock."""

    captured_ns: int
    """When the last sample of the chunk was captured."""
    dequeued_ns: int
    resampled_ns: int
    featured_ns: int
    inferred_ns: int
    decided_ns: int
    published_ns: int


class _Histograms:
    """The times and counts of one stream over one period."""

    def __init__(self) -> None:
        self.stages = [HdrHistogram(1, _MAX_US, _DIGITS) for _ in STAGES]
        self.frames = 0
        self.busy_ns = 0
        self.deadline_misses = 0
        self.queue_max = 0
        self.lost_samples = 0

    def add(self, other: "_Histograms") -> None:
        for mine, others in zip(self.stages, other.stages, strict=True):
            mine.add(others)
        self.frames += other.frames
        self.busy_ns += other.busy_ns
        self.deadline_misses += other.deadline_misses
        self.queue_max = max(self.queue_max, other.queue_max)
        self.lost_samples += other.lost_samples


class StreamLatency:
    """Latency of one stream: since the last report, and since the start. Used by the engine loop only."""

    def __init__(self, stream: str, budget_ms: float) -> None:
        """Starts with nothing recorded.

        Args:
            stream: name of the stream.
            budget_ms: chunks published later than this after their last sample was captured are too late.

        Raises:
            ValueError: the budget isn't positive.
        """
        if budget_ms <= 0:
            raise ValueError(f"expected a positive latency budget, got {budget_ms} ms")
        self.stream = stream
        self.budget_ms = budget_ms
        self._budget_ns = round(budget_ms * 1e6)
        self._interval = _Histograms()
        self._past = _Histograms()
        self._queue_samples = 0

    def record(self, frames: int, stamps: Stamps, queue_samples: int = 0) -> None:
        """Records one chunk.

        Args:
            frames: frames in the chunk, at least one.
            stamps: when it passed each stage.
            queue_samples: 16 kHz samples left waiting in the ring when the chunk was taken.
        """
        interval = self._interval
        before_ns = stamps[0]
        for histogram, after_ns in zip(interval.stages, stamps[1:], strict=False):
            histogram.record_value(_microseconds(after_ns - before_ns), frames)
            before_ns = after_ns
        total_ns = stamps[6] - stamps[0]
        interval.stages[6].record_value(_microseconds(total_ns), frames)
        interval.frames += frames
        interval.busy_ns += stamps[6] - stamps[1]
        interval.deadline_misses += total_ns > self._budget_ns
        self._queue_samples = queue_samples
        interval.queue_max = max(interval.queue_max, queue_samples)

    def lose(self, samples: int) -> None:
        """Counts samples (at 16 kHz) that never reached the models."""
        self._interval.lost_samples += samples

    def report(self) -> dict[str, Any]:
        """Returns the data of a `latency` event for the time since the last report, and begins anew."""
        data = self._data(self._interval)
        self._past.add(self._interval)
        self._interval = _Histograms()
        return data

    def summary(self) -> dict[str, Any]:
        """Returns the same for the time since the start."""
        whole = _Histograms()
        whole.add(self._past)
        whole.add(self._interval)
        return self._data(whole)

    def _data(self, times: _Histograms) -> dict[str, Any]:
        audio_ns = times.frames * HOP_MS * 1e6
        return event_data.latency(
            {name: _percentiles_ms(histogram) for name, histogram in zip(STAGES, times.stages, strict=True)},
            frames=times.frames,
            rtf=times.busy_ns / audio_ns if times.frames else 0.0,
            deadline_misses=times.deadline_misses,
            budget_ms=self.budget_ms,
            queue_samples=self._queue_samples,
            queue_max=times.queue_max,
            lost_samples=times.lost_samples,
        )


def table(reports: Mapping[str, Mapping[str, Any]]) -> "Table":
    """Lays out the data of `latency` events, one per stream, for a terminal."""
    from rich.table import Table

    counts = "\n".join(f"{stream}: {describe(report)}" for stream, report in reports.items())
    result = Table(title="Latency per stage, in milliseconds", caption=counts, caption_justify="left")
    for heading in ("stream", "stage"):
        result.add_column(heading)
    for heading in ("p50", "p95", "p99", "max"):
        result.add_column(heading, justify="right")
    for stream, report in reports.items():
        for row, (stage, values) in enumerate(report["stages"].items()):
            style = "bold" if stage == "total" else None
            cells = [f"{values[key]:.2f}" for key in ("p50", "p95", "p99", "max")]
            result.add_row("" if row else stream, stage, *cells, style=style, end_section=stage == "total")
    return result


def describe(report: Mapping[str, Any]) -> str:
    """Returns in one line what a `latency` event tells beyond its stages."""
    return (
        f"{report['frames']} frames, real-time factor {report['rtf']:.4f}, "
        f"{report['deadline_misses']} chunks later than {report['budget_ms']:g} ms, "
        f"queue at most {report['queue_max']} samples, {report['lost_samples']} samples lost"
    )


def _microseconds(duration_ns: int) -> int:
    return min(max(duration_ns // 1000, 1), _MAX_US)


def _percentiles_ms(histogram: HdrHistogram) -> dict[str, float]:
    values_us = histogram.get_percentile_to_value_dict(list(_PERCENTILES.values()))
    times_ms = {name: values_us.get(percentile, 0) / 1000 for name, percentile in _PERCENTILES.items()}
    return {**times_ms, "max": histogram.get_max_value() / 1000}
