"""From the scores of a keyword search to phrases heard: thresholds, scores from 0 to 1, refractory times.

Shape letters: K newest frames, V labels, H hidden values, P phrases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from auricle.models.decoding.background import LEAST_RATE, Background, encode
from auricle.models.decoding.listening import Listening, Wanted, listen_to_nothing, prepare
from auricle.models.decoding.phrases import Array, PhraseSearch, SearchState, Way
from auricle.models.decoding.second_look import MOST_LOOKED_AT, FirstPass, SecondLook
from auricle.models.decoding.verifier import MOST_FRAMES, Candidate, cut

SETTLE_FRAMES = 2
"""A phrase is reported once its score has not risen for so many frames: then its last phone is in."""
NEAR_FRAMES = 25
"""A near miss is one if the phrase is not heard within so many frames after it."""


def rate_of(score: float) -> float:
    """The false accepts per hour that a published score stands for."""
    return max(LEAST_RATE, (1 - score) / score)


def asked_rate(threshold: float, false_accepts_per_hour: float) -> float:
    """The false accepts per hour that settings ask for: by a threshold, unless that is 0, or as such."""
    return rate_of(threshold) if threshold else false_accepts_per_hour


class Hit(NamedTuple):
    """A phrase was heard."""

    phrase: int
    score: float
    """From 0 to 1: 0.5 where one false accept an hour is expected, 0.91 at one in ten hours."""
    start_sample: int
    end_sample: int
    near: bool = False
    """It was not: its score came near the threshold and stayed below."""


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
    near: dict[tuple[Way, ...], Pending]  # the best below its threshold
    near_from: dict[tuple[Way, ...], int]  # the next near miss begins at this sample or later
    heard: Array  # (K, V), the newest frames, where a phrase has a verifier or there is a second pass
    hidden: tuple[Array, ...]  # (H,) of each of those, where there is a second pass
    first_sample: int  # of what was heard; nothing begins before it


class Spotter:
    """Listens for any number of phrases.

    What was heard of a phrase is used up once the phrase is reported, so one utterance is never heard twice:
    it takes the whole phrase, said anew, after its refractory time.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        background: Background,
        frame_samples: int,
        second_look: SecondLook | None = None,
    ) -> None:
        """Searches the background for every phrase, to find its threshold: a second or so.

        Args:
            wanted: the phrases.
            background: speech as the model heard it.
            frame_samples: samples for each frame.
            second_look: looks again at what the search finds; then `step` wants hidden values.
        """
        self._background, self._frame_samples = background, frame_samples
        self._second = second_look
        self.use(listen_to_nothing(background))
        self.change(wanted)

    def change(self, wanted: Sequence[Wanted]) -> None:
        """Listens for these phrases instead; those that stay lose nothing of what was heard of them."""
        self.use(self.prepare(wanted))

    def prepare(self, wanted: Sequence[Wanted]) -> Listening:
        """Searches the backgrounds for the phrases that are new; changes nothing, so any thread may do it."""
        return prepare(wanted, self._background, self._second, self._listening)

    def use(self, listening: Listening) -> None:
        """Listens for what was prepared, from the next frame on."""
        self._listening = listening
        self.wanted, self.tails, self.search = listening.wanted, listening.tails, listening.search
        self._verifies = any(entry.verifier for entry in self.wanted)

    def looks_at(self, phrase: int) -> bool:
        """Whether the second pass looks at what is found of this phrase."""
        return self._listening.looked_at[phrase]

    def least_rate(self, phrase: int) -> float:
        """False accepts per hour of a phrase if only what fits it perfectly is heard."""
        return self.tails[phrase].least_rate

    def initial_state(self, position: int = 0) -> SpotterState:
        """State of a stream that has heard nothing before sample `position`."""
        nothing = np.zeros((0, self._background.codes.shape[2]), np.float32)
        return SpotterState(self.search, self.search.initial_state(), {}, {}, {}, {}, nothing, (), position)

    def is_current(self, state: SpotterState) -> bool:
        """Whether a state belongs to the phrases that are listened for now."""
        return state.search is self.search

    def step(
        self, log_probs: Array, end_sample: int, state: SpotterState, hidden: Array | None = None
    ) -> tuple[list[Hit], SpotterState]:
        """Takes one frame `(V,)` that ends at a sample, with its hidden values `(H,)` for a second look."""
        if not self.is_current(state):
            wanted = {entry.ways for entry in self.wanted}
            state = state._replace(
                search=self.search,
                # While nothing was listened for, nothing was kept.
                heard=state.heard if state.search.phrases else state.heard[:0],
                hidden=state.hidden if state.search.phrases else (),
                paths=self.search.adopt(state.search, state.paths),
                pending={ways: found for ways, found in state.pending.items() if ways in wanted},
                near={ways: found for ways, found in state.near.items() if ways in wanted},
            )
        if not self.wanted:
            return [], state
        frame = state.paths.frame
        found, paths = self.search.step(log_probs[None], state.paths)
        state = state._replace(paths=paths)
        if self._second:  # wanted or not: a phrase may be looked at from the next frame on
            assert hidden is not None
            state = state._replace(hidden=(*state.hidden[1 - MOST_LOOKED_AT :], hidden))
        if self._second or self._verifies:
            most = MOST_LOOKED_AT if self._second else MOST_FRAMES
            state = state._replace(heard=np.concatenate([state.heard[1 - most :], log_probs[None]]))
        elif len(state.heard):  # a verifier that comes later must not see what is long past
            state = state._replace(heard=state.heard[:0])
        thresholds, near_from = self._listening.thresholds, self._listening.near
        pending, near = dict(state.pending), dict(state.near)
        for number in np.flatnonzero(found.score[0] >= near_from).tolist():
            ways, raw = self.wanted[number].ways, float(found.score[0, number])
            heard = found.score[0, number] >= thresholds[number]
            if end_sample < state.blocked_until.get(ways, 0):
                if heard:
                    state = state._replace(paths=self.search.forget(number, state.paths))
                continue
            frames = frame + 1 - int(found.start[0, number])
            if not heard and end_sample - frames * self._frame_samples < state.near_from.get(ways, 0):
                continue
            best = pending if heard else near
            if ways not in best or raw > best[ways].raw:
                best[ways] = Pending(raw, frames, end_sample)
        return self._settled(end_sample, state._replace(pending=pending, near=near))

    def finish(self, end_sample: int, state: SpotterState) -> tuple[list[Hit], SpotterState]:
        """Reports what is pending: nothing will follow."""
        return self._settled(end_sample, state, wait_frames=0)

    def _settled(
        self, end_sample: int, state: SpotterState, wait_frames: int = SETTLE_FRAMES
    ) -> tuple[list[Hit], SpotterState]:
        """Reports the pending phrases, and near misses, that will not become better."""
        hits, state = self._phrases_settled(end_sample, state, wait_frames)
        near, state = self._near_settled(end_sample, state, NEAR_FRAMES if wait_frames else 0)
        return hits + near, state

    def _phrases_settled(
        self, end_sample: int, state: SpotterState, wait_frames: int
    ) -> tuple[list[Hit], SpotterState]:
        hits = []
        for number, entry in enumerate(self.wanted if state.pending else ()):
            best = state.pending.get(entry.ways)
            if best is None or end_sample - best.end_sample < wait_frames * self._frame_samples:
                continue
            state = state._replace(pending=_without(entry.ways, state.pending))
            score = self._judged(number, best, end_sample, state)
            if score < self._listening.decided[number]:
                # Nothing is used up: the phrase may still be under way.
                state = self._nearly(number, best._replace(raw=score), state)
                continue
            hits.append(self._hit(number, best, score, state.first_sample))
            state = state._replace(
                paths=self.search.forget(number, state.paths),
                near=_without(entry.ways, state.near),
                blocked_until={**state.blocked_until, entry.ways: end_sample + entry.refractory_samples},
            )
        return hits, state

    def _near_settled(
        self, end_sample: int, state: SpotterState, wait_frames: int
    ) -> tuple[list[Hit], SpotterState]:
        hits = []
        for number, entry in enumerate(self.wanted if state.near else ()):
            best = state.near.get(entry.ways)
            if best is None or entry.ways in state.pending:
                continue
            if end_sample - best.end_sample < wait_frames * self._frame_samples:
                continue
            hits.append(self._hit(number, best, best.raw, state.first_sample)._replace(near=True))
            state = state._replace(
                near=_without(entry.ways, state.near),
                near_from={**state.near_from, entry.ways: best.end_sample},
            )
        return hits, state

    def _judged(self, number: int, best: Pending, end_sample: int, state: SpotterState) -> float:
        """What the search, a verifier or the second pass says of a find; those from the newest frames."""
        entry, since = self.wanted[number], (end_sample - best.end_sample) // self._frame_samples
        if entry.verifier:
            candidate = Candidate(
                len(state.heard) - 1 - since, best.raw, len(state.heard) - since - best.frames
            )
            codes = encode(state.heard, len(state.heard))[0]
            return entry.verifier.score(cut(codes, candidate), best.raw)
        if not self._second or not self.looks_at(number):
            return best.raw
        heard = FirstPass(state.heard, np.stack(state.hidden))
        return self._second.score(entry.ways, heard, best.frames, since)

    def _nearly(self, number: int, best: Pending, state: SpotterState) -> SpotterState:
        """Notes what was refused at the second look, if that came near its threshold."""
        entry = self.wanted[number]
        wanted = entry.near_per_hour and best.raw >= self.tails[number].score_at(entry.near_per_hour)
        start = best.end_sample - best.frames * self._frame_samples
        other = state.near.get(entry.ways)
        if not wanted or start < state.near_from.get(entry.ways, 0) or (other and other.raw >= best.raw):
            return state
        return state._replace(near={**state.near, entry.ways: best})

    def _hit(self, number: int, best: Pending, raw: float, first_sample: int) -> Hit:
        info = self._background.info
        start = best.end_sample - best.frames * self._frame_samples + info.start_shift_samples
        end = best.end_sample + info.end_shift_samples
        score = 1.0 / (1.0 + self.tails[number].rate(raw))
        start = max(first_sample, start)
        return Hit(number, score, start, max(start, end))


def _without(ways: tuple[Way, ...], kept: dict[tuple[Way, ...], Pending]) -> dict[tuple[Way, ...], Pending]:
    return {other: best for other, best in kept.items() if other != ways}
