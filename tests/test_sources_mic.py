"""The microphone source over a made-up PortAudio: mixing, overflow, gaps, loss of the device, recovery."""

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auricle.configs.errors import DeviceError
from auricle.daemon.sources import devices, mic
from auricle.daemon.sources.devices import InputDevice
from auricle.daemon.sources.mic import MicSource

RATE = 16000
INPUTS = [InputDevice(0, "Yeti", "ALSA", 2, RATE, True), InputDevice(1, "pulse", "ALSA", 32, 44100, False)]


class FakePortAudio:
    """Opens streams that deliver what a test hands them; can be out of order for a while."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.broken = 0
        """So many times opening fails."""
        self.stuck = 0
        """So many times a stream opens and does not start."""
        self.deaf = 0
        """So many times PortAudio does not start again."""
        self.initialised = True
        self.refreshed = 0

    def InputStream(self, **options: Any) -> Any:  # noqa: N802 - PortAudio's name
        if self.broken:
            self.broken -= 1
            raise self.PortAudioError("Device unavailable")
        stream = SimpleNamespace(active=True, latency=0.01, options=options, start=self._start)

        def close(ignore_errors: bool = True) -> None:
            stream.active = False

        stream.close = close
        self.streams.append(stream)
        return stream

    def _start(self) -> None:
        if self.stuck:
            self.stuck -= 1
            raise self.PortAudioError("Device busy")

    def _terminate(self) -> None:
        if not self.initialised:
            raise self.PortAudioError("PortAudio not initialized")
        self.initialised = False
        self.refreshed += 1

    def _initialize(self) -> None:
        if self.deaf:
            self.deaf -= 1
            raise self.PortAudioError("no server")
        self.initialised = True


@pytest.fixture(name="inputs")
def _inputs(monkeypatch: pytest.MonkeyPatch, portaudio: "FakePortAudio") -> list[InputDevice]:
    """What is plugged in, to be changed by a test."""
    inputs = list(INPUTS)
    monkeypatch.setattr(devices, "list_inputs", lambda: list(inputs))
    return inputs


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    fake = FakePortAudio()
    monkeypatch.setattr(devices, "portaudio", lambda: fake)
    monkeypatch.setattr(devices, "list_inputs", lambda: INPUTS)
    monkeypatch.setattr(mic, "_FIRST_RETRY_S", 0.01)
    return fake


@pytest.fixture
def open_mic(portaudio: FakePortAudio) -> Iterator[Callable[..., MicSource]]:
    opened: list[MicSource] = []

    def make(**options: Any) -> MicSource:
        opened.append(MicSource("kitchen", **options))
        opened[-1].start()
        return opened[-1]

    yield make
    for source in opened:
        source.stop()


def deliver(source: MicSource, fake: FakePortAudio, frames: "np.ndarray[Any, np.dtype[np.float32]]") -> None:
    times, status = SimpleNamespace(inputBufferAdcTime=0.0), SimpleNamespace(input_overflow=False)
    fake.streams[-1].options["callback"](frames, len(frames), times, status)


def wait_for(condition: Callable[[], Any], timeout_s: float = 5.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.mark.parametrize(("channel", "expected"), [("mix", 0.25), (0, 0.5), (1, 0.0)])
def test_channels_are_mixed_or_picked(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio, channel: Any, expected: float
) -> None:
    source = open_mic(channel=channel)
    deliver(source, portaudio, np.tile(np.array([0.5, 0.0], np.float32), (160, 1)))
    span = source.ring.read(1000)
    assert span is not None
    assert span.samples.tolist() == [expected] * 160
    assert portaudio.streams[0].options["channels"] == 2
    assert portaudio.streams[0].options["blocksize"] == 160


def test_a_sound_server_is_asked_for_mono_at_16_khz(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio
) -> None:
    source = open_mic(device="pulse")
    assert (source.native_rate, source.channels) == (RATE, 1)


def test_a_full_ring_drops_and_counts(open_mic: Callable[..., MicSource], portaudio: FakePortAudio) -> None:
    source = open_mic(ring_seconds=0.1)
    for _ in range(12):
        deliver(source, portaudio, np.zeros((160, 2), np.float32))
    assert source.ring.queued_samples == 1600
    assert source.ring.dropped_total == 320


def test_a_stall_is_noticed_and_its_end(open_mic: Callable[..., MicSource], portaudio: FakePortAudio) -> None:
    source, states = open_mic(stall_ms=200), []
    block = np.zeros((160, 2), np.float32)
    deliver(source, portaudio, block)

    def seen(state: str) -> bool:
        states.extend(notice.state for notice in source.poll(0))
        return state in states

    wait_for(lambda: seen("stalled"))
    for _ in range(12):
        deliver(source, portaudio, block)
        time.sleep(0.01)
    wait_for(lambda: seen("resumed"))
    assert states == ["opened", "stalled", "resumed"]
    source.ring.read(160)
    span = source.ring.read(160)
    assert span is not None
    assert span.reason == "stall"
    assert 0.15 < span.lost_before / RATE < 2


def test_a_lost_device_comes_back(open_mic: Callable[..., MicSource], portaudio: FakePortAudio) -> None:
    source = open_mic()
    deliver(source, portaudio, np.zeros((160, 2), np.float32))
    portaudio.broken = 3
    portaudio.streams[0].options["finished_callback"]()
    wait_for(lambda: len(portaudio.streams) == 2)
    wait_for(lambda: source.ring.queued_samples == 160)
    time.sleep(0.1)
    deliver(source, portaudio, np.zeros((160, 2), np.float32))
    assert portaudio.refreshed == 4
    notices = source.poll(0)
    assert [notice.state or notice.kind for notice in notices] == ["opened", "lost", "error", "resumed"]
    assert "Device unavailable" in notices[2].detail and source.error is None
    source.ring.read(160)
    span = source.ring.read(160)
    assert span is not None
    assert span.reason == "device"
    assert span.lost_before / RATE > 0.1


def test_why_a_device_does_not_come_back_is_told_once_for_each_reason(
    open_mic: Callable[..., MicSource],
    portaudio: FakePortAudio,
    inputs: list[InputDevice],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mic, "_LONGEST_RETRY_S", 0.01)
    source, errors = open_mic(device="Yeti"), list[str]()

    def told() -> list[str]:
        errors.extend(notice.detail for notice in source.poll(0) if notice.kind == "error")
        return errors

    del inputs[0]
    portaudio.streams[0].options["finished_callback"]()
    wait_for(lambda: portaudio.refreshed > 5 and told())
    portaudio.broken = 10_000
    inputs.insert(0, INPUTS[0])
    wait_for(lambda: portaudio.broken < 9995 and len(told()) > 1)
    portaudio.broken = 0
    wait_for(lambda: len(portaudio.streams) == 2)
    assert ["unknown sound input 'Yeti'" in errors[0], "cannot record from 'Yeti'" in errors[1]] == [True] * 2
    assert len(told()) == 2 and all(error in caplog.text for error in errors)


def test_another_default_device_is_taken_with_the_channels_that_it_has(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio, inputs: list[InputDevice]
) -> None:
    source, chosen = open_mic(), open_mic(channels=2)
    inputs[:] = [InputDevice(0, "Built-in", "ALSA", 1, 44100, True)]
    for stream in portaudio.streams[:2]:
        stream.options["finished_callback"]()
    wait_for(lambda: len(portaudio.streams) == 3)
    options = portaudio.streams[2].options
    assert (options["channels"], options["samplerate"]) == (1, RATE)
    wait_for(
        lambda: (notices := source.poll(0)) and (notices[-1].state, notices[-1].channels) == ("resumed", 1)
    )
    deliver(source, portaudio, np.full((160, 1), 0.5, np.float32))
    wait_for(lambda: any("has 1 channel(s)" in notice.detail for notice in chosen.poll(0)))


def test_other_microphones_are_not_cut_off_by_a_recovery(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio
) -> None:
    open_mic()
    open_mic()
    portaudio.streams[1].options["finished_callback"]()
    wait_for(lambda: len(portaudio.streams) == 3)
    assert portaudio.refreshed == 0


def test_a_device_that_cannot_be_opened_is_said_so(portaudio: FakePortAudio) -> None:
    portaudio.broken = 1
    source = MicSource("kitchen", rate=44100)
    with pytest.raises(
        DeviceError, match=r"cannot record from 'Yeti' with 44100 Hz and 2 channel.*set rate = 0"
    ):
        source.start()
    source.stop()


@pytest.mark.parametrize("options", [{"channels": 3}, {"channel": 2}])
def test_channels_that_do_not_exist_are_refused(portaudio: FakePortAudio, options: dict[str, Any]) -> None:
    with pytest.raises(DeviceError, match=r"'Yeti' has 2 channel\(s\)"):
        MicSource("kitchen", **options)


def test_a_device_that_opens_but_does_not_start_is_closed_again(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio
) -> None:
    source = open_mic()
    portaudio.stuck = 3
    portaudio.streams[0].options["finished_callback"]()
    wait_for(lambda: len(portaudio.streams) == 5)
    wait_for(lambda: any(notice.state == "resumed" for notice in source.poll(0)))
    assert [stream.active for stream in portaudio.streams] == [False] * 4 + [True]


def test_a_sound_server_that_does_not_come_back_at_once_is_waited_for(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio
) -> None:
    source = open_mic()
    portaudio.deaf = 3
    portaudio.streams[0].options["finished_callback"]()
    wait_for(lambda: any(notice.state == "resumed" for notice in source.poll(0)))
    assert portaudio.deaf == 0 and source.error is None


def test_a_microphone_never_dies_without_a_word(
    open_mic: Callable[..., MicSource], portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_mic()
    monkeypatch.setattr(devices, "refresh", lambda: 1 / 0)
    portaudio.streams[0].options["finished_callback"]()
    wait_for(lambda: source.finished)
    assert "ZeroDivisionError" in str(source.error)
    assert [notice.kind for notice in source.poll(0)][-1] == "error"
