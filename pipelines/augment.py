"""Turns clean streams into what a microphone in some room hears: vectorised over a batch, on the fly.

Order: speech through a room, noise added at a signal-to-noise ratio, all of it through a microphone, gain,
clipping, a codec. Filters ring over from segment to segment, settings change slowly, and every draw comes
from (seed, step): the same call gives the same audio.

Shape letters: B streams, N samples, T frames, F mels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from auricle.pipelines.codecs import available, code
from auricle.pipelines.targets import Floats

REFERENCE_DB = -25.0
"""Planners bring speech and noise to about this level (active speech, mean noise), dB full scale."""
RAMP_SAMPLES = 4000
"""Gains glide to their new values over a quarter of a second."""
MEL_BREAK_HZ = 700.0
CODEC_SEED = 11


@dataclass(frozen=True)
class AugmentConfig:
    """How much is done to the audio. Parts are probabilities."""

    noise_part: float = 0.8
    """Part of the time that noise is added at all."""
    snr_low_db: float = -2.0
    snr_high_db: float = 30.0
    room_part: float = 0.5
    microphone_part: float = 0.5
    simulated_rooms: int = 64
    microphones: int = 60
    gain_low_db: float = -30.0
    gain_high_db: float = 6.0
    clip_part: float = 0.08
    codec_part: float = 0.0
    """Part of the segments that go through a codec: mu-law, A-law, GSM; Vorbis, Opus or MP3 at few bits."""
    change_part: float = 0.35
    """Part of the segments at which a stream's room, microphone, gain or noise is drawn anew."""
    warp_part: float = 0.5
    """Part of the segments whose frequencies are stretched (vocal tract length)."""
    warp_most: float = 0.12
    mask_part: float = 0.0
    """Part of the segments with bands and moments of the features masked (SpecAugment)."""


class AugmentState(NamedTuple):
    """What goes on from one segment to the next."""

    ringing: Tensor  # (B, R), what the filters still have to say
    room: Tensor  # (B,), index
    microphone: Tensor  # (B,), index
    gain_db: Tensor  # (B,)
    snr_db: Tensor  # (B,), infinite without noise


class FilterBank:
    """Impulse responses, kept as spectra of one FFT length."""

    def __init__(
        self, responses: Sequence[Floats], fft_samples: int, device: torch.device | str = "cpu"
    ) -> None:
        """Transforms the responses, each `(N,)`, N at most `fft_samples`."""
        padded = pad_sequence([torch.from_numpy(response) for response in responses], batch_first=True)
        self.spectra = torch.fft.rfft(padded, n=fft_samples).to(device)
        self.count, self.longest = padded.shape


