"""What detectors of wake phrases scored: misses against false accepts, by thresholds set on the scores.

Shape letters: B streams, J output frames, P phrases, W windows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.models.decoding.background import WINDOW_FRAMES
from auricle.models.decoding.phrases import Array
from auricle.pipelines.metrics import Interval, share_by_block
from auricle.pipelines.report import plain
from auricle.pipelines.wake_streams import GAP_SAMPLES
from auricle.pipelines.wake_trials import LATE_SAMPLES, Trials, is_other_speech, text_of

RATES = (0.5, 0.1)
"""False accepts per hour at which misses are counted."""


class Outcome(NamedTuple):
    """What one detector scored for one phrase in one condition."""

    own: Array  # highest score in each of its own recordings
    speakers: tuple[str, ...]  # of those
    others: Array  # highest score of each window that holds none of it, falling
    hours: float  # of the speech in those windows

    def threshold(self, rate: float) -> float:
        """The lowest score from which on there are at most `rate` false accepts an hour."""
        allowed = int(rate * self.hours + 1e-9)
        return float(np.nextafter(self.others[allowed], np.float32(np.inf)))

    def missed(self, rate: float) -> NDArray[np.bool_]:
        """Which recordings are not heard there."""
        return np.asarray(self.own < self.threshold(rate))


def outcomes(scores: Mapping[str, Array], trials: Trials, frame_samples: int) -> dict[str, Outcome]:
    """Sorts the scores `(B, J)` of some phrases into their own recordings and all else."""
    found = {}
    for phrase, values in scores.items():
        own, speakers, free = [], [], np.ones(values.shape, bool)
        for place in trials.placed:
            if is_other_speech(place.note):
                continue
            first, last = place.start_sample // frame_samples, (place.end_sample - GAP_SAMPLES + LATE_SAMPLES)
            free[place.stream, first : (place.end_sample + LATE_SAMPLES) // frame_samples + 1] = False
            if text_of(place.note) == phrase:
                own.append(float(values[place.stream, first : last // frame_samples + 1].max()))
                speakers.append(place.note.speaker_or_id)
        found[phrase] = _outcome(own, speakers, values, free, trials.other_hours)
    return found


def by_phrase(scores: Array, phrases: Sequence[str]) -> dict[str, Array]:
    """Takes scores `(B, J, P)` apart."""
    return {phrase: scores[..., number] for number, phrase in enumerate(phrases)}


def _outcome(
    own: Sequence[float],
    speakers: Sequence[str],
    scores: Array,
    free: NDArray[np.bool_],
    hours: float,
) -> Outcome:
    windows = scores.shape[1] // WINDOW_FRAMES
    shape = (len(scores), windows, WINDOW_FRAMES)
    usable = free[:, : windows * WINDOW_FRAMES].reshape(shape)
    others = np.where(usable, scores[:, : windows * WINDOW_FRAMES].reshape(shape), -np.inf).max(2)
    ordered = -np.sort(-others[np.isfinite(others)])
    return Outcome(np.array(own, np.float32), tuple(speakers), ordered.astype(np.float32), hours)


def mean_misses(found: Iterable[Outcome], rate: float) -> Interval:
    """Misses, mean over these very phrases; the interval is by the spread between those who say them.

    Who says several phrases counts once: every speaker's share of the mean is one block.
    """
    found = list(found)
    missed = [outcome.missed(rate) for outcome in found]
    speakers = [speaker for outcome in found for speaker in outcome.speakers]
    weights = np.concatenate([np.full(len(rows), 1 / (len(missed) * len(rows))) for rows in missed])
    return share_by_block(np.concatenate(missed), speakers, weights)


def outcome_table(found: Mapping[str, Outcome], groups: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Plain values of them: each phrase, and means over groups of phrases."""
    table: dict[str, Any] = {"phrases": {}, "means": {}, "det": det_points(list(found.values()))}
    for text, outcome in found.items():
        table["phrases"][text] = {
            "recordings": len(outcome.own),
            "hours": outcome.hours,
            "misses": {str(rate): plain(_misses(outcome, rate)) for rate in RATES},
            "det": det_points([outcome]),
        }
    for name, phrases in groups.items():
        if of_these := [outcome for text, outcome in found.items() if text in phrases]:
            table["means"][name] = {str(rate): plain(mean_misses(of_these, rate)) for rate in RATES}
    return table


def det_points(found: Sequence[Outcome], most: int = 60) -> list[tuple[float, float]]:
    """(false accepts per hour and phrase, misses) for rising numbers of false accepts, means over phrases."""
    fewest = min(len(outcome.others) for outcome in found) - 1
    counts = [0, *sorted({int(count) for count in np.geomspace(1, min(fewest, 2000), most)})]
    misses = [[float((one.own <= one.others[count]).mean()) for one in found] for count in counts]
    hours = float(np.mean([outcome.hours for outcome in found]))
    return [(count / hours, float(np.mean(row))) for count, row in zip(counts, misses, strict=True)]


def _misses(outcome: Outcome, rate: float) -> Interval:
    return share_by_block(outcome.missed(rate), outcome.speakers)
