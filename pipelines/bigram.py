"""How likely one phone follows another: the language model of sequence training and of the phone search.

Shape letters: P phones.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from auricle.models.phones import PHONES

ADDED_COUNT = 0.5


class Bigram(NamedTuple):
    """Log-probabilities; the row after the last phone is the start of an utterance."""

    follows: Tensor  # (P + 1, P)
    ends: Tensor  # (P + 1,)

    def to(self, device: torch.device) -> "Bigram":
        """The same on another device."""
        return Bigram(self.follows.to(device), self.ends.to(device))

    def score(self, labels: Sequence[int]) -> float:
        """Log-probability of a sequence of labels (from 1), its end included."""
        previous, total = len(self.follows) - 1, 0.0
        for label in labels:
            total += float(self.follows[previous, label - 1])
            previous = label - 1
        return total + float(self.ends[previous])


def count_bigram(sequences: Iterable[Sequence[int]], phones: int = len(PHONES)) -> Bigram:
    """Counts label sequences (labels from 1), with half a count for everything never seen."""
    counts = torch.full((phones + 1, phones + 1), ADDED_COUNT, dtype=torch.float64)
    for sequence in sequences:
        path = [phones, *(label - 1 for label in sequence), phones]
        for one, other in pairwise(path):
            counts[one, other] += 1
    logs = (counts / counts.sum(1, keepdim=True)).log().float()
    return Bigram(logs[:, :phones].contiguous(), logs[:, phones].contiguous())
