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
Both are judged for each source too, and by sex, age, accent and telephone where the manifests know them.
With --out, pictures (PNG) of what was found lie beside the tables and the JSON.

  auricle evaluate transcripts --split eval --out runs/figures
  auricle evaluate transcripts --most 40 --set acoustic.model=my.safetensors --set transcript.lm_weight=0.8

judges transcripts by their word error rate, through `auricle stream`, beside PocketSphinx where the package
pocketsphinx is installed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument("models", nargs="+", type=Path, help="model files, all of one kind; or: transcripts")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for decoded audio")
    parser.add_argument("--split", choices=("dev", "eval"), default="dev", help="default dev")
    parser.add_argument(
        "--snr-db",
        type=float,
        nargs="+",
        default=[],
        metavar="DB",
        help="noise to judge in (default 0 5 10 for voice activity, 10 for acoustic models)",
    )
    parser.add_argument(
        "--most", type=int, default=0, metavar="N", help="recordings of each set at most (transcripts only)"
    )
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="(transcripts only)"
    )
    parser.add_argument("--out", type=Path, help="folder for NAME-SPLIT.md, NAME-SPLIT.json and pictures")


def run(args: argparse.Namespace) -> int:
    """Judges the models."""
    if args.models == [Path("transcripts")]:
        return _judge_transcripts(args)
    import json

    import torch

    from auricle.configs.errors import DataError
    from auricle.models.checkpoint import load_model
    from auricle.pipelines.acoustic_report import evaluate_acoustic
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.evaluate import evaluate_keyword
    from auricle.pipelines.evaluation_plots import draw
    from auricle.pipelines.keyword_report import draw_keyword
    from auricle.pipelines.vad_report import evaluate_vad

    torch.set_num_threads(1)
    corpus = Corpus(args.data, args.work, allow_eval=args.split == "eval")
    kinds = {load_model(path)[0].kind for path in args.models}
    if len(kinds) != 1:
        raise DataError(f"models of different kinds: {', '.join(sorted(kinds))}; evaluate one kind at a time")
    if kinds == {"vad"}:
        reports = {"vad": evaluate_vad(args.models, corpus, args.split, args.snr_db)}
    elif kinds == {"acoustic"}:
        reports = {
            path.stem: evaluate_acoustic(path, corpus, args.split, args.snr_db) for path in args.models
        }
    else:
        _check_words(args.models)
        reports = {path.stem: evaluate_keyword(path, corpus, args.split) for path in args.models}
    for name, (text, figures) in reports.items():
        print(text)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"{name}-{args.split}.md").write_text(text)
            (args.out / f"{name}-{args.split}.json").write_text(json.dumps(figures, indent=1) + "\n")
            draw(figures, args.out, f"{name}-{args.split}")
    if args.out and kinds == {"keyword"}:
        draw_keyword(
            {name: figures["keyword"] for name, (_, figures) in reports.items()}, args.out, args.split
        )
    return 0


def _check_words(models: list[Path]) -> None:
    """Refuses models of a user's own words, of which no recordings are held out.

    Raises:
        DataError: a model has other labels than the data.
    """
    from auricle.configs.errors import DataError
    from auricle.models.checkpoint import load_model
    from auricle.pipelines.vocabulary import LABELS

    for path in models:
        labels = load_model(path)[0].labels
        if labels != LABELS:
            raise DataError(
                f"{path} knows {', '.join(labels)}; expected the words that are in the data: what a model of "
                "your own words reaches is in the log.csv of its run"
            )


def _judge_transcripts(args: argparse.Namespace) -> int:
    """Judges what `auricle stream --transcribe` writes down."""
    import json

    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.evaluate_transcripts import evaluate_transcripts
    from auricle.pipelines.transcript_report import draw_transcripts, transcript_text

    corpus = Corpus(args.data, args.work, allow_eval=args.split == "eval")
    options = [word for setting in args.settings for word in ("--set", setting)]
    figures = evaluate_transcripts(corpus, args.split, options, most=args.most)
    text = transcript_text(figures)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"transcripts-{args.split}.md").write_text(text)
        (args.out / f"transcripts-{args.split}.json").write_text(json.dumps(figures, indent=1) + "\n")
        draw_transcripts(figures, args.out / f"transcripts-{args.split}.png")
    return 0
