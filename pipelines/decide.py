"""From posteriors to decisions, as evaluation counts them.

Shape letters: B streams, J output frames, V labels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.streams import Placed
from auricle.pipelines.vocabulary import SILENCE_INDEX, UNKNOWN_INDEX

Posteriors = NDArray[np.float32]

SMOOTH_FRAMES = 3
THRESHOLD = 0.7
"""A keyword is reported where its smoothed posterior reaches this."""
REFRACTORY_S = 0.8
HEARD_FROM_S = 0.2
"""A word's window begins this long after its clip: before, the label of the word before it may hold."""
HEARD_UNTIL_S = 0.12
"""A word's window ends this long after its clip."""
LEAST = 0.35
"""Below this smoothed posterior for every word, a clip counts as silence."""


def smooth(posterior: Posteriors, frames: int = SMOOTH_FRAMES) -> Posteriors:
    """Mean over the newest so many frames, along the axis of `(J, V)` or `(B, J, V)` before the last."""
    total = np.cumsum(posterior, axis=-2, dtype=np.float64)
    result = total.copy()
    result[..., frames:, :] -= total[..., :-frames, :]
    width = np.minimum(np.arange(1, posterior.shape[-2] + 1), frames)[:, None]
    return (result / width).astype(np.float32)


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
    """Keywords reported in one stream: (output frame, label, smoothed posterior), with refractory time."""
    smoothed = smooth(posterior)
    smoothed[:, [SILENCE_INDEX, UNKNOWN_INDEX]] = 0.0
    best, scores = smoothed.argmax(1), smoothed.max(1)
    refractory = round(REFRACTORY_S * SAMPLE_RATE / frame_samples)
    found: list[tuple[int, int, float]] = []
    next_frame = 0
    for frame in np.flatnonzero(scores >= threshold).tolist():
        if frame >= next_frame:
            found.append((frame, int(best[frame]), float(scores[frame])))
            next_frame = frame + refractory
    return found


def count_events(posterior: Posteriors, frame_samples: int, threshold: float = THRESHOLD) -> int:
    """Number of keywords reported in one stream `(J, V)`."""
    return len(events(posterior, frame_samples, threshold))
