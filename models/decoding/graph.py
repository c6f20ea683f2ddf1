"""The decoding graph of a grammar: states that each stand for one phone of one word, in flat arrays.

A word is a chain of states, one chain for each of its pronunciations. Chains end at *joints* and begin at
joints; jumps without a word lead from joint to joint. So the arrays grow with the words of the templates and
their lists: a hundred ways into a list and a hundred out of it are two hundred arcs, not ten thousand.

Shape letters: N states, C chains, K joints where words end, M joints where words begin, J jumps.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ConfigError, DataError
from auricle.configs.whole import written_whole
from auricle.models import g2p, lexicon
from auricle.models.decoding.templates import parse_network, read_network
from auricle.models.decoding.word_network import FINAL, NO_TAG, START, Jump, Tag, WordNetwork
from auricle.models.lexicon import Lexicon
from auricle.models.phones import INDEX

VERSION = 2
"""Of what is stored; to be raised with every change of the compiler."""

Numbers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CommandGraph:
    """A compiled grammar. Joint number K, after all where words end, is the beginning of a sentence."""

    labels: Numbers
    """Phone of each state, with shape `(N,)`."""
    repeats: NDArray[np.bool_]
    """Whether a state's phone is that of the state before it in its word, `(N,)`."""
    first: Numbers
    """First state of each chain, ascending, `(C,)`."""
    first_joint: Numbers
    """Where each chain begins: a number below M, `(C,)`."""
    last: Numbers
    """Last states, in the order of the joints they lead to, `(C,)`."""
    last_starts: Numbers
    """Where each joint's states begin in `last`, `(K,)`."""
    jump_from: Numbers
    """Joint that a jump leaves, up to K, in the order of the joints it leads to, `(J,)`."""
    jump_starts: Numbers
    """Where each joint's jumps begin in `jump_from`, `(M,)`."""
    jump_tags: Numbers
    """Number of what a jump means, `(J,)`."""
    final: Numbers
    """Joints at which a sentence may end."""
    final_tags: Numbers
    """Number of what ending there means."""
    chain_words: Numbers
    """Number of each chain's word, `(C,)`."""
    chain_tags: Numbers
    """Number of what each chain means, `(C,)`."""
    vocabulary: tuple[str, ...]
    tags: tuple[Tag, ...]


def compile_grammar(
    path: Path, pronunciations: Lexicon | None = None, cache_folder: Path | None = None
) -> CommandGraph:
    """Reads and compiles a grammar; one that was compiled before comes from the cache.

    Args:
        path: YAML with sentence templates.
        pronunciations: how words are spoken; the dictionary if None.
        cache_folder: where compiled graphs are kept; None for nowhere.

    Raises:
        ConfigError: as in `templates.read_network`.
    """
    known = pronunciations or Lexicon()
    stored: Path | None = None
    if cache_folder is not None and path.is_file():
        read = path.read_bytes()
        digest = hashlib.sha256(read)
        digest.update(f"{VERSION} {_lexicon_digest()} {sorted(known.entries.items())}".encode())
        stored = cache_folder / f"grammar-{digest.hexdigest()[:32]}.npz"
        if (found := load_graph(stored)) is not None:
            return found
    graph = build_graph(read_network(path), known, str(path))
    if stored is not None and path.read_bytes() == read:  # else what was compiled may be another text's
        save_graph(graph, stored)
    return graph


def compile_text(text: str, pronunciations: Lexicon | None = None) -> CommandGraph:
    """Compiles a grammar from its text."""
    return build_graph(parse_network(text, "grammar"), pronunciations or Lexicon(), "grammar")


