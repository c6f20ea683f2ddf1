"""The recordings that come with Auricle, and what a subscriber must hear in them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from auricle.daemon.events import Event

FOLDER = Path(__file__).parent / "recordings"


class Expectation(NamedTuple):
    """An event that must arrive: `type` (and `label`, if any) dated within [after_s, before_s]."""

    type: str
    after_s: float
    before_s: float
    label: str = ""

    def matches(self, event: Event) -> bool:
        """Whether `event` is the one."""
        return (
            event.type == self.type
            and self.after_s <= event.t <= self.before_s
            and event.data.get("label", "") == self.label
        )

    def __str__(self) -> str:
        """Says what was expected, and when."""
        what = f"{self.type} '{self.label}'" if self.label else self.type
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
