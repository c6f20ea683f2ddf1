"""Wake phrases that change while streams run, from the file or when asked to; a bad change does nothing."""

import argparse
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_wake_detector import LEXICON, background
from tone_engine import ACOUSTIC, RATE, ToneEngine, speak

from auricle.configs.errors import AuricleError, ConfigError
from auricle.configs.loader import load
from auricle.configs.settings import Settings, StreamSettings
from auricle.daemon import service, wake, watched
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.client import Subscriber
from auricle.daemon.commands import run as run_command
from auricle.daemon.detectors import build_detectors
from auricle.daemon.events import Event, Sequencer
from auricle.daemon.reload import Origin, Reloader
from auricle.daemon.ring import Span
from auricle.daemon.sender import AudioSender
from auricle.daemon.service import Daemon
from auricle.daemon.stream import Shared, StreamPipeline
from auricle.daemon.timeline import SampleClock
from auricle.daemon.wake import WakeDetector

MARVIN, SHEILA = '[[wake]]\nphrase = "marvin"\n', '[[wake]]\nphrase = "sheila"\n'
QUIET = "keyword.enabled = false\nvad.enabled = false\nlevel.enabled = false\n"
TALK = np.concatenate([speak("marvin"), speak("sheila"), speak("marvin")])


@pytest.fixture(name="engine", scope="module")
def _engine() -> ToneEngine:
    return ToneEngine()


@pytest.fixture(name="config")
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(watched, "QUIET_S", 0.02)
    path = tmp_path / "my.toml"
    path.write_text(QUIET + MARVIN)
    return path


def detector(settings: Settings) -> WakeDetector:
    return WakeDetector(ACOUSTIC, settings.wake, background(), LEXICON)


def reloader(config: Path, *detectors: WakeDetector) -> Reloader:
    return Reloader(load(config), Origin(lambda: load(config), config), detectors)


