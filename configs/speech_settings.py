"""Settings of what is decoded from phones: wake phrases, commands, transcripts; when an utterance ends."""

import math
import re
from collections.abc import Sequence

from pydantic import Field, field_validator

from auricle.configs.detector_settings import Cell
from auricle.configs.section import Section, Strings, check_unique


class AcousticSettings(Section):
    """The acoustic model that wake phrases, commands and transcripts share."""

    model: str = Field(
        default="acoustic", min_length=1, description="Name of a shipped model, or path of a model file."
    )
    cell: Cell = Field(default="lstm", description="What remembers in the shipped model.")
    lexicon: str = Field(
        default="",
        description="File of pronunciations that come before the dictionary's, `word PHONE PHONE` a line; "
        '"" = auricle/lexicon.txt in $XDG_CONFIG_HOME (~/.config), which `auricle say-it --add` writes.',
    )


class WakeSettings(Section):
    """A wake phrase, typed: `wake`."""

    phrase: str = Field(min_length=1, description='What is said, such as "hey auricle".')
    pronunciations: Strings = Field(
        default=(),
        description='How it may be said, each a list of ARPAbet phones, such as "HH EY AO R IH K AH L"; '
        "[] = as the lexicon says, or else the letters (`auricle say-it PHRASE` shows it).",
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="It is heard at this score (0 to 1); 0 = where false_accepts_per_hour says.",
    )
    false_accepts_per_hour: float = Field(
        default=0.5,
        gt=0,
        le=3600,
        description="How often it may be heard wrongly in an hour of speech (per hour); for threshold = 0.",
    )
    refractory_ms: int = Field(
        default=1000, ge=0, le=60_000, description="It is not heard again for this long (ms)."
    )
    verifier: str = Field(
        default="",
        description="File that `auricle train wake` fitted to recordings of the phrase: it looks again at "
        'what was heard; "" = none.',
    )
    second_pass: bool = Field(
        default=True,
        description="Look again at what was heard with the acoustic model's second pass, if it has one, and "
        "no verifier is set.",
    )

    @property
    def looks_again(self) -> bool:
        """Whether the second pass is wanted."""
        return self.second_pass and not self.verifier

    @field_validator("phrase", mode="after")
    @classmethod
    def _phrase_has_letters(cls, phrase: str) -> str:
        if not any(character.isalnum() for character in phrase):
            raise ValueError(f'expected words, such as "hey auricle", got {phrase!r}')
        return phrase


def check_phrases(wake: Sequence[WakeSettings]) -> None:
    """Refuses two entries for one phrase.

    Raises:
        ValueError: a phrase occurs more than once, letter case aside.
    """
    check_unique("wake phrase", [" ".join(entry.phrase.lower().split()) for entry in wake])


class EndpointSettings(Section):
    """When an utterance ends, for commands and transcripts; silence is counted from the last speech."""

    no_speech_ms: int = Field(
        default=2400, ge=0, le=60_000, description="Silence that ends it while no word is recognised (ms)."
    )
    after_partial_ms: int = Field(
        default=1000, ge=0, le=60_000, description="Silence that ends it after some words (ms)."
    )
    after_final_ms: int = Field(
        default=500, ge=0, le=60_000, description="Silence that ends it after a whole sentence (ms)."
    )
    longest_ms: int = Field(
        default=20_000, ge=1000, le=600_000, description="It ends after this long in any case (ms)."
    )


class CommandSettings(Section):
    """Sentences of a grammar: `command`."""

    enabled: bool = Field(default=False, description="Listen for commands; speech is found by [vad].")
    grammar: str = Field(
        default="commands",
        min_length=1,
        description="Sentence templates: path of a YAML file in Home Assistant's format, or a shipped one's "
        "name. It is read again when it changes.",
    )
    after_wake: bool = Field(
        default=False, description="Listen only after a wake phrase; otherwise every utterance is tried."
    )
    window_ms: int = Field(
        default=6000,
        ge=100,
        le=600_000,
        description="With after_wake: a command must begin within this time of the phrase's end (ms).",
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="A sentence is reported from this score on (0 to 1); 0 = where "
        "false_accepts_per_hour says.",
    )
    false_accepts_per_hour: float = Field(
        default=0.5,
        gt=0,
        le=3600,
        description="How often in an hour of speech something else may be taken for a command (per hour); "
        "for threshold = 0.",
    )
    blank_shift: float = Field(
        default=-0.5,
        ge=-20,
        le=20,
        description="Added to the log-probability of the model's blank or silence; peaky models want less.",
    )
    smoothing: float = Field(
        default=0.01,
        gt=0,
        le=0.5,
        description="Part of the posterior spread over all phones (above 0, to 0.5); noise wants more.",
    )
    filler_cost: float = Field(
        default=3.0,
        ge=0,
        le=20,
        description="Price of sound before and after the sentence (log-likelihood per output of the model).",
    )
    second_pass: bool = Field(
        default=True,
        description="Look again at an utterance that may be a command, with the layers in both directions "
        "that the acoustic model brings along, if any.",
    )
    after_sentence_ms: int = Field(
        default=1000,
        ge=0,
        le=60_000,
        description="Other sound behind a sentence that ends it where silence does not come, as in noise "
        "(ms); 0 = only silence ends it.",
    )


