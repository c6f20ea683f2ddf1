"""Streams to learn voice activity from: speech with its pauses, other sounds, and nothing at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.sounds import (
    NoiseConfig,
    NoisePlanner,
    change_speed,
    noise_clips,
    read_clip,
    speech_at_reference,
    weighted,
)
from auricle.pipelines.streams import Piece
from auricle.pipelines.targets import (
    HOP_SAMPLES,
    IGNORE,
    Floats,
    SpeechRule,
    Targets,
    hop_levels_db,
    speech_targets,
)

ATTEMPTS = 6
"""How often to draw another recording where one is too noisy to label."""


@dataclass(frozen=True)
class VadData:
    """What voice-activity streams are made of; parts are relative numbers of pieces."""

    speech: Mapping[str, float] = field(
        default_factory=lambda: {
            "librispeech": 4.0,
            "libridevclean": 2.0,
            "commonvoice": 4.0,
            "speechocean762": 2.0,
            "speechcommands": 2.0,
            "vctk": 1.0,
            "wuw2": 1.0,
            "kathleen": 0.5,
            "ljspeech": 0.5,
            "vctk4": 0.5,
            "asterisk": 0.5,
            "englishccc": 0.5,
        }
    )
    """Sets of clean speech and how often to draw from each."""
    dev_speech: tuple[str, ...] = ("librispeech", "commonvoice", "speechocean762")
    noise: NoiseConfig = field(default_factory=lambda: NoiseConfig(babble_part=0.04))
    speech_part: float = 0.5
    pause_part: float = 0.25
    sound_part: float = 0.25
    shortest_s: float = 0.8
    longest_s: float = 8.0
    rule: SpeechRule = field(default_factory=SpeechRule)


class VadPlanner:
    """Makes the pieces of voice-activity streams."""

    def __init__(self, corpus: Corpus, data: VadData, split: str) -> None:
        """Lists the clips of `split` ("train" or "dev")."""
        self.corpus, self.data = corpus, data
        sets = data.speech if split == "train" else dict.fromkeys(data.dev_speech, 1.0)
        by_set = {name: corpus.clips(name, split) for name in sets}
        if empty := [name for name, clips in by_set.items() if not clips]:
            raise DataError(f"no {split} clips in {', '.join(empty)}: leave these sets out of data.speech")
        self.speech = [clip for clips in by_set.values() for clip in clips]
        odds = [sets[clip.set] / len(by_set[clip.set]) for clip in self.speech]
        self.draw_speech = weighted(self.speech, odds)
        sounds = noise_clips(corpus, data.noise.sets, split)
        self.sounds = NoisePlanner(corpus, sounds, (), data.noise)
        self.noise = NoisePlanner(corpus, sounds, self.speech, data.noise)
        self.clips = [*self.speech, *sounds]

    def __call__(self, rng: np.random.Generator) -> Piece:
        """Draws speech, a pause, or another sound."""
        data = self.data
        kind = rng.random() * (data.speech_part + data.pause_part + data.sound_part)
        if kind < data.speech_part:
            return self._speech(rng)
        if kind < data.speech_part + data.pause_part:
            hops = int(rng.uniform(0.2, 4.0) * SAMPLE_RATE) // HOP_SAMPLES
            return Piece(np.zeros(hops * HOP_SAMPLES, np.float32), np.zeros(hops, np.int16))
        sound = self.sounds.recorded(rng, int(rng.uniform(0.5, 5.0) * SAMPLE_RATE))
        sound = sound * np.float32(10 ** (rng.uniform(-25, 5) / 20))
        return Piece(sound, np.zeros(len(sound) // HOP_SAMPLES, np.int16))

    def _speech(self, rng: np.random.Generator) -> Piece:
        for _ in range(ATTEMPTS):
            clip = self.draw_speech(rng)
            samples, targets = self.label(clip, rng.uniform(0.9, 1.1))
            if (targets != IGNORE).any():
                break
        hops = min(len(targets), int(rng.uniform(self.data.shortest_s, self.data.longest_s) * 100))
        start = int(rng.integers(len(targets) - hops + 1))
        cut = samples[start * HOP_SAMPLES : (start + hops) * HOP_SAMPLES]
        louder = np.float32(10 ** (rng.uniform(-6, 6) / 20))
        return Piece(cut * louder, targets[start : start + hops], note=clip)

    def label(self, clip: Clip, speed: float = 1.0) -> tuple[Floats, Targets]:
        """Returns a clip at the reference level, `(N,)`, and its targets, `(N // 160,)`."""
        samples = change_speed(speech_at_reference(read_clip(self.corpus, clip)), speed)
        return samples, speech_targets(hop_levels_db(samples), self.data.rule)
