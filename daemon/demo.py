"""The demo: a daemon in a child process, this process as its subscriber, and a verdict.

This side is what any program that listens to Auricle would be; it imports no torch.
"""

import contextlib
import io
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, TextIO

from auricle.configs.cli import EXIT_INTERRUPTED
from auricle.daemon.bundled import Expectation, Recording, listening, recordings
from auricle.daemon.client import Subscriber
from auricle.daemon.event_text import EventPrinter
from auricle.daemon.events import DAEMON_STREAM, Event

_QUIET: Final = frozenset({"level", "spectrum", "heartbeat", "latency"})
_DECIDED: Final = ("keyword", "speech.start", "speech.stop", "wake", "command", "transcript.final")
_START_TIMEOUT_S: Final = 60.0


class Screen(io.StringIO):
    """Passes on what is printed, in colour, and keeps it to be saved as a picture."""

    WIDTH = 116

    def __init__(self, out: TextIO) -> None:
        """Passes on to `out`."""
        super().__init__()
        self._out = out

    def write(self, text: str) -> int:
        """Prints and keeps."""
        self._out.write(text)
        self._out.flush()
        return super().write(text)

    def isatty(self) -> bool:
        """Claims to be a terminal, for the colours."""
        return True

    def save(self, path: str, title: str) -> None:
        """Writes what was printed as SVG."""
        from rich.console import Console
        from rich.text import Text

        console = Console(record=True, width=self.WIDTH, file=io.StringIO())
        console.print(Text.from_ansi(self.getvalue()))
        console.save_svg(path, title=title)


class Demo:
    """One run of the demo."""

    def __init__(
        self,
        source: str,
        config: str | None,
        overrides: Sequence[str],
        *,
        asked: bool,
        show_all: bool,
        out: TextIO,
    ) -> None:
        """Takes the command line.

        Args:
            source: "files" for the bundled recordings, "mic" for the microphone.
            config: a configuration for the daemon, None for the default.
            overrides: `a.b=value` each, for the daemon.
            asked: whether these say what to listen for; if not, the recordings are listened to for all that
                is in them, and it has to be heard.
            show_all: whether to print level and heartbeat events too.
            out: where to print.
        """
        self._recordings = recordings() if source == "files" else []
        self._judged = bool(self._recordings) and not asked
        self._config = config
        self._overrides = (*(listening() if self._judged else ()), *overrides)
        self._show_all, self._out = show_all, out
        self._interrupted = False
        self._events: list[Event] = []
        self._delays_ms: list[float] = []
        self._latencies: dict[str, dict[str, Any]] = {}

    def run(self) -> int:
        """Runs the daemon and listens to it; returns the exit status."""
        self._introduce()
        with tempfile.TemporaryDirectory(prefix="auricle-demo-") as folder:
            endpoint = f"ipc://{folder}/events.ipc"
            with self._daemon(endpoint) as daemon, Subscriber([endpoint]) as subscriber:
                self._listen(daemon, subscriber)
                lost = subscriber.lost_total
        if daemon.returncode:
            if self._interrupted:
                return EXIT_INTERRUPTED
            self._say(f"\nthe daemon failed (exit status {daemon.returncode}); its message stands above")
            return 1
        self._report()
        return self._judge(lost)

    @contextlib.contextmanager
    def _daemon(self, endpoint: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Starts `auricle run` in a process of its own, and stops it."""
        command = [sys.executable, "-m", "auricle.configs.cli", "run", "--quiet", "--wait-subscriber", "10"]
        if self._config:
            command += ["--config", self._config]
        settings = [*self._overrides, *stream_settings(self._recordings)]
        settings += [f'bus.endpoints=["{endpoint}"]', "latency.interval_s=3600", "daemon.log_level=warning"]
        for setting in settings:
            command += ["--set", setting]
        daemon = subprocess.Popen(command)

        # The daemon says good-bye, and this process listens until it has.
        def stop(number: int, _: object) -> None:
            self._interrupted = True
            daemon.send_signal(number)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield daemon
            daemon.wait(timeout=30)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()

    def _listen(self, daemon: "subprocess.Popen[bytes]", subscriber: Subscriber) -> None:
        """Prints events until the daemon says that it stops, or is gone."""
        printer = EventPrinter(self._out, time.monotonic_ns)
        deadline = time.monotonic() + _START_TIMEOUT_S
        # What several streams have heard so far, line by line, would hide what they decide.
        quiet = _QUIET | {"transcript.partial"} if self._judged else _QUIET
        while self._events or time.monotonic() < deadline:
            event = subscriber.receive(0.2)
            now_ns = time.monotonic_ns()
            if event is None:
                if daemon.poll() is not None:
                    break
                continue
            self._take(event, now_ns)
            if self._show_all or event.type not in quiet:
                printer.show(event)
            if event.type == "status" and event.data["state"] == "stopping":
                break
        printer.finish()

    def _take(self, event: Event, received_ns: int) -> None:
        self._events.append(event)
        if event.type in _DECIDED:
            self._delays_ms.append((received_ns - event.mono_ns) / 1e6)
        elif event.type == "latency":
            self._latencies[event.stream] = event.data

    def _introduce(self) -> None:
        if not self._recordings:
            self._say("Say something, or one of the keywords; Ctrl-C ends.")
        for recording in self._recordings:
            self._say(f"stream {recording.name}: {recording.path.name}, {recording.licence}")
        self._say("starting the daemon (a few seconds) ...\n")

    def _report(self) -> None:
        """Prints the table of stages, and the way from capture to this process."""
        from rich.console import Console

        from auricle.daemon.latency import table

        self._say("")
        if self._latencies:
            Console(file=self._out, width=Screen.WIDTH).print(table(self._latencies))
        if len(self._delays_ms) > 1:
            cuts = quantiles(self._delays_ms, n=100, method="inclusive")
            self._say(
                f"{len(self._delays_ms)} decisions, from last sample captured to received in this process: "
                f"p50 {cuts[49]:.1f} ms, p95 {cuts[94]:.1f} ms, max {max(self._delays_ms):.1f} ms"
            )

    def _judge(self, lost: int) -> int:
        """Compares what came with what had to come."""
        if not self._judged:
            return 0
        missing = [
            (recording.name, expectation)
            for recording in self._recordings
            for expectation in recording.expect
            if not self._came(recording, expectation)
        ]
        wrong = [event for event in self._events if event.type == "error"]
        expected = sum(len(recording.expect) for recording in self._recordings)
        streams = {event.stream for event in self._events} - {DAEMON_STREAM}
        self._say(
            f"{expected - len(missing)} of {expected} expected events arrived on {len(streams)} streams, "
            f"{lost} events lost on the way, {len(wrong)} errors"
        )
        for stream, expectation in missing:
            self._say(f"missing on stream {stream}: {expectation}")
        return 1 if missing or lost or wrong else 0

    def _came(self, recording: Recording, expectation: Expectation) -> bool:
        return any(event.stream == recording.name and expectation.matches(event) for event in self._events)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def stream_settings(files: Sequence[Recording]) -> list[str]:
    """`--set` values that make each recording a stream, in place of the microphone."""
    if not files:
        return []
    tables = ", ".join(f'{file.name} = {{source = "file", path = "{Path(file.path)}"}}' for file in files)
    return [f"streams={{{tables}}}"]
