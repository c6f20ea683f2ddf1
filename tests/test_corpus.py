"""Manifests, decoding, and the promise that `eval` and shared speakers stay out of training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import (
    SPLITS,
    Corpus,
    manifests_digest,
    read_manifest,
    shared_between_splits,
)


def write_set(data: Path, name: str, split: str, entries: list[dict[str, object]]) -> None:
    folder = data / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, entry in enumerate(entries):
        lines.append(
            {"id": f"{split}-{number}", "file": f"{name}/{split}.flac", "start": number, "duration": 0.5}
            | entry
        )
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ramp = np.arange(16_000 * max(1, len(entries)), dtype=np.int64) % 1000
    soundfile.write(folder / f"{split}.flac", ramp.astype(np.int16), 16_000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in SPLITS:
        entries = [
            {"speaker": f"{split}-speaker", "text": "good day", "accent": "none"},
            {"speaker": f"{split}-speaker", "label": "yes"},
        ]
        write_set(tmp_path / "data", "toy", split, entries)
    return tmp_path / "data"


def test_reads_clips_and_audio(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, tmp_path / "work")
    first, second = corpus.clips("toy", "train")
    assert (first.id, first.speaker, first.words) == ("train-0", "train-speaker", ("good", "day"))
    assert first.details["accent"] == "none"
    assert (second.words, second.start_sample, second.length_samples) == (("yes",), 16_000, 8_000)
    audio = corpus.audio(second)
    assert audio.dtype == np.int16
    assert audio[:3].tolist() == [0, 1, 2]
    assert len(audio) == 8_000


def test_decodes_once(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, tmp_path / "work")
    clips = corpus.clips("toy", "train")
    corpus.decode(clips)
    decoded = tmp_path / "work/audio/toy/train.flac.npy"
    written = decoded.stat().st_mtime_ns
    (data / "toy/train.flac").unlink()  # not needed any more
    again = Corpus(data, tmp_path / "work")
    again.decode(clips)
    assert len(again.audio(clips[0])) == 8_000
    assert decoded.stat().st_mtime_ns == written
    assert not list(decoded.parent.glob("*.partial*"))


OTHER_RUN = """
import sys
from pathlib import Path
from auricle.pipelines.corpus import Corpus

