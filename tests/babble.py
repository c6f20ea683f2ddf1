"""Made-up speech as an acoustic model would hear it, for searches."""

import numpy as np

from auricle.models.decoding.phrases import Array

LABELS = 40


def babble(seed: int, frames: int) -> Array:
    """Log-probabilities of random speech: a phone in every other frame, of varying clarity."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.gumbel(0, 1, (frames, LABELS)).astype(np.float32)
    logits[np.arange(0, frames, 2), rng.integers(1, LABELS, len(range(0, frames, 2)))] += 8
    logits[1::2, 0] += 8
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)), np.float32)
