"""The front end: log mel energies of a 16 kHz stream, frame by frame.

Shape letters: B streams, N samples, T frames, F mels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor, nn

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class FrontendConfig:
    """What the front end computes; models store the one they were trained with."""

    hop_samples: int = 160
    window_samples: int = 400
    fft_samples: int = 512
    mels: int = 80
    low_hz: float = 40.0
    high_hz: float = 7600.0
    floor: float = 1e-6
    """Added to every mel energy: about the energy of white noise at -85 dBFS."""

    @property
    def context_samples(self) -> int:
        """Samples of the past that a frame needs beside its own hop."""
        return self.window_samples - self.hop_samples

    @property
    def width(self) -> int:
        """Numbers in one frame."""
        return self.mels

    @property
    def delay_samples(self) -> int:
        """A frame is given out with its last sample."""
        return 0

    def check(self, samples: Tensor) -> None:
        """Refuses samples that are not `(B, k * hop)`.

        Raises:
            ValueError: they are not.
        """
        if samples.dim() != 2 or samples.shape[1] % self.hop_samples:
            raise ValueError(
                f"expected samples (B, k * {self.hop_samples}), got {tuple(samples.shape)}; re-block them"
            )


class FrontendState(NamedTuple):
    """What the front end remembers between chunks."""

    context: Tensor  # (B, window - hop), the newest samples


class LogMel(nn.Module):
    """Log mel energies; frame i ends with sample `(i + 1) * hop`, so k hops in give exactly k frames."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: FrontendConfig) -> None:
        """Builds the window and the mel filters (HTK scale, unit peak)."""
        super().__init__()
        self.config = config
        filters = torchaudio.functional.melscale_fbanks(
            config.fft_samples // 2 + 1, config.low_hz, config.high_hz, config.mels, SAMPLE_RATE
        )
        self.register_buffer("window", torch.hann_window(config.window_samples), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def initial_state(self, batch_size: int) -> FrontendState:
        """Returns the state of streams that have heard nothing: a context of zeros."""
        return FrontendState(self.window.new_zeros(batch_size, self.config.context_samples))

    def forward(self, samples: Tensor, state: FrontendState) -> tuple[Tensor, FrontendState]:
        """Turns whole hops into frames.

        Args:
            samples: waveform in [-1, 1], with shape `(B, N)`; N is a multiple of the hop.
            state: what was heard before.

        Returns:
            Log mel energies (natural logarithm), with shape `(B, T, F)`, `T = N / hop`, and the new state.

        Raises:
            ValueError: N is not a multiple of the hop.
        """
        config = self.config
        config.check(samples)
        heard = torch.cat([state.context, samples], dim=1)
        frames = heard.unfold(1, config.window_samples, config.hop_samples) * self.window
        spectrum = torch.fft.rfft(frames, n=config.fft_samples)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = torch.log(power @ self.filters + config.floor)
        return mel, FrontendState(heard[:, heard.shape[1] - config.context_samples :].clone())
