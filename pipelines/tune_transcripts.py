"""Chooses the weights of transcripts for an acoustic model, on dev.

    python -m auricle.pipelines.tune_transcripts MODEL.safetensors --data DATA --work runs --every 8

hears every so many-th dev recording once, then changes one weight after the other as long as fewer words are
wrong, and prints each try. What it ends with goes into the `[transcript]` section.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import jiwer
import torch

from auricle.configs.settings import TranscriptSettings
from auricle.models.decoding.beam import BeamSettings
from auricle.models.decoding.ngram import NGram
from auricle.models.decoding.ngram_file import find_language_model, read_language_model
from auricle.models.decoding.transcriber import Transcriber
from auricle.models.lexicon import Lexicon
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_acoustic import AcousticJudge, Judged

STEPS = {"blank_shift": 1.0, "lm_weight": 0.2, "word_bonus": 1.0}
"""By how much each weight is changed at a time."""


def shipped_search(settings: TranscriptSettings) -> BeamSettings:
    """The search that the settings ask for."""
    return BeamSettings(
        blank_shift=settings.blank_shift,
        lm_weight=settings.lm_weight,
        word_bonus=settings.word_bonus,
        beam=settings.beam,
        hypotheses=settings.hypotheses,
    )


def error_rate(judged: Sequence[Judged], model: NGram, lexicon: Lexicon, search: BeamSettings) -> float:
    """Word error rate over all recordings."""
    transcriber, found = Transcriber(model, lexicon, search), []
    for one in judged:
        state = transcriber.begin()
        for row in one.log_probs[0].exp().numpy():
            state = transcriber.step(row, state)
        found.append(" ".join(word.word for word in transcriber.finish(state)))
    return float(jiwer.wer([one.utterance.clip.text for one in judged], found))


def neighbours(search: BeamSettings) -> Iterator[BeamSettings]:
    """The search with one weight changed by a step, down and up."""
    for name, step in STEPS.items():
        for change in (-step, step):
            value = round(getattr(search, name) + change, 6)
            if name != "lm_weight" or value >= 0:
                yield replace(search, **{name: value})


def tune(
    judged: Sequence[Judged], model: NGram, search: BeamSettings
) -> Iterator[tuple[BeamSettings, float]]:
    """Goes on to a better search until no neighbour is better; gives every try, the best one last."""
    lexicon = Lexicon()
    best, tried = error_rate(judged, model, lexicon, search), {search}
    yield search, best
    improved = True
    while improved:
        improved = False
        for other in neighbours(search):
            if other in tried:
                continue
            tried.add(other)
            rate = error_rate(judged, model, lexicon, other)
            yield other, rate
            if rate < best:
                search, best, improved = other, rate, True
    yield search, best


def hear_dev(description: str | None, every: int) -> tuple[list[Judged], NGram, BeamSettings]:
    """What `main` needs here and in `word_scores`: reads the command line, hears dev recordings.

    Args:
        description: what the program does.
        every: take every so many-th recording, unless the command line says otherwise.

    Returns:
        The recordings with what the model hears in them, the shipped language model, the shipped search.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--every", type=int, default=every, help="take every so many-th recording")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = TranscriptSettings()
    judge = AcousticJudge(args.model, Corpus(args.data, args.work))
    judged = judge.hear(judge.utterances("dev")[:: args.every])
    model = read_language_model(find_language_model(settings.language_model))
    return judged, model, shipped_search(settings)


def main() -> None:
    """Tunes and prints."""
    for search, rate in tune(*hear_dev(__doc__, every=8)):
        values = ", ".join(f"{name} = {getattr(search, name):g}" for name in STEPS)
        print(f"{values}: {rate:.1%} of the words wrong", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
