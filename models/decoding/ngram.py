"""Back-off n-gram language models as arrays: many scores in one call.

A state is a number that stands for the words before, as far as the model tells them apart: 0 for none, then
one for every n-gram. What follows is looked up in one sorted array of (state, word) keys.

Shape letters: W words, S states, E n-grams of two words and more, N queries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
States = NDArray[np.int32]
Floats = NDArray[np.float32]

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
EMPTY_STATE = 0
NEVER = np.float32(-99.0)
"""Natural logarithm of what is as good as impossible."""
BLOCK = 1 << 18
"""N-grams that are looked up at a time, so that little memory is needed for it."""
SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""Multiplied with this, neighbouring numbers differ in their first bits (the golden ratio)."""


@dataclass(frozen=True)
class NGram:
    """A language model; logarithms are natural. States 1 to W are the single words, W + 1 on the n-grams."""

    words: tuple[str, ...]
    """All words; `START`, `END` and `UNKNOWN` among them."""
    unigram: Floats
    """Log-probability of each word, `(W,)`."""
    keys: Ints
    """state * W + word of each n-gram, ascending, `(E,)`."""
    log_prob: Floats
    """Of each n-gram's last word, `(E,)`."""
    backoff: Floats
    """Log-weight of each state, `(S,)` with S = 1 + W + E."""
    shorter: States
    """The state with the first word taken away, `(S,)`."""
    following: States
    """The state after each state's words, itself or shorter if nothing more is known of it, `(S,)`."""
    orders: tuple[int, ...]
    """How many n-grams of each order there are, from 1."""

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def start_state(self) -> int:
        """The state before the first word of a sentence."""
        return int(self.following[1 + self.index[START]])

    @cached_property
    def most_likely(self) -> Floats:
        """A log-probability that each word never exceeds, whatever comes before it, `(W,)`."""
        once = max(0.0, float(self.backoff.max()))  # what backing off may add
        most = self.unigram.copy()
        np.maximum.at(most, self.keys % len(self.words), self.log_prob)
        return most + np.float32(once * (len(self.orders) - 1))

    def score(self, states: Ints, words: Ints) -> tuple[Floats, Ints]:
        """What each word costs after each state.

        Args:
            states: with shape `(N,)`.
            words: with shape `(N,)`.

        Returns:
            Log-probabilities `(N,)` and the states after the words `(N,)`.
        """
        total = np.zeros(len(states), np.float32)
        entry = np.full(len(states), -1, np.int64)
        at = np.arange(len(states))
        here = states
        count, last = len(self.words), len(self.keys) - 1
        while len(at):
            key = here * count + words[at]
            place = np.minimum(np.searchsorted(self.keys, key), last) if last >= 0 else np.zeros_like(key)
            found = (self.keys[place] == key) & (here > 0) if last >= 0 else np.zeros(len(at), bool)
            entry[at[found]] = place[found]
            alone = ~found & (here == EMPTY_STATE)
            at, here = at[~(found | alone)], here[~(found | alone)]
            total[at] += self.backoff[here]
            here = self.shorter[here].astype(np.int64)
        known = entry >= 0
        total += (
            np.where(known, self.log_prob[entry], self.unigram[words]) if last >= 0 else self.unigram[words]
        )
        reached = np.where(known, 1 + count + entry, 1 + words)
        return total, self.following[reached].astype(np.int64)

    def sentence(self, sentence: Sequence[str]) -> tuple[float, int]:
        """Log-probability of a sentence with its end, and how many of its words are unknown (not scored)."""
        state, total, unknown = self.start_state, 0.0, 0
        for word in (*sentence, END):
            number = self.index.get(word)
            if number is None:
                state, unknown = EMPTY_STATE, unknown + 1
                continue
            cost, after = self.score(np.array([state]), np.array([number]))
            total, state = total + float(cost[0]), int(after[0])
        return total, unknown


class KnownScores:
    """What a model said lately: a search asks the same few thousand questions again and again.

    A question that falls on the place of another one takes it over, so that memory stays bounded; answers
    are those of the model.
    """

    def __init__(self, model: NGram, places: int = 1 << 14) -> None:
        """Knows nothing yet; `places` is a power of two."""
        self.model = model
        self._shift = np.uint64(64 - (places - 1).bit_length())
        self._key = np.full(places, -1, np.int64)
        self._log_prob, self._after = np.zeros(places, np.float32), np.zeros(places, np.int64)

    def score(self, states: Ints, words: Ints) -> tuple[Floats, Ints]:
        """As `NGram.score`."""
        key = states * len(self.model.words) + words
        place = (key.view(np.uint64) * SCATTER) >> self._shift
        unknown = np.flatnonzero(self._key[place] != key)
        if not len(unknown):
            return self._log_prob[place], self._after[place]
        log_prob, after = self._log_prob[place], self._after[place]
        log_prob[unknown], after[unknown] = self.model.score(states[unknown], words[unknown])
        there = place[unknown]
        self._key[there] = key[unknown]
        self._log_prob[there], self._after[there] = log_prob[unknown], after[unknown]
        return log_prob, after


