"""Files as a source: every format, both paces, and clear words for what is no audio."""

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tone_engine import ACOUSTIC, ToneEngine

from auricle.configs.errors import FormatError
from auricle.configs.loader import load
from auricle.daemon.ring import FloatArray, Span
from auricle.daemon.selftest import check_posteriors
from auricle.daemon.sources.file import FileSource, probe, read_blocks

RATE = 16000


def tone(count: int, channels: int = 1) -> FloatArray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(count) / RATE)
    return np.stack([wave * (k + 1) / channels for k in range(channels)], axis=1).astype(np.float32)


def write(path: Path, samples: FloatArray, rate: int = RATE, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def piped(path: Path, count: int) -> Path:
    """A flac of so many samples as an encoder leaves it that cannot go back and fill in their number."""
    content = bytearray(write(path, tone(max(count, 1))).read_bytes())
    content[21] &= 0xF0  # the upper 4 of its 36 bits
    content[22:26] = bytes(4)
    if count == 0:
        content = content[: content.index(b"\xff\xf8")]  # where the first frame begins
    path.write_bytes(content)
    return path


def drain(source: FileSource) -> list[Span]:
    spans, give_up = [], time.monotonic() + 10
    while True:
        finished = source.finished
        span = source.ring.read(1000)
        if span is not None:
            spans.append(span)
        elif finished:
            return spans
        assert time.monotonic() < give_up
        time.sleep(0.0005)


def joined(spans: list[Span]) -> FloatArray:
    return np.concatenate([span.samples for span in spans])


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)]
)
def test_every_format_is_read(tmp_path: Path, suffix: str, tolerance: float) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(8000))
    info = probe(path)
    assert (info.rate, info.channels) == (RATE, 1)
    got = np.concatenate(list(read_blocks(path, 777)))
    assert abs(len(got) - 8000) <= (0 if suffix != "mp3" else 2400)
    np.testing.assert_allclose(got[2000:6000], tone(8000)[2000:6000, 0], atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(block=st.integers(10, 9000), suffix=st.sampled_from(["wav", "flac", "ogg", "mp3"]))
def test_blocks_cut_the_same_signal(
    tmp_path_factory: pytest.TempPathFactory, block: int, suffix: str
) -> None:
    path = write(tmp_path_factory.mktemp("a") / f"a.{suffix}", tone(4321))
    blocks = list(read_blocks(path, block))
    assert all(len(part) == block for part in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(list(read_blocks(path, 100000))))


def test_channels_are_mixed_or_picked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1000, 2), subtype="FLOAT")
    both = tone(1000, 2)
    np.testing.assert_allclose(np.concatenate(list(read_blocks(path, 300))), both.mean(axis=1), atol=1e-7)
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(path, 300, 1))), both[:, 1])
    with pytest.raises(FormatError, match="expected a channel from 0 to 1, got 2"):
        next(read_blocks(path, 300, 2))


def test_full_pace_loses_nothing_through_a_small_ring(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}.wav", tone(20000 + k), subtype="FLOAT") for k in range(3)]
    source = FileSource("notes", paths, pace="full", ring_seconds=0.05)
    source.start()
    spans = drain(source)
    source.stop()
    np.testing.assert_array_equal(joined(spans), np.concatenate([tone(20000 + k)[:, 0] for k in range(3)]))
    assert source.ring.lost_total == 0
    assert not source.paced
    assert [notice.state for notice in source.poll(0)] == ["opened", "opened", "opened", "ended"]


def test_realtime_pace_keeps_the_clock_and_stamps_it(tmp_path: Path) -> None:
    source = FileSource("notes", [write(tmp_path / "a.wav", tone(8000))])
    begun_ns = time.monotonic_ns()
    source.start()
    spans = drain(source)
    took = (time.monotonic_ns() - begun_ns) / 1e9
    source.stop()
    assert source.paced
    assert 0.48 < took < 1.5
    steps = {
        round((b.captured_ns - a.captured_ns) * RATE / 1e9) - len(b.samples)
        for a, b in itertools.pairwise(spans)
    }
    assert steps <= {-1, 0, 1}


def test_a_paced_file_that_nobody_reads_drops_the_newest_and_counts(tmp_path: Path) -> None:
    source = FileSource("notes", [write(tmp_path / "a.wav", tone(8000), subtype="FLOAT")], ring_seconds=0.1)
    source.start()
    while not source.finished:
        time.sleep(0.01)
    source.stop()
    spans = drain(source)
    np.testing.assert_array_equal(joined(spans), tone(8000)[:1600, 0])
    assert [(span.lost_before, span.reason) for span in spans if span.lost_before] == [(6400, "overflow")]
    assert source.ring.native_index == 8000


