"""Remote microphones: the protocol, the door, the sender, and what each does when the other misbehaves."""

import argparse
import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.configs.errors import BusError, FormatError
from auricle.configs.settings import IngressSettings
from auricle.daemon import sender as sender_module
from auricle.daemon.commands import send
from auricle.daemon.ingress import (
    MAX_MESSAGE_BYTES,
    Audio,
    Credit,
    Done,
    End,
    Hello,
    Message,
    Ping,
    Pong,
    Refusal,
    Welcome,
    boot_id,
    decode,
    encode,
)
from auricle.daemon.ingress_server import IngressServer
from auricle.daemon.ring import NS_PER_SECOND, FloatArray, Span
from auricle.daemon.sender import AudioSender
from auricle.daemon.sources.base import BaseSource
from auricle.daemon.sources.remote import RemoteSource
from auricle.daemon.sources.stdin import encode_s16

RATE = 16000


def ramp(start: int, count: int) -> FloatArray:
    """Samples that are exact in s16le and tell their place."""
    return ((np.arange(start, start + count) % 30000) / 32768).astype(np.float32)


def wait_for(condition: Callable[[], Any], timeout_s: float = 5.0) -> Any:
    give_up = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.005)
    return result


def read_all(source: BaseSource) -> list[Span]:
    spans = []
    while (span := source.ring.read(1 << 20)) is not None:
        spans.append(span)
    return spans


def collect(source: BaseSource, samples: int) -> list[Span]:
    spans: list[Span] = []

    def enough() -> bool:
        spans.extend(read_all(source))
        return sum(len(span.samples) for span in spans) >= samples

    wait_for(enough)
    return spans


