"""Where events leave the daemon: a ZeroMQ socket, a list in memory, or nowhere.

A message has two parts: the topic `<stream>/<type>` and the event as JSON. Publishing never waits for a
subscriber: what a slow one leaves unread beyond the bounded buffers is dropped, and shows as a hole in `seq`.
Nothing is kept for late joiners either: they see what is published after their subscription arrived.
"""

import contextlib
import errno
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import zmq

from auricle.configs.errors import BusError
from auricle.daemon.events import Event, topic
from auricle.daemon.ipc import IpcClaim, IpcRefusedError, claim_ipc

DEFAULT_HWM_EVENTS: Final = 100
DEFAULT_SNDBUF_BYTES: Final = 8192
LINGER_MS: Final = 500
_DRAIN_EVERY_EVENTS: Final = 64
_MAX_SUBSCRIPTION_BYTES: Final = 4096


class EventSink(Protocol):
    """Takes events; called by the engine loop only, so it must never wait."""

    def publish(self, event: Event) -> None:
        """Takes one event."""

    def close(self) -> None:
        """Hands over what is pending and frees what is held; may be called twice."""


class NullPublisher:
    """Drops every event."""

    def publish(self, event: Event) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class RecordingPublisher:
    """Keeps every event in `events`, and hands each to `on_event` if given (to print it, say)."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        """Starts with no events."""
        self.events: list[Event] = []
        self.closed = False
        self._on_event = on_event

    def publish(self, event: Event) -> None:
        """Keeps the event."""
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def close(self) -> None:
        """Notes that the publisher was closed."""
        self.closed = True


class Publisher:
    """Publishes events on ZeroMQ endpoints, to any number of SUB sockets. Not thread-safe.

    The socket is an XPUB, which is a PUB that also tells when somebody subscribes.

    Attributes:
        endpoints: what was really bound, with the port chosen for `tcp://host:*`.
        published: number of events handed to ZeroMQ.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        hwm_events: int = DEFAULT_HWM_EVENTS,
        sndbuf_bytes: int = DEFAULT_SNDBUF_BYTES,
    ) -> None:
        """Binds the endpoints, creating folders of ipc sockets with mode 0700.

        Args:
            endpoints: such as `ipc:///run/user/1000/auricle/events.ipc` or `tcp://127.0.0.1:7310`.
            hwm_events: events kept for a subscriber that doesn't read, before new ones are dropped for it.
            sndbuf_bytes: kernel buffer of a tcp connection, 0 for the system's; a large one holds old events.

        Raises:
            BusError: an endpoint is malformed, forbidden, or in use by a living daemon.
        """
        if not endpoints:
            raise BusError("bus.endpoints is empty: expected at least one, such as 'tcp://127.0.0.1:7310'")
        self.endpoints: list[str] = []
        self.published = 0
        self._subscriptions = 0
        self._claims: list[IpcClaim] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.set(zmq.SNDHWM, hwm_events)
        self._socket.set(zmq.SNDBUF, sndbuf_bytes or -1)
        self._socket.set(zmq.LINGER, LINGER_MS)
        self._socket.set(zmq.XPUB_VERBOSER, 1)
        self._socket.set(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
        self._socket.set(zmq.TCP_KEEPALIVE, 1)
        self._socket.set(zmq.TCP_KEEPALIVE_IDLE, 10)
        try:
            for endpoint in endpoints:
                self._bind(endpoint)
        except BaseException:
            self.close()
            raise

    @property
    def subscriptions(self) -> int:
        """Number of subscriptions now held by connected subscribers, one or more each."""
        self._drain()
        return self._subscriptions

    def publish(self, event: Event) -> None:
        """Sends an event without ever waiting.

        Raises:
            BusError: the event can't be expressed as JSON.
        """
        parts = [topic(event.stream, event.type), event.to_json()]
        # An XPUB drops instead of refusing; Again can only mean that the message is lost to everyone.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        self.published += 1
        if self.published % _DRAIN_EVERY_EVENTS == 0:
            self._drain()

    def close(self) -> None:
        """Gives subscribers up to `LINGER_MS` to take what is pending, and removes ipc sockets."""
        if self._socket.closed:
            return
        self._socket.close()
        self._context.term()
        for claim in self._claims:
            claim.release()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def _drain(self) -> None:
        """Counts who came and went; unread, these notices would pile up."""
        while True:
            try:
                notice = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if notice[:1] == b"\x01":
                self._subscriptions += 1
            elif notice[:1] == b"\x00":
                self._subscriptions -= 1

    def _bind(self, endpoint: str) -> None:
        try:
            if (claim := claim_ipc(endpoint)) is not None:
                self._claims.append(claim)
            self._socket.bind(endpoint)
        except IpcRefusedError as error:
            raise BusError(f"cannot publish on {endpoint!r}: {error.reason or _IN_USE}") from error
        except zmq.ZMQError as error:
            raise BusError(f"cannot publish on {endpoint!r}: {_explain(error)}") from error
        self.endpoints.append(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))


_IN_USE: Final = (
    "another daemon is publishing there; stop it, or give this one its own endpoint "
    "(--set 'bus.endpoints=[\"tcp://127.0.0.1:7312\"]')"
)

_EXPLANATIONS: Final = {
    errno.EADDRINUSE: _IN_USE,
    errno.EADDRNOTAVAIL: "this machine has no such address; use 127.0.0.1, 0.0.0.0 or an interface's own",
    errno.ENODEV: "no such network interface; use an address such as 127.0.0.1",
    errno.EACCES: "permission denied; use a port above 1023 or a folder that you may write to",
    errno.EINVAL: "expected ipc:///PATH or tcp://ADDRESS:PORT",
    errno.EPROTONOSUPPORT: "expected ipc:///PATH or tcp://ADDRESS:PORT",
    errno.ENAMETOOLONG: "the path is longer than a socket's may be (107 bytes); choose a shorter one",
}


def _explain(error: zmq.ZMQError) -> str:
    return _EXPLANATIONS.get(error.errno or 0, error.strerror or str(error))
