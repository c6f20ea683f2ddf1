"""How sure a found sentence is: a score in 0..1 from how much worse it explains the audio than any sounds.

The weights are fitted on `dev` recordings, clean and in noise: sentences of a grammar that were found right
against the best that the same grammar, and the shipped one, made of sentences outside them. They are moved so
that 0.5 lies where few of the others are left. `python -m auricle.pipelines.command_scores` makes them.
"""

import math
from typing import NamedTuple

from auricle.models.decoding.search import Sentence

LEAST_OUTSIDE = -3.0
"""More sound around a sentence speaks no louder against it."""


class Evidence(NamedTuple):
    """What speaks for and against a sentence."""

    fit: float
    """Log-likelihood ratio of each of its phones."""
    outside: float
    """The same of what is just before and behind it, for each of its phones."""
    length: float
    """Logarithm of its number of phones."""
    contrast: float
    """How clearly the audio tells its phones from others: noise fits any phone."""


FITTED = Evidence(fit=8.06, outside=5.46, length=1.33, contrast=3.23)
BIAS = -13.8


def evidence(sentence: Sentence) -> Evidence:
    """Gathers the evidence."""
    phones = sum(word.phones for word in sentence.words)
    inside = sum(word.score for word in sentence.words)
    contrast = sum(word.contrast for word in sentence.words)
    outside = max(sentence.around / phones, LEAST_OUTSIDE)
    return Evidence(inside / phones, outside, math.log(phones), contrast / phones)


def confidence(found: Evidence, weights: Evidence = FITTED, bias: float = BIAS) -> float:
    """The score of a sentence, 0 to 1, from its evidence."""
    logit = bias + sum(weight * value for weight, value in zip(weights, found, strict=True))
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def word_confidence(score: float, phones: int) -> float:
    """How well a word's phones fit, 0 to 1: the mean likelihood ratio of a phone."""
    return math.exp(max(-50.0, score / phones))
