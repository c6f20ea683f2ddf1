"""All settings of Auricle, one model per section of the configuration file.

A new section is a new `Section` class and one field of `Settings`; loader, `--set` and `--explain` follow.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from auricle.configs.bus_settings import BusSettings, IngressSettings
from auricle.configs.detector_settings import (
    Cell,
    ClipSettings,
    KeywordSettings,
    LevelSettings,
    SpectrumSettings,
    VadSettings,
)
from auricle.configs.section import HOP_MS, MODEL_RATE_HZ, Section, check_hops, samples
from auricle.configs.speech_settings import (
    AcousticSettings,
    CommandSettings,
    EndpointSettings,
    TranscriptSettings,
    WakeSettings,
    check_phrases,
)
from auricle.configs.stream_settings import DAEMON_STREAM, SAMPLE_FORMATS, StreamSettings, check_stream_name

__all__ = [
    "DAEMON_STREAM",
    "HOP_MS",
    "MODEL_RATE_HZ",
    "SAMPLE_FORMATS",
    "AcousticSettings",
    "BusSettings",
    "Cell",
    "ClipSettings",
    "CommandSettings",
    "DaemonSettings",
    "EndpointSettings",
    "IngressSettings",
    "KeywordSettings",
    "LatencySettings",
    "LevelSettings",
    "PipelineSettings",
    "Section",
    "Settings",
    "SpectrumSettings",
    "StreamSettings",
    "TranscriptSettings",
    "VadSettings",
    "WakeSettings",
    "check_stream_name",
]


class DaemonSettings(Section):
    """The process as a whole."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message in the log on standard error."
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Threads of one model step (threads); 1 is best for small models.",
    )
    heartbeat_s: float = Field(
        default=5.0, ge=0.01, le=3600, description="Time between two heartbeat events (s)."
    )
    run_seconds: float = Field(
        default=0.0, ge=0, le=1e8, description="Stop by itself after this long (s); 0 = never."
    )


class PipelineSettings(Section):
    """The path of a frame from the ring buffer to the models."""

    chunk_ms: int = Field(
        default=20,
        ge=10,
        le=2000,
        description="Audio processed in one step (ms, a multiple of 10); short = less delay.",
    )
    gap: Literal["fill", "reset"] = Field(
        default="fill",
        description="At lost samples: feed silence in their place, or start again from a fresh model state.",
    )
    max_fill_ms: int = Field(
        default=1000, ge=0, le=60_000, description="A gap longer than this is reset in any case (ms)."
    )
    highpass_hz: float = Field(
        default=20.0, ge=0, le=1000, description="Corner of the DC-removing high-pass (Hz); 0 = off."
    )
    ring_seconds: float = Field(
        default=4.0,
        ge=0.1,
        le=600,
        description="Audio that may wait between capture and processing (s); beyond it is lost.",
    )
    stall_ms: int = Field(
        default=1000,
        ge=100,
        le=600_000,
        description="A live source is called stalled after this long without audio (ms).",
    )

    @field_validator("chunk_ms", mode="after")
    @classmethod
    def _chunk_is_whole_hops(cls, chunk_ms: int) -> int:
        return check_hops("chunk_ms", chunk_ms)

    @model_validator(mode="after")
    def _chunk_fits(self) -> Self:
        if self.ring_seconds * 1000 < 2 * self.chunk_ms:
            raise ValueError(
                f"expected ring_seconds to hold two chunks ({2 * self.chunk_ms / 1000:g} s), "
                f"got {self.ring_seconds:g}; enlarge ring_seconds or shorten chunk_ms"
            )
        if self.stall_ms <= self.chunk_ms:
            raise ValueError(
                f"expected stall_ms > chunk_ms ({self.chunk_ms}), got {self.stall_ms}; enlarge stall_ms"
            )
        return self

    @property
    def chunk_frames(self) -> int:
        """Feature frames in one chunk."""
        return self.chunk_ms // HOP_MS

    @property
    def chunk_samples(self) -> int:
        """Samples at 16 kHz in one chunk."""
        return samples(self.chunk_ms)


class LatencySettings(Section):
    """Latency monitoring."""

    interval_s: float = Field(
        default=10.0, ge=0.01, le=3600, description="Time between two latency events (s)."
    )
    budget_ms: float = Field(
        default=0.0,
        ge=0,
        le=60_000,
        description="A chunk processed later than this missed its deadline (ms); 0 = chunk_ms.",
    )
    trace: str = Field(
        default="",
        description='File for a per-frame trace that Perfetto and chrome://tracing open; "" = no trace.',
    )

    def deadline_ms(self, pipeline: PipelineSettings) -> float:
        """Returns the budget in force (ms): `budget_ms`, or one chunk where it's 0."""
        return self.budget_ms or float(pipeline.chunk_ms)


