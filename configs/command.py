"""`auricle config`: shows, checks and explains the configuration."""

import argparse

from auricle.configs import loader
from auricle.configs.explain import explain, show

HELP = "show, check and explain the configuration"
DESCRIPTION = """\
Prints what is in force as TOML, or says what is wrong with it.

  auricle config --explain > my.toml            every key, its meaning and default: a file to start from
  auricle config --config my.toml               check it, and see it with all defaults filled in
  auricle config --set vad.onset=0.6            the same for one value
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `auricle config`."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--explain",
        action="store_true",
        help="every key with its meaning, type and default, as a TOML file to start from",
    )
    what.add_argument("--show", action="store_true", help="every value in force, as TOML (the default)")
    what.add_argument("--list", action="store_true", help="the shipped configurations and where they are")
    loader.add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what was asked for.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    settings = loader.load_from_arguments(args)
    if args.list:
        for name, path in loader.shipped_configs().items():
            first_line = path.read_text(encoding="utf-8").partition("\n")[0]
            print(f"{name:<12}{first_line.lstrip('# ')}\n{'':<12}{path}")
    elif args.explain:
        print(explain(), end="")
    else:
        print(show(settings), end="")
    return 0
