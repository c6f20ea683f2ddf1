"""`auricle train`: learns a model from a data folder."""

import argparse
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.configs.arguments import count, positive, whole

if TYPE_CHECKING:
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.own_task import OwnWordsTask
    from auricle.pipelines.recipe import Recipe

HELP = "train a voice-activity, keyword, acoustic or language model, or the verifier of a wake phrase"

DESCRIPTION = """\
Trains a streaming model and writes it as a .safetensors file that `run`, `stream` and `posteriors` take.

  auricle train vad     --data ../shared/data --work runs
  auricle train keyword --data ../shared/data --work runs --set network.cell=lstm
  auricle train acoustic --recipe acoustic-small --data ../shared/data --work runs --minutes 30
  auricle train keyword --words lamp,door --recordings my-words --work runs

The data folder holds sets of recordings with manifests (see docs/training.md). They are decoded once into
the work folder (5 GB for all of them). A run lives in WORK/NAME: log.csv and curve.png show how it goes. It
can be stopped at any time with Ctrl-C or --minutes; the same command continues it, with the same result as
if it had never stopped. A recipe's settings are changed with --set:
network.cell=lstm (gru, rnn, attention, or several: gru+lstm), network.hidden=128, training.steps=3000,
augment.noise_part=0.5; --show prints them all. With --words a model for your own words is learnt from
FOLDER/lamp/*.wav and so on (see docs/training.md); there --data is optional, and brings talk that holds no
such word.

A language model is learnt from texts, the training transcripts and everyday sentences; no sentence
of the dev and eval manifests gets into it. --out NAME.arpa.gz writes ARPA, NAME.lm.xz the compact format:

  auricle train lm --data ../shared/data --text books/*.txt --set words=30000 --out my.lm.xz

A verifier of a wake phrase is fitted to your recordings of it (eight or more, the phrase once in each) in a
minute or so, on top of the acoustic model; --talk brings speech of yours without the phrase, --data recorded
noise and rooms, --config the pronunciations of your configuration, if it has any for the phrase. You are
told how many recordings the search alone misses and, not learnt from, the verifier:

  auricle train wake "hey auricle" --recordings mine/ --out hey-auricle.safetensors
"""

DATA = Path("../shared/data")
NETWORKS = ("vad", "keyword", "acoustic")
TASKS_OF_OPTION = {
    "words": ("keyword",),
    "recordings": ("keyword", "wake"),
    "talk": ("wake",),
    "config": ("wake",),
    "text": ("lm",),
    "loaders": ("acoustic",),
    "recipe": NETWORKS,
    "minutes": NETWORKS,
    "tensorboard": NETWORKS,
    "fresh": NETWORKS,
}
"""What an option that does not go with every task goes with."""
WHERE = "WORK/NAME/NAME.safetensors; of lm WORK/lm.lm.xz, of wake PHRASE.safetensors here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument("task", choices=("vad", "keyword", "acoustic", "lm", "wake"), help="what to learn")
    parser.add_argument("phrase", nargs="?", metavar="PHRASE", help="the wake phrase (wake only)")
    parser.add_argument("--data", type=Path, help=f"folder of the sets (default {DATA}; for --words, none)")
    parser.add_argument("--words", metavar="WORD,WORD", help="your own words to spot (keyword only)")
    parser.add_argument(
        "--recordings", type=Path, metavar="FOLDER", help="recordings of your own words or wake phrase"
    )
    parser.add_argument("--talk", type=Path, metavar="DIR", help="speech without the phrase (wake only)")
    parser.add_argument(
        "--work", type=Path, default=Path("runs"), help="folder for decoded audio, checkpoints and logs"
    )
    parser.add_argument("--recipe", type=Path, help="a recipe file, or the name of a shipped recipe")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="change a setting"
    )
    parser.add_argument(
        "--config", metavar="F", help="a configuration: its acoustic model, its pronunciations (wake only)"
    )
    parser.add_argument("--minutes", type=positive, help="stop at a checkpoint after so many minutes")
    parser.add_argument("--threads", type=count, default=1, help="threads of torch (default 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default cpu")
    parser.add_argument(
        "--loaders", type=whole, default=0, help="threads that read recordings ahead (acoustic only)"
    )
    parser.add_argument("--tensorboard", action="store_true", help="write scalars to WORK/NAME/tensorboard")
    parser.add_argument("--fresh", action="store_true", help="start over instead of continuing the run")
    parser.add_argument("--out", type=Path, help=f"file to write (default: {WHERE})")
    parser.add_argument(
        "--text", type=Path, nargs="+", default=[], metavar="FILE", help="texts to read (lm only)"
    )
    parser.add_argument("--show", action="store_true", help="print the recipe and stop")