class RawSender:
    """A sender that says exactly what it is told to."""

    def __init__(self, endpoint: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def say(self, message: Message, pcm: bytes = b"") -> None:
        self.socket.send_multipart(encode(message, pcm))

    def hear(self, timeout_s: float = 5.0) -> Message:
        assert self.socket.poll(round(timeout_s * 1000)), "no answer"
        return decode(self.socket.recv_multipart())[0]

    def ask(self, message: Message, pcm: bytes = b"") -> Message:
        self.say(message, pcm)
        return self.hear()

    def close(self) -> None:
        self.socket.close()
        self.context.term()


class Door:
    """A server on a random port with what it handed out."""

    def __init__(self, **options: Any) -> None:
        silent_s = options.pop("silent_s", 5.0)
        ring_seconds = options.pop("ring_seconds", 4.0)
        names = options.pop("names", ("kitchen",))
        rate = options.pop("rate", 0)
        self.new: list[RemoteSource] = []
        self.server = IngressServer(
            IngressSettings(endpoint="tcp://127.0.0.1:*", **options),
            ring_seconds=ring_seconds,
            on_stream=self.new.append,
            silent_s=silent_s,
            taken=frozenset({"desk"}),
        )
        self.sources = {name: self.server.add_stream(name, rate=rate) for name in names}
        self.server.start()
        self._senders: list[RawSender] = []

    def dial(self) -> RawSender:
        self._senders.append(RawSender(self.server.endpoint))
        return self._senders[-1]

    def close(self) -> None:
        for sender in self._senders:
            sender.close()
        self.server.stop()
        for source in self.sources.values():
            source.stop()
        for source in self.new:
            source.stop()


@pytest.fixture
def open_door() -> Iterator[Callable[..., Door]]:
    doors: list[Door] = []

    def make(**options: Any) -> Door:
        doors.append(Door(**options))
        return doors[-1]

    yield make
    for door in doors:
        door.close()


def hello(stream: str = "kitchen", session: str = "s1", **fields: Any) -> Hello:
    return Hello(stream=stream, session=session, rate=fields.pop("rate", RATE), **fields)


MESSAGES: list[Message] = [
    hello(format="f32le", boot="b"),
    Welcome("kitchen", 200),
    Audio(3, 4800, 17),
    Credit(2),
    End(9, 99),
    Done(90, 9),
    Ping(),
    Pong(),
    Refusal("busy", "why", "what to do", True),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_survive_the_wire(message: Message) -> None:
    assert decode(encode(message, b"pcm")) == (message, b"pcm")


def test_unknown_fields_are_left_to_later_versions() -> None:
    assert decode([b'{"v":1,"type":"ping","mood":"good"}', b""]) == (Ping(), b"")


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"\xff\xfe", "expected a header in JSON"),
        (b"[]", "expected a header that is an object"),
        (b'{"v":2,"type":"ping"}', "expected protocol version 1, got 2"),
        (b'{"v":1,"type":"pang"}', "expected a type of hello"),
        (b'{"v":1,"type":["ping"]}', "expected a type of hello"),
        (b'{"v":1,"type":"audio","seq":0}', "expected a field 'sample'"),
        (b'{"v":1,"type":"audio","seq":true,"sample":0}', "audio.seq: expected int, got True"),
        (b'{"v":1,"type":"audio","seq":-1,"sample":0}', "audio.seq: expected 0 to"),
        (
            b'{"v":1,"type":"hello","stream":"a","session":"s","rate":0}',
            "hello.rate: expected 4000 to 384000",
        ),
        (
            b'{"v":1,"type":"hello","stream":"a","session":"s","rate":8000,"format":"mp3"}',
            "expected a format",
        ),
    ],
)
def test_malformed_messages_are_named(header: bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        decode([header, b""])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_decode_or_raise_format_error(parts: list[bytes]) -> None:
    with contextlib.suppress(FormatError):
        decode(parts)


def test_audio_arrives_exactly_and_is_accounted_for(open_door: Callable[..., Door]) -> None:
    door = open_door()
    source, samples = door.sources["kitchen"], ramp(0, 48000)
    with AudioSender(door.server.endpoint, "kitchen", RATE) as sender:
        sender.connect()
        for at in range(0, len(samples), 320):
            sender.send(encode_s16(samples[at : at + 320]), captured_ns=time.monotonic_ns())
        done = sender.finish()
    assert done == Done(48000, 0)
    spans = read_all(source)
    np.testing.assert_array_equal(np.concatenate([span.samples for span in spans]), samples)
    assert source.native_rate == source.ring.rate == RATE
    wait_for(lambda: source.finished)
    assert [notice.state for notice in source.poll(0)] == ["opened", "ended"]


def test_own_stamps_count_on_the_same_machine_only(open_door: Callable[..., Door]) -> None:
    door = open_door(names=("here", "there"))
    for name, boot in (("here", boot_id()), ("there", "another machine")):
        raw, stamp = door.dial(), time.monotonic_ns() - 50_000_000
        assert isinstance(raw.ask(hello(name, boot=boot)), Welcome)
        assert raw.ask(Audio(0, 0, stamp), encode_s16(ramp(0, 160))) == Credit(1)
        (span,) = read_all(door.sources[name])
        assert (span.captured_ns == stamp) is (name == "here")


@pytest.mark.parametrize("uptime_s", [20, 40_000])
def test_a_stamp_that_can_not_be_true_is_replaced_by_the_arrival(uptime_s: int) -> None:
    now_ns, second = uptime_s * NS_PER_SECOND, NS_PER_SECOND
    source = RemoteSource("kitchen")
    source.join(hello(boot=boot_id()), now_ns)
    stamps = [now_ns, now_ns - 5 * second, now_ns // 1000, now_ns // 1_000_000, 1, 0, now_ns + second]
    taken = []
    for seq, stamp in enumerate(stamps):
        source.take(Audio(seq, seq * 160, stamp), encode_s16(ramp(0, 160)), now_ns)
        source.drain()
        taken += [span.captured_ns for span in read_all(source)]
    source.stop()
    assert taken == [now_ns, now_ns - 5 * second] + [now_ns] * 5


def test_holes_become_gaps_of_exactly_that_length(open_door: Callable[..., Door]) -> None:
    door = open_door()
    raw = door.dial()
    raw.ask(hello())
    for seq, sample in ((0, 5000), (1, 5160), (4, 6000)):
        assert raw.ask(Audio(seq, sample), encode_s16(ramp(sample, 160))) == Credit(1)
    assert raw.ask(Audio(2, 5320), encode_s16(ramp(0, 160))) == Credit(1)  # too late: dropped, credit back
    assert isinstance(raw.hear(), Refusal)
    assert raw.ask(End(5, 6200)) == Done(480, 680 + 40)
    wait_for(lambda: door.sources["kitchen"].finished)
    spans = read_all(door.sources["kitchen"])
    assert [(span.start_index, span.lost_before, span.reason) for span in spans] == [
        (0, 0, None),
        (1000, 680, "sequence"),
        (1200, 40, "sequence"),
    ]


def test_a_second_sender_is_refused_until_the_first_has_gone(open_door: Callable[..., Door]) -> None:
    door = open_door(silent_s=0.4)
    first, second = door.dial(), door.dial()
    assert isinstance(first.ask(hello(session="one")), Welcome)
    first.ask(Audio(0, 0), encode_s16(ramp(0, 160)))
    refusal = second.ask(hello(session="two"))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.fatal) == ("busy", True)
    assert refusal.remedy == "send under another name, or wait 0.4 s, if it was yours"
    source = door.sources["kitchen"]
    states: list[str | None] = []
    wait_for(lambda: states.extend(n.state for n in source.poll(0)) or "lost" in states)
    assert isinstance(second.ask(hello(session="two")), Welcome)
    second.ask(Audio(0, 70_000), encode_s16(ramp(160, 160)))
    spans = collect(source, 320)
    assert spans[-1].reason == "device"
    assert 0.3 < spans[-1].lost_before / RATE < 3


def anew(door: Door, name: str, *, declared: bool) -> tuple[RemoteSource, RemoteSource]:
    """A stream whose first sender, at 48 kHz, was lost, and that of the second one, at 16 kHz."""
    assert isinstance(door.dial().ask(hello(name, session="one", rate=48000)), Welcome)
    first = door.sources[name] if declared else door.new[0]
    states: list[str | None] = []
    wait_for(lambda: states.extend(n.state for n in first.poll(0)) or "lost" in states)
    raw = door.dial()
    assert isinstance(raw.ask(hello(name, session="two")), Welcome)
    assert raw.ask(Audio(0, 0), encode_s16(ramp(0, 160))) == Credit(1)
    return first, door.new[-1]


@pytest.mark.parametrize("declared", [True, False])
def test_another_rate_begins_a_stream_anew_once_its_sender_was_lost(
    open_door: Callable[..., Door], declared: bool
) -> None:
    door = open_door(silent_s=0.3, names=("kitchen",) if declared else (), accept="any", max_streams=1)
    first, second = anew(door, "kitchen", declared=declared)
    assert (first.finished, [notice.state for notice in first.poll(0)]) == (True, ["ended"])
    assert (second.native_rate, second.finished) == (RATE, False)
    assert [(span.start_index, span.lost_before) for span in read_all(second)] == [(0, 0)]


def test_a_sender_that_fits_in_no_way_leaves_a_lost_stream_as_it_is(open_door: Callable[..., Door]) -> None:
    door = open_door(silent_s=0.3)
    source = door.sources["kitchen"]
    assert isinstance(door.dial().ask(hello(session="one", rate=48000)), Welcome)
    states: list[str | None] = []
    wait_for(lambda: states.extend(n.state for n in source.poll(0)) or "lost" in states)
    source._channel = 1
    refusal = door.dial().ask(hello(session="two"))
    assert isinstance(refusal, Refusal) and "at least 2 channels" in refusal.message
    assert (source.finished, door.new) == (False, [])


def test_the_same_sender_comes_back_over_a_new_connection(open_door: Callable[..., Door]) -> None:
    door = open_door()
    for at in (0, 1000):
        raw = door.dial()
        assert isinstance(raw.ask(hello()), Welcome)
        raw.ask(Audio(at, at), encode_s16(ramp(at, 160)))
    spans = collect(door.sources["kitchen"], 320)
    assert [(span.start_index, span.lost_before, span.reason) for span in spans] == [
        (0, 0, None),
        (1000, 840, "sequence"),
    ]


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (hello("attic"), "unknown", "not declared"),
        (hello("a/b"), "name", "without '/'"),
        (hello("desk"), "name", "this machine's own"),
        (hello(rate=48000), "format", "expected 16000 Hz, got 48000"),
    ],
)
def test_who_may_not_send_is_told_why(
    open_door: Callable[..., Door], said: Hello, code: str, words: str
) -> None:
    refusal = open_door(rate=RATE).dial().ask(said)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.fatal) == (code, True)
    assert words in refusal.message


