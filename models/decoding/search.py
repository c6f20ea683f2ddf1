"""An exact Viterbi search over a command graph, frame by frame, vectorised over its states.

Every phone may be followed by label 0 (blank or silence), which must stand between two equal phones of a
word. Before and after the sentence there may be any sound, at a price for each frame. All scores are relative
to the most likely label of each frame: the score of a path is the logarithm of how much worse it explains
the audio than no grammar at all, 0 at best.

Shape letters: N states, C chains, K and M joints as in `graph`, T frames, V labels.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.models.decoding.graph import CommandGraph
from auricle.models.decoding.word_network import Scalar

Floats = NDArray[np.float32]
NEVER = np.float32(-np.inf)
MOVED, FROM_PAUSE, PAUSED = 1, 2, 4
"""Bits of a state's history: its phone was entered in this frame; from a pause; its pause was."""
ENDED_BEFORE = -1
AROUND_FRAMES = 25
"""What is further from a sentence says nothing about it: noise may go on for long."""
ROUNDING = 1e-2
"""A sentence that goes on in silence is no better than one that has ended."""


@dataclass(frozen=True)
class SearchConfig:
    """How posteriors are weighed."""

    blank_shift: float = -3.0
    """Added to the log-probability of label 0; peaky (CTC) posteriors want it negative."""
    smoothing: float = 1e-2
    """Part of each posterior that is spread evenly over all labels."""
    filler_cost: float = 3.0
    """Price of each frame of sound outside the sentence."""

    def log_ratios(self, posterior: Floats) -> Floats:
        """Log-probabilities `(V,)` of a frame's labels relative to its most likely one."""
        smooth = posterior * np.float32(1 - self.smoothing) + np.float32(self.smoothing / len(posterior))
        log_probs: Floats = np.log(smooth)
        log_probs[0] += np.float32(self.blank_shift)
        log_probs -= log_probs.max()
        return log_probs


class Step(NamedTuple):
    """What one frame leaves behind for the way back."""

    before: "Step | None"
    log_ratios: Floats  # (V,)
    bits: NDArray[np.uint8]  # (N,)
    phone_ends: Floats  # (C,), scores of last states before the frame
    pause_ends: Floats  # (C,)
    joints: Floats  # (K + 1,)
    closed: int  # joint at which the sentence ended just before this frame, or ENDED_BEFORE
    outside: float  # log-likelihood ratio of the frame outside the sentence


class SearchState(NamedTuple):
    """Scores of all partial sentences."""

    graph: CommandGraph
    phones: Floats  # (N,)
    pauses: Floats  # (N,) label 0 after each state's phone
    before: float  # nothing said yet
    after: float  # all said
    frames: int
    steps: Step | None
    ended: int = 0
    """Frame after which the best sentence that is all said was over."""


class FoundWord(NamedTuple):
    """A word of a path, in frames from the utterance's first."""

    word: str
    start_frame: int
    end_frame: int
    phones: int
    score: float
    contrast: float
    """How much worse, on average, any other phone would explain its phones' first frames, summed."""


class Sentence(NamedTuple):
    """The best sentence of the grammar."""

    words: tuple[FoundWord, ...]
    intent: str
    slots: dict[str, Scalar]
    score: float
    """Of the whole utterance, what is outside the sentence included."""
    frames: int
    around: float = 0.0
    """The part of it that the frames just before and behind the sentence have, `AROUND_FRAMES` each."""


Progress = Literal["nothing", "partial", "final"]


def begin(graph: CommandGraph) -> SearchState:
    """The state before the first frame."""
    nothing = np.full(len(graph.labels), NEVER)
    return SearchState(graph, nothing, nothing, 0.0, float(NEVER), 0, None)


def step(posterior: Floats, state: SearchState, config: SearchConfig) -> SearchState:
    """Takes one frame `(V,)`."""
    graph, phones, pauses = state.graph, state.phones, state.pauses
    ratios = config.log_ratios(posterior)
    phone_ends, pause_ends = phones[graph.last], pauses[graph.last]
    joints = np.empty(len(graph.last_starts) + 1, np.float32)
    np.maximum.reduceat(np.maximum(phone_ends, pause_ends), graph.last_starts, out=joints[:-1])
    joints[-1] = state.before
    entries = np.maximum.reduceat(joints[graph.jump_from], graph.jump_starts)
    into = np.empty_like(phones)
    into[1:] = phones[:-1]
    into[graph.repeats] = NEVER
    into[graph.first] = entries[graph.first_joint]
    resumed = np.empty_like(pauses)
    resumed[1:] = pauses[:-1]
    resumed[graph.first] = NEVER
    from_pause = resumed > into
    np.maximum(into, resumed, out=into)
    moved, paused = into > phones, phones > pauses
    bits = moved.view(np.uint8) + FROM_PAUSE * from_pause.view(np.uint8) + PAUSED * paused.view(np.uint8)
    ending = joints[graph.final]
    best_end = int(ending.argmax())
    closed = int(graph.final[best_end]) if ending[best_end] > state.after else ENDED_BEFORE
    outside = max(float(ratios[0]), -config.filler_cost)
    return SearchState(
        graph,
        np.maximum(into, phones) + ratios[graph.labels],
        np.maximum(phones, pauses) + ratios[0],
        state.before + outside,
        max(state.after, float(ending[best_end])) + outside,
        state.frames + 1,
        Step(state.steps, ratios, bits, phone_ends, pause_ends, joints, closed, outside),
        state.frames if ending[best_end] > state.after + ROUNDING else state.ended,
    )


