"""The ring against a plain model: every sample in order, every loss at its place."""

import select
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.daemon.ring import GAP_REASONS, Doorbell, FloatArray, GapReason, SampleRing, Span

RATE = 1000
NS_PER_SAMPLE = 1_000_000


def ramp(start: int, count: int) -> FloatArray:
    """Samples whose value is their native index."""
    return np.arange(start, start + count, dtype=np.float32)


class Model:
    """What the ring must do, written with a list: None stands for a lost sample."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.native = 0
        self.dropping = False
        self.queue: list[tuple[int, GapReason | None]] = []

    def write(self, count: int) -> int:
        free = self.capacity - sum(reason is None for _, reason in self.queue)
        stored = min(count, 0 if self.dropping and free < self.capacity / 2 else free)
        self.dropping = stored < count if count else self.dropping
        self._add(stored, None)
        self._add(count - stored, "overflow")
        return stored

    def lose(self, count: int, reason: GapReason) -> None:
        self._add(count, reason)

    def _add(self, count: int, reason: GapReason | None) -> None:
        self.queue += [(self.native + k, reason) for k in range(count)]
        self.native += count

    def take(self, span: Span) -> None:
        """Check a span against the head of the queue and remove it."""
        lost, self.queue = self.queue[: span.lost_before], self.queue[span.lost_before :]
        assert all(reason == span.reason for _, reason in lost)
        got, self.queue = self.queue[: len(span.samples)], self.queue[len(span.samples) :]
        assert [(int(value), None) for value in span.samples] == got
        if got:
            assert span.start_index == got[0][0]
            assert span.captured_ns == (got[-1][0] + 1) * NS_PER_SAMPLE


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 25)),
        st.tuples(st.just("read"), st.integers(1, 30)),
        st.tuples(st.sampled_from(GAP_REASONS), st.integers(1, 50)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(capacity=st.integers(1, 40), steps=STEPS)
def test_ring_does_what_the_model_does(capacity: int, steps: list[tuple[str, int]]) -> None:
    ring, model = SampleRing(capacity, RATE), Model(capacity)
    written = 0
    for what, count in steps:
        if what == "write":
            captured_ns = (ring.native_index + count) * NS_PER_SAMPLE
            stored = ring.write(ramp(ring.native_index, count), captured_ns)
            assert stored == model.write(count)
            written += stored
        elif what == "read":
            span = ring.read(count)
            if span is not None:
                assert len(span.samples) <= count
                assert len(span.samples) or span.lost_before
                model.take(span)
        else:
            reason: GapReason = what  # type: ignore[assignment]
            ring.mark_lost(count, reason)
            model.lose(count, reason)
        assert ring.native_index == model.native == written + ring.lost_total
    assert ring.flush_lost(0)
    while (span := ring.read(7)) is not None:
        model.take(span)
    assert model.queue == []
    assert ring.queued_samples == 0


def test_overflow_drops_the_newest_and_says_where() -> None:
    ring = SampleRing(10, RATE)
    assert ring.write(ramp(0, 7), 7 * NS_PER_SAMPLE) == 7
    assert ring.write(ramp(7, 7), 14 * NS_PER_SAMPLE) == 3
    assert ring.write(ramp(14, 7), 21 * NS_PER_SAMPLE) == 0
    first = ring.read(100)
    assert first is not None
    assert first.samples.tolist() == list(range(10))
    assert (first.start_index, first.captured_ns, first.lost_before) == (0, 10 * NS_PER_SAMPLE, 0)
    assert ring.read(100) is None  # the loss is told with the next block
    ring.write(ramp(21, 2), 23 * NS_PER_SAMPLE)
    second = ring.read(100)
    assert second is not None
    assert (second.start_index, second.lost_before, second.reason) == (21, 11, "overflow")
    assert ring.dropped_total == ring.lost_total == 11


def test_what_is_dropped_is_one_loss_until_half_of_the_ring_is_free() -> None:
    ring = SampleRing(10, RATE)
    ring.write(ramp(0, 12), 12 * NS_PER_SAMPLE)
    for taken in range(1, 5):
        ring.read(1)
        assert (ring.free_samples, ring.write(ramp(11 + taken, 1), 0)) == (0, 0)
    ring.read(1)
    assert ring.free_samples == 5
    assert ring.write(ramp(16, 1), 17 * NS_PER_SAMPLE) == 1
    assert ring.write(ramp(17, 4), 21 * NS_PER_SAMPLE) == 4  # full again, but nothing was dropped
    ring.read(1)
    assert ring.write(ramp(21, 1), 22 * NS_PER_SAMPLE) == 1
    spans = [ring.read(20), ring.read(20)]
    assert [(s.start_index, len(s.samples), s.lost_before) for s in spans if s] == [(6, 4, 0), (16, 6, 6)]


def test_a_reader_a_little_too_slow_hears_long_runs_and_does_not_fall_behind() -> None:
    """A tenth too slow, and silence in place of a loss costs as much as audio, up to a second of it."""
    ring = SampleRing(4 * RATE, RATE, capacity_blocks=400)
    runs, heard, busy_until, lag = [0], 0, 0.0, 0.0
    for now in range(10, 300 * RATE, 10):
        ring.write(np.zeros(10, np.float32), now * NS_PER_SAMPLE)
        while busy_until <= now and (span := ring.read(20)) is not None:
            if span.lost_before:
                runs.append(0)
            runs[-1] += len(span.samples)
            heard += len(span.samples)
            filled = span.lost_before if span.lost_before <= RATE else 0
            busy_until = max(busy_until, now - 10) + 1.1 * (filled + len(span.samples))
            lag = max(lag, busy_until - span.start_index - len(span.samples))
    assert heard > 0.85 * 300 * RATE
    assert min(runs[:-1]) > RATE
    assert lag < 6 * RATE


def test_a_loss_at_the_very_end_is_told_after_flush() -> None:
    ring = SampleRing(10, RATE)
    ring.mark_lost(5, "device")
    assert ring.read(1) is None
    assert ring.flush_lost(99)
    span = ring.read(1)
    assert span is not None
    assert (len(span.samples), span.lost_before, span.reason, span.captured_ns) == (0, 5, "device", 99)
    assert ring.read(1) is None


def test_without_a_free_row_a_block_is_dropped_and_counted() -> None:
    ring = SampleRing(100, RATE, capacity_blocks=2)
    assert [ring.write(ramp(k, 1), 0) for k in range(4)] == [1, 1, 0, 0]
    assert ring.free_samples == 0
    assert ring.dropped_total == 2


def test_rows_run_out_no_more_often_than_room_does() -> None:
    ring = SampleRing(100, RATE, capacity_blocks=4)
    stored = [ring.write(ramp(k, 1), 0) for k in range(5)]
    for k in range(5, 8):
        ring.read(1)
        stored.append(ring.write(ramp(k, 1), 0))
    assert stored == [1, 1, 1, 1, 0, 0, 1, 1]


def test_read_into_fills_the_callers_array() -> None:
    ring, out = SampleRing(8, RATE), np.empty(4, np.float32)
    ring.write(ramp(0, 6), 6 * NS_PER_SAMPLE)
    span = ring.read_into(out)
    assert span is not None
    assert np.shares_memory(span.samples, out)
    assert out.tolist() == [0, 1, 2, 3]


def test_a_span_stays_as_it_was_when_the_writer_goes_on() -> None:
    ring = SampleRing(4, RATE)
    ring.write(ramp(0, 4), 0)
    span = ring.read(4)
    ring.write(ramp(4, 4), 0)
    assert span is not None
    assert span.samples.tolist() == [0, 1, 2, 3]


def test_two_threads_lose_nothing_uncounted() -> None:
    ring, bell, total = SampleRing(5000, RATE), Doorbell(), 400_000
    done = threading.Event()

    def writer() -> None:
        rng = np.random.default_rng(1)
        while ring.native_index < total:
            count = int(rng.integers(1, 700))
            ring.write(ramp(ring.native_index, count), 0)
            bell.ring()
            if rng.random() < 0.2:
                time.sleep(0)
        done.set()

    thread = threading.Thread(target=writer)
    thread.start()
    position, lost = 0, 0
    while not (done.is_set() and ring.queued_samples == 0):
        select.select([bell], [], [], 0.05)
        bell.clear()
        while (span := ring.read(333)) is not None:
            lost += span.lost_before
            position += span.lost_before
            assert span.start_index == position
            np.testing.assert_array_equal(span.samples, ramp(position, len(span.samples)))
            position += len(span.samples)
    thread.join()
    ring.flush_lost(0)
    tail = ring.read(1)
    lost += tail.lost_before if tail else 0
    assert lost == ring.lost_total
    assert position + (tail.lost_before if tail else 0) == ring.native_index
    bell.close()


def test_the_bell_wakes_once_and_can_be_cleared() -> None:
    bell = Doorbell()
    assert select.select([bell], [], [], 0)[0] == []
    bell.ring()
    bell.ring()
    assert select.select([bell], [], [], 0)[0] == [bell]
    bell.clear()
    assert select.select([bell], [], [], 0)[0] == []
    bell.clear()
    bell.close()
    bell.ring()
    bell.close()


def test_a_ring_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="positive capacity"):
        SampleRing(0)


def test_a_block_written_while_a_loss_is_read_spoils_nothing() -> None:
    """The writer may come between the reader's look at the count and its copy."""

    class Raced(SampleRing):
        @property
        def queued_samples(self) -> int:
            queued = super().queued_samples
            if not queued and self.native_index == 5:
                self.write(np.ones(3, np.float32), 2)
            return queued

    ring = Raced(64)
    ring.mark_lost(5, "device")
    ring.flush_lost(1)
    first, second = ring.read(10), ring.read(10)
    assert first is not None and (first.lost_before, len(first.samples)) == (5, 0)
    assert second is not None and (second.start_index, second.lost_before, len(second.samples)) == (5, 0, 3)
