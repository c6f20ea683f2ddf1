"""Clips of wake phrases that were heard, or nearly: what is cut, what is written, what a bad disk does."""

import json
import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_wake_detector import FRAME, LEXICON, MODEL, background, posterior
from tone_engine import ACOUSTIC, RATE, ToneEngine, hush, speak

from auricle.configs.errors import ConfigError
from auricle.configs.loader import load
from auricle.configs.settings import ClipSettings, WakeSettings
from auricle.daemon import clips as clips_module
from auricle.daemon import event_data
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.clips import MOST_WAITING, NEAR, Clip, ClipTaker, ClipWriter
from auricle.daemon.detectors import Draft
from auricle.daemon.events import Sequencer
from auricle.daemon.offline import offline_shared, stream_blocks, warm_up
from auricle.daemon.stream import Shared
from auricle.daemon.wake import WakeDetector

DAY_NS = 1_700_000_000_000_000_000
UNCLEAR = np.concatenate(
    [posterior("_ " * 20), posterior("M _ AA R _ V IH _ K _ _", sure=0.7), posterior("_ " * 60)]
)
CLEAR = np.concatenate([posterior("_ " * 20 + "M AA R V IH N", sure=0.99), posterior("_ " * 60)])


def heard(rows: np.ndarray, clips: ClipSettings | None, chunks: int = 1000) -> list[Draft]:
    phrases = [WakeSettings(phrase="marvin", threshold=0.9999)]
    detector = WakeDetector(MODEL, phrases, background(), LEXICON, clips)
    state, drafts = detector.initial_state(), []
    for begin in range(0, len(rows), chunks):
        part = rows[begin : begin + chunks]
        found, state = detector.decide(part, [FRAME * (begin + n + 1) for n in range(len(part))], state)
        drafts += found
    found, _ = detector.finish(FRAME * len(rows), FRAME * len(rows), state)
    return drafts + found


def kept(folder: Path, **settings: object) -> ClipSettings:
    return ClipSettings(folder=str(folder), **{"near_score": 0.2, **settings})


def draft(end: int, kind: str = "wake", phrase: str = "hey lamp", score: float = 0.75) -> Draft:
    return Draft(kind, end + 1600, event_data.wake(phrase, score, end - 8000, end), "acoustic@cafe0123")


def clip(number: int, length: int = 1600) -> Clip:
    tone = np.sin(np.arange(length) / (2 + number % 7)).astype(np.float32)
    return Clip(tone / 2, "kitchen", 0, DAY_NS + number * 1_000_000_000, draft(8000))


def files(folder: Path, suffix: str = ".flac") -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == suffix)


def test_near_misses_are_told_only_where_clips_are_kept(tmp_path: Path) -> None:
    assert heard(UNCLEAR, None) == heard(UNCLEAR, ClipSettings()) == []
    (near,) = heard(UNCLEAR, kept(tmp_path))
    assert near.type == NEAR and 0.2 <= near.data["score"] < 0.9999
    assert near.data["start_sample"] >= 18 * FRAME and near.data["end_sample"] <= 31 * FRAME
    for chunks in (1, 7):
        assert heard(UNCLEAR, kept(tmp_path), chunks) == [near]
    assert heard(UNCLEAR, kept(tmp_path, near_score=1.0)) == []


def test_a_phrase_that_is_heard_is_no_near_miss(tmp_path: Path) -> None:
    assert [found.type for found in heard(CLEAR, kept(tmp_path))] == ["wake"]


def test_a_near_miss_at_the_very_end_is_told(tmp_path: Path) -> None:
    (near,) = heard(UNCLEAR[:31], kept(tmp_path))
    assert near.type == NEAR


def test_a_clip_holds_the_phrase_and_what_is_around_it(tmp_path: Path) -> None:
    settings = kept(tmp_path / "clips", before_ms=250, after_ms=500)
    writer = ClipWriter(settings)
    taker = ClipTaker("kitchen", writer, lambda sample: DAY_NS + sample * 62_500)
    ramp = (np.arange(200_000) % 30_000 / 32768).astype(np.float32)
    drafts = [draft(150_000), draft(160_000, NEAR)]
    for begin in range(0, 200_000, 320):
        taker.hear(ramp[begin : begin + 320])
        due = [one for one in drafts if begin < one.sample <= begin + 320]
        assert taker.follow(due) == [one for one in due if one.type == "wake"]
    taker.restart(200_000)
    writer.close()
    first, second = files(tmp_path / "clips")
    assert first == "20231114T221328.625Z_hey-lamp_hit_0.75_kitchen.flac"
    assert second.endswith("Z_hey-lamp_near_0.75_kitchen.flac")
    samples, rate = soundfile.read(tmp_path / "clips" / first, dtype="float32")
    assert rate == RATE
    assert np.allclose(samples, ramp[138_000:158_000], atol=1e-4)  # 150,000 - 8000 - 250 ms to + 500 ms
    details = json.loads((tmp_path / "clips" / first).with_suffix(".json").read_text())
    assert details["phrase"] == "hey lamp" and details["kind"] == "hit" and details["score"] == 0.75
    assert (details["start_sample"], details["phrase_start_sample"]) == (138_000, 142_000)
    assert (details["phrase_end_sample"], details["duration"]) == (150_000, 1.25)
    assert details["time"] == "2023-11-14T22:13:28.625Z" and details["stream"] == "kitchen"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "clips").iterdir()} == {0o600}
    assert (tmp_path / "clips").stat().st_mode & 0o777 == 0o700


