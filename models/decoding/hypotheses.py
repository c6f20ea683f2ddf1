"""What a beam search knows: its hypotheses, and the chains of word ends that lead to them.

Shape letters: H hypotheses, Z word ends.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NO_END = 0
"""The word end before the first word."""


class Ends(NamedTuple):
    """Word ends, each with the one before it; a chain tells the words of a hypothesis."""

    before: Ints  # (Z,)
    word: Ints  # (Z,)
    begin: Ints  # first frame of the word (Z,)
    end: Ints  # frame behind it (Z,)
    acoustic: Floats  # acoustic score of all frames up to the end (Z,)
    language: Floats  # the other part of the score up to the end (Z,)
    behind: Floats  # by how much the hypothesis was worse than the best one when the word ended (Z,)


class BeamState(NamedTuple):
    """What the search knows after some frames."""

    frames: int
    node: Ints  # (H,)
    context: Ints  # language model states (H,)
    after_blank: Floats  # score of the ways that end with blank (H,)
    after_label: Floats  # score of those that end with the node's label (H,)
    language: Floats  # part of the score that is not acoustic (H,)
    begin: Ints  # first frame of the word under way (H,)
    trace: Ints  # newest word end (H,)
    ends: Ends
    free: Floats  # acoustic score of the most likely labels, up to each frame (frames + 1,)

    @property
    def score(self) -> Floats:
        """The score of each hypothesis, `(H,)`."""
        return np.maximum(self.after_blank, self.after_label)


class Hypotheses(NamedTuple):
    """The columns of some hypotheses; see `BeamState`."""

    node: Ints
    context: Ints
    after_blank: Floats
    after_label: Floats
    language: Floats
    begin: Ints
    trace: Ints


def compact(state: BeamState) -> BeamState:
    """Drops the word ends that belong to no hypothesis."""
    used = np.zeros(len(state.ends.word), bool)
    used[NO_END] = True
    reached = np.unique(state.trace)
    while len(reached := reached[~used[reached]]):
        used[reached] = True
        reached = np.unique(state.ends.before[reached])
    place = np.cumsum(used) - 1
    ends = Ends._make(column[used] for column in state.ends)
    return state._replace(trace=place[state.trace], ends=ends._replace(before=place[ends.before]))


def chain(state: BeamState, end: int) -> list[int]:
    """The word ends that lead to one, in order."""
    before, found = state.ends.before, []
    while end != NO_END:
        found.append(end)
        end = int(before[end])
    return found[::-1]


def shared_end(state: BeamState) -> int:
    """The newest word end that all hypotheses have in common; what led to it can not change any more."""
    before = state.ends.before
    open_ends: set[int] = set(state.trace.tolist())
    while len(open_ends) > 1:
        newest = max(open_ends)
        open_ends.remove(newest)
        open_ends.add(int(before[newest]))
    return int(open_ends.pop())


def commit(state: BeamState, frames: int) -> BeamState:
    """Drops the hypotheses that contradict the best one in words that ended so many frames ago."""
    best = int(state.trace[int(np.argmax(state.score))])
    old = [end for end in chain(state, best) if state.ends.end[end] <= state.frames - frames]
    if not old:
        return state
    agrees = {NO_END: False, old[-1]: True}
    for trace in np.unique(state.trace).tolist():
        path, end = [], trace
        while end not in agrees:
            path.append(end)
            end = int(state.ends.before[end])
        agrees |= dict.fromkeys(path, agrees[end])
    kept = np.array([agrees[trace] for trace in state.trace.tolist()])
    columns: list[Any] = [getattr(state, name)[kept] for name in Hypotheses._fields]
    return state._replace(**dict(zip(Hypotheses._fields, columns, strict=True)))
