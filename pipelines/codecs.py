"""What calls and recordings lose on their way: companding, telephone codecs, and coding at low bit rates.

libsndfile does the coding, in memory; what its build cannot do is left out (`available`). `code` takes
and returns samples at 16 kHz, as many, with nothing moved in time.

Shape letters: N samples.
"""

import io
from functools import cache

import numpy as np
import soundfile
import soxr

from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.targets import Floats

TELEPHONE_RATE = 8000
FORMATS = {
    "mu-law": ("WAV", "ULAW"),
    "a-law": ("WAV", "ALAW"),
    "gsm": ("WAV", "GSM610"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Container and coding, by name; an added codec changes what a seed draws."""
NARROW = frozenset({"mu-law", "a-law", "gsm"})
"""Codecs of the telephone, which know nothing above 4 kHz."""
LEVELS = {"vorbis": (0.5, 1.0), "opus": (0.9, 1.0), "mp3": (0.5, 0.99)}
"""Compression levels of the others, from a decent one to the lowest that there is (Opus: 28 to 6 kbit/s)."""
MARGIN_SAMPLES = 3200
"""Of silence around what is coded, for codecs swallow the ends."""
FADE_SAMPLES = 160
"""The ends of a stretch glide into what was not coded, so that no seam clicks."""


@cache
def available() -> tuple[str, ...]:
    """The codecs that this build of libsndfile can write and read back."""
    found = []
    for name in FORMATS:
        try:
            _through(np.zeros(SAMPLE_RATE // 2, np.float32), name, 1.0)
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError):
            continue
        found.append(name)
    return tuple(found)


def code(samples: Floats, name: str, strength: float) -> Floats:
    """Sends samples through a codec.

    Args:
        samples: in [-1, 1], with shape `(N,)`.
        name: one of `available()`.
        strength: 0 to 1, how far the bit rate goes down, where the codec has several.

    Returns:
        With shape `(N,)`.
    """
    if len(samples) < 4 * FADE_SAMPLES:
        return samples
    padded = np.pad(samples.astype(np.float32), MARGIN_SAMPLES)
    heard = _through(padded, name, strength)
    start = MARGIN_SAMPLES + delay_samples(name)
    coded = np.zeros(len(samples), np.float32)
    kept = heard[start : start + len(samples)]
    coded[: len(kept)] = kept
    share = np.ones(len(samples), np.float32)
    ramp = np.linspace(0, 1, FADE_SAMPLES, dtype=np.float32)
    share[:FADE_SAMPLES], share[-FADE_SAMPLES:] = ramp, ramp[::-1]
    return np.clip(share * coded + (1 - share) * samples, -1, 1).astype(np.float32)


@cache
def delay_samples(name: str) -> int:
    """How much later a codec gives back what went in, measured on noise."""
    rng = np.random.default_rng(0)
    sent = np.zeros(SAMPLE_RATE, np.float32)
    sent[6000:10_000] = 0.1 * rng.standard_normal(4000)
    heard = np.zeros(SAMPLE_RATE, np.float32)
    got = _through(sent, name, 0.0)[:SAMPLE_RATE]
    heard[: len(got)] = got
    size = 2 * SAMPLE_RATE
    likeness = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size)), size)
    best = int(likeness.argmax())
    return best if best < SAMPLE_RATE else best - size


def _through(samples: Floats, name: str, strength: float) -> Floats:
    """Writes samples in a format and reads them back, as long as the codec makes them."""
    container, coding = FORMATS[name]
    rate = TELEPHONE_RATE if name in NARROW else SAMPLE_RATE
    low, high = LEVELS.get(name, (0.0, 0.0))
    level = low + (high - low) * strength if name in LEVELS else None
    sent = soxr.resample(samples, SAMPLE_RATE, rate) if rate != SAMPLE_RATE else samples
    stored = io.BytesIO()
    soundfile.write(
        stored, np.clip(sent, -1, 1), rate, format=container, subtype=coding, compression_level=level
    )
    stored.seek(0)
    heard, heard_rate = soundfile.read(stored, dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(heard[:, 0])
    if heard_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, heard_rate, SAMPLE_RATE)
    return np.asarray(mono, np.float32)