def test_the_end_of_the_stream_cuts_a_clip_short(tmp_path: Path) -> None:
    writer = ClipWriter(kept(tmp_path, format="wav", hits=False))
    taker = ClipTaker("a/b c", writer, lambda sample: DAY_NS)
    taker.hear(np.zeros(20_000, np.float32))
    taker.follow([draft(19_000, NEAR), draft(19_000)])
    taker.restart(20_000)
    taker.restart(20_000)
    writer.close()
    (name,) = files(tmp_path, ".wav")
    assert name.endswith("_near_0.75_a-b-c.wav")
    assert soundfile.info(tmp_path / name).frames == 20_000


@pytest.mark.parametrize("bound", [{"most_clips": 3}, {"most_mb": 0.0101, "format": "wav"}])
def test_the_oldest_make_room(tmp_path: Path, bound: dict[str, object]) -> None:
    (tmp_path / "mine.flac").write_bytes(b"x" * 20_000)
    writer = ClipWriter(kept(tmp_path, **bound), wait=True)
    for number in range(8):
        writer.put(clip(number))
        writer._waiting.put(clip(number))  # again under the same name: one clip
    writer.close()
    suffix = f".{bound.get('format', 'flac')}"
    names = [name for name in files(tmp_path, suffix) if name != "mine.flac"]
    assert [name[:15] for name in names] == ["20231114T221325", "20231114T221326", "20231114T221327"]
    assert len(files(tmp_path, ".json")) == 3
    assert (tmp_path / "mine.flac").exists()  # what is not of its making stays


def test_a_bad_disk_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "clips"
    folder.write_text("a file is in the way")
    with caplog.at_level(logging.INFO):
        writer = ClipWriter(kept(folder), wait=True)
        for number in range(3):
            writer.put(clip(number))
        while writer.dropped < 3:
            threading.Event().wait(0.01)
        folder.unlink()
        writer.put(clip(4))
        writer.close()
    told = [record for record in caplog.records if record.name == clips_module.__name__]
    assert [record.levelname for record in told] == ["ERROR", "INFO"]
    assert str(folder) in told[0].message and "clips.folder" in told[0].message
    assert "3 were lost" in told[1].message
    assert len(files(folder)) == 1


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if content.startswith(b"fLaC"):
            whole(self, content[:100])
            raise OSError(28, os.strerror(28))
        return whole(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    writer = ClipWriter(kept(tmp_path), wait=True)
    writer.put(clip(0))
    writer.close()
    assert "No space left" in caplog.text and writer.dropped == 1
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(ClipWriter, "_write", lambda self, clip: go_on.wait(20) and None)
    writer = ClipWriter(kept(tmp_path))
    for number in range(MOST_WAITING + 11):
        writer.put(clip(number))  # would hang here, were it to wait
    assert 10 <= writer.dropped <= 11  # one may be in the writer's hands
    go_on.set()
    writer.close()
    assert "clips were dropped" in caplog.text


def test_from_a_stream_to_a_clip(tmp_path: Path) -> None:
    options = load(None, ("keyword.enabled=false", "vad.enabled=false", f'clips.folder="{tmp_path}"'))
    detector = WakeDetector(ACOUSTIC, [WakeSettings(phrase="marvin")], background(), LEXICON, options.clips)
    writer, sink = ClipWriter(options.clips, wait=True), RecordingPublisher()
    engine = ToneEngine()
    shared = Shared(options, engine, (detector,), sink, Sequencer(), writer)
    audio = np.concatenate([speak("marvin", 3.0, 3.0), speak("marvin", 0.5, 0.1)])
    audio = np.concatenate([audio, hush(0.01)])
    stream_blocks(np.array_split(audio, 97), RATE, shared, "desk")
    warm_up(shared)
    writer.close()
    wakes = [event for event in sink.events if event.type == "wake"]
    assert len(wakes) == 2
    first, second = [json.loads((tmp_path / name).read_text()) for name in files(tmp_path, ".json")]
    assert first["phrase_end_sample"] == wakes[0].data["end_sample"]
    assert first["start_sample"] == wakes[0].data["start_sample"] - RATE
    samples, _ = soundfile.read(tmp_path / first["file"], dtype="float32")
    begin = first["start_sample"]
    assert np.allclose(samples, audio[begin : begin + len(samples)], atol=1e-4)
    assert second["phrase_end_sample"] == wakes[1].data["end_sample"]
    assert all(event.type != NEAR for event in sink.events)


def test_a_score_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="near_score"):
        load(None, ["clips.near_score=0"])


def test_only_what_is_streamed_on_purpose_goes_to_the_folder(tmp_path: Path) -> None:
    """Self-tests and benchmarks hear made-up streams, and would push real clips out."""
    settings = load("vad", [f"clips.folder={tmp_path}"])
    assert offline_shared(settings, ToneEngine(), RecordingPublisher()).clips is None
    shared = offline_shared(settings, ToneEngine(), RecordingPublisher(), keeps_clips=True)
    assert shared.clips is not None
    shared.clips.close()
