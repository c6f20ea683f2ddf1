"""How scores of words are made: what speaks for each word found in dev, weighed to give shares right.

    python -m auricle.pipelines.word_scores MODEL.safetensors --data DATA --work runs

prints weights for `auricle.models.decoding.transcriber.Confidence`, fitted on every other dev recording, and
how the scores fare on the rest.

Shape letters: N words, E kinds of evidence.
"""

from collections.abc import Sequence
from itertools import pairwise

import jiwer
import numpy as np
from numpy.typing import NDArray

from auricle.models.decoding.hypotheses import chain
from auricle.models.decoding.transcriber import Transcriber
from auricle.models.lexicon import Lexicon
from auricle.pipelines.evaluate_acoustic import Judged
from auricle.pipelines.metrics import roc_auc
from auricle.pipelines.tune_transcripts import hear_dev

Reals = NDArray[np.float64]
ROUNDS = 20
PENALTY = 1e-3
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def right_words(wanted: str, found: Sequence[str]) -> list[bool]:
    """Which of the found words are right, by the cheapest alignment with what was said."""
    right = [False] * len(found)
    if found:
        for part in jiwer.process_words(wanted, " ".join(found)).alignments[0]:
            if part.type == "equal":
                right[part.hyp_start_idx : part.hyp_end_idx] = [True] * (
                    part.hyp_end_idx - part.hyp_start_idx
                )
    return right


def gather(transcriber: Transcriber, judged: Sequence[Judged]) -> tuple[Reals, NDArray[np.bool_]]:
    """What speaks for each word of some recordings `(N, E)`, and whether it is right `(N,)`."""
    evidence, right = [], []
    for one in judged:
        state = transcriber.begin()
        for row in one.log_probs[0].exp().numpy():
            state = transcriber.step(row, state)
        ends = chain(state, transcriber.final_end(state))
        words = [transcriber.model.words[int(state.ends.word[end])] for end in ends]
        evidence += [transcriber.evidence(state, end) for end in ends]
        right += right_words(one.utterance.clip.text, words)
    return np.array(evidence, np.float64), np.array(right)


def fit(evidence: Reals, right: NDArray[np.bool_]) -> Reals:
    """Weights of a logistic regression, the bias first, `(1 + E,)` (Newton's method)."""
    columns = np.column_stack([np.ones(len(evidence)), evidence])
    weights = np.zeros(columns.shape[1])
    for _ in range(ROUNDS):
        share = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (right - share) - PENALTY * weights
        curve = (columns * (share * (1 - share))[:, None]).T @ columns + PENALTY * np.eye(len(weights))
        weights += np.linalg.solve(curve, slope)
    return weights


def report(evidence: Reals, right: NDArray[np.bool_], weights: Reals) -> str:
    """How scores of other words fare: mean score and share right in five classes; area under the ROC."""
    score = 1 / (1 + np.exp(-np.column_stack([np.ones(len(evidence)), evidence]) @ weights))
    lines = [f"{len(right)} words, {right.mean():.1%} right, AUC {roc_auc(score, right):.3f}"]
    for low, high in pairwise(EDGES):
        inside = (score >= low) & (score < high)
        if inside.any():
            mean, share = score[inside].mean(), right[inside].mean()
            lines.append(
                f"score {low:.1f}-{high:.1f}: {inside.sum()} words, mean {mean:.2f}, right {share:.2f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Fits the weights and prints them."""
    judged, language_model, search = hear_dev(__doc__, every=1)
    transcriber = Transcriber(language_model, Lexicon(), search)
    weights = fit(*gather(transcriber, judged[::2]))
    print("Confidence(" + ", ".join(f"{weight:.3f}" for weight in weights) + ")")  # noqa: T201
    print(report(*gather(transcriber, judged[1::2]), weights))  # noqa: T201


if __name__ == "__main__":
    main()
