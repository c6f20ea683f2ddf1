"""The front ends that foreign models were trained with, streamed: raw windows, Kaldi's and torchaudio's mels.

Where Auricle's own front end gives one frame for each hop, these give a segment of frames (or of samples) as
soon as its last sample was heard. Each stands for the next `hop_samples` of the stream, and needs
`delay_samples` more than those.

Shape letters: B streams, N samples, K segments, S frames in a segment, F mels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor, nn

from auricle.models.frontend import SAMPLE_RATE
from auricle.models.imported.blocks import UNSTARTED, BlockState, Mirror, empty_blocks, take_blocks

HOP_SAMPLES, WINDOW_SAMPLES = 160, 400


@dataclass(frozen=True)
class WindowConfig:
    """Raw samples, in windows that each bring a little of the one before."""

    hop_samples: int = 512
    context_samples: int = 64

    @property
    def width(self) -> int:
        """Samples in one window."""
        return self.context_samples + self.hop_samples

    @property
    def delay_samples(self) -> int:
        """A window is given out with its last sample."""
        return 0


class Windows(nn.Module):
    """Raw windows; what came before the stream is silence."""

    def __init__(self, config: WindowConfig) -> None:
        """Holds no weights."""
        super().__init__()
        self.config = config

    def initial_state(self, batch_size: int) -> BlockState:
        """Returns the state of streams that have heard nothing."""
        return empty_blocks(torch.zeros(batch_size, 0), self.config.width, self.config.context_samples)

    def forward(self, samples: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        """Samples `(B, N)` to those windows that are now whole, with shape `(B, K, width)`."""
        return take_blocks(samples, state, self.config.hop_samples)


@dataclass(frozen=True)
class SegmentConfig:
    """Segments of mel frames, 25 ms long and 10 ms apart."""

    scale: str
    """How mels are made: "kaldi" (as sherpa-onnx feeds icefall's models) or "torchaudio" (as its RNN-T)."""
    segment_frames: int
    shift_frames: int
    """From one segment's beginning to the next one's."""
    mels: int = 80

    @property
    def hop_samples(self) -> int:
        """Samples from one segment to the next."""
        return self.shift_frames * HOP_SAMPLES

    @property
    def width(self) -> int:
        """Numbers in one segment."""
        return self.segment_frames * self.mels

    @property
    def left_samples(self) -> int:
        """Samples of the first frame that lie before the stream."""
        # Kaldi centres frames in their hops, torch.stft on the hops' first samples.
        return (WINDOW_SAMPLES - HOP_SAMPLES) // 2 if self.scale == "kaldi" else WINDOW_SAMPLES // 2

    @property
    def delay_samples(self) -> int:
        """Samples that a segment needs beyond those that it stands for."""
        ahead = (self.segment_frames - 1 - self.shift_frames) * HOP_SAMPLES
        return ahead + WINDOW_SAMPLES - self.left_samples


class SegmentState(NamedTuple):
    """What the front end remembers between chunks."""

    samples: BlockState
    frames: BlockState


class KaldiMels(nn.Module):
    """Kaldi's log mel energies without dither: of samples in [-1, 1], 20 to 7600 Hz, Povey window."""

    LOW_HZ, HIGH_HZ, FFT_SAMPLES, PREEMPHASIS = 20.0, 7600.0, 512, 0.97

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int) -> None:
        """Builds window and filters: triangles on Kaldi's mel scale."""
        super().__init__()
        bins = torch.arange(self.FFT_SAMPLES // 2) * (SAMPLE_RATE / self.FFT_SAMPLES)
        low, high = _kaldi_mel(torch.tensor([self.LOW_HZ, self.HIGH_HZ])).tolist()
        edges = torch.linspace(low, high, mels + 2)
        scale = _kaldi_mel(bins)[:, None]
        up = (scale - edges[:-2]) / (edges[1:-1] - edges[:-2])
        down = (edges[2:] - scale) / (edges[2:] - edges[1:-1])
        filters = nn.functional.pad(torch.minimum(up, down).clamp(min=0), (0, 0, 0, 1))
        window = torch.hann_window(WINDOW_SAMPLES, periodic=False).pow(0.85)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames of samples `(B, T, 400)` to log mel energies `(B, T, F)`."""
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft((frames - self.PREEMPHASIS * before) * self.window, n=self.FFT_SAMPLES)
        power = spectrum.real.square() + spectrum.imag.square()
        energy: Tensor = power @ self.filters
        return energy.clamp(min=torch.finfo(torch.float32).eps).log()


def _kaldi_mel(hz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hz / 700.0).log()


class TorchaudioMels(nn.Module):
    """What torchaudio's RNN-T bundle hears: mel power at the scale of 16-bit samples, logarithmic above e."""

    FFT_SAMPLES = 400

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int) -> None:
        """Builds window and filters."""
        super().__init__()
        filters = torchaudio.functional.melscale_fbanks(
            self.FFT_SAMPLES // 2 + 1, 0.0, SAMPLE_RATE / 2, mels, SAMPLE_RATE
        )
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames of samples `(B, T, 400)` to compressed mel energies `(B, T, F)`."""
        spectrum = torch.fft.rfft(frames * self.window, n=self.FFT_SAMPLES)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self.filters * 32767.0**2
        return torch.where(power > torch.e, power.clamp(min=1e-10).log(), power / torch.e)


class Segments(nn.Module):
    """Segments of mel frames; before its first sample a stream is taken to be mirrored."""

    def __init__(self, config: SegmentConfig) -> None:
        """Chooses how mels are made."""
        super().__init__()
        self.config = config
        self.mels = KaldiMels(config.mels) if config.scale == "kaldi" else TorchaudioMels(config.mels)

    def initial_state(self, batch_size: int) -> SegmentState:
        """Returns the state of streams that have heard nothing."""
        config = self.config
        return SegmentState(
            empty_blocks(torch.zeros(batch_size, 0), WINDOW_SAMPLES, UNSTARTED),
            empty_blocks(torch.zeros(batch_size, 0, config.mels), config.segment_frames, 0),
        )

    def forward(self, samples: Tensor, state: SegmentState) -> tuple[Tensor, SegmentState]:
        """Turns samples into those segments that are now whole.

        Args:
            samples: waveform in [-1, 1], with shape `(B, N)`, N of any size.
            state: what was heard before.

        Returns:
            Segments, with shape `(B, K, S * F)`, and the new state.
        """
        config = self.config
        mirrored = Mirror(config.left_samples, repeats_first=config.scale == "kaldi")
        frames, heard = take_blocks(samples, state.samples, HOP_SAMPLES, mirrored)
        # An FFT of no frames at all is an error to some of torch's back ends.
        mels = self.mels(frames) if frames.shape[1] else samples.new_zeros(len(samples), 0, config.mels)
        segments, waiting = take_blocks(mels, state.frames, config.shift_frames)
        return segments.reshape(len(samples), -1, config.width), SegmentState(heard, waiting)
