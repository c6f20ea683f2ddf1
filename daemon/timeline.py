"""Where a stream stands, in samples, and when each sample was captured.

Inside the pipeline time is a sample count. The clocks here are the only way back to nanoseconds.
"""

import time
from typing import Final, Protocol

from auricle.daemon.events import SAMPLE_RATE

NS_PER_SAMPLE: Final = 1_000_000_000 // SAMPLE_RATE


def to_model_rate(native_samples: int, native_rate: int) -> int:
    """Position at 16 kHz of a position in native samples (rounded down, so that positions add up)."""
    return native_samples * SAMPLE_RATE // native_rate


class StreamClock(Protocol):
    """Turns a position of the stream into the moment at which that sample was captured."""

    def anchor(self, sample: int, captured_ns: int) -> None:
        """Learns that everything up to `sample` had been captured at `captured_ns`."""

    def mono_ns(self, sample: int) -> int:
        """Monotonic time at which the stream stood at `sample`."""

    def wall_ns(self, sample: int) -> int:
        """The same moment in nanoseconds since 1970."""


class CaptureClock:
    """Clock of a live stream: the newest capture stamp, carried back at 16 kHz."""

    def __init__(self) -> None:
        """Notes how far the wall clock is from the monotonic one."""
        self._sample = 0
        self._captured_ns = time.monotonic_ns()
        self._wall_offset_ns = time.time_ns() - time.monotonic_ns()

    def anchor(self, sample: int, captured_ns: int) -> None:
        """Learns a capture stamp; the wall clock is read anew, since it may have been set."""
        self._sample, self._captured_ns = sample, captured_ns
        self._wall_offset_ns = time.time_ns() - time.monotonic_ns()

    def mono_ns(self, sample: int) -> int:
        """Monotonic time at which the stream stood at `sample`."""
        return self._captured_ns - (self._sample - sample) * NS_PER_SAMPLE

    def wall_ns(self, sample: int) -> int:
        """The same moment in nanoseconds since 1970."""
        return self.mono_ns(sample) + self._wall_offset_ns


class SampleClock:
    """Clock of a recording: time is the position, so that the same file gives the same events."""

    def anchor(self, sample: int, captured_ns: int) -> None:
        """Ignores when a file was read."""

    def mono_ns(self, sample: int) -> int:
        """The position in nanoseconds."""
        return sample * NS_PER_SAMPLE

    def wall_ns(self, sample: int) -> int:
        """The position in nanoseconds."""
        return sample * NS_PER_SAMPLE
