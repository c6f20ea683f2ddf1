"""Training that begins with a finished model: in its own shape, deeper, or with GRUs for its LSTMs."""

import tomllib
from pathlib import Path

import pytest
import torch

from auricle.configs.errors import ConfigError
from auricle.models.checkpoint import ModelSpec, load_model, save_model
from auricle.models.network import Network
from auricle.models.phones import BLANK, phone_labels
from auricle.models.second_pass import SecondPassConfig, TwoPasses
from auricle.pipelines.recipe import RECIPES, Recipe, load_recipe
from auricle.pipelines.start import start_from_model

SHAPE = ("network.hidden=16", "network.conv_channels=[8,8]", "network.layers=2")


def recipe(*settings: str) -> Recipe:
    return load_recipe("acoustic", (*SHAPE, *settings))


def finished(folder: Path, *settings: str) -> tuple[str, Network]:
    """A model file, and the network in it."""
    made = recipe(*settings)
    torch.manual_seed(1)
    network = Network(made.network).half().float().eval()
    spec = ModelSpec("acoustic", phone_labels(BLANK), made.network, made.frontend, lookahead_frames=3)
    save_model(folder / "model.safetensors", spec, network)
    return f"training.start={folder / 'model.safetensors'}", network


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_can_begin(path: Path) -> None:
    """What it begins with may have been replaced by another shape since."""
    made = load_recipe(tomllib.loads(path.read_text())["task"], path=path)
    shape, layers = made.network, made.acoustic.second_layers
    second = SecondPassConfig(shape.labels, shape.hidden, layers)
    network = TwoPasses(shape, second) if layers else Network(shape)
    if made.training.start:
        start_from_model(network, made)
    fresh = network.initial_state(1)
    assert len(fresh.recurrent) == len(shape.cells)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_deeper_network_begins_by_saying_what_the_model_says_and_learns_in_all_layers(
    cell: str, tmp_path: Path
) -> None:
    start, model = finished(tmp_path, f"network.cell={cell}")
    made = recipe(f"network.cell={cell}", "network.layers=4", "network.dropout=0.0", start)
    network = Network(made.network)
    start_from_model(network, made)
    features = torch.randn(2, 40, 80)
    said, state = network(features, network.initial_state(2))
    expected, before = model(features, model.initial_state(2))
    assert torch.equal(said, expected)
    assert torch.equal(state.recurrent[0].hidden[:, :2], before.recurrent[0].hidden)
    said.logsumexp(-1).mean().backward()
    for layer in range(4):
        for name, weight in network.recurrent[0].blocks[layer].net.named_parameters():
            learns = weight.grad is not None and bool(weight.grad.abs().max() > 0)
            assert learns == (layer < 2 or not name.startswith("weight_hh")), (layer, name)


@torch.no_grad()
def test_a_gru_begins_as_the_lstm_that_it_can_be(tmp_path: Path) -> None:
    """An LSTM with nothing behind its output gate, that forgets as much as it takes in, of small values."""
    start, model = finished(tmp_path, "network.cell=lstm")
    for block in model.recurrent[0].blocks:
        for name, weight in block.net.named_parameters():
            i, f, g, o = weight.chunk(4)
            i.copy_(-f)
            g.mul_(0.05)
            o.fill_(15.0 if "bias" in name else 0.0)
    spec, _, _ = load_model(tmp_path / "model.safetensors")
    save_model(tmp_path / "model.safetensors", spec, model)
    made = recipe("network.cell=gru", "network.dropout=0.0", start)
    network = Network(made.network)
    start_from_model(network, made)
    features = torch.randn(2, 200, 80)
    said, _ = network(features, network.initial_state(2))
    expected, _ = model(features, model.initial_state(2))
    torch.testing.assert_close(said, expected, rtol=0, atol=2e-3)
    assert float((expected - expected.mean(1, keepdim=True)).std()) > 0.1  # there was something to say


def test_a_model_of_another_task_lends_all_but_its_outputs(tmp_path: Path) -> None:
    start, model = finished(tmp_path, "network.cell=gru")
    made = load_recipe("keyword", (*SHAPE, start))
    network = Network(made.network)
    own = network.head.weight.clone()
    start_from_model(network, made)
    assert torch.equal(network.head.weight, own)
    lent = model.state_dict()
    for name, weight in network.state_dict().items():
        assert name.startswith("head.") or torch.equal(weight, lent[name]), name


def test_only_residual_layers_of_one_cell_can_be_added_and_none_taken_away(tmp_path: Path) -> None:
    start, _ = finished(tmp_path)
    for change in (
        "network.layers=1",
        "network.hidden=32",
        "network.residual=false",
        "network.cell=gru+lstm",
    ):
        made = recipe(start, change)
        with pytest.raises(ConfigError, match=r"training\.start: .*more layers where they are residual"):
            start_from_model(Network(made.network), made)
    plain = tmp_path / "plain"
    plain.mkdir()
    start, _ = finished(plain, "network.residual=false")
    made = recipe("network.residual=false", "network.layers=3", start)
    with pytest.raises(ConfigError, match="residual"):
        start_from_model(Network(made.network), made)