def progress(state: SearchState) -> Progress:
    """Whether the best path has no word yet, some words, or may end here."""
    ends = _ends(state)
    final = max(float(ends[state.graph.final].max()), state.after)
    best = max(float(state.phones.max()), float(state.pauses.max()), state.after)
    if state.before >= best:
        return "nothing"
    return "final" if final >= best else "partial"


def settled_frames(state: SearchState) -> int:
    """For how many frames a whole sentence, with other sound behind it, has been the best; 0 if it is not."""
    best = max(float(state.phones.max()), float(state.pauses.max()), state.before)
    return state.frames - state.ended if state.after >= best - ROUNDING else 0


def _ends(state: SearchState) -> Floats:
    graph = state.graph
    ends = np.maximum(state.phones[graph.last], state.pauses[graph.last])
    return np.maximum.reduceat(ends, graph.last_starts)


def best_sentence(state: SearchState) -> Sentence | None:
    """The best sentence that ends with the newest frame, or before it; None if none can."""
    graph, ends = state.graph, _ends(state)
    final = int(graph.final[int(ends[graph.final].argmax())])
    score = max(float(ends[final]), state.after)
    if score == NEVER:
        return None
    steps: list[Step] = []
    link = state.steps
    while link is not None:
        steps.append(link)
        link = link.before
    steps.reverse()
    frame = state.frames  # the place between frames at which the sentence ends
    if state.after > ends[final]:
        frame -= 1
        while steps[frame].closed == ENDED_BEFORE:
            frame -= 1
        final = steps[frame].closed
    last = state.phones[graph.last], state.pauses[graph.last]
    if frame < state.frames:
        last = steps[frame].phone_ends, steps[frame].pause_ends
    words, tags = _way_back(graph, steps, frame, final, last)
    intent, slots = "", dict[str, Scalar]()
    for number in tags:
        intent = intent or graph.tags[number].intent
        slots.update(graph.tags[number].slots)
    first, last_end = words[0].start_frame, words[-1].end_frame
    beside = steps[max(0, first - AROUND_FRAMES) : first] + steps[last_end : last_end + AROUND_FRAMES]
    around = sum(step.outside for step in beside)
    return Sentence(tuple(words), intent, slots, score, state.frames, around)


def _way_back(
    graph: CommandGraph, steps: list[Step], frame: int, joint: int, ends: tuple[Floats, Floats]
) -> tuple[list[FoundWord], list[int]]:
    """Follows the best path back from a joint at a place between frames; words and tags in their order."""
    words: list[FoundWord] = []
    tags = [int(graph.final_tags[graph.final.tolist().index(joint)])]
    bounds = np.append(graph.last_starts, len(graph.last))
    beginning = len(graph.last_starts)
    while joint != beginning:
        own, (phone_ends, pause_ends) = slice(int(bounds[joint]), int(bounds[joint + 1])), ends
        best = int(np.maximum(phone_ends[own], pause_ends[own]).argmax()) + own.start
        pausing = bool(pause_ends[best] > phone_ends[best])
        word, frame, chain = _word_back(graph, steps, frame, int(graph.last[best]), pausing)
        words.append(word)
        tags.append(int(graph.chain_tags[chain]))
        joint, tag = _jump_back(graph, steps[frame].joints, int(graph.first_joint[chain]))
        tags.append(tag)
        ends = steps[frame].phone_ends, steps[frame].pause_ends
    return words[::-1], tags[::-1]


def _word_back(
    graph: CommandGraph, steps: list[Step], frame: int, state: int, pausing: bool
) -> tuple[FoundWord, int, int]:
    """Follows the best path back through one word; its first frame, and its chain."""
    chain = int(np.searchsorted(graph.first, state, side="right")) - 1
    first, phones, score, contrast, end = int(graph.first[chain]), 1, 0.0, 0.0, -1
    while True:
        frame -= 1
        bits, ratios = int(steps[frame].bits[state]), steps[frame].log_ratios
        if pausing:
            if end >= 0:  # a pause after the word is no part of it
                score += float(ratios[0])
            pausing = not bits & PAUSED
            continue
        end = frame + 1 if end < 0 else end
        score += float(ratios[graph.labels[state]])
        if bits & MOVED:
            contrast -= float(ratios[1:].mean())
            if state == first:
                break
            state, phones, pausing = state - 1, phones + 1, bool(bits & FROM_PAUSE)
    word = graph.vocabulary[int(graph.chain_words[chain])]
    return FoundWord(word, frame, end, phones, score, contrast), frame, chain


def _jump_back(graph: CommandGraph, joints: Floats, target: int) -> tuple[int, int]:
    """The best jump to a joint where words begin: where it came from, and its tag."""
    end = graph.jump_starts[target + 1] if target + 1 < len(graph.jump_starts) else len(graph.jump_from)
    own = slice(int(graph.jump_starts[target]), int(end))
    best = int(joints[graph.jump_from[own]].argmax()) + own.start
    return int(graph.jump_from[best]), int(graph.jump_tags[best])
