"""The second pass on wake phrases: each find of the search is looked at again before it is reported.

The keyword search then fires candidates more readily than asked for. The second pass judges the frames around
the path of each, up to the newest one, and the phrase is searched for in what it says. What it scores there
is compared with a background of the second pass.

Shape letters: J frames of a window, H hidden values of the first pass, V labels.
"""

from collections.abc import Callable, Sequence

from auricle.models.decoding.background import Background
from auricle.models.decoding.phrases import Array, PhraseSearch, Way, log_posteriors

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
"""A path of the second pass may end so many frames before the candidate's."""


def candidates_per_hour(false_accepts_per_hour: float) -> float:
    """How often the search may fire, where so many false accepts are asked for."""
    return max(LEAST_CANDIDATES, CANDIDATES_EACH * false_accepts_per_hour)


class SecondLook:
    """Judges candidates of any phrase."""

    def __init__(self, background: Background, look_again: Callable[[Array], Array]) -> None:
        """Takes what thresholds are found in, and the second pass.

        Args:
            background: speech as the second pass heard it.
            look_again: hidden values `(J, H)` to posteriors `(J, V)`.
        """
        self.background = background
        self._look_again = look_again

    def score(self, ways: Sequence[Way], hidden: Array, path_frames: int, since: int) -> float:
        """The best score of a phrase that ends about where a candidate does.

        Args:
            ways: the phrase.
            hidden: values of the first pass up to now, `(J, H)`; those before the window are left aside.
            path_frames: frames that the candidate's path took.
            since: frames that came after the candidate's last one.
        """
        log_probs = log_posteriors(self._look_again(hidden[-window_frames(path_frames, since) :]))
        search = PhraseSearch([ways], self.background.info.search)
        state, scores = search.initial_state(), []
        for row in log_probs:
            found, state = search.step(row[None], state)
            scores.append(float(found.score[0, 0]))
        return max(scores[-1 - since - SHIFTED_FRAMES :])


def window_frames(path_frames: int, since: int) -> int:
    """Newest frames that are judged of a candidate whose path took so many, and ended so many frames ago."""
    return min(MOST_LOOKED_AT, AROUND_FRAMES + path_frames + since)