StreamName = Annotated[str, AfterValidator(check_stream_name)]


def _default_streams() -> dict[str, StreamSettings]:
    return {"mic": StreamSettings()}


class Settings(Section):
    """The whole configuration; `Settings()` is what default.toml says."""

    daemon: DaemonSettings = Field(default_factory=DaemonSettings)
    bus: BusSettings = Field(default_factory=BusSettings)
    ingress: IngressSettings = Field(default_factory=IngressSettings)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)
    streams: dict[StreamName, StreamSettings] = Field(
        default_factory=_default_streams,
        description="Each table [streams.NAME] is one source of audio; NAME is the first part of its topics.",
    )
    vad: VadSettings = Field(default_factory=VadSettings)
    keyword: KeywordSettings = Field(default_factory=KeywordSettings)
    acoustic: AcousticSettings = Field(default_factory=AcousticSettings)
    wake: Annotated[tuple[WakeSettings, ...], Field(strict=False)] = Field(
        default=(), description="Each table [[wake]] is a phrase to listen for."
    )
    clips: ClipSettings = Field(default_factory=ClipSettings)
    endpoint: EndpointSettings = Field(default_factory=EndpointSettings)
    commands: CommandSettings = Field(default_factory=CommandSettings)
    transcript: TranscriptSettings = Field(default_factory=TranscriptSettings)
    level: LevelSettings = Field(default_factory=LevelSettings)
    spectrum: SpectrumSettings = Field(default_factory=SpectrumSettings)
    latency: LatencySettings = Field(default_factory=LatencySettings)

    @property
    def hears_phones(self) -> bool:
        """Whether commands or transcripts run the acoustic model anyhow."""
        return self.commands.enabled or (self.transcript.enabled and not self.transcript.model)

    @property
    def looks_again(self) -> bool:
        """Whether anything wants the second pass of the acoustic model, if it has one."""
        commands, transcript = self.commands, self.transcript
        return (
            any(entry.looks_again for entry in self.wake)
            or (commands.enabled and commands.second_pass)
            or (transcript.enabled and not transcript.model and transcript.second_pass)
        )

    @model_validator(mode="after")
    def _streams_fit_together(self) -> Self:
        stdin_names = [name for name, stream in self.streams.items() if stream.source == "stdin"]
        if len(stdin_names) > 1:
            raise ValueError(
                f"streams: expected at most one stream on stdin, got {', '.join(stdin_names)}; "
                "there is one standard input, so give the others another source"
            )
        remote = [name for name, stream in self.streams.items() if stream.source == "zmq"]
        if remote and not self.ingress.endpoint:
            raise ValueError(
                f"streams: {', '.join(remote)} arrives over ZeroMQ, but ingress.endpoint is empty; "
                'set it, such as endpoint = "tcp://127.0.0.1:7311" in [ingress]'
            )
        if len(remote) > self.ingress.max_streams:
            raise ValueError(
                f"ingress.max_streams: expected at least the {len(remote)} declared zmq streams, "
                f"got {self.ingress.max_streams}; enlarge it"
            )
        return self

    @field_validator("wake", mode="after")
    @classmethod
    def _phrases_are_distinct(cls, wake: tuple[WakeSettings, ...]) -> tuple[WakeSettings, ...]:
        check_phrases(wake)
        return wake

    @model_validator(mode="after")
    def _commands_have_speech(self) -> Self:
        if self.commands.enabled and not self.vad.enabled:
            raise ValueError(
                "commands.enabled: expected vad.enabled = true, got false; utterances are found by [vad], so "
                "enable it too"
            )
        if self.commands.enabled and self.commands.after_wake and not self.wake:
            raise ValueError(
                "commands.after_wake: expected a wake phrase to wait for, got none; add a table [[wake]] or "
                "set after_wake = false"
            )
        return self

    @model_validator(mode="after")
    def _transcripts_have_speech(self) -> Self:
        if self.transcript.enabled and not self.vad.enabled:
            raise ValueError(
                "transcript.enabled: expected vad.enabled = true, got false; utterances are found by [vad], "
                "so enable it too"
            )
        return self

    @model_validator(mode="after")
    def _endpoints_are_distinct(self) -> Self:
        if self.ingress.endpoint and self.ingress.endpoint in self.bus.endpoints:
            raise ValueError(
                f"ingress.endpoint: expected an endpoint of its own, got {self.ingress.endpoint!r}, on which "
                "the bus publishes; change one of them"
            )
        return self

    def replace(self, **sections: Any) -> "Settings":
        """Returns a copy with whole sections replaced, such as `streams={...}`, checked like a file.

        Raises:
            pydantic.ValidationError: the result isn't a usable configuration.
        """
        return Settings(**{**{name: getattr(self, name) for name in Settings.model_fields}, **sections})
