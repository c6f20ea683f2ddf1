"""The recordings that come with Auricle, and what a subscriber must hear in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from auricle.daemon.events import Event

FOLDER = Path(__file__).parent / "recordings"


WAKE_PHRASE = "hey chatterbox"
"""What somebody says in one of the recordings, to wake something up."""


def listening() -> list[str]:
    """Settings, as given to `--set`, by which everything is heard that the recordings have to offer."""
    return [
        f'wake=[{{phrase="{WAKE_PHRASE}"}}]',
        "commands.enabled=true",
        f'commands.grammar="{FOLDER / "demo.yaml"}"',
        "transcript.enabled=true",
        "pipeline.chunk_ms=40",  # one step of the acoustic model: to be watched, so prompt rather than cheap
    ]


class Expectation(NamedTuple):
    """An event that must arrive: `type`, dated within [after_s, before_s], with all that `data` names."""

    type: str
    after_s: float
    before_s: float
    data: Mapping[str, Any] = {}

    def matches(self, event: Event) -> bool:
        """Whether `event` is the one."""
        dated = event.type == self.type and self.after_s <= event.t <= self.before_s
        return dated and all(event.data.get(key) == value for key, value in self.data.items())

    def __str__(self) -> str:
        """Says what was expected, and when."""
        what = " ".join((self.type, *(f"{key} {value!r}" for key, value in self.data.items())))
        return f"{what} between {self.after_s:.1f} and {self.before_s:.1f} s"


class Recording(NamedTuple):
    """One bundled file."""

    path: Path
    licence: str
    expect: tuple[Expectation, ...]

    @property
    def name(self) -> str:
        """Name of the stream it is played as."""
        return self.path.stem


def recordings() -> list[Recording]:
    """Reads the manifest of the bundled recordings."""
    entries: list[dict[str, Any]] = json.loads((FOLDER / "recordings.json").read_text(encoding="utf-8"))
    return [
        Recording(
            FOLDER / entry["file"],
            entry["licence"],
            tuple(Expectation(**expectation) for expectation in entry["expect"]),
        )
        for entry in entries
    ]
