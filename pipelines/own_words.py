"""Streams to learn a user's own words from: his recordings, and negatives from wherever there are some.

Negatives are sentences and words of a data folder, where there is one; other words that he recorded; and,
always, his recordings played backwards, or their end before their beginning.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auricle.configs.errors import ConfigError
from auricle.models.lexicon import WORD, Lexicon, dictionary
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.keyword_data import KeywordData, WordClip, WordPlanner
from auricle.pipelines.own_recordings import NOISE, OwnRecordings
from auricle.pipelines.sounds import NoisePlanner, coloured_noise, noise_clips, weighted
from auricle.pipelines.streams import Piece, Planner
from auricle.pipelines.targets import BACKGROUND, HOP_SAMPLES, Floats
from auricle.pipelines.vocabulary import SILENCE, UNKNOWN, UNKNOWN_INDEX

logger = logging.getLogger(__name__)

MADE_UP_PART = 0.12
"""Part of the pieces that are a user's recordings in disorder, against the parts in `KeywordData`."""


@dataclass(frozen=True)
class OwnWords:
    """What a user wants to have spotted."""

    words: tuple[str, ...] = ()
    """In the order of the model's labels; none for the words that Auricle ships with."""

    def __post_init__(self) -> None:
        """Checks that they can be words and labels.

        Raises:
            ConfigError: they cannot; the message names the first one.
        """
        for word in self.words:
            if word in (SILENCE, UNKNOWN) or not all(map(WORD.fullmatch, word.split() or [""])):
                raise ConfigError(
                    f"'{word}' cannot be a word to spot: expected letters, lower case, and neither "
                    f"'{SILENCE}' nor '{UNKNOWN}', which stand for everything else"
                )
        if len(set(self.words)) != len(self.words):
            raise ConfigError(f"a word is given twice: {', '.join(self.words)}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the model."""
        return (SILENCE, UNKNOWN, *self.words)


class OwnNoise(NoisePlanner):
    """Noise from recordings where there are some, else coloured noise."""

    def recorded(self, rng: np.random.Generator, count: int) -> Floats:
        """Draws up to so many samples, at the reference level."""
        return super().recorded(rng, count) if self.clips else coloured_noise(rng, count)


class OwnPlanner(WordPlanner):
    """Makes the pieces of streams with a user's words."""

    def __init__(
        self, corpus: Corpus, data: KeywordData, own: OwnWords, recordings: OwnRecordings, split: str
    ) -> None:
        """Sorts recordings, and what the data folder has of the sets that `data` names, for one split."""
        self.corpus, self.data = corpus, data
        clips = recordings.train if split == "train" else recordings.dev
        self.by_label = {label: [] for label in range(len(own.labels))}
        for clip in clips:
            label = own.labels.index(clip.label) if clip.label in own.words else UNKNOWN_INDEX
            self.by_label[label].append(WordClip(clip, label))
        taken = frozenset(word for text in own.words for word in text.split())
        avoided = taken | sound_alikes(taken)
        sets = (*data.words, *data.others) if split == "train" else data.dev_words
        unknown = [clip for clip in self._clips(sets, split) if clip.words and not set(clip.words) & avoided]
        unknown = [clip for clip in unknown if clip.label != SILENCE and len(clip.words) == 1]
        self.by_label[UNKNOWN_INDEX] += [WordClip(clip, UNKNOWN_INDEX) for clip in unknown]
        talk = self._clips(data.sentences if split == "train" else data.dev_sentences, split)
        self.sentences = [clip for clip in talk if clip.text and not set(clip.words) & avoided]
        self.draw = {label: self._weigh(words) for label, words in self.by_label.items() if words}
        self.own = [word for label, words in self.by_label.items() if label > UNKNOWN_INDEX for word in words]
        noise = recordings.noise + self._noise_clips(data.noise.sets, split)
        babble = self.sentences or [word.clip for word in self.own]
        if not noise and split == "train":
            logger.warning(
                "no noise: it is made up; put recordings of your rooms into a folder %s beside the words",
                NOISE,
            )
        self.noise = OwnNoise(corpus, noise, babble, data.noise)
        self.kinds = self._choose_kinds()
        self.clips = [word.clip for words in self.by_label.values() for word in words] + self.sentences
        self.clips += noise

    def _clips(self, sets: Sequence[str], split: str) -> list[Clip]:
        """The clips of those sets that the data folder has."""
        there = [name for name in sets if (self.corpus.data / name / f"{split}.jsonl").exists()]
        return [clip for name in there for clip in self.corpus.clips(name, split)]

    def _noise_clips(self, sets: Sequence[str], split: str) -> list[Clip]:
        there = [name for name in sets if (self.corpus.data / name / "train.jsonl").exists()]
        return noise_clips(self.corpus, there, split, voices=True) if there else []

    def _choose_kinds(self) -> tuple[tuple[float, Planner], ...]:
        """What can be made of what there is, and how often."""
        data = self.data
        kinds: list[tuple[float, Planner]] = [
            (data.command_part + data.digit_part, self._own),
            (MADE_UP_PART, self.made_up),
            (data.sound_part, self._sound),
            (data.pause_part, self._pause),
        ]
        if UNKNOWN_INDEX in self.draw:
            kinds.append((data.unknown_part, self._other))
        if self.sentences:
            self.draw_sentence = weighted(self.sentences, [clip.seconds**0.5 for clip in self.sentences])
            kinds += [(data.sentence_part, self._phrase), (data.fragment_part, self._fragment)]
        return tuple(kinds)

    def _own(self, rng: np.random.Generator) -> Piece:
        labels = [label for label in self.draw if label > UNKNOWN_INDEX]
        return self.speak(rng, self.draw[labels[rng.integers(len(labels))]](rng))

    def _other(self, rng: np.random.Generator) -> Piece:
        return self.speak(rng, self.draw[UNKNOWN_INDEX](rng))

    def made_up(self, rng: np.random.Generator) -> Piece:
        """Makes something like the words, but none of them: backwards, or its end before its beginning."""
        one = self.own[rng.integers(len(self.own))]
        samples, place = self.cut(one, rng.uniform(0.9, 1.1))
        samples = samples[place.start * HOP_SAMPLES : place.end * HOP_SAMPLES]
        if rng.random() < 0.5:
            samples = samples[::-1].copy()
        else:  # its end before its beginning
            middle = int(rng.uniform(0.4, 0.6) * len(samples))
            samples = np.concatenate([samples[middle:], samples[:middle]])
        samples = samples * np.float32(10 ** (rng.uniform(-6, 6) / 20))
        return Piece(samples, np.full(len(samples) // HOP_SAMPLES, BACKGROUND, np.int16))

    def _sound(self, rng: np.random.Generator) -> Piece:
        samples = self.noise.recorded(rng, int(rng.uniform(0.5, 3.0) * SAMPLE_RATE))
        samples = samples * np.float32(10 ** (rng.uniform(-25, 3) / 20))
        return Piece(samples, np.full(len(samples) // HOP_SAMPLES, BACKGROUND, np.int16))


def sound_alikes(words: frozenset[str]) -> frozenset[str]:
    """Other words that may be spoken exactly as one of these: they are no negatives."""
    lexicon = Lexicon()
    ways = {way for word in words for way in lexicon.spoken(word)}
    return frozenset(word for word, spoken in dictionary().items() if ways & set(spoken)) - words
