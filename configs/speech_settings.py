"""Settings of what is decoded from phones: wake phrases, commands, transcripts; when an utterance ends."""

from pydantic import Field

from auricle.configs.detector_settings import Cell
from auricle.configs.section import Section


class AcousticSettings(Section):
    """The acoustic model that wake phrases, commands and transcripts share."""

    model: str = Field(
        default="acoustic", min_length=1, description="Name of a shipped model, or path of a model file."
    )
    cell: Cell = Field(default="lstm", description="What remembers in the shipped model.")


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
