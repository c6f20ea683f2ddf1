"""Words inside sentences of the train split, with the times that `mining` found."""

import json
from pathlib import Path
from typing import NamedTuple

from auricle.pipelines.targets import HOP_SAMPLES, Word

PATH = Path(__file__).parent / "recipes" / "word_times.jsonl"
WORD_HOPS = (30, 2)
"""A word is taken to lie from so many hops before the moment of highest posterior to so many after it."""


class Found(NamedTuple):
    """A word somewhere in a sentence of the train split."""

    set: str
    id: str
    word: str
    sample: int
    """Where in the clip the model was most sure of it."""
    score: float

    @property
    def place(self) -> Word:
        """About where the word lies, in hops."""
        hop = self.sample // HOP_SAMPLES
        return Word(max(0, hop - WORD_HOPS[0]), hop + WORD_HOPS[1])


def read_found(path: Path = PATH) -> list[Found]:
    """Reads the list that `mine` wrote."""
    return [Found(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
