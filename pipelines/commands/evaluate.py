"""`auricle evaluate`: judges models on people and noise they were not trained on."""

import argparse
from pathlib import Path

HELP = "judge models on held-out speakers and noise"

DESCRIPTION = """\
Judges model files of one kind and prints tables with 95 % intervals.

  auricle evaluate models/weights/vad-gru.safetensors models/weights/vad-lstm.safetensors
  auricle evaluate models/weights/keyword-gru.safetensors --split eval --out runs/figures

Split `dev` is to choose with. Split `eval` is for the figures that are reported: look at it once, when
nothing is changed any more. Voice activity is judged beside Silero and WebRTC where the packages silero-vad
and webrtcvad are installed. Acoustic models are judged by their phone error rate, clean and in noise.

  auricle evaluate commands --split dev --most 40 --set acoustic.model=my.safetensors
  auricle evaluate commands --manifest orders.jsonl --grammar orders.yaml --out runs/figures

judges commands through `auricle stream`, beside PocketSphinx where the package pocketsphinx is installed: on
recorded commands (lines of a manifest with `text`, `intent` and `slots`), or on a stand-in made of sentences.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument("models", nargs="+", type=Path, help="model files, all of one kind; or: commands")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for decoded audio")
    parser.add_argument("--split", choices=("dev", "eval"), default="dev", help="default dev")
    parser.add_argument(
        "--most", type=int, default=0, metavar="N", help="recordings of each kind at most (commands only)"
    )
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="(commands only)"
    )
    parser.add_argument("--manifest", type=Path, help="recorded commands (commands only)")
    parser.add_argument("--grammar", type=Path, help="their grammar (commands only)")
    parser.add_argument("--out", type=Path, help="folder for NAME-SPLIT.md, NAME-SPLIT.json and pictures")


def run(args: argparse.Namespace) -> int:
    """Judges the models."""
    if args.models == [Path("commands")]:
        return _judge_commands(args)
    import json

    import torch

    from auricle.configs.errors import DataError
    from auricle.models.checkpoint import load_model
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.evaluate import evaluate_acoustic, evaluate_keyword, evaluate_vad
    from auricle.pipelines.keyword_report import draw_keyword

    torch.set_num_threads(1)
    corpus = Corpus(args.data, args.work, allow_eval=args.split == "eval")
    kinds = {load_model(path)[0].kind for path in args.models}
    if len(kinds) != 1:
        raise DataError(f"models of different kinds: {', '.join(sorted(kinds))}; evaluate one kind at a time")
    if kinds == {"vad"}:
        reports = {"vad": evaluate_vad(args.models, corpus, args.split)}
    elif kinds == {"acoustic"}:
        reports = {path.stem: evaluate_acoustic(path, corpus, args.split) for path in args.models}
    else:
        reports = {path.stem: evaluate_keyword(path, corpus, args.split) for path in args.models}
    for name, (text, figures) in reports.items():
        print(text)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"{name}-{args.split}.md").write_text(text)
            (args.out / f"{name}-{args.split}.json").write_text(json.dumps(figures, indent=1) + "\n")
    if args.out and kinds == {"keyword"}:
        draw_keyword(
            {name: figures["keyword"] for name, (_, figures) in reports.items()}, args.out, args.split
        )
    return 0


def _judge_commands(args: argparse.Namespace) -> int:
    """Judges what `auricle stream --grammar` reports."""
    import json

    from auricle.configs.errors import ConfigError
    from auricle.pipelines.command_report import command_text, draw_commands, plain
    from auricle.pipelines.command_trials import OTHERS, SETS, make_trials, read_trials
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.evaluate_commands import evaluate_commands

    if (args.manifest is None) != (args.grammar is None):
        raise ConfigError("--manifest and --grammar belong together: give both, or none for the stand-in")
    corpus = Corpus(args.data, args.work, allow_eval=args.split == "eval")
    made_up = args.manifest is None
    trials = (
        make_trials(corpus, SETS, OTHERS, args.split) if made_up else read_trials(args.manifest, args.grammar)
    )
    options = [word for setting in args.settings for word in ("--set", setting)]
    recordings = corpus if made_up else Corpus(args.manifest.parent, args.work / "recorded-commands")
    figures = evaluate_commands(corpus, recordings, trials, args.split, options, most=args.most)
    text = command_text(figures, made_up)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"commands-{args.split}.md").write_text(text)
        (args.out / f"commands-{args.split}.json").write_text(json.dumps(plain(figures), indent=1) + "\n")
        draw_commands(figures, args.out / f"commands-{args.split}.png")
    return 0
