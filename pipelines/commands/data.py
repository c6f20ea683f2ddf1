"""`auricle data`: packs a data folder into parts, unpacks them elsewhere, and checks its splits."""

import argparse
from pathlib import Path

HELP = "pack, unpack and check a data folder"

DESCRIPTION = """\
Carries training data to a machine without network, and checks that splits share nobody.

  auricle data pack   --data ../shared/data --out parts --part-mb 60
  auricle data unpack parts --data data          on the other machine
  auricle data check  --data ../shared/data

Parts are tar files below the limit; index.json beside them holds their checksums. Manifests, shards and rooms
go in as they are, with a lexicon of all their words, so that the other machine needs no dictionary.
Both commands go on where they were stopped. Splits train and dev are packed; eval only if
asked for (--split eval).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the actions and their options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(dest="action", required=True, metavar="pack|unpack|check")
    packing = actions.add_parser("pack", help="write parts of limited size")
    unpacking = actions.add_parser("unpack", help="check parts and unpack them")
    checking = actions.add_parser("check", help="look for speakers and sentences in two splits")
    unpacking.add_argument("source", type=Path, help="folder of the parts")
    for action in (packing, unpacking, checking):
        action.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    packing.add_argument("--out", type=Path, default=Path("parts"), help="folder for the parts")
    packing.add_argument("--part-mb", type=float, default=60.0, help="largest part in MB (default 60)")
    packing.add_argument("--sets", nargs="+", default=[], metavar="SET", help="sets (default: all)")
    packing.add_argument(
        "--split",
        nargs="+",
        default=["train", "dev"],
        choices=("train", "dev", "eval"),
        help="default: train dev",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.pack import check_splits, pack, unpack

    if args.action == "unpack":
        print(f"{unpack(args.source, args.data)} files unpacked into {args.data}; all others were there")
        return 0
    if args.action == "check":
        problems = check_splits(args.data)
        print("\n".join(problems) or "no speaker, sentence or clip is in two splits")
        return 1 if problems else 0
    corpus = Corpus(args.data, args.out, allow_eval="eval" in args.split)
    parts = pack(corpus, args.out, args.part_mb, args.sets, args.split)
    size = sum(file.bytes for part in parts for file in part.files) / 1e6
    print(f"{len(parts)} parts, {size:.0f} MB, in {args.out}; take index.json along")
    return 0
