"""`auricle send`: this machine's microphone (or a file, or raw PCM) to a daemon elsewhere."""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.configs.arguments import seconds
from auricle.configs.loader import add_config_arguments, load_from_arguments

if TYPE_CHECKING:
    from auricle.daemon.sender import AudioSender
    from auricle.daemon.sources.base import Source

HELP = "send audio to a daemon on another machine"
DESCRIPTION = """\
Ships audio to a running daemon whose ingress is open, with a position for every chunk, so that the daemon
counts what is lost. Reconnects by itself; meanwhile up to pipeline.ring_seconds of audio wait here.

  auricle run --set ingress.endpoint=tcp://0.0.0.0:7311 --set ingress.accept=any      there
  auricle send --to tcp://there:7311 --stream kitchen                                 here: the microphone
  auricle send --to tcp://there:7311 --stream notes recording.flac                    a file, as it sounds
  arecord -f S16_LE -r 16000 | auricle send --source stdin --rate 16000 --format s16le \\
      --to tcp://there:7311 --stream desk
  auricle send --to tcp://there:7311 --stream car --set pipeline.ring_seconds=60      wait longer for it
"""
_FORMATS = ("s16le", "s24le", "s32le", "f32le", "u8")
_CHUNKS_PER_SECOND = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="audio files, one after the other"
    )
    parser.add_argument(
        "--source",
        choices=("mic", "file", "stdin"),
        help="what to send (default: file if FILE is given, else mic)",
    )
    parser.add_argument("--to", required=True, metavar="ENDPOINT", help="the daemon's ingress.endpoint")
    parser.add_argument("--stream", required=True, metavar="NAME", help="name of the stream to feed")
    parser.add_argument("--device", default="", help="mic: index or part of the name (see `auricle devices`)")
    parser.add_argument("--rate", type=int, default=0, help="Hz; needed for stdin (0: what the source has)")
    parser.add_argument("--channels", type=int, default=0, help="mic, stdin: channels (0: what it has)")
    parser.add_argument("--format", choices=_FORMATS, default="", help="stdin: sample format")
    parser.add_argument(
        "--pace",
        choices=("realtime", "full"),
        default="realtime",
        help="file, stdin: as it sounds, or at once",
    )
    parser.add_argument("--wait", type=seconds, default=10.0, metavar="S", help="wait so long to be let in")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Sends until the source ends, Ctrl-C or SIGTERM."""
    from auricle.configs.errors import ConfigError
    from auricle.configs.stream_settings import check_stream_name
    from auricle.daemon.sender import AudioSender

    try:
        check_stream_name(args.stream)
    except ValueError as error:
        raise ConfigError(f"--stream: {error}") from error
    source = _source(args)
    with _sigterm_interrupts(), AudioSender(args.to, args.stream, source.native_rate) as sender:
        sender.connect(args.wait)
        interrupted = False
        try:
            source.start()
            _ship(source, sender)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            source.stop()
        done = sender.finish(source.ring.native_index if source.finished and not interrupted else None)
    seconds = sender.sent / source.native_rate
    print(
        f"sent {sender.sent} samples ({seconds:.2f} s) at {source.native_rate} Hz as {args.stream!r}; "
        f"received {done.received}, lost {done.lost}, connections {sender.connections}, "
        f"refused messages {sender.refused}",
        file=sys.stderr,
    )
    if source.error is not None:
        raise source.error
    return 0


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Makes SIGTERM what Ctrl-C is: the daemon hears of the end, and lets the next sender in at once."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _source(args: argparse.Namespace) -> "Source":
    """The source that the options ask for."""
    from auricle.configs.errors import ConfigError

    pipeline = load_from_arguments(args).pipeline
    kind = args.source or ("file" if args.files else "mic")
    if (kind == "file") != bool(args.files):
        raise ConfigError(
            f"--source {kind}: expected {'a FILE' if kind == 'file' else 'no FILE'}; see --help"
        )
    if kind == "file":
        from auricle.daemon.sources.file import FileSource

        return FileSource(
            args.stream, args.files, pace=args.pace, rate=args.rate, ring_seconds=pipeline.ring_seconds
        )
    if kind == "stdin":
        from auricle.daemon.sources.stdin import StdinSource

        return StdinSource(
            args.stream,
            rate=args.rate,
            sample_format=args.format,
            channels=args.channels or 1,
            pace=args.pace,
            ring_seconds=pipeline.ring_seconds,
        )
    from auricle.daemon.sources.mic import MicSource

    return MicSource(
        args.stream,
        device=args.device,
        rate=args.rate,
        channels=args.channels,
        stall_ms=pipeline.stall_ms,
        ring_seconds=pipeline.ring_seconds,
    )


def _ship(source: "Source", sender: "AudioSender") -> None:
    """Moves chunks from the ring to the daemon; while it is away the ring fills and counts what it drops."""
    from auricle.daemon.sources.stdin import encode_s16

    chunk = max(source.native_rate // _CHUNKS_PER_SECOND, 1)
    span = None
    while True:
        finished = source.finished  # before the ring: what is written first must be read
        for notice in source.poll(time.monotonic_ns()):
            if notice.state not in ("opened", "ended"):
                print(f"{notice.state or notice.code}: {notice.device} {notice.detail}", file=sys.stderr)
        source.doorbell.clear()
        span = span or source.ring.read(chunk)
        if span is None:
            if finished:
                return
            sender.pump(0.1, source.doorbell.fileno())
        elif not len(span.samples) or sender.try_send(
            encode_s16(span.samples), span.start_index, span.captured_ns
        ):
            span = None
        else:
            sender.pump(0.02)
