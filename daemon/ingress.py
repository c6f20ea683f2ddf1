"""The protocol by which remote microphones send audio: messages, their encoding and their checks.

ZeroMQ, DEALER (the sender) to ROUTER (the daemon). A message has two parts: a JSON header in UTF-8, and PCM
bytes (only `audio` has any). Version 1:

    sender                                          daemon
    hello {v, type, stream, session, rate,          welcome {v, type, stream, credit} | error
           channels, format, boot?}
    audio {v, type, seq, sample, captured_ns?} PCM  credit {v, type, chunks}
    ping  {v, type}                                 pong {v, type}
    end   {v, type, seq, sample}                    done {v, type, received, lost}

`seq` counts audio messages from 0, `sample` frames at the sender's rate from its start, sent or not: a hole
in `sample` is a loss of exactly so many samples. A sender may have `credit` audio messages on the way; each
one that the daemon takes gives one back. `session` is drawn by the sender and stays over reconnections, so
that what was lost in between is a hole in `sample` too. `captured_ns` is the sender's monotonic clock at the
last frame; the daemon uses it if the sender runs on the same machine (same `boot` in hello). An error names
a `code`, a `message` and a `remedy`; after a `fatal` one the sender's stream is closed. The error `hello`
answers whatever else comes from a sender that the daemon does not know, such as after its own restart.
"""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from auricle.configs.audio import MAX_RATE, MIN_RATE
from auricle.configs.errors import FormatError
from auricle.daemon.sources.stdin import BYTES_PER_SAMPLE

VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 1 << 18
MAX_CHANNELS: Final = 64
MAX_INDEX: Final = (1 << 53) - 1
SILENT_S: Final = 5.0
"""A sender that says nothing (not even ping) for so long is gone."""
PING_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Hello:
    """A sender introduces itself: the stream it feeds and the form of its PCM (rate in Hz)."""

    type: ClassVar[str] = "hello"
    stream: str
    session: str
    rate: int
    channels: int = 1
    format: str = "s16le"
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The daemon takes the stream; `credit` audio messages may be on the way."""

    type: ClassVar[str] = "welcome"
    stream: str
    credit: int


@dataclass(frozen=True, slots=True)
class Audio:
    """Header of a chunk: its number, its first frame, the time of its last frame (0: unknown)."""

    type: ClassVar[str] = "audio"
    seq: int
    sample: int
    captured_ns: int = 0


@dataclass(frozen=True, slots=True)
class Credit:
    """The daemon took `chunks` audio messages."""

    type: ClassVar[str] = "credit"
    chunks: int


@dataclass(frozen=True, slots=True)
class End:
    """The sender has sent all: how many messages, and where its stream ended (frames)."""

    type: ClassVar[str] = "end"
    seq: int
    sample: int


@dataclass(frozen=True, slots=True)
class Done:
    """The daemon's account of an ended stream: frames received and lost."""

    type: ClassVar[str] = "done"
    received: int
    lost: int


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life."""

    type: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Pong:
    """Its answer."""

    type: ClassVar[str] = "pong"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error; after a fatal one the stream is closed."""

    type: ClassVar[str] = "error"
    code: str
    message: str
    remedy: str = ""
    fatal: bool = False


Message = Hello | Welcome | Audio | Credit | End | Done | Ping | Pong | Refusal
FromSender = (Hello, Audio, End, Ping)
FromDaemon = (Welcome, Credit, Done, Pong, Refusal)

_TYPES: Final[dict[str, type[Message]]] = {
    kind.type: kind for kind in (Hello, Welcome, Audio, Credit, End, Done, Ping, Pong, Refusal)
}
_LIMITS: Final = {"channels": (1, MAX_CHANNELS), "rate": (MIN_RATE, MAX_RATE)}


def encode(message: Message, pcm: bytes = b"") -> list[bytes]:
    """The two parts of a message."""
    header = {"v": VERSION, "type": message.type, **asdict(message)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    return [text.encode("utf-8", "backslashreplace"), pcm]  # only a lone surrogate is no UTF-8


def decode(parts: list[bytes]) -> tuple[Message, bytes]:
    """Check a message field by field.

    Raises:
        FormatError: what was expected and what came; nothing else, whatever the bytes.
    """
    if len(parts) != 2:
        raise FormatError(f"expected 2 parts (header, PCM), got {len(parts)}")
    try:
        header = json.loads(parts[0])
    except (ValueError, RecursionError) as err:  # UnicodeDecodeError is a ValueError
        raise FormatError(f"expected a header in JSON, got {parts[0][:40]!r}") from err
    if not isinstance(header, dict):
        raise FormatError(f"expected a header that is an object, got {type(header).__name__}")
    if header.get("v") != VERSION:
        raise FormatError(
            f"expected protocol version {VERSION}, got {header.get('v')!r}; update the older side"
        )
    kind = header.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise FormatError(f"expected a type of {', '.join(_TYPES)}, got {kind!r}")
    message = _TYPES[kind](**_fields(_TYPES[kind], header))
    if isinstance(message, Hello) and message.format not in BYTES_PER_SAMPLE:
        raise FormatError(f"expected a format of {', '.join(BYTES_PER_SAMPLE)}, got {message.format!r}")
    return message, parts[1]


def _fields(kind: type[Message], header: dict[str, Any]) -> dict[str, Any]:
    """The values of a dataclass out of a header; unknown fields are ignored, for later versions."""
    values = {}
    for field in fields(kind):
        name = field.name
        if name not in header:
            if field.default is not MISSING:
                continue
            raise FormatError(f"{kind.type}: expected a field {name!r}, got {', '.join(header)}")
        value, wanted = header[name], field.type
        if type(value) is not wanted:
            raise FormatError(f"{kind.type}.{name}: expected {_name(wanted)}, got {value!r}")
        low, high = _LIMITS.get(name, (0, MAX_INDEX))
        if isinstance(value, int) and not low <= value <= high and wanted is int:
            raise FormatError(f"{kind.type}.{name}: expected {low} to {high}, got {value}")
        values[name] = value
    return values


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


@cache
def boot_id() -> str:
    """Names this machine's present run, so that two ends know whether they share a monotonic clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
