"""Clips made ready to mix: speech and noise at the reference level, and the planner of noise streams."""

import zlib
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import soxr

from auricle.configs.errors import DataError
from auricle.pipelines.augment import REFERENCE_DB
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.streams import Piece
from auricle.pipelines.targets import HOP_SAMPLES, Floats, active_level_db, hop_levels_db

T = TypeVar("T")

MISLABELLED = frozenset({"music-198-209-0000", "music-3436-172162-0000", "music-5703-47212-0000"})
"""Listed as music, but read speech."""
VOICES = MISLABELLED | {
    "ccc-BAB4",
    "music-Karissa_Hobbs_-_Lets_Go_Fishin",
    "sc-dude_miaowing",
}
"""Noise in which people talk or sing: no example of "no speech"."""
DEV_SOURCES = 6
"""One noise source in so many is kept for dev (by a checksum of its name)."""
LONGEST_WEIGHT_S = 20.0


@dataclass(frozen=True)
class NoiseConfig:
    """What noise streams are made of."""

    sets: tuple[str, ...] = ("noise", "ambience")
    coloured_part: float = 0.15
    babble_part: float = 0.1
    babble_voices: int = 6
    shortest_s: float = 1.5
    longest_s: float = 8.0


def noise_source(clip: Clip) -> str:
    """Names the recording that a noise clip was cut from: several clips may share one."""
    parts = clip.id.split("-")
    return parts[2] if clip.id.startswith("esc10-") and len(parts) > 2 else clip.id


def _sources_of(part: str, sources: AbstractSet[str]) -> AbstractSet[str]:
    """Those of some sources of noise that train or dev has; each has one at least, though there are few."""
    drawn = {source: zlib.crc32(source.encode()) for source in sources}
    if len(drawn) < 2:
        return sources
    dev = {source for source, number in drawn.items() if number % DEV_SOURCES == 0}
    if not dev or dev == sources:
        dev = {min(sources, key=lambda source: drawn[source])}
    return dev if part == "dev" else sources - dev


def noise_clips(corpus: Corpus, sets: Sequence[str], part: str, *, voices: bool = False) -> list[Clip]:
    """Lists noise, without what holds speech unless `voices`.

    There is no dev split of noise: `part` "train" and "dev" share the train split, source by source, or both
    have the only source there is. Of "eval" those are left out that were cut from a recording of which
    another piece is in train.
    """
    learnt = [clip for name in sets for clip in corpus.clips(name, "train")]
    if part == "eval":
        known = {noise_source(clip) for clip in learnt}
        heard = [clip for name in sets for clip in corpus.clips(name, "eval")]
        kept = [clip for clip in heard if noise_source(clip) not in known]
    else:
        usable = [clip for clip in learnt if clip.id not in (MISLABELLED if voices else VOICES)]
        own = _sources_of(part, {noise_source(clip) for clip in usable})
        kept = [clip for clip in usable if noise_source(clip) in own]
    if not kept:
        raise DataError(f"no {part} noise in {', '.join(sets)}: name sets of noise in data.noise.sets")
    return kept


def read_clip(corpus: Corpus, clip: Clip, start: int = 0, length: int | None = None) -> Floats:
    """Returns a stretch of a clip as floats, as loud as it was recorded."""
    samples = corpus.audio(clip)[start : None if length is None else start + length]
    return samples.astype(np.float32) * np.float32(1 / 32768)


def change_speed(samples: Floats, speed: float) -> Floats:
    """Plays faster (`speed` above 1) or slower, pitch included."""
    if abs(speed - 1.0) < 1e-3 or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, "MQ"), np.float32)


def to_reference(samples: Floats, level_db: float, offset_db: float = 0.0) -> Floats:
    """Scales samples of the given level to the reference level plus an offset."""
    if level_db < -75.0:
        return samples
    return samples * np.float32(10 ** ((REFERENCE_DB + offset_db - level_db) / 20))


