"""What a verifier is fitted to: recordings of the phrase in rooms and noise, and what is mistaken for it.

Shape letters: B streams, N samples, J output frames, V labels, P phrases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from auricle.models.decoding.background import LEAST_CODE, STEP, Codes, encode
from auricle.models.decoding.phrases import Array, PhraseSearch
from auricle.models.decoding.verifier import Candidate, candidates, cut, silence
from auricle.pipelines.augment import AugmentConfig, Augmenter
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.dev import lay_out
from auricle.pipelines.rooms import make_microphones, make_rooms
from auricle.pipelines.sounds import NoisePlanner, speech_at_reference
from auricle.pipelines.streams import EndlessStream, Piece
from auricle.pipelines.targets import HOP_SAMPLES, Floats
from auricle.pipelines.wake_streams import Ear, scan

STREAMS = 16
NOISES = 4
"""So many streams of noise for all of them."""
SILENCE_S = 0.5
"""Before and after each recording."""
BLOCK_S = 1.6
SNR_DB = 10.0
MOST_TAKES, FEWEST_TAKES = 8, 4
ENOUGH = 160
"""Recordings are heard so often, all together, but each of them a few times."""
ROOMS, MICROPHONES = 32, 20
AUGMENT = AugmentConfig(snr_low_db=3.0, gain_low_db=-20.0, clip_part=0.03, change_part=1.0, warp_part=0.0)


class Example(NamedTuple):
    """A candidate, as a verifier sees it."""

    segment: Codes  # (T, V)
    candidate: Candidate


class Take(NamedTuple):
    """All recordings, heard once."""

    codes: list[Codes]  # (J, V) of each recording

    def search(self, search: PhraseSearch) -> tuple[Array, NDArray[np.int64]]:
        """Scores and starts of the phrases in each frame, `(B, J, P)`, silence where a recording is over."""
        longest = max(map(len, self.codes))
        padded = np.stack([silence(longest, self.codes[0].shape[1])] * len(self.codes))
        for row, codes in zip(padded, self.codes, strict=True):
            row[: len(codes)] = codes
        return scan(values_of(padded), search)


def values_of(codes: Codes) -> Array:
    """Log-probabilities that codes stand for."""
    values = -STEP * np.arange(LEAST_CODE + 1, dtype=np.float32)
    return np.asarray(values[codes])


def examples(codes: Sequence[Codes], search: PhraseSearch, least_raw: float) -> list[list[Example]]:
    """All candidates for the first phrase of a search, recording by recording or piece by piece."""
    scores, starts = Take(list(codes)).search(search)
    return [
        [
            Example(cut(own, one), one)
            for one in candidates(scores[row, : len(own), 0], starts[row, : len(own), 0], least_raw)
        ]
        for row, own in enumerate(codes)
    ]


def hear_takes(
    ear: Ear, recordings: Sequence[Floats], noise: NoisePlanner, measured: Sequence[Floats], seed: int = 0
) -> list[Take]:
    """Hears recordings again and again: as they are, in noise at 10 dB, then in drawn rooms and noise.

    Args:
        ear: the acoustic model.
        recordings: 16 kHz.
        noise: makes the noise.
        measured: responses of rooms, besides those that are simulated.
        seed: decides the draws.
    """
    takes = int(np.clip(ENOUGH // len(recordings), FEWEST_TAKES, MOST_TAKES))
    pause, nothing = np.zeros(round(SILENCE_S * SAMPLE_RATE), np.float32), np.zeros(0, np.int16)
    pieces = [
        Piece(np.concatenate([pause, speech_at_reference(one), pause]), nothing, number)
        for number, one in enumerate(recordings)
    ]
    samples, placed = lay_out(pieces, min(STREAMS, len(pieces)))
    block = round(BLOCK_S * SAMPLE_RATE)
    samples = torch.nn.functional.pad(samples, (0, -samples.shape[1] % block))
    rooms, microphones = make_rooms(measured, ROOMS, seed), make_microphones(MICROPHONES, seed)
    augmenter = Augmenter(AUGMENT, rooms, microphones, block, seed=seed)
    found = []
    for take in track(range(takes), "hearing recordings"):
        noises = _noise(noise, samples, (seed, take))
        heard = samples + noises * 10 ** (-SNR_DB / 20) if take == 1 else samples
        if take > 1:
            heard = _augmented(augmenter, samples, noises, take)
        log_probs, frame = ear.hear(heard), ear.spec.frame_samples
        codes: list[Codes] = []
        for place in sorted(placed, key=lambda place: int(place.note)):
            own = log_probs[place.stream, place.start_sample // frame : place.end_sample // frame + 1]
            codes.append(encode(own, len(own))[0])
        found.append(Take(codes))
    return found


def _noise(noise: NoisePlanner, samples: torch.Tensor, seed: tuple[int, ...]) -> torch.Tensor:
    """A few streams of noise, again and again, with shape `(B, N)`."""
    rows = [
        EndlessStream(noise, (*seed, row)).take(samples.shape[1] // HOP_SAMPLES)[0]
        for row in range(min(NOISES, len(samples)))
    ]
    return torch.from_numpy(np.stack([rows[number % len(rows)] for number in range(len(samples))]))


def _augmented(augmenter: Augmenter, speech: torch.Tensor, noise: torch.Tensor, take: int) -> torch.Tensor:
    """Streams `(B, N)`, N whole blocks, in drawn rooms and noise."""
    state, parts = augmenter.drawn_state(len(speech), take * 100_000), []
    block = round(BLOCK_S * SAMPLE_RATE)
    pairs = zip(torch.split(speech, block, 1), torch.split(noise, block, 1), strict=True)
    for number, (own, other) in enumerate(pairs, start=take * 100_000 + 1):
        audio, state = augmenter(own, other, state, number)
        parts.append(audio)
    return torch.cat(parts, 1)


def hear_talk(ear: Ear, recordings: Sequence[Floats]) -> list[Codes]:
    """Codes `(J, V)` of recordings of talk, one after another, in pieces of about a minute."""
    nothing = np.zeros(0, np.int16)
    samples, _ = lay_out([Piece(speech_at_reference(one), nothing) for one in recordings], 1)
    log_probs = ear.hear(samples)[0]
    return [encode(part, len(part))[0] for part in np.array_split(log_probs, max(1, len(log_probs) // 1500))]
