"""Streams to learn keywords from: words on end, digits, other words, sentences, sounds and silence.

Sentences and sounds are BACKGROUND: silence or unknown, whichever the model prefers, but no keyword.
Sentences that hold a keyword are left out: when it is spoken in them is not known.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.found_words import read_found
from auricle.pipelines.sounds import (
    NoiseConfig,
    NoisePlanner,
    change_speed,
    noise_clips,
    read_clip,
    speech_at_reference,
    to_reference,
    weighted,
)
from auricle.pipelines.streams import Piece, Planner
from auricle.pipelines.synthesis import SET as SYNTHETIC
from auricle.pipelines.synthesis import synthesise
from auricle.pipelines.targets import (
    BACKGROUND,
    HOP_SAMPLES,
    Floats,
    Word,
    WordRule,
    active_level_db,
    find_word,
    find_words,
    hop_levels_db,
    word_targets,
)
from auricle.pipelines.vocabulary import (
    COMMANDS,
    DIGITS,
    HOMOPHONES,
    KEYWORDS,
    LABELS,
    SILENCE,
    SILENCE_INDEX,
    UNKNOWN,
    UNKNOWN_INDEX,
    synthesis_plan,
)


@dataclass(frozen=True)
class KeywordData:
    """What keyword streams are made of; parts are relative numbers of pieces."""

    words: tuple[str, ...] = ("speechcommands", "fsdd", "asterisk")
    """Sets with clips of single words."""
    others: tuple[str, ...] = ("englishccc", "wakewords", "asterisk")
    """Sets of which clips without any keyword are unknown words."""
    strings: tuple[str, ...] = ("speechocean762",)
    """Sets with strings of digits, cut into single ones where the pauses allow."""
    sentences: tuple[str, ...] = (
        "librispeech",
        "libridevclean",
        "commonvoice",
        "speechocean762",
        "wuw2",
        "kathleen",
        "ljspeech",
        "vctk",
        "vctk4",
    )
    dev_words: tuple[str, ...] = ("speechcommands", "fsdd")
    dev_sentences: tuple[str, ...] = ("librispeech", "commonvoice", "speechocean762", "wuw2")
    synthetic: bool = True
    """Whether to synthesise words of which there are few recordings."""
    synthetic_seed: int = 1
    """Decides voices, speeds and pitches; another one means synthesising anew (minutes)."""
    synthetic_share: float = 0.22
    """Weight of a synthetic word against a recorded one (both grow with the root of their number)."""
    fluent: bool = True
    """Whether to use the words that `mining` found in sentences."""
    fluent_share: float = 0.3
    """Weight of such a word against a single one."""
    early_weight: float = 0.5
    """Of the loss in the part of a word that may be another's: silence and the word are both right there."""
    background_weight: float = 1.2
    """Of the loss where no keyword is spoken, against 1 where one is: higher means fewer false alarms."""
    silence_weight: float = 0.5
    """Of the loss in silence: easy and long, it must not drown the words."""
    noise: NoiseConfig = field(default_factory=lambda: NoiseConfig(babble_part=0.15))
    command_part: float = 0.36
    digit_part: float = 0.18
    unknown_part: float = 0.15
    sentence_part: float = 0.14
    fragment_part: float = 0.05
    sound_part: float = 0.04
    pause_part: float = 0.12
    tight_part: float = 0.3
    """Part of the words cut close to where they begin and end, as in fluent speech."""
    far_part: float = 0.35
    """Part of the words and sentences whose level lies anywhere in `far_low_db` to `far_high_db`."""
    far_low_db: float = -22.0
    """Against the level of a stream. Recordings of people on their own machines differ by 40 dB and more."""
    far_high_db: float = 10.0
    rule: WordRule = field(default_factory=WordRule)
    teachers: tuple[str, ...] = ()
    """Models, shipped ones by name or paths, that hear each stream without rooms and noise: what they say of
    it on average is learnt beside the labels."""
    teacher_weight: float = 0.5
    """Of what the teachers say, against 1 for the labels."""
    consistency_weight: float = 0.0
    """Above 0: of the streams every two are one, in other rooms and other noise, and what is said of the two
    is drawn together with this weight."""


@dataclass(frozen=True)
class WordClip:
    """A word somewhere in a clip; without `place` it is found by energy."""

    clip: Clip
    label: int
    place: Word | None = None
    share: float = 1.0
    """Weight against words of the same label in other sets."""


