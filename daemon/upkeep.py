"""What the engine loop does now and then, beside moving audio."""

import os
import time
from collections.abc import Callable
from pathlib import Path


class Timer:
    """Calls an action every `interval_s` on the monotonic clock, late rather than twice."""

    def __init__(self, interval_s: float, action: Callable[[], None]) -> None:
        """Starts to count now."""
        self._interval_ns, self._action = round(interval_s * 1e9), action
        self.due_ns = time.monotonic_ns() + self._interval_ns

    def fire(self, now_ns: int) -> None:
        """Calls the action if it is due."""
        if now_ns >= self.due_ns:
            missed = (now_ns - self.due_ns) // self._interval_ns
            self.due_ns += (missed + 1) * self._interval_ns
            self._action()


def resident_mb() -> float:
    """Memory that this process holds, in MB; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
