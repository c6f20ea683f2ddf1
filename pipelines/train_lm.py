"""Learns a language model from text files, the training transcripts and everyday sentences."""

import gc
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from auricle.configs.errors import ConfigError, DataError
from auricle.models.decoding.ngram import NGram
from auricle.models.decoding.ngram_file import MOST_WORDS, SUFFIX, write_arpa, write_compact
from auricle.models.lexicon import dictionary
from auricle.pipelines.everyday import everyday_sentences
from auricle.pipelines.lm_text import (
    held_out_texts,
    manifest_texts,
    read_text,
    without_held_out,
)
from auricle.pipelines.ngram_counts import Size, estimate, number_words, vocabulary_of

logger = logging.getLogger(__name__)

JUDGED = 100
"""Sentences of each dev set that the perplexity is taken of."""


@dataclass(frozen=True)
class LmRecipe:
    """What a language model is made of."""

    words: int = 30_000
    """Vocabulary."""
    bigrams: int = 500_000
    trigrams: int = 700_000
    transcript_weight: int = 10
    """Training transcripts and everyday sentences count so many times."""
    rare_count: int = 60
    """Words that the pronouncing dictionary lacks must occur so often."""
    continuation: int = 1
    """1: shorter n-grams are counted as Kneser and Ney do; 0: as they occur."""


class Sources(NamedTuple):
    """Text, held-out sentences left out."""

    books: list[str]
    everyday: list[str]
    """Training transcripts and written sentences."""
    left_out: int


def read_sources(texts: Sequence[Path], data: Path) -> Sources:
    """Reads all text; no sentence of the `dev` and `eval` manifests comes through.

    Raises:
        DataError: a file cannot be read, or there is nothing.
    """
    held_out = held_out_texts(data)
    gc.disable()  # millions of strings, none of them garbage
    try:
        found = [text for path in track(texts, description="reading texts") for text in read_text(path)]
        own = [text for text in manifest_texts(sorted(data.glob("*/train.jsonl"))) if text.isascii()]
        own += [" ".join(sentence) for sentence in everyday_sentences()]
        books, everyday = without_held_out(found, held_out), without_held_out(own, held_out)
    finally:
        gc.enable()
    if not books and not everyday:
        raise DataError("no text to learn a language model from: name files with --text")
    return Sources(books, everyday, len(found) + len(own) - len(books) - len(everyday))


def choose_words(sources: Sources, recipe: LmRecipe) -> list[str]:
    """The vocabulary: frequent words that the dictionary has, and very frequent ones that it lacks."""
    counts = Counter(word for text in sources.books for word in text.split())
    own = Counter(word for text in sources.everyday for word in text.split())
    known = dictionary()
    pronounceable = {
        word: count
        for word, count in (counts + own).items()
        if word in known or (word.endswith("'s") and word[:-2] in known) or count >= recipe.rare_count
    }
    # What was really said comes first, whatever the books say.
    weighted = {
        word: count + recipe.transcript_weight * 1000 * own[word] for word, count in pronounceable.items()
    }
    return vocabulary_of(weighted, recipe.words)


def learn(sources: Sources, recipe: LmRecipe) -> NGram:
    """Learns the model."""
    words = choose_words(sources, recipe)
    row = number_words(_weighted(sources, recipe.transcript_weight), words)
    logger.info("%d running words, %d different ones", len(row), len(words))
    size = Size(recipe.bigrams, recipe.trigrams)
    return estimate(row, words, size, continuation=bool(recipe.continuation))


def _weighted(sources: Sources, weight: int) -> Iterable[list[str]]:
    for text in sources.books:
        yield text.split()
    for _ in range(weight):
        for text in sources.everyday:
            yield text.split()


def perplexity(model: NGram, texts: Iterable[str]) -> tuple[float, float]:
    """Perplexity of sentences, their ends included, and the share of words that the model does not know."""
    total, count, unknown = 0.0, 0, 0
    for text in texts:
        words = text.split()
        log_prob, missing = model.sentence(words)
        total, count, unknown = total + log_prob, count + len(words) + 1, unknown + missing
    return math.exp(-total / max(1, count - unknown)), unknown / max(1, count)


def lm_recipe(changes: Sequence[str]) -> LmRecipe:
    """The recipe with some settings changed, each as `KEY=VALUE`.

    Raises:
        ConfigError: a key is unknown or a value is no number.
    """
    recipe, names = LmRecipe(), [field.name for field in fields(LmRecipe)]
    for change in changes:
        key, _, value = change.partition("=")
        if key not in names or not value.isdecimal():
            raise ConfigError(
                f"unknown setting '{change}': expected a whole number for one of {', '.join(names)}"
            )
        recipe = replace(recipe, **{key: int(value)})
    return recipe


def train_lm(texts: Sequence[Path], data: Path, out: Path, recipe: LmRecipe) -> str:
    """Learns a model and writes it, as ARPA if its name ends in .arpa or .arpa.gz.

    Returns:
        What was read and learnt, and the perplexity of every set's dev sentences, for people.

    Raises:
        ConfigError: the name of the file fits no format.
    """
    if not out.name.endswith((SUFFIX, ".arpa", ".arpa.gz")):
        raise ConfigError(f"expected --out to end in {SUFFIX}, .arpa or .arpa.gz, got {out.name}")
    if out.name.endswith(SUFFIX) and recipe.words > MOST_WORDS:
        raise ConfigError(f"{recipe.words} words: expected at most {MOST_WORDS} in {SUFFIX}; write .arpa.gz")
    sources = read_sources(texts, data)
    model = learn(sources, recipe)
    out.parent.mkdir(parents=True, exist_ok=True)
    (write_compact if out.name.endswith(SUFFIX) else write_arpa)(model, out)
    read = sum(text.count(" ") + 1 for text in sources.books)
    own = sum(text.count(" ") + 1 for text in sources.everyday)
    lines = [
        f"{read} words of {len(texts)} texts, {own} of transcripts and everyday sentences (counted "
        f"{recipe.transcript_weight} times); {sources.left_out} sentences left out as held out",
        f"{out}: {model.orders[0]} words, {model.orders[1]} pairs, {model.orders[2]} triples, "
        f"{out.stat().st_size / 1e6:.1f} MB",
    ]
    for manifest in sorted(data.glob("*/dev.jsonl")):
        if sentences := manifest_texts([manifest])[:JUDGED]:
            value, unknown = perplexity(model, sentences)
            lines.append(f"{manifest.parent.name} dev: perplexity {value:.0f}, {unknown:.1%} unknown words")
    return "\n".join(lines)
