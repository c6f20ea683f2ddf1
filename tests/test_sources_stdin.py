"""Raw PCM: every declared format, odd ends, and audio files taken for it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.configs.errors import FormatError
from auricle.daemon.ring import FloatArray
from auricle.daemon.sources.stdin import BYTES_PER_SAMPLE, StdinSource, decode_pcm, encode_s16

RATE = 16000


class Pipe:
    """A source that reads from a pipe, and its writing end."""

    def __init__(self, **options: Any) -> None:
        read_fd, self.write_fd = os.pipe()
        self._stream = os.fdopen(read_fd, "rb", buffering=0)
        defaults: dict[str, Any] = {"rate": RATE, "sample_format": "s16le", "pace": "full"}
        self.source = StdinSource("desk", stream=self._stream, **{**defaults, **options})
        self.source.start()

    def feed(self, data: bytes) -> None:
        os.write(self.write_fd, data)

    def end(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def read_to_end(self, timeout_s: float = 5.0) -> FloatArray:
        parts, give_up = [np.empty(0, np.float32)], time.monotonic() + timeout_s
        while True:
            finished = self.source.finished
            span = self.source.ring.read(1 << 16)
            if span is not None:
                parts.append(span.samples)
            elif finished:
                return np.concatenate(parts)
            assert time.monotonic() < give_up
            time.sleep(0.001)

    def close(self) -> None:
        self.end()
        self.source.stop()
        self._stream.close()


@pytest.fixture
def open_pipe() -> Iterator[Callable[..., Pipe]]:
    pipes: list[Pipe] = []

    def make(**options: Any) -> Pipe:
        pipes.append(Pipe(**options))
        return pipes[-1]

    yield make
    for pipe in pipes:
        pipe.close()


@given(st.lists(st.integers(-(1 << 15), (1 << 15) - 1)))
def test_s16_there_and_back_is_exact(values: list[int]) -> None:
    data = np.array(values, "<i2").tobytes()
    assert encode_s16(decode_pcm(data, "s16le")) == data


def test_full_scale_is_clipped_not_wrapped() -> None:
    assert np.frombuffer(encode_s16(np.array([1.0, -1.0, 3.0], np.float32)), "<i2").tolist() == [
        32767,
        -32768,
        32767,
    ]


@pytest.mark.parametrize(
    ("sample_format", "data"),
    [
        ("s16le", np.array([0, 16384, -32768], "<i2").tobytes()),
        ("s24le", b"\x00\x00\x00" + b"\x00\x00\x40" + b"\x00\x00\x80"),
        ("s32le", np.array([0, 1 << 30, -(1 << 31)], "<i4").tobytes()),
        ("f32le", np.array([0, 0.5, -1], "<f4").tobytes()),
        ("u8", bytes([128, 192, 0])),
    ],
)
def test_every_format_means_the_same(open_pipe: Callable[..., Pipe], sample_format: str, data: bytes) -> None:
    assert len(data) == 3 * BYTES_PER_SAMPLE[sample_format]
    pipe = open_pipe(sample_format=sample_format)
    pipe.feed(data)
    pipe.end()
    assert pipe.read_to_end().tolist() == [0, 0.5, -1]
    assert pipe.source.error is None
    assert [notice.state for notice in pipe.source.poll(0)] == ["opened", "ended"]


def test_frames_may_arrive_in_pieces(open_pipe: Callable[..., Pipe]) -> None:
    pipe, expected = open_pipe(channels=2, channel=1), np.arange(2000, dtype="<i2")
    data = expected.tobytes()
    for at in range(0, len(data), 7):
        pipe.feed(data[at : at + 7])
    pipe.end()
    np.testing.assert_array_equal(pipe.read_to_end() * 32768, expected[1::2])


def test_an_odd_trailing_byte_is_an_error_not_a_crash(open_pipe: Callable[..., Pipe]) -> None:
    pipe = open_pipe()
    pipe.feed(bytes(5))
    pipe.end()
    assert len(pipe.read_to_end()) == 2
    assert isinstance(pipe.source.error, FormatError)
    kinds = [(notice.kind, notice.state) for notice in pipe.source.poll(0)]
    assert kinds == [("device", "opened"), ("error", None), ("device", "ended")]


@pytest.mark.parametrize(
    "head", [b"RIFF\x24\x00\x00\x00WAVE", b"fLaC\x00\x00", b"OggS\x00\x02", b"ID3\x04\x00"]
)
def test_a_file_with_a_header_is_recognised(open_pipe: Callable[..., Pipe], head: bytes) -> None:
    pipe = open_pipe()
    for byte in head:
        pipe.feed(bytes([byte]))
    pipe.end()
    assert len(pipe.read_to_end()) == 0
    assert "expected raw PCM, got a" in str(pipe.source.error)
    assert "auricle stream" in str(pipe.source.error)


def test_nan_in_floats_is_an_error(open_pipe: Callable[..., Pipe]) -> None:
    pipe = open_pipe(sample_format="f32le")
    pipe.feed(np.array([0, np.nan], "<f4").tobytes())
    pipe.end()
    pipe.read_to_end()
    assert "is it really f32le?" in str(pipe.source.error)


def test_an_empty_input_just_ends(open_pipe: Callable[..., Pipe]) -> None:
    pipe = open_pipe()
    pipe.end()
    assert len(pipe.read_to_end()) == 0
    assert pipe.source.error is None


def test_a_full_ring_makes_the_writer_wait(open_pipe: Callable[..., Pipe]) -> None:
    pipe, data = open_pipe(ring_seconds=0.1), bytes(400_000)
    writer = threading.Thread(target=lambda: (pipe.feed(data), pipe.end()))
    writer.start()
    time.sleep(0.2)
    assert writer.is_alive()
    assert len(pipe.read_to_end()) == 200_000
    writer.join()
    assert pipe.source.ring.lost_total == 0


def test_realtime_pace_holds_a_fast_writer_back(open_pipe: Callable[..., Pipe]) -> None:
    pipe, begun = open_pipe(pace="realtime"), time.monotonic()
    pipe.feed(bytes(RATE))  # half a second
    pipe.end()
    assert len(pipe.read_to_end()) == RATE // 2
    assert time.monotonic() - begun > 0.45


def test_stopping_does_not_wait_for_the_writer(open_pipe: Callable[..., Pipe]) -> None:
    pipe, begun = open_pipe(), time.monotonic()
    pipe.source.stop()
    assert time.monotonic() - begun < 1
    assert pipe.source.finished


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 0}, "expected a rate from 4000 to 384000 Hz, got 0; declare the rate"),
        ({"sample_format": ""}, "expected a format of s16le, s24le, s32le, f32le, u8, got ''"),
        ({"channels": 0}, "of 0"),
        ({"channels": 2, "channel": 2}, 'expected channel "mix" or 0 to 1 of 2, got 2'),
    ],
)
def test_what_is_not_declared_is_asked_for(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with (tmp_path / "in").open("w+b") as stream, pytest.raises(FormatError, match=words):
        StdinSource("desk", stream=stream, **{"rate": RATE, "sample_format": "s16le", **options})
