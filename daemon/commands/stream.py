"""`auricle stream`: files through the pipeline at full speed, events on standard output."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.daemon.commands.listening import add_listening_arguments, load_from_arguments

if TYPE_CHECKING:
    from auricle.configs.settings import Settings

HELP = "run audio files through the pipeline and print their events"
DESCRIPTION = """\
Runs recordings (wav, flac, ogg, mp3; 4 to 384 kHz, any number of channels) through the same code as live
audio, as fast as this machine can, and prints the same events in sample time: stream is the file, t counts
seconds from its start, and the output is the same each time. What was asked for and did not come is said on
standard error.

  auricle stream talk.flac                          what happened when, for people
  auricle stream --jsonl *.wav > events.jsonl       one JSON object a line, for programs
  auricle stream --config vad meeting.mp3 --jsonl   voice activity alone
  auricle stream talk.flac --set keyword.cell=lstm  the LSTM instead of the GRU
  auricle stream talk.flac --wake "hey auricle"     a wake phrase, typed; nothing else is run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording")
    parser.add_argument("--jsonl", action="store_true", help="print one JSON object a line")
    add_listening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Streams every file; a file that cannot be read is reported, and the others still run."""
    settings = load_from_arguments(args)

    from auricle.configs.errors import AudioError
    from auricle.daemon.bus import RecordingPublisher
    from auricle.daemon.event_text import EventPrinter
    from auricle.daemon.events import Event
    from auricle.daemon.offline import offline_shared, stream_file
    from auricle.models.engine import TorchEngine, limit_threads

    limit_threads(settings.daemon.threads)
    printer = EventPrinter(sys.stdout, None)
    heard: set[str] = set()

    def show(event: Event) -> None:
        heard.add(event.type)
        if args.jsonl:
            sys.stdout.buffer.write(event.to_json() + b"\n")
        else:
            printer.show(event)

    sink = RecordingPublisher(show)
    shared = offline_shared(settings, TorchEngine(), sink, keeps_clips=True)
    failed = 0
    for file in args.files:
        heard.clear()
        try:
            seconds = stream_file(Path(file), shared, name=file)
        except AudioError as error:
            print(f"auricle: error: {error}", file=sys.stderr)
            failed += 1
        else:
            printer.finish()
            if missing := [name for event_type, name in wanted(settings).items() if event_type not in heard]:
                print(f"{file}: {seconds:.1f} s, no {', no '.join(missing)}", file=sys.stderr)
        sink.events.clear()
    printer.finish()
    if shared.clips is not None:
        shared.clips.close()
    sys.stdout.flush()
    return 1 if failed else 0


def wanted(settings: "Settings") -> dict[str, str]:
    """The events that were asked for, with what a person calls them."""
    asked = {
        "speech.start": ("speech", settings.vad.enabled),
        "keyword": ("keyword", settings.keyword.enabled),
        "wake": ("wake phrase", bool(settings.wake)),
        "command": ("command", settings.commands.enabled),
        "transcript.final": ("words", settings.transcript.enabled),
    }
    return {event_type: name for event_type, (name, is_asked) in asked.items() if is_asked}
