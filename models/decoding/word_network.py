"""A grammar as a network of words, and the places in its file that messages name."""

from typing import NamedTuple

from auricle.configs.errors import ConfigError

Scalar = str | int | float | bool
START, FINAL = 0, 1
NO_TAG = 0


class Tag(NamedTuple):
    """What a stretch of a sentence means."""

    intent: str = ""
    slots: tuple[tuple[str, Scalar], ...] = ()


class WordArc(NamedTuple):
    """A word between two nodes."""

    source: int
    target: int
    word: str
    tag: int


class Jump(NamedTuple):
    """A way between two nodes without a word."""

    source: int
    target: int
    tag: int


class WordNetwork(NamedTuple):
    """All sentences of a grammar: the ways from node `START` to node `FINAL`."""

    words: list[WordArc]
    jumps: list[Jump]
    tags: list[Tag]


class Place(NamedTuple):
    """A file, to say where in it something is wrong."""

    name: str
    text: str

    def error(self, problem: str, near: str = "") -> ConfigError:
        """An error that names the line on which `near` first stands."""
        lines = self.text.splitlines()
        found = next((number for number, line in enumerate(lines, 1) if near and near in line), None)
        return ConfigError(f"{self.name}{f':{found}' if found else ''}: {problem}")
