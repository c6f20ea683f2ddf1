"""Scores of commands: how often a grammar is heard in talk, what is kept of that, and what comes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tone_engine import ACOUSTIC, RATE, STRIDE, ToneEngine, speak

from auricle.configs.errors import ModelError
from auricle.configs.loader import load
from auricle.daemon.bus import RecordingPublisher
from auricle.daemon.detectors import build_detectors
from auricle.daemon.events import Sequencer
from auricle.daemon.grammar import shown_to_who_waits
from auricle.daemon.offline import stream_blocks
from auricle.daemon.stream import Shared
from auricle.models.checkpoint import load_model
from auricle.models.decoding import talk
from auricle.models.decoding.background import Expected, fit_scores
from auricle.models.decoding.confidence import NOISE_CONTRAST, Evidence, logit
from auricle.models.decoding.graph import CommandGraph, compile_text
from auricle.models.decoding.search import SearchConfig
from auricle.models.decoding.talk import (
    SUFFIX,
    CountedScale,
    Listener,
    Scale,
    Talk,
    TalkInfo,
    best_logit,
    coded,
    read_talk,
)
from auricle.models.engine import ModelInfo
from auricle.models.second_pass import SECOND_SUFFIX, load_two_passes
from auricle.models.zoo import find_model

CONFIG = SearchConfig()
WORDS = "seven sheep go home now where does river end turn of tide under bridge with cold water light"
SAID = tuple(" ".join(np.random.default_rng(number).permutation(WORDS.split())[:5]) for number in range(40))
OFTEN = ("a cat sat on the mat",) * 20
LIGHT = "intents: {Light: {data: [{sentences: ['turn on the kitchen light']}]}}"
CAT = "intents: {Cat: {data: [{sentences: ['a cat sat on the mat']}]}}"
EITHER = "intents: {Cat: {data: [{sentences: ['(a cat|the dog) sat on the mat']}]}}"


@pytest.fixture(name="engine", scope="module")
def _engine() -> ToneEngine:
    return ToneEngine()


@pytest.fixture(name="heard", scope="module")
def _heard(engine: ToneEngine) -> Talk:
    """Sixty utterances of an hour, a third of them of one text."""
    return talk_of(engine, (*SAID, *OFTEN), 1.0)


def talk_of(engine: ToneEngine, texts: tuple[str, ...], hours: float) -> Talk:
    """Talk that is heard more or less clearly: a model is never as sure as tones are."""
    rng, rows = np.random.default_rng(2), []
    for text in texts:
        samples = speak(text)[None]
        frames, _ = engine.features(ACOUSTIC.frontend, samples, engine.frontend_state(ACOUSTIC.frontend))
        frames = frames[:, : frames.shape[1] // STRIDE * STRIDE]
        posterior, _ = engine.infer(ACOUSTIC, frames, ())
        unsure, part = rng.dirichlet(np.full(posterior.shape[2], 0.3), len(posterior[0])), 0.3 * rng.random()
        rows.append(coded(np.log((1 - part) * posterior[0] + part * unsure)))
    return Talk(np.concatenate(rows), np.cumsum([len(row) for row in rows]).tolist(), TalkInfo("0", hours))


def test_without_talk_scores_are_on_a_fixed_scale() -> None:
    scale = Scale()
    assert scale.score(0.0) == 0.5 and scale.least(1.0) == 0.0
    for rate in (0.01, 0.5, 1.0, 30.0):
        assert scale.score(scale.least(rate)) == pytest.approx(1 / (1 + rate))
    assert 0 <= scale.score(-1e4) < scale.score(1e4) <= 1


def test_what_is_said_in_passing_must_score_higher(heard: Talk) -> None:
    rare, common = (CountedScale(heard.tail(compile_text(text), CONFIG)) for text in (LIGHT, CAT))
    assert common.least(0.5) > rare.least(0.5)
    assert (
        common.least(0.5) == talk.STRICTEST and common.rate(talk.STRICTEST) > 0.5
    )  # said twenty times an hour
    assert rare.least(0.5) < 0 and rare.least(1e9) == talk.LOOSEST
    for scale in (rare, common):
        scores = [scale.score(found) for found in np.linspace(-30, 30, 50)]
        assert scores == sorted(scores) and scores[0] >= 0 and scores[-1] <= 1


def test_what_tells_no_phones_apart_is_noise() -> None:
    clear = Evidence(fit=-0.5, outside=0.0, length=3.0, contrast=6.5)
    noise = clear._replace(contrast=3.0)
    assert logit(clear) > 5 > talk.LOOSEST > logit(noise)
    edge = logit(clear._replace(contrast=NOISE_CONTRAST))
    assert edge - logit(clear._replace(contrast=NOISE_CONTRAST - 1e-3)) < 0.1  # no jump


def test_a_correction_counts_as_more_false_commands(heard: Talk) -> None:
    graph = compile_text(CAT)
    corrected = Talk(heard.codes, heard.ends, replace(heard.info, correction=3.0))
    one, three = (CountedScale(found.tail(graph, CONFIG)) for found in (heard, corrected))
    assert three.rate(0.0) == pytest.approx(3 * one.rate(0.0))


def test_a_threshold_depends_less_on_the_chance_of_a_few_scores_when_a_scale_is_expected() -> None:
    rng, thresholds = np.random.default_rng(3), []
    for _ in range(60):
        ordered = -np.sort(-rng.exponential(1.8, 800).astype(np.float32))
        tails = [
            fit_scores(ordered, 0.8, 1.0, talk.TAIL_EVENTS, talk.DOUBTFUL_EVENTS, expected=expected)
            for expected in (Expected(0.0), talk.EXPECTED)
        ]
        thresholds.append([tail.score_at(0.5) for tail in tails])
    spread, right = np.std(thresholds, 0), 1.8 * np.log(800 / (0.5 * 0.8))
    assert spread[1] < 0.8 * spread[0]
    assert abs(np.mean(thresholds, 0)[1] - right) < 0.3


def test_utterances_come_out_as_they_were_heard(heard: Talk) -> None:
    found = list(heard.utterances())
    assert [len(rows) for rows in found] == np.diff((0, *heard.ends)).tolist()
    assert np.allclose([rows.sum(1).mean() for rows in found], 1, atol=1e-5)
    assert len(found[-1]) == len(found[-2]) and (found[-1].argmax(1) == found[-2].argmax(1)).mean() > 0.95


def test_coarse_steps_leave_scores_as_they_are(engine: ToneEngine, heard: Talk) -> None:
    rng = np.random.default_rng(2)
    graph, differences = compile_text(EITHER), []
    for rows in list(heard.utterances())[-8:]:
        unsure = rng.dirichlet(np.full(rows.shape[1], 0.3), len(rows)).astype(np.float32)
        said = 0.6 * rows + 0.4 * unsure
        codes = coded(np.log(said))
        (again,) = Talk(codes, [len(codes)], heard.info).utterances()
        differences.append(best_logit(again, graph, CONFIG) - best_logit(said, graph, CONFIG))
    assert np.abs(differences).max() < 1.0 and abs(np.mean(differences)) < 0.3


def test_talk_is_stored_whole_and_belongs_to_its_model(heard: Talk, tmp_path: Path) -> None:
    path = tmp_path / f"tones{SUFFIX}"
    heard.save(path)
    content = path.read_bytes()
    again = read_talk(content, path, "0")
    assert np.array_equal(again.codes, heard.codes) and (again.ends, again.info) == (heard.ends, heard.info)
    with pytest.raises(ModelError, match=r"made with the weights 0, but 1 are used.*take the file away"):
        read_talk(content, path, "1")
    for damaged in (content[:-20], b"", b"nothing"):
        with pytest.raises(ModelError, match=r"no calibration of commands.*auricle calibrate"):
            read_talk(damaged, path, "0")
    for codes, ends in ((heard.codes, heard.ends[:-1]), (heard.codes + 99, heard.ends), (heard.codes, [1])):
        Talk(codes, ends, heard.info).save(path)
        with pytest.raises(ModelError, match="not whole"):
            read_talk(path.read_bytes(), path, "0")
    with pytest.raises(ModelError, match="cannot read"):
        Listener(tmp_path / "none", "0", CONFIG)


def test_a_scale_is_found_once(heard: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, folder, searched = tmp_path / f"tones{SUFFIX}", tmp_path / "cache", list[CommandGraph]()
    heard.save(path)
    search = Talk.tail

    def counted(self: Talk, graph: CommandGraph, *how: Any) -> Any:
        searched.append(graph)
        return search(self, graph, *how)

    monkeypatch.setattr(Talk, "tail", counted)

    def rate(text: str, config: SearchConfig = CONFIG, model: str = "0") -> float:
        return Listener(path, model, config, folder).scale(compile_text(text)).rate(0.0)

    first = rate(CAT)
    assert rate(CAT) == first and len(searched) == 1
    assert rate(CAT.replace("Cat:", "Dog:")) == first and len(searched) == 1  # sounds the same
    for other in (rate(LIGHT), rate(EITHER), rate(CAT, SearchConfig(blank_shift=0.0))):
        assert other > 0
    assert len(searched) == 4
    with pytest.raises(ModelError, match="made with the weights"):
        rate(CAT, model="1")
    for stored in folder.glob("*.npz"):
        stored.write_bytes(b"nothing")
    assert rate(CAT) == first and len(searched) == 5
    Talk(heard.codes, heard.ends, replace(heard.info, correction=2.0)).save(path)
    assert rate(CAT) == pytest.approx(2 * first) and len(searched) == 6


class FiledEngine(ToneEngine):
    """The same with a model that has a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load(self, name: str, cell: str = "gru", *, second_pass: bool = False) -> ModelInfo:
        model = super().load(name, cell)
        return replace(model, file=self._file) if model.kind == "acoustic" else model


