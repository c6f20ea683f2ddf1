"""What to listen for, asked for on the command line: `--wake`, `--grammar`, `--transcribe`.

Each flag stands for settings, which come after those of the file and before those of `--set`. Asking for
something without `--config` switches off what was not asked for.
"""

import argparse
from collections.abc import Iterator

from auricle.configs.arguments import positive
from auricle.configs.errors import ConfigError
from auricle.configs.loader import add_config_arguments, load
from auricle.configs.settings import Settings
from auricle.configs.toml_text import toml_value

OFF = ("vad", "keyword", "level", "spectrum")
"""Sections that are switched off when something else is asked for."""
CHUNK_MS = 160
"""As in `configs/assistant.toml`: phones cost the less, the more of them are heard at once."""


def add_listening_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags, and those of `add_config_arguments`."""
    group = parser.add_argument_group("what to listen for (the rest is switched off, unless in --config)")
    group.add_argument(
        "--wake", action="append", default=[], metavar="PHRASE", help="a wake phrase; repeatable"
    )
    group.add_argument(
        "--false-accepts-per-hour",
        type=positive,
        metavar="X",
        help="how often each wake phrase, and a command, may be heard wrongly in an hour of speech "
        "(default 0.5)",
    )
    group.add_argument("--grammar", metavar="FILE.yaml", help="commands: sentence templates")
    group.add_argument("--transcribe", action="store_true", help="everything that is said, as text")
    add_config_arguments(parser)


def asks_for_something(args: argparse.Namespace) -> bool:
    """Whether a flag says what to listen for."""
    return bool(args.wake or args.grammar is not None or args.transcribe)


def listening_overrides(args: argparse.Namespace) -> list[str]:
    """Returns the settings that the flags stand for, then those of `--set`, as `a.b=value` each.

    Raises:
        ConfigError: an operating point is given for no phrase and no grammar.
    """
    return [*_asked_for(args), *args.overrides]


def load_from_arguments(args: argparse.Namespace) -> Settings:
    """Reads the configuration that a command line asks for.

    Raises:
        ConfigError: a flag, the file, a key or a value is at fault.
    """
    return load(args.config, listening_overrides(args))


def _asked_for(args: argparse.Namespace) -> Iterator[str]:
    rate = args.false_accepts_per_hour
    if rate is not None and not args.wake and args.grammar is None:
        raise ConfigError(
            "--false-accepts-per-hour is for the phrases of --wake and the sentences of --grammar, and there "
            'are none; add --wake "hey auricle", or set it in the file, for each [[wake]] and in [commands]'
        )
    utterances = args.grammar is not None or args.transcribe
    if args.config is None and (args.wake or utterances):
        # Commands and transcripts begin where speech begins.
        yield from (f"{name}.enabled=false" for name in OFF if not (utterances and name == "vad"))
        yield f"pipeline.chunk_ms={CHUNK_MS}"
    if args.wake:
        common = {} if rate is None else {"false_accepts_per_hour": rate}
        yield f"wake={toml_value([{'phrase': phrase, **common} for phrase in args.wake])}"
    if args.grammar is not None:
        yield "commands.enabled=true"
        yield f"commands.grammar={toml_value(args.grammar)}"
        if rate is not None:
            yield from ("commands.threshold=0", f"commands.false_accepts_per_hour={rate}")
    if args.transcribe:
        yield "transcript.enabled=true"
