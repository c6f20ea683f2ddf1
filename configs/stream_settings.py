"""Settings of one audio stream: where its samples come from and in which form."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from auricle.configs.audio import MAX_RATE, MIN_RATE
from auricle.configs.section import Section

DAEMON_STREAM = "daemon"
"""Stream name of the events that concern the whole daemon; no audio stream may take it."""

MAX_NAME_LENGTH = 64
SAMPLE_FORMATS = ("s16le", "s24le", "s32le", "f32le", "u8")
_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]+")

SampleFormat = Literal["", "s16le", "s24le", "s32le", "f32le", "u8"]


def check_stream_name(name: str) -> str:
    """Returns `name` if events can be published under it.

    Raises:
        ValueError: it's empty, too long, reserved, or holds a slash, a space or a control character.
    """
    if name == DAEMON_STREAM:
        raise ValueError(
            f"the stream name {name!r} is reserved for events of the daemon itself; choose another"
        )
    speakable = not any("\ud800" <= letter <= "\udfff" for letter in name)  # half of a pair is no text
    if not speakable or not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise ValueError(
            f"expected a stream name of 1 to {MAX_NAME_LENGTH} characters without '/' or spaces "
            f"(it is the first part of every topic), got {name!r}; rename it, such as 'kitchen' or 'desk-mic'"
        )
    return name


class StreamSettings(Section):
    """One source of audio; each has its own resampler, features, model states and sequence numbers."""

    source: Literal["mic", "file", "stdin", "zmq"] = Field(
        default="mic",
        description="Where the samples come from: a sound device, an audio file, raw PCM on standard input, "
        "or `auricle send` on another machine.",
    )
    device: str | int = Field(
        default="",
        description="mic: the device, by index or by a part of its name (see `auricle devices`); "
        '"" = the system\'s default.',
    )
    rate: int = Field(
        default=0,
        ge=0,
        le=MAX_RATE,
        description=f"Sample rate (Hz), {MIN_RATE} to {MAX_RATE}; 0 = what the device, file or sender has. "
        "Needed for stdin.",
    )
    channels: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Number of interleaved channels; 0 = what the device, file or sender has (stdin: 1).",
    )
    channel: Literal["mix"] | int = Field(
        default="mix",
        description='"mix" = the mean of all channels, or the number of one channel, counted from 0.',
    )
    format: SampleFormat = Field(
        default="", description='stdin: sample format of the raw PCM; "" = not declared. Needed for stdin.'
    )
    path: str = Field(default="", description="file: the audio file (wav, flac, ogg, mp3). Needed for file.")
    pace: Literal["realtime", "full"] = Field(
        default="realtime",
        description="file, stdin: as fast as the samples were spoken, or as fast as they can be processed.",
    )
    loop: bool = Field(
        default=False, description="file: start again at the end, without a gap in the stream's time."
    )
    gain_db: float = Field(default=0.0, ge=-60, le=60, description="Gain before everything else (dB).")

    @field_validator("rate", mode="after")
    @classmethod
    def _rate_can_be_resampled(cls, rate: int) -> int:
        if 0 < rate < MIN_RATE:
            raise ValueError(f"expected 0, or {MIN_RATE} to {MAX_RATE} Hz, got {rate}")
        return rate

    @field_validator("device", mode="after")
    @classmethod
    def _device_index_is_not_negative(cls, device: str | int) -> str | int:
        if isinstance(device, int) and device < 0:
            raise ValueError(f"expected a device index >= 0, got {device}; `auricle devices` lists them")
        return device

    @model_validator(mode="after")
    def _channel_exists(self) -> Self:
        if self.channel == "mix":
            return self
        if self.channel < 0:
            raise ValueError(
                f'channel: expected "mix" or a number >= 0, got {self.channel}; channels count from 0'
            )
        if self.channels and self.channel >= self.channels:
            raise ValueError(
                f'channel: expected "mix" or 0 to {self.channels - 1} for {self.channels} channel(s), '
                f"got {self.channel}; channels count from 0"
            )
        return self

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> Self:
        if self.source == "file" and not self.path:
            raise ValueError('a file stream needs its path, got none; set path = "recording.wav"')
        if self.source == "stdin" and not (self.rate and self.format):
            missing = " and ".join(key for key in ("rate", "format") if not getattr(self, key))
            raise ValueError(
                f"raw PCM on stdin says nothing about itself: expected rate and format, got no {missing}; "
                f'set rate = 16000 and format = "s16le" (one of {", ".join(SAMPLE_FORMATS)})'
            )
        if self.path and self.source != "file":
            raise ValueError(
                f'path is for source = "file", got source = "{self.source}"; remove path or change source'
            )
        return self
