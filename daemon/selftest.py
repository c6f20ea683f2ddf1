"""Proof on the user's machine: chunk size changes nothing, streaming equals offline, state never leaks.

Shape letters: N samples, T frames, V labels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from auricle.configs.settings import Settings
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.detectors import build_detectors
from auricle.daemon.events import Event
from auricle.daemon.offline import offline_shared, stream_blocks, stream_file
from auricle.daemon.posteriors import file_posteriors
from auricle.daemon.sources.file import probe, read_blocks

if TYPE_CHECKING:
    from auricle.models.engine import Engine, ModelInfo

CHUNKS_MS = (10, 30, 80, 500)
POSTERIOR_TOLERANCE = 1e-4
"""Largest difference of a posterior between chunk sizes: float32 kernels add in another order."""
SCORE_TOLERANCE = 1e-3
"""The same for scores in events; types, labels and samples must be equal."""


class Check(NamedTuple):
    """Outcome of one check."""

    name: str
    passed: bool
    detail: str


def run_checks(files: Sequence[Path], settings: Settings, engine: "Engine") -> Iterator[Check]:
    """Yields the outcome of each check as it is known: configured models, then all that are installed."""
    from auricle.models.zoo import shipped

    for path in files:
        reference = file_events(path, settings, engine, CHUNKS_MS[0])
        for chunk_ms in CHUNKS_MS[1:]:
            yield check_events(path, chunk_ms, reference, file_events(path, settings, engine, chunk_ms))
        yield check_isolation(path, settings, engine)
    configured = [detector.model for detector in build_detectors(settings, engine)]
    installed = [engine.load(name) for name in shipped()]
    for model in {model.name: model for model in [*installed, *configured]}.values():
        for path in files:
            yield check_posteriors(path, model, settings, engine)


def with_chunk(settings: Settings, chunk_ms: int) -> Settings:
    """The same settings with another chunk size."""
    pipeline = settings.pipeline.model_copy(update={"chunk_ms": chunk_ms})
    return settings.replace(pipeline=pipeline)


def file_events(path: Path, settings: Settings, engine: "Engine", chunk_ms: int) -> list[Event]:
    """All events of a file at a chunk size."""
    sink = RecordingPublisher()
    stream_file(path, offline_shared(with_chunk(settings, chunk_ms), engine, sink), name=path.name)
    return sink.events


def check_events(path: Path, chunk_ms: int, expected: list[Event], found: list[Event]) -> Check:
    """Compares two runs event by event."""
    name = f"{path.name}: events at {chunk_ms} ms as at {CHUNKS_MS[0]} ms"
    if len(expected) != len(found):
        return Check(name, False, f"{len(expected)} and {len(found)} events")
    for one, other in zip(expected, found, strict=True):
        if not same_event(one, other):
            return Check(name, False, f"{one.to_json().decode()} became {other.to_json().decode()}")
    equal = sum(one.to_json() == other.to_json() for one, other in zip(expected, found, strict=True))
    return Check(name, True, f"{equal} of {len(expected)} events equal to the byte")


def same_event(one: Event, other: Event) -> bool:
    """Whether two events say the same, scores, those of words too, within `SCORE_TOLERANCE`."""
    scores: list[float] = []
    others: list[float] = []
    if _without_scores(one.raw, scores) != _without_scores(other.raw, others) or len(scores) != len(others):
        return False
    return all(abs(a - b) <= SCORE_TOLERANCE for a, b in zip(scores, others, strict=True))


def _without_scores(value: Any, scores: list[float]) -> Any:
    """The same without any `score` in it; those go to `scores`, in order."""
    if isinstance(value, list):
        return [_without_scores(entry, scores) for entry in value]
    if not isinstance(value, dict):
        return value
    scores += [entry for key, entry in value.items() if key == "score"]
    return {key: _without_scores(entry, scores) for key, entry in value.items() if key != "score"}


def check_posteriors(path: Path, model: "ModelInfo", settings: Settings, engine: "Engine") -> Check:
    """Compares a model's posteriors at all chunk sizes with those of the file in one piece."""
    rate = probe(path).rate
    frames = sum(len(block) for block in read_blocks(path, rate))  # a header may not tell, or estimate
    whole_ms = -(-round(1000 * frames / rate) // 10) * 10 + 1000
    highpass_hz = settings.pipeline.highpass_hz
    _, expected = file_posteriors(path, model, engine, highpass_hz, whole_ms)
    worst = 0.0
    for chunk_ms in CHUNKS_MS:
        _, found = file_posteriors(path, model, engine, highpass_hz, chunk_ms)
        worst = max(worst, float(np.abs(found - expected).max()))
    name = f"{path.name}: {model.name} streamed as in one piece"
    return Check(name, worst <= POSTERIOR_TOLERANCE, f"largest difference {worst:.1e}")


def check_isolation(path: Path, settings: Settings, engine: "Engine") -> Check:
    """Runs the file again after another stream has used the same engine: nothing may be left over."""
    alone = file_events(path, settings, engine, CHUNKS_MS[1])
    sink = RecordingPublisher()
    shared = offline_shared(with_chunk(settings, CHUNKS_MS[1]), engine, sink)
    rate = probe(path).rate
    backwards = [block[::-1].copy() for block in read_blocks(path, rate)]
    stream_blocks(backwards, rate, shared, "other")
    sink.events.clear()
    stream_file(path, shared, name=path.name)
    same = [event.to_json() for event in alone] == [event.to_json() for event in sink.events]
    return Check(
        f"{path.name}: nothing left over from another stream", same, f"{len(alone)} events, equal to the byte"
    )