def test_any_name_may_send_where_the_door_is_open(open_door: Callable[..., Door]) -> None:
    door = open_door(names=(), accept="any", max_streams=2)
    for name in ("attic", "cellar"):
        assert isinstance(door.dial().ask(hello(name, session=name)), Welcome)
    assert [source.name for source in door.new] == ["attic", "cellar"]
    refusal = door.dial().ask(hello("garage"))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "full"


def test_a_connection_feeds_one_stream(open_door: Callable[..., Door]) -> None:
    door = open_door(names=(), accept="any")
    raw = door.dial()
    assert isinstance(raw.ask(hello("attic")), Welcome)
    refusal = raw.ask(hello("cellar", session="s2"))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, "attic" in refusal.message) == ("busy", True)
    raw.ask(Audio(0, 0), encode_s16(ramp(0, 160)))  # the stream that it feeds goes on
    assert raw.ask(End(1, 160)) == Done(160, 0)
    assert isinstance(raw.ask(hello("cellar", session="s2")), Welcome)


def test_an_ended_stream_begins_anew(open_door: Callable[..., Door]) -> None:
    door = open_door()
    for session in ("one", "two"):
        raw = door.dial()
        assert isinstance(raw.ask(hello(session=session)), Welcome)
        raw.ask(Audio(0, 0), encode_s16(ramp(0, 160)))
        assert raw.ask(End(1, 160)) == Done(160, 0)
        wait_for(lambda: all(source.finished for source in [door.sources["kitchen"], *door.new]))
    assert [len(read_all(source)[0].samples) for source in [door.sources["kitchen"], *door.new]] == [160, 160]


