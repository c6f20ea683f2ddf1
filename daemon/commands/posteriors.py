"""`auricle posteriors`: what a model thinks of a file, frame by frame."""

import argparse
import json
from pathlib import Path

from auricle.configs.loader import add_config_arguments, load_from_arguments

HELP = "print what a model thinks of a file, per frame"
DESCRIPTION = """\
Runs one model over one recording by the streaming path and prints its posteriors, to be scored or plotted.

  auricle posteriors talk.flac --model vad --json       one object: {"t", "labels", "posterior"}
  auricle posteriors talk.flac --model keyword-lstm     a table

t is the end of each frame in seconds; a model that looks ahead is shifted back, so that posterior[i] speaks
of the audio that ends at t[i].
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "file", metavar="FILE", help="a recording: wav, flac, ogg, mp3; any rate, any channels"
    )
    parser.add_argument(
        "--model", default="vad", metavar="NAME", help="a shipped model or a file (default: vad)"
    )
    parser.add_argument(
        "--cell", help="version of a shipped model: gru, lstm, … (default: that of the configuration)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--chunk-ms", type=int, default=500, metavar="MS", help="audio per step (default: 500)"
    )
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the posteriors."""
    settings = load_from_arguments(args)

    from auricle.daemon.posteriors import file_posteriors
    from auricle.models.engine import TorchEngine, limit_threads

    limit_threads(settings.daemon.threads)
    engine = TorchEngine()
    section = getattr(settings, args.model, None)  # of vad, keyword, acoustic
    model = engine.load(args.model, args.cell or getattr(section, "cell", "gru"))
    times, posterior = file_posteriors(
        Path(args.file), model, engine, settings.pipeline.highpass_hz, args.chunk_ms
    )
    rows = [[round(score, 6) for score in row] for row in posterior.tolist()]
    if args.json:
        print(json.dumps({"t": times, "labels": list(model.labels), "posterior": rows}))
        return 0
    print("      t  " + " ".join(f"{label:>8}" for label in model.labels))
    for t, row in zip(times, rows, strict=True):
        print(f"{t:7.3f}  " + " ".join(f"{score:8.4f}" for score in row))
    return 0
