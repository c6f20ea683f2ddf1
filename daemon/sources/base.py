"""What every source of audio looks like to the engine loop, and what the sources share.

A source fills its own ring from its own thread and rings a bell; the engine loop reads the ring and calls
`poll` some ten times a second for what cannot be told in samples. Losses travel in the ring, at their exact
position; notices carry only device states and errors.
"""

import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from auricle.configs.errors import AuricleError, ConfigError
from auricle.daemon.ring import NS_PER_SECOND, Doorbell, FloatArray, SampleRing

if TYPE_CHECKING:
    from auricle.configs.settings import Settings, StreamSettings
    from auricle.daemon.ingress_server import IngressServer

DeviceState = Literal["opened", "lost", "stalled", "resumed", "ended"]
Channel = int | Literal["mix"]

BLOCKS_PER_SECOND = 100
_ROOM_POLL_S = 0.001


@dataclass(frozen=True, slots=True)
class SourceNotice:
    """A device state or an error, stamped when it was found out.

    `data()` is the `data` object of the `device` or `error` event.
    """

    kind: Literal["device", "error"]
    mono_ns: int
    state: DeviceState | None = None
    device: str = ""
    native_rate: int = 0
    channels: int = 0
    detail: str = ""
    code: str = ""
    remedy: str = ""

    def data(self) -> dict[str, Any]:
        """Fields of the event this notice becomes."""
        if self.kind == "error":
            return {"code": self.code, "message": self.detail, "remedy": self.remedy}
        return {
            "state": self.state,
            "name": self.device,
            "rate": self.native_rate,
            "channels": self.channels,
            "detail": self.detail,
        }


class Source(Protocol):
    """A producer of mono float32 samples at its native rate.

    Losses are in the ring; `poll` returns what has no sample position. `error` is set once, when the source
    gave up; `finished` is set when nothing more will be written (the ring may still hold samples).
    """

    @property
    def name(self) -> str:
        """Name of the stream it feeds."""

    @property
    def native_rate(self) -> int:
        """Samples per second in the ring; 0 until a remote sender has declared it."""

    @property
    def paced(self) -> bool:
        """Whether samples come as fast as they sound, so that lateness means something."""

    @property
    def ring(self) -> SampleRing:
        """Where the samples are."""

    @property
    def doorbell(self) -> Doorbell:
        """Rung after each write; several sources may share one."""

    @property
    def finished(self) -> bool:
        """Nothing more will be written."""

    @property
    def error(self) -> AuricleError | None:
        """Why the source gave up."""

    def start(self) -> None:
        """Begin to fill the ring."""

    def stop(self) -> None:
        """Stop and free everything; safe to call twice."""

    def drain(self) -> int:
        """Move what found no room in the ring yet into it, once nobody else does; return how many chunks."""

    def poll(self, now_ns: int) -> list[SourceNotice]:
        """Notices since the last call; `now_ns` is `time.monotonic_ns()`."""


