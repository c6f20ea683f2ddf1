"""Events between real processes over ipc and tcp: delivery, filters, loss, restarts, endpoints."""

import asyncio
import contextlib
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from auricle.configs.errors import BusError
from auricle.configs.paths import default_endpoint, runtime_dir
from auricle.daemon import event_data
from auricle.daemon.bus import EventSink, NullPublisher, Publisher, RecordingPublisher
from auricle.daemon.client import AsyncSubscriber, Subscriber
from auricle.daemon.events import Event

PUBLISHER = Path(__file__).with_name("bus_publisher.py")
TIMEOUT_S = 20.0

_log = logging.getLogger(__name__)


def make(seq: int, stream: str = "kitchen", event_type: str = "keyword", mono_ns: int = 0) -> Event:
    data = event_data.keyword("yes", 0.97) if event_type == "keyword" else {}
    return Event(event_type, stream, seq, 160 * seq, mono_ns or time.monotonic_ns(), time.time_ns(), data)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.005)


def publish_to(publisher: Publisher, subscribers: int, *events: Event) -> None:
    """Publishes once as many subscriptions are there, as a PUB socket drops for late joiners."""
    wait_until(lambda: publisher.subscriptions >= subscribers)
    for event in events:
        publisher.publish(event)


@contextlib.contextmanager
def publisher_process(endpoint: str, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs a publisher in a process of its own; yields it, and the endpoint that it bound."""
    command = [sys.executable, str(PUBLISHER), endpoint, *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/run/events.ipc" if request.param == "ipc" else "tcp://127.0.0.1:*"


def test_events_arrive_in_another_process_in_order(endpoint: str) -> None:
    with publisher_process(endpoint, "--count", 200) as (_, bound), Subscriber(bound) as subscriber:
        events = [subscriber.receive(TIMEOUT_S) for _ in range(200)]
        assert [event.seq for event in events if event] == list(range(200))
        assert subscriber.connected() == {bound: True}
        assert subscriber.lost == {"kitchen": 0}
        assert subscriber.receive(0.05) is None
    late_ms = sorted((time.monotonic_ns() - event.mono_ns) / 1e6 for event in events if event)
    assert late_ms[0] >= 0


def test_a_slow_subscriber_loses_events_instead_of_getting_old_ones(
    endpoint: str,
) -> None:
    """Whatever it does, at most some 450 events (ipc) or 250 (tcp) wait: at 500 read a second, 0.9 s."""
    count, rate = 6000, 2000
    arrivals: list[tuple[float, float]] = []
    options = ("--count", count, "--per-second", rate)
    with publisher_process(endpoint, *options) as (_, bound), Subscriber(bound) as subscriber:
        while (event := subscriber.receive(2.0)) is not None and event.seq < count - 1:
            now_ns = time.monotonic_ns()
            arrivals.append((now_ns / 1e9, (now_ns - event.mono_ns) / 1e9))
            time.sleep(0.002)
        assert subscriber.lost_total > count // 10
    read_per_second = len(arrivals) / (arrivals[-1][0] - arrivals[0][0])
    staleness_s = max(staleness for _, staleness in arrivals)
    _log.info("%s: at most %.3f s old at %.0f events read a second", endpoint, staleness_s, read_per_second)
    assert staleness_s * read_per_second < 800


def test_filters_by_stream_and_type_still_see_every_loss() -> None:
    with (
        Publisher(["tcp://127.0.0.1:*"]) as publisher,
        Subscriber(publisher.endpoints, streams=["kitchen"], types=["keyword", "speech"]) as subscriber,
    ):
        publish_to(
            publisher,
            1,
            make(0, event_type="level"),
            make(0, "kitchenette"),
            make(1),
            make(2, event_type="speech.start"),
            make(3, event_type="speechless"),
            make(0, "desk"),
            make(7),
        )
        received = [subscriber.receive(TIMEOUT_S) for _ in range(3)]
        assert [(event.stream, event.seq) for event in received if event] == [
            ("kitchen", 1),
            ("kitchen", 2),
            ("kitchen", 7),
        ]
        assert subscriber.receive(0.05) is None
        assert subscriber.lost == {"kitchen": 3}


def test_late_joiners_get_only_what_comes_after() -> None:
    with Publisher(["tcp://127.0.0.1:*"]) as publisher:
        publisher.publish(make(0))
        with Subscriber(publisher.endpoints) as subscriber:
            publish_to(publisher, 1, make(1))
            event = subscriber.receive(TIMEOUT_S)
            assert event is not None and event.seq == 1
            assert subscriber.lost_total == 0


def test_subscriptions_come_and_go() -> None:
    with Publisher(["tcp://127.0.0.1:*"]) as publisher:
        with Subscriber(publisher.endpoints), Subscriber(publisher.endpoints, streams=["a", "b"]):
            wait_until(lambda: publisher.subscriptions == 3)
        wait_until(lambda: publisher.subscriptions == 0)


def test_two_daemons_with_streams_of_one_name_are_kept_apart() -> None:
    with (
        Publisher(["tcp://127.0.0.1:*"]) as one,
        Publisher(["tcp://127.0.0.1:*"]) as two,
        Subscriber([*one.endpoints, *two.endpoints]) as subscriber,
    ):
        publish_to(one, 1, make(0), make(1))
        publish_to(two, 1, make(700), make(701))
        received = [subscriber.receive(TIMEOUT_S) for _ in range(4)]
        assert sorted(event.seq for event in received if event) == [0, 1, 700, 701]
        assert (subscriber.lost_total, subscriber.restarts) == (0, 0)


def test_a_killed_daemon_that_comes_back_is_a_restart_and_no_loss(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/events.ipc"
    with Subscriber(endpoint) as subscriber:
        for _ in range(2):  # the second finds the socket that the first, killed, left behind
            with publisher_process(endpoint, "--count", 5):
                received = [subscriber.receive(TIMEOUT_S) for _ in range(5)]
                assert [event.seq for event in received if event] == [0, 1, 2, 3, 4]
            wait_until(lambda: subscriber.connected() == {endpoint: False})
        assert (subscriber.lost_total, subscriber.restarts) == (0, 1)


def test_malformed_messages_are_counted_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    context = zmq.Context()
    rogue = context.socket(zmq.XPUB)
    rogue.setsockopt(zmq.LINGER, 0)
    port = rogue.bind_to_random_port("tcp://127.0.0.1")
    try:
        with Subscriber(f"tcp://127.0.0.1:{port}") as subscriber:
            assert rogue.poll(int(TIMEOUT_S * 1000))
            good = make(0).to_json()
            for parts in ([b"x"], [b"kitchen/keyword", b"{"], [b"other/keyword", good], [b"", b"", b""]):
                rogue.send_multipart(parts)
            rogue.send_multipart([b"kitchen/keyword", good])
            event = subscriber.receive(TIMEOUT_S)
            assert event is not None and event.seq == 0
            assert subscriber.malformed == 4
            assert "expected two parts" in str(subscriber.last_error)
            assert caplog.text.count("skipping what") == 1
    finally:
        rogue.close()
        context.term()


def test_events_that_are_too_old_are_skipped_when_asked(tmp_path: Path) -> None:
    with (
        Publisher([f"ipc://{tmp_path}/events.ipc"]) as publisher,
        Subscriber(publisher.endpoints, max_age_s=1.0) as subscriber,
    ):
        old_ns = time.monotonic_ns() - 2_000_000_000
        publish_to(publisher, 1, make(0, mono_ns=old_ns), make(1))
        event = subscriber.receive(TIMEOUT_S)
        assert event is not None and event.seq == 1
        assert (subscriber.stale, subscriber.lost_total) == (1, 0)


async def test_asyncio_receives_from_several_endpoints_and_times_out(tmp_path: Path) -> None:
    with Publisher([f"ipc://{tmp_path}/events.ipc", "tcp://127.0.0.1:*"]) as publisher:
        async with AsyncSubscriber(publisher.endpoints) as subscriber:
            assert await subscriber.receive(0.05) is None
            publish_to(publisher, 2, *(make(seq) for seq in range(100)))
            numbers = []
            async for event in subscriber:
                numbers.append(event.seq)
                if len(numbers) == 200:
                    break
            assert sorted(numbers) == sorted([*range(100), *range(100)])
            assert subscriber.lost_total == 0
            assert set(subscriber.connected().values()) == {True}


async def test_asyncio_loses_nothing_when_cancelled_and_leaves_others_running() -> None:
    with Publisher(["tcp://127.0.0.1:*"]) as publisher:
        async with AsyncSubscriber(publisher.endpoints) as subscriber:
            waiting = asyncio.create_task(subscriber.receive())
            await asyncio.sleep(0.05)
            publish_to(publisher, 1, make(0))
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            event = await subscriber.receive(TIMEOUT_S)
            assert event is not None and event.seq == 0
            later = asyncio.create_task(subscriber.receive(TIMEOUT_S))
            await asyncio.sleep(0.05)
            publisher.publish(make(1))
            event = await later
            assert event is not None and event.seq == 1


def test_an_endpoint_of_a_living_daemon_is_left_alone(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/events.ipc"
    with publisher_process(endpoint):
        with pytest.raises(BusError, match="another daemon is publishing there; stop it, or"):
            Publisher([endpoint])
        with Subscriber(endpoint) as subscriber:
            assert subscriber.receive(TIMEOUT_S) is not None
    Publisher([endpoint]).close()


def test_a_port_in_use_is_explained() -> None:
    with (
        Publisher(["tcp://127.0.0.1:*"]) as publisher,
        pytest.raises(BusError, match="another daemon is publishing there"),
    ):
        Publisher(publisher.endpoints)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("127.0.0.1:7310", "expected ipc:///PATH or tcp://ADDRESS:PORT"),
        ("http://127.0.0.1:7310", "expected ipc:///PATH or tcp://ADDRESS:PORT"),
        ("tcp://192.0.2.1:7310", "no such address"),
        ("ipc:///proc/nowhere/events.ipc", "choose a folder that you may write to"),
        (f"ipc:///tmp/{'x' * 200}", "longer than a socket's may be"),
    ],
)
def test_endpoints_that_cannot_be_bound_are_explained(endpoint: str, expected: str) -> None:
    with pytest.raises(BusError, match=expected):
        Publisher([endpoint])


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("all of it")
    with pytest.raises(BusError, match="expected no file or an old socket there"):
        Publisher([f"ipc://{precious}"])
    assert precious.read_text() == "all of it"


def test_malformed_endpoints_of_a_subscriber_are_explained() -> None:
    with pytest.raises(
        BusError, match="cannot subscribe to 'nowhere'; expected ipc:///PATH or tcp://HOST:PORT"
    ):
        Subscriber("nowhere").__enter__()


def test_the_default_folder_is_private_and_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_endpoint() == f"ipc://{tmp_path}/auricle/events.ipc"
    runtime_dir().mkdir(mode=0o777)
    with Publisher([default_endpoint()]) as publisher, Subscriber() as subscriber:
        assert stat.S_IMODE(runtime_dir().stat().st_mode) == 0o700
        publish_to(publisher, 1, make(0))
        assert subscriber.receive(TIMEOUT_S) is not None
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    with pytest.raises(BusError, match="to be a folder of your own"):
        Publisher([default_endpoint()])


def test_without_a_runtime_folder_each_user_has_one_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        assert runtime_dir().name == f"auricle-{os.getuid()}"


def test_publishers_without_a_socket_are_event_sinks() -> None:
    printed: list[Event] = []
    sinks: list[Any] = [NullPublisher(), RecordingPublisher(printed.append)]
    for sink in sinks:
        taken: EventSink = sink
        taken.publish(make(3))
        taken.close()
    assert [event.seq for event in sinks[1].events] == [event.seq for event in printed] == [3]
    assert sinks[1].closed


def test_the_client_starts_at_once_and_without_heavy_modules() -> None:
    program = (
        "import sys, time; start = time.perf_counter(); import auricle.daemon.client; "
        "print(time.perf_counter() - start, *{'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules))"
    )
    answers = []
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        answers.append(result.stdout.split())
    assert all(len(answer) == 1 for answer in answers), f"heavy modules imported: {answers}"
    best_s = min(float(answer[0]) for answer in answers)
    _log.info("auricle.daemon.client imported in %.3f s", best_s)
    assert best_s < 0.3


def test_a_closed_publisher_leaves_no_socket_behind(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/e.ipc"
    with Publisher([endpoint]):
        assert (tmp_path / "e.ipc").is_socket()
        with pytest.raises(BusError, match="another daemon"):
            Publisher([endpoint])
        assert (tmp_path / "e.ipc").is_socket()
    assert not (tmp_path / "e.ipc").exists()


def test_news_of_the_connection_never_pile_up(tmp_path: Path) -> None:
    """Unread, two thousand of them would stop ZeroMQ's own thread."""
    endpoint = f"ipc://{tmp_path}/e.ipc"
    with Subscriber(endpoint) as subscriber:
        for _ in range(3):
            publisher = Publisher([endpoint])
            deadline = time.monotonic() + 10
            while not publisher.subscriptions:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            publisher.close()
            assert subscriber.receive(0.3) is None
            assert not any(monitor.poll(0) for monitor in subscriber._monitors.values())
