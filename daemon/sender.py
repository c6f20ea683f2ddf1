"""The sending end of the ingress protocol: ship PCM to a daemon, over a connection that may come and go."""

import logging
import secrets
import time
from typing import Final, Self

import zmq

from auricle.configs.errors import BusError, FormatError
from auricle.daemon.ingress import (
    MAX_MESSAGE_BYTES,
    PING_S,
    SILENT_S,
    Audio,
    Credit,
    Done,
    End,
    Hello,
    Message,
    Ping,
    Refusal,
    Welcome,
    boot_id,
    decode,
    encode,
)
from auricle.daemon.sources.stdin import BYTES_PER_SAMPLE

log = logging.getLogger(__name__)

_FIRST_RETRY_S: Final = 0.25
_LONGEST_RETRY_S: Final = 5.0
_BUSY_RETRY_S: Final = 1.0


class AudioSender:
    """Sends one stream; use it from one thread, and call `pump` often (a few times a second).

        with AudioSender("tcp://daemon:7311", "kitchen", rate=16000) as sender:
            sender.connect()
            for block in blocks:
                sender.send(block)
            print(sender.finish())

    What cannot be sent is never queued here: `try_send` says so, and the caller keeps or drops it. A chunk
    that is dropped, or lost on the way, is a hole in the positions, which the daemon counts.

    Args:
        endpoint: the daemon's `ingress.endpoint`, as seen from here.
        stream: name of the stream to feed.
        rate: frames per second.
        channels: interleaved channels.
        sample_format: of the PCM, such as "s16le".
    """

    def __init__(
        self, endpoint: str, stream: str, rate: int, channels: int = 1, sample_format: str = "s16le"
    ) -> None:
        """Prepare; see the class for the arguments.

        Raises:
            BusError: the endpoint is malformed.
        """
        self.endpoint = endpoint
        self.hello = Hello(stream, secrets.token_hex(8), rate, channels, sample_format, boot_id())
        self.frame_bytes = BYTES_PER_SAMPLE[sample_format] * channels
        self.sent = 0
        """Frames sent."""
        self.connections = 0
        """How often the daemon said welcome."""
        self.refused = 0
        """Messages that the daemon answered with an error."""
        self._sample = 0
        self._seq = 0
        self._credit = 0
        self._welcomed = False
        self._done: Done | None = None
        self._connecting = False
        self._hello_refusal: Refusal | None = None
        self._heard_s = self._pinged_s = self._pumped_s = time.monotonic()
        self._hello_due_s = 0.0
        self._retry_s = _FIRST_RETRY_S
        self._context = zmq.Context()
        try:
            self._socket = self._dial()
        except BusError:
            self._context.term()
            raise

    def __enter__(self) -> Self:
        """The sender itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def ready(self) -> bool:
        """Whether a chunk can be sent now."""
        return self._welcomed and self._credit > 0

    def connect(self, timeout_s: float = 10.0) -> None:
        """Introduce the stream and wait for the welcome, and until another sender of the stream is gone.

        Raises:
            BusError: nobody answered, or the daemon refused.
        """
        give_up = time.monotonic() + timeout_s
        self._connecting, self._hello_refusal = True, None
        try:
            while not self._welcomed:
                if time.monotonic() > give_up:
                    raise self._why_not(timeout_s)
                self.pump(0.05)
        finally:
            self._connecting = False

    def _why_not(self, timeout_s: float) -> BusError:
        """What to say when there was no welcome in time."""
        if self._hello_refusal is not None:
            return self._refusal_error(self._hello_refusal)
        return BusError(
            f"no daemon answered at {self.endpoint} within {timeout_s:g} s: expected `auricle run` "
            "with ingress.endpoint set there; check the address, the firewall and the daemon"
        )

    def send(self, pcm: bytes, captured_ns: int = 0, timeout_s: float = 30.0) -> None:
        """Send the next chunk, waiting for credit and through reconnections.

        Raises:
            BusError: no credit within `timeout_s`, or the daemon refused.
        """
        give_up = time.monotonic() + timeout_s
        while not self.try_send(pcm, self._sample, captured_ns):
            if time.monotonic() > give_up:
                raise BusError(f"{self.endpoint} took no audio for {timeout_s:g} s; is the daemon alive?")
            self.pump(0.05)

    def try_send(self, pcm: bytes, sample: int, captured_ns: int = 0) -> bool:
        """Send a chunk that begins at frame `sample`, if the daemon can take one now.

        Raises:
            FormatError: not whole frames, or more than a message can hold.
            BusError: the daemon refused the stream.
        """
        if len(pcm) % self.frame_bytes or len(pcm) > MAX_MESSAGE_BYTES // 2:
            raise FormatError(
                f"expected whole frames of {self.frame_bytes} bytes, at most {MAX_MESSAGE_BYTES // 2} bytes, "
                f"got {len(pcm)}; send shorter chunks"
            )
        if not self.ready or time.monotonic() - self._pumped_s > PING_S:
            self.pump(0)  # also while there is credit: the caller may do nothing but send
        if not self.ready or not self._post(Audio(self._seq, sample, captured_ns), pcm):
            return False
        frames = len(pcm) // self.frame_bytes
        self._seq += 1
        self._credit -= 1
        self._sample = sample + frames
        self.sent += frames
        return True

    def pump(self, timeout_s: float = 0.0, wake_fd: int | None = None) -> None:
        """Take answers and keep the connection alive, until `timeout_s`, an answer, or a ring at `wake_fd`.

        Raises:
            BusError: the daemon refused the stream.
        """
        self._pumped_s = time.monotonic()
        heard = self._take_answers()  # before the silence is judged: what lies here unread is none
        self._keep_alive(self._pumped_s)
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if wake_fd is not None:
            poller.register(wake_fd, zmq.POLLIN)
        poller.poll(0 if heard else round(timeout_s * 1000))
        self._take_answers()

    def _take_answers(self) -> bool:
        """Take all that the daemon said; return whether it was anything."""
        heard = False
        while True:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return heard
            try:
                message, _ = decode(parts)
            except FormatError as err:
                log.warning("%s answered nonsense: %s", self.endpoint, err)
                continue
            heard = True
            self._take(message)

    def finish(self, sample: int | None = None, timeout_s: float = 15.0) -> Done:
        """Say that all is sent, and wait for the daemon's account.

        Args:
            sample: where the stream ended (frames), if losses followed the last chunk.
            timeout_s: how long to wait.

        Raises:
            BusError: no account came.
        """
        give_up, said_at = time.monotonic() + timeout_s, 0
        while self._done is None:
            if time.monotonic() > give_up:
                raise BusError(
                    f"{self.endpoint} did not say what it received within {timeout_s:g} s; see its log"
                )
            if self._welcomed and said_at != self.connections:
                said_at = self.connections
                self._post(End(self._seq, self._sample if sample is None else sample))
            self.pump(0.05)
        return self._done

    def close(self) -> None:
        """Close the connection."""
        if not self._socket.closed:
            self._socket.close()
            self._context.term()

    def _dial(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.immediate = True  # queue nothing for a daemon that is not there
        socket.sndhwm = socket.rcvhwm = 1000
        socket.maxmsgsize = MAX_MESSAGE_BYTES
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as err:
            socket.close()
            raise BusError(
                f"cannot connect to {self.endpoint!r}: {err}; expected tcp://HOST:PORT or ipc:///PATH"
            ) from err
        return socket

    def _keep_alive(self, now_s: float) -> None:
        """Say hello while there is no welcome, ping while there is one, dial anew when nothing comes back."""
        if not self._welcomed:
            if now_s >= self._hello_due_s and self._post(self.hello):
                self._hello_due_s = now_s + self._retry_s
                self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
        elif now_s - self._heard_s > SILENT_S:
            log.warning("%s has gone silent; reconnecting", self.endpoint)
            self._socket.close()
            self._socket = self._dial()
            self._lose_welcome()
        elif now_s - self._pinged_s > PING_S:
            self._pinged_s = now_s
            self._post(Ping())

    def _lose_welcome(self) -> None:
        self._welcomed, self._credit = False, 0
        self._hello_due_s, self._retry_s = 0.0, _FIRST_RETRY_S

    def _take(self, message: Message) -> None:
        self._heard_s = time.monotonic()
        if isinstance(message, Welcome):
            if not self._welcomed:
                self.connections += 1
                self._welcomed, self._credit = True, message.credit
                self._retry_s = _FIRST_RETRY_S
        elif isinstance(message, Credit):
            self._credit += message.chunks
        elif isinstance(message, Done):
            self._done = message
        elif isinstance(message, Refusal):
            self._take_refusal(message)

    def _take_refusal(self, refusal: Refusal) -> None:
        if self._done is not None:
            return  # of a ping that crossed the account: the daemon has parted with this sender
        self.refused += 1
        if refusal.code == "hello":  # the daemon was restarted
            if self._welcomed:
                self._lose_welcome()
        elif self._connecting and not self._welcomed:
            self._take_refusal_of_hello(refusal)
        elif refusal.fatal:
            raise self._refusal_error(refusal)
        else:
            log.warning("%s: %s", self.endpoint, refusal.message)

    def _take_refusal_of_hello(self, refusal: Refusal) -> None:
        """Go on trying where that can help: the other sender may be this one, killed a moment ago."""
        malformed = refusal.code == "format" and not self.connections  # nothing else was said yet
        if malformed or (refusal.fatal and refusal.code != "busy"):
            raise self._refusal_error(refusal)
        if self._hello_refusal is None:
            log.warning("%s: %s; trying again", self.endpoint, refusal.message)
        self._hello_refusal = refusal
        self._hello_due_s = time.monotonic() + _BUSY_RETRY_S

    def _refusal_error(self, refusal: Refusal) -> BusError:
        advice = f"; {refusal.remedy}" if refusal.remedy else ""
        return BusError(f"{self.endpoint} refused: {refusal.message}{advice}")

    def _post(self, message: Message, pcm: bytes = b"") -> bool:
        try:
            self._socket.send_multipart(encode(message, pcm), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
