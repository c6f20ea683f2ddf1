"""`auricle evaluate`: judges models on people and noise they were not trained on."""

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.configs.arguments import whole

if TYPE_CHECKING:
    from auricle.configs.settings import Settings
    from auricle.models.decoding.ways import Ways
    from auricle.pipelines.corpus import Corpus
    from auricle.pipelines.sounds import NoisePlanner

logger = logging.getLogger(__name__)

HELP = "judge models, wake phrases, commands and transcripts on held-out speakers and noise"

DESCRIPTION = """\
Judges on recordings that were held out, and prints tables with 95 % intervals. Judged are model files of one
kind, or what the daemon makes of phones: wake, commands, transcripts.

  auricle evaluate models/weights/vad-gru.safetensors models/weights/vad-lstm.safetensors
  auricle evaluate models/weights/keyword-gru.safetensors --split eval --out runs/figures
  auricle evaluate models/weights/acoustic-lstm.safetensors models/weights/acoustic-lstm.second
  auricle evaluate wake --split eval --out runs/figures
  auricle evaluate wake --openings 150 --alone              many phrases, each said once: how sentences begin
  auricle evaluate commands --most 40 --set acoustic.model=my.safetensors
  auricle evaluate commands --promise                       are false commands as rare as was asked for?
  auricle evaluate commands --grammar my.yaml --spoken 50   synthetic voices say sentences of your grammar
  auricle evaluate transcripts --split eval --out runs/figures

  auricle evaluate wake --manifest mine.jsonl --out runs/figures                 recordings of your own
  auricle evaluate commands --manifest orders.jsonl --grammar orders.yaml
  auricle evaluate transcripts --manifest mine.jsonl

A manifest lists recordings that lie beside it, 16 kHz, mono, one a line, with what is said in them:

  {"id": "1", "file": "a.flac", "start": 0.0, "duration": 3.1, "text": "feed the cat", "speaker": "ann"}

and, of a wake phrase, "wake": "hey lamp", of a command, "intent": "Feed", "slots": {"animal": "cat"}; lines
without are speech in which none must be heard. Noise is added from --data, where that folder is there.

Split `dev` is to choose with. Split `eval` is for the figures that are reported: look at it once, when
nothing is changed any more. Voice activity is judged beside Silero and WebRTC where the packages silero-vad
and webrtcvad are installed; acoustic models by their phone error rate, clean and in noise. Both are judged
for each source too, and by sex, age, accent and telephone where the manifests know them. What is made of
phones is judged in streams, beside PocketSphinx and, for wake phrases that it knows, microWakeWord, where the
packages pocketsphinx and pymicro-wakeword are installed; commands, without a manifest, on a stand-in made
of sentences.
With --out, pictures (PNG) of what was found lie beside the tables and the JSON.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = DESCRIPTION
    parser.add_argument(
        "models", nargs="+", type=Path, help=f"model files, all of one kind; or one of: {', '.join(JUDGES)}"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder for decoded audio")
    parser.add_argument("--split", choices=("dev", "eval"), default="dev", help="default dev")
    parser.add_argument(
        "--snr-db",
        type=float,
        nargs="+",
        default=[],
        metavar="DB",
        help="noise to judge in (models; default 0 5 10 for voice activity, 10 for acoustic models)",
    )
    decoded = parser.add_argument_group(f"for {', '.join(JUDGES)}")
    decoded.add_argument("--most", type=whole, default=0, metavar="N", help="recordings of each set at most")
    decoded.add_argument(
        "--config", metavar="F", help="a configuration: its models, and its pronunciations of wake phrases"
    )
    decoded.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="change a setting"
    )
    decoded.add_argument("--alone", action="store_true", help="without other detectors (wake)")
    decoded.add_argument(
        "--fit",
        type=whole,
        default=0,
        metavar="N",
        help="fit verifiers to N recordings of each (wake)",
    )
    decoded.add_argument(
        "--openings",
        type=whole,
        default=0,
        metavar="N",
        help="judge N phrases that sentences begin with, instead of recorded wake phrases (wake)",
    )
    decoded.add_argument(
        "--promise",
        action="store_true",
        help="count false commands of each intent of the shipped grammar, instead of the stand-in (commands)",
    )
    decoded.add_argument("--manifest", type=Path, help="recordings of your own instead of a split's")
    decoded.add_argument("--grammar", type=Path, help="the grammar of recorded or spoken commands")
    decoded.add_argument(
        "--spoken",
        type=whole,
        default=0,
        metavar="N",
        help="have synthetic voices say N sentences of --grammar: which words are mistaken? (commands)",
    )
    parser.add_argument("--out", type=Path, help="folder for NAME-SPLIT.md, NAME-SPLIT.json and pictures")


def run(args: argparse.Namespace) -> int:
    """Judges what was named.

    Raises:
        ConfigError: options that do not go together.
    """
    import torch

    from auricle.configs.errors import ConfigError

    torch.set_num_threads(1)
    named = [str(model) for model in args.models if str(model) in JUDGES]
    if named and (len(args.models) > 1 or args.snr_db):
        raise ConfigError(f"`evaluate {named[0]}` goes alone: give nothing else to judge, and no --snr-db")
    judge = JUDGES.get(str(args.models[0]))
    if args.manifest and (judge is None or args.fit):
        raise ConfigError(f"--manifest goes with {', '.join(JUDGES)} only, and without --fit")
    if args.openings and (str(args.models[0]) != "wake" or args.manifest or args.fit or args.most):
        raise ConfigError("--openings goes with `evaluate wake` only, without --manifest, --fit and --most")
    if args.promise and (str(args.models[0]) != "commands" or args.manifest):
        raise ConfigError("--promise goes with `evaluate commands` only, without --manifest")
    if args.spoken and (str(args.models[0]) != "commands" or args.manifest or args.promise):
        raise ConfigError("--spoken goes with `evaluate commands` only, without --manifest and --promise")
    if judge:
        judge(args)
    else:
        _judge_models(args, _open(args))
    return 0


def _open(args: argparse.Namespace) -> "Corpus":
    from auricle.pipelines.corpus import Corpus

    return Corpus(args.data, args.work, allow_eval=args.split == "eval")


def _open_for_noise(args: argparse.Namespace) -> "Corpus | None":
    """The data folder; recordings of a user can be judged without one."""
    if (args.manifest or args.spoken) and not args.data.is_dir():
        logger.warning("no data folder at %s: judged without added noise; name it with --data", args.data)
        return None
    return _open(args)


def _noise(args: argparse.Namespace) -> "NoisePlanner | None":
    from auricle.pipelines.sounds import split_noise

    corpus = _open_for_noise(args)
    return split_noise(corpus, args.split) if corpus else None


def _judge_models(args: argparse.Namespace, corpus: "Corpus") -> None:
    """Judges model files by what their kind promises."""
    from auricle.configs.errors import DataError
    from auricle.models.second_pass import load_judged
    from auricle.pipelines.acoustic_report import evaluate_acoustic
    from auricle.pipelines.evaluate import evaluate_keyword
    from auricle.pipelines.evaluation_plots import draw
    from auricle.pipelines.keyword_report import draw_keyword
    from auricle.pipelines.vad_report import evaluate_vad

    kinds = {load_judged(path)[0].kind for path in args.models}
    if len(kinds) != 1:
        raise DataError(f"models of different kinds: {', '.join(sorted(kinds))}; evaluate one kind at a time")
    if kinds == {"vad"}:
        reports = {"vad": evaluate_vad(args.models, corpus, args.split, args.snr_db)}
    elif kinds == {"acoustic"}:
        reports = {
            path.name.removesuffix(".safetensors"): evaluate_acoustic(path, corpus, args.split, args.snr_db)
            for path in args.models
        }
    else:
        _check_words(args.models)
        reports = {path.stem: evaluate_keyword(path, corpus, args.split) for path in args.models}
    for name, (text, figures) in reports.items():
        _report(args, name, text, figures)
        if args.out:
            draw(figures, args.out, f"{name}-{args.split}")
    if args.out and kinds == {"keyword"}:
        draw_keyword(
            {name: figures["keyword"] for name, (_, figures) in reports.items()}, args.out, args.split
        )


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


def _judge_wake(args: argparse.Namespace) -> None:
    """Judges wake phrases by misses against false accepts."""
    from auricle.configs.loader import load
    from auricle.models.zoo import find_model
    from auricle.pipelines.evaluate_wake import evaluate_wake
    from auricle.pipelines.recorded import read_recorded
    from auricle.pipelines.wake_report import draw_wake, wake_text
    from auricle.pipelines.wake_trials import lay_openings, lay_recorded, lay_trials

    settings = load(args.config, args.settings)
    path = find_model(settings.acoustic.model, settings.acoustic.cell)
    corpus = _open_for_noise(args)
    if args.manifest:
        trials = lay_recorded(read_recorded(args.manifest, args.work), args.most)
    elif args.openings:
        trials = lay_openings(_open(args), args.split, args.openings)
    else:
        trials = lay_trials(_open(args), args.split, args.most)
    ways = _ways(trials.phrases, settings)
    options = {"peers": not args.alone, "fit": args.fit, "without_speech": not args.openings}
    found = evaluate_wake(path, trials, ways, corpus, args.split, **options)
    figures = {"split": _judged(args), **found}
    name = "openings" if args.openings else "wake"
    _report(args, name, wake_text(figures), figures)
    if args.out:
        draw_wake(figures, args.out / f"{name}-{_judged(args)}.png")


def _ways(phrases: Sequence[str], settings: "Settings") -> "Ways":
    """How phrases may be said, as the daemon would have it of this configuration."""
    from auricle.models.decoding.ways import ways_of
    from auricle.models.lexicon import Lexicon

    lexicon = Lexicon.of_user(settings.acoustic.lexicon)
    own = {entry.phrase.lower(): entry.pronunciations for entry in settings.wake}
    return {text: ways_of(text, lexicon, own.get(text.lower(), ())) for text in phrases}


def _judge_commands(args: argparse.Namespace) -> None:
    """Judges what `auricle stream --grammar` reports."""
    from auricle.configs.errors import ConfigError
    from auricle.configs.grammars import find_grammar
    from auricle.pipelines.command_report import command_text, draw_commands
    from auricle.pipelines.command_trials import OTHERS, SETS, make_trials, read_trials
    from auricle.pipelines.evaluate_commands import evaluate_commands
    from auricle.pipelines.recorded import read_recorded
    from auricle.pipelines.spoken_commands import speak_trials

    if (args.manifest is None and not args.spoken) != (args.grammar is None):
        raise ConfigError(
            "--grammar belongs to --manifest (recordings) or --spoken N (synthetic voices): give both, or "
            "neither for the stand-in"
        )
    if args.promise:
        _count_promised(args)
        return
    if args.spoken:
        recordings, trials = speak_trials(find_grammar(str(args.grammar)), args.spoken, args.work)
    elif args.manifest:
        recordings, clips = read_recorded(args.manifest, args.work)
        trials = read_trials(clips, find_grammar(str(args.grammar)))
    else:
        recordings = _open(args)
        trials = make_trials(recordings, SETS, OTHERS, args.split)
    found = evaluate_commands(recordings, trials, _noise(args), _options(args), most=args.most)
    figures = {"split": _judged(args), **found}
    _report(args, "commands", command_text(figures), figures)
    if args.out:
        draw_commands(figures, args.out / f"commands-{_judged(args)}.png")


def _count_promised(args: argparse.Namespace) -> None:
    """Counts whether as many false commands come as were asked for."""
    from auricle.configs.loader import load
    from auricle.models.zoo import find_model
    from auricle.pipelines.command_promise import count_promised, promise_text
    from auricle.pipelines.command_trials import OTHERS, SETS
    from auricle.pipelines.hear_talk import config_of
    from auricle.pipelines.wake_streams import Ear

    settings, corpus = load(args.config, args.settings), _open(args)
    each = [corpus.clips(name, args.split)[: args.most or None] for name in (*SETS, *OTHERS)]
    clips = [clip for clips in each for clip in clips if clip.text]
    ear = Ear(find_model(settings.acoustic.model, settings.acoustic.cell))
    counted = count_promised(ear, corpus, clips, args.split, config_of(settings.commands))
    figures = [one._asdict() for one in counted]
    _report(args, "command-promise", promise_text(figures), figures)


def _judge_transcripts(args: argparse.Namespace) -> None:
    """Judges what `auricle stream --transcribe` writes down."""
    from auricle.pipelines.evaluate_transcripts import SETS, evaluate_transcripts, sentences
    from auricle.pipelines.recorded import RECORDED, read_recorded
    from auricle.pipelines.transcript_report import draw_transcripts, transcript_text

    if args.manifest:
        recordings, clips = read_recorded(args.manifest, args.work)
        sets = {RECORDED: sentences(clips, args.most)}
    else:
        recordings = _open(args)
        sets = {name: sentences(recordings.clips(name, args.split), args.most) for name in SETS}
    found = evaluate_transcripts(recordings, sets, _noise(args), _options(args))
    figures = {"split": _judged(args), **found}
    _report(args, "transcripts", transcript_text(figures), figures)
    if args.out:
        draw_transcripts(figures, args.out / f"transcripts-{_judged(args)}.png")


JUDGES: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "wake": _judge_wake,
    "commands": _judge_commands,
    "transcripts": _judge_transcripts,
}
"""What is judged by name."""


def _judged(args: argparse.Namespace) -> str:
    """What the figures are of, as reports and their files are called."""
    from auricle.pipelines.recorded import RECORDED
    from auricle.pipelines.spoken_commands import SPOKEN

    return RECORDED if args.manifest else SPOKEN if args.spoken else str(args.split)


def _options(args: argparse.Namespace) -> list[str]:
    config = ["--config", args.config] if args.config else []
    return config + [word for setting in args.settings for word in ("--set", setting)]


def _report(args: argparse.Namespace, name: str, text: str, figures: Any) -> None:
    """Prints the tables, and keeps them and the figures where asked to."""
    from auricle.pipelines.report import plain

    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"{name}-{_judged(args)}.md").write_text(text)
        (args.out / f"{name}-{_judged(args)}.json").write_text(json.dumps(plain(figures), indent=1) + "\n")
