"""Counts of n-grams of three words and fewer, and the probabilities they give (interpolated Kneser-Ney).

Modified Kneser-Ney smoothing after Chen and Goodman (1999): three discounts per order, shorter n-grams
counted by how many different words stand before them. Pruning drops the n-grams whose loss changes the model
least, by their count times what they add to the log-probability (Seymore and Rosenfeld, 1996); back-off
weights are made anew for what is left, so that probabilities add up to one.

Shape letters: W words, N running words, E n-grams.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.models.decoding.ngram import END, NEVER, START, UNKNOWN, NGram, assemble

Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]
Reals = NDArray[np.float64]

BITS = 20
"""Of each word in a packed n-gram."""
MASK = (1 << BITS) - 1
UNKNOWN_ID, START_ID, END_ID = 0, 1, 2


class Grams(NamedTuple):
    """N-grams of one order, ascending."""

    keys: Ints
    counts: Ints


class Size(NamedTuple):
    """How large the model may become."""

    bigrams: int
    trigrams: int
    least_trigram_count: int = 2


def vocabulary_of(counts: Mapping[str, int], size: int) -> list[str]:
    """The most frequent words, after the special ones; equal ones in alphabetical order."""
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:size]
    return [UNKNOWN, START, END, *ranked]


def number_words(sentences: Iterable[list[str]], words: list[str]) -> Numbers:
    """All sentences as one row of word numbers, each between `START` and `END`, `(N,)`."""
    index = {word: number for number, word in enumerate(words)}
    blocks, row = [], []
    for sentence in sentences:
        row.append(START_ID)
        row += [index.get(word, UNKNOWN_ID) for word in sentence]
        row.append(END_ID)
        if len(row) > 1_000_000:
            blocks.append(np.array(row, np.int32))
            row = []
    return np.concatenate([*blocks, np.array(row, np.int32)])


def count_grams(row: Numbers, piece: int = 20_000_000) -> tuple[Grams, ...]:
    """Counts single words, pairs and triples; none reaches over the end of a sentence.

    Args:
        row: text as `number_words` gives it.
        piece: words that are counted at a time: sorting takes several times the memory of what is sorted.

    Raises:
        DataError: there is no text.
    """
    if not len(row):
        raise DataError("no text to learn a language model from")
    begins = np.flatnonzero(row == START_ID)
    cuts = np.unique(begins[np.searchsorted(begins, np.arange(piece, begins[-1] + 1, piece))])
    pieces = np.split(row, cuts)
    counted = _count_piece(pieces[0])
    for part in pieces[1:]:
        more = _count_piece(part)
        counted = tuple(_merged(one, other) for one, other in zip(counted, more, strict=True))
    return counted


def _count_piece(row: Numbers) -> tuple[Grams, ...]:
    row = row.astype(np.int64)
    singles = _unique(row[row != START_ID])
    begins = row == START_ID
    pairs = _unique(((row[:-1] << BITS) | row[1:])[~begins[1:]])
    inside = ~(begins[1:-1] | begins[2:])
    triples = _unique(((row[:-2] << (2 * BITS)) | (row[1:-1] << BITS) | row[2:])[inside])
    return singles, pairs, triples


def _unique(keys: Ints) -> Grams:
    keys = np.sort(keys)
    first = _firsts(keys)
    return Grams(keys[first], np.diff(np.append(first, len(keys))))


def _merged(one: Grams, other: Grams) -> Grams:
    keys = np.concatenate([one.keys, other.keys])
    order = keys.argsort(kind="stable")
    keys, counts = keys[order], np.concatenate([one.counts, other.counts])[order]
    first = _firsts(keys)
    return Grams(keys[first], np.add.reduceat(counts, first))


def _firsts(keys: Ints) -> Ints:
    """Where new keys begin in a sorted row."""
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def discounts(counts: Ints) -> Reals:
    """What is taken from counts of 0, 1, 2, and 3 or more, `(4,)`."""
    one, two, three, four = (max(int((counts == times).sum()), 1) for times in (1, 2, 3, 4))
    share = one / (one + 2 * two)
    raw = [1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three]
    return np.array([0.0, *np.clip(raw, [0.1, 0.2, 0.3], [0.95, 1.9, 2.85])])


def interpolated(counts: Ints, groups: Ints, shorter: Reals) -> Reals:
    """Smoothed probabilities of n-grams.

    Args:
        counts: of each n-gram `(E,)`.
        groups: number of each n-gram's history, ascending from 0 `(E,)`.
        shorter: probability of the same word after the history without its first word `(E,)`.
    """
    taken = discounts(counts)[np.minimum(counts, 3)]
    totals = np.maximum(np.bincount(groups, counts), 1)  # words that nothing follows have no history
    left = np.bincount(groups, taken) / totals
    probability: Reals = (counts - taken) / totals[groups] + left[groups] * shorter
    return probability


def estimate(row: Numbers, words: list[str], size: Size, *, continuation: bool = True) -> NGram:
    """Learns a model from numbered text.

    Args:
        row: text as `number_words` gives it.
        words: the vocabulary.
        size: how large the model may become.
        continuation: whether shorter n-grams are counted as Kneser and Ney do, or as they occur.
    """
    singles, pairs, triples = count_grams(row)
    triple_pairs = np.searchsorted(pairs.keys, triples.keys & ((1 << 2 * BITS) - 1))
    pair_counts, single_counts = pairs.counts, np.zeros(len(words), np.int64)
    single_counts[singles.keys] = singles.counts
    if continuation:
        before = np.bincount(triple_pairs, minlength=len(pairs.keys))
        starts = pairs.keys >> BITS == START_ID
        pair_counts = np.where(starts, pairs.counts, np.maximum(before, 1))
        single_counts = np.bincount(pairs.keys & MASK, minlength=len(words))
    single_counts[START_ID] = 0
    taken = discounts(single_counts)[np.minimum(single_counts, 3)]
    total = single_counts.sum()
    possible = len(words) - 1
    p1 = (single_counts - taken) / total + taken.sum() / total / possible
    p1[START_ID] = 0
    p2 = interpolated(pair_counts, pairs.keys >> BITS, p1[pairs.keys & MASK])
    histories = np.searchsorted(pairs.keys, triples.keys >> BITS)
    p3 = interpolated(triples.counts, np.unique(histories, return_inverse=True)[1], p2[triple_pairs])
    return _pruned(words, p1, (pairs, p2), (triples, p3, histories, triple_pairs), size)


def _pruned(
    words: list[str],
    p1: Reals,
    second: tuple[Grams, Reals],
    third: tuple[Grams, Reals, Ints, Ints],
    size: Size,
) -> NGram:
    (pairs, p2), (triples, p3, histories, triple_pairs) = second, third
    known2 = ((pairs.keys >> BITS) != UNKNOWN_ID) & ((pairs.keys & MASK) != UNKNOWN_ID)
    known3 = known2[histories] & known2[triple_pairs]
    left3 = _backoff(histories, p3, p2[triple_pairs], len(pairs.keys))
    gain3 = triples.counts * (np.log(p3) - np.log(left3[histories] * p2[triple_pairs]))
    gain3[~known3 | (triples.counts < size.least_trigram_count)] = -1
    keep3 = _largest(gain3, size.trigrams)
    # A triple needs the entry of its history, and decoding that of its last two words.
    needed = np.zeros(len(pairs.keys), bool)
    needed[histories[keep3]] = needed[triple_pairs[keep3]] = True
    first, last = pairs.keys >> BITS, pairs.keys & MASK
    left2 = _backoff(first, p2, p1[last], len(words))
    gain2 = pairs.counts * (np.log(p2) - np.log(left2[first] * p1[last]))
    gain2[~known2] = -1
    gain2[needed] = np.inf
    keep2 = _largest(gain2, size.bigrams)
    weight1 = _backoff(first[keep2], p2[keep2], p1[last[keep2]], len(words))
    weight2 = _backoff(histories[keep3], p3[keep3], p2[triple_pairs[keep3]], len(pairs.keys))
    place = np.cumsum(keep2) - 1
    no_weight = np.zeros(int(keep3.sum()))
    unigram = np.where(p1 > 0, np.log(np.maximum(p1, 1e-40)), NEVER)
    return assemble(
        words,
        unigram.astype(np.float32),
        np.log(weight1).astype(np.float32),
        [
            (first[keep2], last[keep2], *_logs(p2[keep2], weight2[keep2])),
            (place[histories[keep3]], triples.keys[keep3] & MASK, *_logs(p3[keep3], np.exp(no_weight))),
        ],
    )


def _logs(probability: Reals, weight: Reals) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.log(probability).astype(np.float32), np.log(weight).astype(np.float32)


def _backoff(groups: Ints, probability: Reals, shorter: Reals, count: int) -> Reals:
    """The weight of each history `(count,)` that gives the words not listed after it what is left."""
    listed = np.bincount(groups, probability, count)
    also = np.bincount(groups, shorter, count)
    return np.clip(1 - listed, 1e-6, None) / np.clip(1 - also, 1e-6, None)


def _largest(gains: Reals, count: int) -> NDArray[np.bool_]:
    """Marks the entries with the largest gains, none below zero."""
    if not count:
        return np.zeros(len(gains), bool)
    if count < len(gains):
        threshold = np.partition(gains, len(gains) - count)[len(gains) - count]
        return np.asarray((gains >= threshold) & (gains >= 0))
    return np.asarray(gains >= 0)
