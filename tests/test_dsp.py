"""DC blocker and meters: right on known signals, the same however the signal is cut."""

import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.daemon.dsp import DBFS_FLOOR, MAX_AMPLITUDE, HighPass, LevelMeter, SpectrumMeter, bounded
from auricle.daemon.ring import FloatArray

RATE = 16000
SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=6)


def noise(count: int) -> FloatArray:
    return np.random.default_rng(3).normal(0, 0.1, count).astype(np.float32)


def sine(hertz: float, count: int, amplitude: float = 1.0) -> FloatArray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(count) / RATE)).astype(np.float32)


def cut(samples: FloatArray, sizes: list[int]) -> list[FloatArray]:
    pieces, at = [], 0
    while at < len(samples):
        pieces.append(samples[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    return pieces


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 20000), sizes=SIZES)
def test_highpass_does_not_depend_on_the_cutting(count: int, sizes: list[int]) -> None:
    whole, pieces = HighPass(20), HighPass(20)
    got = np.concatenate([pieces.process(piece) for piece in cut(noise(count), sizes)])
    np.testing.assert_allclose(got, whole.process(noise(count)), rtol=0, atol=1e-7)


def test_highpass_is_the_butterworth_of_second_order() -> None:
    sos = scipy.signal.butter(2, 20, "highpass", fs=RATE, output="sos")
    np.testing.assert_allclose(
        HighPass(20).process(noise(8000)), scipy.signal.sosfilt(sos, noise(8000)), atol=1e-6
    )


def test_highpass_takes_the_dc_and_leaves_speech() -> None:
    filtered = HighPass(20).process(sine(300, RATE, 0.5) + np.float32(0.3))[RATE // 2 :]
    assert abs(filtered.mean()) < 1e-3
    assert np.sqrt(np.mean(filtered**2)) == pytest.approx(0.5 / math.sqrt(2), rel=0.01)


def test_highpass_state_can_be_saved_and_put_back() -> None:
    first = HighPass(20)
    first.process(noise(500))
    saved = first.state
    expected = first.process(sine(100, 500))
    second = HighPass(20)
    second.state = saved
    np.testing.assert_array_equal(second.process(sine(100, 500)), expected)


def test_highpass_at_0_hz_is_off() -> None:
    samples = noise(10)
    assert HighPass(0).process(samples) is samples


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 30000), sizes=SIZES)
def test_meters_do_not_depend_on_the_cutting(count: int, sizes: list[int]) -> None:
    samples = noise(count)
    level, spectrum = LevelMeter(250), SpectrumMeter(100, 64)
    pieces = cut(samples, sizes)
    assert [r for piece in pieces for r in level.process(piece)] == LevelMeter(250).process(samples)
    assert [r for piece in pieces for r in spectrum.process(piece)] == SpectrumMeter(100, 64).process(samples)
    assert len(LevelMeter(250).process(samples)) == count // 4000


def test_level_of_known_signals() -> None:
    (tone,) = LevelMeter(1000).process(sine(1000, RATE, 0.5))
    assert tone.sample == RATE
    assert tone.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert tone.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert tone.clipped == 0
    (silence,) = LevelMeter(1000).process(np.zeros(RATE, np.float32))
    assert (silence.rms_dbfs, silence.peak_dbfs) == (DBFS_FLOOR, DBFS_FLOOR)
    loud = np.zeros(RATE, np.float32)
    loud[[1, 5]] = 1, -1
    assert LevelMeter(1000).process(loud)[0].clipped == 2


def test_meters_step_over_a_gap_and_keep_their_grid() -> None:
    meter = LevelMeter(100)
    assert meter.process(noise(1000)) == []
    meter.skip(1000)
    assert meter.process(noise(1199)) == []
    assert [reading.sample for reading in meter.process(noise(1601))] == [4800]


@pytest.mark.parametrize("hertz", [125, 1000, 4000, 7500])
def test_spectrum_shows_a_tone_where_it_is(hertz: float) -> None:
    (reading,) = SpectrumMeter(100, 64).process(sine(hertz, 1600))
    loudest = int(np.argmax(reading.db))
    assert reading.bins_hz[loudest] == pytest.approx(hertz, rel=0.1)
    assert reading.db[loudest] == pytest.approx(0, abs=1.5)
    assert len(reading.db) == len(reading.bins_hz) == 64


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="cutoff from 0 to 8000 Hz, got 9000"):
        HighPass(9000)
    with pytest.raises(ValueError, match="at least one sample"):
        LevelMeter(0)
    with pytest.raises(ValueError, match="at least one bin"):
        SpectrumMeter(100, 0)


def test_samples_that_no_audio_has_are_bounded() -> None:
    good = np.array([-1, 0.5, 3], np.float32)
    assert bounded(good) is good
    assert len(bounded(good[:0])) == 0
    bad = np.array([np.nan, np.inf, -np.inf, 1e30, 0.25], np.float32)
    limited = bounded(bad)
    assert limited.dtype == np.float32
    assert limited.tolist() == [0, MAX_AMPLITUDE, -MAX_AMPLITUDE, MAX_AMPLITUDE, 0.25]
