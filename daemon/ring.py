"""The ring between a capture thread and the engine loop, and the bell that wakes the loop.

One writer (an audio callback, a reader thread), one reader (the engine loop), no locks: the writer stores
samples, then their description, then publishes one index; the reader copies, then publishes another. Both
indices are plain attributes, so a publication is one atomic store under CPython.

Drop policy: when the ring is full the *newest* samples are dropped, and where they are missing is recorded,
so that a read reports the loss at exactly that position of the stream. What begins to be dropped is dropped
until half of the ring is free: a reader that is a little too slow gets long runs with one loss between them,
not a snippet and a loss for each read.
"""

import contextlib
import os
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
GapReason = Literal["overflow", "stall", "sequence", "device"]

GAP_REASONS: Final[tuple[GapReason, ...]] = ("overflow", "stall", "sequence", "device")
NS_PER_SECOND: Final = 1_000_000_000

# Columns of the block ring: each row describes one run of samples.
_START, _COUNT, _LOST, _REASON, _CAPTURED = range(5)
_SAMPLES_PER_BLOCK = 64  # one row per this many samples: no sound card delivers smaller blocks for long
_MIN_BLOCKS = 64


class Span(NamedTuple):
    """What one read took out of the ring.

    `samples` (n,) float32 belong to the caller; n is 0 when only a loss is reported. `start_index` is the
    native index of the first sample (lost ones counted), `captured_ns` the monotonic time at which the last
    one was captured. `lost_before` native samples are missing just before `start_index`, for `reason`.
    """

    samples: FloatArray
    start_index: int
    captured_ns: int
    lost_before: int
    reason: GapReason | None


