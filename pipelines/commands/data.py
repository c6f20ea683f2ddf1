"""`auricle data`: packs, unpacks and checks a data folder, and speaks texts into a set of it."""

import argparse
from pathlib import Path

from auricle.configs.arguments import positive, whole

HELP = "pack, unpack and check a data folder, speak texts into it"

DESCRIPTION = """\
Carries training data to a machine without network, and checks that splits share nobody.

  auricle data pack   --data ../shared/data --out parts --part-mb 60
  auricle data unpack parts --data data          on the other machine
  auricle data check  --data ../shared/data
  auricle data synth  --phrase "hey lamp" --takes 100 --near 40 --out data/hey-lamp

Parts are tar files below the limit; index.json beside them holds their checksums. Manifests, shards and rooms
go in as they are, with a lexicon of all their words, so that the other machine needs no dictionary.
Both commands go on where they were stopped. Splits train and dev are packed; eval only if
asked for (--split eval).

`synth` speaks phrases, or each line of a text file, in drawn voices, speeds and pitches of every synthesiser
that is installed (espeak-ng, flite, festival, pico, mbrola), into a set with a manifest; --near adds phrases
that are a phone or two away from each. It can also choose what to say: --rich sentences of the training sets
of --data that hold the most pairs of phones, --commands for a device, strings of --digits.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the actions and their options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(dest="action", required=True, metavar="pack|unpack|check|synth")
    packing = actions.add_parser("pack", help="write parts of limited size")
    unpacking = actions.add_parser("unpack", help="check parts and unpack them")
    checking = actions.add_parser("check", help="look for speakers and sentences in two splits")
    _add_synth(actions.add_parser("synth", help="speak texts with every synthesiser that is installed"))
    unpacking.add_argument("source", type=Path, help="folder of the parts")
    for action in (packing, unpacking, checking):
        action.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    packing.add_argument("--out", type=Path, default=Path("parts"), help="folder for the parts")
    packing.add_argument("--part-mb", type=positive, default=60.0, help="largest part in MB (default 60)")
    packing.add_argument("--sets", nargs="+", default=[], metavar="SET", help="sets (default: all)")
    packing.add_argument(
        "--split",
        nargs="+",
        default=["train", "dev"],
        choices=("train", "dev", "eval"),
        help="default: train dev",
    )


def _add_synth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--phrase", action="append", default=[], help="what to say; may be repeated")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="file with a text on each line")
    parser.add_argument("--rich", type=whole, default=0, help="say so many sentences rich in phones")
    parser.add_argument("--commands", type=whole, default=0, help="say so many commands")
    parser.add_argument("--digits", type=whole, default=0, help="say so many strings of digits")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="where --rich finds training sentences"
    )
    parser.add_argument(
        "--engines", help="espeak-ng,flite,text2wave,pico2wave,mbrola (default: those that are installed)"
    )
    parser.add_argument(
        "--formants", type=float, default=0.1, help="spread of throats by speed of play (default 0.1)"
    )
    parser.add_argument("--takes", type=int, default=10, help="how many times to say each (default 10)")
    parser.add_argument("--near", type=int, default=0, help="near-misses of each (default 0)")
    parser.add_argument("--seed", type=int, default=1, help="decides voices, speeds and pitches (default 1)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the set, in a data folder")
    parser.add_argument("--fresh", action="store_true", help="speak all anew")


def _synth(args: argparse.Namespace) -> int:
    from auricle.configs.errors import ConfigError
    from auricle.pipelines.synth import Request, synthesise_set

    texts = _texts(args)
    if not texts or args.takes < 1 or args.near < 0 or not 0 <= args.formants < 1:
        raise ConfigError(
            "expected something to say (--phrase TEXT, --texts FILE, --rich, --commands or --digits N), "
            "--takes 1 or more, --near 0 or more, --formants from 0 to 1"
        )
    request = Request(texts, args.takes, args.near, args.seed, args.formants)
    wanted = args.engines.split(",") if args.engines else ()
    spoken = synthesise_set(request, args.out, wanted=wanted, fresh=args.fresh)
    print(f"{spoken} utterances spoken; manifest {args.out / 'train.jsonl'}")
    return 0


def _texts(args: argparse.Namespace) -> tuple[str, ...]:
    """All that is to be said, each once."""
    import numpy as np

    from auricle.configs.errors import ConfigError
    from auricle.pipelines.synth_texts import command_phrases, digit_strings, rich_sentences, training_texts

    texts = list(args.phrase)
    if args.texts:
        try:
            texts += [line.strip() for line in args.texts.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read --texts {args.texts}: {error}; a text on each line, UTF-8"
            ) from error
    if args.rich > 0:
        texts += rich_sentences(training_texts(args.data), args.rich)
    texts += command_phrases(max(0, args.commands), np.random.default_rng((args.seed, 3)))
    texts += digit_strings(max(0, args.digits), np.random.default_rng((args.seed, 4)))
    return tuple(dict.fromkeys(text for text in texts if text))


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    if args.action == "synth":
        return _synth(args)
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
