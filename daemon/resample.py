"""Native rate to 16 kHz, continuously, with soxr.

soxr computes in blocks of a Fourier transform whose size it chooses for throughput: at its defaults 48 kHz
input comes out up to 37 ms late. Its smallest transforms (`SOXR_MIN_DFT_SIZE`, read by libsoxr when a stream
is made) bring that to about 4 ms with the quality "LQ" (flat to 6 kHz, -3 dB at 6.5 kHz, aliases below
-100 dB) and to about 16 ms with "HQ" (flat to 7.3 kHz). The output is aligned with the input in either case:
the delay is a wait, never a shift of the timeline.
"""

import os
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from auricle.configs.audio import MAX_RATE, MIN_RATE
from auricle.configs.errors import FormatError
from auricle.daemon.ring import FloatArray
from auricle.daemon.timeline import to_model_rate

if TYPE_CHECKING:
    import soxr

Quality = Literal["LQ", "MQ", "HQ", "VHQ"]

PIPELINE_RATE: Final = 16000

_FEEDS_PER_SECOND = 400  # soxr is fed blocks of 2.5 ms, however the input is cut


def check_rate(rate: int, what: str, remedy: str = "declare the rate the samples were taken at") -> None:
    """Raise FormatError unless `rate` (Hz) of `what` is one that a sound device or file can have."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise FormatError(f"{what}: expected a rate from {MIN_RATE} to {MAX_RATE} Hz, got {rate}; {remedy}")


class Resampler:
    """Stateful resampler of one mono stream to 16 kHz; at 16 kHz it passes samples through.

    Input is fed to soxr in blocks of one size, so the output (values and the moment they come) depends on
    the samples alone and not on how they were cut.

    Args:
        native_rate: samples per second of the input.
        quality: soxr's recipe; see the module for what it costs.

    Raises:
        FormatError: the rate is out of range.
    """

    def __init__(self, native_rate: int, quality: Quality = "LQ") -> None:
        """Make the soxr stream; see the class for the arguments."""
        check_rate(native_rate, "resampler input")
        self.native_rate = native_rate
        self.bypass = native_rate == PIPELINE_RATE
        self._quality = quality
        self._feed_samples = max(native_rate // _FEEDS_PER_SECOND, 1)
        self._soxr: soxr.ResampleStream | None = None if self.bypass else _new_stream(native_rate, quality)
        self._pending: FloatArray = np.empty(0, np.float32)
        self._native_in = 0
        self._emitted = 0
        self._used = False

    @property
    def native_in(self) -> int:
        """Native samples taken in or skipped so far."""
        return self._native_in

    @property
    def position(self) -> int:
        """Where the output stands on the 16 kHz timeline: samples given out or skipped so far."""
        return self._emitted

    @property
    def delay_samples(self) -> int:
        """16 kHz samples taken in and not yet given out."""
        return self.to_16k(self._native_in) - self._emitted

    def to_16k(self, native_samples: int) -> int:
        """How many 16 kHz samples lie within the first `native_samples` of the stream (rounded down)."""
        return to_model_rate(native_samples, self.native_rate)

    def process(self, samples: FloatArray, last: bool = False) -> FloatArray:
        """Resample the next samples.

        Args:
            samples: (n,) float32 at the native rate, any n.
            last: nothing follows: give out the rest, so that the position equals `to_16k(native_in)`. The
                filter then starts from silence with the next sample.

        Returns:
            (m,) float32 at 16 kHz.
        """
        self._native_in += len(samples)
        if self._soxr is None:
            self._emitted += len(samples)
            return samples
        pending = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        whole = len(pending) - len(pending) % self._feed_samples
        starts = range(0, whole, self._feed_samples)
        outputs = [self._feed(pending[at : at + self._feed_samples]) for at in starts]
        self._pending = pending[whole:].copy()
        if last:
            outputs.append(self._flush(sum(map(len, outputs))))
        out = np.concatenate(outputs) if outputs else np.empty(0, np.float32)
        self._emitted += len(out)
        return out

    def skip(self, native_lost: int) -> int:
        """Step over a gap: forget the filter's memory and advance both timelines.

        Call `process(..., last=True)` first to get what lies before the gap.

        Args:
            native_lost: native samples missing.

        Returns:
            By how many 16 kHz samples the output position advanced. Positions are derived from the native
            index, so rounding never adds up over gaps.
        """
        self._native_in += native_lost
        advance = self.to_16k(self._native_in) - self._emitted
        self._emitted += advance
        self._clear()
        return advance

    def reset(self) -> None:
        """Return to the start of the timeline and forget everything."""
        self._native_in = 0
        self._emitted = 0
        self._clear()

    def _feed(self, block: FloatArray) -> FloatArray:
        assert self._soxr is not None
        self._used = True
        out: FloatArray = self._soxr.resample_chunk(block)
        return out

    def _flush(self, just_out: int) -> FloatArray:
        """The rest of the segment, cut or padded (by a sample at most) to end where the timeline says."""
        assert self._soxr is not None
        want = self.to_16k(self._native_in) - self._emitted - just_out
        out: FloatArray = self._soxr.resample_chunk(np.ascontiguousarray(self._pending), last=True)
        self._used = True
        self._clear()
        if len(out) < want:
            edge = out[-1] if len(out) else np.float32(0)
            out = np.concatenate((out, np.full(want - len(out), edge, np.float32)))
        return out[: max(want, 0)]

    def _clear(self) -> None:
        self._pending = np.empty(0, np.float32)
        if self._soxr is not None and self._used:
            self._soxr.clear()
            self._used = False


def _new_stream(native_rate: int, quality: Quality) -> "soxr.ResampleStream":
    import soxr

    # Only libsoxr reads these. Set once and left: taking them back would race with other threads' getenv.
    os.environ.setdefault("SOXR_MIN_DFT_SIZE", "8")
    os.environ.setdefault("SOXR_LARGE_DFT_SIZE", "8")
    return soxr.ResampleStream(native_rate, PIPELINE_RATE, 1, dtype="float32", quality=quality)
