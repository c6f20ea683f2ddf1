"""Finding the device that was meant, without any device."""

import argparse
import json
import sys

import pytest

from auricle.configs.errors import ConfigError, DeviceError
from auricle.configs.settings import Settings, StreamSettings
from auricle.daemon.commands import devices as command
from auricle.daemon.sources import devices, open_source
from auricle.daemon.sources.devices import InputDevice, choose

INPUTS = [
    InputDevice(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)", "ALSA", 2, 48000, False),
    InputDevice(3, "Yeti Stereo Microphone: USB Audio (hw:1,0)", "ALSA", 2, 44100, False),
    InputDevice(5, "pulse", "ALSA", 32, 44100, True),
]


@pytest.mark.parametrize(
    ("wanted", "index"), [("", 5), (3, 3), ("3", 3), ("yeti", 3), ("PULSE", 5), ("usb audio", 3)]
)
def test_a_device_is_found(wanted: str | int, index: int) -> None:
    assert choose(wanted, INPUTS).index == index


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("Yetti", "unknown sound input 'Yetti', did you mean 'Yeti Stereo Microphone: .*inputs: 0 'HDA"),
        (9, "unknown sound input 9.*5 'pulse'"),
        ("hw:", "several sound inputs fit 'hw:'"),
    ],
)
def test_what_is_not_found_is_answered_with_names(wanted: str | int, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        choose(wanted, INPUTS)


def test_no_device_at_all_is_said_so() -> None:
    with pytest.raises(DeviceError, match="expected a sound input, got none"):
        choose("", [])


def test_a_sound_server_is_told_by_its_channels() -> None:
    assert [device.is_server for device in INPUTS] == [False, False, True]


def test_without_portaudio_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(DeviceError, match="apt-get install libportaudio2"):
        devices.list_inputs()


def run_devices(*options: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(options))


def test_the_devices_command_lists_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "list_inputs", lambda: INPUTS)
    assert run_devices("--json", "--set", "streams.desk.device=5") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[2] == {
        "index": 5,
        "name": "pulse",
        "host": "ALSA",
        "channels": 32,
        "rate": 44100,
        "is_default": True,
        "streams": ["mic", "desk"],
    }
    assert run_devices() == 0
    assert "Yeti" in capsys.readouterr().out
    monkeypatch.setattr(devices, "list_inputs", list)
    assert run_devices("--set", "streams.mic.device=Yety") == 0
    assert "No sound inputs" in capsys.readouterr().out


def test_the_devices_command_says_what_a_stream_would_not_find(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "list_inputs", lambda: INPUTS)
    assert run_devices("--set", "streams.mic.device=Yety") == 0
    assert "stream mic: unknown sound input 'Yety', did you mean" in capsys.readouterr().err


def test_a_remote_stream_wants_an_ingress() -> None:
    with pytest.raises(ConfigError, match=r"set ingress\.endpoint"):
        open_source("attic", StreamSettings(source="zmq"), Settings())
