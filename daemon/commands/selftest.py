"""`auricle selftest`: the promises about streaming, tested on this machine with the installed models."""

import argparse
from pathlib import Path

from auricle.configs.loader import add_config_arguments, load_from_arguments

HELP = "prove that chunk size does not change the events"
DESCRIPTION = """\
Runs recordings (the bundled ones, or FILEs) through the configured models at chunk sizes of 10, 30, 80
and 500 ms and checks that the events are the same (scores within 1e-3, all else equal), that posteriors agree
with those of the file in one piece (within 1e-4), and that nothing is left over from another stream.

  auricle selftest                                the bundled recordings
  auricle selftest talk.wav --config keywords     a recording and a configuration of yours
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="*", metavar="FILE", help="a recording (default: those bundled)")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each check; fails if one failed."""
    settings = load_from_arguments(args)

    from auricle.daemon.bundled import recordings
    from auricle.daemon.selftest import run_checks
    from auricle.models.engine import TorchEngine, limit_threads

    limit_threads(settings.daemon.threads)
    files = [Path(file) for file in args.files] or [recording.path for recording in recordings()]
    failed = 0
    for check in run_checks(files, settings, TorchEngine()):
        print(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.detail}", flush=True)
        failed += not check.passed
    print(f"{failed} checks failed" if failed else "all checks passed")
    return 1 if failed else 0
