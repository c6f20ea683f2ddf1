"""Silero VAD through the engine and the daemon: the package's own figures, at every chunk size."""

import importlib.metadata
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from streaming import assert_alone_like_batched, assert_resumes, assert_streams_like_offline

from auricle.configs.errors import ModelError
from auricle.configs.loader import load
from auricle.daemon.bundled import FOLDER
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.events import Event
from auricle.daemon.offline import offline_shared, stream_blocks
from auricle.daemon.posteriors import posteriors
from auricle.daemon.sources.file import read_blocks
from auricle.models.engine import TorchEngine
from auricle.models.imported import silero
from auricle.models.imported.frontends import WindowConfig, Windows
from auricle.models.imported.silero import Silero, find_silero

RATE = 16_000
Samples = NDArray[np.float32]


@pytest.fixture(name="engine", scope="module")
def _engine() -> TorchEngine:
    torch.set_num_threads(1)
    return TorchEngine()


@pytest.fixture(name="words", scope="module")
def _words() -> Samples:
    return np.concatenate(list(read_blocks(FOLDER / "kitchen.flac", RATE)))


@pytest.fixture(name="expected", scope="module")
def _expected(words: Samples) -> Samples:
    """What the package's TorchScript model says of each window."""
    model = package_model()
    model.reset_states()
    padded = np.zeros(-(-len(words) // 512) * 512, np.float32)
    padded[: len(words)] = words
    with torch.inference_mode():
        return np.array([model(torch.from_numpy(row), RATE).item() for row in padded.reshape(-1, 512)])


def package_model() -> Any:
    from silero_vad import load_silero_vad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load
        return load_silero_vad()


@pytest.mark.parametrize("chunk_ms", [10, 30, 80, 500])
def test_posteriors_are_those_of_the_package(
    engine: TorchEngine, words: Samples, expected: Samples, chunk_ms: int
) -> None:
    assert 0.2 < (expected > 0.5).mean() < 0.8
    times, found = posteriors(words, engine.load("silero"), engine, chunk_ms * 16)
    assert found.shape == (len(expected), 1)
    assert np.abs(found[:, 0] - expected).max() < 1e-5
    assert times[0] == 512 / RATE


def test_segments_agree_with_the_packages_own_search(engine: TorchEngine, words: Samples) -> None:
    from silero_vad import get_speech_timestamps

    theirs = get_speech_timestamps(torch.from_numpy(words), package_model(), min_silence_duration_ms=400)
    found = events_of(words, engine, 20, 4000, "vad.min_speech_ms=250", "vad.preroll_ms=0")
    stops = [event.data for event in found if event.type == "speech.stop"]
    assert len(theirs) == len(stops) > 3
    for segment, stop in zip(theirs, stops, strict=True):
        # A dip within the first 250 ms begins speech anew here, not there.
        assert abs(segment["start"] - stop["start_sample"]) < 0.2 * RATE
        assert abs(segment["end"] - stop["end_sample"]) < 0.1 * RATE


def events_of(
    samples: Samples, engine: TorchEngine, chunk_ms: int, block: int = 4000, *more: str
) -> list[Event]:
    sink = RecordingPublisher()
    overrides = ["vad.model=silero", f"pipeline.chunk_ms={chunk_ms}", "pipeline.highpass_hz=0"]
    options = load("vad", [*overrides, *more])
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    stream_blocks(blocks, RATE, offline_shared(options, engine, sink), "words")
    return sink.events


@settings(max_examples=8, deadline=None)
@given(hops=st.integers(1, 60), block=st.integers(1, 12_000))
def test_no_chunk_size_changes_an_event(engine: TorchEngine, words: Samples, hops: int, block: int) -> None:
    short = words[: 5 * RATE]
    expected = [event.to_json() for event in events_of(short, engine, 10)]
    assert sum(b"speech.start" in event for event in expected) > 1
    assert [event.to_json() for event in events_of(short, engine, 10 * hops, block)] == expected


def test_beside_a_keyword_model_the_keywords_stay_what_they_are(engine: TorchEngine, words: Samples) -> None:
    def keywords(vad: str) -> list[Any]:
        sink = RecordingPublisher()
        shared = offline_shared(load(None, [f"vad.model={vad}"]), engine, sink)
        stream_blocks([words], RATE, shared, "words")
        return [(event.sample, event.data) for event in sink.events if event.type == "keyword"]

    assert keywords("silero") == keywords("vad")
    assert len(keywords("silero")) > 3


@pytest.fixture(name="network", scope="module")
def _network() -> Silero:
    return Silero(find_silero())


def test_streams_do_not_mix_and_resume(network: Silero, words: Samples) -> None:
    heard = torch.from_numpy(np.stack([words[:20_480], words[40_000:60_480]]))
    frontend = Windows(silero.FRONTEND)
    windows, _ = frontend(heard, frontend.initial_state(2))
    assert windows.shape == (2, 40, 576)
    assert_alone_like_batched(network, windows)
    assert_resumes(network, windows, 1)
    assert_streams_like_offline(network, windows, [1, 3, 2])
    assert_resumes(frontend, heard, 160)


def test_a_stored_state_is_restored_by_the_engine(engine: TorchEngine, words: Samples) -> None:
    model = engine.load("silero")
    frames = np.random.default_rng(0).standard_normal((1, 4, 576)).astype(np.float32)
    _, state = engine.infer(model, frames, engine.model_state(model))
    restored = engine.restore_state(engine.dump_state(state), engine.model_state(model))
    assert np.array_equal(engine.infer(model, frames, state)[0], engine.infer(model, frames, restored)[0])


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=6))
def test_windows_do_not_depend_on_chunks(sizes: list[int]) -> None:
    frontend = Windows(WindowConfig(hop_samples=512, context_samples=64))
    assert_streams_like_offline(frontend, torch.randn(2, 5000), sizes)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(silero, "distribution", missing)
    with pytest.raises(ModelError, match="pip install onnxruntime silero-vad"):
        TorchEngine().load("silero")


def test_without_onnxruntime_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="pip install onnxruntime"):
        TorchEngine().load("silero")


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / silero.FILE
    changed.write_bytes(find_silero().read_bytes() + b"x")

    class Moved(importlib.metadata.PathDistribution):
        def locate_file(self, path: object) -> Path:
            return changed

    real = importlib.metadata.distribution(silero.PACKAGE)
    monkeypatch.setattr(silero, "distribution", lambda name: Moved(real._path))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="was changed since it was installed"):
        find_silero()
