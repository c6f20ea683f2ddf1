"""The whole daemon in this process, a real bus, a subscriber; the recordings are those that ship."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile
import torch

from auricle.configs.errors import BusError, ConfigError, ModelError
from auricle.configs.loader import load
from auricle.configs.settings import Settings
from auricle.daemon.bundled import FOLDER
from auricle.daemon.bus import Publisher
from auricle.daemon.client import Subscriber
from auricle.daemon.events import DAEMON_STREAM, Event
from auricle.daemon.ring import Span
from auricle.daemon.sender import AudioSender
from auricle.daemon.service import Daemon
from auricle.daemon.stream import StreamPipeline
from auricle.daemon.upkeep import Timer
from auricle.models.engine import TorchEngine

SCHEMA = json.loads((FOLDER.parent / "schema" / "event-v1.json").read_text())
KITCHEN, STUDY = FOLDER / "kitchen.flac", FOLDER / "study.flac"


@pytest.fixture(name="engine", scope="module")
def _engine() -> TorchEngine:
    torch.set_num_threads(1)
    return TorchEngine()


@pytest.fixture(name="endpoint")
def _endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/e.ipc"


class Run:
    """A daemon on a thread of its own, and what its subscriber received."""

    def __init__(self, settings: Settings, engine: TorchEngine) -> None:
        self.daemon = Daemon(settings, engine)
        self.subscriber = Subscriber(self.daemon.endpoints)
        self.events: list[Event] = []
        self._thread = threading.Thread(target=self.daemon.run, args=(5.0,))

    def __enter__(self) -> "Run":
        self.subscriber.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self._thread.join(20)
        self.subscriber.close()

    def until(self, **wanted: Any) -> Event:
        """Receives until an event has these attributes (or data), and returns it."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            event = self.subscriber.receive(0.5)
            if event is None:
                continue
            self.events.append(event)
            values = {**event.data, "type": event.type, "stream": event.stream}
            if all(values.get(key) == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"{wanted} did not come; these did: {[(e.stream, e.type) for e in self.events]}")

    def of(self, stream: str, event_type: str) -> list[Event]:
        return [event for event in self.events if (event.stream, event.type) == (stream, event_type)]


def configured(endpoint: str, *overrides: str) -> Settings:
    return load(None, [f'bus.endpoints=["{endpoint}"]', *overrides])


def door(endpoint: str, ingress: str, *overrides: str) -> Settings:
    """A daemon that only hears remote senders, any of them."""
    streams = ["streams={}", f'ingress.endpoint="{ingress}"', "ingress.accept=any"]
    return load("vad", [f'bus.endpoints=["{endpoint}"]', *streams, *overrides])


def file_stream(name: str, path: Path, pace: str = "full") -> str:
    return f'{name} = {{source = "file", path = "{path}", pace = "{pace}"}}'


@pytest.fixture(name="two_streams")
def _two_streams(endpoint: str, engine: TorchEngine, tmp_path: Path) -> Iterator[Run]:
    streams = f"streams={{{file_stream('kitchen', KITCHEN)}, {file_stream('study', STUDY)}}}"
    trace = tmp_path / "run.trace.json"
    settings = configured(endpoint, streams, "daemon.heartbeat_s=0.05", f"latency.trace={trace}")
    with Run(settings, engine) as run:
        run.until(type="status", state="stopping")
        yield run


def test_two_recordings_at_once_and_all_that_is_told(two_streams: Run, tmp_path: Path) -> None:
    run = two_streams
    labels = [event.data["label"] for event in run.of("kitchen", "keyword")]
    assert {"yes", "stop", "left", "right"} <= set(labels)
    assert run.of("study", "speech.start")
    for stream, path in (("kitchen", KITCHEN), ("study", STUDY)):
        states = [event.data["state"] for event in run.of(stream, "device")]
        assert states == ["opened", "ended"]
        (latency,) = run.of(stream, "latency")
        frames = soundfile.info(path).frames
        assert latency.data["frames"] == frames // 320 * 2  # chunks; the rest is drained at the end
        assert latency.data["stages"]["total"]["p50"] > 0
        assert latency.data["lost_samples"] == 0
    assert run.of(DAEMON_STREAM, "heartbeat")
    assert run.subscriber.lost_total == 0
    for event in run.events:
        jsonschema.validate(event.raw, SCHEMA)
    for stream in ("kitchen", "study"):
        numbers = [event.seq for event in run.events if event.stream == stream]
        assert numbers == list(range(len(numbers)))
    trace = json.loads((tmp_path / "run.trace.json").read_text())
    assert {"resample", "features", "inference", "decision", "publish"} <= {entry["name"] for entry in trace}


