"""How scores of commands are made: what speaks for a sentence of a grammar, weighed to tell right from wrong.

    python -m auricle.pipelines.command_scores MODEL.safetensors --data DATA --work runs

makes several stand-in grammars of dev sentences (`command_trials`). Sentences of each are found in their own
recordings, clean and in noise, and in recordings of other sentences, where the shipped grammar is tried, too.
A logistic regression on every other one tells those found right from those found where nothing of the grammar
was said; then its bias is moved so that 0.5 lets through few of the latter. Prints the weights for
`auricle.models.decoding.confidence`, and how they fare on the rest.

Shape letters: N sentences found, E kinds of evidence.
"""

import argparse
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from auricle.configs.grammars import find_grammar
from auricle.configs.settings import CommandSettings
from auricle.models.decoding import confidence, search
from auricle.models.decoding.graph import CommandGraph, compile_text
from auricle.pipelines.acoustic_data import Utterance
from auricle.pipelines.command_trials import OTHERS, SETS, Trial, Trials, make_trials
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_acoustic import AcousticJudge
from auricle.pipelines.metrics import roc_auc
from auricle.pipelines.sounds import split_noise
from auricle.pipelines.word_scores import Reals, fit

GRAMMARS, FIRST_SEED = 4, 62_000
"""Stand-in grammars, with seeds of their own: not the one that commands are judged with."""
OUTSIDE = 80
"""Recordings of other sentences, for each grammar and condition."""
CONDITIONS_DB = (None, 15.0, 8.0)
LET_THROUGH = 0.004
"""Share of other sentences whose score may reach 0.5: of 500 utterances in an hour of talk, two."""


class Found(NamedTuple):
    """The best sentence for a recording."""

    evidence: confidence.Evidence
    condition: str
    inside: bool
    """The recording holds a sentence of the grammar."""
    right: bool
    """Intent and slots are those that were said."""
    speaker: str
    """Who speaks, or which recording it is."""


def gather(judge: AcousticJudge, trials: Trials, config: search.SearchConfig, seed: int) -> Iterator[Found]:
    """Searches the recordings of some trials, clean and in noise; the shipped grammar where nothing fits."""
    noise, rng = split_noise(judge.corpus, "dev"), np.random.default_rng(seed)
    graph = compile_text(trials.grammar)
    shipped = compile_text(find_grammar("commands").read_text(encoding="utf-8"))
    others = [trials.others[place] for place in rng.permutation(len(trials.others))[:OUTSIDE].tolist()]
    for snr_db in CONDITIONS_DB:
        condition = "clean" if snr_db is None else f"{snr_db:.0f} dB"
        for some, graphs in ((trials.commands, (graph,)), (others, (graph, shipped))):
            utterances = [Utterance(trial.clip, ()) for trial in some]
            heard = judge.hear(utterances) if snr_db is None else judge.hear(utterances, noise, snr_db)
            for trial, one in zip(some, heard, strict=True):
                rows = one.log_probs[0].exp().numpy()
                for tried in graphs:
                    yield from _best(rows, tried, config, condition, trial)


def _best(
    rows: NDArray[np.float32], graph: CommandGraph, config: search.SearchConfig, condition: str, trial: Trial
) -> Iterator[Found]:
    """The best sentence for the posteriors `(J, V)` of a recording, if there is any."""
    state = search.begin(graph)
    for row in rows:
        state = search.step(row, state, config)
    sentence = search.best_sentence(state)
    if sentence is not None:
        right = bool(trial.intent) and (sentence.intent, sentence.slots) == (trial.intent, dict(trial.slots))
        speaker = trial.clip.speaker_or_id
        yield Found(confidence.evidence(sentence), condition, bool(trial.intent), right, speaker)


def halves(found: Sequence[Found]) -> tuple[list[Found], list[Found]]:
    """What to fit to, and what to judge by: everything of a speaker lies in one of them."""
    fitted = [one for one in found if zlib.crc32(one.speaker.encode()) % 2]
    return fitted, [one for one in found if not zlib.crc32(one.speaker.encode()) % 2]


def weigh(found: Sequence[Found]) -> tuple[confidence.Evidence, float]:
    """Weights and bias that tell sentences found right from those of recordings outside the grammar."""
    some = [one for one in found if one.right or not one.inside]
    weights = fit(np.array([one.evidence for one in some]), np.array([one.right for one in some]))
    outside = np.array([one.evidence for one in found if not one.inside])
    bias = -float(np.quantile(outside @ weights[1:], 1 - LET_THROUGH))
    return confidence.Evidence(*weights[1:].tolist()), bias


def report(found: Sequence[Found], weights: confidence.Evidence, bias: float) -> str:
    """Area under the ROC, and the shares that reach 0.5, condition by condition."""
    scores = score(found, weights, bias)
    right = np.array([one.right for one in found])
    inside = np.array([one.inside for one in found])
    told = right | ~inside
    lines = [f"AUC {roc_auc(scores[told], right[told]):.3f}"]
    for condition in dict.fromkeys(one.condition for one in found):
        own = np.array([one.condition == condition for one in found])
        lines.append(
            f"{condition}: found right {right[own & inside].mean():.1%} of {np.sum(own & inside)} commands, "
            f"of which {np.mean(scores[own & right] >= 0.5):.1%} reach 0.5; found wrong and reach 0.5: "
            f"{np.mean(scores[own & inside & ~right] >= 0.5):.1%}; outside and reach 0.5: "
            f"{np.mean(scores[own & ~inside] >= 0.5):.2%} of {np.sum(own & ~inside)}"
        )
    return "\n".join(lines)


def score(found: Sequence[Found], weights: confidence.Evidence, bias: float) -> Reals:
    """The scores `(N,)` of sentences."""
    return np.array([confidence.confidence(one.evidence, weights, bias) for one in found])


def main() -> None:
    """Fits the weights and prints them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs"))
    settings = CommandSettings()
    for name in ("blank_shift", "smoothing", "filler_cost"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(settings, name))
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = search.SearchConfig(args.blank_shift, args.smoothing, args.filler_cost)
    judge = AcousticJudge(args.model, Corpus(args.data, args.work))
    found: list[Found] = []
    for seed in track(range(FIRST_SEED, FIRST_SEED + GRAMMARS), description="grammars"):
        found += gather(judge, make_trials(judge.corpus, SETS, OTHERS, "dev", seed), config, seed)
    fitted, judged = halves(found)
    weights, bias = weigh(fitted)
    print("FITTED = Evidence(" + ", ".join(f"{k}={v:.2f}" for k, v in weights._asdict().items()) + ")")  # noqa: T201
    print(f"BIAS = {bias:.1f}")  # noqa: T201
    print(report(judged, weights, bias))  # noqa: T201
    print("as shipped:", report(judged, confidence.FITTED, confidence.BIAS))  # noqa: T201


if __name__ == "__main__":
    main()
