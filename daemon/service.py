"""The daemon: startup, the engine loop, shutdown.

One thread, the engine loop, owns everything behind the rings: pipelines, models, decisions, the bus. Sources
fill their rings from threads of their own and ring one shared bell, on which the loop sleeps.
"""

import logging
import select
import time
from collections import deque
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auricle.configs.errors import AuricleError, ConfigError
from auricle.configs.settings import Settings, StreamSettings
from auricle.daemon import event_data
from auricle.daemon.bus import Publisher
from auricle.daemon.clips import ClipWriter
from auricle.daemon.command_decoder import grammars
from auricle.daemon.detectors import build_detectors
from auricle.daemon.events import DAEMON_STREAM, SAMPLE_RATE, Event, Sequencer
from auricle.daemon.ingress_server import IngressServer
from auricle.daemon.live import LiveStream
from auricle.daemon.offline import warm_up
from auricle.daemon.reload import Origin, Reloader
from auricle.daemon.ring import Doorbell
from auricle.daemon.sources.base import Source, open_source
from auricle.daemon.stream import Shared
from auricle.daemon.trace import TracedSink, TraceWriter
from auricle.daemon.upkeep import Timer, resident_mb

if TYPE_CHECKING:
    from auricle.models.engine import Engine

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.1
"""How often sources are asked for notices: they ring the bell themselves when it is urgent."""
_KEPT_ENDED: Final = 64
"""Streams that have ended and whose latencies are still told at the end."""