def test_capture_times_are_this_machines_monotonic_clock(endpoint: str, engine: TorchEngine) -> None:
    streams = f"streams={{{file_stream('kitchen', KITCHEN, 'realtime')}}}"
    with Run(configured(endpoint, streams), engine) as run:
        event = run.until(type="keyword", stream="kitchen")
        delay_ms = (time.monotonic_ns() - event.mono_ns) / 1e6
        assert 0 < delay_ms < 500
        assert abs(event.wall_ns - time.time_ns()) < 5e9


def test_a_remote_microphone(endpoint: str, engine: TorchEngine, tmp_path: Path) -> None:
    samples, _ = soundfile.read(KITCHEN, dtype="int16")
    ingress = f"ipc://{tmp_path}/i.ipc"
    settings = configured(endpoint, "streams={}", f'ingress.endpoint="{ingress}"', 'ingress.accept="any"')
    with Run(settings, engine) as run:
        run.until(type="status", state="running")
        with AudioSender(ingress, "porch", rate=16_000) as sender:
            for start in range(0, len(samples), 800):
                sender.send(samples[start : start + 800].tobytes())
            sender.finish()
        run.until(stream="porch", type="device", state="ended")
        run.until(stream="porch", type="latency")
        assert {"yes", "stop", "left", "right"} <= {e.data["label"] for e in run.of("porch", "keyword")}


