"""The microphone source on a real sound server: bit for bit, stalled, lost and found."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auricle.configs.errors import DeviceError
from auricle.daemon.ring import FloatArray, Span
from auricle.daemon.sources import devices, mic
from auricle.daemon.sources.base import SourceNotice
from auricle.daemon.sources.mic import MicSource

pytestmark = pytest.mark.realparts

RATE = 16000


class Listener:
    """Drains a source as the engine loop does."""

    def __init__(self, source: MicSource) -> None:
        self.source = source
        self.spans: list[Span] = []
        self.notices: list[SourceNotice] = []

    def until(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        give_up = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < give_up, f"waited {timeout_s} s in vain; notices {self.notices}"
            self.notices += self.source.poll(time.monotonic_ns())
            while (span := self.source.ring.read(4800)) is not None:
                self.spans.append(span)
            time.sleep(0.005)

    @property
    def samples(self) -> FloatArray:
        return np.concatenate([span.samples for span in self.spans] or [np.empty(0, np.float32)])

    @property
    def gaps(self) -> list[tuple[int, str | None]]:
        return [(span.lost_before, span.reason) for span in self.spans if span.lost_before]

    @property
    def states(self) -> list[str | None]:
        return [notice.state for notice in self.notices]


class Feeder:
    """Writes samples into the pipe source at the pace of the clock, beginning with silence."""

    def __init__(self, fifo: Path) -> None:
        self._fifo = os.open(fifo, os.O_RDWR)  # read-write: opening must not wait for the server

    def feed(self, samples: "np.ndarray[Any, np.dtype[np.int16]]") -> None:
        start = time.monotonic()
        for at in range(0, len(samples), 160):
            os.write(self._fifo, samples[at : at + 160].tobytes())
            time.sleep(max(0, start + (at + 160) / RATE - time.monotonic()))

    def close(self) -> None:
        os.close(self._fifo)


@pytest.fixture
def feeder(virtual_mic: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feeder]:
    monkeypatch.setenv("PULSE_SOURCE", "pmic")
    feeder = Feeder(virtual_mic.fifo)
    yield feeder
    feeder.close()


@pytest.fixture
def listener(virtual_mic: Any, request: pytest.FixtureRequest) -> Iterator[Listener]:
    if "feeder" in request.fixturenames:
        request.getfixturevalue("feeder")
    source = MicSource("kitchen", rate=RATE)
    source.start()
    yield Listener(source)
    source.stop()


def noise(seconds: float, seed: int = 5) -> "np.ndarray[Any, np.dtype[np.int16]]":
    return np.random.default_rng(seed).integers(1, 20000, int(seconds * RATE), dtype=np.int16)


def find(needle: FloatArray, haystack: FloatArray) -> int:
    """Where the needle begins, by its first 64 samples; -1 if nowhere."""
    windows = np.lib.stride_tricks.sliding_window_view(haystack, 64)
    hits = np.flatnonzero((windows == needle[:64]).all(axis=1))
    return int(hits[0]) if len(hits) else -1


def test_a_pipe_arrives_bit_for_bit(feeder: Feeder, listener: Listener) -> None:
    sent = noise(3.0)
    feeder.feed(np.zeros(RATE // 2, np.int16))
    thread = threading.Thread(target=feeder.feed, args=(np.concatenate((sent, np.zeros(RATE, np.int16))),))
    thread.start()
    listener.until(lambda: not thread.is_alive())
    expected = (sent / np.float32(32768)).astype(np.float32)
    got = listener.samples
    at = find(expected, got)
    assert at >= 0
    np.testing.assert_array_equal(got[at : at + len(expected)], expected)
    assert listener.gaps == []
    assert listener.states == ["opened"]


def test_what_a_speaker_plays_is_heard(virtual_mic: Any, listener: Listener, tmp_path: Path) -> None:
    seconds = np.arange(2 * RATE) / RATE
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 700 * seconds) * seconds)
    soundfile.write(tmp_path / "chirp.wav", chirp, RATE)
    thread = threading.Thread(target=virtual_mic.play, args=(tmp_path / "chirp.wav",))
    listener.until(lambda: len(listener.samples) > RATE // 2)
    thread.start()
    listener.until(lambda: not thread.is_alive())
    end = len(listener.samples) + RATE
    listener.until(lambda: len(listener.samples) >= end)
    got = listener.samples
    similarity = np.correlate(got, chirp.astype(np.float32), "valid")
    at = int(np.argmax(similarity))
    assert np.corrcoef(got[at : at + len(chirp)], chirp)[0, 1] > 0.99
    assert listener.gaps == []


def test_a_stall_is_told_and_its_samples_are_counted(feeder: Feeder, listener: Listener) -> None:
    before, after = noise(1.5, 1), noise(1.5, 2)
    feeder.feed(before)
    listener.until(lambda: "stalled" in listener.states)
    time.sleep(1.0)
    silent_from = time.monotonic()
    assert listener.gaps == []
    feeder.feed(after)
    listener.until(lambda: "resumed" in listener.states)
    assert silent_from > 0
    assert listener.states == ["opened", "stalled", "resumed"]
    ((lost, reason),) = listener.gaps
    assert reason == "stall"
    assert lost / RATE == pytest.approx(2.0, abs=0.25)
    gap = next(span for span in listener.spans if span.lost_before)
    first = (after[:64] / np.float32(32768)).astype(np.float32)
    np.testing.assert_array_equal(gap.samples[:64], first)  # at exactly this place


def test_a_lost_server_is_recovered_with_its_gap(virtual_mic: Any, listener: Listener) -> None:
    listener.until(lambda: len(listener.samples) > RATE)
    virtual_mic.kill()
    lost_at = time.monotonic()
    listener.until(lambda: "lost" in listener.states)
    delivered = len(listener.samples)
    time.sleep(1.0)
    virtual_mic.start()
    listener.until(lambda: "resumed" in listener.states)
    listener.until(lambda: len(listener.samples) > delivered + RATE // 2)
    away = time.monotonic() - lost_at - 0.5
    assert [state for state in listener.states if state] == ["opened", "lost", "resumed"]
    assert None in listener.states  # an error, which has no state: why it stays away
    ((lost, reason),) = listener.gaps
    assert reason == "device"
    assert lost / RATE == pytest.approx(away, abs=0.3)


def test_a_device_that_stays_silent_is_opened_again(feeder: Feeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mic, "_REOPEN_STALLED_S", 0.5)
    source = MicSource("kitchen", rate=RATE, stall_ms=300)
    opened = []
    monkeypatch.setattr(devices, "stream_opened", lambda: opened.append(1))
    monkeypatch.setattr(devices, "stream_closed", opened.pop)
    reopened = []
    monkeypatch.setattr(
        source, "_reopen_stalled", lambda: (reopened.append(1), MicSource._reopen_stalled(source))
    )
    source.start()
    listener = Listener(source)
    feeder.feed(noise(1.0, 1))
    listener.until(lambda: len(reopened) > 0)
    time.sleep(0.3)
    feeder.feed(noise(1.0, 2))
    listener.until(lambda: "resumed" in listener.states)
    source.stop()
    assert listener.states == ["opened", "stalled", "resumed"]
    assert [reason for _, reason in listener.gaps] == ["stall"]


def test_the_timeline_keeps_up_with_the_clock(listener: Listener) -> None:
    listener.until(lambda: len(listener.samples) > 0)
    start, begun = time.monotonic(), listener.spans[-1].start_index
    listener.until(lambda: time.monotonic() - start > 4)
    passed = listener.spans[-1].start_index - begun
    assert passed / RATE == pytest.approx(4, abs=0.2)
    assert listener.gaps == []


def test_an_unknown_device_is_answered_with_the_list(virtual_mic: Any) -> None:
    with pytest.raises(
        DeviceError, match=r"unknown sound input 'defualt', did you mean 'default'\?; inputs: "
    ):
        MicSource("kitchen", device="defualt")