class WordPlanner:
    """Makes the pieces of keyword streams."""

    def __init__(self, corpus: Corpus, data: KeywordData, split: str) -> None:
        """Sorts the clips of `split` ("train" or "dev") by what they are good for."""
        self.corpus, self.data = corpus, data
        train = split == "train"
        self.by_label: dict[int, list[WordClip]] = {label: [] for label in range(len(LABELS))}
        self._list_words(split, data.words if train else data.dev_words)
        if train:
            self._list_words(split, tuple(name for name in data.others if name not in data.words))
            self._list_strings(data.strings)
            if data.fluent:
                self._list_fluent()
            if data.synthetic:
                for clip in synthesise(corpus.work, synthesis_plan(), data.synthetic_seed):
                    self._add(clip)
        self.draw = {label: self._weigh(words) for label, words in self.by_label.items() if words}
        if missing := [word for word in KEYWORDS if LABELS.index(word) not in self.draw and train]:
            raise DataError(f"no {split} clips of {', '.join(sorted(missing))}: add a set that has them")
        self.sentences = self._list_sentences(split, data.sentences if train else data.dev_sentences)
        self.draw_sentence = weighted(self.sentences, [clip.seconds**0.5 for clip in self.sentences])
        self.noise = NoisePlanner(
            corpus, noise_clips(corpus, data.noise.sets, split, voices=True), self.sentences, data.noise
        )
        self.kinds: tuple[tuple[float, Planner], ...] = (
            (data.command_part, self._command),
            (data.digit_part, self._digit),
            (data.unknown_part, self._unknown),
            (data.sentence_part, self._phrase),
            (data.fragment_part, self._fragment),
            (data.sound_part, self._sound),
            (data.pause_part, self._pause),
        )
        self.clips = [word.clip for words in self.by_label.values() for word in words] + self.sentences
        self.clips += self.noise.clips

    def _list_words(self, split: str, sets: Sequence[str]) -> None:
        for name in sets:
            for clip in self.corpus.clips(name, split):
                if clip.label or len(clip.words) == 1:
                    self._add(clip)

    def _add(self, clip: Clip) -> None:
        word = " ".join(clip.words)
        if clip.label == SILENCE:  # a recording of nothing; one whose text is "silence" is a word
            label = SILENCE_INDEX
        elif word in KEYWORDS:
            label = LABELS.index(word)
        elif set(clip.words) & (KEYWORDS | HOMOPHONES):
            return
        else:
            label = UNKNOWN_INDEX
        scarce = clip.set == SYNTHETIC and label != UNKNOWN_INDEX
        share = self.data.synthetic_share if scarce else 1.0
        self.by_label[label].append(WordClip(clip, label, share=share))

    def _list_strings(self, sets: Sequence[str]) -> None:
        """Cuts strings of digits apart where there are exactly as many bursts of speech as words."""
        for clip in (clip for name in sets for clip in self.corpus.clips(name, "train")):
            if not clip.words or not set(clip.words) <= set(DIGITS):
                continue
            for text, place in zip(
                clip.words,
                find_words(hop_levels_db(self.corpus.audio(clip)), len(clip.words)),
                strict=False,
            ):
                label = LABELS.index(text)
                self.by_label[label].append(WordClip(clip, label, place))

    def _list_fluent(self) -> None:
        """Adds words inside sentences, where their time is known."""
        found = read_found()
        clips = {
            (name, clip.id): clip
            for name in sorted({entry.set for entry in found} & set(self.data.sentences + self.data.words))
            for clip in self.corpus.clips(name, "train")
        }
        for entry in found:
            if clip := clips.get((entry.set, entry.id)):
                label = LABELS.index(entry.word) if entry.word in KEYWORDS else UNKNOWN_INDEX
                self.by_label[label].append(WordClip(clip, label, entry.place, self.data.fluent_share))

    @staticmethod
    def _weigh(words: Sequence[WordClip]) -> Callable[[np.random.Generator], WordClip]:
        """Weights sets of clips by the root of their size and their share."""
        counts = Counter((word.clip.set, word.share) for word in words)
        return weighted(words, [word.share * counts[word.clip.set, word.share] ** -0.5 for word in words])

    def _list_sentences(self, split: str, sets: Sequence[str]) -> list[Clip]:
        forbidden = KEYWORDS | HOMOPHONES
        clips = [clip for name in sets for clip in self.corpus.clips(name, split)]
        return [clip for clip in clips if clip.text and not set(clip.words) & forbidden]

    def __call__(self, rng: np.random.Generator) -> Piece:
        """Draws a word, a sentence or what lies between them."""
        place = rng.random() * sum(part for part, _ in self.kinds)
        for part, make in self.kinds:
            place -= part
            if place < 0:
                return make(rng)
        return self._pause(rng)

    def _command(self, rng: np.random.Generator) -> Piece:
        return self._word(rng, COMMANDS[rng.integers(len(COMMANDS))])

    def _digit(self, rng: np.random.Generator) -> Piece:
        return self._word(rng, DIGITS[rng.integers(len(DIGITS))])

    def _unknown(self, rng: np.random.Generator) -> Piece:
        return self._word(rng, UNKNOWN)

    def _phrase(self, rng: np.random.Generator) -> Piece:
        return self._sentence(rng, 1.5, 6.0)

    def _fragment(self, rng: np.random.Generator) -> Piece:
        return self._sentence(rng, 0.25, 0.9)

    def _word(self, rng: np.random.Generator, label: str) -> Piece:
        return self.speak(rng, self.draw[LABELS.index(label)](rng))

    def speak(self, rng: np.random.Generator, word: WordClip) -> Piece:
        """Makes a piece of a word, at some speed and level."""
        samples, place = self.cut(word, rng.uniform(0.9, 1.1))
        if rng.random() < self.data.tight_part:
            start = max(0, place.start - int(rng.integers(12)))
            end = place.end + int(rng.integers(-4, 14))
            samples = samples[start * HOP_SAMPLES : end * HOP_SAMPLES]
            place = Word(place.start - start, place.end - start)
        count = len(samples) // HOP_SAMPLES
        targets = word_targets(count, place, word.label, self.data.rule)
        return Piece(samples * np.float32(10 ** (self._offset_db(rng) / 20)), targets)

    def _offset_db(self, rng: np.random.Generator) -> float:
        """Draws how much louder a piece is than the reference level."""
        data = self.data
        if rng.random() < data.far_part:
            return float(rng.uniform(data.far_low_db, data.far_high_db))
        return float(rng.uniform(-6, 6))

    def cut(self, word: WordClip, speed: float = 1.0) -> tuple[Floats, Word]:
        """Returns a word's clip at the reference level and where the word lies in it."""
        samples = read_clip(self.corpus, word.clip)
        place = word.place
        if place is not None:
            before, after = max(0, place.start - 6), place.end + 8
            samples = samples[before * HOP_SAMPLES : after * HOP_SAMPLES]
            place = Word(place.start - before, place.end - before)
        samples = change_speed(samples, speed)
        levels = hop_levels_db(samples)
        if place is None:
            place = find_word(levels)
        else:
            place = Word(round(place.start / speed), min(len(levels), round(place.end / speed)))
        return to_reference(samples, active_level_db(levels)), place

    def speech(self, clip: Clip) -> Floats:
        """Returns a whole sentence at the reference level."""
        return speech_at_reference(read_clip(self.corpus, clip))

    def _sentence(self, rng: np.random.Generator, shortest_s: float, longest_s: float) -> Piece:
        clip = self.draw_sentence(rng)
        count = int(rng.uniform(shortest_s, longest_s) * SAMPLE_RATE)
        start = int(rng.integers(max(1, clip.length_samples - count)))
        samples = change_speed(read_clip(self.corpus, clip, start, count), rng.uniform(0.9, 1.1))
        samples = speech_at_reference(samples, self._offset_db(rng))
        return Piece(samples, np.full(len(samples) // HOP_SAMPLES, BACKGROUND, np.int16))

    def _sound(self, rng: np.random.Generator) -> Piece:
        if SILENCE_INDEX in self.draw and rng.random() < 0.3:
            samples = read_clip(self.corpus, self.draw[SILENCE_INDEX](rng).clip)
        else:
            samples = self.noise.recorded(rng, int(rng.uniform(0.5, 3.0) * SAMPLE_RATE))
            samples = samples * np.float32(10 ** (rng.uniform(-25, 3) / 20))
        return Piece(samples, np.full(len(samples) // HOP_SAMPLES, BACKGROUND, np.int16))

    def _pause(self, rng: np.random.Generator) -> Piece:
        longest = 0.5 if rng.random() < 0.8 else 3.0
        hops = max(1, int(rng.uniform(0, longest) * 100))
        return Piece(np.zeros(hops * HOP_SAMPLES, np.float32), np.full(hops, SILENCE_INDEX, np.int16))
