"""Units in context, and the loss that draws phones towards earlier frames."""

from pathlib import Path

import pytest
import spoken
import torch
from test_acoustic import losses_of, recipe, trainer
from test_phones import FRAMES, made_up, targets

from auricle.configs.errors import ConfigError
from auricle.models.checkpoint import load_model
from auricle.models.network import Network
from auricle.models.phones import PHONES
from auricle.pipelines.criteria import ctc, lateness
from auricle.pipelines.release import write_model
from auricle.pipelines.units import count_biphones, narrowed, widened


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken.write_data(tmp_path_factory.mktemp("data"))


def test_frequent_pairs_are_units_and_the_rest_are_phones() -> None:
    _, bigram = made_up()
    units = count_biphones([[1, 2], [1, 2, 3], [3, 3]], most=2, phones=3)
    assert units.size == 1 + 3 + 2
    first, second = 4, 5  # after nothing 1 (twice), after 1 a 2 (twice); all else occurs once
    said = units.of(targets([[1, 2, 3], [3, 1]], [FRAMES, FRAMES], bigram))
    assert said.labels.tolist() == [[first, second, 3], [3, 1, 0]]
    assert said.label_counts.tolist() == [3, 2]


def test_a_second_head_is_trained_and_left_out_of_the_model(data: Path, tmp_path: Path) -> None:
    chosen = recipe("training.steps=30", "acoustic.units=biphone", "acoustic.biphones=9")
    run = trainer(data, tmp_path, chosen)
    before = run.network.head.weight.detach().clone()
    losses = losses_of(run)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    rows = 1 + len(PHONES)
    assert len(before) == 2 * rows + 9
    moved = (run.network.head.weight - before).abs().amax(1)
    assert (moved[rows : rows + 1] > 1e-3).all() and (moved[2 * rows :] > 1e-3).all()
    write_model(run, tmp_path / "toy.safetensors", "auricle train acoustic")
    spec, network, _ = load_model(tmp_path / "toy.safetensors")
    assert spec.network == chosen.network and len(network.head.weight) == rows
    assert torch.equal(network.head.weight, run.average.head.weight[:rows].half().float())
    going_on = recipe(
        "training.steps=1", f"training.start={tmp_path}/toy.safetensors", "acoustic.units=biphone"
    )
    second = trainer(data, tmp_path / "second", going_on)
    assert torch.equal(second.network.head.weight[:rows], network.head.weight)


def test_training_in_context_resumes_exactly(data: Path, tmp_path: Path) -> None:
    chosen = recipe("training.steps=3", "acoustic.units=biphone", "acoustic.early_weight=0.1")
    straight = trainer(data, tmp_path / "straight", chosen)
    straight.run()
    for _ in range(3):
        pieces = trainer(data, tmp_path / "pieces", chosen)
        pieces.resume()
        pieces.run(minutes=0.0)  # stops after one step
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, pieces.network.state_dict()[name]), name


def test_outputs_are_cut_off_and_put_back() -> None:
    wide, config = Network(recipe().network), recipe().network
    assert narrowed(wide, config) is wide
    narrow_config = recipe("network.labels=12").network
    narrow = narrowed(wide, narrow_config)
    features = torch.randn(2, 8, config.mels)
    expected = wide(features, wide.initial_state(2))[0][..., :12]
    assert torch.allclose(narrow(features, narrow.initial_state(2))[0], expected, atol=1e-6)
    again = widened(narrow.state_dict(), wide)
    assert all(torch.equal(value, again[name]) for name, value in wide.state_dict().items())


def test_lateness_asks_each_frame_for_what_the_next_one_says() -> None:
    log_probs, bigram = made_up(3)
    given = targets([[1, 2], [3]], [FRAMES, 3], bigram)
    same = log_probs[:, :1].expand(-1, FRAMES, -1)
    assert float(lateness(same, given)) == pytest.approx(0.0, abs=1e-6)
    logits = log_probs.clone().requires_grad_()
    loss = lateness(logits.log_softmax(-1), given)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) > 0 and logits.grad is not None
    wanted = log_probs.exp()[0, 1:] - log_probs.exp()[0, :-1]  # down the gradient, towards the next frame
    assert torch.allclose(-3 * logits.grad[0, :-1], wanted, atol=1e-5)
    assert (logits.grad[1, 2:] == 0).all()  # the last frame and the padding have no next one


def test_less_lateness_brings_peaks_forward() -> None:
    """From logits alone: by CTC the phone may come anywhere; with the loss it comes earlier."""
    _, bigram = made_up()
    given = targets([[1]], [FRAMES], bigram)
    moments = []
    for weight in (0.0, 0.3):
        logits = torch.zeros(1, FRAMES, 4)
        logits[0, 3, 1] = 2.0  # it has begun to come late
        logits.requires_grad_()
        for _ in range(400):
            log_probs = logits.log_softmax(-1)
            loss = ctc(log_probs, given) + weight * lateness(log_probs, given)
            (gradient,) = torch.autograd.grad(loss, logits)
            logits = (logits - 0.3 * gradient).detach().requires_grad_()
        spoken_part = logits.detach().softmax(-1)[0, :, 1]
        moments.append(float((spoken_part * torch.arange(FRAMES)).sum() / spoken_part.sum()))
    assert moments[1] < moments[0] - 0.2


def test_impossible_units_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of phone, biphone"):
        recipe("acoustic.units=triphone")
    with pytest.raises(ConfigError, match="the delay is lookahead_frames"):
        recipe("acoustic.criterion=ce", "acoustic.aligner=a.safetensors", "acoustic.early_weight=0.1")
