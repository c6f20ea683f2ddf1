"""From posteriors to decisions, as evaluation counts them.

Shape letters: B streams, J output frames, V labels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auricle.configs.detector_settings import KeywordSettings
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.streams import Placed
from auricle.pipelines.vocabulary import SILENCE_INDEX, UNKNOWN_INDEX

Posteriors = NDArray[np.float32]

DEFAULTS = KeywordSettings()
"""Evaluation decides as the daemon does unless told otherwise."""
FRAME_MS = 40
SMOOTH_FRAMES = round(DEFAULTS.smooth_ms / FRAME_MS)
THRESHOLD = DEFAULTS.threshold
"""A keyword is reported where its smoothed posterior reaches this."""
REFRACTORY_S = DEFAULTS.refractory_ms / 1000
HEARD_FROM_S = 0.28
"""A word's window begins this long after its clip: before, the word before it may still be heard, for its
label holds 160 ms beyond its end (`targets.WordRule`) and the smoothing adds 120."""
HEARD_UNTIL_S = 0.2
"""A word's window ends this long after its clip."""
LEAST = 0.35
"""Below this smoothed posterior for every word, a clip counts as silence."""


def smooth(posterior: Posteriors, frames: int = SMOOTH_FRAMES) -> Posteriors:
    """Mean over the newest so many frames, along the axis of `(J, V)` or `(B, J, V)` before the last.

    Before the first frame there were zeros, as in the daemon.
    """
    total = np.cumsum(posterior, axis=-2, dtype=np.float64)
    result = total.copy()
    result[..., frames:, :] -= total[..., :-frames, :]
    return (result / frames).astype(np.float32)


def word_scores(
    posterior: Posteriors, placed: Sequence[Placed], frame_samples: int, delay_samples: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Decides which word was said in each clip of a stream.

    Args:
        posterior: with shape `(B, J, V)`.
        placed: where the clips lie; their note is the label.
        frame_samples: samples for each output frame.
        delay_samples: how late outputs are.

    Returns:
        The true labels and the labels found: the word with the highest smoothed posterior in the window of
        its clip, or silence.
    """
    smoothed = smooth(posterior)
    smoothed[..., SILENCE_INDEX] = LEAST
    truth, found = [], []
    for place in placed:
        start = place.start_sample + delay_samples + round(HEARD_FROM_S * SAMPLE_RATE)
        end = place.end_sample + delay_samples + round(HEARD_UNTIL_S * SAMPLE_RATE)
        first = min(start // frame_samples, posterior.shape[1] - 1)
        window = smoothed[place.stream, first : max(end // frame_samples, first + 1)]
        truth.append(place.note)
        found.append(int(window.max(0).argmax()))
    return np.array(truth), np.array(found)


def events(
    posterior: Posteriors, frame_samples: int, threshold: float = THRESHOLD
) -> list[tuple[int, int, float]]:
    """Keywords reported in one stream `(J, V)`, by the daemon's rule (a test holds the two together).

    A word is reported where its smoothed posterior is the highest and reaches the threshold; not again within
    the refractory time, nor before it has fallen below half the threshold.

    Returns:
        (output frame, label, smoothed posterior) of each.
    """
    smoothed = smooth(posterior)
    smoothed[:, [SILENCE_INDEX, UNKNOWN_INDEX]] = 0.0
    best, scores = smoothed.argmax(1), smoothed.max(1)
    found: list[tuple[int, int, float]] = []
    newest: dict[int, int] = {}
    for frame in np.flatnonzero(scores >= threshold).tolist():
        label = int(best[frame])
        before = newest.get(label)
        if before is not None:
            fallen = smoothed[before + 1 : frame, label].min(initial=1.0) < threshold / 2
            if not fallen or (frame - before) * frame_samples < REFRACTORY_S * SAMPLE_RATE:
                continue
        newest[label] = frame
        found.append((frame, label, float(scores[frame])))
    return found


def count_events(posterior: Posteriors, frame_samples: int, threshold: float = THRESHOLD) -> int:
    """Number of keywords reported in one stream `(J, V)`."""
    return len(events(posterior, frame_samples, threshold))
