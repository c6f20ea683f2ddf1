"""What all reports share: Markdown tables, and figures as JSON can hold them."""

from collections.abc import Mapping, Sequence
from typing import Any

from auricle.pipelines.metrics import Interval


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Composes a table, with a line end after each row."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(value: Interval) -> str:
    """A share and its interval in %, for tables."""
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def plain(value: Any) -> Any:
    """Turns intervals and keys into what JSON can hold."""
    if isinstance(value, Interval):
        return {"value": value.value, "low": value.low, "high": value.high}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
