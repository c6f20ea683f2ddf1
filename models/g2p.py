"""Letters to phones for words that no dictionary has: a tree of contexts, learnt from CMUdict.

Every letter gives none, one or two phones. Which ones is looked up by the letters around it: the widest known
context decides, and a context is only stored where it says something else than the narrower one (IGTree,
Daelemans and others, 1997).

    python -m auricle.models.g2p

learns `g2p.json.gz` anew and prints how often words that it was not shown come out right.
"""

import gzip
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from auricle.configs.errors import DataError
from auricle.models.phones import PHONES, Pronunciation

FILE = Path(__file__).parent / "g2p.json.gz"
WINDOWS = ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4), (5, 5))
"""Letters before and after, from the narrowest context to the widest."""
REACH = max(map(max, WINDOWS))
LEAST_COUNT = 2
EDGE = "#"
CHUNK_SIZES = (0, 1, 2)
ROUNDS = 4
SAMPLED = 4
"""Costs are learnt on every so many-th word, which is enough."""
HELD_OUT = 20
EMPTY_COST, DOUBLE_COST, UNSEEN_COST = 3.0, 4.0, 12.0

Tree = Mapping[str, str]
Words = Sequence[tuple[str, Pronunciation]]
Costs = Mapping[tuple[str, Pronunciation], float]


def contexts(word: str, place: int) -> Iterator[str]:
    """The contexts of one letter as keys of the tree, widest first."""
    padded, middle = EDGE * REACH + word + EDGE * REACH, place + REACH
    for before, after in reversed(WINDOWS):
        yield f"{padded[middle - before : middle]}.{word[place]}.{padded[middle + 1 : middle + 1 + after]}"


def pronounce(word: str, tree: Tree | None = None) -> Pronunciation:
    """Guesses how a word is spoken.

    Args:
        word: lower-case letters a to z.
        tree: what was learnt; the shipped one if None.

    Raises:
        DataError: the word has other characters, or none.
    """
    if not (word.isascii() and word.isalpha() and word.islower()):
        raise DataError(f"cannot guess how '{word}' is spoken: expected lower-case letters a to z")
    known = shipped_tree() if tree is None else tree
    phones: list[str] = []
    for place in range(len(word)):
        phones += next((known[key].split() for key in contexts(word, place) if key in known), [])
    return tuple(phones)


@cache
def shipped_tree() -> Tree:
    """Reads the tree that comes with Auricle."""
    tree: Tree = json.loads(gzip.decompress(FILE.read_bytes()))
    return tree


def align(word: str, phones: Pronunciation, costs: Costs) -> list[Pronunciation]:
    """Deals the phones out to the letters at the lowest cost; empty if there are too many phones."""
    best: list[dict[int, tuple[float, Pronunciation]]] = [{0: (0.0, ())}]
    for letter in word:
        reached: dict[int, tuple[float, Pronunciation]] = {}
        for used, (cost, _) in best[-1].items():
            for size in CHUNK_SIZES:
                chunk = phones[used : used + size]
                if len(chunk) < size:
                    break
                total = cost + costs.get((letter, chunk), UNSEEN_COST)
                if used + size not in reached or total < reached[used + size][0]:
                    reached[used + size] = (total, chunk)
        best.append(reached)
    place, chunks = len(phones), []
    if place not in best[-1]:
        return []
    for reached in reversed(best[1:]):
        chunk = reached[place][1]
        chunks.append(chunk)
        place -= len(chunk)
    return chunks[::-1]


def first_costs(words: Words) -> dict[tuple[str, Pronunciation], float]:
    """Costs from how often letters and phones are in the same words at all."""
    together, letters, phones = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    for word, spoken in words:
        for letter in set(word):
            letters[letter] += 1
            together.update((letter, phone) for phone in set(spoken))
        phones.update(set(spoken))
    costs: dict[tuple[str, Pronunciation], float] = {
        (letter, (phone,)): 3.0 - math.log(count * len(words) / (letters[letter] * phones[phone]))
        for (letter, phone), count in together.items()
    }
    for letter, one in list(costs):
        for other in PHONES:
            second = costs.get((letter, (other,)), UNSEEN_COST)
            costs[letter, (*one, other)] = costs[letter, one] + second + DOUBLE_COST
    return {**costs, **{(letter, ()): EMPTY_COST for letter in letters}}


def learn(words: Words) -> dict[str, str]:
    """Learns the tree from words and their pronunciations."""
    costs: Costs = first_costs(words)
    for _ in range(ROUNDS):
        counts, letters = Counter[tuple[str, Pronunciation]](), Counter[str]()
        for word, spoken in words[::SAMPLED]:
            chunks = align(word, spoken, costs)
            counts.update(zip(word, chunks, strict=False))
            letters.update(word if chunks else "")
        costs = {pair: -math.log(count / letters[pair[0]]) for pair, count in counts.items()}
    return grow([(word, chunks) for word, spoken in words if (chunks := align(word, spoken, costs))])


def grow(aligned: Sequence[tuple[str, list[Pronunciation]]]) -> dict[str, str]:
    """Stores, window by window, the contexts that overrule narrower ones."""
    tree: dict[str, str] = {}
    for level in range(len(WINDOWS)):
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        narrower: dict[str, str] = {}
        for word, chunks in aligned:
            for place, chunk in enumerate(chunks):
                keys = list(contexts(word, place))[::-1][: level + 1]
                votes[keys[-1]][" ".join(chunk)] += 1
                narrower[keys[-1]] = next((tree[key] for key in reversed(keys[:-1]) if key in tree), "?")
        for key, vote in votes.items():
            chunk_text, count = vote.most_common(1)[0]
            if narrower[key] != chunk_text and (count >= LEAST_COUNT or level == 0):
                tree[key] = chunk_text
    return tree


def main() -> None:
    """Learns the shipped tree and judges it on words left out."""
    from auricle.models.lexicon import dictionary

    words = [(word, found[0]) for word, found in dictionary().items() if word.isascii() and word.isalpha()]
    left_out, shown = words[::HELD_OUT], [pair for number, pair in enumerate(words) if number % HELD_OUT]
    tree = learn(shown)
    right = sum(pronounce(word, tree) == spoken for word, spoken in left_out)
    print(f"{right / len(left_out):.1%} of {len(left_out)} words right")  # noqa: T201
    text = json.dumps(dict(sorted(learn(words).items())), separators=(",", ":"))
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{FILE}: {FILE.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