def test_a_stream_that_fails_leaves_the_others_alone(
    endpoint: str, engine: TorchEngine, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.flac"
    content = KITCHEN.read_bytes()
    broken.write_bytes(content[: len(content) // 3])
    streams = f"streams={{{file_stream('broken', broken)}, {file_stream('study', STUDY)}}}"
    with Run(configured(endpoint, streams), engine) as run:
        run.until(type="status", state="stopping")
        (error,) = run.of("broken", "error")
        assert "broken.flac" in error.data["message"]
        assert run.of("study", "speech.stop")


def test_an_endpoint_in_use_and_a_missing_model_are_refused(endpoint: str, engine: TorchEngine) -> None:
    settings = configured(endpoint, f"streams={{{file_stream('study', STUDY)}}}")
    first = Daemon(settings, engine)
    with pytest.raises(BusError, match="another daemon"):
        Daemon(settings, engine)
    first.shutdown()
    with pytest.raises(ModelError, match="did you mean"):
        Daemon(configured(endpoint, 'vad.model="vadd"'), engine)


def test_stopping_tells_the_rest_and_closes_open_speech(endpoint: str, engine: TorchEngine) -> None:
    streams = f"streams={{{file_stream('study', STUDY, 'realtime')}}}"
    with Run(configured(endpoint, streams), engine) as run:
        run.until(stream="study", type="speech.start")
        run.daemon.stop()
        run.until(stream="study", type="speech.stop")
        run.until(stream="study", type="latency")


def test_a_late_timer_fires_once() -> None:
    calls: list[int] = []
    timer = Timer(1.0, lambda: calls.append(1))
    timer.fire(timer.due_ns - 1)
    assert not calls
    now_ns = timer.due_ns + 10_000_000_000
    timer.fire(now_ns)
    timer.fire(now_ns)
    assert len(calls) == 1
    assert now_ns < timer.due_ns <= now_ns + 1_000_000_000


def test_silence_is_silent(endpoint: str, engine: TorchEngine, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(48_000, np.float32), 16_000)
    streams = f"streams={{{file_stream('quiet', tmp_path / 'silence.wav')}}}"
    with Run(configured(endpoint, streams), engine) as run:
        run.until(type="status", state="stopping")
        assert not run.of("quiet", "speech.start")
        assert not run.of("quiet", "keyword")


def test_a_daemon_with_nothing_to_hear_is_refused(endpoint: str, engine: TorchEngine) -> None:
    with pytest.raises(ConfigError, match=r"expected at least one stream.*streams\.mic"):
        Daemon(configured(endpoint, "streams={}"), engine)


def test_a_refused_daemon_leaves_the_trace_of_the_running_one(
    endpoint: str, engine: TorchEngine, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    settings = load("vad", [f'bus.endpoints=["{endpoint}"]', f"latency.trace={trace}"])
    first = Daemon(settings, engine)
    first.shutdown()
    before = trace.read_text()
    lock = Publisher([endpoint])
    with pytest.raises(BusError):
        Daemon(settings, engine)
    assert trace.read_text() == before
    lock.close()


def test_what_fails_in_the_pipeline_or_on_the_disk_is_a_failure_of_the_run(
    endpoint: str, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = StreamPipeline.feed

    def broken(self: StreamPipeline, span: Span) -> None:
        if self.name == "study":
            raise RuntimeError("no luck")
        feed(self, span)

    monkeypatch.setattr(StreamPipeline, "feed", broken)
    streams = f"streams={{{file_stream('study', STUDY)}}}"
    settings = configured(endpoint, streams, "latency.trace=/dev/full")
    with Run(settings, engine) as run:
        run.until(type="status", state="stopping")
        if not run.of(DAEMON_STREAM, "error"):  # the disk tells late
            run.until(type="error", stream=DAEMON_STREAM, code="config")
    (error,) = run.of("study", "error")
    assert error.data["code"] == "internal"
    assert ["no luck" in str(run.daemon.failures[0]), "trace" in str(run.daemon.failures[1])] == [True, True]


def test_a_remote_stream_that_comes_again_goes_on_counting(
    endpoint: str, engine: TorchEngine, tmp_path: Path
) -> None:
    ingress = f"ipc://{tmp_path}/i.ipc"
    with Run(door(endpoint, ingress), engine) as run:
        for _ in range(2):
            with AudioSender(ingress, "porch", rate=16_000) as sender:
                sender.send(bytes(32_000))
                sender.finish()
            run.until(stream="porch", type="latency")
        events = [event for event in run.events if event.stream == "porch"]
        assert [event.seq for event in events] == list(range(len(events)))
        assert [event.data["state"] for event in run.of("porch", "device")] == ["opened", "ended"] * 2
        assert [e.sample for e in run.of("porch", "level")] == [4000, 8000, 12_000, 16_000] * 2
        assert run.subscriber.lost_total == 0


def test_a_declared_remote_stream_keeps_its_settings_and_waits_without_a_word(
    endpoint: str, engine: TorchEngine, tmp_path: Path
) -> None:
    ingress = f"ipc://{tmp_path}/i.ipc"
    streams = 'streams={porch = {source = "zmq", gain_db = 20}}'
    settings = load(
        "vad",
        [f'bus.endpoints=["{endpoint}"]', streams, f'ingress.endpoint="{ingress}"', "latency.interval_s=0.1"],
    )
    tone = (1000 * np.sin(np.arange(16_000) / 5)).astype(np.int16).tobytes()
    levels = []
    with Run(settings, engine) as run:
        run.until(type="status", state="running")
        time.sleep(0.5)  # five reports on which there is nothing to say
        for session in (1, 2):
            with AudioSender(ingress, "porch", rate=16_000) as sender:
                sender.send(tone)
                sender.finish()
            while len(run.of("porch", "level")) < 4 * session:
                run.until(stream="porch", type="level")
            levels.append(run.of("porch", "level")[-1].data["rms_dbfs"])
        assert run.of("porch", "device")[0].seq == 0
        assert levels[0] == pytest.approx(levels[1], abs=0.1)


def test_what_a_sender_sent_before_the_end_is_processed(
    endpoint: str, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what found no room in the ring yet."""
    ingress = f"ipc://{tmp_path}/i.ipc"
    settings = door(endpoint, ingress, "pipeline.ring_seconds=0.5")
    feed, busy = StreamPipeline.feed, threading.Event()

    def slow(self: StreamPipeline, span: Span) -> None:
        if self.name == "porch":
            busy.wait(10)
        feed(self, span)

    monkeypatch.setattr(StreamPipeline, "feed", slow)
    with Run(settings, engine) as run:
        run.until(type="status", state="running")
        with AudioSender(ingress, "porch", rate=16_000) as sender:
            for _ in range(20):
                sender.send(bytes(3200))
            deadline = time.monotonic() + 10
            while run.daemon._ingress is None or not any(
                source.received == 32_000 for source in run.daemon._ingress._sources.values()
            ):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            run.daemon.stop()
            busy.set()
            run.until(stream="porch", type="latency")
    assert run.of("porch", "level")[-1].sample == 32_000


def test_a_stream_that_comes_back_at_once_waits_for_its_predecessor(
    endpoint: str, engine: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingress = f"ipc://{tmp_path}/i.ipc"
    settings = door(endpoint, ingress)
    feed = StreamPipeline.feed

    def slow(self: StreamPipeline, span: Span) -> None:
        if self.name == "porch":
            time.sleep(0.01)
        feed(self, span)

    monkeypatch.setattr(StreamPipeline, "feed", slow)
    with Run(settings, engine) as run:
        run.until(type="status", state="running")
        for _ in range(2):
            with AudioSender(ingress, "porch", rate=16_000) as sender:
                sender.send(bytes(32_000))
                sender.finish()
        for _ in range(2):
            run.until(stream="porch", type="latency")
    assert [event.sample for event in run.of("porch", "level")] == [4000, 8000, 12_000, 16_000] * 2


def test_a_file_at_a_rate_that_is_none_to_work_with_is_told(
    endpoint: str, engine: TorchEngine, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "slow.wav", np.zeros(4000, np.float32), 2000)
    streams = f"streams={{{file_stream('slow', tmp_path / 'slow.wav')}, {file_stream('study', STUDY)}}}"
    with Run(configured(endpoint, streams), engine) as run:
        run.until(type="status", state="stopping")
    assert "2000" in run.of("slow", "error")[0].data["message"]
