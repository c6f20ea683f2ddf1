"""Data in parts: there and back, damage found, work not done twice."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import spoken

from auricle.configs.cli import main
from auricle.configs.errors import DataError
from auricle.models.lexicon import Lexicon
from auricle.pipelines import pack as pack_module
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.pack import check_splits, pack, read_index, unpack

PART_MB = 1.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken.write_data(tmp_path_factory.mktemp("data"))


def packed(data: Path, out: Path) -> list[Path]:
    pack(Corpus(data, out), out, PART_MB, (), ("train", "dev"))
    return sorted(out.glob("*.tar"))


def test_parts_come_back_as_they_were(data: Path, tmp_path: Path) -> None:
    parts = packed(data, tmp_path / "parts")
    assert len(parts) > 1
    assert all(part.stat().st_size <= PART_MB * 1e6 for part in parts)
    count = unpack(tmp_path / "parts", tmp_path / "data")
    files = [path.relative_to(tmp_path / "data") for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert count == len(files)
    assert not any("eval" in file.name for file in files)
    for file in files:
        if file.name != "lexicon.txt":
            assert (tmp_path / "data" / file).read_bytes() == (data / file).read_bytes()
    assert Lexicon.of_folder(tmp_path / "data").entries["go"] == (("G", "OW"),)
    corpus = Corpus(tmp_path / "data", tmp_path / "work")
    assert corpus.audio(corpus.clips("talk", "train")[0]).any()


def test_damage_is_found_and_the_rest_is_kept(data: Path, tmp_path: Path) -> None:
    parts = packed(data, tmp_path / "parts")
    content = bytearray(parts[0].read_bytes())
    content[2000] ^= 1
    parts[0].write_bytes(content)
    parts[-1].rename(tmp_path / "kept")
    with pytest.raises(
        DataError, match=f"missing or damaged.*: {parts[0].name}, {parts[-1].name}; copy them"
    ):
        unpack(tmp_path / "parts", tmp_path / "data")
    before = sum(path.is_file() for path in (tmp_path / "data").rglob("*"))
    (tmp_path / "kept").rename(parts[-1])
    packed(data, tmp_path / "parts")  # mends the damaged part
    total = sum(len(part.files) for part in read_index(tmp_path / "parts").parts)
    assert unpack(tmp_path / "parts", tmp_path / "data") == total - before > 0
    assert unpack(tmp_path / "parts", tmp_path / "data") == 0


def test_what_was_packed_in_part_is_not_taken_for_the_whole(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pack_module._write_part

    def fails(path: Path, items: Sequence[pack_module.Item]) -> str:
        if path.name == "part-001.tar":
            raise OSError(28, "No space left on device")
        return write(path, items)

    monkeypatch.setattr(pack_module, "_write_part", fails)
    with pytest.raises(OSError, match="No space"):
        packed(data, tmp_path / "parts")
    with pytest.raises(DataError, match="not packed to the end: 1 parts"):
        unpack(tmp_path / "parts", tmp_path / "data")
    monkeypatch.undo()
    packed(data, tmp_path / "parts")
    assert unpack(tmp_path / "parts", tmp_path / "data") > 0


def test_a_second_packing_writes_nothing(data: Path, tmp_path: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in packed(data, tmp_path)}
    assert {path: path.stat().st_mtime_ns for path in packed(data, tmp_path)} == times


def test_what_cannot_be_packed_is_named(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, tmp_path)
    with pytest.raises(DataError, match=r"too much for parts of 0\.01 MB"):
        pack(corpus, tmp_path, 0.01, (), ("train",))
    with pytest.raises(DataError, match="no set 'song'"):
        pack(corpus, tmp_path, 1.0, ("song",), ("train",))
    with pytest.raises(DataError, match="refused to read split 'eval'"):
        pack(corpus, tmp_path, 1.0, (), ("eval",))
    with pytest.raises(DataError, match=r"index\.json"):
        unpack(tmp_path / "nothing", tmp_path)


def test_parts_cannot_write_elsewhere(data: Path, tmp_path: Path) -> None:
    packed(data, tmp_path)
    index = tmp_path / "index.json"
    index.write_text(index.read_text().replace("talk/train.flac", "../train.flac"))
    with pytest.raises(DataError, match="leads out of the data folder"):
        unpack(tmp_path, tmp_path / "data")


def test_shared_speakers_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = spoken.write_data(tmp_path)
    for name in ("talk", "words", "hiss"):
        (data / name / "eval.jsonl").unlink()
    assert check_splits(data) == []
    assert main(["data", "check", "--data", str(data)]) == 0
    text = (data / "talk/dev.jsonl").read_text().replace("talk-dev-0", "talk-train-0")
    (data / "talk/dev.jsonl").write_text(text)
    assert main(["data", "check", "--data", str(data)]) == 1
    assert "speaker 'talk-train-0' is in dev, train" in capsys.readouterr().out
