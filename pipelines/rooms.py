"""Room and microphone responses to train with: measured, simulated and drawn.

All responses start with the direct sound, so that filtering does not move a word against its label, and have
unit energy, so that it does not change its level.

Shape letters: N samples.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.targets import Floats

SPEED_OF_SOUND = 343.0  # m/s
ROOM_SAMPLES = 8000
MICROPHONE_SAMPLES = 512


def prepare_room(response: NDArray[np.floating], samples: int = ROOM_SAMPLES) -> Floats:
    """Cuts a response to start at its direct sound and end within `samples`, with unit energy."""
    onset = int(np.argmax(np.abs(response) > 0.5 * np.abs(response).max()))
    cut = response[max(0, onset - 8) :][:samples].astype(np.float32)
    fade = min(len(cut), samples // 4)
    cut[len(cut) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32) ** 2
    unit: Floats = (cut / np.sqrt(np.sum(cut**2) + 1e-12)).astype(np.float32)
    return unit


def simulate_room(rng: np.random.Generator, samples: int = ROOM_SAMPLES) -> Floats:
    """Draws a shoebox room by the image-source method (Allen and Berkley, 1979).

    Sides of 2-10 m, ceilings of 2.2-4 m, walls that reflect 50-93 % of the amplitude, source and microphone
    anywhere, images rounded to whole samples.
    """
    size = np.array([rng.uniform(2, 10), rng.uniform(2, 8), rng.uniform(2.2, 4)])
    source, microphone = rng.uniform(0.08, 0.92, (2, 3)) * size
    reach = SPEED_OF_SOUND * samples / SAMPLE_RATE
    # One wall may be soft and another bare: each pair of walls reflects in its own way.
    reflection = rng.uniform(0.5, 0.93, 3)
    axes = []
    for side, start, end, wall in zip(size, source, microphone, reflection, strict=True):
        order = np.arange(-int(reach / (2 * side)) - 1, int(reach / (2 * side)) + 2)
        offsets = np.concatenate([2 * order * side + start, 2 * order * side - start]) - end
        bounces = np.concatenate([np.abs(2 * order), np.abs(2 * order - 1)])
        axes.append((offsets.astype(np.float32), (wall**bounces).astype(np.float32)))
    (x, gx), (y, gy), (z, gz) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2)
    amplitude = gx[:, None, None] * gy[None, :, None] * gz[None, None, :] / np.maximum(distance, 0.1)
    arrival = np.rint(distance * (SAMPLE_RATE / SPEED_OF_SOUND)).astype(np.int64)
    heard = arrival < samples
    response = np.bincount(arrival[heard], amplitude[heard], minlength=samples)
    # Walls swallow the lows least and images all have the same sign: take the rumble away.
    return prepare_room(np.diff(response, prepend=0.0) * 0.5 + response * 0.5, samples)


def draw_microphone(rng: np.random.Generator, *, telephone: bool) -> Floats:
    """Draws a microphone: band limits and an uneven response, as a minimum-phase filter of 512 samples."""
    half = MICROPHONE_SAMPLES
    hertz = np.linspace(0, SAMPLE_RATE / 2, half + 1)
    low, high = rng.uniform(20, 180), rng.uniform(3500, 9000)
    steepness = rng.uniform(1, 3)
    if telephone:
        low, high, steepness = rng.uniform(180, 400), rng.uniform(3100, 3700), rng.uniform(5, 9)
    position = np.log2(np.maximum(hertz, 30.0) / 30.0) / 8.0
    waves = sum(
        rng.normal(0, 2.5) * np.cos(np.pi * wave * position + rng.uniform(0, 2 * np.pi))
        for wave in range(1, 6)
    )
    decibels = waves + rng.uniform(-8, 8) * (position - 0.5)
    decibels -= 10 * np.log10(1 + (low / np.maximum(hertz, 1.0)) ** (2 * steepness))
    decibels -= 10 * np.log10(1 + (hertz / high) ** (4 * steepness))
    return minimum_phase(np.maximum(decibels, -60.0))


def minimum_phase(decibels: NDArray[np.floating]) -> Floats:
    """Makes a causal filter with the given response (folded cepstrum).

    Args:
        decibels: response at n + 1 frequencies from 0 to half the sample rate.

    Returns:
        The first `MICROPHONE_SAMPLES` samples of the filter, scaled to leave speech-like levels alone.
    """
    logs = decibels / 20 * np.log(10)
    cepstrum = np.fft.irfft(logs)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:MICROPHONE_SAMPLES]
    spectrum = np.abs(np.fft.rfft(response, 2 * half)) ** 2
    hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    weight = 1 / (1 + (hertz / 500) ** 2)  # where the energy of speech lies
    level = np.sqrt(np.sum(weight * spectrum) / np.sum(weight))
    scaled: Floats = (response / level).astype(np.float32)
    return scaled


def make_rooms(measured: Iterable[Floats], simulated: int, seed: int) -> list[Floats]:
    """Returns no room at all first, then the measured ones, then so many simulated ones."""
    rng = np.random.default_rng((seed, 1))
    dry = np.ones(1, np.float32)
    return [dry, *(prepare_room(room) for room in measured), *(simulate_room(rng) for _ in range(simulated))]


def make_microphones(count: int, seed: int) -> list[Floats]:
    """Returns a perfect microphone first, then so many drawn ones, a third of them telephones."""
    rng = np.random.default_rng((seed, 2))
    flat = np.ones(1, np.float32)
    return [flat, *(draw_microphone(rng, telephone=number % 3 == 0) for number in range(count))]
