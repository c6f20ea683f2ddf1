"""Recordings one after another in streams, as an acoustic model hears them with its state carried.

Shape letters: B streams, N samples, J output frames, V labels, H hidden values, P phrases.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.checkpoint import load_model
from auricle.models.decoding.background import SUFFIX_OF_SECOND, load_background
from auricle.models.decoding.phrases import Array, PhraseSearch, PhraseSearchSettings, Way
from auricle.models.decoding.second_look import FirstPass, SecondLook
from auricle.models.decoding.spotting import SETTLE_FRAMES
from auricle.models.decoding.verifier import candidates
from auricle.models.frontend import LogMel
from auricle.models.second_pass import SECOND_SUFFIX, SecondPass, load_second_pass
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.dev import CHUNK_FRAMES, lay_out
from auricle.pipelines.sounds import NoiseConfig, read_clip, speech_at_reference, split_noise
from auricle.pipelines.streams import EndlessStream, Piece, Placed
from auricle.pipelines.targets import HOP_SAMPLES

GAP_SAMPLES = SAMPLE_RATE * 4 // 10
"""Silence after each recording."""
SEED = 60_000
COLOURED_PART = 0.3
ALONE_DB = (-30.0, 15.0)
"""Levels of noise that stands alone, about the reference level."""
SCANNED_AT_ONCE = 32
"""Phrases that are searched for at once: of all of them, hours of scores would take gigabytes."""
NEVER = -1e3
"""The score of what is no candidate."""


class Laid(NamedTuple):
    """Recordings in streams; the note of each place is its clip."""

    samples: torch.Tensor  # (B, N)
    placed: list[Placed]

    @property
    def hours(self) -> float:
        """Duration of all streams, silence included."""
        return self.samples.numel() / SAMPLE_RATE / 3600


class Heard(NamedTuple):
    """What a model made of streams."""

    log_probs: Array  # (B, J, V)
    hidden: Array | None  # (B, J, H), float16, for a second pass


class Ear:
    """An acoustic model that listens to streams, and the second pass that may lie beside it.

    The second pass is read when it is first asked for.
    """

    def __init__(self, path: Path) -> None:
        """Reads the model file."""
        self.path = path
        self.spec, self.network, self.digest = load_model(path)
        self.frontend = LogMel(self.spec.frontend)
        self.second_path = path.with_suffix(SECOND_SUFFIX)

    @cached_property
    def _second(self) -> tuple[SecondPass | None, str]:
        if not self.second_path.exists():
            return None, ""
        return load_second_pass(self.second_path, self.digest, self.spec.network)

    @property
    def second(self) -> SecondPass | None:
        """The second pass, if there is one.

        Raises:
            ModelError: it is damaged, or belongs to other weights.
        """
        return self._second[0]

    @property
    def second_digest(self) -> str:
        """Its hash; "" without one."""
        return self._second[1]

    @property
    def frame_s(self) -> float:
        """Duration of an output frame."""
        return self.spec.frame_samples / SAMPLE_RATE

    def hear(self, samples: torch.Tensor) -> Array:
        """Log-probabilities `(B, J, V)` of streams `(B, N)`, N whole chunks."""
        return self.hear_all(samples, hidden=False).log_probs

    @torch.inference_mode()
    def hear_all(self, samples: torch.Tensor, *, hidden: bool = True) -> Heard:
        """What the model made of streams `(B, N)`, N whole chunks, for a second pass, too."""
        heard, found, kept = self.network.initial_state(len(samples)), [], []
        front = self.frontend.initial_state(len(samples))
        for chunk in torch.split(samples, CHUNK_FRAMES * HOP_SAMPLES, dim=1):
            features, front = self.frontend(chunk, front)
            values, heard = self.network.hidden(features, heard)
            found.append(self.network.logits(values).log_softmax(-1))
            if hidden and self.second:
                kept.append(values.half())
        return Heard(torch.cat(found, 1).numpy(), torch.cat(kept, 1).numpy() if kept else None)

    @torch.inference_mode()
    def look_again(self, hidden: Array) -> Array:
        """What the second pass makes of hidden values `(B, J, H)`: posteriors `(B, J, V)`."""
        assert self.second is not None
        found: Array = self.second(torch.from_numpy(hidden).float()).softmax(-1).numpy()
        return found

    def look_at_one(self, hidden: Array) -> Array:
        """The same for one window, `(J, H)`."""
        found: Array = self.look_again(hidden[None])[0]
        return found

    def second_look(self, judged_on: str = "") -> SecondLook | None:
        """What looks again at wake phrases, with its background; None without one.

        Args:
            judged_on: a split that is not to be part of the background.

        Raises:
            ModelError: the background is damaged, or belongs to another second pass.
        """
        path = self.path.with_suffix(SUFFIX_OF_SECOND)
        if self.second is None or not path.exists():
            return None
        background = load_background(path, self.second_digest, "second pass")
        return SecondLook(background.without(judged_on), self.look_at_one)


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


def noise_alone(corpus: Corpus, part: str, streams: int, seconds: float) -> torch.Tensor:
    """Noise alone, recorded and coloured, each stream at a level of its own, with shape `(B, N)`."""
    planner = split_noise(corpus, part, NoiseConfig(coloured_part=COLOURED_PART))
    rows = []
    for row in range(streams):
        level_db = np.random.default_rng((SEED, row, 1)).uniform(*ALONE_DB)
        noise = EndlessStream(planner, (SEED, row, 2)).take(round(seconds * SAMPLE_RATE) // HOP_SAMPLES)[0]
        rows.append(noise * np.float32(10 ** (level_db / 20)))
    return torch.from_numpy(np.clip(np.stack(rows), -1, 1))


def in_noise(samples: torch.Tensor, noise: torch.Tensor, snr_db: float | Sequence[float]) -> torch.Tensor:
    """Adds noise `(B, N)` at a signal-to-noise ratio, or at one for each stream."""
    gains = 10 ** (-torch.as_tensor(snr_db, dtype=torch.float32).reshape(-1, 1) / 20)
    return samples + noise * gains


def scan(
    log_probs: Array, search: PhraseSearch, parts: NDArray[np.intp] | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """Scores of phrases in every frame, and where their best paths began, each with shape `(B, J, P)`.

    Args:
        log_probs: streams.
        search: the phrases.
        parts: to which part of its stream each frame belongs, `(B, J)`; what reaches from one into another
            scores `NEVER`.
    """
    state, scores, starts = search.initial_state(len(log_probs)), [], []
    row = np.arange(len(log_probs))[:, None]
    for frame in range(log_probs.shape[1]):
        found, state = search.step(log_probs[:, frame], state)
        own = True if parts is None else parts[row, found.start] == parts[:, frame, None]
        scores.append(np.where(own, found.score, np.float32(NEVER)))
        starts.append(found.start)
    return np.stack(scores, 1), np.stack(starts, 1)


def scan_again(
    heard: Heard,
    phrases: Sequence[Sequence[Way]],
    search: PhraseSearchSettings,
    look: SecondLook,
    fires: Sequence[float],
    *,
    parts: NDArray[np.intp] | None = None,
) -> Array:
    """Scores of phrases at the second look, `NEVER` where no candidate ends, with shape `(B, J, P)`.

    Args:
        heard: streams, with hidden values.
        phrases: the ways to say each.
        search: how the first pass is searched.
        look: the second pass.
        fires: the score of each phrase from which on the search fires candidates.
        parts: to which part of its stream each frame belongs, `(B, J)`; no candidate reaches from one into
            another.
    """
    assert heard.hidden is not None
    found = np.full((*heard.log_probs.shape[:2], len(phrases)), NEVER, np.float32)
    streams = [FirstPass(*stream) for stream in zip(heard.log_probs, heard.hidden, strict=True)]
    for begin in range(0, len(phrases), SCANNED_AT_ONCE):
        own = phrases[begin : begin + SCANNED_AT_ONCE]
        scores, starts = scan(heard.log_probs, PhraseSearch(own, search), parts)
        for (number, ways), (row, stream) in product(enumerate(own), enumerate(streams)):
            least = fires[begin + number]
            for one in candidates(scores[row, :, number], starts[row, :, number], least):
                newest = min(one.frame + SETTLE_FRAMES, len(stream.hidden) - 1)
                so_far = FirstPass(*(values[: newest + 1] for values in stream))
                found[row, one.frame, begin + number] = look.score(
                    ways, so_far, one.frame + 1 - one.start, newest - one.frame
                )
    return found
