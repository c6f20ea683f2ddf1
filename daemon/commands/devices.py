"""`auricle devices`: what can be recorded from."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from auricle.configs.loader import add_config_arguments, load_from_arguments

if TYPE_CHECKING:
    from auricle.configs.settings import Settings
    from auricle.daemon.sources.devices import InputDevice

HELP = "list the sound inputs"
DESCRIPTION = """\
Lists the sound inputs by index, with the default marked, and which of the configured streams would use which.

  auricle devices                                      what there is, and what `auricle run` would take
  auricle devices --set streams.mic.device=USB         which one that would be
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of a table")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Lists the devices."""
    from auricle.daemon.sources.devices import list_inputs

    settings = load_from_arguments(args)
    inputs = list_inputs()
    users = streams_by_device(settings, inputs)
    if args.json:
        print(json.dumps([{**asdict(device), "streams": users[device.index]} for device in inputs]))
        return 0
    if not inputs:
        print("No sound inputs: plug a microphone in, or start the sound server, then run this again.")
        return 0

    from rich.console import Console
    from rich.table import Table

    table = Table(title="Sound inputs")
    for heading in ("index", "name", "through", "channels", "rate (Hz)", "default", "stream"):
        table.add_column(
            heading, justify="right" if heading in ("index", "channels", "rate (Hz)") else "left"
        )
    for device in inputs:
        channels = f"{device.channels} (server)" if device.is_server else str(device.channels)
        row = (str(device.index), device.name, device.host, channels, str(device.rate))
        table.add_row(*row, "*" if device.is_default else "", ", ".join(users[device.index]))
    console = Console()
    console.print(table)
    console.print(
        "Use one with: auricle run --set streams.mic.device=INDEX (or a part of its NAME)", markup=False
    )
    return 0


def streams_by_device(settings: "Settings", inputs: "list[InputDevice]") -> dict[int, list[str]]:
    """The configured microphone streams that would open each input; what cannot be found goes to stderr."""
    from auricle.configs.errors import DeviceError
    from auricle.daemon.sources.devices import choose

    users: dict[int, list[str]] = {device.index: [] for device in inputs}
    for name, stream in settings.streams.items():
        if stream.source == "mic" and inputs:
            try:
                users[choose(stream.device, inputs).index].append(name)
            except DeviceError as error:
                print(f"auricle: stream {name}: {error}", file=sys.stderr)
    return users
