"""One live stream of the daemon: a source, its pipeline, its latency."""

import contextlib
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from auricle.configs.errors import AuricleError
from auricle.configs.settings import StreamSettings
from auricle.daemon import event_data
from auricle.daemon.events import SAMPLE_RATE
from auricle.daemon.latency import StreamLatency
from auricle.daemon.sources.base import Source, SourceNotice
from auricle.daemon.stream import ChunkRecord, Shared, StreamPipeline
from auricle.daemon.timeline import CaptureClock, to_model_rate

if TYPE_CHECKING:
    from auricle.daemon.trace import TraceWriter

logger = logging.getLogger(__name__)


class LiveStream:
    """Moves samples from a source's ring through its pipeline; owned by the engine loop."""

    def __init__(
        self, source: Source, settings: StreamSettings, shared: Shared, trace: "TraceWriter | None" = None
    ) -> None:
        """Takes a source that is not started yet.

        Args:
            source: where samples come from.
            settings: the stream's own section of the configuration.
            shared: configuration, models and where events go.
            trace: gets every chunk's stamps, None for no trace.
        """
        self.source = source
        self.name = source.name
        self.latency = StreamLatency(
            source.name, shared.settings.latency.deadline_ms(shared.settings.pipeline)
        )
        self._settings, self._shared, self._trace = settings, shared, trace
        self._pipeline: StreamPipeline | None = None
        self._early: list[tuple[str, dict[str, Any]]] = []
        self._held: deque[SourceNotice] = deque()  # the end of the source, and what it told after that
        self._lost_seen = 0
        self._failure: AuricleError | None = None
        self.over = False
        """The source has ended and everything it gave is processed."""

    @property
    def error(self) -> AuricleError | None:
        """Why the stream gave up: its source, or the pipeline behind it."""
        return self._failure or self.source.error

    @property
    def frames(self) -> int:
        """Frames processed so far."""
        return self._pipeline.frames if self._pipeline else 0

    def step(self) -> bool:
        """Processes at most one chunk; returns whether there was anything to do."""
        finished = self.source.finished  # before the ring: what is written first must be read
        if self._pipeline is None and self.source.native_rate:
            self._open(self.source.native_rate)
        if self._pipeline is None:
            if finished:
                self.close()
            return False
        chunk_ms = self._shared.settings.pipeline.chunk_ms
        span = self.source.ring.read(max(1, self.source.native_rate * chunk_ms // 1000))
        if span is not None:
            if (
                span.lost_before or self._pipeline.position == 0
            ):  # "opened", "resumed" go before what is heard
                self.poll(time.monotonic_ns())
            self._pipeline.feed(span)
            return True
        if finished and not self.over:
            self.close()
        return False

    def poll(self, now_ns: int) -> None:
        """Publishes what the source has to tell; its end waits until its audio is through, see `close`.

        Programs stop listening at `ended`, and what a source gave up with comes before that.
        """
        self._held += self.source.poll(now_ns)
        while self._held and not self._is_last(self._held[0]):
            self._tell(self._held.popleft())

    def _is_last(self, notice: SourceNotice) -> bool:
        """Whether the source says that it has ended, or why it has given up."""
        if notice.kind == "error":
            return self.source.error is not None and notice.detail == str(self.source.error)
        return notice.state == "ended"

    def _tell(self, notice: SourceNotice) -> None:
        self.announce(notice.kind, notice.data())

    def _tell_all(self) -> None:
        """Publishes what the source has to tell, its end included: nothing of it follows."""
        self._held += self.source.poll(time.monotonic_ns())
        while self._held:
            self._tell(self._held.popleft())

    def announce(self, event_type: str, data: dict[str, Any]) -> None:
        """Publishes an event at the stream's present position; before the rate is known, it waits."""
        if self._pipeline is None:
            self._early.append((event_type, data))
        else:
            self._pipeline.announce(event_type, data)

    def report(self) -> None:
        """Publishes the latency since the last report, once there is something to be late with."""
        if self._pipeline is not None:
            self.announce("latency", self.latency.report())

    def close(self) -> None:
        """Decides what is still open, tells of the source's end and the last latencies."""
        if self.over:
            return
        self.over = True
        if self._pipeline is None:
            self._pipeline = self._open(self.source.native_rate or SAMPLE_RATE)
        self._pipeline.finish()
        self._tell_all()
        self.report()

    def fail(self, error: Exception) -> None:
        """Ends the stream after an error inside the pipeline; other streams go on."""
        self.over = True
        if isinstance(error, AuricleError):
            self._failure, code = error, error.code
        else:
            self._failure = AuricleError(f"stream {self.name} failed: {error!r}; see the log")
            code = "internal"
        logger.error("stream %s failed: %s", self.name, error, exc_info=error)
        if self._pipeline is None:  # its source's rate is none to work with; the error is to be heard of
            with contextlib.suppress(Exception):
                self._open(SAMPLE_RATE)
        self.announce("error", event_data.error(code, str(error), "see the log; the other streams go on"))
        self.source.stop()
        self._tell_all()

    def _open(self, native_rate: int) -> StreamPipeline:
        """Builds the pipeline, and publishes what was announced before the rate was known."""
        pipeline = StreamPipeline(
            self.name, native_rate, self._settings, self._shared, CaptureClock(), record=self._record
        )
        for event_type, data in self._early:
            pipeline.announce(event_type, data)
        self._early.clear()
        self._pipeline = pipeline
        return pipeline

    def _record(self, chunk: ChunkRecord) -> None:
        ring = self.source.ring
        self.latency.record(chunk.frames, chunk.stamps, to_model_rate(ring.queued_samples, ring.rate))
        assert self._pipeline is not None
        lost, self._lost_seen = self._pipeline.lost_samples - self._lost_seen, self._pipeline.lost_samples
        if lost:
            self.latency.lose(lost)
        if self._trace is not None:
            self._trace.chunk(self.name, chunk.sample, chunk.frames, chunk.stamps)