def commands(engine: ToneEngine, grammar: Path, *overrides: str) -> list[dict[str, Any]]:
    quiet = ("keyword.enabled=false", "level.enabled=false", "commands.enabled=true")
    options = load(None, (*quiet, f'commands.grammar="{grammar}"', *overrides))
    sink = RecordingPublisher()
    shared = Shared(options, engine, tuple(build_detectors(options, engine)), sink, Sequencer())
    samples = np.concatenate([speak("turn on the kitchen light"), speak("a cat sat on the mat")])
    stream_blocks([samples], RATE, shared, "toy")
    return [event.data for event in sink.events if event.type == "command"]


def test_the_daemon_asks_for_what_talk_leaves_over(
    engine: ToneEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model, grammar = tmp_path / "tones.safetensors", tmp_path / "my.yaml"
    grammar.write_text(LIGHT)
    filed = FiledEngine(model)
    (fixed,) = commands(filed, grammar)  # no talk lies beside it
    talk_of(engine, SAID, 1.0).save(model.with_suffix(SUFFIX))
    (counted,) = commands(filed, grammar, "commands.threshold=0.99")
    assert counted["text"] == fixed["text"] and counted["score"] > 0.99
    assert not caplog.records
    often = talk_of(engine, (*SAID, *["turn on the kitchen light"] * 20), 1.0)
    often.save(model.with_suffix(SUFFIX))
    monkeypatch.setattr(talk, "STRICTEST", 50.0)
    assert commands(filed, grammar, "commands.threshold=0.99") == []
    assert commands(filed, grammar, "commands.false_accepts_per_hour=1000") != []
    assert "said in passing" not in caplog.text
    monkeypatch.setattr(talk, "STRICTEST", 1.0)
    (said,) = commands(filed, grammar, "commands.threshold=0.99")
    assert said["score"] < 0.99  # no more is asked for, but it says what it is worth
    assert "expect 20.0 false commands" in caplog.text and "after_wake" in caplog.text
    model.with_suffix(SUFFIX).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no calibration of commands"):
        commands(filed, grammar)


def test_who_waits_at_a_terminal_sees_how_far_it_is(
    heard: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, silent = compile_text(CAT), heard.tail(compile_text(CAT), CONFIG)
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        assert np.array_equal(heard.tail(graph, CONFIG, shown_to_who_waits).scores, silent.scores)
        assert ("once for this grammar" in capsys.readouterr().err) == terminal


def test_a_threshold_is_a_rate(engine: ToneEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    grammar = tmp_path / "my.yaml"
    grammar.write_text(LIGHT.replace("kitchen", "kitten"))
    (said,) = commands(engine, grammar, "commands.threshold=1e-6")
    assert 0.001 < said["score"] < 0.999
    for asked, found in ((said["score"] - 5e-4, 1), (said["score"] + 5e-4, 0)):
        assert len(commands(engine, grammar, f"commands.threshold={asked}")) == found
        rate = (1 - asked) / asked
        assert len(commands(engine, grammar, f"commands.false_accepts_per_hour={rate}")) == found


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("suffix", [SUFFIX, talk.SUFFIX_OF_SECOND])
def test_talk_ships_with_the_models(cell: str, suffix: str) -> None:
    path = find_model("acoustic", cell)
    digest = load_model(path)[2] if suffix == SUFFIX else load_two_passes(path.with_suffix(SECOND_SUFFIX))[2]
    file = path.with_suffix(suffix)
    heard = read_talk(file.read_bytes(), file, digest)
    assert heard.info.hours > 1.5 and len(heard.ends) > 500 and heard.ends[-1] == len(heard.codes)
