"""`auricle listen` as a user runs it, in a process of its own."""

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auricle.daemon import event_data
from auricle.daemon.bus import Publisher
from auricle.daemon.event_text import EventPrinter
from auricle.daemon.events import Event, from_json
from auricle.daemon.latency import Stamps, StreamLatency

AURICLE = (sys.executable, "-c", "import sys; from auricle.configs.cli import main; sys.exit(main())")
TIMEOUT_S = 30.0


def make(event_type: str, data: dict[str, Any], seq: int = 0, **fields: Any) -> Event:
    common = {"stream": "kitchen", "sample": 19680, "mono_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}
    return Event(type=event_type, seq=seq, data=data, **{**common, **fields})


def one_of_each() -> list[Event]:
    latency = StreamLatency("kitchen", budget_ms=20)
    latency.record(2, Stamps(*(1_000_000 * index for index in range(7))))
    made = [
        make("status", event_data.status("running", "0.1.0", ["keyword@0123abcd"], ["kitchen"])),
        make("device", event_data.device("lost", "USB microphone", 48_000, 2, "unplugged")),
        make("gap", event_data.gap(1600, "stall", "fill", 4800, 48_000)),
        make("error", event_data.error("audio", "no such file", "check the path")),
        make("speech.start", event_data.speech_start(16_000, 0.9)),
        make("keyword", event_data.keyword("yes", 0.97)),
        make("speech.stop", event_data.speech_stop(16_000, 32_000, 0.8)),
        make("level", event_data.level(-30.0, -12.0, 3)),
        make("spectrum", event_data.spectrum([100, 200], [-30.0, -20.0])),
        make("latency", latency.report()),
        make("heartbeat", event_data.heartbeat(5.0, 1, 500, 123.0)),
        make("applause", {"hands": 2}),
    ]
    return [from_json(event.to_json()) for event in made]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.01)


