"""Signal processing at 16 kHz beside the models: the DC blocker, the level meter and the spectrum meter.

Each block keeps all it remembers in one small `state`, a NamedTuple that is replaced and never changed, so
that it can be saved and put back. All count samples: results do not depend on how the signal was cut, but for
the last digits of the high-pass.
"""

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.daemon.resample import PIPELINE_RATE
from auricle.daemon.ring import FloatArray

if TYPE_CHECKING:
    from collections.abc import Iterator

DBFS_FLOOR: Final = -120.0
"""What silence reads (dB)."""

FILTER_BLOCK: Final = 32
"""Samples of one product of the high-pass."""
FILTER_AT_ONCE: Final = 65_536
"""Samples that it takes at once, for the sake of memory."""
_LOWEST_BIN_HZ = 50.0
_SPECTRUM_WINDOW = 1024  # 64 ms; bins of 15.6 Hz


MAX_AMPLITUDE: Final = np.float32(100.0)
"""40 dB above full scale: room for a wrong gain, and far from where features overflow."""


def bounded(samples: FloatArray) -> FloatArray:
    """Limits samples (n,) to `MAX_AMPLITUDE`, NaN becoming silence: one of them would poison every state."""
    if len(samples) and not np.abs(samples).max() <= MAX_AMPLITUDE:
        return np.clip(np.nan_to_num(samples, nan=0.0), -MAX_AMPLITUDE, MAX_AMPLITUDE)
    return samples


class HighPassState(NamedTuple):
    """Memory of the filter: `zi` (2,) float64."""

    zi: NDArray[np.float64]


class HighPass:
    """Removes direct current and rumble: a Butterworth high-pass of second order.

    Blocks of samples are products with what it does to an impulse, so that nothing but numpy is needed:
    SciPy's filters would cost a small machine 70 MB of memory and a second of its start.

    Args:
        cutoff_hz: -3 dB point (Hz); 0 turns the filter off.
        rate: samples per second.
    """

    def __init__(self, cutoff_hz: float, rate: int = PIPELINE_RATE) -> None:
        """Derive the coefficients; see the class for the arguments."""
        if not 0 <= cutoff_hz < rate / 2:
            raise ValueError(f"expected a cutoff from 0 to {rate / 2:g} Hz, got {cutoff_hz}; 0 turns it off")
        self.bypass = cutoff_hz == 0
        if not self.bypass:
            self._b, self._a = _butterworth_highpass(cutoff_hz, rate).tolist()
            heard = [self._run(impulse, [0.0, 0.0]) for impulse in np.eye(FILTER_BLOCK)]
            remembered = [self._run(np.zeros(FILTER_BLOCK), zi) for zi in np.eye(2).tolist()]
            self._of_samples = np.array([out for out, _ in heard])
            self._to_state = np.array([zi for _, zi in heard])
            self._of_state = np.array([out for out, _ in remembered])
            self._state_to_state = [zi for _, zi in remembered]
        self.state = self.initial_state()

    def initial_state(self) -> HighPassState:
        """The state before the first sample: silence."""
        return HighPassState(np.zeros(2))

    def reset(self) -> None:
        """Forget the past."""
        self.state = self.initial_state()

    def process(self, samples: FloatArray) -> FloatArray:
        """Filter the next samples (n,) and return as many; `state` moves on."""
        if self.bypass or len(samples) == 0:
            return samples
        pieces = range(0, len(samples), FILTER_AT_ONCE)
        return np.concatenate([self._filter(samples[start : start + FILTER_AT_ONCE]) for start in pieces])

    def _filter(self, samples: FloatArray) -> FloatArray:
        whole = len(samples) // FILTER_BLOCK * FILTER_BLOCK
        blocks = samples[:whole].astype(np.float64).reshape(-1, FILTER_BLOCK)
        (a, b), (c, d) = self._state_to_state
        zi, before = self.state.zi.tolist(), []
        for driven in (blocks @ self._to_state).tolist():
            before.append(zi)
            zi = [a * zi[0] + c * zi[1] + driven[0], b * zi[0] + d * zi[1] + driven[1]]
        filtered = blocks @ self._of_samples
        if before:
            filtered += np.array(before) @ self._of_state
        rest, zi = self._run(samples[whole:], zi)
        self.state = HighPassState(np.array(zi))
        return np.concatenate([filtered.reshape(-1), rest]).astype(np.float32)

    def _run(self, samples: NDArray[Any], zi: list[float]) -> tuple[NDArray[np.float64], list[float]]:
        """The same sample by sample, in transposed direct form."""
        (b0, b1, b2), (_, a1, a2) = self._b, self._a
        out, (z1, z2) = np.empty(len(samples)), zi
        for place, heard in enumerate(samples.tolist()):
            out[place] = said = b0 * heard + z1
            z1, z2 = b1 * heard - a1 * said + z2, b2 * heard - a2 * said
        return out, [z1, z2]


def _butterworth_highpass(cutoff_hz: float, rate: int) -> NDArray[np.float64]:
    """Numerator and denominator (2, 3) by the bilinear transform, as `scipy.signal.butter` gives them."""
    k = math.tan(math.pi * cutoff_hz / rate)
    norm = 1 / (1 + math.sqrt(2) * k + k * k)
    return np.array(
        [[norm, -2 * norm, norm], [1.0, 2 * (k * k - 1) * norm, (1 - math.sqrt(2) * k + k * k) * norm]]
    )


