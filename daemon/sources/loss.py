"""Finds the samples that a sound device lost, from two clocks and the number of samples delivered.

Sound servers never say that they lost something. What is known of each block is when it came (monotonic
clock), when its first sample was converted according to the device (ADC time), and how long it is.

- The *deficit* is how much later a block came than the samples delivered so far explain, measured from the
  earliest arrivals. Late callbacks raise it for a moment, losses for good. Its reference rises by at most
  0.1 %, so the drift of a sound card against the clock is never taken for a loss.
- A jump of the ADC time tells at which block a loss lies. It counts only as far as the deficit bears it out:
  the device's idea of time jitters (7 ms steps with pulse) and follows changes of the system clock.
- After a silence the device may deliver what it had queued (the process was held up) or not (the device
  was). Blocks are held back for 60 ms to see which, so the gap gets its exact place and size.

Pure logic: no clock, no I/O.
"""

from typing import Final

from auricle.daemon.ring import NS_PER_SECOND, GapReason

HOLD: Final = -1
"""Verdict: keep this block back; a later one decides."""

MS: Final = 1_000_000
SILENCE_NS: Final = 100 * MS
HOLD_NS: Final = 60 * MS
HOLD_SAMPLES_S: Final = 1.0
ADC_JUMP_NS: Final = 30 * MS
LOSS_NS: Final = 50 * MS
"""Losses by the clock shorter than this are not told from jitter."""

_TOLERANCE_NS = 20 * MS
_LEAK = 1000  # the reference may rise by one part in a thousand
_WINDOW_NS = 1000 * MS


class LossDetector:
    """Judges each block of one device stream, in order.

    Args:
        rate: native samples per second.
        stall_ns: a silence at least this long is called a stall.
    """

    def __init__(self, rate: int, stall_ns: int) -> None:
        """See the class for the arguments."""
        self._rate = rate
        self._stall_ns = stall_ns
        self.reason: GapReason = "overflow"
        """Why the samples of the last verdict are missing."""
        self._delivered = 0
        self._started = False
        self._base_ns = 0
        self._last_ns = 0
        self._adc_next_ns: int | None = None
        self._reopened = False
        self._held_samples = 0
        self._held_since_ns = 0
        self._held_from_deficit_ns = 0
        self._held_deficit_ns = 0
        self._window_since_ns = 0
        self._window_low_ns = 0
        self._window_high_ns = 0

    def reopened(self) -> None:
        """The device was opened anew: what is missing before the next block was lost with it."""
        self._reopened = True
        self._delivered -= self._held_samples  # they are dropped, so they count as missing
        self._held_samples = 0
        self._adc_next_ns = None

    def observe(self, samples: int, now_ns: int, adc_ns: int, overflowed: bool) -> int:
        """Judge a block.

        Args:
            samples: its length.
            now_ns: monotonic time of its arrival.
            adc_ns: when the device says its first sample was taken, by any clock; 0: it does not say.
            overflowed: the device said that input was lost before this block.

        Returns:
            How many native samples are missing before this block, or before the first block held back;
            `HOLD` to keep this block back.
        """
        block_ns = samples * NS_PER_SECOND // self._rate
        jump_ns = adc_ns - self._adc_next_ns if adc_ns and self._adc_next_ns is not None else 0
        self._adc_next_ns = adc_ns + block_ns if adc_ns else None
        offset_ns = now_ns - (self._delivered + samples) * NS_PER_SECOND // self._rate
        if not self._started:
            self._started, self._base_ns, self._last_ns = True, offset_ns, now_ns
            self._reopened = False
            self._open_window(now_ns)
        silence_ns = now_ns - self._last_ns
        self._base_ns = min(offset_ns, self._base_ns + silence_ns // _LEAK)
        deficit_ns = offset_ns - self._base_ns
        self._last_ns = now_ns
        self._delivered += samples
        if self._held_samples:
            return self._settle(samples, now_ns, deficit_ns)
        if self._reopened:
            self._reopened = False
            return self._lost(deficit_ns, "device", now_ns)
        if silence_ns > max(SILENCE_NS, 3 * block_ns):
            self._held_samples, self._held_since_ns = samples, now_ns
            self._held_from_deficit_ns = self._held_deficit_ns = deficit_ns
            self.reason = "stall" if silence_ns >= self._stall_ns else "overflow"
            return HOLD
        if overflowed or jump_ns > ADC_JUMP_NS:
            return self._judge_jump(jump_ns, deficit_ns, now_ns, overflowed)
        return self._judge_window(deficit_ns, now_ns)

    def _settle(self, samples: int, now_ns: int, deficit_ns: int) -> int:
        """Decide after a silence: lost, or queued and coming in a burst."""
        self._held_samples += samples
        self._held_deficit_ns = min(self._held_deficit_ns, deficit_ns)
        elapsed_ns = now_ns - self._held_since_ns
        full = self._held_samples >= HOLD_SAMPLES_S * self._rate
        bursting = self._held_from_deficit_ns - deficit_ns > elapsed_ns // 2 and deficit_ns > LOSS_NS
        if not full and (elapsed_ns < HOLD_NS or bursting) and deficit_ns > LOSS_NS:
            return HOLD
        self._held_samples = 0
        if bursting or self._held_deficit_ns <= LOSS_NS:
            self._open_window(now_ns)
            return 0
        return self._lost(self._held_deficit_ns, self.reason, now_ns)

    def _judge_jump(self, jump_ns: int, deficit_ns: int, now_ns: int, overflowed: bool) -> int:
        if jump_ns > ADC_JUMP_NS and deficit_ns >= jump_ns - _TOLERANCE_NS:
            return self._lost(min(jump_ns, deficit_ns), "overflow", now_ns)
        if overflowed:  # the device knows better than its clock: mark the place at least
            return self._lost(
                max(min(jump_ns, deficit_ns), NS_PER_SECOND // self._rate + 1), "overflow", now_ns
            )
        return 0

    def _judge_window(self, deficit_ns: int, now_ns: int) -> int:
        """Find what the ADC time did not tell: a deficit that stays the same for a second."""
        self._window_low_ns = min(self._window_low_ns, deficit_ns)
        self._window_high_ns = max(self._window_high_ns, deficit_ns)
        if now_ns - self._window_since_ns < _WINDOW_NS:
            return 0
        low_ns, steady = self._window_low_ns, self._window_high_ns - self._window_low_ns < LOSS_NS
        self._open_window(now_ns)
        return self._lost(low_ns, "overflow", now_ns) if steady and low_ns > LOSS_NS else 0

    def _lost(self, lost_ns: int, reason: GapReason, now_ns: int) -> int:
        lost = lost_ns * self._rate // NS_PER_SECOND
        self._delivered += lost
        self.reason = reason
        self._open_window(now_ns)
        return lost

    def _open_window(self, now_ns: int) -> None:
        self._window_since_ns = now_ns
        self._window_low_ns = 1 << 62
        self._window_high_ns = 0
