"""Words inside sentences of the train split, with the times that `mining` found."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from auricle.configs.whole import written_whole
from auricle.pipelines.targets import HOP_SAMPLES, Word

PATH = Path(__file__).parent / "recipes" / "word_times.tsv"


class Found(NamedTuple):
    """A word somewhere in a sentence of the train split."""

    set: str
    id: str
    word: str
    start: int
    """First sample in the clip."""
    end: int
    """Sample behind it."""

    @property
    def place(self) -> Word:
        """Where the word lies, in hops."""
        return Word(self.start // HOP_SAMPLES, -(-self.end // HOP_SAMPLES))


def read_found(path: Path = PATH) -> list[Found]:
    """Reads the list that `mining` wrote: set, id, word, first sample and the one behind it, between tabs."""
    lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [Found(name, clip, word, int(start), int(end)) for name, clip, word, start, end in lines]


def write_found(found: Iterable[Found], path: Path = PATH) -> None:
    """Writes such a list, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text("".join("\t".join(map(str, one)) + "\n" for one in found), encoding="utf-8")
