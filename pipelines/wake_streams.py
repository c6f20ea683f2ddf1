"""Recordings one after another in streams, as an acoustic model hears them with its state carried.

Shape letters: B streams, N samples, J output frames, V labels, P phrases.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.checkpoint import load_model
from auricle.models.decoding.phrases import Array, PhraseSearch
from auricle.models.frontend import LogMel
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.dev import CHUNK_FRAMES, lay_out
from auricle.pipelines.sounds import read_clip, speech_at_reference, split_noise
from auricle.pipelines.streams import EndlessStream, Piece, Placed
from auricle.pipelines.targets import HOP_SAMPLES

GAP_SAMPLES = SAMPLE_RATE * 4 // 10
"""Silence after each recording."""
SEED = 60_000


class Laid(NamedTuple):
    """Recordings in streams; the note of each place is its clip."""

    samples: torch.Tensor  # (B, N)
    placed: list[Placed]

    @property
    def hours(self) -> float:
        """Duration of all streams, silence included."""
        return self.samples.numel() / SAMPLE_RATE / 3600


class Ear:
    """An acoustic model that listens to streams."""

    def __init__(self, path: Path) -> None:
        """Reads the model file."""
        self.path = path
        self.spec, self.network, self.digest = load_model(path)
        self.frontend = LogMel(self.spec.frontend)

    @property
    def frame_s(self) -> float:
        """Duration of an output frame."""
        return self.spec.frame_samples / SAMPLE_RATE

    @torch.inference_mode()
    def hear(self, samples: torch.Tensor) -> Array:
        """Log-probabilities `(B, J, V)` of streams `(B, N)`, N whole chunks."""
        heard, parts = self.network.initial_state(len(samples)), []
        front = self.frontend.initial_state(len(samples))
        for chunk in torch.split(samples, CHUNK_FRAMES * HOP_SAMPLES, dim=1):
            features, front = self.frontend(chunk, front)
            logits, heard = self.network(features, heard)
            parts.append(logits.log_softmax(-1))
        found: Array = torch.cat(parts, 1).numpy()
        return found


def lay_clips(corpus: Corpus, clips: Sequence[Clip], streams: int) -> Laid:
    """Lays recordings at the reference level one after another, silence after each."""
    silence = np.zeros(GAP_SAMPLES, np.float32)
    nothing = np.zeros(0, np.int16)
    pieces = [
        Piece(np.concatenate([speech_at_reference(read_clip(corpus, clip)), silence]), nothing, clip)
        for clip in clips
    ]
    samples, placed = lay_out(pieces, streams)
    return Laid(samples, placed)


def recorded_noise(corpus: Corpus, part: str, shape: Sequence[int]) -> torch.Tensor:
    """Recorded noise at the reference level, with shape `(B, N)`, N whole hops."""
    planner = split_noise(corpus, part)
    rows = [
        EndlessStream(planner.recorded_piece, (SEED, row)).take(shape[1] // HOP_SAMPLES)[0]
        for row in range(shape[0])
    ]
    return torch.from_numpy(np.stack(rows))


def in_noise(samples: torch.Tensor, noise: torch.Tensor, snr_db: float | Sequence[float]) -> torch.Tensor:
    """Adds noise `(B, N)` at a signal-to-noise ratio, or at one for each stream."""
    gains = 10 ** (-torch.as_tensor(snr_db, dtype=torch.float32).reshape(-1, 1) / 20)
    return samples + noise * gains


def scan(log_probs: Array, search: PhraseSearch) -> tuple[Array, NDArray[np.int64]]:
    """Scores of phrases in every frame, and where their best paths began, each with shape `(B, J, P)`."""
    state, scores, starts = search.initial_state(len(log_probs)), [], []
    for frame in range(log_probs.shape[1]):
        found, state = search.step(log_probs[:, frame], state)
        scores.append(found.score)
        starts.append(found.start)
    return np.stack(scores, 1), np.stack(starts, 1)
