"""Spoken texts as a set of a data folder, and phrases that are nearly the same."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auricle.configs.cli import main
from auricle.configs.errors import DataError
from auricle.models.lexicon import Lexicon
from auricle.pipelines import synth
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.decode_phones import edit_distance
from auricle.pipelines.near_misses import near_misses, similar_words
from auricle.pipelines.synth import Request, draw_voice, installed, plan, synthesise_set, trim
from auricle.pipelines.synth_texts import (
    DIGITS,
    command_phrases,
    digit_strings,
    rich_sentences,
    training_texts,
)

LENGTH = 8000 + 2 * 1600 + 2 * 160
"""Half a second of sound, 100 ms on either side, and the hop that still hears it."""


SAY = """#!/bin/sh
echo "$(basename "$0") $*" >> {tools}/calls
while [ $# -gt 0 ]; do case "$1" in -w|-o) out="$2";; esac; shift; done
cp {tools}/buzz.wav "$out"
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One engine, "flite", that says a buzz of half a second and writes down how it was called."""
    tools = tmp_path / "tools"
    tools.mkdir()
    time = np.arange(8000) / 16_000
    soundfile.write(tools / "buzz.wav", np.pad(0.2 * np.sin(900 * time), 4000), 16_000)
    (tools / "flite").write_text(SAY.format(tools=tools))
    (tools / "flite").chmod(0o755)
    for name in ("basename", "cp", "sh"):
        (tools / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tools))
    return tools


def test_a_set_is_spoken_once_and_goes_on_where_it_stopped(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "SHARD", 2)
    request = Request(("lamp", "so it is"), takes=3, seed=4, formants=0.0)
    out = tmp_path / "data/spoken"
    assert synthesise_set(request, out) == 6
    corpus = Corpus(tmp_path / "data", tmp_path / "work")
    clips = corpus.clips("spoken", "train")
    assert [(clip.label, clip.text) for clip in clips] == [("lamp", "")] * 3 + [("", "so it is")] * 3
    for clip in clips:
        samples = corpus.audio(clip)
        assert len(samples) == clip.length_samples == LENGTH
        assert np.abs(samples[1700:9500]).max() > 3000
    (out / "part-001.jsonl").unlink()  # as if stopped in the second part
    before = (out / "train.jsonl").read_text()
    assert synthesise_set(request, out) == 2
    assert (out / "train.jsonl").read_text() == before
    assert synthesise_set(request, out) == 0
    with pytest.raises(DataError, match="another request"):
        synthesise_set(Request(("lamp",)), out)
    assert synthesise_set(Request(("lamp",), takes=1), out, fresh=True) == 1
    assert len(corpus.clips("spoken", "train")) == 1


def test_what_is_spoken_anew_and_stopped_has_no_texts_of_before(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "SHARD", 2)
    out = tmp_path / "data/spoken"
    synthesise_set(Request(("lamp",), takes=4), out)
    write = synth._write_shard

    def stops(lines: Any, spoken: Any, folder: Path, listing: Path) -> None:
        if listing.stem == "part-001":
            raise KeyboardInterrupt
        write(lines, spoken, folder, listing)

    monkeypatch.setattr(synth, "_write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        synthesise_set(Request(("door",), takes=4), out, fresh=True)
    assert not Corpus(tmp_path / "data", tmp_path / "work").clips("spoken", "train")


def test_the_seed_decides_voice_and_speed(engine: Path) -> None:
    voices = [draw_voice("lamp", np.random.default_rng((seed, 0)), ("flite",)) for seed in (1, 1, 2)]
    assert voices[0] == voices[1] != voices[2]
    drawn = {
        draw_voice("lamp", np.random.default_rng(n), ("espeak-ng", "pico2wave")).command[0] for n in range(40)
    }
    assert drawn == {"espeak-ng", "pico2wave"}


def test_engines_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="apt-get install espeak-ng"):
        installed()
    with pytest.raises(DataError, match=r"pico2wave is not installed.*apt-get install libttspico-utils"):
        installed(("pico2wave",))
    with pytest.raises(DataError, match="unknown synthesiser 'sam': expected some of espeak-ng"):
        installed(("sam",))


def test_every_engine_speaks(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("espeak-ng", "text2wave", "pico2wave", "mbrola"):
        shutil.copy(engine / "flite", engine / name)
    (tmp_path / "voices/us1").mkdir(parents=True)
    monkeypatch.setattr(synth, "MBROLA", tmp_path / "voices")
    assert "mbrola" not in installed()  # without a voice it says nothing
    (tmp_path / "voices/us1/us1").touch()
    assert set(installed()) == set(synth.PACKAGES) == set(synth.ODDS)
    for name in synth.PACKAGES:
        out = tmp_path / name
        assert synthesise_set(Request(("lamp",), takes=2), out, wanted=(name,)) == 2
        line = json.loads((out / "train.jsonl").read_text().splitlines()[0])
        assert line["speaker"].startswith("synthetic-") and line["label"] == "lamp"
        called = (engine / "calls").read_text().splitlines()[-1].split()[0]
        assert called == ("espeak-ng" if name == "mbrola" else name)
    assert synthesise_set(Request(("lamp",), takes=60), tmp_path / "all") == 60
    calls = {call.split()[0] for call in (engine / "calls").read_text().splitlines()[-60:]}
    assert calls == set(synth.PACKAGES) - {"mbrola"}


def test_formants_are_spread_by_speed(engine: Path) -> None:
    lengths = [len(synth.speak_text("lamp", (seed,), ("flite",), 0.1)[0]) for seed in range(12)]
    assert 0.88 * LENGTH < min(lengths) < 0.97 * LENGTH < 1.03 * LENGTH < max(lengths) < 1.12 * LENGTH
    assert len(synth.speak_text("lamp", (1,), ("flite",))[0]) == LENGTH


@pytest.mark.skipif(not any(map(shutil.which, ("espeak-ng", "flite"))), reason="no synthesiser here")
def test_real_engines_speak(tmp_path: Path) -> None:
    assert synthesise_set(Request(("hello lamp",), takes=4), tmp_path / "spoken") == 4
    lines = [json.loads(line) for line in (tmp_path / "spoken/train.jsonl").read_text().splitlines()]
    assert len({line["speaker"] for line in lines}) > 1
    assert all(0.4 < line["duration"] < 3 for line in lines)


def test_near_misses_are_near_but_not_the_same() -> None:
    lexicon = Lexicon()
    found = similar_words("lamp")
    assert (1, "lamb") in found and "lamp" not in {word for _, word in found}
    for distance, word in found[:30]:
        own, other = lexicon.labels("lamp"), lexicon.labels(word)
        assert distance == edit_distance(own, other) > 0
    phrases = near_misses("hey lamp", 12, np.random.default_rng(0))
    assert len(set(phrases)) == 12
    for phrase in phrases:
        assert sum(one == other for one, other in zip(phrase.split(), ["hey", "lamp"], strict=True)) == 1
    assert phrases == near_misses("hey lamp", 12, np.random.default_rng(0))


def test_a_plan_holds_near_misses_a_third_as_often() -> None:
    lines = plan(Request(("lamp",), takes=6, near=5))
    assert [line.near_miss for line in lines] == [False] * 6 + [True] * 10
    assert [line.number for line in lines] == list(range(16))


def test_silence_is_cut_off() -> None:
    buzz = 0.2 * np.sin(np.arange(8000) * 0.3)
    assert len(trim(np.pad(buzz, (16_000, 8000)).astype(np.float32))) == LENGTH


def test_digits_and_commands_are_drawn() -> None:
    strings = digit_strings(200, np.random.default_rng(1))
    words = [text.split() for text in strings]
    assert {len(each) for each in words} == set(range(1, 8))
    assert {word for each in words for word in each} == {*DIGITS, "oh"}
    assert all(each != ["oh"] for each in words)
    phrases = command_phrases(50, np.random.default_rng(1))
    assert len(set(phrases)) == 50 and phrases == command_phrases(50, np.random.default_rng(1))


def test_rich_sentences_hold_many_pairs_of_phones(tmp_path: Path) -> None:
    dull = [f"no no no {word}" for word in ("no", "know", "so")]
    rich = ["she brought thick yellow cheese", "the judge quickly measured five foxes"]
    assert set(rich_sentences([*dull, *rich, "hi there"], 2)) == set(rich)
    assert len(rich_sentences([*dull, *rich], 9)) == 5  # when all was heard, pairs count anew
    (tmp_path / "talk").mkdir()
    lines = [json.dumps({"id": text, "text": text}) for text in rich]
    (tmp_path / "talk/train.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "talk/dev.jsonl").write_text(json.dumps({"text": "nobody says this aloud"}) + "\n")
    assert training_texts(tmp_path) == sorted(rich)
    with pytest.raises(DataError, match="no training sentences"):
        training_texts(tmp_path / "talk")


def test_the_command_reads_texts(engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("open the door\n\nclose it\n")
    arguments = ["data", "synth", "--texts", str(tmp_path / "texts.txt"), "--takes", "1"]
    assert main([*arguments, "--out", str(tmp_path / "set")]) == 0
    assert "2 utterances spoken" in capsys.readouterr().out
    assert (engine / "calls").read_text().count(os.linesep) == 2
    chosen = ["--digits", "3", "--commands", "4", "--takes", "1", "--engines", "flite"]
    assert main(["data", "synth", *chosen, "--out", str(tmp_path / "drawn")]) == 0
    assert "7 utterances spoken" in capsys.readouterr().out
    assert main(["data", "synth", "--out", str(tmp_path / "set")]) != 0
    assert "--phrase TEXT" in capsys.readouterr().err