def build_graph(network: WordNetwork, known: Lexicon, name: str) -> CommandGraph:
    """Spells the words of a network in phones.

    Raises:
        ConfigError: no sentence with a word in it leads to the end, or a word cannot be spoken.
    """
    arcs = list(dict.fromkeys(network.words))
    begins = {node: number for number, node in enumerate(dict.fromkeys(arc.source for arc in arcs))}
    ends = {node: number for number, node in enumerate(dict.fromkeys(arc.target for arc in arcs))}
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(arc.word for arc in arcs))}
    labels: list[int] = []
    repeats: list[bool] = []
    chains: list[tuple[int, int, int, int, int, int]] = []  # first, last, begin, end, word, tag
    for arc in arcs:
        try:
            ways = known.spoken(arc.word)
        except DataError as error:
            raise ConfigError(f"{name}: {error}") from error
        for phones in dict.fromkeys(ways):
            spelt = [INDEX[phone] for phone in phones]
            first = len(labels)
            labels += spelt
            repeats += [place > 0 and spelt[place - 1] == label for place, label in enumerate(spelt)]
            place = (first, len(labels) - 1, begins[arc.source], ends[arc.target])
            chains.append((*place, vocabulary[arc.word], arc.tag))
    table = np.array(chains, np.intp)
    tags = list(network.tags)
    jumps, final = _jumps(network.jumps, begins, ends, tags)
    if not final:
        raise ConfigError(f"{name}: expected a sentence with at least one word")
    by_end = np.argsort(table[:, 3], kind="stable")
    jump_table = np.array(sorted(jumps, key=lambda jump: jump[1]), np.intp)
    return CommandGraph(
        labels=np.array(labels, np.intp),
        repeats=np.array(repeats, np.bool_),
        first=table[:, 0],
        first_joint=table[:, 2],
        last=table[by_end, 1],
        last_starts=_starts(table[by_end, 3]),
        jump_from=jump_table[:, 0],
        jump_starts=_starts(jump_table[:, 1]),
        jump_tags=jump_table[:, 2],
        final=np.array([joint for joint, _ in final], np.intp),
        final_tags=np.array([tag for _, tag in final], np.intp),
        chain_words=table[:, 4],
        chain_tags=table[:, 5],
        vocabulary=tuple(vocabulary),
        tags=tuple(tags),
    )


def _starts(ordered: Numbers) -> Numbers:
    """Where each value begins in an ascending sequence that holds every number from 0 on."""
    assert len(np.unique(ordered)) == ordered[-1] + 1, "every joint can be reached"
    return np.flatnonzero(np.diff(ordered, prepend=-1))


def _jumps(
    jumps: Sequence[Jump], begins: dict[int, int], ends: dict[int, int], tags: list[Tag]
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Follows jumps from every joint where a word ends (or the sentence begins) to those where one begins.

    Returns:
        Jumps (from, to, tag), and joints at which a sentence may end with the tag of ending there.
    """
    ways: dict[int, list[Jump]] = {}
    for jump in jumps:
        ways.setdefault(jump.source, []).append(jump)
    numbers = {tag: number for number, tag in enumerate(tags)}

    def merged(one: int, other: int) -> int:
        if NO_TAG in (one, other):
            return one or other
        tag = Tag(tags[one].intent or tags[other].intent, (*tags[one].slots, *tags[other].slots))
        if tag not in numbers:
            numbers[tag] = len(tags)
            tags.append(tag)
        return numbers[tag]

    found: list[tuple[int, int, int]] = []
    final: list[tuple[int, int]] = []
    for node, joint in [*ends.items(), (START, len(ends))]:
        waiting, seen = [(node, NO_TAG)], {node}
        while waiting:
            place, tag = waiting.pop(0)
            if place == FINAL and joint < len(ends):
                final.append((joint, tag))
            if place in begins:
                found.append((joint, begins[place], tag))
            for jump in ways.get(place, ()):
                if jump.target not in seen:
                    seen.add(jump.target)
                    waiting.append((jump.target, merged(tag, jump.tag)))
    return found, final


@cache
def _lexicon_digest() -> str:
    """Tells one version of the dictionary and of the letter-to-phone rules from another."""
    digest = hashlib.sha256()
    for path in (lexicon.DICTIONARY, g2p.FILE, Path(lexicon.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def save_graph(graph: CommandGraph, path: Path) -> None:
    """Stores a graph, as `store_arrays` does."""
    arrays = {field.name: getattr(graph, field.name) for field in fields(graph)}
    arrays["vocabulary"] = np.array(graph.vocabulary)
    arrays["tags"] = np.array(json.dumps(graph.tags))
    store_arrays(arrays, path)


def store_arrays(arrays: dict[str, Any], path: Path) -> None:
    """Stores what can be made again: whole or not at all, and not where it cannot be written."""
    try:
        with written_whole(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves the name and not what is in it
    except OSError:
        return


def load_graph(path: Path) -> CommandGraph | None:
    """Reads a stored graph; None if there is none, or it is damaged in any way: it can be made again."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            arrays = dict(stored)
        tags = json.loads(str(arrays.pop("tags")))
        vocabulary = tuple(arrays.pop("vocabulary").tolist())
        slots = [tuple((slot, value) for slot, value in entry) for _, entry in tags]
        made = tuple(Tag(intent, own) for (intent, _), own in zip(tags, slots, strict=True))
        return CommandGraph(**arrays, vocabulary=vocabulary, tags=made)
    except Exception:  # zip, zlib, JSON and numpy each have their own
        return None
