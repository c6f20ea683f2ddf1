"""How commands are judged: trials, what counts as right, the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from auricle.configs.errors import DataError
from auricle.models.decoding.confidence import Evidence
from auricle.models.decoding.templates import parse_network
from auricle.models.decoding.word_network import START, Jump
from auricle.models.lexicon import normalise
from auricle.pipelines import spoken_commands, synth
from auricle.pipelines.command_report import command_text, draw_commands
from auricle.pipelines.command_scores import LET_THROUGH, Found, halves, score, weigh
from auricle.pipelines.command_trials import Trial, make_trials, read_trials
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.evaluate_commands import Laid, judge, search_cost, understand
from auricle.pipelines.metrics import rate_per_hour
from auricle.pipelines.recorded import RECORDED, read_recorded
from auricle.pipelines.report import plain
from auricle.pipelines.spoken_commands import SPOKEN, draw_sentences, speak_trials

GRAMMAR = """
intents:
  Light: {data: [{sentences: ["turn (on|off) the {area} light"], slots: {domain: light}}]}
lists: {area: {values: [kitchen, {in: play room, out: 7}]}}
"""
TEXTS = ("please bring the green bottle home", "nobody knows where the water went", "seven ships sailed past")
WORDS = "every morning some people walk slowly along the river without saying anything"


def write_set(data: Path, name: str, texts: tuple[str, ...]) -> None:
    (data / name).mkdir(parents=True)
    lines = [
        {"id": str(number), "file": f"{name}/dev.flac", "start": number, "duration": 1.0, "text": text}
        for number, text in enumerate(texts)
    ]
    (data / name / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_sentences_become_templates_whose_slots_hold_what_was_said(tmp_path: Path) -> None:
    write_set(tmp_path, "talk", (*TEXTS * 2, WORDS))
    write_set(tmp_path, "more", ("go",))
    trials = make_trials(Corpus(tmp_path, tmp_path), ("talk",), ("more",), "dev")
    grammar = yaml.safe_load(trials.grammar)
    network = parse_network(trials.grammar, "made up")
    assert trials.commands
    assert {trial.clip.text for trial in trials.commands}.isdisjoint({t.clip.text for t in trials.others})
    assert "go" in {trial.clip.text for trial in trials.others}
    for trial in trials.commands:
        assert 1 <= len(trial.slots) <= 6
        meant = understand(network, normalise(trial.clip.text))
        assert meant is not None
        assert (meant.intent, dict(meant.slots)) == (trial.intent, dict(trial.slots))
    assert {trial.intent for trial in trials.commands} == set(grammar["intents"])
    assert make_trials(Corpus(tmp_path, tmp_path), ("talk",), ("more",), "dev") == trials


def test_a_manifest_is_read(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"id": "1", "file": "a.flac", "start": 0, "duration": 1, "text": "turn on", "intent": "Light"},
        {"id": "2", "file": "a.flac", "start": 1, "duration": 1, "text": "good night"},
    ]
    lines[0]["slots"] = {"area": "kitchen"}
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "g.yaml").write_text(GRAMMAR)
    clips = read_recorded(tmp_path / "m.jsonl", tmp_path).clips
    trials = read_trials(clips, tmp_path / "g.yaml")
    assert [(trial.intent, trial.slots) for trial in trials.commands] == [("Light", {"area": "kitchen"})]
    assert [trial.clip.id for trial in trials.others] == ["2"]
    with pytest.raises(DataError, match="no command among the recordings"):
        read_trials(clips[1:], tmp_path / "g.yaml")
    with pytest.raises(DataError, match="cannot read the grammar"):
        read_trials(clips, tmp_path / "none.yaml")
    lines[0]["slots"] = ["kitchen"]
    (tmp_path / "m.jsonl").write_text(json.dumps(lines[0]))
    with pytest.raises(DataError, match="clip 1: expected `intent`"):
        read_trials(read_recorded(tmp_path / "m.jsonl", tmp_path).clips, tmp_path / "g.yaml")


def test_sentences_are_drawn() -> None:
    network = parse_network(GRAMMAR, "grammar")
    drawn = draw_sentences(network, 10, np.random.default_rng(1))
    assert sorted(drawn) == [
        f"turn {way} the {area} light" for way in ("off", "on") for area in ("kitchen", "play room")
    ]  # all there are
    assert draw_sentences(network, 2, np.random.default_rng(1)) == drawn[:2]
    first = network.words[0].target
    going_on = network._replace(jumps=[*network.jumps, *[Jump(first, first, 0)] * 9])  # round and round
    assert set(draw_sentences(going_on, 10, np.random.default_rng(1))) <= set(drawn)
    for_ever = network._replace(words=[], jumps=[Jump(START, START, 0)])
    assert draw_sentences(for_ever, 10, np.random.default_rng(1)) == []


def test_a_grammar_is_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(text: str, *_: Any) -> tuple[np.ndarray, str]:
        return np.full(1600 * len(text), 0.1, np.float32), "voice"

    monkeypatch.setattr(synth, "speak_text", speak)
    monkeypatch.setattr(synth, "installed", lambda *_: ("flite",))
    monkeypatch.setattr(spoken_commands, "installed", lambda: ("flite",))
    (tmp_path / "g.yaml").write_text(GRAMMAR)
    recordings, trials = speak_trials(tmp_path / "g.yaml", 3, tmp_path / "work")
    assert len(trials.commands) == 3 and not trials.others
    for trial in trials.commands:
        area = 7 if "play" in trial.clip.text else "kitchen"
        assert (trial.intent, trial.slots) == ("Light", {"domain": "light", "area": area})
        assert len(recordings.audio(trial.clip)) == 1600 * len(trial.clip.text)
    with pytest.raises(DataError, match="cannot read the grammar"):
        speak_trials(tmp_path / "none.yaml", 3, tmp_path / "work")


def test_words_mean_what_the_grammar_says() -> None:
    network = parse_network(GRAMMAR, "grammar")
    meant = understand(network, ["turn", "off", "the", "play", "room", "light"])
    assert meant is not None
    assert (meant.intent, dict(meant.slots)) == ("Light", {"domain": "light", "area": 7})
    assert understand(network, ["turn", "off", "the", "light"]) is None
    assert understand(network, []) is None


def laid(start: int, **slots: str) -> Laid:
    clip = Clip(str(start), "talk", "dev", "x", 0, 100, text=" ".join(slots.values()))
    return Laid(Trial(clip, "Light", slots), start, start + 8000, start + 6000)


def event(end: int, decided: int, intent: str = "Light", **slots: str) -> dict[str, Any]:
    text = " ".join(slots.values())
    return {"sample": decided, "data": {"end_sample": end, "intent": intent, "slots": slots, "text": text}}


def test_only_the_one_event_with_all_slots_is_right() -> None:
    places = [laid(16_000 * (number + 1), area="kitchen") for number in range(5)]
    found = judge(
        places,
        [
            event(20_000, 16_000 + 14_000, area="kitchen"),
            event(36_000, 50_000, area="garden"),
            event(52_000, 60_000, intent="Timer", area="kitchen"),
            event(66_000, 70_000, area="kitchen"),
            event(70_000, 71_000, area="kitchen"),
        ],
    )
    assert found["all_right"].value == pytest.approx(0.2)
    assert found["intent_right"].value == pytest.approx(0.4)
    assert found["any_event"].value == pytest.approx(0.8)
    assert found["delay_p50_s"] == pytest.approx((8000 + 12_000) / 2 / 16_000)


def test_the_report_holds_the_figures(tmp_path: Path) -> None:
    row = judge([laid(16_000, area="kitchen")], [event(20_000, 30_000, area="kitchen")])
    rows = [{"condition": name, **row, "cost": 0.03} for name in ("clean", "12 dB")]
    figures = {
        "split": "dev",
        "options": [],
        "rows": rows,
        "outside": {"hours": 0.5, "events": 2, "per_hour": rate_per_hour(2, 0.5)},
        "graph": search_cost(GRAMMAR),
        "words": 6.0,
        "slots": 1.0,
    }
    text = command_text(figures)
    assert "| clean | 100.0 % |" in text  # one recording tells nothing of others
    assert "2 false commands, 4.0 [0.5, 14.4] an hour" in text
    assert "stand-in" in text
    assert "wrongly" not in text
    own = figures | {"split": RECORDED}
    assert "stand-in" not in command_text(own)
    assert "Noise is recorded noise; " in command_text(own)
    assert "oise" not in command_text({**own, "rows": rows[:1]})  # there was none
    wrong = judge([laid(16_000, area="kitchen")], [event(20_000, 30_000, area="garden", color="red")])
    rows = [{"condition": name, **wrong, "cost": 0.03} for name in ("clean", "12 dB")]
    text = command_text({**figures, "split": SPOKEN, "rows": rows, "outside": None})
    assert "area: kitchen as garden (2), color: nothing as red (2)." in text
    assert 'Not understood, 12 dB: "kitchen" as "garden red".' in text
    assert "Synthetic voices" in text and "false commands" not in text
    assert json.loads(json.dumps(plain(figures)))["rows"][0]["all_right"]["value"] == 1.0
    draw_commands(figures, tmp_path / "commands.png")
    assert (tmp_path / "commands.png").stat().st_size > 5000


def test_scores_tell_right_sentences_from_others_and_let_few_through() -> None:
    rng = np.random.default_rng(3)
    found = []
    for number in range(4000):
        inside = number % 2 == 0
        fit = rng.normal(-0.3 if inside else -1.0, 0.15)
        evidence = Evidence(fit, rng.normal(-1, 0.3), rng.normal(3, 0.2), rng.normal(6, 0.3))
        found.append(Found(evidence, "clean", inside, inside, f"speaker {number % 40}"))
    weights, bias = weigh(found)
    scores = score(found, weights, bias)
    assert weights.fit > 5 * max(abs(weights.outside), abs(weights.length), abs(weights.contrast))
    assert np.mean(scores[1::2] >= 0.5) == pytest.approx(LET_THROUGH, abs=1e-3)
    assert np.mean(scores[::2] >= 0.5) > 0.9
    fitted, judged = halves(found)
    assert not {one.speaker for one in fitted} & {one.speaker for one in judged}
    assert len(fitted) + len(judged) == 4000 and min(len(fitted), len(judged)) > 1000
