"""A remote microphone: what `auricle send` ships to the daemon, as a source.

The ingress server (`auricle.daemon.ingress_server`) owns the socket and calls the methods here from its
thread; decisions about positions and losses are made here, without a socket.
"""

import time
from collections import deque
from typing import NamedTuple

import numpy as np

from auricle.configs.errors import FormatError
from auricle.daemon.ingress import Audio, Done, End, Hello, boot_id
from auricle.daemon.resample import check_rate
from auricle.daemon.ring import NS_PER_SECOND, Doorbell, FloatArray, GapReason
from auricle.daemon.sources.base import BaseSource, Channel, mix_into
from auricle.daemon.sources.stdin import BYTES_PER_SAMPLE, decode_pcm

LONGEST_HOLE_S = 24 * 3600
OLDEST_STAMP_S = 600
"""So long audio may wait at a sender (the most of pipeline.ring_seconds); older stamps are not believed."""


class _Chunk(NamedTuple):
    samples: FloatArray
    captured_ns: int
    lost_before: int
    reason: GapReason


class RemoteSource(BaseSource):
    """One stream fed by one sender at a time.

    `native_rate` is 0 until a sender said hello, unless it is declared. Samples that the sender did not get
    through are holes in its own count and become gaps (reason "sequence"); if another sender takes over after
    the first one vanished, the time in between is the gap (reason "device"). The sender's audio clock is kept
    as it is. `captured_ns` is the arrival of the chunk, or the sender's own stamp if it runs on this machine
    and the stamp can be true.

    Args:
        name: the stream's name.
        rate: what a sender must have (0: any).
        channels: what a sender must have (0: any).
        channel: a channel counted from 0, or "mix".
        credit: audio messages that may wait here when the ring is full.
        ring_seconds: how much audio the ring holds.
        doorbell: one to share with other sources.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: int = 0,
        channels: int = 0,
        channel: Channel = "mix",
        credit: int = 200,
        ring_seconds: float = 4.0,
        doorbell: Doorbell | None = None,
    ) -> None:
        """Wait for a sender; see the class for the arguments."""
        super().__init__(name, rate, ring_seconds=ring_seconds, doorbell=doorbell)
        self.credit = credit
        self.hello: Hello | None = None
        """What the present sender said of itself; None while there is none."""
        self.received = 0
        """Frames received of the present session."""
        self.lost = 0
        """Frames lost in the present session."""
        self._rate = rate
        self._channels = channels
        self._channel = channel
        self._session = ""
        self._same_host = False
        self._next_sample: int | None = None
        self._next_seq = 0
        self._last_ns = 0
        self._absent_frames = 0
        self._waiting: deque[_Chunk] = deque()

    def start(self) -> None:
        """Nothing to do: the ingress server delivers."""

    def stop(self) -> None:
        """Take no more; a sender is told so with its next message."""
        self._stopping.set()
        self.finished = True
        self._close_doorbell()

    @property
    def waiting(self) -> int:
        """Chunks that found no room in the ring yet."""
        return len(self._waiting)

    @property
    def session(self) -> str:
        """The session that fed it last."""
        return self._session

    def join(self, hello: Hello, now_ns: int) -> None:
        """A sender begins, or comes back.

        Raises:
            FormatError: its rate or channels are not what the stream has.
        """
        self._check(hello, self.native_rate)
        back = hello.session == self._session
        first = self.native_rate == 0 or not self._session
        self.native_rate = self.ring.rate = hello.rate
        if not back:
            # Another sender's count has nothing to do with the last one's: only the clock spans the absence.
            if not first and self._last_ns:
                self._absent_frames = max(now_ns - self._last_ns, 0) * self.native_rate // NS_PER_SECOND
            self._next_sample, self._next_seq = None, 0
            self.received = self.lost = 0
        self.hello, self._session = hello, hello.session
        self._same_host = bool(hello.boot) and hello.boot == boot_id()
        self._notify_device("opened" if first else "resumed", now_ns, "zmq", hello.channels, hello.format)

    def must_begin_anew(self, hello: Hello) -> bool:
        """Whether a sender brings another rate than the one before it, where any is welcome.

        Ask only while there is no sender: a stream keeps its rate, so this one must end first.

        Raises:
            FormatError: the sender would not fit then, either.
        """
        if self._rate or self.native_rate in (0, hello.rate) or self._waiting:
            return False
        self._check(hello, self._rate)
        return True

    def _check(self, hello: Hello, rate: int) -> None:
        check_rate(hello.rate, f'stream "{self.name}"')
        for what, wanted, got in (("Hz", rate, hello.rate), ("channel(s)", self._channels, hello.channels)):
            if wanted and wanted != got:
                raise FormatError(
                    f'stream "{self.name}": expected {wanted} {what}, got {got}; '
                    "send what the stream has, or send under another name"
                )
        if self._channel != "mix" and self._channel >= hello.channels:
            raise FormatError(
                f'stream "{self.name}" takes channel {self._channel}, counted from 0: expected at least '
                f"{self._channel + 1} channels, got {hello.channels}"
            )

    def take(self, audio: Audio, pcm: bytes, now_ns: int) -> None:
        """A chunk arrived.

        Raises:
            FormatError: it does not fit; it was not taken.
        """
        assert self.hello is not None
        frame_bytes = BYTES_PER_SAMPLE[self.hello.format] * self.hello.channels
        if len(pcm) % frame_bytes:
            raise FormatError(f"audio: expected whole frames of {frame_bytes} bytes, got {len(pcm)} bytes")
        if len(self._waiting) >= self.credit:
            raise FormatError(
                f"audio: expected at most {self.credit} messages ahead, got more; wait for credit"
            )
        hole = 0 if self._next_sample is None else audio.sample - self._next_sample
        if hole < 0 or audio.seq < self._next_seq:
            raise FormatError(
                f"audio: expected frame {self._next_sample} or later, got {audio.sample}; dropped"
            )
        if hole > LONGEST_HOLE_S * self.native_rate:
            raise FormatError(f"audio: expected no hole beyond a day, got {hole} frames; begin a new session")
        samples = decode_pcm(pcm, self.hello.format).reshape(-1, self.hello.channels)
        if not np.isfinite(samples).all():
            raise FormatError("audio: expected finite samples, got NaN or infinity; dropped")
        mono = np.empty(len(samples), np.float32)
        mix_into(samples, self._channel, mono)
        self._next_sample, self._next_seq = audio.sample + len(mono), audio.seq + 1
        self.received += len(mono)
        self.lost += hole
        captured_ns = audio.captured_ns if self._believes(audio.captured_ns, now_ns) else now_ns
        lost, reason = self._absent_frames or hole, self._absence_reason()
        self._absent_frames = 0
        self._last_ns = now_ns
        self._waiting.append(_Chunk(mono, captured_ns, lost, reason))

    def _believes(self, captured_ns: int, now_ns: int) -> bool:
        """Whether a stamp can be this machine's clock: not ahead of it, not too old.

        Half of the clock's reading finds stamps in a larger unit, such as ms, soon after the machine's start,
        too: events dated by them would lie before it, and clients refuse those.
        """
        oldest_ns = max(now_ns - OLDEST_STAMP_S * NS_PER_SECOND, now_ns // 2)
        return self._same_host and oldest_ns <= captured_ns <= now_ns

    def _absence_reason(self) -> GapReason:
        return "device" if self._absent_frames else "sequence"

    def drain(self) -> int:
        """Move what waits into the ring as far as there is room; return how many chunks moved."""
        moved = 0
        while self._waiting:
            chunk = self._waiting[0]
            if 0 < len(chunk.samples) <= self.ring.capacity_samples // 2 and self.ring.free_samples < len(
                chunk.samples
            ):
                break  # a chunk longer than half the ring is written at once, and its overflow counted
            self.ring.mark_lost(chunk.lost_before, chunk.reason)
            self.ring.write(chunk.samples, chunk.captured_ns)
            self._waiting.popleft()
            moved += 1
        if moved:
            self.doorbell.ring()
        return moved

    def leave(self, end: End, now_ns: int) -> Done:
        """The sender has sent all; account for a hole at the very end."""
        if self._next_sample is not None and 0 < end.sample - self._next_sample <= (
            LONGEST_HOLE_S * self.native_rate
        ):
            hole = end.sample - self._next_sample
            self.lost += hole
            self._next_sample = end.sample
            self._waiting.append(_Chunk(np.empty(0, np.float32), now_ns, hole, "sequence"))
        return Done(self.received, self.lost)

    def close(self, now_ns: int) -> None:
        """Everything sent is in the ring: the stream is over."""
        channels = self.hello.channels if self.hello else 1
        self.hello = None
        self._notify_device("ended", now_ns, "zmq", channels, f"{self.received} frames, {self.lost} lost")
        self._finish(now_ns)

    def vanish(self, silent_s: float) -> None:
        """The sender went without a word."""
        channels = self.hello.channels if self.hello else 1
        self.hello = None
        detail = f"nothing heard of the sender for {silent_s:.0f} s; waiting for it or another one"
        self._notify_device("lost", time.monotonic_ns(), "zmq", channels, detail)