def test_files_of_different_rates_become_one_stream(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.wav", tone(8000), 8000), write(tmp_path / "b.wav", tone(48000), 48000)]
    source = FileSource("notes", paths, pace="full")
    source.start()
    assert source.native_rate == RATE
    assert len(joined(drain(source))) == 32000
    source.stop()


def test_a_loop_goes_on_until_stopped(tmp_path: Path) -> None:
    source = FileSource("notes", [write(tmp_path / "a.wav", tone(160))], pace="full", loop=True)
    source.start()
    count = 0
    while count < 1000:
        span = source.ring.read(100)
        count += len(span.samples) if span else 0
    source.stop()
    source.stop()
    assert source.finished


def test_a_flac_of_unknown_length_is_read_to_its_end_and_looped(tmp_path: Path) -> None:
    path = piped(tmp_path / "a.flac", 5000)
    assert probe(path).frames is None
    np.testing.assert_allclose(np.concatenate(list(read_blocks(path, 777))), tone(5000)[:, 0], atol=1e-4)
    source = FileSource("notes", [path], pace="full", loop=True)
    source.start()
    count, give_up = 0, time.monotonic() + 10
    while count < 12_000 and time.monotonic() < give_up:
        span = source.ring.read(1000)
        count += len(span.samples) if span else 0
    source.stop()
    assert count >= 12_000 and source.error is None


def test_the_selftest_takes_a_file_of_unknown_length(tmp_path: Path) -> None:
    path = piped(tmp_path / "a.flac", 5000)
    assert check_posteriors(path, ACOUSTIC, load("vad"), ToneEngine()).passed


def test_a_loop_of_nothing_ends(tmp_path: Path) -> None:
    source = FileSource("notes", [piped(tmp_path / "a.flac", 0)], pace="full", loop=True)
    source.start()
    assert drain(source) == []
    source.stop()
    assert "without a single sample" in str(source.error)


def test_a_wrong_declared_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected 44100 Hz as declared, got 16000 Hz; set rate = 0"):
        FileSource("notes", [write(tmp_path / "a.wav", tone(10))], rate=44100)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.wav", b"", "got an empty file"),
        ("text.wav", b"Dear diary, today I said yes.", "expected audio .*convert it to wav or flac"),
        ("audio.raw", bytes(100), "expected audio .*headerless"),
    ],
)
def test_what_is_no_audio_is_named_with_its_remedy(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=words):
        probe(tmp_path / name)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    write(tmp_path / "kitchen.wav", tone(10))
    with pytest.raises(FormatError, match=r"no such file; did you mean .*kitchen\.wav"):
        probe(tmp_path / "kichen.wav")
    with pytest.raises(FormatError, match="got a folder"):
        probe(tmp_path)
    with pytest.raises(FormatError, match="does not exist either"):
        probe(tmp_path / "no" / "a.wav")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(FormatError, match=r"got a pipe or device.*stdin"):
        probe(tmp_path / "pipe.wav")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="without a single sample"):
        probe(write(tmp_path / "a.wav", tone(0)))


def test_what_broke_off_is_told_from_what_is_no_audio(tmp_path: Path) -> None:
    content = write(tmp_path / "a.ogg", tone(40_000)).read_bytes()
    (tmp_path / "a.ogg").write_bytes(content[:4000])
    with pytest.raises(FormatError, match=r"OGG.* without a single sample.*it was cut short"):
        probe(tmp_path / "a.ogg")
    soundfile.write(tmp_path / "b.ogg", tone(40_000), RATE, format="OGG", subtype="OPUS")
    (tmp_path / "b.ogg").write_bytes((tmp_path / "b.ogg").read_bytes()[:500])
    with pytest.raises(FormatError, match="cut short before its audio, or corrupt"):
        probe(tmp_path / "b.ogg")
    content = write(tmp_path / "c.wav", tone(8000)).read_bytes()
    (tmp_path / "c.wav").write_bytes(content[:40] + bytes(4) + content[44:])
    with pytest.raises(FormatError, match=r"says its header.*sox --ignore-length c\.wav"):
        probe(tmp_path / "c.wav")


@contextmanager
def as_nobody() -> Iterator[None]:
    """As one who may not read everything, which root may."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_says_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path, folder = write(Path(name) / "a.wav", tone(10)), Path(name) / "closed"
        folder.mkdir()
        write(folder / "b.wav", tone(10))
        path.chmod(0)
        folder.chmod(0)
        with as_nobody():
            for closed in (path, folder / "b.wav"):
                with pytest.raises(FormatError, match=f"{closed.name}: .*may be read.*owner and mode"):
                    probe(closed)
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "a\0.wav"])
def test_a_name_that_cannot_be_is_refused_like_any_other(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match="check its name"):
        probe(tmp_path / name)


def test_nan_is_found_and_placed(tmp_path: Path) -> None:
    samples = tone(5000)
    samples[1600] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(FormatError, match=r"NaN or infinity at frame 1600 \(0\.100 s\)"):
        list(read_blocks(path, 1000))
    source = FileSource("notes", [path], pace="full")
    source.start()
    assert len(joined(drain(source))) == 1600
    source.stop()
    assert isinstance(source.error, FormatError)
    assert "error" in [notice.kind for notice in source.poll(0)]


def test_a_corrupt_file_ends_with_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, 40000).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="corrupt"):
        list(read_blocks(path, 1000))
