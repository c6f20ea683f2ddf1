"""How sure a found sentence is: a score in 0..1 from how much worse it explains the audio than any sounds.

The weights are fitted on `dev` recordings, clean and in noise: sentences of a grammar that were found right
against the best that the same grammar, and the shipped one, made of sentences outside them. They are moved so
that 0.5 lies where few of the others are left. `python -m auricle.pipelines.command_scores` makes them.
"""

import math
from typing import NamedTuple

from auricle.models.decoding.search import Sentence

NOISE_CONTRAST = 4.0
"""Noise alone tells phones apart by less (2.4 to 3.9 where a sentence was found in it); commands of dev that
are found rightly at 10 dB by 4.3 or more."""
NOISE_COST = 15.0
"""Price of each nat less."""
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


def logit(found: Evidence, weights: Evidence = FITTED, bias: float = BIAS) -> float:
    """What speaks for a sentence and against it, as one number; `talk` tells what it is worth."""
    noise = NOISE_COST * max(0.0, NOISE_CONTRAST - found.contrast)
    return bias + sum(weight * value for weight, value in zip(weights, found, strict=True)) - noise


def confidence(found: Evidence, weights: Evidence = FITTED, bias: float = BIAS) -> float:
    """The same as a probability, 0 to 1."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit(found, weights, bias)))))


def word_confidence(score: float, phones: int) -> float:
    """How well a word's phones fit, 0 to 1: the mean likelihood ratio of a phone."""
    return math.exp(max(-50.0, score / phones))
