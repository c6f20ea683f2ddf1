"""Endless streams and the training loop, on a made-up data folder."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import SMALL, VAD, make_data, write

from auricle.configs.errors import ConfigError, DataError
from auricle.models.checkpoint import load_model
from auricle.models.frontend import LogMel
from auricle.models.zoo import find_model
from auricle.pipelines import dev, keyword_data
from auricle.pipelines.batches import StreamTargets
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.curves import RunLog
from auricle.pipelines.keyword_data import KeywordData, WordPlanner
from auricle.pipelines.optimisers import learning_rate
from auricle.pipelines.recipe import Recipe, load_recipe
from auricle.pipelines.release import write_model
from auricle.pipelines.streams import Piece, StreamBatcher
from auricle.pipelines.targets import BACKGROUND, IGNORE, NOT_YET
from auricle.pipelines.tasks import KeywordTask
from auricle.pipelines.train import Trainer
from auricle.pipelines.vad_data import VadPlanner
from auricle.pipelines.vocabulary import LABELS, UNKNOWN


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dev, "VAD_SECONDS", 7)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small steps: a second thread only gets in the way
    yield
    torch.set_num_threads(threads)


def trainer(data: Path, folder: Path, recipe: Recipe) -> Trainer:
    return Trainer(recipe, Corpus(data, folder / "work"), folder / "run")


def counting(rng: np.random.Generator) -> Piece:
    hops = int(rng.integers(3, 40))
    level = rng.uniform(-0.5, 0.5)
    return Piece(np.full(hops * 160, level, np.float32), np.arange(hops, dtype=np.int16), note=level)


@pytest.mark.parametrize("hops", [1, 7, 100])
def test_segments_follow_each_other_exactly(hops: int) -> None:
    whole = StreamBatcher(counting, streams=2, hops=700, seed=4, delay_hops=6).next()
    cut = StreamBatcher(counting, streams=2, hops=hops, seed=4, delay_hops=6)
    parts = [cut.next() for _ in range(700 // hops)]
    assert torch.equal(torch.cat([part.samples for part in parts], 1), whole.samples)
    assert torch.equal(torch.cat([part.targets for part in parts], 1), whole.targets)
    assert (whole.targets[:, :6] == IGNORE).all()
    assert (whole.targets[:, 6:8] == torch.tensor([0, 1])).all()


def test_a_stream_goes_on_from_a_stored_position() -> None:
    one = StreamBatcher(counting, streams=2, hops=33, seed=4, note_places=True)
    one.next()
    stored = one.state_dict()
    other = StreamBatcher(counting, streams=2, hops=33, seed=4)
    other.load_state_dict(stored)
    expected, got = one.next(), other.next()
    assert torch.equal(expected.samples, got.samples)
    assert torch.equal(expected.targets, got.targets)
    first = one.placed[0]
    assert (first.start_sample, first.stream) == (0, 0)


def test_targets_may_reach_over_what_follows() -> None:
    word = Piece(np.zeros(160 * 4, np.float32), np.array([IGNORE, 5, 5, 5, 5, 5], np.int16))
    pause = Piece(np.zeros(160 * 3, np.float32), np.array([0, 0, 0], np.int16))
    pieces = [word, pause, word]

    def planner(rng: np.random.Generator) -> Piece:
        return pieces.pop(0)

    batch = StreamBatcher(planner, streams=1, hops=9, seed=0).next()
    assert batch.targets[0].tolist() == [IGNORE, 5, 5, 5, 5, 5, 0, IGNORE, 5]


def test_vad_streams_hold_speech_and_its_absence(data: Path, tmp_path: Path) -> None:
    planner = VadPlanner(Corpus(data, tmp_path), load_recipe("vad", VAD).vad, "train")
    segment = StreamBatcher(planner, streams=8, hops=1000, seed=1).next()
    share = (segment.targets == 1).float().mean()
    assert 0.15 < share < 0.6
    assert (segment.targets == 0).float().mean() > 0.3


def keyword_settings() -> tuple[str, ...]:
    sets = 'keyword.{}=["words"]', 'keyword.{}=["talk"]'
    names = [sets[0].format("words"), sets[0].format("dev_words")]
    names += [sets[1].format("sentences"), sets[1].format("dev_sentences")]
    return (*SMALL, *names, "keyword.others=[]", "keyword.strings=[]", 'keyword.noise.sets=["hiss"]')


def test_keyword_streams_hold_every_word(data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("keyword", (*keyword_settings(), "keyword.synthetic=false"))
    planner = WordPlanner(Corpus(data, tmp_path), recipe.keyword, "train")
    segment = StreamBatcher(planner, streams=16, hops=3000, seed=1).next()
    early = {NOT_YET + label for label in range(1, len(LABELS))}
    assert set(segment.targets.unique().tolist()) - {IGNORE} == {BACKGROUND, *range(len(LABELS)), *early}
    assert len(planner.by_label[LABELS.index(UNKNOWN)]) == 2


def test_sentences_with_keywords_are_left_out(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "data", "talk", "train", [(str(n), t, np.zeros(16_000)) for n, t in enumerate(TEXTS)])
    (tmp_path / "data/words").symlink_to(data / "words")
    (tmp_path / "data/hiss").symlink_to(data / "hiss")
    recipe = load_recipe("keyword", (*keyword_settings(), "keyword.synthetic=false"))
    planner = WordPlanner(Corpus(tmp_path / "data", tmp_path), recipe.keyword, "train")
    assert [clip.text for clip in planner.sentences] == ["the sun shone upon us"]


TEXTS = ("we go home", "the sun shone upon us", "i know it")


def test_missing_words_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyword_data, "KEYWORDS", frozenset({"banana", "yes", "no"}))
    monkeypatch.setattr(keyword_data, "LABELS", (*LABELS, "banana"))
    recipe = load_recipe(
        "keyword", (*keyword_settings(), "keyword.synthetic=false", 'keyword.words=["talk"]')
    )
    with pytest.raises(DataError, match="no train clips of banana, no, yes"):
        WordPlanner(Corpus(data, tmp_path), recipe.keyword, "train")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_short_training_learns(data: Path, tmp_path: Path, cell: str) -> None:
    recipe = load_recipe("vad", (*VAD, "training.steps=60", "training.ema_decay=0.8", f"network.cell={cell}"))
    run = trainer(data, tmp_path, recipe)
    losses: list[float] = []
    run.log.loss = lambda step, value: losses.append(value)  # type: ignore[method-assign]
    run.run()
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert run.progress.figures["auc_10db"] > 0.8
    assert (tmp_path / "run/log.csv").read_text().startswith("step,seconds,train_loss,score,auc_0db")


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_resumed_training_ends_with_the_same_weights(data: Path, tmp_path: Path, optimiser: str) -> None:
    settings = (*VAD, "training.steps=6", f"training.optimiser={optimiser}", "network.residual=true")
    recipe = load_recipe("vad", settings)
    straight = trainer(data, tmp_path / "straight", recipe)
    straight.run()
    for _ in range(6):
        pieces = trainer(data, tmp_path / "pieces", recipe)
        pieces.resume()
        pieces.run(minutes=0.0)  # stops after one step
    assert pieces.progress.step == 6
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, pieces.network.state_dict()[name]), name
    for name, value in straight.best_network().state_dict().items():
        assert torch.equal(value, pieces.best_network().state_dict()[name]), name


def test_training_starts_from_the_weights_of_a_model(data: Path, tmp_path: Path) -> None:
    first = trainer(data, tmp_path / "first", load_recipe("vad", (*VAD, "training.steps=2")))
    first.run()
    write_model(first, tmp_path / "first.safetensors", "auricle train vad")
    start = f"training.start={tmp_path / 'first.safetensors'}"
    second = trainer(data, tmp_path / "second", load_recipe("vad", (*VAD, "training.steps=0", start)))
    second.run()
    for name, value in first.best_network().state_dict().items():
        assert torch.equal(value.half().float(), second.best_network().state_dict()[name]), name


def test_training_does_not_start_from_another_network(data: Path, tmp_path: Path) -> None:
    first = trainer(data, tmp_path / "first", load_recipe("vad", (*VAD, "training.steps=0")))
    write_model(first, tmp_path / "first.safetensors", "auricle train vad")
    settings = (*VAD, f"training.start={tmp_path / 'first.safetensors'}", "network.cell=lstm")
    with pytest.raises(ConfigError, match=r"training\.start: .*cell='gru'"):
        trainer(data, tmp_path / "second", load_recipe("vad", settings))


def test_resuming_with_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path, load_recipe("vad", (*VAD, "training.steps=1"))).run()
    changed = trainer(data, tmp_path, load_recipe("vad", (*VAD, "training.steps=2")))
    with pytest.raises(DataError, match=r"training\.steps: 1 then, 2 now"):
        changed.resume()


def test_resuming_with_other_recordings_is_refused(data: Path, tmp_path: Path) -> None:
    """What a run learnt from would not be what its record tells."""
    own = shutil.copytree(data, tmp_path / "data")
    recipe = load_recipe("vad", (*VAD, "training.steps=1"))
    trainer(own, tmp_path, recipe).run()
    assert trainer(own, tmp_path, recipe).resume()
    manifest = own / "talk" / "train.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"learnt from other recordings .* --fresh"):
        trainer(own, tmp_path, recipe).resume()


def test_the_model_file_carries_its_record(data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("vad", (*VAD, "training.steps=2"))
    run = trainer(data, tmp_path, recipe)
    run.run()
    digest = write_model(run, tmp_path / "toy.safetensors", "auricle train vad")
    spec, network, found = load_model(tmp_path / "toy.safetensors")
    assert (spec.kind, spec.labels, spec.lookahead_frames, found) == ("vad", ("speech",), 2, digest)
    assert network.config == recipe.network
    record = json.loads((tmp_path / "toy.json").read_text())
    assert record["model"] == f"toy@{digest}"
    assert record["data"]["talk"]["split"] == "train"
    assert {row["step"] for row in record["curve"]} == {2}


def test_scalars_are_written_for_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for start in (0, 60):  # a run that was stopped at step 60 goes on
        log = RunLog(tmp_path, "toy")
        log.open_tensorboard(start)
        for step in range(start, start + 100):
            log.loss(step + 1, step / 10)
        log.evaluation(start + 100, 1.0, {"score": 0.5})
        log.close()
    written = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in written.Scalars("dev/score")] == [(160, 0.5)]
    assert [event.step for event in written.Scalars("train/loss")] == [50, 110, 160]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"install auricle\[train\]"):
        RunLog(tmp_path, "toy").open_tensorboard(0)


def test_settings_are_checked() -> None:
    assert load_recipe("vad", ["network.cell=lstm"]).name == "vad-lstm"
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        load_recipe("vad", ["network.hiden=3"])
    with pytest.raises(ConfigError, match=r"training\.steps wants int, got 'many'"):
        load_recipe("vad", ["training.steps=many"])
    with pytest.raises(ConfigError, match="key=value"):
        load_recipe("vad", ["network.cell"])
    with pytest.raises(ConfigError, match=r"shipped are acoustic, acoustic-distil, .*, vad"):
        load_recipe("song")


def test_learning_rate_warms_up_and_decays() -> None:
    training = load_recipe("vad").training
    rates = [learning_rate(step, training) for step in range(training.steps)]
    assert max(rates) == pytest.approx(training.learning_rate)
    assert rates[0] < rates[training.warmup_steps // 2] < rates[training.warmup_steps]
    assert rates[-1] < 0.01 * training.learning_rate


def test_either_of_two_classes_may_be_right() -> None:
    task = KeywordTask.__new__(KeywordTask)
    task.data = KeywordData(early_weight=1.0, background_weight=1.0, silence_weight=1.0)
    sure = 20 * torch.eye(len(LABELS))[None, [0, 1, 5, 6]]  # silence, unknown, and two words

    def wrong(target: int) -> list[bool]:
        targets = [
            torch.tensor([[target if index == frame else IGNORE for index in range(4)]]) for frame in range(4)
        ]
        return [bool(task.loss(sure, StreamTargets(one)) > 5) for one in targets]

    assert wrong(0) == [False, True, True, True]
    assert wrong(5) == [True, True, False, True]
    assert wrong(BACKGROUND) == [False, False, True, True]
    assert wrong(NOT_YET + 5) == [False, True, False, True]
    assert task.loss(sure, StreamTargets(torch.full((1, 4), IGNORE))) == 0


def test_two_views_of_a_stream_say_the_same_and_sound_different(data: Path, tmp_path: Path) -> None:
    settings = [*keyword_settings(), "keyword.synthetic=false", "keyword.consistency_weight=0.5"]
    settings.append("training.streams=4")
    recipe = load_recipe("keyword", [*settings, "augment.noise_part=1.0"])
    corpus = Corpus(data, tmp_path)
    task = KeywordTask(corpus, recipe, LogMel(recipe.frontend))
    batch = task.batches(recipe, corpus, torch.device("cpu"), 0).next(0)
    labels = batch.targets.labels
    assert torch.equal(labels[::2], labels[1::2])
    assert not torch.equal(labels[0], labels[2])
    assert all((one - other).abs().mean() > 0.1 for one, other in batch.features.unflatten(0, (2, 2)))
    with pytest.raises(ConfigError, match="5 is odd"):
        load_recipe("keyword", [*settings[:-1], "training.streams=5"])


def test_what_is_said_of_two_views_is_drawn_together() -> None:
    task = KeywordTask.__new__(KeywordTask)
    logits, unjudged = torch.randn(4, 6, len(LABELS)), torch.full((4, 6), IGNORE)
    task.data = KeywordData(consistency_weight=0.5)
    twice = StreamTargets(unjudged.repeat(2, 1))
    assert task.loss(logits.repeat_interleave(2, 0), twice) == pytest.approx(0, abs=1e-6)
    logits.requires_grad_()
    task.loss(logits, StreamTargets(unjudged)).backward()
    gradient = logits.grad
    assert gradient is not None
    nearer = logits.detach() - gradient
    nothing = StreamTargets(unjudged)
    assert 0 < task.loss(nearer, nothing) < task.loss(logits, nothing)


TEACHERS = 'keyword.teachers=["keyword-gru", "keyword-lstm"]'
TAUGHT = (
    "keyword.synthetic=false",
    "keyword.consistency_weight=0.5",
    "training.streams=4",
    "network.conv_channels=[8, 8]",  # a frame for each 40 ms, as the teachers have it
    "network.conv_kernels=[5, 5]",
    "network.conv_strides=[2, 2]",
    TEACHERS,
)


def test_teachers_hear_a_stream_as_it_is_and_remember_it(data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("keyword", (*keyword_settings(), *TAUGHT, "augment.noise_part=1.0"))
    corpus = Corpus(data, tmp_path)
    task = KeywordTask(corpus, recipe, LogMel(recipe.frontend))
    maker = task.batches(recipe, corpus, torch.device("cpu"), 0)
    clean = StreamBatcher(task.planner, streams=2, hops=maker.hops, seed=recipe.training.seed)  # type: ignore[attr-defined]
    samples = torch.cat([clean.next().samples for _ in range(2)], 1)
    said = []
    for name in ("keyword-gru", "keyword-lstm"):
        spec, network, _ = load_model(find_model(name, "gru"))
        frontend = LogMel(spec.frontend)
        features, _ = frontend(samples, frontend.initial_state(2))
        said.append(network(features, network.initial_state(2))[0].softmax(-1))
    taught = torch.cat([maker.next(step).targets.taught.exp() for step in range(2)], 1)
    assert torch.allclose(taught[::2], (said[0] + said[1]) / 2, atol=1e-4)
    assert torch.equal(taught[::2], taught[1::2])


def test_training_with_teachers_resumes_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeywordTask, "evaluate", lambda self, network: {"score": 0.0})
    recipe = load_recipe("keyword", (*keyword_settings(), *TAUGHT, "training.steps=3"))
    straight = trainer(data, tmp_path / "straight", recipe)
    straight.run()
    for _ in range(3):
        pieces = trainer(data, tmp_path / "pieces", recipe)
        pieces.resume()
        pieces.run(minutes=0.0)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, pieces.network.state_dict()[name]), name


def test_what_teachers_say_is_learnt() -> None:
    task = KeywordTask.__new__(KeywordTask)
    task.data = KeywordData(teacher_weight=0.5)
    logits, unjudged = torch.randn(2, 6, len(LABELS)), torch.full((2, 6), IGNORE)
    taught = torch.randn(2, 6, len(LABELS)).log_softmax(-1)
    assert task.loss(taught, StreamTargets(unjudged, taught)) == pytest.approx(0, abs=1e-6)
    apart = (taught.exp() * (taught - logits.log_softmax(-1))).sum(-1).mean()
    assert task.loss(logits, StreamTargets(unjudged, taught)) == pytest.approx(0.5 * float(apart), rel=1e-5)


def test_a_teacher_must_answer_as_its_student_does(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, tmp_path)
    for teacher, what in (("vad-gru", "labels"), ("acoustic-lstm", "labels")):
        settings = (*keyword_settings(), "keyword.synthetic=false", f'keyword.teachers=["{teacher}"]')
        recipe = load_recipe("keyword", settings)
        task = KeywordTask(corpus, recipe, LogMel(recipe.frontend))
        with pytest.raises(ConfigError, match=rf"keyword\.teachers: {teacher} has {what}"):
            task.batches(recipe, corpus, torch.device("cpu"), 0)
