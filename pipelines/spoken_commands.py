"""Commands spoken by synthetic voices: what a grammar is worth, tried before anybody has said it.

Sentences are drawn from the grammar and spoken as `auricle data synth` speaks texts; the same grammar and
seed give the same recordings, which are kept.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from auricle.configs.errors import DataError
from auricle.models.decoding.templates import parse_network
from auricle.models.decoding.word_network import FINAL, START, Jump, WordArc, WordNetwork
from auricle.pipelines.command_trials import Trial, Trials, read_grammar
from auricle.pipelines.corpus import Corpus, read_manifest
from auricle.pipelines.evaluate_commands import understand
from auricle.pipelines.synth import Request, installed, synthesise_set

SPOKEN = "spoken"
"""What such recordings are called where others have the name of their set, and of their split."""
TRIES = 20
"""For each sentence that is wanted: a small grammar has few."""
MOST_STEPS = 400
"""A way through the grammar that is longer goes round in a circle."""


def draw_sentences(network: WordNetwork, count: int, rng: np.random.Generator) -> list[str]:
    """Draws sentences, none twice; as many as were found, if the grammar has fewer."""
    ways: dict[int, list[WordArc | Jump]] = {}
    for arc in network.words:
        ways.setdefault(arc.source, []).append(arc)
    for jump in network.jumps:
        ways.setdefault(jump.source, []).append(jump)
    found: dict[str, None] = {}
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        if words := _draw(ways, rng):
            found.setdefault(" ".join(words))
    return list(found)


def _draw(ways: Mapping[int, list[WordArc | Jump]], rng: np.random.Generator) -> list[str]:
    """Goes from the start to the end, each way on as likely as any other; no words if that takes for ever."""
    place, words = START, list[str]()
    for _ in range(MOST_STEPS):
        way = ways[place][int(rng.integers(len(ways[place])))]
        if isinstance(way, WordArc):
            words.append(way.word)
        place = way.target
        if place == FINAL:
            return words
    return []


def speak_trials(grammar: Path, count: int, work: Path, seed: int = 1) -> tuple[Corpus, Trials]:
    """Draws sentences of a grammar and has them spoken, each by a voice that is drawn.

    Args:
        grammar: its file.
        count: how many sentences.
        work: where recordings are kept.
        seed: decides sentences and voices.

    Returns:
        Where the recordings are, and what is said in them.

    Raises:
        DataError: the grammar cannot be read, or there is no synthesiser; what to install is named.
        ConfigError: something is wrong with the grammar.
    """
    text = read_grammar(grammar)
    network = parse_network(text, str(grammar))
    sentences = draw_sentences(network, count, np.random.default_rng(seed))
    if not sentences:
        raise DataError(f"no sentence could be drawn from {grammar}")
    request = Request(tuple(sentences), takes=1, seed=seed)
    own = hashlib.sha256(repr((request, installed())).encode()).hexdigest()[:12]
    folder = work / SPOKEN / own
    synthesise_set(request, folder)
    clips = read_manifest(folder / "train.jsonl", SPOKEN, SPOKEN)
    meant = [(clip, understand(network, clip.words)) for clip in clips]
    commands = [Trial(clip, tag.intent, dict(tag.slots)) for clip, tag in meant if tag]
    return Corpus(folder.parent, folder / "decoded"), Trials(text, commands, [])
