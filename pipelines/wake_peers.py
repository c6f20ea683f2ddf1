"""Other wake-word detectors on the same streams, where their packages are installed.

Shape letters: B streams, N samples, J output frames, P phrases.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auricle.models.decoding.phrases import Array
from auricle.pipelines.targets import Floats

logger = logging.getLogger(__name__)

NOTHING = -1e9
FLOOR_DB = -60.0
"""Noise added for PocketSphinx: its running mean of the features suffers from digital silence."""
LOWEST_THRESHOLD = 1e-50
"""Everything above is listed with its score; the thresholds are then swept."""
SPHINX_FRAME_SAMPLES = 160


def peer_scores(samples: Floats, phrases: Sequence[str], frame_samples: int) -> dict[str, Array]:
    """Scores `(B, J, P)` of each detector that is installed, for streams `(B, N)`."""
    found = {}
    try:
        found["PocketSphinx"] = sphinx_scores(samples, phrases, frame_samples)
    except ImportError:
        logger.warning("PocketSphinx left out: the package pocketsphinx is not installed")
    return found


def sphinx_scores(samples: Floats, phrases: Sequence[str], frame_samples: int) -> Array:
    """PocketSphinx, keyphrase search: the score of each detection at the frame where it ends."""
    import pocketsphinx

    scores = np.full((len(samples), samples.shape[1] // frame_samples, len(phrases)), NOTHING, np.float32)
    rng = np.random.default_rng(0)
    dictionary = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    known = {line.split()[0] for line in dictionary.read_text(encoding="utf-8").splitlines()}
    for number, phrase in enumerate(phrases):
        if not set(phrase.split()) <= known:
            logger.warning("PocketSphinx does not know how '%s' is spoken", phrase)
            continue
        decoder = pocketsphinx.Decoder(
            keyphrase=phrase, kws_threshold=LOWEST_THRESHOLD, loglevel="FATAL", lm=None
        )
        for stream, row in enumerate(samples):
            noisy = row + rng.normal(0, 10 ** (FLOOR_DB / 20), len(row))
            decoder.start_utt()
            decoder.process_raw((np.clip(noisy, -1, 1) * 32767).astype(np.int16).tobytes())
            decoder.end_utt()
            for segment in decoder.seg() or ():
                if segment.word == phrase:
                    frame = min(
                        segment.end_frame * SPHINX_FRAME_SAMPLES // frame_samples, scores.shape[1] - 1
                    )
                    value = segment.prob if math.isfinite(segment.prob) else NOTHING
                    scores[stream, frame, number] = max(scores[stream, frame, number], value)
    return scores
