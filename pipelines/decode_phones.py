"""From phone posteriors to phone sequences, and how many of them are wrong.

Shape letters: B utterances, J output frames, V labels, P = V - 1 phones.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from auricle.pipelines.bigram import Bigram
from auricle.pipelines.criteria import NEVER


class SearchSettings(NamedTuple):
    """How the search weighs its evidence; chosen on dev."""

    blank_shift: float = 0.0
    """Added to the log-probability of label 0."""
    bigram_weight: float = 0.4
    phone_cost: float = 0.0
    """Taken off for each phone."""


def greedy(log_probs: Tensor, frame_counts: Tensor) -> list[list[int]]:
    """The most likely label of each frame, repeats and label 0 taken out.

    Args:
        log_probs: with shape `(B, J, V)`.
        frame_counts: with shape `(B,)`.
    """
    best = log_probs.argmax(2).tolist()
    return [
        [label for label, _ in groupby(row[:count]) if label]
        for row, count in zip(best, frame_counts.tolist(), strict=True)
    ]


@torch.inference_mode()
def search(
    log_probs: Tensor, frame_counts: Tensor, bigram: Bigram, settings: SearchSettings
) -> list[list[int]]:
    """The most likely phone sequence under a phone bigram: an exact Viterbi search, nothing is pruned.

    States are those of `criteria.denominator`: P "in phone p", then P + 1 "in a blank after p" (or after
    nothing).

    Args:
        log_probs: with shape `(B, J, V)`.
        frame_counts: with shape `(B,)`.
        bigram: over P phones.
        settings: weights.
    """
    batch, frames, labels = log_probs.shape
    phones = labels - 1
    costs = _transitions(bigram, settings)
    heard = log_probs.clone()
    heard[..., 0] += settings.blank_shift
    emitted = torch.cat([heard[..., 1:], heard[..., :1].expand(-1, -1, phones + 1)], 2)
    score = log_probs.new_full((batch, 2 * phones + 1), NEVER)
    score[:, -1] = 0.0
    back = torch.empty(frames, batch, 2 * phones + 1, dtype=torch.int16)
    for frame in range(frames):
        best, origin = (score[:, :, None] + costs).max(1)
        goes_on = (frame < frame_counts)[:, None]
        score = torch.where(goes_on, best + emitted[:, frame], score)
        back[frame] = origin.to(torch.int16)
    ends = settings.bigram_weight * torch.cat([bigram.ends[:phones], bigram.ends])
    last = (score + ends).argmax(1).tolist()
    history = back.numpy()
    return [
        _trace(history[:count, row], state, phones)
        for row, (state, count) in enumerate(zip(last, frame_counts.tolist(), strict=True))
    ]


def _transitions(bigram: Bigram, settings: SearchSettings) -> Tensor:
    """Scores of going from state to state, with shape `(2 P + 1, 2 P + 1)`."""
    phones = bigram.follows.shape[1]
    costs = bigram.follows.new_full((2 * phones + 1, 2 * phones + 1), NEVER)
    entering = settings.bigram_weight * bigram.follows - settings.phone_cost
    costs[:phones, :phones] = entering[:phones]
    costs[phones:, :phones] = entering
    number = torch.arange(phones)
    costs[number, number] = 0.0  # a phone goes on
    costs[number, phones + number] = 0.0  # and ends
    blanks = torch.arange(phones, 2 * phones + 1)
    costs[blanks, blanks] = 0.0
    return costs


def _trace(history: np.ndarray, state: int, phones: int) -> list[int]:
    """Follows the best path back; returns its phones as labels from 1."""
    path = []
    for origins in history[::-1]:
        path.append(state)
        state = int(origins[state])
    found: list[int] = []
    for before, now in zip([2 * phones, *path[::-1]], path[::-1], strict=False):
        if now < phones and now != before:
            found.append(now + 1)
    return found


def edit_distance(found: Sequence[int], expected: Sequence[int]) -> int:
    """The least number of substitutions, deletions and insertions between two sequences (Levenshtein)."""
    return nearest_distance(found, [[expected]])


def nearest_distance(found: Sequence[int], words: Sequence[Sequence[Sequence[int]]]) -> int:
    """The edit distance to the nearest of many sequences: words in a row, each in any of its ways."""
    heard = np.asarray(found, np.int64)
    places = np.arange(len(heard) + 1)
    row = places.copy()  # least cost of each start of `found` against what was expected so far
    for ways in words:
        ends = []
        for way in ways:
            end = row
            for count, label in enumerate(way, start=1):
                changed = np.concatenate(
                    [[row[0] + count], np.minimum(end[1:] + 1, end[:-1] + (heard != label))]
                )
                end = np.minimum.accumulate(changed - places) + places  # insertions, all at once
            ends.append(end)
        row = np.minimum.reduce(ends)
    return int(row[-1])
