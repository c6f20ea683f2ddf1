"""Texts to synthesise: sentences rich in phones, commands, digits."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from auricle.configs.errors import DataError
from auricle.models.lexicon import Lexicon
from auricle.models.phones import INDEX
from auricle.pipelines.everyday import everyday_sentences
from auricle.pipelines.lm_text import manifest_texts

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST_DIGITS = 7
FEWEST_WORDS, MOST_WORDS = 3, 14
"""Of a rich sentence: longer ones are a strain on synthesisers, and on listeners."""
MOST_TEXTS = 20_000
"""To choose rich ones from; of more, an even choice is looked at."""


def digit_strings(count: int, rng: np.random.Generator) -> list[str]:
    """Draws strings of one to seven digits; a zero is at times called "oh", but not alone."""
    texts = []
    for _ in range(count):
        drawn = [DIGITS[int(digit)] for digit in rng.integers(10, size=rng.integers(1, MOST_DIGITS + 1))]
        if len(drawn) > 1 and rng.random() < 0.3:
            drawn = ["oh" if digit == "zero" else digit for digit in drawn]
        texts.append(" ".join(drawn))
    return texts


def command_phrases(count: int, rng: np.random.Generator) -> list[str]:
    """Draws sentences that people say to a device, none twice."""
    sentences = everyday_sentences()
    return [" ".join(sentences[place]) for place in rng.permutation(len(sentences))[:count].tolist()]


def training_texts(data: Path) -> list[str]:
    """The sentences of all training sets of a data folder, each once.

    Raises:
        DataError: there are none.
    """
    texts = {text for text in manifest_texts(sorted(data.glob("*/train.jsonl"))) if text.isascii()}
    if not texts:
        raise DataError(f"no training sentences in {data} to choose from: give the folder of the sets")
    return sorted(texts)


def rich_sentences(texts: Sequence[str], count: int) -> list[str]:
    """Chooses the sentences that together hold the most pairs of phones, for their length.

    Each choice is the text with the most pairs not heard yet for the root of their number; once all pairs
    were heard, they count anew.

    Args:
        texts: to choose from, those of three to fourteen words.
        count: how many at most.
    """
    lexicon, phones = Lexicon(), len(INDEX) + 1
    kept = [text for text in texts if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS]
    kept = kept[:: max(1, -(-len(kept) // MOST_TEXTS))]
    present = np.zeros((len(kept), phones * phones), np.float32)
    for row, text in enumerate(kept):
        present[row, [one * phones + other for one, other in pairwise(lexicon.labels(text))]] = 1.0
    effort = np.sqrt(present.sum(1).clip(min=1.0))
    chosen: list[str] = []
    unheard = np.ones(phones * phones, np.float32)
    while len(chosen) < min(count, len(kept)):
        worth = present @ unheard / effort
        best = int(worth.argmax())
        if worth[best] > 0:
            chosen.append(kept[best])
            unheard[present[best] > 0] = 0.0
            present[best] = 0.0
        elif unheard.all():
            break  # what is left has no pairs
        else:
            unheard[:] = 1.0
    return chosen
