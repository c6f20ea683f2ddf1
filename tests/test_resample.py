"""The resampler: independent of cutting, aligned with its input, exact in its counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.configs.errors import FormatError
from auricle.daemon.resample import PIPELINE_RATE, Resampler
from auricle.daemon.ring import FloatArray

RATES = [8000, 11025, 22050, 32000, 44100, 48000]
NOTHING = np.empty(0, np.float32)


def noise(count: int) -> FloatArray:
    return np.random.default_rng(7).uniform(-0.5, 0.5, count).astype(np.float32)


def cut(samples: FloatArray, sizes: list[int]) -> list[FloatArray]:
    pieces, at = [], 0
    while at < len(samples):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(samples[at : at + size])
        at += size
    return pieces


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([*RATES, PIPELINE_RATE]),
    count=st.integers(0, 12000),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
)
def test_output_does_not_depend_on_the_cutting(rate: int, count: int, sizes: list[int]) -> None:
    samples = noise(count)
    whole = Resampler(rate)
    pieces = Resampler(rate)
    expected = whole.process(samples, last=True)
    got = [pieces.process(piece) for piece in cut(samples, sizes)]
    got.append(pieces.process(NOTHING, last=True))
    np.testing.assert_array_equal(np.concatenate(got), expected)
    assert len(expected) == whole.to_16k(count) == whole.position == pieces.position


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_comes_out_where_it_went_in(rate: int) -> None:
    seconds = np.arange(rate) / rate
    out = Resampler(rate).process(np.sin(2 * np.pi * 1000 * seconds).astype(np.float32), last=True)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(out)) / PIPELINE_RATE)
    np.testing.assert_allclose(out[800:-800], expected[800:-800], atol=1e-4)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_nothing_folds_back(rate: int) -> None:
    tone = np.sin(2 * np.pi * 9500 * np.arange(rate) / rate).astype(np.float32)
    out = Resampler(rate).process(tone, last=True)
    assert 20 * np.log10(np.abs(out[800:-800]).max() + 1e-12) < -100


@pytest.mark.parametrize(("rate", "bound_ms"), [(48000, 5), (44100, 7), (8000, 16)])
def test_the_delay_stays_within_the_stated_bound(rate: int, bound_ms: float) -> None:
    resampler, worst = Resampler(rate), 0
    for block in cut(noise(rate * 2), [rate // 100]):
        resampler.process(block)
        worst = max(worst, resampler.delay_samples)
    assert worst <= bound_ms * PIPELINE_RATE / 1000


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([*RATES, PIPELINE_RATE]),
    parts=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 100_000)), min_size=1, max_size=12),
)
def test_gaps_advance_the_timeline_without_drift(rate: int, parts: list[tuple[int, int]]) -> None:
    resampler, native, position = Resampler(rate), 0, 0
    for count, lost in parts:
        position += len(resampler.process(noise(count), last=True))
        position += resampler.skip(lost)
        native += count + lost
        assert position == resampler.position == resampler.to_16k(native)


def test_after_a_skip_nothing_of_the_past_remains() -> None:
    resampler = Resampler(48000)
    resampler.process(noise(4800), last=True)
    resampler.skip(4800)
    assert not resampler.process(np.zeros(4800, np.float32), last=True).any()


def test_reset_begins_again() -> None:
    resampler = Resampler(44100)
    first = resampler.process(noise(9000))
    resampler.reset()
    np.testing.assert_array_equal(resampler.process(noise(9000)), first)


def test_16_khz_passes_through() -> None:
    resampler = Resampler(PIPELINE_RATE)
    samples = noise(123)
    assert resampler.process(samples) is samples
    assert resampler.delay_samples == 0


def test_an_impossible_rate_is_named() -> None:
    with pytest.raises(FormatError, match="expected a rate from 4000 to 384000 Hz, got 0"):
        Resampler(0)
