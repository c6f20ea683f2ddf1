"""Makes the background file of an acoustic model: what the thresholds of wake phrases are calibrated on.

Part of it is speech of people the model was not trained on (dev); the rest is from its training data, where a
model may be too sure, which is measured and corrected for. All of it is in recorded noise, where phrases
are heard wrongly more often than in the quiet: what is promised must hold there, too.

Where a second pass lies beside the model, there is a background of both passes: what they say of the same
speech. There the second one knows all that follows, while a phrase is looked at when it has just ended: how
many more false accepts that makes is measured, and corrected for as well.

Shape letters: B streams or pieces, J output frames, V labels, H hidden values, P phrases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from auricle.configs.errors import DataError, ModelError
from auricle.models.decoding.background import (
    Background,
    BackgroundInfo,
    Codes,
    encode,
    fit_tail,
)
from auricle.models.decoding.listening import fires_at
from auricle.models.decoding.phrases import Array, PhraseSearch, PhraseSearchSettings, log_posteriors
from auricle.models.decoding.rivals import common_words
from auricle.models.decoding.second_look import SEARCHED_PART, WORD_COST, FirstPass, SecondLook, said_by_both
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.models.phones import BLANK
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.wake_streams import (
    Ear,
    Heard,
    in_noise,
    lay_clips,
    recorded_noise,
    scan,
    scan_again,
)

Source = tuple[str, str]
"""A set and a split."""
S = TypeVar("S", bound=np.generic)

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
SECOND_SNRS_DB = (10.0,)
"""Those of a second pass: it is taken in more often in noise, and less often in the quiet."""
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
LOOK_RATE = 5.0
"""False accepts per hour at which a second look is compared with the second pass on whole pieces."""
TIMED = "wuw2"
"""The set that says when its wake words begin and end."""


class Pieces(NamedTuple):
    """Speech as a model and its second pass heard it."""

    codes: Codes  # (B, J, V)
    again: Codes | None  # (B, J, V + 2), of both passes, and what common words explain of that
    first: FirstPass | None  # (B, J, V) and (B, J, H), what the second one judged


class Shifts(NamedTuple):
    """From the frames of a path to the phrase, in samples."""

    start: int
    end: int


def calibrate(
    ear: Ear, corpus: Corpus, settings: PhraseSearchSettings, hours_part: float = 1.0
) -> tuple[Background, Background | None]:
    """Hears all sources; several minutes.

    Args:
        ear: the model, with a second pass or without.
        corpus: the data.
        settings: the search that goes with the model.
        hours_part: how much of the listed hours to take.

    Returns:
        The background of the model, and that of both passes where there is a second one.

    Raises:
        ModelError: the model is no CTC model of phones.
        DataError: there is not a minute of speech of any source.
    """
    if ear.spec.kind != "acoustic" or ear.spec.labels[0] != BLANK:
        raise ModelError(f"{ear.path} is no acoustic model with blanks: wake phrases need one")
    drawn = draw_clips(corpus, hours_part)
    info = BackgroundInfo(ear.digest, 0.0, ear.frame_s, settings)
    heard = {source: hear_pieces(ear, corpus, clips, SNRS_DB) for source, clips in drawn.items()}
    shifts = measure_shifts(ear, corpus, settings)
    moved = replace(info, start_shift_samples=shifts.start, end_shift_samples=shifts.end)
    first = _background({source: pieces.codes for source, pieces in heard.items()}, moved)
    if ear.second is None:
        return first, None
    heard = {
        source: hear_pieces(ear, corpus, clips, SECOND_SNRS_DB, settings) for source, clips in drawn.items()
    }
    return first, _of_both(ear, heard, info)


def draw_clips(corpus: Corpus, hours_part: float = 1.0) -> dict[Source, list[Clip]]:
    """Draws the recordings of each source, of so much of the listed hours.

    Raises:
        DataError: there is not a minute of speech of any source.
    """
    drawn = {
        (name, split): _some(corpus.clips(name, split), hours * hours_part)
        for (name, split), hours in SOURCES.items()
        if (corpus.data / name).is_dir()
    }
    # Speech is searched in pieces of a minute: what is shorter would be judged by the silence around it.
    drawn = {
        source: clips for source, clips in drawn.items() if sum(clip.seconds for clip in clips) >= PIECE_S
    }
    if not drawn:
        raise DataError(
            f"no speech to calibrate on in {corpus.data}: expected {PIECE_S} s or more of some of {_names()}"
        )
    return drawn


def _of_both(ear: Ear, heard: Mapping[Source, Pieces], info: BackgroundInfo) -> Background:
    """The background of both passes, corrected for what a look that comes at once does not know."""
    searched = _background({source: pieces.codes for source, pieces in heard.items()}, info)
    again = {source: pieces.again for source, pieces in heard.items() if pieces.again is not None}
    info = replace(info, model=ear.second_digest, searched_part=SEARCHED_PART)
    both = _background(again, replace(info, words=common_words().digest, word_cost=WORD_COST))
    judged = {source: pieces.first for source, pieces in heard.items() if pieces.first is not None}
    every = Heard(
        *(
            np.concatenate([*_by_split({source: first[kind] for source, first in judged.items()}).values()])
            for kind in range(2)
        )
    )
    more = _look_correction(searched, both, every, SecondLook(both, ear.look_at_one))
    return Background(both.stored, replace(both.info, correction=round(both.info.correction * more, 3)))


def _background(codes: Mapping[Source, Codes], info: BackgroundInfo) -> Background:
    """Joins the pieces of all sources, and corrects for those that were trained on."""
    parts = _by_split(codes)
    correction = _correction(parts, info)
    every = np.concatenate(list(parts.values()))
    hours = every.shape[0] * every.shape[1] * info.frame_s / 3600
    sources = tuple(f"{' '.join(one)}: {len(codes[one]) * PIECE_S / 3600:.2f} h" for one in codes)
    info = replace(info, hours=round(hours, 3), correction=round(correction, 3), sources=sources)
    return Background(every, info)


def _by_split(found: Mapping[Source, npt.NDArray[S]]) -> dict[str, npt.NDArray[S]]:
    """Joins what was found of all sources of a split; those not trained on come first."""
    splits = sorted({split for _, split in found})
    return {
        split: np.concatenate([one for source, one in found.items() if source[1] == split])
        for split in splits
    }


def hear_pieces(
    ear: Ear,
    corpus: Corpus,
    clips: Sequence[Clip],
    snrs_db: Sequence[float],
    settings: PhraseSearchSettings | None = None,
) -> Pieces:
    """Hears clips in streams, and cuts what is made of them into pieces.

    Args:
        ear: the model.
        corpus: the data.
        clips: what is heard.
        snrs_db: ratios to the noise that is added, stream by stream in turn.
        settings: the search that both passes are to be heard for; None where the second one is not asked.
    """
    seconds = sum(clip.seconds for clip in clips)
    laid = lay_clips(corpus, clips, max(1, min(STREAMS, int(seconds / PIECE_S))))
    noise = recorded_noise(corpus, "train", laid.samples.shape)
    noisy = in_noise(laid.samples, noise, np.resize(snrs_db, len(noise)).tolist())
    heard = ear.hear_all(noisy, hidden=settings is not None)
    frames = round(PIECE_S / ear.frame_s)
    ends = np.zeros(len(laid.samples), int)
    for place in laid.placed:
        ends[place.stream] = max(ends[place.stream], place.end_sample // ear.spec.frame_samples)
    whole = [max(frames, end) // frames * frames for end in ends]
    codes = _coded(heard.log_probs, whole, frames)
    if heard.hidden is None or settings is None:
        return Pieces(codes, None, None)
    first = FirstPass(*(_in_pieces(values, whole, frames) for values in (heard.log_probs, heard.hidden)))
    second = log_posteriors(np.concatenate([ear.look_again(piece[None]) for piece in first.hidden]))
    said = said_by_both(first.log_probs, second, SEARCHED_PART)
    words = common_words().hear(said, settings).encode()
    again = np.concatenate([_coded(said, [frames] * len(said), frames), words], 2)
    return Pieces(codes, again, first)


def _in_pieces(values: Array, ends: Sequence[int], frames: int) -> Array:
    """Cuts streams up to their ends into pieces of so many frames."""
    return np.concatenate(
        [row[:end].reshape(-1, frames, row.shape[1]) for row, end in zip(values, ends, strict=True)]
    )


def _coded(log_probs: Array, ends: Sequence[int], frames: int) -> Codes:
    """The codes of streams up to their ends, in pieces of so many frames."""
    return np.concatenate([encode(row[:end], frames) for row, end in zip(log_probs, ends, strict=True)])


def _look_correction(first: Background, both: Background, heard: Heard, look: SecondLook) -> float:
    """How many times more false accepts come of second looks than of both passes on whole pieces.

    Never less than 1.

    Args:
        first: what the search fires candidates in.
        both: the same speech as both passes heard it, all at once.
        heard: the same speech, with the values that the second one judged.
        look: judges candidates.
    """
    lexicon = Lexicon()
    probes = [ways_of(phrase, lexicon) for phrase in PROBES]
    searched, whole = (one.tails(PhraseSearch(probes, one.info.search)) for one in (first, both))
    fires = [fires_at(tail, LOOK_RATE) for tail in searched]
    scores = scan_again(heard, probes, first.info.search, look, fires)
    looked = [fit_tail(scores[..., probe], both.info) for probe in range(len(probes))]
    thresholds = [tail.score_at(LOOK_RATE) for tail in whole]
    above, above_whole = (
        sum(int((tail.scores >= least).sum()) for tail, least in zip(found, thresholds, strict=True))
        for found in (looked, whole)
    )
    return max(1.0, above / max(1, above_whole))


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
    return corrected(ratio, len(parts["dev"]) / (len(parts["dev"]) + len(parts["train"])))


def corrected(ratio: float, share: float) -> float:
    """How many times more comes in speech not trained on than in all of it.

    Args:
        ratio: how many times more than in speech trained on.
        share: its part of all.
    """
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
