"""What each 10 ms of a clean recording should be called, decided by energy before anything is mixed in.

All functions work on hops of 160 samples. Targets are class numbers `(T,)` with special values below zero:
`IGNORE` (do not care), `BACKGROUND` (silence or unknown, but no keyword)
and `NOT_YET + k` (silence or class k).

Shape letters: N samples, T hops.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HOP_SAMPLES = 160
IGNORE = -1
BACKGROUND = -2
NOT_YET = -100
"""`NOT_YET + k`: either silence or class k, but nothing else: the part of a word that may be another's."""

Floats = NDArray[np.float32]
Targets = NDArray[np.int16]


@dataclass(frozen=True)
class SpeechRule:
    """How speech is told from the pauses of a clean recording."""

    least_range_db: float = 26.0
    """Recordings with less between speech and floor are too noisy to label: wholly IGNORE."""
    threshold_part: float = 0.3
    """Where between floor (0) and speech level (1) the threshold lies, in dB."""
    deepest_db: float = 40.0
    """The threshold is never further below the speech level."""
    shortest_hops: int = 4
    """Shorter bursts are clicks."""
    bridged_hops: int = 20
    """Shorter pauses belong to the speech around them."""
    unsure_hops: int = 3
    """On both sides of every change, IGNORE."""


@dataclass(frozen=True)
class WordRule:
    """When a word counts as recognised."""

    known_part: float = 0.55
    """The part of the word after which it can be told from others."""
    tail_hops: int = 14
    """How long the label stays after the end of the word."""


class Word(NamedTuple):
    """Where a word lies in its clip, in hops; `end` is exclusive."""

    start: int
    end: int


def hop_levels_db(samples: NDArray[Any]) -> Floats:
    """Level of each whole hop in dB, smoothed over three hops.

    Args:
        samples: floats in [-1, 1] or int16, with shape `(N,)`.

    Returns:
        dB full scale, at least -100, with shape `(T,)`, `T = N // 160`.
    """
    hops = len(samples) // HOP_SAMPLES
    scale = 32768.0 if samples.dtype == np.int16 else 1.0
    blocks = samples[: hops * HOP_SAMPLES].astype(np.float32).reshape(hops, HOP_SAMPLES)
    power = np.einsum("ij,ij->i", blocks, blocks) / (HOP_SAMPLES * scale**2)
    padded = np.pad(power, 1, mode="edge") if hops else np.zeros(2, np.float32)
    smooth = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    return (10.0 * np.log10(smooth + 1e-10)).astype(np.float32)


def active_level_db(levels_db: Floats) -> float:
    """Level of the loud part of a clip: mean power of the hops within 20 dB of its peak."""
    if not len(levels_db):
        return -100.0
    peak = float(np.percentile(levels_db, 98))
    loud = levels_db[levels_db > peak - 20.0]
    return float(10.0 * np.log10(np.mean(10.0 ** (loud / 10.0)) + 1e-10)) if len(loud) else peak


def speech_targets(levels_db: Floats, rule: SpeechRule) -> Targets:
    """Labels the hops of a clean recording 1 (speech), 0 (pause) or IGNORE.

    Args:
        levels_db: as from `hop_levels_db`, with shape `(T,)`.
        rule: thresholds.
    """
    if not len(levels_db):
        return np.zeros(0, np.int16)
    floor, speech = (float(value) for value in np.percentile(levels_db, (5, 95)))
    floor = max(floor, speech - 70.0)  # digital zero says nothing about where pauses begin
    if speech - floor < rule.least_range_db:
        return np.full(len(levels_db), IGNORE, np.int16)
    threshold = max(floor + rule.threshold_part * (speech - floor), speech - rule.deepest_db)
    active = _flip_short_runs(levels_db > threshold, shorter_than=rule.shortest_hops, value=True)
    active = _flip_short_runs(active, shorter_than=rule.bridged_hops, value=False, inside_only=True)
    targets = active.astype(np.int16)
    for change in np.flatnonzero(np.diff(targets)) + 1:
        targets[max(0, change - rule.unsure_hops) : change + rule.unsure_hops] = IGNORE
    return targets


def _flip_short_runs(
    flags: NDArray[np.bool_], *, shorter_than: int, value: bool, inside_only: bool = False
) -> NDArray[np.bool_]:
    """Inverts runs of `value` that are shorter than so many hops; `inside_only` spares those at the ends."""
    result = flags.copy()
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flags)) + 1, [len(flags)]])
    for start, end in pairwise(edges):
        outer = inside_only and (start == 0 or end == len(flags))
        if flags[start] == value and end - start < shorter_than and not outer:
            result[start:end] = not value
    return result


def find_word(levels_db: Floats, joined_hops: int = 22) -> Word:
    """Finds the one word of a clip by energy: the loudest stretch and what lies close to it.

    Args:
        levels_db: as from `hop_levels_db`, with shape `(T,)`.
        joined_hops: parts (the closure of "stop", the end of "eight") this close belong together.

    Returns:
        The word; a guess (most of the clip) where it hardly rises above the noise.
    """
    count = len(levels_db)
    floor, peak = float(np.percentile(levels_db, 10)), float(levels_db.max())
    floor = max(floor, peak - 55.0)
    if peak - floor < 9.0:
        return Word(round(0.15 * count), max(1, round(0.9 * count)))
    threshold = max(floor + 0.3 * (peak - floor), floor + 5.0, peak - 32.0)
    active = np.flatnonzero(levels_db > threshold)
    breaks = np.flatnonzero(np.diff(active) > joined_hops)
    groups = np.split(active, breaks + 1)
    loudest = int(levels_db.argmax())
    group = next(group for group in groups if group[0] <= loudest <= group[-1])
    return Word(max(0, int(group[0]) - 2), min(count, int(group[-1]) + 4))


def find_words(levels_db: Floats, count: int, least_hops: int = 15, most_hops: int = 90) -> list[Word]:
    """Finds so many words with pauses between them.

    Returns:
        The words in order, or none if no threshold gives exactly `count` bursts of plausible length.
    """
    floor, peak = (float(value) for value in np.percentile(levels_db, (5, 98)))
    for part in (0.4, 0.3, 0.5, 0.25, 0.6):
        active = levels_db > floor + part * (peak - floor)
        active = _flip_short_runs(active, shorter_than=8, value=False, inside_only=True)
        active = _flip_short_runs(active, shorter_than=6, value=True)
        changes = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
        words = [
            Word(max(0, int(start) - 3), min(len(levels_db), int(end) + 5))
            for start, end in changes.reshape(-1, 2)
        ]
        if len(words) == count and all(least_hops <= word.end - word.start <= most_hops for word in words):
            return words
    return []


def word_targets(count: int, word: Word, label: int, rule: WordRule, *, silence: int = 0) -> Targets:
    """Labels a clip of one word: silence or `label` while it may be another, then `label`, silence elsewhere.

    Args:
        count: hops of the clip; the label's tail may end beyond it.
        word: where the word lies.
        label: class of the word.
        rule: from when to when the label holds.
        silence: class of everything else.

    Returns:
        With shape `(count + rule.tail_hops,)`: the last `tail_hops` reach into whatever follows the clip;
        they are IGNORE where this clip has nothing to say.
    """
    targets = np.full(count + rule.tail_hops, silence, np.int16)
    targets[count:] = IGNORE
    known = word.start + round(rule.known_part * (word.end - word.start))
    targets[word.start : known] = NOT_YET + label
    targets[known : word.end + rule.tail_hops] = label
    return targets
