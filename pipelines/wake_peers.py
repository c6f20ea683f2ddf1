"""Other wake-word detectors on the same streams, where their packages are installed.

Each says what it scores in every frame of the streams, phrase by phrase, for those phrases that it can listen
for.

Shape letters: B streams, N samples, J output frames.
"""

import logging
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from auricle.models.decoding.phrases import Array
from auricle.pipelines.targets import Floats

logger = logging.getLogger(__name__)

NOTHING = -1e9
FLOOR_DB = -60.0
"""Noise added for PocketSphinx: its running mean of the features suffers from digital silence."""
LOWEST_THRESHOLD = 1e-50
"""Everything above is listed with its score; the thresholds are then swept."""
HOP_SAMPLES = 160
"""From one frame of features to the next, in both."""
Scores = dict[str, Array]
"""Of each phrase, `(B, J)`; `NOTHING` where there is none."""


def peer_scores(samples: Floats, phrases: Sequence[str], frame_samples: int) -> dict[str, Scores]:
    """What each detector that is installed, and knows a phrase, scores on streams `(B, N)`."""
    found = {}
    for name, package, scores in (
        ("PocketSphinx", "pocketsphinx", sphinx_scores),
        ("microWakeWord", "pymicro-wakeword", micro_scores),
    ):
        try:
            found[name] = scores(samples, phrases, frame_samples)
        except ImportError:
            logger.warning("%s left out: the package %s is not installed", name, package)
    return {name: scores for name, scores in found.items() if scores}


def sphinx_scores(samples: Floats, phrases: Sequence[str], frame_samples: int) -> Scores:
    """PocketSphinx, all keyphrases in one search: the score of each detection at the frame where it ends."""
    import pocketsphinx

    dictionary = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    known = {line.split()[0] for line in dictionary.read_text(encoding="utf-8").splitlines()}
    spoken = [phrase for phrase in phrases if set(phrase.split()) <= known]
    for phrase in set(phrases) - set(spoken):
        logger.warning("PocketSphinx does not know how '%s' is spoken", phrase)
    if not spoken:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        keyphrases = Path(folder) / "keyphrases"
        keyphrases.write_text("".join(f"{phrase} /{LOWEST_THRESHOLD}/\n" for phrase in spoken))
        decoder = pocketsphinx.Decoder(kws=str(keyphrases), loglevel="FATAL", lm=None)
    scores = {phrase: _unheard(samples, frame_samples) for phrase in spoken}
    rng = np.random.default_rng(0)
    for stream, row in enumerate(track(samples, description="PocketSphinx")):
        decoder.start_utt()
        decoder.process_raw(_as_bytes(row + rng.normal(0, 10 ** (FLOOR_DB / 20), len(row))))
        decoder.end_utt()
        for segment in decoder.seg() or ():
            phrase = segment.word.strip()  # a blank behind it comes from the list
            if phrase in scores and math.isfinite(segment.prob):
                _raise(scores[phrase][stream], segment.end_frame * HOP_SAMPLES // frame_samples, segment.prob)
    return scores


def micro_scores(samples: Floats, phrases: Sequence[str], frame_samples: int) -> Scores:
    """microWakeWord, for phrases whose models come with its package: its mean probability."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    models = {model.value.replace("_", " "): model for model in Model}
    scores = {phrase: _unheard(samples, frame_samples) for phrase in phrases if phrase in models}
    for phrase, found in scores.items():
        for stream, row in enumerate(track(samples, description=f"microWakeWord, {phrase}")):
            detector, features = MicroWakeWord.from_builtin(models[phrase]), MicroWakeWordFeatures()
            for hop, heard in enumerate(features.process_streaming(_as_bytes(row))):
                likely = detector.process_streaming_prob(heard) or 0.0  # 0 between its steps of some hops
                _raise(found[stream], hop * HOP_SAMPLES // frame_samples, likely)
    return scores


def _unheard(samples: Floats, frame_samples: int) -> Array:
    return np.full((len(samples), samples.shape[1] // frame_samples), NOTHING, np.float32)


def _raise(scores: Array, frame: int, score: float) -> None:
    """Notes a score in a frame `(J,)`; the last one stands for what comes after it."""
    frame = min(frame, len(scores) - 1)
    scores[frame] = max(scores[frame], score)


def _as_bytes(samples: Floats) -> bytes:
    """Samples as 16-bit integers."""
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
