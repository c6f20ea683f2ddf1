"""`auricle demo`: the daemon in one process, a subscriber in another, on bundled recordings or live."""

import argparse
import sys

from auricle.daemon.commands.listening import add_listening_arguments, asks_for_something, listening_overrides

HELP = "show the whole of it on bundled recordings, or live"
DESCRIPTION = """\
Starts the daemon in a process of its own, subscribes to it from this one, and prints events as they arrive,
then how long everything took. The bundled recordings (three streams at once, real-time pace) hold keywords, a
wake phrase, commands and a sentence; it fails unless every event that must come has come.

  auricle demo                     the bundled recordings
  auricle demo --source mic        your microphone, until Ctrl-C
  auricle demo --source mic --wake "hey kitchen" --transcribe
  auricle demo --source mic --wake "hey auricle"
  auricle demo --set keyword.cell=lstm --set keyword.threshold=0.7 --set vad.cell=lstm
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--source", choices=("files", "mic"), default="files", help="what to listen to (default: files)"
    )
    parser.add_argument("--all", action="store_true", help="print level, heartbeat and partial events too")
    parser.add_argument("--save-screen", metavar="FILE.svg", help="also write what was shown as a picture")
    add_listening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0 only if the subscriber received what it must."""
    from auricle.daemon.demo import Demo, Screen

    screen = Screen(sys.stdout)
    out = screen if args.save_screen else sys.stdout
    overrides, asked = listening_overrides(args), args.config is not None or asks_for_something(args)
    status = Demo(args.source, args.config, overrides, asked=asked, show_all=args.all, out=out).run()
    if args.save_screen:
        screen.save(args.save_screen, "auricle demo")
    return status
