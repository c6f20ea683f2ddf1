"""One live stream: in which order the end of its source, and what was heard, are told."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_engine import RATE, ToneEngine, hush, speak

from auricle.configs.errors import DeviceError
from auricle.configs.loader import load
from auricle.configs.settings import StreamSettings
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.live import LiveStream
from auricle.daemon.offline import offline_shared
from auricle.daemon.ring import Span
from auricle.daemon.sources.base import BaseSource
from auricle.daemon.sources.file import FileSource
from auricle.daemon.stream import StreamPipeline

TALK = np.concatenate([hush(0.3), speak("marvin"), speak("sheila")])


@pytest.fixture(name="engine", scope="module")
def _engine() -> ToneEngine:
    return ToneEngine()


class Heard:
    """A stream without a daemon, and what it published."""

    def __init__(self, engine: ToneEngine, source: BaseSource) -> None:
        self.sink = RecordingPublisher()
        shared = offline_shared(load("vad", ["level.enabled=false"]), engine, self.sink)
        self.live = LiveStream(source, StreamSettings(), shared)

    def until_over(self) -> None:
        """As the engine loop does, the timer being due before each step."""
        while not self.live.over:
            self.live.poll(0)
            try:
                self.live.step()
            except Exception as error:
                self.live.fail(error)

    def told(self) -> list[str]:
        return [str(event.data.get("state", event.type)) for event in self.sink.events]


def played(path: Path, samples: np.ndarray) -> FileSource:
    """A source that has ended, all its audio waiting in the ring."""
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    source = FileSource("desk", [path], pace="full", ring_seconds=len(samples) / RATE + 1)
    source.start()
    source._thread.join(10)
    assert source.finished
    return source


def test_the_end_is_told_when_all_is_heard(engine: ToneEngine, tmp_path: Path) -> None:
    heard = Heard(engine, played(tmp_path / "a.wav", TALK))
    heard.until_over()
    assert heard.told() == ["opened", *["speech.start", "speech.stop"] * 2, "ended", "latency"]


def test_why_a_source_gave_up_is_told_when_all_is_heard(engine: ToneEngine, tmp_path: Path) -> None:
    heard = Heard(engine, played(tmp_path / "a.wav", np.append(TALK, np.float32(np.nan))))
    heard.until_over()
    assert heard.told() == ["opened", *["speech.start", "speech.stop"] * 2, "error", "ended", "latency"]


def test_a_pipeline_that_fails_keeps_nothing_back(
    engine: ToneEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: StreamPipeline, span: Span) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(StreamPipeline, "feed", broken)
    heard = Heard(engine, played(tmp_path / "a.wav", TALK))
    heard.until_over()
    assert heard.told() == ["opened", "error", "ended"]


def test_what_a_source_lives_through_is_told_at_once(engine: ToneEngine) -> None:
    source = BaseSource("desk", RATE)
    source.start = lambda: None  # type: ignore[attr-defined]
    heard = Heard(engine, source)
    source.ring.write(TALK[:RATE], 0)
    heard.live.step()
    source._notify_device("lost", 0, "Yeti", 2)
    source._notify_error(DeviceError("busy"), 0)
    heard.live.poll(0)
    assert heard.told() == ["lost", "error"]
