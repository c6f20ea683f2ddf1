"""Recordings of a user, listed in a manifest, to judge wake phrases, commands and transcripts by."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import auricle.daemon
from auricle.configs import cli
from auricle.configs.errors import DataError
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.evaluate_transcripts import sentences
from auricle.pipelines.recorded import read_recorded
from auricle.pipelines.wake_trials import is_other_speech, lay_recorded, text_of

BUNDLED = Path(auricle.daemon.__path__[0]) / "recordings"


def write(folder: Path, lines: list[dict[str, Any]], samples: np.ndarray[Any, Any]) -> Path:
    """Lines of one file each, which is as long as `samples`."""
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "a.flac", samples, SAMPLE_RATE)
    basis = {"file": "a.flac", "start": 0, "duration": len(samples) / SAMPLE_RATE}
    rows = [{"id": str(number), **basis, **line} for number, line in enumerate(lines)]
    manifest = folder / "mine.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


def ramp(start: int, seconds: float = 0.5) -> np.ndarray[Any, Any]:
    return (np.arange(int(seconds * SAMPLE_RATE)) % 1000 + start).astype(np.int16)


def test_no_recording_is_taken_for_another(tmp_path: Path) -> None:
    first = write(tmp_path / "one", [{}], ramp(1))
    second = write(tmp_path / "two", [{}], ramp(2))  # the same name in another folder
    heard = [read_recorded(path, tmp_path / "work") for path in (first, second)]
    assert [int(one.corpus.audio(one.clips[0])[0]) for one in heard] == [1, 2]
    write(tmp_path / "one", [{}], ramp(3))  # recorded anew
    later = (tmp_path / "one/a.flac").stat().st_mtime + 5
    os.utime(tmp_path / "one/a.flac", (later, later))
    again = read_recorded(first, tmp_path / "work")
    again.corpus.decode(again.clips)
    assert int(again.corpus.audio(again.clips[0])[0]) == 3


def test_a_manifest_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest at .*none\.jsonl"):
        read_recorded(tmp_path / "none.jsonl", tmp_path)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no recordings"):
        read_recorded(tmp_path / "empty.jsonl", tmp_path)


def test_wake_phrases_want_other_speech_beside_them(tmp_path: Path) -> None:
    wake = {"wake": "hey lamp", "text": "hey lamp go on"}
    long = ramp(0, 61)
    with pytest.raises(DataError, match='need "wake"'):
        lay_recorded(read_recorded(write(tmp_path / "a", [{}], long), tmp_path / "work"))
    with pytest.raises(DataError, match="0 s of recordings without `wake`"):
        lay_recorded(read_recorded(write(tmp_path / "b", [wake], long), tmp_path / "work"))
    both = read_recorded(write(tmp_path / "c", [wake, wake, {"text": "good night"}], long), tmp_path / "work")
    trials = lay_recorded(both, most=1)
    assert trials.phrases == ("hey lamp",)
    assert sorted(text_of(place.note) for place in trials.placed) == ["", "hey lamp"]
    assert sum(is_other_speech(place.note) for place in trials.placed) == 1
    assert trials.hours == pytest.approx(2 * 61 / 3600, rel=0.05)  # no silence that would count as speech


def test_sentences_are_those_with_a_text(tmp_path: Path) -> None:
    clips = read_recorded(write(tmp_path, [{"text": "good night"}, {}], ramp(0)), tmp_path).clips
    assert [clip.text for clip in sentences(clips)] == ["good night"]
    with pytest.raises(DataError, match="no sentences"):
        sentences(clips[1:])


def test_a_user_judges_transcripts_on_his_recordings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, _ = soundfile.read(BUNDLED / "study.flac", dtype="int16")
    said = json.loads((BUNDLED / "recordings.json").read_text())[1]["pieces"][0]["says"]
    manifest = write(tmp_path / "mine", [{"text": said}], samples)
    command = ["evaluate", "transcripts", "--manifest", str(manifest), "--work", str(tmp_path / "work")]
    assert cli.main([*command, "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 0
    assert "judged without added noise" in caplog.text
    (row,) = json.loads((tmp_path / "out/transcripts-recorded.json").read_text())["rows"]
    assert (row["set"], row["condition"], row["words"]) == ("recorded", "clean", len(said.split()))
    assert row["wer"]["value"] < 0.5
    assert (tmp_path / "out/transcripts-recorded.png").stat().st_size > 5000


def test_a_manifest_is_for_what_is_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["vad.safetensors"], ["wake", "--fit", "8"]):
        assert cli.main(["evaluate", *words, "--manifest", str(tmp_path / "mine.jsonl")]) == 2
        assert "--manifest goes with wake, commands, transcripts" in capsys.readouterr().err