class Interval(NamedTuple):
    """State of a meter: the samples (n,) of the interval that is not full yet, and where its end lies."""

    position: int
    pending: FloatArray


class _Meter:
    """Cuts a stream into intervals at multiples of `interval_samples` of its timeline."""

    def __init__(self, interval_ms: float, rate: int) -> None:
        self.interval_samples = round(interval_ms * rate / 1000)
        if self.interval_samples < 1:
            raise ValueError(f"expected an interval of at least one sample, got {interval_ms} ms")
        self.rate = rate
        self.state = Interval(0, np.empty(0, np.float32))

    def reset(self, position: int = 0) -> None:
        """Forget the unfinished interval and stand at sample `position`."""
        self.state = Interval(position, np.empty(0, np.float32))

    def skip(self, lost: int) -> None:
        """Step over `lost` missing samples; an interval with a hole in it is not reported."""
        self.reset(self.state.position + lost)

    def _intervals(self, samples: FloatArray) -> "Iterator[tuple[int, FloatArray]]":
        """The end and the samples of every interval that `samples` completes."""
        position, pending = self.state
        pending = np.concatenate((pending, samples))
        position += len(samples)
        end = (
            position - len(pending)
        ) // self.interval_samples * self.interval_samples + self.interval_samples
        whole = []
        while end <= position:
            count = len(pending) - (position - end)
            if count == self.interval_samples:  # else it began in a gap
                whole.append((end, pending[:count]))
            pending = pending[count:]
            end += self.interval_samples
        self.state = Interval(position, pending.copy())
        yield from whole


class LevelReading(NamedTuple):
    """Levels of one interval that ended at `sample` (dB relative to a full-scale square wave and peak)."""

    sample: int
    rms_dbfs: float
    peak_dbfs: float
    clipped: int


class LevelMeter(_Meter):
    """RMS, peak and clipped samples, once an interval.

    Args:
        interval_ms: length of an interval.
        clip_dbfs: a sample at or above this peak counts as clipped.
        rate: samples per second.
    """

    def __init__(self, interval_ms: float, clip_dbfs: float = -0.01, rate: int = PIPELINE_RATE) -> None:
        """See the class for the arguments."""
        super().__init__(interval_ms, rate)
        self._clip = np.float32(10 ** (clip_dbfs / 20))

    def process(self, samples: FloatArray) -> list[LevelReading]:
        """Take the next samples (n,); return a reading for each interval they complete."""
        return [self._read(end, part) for end, part in self._intervals(samples)]

    def _read(self, end: int, samples: FloatArray) -> LevelReading:
        magnitude = np.abs(samples)
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        clipped = int(np.count_nonzero(magnitude >= self._clip))
        return LevelReading(end, _decibels(power), _decibels(float(magnitude.max()) ** 2), clipped)


class SpectrumReading(NamedTuple):
    """Spectrum of the end of an interval that ended at `sample`: `db` per bin around `bins_hz`."""

    sample: int
    bins_hz: tuple[float, ...]
    db: tuple[float, ...]


class SpectrumMeter(_Meter):
    """Hann-windowed spectrum in logarithmic bins, once an interval; a full-scale sine reads 0 dB.

    Each bin shows its strongest line, so that a tone reads the same however wide the bin is.

    Args:
        interval_ms: how often; the last 64 ms (or the interval, if shorter) are analysed.
        bins: number of bins from 50 Hz to half the rate.
        rate: samples per second.
    """

    def __init__(self, interval_ms: float, bins: int, rate: int = PIPELINE_RATE) -> None:
        """See the class for the arguments."""
        super().__init__(interval_ms, rate)
        if bins < 1:
            raise ValueError(f"expected at least one bin, got {bins}")
        self._size = min(_SPECTRUM_WINDOW, self.interval_samples)
        self._window = np.hanning(self._size + 1)[:-1] if self._size > 1 else np.ones(1)
        edges = np.geomspace(_LOWEST_BIN_HZ, rate / 2, bins + 1)
        lines = len(np.fft.rfftfreq(self._size))
        first = np.minimum(np.ceil(edges[:-1] * self._size / rate).astype(int), lines - 1)
        last = np.minimum(np.ceil(edges[1:] * self._size / rate).astype(int), lines)
        last[-1] = lines
        self._ranges = [(a, max(b, a + 1)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
        self.bins_hz = tuple(round(float(hz), 1) for hz in np.sqrt(edges[:-1] * edges[1:]))

    def process(self, samples: FloatArray) -> list[SpectrumReading]:
        """Take the next samples (n,); return a spectrum for each interval they complete."""
        return [self._read(end, part[-self._size :]) for end, part in self._intervals(samples)]

    def _read(self, end: int, samples: FloatArray) -> SpectrumReading:
        amplitude = np.abs(np.fft.rfft(samples * self._window)) * (2 / self._window.sum())
        power = np.square(amplitude)
        db = tuple(round(_decibels(float(power[a:b].max())), 2) for a, b in self._ranges)
        return SpectrumReading(end, self.bins_hz, db)


def _decibels(power: float) -> float:
    return max(10 * math.log10(power), DBFS_FLOOR) if power > 0 else DBFS_FLOOR
