"""Entry point of the `auricle` command: finds the one module that a command needs, and runs it.

A command is a module with `HELP`, `add_arguments(parser)` and `run(args) -> int`. The table below has a
line of help for each, so that `auricle --help` imports none of them.
"""

import argparse
import contextlib
import difflib
import errno
import importlib
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple, Protocol, cast

from auricle.configs.errors import AuricleError, ConfigError, ModelError

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

TRACEBACK_OPTION = "--traceback"
TRACEBACK_VARIABLE = "AURICLE_DEBUG"


class Command(NamedTuple):
    """One row of the dispatch table."""

    module: str
    help: str


class CommandModule(Protocol):
    """What a command's module offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the options of the command."""

    def run(self, args: argparse.Namespace) -> int:
        """Runs the command and returns its exit status."""


GROUPS: dict[str, dict[str, Command]] = {
    "Listen": {
        "demo": Command(
            "auricle.daemon.commands.demo", "show the whole of it on bundled recordings, or live"
        ),
        "run": Command("auricle.daemon.commands.run", "run the daemon: audio in, events out"),
        "listen": Command("auricle.daemon.commands.listen", "print the events of a running daemon"),
        "say-it": Command(
            "auricle.daemon.commands.say_it", "show how a phrase is spoken, or say how a word is"
        ),
        "send": Command("auricle.daemon.commands.send", "ship audio from this machine to a daemon elsewhere"),
    },
    "Files": {
        "stream": Command(
            "auricle.daemon.commands.stream", "run audio files through the same pipeline, offline"
        ),
        "posteriors": Command(
            "auricle.daemon.commands.posteriors", "print what a model thinks of a file, per frame"
        ),
    },
    "This machine": {
        "devices": Command("auricle.daemon.commands.devices", "list the microphones"),
        "config": Command("auricle.configs.command", "show, check and explain the configuration"),
        "selftest": Command(
            "auricle.daemon.commands.selftest", "prove that chunk size does not change the events"
        ),
        "bench": Command(
            "auricle.daemon.commands.bench", "tell what listening costs on this machine, part by part"
        ),
    },
    "Models": {
        "train": Command(
            "auricle.pipelines.commands.train", "train a voice-activity, keyword, acoustic or language model"
        ),
        "data": Command("auricle.pipelines.commands.data", "pack, check and synthesise training data"),
        "evaluate": Command(
            "auricle.pipelines.commands.evaluate", "judge models on held-out speakers and noise"
        ),
        "calibrate": Command(
            "auricle.pipelines.commands.calibrate", "prepare an acoustic model for wake phrases"
        ),
        "tune": Command("auricle.pipelines.commands.tune", "try a wake phrase before it annoys anyone"),
        "compare": Command(
            "auricle.pipelines.commands.compare", "LSTM or GRU? CTC or LF-MMI? under one budget"
        ),
    },
}
COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}

FIRST_STEPS = """\
First things to do:
  auricle demo                            hear it work, no microphone needed
  auricle stream FILE.wav --jsonl         the same on a recording of yours
  auricle run                             then, in a second terminal: auricle listen
"""


def help_text() -> str:
    """Returns what `auricle --help` prints."""
    lines = [
        "usage: auricle COMMAND [options]",
        "",
        "A real-time streaming speech daemon: audio in, speech and keyword events out over ZeroMQ.",
        "",
        FIRST_STEPS,
    ]
    for title, commands in GROUPS.items():
        lines.append(f"{title}:")
        lines.extend(f"  {name:<12}{command.help}" for name, command in commands.items())
        lines.append("")
    lines += [
        "`auricle COMMAND --help` tells the options of one. Where something is listened to:",
        "  --config F        a configuration file, or default, vad, keywords or assistant",
        "  --set KEY=VALUE   one setting, such as vad.onset=0.6; `auricle config --explain` lists them",
        "Everywhere:",
        f"  {TRACEBACK_OPTION}       where an error came from, for developers",
        "  --version         the versions of auricle, Python and torch",
    ]
    return "\n".join(lines)


def version_text() -> str:
    """Returns what `auricle --version` prints."""
    versions = []
    for package in ("auricle", "torch"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    versions.insert(1, f"Python {platform.python_version()}")
    return ", ".join(versions)


def find_command(name: str) -> Command:
    """Looks a command up in the dispatch table.

    Raises:
        ConfigError: there's none of that name; the message gives the nearest one.
    """
    if name in COMMANDS:
        return COMMANDS[name]
    kind = "option" if name.startswith("-") else "command"
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean `auricle {nearest[0]}`?" if nearest else "`auricle --help` lists them"
    raise ConfigError(f"expected one of {', '.join(COMMANDS)}, got the unknown {kind} {name!r}; {hint}")


def run_command(arguments: Sequence[str]) -> int:
    """Runs `arguments`, the command line without the program's name, and returns the exit status."""
    if not arguments:
        print(help_text(), file=sys.stderr)
        return EXIT_USAGE
    name, *rest = arguments
    if name == "help":
        name, rest = (rest[0], ["--help"]) if rest else ("--help", [])
    if name in ("-h", "--help"):
        print(help_text())
        return EXIT_OK
    if name in ("-V", "--version"):
        print(version_text())
        return EXIT_OK
    module = cast(CommandModule, importlib.import_module(find_command(name).module))
    parser = argparse.ArgumentParser(prog=f"auricle {name}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    return module.run(parser.parse_args(rest))


def describe_os_error(error: OSError) -> str:
    """Returns a system error as a sentence without its number."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def describe_missing_module(error: ModuleNotFoundError) -> str:
    """Returns what to do about a package that isn't installed."""
    return (
        f"expected the Python package {error.name!r}, which is not installed; run `make setup` in the "
        "repository, or install auricle with its extras: auricle[train]"
    )


def _fail(message: str, status: int) -> int:
    print(f"auricle: error: {message}", file=sys.stderr)
    return status


def _silence_stdout() -> None:
    """Points stdout at nothing, so that the interpreter's last flush cannot fail a second time."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain_failure(error: Exception, show_traceback: bool) -> int:
    """Prints an error for the user and returns the exit status; a bug is shown with its traceback."""
    if show_traceback and not isinstance(error, BrokenPipeError):
        traceback.print_exception(error)
    match error:
        case ConfigError() | ModelError():  # what a setting or an option names cannot be used
            return _fail(str(error), EXIT_USAGE)
        case AuricleError():
            return _fail(str(error), EXIT_ERROR)
        case BrokenPipeError():
            _silence_stdout()
            return EXIT_BROKEN_PIPE
        case OSError() if error.errno in errno.errorcode:
            return _fail(describe_os_error(error), EXIT_ERROR)
        case ModuleNotFoundError() if error.name and not error.name.startswith("auricle"):
            return _fail(describe_missing_module(error), EXIT_ERROR)
    if not show_traceback:
        traceback.print_exception(error)
    return _fail("this is a bug in Auricle; please report it with the lines above", EXIT_ERROR)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status; errors become one line on stderr.

    Args:
        argv: the arguments without the program's name; `sys.argv` if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    show_traceback = bool(os.environ.get(TRACEBACK_VARIABLE)) or TRACEBACK_OPTION in arguments
    arguments = [argument for argument in arguments if argument != TRACEBACK_OPTION]
    try:
        status = run_command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        return _explain_failure(error, show_traceback)
    return status


if __name__ == "__main__":
    sys.exit(main())
