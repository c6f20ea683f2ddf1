"""The training and judging of an acoustic model, on made-up speech."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import spoken
import torch

from auricle.configs.errors import ConfigError, DataError
from auricle.models.engine import TorchEngine
from auricle.models.lexicon import Lexicon
from auricle.models.phones import INDEX, PHONES
from auricle.pipelines import alignment, criteria, evaluate_acoustic
from auricle.pipelines.acoustic_data import list_utterances, plan_epoch
from auricle.pipelines.acoustic_report import evaluate_acoustic as report
from auricle.pipelines.acoustic_task import AcousticTask
from auricle.pipelines.alignment import align_all, load_aligner
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.criteria import PhoneTargets
from auricle.pipelines.recipe import Recipe, load_recipe
from auricle.pipelines.release import write_model
from auricle.pipelines.train import Trainer
from auricle.pipelines.utterances import UtteranceMaker


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recipe(*settings: str) -> Recipe:
    return load_recipe("acoustic", (*spoken.SETTINGS, *settings))


def trainer(data: Path, folder: Path, chosen: Recipe, loaders: int = 0) -> Trainer:
    return Trainer(chosen, Corpus(data, folder / "work"), folder / "run", loaders=loaders)


def losses_of(run: Trainer) -> list[float]:
    losses: list[float] = []
    run.log.loss = lambda step, value: losses.append(value)  # type: ignore[method-assign]
    run.run()
    return losses


@pytest.fixture(scope="module")
def trained(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[float], dict[str, float]]:
    """A CTC model file, its losses, and its figures on dev."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ctc")
    run = trainer(data, folder, recipe("training.steps=130", "training.ema_decay=0.8"))
    losses = losses_of(run)
    write_model(run, folder / "toy.safetensors", "auricle train acoustic")
    return folder / "toy.safetensors", losses, run.progress.figures


def test_a_short_training_learns_phones(trained: tuple[Path, list[float], dict[str, float]]) -> None:
    _, losses, figures = trained
    blank_only = 2.4  # where CTC rests as long as nothing is told apart
    assert np.mean(losses[-10:]) < 0.9 * blank_only < np.mean(losses[:5])
    assert figures["per_talk"] < 0.95
    assert figures["score"] == -figures["per_talk"]


def test_the_engine_runs_an_acoustic_model(trained: tuple[Path, list[float], dict[str, float]]) -> None:
    engine = TorchEngine()
    info = engine.load(str(trained[0]))
    assert (info.kind, info.labels[0], info.labels[INDEX["ZH"]]) == ("acoustic", "<blank>", "ZH")
    samples = np.zeros((1, 6400), np.float32)
    frames, _ = engine.features(info.frontend, samples, engine.frontend_state(info.frontend))
    posterior, _ = engine.infer(info, frames, engine.model_state(info))
    assert posterior.shape == (1, 10, 1 + len(PHONES))
    assert np.allclose(posterior.sum(-1), 1, atol=1e-5)


def test_the_report_names_sets_and_conditions(
    data: Path,
    tmp_path: Path,
    trained: tuple[Path, list[float], dict[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate_acoustic, "AcousticData", lambda **given: recipe().acoustic)
    corpus = Corpus(data, tmp_path)
    judge = evaluate_acoustic.AcousticJudge(trained[0], corpus, ("talk",))
    monkeypatch.setattr(evaluate_acoustic, "AcousticJudge", lambda *given: judge)
    text, figures = report(trained[0], corpus, "dev")
    assert "| talk | clean | 16 |" in text
    assert [row["condition"] for row in figures["phone_error_rate"]] == ["clean", "10 dB"]
    clean = figures["phone_error_rate"][0]
    assert clean["search"]["low"] <= clean["search"]["value"] <= clean["search"]["high"]
    assert clean["greedy"]["value"] < 0.95 and clean["search"]["value"] < 0.95
    assert clean["nearest"]["value"] <= clean["search"]["value"]
    noisy = report(trained[0], corpus, "dev", (20.0, 0.0))[1]["phone_error_rate"]
    assert [row["condition"] for row in noisy] == ["clean", "20 dB", "0 dB"]
    assert noisy[2]["greedy"]["value"] > noisy[0]["greedy"]["value"]
    with pytest.raises(DataError, match="refused to read split 'eval'"):
        report(trained[0], corpus, "eval")


@pytest.mark.parametrize("loaders", [0, 2])
def test_resumed_training_ends_with_the_same_weights(data: Path, tmp_path: Path, loaders: int) -> None:
    chosen = recipe("training.steps=4", "training.precision=bf16")
    straight = trainer(data, tmp_path / "straight", chosen)
    straight.run()
    for _ in range(4):
        pieces = trainer(data, tmp_path / "pieces", chosen, loaders)
        pieces.resume()
        pieces.run(minutes=0.0)  # stops after one step
    assert pieces.progress.step == 4
    assert pieces.hours_heard == straight.hours_heard > 0
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, pieces.network.state_dict()[name]), name


def test_frame_targets_and_sequence_training_learn_too(
    data: Path, tmp_path: Path, trained: tuple[Path, list[float], dict[str, float]]
) -> None:
    for criterion in (
        f"acoustic.criterion=ce|acoustic.aligner={trained[0]}",
        "acoustic.criterion=lfmmi",
        f"acoustic.criterion=distil|acoustic.teacher={trained[0]}",
    ):
        run = trainer(data, tmp_path / criterion[19:21], recipe("training.steps=25", *criterion.split("|")))
        losses = losses_of(run)
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3]), criterion
    assert (tmp_path / "ce/work/alignments").is_dir()


