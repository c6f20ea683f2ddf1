"""The second pass: trained above a model that stays as it is, read with it, and used on whole utterances."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spoken
import torch
from safetensors.torch import save

from auricle.configs.errors import ConfigError, DataError, ModelError
from auricle.models.checkpoint import ModelSpec, file_hash, load_model, save_model
from auricle.models.engine import TorchEngine
from auricle.models.network import Network, NetworkConfig
from auricle.models.second_pass import (
    SECOND_SUFFIX,
    SecondPass,
    SecondPassConfig,
    SecondPassInfo,
    TwoPasses,
    load_second_pass,
    load_two_passes,
    save_second_pass,
)
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.evaluate_acoustic import AcousticJudge
from auricle.pipelines.recipe import load_recipe
from auricle.pipelines.release import model_name, write_model
from auricle.pipelines.train import Trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken.write_data(tmp_path_factory.mktemp("data"))


def trained(data: Path, folder: Path) -> tuple[Path, list[float]]:
    """A model file with its second pass beside it, and the losses of the second one."""
    torch.set_num_threads(1)
    losses = list[float]()
    corpus, first = Corpus(data, folder), folder / "toy.safetensors"
    short = load_recipe("acoustic", (*spoken.SETTINGS, "training.steps=8"))
    run = Trainer(short, corpus, folder / "first")
    run.run()
    write_model(run, first, "auricle train acoustic")
    more = (*spoken.SETTINGS, "training.steps=60", "acoustic.second_layers=1", f"training.start={first}")
    run = Trainer(load_recipe("acoustic", more), corpus, folder / "second")
    run.log.loss = lambda step, value: losses.append(value)  # type: ignore[method-assign]
    run.run()
    write_model(run, first.with_suffix(SECOND_SUFFIX), "auricle train acoustic")
    return first, losses


@pytest.fixture(scope="module")
def passes(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    return trained(data, tmp_path_factory.mktemp("passes"))


def test_a_second_pass_learns_above_a_first_one_that_stays(passes: tuple[Path, list[float]]) -> None:
    first, losses = passes
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])
    _, both, digest = load_two_passes(first.with_suffix(SECOND_SUFFIX))
    for name, value in load_model(first)[1].state_dict().items():
        assert torch.equal(value, both.state_dict()[name]), name
    assert digest == file_hash(first.with_suffix(SECOND_SUFFIX).read_bytes())
    assert (first.parent / "toy.second.json").is_file()


def test_training_a_second_pass_wants_a_model_as_it_is(
    passes: tuple[Path, list[float]], data: Path, tmp_path: Path
) -> None:
    above = (*spoken.SETTINGS, "acoustic.second_layers=1")
    with pytest.raises(ConfigError, match=r"second_layers.*training\.start"):
        load_recipe("acoustic", above)
    above = (*above, f"training.start={passes[0]}")
    with pytest.raises(ConfigError, match=r"units = .phone. only"):
        load_recipe("acoustic", (*above, "acoustic.units=biphone"))
    for other in ("network.layers=4", "network.cell=rnn"):
        with pytest.raises(ConfigError, match=r"training\.start"):
            Trainer(load_recipe("acoustic", (*above, other)), Corpus(data, tmp_path), tmp_path / "run")


def test_a_deeper_second_pass_goes_on_from_what_the_first_ones_layers_say(
    passes: tuple[Path, list[float]], data: Path, tmp_path: Path
) -> None:
    trained = passes[0].with_suffix(SECOND_SUFFIX)
    settings = (*spoken.SETTINGS, f"training.start={trained}", "training.steps=3")
    with pytest.raises(ConfigError, match=r"training\.start: .* take --recipe acoustic-second"):
        load_recipe("acoustic", settings)
    deeper = load_recipe("acoustic", (*settings, "acoustic.second_layers=2"))
    run = Trainer(deeper, Corpus(data, tmp_path), tmp_path / "run")
    _, both, _ = load_two_passes(trained)
    features = torch.randn(1, 24, deeper.frontend.mels)
    with torch.no_grad():
        said, expected = (net.eval()(features, net.initial_state(1))[0] for net in (run.network, both))
    assert torch.allclose(said, expected, atol=1e-6)
    run.run()
    (tmp_path / passes[0].name).write_bytes(passes[0].read_bytes())
    write_model(run, out := tmp_path / trained.name, "auricle train acoustic")
    grown = load_two_passes(out)[1].second
    assert grown.config.layers == 2 and model_name(deeper) == trained.name
    assert grown.recurrent[1][0].weight_ih_l0.chunk(4)[2].abs().max() > 0  # the new layer learns
    fewer = load_recipe("acoustic", (*settings[:-2], f"training.start={out}", "acoustic.second_layers=1"))
    with pytest.raises(ConfigError, match="has 2 layers; give the recipe as many, or more"):
        Trainer(fewer, Corpus(data, tmp_path), tmp_path / "fewer")


def test_both_passes_learn_together_and_are_written_together(
    passes: tuple[Path, list[float]], data: Path, tmp_path: Path
) -> None:
    trained = passes[0].with_suffix(SECOND_SUFFIX)
    settings = (
        *spoken.SETTINGS,
        f"training.start={trained}",
        "training.steps=30",
        "training.evaluate_every=30",
    )
    with pytest.raises(ConfigError, match=r"acoustic\.first_weight goes with acoustic\.second_layers"):
        load_recipe("acoustic", (*spoken.SETTINGS, "acoustic.first_weight=0.5"))
    recipe = load_recipe("acoustic", (*settings, "acoustic.second_layers=1", "acoustic.first_weight=0.5"))
    assert model_name(recipe) == f"{recipe.name}.safetensors"
    run, losses = Trainer(recipe, Corpus(data, tmp_path), tmp_path / "run"), list[float]()
    run.log.loss = lambda step, value: losses.append(value)  # type: ignore[method-assign]
    figures = run.run().figures
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])
    assert figures["score"] == pytest.approx((figures["score_first"] - figures["per_talk"]) / 2)
    digest = write_model(run, out := tmp_path / "both.safetensors", "auricle train acoustic")
    spec, both, _ = load_two_passes(
        out.with_suffix(SECOND_SUFFIX)
    )  # refused, if they did not belong together
    before = load_two_passes(trained)[1].state_dict()
    for part in ("recurrent.0", "second.recurrent", "head"):
        changed = [name for name in before if name.startswith(part)]
        assert any(not torch.allclose(before[name], both.state_dict()[name], atol=1e-3) for name in changed)
    record = json.loads((tmp_path / "both.second.json").read_text())
    assert record["first_pass"] == f"both@{digest}" and (tmp_path / "both.json").is_file()
    features = torch.randn(1, 24, spec.frontend.mels)
    alone = load_model(out)[1]
    with torch.no_grad():
        said, expected = (net(features, net.initial_state(1))[0] for net in (both.first(), alone))
    assert torch.equal(said, expected)


def test_a_second_pass_is_not_signed_for_another_model(
    passes: tuple[Path, list[float]], data: Path, tmp_path: Path
) -> None:
    first = tmp_path / "toy.safetensors"
    first.write_bytes(passes[0].read_bytes())
    settings = (*spoken.SETTINGS, "training.steps=1", "acoustic.second_layers=1", f"training.start={first}")
    run = Trainer(load_recipe("acoustic", settings), Corpus(data, tmp_path), tmp_path / "run")
    run.run()
    assert model_name(run.recipe) == "toy.second"
    spec, network, _ = load_model(first)
    network.head.bias.data += 1
    save_model(first, spec, network)
    with pytest.raises(DataError, match="is not what the second pass was trained above"):
        write_model(run, first.with_suffix(SECOND_SUFFIX), "auricle train acoustic")


def test_it_hears_what_comes_before_and_after() -> None:
    torch.manual_seed(4)
    second, hidden = SecondPass(SecondPassConfig(5, 8, layers=1, dropout=0.0)).eval(), torch.randn(1, 9, 8)
    said = second(hidden)
    for changed in (0, 8):
        other = hidden.clone()
        other[0, changed] = 3 * torch.randn(8)
        assert not torch.allclose(second(other)[0, 4], said[0, 4], atol=1e-5)


def test_the_engine_hands_hidden_values_out_and_looks_at_them_again(
    passes: tuple[Path, list[float]], tmp_path: Path
) -> None:
    first, _ = passes
    alone = tmp_path / first.name
    alone.write_bytes(first.read_bytes())
    engine = TorchEngine()
    info, single = engine.load(str(first), second_pass=True), engine.load(str(alone), second_pass=True)
    assert (info.second.partition("@")[0], single.second, single.hidden) == ("toy.second", "", 0)
    assert engine.load(str(first)) == replace(info, second="", hidden=0)  # not asked for
    samples = np.random.default_rng(3).standard_normal((2, 16_000)).astype(np.float32) * 0.1
    frames, _ = engine.features(info.frontend, samples, engine.frontend_state(info.frontend, 2))
    frames = frames[:, : frames.shape[1] // 4 * 4]
    heard, _ = engine.infer(info, frames, engine.model_state(info, 2))
    expected, _ = engine.infer(single, frames, engine.model_state(single, 2))
    assert heard.shape[2] == info.width == single.width + info.hidden
    assert np.allclose(heard[..., : single.width], expected, atol=1e-6)
    _, both, _ = load_two_passes(first.with_suffix(SECOND_SUFFIX))
    assert isinstance(both, TwoPasses)
    with torch.inference_mode():
        logits, _ = both(torch.from_numpy(frames), both.initial_state(2))
    for row, wanted in zip(heard, logits.softmax(-1).numpy(), strict=True):
        assert np.allclose(engine.look_again(info, row[:, single.width :]), wanted, atol=1e-4)
    with pytest.raises(ModelError, match="has no second pass"):
        engine.look_again(single, heard[0, :, single.width :])


def test_it_is_judged_like_any_model(passes: tuple[Path, list[float]], data: Path, tmp_path: Path) -> None:
    first, _ = passes
    judges = [
        AcousticJudge(path, Corpus(data, tmp_path), ("talk",))
        for path in (first, first.with_suffix(SECOND_SUFFIX))
    ]
    utterances = judges[0].utterances("dev")[:3]
    one, other = (judge.hear(utterances)[0].log_probs for judge in judges)
    assert one.shape == other.shape and not torch.allclose(one, other, atol=1e-3)


def test_a_second_pass_of_other_weights_is_refused(passes: tuple[Path, list[float]], tmp_path: Path) -> None:
    path = passes[0].with_suffix(SECOND_SUFFIX)
    spec, _, digest = load_model(passes[0])
    with pytest.raises(ModelError, match=r"belongs to the weights .*, but 12345678 are used; train one"):
        load_second_pass(path, "12345678", spec.network)
    with pytest.raises(ModelError, match="has the shape"):
        load_second_pass(path, digest, replace(spec.network, hidden=7))
    damaged = tmp_path / "damaged.second"
    header = save({"w": torch.zeros(1)}, metadata={"auricle": '"text"'})
    for content in (b"", path.read_bytes()[:500], passes[0].read_bytes(), header):
        damaged.write_bytes(content)
        with pytest.raises(ModelError, match="is no second pass of a model"):
            load_second_pass(damaged, digest, spec.network)
    beside = tmp_path / "toy.safetensors"
    beside.write_bytes(passes[0].read_bytes())
    beside.with_suffix(SECOND_SUFFIX).write_bytes(b"junk")
    TorchEngine().load(str(beside))  # nobody asked for it
    with pytest.raises(ModelError, match="is no second pass of a model"):
        TorchEngine().load(str(beside), second_pass=True)


@pytest.mark.parametrize("cell", ["gru", "attention", "gru+attention"])
def test_any_first_pass_may_have_a_second(cell: str, tmp_path: Path) -> None:
    config = NetworkConfig(labels=4, cell=cell, hidden=16, layers=1, residual=cell == "gru")
    torch.manual_seed(5)
    path, second = tmp_path / "any.safetensors", SecondPass(SecondPassConfig(4, 16, 1))
    digest = save_model(path, ModelSpec("acoustic", tuple("abcd"), config), Network(config))
    save_second_pass(path.with_suffix(SECOND_SUFFIX), SecondPassInfo(digest, second.config), second)
    engine = TorchEngine()
    info = engine.load(str(path), second_pass=True)
    frames = np.random.default_rng(6).standard_normal((3, 40, 80)).astype(np.float32)
    whole, _ = engine.infer(info, frames, engine.model_state(info, 3))
    state, parts = engine.model_state(info, 3), []
    for start in range(0, 40, 8):
        part, state = engine.infer(info, frames[:, start : start + 8], state)
        state = engine.restore_state(engine.dump_state(state), engine.model_state(info, 3))
        parts.append(part)
    assert whole.shape == (3, 10, 4 + 16)
    assert np.allclose(np.concatenate(parts, 1), whole, atol=1e-4)
