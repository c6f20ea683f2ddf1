"""Settings of what is decoded from phones: wake phrases, commands, transcripts; when an utterance ends."""

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
        default=0.5, ge=0, le=1, description="A sentence is reported from this score on (0 to 1)."
    )
    blank_shift: float = Field(
        default=-2.0,
        ge=-20,
        le=20,
        description="Added to the log-probability of the model's blank or silence; peaky models want less.",
    )
    smoothing: float = Field(
        default=0.001,
        gt=0,
        le=0.5,
        description="Part of the posterior spread over all phones (above 0, to 0.5); noise wants more.",
    )
    filler_cost: float = Field(
        default=1.0,
        ge=0,
        le=20,
        description="Price of sound before and after the sentence (log-likelihood per output of the model).",
    )
