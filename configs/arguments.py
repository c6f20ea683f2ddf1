"""Types of command-line arguments: `parser.add_argument("--timeout", type=seconds)`."""

import argparse
import math


def _number(text: str) -> float:
    """A number, or NaN for anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def seconds(text: str) -> float:
    """Reads a duration (s).

    Raises:
        argparse.ArgumentTypeError: it isn't a finite number of 0 or more.
    """
    value = _number(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return value


def positive(text: str) -> float:
    """Reads a measure that cannot be nothing.

    Raises:
        argparse.ArgumentTypeError: it isn't a finite number above 0.
    """
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def whole(text: str) -> int:
    """Reads a number of things that may be none.

    Raises:
        argparse.ArgumentTypeError: it isn't an integer of 0 or more.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """Reads a number of things.

    Raises:
        argparse.ArgumentTypeError: it isn't an integer of 1 or more.
    """
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)
