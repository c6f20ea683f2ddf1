"""The virtual microphone as a fixture; where its parts are missing, tests skip, or fail if they must run."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "virtual_mic", Path(__file__).parent.parent / "virtual_mic.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["virtual_mic"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def virtual_mic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A running virtual microphone (`tests/virtual_mic.py`) that PortAudio of this process sees."""
    helper = _load()
    missing = helper.missing_parts()
    if missing:
        reason = f"needs {', '.join(missing)}: {helper.APT}"
        if os.environ.get("AURICLE_REALPARTS") == "1" or os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from auricle.daemon.sources import devices

    with helper.VirtualMic(tmp_path / "vmic") as mic:
        for name, value in mic.env.items():
            monkeypatch.setenv(name, value)
        assert devices.refresh(), "a test left a sound device open"
        yield mic