def test_nonsense_is_answered_and_hurts_nobody(open_door: Callable[..., Door]) -> None:
    door = open_door()
    good, bad = door.dial(), door.dial()
    good.ask(hello())
    strange = (encode(Welcome("x", 1)), encode(Audio(0, 0), b"xx"), encode(Ping()))
    for parts in ([b"{"], [b"{", b""], [b"", b"", b""], *strange):
        bad.socket.send_multipart(parts)
        assert isinstance(bad.hear(), Refusal)
    assert good.ask(Audio(0, 0), b"odd") == Credit(1)
    assert isinstance(good.hear(), Refusal)
    assert good.ask(Audio(0, 0), encode_s16(ramp(0, 160))) == Credit(1)
    assert good.ask(Ping()) == Pong()
    assert door.server.malformed_total >= 6


def test_oversize_is_cut_off_and_hurts_nobody(open_door: Callable[..., Door]) -> None:
    door = open_door(names=("kitchen", "attic"))
    good, bad = door.dial(), door.dial()
    good.ask(hello())
    bad.ask(hello("attic"))
    bad.say(Audio(0, 0), bytes(MAX_MESSAGE_BYTES + 1))
    assert not bad.socket.poll(300)
    assert read_all(door.sources["attic"]) == []
    assert good.ask(Audio(0, 0), encode_s16(ramp(0, 160))) == Credit(1)


def test_queues_stay_bounded_when_nobody_reads(open_door: Callable[..., Door]) -> None:
    door = open_door(hwm_chunks=10, ring_seconds=0.1)
    source = door.sources["kitchen"]
    source.ring.__init__(4800, RATE)  # type: ignore[misc]
    with AudioSender(door.server.endpoint, "kitchen", RATE) as sender:
        sender.connect()
        block, at = encode_s16(ramp(0, 480)), 0
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            if sender.try_send(block, at):
                at += 480
            else:
                sender.pump(0.01)
        assert sender.sent == 4800 + 10 * 480  # the ring and the credit, no more
        assert source.waiting == 10
        spans: list[Span] = []
        reader = threading.Thread(target=lambda: spans.extend(collect(source, 9600)))
        reader.start()
        assert sender.finish() == Done(9600, 0)
        reader.join()
    assert source.ring.dropped_total == 0


def serve_kitchen(settings: IngressSettings, **options: float) -> tuple[IngressServer, RemoteSource]:
    """A server that listens for one stream."""
    server = IngressServer(settings, **options)
    source = server.add_stream("kitchen")
    server.start()
    return server, source


