"""`auricle run`: the daemon."""

import argparse
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from auricle.configs.arguments import seconds
from auricle.configs.errors import ConfigError
from auricle.configs.loader import find_config
from auricle.daemon.commands.listening import add_listening_arguments, load_from_arguments

if TYPE_CHECKING:
    from auricle.configs.settings import Settings
    from auricle.daemon.reload import Origin
    from auricle.daemon.service import Daemon

HELP = "run the daemon: audio in, events out"
DESCRIPTION = """\
Opens the configured sources (by default the microphone), runs the models over them and publishes events until
Ctrl-C or SIGTERM, or until every source has ended. Watch it from another terminal with `auricle listen`.
Wake phrases that change in its configuration file are used at once, without losing a frame.

  auricle run                                             default microphone, speech and keywords
  auricle run --set streams.mic.device=USB                another microphone (see `auricle devices`)
  auricle run --config vad --set 'bus.endpoints=["tcp://127.0.0.1:7310"]'
  auricle run --wake "hey auricle" --wake "stop the music" --false-accepts-per-hour 0.1
  auricle run --set latency.trace=run.trace.json          a trace for ui.perfetto.dev
"""

_IMPATIENT_S: Final = 1.0
"""Signals closer together than this are one: a terminal, a parent and `timeout` may all send one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--wait-subscriber",
        type=seconds,
        default=0.0,
        metavar="S",
        help="open the sources when somebody has subscribed, or after S seconds (default: at once)",
    )
    parser.add_argument("--quiet", action="store_true", help="no latency table at the end")
    add_listening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs until stopped; fails if a stream or the trace failed."""
    asked: list[int] = []
    if not os.isatty(0):  # before the daemon is there, SIGHUP would be the end of it
        signal.signal(signal.SIGHUP, lambda number, _: asked.append(number))
    origin = _origin(args)  # before it is read: what changes while models load is not missed
    settings = load_from_arguments(args)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("auricle").setLevel(settings.daemon.log_level.upper())  # not torch's chatter

    from auricle.daemon.service import Daemon
    from auricle.models.engine import TorchEngine, limit_threads

    limit_threads(settings.daemon.threads)
    daemon = Daemon(settings, TorchEngine(), origin=origin)
    _obey_signals(daemon)
    if asked:
        daemon.reload()
    daemon.run(args.wait_subscriber)
    if daemon.streams and not args.quiet:
        _print_latency({live.name: live.latency.summary() for live in daemon.streams})
    for failure in daemon.failures:
        print(f"auricle: error: {failure}", file=sys.stderr)
    return 1 if daemon.failures else 0


def _origin(args: argparse.Namespace) -> "Origin":
    """Where the configuration comes from; a file of the user's own is watched."""
    from auricle.daemon.reload import Origin

    path = find_config(args.config) if args.config is not None else None
    own = path is not None and path.is_file()

    def read() -> "Settings":
        if path is not None and not own:
            raise ConfigError(f"{path} is a pipe, which can be read once; start the daemon anew")
        return load_from_arguments(args)

    return Origin(read, path if own else None)


def _obey_signals(daemon: "Daemon") -> None:
    """Lets SIGINT or SIGTERM end the daemon in good order, and another one a second later at once.

    SIGHUP has the wake phrases read again, unless it may come from a terminal that was closed.
    """
    first_s = 0.0

    def stop(number: int, _: object) -> None:
        nonlocal first_s
        now_s = time.monotonic()
        first_s = first_s or now_s
        if now_s - first_s > _IMPATIENT_S:
            raise KeyboardInterrupt
        daemon.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if not os.isatty(0):
        signal.signal(signal.SIGHUP, lambda *_: daemon.reload())


def _print_latency(summaries: dict[str, dict[str, object]]) -> None:
    from rich.console import Console

    from auricle.daemon.latency import table

    Console(file=sys.stderr).print(table(summaries))
