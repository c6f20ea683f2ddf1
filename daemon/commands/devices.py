"""`auricle devices`: what can be recorded from."""

import argparse
import json
from dataclasses import asdict

HELP = "list the sound inputs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = "Lists the sound inputs by index, with the default marked."
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of a table")


def run(args: argparse.Namespace) -> int:
    """Lists the devices."""
    from auricle.daemon.sources.devices import InputDevice, list_inputs

    inputs: list[InputDevice] = list_inputs()
    if args.json:
        print(json.dumps([asdict(device) for device in inputs]))
        return 0
    if not inputs:
        print("No sound inputs: plug a microphone in, or start the sound server, then run this again.")
        return 0

    from rich.console import Console
    from rich.table import Table

    table = Table(title="Sound inputs")
    for heading in ("index", "name", "through", "channels", "rate (Hz)", "default"):
        table.add_column(
            heading, justify="right" if heading in ("index", "channels", "rate (Hz)") else "left"
        )
    for device in inputs:
        channels = f"{device.channels} (server)" if device.is_server else str(device.channels)
        row = (str(device.index), device.name, device.host, channels, str(device.rate))
        table.add_row(*row, "*" if device.is_default else "")
    console = Console()
    console.print(table)
    console.print(
        "Use one with: auricle run --set streams.mic.device=INDEX (or a part of its NAME)", markup=False
    )
    return 0