class TranscriptSettings(Section):
    """What was said, as text: `transcript.partial` and `transcript.final`."""

    enabled: bool = Field(default=False, description="Write down what is said; speech is found by [vad].")
    model: str = Field(
        default="",
        description="Folder of a transducer (see docs/imported-models.md) or emformer-rnnt, which needs none "
        'of what follows but partial_ms and transducer_beam; "" = [acoustic] with a language model.',
    )
    transducer_beam: int = Field(
        default=1, ge=1, le=100, description="Hypotheses that a transducer keeps; 1 = greedy."
    )
    language_model: str = Field(
        default="lm-small",
        min_length=1,
        description="Name of a shipped language model, or path of an ARPA file (.arpa, .arpa.gz). Its words "
        "are the vocabulary.",
    )
    hot_words: Strings = Field(
        default=(),
        description='Words to expect, "auricle" or with a boost of their own, "auricle=5"; new ones join the '
        "vocabulary.",
    )
    hot_word_boost: float = Field(
        default=3.0,
        ge=-20,
        le=20,
        description="Added to the score of a hot word without a boost of its own (natural logarithm).",
    )
    second_pass: bool = Field(
        default=True,
        description="Look again at the whole utterance, as [commands] does, for the final transcript: fewer "
        "wrong words, but it may differ from what partial ones called stable.",
    )
    partial_ms: int = Field(
        default=240, ge=0, le=60_000, description="At least so long between two partial transcripts (ms)."
    )
    commit_ms: int = Field(
        default=4000,
        ge=0,
        le=600_000,
        description="Words of the best hypothesis that ended so long ago are settled (ms); 0 = at the end.",
    )
    lm_weight: float = Field(
        default=1.0, ge=0, le=10, description="Weight of the language model against the acoustic model."
    )
    word_bonus: float = Field(
        default=0.0, ge=-20, le=20, description="Added for every word: more gives more and shorter words."
    )
    blank_shift: float = Field(
        default=-1.0,
        ge=-20,
        le=20,
        description="Added to the log-probability of the model's blank or silence; peaky models want less.",
    )
    beam: float = Field(
        default=16.0,
        gt=0,
        le=100,
        description="Hypotheses so much worse than the best are dropped (natural logarithm).",
    )
    partial_beam: float = Field(
        default=10.0,
        gt=0,
        le=100,
        description="Instead of a wider beam while the utterance goes on, where a second pass has the last "
        "word.",
    )
    hypotheses: int = Field(
        default=500, ge=1, le=100_000, description="Hypotheses kept at most; more costs more time."
    )
    end_cost: float = Field(
        default=4.0,
        ge=0,
        le=100,
        description="endpoint.after_final_ms holds after words at which the language model would end with a "
        "probability of at least exp(-end_cost).",
    )

    @field_validator("hot_words", mode="after")
    @classmethod
    def _boosts_are_numbers(cls, hot_words: tuple[str, ...]) -> tuple[str, ...]:
        for entry in hot_words:
            hot_word(entry, 0.0)
        check_unique("hot word", [hot_word(entry, 0.0)[0] for entry in hot_words])
        return hot_words

    def boosts(self) -> dict[str, float]:
        """Each hot word with its boost."""
        return dict(hot_word(entry, self.hot_word_boost) for entry in self.hot_words)


def hot_word(entry: str, boost: float) -> tuple[str, float]:
    """Reads "word" or "word=boost".

    Raises:
        ValueError: it is neither.
    """
    word, equals, number = (part.strip() for part in entry.partition("="))
    if not re.fullmatch(r"[a-z]+(?:'[a-z]+)*", word):
        raise ValueError(
            f"expected a hot word of lower-case letters and apostrophes, got '{entry}'; write each word of a "
            "phrase by itself, numbers as words"
        )
    try:
        value = float(number) if equals else boost
    except ValueError:
        value = math.nan
    if not -20 <= value <= 20:
        raise ValueError(f"expected a boost of -20 to 20 in '{entry}', such as '{word}=4'")
    return word, value
