"""Transcripts from a transducer: what the daemon publishes, at every chunk size."""

from itertools import pairwise
from pathlib import Path

import foreign
import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.configs.loader import load
from auricle.daemon.bundled import FOLDER
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.events import Event
from auricle.daemon.offline import offline_shared, stream_blocks
from auricle.daemon.sources.file import read_blocks
from auricle.daemon.transducer_decoder import TransducerDecoder, transducer_detector
from auricle.models.engine import TorchEngine

RATE = 16_000
Samples = NDArray[np.float32]


@pytest.fixture(name="sherpa", scope="module")
def _sherpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign.write_sherpa(tmp_path_factory.mktemp("models") / "lstm-en", foreign.Weights())


@pytest.fixture(name="words", scope="module")
def _words() -> Samples:
    return np.concatenate(list(read_blocks(FOLDER / "kitchen.flac", RATE)))[: 5 * RATE]


def events_of(folder: Path, samples: Samples, chunk_ms: int, beam: int = 1) -> list[Event]:
    asked = ["transcript.enabled=true", f"transcript.model={folder}", f"transcript.transducer_beam={beam}"]
    settings = load("vad", [f"pipeline.chunk_ms={chunk_ms}", "transcript.partial_ms=240", *asked])
    sink = RecordingPublisher()
    stream_blocks([samples], RATE, offline_shared(settings, TorchEngine(), sink), "words")
    return sink.events


def test_what_is_said_is_written_down_as_speech_comes_and_goes(sherpa: Path, words: Samples) -> None:
    events = events_of(sherpa, words, 20)
    finals = [event for event in events if event.type == "transcript.final"]
    partials = [event for event in events if event.type == "transcript.partial"]
    assert finals and len(partials) > 3
    for final in finals:
        data = final.data
        assert data["text"] == " ".join(word["word"] for word in data["words"])
        assert 0 <= data["start_sample"] <= data["end_sample"] <= final.sample
        times = [word["start"] for word in data["words"]]
        assert times == sorted(times)
        assert final.model is not None and final.model.startswith("lstm-en@")
    first = [event for event in partials if event.sample < finals[0].sample]
    for one, other in zip(first, [*first[1:], finals[0]], strict=True):
        # A greedy search never takes back what it has found.
        assert one.data["stable_chars"] == len(one.data["text"])
        assert other.data["text"].startswith(one.data["text"])
    assert min(after.sample - before.sample for before, after in pairwise(first)) >= 240 * 16


@pytest.mark.parametrize("beam", [1, 3])
def test_transcripts_do_not_depend_on_chunks(sherpa: Path, words: Samples, beam: int) -> None:
    expected = events_of(sherpa, words, 10, beam)
    assert any(event.type == "transcript.final" for event in expected)
    for chunk_ms in (30, 500):
        found = events_of(sherpa, words, chunk_ms, beam)
        assert [(e.type, e.sample, e.data.get("text")) for e in found] == [
            (e.type, e.sample, e.data.get("text")) for e in expected
        ]


def test_another_kind_of_model_is_refused(sherpa: Path) -> None:
    engine = TorchEngine()
    search = engine.transducer_search(engine.load(str(sherpa)))
    with pytest.raises(ModelError, match="no folder vad; expected one with a transducer"):
        transducer_detector(load("vad", ["transcript.enabled=true", "transcript.model=vad"]), engine)
    with pytest.raises(ModelError, match="expected a transducer"):
        TransducerDecoder(engine.load("vad"), search, 0)
