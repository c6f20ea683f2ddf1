"""Recordings as a user's daemon hears them: one after another in a stream, through `auricle stream`.

Shape letters: N samples.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.sounds import NoisePlanner, read_clip, speech_at_reference
from auricle.pipelines.streams import EndlessStream
from auricle.pipelines.targets import HOP_SAMPLES, Floats, hop_levels_db

PAUSE_SAMPLES = 3 * SAMPLE_RATE
"""Between recordings: longer than the silence that ends any utterance."""
FAINT_DB = -80.0
SPEECH_BELOW_DB = 30.0
"""Hops so much fainter than the loudest are no speech."""


class Place(NamedTuple):
    """Where a recording lies in its stream."""

    start_sample: int
    end_sample: int
    speech_end: int


def lay_out(
    corpus: Corpus, clips: Sequence[Clip], noise: NoisePlanner | None, snr_db: float, seed: int
) -> tuple[Floats, list[Place]]:
    """Puts recordings into one stream `(N,)`, pauses between them, with noise all along if wanted.

    Args:
        corpus: where the recordings are.
        clips: in their order.
        noise: makes the noise; None for a faint hiss, which no microphone is without.
        snr_db: how far the noise is below speech.
        seed: of noise and hiss.
    """
    parts, places, start = [np.zeros(PAUSE_SAMPLES, np.float32)], [], PAUSE_SAMPLES
    for clip in clips:
        samples = speech_at_reference(read_clip(corpus, clip))
        levels = hop_levels_db(samples)
        last = int(np.flatnonzero(levels > levels.max() - SPEECH_BELOW_DB)[-1])
        places.append(Place(start, start + len(samples), start + (last + 1) * HOP_SAMPLES))
        parts += [samples, np.zeros(PAUSE_SAMPLES, np.float32)]
        start += len(samples) + PAUSE_SAMPLES
    stream = np.concatenate(parts)
    if noise is None:
        hiss = np.random.default_rng(seed).standard_normal(len(stream)).astype(np.float32)
        return stream + hiss * np.float32(10 ** (FAINT_DB / 20)), places
    heard = EndlessStream(noise.recorded_piece, (seed,)).take(-(-len(stream) // HOP_SAMPLES))[0]
    return stream + heard[: len(stream)] * np.float32(10 ** (-snr_db / 20)), places


def stream_events(stream: Floats, options: Sequence[str]) -> tuple[list[dict[str, Any]], float]:
    """Runs a stream `(N,)` through `auricle stream`.

    Returns:
        Its events, and the processor time it took (s).

    Raises:
        DataError: the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.flac"
        soundfile.write(path, np.clip(stream, -1, 1), SAMPLE_RATE)
        command = [sys.executable, "-m", "auricle.configs.cli", "stream", str(path), "--jsonl", *options]
        before = _child_seconds()
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise DataError(f"`auricle stream` failed: {done.stderr.decode(errors='replace').strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()], _child_seconds() - before


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