def run(args: argparse.Namespace) -> int:
    """Trains, then writes the model and its record."""
    if (args.phrase is None) == (args.task == "wake"):
        from auricle.configs.errors import ConfigError

        raise ConfigError(
            'expected a phrase with `train wake`, and only there: `auricle train wake "hey auricle" '
            "--recordings DIR`"
        )
    _check_options(args)
    if args.recordings and not args.recordings.is_dir():
        from auricle.configs.errors import DataError

        raise DataError(f"no folder {args.recordings}: check --recordings")
    if args.task == "lm":
        return _train_lm(args)
    return _train_wake(args) if args.task == "wake" else _train_network(args)


def _check_options(args: argparse.Namespace) -> None:
    """Refuses an option that the task would not look at."""
    from auricle.configs.errors import ConfigError

    for option, tasks in TASKS_OF_OPTION.items():
        if getattr(args, option) and args.task not in tasks:
            raise ConfigError(
                f"--{option} goes with `train {'`, `train '.join(tasks)}` only: leave it out of "
                f"`train {args.task}`"
            )


def _train_network(args: argparse.Namespace) -> int:
    """Trains a network by a recipe and writes it with its record."""
    from auricle.pipelines.recipe import as_table

    recipe = _recipe(args)
    if args.show:
        import json

        print(json.dumps(as_table(recipe), indent=1))
        return 0
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.parallel import Processes
    from auricle.pipelines.release import model_name, write_model
    from auricle.pipelines.train import Trainer, prepare_process

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("auricle").setLevel(logging.INFO)  # figures on dev, above the bar or in a file
    _check_out(args.out, recipe)
    prepare_process(args.threads)
    _check_device(args.device)
    folder = args.work / recipe.name
    if args.fresh:
        for name in ("last.pt", "best.pt"):
            (folder / name).unlink(missing_ok=True)
    processes = Processes()
    if not processes.is_first:
        processes.wait()  # the first one decodes and reads what is missing
    corpus = Corpus(args.data or args.recordings or DATA, args.work)
    task = _own_task(args, corpus, recipe)
    trainer = Trainer(
        recipe, corpus, folder, task, device=args.device, loaders=args.loaders, processes=processes
    )
    if processes.is_first:
        processes.wait()
    if trainer.resume():
        print(f"continuing {recipe.name} at step {trainer.progress.step}", file=sys.stderr)
    if processes.is_first and recipe.training.precision == "bf16" and not trainer.mixed:
        print("training in fp32: this processor does not multiply bf16", file=sys.stderr)
    if args.tensorboard and processes.is_first:
        trainer.log.open_tensorboard(trainer.progress.step)
    progress = trainer.run(args.minutes)
    processes.leave()
    if not processes.is_first:
        return 0
    out = args.out or folder / model_name(recipe)
    digest = write_model(trainer, out, _command(args))
    best = "not judged yet"
    if progress.figures:
        best = f"best dev score {progress.best:.4f} at step {progress.best_step}"
    print(f"{recipe.name}: {progress.step} steps, {best}")
    print(f"{out} ({digest}); log and curve in {folder}{_what_next(recipe)}")
    if not trainer.is_finished:
        print("stopped before the recipe's end: the same command continues")
    return 0


