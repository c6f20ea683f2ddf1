"""Subscribers to the daemon's events, for programs of all kinds.

    from auricle.daemon.client import Subscriber

    with Subscriber(streams=["kitchen"], types=["keyword"]) as subscriber:
        for event in subscriber:
            print(event.stream, event.t, event.data["label"])

Imports the standard library and pyzmq only, and takes a few hundredths of a second to.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

import zmq
from zmq.utils.monitor import parse_monitor_message

from auricle.configs.errors import BusError
from auricle.configs.paths import default_endpoint
from auricle.daemon.events import Event, SequenceLedger, from_json, topic

DEFAULT_HWM_EVENTS: Final = 100
DEFAULT_RCVBUF_BYTES: Final = 8192
_MAX_EVENT_BYTES: Final = 1 << 20
_RECONNECT_MS: Final = 100
_RECONNECT_MAX_MS: Final = 1000

_log = logging.getLogger(__name__)


class BaseSubscriber:
    """What both subscribers share: sockets, filters, checks and counts.

    Attributes:
        endpoints: what the subscriber is connected to.
        malformed: messages that weren't events, and were skipped.
        last_error: the reason why the last of them was.
        stale: events skipped because they were older than `max_age_s`.
    """

    def __init__(
        self,
        endpoints: Sequence[str] | str | None = None,
        streams: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        *,
        hwm_events: int = DEFAULT_HWM_EVENTS,
        rcvbuf_bytes: int = DEFAULT_RCVBUF_BYTES,
        max_age_s: float | None = None,
    ) -> None:
        """Says what to subscribe to; the connection is made on entering the context.

        Args:
            endpoints: one or several daemons' endpoints; None for the default one of this user.
            streams: names of the streams wanted; None for all, the daemon's own included.
            types: types wanted, such as "keyword", or families, such as "speech"; None for all.
            hwm_events: events kept while the program is busy, before new ones are dropped.
            rcvbuf_bytes: kernel buffer of a tcp connection; small ones keep a slow subscriber up to date.
            max_age_s: events captured longer ago are skipped; None keeps all. Needs the clocks of the two
                machines to agree, except over ipc.
        """
        if isinstance(endpoints, str):
            endpoints = [endpoints]
        self.endpoints = list(dict.fromkeys(endpoints)) if endpoints else [default_endpoint()]
        self.malformed = 0
        self.last_error: BusError | None = None
        self.stale = 0
        self._ledger = SequenceLedger()
        self._streams = None if streams is None else frozenset(streams)
        self._types = None if types is None else frozenset(types)
        self._families = tuple(f"{name}." for name in types or ())
        self._hwm_events = hwm_events
        self._rcvbuf_bytes = rcvbuf_bytes
        self._max_age_ns = None if max_age_s is None else int(max_age_s * 1e9)
        self._context: zmq.Context[zmq.SyncSocket] | None = None
        self._endpoint_of: dict[zmq.SyncSocket, str] = {}
        self._ready: deque[zmq.SyncSocket] = deque()
        self._monitors: dict[str, zmq.SyncSocket] = {}
        self._connected: dict[str, bool] = {}

    @property
    def lost(self) -> dict[str, int]:
        """Events missed per stream, whatever their type, since the stream was first seen."""
        return dict(self._ledger.lost)

    @property
    def lost_total(self) -> int:
        """Events missed in all streams."""
        return sum(self._ledger.lost.values())

    @property
    def restarts(self) -> int:
        """How often a stream began anew, because its daemon did."""
        return self._ledger.restarts

    def connected(self) -> dict[str, bool]:
        """Returns for each endpoint whether a publisher is at the other end now."""
        self._read_monitors()
        return dict(self._connected)

    def _read_monitors(self) -> None:
        """Takes note of who came and went. Unread, the notes would fill up, and stop ZeroMQ's own thread."""
        for endpoint, monitor in self._monitors.items():
            while monitor.poll(0):
                event = parse_monitor_message(monitor.recv_multipart())["event"]
                self._connected[endpoint] = event == zmq.EVENT_HANDSHAKE_SUCCEEDED

    def close(self) -> None:
        """Disconnects; what wasn't received yet is dropped. May be called twice."""
        for socket in self._endpoint_of:
            socket.disable_monitor()
            socket.close(0)
        for monitor in self._monitors.values():
            monitor.close(0)
        self._endpoint_of.clear()
        self._ready.clear()
        self._monitors.clear()
        self._connected.clear()
        if self._context is not None:
            self._context.term()
            self._context = None

    def _open(self) -> list[zmq.SyncSocket]:
        """Connects one socket per endpoint: numbers of two daemons' streams may not be mixed up."""
        self._context = context = zmq.Context()
        try:
            for endpoint in self.endpoints:
                socket = context.socket(zmq.SUB)
                self._endpoint_of[socket] = endpoint
                self._connect(endpoint, socket)
        except zmq.ZMQError as error:
            self.close()
            raise BusError(
                f"cannot subscribe to {endpoint!r}; expected ipc:///PATH or tcp://HOST:PORT: {error.strerror}"
            ) from error
        return list(self._endpoint_of)

    def _connect(self, endpoint: str, socket: zmq.SyncSocket) -> None:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, self._hwm_events)
        socket.set(zmq.RCVBUF, self._rcvbuf_bytes)
        socket.set(zmq.MAXMSGSIZE, _MAX_EVENT_BYTES)
        socket.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.set(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        socket.set(zmq.TCP_KEEPALIVE, 1)
        socket.set(zmq.TCP_KEEPALIVE_IDLE, 10)
        self._monitors[endpoint] = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._connected[endpoint] = False
        # ZeroMQ doesn't filter by type: without the other types, every hole in seq would look like loss.
        for prefix in [b""] if self._streams is None else [topic(name, "") for name in self._streams]:
            socket.subscribe(prefix)
        socket.connect(endpoint)

    def _receive_waiting(self) -> Event | None:
        """Returns a wanted event that is there already; sockets that have some take turns."""
        while self._ready:
            socket = self._ready.popleft()
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                continue
            self._ready.append(socket)
            event = self._take(self._endpoint_of[socket], parts)
            if event is not None:
                return event
        return None

    def _take(self, endpoint: str, parts: Sequence[bytes]) -> Event | None:
        """Returns the event of a message, None if it is malformed, too old or not wanted."""
        try:
            event = _read(parts)
        except BusError as error:
            if self.malformed == 0:
                _log.warning("skipping what %s sends: %s", endpoint, error)
            self.malformed += 1
            self.last_error = error
            return None
        self._ledger.note(endpoint, event)
        if not self._wants(event):
            return None
        if self._max_age_ns is not None and _age_ns(endpoint, event) > self._max_age_ns:
            self.stale += 1
            return None
        return event

    def _wants(self, event: Event) -> bool:
        if self._streams is not None and event.stream not in self._streams:
            return False
        return self._types is None or event.type in self._types or event.type.startswith(self._families)


class Subscriber(BaseSubscriber):
    """Receives events: a context manager, and an iterator that never ends. Not thread-safe.

    It may be started before the daemon, and lives through restarts of it.
    """

    def __enter__(self) -> Self:
        """Connects.

        Raises:
            BusError: an endpoint is malformed.
        """
        self._poller = zmq.Poller()
        for socket in [*self._open(), *self._monitors.values()]:
            self._poller.register(socket, zmq.POLLIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnects."""
        self.close()

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Returns the next event, or None if none came within `timeout_s` (None waits for ever)."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (event := self._receive_waiting()) is None:
            left_ms = None if deadline is None else math.ceil(max(0.0, deadline - time.monotonic()) * 1000)
            ready = self._poller.poll(left_ms)
            if not ready and left_ms is not None:
                return None
            self._ready.extend(socket for socket, _ in ready if socket in self._endpoint_of)
            self._read_monitors()
        return event

    def __iter__(self) -> Iterator[Event]:
        """Yields events for ever."""
        while (event := self.receive()) is not None:
            yield event


class AsyncSubscriber(BaseSubscriber):
    """Receives events in asyncio: `async with`, `async for`, `await receive(timeout_s)`."""

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            BusError: an endpoint is malformed.
        """
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnects."""
        self.close()

    async def receive(self, timeout_s: float | None = None) -> Event | None:
        """Returns the next event, or None if none came within `timeout_s` (None waits for ever).

        When cancelled, no event is lost.
        """
        await asyncio.sleep(0)  # a flood of events may not starve the program's other tasks
        try:
            async with asyncio.timeout(timeout_s):
                while (event := self._receive_waiting()) is None:
                    await self._wait()
                return event
        except TimeoutError:
            return None

    async def _wait(self) -> None:
        """Waits until a socket has a message.

        The descriptor tells only that something changed since the socket was last asked, so it is asked first
        and after each wake-up; watched for longer than a wait, it would keep the event loop spinning.
        """
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        sockets = [*self._endpoint_of, *self._monitors.values()]
        for socket in sockets:
            loop.add_reader(socket.fileno(), changed.set)
        try:
            while not self._ready:
                self._read_monitors()
                self._ready.extend(s for s in self._endpoint_of if s.poll(0))
                if not self._ready:
                    await changed.wait()
                    changed.clear()
        finally:
            for socket in sockets:
                loop.remove_reader(socket.fileno())

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yields events for ever."""
        while (event := await self.receive()) is not None:
            yield event


def _read(parts: Sequence[bytes]) -> Event:
    if len(parts) != 2:
        raise BusError(f"malformed message: expected two parts, topic and event, got {len(parts)}")
    event = from_json(parts[1])
    expected = topic(event.stream, event.type)
    if parts[0] != expected:
        raise BusError(f"malformed message: expected topic {expected!r}, got {parts[0][:60]!r}")
    return event


def _age_ns(endpoint: str, event: Event) -> int:
    if endpoint.startswith("ipc:"):
        return time.monotonic_ns() - event.mono_ns
    return time.time_ns() - event.wall_ns
