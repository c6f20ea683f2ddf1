"""`auricle listen`: prints the events of a running daemon."""

import argparse
import difflib
import io
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from auricle.configs.arguments import count, seconds
from auricle.configs.errors import ConfigError

if TYPE_CHECKING:
    from auricle.daemon.client import Subscriber
    from auricle.daemon.events import Event

HELP = "print the events of a running daemon"
DESCRIPTION = """\
Prints what a running daemon publishes, as it happens; waits for one that is not there yet, and says when
events were lost.

  auricle listen                                          everything of this user's daemon, for people
  auricle listen --type keyword --stream kitchen          words heard in the kitchen
  auricle listen --json --type speech | jq .data          for programs: --type speech is a family of types
  auricle listen --connect tcp://192.168.1.20:7310        a daemon elsewhere (its bus.endpoints)
  auricle listen --type keyword --count 1 --timeout 10    wait for a word; fails if none came
"""

_ABSENT_AFTER_S: Final = 1.5
_CHECK_EVERY_S: Final = 0.2
_LOSS_EVERY_S: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--connect",
        metavar="ENDPOINT",
        action="append",
        help="where the daemon publishes, ipc:///PATH or tcp://HOST:PORT; may be repeated "
        "(default: this user's daemon on this machine)",
    )
    parser.add_argument("--stream", metavar="NAME", action="append", help="only this stream; may be repeated")
    parser.add_argument(
        "--type",
        dest="types",
        metavar="TYPE",
        action="append",
        help="only this type of event, such as keyword, or family, such as speech; may be repeated",
    )
    parser.add_argument(
        "--json", action="store_true", help="print events as they are, one JSON object a line"
    )
    parser.add_argument("--count", metavar="N", type=count, help="end after N events")
    parser.add_argument(
        "--timeout", metavar="S", type=seconds, help="end after S seconds; with --count, fail if fewer came"
    )
    # Not add_config_arguments: importing the settings would take longer than all the rest of this command.
    parser.add_argument("--config", metavar="F", help="the daemon's configuration, instead of --connect")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting the daemon was given, such as bus.endpoints",
    )


def run(args: argparse.Namespace) -> int:
    """Prints events until --count, --timeout or Ctrl-C."""
    from auricle.daemon.client import Subscriber

    check_types(args.types or [])
    with Subscriber(find_endpoints(args), args.stream, args.types) as subscriber:
        show, finish = _output(args.json, subscriber.endpoints)
        try:
            shown = _print_events(subscriber, show, args.count, args.timeout)
        finally:
            finish()
        if subscriber.malformed:
            _note(f"{subscriber.malformed} messages skipped; the last: {subscriber.last_error}")
    if args.count is not None and shown < args.count:
        _note(f"expected {args.count} events within {args.timeout:g} s, {shown} came")
        return 1
    return 0


def find_endpoints(args: argparse.Namespace) -> list[str] | None:
    """Returns where to connect to: as told, else as configured, else None for the default.

    Raises:
        ConfigError: the configuration can't be used.
    """
    if args.connect or not (args.config or args.overrides):
        return args.connect or None
    from auricle.configs.loader import load

    any_address = re.compile(r"^tcp://(\*|0\.0\.0\.0):")
    return [
        any_address.sub("tcp://127.0.0.1:", name) for name in load(args.config, args.overrides).bus.endpoints
    ]


def check_types(types: list[str]) -> None:
    """Refuses types that don't exist, which would be waited for in vain.

    Raises:
        ConfigError: one is neither a type nor a family of types.
    """
    from auricle.daemon.events import TYPES

    known = {*TYPES, *(name.partition(".")[0] for name in TYPES)}
    for name in types:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ConfigError(f"--type: expected one of {', '.join(sorted(known))}, got {name!r}{hint}")


def _print_events(
    subscriber: "Subscriber", show: "Callable[[Event], None]", count: int | None, timeout_s: float | None
) -> int:
    """Shows events and says what is wrong with the connection; returns how many were shown."""
    connection, losses = _ConnectionWatch(subscriber), _LossWatch(subscriber)
    shown = 0
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while count is None or shown < count:
        left_s = _CHECK_EVERY_S if deadline is None else min(_CHECK_EVERY_S, deadline - time.monotonic())
        if left_s <= 0:
            break
        event = subscriber.receive(left_s)
        if event is not None:
            show(event)
            shown += 1
        connection.check()
        losses.check()
    losses.check(last=True)
    return shown


def _output(as_json: bool, endpoints: list[str]) -> "tuple[Callable[[Event], None], Callable[[], None]]":
    """Returns what prints one event, and what ends the printing."""
    if as_json:
        return _print_json, lambda: None
    from auricle.daemon.event_text import EventPrinter

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name may hold what a terminal without UTF-8 can't show
    local = all(name.startswith(("ipc:", "tcp://127.", "tcp://localhost:")) for name in endpoints)
    printer = EventPrinter(sys.stdout, time.monotonic_ns if local else None)
    return printer.show, printer.finish


def _print_json(event: "Event") -> None:
    sys.stdout.buffer.write(event.to_json() + b"\n")
    sys.stdout.buffer.flush()


class _ConnectionWatch:
    """Says when there's nobody at the other end, and when somebody came."""

    def __init__(self, subscriber: "Subscriber") -> None:
        self._subscriber = subscriber
        now = time.monotonic()
        self._absent_since = dict.fromkeys(subscriber.endpoints, now)
        self._complained: set[str] = set()
        self._checked = now

    def check(self) -> None:
        now = time.monotonic()
        if now - self._checked < _CHECK_EVERY_S:
            return
        self._checked = now
        for endpoint, connected in self._subscriber.connected().items():
            if connected:
                self._absent_since.pop(endpoint, None)
                if endpoint in self._complained:
                    self._complained.discard(endpoint)
                    _note(f"connected to {endpoint}")
            elif self._absent_for(endpoint, now) > _ABSENT_AFTER_S and endpoint not in self._complained:
                self._complained.add(endpoint)
                _note(
                    f"no daemon at {endpoint}: start one with `auricle run`, or say where it publishes "
                    "with --connect (its bus.endpoints); waiting for it"
                )

    def _absent_for(self, endpoint: str, now: float) -> float:
        return now - self._absent_since.setdefault(endpoint, now)


class _LossWatch:
    """Says when events were lost, at most once a second."""

    def __init__(self, subscriber: "Subscriber") -> None:
        self._subscriber = subscriber
        self._told: dict[str, int] = {}
        self._checked = time.monotonic()

    def check(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._checked < _LOSS_EVERY_S:
            return
        self._checked = now
        for stream, lost in self._subscriber.lost.items():
            if lost > self._told.get(stream, 0):
                self._told[stream] = lost
                _note(f"{lost} events of {stream} lost so far: they came faster than they were read")


def _note(text: str) -> None:
    from auricle.daemon.event_text import printable

    print(f"auricle: {printable(text)}", file=sys.stderr, flush=True)
