"""What all reports share: Markdown tables, and figures as JSON can hold them."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from auricle.pipelines.metrics import Interval


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Composes a table, with a line end after each row."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(value: Interval, digits: int = 1) -> str:
    """A share and its interval in %, for tables; no interval where one speaker tells nothing of others."""
    shown = f"{100 * value.value:.{digits}f}"
    return (
        shown
        if isnan(value.low)
        else f"{shown} [{100 * value.low:.{digits}f}, {100 * value.high:.{digits}f}]"
    )


def plain(value: Any) -> Any:
    """Turns intervals and keys into what JSON can hold."""
    if isinstance(value, Interval):
        return {key: None if isnan(bound) else bound for key, bound in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
