"""Raw PCM from standard input (or any binary stream) in a declared format."""

import os
import select
import sys
import threading
import time
from typing import BinaryIO, Final, Literal

import numpy as np

from auricle.configs.errors import AuricleError, FormatError
from auricle.daemon.resample import check_rate
from auricle.daemon.ring import NS_PER_SECOND, Doorbell, FloatArray
from auricle.daemon.sources.base import BLOCKS_PER_SECOND, BaseSource, Channel, mix_into

BYTES_PER_SAMPLE: Final = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "u8": 1}

_CONTAINERS: Final = {
    b"RIFF": "a wav file",
    b"fLaC": "a flac file",
    b"OggS": "an ogg file",
    b"ID3": "an mp3 file",
}
_HEAD_BYTES = 4
_POLL_MS = 100
_CATCH_UP = 1.001  # paced: the producer's clock may run this much faster than ours


def decode_pcm(data: bytes | memoryview, sample_format: str) -> FloatArray:
    """Turn raw PCM into float32.

    Args:
        data: whole samples.
        sample_format: one of `BYTES_PER_SAMPLE`.

    Returns:
        (n,) float32; integers are scaled to [-1, 1), f32le is taken as it is.
    """
    if sample_format == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    if sample_format == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(1 << 15)
    if sample_format == "s32le":
        return (np.frombuffer(data, "<i4") / (1 << 31)).astype(np.float32)
    if sample_format == "u8":
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if sample_format == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / (1 << 31)).astype(np.float32)
    raise FormatError(f"expected a format of {', '.join(BYTES_PER_SAMPLE)}, got {sample_format!r}")


def encode_s16(samples: FloatArray) -> bytes:
    """Samples (n,) in [-1, 1] as s16le, rounded and clipped; s16le -> float32 -> s16le is exact."""
    scaled = np.clip(np.rint(samples * np.float32(1 << 15)), -(1 << 15), (1 << 15) - 1)
    return bytes(scaled.astype("<i2").data)


def check_not_a_container(head: bytes) -> None:
    """Raise FormatError if raw PCM begins like an audio file."""
    for magic, what in _CONTAINERS.items():
        if head.startswith(magic):
            raise FormatError(
                f"standard input: expected raw PCM, got {what} (it begins with {magic.decode()}); run "
                "`auricle stream FILE`, or strip the header, such as with sox or ffmpeg"
            )


class StdinSource(BaseSource):
    """Reads raw interleaved PCM and puts it into the ring.

    A full ring makes the source wait, so that a pipe fills up and its writer waits too: nothing is dropped
    here. At pace "realtime" samples are given on no faster than they sound.

    Args:
        name: the stream's name.
        rate: samples per second, declared.
        sample_format: one of `BYTES_PER_SAMPLE`, declared.
        channels: interleaved channels.
        channel: a channel counted from 0, or "mix".
        pace: "realtime" or "full".
        ring_seconds: how much audio the ring holds.
        doorbell: one to share with other sources.
        stream: what to read (default: standard input); it must have a file descriptor.

    Raises:
        FormatError: no rate or format is declared, or it is none that exists.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: int,
        sample_format: str,
        channels: int = 1,
        channel: Channel = "mix",
        pace: Literal["realtime", "full"] = "realtime",
        ring_seconds: float = 4.0,
        doorbell: Doorbell | None = None,
        stream: BinaryIO | None = None,
    ) -> None:
        """Check the declaration; see the class for the arguments."""
        check_rate(rate, f'stream "{name}": raw PCM on standard input')
        if sample_format not in BYTES_PER_SAMPLE:
            raise FormatError(
                f'stream "{name}": expected a format of {", ".join(BYTES_PER_SAMPLE)}, got '
                f"{sample_format!r}; declare how the samples are written"
            )
        if channels < 1 or (channel != "mix" and not 0 <= channel < channels):
            raise FormatError(
                f'stream "{name}": expected channel "mix" or 0 to {channels - 1} of {channels}, got {channel}'
            )
        super().__init__(name, rate, ring_seconds=ring_seconds, paced=pace == "realtime", doorbell=doorbell)
        self.channels = channels
        self.format = sample_format
        self._channel = channel
        self._stream = stream if stream is not None else sys.stdin.buffer
        self._frame_bytes = BYTES_PER_SAMPLE[sample_format] * channels
        self._due_ns = 0
        self._thread = threading.Thread(target=self._run, name=f"stdin-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; the stream itself stays open."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._close_doorbell()

    def _run(self) -> None:
        self._notify_device("opened", time.monotonic_ns(), "stdin", self.channels, self.format)
        try:
            self._pump()
        except AuricleError as err:
            self.error = err
            self._notify_error(err, time.monotonic_ns())
        except Exception as err:  # a thread must not die unheard
            self.error = FormatError(f"standard input: reading failed: {err!r}")
            self._notify_error(self.error, time.monotonic_ns())
        self._notify_device("ended", time.monotonic_ns(), "stdin", self.channels)
        self._finish(time.monotonic_ns())

    def _pump(self) -> None:
        fd = self._stream.fileno()
        size = self._frame_bytes * max(self.native_rate // BLOCKS_PER_SECOND, 1)
        waiting, started = b"", False
        poller = select.poll()
        poller.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
        while not self._stopping.is_set():
            if not poller.poll(_POLL_MS):
                continue
            data = os.read(fd, max(size - len(waiting), _HEAD_BYTES))
            if not data:
                break
            waiting += data
            if not started and len(waiting) >= _HEAD_BYTES:
                check_not_a_container(waiting)
                started = True
            whole = len(waiting) - len(waiting) % self._frame_bytes
            if started and whole:
                if not self._deliver(waiting[:whole]):
                    return
                waiting = waiting[whole:]
        whole = len(waiting) - len(waiting) % self._frame_bytes
        if whole and not self._deliver(waiting[:whole]):
            return
        waiting = waiting[whole:]
        if waiting and not self._stopping.is_set():
            raise FormatError(
                f"standard input ended inside a sample: expected frames of {self._frame_bytes} bytes "
                f"({self.channels} x {self.format}), got {len(waiting)} at the end; check format and channels"
            )

    def _deliver(self, data: bytes) -> bool:
        samples = decode_pcm(data, self.format).reshape(-1, self.channels)
        if self.format == "f32le" and not np.isfinite(samples).all():
            raise FormatError(
                "standard input: expected finite samples, got NaN or infinity; is it really f32le?"
            )
        mono = np.empty(len(samples), np.float32)
        mix_into(samples, self._channel, mono)
        now_ns = time.monotonic_ns()
        if self.paced:
            length_ns = int(len(mono) * NS_PER_SECOND / self.native_rate / _CATCH_UP)
            self._due_ns = max(self._due_ns, now_ns - length_ns) + length_ns
            if self._stopping.wait(max(self._due_ns - now_ns, 0) / NS_PER_SECOND):
                return False
        return self._write_all(mono, time.monotonic_ns())
