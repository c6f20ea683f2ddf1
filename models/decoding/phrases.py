"""Keyword search: how well the newest frames fit a phrase, for any number of phrases, frame by frame.

Each way to say a phrase is a chain of phones with optional blanks between them, as CTC models answer. A path
may enter a chain at any frame; every frame costs what its label lies below the best label of that frame, so a
path that costs nothing is what the model itself would have written down. The score of a phrase at a frame is
minus the cost of the cheapest path that ends there, and minus what makes that path unlikely as a whole: that
the model was unsure on the way (where many labels are about as likely, as in noise, any phrase fits), that it
is drawn out, that its phones were hardly named. Nothing scores above 0. All chains lie side by side in one
vector, so a frame takes the same few operations whatever the number of phrases.

Shape letters: B streams, V labels, N places in all chains, W ways to say phrases, P phrases, K frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.models.phones import BLANK_INDEX

Array = NDArray[np.float32]
Word = tuple[int, ...]
"""Labels of one word."""
Way = tuple[Word, ...]
"""One way to say a phrase, word by word."""

NEVER = np.float32(-1e9)
LEAST_POSTERIOR = 1e-8
DOUBT_FRAMES = 100
"""Of a longer path only so many of the newest frames are asked how sure the model was."""


def log_posteriors(posteriors: Array) -> Array:
    """Log-probabilities to search, of posteriors of any shape, which may be 0."""
    found: Array = np.log(np.maximum(posteriors, np.float32(LEAST_POSTERIOR)))
    return found


@dataclass(frozen=True)
class PhraseSearchSettings:
    """How the search weighs its evidence; chosen on dev."""

    blank_shift: float = -2.5
    """Added to the log-probability of the blank: CTC models answer with too many."""
    most: float = 7.0
    """A frame never costs more than this, so a missing phone does not rule a phrase out."""
    gap_cost: float = 0.05
    """Of each frame of blank within a word: phones that belong together come close together."""
    pause_cost: float = 0.0
    """Of each frame of blank between words."""
    onset_cost: float = 4.0
    """Of beginning where someone already speaks: phrases that are meant begin after silence."""
    onset_frames: int = 8
    """Frames before the first phone that should be silent."""
    doubt_cost: float = 10.0
    """Of each nat by which the best label falls short of certain, mean over the frames that name a phone."""
    unsure_nats: float = 0.95
    """Said phrases are doubted less, at 10 dB too; noise alone, where any label is about as likely, more."""
    unsure_cost: float = 100.0
    """Of each nat of doubt beyond that: nothing was said there, however well it fits."""
    slow_cost: float = 3.0
    """Of each frame that a path takes for each of its phones."""
    faint_cost: float = 10.0
    """Of each frame by which those that name a phone fall short of `clear_frames` for each phone."""
    clear_frames: float = 2.5

    def score(self, path: "Evidence") -> Array:
        """Weighs what speaks for paths; `python -m auricle.pipelines.path_weights` fits the weights."""
        faint = np.maximum(0, np.float32(self.clear_frames) - path.named)
        unsure = np.maximum(0, path.doubt - np.float32(self.unsure_nats))
        doubt = self.doubt_cost * path.doubt + self.unsure_cost * unsure
        return np.asarray(
            path.fit - doubt - self.slow_cost * path.frames - self.faint_cost * faint, np.float32
        )


class Evidence(NamedTuple):
    """What speaks for and against paths as wholes."""

    fit: Array  # minus the cost of their labels
    doubt: Array  # nats, mean over what named phones, as if one frame more had been certain
    frames: Array  # that they take for each of their phones
    named: Array  # frames of these that named a phone, for each of theirs, as a mean


class SearchState(NamedTuple):
    """What the search remembers of B streams."""

    score: Array  # (B, N), of the best path into each place
    start: NDArray[np.int64]  # (B, N), number of the frame where that path began
    spoken: NDArray[np.bool_]  # (B, K'), whether each of the newest frames named a phone, newest last
    naming: Array  # (B, K), probability that each of the newest frames names a phone
    doubt: Array  # (B, K), that times how far its best label was from certain, in nats
    frame: int  # number of the next frame


class Found(NamedTuple):
    """The best path through each phrase that ends at a frame."""

    score: Array  # (B, P)
    start: NDArray[np.int64]  # (B, P), number of its first frame
    evidence: Evidence  # each (B, P)


class _Place(NamedTuple):
    """One place in a chain."""

    label: int
    extra: float  # added to what the label scores
    before: int | None  # the place before, None at an entrance
    skipped: int | None = None  # the place two before, where the blank between may be left out

    def moved(self, offset: int) -> "_Place":
        """The same place in a chain that begins so much later."""
        before = None if self.before is None else self.before + offset
        return self._replace(before=before, skipped=None if self.skipped is None else self.skipped + offset)


def _chain(way: Way, settings: PhraseSearchSettings) -> list[_Place]:
    """Phone, blank, phone, ..., phone; two equal phones need the blank between them."""
    chain: list[_Place] = []
    for word in way:
        for number, label in enumerate(word):
            if not chain:
                chain.append(_Place(label, 0.0, None))
                continue
            last = len(chain) - 1
            cost = settings.gap_cost if number else settings.pause_cost
            chain.append(_Place(BLANK_INDEX, -cost, last))
            chain.append(_Place(label, 0.0, last + 1, None if chain[last].label == label else last))
    return chain


class PhraseSearch:
    """The chains of all ways to say all phrases; settings only."""

    def __init__(self, phrases: Sequence[Sequence[Way]], settings: PhraseSearchSettings) -> None:
        """Lays the chains side by side.

        Args:
            phrases: for each phrase its ways, each a non-empty sequence of words, each of labels from 1.
            settings: weights.
        """
        self.phrases, self.settings = tuple(tuple(ways) for ways in phrases), settings
        chains = [[_chain(way, settings) for way in ways] for ways in self.phrases]
        places: list[_Place] = []
        ends: list[list[int]] = []
        self.spans: list[slice] = []
        for own in chains:
            begin = len(places)
            ends.append([])
            for chain in own:
                offset = len(places)
                places += [place.moved(offset) for place in chain]
                ends[-1].append(len(places) - 1)
            self.spans.append(slice(begin, len(places)))
        nowhere, entrance = len(places), len(places) + 1
        self.places = len(places)
        self._labels = np.array([place.label for place in places], np.intp)
        self._extra = np.array([place.extra for place in places], np.float32)
        self._before = np.array([entrance if p.before is None else p.before for p in places], np.intp)
        self._skipped = np.array([nowhere if p.skipped is None else p.skipped for p in places], np.intp)
        sizes = [sum(map(len, way)) for ways in self.phrases for way in ways]
        self._phones = np.zeros(len(places), np.float32)  # of the way that ends at a place
        self._phones[[end for own_ends in ends for end in own_ends]] = sizes
        widest = max(map(len, ends), default=1)
        filled = [[*own_ends, *[own_ends[-1]] * (widest - len(own_ends))] for own_ends in ends]
        self._ends = np.array(filled, np.intp).reshape(len(ends), widest)
        self._each = np.arange(len(ends))

    def initial_state(self, streams: int = 1) -> SearchState:
        """State of streams that have heard nothing."""
        score = np.full((streams, self.places), NEVER, np.float32)
        spoken = np.zeros((streams, self.settings.onset_frames), np.bool_)
        nothing = np.zeros((streams, DOUBT_FRAMES), np.float32)
        return SearchState(score, np.zeros(score.shape, np.int64), spoken, nothing, nothing, 0)

    def step(self, log_probs: Array, state: SearchState) -> tuple[Found, SearchState]:
        """Takes one frame of each stream `(B, V)`; the old state stays as it was."""
        settings = self.settings
        shifted = log_probs.copy()
        shifted[:, BLANK_INDEX] += np.float32(settings.blank_shift)
        best_label = shifted.argmax(1)
        shifted -= shifted.max(1, keepdims=True)
        heard = np.maximum(shifted, np.float32(-settings.most))[:, self._labels] + self._extra
        streams = len(log_probs)
        onset = np.minimum(state.spoken.sum(1, keepdims=True), 2) * np.float32(-settings.onset_cost / 2)
        score = np.concatenate([state.score, np.full((streams, 1), NEVER), onset], 1, dtype=np.float32)
        now = np.full((streams, 2), state.frame, np.int64)
        start = np.concatenate([state.start, now], 1)
        best, origin = state.score, state.start
        for source in (self._before, self._skipped):
            other = score[:, source]
            better = other > best
            best = np.where(better, other, best)
            origin = np.where(better, start[:, source], origin)
        best = best + heard
        spoken = np.concatenate([state.spoken[:, 1:], (best_label != BLANK_INDEX)[:, None]], 1)
        naming, doubt = _newest(shifted, state)
        ended = best[:, self._ends]  # (B, P, ways)
        place = self._ends[self._each, ended.argmax(2)]  # (B, P), the best end of each phrase
        stream = np.arange(streams)[:, None]
        after = SearchState(best, origin, spoken, naming, doubt, state.frame + 1)
        begun = origin[stream, place]
        evidence = self._evidence(best[stream, place], after.frame - begun, self._phones[place], after)
        return Found(settings.score(evidence), begun, evidence), after

    @staticmethod
    def _evidence(fit: Array, frames: NDArray[np.int64], phones: Array, state: SearchState) -> Evidence:
        """What speaks for the paths `(B, P)` that end with the newest frame."""
        back = np.minimum(frames, DOUBT_FRAMES) - 1
        named, doubted = (
            np.take_along_axis(np.cumsum(newest[:, ::-1], 1, dtype=np.float32), back, 1)
            for newest in (state.naming, state.doubt)
        )
        return Evidence(fit, doubted / (named + 1), frames.astype(np.float32) / phones, named / phones)

    def forget(self, phrase: int, state: SearchState) -> SearchState:
        """Gives up all paths through a phrase: what was heard of it is used up."""
        score = state.score.copy()
        score[:, self.spans[phrase]] = NEVER
        return state._replace(score=score)

    def adopt(self, other: "PhraseSearch", state: SearchState) -> SearchState:
        """Carries a state over from another set of phrases: those in both go on, new ones begin."""
        fresh = self.initial_state(len(state.score))
        for ways, span in zip(self.phrases, self.spans, strict=True):
            if ways in other.phrases:
                old = other.spans[other.phrases.index(ways)]
                fresh.score[:, span], fresh.start[:, span] = state.score[:, old], state.start[:, old]
        return fresh._replace(spoken=state.spoken, naming=state.naming, doubt=state.doubt, frame=state.frame)


def _newest(below: Array, state: SearchState) -> tuple[Array, Array]:
    """What is remembered of the newest frames after one more.

    Args:
        below: how far each label of the frame lies below the best one, as a log-probability, `(B, V)`.
        state: what was remembered before.
    """
    likely = np.exp(below)
    total = likely.sum(1)
    names = 1 - likely[:, BLANK_INDEX] / total
    naming = np.concatenate([state.naming[:, 1:], names[:, None]], 1)
    return naming, np.concatenate([state.doubt[:, 1:], (names * np.log(total))[:, None]], 1)
