"""Sound devices: PortAudio itself, the list of inputs, and finding the one that was meant.

PortAudio keeps one device list for the whole process and forgets every stream when it is initialised anew,
so opening, closing and re-initialising go through one lock and a count of open streams.
"""

import contextlib
import difflib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auricle.configs.errors import DeviceError

if TYPE_CHECKING:
    import types

SERVER_CHANNELS: Final = 9
"""An input that offers this many channels is a sound server (pulse: 32, pipewire: 64), not a microphone."""

_INSTALL = "install it: apt-get install libportaudio2 (Debian, Ubuntu)"
_lock = threading.RLock()
_open_streams = 0


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A sound device that records: `rate` is its default (Hz), `channels` the most it has."""

    index: int
    name: str
    host: str
    channels: int
    rate: int
    is_default: bool

    @property
    def is_server(self) -> bool:
        """Whether a sound server stands behind it, which converts rates and channels itself."""
        return self.channels >= SERVER_CHANNELS


def portaudio() -> "types.ModuleType":
    """The sounddevice module.

    Raises:
        DeviceError: PortAudio is not installed.
    """
    with _lock:
        try:
            import sounddevice
        except OSError as err:
            raise DeviceError(
                f"expected the PortAudio library for sound devices, got none; {_INSTALL}"
            ) from err
        module: types.ModuleType = sounddevice
        return module


def list_inputs() -> list[InputDevice]:
    """All devices that record, by index.

    Raises:
        DeviceError: PortAudio is missing or does not answer.
    """
    sd = portaudio()
    with _lock:
        try:
            devices, hosts, default = sd.query_devices(), sd.query_hostapis(), _default_index(sd)
        except sd.PortAudioError as err:
            raise DeviceError(f"PortAudio cannot list the devices: {err}") from err
    return [
        InputDevice(
            index,
            str(device["name"]),
            str(hosts[device["hostapi"]]["name"]),
            int(device["max_input_channels"]),
            round(device["default_samplerate"]),
            index == default,
        )
        for index, device in enumerate(devices)
        if device["max_input_channels"] > 0
    ]


def _default_index(sd: Any) -> int:
    index = int(sd.default.device[0])
    if index >= 0:
        return index
    try:
        return int(sd.query_devices(kind="input")["index"])
    except (sd.PortAudioError, ValueError):
        return -1


def choose(wanted: str | int, devices: Sequence[InputDevice]) -> InputDevice:
    """Find the device that was meant.

    Args:
        wanted: an index, a name, a part of a name (case does not matter), or "" for the default.
        devices: the inputs there are.

    Raises:
        DeviceError: none or several fit; the message lists what there is and the nearest names.
    """
    if not devices:
        raise DeviceError("expected a sound input, got none: plug one in, or start the sound server")
    if wanted == "":
        return next((device for device in devices if device.is_default), devices[0])
    if isinstance(wanted, int) or wanted.isdecimal():
        fitting = [device for device in devices if device.index == int(wanted)]
    else:
        name = wanted.casefold()
        fitting = [device for device in devices if device.name.casefold() == name]
        fitting = fitting or [device for device in devices if name in device.name.casefold()]
    if not fitting:
        raise DeviceError(f"unknown sound input {wanted!r}{_near(wanted, devices)}; {_listing(devices)}")
    if len({device.name for device in fitting}) > 1:
        raise DeviceError(f"several sound inputs fit {wanted!r}: name one of them; {_listing(fitting)}")
    return fitting[0]


def _near(wanted: str | int, devices: Sequence[InputDevice]) -> str:
    names = {device.name.casefold(): device.name for device in devices}
    words = {word: name for folded, name in names.items() for word in (folded, *folded.split())}
    near = difflib.get_close_matches(str(wanted).casefold(), words, n=3, cutoff=0.5)
    found = dict.fromkeys(words[word] for word in near)
    return f", did you mean {' or '.join(repr(name) for name in found)}?" if found else ""


def _listing(devices: Sequence[InputDevice]) -> str:
    return "inputs: " + ", ".join(f"{device.index} {device.name!r}" for device in devices)


@contextmanager
def device_lock() -> Iterator[None]:
    """Held while a stream is opened or closed."""
    with _lock:
        yield


def stream_opened() -> None:
    """Count a stream; call it with the lock held."""
    global _open_streams  # noqa: PLW0603 - PortAudio is one per process
    _open_streams += 1


def stream_closed() -> None:
    """Forget a stream; call it with the lock held."""
    global _open_streams  # noqa: PLW0603
    _open_streams -= 1


def refresh() -> bool:
    """Let PortAudio look for devices anew.

    Returns:
        False when it could not, because a stream is open somewhere in the process and would be cut off.

    Raises:
        DeviceError: PortAudio is missing or does not start again.
    """
    sd = portaudio()
    with _lock:
        if _open_streams:
            return False
        with contextlib.suppress(sd.PortAudioError):  # the last start failed: there is nothing to end
            sd._terminate()
        try:
            sd._initialize()
        except sd.PortAudioError as err:
            raise DeviceError(f"PortAudio does not start again: {err}; is the sound server running?") from err
        return True
