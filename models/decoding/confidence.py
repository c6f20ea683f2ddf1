"""How sure a found sentence is: a score in 0..1 from how much worse it explains the audio than any sounds.

The weights were fitted on `dev` recordings (`auricle evaluate commands` describes them): sentences of the
grammar against sentences outside it.
"""

import math
from typing import NamedTuple

from auricle.models.decoding.search import Sentence


class Weights(NamedTuple):
    """Of a logistic function."""

    bias: float
    mean: float
    worst: float
    outside: float


FITTED = Weights(4.0, 2.0, 1.0, 0.0)


def evidence(sentence: Sentence) -> tuple[float, float, float]:
    """Log-likelihood of a sentence per phone, per phone of its worst word, and of what is around it."""
    phones = sum(word.phones for word in sentence.words)
    inside = sum(word.score for word in sentence.words)
    worst = min(word.score / word.phones for word in sentence.words)
    return inside / phones, worst, (sentence.score - inside) / phones


def confidence(sentence: Sentence, weights: Weights = FITTED) -> float:
    """The score of a sentence, 0 to 1."""
    mean, worst, outside = evidence(sentence)
    logit = weights.bias + weights.mean * mean + weights.worst * worst + weights.outside * outside
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def word_confidence(score: float, phones: int) -> float:
    """How well a word's phones fit, 0 to 1: the mean likelihood ratio of a phone."""
    return math.exp(max(-50.0, score / phones))