class SampleRing:
    """Preallocated lock-free ring of mono float32 samples for one writer and one reader.

    Args:
        capacity_samples: how many samples it holds.
        rate: native samples per second; converts sample counts to time inside a block.
        capacity_blocks: how many runs of samples it describes (0: one per 64 samples). A block that finds
            no free row is dropped and counted like one that finds no room.
    """

    def __init__(self, capacity_samples: int, rate: int = 16000, capacity_blocks: int = 0) -> None:
        """Allocate everything; see the class for the arguments."""
        if capacity_samples < 1 or rate < 1:
            raise ValueError(
                f"expected a positive capacity and rate, got {capacity_samples} samples at {rate} Hz"
            )
        self.capacity_samples = capacity_samples
        self.rate = rate
        """Set anew by the writer only before its first write (a remote stream learns it from its sender)."""
        self.dropped_total = 0
        """Native samples dropped because the ring was full."""
        self.lost_total = 0
        """Native samples lost for any reason, `dropped_total` included."""
        self._data: FloatArray = np.zeros(capacity_samples, dtype=np.float32)
        rows = capacity_blocks or max(_MIN_BLOCKS, capacity_samples // _SAMPLES_PER_BLOCK)
        self._blocks: NDArray[np.int64] = np.zeros((rows, 5), dtype=np.int64)
        self._rows = rows
        # Written by the writer only.
        self._stored = 0
        self._published = 0
        self._native_index = 0
        self._pending_lost = 0
        self._pending_reason = 0
        self._captured_ns = 0
        self._dropping = False
        # Written by the reader only.
        self._taken = 0
        self._consumed = 0
        self._offset = 0

    # --- either side -------------------------------------------------------------------------------

    @property
    def queued_samples(self) -> int:
        """Samples stored and not yet read."""
        return self._stored - self._taken

    @property
    def free_samples(self) -> int:
        """Samples that a write would accept now (0 also while no block row is free, or a loss goes on)."""
        rows = self._rows - (self._published - self._consumed)
        room = self.capacity_samples - (self._stored - self._taken)
        if rows <= 0 or (self._dropping and (2 * rows < self._rows or 2 * room < self.capacity_samples)):
            return 0
        return room

    @property
    def native_index(self) -> int:
        """The writer's position: samples stored and lost so far."""
        return self._native_index

    # --- the writer's side -------------------------------------------------------------------------

    def write(self, block: FloatArray, captured_ns: int) -> int:
        """Store a block; what does not fit is dropped from its end and counted.

        Once something did not fit, blocks are dropped whole until half of the ring is free.

        Args:
            block: (n,) float32.
            captured_ns: monotonic time at which the block's last sample was captured.

        Returns:
            How many samples were stored.
        """
        count = len(block)
        if count == 0:
            return 0
        stored = min(count, self.free_samples)
        self._dropping = stored < count
        if stored:
            self._store(block, stored)
            early = (count - stored) * NS_PER_SECOND // self.rate
            self._publish(stored, captured_ns - early)
        if stored < count:
            self.dropped_total += count - stored
            self.mark_lost(count - stored, "overflow")
        return stored

    def mark_lost(self, samples: int, reason: GapReason) -> None:
        """Record that `samples` native samples are missing at the writer's position.

        The reader sees them before the next block written, or after `flush_lost`.
        """
        if samples <= 0:
            return
        code = GAP_REASONS.index(reason)
        if self._pending_lost and self._pending_reason != code:
            self.flush_lost(self._captured_ns)
        if not self._pending_lost:
            self._pending_reason = code
        self._pending_lost += samples
        self._native_index += samples
        self.lost_total += samples

    def flush_lost(self, now_ns: int) -> bool:
        """Publish a pending loss without waiting for the next block (end of stream).

        Returns:
            False while no block row is free: call again later.
        """
        if not self._pending_lost:
            return True
        if self._published - self._consumed >= self._rows:
            return False
        self._publish(0, now_ns)
        return True

    def _store(self, block: FloatArray, count: int) -> None:
        at = self._stored % self.capacity_samples
        first = min(count, self.capacity_samples - at)
        self._data[at : at + first] = block[:first]
        if first < count:
            self._data[: count - first] = block[first:count]

    def _publish(self, count: int, captured_ns: int) -> None:
        row = self._blocks[self._published % self._rows]
        row[_START] = self._native_index
        row[_COUNT] = count
        row[_LOST] = self._pending_lost
        row[_REASON] = self._pending_reason
        row[_CAPTURED] = captured_ns
        self._pending_lost = 0
        self._captured_ns = captured_ns
        self._native_index += count
        self._stored += count
        self._published += 1  # last: this is what the reader looks at

    # --- the reader's side -------------------------------------------------------------------------

    def read(self, max_samples: int) -> Span | None:
        """Take up to `max_samples` (at least 1) samples that follow each other without a loss between them.

        Returns:
            None when there is nothing to read. A span stops short of the next loss, which then stands in
            the `lost_before` of the following span.
        """
        if self._published == self._consumed:
            return None
        # Room for one sample at least: the writer may add some after the count is taken.
        return self.read_into(np.empty(min(max_samples, max(self.queued_samples, 1)), dtype=np.float32))

    def read_into(self, out: FloatArray) -> Span | None:
        """Like `read`, into `out` (n,) of the caller; `samples` is then a view of it."""
        assert len(out) > 0, "a read wants room for at least one sample"
        published = self._published
        if self._consumed == published:
            return None
        start, lost, reason = self._head()
        filled, captured_ns = 0, 0
        while self._consumed < published:
            row = self._blocks[self._consumed % self._rows]
            if filled and self._offset == 0 and row[_LOST]:
                break
            left = int(row[_COUNT]) - self._offset
            count = min(left, len(out) - filled)
            if count == 0 and left:
                break
            self._copy(out, filled, count)
            filled += count
            captured_ns = int(row[_CAPTURED]) - (left - count) * NS_PER_SECOND // self.rate
            self._advance(count, whole=count == left)
            if filled == 0:  # a loss without samples behind it is reported alone
                break
        if filled == 0 and lost == 0:
            return None
        return Span(out[:filled], start, captured_ns, lost, reason)

    def _head(self) -> tuple[int, int, GapReason | None]:
        """Native start, loss and reason of the next sample to read."""
        row = self._blocks[self._consumed % self._rows]
        if self._offset or not row[_LOST]:
            return int(row[_START]) + self._offset, 0, None
        return int(row[_START]), int(row[_LOST]), GAP_REASONS[int(row[_REASON])]

    def _copy(self, out: FloatArray, to: int, count: int) -> None:
        at = self._taken % self.capacity_samples
        first = min(count, self.capacity_samples - at)
        out[to : to + first] = self._data[at : at + first]
        if first < count:
            out[to + first : to + count] = self._data[: count - first]

    def _advance(self, count: int, *, whole: bool) -> None:
        self._taken += count
        if whole:
            self._offset = 0
            self._consumed += 1  # last: this frees the row for the writer
        else:
            self._offset += count


class Doorbell:
    """A file descriptor that becomes readable when it is rung: the engine loop polls it.

    Ringing never blocks and never queues more than one wake-up.
    """

    def __init__(self) -> None:
        """Open an eventfd, or a pipe where the system has none."""
        if hasattr(os, "eventfd"):
            self._read_fd = self._write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:  # pragma: no cover - not Linux
            self._read_fd, self._write_fd = os.pipe()
            os.set_blocking(self._read_fd, False)
            os.set_blocking(self._write_fd, False)
        self._one = (1).to_bytes(8, "little")

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._read_fd

    def ring(self) -> None:
        """Wake the reader; safe in an audio callback."""
        with contextlib.suppress(BlockingIOError, OSError):  # full: it is awake already; closed: nobody waits
            os.write(self._write_fd, self._one)

    def clear(self) -> None:
        """Forget past rings; call it before reading the ring, never after."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_fd, 8 if self._read_fd == self._write_fd else 4096)

    def close(self) -> None:
        """Close the descriptors; a later ring is ignored."""
        fds = {self._read_fd, self._write_fd}
        self._read_fd = self._write_fd = -1
        for fd in fds - {-1}:
            os.close(fd)
