"""The virtual microphone as a fixture; where its parts are missing, tests skip, or fail if they must run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import virtual_mic as virtual_mic_parts


@pytest.fixture
def virtual_mic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A running virtual microphone (`tests/virtual_mic.py`) that PortAudio of this process sees."""
    missing = virtual_mic_parts.missing_parts()
    if missing:
        reason = f"needs {', '.join(missing)}: {virtual_mic_parts.APT}"
        if os.environ.get("AURICLE_REALPARTS") == "1" or os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from auricle.daemon.sources import devices

    with virtual_mic_parts.VirtualMic(tmp_path / "vmic") as mic:
        for name, value in mic.env.items():
            monkeypatch.setenv(name, value)
        assert devices.refresh(), "a test left a sound device open"
        yield mic