def test_a_sender_survives_the_restart_of_the_daemon(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/in.ipc"
    serve = partial(serve_kitchen, IngressSettings(endpoint=endpoint))
    server, source = serve()
    with AudioSender(endpoint, "kitchen", RATE) as sender:
        sender.connect()
        sender.send(encode_s16(ramp(0, 160)))
        collect(source, 160)
        server.stop()
        server, source = serve()
        begun = time.monotonic()
        while sender.connections < 2:
            sender.send(encode_s16(ramp(0, 160)))
            sender.pump(0.02)
            assert time.monotonic() - begun < 8
        sender.send(encode_s16(ramp(0, 160)))
        collect(source, 160)
        assert sender.finish().lost == 0
    server.stop()


def test_a_ping_that_crosses_the_account_is_no_refusal(open_door: Callable[..., Door]) -> None:
    door = open_door()
    with AudioSender(door.server.endpoint, "kitchen", RATE) as sender:
        sender.connect()
        sender.send(encode_s16(ramp(0, 160)))
        assert sender.finish() == Done(160, 0)
        sender._post(Ping())
        deadline = time.monotonic() + 5
        while not sender._take_answers():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (sender.connections, sender.refused, door.server.malformed_total) == (1, 0, 0)


def test_a_sender_without_credit_survives_the_restart_of_the_daemon(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/in.ipc"
    serve = partial(serve_kitchen, IngressSettings(endpoint=endpoint, hwm_chunks=10), ring_seconds=0.1)
    server, source = serve()
    with AudioSender(endpoint, "kitchen", RATE) as sender:
        sender.connect()
        at, block = 0, encode_s16(ramp(0, 1600))
        give_up = time.monotonic() + 5
        while sender.ready or source.waiting < 10:
            at += 1600 * sender.try_send(block, at)
            sender.pump(0.01)
            assert time.monotonic() < give_up
        server.stop()
        server, source = serve()
        give_up = time.monotonic() + 4  # less than it takes to hear nothing and reconnect
        while not sender.try_send(block, at):
            sender.pump(0.05)
            assert time.monotonic() < give_up
        collect(source, 1600)
        assert sender.connections == 2
    server.stop()


def test_a_sender_that_is_only_told_to_send_stays_connected(
    open_door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in its docstring: credit for all blocks, so that nothing forces it to look for answers."""
    monkeypatch.setattr(sender_module, "SILENT_S", 0.5)
    monkeypatch.setattr(sender_module, "PING_S", 0.1)
    door = open_door(hwm_chunks=40)
    with AudioSender(door.server.endpoint, "kitchen", RATE) as sender:
        sender.connect()
        for at in range(0, 60 * 160, 160):
            sender.send(encode_s16(ramp(at, 160)))
            time.sleep(0.02)
        assert sender.finish() == Done(9600, 0)
        assert (sender.connections, sender.refused) == (1, 0)


def test_answers_that_lie_unread_are_signs_of_life(
    open_door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "SILENT_S", 0.2)
    with AudioSender(open_door().server.endpoint, "kitchen", RATE) as sender:
        sender.connect()
        sender.send(encode_s16(ramp(0, 160)))
        time.sleep(0.4)  # the caller was busy
        sender.pump(0)
        assert (sender._welcomed, sender.connections) == (True, 1)


def test_a_name_in_use_is_waited_for(
    open_door: Callable[..., Door], caplog: pytest.LogCaptureFixture
) -> None:
    door = open_door(silent_s=1.5)
    assert isinstance(door.dial().ask(hello(session="killed")), Welcome)
    with AudioSender(door.server.endpoint, "kitchen", RATE) as sender, caplog.at_level(logging.WARNING):
        with pytest.raises(
            BusError, match=r"refused: .* has a sender already; .* or wait 1.5 s, if it was yours"
        ):
            sender.connect(timeout_s=0.3)
        assert sum("trying again" in record.message for record in caplog.records) == 1
        sender.connect(timeout_s=5)
        sender.send(encode_s16(ramp(0, 160)))
        assert sender.finish() == Done(160, 0)


def test_a_hello_that_is_no_good_is_refused_at_once(
    open_door: Callable[..., Door], caplog: pytest.LogCaptureFixture
) -> None:
    begun = time.monotonic()
    with (
        AudioSender(open_door().server.endpoint, "kitchen", 3000) as sender,
        pytest.raises(BusError, match=r"refused: hello.rate: expected 4000 to 384000, got 3000"),
    ):
        sender.connect(timeout_s=5)
    assert time.monotonic() - begun < 3
    assert caplog.records == []


def test_nobody_there_is_said_so() -> None:
    with (
        AudioSender("tcp://127.0.0.1:1", "kitchen", RATE) as sender,
        pytest.raises(BusError, match="no daemon answered"),
    ):
        sender.connect(timeout_s=0.3)
    with pytest.raises(BusError, match="expected tcp://HOST:PORT"):
        AudioSender("nowhere", "kitchen", RATE)


def test_a_taken_endpoint_is_said_so(open_door: Callable[..., Door]) -> None:
    taken = open_door().server.endpoint
    with pytest.raises(BusError, match="cannot take audio at"):
        IngressServer(IngressSettings(endpoint=taken))


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    send.add_arguments(parser)
    return parser.parse_args(words)


def test_the_send_command_ships_a_file(
    open_door: Callable[..., Door], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door, path = open_door(), tmp_path / "speech.wav"
    soundfile.write(path, ramp(0, 24000), RATE, subtype="PCM_16")
    words = ["--to", door.server.endpoint, "--stream", "kitchen", "--pace", "full", str(path)]
    assert send.run(options(*words)) == 0
    assert "sent 24000 samples (1.50 s)" in capsys.readouterr().err
    got = np.concatenate([span.samples for span in read_all(door.sources["kitchen"])])
    np.testing.assert_array_equal(got, ramp(0, 24000))


def test_the_send_command_says_the_end_when_it_is_terminated(
    open_door: Callable[..., Door], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door, path = open_door(), tmp_path / "speech.wav"
    source = door.sources["kitchen"]
    soundfile.write(path, ramp(0, 6 * RATE), RATE, subtype="PCM_16")
    harmless = lambda *_: None  # noqa: E731
    before = signal.signal(signal.SIGTERM, harmless)  # what fails here must not end the tests

    def terminate() -> None:
        wait_for(lambda: source.received)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=terminate)
    killer.start()
    try:
        assert send.run(options("--to", door.server.endpoint, "--stream", "kitchen", str(path))) == 0
        assert signal.getsignal(signal.SIGTERM) is harmless
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, before)
    wait_for(lambda: source.finished)
    assert 0 < source.received < 6 * RATE
    assert f"received {source.received}, lost 0" in capsys.readouterr().err
    with AudioSender(door.server.endpoint, "kitchen", RATE) as sender:  # the next one need not wait
        sender.connect(timeout_s=2)
        assert sender.refused == 0


def test_the_send_command_shows_a_refusal(open_door: Callable[..., Door], tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    soundfile.write(path, ramp(0, 1600), RATE)
    with pytest.raises(BusError, match='refused: stream "attic" is not declared'):
        send.run(options("--to", open_door().server.endpoint, "--stream", "attic", str(path)))


def test_headers_are_plain_json() -> None:
    header = json.loads(encode(Audio(1, 2, 3))[0])
    assert header == {"v": 1, "type": "audio", "seq": 1, "sample": 2, "captured_ns": 3}


def test_an_ipc_door_in_use_is_not_taken_over(tmp_path: Path) -> None:
    settings_ = IngressSettings(endpoint=f"ipc://{tmp_path}/i.ipc")
    first = IngressServer(settings_)
    with pytest.raises(BusError, match="in use"):
        IngressServer(settings_)
    assert (tmp_path / "i.ipc").is_socket()
    first.stop()
    assert not (tmp_path / "i.ipc").exists()
    IngressServer(settings_).stop()


def test_half_a_letter_pair_hurts_nobody(open_door: Callable[..., Door]) -> None:
    door = open_door(names=(), accept="any")
    raw = door.dial()
    header = b'{"v":1,"type":"audio","\\ud800":1}'
    raw.socket.send_multipart([header, b""])
    assert isinstance(raw.hear(), Refusal)
    refusal = raw.ask(hello("a\ud800b"))
    assert isinstance(refusal, Refusal) and refusal.code == "name"
    assert door.new == []
