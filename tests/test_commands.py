"""Commands through the whole pipeline, on made-up speech: chunk sizes, wake phrases, grammars that change."""

import json
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from tone_engine import ACOUSTIC, RATE, ToneEngine, hush, speak

from auricle.configs.errors import AuricleError, ConfigError, ModelError
from auricle.configs.grammars import find_grammar, shipped_grammars
from auricle.configs.loader import load
from auricle.configs.settings import CommandSettings, Settings
from auricle.daemon import event_data, watched
from auricle.daemon.bus import Publisher, RecordingPublisher
from auricle.daemon.command_decoder import CommandDecoder, command_detector, grammars
from auricle.daemon.detectors import Draft, VadDetector, build_detectors
from auricle.daemon.events import DAEMON_STREAM, Event, Sequencer
from auricle.daemon.grammar import Grammar
from auricle.daemon.offline import stream_blocks
from auricle.daemon.selftest import same_event
from auricle.daemon.service import Daemon
from auricle.daemon.stream import Shared
from auricle.models.decoding.graph import compile_text
from auricle.models.engine import ModelInfo
from auricle.models.lexicon import Lexicon

SCHEMA = Path(__file__).parent.parent / "daemon/schema/event-v1.json"
GRAMMAR = """
intents:
  Light: {data: [{sentences: ["turn (on|off) the {area} light"], slots: {domain: light}}]}
lists: {area: {values: [kitchen, garage, {in: play room, out: 7}]}}
"""
QUIET = ("keyword.enabled=false", "level.enabled=false", "commands.enabled=true")


@pytest.fixture(name="engine", scope="module")
def _engine() -> ToneEngine:
    return ToneEngine()


@pytest.fixture(name="grammar")
def _grammar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "my.yaml"
    path.write_text(GRAMMAR)
    return path


class WakesAt:
    """A detector that reports a wake phrase at given samples: (end, when it is decided)."""

    model = ACOUSTIC
    tail_samples = 0

    def __init__(self, *places: tuple[int, int]) -> None:
        self.places = places

    def initial_state(self, position: int = 0) -> None:
        return None

    def decide(
        self, posterior: Any, end_samples: Sequence[int], state: None, cues: Sequence[Draft]
    ) -> tuple[list[Draft], None]:
        found = []
        for sample in end_samples:
            for end, decided in self.places:
                if sample - ACOUSTIC.frame_samples < decided <= sample:
                    data = {"phrase": "hey", "score": 0.9, "start": 0.0, "end": end / RATE}
                    data |= {"start_sample": 0, "end_sample": end}
                    found.append(Draft("wake", sample, data, ACOUSTIC.name))
        return found, None

    def finish(self, end_sample: int, last_sample: int, state: None) -> tuple[list[Draft], None]:
        return [], None


def run(samples: np.ndarray, engine: ToneEngine, options: Settings) -> list[Event]:
    sink = RecordingPublisher()
    shared = Shared(options, engine, tuple(build_detectors(options, engine)), sink, Sequencer())
    stream_blocks([samples], RATE, shared, "toy")
    return sink.events


def configured(grammar: Path, *overrides: str) -> Settings:
    return load(None, (*QUIET, f'commands.grammar="{grammar}"', *overrides))


def commands(events: list[Event]) -> list[dict[str, Any]]:
    return [event.data for event in events if event.type == "command"]


TALK = np.concatenate(
    [
        speak("turn on the kitchen light"),
        speak("seven sheep go home now"),
        speak("turn off the play room light"),
    ]
)


def test_what_is_in_the_grammar_is_reported_and_nothing_else(engine: ToneEngine, grammar: Path) -> None:
    events = run(TALK, engine, configured(grammar))
    first, second = commands(events)
    assert (first["text"], first["intent"]) == ("turn on the kitchen light", "Light")
    assert first["slots"] == {"domain": "light", "area": "kitchen"}
    assert second["slots"] == {"domain": "light", "area": 7}
    assert min(first["score"], second["score"]) > 0.9
    validator = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    for event in events:
        validator.validate(json.loads(event.to_json()))


