"""`auricle bench`: what listening costs on this machine, part by part."""

import argparse
from pathlib import Path

from auricle.configs.arguments import count
from auricle.configs.loader import load
from auricle.daemon.commands.listening import (
    add_listening_arguments,
    asks_for_something,
    load_from_arguments,
)

HELP = "tell what listening costs on this machine, part by part"
DESCRIPTION = """\
Runs recordings (those bundled, or FILEs with speech) through the pipeline several times and tells how much
processor time each part takes, in percent of one core: 5 % means that a core could serve twenty streams.
Silero VAD, where installed, runs in turn with it: a machine that is busy with other things slows both.

  auricle bench                                   all of it: VAD, 5 wake phrases, commands, transcripts
  auricle bench talk.flac --wake "hey auricle"    a recording and a wish of yours
"""
PHRASES = ("hey auricle", "computer", "good morning kitchen", "turn everything off", "stop the music")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="*", metavar="FILE", help="a recording (default: those bundled)")
    parser.add_argument("--rounds", type=count, default=5, metavar="N", help="the median of so many counts")
    add_listening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints a table."""
    if args.config is None and not asks_for_something(args):
        wake = ", ".join(f'{{phrase = "{phrase}"}}' for phrase in PHRASES)
        settings = load("assistant", [f"wake=[{wake}]", *args.overrides])
    else:
        settings = load_from_arguments(args)

    from auricle.daemon.bench import benchmark, table, variants
    from auricle.daemon.bundled import recordings
    from auricle.models.engine import TorchEngine, limit_threads

    limit_threads(settings.daemon.threads)
    files = [Path(file) for file in args.files] or [recording.path for recording in recordings()]
    print(table(benchmark(files, variants(settings, TorchEngine()), args.rounds)))
    return 0
