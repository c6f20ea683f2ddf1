"""Wake phrases judged in streams of people not trained on: misses against false accepts, clean and in noise.

Every recording lies in one of some streams (`wake_trials`) that the model hears with its state carried.

Shape letters: B streams, N samples, J output frames, P phrases, W windows.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.models.decoding.background import SUFFIX, WINDOW_FRAMES, Background, load_background
from auricle.models.decoding.listening import Wanted, fires_at
from auricle.models.decoding.phrases import Array, PhraseSearch
from auricle.models.decoding.second_look import SecondLook
from auricle.models.decoding.spotting import Spotter
from auricle.models.decoding.verifier import Verifier
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.pipelines.acoustic_data import AcousticData
from auricle.pipelines.corpus import SAMPLE_RATE, Corpus
from auricle.pipelines.evaluate_verifier import fit_split, verified_scores, without_split
from auricle.pipelines.metrics import Interval, rate_per_hour, ratio, share_by_block, sums_by_block
from auricle.pipelines.report import plain
from auricle.pipelines.wake_streams import (
    GAP_SAMPLES,
    Ear,
    Heard,
    in_noise,
    recorded_noise,
    scan,
    scan_again,
)
from auricle.pipelines.wake_trials import POSITIVES, Trials, is_other_speech, text_of

SNR_DB = 10.0
RATES = (0.5, 0.1)
"""False accepts per hour at which misses are counted."""
PROMISED = 0.5
LATE_S = 0.4
"""A phrase may be heard so long after the end of its recording."""
REFRACTORY_S = 1.0
TIMED_FRAMES = 1000


class Outcome(NamedTuple):
    """What one detector scored for one phrase in one condition."""

    own: Array  # highest score in each of its own recordings
    speakers: tuple[str, ...]  # of those
    others: Array  # highest score of each window that holds none of it, falling
    hours: float  # of those windows

    def threshold(self, rate: float) -> float:
        """The lowest score from which on there are at most `rate` false accepts an hour."""
        allowed = int(rate * self.hours + 1e-9)
        return float(np.nextafter(self.others[allowed], np.float32(np.inf)))

    def missed(self, rate: float) -> NDArray[np.bool_]:
        """Which recordings are not heard there."""
        return np.asarray(self.own < self.threshold(rate))


def outcomes(scores: Mapping[str, Array], trials: Trials, frame_samples: int) -> dict[str, Outcome]:
    """Sorts the scores `(B, J)` of some phrases into their own recordings and all else."""
    found = {}
    late = round(LATE_S * SAMPLE_RATE)
    for phrase, values in scores.items():
        own, speakers, free = [], [], np.ones(values.shape, bool)
        for place in trials.placed:
            if is_other_speech(place.note):
                continue
            first, last = place.start_sample // frame_samples, (place.end_sample - GAP_SAMPLES + late)
            free[place.stream, first : (place.end_sample + late) // frame_samples + 1] = False
            if text_of(place.note) == phrase:
                own.append(float(values[place.stream, first : last // frame_samples + 1].max()))
                speakers.append(place.note.speaker_or_id)
        found[phrase] = _outcome(own, speakers, values, free, frame_samples)
    return found


def by_phrase(scores: Array, phrases: Sequence[str]) -> dict[str, Array]:
    """Takes scores `(B, J, P)` apart."""
    return {phrase: scores[..., number] for number, phrase in enumerate(phrases)}


def _outcome(
    own: Sequence[float],
    speakers: Sequence[str],
    scores: Array,
    free: NDArray[np.bool_],
    frame_samples: int,
) -> Outcome:
    windows = scores.shape[1] // WINDOW_FRAMES
    shape = (len(scores), windows, WINDOW_FRAMES)
    usable = free[:, : windows * WINDOW_FRAMES].reshape(shape)
    others = np.where(usable, scores[:, : windows * WINDOW_FRAMES].reshape(shape), -np.inf).max(2)
    hours = float(free.sum()) * frame_samples / SAMPLE_RATE / 3600
    ordered = -np.sort(-others[np.isfinite(others)])
    return Outcome(np.array(own, np.float32), tuple(speakers), ordered.astype(np.float32), hours)


def mean_misses(found: Iterable[Outcome], rate: float) -> Interval:
    """Misses, mean over these very phrases; the interval is by the spread between those who say them.

    Who says several phrases counts once: every speaker's share of the mean is one block.
    """
    found = list(found)
    missed = [outcome.missed(rate) for outcome in found]
    speakers = [speaker for outcome in found for speaker in outcome.speakers]
    weights = np.concatenate([np.full(len(rows), 1 / (len(missed) * len(rows))) for rows in missed])
    parts, totals = sums_by_block(speakers, weights * np.concatenate(missed), weights)
    return ratio(parts, totals).interval(least=0.0)


class Promise(NamedTuple):
    """What comes of `false_accepts_per_hour = 0.5`, all streams through the spotter as in the daemon."""

    misses: list[Interval]
    false_accepts: list[int]
    hours: list[float]
    delays_s: list[float]  # from the phrase's end to the decision, where its times are known

    @property
    def rate(self) -> Interval:
        """False accepts per hour and phrase."""
        return rate_per_hour(sum(self.false_accepts), sum(self.hours))


def keep_promise(
    heard: Heard,
    trials: Trials,
    background: Background,
    frame_samples: int,
    *,
    verifiers: Mapping[str, Verifier] | None = None,
    second_look: SecondLook | None = None,
) -> Promise:
    """Runs the spotter over streams, with the verifiers of some phrases, or with the second pass."""
    lexicon = Lexicon()
    refractory = round(REFRACTORY_S * SAMPLE_RATE)
    own = verifiers or {}
    wanted = [
        Wanted(ways_of(text, lexicon), PROMISED, refractory, verifier=own.get(text))
        for text in trials.phrases
    ]
    spotter = Spotter(wanted, background, frame_samples, second_look)
    hits: list[tuple[int, int, int]] = []  # stream, phrase, sample
    for stream, rows in enumerate(heard.log_probs):
        state = spotter.initial_state()
        hidden = [None] * len(rows) if heard.hidden is None else heard.hidden[stream]
        for number, (row, values) in enumerate(zip(rows, hidden, strict=True), start=1):
            found, state = spotter.step(row, number * frame_samples, state, values)
            hits += [(stream, hit.phrase, number * frame_samples) for hit in found]
    caught: dict[int, list[bool]] = defaultdict(list)
    speakers: dict[int, list[str]] = defaultdict(list)
    delays, right, other_s = [], set(), 0.0
    late = round(LATE_S * SAMPLE_RATE)
    for place in trials.placed:
        if is_other_speech(place.note):
            continue
        other_s += (place.end_sample - place.start_sample) / SAMPLE_RATE
        here = [
            hit
            for hit in hits
            if hit[0] == place.stream and place.start_sample <= hit[2] < place.end_sample + late
        ]
        right.update(here)
        if (phrase := trials.phrase_of(place.note)) is None:
            continue
        inside = [hit for hit in here if hit[1] == phrase]
        caught[phrase].append(bool(inside))
        speakers[phrase].append(place.note.speaker_or_id)
        ends = place.note.details.get("wake_end")
        if inside and ends:
            delays.append((inside[0][2] - place.start_sample) / SAMPLE_RATE - float(ends))
    wrong = [sum(hit[1] == phrase for hit in set(hits) - right) for phrase in range(len(wanted))]
    misses = [
        share_by_block([not one for one in caught[phrase]], speakers[phrase]) for phrase in range(len(wanted))
    ]
    return Promise(misses, wrong, [trials.hours - other_s / 3600] * len(wanted), delays)


def search_cost(background: Background, phrases: Sequence[str], log_probs: Array, frame_s: float) -> float:
    """CPU seconds of the search alone for each second of audio, of all phrases together."""
    lexicon = Lexicon()
    wanted = [Wanted(ways_of(text, lexicon), PROMISED, 0) for text in phrases]
    spotter = Spotter(wanted, background, round(frame_s * SAMPLE_RATE))
    rows, state = log_probs[:TIMED_FRAMES], spotter.initial_state()
    begin = time.process_time()
    for number, row in enumerate(rows, start=1):
        _, state = spotter.step(row, number * 640, state)
    return (time.process_time() - begin) / (len(rows) * frame_s)


def own_scores(
    heard: Heard, search: PhraseSearch, look: SecondLook | None, fires: Sequence[float]
) -> dict[str, Array]:
    """Scores `(B, J, P)` by who gives them: the search, and where there is a second pass, that one."""
    scores = scan(heard.log_probs, search)[0]
    if not look:
        return {"Auricle": scores}
    again = scan_again(heard, search.phrases, search.settings, look, fires)
    return {"Auricle": again, "Auricle, first pass": scores}


def evaluate_wake(
    path: Path,
    trials: Trials,
    corpus: Corpus | None,
    split: str,
    *,
    peers: bool = True,
    fit: int = 0,
) -> dict[str, Any]:
    """Judges an acoustic model's wake phrases, and other detectors on the same audio if `peers`.

    Args:
        path: the model.
        trials: what it hears.
        corpus: where noise is, and recordings to fit verifiers to; None for neither.
        split: whose noise is added.
        peers: whether others hear the same audio, where they are installed.
        fit: judge those phrases alone of which there are recordings in the train split, with verifiers
            fitted to so many of these, too; 0 for none.

    Returns:
        Plain values: for each condition the `outcomes` and `promise`, then cost and what was heard.
    """
    from auricle.pipelines.wake_peers import peer_scores

    ear = Ear(path)
    background = load_background(path.with_suffix(SUFFIX), ear.digest)
    verifiers = _fit(ear, corpus, background, trials, fit) if fit and corpus else {}
    if verifiers:
        trials = trials._replace(phrases=tuple(verifiers))
    lexicon = Lexicon()
    frame = ear.spec.frame_samples
    search = PhraseSearch([ways_of(text, lexicon) for text in trials.phrases], background.info.search)
    look = ear.second_look()
    fires = [fires_at(tail, PROMISED) for tail in background.tails(search)] if look else []
    names = [f"{path.stem}@{ear.digest}", *([f"{ear.second_path.name}@{ear.second_digest}"] if look else [])]
    figures: dict[str, Any] = {"model": " and ".join(names), "conditions": {}}
    learnt = times_learnt(corpus, trials.phrases) if corpus else {}
    groups = grouped(trials.phrases, learnt)
    for condition, samples in _conditions(trials, corpus, split).items():
        heard = ear.hear_all(samples, hidden=look is not None)
        scores = own_scores(heard, search, look, fires)
        if verifiers:
            fitted = verified_scores(heard.log_probs, verifiers, trials.phrases)
            scores[f"Auricle, fitted to {fit}"] = fitted
        by_detector = {name: by_phrase(values, trials.phrases) for name, values in scores.items()}
        if peers:
            by_detector |= peer_scores(samples.numpy(), trials.phrases, frame)
        detectors = {name: outcomes(values, trials, frame) for name, values in by_detector.items()}
        promises = {"promise": keep_promise(heard, trials, background, frame, second_look=look)}
        if verifiers:
            promises["fitted"] = keep_promise(heard, trials, background, frame, verifiers=verifiers)
        figures["conditions"][condition] = {
            "detectors": {name: _table(found, groups) for name, found in detectors.items()},
            **{name: _promise_table(promise, trials) for name, promise in promises.items()},
        }
        figures["cost"] = search_cost(background, trials.phrases, heard.log_probs[0], ear.frame_s)
    figures |= {"phrases": list(trials.phrases), "hours": trials.hours, "learnt": learnt, "groups": groups}
    return figures


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


def _fit(ear: Ear, corpus: Corpus, background: Background, trials: Trials, count: int) -> dict[str, Verifier]:
    """Verifiers of the phrases with recordings to fit to; speech to be judged on is not fitted to."""
    clips = [clip for name in POSITIVES for clip in corpus.clips(name, "train")]
    said = {phrase: [clip for clip in clips if text_of(clip) == phrase] for phrase in trials.phrases}
    return fit_split(ear, corpus, without_split(background, trials.placed[0].note.split), said, count)


def _table(found: Mapping[str, Outcome], groups: Mapping[str, Collection[str]]) -> dict[str, Any]:
    table: dict[str, Any] = {"phrases": {}, "means": {}}
    for text, outcome in found.items():
        table["phrases"][text] = {
            "recordings": len(outcome.own),
            "hours": outcome.hours,
            "misses": {str(rate): plain(_misses(outcome, rate)) for rate in RATES},
            "det": det_points(outcome),
        }
    for name, phrases in groups.items():
        if of_these := [outcome for text, outcome in found.items() if text in phrases]:
            table["means"][name] = {str(rate): plain(mean_misses(of_these, rate)) for rate in RATES}
    return table


def _misses(outcome: Outcome, rate: float) -> Interval:
    return share_by_block(outcome.missed(rate), outcome.speakers)


def det_points(outcome: Outcome, most: int = 60) -> list[tuple[float, float]]:
    """(false accepts per hour, misses) for rising numbers of false accepts."""
    counts = sorted({int(count) for count in np.geomspace(1, min(len(outcome.others) - 1, 2000), most)})
    return [
        (count / outcome.hours, float((outcome.own <= outcome.others[count]).mean()))
        for count in [0, *counts]
    ]


def _promise_table(promise: Promise, trials: Trials) -> dict[str, Any]:
    table: dict[str, Any] = {
        "asked_for_per_hour": PROMISED,
        "false_accepts_per_hour": plain(promise.rate),
        "phrases": {
            text: {"misses": plain(missed), "false_accepts": wrong}
            for text, missed, wrong in zip(trials.phrases, promise.misses, promise.false_accepts, strict=True)
        },
        "mean_misses": float(np.mean([missed.value for missed in promise.misses])),
    }
    if promise.delays_s:
        p50, p95 = np.percentile(promise.delays_s, (50, 95))
        table["delay_s"] = {"p50": float(p50), "p95": float(p95), "count": len(promise.delays_s)}
    return table