def outcome(one: Reloader) -> bool | AuricleError:
    """Polls until there is an error, or other phrases."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (found := one.poll()) is not False:
            return found
        time.sleep(0.005)
    raise AssertionError("nothing came")


def idle(one: Reloader) -> None:
    """Polls for a while in which nothing may happen."""
    for _ in range(20):
        assert one.poll() is False
        time.sleep(0.005)


class Heard:
    """A stream, fed by hand."""

    def __init__(self, engine: ToneEngine, settings: Settings, one: WakeDetector) -> None:
        self.sink, self.position = RecordingPublisher(), 0
        shared = Shared(settings, engine, (one,), self.sink, Sequencer())
        self.pipeline = StreamPipeline("desk", RATE, StreamSettings(), shared, SampleClock())

    def feed(self, until: int) -> None:
        for start in range(self.position, until, 320):
            self.pipeline.feed(Span(TALK[start : min(start + 320, until)], start, 0, 0, None))
        self.position = until

    def wakes(self) -> list[tuple[str, int, int]]:
        self.pipeline.finish()
        found = [event for event in self.sink.events if event.type == "wake"]
        return [(e.data["phrase"], e.data["start_sample"], e.data["end_sample"]) for e in found]


def test_phrases_of_a_changed_file_are_listened_for_without_losing_a_frame(
    engine: ToneEngine, config: Path
) -> None:
    both = Heard(engine, load(config), detector(load(config, ['wake=[{phrase="marvin"},{phrase="sheila"}]'])))
    both.feed(len(TALK))
    expected = both.wakes()
    assert [phrase for phrase, *_ in expected] == ["marvin", "sheila", "marvin"]
    found = detector(load(config))
    watching, heard = reloader(config, found), Heard(engine, load(config), found)
    heard.feed(12_000)  # in the middle of the first phrase, which stays
    config.write_text(QUIET + SHEILA + MARVIN)
    assert outcome(watching) is True
    assert watching.phrases == ["sheila", "marvin"]
    heard.feed(expected[1][2] + RATE)
    config.write_text(QUIET + SHEILA)
    assert outcome(watching) is True
    heard.feed(len(TALK))
    assert heard.wakes() == expected[:2]
    idle(watching)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (QUIET + MARVIN + "threshold = 2\n", "my.toml:6"),
        (QUIET + "[[wake]\n", "not valid TOML"),
        (QUIET + '[[wake]]\nphrase = "$1.5"\n', "cannot say"),
    ],
)
def test_a_bad_change_is_refused_and_told(
    config: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = detector(load(config))
    watching = reloader(config, found)
    config.write_text(text)
    error = outcome(watching)
    assert said in str(error) and said in caplog.text and "stays as it was" in caplog.text
    assert watching.phrases == ["marvin"]
    idle(watching)  # told once
    config.write_text(QUIET + SHEILA)
    assert outcome(watching) is True and watching.phrases == ["sheila"]


def test_phrases_that_only_go_with_other_changes_need_a_new_start(config: Path, tmp_path: Path) -> None:
    """Commands that wait for a wake phrase would never be heard without one."""
    (tmp_path / "my.yaml").write_text('intents:\n  Nod: {data: [{sentences: ["nod twice"]}]}\n')
    commands = f'[vad]\nenabled = true\n[commands]\nenabled = true\ngrammar = "{tmp_path / "my.yaml"}"\n'
    quiet = QUIET.replace("vad.enabled = false\n", "")
    config.write_text(quiet + MARVIN + commands + "after_wake = true\n")
    watching = reloader(config, detector(load(config)))
    config.write_text(quiet + commands)
    error = outcome(watching)
    assert "start the daemon anew" in str(error) and "expected a wake phrase" in str(error)
    assert watching.phrases == ["marvin"]


def test_a_file_that_is_being_replaced_is_left_alone(config: Path) -> None:
    watching = reloader(config, detector(load(config)))
    config.unlink()
    idle(watching)
    config.write_text(QUIET + SHEILA)
    assert outcome(watching) is True


def test_what_changes_while_models_load_is_not_missed(config: Path) -> None:
    origin = Origin(lambda: load(config), config)
    settings = load(config)
    config.write_text(QUIET + SHEILA)
    watching = Reloader(settings, origin, [detector(settings)])
    assert outcome(watching) is True and watching.phrases == ["sheila"]


def test_what_needs_a_new_start_is_named(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    watching = reloader(config, detector(load(config)))
    with caplog.at_level(logging.INFO):
        config.write_text(QUIET + SHEILA + "[endpoint]\nlongest_ms = 9000\n")
        assert outcome(watching) is True
    assert "changes of [endpoint] are used when" in caplog.text and "listening for 'sheila'" in caplog.text


def test_a_first_phrase_is_listened_for_where_phones_are_heard_anyhow(
    engine: ToneEngine, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "load_background", lambda path, model: background())
    (tmp_path / "my.yaml").write_text('intents:\n  Nod: {data: [{sentences: ["nod twice"]}]}\n')
    commands = ["commands.enabled=true", f"commands.grammar={tmp_path / 'my.yaml'}"]
    settings = load(config, ["wake=[]", "vad.enabled=true", *commands])
    assert not [one for one in build_detectors(settings, engine) if isinstance(one, WakeDetector)]
    found = build_detectors(settings, engine, reloads=True)
    watching = Reloader(settings, Origin(lambda: load(config), config), found)
    (first,) = (one for one in found if isinstance(one, WakeDetector))
    heard = Heard(engine, settings, first)
    heard.feed(RATE // 4)
    watching.ask()
    assert outcome(watching) is True and watching.phrases == ["marvin"]
    heard.feed(len(TALK))
    assert [phrase for phrase, *_ in heard.wakes()] == ["marvin", "marvin"]


def test_without_an_acoustic_model_or_its_calibration_the_first_phrase_needs_a_new_start(
    engine: ToneEngine, config: Path
) -> None:
    transcripts = ["vad.enabled=true", "transcript.enabled=true"]
    for settings in ([], transcripts):
        each = load(config, ["wake=[]", *settings])
        found = build_detectors(each, engine, reloads=True)
        watching = Reloader(each, Origin(lambda: load(config), config), found)
        watching.ask()
        assert "start it anew" in str(outcome(watching))


def test_pronunciations_are_read_again_when_asked(engine: ToneEngine, config: Path, tmp_path: Path) -> None:
    found = detector(load(config))
    watching, before = reloader(config, found), found._spotter.wanted
    folder = tmp_path / "none" / "auricle"
    folder.mkdir(parents=True)
    (folder / "lexicon.txt").write_text("marvin SH IY L AH\n")
    idle(watching)
    watching.ask()
    deadline = time.monotonic() + 60
    while found._spotter.wanted == before and time.monotonic() < deadline:
        assert watching.poll() is False  # the same phrases, said otherwise
        time.sleep(0.005)
    heard = Heard(engine, load(config), found)
    heard.feed(len(TALK))
    assert [start > 30_000 for _, start, _ in heard.wakes()] == [True]


def test_hangup_reloads_unless_it_is_that_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked:
        count = 0

        def reload(self) -> None:
            self.count += 1

    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        asked: Any = Asked()
        monkeypatch.setattr(os, "isatty", lambda descriptor: True)
        run_command._obey_signals(asked)
        assert signal.getsignal(signal.SIGHUP) == kept[signal.SIGHUP]
        monkeypatch.setattr(os, "isatty", lambda descriptor: False)
        run_command._obey_signals(asked)
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.count == 1
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_running_daemon(
    engine: ToneEngine, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(
        config,
        [
            f'bus.endpoints=["ipc://{tmp_path}/e.ipc"]',
            f'ingress.endpoint="ipc://{tmp_path}/i.ipc"',
            "streams={}",
            "ingress.accept=any",
        ],
    )
    monkeypatch.setattr(service, "build_detectors", lambda settings, engine, reloads: [detector(settings)])
    read = lambda: load(config).replace(  # noqa: E731
        **{name: getattr(settings, name) for name in ("bus", "ingress", "streams")}
    )
    daemon = Daemon(settings, engine, origin=Origin(read))
    thread = threading.Thread(target=daemon.run, args=(20.0,))
    events: list[Event] = []

    def until(sender: AudioSender | None = None, **wanted: Any) -> Event:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if sender is not None:
                sender.pump()  # a sender that says nothing is taken to be gone
            if (event := subscriber.receive(0.2)) is not None:
                events.append(event)
                values = {**event.data, "type": event.type, "stream": event.stream}
                if all(values.get(key) == value for key, value in wanted.items()):
                    return event
        raise AssertionError(f"{wanted} did not come")

    def say(sender: AudioSender, samples: np.ndarray) -> None:
        for start in range(0, len(samples), 3200):
            sender.send((samples[start : start + 3200] * 32767).astype(np.int16).tobytes())

    half = len(speak("marvin"))
    with Subscriber(daemon.endpoints) as subscriber:
        thread.start()
        until(type="status", state="running", wake=["marvin"])
        with AudioSender(f"ipc://{tmp_path}/i.ipc", "desk", rate=RATE) as sender:
            say(sender, TALK[:half])
            until(sender, type="wake", phrase="marvin")
            config.write_text(QUIET + '[[wake]]\nphrase = ""\n')
            daemon.reload()
            assert "wake" in until(sender, type="error", stream="daemon").data["message"]
            config.write_text(QUIET + SHEILA)
            daemon.reload()
            until(sender, type="status", state="running", wake=["sheila"])
            say(sender, TALK[half:])
            until(sender, type="wake", phrase="sheila")
            sender.finish()
            until(type="device", state="ended")
        daemon.stop()
        thread.join(30)
        assert subscriber.lost_total == 0
    desk = [event for event in events if event.stream == "desk"]
    assert [event.seq for event in desk] == list(range(len(desk)))
    assert not [event for event in desk if event.type == "gap"]
    assert [event.data["phrase"] for event in desk if event.type == "wake"] == ["marvin", "sheila"]
    ended = next(event for event in desk if event.type == "device" and event.data["state"] == "ended")
    assert ended.data["detail"] == f"{len(TALK)} frames, 0 lost"


def test_what_came_through_a_pipe_is_not_read_again(tmp_path: Path) -> None:
    """It would be empty the second time: a configuration with nothing to listen for."""
    os.mkfifo(tmp_path / "pipe")
    origin = run_command._origin(argparse.Namespace(config=str(tmp_path / "pipe"), overrides=[]))
    assert origin.path is None
    with pytest.raises(ConfigError, match="is a pipe, which can be read once"):
        origin.read()