corpus = Corpus(Path(sys.argv[1]), Path(sys.argv[2]))
corpus.decode(corpus.clips("toy", "train"))
"""


def test_another_run_decodes_the_same_shard_meanwhile(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, save = tmp_path / "work", np.save

    def save_slowly(path: Path, samples: NDArray[np.int16]) -> None:
        save(path, samples)
        subprocess.run([sys.executable, "-c", OTHER_RUN, data, work], check=True)

    monkeypatch.setattr(np, "save", save_slowly)
    corpus = Corpus(data, work)
    clips = corpus.clips("toy", "train")
    corpus.decode(clips)
    assert len(corpus.audio(clips[0])) == 8_000


def test_training_cannot_read_eval(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, tmp_path)
    with pytest.raises(DataError, match="refused to read split 'eval' of toy"):
        corpus.clips("toy", "eval")
    assert len(Corpus(data, tmp_path, allow_eval=True).clips("toy", "eval")) == 2


def test_missing_folder_set_and_shard_name_the_remedy(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data"):
        Corpus(tmp_path / "nowhere", tmp_path)
    corpus = Corpus(data, tmp_path / "work")
    with pytest.raises(DataError, match="it holds toy"):
        corpus.clips("toys", "train")
    clips = corpus.clips("toy", "dev")
    (data / "toy/dev.flac").write_bytes(b"no audio")
    with pytest.raises(DataError, match="cannot decode shard"):
        corpus.decode(clips)
    with pytest.raises(DataError, match="no room responses"):
        corpus.rooms()


def test_what_another_folder_holds_is_not_taken_for_it(data: Path, tmp_path: Path) -> None:
    """Two data folders with one work folder; and a shard that an older one has replaced."""
    other = tmp_path / "other"
    write_set(other, "toy", "train", [{}])
    shard = other / "toy/train.flac"
    for value in (0.1, 0.2):
        soundfile.write(shard, np.full(16_000, value), 16_000)
        os.utime(shard, (1e9, 1e9 + value))
        first, second = (Corpus(folder, tmp_path / "work") for folder in (data, other))
        assert first.audio(first.clips("toy", "train")[0])[:3].tolist() == [0, 1, 2]
        assert second.audio(second.clips("toy", "train")[0])[0] == pytest.approx(32_768 * value, abs=2)


def test_folders_are_told_apart_by_their_manifests(data: Path) -> None:
    before = manifests_digest(data)
    write_set(data, "toy", "eval", [{"speaker": "none that is learnt from"}])
    assert manifests_digest(data) == before
    write_set(data, "toy", "dev", [{"speaker": "another"}])
    assert manifests_digest(data) != before


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"id": "a", "file": "b", "start": 0}',
        "[]",
        '{"id": "a", "file": "b", "start": -1, "duration": 1}',
        '{"id": "a", "file": "b", "start": 0, "duration": 0}',
        '{"id": "a", "file": "b", "start": 0, "duration": 1e999}',
    ],
)
def test_bad_manifest_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "train.jsonl"
    good = '{"id": "a", "file": "b", "start": 0, "duration": 1}'
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(DataError, match="line 2"):
        read_manifest(path, "toy", "train")


def test_a_manifest_in_another_encoding_is_named_and_a_text_may_hold_any_sign(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    line = '{"id": "a", "file": "b", "start": 0, "duration": 1, "text": "one\u2028two"}'
    path.write_text(f"{line}\n{line}", encoding="utf-8")
    assert [clip.words for clip in read_manifest(path, "toy", "train")] == [("one", "two")] * 2
    path.write_bytes(line.encode("utf-16"))
    with pytest.raises(DataError, match=r"train\.jsonl: .*UTF-8"):
        read_manifest(path, "toy", "train")


def test_finds_what_two_splits_share(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_set(data, "toy", "train", [{"speaker": "ann"}, {"speaker": "bob"}])
    write_set(data, "toy", "eval", [{"speaker": "bob"}])
    write_set(data, "commonvoice", "train", [{"text": "same words"}, {"text": "other words"}])
    write_set(data, "commonvoice", "dev", [{"text": "same words"}])
    corpus = Corpus(data, tmp_path, allow_eval=True)
    clips = [
        clip for name in ("toy", "commonvoice") for split in SPLITS for clip in corpus.clips(name, split)
    ]
    assert shared_between_splits(clips) == [
        "sentence 'same words' is in dev, train",
        "speaker 'bob' is in eval, train",
    ]


@pytest.mark.skipif("AURICLE_DATA" not in os.environ, reason="set AURICLE_DATA to the data folder")
def test_given_data_shares_no_speaker_or_sentence(tmp_path: Path) -> None:
    corpus = Corpus(Path(os.environ["AURICLE_DATA"]), tmp_path, allow_eval=True)
    sets = sorted(path.name for path in corpus.data.iterdir() if path.is_dir())
    clips = [clip for name in sets for split in SPLITS for clip in corpus.clips(name, split)]
    assert shared_between_splits(clips) == []


def test_a_manifest_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("what was said\n")
    with pytest.raises(DataError, match=r"mine\.jsonl, line 1: no JSON \(Expecting value\)"):
        read_manifest(tmp_path / "mine.jsonl", "mine", "eval")


def test_files_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Nor is anything written beside recordings that lie elsewhere."""
    mine, work = tmp_path / "mine", tmp_path / "work"
    mine.mkdir()
    soundfile.write(mine / "a.wav", np.full(1600, 0.1), 16_000)
    soundfile.write(mine / "a.flac", np.full(1600, 0.5), 16_000)
    lines = [
        {"id": str(number), "file": name, "start": 0, "duration": 0.1}
        for number, name in enumerate(["a.wav", "a.flac", str(mine / "a.wav"), "../mine/a.flac"])
    ]
    (mine / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    corpus = Corpus(mine, work)
    levels = [corpus.audio(clip)[0] / 32768 for clip in read_manifest(mine / "mine.jsonl", "mine", "eval")]
    assert levels == pytest.approx([0.1, 0.5, 0.1, 0.5], abs=1e-3)
    assert sorted(path.name for path in mine.iterdir()) == ["a.flac", "a.wav", "mine.jsonl"]
