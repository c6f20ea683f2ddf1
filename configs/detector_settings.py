"""Settings of what is made of the audio: speech, keywords, level and spectrum, clips."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from auricle.configs.section import Section, Strings, check_hops, check_unique

Cell = Literal["gru", "lstm", "rnn", "attention", "gru+lstm", "gru+attention", "lstm+attention"]


class VadSettings(Section):
    """Voice activity: `speech.start` and `speech.stop`."""

    enabled: bool = Field(default=True, description="Detect speech.")
    model: str = Field(
        default="vad",
        min_length=1,
        description="Name of a shipped model, path of a model file, or silero (package silero-vad).",
    )
    cell: Cell = Field(default="gru", description="What remembers in the shipped model.")
    onset: float = Field(default=0.5, ge=0, le=1, description="Speech starts at this posterior (0 to 1).")
    offset: float = Field(
        default=0.35, ge=0, le=1, description="Speech ends below this posterior (0 to 1), at most onset."
    )
    min_speech_ms: int = Field(
        default=90,
        ge=0,
        le=10_000,
        description="Speech shorter than this is no speech (ms); also delays speech.start.",
    )
    hangover_ms: int = Field(
        default=400, ge=0, le=60_000, description="Silence that ends speech (ms); shorter pauses are bridged."
    )
    preroll_ms: int = Field(
        default=300,
        ge=0,
        le=10_000,
        description="start_sample lies this long before the onset (ms), so no first phone is lost.",
    )

    @model_validator(mode="after")
    def _offset_is_not_above_onset(self) -> Self:
        if self.offset > self.onset:
            raise ValueError(
                f"expected offset <= onset, got offset = {self.offset} and onset = {self.onset}; "
                "lower offset, or speech would end while it starts"
            )
        return self


class KeywordSettings(Section):
    """Single words: `keyword`."""

    enabled: bool = Field(default=True, description="Spot keywords.")
    model: str = Field(
        default="keyword", min_length=1, description="Name of a shipped model, or path of a model file."
    )
    cell: Cell = Field(default="gru", description="What remembers in the shipped model.")
    labels: Strings = Field(default=(), description="Words to report; [] = all words of the model.")
    threshold: float = Field(
        default=0.8, gt=0, le=1, description="A word is reported at this smoothed posterior (above 0, to 1)."
    )
    smooth_ms: int = Field(
        default=160,
        ge=0,
        le=2000,
        description="The posterior is averaged over this long (ms); 0 = not at all.",
    )
    refractory_ms: int = Field(
        default=800, ge=0, le=60_000, description="The same word is not reported again for this long (ms)."
    )

    @field_validator("labels", mode="after")
    @classmethod
    def _labels_are_distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        check_unique("label", labels)
        return labels


class LevelSettings(Section):
    """Loudness: `level`."""

    enabled: bool = Field(default=True, description="Publish the level.")
    interval_ms: int = Field(
        default=250, ge=10, le=60_000, description="Time between two level events (ms, a multiple of 10)."
    )
    clip_dbfs: float = Field(
        default=-0.1, ge=-20, le=0, description="A sample at or above this counts as clipped (dBFS)."
    )

    @field_validator("interval_ms", mode="after")
    @classmethod
    def _interval_is_whole_hops(cls, interval_ms: int) -> int:
        return check_hops("interval_ms", interval_ms)


class SpectrumSettings(Section):
    """Power spectrum for displays: `spectrum`."""

    enabled: bool = Field(default=False, description="Publish the spectrum.")
    interval_ms: int = Field(
        default=100, ge=10, le=60_000, description="Time between two spectrum events (ms, a multiple of 10)."
    )
    bins: int = Field(
        default=64, ge=4, le=256, description="Frequency bands from 50 Hz to 8 kHz, equal in octaves (bands)."
    )

    @field_validator("interval_ms", mode="after")
    @classmethod
    def _interval_is_whole_hops(cls, interval_ms: int) -> int:
        return check_hops("interval_ms", interval_ms)


class ClipSettings(Section):
    """Recordings of wake phrases that were heard, or nearly; none are kept unless a folder is named."""

    folder: str = Field(
        default="", description='Folder for the clips, made if it is not there; "" = keep none.'
    )
    hits: bool = Field(default=True, description="Keep what was heard as a wake phrase.")
    near_score: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Keep what came near one, from this score on (above 0, to 1); 1 = none.",
    )
    before_ms: int = Field(
        default=1000, ge=0, le=10_000, description="A clip begins so long before the phrase (ms)."
    )
    after_ms: int = Field(default=500, ge=0, le=10_000, description="And ends so long after it (ms).")
    format: Literal["flac", "wav"] = Field(default="flac", description="Of the files.")
    most_clips: int = Field(
        default=1000, ge=1, le=1_000_000, description="Clips in the folder at most; the oldest go first."
    )
    most_mb: float = Field(
        default=100.0, gt=0, le=1e6, description="Their size together at most (MB); the oldest go first."
    )
