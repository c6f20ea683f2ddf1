"""When posteriors become events: pure logic on the sample clock, no clock of its own and no I/O.

Each rule is a frozen dataclass of settings with `step(input, state) -> (decision or None, state)`, so that a
stream's whole state is a value that can be stored and moved.

Shape letters: V labels, K posteriors under smoothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class SpeechState(NamedTuple):
    """What the segmenter remembers of a stream."""

    speaking: bool = False
    candidate: int | None = None  # first sample of a run that may become speech
    start: int = 0  # reported start of the current segment, pre-roll included
    last_speech: int = 0  # end of the newest frame that was speech
    score_sum: float = 0.0
    frames: int = 0


class SpeechStart(NamedTuple):
    """Speech has begun."""

    start_sample: int
    score: float


class SpeechStop(NamedTuple):
    """Speech has ended."""

    start_sample: int
    end_sample: int
    score: float


@dataclass(frozen=True)
class SpeechSegmenter:
    """Hysteresis, a shortest length and a hangover turn frame posteriors into segments.

    Speech starts when the posterior, having reached `onset`, has stayed above `offset` for
    `min_speech_samples`; it stops when it has stayed below `offset` for `hangover_samples`, and then ended
    where it last was speech.
    """

    onset: float
    offset: float
    min_speech_samples: int
    hangover_samples: int
    preroll_samples: int
    frame_samples: int

    def step(
        self, posterior: float, end_sample: int, state: SpeechState
    ) -> tuple[SpeechStart | SpeechStop | None, SpeechState]:
        """Takes one frame.

        Args:
            posterior: probability of speech in the frame, 0 to 1.
            end_sample: where the frame ends on the stream's timeline.
            state: what was heard before.

        Returns:
            A decision or None, and the new state.
        """
        if state.speaking:
            return self._speaking(posterior, end_sample, state)
        if posterior < (self.onset if state.candidate is None else self.offset):
            return None, state._replace(candidate=None, score_sum=0.0, frames=0)
        candidate = end_sample - self.frame_samples if state.candidate is None else state.candidate
        state = state._replace(
            candidate=candidate, score_sum=state.score_sum + posterior, frames=state.frames + 1
        )
        if end_sample - candidate < self.min_speech_samples:
            return None, state
        start = max(candidate - self.preroll_samples, state.last_speech, 0)
        decision = SpeechStart(start, state.score_sum / state.frames)
        return decision, state._replace(speaking=True, start=start, last_speech=end_sample)

    def _speaking(
        self, posterior: float, end_sample: int, state: SpeechState
    ) -> tuple[SpeechStop | None, SpeechState]:
        if posterior >= self.offset:
            total, frames = state.score_sum + posterior, state.frames + 1
            return None, state._replace(last_speech=end_sample, score_sum=total, frames=frames)
        if end_sample - state.last_speech < self.hangover_samples:
            return None, state
        return self.finish(state)

    def finish(self, state: SpeechState) -> tuple[SpeechStop | None, SpeechState]:
        """Ends the segment that is under way, if any: the stream is over or its state is reset."""
        if not state.speaking:
            return None, SpeechState(last_speech=state.last_speech)
        stop = SpeechStop(state.start, state.last_speech, state.score_sum / state.frames)
        return stop, SpeechState(last_speech=state.last_speech)


class KeywordState(NamedTuple):
    """What the trigger remembers of a stream."""

    recent: Array  # (K, V), the newest posteriors, newest last
    armed: NDArray[np.bool_]  # (V,), false from a hit until its posterior has fallen again
    blocked_until: NDArray[np.int64]  # (V,), no hit of a label may be decided before its sample


class Hit(NamedTuple):
    """A label was heard; `score` is its highest posterior under the smoothing window."""

    label: int
    score: float


@dataclass(frozen=True)
class KeywordTrigger:
    """A smoothed posterior above a threshold makes a hit, once for each time it rises.

    After a hit the same label is not heard again for `refractory_samples`, nor before its smoothed posterior
    has fallen below half the threshold, so that a long word is not heard twice. Others may follow at once.
    """

    labels: tuple[int, ...]
    """Which of the model's outputs can make a hit."""
    threshold: float
    smooth_frames: int
    refractory_samples: int

    def initial_state(self, outputs: int) -> KeywordState:
        """State of a stream that has heard nothing, for a model of V outputs."""
        recent = np.zeros((self.smooth_frames, outputs), dtype=np.float32)
        return KeywordState(recent, np.ones(outputs, dtype=np.bool_), np.zeros(outputs, dtype=np.int64))

    def step(self, posterior: Array, end_sample: int, state: KeywordState) -> tuple[Hit | None, KeywordState]:
        """Takes one frame.

        Args:
            posterior: with shape `(V,)`.
            end_sample: where the frame ends on the stream's timeline.
            state: what was heard before.

        Returns:
            A hit or None, and the new state.
        """
        recent = np.concatenate([state.recent[1:], posterior[None]])
        smooth = recent.mean(axis=0)
        armed = state.armed | (smooth < self.threshold / 2)
        label = max(self.labels, key=lambda index: smooth[index])
        if smooth[label] < self.threshold or not armed[label] or end_sample < state.blocked_until[label]:
            return None, KeywordState(recent, armed, state.blocked_until)
        armed[label] = False
        blocked_until = state.blocked_until.copy()
        blocked_until[label] = end_sample + self.refractory_samples
        hit = Hit(label, float(recent[:, label].max()))
        return hit, KeywordState(recent, armed, blocked_until)