def _what_next(recipe: "Recipe") -> str:
    """What is to be done with a second pass."""
    if recipe.acoustic.only_second:
        return "; put it beside its model, then `auricle calibrate MODEL` prepares it for wake phrases"
    if recipe.acoustic.first_weight:
        return "; its second pass lies beside it; `auricle calibrate MODEL` prepares both for wake phrases"
    return ""


def _check_out(out: Path | None, recipe: "Recipe") -> None:
    """Keeps a second pass from taking the place of its model."""
    from auricle.configs.errors import ConfigError
    from auricle.models.second_pass import SECOND_SUFFIX

    if recipe.acoustic.only_second and out and out.suffix != SECOND_SUFFIX:
        raise ConfigError(
            f"--out {out}: a second pass is found by the name of its model, ending in {SECOND_SUFFIX}"
        )


def _command(args: argparse.Namespace) -> str:
    """The command for the model's record, without folders, which are this machine's."""
    words = ["auricle", "train", args.task]
    words += ["--recipe", args.recipe.name] if args.recipe else []
    words += [word for setting in args.settings for word in ("--set", setting)]
    words += ["--words", args.words] if args.words else []
    return shlex.join(words)


def _train_lm(args: argparse.Namespace) -> int:
    """Learns a language model and writes it; says how well it foretells the dev sentences."""
    from auricle.pipelines.train_lm import lm_recipe, train_lm

    recipe = lm_recipe(args.settings)
    if args.show:
        print(recipe)
        return 0
    print(train_lm(args.text, args.data or DATA, args.out or args.work / "lm.lm.xz", recipe))
    return 0


def _train_wake(args: argparse.Namespace) -> int:
    """Fits the verifier of a wake phrase and writes it; says what it is worth."""
    import torch

    from auricle.configs.errors import ConfigError
    from auricle.configs.loader import load
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.own_verifier import fit_own, verifier_text

    if not args.recordings:
        raise ConfigError("expected --recordings DIR with `train wake`: a folder of recordings of the phrase")
    torch.set_num_threads(args.threads)
    corpus = Corpus(args.data or args.recordings, args.work)
    settings = load(args.config, args.settings)
    out = args.out or Path("-".join(args.phrase.lower().split()) + ".safetensors")
    fitted = fit_own(args.phrase, settings, args.recordings, args.talk, corpus)
    checksum = fitted.verifier.save(out)
    print(verifier_text(fitted))
    print(f'\n{out} ({checksum})\n\n[[wake]]\nphrase = "{args.phrase}"\nverifier = "{out}"')
    return 0


def _recipe(args: argparse.Namespace) -> "Recipe":
    from auricle.configs.errors import ConfigError
    from auricle.pipelines.own_task import own_recipe
    from auricle.pipelines.recipe import load_recipe

    if not args.words and not args.recordings:
        return load_recipe(args.task, args.settings, args.recipe)
    if not (args.words and args.recordings):
        raise ConfigError(
            "expected both --words and --recordings, with `train keyword`: the words to spot, and the folder "
            "that has a sub-folder of recordings for each"
        )
    return own_recipe(args.words.split(","), args.settings, args.recipe)


def _own_task(args: argparse.Namespace, corpus: "Corpus", recipe: "Recipe") -> "OwnWordsTask | None":
    if not args.words:
        return None
    from auricle.models.frontend import LogMel
    from auricle.pipelines.own_task import OwnWordsTask

    return OwnWordsTask(corpus, recipe, LogMel(recipe.frontend), args.recordings)


def _check_device(device: str) -> None:
    """Refuses a GPU that is not there."""
    import torch

    from auricle.configs.errors import ConfigError

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "no GPU here that torch can use: leave --device out, or check nvidia-smi and the driver"
        )