def speech_at_reference(samples: Floats, offset_db: float = 0.0) -> Floats:
    """Scales a recording so that its active speech has the reference level plus an offset."""
    return to_reference(samples, active_level_db(hop_levels_db(samples)), offset_db)


def noise_level_db(samples: Floats) -> float:
    """Mean level of all that is not digital silence."""
    levels = hop_levels_db(samples)
    heard = levels[levels > -85.0]
    return float(10 * np.log10(np.mean(10 ** (heard / 10)))) if len(heard) else -100.0


def coloured_noise(rng: np.random.Generator, count: int) -> Floats:
    """Draws noise whose power falls by 0 (white) to 9 dB per octave, at the reference level."""
    spectrum = rng.standard_normal(count // 2 + 1) + 1j * rng.standard_normal(count // 2 + 1)
    hertz = np.maximum(np.arange(len(spectrum)) * (SAMPLE_RATE / count), 30.0)
    samples = np.fft.irfft(spectrum * hertz ** -rng.uniform(0.0, 1.5), count).astype(np.float32)
    return to_reference(samples, noise_level_db(samples))


class NoisePlanner:
    """Makes pieces of noise at the reference level: recordings, coloured noise, babble."""

    def __init__(
        self, corpus: Corpus, clips: Sequence[Clip], babblers: Sequence[Clip], config: NoiseConfig
    ) -> None:
        """Takes clips of noise, clips of speech for babble, and the mixture."""
        self.corpus, self.clips, self.babblers, self.config = corpus, clips, babblers, config
        self.draw_clip = weighted(clips, [min(clip.seconds, LONGEST_WEIGHT_S) for clip in clips])

    def __call__(self, rng: np.random.Generator) -> Piece:
        """Draws a piece; it has no targets of its own."""
        count = int(rng.uniform(self.config.shortest_s, self.config.longest_s) * SAMPLE_RATE)
        kind = rng.random()
        if kind < self.config.coloured_part:
            samples = coloured_noise(rng, count)
        elif kind < self.config.coloured_part + self.config.babble_part and self.babblers:
            samples = self._babble(rng, count)
        else:
            samples = self.recorded(rng, count)
        return Piece(samples, np.zeros(len(samples) // HOP_SAMPLES, np.int16))

    def recorded_piece(self, rng: np.random.Generator) -> Piece:
        """Draws a piece of a recording, nothing made up."""
        samples = self.recorded(rng, int(self.config.longest_s * SAMPLE_RATE))
        return Piece(samples, np.zeros(len(samples) // HOP_SAMPLES, np.int16))

    def recorded(self, rng: np.random.Generator, count: int) -> Floats:
        """Draws up to so many samples of a recording, at the reference level."""
        clip = self.draw_clip(rng)
        start = int(rng.integers(max(1, clip.length_samples - count)))
        samples = read_clip(self.corpus, clip, start, count)
        return to_reference(samples, noise_level_db(samples))

    def _babble(self, rng: np.random.Generator, count: int) -> Floats:
        mixed = np.zeros(count, np.float32)
        for _ in range(int(rng.integers(3, self.config.babble_voices + 1))):
            clip = self.babblers[int(rng.integers(len(self.babblers)))]
            voice = speech_at_reference(read_clip(self.corpus, clip, 0, count), rng.uniform(-6, 0))
            mixed += np.resize(voice, count)
        return to_reference(mixed, noise_level_db(mixed))


def split_noise(corpus: Corpus, split: str, config: NoiseConfig | None = None) -> NoisePlanner:
    """All recorded noise of a split, to judge in; from the usual sets if None are given."""
    config = config or NoiseConfig()
    return NoisePlanner(corpus, noise_clips(corpus, config.sets, split), (), config)


def weighted(things: Sequence[T], weights: Sequence[float]) -> Callable[[np.random.Generator], T]:
    """Returns a function that draws things in proportion to their weights."""
    cumulative = np.cumsum(np.asarray(weights, np.float64))

    def draw(rng: np.random.Generator) -> T:
        return things[int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))]

    return draw
