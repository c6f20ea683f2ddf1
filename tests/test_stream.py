"""The path of a frame, on real recordings and the shipped models."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.configs.errors import BusError
from auricle.configs.loader import load
from auricle.configs.settings import Settings, StreamSettings
from auricle.daemon import event_data
from auricle.daemon.bundled import FOLDER
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.events import Event
from auricle.daemon.offline import offline_shared, stream_blocks
from auricle.daemon.ring import Span
from auricle.daemon.selftest import same_event
from auricle.daemon.sources.file import read_blocks
from auricle.daemon.stream import StreamPipeline
from auricle.daemon.timeline import SampleClock
from auricle.models.engine import TorchEngine

RATE = 16_000
Samples = NDArray[np.float32]
VAD = load("vad")


@pytest.fixture(name="engine", scope="module")
def _engine() -> TorchEngine:
    torch.set_num_threads(1)
    return TorchEngine()


@pytest.fixture(name="words", scope="module")
def _words() -> Samples:
    """The first seconds of the words: "yes", "happy" and "stop", by people nobody trained on."""
    return np.concatenate(list(read_blocks(FOLDER / "kitchen.flac", RATE)))[: 5 * RATE]


def configured(*overrides: str) -> Settings:
    return load(None, overrides)


def pieces(samples: Samples, sizes: list[int]) -> Iterator[Samples]:
    start, turn = 0, 0
    while start < len(samples):
        yield samples[start : start + sizes[turn % len(sizes)]]
        start, turn = start + sizes[turn % len(sizes)], turn + 1


def events_of(samples: Samples, engine: TorchEngine, options: Settings, sizes: list[int]) -> list[Event]:
    sink = RecordingPublisher()
    stream_blocks(pieces(samples, sizes), RATE, offline_shared(options, engine, sink), "words")
    return sink.events


def pipeline(
    engine: TorchEngine, options: Settings, name: str = "words"
) -> tuple[StreamPipeline, RecordingPublisher]:
    sink = RecordingPublisher()
    shared = offline_shared(options, engine, sink)
    return StreamPipeline(name, RATE, StreamSettings(), shared, SampleClock()), sink


@pytest.fixture(name="reference", scope="module")
def _reference(engine: TorchEngine, words: Samples) -> list[Event]:
    return events_of(words, engine, configured("spectrum.enabled=true"), [160])


@settings(max_examples=12, deadline=None)
@given(hops=st.integers(1, 60), sizes=st.lists(st.integers(1, 12_000), min_size=1, max_size=5))
def test_neither_chunk_size_nor_cutting_changes_an_event(
    engine: TorchEngine, words: Samples, reference: list[Event], hops: int, sizes: list[int]
) -> None:
    options = configured("spectrum.enabled=true", f"pipeline.chunk_ms={hops * 10}")
    found = events_of(words, engine, options, sizes)
    assert len(found) == len(reference)
    assert all(same_event(one, other) for one, other in zip(found, reference, strict=True))


def test_the_events_are_about_what_is_said(reference: list[Event]) -> None:
    words = [(event.data["label"], event.t) for event in reference if event.type == "keyword"]
    assert [label for label, _ in words] == ["yes", "stop"]
    assert 0.5 < words[0][1] < 2.0
    starts = [event for event in reference if event.type == "speech.start"]
    stops = [event for event in reference if event.type == "speech.stop"]
    assert len(starts) == len(stops) >= 2
    assert all(stop.data["end_sample"] <= 5 * RATE for stop in stops)


def test_numbers_have_no_holes_and_positions_never_fall(reference: list[Event]) -> None:
    assert [event.seq for event in reference] == list(range(len(reference)))
    positions = [event.sample for event in reference]
    assert positions == sorted(positions)
    assert all(event.mono_ns == event.sample * 62_500 for event in reference)


def test_levels_come_at_their_interval_and_mean_something(reference: list[Event]) -> None:
    levels = [event for event in reference if event.type == "level"]
    assert [event.sample for event in levels] == [4000 * (i + 1) for i in range(20)]
    assert max(event.data["rms_dbfs"] for event in levels) > -35 > min(e.data["rms_dbfs"] for e in levels)


def test_streams_that_share_an_engine_stay_apart(
    engine: TorchEngine, words: Samples, reference: list[Event]
) -> None:
    """Two streams, interleaved chunk by chunk, one of them playing backwards."""
    options = configured("spectrum.enabled=true")
    one, sink = pipeline(engine, options)
    other, _ = pipeline(engine, options, "other")
    for start in range(0, len(words), 320):
        one.feed(Span(words[start : start + 320], start, 0, 0, None))
        other.feed(Span(words[::-1][start : start + 320].copy(), start, 0, 0, None))
    one.finish()
    assert len(sink.events) == len(reference)
    assert all(same_event(a, b) for a, b in zip(sink.events, reference, strict=True))


def with_gap(engine: TorchEngine, words: Samples, lost: int, *overrides: str) -> list[Event]:
    one, sink = pipeline(engine, configured(*overrides))
    one.feed(Span(words[:RATE], 0, 0, 0, None))
    one.feed(Span(words[RATE + lost :], RATE + lost, 0, lost, "overflow"))
    one.finish()
    assert one.position == len(words)
    assert one.lost_samples == lost
    return sink.events


@pytest.mark.parametrize("lost", [7, 1600, 12_345])
def test_a_filled_gap_keeps_the_timeline_and_equals_silence(
    engine: TorchEngine, words: Samples, lost: int
) -> None:
    found = with_gap(engine, words, lost)
    silenced = words.copy()
    silenced[RATE : RATE + lost] = 0
    expected = events_of(silenced, engine, configured(), [320])
    (gap,) = [event for event in found if event.type == "gap"]
    assert gap.sample == RATE
    assert gap.data == {
        "samples": lost,
        "reason": "overflow",
        "action": "fill",
        "native_samples": lost,
        "native_rate": RATE,
    }
    others = [(e.type, e.sample, e.data) for e in found if e.type != "gap"]
    assert others == [(e.type, e.sample, e.data) for e in expected]


@pytest.mark.parametrize("chunk_ms", [10, 30, 80, 500])
def test_a_gap_has_the_same_place_among_the_events_at_every_chunk_size(
    engine: TorchEngine, words: Samples, chunk_ms: int
) -> None:
    """It begins where a chunk may end, and where a level is due."""
    one, sink = pipeline(engine, configured(f"pipeline.chunk_ms={chunk_ms}"))
    one.feed(Span(words[:RATE], 0, 0, 0, None))
    one.feed(Span(words[RATE + 1600 : 2 * RATE], RATE + 1600, 0, 1600, "sequence"))
    one.finish()
    found = [event.type for event in sink.events if event.sample == RATE]
    assert found == ["level", "gap"]


def test_no_speech_begins_before_a_fresh_start(engine: TorchEngine, words: Samples) -> None:
    """Pre-roll or not: what was before the gap belongs to what was heard before."""
    speaking = next(e for e in events_of(words, engine, configured(), [320]) if e.type == "speech.start")
    cut = speaking.sample + 1600  # in the middle of speech
    one, sink = pipeline(engine, configured('pipeline.gap="reset"'))
    one.feed(Span(words[:cut], 0, 0, 0, None))
    one.feed(Span(words[cut + 160 :], cut + 160, 0, 160, "overflow"))
    one.finish()
    starts = [event.data["start_sample"] for event in sink.events if event.type == "speech.start"]
    assert len(starts) > 1 and starts[1] >= cut + 160
    segments = [event.data for event in sink.events if event.type == "speech.stop"]
    assert all(a["end_sample"] <= b["start_sample"] for a, b in itertools.pairwise(segments))


@pytest.mark.parametrize("setting", ["vad.hangover_ms=20", "vad.preroll_ms=0"])
def test_no_speech_lies_behind_the_end(engine: TorchEngine, words: Samples, setting: str) -> None:
    """What the models need of silence behind it has no place on the timeline."""
    speech = next(e.data for e in events_of(words, engine, configured(), [320]) if e.type == "speech.stop")
    for end in range(speech["start_sample"] + 4000, speech["end_sample"], 1777):
        one, sink = pipeline(engine, configured(setting, "vad.min_speech_ms=20"))
        one.feed(Span(words[:end], 0, 0, 0, None))
        one.finish()
        segments = [event.data for event in sink.events if event.type == "speech.stop"]
        starts = [event.data["start_sample"] for event in sink.events if event.type == "speech.start"]
        assert starts == [data["start_sample"] for data in segments]
        for data in segments:
            assert data["start_sample"] < data["end_sample"] <= end
            assert data["duration"] == (data["end_sample"] - data["start_sample"]) / 16_000


def test_what_lies_behind_the_end_is_cut_off() -> None:
    data = event_data.speech_stop(1600, 3200, 0.9)
    assert event_data.within(data, 3200) == data
    assert event_data.within(data, 2400) == event_data.speech_stop(1600, 2400, 0.9)
    assert event_data.within(data, 1600) is None
    assert event_data.within(event_data.speech_start(1600, 0.9), 1601) is not None


def test_a_stream_may_end_with_nothing_left_to_hear(engine: TorchEngine) -> None:
    """Whatever the models need of silence behind it."""
    one, sink = pipeline(engine, VAD)
    one._tail_samples = 0
    one.finish()
    assert one.position == 0
    one, sink = pipeline(engine, VAD)
    one._tail_samples = 0
    one.feed(Span(np.zeros(one._quantum * 20, np.float32), 0, 0, 0, None))
    one.finish()
    assert [event.type for event in sink.events] == ["level"]


def test_a_reset_gap_starts_afresh_at_the_right_sample(engine: TorchEngine, words: Samples) -> None:
    found = with_gap(engine, words, 8000, 'pipeline.gap="reset"', "level.enabled=false")
    (gap,) = [event for event in found if event.type == "gap"]
    assert gap.data["action"] == "reset"
    after = [event for event in found if event.seq > gap.seq]
    fresh = events_of(words[RATE + 8000 :], engine, configured("level.enabled=false"), [320])
    assert [(e.type, e.sample - RATE - 8000) for e in after] == [(e.type, e.sample) for e in fresh]
    assert sum(e.type == "speech.start" for e in found) == sum(e.type == "speech.stop" for e in found)


def test_a_gap_longer_than_may_be_filled_is_reset(engine: TorchEngine, words: Samples) -> None:
    (gap,) = [e for e in with_gap(engine, words, 8000, "pipeline.max_fill_ms=400") if e.type == "gap"]
    assert gap.data["action"] == "reset"


def test_a_stream_without_models_still_tells_its_level(engine: TorchEngine, words: Samples) -> None:
    options = configured("vad.enabled=false", "keyword.enabled=false")
    assert {event.type for event in events_of(words, engine, options, [320])} == {"level"}


def test_gain_is_applied_before_everything(engine: TorchEngine, words: Samples, tmp_path: Path) -> None:
    levels = []
    for gain_db in (0.0, -6.0):
        sink = RecordingPublisher()
        shared = offline_shared(configured(), engine, sink)
        one = StreamPipeline("words", RATE, StreamSettings(gain_db=gain_db), shared, SampleClock())
        one.feed(Span(words, 0, 0, 0, None))
        levels.append([e.data["rms_dbfs"] for e in sink.events if e.type == "level"])
    assert np.allclose(np.subtract(*levels), 6.0, atol=0.15)


@pytest.mark.parametrize("rate", [RATE, 48_000])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_burst_of_nonsense_is_survived(
    engine: TorchEngine, words: Samples, value: float, rate: int
) -> None:
    """A broken driver or a wrong gain may not leave NaN in a filter or a hidden state for good."""
    sink = RecordingPublisher()
    stream = StreamPipeline("x", rate, StreamSettings(), offline_shared(VAD, engine, sink), SampleClock())
    start = np.repeat(words, rate // RATE)
    spoilt = np.concatenate([np.full(rate // 10, value, np.float32), start])
    stream.feed(Span(spoilt, 0, 0, 0, None))
    stream.finish()
    assert [json.loads(event.to_json())["seq"] for event in sink.events] == list(range(len(sink.events)))
    assert [event for event in sink.events if event.type == "speech.start" and event.t > 0.5]


def test_an_event_that_cannot_be_published_leaves_no_hole(engine: TorchEngine, words: Samples) -> None:
    class Picky(RecordingPublisher):
        def publish(self, event: Event) -> None:
            if event.type == "level" and not self.events[1:]:
                self.events.append(event)
                raise BusError("not this one")
            super().publish(event)

    sink = Picky()
    stream = StreamPipeline("x", RATE, StreamSettings(), offline_shared(VAD, engine, sink), SampleClock())
    with pytest.raises(BusError):
        stream.feed(Span(words, 0, 0, 0, None))
    sink.events.append(sink.events[0])
    stream.announce("error", {"code": "bus", "message": "", "remedy": ""})
    assert sink.events[-1].seq == 0


def test_events_are_the_same_if_only_scores_differ_a_little() -> None:
    def final(text: str, score: float, of_word: float) -> Event:
        data = {"text": text, "score": score, "words": [{"word": text, "score": of_word}]}
        return Event("transcript.final", "desk", 0, 160, 0, 0, data)

    first = final("yes", 0.5, 0.259)
    assert same_event(first, final("yes", 0.5004, 0.2591))
    assert not same_event(first, final("no", 0.5, 0.259))
    assert not same_event(first, final("yes", 0.5, 0.27))
    assert not same_event(first, final("yes", 0.6, 0.259))
