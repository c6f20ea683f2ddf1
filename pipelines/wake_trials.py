"""Recordings to judge wake phrases by, laid in streams: those of a split, or of a user.

What a phrase scores in recordings of other speech is a false accept. None are counted in recordings of wake
phrases: these sets hold near misses made on purpose, and each other's phrases.

Shape letters: B streams, N samples.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.models.lexicon import Lexicon
from auricle.pipelines.calibrate import spoken_as
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.recorded import Recorded
from auricle.pipelines.streams import Placed
from auricle.pipelines.wake_streams import GAP_SAMPLES, lay_clips

POSITIVES = ("wakewords", "wuw2")
SETS = (*POSITIVES, "librispeech", "commonvoice", "speechocean762", "speechcommands", "fsdd")
STREAMS = 8
LEAST_OTHER_S = 60.0
"""Of other speech there must be so much at least for false accepts to be counted."""
LATE_SAMPLES = round(0.4 * SAMPLE_RATE)
"""A phrase may be heard so long after the end of its recording."""
MOST_PHRASES = 8
FEWEST = 20
"""A text with fewer recordings is no phrase to be judged."""
OPENING_SETS = ("librispeech", "commonvoice", "speechocean762")
OPENING_PHONES = range(7, 14)
"""How long the openings of sentences are that are judged as phrases: as long as wake phrases are."""


class Trials(NamedTuple):
    """What is judged: streams, and which recording holds which phrase."""

    phrases: tuple[str, ...]
    placed: list[Placed]  # the note of each is its clip
    samples: torch.Tensor  # (B, N)
    hours: float  # of the streams, silence between recordings included

    @property
    def other_hours(self) -> float:
        """Duration of the other speech, in which false accepts are counted, without silence after each."""
        others = [place for place in self.placed if is_other_speech(place.note)]
        spoken = sum(place.end_sample - place.start_sample - GAP_SAMPLES for place in others)
        return spoken / SAMPLE_RATE / 3600

    def phrase_of(self, clip: Clip) -> int | None:
        """Number of the phrase that a clip holds."""
        text = text_of(clip)
        return self.phrases.index(text) if text in self.phrases else None


def parts_of(trials: Trials, frames: int, frame_samples: int) -> NDArray[np.intp]:
    """Which recording of a wake phrase each of so many frames belongs to, `(B, J)`; 0 for other speech.

    The silence behind a recording is part of it, and nothing of the next one.

    Args:
        trials: the streams.
        frames: how many are judged.
        frame_samples: samples of each.
    """
    parts = np.zeros((len(trials.samples), frames), np.intp)
    for number, place in enumerate(trials.placed, start=1):
        if not is_other_speech(place.note):
            parts[place.stream, place.start_sample // frame_samples : place.end_sample // frame_samples] = (
                number
            )
    return parts


def text_of(clip: Clip) -> str:
    """The wake phrase of a recording of wake phrases; "" for all others."""
    if clip.set == "wakewords":
        return " ".join(clip.words)
    return spoken_as(clip) if clip.details.get("wake") else ""


def is_other_speech(clip: Clip) -> bool:
    """Whether what is heard in a clip is a false accept."""
    return clip.set not in POSITIVES and not clip.details.get("wake")


def lay_trials(corpus: Corpus, split: str, most: int = 0) -> Trials:
    """Lays all recordings of a split, shuffled, in streams; `most` of each set, 0 for all.

    Raises:
        DataError: none is of a wake phrase.
    """
    clips: list[Clip] = []
    for name in SETS:
        found = corpus.clips(name, split) if (corpus.data / name).is_dir() else []
        order = np.random.default_rng(0).permutation(len(found))[: most or None]
        clips += [found[index] for index in order]
    counts = _count(clips)
    known = [text for text, count in counts.items() if count >= min(FEWEST, most // 3 or FEWEST)]
    phrases = sorted(sorted(sorted(known), key=lambda text: -counts[text])[:MOST_PHRASES])
    if not phrases:
        raise DataError(f"no recordings of wake phrases in split '{split}' of {corpus.data}")
    return _lay(corpus, clips, phrases)


def lay_openings(corpus: Corpus, split: str, count: int) -> Trials:
    """Lays sentences of a split in streams: so many say a phrase, by how they begin, and the others none.

    Such a phrase is said once, by one person, who mostly goes on talking; but there are as many phrases as
    sentences, where recorded wake phrases are a handful.

    Raises:
        DataError: there are not so many sentences, or too few others.
    """
    clips = [
        clip for name in OPENING_SETS if (corpus.data / name).is_dir() for clip in corpus.clips(name, split)
    ]
    texts, lexicon = [f" {' '.join(clip.words)} " for clip in clips], Lexicon()
    said: dict[int, str] = {}
    for number in np.random.default_rng(2).permutation(len(clips)).tolist():
        opening = _opening(clips[number].words, lexicon)
        if len(said) < count and opening and sum(f" {opening} " in text for text in texts) == 1:
            said[number] = opening
    others = [clip for number, clip in enumerate(clips) if number not in said]
    if len(said) < count or sum(clip.seconds for clip in others) < LEAST_OTHER_S:
        raise DataError(
            f"{len(clips)} sentences in split '{split}' of {corpus.data}: too few for {count} that begin as "
            "no other does, and a minute of others to count false accepts in"
        )
    own = [
        replace(clips[number], details={**clips[number].details, "wake": said[number].replace(" ", "")})
        for number in said
    ]
    return _lay(corpus, [*own, *others], sorted(said.values()))


def _opening(words: Sequence[str], lexicon: Lexicon) -> str:
    """The fewest first words that are as long as a wake phrase; "" if there are none."""
    for count in range(1, len(words) + 1):
        phones = sum(len(lexicon.spoken(word)[0]) for word in words[:count])
        if phones in OPENING_PHONES:
            return " ".join(words[:count])
        if phones >= OPENING_PHONES.stop:
            break
    return ""


def lay_recorded(recorded: Recorded, most: int = 0) -> Trials:
    """Lays recordings of a user in streams: those with `wake` say that phrase, the others none.

    Of the others all are taken, of those with a phrase `most`, 0 for all.

    Raises:
        DataError: either is missing.
    """
    others = [clip for clip in recorded.clips if is_other_speech(clip)]
    said = [clip for clip in recorded.clips if not is_other_speech(clip)][: most or None]
    phrases = sorted(_count(said))
    if not phrases:
        raise DataError('no wake phrase in the recordings: their lines need "wake", such as "hey lamp"')
    other_s = sum(clip.seconds for clip in others)
    if other_s < LEAST_OTHER_S:
        raise DataError(
            f"{other_s:.0f} s of recordings without `wake`, in which false accepts are counted: expected "
            f"{LEAST_OTHER_S:.0f} s or more, better hours, of speech without the phrase"
        )
    return _lay(recorded.corpus, [*said, *others], phrases)


def _count(clips: Sequence[Clip]) -> Counter[str]:
    """How many recordings there are of each phrase."""
    return Counter(text for clip in clips if (text := text_of(clip)))


def _lay(corpus: Corpus, clips: Sequence[Clip], phrases: Sequence[str]) -> Trials:
    order = np.random.default_rng(1).permutation(len(clips))
    # Streams are as long as the longest: around one long recording their silence would count as speech.
    seconds = [clip.seconds for clip in clips]
    streams = max(1, min(STREAMS, int(sum(seconds) / (4 * max(seconds)))))
    laid = lay_clips(corpus, [clips[index] for index in order], streams)
    return Trials(tuple(phrases), laid.placed, laid.samples, laid.hours)
