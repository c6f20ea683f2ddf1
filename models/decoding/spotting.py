"""From the scores of a keyword search to phrases heard: thresholds, scores from 0 to 1, refractory times.

Shape letters: V labels, P phrases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from auricle.models.decoding.background import LEAST_RATE, Background, Tail
from auricle.models.decoding.phrases import Array, PhraseSearch, SearchState, Way

SETTLE_FRAMES = 2
"""A phrase is reported once its score has not risen for so many frames: then its last phone is in."""
BEST_SCORE = -0.05
"""Nothing can score above 0: a threshold beyond is lowered to here."""


@dataclass(frozen=True)
class Wanted:
    """A phrase to listen for."""

    ways: tuple[Way, ...]
    false_accepts_per_hour: float
    refractory_samples: int


def rate_of(score: float) -> float:
    """The false accepts per hour that a published score stands for."""
    return max(LEAST_RATE, (1 - score) / score)


class Hit(NamedTuple):
    """A phrase was heard."""

    phrase: int
    score: float
    """From 0 to 1: 0.5 where one false accept an hour is expected, 0.91 at one in ten hours."""
    start_sample: int
    end_sample: int


class Pending(NamedTuple):
    """The best that was heard of a phrase, which may become better still."""

    raw: float
    frames: int  # of its path
    end_sample: int


class SpotterState(NamedTuple):
    """What the spotter remembers of a stream."""

    search: PhraseSearch  # that the paths belong to
    paths: SearchState
    pending: dict[tuple[Way, ...], Pending]
    blocked_until: dict[tuple[Way, ...], int]  # a phrase is not heard again before this sample


class Spotter:
    """Listens for any number of phrases.

    What was heard of a phrase is used up once the phrase is reported, so one utterance is never heard twice:
    it takes the whole phrase, said anew, after its refractory time.
    """

    def __init__(self, wanted: Sequence[Wanted], background: Background, frame_samples: int) -> None:
        """Searches the background for every phrase, to find its threshold: a second or so."""
        self._background, self._frame_samples = background, frame_samples
        self.wanted: tuple[Wanted, ...] = ()
        self.tails: tuple[Tail, ...] = ()
        self.search = PhraseSearch((), background.info.search)
        self._thresholds = np.zeros(0, np.float32)
        self.change(wanted)

    def change(self, wanted: Sequence[Wanted]) -> None:
        """Listens for these phrases instead; those that stay lose nothing of what was heard of them."""
        settings = self._background.info.search
        known = dict(zip(self.search.phrases, self.tails, strict=True))
        new = list(dict.fromkeys(entry.ways for entry in wanted if entry.ways not in known))
        if new:
            known |= dict(zip(new, self._background.tails(PhraseSearch(new, settings)), strict=True))
        self.wanted = tuple(wanted)
        self.tails = tuple(known[entry.ways] for entry in wanted)
        self.search = PhraseSearch([entry.ways for entry in wanted], settings)
        raw = [
            min(BEST_SCORE, tail.score_at(entry.false_accepts_per_hour))
            for entry, tail in zip(wanted, self.tails, strict=True)
        ]
        self._thresholds = np.array(raw, np.float32)

    def least_rate(self, phrase: int) -> float:
        """False accepts per hour of a phrase if only what fits it perfectly is heard."""
        return self.tails[phrase].rate(BEST_SCORE)

    def initial_state(self) -> SpotterState:
        """State of a stream that has heard nothing."""
        return SpotterState(self.search, self.search.initial_state(), {}, {})

    def step(self, log_probs: Array, end_sample: int, state: SpotterState) -> tuple[list[Hit], SpotterState]:
        """Takes one frame `(V,)` that ends at a sample."""
        if state.search is not self.search:
            state = state._replace(search=self.search, paths=self.search.adopt(state.search, state.paths))
        if not self.wanted:
            return [], state
        frame = state.paths.frame
        found, paths = self.search.step(log_probs[None], state.paths)
        state, pending = state._replace(paths=paths), dict(state.pending)
        for number in np.flatnonzero(found.score[0] >= self._thresholds).tolist():
            ways, raw = self.wanted[number].ways, float(found.score[0, number])
            if end_sample < state.blocked_until.get(ways, 0):
                state = state._replace(paths=self.search.forget(number, state.paths))
            elif ways not in pending or raw > pending[ways].raw:
                pending[ways] = Pending(raw, frame + 1 - int(found.start[0, number]), end_sample)
        return self._settled(end_sample, state._replace(pending=pending))

    def finish(self, end_sample: int, state: SpotterState) -> tuple[list[Hit], SpotterState]:
        """Reports what is pending: nothing will follow."""
        return self._settled(end_sample, state, wait_frames=0)

    def _settled(
        self, end_sample: int, state: SpotterState, wait_frames: int = SETTLE_FRAMES
    ) -> tuple[list[Hit], SpotterState]:
        """Reports the pending phrases that will not become better."""
        hits = []
        for number, entry in enumerate(self.wanted if state.pending else ()):
            best = state.pending.get(entry.ways)
            if best is None or end_sample - best.end_sample < wait_frames * self._frame_samples:
                continue
            hits.append(self._hit(number, best.raw, best.frames, best.end_sample))
            state = state._replace(
                paths=self.search.forget(number, state.paths),
                pending={ways: kept for ways, kept in state.pending.items() if ways != entry.ways},
                blocked_until={**state.blocked_until, entry.ways: end_sample + entry.refractory_samples},
            )
        return hits, state

    def _hit(self, number: int, raw: float, frames: int, end_sample: int) -> Hit:
        info = self._background.info
        start = end_sample - frames * self._frame_samples + info.start_shift_samples
        end = end_sample + info.end_shift_samples
        score = 1.0 / (1.0 + self.tails[number].rate(raw))
        return Hit(number, score, max(0, start), max(0, start, end))
