"""The daemon on the virtual microphone: speech is played, events arrive in this other process."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import soundfile

from auricle.configs.loader import load
from auricle.daemon.bundled import FOLDER
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.client import Subscriber
from auricle.daemon.events import Event
from auricle.daemon.offline import offline_shared, stream_file
from auricle.models.engine import TorchEngine

pytestmark = pytest.mark.realparts

KITCHEN = FOLDER / "kitchen.flac"
RATE = 16_000


class Daemon:
    """`auricle run` in a process of its own, and a subscriber here."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.endpoint = f"ipc://{folder}/e.ipc"
        self.events: list[Event] = []
        self.delays_ms: list[float] = []
        command = [sys.executable, "-m", "auricle.configs.cli", "run", "--wait-subscriber", "10"]
        command += ["--set", f'bus.endpoints=["{self.endpoint}","tcp://127.0.0.1:*"]']
        self.process = subprocess.Popen(command, env=environment)
        self.subscriber = Subscriber([self.endpoint])
        self.subscriber.__enter__()

    def until(self, condition: Callable[[Event], bool], what: str, timeout_s: float = 60.0) -> Event:
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            event = self.subscriber.receive(0.2)
            now_ns = time.monotonic_ns()
            if event is None:
                assert self.process.poll() is None, "the daemon died"
                continue
            self.events.append(event)
            if event.type == "keyword":
                self.delays_ms.append((now_ns - event.mono_ns) / 1e6)
            if condition(event):
                return event
        raise AssertionError(f"{what} did not come; these did: {[e.type for e in self.events]}")

    @property
    def words(self) -> list[tuple[str, int]]:
        return [(event.data["label"], event.sample) for event in self.events if event.type == "keyword"]

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.subscriber.close()


@pytest.fixture(name="daemon")
def _daemon(virtual_mic: Any, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, {**os.environ, **virtual_mic.env})
    yield daemon
    daemon.close()


@pytest.fixture(name="expected", scope="module")
def _expected() -> list[tuple[str, int]]:
    """What the same recording gives offline."""
    sink = RecordingPublisher()
    stream_file(KITCHEN, offline_shared(load(), TorchEngine(), sink))
    return [(event.data["label"], event.sample) for event in sink.events if event.type == "keyword"]


def opened(event: Event) -> bool:
    return event.type == "device" and event.data["state"] == "opened"


def test_played_speech_arrives_as_keywords_in_another_process(
    virtual_mic: Any, daemon: Daemon, expected: list[tuple[str, int]], tmp_path: Path
) -> None:
    daemon.until(opened, "an open microphone")
    samples, rate = soundfile.read(KITCHEN, dtype="float32")
    soundfile.write(tmp_path / "kitchen.wav", samples, rate)
    player = threading.Thread(target=virtual_mic.play, args=(tmp_path / "kitchen.wav",))
    player.start()
    labels = [label for label, _ in expected]
    daemon.until(lambda _: [label for label, _ in daemon.words][-1:] == labels[-1:], labels[-1], 40)
    player.join()
    heard = [label for label, _ in daemon.words]
    # The loudspeaker's path resamples twice: one word in ten may come out differently.
    assert len(set(labels) & set(heard)) >= len(set(labels)) - 1
    assert any(event.type == "speech.start" for event in daemon.events)
    assert median(daemon.delays_ms) < 15


def test_a_bit_exact_pipe_gives_the_events_of_the_file(
    virtual_mic: Any, expected: list[tuple[str, int]], tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, {**os.environ, **virtual_mic.env, "PULSE_SOURCE": "pmic"})
    fifo = os.open(virtual_mic.fifo, os.O_RDWR)
    try:
        daemon.until(
            lambda event: event.type == "status" and event.data["state"] == "running", "a running daemon"
        )
        samples, _ = soundfile.read(KITCHEN, dtype="int16")
        silence = np.zeros(RATE, dtype=np.int16)
        start = time.monotonic()
        audio = np.concatenate([silence, samples, silence])
        for at in range(0, len(audio), 160):
            os.write(fifo, audio[at : at + 160].tobytes())
            time.sleep(max(0, start + (at + 160) / RATE - time.monotonic()))
        daemon.until(lambda _: len(daemon.words) >= len(expected), f"{len(expected)} words", 10)
        assert [label for label, _ in daemon.words] == [label for label, _ in expected]
        shifts = [live - file for (_, live), (_, file) in zip(daemon.words, expected, strict=True)]
        assert max(shifts) - min(shifts) <= 2 * 640  # the frames lie differently over the words
    finally:
        os.close(fifo)
        daemon.close()


def test_a_microphone_that_dies_is_told_recovered_and_accounted_for(virtual_mic: Any, daemon: Daemon) -> None:
    daemon.until(opened, "an open microphone")
    daemon.until(lambda event: event.type == "level", "a level")
    virtual_mic.kill()
    lost = daemon.until(lambda event: event.data.get("state") == "lost", "the loss")
    virtual_mic.start()
    daemon.until(lambda event: event.data.get("state") == "resumed", "the recovery")
    gap = daemon.until(lambda event: event.type == "gap", "the gap")
    assert gap.data["reason"] == "device"
    level = daemon.until(lambda event: event.type == "level", "a level after the gap")
    elapsed = (level.mono_ns - lost.mono_ns) / 1e9 * RATE
    assert abs((level.sample - lost.sample) - elapsed) < RATE // 4
    assert [event.seq for event in daemon.events if event.stream == "mic"] == list(
        range(sum(event.stream == "mic" for event in daemon.events))
    )
