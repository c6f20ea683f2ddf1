"""What is listened for: phrases, who decides about each, and from which score on.

The search decides alone, or fires candidates more readily than asked for, which a verifier or the second pass
looks at again. Each of them has a tail: how often it scores how high in speech that does not hold the phrase.

Shape letters: P phrases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from auricle.models.decoding.background import Background, Tail
from auricle.models.decoding.phrases import Array, PhraseSearch, Way
from auricle.models.decoding.second_look import MOST_RATE, SecondLook, candidates_per_hour
from auricle.models.decoding.verifier import Verifier


@dataclass(frozen=True)
class Wanted:
    """A phrase to listen for."""

    ways: tuple[Way, ...]
    false_accepts_per_hour: float
    refractory_samples: int
    near_per_hour: float = 0.0
    """What would be heard at so many false accepts an hour is reported as a near miss; 0 for none."""
    verifier: Verifier | None = None
    """Looks again at what the search found; its tail then says what a score means."""
    second_look: bool = True
    """Without a verifier: the second pass looks again, if there is one."""

    @property
    def may_be_looked_at(self) -> bool:
        """Whether the second pass may decide: beyond `MOST_RATE` everything found is wanted."""
        return self.second_look and self.verifier is None and self.false_accepts_per_hour <= MOST_RATE


class Listening(NamedTuple):
    """Phrases ready to be listened for."""

    wanted: tuple[Wanted, ...]
    looked_at: tuple[bool, ...]  # by the second pass
    first: tuple[Tail | None, ...]  # of what the search finds; None where a verifier knows better
    tails: tuple[Tail, ...]  # of what decides: the search, the second pass or a verifier
    search: PhraseSearch
    thresholds: Array  # (P,), of the search: from here on a phrase is heard, or looked at again
    near: Array  # (P,) thresholds of near misses, at most those
    decided: Array  # (P,), of what decides


def listen_to_nothing(background: Background) -> Listening:
    """No phrases."""
    nothing = np.zeros(0, np.float32)
    return Listening((), (), (), (), PhraseSearch((), background.info.search), nothing, nothing, nothing)


def prepare(
    wanted: Sequence[Wanted], background: Background, second_look: SecondLook | None, before: Listening
) -> Listening:
    """Finds the thresholds of phrases; a second or so for those that are new.

    Args:
        wanted: the phrases.
        background: speech as the model heard it.
        second_look: the second pass, if there is one.
        before: what was found so far.
    """
    looked_at = tuple(second_look is not None and entry.may_be_looked_at for entry in wanted)
    known = dict(zip((entry.ways for entry in before.wanted), before.first, strict=True))
    first = _tails((entry.ways for entry in wanted if entry.verifier is None), background, known)
    second = dict[tuple[Way, ...], Tail]()
    if second_look:
        found = zip(before.wanted, before.looked_at, before.tails, strict=True)
        known = {entry.ways: tail for entry, looked, tail in found if looked}
        phrases = (entry.ways for entry, looked in zip(wanted, looked_at, strict=True) if looked)
        second = _tails(phrases, second_look.background, known)
    firsts = tuple(first.get(entry.ways) for entry in wanted)
    own = first | second
    tails = tuple(entry.verifier.tail if entry.verifier else own[entry.ways] for entry in wanted)
    marks = [_marks(*phrase) for phrase in zip(wanted, looked_at, firsts, tails, strict=True)]
    thresholds, near, decided = np.array(marks, np.float32).reshape(-1, 3).T
    search = PhraseSearch([entry.ways for entry in wanted], background.info.search)
    return Listening(tuple(wanted), looked_at, firsts, tails, search, thresholds, near, decided)


def fires_at(first: Tail, false_accepts_per_hour: float) -> float:
    """The score from which on the search fires candidates for the second pass."""
    return first.threshold(candidates_per_hour(false_accepts_per_hour))


def _marks(entry: Wanted, looked_at: bool, first: Tail | None, tail: Tail) -> tuple[float, float, float]:
    """The thresholds of a phrase in `Listening`, in the order there."""
    rate, near_rate = entry.false_accepts_per_hour, entry.near_per_hour
    if entry.verifier:
        return entry.verifier.info.least_raw, entry.verifier.info.least_raw, tail.score_at(rate)
    decided = tail.threshold(rate)
    if looked_at:
        assert first is not None  # whatever has no verifier was searched for
        return fires_at(first, rate), fires_at(first, rate), decided
    return decided, min(decided, tail.score_at(near_rate)) if near_rate else decided, decided


def _tails(
    phrases: Iterable[tuple[Way, ...]], background: Background, known: Mapping[tuple[Way, ...], Tail | None]
) -> dict[tuple[Way, ...], Tail]:
    """The tail of each phrase: as it is known, or from a search of the background."""
    phrases = list(dict.fromkeys(phrases))
    found = {ways: tail for ways, tail in known.items() if tail is not None}
    if new := [ways for ways in phrases if ways not in found]:
        tails = background.tails(PhraseSearch(new, background.info.search))
        found |= dict(zip(new, tails, strict=True))
    return {ways: found[ways] for ways in phrases}
