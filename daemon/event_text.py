"""Events as lines for a person at a terminal."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from auricle.daemon.events import Event

_BAR_CELLS: Final = 20
_BAR_FLOOR_DBFS: Final = -60.0
_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode
_RESET: Final = "\x1b[0m"
_STYLES: Final = {
    "speech.start": "\x1b[36m",
    "speech.stop": "\x1b[36m",
    "wake": "\x1b[1;32m",
    "keyword": "\x1b[1;32m",
    "command": "\x1b[1;32m",
    "transcript.final": "\x1b[1m",
    "gap": "\x1b[33m",
    "device": "\x1b[33m",
    "error": "\x1b[1;31m",
    "latency": "\x1b[2m",
    "heartbeat": "\x1b[2m",
    "transcript.partial": "\x1b[2m",
}
"""ANSI escapes by type of event; other types are in the terminal's own colour."""

_AGED: Final = ("speech.start", "speech.stop", "wake", "keyword", "command", "transcript.final")
"""Types whose way from the microphone to here matters, and is shown."""


def wants_colour(out: TextIO) -> bool:
    """Tells whether escapes are welcome: on a terminal, unless NO_COLOR is set."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class EventPrinter:
    """Prints events one a line; on a terminal, levels share one line at the bottom that stays in place."""

    def __init__(self, out: TextIO, now_ns: Callable[[], int] | None = None) -> None:
        """Prints to `out`.

        Args:
            out: where to; escapes are used only if it is a terminal.
            now_ns: the monotonic clock, if the daemon runs on this machine, to show how late events come.
        """
        self._out = out
        self._now_ns = now_ns
        self._colour = wants_colour(out)
        self._live = out.isatty() and os.environ.get("TERM") != "dumb"
        self._full, self._empty = ("█", "·") if (out.encoding or "").lower().startswith("utf") else ("#", ".")
        self._levels: dict[str, str] = {}

    def show(self, event: Event) -> None:
        """Prints one event at once."""
        if event.type == "level" and self._live:
            self._levels[event.stream] = f"{printable(event.stream)} {self._describe(event)}"
            self._show_levels()
            return
        line = f"{event.t:9.2f} s  {printable(event.stream):<12}  {event.type:<13} {self._describe(event)}"
        if self._colour and event.type in _STYLES:
            line = _STYLES[event.type] + line + _RESET
        if self._now_ns is not None and event.type in _AGED:
            line += f"  [{(self._now_ns() - event.mono_ns) / 1e6:.1f} ms after the sample]"
        self._out.write(("\r\x1b[K" if self._levels else "") + line + "\n")
        if self._levels:
            self._show_levels()
        self._out.flush()

    def finish(self) -> None:
        """Leaves the cursor on a line of its own."""
        if self._levels:
            self._out.write("\n")
            self._out.flush()
            self._levels.clear()

    def _show_levels(self) -> None:
        columns = shutil.get_terminal_size().columns
        self._out.write("\r\x1b[K" + "   ".join(self._levels.values())[: columns - 1])
        self._out.flush()

    def _describe(self, event: Event) -> str:
        """Says what happened, as well as the data allows: a daemon elsewhere may be of another release."""
        describe = _DESCRIPTIONS.get(event.type)
        try:
            if event.type == "level":
                return self._level(event.data)
            return printable(_to_json(event.data) if describe is None else describe(event.data))
        except (KeyError, TypeError, ValueError):
            return printable(_to_json(event.data))

    def _level(self, data: Mapping[str, Any]) -> str:
        share = 1 - max(_BAR_FLOOR_DBFS, min(0.0, data["rms_dbfs"])) / _BAR_FLOOR_DBFS
        cells = round(share * _BAR_CELLS)
        bar = self._full * cells + self._empty * (_BAR_CELLS - cells)
        clipped = f"  CLIPPED {data['clipped']}" if data["clipped"] else ""
        return f"{bar} {data['rms_dbfs']:6.1f} dBFS, peak {data['peak_dbfs']:6.1f}{clipped}"


def printable(text: str) -> str:
    """Replaces what could move the cursor or forge a line: names come from other machines."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _latency(data: Mapping[str, Any]) -> str:
    total = data["stages"]["total"]
    times = ", ".join(f"{name} {total[name]:.1f}" for name in ("p50", "p95", "p99", "max"))
    return (
        f"{times} ms, {100 * data['rtf']:.1f} % of real time, {data['deadline_misses']} later than "
        f"{data['budget_ms']:g} ms, {data['lost_samples']} samples lost"
    )


def _spectrum(data: Mapping[str, Any]) -> str:
    loudest_db, loudest_hz = max(zip(data["db"], data["bins_hz"], strict=True))
    return f"{len(data['db'])} bins, loudest at {loudest_hz:g} Hz ({loudest_db:.1f} dBFS)"


def _heartbeat(data: Mapping[str, Any]) -> str:
    counts = f"{data['streams']} streams, {data['frames']} frames"
    return f"up {data['uptime_s']:.0f} s, {counts}, {data['rss_mb']:.0f} MB"


def _gap(data: Mapping[str, Any]) -> str:
    return (
        f"{data['samples']} samples ({data['samples'] / 16:.0f} ms) lost: {data['reason']}, {data['action']}"
    )


def _device(data: Mapping[str, Any]) -> str:
    detail = f": {data['detail']}" if data["detail"] else ""
    return f"{data['state']} {data['name']}, {data['rate']} Hz, {data['channels']} ch{detail}"


def _status(data: Mapping[str, Any]) -> str:
    models, streams = ", ".join(data["models"]) or "none", ", ".join(data["streams"]) or "none"
    return f"{data['state']}, version {data['version']}, models: {models}, streams: {streams}"


def _error(data: Mapping[str, Any]) -> str:
    return f"{data['message']}{'; ' if data['remedy'] else ''}{data['remedy']}"


_DESCRIPTIONS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "speech.start": lambda data: f"from {data['start']:.2f} s  ({data['score']:.2f})",
    "speech.stop": lambda data: f"{data['duration']:.2f} s, {data['start']:.2f} to {data['end']:.2f} s",
    "wake": lambda data: f">>> {data['phrase']} <<<  ({data['score']:.2f})",
    "keyword": lambda data: f">>> {data['label']} <<<  ({data['score']:.2f})",
    "command": lambda data: f">>> {data['text']} <<<  {data['intent']} {_to_json(data['slots'])}",
    "transcript.partial": lambda data: f"{data['text']} ...",
    "transcript.final": lambda data: f"{data['text']}  ({data['score']:.2f})",
    "spectrum": _spectrum,
    "gap": _gap,
    "device": _device,
    "latency": _latency,
    "heartbeat": _heartbeat,
    "status": _status,
    "error": _error,
}
