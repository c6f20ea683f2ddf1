"""A microphone: a PortAudio callback that only copies and counts; a thread that keeps its device alive."""

import contextlib
import logging
import threading
import time
from typing import Any

import numpy as np

from auricle.configs.errors import DeviceError
from auricle.daemon.resample import PIPELINE_RATE
from auricle.daemon.ring import NS_PER_SECOND, Doorbell, FloatArray
from auricle.daemon.sources import devices
from auricle.daemon.sources.base import BLOCKS_PER_SECOND, BaseSource, Channel, mix_into
from auricle.daemon.sources.loss import HOLD, HOLD_SAMPLES_S, LossDetector

log = logging.getLogger(__name__)

_LONGEST_BLOCK_S = 0.5
_SUPERVISE_S = 0.05
_FIRST_RETRY_S = 0.25
_LONGEST_RETRY_S = 5.0
_REOPEN_STALLED_S = 10.0
_LONGEST_STALL_RETRY_S = 60.0
_AT_START = "set rate = 0 and channels = 0 to take what it has"
_LATER = "if it has another rate than the stream began with, start the daemon anew"


class MicSource(BaseSource):
    """Records from a sound device into the ring; survives stalls and the loss of the device.

    A full ring drops the newest samples. Samples that the device lost, by stall, overflow or absence, stand
    in the ring as gaps of the length that the clock says (see `loss`). `captured_ns` is the moment of the
    callback: what the hardware and the sound server took before is not in it (the notice `opened` says how
    much PortAudio believes that to be).

    Args:
        name: the stream's name.
        device: index, name or part of a name; "" for the default.
        rate: samples per second to ask for (0: the device's own; 16 kHz of a sound server).
        channels: channels to open (0: all of a device, one of a sound server, whichever device it is when
            it comes back; the rate stays).
        channel: a channel counted from 0, or "mix".
        stall_ms: without a callback for so long the device is called stalled.
        ring_seconds: how much audio the ring holds.
        doorbell: one to share with other sources.

    Raises:
        DeviceError: PortAudio is missing, or there is no such device, rate or channel.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str | int = "",
        rate: int = 0,
        channels: int = 0,
        channel: Channel = "mix",
        stall_ms: int = 1000,
        ring_seconds: float = 4.0,
        doorbell: Doorbell | None = None,
    ) -> None:
        """Find the device; see the class for the arguments."""
        found = devices.choose(device, devices.list_inputs())
        super().__init__(name, rate or _native_rate(found), ring_seconds=ring_seconds, doorbell=doorbell)
        self.device = found
        self.channels = channels or _channels(found, channel)
        _check_channels(found, self.channels, channel)
        self._wanted, self._wanted_channels = device, channels
        self._channel = channel
        self._stall_ns = stall_ms * 1_000_000
        self._mono: FloatArray = np.zeros(int(_LONGEST_BLOCK_S * self.native_rate), np.float32)
        self._held: FloatArray = np.zeros(
            int((HOLD_SAMPLES_S + _LONGEST_BLOCK_S) * self.native_rate), np.float32
        )
        self._held_count = 0
        self._losses = LossDetector(self.native_rate, self._stall_ns)
        self._stream: Any = None
        self._last_callback_ns = 0
        self._callbacks = 0
        self._finished_early = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name=f"mic-{name}", daemon=True)

    # --- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the device and record."""
        self._open(_AT_START)
        self._notify_opened("opened")
        self._supervisor.start()

    def stop(self) -> None:
        """Close the device."""
        self._stopping.set()
        self._finished_early.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        self._close()
        self.finished = True
        self._close_doorbell()

    def _open(self, remedy: str = _LATER) -> None:
        sd = devices.portaudio()
        with devices.device_lock():
            found = devices.choose(self._wanted, devices.list_inputs())
            channels = self._wanted_channels or _channels(found, self._channel)
            _check_channels(found, channels, self._channel)
            self._finished_early.clear()
            stream = None
            try:
                stream = sd.InputStream(
                    device=found.index,
                    samplerate=self.native_rate,
                    channels=channels,
                    dtype="float32",
                    blocksize=self.native_rate // BLOCKS_PER_SECOND,
                    latency="low",
                    callback=self._callback,
                    finished_callback=self._finished_early.set,
                )
                self._last_callback_ns = time.monotonic_ns()
                stream.start()
            except (sd.PortAudioError, ValueError) as err:
                if stream is not None:  # it is open, and nobody else would close it
                    stream.close(ignore_errors=True)
                raise DeviceError(
                    f"cannot record from {found.name!r} with {self.native_rate} Hz and {channels} "
                    f"channel(s): {err}; {remedy}, or close the program that holds it"
                ) from err
            devices.stream_opened()
            self._stream, self.device, self.channels = stream, found, channels

    def _close(self) -> None:
        with devices.device_lock():
            if self._stream is None:
                return
            with contextlib.suppress(Exception):  # a device that is gone fails in many ways; it is gone
                self._stream.close(ignore_errors=True)
            self._stream = None
            devices.stream_closed()

    def _notify_opened(self, state: Any, detail: str = "") -> None:
        latency = getattr(self._stream, "latency", 0.0)
        detail = detail or f"latency before the callback about {1000 * latency:.0f} ms"
        self._notify_device(state, time.monotonic_ns(), self.device.name, self.channels, detail)

    # --- the hot path ------------------------------------------------------------------------------

    def _callback(self, frames: FloatArray, count: int, times: Any, status: Any) -> None:
        now_ns = time.monotonic_ns()
        mono = self._mono[:count]
        if len(mono) < count:  # longer than any block asked for: count it, do not grow
            self.ring.mark_lost(count, "overflow")
            return
        mix_into(frames, self._channel, mono)
        adc_ns = int(times.inputBufferAdcTime * NS_PER_SECOND)
        lost = self._losses.observe(count, now_ns, adc_ns, bool(status.input_overflow))
        if lost == HOLD:
            self._held[self._held_count : self._held_count + count] = mono
            self._held_count += count
        else:
            self.ring.mark_lost(lost, self._losses.reason)
            if self._held_count:
                before_ns = now_ns - count * NS_PER_SECOND // self.native_rate
                self.ring.write(self._held[: self._held_count], before_ns)
                self._held_count = 0
            self.ring.write(mono, now_ns)
            self.doorbell.ring()
        self._last_callback_ns = now_ns
        self._callbacks += 1

    # --- off the hot path --------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Keep the device alive; what nobody foresaw ends the source, and is told."""
        try:
            self._keep_alive()
        except Exception as err:
            log.exception("stream %s: the microphone is given up", self.name)
            self.error = DeviceError(f"stream {self.name}: the microphone is given up: {err!r}; see the log")
            self._notify_error(self.error, time.monotonic_ns(), "start the daemon anew")
            self.finished = True
            self.doorbell.ring()

    def _keep_alive(self) -> None:
        """Watch for stalls and the end of the device, and bring it back."""
        stalled_since_ns, retry_s = 0, _REOPEN_STALLED_S
        while not self._stopping.is_set():
            gone = self._finished_early.wait(_SUPERVISE_S)
            if self._stopping.is_set():
                return
            now_ns = time.monotonic_ns()
            if gone or self._stream is None or not self._stream.active:
                self._recover()
                stalled_since_ns = 0
            elif now_ns - self._last_callback_ns <= self._stall_ns:
                if stalled_since_ns and self._last_callback_ns > stalled_since_ns:
                    silent_s = (self._last_callback_ns - stalled_since_ns) / NS_PER_SECOND
                    self._notify_opened("resumed", f"about {silent_s:.1f} s after the stall was noticed")
                    stalled_since_ns, retry_s = 0, _REOPEN_STALLED_S
            elif not stalled_since_ns:
                stalled_since_ns = now_ns
                detail = f"no audio for {self._stall_ns // 1_000_000} ms"
                self._notify_device("stalled", now_ns, self.device.name, self.channels, detail)
            elif now_ns - max(stalled_since_ns, self._last_callback_ns) > retry_s * NS_PER_SECOND:
                retry_s = min(2 * retry_s, _LONGEST_STALL_RETRY_S)
                self._reopen_stalled()

    def _reopen_stalled(self) -> None:
        """A device that stays silent may be a server that lost its source: open it again, without a word."""
        log.info("stream %s: reopening the stalled device %s", self.name, self.device.name)
        self._close()
        try:
            devices.refresh()
            self._open()
        except DeviceError:
            self._finished_early.set()  # it is lost, then

    def _recover(self) -> None:
        """Close, look for devices anew, reopen, with back-off, until it works or the source is stopped.

        Each reason why it does not work is told once.
        """
        self._notify_device(
            "lost", time.monotonic_ns(), self.device.name, self.channels, "the device stopped; reopening it"
        )
        self._close()
        retry_s, told = _FIRST_RETRY_S, set[str]()
        while not self._stopping.is_set():
            try:
                devices.refresh()
                self._losses.reopened()
                self._held_count = 0
                self._open()
            except DeviceError as err:
                if str(err) not in told:
                    told.add(str(err))
                    log.warning("stream %s: %s", self.name, err)
                    self._notify_error(err, time.monotonic_ns())
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
            else:
                self._notify_opened("resumed")
                return


def _native_rate(device: devices.InputDevice) -> int:
    """A sound server converts anyway: let it do so once, to the rate of the pipeline."""
    return PIPELINE_RATE if device.is_server else device.rate


def _channels(device: devices.InputDevice, channel: Channel) -> int:
    if not device.is_server:
        return device.channels
    return 1 if channel == "mix" else channel + 1


def _check_channels(device: devices.InputDevice, channels: int, channel: Channel) -> None:
    if channels > device.channels or (channel != "mix" and channel >= channels):
        raise DeviceError(
            f"{device.name!r} has {device.channels} channel(s): expected channels up to that and channel "
            f'"mix" or 0 to {min(channels, device.channels) - 1}, got channels = {channels}, '
            f"channel = {channel}"
        )
