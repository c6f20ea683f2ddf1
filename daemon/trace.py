"""A trace of every chunk that Perfetto (ui.perfetto.dev) and chrome://tracing open.

The file is a JSON array of Chrome trace events, about 1 kB a chunk: one process is the daemon, one thread is
a stream, and the stages of a chunk lie on it as slices. Waiting in the ring may overlap the chunk before it,
which slices of one thread may not, so it is an asynchronous slice. Events, gaps too, are instants. Times are
microseconds of the monotonic clock. A file cut off by a crash still opens, for readers don't insist on the
closing bracket.
"""

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from auricle.configs.errors import AuricleError, ConfigError
from auricle.daemon.bus import EventSink
from auricle.daemon.events import Event
from auricle.daemon.latency import STAGES, Stamps

MAX_PENDING: Final = 20_000
"""Chunks and events that may wait for the disk, minutes of one stream; more are dropped and counted."""

_WRITE_EVERY_S: Final = 0.2

_log = logging.getLogger(__name__)
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_Chunk = tuple[str, int, int, Stamps]


class TraceWriter:
    """Writes chunks and events to a trace file from a thread of its own, so that the engine loop never waits.

    Attributes:
        dropped: chunks and events that weren't written, because the disk was too slow or failed.
        error: why writing ended early, None while all is well.
    """

    def __init__(self, path: Path, max_pending: int = MAX_PENDING) -> None:
        """Creates the file and starts the thread.

        Raises:
            ConfigError: the file can't be created.
        """
        self.path = path
        self.dropped = 0
        self.error: AuricleError | None = None
        self._unseen: AuricleError | None = None
        self._max_pending = max_pending
        self._pending: deque[_Chunk | Event] = deque()
        self._threads: dict[str, int] = {}
        self._ends_ns: dict[str, int] = {}
        self._chunks_written = 0
        self._closing = threading.Event()
        try:
            self._file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"cannot write the trace {str(path)!r}: {error.strerror}; choose another file (latency.trace)"
            ) from error
        self._thread = threading.Thread(target=self._run, name="trace-writer", daemon=True)
        self._thread.start()

    def chunk(self, stream: str, sample: int, frames: int, stamps: Stamps) -> None:
        """Takes one chunk that ended at `sample` (16 kHz); never waits."""
        self._put((stream, sample, frames, stamps))

    def event(self, event: Event) -> None:
        """Takes one event, shown where its sample was captured; never waits."""
        self._put(event)

    def take_error(self) -> AuricleError | None:
        """Returns `error` once, to be published, and None ever after."""
        error, self._unseen = self._unseen, None
        return error

    def close(self) -> None:
        """Writes what is pending and completes the file; may be called twice."""
        self._closing.set()
        self._thread.join()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def _put(self, item: _Chunk | Event) -> None:
        if self.error is not None or len(self._pending) >= self._max_pending:
            self.dropped += 1
        else:
            self._pending.append(item)

    def _run(self) -> None:
        try:
            with self._file:
                self._file.write("[\n" + _encode(_name("process_name", 0, "auricle")))
                while not self._closing.wait(_WRITE_EVERY_S):
                    self._write_pending()
                self._write_pending()
                self._file.write("\n]\n")
        except OSError as error:
            self.error = self._unseen = ConfigError(
                f"the trace {str(self.path)!r} ends early: {error.strerror}; free some space, "
                "or choose another file (latency.trace)"
            )
            _log.error("%s", self.error)
            self.dropped += len(self._pending)
            self._pending.clear()

    def _write_pending(self) -> None:
        for _ in range(len(self._pending)):
            for entry in self._entries(self._pending.popleft()):
                self._file.write(",\n" + _encode(entry))
        self._file.flush()

    def _entries(self, item: _Chunk | Event) -> Iterator[dict[str, Any]]:
        stream = item.stream if isinstance(item, Event) else item[0]
        if stream not in self._threads:
            self._threads[stream] = len(self._threads) + 1
            yield _name("thread_name", self._threads[stream], stream)
        thread = self._threads[stream]
        if isinstance(item, Event):
            yield _instant(item, thread)
        else:
            self._chunks_written += 1
            yield from _slices(item, thread, self._chunks_written, self._ends_ns.get(stream, 0))
            self._ends_ns[stream] = item[3].published_ns


class TracedSink:
    """Hands every event to a publisher and to a trace."""

    def __init__(self, publisher: EventSink, trace: TraceWriter) -> None:
        """Takes both; closing closes the publisher only."""
        self._publisher, self._trace = publisher, trace

    def publish(self, event: Event) -> None:
        """Publishes the event and draws it into the trace."""
        self._publisher.publish(event)
        self._trace.event(event)

    def close(self) -> None:
        """Closes the publisher."""
        self._publisher.close()


def _slices(chunk: _Chunk, thread: int, chunk_id: int, free_ns: int) -> Iterator[dict[str, Any]]:
    """Yields what one chunk looks like on a thread that other chunks occupy until `free_ns`.

    Of several chunks taken from the ring at once, the later wait for the earlier: drawn as a pause.
    """
    stream, sample, frames, stamps = chunk
    args = {"sample": sample, "frames": frames}
    waiting = {"name": STAGES[0], "cat": stream, "id": chunk_id, **_place(thread)}
    yield {**waiting, "ph": "b", "ts": stamps.captured_ns / 1000, "args": args}
    yield {**waiting, "ph": "e", "ts": max(stamps.captured_ns, stamps.dequeued_ns) / 1000}
    borders_ns = [max(stamp_ns, free_ns) for stamp_ns in stamps[1:]]
    for stage, (start_ns, end_ns) in zip(STAGES[1:-1], pairwise(borders_ns), strict=True):
        yield {
            "name": stage,
            "cat": "stage",
            "ph": "X",
            "ts": start_ns / 1000,
            "dur": (end_ns - start_ns) / 1000,
            **_place(thread),
            "args": args,
        }


def _instant(event: Event, thread: int) -> dict[str, Any]:
    return {
        "name": event.type,
        "cat": "event",
        "ph": "i",
        "s": "t",
        "ts": event.mono_ns / 1000,
        **_place(thread),
        "args": {"seq": event.seq, "sample": event.sample, **event.data},
    }


def _name(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", **_place(thread), "args": {"name": name}}


def _place(thread: int) -> dict[str, int]:
    return {"pid": os.getpid(), "tid": thread}
