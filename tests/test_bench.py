"""What listening costs: every part is told, and the parts add up."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.configs.loader import load
from auricle.daemon.bench import REST, TOTAL, WHOLE, benchmark, table, variants
from auricle.models.engine import TorchEngine


@pytest.fixture(name="recording")
def _recording(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.01, 8000), 16_000)
    return path


def test_the_parts_add_up_to_the_total(recording: Path) -> None:
    wake = 'wake=[{phrase="hey auricle"}, {phrase="good morning kitchen"}]'
    settings = load("assistant", [wake, "commands.enabled=false", "transcript.enabled=false"])
    runs = variants(settings, TorchEngine())
    found = benchmark([recording], runs, rounds=1)
    whole = found[WHOLE]
    parts = {"features", "vad model", "acoustic model", "vad decisions", "wake search, 2 phrases", REST}
    assert set(whole) == {*parts, TOTAL}
    assert all(whole[part] > 0 for part in parts)
    assert sum(whole[part] for part in parts) == pytest.approx(whole[TOTAL])
    alone = found["one wake phrase alone"]
    assert "wake search, 1 phrase" in alone and "vad model" not in alone
    text = table(found)
    assert all(part in text for part in whole) and f"{whole[TOTAL]:.2f} %" in text
