"""A model for a user's own words, from his folder of recordings alone."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_up import SMALL, voice

from auricle.configs.cli import main
from auricle.configs.errors import ConfigError, DataError
from auricle.models.frontend import LogMel
from auricle.pipelines import own_task
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.own_recordings import divide, gather, list_recordings
from auricle.pipelines.own_task import OwnWordsTask, own_recipe
from auricle.pipelines.own_words import OwnWords, sound_alikes
from auricle.pipelines.release import write_model
from auricle.pipelines.train import Trainer

SETTINGS = (
    *SMALL,
    "training.steps=70",
    "training.ema_decay=0.8",
    "training.precision=fp32",
    "augment.warp_part=0.0",
    "augment.mask_part=0.0",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two words by three speakers, another word, and a fan; some at 8, some at 44.1 kHz."""
    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    pause = 1e-4 * rng.standard_normal(3200)
    for index, word in enumerate(("lamp", "door", "chair")):
        (root / word).mkdir()
        for number in range(6):
            speaker = ("ann", "bob", "cem")[number % 3]
            samples = np.concatenate([pause, voice(rng, 0.5, 100 + 90 * index), pause])
            rate = (16_000, 8000)[number == 5]
            samples = samples[:: 16_000 // rate]
            soundfile.write(root / word / f"{speaker}_nohash_{number}.wav", samples, rate)
    (root / "_background_noise_").mkdir()
    soundfile.write(root / "_background_noise_/fan.wav", 0.01 * rng.standard_normal((96_000, 2)), 44_100)
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(own_task, "LEAST_NEGATIVE_S", 5.0)
    yield
    torch.set_flush_denormal(False)  # a command sets it for its whole process, which here goes on


def test_a_model_for_own_words_is_learnt_and_heard_with(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    recipe = own_recipe(("lamp", "door"), SETTINGS, None)
    corpus = Corpus(folder, tmp_path / "work")
    task = OwnWordsTask(corpus, recipe, LogMel(recipe.frontend), folder)
    run = Trainer(recipe, corpus, tmp_path / "run", task)
    losses: list[float] = []
    run.log.loss = lambda step, value: losses.append(value)  # type: ignore[method-assign]
    run.run()
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:4])
    assert set(run.progress.figures) == {
        *("score", "balanced", "false_alarms_per_hour"),
        *("right: lamp", "right: door", "right: unknown"),
    }
    model = tmp_path / "mine.safetensors"
    write_model(run, model, "auricle train keyword")
    for word in ("lamp", "door"):
        samples, rate = soundfile.read(folder / word / "ann_nohash_0.wav")
        soundfile.write(tmp_path / f"{word}.wav", np.concatenate([samples, np.zeros(rate)]), rate)
        settings = ["--set", f"keyword.model={model}", "--set", "keyword.threshold=0.4"]
        capsys.readouterr()
        assert main(["stream", str(tmp_path / f"{word}.wav"), "--jsonl", *settings]) == 0
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {event["data"]["label"] for event in events if event["type"] == "keyword"} == {word}


def test_nobody_is_learnt_from_and_judged_by(folder: Path, tmp_path: Path) -> None:
    own = gather(folder, ("lamp", "door"), tmp_path)
    speakers = [{clip.speaker for clip in clips} for clips in (own.train, own.dev)]
    assert speakers[0] | speakers[1] == {"ann", "bob", "cem"}
    assert not speakers[0] & speakers[1]
    for clips in (own.train, own.dev):
        assert {"lamp", "door"} <= {clip.label for clip in clips}
    corpus = Corpus(folder, tmp_path)
    for clip in (*own.train, *own.dev):
        assert len(corpus.audio(clip)) == clip.length_samples == 14_400  # whatever rate it had
    assert [len(corpus.audio(clip)) for clip in own.noise] == [round(96_000 / 44_100 * 16_000)]


