"""The daemon's door for remote microphones: one ROUTER socket and one thread for all senders."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from auricle.configs.errors import AuricleError, BusError, FormatError
from auricle.configs.settings import IngressSettings, check_stream_name
from auricle.daemon.ingress import (
    MAX_MESSAGE_BYTES,
    SILENT_S,
    Audio,
    Credit,
    End,
    Hello,
    Message,
    Ping,
    Pong,
    Refusal,
    Welcome,
    decode,
    encode,
)
from auricle.daemon.ipc import IpcClaim, IpcRefusedError, claim_ipc
from auricle.daemon.ring import NS_PER_SECOND, Doorbell
from auricle.daemon.sources.base import Channel
from auricle.daemon.sources.remote import RemoteSource

log = logging.getLogger(__name__)

_POLL_MS = 100
_BUSY_POLL_MS = 5
_FORGET_S = 60.0
_SPARE_MESSAGES = 16  # room in the socket's queues for what is not audio


@dataclass(slots=True)
class _Sender:
    """A connection that feeds a source; `ending` once it said `end` and its last chunks still wait."""

    identity: bytes
    source: RemoteSource
    heard_ns: int
    ending: End | None = None


class IngressServer:
    """Takes audio from `auricle send` and fills one `RemoteSource` per stream name.

    Bounded everywhere: each sender has `hwm_chunks` messages of credit, given back as they enter the ring;
    one that sends more is refused, message by message. Nothing that arrives can stop the thread.

    Args:
        settings: endpoint, which names may send, and the bounds.
        ring_seconds: size of each source's ring.
        doorbell: shared by all sources.
        on_stream: called on the ingress thread with a new source, when a name that was not declared sends
            (accept = "any") or a stream that had ended begins anew; None refuses both.
        taken: names that this machine's own streams have; senders may not use them.
        silent_s: a sender that says nothing for so long is gone.
    """

    def __init__(
        self,
        settings: IngressSettings,
        *,
        ring_seconds: float = 4.0,
        doorbell: Doorbell | None = None,
        on_stream: Callable[[RemoteSource], None] | None = None,
        taken: frozenset[str] = frozenset(),
        silent_s: float = SILENT_S,
    ) -> None:
        """Bind the socket; see the class for the arguments.

        Raises:
            BusError: the endpoint is in use or malformed.
        """
        self.malformed_total = 0
        """Messages answered with an error."""
        self._settings = settings
        self._ring_seconds = ring_seconds
        self._doorbell = doorbell
        self._on_stream = on_stream
        self._taken = taken
        self._silent_ns = round(silent_s * NS_PER_SECOND)
        self._sources: dict[str, RemoteSource] = {}
        self._makers: dict[str, Callable[[], RemoteSource]] = {}
        self._senders: dict[bytes, _Sender] = {}
        self._lost_ns: dict[str, int] = {}
        self._stopping = threading.Event()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = MAX_MESSAGE_BYTES
        self._socket.rcvhwm = settings.hwm_chunks + _SPARE_MESSAGES
        self._socket.sndhwm = settings.hwm_chunks + _SPARE_MESSAGES
        self._claim: IpcClaim | None = None
        try:
            self._claim = claim_ipc(settings.endpoint)
            self._socket.bind(settings.endpoint)
        except (zmq.ZMQError, IpcRefusedError) as err:
            self._close_socket()
            raise BusError(
                f"cannot take audio at {settings.endpoint}: {err}; set ingress.endpoint to a free one, "
                "such as tcp://127.0.0.1:7311"
            ) from err
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        """Where it listens, with the port that was chosen."""
        self._thread = threading.Thread(target=self._run, name="ingress", daemon=True)

    def add_stream(
        self,
        name: str,
        *,
        rate: int = 0,
        channels: int = 0,
        channel: Channel = "mix",
        doorbell: Doorbell | None = None,
    ) -> RemoteSource:
        """Declare a stream that may send; call it before `start`."""

        def make() -> RemoteSource:
            return self._make(name, rate, channels, channel, doorbell or self._doorbell)

        self._makers[name] = make
        self._sources[name] = make()
        return self._sources[name]

    def start(self) -> None:
        """Begin to take audio."""
        self._thread.start()

    def stop(self) -> None:
        """Close the socket; what is in the rings stays readable."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._socket.closed:
            self._close_socket()

    def _close_socket(self) -> None:
        self._socket.close()
        self._context.term()
        if self._claim is not None:
            self._claim.release()

    def _make(
        self, name: str, rate: int, channels: int, channel: Channel, doorbell: Doorbell | None
    ) -> RemoteSource:
        return RemoteSource(
            name,
            rate=rate,
            channels=channels,
            channel=channel,
            credit=self._settings.hwm_chunks,
            ring_seconds=self._ring_seconds,
            doorbell=doorbell,
        )

    # --- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = any(sender.source.waiting for sender in self._senders.values())
                if self._socket.poll(_BUSY_POLL_MS if busy else _POLL_MS):
                    self._receive_all()
                self._drain()
                self._forget_silent(time.monotonic_ns())
            except zmq.ContextTerminated:
                return
            except Exception:  # whatever a sender did, the others go on
                log.exception("ingress: unexpected error")
                self._stopping.wait(0.1)

    def _receive_all(self) -> None:
        """Take messages, at most one queue full, so that draining gets its turn."""
        for _ in range(self._settings.hwm_chunks):
            try:
                identity, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._handle(identity, *decode(parts), time.monotonic_ns())
            except AuricleError as err:
                self.malformed_total += 1
                self._reply(identity, Refusal(err.code, str(err)))
            except Exception:  # one message's; those behind it are somebody else's
                self.malformed_total += 1
                log.exception("ingress: a message was dropped")

    def _handle(self, identity: bytes, message: Message, pcm: bytes, now_ns: int) -> None:
        if isinstance(message, Hello):
            self._hello(identity, message, now_ns)
            return
        sender = self._senders.get(identity)
        if sender is None:  # also a ping: a sender without credit learns of a restart by nothing else
            self.malformed_total += not isinstance(message, Ping)  # which may cross the account of an end
            self._reply(identity, Refusal("hello", f"{message.type}: expected hello first", "send hello"))
        elif sender.source.finished:
            self._refuse(identity, "ended", f'stream "{sender.source.name}" is closed', "")
            del self._senders[identity]
        elif isinstance(message, Ping):
            sender.heard_ns = now_ns
            self._reply(identity, Pong())
        elif isinstance(message, Audio):
            sender.heard_ns = now_ns
            try:
                sender.source.take(message, pcm, now_ns)
            except FormatError:
                self._reply(identity, Credit(1))  # it was not kept: its credit is free again
                raise
        elif isinstance(message, End):
            sender.heard_ns, sender.ending = now_ns, message
        else:
            raise FormatError(f"expected a message of a sender, got {message.type}")

    def _hello(self, identity: bytes, hello: Hello, now_ns: int) -> None:
        """Let a sender in, or say why not."""
        try:
            source = self._source_for(identity, hello, now_ns)
            if source is None:
                return
            source.join(hello, now_ns)
        except FormatError as err:
            self._refuse(identity, err.code, str(err), "")
            return
        self._sources[hello.stream] = source
        self._senders[identity] = _Sender(identity, source, now_ns)
        self._lost_ns.pop(hello.stream, None)
        self._reply(identity, Welcome(hello.stream, self._settings.hwm_chunks - source.waiting))

    def _source_for(self, identity: bytes, hello: Hello, now_ns: int) -> RemoteSource | None:
        """The source that a hello means; None after a refusal.

        Raises:
            FormatError: it begins a stream anew in a form that the stream can't take.
        """
        name = hello.stream
        if not self._may_use(identity, name):
            return None
        for other in list(self._senders.values()):
            if other.source.name != name or other.source.finished:
                continue
            if other.identity != identity and other.source.session != hello.session:
                wait_s = self._silent_ns / NS_PER_SECOND
                remedy = f"send under another name, or wait {wait_s:g} s, if it was yours"
                self._refuse(identity, "busy", f'stream "{name}" has a sender already', remedy)
                return None
            del self._senders[other.identity]  # the same sender over a new connection
        source = self._sources.get(name)
        if source is not None and not source.finished:
            if self._on_stream is None or not source.must_begin_anew(hello):
                return source
            self._lost_ns.pop(name, None)
            self._close(source, now_ns)
        elif source is None and name not in self._makers and self._settings.accept != "any":
            known = ", ".join(self._makers) or "none"
            remedy = 'declare it in [streams] with source = "zmq", or set ingress.accept = "any"'
            self._refuse(identity, "unknown", f'stream "{name}" is not declared (declared: {known})', remedy)
            return None
        return self._renewed(identity, name)

    def _may_use(self, identity: bytes, name: str) -> bool:
        """Whether a connection may send under a name at all; refuses it otherwise."""
        try:
            check_stream_name(name)
        except ValueError as err:
            self._refuse(identity, "name", str(err), "choose another stream name")
            return False
        if name in self._taken:
            problem = f'stream "{name}" is one of this machine\'s own'
            self._refuse(identity, "name", problem, "send under another name")
            return False
        feeding = self._senders.get(identity)
        if feeding is not None and feeding.source.name != name and not feeding.source.finished:
            problem = f'this connection feeds stream "{feeding.source.name}" already'
            self._refuse(identity, "busy", problem, "end it first, or open a connection for each stream")
            return False
        return True

    def _renewed(self, identity: bytes, name: str) -> RemoteSource | None:
        """A new source, for a new name or for a stream that had ended."""
        if self._on_stream is None:
            self._refuse(identity, "ended", f'stream "{name}" has ended', "restart the daemon")
            return None
        if sum(not source.finished for source in self._sources.values()) >= self._settings.max_streams:
            limit = self._settings.max_streams
            self._refuse(identity, "full", f"{limit} remote streams are open", "raise ingress.max_streams")
            return None
        make = self._makers.get(name)
        source = make() if make else self._make(name, 0, 0, "mix", self._doorbell)
        self._sources[name] = source
        self._on_stream(source)
        return source

    def _drain(self) -> None:
        """Move chunks into the rings, give credit back, close what has ended."""
        for sender in list(self._senders.values()):
            source = sender.source
            moved = source.drain()
            if moved:
                self._reply(sender.identity, Credit(moved))
            if sender.ending and not source.waiting:
                done = source.leave(sender.ending, time.monotonic_ns())
                source.drain()
                self._reply(sender.identity, done)
                del self._senders[sender.identity]
                self._close(source, time.monotonic_ns())

    def _forget_silent(self, now_ns: int) -> None:
        """Part with senders that vanished, and later with undeclared streams that none came back to."""
        for sender in list(self._senders.values()):
            if now_ns - sender.heard_ns > self._silent_ns and not sender.source.waiting:
                del self._senders[sender.identity]
                sender.source.vanish(self._silent_ns / NS_PER_SECOND)
                self._lost_ns[sender.source.name] = now_ns
        for name, lost_ns in list(self._lost_ns.items()):
            if name not in self._makers and now_ns - lost_ns > _FORGET_S * NS_PER_SECOND:
                del self._lost_ns[name]
                self._close(self._sources[name], now_ns)

    def _close(self, source: RemoteSource, now_ns: int) -> None:
        source.close(now_ns)
        if source.name not in self._makers:
            self._sources.pop(source.name, None)

    def _refuse(self, identity: bytes, code: str, message: str, remedy: str) -> None:
        self.malformed_total += 1
        self._reply(identity, Refusal(code, message, remedy, fatal=True))

    def _reply(self, identity: bytes, message: Message) -> None:
        """Answer without ever waiting: a sender whose queue is full loses the answer."""
        try:
            self._socket.send_multipart([identity, *encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            log.debug("ingress: an answer was lost")
