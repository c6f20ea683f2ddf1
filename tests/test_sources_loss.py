"""The loss detector on made-up devices: drift and jitter are no losses, losses are found and measured."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.daemon.sources.loss import HOLD, LossDetector

RATE, BLOCK, MS = 16000, 160, 1_000_000


class Device:
    """A sound device with a clock of its own; times in ms, blocks of 10 ms."""

    def __init__(
        self, stall_ms: int = 1000, drift: float = 0.0, jitter_ms: float = 0.0, seed: int = 0
    ) -> None:
        self.detector = LossDetector(RATE, stall_ms * MS)
        self.now_ms = 1000.0
        self.block_ms = 10 * (1 + drift)
        self.jitter_ms = jitter_ms
        self.found: list[tuple[int, int, str]] = []  # block number, samples, reason
        self.held = 0
        self.block = 0
        self._rng = np.random.default_rng(seed)

    def deliver(self, blocks: int, late_ms: float = 0.0, adc: bool = True, burst: bool = False) -> None:
        """Deliver blocks; `late_ms` behind their ADC time; in a burst all at once."""
        for _ in range(blocks):
            self.now_ms += 0.05 if burst else self.block_ms
            late = late_ms + self.jitter_ms * float(self._rng.random())
            adc_ns = round((self.now_ms - 10) * MS) if adc else 0
            self._observe(round((self.now_ms + late) * MS), adc_ns)

    def _observe(self, now_ns: int, adc_ns: int, overflowed: bool = False) -> None:
        verdict = self.detector.observe(BLOCK, now_ns, adc_ns, overflowed)
        if verdict == HOLD:
            self.held += 1
        else:
            if verdict:
                self.found.append((self.block - self.held, verdict, self.detector.reason))
            self.held = 0
        self.block += 1

    def overflow(self) -> None:
        self.now_ms += self.block_ms
        self._observe(round(self.now_ms * MS), round((self.now_ms - 10) * MS), overflowed=True)


def about(samples: int, reason: str, found: Iterable[tuple[int, int, str]], within: int = 320) -> int:
    """The block of the only loss found, which must be so long and for that reason."""
    ((block, lost, why),) = found
    assert why == reason
    assert lost == pytest.approx(samples, abs=within)
    return block


@settings(max_examples=25, deadline=None)
@given(drift=st.floats(-5e-4, 5e-4), jitter_ms=st.floats(0, 30), seed=st.integers(0, 99))
def test_drift_and_jitter_are_never_losses(drift: float, jitter_ms: float, seed: int) -> None:
    device = Device(drift=drift, jitter_ms=jitter_ms, seed=seed)
    device.deliver(100 * 120)  # two minutes; 500 ppm drift by 60 ms
    assert device.found == []


def test_a_jump_of_the_adc_time_is_a_loss_at_that_block() -> None:
    device = Device()
    device.deliver(200)
    device.now_ms += 80
    device.deliver(200)
    assert about(1280, "overflow", device.found) == 200


def test_a_jump_that_the_clock_does_not_bear_out_is_none() -> None:
    device = Device()
    device.deliver(200)
    device.detector.observe(
        BLOCK, round((device.now_ms + 10) * MS), round((device.now_ms + 3_600_000) * MS), False
    )
    device.now_ms += 10
    device.deliver(200)
    assert device.found == []


def test_without_adc_time_the_clock_finds_the_loss_a_second_later() -> None:
    device = Device()
    device.deliver(200, adc=False)
    device.now_ms += 90
    device.deliver(300, adc=False)
    block = about(1440, "overflow", device.found)
    assert 200 < block <= 400


def test_a_stall_is_measured_at_its_place() -> None:
    device = Device()
    device.deliver(300)
    device.now_ms += 2500
    device.deliver(300)
    assert about(40000, "stall", device.found) == 300


def test_a_short_silence_with_loss_is_an_overflow() -> None:
    device = Device()
    device.deliver(300)
    device.now_ms += 400
    device.deliver(300)
    assert about(6400, "overflow", device.found) == 300


@pytest.mark.parametrize("late_ms", [150, 800, 2500])
def test_what_was_queued_while_the_process_slept_is_no_loss(late_ms: int) -> None:
    device = Device()
    device.deliver(300)
    device.now_ms += late_ms
    device.deliver(late_ms // 10, burst=True)
    device.deliver(300)
    assert device.found == []
    assert device.held == 0


def test_reopening_counts_the_absence() -> None:
    device = Device()
    device.deliver(300)
    device.detector.reopened()
    device.now_ms += 3000
    device.deliver(300)
    assert about(48000, "device", device.found) == 300


def test_an_overflow_that_the_device_admits_is_marked() -> None:
    device = Device()
    device.deliver(300)
    device.overflow()
    device.deliver(100)
    assert about(1, "overflow", device.found, within=2) == 300
