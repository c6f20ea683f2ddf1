"""Phrases that sound much like a given one, from the dictionary: what a detector must not take for it.

Shape letters: W words of the dictionary, P phones.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from auricle.models.lexicon import Lexicon, dictionary, normalise
from auricle.models.phones import INDEX
from auricle.pipelines.decode_phones import edit_distance

MOST_CHANGED = 2
"""Phones that may differ in a word: one for each three that it has, at most so many."""


@cache
def _counted() -> tuple[list[str], NDArray[np.int8]]:
    """The words of plain letters, and how often each has each phone, `(W, P)`."""
    words = [word for word in dictionary() if word.isalpha() and len(word) > 1]
    counts = np.zeros((len(words), len(INDEX) + 1), np.int8)
    for row, word in enumerate(words):
        for phone in dictionary()[word][0]:
            counts[row, INDEX[phone]] += 1
    return words, counts


def similar_words(word: str) -> list[tuple[int, str]]:
    """Words a few phones away from a word, and how many; nearest first, none that sounds the same."""
    lexicon = Lexicon()
    ways = [[INDEX[phone] for phone in way] for way in lexicon.spoken(word)]
    most = max(1, min(MOST_CHANGED, len(ways[0]) // 3))
    words, counts = _counted()
    own = np.bincount(ways[0], minlength=counts.shape[1])
    possible = np.flatnonzero(np.abs(counts - own).sum(1) <= 2 * most)  # a substitution changes two counts
    found = []
    for row in possible.tolist():
        other = [INDEX[phone] for phone in dictionary()[words[row]][0]]
        distance = min(edit_distance(other, way) for way in ways)
        if 0 < distance <= most:
            found.append((distance, words[row]))
    return sorted(found)


def near_misses(phrase: str, count: int, rng: np.random.Generator) -> list[str]:
    """Draws phrases with one word replaced by one that sounds like it, the nearest first.

    Args:
        phrase: words.
        count: how many at most.
        rng: decides among equally near ones.
    """
    words = normalise(phrase)
    found = [
        (distance, float(rng.random()), " ".join([*words[:place], other, *words[place + 1 :]]))
        for place, word in enumerate(words)
        for distance, other in similar_words(word)
    ]
    return [text for _, _, text in sorted(found)[:count]]
