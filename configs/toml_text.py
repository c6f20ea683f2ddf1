"""Reads dotted TOML keys and single values, and writes them."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(key: str | int) -> str:
    """Returns one part of a dotted key, quoted where TOML asks for it."""
    text = str(key)
    return text if _BARE_KEY.fullmatch(text) else toml_value(text)


def toml_value(value: Any) -> str:
    """Returns a value as TOML text.

    Args:
        value: a bool, int, float or string, or a list or table of such.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_key(key)} = {toml_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    return repr(value) if isinstance(value, int | float) else toml_value(str(value))


def parse_key(text: str) -> tuple[str, ...]:
    """Splits a dotted key, such as `vad.onset` or `streams."desk.mic".rate`.

    Raises:
        ValueError: it isn't a key.
    """
    if "\n" not in text:
        try:
            table = tomllib.loads(f"{text} = 0")
        except tomllib.TOMLDecodeError:
            table = {}
        path: list[str] = []
        while isinstance(table, dict) and len(table) == 1:
            key, table = next(iter(table.items()))
            path.append(key)
        if path:
            return tuple(path)
    parts = tuple(part.strip() for part in text.split("."))
    if not all(parts) or set(text) & set("\"'[]=\n"):
        raise ValueError(f"expected a dotted key, such as vad.onset, got {text!r}")
    return parts


def parse_value(text: str) -> Any:
    """Reads a TOML value; other text is a string, as are the bare words of a list like `[yes, no]`."""
    text = text.strip()
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        table = {}
    if table.keys() == {"value"} and isinstance(table["value"], bool | int | float | str | list | dict):
        return table["value"]
    if text.startswith("[") and text.endswith("]") and "\n" not in text:
        return [parse_value(part) for part in text[1:-1].split(",") if part.strip()]
    return text


def find_line(text: str, path: Sequence[str | int]) -> int | None:
    """Returns the line (from 1) of a TOML text that sets `path` or a table around it; None if there's none.

    Good enough to point at a mistake: it reads line by line, so a multi-line string can mislead it.
    """
    wanted = tuple(str(part) for part in path)
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if header := re.match(r"\s*(\[\[?)([^\[\]]+)\]", line):
                table = parse_key(header[2].strip())
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, str(counts[table]))
                found = table
            elif assignment := re.match(r"\s*([^=#\[]+?)\s*=", line):
                found = table + parse_key(assignment[1])
            else:
                continue
        except ValueError:
            continue
        if wanted[: len(found)] == found and (best is None or len(found) > best[0]):
            best = (len(found), number)
    return best[1] if best else None
