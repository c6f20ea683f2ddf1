"""Recordings through the very same pipeline as live audio, at full speed, dated in sample time."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auricle.configs.errors import AudioError
from auricle.configs.settings import Settings, StreamSettings
from auricle.daemon.bus import EventSink, NullPublisher
from auricle.daemon.clips import ClipWriter
from auricle.daemon.detectors import build_detectors
from auricle.daemon.events import SAMPLE_RATE, Sequencer
from auricle.daemon.resample import check_rate
from auricle.daemon.ring import FloatArray, Span
from auricle.daemon.sources.file import probe, read_blocks
from auricle.daemon.stream import Shared, StreamPipeline
from auricle.daemon.timeline import SampleClock

if TYPE_CHECKING:
    from auricle.models.engine import Engine


def offline_shared(
    settings: Settings, engine: "Engine", sink: EventSink, *, keeps_clips: bool = False
) -> Shared:
    """Loads the models that the settings ask for, for any number of recordings.

    Args:
        settings: what is asked for.
        engine: runs the models.
        sink: takes the events.
        keeps_clips: whether wake phrases go to the user's folder of clips, if there is one.
    """
    clips = ClipWriter(settings.clips, wait=True) if keeps_clips and settings.clips.folder else None
    return Shared(settings, engine, tuple(build_detectors(settings, engine)), sink, Sequencer(), clips)


def stream_file(path: Path, shared: Shared, name: str = "") -> float:
    """Runs one file through a pipeline of its own and publishes its events.

    Args:
        path: wav, flac, ogg or mp3, at any rate and with any number of channels (mixed to one).
        shared: configuration, models and sink.
        name: the stream's name (default: the path).

    Returns:
        Seconds of audio processed.

    Raises:
        FormatError: the file is missing, empty, corrupt, no audio, or at a rate beyond use.
    """
    rate = probe(path).rate
    check_rate(rate, str(path), "resample it, to 16000 Hz at best")
    block_samples = max(1, rate * shared.settings.pipeline.chunk_ms // 1000)
    total = stream_blocks(read_blocks(path, block_samples), rate, shared, name or str(path))
    return total / rate


def stream_blocks(blocks: Iterable[FloatArray], rate: int, shared: Shared, name: str) -> int:
    """Runs blocks of mono samples through a pipeline of their own; returns how many samples there were."""
    pipeline = StreamPipeline(name, rate, StreamSettings(), shared, SampleClock())
    total = 0
    try:
        for block in blocks:
            pipeline.feed(Span(block, total, 0, 0, None))
            total += len(block)
    except AudioError:  # a file that breaks off: what was heard of it counts
        pipeline.finish()
        raise
    pipeline.finish()
    return total


def warm_up(shared: Shared) -> None:
    """Runs a second of faint noise through a pipeline of its own: the first steps of a model take seconds."""
    silent = replace(shared, sink=NullPublisher(), sequencer=Sequencer(), clips=None)
    noise = np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE).astype(np.float32)
    stream_blocks([noise], SAMPLE_RATE, silent, "warm-up")
