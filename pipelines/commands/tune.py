"""`auricle tune`: how good a wake phrase is, and which operating point suits it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.configs.arguments import count
from auricle.configs.loader import add_config_arguments, load_from_arguments

if TYPE_CHECKING:
    from auricle.pipelines.wake_tune import Recording

HELP = "try a wake phrase before it annoys anyone"

DESCRIPTION = """\
Lets synthetic voices (espeak-ng, flite, festival, as installed) and your own recordings say a phrase, and
prints how many of them would be missed at which rate of false accepts in an hour of speech. Warns if the
phrase is short, common, or close to another one of the configuration. People are heard better than synthetic
voices, which tell one phrase from another, but not how often you will be missed: recordings of yours (some
twenty, each with the phrase once) do.

  auricle tune "hey auricle"
  auricle tune "hey auricle" --recordings mine/ --out tuning/
  auricle tune "hey auricle" --talk radio/ --clips kept/     keeps what was missed, and what was taken for it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument("phrase", metavar="PHRASE", help="the wake phrase")
    parser.add_argument(
        "--voices", type=count, default=40, metavar="N", help="synthetic recordings (default 40)"
    )
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="recordings of the phrase, each once")
    parser.add_argument(
        "--talk", type=Path, metavar="DIR", help="speech without the phrase: how often is it taken for it?"
    )
    parser.add_argument(
        "--clips", type=Path, metavar="DIR", help="keep near misses and false hits there, as wav"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the picture of misses (PNG)")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the tables, the warnings and the advice."""
    import torch

    from auricle.models.decoding.background import SUFFIX, load_background
    from auricle.models.decoding.ways import ways_of
    from auricle.models.lexicon import Lexicon
    from auricle.models.zoo import find_model
    from auricle.pipelines import wake_tune as tuning
    from auricle.pipelines.wake_streams import Ear

    settings = load_from_arguments(args)
    torch.set_num_threads(1)
    ear = Ear(find_model(settings.acoustic.model, settings.acoustic.cell))
    background = load_background(ear.path.with_suffix(SUFFIX), ear.digest)
    lexicon = Lexicon.of_user(settings.acoustic.lexicon)
    entries = {entry.phrase.lower(): entry for entry in settings.wake}
    own = entries.pop(args.phrase.lower(), None)
    ways = ways_of(args.phrase, lexicon, own.pronunciations if own else ())
    others = {name: ways_of(name, lexicon, entry.pronunciations) for name, entry in entries.items()}
    listener = tuning.Listener(ear, ways, background, looks_again=own.looks_again if own else True)
    tail = listener.tail

    heard = {"recordings": tuning.read_folder(args.recordings)} if args.recordings else {}
    talk = tuning.read_folder(args.talk) if args.talk else []
    heard["synthetic voices"] = tuning.synthesise(args.phrase, args.voices)
    judged = {who: tuning.judge(listener, found) for who, found in heard.items() if found}
    print(f"'{args.phrase}', against {background.info.hours:.1f} h of speech without it")
    for who, one in judged.items():
        print(f"\n{len(one.recordings)} {who}")
        print("\n".join(tuning.table(one, tail)))
    people = judged.get("recordings")
    advised = tuning.recommend(tuning.misses(people.noisy, tail)) if people else tuning.USUAL_RATE
    weak = tuning.warnings(ways, tail, advised, others, listener.background)
    for warning in weak + (tuning.doubts(people, tail, advised) if people else []):
        print(f"\nwarning: {warning}")
    if not judged:
        print(
            "\nNobody said the phrase, so this tells nothing about misses: give --recordings DIR, or install "
            "voices (apt-get install espeak-ng flite)."
        )
    elif not people:
        print("\nPeople are heard better than synthetic voices: --recordings DIR tells how you are.")
    if not weak:
        print("\nNothing speaks against this phrase itself.")
    print(f'\n[[wake]]\nphrase = "{args.phrase}"\nfalse_accepts_per_hour = {advised:g}')
    threshold = tail.threshold(advised)
    wrong = tuning.false_hits(listener, talk, threshold)
    if talk:
        print(f"\n{args.talk}: taken for the phrase {len(wrong)} times, in {tuning.hours(talk):.2f} h")
    if args.clips:
        missed = [recording for one in judged.values() for recording in one.missed(threshold)]
        _keep(args.clips, missed, wrong)
    if args.out and judged:
        args.out.mkdir(parents=True, exist_ok=True)
        picture = args.out / f"{'-'.join(args.phrase.lower().split())}.png"
        tuning.draw(judged, tail, args.phrase, picture)
        print(f"\n{picture}")
    return 0


def _keep(folder: Path, missed: "Sequence[Recording]", wrong: "Sequence[Recording]") -> None:
    """Writes what was not heard rightly as clips, and says how many."""
    from auricle.pipelines.wake_tune import keep

    keep(folder / "missed", missed)
    keep(folder / "false-hits", wrong)
    print(f"\n{folder}: {len(missed)} missed, {len(wrong)} false hits")
