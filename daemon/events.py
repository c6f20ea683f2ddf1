"""Events as they travel on the bus: version 1 of the envelope, described by `schema/event-v1.json`.

What goes into `data` is made by the functions of `event_data`. Only the standard library is imported here,
so that a subscriber starts at once.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from auricle.configs.errors import BusError

VERSION: Final = 1
SAMPLE_RATE: Final = 16_000
DAEMON_STREAM: Final = "daemon"
"""The `stream` of events that belong to no single one; its sample index is the daemon's uptime at 16 kHz."""

TYPES: Final = (
    "status",
    "device",
    "error",
    "speech.start",
    "wake",
    "keyword",
    "command",
    "transcript.partial",
    "transcript.final",
    "speech.stop",
    "level",
    "spectrum",
    "gap",
    "latency",
    "heartbeat",
)
"""Every event type, in the order in which events of one sample are published. A gap comes behind what was
decided just before it: in small chunks that is out already when the gap is noticed."""

RANK: Final = {event_type: rank for rank, event_type in enumerate(TYPES)}

_ENVELOPE: Final[dict[str, tuple[type, ...]]] = {
    "v": (int,),
    "type": (str,),
    "stream": (str,),
    "seq": (int,),
    "sample": (int,),
    "t": (float, int),
    "mono_ns": (int,),
    "wall_ns": (int,),
    "model": (str, type(None)),
    "data": (dict,),
}
_COUNTS: Final = ("seq", "sample", "mono_ns", "wall_ns")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decode: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on one stream.

    Attributes:
        type: one of `TYPES`.
        stream: name of the stream, `DAEMON_STREAM` for the daemon as a whole.
        seq: number of the event in its stream, from 0 and without holes.
        sample: end of the frame that decided, in 16 kHz samples since the stream's start, gaps included.
        mono_ns: when that sample was captured, on the daemon machine's monotonic clock.
        wall_ns: the same moment in nanoseconds since 1970.
        data: what happened; its fields depend on the type. Not to be changed.
        model: `name@hash` of the model that decided, None where no model did.
    """

    type: str
    stream: str
    seq: int
    sample: int
    mono_ns: int
    wall_ns: int
    data: dict[str, Any]
    model: str | None = None

    @property
    def t(self) -> float:
        """Seconds from the stream's start to `sample`."""
        return self.sample / SAMPLE_RATE

    @property
    def raw(self) -> dict[str, Any]:
        """The event as the JSON object that travels on the bus."""
        return {
            "v": VERSION,
            "type": self.type,
            "stream": self.stream,
            "seq": self.seq,
            "sample": self.sample,
            "t": self.t,
            "mono_ns": self.mono_ns,
            "wall_ns": self.wall_ns,
            "model": self.model,
            "data": self.data,
        }

    @property
    def order(self) -> tuple[int, int]:
        """Sorting key: with it, the order of events doesn't depend on how samples were chunked."""
        return self.sample, RANK[self.type]

    def to_json(self) -> bytes:
        """Returns the event as compact UTF-8 JSON; equal events give equal bytes.

        Raises:
            BusError: `data` holds something that JSON can't express, such as NaN.
        """
        try:
            text = _encode(self.raw)
        except (TypeError, ValueError) as error:
            raise BusError(
                f"cannot publish a {self.type} event of stream {self.stream!r}: expected strings, booleans, "
                f"finite numbers, lists and objects in its data, got: {error}"
            ) from error
        # Only a lone surrogate (of an undecodable file name) isn't UTF-8; \udcXX is also its JSON escape.
        return text.encode("utf-8", "backslashreplace")


def topic(stream: str, event_type: str) -> bytes:
    """Returns the first part of an event's ZeroMQ message, which subscriptions are matched with."""
    return f"{stream}/{event_type}".encode("utf-8", "backslashreplace")


def from_json(message: bytes | str) -> Event:
    """Reads an event, checking its envelope but not the fields of its data.

    An unknown type is let through: a later daemon may know more types in the same version.

    Raises:
        BusError: not JSON, not this version, or a field is missing, unknown or of a wrong kind.
    """
    try:
        fields = _decode(message.decode("utf-8") if isinstance(message, bytes) else message)
    except (ValueError, RecursionError) as error:
        raise BusError(
            f"malformed event: expected one JSON object in UTF-8, got {_excerpt(message)}"
        ) from error
    if not isinstance(fields, dict):
        raise BusError(f"malformed event: expected a JSON object, got {_excerpt(message)}")
    if fields.get("v") != VERSION:
        raise BusError(
            f"malformed event: expected version v={VERSION}, got v={fields.get('v')!r}; "
            "use a client and a daemon of the same release"
        )
    _check_envelope(fields)
    del fields["v"], fields["t"]
    return Event(**fields)


def _check_envelope(fields: dict[str, Any]) -> None:
    if fields.keys() != _ENVELOPE.keys():
        missing = ", ".join(_ENVELOPE.keys() - fields.keys()) or "none"
        unknown = ", ".join(fields.keys() - _ENVELOPE.keys()) or "none"
        raise BusError(
            f"malformed event: expected the fields {', '.join(_ENVELOPE)}; "
            f"missing: {missing}, unknown: {unknown}"
        )
    for name, kinds in _ENVELOPE.items():
        if type(fields[name]) not in kinds:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise BusError(f"malformed event: expected {name} to be {expected}, got {fields[name]!r}")
    for name in _COUNTS:
        if fields[name] < 0:
            raise BusError(f"malformed event: expected {name} to be 0 or more, got {fields[name]}")
    if not fields["type"] or not fields["stream"]:
        raise BusError("malformed event: expected a type and a stream, got an empty one")


def _excerpt(message: bytes | str) -> str:
    return f"{message[:60]!r}{' ...' if len(message) > 60 else ''}"


class Sequencer:
    """Numbers each stream's events, without holes."""

    def __init__(self) -> None:
        """Starts every stream at 0."""
        self._next: dict[str, int] = {}

    def number(self, stream: str) -> int:
        """Number of the stream's next event."""
        return self._next.get(stream, 0)

    def published(self, event: Event) -> None:
        """Counts an event that went out; one that could not be published leaves its number to the next."""
        self._next[event.stream] = event.seq + 1


class SequenceLedger:
    """Finds the holes in the sequence numbers of every stream.

    A number that doesn't rise, or that rises while the stream's sample index falls, means that the daemon was
    started again: that is counted as a restart, not as loss.

    Attributes:
        lost: events missed, per stream, since each stream was first seen.
        restarts: how often a stream began anew.
    """

    def __init__(self) -> None:
        """Has seen nothing."""
        self.lost: dict[str, int] = {}
        self.restarts = 0
        self._last: dict[tuple[str, str], tuple[int, int]] = {}

    def note(self, endpoint: str, event: Event) -> int:
        """Takes the next event received from an endpoint and returns how many were lost just before it."""
        last_seq, last_sample = self._last.get((endpoint, event.stream), (event.seq - 1, event.sample))
        self._last[endpoint, event.stream] = (event.seq, event.sample)
        missed = event.seq - last_seq - 1
        if missed == 0:
            self.lost.setdefault(event.stream, 0)
            return 0
        if missed < 0 or event.sample < last_sample:
            self.restarts += 1
            return 0
        self.lost[event.stream] = self.lost.get(event.stream, 0) + missed
        return missed