class Augmenter:
    """Applies the chain to segments of one length."""

    def __init__(
        self,
        config: AugmentConfig,
        rooms: Sequence[Floats],
        microphones: Sequence[Floats],
        segment_samples: int,
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepares the filters; the first of each list is the one that changes nothing.

        All draws are made on the CPU, so that they are the same wherever the audio is.
        """
        self.config, self.seed, self.device = config, seed, device
        self.ringing = max(map(len, rooms)) + max(map(len, microphones)) - 2
        self.fft_samples = _fast_length(segment_samples + self.ringing)
        self.rooms = FilterBank(rooms, self.fft_samples, device)
        self.microphones = FilterBank(microphones, self.fft_samples, device)

    def initial_state(self, batch_size: int) -> AugmentState:
        """Returns the state before the first segment: dry, clean, gain 0 dB."""
        state = AugmentState(
            torch.zeros(batch_size, self.ringing),
            torch.zeros(batch_size, dtype=torch.long),
            torch.zeros(batch_size, dtype=torch.long),
            torch.zeros(batch_size),
            torch.full((batch_size,), torch.inf),
        )
        return AugmentState(*(leaf.to(self.device) for leaf in state))

    def drawn_state(self, batch_size: int, step: int) -> AugmentState:
        """Returns the state before the first segment of recordings, their settings drawn already."""
        return self._draw(self.initial_state(batch_size), generator(self.seed, step), change_part=1.0)

    def __call__(
        self, speech: Tensor, noise: Tensor, state: AugmentState, step: int
    ) -> tuple[Tensor, AugmentState]:
        """Mixes one segment.

        Args:
            speech: with shape `(B, N)`, active parts at `REFERENCE_DB`.
            noise: with shape `(B, N)`, at `REFERENCE_DB`.
            state: what went before.
            step: number of the segment; with the seed it decides every draw.

        Returns:
            Audio in [-1, 1] with shape `(B, N)`, and the new state.
        """
        random = generator(self.seed, step)
        new = self._draw(state, random, self.config.change_part)
        noise = noise * _ramp(_amplitude(-state.snr_db), _amplitude(-new.snr_db), noise.shape[1])
        size = self.fft_samples
        spectrum = torch.fft.rfft(speech, n=size) * self.rooms.spectra[new.room]
        spectrum = (spectrum + torch.fft.rfft(noise, n=size)) * self.microphones.spectra[new.microphone]
        filtered = torch.fft.irfft(spectrum, n=size)[:, : speech.shape[1] + self.ringing]
        filtered[:, : self.ringing] += state.ringing
        audio, ringing = filtered[:, : speech.shape[1]], filtered[:, speech.shape[1] :].clone()
        audio = audio * _ramp(_amplitude(state.gain_db), _amplitude(new.gain_db), audio.shape[1])
        audio = self._clip(audio, random)
        if self.config.codec_part:
            audio = self._code(audio, generator(self.seed, step, CODEC_SEED))  # other draws stay as they were
        return audio, new._replace(ringing=ringing)

    def _draw(self, state: AugmentState, random: torch.Generator, change_part: float) -> AugmentState:
        """Draws new settings for some of the streams."""
        config, streams = self.config, len(state.gain_db)

        def uniform() -> Tensor:
            return torch.rand(streams, generator=random)

        def renew(old: Tensor, value: Tensor) -> Tensor:
            return torch.where((uniform() < change_part).to(self.device), value.to(self.device), old)

        def pick(count: int, part: float) -> Tensor:
            chosen = 1 + (uniform() * (count - 1)).long()
            return torch.where((uniform() < part) & (chosen < count), chosen, 0)

        snr_db = config.snr_low_db + (config.snr_high_db - config.snr_low_db) * uniform()
        gain_db = config.gain_low_db + (config.gain_high_db - config.gain_low_db) * uniform()
        return AugmentState(
            state.ringing,
            renew(state.room, pick(self.rooms.count, config.room_part)),
            renew(state.microphone, pick(self.microphones.count, config.microphone_part)),
            renew(state.gain_db, gain_db),
            renew(state.snr_db, torch.where(uniform() < config.noise_part, snr_db, torch.inf)),
        )

    def _clip(self, audio: Tensor, random: torch.Generator) -> Tensor:
        """Lets a few streams overdrive: their peaks are cut off at 10-80 % of the loudest."""
        streams = len(audio)
        overdriven = torch.rand(streams, generator=random) < self.config.clip_part
        part = (0.1 + 0.7 * torch.rand(streams, generator=random)).to(audio.device)
        overdriven = overdriven.to(audio.device)
        limit = torch.where(overdriven, part * audio.abs().amax(1), 1.0).clamp(1e-4, 1.0)[:, None]
        return audio.clamp(-limit, limit)

    def _code(self, audio: Tensor, random: torch.Generator) -> Tensor:
        """Sends some of the streams `(B, N)` through a codec, whole segments, on the CPU."""
        streams, names = len(audio), available()
        coded = torch.rand(streams, generator=random) < self.config.codec_part
        which = torch.randint(len(names), (streams,), generator=random).tolist()
        strength = torch.rand(streams, generator=random).tolist()
        result = audio.clone()
        for row in coded.nonzero()[:, 0].tolist():
            heard = code(audio[row].cpu().numpy(), names[which[row]], strength[row])
            result[row] = torch.from_numpy(heard).to(audio.device)
        return result


def generator(*seeds: int) -> torch.Generator:
    """Returns a generator that depends on all the numbers given."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 1_000_003 + seed + 0x9E3779B9) % (1 << 62)
    return torch.Generator().manual_seed(mixed)


def _amplitude(decibels: Tensor) -> Tensor:
    return 10.0 ** (decibels / 20.0)


def _ramp(old: Tensor, new: Tensor, samples: int) -> Tensor:
    """Glides from old `(B,)` to new `(B,)` over the start of a segment, with shape `(B, N)`."""
    part = torch.arange(1, samples + 1, device=old.device).div(min(RAMP_SAMPLES, samples)).clamp(max=1.0)
    return old[:, None] + (new - old)[:, None] * part


def _fast_length(samples: int) -> int:
    """Returns the next length with only the factors 2, 3 and 5."""
    length = samples
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def warp_matrices(mels: int, low_hz: float, high_hz: float, most: float, count: int = 17) -> Tensor:
    """Matrices that stretch the frequencies of log mel frames by 1 - most to 1 + most.

    Returns:
        With shape `(count, F, F)`: `frames @ matrix` interpolates between the two nearest bands. The middle
        one changes nothing.
    """

    def to_mel(hertz: Tensor) -> Tensor:
        return torch.log1p(hertz / MEL_BREAK_HZ)

    edges = to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64))
    centres = edges[0] + (edges[1] - edges[0]) * torch.arange(1, mels + 1) / (mels + 1)
    factors = torch.linspace(1 - most, 1 + most, count, dtype=torch.float64)
    wanted = to_mel(torch.expm1(centres) * MEL_BREAK_HZ * factors[:, None])
    position = ((wanted - edges[0]) / (edges[1] - edges[0]) * (mels + 1) - 1).clamp(0, mels - 1)
    bands = torch.arange(mels)
    return (1 - (position[:, None, :] - bands[None, :, None]).abs()).clamp(min=0).float()


def warp_frequencies(features: Tensor, matrices: Tensor, part: float, random: torch.Generator) -> Tensor:
    """Stretches the frequencies of some of the streams, features `(B, T, F)`."""
    streams, count = len(features), len(matrices)
    drawn = torch.randint(count, (streams,), generator=random)
    chosen = torch.where(torch.rand(streams, generator=random) < part, drawn, count // 2)
    return torch.bmm(features, matrices[chosen.to(matrices.device)])


def mask_features(
    features: Tensor, part: float, random: torch.Generator, *, moments: int = 3, longest: int = 8
) -> Tensor:
    """Blanks two bands (up to 10 mels) and some moments (up to so many frames) of some streams (SpecAugment).

    What is blanked takes the stream's mean over the segment, band by band.
    """
    streams, frames, mels = features.shape
    masked = torch.zeros(streams, frames, mels, dtype=torch.bool)
    affected = torch.rand(streams, generator=random) < part
    for count, length, widest in ((2, mels, 10), (moments, frames, longest)):
        for _ in range(count):
            width = torch.randint(widest + 1, (streams, 1), generator=random)
            start = (torch.rand(streams, 1, generator=random) * (length - width)).long()
            place = torch.arange(length)[None, :]
            hit = (place >= start) & (place < start + width) & affected[:, None]
            masked |= hit[:, None, :] if length == mels else hit[:, :, None]
    return torch.where(masked.to(features.device), features.mean(1, keepdim=True), features)
