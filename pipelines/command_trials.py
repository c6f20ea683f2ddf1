"""Spoken commands to judge by: from a manifest, or made of recorded sentences whose text is known.

A stand-in where no recorded commands are at hand: some sentences of a set become sentence templates, one
intent each, in which up to six words are slots; the words of a slot's list are those of other sentences
with about as many phones. The other sentences of the set are speech outside the grammar.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from auricle.configs.errors import DataError
from auricle.models.lexicon import Lexicon, normalise
from auricle.pipelines.corpus import Clip, Corpus

SETS, OTHERS = ("commonvoice", "wuw2"), ("librispeech", "speechocean762")
"""Whose sentences become commands, and who else speaks outside the grammar."""
SEED = 60_000
FEWEST_WORDS, MOST_WORDS, MOST_SLOTS, LIST_SIZE = 5, 14, 6, 20
MOST_COMMANDS = 40
SHORTEST_SLOT = 4
"""Letters of the shortest word that may become a slot."""


class Trial(NamedTuple):
    """A recording, and what should come of it; no intent for speech outside the grammar."""

    clip: Clip
    intent: str = ""
    slots: Mapping[str, Any] = {}


class Trials(NamedTuple):
    """Recordings and the grammar they are judged with."""

    grammar: str
    """As YAML."""
    commands: list[Trial]
    others: list[Trial]


def read_trials(clips: Sequence[Clip], grammar: Path) -> Trials:
    """Sorts recorded commands, with `intent` and `slots` (a table), from speech outside the grammar, without.

    Raises:
        DataError: intent or slots of a clip are malformed, no clip has any, or the grammar cannot be read.
    """
    trials = []
    for clip in clips:
        intent, slots = clip.details.get("intent", ""), clip.details.get("slots", {})
        if not isinstance(intent, str) or not isinstance(slots, Mapping):
            raise DataError(f"clip {clip.id}: expected `intent`, a string, and `slots`, a table")
        trials.append(Trial(clip, intent, slots))
    commands = [trial for trial in trials if trial.intent]
    if not commands:
        raise DataError("no command among the recordings: their lines of the manifest need an `intent`")
    return Trials(read_grammar(grammar), commands, [trial for trial in trials if not trial.intent])


def read_grammar(path: Path) -> str:
    """The text of a grammar.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the grammar {path}: {error}") from error


def make_trials(
    corpus: Corpus, sets: Sequence[str], others: Sequence[str], split: str, seed: int = SEED
) -> Trials:
    """Makes templates of sentences of some sets; other sentences, and `others`, are outside the grammar."""
    rng = np.random.default_rng(seed)
    lexicon = Lexicon.of_folder(corpus.data)
    clips = [clip for name in sets for clip in corpus.clips(name, split) if clip.text]
    texts = sorted({clip.text for clip in clips if FEWEST_WORDS <= len(clip.words) <= MOST_WORDS})
    chosen = set(rng.permutation(texts)[: min(MOST_COMMANDS, len(texts) // 2)].tolist())
    plans = {text: _choose_slots(text, rng) for text in sorted(chosen)}
    words = sorted({normalise(text)[place] for text, places in plans.items() for place in places})
    lists = _group(words, lexicon, rng)
    place_of = {word: number for number, group in enumerate(lists) for word in group}
    intents, meant = {}, {}
    for number, (text, places) in enumerate(plans.items()):
        spoken = normalise(text)
        meant[text] = (f"s{number}", {f"slot{place}": spoken[place] for place in places})
        template = " ".join(
            f"{{list{place_of[word]}:slot{place}}}" if place in places else word
            for place, word in enumerate(spoken)
        )
        intents[f"s{number}"] = {"data": [{"sentences": [template]}]}
    tables = {f"list{number}": {"values": group} for number, group in enumerate(lists)}
    outside = [clip for clip in clips if clip.text not in chosen]
    outside += [clip for name in others for clip in corpus.clips(name, split) if clip.text]
    return Trials(
        json.dumps({"language": "en", "intents": intents, "lists": tables}, indent=1),
        [Trial(clip, *meant[clip.text]) for clip in clips if clip.text in chosen],
        [Trial(clip) for clip in outside],
    )


def _choose_slots(text: str, rng: np.random.Generator) -> tuple[int, ...]:
    words = normalise(text)
    able = [place for place, word in enumerate(words) if len(word) >= SHORTEST_SLOT]
    count = int(rng.integers(1, MOST_SLOTS + 1))
    return tuple(sorted(rng.permutation(able)[:count].tolist()))


def _group(words: Sequence[str], lexicon: Lexicon, rng: np.random.Generator) -> list[list[str]]:
    """Deals words out to lists of words of similar length."""
    mixed = rng.permutation(np.array(words)).tolist()
    ordered = sorted(mixed, key=lambda word: len(lexicon.spoken(word)[0]))
    return [ordered[start : start + LIST_SIZE] for start in range(0, len(ordered), LIST_SIZE)]
