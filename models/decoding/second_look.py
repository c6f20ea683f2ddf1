"""The second pass on wake phrases: each find of the search is looked at again before it is reported.

The keyword search then fires candidates more readily than asked for. The second pass judges the frames around
the path of each, up to the newest one, and the phrase is searched for in what both passes say of them, for
each is wrong in ways of its own. What it scores there is compared with a background of both passes.

Shape letters: J frames of a window, H hidden values of the first pass, V labels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from auricle.models.decoding.background import Background
from auricle.models.decoding.phrases import LEAST_POSTERIOR, Array, PhraseSearch, Way, log_posteriors

LEAST_CANDIDATES = 20.0
"""Candidates an hour of speech: so many cost next to nothing, and more are hardly ever the phrase."""
CANDIDATES_EACH = 4.0
"""Candidates for each false accept that is allowed."""
MOST_RATE = 100.0
"""False accepts an hour up to which it is worth while to look again."""
AROUND_FRAMES = 25
"""Frames before a path that are judged with it."""
MOST_LOOKED_AT = 150
"""Of a longer window only the newest frames are judged."""
SHIFTED_FRAMES = 6
"""A path of the second look may end so many frames before the candidate's."""
NOISE_NATS = 0.88
"""A second pass that doubts by more has heard noise. Coloured noise begins at 0.95; of phrases of dev that
are heard rightly at 10 dB one in a hundred lies above."""
SEARCHED_PART = 0.5
"""Part of the first pass in what is searched, of backgrounds that are made now; chosen on dev."""


def candidates_per_hour(false_accepts_per_hour: float) -> float:
    """How often the search may fire, where so many false accepts are asked for."""
    return max(LEAST_CANDIDATES, CANDIDATES_EACH * false_accepts_per_hour)


class FirstPass(NamedTuple):
    """What the first pass made of some frames."""

    log_probs: Array  # (J, V)
    hidden: Array  # (J, H)


def said_by_both(first: Array, second: Array, searched_part: float) -> Array:
    """Log-probabilities of both passes, `(..., V)` each, as one: their weighted geometric mean.

    Args:
        first: those of the first pass.
        second: those of the second.
        searched_part: the first one's part, from 0 to 1.
    """
    first = np.maximum(first, np.float32(np.log(LEAST_POSTERIOR)))  # as the daemon has them
    joined = searched_part * first + (1 - searched_part) * second
    joined -= joined.max(-1, keepdims=True)
    joined -= np.log(np.exp(joined).sum(-1, keepdims=True))
    return np.asarray(joined, np.float32)


class SecondLook:
    """Judges candidates of any phrase."""

    def __init__(self, background: Background, look_again: Callable[[Array], Array]) -> None:
        """Takes what thresholds are found in, and the second pass.

        Args:
            background: speech as `said_by_both` has it.
            look_again: hidden values `(J, H)` to posteriors `(J, V)` of the second pass.
        """
        self.background = background
        self._look_again = look_again

    def score(self, ways: Sequence[Way], heard: FirstPass, path_frames: int, since: int) -> float:
        """The best score of a phrase that ends about where a candidate does.

        Args:
            ways: the phrase.
            heard: what the first pass made of the frames up to now; those before the window are left aside.
            path_frames: frames that the candidate's path took.
            since: frames that came after the candidate's last one.
        """
        first, hidden = (newest[-window_frames(path_frames, since) :] for newest in heard)
        second = log_posteriors(self._look_again(hidden))
        both = said_by_both(first, second, self.background.info.searched_part)
        search, newest = PhraseSearch([ways], self.background.info.search), since + SHIFTED_FRAMES + 1
        score, _ = max(_ends(search, both, newest))
        # In noise alone the first pass may be sure of what the second doubts: their mean would hide it.
        _, doubt = max(_ends(search, second, newest))
        return score - search.settings.unsure_cost * max(0.0, doubt - NOISE_NATS)


def _ends(search: PhraseSearch, log_probs: Array, newest: int) -> list[tuple[float, float]]:
    """Score and doubt of the best path that ends at each of so many of the newest frames."""
    state, ends = search.initial_state(), []
    for row in log_probs:
        found, state = search.step(row[None], state)
        ends.append((float(found.score[0, 0]), float(found.evidence.doubt[0, 0])))
    return ends[-newest:]


def window_frames(path_frames: int, since: int) -> int:
    """Newest frames that are judged of a candidate whose path took so many, and ended so many frames ago."""
    return min(MOST_LOOKED_AT, AROUND_FRAMES + path_frames + since)
