"""A model's posteriors over a recording, computed by the streaming path.

Shape letters: T output frames, V labels.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ConfigError
from auricle.configs.settings import HOP_MS
from auricle.daemon.dsp import HighPass, bounded
from auricle.daemon.events import SAMPLE_RATE
from auricle.daemon.lane import ModelLane
from auricle.daemon.resample import Resampler
from auricle.daemon.sources.file import probe, read_blocks

if TYPE_CHECKING:
    from auricle.models.engine import Engine, ModelInfo

Array = NDArray[np.float32]


def file_posteriors(
    path: Path, model: "ModelInfo", engine: "Engine", highpass_hz: float, chunk_ms: int
) -> tuple[list[float], Array]:
    """Runs `model` over a file in chunks of `chunk_ms`, after a high-pass at `highpass_hz` (0: none).

    Returns:
        The end of each frame in seconds, look-ahead taken off, and the posteriors `(T, V)`.

    Raises:
        ConfigError: `chunk_ms` is no positive multiple of 10.
        FormatError: the file cannot be read.
    """
    if chunk_ms < HOP_MS or chunk_ms % HOP_MS:
        raise ConfigError(f"expected chunks of a multiple of {HOP_MS} ms, got {chunk_ms}")
    rate = probe(path).rate
    resampler, highpass = Resampler(rate), HighPass(highpass_hz)
    parts = [resampler.process(block) for block in read_blocks(path, rate)]
    parts.append(resampler.process(np.empty(0, dtype=np.float32), last=True))
    samples = highpass.process(bounded(np.concatenate(parts)))
    return posteriors(samples, model, engine, chunk_ms * SAMPLE_RATE // 1000)


def posteriors(
    samples: Array, model: "ModelInfo", engine: "Engine", chunk_samples: int
) -> tuple[list[float], Array]:
    """Runs `model` over 16 kHz samples `(N,)`, silence added for the last frame and the look-ahead."""
    lookahead = model.lookahead_frames
    frames = -(-len(samples) // model.frame_samples) + lookahead
    padded = np.zeros(frames * model.frame_samples + model.frontend.delay_samples, dtype=np.float32)
    padded[: len(samples)] = samples
    lane = ModelLane(model, (), engine)
    state: Any = engine.frontend_state(model.frontend)
    found: list[Array] = []
    for start in range(0, len(padded), chunk_samples):
        features, state = engine.features(model.frontend, padded[None, start : start + chunk_samples], state)
        found.append(lane.infer(features[0])[:, : model.outputs])
    posterior = np.concatenate(found)[lookahead:]
    times = [(index + 1) * model.frame_samples / SAMPLE_RATE for index in range(len(posterior))]
    return times, posterior
