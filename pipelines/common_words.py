"""Makes the common words that wake phrases are held against, from a language model.

    python -m auricle.pipelines.common_words lm-small models/common_words.xz

Backgrounds of second passes belong to the very words that they were made with: `auricle calibrate` makes
them anew.
"""

import argparse
from pathlib import Path

import numpy as np

from auricle.models.decoding.ngram import NGram
from auricle.models.decoding.ngram_file import find_language_model, read_language_model
from auricle.models.decoding.phrases import NEVER
from auricle.models.decoding.rivals import CommonWords
from auricle.models.decoding.transcriber import NOT_SAID
from auricle.models.lexicon import WORD, Lexicon
from auricle.models.phones import INDEX

WORDS = 20_000
WAYS = 3
"""Pronunciations of a word, the first ones of the dictionary."""


def tree_of(model: NGram, lexicon: Lexicon, count: int = WORDS) -> CommonWords:
    """The likeliest words of a language model that people can say, so many of them, as a tree."""
    spoken = [
        number
        for number in np.argsort(-model.unigram).tolist()
        if model.words[number] not in NOT_SAID and WORD.fullmatch(model.words[number])
    ]
    parent, label, word = [0], [0], [float(NEVER)]
    nodes: dict[tuple[int, int], int] = {}
    for number in spoken[:count]:
        for phones in lexicon.spoken(model.words[number])[:WAYS]:
            node = 0
            for phone in phones:
                key = (node, INDEX[phone])
                if key not in nodes:
                    nodes[key] = len(parent)
                    parent.append(node)
                    label.append(INDEX[phone])
                    word.append(float(NEVER))
                node = nodes[key]
            word[node] = max(word[node], float(model.unigram[number]))
    return CommonWords(np.array(parent), np.array(label), np.array(word, np.float32))


def main() -> None:
    """The command above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="language model: a shipped name, or an ARPA file")
    parser.add_argument("out", type=Path)
    parser.add_argument("--words", type=int, default=WORDS)
    args = parser.parse_args()
    words = tree_of(read_language_model(find_language_model(args.model)), Lexicon(), args.words)
    words.save(args.out)
    print(f"{args.out}: {len(words.parent)} nodes, {args.out.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main()