class BaseSource:
    """State and duties that all sources share: ring, bell, notices, end and error.

    Args:
        name: the stream's name.
        native_rate: samples per second in the ring (0: not known yet; the ring is then sized for 48 kHz).
        ring_seconds: how much audio the ring holds.
        paced: see `Source.paced`.
        doorbell: one to share; None makes a private one, closed by `stop`.
    """

    def __init__(
        self,
        name: str,
        native_rate: int,
        *,
        ring_seconds: float = 4.0,
        paced: bool = True,
        doorbell: Doorbell | None = None,
    ) -> None:
        """Allocate the ring; see the class for the arguments."""
        self.name = name
        self.native_rate = native_rate
        self.paced = paced
        ring_rate = native_rate or 48000
        capacity = max(int(ring_seconds * ring_rate), 2 * ring_rate // BLOCKS_PER_SECOND)
        self.ring = SampleRing(capacity, ring_rate)
        self.finished = False
        self.error: AuricleError | None = None
        self._owns_doorbell = doorbell is None
        self.doorbell = doorbell or Doorbell()
        self._notices: deque[SourceNotice] = deque(maxlen=256)
        self._stopping = threading.Event()

    def poll(self, now_ns: int) -> list[SourceNotice]:
        """Notices since the last call."""
        notices = []
        while self._notices:
            notices.append(self._notices.popleft())
        return notices

    def drain(self) -> int:
        """Nothing waits outside the ring."""
        return 0

    def _close_doorbell(self) -> None:
        if self._owns_doorbell:
            self.doorbell.close()

    def _notify_device(
        self, state: DeviceState, now_ns: int, device: str, channels: int, detail: str = ""
    ) -> None:
        self._notices.append(
            SourceNotice("device", now_ns, state, device, self.native_rate, channels, detail)
        )
        self.doorbell.ring()

    def _notify_error(self, error: AuricleError, now_ns: int, remedy: str = "") -> None:
        self._notices.append(SourceNotice("error", now_ns, detail=str(error), code=error.code, remedy=remedy))
        self.doorbell.ring()

    def _finish(self, now_ns: int) -> None:
        """Publish a loss at the very end, then declare the end."""
        while not self.ring.flush_lost(now_ns) and not self._stopping.wait(_ROOM_POLL_S):
            pass
        self.finished = True
        self.doorbell.ring()

    def _write_all(self, block: FloatArray, captured_ns: int) -> bool:
        """Write a whole block, waiting for room as long as it takes.

        Returns:
            False when the source was stopped first.
        """
        done = 0
        while done < len(block):
            room = self.ring.free_samples
            if room == 0:
                if self._stopping.wait(_ROOM_POLL_S):
                    return False
                continue
            part = block[done : done + room]
            done += len(part)
            left = len(block) - done
            self.ring.write(part, captured_ns - left * NS_PER_SECOND // self.ring.rate)
            self.doorbell.ring()
        return not self._stopping.is_set()


def mix_into(frames: FloatArray, channel: Channel, out: FloatArray) -> None:
    """Reduce frames to one channel without allocating.

    Args:
        frames: (n, channels) float32.
        channel: a channel counted from 0, or "mix" for the mean of all.
        out: (n,) float32, overwritten.
    """
    if channel == "mix":
        if frames.shape[1] == 1:
            np.copyto(out, frames[:, 0])
        else:
            np.add.reduce(frames, axis=1, out=out)
            np.multiply(out, np.float32(1.0 / frames.shape[1]), out=out)
    else:
        np.copyto(out, frames[:, channel])


def open_source(
    name: str,
    stream: "StreamSettings",
    settings: "Settings",
    *,
    doorbell: Doorbell | None = None,
    ingress: "IngressServer | None" = None,
) -> Source:
    """Make the source that a stream's settings ask for; `start` sets it going.

    Args:
        name: the stream's name.
        stream: its section of the configuration.
        settings: the whole configuration.
        doorbell: shared by all sources of the engine loop.
        ingress: where remote senders come in; needed for source = "zmq".

    Raises:
        AudioError: the device, file or format cannot be had; the message names the remedy.
        ConfigError: a remote stream without an ingress.
    """
    ring_seconds = settings.pipeline.ring_seconds
    if stream.source == "file":
        from auricle.daemon.sources.file import FileSource

        return FileSource(
            name,
            [Path(stream.path).expanduser()],
            pace=stream.pace,
            loop=stream.loop,
            channel=stream.channel,
            rate=stream.rate,
            ring_seconds=ring_seconds,
            doorbell=doorbell,
        )
    if stream.source == "stdin":
        from auricle.daemon.sources.stdin import StdinSource

        return StdinSource(
            name,
            rate=stream.rate,
            sample_format=stream.format,
            channels=stream.channels or 1,
            channel=stream.channel,
            pace=stream.pace,
            ring_seconds=ring_seconds,
            doorbell=doorbell,
        )
    if stream.source == "mic":
        from auricle.daemon.sources.mic import MicSource

        return MicSource(
            name,
            device=stream.device,
            rate=stream.rate,
            channels=stream.channels,
            channel=stream.channel,
            stall_ms=settings.pipeline.stall_ms,
            ring_seconds=ring_seconds,
            doorbell=doorbell,
        )
    if ingress is None:
        raise ConfigError(
            f'stream "{name}" waits for `auricle send`: expected an ingress endpoint, got none; '
            'set ingress.endpoint, such as "tcp://127.0.0.1:7311"'
        )
    return ingress.add_stream(
        name, rate=stream.rate, channels=stream.channels, channel=stream.channel, doorbell=doorbell
    )
