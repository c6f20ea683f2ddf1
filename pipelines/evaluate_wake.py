"""Wake phrases judged in streams of people not trained on: misses against false accepts, clean and in noise.

Every recording lies in one of some streams (`wake_trials`) that the model hears with its state carried.

Shape letters: B streams, J output frames, P phrases.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.decoding.background import SUFFIX, Background, load_background
from auricle.models.decoding.listening import fires_at
from auricle.models.decoding.phrases import Array, PhraseSearch
from auricle.models.decoding.second_look import SecondLook
from auricle.models.decoding.verifier import Verifier
from auricle.models.decoding.ways import Ways
from auricle.pipelines.acoustic_data import AcousticData
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_verifier import fit_split, verified_scores
from auricle.pipelines.wake_outcomes import by_phrase, outcome_table, outcomes
from auricle.pipelines.wake_promise import PROMISED, heard_in_noise, keep_promise, promise_table, search_cost
from auricle.pipelines.wake_streams import Ear, Heard, in_noise, noise_alone, recorded_noise, scan, scan_again
from auricle.pipelines.wake_trials import POSITIVES, Trials, parts_of, text_of

SNR_DB = 10.0
NOISE_ALONE = (120, 30.0)
"""Streams in which nobody speaks, and the seconds of each: each is heard afresh."""


def evaluate_wake(
    path: Path,
    trials: Trials,
    ways: Ways,
    corpus: Corpus | None,
    split: str,
    *,
    peers: bool = True,
    fit: int = 0,
    without_speech: bool = True,
) -> dict[str, Any]:
    """Judges an acoustic model's wake phrases, and other detectors on the same audio if `peers`.

    Args:
        path: the model.
        trials: what it hears.
        ways: how each of the phrases may be said.
        corpus: where noise is, and recordings to fit verifiers to; None for neither.
        split: whose noise is added.
        peers: whether others hear the same audio, where they are installed.
        fit: judge those phrases alone of which there are recordings in the train split, with verifiers
            fitted to so many of these, too; 0 for none.
        without_speech: judge what is heard in noise where nobody speaks, too; long, with a hundred phrases.

    Returns:
        Plain values: for each condition the `outcomes` and `promise`, then what was heard in noise where
        nobody speaks, cost, and what was judged.
    """
    from auricle.pipelines.wake_peers import peer_scores

    ear = Ear(path)
    # The promise is not judged on what it is calibrated on: where `dev` is judged, its pieces are left out.
    background = load_background(path.with_suffix(SUFFIX), ear.digest).without(split)
    verifiers = _fit(ear, corpus, background, trials, ways, count=fit) if fit and corpus else {}
    if verifiers:
        trials = trials._replace(phrases=tuple(verifiers))
    frame = ear.spec.frame_samples
    search = PhraseSearch([ways[text] for text in trials.phrases], background.info.search)
    look = ear.second_look(split)
    fires = [fires_at(tail, PROMISED) for tail in background.tails(search)] if look else []
    learnt = times_learnt(corpus, trials.phrases) if corpus else {}
    groups = grouped(trials.phrases, learnt)
    figures: dict[str, Any] = {
        "model": _names(ear, looks_again=look is not None),
        "conditions": {},
        "phrases": list(trials.phrases),
        "hours": trials.hours,
        "learnt": learnt,
        "groups": groups,
    }
    for condition, samples in _conditions(trials, corpus, split).items():
        heard = ear.hear_all(samples, hidden=look is not None)
        scores = own_scores(heard, search, look, fires, parts_of(trials, heard.log_probs.shape[1], frame))
        if verifiers:
            fitted = verified_scores(heard.log_probs, verifiers, trials.phrases)
            scores[f"Auricle, fitted to {fit}"] = fitted
        by_detector = {name: by_phrase(values, trials.phrases) for name, values in scores.items()}
        if peers:
            by_detector |= peer_scores(samples.numpy(), trials.phrases, frame)
        detectors = {name: outcomes(values, trials, frame) for name, values in by_detector.items()}
        promises = {"promise": keep_promise(heard, trials, ways, background, frame, second_look=look)}
        if verifiers:
            promises["fitted"] = keep_promise(heard, trials, ways, background, frame, verifiers=verifiers)
        figures["conditions"][condition] = {
            "detectors": {name: outcome_table(found, groups) for name, found in detectors.items()},
            **{name: promise_table(promise, trials) for name, promise in promises.items()},
        }
        figures["cost"] = search_cost(background, search.phrases, heard.log_probs[0], ear.frame_s)
    if corpus and without_speech:
        noise = ear.hear_all(noise_alone(corpus, split, *NOISE_ALONE), hidden=look is not None)
        figures["noise"] = heard_in_noise(noise, trials.phrases, ways, background, frame, second_look=look)
    return figures


def _names(ear: Ear, *, looks_again: bool) -> str:
    """The weights that decide."""
    first = f"{ear.path.stem}@{ear.digest}"
    return f"{first} and {ear.second_path.name}@{ear.second_digest}" if looks_again else first


def own_scores(
    heard: Heard,
    search: PhraseSearch,
    look: SecondLook | None,
    fires: Sequence[float],
    parts: NDArray[np.intp],
) -> dict[str, Array]:
    """Scores `(B, J, P)` by who gives them: the search, and where there is a second pass, that one.

    What was said in one of the `parts` `(B, J)` is used up there: what reaches into the next scores nothing.
    """
    scores = scan(heard.log_probs, search, parts)[0]
    if not look:
        return {"Auricle": scores}
    again = scan_again(heard, search.phrases, search.settings, look, fires, parts=parts)
    return {"Auricle": again, "Auricle, first pass": scores}


def _conditions(trials: Trials, corpus: Corpus | None, split: str) -> dict[str, torch.Tensor]:
    """What is heard: the streams as they are, and in noise where there is some."""
    found = {"clean": trials.samples}
    if corpus:
        noise = recorded_noise(corpus, split, trials.samples.shape)
        found[f"{SNR_DB:.0f} dB"] = in_noise(trials.samples, noise, SNR_DB)
    return found


def times_learnt(corpus: Corpus, phrases: Sequence[str]) -> dict[str, int]:
    """In how many recordings of the train split, which acoustic models learn from, each phrase is said."""
    texts = [
        f" {' '.join(clip.words)} "
        for name in AcousticData().sets
        if (corpus.data / name).is_dir()
        for clip in corpus.clips(name, "train")
    ]
    return {phrase: sum(f" {phrase} " in text for text in texts) for phrase in phrases}


def grouped(phrases: Sequence[str], learnt: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """All phrases, and, where only some are in the training data, those that are and those that are not."""
    known = tuple(phrase for phrase in phrases if learnt.get(phrase))
    new = tuple(phrase for phrase in phrases if not learnt.get(phrase))
    return {"all": tuple(phrases)} | (
        {"never in training": new, "in training": known} if known and new else {}
    )


def _fit(
    ear: Ear, corpus: Corpus, background: Background, trials: Trials, ways: Ways, *, count: int
) -> dict[str, Verifier]:
    """Verifiers of the phrases with recordings to fit to; speech to be judged on is not fitted to."""
    clips = [clip for name in POSITIVES for clip in corpus.clips(name, "train")]
    said = {phrase: [clip for clip in clips if text_of(clip) == phrase] for phrase in trials.phrases}
    return fit_split(ear, corpus, background, ways, said, count=count)
