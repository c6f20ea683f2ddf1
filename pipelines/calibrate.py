"""Makes the background file of an acoustic model: what the thresholds of wake phrases are calibrated on.

Part of it is speech of people the model was not trained on (dev); the rest is from its training data, where a
model may be too sure, which is measured and corrected for. All of it is in recorded noise, where phrases
are heard wrongly more often than in the quiet: what is promised must hold there, too.

Shape letters: B streams or pieces, J output frames, V labels, P phrases.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from auricle.configs.errors import DataError, ModelError
from auricle.models.decoding.background import (
    SUFFIX,
    Background,
    BackgroundInfo,
    Codes,
    encode,
)
from auricle.models.decoding.phrases import PhraseSearch, PhraseSearchSettings
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.models.phones import BLANK
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.wake_streams import Ear, in_noise, lay_clips, recorded_noise, scan

SOURCES = {
    ("librispeech", "dev"): 0.4,
    ("commonvoice", "dev"): 0.6,
    ("speechocean762", "dev"): 0.2,
    ("librispeech", "train"): 0.5,
    ("libridevclean", "train"): 0.5,
    ("commonvoice", "train"): 0.8,
    ("speechocean762", "train"): 0.4,
}
"""Hours of each set and split, or all there is; no wake words: hearing those would not be false."""
PIECE_S = 60
STREAMS = 8
SNRS_DB = (20.0, 10.0)
"""Streams in turn: in some noise, in more."""
SEED = 61_000
PROBES = (
    "hey jarvis", "computer", "okay house", "good morning", "hello robot", "listen to me", "alexandria",
    "wake up now", "marigold", "hey mister", "open sesame", "butterfly", "hey kitchen", "attention please",
    "dear friend", "captain", "hey samantha", "my assistant", "barbara", "elephant", "hey there", "hi jenny",
    "lights please", "telephone", "hey computer", "mirror mirror", "blueberry", "good evening", "jupiter",
    "okay nabu",
)  # fmt: skip
"""Phrases of all sorts, by which speech trained on is compared with other speech."""
PROBE_RATE = 20.0
"""False accepts per hour at which they are compared."""
TIMED = "wuw2"
"""The set that says when its wake words begin and end."""


class Shifts(NamedTuple):
    """From the frames of a path to the phrase, in samples."""

    start: int
    end: int


def calibrate(
    ear: Ear, corpus: Corpus, settings: PhraseSearchSettings, hours_part: float = 1.0
) -> Background:
    """Hears all sources; several minutes.

    Args:
        ear: the model.
        corpus: the data.
        settings: the search that goes with the model.
        hours_part: how much of the listed hours to take.

    Raises:
        ModelError: the model is no CTC model of phones.
        DataError: there is no speech.
    """
    if ear.spec.kind != "acoustic" or ear.spec.labels[0] != BLANK:
        raise ModelError(f"{ear.path} is no acoustic model with blanks: wake phrases need one")
    codes: dict[str, list[Codes]] = {"dev": [], "train": []}
    sources = []
    for (name, split), hours in SOURCES.items():
        clips = _some(corpus.clips(name, split) if (corpus.data / name).is_dir() else [], hours * hours_part)
        if clips:
            pieces = hear_pieces(ear, corpus, clips)
            codes[split].append(pieces)
            sources.append(f"{name} {split}: {pieces.shape[0] * PIECE_S / 3600:.2f} h")
    if not sources:
        raise DataError(f"no speech to calibrate on in {corpus.data}: expected some of {_names()}")
    info = BackgroundInfo(ear.digest, 0.0, ear.frame_s, settings, sources=tuple(sources))
    parts = {split: np.concatenate(found) for split, found in codes.items() if found}
    correction = _correction(parts, info)
    shifts = measure_shifts(ear, corpus, settings)
    joined = np.concatenate(list(parts.values()))
    info = replace(
        info,
        hours=round(joined.shape[0] * joined.shape[1] * ear.frame_s / 3600, 3),
        correction=round(correction, 3),
        start_shift_samples=shifts.start,
        end_shift_samples=shifts.end,
    )
    return Background(joined, info)


def hear_pieces(ear: Ear, corpus: Corpus, clips: Sequence[Clip]) -> Codes:
    """The codes of clips in streams, in noise, with shape `(B, J, V)`."""
    seconds = sum(clip.seconds for clip in clips)
    laid = lay_clips(corpus, clips, max(1, min(STREAMS, int(seconds / PIECE_S))))
    noise = recorded_noise(corpus, "train", laid.samples.shape)
    snrs_db = np.resize(SNRS_DB, len(laid.samples)).tolist()
    heard = ear.hear(in_noise(laid.samples, noise, snrs_db))
    frames = round(PIECE_S / ear.frame_s)
    ends = np.zeros(len(laid.samples), int)
    for place in laid.placed:
        ends[place.stream] = max(ends[place.stream], place.end_sample // ear.spec.frame_samples)
    whole = [max(frames, end) for end in ends]
    return np.concatenate([encode(row[:end], frames) for row, end in zip(heard, whole, strict=True)])


def _correction(parts: dict[str, Codes], info: BackgroundInfo) -> float:
    """How many times more false accepts come in speech not trained on than in the whole background.

    Never less than 1: other recordings differ in more than in having been trained on.
    """
    if len(parts) < 2:
        return 1.0
    lexicon = Lexicon()
    search = PhraseSearch([ways_of(phrase, lexicon) for phrase in PROBES], info.search)
    seen, unseen = (Background(parts[split], info) for split in ("train", "dev"))
    thresholds = [tail.score_at(PROBE_RATE) for tail in seen.tails(search)]
    both = zip(unseen.tails(search), thresholds, strict=True)
    # The median: one probe that happens to be said in one of the parts must not decide.
    ratio = float(np.median([tail.rate(threshold) / PROBE_RATE for tail, threshold in both]))
    share = len(parts["dev"]) / (len(parts["dev"]) + len(parts["train"]))
    return 1.0 / (share + (1 - share) / max(1.0, ratio))


def measure_shifts(ear: Ear, corpus: Corpus, settings: PhraseSearchSettings) -> Shifts:
    """Compares paths with the times that are known of wake words; 0 without such recordings."""
    clips = corpus.clips(TIMED, "dev") if (corpus.data / TIMED).is_dir() else []
    timed = [clip for clip in clips if clip.details.get("wake") and "wake_start" in clip.details]
    if not timed:
        return Shifts(0, 0)
    lexicon = Lexicon()
    words = sorted({spoken_as(clip) for clip in timed})
    search = PhraseSearch([ways_of(word, lexicon) for word in words], settings)
    laid = lay_clips(corpus, timed, 4)
    scores, starts = scan(ear.hear(laid.samples), search)
    frame, early, late = ear.spec.frame_samples, [], []
    for place in laid.placed:
        clip, first = place.note, place.start_sample // frame
        word = words.index(spoken_as(clip))
        own = scores[place.stream, first : place.end_sample // frame, word]
        last = first + int(own.argmax())
        begin = int(starts[place.stream, last, word])
        early.append(place.start_sample + clip.details["wake_start"] * SAMPLE_RATE - begin * frame)
        late.append(place.start_sample + clip.details["wake_end"] * SAMPLE_RATE - (last + 1) * frame)
    return Shifts(round(float(np.median(early))), round(float(np.median(late))))


def spoken_as(clip: Clip) -> str:
    """The wake word of a clip as it is written in its text ("onword" is "on word")."""
    wake, words = str(clip.details["wake"]), clip.words
    for begin in range(len(words)):
        for end in range(begin + 1, len(words) + 1):
            if "".join(words[begin:end]) == wake:
                return " ".join(words[begin:end])
    return wake


def _some(clips: Sequence[Clip], hours: float) -> list[Clip]:
    """Clips drawn at random, of so many hours."""
    order = np.random.default_rng(SEED).permutation(len(clips))
    taken, seconds = [], 0.0
    for index in order:
        if seconds >= hours * 3600:
            break
        taken.append(clips[index])
        seconds += clips[index].seconds
    return taken


def _names() -> str:
    return ", ".join(sorted({name for name, _ in SOURCES}))


def background_path(ear: Ear) -> Path:
    """Where a model's background lies: beside the weights."""
    return ear.path.with_suffix(SUFFIX)