@contextlib.contextmanager
def listening(publisher: Publisher, *options: str, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `auricle listen` and waits until it has subscribed."""
    command = [*AURICLE, "listen", "--connect", publisher.endpoints[0], *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
    with subprocess.Popen(command, **pipes) as process:
        try:
            wait_until(lambda: publisher.subscriptions > 0 or process.poll() is not None)
            yield process
        finally:
            process.kill()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(["tcp://127.0.0.1:*"]) as made:
        yield made


def publish(publisher: Publisher, events: list[Event]) -> None:
    for seq, event in enumerate(events):
        publisher.publish(make(event.type, event.data, seq))


def test_a_piped_listen_prints_a_plain_line_for_each_event(publisher: Publisher) -> None:
    events = one_of_each()
    with listening(publisher, "--count", str(len(events))) as process:
        publish(publisher, events)
        out, err = process.communicate(timeout=TIMEOUT_S)
    lines = out.decode().splitlines()
    assert process.returncode == 0
    assert err == b""
    assert len(lines) == len(events) and "\x1b" not in out.decode()
    assert all(
        "1.23 s  kitchen" in line and event.type in line for line, event in zip(lines, events, strict=True)
    )
    assert ">>> yes <<<  (0.97)" in lines[5] and "ms after the sample" in lines[5]
    assert "100 ms) lost: stall, fill" in lines[2]
    assert "██████████··········" in lines[7] and "CLIPPED 3" in lines[7]
    assert "p50 6.0" in lines[9]
    assert '{"hands": 2}' in lines[11]


def test_json_is_what_was_published(publisher: Publisher) -> None:
    with listening(
        publisher, "--json", "--count", "2", "--type", "keyword", "--stream", "kitchen"
    ) as process:
        wanted = [make("keyword", event_data.keyword("café", 0.9), seq) for seq in (1, 3)]
        for event in (make("level", {}, 0), wanted[0], make("keyword", {}, 2, stream="desk"), wanted[1]):
            publisher.publish(event)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert out == b"".join(event.to_json() + b"\n" for event in wanted)
    assert process.returncode == 0
    assert b"1 events of kitchen lost" in err


def test_events_are_printed_as_they_come(publisher: Publisher) -> None:
    with listening(publisher, "--json") as process:
        assert process.stdout is not None
        for seq in range(3):
            event = make("keyword", event_data.keyword("yes", 0.9), seq)
            publisher.publish(event)
            assert process.stdout.readline() == event.to_json() + b"\n"


def test_nobody_at_the_other_end_is_said_within_two_seconds(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/events.ipc"
    command = [*AURICLE, "listen", "--json", "--connect", endpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        started = time.monotonic()
        message = process.stderr.readline().decode()
        took_s = time.monotonic() - started
        assert f"no daemon at {endpoint}: start one with `auricle run`" in message
        assert took_s < 2.0 + 1.0, "two seconds, and the start of Python on a busy machine"
        for _ in range(2):  # and it finds the daemon when it comes, and when it comes again
            with Publisher([endpoint]) as publisher:
                assert f"connected to {endpoint}" in process.stderr.readline().decode()
                event = make("keyword", event_data.keyword("yes", 0.9))
                wait_until(lambda: publisher.subscriptions > 0)
                publisher.publish(event)
                assert process.stdout.readline() == event.to_json() + b"\n"
            assert "no daemon at" in process.stderr.readline().decode()
        process.kill()


def test_too_few_events_in_time_fail(publisher: Publisher) -> None:
    with listening(publisher, "--count", "1", "--timeout", "0.3") as process:
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert b"expected 1 events within 0.3 s, 0 came" in err
    with listening(publisher, "--timeout", "0.3") as process:
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, b"")


@pytest.fixture
def heeded_ctrl_c() -> Iterator[None]:
    """Where tests run in the background, ctrl-c is ignored, and what they start would ignore it, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_ctrl_c_ends_it_without_a_traceback(publisher: Publisher) -> None:
    with listening(publisher) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_closed_pipe_ends_it_quietly(publisher: Publisher) -> None:
    with listening(publisher) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        for seq in range(100):
            if process.poll() is not None:
                break
            publisher.publish(make("keyword", event_data.keyword("yes", 0.9), seq))
            time.sleep(0.02)
        assert process.wait(TIMEOUT_S) != 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (["--type", "keywrd"], 2, "did you mean keyword?"),
        (["--connect", "nowhere"], 1, "expected ipc:///PATH or tcp://HOST:PORT"),
        (["--set", "bus.endpoint=x"], 2, "endpoint"),
    ],
)
def test_wrong_options_are_explained(options: list[str], status: int, expected: str) -> None:
    command = [*AURICLE, "listen", *options]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == status
    assert result.stderr.startswith("auricle: error:") and expected in result.stderr


def test_endpoints_come_from_the_daemons_configuration(publisher: Publisher) -> None:
    port = publisher.endpoints[0].rpartition(":")[2]
    command = [*AURICLE, "listen", "--json", "--count", "1", "--set", f'bus.endpoints=["tcp://*:{port}"]']
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        wait_until(lambda: publisher.subscriptions > 0)
        publisher.publish(make("keyword", event_data.keyword("yes", 0.9)))
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0 and b'"yes"' in out


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_they_are_refused(
    publisher: Publisher, environment: dict[str, str], coloured: bool
) -> None:
    shown, terminal = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", **environment}
    with listening(publisher, "--count", "3", stdout=terminal, env=variables) as process:
        publish(publisher, [make("level", event_data.level(-30.0, -12.0, 0)), *one_of_each()[4:6]])
        assert process.wait(TIMEOUT_S) == 0
    text = os.read(shown, 10_000).decode()
    os.close(terminal)
    os.close(shown)
    assert ("\x1b[1;32m" in text) == coloured
    assert text.count("-30.0 dBFS") == 3, "the level stays below the events"


def test_names_cannot_move_the_cursor_or_forge_lines() -> None:
    out = io.StringIO()
    event = make("keyword", event_data.keyword("yes\x1b[2J\n0.00 s", 0.97), stream="a\rb\u202e")
    EventPrinter(out).show(event)
    assert "yes?[2J?0.00 s" in out.getvalue() and "a?b?" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_data_of_another_release_is_shown_as_it_is() -> None:
    out = io.StringIO()
    EventPrinter(out).show(make("keyword", {"word": "yes"}))
    EventPrinter(out).show(make("level", {"rms_dbfs": "loud"}))
    assert '{"word": "yes"}' in out.getvalue() and '{"rms_dbfs": "loud"}' in out.getvalue()