def test_without_speakers_recordings_are_divided_and_that_is_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "plain"
    for path in sorted(folder.glob("*/*.wav")):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        (root / path.parent.name / f"take{path.stem[-1]}.wav").write_bytes(path.read_bytes())
    with caplog.at_level(logging.WARNING):
        own = gather(root, ("lamp", "door"), tmp_path)
    assert "who speaks is not known" in caplog.text
    for word in ("lamp", "door"):
        assert sum(clip.label == word for clip in own.train) == 5
        assert sum(clip.label == word for clip in own.dev) == 1
    assert divide(own.train + own.dev, ("lamp",))[1] != []


def said(word: str, *counts: tuple[str, int]) -> list[Clip]:
    return [
        Clip(f"{word} {speaker} {number}", "own", "train", "shard", 0, 16_000, speaker, label=word)
        for speaker, count in counts
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "counts", [(("ann", 50), ("bob", 5)), (("lea", 40), ("max", 6), ("jan", 6)), (("ann", 6), ("bob", 6))]
)
def test_who_made_most_recordings_is_learnt_from(
    counts: tuple[tuple[str, int], ...], caplog: pytest.LogCaptureFixture
) -> None:
    train, dev = divide(said("lamp", *counts), ("lamp",))
    assert len(train) >= len(dev) > 0
    assert not {clip.speaker for clip in train} & {clip.speaker for clip in dev}
    assert not caplog.text


def test_where_each_word_has_a_voice_of_its_own_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clips = said("lamp", ("ann", 20), ("bob", 5)) + said("door", ("ann", 5), ("bob", 20))
    _, dev = divide(clips, ("lamp", "door"))
    assert len({clip.speaker for clip in dev}) == 1
    assert "most recordings of a word are by one speaker" in caplog.text


def test_a_manifest_may_list_the_recordings(folder: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(folder) for path in folder.glob("lamp/*.wav"))
    lines = [
        {"id": str(n), "file": str(name), "start": 0.1, "duration": 0.7, "label": "lamp", "speaker": f"s{n}"}
        for n, name in enumerate(names)
    ]
    (tmp_path / "lamp").symlink_to(folder / "lamp")
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = list_recordings(tmp_path)
    assert {(one.label, one.start_s, one.seconds) for one in found} == {("lamp", 0.1, 0.7)}
    own = gather(tmp_path, ("lamp",), tmp_path / "work")
    assert {clip.length_samples for clip in own.train + own.dev} == {11_200}


def test_recordings_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "broken"
    (root / "lamp").mkdir(parents=True)
    for number in range(3):
        (root / f"lamp/good_{number}.wav").write_bytes((folder / "lamp/ann_nohash_0.wav").read_bytes())
    (root / "lamp/torn.wav").write_bytes(b"RIFF")
    soundfile.write(root / "lamp/empty.wav", np.zeros(16_000), 16_000)
    soundfile.write(root / "lamp/long.wav", 0.1 * np.ones(96_000), 16_000)
    soundfile.write(root / "lamp/slow.wav", 0.1 * np.ones(4000), 4000)
    with pytest.raises(DataError) as caught:
        gather(root, ("lamp",), tmp_path)
    for part in ("4 of 7", "torn.wav: cannot be read", "empty.wav: nothing", "long.wav: 6.00 s", "4000 Hz"):
        assert part in str(caught.value)


def test_mistakes_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"recordings of 'window' .*found 0 .*chair, door, lamp"):
        gather(folder, ("lamp", "window"), tmp_path)
    with pytest.raises(DataError, match="no folder"):
        list_recordings(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="'unknown' cannot be a word"):
        OwnWords(("unknown",))
    with pytest.raises(ConfigError, match="given twice"):
        own_recipe(("lamp", "Lamp"), (), None)
    assert main(["train", "keyword", "--words", "lamp"]) != 0
    assert "expected both --words and --recordings" in capsys.readouterr().err


def test_words_that_sound_alike_are_no_negatives() -> None:
    assert "rite" in sound_alikes(frozenset({"right"}))
    assert "right" not in sound_alikes(frozenset({"right"}))