class Daemon:
    """Audio in, events out, until it is stopped or its last source has ended."""

    def __init__(
        self,
        settings: Settings,
        engine: "Engine",
        publisher: Publisher | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Loads the models and binds the bus.

        Args:
            settings: the whole configuration.
            engine: runs the models.
            publisher: where events go; None binds the endpoints of the configuration.
            origin: where the configuration came from, to be read again; None if it never is.

        Raises:
            ModelError: a model is missing or does not fit.
            BusError: an endpoint is malformed or in use.
            ConfigError: the trace cannot be written, a label is not known, or nothing is to be heard.
        """
        if not settings.streams and not settings.ingress.endpoint:
            raise ConfigError(
                "streams: expected at least one stream, or an ingress for remote ones, got none; such as "
                "--set streams.mic.source=mic, or --set ingress.endpoint=tcp://127.0.0.1:7311"
            )
        self._settings = settings
        self._stopping = False
        self._started_ns = time.monotonic_ns()
        self._doorbell = Doorbell()
        self._streams: list[LiveStream] = []
        self._ended: deque[LiveStream] = deque(maxlen=_KEPT_ENDED)
        self._arrivals: deque[Source] = deque()  # new remote streams, from the ingress thread
        self._ingress: IngressServer | None = None
        self._closed_frames = 0
        detectors = tuple(build_detectors(settings, engine, reloads=origin is not None))
        self._models = sorted({detector.model.name for detector in detectors})
        bus = settings.bus
        self._publisher = publisher or Publisher(bus.endpoints, bus.hwm, bus.sndbuf_bytes)
        try:  # after the bus: a daemon that is refused may not overwrite the trace of the one that runs
            self._trace = TraceWriter(Path(settings.latency.trace)) if settings.latency.trace else None
        except ConfigError:
            self._publisher.close()
            raise
        sink = TracedSink(self._publisher, self._trace) if self._trace else self._publisher
        clips = ClipWriter(settings.clips) if settings.clips.folder else None
        self._shared = Shared(settings, engine, detectors, sink, Sequencer(), clips)
        self._reloader = Reloader(settings, origin, detectors)
        self._grammars = grammars(detectors)
        self._timers = [
            Timer(_POLL_S, self._poll),
            Timer(settings.latency.interval_s, self._report),
            Timer(settings.daemon.heartbeat_s, self._heartbeat),
        ]

    @property
    def streams(self) -> list[LiveStream]:
        """The streams that are open, after those that ended last."""
        return [*self._ended, *self._streams]

    @property
    def failures(self) -> list[AuricleError]:
        """Why streams gave up, and the trace: a run with any has not done all it was asked to."""
        found = [live.error for live in self.streams if live.error is not None]
        if self._trace is not None and self._trace.error is not None:
            found.append(self._trace.error)
        return found

    @property
    def endpoints(self) -> list[str]:
        """Where events are published."""
        return list(self._publisher.endpoints)

    def stop(self) -> None:
        """Asks the loop to end; safe in a signal handler and from other threads."""
        self._stopping = True
        self._doorbell.ring()

    def reload(self) -> None:
        """Asks for the wake phrases to be read again; safe in a signal handler and from other threads."""
        self._reloader.ask()

    def run(self, wait_subscriber_s: float = 0.0) -> None:
        """Runs until stopped, or until the last source has ended.

        Args:
            wait_subscriber_s: start the sources when a subscriber has come, or after this long.

        Raises:
            AudioError: a source cannot be opened.
        """
        try:
            self.startup(wait_subscriber_s)
            self.main_loop()
        finally:
            self.shutdown()

    def startup(self, wait_subscriber_s: float = 0.0) -> None:
        """Opens and starts the sources."""
        self._status("starting")
        warm_up(self._shared)
        self._wait_for_subscriber(wait_subscriber_s)
        self._open_ingress()
        for name, stream in self._settings.streams.items():
            source = open_source(name, stream, self._settings, doorbell=self._doorbell, ingress=self._ingress)
            self._add(source, stream)
        for live in self._streams:
            live.source.start()
        if self._ingress is not None:
            self._ingress.start()
        self._status("running")
        logger.info("listening to %s; events on %s", self._names() or "nobody yet", ", ".join(self.endpoints))

    def main_loop(self) -> None:
        """Sleeps on the bell, then gives every stream its turn, one chunk at a time."""
        poller = select.poll()
        poller.register(self._doorbell.fileno(), select.POLLIN)
        run_ns = round(self._settings.daemon.run_seconds * 1e9)
        deadline_ns = time.monotonic_ns() + run_ns
        busy = True
        while not self._stopping:
            now_ns = time.monotonic_ns()
            due_ns = min(timer.due_ns for timer in self._timers)
            if not busy:
                poller.poll(max(0, (due_ns - now_ns) / 1e6))
            self._doorbell.clear()
            busy = self._turn()
            now_ns = time.monotonic_ns()
            for timer in self._timers:
                timer.fire(now_ns)
            if self._is_over() or (run_ns and now_ns >= deadline_ns):
                return

    def shutdown(self) -> None:
        """Stops the sources, processes what they left, says good-bye; nothing already captured is lost."""
        self._status("stopping")
        if self._ingress is not None:
            self._ingress.stop()
        while self._arrivals:
            self._turn()
        for live in self._streams:
            live.source.stop()
            while live.source.drain() or self._step(live):
                pass
            self._close(live)
        if self._shared.clips is not None:
            self._shared.clips.close()
        if self._trace is not None:
            self._trace.close()
            self._tell_trace_error()
        self._publisher.close()
        self._doorbell.close()

    def _turn(self) -> bool:
        """Gives each stream at most one chunk's turn; returns whether any had something to do."""
        self._let_in()
        busy = False
        for live in self._streams:
            busy |= self._step(live)
        if any(live.over for live in self._streams):
            self._part_with_ended()
        return busy

    def _let_in(self) -> None:
        """Takes in new remote streams; one whose predecessor is not processed yet waits for its end."""
        for _ in range(len(self._arrivals)):
            source = self._arrivals.popleft()
            if any(live.name == source.name for live in self._streams):
                self._arrivals.append(source)
            else:
                declared = self._settings.streams.get(source.name)
                self._add(source, declared or StreamSettings(source="zmq"))

    @staticmethod
    def _step(live: LiveStream) -> bool:
        try:
            return live.step()
        except Exception as error:  # one stream's failure must not silence the others
            live.fail(error)
            return False

    @staticmethod
    def _close(live: LiveStream) -> None:
        try:
            live.close()
        except Exception as error:
            live.fail(error)

    def _part_with_ended(self) -> None:
        """Moves streams that are over aside, so that remote ones can come and go for months."""
        for live in [live for live in self._streams if live.over]:
            self._streams.remove(live)
            self._ended.append(live)
            self._closed_frames += live.frames
            live.source.stop()

    def _open_ingress(self) -> None:
        settings = self._settings
        if not settings.ingress.endpoint:
            return

        def arrive(source: Source) -> None:
            self._arrivals.append(source)
            self._doorbell.ring()

        self._ingress = IngressServer(
            settings.ingress,
            ring_seconds=settings.pipeline.ring_seconds,
            doorbell=self._doorbell,
            on_stream=arrive,
            taken=frozenset(name for name, stream in settings.streams.items() if stream.source != "zmq"),
        )
        logger.info("taking audio on %s", self._ingress.endpoint)

    def _add(self, source: Source, settings: StreamSettings) -> LiveStream:
        live = LiveStream(source, settings, self._shared, self._trace)
        self._streams.append(live)
        return live

    def _is_over(self) -> bool:
        """Whether every source has ended and none can come."""
        return not self._streams and self._ingress is None

    def _wait_for_subscriber(self, wait_s: float) -> None:
        deadline_ns = time.monotonic_ns() + round(wait_s * 1e9)
        while not self._publisher.subscriptions and time.monotonic_ns() < deadline_ns and not self._stopping:
            time.sleep(0.01)

    def _poll(self) -> None:
        now_ns = time.monotonic_ns()
        for live in self._streams:
            live.poll(now_ns)
        self._tell_trace_error()
        for grammar in self._grammars:
            self._tell_error(grammar.poll())
        if isinstance(changed := self._reloader.poll(), AuricleError):
            self._tell_error(changed)
        elif changed:
            self._status("running")

    def _tell_trace_error(self) -> None:
        if self._trace is not None:
            self._tell_error(self._trace.take_error())

    def _tell_error(self, error: AuricleError | None) -> None:
        if error is not None:
            self._announce("error", event_data.error(error.code, str(error)))

    def _report(self) -> None:
        for live in self._streams:
            live.report()

    def _heartbeat(self) -> None:
        uptime_s = (time.monotonic_ns() - self._started_ns) / 1e9
        frames = self._closed_frames + sum(live.frames for live in self._streams)
        data = event_data.heartbeat(uptime_s, len(self._streams), frames, resident_mb())
        self._announce("heartbeat", data)

    def _status(self, state: event_data.DaemonState) -> None:
        names = [live.name for live in self._streams]
        version, wake = metadata.version("auricle"), self._reloader.phrases
        data = event_data.status(state, version, self._models, names, wake)
        self._announce("status", data)

    def _announce(self, event_type: str, data: dict[str, object]) -> None:
        """Publishes an event of the daemon as a whole."""
        now_ns = time.monotonic_ns()
        event = Event(
            type=event_type,
            stream=DAEMON_STREAM,
            seq=self._shared.sequencer.number(DAEMON_STREAM),
            sample=(now_ns - self._started_ns) * SAMPLE_RATE // 1_000_000_000,
            mono_ns=now_ns,
            wall_ns=time.time_ns(),
            data=data,
        )
        self._shared.publish(event)

    def _names(self) -> str:
        return ", ".join(live.name for live in self._streams)