def test_what_is_said_otherwise_is_aligned_anew(
    data: Path,
    tmp_path: Path,
    trained: tuple[Path, list[float], dict[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alignment, "measure_delay", lambda *_: 0)  # from then on, all would be moved by it
    corpus, chosen = Corpus(data, tmp_path), recipe()
    aligner = load_aligner(str(trained[0]), torch.device("cpu"))
    utterances = list_utterances(
        corpus, ["talk"], "train", data=chosen.acoustic, lexicon=Lexicon(), frame_s=0.04
    )
    before = align_all(corpus, utterances, aligner, chosen.acoustic)
    first = utterances[0]
    changed = [first._replace(labels=first.labels[::-1]), *utterances[1:]]
    after = align_all(corpus, changed, aligner, chosen.acoustic)
    own = (first.clip.set, first.clip.id)
    assert not np.array_equal(before.pop(own), after.pop(own))
    assert all(np.array_equal(frames, after[place]) for place, frames in before.items())


def test_the_teacher_hears_what_the_student_is_to_hear_through_noise(
    data: Path, tmp_path: Path, trained: tuple[Path, list[float], dict[str, float]]
) -> None:
    settings = ("acoustic.criterion=distil", f"acoustic.teacher={trained[0]}")
    taught = [
        trainer(data, tmp_path / part, recipe(*settings, f"augment.noise_part={part}")).audio.next(0)
        for part in ("0.0", "1.0")
    ]
    assert not torch.allclose(taught[0].features, taught[1].features)
    assert torch.equal(taught[0].targets.taught, taught[1].targets.taught)
    assert taught[0].targets.taught.shape[:2] == (len(taught[0].features), taught[0].features.shape[1] // 4)
    with pytest.raises(ConfigError, match=r"has lookahead_frames .*, the recipe 0"):
        trainer(data, tmp_path / "late", recipe(*settings, "lookahead_frames=0"))


def test_targets_are_the_phones_of_the_text(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, recipe("training.steps=1"))
    assert isinstance(run.task, AcousticTask) and isinstance(run.audio, UtteranceMaker)
    batch = run.audio.next(0)
    numbers = run.audio.plan(0)[0]
    for row, number in enumerate(numbers):
        utterance = run.task.utterances[number]
        count = int(batch.targets.label_counts[row])
        assert batch.targets.labels[row, :count].tolist() == Lexicon().labels(" ".join(utterance.clip.words))
        frames = int(batch.targets.frame_counts[row])
        assert frames <= batch.features.shape[1] // 4
        assert frames >= utterance.clip.seconds / 1.1 / 0.04


def test_two_views_of_an_utterance_are_heard_otherwise_and_drawn_together(data: Path, tmp_path: Path) -> None:
    chosen = recipe("acoustic.consistency_weight=0.2", "augment.noise_part=1.0", "training.steps=1")
    run = trainer(data, tmp_path, chosen)
    batch = run.audio.next(0)
    targets = batch.targets
    assert len(batch.features) == len(targets.labels) == 2 * len(run.audio.plan(0)[0])
    for one, other in zip(targets.labels[::2], targets.labels[1::2], strict=True):
        assert torch.equal(one, other)
    assert not torch.allclose(batch.features[0], batch.features[1], atol=0.1)

    log_probs = torch.randn(4, 6, 5).log_softmax(-1)
    pairs = PhoneTargets(
        torch.ones(4, 2), torch.full((4,), 2), torch.tensor([6, 6, 3, 3]), torch.zeros(4, 0), torch.zeros(4)
    )
    by_hand = sum(
        float((log_probs[one, :count].exp() * (log_probs[one, :count] - log_probs[other, :count])).sum())
        for one, other, count in ((0, 1, 6), (1, 0, 6), (2, 3, 3), (3, 2, 3))
    )
    assert criteria.consistency(log_probs, pairs).item() == pytest.approx(by_hand / 8, rel=1e-5)
    alike = log_probs[::2].repeat_interleave(2, 0)
    assert criteria.consistency(alike, pairs).item() == pytest.approx(0.0, abs=1e-6)
    run.run()  # the loss of a batch of pairs is finite


def test_epochs_hold_everything_once_and_few_of_the_limited(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, recipe("training.steps=1"))
    assert isinstance(run.task, AcousticTask)
    utterances, limits = run.task.utterances, {"talk": 0, "words": 3}
    plans = [plan_epoch(utterances, limits, 6.0, np.random.default_rng(seed)) for seed in range(8)]
    for plan in plans:
        drawn = [utterances[number].clip for batch in plan for number in batch]
        assert (
            sum(clip.set == "talk" for clip in drawn) == 16 == len({c.id for c in drawn if c.set == "talk"})
        )
        assert sum(clip.set == "words" for clip in drawn) == 3
        for batch in plan:
            assert max(utterances[n].clip.seconds for n in batch) * len(batch) <= 6.0
            assert len(batch) > 1  # what is left over at the end can still be shared by two processes
    assert plans[0] != plans[1]
    # `eval` manifests are unreadable: had training looked into one, it would have failed.
    assert {clip.split for clip in run.task.clips} == {"train"}
    assert {one.clip.split for one in run.task.dev.utterances} == {"dev"}


def test_impossible_choices_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of ctc, ce, lfmmi, distil"):
        recipe("acoustic.criterion=mmi")
    with pytest.raises(ConfigError, match=r"name a model .* in acoustic\.aligner"):
        recipe("acoustic.criterion=ce")
    with pytest.raises(ConfigError, match=r"name it in acoustic\.teacher"):
        recipe("acoustic.criterion=distil")
    with pytest.raises(ConfigError, match="a recipe for task 'acoustic', expected 'vad'"):
        load_recipe("vad", path=Path("acoustic-small"))
