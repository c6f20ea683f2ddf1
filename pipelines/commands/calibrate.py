"""`auricle calibrate`: how often wake phrases and commands would be heard wrongly, for their thresholds."""

import argparse
from pathlib import Path

from auricle.configs.arguments import positive

HELP = "prepare an acoustic model for wake phrases and commands"

DESCRIPTION = """\
Lets an acoustic model hear some hours of speech and writes what it made of them beside its weights, as
STEM.wake.xz (2 to 3 MB), and what both passes made of it, where a second one lies there, as
STEM.second.wake.xz. The daemon searches them for each wake phrase when it starts, and so knows which
threshold gives so many false accepts per hour. For the sentences of a grammar it searches STEM.talk.xz and
STEM.second.talk.xz (about 1 MB each) in the same way.
Needed once for every new acoustic model or second pass.

  auricle calibrate models/weights/acoustic-lstm.safetensors --data ../shared/data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument("model", type=Path, help="an acoustic model file")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for decoded audio")
    parser.add_argument("--part", type=positive, default=1.0, help="part of the speech to hear (default 1)")
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write (default: STEM.wake.xz beside the weights); the others lie beside it",
    )


def run(args: argparse.Namespace) -> int:
    """Hears the speech and writes the files."""
    import torch

    from auricle.configs.settings import CommandSettings
    from auricle.models.decoding import talk
    from auricle.models.decoding.background import SUFFIX, SUFFIX_OF_SECOND
    from auricle.models.decoding.phrases import PhraseSearchSettings
    from auricle.pipelines.calibrate import calibrate
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.hear_talk import config_of, hear_talk
    from auricle.pipelines.wake_streams import Ear

    torch.set_num_threads(1)
    ear = Ear(args.model)
    corpus = Corpus(args.data, args.work)
    first, second = calibrate(ear, corpus, PhraseSearchSettings(), args.part)
    path = args.out or ear.path.with_suffix(SUFFIX)
    first.save(path)
    info = first.info
    print(
        f"{path}: {info.hours:.2f} h of speech, {path.stat().st_size / 1e6:.2f} MB; in speech not trained "
        f"on {info.correction:.2f} times as many false accepts; phrases begin {info.start_shift_samples} and "
        f"end {info.end_shift_samples} samples after their first and last frame"
    )
    stem = path.name.removesuffix(SUFFIX)
    if second:
        beside = path.with_name(f"{stem}{SUFFIX_OF_SECOND}")
        second.save(beside)
        print(
            f"{beside}: in more noise, {beside.stat().st_size / 1e6:.2f} MB; in speech not trained on, and "
            f"of phrases that have just ended, {second.info.correction:.2f} times as many false accepts"
        )
    made = hear_talk(ear, corpus, config_of(CommandSettings()), args.part)
    for found, suffix in zip(made, (talk.SUFFIX, talk.SUFFIX_OF_SECOND), strict=True):
        if found is None:
            continue
        beside = path.with_name(f"{stem}{suffix}")
        found.save(beside)
        print(
            f"{beside}: {found.info.hours:.2f} h of speech for commands, "
            f"{beside.stat().st_size / 1e6:.2f} MB; in speech not trained on {found.info.correction:.2f} "
            "times as many false ones"
        )
    return 0