def test_words_lie_where_they_were_said(engine: ToneEngine, grammar: Path) -> None:
    (command,) = commands(run(speak("turn on the kitchen light"), engine, configured(grammar)))
    place = 0.6
    for word, phones in zip(command["words"], (3, 2, 2, 5, 3), strict=True):
        assert word["start"] == pytest.approx(place, abs=0.06)
        place += phones * 0.12
        assert word["end"] == pytest.approx(place, abs=0.06)
    assert command["start"] == command["words"][0]["start"]


@pytest.mark.parametrize("chunk_ms", [20, 70, 330, 900])
def test_chunk_size_changes_nothing(engine: ToneEngine, grammar: Path, chunk_ms: int) -> None:
    expected = run(TALK, engine, configured(grammar, "pipeline.chunk_ms=10"))
    found = run(TALK, engine, configured(grammar, f"pipeline.chunk_ms={chunk_ms}"))
    assert len(commands(expected)) == 2
    assert len(found) == len(expected)
    assert all(same_event(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("chunk_ms", [20, 330])
def test_sound_that_goes_on_does_not_hold_a_command_back(
    engine: ToneEngine, grammar: Path, chunk_ms: int
) -> None:
    parts = (
        "turn on the kitchen light",
        "seven sheep go home now and then they sleep",
        "turn off the garage light",
    )
    spoken = [speak(part, 0.0, 0.0) for part in parts]
    samples = np.concatenate([hush(0.6), *spoken, spoken[1], hush(2.0)])
    told = configured(grammar, f"pipeline.chunk_ms={chunk_ms}", "commands.threshold=0.2")  # tones leave doubt
    first, second = [event for event in run(samples, engine, told) if event.type == "command"]
    assert [event.data["slots"]["area"] for event in (first, second)] == ["kitchen", "garage"]
    for event in (first, second):
        assert 1.0 <= (event.sample - event.data["end_sample"]) / RATE < 1.5
    late = configured(grammar, "commands.after_sentence_ms=0", "commands.threshold=0.2")
    assert len(commands(run(samples, engine, late))) < 2  # one utterance, by voice activity


WOKEN = ("commands.after_wake=true", 'wake=[{phrase="hey"}]', "commands.window_ms=1500")


def woken(grammar: Path, *overrides: str) -> Settings:
    return configured(grammar, *WOKEN, *overrides)


def run_woken(
    samples: np.ndarray, engine: ToneEngine, options: Settings, *places: tuple[int, int]
) -> list[Event]:
    """As `run`, with the detectors put together by hand: the wake phrases are not searched for."""
    sink = RecordingPublisher()
    vad = VadDetector(engine.load("vad"), options.vad)
    detectors = (vad, WakesAt(*places), command_detector(ACOUSTIC, options))
    stream_blocks([samples], RATE, Shared(options, engine, detectors, sink, Sequencer()), "toy")
    return sink.events


@pytest.mark.parametrize("chunk_ms", [10, 50, 640])
def test_a_wake_phrase_opens_a_window(engine: ToneEngine, grammar: Path, chunk_ms: int) -> None:
    options = woken(grammar, f"pipeline.chunk_ms={chunk_ms}")
    said = speak("hey go turn off the garage light")
    end = round((0.6 + 4 * 0.12) * RATE)  # of "hey go", in one breath with the command
    events = run_woken(said, engine, options, (end, end + 2560))
    (command,) = commands(events)
    (wake,) = (event for event in events if event.type == "wake")
    assert command["text"] == "turn off the garage light"
    assert command["wake_seq"] == wake.seq
    assert command["start_sample"] >= end
    assert not commands(run_woken(said, engine, options))


@pytest.mark.parametrize("chunk_ms", [10, 640])
def test_a_command_that_ends_with_the_wake_phrase_is_heard(
    engine: ToneEngine, grammar: Path, chunk_ms: int
) -> None:
    """As "turn off the computer" where "computer" wakes; what follows the phrase is a command of its own."""
    options = woken(grammar, f"pipeline.chunk_ms={chunk_ms}")
    parts = ("hey go", "hey go turn off the kitchen light")
    ends = [round((0.6 + 0.12 * len(Lexicon().phones(part))) * RATE) for part in parts]
    said = speak(f"{parts[1]} turn on the garage light")
    events = run_woken(said, engine, options, *((end, end + 2560) for end in ends))
    assert [data["slots"]["area"] for data in commands(events)] == ["kitchen", "garage"]
    wakes = [event.seq for event in events if event.type == "wake"]
    assert [data["wake_seq"] for data in commands(events)] == wakes


def test_the_window_closes(engine: ToneEngine, grammar: Path) -> None:
    said = np.concatenate([hush(0.5), speak("turn on the garage light")])
    for end, wanted in ((8000, 1), (-20_000, 0)):
        samples = np.concatenate([hush(2.0), said])
        place = 32_000 + end
        events = run_woken(samples, engine, woken(grammar), (place, place + 640))
        assert len(commands(events)) == wanted


def outcome(source: Grammar) -> AuricleError | None:
    """Polls until another grammar is in use, or an error says why not."""
    before, deadline = source.current(), time.monotonic() + 30
    while time.monotonic() < deadline:
        if (error := source.poll()) is not None or source.current() is not before:
            return error
        time.sleep(0.005)
    raise AssertionError("nothing came")


def idle(source: Grammar) -> None:
    """Polls for a while in which nothing may happen."""
    before = source.current()
    for _ in range(20):
        assert source.poll() is None and source.current() is before
        time.sleep(0.005)


def test_a_changed_grammar_is_used_from_the_next_utterance_on(
    grammar: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watched, "QUIET_S", 0.02)
    source = Grammar(grammar)
    decoder = CommandDecoder(ACOUSTIC, CommandSettings(), source)
    under_way = decoder.begin()
    grammar.write_text(GRAMMAR.replace("garage", "cellar"))
    assert outcome(source) is None
    assert "cellar" in decoder.begin().search.graph.vocabulary
    assert "garage" in under_way.search.graph.vocabulary
    grammar.write_text("intents: [")
    assert "not valid YAML" in str(outcome(source)) and "stays as it was" in caplog.text
    idle(source)  # told once
    grammar.unlink()
    idle(source)
    assert "cellar" in decoder.begin().search.graph.vocabulary
    grammar.write_text(GRAMMAR)
    assert outcome(source) is None
    assert "garage" in decoder.begin().search.graph.vocabulary


def test_a_grammar_that_is_being_written_is_left_alone(
    grammar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "QUIET_S", 60.0)
    source = Grammar(grammar)
    grammar.write_text("intents: [")
    idle(source)
    monkeypatch.setattr(watched, "QUIET_S", 0.02)
    grammar.write_text(GRAMMAR.replace("garage", "cellar"))
    assert outcome(source) is None


def test_a_running_daemon_looks_at_its_grammar_and_tells_what_is_wrong(
    engine: ToneEngine, grammar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an utterance, too: the first one after the change is searched for what it says now."""
    monkeypatch.setattr(watched, "QUIET_S", 0.02)
    settings = configured(grammar, f'ingress.endpoint="ipc://{grammar.parent}/i.ipc"', "streams={}")
    with Publisher([f"ipc://{grammar.parent}/e.ipc"]) as publisher:
        sink = RecordingPublisher()
        monkeypatch.setattr(publisher, "publish", sink.publish)
        daemon = Daemon(settings, engine, publisher)
        (source,) = grammars(daemon._shared.detectors)

        def until(done: Callable[[], object]) -> None:
            deadline = time.monotonic() + 30
            while not done():
                assert time.monotonic() < deadline
                daemon._poll()
                time.sleep(0.005)

        grammar.write_text("intents: [")
        until(lambda: sink.events)
        grammar.write_text(GRAMMAR.replace("garage", "cellar"))
        until(lambda: "cellar" in source.current().graph.vocabulary)
        daemon.shutdown()
    (error,) = [event for event in sink.events if event.type == "error"]
    assert (error.stream, error.data["code"]) == (DAEMON_STREAM, "config")
    assert str(grammar) in error.data["message"]


def test_shipped_grammars_can_be_searched_for() -> None:
    assert set(shipped_grammars()) == {"coffee", "commands"}
    for path in shipped_grammars().values():
        assert len(compile_text(path.read_text()).labels) > 500


def test_mistakes_in_the_settings_are_named(engine: ToneEngine, grammar: Path) -> None:
    with pytest.raises(ConfigError, match="shipped grammars coffee, commands"):
        find_grammar("comands")
    assert find_grammar("commands").name == "commands.yaml"
    with pytest.raises(ConfigError, match=r"expected vad\.enabled = true"):
        configured(grammar, "vad.enabled=false")
    with pytest.raises(ConfigError, match="expected a wake phrase to wait for"):
        configured(grammar, "commands.after_wake=true")
    with pytest.raises(ModelError, match="expected 'acoustic'"):
        CommandDecoder(engine.load("vad"), CommandSettings(), Grammar(grammar))


class TwiceEngine(ToneEngine):
    """The same with a second pass: its hidden values are the posteriors, which `again` may change."""

    def __init__(self, again: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.again, self.looked = again, 0

    def load(self, name: str, cell: str = "gru", *, second_pass: bool = False) -> ModelInfo:
        model = super().load(name, cell)
        if model.kind != "acoustic" or not second_pass:
            return model
        return replace(model, hidden=model.width, second="tones.second@0")

    def infer(self, model: ModelInfo, frames: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        posterior, state = super().infer(model, frames, state)
        return (np.concatenate([posterior, posterior], -1) if model.hidden else posterior), state

    def look_again(self, model: ModelInfo, hidden: np.ndarray) -> np.ndarray:
        self.looked += 1
        return self.again(hidden)


def test_a_second_pass_has_the_last_word(engine: ToneEngine, grammar: Path) -> None:
    def nothing(hidden: np.ndarray) -> np.ndarray:
        return np.eye(hidden.shape[1], dtype=np.float32)[np.zeros(len(hidden), int)]

    once = commands(run(TALK, engine, configured(grammar)))
    same, never = TwiceEngine(lambda hidden: hidden), TwiceEngine(nothing)
    assert commands(run(TALK, same, configured(grammar))) == once
    assert same.looked == len(once) == 2  # not at the utterance that no command is like
    assert commands(run(TALK, never, configured(grammar))) == []
    never.looked = 0
    assert commands(run(TALK, never, configured(grammar, "commands.second_pass=false"))) == once
    assert never.looked == 0


def test_the_shipped_grammar_compiles(tmp_path: Path) -> None:
    graph = Grammar(find_grammar("commands")).current().graph
    intents = {tag.intent for tag in graph.tags} - {""}
    assert {"TurnOn", "SetTimer", "PlayMusic", "SetTemperature"} <= intents


def test_the_example_of_the_documentation_compiles(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/commands.md").read_text("utf-8")
    example = textwrap.dedent(page.partition("   ```yaml\n")[2].partition("   ```")[0])
    (tmp_path / "my.yaml").write_text(example)
    graph = Grammar(tmp_path / "my.yaml").current().graph
    assert {"puppy", "spoons", "garden"} <= set(graph.vocabulary)


def test_a_command_says_what_its_words_say() -> None:
    words = [("go", 1600, 3200, 0.5), ("home", 3200, 8000, 1.0)]
    data = event_data.command("Go", {"where": "home"}, 0.87654321, words)
    assert (data["text"], data["start"], data["end_sample"], data["score"]) == ("go home", 0.1, 8000, 0.8765)