def assemble(
    words: Sequence[str],
    unigram: Floats,
    unigram_backoff: Floats,
    orders: Iterable[tuple[Ints, Ints, Floats, Floats]],
) -> NGram:
    """Puts a model together.

    Args:
        words: all words.
        unigram: log-probability of each, `(W,)`.
        unigram_backoff: log back-off weight of each, `(W,)`.
        orders: for each order from 2, for each n-gram: the number of its history among those of the order
            before (for order 2: the word), its last word, log-probability, log back-off weight.
    """
    count = len(words)
    keys: list[Ints] = []
    log_probs: list[Floats] = []
    backoffs = [np.zeros(1, np.float32), unigram_backoff.astype(np.float32)]
    renumber = np.arange(count)  # place in the file -> place after sorting, of the order before
    offset = 1
    for history, last, log_prob, backoff in orders:
        key = (offset + renumber[history]) * count + last
        offset = 1 + count + sum(len(part) for part in keys)
        order = _ascending(key)
        renumber = np.arange(len(key))
        renumber[order] = np.arange(len(key))
        keys.append(key[order])
        log_probs.append(log_prob[order].astype(np.float32))
        backoffs.append(backoff[order].astype(np.float32))
    sizes = (count, *(len(part) for part in keys))
    all_keys, weights, all_log_probs = _joined(keys, np.int64), _joined(backoffs), _joined(log_probs)
    shorter = _shorter(all_keys, count)
    return NGram(
        words=tuple(words),
        unigram=unigram.astype(np.float32),
        keys=all_keys,
        log_prob=all_log_probs,
        backoff=weights,
        shorter=shorter,
        following=_following(all_keys, count, shorter, weights),
        orders=sizes,
    )


def _ascending(keys: Ints) -> Ints | slice:
    """What brings keys into order; the compact format has them so."""
    in_order = not (keys[1:] < keys[:-1]).any()
    return slice(None) if in_order else np.argsort(keys, kind="stable")


def _joined(parts: list[NDArray[Any]], dtype: type = np.float32) -> NDArray[Any]:
    """One array of many, which are given back to the memory at once."""
    joined = np.concatenate(parts) if parts else np.zeros(0, dtype)
    parts.clear()
    return joined


def _shorter(keys: Ints, count: int) -> States:
    """The state of each state's words without the first."""
    shorter = np.zeros(1 + count + len(keys), np.int32)
    # Histories have lower numbers than what they are the history of: those before a block are known in time.
    begin = 0
    while begin < len(keys):
        end = min(int(np.searchsorted(keys, (1 + count + begin) * count)), begin + BLOCK)
        known, last = keys[:begin], keys[begin:end] % count
        here = shorter[keys[begin:end] // count]
        found = np.where(here == EMPTY_STATE, 1 + last, -1)
        while (missing := np.flatnonzero(found < 0)).size:
            at_empty = missing[here[missing] == EMPTY_STATE]
            found[at_empty] = 1 + last[at_empty]
            rest = missing[here[missing] != EMPTY_STATE]
            key = here[rest].astype(np.int64) * count + last[rest]
            ascending = np.argsort(key)  # so that neighbours in the search are neighbours in memory
            place = np.empty(len(key), np.int64)
            place[ascending] = np.minimum(np.searchsorted(known, key[ascending]), max(0, begin - 1))
            hit = known[place] == key
            found[rest[hit]] = 1 + count + place[hit]
            here[rest[~hit]] = shorter[here[rest[~hit]]]
        shorter[1 + count + begin : 1 + count + end] = found
        begin = end
    return shorter


def _following(keys: Ints, count: int, shorter: States, backoff: Floats) -> States:
    """Leads each state to the longest one that makes a difference: words after it, or a back-off weight."""
    useful = backoff != 0
    useful[keys // count] = True
    useful[EMPTY_STATE] = True
    following = np.arange(len(shorter), dtype=np.int32)
    while (idle := ~useful[following]).any():
        following = np.where(idle, shorter[following], following)
    return following
