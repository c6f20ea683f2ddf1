"""The second pass on wake phrases: each find of the search is looked at again before it is reported.

The keyword search then fires candidates more readily than asked for. The second pass judges the frames around
the path of each, up to the newest one, and the phrase is searched for in what both passes say of them, for
each is wrong in ways of its own. What it scores there is compared with a background of both passes.

Shape letters: J frames of a window, H hidden values of the first pass, V labels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from auricle.configs.errors import ModelError
from auricle.models.decoding.background import Background, BackgroundInfo
from auricle.models.decoding.phrases import LEAST_POSTERIOR, Array, PhraseSearch, Way, log_posteriors
from auricle.models.decoding.rivals import Rivals, RivalSearch, common_words

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
EARLIER_FRAMES = 20
"""And begin so many before it: what was heard further back is another matter."""
NOISE_NATS = 0.88
"""A second pass that doubts by more has heard noise. Coloured noise begins at 0.95; of phrases of dev that
are heard rightly at 10 dB one in a hundred lies above."""
SEARCHED_PART = 0.5
"""Part of the first pass in what is searched, of backgrounds that are made now; chosen on dev."""
WORD_COST = 0.5
"""What a phrase pays for each nat by which common words explain better what was said; chosen on dev."""


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

        Raises:
            ModelError: the background holds phrases against other words than those that ship.
        """
        self.background = background
        self._look_again = look_again
        self._words = words_of(background)

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
        info, newest = self.background.info, since + SHIFTED_FRAMES + 1
        search = PhraseSearch([ways], info.search)
        first_frame = max(0, len(both) - since - path_frames - EARLIER_FRAMES)
        words = self._words.hear(both[None], info.search).since(first_frame) if self._words else None
        best = max(path_ends(both[first_frame:], search, info, words)[-newest:])
        # In noise alone the first pass may be sure of what the second doubts: their mean would hide it.
        doubted = max(path_ends(second[first_frame:], search, info)[-newest:]).doubt
        return best.score - search.settings.unsure_cost * max(0.0, doubted - NOISE_NATS)


def words_of(background: Background) -> RivalSearch | None:
    """The words that a background holds phrases against; None for none."""
    wanted = background.info.words
    if not wanted:
        return None
    words = common_words()
    if words.digest != wanted:
        raise ModelError(
            f"the background of the second pass {background.info.model} was made with the common words "
            f"{wanted}, but {words.digest} are installed: its thresholds would be wrong; make one with "
            "`auricle calibrate MODEL --data DATA`"
        )
    return words


class PathEnd(NamedTuple):
    """The best path through a phrase that ends at some frame."""

    score: float
    doubt: float


def path_ends(
    log_probs: Array, search: PhraseSearch, info: BackgroundInfo, words: Rivals | None = None
) -> list[PathEnd]:
    """Searches `(J, V)` for one phrase.

    Args:
        log_probs: what was heard.
        search: for the phrase.
        info: what scores are compared with.
        words: what common words explain of it, if the phrase is held against them.

    Returns:
        The path that ends at each frame.
    """
    state, ends = search.initial_state(), []
    for frame, row in enumerate(log_probs):
        found, state = search.step(row[None], state)
        score = info.score(frame, found, words)
        ends.append(PathEnd(float(score[0, 0]), float(found.evidence.doubt[0, 0])))
    return ends


def window_frames(path_frames: int, since: int) -> int:
    """Newest frames that are judged of a candidate whose path took so many, and ended so many frames ago."""
    return min(MOST_LOOKED_AT, AROUND_FRAMES + path_frames + since)
